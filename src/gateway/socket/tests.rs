//! Connections of WebSocket through HTTP, byte by byte, in front of a pipe that is played.

use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::rt::TokioExecutor;
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::super::listener::{Host, Listener};
use super::super::tests::{HANG, call, gateway, gateway_of, initialize, servers, spec};
use super::*;
use crate::config::GatewaySpec;

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
/// The bit of the last frame of a message.
const FIN: u8 = 0x80;

trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// A client, byte by byte.
struct Client(Box<dyn Wire>);

/// A frame as a client sends it, masked by nothing.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..=125 => frame.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend_from_slice(payload);
    frame
}

impl Client {
    /// Connects in memory, without a clock that goes on by itself.
    async fn of(gateway: &Arc<Gateway>, path: &str) -> Client {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let gateway = gateway.clone();
        tokio::spawn(async move {
            let answer = service_fn(|request| {
                let gateway = gateway.clone();
                async move { Ok::<_, std::convert::Infallible>(gateway.answer(request).await) }
            });
            let server = auto::Builder::new(TokioExecutor::new());
            let _ended = server.serve_connection_with_upgrades(TokioIo::new(theirs), answer).await;
        });
        Client::over(ours, path).await
    }

    async fn over(wire: impl Wire + 'static, path: &str) -> Client {
        let mut client = Client(Box::new(wire));
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: localhost:8765\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\nsec-websocket-protocol: mcp\r\n\r\n"
        );
        client.send(head.as_bytes()).await;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(client.byte().await);
        }
        let answer = String::from_utf8(answer).unwrap().to_ascii_lowercase();
        assert!(answer.starts_with("http/1.1 101 "), "{answer}");
        assert!(answer.contains("sec-websocket-protocol: mcp\r\n"), "{answer}");
        client
    }

    async fn send(&mut self, bytes: &[u8]) {
        timeout(HANG, self.0.write_all(bytes)).await.unwrap().unwrap();
    }

    async fn say(&mut self, message: &Value) {
        self.send(&frame(FIN | TEXT, message.to_string().as_bytes())).await;
    }

    async fn byte(&mut self) -> u8 {
        timeout(HANG, self.0.read_u8()).await.unwrap().unwrap()
    }

    /// The next frame: its first byte, and what it holds.
    async fn next(&mut self) -> (u8, Vec<u8>) {
        let first = self.byte().await;
        let len = match self.byte().await {
            126 => usize::from(self.0.read_u16().await.unwrap()),
            127 => usize::try_from(self.0.read_u64().await.unwrap()).unwrap(),
            short @ 0..126 => usize::from(short),
            masked => panic!("a server masks nothing: {masked}"),
        };
        let mut payload = vec![0; len];
        timeout(HANG, self.0.read_exact(&mut payload)).await.unwrap().unwrap();
        (first, payload)
    }

    async fn hear(&mut self) -> Value {
        let (first, payload) = self.next().await;
        assert_eq!(first, FIN | TEXT, "{}", String::from_utf8_lossy(&payload));
        serde_json::from_slice(&payload).unwrap()
    }

    /// How the connection ends: the code, and that nothing follows.
    async fn ends(&mut self) -> (u16, String) {
        let (first, payload) = self.next().await;
        assert_eq!(first, FIN | CLOSE, "{}", String::from_utf8_lossy(&payload));
        let code = u16::from_be_bytes([payload[0], payload[1]]);
        self.send(&frame(FIN | CLOSE, &payload[..2])).await;
        let mut rest = Vec::new();
        timeout(HANG, self.0.read_to_end(&mut rest)).await.unwrap().unwrap();
        assert!(rest.is_empty(), "{rest:?}");
        (code, String::from_utf8(payload[2..].to_vec()).unwrap())
    }

    async fn is_served(&mut self, id: u64) {
        self.say(&json!({"jsonrpc": "2.0", "id": id, "method": "ping"})).await;
        let answer = self.hear().await;
        assert_eq!((&answer["id"], &answer["result"]["of"]), (&json!(id), &json!("ping")));
    }
}

