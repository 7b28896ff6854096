//! Dials of real loopback servers, and what a person reads when they fail.

use std::net::Ipv4Addr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::*;
use crate::endpoint::Secret;

mod proxies;
mod tls;

/// A token in every request, which no message may show.
const TOKEN: &str = "s3cret-t0ken";

fn no_proxies() -> Proxies {
    Proxies::of(|_| None)
}

async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// Reads a request head.
async fn request<S: AsyncRead + Unpin>(stream: &mut S) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// A 101 for this request, with further header lines.
fn switching(request: &str, more: &str) -> String {
    let key = request.lines().find_map(|l| l.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    let accept = derive_accept_key(key.as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{more}\r\n"
    )
}

async fn say<S: AsyncWrite + Unpin>(stream: &mut S, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
}

/// A server that answers one connection after another with what `answer` makes of the request.
async fn server(answer: impl Fn(&str) -> String + Send + 'static) -> (u16, JoinHandle<()>) {
    let (listener, port) = listen().await;
    let task = tokio::spawn(async move {
        loop {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let asked = request(&mut tcp).await;
            say(&mut tcp, &answer(&asked)).await;
            tcp.shutdown().await.unwrap();
        }
    });
    (port, task)
}

async fn dial_to(address: &str, spec: &LinkSpec) -> Result<Dialed, DialError> {
    dial_via(&no_proxies(), &address.parse().unwrap(), spec).await
}

/// Dials, expecting an error; that neither form of it shows the token.
async fn fails(address: &str, spec: &LinkSpec) -> (DialError, String) {
    let error = dial_to(address, spec).await.unwrap_err();
    assert_secret(&error);
    let text = error.to_string();
    (error, text)
}

fn assert_secret(error: &DialError) {
    for shown in [error.to_string(), format!("{error:?}")] {
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}

async fn answered(answer: impl Fn(&str) -> String + Send + 'static, spec: &LinkSpec) -> (DialError, String) {
    let (port, _task) = server(answer).await;
    fails(&format!("ws://127.0.0.1:{port}/mcp/?token={TOKEN}"), spec).await
}

#[tokio::test]
async fn the_first_message_right_behind_the_101_is_not_lost_however_it_is_cut() {
    for cut in [1, 7, 1 << 20] {
        let (listener, port) = listen().await;
        let task = tokio::spawn(async move {
            let (mut tcp, _) = listener.accept().await.unwrap();
            tcp.set_nodelay(true).unwrap();
            let asked = request(&mut tcp).await;
            assert!(asked.starts_with("GET /mcp/?token=s3cret-t0ken HTTP/1.1\r\n"), "{asked}");
            let all = switching(&asked, "") + "\r\nfirst message\r\n\r\n, second";
            for part in all.as_bytes().chunks(cut) {
                tcp.write_all(part).await.unwrap();
                tokio::task::yield_now().await;
            }
            tcp
        });
        let mut dialed =
            dial_to(&format!("ws://localhost:{port}/mcp/?token={TOKEN}"), &LinkSpec::default()).await.unwrap();
        assert!(dialed.stream.tcp().nodelay().unwrap());
        drop(task.await.unwrap());
        let mut all = dialed.early;
        dialed.stream.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"\r\nfirst message\r\n\r\n, second");
    }
}

#[tokio::test]
async fn a_real_websocket_server_accepts_the_upgrade() {
    use futures_util::SinkExt as _;
    use tokio_tungstenite::tungstenite::Message;

    let (listener, port) = listen().await;
    let task = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut socket = tokio_tungstenite::accept_async(tcp).await.unwrap();
        socket.send(Message::text("hello")).await.unwrap();
    });
    let mut dialed = dial_to(&format!("ws://127.0.0.1:{port}/"), &LinkSpec::default()).await.unwrap();
    task.await.unwrap();
    let mut all = dialed.early;
    dialed.stream.read_to_end(&mut all).await.unwrap();
    assert!(all.starts_with(b"\x81\x05hello"), "{all:?}");
}

#[tokio::test]
async fn a_status_instead_of_the_upgrade_is_told_with_its_remedy_and_the_body_without_the_token() {
    for (status, header, says) in [
        (401, "", "rejects the token"),
        (403, "", "rejects the token"),
        (404, "", "no WebSocket endpoint at this path"),
        (429, "Retry-After: 7\r\n", "too many connections"),
        (503, "Retry-After: 7\r\n", "in trouble"),
        (200, "", "ordinary web page"),
        (302, "", "HTTP 302"),
    ] {
        let body = format!("no\x1b[2J /mcp/?token={TOKEN}");
        let length = body.len();
        let answer =
            move |_: &str| format!("HTTP/1.1 {status} X\r\n{header}Content-Length: {length}\r\n\r\n{body}junk");
        let (error, text) = answered(answer, &LinkSpec::default()).await;
        assert!(text.contains(&status.to_string()) && text.contains(says), "{text}");
        assert!(text.ends_with("(it says: no\\u{1b}[2J /mcp/?…)"), "{text}");
        let DialError::Http { retry_after, .. } = error else { panic!("{error:?}") };
        assert_eq!(retry_after, (!header.is_empty()).then_some(Duration::from_secs(7)));
    }
}

