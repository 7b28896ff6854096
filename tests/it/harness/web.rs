//! A remote server by Streamable HTTP that does as it is told, byte by byte where a test wants that.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A request that the server has got.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) target: String,
    /// In lower case, names and values.
    pub(crate) head: String,
    /// `null` without one.
    pub(crate) body: Value,
    /// Of which session it is, if it says so.
    pub(crate) session: Option<usize>,
}

impl Asked {
    /// The tool that is called.
    pub(crate) fn tool(&self) -> Option<&str> {
        self.body["params"]["name"].as_str().filter(|_| self.body["method"] == "tools/call")
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
    /// Nothing more comes, and the connection stays.
    Hang,
    Close,
}

/// What the server answers; `None`: as a good one does.
pub(crate) type Script = dyn Fn(&Asked) -> Option<Vec<Part>> + Send + Sync;

struct State {
    script: Box<Script>,
    asked: Mutex<Vec<Asked>>,
    /// The number of the present session; others are unknown.
    session: AtomicUsize,
    sessions: AtomicUsize,
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
        let (session, sessions) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let state = Arc::new(State { script: Box::new(script), asked: Mutex::default(), session, sessions });
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), state)
    }

    fn on(listener: TcpListener, state: Arc<State>) -> Self {
        let port = listener.local_addr().unwrap().port();
        let serving = state.clone();
        let task = tokio::spawn(async move {
            // Dropped with this task, they close their connections.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, serving.clone()));
            }
        });
        Web { state, port, task }
    }

    /// Ends it with all its connections, and starts it at the same address, where it knows no session.
    pub(crate) async fn restart(&mut self) {
        self.task.abort();
        while !self.task.is_finished() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.forget();
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(([127, 0, 0, 1], self.port).into()).unwrap();
        let again = Self::on(socket.listen(64).unwrap(), self.state.clone());
        let _old = std::mem::replace(self, again);
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/mcp", self.port)
    }

    /// From now on it knows no session.
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

async fn serve(mut stream: TcpStream, state: Arc<State>) {
    let mut read = Vec::new();
    while let Some(asked) = request(&mut stream, &mut read).await {
        state.asked.lock().unwrap().push(asked.clone());
        let answer = (state.script)(&asked).unwrap_or_else(|| good(&asked, &state));
        for part in answer {
            match part {
                Part::Write(bytes) => {
                    if stream.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
                Part::Pause(time) => tokio::time::sleep(time).await,
                Part::Hang => std::future::pending().await,
                Part::Close => return,
            }
        }
    }
}

async fn request(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<Asked> {
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
    let head = head.to_ascii_lowercase();
    let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    let length = value("content-length: ").map_or(0, |length| length.parse().unwrap());
    while read.len() < end + length {
        if stream.read_buf(read).await.ok()? == 0 {
            return None;
        }
    }
    let body = serde_json::from_slice(&read[end..end + length]).unwrap_or_default();
    read.drain(..end + length);
    let session = value("mcp-session-id: s").map(|id| id.parse().unwrap());
    Some(Asked { method, target, head, body, session })
}

/// What a good server answers.
fn good(asked: &Asked, state: &State) -> Vec<Part> {
    let present = state.session.load(Ordering::SeqCst);
    let method = asked.body["method"].as_str().unwrap_or_default();
    let answer = |result: Value| with_json(&json!({"jsonrpc": "2.0", "id": asked.body["id"], "result": result}));
    if method == "initialize" {
        assert_eq!((asked.session, asked.header("mcp-protocol-version")), (None, None), "on the first request");
        let number = state.sessions.fetch_add(1, Ordering::SeqCst) + 1;
        state.session.store(number, Ordering::SeqCst);
        let result = json!({
            "protocolVersion": asked.body["params"]["protocolVersion"],
            "capabilities": {"tools": {"listChanged": true}, "logging": {}, "resources": {"subscribe": true}},
            "serverInfo": {"name": "web", "version": "1"},
        });
        let body = json!({"jsonrpc": "2.0", "id": asked.body["id"], "result": result}).to_string();
        return whole("200 OK", &["content-type: application/json", &format!("mcp-session-id: s{number}")], &body);
    }
    match (asked.method.as_str(), method) {
        ("GET", _) => whole("405 Method Not Allowed", &["allow: POST"], ""),
        _ if asked.session != Some(present) || present == 0 => {
            whole("404 Not Found", &["content-type: application/json"], r#"{"error":"session not found"}"#)
        }
        ("DELETE", _) => whole("200 OK", &[], ""),
        (_, "tools/list") => {
            let tool = |name: &str| json!({"name": name, "inputSchema": {"type": "object"}});
            answer(json!({"tools": [tool("echo"), tool("x")]}))
        }
        (_, "tools/call") => with_json(&result(asked, "echo")),
        _ if asked.body["id"].is_null() || method.is_empty() => whole("202 Accepted", &[], ""),
        _ => answer(json!({})),
    }
}
