//! What the tests are made with: an endpoint that panics on the unexpected, the program as a process, and servers.

mod agent;
mod auth_server;
mod client;
mod conn;
mod daemon;
mod endpoint;
mod mcp_http;
mod secure;
mod talk;
mod web;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value, json};

pub(crate) use agent::{Agent, REPLACED, Seen, Takes};
pub(crate) use auth_server::{AuthServer, metadata, protected};
pub(crate) use client::Client;
pub(crate) use conn::{Conn, names, text_of};
pub(crate) use daemon::{Daemon, Setup, field};
pub(crate) use endpoint::{FakeEndpoint, upgrade};
pub(crate) use mcp_http::{McpHttp, text as body_of};
pub(crate) use secure::{Authority, Secured};
pub(crate) use talk::Talk;
pub(crate) use web::{Asked, Part, Transport, Web, endpoint_event, events, result, whole, with_json};

/// The bound of every wait. Nothing in a test takes nearly as long, even where several real servers start on a busy machine.
pub(crate) const BOUND: Duration = Duration::from_secs(60);

/// The result of a future that may not take longer than [`BOUND`].
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(BOUND, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {} s for {what}", BOUND.as_secs()),
    }
}

/// Says that a test is skipped, and why.
pub(crate) fn skip(why: &str) {
    report(&format!("SKIPPED a test: {why}"));
}

/// Says something that whoever runs the tests should see, also when they pass.
pub(crate) fn report(what: &str) {
    #[expect(clippy::explicit_write, reason = "the harness would keep what a passing test prints with a macro")]
    writeln!(std::io::stderr(), "{what}").unwrap();
}

/// The value of a variable that says where things are that `.ci/run` installs; `None` skips the test, with `CI=true` it fails.
pub(crate) fn installed(variable: &str) -> Option<PathBuf> {
    match std::env::var_os(variable) {
        Some(path) => Some(PathBuf::from(path)),
        None if std::env::var("CI").is_ok_and(|ci| ci == "true") => panic!("{variable} is not set; .ci/run sets it"),
        None => {
            skip(&format!("{variable} is not set"));
            None
        }
    }
}

/// A file of a package of npm's, as `.ci/run` installs it. `None` skips the test; with `CI=true` it fails instead.
pub(crate) fn of_npm(path: &str) -> Option<PathBuf> {
    let file = installed("MCP_PIPE_TEST_NODE_MODULES")?.join(path);
    if file.is_file() {
        return Some(file);
    }
    let is_demanded = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(!is_demanded, "{} is missing; .ci/run installs it", file.display());
    skip(&format!("{path} is not installed"));
    None
}

/// How often a loop provokes what it is about.
pub(crate) fn rounds() -> usize {
    std::env::var("MCP_PIPE_TEST_ROUNDS").map_or(20, |rounds| rounds.parse().unwrap())
}

/// The server that misbehaves on request (`tests/it/fixture.rs`).
pub(crate) fn fixture() -> PathBuf {
    built("fixture")
}

/// A program of the tests: an `[[example]]` of `Cargo.toml`.
pub(crate) fn built(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_mcp-pipe")).with_file_name("examples").join(name);
    assert!(path.exists(), "{} is not built: cargo build --example {name}", path.display());
    path
}

/// A file of `examples/`.
pub(crate) fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

/// An `mcpServers` entry that runs the fixture with these flags.
pub(crate) fn fixture_entry(flags: &[&str]) -> Value {
    json!({"command": fixture(), "args": flags})
}

/// An `mcpServers` entry that runs the calculator.
pub(crate) fn calculator_entry() -> Value {
    json!({"command": "python3", "args": [example("calculator.py")]})
}

/// server-everything as `npx` starts it: under a shell, under npm. `None` where it isn't installed.
pub(crate) fn everything() -> Option<Value> {
    let modules = installed("MCP_PIPE_TEST_NODE_MODULES")?;
    let prefix = modules.parent().unwrap().to_owned();
    Some(json!({"command": "npx", "args": ["--no-install", "mcp-server-everything", "stdio"], "cwd": prefix}))
}

/// A config file with these servers, and waits short enough for a test.
pub(crate) fn config<'a>(servers: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    let servers: Map<_, _> = servers.into_iter().map(|(name, entry)| (name.to_owned(), entry)).collect();
    json!({"maxBackoff": "1s", "mcpServers": servers})
}

/// A config file with these servers on one connection.
pub(crate) fn multiplex<'a>(endpoint: &FakeEndpoint, servers: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    let mut config = config(servers);
    config["mode"] = "multiplex".into();
    config["endpoint"] = endpoint.url().into();
    config
}

/// A config file with a server on this endpoint: with the other one on the same connection (`are_together`), or alone, and the other one on that
/// other endpoint.
pub(crate) fn in_mode(are_together: bool, endpoints: [&FakeEndpoint; 2], mut servers: [(&str, Value); 2]) -> Value {
    if are_together {
        return multiplex(endpoints[0], servers);
    }
    for ((_, entry), endpoint) in servers.iter_mut().zip(endpoints) {
        entry["endpoint"] = endpoint.url().into();
    }
    config(servers)
}

/// A config file with one server `x`, the fixture with these flags, on this endpoint.
pub(crate) fn one_server(endpoint: &FakeEndpoint, flags: &[&str]) -> Value {
    let mut entry = fixture_entry(flags);
    entry["endpoint"] = endpoint.url().into();
    config([("x", entry)])
}
