//! One server, for peers that each have it alone: its messages untouched but for their ids.
//!
//! # Theory of operation
//!
//! Each request of a peer gets an id of ours on its way to the server and its own id back on the answer, so the ids of
//! different connections, the peers' and our own can never be taken for each other, whatever either side makes of them.
//! A server's own requests travel the other way under ids of ours as well.
//!
//! The handshake is ours. A server is initialized as soon as it runs, with what its endpoint is expected to say; every
//! `initialize` of a peer is answered with the result, at once unless the peer says other things that matter to the server
//! (see `opening`). A restarted server is initialized before anything else reaches it. Requests that arrive while a server is
//! not there, or not yet initialized, are held for a few seconds. Requests that were under way when a server died are
//! answered with an error at once and never sent again, because a call need not be idempotent.
//!
//! Each life of the server is told what its peers want (the resources to follow, the log level). Then the lists that they
//! have read are compared with the server's present ones (see `reread`): where they differ, a peer is told so, or gets a new
//! connection.
//!
//! `ping` is answered by us: it asks whether its receiver lives, and a server that is busy with a call must not cost the
//! connection. With `handshake: relay` `initialize` and `notifications/initialized` of a peer go through to a server that is
//! ready.

mod handshake;
mod reread;

use std::ops::Range;
use std::sync::Arc;

use tokio::time::Instant;

use self::reread::{Asking, Reread, changed_lists};
use super::changes::print;
use super::deadlines::{Deadlines, Due};
use super::desk::{Message, Received};
use super::edits::Edits;
use super::lane::{Call, Flight, Lane, Opened, ServerSide, Terms, is_call};
use super::listing::shelf::PageAnswer;
use super::opening::words;
use super::peers::{NewPeer, Owed, PeerId, Peers, Want};
use super::request::Request;
use super::{
    Account, Bar, Gone, Greeting, Note, Out, Reconnect, Router, SHUTTING_DOWN, ServerIndex, Start, What, earliest, task,
};
use crate::config::{Handshake, ServerSpec};
use crate::frame::Cut;
use crate::mcp::cloud::HOLD;
use crate::mcp::envelope::{self, Envelope, Kind, Lost};
use crate::mcp::failure::Failure;
use crate::mcp::handshake::{Hello, Welcome};
use crate::mcp::lists::{ListKind, Place};
use crate::mcp::reply::{self, INVALID_PARAMS, METHOD_NOT_FOUND, UNAVAILABLE};
use crate::tools::size::{Size, count_of_all};

/// The only server of this router.
const SERVER: ServerIndex = 0;

/// See the module's documentation.
#[derive(Debug)]
pub struct Passthrough {
    handshake: Handshake,
    peers: Peers,
    lane: Lane,
    welcome: Option<Welcome>,
    /// The answer of a server that refuses to initialize: what comes before its id, and what comes after.
    refusal: Option<[Box<[u8]>; 2]>,
    reread: Reread,
    deadlines: Deadlines,
    /// No request is taken any more.
    draining: bool,
}

impl Passthrough {
    /// A router for this server, without peers. Nothing is connected, nothing runs.
    pub fn new(spec: &ServerSpec) -> Self {
        Passthrough {
            handshake: spec.handshake,
            peers: Peers::default(),
            lane: Lane::new(SERVER, spec.name.clone(), spec.max_frame, false),
            welcome: None,
            refusal: None,
            reread: Reread::default(),
            deadlines: Deadlines::default(),
            draining: false,
        }
    }

    fn relays(&self) -> bool {
        self.handshake == Handshake::Relay
    }

    /// When something of a peer is due.
    fn due_of(&self, peer: PeerId) -> Option<Instant> {
        let peer = self.peers.get(peer)?;
        let doubts = if self.lane.is_ready() { peer.pages.next_doubt() } else { None };
        earliest([peer.next_tick(), doubts])
    }

    /// When something of the server is due.
    fn due_of_server(&self) -> Option<Instant> {
        let reread = self.reread.next_tick(self.lane.is_ready());
        earliest([self.lane.held.deadline(), self.lane.opening_due(), reread])
    }

    /// Sets the deadlines of the server and a peer anew, as something may be due sooner now.
    fn arm(&mut self, peer: PeerId) {
        self.deadlines.arm(Due::Server(SERVER), self.due_of_server());
        self.deadlines.arm(Due::Peer(peer), self.due_of(peer));
    }

