//! The official conformance suite. What its scenarios for servers come to is in `conformance_server.rs`; here are those for clients, with
//! mcp-pipe as the client of the suite's server, and an endpoint before it (`tests/it/conformance_client.rs`) that asks for what a
//! scenario is about.
//!
//! The suite is the npm package `@modelcontextprotocol/conformance`, which `.ci/run` installs beside the servers, with a Node.js that is
//! new enough for it.

use std::path::{Path, PathBuf};

use futures_util::{StreamExt, stream};
use serde_json::Value;
use tokio::process::Command;

use crate::harness::{built, of_npm, within};

/// What mcp-pipe has to have for a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// Servers that begin with `initialize`.
    Legacy,
    /// Servers that begin with `server/discover`.
    Modern,
    /// The `auth` of an entry.
    Credentials,
}

/// What mcp-pipe has: the scenarios that need something else are not run.
const HAS: &[Needs] = &[Needs::Legacy, Needs::Modern, Needs::Credentials];

/// How many scenarios are run at a time: each is a Node.js and a mcp-pipe.
const AT_ONCE: usize = 4;

pub(super) const LEGACY: &str = "2025-11-25";
pub(super) const MODERN: &str = "2026-07-28";

/// A scenario in a revision: what it needs, and what of it is said not to have been seen.
struct Scenario {
    revision: &'static str,
    name: &'static str,
    needs: Needs,
    /// Names of checks, or their beginnings, that may be skipped.
    unseen: &'static [&'static str],
}

const fn in_legacy(name: &'static str, unseen: &'static [&'static str]) -> Scenario {
    Scenario { revision: LEGACY, name, needs: Needs::Legacy, unseen }
}

const fn in_modern(name: &'static str, unseen: &'static [&'static str]) -> Scenario {
    Scenario { revision: MODERN, name, needs: Needs::Modern, unseen }
}

const fn with_credentials(name: &'static str) -> Scenario {
    Scenario { revision: LEGACY, name, needs: Needs::Credentials, unseen: &[] }
}

const SCENARIOS: &[Scenario] = &[
    in_legacy("initialize", &[]),
    in_legacy("tools_call", &[]),
    in_legacy("elicitation-sep1034-client-defaults", &[]),
    in_legacy("sse-retry", &[]),
    in_legacy("json-schema-2020-12-preservation", &[]),
    in_modern("tools_call", &[]),
    in_modern("request-metadata", &["ClientDeclares"]),
    // A modern client sends neither of the two.
    in_modern("http-standard-headers", &["ClientMcpMethodHeader_initialize", "ClientMcpMethodHeader_notifications"]),
    in_modern("http-custom-headers", &[]),
    in_modern("http-invalid-tool-headers", &[]),
    in_modern("sep-2322-client-request-state", &[]),
    in_modern("json-schema-ref-no-deref", &[]),
    in_modern("json-schema-2020-12-preservation", &[]),
    with_credentials("auth/client-credentials-basic"),
    with_credentials("auth/client-credentials-jwt"),
];

/// A program of the suite: its Node.js, and its own.
pub(super) struct Suite {
    node: PathBuf,
    program: PathBuf,
}

/// The name of the suite's package.
pub(super) const PACKAGE: &str = "@modelcontextprotocol/conformance";

/// The suite under this name of a package. `None` skips the test; with `CI=true` it fails instead.
pub(super) fn suite(package: &str) -> Option<Suite> {
    Some(Suite { node: of_npm(".bin/node")?, program: of_npm(&format!("{package}/dist/index.js"))? })
}

impl Suite {
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.node);
        command.arg(&self.program).kill_on_drop(true);
        command
    }
}

/// Runs a scenario; what is wrong, if something is.
async fn run(suite: &Suite, scenario: &Scenario) -> Result<(), String> {
    let quoted = |path: &Path| format!("'{}'", path.display());
    let client = built("conformance_client");
    let client = format!("{} {}", quoted(&client), quoted(env!("CARGO_BIN_EXE_mcp-pipe").as_ref()));
    let mut command = suite.command();
    command.args(["client", "--command", &client, "--scenario", scenario.name]);
    // The suite's own limit: above all that its client waits for.
    command.args(["--spec-version", scenario.revision, "--timeout", "59000", "--verbose"]);
    if scenario.needs == Needs::Credentials {
        // An extension is of no revision, and left out without this.
        command.arg("--force");
    }
    let output = within(scenario.name, command.output()).await.unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    let failed = |why: String| Err(format!("{} in {}: {why}\n{told}", scenario.name, scenario.revision));
    let checks: Vec<Value> = match serde_json::from_slice(&output.stdout) {
        Ok(checks) => checks,
        Err(error) => return failed(format!("no list of checks: {error}")),
    };
    let mut seen = 0;
    for check in &checks {
        match check["status"].as_str().unwrap_or_default() {
            "SUCCESS" => seen += 1,
            "INFO" => {}
            "SKIPPED" if scenario.unseen.iter().any(|name| check["name"].as_str().unwrap().starts_with(name)) => {}
            // How late a stream is asked for again is a matter of the machine; that it is not early is ours.
            _ if check["id"] == "client-sse-retry-timing" && is_late(&check["details"]) => {}
            _ => return failed(format!("{check:#}")),
        }
    }
    let is_whole = seen > 0 && !told.contains("CLIENT EXITED WITH ERROR") && !told.contains("CLIENT TIMED OUT");
    if is_whole { Ok(()) } else { failed("the client did not come to its end".to_owned()) }
}

fn is_late(details: &Value) -> bool {
    let [took, least] = ["actualDelayMs", "minAcceptableMs"].map(|key| details[key].as_f64());
    took.zip(least).is_some_and(|(took, least)| took >= least)
}

#[tokio::test]
async fn every_scenario_for_what_mcp_pipe_has_passes() {
    let Some(suite) = suite(PACKAGE) else { return };
    let wanted = SCENARIOS.iter().filter(|scenario| HAS.contains(&scenario.needs));
    let runs: Vec<_> =
        stream::iter(wanted.map(|scenario| run(&suite, scenario))).buffer_unordered(AT_ONCE).collect().await;
    let failed: Vec<_> = runs.iter().filter_map(|run| run.as_ref().err()).map(String::as_str).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
    assert!(runs.len() >= 15);
}

/// All but those for a person with a browser.
#[tokio::test]
async fn every_scenario_that_a_revision_requires_of_a_client_is_in_the_table() {
    let Some(suite) = suite(PACKAGE) else { return };
    for revision in [LEGACY, MODERN] {
        let output = within("the list", suite.command().args(["list", "--requirements", revision]).output()).await;
        let list = String::from_utf8(output.unwrap().stdout).unwrap();
        let (_, list) = list.split_once("Client scenarios").unwrap_or_else(|| panic!("{list}"));
        let (list, _) = list.split_once("\n\n").unwrap();
        let required: Vec<_> = list.lines().filter_map(|line| line.trim().strip_prefix("- ")).collect();
        assert!(required.contains(&"tools_call"), "{list}");
        for name in required.iter().filter(|name| !name.starts_with("auth/")) {
            let is_it = |scenario: &Scenario| scenario.revision == revision && scenario.name == *name;
            assert!(SCENARIOS.iter().any(is_it), "{name} in {revision}");
        }
    }
}
