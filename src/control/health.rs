//! The status socket, with its file mode, and the question asked there (`mcp-pipe health`).
//!
//! A Unix socket, for its owner only: whoever connects is sent the state of all servers as JSON, and the connection is closed.
//! The answer comes from the loop that does the work, so a daemon that hangs does not answer.
//! On Windows there is no such socket.

use std::path::Path;

use anyhow::{Result, bail};

use crate::control::status::{LinkState, PipeStatus, ServerState, Status};
#[cfg(unix)]
use crate::process::limits;
use crate::process::stop::Stop;
use crate::secrecy::{Redactor, plain};
#[cfg(unix)]
use crate::words::{size, span};

/// Serves the state of all servers on a socket at `path` until `ended`, and removes the socket.
///
/// # Errors
/// The socket can't be made: another mcp-pipe uses it, or the folder is not writable.
#[cfg(unix)]
pub(crate) async fn serve(path: &Path, status: Status, ended: Stop) -> Result<()> {
    use std::time::Duration;
    use tokio::io::AsyncWriteExt as _;

    /// Longest wait for whoever asks to read the answer: a status has a few hundred bytes for each server.
    const PATIENCE: Duration = Duration::from_secs(1);

    let listener = listen(path).await?;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ended.now().cancelled() => break,
        };
        match accepted {
            Ok((mut stream, _)) => {
                let text = serde_json::to_vec(&status.read())?;
                // Whoever went away needs no answer.
                let _gone = tokio::time::timeout(PATIENCE, stream.write_all(&text)).await;
            }
            // Most likely there are no descriptors left: a pause keeps this from being a busy loop.
            Err(_) => tokio::time::sleep(PATIENCE).await,
        }
    }
    drop(listener);
    // A socket that somebody has removed already is as good.
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

/// A socket at `path`, for its owner only from its first moment on: it is made in a folder that nobody else
/// gets into, and then moved to `path`.
#[cfg(unix)]
async fn listen(path: &Path) -> Result<tokio::net::UnixListener> {
    use anyhow::Context as _;
    use std::fs;
    use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};

    if let Ok(found) = fs::symlink_metadata(path) {
        if !found.file_type().is_socket() {
            bail!("the status socket {} would replace something that is no socket; name another path", path.display());
        }
        if is_answered(path).await {
            bail!("another mcp-pipe answers on the status socket {}; give each its own", path.display());
        }
        // A socket that nobody answers on was left behind by a killed mcp-pipe: it is replaced below.
    }
    let make = || {
        let private = private_beside(path)?;
        let inside = private.path().join("s");
        let listener = std::os::unix::net::UnixListener::bind(&inside)?;
        listener.set_nonblocking(true)?;
        fs::set_permissions(&inside, fs::Permissions::from_mode(0o600))?;
        fs::rename(&inside, path)?;
        tokio::net::UnixListener::from_std(listener)
    };
    make().with_context(|| format!("cannot make the status socket {}", path.display()))
}

/// A folder beside `path` that only its owner gets into; removed when dropped.
#[cfg(unix)]
fn private_beside(path: &Path) -> std::io::Result<tempfile::TempDir> {
    use std::os::unix::fs::PermissionsExt as _;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let owner_only = std::fs::Permissions::from_mode(0o700);
    if !parent.is_dir() {
        let what = format!("the folder {} does not exist; create it or name another path", parent.display());
        return Err(std::io::Error::new(std::io::ErrorKind::NotFound, what));
    }
    // The name is short: the path of a socket has room for about a hundred bytes (unix(7)).
    tempfile::Builder::new().prefix(".").rand_bytes(4).permissions(owner_only).tempdir_in(parent)
}

/// Whether somebody listens on a socket, perhaps too busy to answer at once.
#[cfg(unix)]
async fn is_answered(path: &Path) -> bool {
    match tokio::net::UnixStream::connect(path).await {
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
    }
}

