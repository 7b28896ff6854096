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

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use memchr::memchr2;
use tokio::time::Instant;

use super::handshake::{Hello, Welcome};
use super::reply::{self, INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR, UNAVAILABLE};
use super::{Account, Gone, Note, Out, Router, ServerIndex};
use crate::config::Handshake;
use crate::envelope::{self, Envelope, Kind, NotMessage, Scanned};
use crate::frame::Cut;

/// The only server of this router.
const SERVER: ServerIndex = 0;

/// How long a request waits for its server: the cloud gives up on `initialize` and, in its older versions, on calls
/// after 10 s, and an error that arrives before that is worth more than a result after it.
const HOLD: Duration = Duration::from_secs(9);

/// How much may wait for a server, in bytes; a message larger than this still may if it is alone.
const HOLD_BYTES: usize = 1 << 20;

/// Requests under way at the server. No client has that many; an endpoint gone wild is told so instead of growing us.
const MAX_IN_FLIGHT: usize = 4096;

/// When the table is full, requests older than this make room: their server has most likely forgotten them.
const STALE: Duration = Duration::from_secs(600);

/// A server's requests under way at the endpoint.
const MAX_ASKED: usize = 64;

/// How long the endpoint may take to answer a server's request. A language model may be asked, so it is long.
const ASK: Duration = Duration::from_secs(60);

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

#[derive(Debug)]
struct Held {
    frame: Box<[u8]>,
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
    held: VecDeque<Held>,
    held_bytes: usize,
    flights: BTreeMap<u64, Flight>,
    asked: BTreeMap<u64, Asked>,
    /// The endpoint left a server's request unanswered, and has answered none since.
    mute: bool,
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
            held: VecDeque::new(),
            held_bytes: 0,
            flights: BTreeMap::new(),
            asked: BTreeMap::new(),
            mute: false,
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

    // ---- the endpoint's messages ----

    fn initialize(&mut self, frame: &[u8], e: &Envelope, id: &[u8], now: Instant, out: &mut impl Out) {
        let params = e.params.clone().map_or(&b"{}"[..], |r| &frame[r]);
        let hello = Hello::read(params);
        if let LinkSide::Up { initialize, .. } = &mut self.link {
            *initialize = Some(false);
        }
        if self.relays() {
            self.hello = Some(hello);
            return self.request(frame, e, id, now, out);
        }
        if let Some(welcome) = &self.welcome {
            let result = welcome.result_for(&hello.version);
            out.to_endpoint(&[&reply::result(id, &result)]);
            return self.initialize_answered();
        }
        self.waiting.push(Waiting { id: id.into(), version: hello.version.clone(), deadline: now + HOLD });
        let first = self.hello.is_none();
        if first {
            self.hello = Some(hello);
        }
        match self.server {
            ServerSide::Warming { .. } | ServerSide::Warm => self.begin_handshake(now, out),
            ServerSide::Down { .. } | ServerSide::Initializing { .. } | ServerSide::Ready { .. } => {}
        }
    }

    fn initialize_answered(&mut self) {
        if let LinkSide::Up { initialize, answered, .. } = &mut self.link {
            *initialize = Some(true);
            *answered += 1;
        }
    }

    fn request(&mut self, frame: &[u8], e: &Envelope, id: &[u8], now: Instant, out: &mut impl Out) {
        if self.draining {
            return self.refuse(id, UNAVAILABLE, "mcp-pipe is shutting down", out);
        }
        if id.len() > MAX_ID {
            return self.refuse(b"null", INVALID_REQUEST, format_args!("the id is longer than {MAX_ID} bytes"), out);
        }
        if self.flights.len() + self.held.len() >= MAX_IN_FLIGHT && !self.forget_oldest(now, out) {
            return self.refuse(id, UNAVAILABLE, format_args!("{MAX_IN_FLIGHT} requests are under way already"), out);
        }
        let method = e.method.clone().map_or(&b""[..], |r| &frame[r]);
        if !self.hold(frame, Some(id), now, out) {
            let flight = Flight::Call { text: [id, method].concat().into(), id_len: id.len(), since: now };
            let id = self.fly(flight);
            self.tell_server(out);
            forward_request(frame, e, id, out);
        }
    }

