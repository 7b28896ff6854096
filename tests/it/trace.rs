//! The ids by which others tell a request: from its headers or its `_meta` to the server, to the log and to whoever looks on.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

use crate::control::Runtime;
use crate::gateway::url;
use crate::harness::{
    Daemon, FakeEndpoint, McpHttp, Setup, Web, body_of, config, field, fixture_entry, text_of, within,
};
use crate::logs::Follower;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const REQUEST: &str = "0f1c/req:1";

fn parent() -> String {
    format!("00-{TRACE}-b7ad6b7169203331-01")
}

/// A gateway to a server that answers calls with their `_meta`.
async fn served(runtime: &Runtime, more: Value) -> (Daemon, McpHttp) {
    let mut entry = fixture_entry(&["--meta"]);
    entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let config = json!({"gateway": {"listen": "127.0.0.1:0", "sse": true}, "mcpServers": {"x": entry}});
    let daemon = runtime.setup().config(&config).start("debug");
    daemon.wait_for_event("ALL_UP").await;
    let at = McpHttp::at(&url(&daemon).await);
    (daemon, at)
}

/// A call, as a message, with this `_meta` if there is one.
fn call(id: &str, tool: &str, meta: &Value) -> String {
    let mut params = json!({"name": tool, "arguments": {"ms": 60_000}});
    if !meta.is_null() {
        params["_meta"] = meta.clone();
    }
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}).to_string()
}

/// The `_meta` that the server has got with a call, and the request id in the head of the answer.
async fn called(client: &McpHttp, meta: &Value) -> (Value, Option<String>) {
    let answer = client.send("POST", call("c", "echo", meta)).await;
    let told = answer.headers().get("x-request-id").map(|id| id.to_str().unwrap().to_owned());
    let text = body_of(answer).await;
    let line = text.lines().map(|line| line.strip_prefix("data: ").unwrap_or(line)).find(|line| line.starts_with('{'));
    let answer: Value = serde_json::from_str(line.unwrap_or_else(|| panic!("{text}"))).unwrap();
    (serde_json::from_str(text_of(&answer)).unwrap(), told)
}

fn is_of(event: &'static str, trace: &'static str) -> impl Fn(&Value) -> bool {
    move |line| field(line, "event") == Some(event) && field(line, "trace") == Some(trace)
}

#[tokio::test]
async fn what_the_headers_of_a_legacy_client_say_reaches_the_server_and_the_log() {
    let (daemon, mut client) = served(&Runtime::new(), json!({})).await;
    client.begin().await;
    let untraced = called(&client, &Value::Null).await;
    assert_eq!(untraced, (Value::Null, None));
    client.headers = vec![("traceparent", parent()), ("tracestate", "a=1".into()), ("x-request-id", REQUEST.into())];
    let all = json!({"traceparent": parent(), "tracestate": "a=1", "mcp-pipe/requestId": REQUEST});
    assert_eq!(called(&client, &Value::Null).await, (all, Some(REQUEST.to_owned())));
    for event in ["MESSAGE_RECEIVED", "MESSAGE_SENT", "CALL_SERVED"] {
        daemon.wait_for("the trace", is_of(event, TRACE)).await;
    }
    // What the client itself has written counts.
    let own = json!({"traceparent": "mine", "x": 1});
    let both = json!({"traceparent": "mine", "x": 1, "mcp-pipe/requestId": REQUEST});
    assert_eq!(called(&client, &own).await.0, both);
    daemon.wait_for("the request id", is_of("CALL_SERVED", REQUEST)).await;
    // What is not as it has to be says nothing.
    let wrong =
        vec![("traceparent", parent().to_uppercase()), ("tracestate", "a=1".into()), ("x-request-id", "a b".into())];
    client.headers = wrong;
    assert_eq!(called(&client, &Value::Null).await, (Value::Null, None));
    // A handshake is said again to servers that start anew, when its trace is long over.
    (client.headers, client.session) = (vec![("traceparent", parent())], None);
    client.begin().await;
    let lines = daemon.log_lines();
    let mut hellos = lines.iter().filter(|line| field(line, "method") == Some("initialize")).peekable();
    assert!(hellos.peek().is_some() && hellos.all(|hello| field(hello, "trace").is_none()), "{lines:?}");
    daemon.stop().await;
}

