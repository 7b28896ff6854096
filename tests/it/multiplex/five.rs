//! Five real servers on one connection, as one, to the official SDKs' clients.

use std::collections::BTreeSet;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::harness::{
    Client, Conn, Daemon, FakeEndpoint, Setup, built, calculator_entry, everything, example, installed, multiplex,
};
use crate::sdk_clients::{python, typescript, use_everything};

const FAST: &str = r#"
import asyncio
from fastmcp import Context, FastMCP

server = FastMCP("fast")

@server.tool
async def wait(ms: int, ctx: Context) -> str:
    for step in range(1, 5):
        await asyncio.sleep(ms / 4000)
        await ctx.report_progress(step, 4)
    return f"waited {ms} ms"

@server.tool
def shout(text: str) -> str:
    return text.upper()

server.run()
"#;

/// Name, a part of the command line of the process that speaks, a quick call, and what its result says.
type Member = (&'static str, &'static str, &'static str, Value, &'static str);

/// One of each kind: the SDKs of TypeScript, Python and Rust, FastMCP, and a server without an SDK.
fn members() -> [Member; 5] {
    [
        ("everything", "node ", "get-sum", json!({"a": 2, "b": 3}), "The sum of 2 and 3 is 5."),
        ("clock", "sdk_clock.py", "days_until", json!({"date": "2000-01-01"}), "-"),
        ("fast", "fast.py", "shout", json!({"text": "grüß"}), "GRÜSS"),
        ("rust", "rust_server", "reverse", json!({"text": "abc"}), "cba"),
        ("calculator", "calculator.py", "multiply", json!({"a": 6, "b": 7}), "42"),
    ]
}

/// The five on one connection, which is given to a client. `None` where they aren't installed.
async fn serve() -> Option<(Daemon, FakeEndpoint, Conn)> {
    let (everything, python) = (everything()?, installed("MCP_PIPE_TEST_PYTHON")?);
    let endpoint = FakeEndpoint::bind().await;
    let entries = [
        ("everything", everything),
        ("clock", json!({"command": python, "args": [example("sdk_clock.py")]})),
        ("fast", json!({"command": python, "args": ["fast.py"]})),
        ("rust", json!({"command": built("rust_server")})),
        ("calculator", calculator_entry()),
    ];
    let config = multiplex(&endpoint, entries);
    let daemon = Setup::new().file("fast.py", FAST).config(&config).start("info");
    let conn = endpoint.accept().await;
    Some((daemon, endpoint, conn))
}

async fn tools(client: &mut Client) -> Vec<Value> {
    client.ask("tools/list", json!({})).await["tools"].as_array().unwrap().clone()
}

async fn use_five(client: &mut Client) {
    let instructions = client.ready["instructions"].as_str().unwrap();
    assert!(instructions.contains("Use reverse for text."), "{instructions}");
    for capability in ["tools", "prompts", "resources", "completions", "logging"] {
        assert!(client.ready["capabilities"][capability].is_object(), "{}", client.ready);
    }
    use_everything(client).await;
    for (name, _, tool, arguments, says) in members() {
        let result = client.call(tool, arguments).await;
        assert!(result.contains(says), "{name}: {result}");
    }
    let tools = tools(client).await;
    let names: BTreeSet<&str> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), tools.len(), "each name once");
    for name in ["now", "days_until", "wait", "shout", "reverse", "countdown", "add", "evaluate", "echo"] {
        assert!(names.contains(name), "{name} is not in {names:?}");
    }
    // Each tool reaches a server that knows it and reads its arguments.
    for tool in &tools {
        // These can be called as a task only (MCP 2025-11-25), which is another method.
        if tool["execution"]["taskSupport"] == "required" {
            continue;
        }
        let name = tool["name"].as_str().unwrap();
        let number = client.send_call(name, arguments_of(name)).await;
        let outcome = client.outcome(number).await;
        let said = outcome["result"]["content"][0]["text"].as_str().unwrap_or_default();
        assert!(outcome["result"].is_object() && outcome["result"]["isError"] != true, "{name}: {outcome}");
        assert!(!said.to_lowercase().contains("unknown tool"), "{name}: {outcome}");
    }

    // Two calls under way at two servers, with progress of both; one is cancelled.
    let fast = client.send_call("wait", json!({"ms": 2000})).await;
    let rust = client.send_call("countdown", json!({"from": 1000, "ms": 50})).await;
    assert_eq!(client.progress(rust).await["total"].as_f64(), Some(1000.0));
    assert_eq!(client.progress(fast).await["total"].as_f64(), Some(4.0));
    client.cancel(rust).await;
    assert!(client.outcome(rust).await["error"].is_object());
    assert!(client.outcome(fast).await["result"].is_object());
}

