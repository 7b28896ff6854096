//! Several servers as one MCP server, for any number of peers. Also one server whose tools are not published as they are.
//!
//! # Theory of operation
//!
//! Each server has a `Lane` (how far the server is, what is under way there) and a `Shelf` (what the server said of itself,
//! in this run or an earlier one). A server that comes up is initialized with the endpoint's parameters, and its lists are
//! read to the end; out of all shelves comes what is `Published`: one list of each kind, and the way back from each name.
//! The peers' requests go to the server that the name belongs to, under ids of ours, or are answered here.
//!
//! An answer that needs to know of all servers (`initialize`, lists, a name that nobody has yet) waits for servers that may
//! still say something: not for those that are remembered or dead, nor twice in one life for a server that says nothing.
//!
//! When what is published changes after a peer has read it, the peer is told by `list_changed`. One that does not read anew
//! within a few seconds gets a new connection, at a moment when nothing of it is under way.
//!
//! No server can reach into what belongs to another: ids, progress tokens and deadlines are looked up in the lane of the
//! server that speaks.

mod elsewhere;
pub(super) mod peer_side;
mod published;
mod server_side;
mod tasks;
#[cfg(test)]
mod tests;
mod union;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use self::published::{LeftOut, Published, Renamed, Rules};
use self::tasks::Tasks;
use super::deadlines::{Deadlines, Due};
use super::desk::{Message, MessageFault, Received};
use super::held::Held;
use super::lane::{Flight, Lane, ServerSide};
use super::listing::Table;
use super::listing::shelf::Shelf;
use super::names::Letters;
use super::peers::{NewPeer, Owed, Peer, PeerId, Peers, Want};
use super::request::Request;
use super::{Account, Gone, Greeting, Note, Out, Reconnect, Router, SHUTTING_DOWN, ServerIndex, Start, What};
use crate::catalogue::Memory;
use crate::config::{Naming, ServerSpec};
use crate::frame::Cut;
use crate::mcp::envelope::{self, Envelope, Kind, Lost};
use crate::mcp::handshake::{Hello, Welcome};
use crate::mcp::lists::ListKind;
use crate::mcp::reply::{self, METHOD_NOT_FOUND, UNAVAILABLE};
use crate::tools::ToolPolicy;

/// A server of a merge.
#[derive(Debug)]
struct MergedServer {
    lane: Lane,
    shelf: Shelf,
    policy: Arc<ToolPolicy>,
    /// The policy has been compared with the server's tools in this run: what an earlier run remembered says nothing of the
    /// present config.
    judged: bool,
    keep_listed: bool,
    /// Longest time from the server's start for which anything of it is waited for.
    start_timeout: Duration,
    /// Nothing more of the server is waited for in this life: it has refused, or somebody has waited long enough.
    silent: bool,
}

impl MergedServer {
    /// Whether answers that need all servers should wait for a list of this one.
    fn is_awaited(&self) -> bool {
        ListKind::ALL.into_iter().any(|kind| self.shelf.lacks(kind)) && self.may_speak()
    }

    /// Whether answers that need a list of all servers should wait for this server's.
    fn awaits(&self, kind: ListKind) -> bool {
        self.shelf.lacks(kind) && self.may_speak()
    }

    fn may_speak(&self) -> bool {
        !self.silent
            && match self.lane.state {
                ServerSide::Down { retry_at, .. } => retry_at.is_none(),
                ServerSide::Refusing { .. } => false,
                ServerSide::Initializing { .. } | ServerSide::Greeted | ServerSide::Ready => true,
            }
    }

    /// Whether answers to `initialize` should wait for this server: its answer to the endpoint's own parameters is not known
    /// yet.
    fn is_greeting(&self) -> bool {
        let is_asked_again = matches!(self.lane.state, ServerSide::Initializing { again: true, .. });
        is_asked_again && self.may_speak() || self.shelf.welcome.is_none() && self.is_awaited()
    }

    /// When waiting for this server ends, if anything of it is waited for.
    fn awaited_until(&self) -> Option<Instant> {
        let is_due = self.is_awaited() && !matches!(self.lane.state, ServerSide::Greeted);
        self.lane.started.filter(|_| is_due).map(|started| started + self.start_timeout)
    }

