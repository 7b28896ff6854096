//! The status socket, and the question asked there (`mcp-pipe health`).
//!
//! A Unix socket (on Windows a named pipe), for its owner only: whoever connects is sent the state of all servers as JSON, and the
//! connection is closed. The answer comes from the loop that does the work, so a daemon that hangs does not answer.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use crate::control::status::{LinkState, LinkStatus, Overview, SILENT, ServerState, ServerStatus, Status, TurnState};
use crate::control::wording::HELD_BACK;
use crate::control::{Opening, socket};
use crate::process::limits;
use crate::process::stop::Stop;
use crate::secrecy::{Redactor, plain};
use crate::server::wanted::Wanted;
use crate::words::{size, span};

/// The state of a server and of one of its links, as this socket tells it: a form that was there before links had a state of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PipeStatus {
    /// The server's name.
    pub name: String,
    /// What the server is doing.
    pub server: ServerState,
    /// What its connection is doing.
    pub link: LinkState,
    /// The place, in the list of all, of the first server that shares this connection; the server's own place if it is alone.
    pub line: usize,
    /// How many tools the endpoint was shown on this connection; `None` if the endpoint has not read all of them.
    pub tools: Option<usize>,
    /// Whether the endpoint has said nothing yet on a connection that stands.
    #[serde(default)]
    pub unasked: bool,
    /// The server's turn; `None` if its servers take no turns.
    #[serde(default)]
    pub turn: Option<TurnState>,
    /// What a person wants of the server.
    #[serde(default)]
    pub wanted: Wanted,
    /// Whether it is not started at all, as another mcp-pipe serves its agent.
    #[serde(default)]
    pub held_back: bool,
    /// Where the server is served, without what is secret.
    #[serde(default)]
    pub endpoint: String,
}

impl PipeStatus {
    /// Whether a call would get through.
    pub(crate) fn is_healthy(&self) -> bool {
        self.server == ServerState::Serving && self.link == LinkState::Connected
    }

    /// Whether all is as it is wanted: a call would get through, or somebody has said that it shall not.
    pub(crate) fn is_well(&self) -> bool {
        match self.wanted {
            // One in standby has nothing to do.
            Wanted::Running | Wanted::Paused if matches!(self.link, LinkState::Standby(_)) => {
                self.held_back || self.server == ServerState::Serving
            }
            Wanted::Running | Wanted::Paused => self.is_healthy(),
            Wanted::Stopped => self.server == ServerState::Stopped,
        }
    }

    /// Whoever comes to the gateway reaches the server, whether or not it has a link.
    fn of(server: &ServerStatus, link: Option<&LinkStatus>, line: usize, all: &Overview) -> Self {
        let (by_gateway, held_back) = (all.gateway.is_some(), all.is_held_back(server));
        let ServerStatus { key, name, state, wanted, .. } = server;
        let (name, server, wanted) = (name.clone(), state.clone(), *wanted);
        let Some(link) = link else {
            let link = if by_gateway { LinkState::Connected } else { LinkState::default() };
            return PipeStatus { name, server, link, line, wanted, held_back, ..PipeStatus::default() };
        };
        let turn = link.shown(*key).and_then(|shown| shown.turn);
        let LinkStatus { state, endpoint, tools, unasked, .. } = link.clone();
        PipeStatus { name, server, link: state, line, tools, unasked, turn, wanted, held_back, endpoint }
    }
}

/// Each server with each of its links, in the order of the servers. One that has no link yet is there all the same.
pub(crate) fn pipes(all: &Overview) -> Vec<PipeStatus> {
    let mut pipes = Vec::new();
    let mut lines = HashMap::new();
    for server in &all.servers {
        for link in all.links_of(server.key) {
            let line = *lines.entry(link.key).or_insert(pipes.len());
            pipes.push(PipeStatus::of(server, Some(link), line, all));
        }
        if all.links_of(server.key).next().is_none() {
            pipes.push(PipeStatus::of(server, None, pipes.len(), all));
        }
    }
    pipes
}

/// Serves the state of all servers on a socket at `path` until `ended`, and removes the socket. `opening`: is held until it is listened on.
///
/// # Errors
/// The socket can't be made: another mcp-pipe uses it, or the folder is not writable.
pub(crate) async fn serve(path: &Path, status: Status, ended: Stop, opening: Opening) -> Result<()> {
    use std::time::Duration;
    use tokio::io::AsyncWriteExt as _;

    /// Longest wait for whoever asks to read the answer: a status has a few hundred bytes for each server.
    const PATIENCE: Duration = Duration::from_secs(1);

    let mut socket = socket::listen(path, "status").await?;
    drop(opening);
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = ended.now().cancelled() => return Ok(()),
        };
        match accepted {
            Ok(mut stream) => {
                let text = serde_json::to_vec(&pipes(&status.read()))?;
                // Whoever went away needs no answer.
                let _gone = tokio::time::timeout(PATIENCE, stream.write_all(&text)).await;
            }
            // Most likely there are no descriptors left: a pause keeps this from being a busy loop.
            Err(_) => tokio::time::sleep(PATIENCE).await,
        }
    }
}

