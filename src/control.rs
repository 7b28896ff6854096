//! What a running mcp-pipe tells of itself, and to whom.

mod answers;
mod client;
mod commands;
pub(crate) mod created;
mod discovery;
mod examined;
pub(crate) mod figures;
pub(crate) mod health;
pub(crate) mod history;
pub(crate) mod journal;
mod listener;
pub(crate) mod metrics;
mod name;
pub(crate) mod orders;
pub(crate) mod outcome;
mod picture;
#[cfg(unix)]
mod place;
mod protocol;
pub(crate) mod readiness;
mod report;
pub(crate) mod sessions;
#[cfg(unix)]
mod socket;
pub(crate) mod status;
pub(crate) mod summary;
pub(crate) mod tap;
mod tapping;
mod watching;
#[cfg(any(windows, test))]
mod windows;
mod wording;

use std::convert::Infallible;
use std::path::Path;

use tokio::sync::mpsc;
use tracing::{debug, error, info, warn};

pub(crate) use self::commands::{Asking, tell_waiting};
pub(crate) use self::examined::{Examined, Logged, Running};
use self::orders::Orders;
pub(crate) use self::report::{Cause, Endpoint as SeenEndpoint, Report};
use self::status::Status;
pub(crate) use self::tapping::Tapping;
pub(crate) use self::watching::Question;
#[cfg(windows)]
use self::windows::{place, socket};
use crate::config::ControlSocket;
use crate::logging::{LogLevel, Ring};
use crate::process::stop::Stop;

/// What the answers on the control socket are made of.
pub(crate) struct Sources {
    /// The state of all servers.
    pub status: Status,
    /// Where orders are given.
    pub orders: Orders,
    /// The lines of the log.
    pub ring: Option<Ring>,
    /// From which level on lines are shown.
    pub level: LogLevel,
}

/// Held until something is listened on, or it is clear that nothing will be; dropped then. Cloning gives another one.
#[derive(Debug, Clone)]
pub(crate) struct Opening {
    _held: mpsc::Sender<Infallible>,
}

/// Where it is heard that all of that has happened.
#[derive(Debug)]
pub(crate) struct Opened(mpsc::Receiver<Infallible>);

/// The two ends.
pub(crate) fn opening() -> (Opening, Opened) {
    let (held, opened) = mpsc::channel(1);
    (Opening { _held: held }, Opened(opened))
}

impl Opened {
    /// Ready when every [`Opening`] has been dropped.
    pub(crate) async fn wait(mut self) {
        let _none = self.0.recv().await;
    }
}

/// Answers on the control socket until `ended`. Where there can't be one, that is said, and nothing else changes.
///
/// `config`: which config, for the socket's name and for whoever asks. `opening`: is held until it is listened on.
pub(crate) async fn serve(at: ControlSocket, config: &Path, from: Sources, ended: Stop, opening: Opening) {
    let (socket, is_second) = match at {
        ControlSocket::None => return,
        ControlSocket::At(path) => match socket::listen(&path, "control").await {
            Ok(socket) => (socket, false),
            Err(why) => {
                error!(event = "ERROR_CONTROL_SOCKET", "{why:#}; going on without it");
                return;
            }
        },
        ControlSocket::In(places) => match place::claim(&places, config).await {
            Ok(claimed) => claimed,
            Err(why) => {
                warn!(
                    event = "ERROR_CONTROL_SOCKET",
                    "no control socket, so status and logs don't find this mcp-pipe: {why:#}"
                );
                return;
            }
        },
    };
    let path = socket.path().display();
    if is_second {
        let with = if config.is_dir() { "in this folder" } else { "with this config" };
        info!(
            event = "CONTROL_SOCKET",
            "another mcp-pipe runs {with}; this one answers status and logs with --control-socket {path}"
        );
    } else {
        debug!(event = "CONTROL_SOCKET", "the control socket is {path}");
    }
    drop(opening);
    let answering = answers::Answering::new(config.display().to_string(), from);
    listener::serve(socket, answering, ended).await;
}
