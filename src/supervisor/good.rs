//! Keeps the config that counts, once servers have served with it: the last one that ran is told to whoever then makes a mistake.

use std::convert::Infallible;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::debug;

use crate::control::status::{Overview, ServerState, Status};
use crate::last_run;
use crate::process::aside::aside;
use crate::secrecy::Secret;

/// The config as it is written, where it is read from a file; the servers that it has begun anew; and since when it counts.
pub(super) type Written = Option<(Secret, Vec<Arc<str>>, Instant)>;

/// Where it is said which one counts.
pub(super) type Counts = watch::Sender<Written>;

/// Where that is said, and where it is heard.
pub(super) fn counting(written: Written) -> (Counts, watch::Receiver<Written>) {
    watch::channel(written)
}

/// Whether a server serves, and each of those that were begun anew. What one of these was before that says nothing.
fn has_run(all: &Overview, begun: &[Arc<str>], from: Instant) -> bool {
    let serves = |name: &Arc<str>| match all.server(name).map(|server| (&server.state, server.since)) {
        Some((ServerState::Serving, since)) => since >= from,
        Some((ServerState::Stopped, _)) | None => true,
        Some((ServerState::Starting | ServerState::Silent | ServerState::Refusing(_) | ServerState::Down(_), _)) => {
            false
        }
    };
    all.servers.iter().any(|server| server.state == ServerState::Serving) && begun.iter().all(serves)
}

/// Keeps each that `counts`, for ever, in the state folder `parent`. `config`: its file.
pub(super) async fn keep(
    mut counts: watch::Receiver<Written>,
    parent: Option<PathBuf>,
    config: &Path,
    status: &Status,
) -> Infallible {
    let Some(parent) = parent else { return pending().await };
    loop {
        let written = counts.borrow_and_update().clone();
        if let Some((text, begun, from)) = written {
            let mut changes = status.changes();
            tokio::select! {
                ready = changes.wait_for(|all| has_run(all, &begun, from)) => drop(ready),
                Ok(()) = counts.changed() => continue,
            }
            let (parent, config) = (parent.clone(), config.to_path_buf());
            let kept = aside(move || last_run::keep(&parent, &config, text.reveal())).await;
            // Where the folder can't be used the log has been told at the start.
            if let Err(error) = kept.and_then(|kept| kept) {
                debug!(event = "LAST_RUN", "the config that runs can't be kept for config show --last-good: {error}");
            }
        }
        if counts.changed().await.is_err() {
            pending::<()>().await; // at the end
        }
    }
}