/// Longest wait for the state of the servers, connecting included.
const ANSWER: std::time::Duration = std::time::Duration::from_secs(5);
/// Largest state that is read, in bytes: that of ten thousand servers is smaller.
const MAX_ANSWER: u64 = 8 << 20;

/// Asks the daemon behind `path` for the state of its servers.
///
/// # Errors
/// No daemon answers in time, or something else than a daemon does.
pub(crate) fn ask(path: &Path) -> Result<Vec<PipeStatus>> {
    ask_within(ANSWER, path)
}

fn ask_within(patience: std::time::Duration, path: &Path) -> Result<Vec<PipeStatus>> {
    use anyhow::Context as _;
    use std::io;
    use tokio::io::AsyncReadExt as _;

    let shown = path.display();
    let asking = async {
        let mut text = Vec::new();
        let stream = loop {
            match socket::connect(path).await {
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
const AGAIN: std::time::Duration = std::time::Duration::from_millis(20);

/// One line for each server, for people, without secrets and without anything that steers a terminal: anybody may have answered
/// on the socket.
pub(crate) fn describe(pipes: &[PipeStatus], redactor: &Redactor) -> String {
    let line = |p: &PipeStatus| {
        let server = match &p.server {
            ServerState::Starting if p.held_back && matches!(p.link, LinkState::Standby(_)) => {
                "server not started".to_owned()
            }
            ServerState::Starting if p.held_back => format!("server {HELD_BACK}"),
            ServerState::Starting => "server starting".to_owned(),
            ServerState::Serving => "server ok".to_owned(),
            ServerState::Silent => {
                format!("server silent: {SILENT}")
            }
            ServerState::Refusing(why) => format!("server {why}"),
            ServerState::Down(why) => format!("server down: {why}"),
            ServerState::Stopped => "server stopped by command".to_owned(),
        };
        let link = match &p.link {
            LinkState::Resting => "not connected yet".to_owned(),
            LinkState::Connected => "connected".to_owned(),
            LinkState::Down(why) => format!("not connected: {why}"),
            LinkState::Standby(why) => format!("standby: {why}"),
        };
        let paused = if p.wanted == Wanted::Paused { "paused, " } else { "" };
        let line = format!("{}: {paused}{server}, {link}", p.name);
        format!("{}\n", plain::line(&redactor.clean_all(&line)))
    };
    pipes.iter().map(line).collect()
}

#[cfg(all(test, unix))]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::io::Write as _;
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

    /// Lets one connection wait, no more.
    fn shorten_queue(listener: &UnixListener) {
        rustix::net::listen(listener, 0).unwrap();
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
    fn a_server_is_told_with_each_of_its_links_and_those_that_share_one_say_with_whom() {
        use crate::control::status::tests::link;
        let status = Status::default();
        let [a, b, c] = ["a", "b", "c"].map(|name| status.add_server(name));
        let (one, other) = (link(&status, &[&b]), link(&status, &[&a, &b]));
        one.state(LinkState::Connected);
        other.turn(b.key(), TurnState { current: true, pinned: false });
        let told = |pipe: PipeStatus| (pipe.name, pipe.line, pipe.link == LinkState::Connected, pipe.turn.is_some());
        let told: Vec<_> = pipes(&status.read()).into_iter().map(told).collect();
        let row = |name: &str, line, connected, turn| (name.to_owned(), line, connected, turn);
        assert_eq!(
            told,
            [row("a", 0, false, false), row("b", 1, true, false), row("b", 0, false, true), row("c", 3, false, false)]
        );
        drop((a, c));
    }

    #[test]
    fn a_server_that_is_not_started_as_its_agent_is_taken_is_not_said_to_start() {
        use crate::control::journal::LinkNews;
        use crate::control::status::tests::link;
        let status = Status::default();
        let a = status.add_server("a");
        let link = link(&status, &[&a]);
        let told = || describe(&pipes(&status.read()), &Redactor::default());
        assert!(told().starts_with("a: server starting, "), "{}", told());
        link.write(&crate::logging::Names::from_iter([]), LinkNews::Taken);
        assert!(told().starts_with(&format!("a: server {HELD_BACK}, not connected: ")), "{}", told());
        link.write(&crate::logging::Names::from_iter([]), LinkNews::Standby("nobody has it"));
        assert!(told().starts_with("a: server not started, standby: nobody has it"), "{}", told());
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
