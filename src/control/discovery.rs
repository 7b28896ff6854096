//! Which running mcp-pipe is meant, where nobody says by which socket.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::timeout;

use super::client::{self, Answer};
use super::place;
use super::protocol::{Daemon, Reply, Request};
use crate::config::Places;

/// Longest wait for each of several daemons to tell who it is.
const WHO: Duration = Duration::from_secs(1);
/// Most daemons that are listed.
pub(super) const LISTED: usize = 20;

/// Which mcp-pipe is meant.
#[derive(Debug)]
pub(super) enum Found {
    /// That of this socket.
    One(PathBuf),
    /// None runs. What kept us from looking, if anything did.
    None(Vec<String>),
    /// One of these.
    Several(Vec<Running>),
}

/// One that runs.
#[derive(Debug)]
pub(super) struct Running {
    socket: PathBuf,
    /// What it says of itself; `None` if it does not answer.
    pub(super) who: Option<Daemon>,
}

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.who {
            Some(Daemon { pid, config, .. }) => write!(f, "process {pid} with {config}")?,
            None => f.write_str("does not answer")?,
        }
        write!(f, ": --control-socket {}", self.socket.display())
    }
}

/// Looks for those that run, with this config if one is given. A socket on which nobody listens counts for nothing.
pub(super) async fn find(places: &Places, config: Option<&Path>) -> Found {
    let (sockets, obstacles) = place::sockets(places, config);
    let mut running = Vec::new();
    for path in sockets {
        // Whoever has no room in its queue listens.
        if timeout(WHO, client::connect(&path)).await.is_ok_and(|connected| connected.is_ok()) {
            running.push(path);
        }
    }
    match running.len() {
        0 => Found::None(obstacles),
        1 => Found::One(running.remove(0)),
        _ => {
            let mut several = Vec::new();
            for socket in running {
                // The others are only counted: asking each may take its time.
                let is_asked = several.len() < LISTED;
                let who = if is_asked { timeout(WHO, who(&socket)).await.ok().flatten() } else { None };
                several.push(Running { socket, who });
            }
            Found::Several(several)
        }
    }
}

async fn who(path: &Path) -> Option<Daemon> {
    match Answer::to(&Request::Daemon, path).await.ok()?.next().await.ok()?? {
        Reply::Daemon(daemon) => Some(daemon),
        Reply::Picture(_)
        | Reply::Sessions(_)
        | Reply::History(_)
        | Reply::Seen(_)
        | Reply::Log(_)
        | Reply::Lost(_)
        | Reply::Given(_)
        | Reply::Carried(_)
        | Reply::Failed(_)
        | Reply::Done {} => None,
    }
}
