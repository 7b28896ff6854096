//! A question to a running mcp-pipe, and its answer as it comes. Asked once; what is not answered is told.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::time::{sleep, timeout};

use super::protocol::{Failed, MAX_REPLY, Reply, Request};
use super::socket::{self, ALLOWED, Connected};
use crate::words::{size, span};

/// Longest wait for getting to ask, and for each line of an answer: a daemon that serves answers within a millisecond.
pub(super) const ANSWER: Duration = Duration::from_secs(5);
/// Pause before another attempt to get into the queue of a socket.
const AGAIN: Duration = Duration::from_millis(20);

/// An answer that is on its way.
pub(super) struct Answer {
    from: BufReader<Connected>,
    path: PathBuf,
    line: Vec<u8>,
}

/// Why there is no answer, or no more of it.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// Nobody listens there.
    Absent(String),
    /// The daemon says why not.
    Failed(Failed),
    /// For people.
    Because(String),
}

impl Answer {
    /// Connects and asks.
    pub(super) async fn to(request: &Request, path: &Path) -> Result<Answer, Unanswered> {
        let asking = async {
            let mut stream = connect(path).await.map_err(|error| absent(path, &error))?;
            let mut line = serde_json::to_vec(request).unwrap_or_default();
            line.push(b'\n');
            // One that sends us away does not read it, and what it says of that is there.
            let _unread = stream.write_all(&line).await;
            Ok(Answer { from: BufReader::new(stream), path: path.to_path_buf(), line: Vec::new() })
        };
        timeout(ANSWER, asking).await.unwrap_or_else(|_| Err(late(path)))
    }

    /// What follows the parts that were read, and where more can be said.
    pub(super) fn into_stream(self) -> BufReader<Connected> {
        self.from
    }

    /// The next part of the answer, within [`ANSWER`]; `None` at its end.
    pub(super) async fn next(&mut self) -> Result<Option<Reply>, Unanswered> {
        match timeout(ANSWER, self.next_in_time()).await {
            Ok(reply) => reply,
            Err(_) => Err(late(&self.path)),
        }
    }

    /// The same, within so much more time.
    pub(super) async fn next_within(&mut self, more: Duration) -> Result<Option<Reply>, Unanswered> {
        match timeout(ANSWER.saturating_add(more), self.next_in_time()).await {
            Ok(reply) => reply,
            Err(_) => Err(late(&self.path)),
        }
    }

    /// The same, whenever it comes.
    pub(super) async fn next_in_time(&mut self) -> Result<Option<Reply>, Unanswered> {
        let shown = self.path.display();
        self.line.clear();
        let read = (&mut self.from).take(MAX_REPLY as u64 + 1).read_until(b'\n', &mut self.line).await;
        if read.is_err() || (!self.line.ends_with(b"\n") && self.line.len() <= MAX_REPLY) {
            return Err(Unanswered::Because(format!("mcp-pipe has ended, or has broken off its answer on {shown}")));
        }
        if self.line.len() > MAX_REPLY {
            let most = size(MAX_REPLY as u64);
            return Err(Unanswered::Because(format!(
                "what answers on {shown} is no mcp-pipe: it sends more than {most}"
            )));
        }
        match serde_json::from_slice(&self.line) {
            Ok(Reply::Done {}) => Ok(None),
            Ok(Reply::Failed(failed)) => Err(Unanswered::Failed(failed)),
            Ok(reply) => Ok(Some(reply)),
            Err(_) => Err(Unanswered::Because(format!("what answers on {shown} is no mcp-pipe of this version"))),
        }
    }
}

/// Connects. Where others are asking just now, and there is no room in the queue, that is waited for.
pub(super) async fn connect(path: &Path) -> io::Result<Connected> {
    loop {
        match socket::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(AGAIN).await,
            connected => return connected,
        }
    }
}

fn absent(path: &Path, error: &io::Error) -> Unanswered {
    let shown = path.display();
    let kind = error.kind();
    if [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused].contains(&kind) {
        return Unanswered::Absent(format!("no mcp-pipe answers on {shown}"));
    }
    Unanswered::Because(if kind == io::ErrorKind::PermissionDenied {
        format!("{shown} may only be used by {ALLOWED} ({error})")
    } else {
        format!("{shown} can't be connected to: {error}")
    })
}

fn late(path: &Path) -> Unanswered {
    let (shown, time) = (path.display(), span(ANSWER));
    Unanswered::Because(format!("what listens on {shown} has not answered within {time}; it hangs, or is no mcp-pipe"))
}
