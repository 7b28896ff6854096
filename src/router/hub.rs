//! The router: any number of servers, and any number of peers that each see one of them or several as one.
//!
//! # Theory of operation
//!
//! Each server has a `Lane` (how far the server is, what is under way there), and what it said of itself: a `Solo` for peers
//! that have the server alone (see `alone`), a `Shelf` for those that see several servers as one. A server that comes up is
//! initialized with its endpoint's parameters.
//!
//! Several servers as one are a `View`. The lists of a server that is in some view are read to the end; out of all shelves of
//! a view comes what is `Published`: one list of each kind, and the way back from each name. The peers' requests go to the
//! server that the name belongs to, under ids of ours, or are answered here. A view may also have one server whose tools are
//! not published as they are.
//!
//! An answer that needs to know of all servers (`initialize`, lists, a name that nobody has yet) waits for servers that may
//! still say something: not for those that are remembered or dead, nor twice in one life for a server that says nothing.
//!
//! When what is published changes after a peer has read it, the peer is told by `list_changed`. One that does not read anew
//! within a few seconds gets a new connection, at a moment when nothing of it is under way.
//!
//! Where each peer has a process of its own of a server, these are servers as well (see `processes`).
//!
//! No server can reach into what belongs to another: ids, progress tokens and deadlines are looked up in the lane of the
//! server that speaks.

mod alone;
mod bounds;
mod elsewhere;
mod gates;
mod health;
mod instances;
mod membership;
mod parting;
pub(super) mod peer_side;
mod processes;
mod published;
mod replicas;
mod server_side;
mod tasks;
#[cfg(test)]
mod tests;
mod union;
mod view;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use slotmap::{SecondaryMap, SlotMap};
use tokio::time::Instant;

use self::alone::Solo;
use self::gates::Judged;
use self::processes::Role;
use self::tasks::Tasks;
use self::view::{Awaited, View};
use super::call_cache::CallCache;
use super::deadlines::{Deadlines, Due};
use super::desk::{Message, MessageFault, Received};
use super::held::{Held, HeldMessage};
use super::lane::{Flight, Lane, OVER, ServerSide};
use super::listing::Table;
use super::listing::shelf::Shelf;
use super::peers::{NewPeer, Owed, Peer, PeerId, Peers, Sight, ViewId, Want};
use super::request::Request;
use super::{
    About, Account, Bar, Gone, Greeting, Note, Out, Outcome, Reconnect, Router, SHUTTING_DOWN, ServerIndex, Start,
    What, task,
};
use crate::catalogue::Memory;
use crate::config::{Handshake, Reach, ServerSpec, Sharing};
use crate::frame::Cut;
use crate::mcp::envelope::{self, Envelope, Kind, Lost};
use crate::mcp::handshake::{Hello, Welcome};
use crate::mcp::lists::ListKind;
use crate::mcp::reply::{self, METHOD_NOT_FOUND, UNAVAILABLE};
use crate::tools::ToolPolicy;

/// What is seen of several servers as one.
#[derive(Debug, Clone)]
pub struct Show {
    /// The servers, each with what of its tools is seen.
    pub servers: Vec<(ServerIndex, Arc<ToolPolicy>)>,
    /// How names are kept apart.
    pub sharing: Sharing,
    /// The largest list, in bytes.
    pub max_list: usize,
    /// Whether others may be seen later, so that a server is not shown as itself while it is the only one.
    pub grows: bool,
}

/// Why a list is not given for which a peer has waited.
const SEES_OTHERS: &str = "the connection shows other servers now: ask for the list again";

/// What has become of a server after which nobody asks any more, and of one that had come by itself.
const REMOVED: &str = "is not in the config any more";
const LEFT: &str = "has closed its connection";

/// A server of a router.
#[derive(Debug)]
struct Hosted {
    lane: Lane,
    solo: Solo,
    shelf: Shelf,
    keep_listed: bool,
    /// Its lists are read: some view shows the server, or it has a fallback or is one.
    shown: bool,
    /// Since when its lists are read, where that began after its start.
    read_since: Option<Instant>,
    /// How the server stands to other processes of its entry.
    role: Role,
    /// Longest time from the server's start, or from when its lists are read, for which anything of it is waited for.
    start_timeout: Duration,
    /// Nothing more of the server is waited for in this life: it has refused, or somebody has waited long enough.
    silent: bool,
    /// What has become of the server once it is gone for good, in words that follow its name.
    farewell: &'static str,
    /// The server that takes its calls while it can't, by name.
    fallback: Option<Arc<str>>,
    /// It is the fallback of others, which get these of its tools.
    stands_in: Option<Arc<ToolPolicy>>,
    /// Answers that are given again for a while.
    cache: Option<Box<CallCache>>,
}

