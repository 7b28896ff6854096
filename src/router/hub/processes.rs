//! Which process of a server does the work of which peer, where each has one of its own (`instances` decides who gets which).
//!
//! # Theory of operation
//!
//! A further process is a server like any other: it has a lane, lives and dies by itself, and its only viewer is its peer. So what
//! holds for a server of one peer holds here. No view shows it, and its lists are not read: the first process, which all peers see,
//! answers for handshakes and lists.
//!
//! Where a request is passed on, the first process's place is exchanged for that of the process that does the peer's work. What a
//! process says is looked up in its own lane, as ever. Of a process that has worked for a peer nothing is heard any more once its
//! place is another peer's, so nothing of one peer can reach another.

use super::instances::{Pool, Room};
use super::replicas::Replicas;
use super::*;
use crate::config::Instances;
use crate::router::Arrangement;
use crate::router::lane::{Call, Whose};

/// Why the first process is replaced once its peer is gone, or has to make room.
const FOR_ANOTHER: &str = "what it keeps of one client must not reach another";
/// Why a process is replaced where the config says something else of it.
const SHARED_OTHERWISE: &str = "the config says otherwise now whether its clients share it";
/// What has become of a process that is not needed any more.
const ENDED: &str = "has ended, as its client no longer uses it";

/// How a server stands to the other processes of its entry.
#[derive(Debug)]
pub(super) enum Role {
    /// It is the only one, for all peers.
    Shared,
    /// It is the first of several, each of which is for one peer.
    First(Box<Pool>),
    /// It is a further one, beside this first.
    Further(ServerIndex),
    /// It is the first of several that are alike, and each of which is for all peers.
    Several(Box<Replicas>),
    /// It is another one of these, beside this first.
    Replica(ServerIndex),
}

impl Hosted {
    /// The same server, as the config says whether its peers share it. Nobody has used anything of it.
    pub(super) fn with(mut self, instances: Instances) -> Self {
        self.set_instances(instances);
        self
    }

    fn set_instances(&mut self, instances: Instances) {
        let index = self.lane.index;
        (self.role, self.lane.whose) = match instances {
            Instances::Shared => (Role::Shared, Whose::All),
            Instances::PerPeer(bounds) => (Role::First(Box::new(Pool::new(index, bounds))), Whose::Free),
            Instances::Replicas(spec) => (Role::Several(Box::new(Replicas::new(spec))), Whose::All),
        };
        if let Role::Several(_) = self.role {
            // What one peer makes of it must not hold for the work of others.
            self.lane.open_to_many();
        }
    }

    /// A further process of this server, for a peer.
    fn further(&self, index: ServerIndex, peer: PeerId) -> Self {
        Hosted { lane: self.lane.further(index, peer), role: Role::Further(self.lane.index), ..self.beside(index) }
    }

    /// What a process beside this first one has in any case.
    pub(super) fn beside(&self, index: ServerIndex) -> Self {
        Hosted {
            keep_listed: true,
            start_timeout: self.start_timeout,
            farewell: self.farewell,
            silent: false,
            ..Hosted::vacant(index)
        }
    }
}

/// Asking for a process.
impl Hub {
    /// The first process of the server of which this is a process.
    pub(super) fn first_of(&self, server: ServerIndex) -> ServerIndex {
        match self.servers[server].role {
            Role::Shared | Role::First(_) | Role::Several(_) => server,
            Role::Further(first) | Role::Replica(first) => first,
        }
    }

    /// The processes of a server, by the place of any of them; `None` where all peers share one.
    fn pool(&self, server: ServerIndex) -> Option<&Pool> {
        match &self.servers[self.first_of(server)].role {
            Role::First(pool) => Some(pool),
            Role::Shared | Role::Further(_) | Role::Several(_) | Role::Replica(_) => None,
        }
    }

