//! A remote server by Streamable HTTP or HTTP+SSE that does as it is told, byte by byte where a test wants that.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use super::secure::{self, Secure};

/// A request that the server has got.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) target: String,
    /// In lower case, names and values.
    pub(crate) head: String,
    /// The same as it was sent.
    pub(crate) sent: String,
    /// The body as it was sent.
    pub(crate) text: String,
    /// `null` without one.
    pub(crate) body: Value,
    /// Of which session it is, if it says so.
    pub(crate) session: Option<usize>,
}

impl Asked {
    /// `sent`: the head as it was sent.
    pub(super) fn new(method: String, target: String, sent: String, body: &[u8]) -> Self {
        let head = sent.to_ascii_lowercase();
        let named = || target.split_once("?session=s").map(|(_, id)| id);
        let session = head.lines().find_map(|line| line.strip_prefix("mcp-session-id: s")).or_else(named);
        let session = session.map(|id| id.parse().unwrap());
        let text = String::from_utf8_lossy(body).into_owned();
        Asked { method, target, head, sent, text, body: serde_json::from_slice(body).unwrap_or_default(), session }
    }

    /// The tool that is called.
    pub(crate) fn tool(&self) -> Option<&str> {
        self.body["params"]["name"].as_str().filter(|_| self.body["method"] == "tools/call")
    }

    /// The value of a header as it was sent; the name in lower case.
    pub(crate) fn exact(&self, name: &str) -> Option<&str> {
        let at =
            self.head.lines().position(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(": ")))?;
        Some(self.sent.lines().nth(at)?.split_once(": ")?.1)
    }

    /// A value of a form, or of the query.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        let text = if self.text.is_empty() { query } else { &self.text };
        let value = text.split('&').filter_map(|pair| pair.split_once('=')).find(|(of, _)| *of == name)?.1;
        Some(percent_encoding::percent_decode_str(value).decode_utf8().unwrap().into_owned())
    }

    /// Where it was asked.
    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.header("host").unwrap())
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// A part of an answer.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    Write(Vec<u8>),
    Pause(Duration),
    /// The same again and again, after a pause, for as long as the client takes it.
    Again(Vec<u8>, Duration),
    /// So many bytes that mean nothing.
    Bulk(usize),
    /// Nothing more comes, and the connection stays.
    Hang,
    Close,
    /// These go to the event stream of the session in which it was asked (HTTP+SSE).
    Tell(Vec<Part>),
    /// A session begins with these, and what it is told follows until its stream is closed (HTTP+SSE).
    Begin(Vec<Part>),
}

/// By which transport a server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// Streamable HTTP.
    Http,
    /// HTTP+SSE (MCP 2024-11-05).
    Sse,
}

impl Transport {
    pub(crate) const BOTH: [Transport; 2] = [Transport::Http, Transport::Sse];

    /// Where a server takes its first request.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Transport::Http => "/mcp",
            Transport::Sse => "/sse",
        }
    }

    /// The answer to a request as these parts of an event stream: of its own, or of the only one.
    pub(crate) fn events(self, parts: Vec<Part>) -> Vec<Part> {
        match self {
            Transport::Http => [events(""), parts].concat(),
            Transport::Sse => [whole("202 Accepted", &[], "Accepted"), vec![Part::Tell(parts)]].concat(),
        }
    }
}

/// What the server answers; `None`: as a good one does.
pub(crate) type Script = dyn Fn(&Asked) -> Option<Vec<Part>> + Send + Sync;

pub(super) struct State {
    script: Box<Script>,
    transport: Transport,
    asked: Mutex<Vec<Asked>>,
    /// Those of HTTP+SSE, by their sessions.
    streams: Mutex<HashMap<usize, UnboundedSender<Part>>>,
    /// The number of the present session; others are unknown.
    session: AtomicUsize,
    sessions: AtomicUsize,
    connections: AtomicUsize,
    /// How many clients have gone before they had the whole answer.
    gone: AtomicUsize,
    secure: Option<Secure>,
}

