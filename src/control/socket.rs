//! A Unix socket that is only for its owner from the moment that it is there.

use std::fs::{self, File};
use std::future::pending;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use tokio::io::Interest;
use tokio::net::{UnixListener, UnixStream};

/// Who may use a socket.
pub(super) const ALLOWED: &str = "the user of its mcp-pipe, and by root";

/// The daemon's side of a connection.
pub(super) type Accepted = UnixStream;
/// The client's side of a connection.
pub(super) type Connected = UnixStream;

/// A socket on which we listen. It is removed when this is dropped, if it is still ours.
#[derive(Debug)]
pub(super) struct Socket {
    listener: Option<UnixListener>,
    path: PathBuf,
    /// Device and inode: another one may have been put in its place.
    id: (u64, u64),
    folder: Option<File>,
}

/// A socket at `path`: it is made in a folder that nobody else gets into, and then given its name. `kind`: what it is called where it
/// can't be made.
///
/// # Errors
/// Another mcp-pipe uses it, something else is there, or the folder is not writable.
pub(super) async fn listen(path: &Path, kind: &str) -> Result<Socket> {
    let shown = path.display();
    if let Ok(found) = fs::symlink_metadata(path) {
        if !found.file_type().is_socket() {
            bail!("the {kind} socket {shown} would replace something that is no socket; name another path");
        }
        if is_answered(path).await {
            bail!("another mcp-pipe answers on the {kind} socket {shown}; give each its own");
        }
        // Left behind by one that was killed: replaced below.
    }
    let make = || {
        let private = private_beside(path)?;
        let inside = private.path().join("s");
        let listener = std::os::unix::net::UnixListener::bind(&inside)?;
        listener.set_nonblocking(true)?;
        fs::set_permissions(&inside, fs::Permissions::from_mode(0o600))?;
        let id = id(&inside)?;
        fs::rename(&inside, path)?;
        Ok::<_, io::Error>((UnixListener::from_std(listener)?, id))
    };
    let (listener, id) = make().with_context(|| format!("cannot make the {kind} socket {shown}"))?;
    Ok(Socket { listener: Some(listener), path: path.to_path_buf(), id, folder: None })
}

/// Whether somebody listens on a socket; also one who is too busy to answer at once.
pub(super) async fn is_answered(path: &Path) -> bool {
    match connect(path).await {
        Ok(_) => true,
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

/// Connects, if there is room just now.
///
/// # Errors
/// Nobody listens there; or too many others wait, which is [`io::ErrorKind::WouldBlock`].
pub(super) async fn connect(path: &Path) -> io::Result<UnixStream> {
    UnixStream::connect(path).await
}

/// Sees to it that whoever has connected may ask.
///
/// # Errors
/// What to note of whoever may not.
pub(super) fn admit(stream: &UnixStream) -> Result<(), String> {
    match stream.peer_cred() {
        Ok(peer) if may_ask(peer.uid(), rustix::process::geteuid().as_raw()) => Ok(()),
        Ok(peer) => Err(format!("user {} may not ask, and is sent away", peer.uid())),
        Err(error) => Err(format!("whoever connected is not known, and is sent away: {error}")),
    }
}

/// Whether a user may ask a daemon of another: they are the same, or it is root.
fn may_ask(who: u32, daemon: u32) -> bool {
    who == daemon || who == 0
}

/// Ready once the other side has closed both ways, of which reading tells nothing when it has said before that it says no more.
pub(super) fn end_of(stream: &UnixStream) -> impl Future<Output = ()> + use<> {
    // Watched by itself: whoever writes to the stream waits for the same events.
    let watched = stream.as_fd().try_clone_to_owned();
    async move {
        let watched = watched.and_then(|stream| UnixStream::from_std(stream.into()));
        let Ok(watched) = watched else { return pending().await };
        while let Ok(ready) = watched.ready(Interest::WRITABLE).await {
            if ready.is_write_closed() {
                return;
            }
            let wait = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
            let _until_the_next_event = watched.try_io(Interest::WRITABLE, wait);
        }
    }
}

/// A folder beside `path` that only its owner gets into; it goes when it is dropped.
fn private_beside(path: &Path) -> io::Result<tempfile::TempDir> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let owner_only = fs::Permissions::from_mode(0o700);
    if !parent.is_dir() {
        let what = format!("the folder {} does not exist; create it or name another path", parent.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, what));
    }
    // A short name: the whole path of a socket has about a hundred bytes (unix(7)).
    tempfile::Builder::new().prefix(".").rand_bytes(4).permissions(owner_only).tempdir_in(parent)
}

