//! Peers that have one server alone: its messages untouched but for their ids.
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

use super::bounds::{Before, items_of, stand_in_for, welcome_of};
use super::published::ENVELOPE;
use super::*;
use crate::config::Handshake;
use crate::mcp::cloud::HOLD;
use crate::mcp::lists::Place;
use crate::mcp::reply::INVALID_PARAMS;
use crate::router::changes::print;
use crate::router::desk::Message;
use crate::router::edits::Edits;
use crate::router::lane::{Call, Terms};
use crate::router::listing::shelf::PageAnswer;
use crate::router::outcome::is_call;
use crate::router::task;
use crate::tools::size::{Size, count_of_all, names_of};

pub(super) use self::reread::{Asking, Reread, changed_lists};

/// What is known of a server for peers that have it alone.
#[derive(Debug)]
pub(super) struct Solo {
    /// Whether handshakes of peers go through to the server.
    relays: bool,
    /// Whether pings of peers do, besides.
    passes_pings: bool,
    /// What the server said of itself, as it said it.
    pub(super) welcome: Option<Welcome>,
    /// The answer of a server that refuses to initialize: what comes before its id, and what comes after.
    refusal: Option<[Box<[u8]>; 2]>,
    pub(super) reread: Reread,
}

impl Solo {
    pub(super) fn new(handshake: Handshake) -> Self {
        let relays = handshake == Handshake::Relay;
        Solo { relays, passes_pings: false, welcome: None, refusal: None, reread: Reread::default() }
    }

    /// The same where pings of peers go through to the server, if `passes`.
    pub(super) fn passing_pings(self, passes: bool) -> Self {
        Solo { passes_pings: passes, ..self }
    }

    pub(super) fn set_handshake(&mut self, handshake: Handshake) {
        self.relays = handshake == Handshake::Relay;
    }

    /// The server has answered `initialize`. `welcome`: its answer, if that is to be kept.
    pub(super) fn welcomed(&mut self, welcome: Option<Welcome>) {
        self.welcome = welcome;
        self.refusal = None;
    }
}

impl Hub {
    /// A message of a peer that has a server alone.
    pub(super) fn message_alone(
        &mut self,
        (peer, server): (PeerId, ServerIndex),
        (frame, e): (&[u8], &Envelope),
        now: Instant,
        out: &mut dyn Out,
    ) {
        let Hub { peers, servers, .. } = self;
        let Some(of) = peers.get_mut(peer) else { return };
        let Solo { relays, passes_pings, .. } = servers[server].solo;
        match of.desk.classify(frame, e, now, out) {
            Some(Message::Request(request @ Request { method: b"initialize", .. })) => {
                self.initialize_alone(server, &request, out);
            }
            Some(Message::Request(Request { id, method: b"ping", .. })) if !(relays || passes_pings) => {
                out.to_peer(peer, &[&reply::result(id, b"{}")]);
            }
            // The server is bound to the era of its first message. An endpoint that gets an error here has yet to say what
            // it is, by `initialize` (MCP 2026-07-28, server/discover).
            Some(Message::Request(Request { id, method: b"server/discover", .. })) => {
                of.desk.refuse(id, METHOD_NOT_FOUND, "method not found", out);
            }
            Some(Message::Request(request)) => {
                self.open_conversation(peer, now, out);
                self.request_alone(server, &request, out);
            }
            Some(Message::Notification { method: b"notifications/initialized" }) if !of.relayed => {
                self.open_conversation(peer, now, out);
            }
            // The peer may have asked while it saw others.
            Some(Message::Notification { method: b"notifications/cancelled" }) => self.cancel(peer, frame, e, out),
            Some(Message::Notification { .. }) => {
                self.open_conversation(peer, now, out);
                let Some(process) = self.process_of(peer, server, now, out) else { return };
                if self.servers[process].lane.admits_notification(peer, frame, now, &self.peers) {
                    self.servers[process].lane.notified();
                    out.to_server(process, &[frame]);
                }
                self.arm_further(process);
            }
            None => {}
        }
        self.arm(server);
    }

