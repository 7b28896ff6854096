//! Conversations that wait for their clients: a server has asked something amid a call, and the client brings the answers with its
//! next request (MCP 2026-07-28, basic/patterns, input requests).

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::call::{Call, Print};
use super::talk::Talk;
use crate::gateway::sessions::Scope;

/// A conversation: its lines, and how far it is.
#[derive(Debug)]
pub(super) struct Leg {
    pub(super) talk: Talk,
    pub(super) call: Call,
}

/// Most conversations that wait, of all clients: those whose tokens speak for different people are as many as there are people.
const MOST: usize = 1000;

/// How many conversations wait, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) struct Limits {
    /// Most that wait for those with one key, for one person with a token, or for all who need neither: each keeps a call open at its server.
    pub(in crate::gateway) most: usize,
    /// Longest time for a client to come with the answers: a person may have to be asked.
    pub(in crate::gateway) longest: Duration,
}

/// See the module's documentation. Whoever does not come back in time is waited for no more: the server's question gets an error, and
/// its call is cancelled, as with any client that is gone.
#[derive(Debug)]
pub(in crate::gateway) struct Held(Mutex<Waiting>);

#[derive(Debug)]
struct Waiting {
    /// By the states that clients were given: random, so that nobody finds one by trying.
    each: HashMap<Box<str>, Entry>,
    limits: Limits,
}

#[derive(Debug)]
struct Entry {
    scope: Scope,
    leg: Leg,
    since: Instant,
}

impl Held {
    /// No conversation waits yet.
    pub(in crate::gateway) fn new(limits: Limits) -> Self {
        Held(Mutex::new(Waiting { each: HashMap::new(), limits }))
    }

    /// Has other limits count, also for what waits already.
    pub(in crate::gateway) fn limit(&self, limits: Limits, now: Instant) {
        let mut waiting = self.waiting();
        waiting.limits = limits;
        waiting.forget(now);
        let keys: HashSet<_> = waiting.each.values().map(|entry| entry.scope.key.clone()).collect();
        keys.iter().for_each(|key| waiting.make_room(|scope| scope.key == *key, limits.most));
    }

    /// Keeps a conversation, which is found again by this state. Where as many wait as may, the oldest makes room: most that wait for
    /// long wait for nobody.
    pub(super) fn keep(&self, state: Box<str>, scope: &Scope, leg: Leg, now: Instant) {
        let mut waiting = self.waiting();
        waiting.forget(now);
        let others = waiting.limits.most.saturating_sub(1);
        waiting.make_room(|other| other.key == scope.key, others);
        waiting.make_room(|_| true, MOST - 1);
        waiting.each.insert(state, Entry { scope: scope.clone(), leg, since: now });
    }

    /// Takes a conversation out, for whoever may go on with it. A state that fits nothing spends nothing.
    pub(super) fn take(&self, state: &str, scope: &Scope, print: &Print, now: Instant) -> Option<Leg> {
        let mut waiting = self.waiting();
        let entry = waiting.each.get(state)?;
        let is_late = now >= entry.since + waiting.limits.longest;
        if entry.scope != *scope || is_late || !entry.leg.call.is_tried_by(print) {
            return None;
        }
        waiting.each.remove(state).map(|entry| entry.leg)
    }

    /// Ends those whose clients have not come back.
    pub(in crate::gateway) fn sweep(&self, now: Instant) {
        self.waiting().forget(now);
    }

    /// Ends those of an address, for whoever used it.
    pub(in crate::gateway) fn end_of(&self, scope: &Scope) {
        self.waiting().each.retain(|_, entry| !scope.covers(&entry.scope));
    }

    /// Ends all.
    pub(in crate::gateway) fn end_all(&self) {
        self.waiting().each.clear();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Ends those that have waited for too long.
    fn forget(&mut self, now: Instant) {
        let longest = self.limits.longest;
        self.each.retain(|_, entry| now < entry.since + longest);
    }

    /// Ends the oldest of some, until no more than so many are left of these.
    fn make_room(&mut self, of: impl Fn(&Scope) -> bool, left: usize) {
        let some = self.each.iter().filter(|(_, entry)| of(&entry.scope));
        let mut states: Vec<_> = some.map(|(state, entry)| (entry.since, state.clone())).collect();
        states.sort_unstable();
        let too_many = states.len().saturating_sub(left);
        for (_, state) in states.into_iter().take(too_many) {
            self.each.remove(&state);
        }
    }
}
