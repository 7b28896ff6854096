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

use std::sync::Arc;

use tokio::time::Instant;

use super::desk::{Desk, Message, Received};
use super::edits::Edits;
use super::lane::{Call, Flight, Lane, MAX_WAITING, ServerSide, Waiting, is_call};
use super::request::Request;
use super::{Account, Gone, Note, Out, Reconnect, Router, SHUTTING_DOWN, ServerIndex, What};
use crate::config::Handshake;
use crate::frame::Cut;
use crate::mcp::cloud::HOLD;
use crate::mcp::envelope::{Envelope, Kind, Lost};
use crate::mcp::handshake::{Hello, Welcome};
use crate::mcp::reply::{self, UNAVAILABLE};
use crate::tools::size::{Size, count_of_all};

/// The only server of this router.
const SERVER: ServerIndex = 0;

/// See the module's documentation.
#[derive(Debug)]
pub struct Passthrough {
    handshake: Handshake,
    desk: Desk,
    lane: Lane,
    welcome: Option<Welcome>,
    waiting: Vec<Waiting>,
}

impl Passthrough {
    /// For the server called `name`. Nothing is connected, nothing runs.
    pub fn new(name: Arc<str>, handshake: Handshake, max_frame: usize) -> Self {
        Passthrough {
            handshake,
            desk: Desk::new(max_frame),
            lane: Lane::new(SERVER, name, max_frame, false),
            welcome: None,
            waiting: Vec::new(),
        }
    }

    fn relays(&self) -> bool {
        self.handshake == Handshake::Relay
    }
}

impl Router for Passthrough {
    fn on_link_up(&mut self, _now: Instant, _out: &mut dyn Out) {
        self.desk.link_up();
    }

    fn on_link_down(&mut self, _now: Instant, out: &mut dyn Out) {
        self.waiting.clear();
        self.lane.link_down(out);
        self.desk.link_down(out);
    }

    fn on_endpoint(&mut self, frame: &[u8], now: Instant, out: &mut dyn Out) {
        match self.desk.receive(frame, out) {
            Received::One(e, line) => self.message(line.as_deref().unwrap_or(frame), &e, now, out),
            Received::Batch(members, line) => {
                let frame = line.as_deref().unwrap_or(frame);
                for member in members {
                    self.on_endpoint(&frame[member], now, out);
                }
            }
            Received::Nothing => {}
        }
    }

    fn on_endpoint_too_large(&mut self, cut: Cut<'_>, _now: Instant, out: &mut dyn Out) {
        self.desk.too_large(cut, out);
    }

    fn on_endpoint_not_text(&mut self, frame: &[u8], _now: Instant, out: &mut dyn Out) {
        self.desk.not_text(frame, out);
    }

    fn on_server_up(&mut self, _server: ServerIndex, now: Instant, out: &mut dyn Out) {
        self.lane.up(now);
        // A handshake that is to be relayed and waits already does it.
        let relayed = self.relays() && self.lane.held.has_method(b"initialize");
        if self.desk.hello.is_some() && !relayed {
            return self.lane.send_initialize(&mut self.desk, now, out);
        }
        self.lane.probe(&mut self.desk, out);
        self.release(out);
    }

    fn on_server_down(&mut self, _server: ServerIndex, gone: Gone<'_>, now: Instant, out: &mut dyn Out) {
        self.lane.down(gone, &mut self.desk, now, out);
    }

    fn on_server_busy(&mut self, _server: ServerIndex, busy: bool, _now: Instant, _out: &mut dyn Out) {
        self.lane.busy = busy;
    }

    fn on_server(&mut self, _server: ServerIndex, frame: &[u8], e: &Envelope, now: Instant, out: &mut dyn Out) {
        self.lane.end_silence(now, out);
        self.lane.mark_loaded();
        match e.kind(frame) {
            Kind::Response => self.server_answers(frame, e, now, out),
            Kind::Request => self.desk.ask(SERVER, frame, e, now, out),
            Kind::Notification => self.server_notifies(frame, e, out),
            Kind::Other => {}
        }
    }

    fn on_server_noise(&mut self, _server: ServerIndex, text: &[u8], now: Instant, out: &mut dyn Out) {
        self.lane.end_silence(now, out);
        out.note(Note::of(SERVER, What::Noise { line: text }));
    }

    fn on_server_lost(&mut self, _server: ServerIndex, lost: Lost<'_>, text: &[u8], now: Instant, out: &mut dyn Out) {
        self.lane.end_silence(now, out);
        let lost = self.lane.lose(lost, text, &mut self.desk, out);
        self.on_lost(lost, out);
    }

