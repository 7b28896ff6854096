//! One server on one connection, its messages untouched but for their ids.
//!
//! # Theory of operation
//!
//! Each request of the endpoint gets an id of ours on its way to the server and its own id back on the answer, so the ids of
//! different connections, the endpoint's and our own can never be taken for each other, whatever either side makes of them.
//! A server's own requests travel the other way under ids of ours as well.
//!
//! The handshake is ours. A server is initialized as soon as it runs, with what its endpoint is expected to say; every
//! `initialize` of the endpoint is answered with the result, at once unless the endpoint says other things that matter to
//! the server (see `opening`). A restarted server is initialized before anything else reaches it. Requests that arrive while
//! a server is not there, or not yet initialized, are held for a few seconds. Requests that were under way when a server
//! died are answered with an error at once and never sent again, because a call need not be idempotent.
//!
//! Each life of the server is told what the endpoint wants (the resources to follow, the log level). Then the lists that the
//! endpoint has read are compared with the server's present ones (see `reread`): where they differ, the endpoint is told so,
//! or gets a new connection.
//!
//! `ping` is answered by us: it asks whether its receiver lives, and a server that is busy with a call must not cost the
//! connection. With `handshake: relay` `initialize` and `notifications/initialized` of the endpoint go through to a server
//! that is ready.

mod handshake;
mod reread;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use tokio::time::Instant;

use self::reread::{Asking, Reread};
use super::changes::{Changes, print};
use super::desk::{Desk, Message, Received};
use super::edits::Edits;
use super::lane::{Call, Flight, Lane, MAX_WAITING, Opened, ServerSide, Terms, WaitingInitialize, is_call};
use super::merge::shelf::PageAnswer;
use super::opening::words;
use super::request::Request;
use super::wishes::Wishes;
use super::{Account, Gone, Greeting, Note, Out, Reconnect, Router, SHUTTING_DOWN, ServerIndex, Start, What, earliest};
use crate::config::{Handshake, ServerSpec};
use crate::frame::Cut;
use crate::mcp::cloud::HOLD;
use crate::mcp::envelope::{self, Envelope, Kind, Lost};
use crate::mcp::failure::Failure;
use crate::mcp::handshake::{Hello, Welcome};
use crate::mcp::lists::{ListKind, Place};
use crate::mcp::reply::{self, METHOD_NOT_FOUND, UNAVAILABLE};
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
    /// The answer of a server that refuses to initialize: what comes before its id, and what comes after.
    refusal: Option<[Box<[u8]>; 2]>,
    waiting: Vec<WaitingInitialize>,
    /// Handshakes that have waited for long enough, and only wait for room.
    due: VecDeque<WaitingInitialize>,
    /// An `initialize` of the endpoint went through to the present process, on this connection.
    relayed: bool,
    wishes: Wishes,
    changes: Changes,
    reread: Reread,
    /// No request is taken any more.
    draining: bool,
    /// Calls that were answered.
    served: u64,
}

