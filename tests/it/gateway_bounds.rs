//! What the gateway lets come, and what it tells whom: connections, heads, guesses and calls of which there are too many, too large or too long.

use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::gateway::url;
use crate::harness::{Daemon, McpHttp, Setup, body_of, config, field, fixture_entry, text_of, within};

const KEY: &str = "key-of-mine-0123456";

/// A gateway to the server `x`, and a client of it.
async fn served(gateway: Value) -> (Daemon, McpHttp) {
    with_entry(gateway, json!({})).await
}

/// The same, with more in the entry of the server.
async fn with_entry(mut gateway: Value, more: Value) -> (Daemon, McpHttp) {
    let mut entry = fixture_entry(&[]);
    entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut all = config([("x", entry)]);
    if gateway["listen"].is_null() {
        gateway["listen"] = "127.0.0.1:0".into();
    }
    all["gateway"] = gateway;
    let daemon = Setup::new().config(&all).start("info");
    daemon.wait_for_event("ALL_UP").await;
    let at = McpHttp::at(&url(&daemon).await);
    (daemon, at)
}

/// A connection from an address of this machine.
async fn from(ip: &str, to: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{ip}:0").parse().unwrap()).unwrap();
    within("a connection", socket.connect(to.parse().unwrap())).await.unwrap()
}

/// What is answered to this, up to the end of its head.
async fn head(stream: &mut TcpStream, said: &str) -> String {
    stream.write_all(said.as_bytes()).await.unwrap();
    let mut told = Vec::new();
    while !told.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut piece = [0; 1024];
        let len = within("an answer", stream.read(&mut piece)).await.unwrap();
        assert!(len > 0, "{}", String::from_utf8_lossy(&told));
        told.extend_from_slice(&piece[..len]);
    }
    String::from_utf8_lossy(&told).into_owned()
}

const LIVE: &str = "HEAD /livez HTTP/1.1\r\nhost: localhost\r\n\r\n";

// Only Linux has all of 127.0.0.0/8.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn there_are_so_many_connections_in_all_and_from_one_address() {
    let (daemon, at) = served(json!({"maxConnections": 5, "maxConnectionsPerAddress": 3})).await;
    let mut mine = Vec::new();
    for _ in 0..3 {
        let mut stream = from("127.0.0.2", &at.host).await;
        assert!(head(&mut stream, LIVE).await.starts_with("HTTP/1.1 200"));
        mine.push(stream);
    }
    // One more is closed at once, and others come from elsewhere.
    let mut refused = from("127.0.0.2", &at.host).await;
    assert!(matches!(within("the end", refused.read(&mut [0; 16])).await, Ok(0) | Err(_)));
    let mut others = Vec::new();
    for _ in 0..2 {
        let mut stream = from("127.0.0.3", &at.host).await;
        assert!(head(&mut stream, LIVE).await.starts_with("HTTP/1.1 200"));
        others.push(stream);
    }
    // Beyond all that there may be, one waits until another has ended.
    let mut late = from("127.0.0.4", &at.host).await;
    late.write_all(LIVE.as_bytes()).await.unwrap();
    assert!(head(&mut mine[0], LIVE).await.starts_with("HTTP/1.1 200"));
    assert!(late.try_read(&mut [0; 16]).is_err(), "nobody has answered it");
    drop(mine.pop());
    assert!(head(&mut late, "").await.starts_with("HTTP/1.1 200"));
    daemon.stop().await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let (daemon, at) = served(json!({})).await;
    let few: String = (0..100).map(|n| format!("x-{n}: y\r\n")).collect();
    let many: String = (0..200).map(|n| format!("x-{n}: y\r\n")).collect();
    let large = format!("x-large: {}\r\n", "y".repeat(70_000));
    for (headers, status) in [(few, 200), (many, 431), (large, 431)] {
        let mut stream = TcpStream::connect(&at.host).await.unwrap();
        let said = LIVE.replace("\r\n\r\n", &format!("\r\n{headers}\r\n"));
        let told = head(&mut stream, &said).await;
        assert!(told.starts_with(&format!("HTTP/1.1 {status}")), "{told}");
    }
    daemon.stop().await;
}

