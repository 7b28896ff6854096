//! A client of Streamable HTTP (MCP 2025-11-25), as plain as can be.

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::within;

/// A client at one address. Each request has a connection of its own.
#[derive(Debug, Clone)]
pub(crate) struct McpHttp {
    pub(crate) host: String,
    pub(crate) path: String,
    /// Further headers.
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) session: Option<String>,
    next: u64,
}

impl McpHttp {
    /// For an address as mcp-pipe tells it.
    pub(crate) fn at(url: &str) -> Self {
        let rest = url.split_once("://").unwrap().1;
        let (host, path) = rest.split_once('/').unwrap();
        McpHttp { host: host.into(), path: format!("/{path}"), headers: Vec::new(), session: None, next: 0 }
    }

    /// The same, at another path.
    pub(crate) fn path(&self, path: &str) -> Self {
        McpHttp { path: path.into(), session: None, ..self.clone() }
    }

    /// The same, with a key.
    pub(crate) fn key(&self, key: &str) -> Self {
        McpHttp { headers: vec![("authorization", format!("Bearer {key}"))], session: None, ..self.clone() }
    }

    /// Sends a request over a connection that stands.
    pub(crate) async fn send_over<S>(&self, stream: S, method: &str, body: String) -> Response<Incoming>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(&self.path).header(HOST, &self.host);
        request =
            request.header(ACCEPT, "application/json, text/event-stream").header(CONTENT_TYPE, "application/json");
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        if let Some(session) = &self.session {
            request = request.header("mcp-session-id", session);
        }
        sender.send_request(request.body(Full::new(Bytes::from(body))).unwrap()).await.unwrap()
    }

    pub(crate) async fn send(&self, method: &str, body: String) -> Response<Incoming> {
        let stream = within("a connection to the gateway", TcpStream::connect(&self.host)).await.unwrap();
        within("an answer of the gateway", self.send_over(stream, method, body)).await
    }

    /// The status of a request.
    pub(crate) async fn status(&self, method: &str, body: &Value) -> u16 {
        self.send(method, if body.is_null() { String::new() } else { body.to_string() }).await.status().as_u16()
    }

    /// Begins a session. Returns what is told.
    pub(crate) async fn begin(&mut self) -> Value {
        let params =
            json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        let first = json!({"jsonrpc": "2.0", "id": "first", "method": "initialize", "params": params});
        let answer = self.send("POST", first.to_string()).await;
        self.session = answer.headers().get("mcp-session-id").map(|id| id.to_str().unwrap().to_owned());
        let told: Value = serde_json::from_str(&text(answer).await).unwrap();
        self.status("POST", &json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
        told
    }

    /// Asks something. Returns the answer.
    pub(crate) async fn ask(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let message = json!({"jsonrpc": "2.0", "id": self.next, "method": method, "params": params});
        let answer = self.send("POST", message.to_string()).await;
        self.answer_in(&text(answer).await)
    }

    /// The answer to what was asked last.
    fn answer_in(&self, text: &str) -> Value {
        let messages = text.lines().map(|line| line.strip_prefix("data: ").unwrap_or(line));
        let mut messages = messages.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        messages.find(|message| message["id"] == self.next).unwrap_or_else(|| panic!("no answer in {text:?}"))
    }

    /// Sends a request of the era without sessions.
    pub(crate) async fn send_modern(&mut self, method: &str, mut params: Value) -> Response<Incoming> {
        self.next += 1;
        let version = "2026-07-28";
        params["_meta"]["io.modelcontextprotocol/protocolVersion"] = version.into();
        params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
        let mut headers = vec![("mcp-protocol-version", version.to_owned()), ("mcp-method", method.to_owned())];
        headers.extend(params["name"].as_str().map(|name| ("mcp-name", name.to_owned())));
        let message = json!({"jsonrpc": "2.0", "id": self.next, "method": method, "params": params});
        let headers = self.headers.iter().cloned().chain(headers).collect();
        McpHttp { headers, ..self.clone() }.send("POST", message.to_string()).await
    }

    /// Asks something in the era without sessions. Returns the answer.
    pub(crate) async fn ask_modern(&mut self, method: &str, params: Value) -> Value {
        let answer = self.send_modern(method, params).await;
        self.answer_in(&text(answer).await)
    }

    /// Calls a tool. Returns its text.
    pub(crate) async fn call(&mut self, tool: &str, arguments: Value) -> String {
        let answer = self.ask("tools/call", json!({"name": tool, "arguments": arguments})).await;
        let text = answer["result"]["content"][0]["text"].as_str();
        text.unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// The names of all tools.
    pub(crate) async fn tools(&mut self) -> Vec<String> {
        let list = self.ask("tools/list", json!({})).await;
        let tools = list["result"]["tools"].as_array().unwrap_or_else(|| panic!("{list}")).iter();
        tools.map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    }
}

/// All of a body.
pub(crate) async fn text(answer: Response<Incoming>) -> String {
    let body = within("the end of an answer", answer.into_body().collect()).await.unwrap();
    String::from_utf8(body.to_bytes().to_vec()).unwrap()
}
