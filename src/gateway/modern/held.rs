//! Conversations that wait for their clients: a server has asked something amid a call, and the client brings the answers with its
//! next request (MCP 2026-07-28, basic/patterns, input requests).

use std::collections::HashMap;
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

/// See the module's documentation. Whoever does not come back in time is waited for no more: the server's question gets an error, and
/// its call is cancelled, as with any client that is gone.
#[derive(Debug)]
pub(in crate::gateway) struct Held {
    /// By the states that clients were given: random, so that nobody finds one by trying.
    each: Mutex<HashMap<Box<str>, Entry>>,
    /// How many wait for those with one key at most.
    most: usize,
    longest: Duration,
}

#[derive(Debug)]
struct Entry {
    scope: Scope,
    leg: Leg,
    until: Instant,
}

impl Held {
    /// No conversation waits yet.
    pub(in crate::gateway) fn new(most: usize, longest: Duration) -> Self {
        Held { each: Mutex::default(), most, longest }
    }

    /// Keeps a conversation, which is found again by this state. Where as many wait as may, the oldest makes room: most that wait for
    /// long wait for nobody.
    pub(super) fn keep(&self, state: Box<str>, scope: &Scope, leg: Leg, now: Instant) {
        let mut each = self.each();
        each.retain(|_, entry| now < entry.until);
        let of_key = || each.iter().filter(|(_, entry)| entry.scope.key == scope.key);
        if of_key().count() >= self.most {
            let oldest = of_key().min_by_key(|(_, entry)| entry.until).map(|(state, _)| state.clone());
            oldest.and_then(|state| each.remove(&state));
        }
        each.insert(state, Entry { scope: scope.clone(), leg, until: now + self.longest });
    }

    /// Takes a conversation out, for whoever may go on with it. A state that fits nothing spends nothing.
    pub(super) fn take(&self, state: &str, scope: &Scope, print: &Print, now: Instant) -> Option<Leg> {
        let mut each = self.each();
        let entry = each.get(state)?;
        if entry.scope != *scope || now >= entry.until || !entry.leg.call.is_tried_by(print) {
            return None;
        }
        each.remove(state).map(|entry| entry.leg)
    }

    /// Ends those whose clients have not come back.
    pub(in crate::gateway) fn sweep(&self, now: Instant) {
        self.each().retain(|_, entry| now < entry.until);
    }

    /// Ends those of an address, for whoever used it.
    pub(in crate::gateway) fn end_of(&self, scope: &Scope) {
        self.each().retain(|_, entry| entry.scope != *scope);
    }

    /// Ends all.
    pub(in crate::gateway) fn end_all(&self) {
        self.each().clear();
    }

    fn each(&self) -> MutexGuard<'_, HashMap<Box<str>, Entry>> {
        // Nothing panics while it is held.
        self.each.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
