//! A client for the official conformance suite: an endpoint on loopback, and between it and the suite's server mcp-pipe as a process.
//!
//!     conformance_client MCP-PIPE URL
//!
//! The suite adds the address of its server, and says by variables which scenario it is (`MCP_CONFORMANCE_SCENARIO`), in which
//! revision (`MCP_CONFORMANCE_PROTOCOL_VERSION`), and what there is to know for it (`MCP_CONFORMANCE_CONTEXT`). Ends with success once
//! the endpoint has done what the scenario is about, and mcp-pipe has ended in order. Says what went wrong, with the log, if not.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "a program for tests")]

#[path = "harness/conn.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod conn;
#[path = "harness/endpoint.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod endpoint;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::process::{Child, Command};

use crate::conn::Conn;
use crate::endpoint::FakeEndpoint;

/// The bound of every wait. All waits of a scenario together take less time than the suite gives it.
const BOUND: Duration = Duration::from_secs(30);

/// The newest revision that an endpoint can speak which begins with `initialize`.
const NEWEST_LEGACY: &str = "2025-11-25";

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(BOUND, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {} s for {what}", BOUND.as_secs()),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut args = std::env::args().skip(1);
    let (program, url) = (args.next().expect("mcp-pipe"), args.next().expect("an address"));
    let scenario = std::env::var("MCP_CONFORMANCE_SCENARIO").expect("the suite says which scenario it is");
    let context = std::env::var("MCP_CONFORMANCE_CONTEXT").ok();
    let context: Value = context.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap());

    let endpoint = FakeEndpoint::bind().await;
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    std::panic::set_hook(Box::new(move |panic| {
        eprintln!("{panic}\n--- the log of mcp-pipe ---\n{}", std::fs::read_to_string(&log).unwrap_or_default());
    }));
    let run = Run { program, dir: dir.path(), endpoint: &endpoint };
    if scenario == "initialize" {
        // Each `initialize` counts there, and one that comes before an endpoint has ever said who it is would be that of the cloud.
        let fixture = std::env::current_exe().unwrap().with_file_name("fixture");
        run.once(json!({"command": fixture}), &scenario, &context).await;
    }
    let mut entry = json!({"url": url});
    entry.as_object_mut().unwrap().extend(authorization(&context, dir.path()));
    run.once(entry, &scenario, &context).await;
}

/// Where mcp-pipe is run, and for whom.
struct Run<'a> {
    program: String,
    dir: &'a Path,
    endpoint: &'a FakeEndpoint,
}

