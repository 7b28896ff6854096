//! What waits for the endpoints of a pipe, and what is noted about each.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use slotmap::SecondaryMap;
use tokio::time::Instant;

use super::diagnosis::Known;
use super::membership::Shown;
use crate::control::figures::{Present, Waiting};
use crate::control::journal::LinkNews;
use crate::control::status::LinkEntry;
use crate::logging::Names;
use crate::mcp::era::Era;
use crate::net::websocket::Outgoing;
use crate::router::{PeerId, ServerIndex};
use crate::sharing::Witness;
use crate::tools::size::Size;
use crate::wakers::Bits;

/// Most bytes that may wait for one side while the other side is still read. Large enough that a burst of small messages
/// goes out in one write, small enough that a hundred stuck servers cost little.
pub(super) const HIGH: usize = 256 * 1024;

/// The pipe's notes on one endpoint, and on the connection to it.
pub(super) struct LinkSide {
    /// The endpoint sees its servers in turns.
    pub(super) in_turns: bool,
    /// Where the link's state is shown; a guest's is not.
    pub(super) status: Option<LinkEntry>,
    /// Messages for the endpoint, not yet written.
    pub(super) out: Outgoing,
    /// The largest message for the endpoint or from it, in bytes.
    pub(super) max_frame: usize,
    /// The servers that the endpoint sees, and their names for the log.
    pub(super) servers: Vec<ServerIndex>,
    pub(super) names: Names,
    /// The further processes of these that run for the endpoint alone.
    own: Vec<ServerIndex>,
    /// What a guest is shown, and of which era it is.
    pub(super) shown: Option<(Arc<Shown>, Era)>,
    /// The agent that the endpoint is for, as the catalogue calls it.
    pub(super) agent: String,
    /// Whom the pipe tells what becomes of the connection.
    pub(super) witness: Option<Witness>,
    /// What is known of the endpoint, to explain the end of a connection.
    pub(super) known: Known,
    /// The endpoint has said something on this connection.
    pub(super) heard: bool,
    /// How many messages of the endpoint could not be taken, on this connection.
    pub(super) refused: u64,
    /// The connection is being made anew by command.
    pub(super) redialled: bool,
    /// What an endpoint said that is no MCP client and is to be turned away.
    pub(super) stranger: Option<Vec<u8>>,
    /// The size of the list of tools that the endpoint last read.
    pub(super) listed: Size,
    /// The endpoint reads the tools page by page on this connection, so that nobody has counted them.
    pub(super) uncounted: bool,
    /// Since when the connection has stood; `None` once the endpoint's `initialize` was answered on it.
    opened: Option<Instant>,
    /// How much waits for the endpoint, and what has come and gone, for whoever counts.
    pub(super) waiting: Waiting,
    /// A guest is counted.
    pub(super) present: Option<Present>,
}

impl LinkSide {
    /// Nothing is known of the connection yet.
    pub(super) fn new(
        status: Option<LinkEntry>,
        (servers, names): (Vec<ServerIndex>, Names),
        max_frame: usize,
        agent: String,
    ) -> Self {
        let waiting = status.as_ref().map_or_else(Waiting::default, |status| Waiting::of(status.traffic()));
        LinkSide {
            in_turns: false,
            out: if status.is_some() { Outgoing::default() } else { Outgoing::lines() },
            status,
            max_frame,
            servers,
            names,
            own: Vec::new(),
            shown: None,
            agent,
            witness: None,
            known: Known::default(),
            heard: false,
            refused: 0,
            redialled: false,
            stranger: None,
            listed: Size::default(),
            uncounted: false,
            opened: None,
            waiting,
            present: None,
        }
    }

    /// Whether the peer came to us: then there is no endpoint where it is.
    pub(super) fn is_guest(&self) -> bool {
        self.shown.is_some()
    }

    /// All servers that work for the endpoint.
    pub(super) fn served_by(&self) -> impl Iterator<Item = &ServerIndex> {
        self.servers.iter().chain(&self.own)
    }

    /// Writes what has happened to the link into the journal.
    pub(super) fn write(&self, news: LinkNews<'_>) {
        if let Some(status) = &self.status {
            status.write(&self.names, news);
        }
    }

    /// A connection stands.
    pub(super) fn connected(&mut self, took: Duration, now: Instant) {
        self.opened = Some(now);
        self.refused = 0;
        self.heard = false;
        self.uncounted = false;
        self.stranger = None;
        self.redialled = false;
        self.write(LinkNews::Opened { took });
    }

    /// The endpoint's `initialize` was answered on the connection that stands.
    pub(super) fn handshaken(&mut self, now: Instant) {
        if let Some(opened) = self.opened.take() {
            self.write(LinkNews::Initialized { took: now - opened });
        }
    }

    /// The endpoint has said something, of so many bytes.
    pub(super) fn heard(&mut self, bytes: usize) {
        self.waiting.traffic().received(bytes);
        if !std::mem::replace(&mut self.heard, true) {
            self.write(LinkNews::Heard);
        }
    }
}

/// The notes on all endpoints of a pipe, by their places in it.
#[derive(Default)]
pub(super) struct Links {
    pub(super) each: Vec<LinkSide>,
    /// The place of each peer. An endpoint that sees its servers in turns is several.
    places: SecondaryMap<PeerId, usize>,
    /// Endpoints that have got something since the last write.
    pub(super) unwritten: Bits,
    /// The endpoints that see each server, by their places.
    viewers: Vec<Vec<usize>>,
    /// The first process of each that is like another one, and seen by the same endpoints.
    replicas: BTreeMap<ServerIndex, ServerIndex>,
}

