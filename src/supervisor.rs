//! Owns every pipe of a run: starts them together, and ends when all of them have ended.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::agent;
use crate::catalogue::Catalogue;
use crate::config::{Config, ServerSpec};
use crate::guard::Guard;
use crate::layout::{Group, Shared, layout};
use crate::link::wake::WakeWatch;
use crate::pipe::{Pipe, Run};
use crate::router::Router;
use crate::router::merge::Merge;
use crate::router::passthrough::Passthrough;
use crate::router::turns::{Seat, Turns};
use crate::shutdown::Stop;
use crate::status::Status;
use crate::steering::Steering;

/// Runs the pipes that serve the servers of `config`, until `stop`. Every task has ended when it returns.
///
/// Those whose servers take turns obey `steering`.
pub async fn serve(config: Config, guard: Guard, status: Status, steering: Steering, stop: Stop) {
    let watch = WakeWatch::new();
    let mut pipes = JoinSet::new();
    let Config { drain_timeout, log_contents, cache_dir, servers, .. } = config;
    let catalogue = Arc::new(Catalogue::at(cache_dir));
    let run = Run { guard, wake: watch.subscribe(), stop, drain_timeout, log_contents, catalogue };
    // `config::resolve` gives every server an endpoint; `--local` has by now.
    for group in layout(servers, |spec| spec.endpoint.as_ref().is_some_and(agent::takes_one)) {
        pipes.spawn(pipe(group, &run, &status, &steering));
    }
    let ended = CancellationToken::new();
    let watching = ended.clone();
    let all = async {
        while let Some(pipe) = pipes.join_next().await {
            if let Err(panic) = pipe {
                error!(event = "ERROR_PIPE", "a pipe ended by a fault of mcp-pipe itself: {panic}");
            }
        }
        ended.cancel();
    };
    tokio::join!(all, watch.run(watching));
}

/// The pipe of a group, ready to run.
fn pipe(group: Group, run: &Run, status: &Status, steering: &Steering) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    let untouched = group.servers.iter().all(|spec| spec.tools.is_untouched());
    let servers: Vec<_> = group.servers.into_iter().map(|spec| (status.add(&spec.name), Arc::new(spec))).collect();
    let Some((endpoint, link, sharing)) =
        servers.first().and_then(|(_, s)| Some((s.endpoint.clone()?, s.link.clone(), s.sharing)))
    else {
        return Box::pin(async {});
    };
    let specs: Vec<_> = servers.iter().map(|(_, spec)| spec.clone()).collect();
    let members: Vec<_> = servers.into_iter().map(|(status, spec)| (spec, status)).collect();
    let passthrough = |spec: &Arc<ServerSpec>| Passthrough::new(spec.name.clone(), spec.handshake, spec.max_frame);
    let merge =
        |specs: &[Arc<ServerSpec>]| Merge::new(specs.iter().map(|spec| (spec.clone(), run.catalogue.load(spec))));
    match (group.shared, specs.as_slice()) {
        (Shared::Alone, [spec]) if untouched => {
            Box::pin(Pipe::new(members, endpoint, link, passthrough(spec), run.clone()).run())
        }
        (Shared::Alone | Shared::Merged, specs) => {
            Box::pin(Pipe::new(members, endpoint, link, merge(specs), run.clone()).run())
        }
        (Shared::InTurns, specs) if untouched => {
            let turns = turns(specs, sharing.turn, passthrough);
            Box::pin(Pipe::new(members, endpoint, link, turns, run.clone()).steered_by(steering.subscribe()).run())
        }
        (Shared::InTurns, specs) => {
            let turns = turns(specs, sharing.turn, |spec| merge(std::slice::from_ref(spec)));
            Box::pin(Pipe::new(members, endpoint, link, turns, run.clone()).steered_by(steering.subscribe()).run())
        }
    }
}

fn turns<R: Router>(specs: &[Arc<ServerSpec>], turn: Duration, router: impl Fn(&Arc<ServerSpec>) -> R) -> Turns<R> {
    let seats = specs.iter().map(|spec| Seat { name: spec.name.clone(), router: router(spec), pin: spec.pin });
    Turns::new(seats.collect(), turn, Instant::now())
}
