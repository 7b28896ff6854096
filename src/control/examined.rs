//! What a running mcp-pipe tells to whoever looks for the cause of a fault: its state, and the lines of its log. It is only asked.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};

use super::commands::{Asking, State, told};
use super::discovery::{self, Found};
use super::picture::Picture;
use super::protocol::{Daemon, MAX_REPLY, Reply, Request};
use super::report::{Report, Sight};
use super::status::Status;
use crate::config::ControlSocket;
use crate::error::{Exit, Failure};
use crate::logging::{Entry, Ring, View};
use crate::mcp::handshake::VERSIONS;
use crate::mcp::lists::MAX_PAGES;
use crate::process::memory;

/// Longest wait for the tools of a server that serves: they are known mostly.
const TOOLS: Duration = Duration::from_secs(3);
/// Most lines of the log that are looked at.
const LINES: u64 = 4000;

/// What is known of a mcp-pipe: of one that runs, or of this one.
pub(crate) struct Examined {
    pub(crate) report: Report,
    /// Lines of the log, oldest first.
    pub(crate) log: Vec<Logged>,
}

/// A line of the log.
pub(crate) struct Logged {
    /// When, in seconds since 1970.
    pub(crate) at: u64,
    /// As a JSON log has it.
    pub(crate) line: Value,
}

/// Whether a mcp-pipe runs.
pub(crate) enum Running {
    /// None, with the config that is asked about.
    No,
    One(Box<Examined>),
    /// Several do: which.
    Several(String),
    /// One does, and it can't be asked, for this reason.
    Mute(String),
}

impl Asking<'_> {
    /// Asks the mcp-pipe that runs.
    pub(crate) async fn examine(&self) -> Running {
        if let ControlSocket::None = self.socket {
            return Running::No;
        }
        if let ControlSocket::In(places) = &self.socket
            && let Found::None(_) = discovery::find(places, self.config.as_deref()).await
        {
            return Running::No;
        }
        match self.state().await {
            Ok(State { daemon, picture }) => {
                let report = report(&daemon, &picture);
                // Without its log, all else that it says counts.
                let log = self.lines().await.unwrap_or_default();
                report.map_or(Running::No, |report| Running::One(Box::new(Examined { report, log })))
            }
            Err(Failure::Asking { exit: Exit::NoDaemon, .. }) => Running::No,
            Err(Failure::Asking { exit: Exit::Usage, what, .. }) => {
                let which: Vec<&str> = what.lines().skip(1).map(str::trim).collect();
                Running::Several(which.join("; "))
            }
            Err(failure) => Running::Mute(failure.to_string().trim().trim_start_matches("mcp-pipe: ").to_owned()),
        }
    }

    /// What a server of the mcp-pipe that runs lists of its tools, as a client on stdio is shown them. `None` where that can't be had in time.
    pub(crate) async fn tools(&self, server: &str) -> Option<Vec<Value>> {
        timeout(TOOLS, self.listed(server)).await.ok()?
    }

    async fn listed(&self, server: &str) -> Option<Vec<Value>> {
        let mut answer = self.ask(&Request::Mcp { server: Some(server.to_owned()) }).await.ok()?;
        let Reply::Daemon(_) = answer.next().await.ok()?? else { return None };
        let mut stream = answer.into_stream();
        let hello = json!({"protocolVersion": VERSIONS[VERSIONS.len() - 1], "capabilities": {}, "clientInfo": {"name": "mcp-pipe doctor", "version": env!("CARGO_PKG_VERSION")}});
        said(&mut stream, 0, "initialize", hello).await?;
        let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        stream.write_all(format!("{initialized}\n").as_bytes()).await.ok()?;
        let (mut tools, mut cursor) = (Vec::new(), Value::Null);
        for page in 1..=MAX_PAGES {
            let params = if cursor.is_null() { json!({}) } else { json!({"cursor": cursor}) };
            let mut list = said(&mut stream, page, "tools/list", params).await?;
            if let Value::Array(more) = list["tools"].take() {
                tools.extend(more);
            }
            cursor = list["nextCursor"].take();
            if cursor.is_null() {
                break;
            }
        }
        Some(tools)
    }

    async fn lines(&self) -> Result<Vec<Logged>, Failure> {
        let mut answer = self.ask(&Request::Logs { server: None, last: Some(LINES), follow: false }).await?;
        let mut lines = Vec::new();
        while let Some(reply) = answer.next().await.map_err(told)? {
            if let Reply::Log(line) = reply {
                lines.extend(serde_json::from_str(line.line.get()).map(|text| Logged { at: line.at, line: text }));
            }
        }
        Ok(lines)
    }
}

impl Examined {
    /// What this mcp-pipe knows of its own servers.
    pub(crate) fn here(status: &Status, ring: Option<&Ring>) -> Option<Self> {
        let mut log = Vec::new();
        if let Some(ring) = ring {
            let mut cursor = ring.cursor(View::All, Some(LINES), false);
            ring.read(&mut cursor, usize::MAX, &mut |entry| {
                if let Entry::Line(at, line) = entry {
                    log.extend(serde_json::from_str(line).map(|line| Logged { at, line }));
                }
            });
        }
        let report = report(&Daemon::default(), &Picture::take(status, ring))?;
        Some(Examined { report, log })
    }
}

/// The result of a request over a stream of messages, a line each. Whatever else comes first is of no interest.
async fn said(
    stream: &mut (impl AsyncBufRead + AsyncWrite + Unpin),
    id: usize,
    method: &str,
    params: Value,
) -> Option<Value> {
    let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
    stream.write_all(format!("{request}\n").as_bytes()).await.ok()?;
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut *stream).take(MAX_REPLY as u64).read_until(b'\n', &mut line).await.ok()?;
        let mut message: Value = serde_json::from_slice(&line).ok().filter(|_| read > 0)?;
        if message["id"] == id && message.get("method").is_none() {
            return message.get_mut("result").map(Value::take);
        }
    }
}

fn report(daemon: &Daemon, picture: &Picture) -> Option<Report> {
    let memory = &memory::of_groups();
    Report::of(&Sight { daemon, picture, memory, only: None, now: Instant::now() })
}
