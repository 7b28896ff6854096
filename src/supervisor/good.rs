//! Keeps the config that counts, once a server has served with it: the last one that ran is told to whoever then makes a mistake.

use std::convert::Infallible;
use std::future::pending;
use std::path::{Path, PathBuf};

use tokio::sync::watch;
use tracing::debug;

use crate::control::readiness::Readiness;
use crate::control::status::Status;
use crate::last_run;
use crate::process::aside::aside;
use crate::secrecy::Secret;

/// The config as it is written, where it is read from a file.
pub(super) type Written = Option<Secret>;

/// Where it is said which one counts.
pub(super) type Counts = watch::Sender<Written>;

/// Where that is said, and where it is heard.
pub(super) fn counting(written: Written) -> (Counts, watch::Receiver<Written>) {
    watch::channel(written)
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
        if let Some(text) = written {
            let mut changes = status.changes();
            tokio::select! {
                ready = changes.wait_for(|all| Readiness::of(all, false).is_ready) => drop(ready),
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
