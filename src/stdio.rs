//! One conversation between standard input and output and a stream of lines, until either ends.
//!
//! # Theory of operation
//!
//! The stream leads to the servers, in this process or in another one. What comes on either side is passed on as it is, and looked at
//! on the way only for which requests have no answer yet (`owed`): should the stream end before them, they are answered here.
//!
//! Reading and writing standard streams blocks, so each has a thread. The end of the input ends the conversation once all is
//! answered; a client that takes no more output ends it at once.

mod owed;

use std::cell::RefCell;
use std::future::{pending, poll_fn};
use std::io::{self, Read as _, Write as _};
use std::thread::Builder;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, split};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use self::owed::Owed;
use crate::chunk::poll_chunk;
use crate::mcp::reply::{UNAVAILABLE, error};

/// Most pieces that wait between a thread and the conversation, and most bytes of one that is read.
const PIECES: usize = 4;
const PIECE: usize = 64 * 1024;
/// Longest time for the client to take what is left once the conversation is over.
const LAST: Duration = Duration::from_secs(5);

/// How a conversation has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The client has said all and got all, or takes no more.
    Client,
    /// The stream has ended before that, with so many requests unanswered.
    Stream(usize),
}

/// Carries the conversation of standard input and output.
///
/// # Errors
/// There is no thread for that.
pub(crate) async fn carry(stream: impl AsyncRead + AsyncWrite) -> io::Result<End> {
    let (to_say, heard) = mpsc::channel(PIECES);
    let (out, said) = mpsc::channel(PIECES);
    let ((done, written), (left, gone)) = (oneshot::channel(), oneshot::channel::<()>());
    let thread = |name: &str| Builder::new().name(format!("mcp-pipe-{name}"));
    thread("stdin").spawn(move || hear(&to_say))?;
    thread("stdout").spawn(move || {
        tell(said);
        let _nobody_waits = done.send(());
    })?;
    thread("client").spawn(move || {
        watch();
        drop(left);
    })?;
    let end = tokio::select! {
        end = converse(stream, heard, out) => end,
        _left = gone => End::Client,
    };
    // Nobody else writes any more, so the thread ends with what it has.
    let _late = timeout(LAST, written).await;
    Ok(end)
}

/// Passes messages on, both ways.
async fn converse(
    stream: impl AsyncRead + AsyncWrite,
    mut heard: mpsc::Receiver<Bytes>,
    out: mpsc::Sender<Bytes>,
) -> End {
    let owed = RefCell::new(Owed::default());
    let (mut from, mut to) = split(stream);
    let say = async {
        let mut last = b'\n';
        while let Some(piece) = heard.recv().await {
            owed.borrow_mut().hear(&piece);
            last = piece.last().copied().unwrap_or(last);
            if to.write_all(&piece).await.is_err() {
                return pending().await; // the other half tells
            }
        }
        if last != b'\n' {
            owed.borrow_mut().hear(b"\n");
            let _ended = to.write_all(b"\n").await;
        }
        owed.borrow_mut().end();
        let _ended = to.shutdown().await;
        pending::<()>().await;
    };
    let tell = async {
        // What has begun and not ended, of a message: a part of one is none.
        let mut part = Vec::new();
        loop {
            let mut whole = Vec::new();
            let mut take = |chunk: &[u8]| match memchr::memrchr(b'\n', chunk) {
                Some(end) => {
                    whole = std::mem::take(&mut part);
                    whole.extend_from_slice(&chunk[..=end]);
                    part.extend_from_slice(&chunk[end + 1..]);
                }
                None => part.extend_from_slice(chunk),
            };
            match poll_fn(|cx| poll_chunk(&mut from, cx, &mut take)).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return None,
            }
            owed.borrow_mut().tell(&whole);
            if !whole.is_empty() && out.send(whole.into()).await.is_err() {
                return Some(End::Client);
            }
        }
    };
    let ended = tokio::select! {
        ended = tell => ended,
        () = say => None,
    };
    let lost = owed.take();
    match ended {
        Some(end) => end,
        None if lost.is_settled() => End::Client,
        None => {
            let ids = lost.ids();
            for id in &ids {
                let mut answer = error(id, UNAVAILABLE, "mcp-pipe has ended the conversation before this was answered");
                answer.push(b'\n');
                if out.send(answer.into()).await.is_err() {
                    break;
                }
            }
            End::Stream(ids.len())
        }
    }
}

/// Reads standard input to its end.
fn hear(to: &mpsc::Sender<Bytes>) {
    let mut piece = vec![0; PIECE];
    loop {
        match io::stdin().read(&mut piece) {
            Ok(len @ 1..) if to.blocking_send(Bytes::copy_from_slice(&piece[..len])).is_ok() => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(_) | Err(_) => return,
        }
    }
}

/// Writes what comes to standard output, until nobody reads there.
fn tell(mut what: mpsc::Receiver<Bytes>) {
    let mut out = io::stdout().lock();
    while let Some(piece) = what.blocking_recv() {
        if out.write_all(&piece).and_then(|()| out.flush()).is_err() {
            return;
        }
    }
}

/// Returns once nobody can read standard output any more: a client that was killed waits for no answer.
#[cfg(unix)]
fn watch() {
    use rustix::event::{PollFd, PollFlags, poll};
    let out = io::stdout();
    loop {
        let mut fds = [PollFd::new(&out, PollFlags::empty())];
        match poll(&mut fds, None) {
            Ok(_) if fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL) => return,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            // Without that the client's end shows when something is written.
            Err(_) => std::thread::park(),
        }
    }
}

/// The end of the client shows when something is written.
#[cfg(not(unix))]
fn watch() {
    std::thread::park();
}
