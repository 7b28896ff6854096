//! HTTP+SSE (MCP 2024-11-05, basic/transports): a stream from which a client gets everything, and an address to which it posts its
//! messages. The stream is the session, and each ends with the other.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, StatusCode};
use http_body::Body;
use percent_encoding::percent_decode_str;
use tokio::time::Instant;

use super::events::Events;
use super::reply::{self, Answer};
use super::session::{Client, Reading, Session};
use super::sessions::Scope;
use super::terms::Gate;
use super::{Gateway, legacy, refusal, trace};
use crate::mcp::envelope::{Kind, Scanned};
use crate::mcp::object;
use crate::mcp::reply::INVALID_REQUEST;

/// What the address for messages is called, beside that of the stream; and the name of its only parameter.
const MESSAGES: &str = "messages";
const SESSION: &str = "sessionId";
/// What is written in the session's place where others have the version that was agreed on, which nobody here looks at.
const VERSION: &str = "2024-11-05";

impl Gateway {
    /// Begins a session by its stream. `scope`: who may send messages there: to one address, whichever servers the stream is for.
    pub(super) async fn begin_sse(&self, gate: &Gate, scope: &Scope, method: &Method, path: &str) -> Answer {
        if *method != Method::GET {
            return reply::other_method("GET");
        }
        let Some(counted) = self.place() else { return refusal::full(None) };
        let Some(lines) = self.receive(gate, "/sse").await else { return refusal::closed(None) };
        let session = Arc::new(Session::over(lines, counted));
        let stream = session.board().hear_all();
        let reading = Reading::of(&session, stream);
        let lease = self.sse.lease(scope.clone(), VERSION, session);
        let address = address(path, lease.id());
        reply::until(reply::events(Events::with_address(reading, &address, lease)), gate.until)
    }

    /// Takes a message for a session, whose stream the answer goes into.
    pub(super) async fn post_sse<B>(&self, gate: &Gate, head: Parts, body: B) -> Answer
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if head.method != Method::POST {
            return reply::other_method("POST");
        }
        let refuse = |status, why: &str| reply::error(status, None, INVALID_REQUEST, why);
        let Some(id) = session_id(head.uri.query().unwrap_or_default()) else {
            let why = "sessionId is missing: the stream at /sse comes first, and its first event has the address";
            return refuse(StatusCode::BAD_REQUEST, why);
        };
        let gone = "there is no such session: it ends with its stream";
        let Some(found) = self.sse.find(&id, &gate.scope, Instant::now()) else {
            return refuse(StatusCode::NOT_FOUND, gone);
        };
        let body = match self.bodies.collect(gate.max_body, &head.headers, body).await {
            Ok(body) => body,
            Err(refused) => return *refused,
        };
        let (body, scanned) = match legacy::read(body) {
            Ok((body, scanned)) => trace::passed_on(&head.headers, gate.max_body, body, scanned),
            Err(refused) => return *refused,
        };
        match scanned {
            Scanned::Batch(_) => refuse(StatusCode::BAD_REQUEST, "a batch: one message at a time"),
            Scanned::One(e) if e.kind(&body) == Kind::Other || e.id.clone().is_some_and(|id| &body[id] == b"null") => {
                refuse(StatusCode::BAD_REQUEST, "it is neither a request nor an answer, or its id is null")
            }
            Scanned::One(e) => {
                if e.method.is_some_and(|method| &body[method] == b"initialize") {
                    let params = std::str::from_utf8(&body).ok().and_then(|text| object::find(text, &["params"]));
                    found.session.meet(Client::of(params.unwrap_or("{}")));
                }
                match found.session.say(body).await {
                    true => reply::text(StatusCode::ACCEPTED, "Accepted"),
                    false => refuse(StatusCode::NOT_FOUND, gone),
                }
            }
        }
    }
}

/// Where messages go to, seen from the stream: a reverse proxy may have put anything before both paths.
fn address(path: &str, id: &str) -> String {
    let above = path.matches('/').count().saturating_sub(1);
    format!("{}{MESSAGES}?{SESSION}={id}", "../".repeat(above))
}

/// The session that a message is for.
fn session_id(query: &str) -> Option<String> {
    let mut values = query.split('&').filter_map(|pair| pair.strip_prefix(SESSION)?.strip_prefix('='));
    let (Some(id), None) = (values.next(), values.next()) else { return None };
    percent_decode_str(id).decode_utf8().ok().map(|id| id.into_owned()).filter(|id| !id.is_empty())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
