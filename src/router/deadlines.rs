//! What of a router is due when: one set, so that the next deadline costs the same with many servers and peers as with one.

use std::collections::BTreeSet;

use slotmap::SecondaryMap;
use tokio::time::Instant;

use super::{PeerId, ServerIndex};

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// A call has lasted too long: its server, and its id there.
    Call(ServerIndex, u64),
    /// A server's handshake, its lists or messages that wait for it want attention.
    Server(ServerIndex),
    /// Something that a peer waits for, or that is to be told to the peer.
    Peer(PeerId),
}

/// See the module's documentation. A server or a peer has one deadline, the earliest that counted when it was armed.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    set: BTreeSet<(Instant, Due)>,
    /// The deadline that each server and each peer has in the set: looked at with each message.
    servers: Vec<Option<Instant>>,
    peers: SecondaryMap<PeerId, Option<Instant>>,
}

impl Deadlines {
    /// When the first one is due.
    pub(super) fn first(&self) -> Option<Instant> {
        self.set.first().map(|(at, _)| *at)
    }

    /// Takes out everything that is due.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<Due> {
        let mut expired = Vec::new();
        while self.first().is_some_and(|at| at <= now)
            && let Some((_, due)) = self.set.pop_first()
        {
            if let Some(armed) = self.slot(due) {
                *armed = None;
            }
            expired.push(due);
        }
        expired
    }

    /// Sets the deadline of a server or a peer.
    pub(super) fn arm(&mut self, due: Due, at: Option<Instant>) {
        let Some(armed) = self.slot(due) else { return };
        let before = std::mem::replace(armed, at);
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.set.remove(&(before, due));
        }
        self.set.extend(at.map(|at| (at, due)));
    }

    /// A peer is gone.
    pub(super) fn forget(&mut self, peer: PeerId) {
        self.arm(Due::Peer(peer), None);
        self.peers.remove(peer);
    }

    /// Where the deadline of a server or a peer is noted; calls have none.
    fn slot(&mut self, due: Due) -> Option<&mut Option<Instant>> {
        match due {
            Due::Server(server) => {
                if self.servers.len() <= server {
                    self.servers.resize(server + 1, None);
                }
                self.servers.get_mut(server)
            }
            Due::Peer(peer) => Some(self.peers.entry(peer)?.or_default()),
            Due::Call(..) => None,
        }
    }

    /// The deadline that a server or a peer was armed for.
    pub(super) fn armed(&self, due: Due) -> Option<Instant> {
        match due {
            Due::Server(server) => self.servers.get(server).copied().flatten(),
            Due::Peer(peer) => self.peers.get(peer).copied().flatten(),
            Due::Call(..) => None,
        }
    }

    /// A call may last until `until`.
    pub(super) fn add_call(&mut self, server: ServerIndex, id: u64, until: Instant) {
        self.set.insert((until, Due::Call(server, id)));
    }

    /// A call that might last until `until` is over.
    pub(super) fn remove_call(&mut self, server: ServerIndex, id: u64, until: Instant) {
        self.set.remove(&(until, Due::Call(server, id)));
    }

    /// Calls that are not `wanted` are over.
    pub(super) fn retain_calls(&mut self, wanted: impl Fn(ServerIndex, u64) -> bool) {
        self.set.retain(|(_, due)| match due {
            Due::Call(server, id) => wanted(*server, *id),
            Due::Server(_) | Due::Peer(_) => true,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_due_comes_out_once_in_its_order_and_a_server_has_one_deadline() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut deadlines = Deadlines::default();
        deadlines.arm(Due::Server(1), Some(at(5)));
        deadlines.arm(Due::Server(1), Some(at(3)));
        deadlines.arm(Due::Server(0), Some(at(9)));
        deadlines.add_call(0, 7, at(4));
        deadlines.add_call(1, 8, at(4));
        assert_eq!((deadlines.first(), deadlines.armed(Due::Server(1))), (Some(at(3)), Some(at(3))));
        deadlines.remove_call(1, 8, at(4));
        assert_eq!(deadlines.expired(at(2)), []);
        assert_eq!(deadlines.expired(at(5)), [Due::Server(1), Due::Call(0, 7)]);
        assert_eq!((deadlines.expired(at(5)), deadlines.armed(Due::Server(1))), (vec![], None));
        deadlines.add_call(0, 9, at(6));
        deadlines.retain_calls(|_, _| false);
        deadlines.arm(Due::Server(0), None);
        assert_eq!(deadlines.first(), None);
    }
}
