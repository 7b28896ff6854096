//! A modern server behind the face of a legacy one: what the router says to it, and what it answers, in the words of the other era. Pure.
//!
//! # Theory of operation
//!
//! The router asks every server as a client of the legacy era does. For a server of the modern era (from MCP 2026-07-28 on) a bridge stands
//! between, for one life. `initialize` is answered here, from `server/discover`; so are the level of log messages and subscriptions to
//! resources, which become one request for news (`listening`). Each other request goes on with who asks in it, and its result comes
//! back without what only modern clients know. A result that wants something first becomes questions, and the request is asked again with
//! their answers (`rounds`).
//!
//! The router's requests keep their numbers. Requests of the bridge's own have numbers that the router never comes to.

mod listening;
mod rounds;
mod said;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use self::listening::Listening;
use self::rounds::{Call, Questions};
use super::stdout::Found;
use crate::mcp::envelope::{self, Envelope, Kind};
use crate::mcp::id::flight_id;
use crate::mcp::modern::headers::{self, Headers, Repeated};
use crate::mcp::modern::offer::Offer;
use crate::mcp::modern::stamp::{Stamp, with_params};
use crate::mcp::modern::{CALLER, DISCOVER};
use crate::mcp::object;
use crate::mcp::reply::{self, INVALID_PARAMS};
use crate::words::span;

/// The first number of the bridge's own requests: half of what a number in JSON can be and still be told from the next by all readers.
pub(super) const OWN: u64 = 1 << 52;
/// Most bytes of requests under way that are kept so that they can be asked again: beyond, a question of the server ends its call.
const MAX_KEPT: usize = 4 << 20;
/// Time between two questions whether a server over HTTP is still there that has no stream open: it may be one that somebody pays for.
const WATCH: Duration = Duration::from_secs(60);
/// The levels of log messages (MCP 2025-11-25, server/utilities/logging).
const LEVELS: [&str; 8] = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

/// Where a bridge's messages go.
pub(super) trait Wire {
    /// A message for the server.
    fn send(&mut self, post: Post);
    /// Nobody waits any more for the server's answer to the request of this number.
    fn withdraw(&mut self, number: u64);
    /// A message for the router, or what has become of one.
    fn hand_on(&mut self, found: Found<'_>);
}

/// A message for the server.
#[derive(Debug)]
pub(super) struct Post {
    pub(super) kind: PostKind,
    /// The number of a request.
    pub(super) number: Option<u64>,
    pub(super) frame: Vec<u8>,
    /// What an HTTP request repeats of it.
    pub(super) headers: Headers,
}

/// What a message for the server is, as far as it matters to what carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PostKind {
    Discover,
    /// Its answer goes on and on.
    Listen,
    Request,
    /// It is not answered.
    Message,
}

/// What is known of the server's era by now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Modern,
    /// It is none of the modern era. Why, in words that follow the server's name.
    Legacy(String),
    /// It was one, and says now that it is not.
    Surprise,
}

/// A request that the server has.
#[derive(Debug)]
enum Pending {
    /// What the server is.
    Discover {
        asked: Asked,
    },
    Listen,
    Call(Box<Call>),
    /// A page of the tools, so that a call can be sent again as the server wants it.
    Tools {
        again: Box<Call>,
    },
}

