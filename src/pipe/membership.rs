//! Servers and links that come, change and go while the pipe runs.
//!
//! Whoever asks names servers by their names and links by the keys that they were given: places are the pipe's own, and are
//! used again once nothing names them.

use std::iter::repeat_with;

use tokio::sync::oneshot;

use super::*;
use crate::catalogue::Memory;
use crate::config::{Room, Sharing};
use crate::control::figures::Waiting;
use crate::guest::{Arrival, Guest};
use crate::mcp::era::Era;
use crate::router::PeerKind;
use crate::router::hub::Show;
use crate::router::turns::NewSeat;
use crate::sharing::Witness;
use crate::tools::ToolPolicy;

/// A server that a pipe is to run.
pub(crate) struct NewServer {
    pub spec: Arc<ServerSpec>,
    pub status: ServerEntry,
    /// What a person wants of the server.
    pub goal: watch::Receiver<Goal>,
    /// What an earlier run remembered of the server.
    pub memory: Option<Memory>,
}

/// An endpoint that a pipe is to serve.
pub(crate) struct NewLink {
    pub endpoint: Endpoint,
    /// The endpoint's name, if it has one.
    pub name: Option<Arc<str>>,
    pub status: LinkEntry,
    /// How the endpoint is dialled.
    pub link: Arc<LinkSpec>,
    /// What the endpoint will say of itself, if that is known.
    pub hello: Option<Arc<Hello>>,
    pub shown: Shown,
    /// Whom the pipe tells what becomes of the connection.
    pub witness: Option<Witness>,
}

/// A peer that came to us.
pub(crate) struct NewGuest {
    /// What the log calls it.
    pub name: Arc<str>,
    /// What it is shown. Guests with the same one have one view.
    pub shown: Arc<Shown>,
    /// One of the modern era says for itself what it can't be asked, and after how long.
    pub era: Era,
}

/// What a peer is shown.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    /// The servers' names, each with what of its tools is shown.
    pub servers: Vec<(Arc<str>, Arc<ToolPolicy>)>,
    /// Whose servers are shown besides these: all that have come by then.
    pub room: Option<Room>,
    pub sharing: Sharing,
    pub manner: Manner,
}

/// How an endpoint is shown its servers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Manner {
    /// All as one, or one as it is.
    AsOne,
    /// All as one, also while there is only one: others may come, and the peer is to learn of that.
    Together,
    /// One after the other, each as it is.
    InTurns {
        /// The place of the one whose turn does not end, among them.
        pinned: Option<usize>,
    },
}

/// What of a server an endpoint sees: the servers, and as what; `None`: as the router has them.
pub(crate) enum Seen {
    AsOne(Option<Sight>),
    InTurns(Vec<NewSeat>, Duration),
}

impl Pipe {
    /// Adds a server.
    pub(super) fn add_server(&mut self, new: NewServer, now: Instant) {
        let NewServer { spec, status, goal, memory } = new;
        // The router may have given places to processes that are not there yet.
        self.arrange(now);
        let Some(router) = self.router.turns() else { return };
        let index = router.hub.add_server(&spec, memory);
        self.put_server(index, Side::new(spec, status, goal, now));
        self.heed(index, now);
    }

    /// A server that is started or asked comes to a place that nobody has.
    pub(super) fn put_server(&mut self, index: ServerIndex, side: Side) {
        let Run { guard, redactor, .. } = self.run.clone();
        let known = self.run.catalogue.era(&side.spec);
        let server = Server::new(side.spec.clone(), guard, redactor, known);
        self.place_server(index, side, server);
    }

    /// A server comes to a place that nobody has.
    pub(super) fn place_server(&mut self, index: ServerIndex, side: Side, mut server: Server) {
        debug_assert!(index <= self.servers.len(), "the router has given away a place before");
        if !matches!(self.phase, PipePhase::Serving) {
            server.start_no_more();
        }
        match self.servers.get_mut(index) {
            Some(vacant) => *vacant = server,
            None => {
                self.servers.push(server);
                self.wakers.servers.add();
            }
        }
        self.sides.put(index, side);
        self.woken.servers.insert(index);
    }