#[tokio::test]
async fn http_2_is_spoken_with_many_requests_on_one_connection() {
    let (daemon, at) = served(json!({})).await;
    let stream = TcpStream::connect(&at.host).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let ask = |method: &str, params: Value, session: Option<&str>| {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        let mut request = http::Request::post(format!("http://{}/mcp", at.host))
            .header("accept", "application/json")
            .header("content-type", "application/json");
        if let Some(session) = session {
            request = request.header("mcp-session-id", session);
        }
        let (mut sender, request) = (sender.clone(), request.body(Full::new(Bytes::from(body))).unwrap());
        async move { within("an answer", sender.send_request(request)).await.unwrap() }
    };
    let client = json!({"name": "t", "version": "1"});
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
    let begun = ask("initialize", params, None).await;
    assert_eq!((begun.status().as_u16(), begun.version()), (200, http::Version::HTTP_2));
    let first = begun.headers()["mcp-session-id"].to_str().unwrap().to_owned();
    let call = |text: &str| json!({"name": "echo", "arguments": {"text": text}});
    let params =
        json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "u", "version": "1"}});
    let second = ask("initialize", params, None).await.headers()["mcp-session-id"].to_str().unwrap().to_owned();
    let (one, two) =
        tokio::join!(ask("tools/call", call("one"), Some(&first)), ask("tools/call", call("two"), Some(&second)));
    for (answer, want) in [(one, "one"), (two, "two")] {
        let said: Value = serde_json::from_str(&body_of(answer).await).unwrap();
        assert_eq!(text_of(&said), want);
    }
    daemon.stop().await;
}

#[tokio::test]
async fn at_loopback_however_its_address_is_written_only_names_of_this_machine_are_asked_for() {
    for listen in ["127.0.0.1:0", "[::1]:0", "[::ffff:127.0.0.1]:0"] {
        if std::net::TcpListener::bind(listen).is_err() {
            continue; // this machine has no IPv6
        }
        let (daemon, at) = served(json!({"listen": listen})).await;
        assert_eq!(at.clone().begin().await["result"]["protocolVersion"], "2025-11-25", "{listen}");
        let mut stream = TcpStream::connect(&at.host).await.unwrap();
        let port = at.host.rsplit_once(':').unwrap().1;
        for (host, status) in [("localhost", 200), ("[::1]", 200), ("127.0.0.1", 200), ("evil.example", 403)] {
            let told = head(&mut stream, &LIVE.replace("localhost", &format!("{host}:{port}"))).await;
            assert!(told.starts_with(&format!("HTTP/1.1 {status}")), "{listen} {host}: {told}");
            // Of what follows nothing is left.
            stream = TcpStream::connect(&at.host).await.unwrap();
        }
        daemon.stop().await;
    }
}

#[tokio::test]
async fn the_end_of_a_session_cancels_its_calls_at_the_server() {
    let (daemon, mut client) = served(json!({})).await;
    client.begin().await;
    let params = json!({"name": "sleep", "arguments": {"ms": 60_000}, "_meta": {"progressToken": 1}});
    let call = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params});
    // Its first event is there before any answer, for the client to come back by.
    let _stream = client.send("POST", call.to_string()).await;
    assert_eq!(client.call("echo", json!({"text": "hi"})).await, "hi");
    assert_eq!(client.status("DELETE", &Value::Null).await, 200);
    daemon.wait_for("that the server was told", |line| line.to_string().contains("cancelled")).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_call_that_takes_too_long_has_the_code_of_its_clients_era() {
    let (daemon, mut client) = with_entry(json!({}), json!({"timeout": "200ms"})).await;
    client.begin().await;
    let params = json!({"name": "sleep", "arguments": {"ms": 60_000}});
    let mut legacy = client.path("/mcp/x");
    legacy.begin().await;
    let told = legacy.ask("tools/call", params.clone()).await;
    assert_eq!(told["error"]["code"], -32001, "{told}");
    let mut modern = client.path("/mcp/x");
    let told = modern.ask_modern("tools/call", params).await;
    assert_eq!(
        (&told["error"]["code"], &told["error"]["data"]["reason"]),
        (&json!(-32603), &json!("timeout")),
        "{told}"
    );
    daemon.stop().await;
}

