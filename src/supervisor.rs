//! Owns every pipe of a run: starts them, lays servers that share an agent onto them, and ends when all have ended.
//!
//! # Theory of operation
//!
//! Servers of one agent that share it in the same mode are a [`Group`], and each group is a task. It holds the agent's
//! lock ([`claim`]), starts its pipes and waits for them. In mode `auto` it also hears what becomes of their connections; when
//! that proves that the agent takes one connection only, the pipes are stopped as at the end of a run, and one that has all
//! the servers takes their place. Groups know nothing of each other.

mod claim;
mod group;

use std::path::PathBuf;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::error;

use self::group::Group;
use crate::catalogue::Catalogue;
use crate::config::Config;
use crate::guard::Guard;
use crate::link::wake::WakeWatch;
use crate::pipe::Run;
use crate::shutdown::Stop;
use crate::status::Status;

/// What all groups have in common.
#[derive(Clone)]
struct Common {
    /// As every pipe is run, but for what is its own.
    run: Run,
    catalogue: Catalogue,
    /// Where the agents' locks are; none are taken if `None`.
    locks: Option<PathBuf>,
    /// What another mcp-pipe is told to be us.
    place: String,
}

/// Runs pipes for all servers of `config` that have an endpoint, until `stop`. Every task has ended when it returns.
pub async fn serve(config: Config, guard: Guard, status: Status, stop: Stop) {
    let watch = WakeWatch::new();
    let Config { servers, place, drain_timeout, local, log_contents, cache_dir, .. } = config;
    let common = Common {
        run: Run { guard, wake: watch.subscribe(), stop, drain_timeout, log_contents, witness: None },
        // A local endpoint is nobody else's.
        locks: cache_dir.clone().filter(|_| !local),
        catalogue: Catalogue::at(cache_dir),
        place: place.display().to_string(),
    };
    let mut groups = JoinSet::new();
    for group in Group::all(servers, &status) {
        groups.spawn(group.run(common.clone()));
    }
    let ended = CancellationToken::new();
    let watching = ended.clone();
    let all = async {
        all_ended(&mut groups).await;
        ended.cancel();
    };
    tokio::join!(all, watch.run(watching));
}

/// Waits for all tasks; one that panicked has ended as well.
async fn all_ended(tasks: &mut JoinSet<()>) {
    while let Some(task) = tasks.join_next().await {
        if let Err(panic) = task {
            error!(event = "ERROR_PIPE", "a pipe ended by a fault of mcp-pipe itself: {panic}");
        }
    }
}