    /// From its next process on, a server is what `spec` says, and so is each further one.
    pub(super) fn change_server(&mut self, spec: Arc<ServerSpec>, now: Instant) {
        self.arrange(now);
        let Some(index) = self.find(&spec.name) else { return };
        // Where its log file, its health check or its bounds are others, none of its processes is.
        let process = |spec: &ServerSpec| {
            let told = (spec.start_timeout, spec.keep_listed, spec.instances);
            (spec.reach.clone(), spec.max_frame, spec.handshake, spec.era, told)
        };
        if process(&self.sides.each[index].spec) != process(&spec) {
            self.end_twin(index, now);
        }
        self.sides.bound(spec.max_frame);
        // First: the router may have processes started that are like this one.
        for index in [index].into_iter().chain(self.further_of(index)) {
            self.servers[index].change(spec.clone());
            self.sides.each[index].spec = spec.clone();
        }
        if let Some(router) = self.router.turns() {
            router.hub.change_server(index, &spec, now, &mut self.sides);
        }
    }

    /// Starts a server no more, however its processes end.
    pub(super) fn start_no_more(&mut self, name: &str) {
        let Some(index) = self.find(name) else { return };
        [index].into_iter().chain(self.further_of(index)).for_each(|index| self.servers[index].start_no_more());
    }

    /// Ends a server for good with all its processes, and tells `done` when they are gone.
    pub(super) fn remove_server(&mut self, name: &str, done: oneshot::Sender<()>, now: Instant) {
        let Some(index) = self.find(name) else { return };
        self.end_twin(index, now);
        self.sides.each[index].leaving = Some(Leaving::Gone(done));
        self.servers[index].stop(false);
        self.woken.servers.insert(index);
        if let Some(router) = self.router.turns() {
            router.hub.end_further(index, now, &mut self.sides);
        }
    }

    /// A process that was to end for good is gone.
    pub(super) fn vacate_server(&mut self, index: ServerIndex, now: Instant) {
        let Side { first, status, leaving, .. } = &mut self.sides.each[index];
        let (first, leaving) = (*first, leaving.take());
        if leaving.is_some() {
            status.left();
        }
        let done = match leaving {
            None if self.is_gone_comer(index) => None,
            None => return,
            Some(Leaving::Another) => return self.start_further(index, now),
            Some(gone @ Leaving::Gone(_)) if self.further_of(index).next().is_some() => {
                // Looked at again when these are gone.
                self.sides.each[index].leaving = Some(gone);
                return;
            }
            Some(Leaving::Gone(done)) => Some(done),
            Some(Leaving::Further) => None,
        };
        if let Some(room) = self.sides.each[index].room().cloned() {
            self.show_room(&room, Some(index), now);
        }
        if let Some(router) = self.router.turns() {
            router.remove_server(index, now, &mut self.sides);
        }
        let side = &mut self.sides.each[index];
        // Its entry goes with it.
        side.status = ServerEntry::of_nobody();
        side.name = "".into();
        side.first = None;
        side.stdin.clear();
        if let Some(first) = first {
            self.woken.servers.insert(first);
        }
        if let Some(done) = done {
            let _nobody_waits = done.send(());
        }
    }

    /// The place of a server.
    fn find(&self, name: &str) -> Option<ServerIndex> {
        let is_it = |side: &Side| {
            *side.name == *name && side.leaving.is_none() && side.first.is_none() && side.room().is_none()
        };
        self.sides.each.iter().position(is_it)
    }

    /// Adds a link. Returns by what it is known from now on; `None` if a server that it is to show is not here.
    pub(super) fn attach(&mut self, new: NewLink, now: Instant) -> Option<PeerId> {
        let NewLink { endpoint, name, status, link, hello, shown, witness } = new;
        let servers = self.firsts(&shown)?;
        let seen = self.seen(&shown, &servers, now)?;
        let resync = shown.sharing.resync;
        let peer = self.join(LinkPeer { endpoint, name, status, link, hello, resync, servers, seen }, now);
        if let (Some(witness), Some(link)) = (witness, self.sides.links.of_mut(peer)) {
            link.known.siblings = witness.has_siblings();
            link.witness = Some(witness);
        }
        Some(peer)
    }

