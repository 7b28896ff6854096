//! One server on one connection, its messages untouched but for their ids.
//!
//! # Theory of operation
//!
//! Each request of the endpoint gets an id of ours on its way to the server and its own id back on the answer, so ids
//! of different connections, of the endpoint and of us can never be taken for each other, whatever either
//! side makes of them. A server's own requests travel the other way under ids of ours as well.
//!
//! The handshake is ours. The endpoint's first `initialize` goes to the server; parameters and result are kept, every
//! later `initialize` is answered from them at once, and a restarted server is initialized again with them before
//! anything else reaches it. Requests that arrive while a server is not there, or not yet initialized, are held for a
//! few seconds; those that it had when it died are answered with an error at once and never sent again, because a
//! call need not be idempotent.
//!
//! `ping` is answered by us: it asks whether its receiver lives, and a server that is busy with a call must not
//! cost the connection. With `handshake: relay` `initialize` and `notifications/initialized` go through.

mod endpoint_side;
mod server_side;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use memchr::memchr2;
use tokio::time::Instant;

use super::handshake::{Hello, Welcome};
use super::held::Held;
use super::ids::{asked_id, asked_token, flight_id};
use super::repair::forward_request;
use super::reply::{self, INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR, UNAVAILABLE};
use super::{Account, Gone, Note, Out, Reconnect, Router, ServerIndex};
use crate::config::Handshake;
use crate::envelope::{self, Envelope, Kind, NotMessage, Scanned};
use crate::frame::Cut;

/// The only server of this router.
const SERVER: ServerIndex = 0;

/// How long a request waits for its server: the cloud gives up on `initialize` and, in its older versions, on calls
/// after 10 s, and an error that arrives before that is worth more than a result after it.
const HOLD: Duration = Duration::from_secs(9);

/// Requests under way at the server. No client has that many; an endpoint gone wild is told so instead of growing us.
const MAX_IN_FLIGHT: usize = 4096;

/// When the table is full, requests older than this make room: their server has most likely forgotten them.
const STALE: Duration = Duration::from_secs(600);

/// Handshakes that wait for a server to start: one for each robot behind an endpoint.
const MAX_WAITING: usize = 256;

/// A server's requests under way at the endpoint.
const MAX_ASKED: usize = 64;

/// How long the endpoint may take to answer a server's request. A language model may be asked, so it is long.
const ASK: Duration = Duration::from_secs(60);

/// As much of a method as is kept while its request is under way.
const METHOD: usize = 64;

/// Ids are kept while a request is under way, so their size is bounded too.
const MAX_ID: usize = 1024;

#[derive(Debug)]
enum LinkSide {
    Down,
    Up {
        /// The endpoint has initialized, or does without: it may be spoken to.
        conversing: bool,
        initialize: Option<bool>,
        answered: u64,
    },
}

#[derive(Debug)]
enum ServerSide {
    Down {
        why: String,
        /// `None`: not yet started for the first time.
        retry_at: Option<Instant>,
    },
    /// Runs, and has said nothing yet.
    Warming { since: Instant },
    /// Has shown that it is loaded.
    Warm,
    /// Our `initialize` is under way.
    Initializing { since: Instant },
    /// `told`: has had its `notifications/initialized`.
    Ready { told: bool },
}

/// A request of ours, or of the endpoint, under way at the server.
#[derive(Debug)]
enum Flight {
    Probe,
    Initialize,
    Call {
        /// The endpoint's id, and behind it the method.
        text: Box<[u8]>,
        id_len: usize,
        since: Instant,
    },
}

/// A server's request under way at the endpoint.
#[derive(Debug)]
struct Asked {
    id: Box<[u8]>,
    method: String,
    deadline: Instant,
}

/// An `initialize` that waits for the server's answer.
#[derive(Debug)]
struct Waiting {
    id: Box<[u8]>,
    version: String,
    deadline: Instant,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Passthrough {
    name: Arc<str>,
    max_frame: usize,
    handshake: Handshake,
    link: LinkSide,
    server: ServerSide,
    hello: Option<Hello>,
    welcome: Option<Welcome>,
    waiting: Vec<Waiting>,
    held: Held,
    flights: BTreeMap<u64, Flight>,
    asked: BTreeMap<u64, Asked>,
    /// The endpoint left a server's request unanswered, and has answered none since.
    mute: bool,
    /// The server doesn't read what it is sent.
    busy: bool,
    last_id: u64,
    draining: bool,
    served: u64,
}

impl Passthrough {
    /// For the server called `name`. Nothing is connected, nothing runs.
    pub fn new(name: Arc<str>, handshake: Handshake, max_frame: usize) -> Self {
        Passthrough {
            name,
            max_frame,
            handshake,
            link: LinkSide::Down,
            server: ServerSide::Down { why: "has not been started yet".into(), retry_at: None },
            hello: None,
            welcome: None,
            waiting: Vec::new(),
            held: Held::default(),
            flights: BTreeMap::new(),
            asked: BTreeMap::new(),
            mute: false,
            busy: false,
            last_id: 0,
            draining: false,
            served: 0,
        }
    }