#[tokio::test]
async fn a_status_is_reported_even_if_its_body_never_ends() {
    let (listener, port) = listen().await;
    let _task = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        request(&mut tcp).await;
        say(&mut tcp, "HTTP/1.0 403 Forbidden\r\nContent-Length: 1000\r\n\r\nsome").await;
        std::future::pending::<()>().await;
    });
    let (error, text) = fails(&format!("ws://127.0.0.1:{port}/"), &LinkSpec::default()).await;
    assert!(matches!(error, DialError::Http { status: 403, .. }) && text.contains("some"), "{text}");
}

#[tokio::test]
async fn what_is_no_correct_upgrade_is_told() {
    type Answer = fn(&str) -> String;
    let cases: [(Answer, &str); 7] = [
        (|r| switching(r, "Sec-WebSocket-Extensions: permessage-deflate\r\n"), "extension \"permessage-deflate\""),
        (|r| switching(r, "Sec-WebSocket-Protocol: mcp\r\n"), "subprotocol \"mcp\", but none was offered"),
        (|r| switching(r, "").replace("Accept: ", "Accept: x"), "Sec-WebSocket-Accept"),
        (|r| switching(r, "").replace("WebSocket\r\n", "h2c\r\n"), "without upgrading"),
        (|r| switching(r, "").replace("keep-alive, Upgrade", "close"), "without upgrading"),
        (|_| "SSH-2.0-OpenSSH_9\r\n".into(), "something else than HTTP"),
        (|_| "\x15\x03\x01\x00\x02\x02\x46".into(), "use wss://"),
    ];
    for (answer, says) in cases {
        let (error, text) = answered(answer, &LinkSpec::default()).await;
        assert!(matches!(error, DialError::NotWebSocket { .. }) && text.contains(says), "{text}");
    }
}

#[tokio::test]
async fn a_subprotocol_is_offered_only_where_configured_and_may_go_unanswered() {
    let offering = LinkSpec { subprotocol: Some("mcp".into()), ..LinkSpec::default() };
    for more in ["", "Sec-WebSocket-Protocol: mcp\r\n"] {
        let (port, _task) = server(move |r| {
            assert!(r.contains("Sec-WebSocket-Protocol: mcp\r\n"), "{r}");
            switching(r, more)
        })
        .await;
        dial_to(&format!("ws://127.0.0.1:{port}/"), &offering).await.unwrap();
    }
    let (_, text) = answered(|r| switching(r, "Sec-WebSocket-Protocol: chat\r\n"), &offering).await;
    assert!(text.contains("wants the subprotocol \"chat\", but \"mcp\" was offered"), "{text}");
}

#[tokio::test]
async fn a_redirect_on_the_same_host_is_followed_with_token_and_headers() {
    let spec =
        LinkSpec { headers: vec![(http::HeaderName::from_static("x-key"), Secret::new("v"))], ..LinkSpec::default() };
    let (port, _task) = server(|r| {
        assert!(r.contains("x-key: v\r\n"), "{r}");
        match r.split(' ').nth(1).unwrap() {
            "/mcp?token=s3cret-t0ken" => "HTTP/1.1 307 X\r\nLocation: /mcp/?token=s3cret-t0ken\r\n\r\n".into(),
            "/mcp/?token=s3cret-t0ken" => switching(r, ""),
            other => panic!("asked for {other}"),
        }
    })
    .await;
    dial_to(&format!("ws://127.0.0.1:{port}/mcp?token={TOKEN}"), &spec).await.unwrap();
}

#[tokio::test]
async fn a_redirect_to_another_host_is_refused_and_nothing_is_sent_there() {
    let (other, other_port) = listen().await;
    let answer =
        move |_: &str| format!("HTTP/1.1 308 X\r\nLocation: ws://localhost:{other_port}/?token=s3cret-t0ken\r\n\r\n");
    let (error, text) = answered(answer, &LinkSpec::default()).await;
    assert!(matches!(error, DialError::RedirectRefused { status: 308, .. }), "{text}");
    assert!(text.contains("ws://127.0.0.1:") && text.contains(&format!("ws://localhost:{other_port}")), "{text}");
    assert!(tokio::time::timeout(Duration::from_millis(50), other.accept()).await.is_err());
}

