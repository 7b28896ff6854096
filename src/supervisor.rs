//! Owns every pipe of a run: starts them, and ends when all have ended.
//!
//! # Theory of operation
//!
//! Servers that share an agent are a group ([`crate::sharing::layout`]), and each group is a task (`Crew`). A crew holds the
//! agent's lock (`claim`), starts its pipes and waits for them. In mode `auto` it also hears what becomes of their connections;
//! when these prove that the agent takes one connection only, the pipes are stopped as at the end of a run, and one pipe with
//! all the servers takes their place. Groups know nothing of each other.

mod claim;
mod crew;
mod hub;
mod lock;
mod orders;
mod roster;

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::error;

use self::crew::{Crew, Entry};
use self::hub::HubHandle;
use self::orders::Helm;
use self::roster::Roster;
use crate::catalogue::Catalogue;
use crate::config::Config;
use crate::control::orders::Instruction;
use crate::control::status::Status;
use crate::net::wake::WakeWatch;
use crate::pipe::orders::orders;
use crate::pipe::{Pipe, Run};
use crate::process::guard::Guard;
use crate::process::stop::Stop;
use crate::router::hub::Hub;
use crate::sharing::layout::groups;

/// What all groups have in common.
#[derive(Clone)]
struct Common {
    run: Run,
    status: Status,
    roster: Roster,
    hub: HubHandle,
    /// Where the agents' locks are; none are taken if `None`.
    locks: Option<PathBuf>,
    /// The place of the config, by which another mcp-pipe tells a person who we are.
    place: String,
}

/// Runs the pipes that serve the servers of `config`, until `stop`. Every task has ended when this returns.
///
/// What comes on `instructions` is carried out meanwhile.
pub(crate) async fn serve(
    config: Config,
    guard: Guard,
    status: Status,
    instructions: mpsc::Receiver<Instruction>,
    stop: Stop,
) {
    let watch = WakeWatch::new();
    let Config { servers, endpoints, place, drain_timeout, local, log_contents, cache_dir, tool_budget, .. } = config;
    // No locks for a local endpoint, which nobody else can serve.
    let locks = cache_dir.clone().filter(|_| !local);
    let catalogue = Arc::new(Catalogue::at(cache_dir));
    let kept = catalogue.clone();
    let (now, remembering) = (stop.clone(), catalogue.clone());
    let (wake, redactor) = (watch.subscribe(), status.redactor().clone());
    let run = Run { guard, wake, stop, drain_timeout, log_contents, tool_budget, catalogue, redactor };
    let (roster, (sender, orders)) = (Roster::default(), orders());
    let (hub, place) = (HubHandle::new(sender), place.display().to_string());
    let mut crews = JoinSet::new();
    crews.spawn(Pipe::of(Vec::new(), Vec::new(), Box::new(Hub::new()), run.clone()).obeying(orders).run());
    let common = Common { run, status: status.clone(), roster: roster.clone(), hub: hub.clone(), locks, place };
    // Entries are added in the order of the config, which groups may change.
    let mut helm = Helm::new(roster, hub);
    let mut entries = HashMap::new();
    for spec in &servers {
        let entry = status.add_server(&spec.name);
        let goal = helm.add(spec, entry.clone());
        entries.insert(spec.name.clone(), Entry { spec: Arc::new(spec.clone()), status: entry, goal });
    }
    for group in groups(&servers, &endpoints) {
        crews.spawn(Crew::new(group, &entries, common.clone()).run());
    }
    let ended = CancellationToken::new();
    let watching = ended.clone();
    let all = async {
        all_ended(&mut crews).await;
        ended.cancel();
    };
    let obeyed = async {
        tokio::select! {
            () = all => {}
            never = helm.serve(instructions, &now) => match never {},
            never = tell_losses(&kept, &status) => match never {},
        }
    };
    tokio::join!(obeyed, watch.run(watching));
    tokio::select! {
        () = remembering.finish() => {}
        () = now.now().cancelled() => {}
    }
}

/// Time between two attempts to write what could not be written to the cache: somebody may have made room.
const AGAIN: Duration = Duration::from_secs(10);

/// Tells what keeps the cache from being written, whenever that changes, and tries it again meanwhile; for ever.
async fn tell_losses(catalogue: &Catalogue, status: &Status) -> Infallible {
    let mut losses = catalogue.losses();
    loop {
        let loss = losses.borrow_and_update().clone();
        let is_lost = loss.is_some();
        status.set_loss(loss);
        tokio::select! {
            changed = losses.changed() => {
                if changed.is_err() {
                    std::future::pending::<()>().await; // without a cache nothing is lost
                }
            }
            () = sleep(AGAIN), if is_lost => catalogue.write_again(),
        }
    }
}

/// Waits for all tasks; one that panicked has ended as well.
async fn all_ended(tasks: &mut JoinSet<()>) {
    while let Some(task) = tasks.join_next().await {
        if let Err(panic) = task {
            error!(event = "ERROR_PIPE", "a pipe ended by a fault of mcp-pipe itself: {panic}");
        }
    }
}