    fn relays(&self) -> bool {
        self.handshake == Handshake::Relay
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn fly(&mut self, flight: Flight) -> u64 {
        let id = self.next_id();
        self.flights.insert(id, flight);
        id
    }

    /// An error to the endpoint, in the server's place.
    fn refuse(&mut self, id: &[u8], code: i32, message: impl std::fmt::Display, out: &mut impl Out) {
        out.to_endpoint(&[&reply::error(id, code, message)]);
        if let LinkSide::Up { answered, .. } = &mut self.link {
            *answered += 1;
        }
    }

    /// The endpoint is past its handshake, or does without one.
    fn converse(&mut self) {
        if let LinkSide::Up { conversing, .. } = &mut self.link {
            *conversing = true;
        }
    }
}

impl Passthrough {
    /// Answers JSON that is no message.
    fn invalid(&mut self, why: impl std::fmt::Display, out: &mut impl Out) {
        self.refuse(b"null", INVALID_REQUEST, format_args!("invalid request: {why}"), out);
        out.note(Note::NotMessage { why: why.to_string() });
    }
}

impl Router for Passthrough {
    fn on_link_up(&mut self, _now: Instant, _out: &mut impl Out) {
        self.link = LinkSide::Up { conversing: false, initialize: None, answered: 0 };
        self.mute = false;
    }

    fn on_link_down(&mut self, _now: Instant, out: &mut impl Out) {
        self.link = LinkSide::Down;
        self.waiting.clear();
        self.held = Held::default();
        // Their answers would come too late for anybody; without them the server can stop working on them.
        self.flights.retain(|id, flight| match flight {
            Flight::Call { text, id_len, .. } => {
                // MCP: `initialize` must not be cancelled.
                if &text[*id_len..] != b"initialize" {
                    out.to_server(
                        SERVER,
                        &[&reply::cancelled(id.to_string().as_bytes(), "the endpoint's connection was lost")],
                    );
                }
                false
            }
            Flight::Probe | Flight::Initialize => true,
        });
        for (_, asked) in std::mem::take(&mut self.asked) {
            out.to_server(SERVER, &[&reply::error(&asked.id, UNAVAILABLE, "the endpoint's connection was lost")]);
        }
    }

    fn on_endpoint(&mut self, frame: &[u8], now: Instant, out: &mut impl Out) {
        if memchr2(b'\n', b'\r', frame).is_some() {
            return match envelope::single_line(frame) {
                Ok(line) => self.on_endpoint(&line, now, out),
                Err(why) => {
                    self.refuse(b"null", PARSE_ERROR, format_args!("parse error: {why}"), out);
                    out.note(Note::NotMessage { why: why.to_string() });
                }
            };
        }
        let e = match envelope::scan(frame) {
            Ok(Scanned::One(e)) => e,
            Ok(Scanned::Batch(members)) if !members.is_empty() => {
                for m in members {
                    self.on_endpoint(&frame[m], now, out);
                }
                return;
            }
            Ok(Scanned::Batch(_)) => return self.invalid("an empty batch", out),
            Err(why @ (NotMessage::NoObject | NotMessage::Member(_))) => return self.invalid(why, out),
            Err(why @ NotMessage::Json(_)) => {
                self.refuse(b"null", PARSE_ERROR, format_args!("parse error: {why}"), out);
                return out.note(Note::NotMessage { why: why.to_string() });
            }
        };
        let id = e.id.clone();
        match (e.kind(frame), id) {
            (Kind::Request, Some(id)) => match (e.method.clone().map(|r| &frame[r]), &frame[id]) {
                (_, id) if id.len() > MAX_ID => {
                    self.refuse(b"null", INVALID_REQUEST, format_args!("the id is longer than {MAX_ID} bytes"), out);
                }
                (Some(b"initialize"), id) => self.initialize(frame, &e, id, now, out),
                (Some(b"ping"), id) if !self.relays() => {
                    out.to_endpoint(&[&reply::result(id, b"{}")]);
                }
                (_, id) => {
                    self.converse();
                    self.request(frame, &e, id, now, out);
                }
            },
            (Kind::Response, Some(id)) => self.endpoint_answers(frame, id, out),
            (Kind::Notification, _) => self.notification(frame, &e, now, out),
            // An error about something that it could not even read. An answer to an answer would never end.
            (Kind::Other, _) if e.error || e.result.is_some() => out.note(Note::Unclaimed { server: None }),
            (_, id) => {
                let id = id.map_or(&b"null"[..], |r| &frame[r]);
                self.refuse(id, INVALID_REQUEST, "invalid request: neither method nor result", out);
                out.note(Note::NotMessage { why: "neither method nor result".into() });
            }
        }
    }