/// Why a server is asked what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// Nobody knows yet.
    First,
    /// The router asks by this ping whether the server lives.
    Ping(u64),
    /// To see whether it is still there.
    Watch,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Bridge {
    name: Arc<str>,
    /// Whether each message goes as an HTTP request of its own.
    is_http: bool,
    /// The number of an `initialize` that has no answer yet, and the version that it asks for.
    hello: Option<(u64, String)>,
    /// What `initialize` said of whoever asks, and what the router says of whoever asks next.
    stamp: Stamp,
    caller: Option<Arc<Stamp>>,
    /// An extension of MCP by which the server is spoken to, whoever asks.
    extension: Option<&'static str>,
    /// Raw JSON.
    level: Option<Box<str>>,
    offer: Option<Offer>,
    pending: BTreeMap<u64, Pending>,
    /// Bytes of requests that are kept.
    kept: usize,
    last: u64,
    listening: Listening,
    questions: Questions,
    repeated: Repeated,
    verdict: Option<Verdict>,
    /// How long a server that may be of either era has to say what it is.
    patience: Option<Duration>,
    /// When a server that has not said what it is counts as one of the legacy era.
    deadline: Option<Instant>,
    /// When the server over HTTP is asked whether it is still there, as nothing else would show that it is not.
    watch: Option<Instant>,
}

impl Bridge {
    /// For a life that begins. `name`: the server's. `patience`: how long a server that may be of either era has to say what it is.
    /// `extension`: one of MCP by which the server is spoken to, whoever asks.
    pub(super) fn new(
        name: Arc<str>,
        is_http: bool,
        patience: Option<Duration>,
        extension: Option<&'static str>,
    ) -> Self {
        Bridge {
            name,
            is_http,
            hello: None,
            stamp: Stamp::of_hello(b"{}", extension),
            caller: None,
            extension,
            level: None,
            offer: None,
            pending: BTreeMap::new(),
            kept: 0,
            last: OWN,
            listening: Listening::default(),
            questions: Questions::default(),
            repeated: Repeated::default(),
            verdict: None,
            patience,
            deadline: None,
            watch: None,
        }
    }

    /// What has become known of the server's era since this was last asked.
    pub(super) fn take_verdict(&mut self) -> Option<Verdict> {
        self.verdict.take()
    }

    /// Whether the server has shown that it is of the modern era.
    pub(super) fn is_open(&self) -> bool {
        self.offer.is_some()
    }

    /// Whether each message goes as an HTTP request of its own.
    pub(super) fn is_http(&self) -> bool {
        self.is_http
    }

    /// When [`Bridge::on_tick`] wants to be called.
    pub(super) fn due(&self) -> Option<Instant> {
        let watch = self.watch.filter(|_| !self.listening.stands());
        earliest([self.deadline, self.listening.due(), watch])
    }

    /// The time of [`Bridge::due`] has come.
    pub(super) fn on_tick(&mut self, now: Instant, wire: &mut dyn Wire) {
        if self.deadline.is_some_and(|at| at <= now) {
            self.deadline = None;
            self.is_legacy(format!("has not answered {DISCOVER} for {}", span(self.patience.unwrap_or_default())));
        }
        if self.watch.is_some_and(|at| at <= now) {
            self.watch = Some(now + WATCH);
            if !self.listening.stands() {
                self.discover(Asked::Watch, wire);
            }
        }
        self.tick_listening(now, wire);
    }

    /// A line of the router's.
    pub(super) fn on_line(&mut self, line: &[u8], now: Instant, wire: &mut dyn Wire) {
        if let [CALLER, hello @ ..] = line {
            self.caller = (!hello.is_empty()).then(|| Arc::new(Stamp::of_hello(hello, self.extension)));
            return;
        }
        let Some(e) = envelope::scan_one(line) else { return };
        let method = text(line, e.method.as_ref());
        match e.kind(line) {
            Kind::Request => {
                if let Some(number) = e.id.clone().and_then(|id| flight_id(&line[id])) {
                    self.on_request(number, method, (line, &e), now, wire);
                }
            }
            Kind::Notification => self.on_notification(method, (line, &e), now, wire),
            Kind::Response => {
                if let Some(call) = self.questions.answered(line, &e) {
                    self.go_on(call, wire);
                }
            }
            Kind::Other => {}
        }
    }

