//! The program as an MCP server that a client has started, from that client's side.

use std::collections::VecDeque;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout};

use super::within;

/// See the module's documentation.
pub(crate) struct Talk {
    pub(super) child: Child,
    pub(super) to: Option<ChildStdin>,
    pub(super) from: BufReader<ChildStdout>,
    /// What came and was not waited for.
    pub(crate) others: VecDeque<Value>,
    pub(super) mark: String,
    pub(super) _dir: TempDir,
}

/// How the program has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    /// What it said on stdout since it was last heard.
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Talk {
    pub(crate) async fn send(&mut self, method: &str, id: Option<u64>, params: Value) {
        let mut message = json!({"jsonrpc": "2.0", "method": method, "params": params});
        if let Some(id) = id {
            message["id"] = id.into();
        }
        self.to.as_mut().unwrap().write_all(format!("{message}\n").as_bytes()).await.unwrap();
    }

    /// The answer to a request. Whatever is on stdout is a message.
    pub(crate) async fn answer(&mut self, id: u64) -> Value {
        let is_it = |message: &Value| message["id"] == id && message.get("method").is_none();
        self.message(&format!("an answer to {id}"), is_it).await
    }

    /// The next message of this method.
    pub(crate) async fn other(&mut self, method: &str) -> Value {
        self.message(method, |message| message["method"] == method).await
    }

    async fn message(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.others.iter().position(&is_it) {
            return self.others.remove(at).unwrap();
        }
        loop {
            let mut line = String::new();
            let read = within(what, self.from.read_line(&mut line)).await.unwrap();
            if read == 0 {
                let mut said = String::new();
                self.child.stderr.take().unwrap().read_to_string(&mut said).await.unwrap();
                panic!("it ended before {what} came: {said}");
            }
            let message: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
            if is_it(&message) {
                return message;
            }
            self.others.push_back(message);
        }
    }

    pub(crate) async fn ask(&mut self, id: u64, method: &str, params: Value) -> Value {
        self.send(method, Some(id), params).await;
        self.answer(id).await
    }

    /// The handshake. Returns the answer to `initialize`.
    pub(crate) async fn greet(&mut self) -> Value {
        let client = json!({"name": "client", "version": "1"});
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
        let answer = self.ask(0, "initialize", params).await;
        // What servers have agreed on with others before counts.
        assert!(answer["result"]["protocolVersion"].is_string(), "{answer}");
        self.send("notifications/initialized", None, json!({})).await;
        answer
    }

    pub(crate) async fn call(&mut self, id: u64, tool: &str, arguments: Value) -> Value {
        self.ask(id, "tools/call", json!({"name": tool, "arguments": arguments})).await
    }

    /// Says no more, and waits for the end of the program, of which nothing is left.
    pub(crate) async fn end(mut self) -> Ended {
        self.to = None;
        self.ended().await
    }

    /// Waits for the end of the program, of which nothing is left.
    pub(crate) async fn ended(mut self) -> Ended {
        let (mut out, mut err) = (String::new(), String::new());
        let mut stderr = self.child.stderr.take().unwrap();
        let read = async { tokio::join!(self.from.read_to_string(&mut out), stderr.read_to_string(&mut err)) };
        let (of_out, of_err) = within("its output to end", read).await;
        of_out.and(of_err).unwrap();
        let status = within("the program to end", self.child.wait()).await.unwrap();
        super::daemon::assert_nothing_left(&self.mark);
        Ended { code: status.code(), out, err }
    }

    /// Is gone without a word, as one that was killed.
    pub(crate) async fn vanish(self) {
        let Talk { mut child, to, from, mark, .. } = self;
        drop((to, from, child.stderr.take()));
        child.wait().await.unwrap();
        super::daemon::assert_nothing_left(&mark);
    }
}