    fn on_server_too_large(&mut self, _server: ServerIndex, cut: Cut<'_>, now: Instant, out: &mut dyn Out) {
        self.lane.end_silence(now, out);
        let lost = self.lane.too_large(cut, &mut self.desk, out);
        self.on_lost(lost, out);
    }

    fn on_tick(&mut self, now: Instant, out: &mut dyn Out) {
        self.lane.tick(&mut self.desk, now, out);
        while self.waiting.first().is_some_and(|w| w.deadline <= now) {
            let w = self.waiting.remove(0);
            self.desk.excuse(&w.id, self.lane.excuse(HOLD), out);
        }
        self.desk.tick(now, out);
    }

    fn on_beat(&mut self, now: Instant, out: &mut dyn Out) {
        self.lane.check_silence(&mut self.desk, now, out);
    }

    fn next_tick(&self) -> Option<Instant> {
        let waiting = self.waiting.first().map(|w| w.deadline);
        [self.lane.held.deadline(), waiting, self.desk.next_tick()].into_iter().flatten().min()
    }

    fn drain(&mut self, _now: Instant, out: &mut dyn Out) {
        self.desk.draining = true;
        for (_, frame) in self.lane.held.take() {
            self.desk.refuse_held(&frame, SHUTTING_DOWN, out);
        }
        for w in std::mem::take(&mut self.waiting) {
            self.desk.refuse(&w.id, UNAVAILABLE, SHUTTING_DOWN, out);
        }
    }

    fn in_flight(&self) -> usize {
        self.lane.calls().count() + self.lane.held.len() + self.waiting.len()
    }

    fn is_warm(&self) -> bool {
        self.lane.is_warm()
    }

    fn is_serving(&self, _server: ServerIndex) -> bool {
        self.is_warm()
    }

    fn is_handshaken(&self) -> bool {
        self.desk.is_handshaken()
    }

    fn wants_reconnect(&self, _now: Instant) -> Option<Reconnect> {
        None
    }

    fn account(&self, now: Instant) -> Account {
        let mut account = self.desk.account(self.lane.standing(now));
        account.unanswered = self.lane.unanswered(now).collect();
        account
    }

    fn served(&self) -> u64 {
        self.desk.served
    }
}

impl Passthrough {
    /// A message of the endpoint.
    fn message(&mut self, frame: &[u8], e: &Envelope, now: Instant, out: &mut dyn Out) {
        match self.desk.classify(frame, e, now, out) {
            Some(Message::Request(request @ Request { method: b"initialize", .. })) => self.initialize(&request, out),
            Some(Message::Request(Request { id, method: b"ping", .. })) if !self.relays() => {
                out.to_endpoint(&[&reply::result(id, b"{}")]);
            }
            Some(Message::Request(request)) => {
                self.desk.open_conversation(out);
                self.request(&request, out);
            }
            Some(Message::Notification { method: b"notifications/initialized" }) if !self.relays() => {
                self.desk.open_conversation(out);
                self.lane.send_initialized(out);
            }
            Some(Message::Notification { method: b"notifications/cancelled" }) => {
                self.lane.cancel(frame, e, out);
            }
            Some(Message::Notification { .. }) => {
                self.desk.open_conversation(out);
                if self.lane.admits_notification(frame, now) {
                    out.to_server(SERVER, &[frame]);
                }
            }
            None => {}
        }
    }

    fn initialize(&mut self, request: &Request<'_>, out: &mut dyn Out) {
        let (id, now) = (request.id, request.now);
        let hello = Hello::read(request.params());
        self.desk.initialize(false);
        if self.relays() {
            self.desk.hello = Some(hello);
            return self.request(request, out);
        }
        if let Some(welcome) = &self.welcome {
            let result = welcome.result_for(&hello.version);
            self.desk.reply(id, &result, out);
            return self.desk.initialize(true);
        }
        if self.waiting.len() >= MAX_WAITING {
            let message = format_args!("{MAX_WAITING} others wait for the server already");
            return self.desk.refuse(id, UNAVAILABLE, message, out);
        }
        self.waiting.push(Waiting { id: id.into(), version: hello.version.clone(), deadline: now + HOLD });
        if self.desk.hello.is_none() {
            self.desk.hello = Some(hello);
        }
        match self.lane.state {
            ServerSide::Warming { .. } | ServerSide::Warm => self.lane.send_initialize(&mut self.desk, now, out),
            ServerSide::Down { .. }
            | ServerSide::Refusing { .. }
            | ServerSide::Initializing { .. }
            | ServerSide::Ready { .. } => {}
        }
    }

