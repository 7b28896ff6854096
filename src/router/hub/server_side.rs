//! What the servers say.

use std::ops::Range;

use super::alone::{Asking, changed_lists};
use super::*;
use crate::mcp::failure::Failure;
use crate::mcp::modern;
use crate::mcp::reply::{INVALID_PARAMS, METHOD_NOT_FOUND, RESOURCE_NOT_FOUND};
use crate::router::edits::Edits;
use crate::router::lane::{Answer, Opened, Reader, Reading};
use crate::router::listing::shelf::{PageAnswer, Paged, Remark};
use crate::router::opening::words;
use crate::router::outcome::is_call;
use crate::router::task;
use crate::tools::cut::cut_result;

impl Hub {
    /// The answer to a request of ours is lost.
    pub(super) fn on_lost(
        &mut self,
        server: ServerIndex,
        lost: Option<(Flight, String)>,
        now: Instant,
        out: &mut dyn Out,
    ) {
        match lost {
            Some((Flight::Initialize(hello), message)) => {
                let whole = format!("server \"{}\" {message}", self.servers[server].lane.name);
                let error = reply::error(b"0", UNAVAILABLE, &whole);
                let id = envelope::scan_one(&error).and_then(|e| e.id).unwrap_or_default();
                self.on_refusal(server, (hello, message), (&error, id), now, out);
            }
            Some((Flight::List(reading), message)) => {
                self.on_page_of(server, reading, Err((UNAVAILABLE, &message)), now, out);
            }
            Some((Flight::Check(number), why)) => {
                let name = format!("server \"{}\" ", self.servers[server].lane.name);
                let why = why.strip_prefix(&name).unwrap_or(&why);
                self.on_check_over((server, number), Answer::Lost(why), now, out);
            }
            // Perhaps a call was lost, and has its error already.
            Some((Flight::Call(_), _)) | None => {
                let Hub { deadlines, servers, .. } = self;
                deadlines.retain_calls(|server, id| servers[server].lane.has(id));
                // That may have opened the circuit.
                self.arm(server);
                self.search_for_strays(server, now, out);
            }
        }
    }

    pub(super) fn server_answers(
        &mut self,
        server: ServerIndex,
        frame: &[u8],
        e: &Envelope,
        now: Instant,
        out: &mut dyn Out,
    ) {
        let Some(id) = e.id.clone() else { return };
        if e.error {
            self.servers[server].lane.suspect_era(frame, e, out);
        }
        let flight = self.servers[server].lane.take_flight(&frame[id]);
        let mended = flight.as_ref().and_then(|(_, flight)| self.servers[server].lane.mend(flight, frame, e, out));
        let mended = mended.as_deref().and_then(|frame| Some((frame, envelope::scan_one(frame)?)));
        let (frame, e) = mended.as_ref().map_or((frame, e), |(frame, e)| (*frame, e));
        let Some(id) = e.id.clone() else { return };
        let result = e.result.clone().map(|r| &frame[r]);
        match flight {
            None => out.note(Note::of(server, What::Unclaimed)),
            Some((_, Flight::Initialize(hello))) => match result {
                Some(result) => self.on_welcome(server, hello, result, now, out),
                None => {
                    let error = format!("refused to initialize: {}", words(frame));
                    self.on_refusal(server, (hello, error), (frame, id), now, out);
                }
            },
            Some((_, Flight::List(reading))) => match result {
                Some(page) => self.on_page_of(server, reading, Ok(page), now, out),
                None => {
                    let Failure { code, message } = Failure::read(frame);
                    self.on_page_of(server, reading, Err((code, &message)), now, out);
                }
            },
            Some((_, Flight::Check(number))) => self.on_checked((server, number), (frame, e), now, out),
            Some((number, Flight::Call(mut call))) if self.peers.is_alone(call.peer) => {
                self.servers[server].lane.call_answered(&call, out);
                self.call_answered_alone(server, (number, &mut call), (frame, e), now, out);
                self.note_answer(server, call.peer, now, out);
            }
            Some((number, Flight::Call(mut call))) => {
                self.servers[server].lane.call_answered(&call, out);
                let (mut limit, mut question) = (None, None);
                if let Some(mut terms) = call.terms.take() {
                    if let Some(deadline) = terms.deadline {
                        self.deadlines.remove_call(server, number, deadline);
                    }
                    if let Some(mut search) = terms.search
                        && let Some(rank) = search.goes_on(frame, e)
                    {
                        search.keep(rank, frame, id, call.id());
                        return self.search_on(call, search, now, out);
                    }
                    limit = terms.max_result;
                    question = terms.question.take();
                }
                self.servers[server].lane.keep_task(number, &call, frame, e);
                let text = self.publish_task(server, (frame, e), &call, limit);
                let published = text.as_deref().and_then(|text| Some((text, envelope::scan_one(text)?)));
                let (frame, e) = published.as_ref().map_or((frame, e), |(text, e)| (*text, e));
                let Some(id) = e.id.clone() else { return };
                let result = e.result.clone().map(|range| &frame[range]);
                // The result of a task is cut when the endpoint asks for it.
                let limit = limit.filter(|_| task::created(frame, e).is_none());
                let cut = limit.zip(result).and_then(|(max, result)| cut_result(result, max));
                if let (Some(cut), Some(result)) = (&cut, e.result.clone()) {
                    let mut edits = Edits::default();
                    edits.replace(result, cut);
                    edits.replace(id, call.id());
                    edits.pass_to_peer(call.peer, frame, out);
                    self.peers.count_answered(call.peer);
                } else if !self.servers[server].lane.deliver(frame, id, &call, &mut self.peers, out) {
                    return;
                }
                if let Some(result) = cut.as_deref().or(result) {
                    self.keep_answer(server, (call.peer, question), (result, frame, e), now);
                }
                if is_call(call.method()) {
                    self.peers.count_served(call.peer);
                    let served = What::Served { call: call.counted(Outcome::of_answer(e)), took: now - call.since };
                    out.note(Note::of(server, served));
                }
                self.note_answer(server, call.peer, now, out);
            }
        }
    }