    fn on_endpoint_too_large(&mut self, cut: Cut<'_>, _now: Instant, out: &mut impl Out) {
        let seen = envelope::scan_cut(cut);
        let message =
            format!("a message of {} bytes is above the limit of {} (maxFrameSize)", cut.size, self.max_frame);
        // It may be the answer to a request of the server.
        let asked = seen.id.filter(|_| !seen.method).and_then(asked_id).and_then(|n| self.asked.remove(&n));
        match asked {
            Some(asked) => out.to_server(SERVER, &[&reply::error(&asked.id, UNAVAILABLE, message)]),
            None => self.refuse(seen.id.unwrap_or(b"null"), INVALID_REQUEST, message, out),
        }
        out.note(Note::TooLarge { server: None, size: cut.size, answered: seen.id.is_some() });
    }

    fn on_server_up(&mut self, _server: ServerIndex, now: Instant, out: &mut impl Out) {
        self.server = ServerSide::Warming { since: now };
        // A handshake that is to be relayed and waits already does it.
        let relayed = self.relays() && self.held.has_method(b"initialize");
        if self.hello.is_some() && !relayed {
            return self.begin_handshake(now, out);
        }
        // Allowed before `initialize` (MCP, lifecycle); any answer says that the server is loaded.
        let id = self.fly(Flight::Probe);
        out.to_server(SERVER, &[&reply::request(id, "ping", None)]);
        self.release(now, out);
    }

    fn on_server_down(&mut self, _server: ServerIndex, gone: Gone<'_>, now: Instant, out: &mut impl Out) {
        self.server = ServerSide::Down { why: gone.why.into(), retry_at: Some(now + gone.retry_in) };
        self.abandon_flights(gone.why, out);
    }

    fn on_server_busy(&mut self, _server: ServerIndex, busy: bool) {
        self.busy = busy;
    }

    fn on_server(&mut self, _server: ServerIndex, frame: &[u8], now: Instant, out: &mut impl Out) {
        let e = match envelope::scan(frame) {
            Ok(Scanned::One(e)) => e,
            Ok(Scanned::Batch(members)) => {
                for m in members {
                    self.on_server(SERVER, &frame[m], now, out);
                }
                return;
            }
            Err(_) => return out.note(Note::Noise { server: SERVER, line: frame }),
        };
        let kind = e.kind(frame);
        if let (ServerSide::Warming { .. }, true) = (&self.server, kind != Kind::Other) {
            self.server = ServerSide::Warm;
        }
        match (kind, e.id.clone()) {
            (Kind::Response, Some(id)) => self.server_answers(frame, &e, id, now, out),
            (Kind::Request, Some(id)) => self.server_asks(frame, &e, &frame[id], now, out),
            (Kind::Notification, _) => self.server_notifies(frame, &e, out),
            (Kind::Request | Kind::Response | Kind::Other, _) => out.note(Note::Noise { server: SERVER, line: frame }),
        }
    }

    fn on_server_too_large(&mut self, _server: ServerIndex, cut: Cut<'_>, now: Instant, out: &mut impl Out) {
        let seen = envelope::scan_cut(cut);
        let message = format!(
            "the answer of server \"{}\" has {} bytes, above the limit of {} (maxFrameSize)",
            self.name, cut.size, self.max_frame
        );
        let mut answered = false;
        if let (Some(id), true) = (seen.id, seen.method) {
            out.to_server(SERVER, &[&reply::error(id, INVALID_REQUEST, &message)]);
            answered = true;
        } else if let Some(flight) = seen.id.and_then(flight_id).and_then(|n| self.flights.remove(&n)) {
            answered = true;
            match flight {
                Flight::Probe => {}
                Flight::Initialize => self.unwelcome(|id| reply::error(id, UNAVAILABLE, &message), now, out),
                Flight::Call { text, id_len, .. } => self.refuse(&text[..id_len], UNAVAILABLE, &message, out),
            }
        }
        out.note(Note::TooLarge { server: Some(SERVER), size: cut.size, answered });
    }

