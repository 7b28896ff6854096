//! The sessions that there are: by the hashes of their ids, none that nobody uses any more, and none for longer than a day.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::Rng as _;
use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::ended::{Hash, hash_of};
use super::kept::{Kept, now as wall_clock};
use super::session::Session;

/// What an id is good for: an address, and whoever may use it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Scope {
    /// The server whose address it is; `None`: that of all.
    pub(super) server: Option<Arc<str>>,
    /// Who has let the client in: the name of a key; or of an issuer, with whom its token speaks for behind it ([`owner`]).
    pub(super) key: Option<Arc<str>>,
}

/// What stands between an issuer's name, which can't hold it, and whom the token of a client speaks for.
const OF_ISSUER: char = '\n';

/// Whoever has a token of this issuer that speaks for them; with no subject all that have one.
pub(super) fn owner(issuer: &str, subject: &str) -> Arc<str> {
    format!("{issuer}{OF_ISSUER}{subject}").into()
}

impl Scope {
    /// What an id is sealed for. `proof`: by what its client is let in, so that another key of the same name opens nothing.
    pub(super) fn bound(&self, proof: &impl Serialize) -> Vec<u8> {
        let Scope { server, key: name } = self;
        // A list of texts and numbers always becomes JSON.
        serde_json::to_vec(&(server.as_deref(), name.as_deref(), proof)).unwrap_or_default()
    }

    /// Who has let the client in, for a person; of a token also for whom it speaks.
    pub(super) fn holder(&self) -> Option<String> {
        self.key.as_ref().map(|key| key.replace(OF_ISSUER, "/"))
    }

    /// Whether another one is this, or that of one of all for whom this is.
    pub(super) fn covers(&self, other: &Scope) -> bool {
        let is_owner = match (&self.key, &other.key) {
            (Some(all), Some(one)) if all.ends_with(OF_ISSUER) => one.starts_with(&**all),
            (one, other) => one == other,
        };
        self.server == other.server && is_owner
    }
}

/// A text that nobody finds by trying.
pub(super) fn random_id() -> Box<str> {
    let mut random = [0; 24];
    rand::rng().fill_bytes(&mut random);
    URL_SAFE_NO_PAD.encode(random).into()
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    /// By the hashes of their ids: these are long, and let in.
    each: Mutex<HashMap<Hash, Entry>>,
    survival: Survival,
}

/// What sessions survive, and what they don't.
#[derive(Debug, Clone, Default)]
pub(crate) struct Survival {
    /// Where it is noted that one has ended.
    pub(crate) kept: Kept,
    /// Cancelled when mcp-pipe stops: what ends from then on is begun anew when it runs again.
    pub(crate) stopping: CancellationToken,
}

/// A session with what it is good for.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) scope: Scope,
    /// The version of MCP that was agreed on.
    pub(super) version: Box<str>,
    pub(super) session: Arc<Session>,
    /// When it began, in seconds since 1970: maybe in a process before this one.
    pub(super) since: u64,
    /// When it ends at the latest, if it does not end with a stream.
    pub(super) end: Option<Deadline>,
}

/// A moment, by both clocks: one goes on while the machine sleeps, and the other is not set by anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Deadline {
    pub(super) at: Instant,
    /// In seconds since 1970.
    pub(super) wall: u64,
}

impl Deadline {
    /// The moment that the wall clock will show.
    pub(super) fn of(wall: u64, now: Instant) -> Self {
        Deadline { at: now + Duration::from_secs(wall.saturating_sub(wall_clock())), wall }
    }

    fn is_over(self, now: Instant) -> bool {
        self.at <= now || self.wall <= wall_clock()
    }
}

impl Entry {
    fn is_over(&self, now: Instant) -> bool {
        self.session.is_over() || self.end.is_some_and(|end| end.is_over(now))
    }
}

/// A session that ends with this.
#[derive(Debug)]
pub(super) struct Lease {
    sessions: Arc<Sessions>,
    id: Box<str>,
    scope: Scope,
}

