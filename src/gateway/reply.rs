//! What the gateway answers over HTTP: bodies, and errors as JSON-RPC has them.

use std::convert::Infallible;
use std::fmt::Display;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{HeaderName, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use tokio::time::{Instant, Sleep, sleep_until};

use super::events::Events;
use crate::mcp::reply;

/// Whether a proxy in between may keep events back (nginx).
const ACCEL: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum Reply {
    Whole(Full<Bytes>),
    Events(Box<Events>),
    /// Events that are no part of a session.
    Pieces(Box<dyn Pieces>),
    /// A stream that ends at some time, whatever is left of it: `None` from then on.
    Until(Option<Box<Reply>>, Pin<Box<Sleep>>),
}

/// What makes a body, piece by piece.
pub(crate) trait Pieces: Send + std::fmt::Debug {
    /// The next piece; `None`: that was all.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>>;
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Reply::Whole(whole) => Pin::new(whole).poll_frame(cx),
            Reply::Events(events) => events.poll_chunk(cx).map(|chunk| chunk.map(|bytes| Ok(Frame::data(bytes)))),
            Reply::Pieces(pieces) => pieces.poll_piece(cx).map(|chunk| chunk.map(|bytes| Ok(Frame::data(bytes)))),
            Reply::Until(stream, end) => {
                if end.as_mut().poll(cx).is_ready() {
                    *stream = None;
                }
                stream.as_mut().map_or(Poll::Ready(None), |stream| Pin::new(&mut **stream).poll_frame(cx))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Reply::Whole(whole) => whole.is_end_stream(),
            Reply::Events(_) | Reply::Pieces(_) | Reply::Until(..) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Reply::Whole(whole) => whole.size_hint(),
            Reply::Events(_) | Reply::Pieces(_) | Reply::Until(..) => SizeHint::default(),
        }
    }
}

/// An answer to one HTTP request.
pub(crate) type Answer = Response<Reply>;

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Answer {
    of(status, Bytes::new())
}

/// A message, or several.
pub(super) fn json(status: StatusCode, body: Bytes) -> Answer {
    let mut answer = of(status, body);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// A text for a person.
pub(super) fn text(status: StatusCode, text: impl Display) -> Answer {
    let mut answer = of(status, Bytes::from(format!("{text}\n")));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

/// An error of JSON-RPC. `id`: the raw token, if it is known whose answer this is.
pub(super) fn error(status: StatusCode, id: Option<&[u8]>, code: i32, message: impl Display) -> Answer {
    json(status, Bytes::from(reply::error(id.unwrap_or(b"null"), code, message)))
}

/// Events, as they come.
pub(super) fn events(events: Events) -> Answer {
    stream(Reply::Events(Box::new(events)))
}

/// The same, of no session.
pub(super) fn pieces(pieces: impl Pieces + 'static) -> Answer {
    stream(Reply::Pieces(Box::new(pieces)))
}

/// A stream that has no end of its own, and ends at this time.
pub(super) fn until(answer: Answer, end: Option<Instant>) -> Answer {
    match end {
        Some(end) => answer.map(|body| Reply::Until(Some(Box::new(body)), Box::pin(sleep_until(end)))),
        None => answer,
    }
}

fn stream(body: Reply) -> Answer {
    let mut answer = Response::new(body);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert(ACCEL, HeaderValue::from_static("no"));
    answer
}

/// That a path knows other methods.
pub(super) fn other_method(allowed: &'static str) -> Answer {
    let mut answer = error(
        StatusCode::METHOD_NOT_ALLOWED,
        None,
        reply::INVALID_REQUEST,
        format_args!("this address takes {allowed} and nothing else"),
    );
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

fn of(status: StatusCode, body: Bytes) -> Answer {
    let mut answer = Response::new(Reply::Whole(Full::new(body)));
    *answer.status_mut() = status;
    answer
}