impl Passthrough {
    /// A router for this server. `hello`: what its endpoint will say of itself, if that is known. Nothing is connected,
    /// nothing runs.
    pub fn new(spec: &ServerSpec, hello: Option<Arc<Hello>>) -> Self {
        Passthrough {
            handshake: spec.handshake,
            desk: Desk::new(spec.max_frame, hello),
            lane: Lane::new(SERVER, spec.name.clone(), spec.max_frame, false),
            welcome: None,
            refusal: None,
            waiting: Vec::new(),
            due: VecDeque::new(),
            relayed: false,
            wishes: Wishes::default(),
            changes: Changes::new(spec.sharing.resync),
            reread: Reread::default(),
            draining: false,
            served: 0,
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

    fn on_link_down(&mut self, now: Instant, out: &mut dyn Out) {
        self.waiting.clear();
        self.due.clear();
        self.relayed = false;
        self.changes.link_down(now);
        self.reread.link_down();
        self.lane.link_down(out);
        self.wishes.take_back(&mut self.lane, out);
        self.desk.link_down(out);
    }

    fn on_endpoint(&mut self, frame: &[u8], now: Instant, out: &mut dyn Out) {
        self.changes.heard(now);
        match self.desk.receive(frame, out) {
            Received::One(e, line) => self.message(line.as_deref().unwrap_or(frame), &e, now, out),
            Received::Batch(members, line) => {
                self.desk.keep_batch(line.unwrap_or_else(|| frame.to_vec()), members);
                self.on_room(now, out);
            }
            Received::Nothing => {}
        }
    }

    fn on_endpoint_too_large(&mut self, cut: Cut<'_>, _now: Instant, out: &mut dyn Out) {
        self.desk.on_too_large(cut, out);
    }

    fn on_endpoint_not_text(&mut self, frame: &[u8], _now: Instant, out: &mut dyn Out) {
        self.desk.on_not_text(frame, out);
    }

    fn on_server_up(&mut self, _server: ServerIndex, now: Instant, out: &mut dyn Out) {
        self.relayed = false;
        self.lane.up(&mut self.desk, now, out);
    }

    fn on_server_down(&mut self, _server: ServerIndex, gone: Gone<'_>, now: Instant, out: &mut dyn Out) {
        self.reread.server_down();
        self.wishes.server_down();
        self.lane.down(gone, &mut self.desk, now, out);
    }

    fn on_server_busy(&mut self, _server: ServerIndex, busy: bool, _now: Instant, out: &mut dyn Out) {
        self.lane.busy = busy;
        self.wishes.send_leftover(&mut self.lane, out);
    }

    fn on_server(&mut self, _server: ServerIndex, frame: &[u8], e: &Envelope, now: Instant, out: &mut dyn Out) {
        self.lane.end_silence(now, out);
        match e.kind(frame) {
            Kind::Response => self.server_answers(frame, e, now, out),
            Kind::Request => self.desk.ask(SERVER, frame, e, now, out),
            Kind::Notification => self.server_notifies(frame, e, now, out),
            Kind::Other => {}
        }
    }

    fn on_server_noise(&mut self, _server: ServerIndex, text: &[u8], now: Instant, out: &mut dyn Out) {
        self.lane.end_silence(now, out);
        out.note(Note::of(SERVER, What::Noise { line: text }));
    }

    fn on_server_lost(&mut self, _server: ServerIndex, lost: Lost<'_>, text: &[u8], now: Instant, out: &mut dyn Out) {
        self.lane.end_silence(now, out);
        let lost = self.lane.on_lost(lost, text, &mut self.desk, out);
        self.on_lost(lost, now, out);
    }

    fn on_server_too_large(&mut self, _server: ServerIndex, cut: Cut<'_>, now: Instant, out: &mut dyn Out) {
        self.lane.end_silence(now, out);
        let lost = self.lane.on_too_large(cut, &mut self.desk, out);
        self.on_lost(lost, now, out);
    }

    fn on_room(&mut self, now: Instant, out: &mut dyn Out) {
        self.answer_due(out);
        while out.has_room()
            && let Some(message) = self.desk.next_of_batch()
        {
            self.on_endpoint(&message, now, out);
        }
    }

    fn on_tick(&mut self, now: Instant, out: &mut dyn Out) {
        let opened = self.lane.check_opening(self.welcome.as_ref(), &mut self.desk, now, out);
        self.on_opened(opened, now, out);
        let Passthrough { lane, reread, .. } = self;
        reread.tick(&mut Asking { lane, now, out });
        self.changes.tick(now);
        self.lane.tick(&mut self.desk, now, out);
        while self.waiting.first().is_some_and(|w| w.deadline <= now) {
            let late = self.waiting.remove(0);
            self.due.push_back(late);
        }
        self.answer_due(out);
        self.desk.tick(now, out);
    }

    fn on_beat(&mut self, now: Instant, out: &mut dyn Out) {
        self.lane.check_silence(now, out);
    }

    fn next_tick(&self) -> Option<Instant> {
        let waiting = self.waiting.first().map(|w| w.deadline);
        let reread = self.reread.next_tick(self.lane.is_ready());
        let lane = earliest([self.lane.held.deadline(), self.lane.opening_due(), reread]);
        earliest([lane, waiting, self.desk.next_tick(), self.changes.next_tick()])
    }

    fn drain(&mut self, _now: Instant, out: &mut dyn Out) {
        self.draining = true;
        self.changes.drain();
        for (_, frame) in self.lane.held.take_all() {
            self.desk.refuse_held(&frame, SHUTTING_DOWN, out);
        }
        for w in std::mem::take(&mut self.due).into_iter().chain(std::mem::take(&mut self.waiting)) {
            self.desk.refuse(&w.id, UNAVAILABLE, SHUTTING_DOWN, out);
        }
    }

    fn in_flight(&self) -> usize {
        let waiting = self.waiting.len() + self.due.len() + self.desk.unread();
        self.lane.calls().count() + self.lane.held.len() + waiting
    }

    fn start(&self, _server: ServerIndex) -> Start {
        self.lane.start()
    }

    fn is_serving(&self, _server: ServerIndex) -> bool {
        self.lane.is_initialized()
    }

    fn is_handshaken(&self) -> bool {
        self.desk.is_handshaken()
    }

    fn wants_reconnect(&self, now: Instant) -> Option<Reconnect> {
        let waits = || !self.waiting.is_empty() || !self.due.is_empty() || self.desk.unread() > 0;
        let is_quiet = || !waits() && self.desk.asked.is_empty() && self.lane.is_quiet(now);
        (self.changes.is_due(now) && is_quiet()).then_some(Reconnect::Resync)
    }

    fn account(&self, now: Instant) -> Account {
        let mut account = self.desk.account(self.served, self.lane.standing(now));
        account.unanswered = self.lane.unanswered(now).collect();
        account
    }

    fn served(&self) -> u64 {
        self.served
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
            // The server is bound to the era of its first message. An endpoint that gets an error here has yet to say what
            // it is, by `initialize` (MCP 2026-07-28, server/discover).
            Some(Message::Request(Request { id, method: b"server/discover", .. })) => {
                self.desk.refuse(id, METHOD_NOT_FOUND, "method not found", out);
            }
            Some(Message::Request(request)) => {
                self.open_conversation(now, out);
                self.request(&request, out);
            }
            Some(Message::Notification { method: b"notifications/initialized" }) if !self.relayed => {
                self.open_conversation(now, out);
            }
            Some(Message::Notification { method: b"notifications/cancelled" }) => {
                self.lane.cancel(frame, e, out);
            }
            Some(Message::Notification { .. }) => {
                self.open_conversation(now, out);
                if self.lane.admits_notification(frame, now) {
                    out.to_server(SERVER, &[frame]);
                }
            }
            None => {}
        }
    }

    fn request(&mut self, request: &Request<'_>, out: &mut dyn Out) {
        let Passthrough { desk, lane, reread, wishes, draining, .. } = self;
        if *draining {
            return desk.refuse(request.id, UNAVAILABLE, SHUTTING_DOWN, out);
        }
        if request.method == b"resources/unsubscribe"
            && let Some(own) = request.uri()
        {
            wishes.unsubscribe(&own);
        }
        if !lane.has_room(request, desk, out) || !lane.admits(request, None, desk, out) {
            return;
        }
        let mut call = Call::new(request);
        if let Some(place) = Place::of(request.method, request.params()) {
            let version = reread.asked(place, request.now);
            call.terms = Some(Box::new(Terms { place: Some((place, version)), ..Terms::default() }));
        }
        lane.forward(request, call, Edits::default(), out);
        // Only what has been sent counts: a request that waits for the server comes here again, and the server's next life
        // would be told the same twice.
        match request.method {
            b"resources/subscribe" => {
                if let Some(own) = request.uri() {
                    wishes.subscribe(&own, &own);
                }
            }
            // Parameters that can't be kept are for the server to judge, once.
            b"logging/setLevel" => drop(wishes.set_level(request.params())),
            _ => {}
        }
    }

    fn release(&mut self, out: &mut dyn Out) {
        // The time of a message counts from when it came.
        for (since, frame) in self.lane.held.take_all() {
            self.on_endpoint(&frame, since, out);
        }
    }

    fn server_answers(&mut self, frame: &[u8], e: &Envelope, now: Instant, out: &mut dyn Out) {
        let Some(id) = e.id.clone() else { return };
        match self.lane.take_flight(&frame[id.clone()]) {
            None => out.note(Note::of(SERVER, What::Unclaimed)),
            Some((_, Flight::List(kind, number))) => {
                let answer = match &e.result {
                    Some(result) => PageAnswer::Result(&frame[result.clone()]),
                    None if Failure::read(frame).code == METHOD_NOT_FOUND => PageAnswer::Unknown,
                    None => PageAnswer::Failed,
                };
                self.on_page(kind, number, answer, now, out);
            }
            Some((_, Flight::Initialize(hello))) => match &e.result {
                Some(result) => self.on_welcome(hello, Welcome::read(&frame[result.clone()]), now, out),
                None => self.on_refusal(hello, frame, id, now, out),
            },
            Some((number, Flight::Call(call))) => {
                self.lane.lasting.keep(number, call.progress(), frame, e);
                if !self.lane.deliver(frame, id, &call, &mut self.desk, out) {
                    return;
                }
                let method = call.method();
                let place = call.terms.as_ref().and_then(|terms| terms.place);
                if let (Some((place, version)), Some(result)) = (place, &e.result) {
                    self.reread.on_read(place, version, &frame[result.clone()], &mut self.changes);
                }
                if method == b"initialize" {
                    self.relayed_welcome(frame, e, out);
                } else if let (b"tools/list", Some(result)) = (method, &e.result) {
                    let list = String::from_utf8_lossy(&frame[result.clone()]);
                    let what = What::ToolsRead { size: Size::of(&list), count: count_of_all(&list) };
                    out.note(Note::of_endpoint(what));
                } else if is_call(method) {
                    self.served += 1;
                    out.note(Note::of(SERVER, What::Served { method, took: now - call.since }));
                }
            }
        }
    }

    /// The answer to a request of our own is lost.
    fn on_lost(&mut self, lost: Option<(Flight, String)>, now: Instant, out: &mut dyn Out) {
        match lost {
            Some((Flight::Initialize(hello), message)) => {
                let error = reply::error(b"0", UNAVAILABLE, &message);
                let id = envelope::scan_one(&error).and_then(|e| e.id).unwrap_or_default();
                self.on_refusal(hello, &error, id, now, out);
            }
            Some((Flight::List(kind, number), _)) => self.on_page(kind, number, PageAnswer::Failed, now, out),
            Some((Flight::Call(_), _)) | None => {}
        }
    }

    /// The server has answered a request of our own for a page of a list.
    fn on_page(&mut self, kind: ListKind, number: u32, answer: PageAnswer<'_>, now: Instant, out: &mut dyn Out) {
        let Passthrough { lane, reread, changes, .. } = self;
        if let Some(print) = reread.on_page(kind, number, answer, &mut Asking { lane, now, out }) {
            changes.compare(None, |read| (read == kind).then_some(print), now, out);
        }
    }

    fn server_notifies(&mut self, frame: &[u8], e: &Envelope, now: Instant, out: &mut dyn Out) {
        let method = e.method.clone().map_or(&b""[..], |method| &frame[method]);
        if method == b"notifications/cancelled" {
            return self.desk.withdraw(SERVER, frame, e, out);
        }
        if method == b"notifications/tasks/status" {
            self.lane.lasting.on_status(frame, e);
        }
        if self.desk.is_conversing() {
            self.reread.on_list_changed(method, &self.changes, now);
            // Before the handshake an endpoint expects nothing; after it, the endpoint lists everything.
            self.lane.pass_notification(frame, e, out);
        }
    }
}

#[cfg(test)]
mod tests;
