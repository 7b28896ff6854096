//! Which mcp-pipe on this machine serves an agent: this one, or another.

use std::time::Duration;

use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::Common;
use super::lock::{Attempt, Lock, attempt};
use crate::endpoint::agent::Agent;
use crate::logging::Names;

/// Pause between two attempts to get a lock that another process holds. Nobody notices a takeover that is this late.
const AGAIN: Duration = Duration::from_secs(5);

/// The lock of an agent, or why there is none.
#[derive(Debug)]
pub(super) enum Claim {
    /// The lock is ours.
    Held(#[expect(dead_code, reason = "held, not used: dropping it releases the lock")] Lock),
    /// Another process has the lock, and serves the agent beside us.
    Disputed,
    /// There is no lock: nowhere to put one, or it can't be used.
    Unknown,
}

impl Claim {
    /// Tries to get the lock of an agent, and warns if another process has it. `servers`: whose agent this is, for the log.
    pub(super) fn new(agent: Agent, servers: &Names, takes_one: bool, common: &Common) -> Self {
        match try_lock(agent, common) {
            Some(Attempt::Taken(lock)) => Claim::Held(lock),
            Some(Attempt::Held(holder)) => {
                let what = if takes_one {
                    "and it takes one connection only. Not dialled until that one has ended; or use the endpoint of another \
                     agent here"
                } else {
                    "and most endpoints allow one or two connections of an agent and close the rest. End one of the two, or use \
                     the endpoint of another agent here"
                };
                warn!(event = "AGENT_TAKEN", ?servers, "another mcp-pipe, {holder}, serves the same agent, {what}");
                Claim::Disputed
            }
            None => Claim::Unknown,
        }
    }

    /// Waits until no other process has the lock. To be dropped when that is no longer of interest.
    pub(super) async fn settled(&mut self, agent: Agent, servers: &Names, common: &Common) {
        while let Claim::Disputed = self {
            sleep(AGAIN).await;
            *self = match try_lock(agent, common) {
                Some(Attempt::Held(_)) => Claim::Disputed,
                Some(Attempt::Taken(lock)) => {
                    info!(event = "AGENT_FREE", ?servers, "the other mcp-pipe has ended; this agent is ours alone");
                    Claim::Held(lock)
                }
                None => Claim::Unknown,
            };
        }
    }
}

/// Tries to get the lock. `None` if there is no folder for locks, or the lock can't be used.
fn try_lock(agent: Agent, common: &Common) -> Option<Attempt> {
    let Some(dir) = &common.locks else {
        debug!(event = "AGENT_UNLOCKED", %agent, "no cache directory: another mcp-pipe would not be noticed");
        return None;
    };
    attempt(dir, agent, &common.place)
        .map_err(|error| {
            info!(event = "AGENT_UNLOCKED", %agent, dir = %dir.display(), "another mcp-pipe would not be noticed: {error}");
        })
        .ok()
}
