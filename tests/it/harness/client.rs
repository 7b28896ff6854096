//! A client program of `tests/clients/`: what mcp-pipe serves, as an MCP client sees it. Either it is joined to a connection of the
//! program, and what goes either way is checked as on every connection; or it dials by itself.

use std::collections::VecDeque;
use std::process::Stdio;

use futures_util::{SinkExt, StreamExt};
use http::HeaderValue;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

use super::{Conn, within};

pub(crate) struct Client {
    /// What the server said of itself.
    pub(crate) ready: Value,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
    /// Lines that came while another was waited for.
    early: VecDeque<Value>,
    asked: u64,
    /// Where it is joined to a connection.
    relay: Option<JoinHandle<Conn>>,
    child: Child,
}

impl Client {
    /// Starts this command with the address of a WebSocket added, and joins that to the connection.
    pub(crate) async fn start(command: Command, conn: Conn) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = Client::spawn(command, &format!("ws://{}/", listener.local_addr().unwrap()));
        let (stream, _) = within("the client to dial", listener.accept()).await.unwrap();
        #[expect(clippy::result_large_err, reason = "the signature is tungstenite's")]
        let subprotocol = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
            assert_eq!(request.headers()["sec-websocket-protocol"], "mcp");
            response.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("mcp"));
            Ok(response)
        };
        let socket = within("the client's upgrade", accept_hdr_async(stream, subprotocol)).await.unwrap();
        client.relay = Some(tokio::spawn(relay(conn, socket)));
        client.initialised().await
    }

    /// Starts this command with this address added, which it dials by itself.
    pub(crate) async fn dial(command: Command, url: &str) -> Self {
        Client::spawn(command, url).initialised().await
    }

    fn spawn(mut command: Command, url: &str) -> Self {
        command.arg(url);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let stdout = BufReader::new(stdout).lines();
        Client { ready: Value::Null, stdin, stdout, early: VecDeque::new(), asked: 0, relay: None, child }
    }

    async fn initialised(mut self) -> Self {
        let mut line = self.line("the client to be initialised", |line| line.get("ready").is_some()).await;
        self.ready = line["ready"].take();
        self
    }

    /// Starts a request; its number.
    pub(crate) async fn send(&mut self, method: &str, params: Value) -> u64 {
        self.asked += 1;
        self.write(json!({"id": self.asked, "method": method, "params": params})).await;
        self.asked
    }

    /// Starts a call; its number.
    pub(crate) async fn send_call(&mut self, tool: &str, arguments: Value) -> u64 {
        self.send("tools/call", json!({"name": tool, "arguments": arguments})).await
    }

    /// Gives up a request.
    pub(crate) async fn cancel(&mut self, number: u64) {
        self.write(json!({"cancel": number})).await;
    }

    /// What a request came to: an object with `result` or `error`.
    pub(crate) async fn outcome(&mut self, number: u64) -> Value {
        self.line(&format!("the outcome of request {number}"), |line| line["id"] == number).await
    }

    /// A request and its result.
    pub(crate) async fn ask(&mut self, method: &str, params: Value) -> Value {
        let number = self.send(method, params).await;
        let mut outcome = self.outcome(number).await;
        assert!(outcome.get("result").is_some(), "{method}: {outcome}");
        outcome["result"].take()
    }

    /// A call and the text of its result.
    pub(crate) async fn call(&mut self, tool: &str, arguments: Value) -> String {
        let result = self.ask("tools/call", json!({"name": tool, "arguments": arguments})).await;
        result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {result}")).to_owned()
    }

    /// A call and the text of its result, if it has one.
    pub(crate) async fn attempt(&mut self, tool: &str, arguments: &Value) -> Option<String> {
        let number = self.send_call(tool, arguments.clone()).await;
        Some(self.outcome(number).await["result"]["content"][0]["text"].as_str()?.to_owned())
    }

    /// The next report of progress of a request.
    pub(crate) async fn progress(&mut self, number: u64) -> Value {
        self.line(&format!("progress of request {number}"), |line| line["progress"] == number).await["params"].take()
    }

    /// The parameters of the next notification of this method.
    pub(crate) async fn notification(&mut self, method: &str) -> Value {
        self.line(method, |line| line["notification"] == method).await["params"].take()
    }

    /// The client was asked this by a server, and has answered it.
    pub(crate) async fn was_asked(&mut self, method: &str) {
        self.line(method, |line| line["asked"] == method).await;
    }

    /// Ends the client; the connection, which is still open.
    pub(crate) async fn close(self) -> Conn {
        drop(self.stdin);
        within("the client to end", self.relay.unwrap()).await.unwrap()
    }

    /// Ends a client that has dialled by itself.
    pub(crate) async fn end(mut self) {
        drop(self.stdin);
        let status = within("the client to end", self.child.wait()).await.unwrap();
        assert!(status.success(), "{status}");
    }

    async fn write(&mut self, line: Value) {
        self.stdin.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    async fn line(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.early.iter().position(&is_it) {
            return self.early.remove(at).unwrap();
        }
        loop {
            let line = within(what, self.stdout.next_line()).await.unwrap();
            let line = line.unwrap_or_else(|| panic!("the client ended instead of: {what}"));
            let line = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
            if is_it(&line) {
                return line;
            }
            self.early.push_back(line);
        }
    }
}

/// Until the client leaves.
async fn relay(mut conn: Conn, mut client: WebSocketStream<TcpStream>) -> Conn {
    loop {
        tokio::select! {
            frame = conn.next_ever() => match frame {
                Ok(frame) => {
                    // It may be leaving.
                    let _ = client.send(Message::text(frame.to_string())).await;
                }
                Err(closed) => panic!("the connection ended: {closed:?}"),
            },
            message = client.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    conn.send_as(&serde_json::from_str(&text).unwrap(), Message::Text(text)).await;
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return conn,
            },
        }
    }
}