    /// Sets all deadlines anew.
    fn arm_all(&mut self) {
        self.deadlines.arm(Due::Server(SERVER), self.due_of_server());
        for peer in self.peers.keys() {
            self.deadlines.arm(Due::Peer(peer), self.due_of(peer));
        }
    }
}

impl Router for Passthrough {
    fn join(&mut self, new: NewPeer) -> PeerId {
        let peer = self.peers.join(new);
        self.lane.add_viewer(peer);
        peer
    }

    fn leave(&mut self, peer: PeerId, now: Instant, out: &mut dyn Out) {
        self.on_link_down(peer, now, out);
        self.lane.lasting.leave(peer);
        self.lane.remove_viewer(peer);
        self.peers.leave(peer, out);
        self.deadlines.forget(peer);
        // A level may have gone with it.
        self.pass_level(out);
    }

    fn on_link_up(&mut self, peer: PeerId, now: Instant, out: &mut dyn Out) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.desk.link_up();
        }
        // The server may have waited for what its only peer says of itself, and has another one now.
        if self.lane.has_many() && matches!(self.lane.state, ServerSide::Greeted) {
            self.check_hello(now, out);
            self.arm_all();
        }
    }

    fn on_link_down(&mut self, peer: PeerId, now: Instant, out: &mut dyn Out) {
        if self.lane.only_viewer() == Some(peer) {
            self.reread.link_down();
        }
        self.lane.link_down(peer, out);
        self.peers.take_back(peer, &mut self.lane, out);
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.link_down(now, out);
        }
        self.arm(peer);
    }

    fn on_peer(&mut self, peer: PeerId, frame: &[u8], now: Instant, out: &mut dyn Out) {
        let Some(of) = self.peers.get_mut(peer) else { return };
        of.changes.heard(now);
        match of.desk.receive(frame, out) {
            Received::One(e, line) => self.message(peer, line.as_deref().unwrap_or(frame), &e, now, out),
            Received::Batch(members, line) => {
                of.desk.keep_batch(line.unwrap_or_else(|| frame.to_vec()), members);
                self.on_room(peer, now, out);
            }
            Received::Nothing => {}
        }
        self.arm(peer);
    }

    fn on_peer_too_large(&mut self, peer: PeerId, cut: Cut<'_>, _now: Instant, out: &mut dyn Out) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.desk.on_too_large(cut, out);
        }
    }

    fn on_peer_not_text(&mut self, peer: PeerId, frame: &[u8], _now: Instant, out: &mut dyn Out) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.desk.on_not_text(frame, out);
        }
    }

    fn on_server_up(&mut self, _server: ServerIndex, now: Instant, out: &mut dyn Out) {
        for (_, peer) in self.peers.iter_mut() {
            peer.relayed = false;
        }
        self.lane.up(&mut self.peers, now, out);
        self.arm_all();
    }

    fn on_server_down(&mut self, _server: ServerIndex, gone: Gone<'_>, now: Instant, out: &mut dyn Out) {
        self.reread.server_down(&mut self.peers);
        self.lane.down(gone, &mut self.peers, now, out);
        self.arm_all();
    }

    fn on_server_busy(&mut self, _server: ServerIndex, busy: bool, _now: Instant, out: &mut dyn Out) {
        self.lane.busy = busy;
        self.lane.send_leftover(out);
        self.pass_level(out);
    }

    fn on_server_barred(&mut self, _server: ServerIndex, bar: Option<Bar>, _now: Instant, out: &mut dyn Out) {
        if bar == Some(Bar::Stopped) {
            for (key, peer) in self.peers.iter_mut() {
                for kind in ListKind::ALL {
                    let method = kind.method().as_bytes();
                    let is_it = |call: &Call| call.peer == key && call.method() == method;
                    if self.lane.held.has_one_of(key, &[method]) || self.lane.calls().any(is_it) {
                        peer.changes.missed(kind);
                    }
                }
            }
        }
        self.lane.barred(bar, &mut self.peers, out);
        if self.lane.is_stopped() {
            self.answer_all_waiting(out);
        }
        self.arm_all();
    }

    fn on_server(&mut self, _server: ServerIndex, frame: &[u8], e: &Envelope, now: Instant, out: &mut dyn Out) {
        self.lane.end_silence(now, out);
        match e.kind(frame) {
            Kind::Response => self.server_answers(frame, e, now, out),
            Kind::Request => {
                let owner = task::related(frame, e).and_then(|id| self.lane.lasting.owner(&frame[id]));
                if let Some(asked) = self.lane.ask(owner, (frame, e), &mut self.peers, now, out) {
                    self.arm(asked);
                }
            }
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
        let lost = self.lane.on_lost(lost, text, &mut self.peers, out);
        self.on_lost(lost, now, out);
    }

    fn on_server_too_large(&mut self, _server: ServerIndex, cut: Cut<'_>, now: Instant, out: &mut dyn Out) {
        self.lane.end_silence(now, out);
        let lost = self.lane.on_too_large(cut, &mut self.peers, out);
        self.on_lost(lost, now, out);
    }

    fn on_room(&mut self, peer: PeerId, now: Instant, out: &mut dyn Out) {
        self.answer_due(peer, out);
        while out.has_room(peer)
            && let Some(message) = self.peers.get_mut(peer).and_then(|peer| peer.desk.next_of_batch())
        {
            self.on_peer(peer, &message, now, out);
        }
    }

    fn on_tick(&mut self, now: Instant, out: &mut dyn Out) {
        let expired = self.deadlines.expired(now);
        let opened = self.lane.check_opening(self.welcome.as_ref(), &mut self.peers, now, out);
        self.on_opened(opened, now, out);
        let Passthrough { lane, reread, peers, .. } = self;
        reread.tick(peers, &mut Asking { lane, now, out });
        self.lane.tick(&mut self.peers, now, out);
        for due in expired {
            let Due::Peer(key) = due else { continue };
            let Some(peer) = self.peers.get_mut(key) else { continue };
            peer.changes.tick(now);
            peer.give_up_waiting(now);
            self.answer_due(key, out);
            if let Some(peer) = self.peers.get_mut(key) {
                peer.desk.tick(now, out);
            }
        }
        self.arm_all();
    }

    fn on_beat(&mut self, now: Instant, out: &mut dyn Out) {
        self.lane.check_silence(now, out);
    }

    fn next_tick(&self) -> Option<Instant> {
        let is_armed =
            |due, at: Option<Instant>| at.is_none_or(|at| self.deadlines.armed(due).is_some_and(|armed| armed <= at));
        debug_assert!(is_armed(Due::Server(SERVER), self.due_of_server()), "a deadline has become earlier");
        debug_assert!(
            self.peers.iter().all(|(key, _)| is_armed(Due::Peer(key), self.due_of(key))),
            "a deadline has become earlier"
        );
        self.deadlines.first()
    }

    fn drain(&mut self, _now: Instant, out: &mut dyn Out) {
        self.draining = true;
        for held in self.lane.held.take_all() {
            self.peers.refuse_held((held.peer, &held.frame), SHUTTING_DOWN, out);
        }
        for (_, peer) in self.peers.iter_mut() {
            peer.drain(SHUTTING_DOWN, out);
        }
    }

    fn in_flight(&self) -> usize {
        let waiting: usize = self.peers.iter().map(|(_, peer)| peer.waiting()).sum();
        self.lane.calls().count() + self.lane.held.len() + waiting
    }

    fn start(&self, _server: ServerIndex) -> Start {
        self.lane.start()
    }

    fn is_serving(&self, _server: ServerIndex) -> bool {
        self.lane.is_initialized()
    }

    fn is_handshaken(&self, peer: PeerId) -> bool {
        self.peers.get(peer).is_some_and(|peer| peer.desk.is_handshaken())
    }

    fn wants_reconnect(&self, peer: PeerId, now: Instant) -> Option<Reconnect> {
        let of = self.peers.get(peer)?;
        let is_quiet = || of.is_quiet() && self.lane.is_quiet(peer, now);
        (of.changes.is_due(now) && is_quiet()).then_some(Reconnect::Resync)
    }

    fn account(&self, peer: PeerId, now: Instant) -> Account {
        let standing = self.lane.standing(now);
        let mut account = self.peers.get(peer).map_or_else(Account::default, |peer| peer.desk.account(standing));
        account.unanswered = self.lane.unanswered(peer, now).collect();
        account
    }

    fn served(&self, peer: PeerId) -> u64 {
        self.peers.served(peer)
    }
}