impl Run<'_> {
    /// From its start to its end in order: with one server, and an endpoint that does what a scenario wants.
    async fn once(&self, mut entry: Value, scenario: &str, context: &Value) {
        entry["endpoint"] = self.endpoint.url().into();
        let config = json!({"mcpServers": {"conformance": entry}});
        std::fs::write(self.dir.join("mcp_config.json"), config.to_string()).unwrap();
        let log = std::fs::File::create(self.dir.join("log")).unwrap();
        let mut command = Command::new(&self.program);
        command.env_clear().env("HOME", self.dir).env("XDG_RUNTIME_DIR", self.dir).env("TMPDIR", self.dir);
        command.current_dir(self.dir).args(["--config", "mcp_config.json", "--log-level", "debug"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut conn = self.endpoint.accept().await;
        play(scenario, context, &mut conn).await;
        terminate(&mut child);
        let close = conn.wait_for_close().await.expect("a close frame");
        assert_eq!(u16::from(close.code), 1000, "{close}");
        assert!(conn.unanswered().is_empty(), "not answered: {:?}", conn.unanswered());
        let status = within("mcp-pipe to end", child.wait()).await.unwrap();
        assert!(status.success(), "{status}");
    }
}

#[cfg(unix)]
fn terminate(child: &mut Child) {
    use rustix::process::{Pid, Signal, kill_process};
    kill_process(Pid::from_raw(child.id().unwrap() as i32).unwrap(), Signal::TERM).unwrap();
}

/// The tests that need it run elsewhere.
#[cfg(not(unix))]
fn terminate(child: &mut Child) {
    child.start_kill().unwrap();
}

/// What the entry has to say of a server that wants to know who asks.
fn authorization(context: &Value, dir: &Path) -> Map<String, Value> {
    let Some(id) = context["client_id"].as_str() else { return Map::new() };
    let mut credentials = json!({"clientId": id});
    if let Some(secret) = context["client_secret"].as_str() {
        credentials["clientSecret"] = secret.into();
    }
    if let Some(key) = context["private_key_pem"].as_str() {
        std::fs::write(dir.join("key.pem"), key).unwrap();
        credentials["privateKeyFile"] = "key.pem".into();
        credentials["keyId"] = "conformance".into();
    }
    Map::from_iter([("auth".to_owned(), json!({"clientCredentials": credentials}))])
}

/// What the endpoint does in a scenario.
async fn play(scenario: &str, context: &Value, conn: &mut Conn) {
    let mut peer = Peer { conn, asked: 0 };
    peer.initialize().await;
    match scenario {
        "initialize" | "request-metadata" | "json-schema-ref-no-deref" => drop(peer.tools().await),
        "auth/client-credentials-basic" | "auth/client-credentials-jwt" => drop(peer.tools().await),
        "tools_call" => {
            peer.tools().await;
            let result = peer.call("add_numbers", json!({"a": 2, "b": 3})).await;
            assert_eq!(text_of(&result), "The sum of 2 and 3 is 5");
        }
        "elicitation-sep1034-client-defaults" => {
            peer.tools().await;
            let id =
                peer.send("tools/call", json!({"name": "test_client_elicitation_defaults", "arguments": {}})).await;
            peer.accept_with_defaults().await;
            let result = peer.result_of(id).await;
            assert!(text_of(&result).starts_with("Elicitation completed"), "{result}");
        }
        "sse-retry" => {
            peer.tools().await;
            let result = peer.call("test_reconnection", json!({})).await;
            assert_eq!(text_of(&result), "Reconnection test completed successfully");
        }
        "json-schema-2020-12-preservation" => {
            let tools = peer.tools().await;
            let tool = tools.iter().find(|tool| tool["name"] == "json_schema_2020_12_tool").expect("the tool");
            peer.call("json_schema_echo", json!({"schema": tool["inputSchema"]})).await;
        }
        "http-standard-headers" => {
            for tool in peer.tools().await {
                peer.call(tool["name"].as_str().unwrap(), json!({})).await;
            }
            for resource in peer.list("resources/list", "resources").await {
                peer.ask("resources/read", json!({"uri": resource["uri"]})).await;
            }
            for prompt in peer.list("prompts/list", "prompts").await {
                peer.ask("prompts/get", json!({"name": prompt["name"]})).await;
            }
        }
        "http-custom-headers" => {
            peer.tools().await;
            for call in context["toolCalls"].as_array().expect("the calls to make") {
                peer.call(call["name"].as_str().unwrap(), call["arguments"].clone()).await;
            }
        }
        "http-invalid-tool-headers" => {
            for tool in peer.tools().await {
                peer.call(tool["name"].as_str().unwrap(), json!({"region": "here"})).await;
            }
        }
        "sep-2322-client-request-state" => {
            peer.tools().await;
            let id = peer.send("tools/call", json!({"name": "test_mrtr_echo_state", "arguments": {}})).await;
            let asked = peer.conn.other("elicitation/create").await;
            // While that question is open: what belongs to it is not sent along.
            peer.call("test_mrtr_unrelated", json!({})).await;
            peer.answer(&asked, json!({"action": "accept", "content": {"confirmed": true}})).await;
            peer.result_of(id).await;
            let id = peer.send("tools/call", json!({"name": "test_mrtr_no_state", "arguments": {}})).await;
            let asked = peer.conn.other("elicitation/create").await;
            peer.answer(&asked, json!({"action": "accept", "content": {"confirmed": true}})).await;
            peer.result_of(id).await;
            peer.call("test_mrtr_no_result_type", json!({})).await;
        }
        other => panic!("nobody has said what is to be done in the scenario {other}"),
    }
}

/// An endpoint that begins with `initialize` and can answer questions.
struct Peer<'a> {
    conn: &'a mut Conn,
    asked: u64,
}

impl Peer<'_> {
    async fn initialize(&mut self) {
        let wanted = std::env::var("MCP_CONFORMANCE_PROTOCOL_VERSION").expect("the suite says in which revision");
        // A later revision is the server's alone.
        let version = if wanted.as_str() > NEWEST_LEGACY { NEWEST_LEGACY } else { &wanted };
        let params = json!({
            "protocolVersion": version,
            "capabilities": {"elicitation": {}, "sampling": {}, "roots": {}},
            "clientInfo": {"name": "conformance", "version": "1"},
        });
        self.ask("initialize", params).await;
        self.conn.send(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
    }

    async fn send(&mut self, method: &str, params: Value) -> u64 {
        self.asked += 1;
        self.conn.send(json!({"jsonrpc": "2.0", "id": self.asked, "method": method, "params": params})).await;
        self.asked
    }

    async fn result_of(&mut self, id: u64) -> Value {
        let mut answer = self.conn.answer_to(id).await;
        assert!(answer.get("result").is_some(), "{answer}");
        answer["result"].take()
    }

    async fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params).await;
        self.result_of(id).await
    }

    async fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.ask("tools/call", json!({"name": tool, "arguments": arguments})).await
    }

    async fn list(&mut self, method: &str, key: &str) -> Vec<Value> {
        let mut result = self.ask(method, json!({})).await;
        serde_json::from_value(result[key].take()).unwrap()
    }

    async fn tools(&mut self) -> Vec<Value> {
        self.list("tools/list", "tools").await
    }

    /// Answers what a server has asked.
    async fn answer(&mut self, asked: &Value, result: Value) {
        self.conn.send(json!({"jsonrpc": "2.0", "id": asked["id"], "result": result})).await;
    }

    /// Answers a form with the values that its fields begin with.
    async fn accept_with_defaults(&mut self) {
        let asked = self.conn.other("elicitation/create").await;
        let fields = asked["params"]["requestedSchema"]["properties"].as_object().expect("a form");
        let content: Map<_, _> = fields.iter().map(|(name, field)| (name.clone(), field["default"].clone())).collect();
        self.answer(&asked, json!({"action": "accept", "content": content})).await;
    }
}

fn text_of(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text in {result}"))
}
