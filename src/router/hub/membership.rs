//! Servers and views that come, change and go while peers talk.

use super::*;
use crate::mcp::handshake::Welcome;

impl Default for Hub {
    fn default() -> Self {
        Hub::new()
    }
}

impl Hub {
    /// Adds a server that does not run yet, with what an earlier run remembered of it. No peer sees it before a view or a peer
    /// names it. Its index may be that of one which was removed.
    pub fn add_server(&mut self, spec: &ServerSpec, memory: Option<Memory>) -> ServerIndex {
        let server = self.free_place();
        let mut hosted = Hosted::new(server, spec, memory);
        if self.is_open {
            hosted.lane.open_to_any();
        }
        self.put(hosted);
        server
    }

    /// A place for one server more, which is to be put there next.
    pub(super) fn free_place(&mut self) -> ServerIndex {
        self.vacant.pop_first().unwrap_or(self.servers.len())
    }

    /// Puts a server into its place.
    pub(super) fn put(&mut self, hosted: Hosted) {
        match self.servers.get_mut(hosted.lane.index) {
            Some(vacant) => *vacant = hosted,
            None => self.servers.push(hosted),
        }
    }

    /// Peers of any kind may come from now on, and as many as like: servers have to suit them all from their next life on.
    pub fn open_to_any(&mut self) {
        self.is_open = true;
        let firsts = self.servers.iter_mut().filter(|server| !matches!(server.role, Role::Further(_)));
        firsts.for_each(|server| server.lane.open_to_any());
    }

    /// Removes a server whose process is gone. What was asked of it is answered with an error; peers that have it alone see
    /// nothing from now on, and the others see what is left. Nothing names its index afterwards.
    pub fn remove_server(&mut self, server: ServerIndex, now: Instant, out: &mut dyn Out) {
        if let Role::Further(first) | Role::Replica(first) = self.servers[server].role {
            return self.remove_process((server, first), now, out);
        }
        self.end_further(server, now, out);
        let Hosted { lane, farewell, .. } = &mut self.servers[server];
        lane.retire(farewell, &mut self.peers, out);
        self.deadlines.retain_calls(|of, _| of != server);
        self.search_for_strays(server, now, out);
        self.tasks.forget(server);
        let alone: Vec<PeerId> = self.peers.alone_with(server).map(|(key, _)| key).collect();
        for peer in alone {
            self.change_sight(peer, Sight::Merged(self.nothing), now, out);
        }
        self.views.values_mut().for_each(|view| view.remove(server));
        for (key, peer) in self.peers.iter_mut() {
            drop(peer.wishes.take_all_at(server));
            peer.forget_ways_to(server);
            self.servers[server].lane.remove_viewer(key);
        }
        self.deadlines.arm(Due::Server(server), None);
        self.servers[server] = Hosted::vacant(server);
        self.vacant.insert(server);
        self.answer_waiting(now, out);
    }

    /// From its next life on, a server is what `spec` says, and so are its further processes.
    pub fn change_server(&mut self, server: ServerIndex, spec: &ServerSpec, now: Instant, out: &mut dyn Out) {
        self.change_instances(server, spec.instances, now, out);
        for process in self.further_of(server) {
            self.servers[process].change(spec);
            self.set_health(process, spec, out);
        }
        self.servers[server].change(spec);
        self.set_health(server, spec, out);
        if self.servers[server].is_read_anyway() {
            // It may have waited for what its only peer says of itself.
            self.go_on(server, now, out);
            self.begin_reading(server, now, out);
        } else {
            self.end_publishing(server);
        }
        self.touch(server);
        self.look_for_stand_ins(server, now, out);
        self.arm(server);
    }

    /// Whether a server serves in this life as one of the legacy era.
    pub fn is_legacy(&self, server: ServerIndex) -> bool {
        let lane = &self.servers[server].lane;
        lane.is_ready() && !lane.is_modern()
    }

    /// Adds a view of some of the servers.
    pub fn add_view(&mut self, show: Show, now: Instant, out: &mut dyn Out) -> ViewId {
        let view = View::new(show);
        let servers: Vec<ServerIndex> = view.indices().collect();
        let view = self.views.insert(view);
        for server in servers {
            self.begin_publishing(server, view, now, out);
        }
        view
    }

    /// Changes what is seen in a view. Its peers are told how what they have read has changed.
    pub fn change_view(&mut self, view: ViewId, show: Show, now: Instant, out: &mut dyn Out) {
        let Some(old) = self.views.get_mut(view) else { return };
        let before: Vec<ServerIndex> = old.indices().collect();
        old.change(show);
        // What is cut, or called otherwise now, is not given as it was.
        before.iter().for_each(|server| self.forget_answers(*server));
        for server in self.seen_in(Sight::Merged(view)) {
            self.begin_publishing(server, view, now, out);
        }
        before.into_iter().for_each(|server| self.end_publishing(server));
        let sight = Sight::Merged(view);
        let peers: Vec<PeerId> = self.peers.iter().filter(|(_, it)| it.sight == sight).map(|(key, _)| key).collect();
        for peer in peers {
            self.change_sight(peer, sight, now, out);
        }
        self.answer_waiting(now, out);
    }

    /// Keeps a view although no peer has it, as others will, or keeps it no more.
    pub fn keep_view(&mut self, view: ViewId, kept: bool) {
        if let Some(view) = self.views.get_mut(view) {
            view.kept = kept;
        }
    }

