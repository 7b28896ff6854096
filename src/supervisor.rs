//! Owns every pipe of a run: starts them together, and ends when all of them have ended.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::config::Config;
use crate::guard::Guard;
use crate::link::wake::WakeWatch;
use crate::pipe::{Pipe, Run};
use crate::router::passthrough::Passthrough;
use crate::shutdown::Stop;
use crate::status::Status;

/// Runs a pipe for each server of `config` that has an endpoint, until `stop`. Every task has ended when it returns.
pub async fn serve(config: Config, guard: Guard, status: Status, stop: Stop) {
    let watch = WakeWatch::new();
    let mut pipes = JoinSet::new();
    let Config { drain_timeout, log_contents, .. } = config;
    let run = Run { guard, wake: watch.subscribe(), stop, drain_timeout, log_contents };
    for spec in config.servers {
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
