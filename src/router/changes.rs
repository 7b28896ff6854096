//! What a peer has read on its connection, as fingerprints; which lists have changed since, and what is done about that.
//! Pure.
//!
//! # Theory of operation
//!
//! A change is told by `list_changed`. Each time shows whether the endpoint listens: one that does not read the list anew
//! within a few seconds gets a new connection at a moment when nothing is under way, because some endpoints read lists only on
//! a new connection. The pauses between such connections grow while the lists go on changing.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use tokio::time::Instant;

use super::{Out, PeerId};
use crate::mcp::lists::ListKind;

/// Longest time after the last change for an endpoint to read the lists anew before it gets a new connection. Several
/// servers that start together make one change.
pub(super) const DEBOUNCE: Duration = Duration::from_secs(5);

/// Longest time for the same after the first unread change: a list that never stays as it is must not keep all other
/// changes from the endpoint.
const RESTLESS: Duration = Duration::from_secs(60);

/// Shortest time between two connections that are made for changed lists. It doubles while lists go on changing: a server that
/// flaps must not make the connection flap.
const BETWEEN_RESYNCS: Duration = Duration::from_secs(60);
const LONGEST_BETWEEN_RESYNCS: Duration = Duration::from_secs(3600);

/// In the place of a list's fingerprint: the endpoint has got an error of ours instead. No list has this one.
const MISSED: u64 = u64::MAX;

/// Shortest silence of an endpoint before we close its connection, so that no request crosses our close frame.
const QUIET: Duration = Duration::from_millis(250);

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Changes {
    peer: PeerId,
    /// Whether an endpoint that does not listen gets a new connection.
    resync: bool,
    seen: Seen,
    /// When a connection was last made for changed lists, and how long the next such connection has to wait.
    resynced: Option<(Instant, Duration)>,
}

/// What the endpoint has read on this connection.
#[derive(Debug, Default)]
struct Seen {
    capabilities: Option<u64>,
    /// Whether the capabilities have changed since.
    other_capabilities: bool,
    lists: [Option<u64>; 4],
    /// The fingerprints of the changed lists that the endpoint was last told to read anew.
    told: [Option<u64>; 4],
    /// When the first and the last change that the endpoint has not read was noticed.
    changed: Option<(Instant, Instant)>,
    /// Whether the new connection is due, and only a quiet moment is waited for.
    overdue: bool,
    /// When the endpoint last said something. `None`: so long ago that the endpoint is quiet.
    heard_at: Option<Instant>,
}

impl Changes {
    /// For an endpoint that is not connected.
    pub(super) fn new(peer: PeerId, resync: bool) -> Self {
        Changes { peer, resync, seen: Seen::default(), resynced: None }
    }

    pub(super) fn link_down(&mut self, now: Instant) {
        if self.seen.changed.is_some() {
            let restless = self.resynced.filter(|(at, pause)| now < *at + *pause * 2);
            let pause = restless.map_or(BETWEEN_RESYNCS, |(_, pause)| LONGEST_BETWEEN_RESYNCS.min(pause * 2));
            self.resynced = Some((now, pause));
        }
        self.seen = Seen::default();
    }

    /// From now on no connection is made for changed lists.
    pub(super) fn drain(&mut self) {
        self.resync = false;
    }

    /// The endpoint said something.
    pub(super) fn heard(&mut self, now: Instant) {
        self.seen.heard_at = Some(now);
    }

    /// The endpoint has its answer to `initialize`, with these capabilities.
    pub(super) fn greeted(&mut self, capabilities: u64) {
        (self.seen.capabilities, self.seen.other_capabilities) = (Some(capabilities), false);
        self.settle();
    }

    /// The endpoint has read a list.
    pub(super) fn read(&mut self, kind: ListKind, print: u64) {
        self.seen.lists[kind as usize] = Some(print);
        self.seen.told[kind as usize] = None;
        self.settle();
    }

    /// The endpoint has asked for a list and got an error, because a person has stopped the server. It is to read the list as soon
    /// as there is one.
    pub(super) fn missed(&mut self, kind: ListKind) {
        self.seen.lists[kind as usize].get_or_insert(MISSED);
    }

    /// What the endpoint has read of a list is not known any more.
    pub(super) fn forget(&mut self, kind: ListKind) {
        (self.seen.lists[kind as usize], self.seen.told[kind as usize]) = (None, None);
        self.settle();
    }

