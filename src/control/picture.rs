//! All that a mcp-pipe tells of its state at a moment: what follows from the journal, and what is looked up when somebody asks.

use serde::{Deserialize, Serialize};

use super::figures::Counted;
use super::status::{Overview, ServerKey, Status};

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
}

impl Picture {
    /// The state now.
    pub(super) fn take(status: &Status) -> Self {
        let overview = status.read();
        let seen = overview.servers.iter().map(|server| Seen { counted: server.figures.read() }).collect();
        Picture { overview, seen }
    }

    /// What was looked up of a server.
    pub(super) fn seen(&self, server: ServerKey) -> Option<&Seen> {
        let place = self.overview.servers.iter().position(|known| known.key == server)?;
        self.seen.get(place)
    }
}