    /// Whether the endpoint sees what the server has.
    fn is_listed(&self) -> bool {
        self.keep_listed || self.lane.is_initialized()
    }

    /// When the server's handshake, lists or waiting messages want [`Router::on_tick`].
    fn next_tick(&self) -> Option<Instant> {
        let shelf = self.shelf.next_tick(self.lane.is_ready());
        let lane = [self.lane.held.deadline(), self.lane.opening_due()];
        lane.into_iter().chain([self.awaited_until(), shelf]).flatten().min()
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Merge {
    peers: Peers,
    members: Vec<MergedServer>,
    rules: Rules,
    /// Requests with a name that nobody has yet.
    unrouted: Held,
    published: Published,
    /// How many states of what is published there have been.
    states: u64,
    /// What the log was last told of items that did not fit into the lists.
    told_left_out: [LeftOut; 4],
    /// What the log was last told of tools that are published under other names.
    told_renamed: Renamed,
    /// What is published is out of date.
    stale: bool,
    deadlines: Deadlines,
    tasks: Tasks,
    /// No request is taken any more.
    draining: bool,
    /// Calls that were answered.
    served: u64,
}

impl Merge {
    /// A merge of these servers, each with what an earlier run remembered of it, without peers. Nothing is connected,
    /// nothing runs. The servers agree on how names are kept apart.
    pub fn new(servers: impl IntoIterator<Item = (Arc<ServerSpec>, Option<Memory>)>) -> Self {
        let (mut members, mut max_frame, mut sharing) = (Vec::new(), 0, None);
        for (index, (spec, memory)) in servers.into_iter().enumerate() {
            max_frame = spec.max_frame.max(max_frame);
            sharing = Some(spec.sharing);
            members.push(MergedServer {
                lane: Lane::new(index, spec.name.clone(), spec.max_frame, true),
                shelf: Shelf::new(memory),
                policy: spec.tools.clone(),
                judged: false,
                keep_listed: spec.keep_listed,
                start_timeout: spec.start_timeout,
                silent: false,
            });
        }
        let sharing = sharing.unwrap_or_default();
        // A server alone has nobody to be kept apart from.
        let (naming, letters) = match members.len() {
            ..=1 => (Naming::Auto, Letters::Any),
            _ => (sharing.naming, Letters::Of(sharing.names)),
        };
        Merge {
            peers: Peers::default(),
            members,
            rules: Rules { naming, letters, max: max_frame },
            unrouted: Held::default(),
            published: Published::default(),
            states: 0,
            told_left_out: Default::default(),
            told_renamed: Renamed::default(),
            stale: true,
            deadlines: Deadlines::default(),
            tasks: Tasks::default(),
            draining: false,
            served: 0,
        }
    }

    /// Sets the server's deadline anew, as something may be due sooner now.
    fn arm(&mut self, server: ServerIndex) {
        self.deadlines.arm(Due::Server(server), self.members[server].next_tick());
    }

    /// When something of a peer is due.
    fn due_of(&self, peer: PeerId) -> Option<Instant> {
        self.peers.get(peer).and_then(Peer::next_tick)
    }

    /// Sets a peer's deadline anew, as something may be due sooner now.
    fn arm_peer(&mut self, peer: PeerId) {
        self.deadlines.arm(Due::Peer(peer), self.due_of(peer));
    }

    /// What an endpoint is shown of tools, as far as they are known: the result of `tools/list` (MCP, server/tools), and for
    /// each name in that result the server and the tool's name there.
    pub fn tools(&mut self) -> (&[u8], &Table) {
        let published = self.published();
        (published.result(ListKind::Tools), published.table(ListKind::Tools))
    }

    /// What is published, as of now.
    fn published(&mut self) -> &Published {
        if std::mem::take(&mut self.stale) {
            self.published = Published::new(&self.members, self.rules);
            self.states += 1;
        }
        &self.published
    }
}

impl Router for Merge {
    fn join(&mut self, new: NewPeer) -> PeerId {
        self.peers.join(new)
    }

    fn leave(&mut self, peer: PeerId, now: Instant, out: &mut dyn Out) {
        self.on_link_down(peer, now, out);
        self.tasks.leave(peer);
        for member in &mut self.members {
            member.lane.lasting.leave(peer);
        }
        self.peers.leave(peer, out);
        self.deadlines.arm(Due::Peer(peer), None);
        // A level may have gone with it.
        if self.peers.are_many() {
            for server in 0..self.members.len() {
                self.pass_level(server, out);
            }
        }
    }

    fn on_link_up(&mut self, peer: PeerId, _now: Instant, _out: &mut dyn Out) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.desk.link_up();
        }
    }

