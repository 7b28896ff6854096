//! The messages of a stream as server-sent events (WHATWG HTML, section 9.2), with a comment where nothing comes for long.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::time::{Instant, Sleep, sleep};

use super::session::Reading;
use super::session::board::{Event, StreamId};
use super::sessions::Lease;

/// Longest silence of a stream: proxies and clients end what is silent for minutes, some for half a minute.
pub(super) const SILENCE: Duration = Duration::from_secs(15);
/// What breaks it, and says nothing.
pub(super) const STILL_HERE: &[u8] = b": still here\n\n";
/// Time that a client is told to wait before it comes back for a stream, in ms.
const RETRY: u64 = 1000;
/// Most bytes of events that go out as one piece.
pub(super) const PIECE: usize = 64 * 1024;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Events {
    reading: Reading,
    /// Whether events have numbers, by which a client can come back.
    numbered: bool,
    /// What comes before all messages.
    first: Option<Bytes>,
    /// The session that ends with the stream, if it does.
    _lease: Option<Lease>,
    silence: Pin<Box<Sleep>>,
}

impl Events {
    pub(super) fn of(reading: Reading, numbered: bool) -> Self {
        Events { reading, numbered, first: None, _lease: None, silence: Box::pin(sleep(SILENCE)) }
    }

    /// The stream that is a session, whose client is told first where its messages go to.
    pub(super) fn with_address(reading: Reading, address: &str, lease: Lease) -> Self {
        let first = Bytes::from(format!("event: endpoint\ndata: {address}\n\n"));
        Events { first: Some(first), _lease: Some(lease), ..Events::of(reading, false) }
    }

    /// The next piece of the stream; `None`: it has ended.
    pub(super) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(first));
        }
        let mut piece = BytesMut::new();
        while piece.len() < PIECE {
            match self.reading.poll_next(cx) {
                Poll::Ready(Some(event)) => self.write(&event, &mut piece),
                Poll::Ready(None) if piece.is_empty() => return Poll::Ready(None),
                Poll::Pending if piece.is_empty() => {
                    ready!(self.silence.as_mut().poll(cx));
                    piece.put_slice(STILL_HERE);
                }
                // What comes next is asked for next time.
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        self.silence.as_mut().reset(Instant::now() + SILENCE);
        Poll::Ready(Some(piece.freeze()))
    }

    fn write(&self, (number, message): &Event, piece: &mut BytesMut) {
        if self.numbered {
            piece.put_slice(format!("id: {}-{number}\n", self.reading.stream()).as_bytes());
        }
        match message {
            Some(message) => write_message(message, piece),
            None => piece.put_slice(format!("retry: {RETRY}\ndata: \n\n").as_bytes()),
        }
    }
}

/// Writes a message, which has one line, as an event.
pub(super) fn write_message(message: &[u8], piece: &mut BytesMut) {
    piece.reserve(message.len() + 32);
    piece.put_slice(b"event: message\ndata: ");
    piece.put_slice(message);
    piece.put_slice(b"\n\n");
}

/// The stream and the event behind which a client wants to go on (`Last-Event-ID`).
pub(super) fn resumed(id: &str) -> Option<(StreamId, u64)> {
    let (stream, event) = id.trim().split_once('-')?;
    Some((stream.parse().ok()?, event.parse().ok()?))
}