impl Hosted {
    /// A server that does not run yet, with what an earlier run remembered of it.
    fn new(index: ServerIndex, spec: &ServerSpec, memory: Option<Memory>) -> Self {
        let (lane, is_comer) =
            (Lane::new(index, spec.name.clone(), spec.max_frame), matches!(spec.reach, Reach::Comer(_)));
        let lane = lane.with_health(spec.health_check.as_ref());
        Hosted {
            lane: if is_comer { lane.come() } else { lane },
            solo: Solo::new(spec.handshake).passing_pings(spec.passes_pings),
            shelf: Shelf::new(memory),
            keep_listed: spec.keep_listed,
            shown: false,
            read_since: None,
            role: Role::Shared,
            start_timeout: spec.start_timeout,
            silent: false,
            farewell: if is_comer { LEFT } else { REMOVED },
            fallback: None,
            stands_in: None,
            cache: None,
        }
        .with(spec.instances)
        .bounded(spec)
    }

    /// The place of a server that is gone.
    fn vacant(index: ServerIndex) -> Self {
        Hosted {
            lane: Lane::new(index, "".into(), 0),
            solo: Solo::new(Handshake::default()),
            shelf: Shelf::new(None),
            keep_listed: false,
            shown: false,
            read_since: None,
            role: Role::Shared,
            start_timeout: Duration::ZERO,
            silent: true,
            farewell: REMOVED,
            fallback: None,
            stands_in: None,
            cache: None,
        }
    }

    /// What the config says of the server has changed.
    fn change(&mut self, spec: &ServerSpec) {
        self.lane.set_max_frame(spec.max_frame);
        self.solo.set_handshake(spec.handshake);
        self.keep_listed = spec.keep_listed;
        self.start_timeout = spec.start_timeout;
        self.bound(spec);
    }

    /// What the server last said of itself.
    fn welcome(&self) -> Option<&Welcome> {
        self.solo.welcome.as_ref().or(self.shelf.welcome.as_ref())
    }

    /// Whether answers that need all servers should wait for a list of this one.
    fn is_awaited(&self) -> bool {
        ListKind::ALL.into_iter().any(|kind| self.shelf.lacks(kind)) && self.may_speak()
    }