    pub(super) fn request_alone(&mut self, server: ServerIndex, request: &Request<'_>, out: &mut dyn Out) {
        if self.draining || self.peers.is_leaving(request.peer) {
            return self.part_with(request, out);
        }
        if self.list_meanwhile(server, request, out) {
            return;
        }
        let tool = request.tool();
        let question = match self.answer_again(server, request, &tool, out) {
            Before::Answered => return,
            Before::Unasked => None,
            Before::Forgotten(question) => Some(question),
        };
        let (server, question) = match self.stand_in(server, request, &tool) {
            Some(other) => (other, None),
            None => (server, question),
        };
        let Some(server) = self.process_for(server, request, out) else { return };
        let Hub { peers, servers, .. } = self;
        let lane = &mut servers[server].lane;
        let own = if request.method.starts_with(b"resources/") { request.uri() } else { None };
        if request.method == b"resources/unsubscribe"
            && let (Some(own), Some(peer)) = (&own, peers.get_mut(request.peer))
        {
            peer.wishes.unsubscribe(server, own);
        }
        if lane.is_stopped()
            && let (Some(place), Some(peer)) =
                (Place::of(request.method, request.params()), peers.get_mut(request.peer))
        {
            peer.changes.missed(place.kind);
        }
        if lane.has_others(request.peer) && self.decided_here(server, request, own.as_deref(), out) {
            return;
        }
        let Hub { peers, servers, .. } = self;
        let lane = &mut servers[server].lane;
        let mut call = Call::of_tool(request, &tool);
        call.terms = question.map(|question| Box::new(Terms { question: Some(question), ..Terms::default() }));
        if !lane.has_room(request, &call, peers, out) || !lane.admits(request, &call, peers, out) {
            return self.arm_further(server);
        }
        let Some(peer) = peers.get_mut(request.peer) else { return };
        if let Some(place) = Place::of(request.method, request.params()) {
            let version = peer.pages.asked(place, request.now);
            call.terms = Some(Box::new(Terms { place: Some((place, version)), ..Terms::default() }));
        }
        lane.tell_caller(&peer.desk.hello, out);
        lane.forward(request, call, Edits::default(), out);
        // Only what has been sent counts: a request that waits for the server comes here again, and the server's next life
        // would be told the same twice.
        match request.method {
            b"resources/subscribe" => {
                if let Some(own) = own {
                    peer.wishes.subscribe(server, &mut lane.leftover, &own, &own);
                }
            }
            // Parameters that can't be kept are for the server to judge, once.
            b"logging/setLevel" => drop(peer.wishes.set_level(request.params())),
            _ => {}
        }
    }

    /// Answers a request for a list of a server that can't be asked, where another one stands in for it: whoever knows no tools calls
    /// none. Returns whether that was such a request.
    fn list_meanwhile(&mut self, server: ServerIndex, request: &Request<'_>, out: &mut dyn Out) -> bool {
        let Hub { servers, peers, .. } = self;
        let hosted = &servers[server];
        // One whose circuit is open is asked for its lists all the same.
        let is_asked = hosted.lane.is_ready() && !hosted.lane.is_stopped();
        if is_asked || stand_in_for(servers, hosted).is_none() {
            return false;
        }
        let place = Place::of(request.method, request.params());
        let Some(place @ Place { kind, cursor: None }) = place else { return false };
        let Some(peer) = peers.get_mut(request.peer) else { return false };
        let mut room = hosted.lane.max_frame().saturating_sub(ENVELOPE);
        let fitting = items_of(servers, hosted, kind).map_while(|item| {
            room = room.checked_sub(item.len() + 1)?;
            Some(item)
        });
        let list = format!("{{\"{}\":[{}]}}", kind.member(), fitting.collect::<Vec<_>>().join(","));
        let version = peer.pages.asked(place, request.now);
        peer.desk.reply(request.id, list.as_bytes(), out);
        peer.pages.on_read((place, version), list.as_bytes(), &mut peer.changes);
        if kind == ListKind::Tools {
            note_read(request.peer, &list, out);
        }
        self.arm_peer(request.peer);
        true
    }