impl Passthrough {
    /// A message of a peer.
    fn message(&mut self, peer: PeerId, frame: &[u8], e: &Envelope, now: Instant, out: &mut dyn Out) {
        let Some(of) = self.peers.get_mut(peer) else { return };
        match of.desk.classify(frame, e, now, out) {
            Some(Message::Request(request @ Request { method: b"initialize", .. })) => self.initialize(&request, out),
            Some(Message::Request(Request { id, method: b"ping", .. })) if self.handshake != Handshake::Relay => {
                out.to_peer(peer, &[&reply::result(id, b"{}")]);
            }
            // The server is bound to the era of its first message. An endpoint that gets an error here has yet to say what
            // it is, by `initialize` (MCP 2026-07-28, server/discover).
            Some(Message::Request(Request { id, method: b"server/discover", .. })) => {
                of.desk.refuse(id, METHOD_NOT_FOUND, "method not found", out);
            }
            Some(Message::Request(request)) => {
                self.open_conversation(peer, now, out);
                self.request(&request, out);
            }
            Some(Message::Notification { method: b"notifications/initialized" }) if !of.relayed => {
                self.open_conversation(peer, now, out);
            }
            Some(Message::Notification { method: b"notifications/cancelled" }) => {
                self.lane.cancel(peer, frame, e, out);
            }
            Some(Message::Notification { .. }) => {
                self.open_conversation(peer, now, out);
                if self.lane.admits_notification(peer, frame, now) {
                    out.to_server(SERVER, &[frame]);
                }
            }
            None => {}
        }
    }

