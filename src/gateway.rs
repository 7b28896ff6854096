//! The gateway: the servers of this run for every MCP client that comes, over HTTP.
//!
//! # Theory of operation
//!
//! [`Gateway::answer`] takes one HTTP request and gives one answer, whatever has brought the request (`listener`: a socket).
//! Whoever may ask is decided first (`guard`). A client's conversation is a guest of the pipe (`crate::guest`), so everything
//! that holds for peers holds for it; what this folder adds is how HTTP carries a conversation: its messages come by POST, and
//! go out in streams (`session`).

mod events;
pub(crate) mod guard;
mod legacy;
pub(crate) mod listener;
mod path;
mod reply;
mod session;
mod sessions;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, oneshot};

use self::guard::{Guard, Refused};
use self::path::Place;
use self::reply::Answer;
use self::sessions::{Scope, Sessions};
use crate::control::status::Status;
use crate::mcp::reply::INVALID_REQUEST;
use crate::pipe::membership::{NewGuest, Shown};
use crate::pipe::orders::PipeOrder;

/// Most bytes of a conversation that wait between HTTP and the pipe, each way, beside those that either side holds.
const BETWEEN: usize = 64 * 1024;

/// What a client is told to wait before it tries again, in seconds.
const LATER: &str = "5";

/// What bounds the clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Most sessions at a time.
    pub(crate) max_sessions: usize,
    /// Longest time for which a session that nobody uses stays.
    pub(crate) session_idle: Duration,
    /// Most streams of one session that are read at a time.
    pub(crate) max_streams: usize,
    /// Largest body of a request, in bytes.
    pub(crate) max_body: usize,
}

/// An address with servers, for whoever may use it.
#[derive(Debug)]
struct Gate {
    scope: Scope,
    shown: Arc<Shown>,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Gateway {
    guard: Guard,
    limits: Limits,
    /// What is shown at each address.
    all: Gate,
    each: HashMap<Arc<str>, Gate>,
    sessions: Sessions,
    /// Where guests are announced.
    pipe: mpsc::Sender<Box<PipeOrder>>,
    status: Status,
}

impl Gateway {
    /// A gateway that shows these servers.
    pub(crate) fn new(
        guard: Guard,
        limits: Limits,
        shown: &Shown,
        pipe: mpsc::Sender<Box<PipeOrder>>,
        status: Status,
    ) -> Self {
        let gate = |server: Option<Arc<str>>, shown: Shown| Gate {
            scope: Scope { server, key: None },
            shown: Arc::new(shown),
        };
        let alone = |one: &(Arc<str>, Arc<_>)| {
            let shown = Shown { servers: vec![one.clone()], ..shown.clone() };
            (one.0.clone(), gate(Some(one.0.clone()), shown))
        };
        Gateway {
            guard,
            limits,
            all: gate(None, shown.clone()),
            each: shown.servers.iter().map(alone).collect(),
            sessions: Sessions::new(limits.max_sessions, limits.session_idle),
            pipe,
            status,
        }
    }

    /// Answers one request.
    pub(crate) async fn answer<B>(&self, request: Request<B>) -> Answer
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        if let Err(refused) = self.guard.check(&head.uri, &head.headers) {
            let why = match refused {
                Refused::Host => "this host is not known by that name: it may be added to `hosts` of `gateway`",
                Refused::Origin => "pages of that origin may not ask here: it may be added to `cors` of `gateway`",
            };
            return reply::error(StatusCode::FORBIDDEN, None, INVALID_REQUEST, why);
        }
        match path::place(head.uri.path()) {
            Place::All => self.mcp(&self.all, &head.method, &head.headers, body).await,
            Place::Server(name) => match self.each.get(&*name) {
                Some(gate) => self.mcp(gate, &head.method, &head.headers, body).await,
                None => nowhere(),
            },
            Place::Offer | Place::Live | Place::Ready if head.method != Method::GET && head.method != Method::HEAD => {
                reply::other_method("GET, HEAD")
            }
            Place::Offer => self.offer(),
            Place::Live => reply::text(StatusCode::OK, "ok"),
            Place::Ready => self.ready(),
            Place::Nowhere => nowhere(),
        }
    }

    /// Answers a request at an address with servers.
    async fn mcp<B>(&self, gate: &Gate, method: &Method, headers: &HeaderMap, body: B) -> Answer
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        match *method {
            Method::POST => {
                if let Err(why) = is_json(headers) {
                    return reply::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, None, INVALID_REQUEST, why);
                }
                let body = match Limited::new(body, self.limits.max_body).collect().await {
                    Ok(body) => body.to_bytes(),
                    Err(error) if error.is::<LengthLimitError>() => {
                        let why = format_args!("the body is larger than {} bytes (maxBody)", self.limits.max_body);
                        return reply::error(StatusCode::PAYLOAD_TOO_LARGE, None, INVALID_REQUEST, why);
                    }
                    Err(_) => {
                        return reply::error(StatusCode::BAD_REQUEST, None, INVALID_REQUEST, "the body broke off");
                    }
                };
                match legacy::read(body) {
                    Ok((body, scanned)) => self.post_legacy(gate, headers, body, scanned).await,
                    Err(refused) => *refused,
                }
            }
            Method::GET => self.get_legacy(gate, headers),
            Method::DELETE => self.delete_legacy(gate, headers),
            _ => reply::other_method("POST, GET, DELETE"),
        }
    }

    /// Announces a guest to the pipe. `None`: the pipe takes none.
    async fn receive(&self, gate: &Gate) -> Option<DuplexStream> {
        let (ours, theirs) = tokio::io::duplex(BETWEEN);
        let (reply, told) = oneshot::channel();
        let name = match &gate.scope.server {
            Some(server) => format!("a client at /mcp/{server}").into(),
            None => "a client at /mcp".into(),
        };
        let new = NewGuest { lines: Box::new(theirs), name, shown: gate.shown.clone(), lingers: false };
        self.pipe.send(Box::new(PipeOrder::Receive(new, reply))).await.ok()?;
        told.await.ok()?;
        Some(ours)
    }

    /// What is offered here, for a person.
    fn offer(&self) -> Answer {
        let each: String = self.all.shown.servers.iter().map(|(name, _)| format!("\n  /mcp/{name}")).collect();
        let version = env!("CARGO_PKG_VERSION");
        let text = format!(
            "mcp-pipe {version}: an MCP server over Streamable HTTP\n\nFor all servers as one:\n  /mcp\nFor one of them:{each}"
        );
        reply::text(StatusCode::OK, text)
    }

    /// Whether every server answers, and else which do not.
    fn ready(&self) -> Answer {
        let waits = self.status.unwell();
        match waits.is_empty() {
            true => reply::text(StatusCode::OK, "ok"),
            false => reply::text(StatusCode::SERVICE_UNAVAILABLE, format_args!("waiting for {}", waits.join(", "))),
        }
    }

    /// Ends the sessions that nobody uses any more.
    pub(crate) fn sweep(&self) {
        self.sessions.sweep(tokio::time::Instant::now());
    }

    /// Ends all sessions.
    pub(crate) fn end_all(&self) {
        self.sessions.end_all();
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests;

/// An answer with when to try again.
fn later(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(LATER));
    answer
}

fn nowhere() -> Answer {
    reply::text(StatusCode::NOT_FOUND, "there is nothing here; the servers are at /mcp")
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