    /// An endpoint comes, which is dialled once its servers are there.
    pub(super) fn join(&mut self, endpoint: LinkPeer, now: Instant) -> PeerId {
        let LinkPeer { endpoint, name, status, link, hello, resync, servers, seen } = endpoint;
        let (names, max_frame) = self.described(&servers, None);
        let names = names.at(name);
        status.shows(servers.iter().map(|server| self.sides.each[*server].status.key()));
        let new = NewPeer { max_frame, hello, resync, sight: None, kind: PeerKind::Endpoint };
        let in_turns = matches!(seen, Seen::InTurns(..));
        let peers = match (seen, self.router.turns()) {
            (Seen::InTurns(seats, turn), Some(router)) => router.join_in_turns(&new, seats, turn, now),
            (Seen::InTurns(..), None) => Vec::new(),
            (Seen::AsOne(sight), _) => vec![self.router.join(NewPeer { sight, ..new })],
        };
        let peer = peers.first().copied().unwrap_or_default();
        let agent = Agent::of(&endpoint, &link.headers).key();
        let mut side = LinkSide::new(Some(status), (servers, names), max_frame, agent);
        side.in_turns = in_turns;
        side.known.good_until = agent::good_until(&endpoint);
        let link = Link::new(endpoint, link, max_frame, self.run.wake.clone());
        let place = self.put_link(Carrier::Link(Box::new(link)), &peers, side);
        self.undialled.insert(place);
        self.restart_due = true;
        peer
    }

    /// A guest comes. `None`: a server that is to be shown is not here.
    pub(super) fn receive(&mut self, new: NewGuest, arrival: Arrival, now: Instant) -> Option<()> {
        let NewGuest { name, shown, era } = new;
        let servers = self.find_all(&shown, era)?;
        let sight = self.sight_of((&shown, era), &servers, now)?;
        let (names, max_frame) = self.described(&servers, shown.room.as_ref());
        let kind = match (era, &shown.room) {
            (Era::Modern, _) => PeerKind::Modern,
            (Era::Legacy, Some(_)) => PeerKind::Robot,
            (Era::Legacy, None) => PeerKind::Client,
        };
        let new = NewPeer { max_frame, hello: None, resync: false, sight: Some(sight), kind };
        let peer = self.router.join(new);
        let mut side = LinkSide::new(None, (servers, names.at(Some(name))), max_frame, String::new());
        side.shown = Some((shown, era));
        (side.waiting, side.present) = (Waiting::of(self.run.besides.guests()), Some(self.run.besides.come()));
        self.put_link(Carrier::Guest(Guest::new(arrival, max_frame)), &[peer], side);
        Some(())
    }

    /// A link or a guest comes to a place that nobody has.
    fn put_link(&mut self, carrier: Carrier, peers: &[PeerId], side: LinkSide) -> usize {
        let peer = peers.first().copied().unwrap_or_default();
        let linked = Linked { carrier, peer, stage: LinkStage::Serving, served: 0, said: None };
        let place = match self.links.iter().position(|linked| matches!(linked.stage, LinkStage::Vacant)) {
            Some(vacant) => {
                self.links[vacant] = linked;
                vacant
            }
            None => {
                self.links.push(linked);
                self.wakers.links.add();
                self.links.len() - 1
            }
        };
        self.sides.links.put(place, peers, side);
        self.woken.links.insert(place);
        place
    }

    /// Shows all guests who are shown `before` something else, or ends their conversations if nothing is left to be shown.
    pub(super) fn show_guests(&mut self, before: &Arc<Shown>, after: Option<&Arc<Shown>>, now: Instant) {
        let places = 0..self.sides.links.each.len();
        for place in places {
            if let Some((_, era)) =
                self.sides.links.each[place].shown.clone().filter(|(shown, _)| Arc::ptr_eq(shown, before))
            {
                self.show_guest(place, after.map(|shown| (shown, era)), now);
            }
        }
        self.forget_gates(before);
    }

