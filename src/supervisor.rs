//! Owns every pipe of a run: starts them together, and ends when all of them have ended.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::config::{Config, Mode, ServerSpec};
use crate::guard::Guard;
use crate::link::wake::WakeWatch;
use crate::pipe::{Pipe, Run};
use crate::router::passthrough::Passthrough;
use crate::router::turns::{Seat, Turns};
use crate::shutdown::Stop;
use crate::status::Status;
use crate::steering::Steering;

fn by_endpoint(servers: Vec<ServerSpec>) -> Vec<Vec<ServerSpec>> {
    let mut groups: Vec<Vec<ServerSpec>> = Vec::new();
    for spec in servers {
        match groups.iter_mut().find(|group| group.iter().any(|other| other.endpoint == spec.endpoint)) {
            Some(group) => group.push(spec),
            None => groups.push(vec![spec]),
        }
    }
    groups
}

/// Runs a pipe for each server of `config` that has an endpoint, until `stop`. Every task has ended when it returns.
///
/// Those whose servers take turns obey `steering`.
pub async fn serve(config: Config, guard: Guard, status: Status, steering: Steering, stop: Stop) {
    let watch = WakeWatch::new();
    let mut pipes = JoinSet::new();
    let Config { drain_timeout, log_contents, .. } = config;
    let run = Run { guard, wake: watch.subscribe(), stop, drain_timeout, log_contents };
    let (taking_turns, servers): (Vec<_>, Vec<_>) =
        config.servers.into_iter().partition(|spec| spec.sharing.mode == Mode::Sequential && spec.endpoint.is_some());
    for specs in by_endpoint(taking_turns) {
        let Some((endpoint, link, turn)) =
            specs.first().and_then(|s| Some((s.endpoint.clone()?, s.link.clone(), s.sharing.turn)))
        else {
            continue;
        };
        let seats = specs.iter().map(|spec| Seat {
            name: spec.name.clone(),
            router: Passthrough::new(spec.name.clone(), spec.handshake, spec.max_frame),
            pin: spec.pin,
        });
        let turns = Turns::new(seats.collect(), turn, Instant::now());
        let servers = specs.into_iter().map(|spec| (status.add(&spec.name), Arc::new(spec))).map(|(s, p)| (p, s));
        let pipe = Pipe::new(servers.collect(), endpoint, link, turns, run.clone());
        pipes.spawn(pipe.steered_by(steering.subscribe()).run());
    }
    for spec in servers {
        // `config::resolve` gives every server one; `--local` has by now.
        let Some(endpoint) = spec.endpoint.clone() else { continue };
        let router = Passthrough::new(spec.name.clone(), spec.handshake, spec.max_frame);
        let (status, link) = (status.add(&spec.name), spec.link.clone());
        pipes.spawn(Pipe::new(vec![(Arc::new(spec), status)], endpoint, link, router, run.clone()).run());
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
