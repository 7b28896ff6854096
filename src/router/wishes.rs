//! What a peer wants of servers for as long as its connection lives: the resources to which it has subscribed, and its log
//! level.
//!
//! A process knows nothing of what its predecessor was told, so each life of a server is told anew; and the wishes of one
//! connection end before the next one. At a server the wishes of all its peers come together: a subscription ends with the
//! last peer that has it, and of all levels the one counts that lets most through.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::ServerIndex;
use crate::mcp::envelope::Envelope;
use crate::mcp::object;

/// Most subscriptions of one connection at one server, and longest URI of one in bytes, that are kept for the server's next life.
const MAX_SUBSCRIPTIONS: usize = 1000;
const MAX_URI: usize = 2048;

/// Longest parameters of `logging/setLevel` that are kept for the server's next life, in bytes.
const MAX_LEVEL: usize = 1024;

/// The log levels of MCP (server/utilities/logging), the one that lets most through first.
const LEVELS: [&str; 8] = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    /// At each server, the peer's URI of each subscription by the server's.
    subscriptions: BTreeMap<ServerIndex, HashMap<Box<str>, Box<str>>>,
    /// The parameters of the last `logging/setLevel`.
    level: Option<Box<[u8]>>,
}

/// Subscriptions that a server could not be told yet to end, by its own URIs.
#[derive(Debug, Default)]
pub(super) struct Leftover(pub(super) HashSet<Box<str>>);

impl Wishes {
    /// The peer subscribes to a resource of a server: `own` is the server's URI, `uri` the peer's.
    pub(super) fn subscribe(&mut self, server: ServerIndex, leftover: &mut Leftover, own: &str, uri: &str) {
        let at = self.subscriptions.entry(server).or_default();
        if at.len() < MAX_SUBSCRIPTIONS && own.len() <= MAX_URI && uri.len() <= MAX_URI {
            at.insert(own.into(), uri.into());
            leftover.0.remove(own);
        }
    }

    /// The peer ends a subscription.
    pub(super) fn unsubscribe(&mut self, server: ServerIndex, own: &str) {
        if let Some(at) = self.subscriptions.get_mut(&server) {
            at.remove(own);
        }
    }

    /// The peer's URI of a subscription.
    pub(super) fn called(&self, server: ServerIndex, own: &str) -> Option<&str> {
        self.subscriptions.get(&server)?.get(own).map(|uri| &**uri)
    }

    /// Whether the peer follows a resource of a server, or one that contains it: an update may be of a part (MCP,
    /// server/resources).
    pub(super) fn follows_part(&self, server: ServerIndex, own: &str) -> bool {
        let at = self.subscriptions.get(&server);
        at.is_some_and(|at| at.contains_key(own) || at.keys().any(|followed| own.starts_with(&**followed)))
    }

    /// The servers at which the peer follows what it calls `uri`, each with its own URI.
    pub(super) fn own(&self, uri: &str) -> Vec<(ServerIndex, Box<str>)> {
        let all =
            self.subscriptions.iter().flat_map(|(server, at)| at.iter().map(|(own, called)| (*server, own, called)));
        all.filter(|(.., called)| ***called == *uri).map(|(server, own, _)| (server, own.clone())).collect()
    }

    /// The peer wants log messages of a level, by these parameters. Returns whether they can be kept.
    pub(super) fn set_level(&mut self, params: &[u8]) -> bool {
        let fits = params.len() <= MAX_LEVEL;
        if fits {
            self.level = Some(params.into());
        }
        fits
    }

    /// Whether a log message of a server is of a level that the peer wants.
    pub(super) fn takes(&self, frame: &[u8], e: &Envelope) -> bool {
        let Some(wanted) = &self.level else { return true };
        e.params.clone().is_none_or(|params| rank(wanted) <= rank(&frame[params]))
    }

    /// The server's URIs of all subscriptions there.
    pub(super) fn at(&self, server: ServerIndex) -> impl Iterator<Item = &str> {
        self.subscriptions.get(&server).into_iter().flat_map(HashMap::keys).map(|own| &**own)
    }

    /// The parameters of the last `logging/setLevel`.
    pub(super) fn level(&self) -> Option<&[u8]> {
        self.level.as_deref()
    }

    /// Ends all subscriptions at a server, and returns them by its own URIs.
    pub(super) fn take_all_at(&mut self, server: ServerIndex) -> impl Iterator<Item = Box<str>> + use<> {
        self.subscriptions.remove(&server).unwrap_or_default().into_keys()
    }

    /// The connection is gone, and the level that was wanted on it.
    pub(super) fn link_down(&mut self) {
        self.level = None;
    }
}

impl Leftover {
    /// The server's process is gone, and with it what earlier connections had subscribed to.
    pub(super) fn server_down(&mut self) {
        self.0.clear();
    }
}

/// Where a level is in the order of levels, by the parameters that name it. One that is not known lets everything through.
pub(super) fn rank(params: &[u8]) -> usize {
    let level =
        str::from_utf8(params).ok().and_then(|params| object::find(params, &["level"])).and_then(object::text_of);
    level.and_then(|level| LEVELS.iter().position(|known| *known == level)).unwrap_or(0)
}