    /// Whether answers that need a list of all servers should wait for this server's.
    fn awaits(&self, kind: ListKind) -> bool {
        self.shelf.lacks(kind) && self.may_speak() || self.shelf.is_awaited(kind)
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

    /// When the server counts as one that has failed, unless it answers for the first time before.
    fn overdue(&self) -> Option<Instant> {
        self.lane.asked_since().map(|since| since + self.start_timeout)
    }

    /// When waiting for this server ends, if anything of it is waited for.
    fn awaited_until(&self) -> Option<Instant> {
        let is_due = self.is_awaited() && !matches!(self.lane.state, ServerSide::Greeted);
        let started = self.lane.started.filter(|_| is_due)?;
        Some(self.read_since.map_or(started, |read| read.max(started)) + self.start_timeout)
    }

    /// Whether the endpoint sees what the server has.
    fn is_listed(&self) -> bool {
        // Of several that are alike, another one may be there.
        self.keep_listed || self.lane.is_initialized() || matches!(self.role, Role::Several(_))
    }

    /// When the server's handshake, lists or waiting messages want [`Router::on_tick`].
    fn next_tick(&self) -> Option<Instant> {
        let ready = self.lane.is_ready();
        let Hosted { lane, solo, .. } = self;
        let bounds = super::earliest([lane.circuit_due(), lane.health_due(), self.overdue()]);
        let lane = [lane.held.deadline(), lane.opening_due(), bounds, solo.reread.next_tick(ready)];
        // Asked with each message, so a server that no view shows costs nothing for views.
        let of_views = if self.shown { [self.awaited_until(), self.shelf.next_tick(ready)] } else { [None; 2] };
        let own = super::earliest([super::earliest(lane), super::earliest(of_views)]);
        match &self.role {
            Role::Shared | Role::Further(_) | Role::Several(_) | Role::Replica(_) => own,
            Role::First(pool) => super::earliest([own, pool.next_tick()]),
        }
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Hub {
    peers: Peers,
    servers: Vec<Hosted>,
    /// The places of servers that are gone. Nothing names these any more.
    vacant: BTreeSet<ServerIndex>,
    /// Peers of any kind may come.
    is_open: bool,
    views: SlotMap<ViewId, View>,
    /// What a peer sees that names nothing else.
    whole: Sight,
    /// A view of no server: what is left to peers whose servers are gone.
    nothing: ViewId,
    /// Requests with a name that nobody has yet.
    unrouted: Held,
    deadlines: Deadlines,
    tasks: Tasks,
    /// What the log was told of what endpoints let through.
    gates: Vec<Judged>,
    /// No request is taken any more.
    draining: bool,
    /// Requests that came since.
    parting: Held,
}

impl Hub {
    /// A router without servers.
    pub fn new() -> Self {
        Hub::of(Vec::new(), SlotMap::with_key(), None)
    }

    /// A router for this server, which its peers have alone. Nothing is connected, nothing runs.
    pub fn alone(spec: &ServerSpec) -> Self {
        Hub::of(vec![Hosted::new(0, spec, None)], SlotMap::with_key(), Some(Sight::Alone(0)))
    }

    /// A router for these servers as one, each with what an earlier run remembered of it. Nothing is connected, nothing runs.
    /// The servers agree on how names are kept apart.
    pub fn merging(servers: impl IntoIterator<Item = (Arc<ServerSpec>, Option<Memory>)>) -> Self {
        let (mut all, mut seen, mut max_frame, mut sharing) = (Vec::new(), Vec::new(), 0, None);
        for (index, (spec, memory)) in servers.into_iter().enumerate() {
            max_frame = spec.max_frame.max(max_frame);
            sharing = Some(spec.sharing);
            seen.push((index, spec.tools.clone()));
            all.push(Hosted { shown: true, ..Hosted::new(index, &spec, memory) });
        }
        let mut views = SlotMap::with_key();
        let sharing = sharing.unwrap_or_default();
        let whole = views.insert(View::new(Show { servers: seen, sharing, max_list: max_frame, grows: false }));
        Hub::of(all, views, Some(Sight::Merged(whole)))
    }

    fn of(servers: Vec<Hosted>, mut views: SlotMap<ViewId, View>, whole: Option<Sight>) -> Self {
        let nothing = views.insert(View::new(Show {
            servers: Vec::new(),
            sharing: Sharing::default(),
            max_list: 0,
            grows: false,
        }));
        Hub {
            peers: Peers::default(),
            servers,
            vacant: BTreeSet::new(),
            is_open: false,
            views,
            whole: whole.unwrap_or(Sight::Merged(nothing)),
            nothing,
            unrouted: Held::default(),
            deadlines: Deadlines::default(),
            tasks: Tasks::default(),
            gates: Vec::new(),
            draining: false,
            parting: Held::default(),
        }
    }

    /// Whether no request is taken any more.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining
    }

    /// Whether there is something to be seen.
    fn is_there(&self, sight: Sight) -> bool {
        match sight {
            Sight::Alone(server) => server < self.servers.len() && !self.vacant.contains(&server),
            Sight::Merged(view) => self.views.contains_key(view),
        }
    }

    /// The servers that are seen.
    fn seen_in(&self, sight: Sight) -> Vec<ServerIndex> {
        match sight {
            Sight::Alone(server) => vec![server],
            Sight::Merged(view) => self.views.get(view).into_iter().flat_map(View::indices).collect(),
        }
    }

    /// Whether the lists of a server are read, as where some view shows it.
    fn is_merged(&self, server: ServerIndex) -> bool {
        self.servers[server].shown
    }

    /// Whether some peer has a server alone.
    fn is_had_alone(&mut self, server: ServerIndex) -> bool {
        self.peers.alone_with(server).next().is_some()
    }

    /// Sets the server's deadline anew, as something may be due sooner now.
    fn arm(&mut self, server: ServerIndex) {
        self.deadlines.arm(Due::Server(server), self.servers[server].next_tick());
    }

    /// Sets the deadlines of a server and of those that have it alone anew, as something may be due sooner now.
    fn arm_viewers(&mut self, server: ServerIndex) {
        self.arm(server);
        let viewers: Vec<PeerId> = self.peers.alone_with(server).map(|(key, _)| key).collect();
        viewers.into_iter().for_each(|peer| self.arm_peer(peer));
    }

    /// When something of a peer is due.
    fn due_of(&self, peer: PeerId) -> Option<Instant> {
        let peer = self.peers.get(peer)?;
        let doubt = match peer.sight {
            Sight::Alone(server) if self.servers[server].lane.is_ready() => peer.pages.next_doubt(),
            Sight::Alone(_) | Sight::Merged(_) => None,
        };
        super::earliest([peer.next_tick(), doubt])
    }

    /// Sets a peer's deadline anew, as something may be due sooner now.
    fn arm_peer(&mut self, peer: PeerId) {
        self.deadlines.arm(Due::Peer(peer), self.due_of(peer));
    }

    /// What an endpoint is shown of tools, as far as they are known: the result of `tools/list` (MCP, server/tools), and for
    /// each name in that result the server and the tool's name there.
    pub fn tools(&mut self) -> Option<(&[u8], &Table)> {
        let Hub { views, servers, whole, .. } = self;
        let Sight::Merged(view) = *whole else { return None };
        let published = views.get_mut(view)?.published(servers);
        Some((published.result(ListKind::Tools), published.table(ListKind::Tools)))
    }

    /// A peer that sees several servers as one, and what it sees of them.
    fn at(&mut self, peer: PeerId) -> Option<(&mut Peer, &mut View, &[Hosted])> {
        let Hub { peers, views, servers, .. } = self;
        let peer = peers.get_mut(peer)?;
        let Sight::Merged(view) = peer.sight else { return None };
        Some((peer, views.get_mut(view)?, servers))
    }

    /// What a peer sees of several servers as one.
    fn view_of(&self, peer: PeerId) -> Option<&View> {
        match self.peers.get(peer)?.sight {
            Sight::Merged(view) => self.views.get(view),
            Sight::Alone(_) => None,
        }
    }

    /// What is published of a server is out of date.
    fn touch(&mut self, server: ServerIndex) {
        for view in self.views.values_mut() {
            view.touch(server);
        }
    }
}

impl Router for Hub {
    fn join(&mut self, new: NewPeer) -> PeerId {
        let sight = new.sight.filter(|sight| self.is_there(*sight)).unwrap_or(self.whole);
        let peer = self.peers.join(new, sight);
        for server in self.seen_by(peer) {
            self.servers[server].lane.add_viewer(peer);
        }
        peer
    }

    fn leave(&mut self, peer: PeerId, now: Instant, out: &mut dyn Out) {
        self.on_link_down(peer, now, out);
        self.leave_processes(peer, now, out);
        self.tasks.leave(peer);
        self.peers.leave(peer, out);
        self.deadlines.forget(peer);
        for server in &mut self.servers {
            if let Some(cache) = &mut server.cache {
                cache.leave(peer);
            }
            if let Role::Several(replicas) = &mut server.role {
                replicas.leave(peer);
            }
        }
        for server in 0..self.servers.len() {
            let lane = &mut self.servers[server].lane;
            lane.lasting.leave(peer);
            // A level may have gone with it.
            if lane.remove_viewer(peer) && lane.has_many() {
                self.pass_level(server, out);
            }
        }
    }

    fn on_link_up(&mut self, peer: PeerId, now: Instant, out: &mut dyn Out) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.desk.link_up();
        }
        for server in self.seen_by(peer) {
            if self.servers[server].lane.has_many() {
                self.go_on(server, now, out);
                self.arm_viewers(server);
            }
        }
    }

