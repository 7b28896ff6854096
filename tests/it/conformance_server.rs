//! The official conformance suite's scenarios for servers, with mcp-pipe as the server: its gateway, and behind that over stdio a server that
//! has all that a scenario asks for (`tests/servers/everything.py`). The measure is that server alone, over HTTP: what passes there
//! has to pass here.
//!
//! What is expected to fail is listed in `conformance_server.yml`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use futures_util::future::{join, join_all};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::conformance::{LEGACY, MODERN, PACKAGE, Suite, suite};
use crate::eras::{OnHttp, script};
use crate::gateway::url;
use crate::harness::{Setup, config, installed, within};

/// A run of the suite.
struct Run {
    /// The suite's package: it is installed in two versions.
    package: &'static str,
    /// What it is to run.
    args: &'static [&'static str],
    /// Where in the gateway.
    path: &'static str,
    /// How many checks pass at least.
    checks: usize,
}

const RUNS: &[Run] = &[
    Run { package: PACKAGE, args: &["--requirements", LEGACY], path: "", checks: 80 },
    // Under the names that a server has alone; and with its versions of MCP.
    Run {
        package: PACKAGE,
        args: &["--suite", "all", "--spec-version", "2025-06-18"],

        path: "/everything",
        checks: 50,
    },
    Run { package: "conformance016", args: &["--suite", "all"], path: "", checks: 44 },
    Run { package: PACKAGE, args: &["--requirements", MODERN], path: "", checks: 160 },
];

/// Checks that come out otherwise than with the server alone, and rightly so. The suite calls these outcomes information.
const OTHERWISE: &[(&str, &str)] = &[
    // Lists are answered as JSON, not as a stream: a client that reads no streams does not hang on them.
    ("server-sse-multiple-streams", "server-sse-streams-functional"),
    // A server on stdio knows of no streams, so it can't break the one of its call. `gateway_clients.rs` breaks one.
    ("server-sse-polling", "server-sse-disconnect-resume"),
];

/// The outcome of each check: of a scenario, by its id and name.
type Checks = BTreeMap<(String, String, String), Vec<Value>>;

/// Who is tested.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Server {
    /// Nothing may fail but what is expected to.
    McpPipe,
    /// What others make is not ours to judge.
    Alone,
}

impl Suite {
    /// Runs what is wanted against the server at this address.
    async fn test(&self, run: &Run, server: Server, url: &str) -> Checks {
        let results = TempDir::new().unwrap();
        let mut command = self.command();
        command.args(["server", "--url", url]).args(run.args).arg("--output-dir").arg(results.path());
        command.arg("--expected-failures").arg(expected());
        let output = within("the suite", command.output()).await.unwrap();
        let checks = read(results.path());
        if server == Server::Alone {
            return checks;
        }
        let told = String::from_utf8_lossy(&output.stdout);
        let summary = told.split_once("=== SUMMARY ===").map_or(&*told, |(_, summary)| summary);
        let failures: Vec<_> = checks.values().flatten().filter(|check| check["status"] == "FAILURE").collect();
        assert!(output.status.success(), "{} {:?} at {url}: {summary}\n{failures:#?}", run.package, run.args);
        checks
    }
}

fn expected() -> impl AsRef<OsStr> {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/conformance_server.yml")
}

/// What the suite has written: a folder for each scenario, named after it and the time.
fn read(results: &Path) -> Checks {
    const TIME: &str = "-2026-11-29T01-35-06-312Z";
    let mut all = Checks::new();
    for folder in fs::read_dir(results).unwrap() {
        let folder = folder.unwrap();
        let name = folder.file_name().into_string().unwrap();
        let scenario = name.strip_prefix("server-").and_then(|name| name.get(..name.len() - TIME.len()));
        let checks: Vec<Value> = serde_json::from_slice(&fs::read(folder.path().join("checks.json")).unwrap()).unwrap();
        for check in checks {
            let [id, name] = ["id", "name"].map(|key| check[key].as_str().unwrap().to_owned());
            all.entry((scenario.unwrap().to_owned(), id, name)).or_default().push(check);
        }
    }
    all
}

