//! What of a merge is due when: one set, so that the next deadline costs the same with many servers as with one.

use std::collections::BTreeSet;

use tokio::time::Instant;

use crate::router::ServerIndex;

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// A call has lasted too long: its server, and its id there.
    Call(ServerIndex, u64),
    /// A server's handshake, its lists or messages that wait for it want attention.
    Server(ServerIndex),
}

/// See the module's documentation. A server has one deadline, the earliest that counted when it was armed.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    set: BTreeSet<(Instant, Due)>,
    /// The deadline that each server has in the set.
    members: Vec<Option<Instant>>,
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
            if let Due::Server(server) = due {
                self.members[server] = None;
            }
            expired.push(due);
        }
        expired
    }

    /// Sets a server's deadline.
    pub(super) fn arm(&mut self, server: ServerIndex, at: Option<Instant>) {
        if self.members.len() <= server {
            self.members.resize(server + 1, None);
        }
        let before = std::mem::replace(&mut self.members[server], at);
        if before != at {
            self.set.extend(at.map(|at| (at, Due::Server(server))));
            if let Some(before) = before {
                self.set.remove(&(before, Due::Server(server)));
            }
        }
    }

    /// The deadline that a server was armed for.
    pub(super) fn armed(&self, server: ServerIndex) -> Option<Instant> {
        self.members.get(server).copied().flatten()
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
            Due::Server(_) => true,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_due_comes_out_once_in_its_order_and_a_member_has_one_deadline() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut deadlines = Deadlines::default();
        deadlines.arm(1, Some(at(5)));
        deadlines.arm(1, Some(at(3)));
        deadlines.arm(0, Some(at(9)));
        deadlines.add_call(0, 7, at(4));
        deadlines.add_call(1, 8, at(4));
        assert_eq!((deadlines.first(), deadlines.armed(1)), (Some(at(3)), Some(at(3))));
        deadlines.remove_call(1, 8, at(4));
        assert_eq!(deadlines.expired(at(2)), []);
        assert_eq!(deadlines.expired(at(5)), [Due::Server(1), Due::Call(0, 7)]);
        assert_eq!((deadlines.expired(at(5)), deadlines.armed(1)), (vec![], None));
        deadlines.add_call(0, 9, at(6));
        deadlines.retain_calls(|_, _| false);
        deadlines.arm(0, None);
        assert_eq!(deadlines.first(), None);
    }
}