    fn on_link_down(&mut self, peer: PeerId, now: Instant, out: &mut dyn Out) {
        for held in self.unrouted.drop_all_of(peer).into_iter().chain(self.parting.drop_all_of(peer)) {
            held.note_unserved(About::Peer(peer), Outcome::Cancelled, out);
        }
        let Hub { servers, peers, deadlines, .. } = self;
        for server in servers.iter_mut() {
            if server.lane.only_viewer() == Some(peer) {
                server.solo.reread.link_down();
            }
            server.lane.link_down(peer, out);
        }
        for server in servers.iter_mut() {
            peers.take_back(peer, &mut server.lane, out);
        }
        deadlines.retain_calls(|server, id| servers[server].lane.has(id));
        if let Some(peer) = peers.get_mut(peer) {
            peer.link_down(now, out);
        }
        self.note_link_down(peer, now);
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
        for (_, peer) in self.peers.alone_with(server) {
            peer.relayed = false;
        }
        self.forget_answers(server);
        let member = &mut self.servers[server];
        (member.silent, member.read_since) = (false, None);
        member.lane.up(&mut self.peers, now, out);
        self.fill_up(server, out);
        self.arm_viewers(server);
    }

    fn on_server_down(&mut self, server: ServerIndex, gone: Gone<'_>, now: Instant, out: &mut dyn Out) {
        let held = self.held_for_others(server);
        let member = &mut self.servers[server];
        member.solo.reread.server_down(server, &mut self.peers);
        member.lane.down(gone, &mut self.peers, now, out);
        self.deadlines.retain_calls(|of, _| of != server);
        self.search_for_strays(server, now, out);
        self.tasks.forget(server);
        self.check_processes(server, now, out);
        self.on_absent(server, now, out);
        self.pass_on_held(held, out);
        self.look_for_stand_ins(server, now, out);
        self.arm_viewers(server);
    }

