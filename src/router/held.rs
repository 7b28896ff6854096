//! Messages that wait for a server to come up.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::outcome::Outcome;
use super::request::Request;
use super::{About, Out, PeerId};
use crate::mcp::cloud::HOLD;
use crate::mcp::envelope::{self, Kind};

/// Most bytes of one peer that may wait for a server. A larger message may still wait if it is the peer's only one.
pub(super) const HOLD_BYTES: usize = 1 << 20;

/// Most bytes of all peers that may wait for a server: so much that no peer takes up all room.
const HOLD_BYTES_OF_ALL: usize = 8 * HOLD_BYTES;

/// Bytes that a waiting message costs besides its own: the smallest messages are a fraction of that.
const EACH: usize = 96;

/// A message that waits.
#[derive(Debug)]
pub(super) struct HeldMessage {
    pub(super) peer: PeerId,
    /// When the message came.
    pub(super) since: Instant,
    /// Until when it may wait.
    until: Instant,
    pub(super) frame: Box<[u8]>,
}

impl HeldMessage {
    fn cost(&self) -> usize {
        self.frame.len() + EACH
    }

    /// Notes that the message was passed to no server, if it is a call.
    pub(super) fn note_unserved(&self, about: About, outcome: Outcome, out: &mut dyn Out) {
        let HeldMessage { peer, since, frame, .. } = self;
        let Some(envelope) = envelope::scan_one(frame).filter(|e| e.kind(frame) == Kind::Request) else { return };
        let part = |range| frame.get(range).unwrap_or_default();
        let id = envelope.id.clone().map_or(&b""[..], part);
        let method = envelope.method.clone().map_or(&b""[..], part);
        let request = Request { peer: *peer, frame, envelope: &envelope, id, method, now: *since };
        request.note_unserved(about, outcome, out);
    }
}

/// Messages that wait, in the order in which they are to be delivered.
#[derive(Debug, Default)]
pub(super) struct Held {
    messages: VecDeque<HeldMessage>,
    /// What waits of each peer, of those that have anything here.
    shares: BTreeMap<PeerId, Share>,
    /// How many messages may wait until when: asked with each message, when there may be thousands.
    dues: BTreeMap<Instant, usize>,
}

/// What waits of a peer.
#[derive(Debug, Default, Clone, Copy)]
struct Share {
    messages: usize,
    cost: usize,
}

impl Held {
    /// Keeps a peer's message that came at `since` for [`HOLD`]; false if too much is kept already.
    pub(super) fn push(&mut self, peer: PeerId, frame: &[u8], since: Instant) -> bool {
        self.push_until(peer, frame, since, since + HOLD)
    }

    /// Keeps a peer's message that came at `since` until `until`; false if too much is kept already.
    pub(super) fn push_until(&mut self, peer: PeerId, frame: &[u8], since: Instant, until: Instant) -> bool {
        let (cost, own) = (frame.len() + EACH, self.share_of(peer));
        let all: usize = self.shares.values().map(|share| share.cost).sum();
        if own.messages > 0 && own.cost + cost > HOLD_BYTES || all > 0 && all + cost > HOLD_BYTES_OF_ALL {
            return false;
        }
        self.shares.insert(peer, Share { messages: own.messages + 1, cost: own.cost + cost });
        *self.dues.entry(until).or_default() += 1;
        self.messages.push_back(HeldMessage { peer, since, until, frame: frame.into() });
        true
    }

    /// How many messages wait.
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// How many messages of a peer wait.
    pub(super) fn len_of(&self, peer: PeerId) -> usize {
        self.share_of(peer).messages
    }

    fn share_of(&self, peer: PeerId) -> Share {
        self.shares.get(&peer).copied().unwrap_or_default()
    }

    /// Whether messages of a peer wait.
    pub(super) fn has(&self, peer: PeerId) -> bool {
        self.shares.contains_key(&peer)
    }