    fn request(&mut self, request: &Request<'_>, out: &mut dyn Out) {
        let Passthrough { peers, draining, .. } = self;
        if *draining {
            return peers.refuse(request.peer, request.id, UNAVAILABLE, SHUTTING_DOWN, out);
        }
        let own = if request.method.starts_with(b"resources/") { request.uri() } else { None };
        if request.method == b"resources/unsubscribe"
            && let (Some(own), Some(peer)) = (&own, peers.get_mut(request.peer))
        {
            peer.wishes.unsubscribe(SERVER, own);
        }
        if self.lane.is_stopped()
            && let (Some(place), Some(peer)) =
                (Place::of(request.method, request.params()), peers.get_mut(request.peer))
        {
            peer.changes.missed(place.kind);
        }
        if self.lane.has_many() && self.decided_here(request, own.as_deref(), out) {
            return;
        }
        let Passthrough { peers, lane, .. } = self;
        if !lane.has_room(request, peers, out) || !lane.admits(request, None, peers, out) {
            return;
        }
        let Some(peer) = peers.get_mut(request.peer) else { return };
        let mut call = Call::new(request);
        if let Some(place) = Place::of(request.method, request.params()) {
            let version = peer.pages.asked(place, request.now);
            call.terms = Some(Box::new(Terms { place: Some((place, version)), ..Terms::default() }));
        }
        lane.forward(request, call, Edits::default(), out);
        // Only what has been sent counts: a request that waits for the server comes here again, and the server's next life
        // would be told the same twice.
        match request.method {
            b"resources/subscribe" => {
                if let Some(own) = own {
                    peer.wishes.subscribe(SERVER, &mut lane.leftover, &own, &own);
                }
            }
            // Parameters that can't be kept are for the server to judge, once.
            b"logging/setLevel" => drop(peer.wishes.set_level(request.params())),
            _ => {}
        }
    }

    /// Answers a request of one of several peers that the server must not get as it is: it would act on the others, or tell of
    /// them. Returns whether that was such a request. `own`: the resource that the request is about.
    fn decided_here(&mut self, request: &Request<'_>, own: Option<&str>, out: &mut dyn Out) -> bool {
        let Passthrough { peers, lane, .. } = self;
        let Request { peer, frame, envelope: e, id, .. } = *request;
        match request.method {
            b"resources/unsubscribe" if own.is_some_and(|own| peers.is_followed(SERVER, own)) => {
                peers.reply(peer, id, b"{}", out);
            }
            b"logging/setLevel" => {
                if !peers.get_mut(peer).is_some_and(|peer| peer.wishes.set_level(request.params())) {
                    peers.refuse(peer, id, INVALID_PARAMS, "invalid params: a level is missing", out);
                    return true;
                }
                peers.reply(peer, id, b"{}", out);
                self.pass_level(out);
            }
            b"tasks/list" => {
                let why = "method not found: the tasks of several clients";
                peers.refuse(peer, id, METHOD_NOT_FOUND, why, out);
            }
            b"tasks/get" | b"tasks/result" | b"tasks/cancel" => {
                let owner = task::of(frame, e.params.as_ref()).and_then(|id| lane.lasting.owner(&frame[id]));
                if owner == Some(peer) {
                    return false;
                }
                let why = "unknown task: it was not made here, or its server has ended since";
                peers.refuse(peer, id, INVALID_PARAMS, why, out);
            }
            _ => return false,
        }
        true
    }