    fn on_server_busy(&mut self, server: ServerIndex, busy: bool, _now: Instant, out: &mut dyn Out) {
        let lane = &mut self.servers[server].lane;
        lane.busy = busy;
        if !busy {
            lane.send_leftover(out);
            self.pass_level(server, out);
            self.release(server, out);
        }
    }

    fn on_server_barred(&mut self, server: ServerIndex, bar: Option<Bar>, now: Instant, out: &mut dyn Out) {
        if bar == Some(Bar::Stopped) {
            self.miss_lists(server);
        }
        let held = if bar == Some(Bar::Stopped) { self.held_for_others(server) } else { Vec::new() };
        self.servers[server].lane.barred(bar, &mut self.peers, out);
        self.pass_on_held(held, out);
        if self.servers[server].lane.is_stopped() {
            self.answer_all_waiting(server, out);
        }
        self.look_for_stand_ins(server, now, out);
        self.arm_viewers(server);
    }

    fn on_server(&mut self, server: ServerIndex, frame: &[u8], e: &Envelope, now: Instant, out: &mut dyn Out) {
        self.servers[server].lane.end_silence(now, out);
        let kind = e.kind(frame);
        // A message that belongs to a task names the task by the id that its peer knows.
        let related = if kind == Kind::Response { None } else { self.publish_related(server, frame, e) };
        let owner = related.as_ref().map(|(owner, _)| *owner);
        let published = related.as_ref().and_then(|(_, text)| Some((&**text, envelope::scan_one(text)?)));
        let (frame, e) = published.as_ref().map_or((frame, e), |(text, e)| (*text, e));
        match kind {
            Kind::Response => self.server_answers(server, frame, e, now, out),
            Kind::Request => {
                let lane = &self.servers[server].lane;
                let owner = owner.or_else(|| lane.lasting.owner(&frame[task::related(frame, e)?]));
                if let Some(asked) = lane.ask(owner, (frame, e), &mut self.peers, now, out) {
                    self.note_question(server, asked, now, out);
                    self.arm_peer(asked);
                }
            }
            Kind::Notification => self.server_notifies(server, frame, e, now, out),
            Kind::Other => {}
        }
    }

    fn on_server_caused(
        &mut self,
        server: ServerIndex,
        cause: u64,
        (frame, e): (&[u8], &Envelope),
        now: Instant,
        out: &mut dyn Out,
    ) {
        let Hub { servers, peers, .. } = self;
        let lane = &mut servers[server].lane;
        lane.end_silence(now, out);
        match (e.kind(frame), lane.caller(cause)) {
            (Kind::Request, Some(peer)) => {
                if let Some(asked) = lane.ask(Some(peer), (frame, e), peers, now, out) {
                    self.note_question(server, asked, now, out);
                    self.arm_peer(asked);
                }
            }
            (Kind::Request, None) => lane.refuse_question(frame, e, OVER, out),
            (Kind::Notification, Some(peer)) => lane.pass_log(peer, frame, e, peers, out),
            (Kind::Notification, None) => {
                let params = e.params.clone().map_or(&b""[..], |params| &frame[params]);
                out.note(Note::of(server, What::Logged { params }));
            }
            (Kind::Response | Kind::Other, _) => self.on_server(server, frame, e, now, out),
        }
    }