    /// How much waits, in bytes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.shares.values().map(|share| share.cost).sum()
    }

    /// Takes all messages.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = HeldMessage> + use<> {
        std::mem::take(self).messages.into_iter()
    }

    /// Takes all messages of the peers for which `is_meant` says so.
    pub(super) fn take_all_of(&mut self, is_meant: impl Fn(PeerId) -> bool) -> Vec<HeldMessage> {
        if self.messages.is_empty() {
            return Vec::new();
        }
        let (taken, left): (Vec<_>, Vec<_>) = self.messages.drain(..).partition(|held| is_meant(held.peer));
        self.messages = left.into();
        taken.iter().for_each(|held| self.forget(held));
        taken
    }

    /// The peers with a message that has waited for too long.
    pub(super) fn late(&self, now: Instant) -> impl Iterator<Item = PeerId> + use<'_> {
        self.messages.iter().filter(move |held| held.until <= now).map(|held| held.peer)
    }

    /// Takes all messages of a peer that is gone.
    pub(super) fn drop_all_of(&mut self, peer: PeerId) -> Vec<HeldMessage> {
        if self.has(peer) { self.take_all_of(|of| of == peer) } else { Vec::new() }
    }

    /// Takes the messages of these methods.
    pub(super) fn take_those(&mut self, wanted: impl Fn(&[u8]) -> bool) -> Vec<HeldMessage> {
        let method_of = |frame: &[u8]| envelope::scan_one(frame).and_then(|e| e.method);
        let is_wanted = |held: &HeldMessage| method_of(&held.frame).is_some_and(|method| wanted(&held.frame[method]));
        let mut taken = Vec::new();
        while let Some(held) = self.messages.iter().position(is_wanted).and_then(|at| self.remove(at)) {
            taken.push(held);
        }
        taken
    }

    /// Takes a message that has waited for too long, and says for how long that was.
    pub(super) fn expired(&mut self, now: Instant) -> Option<(Duration, HeldMessage)> {
        let at = self.messages.iter().position(|held| held.until <= now)?;
        let held = self.remove(at)?;
        Some((held.until - held.since, held))
    }

    fn remove(&mut self, at: usize) -> Option<HeldMessage> {
        let held = self.messages.remove(at)?;
        self.forget(&held);
        Some(held)
    }

    /// Counts a message no more.
    fn forget(&mut self, held: &HeldMessage) {
        let share = self.share_of(held.peer);
        match share.messages {
            0 | 1 => self.shares.remove(&held.peer),
            more => self.shares.insert(held.peer, Share { messages: more - 1, cost: share.cost - held.cost() }),
        };
        match self.dues.get_mut(&held.until) {
            Some(more) if *more > 1 => *more -= 1,
            Some(_) | None => _ = self.dues.remove(&held.until),
        }
    }

    /// When the next message has waited for too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.dues.keys().next().copied()
    }

    /// Whether a request of a peer waits that has one of these methods.
    pub(super) fn has_one_of(&self, peer: PeerId, methods: &[&[u8]]) -> bool {
        let method_of = |frame: &[u8]| envelope::scan_one(frame).and_then(|e| e.method);
        let own = self.messages.iter().filter(|held| held.peer == peer).map(|held| &held.frame);
        own.into_iter().any(|frame| method_of(frame).is_some_and(|method| methods.contains(&&frame[method])))
    }

    /// Drops the request of a peer with this id (the raw token), as MCP gives a cancelled request no answer. Returns whether
    /// it waited here.
    pub(super) fn cancel(&mut self, peer: PeerId, id: &[u8]) -> Option<HeldMessage> {
        let id_of = |frame: &[u8]| envelope::scan_one(frame).and_then(|e| e.id);
        let is_it = |held: &HeldMessage| held.peer == peer && id_of(&held.frame).is_some_and(|r| &held.frame[r] == id);
        let at = self.messages.iter().position(is_it)?;
        self.remove(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers() -> (PeerId, PeerId) {
        let mut keys = slotmap::SlotMap::with_key();
        (keys.insert(()), keys.insert(()))
    }

    #[test]
    fn a_cancelled_request_leaves_the_room_that_it_had() {
        let (mut held, now, peer) = (Held::default(), Instant::now(), peers().0);
        let request = |id: u8, size: usize| format!("{{\"id\":{id},\"method\":\"{}\"}}", "m".repeat(size));
        for _ in 0..20 {
            assert!(held.push(peer, request(1, 1).as_bytes(), now));
            assert!(held.push(peer, request(2, HOLD_BYTES - 400).as_bytes(), now), "there is room for both");
            assert!(!held.push(peer, request(3, 400).as_bytes(), now), "and for no more");
            assert!(
                held.cancel(peer, b"2").is_some()
                    && held.cancel(peer, b"1").is_some()
                    && held.cancel(peer, b"1").is_none()
            );
        }
        assert_eq!((held.len(), held.bytes(), held.deadline()), (0, 0, None));
    }

    #[test]
    fn it_is_known_when_the_next_one_has_waited_for_too_long_whatever_went_before() {
        let (mut held, now, (one, other)) = (Held::default(), Instant::now(), peers());
        let after = |seconds| now + Duration::from_secs(seconds);
        for (peer, id, seconds) in [(one, 1, 9), (one, 2, 5), (other, 1, 5), (one, 3, 7)] {
            assert!(held.push_until(peer, format!(r#"{{"id":{id},"method":"m"}}"#).as_bytes(), now, after(seconds)));
        }
        assert!(held.cancel(one, b"2").is_some());
        assert_eq!((held.deadline(), held.len_of(one)), (Some(after(5)), 2), "the other's is as old");
        held.drop_all_of(other);
        assert_eq!(held.deadline(), Some(after(7)));
        assert!(held.expired(after(6)).is_none() && held.expired(after(7)).is_some());
        assert_eq!((held.deadline(), held.len_of(one)), (Some(after(9)), 1));
        assert_eq!((held.take_all().count(), held.deadline(), held.len_of(one)), (1, None, 0));
    }

    #[test]
    fn messages_of_some_methods_are_taken_and_the_others_wait_on() {
        let (mut held, now, peer) = (Held::default(), Instant::now(), peers().0);
        for method in ["a", "b", "a", "c"] {
            held.push(peer, format!(r#"{{"id":1,"method":"{method}"}}"#).as_bytes(), now);
        }
        assert_eq!(held.take_those(|method| method == b"a").len(), 2);
        assert!(held.has_one_of(peer, &[b"b"]) && held.has_one_of(peer, &[b"c"]) && !held.has_one_of(peer, &[b"a"]));
        assert_eq!((held.len(), held.take_those(|_| true).len(), held.bytes()), (2, 2, 0));
    }

    #[test]
    fn it_is_known_which_methods_wait() {
        let (mut held, peer) = (Held::default(), peers().0);
        held.push(peer, br#"{"id":1,"method":"a/b"}"#, Instant::now());
        assert!(held.has_one_of(peer, &[b"x", b"a/b"]) && !held.has_one_of(peer, &[b"x", b"a"]));
    }

    #[test]
    fn a_peer_takes_no_room_of_another_and_touches_nothing_of_it() {
        let (mut held, now, (one, other)) = (Held::default(), Instant::now(), peers());
        let request = br#"{"id":1,"method":"a/b"}"#;
        assert!(held.push(one, &vec![b'x'; HOLD_BYTES], now) && !held.push(one, request, now));
        assert!(held.push(other, request, now) && !held.has_one_of(one, &[b"a/b"]) && held.cancel(one, b"1").is_none());
        held.drop_all_of(one);
        assert_eq!((held.len(), held.len_of(other), held.has(one)), (1, 1, false));
        assert!(held.cancel(other, b"1").is_some() && held.bytes() == 0);
    }

    #[test]
    fn all_peers_together_are_bounded() {
        let (mut held, now, mut keys) = (Held::default(), Instant::now(), slotmap::SlotMap::with_key());
        for _ in 0..1000 {
            held.push(keys.insert(()), &vec![b'x'; HOLD_BYTES / 2], now);
        }
        assert!(held.bytes() <= HOLD_BYTES_OF_ALL && held.len() > 10);
    }
}