#[tokio::test]
async fn at_the_address_of_one_server_it_is_told_that_its_lists_may_change() {
    let (daemon, client) = served(json!({})).await;
    let mut one = client.path("/mcp/x");
    let told = one.begin().await;
    assert_eq!(told["result"]["capabilities"]["tools"]["listChanged"], true, "{told}");
    let mut modern = client.path("/mcp/x");
    let wanted = json!({"notifications": {"toolsListChanged": true}});
    let mut news = modern.send_modern("subscriptions/listen", wanted).await;
    let first = crate::gateway::piece(&mut news).await;
    assert!(first.contains("acknowledged") && first.contains(r#""toolsListChanged":true"#), "{first}");
    drop(news);
    daemon.stop().await;
}

#[tokio::test]
async fn over_websocket_a_client_of_another_era_and_a_batch_of_another_version_are_told_so() {
    let (daemon, at) = served(json!({})).await;
    let stream = TcpStream::connect(&at.host).await.unwrap();
    let (mut socket, _) = client_async(format!("ws://{}/ws", at.host), stream).await.unwrap();
    let mut ask = async |message: Value| -> Value {
        socket.send(Message::text(message.to_string())).await.unwrap();
        let answer = within("an answer", socket.next()).await.unwrap().unwrap();
        serde_json::from_str(answer.to_text().unwrap()).unwrap()
    };
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28"});
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}});
    let told = ask(list).await;
    assert_eq!((&told["id"], &told["error"]["code"]), (&json!(1), &json!(-32022)), "{told}");
    assert_eq!(told["error"]["data"]["supported"][3], "2025-11-25", "{told}");
    let client = json!({"name": "t", "version": "1"});
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
    let told = ask(json!({"jsonrpc": "2.0", "id": 2, "method": "initialize", "params": params})).await;
    assert_eq!(told["result"]["protocolVersion"], "2025-11-25", "{told}");
    let told = ask(json!([{"jsonrpc": "2.0", "id": 3, "method": "ping"}])).await;
    assert_eq!((&told["id"], &told["error"]["code"]), (&json!(3), &json!(-32600)), "{told}");
    drop(socket);
    daemon.stop().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn who_guesses_keys_or_tokens_is_slowed_and_nobody_else_is() {
    let token = "token-of-the-house-0123456";
    let keys = json!([{"name": "me", "key": KEY}, {"name": "you", "key": "key-of-yours-0123456"}]);
    let (daemon, at) = served(json!({"apiKeys": keys, "endpointTokens": [token]})).await;
    let ask = async |ip: &str, key: &str| {
        let stream = from(ip, &at.host).await;
        let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string();
        within("an answer", at.key(key).send_over(stream, "POST", ping)).await.status().as_u16()
    };
    // With a good key, what lacks is a session.
    assert_eq!(ask("127.0.0.2", KEY).await, 400);
    for n in 0..20 {
        assert_eq!(ask("127.0.0.2", &format!("not-a-key-{n}-0123456")).await, 401, "{n}");
    }
    // One in three seconds is still looked at.
    within("that guesses are refused", async { while ask("127.0.0.2", "not-a-key-0123456").await != 429 {} }).await;
    assert_eq!((ask("127.0.0.2", KEY).await, ask("127.0.0.2", "key-of-yours-0123456").await), (400, 400));
    let dial = async |ip: &str, token: &str| {
        let stream = from(ip, &at.host).await;
        within("an answer", client_async(format!("ws://{}/endpoint/call?token={token}", at.host), stream)).await
    };
    for n in 0..20 {
        assert!(dial("127.0.0.4", &format!("not-a-token-{n}")).await.is_ok(), "{n}: 1008 comes behind 101");
    }
    let is_refused =
        async || matches!(dial("127.0.0.4", "not-a-token").await, Err(Error::Http(answer)) if answer.status() == 429);
    within("that guesses are refused", async { while !is_refused().await {} }).await;
    assert!(dial("127.0.0.5", token).await.is_ok());
    assert!(!daemon.log_lines().iter().any(|line| field(line, "message").is_some_and(|it| it.contains("not-a-"))));
    daemon.stop().await;
}