    fn pool_mut(&mut self, server: ServerIndex) -> Option<&mut Pool> {
        let first = self.first_of(server);
        match &mut self.servers[first].role {
            Role::First(pool) => Some(pool),
            Role::Shared | Role::Further(_) | Role::Several(_) | Role::Replica(_) => None,
        }
    }

    /// The process of a server that a peer has for itself, if each has one.
    pub(super) fn own(&self, peer: PeerId, server: ServerIndex) -> Option<ServerIndex> {
        match &self.servers[server].role {
            Role::First(pool) => pool.of(peer),
            Role::Shared | Role::Further(_) | Role::Several(_) | Role::Replica(_) => None,
        }
    }

    /// The further processes of a server: those that peers have, and those that are like it.
    pub(super) fn further_of(&self, server: ServerIndex) -> Vec<ServerIndex> {
        let owned = self.pool(server).into_iter().flat_map(Pool::further);
        owned.chain(self.replicas_of(server).iter().copied()).collect()
    }

    /// The further processes of these servers that may work for a peer.
    pub(super) fn own_among(&self, peer: PeerId, servers: &[ServerIndex]) -> Vec<ServerIndex> {
        let own = |server: &ServerIndex| {
            let own = self.own(peer, *server).filter(|own| own != server);
            own.into_iter().chain(self.replicas_of(*server).iter().copied())
        };
        servers.iter().flat_map(own).collect()
    }

    /// The process of a server that a peer may tell something which is no work; `None` if the peer has none. A first process that
    /// nobody has used is that of its only viewer.
    #[inline]
    pub(super) fn process_of(
        &mut self,
        peer: PeerId,
        server: ServerIndex,
        now: Instant,
        out: &mut dyn Out,
    ) -> Option<ServerIndex> {
        let Hosted { role: Role::First(pool), lane, .. } = &self.servers[server] else { return Some(server) };
        if let Some(own) = pool.of(peer) {
            return Some(own);
        }
        if !pool.is_first_free() || lane.has_many() || lane.only_viewer() != Some(peer) {
            return None;
        }
        self.give(server, peer, now, out);
        Some(server)
    }

    /// The process of a server that gets a peer's request: the first for lists, and for work the peer's own, which it gets now if it
    /// has none. `None` if it can't have one; the request is refused then.
    #[inline]
    pub(super) fn process_for(
        &mut self,
        server: ServerIndex,
        request: &Request<'_>,
        out: &mut dyn Out,
    ) -> Option<ServerIndex> {
        match &self.servers[server].role {
            // What is asked of one of several by its place is about that one.
            Role::Shared | Role::Replica(_) => Some(server),
            Role::Several(_) => Some(self.replica_for(server, request)),
            Role::First(_) | Role::Further(_) => self.process_among(self.first_of(server), request, out),
        }
    }

    fn process_among(&mut self, first: ServerIndex, request: &Request<'_>, out: &mut dyn Out) -> Option<ServerIndex> {
        let Request { peer, method, now, .. } = *request;
        if ListKind::ALL.into_iter().any(|kind| kind.method().as_bytes() == method) {
            return Some(first);
        }
        if method == b"logging/setLevel" {
            // Clients say it at once, and it is no work: a process that comes later is told.
            return Some(self.process_of(peer, first, now, out).unwrap_or(first));
        }
        if let Some(own) = self.own(peer, first) {
            self.note_use(own, peer, now);
            return Some(own);
        }
        // The first process's lane says why there is no use in another one.
        let Hosted { role: Role::First(pool), lane, .. } = &self.servers[first] else { return Some(first) };
        if lane.bars(method) || lane.is_hopeless(now) {
            return Some(first);
        }
        match pool.room(|server| self.is_idle(server)) {
            Room::Free(server) => {
                self.give(server, peer, now, out);
                Some(server)
            }
            Room::More => {
                let server = self.free_place();
                self.start_further((server, first), peer, now, out);
                Some(server)
            }
            Room::Instead(server) => {
                self.give_instead((server, first), peer, now, out);
                Some(server)
            }
            Room::Full(most) => {
                let name = &self.servers[first].lane.name;
                let why = format!(
                    "server \"{name}\" has a process for each client, and {most} clients use theirs: there are no more \
                     (maxInstances); try again later"
                );
                let Hub { peers, servers, .. } = self;
                servers[first].lane.decline(&Call::new(request), Outcome::Refused, why, peers, out);
                None
            }
        }
    }