    fn on_server_modern(&mut self, server: ServerIndex) {
        self.servers[server].lane.be_modern();
    }

    fn on_server_noise(&mut self, server: ServerIndex, text: &[u8], now: Instant, out: &mut dyn Out) {
        self.servers[server].lane.end_silence(now, out);
        out.note(Note::of(server, What::Noise { line: text }));
    }

    fn on_server_nameless(&mut self, server: ServerIndex, error: &[u8], now: Instant, out: &mut dyn Out) {
        let lane = &mut self.servers[server].lane;
        lane.end_silence(now, out);
        let answer = lane.only_request().and_then(|number| envelope::named(error, number));
        match answer {
            Some((frame, e)) => self.server_answers(server, &frame, &e, now, out),
            None => {
                let requests = lane.load().0;
                out.note(Note::of(server, What::Nameless { error: crate::router::opening::words(error), requests }));
            }
        }
    }

    fn on_server_lost(&mut self, server: ServerIndex, lost: Lost<'_>, text: &[u8], now: Instant, out: &mut dyn Out) {
        let lane = &mut self.servers[server].lane;
        lane.end_silence(now, out);
        let lost = lane.on_lost(lost, text, &mut self.peers, now, out);
        self.on_lost(server, lost, now, out);
    }

    fn on_server_unanswered(&mut self, server: ServerIndex, id: &[u8], why: &str, now: Instant, out: &mut dyn Out) {
        let lost = self.servers[server].lane.on_unanswered(id, why, &mut self.peers, now, out);
        self.on_lost(server, lost, now, out);
    }

    fn on_server_renewed(&mut self, server: ServerIndex, now: Instant, out: &mut dyn Out) {
        let Hub { servers, peers, tasks, .. } = self;
        let Hosted { lane, solo, .. } = &mut servers[server];
        // What the server itself asked, and what it has made, ended with the conversation before.
        lane.forget_conversation(peers, out);
        solo.reread.server_down(server, peers);
        tasks.forget(server);
        if lane.is_ready() {
            self.on_ready(server, now, out);
        }
        self.arm_viewers(server);
    }

    fn on_server_too_large(&mut self, server: ServerIndex, cut: Cut<'_>, now: Instant, out: &mut dyn Out) {
        self.servers[server].lane.end_silence(now, out);
        let lost = self.servers[server].lane.on_too_large(cut, &mut self.peers, now, out);
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
        self.refuse_parting(now, out);
        let mut late: Vec<PeerId> = self.unrouted.late(now).collect();
        for due in self.deadlines.expired(now) {
            match due {
                Due::Call(server, id) => self.expire_call(server, id, now, out),
                Due::Server(server) => {
                    self.servers[server].lane.tick(&mut self.peers, now, out);
                    self.check_server(server, now, out);
                    self.check_health(server, now, out);
                    self.check_processes(server, now, out);
                    self.arm_viewers(server);
                }
                Due::Peer(key) => {
                    let Some(peer) = self.peers.get_mut(key) else { continue };
                    peer.desk.tick(now, out);
                    peer.changes.tick(now);
                    match peer.sight {
                        Sight::Alone(server) => {
                            peer.give_up_waiting(now);
                            self.answer_due(key, out);
                            self.check_server(server, now, out);
                            self.arm_viewers(server);
                        }
                        Sight::Merged(_) => {
                            if peer.owed.iter().any(|owed| owed.deadline <= now) {
                                late.push(key);
                            }
                            self.arm_peer(key);
                        }
                    }
                }
            }
        }
        // Once is enough: the next request does not wait for these servers again.
        for peer in late {
            for index in self.seen_by(peer) {
                let server = &mut self.servers[index];
                server.silent |= server.is_awaited() || server.is_greeting();
            }
        }
        self.answer_waiting(now, out);
    }

    fn on_beat(&mut self, peer: PeerId, now: Instant, out: &mut dyn Out) {
        for server in self.seen_by(peer) {
            self.servers[server].lane.check_silence(now, out);
        }
    }