#[tokio::test]
async fn so_does_what_a_modern_client_says_and_one_over_websocket() {
    let (daemon, client) = served(&Runtime::new(), json!({})).await;
    let mut modern = client.clone();
    modern.headers = vec![
        ("mcp-protocol-version", "2026-07-28".into()),
        ("mcp-method", "tools/call".into()),
        ("mcp-name", "echo".into()),
        ("traceparent", parent()),
        ("x-request-id", REQUEST.into()),
    ];
    let said = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}, "tracestate": "b=2"});
    let all = json!({"traceparent": parent(), "tracestate": "b=2", "mcp-pipe/requestId": REQUEST});
    assert_eq!(called(&modern, &said).await, (all, Some(REQUEST.to_owned())));
    daemon.wait_for("the trace", is_of("CALL_SERVED", TRACE)).await;
    // No message over WebSocket has headers.
    let stream = tokio::net::TcpStream::connect(&client.host).await.unwrap();
    let mut socket = client_async(format!("ws://{}/ws", client.host), stream).await.unwrap().0;
    let params =
        json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}).to_string();
    let other = "4bf92f3577b34da6a3ce929d0e0e4736";
    let meta = json!({"traceparent": format!("00-{other}-00f067aa0ba902b7-00")});
    for message in [hello, r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#.into(), call("w", "echo", &meta)]
    {
        socket.send(Message::text(message)).await.unwrap();
    }
    let answer = loop {
        let answer = within("an answer", socket.next()).await.unwrap().unwrap();
        if answer.to_text().unwrap().contains("content") {
            break answer;
        }
    };
    assert!(answer.to_text().unwrap().contains(other), "{answer}");
    daemon.wait_for("the trace", is_of("CALL_SERVED", "4bf92f3577b34da6a3ce929d0e0e4736")).await;
    drop(socket);
    daemon.stop().await;
}

#[tokio::test]
async fn a_call_that_comes_to_nothing_is_told_with_its_trace() {
    let (daemon, mut client) = served(&Runtime::new(), json!({"timeout": "200ms"})).await;
    client.begin().await;
    client.headers = vec![("traceparent", parent())];
    let answer = body_of(client.send("POST", call("slow", "sleep", &Value::Null)).await).await;
    assert!(answer.contains("did not answer"), "{answer}");
    daemon.wait_for("the call that was cut", is_of("CALL_CUT", TRACE)).await;
    let failed = daemon.wait_for("what has become of it", is_of("CALL_FAILED", TRACE)).await;
    assert_eq!(field(&failed, "outcome"), Some("timeout"));
    client.headers = vec![("x-request-id", REQUEST.into())];
    let answer = body_of(client.send("POST", call("none", "nothing", &Value::Null)).await).await;
    assert!(answer.contains("error"), "{answer}");
    let failed = daemon.wait_for("what has become of it", is_of("CALL_FAILED", REQUEST)).await;
    assert_eq!(field(&failed, "outcome"), Some("refused"));
    daemon.stop().await;
}

#[tokio::test]
async fn whoever_looks_on_sees_the_trace_of_a_message_and_of_its_answer() {
    let runtime = Runtime::new();
    let (daemon, mut client) = served(&runtime, json!({})).await;
    client.begin().await;
    client.headers = vec![("traceparent", parent())];
    let (mut json, mut text) =
        (Follower::running(&runtime, &["tap"], &["--json"]), Follower::running(&runtime, &["tap"], &[]));
    loop {
        called(&client, &Value::Null).await;
        let both = async { (json.until("\"outcome\":\"ok\"").await, text.until("← tools/call").await) };
        let Ok((line, words)) = timeout(std::time::Duration::from_millis(200), both).await else { continue };
        let line: Value = serde_json::from_str(&line).unwrap();
        // Of a call that was under way before, nothing is known.
        if line["trace"].is_string() && words.contains("trace") {
            assert_eq!(line["trace"], TRACE);
            assert!(words.contains(&format!("trace {TRACE}")), "{words}");
            break;
        }
    }
    daemon.stop().await;
    assert_eq!((json.exit().await.0, text.exit().await.0), (0, 0));
}

#[tokio::test]
async fn a_remote_server_of_the_modern_era_gets_the_trace_of_an_endpoint_where_mcp_has_it() {
    let web = Web::start(crate::eras::as_modern).await;
    let endpoint = FakeEndpoint::bind().await;
    let mut entry = json!({"url": web.url()});
    entry["endpoint"] = endpoint.url().into();
    let daemon = Setup::new().config(&config([("x", entry)])).start("debug");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    let meta = json!({"traceparent": parent(), "tracestate": "a=1", "baggage": "k=v"});
    conn.send(serde_json::from_str(&call("r", "echo", &meta)).unwrap()).await;
    daemon.wait_for("the trace", is_of("CALL_SERVED", TRACE)).await;
    let asked = web.asked();
    let asked = asked.iter().find(|asked| asked.tool() == Some("echo")).unwrap();
    for (name, value) in meta.as_object().unwrap() {
        assert_eq!(&asked.body["params"]["_meta"][name], value, "{asked:?}");
    }
    assert_eq!((asked.header("traceparent"), asked.header("tracestate")), (None, None));
    assert_eq!(text_of(&conn.answer_to("r").await), "echo");
    daemon.stop_closing([&mut conn]).await;
}
