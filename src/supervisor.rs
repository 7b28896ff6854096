//! Owns every pipe of a run: starts them together, and ends when all of them have ended.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::config::{Config, Mode, ServerSpec, Sharing};
use crate::endpoint::Endpoint;
use crate::guard::Guard;
use crate::link::wake::WakeWatch;
use crate::pipe::{Pipe, Run};
use crate::router::Router;
use crate::router::merge::Merge;
use crate::router::passthrough::Passthrough;
use crate::router::turns::{Seat, Turns};
use crate::shutdown::Stop;
use crate::status::{Status, StatusEntry};
use crate::steering::Steering;

/// A server, and the entry that shows its state.
type Entry = (Arc<ServerSpec>, StatusEntry);

/// Runs pipes for all servers of `config` that have an endpoint, until `stop`. Those whose servers take turns obey
/// `steering`. Every task has ended when it returns.
pub async fn serve(config: Config, guard: Guard, status: Status, steering: Steering, stop: Stop) {
    let watch = WakeWatch::new();
    let mut pipes = JoinSet::new();
    let Config { drain_timeout, log_contents, .. } = config;
    let run = Run { guard, wake: watch.subscribe(), stop, drain_timeout, log_contents };
    for (endpoint, servers) in layout(config.servers, &status) {
        let Some((first, _)) = servers.first() else { continue };
        let (link, sequential) = (first.link.clone(), first.sharing.mode == Mode::Sequential);
        let plain = servers.iter().all(|(spec, _)| spec.tools.is_untouched());
        let passthrough = |s: &Arc<ServerSpec>| Passthrough::new(s.name.clone(), s.handshake, s.max_frame);
        let merge = |s: &Arc<ServerSpec>| Merge::new([(s.clone(), None)]);
        match (sequential, plain) {
            (true, true) => {
                let turns = turns(&servers, passthrough);
                let pipe = Pipe::new(servers, endpoint, link, turns, run.clone());
                pipes.spawn(pipe.steered_by(steering.subscribe()).run());
            }
            (true, false) => {
                let turns = turns(&servers, merge);
                let pipe = Pipe::new(servers, endpoint, link, turns, run.clone());
                pipes.spawn(pipe.steered_by(steering.subscribe()).run());
            }
            (false, _) => {
                let router = passthrough(first);
                pipes.spawn(Pipe::new(servers, endpoint, link, router, run.clone()).run());
            }
        }
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

/// Which servers share a pipe: those of one endpoint that take turns.
fn layout(servers: Vec<ServerSpec>, status: &Status) -> Vec<(Endpoint, Vec<Entry>)> {
    let mut pipes: Vec<(Endpoint, Vec<Entry>)> = Vec::new();
    for spec in servers {
        // `config::resolve` gives every server one; `--local` has by now.
        let Some(endpoint) = spec.endpoint.clone() else { continue };
        let status = status.add(&spec.name);
        let entry = (Arc::new(spec), status);
        let sequential = |(spec, _): &Entry| spec.sharing.mode == Mode::Sequential;
        let shared = |(at, servers): &&mut (Endpoint, Vec<Entry>)| *at == endpoint && servers.iter().all(sequential);
        match pipes.iter_mut().filter(|_| sequential(&entry)).find(shared) {
            Some((_, servers)) => servers.push(entry),
            None => pipes.push((endpoint, vec![entry])),
        }
    }
    pipes
}

fn turns<R: Router>(servers: &[Entry], router: impl Fn(&Arc<ServerSpec>) -> R) -> Turns<R> {
    let seat = |(spec, _): &Entry| Seat { name: spec.name.clone(), router: router(spec), pin: spec.pin };
    let turn = servers.first().map_or(Sharing::default().turn, |(spec, _)| spec.sharing.turn);
    Turns::new(servers.iter().map(seat).collect(), turn, Instant::now())
}
