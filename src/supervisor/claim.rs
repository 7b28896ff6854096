//! Who serves an agent on this machine: us, or another mcp-pipe.

use std::time::Duration;

use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::Common;
use super::lock::{Attempt, Lock, attempt};
use crate::endpoint::agent::Agent;
use crate::logging::Names;

/// How often a lock that another process holds is tried again. Nobody notices a takeover that is 5 s late.
const AGAIN: Duration = Duration::from_secs(5);

/// The lock of an agent, or why there is none.
#[derive(Debug)]
pub(super) enum Claim {
    /// Ours.
    Held(#[expect(dead_code, reason = "held, not used: dropping it releases the lock")] Lock),
    /// Another process has it, and is served beside us.
    Disputed,
    /// There is nowhere to look.
    Unknown,
}

impl Claim {
    /// Tries to get the lock of an agent, and says so if another process has it. `servers`: who is concerned, for the log.
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

    /// Ready when no other process has the lock. To be dropped when that is no longer of interest.
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

/// `None` if there is no directory for it, or it can't be used.
fn try_lock(agent: Agent, common: &Common) -> Option<Attempt> {
    let Some(dir) = &common.locks else {
        debug!(event = "AGENT_UNLOCKED", %agent, "no cache directory: another mcp-pipe would not be noticed");
        return None;
    };
    attempt(dir, agent, &common.place)
        .map_err(|error| {
            debug!(event = "AGENT_UNLOCKED", %agent, dir = %dir.display(), "another mcp-pipe would not be noticed: {error}");
        })
        .ok()
}