#[tokio::test]
async fn each_connection_is_a_conversation_with_all_servers_or_one() {
    let gateway = gateway();
    for (path, seen) in [("/ws", "calc+my clock"), ("/ws/my%20clock", "my clock"), ("/ws/calc/", "calc")] {
        let mut client = Client::of(&gateway, path).await;
        client.say(&initialize("2025-06-18")).await;
        assert_eq!(client.hear().await["result"]["seen"], seen);
        client.say(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
        client.say(&call(1, "ask")).await;
        for method in ["notifications/progress", "elicitation/create"] {
            assert_eq!(client.hear().await["method"], method);
        }
        client.say(&json!({"jsonrpc": "2.0", "id": "q1", "result": {"action": "accept"}})).await;
        assert_eq!(client.hear().await["result"]["told"]["action"], "accept");
        client.send(&frame(FIN | CLOSE, &1000u16.to_be_bytes())).await;
        assert_eq!(client.next().await, (FIN | CLOSE, 1000u16.to_be_bytes().to_vec()));
        timeout(HANG, client.0.read_to_end(&mut Vec::new())).await.unwrap().unwrap();
    }
    let mut ended = std::pin::pin!(gateway.sockets.ended());
    timeout(HANG, &mut ended).await.unwrap();
}

#[tokio::test]
async fn a_message_may_come_in_fragments_with_control_frames_between_them() {
    let gateway = gateway();
    let mut client = Client::of(&gateway, "/ws").await;
    let message = "{\"jsonrpc\":\"2.0\",\n\"id\":\"ä\",\r\n\"method\":\"ping\"}".as_bytes();
    let cut = message.iter().position(|b| *b >= 0x80).unwrap() + 1;
    client.send(&frame(TEXT, &message[..cut])).await;
    client.send(&frame(FIN | PING, b"still there?")).await;
    client.send(&frame(0, b"")).await;
    client.send(&frame(FIN | PONG, b"unasked")).await;
    client.send(&frame(FIN, &message[cut..])).await;
    assert_eq!(client.next().await, (FIN | PONG, b"still there?".to_vec()));
    assert_eq!(client.hear().await["id"], "ä");
    // Byte by byte, and all at once.
    for byte in frame(FIN | TEXT, br#"{"jsonrpc":"2.0","id":2,"method":"ping"}"#) {
        client.send(&[byte]).await;
    }
    assert_eq!(client.hear().await["id"], 2);
    let many: Vec<u8> = (3..30)
        .flat_map(|id| frame(FIN | TEXT, format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#).as_bytes()))
        .collect();
    client.send(&many).await;
    for id in 3..30 {
        assert_eq!(client.hear().await["id"], id);
    }
}

#[tokio::test]
async fn what_is_no_message_is_answered_with_an_error_and_the_connection_stays() {
    let gateway = gateway();
    let mut client = Client::of(&gateway, "/ws").await;
    let long = |size: usize| {
        let begin = r#"{"jsonrpc":"2.0","id":"big","method":""#;
        format!("{begin}{}\"}}", "x".repeat(size - begin.len() - 2)).into_bytes()
    };
    for (at, (code, id, bytes)) in [
        (-32700, Value::Null, frame(FIN | BINARY, br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#)),
        (-32700, Value::Null, frame(FIN | BINARY, b"\xff\xfe")),
        (-32700, Value::Null, frame(FIN | TEXT, b"")),
        (-32700, Value::Null, frame(FIN | TEXT, b" \r\n ")),
        (-32700, Value::Null, frame(FIN | TEXT, b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"pi\nng\"}")),
        (-32600, json!("big"), frame(FIN | TEXT, &long(spec().max_body + 1))),
        (
            -32600,
            json!("big"),
            [frame(TEXT, &long(spec().max_body * 2)[..90_000]), frame(FIN, &long(spec().max_body * 2)[90_000..])]
                .concat(),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        client.send(&bytes).await;
        let answer = client.hear().await;
        assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(code), &id), "row {at}: {answer}");
        client.is_served(at as u64).await;
    }
    client.send(&frame(FIN | TEXT, &long(spec().max_body))).await;
    assert_eq!(client.hear().await["id"], "big", "at the limit, and not above");
}

#[tokio::test]
async fn each_breach_of_the_rfc_has_its_close_code() {
    let gateway = gateway();
    let close = |code: u16, reason: &[u8]| frame(FIN | CLOSE, &[&code.to_be_bytes()[..], reason].concat());
    for (at, (code, bytes)) in [
        (1002, frame(0xc0 | TEXT, b"x")),                              // a reserved bit
        (1002, frame(FIN | 3, b"x")),                                  // a reserved kind
        (1002, frame(FIN | 11, b"x")),                                 // a reserved kind of control
        (1002, frame(PING, b"")),                                      // a ping in fragments
        (1002, frame(FIN | PING, &[0; 126])),                          // a long ping
        (1002, frame(FIN, b"x")),                                      // a continuation of nothing
        (1002, [frame(TEXT, b"x"), frame(FIN | TEXT, b"y")].concat()), // a message inside a message
        (1002, vec![FIN | TEXT, 1, b'x']),                             // not masked
        (1007, frame(FIN | TEXT, b"\xff")),                            // not UTF-8
        (1007, [frame(TEXT, b"\xc3"), frame(FIN, b"\x28")].concat()),  // nor in fragments
        (1007, frame(FIN | TEXT, b"\xed\xa0\x80")),                    // half of a pair
        (1002, frame(FIN | CLOSE, b"\x03")),                           // half a code
        (1002, close(1005, b"")),                                      // codes that are never sent
        (1002, close(999, b"")),
        (1007, close(1000, b"\xff")), // a reason that is not UTF-8
        (1009, frame(FIN | TEXT, &vec![b' '; spec().max_body * READ + 1])), // too large to be read
        (1009, [vec![FIN | TEXT, 0x80 | 127], (1u64 << 62).to_be_bytes().to_vec(), vec![0; 4]].concat()),
        (1000, close(1000, b"")),
        (3000, close(3000, b"bye")),
        (4999, close(4999, b"")),
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = Client::of(&gateway, "/ws").await;
        let (mut from, mut to) = tokio::io::split(client.0);
        let sent = tokio::spawn(async move {
            let _cut = to.write_all(&bytes).await;
            to
        });
        let mut head = [0; 4];
        timeout(HANG, from.read_exact(&mut head)).await.unwrap().unwrap_or_else(|error| panic!("row {at}: {error}"));
        assert_eq!((head[0], u16::from_be_bytes([head[2], head[3]])), (FIN | CLOSE, code), "row {at}");
        client.0 = Box::new(from.unsplit(sent.await.unwrap()));
        let _closed = client.0.shutdown().await;
        timeout(HANG, client.0.read_to_end(&mut Vec::new())).await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_gives_no_sign_is_pinged_and_let_go_and_one_that_answers_stays() {
    let gateway = gateway();
    let mut client = Client::of(&gateway, "/ws").await;
    let begun = Instant::now();
    let ping = |client: &mut Client| {
        let mut wire = std::mem::replace(&mut client.0, Box::new(tokio::io::empty()));
        async move {
            let mut frame = [0; 2];
            wire.read_exact(&mut frame).await.unwrap();
            assert_eq!(frame, [FIN | PING, 0]);
            wire
        }
    };
    for round in 1..=5 {
        client.0 = ping(&mut client).await;
        assert_eq!(begun.elapsed().as_secs(), 30 * round);
        client.send(&frame(FIN | PONG, b"")).await;
    }
    let silent = Instant::now();
    client.0 = ping(&mut client).await;
    client.0 = ping(&mut client).await;
    let mut head = [0; 4];
    client.0.read_exact(&mut head).await.unwrap();
    assert_eq!((head[0], u16::from_be_bytes([head[2], head[3]])), (FIN | CLOSE, 1008));
    assert_eq!(silent.elapsed().as_secs(), 90);
    // It says nothing more, and is waited for no longer.
    gateway.sockets.ended().await;
    assert!(silent.elapsed() <= Duration::from_secs(93), "{:?}", silent.elapsed());
}

#[tokio::test(start_paused = true)]
async fn one_that_reads_nothing_and_sends_nonsense_or_pings_is_let_go() {
    for first in [BINARY, PING] {
        let gateway = gateway();
        let client = Client::of(&gateway, "/ws").await;
        let (_unread, mut to) = tokio::io::split(client.0);
        let flood = frame(FIN | first, &[0; 100]);
        // What lies between both, each way, and what is kept for it.
        let most = 2 * 64 * 1024 + PONGS * flood.len() + 64 * 1024;
        let mut taken = 0;
        while timeout(UNREAD + HANG, to.write_all(&flood)).await.unwrap().is_ok() {
            taken += flood.len();
            assert!(taken < most, "{first}: {taken} bytes");
        }
        timeout(HANG, gateway.sockets.ended()).await.unwrap();
    }
}

#[tokio::test]
async fn each_of_many_faulty_messages_and_pings_at_once_is_answered_to_a_client_that_reads() {
    const MANY: usize = 4 * PONGS;
    for (first, answered) in [(BINARY, TEXT), (TEXT, TEXT), (PING, PONG)] {
        let gateway = gateway();
        let client = Client::of(&gateway, "/ws").await;
        let (from, mut to) = tokio::io::split(client.0);
        let mut client = Client(Box::new(tokio::io::join(from, tokio::io::sink())));
        let sent = tokio::spawn(async move {
            to.write_all(&frame(FIN | first, b"").repeat(MANY)).await.unwrap();
            to
        });
        for n in 0..MANY {
            assert_eq!(client.next().await.0, FIN | answered, "{first}: {n}");
        }
        drop(sent.await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_too_often_is_told_so_and_stays() {
    let gateway = gateway_of(GatewaySpec { requests_per_second: Some(2), ..spec() });
    let mut client = Client::of(&gateway, "/ws").await;
    client.is_served(1).await; // the connection was the first
    client.say(&json!({"jsonrpc": "2.0", "id": "two", "method": "ping"})).await;
    let refused = client.hear().await;
    assert_eq!((&refused["id"], &refused["error"]["code"]), (&json!("two"), &json!(-32004)));
    tokio::time::sleep(Duration::from_secs(1)).await;
    client.is_served(3).await;
}

#[tokio::test]
async fn no_more_connections_are_taken_than_there_may_be_conversations() {
    let gateway = gateway();
    gateway.status.set_gateway(Some("http://localhost/mcp".to_owned()));
    let clients_told = || gateway.status.read().gateway.unwrap().clients;
    let mut clients = Vec::new();
    for _ in 0..spec().max_sessions {
        clients.push(Client::of(&gateway, "/ws").await);
    }
    let request = Request::get("/ws")
        .header("host", "localhost")
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("sec-websocket-version", "13");
    let refused = gateway.answer(request.body(http_body_util::Empty::<Bytes>::new()).unwrap()).await;
    assert_eq!((refused.status().as_u16(), clients_told()), (503, spec().max_sessions));
    clients.pop();
    while gateway.sockets.len() == spec().max_sessions {
        tokio::task::yield_now().await;
    }
    assert_eq!(clients_told(), spec().max_sessions - 1);
    Client::of(&gateway, "/ws").await.is_served(1).await;
}

#[tokio::test]
async fn at_the_stop_what_is_under_way_is_answered_before_the_connection_is_closed() {
    let (gateway, stop) = (gateway(), CancellationToken::new());
    let spec = GatewaySpec { listen: ([127, 0, 0, 1], 0).into(), max_connections_per_address: 1, ..spec() };
    gateway.change(&Arc::new(spec.clone()), &servers(&["calc"])).await;
    let listener = Listener::bind(spec.listen, None, "").await.unwrap();
    let address = listener.address().unwrap();
    let (open, _closed) = tokio::sync::oneshot::channel();
    let serving = tokio::spawn(listener.serve(Host::Gateway(gateway), (stop.clone(), open), HANG));
    let mut client = Client::over(TcpStream::connect(address).await.unwrap(), "/ws").await;
    client.say(&call(1, "slow")).await;
    client.is_served(2).await;
    // It counts among the connections of its address.
    let mut other = TcpStream::connect(address).await.unwrap();
    assert_eq!(timeout(HANG, other.read(&mut [0])).await.unwrap().unwrap(), 0);
    stop.cancel();
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    client.say(&call(3, "go")).await;
    assert_eq!(client.hear().await["result"]["late"], true);
    assert_eq!(client.hear().await["id"], 3);
    // The pipe has nothing more under way, and lets its guests go.
    client.say(&call(4, "die")).await;
    assert_eq!(client.ends().await, (1001, "mcp-pipe has ended the conversation".to_owned()));
    timeout(HANG, serving).await.unwrap().unwrap();
}