    /// Shows a guest something, or ends its conversation where that is not there.
    fn show_guest(&mut self, place: usize, shown: Option<(&Arc<Shown>, Era)>, now: Instant) {
        let sight = shown.and_then(|(shown, era)| {
            let servers = self.find_all(shown, era)?;
            let sight = self.sight_of((shown, era), &servers, now)?;
            Some(((shown.clone(), era), servers, sight))
        });
        match sight {
            Some((shown, servers, sight)) => {
                self.show_as(self.links[place].peer, (servers, shown.0.room.as_ref()), sight, now);
                self.sides.links.each[place].shown = Some(shown);
            }
            None => {
                self.links[place].carrier.close(&mut self.sides.links.each[place].out);
                self.woken.links.insert(place);
            }
        }
    }

    /// Shows guests of an era the same servers by other processes of these.
    pub(super) fn show_anew(&mut self, era: Era, now: Instant) {
        for ((shown, of), view) in self.gates.clone() {
            if of == era
                && let Some(servers) = self.find_all(&shown, era)
            {
                let show = self.show_of(&shown, &servers);
                if let Some(router) = self.router.turns() {
                    router.hub.change_view(view, show, now, &mut self.sides);
                }
            }
        }
        for place in 0..self.sides.links.each.len() {
            if let Some((shown, _)) = self.sides.links.each[place].shown.clone().filter(|(_, of)| *of == era) {
                self.show_guest(place, Some((&shown, era)), now);
            }
        }
    }

    /// Shows an endpoint something else, as one.
    pub(super) fn show(&mut self, peer: PeerId, shown: &Shown, now: Instant) {
        let Some(servers) = self.firsts(shown) else { return };
        let Some(sight) = self.sight(shown, &servers, now) else { return };
        self.show_as(peer, (servers, shown.room.as_ref()), sight, now);
    }

    fn show_as(
        &mut self,
        peer: PeerId,
        (servers, room): (Vec<ServerIndex>, Option<&Room>),
        sight: Sight,
        now: Instant,
    ) {
        let Some(place) = self.sides.links.place(peer) else { return };
        let before = self.router.turns().and_then(|router| router.hub.sight(peer));
        self.note_shown(place, servers, room);
        if let Some(router) = self.router.turns() {
            router.hub.change_sight(peer, sight, now, &mut self.sides);
            if let Some(Sight::Merged(view)) = before {
                router.hub.remove_view(view);
            }
        }
        self.woken.links.insert(place);
        self.touched.insert(place);
        self.restart_due = true;
    }

    /// Notes which servers a peer sees.
    pub(super) fn note_shown(&mut self, place: usize, servers: Vec<ServerIndex>, room: Option<&Room>) {
        let (names, max_frame) = self.described(&servers, room);
        let names = names.at(self.sides.links.each[place].names.endpoint());
        let link = &mut self.sides.links.each[place];
        link.max_frame = max_frame;
        if let Some(status) = &link.status {
            status.shows(servers.iter().map(|server| self.sides.each[*server].status.key()));
        }
        if let Some(link) = self.links[place].carrier.link() {
            link.set_max_frame(max_frame);
        }
        self.sides.links.change(place, servers, names);
    }

    /// Ends a link for good, once what is under way on it is answered, and tells `done` when it is gone.
    pub(super) fn detach(&mut self, peer: PeerId, done: oneshot::Sender<()>, now: Instant) {
        let Some(place) = self.sides.links.place(peer) else { return };
        if let Some(router) = self.router.turns() {
            router.drain_peer(peer, &mut self.sides);
        }
        self.undialled.remove(place);
        self.links[place].carrier.dial_no_more();
        self.woken.links.insert(place);
        if let PipePhase::Closing = self.phase {
            // It is being closed with everything else.
            self.links[place].stage = LinkStage::Closing { done };
            return;
        }
        self.ending.insert(place);
        let drain = Drain::new(now + self.run.limits.drain_timeout);
        self.links[place].stage = LinkStage::Draining { drain, done };
    }