    fn on_link_down(&mut self, peer: PeerId, now: Instant, out: &mut dyn Out) {
        self.unrouted.drop_all_of(peer);
        let Merge { members, peers, deadlines, .. } = self;
        for member in members.iter_mut() {
            member.lane.link_down(peer, out);
        }
        peers.take_back(peer, members.iter_mut().map(|member| &mut member.lane), out);
        deadlines.retain_calls(|server, id| members[server].lane.has(id));
        if let Some(peer) = peers.get_mut(peer) {
            peer.link_down(now, out);
        }
        self.arm_peer(peer);
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
        self.arm_peer(peer);
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

    fn on_server_up(&mut self, server: ServerIndex, now: Instant, out: &mut dyn Out) {
        let member = &mut self.members[server];
        member.silent = false;
        member.lane.up(&mut self.peers, now, out);
        self.arm(server);
    }

    fn on_server_down(&mut self, server: ServerIndex, gone: Gone<'_>, now: Instant, out: &mut dyn Out) {
        let member = &mut self.members[server];
        member.shelf.down();
        member.lane.down(gone, &mut self.peers, now, out);
        self.deadlines.retain_calls(|of, _| of != server);
        self.search_for_strays(server, now, out);
        self.tasks.forget(server);
        self.stale |= !self.members[server].keep_listed;
        self.answer_waiting(now, out);
    }

    fn on_server_busy(&mut self, server: ServerIndex, busy: bool, _now: Instant, out: &mut dyn Out) {
        let lane = &mut self.members[server].lane;
        lane.busy = busy;
        if !busy {
            lane.send_leftover(out);
            self.pass_level(server, out);
            self.release(server, out);
        }
    }

    fn on_server(&mut self, server: ServerIndex, frame: &[u8], e: &Envelope, now: Instant, out: &mut dyn Out) {
        self.members[server].lane.end_silence(now, out);
        let kind = e.kind(frame);
        // A message that belongs to a task names the task by the id that its peer knows.
        let related = if kind == Kind::Response { None } else { self.publish_related(server, frame, e) };
        let owner = related.as_ref().map(|(owner, _)| *owner);
        let published = related.as_ref().and_then(|(_, text)| Some((&**text, envelope::scan_one(text)?)));
        let (frame, e) = published.as_ref().map_or((frame, e), |(text, e)| (*text, e));
        match kind {
            Kind::Response => self.server_answers(server, frame, e, now, out),
            Kind::Request => {
                let lane = &self.members[server].lane;
                if let Some(asked) = lane.ask(owner, (frame, e), &mut self.peers, now, out) {
                    self.arm_peer(asked);
                }
            }
            Kind::Notification => self.server_notifies(server, frame, e, now, out),
            Kind::Other => {}
        }
    }

    fn on_server_noise(&mut self, server: ServerIndex, text: &[u8], now: Instant, out: &mut dyn Out) {
        self.members[server].lane.end_silence(now, out);
        out.note(Note::of(server, What::Noise { line: text }));
    }

    fn on_server_lost(&mut self, server: ServerIndex, lost: Lost<'_>, text: &[u8], now: Instant, out: &mut dyn Out) {
        let lane = &mut self.members[server].lane;
        lane.end_silence(now, out);
        let lost = lane.on_lost(lost, text, &mut self.peers, out);
        self.on_lost(server, lost, now, out);
    }

    fn on_server_too_large(&mut self, server: ServerIndex, cut: Cut<'_>, now: Instant, out: &mut dyn Out) {
        self.members[server].lane.end_silence(now, out);
        let lost = self.members[server].lane.on_too_large(cut, &mut self.peers, out);
        self.on_lost(server, lost, now, out);
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
        let mut is_late = self.unrouted.deadline().is_some_and(|deadline| deadline <= now);
        for due in self.deadlines.expired(now) {
            match due {
                Due::Call(server, id) => self.expire_call(server, id, now, out),
                Due::Server(server) => {
                    self.members[server].lane.tick(&mut self.peers, now, out);
                    self.check_server(server, now, out);
                    self.arm(server);
                }
                Due::Peer(key) => {
                    let Some(peer) = self.peers.get_mut(key) else { continue };
                    peer.desk.tick(now, out);
                    peer.changes.tick(now);
                    is_late |= peer.owed.iter().any(|owed| owed.deadline <= now);
                    self.arm_peer(key);
                }
            }
        }
        if is_late {
            // Once is enough: the next request does not wait for these servers again.
            for member in &mut self.members {
                member.silent |= member.is_awaited() || member.is_greeting();
            }
        }
        self.answer_waiting(now, out);
    }

    fn on_beat(&mut self, now: Instant, out: &mut dyn Out) {
        for member in &mut self.members {
            member.lane.check_silence(now, out);
        }
    }

    fn next_tick(&self) -> Option<Instant> {
        let is_armed =
            |due, at: Option<Instant>| at.is_none_or(|at| self.deadlines.armed(due).is_some_and(|armed| armed <= at));
        let mut members = self.members.iter().enumerate();
        debug_assert!(members.all(|(server, member)| is_armed(Due::Server(server), member.next_tick())));
        debug_assert!(self.peers.iter().all(|(key, peer)| is_armed(Due::Peer(key), peer.next_tick())));
        super::earliest([self.deadlines.first(), self.unrouted.deadline()])
    }

    fn drain(&mut self, _now: Instant, out: &mut dyn Out) {
        self.draining = true;
        let lanes = self.members.iter_mut().map(|member| &mut member.lane.held);
        let held: Vec<_> = lanes.chain([&mut self.unrouted]).flat_map(Held::take_all).collect();
        for held in held {
            self.peers.refuse_held((held.peer, &held.frame), SHUTTING_DOWN, out);
        }
        for (_, peer) in self.peers.iter_mut() {
            peer.drain(SHUTTING_DOWN, out);
        }
    }

    fn in_flight(&self) -> usize {
        let at = |lane: &Lane| lane.calls().count() + lane.held.len();
        let at_servers: usize = self.members.iter().map(|member| at(&member.lane)).sum();
        let waiting: usize = self.peers.iter().map(|(_, peer)| peer.waiting()).sum();
        at_servers + self.unrouted.len() + waiting
    }

    fn start(&self, server: ServerIndex) -> Start {
        let MergedServer { lane, shelf, .. } = &self.members[server];
        // What is remembered is as good as an answer.
        if shelf.is_known() { Start::Settled } else { lane.start() }
    }

    fn is_serving(&self, server: ServerIndex) -> bool {
        self.members[server].lane.is_initialized()
    }

    fn is_handshaken(&self, peer: PeerId) -> bool {
        self.peers.get(peer).is_some_and(|peer| peer.desk.is_handshaken())
    }

    fn wants_reconnect(&self, peer: PeerId, now: Instant) -> Option<Reconnect> {
        let of = self.peers.get(peer)?;
        let is_quiet = || {
            let at_servers = || self.members.iter().all(|member| member.lane.is_quiet(peer, now));
            of.is_quiet() && !self.unrouted.has(peer) && at_servers()
        };
        (of.changes.is_due(now) && is_quiet()).then_some(Reconnect::Resync)
    }

    fn account(&self, peer: PeerId, now: Instant) -> Account {
        let open = self.members.iter().filter(|member| !member.lane.is_ready());
        let standing: Vec<_> =
            open.take(5).map(|member| format!("({} {})", member.lane.name, member.lane.standing(now))).collect();
        let standing = if standing.is_empty() { "was running".to_owned() } else { standing.join(", ") };
        let of = self.peers.get(peer);
        let mut account = of.map_or_else(Account::default, |of| of.desk.account(self.served, standing));
        account.unanswered = self.members.iter().flat_map(|member| member.lane.unanswered(peer, now)).collect();
        account
    }

    fn served(&self) -> u64 {
        self.served
    }
}

impl Merge {
    /// A message of a peer.
    fn message(&mut self, peer: PeerId, frame: &[u8], e: &Envelope, now: Instant, out: &mut dyn Out) {
        let text = self.own_related(peer, frame, e);
        let own = text.as_deref().and_then(|text| Some((text, envelope::scan_one(text)?)));
        let (frame, e) = own.as_ref().map_or((frame, e), |(text, e)| (*text, e));
        let Some(of) = self.peers.get_mut(peer) else { return };
        match of.desk.classify(frame, e, now, out) {
            Some(Message::Request(request @ Request { method: b"initialize", .. })) => self.initialize(&request, out),
            Some(Message::Request(Request { id, method: b"ping", .. })) => {
                out.to_peer(peer, &[&reply::result(id, b"{}")]);
            }
            // Legacy only. An endpoint that gets an error here has yet to say what it is, by `initialize` (MCP 2026-07-28,
            // server/discover).
            Some(Message::Request(Request { id, method: b"server/discover", .. })) => {
                of.desk.refuse(id, METHOD_NOT_FOUND, "method not found", out);
            }
            Some(Message::Request(request)) => {
                self.open_conversation(peer, now, out);
                self.request(&request, out);
            }
            Some(Message::Notification { method: b"notifications/initialized" }) => {
                self.open_conversation(peer, now, out);
            }
            Some(Message::Notification { method: b"notifications/cancelled" }) => self.cancel(peer, frame, e, out),
            Some(Message::Notification { method }) => {
                if let Some(request) = peer_side::decided_here(method) {
                    let fault = MessageFault::invalid(format!("{request} has no id"));
                    return of.desk.refuse_nonsense(b"null", frame, fault, out);
                }
                self.open_conversation(peer, now, out);
                for member in self.members.iter().filter(|member| member.lane.is_ready() && !member.lane.busy) {
                    out.to_server(member.lane.index, &[frame]);
                }
            }
            None => {}
        }
    }