impl Lease {
    /// The session's id.
    pub(super) fn id(&self) -> &str {
        &self.id
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.sessions.end(&self.id, &self.scope);
    }
}

impl Sessions {
    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.each().len()
    }

    /// Sessions that are remembered beyond this process as far as this has it.
    pub(super) fn surviving(survival: Survival) -> Self {
        Sessions { survival, ..Sessions::default() }
    }

    /// Adds a session.
    pub(super) fn add(&self, id: &str, entry: Entry) {
        self.each().insert(hash_of(id), entry);
    }

    /// Adds a session that ends with what is returned.
    pub(super) fn lease(self: &Arc<Self>, scope: Scope, version: &str, session: Arc<Session>) -> Lease {
        let (id, since) = (random_id(), wall_clock());
        self.add(&id, Entry { scope: scope.clone(), version: version.into(), session, since, end: None });
        Lease { sessions: self.clone(), id, scope }
    }

    /// The session of this id, for whoever may use it.
    pub(super) fn find(&self, id: &str, scope: &Scope, now: Instant) -> Option<Entry> {
        let (hash, mut each) = (hash_of(id), self.each());
        let entry = each.get(&hash).filter(|entry| entry.scope == *scope)?;
        if !entry.is_over(now) {
            return Some(entry.clone());
        }
        if let Some(entry) = each.remove(&hash) {
            self.close(&hash, &entry);
        }
        None
    }

    /// Ends a session. Returns whether there was one.
    pub(super) fn end(&self, id: &str, scope: &Scope) -> bool {
        let (hash, mut each) = (hash_of(id), self.each());
        let is_there = each.get(&hash).is_some_and(|entry| entry.scope == *scope);
        let ended = if is_there { each.remove(&hash) } else { None };
        drop(each);
        ended.inspect(|entry| self.close(&hash, entry)).is_some()
    }

    /// Ends those of an address and a key.
    pub(super) fn end_of(&self, scope: &Scope) {
        self.keep(|_, entry| !scope.covers(&entry.scope));
    }

    /// Ends those that nobody has used for so long, and forgets what is kept of the others for nobody.
    pub(super) fn sweep(&self, idle: Duration, now: Instant) {
        // One that nobody uses here may be used at another replica, and come back.
        let may_come_back = self.survival.kept.is_shared();
        self.each().retain(|hash, entry| {
            let mut board = entry.session.board();
            board.tidy(now);
            let is_used = board.read() > 0 || now < entry.session.heard() + idle;
            drop(board);
            let is_over = entry.is_over(now);
            if is_over || (!is_used && !may_come_back) {
                self.close(hash, entry);
            } else if !is_used {
                entry.session.end();
            }
            is_used && !is_over
        });
    }

    /// Ends those of which this is false. Returns how many.
    pub(super) fn keep(&self, stays: impl Fn(&Hash, &Entry) -> bool) -> usize {
        let mut ended = 0;
        self.each().retain(|hash, entry| {
            let stays = stays(hash, entry);
            if !stays {
                self.close(hash, entry);
                ended += 1;
            }
            stays
        });
        ended
    }

    /// What there is of each.
    pub(super) fn look<T>(&self, mut at: impl FnMut(&Hash, &Entry) -> T) -> Vec<T> {
        self.each().iter().map(|(hash, entry)| at(hash, entry)).collect()
    }

    /// Ends a session that is to be found no more, also after a restart.
    fn close(&self, hash: &Hash, entry: &Entry) {
        // Who stops the program does not mean to end its sessions.
        let is_only_cut_off = entry.session.is_over() && self.survival.stopping.is_cancelled();
        if let Some(end) = entry.end.filter(|_| !is_only_cut_off) {
            self.survival.kept.end(*hash, end.wall);
        }
        entry.session.end();
    }

    /// Ends all, but for their ids: the gateway may be there again, as after a restart.
    pub(super) fn end_all(&self) {
        self.each().drain().for_each(|(_, entry)| entry.session.end());
    }

    fn each(&self) -> MutexGuard<'_, HashMap<Hash, Entry>> {
        // Nothing panics while it is held.
        self.each.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