    /// Ends a link for good now, whatever is under way on it, and tells `done` when it is gone. Whoever waits for it to be drained is told,
    /// too.
    pub(super) fn cut(&mut self, peer: PeerId, done: oneshot::Sender<()>) {
        let Some(place) = self.sides.links.place(peer) else { return };
        self.undialled.remove(place);
        self.ending.remove(place);
        let Linked { carrier, stage, .. } = &mut self.links[place];
        carrier.cut(&mut self.sides.links.each[place].out);
        let before = std::mem::replace(stage, LinkStage::Closing { done });
        if let LinkStage::Draining { done, .. } | LinkStage::Closing { done } = before {
            let _nobody_waits = done.send(());
        }
        self.woken.links.insert(place);
    }

    /// Closes a link that is to end, if nothing is under way on it any more; returns whether it did.
    pub(super) fn end_drained(&mut self, place: usize, now: Instant) -> bool {
        let Linked { peer, said, stage, .. } = &mut self.links[place];
        let LinkStage::Draining { drain, .. } = stage else { return false };
        let peer = *peer;
        let owed = self.router.turns().map_or(0, |router| router.owed_to(peer));
        let out = &self.sides.links.each[place].out;
        let is_drained = owed == 0 && out.pending().is_empty() && !self.paused.links.contains(place);
        if !drain.is_over(is_drained, *said, now) {
            return false;
        }
        self.router.part(peer, &mut self.sides);
        let Linked { carrier, stage, .. } = &mut self.links[place];
        carrier.close(&mut self.sides.links.each[place].out);
        if let LinkStage::Draining { done, .. } = std::mem::replace(stage, LinkStage::Vacant) {
            *stage = LinkStage::Closing { done };
        }
        self.ending.remove(place);
        self.woken.links.insert(place);
        true
    }

    /// When a link that is to end is waited for no longer.
    pub(super) fn next_drained(&self) -> Option<Instant> {
        let until = |place: usize| match self.links[place].stage {
            LinkStage::Draining { drain, .. } => Some(drain.next()),
            LinkStage::Serving | LinkStage::Closing { .. } | LinkStage::Vacant => None,
        };
        self.ending.iter().filter_map(until).min()
    }

    /// A link that was to end has ended, or a guest has left.
    pub(super) fn vacate_link(&mut self, place: usize, now: Instant) {
        let Linked { carrier, peer, stage, .. } = &mut self.links[place];
        let has_left =
            matches!((carrier, &*stage), (Carrier::Guest(_), LinkStage::Serving | LinkStage::Draining { .. }));
        if !has_left && !matches!(stage, LinkStage::Closing { .. }) {
            return;
        }
        let (peer, stage) = (*peer, std::mem::replace(stage, LinkStage::Vacant));
        self.router.leave(peer, now, &mut self.sides);
        let nobody = (Vec::new(), Names::from_iter([]));
        let vacant = LinkSide::new(None, nobody, 0, String::new());
        self.sides.links.take(place, vacant);
        for bits in [&mut self.paused.links, &mut self.touched, &mut self.undialled, &mut self.ending] {
            bits.remove(place);
        }
        if let LinkStage::Closing { done } | LinkStage::Draining { done, .. } = stage {
            let _nobody_waits = done.send(());
        }
    }

    /// The first processes of the servers that are to be shown, and those that have come by themselves; `None` if one is not here.
    pub(super) fn firsts(&self, shown: &Shown) -> Option<Vec<ServerIndex>> {
        self.firsts_but(shown, None)
    }

    /// The same without one that is about to be gone.
    pub(super) fn firsts_but(&self, shown: &Shown, gone: Option<ServerIndex>) -> Option<Vec<ServerIndex>> {
        let named = shown.servers.iter().map(|(name, _)| self.find(name));
        let come = shown.room.iter().flat_map(|room| self.comers_of(room)).filter(|index| Some(*index) != gone);
        named.chain(come.map(Some)).collect()
    }

    /// The processes of the servers that are to be shown to a guest of this era.
    fn find_all(&self, shown: &Shown, era: Era) -> Option<Vec<ServerIndex>> {
        Some(self.firsts(shown)?.into_iter().map(|first| self.twins.of(first, era)).collect())
    }

