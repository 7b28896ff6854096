//! The gateway under what comes over months, in short: sessions that begin and end, many at a time, and requests that nobody should send.
//! `MCP_PIPE_TEST_ROUNDS` says how much of it, as many times 15 sessions and 50 requests.

use std::fs;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{SinkExt as _, StreamExt as _, stream};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

use crate::gateway::url;
use crate::harness::{Daemon, McpHttp, Setup, config, fixture_entry, rounds, within};

/// How many clients act at a time.
const AT_ONCE: usize = 32;

async fn served(gateway: Value) -> (Daemon, McpHttp) {
    let mut all = config([("x", fixture_entry(&[]))]);
    all["gateway"] = gateway;
    let daemon = Setup::new().config(&all).args(["serve", "--listen", "127.0.0.1:0"]).start("info");
    daemon.wait_for_event("ALL_UP").await;
    let at = McpHttp::at(&url(&daemon).await);
    (daemon, at)
}

/// Descriptors that a daemon has open, and its memory in KiB.
fn taken(daemon: &Daemon) -> (usize, u64) {
    let of = format!("/proc/{}", daemon.pid());
    let status = fs::read_to_string(format!("{of}/status")).unwrap();
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let memory = memory.trim().trim_end_matches(" kB").parse().unwrap();
    (fs::read_dir(format!("{of}/fd")).unwrap().count(), memory)
}

/// Waits until a daemon has no more descriptors than these.
async fn until_back(daemon: &Daemon, descriptors: usize) {
    within("the descriptors to be given back", async {
        while taken(daemon).0 > descriptors {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

async fn lifecycle(at: &McpHttp, n: usize) {
    let mut client = at.clone();
    client.begin().await;
    if n.is_multiple_of(4) {
        // A stream that ends with its session.
        let _stream = client.send("GET", String::new()).await;
    }
    assert_eq!(client.call("echo", json!({"text": n.to_string()})).await, n.to_string());
    assert_eq!(client.status("DELETE", &Value::Null).await, 200);
    assert_eq!(client.status("POST", &json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})).await, 404);
}

#[tokio::test]
async fn sessions_that_have_ended_leave_nothing_behind() {
    let (daemon, at) = served(json!({})).await;
    let live = async |from: usize, count: usize| {
        stream::iter(from..from + count).for_each_concurrent(AT_ONCE, |n| lifecycle(&at, n)).await;
    };
    live(0, 300).await;
    sleep(Duration::from_millis(200)).await;
    let (descriptors, before) = taken(&daemon);
    live(300, 15 * rounds()).await;
    until_back(&daemon, descriptors).await;
    let after = taken(&daemon).1;
    // What an allocator keeps, and the log of a debug build.
    assert!(after < before + 6 * 1024, "{before} KiB before, {after} behind");
    daemon.stop().await;
}

#[tokio::test]
async fn a_thousand_sessions_at_a_time_are_served_and_one_more_is_told_to_come_later() {
    let (daemon, at) = served(json!({"maxConnections": 2000, "maxConnectionsPerAddress": 2000})).await;
    let (descriptors, _) = taken(&daemon);
    let sessions: Vec<McpHttp> = stream::iter(0..1000)
        .map(|_| async {
            let mut client = at.clone();
            client.begin().await;
            client
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let begin = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}});
    let refused = at.send("POST", begin.to_string()).await;
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    let calls = stream::iter(sessions.iter().cloned().enumerate()).map(async |(n, mut client)| {
        assert_eq!(client.call("echo", json!({"text": n.to_string()})).await, n.to_string());
        assert_eq!(client.status("DELETE", &Value::Null).await, 200);
    });
    calls.buffer_unordered(AT_ONCE).for_each(async |()| {}).await;
    until_back(&daemon, descriptors + 2).await;
    assert_eq!(at.send("POST", begin.to_string()).await.status(), 200);
    daemon.stop().await;
}

/// A request as it goes over the line, in parts that are spoilt one by one.
#[derive(Clone)]
struct Sent {
    line: Vec<u8>,
    headers: Vec<Vec<u8>>,
    body: Vec<u8>,
}

impl Sent {
    fn bytes(&self) -> Vec<u8> {
        let head = [&[self.line.clone()][..], &self.headers, &[Vec::new()]].concat().join(&b"\r\n"[..]);
        [head, b"\r\n".to_vec(), self.body.clone()].concat()
    }
}

/// What clients send, of both eras.
fn proper(host: &str, session: &str) -> Vec<Sent> {
    let common =
        [("Host", host), ("Accept", "application/json, text/event-stream"), ("Content-Type", "application/json")];
    let sent = |line: &str, more: &[(&str, &str)], body: &Value| {
        let header = |(name, value): &(&str, &str)| format!("{name}: {value}").into_bytes();
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let mut headers: Vec<_> = common.iter().chain(more).map(header).collect();
        headers.push(format!("Content-Length: {}", body.len()).into_bytes());
        Sent { line: format!("{line} HTTP/1.1").into_bytes(), headers, body }
    };
    let of_session = [("Mcp-Session-Id", session), ("MCP-Protocol-Version", "2025-11-25")];
    let hello =
        json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {}, "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"}});
    let modern = |method| [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", method), ("Mcp-Name", "echo")];
    let message = |method: &str, params: Value| json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
    let call = json!({"name": "echo", "arguments": {"text": "hi"}});
    let modern_call = json!({"name": "echo", "arguments": {"text": "hi"}, "_meta": meta});
    vec![
        sent("POST /mcp", &[], &message("initialize", hello)),
        sent("POST /mcp", &of_session, &message("tools/list", json!({}))),
        sent("POST /mcp/x", &of_session, &message("tools/call", call.clone())),
        sent("POST /mcp", &of_session, &message("tools/call", call)),
        sent("POST /mcp", &modern("tools/call"), &message("tools/call", modern_call.clone())),
        sent("POST /mcp/x", &modern("tools/list")[..2], &message("tools/list", json!({"_meta": meta}))),
        sent("DELETE /mcp", &[("Mcp-Session-Id", "none")], &Value::Null),
        sent("GET /", &[], &Value::Null),
        sent(
            "OPTIONS /mcp",
            &[("Origin", "http://localhost:1"), ("Access-Control-Request-Method", "POST")],
            &Value::Null,
        ),
    ]
}

