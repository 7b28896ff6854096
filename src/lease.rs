//! Leases: who of several daemons serves an agent, as an engine decides that all of them know.
//!
//! An endpoint's agent may be connected once, and the far side knows no fencing. So whoever has an agent must have closed its connections
//! before anybody else dials, also where it can't be told to: because it is cut off, swaps, or was stopped.
//!
//! # Theory of operation
//!
//! Each daemon has one lease at the engine ([`engine`]), to which all that it holds there is bound. The [`keeper`] renews it at a third of its
//! time to live. A renewal counts from the moment *before* it was sent, by a clock that goes on while the machine sleeps ([`clock`]): by
//! then the engine can't have begun to count. A second before the lease may end, all connections of agents are cut; half a second later
//! the watcher process kills a daemon that has not done so ([`crate::process::guard`]). By then nobody else can have got the agent.
//!
//! Who wants an agent served asks for a [`Place`], and waits until it is held. When it is lost, whoever serves it closes all connections
//! and gives up the place; before that the keeper does not try to get the agent again. Which of several daemons tries first to get a free
//! one is in [`order`]; that is manners, and no safety.

mod clock;
mod engine;
mod etcd;
mod keeper;
mod node;
mod order;
mod roll;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

pub(crate) use self::engine::Epoch;
use self::etcd::Etcd;
use self::keeper::{Ask, Keeper};
use crate::config::{LeaseSpec, Standby};
use crate::control::status::Status;
use crate::endpoint::agent::LeaseKey;
use crate::process::guard::Guard;
use crate::process::stop::Stop;

/// Longest time to give back what is held, at the end of a run.
const PATIENCE: Duration = Duration::from_secs(2);

/// How it stands with an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is not ours. Who has it, if somebody does.
    Standby(Option<Arc<str>>),
    /// It is ours since then, until this changes.
    Held(Epoch),
    /// It was ours, and will be another's at once: every connection is to be closed now. Nothing follows this.
    Lost,
}

/// Where places are asked for. Cloning gives another handle.
#[derive(Debug, Clone)]
pub(crate) struct Leases {
    /// Not bounded: each place sends two messages at most, and there are as many as agents in the config.
    asks: mpsc::UnboundedSender<Ask>,
    /// Whether servers run while another daemon has their endpoints.
    pub(crate) standby: Standby,
}

/// The wish to serve an agent. Giving it up, by dropping it, says that no connection of the agent is open here.
#[derive(Debug)]
pub(crate) struct Place {
    agent: LeaseKey,
    /// Tells it from others of the same agent.
    number: u64,
    standing: watch::Receiver<Standing>,
    asks: mpsc::UnboundedSender<Ask>,
}

impl Leases {
    /// Leases by `spec`, and what keeps them, which is to be driven: until `ended`, and then until all is given back, which is bounded. Every
    /// place should have been given up by then. `state`: the folder where this daemon's name is kept. At the drain of `stop` no agent is
    /// taken any more.
    pub(crate) async fn new(
        spec: &LeaseSpec,
        state: Option<&Path>,
        (guard, status): (Guard, Status),
        stop: &Stop,
        ended: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + use<>) {
        let node: Arc<str> = match &spec.node {
            Some(node) => node.as_str().into(),
            None => node::name(state).await.into(),
        };
        tracing::info!(event = "LEASE_NODE", "shares its endpoints with others by leases, as {node}");
        status.set_lease_node(&node);
        if let Err(why) = guard.can_kill() {
            tracing::warn!(
                event = "LEASE_UNGUARDED",
                "{why}, so nothing would end this daemon if it were stopped while it holds a lease, and another one could connect beside it"
            );
        }
        let (asks, asked) = mpsc::unbounded_channel();
        let (keeper, drain) = (Keeper::new(Etcd::of(spec, node), spec.ttl, guard, status), stop.drain().clone());
        let kept = async move {
            let late = async {
                ended.cancelled().await;
                sleep(PATIENCE).await;
            };
            tokio::select! {
                () = keeper.run(asked, drain, ended.clone()) => {}
                // An engine that does not answer is left to find out by itself.
                () = late => {}
            }
        };
        (Leases { asks, standby: spec.standby }, kept)
    }

    /// Asks for an agent.
    pub(crate) fn want(&self, agent: LeaseKey) -> Place {
        Place::of(agent, self.asks.clone())
    }
}

impl Place {
    fn of(agent: LeaseKey, asks: mpsc::UnboundedSender<Ask>) -> Self {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let (tell, standing) = watch::channel(Standing::Standby(None));
        // A keeper that has ended tells nothing any more, and nothing is held.
        let _ended = asks.send(Ask::Want { agent, number, tell });
        Place { agent, number, standing, asks }
    }

    /// Waits until the agent is ours no more.
    pub(crate) async fn lost(&mut self) {
        while *self.standing.borrow_and_update() != Standing::Lost {
            self.changed().await;
        }
    }

    /// How it stands with it now, for whoever waits for it. What was lost before that was heard to be held is asked for anew: nobody would
    /// be told of anything after that.
    pub(crate) fn standing(&mut self) -> Standing {
        let standing = self.standing.borrow_and_update().clone();
        if standing != Standing::Lost {
            return standing;
        }
        *self = Place::of(self.agent, self.asks.clone());
        Standing::Standby(None)
    }

    /// Waits until it stands otherwise with the agent than when that was last asked.
    pub(crate) async fn changed(&mut self) {
        if self.standing.changed().await.is_err() {
            // The keeper has ended, which happens at the end of the run only.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ended = self.asks.send(Ask::Leave { agent: self.agent, number: self.number });
    }
}
