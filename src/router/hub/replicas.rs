//! A server that runs as several processes at once, of which any may do the work of any peer.
//!
//! # Theory of operation
//!
//! The *first* process is what the rest of the router knows: views show it, and it answers for handshakes and lists. The others, its
//! *replicas*, are servers as well, with a lane each, and live and die by themselves. Each request that is work goes to the one that has the
//! least under way, among those that take any; with `sticky` a peer stays with the one that did its work first, for as long as that lives.
//!
//! What a peer follows is told to one of them, the first where that is there; how much the server is to log, to all.

use std::collections::BTreeMap;

use super::*;
use crate::config::Replicas as Spec;
use crate::router::Arrangement;
use crate::router::bar::is_work;

/// What has become of a process that is one too many.
const ENDED: &str = "has ended, as the config wants fewer of it";

/// The processes of a server that are alike.
#[derive(Debug)]
pub(super) struct Replicas {
    number: usize,
    /// Which of them does the work of each peer, where a peer stays with one.
    seats: Option<BTreeMap<PeerId, ServerIndex>>,
    /// The places of those besides the first.
    others: Vec<ServerIndex>,
}

impl Replicas {
    pub(super) fn new(spec: Spec) -> Self {
        Replicas { number: spec.number, seats: spec.sticky.then(BTreeMap::new), others: Vec::new() }
    }

    /// A process is gone for good.
    pub(super) fn remove(&mut self, server: ServerIndex) {
        self.others.retain(|other| *other != server);
    }

    pub(super) fn leave(&mut self, peer: PeerId) {
        if let Some(seats) = &mut self.seats {
            seats.remove(&peer);
        }
    }
}

impl Hosted {
    /// One more process of this server.
    fn replica(&self, index: ServerIndex) -> Self {
        Hosted { role: Role::Replica(self.lane.index), lane: self.lane.replica(index), ..self.beside(index) }
    }

    /// The processes besides this first one, which are like it.
    pub(super) fn replicas(&self) -> &[ServerIndex] {
        match &self.role {
            Role::Several(replicas) => &replicas.others,
            Role::Shared | Role::First(_) | Role::Further(_) | Role::Replica(_) => &[],
        }
    }
}

impl Hub {
    /// The processes of a server besides the first, which are like that.
    pub(super) fn replicas_of(&self, server: ServerIndex) -> &[ServerIndex] {
        self.servers[server].replicas()
    }

    /// A server and the processes that are like it.
    pub(super) fn alike(&self, server: ServerIndex) -> impl Iterator<Item = ServerIndex> + use<> {
        let others = self.replicas_of(server).to_vec();
        std::iter::once(server).chain(others)
    }

    /// Has as many processes run as the config wants, now that the first does.
    pub(super) fn fill_up(&mut self, first: ServerIndex, out: &mut dyn Out) {
        let Role::Several(replicas) = &self.servers[first].role else { return };
        for _ in replicas.others.len() + 1..replicas.number {
            let server = self.free_place();
            self.put(self.servers[first].replica(server));
            if let Role::Several(replicas) = &mut self.servers[first].role {
                replicas.others.push(server);
            }
            out.arrange(server, Arrangement::Start { first, peer: None });
            self.arm(server);
        }
    }

    /// Another number counts, or another rule. Those that are too many end, with what is under way there; peers stay with the others.
    pub(super) fn change_replicas(&mut self, first: ServerIndex, spec: Spec, now: Instant, out: &mut dyn Out) {
        let Role::Several(replicas) = &mut self.servers[first].role else { return };
        let old = std::mem::replace(replicas.as_mut(), Replicas::new(spec));
        let (kept, ended) = old.others.split_at(old.others.len().min(spec.number - 1));
        replicas.others = kept.to_vec();
        if let (Some(seats), Some(old)) = (&mut replicas.seats, old.seats) {
            *seats = old.into_iter().filter(|(_, seat)| !ended.contains(seat)).collect();
        }
        ended.iter().for_each(|server| self.end_replica(*server, now, out));
        if self.servers[first].lane.started.is_some() {
            self.fill_up(first, out);
        }
    }

    /// Has a process end for good that is like another one.
    pub(super) fn end_replica(&mut self, server: ServerIndex, now: Instant, out: &mut dyn Out) {
        out.arrange(server, Arrangement::End);
        let Hub { servers, peers, .. } = self;
        servers[server].lane.ended(ENDED, peers, now, out);
        self.forget_life(server, now, out);
    }

    /// The process that gets a request for a server which runs as several.
    pub(super) fn replica_for(&mut self, first: ServerIndex, request: &Request<'_>) -> ServerIndex {
        let Request { peer, frame, envelope: e, method, .. } = *request;
        if !is_work(method) {
            let task = method.starts_with(b"tasks/").then(|| task::of(frame, e.params.as_ref())).flatten();
            let owns = |server: &ServerIndex| {
                let owner = task.clone().and_then(|id| self.servers[*server].lane.lasting.owner(&frame[id]));
                owner == Some(peer)
            };
            let is_ready = |server: &ServerIndex| self.servers[*server].lane.is_ready();
            let uri = request.uri().unwrap_or_default();
            let follows = |server: &ServerIndex| {
                self.peers.get(peer).is_some_and(|peer| peer.wishes.at(*server).any(|own| own == uri))
            };
            let mut all = self.alike(first);
            let found = match method {
                b"resources/unsubscribe" => all.find(follows),
                b"resources/subscribe" => all.find(is_ready),
                _ if method.ends_with(b"/list") => all.find(is_ready),
                _ => all.find(owns),
            };
            return found.unwrap_or(first);
        }
        let takes = |server: &ServerIndex| self.servers[*server].lane.takes_calls();
        let Role::Several(replicas) = &self.servers[first].role else { return first };
        let seat = replicas.seats.as_ref().and_then(|seats| seats.get(&peer)).copied();
        if let Some(seat) = seat.filter(|seat| !self.servers[*seat].lane.is_out()) {
            return seat;
        }
        let sitting = |server: ServerIndex| {
            replicas.seats.iter().flat_map(BTreeMap::values).filter(|seat| **seat == server).count()
        };
        // What waits for one that starts may as well wait there as anywhere.
        let starts = |server: &ServerIndex| !self.servers[*server].lane.is_out();
        let load = |server: &ServerIndex| {
            let (now, ever) = self.servers[*server].lane.load();
            (now, sitting(*server), ever)
        };
        let least = self.alike(first).filter(takes).min_by_key(load);
        let chosen = least.or_else(|| self.alike(first).find(starts)).unwrap_or(first);
        if least.is_some()
            && let Role::Several(replicas) = &mut self.servers[first].role
            && let Some(seats) = &mut replicas.seats
        {
            seats.insert(peer, chosen);
        }
        chosen
    }

    /// Messages that wait for a process are sent, as are those that wait for another one which is like it.
    pub(super) fn release_all(&mut self, server: ServerIndex, out: &mut dyn Out) {
        let like = match self.servers[server].role {
            Role::Several(_) => server,
            Role::Replica(first) => first,
            Role::Shared | Role::First(_) | Role::Further(_) => return self.release(server, out),
        };
        for server in self.alike(like) {
            self.release(server, out);
        }
    }
}