/// Longest wait for the state of the servers, connecting included.
#[cfg(unix)]
const ANSWER: std::time::Duration = std::time::Duration::from_secs(5);
/// Largest state that is read, in bytes: that of ten thousand servers is smaller.
#[cfg(unix)]
const MAX_ANSWER: u64 = 8 << 20;

/// Asks the daemon behind `path` for the state of its servers.
///
/// # Errors
/// No daemon answers in time, or something else than a daemon does.
#[cfg(unix)]
pub(crate) fn ask(path: &Path) -> Result<Vec<PipeStatus>> {
    ask_within(ANSWER, path)
}

#[cfg(unix)]
fn ask_within(patience: std::time::Duration, path: &Path) -> Result<Vec<PipeStatus>> {
    use anyhow::Context as _;
    use std::io;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::UnixStream;

    let shown = path.display();
    let asking = async {
        let mut text = Vec::new();
        let stream = loop {
            match UnixStream::connect(path).await {
                // Others are asking just now: the socket's queue has no room.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(AGAIN).await,
                connected => break connected?,
            }
        };
        stream.take(MAX_ANSWER + 1).read_to_end(&mut text).await?;
        Ok::<_, io::Error>(text)
    };
    let answer = limits::runtime()
        .map_err(|error| anyhow::Error::msg(limits::told(&error)).context("nothing can be asked"))?
        .block_on(async { tokio::time::timeout(patience, asking).await });
    let none = || format!("no mcp-pipe answers on {shown}; does it run, with the same --status-socket?");
    let text = match answer {
        Ok(text) => text.map_err(|error| anyhow::Error::msg(limits::in_words(&error))).with_context(none)?,
        Err(_) => {
            bail!("what listens on {shown} has not answered within {}; it hangs, or is no mcp-pipe", span(patience))
        }
    };
    if text.len() as u64 > MAX_ANSWER {
        bail!("what answers on {shown} is no mcp-pipe: it sends more than {}", size(MAX_ANSWER));
    }
    serde_json::from_slice(&text).with_context(|| format!("what answers on {shown} is no mcp-pipe of this version"))
}

/// Pause between two attempts to get into the queue of a socket.
#[cfg(unix)]
const AGAIN: std::time::Duration = std::time::Duration::from_millis(20);

/// Refuses: there is no Unix socket here.
///
/// # Errors
/// Always.
#[cfg(not(unix))]
pub fn ask(_path: &Path) -> Result<Vec<PipeStatus>> {
    bail!("health is not available on this system")
}

/// One line for each server, for people, without secrets and without anything that steers a terminal: anybody may have answered
/// on the socket.
pub(crate) fn describe(pipes: &[PipeStatus], redactor: &Redactor) -> String {
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
        let line = format!("{}: {server}, {link}", p.name);
        format!("{}\n", plain::line(&redactor.clean_all(&line)))
    };
    pipes.iter().map(line).collect()
}

