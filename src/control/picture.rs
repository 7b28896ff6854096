//! All that a mcp-pipe tells of its state at a moment: what follows from the journal, and what is looked up when somebody asks.

use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::figures::Counted;
use super::status::{Overview, ServerKey, ServerState, ServerStatus, Status};
use crate::logging::{Entry, Ring, View};

/// The state of a mcp-pipe.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Picture {
    pub overview: Overview,
    /// What was looked up of each server, in the same order.
    pub seen: Vec<Seen>,
}

/// What is looked up of a server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Seen {
    pub counted: Counted,
    /// Where the server has not answered yet: what its process wrote last to stderr.
    pub last_line: Option<String>,
}

impl Picture {
    /// The state now.
    pub(super) fn take(status: &Status, ring: Option<&Ring>) -> Self {
        let overview = status.read();
        let seen = |server: &ServerStatus| Seen {
            counted: server.figures.read(),
            last_line: ring.and_then(|ring| last_line(server, ring)),
        };
        let seen = overview.servers.iter().map(seen).collect();
        Picture { overview, seen }
    }

    /// What was looked up of a server.
    pub(super) fn seen(&self, server: ServerKey) -> Option<&Seen> {
        let place = self.overview.servers.iter().position(|known| known.key == server)?;
        self.seen.get(place)
    }
}

/// Most lines of the log in which a server's last one is looked for.
const LOOKED_AT: u64 = 20;

/// What the process of a server that starts has written to stderr last, as the log has it.
fn last_line(server: &ServerStatus, ring: &Ring) -> Option<String> {
    let process = server.process.as_ref().filter(|_| server.state == ServerState::Starting)?;
    let since = SystemTime::now().checked_sub(process.at.elapsed())?.duration_since(UNIX_EPOCH).ok()?.as_secs();
    let mut cursor = ring.cursor(View::Server(server.name.as_str().into()), Some(LOOKED_AT), false);
    let mut last = None;
    ring.read(&mut cursor, usize::MAX, &mut |entry| match entry {
        Entry::Line(at, line) if at >= since => {
            if let Ok(Line { event, message }) = serde_json::from_str(line)
                && event == "SERVER_STDERR"
                && !message.trim().is_empty()
            {
                last = Some(message.into_owned());
            }
        }
        Entry::Line(..) | Entry::Lost(_) => {}
    });
    last
}

/// A line of the log, as far as it is of interest.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow)]
    message: Cow<'a, str>,
}
