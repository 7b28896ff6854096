//! Which running mcp-pipe is meant, where nobody says by which socket.

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
const LISTED: usize = 20;

/// Which mcp-pipe is meant.
#[derive(Debug)]
pub(super) enum Found {
    /// That of this socket.
    One(PathBuf),
    /// None runs. What kept us from looking, if anything did.
    None(Vec<String>),
    /// One of these, as lines for people.
    Several(Vec<String>),
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
            let mut lines = Vec::new();
            for path in running.iter().take(LISTED) {
                let who = timeout(WHO, who(path)).await.ok().flatten();
                let who = who.map_or_else(
                    || "does not answer".to_owned(),
                    |Daemon { pid, config, .. }| format!("process {pid} with {config}"),
                );
                lines.push(format!("{who}: --control-socket {}", path.display()));
            }
            if running.len() > LISTED {
                lines.push(format!("and {} more", running.len() - LISTED));
            }
            Found::Several(lines)
        }
    }
}

async fn who(path: &Path) -> Option<Daemon> {
    match Answer::to(&Request::Daemon, path).await.ok()?.next().await.ok()?? {
        Reply::Daemon(daemon) => Some(daemon),
        Reply::Picture(_)
        | Reply::Log(_)
        | Reply::Lost(_)
        | Reply::Given(_)
        | Reply::Carried(_)
        | Reply::Failed(_)
        | Reply::Done {} => None,
    }
}