#[cfg(all(test, unix))]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::path::PathBuf;
    use std::time::{Duration, Instant};

    use tempfile::TempDir;

    use super::*;
    use crate::secrecy::Secret;
    use crate::secrecy::plain::tests::is_plain;

    const SHORT: Duration = Duration::from_millis(100);
    const LONG: Duration = Duration::from_secs(60);

    fn place() -> (TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("status.sock");
        (dir, path)
    }

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn the_socket_is_for_its_owner_only_wherever_it_has_been_made() {
        let (dir, path) = place();
        assert_eq!(mode(private_beside(&path).unwrap().path()), 0o700);
        for round in 0..2 {
            // The second time in the place of the socket that was left behind.
            let listener = listen(&path).await.unwrap();
            assert_eq!(mode(&path), 0o600, "{round}");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
            drop(listener);
        }
    }

    #[tokio::test]
    async fn what_is_no_socket_or_is_another_ones_is_not_replaced() {
        let (_dir, path) = place();
        let why = |listened: Result<tokio::net::UnixListener>| format!("{:#}", listened.unwrap_err());
        fs::write(&path, "mine").unwrap();
        assert!(why(listen(&path).await).contains("no socket"));
        let nowhere = path.with_file_name("gone").join("s");
        let folder = nowhere.parent().unwrap().display().to_string();
        let want = format!("the folder {folder} does not exist; create it or name another path");
        assert!(why(listen(&nowhere).await).ends_with(&want));
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        fs::remove_file(&path).unwrap();
        let other = UnixListener::bind(&path).unwrap();
        assert!(why(listen(&path).await).contains("another mcp-pipe answers"));
        // Nor where the connections of others still wait in the queue.
        shorten_queue(&other);
        let _queue: Vec<_> = std::iter::repeat_with(|| connect_at_once(&path)).take_while(Option::is_some).collect();
        assert!(why(listen(&path).await).contains("another mcp-pipe answers"));
    }

    /// Lets one connection wait, no more.
    fn shorten_queue(listener: &UnixListener) {
        rustix::net::listen(listener, 0).unwrap();
    }

    /// A connection, if there is room for one.
    fn connect_at_once(path: &Path) -> Option<tokio::net::UnixStream> {
        use futures_util::FutureExt as _;
        tokio::net::UnixStream::connect(path).now_or_never().and_then(Result::ok)
    }

    /// Has `answer` serve all connections on `path`, and asks there.
    fn asked(patience: Duration, path: &Path, answer: impl Fn(UnixStream) + Send + 'static) -> String {
        let listener = UnixListener::bind(path).unwrap();
        std::thread::spawn(move || listener.incoming().map_while(Result::ok).for_each(answer));
        format!("{:#}", ask_within(patience, path).unwrap_err())
    }

    #[test]
    fn one_who_drips_or_says_nothing_is_not_waited_for_for_ever() {
        let begun = Instant::now();
        let (_dir, path) = place();
        let said = asked(SHORT, &path, |mut stream| {
            while stream.write_all(b" ").is_ok() {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        assert!(said.contains("has not answered within 0.1 s"), "{said}");
        let (_dir, path) = place();
        let said = asked(SHORT, &path, |stream| {
            std::thread::sleep(LONG);
            drop(stream);
        });
        assert!(said.contains("has not answered within 0.1 s"), "{said}");
        let (_dir, path) = place();
        let listener = UnixListener::bind(&path).unwrap();
        shorten_queue(&listener);
        let _queued = UnixStream::connect(&path).unwrap();
        let full = format!("{:#}", ask_within(SHORT, &path).unwrap_err());
        assert!(full.contains("has not answered within 0.1 s"), "{full}");
        assert!(begun.elapsed() < LONG / 2);
    }

    #[test]
    fn one_who_does_not_stop_is_not_read_for_ever() {
        let (_dir, path) = place();
        let said = asked(LONG, &path, |mut stream| while stream.write_all(&[b' '; 65536]).is_ok() {});
        assert!(said.contains("sends more than 8 MiB"), "{said}");
        let (_dir, path) = place();
        let said = asked(LONG, &path, |mut stream| stream.write_all(b"HTTP/1.1 400").unwrap());
        assert!(said.contains("no mcp-pipe of this version"), "{said}");
        assert!(format!("{:#}", ask(&path.join("x")).unwrap_err()).contains("does it run"));
        let unasked = format!("{:#}", ask(&path.with_file_name("gone")).unwrap_err());
        assert!(unasked.ends_with("with the same --status-socket?: it does not exist"), "{unasked}");
    }

    #[test]
    fn what_is_said_of_pipes_steers_no_terminal_and_holds_no_secret() {
        let redactor: Redactor = [Secret::new("s3cret")].into_iter().collect();
        let pipe = PipeStatus {
            name: "a\u{1b}[2J\nb".into(),
            server: ServerState::Down("s3cret\u{9b}".into()),
            link: LinkState::Down("closed \"\u{202e}\" by wss://h/?token=other".into()),
            ..PipeStatus::default()
        };
        let text = describe(&[pipe.clone(), pipe], &redactor);
        assert!(is_plain(&text) && text.lines().count() == 2, "{text:?}");
        assert!(!text.contains("s3cret") && !text.contains("other"), "{text}");
    }
}