    /// Reads what a server says of itself at its handshake. What is odd in that is told, once.
    fn read_welcome(&mut self, server: ServerIndex, result: &[u8], out: &mut dyn Out) -> Welcome {
        let (welcome, mut odd) = Welcome::mended(result);
        // Where the server is seen alone, all that it says is seen.
        if self.views.values().any(|view| !view.is_of_one() && view.has(server)) {
            odd.extend(union::too_large(&welcome));
        }
        if let Some(what) = self.servers[server].shelf.oddity(odd.join("; ")) {
            out.note(Note::of(server, What::Odd { method: "initialize", what }));
        }
        welcome
    }

    /// The server has answered `initialize`. `hello`: the parameters that were sent.
    fn on_welcome(&mut self, server: ServerIndex, hello: Arc<Hello>, result: &[u8], now: Instant, out: &mut dyn Out) {
        let mended = self.is_merged(server).then(|| self.read_welcome(server, result, out));
        let raw = (mended.is_none() || self.is_had_alone(server)).then(|| Welcome::read(result));
        let Hub { servers, peers, .. } = self;
        let Hosted { lane, shelf, solo, silent, .. } = &mut servers[server];
        let Some(welcome) = mended.as_ref().or(raw.as_ref()) else { return };
        let identity = match lane.is_modern() {
            true => format!("{}, translated from MCP {}", welcome.identity(), modern::VERSION),
            false => welcome.identity().to_owned(),
        };
        out.note(Note::of(server, What::Initialized { identity }));
        *silent = false;
        let opened = lane.welcomed(hello, welcome, peers, now, out);
        solo.welcomed(raw);
        let is_remembered = mended.is_none() && shelf.welcome.is_some();
        if let Some(welcome) = mended {
            shelf.welcomed(welcome);
            self.touch(server);
        } else if is_remembered {
            // What it says now takes the place of what it said in an earlier run, though nobody is shown it yet.
            shelf.welcomed(Welcome::mended(result).0);
            if let Some(memory) = shelf.memory(now) {
                out.remember(server, &memory);
            }
        }
        self.on_opened(server, opened, now, out);
        self.settle(server, now, out);
    }