    /// Messages that wait for a server are sent, or wait on. The time of each counts from when it came.
    fn release(&mut self, server: ServerIndex, out: &mut dyn Out) {
        for held in self.members[server].lane.held.take_all() {
            self.on_peer(held.peer, &held.frame, held.since, out);
        }
    }

    /// Something about a server has changed: answers the requests that waited for that, and tells peers what is new.
    fn answer_waiting(&mut self, now: Instant, out: &mut dyn Out) {
        let Merge { members, peers, .. } = self;
        let greeting = members.iter().any(MergedServer::is_greeting);
        let awaited = members.iter().any(MergedServer::is_awaited);
        let is_known = |owed: &mut Owed| match owed.what {
            Want::Initialize(_) => !greeting,
            Want::List(kind) => !members.iter().any(|member| member.awaits(kind)),
        };
        for (_, peer) in peers.iter_mut() {
            peer.due.extend(peer.owed.extract_if(.., is_known));
        }
        for peer in self.peers.keys() {
            self.answer_due(peer, out);
        }
        if !awaited {
            for held in self.unrouted.take_all() {
                self.on_peer(held.peer, &held.frame, held.since, out);
            }
        }
        self.announce_changes(now, out);
    }

    /// Answers requests that only wait for room, as far as there is some.
    fn answer_due(&mut self, peer: PeerId, out: &mut dyn Out) {
        while out.has_room(peer)
            && let Some(owed) = self.peers.get_mut(peer).and_then(|peer| peer.due.pop_front())
        {
            match owed.what {
                Want::Initialize(version) => self.answer_initialize((peer, &owed.id), &version, out),
                Want::List(kind) => self.answer_list((peer, &owed.id), kind, out),
            }
        }
    }

    /// Tells peers which of the lists that they have read are no longer so.
    fn announce_changes(&mut self, now: Instant, out: &mut dyn Out) {
        let (stale, states) = (self.stale, self.states);
        let is_concerned =
            |peer: &Peer| peer.desk.is_conversing() && (stale || peer.compared != states || peer.changes.is_changed());
        let concerned: Vec<_> = self.peers.iter().filter(|(_, peer)| is_concerned(peer)).map(|(key, _)| key).collect();
        if concerned.is_empty() {
            return;
        }
        let capabilities = self.capabilities();
        self.published();
        let Merge { peers, published, states, .. } = self;
        for key in &concerned {
            let Some(peer) = peers.get_mut(*key) else { continue };
            peer.compared = *states;
            peer.changes.compare(Some(capabilities), |kind| Some(published.print(kind)), now, out);
        }
        for key in concerned {
            self.arm_peer(key);
        }
    }
}