    /// Gives up the oldest request, if it is old enough.
    fn forget_oldest(&mut self, now: Instant, out: &mut impl Out) -> bool {
        let stale = |f: &Flight| matches!(f, Flight::Call { since, .. } if now - *since >= STALE);
        let Some(oldest) = self.flights.first_entry().filter(|e| stale(e.get())) else { return false };
        if let Flight::Call { text, id_len, .. } = oldest.remove() {
            let message = format!("server \"{}\" has not answered for {} s", self.name, STALE.as_secs());
            self.refuse(&text[..id_len], UNAVAILABLE, message, out);
        }
        true
    }

    /// Keeps a message for a server that can't take it yet; false if it can.
    fn hold(&mut self, frame: &[u8], id: Option<&[u8]>, now: Instant, out: &mut impl Out) -> bool {
        match &self.server {
            ServerSide::Warming { .. } | ServerSide::Warm | ServerSide::Ready { .. } => return false,
            ServerSide::Initializing { .. } => {}
            // Waiting is pointless if it comes too late.
            ServerSide::Down { why, retry_at } => {
                if let (Some(id), Some(at)) = (id, retry_at)
                    && *at > now + HOLD
                {
                    let message = format!("server \"{}\" {why}; next start in {}", self.name, seconds(*at - now));
                    self.refuse(id, UNAVAILABLE, message, out);
                    return true;
                }
            }
        }
        if self.held_bytes + frame.len() > HOLD_BYTES && !self.held.is_empty() {
            if let Some(id) = id {
                let message = format!("server \"{}\" is not ready, and too much waits for it already", self.name);
                self.refuse(id, UNAVAILABLE, message, out);
            }
            return true;
        }
        self.held_bytes += frame.len();
        self.held.push_back(Held { frame: frame.into(), deadline: now + HOLD });
        true
    }

    fn release(&mut self, now: Instant, out: &mut impl Out) {
        self.held_bytes = 0;
        for held in std::mem::take(&mut self.held) {
            self.on_endpoint(&held.frame, now, out);
        }
    }

    fn notification(&mut self, frame: &[u8], e: &Envelope, now: Instant, out: &mut impl Out) {
        match e.method.clone().map_or(&b""[..], |r| &frame[r]) {
            b"notifications/initialized" if !self.relays() => {
                self.converse();
                self.tell_server(out);
            }
            b"notifications/cancelled" => self.cancel(frame, e, out),
            _ => {
                self.converse();
                if !self.hold(frame, None, now, out) {
                    out.to_server(SERVER, &[frame]);
                }
            }
        }
    }

    /// Cancels by the server's id what the endpoint cancels by its own.
    fn cancel(&mut self, frame: &[u8], e: &Envelope, out: &mut impl Out) {
        let Some(range) = e.request_id.clone() else { return };
        let wanted = &frame[range.clone()];
        let found = self.flights.iter().find(|(_, f)| match f {
            Flight::Call { text, id_len, .. } => &text[..*id_len] == wanted,
            Flight::Probe | Flight::Initialize => false,
        });
        if let Some(id) = found.map(|(id, _)| *id) {
            out.to_server(SERVER, &[&frame[..range.start], id.to_string().as_bytes(), &frame[range.end..]]);
            // MCP: a cancelled request gets no answer, so nothing would ever take it out of the table.
            self.flights.remove(&id);
        } else {
            let is_it = |held: &Held| {
                envelope::scan_one(&held.frame).is_some_and(|e| e.id.is_some_and(|id| &held.frame[id] == wanted))
            };
            if let Some(at) = self.held.iter().position(is_it)
                && let Some(held) = self.held.remove(at)
            {
                self.held_bytes -= held.frame.len();
            }
        }
    }

    /// The endpoint's answer to a request of the server.
    fn endpoint_answers(&mut self, frame: &[u8], id: std::ops::Range<usize>, out: &mut impl Out) {
        match asked_id(&frame[id.clone()]).and_then(|n| self.asked.remove(&n)) {
            Some(asked) => {
                self.mute = false;
                out.to_server(SERVER, &[&frame[..id.start], &asked.id, &frame[id.end..]]);
            }
            None => out.note(Note::Unclaimed { server: None }),
        }
    }

    // ---- the server's messages ----