fn id(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

impl Socket {
    /// The same, which holds the folder that it is in, and a lock on that, as long as it is there.
    pub(super) fn kept_in(mut self, folder: File) -> Self {
        self.folder = Some(folder);
        self
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for somebody to connect.
    ///
    /// # Errors
    /// The system has no room for a connection.
    pub(super) async fn accept(&mut self) -> io::Result<UnixStream> {
        match &self.listener {
            Some(listener) => listener.accept().await.map(|(stream, _)| stream),
            None => std::future::pending().await,
        }
    }

    /// What listens, and nothing is removed: as where a daemon is killed.
    #[cfg(test)]
    pub(super) fn into_listener(mut self) -> Option<UnixListener> {
        self.listener.take()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.listener.take().is_some() && id(&self.path).is_ok_and(|id| id == self.id) {
            // Gone already is as good.
            let _gone = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::os::unix::net::UnixListener as StdListener;

    use tempfile::TempDir;

    use super::*;

    fn place() -> (TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("status.sock");
        (dir, path)
    }

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn the_same_user_and_root_may_ask() {
        assert!(may_ask(7, 7) && may_ask(0, 7));
        assert!(!may_ask(8, 7) && !may_ask(7, 0));
    }

    #[tokio::test]
    async fn the_socket_is_for_its_owner_only_wherever_it_has_been_made() {
        let (dir, path) = place();
        assert_eq!(mode(private_beside(&path).unwrap().path()), 0o700);
        for round in 0..2 {
            // The second time in the place of one that was left behind.
            let socket = listen(&path, "status").await.unwrap();
            assert_eq!(mode(&path), 0o600, "{round}");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
            drop(socket.into_listener());
        }
    }

    #[tokio::test]
    async fn it_is_removed_at_the_end_unless_another_has_taken_its_place() {
        let (_dir, path) = place();
        drop(listen(&path, "status").await.unwrap());
        assert!(!path.exists());
        let socket = listen(&path, "status").await.unwrap();
        fs::remove_file(&path).unwrap();
        let _other = StdListener::bind(&path).unwrap();
        drop(socket);
        assert!(path.exists());
    }

    #[tokio::test]
    async fn what_is_no_socket_or_is_another_ones_is_not_replaced() {
        let (_dir, path) = place();
        let why = |listened: Result<Socket>| format!("{:#}", listened.unwrap_err());
        fs::write(&path, "mine").unwrap();
        assert!(why(listen(&path, "status").await).contains("no socket"));
        let nowhere = path.with_file_name("gone").join("s");
        let folder = nowhere.parent().unwrap().display().to_string();
        let want = format!("the folder {folder} does not exist; create it or name another path");
        assert!(why(listen(&nowhere, "status").await).ends_with(&want));
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        fs::remove_file(&path).unwrap();
        let other = StdListener::bind(&path).unwrap();
        assert!(why(listen(&path, "status").await).contains("another mcp-pipe answers"));
        // Nor where nobody has taken the connections of others yet.
        rustix::net::listen(&other, 0).unwrap();
        let _queue: Vec<_> = std::iter::repeat_with(|| connect_at_once(&path)).take_while(Option::is_some).collect();
        assert!(why(listen(&path, "status").await).contains("another mcp-pipe answers"));
    }

    /// A connection, if there is room for one.
    fn connect_at_once(path: &Path) -> Option<UnixStream> {
        use futures_util::FutureExt as _;
        UnixStream::connect(path).now_or_never().and_then(Result::ok)
    }
}
