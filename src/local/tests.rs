#![expect(clippy::unwrap_used, reason = "a test may panic")]

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::*;
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(60);

/// The pipe's side of a connection.
struct Pipe(WebSocketStream<TcpStream>);

impl Pipe {
    async fn dial(address: &str) -> Result<Pipe, Error> {
        let host = address.strip_prefix("ws://").unwrap().split('/').next().unwrap();
        let stream = TcpStream::connect(host).await?;
        Ok(Pipe(client_async(address, stream).await?.0))
    }

    async fn next(&mut self) -> Value {
        loop {
            if let Message::Text(text) = self.0.next().await.unwrap().unwrap() {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }

    async fn send(&mut self, value: Value) {
        self.0.send(Message::text(value.to_string())).await.unwrap();
    }

    /// Answers the cloud's burst as a server with one tool.
    async fn handshake(&mut self, tool: &str) {
        assert_eq!(self.next().await["method"], "initialize");
        self.send(json!({"jsonrpc": "2.0", "id": 0, "result": {"serverInfo": {"name": "stand-in"}}})).await;
        assert_eq!(self.next().await["method"], "notifications/initialized");
        assert_eq!(self.next().await["method"], "tools/list");
        self.send(json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": [{"name": tool}]}})).await;
    }
}

/// A running local endpoint with a server "x": its client and the address.
async fn endpoint() -> (Client, String, Stop, tokio::task::JoinHandle<()>) {
    let mut endpoint = LocalEndpoint::bind().await.unwrap();
    let address = endpoint.endpoint("x").unwrap().reveal().to_string();
    let stop = Stop::new();
    (endpoint.client(), address, stop.clone(), tokio::spawn(endpoint.run(stop)))
}

fn status(refused: Result<Pipe, Error>) -> u16 {
    let Err(Error::Http(response)) = refused.map(|_| ()) else { panic!("not refused with a status") };
    response.status().as_u16()
}

#[tokio::test]
async fn only_the_random_token_on_the_right_path_is_let_in() {
    let (_, address, ..) = endpoint().await;
    let (base, token) = address.split_once("token=").unwrap();
    assert!(token.len() >= 32 && token.bytes().all(|b| b.is_ascii_alphanumeric()), "{token}");
    assert_eq!(status(Pipe::dial(&format!("{base}token=wrong")).await), 401);
    assert_eq!(status(Pipe::dial(base).await), 401);
    assert_eq!(status(Pipe::dial(&address.replace("/mcp/", "/other/")).await), 404);
    assert!(Pipe::dial(&address).await.is_ok());
}

#[tokio::test]
async fn tools_wait_for_the_server_and_calls_reach_it() {
    let (client, address, ..) = endpoint().await;
    let server = async {
        let mut pipe = Pipe::dial(&address).await.unwrap();
        pipe.handshake("echo").await;
        let call = pipe.next().await;
        assert_eq!(call["params"], json!({"name": "echo", "arguments": {"text": "hi"}}));
        pipe.send(json!({"jsonrpc": "2.0", "id": call["id"], "result": {"content": []}})).await;
        let call = pipe.next().await;
        pipe.send(json!({"jsonrpc": "2.0", "id": call["id"], "error": {"code": -7, "message": "no"}})).await;
        let id = pipe.next().await["id"].to_string();
        let ours = crate::mcp::reply::error(id.as_bytes(), -32000, "it took too long");
        pipe.send(serde_json::from_slice(&ours).unwrap()).await;
        pipe
    };
    let user = async {
        let catalogue = client.tools("x", PATIENCE).await.unwrap();
        assert_eq!(catalogue.names().collect::<Vec<_>>(), ["echo"]);
        assert_eq!(catalogue.server_info["name"], "stand-in");
        let result = client.call("x", "echo", json!({"text": "hi"}), PATIENCE).await;
        assert_eq!(result, Ok(json!({"content": []})));
        let error = client.call("x", "echo", json!({}), PATIENCE).await.unwrap_err();
        assert_eq!(error.to_string(), "server \"x\" answered with an error: no (code -7)");
        let error = client.call("x", "echo", json!({}), PATIENCE).await.unwrap_err();
        assert_eq!(error.to_string(), "it took too long", "what mcp-pipe answers itself is not the server's");
    };
    let (mut pipe, ()) = tokio::join!(server, user);
    drop(client);
    pipe.0.close(None).await.unwrap();
}

#[tokio::test]
async fn a_call_that_is_given_up_is_cancelled_at_the_server() {
    let (client, address, ..) = endpoint().await;
    let mut pipe = Pipe::dial(&address).await.unwrap();
    pipe.handshake("slow").await;
    client.tools("x", PATIENCE).await.unwrap();
    let error = client.call("x", "slow", json!({}), Duration::from_millis(20)).await.unwrap_err();
    assert!(matches!(error, LocalError::NoAnswer { .. }), "{error}");
    let call = pipe.next().await;
    let cancelled = pipe.next().await;
    assert_eq!(cancelled["method"], "notifications/cancelled");
    assert_eq!(cancelled["params"]["requestId"], call["id"]);
}

#[tokio::test]
async fn a_connection_lost_under_a_call_ends_the_call_and_a_new_one_serves_the_next() {
    let (client, address, ..) = endpoint().await;
    let mut pipe = Pipe::dial(&address).await.unwrap();
    pipe.handshake("a").await;
    client.tools("x", PATIENCE).await.unwrap();
    let lose = async {
        pipe.next().await;
        drop(pipe);
    };
    let (lost, ()) = tokio::join!(client.call("x", "a", json!({}), PATIENCE), lose);
    assert_eq!(lost, Err(LocalError::Disconnected("x".to_owned())));

    let late = client.tools("x", Duration::from_millis(1)).await.unwrap_err();
    assert!(matches!(late, LocalError::NotReady { .. }), "{late}");
    let mut pipe = Pipe::dial(&address).await.unwrap();
    pipe.handshake("b").await;
    assert_eq!(client.tools("x", PATIENCE).await.unwrap().names().next(), Some("b"));
}

#[tokio::test]
async fn an_old_connections_end_does_not_undo_the_new_one() {
    let (client, address, ..) = endpoint().await;
    let mut old = Pipe::dial(&address).await.unwrap();
    old.handshake("old").await;
    client.tools("x", PATIENCE).await.unwrap();
    let mut new = Pipe::dial(&address).await.unwrap();
    new.handshake("new").await;
    while client.tools("x", PATIENCE).await.unwrap().names().next() != Some("new") {
        tokio::task::yield_now().await;
    }
    old.0.close(None).await.unwrap();
    while old.0.next().await.is_some() {}
    assert_eq!(client.tools("x", PATIENCE).await.unwrap().names().next(), Some("new"));
}

#[tokio::test]
async fn at_a_stop_connections_may_finish_and_new_ones_are_refused() {
    let (client, address, stop, running) = endpoint().await;
    let mut pipe = Pipe::dial(&address).await.unwrap();
    pipe.handshake("a").await;
    client.tools("x", PATIENCE).await.unwrap();
    stop.advance();
    let answer = async {
        let call = pipe.next().await;
        pipe.send(json!({"jsonrpc": "2.0", "id": call["id"], "result": 1})).await;
        pipe
    };
    let (result, mut pipe) = tokio::join!(client.call("x", "a", json!({}), PATIENCE), answer);
    assert_eq!(result, Ok(json!(1)));
    pipe.0.close(None).await.unwrap();
    tokio::time::timeout(PATIENCE, running).await.unwrap().unwrap();
    assert!(Pipe::dial(&address).await.is_err());
}

#[tokio::test]
async fn the_second_step_of_a_stop_waits_for_nobody() {
    let (_, address, stop, running) = endpoint().await;
    let _pipe = Pipe::dial(&address).await.unwrap();
    stop.advance();
    stop.advance();
    tokio::time::timeout(PATIENCE, running).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_message_over_the_limit_ends_the_connection_and_nothing_else() {
    let (client, address, ..) = endpoint().await;
    let mut pipe = Pipe::dial(&address).await.unwrap();
    let _ = pipe.0.send(Message::text("x".repeat(MAX_FRAME_SIZE + 1))).await;
    while matches!(pipe.0.next().await, Some(Ok(_))) {}
    let mut pipe = Pipe::dial(&address).await.unwrap();
    pipe.handshake("a").await;
    assert!(client.tools("x", PATIENCE).await.is_ok());
}

#[tokio::test]
async fn a_client_that_insists_on_its_subprotocol_gets_it() {
    let (_, address, ..) = endpoint().await;
    let mut request = address.clone().into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", "mcp, other".parse().unwrap());
    let stream = TcpStream::connect(request.uri().authority().unwrap().as_str()).await.unwrap();
    let (_, response) = client_async(request, stream).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "mcp");
}

#[tokio::test]
async fn a_server_that_is_slow_to_read_can_still_deliver() {
    let (client, address, ..) = endpoint().await;
    let mut pipe = Pipe::dial(&address).await.unwrap();
    pipe.handshake("echo").await;
    client.tools("x", PATIENCE).await.unwrap();
    // Far more than the socket's buffers hold, in both directions, and the pipe reads only after it has written.
    let block = "x".repeat(4 << 20);
    let calls = (0..8).map(|_| client.call("x", "echo", json!({"block": block}), PATIENCE));
    let server = async {
        let first = pipe.next().await["id"].as_u64().unwrap();
        for id in first..first + 8 {
            pipe.send(json!({"jsonrpc": "2.0", "id": id, "result": block})).await;
        }
    };
    let (results, ()) = tokio::join!(futures_util::future::join_all(calls), server);
    assert!(results.iter().all(|result| *result == Ok(json!(block))));
}

#[tokio::test]
async fn a_list_that_goes_on_being_an_error_is_waited_for_no_longer() {
    let error = RpcError { code: -7, message: "no database".to_owned(), ours: false };
    let refusing = |times| Presence::Refusing { error: error.clone(), times };
    let presence = watch::Sender::new(refusing(2));
    let seat =
        Arc::new(Seat { server: "x".to_owned(), names: Names::from_iter(["x".into()]), chosen: false, presence });
    let client = Client::new([seat.clone()].into_iter());
    let third = async {
        tokio::task::yield_now().await;
        seat.presence.send_replace(refusing(3));
    };
    let (answer, ()) = tokio::join!(client.tools("x", PATIENCE), third);
    assert_eq!(
        answer.unwrap_err().to_string(),
        "server \"x\" answered tools/list with an error: no database (code -7)"
    );
}