    fn next_tick(&self) -> Option<Instant> {
        let is_armed =
            |due, at: Option<Instant>| at.is_none_or(|at| self.deadlines.armed(due).is_some_and(|armed| armed <= at));
        let mut servers = self.servers.iter().enumerate();
        debug_assert!(servers.all(|(server, it)| is_armed(Due::Server(server), it.next_tick())));
        debug_assert!(self.peers.iter().all(|(key, _)| is_armed(Due::Peer(key), self.due_of(key))));
        super::earliest([self.deadlines.first(), self.unrouted.deadline(), self.parting.deadline()])
    }

    fn drain(&mut self, _now: Instant, out: &mut dyn Out) {
        self.draining = true;
        let lanes = self.servers.iter_mut().map(|member| &mut member.lane.held);
        let held: Vec<_> = lanes.chain([&mut self.unrouted]).flat_map(Held::take_all).collect();
        held.into_iter().for_each(|held| self.refuse_for_good(held, out));
        for (_, peer) in self.peers.iter_mut() {
            peer.drain(SHUTTING_DOWN, out);
        }
    }

    fn part(&mut self, peer: PeerId, out: &mut dyn Out) {
        self.parting.drop_all_of(peer).into_iter().for_each(|held| self.refuse_for_good(held, out));
    }

    fn tell_cut(&self, now: Instant, out: &mut dyn Out) {
        self.servers.iter().for_each(|member| member.lane.tell_cut(now, out));
    }

    fn in_flight(&self) -> usize {
        let at = |lane: &Lane| lane.calls().count() + lane.held.len();
        let at_servers: usize = self.servers.iter().map(|member| at(&member.lane)).sum();
        let waiting: usize = self.peers.iter().map(|(_, peer)| peer.waiting()).sum();
        at_servers + self.unrouted.len() + waiting
    }

    fn start(&self, server: ServerIndex) -> Start {
        let hosted = &self.servers[server];
        // What is remembered is as good as an answer, and so is what another one can do.
        let is_settled = hosted.shelf.is_known() || bounds::stand_in_for(&self.servers, hosted).is_some();
        if is_settled { Start::Settled } else { hosted.lane.start() }
    }

    fn is_serving(&self, server: ServerIndex) -> bool {
        self.servers[server].lane.is_initialized()
    }

    fn is_handshaken(&self, peer: PeerId) -> bool {
        self.peers.get(peer).is_some_and(|peer| peer.desk.is_handshaken())
    }

    fn wants_reconnect(&self, peer: PeerId, now: Instant) -> Option<Reconnect> {
        let of = self.peers.get(peer)?;
        let is_quiet = || {
            let at_servers = || self.servers.iter().all(|member| member.lane.is_quiet(peer, now));
            of.is_quiet() && !self.unrouted.has(peer) && at_servers()
        };
        (of.changes.is_due(now) && is_quiet()).then_some(Reconnect::Resync)
    }

    fn account(&self, peer: PeerId, now: Instant) -> Account {
        let Some(of) = self.peers.get(peer) else { return Account::default() };
        let (standing, ended) = match of.sight {
            Sight::Alone(server) => {
                let lane = &self.servers[self.own(peer, server).unwrap_or(server)].lane;
                (lane.standing(now), lane.is_down())
            }
            Sight::Merged(_) => {
                let seen = self.view_of(peer).into_iter().flat_map(|view| view.of(&self.servers));
                let open: Vec<_> = seen.filter(|server| !server.lane.is_ready()).take(5).collect();
                let ended = !open.is_empty() && open.iter().all(|it| it.lane.is_down());
                let standing: Vec<_> =
                    open.into_iter().map(|it| format!("({} {})", it.lane.name, it.lane.standing(now))).collect();
                let standing = if standing.is_empty() { "was running".to_owned() } else { standing.join(", ") };
                (standing, ended)
            }
        };
        let mut account = Account { ended, ..of.desk.account(standing) };
        account.unanswered = self.servers.iter().flat_map(|member| member.lane.unanswered(peer, now)).collect();
        account
    }

    fn served(&self, peer: PeerId) -> u64 {
        self.peers.served(peer)
    }
}