    /// Tells the server the lowest level that one of several peers wants. Where there is one peer, its request passes through.
    fn pass_level(&mut self, out: &mut dyn Out) {
        if self.lane.is_ready() && !self.lane.busy && self.lane.has_many() {
            self.lane.send_level(&self.peers, out);
        }
    }

    fn release(&mut self, out: &mut dyn Out) {
        // The time of a message counts from when it came.
        for held in self.lane.held.take_all() {
            self.on_peer(held.peer, &held.frame, held.since, out);
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
            Some((_, Flight::Initialize(hello))) => {
                match &e.result {
                    Some(result) => self.on_welcome(hello, Welcome::read(&frame[result.clone()]), now, out),
                    None => self.on_refusal(hello, frame, id, now, out),
                }
                self.arm_all();
            }
            Some((number, Flight::Call(call))) => {
                self.lane.keep_task(number, &call, frame, e);
                if !self.lane.deliver(frame, id, &call, &mut self.peers, out) {
                    return;
                }
                let method = call.method();
                let read = call.terms.as_ref().and_then(|terms| terms.place);
                if let (Some(read), Some(result), Some(peer)) = (read, &e.result, self.peers.get_mut(call.peer)) {
                    peer.pages.on_read(read, &frame[result.clone()], &mut peer.changes);
                }
                if method == b"initialize" {
                    self.relayed_welcome(call.peer, frame, e, out);
                } else if let (b"tools/list", Some(result)) = (method, &e.result) {
                    let list = String::from_utf8_lossy(&frame[result.clone()]);
                    let what = What::ToolsRead { size: Size::of(&list), count: count_of_all(&list) };
                    out.note(Note::of_peer(call.peer, what));
                } else if is_call(method) {
                    self.peers.count_served(call.peer);
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
                self.arm_all();
            }
            Some((Flight::List(kind, number), _)) => self.on_page(kind, number, PageAnswer::Failed, now, out),
            Some((Flight::Call(_), _)) | None => {}
        }
    }

    /// The server has answered a request of our own for a page of a list.
    fn on_page(&mut self, kind: ListKind, number: u32, answer: PageAnswer<'_>, now: Instant, out: &mut dyn Out) {
        let Passthrough { lane, reread, peers, .. } = self;
        reread.on_page((kind, number), answer, peers, &mut Asking { lane, now, out });
        self.arm_all();
    }

    fn server_notifies(&mut self, frame: &[u8], e: &Envelope, now: Instant, out: &mut dyn Out) {
        let method = e.method.clone().map_or(&b""[..], |method| &frame[method]);
        let Passthrough { peers, lane, .. } = self;
        let lists = changed_lists(method);
        match method {
            b"notifications/cancelled" => peers.withdraw(SERVER, frame, e, out),
            _ if !lists.is_empty() => {
                // Before the handshake an endpoint expects nothing; after it, the endpoint lists everything.
                for (key, peer) in peers.iter_mut().filter(|(_, peer)| peer.desk.is_conversing()) {
                    peer.pages.on_list_changed(lists, &peer.changes, now);
                    out.to_peer(key, &[frame]);
                }
                self.arm_all();
            }
            b"notifications/tasks/status" => {
                let owner = lane.lasting.on_status(frame, e).or(lane.only_viewer());
                if let Some(owner) = owner.filter(|owner| peers.is_conversing(*owner)) {
                    out.to_peer(owner, &[frame]);
                }
            }
            b"notifications/resources/updated" if lane.has_many() => {
                let own = e.uri.clone().and_then(|uri| serde_json::from_slice::<String>(&frame[uri]).ok());
                let follows =
                    |wishes: &super::wishes::Wishes| own.as_ref().is_some_and(|own| wishes.follows_part(SERVER, own));
                for (key, _) in peers.iter().filter(|(_, peer)| peer.desk.is_conversing() && follows(&peer.wishes)) {
                    out.to_peer(key, &[frame]);
                }
            }
            _ => lane.pass_notification(frame, e, peers, out),
        }
    }
}

#[cfg(test)]
mod tests;
