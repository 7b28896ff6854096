//! The gateway over WebSocket and over HTTP+SSE: the program, real servers, and clients over real connections.

use std::path::PathBuf;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Daemon, Setup, field, fixture_entry, installed, text_of, within};

/// A gateway to the servers `x` and `y`, and its address without a scheme.
async fn gateway() -> (Daemon, String) {
    let servers = json!({"x": fixture_entry(&[]), "y": fixture_entry(&[])});
    let config = json!({"gateway": {"listen": "127.0.0.1:0", "sse": true}, "mcpServers": servers});
    let daemon = Setup::new().config(&config).start("info");
    daemon.wait_for_event("ALL_UP").await;
    let is_told = |line: &Value| field(line, "message").is_some_and(|message| message.contains("served at"));
    let line = daemon.wait_for("a gateway", is_told).await;
    let url = field(&line, "message").unwrap().split_once("http://").unwrap().1;
    let address = url.strip_suffix("/mcp").unwrap().to_owned();
    (daemon, address)
}

#[tokio::test]
async fn calls_of_a_connection_that_ends_are_cancelled_and_the_stop_closes_the_others() {
    let (daemon, address) = gateway().await;
    let connect = async || {
        let stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        client_async(format!("ws://{address}/ws/x"), stream).await.unwrap().0
    };
    let (mut one, mut other) = (connect().await, connect().await);
    for socket in [&mut one, &mut other] {
        let client = json!({"name": "client", "version": "1"});
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
        let greeting = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
        socket.send(Message::text(greeting.to_string())).await.unwrap();
        let answer = within("an answer", socket.next()).await.unwrap().unwrap();
        assert!(answer.to_text().unwrap().contains("serverInfo"), "{answer}");
        socket.send(Message::text(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)).await.unwrap();
    }
    let call = |id: u64, tool: &str, arguments: Value| {
        let params = json!({"name": tool, "arguments": arguments});
        Message::text(json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}).to_string())
    };
    one.send(call(1, "sleep", json!({"ms": 60_000}))).await.unwrap();
    // By this answer the call before has been passed on.
    one.send(call(2, "echo", json!({"text": "hi"}))).await.unwrap();
    let answer: Value = {
        let answer = within("an answer", one.next()).await.unwrap().unwrap();
        serde_json::from_str(answer.to_text().unwrap()).unwrap()
    };
    assert_eq!(text_of(&answer), "hi");
    drop(one);
    let is_cancelled = |line: &Value| line.to_string().contains("cancelled");
    daemon.wait_for("that the server was told to cancel", is_cancelled).await;
    other.send(call(1, "sleep", json!({"ms": 300}))).await.unwrap();
    other.send(call(2, "echo", json!({"text": "there"}))).await.unwrap();
    let there = within("an answer", other.next()).await.unwrap().unwrap();
    assert!(there.to_text().unwrap().contains("there"), "{there}");
    let stopping = tokio::spawn(daemon.stop());
    let answer = within("the answer", other.next()).await.unwrap().unwrap();
    assert!(answer.to_text().unwrap().contains("\"id\":1"), "{answer}");
    let close = within("a close frame", other.next()).await.unwrap().unwrap();
    assert!(matches!(&close, Message::Close(Some(frame)) if u16::from(frame.code) == 1001), "{close:?}");
    while within("the end", other.next()).await.is_some_and(|message| message.is_ok()) {}
    within("the stop", stopping).await.unwrap();
}

#[tokio::test]
async fn the_old_python_sdk_uses_both_transports() {
    let Some(python) = installed("MCP_PIPE_TEST_OLD_PYTHON") else { return };
    let (daemon, address) = gateway().await;
    let client = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/clients/front_client.py");
    for (kind, url, tool) in [
        ("ws", format!("ws://{address}/ws"), "x__add"),
        ("ws", format!("ws://{address}/ws/y"), "add"),
        ("sse", format!("http://{address}/sse"), "x__add"),
        ("sse", format!("http://{address}/sse/y"), "add"),
    ] {
        let mut command = Command::new(&python);
        command.arg(&client).args([kind, &url, tool, r#"{"a": 2, "b": 3}"#]).kill_on_drop(true);
        let output = within("the client to end", command.output()).await.unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{kind} {url}: {text}{}", String::from_utf8_lossy(&output.stderr));
        let said: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(said["result"]["content"][0]["text"], "5", "{said}");
        assert_eq!(said["tools"].as_array().unwrap().iter().filter(|name| *name == tool).count(), 1, "{said}");
    }
    daemon.stop().await;
}