    /// Something has become of a server's handshake.
    pub(super) fn on_opened(&mut self, server: ServerIndex, opened: Opened, now: Instant, out: &mut dyn Out) {
        match opened {
            Opened::Ready => self.on_ready(server, now, out),
            // The process is being replaced: the server is as good as gone.
            Opened::Awaited if !self.servers[server].lane.is_initialized() => self.on_absent(server, now, out),
            Opened::Awaited | Opened::Refused | Opened::Same => {}
        }
        self.arm_viewers(server);
    }

    /// A server is ready: it gets what its peers want of it, its lists are read, and messages that waited are sent.
    pub(super) fn on_ready(&mut self, server: ServerIndex, now: Instant, out: &mut dyn Out) {
        let Hub { servers, peers, .. } = self;
        let lane = &mut servers[server].lane;
        lane.recovered();
        lane.keep_hello(peers, out);
        peers.send_subscriptions(lane, out);
        self.touch(server);
        self.tell_level(server, out);
        if self.is_merged(server) {
            for kind in ListKind::ALL {
                self.read_list(server, kind, now, out);
            }
        }
        self.answer_all_waiting(server, out);
        self.release_all(server, out);
        self.reread(server, now, out);
        self.look_for_stand_ins(server, now, out);
        self.settle(server, now, out);
    }

    /// A server has refused to initialize: with this message, whose id is there. The others go on. `error`: what the server did, in
    /// words that follow its name.
    pub(super) fn on_refusal(
        &mut self,
        server: ServerIndex,
        (hello, error): (Arc<Hello>, String),
        (frame, id): (&[u8], Range<usize>),
        now: Instant,
        out: &mut dyn Out,
    ) {
        let Hub { servers, peers, .. } = self;
        let hosted = &mut servers[server];
        let Hosted { lane, shelf, solo, .. } = hosted;
        let welcome = solo.welcome.as_ref().or(shelf.welcome.as_ref());
        match lane.refused(hello, &error, welcome, peers, now, out) {
            opened @ (Opened::Ready | Opened::Awaited | Opened::Same) => self.on_opened(server, opened, now, out),
            Opened::Refused => {
                hosted.silent = true;
                self.keep_refusal(server, frame, id, &error);
                out.note(Note::of(server, What::Refused { error }));
                self.answer_all_waiting(server, out);
                self.release(server, out);
                self.look_for_stand_ins(server, now, out);
                self.settle(server, now, out);
                self.arm_viewers(server);
            }
        }
    }

    /// Does what is due at a server: gives up a handshake or a list that takes too long, reads a list again, has something
    /// remembered.
    pub(super) fn check_server(&mut self, server: ServerIndex, now: Instant, out: &mut dyn Out) {
        let Hub { servers, peers, .. } = self;
        let Hosted { lane, shelf, solo, .. } = &mut servers[server];
        let opened = lane.check_opening(solo.welcome.as_ref().or(shelf.welcome.as_ref()), peers, now, out);
        self.on_opened(server, opened, now, out);
        let Hub { servers, peers, .. } = self;
        let Hosted { lane, solo, .. } = &mut servers[server];
        solo.reread.tick(peers, &mut Asking { lane, now, out });
        if self.servers[server].awaited_until().is_some_and(|until| until <= now) {
            self.servers[server].silent = true;
        }
        if self.servers[server].overdue().is_some_and(|until| until <= now) {
            self.give_up_start(server, now, out);
        }
        if self.servers[server].shelf.give_up_waiting(now) {
            self.answer_waiting(now, out);
        }
        for kind in ListKind::ALL {
            let Hosted { lane, shelf, .. } = &mut self.servers[server];
            if let Some(number) = shelf.is_late(kind, now) {
                lane.abandon_list(reading(kind, number), out);
                self.on_page(server, (kind, number), Err((UNAVAILABLE, "it took too long")), now, out);
            } else if lane.is_ready() && shelf.is_due(kind, now) {
                self.read_list(server, kind, now, out);
            }
        }
        if let Some(memory) = self.servers[server].shelf.memory(now) {
            out.remember(server, &memory);
        }
    }

