//! What a running mcp-pipe tells to whoever looks for the cause of a fault: its state, and the lines of its log. It is only asked.

use serde_json::Value;
use tokio::time::Instant;

use super::commands::{Asking, State, told};
use super::discovery::{self, Found};
use super::memory;
use super::picture::Picture;
use super::protocol::{Daemon, Reply, Request};
use super::report::{Report, Sight};
use super::status::Status;
use crate::config::ControlSocket;
use crate::error::Failure;
use crate::logging::{Entry, Ring, View};

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
    /// One does, or several do, and it can't be asked, for this reason.
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
            Err(Failure::Asking { exit: crate::error::Exit::NoDaemon, .. }) => Running::No,
            Err(failure) => Running::Mute(failure.to_string().trim().trim_start_matches("mcp-pipe: ").to_owned()),
        }
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

fn report(daemon: &Daemon, picture: &Picture) -> Option<Report> {
    let memory = &memory::of_groups();
    Report::of(&Sight { daemon, picture, memory, only: None, now: Instant::now() })
}