impl Links {
    /// An endpoint, which the router knows as these peers, comes to a place that nobody has.
    pub(super) fn put(&mut self, place: usize, peers: &[PeerId], link: LinkSide) {
        self.places.extend(peers.iter().map(|peer| (*peer, place)));
        self.view(place, &link.servers);
        match self.each.get_mut(place) {
            Some(vacant) => *vacant = link,
            None => self.each.push(link),
        }
    }

    /// An endpoint is gone. `vacant` takes its place.
    pub(super) fn take(&mut self, place: usize, vacant: LinkSide) {
        self.view(place, &[]);
        self.places.retain(|_, of| *of != place);
        self.unwritten.remove(place);
        self.each[place] = vacant;
    }

    /// An endpoint sees other servers from now on.
    pub(super) fn change(&mut self, place: usize, servers: Vec<ServerIndex>, names: Names) {
        self.view(place, &servers);
        (self.each[place].servers, self.each[place].names) = (servers, names);
    }

    /// Notes which servers an endpoint sees, besides its own processes.
    fn view(&mut self, place: usize, servers: &[ServerIndex]) {
        let own = self.each.get(place).map_or(&[][..], |link| &link.own);
        let viewers = self.viewers.iter_mut().enumerate().filter(|(server, _)| !own.contains(server));
        viewers.for_each(|(_, viewers)| viewers.retain(|other| *other != place));
        for server in servers {
            self.viewers_mut(*server).push(place);
        }
    }

    /// A process like this first one is to run for a peer alone from now on, or for all that see the first.
    pub(super) fn assign(&mut self, server: ServerIndex, first: ServerIndex, peer: Option<PeerId>) {
        match peer {
            Some(peer) => self.give(server, peer),
            None => {
                self.take_away(server);
                self.replicas.insert(server, first);
            }
        }
    }

    /// A process runs for a peer alone from now on.
    fn give(&mut self, server: ServerIndex, peer: PeerId) {
        self.take_away(server);
        let Some(place) = self.place(peer) else { return };
        self.viewers_mut(server).push(place);
        self.each[place].own.push(server);
    }

    /// A process runs for no peer any more.
    pub(super) fn take_away(&mut self, server: ServerIndex) {
        self.replicas.remove(&server);
        for place in std::mem::take(self.viewers_mut(server)) {
            self.each[place].own.retain(|own| *own != server);
        }
    }

    fn viewers_mut(&mut self, server: ServerIndex) -> &mut Vec<usize> {
        if self.viewers.len() <= server {
            self.viewers.resize(server + 1, Vec::new());
        }
        &mut self.viewers[server]
    }

    /// The place of a peer.
    pub(super) fn place(&self, peer: PeerId) -> Option<usize> {
        self.places.get(peer).copied()
    }

    /// The notes on a peer.
    pub(super) fn of(&self, peer: PeerId) -> Option<&LinkSide> {
        self.places.get(peer).map(|place| &self.each[*place])
    }

    pub(super) fn of_mut(&mut self, peer: PeerId) -> Option<&mut LinkSide> {
        self.places.get(peer).map(|place| &mut self.each[*place])
    }

    /// The places of the endpoints that see a server.
    fn viewers(&self, server: ServerIndex) -> &[usize] {
        let server = self.replicas.get(&server).copied().unwrap_or(server);
        self.viewers.get(server).map_or(&[], Vec::as_slice)
    }

    /// The same, one after the other.
    pub(super) fn places_of(&self, server: ServerIndex) -> impl Iterator<Item = usize> {
        self.viewers(server).iter().copied()
    }

    /// The notes on the endpoints that see a server.
    pub(super) fn of_server(&self, server: ServerIndex) -> impl Iterator<Item = &LinkSide> {
        self.viewers(server).iter().map(|place| &self.each[*place])
    }

    /// One message for a peer.
    pub(super) fn push(&mut self, peer: PeerId, pieces: &[&[u8]]) {
        // A router speaks to no peer that has left.
        let Some(place) = self.places.get(peer).copied() else { return };
        let LinkSide { out, waiting, .. } = &mut self.each[place];
        out.text(pieces);
        waiting.traffic().sent(pieces.iter().map(|piece| piece.len()).sum());
        self.unwritten.insert(place);
    }

    /// Whether an endpoint sees a server that others see too, so that the server may be read although this endpoint takes nothing.
    pub(super) fn shares(&self, place: usize) -> bool {
        self.each[place].servers.iter().any(|server| self.viewers(*server).len() > 1)
    }

    /// Whether some endpoint sees a server together with others, so that the server may not hold it up.
    pub(super) fn is_seen_together(&self, server: ServerIndex) -> bool {
        self.of_server(server).any(|link| link.servers.len() > 1)
    }

    /// Whether messages of a server have somewhere to go: to one of the endpoints that see it at least. A slow endpoint must not
    /// hold up the others.
    pub(super) fn take_from(&self, server: ServerIndex) -> bool {
        let viewers = self.viewers(server);
        viewers.is_empty() || viewers.iter().any(|place| self.each[*place].out.pending().len() < HIGH)
    }
}
