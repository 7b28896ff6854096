//! Servers as people run them, from npm and PyPI, in front of an endpoint that behaves as the cloud does.
//!
//! Where they are is said by two variables, which `.ci/run` sets: `MCP_PIPE_TEST_PYTHON` (a Python that has the
//! packages `mcp`, `fastmcp` and `websockets`) and `MCP_PIPE_TEST_NODE_MODULES` (a `node_modules` that has `ws`,
//! `@modelcontextprotocol/sdk` and `@modelcontextprotocol/server-everything`). Without one its tests are skipped, which
//! is said; with `CI=true` they fail.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::harness::{Conn, Daemon, FakeEndpoint, Setup, config, everything, example, installed, names, text_of};

/// Starts it as the server `x`, and accepts its connection.
pub(super) async fn start(setup: Setup, mut entry: Value) -> (FakeEndpoint, Daemon, Conn) {
    let endpoint = FakeEndpoint::bind().await;
    entry["endpoint"] = endpoint.url().into();
    let daemon = setup.config(&config([("x", entry)])).start("debug");
    let conn = endpoint.accept().await;
    (endpoint, daemon, conn)
}

/// The pid of the only process of the run whose command line says this.
fn pid_of(daemon: &Daemon, part: &str) -> i32 {
    let processes = daemon.processes();
    let is_it = |line: &str| line.starts_with("node ") && line.contains(part);
    let found: Vec<i32> = processes.iter().filter(|(_, line)| is_it(line)).map(|(pid, _)| *pid).collect();
    assert_eq!(found.len(), 1, "{processes:?}");
    found[0]
}

/// A long operation that reports its progress under a token.
async fn operate(conn: &mut Conn, id: u64, seconds: u64) {
    let arguments = json!({"duration": seconds, "steps": 2 * seconds});
    let meta = json!({"progressToken": format!("of {id}")});
    let params = json!({"name": "trigger-long-running-operation", "arguments": arguments, "_meta": meta});
    conn.send(json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})).await;
}

#[tokio::test]
async fn server_everything_serves_the_cloud() {
    let Some(entry) = everything() else { return };
    let (_endpoint, daemon, mut conn) = start(Setup::new(), entry).await;
    let list = conn.handshake().await;
    assert!(names(&list).contains(&"echo") && names(&list).len() > 10, "{:?}", names(&list));

    // Its own request, with the id 0 that our initialize had, is answered by us.
    let roots = conn.other("roots/list").await;
    let own = json!([{"uri": "file:///seven", "name": "seven"}]);
    conn.send(json!({"jsonrpc": "2.0", "id": roots["id"], "result": {"roots": own}})).await;
    let seen = conn.call(0, "get-roots-list", json!({})).await;
    assert!(text_of(&seen).contains("file:///seven"), "{seen}");

    assert_eq!(text_of(&conn.call(2, "get-sum", json!({"a": 2, "b": 3})).await), "The sum of 2 and 3 is 5.");

    // A TypeScript server leaves the first unanswered and refuses the second, so neither gets there as it is.
    conn.send(json!({"jsonrpc": "2.0", "id": 3, "method": "tools/list", "params": null})).await;
    assert!(names(&conn.answer_to(3).await).contains(&"get-env"));
    assert!(text_of(&conn.call(4, "get-env", Value::Null).await).contains("PATH"));

    operate(&mut conn, 5, 1).await;
    let progress = conn.other("notifications/progress").await;
    assert_eq!(progress["params"]["progressToken"], "of 5", "{progress}");
    assert!(text_of(&conn.answer_to(5).await).contains("completed"));

    // The cancelled call takes 10 s; what is asked after it doesn't wait, and the stop at the end neither.
    operate(&mut conn, 6, 10).await;
    conn.other("notifications/progress").await;
    conn.send(json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 6}})).await;
    assert!(conn.call(7, "echo", json!({"message": "on it goes"})).await["result"].is_object());
    let stopped = std::time::Instant::now();
    daemon.stop_closing([&mut conn]).await;
    assert!(stopped.elapsed().as_secs_f64() < 4.0, "it waited for the cancelled call: {:?}", stopped.elapsed());
}