    /// Sets the deadline of a further process anew, as something may be due sooner now. The first one's is set with each message.
    #[inline]
    pub(super) fn arm_further(&mut self, server: ServerIndex) {
        if let Role::Further(_) | Role::Replica(_) = self.servers[server].role {
            self.arm(server);
        }
    }

    /// Whether nothing is under way at a process, and its peer follows nothing there.
    fn is_idle(&self, server: ServerIndex) -> bool {
        let owner = self.pool(server).and_then(|pool| pool.owner(server)).and_then(|owner| self.peers.get(owner));
        let is_wanted = |peer: &Peer| peer.wishes.at(server).next().is_some() || peer.desk.is_asked_by(server);
        self.servers[server].lane.is_unused() && !owner.is_some_and(is_wanted)
    }
}

/// Giving processes to peers.
impl Hub {
    /// A process that nobody has used is a peer's from now on.
    fn give(&mut self, server: ServerIndex, peer: PeerId, now: Instant, out: &mut dyn Out) {
        if let Some(pool) = self.pool_mut(server) {
            pool.give(server, peer, now);
        }
        let lane = &mut self.servers[server].lane;
        lane.whose = Whose::One(peer);
        // At its start the server could ask nobody for roots, as it was nobody's.
        let has_roots = self.peers.get(peer).is_some_and(|peer| peer.desk.hello.can_answer("roots/list"));
        if has_roots && lane.has_many() && lane.is_ready() && !lane.busy {
            out.to_server(server, &[br#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#]);
        }
        self.pass_level(server, out);
        self.arm(self.first_of(server));
    }

    /// Has a process started for a peer, in a place that is vacant, or that becomes so.
    fn start_further(
        &mut self,
        (server, first): (ServerIndex, ServerIndex),
        peer: PeerId,
        now: Instant,
        out: &mut dyn Out,
    ) {
        self.put(self.servers[first].further(server, peer));
        if let Some(pool) = self.pool_mut(first) {
            pool.give(server, peer, now);
        }
        out.arrange(server, Arrangement::Start { first, peer: Some(peer) });
        self.arm(server);
        self.arm(first);
    }

    /// A peer gets the place of a process that has worked for another one.
    fn give_instead(
        &mut self,
        (server, first): (ServerIndex, ServerIndex),
        peer: PeerId,
        now: Instant,
        out: &mut dyn Out,
    ) {
        if server == first {
            self.replace(first, FOR_ANOTHER, now, out);
            return self.give(first, peer, now, out);
        }
        if self.pool(first).is_some_and(|pool| pool.owner(server).is_some()) {
            self.end_process(server, now, out);
        }
        self.start_further((server, first), peer, now, out);
    }

    /// Has another process started in the place of the first one, which a peer has used.
    fn replace(&mut self, first: ServerIndex, why: &'static str, now: Instant, out: &mut dyn Out) {
        let Hub { servers, peers, .. } = self;
        let Hosted { lane, solo, .. } = &mut servers[first];
        // One that has got nothing but a handshake may stay.
        if lane.is_initialized() {
            solo.reread.server_down(first, peers);
            lane.replaced(why, peers, now, out);
            self.forget_life(first, now, out);
        }
    }

    /// A process has ended, or is heard no more.
    pub(super) fn forget_life(&mut self, server: ServerIndex, now: Instant, out: &mut dyn Out) {
        self.deadlines.retain_calls(|of, _| of != server);
        self.tasks.forget(server);
        self.search_for_strays(server, now, out);
        self.arm_viewers(server);
    }
}

/// What follows from what peers do.
impl Hub {
    /// A peer uses a process, which keeps it.
    #[inline]
    pub(super) fn note_use(&mut self, server: ServerIndex, peer: PeerId, now: Instant) {
        if !matches!(self.servers[server].role, Role::First(_) | Role::Further(_)) {
            return;
        }
        if let Some(pool) = self.pool_mut(server) {
            pool.used(server, peer, now);
        }
        self.arm(self.first_of(server));
    }

    /// A process has answered a peer.
    #[inline]
    pub(super) fn note_answer(&mut self, server: ServerIndex, peer: PeerId, now: Instant, out: &mut dyn Out) {
        if !matches!(self.servers[server].role, Role::First(_) | Role::Further(_)) {
            return;
        }
        self.note_use(server, peer, now);
        self.check_processes(self.first_of(server), now, out);
    }

    /// A server has asked a peer something: what the answer leaves in a process that was nobody's makes it that peer's, and nobody's for
    /// good where the peer has another one already.
    pub(super) fn note_question(&mut self, server: ServerIndex, asked: PeerId, now: Instant, out: &mut dyn Out) {
        let Role::First(pool) = &self.servers[server].role else { return };
        if !pool.is_first_free() || !self.peers.get(asked).is_some_and(|peer| peer.desk.is_asked_by(server)) {
            return;
        }
        match pool.of(asked) {
            None => self.give(server, asked, now, out),
            Some(_) => self.give_up(server, now, out),
        }
    }

    /// A peer's connection is gone, with what was under way on it and what the peer followed. It may be back soon.
    pub(super) fn note_link_down(&mut self, peer: PeerId, now: Instant) {
        for server in 0..self.servers.len() {
            if let Some(own) = self.own(peer, server) {
                self.note_use(own, peer, now);
            }
        }
    }

    /// A peer is gone, with its processes.
    pub(super) fn leave_processes(&mut self, peer: PeerId, now: Instant, out: &mut dyn Out) {
        for first in 0..self.servers.len() {
            if let Some(own) = self.own(peer, first) {
                self.give_up(own, now, out);
                self.check_processes(first, now, out);
            }
        }
    }

    /// A peer has a process no more.
    fn give_up(&mut self, server: ServerIndex, now: Instant, out: &mut dyn Out) {
        if self.first_of(server) != server {
            return self.end_process(server, now, out);
        }
        if let Some(pool) = self.pool_mut(server) {
            pool.leave(server, now);
        }
        self.servers[server].lane.whose = Whose::Nobody;
        self.arm(server);
    }

    /// Has a further process end for good.
    fn end_process(&mut self, server: ServerIndex, now: Instant, out: &mut dyn Out) {
        let first = self.first_of(server);
        let owner = self.pool(first).and_then(|pool| pool.owner(server));
        if let Some(pool) = self.pool_mut(first) {
            pool.leave(server, now);
        }
        out.arrange(server, Arrangement::End);
        let Hub { peers, servers, .. } = self;
        let lane = &mut servers[server].lane;
        lane.ended(ENDED, peers, now, out);
        if let Some(owner) = owner {
            lane.remove_viewer(owner);
            if let Some(peer) = peers.get_mut(owner) {
                drop(peer.wishes.take_all_at(server));
            }
        }
        self.forget_life(server, now, out);
        self.arm(first);
    }

    /// Has all further processes of a server end, which is about to go itself or is to be shared by all. From now on it has none.
    pub(crate) fn end_further(&mut self, server: ServerIndex, now: Instant, out: &mut dyn Out) {
        let further = self.further_of(server);
        self.servers[server].set_instances(Instances::Shared);
        for process in further {
            match self.servers[process].role {
                Role::Replica(_) => self.end_replica(process, now, out),
                Role::Shared | Role::First(_) | Role::Further(_) | Role::Several(_) => {
                    self.end_process(process, now, out);
                }
            }
        }
        self.arm(server);
    }

    /// A further process is gone, and nothing names its place any more.
    pub(super) fn remove_process(
        &mut self,
        (server, first): (ServerIndex, ServerIndex),
        now: Instant,
        out: &mut dyn Out,
    ) {
        match &mut self.servers[first].role {
            Role::First(pool) => pool.remove(server),
            Role::Several(replicas) => replicas.remove(server),
            Role::Shared | Role::Further(_) | Role::Replica(_) => {}
        }
        // What is asked of it by now is nothing, as it was to end; nor is it anybody's.
        self.servers[server].lane.ended(ENDED, &mut self.peers, now, out);
        self.forget_life(server, now, out);
        for (_, peer) in self.peers.iter_mut() {
            drop(peer.wishes.take_all_at(server));
        }
        self.deadlines.arm(Due::Server(server), None);
        self.servers[server] = Hosted::vacant(server);
        self.vacant.insert(server);
        self.arm(first);
    }

    /// Ends further processes that nobody has used for long or whose peer sees the server no longer, and replaces a first one
    /// whose peer is gone.
    pub(super) fn check_processes(&mut self, first: ServerIndex, now: Instant, out: &mut dyn Out) {
        let Hosted { role: Role::First(pool), lane, .. } = &self.servers[first] else { return };
        let is_unseen = |(_, owner): &(ServerIndex, PeerId)| !lane.is_seen_by(*owner);
        let unseen: Vec<ServerIndex> = pool.owned().filter(is_unseen).map(|(server, _)| server).collect();
        let due = pool.due(now);
        for server in unseen {
            if self.is_idle(server) {
                self.give_up(server, now, out);
            }
        }
        for server in due {
            let Some(owner) = self.pool(first).and_then(|pool| pool.owner(server)) else { continue };
            if self.is_idle(server) {
                self.end_process(server, now, out);
            } else {
                self.note_use(server, owner, now);
            }
        }
        let Hosted { role: Role::First(pool), lane, .. } = &mut self.servers[first] else { return };
        if pool.is_first_stale(!lane.is_unused(), now) {
            pool.renew_first();
            lane.whose = Whose::Free;
            self.replace(first, FOR_ANOTHER, now, out);
        }
        self.arm(first);
    }

    /// The config may say otherwise now whether a server's peers share it.
    pub(super) fn change_instances(
        &mut self,
        server: ServerIndex,
        instances: Instances,
        now: Instant,
        out: &mut dyn Out,
    ) {
        match (&mut self.servers[server].role, instances) {
            (Role::First(pool), Instances::PerPeer(bounds)) => pool.set_bounds(bounds),
            (Role::First(_), Instances::Shared) => {
                self.end_further(server, now, out);
                self.replace(server, SHARED_OTHERWISE, now, out);
            }
            (Role::Shared, Instances::PerPeer(_)) => {
                self.servers[server].set_instances(instances);
                // What peers have followed together is nobody's now.
                for (_, peer) in self.peers.iter_mut() {
                    drop(peer.wishes.take_all_at(server));
                }
                self.replace(server, SHARED_OTHERWISE, now, out);
            }
            (Role::Several(_), Instances::Replicas(spec)) => self.change_replicas(server, spec, now, out),
            (Role::Several(_), Instances::Shared) => self.end_further(server, now, out),
            (Role::Shared, Instances::Replicas(_)) => {
                self.servers[server].set_instances(instances);
                if self.servers[server].lane.started.is_some() {
                    self.fill_up(server, out);
                }
            }
            // From one extreme to the other: by way of what is between.
            (Role::Several(_), Instances::PerPeer(_)) | (Role::First(_), Instances::Replicas(_)) => {
                self.change_instances(server, Instances::Shared, now, out);
                self.change_instances(server, instances, now, out);
            }
            (Role::Shared, Instances::Shared) | (Role::Further(_) | Role::Replica(_), _) => {}
        }
        self.arm(server);
    }
}