    /// Takes away a view that no peer has any more. Returns false if one has, or it is kept.
    pub fn remove_view(&mut self, view: ViewId) -> bool {
        let sight = Sight::Merged(view);
        let is_free =
            sight != self.whole && view != self.nothing && self.peers.iter().all(|(_, peer)| peer.sight != sight);
        let Some(removed) =
            self.views.get(view).filter(|view| is_free && !view.kept).map(|view| view.indices().collect::<Vec<_>>())
        else {
            return false;
        };
        self.views.remove(view);
        removed.into_iter().for_each(|server| self.end_publishing(server));
        true
    }

    /// A peer sees something else from now on, and is told how what it has read has changed. What it has asked before is
    /// still answered.
    pub fn change_sight(&mut self, peer: PeerId, sight: Sight, now: Instant, out: &mut dyn Out) {
        if self.peers.get(peer).is_none() || !self.is_there(sight) {
            return;
        }
        let mut seen = self.seen_in(sight);
        seen.extend(self.own_among(peer, &seen));
        let Hub { peers, servers, .. } = self;
        if let Some(peer) = peers.get_mut(peer) {
            peer.sight = sight;
            if let Sight::Alone(_) = sight {
                peer.due.extend(peer.owed.extract_if(.., |owed| matches!(owed.what, Want::List(_))));
            }
        }
        // What is not seen any more is not followed either.
        for server in servers.iter_mut() {
            let lane = &mut server.lane;
            if seen.contains(&lane.index) {
                lane.add_viewer(peer);
            } else if lane.remove_viewer(peer) {
                peers.take_back(peer, lane, out);
            }
        }
        for server in 0..self.servers.len() {
            self.go_on(server, now, out);
            self.pass_level(server, out);
            self.check_processes(server, now, out);
        }
        self.answer_waiting(now, out);
        self.answer_due(peer, out);
        self.arm_peer(peer);
    }

    /// What a peer sees.
    pub fn sight(&self, peer: PeerId) -> Option<Sight> {
        self.peers.get(peer).map(|peer| peer.sight)
    }

    /// A peer's connection is about to be closed for good: no request is taken any more, and what waits is answered. What is under
    /// way goes on.
    pub fn drain_peer(&mut self, peer: PeerId, out: &mut dyn Out) {
        let Hub { servers, unrouted, .. } = self;
        let held = servers.iter_mut().map(|server| &mut server.lane.held).chain([unrouted]);
        let held: Vec<_> = held.flat_map(|held| held.take_all_of(|of| of == peer)).collect();
        held.into_iter().for_each(|held| self.refuse_for_good(held, out));
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.leaving = true;
            peer.drain(SHUTTING_DOWN, out);
        }
    }

    /// Requests of a peer that have no answer yet.
    pub fn owed_to(&self, peer: PeerId) -> usize {
        let at = |lane: &Lane| lane.calls_of(peer).count() + lane.held.len_of(peer);
        let at_servers: usize = self.servers.iter().map(|server| at(&server.lane)).sum();
        at_servers + self.unrouted.len_of(peer) + self.peers.get(peer).map_or(0, Peer::waiting)
    }

    /// A server is in a view, perhaps for the first time.
    fn begin_publishing(&mut self, server: ServerIndex, view: ViewId, now: Instant, out: &mut dyn Out) {
        self.begin_reading(server, now, out);
        // What is not read yet is judged when it is.
        let Hub { views, servers, .. } = self;
        if let (Some(view), false) = (views.get_mut(view), servers[server].shelf.lacks(ListKind::Tools)) {
            view.judge(&servers[server], false, out);
        }
        self.touch(server);
        self.judge_gates(server, out);
    }

    /// What a server has is to be known from now on: what it said of itself is mended, and its lists are read.
    fn begin_reading(&mut self, server: ServerIndex, now: Instant, out: &mut dyn Out) {
        let Hosted { shelf, solo, lane, shown, read_since, silent, .. } = &mut self.servers[server];
        let is_first = !std::mem::replace(shown, true);
        if is_first && lane.is_ready() {
            // It has kept nobody waiting, as it was asked for nothing.
            (*read_since, *silent) = (Some(now), false);
        }
        if shelf.welcome.is_none()
            && lane.is_initialized()
            && let Some(welcome) = &solo.welcome
        {
            let (mended, _) = Welcome::mended(welcome.result());
            shelf.welcomed(mended);
        }
        if self.servers[server].lane.is_ready() {
            for kind in ListKind::ALL {
                let lacks = self.servers[server].shelf.lacks(kind);
                if lacks || is_first {
                    self.read_list(server, kind, now, out);
                }
                if is_first && !lacks {
                    // An earlier run remembered it: what the server says now counts before that.
                    self.servers[server].shelf.await_reading(kind, now);
                }
            }
        }
        // Where the server was started before: it is waited for from now on.
        self.arm(server);
    }

    /// A server that no view shows any more is not kept up to date.
    fn end_publishing(&mut self, server: ServerIndex) {
        let is_shown = self.servers[server].is_read_anyway() || self.views.values().any(|view| view.has(server));
        let Hosted { shelf, solo, shown, .. } = &mut self.servers[server];
        if *shown && !is_shown {
            *shown = false;
            let welcome = std::mem::replace(shelf, Shelf::new(None)).welcome;
            if solo.welcome.is_none() {
                solo.welcome = welcome;
            }
            self.arm(server);
        }
    }
}