    fn on_tick(&mut self, now: Instant, out: &mut impl Out) {
        while let Some(frame) = self.held.expired(now) {
            if let Some(id) = envelope::scan_one(&frame).and_then(|e| e.id) {
                let message = format!("server \"{}\" {} for {} s", self.name, self.doing(), HOLD.as_secs());
                self.refuse(&frame[id], UNAVAILABLE, message, out);
            }
        }
        while self.waiting.first().is_some_and(|w| w.deadline <= now) {
            let w = self.waiting.remove(0);
            let message = format!("server \"{}\" {} for {} s", self.name, self.doing(), HOLD.as_secs());
            self.refuse(&w.id, UNAVAILABLE, message, out);
        }
        while self.asked.first_key_value().is_some_and(|(_, a)| a.deadline <= now) {
            let Some((_, asked)) = self.asked.pop_first() else { break };
            let why = "the endpoint did not answer within 60 s";
            out.to_server(SERVER, &[&reply::error(&asked.id, UNAVAILABLE, why)]);
            out.note(Note::AnsweredForEndpoint { server: SERVER, method: asked.method, why });
            self.mute = true;
        }
    }

    fn next_tick(&self) -> Option<Instant> {
        let held = self.held.deadline();
        let waiting = self.waiting.first().map(|w| w.deadline);
        let asked = self.asked.first_key_value().map(|(_, a)| a.deadline);
        [held, waiting, asked].into_iter().flatten().min()
    }

    fn drain(&mut self, _now: Instant, out: &mut impl Out) {
        self.draining = true;
        for frame in self.held.take() {
            if let Some(id) = envelope::scan_one(&frame).and_then(|e| e.id) {
                self.refuse(&frame[id], UNAVAILABLE, "mcp-pipe is shutting down", out);
            }
        }
        for w in std::mem::take(&mut self.waiting) {
            self.refuse(&w.id, UNAVAILABLE, "mcp-pipe is shutting down", out);
        }
    }

    fn in_flight(&self) -> usize {
        let calls = self.flights.values().filter(|f| matches!(f, Flight::Call { .. })).count();
        calls + self.held.len() + self.waiting.len()
    }

    fn is_warm(&self) -> bool {
        matches!(self.server, ServerSide::Warm | ServerSide::Ready { .. })
    }

    fn is_serving(&self, _server: ServerIndex) -> bool {
        self.is_warm()
    }

    fn is_handshaken(&self) -> bool {
        matches!(self.link, LinkSide::Up { initialize: Some(true), .. })
    }

    fn wants_reconnect(&self, _now: Instant) -> Option<Reconnect> {
        None
    }

    fn account(&self, now: Instant) -> Account {
        let mut account = Account { served: self.served, server: self.state(now), ..Account::default() };
        if let LinkSide::Up { initialize, answered, .. } = &self.link {
            (account.initialize, account.answered) = (*initialize, *answered);
        }
        let open = self.flights.values().filter_map(|f| match f {
            Flight::Call { text, id_len, since } => {
                Some((String::from_utf8_lossy(&text[*id_len..]).into_owned(), now - *since))
            }
            Flight::Probe | Flight::Initialize => None,
        });
        account.unanswered = open.collect();
        account
    }

    fn served(&self) -> u64 {
        self.served
    }
}

impl Passthrough {
    /// For a sentence that begins with the server's name and ends with "for 9 s".
    fn doing(&self) -> String {
        match &self.server {
            ServerSide::Down { why, .. } => format!("{why} and has not been back"),
            ServerSide::Warming { .. } | ServerSide::Initializing { .. } => {
                "has been starting and not answered initialize".into()
            }
            ServerSide::Warm | ServerSide::Ready { .. } => "has not answered".into(),
        }
    }

    /// For the line that explains a closed connection.
    fn state(&self, now: Instant) -> String {
        match &self.server {
            ServerSide::Down { why, retry_at: Some(at) } => {
                format!("{why}, next start in {}", seconds(at.saturating_duration_since(now)))
            }
            ServerSide::Down { why, retry_at: None } => why.clone(),
            ServerSide::Warming { since } => format!("was still starting after {}", seconds(now - *since)),
            ServerSide::Initializing { since } => format!("had not answered initialize for {}", seconds(now - *since)),
            ServerSide::Warm => "was running, not initialized".into(),
            ServerSide::Ready { .. } => "was running".into(),
        }
    }
}

fn seconds(d: Duration) -> String {
    format!("{:.1} s", d.as_secs_f64())
}

#[cfg(test)]
mod tests;
