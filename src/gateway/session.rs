//! One legacy conversation of a client over HTTP: a guest of the pipe, whose messages come by POST and go out in streams.

pub(super) mod board;

use std::future::poll_fn;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_channel::mpsc;
use futures_util::StreamExt;
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::board::{Board, Event, Next, StreamId};
use crate::chunk::poll_chunk;
use crate::control::status::CountedClient;
use crate::frame::{Line, LineIn};
use crate::mcp::{envelope, object};
use crate::passage::Passage;

/// Most messages of a client that wait for the pipe to take them: a client that goes on sending waits then.
const UNSENT: usize = 16;

/// The first version in which streams can be resumed by their numbers from the first event on.
const RESUMES: &str = "2025-11-25";
/// Longest name and version of a client that are shown, in characters each.
const MAX_SHOWN: usize = 40;

/// Whether a client of this version can have a stream go on.
pub(super) fn resumes(version: &str) -> bool {
    version >= RESUMES
}

/// What a client says of itself, for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Client {
    pub(super) name: Box<str>,
    pub(super) version: Box<str>,
}

impl Client {
    /// By the parameters of its `initialize`.
    pub(super) fn of(params: &str) -> Self {
        let text = |name: &str| {
            let written = object::find(params, &["clientInfo", name])?;
            let text: String = serde_json::from_str(written).ok()?;
            Some(text.chars().take(MAX_SHOWN).collect())
        };
        Client { name: text("name").unwrap_or_default(), version: text("version").unwrap_or_default() }
    }
}

/// See the module's documentation. Its conversation ends with it.
#[derive(Debug)]
pub(super) struct Session {
    board: Arc<Mutex<Board>>,
    /// Of a kind that takes no memory while nothing is sent, as most sessions are idle; one for all, as each has a place in the queue.
    to: tokio::sync::Mutex<mpsc::Sender<Bytes>>,
    task: JoinHandle<()>,
    /// Cancelled when the pipe has ended the conversation.
    over: CancellationToken,
    /// When the client was last heard.
    heard: Mutex<Instant>,
    client: OnceLock<Client>,
    _counted: CountedClient,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.end();
    }
}

impl Session {
    /// A conversation over these lines.
    pub(super) fn over(lines: Passage, counted: CountedClient) -> Self {
        let (board, (to, unsent)) = (Arc::<Mutex<Board>>::default(), mpsc::channel(UNSENT));
        let over = CancellationToken::new();
        let task = tokio::spawn(carry(lines, unsent, board.clone(), over.clone()));
        let (heard, client) = (Mutex::new(Instant::now()), OnceLock::new());
        let to = tokio::sync::Mutex::new(to);
        Session { board, to, task, over, heard, client, _counted: counted }
    }

    /// Notes who the client is. What it says first counts.
    pub(super) fn meet(&self, client: Client) {
        let _known = self.client.set(client);
    }

    /// Who the client is, once it has said so.
    pub(super) fn client(&self) -> Option<&Client> {
        self.client.get()
    }

    /// What has come, and where it goes.
    pub(super) fn board(&self) -> MutexGuard<'_, Board> {
        // Nothing panics while it is held.
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says something for the client: a message on one line. Returns whether the conversation goes on.
    pub(super) async fn say(&self, message: Bytes) -> bool {
        self.hear();
        let mut to = self.to.lock().await;
        // There is room before it is queued: a client that goes away leaves nothing.
        poll_fn(|cx| to.poll_ready(cx)).await.is_ok() && to.start_send(message).is_ok()
    }

    /// The client is there.
    pub(super) fn hear(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// When the client was last heard.
    pub(super) fn heard(&self) -> Instant {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the conversation, and with it what is under way.
    pub(super) fn end(&self) {
        self.task.abort();
        self.board().end();
    }

    /// Whether the pipe has ended the conversation.
    pub(super) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }
}

/// Who reads a stream of a session. The session is there as long as somebody reads; with this the reader leaves.
#[derive(Debug)]
pub(super) struct Reading {
    session: Arc<Session>,
    stream: StreamId,
}

impl Reading {
    pub(super) fn of(session: &Arc<Session>, stream: StreamId) -> Self {
        Reading { session: session.clone(), stream }
    }

    pub(super) fn stream(&self) -> StreamId {
        self.stream
    }

    /// What comes next; `None`: nothing more.
    pub(super) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        match self.session.board().next(self.stream, cx.waker()) {
            Next::Wait => Poll::Pending,
            Next::Event(event) => Poll::Ready(Some(event)),
            Next::End => Poll::Ready(None),
        }
    }

    /// Comes to its end as soon as there is a message, or it is clear that none will come.
    pub(super) async fn begins(&self) {
        poll_fn(|cx| match self.session.board().has_begun(self.stream, cx.waker()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await
    }

    /// The next message; `None`: there is none any more.
    pub(super) async fn message(&self) -> Option<Bytes> {
        loop {
            let (_, message) = poll_fn(|cx| self.poll_next(cx)).await?;
            if message.is_some() {
                return message;
            }
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.session.board().leave(self.stream, Instant::now());
    }
}

/// Carries messages between the pipe and a session, until either ends.
async fn carry(lines: Passage, unsent: mpsc::Receiver<Bytes>, board: Arc<Mutex<Board>>, over: CancellationToken) {
    let (from, to) = split(lines);
    let (out, into) = (pin!(write(to, unsent)), pin!(read(from, &board)));
    tokio::select! {
        () = out => {}
        () = into => {}
    }
    board.lock().unwrap_or_else(PoisonError::into_inner).end();
    over.cancel();
}

async fn write(mut to: WriteHalf<Passage>, mut unsent: mpsc::Receiver<Bytes>) {
    while let Some(message) = unsent.next().await {
        if to.write_all(&message).await.is_err() || to.write_all(b"\n").await.is_err() {
            return;
        }
    }
}

async fn read(mut from: ReadHalf<Passage>, board: &Mutex<Board>) {
    // What the pipe hands on is bounded there.
    let mut lines = LineIn::new(usize::MAX / 2, |_| true);
    loop {
        let mut take = |line: Line<'_>| {
            if let Line::Frame(text) = line
                && let Some(e) = envelope::scan_one(text)
            {
                board.lock().unwrap_or_else(PoisonError::into_inner).take(Bytes::copy_from_slice(text), &e);
            }
            ControlFlow::Continue(())
        };
        let mut feed = |chunk: &[u8]| {
            let _all_taken = lines.feed(chunk, &mut take);
        };
        match poll_fn(|cx| poll_chunk(&mut from, cx, &mut feed)).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return,
        }
    }
}