/// See the module's documentation. It ends when this is dropped.
pub(crate) struct Web {
    state: Arc<State>,
    port: u16,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Web {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Web {
    pub(crate) async fn start(script: impl Fn(&Asked) -> Option<Vec<Part>> + Send + Sync + 'static) -> Self {
        Self::start_by(Transport::Http, script).await
    }

    /// The same by one of the transports.
    pub(crate) async fn start_by(
        transport: Transport,
        script: impl Fn(&Asked) -> Option<Vec<Part>> + Send + Sync + 'static,
    ) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), Self::state(transport, None, script))
    }

    /// The same by TLS.
    pub(crate) async fn start_secure(
        transport: Transport,
        secure: Secure,
        script: impl Fn(&Asked) -> Option<Vec<Part>> + Send + Sync + 'static,
    ) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), Self::state(transport, Some(secure), script))
    }

    fn state(
        transport: Transport,
        secure: Option<Secure>,
        script: impl Fn(&Asked) -> Option<Vec<Part>> + Send + Sync + 'static,
    ) -> Arc<State> {
        let [session, sessions, connections, gone] = [const { AtomicUsize::new(0) }; 4];
        let (asked, streams, script) = (Mutex::default(), Mutex::default(), Box::new(script));
        Arc::new(State { script, transport, asked, streams, session, sessions, connections, gone, secure })
    }

    fn on(listener: TcpListener, state: Arc<State>) -> Self {
        let port = listener.local_addr().unwrap().port();
        let serving = state.clone();
        let task = tokio::spawn(async move {
            // Dropped with this task, they close their connections.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                serving.connections.fetch_add(1, Ordering::SeqCst);
                connections.spawn(welcome(stream, serving.clone()));
            }
        });
        Web { state, port, task }
    }

    /// Ends it with all its connections.
    pub(crate) async fn end(&mut self) {
        self.task.abort();
        while !self.task.is_finished() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.forget();
    }

    /// Ends it with all its connections, and starts it at the same address, where it knows no session.
    pub(crate) async fn restart(&mut self) {
        self.end().await;
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(([127, 0, 0, 1], self.port).into()).unwrap();
        let again = Self::on(socket.listen(64).unwrap(), self.state.clone());
        let _old = std::mem::replace(self, again);
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.state.secure.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}{}", self.port, self.state.transport.path())
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// How many sessions it has begun.
    pub(crate) fn sessions(&self) -> usize {
        self.state.sessions.load(Ordering::SeqCst)
    }

    /// How many connections were made to it.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// How often a client has gone before it had the whole answer.
    pub(crate) fn gone(&self) -> usize {
        self.state.gone.load(Ordering::SeqCst)
    }

    /// From now on it knows no session. Event streams of HTTP+SSE stay, and say no more.
    pub(crate) fn forget(&self) {
        self.state.session.store(0, Ordering::SeqCst);
    }

    /// What it was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.state.asked.lock().unwrap().clone()
    }

    /// How often a tool was called.
    pub(crate) fn calls(&self, tool: &str) -> usize {
        self.asked().iter().filter(|asked| asked.tool() == Some(tool)).count()
    }
}

/// A whole answer.
pub(crate) fn whole(status: &str, headers: &[&str], body: &str) -> Vec<Part> {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let length = body.len();
    vec![Part::Write(format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n{body}").into())]
}

/// An answer with this JSON.
pub(crate) fn with_json(body: &Value) -> Vec<Part> {
    whole("200 OK", &["content-type: application/json"], &body.to_string())
}

/// The beginning of a stream of events; what follows is written as it is.
pub(crate) fn events(text: &str) -> Vec<Part> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n\r\n";
    vec![Part::Write(format!("{head}{text}").into())]
}

/// The answer to a call, with this text.
pub(crate) fn result(asked: &Asked, text: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": asked.body["id"], "result": {"content": [{"type": "text", "text": text}]}})
}

async fn welcome(stream: TcpStream, state: Arc<State>) {
    stream.set_nodelay(true).unwrap();
    let Some(secure) = &state.secure else { return serve(stream, state).await };
    // A client that doesn't trust us ends the handshake.
    let Ok(stream) = secure.acceptor.accept(stream).await else { return };
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        secure::serve_http2(stream, state).await;
    } else {
        serve(stream, state).await;
    }
}