fn arguments_of(tool: &str) -> Value {
    match tool {
        "echo" => json!({"message": "hi"}),
        "get-sum" | "add" | "subtract" | "multiply" | "divide" => json!({"a": 6, "b": 3}),
        "get-annotated-message" => json!({"messageType": "success"}),
        "get-resource-reference" => json!({"resourceType": "Text", "resourceId": 1}),
        "get-structured-content" => json!({"location": "Chicago"}),
        "gzip-file-as-resource" => json!({"name": "a.gz", "data": "data:text/plain,abc"}),
        "trigger-long-running-operation" => json!({"duration": 0.1, "steps": 1}),
        "trigger-sampling-request" | "trigger-sampling-request-async" => json!({"prompt": "?"}),
        "trigger-url-elicitation" => json!({"url": "https://example.com/"}),
        "evaluate" => json!({"expression": "1 + 1"}),
        "days_until" => json!({"date": "2030-01-01"}),
        "wait" => json!({"ms": 40}),
        "shout" | "reverse" => json!({"text": "abc"}),
        "countdown" => json!({"from": 2, "ms": 1}),
        _ => json!({}),
    }
}

#[tokio::test]
async fn the_typescript_client_uses_five_servers_as_one() {
    let Some((daemon, _endpoint, conn)) = serve().await else { return };
    let mut client = typescript(conn).await;
    use_five(&mut client).await;
    daemon.stop_closing([&mut client.close().await]).await;
}

#[tokio::test]
async fn the_python_client_uses_five_servers_as_one() {
    let Some((daemon, _endpoint, conn)) = serve().await else { return };
    let mut client = python(conn).await;
    use_five(&mut client).await;
    daemon.stop_closing([&mut client.close().await]).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn killing_any_of_five_servers_in_the_middle_of_a_call_costs_only_that_call() {
    let Some((daemon, endpoint, conn)) = serve().await else { return };
    let mut client = typescript(conn).await;
    let before = tools(&mut client).await;
    for (killed, command, tool, arguments, says) in members() {
        // It stands still, so that the call is under way for sure.
        let pid = pid_of(&daemon, command);
        kill_process(pid, Signal::STOP).unwrap();
        let lost = client.send_call(tool, arguments.clone()).await;
        let mut others = Vec::new();
        for (name, _, tool, arguments, says) in members().into_iter().filter(|member| member.0 != killed) {
            others.push((name, client.send_call(tool, arguments.clone()).await, says));
            assert!(client.call(tool, arguments).await.contains(says), "{name} while {killed} stands still");
        }
        let kept = (killed != "fast").then_some(client.send_call("wait", json!({"ms": 400})).await);
        kill_process(pid, Signal::KILL).unwrap();
        let error = client.outcome(lost).await;
        assert!(error["error"]["message"].as_str().is_some_and(|why| why.contains(killed)), "{error}");
        for (name, number, says) in others {
            let outcome = client.outcome(number).await;
            let said = outcome["result"]["content"][0]["text"].as_str();
            assert!(said.is_some_and(|said| said.contains(says)), "{name} when {killed} was killed: {outcome}");
        }
        if let Some(kept) = kept {
            assert!(client.outcome(kept).await["result"].is_object(), "a call under way when {killed} was killed");
        }
        assert_eq!(tools(&mut client).await, before, "the list stays while {killed} is down");
        // A call waits for the next life, but not for ever.
        let mut said = None;
        for _ in 0..5 {
            said = said.or(client.attempt(tool, &arguments).await);
        }
        assert!(said.as_ref().is_some_and(|said| said.contains(says)), "{killed} is back: {said:?}");
    }
    assert_eq!(endpoint.accepted(), 1);
    daemon.stop_closing([&mut client.close().await]).await;
}

/// The process of the run whose command line says this.
#[cfg(target_os = "linux")]
fn pid_of(daemon: &Daemon, part: &str) -> Pid {
    let processes = daemon.processes();
    let is_it = |line: &str| line.contains(part) && !line.starts_with("sh ") && !line.starts_with("npm ");
    let found: Vec<i32> = processes.iter().filter(|(_, line)| is_it(line)).map(|(pid, _)| *pid).collect();
    assert_eq!(found.len(), 1, "{part}: {processes:?}");
    Pid::from_raw(found[0]).unwrap()
}