    /// Calls off the new connection if the endpoint knows the present state.
    fn settle(&mut self) {
        if !self.seen.other_capabilities && self.seen.told.iter().all(Option::is_none) {
            (self.seen.changed, self.seen.overdue) = (None, false);
        }
    }

    /// Whether the endpoint has read a list.
    pub(super) fn has_read(&self, kind: ListKind) -> bool {
        self.seen.lists[kind as usize].is_some()
    }

    /// Whether something that the endpoint has read has changed since.
    pub(super) fn is_changed(&self) -> bool {
        self.seen.changed.is_some()
    }

    /// Compares what the endpoint has read with the present state, as far as that is known, and tells the endpoint which lists
    /// have changed.
    pub(super) fn compare(
        &mut self,
        capabilities: Option<u64>,
        list: impl Fn(ListKind) -> Option<u64>,
        now: Instant,
        out: &mut dyn Out,
    ) {
        let seen = &mut self.seen;
        if let Some(capabilities) = capabilities {
            seen.other_capabilities = seen.capabilities.is_some_and(|seen| seen != capabilities);
        }
        for kind in ListKind::ALL {
            let k = kind as usize;
            let Some(print) = list(kind) else { continue };
            if seen.lists[k].is_none_or(|seen| seen == print) {
                seen.told[k] = None;
                continue;
            }
            if seen.told[k].replace(print) != Some(print) {
                let first = seen.changed.map_or(now, |(first, _)| first);
                (seen.changed, seen.overdue) = (Some((first, now)), false);
                let list = if kind == ListKind::Templates { "resources" } else { kind.member() };
                let method = format!("notifications/{list}/list_changed");
                out.to_peer(self.peer, &[br#"{"jsonrpc":"2.0","method":""#, method.as_bytes(), br#""}"#]);
            }
        }
        if seen.other_capabilities && seen.changed.is_none() {
            seen.changed = Some((now, now));
        }
        self.settle();
    }

    /// When the endpoint is to get a new connection, unless it reads the changed lists before.
    fn due(&self) -> Option<Instant> {
        let (first, last) = self.seen.changed.filter(|_| self.resync)?;
        let pause = self.resynced.map(|(at, pause)| at + pause);
        Some(pause.unwrap_or(first).max((last + DEBOUNCE).min(first + RESTLESS)))
    }

    /// Whether the endpoint is to get a new connection now, provided that nothing is under way on the old one.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let is_silent = || self.seen.heard_at.is_none_or(|at| at + QUIET <= now);
        self.due().is_some_and(|due| due <= now) && is_silent()
    }

    /// To be called at [`Changes::next_tick`].
    pub(super) fn tick(&mut self, now: Instant) {
        self.seen.overdue |= self.due().is_some_and(|due| due <= now);
        self.seen.heard_at.take_if(|at| *at + QUIET <= now);
    }

    /// When something is due next.
    pub(super) fn next_tick(&self) -> Option<Instant> {
        let quiet = || self.seen.heard_at.map(|at| at + QUIET);
        if self.seen.overdue { quiet() } else { self.due() }
    }
}

/// A fingerprint, good for as long as the process lives.
pub(super) fn print(of: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Memory;
    use crate::router::{Note, ServerIndex};

    /// Nothing is told where only capabilities change.
    struct Nobody;

    impl Out for Nobody {
        fn to_peer(&mut self, _: PeerId, pieces: &[&[u8]]) {
            panic!("{}", String::from_utf8_lossy(&pieces.concat()));
        }
        fn to_server(&mut self, _: ServerIndex, _: &[&[u8]]) {}
        fn remember(&mut self, _: ServerIndex, _: &Memory) {}
        fn remember_hello(&mut self, _: PeerId, _: &str) {}
        fn restart(&mut self, _: ServerIndex, _: &'static str) {}
        fn note(&mut self, _: Note<'_>) {}
    }

    #[test]
    fn capabilities_that_stay_other_ones_put_the_new_connection_off_no_further() {
        let (mut changes, t) = (Changes::new(PeerId::default(), true), Instant::now());
        changes.greeted(1);
        for seconds in [0, 2, 4] {
            changes.compare(Some(2), |_| None, t + Duration::from_secs(seconds), &mut Nobody);
            assert_eq!(changes.next_tick(), Some(t + DEBOUNCE));
        }
        changes.compare(Some(1), |_| None, t + DEBOUNCE, &mut Nobody);
        assert!(!changes.is_changed(), "they are as the endpoint knows them");
    }
}