    fn request(&mut self, request: &Request<'_>, out: &mut dyn Out) {
        let Passthrough { desk, lane, .. } = self;
        if desk.draining {
            return desk.refuse(request.id, UNAVAILABLE, SHUTTING_DOWN, out);
        }
        if lane.has_room(request, desk, out) && lane.admits(request, None, desk, out) {
            lane.send_initialized(out);
            lane.forward(request, Call::new(request), Edits::default(), desk, out);
        }
    }

    fn release(&mut self, out: &mut dyn Out) {
        // What came before counts from then on.
        for (since, frame) in self.lane.held.take() {
            self.on_endpoint(&frame, since, out);
        }
    }

    fn server_answers(&mut self, frame: &[u8], e: &Envelope, now: Instant, out: &mut dyn Out) {
        let Some(id) = e.id.clone() else { return };
        match self.lane.take_flight(&frame[id.clone()]) {
            None => out.note(Note::of(SERVER, What::Unclaimed)),
            Some((_, Flight::Probe | Flight::List(..))) => {}
            Some((_, Flight::Initialize { .. })) => match &e.result {
                Some(result) => self.on_welcome(Welcome::read(&frame[result.clone()]), out),
                None => self.on_refusal(|w| [&frame[..id.start], w, &frame[id.end..]].concat(), out),
            },
            Some((number, Flight::Call(call))) => {
                self.lane.lasting.keep(number, call.progress(), frame, e);
                if !self.lane.deliver(frame, id, &call, &mut self.desk, out) {
                    return;
                }
                let method = call.method();
                if method == b"initialize" {
                    self.relayed_welcome(frame, e, out);
                } else if let (b"tools/list", Some(result)) = (method, &e.result) {
                    let list = String::from_utf8_lossy(&frame[result.clone()]);
                    let what = What::ToolsRead { size: Size::of(&list), count: count_of_all(&list) };
                    out.note(Note::of_endpoint(what));
                } else if is_call(method) {
                    self.desk.served += 1;
                    out.note(Note::of(SERVER, What::Served { method, took: now - call.since }));
                }
            }
        }
    }

    /// The answer to a request of ours is lost.
    fn on_lost(&mut self, lost: Option<(Flight, String)>, out: &mut dyn Out) {
        if let Some((Flight::Initialize { .. }, message)) = lost {
            self.on_refusal(|id| reply::error(id, UNAVAILABLE, &message), out);
        }
    }

    fn on_welcome(&mut self, welcome: Welcome, out: &mut dyn Out) {
        out.note(Note::of(SERVER, What::Initialized { identity: welcome.identity() }));
        // An endpoint that waits for this answer completes the handshake itself.
        self.lane.state = ServerSide::Ready { told: false };
        if self.waiting.is_empty() || self.desk.is_conversing() {
            self.lane.send_initialized(out);
        }
        for w in std::mem::take(&mut self.waiting) {
            self.desk.reply(&w.id, &welcome.result_for(&w.version), out);
            self.desk.initialize(true);
        }
        self.welcome = Some(welcome);
        self.release(out);
    }

    /// The server refused to initialize: its error is the answer of all who wait.
    fn on_refusal(&mut self, answer: impl Fn(&[u8]) -> Vec<u8>, out: &mut dyn Out) {
        self.lane.state = ServerSide::Warm;
        if self.welcome.is_none() {
            self.desk.hello = None; // the next endpoint may have better luck
        }
        for w in std::mem::take(&mut self.waiting) {
            out.to_endpoint(&[&answer(&w.id)]);
            self.desk.answered();
            self.desk.initialize(true);
        }
        self.release(out);
    }

    /// Relay: the answer to an `initialize` passed by.
    fn relayed_welcome(&mut self, frame: &[u8], e: &Envelope, out: &mut dyn Out) {
        self.desk.initialize(true);
        if let Some(result) = &e.result {
            let welcome = Welcome::read(&frame[result.clone()]);
            out.note(Note::of(SERVER, What::Initialized { identity: welcome.identity() }));
            // Its `notifications/initialized` comes through as well.
            self.lane.state = ServerSide::Ready { told: true };
            self.welcome = Some(welcome);
        }
    }

    fn server_notifies(&mut self, frame: &[u8], e: &Envelope, out: &mut dyn Out) {
        let method = e.method.clone().map_or(&b""[..], |method| &frame[method]);
        if method == b"notifications/cancelled" {
            return self.desk.withdraw(SERVER, frame, e, out);
        }
        if method == b"notifications/tasks/status" {
            self.lane.lasting.on_status(frame, e);
        }
        if self.desk.is_conversing() {
            // Before the handshake an endpoint expects nothing, and it lists everything after it.
            self.lane.notify(frame, e, out);
        }
    }
}

#[cfg(test)]
mod tests;
