//! The socket on which a running daemon tells how it is, and the question (`mcp-pipe health`).
//!
//! A Unix socket, for its owner only: whoever connects is sent the state of all pipes as JSON, and the connection is closed.
//! The answer comes from the loop that does the work, so a daemon that hangs does not answer.
//! There is none on Windows.

use std::path::Path;

use anyhow::{Result, bail};

use crate::control::status::{LinkState, PipeStatus, ServerState, Status};
use crate::process::stop::Stop;

/// Serves the state of all pipes on a socket at `path` until the pipes have ended.
///
/// # Errors
/// The socket can't be made: another mcp-pipe uses it, or the folder is not writable.
#[cfg(unix)]
pub async fn serve(path: &Path, status: Status, ended: Stop) -> Result<()> {
    use anyhow::Context as _;
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Duration;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::{UnixListener, UnixStream};

    /// Who asks reads at once; a status is a few hundred bytes a pipe.
    const PATIENCE: Duration = Duration::from_secs(1);

    if let Ok(found) = std::fs::symlink_metadata(path) {
        use std::os::unix::fs::FileTypeExt as _;
        if !found.file_type().is_socket() {
            bail!("the status socket {} would replace something that is no socket; name another path", path.display());
        }
        if UnixStream::connect(path).await.is_ok() {
            bail!("another mcp-pipe answers on the status socket {}; give each its own", path.display());
        }
        // Left behind by one that was killed.
        std::fs::remove_file(path).with_context(|| format!("cannot replace the status socket {}", path.display()))?;
    }
    let listener =
        UnixListener::bind(path).with_context(|| format!("cannot make the status socket {}", path.display()))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .with_context(|| format!("cannot protect the status socket {}", path.display()))?;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ended.now().cancelled() => break,
        };
        match accepted {
            Ok((mut stream, _)) => {
                let text = serde_json::to_vec(&status.read())?;
                // Who went away does not need it any more.
                let _gone = tokio::time::timeout(PATIENCE, stream.write_all(&text)).await;
            }
            // Out of descriptors, most likely: a moment, not a busy loop.
            Err(_) => tokio::time::sleep(PATIENCE).await,
        }
    }
    drop(listener);
    // Gone already is as good.
    let _gone = std::fs::remove_file(path);
    Ok(())
}

/// Refuses: there is no Unix socket here.
///
/// # Errors
/// Always.
#[cfg(not(unix))]
pub async fn serve(_path: &Path, _status: Status, _ended: Stop) -> Result<()> {
    bail!("--status-socket is not available on this system")
}

/// Asks the daemon behind `path` for the state of its pipes.
///
/// # Errors
/// None answers within 5 s.
#[cfg(unix)]
pub fn ask(path: &Path) -> Result<Vec<PipeStatus>> {
    use anyhow::Context as _;
    use std::io::Read as _;
    use std::time::Duration;

    let mut text = String::new();
    std::os::unix::net::UnixStream::connect(path)
        .and_then(|mut stream| {
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.read_to_string(&mut text)
        })
        .with_context(|| {
            let path = path.display();
            format!("no mcp-pipe answers on {path}; does it run, with the same --status-socket?")
        })?;
    serde_json::from_str(&text)
        .with_context(|| format!("what answers on {} is no mcp-pipe of this version", path.display()))
}

/// Refuses: there is no Unix socket here.
///
/// # Errors
/// Always.
#[cfg(not(unix))]
pub fn ask(_path: &Path) -> Result<Vec<PipeStatus>> {
    bail!("health is not available on this system")
}

/// One line a pipe, for people.
pub fn describe(pipes: &[PipeStatus]) -> String {
    let line = |p: &PipeStatus| {
        let server = match &p.server {
            ServerState::Starting => "server starting".to_owned(),
            ServerState::Serving => "server ok".to_owned(),
            ServerState::Silent => {
                "server silent: it was called, and has said nothing for 5 minutes or more".to_owned()
            }
            ServerState::Refusing(why) => format!("server refuses to initialize: {why}"),
            ServerState::Down(why) => format!("server down: {why}"),
        };
        let link = match &p.link {
            LinkState::Resting => "not connected yet".to_owned(),
            LinkState::Connected => "connected".to_owned(),
            LinkState::Down(why) => format!("not connected: {why}"),
        };
        format!("{}: {server}, {link}\n", p.name)
    };
    pipes.iter().map(line).collect()
}