    fn on_request(
        &mut self,
        number: u64,
        method: &str,
        (line, e): (&[u8], &Envelope),
        now: Instant,
        wire: &mut dyn Wire,
    ) {
        let params = text(line, e.params.as_ref());
        match method {
            "initialize" => {
                self.stamp = Stamp::of_hello(params.as_bytes(), self.extension);
                let asked = object::find(params, &["protocolVersion"]).and_then(object::text_of).unwrap_or_default();
                self.hello = Some((number, asked.into_owned()));
                match &self.offer {
                    Some(_) => self.welcome(wire),
                    None => {
                        self.deadline = self.patience.map(|patience| now + patience);
                        self.discover(Asked::First, wire);
                    }
                }
            }
            // Whether a server lives is shown by any answer, and this is the cheapest request that it has.
            "ping" => self.discover(Asked::Ping(number), wire),
            "logging/setLevel" => {
                let level = object::find(params, &["level"]).unwrap_or("null");
                let is_one = object::text_of(level).is_some_and(|level| LEVELS.contains(&&*level));
                if is_one {
                    self.level = Some(level.into());
                    answer(wire, number, "{}");
                } else {
                    refuse(wire, number, INVALID_PARAMS, "there is no such level");
                }
            }
            "resources/subscribe" | "resources/unsubscribe" => {
                let uri = object::find(params, &["uri"]).and_then(object::text_of);
                let Some(uri) = uri else { return refuse(wire, number, INVALID_PARAMS, "the URI is missing") };
                self.on_wish((number, &uri), method == "resources/subscribe", now, wire);
            }
            _ => self.send_call(Call::new(number, method, (line, e), self.caller.clone()), (line, e), wire),
        }
    }

    fn on_notification(&mut self, method: &str, (line, e): (&[u8], &Envelope), now: Instant, wire: &mut dyn Wire) {
        match method {
            "notifications/initialized" => self.listen(now, wire),
            "notifications/cancelled" => {
                let number = e.request_id.clone().and_then(|id| flight_id(&line[id]));
                if let Some(number) = number {
                    self.cancel(number, wire);
                }
            }
            // Nothing in the modern era corresponds to these.
            "notifications/roots/list_changed" | "notifications/progress" => {}
            _ if self.is_http => {}
            _ => wire.send(Post { kind: PostKind::Message, number: None, frame: line.to_vec(), headers: Vec::new() }),
        }
    }

    /// A number that no request has had in this life.
    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Asks the server what it is.
    fn discover(&mut self, asked: Asked, wire: &mut dyn Wire) {
        let number = self.next();
        self.pending.insert(number, Pending::Discover { asked });
        // Later on it is a request like others, which costs no more than itself.
        let kind = if asked == Asked::First { PostKind::Discover } else { PostKind::Request };
        self.send_own(kind, number, DISCOVER, "{}", wire);
    }

    /// Sends a request of the bridge's own.
    fn send_own(&mut self, kind: PostKind, number: u64, method: &str, params: &str, wire: &mut dyn Wire) {
        let params = self.stamp.params(params, None, &[]);
        let frame = reply::request(number, method, Some(params.as_bytes()));
        wire.send(Post { kind, number: Some(number), frame, headers: self.headers(method, None) });
    }

    /// The headers of a request. `about`: what it is about, as [`headers::of_request`] takes it.
    fn headers(&self, method: &str, about: Option<&str>) -> Headers {
        if self.is_http { headers::of_request(method, about) } else { Headers::new() }
    }

    /// Sends a request of a peer, with who asks in it.
    fn send_call(&mut self, call: Call, (line, e): (&[u8], &Envelope), wire: &mut dyn Wire) {
        let number = call.number;
        let params = text(line, e.params.as_ref());
        let params = if params.is_empty() { "{}" } else { params };
        let stamp = call.stamp.as_deref().unwrap_or(&self.stamp);
        let params = stamp.params(params, self.level.as_deref(), &[]);
        let frame = with_params(line, e, None, &params);
        let headers = self.headers_of_call(&call.method, (line, e));
        self.post_call(number, call, frame, headers, wire);
    }