#[tokio::test]
async fn server_everything_keeps_its_process_through_reconnects_and_serves_three_robots() {
    let Some(entry) = everything() else { return };
    let (endpoint, daemon, mut conn) = start(Setup::new(), entry).await;
    conn.handshake().await;
    let pid = pid_of(&daemon, "mcp-server-everything stdio");
    operate(&mut conn, 2, 5).await;
    conn.other("notifications/progress").await;
    conn.reset();

    let mut conn = endpoint.accept().await;
    for id in ["a", "b", "c"] {
        conn.initialize(id).await;
        conn.send(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
        conn.send(json!({"jsonrpc": "2.0", "id": format!("{id} list"), "method": "tools/list"})).await;
    }
    for id in ["a", "b", "c"] {
        assert!(names(&conn.answer_to(format!("{id} list")).await).contains(&"echo"));
    }
    // The id of the call that went with the first connection.
    assert_eq!(text_of(&conn.call(2, "echo", json!({"message": "mine"})).await), "Echo: mine");
    assert_eq!(pid_of(&daemon, "mcp-server-everything stdio"), pid, "the same process");
    daemon.stop_closing([&mut conn]).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn killing_the_node_under_npx_costs_the_call_and_brings_another() {
    let Some(entry) = everything() else { return };
    let (endpoint, daemon, mut conn) = start(Setup::new(), entry).await;
    conn.handshake().await;
    let pid = pid_of(&daemon, "mcp-server-everything stdio");
    operate(&mut conn, 2, 10).await;
    conn.other("notifications/progress").await;
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    let lost = conn.answer_to(2).await;
    assert!(lost["error"]["message"].as_str().is_some_and(|why| why.starts_with("not answered: ")), "{lost}");
    // It waits for the next life, which is initialised with what the endpoint said to the first; where npx takes longer than
    // a call may wait, the next one does.
    let mut back = conn.call(3, "echo", json!({"message": "back"})).await;
    for id in 4..20 {
        let is_starting = back["error"]["message"].as_str().is_some_and(|why| why.contains("has been starting"));
        if !is_starting {
            break;
        }
        back = conn.call(id, "echo", json!({"message": "back"})).await;
    }
    assert_eq!(text_of(&back), "Echo: back");
    assert_ne!(pid_of(&daemon, "mcp-server-everything stdio"), pid);
    assert_eq!(endpoint.accepted(), 1);
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn a_fastmcp_server_serves_the_cloud() {
    const SERVER: &str = r#"
from fastmcp import Context, FastMCP

server = FastMCP("fast")

@server.tool
async def shout(text: str, ctx: Context) -> str:
    await ctx.report_progress(1, 2)
    return text.upper()

@server.tool
def fail() -> str:
    raise ValueError("on purpose")

server.run()
"#;
    let Some(python) = installed("MCP_PIPE_TEST_PYTHON") else { return };
    let setup = Setup::new().file("fast.py", SERVER);
    let (_endpoint, daemon, mut conn) = start(setup, json!({"command": python, "args": ["fast.py"]})).await;
    assert_eq!(names(&conn.handshake().await), ["shout", "fail"]);
    let meta = json!({"progressToken": 0});
    let params = json!({"name": "shout", "arguments": {"text": "grüß"}, "_meta": meta, "serialNumber": "7"});
    conn.send(json!({"jsonrpc": "2.0", "id": 0, "method": "tools/call", "params": params})).await;
    assert_eq!(text_of(&conn.answer_to(0).await), "GRÜSS");
    assert_eq!(conn.other("notifications/progress").await["params"]["progressToken"], 0);
    assert_eq!(conn.call(2, "fail", Value::Null).await["result"]["isError"], true);
    conn.send(json!({"jsonrpc": "2.0", "id": 3, "method": "vendor/unknown", "params": null})).await;
    assert!(conn.answer_to(3).await["error"]["code"].is_i64(), "its own answer");
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn the_example_with_the_official_sdk_serves_the_cloud() {
    let Some(python) = installed("MCP_PIPE_TEST_PYTHON") else { return };
    let entry = json!({"command": python, "args": [example("sdk_clock.py")]});
    let (endpoint, daemon, mut conn) = start(Setup::new(), entry).await;
    assert_eq!(names(&conn.handshake().await), ["now", "days_until"]);
    assert!(text_of(&conn.call(2, "now", Value::Null).await).contains("UTC"));
    conn.close(1012).await;
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    let answer = conn.call(2, "days_until", json!({"date": "2000-01-01"})).await;
    assert!(text_of(&answer).starts_with('-'), "{answer}");
    let answer = conn.call(3, "now", json!({"timezone": "Nowhere/X"})).await;
    assert!(text_of(&answer).contains("unknown timezone 'Nowhere/X'; use an IANA name"), "{answer}");
    daemon.stop_closing([&mut conn]).await;
}