    /// Answers a request of one of several peers that the server must not get as it is: it would act on the others, or tell of
    /// them. Returns whether that was such a request. `own`: the resource that the request is about.
    fn decided_here(
        &mut self,
        server: ServerIndex,
        request: &Request<'_>,
        own: Option<&str>,
        out: &mut dyn Out,
    ) -> bool {
        let Hub { peers, servers, .. } = self;
        let Request { peer, frame, envelope: e, id, .. } = *request;
        match request.method {
            b"resources/unsubscribe" if own.is_some_and(|own| peers.is_followed(server, own)) => {
                peers.reply(peer, id, b"{}", out);
            }
            b"logging/setLevel" => {
                if !peers.get_mut(peer).is_some_and(|peer| peer.wishes.set_level(request.params())) {
                    peers.refuse(peer, id, INVALID_PARAMS, "invalid params: a level is missing", out);
                    return true;
                }
                peers.reply(peer, id, b"{}", out);
                self.pass_level(server, out);
            }
            b"tasks/list" => {
                let why = "method not found: the tasks of several clients";
                peers.refuse(peer, id, METHOD_NOT_FOUND, why, out);
            }
            b"tasks/get" | b"tasks/result" | b"tasks/cancel" => {
                let lasting = &servers[server].lane.lasting;
                let owner = task::of(frame, e.params.as_ref()).and_then(|id| lasting.owner(&frame[id]));
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

    /// A server has answered a call of a peer that has it alone.
    pub(super) fn call_answered_alone(
        &mut self,
        server: ServerIndex,
        (number, call): (u64, &mut Call),
        (frame, e): (&[u8], &Envelope),
        now: Instant,
        out: &mut dyn Out,
    ) {
        let Hub { peers, servers, .. } = self;
        let (Some(id), lane) = (e.id.clone(), &mut servers[server].lane) else { return };
        lane.keep_task(number, call, frame, e);
        if !lane.deliver(frame, id, call, peers, out) {
            return;
        }
        let question = call.terms.as_mut().and_then(|terms| terms.question.take());
        if let Some(result) = e.result.clone() {
            self.keep_answer(server, (call.peer, question), (&frame[result], frame, e), now);
        }
        let Hub { peers, .. } = self;
        let method = call.method();
        let read = call.terms.as_ref().and_then(|terms| terms.place);
        if let (Some(read), Some(result), Some(peer)) = (read, &e.result, peers.get_mut(call.peer)) {
            peer.pages.on_read(read, &frame[result.clone()], &mut peer.changes);
            self.arm_peer(call.peer);
        }
        if method == b"initialize" {
            self.relayed_welcome((call.peer, server), frame, e, out);
        } else if let (b"tools/list", Some(result)) = (method, &e.result) {
            let list = String::from_utf8_lossy(&frame[result.clone()]);
            let tools = names_of(&list);
            let tools: Vec<&str> = tools.iter().map(|name| &**name).collect();
            out.note(Note::of(server, What::Listed { tools: &tools, alone: true }));
            note_read(call.peer, &list, out);
        } else if is_call(method) {
            self.peers.count_served(call.peer);
            let served = What::Served { call: call.counted(Outcome::of_answer(e)), took: now - call.since };
            out.note(Note::of(server, served));
        }
    }

    /// A server has answered a request of ours for a page of a list that peers have read.
    pub(super) fn on_page_reread(
        &mut self,
        server: ServerIndex,
        page: (ListKind, u32),
        answer: PageAnswer<'_>,
        now: Instant,
        out: &mut dyn Out,
    ) {
        let Hub { servers, peers, .. } = self;
        let Hosted { lane, solo, .. } = &mut servers[server];
        solo.reread.on_page(page, answer, peers, &mut Asking { lane, now, out });
        self.arm_viewers(server);
    }

    /// A server says that lists have changed: tells the peers that have it alone.
    pub(super) fn tell_list_changed(
        &mut self,
        server: ServerIndex,
        frame: &[u8],
        lists: &[ListKind],
        now: Instant,
        out: &mut dyn Out,
    ) {
        // Before the handshake an endpoint expects nothing; after it, the endpoint lists everything.
        for (key, peer) in self.peers.alone_with(server).filter(|(_, peer)| peer.desk.is_conversing()) {
            peer.pages.on_list_changed(lists, &peer.changes, now);
            out.to_peer(key, &[frame]);
        }
        self.arm_viewers(server);
    }

    /// A person has stopped a server: what peers asked of its lists gets an error, so what they know of these is nothing.
    pub(super) fn miss_lists(&mut self, server: ServerIndex) {
        let Hub { servers, peers, .. } = self;
        let lane = &servers[server].lane;
        for (key, peer) in peers.alone_with(server) {
            for kind in ListKind::ALL {
                let method = kind.method().as_bytes();
                let is_it = |call: &Call| call.peer == key && call.method() == method;
                if lane.held.has_one_of(key, &[method]) || lane.calls().any(is_it) {
                    peer.changes.missed(kind);
                }
            }
        }
    }
}

/// A peer has read a list of tools.
fn note_read(peer: PeerId, list: &str, out: &mut dyn Out) {
    out.note(Note::of_peer(peer, What::ToolsRead { size: Size::of(list), count: count_of_all(list) }));
}

#[cfg(test)]
mod tests;