/// What passes with the server alone and not with mcp-pipe, or fails only with mcp-pipe.
fn worse(alone: &Checks, through: &Checks) -> Vec<String> {
    let all = |checks: &Checks, key: &_, status: &str| {
        checks.get(key).is_some_and(|checks| checks.iter().all(|check| check["status"] == status))
    };
    let is_otherwise = |(scenario, id, _): &(String, String, String)| {
        OTHERWISE.iter().any(|known| (known.0, known.1) == (scenario, id))
    };
    let lost = alone.keys().filter(|key| {
        let is_fine = all(through, key, "SUCCESS") || is_otherwise(key) && all(through, key, "INFO");
        all(alone, key, "SUCCESS") && !is_fine
    });
    let is_bad = |key: &_, checks: &Checks, status: &str| {
        checks.get(key).is_some_and(|checks| checks.iter().any(|check| check["status"] == status))
    };
    let new = through.keys().filter(|key| {
        ["FAILURE", "WARNING"].iter().any(|status| is_bad(*key, through, status) && !is_bad(*key, alone, status))
    });
    lost.chain(new).map(|key| format!("{key:?}: {:#?}\nalone: {:#?}", through.get(key), alone.get(key))).collect()
}

/// Runs the suite against mcp-pipe and against the server alone; what of it is worse.
async fn compare(run: &Run, alone: &str, python: &str) -> Option<Vec<String>> {
    let suite = suite(run.package)?;
    let entry = json!({"command": python, "args": [script("everything.py")]});
    let setup = Setup::new().config(&config([("everything", entry)])).args(["serve", "--listen", "127.0.0.1:0"]);
    let daemon = setup.start("info");
    daemon.wait_for_event("ALL_UP").await;
    let address = format!("{}{}", url(&daemon).await, run.path);
    let (through, alone) =
        join(suite.test(run, Server::McpPipe, &address), suite.test(run, Server::Alone, alone)).await;
    let passed = through.values().flatten().filter(|check| check["status"] == "SUCCESS").count();
    assert!(passed >= run.checks, "{} {:?}: only {passed} checks", run.package, run.args);
    daemon.stop().await;
    Some(worse(&alone, &through))
}

/// A process of mcp-pipe for each run, as the suite asks for what one server says to its only client.
#[tokio::test]
async fn no_check_fails_that_passes_with_the_server_alone() {
    let Some(python) = installed("MCP_PIPE_TEST_PYTHON") else { return };
    let python = python.to_str().unwrap();
    let alone = OnHttp::start(python, &[script("everything.py")]).await;
    let runs = join_all(RUNS.iter().map(|run| compare(run, &alone.url, python))).await;
    let worse: Vec<_> = runs.into_iter().flatten().flatten().collect();
    assert!(worse.is_empty(), "{}", worse.join("\n\n"));
}

/// A name that is not the gateway's, and one that is.
#[tokio::test]
async fn the_gateway_is_not_taken_in_by_names_that_lead_to_it() {
    let Some(suite) = suite(PACKAGE) else { return };
    let entry = json!({"command": "python3", "args": [crate::harness::example("calculator.py")]});
    let daemon =
        Setup::new().config(&config([("calculator", entry)])).args(["serve", "--listen", "127.0.0.1:0"]).start("info");
    let run = Run { package: PACKAGE, args: &["--scenario", "dns-rebinding-protection"], path: "", checks: 2 };
    let checks = suite.test(&run, Server::McpPipe, &url(&daemon).await).await;
    let passed = checks.values().flatten().filter(|check| check["status"] == "SUCCESS").count();
    assert!(passed >= run.checks, "{checks:#?}");
    daemon.stop().await;
}

#[test]
fn each_era_is_run() {
    for revision in [LEGACY, MODERN] {
        assert!(RUNS.iter().any(|run| run.args.contains(&revision)), "{revision}");
    }
}
