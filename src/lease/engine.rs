//! What an engine of leases can do, whichever it is.
//!
//! An engine keeps small entries for all daemons, each of which is bound to a lease of the daemon that made it: it goes with the lease,
//! which ends when it is not renewed for a while, or when it is given back.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::endpoint::agent::LeaseKey;

/// The lease of one daemon, as the engine calls it: another one for each life of a daemon, and whenever one was lost.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct LeaseId(pub(super) i64);

/// Since which change of all that the engine has an agent is held: a later holder has a higher one, whatever happens. Never 0.
pub(crate) type Epoch = u64;

/// Who has an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) lease: LeaseId,
    pub(super) node: Arc<str>,
    pub(super) since: Epoch,
}

/// All that the engine has of daemons with one prefix.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct View {
    /// The daemons that may take agents.
    pub(super) nodes: BTreeMap<LeaseId, Arc<str>>,
    /// The agents that somebody has.
    pub(super) agents: BTreeMap<LeaseKey, Holder>,
}

/// What came of a renewal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Renewed {
    pub(super) lease: LeaseId,
    /// How long the lease lives from when the renewal was sent.
    pub(super) ttl: Duration,
    /// What was thought to be ours, and is not.
    pub(super) missing: Vec<LeaseKey>,
}

/// What is given back.
#[derive(Debug, Clone, Copy)]
pub(super) enum Release {
    /// One agent, if it is still held since this.
    Agent(LeaseKey, Epoch),
    /// The place among those that may take agents.
    Node,
    /// The whole lease.
    All,
}

/// Why an engine did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum EngineError {
    /// The lease is none that it knows: it has ended.
    Over,
    /// It was not reached, or did not answer. What was asked may have been done.
    Unreachable(String),
    /// It answered, and will not do it: somebody has to put something right.
    Refused(String),
}

/// An engine. Each method but the last is bounded in time by itself; dropping the future gives up waiting.
pub(super) trait Engine: Send + Sync + 'static {
    /// Tries to get an agent for a lease. `None`: somebody else has it.
    fn acquire(
        &self,
        lease: LeaseId,
        agent: LeaseKey,
    ) -> impl Future<Output = Result<Option<Epoch>, EngineError>> + Send;

    /// Renews a lease, and makes sure that it holds these agents since then. Without one begins one, and has this daemon known as one that
    /// may take agents. Returns only what the majority of the engine agrees on *after* the renewal.
    fn renew(
        &self,
        lease: Option<LeaseId>,
        held: Vec<(LeaseKey, Epoch)>,
    ) -> impl Future<Output = Result<Renewed, EngineError>> + Send;

    /// Gives something back.
    fn release(&self, lease: LeaseId, what: Release) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Has `view` follow what the engine has, until that fails.
    fn watch(&self, view: watch::Sender<Option<View>>) -> impl Future<Output = EngineError> + Send;
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl fmt::Debug for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LeaseId({self})")
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EngineError::Over => f.write_str("the lease has ended"),
            EngineError::Unreachable(why) | EngineError::Refused(why) => f.write_str(why),
        }
    }
}