    /// What an HTTP request repeats of a call.
    fn headers_of_call(&self, method: &str, (line, e): (&[u8], &Envelope)) -> Headers {
        if !self.is_http {
            return Headers::new();
        }
        let about = match method {
            "tools/call" | "prompts/get" => e.name.as_ref(),
            "resources/read" => e.uri.as_ref(),
            _ => None,
        };
        let about = about.map(|range| text(line, Some(range)));
        let mut headers = self.headers(method, about);
        if method == "tools/call"
            && let Some(tool) = about.and_then(object::text_of)
        {
            headers.extend(self.repeated.of_call(&tool, text(line, e.arguments.as_ref())));
        }
        headers
    }

    fn post_call(&mut self, number: u64, mut call: Call, frame: Vec<u8>, headers: Headers, wire: &mut dyn Wire) {
        let size = call.kept();
        if self.kept + size > MAX_KEPT {
            call.forget();
        } else {
            self.kept += size;
        }
        self.pending.insert(number, Pending::Call(Box::new(call)));
        wire.send(Post { kind: PostKind::Request, number: Some(number), frame, headers });
    }

    /// Takes out a request that the server has answered, or answers no more.
    fn take(&mut self, number: u64) -> Option<Pending> {
        let pending = self.pending.remove(&number)?;
        if let Pending::Call(call) | Pending::Tools { again: call } = &pending {
            self.kept = self.kept.saturating_sub(call.kept());
        }
        Some(pending)
    }

    /// The router cancels its request of this number.
    fn cancel(&mut self, number: u64, wire: &mut dyn Wire) {
        self.withdraw_questions(number, wire);
        self.listening.forget(number);
        let is_it = |pending: &Pending| match pending {
            Pending::Call(call) | Pending::Tools { again: call } => call.number == number,
            Pending::Discover { .. } | Pending::Listen => false,
        };
        let Some(sent) = self.pending.iter().find(|(_, pending)| is_it(pending)).map(|(sent, _)| *sent) else { return };
        self.take(sent);
        self.withdraw(sent, wire);
    }

    /// Has the server stop working on a request.
    fn withdraw(&mut self, sent: u64, wire: &mut dyn Wire) {
        if self.is_http {
            return wire.withdraw(sent);
        }
        let frame = reply::cancelled(sent.to_string().as_bytes(), "nobody waits for it any more");
        wire.send(Post { kind: PostKind::Message, number: None, frame, headers: Headers::new() });
    }

    /// Answers `initialize` with what the server has said of itself.
    fn welcome(&mut self, wire: &mut dyn Wire) {
        let Some(offer) = &self.offer else { return };
        if let Some((number, asked)) = self.hello.take() {
            wire.hand_on(Found::Modern);
            answer(wire, number, &offer.welcome(&asked, &self.name));
        }
    }
}

/// The first of some times, if there is any.
fn earliest(times: [Option<Instant>; 3]) -> Option<Instant> {
    times.into_iter().flatten().min()
}

/// A part of a line as text; empty where there is none.
fn text<'a>(line: &'a [u8], range: Option<&std::ops::Range<usize>>) -> &'a str {
    range.and_then(|range| str::from_utf8(&line[range.clone()]).ok()).unwrap_or_default()
}

/// Hands a message of the bridge's own on to the router.
fn hand_on(wire: &mut dyn Wire, frame: &[u8]) {
    if let Some(envelope) = envelope::scan_one(frame) {
        wire.hand_on(Found::Message { frame, envelope: &envelope });
    }
}

/// Answers a request of the router's. `result`: raw JSON.
fn answer(wire: &mut dyn Wire, number: u64, result: &str) {
    hand_on(wire, &reply::result(number.to_string().as_bytes(), result.as_bytes()));
}

/// Answers a request of the router's with an error.
fn refuse(wire: &mut dyn Wire, number: u64, code: i32, why: &str) {
    hand_on(wire, &reply::error(number.to_string().as_bytes(), code, why));
}
