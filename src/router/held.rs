//! Messages that wait for a server to come up.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::mcp::cloud::HOLD;
use crate::mcp::envelope;

/// Most bytes that may wait for a server. A larger message may still wait if it is alone.
pub(super) const HOLD_BYTES: usize = 1 << 20;

/// Bytes that a waiting message costs besides its own: the smallest messages are a fraction of that.
const EACH: usize = 96;

/// Messages that wait, in the order in which they are to be delivered: each with when it came, and until when it may wait.
#[derive(Debug, Default)]
pub(super) struct Held {
    frames: VecDeque<(Instant, Instant, Box<[u8]>)>,
    /// Bytes of all messages, with [`EACH`] added for each.
    bytes: usize,
}

impl Held {
    /// Keeps a message that came at `since` for [`HOLD`]; false if too much is kept already.
    pub(super) fn push(&mut self, frame: &[u8], since: Instant) -> bool {
        self.push_until(frame, since, since + HOLD)
    }

    /// Keeps a message that came at `since` until `until`; false if too much is kept already.
    pub(super) fn push_until(&mut self, frame: &[u8], since: Instant, until: Instant) -> bool {
        let cost = frame.len() + EACH;
        if self.bytes + cost > HOLD_BYTES && !self.frames.is_empty() {
            return false;
        }
        self.bytes += cost;
        self.frames.push_back((since, until, frame.into()));
        true
    }

    /// How many messages wait.
    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    /// How much waits, in bytes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes all messages, each with when it came.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = (Instant, Box<[u8]>)> + use<> {
        std::mem::take(self).frames.into_iter().map(|(since, _, frame)| (since, frame))
    }

    /// Takes a message that has waited for too long, and says for how long that was.
    pub(super) fn expired(&mut self, now: Instant) -> Option<(Duration, Box<[u8]>)> {
        let at = self.frames.iter().position(|(_, until, _)| *until <= now)?;
        let (since, until, frame) = self.frames.remove(at)?;
        self.bytes -= frame.len() + EACH;
        Some((until - since, frame))
    }

    /// When the next message has waited for too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.frames.iter().map(|(_, until, _)| *until).min()
    }

    /// Whether a request of one of these methods waits.
    pub(super) fn has_one_of(&self, methods: &[&[u8]]) -> bool {
        let method_of = |frame: &[u8]| envelope::scan_one(frame).and_then(|e| e.method);
        self.frames.iter().any(|(.., frame)| method_of(frame).is_some_and(|method| methods.contains(&&frame[method])))
    }

    /// Drops the request with this id (the raw token), as MCP gives a cancelled request no answer. Returns whether it waited
    /// here.
    pub(super) fn cancel(&mut self, id: &[u8]) -> bool {
        let is_it = |frame: &[u8]| envelope::scan_one(frame).and_then(|e| e.id).is_some_and(|r| &frame[r] == id);
        let Some(at) = self.frames.iter().position(|(.., frame)| is_it(frame)) else { return false };
        if let Some((.., frame)) = self.frames.remove(at) {
            self.bytes -= frame.len() + EACH;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancelled_request_leaves_the_room_that_it_had() {
        let (mut held, now) = (Held::default(), Instant::now());
        let request = |id: u8, size: usize| format!("{{\"id\":{id},\"method\":\"{}\"}}", "m".repeat(size));
        for _ in 0..20 {
            assert!(held.push(request(1, 1).as_bytes(), now));
            assert!(held.push(request(2, HOLD_BYTES - 400).as_bytes(), now), "there is room for both");
            assert!(!held.push(request(3, 400).as_bytes(), now), "and for no more");
            assert!(held.cancel(b"2") && held.cancel(b"1") && !held.cancel(b"1"));
        }
        assert_eq!((held.len(), held.bytes), (0, 0));
    }

    #[test]
    fn it_is_known_which_methods_wait() {
        let mut held = Held::default();
        held.push(br#"{"id":1,"method":"a/b"}"#, Instant::now());
        assert!(held.has_one_of(&[b"x", b"a/b"]) && !held.has_one_of(&[b"x", b"a"]));
    }
}