impl State {
    /// What a request is answered with.
    pub(super) fn answer(&self, asked: Asked) -> Vec<Part> {
        self.asked.lock().unwrap().push(asked.clone());
        (self.script)(&asked).unwrap_or_else(|| match self.transport {
            Transport::Http => good(&asked, self),
            Transport::Sse => good_by_sse(&asked, self),
        })
    }

    /// Tells a session something by its event stream.
    fn tell(&self, session: Option<usize>, parts: Vec<Part>) {
        let streams = self.streams.lock().unwrap();
        let Some(stream) = session.and_then(|session| streams.get(&session)) else { return };
        // Nobody follows it any more.
        parts.into_iter().for_each(|part| drop(stream.send(part)));
    }

    /// Begins a session of HTTP+SSE. What it is told comes out.
    fn begin(&self, first: Vec<Part>) -> UnboundedReceiver<Part> {
        let number = self.sessions.fetch_add(1, Ordering::SeqCst) + 1;
        let (stream, told) = unbounded_channel();
        first.into_iter().for_each(|part| stream.send(part).unwrap());
        self.streams.lock().unwrap().insert(number, stream);
        self.session.store(number, Ordering::SeqCst);
        told
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, state: Arc<State>) {
    let mut read = Vec::new();
    while let Some(asked) = request(&mut stream, &mut read).await {
        let session = asked.session;
        for part in state.answer(asked) {
            let goes_on = match part {
                Part::Tell(parts) => {
                    state.tell(session, parts);
                    true
                }
                Part::Begin(first) => {
                    let mut told = state.begin(first);
                    loop {
                        let part = tokio::select! {
                            part = told.recv() => part,
                            _ = stream.read_u8() => {
                                state.gone.fetch_add(1, Ordering::SeqCst);
                                None
                            }
                        };
                        let Some(part) = part else { break false };
                        if !write(&mut stream, part, &state).await {
                            break false;
                        }
                    }
                }
                part @ (Part::Write(_)
                | Part::Pause(_)
                | Part::Again(..)
                | Part::Bulk(_)
                | Part::Hang
                | Part::Close) => write(&mut stream, part, &state).await,
            };
            if !goes_on {
                return;
            }
        }
    }
}

/// Writes a part. Returns whether more may follow.
async fn write(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), part: Part, state: &State) -> bool {
    let written = match part {
        Part::Write(bytes) => stream.write_all(&bytes).await,
        Part::Again(bytes, pause) => loop {
            if let Err(error) = stream.write_all(&bytes).await {
                break Err(error);
            }
            tokio::time::sleep(pause).await;
        },
        Part::Bulk(size) => bulk(stream, size).await,
        Part::Pause(time) => {
            tokio::time::sleep(time).await;
            Ok(())
        }
        Part::Hang => {
            // Ends when the client does, which says nothing more.
            let _ = stream.read_u8().await;
            return false;
        }
        Part::Close => {
            let _ = stream.shutdown().await;
            return false;
        }
        Part::Tell(_) | Part::Begin(_) => panic!("no part of what is written"),
    };
    if written.is_err() {
        state.gone.fetch_add(1, Ordering::SeqCst);
    }
    written.is_ok()
}

async fn bulk(stream: &mut (impl AsyncWrite + Unpin), mut size: usize) -> std::io::Result<()> {
    let bytes = vec![b'x'; 1 << 16];
    while size > 0 {
        let piece = size.min(bytes.len());
        stream.write_all(&bytes[..piece]).await?;
        size -= piece;
    }
    Ok(())
}

