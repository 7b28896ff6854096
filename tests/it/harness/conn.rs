//! The endpoint's side of one connection. It panics on what no endpoint may ever see: a binary message, a line break
//! in a frame, something that is not a JSON object, an answer to what was not asked, a second answer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use http::HeaderMap;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};

use super::within;

pub(crate) struct Conn {
    socket: WebSocketStream<TcpStream>,
    pub(crate) headers: HeaderMap,
    /// When it was accepted.
    pub(crate) opened_at: Instant,
    /// When the other side's close frame was read, before it was answered.
    pub(crate) closed_at: Option<Instant>,
    /// Ids as JSON text.
    in_flight: BTreeSet<String>,
    answered: BTreeSet<String>,
    /// Answers that came while another was waited for.
    early: BTreeMap<String, Value>,
    /// Frames that are no answers, in their order.
    pub(crate) others: VecDeque<Value>,
    /// Frames sent that are no requests and still get an answer, with the id null.
    unreadable: usize,
}

impl Conn {
    pub(super) fn new(socket: WebSocketStream<TcpStream>, headers: HeaderMap) -> Self {
        let (in_flight, answered) = Default::default();
        Conn {
            socket,
            headers,
            opened_at: Instant::now(),
            closed_at: None,
            in_flight,
            answered,
            early: BTreeMap::new(),
            others: VecDeque::new(),
            unreadable: 0,
        }
    }

    /// Sends a message; a request's id is in flight from now on.
    pub(crate) async fn send(&mut self, message: Value) {
        self.send_as(&message, Message::text(message.to_string())).await;
    }

    /// Sends a message in another form than compact text.
    pub(crate) async fn send_as(&mut self, message: &Value, form: Message) {
        self.try_send_as(message, form).await.unwrap();
    }

    /// Sends a message, if there is still somebody to send it to.
    pub(crate) async fn try_send(&mut self, message: Value) -> Result<(), Error> {
        self.try_send_as(&message, Message::text(message.to_string())).await
    }

    async fn try_send_as(&mut self, message: &Value, form: Message) -> Result<(), Error> {
        if let (Some(id), Some(_)) = (message.get("id"), message.get("method")) {
            self.answered.remove(&id.to_string());
            assert!(self.in_flight.insert(id.to_string()), "the test uses id {id} twice");
        }
        self.socket.send(form).await
    }

    /// Sends what is no JSON; an answer with the id null may come.
    pub(crate) async fn send_unreadable(&mut self, text: &str) {
        self.send_unreadable_as(Message::text(text)).await.unwrap();
    }

    /// The same in any form, if there is still somebody to send it to.
    pub(crate) async fn send_unreadable_as(&mut self, form: Message) -> Result<(), Error> {
        self.unreadable += 1;
        self.socket.send(form).await
    }

    /// Sends so many pings at once and waits for a pong to each, in their order.
    pub(crate) async fn ping(&mut self, count: u32) {
        let payload = |n: u32| Bytes::copy_from_slice(&n.to_be_bytes());
        for n in 0..count {
            self.socket.feed(Message::Ping(payload(n))).await.unwrap();
        }
        self.socket.flush().await.unwrap();
        let mut next = 0;
        while next < count {
            match within("a pong", self.socket.next()).await {
                Some(Ok(Message::Pong(pong))) => {
                    assert_eq!(pong, payload(next), "a ping had no pong of its own");
                    next += 1;
                }
                Some(Ok(Message::Ping(_))) => {}
                other => panic!("{other:?} instead of a pong"),
            }
        }
    }

    /// Sends this again and again, reading nothing, until the other side takes no more for a second; how many bytes it took.
    /// Nothing but a reset may follow.
    pub(crate) async fn send_until_stuck(&mut self, text: &str) -> usize {
        let mut taken = 0;
        while timeout(Duration::from_secs(1), self.socket.send(Message::text(text)))
            .await
            .is_ok_and(|sent| sent.is_ok())
        {
            taken += text.len();
            assert!(taken < 1 << 29, "it takes everything");
        }
        taken
    }

    pub(crate) async fn send_call(&mut self, id: impl Into<Value>, tool: &str, arguments: Value) {
        let params = json!({"name": tool, "arguments": arguments});
        self.send(json!({"jsonrpc": "2.0", "id": id.into(), "method": "tools/call", "params": params})).await;
    }

    /// The next frame, checked.
    pub(crate) async fn expect_frame(&mut self) -> Value {
        match self.next().await {
            Ok(frame) => frame,
            Err(closed) => panic!("the connection ended instead of a frame: {closed:?}"),
        }
    }

    /// The answer to a request that is in flight, whatever comes before it.
    pub(crate) async fn answer_to(&mut self, id: impl Into<Value>) -> Value {
        let id = id.into().to_string();
        loop {
            if let Some(answer) = self.early.remove(&id) {
                return answer;
            }
            let frame = self.expect_frame().await;
            match frame.get("method") {
                Some(_) => self.others.push_back(frame),
                None => drop(self.early.insert(frame["id"].to_string(), frame)),
            }
        }
    }

