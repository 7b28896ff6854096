//! A named pipe that is only for its owner from the moment that it is there, and that no other machine reaches.
//!
//! Windows keeps out who may not use it (`name::security`), so nobody has to be sent away. The other side is what a client has to look at: anybody
//! may make a pipe of any name, and whoever opens it sees whom it belongs to before a word is said. What answers can learn who asks, and
//! not act in that one's place: that is how tokio opens pipes (SECURITY_IDENTIFICATION).

use std::future::ready;
use std::io;
use std::mem::replace;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::net::windows::named_pipe::{ClientOptions, NamedPipeClient, NamedPipeServer, ServerOptions};
use tokio::time::sleep;
use windows_sys::Win32::Foundation::{ERROR_NO_DATA, ERROR_PIPE_BUSY};

use super::{name, owner};

/// Pause after a client that has only looked whether anybody listens, and is gone again: a flood of those costs no more than one of others.
const GONE: Duration = Duration::from_millis(10);

/// Who may use a socket, besides the system.
pub(in crate::control) const ALLOWED: &str = "the user of its mcp-pipe";

/// The daemon's side of a connection.
pub(in crate::control) type Accepted = NamedPipeServer;
/// The client's side of a connection.
pub(in crate::control) type Connected = NamedPipeClient;

/// A pipe on which we listen. It is gone when this is dropped, and all connections.
#[derive(Debug)]
pub(in crate::control) struct Socket {
    /// The end for whoever connects next.
    waiting: NamedPipeServer,
    path: PathBuf,
    /// Who may use it.
    security: String,
}

/// A pipe of the name `path`. `kind`: what it is called where it can't be made.
///
/// # Errors
/// It is no name of a pipe, or another one has it.
pub(in crate::control) async fn listen(path: &Path, kind: &str) -> Result<Socket> {
    let shown = path.display();
    name::check(path).with_context(|| format!("cannot make the {kind} socket {shown}"))?;
    if is_answered(path).await {
        bail!("another mcp-pipe answers on the {kind} socket {shown}; give each its own");
    }
    match Socket::make(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            bail!("the {kind} socket {shown} has the name of somebody else's pipe; name another");
        }
        made => made.with_context(|| format!("cannot make the {kind} socket {shown}")),
    }
}

/// Ready once the other side has closed: nobody can say there that nothing more comes, and read on.
pub(in crate::control) fn end_of(_: &NamedPipeServer) -> impl Future<Output = ()> + use<> {
    ready(())
}

/// Whether somebody of this user listens on a pipe; also one who is too busy to answer at once.
pub(super) async fn is_answered(path: &Path) -> bool {
    match connect(path).await {
        Ok(_) => true,
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

/// Connects, if there is room just now, and if the pipe is this user's.
///
/// # Errors
/// Nobody listens there; all its ends are taken, which is [`io::ErrorKind::WouldBlock`]; or somebody else made it.
pub(in crate::control) async fn connect(path: &Path) -> io::Result<NamedPipeClient> {
    name::check(path)?;
    let pipe = match ClientOptions::new().open(path) {
        Err(error) if is(&error, ERROR_PIPE_BUSY) => return Err(io::ErrorKind::WouldBlock.into()),
        opened => opened?,
    };
    if owner::of(&pipe)? != owner::user()? {
        let what = "it belongs to another user, who could answer in its place";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
    }
    Ok(pipe)
}

/// Everybody who gets in may ask: the system has seen to that.
pub(in crate::control) fn admit(_stream: &NamedPipeServer) -> Result<(), String> {
    Ok(())
}

fn is(error: &io::Error, code: u32) -> bool {
    error.raw_os_error() == Some(code.cast_signed())
}

impl Socket {
    /// A pipe of this name, which no other one has.
    ///
    /// # Errors
    /// [`io::ErrorKind::PermissionDenied`] where one has it.
    pub(super) fn make(path: &Path) -> io::Result<Socket> {
        let user = owner::user()?;
        let security = name::security(&user);
        let waiting = end(path, &security, true)?;
        // The system answers for that; Wine 8 does not, and gives us an end of another one's pipe, which lets in whom that one wants.
        if owner::of(&waiting)? != user {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(Socket { waiting, path: path.to_path_buf(), security })
    }

    /// What it is called.
    pub(in crate::control) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for somebody to connect.
    ///
    /// # Errors
    /// The system has no room for a connection.
    pub(in crate::control) async fn accept(&mut self) -> io::Result<NamedPipeServer> {
        loop {
            let is_gone = match self.waiting.connect().await {
                Ok(()) => false,
                Err(error) if is(&error, ERROR_NO_DATA) => true,
                Err(error) => return Err(error),
            };
            // Another end first: where there is none, clients are told that there is no pipe. If it can't be made, this one is kept, and is found
            // connected the next time.
            let next = end(&self.path, &self.security, false)?;
            let taken = replace(&mut self.waiting, next);
            if !is_gone {
                return Ok(taken);
            }
            sleep(GONE).await;
        }
    }
}

/// An end of a pipe for one client, of this machine. `is_first`: the first of its name, or none.
#[expect(unsafe_code, reason = "tokio takes who may use a pipe as a pointer")]
fn end(path: &Path, security: &str, is_first: bool) -> io::Result<NamedPipeServer> {
    let mut options = ServerOptions::new();
    options.first_pipe_instance(is_first).reject_remote_clients(true);
    owner::with(security, |attributes| {
        // SAFETY: it points to `SECURITY_ATTRIBUTES`, which are there until this returns.
        unsafe { options.create_with_security_attributes_raw(path, attributes) }
    })
}