    /// Begins to read a list, if the server has such a list. Tools are asked for in any case: some servers have them without
    /// saying so.
    pub(super) fn read_list(&mut self, server: ServerIndex, kind: ListKind, now: Instant, out: &mut dyn Out) {
        let Hosted { lane, shelf, .. } = &mut self.servers[server];
        let capability = if kind == ListKind::Templates { "resources" } else { kind.member() };
        let has = kind == ListKind::Tools || shelf.welcome.as_ref().is_some_and(|w| w.can(capability));
        if !has {
            if shelf.set_none(kind) {
                self.touch(server);
            }
        } else if lane.is_ready()
            && let Some(number) = shelf.begin(kind, now)
        {
            lane.send(Flight::List(reading(kind, number)), kind.method(), None, out);
        }
        self.arm(server);
    }

    /// A peer asks for a list: where a server says that its part of that is too old, it is read anew before.
    pub(super) fn refresh_list(&mut self, peer: PeerId, kind: ListKind, now: Instant, out: &mut dyn Out) {
        let is_old = |(_, server): &(ServerIndex, &Hosted)| server.lane.is_ready() && server.shelf.is_stale(kind, now);
        let Some(view) = self.view_of(peer) else { return };
        let old: Vec<ServerIndex> =
            self.servers.iter().enumerate().filter(is_old).map(|(at, _)| at).filter(|at| view.has(*at)).collect();
        for server in old {
            let Hosted { lane, shelf, .. } = &mut self.servers[server];
            if let Some(number) = shelf.refresh(kind, now) {
                lane.send(Flight::List(reading(kind, number)), kind.method(), None, out);
            }
            self.arm(server);
        }
    }

    /// A server says that a list has changed.
    fn on_list_changed(&mut self, server: ServerIndex, kind: ListKind, now: Instant, out: &mut dyn Out) {
        let Hosted { lane, shelf, .. } = &mut self.servers[server];
        if lane.is_ready()
            && let Some(number) = shelf.changed(kind, now)
        {
            lane.send(Flight::List(reading(kind, number)), kind.method(), None, out);
        }
        self.arm(server);
    }

    /// A server has answered a list request: with a page, or with the code and the words of an error.
    fn on_page_of(
        &mut self,
        server: ServerIndex,
        Reading { reader, kind, number }: Reading,
        answer: Result<&[u8], (i32, &str)>,
        now: Instant,
        out: &mut dyn Out,
    ) {
        match reader {
            Reader::Shelf => self.on_page(server, (kind, number), answer, now, out),
            Reader::Reread => {
                let answer = match answer {
                    Ok(result) => PageAnswer::Result(result),
                    Err((METHOD_NOT_FOUND, _)) => PageAnswer::Unknown,
                    Err(_) => PageAnswer::Failed,
                };
                self.on_page_reread(server, (kind, number), answer, now, out);
            }
        }
    }

    /// A server has answered a request for a page of a list that is published.
    pub(super) fn on_page(
        &mut self,
        server: ServerIndex,
        (kind, number): (ListKind, u32),
        answer: Result<&[u8], (i32, &str)>,
        now: Instant,
        out: &mut dyn Out,
    ) {
        let Hosted { lane, shelf, .. } = &mut self.servers[server];
        let (page, error) = match answer {
            Ok(result) => (PageAnswer::Result(result), "it is not as MCP has it"),
            Err((METHOD_NOT_FOUND, error)) => (PageAnswer::Unknown, error),
            Err((_, error)) => (PageAnswer::Failed, error),
        };
        let paged = shelf.on_page(kind, number, page, now);
        if paged == Paged::Failed {
            let code = answer.err().map_or(UNAVAILABLE, |(code, _)| code);
            if shelf.lists.get(kind).is_empty() && may_be_none(kind, code, shelf.welcome.as_ref()) {
                // The server is asked again when it says that the list has changed, and in its next life.
                shelf.set_none(kind);
            } else {
                shelf.failed(kind, error);
            }
        }
        for remark in shelf.remarks(kind) {
            let list = kind.method();
            out.note(Note::of(
                server,
                match remark {
                    Remark::Failed(error) => What::NotListed { list, error },
                    Remark::Cut(why) => What::ListCut { list, why },
                    Remark::Odd(what) => What::Odd { method: list, what },
                },
            ));
        }
        match paged {
            Paged::Stale => {}
            Paged::More(params) => {
                lane.send(Flight::List(reading(kind, number)), kind.method(), Some(&params), out);
            }
            Paged::Again => self.read_list(server, kind, now, out),
            Paged::Failed => self.answer_waiting(now, out),
            Paged::Done(changed) => {
                let Hub { views, servers, .. } = self;
                for view in views.values_mut() {
                    if changed {
                        view.touch(server);
                    }
                    if kind == ListKind::Tools {
                        view.judge(&servers[server], changed, out);
                    }
                }
                if kind == ListKind::Tools {
                    self.judge_gates(server, out);
                    let names = super::published::names(&self.servers[server].shelf.lists);
                    let tools: Vec<&str> = names.iter().map(|name| &**name).collect();
                    out.note(Note::of(server, What::Listed { tools: &tools, alone: false }));
                }
                let shelf = &mut self.servers[server].shelf;
                if let Some(memory) = shelf.memory(now) {
                    out.remember(server, &memory);
                }
                self.look_for_stand_ins(server, now, out);
                self.answer_waiting(now, out);
            }
        }
        self.arm(server);
    }

