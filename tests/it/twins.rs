//! A server that speaks both eras of MCP has a process for each, the second once a client needs it.

use std::collections::BTreeSet;
use std::fs;

use futures_util::future::join_all;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::control::Runtime;
use crate::eras::script;
use crate::gateway::url;
use crate::harness::{Daemon, FakeEndpoint, McpHttp, config, multiplex, text_of};

pub(crate) fn entry(eras: &[&str]) -> Value {
    let args: Vec<_> = [script("both.py")].into_iter().chain(eras.iter().map(ToString::to_string)).collect();
    json!({"command": "python3", "args": args, "startTimeout": "30s"})
}

/// A daemon with the gateway and these servers, all up, and its address.
async fn served(runtime: &Runtime, all: &Value) -> (Daemon, McpHttp) {
    let daemon = runtime.setup().config(all).args(["serve", "--listen", "127.0.0.1:0"]).start("debug");
    daemon.wait_for_event("ALL_UP").await;
    let at = McpHttp::at(&url(&daemon).await);
    (daemon, at)
}

/// A request of the modern era; its answer.
pub(crate) async fn modern(at: &McpHttp, method: &str, mut params: Value) -> Value {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
    });
    let mut headers = vec![("mcp-protocol-version", "2026-07-28".to_owned()), ("mcp-method", method.to_owned())];
    headers.extend(params["name"].as_str().map(|name| ("mcp-name", name.to_owned())));
    let mut client = at.clone();
    (client.headers, client.session) = (headers, None);
    client.ask(method, params).await
}

/// Calls a tool; its text.
async fn call(at: &McpHttp, tool: &str) -> String {
    text_of(&modern(at, "tools/call", json!({"name": tool, "arguments": {}})).await).to_owned()
}

async fn modern_tools(at: &McpHttp) -> BTreeSet<String> {
    let list = modern(at, "tools/list", json!({})).await;
    let tools = list["result"]["tools"].as_array().unwrap_or_else(|| panic!("{list}")).iter();
    tools.map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

/// Of a server that `status` shows: its processes beside the first.
async fn further(runtime: &Runtime, server: &str) -> Vec<i32> {
    let told: Value = serde_json::from_str(&runtime.ask(&["status", "--json"]).await.out).unwrap();
    let all = told["servers"].as_array().unwrap();
    let it = all.iter().find(|it| it["name"] == server).unwrap_or_else(|| panic!("{told}"));
    it["further"].as_array().into_iter().flatten().map(|it| it["pid"].as_i64().unwrap() as i32).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn each_era_has_a_process_of_its_own_shared_by_all_its_clients_and_both_are_one_server() {
    let (runtime, endpoint) = (Runtime::new(), FakeEndpoint::bind().await);
    let all = multiplex(&endpoint, [("x", entry(&["legacy", "modern"]))]);
    let (served, mut conn) = tokio::join!(served(&runtime, &all), async {
        let mut conn = endpoint.accept().await;
        conn.handshake().await;
        conn
    });
    let (daemon, at) = served;
    let mut old = at.clone();
    old.begin().await;
    let first = old.call("who", json!({})).await;
    assert!(first.starts_with("legacy ") && further(&runtime, "x").await.is_empty(), "{first}: nobody needs another");
    // Several come at once, and all wait for the same one.
    let answers = join_all((0..5).map(|_| call(&at, "who"))).await;
    assert!(answers[0].starts_with("modern ") && answers.iter().all(|it| *it == answers[0]), "{answers:?}");
    let pid = further(&runtime, "x").await;
    assert_eq!(answers[0], format!("modern {}", pid[0]));
    let told = runtime.ask(&["status"]).await.out;
    assert!(told.contains("; 2 processes, of which one is for clients of MCP 2026-07-28: "), "{told}");
    assert_eq!(call(&at.path("/mcp/x"), "who").await, answers[0]);
    assert_eq!(old.call("who", json!({})).await, first);
    assert_eq!(text_of(&conn.call(1, "who", json!({})).await), first);
    // Each sees what its own era lists.
    assert_eq!(modern_tools(&at).await, set(&["who", "die", "modern"]));
    assert_eq!(old.tools().await, ["who", "die", "legacy"]);
    // It is started again as any other, and ends with its server.
    kill_process(Pid::from_raw(pid[0]).unwrap(), Signal::KILL).unwrap();
    daemon.wait_for_event("SERVER_EXITED").await;
    let again = call(&at, "who").await;
    assert!(again.starts_with("modern ") && again != answers[0], "{again}");
    assert_eq!(runtime.ask(&["stop", "x"]).await.code, 0);
    assert!(further(&runtime, "x").await.is_empty());
    assert!(modern(&at, "tools/call", json!({"name": "who", "arguments": {}})).await["error"].is_object());
    assert_eq!(runtime.ask(&["start", "x"]).await.code, 0);
    assert!(call(&at, "who").await.starts_with("modern "));
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn a_server_that_does_not_speak_the_modern_era_is_asked_once_and_that_is_remembered() {
    let runtime = Runtime::new();
    let mut all = config([("x", entry(&["legacy"])), ("y", entry(&["legacy", "silent"])), ("z", entry(&["modern"]))]);
    let cache = tempfile::tempdir().unwrap();
    all["cacheDir"] = cache.path().to_str().unwrap().into();
    // What is remembered is of one folder.
    for name in ["x", "y", "z"] {
        all["mcpServers"][name]["cwd"] = cache.path().to_str().unwrap().into();
    }
    // As long as that the one that says nothing is waited for.
    all["mcpServers"]["y"]["startTimeout"] = "3s".into();
    for run in 0..2 {
        let (daemon, at) = served(&runtime, &all).await;
        // One that says nothing is waited for for a while, and served by the first process.
        for name in ["x", "x", "y"] {
            assert!(call(&at.path(&format!("/mcp/{name}")), "who").await.starts_with("legacy "));
        }
        let tried = |daemon: &Daemon| daemon.log_text().matches("does not speak MCP 2026-07-28").count();
        assert_eq!(tried(&daemon), if run == 0 { 2 } else { 1 }, "the one that refuses in the first run only");
        assert!(call(&at.path("/mcp/z"), "who").await.starts_with("modern "));
        assert!(further(&runtime, "x").await.is_empty() && further(&runtime, "z").await.is_empty());
        // Nothing is told as wrong that was only tried.
        let log = daemon.log_text();
        assert!(!log.contains("WARN") && !log.contains("ERROR_INITIALIZE"), "{log}");
        daemon.stop().await;
    }
}

#[tokio::test]
async fn a_reload_that_changes_a_server_changes_both_of_its_processes() {
    let runtime = Runtime::new();
    let mut all = config([("x", entry(&["legacy", "modern"]))]);
    let (daemon, at) = served(&runtime, &all).await;
    let before = call(&at, "who").await;
    all["mcpServers"]["x"]["env"] = json!({"A": "b"});
    fs::write(daemon.path().join("mcp_config.json"), all.to_string()).unwrap();
    assert_eq!(runtime.ask(&["reload"]).await.code, 0);
    let after = call(&at, "who").await;
    assert!(after.starts_with("modern ") && after != before, "{before}, {after}");
    assert_eq!(further(&runtime, "x").await.len(), 1);
    all["mcpServers"] = json!({"w": entry(&["legacy", "modern"])});
    fs::write(daemon.path().join("mcp_config.json"), all.to_string()).unwrap();
    assert_eq!(runtime.ask(&["reload"]).await.code, 0);
    assert!(call(&at, "who").await.starts_with("modern "));
    daemon.stop().await;
}