    /// The next frame of this method that is no answer.
    pub(crate) async fn other(&mut self, method: &str) -> Value {
        loop {
            if let Some(at) = self.others.iter().position(|frame| frame["method"] == method) {
                return self.others.remove(at).unwrap();
            }
            let frame = self.expect_frame().await;
            match frame.get("method") {
                Some(_) => self.others.push_back(frame),
                None => drop(self.early.insert(frame["id"].to_string(), frame)),
            }
        }
    }

    /// A call and its answer.
    pub(crate) async fn call(&mut self, id: impl Into<Value>, tool: &str, arguments: Value) -> Value {
        let id = id.into();
        self.send_call(id.clone(), tool, arguments).await;
        self.answer_to(id).await
    }

    /// The cloud's burst; the answer to its `tools/list`.
    pub(crate) async fn handshake(&mut self) -> Value {
        self.initialize(0).await;
        self.send(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
        self.send(json!({"id": 1, "jsonrpc": "2.0", "method": "tools/list"})).await;
        self.answer_to(1).await
    }

    /// The cloud's `initialize` with this id; its answer.
    pub(crate) async fn initialize(&mut self, id: impl Into<Value>) -> Value {
        let id = id.into();
        let params = json!({
            "protocolVersion": "2024-11-05",
            "capabilities": {"sampling": {}, "roots": {"listChanged": false}},
            "clientInfo": {"name": "xz-mcp-broker", "version": "0.0.1"},
        });
        self.send(json!({"id": id, "jsonrpc": "2.0", "method": "initialize", "params": params})).await;
        let answer = self.answer_to(id).await;
        assert_eq!(answer["result"]["protocolVersion"], "2024-11-05", "{answer}");
        answer
    }

    /// Closes with this code and waits for the other side's close frame.
    pub(crate) async fn close(self, code: u16) {
        self.close_saying(code, "as the test says").await;
    }

    /// Closes with this code and reason, and waits for the other side's close frame.
    pub(crate) async fn close_saying(mut self, code: u16, reason: &str) {
        let frame = CloseFrame { code: code.into(), reason: reason.into() };
        self.socket.send(Message::Close(Some(frame))).await.unwrap();
        let _ = self.wait_for_close().await;
    }

    /// Drops the connection without a word: the other side gets a reset.
    pub(crate) fn reset(self) {
        self.socket.get_ref().set_zero_linger().unwrap();
    }

    /// Reads until the connection ends; the close frame if there was one.
    pub(crate) async fn wait_for_close(&mut self) -> Option<CloseFrame> {
        loop {
            if let Err(closed) = self.next().await {
                return closed;
            }
        }
    }

    /// The ids of requests that have no answer, as JSON text.
    pub(crate) fn unanswered(&self) -> &BTreeSet<String> {
        &self.in_flight
    }

    /// The next checked frame, or how the connection ended.
    pub(crate) async fn next(&mut self) -> Result<Value, Option<CloseFrame>> {
        within("a frame from the pipe", self.next_ever()).await
    }

    /// The same, however long it takes.
    pub(crate) async fn next_ever(&mut self) -> Result<Value, Option<CloseFrame>> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return Ok(self.check(&text)),
                Some(Ok(Message::Close(frame))) => {
                    self.closed_at = Some(Instant::now());
                    // Lets tungstenite answer it, which completes the close.
                    let _ = within("the close to complete", self.socket.next()).await;
                    return Err(frame);
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Binary(bytes))) => panic!("a binary message of {} bytes", bytes.len()),
                Some(Ok(Message::Frame(_))) => unreachable!("tungstenite gives these out only unread"),
                Some(Err(Error::Protocol(_) | Error::Io(_) | Error::ConnectionClosed)) | None => return Err(None),
                Some(Err(error)) => panic!("reading from the pipe: {error}"),
            }
        }
    }

    fn check(&mut self, text: &str) -> Value {
        let shown: String = text.chars().take(300).collect();
        assert!(!text.contains(['\n', '\r']), "a line break in a frame: {shown:?}");
        let frame: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {shown:?}"));
        assert!(frame.is_object(), "not an object: {shown}");
        if frame.get("method").is_none() {
            let id = frame["id"].to_string();
            if frame["id"].is_null() && self.unreadable > 0 {
                self.unreadable -= 1;
            } else if !self.in_flight.remove(&id) {
                let why = if self.answered.contains(&id) { "answered before" } else { "never asked" };
                panic!("an answer to id {id}, {why}: {shown}");
            }
            assert!(frame.get("result").is_some() != frame.get("error").is_some(), "neither or both: {shown}");
            self.answered.insert(id);
        }
        frame
    }
}

/// The text of a tool's result.
pub(crate) fn text_of(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text in {answer}"))
}

/// The names of the tools of an answer to `tools/list`.
pub(crate) fn names(list: &Value) -> Vec<&str> {
    let tools = list["result"]["tools"].as_array().unwrap_or_else(|| panic!("no tools in {list}"));
    tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect()
}