    pub(super) fn server_notifies(
        &mut self,
        server: ServerIndex,
        frame: &[u8],
        e: &Envelope,
        now: Instant,
        out: &mut dyn Out,
    ) {
        let method = e.method.clone().map_or(&b""[..], |r| &frame[r]);
        let lists = changed_lists(method);
        if !lists.is_empty() {
            self.forget_answers(server);
            self.tell_list_changed(server, frame, lists, now, out);
            if self.is_merged(server) {
                lists.iter().for_each(|kind| self.on_list_changed(server, *kind, now, out));
            }
            return;
        }
        match method {
            b"notifications/cancelled" => self.peers.withdraw(server, frame, e, out),
            b"notifications/tasks/status" => self.on_task_status(server, frame, e, out),
            b"notifications/resources/updated" => self.on_resource_updated(server, frame, e, out),
            _ => self.servers[server].lane.pass_notification(frame, e, &self.peers, out),
        }
    }

    /// A resource has changed: tells the peers that follow it, each by the URI that the peer knows.
    fn on_resource_updated(&mut self, server: ServerIndex, frame: &[u8], e: &Envelope, out: &mut dyn Out) {
        let own = e.uri.clone().and_then(|r| serde_json::from_slice::<String>(&frame[r]).ok());
        // Before the handshake an endpoint expects nothing.
        let lane = &self.servers[server].lane;
        let listeners = lane.listeners().filter_map(|key| Some((key, self.peers.get(key)?)));
        for (key, peer) in listeners.filter(|(_, peer)| peer.desk.is_conversing()) {
            let is_alone = matches!(peer.sight, Sight::Alone(_));
            match (own.as_ref().and_then(|own| peer.wishes.called(server, own)), e.uri.clone()) {
                (Some(uri), Some(range)) if !is_alone => {
                    let uri = serde_json::Value::from(uri).to_string();
                    out.to_peer(key, &[&frame[..range.start], uri.as_bytes(), &frame[range.end..]]);
                }
                // The update of another resource, perhaps of one below a resource that is followed.
                _ if !lane.has_others(key) || own.as_ref().is_some_and(|own| peer.wishes.follows_part(server, own)) => {
                    out.to_peer(key, &[frame]);
                }
                _ => {}
            }
        }
    }
}

/// A reading of a list that is published.
fn reading(kind: ListKind, number: u32) -> Reading {
    Reading { reader: Reader::Shelf, kind, number }
}

/// Whether a server that answers a list request with such an error may be taken to have no such list. Tools are asked for
/// even where they are not declared; templates can't be declared, and some servers that have resources don't know of
/// templates.
fn may_be_none(kind: ListKind, code: i32, welcome: Option<&Welcome>) -> bool {
    match kind {
        ListKind::Tools => !welcome.is_some_and(|welcome| welcome.can("tools")),
        ListKind::Templates => NOT_KNOWN.contains(&code),
        ListKind::Prompts | ListKind::Resources => false,
    }
}

/// Codes with which servers answer what they don't know: MCP's, and the one that FastMCP uses for everything.
const NOT_KNOWN: [i32; 4] = [METHOD_NOT_FOUND, INVALID_PARAMS, RESOURCE_NOT_FOUND, 0];
