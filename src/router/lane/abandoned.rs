//! Calls of a server for whose answers nobody waits any more: cancelled ones, and those of a connection that is gone.
//!
//! The server was told, but it may have heard too late or not know cancelling, and work on. What it says meanwhile may be about such a
//! call, so it must not be taken for another peer's.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::STALE;
use crate::router::PeerId;

/// Most calls that are kept, some 50 bytes each: as many as one peer may have under way.
const MAX_ABANDONED: usize = super::MAX_IN_FLIGHT;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Abandoned {
    /// Whose each call is and when it came, by its id at the server.
    calls: BTreeMap<u64, (PeerId, Instant)>,
    /// When the youngest call came that found no room among them.
    unkept: Option<Instant>,
}

impl Abandoned {
    /// Nobody waits for this call any more, which came at that time.
    pub(super) fn add(&mut self, id: u64, peer: PeerId, since: Instant) {
        if self.calls.len() < MAX_ABANDONED {
            self.calls.insert(id, (peer, since));
        } else {
            self.unkept = self.unkept.max(Some(since));
        }
    }

    /// The server has answered a request for which nobody waits, and works on it no longer.
    pub(super) fn answered(&mut self, id: u64) {
        self.calls.remove(&id);
    }

    /// Forgets calls that are so old that the server has most likely forgotten them, too.
    pub(super) fn expire(&mut self, now: Instant) {
        let is_over = |since: Instant| now >= since + STALE;
        // Ids count up, so the first call is the oldest, or nearly.
        while self.calls.first_entry().is_some_and(|call| is_over(call.get().1)) {
            self.calls.pop_first();
        }
        self.unkept = self.unkept.filter(|since| !is_over(*since));
    }

    /// The server's life or conversation is over.
    pub(super) fn clear(&mut self) {
        *self = Abandoned::default();
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.unkept.is_none()
    }

    /// Whether no other peer has such a call.
    pub(super) fn are_all_of(&self, peer: PeerId) -> bool {
        self.unkept.is_none() && self.calls.values().all(|(owner, _)| *owner == peer)
    }
}
