//! What comes of a request of the modern era, as server-sent events without numbers: a stream that breaks is lost (MCP 2026-07-28,
//! basic/transports).

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::time::{Instant, Sleep, sleep};

use super::listening::Listening;
use super::turn::{Next, Turn};
use crate::gateway::events::{PIECE, SILENCE, STILL_HERE, write_message};
use crate::gateway::reply::Pieces;

/// Where the messages come from.
#[derive(Debug)]
pub(super) enum Source {
    Turn(Box<Turn>),
    News(Box<Listening>),
}

impl Source {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match self {
            Source::Turn(turn) => turn.poll_next(cx).map(|next| match next? {
                Next::Note(note) => Some(note),
                Next::Last(last) => Some(last.body.into()),
            }),
            Source::News(news) => news.poll_next(cx),
        }
    }
}

/// See the module's documentation. With this the request is given up.
#[derive(Debug)]
pub(super) struct Flow {
    source: Source,
    /// What has come already.
    first: Option<Bytes>,
    silence: Pin<Box<Sleep>>,
}

impl Flow {
    /// A stream that begins with a message, if there is one already, and else with a comment.
    pub(super) fn of(source: Source, first: Option<Bytes>) -> Self {
        Flow { source, first, silence: Box::pin(sleep(SILENCE)) }
    }
}

impl Pieces for Flow {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut piece = BytesMut::new();
        if let Some(first) = self.first.take() {
            write_message(&first, &mut piece);
        }
        while piece.len() < PIECE {
            match self.source.poll_next(cx) {
                Poll::Ready(Some(message)) => write_message(&message, &mut piece),
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
}
