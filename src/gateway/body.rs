//! The body of a request, if it may be a message.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use http_body::Body;
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use super::refusal::{LATER, later};
use super::reply::{self, Answer};
use crate::mcp::reply::{INTERNAL, INVALID_REQUEST};

/// Longest time for a body to come: the largest needs that on a slow line.
const PATIENCE: Duration = Duration::from_secs(120);

/// Most bytes of bodies that are on their way at the same time, or twice the largest one if that is more: clients that send and send, and never
/// come to an end, could otherwise take all memory.
const ROOM: usize = 64 << 20;

/// How many bytes of bodies are on their way.
#[derive(Debug, Default)]
pub(super) struct Room(AtomicUsize);

/// A body on its way.
struct Coming<'a> {
    room: &'a Room,
    /// How much of the room it takes.
    bytes: usize,
}

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        self.room.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Why a body is not taken.
enum Unfit {
    Large,
    Crowded,
    Broken,
}

impl Room {
    /// All of a body of so many bytes at most.
    ///
    /// # Errors
    /// The answer that refuses it.
    pub(super) async fn collect<B>(&self, max_body: usize, headers: &HeaderMap, body: B) -> Result<Bytes, Box<Answer>>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let refuse = |status, why: &dyn std::fmt::Display| Box::new(reply::error(status, None, INVALID_REQUEST, why));
        is_json(headers).map_err(|why| refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, &why))?;
        let Ok(collected) = timeout(PATIENCE, self.take(max_body, body)).await else {
            return Err(refuse(StatusCode::REQUEST_TIMEOUT, &"the body took too long to come"));
        };
        collected.map_err(|unfit| match unfit {
            Unfit::Large => {
                let why = format!("the body is larger than {max_body} bytes (maxBody)");
                refuse(StatusCode::PAYLOAD_TOO_LARGE, &why)
            }
            Unfit::Crowded => {
                let why = "the bodies of other requests take all the room that there is; try again later";
                Box::new(later(reply::error(StatusCode::SERVICE_UNAVAILABLE, None, INTERNAL, why), LATER))
            }
            Unfit::Broken => refuse(StatusCode::BAD_REQUEST, &"the body broke off"),
        })
    }

    async fn take<B: Body<Data = Bytes>>(&self, max_body: usize, body: B) -> Result<Bytes, Unfit> {
        let mut body = pin!(body);
        let (mut coming, mut whole) = (Coming { room: self, bytes: 0 }, BytesMut::new());
        while let Some(frame) = body.frame().await {
            let Ok(piece) = frame.map_err(|_| Unfit::Broken)?.into_data() else { continue };
            if whole.len() + piece.len() > max_body {
                return Err(Unfit::Large);
            }
            let taken = self.0.fetch_add(piece.len(), Ordering::Relaxed) + piece.len();
            coming.bytes += piece.len();
            if taken > ROOM.max(2 * max_body) {
                return Err(Unfit::Crowded);
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }
}

/// Whether a body says that it is JSON, and plainly so.
fn is_json(headers: &HeaderMap) -> Result<(), &'static str> {
    if headers.contains_key(CONTENT_ENCODING) {
        return Err("the body has a Content-Encoding, and none is taken");
    }
    let mut kinds = headers.get_all(CONTENT_TYPE).iter().map(|kind| kind.to_str().unwrap_or_default());
    let (Some(kind), None) = (kinds.next(), kinds.next()) else {
        return Err("the body has to be application/json, which Content-Type has to say");
    };
    let mut parts = kind.split(';').map(str::trim);
    let is_plain = |part: &str| {
        let part = part.to_ascii_lowercase();
        part.is_empty() || matches!(&*part, "charset=utf-8" | "charset=\"utf-8\"" | "charset=utf8")
    };
    match parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json")) && parts.all(is_plain) {
        true => Ok(()),
        false => Err("the body has to be application/json, in UTF-8"),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream::{self, StreamExt as _};
    use http::header::HeaderValue;
    use http_body::Frame;
    use http_body_util::{Full, StreamBody};

    use super::*;

    #[tokio::test]
    async fn bodies_that_never_end_leave_room_for_themselves_only_and_give_it_back() {
        const LARGE: usize = ROOM / 2 - 1000;
        let (room, headers) =
            (Room::default(), HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]));
        let endless = |bytes: usize| {
            let first = Frame::data(Bytes::from(vec![b' '; bytes]));
            StreamBody::new(stream::iter([Ok::<_, Infallible>(first)]).chain(stream::pending()))
        };
        let status = async |bytes: usize| {
            let body = Full::new(Bytes::from(vec![b' '; bytes]));
            room.collect(LARGE, &headers, body).await.map_or_else(|answer| answer.status().as_u16(), |_| 200)
        };
        {
            let mut sending = [LARGE, LARGE].map(|bytes| Box::pin(room.collect(LARGE, &headers, endless(bytes))));
            for body in &mut sending {
                assert!(std::future::poll_fn(|cx| std::task::Poll::Ready(body.as_mut().poll(cx).is_pending())).await);
            }
            assert_eq!((status(2000).await, status(2001).await, status(LARGE + 1).await), (200, 503, 413));
        }
        assert_eq!((status(LARGE).await, room.0.load(Ordering::Relaxed)), (200, 0));
    }
}