#[tokio::test]
async fn a_redirect_in_a_circle_ends() {
    let (error, text) =
        answered(|_| "HTTP/1.1 301 X\r\nLocation: ?token=s3cret\r\n\r\n".into(), &LinkSpec::default()).await;
    assert!(matches!(error, DialError::TooManyRedirects { .. }) && text.contains("more than 5 times"), "{text}");
}

#[tokio::test]
async fn nobody_listening_is_a_refusal() {
    let (listener, port) = listen().await;
    drop(listener);
    let (error, text) = fails(&format!("ws://localhost:{port}/?token={TOKEN}"), &LinkSpec::default()).await;
    assert!(matches!(error, DialError::Refused { .. }) && text.contains(&format!("localhost:{port}")), "{text}");
}

#[tokio::test]
async fn where_one_address_refuses_the_next_is_tried() {
    let Ok(listener) = TcpListener::bind((std::net::Ipv6Addr::LOCALHOST, 0)).await else {
        return; // a machine without IPv6 has no second loopback address
    };
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let asked = request(&mut tcp).await;
        say(&mut tcp, &switching(&asked, "")).await;
    });
    dial_to(&format!("ws://localhost:{port}/"), &LinkSpec::default()).await.unwrap();
    task.await.unwrap();
}

#[test]
fn a_dial_can_be_spawned_on_any_runtime() {
    fn assert_send<T: Send>(_: T) {}
    let (endpoint, spec) = ("ws://h/".parse().unwrap(), LinkSpec::default());
    assert_send(dial(&endpoint, &spec));
}

#[tokio::test]
async fn a_name_without_an_address_is_told() {
    // The name is longer than a label may be: the resolver refuses that by itself.
    let (error, text) = fails(&format!("ws://{}.example/?token={TOKEN}", "a".repeat(64)), &LinkSpec::default()).await;
    assert!(matches!(error, DialError::Dns { .. }) && text.contains("can't be looked up"), "{text}");
}

#[tokio::test]
async fn a_connection_that_ends_instead_of_an_answer_is_told_with_the_step() {
    let (listener, port) = listen().await;
    let _task = tokio::spawn(async move {
        loop {
            drop(listener.accept().await.unwrap());
        }
    });
    for (scheme, step) in [("ws", DialStep::PlainUpgrade), ("wss", DialStep::Tls)] {
        let (error, text) = fails(&format!("{scheme}://127.0.0.1:{port}/?token={TOKEN}"), &LinkSpec::default()).await;
        assert!(matches!(error, DialError::Lost { step: s, .. } if s == step), "{text}");
        let is_hinted = text.contains("if the port speaks TLS, write wss://");
        assert_eq!(is_hinted, scheme == "ws", "{text}");
    }
}

fn quick() -> LinkSpec {
    LinkSpec { connect_timeout: Duration::from_millis(200), ..LinkSpec::default() }
}

fn assert_timeout(error: &DialError, at: DialStep) {
    assert!(matches!(error, DialError::Timeout { step, .. } if *step == at), "{error}");
    assert!(error.to_string().contains("0.2 s"), "{error}");
}

#[tokio::test]
async fn a_silent_peer_is_given_up_and_the_step_named() {
    // Nobody accepts, so the kernel connects and nothing is ever answered.
    let (_listener, port) = listen().await;
    for (scheme, step) in [("ws", DialStep::PlainUpgrade), ("wss", DialStep::Tls)] {
        let (error, _) = fails(&format!("{scheme}://127.0.0.1:{port}/?token={TOKEN}"), &quick()).await;
        assert_timeout(&error, step);
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_black_hole_is_given_up_while_connecting() {
    // Linux drops further SYNs once the queue of connections to accept is full.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(tcp) = tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(address)).await {
        queued.push(tcp.unwrap());
    }
    let (error, _) = fails(&format!("ws://{address}/?token={TOKEN}"), &quick()).await;
    assert_timeout(&error, DialStep::Tcp);
}

#[test]
fn the_families_of_addresses_take_turns() {
    let parse = |list: &str| list.split(' ').map(|a| a.parse().unwrap()).collect::<Vec<SocketAddr>>();
    let mixed = parse("[::1]:1 [::2]:1 [::3]:1 127.0.0.1:1");
    assert_eq!(alternating(mixed), parse("[::1]:1 127.0.0.1:1 [::2]:1 [::3]:1"));
    assert_eq!(alternating(Vec::new()), []);
}
