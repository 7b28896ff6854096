//! Messages that wait for a server to come up.

use std::collections::VecDeque;

use tokio::time::Instant;

use crate::envelope;

/// How much may wait for a server, in bytes; a message larger than this still may if it is alone.
pub(super) const HOLD_BYTES: usize = 1 << 20;

/// In the order in which they came, which is that of their deadlines.
#[derive(Debug, Default)]
pub(super) struct Held {
    frames: VecDeque<(Instant, Box<[u8]>)>,
    bytes: usize,
}

impl Held {
    /// Keeps a message until `deadline`; false if too much is kept already.
    pub(super) fn push(&mut self, frame: &[u8], deadline: Instant) -> bool {
        if self.bytes + frame.len() > HOLD_BYTES && !self.frames.is_empty() {
            return false;
        }
        self.bytes += frame.len();
        self.frames.push_back((deadline, frame.into()));
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

    /// All of them.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Box<[u8]>> + use<> {
        std::mem::take(self).frames.into_iter().map(|(_, frame)| frame)
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
        self.frames.front().map(|(deadline, _)| *deadline)
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