/// Spoils some bytes, as a careless or hostile sender may.
fn spoil(bytes: &mut Vec<u8>, random: &mut StdRng) {
    let at = random.random_range(0..=bytes.len());
    match random.random_range(0..7) {
        0 => bytes.truncate(at),
        1 => bytes.insert(at, random.random()),
        2 if at < bytes.len() => bytes[at] = random.random(),
        3 => drop(bytes.splice(at..at, [b'[', b'{'].repeat(random.random_range(1..400)))),
        4 => drop(bytes.splice(at..at, *b"\xff\xfe\0\x1b[2J")),
        5 => drop(bytes.splice(at..at, b"9".repeat(random.random_range(1..400)))),
        _ => {
            let copy = bytes[at..].to_vec();
            bytes.extend(copy);
        }
    }
}

/// A request that is spoilt somewhere, as bytes.
fn spoilt(all: &[Sent], random: &mut StdRng) -> Vec<u8> {
    let mut sent = all[random.random_range(0..all.len())].clone();
    let at = random.random_range(0..sent.headers.len());
    match random.random_range(0..8) {
        0 => spoil(&mut sent.line, random),
        1 => spoil(&mut sent.headers[at], random),
        2 => drop(sent.headers.remove(at)),
        3 => sent.headers.push(sent.headers[at].clone()),
        _ => {
            spoil(&mut sent.body, random);
            // Most senders count rightly what they spoil.
            if let Some(length) = sent.headers.last_mut().filter(|_| random.random_ratio(9, 10)) {
                *length = format!("Content-Length: {}", sent.body.len()).into_bytes();
            }
        }
    }
    sent.bytes()
}

/// Sends bytes, and returns the status of the answer, if there is one.
async fn answer_to(host: &str, bytes: &[u8]) -> Option<u16> {
    let mut stream = TcpStream::connect(host).await.unwrap();
    // It may be refused before it is read to its end.
    let _refused = stream.write_all(bytes).await;
    let mut head = vec![0; 512];
    let read = match timeout(Duration::from_secs(1), stream.read(&mut head)).await {
        Ok(read) => read,
        // More of it is waited for, which does not come.
        Err(_) => {
            let _refused = stream.shutdown().await;
            within("an answer or the end", stream.read(&mut head)).await
        }
    };
    let head = String::from_utf8_lossy(&head[..read.unwrap_or_default()]).into_owned();
    head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

#[tokio::test]
async fn requests_that_nobody_should_send_are_refused_and_hurt_nobody() {
    let (daemon, at) = served(json!({"headerTimeout": "5s"})).await;
    let mut friend = at.clone();
    friend.begin().await;
    let all = proper(&at.host, friend.session.as_deref().unwrap());
    for sent in &all {
        let status = answer_to(&at.host, &sent.bytes()).await;
        assert!(status.is_some_and(|status| status < 500), "{status:?} for {}", String::from_utf8_lossy(&sent.bytes()));
    }
    let mut random = StdRng::seed_from_u64(2026);
    let requests: Vec<_> = (0..50 * rounds()).map(|_| spoilt(&all, &mut random)).collect();
    let told = stream::iter(&requests).map(async |request| (request, answer_to(&at.host, request).await));
    let told: Vec<_> = told.buffer_unordered(AT_ONCE).collect().await;
    for (request, status) in &told {
        // 503: it may have spoilt no more than who asks, and then there are many sessions.
        let is_clean = status.is_none_or(|status| status < 500 || status == 503 || status == 505);
        assert!(is_clean, "{status:?} for {}", String::from_utf8_lossy(request));
    }
    assert!(told.iter().filter(|(_, status)| status.is_some_and(|status| status >= 400)).count() > told.len() / 4);

    // The same over WebSocket, where a connection goes on or is closed.
    let socket = async |seed: u64| {
        let mut random = StdRng::seed_from_u64(seed);
        let stream = TcpStream::connect(&at.host).await.unwrap();
        let (mut socket, _) = client_async(format!("ws://{}/ws", at.host), stream).await.unwrap();
        for _ in 0..20 {
            let mut body = all[random.random_range(0..6)].body.clone();
            spoil(&mut body, &mut random);
            let frame = match String::from_utf8(body) {
                Ok(text) if random.random_ratio(9, 10) => Message::text(text),
                Ok(text) => Message::binary(text),
                Err(error) => Message::binary(error.into_bytes()),
            };
            if socket.send(frame).await.is_err() {
                return;
            }
        }
        // A last word that has an answer, unless the connection was closed.
        let last = json!({"jsonrpc": "2.0", "id": "last", "method": "ping"});
        let _closed = socket.send(Message::text(last.to_string())).await;
        within("an answer or the end", async {
            while let Some(Ok(message)) = socket.next().await {
                if message.to_text().is_ok_and(|text| text.contains("\"last\"")) {
                    break;
                }
            }
        })
        .await;
    };
    join_all((0..rounds() as u64).map(socket)).await;
    assert_eq!(friend.call("echo", json!({"text": "still here"})).await, "still here");
    assert!(!daemon.log_text().contains("FAULT"), "{}", daemon.log_text());
    daemon.stop().await;
}
