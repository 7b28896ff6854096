//! What a running mcp-pipe tells of itself, and to whom.

#[cfg(unix)]
mod answers;
#[cfg(unix)]
mod client;
#[cfg(unix)]
mod commands;
#[cfg(not(unix))]
#[path = "control/without.rs"]
mod commands;
#[cfg(unix)]
mod discovery;
mod figures;
pub(crate) mod health;
pub(crate) mod journal;
#[cfg(unix)]
mod listener;
#[cfg(unix)]
mod memory;
#[cfg_attr(not(unix), expect(dead_code, reason = "nobody gives orders where there is no control socket"))]
pub(crate) mod orders;
#[cfg(unix)]
mod outcome;
#[cfg(unix)]
mod picture;
#[cfg(unix)]
mod place;
#[cfg(unix)]
mod protocol;
#[cfg(unix)]
mod report;
#[cfg(unix)]
mod socket;
pub(crate) mod status;
pub(crate) mod summary;
#[cfg(unix)]
mod watching;
#[cfg(unix)]
mod wording;

use std::path::Path;

use tracing::warn;
#[cfg(unix)]
use tracing::{debug, error, info};

pub(crate) use self::commands::Asking;
#[cfg(not(unix))]
pub(crate) use self::commands::Question;
use self::orders::Orders;
use self::status::Status;
#[cfg(unix)]
pub(crate) use self::watching::Question;
use crate::config::ControlSocket;
use crate::logging::Ring;
use crate::process::stop::Stop;

/// What the answers on the control socket are made of.
pub(crate) struct Sources {
    /// The state of all servers.
    pub status: Status,
    /// Where orders are given.
    pub orders: Orders,
    /// The lines of the log.
    pub ring: Option<Ring>,
}

/// Answers on the control socket until `ended`. Where there can't be one, that is said, and nothing else changes.
///
/// `config`: which config, for the socket's name and for whoever asks.
#[cfg(unix)]
pub(crate) async fn serve(at: ControlSocket, config: &Path, from: Sources, ended: Stop) {
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
    let answering = answers::Answering::new(config.display().to_string(), from);
    listener::serve(socket, answering, ended).await;
}

/// There is none on this system.
#[cfg(not(unix))]
pub(crate) async fn serve(at: ControlSocket, _config: &Path, _from: Sources, _ended: Stop) {
    match at {
        ControlSocket::At(_) => {
            warn!(event = "ERROR_CONTROL_SOCKET", "{}; going on without it", commands::UNAVAILABLE);
        }
        ControlSocket::None | ControlSocket::In(_) => {}
    }
}
