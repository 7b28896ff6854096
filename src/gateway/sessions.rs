//! The sessions that there are: by their ids, and none that nobody uses any more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::Rng as _;
use tokio::time::Instant;

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
    each: Mutex<HashMap<Box<str>, Entry>>,
}

#[derive(Debug)]
struct Entry {
    scope: Scope,
    version: Box<str>,
    session: Arc<Session>,
}

/// A session, as a request finds it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) session: Arc<Session>,
    /// The version of MCP that was agreed on.
    pub(super) version: Box<str>,
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

    /// Adds a session. Returns its id.
    pub(super) fn add(&self, scope: Scope, version: &str, session: Arc<Session>) -> Box<str> {
        let id = random_id();
        self.each().insert(id.clone(), Entry { scope, version: version.into(), session });
        id
    }

    /// Adds a session that ends with what is returned.
    pub(super) fn lease(self: &Arc<Self>, scope: Scope, version: &str, session: Arc<Session>) -> Lease {
        let id = self.add(scope.clone(), version, session);
        Lease { sessions: self.clone(), id, scope }
    }

    /// The session of this id, for whoever may use it.
    pub(super) fn find(&self, id: &str, scope: &Scope) -> Option<Found> {
        let mut each = self.each();
        let entry = each.get(id).filter(|entry| entry.scope == *scope)?;
        if entry.session.is_over() {
            each.remove(id);
            return None;
        }
        Some(Found { session: entry.session.clone(), version: entry.version.clone() })
    }

    /// Ends a session. Returns whether there was one.
    pub(super) fn end(&self, id: &str, scope: &Scope) -> bool {
        let mut each = self.each();
        let is_there = each.get(id).is_some_and(|entry| entry.scope == *scope);
        let ended = if is_there { each.remove(id) } else { None };
        drop(each);
        ended.inspect(|entry| entry.session.end()).is_some()
    }

    /// Ends those of an address and a key.
    pub(super) fn end_of(&self, scope: &Scope) {
        self.each().retain(|_, entry| {
            let stays = !scope.covers(&entry.scope);
            if !stays {
                entry.session.end();
            }
            stays
        });
    }

    /// Ends those that nobody has used for so long, and forgets what is kept of the others for nobody.
    pub(super) fn sweep(&self, idle: Duration, now: Instant) {
        self.each().retain(|_, entry| {
            let mut board = entry.session.board();
            board.tidy(now);
            let is_used = board.read() > 0 || now < entry.session.heard() + idle;
            drop(board);
            let stays = is_used && !entry.session.is_over();
            if !stays {
                entry.session.end();
            }
            stays
        });
    }

    /// Ends all.
    pub(super) fn end_all(&self) {
        self.each().drain().for_each(|(_, entry)| entry.session.end());
    }

    fn each(&self) -> MutexGuard<'_, HashMap<Box<str>, Entry>> {
        // Nothing panics while it is held.
        self.each.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
