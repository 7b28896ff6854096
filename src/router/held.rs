//! Messages that wait for a server to come up.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::envelope;

/// How much may wait for a server, in bytes; a message larger than this still may if it is alone.
pub(super) const HOLD_BYTES: usize = 1 << 20;

/// How long a request waits for its server: the cloud gives up on `initialize` and, in its older versions, on calls
/// after 10 s, and an error that arrives before that is worth more than a result after it.
pub(super) const HOLD: Duration = Duration::from_secs(9);

/// In the order in which they came, each with when that was.
#[derive(Debug, Default)]
pub(super) struct Held {
    frames: VecDeque<(Instant, Box<[u8]>)>,
    bytes: usize,
}

impl Held {
    /// Keeps a message that came at `since` for [`HOLD`]; false if too much is kept already.
    pub(super) fn push(&mut self, frame: &[u8], since: Instant) -> bool {
        if self.bytes + frame.len() > HOLD_BYTES && !self.frames.is_empty() {
            return false;
        }
        self.bytes += frame.len();
        self.frames.push_back((since, frame.into()));
        true
    }

    /// Whether a request of this method waits.
    pub(super) fn has_method(&self, method: &[u8]) -> bool {
        let is_it =
            |frame: &[u8]| envelope::scan_one(frame).and_then(|e| e.method).is_some_and(|r| &frame[r] == method);
        self.frames.iter().any(|(_, frame)| is_it(frame))
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    /// How much waits, in bytes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// All of them, each with when it came.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (Instant, Box<[u8]>)> + use<> {
        std::mem::take(self).frames.into_iter()
    }

    /// The oldest, if its deadline has passed.
    pub(super) fn expired(&mut self, now: Instant) -> Option<Box<[u8]>> {
        if self.deadline()? > now {
            return None;
        }
        let (_, frame) = self.frames.pop_front()?;
        self.bytes -= frame.len();
        Some(frame)
    }

    /// When the next one expires.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.frames.front().map(|(since, _)| *since + HOLD)
    }

    /// Drops the request with this id (the raw token), if it waits: MCP gives a cancelled request no answer.
    pub(super) fn cancel(&mut self, id: &[u8]) -> bool {
        let is_it = |frame: &[u8]| envelope::scan_one(frame).and_then(|e| e.id).is_some_and(|r| &frame[r] == id);
        let Some(at) = self.frames.iter().position(|(_, frame)| is_it(frame)) else { return false };
        if let Some((_, frame)) = self.frames.remove(at) {
            self.bytes -= frame.len();
        }
        true
    }
}