impl Hub {
    /// A message of a peer.
    fn message(&mut self, peer: PeerId, frame: &[u8], e: &Envelope, now: Instant, out: &mut dyn Out) {
        if let Some(Sight::Alone(server)) = self.peers.get(peer).map(|peer| peer.sight) {
            return self.message_alone((peer, server), (frame, e), now, out);
        }
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
                for server in self.view_of(peer).into_iter().flat_map(View::indices).collect::<Vec<_>>() {
                    let Some(server) = self.process_of(peer, server, now, out) else { continue };
                    let lane = &mut self.servers[server].lane;
                    if lane.is_ready() && !lane.busy {
                        lane.notified();
                        out.to_server(server, &[frame]);
                    }
                }
            }
            None => {}
        }
    }

    /// Messages that wait for a server are sent, or wait on. The time of each counts from when it came.
    fn release(&mut self, server: ServerIndex, out: &mut dyn Out) {
        for held in self.servers[server].lane.held.take_all() {
            self.on_peer(held.peer, &held.frame, held.since, out);
        }
    }

    /// Something about a server has changed: answers the requests that waited for that, and tells peers what is new.
    fn answer_waiting(&mut self, now: Instant, out: &mut dyn Out) {
        let Hub { servers, peers, views, unrouted, .. } = self;
        let awaited: SecondaryMap<ViewId, Awaited> =
            views.iter().map(|(key, view)| (key, view.awaited(servers))).collect();
        for (_, peer) in peers.iter_mut() {
            // A server alone is waited for in `alone`.
            let Sight::Merged(view) = peer.sight else { continue };
            let awaited = awaited.get(view).copied().unwrap_or_default();
            let is_known = |owed: &mut Owed| match owed.what {
                Want::Initialize(_) => !awaited.greeting,
                Want::List(kind) => !awaited.lists[kind as usize],
            };
            peer.due.extend(peer.owed.extract_if(.., is_known));
        }
        let is_settled = |peer| match peers.get(peer).map(|peer| peer.sight) {
            Some(Sight::Merged(view)) => awaited.get(view).is_none_or(|awaited| !awaited.anything),
            Some(Sight::Alone(_)) | None => true,
        };
        let settled = unrouted.take_all_of(is_settled);
        for peer in self.peers.keys() {
            self.answer_due(peer, out);
        }
        for held in settled {
            self.on_peer(held.peer, &held.frame, held.since, out);
        }
        self.announce_changes(now, out);
    }

    /// Answers requests that only wait for room, as far as there is some.
    fn answer_due(&mut self, peer: PeerId, out: &mut dyn Out) {
        while out.has_room(peer)
            && let Some((owed, sight)) =
                self.peers.get_mut(peer).and_then(|peer| Some((peer.due.pop_front()?, peer.sight)))
        {
            match (owed.what, sight) {
                (Want::Initialize(version), Sight::Alone(server)) => {
                    self.answer_or_excuse((peer, server), &owed.id, &version, out);
                }
                (Want::Initialize(version), Sight::Merged(_)) => {
                    self.answer_initialize((peer, &owed.id), &version, out);
                }
                (Want::List(kind), Sight::Merged(_)) => self.answer_list((peer, &owed.id), kind, out),
                (Want::List(_), Sight::Alone(_)) => {
                    self.peers.refuse(peer, &owed.id, UNAVAILABLE, SEES_OTHERS, out);
                }
            }
        }
    }

    /// A server is not there: those who see it among others are shown what is left.
    fn on_absent(&mut self, server: ServerIndex, now: Instant, out: &mut dyn Out) {
        self.servers[server].shelf.down();
        if !self.servers[server].keep_listed {
            self.touch(server);
        }
        self.settle(server, now, out);
    }

    /// Something about a server has changed that those may wait for who see it among others.
    fn settle(&mut self, server: ServerIndex, now: Instant, out: &mut dyn Out) {
        if self.is_merged(server) {
            self.answer_waiting(now, out);
        }
    }

    /// Tells peers which of the lists that they have read are no longer so.
    fn announce_changes(&mut self, now: Instant, out: &mut dyn Out) {
        for key in self.peers.keys() {
            let Some((peer, view, servers)) = self.at(key) else { continue };
            let is_new = || view.is_stale() || peer.compared != view.states || peer.changes.is_changed();
            if !peer.desk.is_conversing() || !is_new() {
                continue;
            }
            let capabilities = view.capabilities(servers);
            let published = view.published(servers);
            peer.changes.compare(Some(capabilities), |kind| Some(published.print(kind)), now, out);
            peer.compared = view.states;
            self.arm_peer(key);
        }
    }
}