async fn request(stream: &mut (impl AsyncRead + Unpin), read: &mut Vec<u8>) -> Option<Asked> {
    let end = loop {
        if let Some(end) = read.windows(4).position(|w| w == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(read).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(read[..end].to_vec()).unwrap();
    let mut first = head.split(' ');
    let (method, target) = (first.next().unwrap().to_owned(), first.next().unwrap().to_owned());
    let (sent, head) = (head.clone(), head.to_ascii_lowercase());
    let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    let length = value("content-length: ").map_or(0, |length| length.parse().unwrap());
    while read.len() < end + length {
        if stream.read_buf(read).await.ok()? == 0 {
            return None;
        }
    }
    let asked = Asked::new(method, target, sent, &read[end..end + length]);
    read.drain(..end + length);
    Some(asked)
}

/// The result of `initialize`.
fn welcome_of(asked: &Asked) -> Value {
    json!({"jsonrpc": "2.0", "id": asked.body["id"], "result": {
        "protocolVersion": asked.body["params"]["protocolVersion"],
        "capabilities": {"tools": {"listChanged": true}, "logging": {}, "resources": {"subscribe": true}},
        "serverInfo": {"name": "web", "version": "1"},
    }})
}

/// What a good server says in answer to a message, but to `initialize`.
fn said(asked: &Asked) -> Option<Value> {
    let answer = |result: Value| json!({"jsonrpc": "2.0", "id": asked.body["id"], "result": result});
    match asked.body["method"].as_str()? {
        "tools/list" => {
            let tool = |name: &str| json!({"name": name, "inputSchema": {"type": "object"}});
            Some(answer(json!({"tools": [tool("echo"), tool("x")]})))
        }
        "tools/call" => Some(result(asked, "echo")),
        "server/discover" => {
            let error = json!({"code": -32601, "message": "Method not found"});
            Some(json!({"jsonrpc": "2.0", "id": asked.body["id"], "error": error}))
        }
        _ if asked.body["id"].is_null() => None,
        _ => Some(answer(json!({}))),
    }
}

/// What a good server answers.
fn good(asked: &Asked, state: &State) -> Vec<Part> {
    let present = state.session.load(Ordering::SeqCst);
    if asked.body["method"] == "initialize" {
        assert_eq!((asked.session, asked.header("mcp-protocol-version")), (None, None), "on the first request");
        let number = state.sessions.fetch_add(1, Ordering::SeqCst) + 1;
        state.session.store(number, Ordering::SeqCst);
        let headers = ["content-type: application/json", &format!("mcp-session-id: s{number}")];
        return whole("200 OK", &headers, &welcome_of(asked).to_string());
    }
    match asked.method.as_str() {
        "GET" => whole("405 Method Not Allowed", &["allow: POST"], ""),
        _ if asked.session != Some(present) || present == 0 => {
            whole("404 Not Found", &["content-type: application/json"], r#"{"error":"session not found"}"#)
        }
        "DELETE" => whole("200 OK", &[], ""),
        _ => match said(asked) {
            None => whole("202 Accepted", &[], ""),
            Some(said) => with_json(&said),
        },
    }
}

/// The beginning of a session of HTTP+SSE; `named`: the address for what its server is sent.
pub(crate) fn endpoint_event(named: &str) -> String {
    format!("event: endpoint\ndata: {named}\n\n")
}

/// What a good server answers by HTTP+SSE.
fn good_by_sse(asked: &Asked, state: &State) -> Vec<Part> {
    let present = state.session.load(Ordering::SeqCst);
    if asked.target.ends_with("/sse") {
        if asked.method != "GET" {
            return whole("405 Method Not Allowed", &["allow: GET"], "");
        }
        let number = state.sessions.load(Ordering::SeqCst) + 1;
        let first = endpoint_event(&format!("/messages?session=s{number}"));
        return [events(""), vec![Part::Begin(vec![Part::Write(first.into())])]].concat();
    }
    if asked.method != "POST" || asked.session != Some(present) || present == 0 {
        return whole("404 Not Found", &[], "Could not find session");
    }
    let said = if asked.body["method"] == "initialize" { Some(welcome_of(asked)) } else { said(asked) };
    let told = said.map(|said| Part::Write(format!("data: {said}\n\n").into()));
    state.transport.events(told.into_iter().collect())
}