    /// What an endpoint sees that is shown this.
    fn seen(&mut self, shown: &Shown, servers: &[ServerIndex], now: Instant) -> Option<Seen> {
        let pinned = match shown.manner {
            Manner::InTurns { pinned } => pinned,
            Manner::AsOne | Manner::Together => return Some(Seen::AsOne(Some(self.sight(shown, servers, now)?))),
        };
        let is_untouched = shown.servers.iter().all(|(_, policy)| policy.is_untouched());
        let mut seats = Vec::new();
        for (seat, (server, (name, policy))) in servers.iter().copied().zip(&shown.servers).enumerate() {
            let sight = match is_untouched {
                true => Sight::Alone(server),
                false => {
                    let max_list = self.described(&[server], None).1;
                    let servers = vec![(server, policy.clone())];
                    self.view(Show { servers, sharing: shown.sharing, max_list, grows: false }, now)?
                }
            };
            seats.push(NewSeat { server, name: name.clone(), sight, pin: pinned == Some(seat) });
        }
        Some(Seen::InTurns(seats, shown.sharing.turn))
    }

    /// What an endpoint sees that is shown this as one.
    fn sight(&mut self, shown: &Shown, servers: &[ServerIndex], now: Instant) -> Option<Sight> {
        let show = self.show_of(shown, servers);
        if let ([server], [(_, policy)]) = (servers, &*shown.servers)
            && policy.is_untouched()
            && !show.grows
        {
            return Some(Sight::Alone(*server));
        }
        self.view(show, now)
    }

    /// These servers as one.
    pub(super) fn show_of(&self, shown: &Shown, servers: &[ServerIndex]) -> Show {
        let policies = shown.servers.iter().map(|(_, policy)| policy.clone()).chain(repeat_with(Arc::default));
        let (_, max_list) = self.described(servers, shown.room.as_ref());
        Show {
            servers: servers.iter().copied().zip(policies).collect(),
            sharing: shown.sharing,
            max_list,
            grows: matches!(shown.manner, Manner::Together),
        }
    }

    /// What guests of an era see that are shown this.
    fn sight_of(&mut self, (shown, era): (&Arc<Shown>, Era), servers: &[ServerIndex], now: Instant) -> Option<Sight> {
        let is_it = |((of, other), _): &&(_, _)| Arc::ptr_eq(of, shown) && *other == era;
        if let Some((_, view)) = self.gates.iter().find(is_it) {
            return Some(Sight::Merged(*view));
        }
        let sight = self.sight(shown, servers, now)?;
        if let (Sight::Merged(view), Some(router)) = (sight, self.router.turns()) {
            router.hub.keep_view(view, true);
            self.gates.push(((shown.clone(), era), view));
        }
        Some(sight)
    }

    /// Forgets this, which will be shown to no guest any more, and what nobody else knows: a guest that was let in late may have brought
    /// back what was taken away before.
    fn forget_gates(&mut self, before: &Arc<Shown>) {
        let Some(router) = self.router.turns() else { return };
        let ours = |shown: &Arc<Shown>| self.gates.iter().filter(|((of, _), _)| Arc::ptr_eq(of, shown)).count();
        let is_over = |((of, _), _): &(_, _)| Arc::ptr_eq(of, before) || Arc::strong_count(of) <= ours(of);
        let mut over = self.gates.iter().map(is_over).collect::<Vec<_>>().into_iter();
        for (_, view) in self.gates.extract_if(.., |_| over.next().unwrap_or_default()) {
            router.hub.keep_view(view, false);
            router.hub.remove_view(view);
        }
    }

    /// What is to be seen, as a view.
    fn view(&mut self, show: Show, now: Instant) -> Option<Sight> {
        Some(Sight::Merged(self.router.turns()?.hub.add_view(show, now, &mut self.sides)))
    }

    /// The names of servers, and their largest message in bytes, also that of those which may come.
    fn described(&self, servers: &[ServerIndex], room: Option<&Room>) -> (Names, usize) {
        let specs = || servers.iter().map(|server| &self.sides.each[*server].spec);
        let of_comers = room.map(Room::max_frame);
        let max_frame = specs().map(|spec| spec.max_frame).chain(of_comers).max().unwrap_or_default();
        (specs().map(|spec| spec.name.clone()).collect(), max_frame)
    }
}