    fn begin_handshake(&mut self, now: Instant, out: &mut impl Out) {
        let Some(hello) = &self.hello else { return };
        let params = hello.params.clone();
        let id = self.fly(Flight::Initialize);
        out.to_server(SERVER, &[&reply::request(id, "initialize", Some(&params))]);
        self.server = ServerSide::Initializing { since: now };
    }

    /// Lets the server know that its handshake is complete, once.
    fn tell_server(&mut self, out: &mut impl Out) {
        if let ServerSide::Ready { told: told @ false } = &mut self.server {
            *told = true;
            out.to_server(SERVER, &[br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#]);
        }
    }

    fn welcomed(&mut self, welcome: Welcome, now: Instant, out: &mut impl Out) {
        out.note(Note::Initialized { server: SERVER, identity: welcome.identity() });
        // An endpoint that waits for this answer completes the handshake itself.
        self.server = ServerSide::Ready { told: false };
        if self.waiting.is_empty() || matches!(self.link, LinkSide::Up { conversing: true, .. }) {
            self.tell_server(out);
        }
        for w in std::mem::take(&mut self.waiting) {
            out.to_endpoint(&[&reply::result(&w.id, &welcome.result_for(&w.version))]);
            self.initialize_answered();
        }
        self.welcome = Some(welcome);
        self.release(now, out);
    }

    /// The server refused to initialize: its error is the answer of all who wait.
    fn unwelcome(&mut self, answer: impl Fn(&[u8]) -> Vec<u8>, now: Instant, out: &mut impl Out) {
        self.server = ServerSide::Warm;
        if self.welcome.is_none() {
            self.hello = None; // the next endpoint may have better luck
        }
        for w in std::mem::take(&mut self.waiting) {
            out.to_endpoint(&[&answer(&w.id)]);
            self.initialize_answered();
        }
        self.release(now, out);
    }

    fn server_answers(
        &mut self,
        frame: &[u8],
        e: &Envelope,
        id: std::ops::Range<usize>,
        now: Instant,
        out: &mut impl Out,
    ) {
        match flight_id(&frame[id.clone()]).and_then(|n| self.flights.remove(&n)) {
            None => out.note(Note::Unclaimed { server: Some(SERVER) }),
            Some(Flight::Probe) => {}
            Some(Flight::Initialize) => match &e.result {
                Some(result) => self.welcomed(Welcome::read(&frame[result.clone()]), now, out),
                None => self.unwelcome(|w| [&frame[..id.start], w, &frame[id.end..]].concat(), now, out),
            },
            Some(Flight::Call { text, id_len, since }) => {
                let (own, method) = text.split_at(id_len);
                out.to_endpoint(&[&frame[..id.start], own, &frame[id.end..]]);
                if let LinkSide::Up { answered, .. } = &mut self.link {
                    *answered += 1;
                }
                if method == b"initialize" {
                    self.relayed_welcome(frame, e, out);
                } else if is_call(method) {
                    self.served += 1;
                    let method = str::from_utf8(method).unwrap_or_default();
                    out.note(Note::Served { server: SERVER, method, took: now - since });
                }
            }
        }
    }

    /// Relay: the answer to an `initialize` passed by.
    fn relayed_welcome(&mut self, frame: &[u8], e: &Envelope, out: &mut impl Out) {
        if let LinkSide::Up { initialize, .. } = &mut self.link {
            *initialize = Some(true);
        }
        if let Some(result) = &e.result {
            let welcome = Welcome::read(&frame[result.clone()]);
            out.note(Note::Initialized { server: SERVER, identity: welcome.identity() });
            // Its `notifications/initialized` comes through as well.
            self.server = ServerSide::Ready { told: true };
            self.welcome = Some(welcome);
        }
    }

    /// A server's own request: the endpoint answers it where it can, else we do. Silence is no answer.
    fn server_asks(&mut self, frame: &[u8], e: &Envelope, id: &[u8], now: Instant, out: &mut impl Out) {
        let method = e.method.clone().map_or("", |r| str::from_utf8(&frame[r]).unwrap_or_default());
        if method == "ping" {
            return out.to_server(SERVER, &[&reply::result(id, b"{}")]);
        }
        let refusal = if !matches!(self.link, LinkSide::Up { conversing: true, .. }) {
            Some((UNAVAILABLE, "no endpoint is connected"))
        } else if !self.hello.as_ref().is_some_and(|h| h.can_answer(method)) {
            Some((METHOD_NOT_FOUND, "the endpoint did not declare the capability"))
        } else if self.mute {
            Some((UNAVAILABLE, "the endpoint does not answer requests"))
        } else if self.asked.len() >= MAX_ASKED || id.len() > MAX_ID {
            Some((UNAVAILABLE, "too many requests wait for the endpoint"))
        } else {
            None
        };
        if let Some((code, why)) = refusal {
            out.to_server(SERVER, &[&reply::error(id, code, why)]);
            return out.note(Note::AnsweredForEndpoint { server: SERVER, method: method.into(), why });
        }
        let n = self.next_id();
        self.asked.insert(n, Asked { id: id.into(), method: method.into(), deadline: now + ASK });
        let Some(range) = e.id.clone() else { return };
        out.to_endpoint(&[&frame[..range.start], asked_token(n).as_bytes(), &frame[range.end..]]);
    }

    fn server_notifies(&mut self, frame: &[u8], e: &Envelope, out: &mut impl Out) {
        if !matches!(self.link, LinkSide::Up { conversing: true, .. }) {
            return; // before the handshake an endpoint expects nothing, and it lists everything after it
        }
        if e.method.as_ref().is_some_and(|r| &frame[r.clone()] == b"notifications/cancelled") {
            let Some(range) = e.request_id.clone() else { return };
            let Some(n) = self.asked.iter().find(|(_, a)| *a.id == frame[range.clone()]).map(|(n, _)| *n) else {
                return;
            };
            self.asked.remove(&n);
            return out.to_endpoint(&[&frame[..range.start], asked_token(n).as_bytes(), &frame[range.end..]]);
        }
        out.to_endpoint(&[frame]);
    }

    /// Answers what the server's death leaves open.
    fn abandon_flights(&mut self, why: &str, out: &mut impl Out) {
        for (_, flight) in std::mem::take(&mut self.flights) {
            if let Flight::Call { text, id_len, .. } = flight {
                let message = format!("server \"{}\" {why} before it answered", self.name);
                self.refuse(&text[..id_len], UNAVAILABLE, message, out);
            }
        }
        self.asked.clear();
    }
}

impl Router for Passthrough {
    fn on_link_up(&mut self, _now: Instant, _out: &mut impl Out) {
        self.link = LinkSide::Up { conversing: false, initialize: None, answered: 0 };
    }

    fn on_link_down(&mut self, _now: Instant, out: &mut impl Out) {
        self.link = LinkSide::Down;
        self.waiting.clear();
        self.held.clear();
        self.held_bytes = 0;
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
            Ok(Scanned::Batch(_)) | Err(NotMessage::NoObject) => {
                self.refuse(b"null", INVALID_REQUEST, "invalid request: not an object", out);
                return out.note(Note::NotMessage { why: "not an object".into() });
            }
            Err(why @ NotMessage::Json(_)) => {
                self.refuse(b"null", PARSE_ERROR, format_args!("parse error: {why}"), out);
                return out.note(Note::NotMessage { why: why.to_string() });
            }
        };
        let id = e.id.clone();
        match (e.kind(frame), id) {
            (Kind::Request, Some(id)) => match (e.method.clone().map(|r| &frame[r]), &frame[id]) {
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
        if self.hello.is_some() {
            self.begin_handshake(now, out);
        } else {
            // Allowed before `initialize` (MCP, lifecycle); any answer says that the server is loaded.
            let id = self.fly(Flight::Probe);
            out.to_server(SERVER, &[&reply::request(id, "ping", None)]);
        }
    }

    fn on_server_down(&mut self, _server: ServerIndex, gone: Gone<'_>, now: Instant, out: &mut impl Out) {
        self.server = ServerSide::Down { why: gone.why.into(), retry_at: Some(now + gone.retry_in) };
        self.abandon_flights(gone.why, out);
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
        while self.held.front().is_some_and(|h| h.deadline <= now) {
            let Some(held) = self.held.pop_front() else { break };
            self.held_bytes -= held.frame.len();
            if let Some(id) = envelope::scan_one(&held.frame).and_then(|e| e.id) {
                let message = format!("server \"{}\" {} for {} s", self.name, self.doing(), HOLD.as_secs());
                self.refuse(&held.frame[id], UNAVAILABLE, message, out);
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
        let held = self.held.front().map(|h| h.deadline);
        let waiting = self.waiting.first().map(|w| w.deadline);
        let asked = self.asked.first_key_value().map(|(_, a)| a.deadline);
        [held, waiting, asked].into_iter().flatten().min()
    }

    fn drain(&mut self, _now: Instant, out: &mut impl Out) {
        self.draining = true;
        self.held_bytes = 0;
        for held in std::mem::take(&mut self.held) {
            if let Some(id) = envelope::scan_one(&held.frame).and_then(|e| e.id) {
                self.refuse(&held.frame[id], UNAVAILABLE, "mcp-pipe is shutting down", out);
            }
        }
    }

    fn in_flight(&self) -> usize {
        self.flights.values().filter(|f| matches!(f, Flight::Call { .. })).count()
    }

    fn is_warm(&self) -> bool {
        matches!(self.server, ServerSide::Warm | ServerSide::Ready { .. })
    }

    fn is_handshaken(&self) -> bool {
        matches!(self.link, LinkSide::Up { initialize: Some(true), .. })
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

/// Passes a request on under our id, with the repairs that real clients and servers need: a TypeScript server never
/// answers `"params":null`, and fails on `"arguments":null`.
fn forward_request(frame: &[u8], e: &Envelope, id: u64, out: &mut impl Out) {
    let Some(own) = e.id.clone() else { return };
    let mut digits = [0; 20];
    let id = decimal(id, &mut digits);
    let repair = match (&e.params, &e.arguments) {
        (Some(p), _) if &frame[p.clone()] == b"null" => {
            Some((with_one_comma(frame, e.params_member.clone()), &b""[..]))
        }
        (_, Some(a)) if &frame[a.clone()] == b"null" => Some((a.clone(), &b"{}"[..])),
        _ => None,
    };
    match repair {
        None => out.to_server(SERVER, &[&frame[..own.start], id, &frame[own.end..]]),
        Some((r, with)) if r.start >= own.end => {
            out.to_server(SERVER, &[&frame[..own.start], id, &frame[own.end..r.start], with, &frame[r.end..]]);
        }
        Some((r, with)) => {
            out.to_server(SERVER, &[&frame[..r.start], with, &frame[r.end..own.start], id, &frame[own.end..]]);
        }
    }
}

/// A member of an object with the comma that goes when it goes. The object is known to be well-formed and to have other members.
fn with_one_comma(frame: &[u8], member: std::ops::Range<usize>) -> std::ops::Range<usize> {
    let before = frame[..member.start].trim_ascii_end();
    if before.ends_with(b",") {
        return before.len() - 1..member.end;
    }
    let after = &frame[member.end..];
    let comma = after.iter().position(|b| *b == b',').map_or(0, |n| n + 1);
    member.start..member.end + comma
}

/// `n` in decimal, without an allocation.
fn decimal(mut n: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            return &digits[at..];
        }
    }
}

/// Our id as a server gives it back: some make a string or a float of a number.
fn flight_id(token: &[u8]) -> Option<u64> {
    let token = token.strip_prefix(b"\"").and_then(|t| t.strip_suffix(b"\"")).unwrap_or(token);
    let token = token.strip_suffix(b".0").unwrap_or(token);
    str::from_utf8(token).ok()?.parse().ok()
}

/// The id under which a server's request goes to the endpoint: a string, because the endpoint's own are often small numbers.
fn asked_token(n: u64) -> String {
    format!("\"mcp-pipe-{n}\"")
}

fn asked_id(token: &[u8]) -> Option<u64> {
    str::from_utf8(token.strip_prefix(b"\"mcp-pipe-")?.strip_suffix(b"\"")?).ok()?.parse().ok()
}

/// Whether an answer to this shows that the whole path works. Handshake, ping and lists don't: an endpoint that
/// refuses our tools has asked for all of them before.
fn is_call(method: &[u8]) -> bool {
    !(method == b"initialize" || method == b"ping" || method == b"server/discover" || method.ends_with(b"/list"))
}

#[cfg(test)]
mod tests;
