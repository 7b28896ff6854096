//! The peers of a router: each asks the router's servers, as one conversation with ids, a handshake and wishes of its own.
//!
//! # Theory of operation
//!
//! Nothing of one peer reaches another. Whatever waits for a peer, or is under way for a peer, carries the peer's key: a call
//! at a server, a message that is held, a task, a question of a server. Each lookup starts from who speaks: a peer's ids are
//! looked up among what is that peer's, and a server's ids in the lane of that server, where they lead to one peer.
//!
//! What a server says without naming a call is for the only peer that sees the server, or else for the only one that has a
//! call under way there. Where there are several such peers, or none, nobody gets it: a guess would tell one peer of another.
//!
//! A server of one peer is initialized with what that peer says of itself. A server of several is told what is likely, and
//! that stays: no peer's coming or going makes a server be asked again.

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::Arc;

use slotmap::SlotMap;
use tokio::time::Instant;

use super::changes::Changes;
use super::desk::{Desk, PeerKind};
use super::listing::Table;
use super::listing::pages::Pages;
use super::outcome::Outcome;
use super::request::Request;
use super::wishes::Wishes;
use super::{Out, ServerIndex};
use crate::mcp::cloud::HOLD;
use crate::mcp::envelope::Envelope;
use crate::mcp::handshake::Hello;
use crate::mcp::lists::ListKind;
use crate::mcp::reply::UNAVAILABLE;

slotmap::new_key_type! {
    /// One peer of a router. After the peer has left, its key names nobody, for ever.
    pub struct PeerId;
}

slotmap::new_key_type! {
    /// What some peers of a router see of several servers as one.
    pub struct ViewId;
}

/// What a peer sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// One server, as it is.
    Alone(ServerIndex),
    /// Several servers as one, or one whose tools are not shown as they are.
    Merged(ViewId),
}

/// Most requests of one peer that wait until more is known: one `initialize` for each robot behind an endpoint.
pub(super) const MAX_WAITING: usize = 256;

/// How a peer comes to a router.
#[derive(Debug, Clone)]
pub struct NewPeer {
    /// The limit that the peer is told when a message of its own is larger, in bytes.
    pub max_frame: usize,
    /// What the peer will say of itself, if that is known.
    pub hello: Option<Arc<Hello>>,
    /// Whether a peer that reads no list anew which has changed gets a new connection.
    pub resync: bool,
    /// What the peer sees; `None`: all servers.
    pub sight: Option<Sight>,
    /// How the peer is spoken to.
    pub kind: PeerKind,
}

impl NewPeer {
    /// A peer of which nothing is known.
    pub fn unknown(max_frame: usize) -> Self {
        NewPeer { max_frame, hello: None, resync: true, sight: None, kind: PeerKind::Endpoint }
    }
}

/// A request of a peer that waits until more is known.
#[derive(Debug)]
pub(super) struct Owed {
    pub(super) id: Box<[u8]>,
    pub(super) what: Want,
    pub(super) deadline: Instant,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Want {
    /// An `initialize`, with the version asked for.
    Initialize(String),
    List(ListKind),
}

/// What a router knows of one peer.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) desk: Desk,
    pub(super) sight: Sight,
    pub(super) owed: Vec<Owed>,
    /// Requests of which enough is known, and which only wait for room.
    pub(super) due: VecDeque<Owed>,
    pub(super) wishes: Wishes,
    pub(super) changes: Changes,
    /// The pages that the peer has read, where lists pass through.
    pub(super) pages: Pages,
    /// The ways that lead back from the names in the lists that the peer has read on its connection, where they are merged.
    pub(super) tables: [Option<Arc<Table>>; 4],
    /// The state of what is published that the peer was last compared with.
    pub(super) compared: u64,
    /// An `initialize` of the peer went through to the present process, on this connection.
    pub(super) relayed: bool,
    /// No request of the peer is taken any more.
    pub(super) leaving: bool,
}

impl Peer {
    fn new(key: PeerId, new: NewPeer, sight: Sight) -> Self {
        Peer {
            desk: Desk::new(key, new.max_frame, new.hello, new.kind),
            sight,
            owed: Vec::new(),
            due: VecDeque::new(),
            wishes: Wishes::default(),
            changes: Changes::new(key, new.resync),
            pages: Pages::default(),
            tables: Default::default(),
            compared: 0,
            relayed: false,
            leaving: false,
        }
    }

    /// Keeps a request until more is known, or refuses it.
    pub(super) fn keep_waiting(&mut self, request: &Request<'_>, what: Want, out: &mut dyn Out) {
        if self.owed.len() + self.due.len() >= MAX_WAITING {
            let message = format_args!("{MAX_WAITING} others wait for the server already");
            return self.desk.refuse(request.id, UNAVAILABLE, message, out);
        }
        self.owed.push(Owed { id: request.id.into(), what, deadline: request.now + HOLD });
    }

    /// Requests that have waited for too long wait no longer.
    pub(super) fn give_up_waiting(&mut self, now: Instant) {
        self.due.extend(self.owed.extract_if(.., |owed| owed.deadline <= now));
    }

    /// How many requests of the peer wait here.
    pub(super) fn waiting(&self) -> usize {
        self.owed.len() + self.due.len() + self.desk.unread()
    }

    /// Whether nothing but calls would be lost with the connection.
    pub(super) fn is_quiet(&self) -> bool {
        self.waiting() == 0 && self.desk.asked.is_empty()
    }

    /// When something of the peer is due.
    pub(super) fn next_tick(&self) -> Option<Instant> {
        let owed = self.owed.iter().map(|owed| owed.deadline).min();
        super::earliest([owed, self.desk.next_tick(), self.changes.next_tick()])
    }

    /// No request is taken any more: answers those that wait.
    pub(super) fn drain(&mut self, why: &str, out: &mut dyn Out) {
        self.changes.drain();
        for owed in std::mem::take(&mut self.owed).into_iter().chain(std::mem::take(&mut self.due)) {
            self.desk.refuse(&owed.id, UNAVAILABLE, why, out);
        }
    }

    /// A server is gone for good: no name leads there any more.
    pub(super) fn forget_ways_to(&mut self, server: ServerIndex) {
        for table in self.tables.iter_mut().flatten().filter(|table| table.values().any(|(to, _)| *to == server)) {
            Arc::make_mut(table).retain(|_, (to, _)| *to != server);
        }
    }

    /// The peer's connection is gone, with all that was asked on it and all that was read.
    pub(super) fn link_down(&mut self, now: Instant, out: &mut dyn Out) {
        self.owed.clear();
        self.due.clear();
        self.relayed = false;
        self.changes.link_down(now);
        self.wishes.link_down();
        self.pages = Pages::default();
        self.tables = Default::default();
        self.desk.link_down(out);
    }
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Peers {
    all: SlotMap<PeerId, Peer>,
}

impl Peers {
    /// A peer whose view is one of these, if there is any.
    pub(super) fn of_view(&self, is_meant: impl Fn(ViewId) -> bool) -> Option<PeerId> {
        let mut all = self.all.iter();
        all.find(|(_, peer)| matches!(peer.sight, Sight::Merged(view) if is_meant(view))).map(|(key, _)| key)
    }

    /// A peer comes, which sees this.
    pub(super) fn join(&mut self, new: NewPeer, sight: Sight) -> PeerId {
        self.all.insert_with_key(|key| Peer::new(key, new, sight))
    }

    /// A peer goes, whose connection is gone already. Servers that still wait for its answers are told.
    pub(super) fn leave(&mut self, peer: PeerId, out: &mut dyn Out) {
        if let Some(mut peer) = self.all.remove(peer) {
            peer.desk.leave(out);
        }
    }

    pub(super) fn get(&self, peer: PeerId) -> Option<&Peer> {
        self.all.get(peer)
    }

    pub(super) fn get_mut(&mut self, peer: PeerId) -> Option<&mut Peer> {
        self.all.get_mut(peer)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (PeerId, &Peer)> {
        self.all.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (PeerId, &mut Peer)> {
        self.all.iter_mut()
    }

    /// The peers that have a server alone.
    pub(super) fn alone_with(&mut self, server: ServerIndex) -> impl Iterator<Item = (PeerId, &mut Peer)> {
        self.all.iter_mut().filter(move |(_, peer)| peer.sight == Sight::Alone(server))
    }

    /// Whether a peer's connection is about to be closed for good.
    pub(super) fn is_leaving(&self, peer: PeerId) -> bool {
        self.get(peer).is_some_and(|peer| peer.leaving)
    }

    /// Whether a peer has a server alone.
    pub(super) fn is_alone(&self, peer: PeerId) -> bool {
        self.get(peer).is_some_and(|peer| matches!(peer.sight, Sight::Alone(_)))
    }

    /// The keys of all peers.
    pub(super) fn keys(&self) -> Vec<PeerId> {
        self.all.keys().collect()
    }

    /// An error to a peer, in a server's place.
    pub(super) fn refuse(&mut self, peer: PeerId, id: &[u8], code: i32, why: impl Display, out: &mut dyn Out) {
        if let Some(peer) = self.get_mut(peer) {
            peer.desk.refuse(id, code, why, out);
        }
    }

    /// An error for a call of which nothing has come.
    pub(super) fn refuse_call(
        &mut self,
        (peer, id): (PeerId, &[u8]),
        outcome: Outcome,
        why: impl Display,
        out: &mut dyn Out,
    ) {
        if let Some(peer) = self.get_mut(peer) {
            peer.desk.refuse_call(id, outcome, why, out);
        }
    }

    /// An error for a request that has waited in vain. A notification gets no answer.
    pub(super) fn refuse_held(&mut self, (peer, frame): (PeerId, &[u8]), why: impl Display, out: &mut dyn Out) {
        if let Some(peer) = self.get_mut(peer) {
            peer.desk.refuse_held(frame, why, out);
        }
    }

    /// A result of our own for a peer.
    pub(super) fn reply(&mut self, peer: PeerId, id: &[u8], result: &[u8], out: &mut dyn Out) {
        if let Some(peer) = self.get_mut(peer) {
            peer.desk.reply(id, result, out);
        }
    }

    /// Counts one more request of a peer that has its answer.
    pub(super) fn count_answered(&mut self, peer: PeerId) {
        if let Some(peer) = self.get_mut(peer) {
            peer.desk.count_answered();
        }
    }

    /// Counts one more call of a peer that was answered by a server.
    pub(super) fn count_served(&mut self, peer: PeerId) {
        if let Some(peer) = self.get_mut(peer) {
            peer.desk.served += 1;
        }
    }

    /// Calls of a peer that were answered by servers.
    pub(super) fn served(&self, peer: PeerId) -> u64 {
        self.get(peer).map_or(0, |peer| peer.desk.served)
    }

    /// A server is gone: no peer need answer its requests any more.
    pub(super) fn server_down(&mut self, server: ServerIndex, out: &mut dyn Out) {
        for peer in self.all.values_mut() {
            peer.desk.server_down(server, out);
        }
    }

    /// Whether a peer is past its handshake, and expects messages that answer nothing.
    pub(super) fn is_conversing(&self, peer: PeerId) -> bool {
        self.get(peer).is_some_and(|peer| peer.desk.is_conversing())
    }

    /// A server cancels a request of its own.
    pub(super) fn withdraw(&mut self, server: ServerIndex, frame: &[u8], e: &Envelope, out: &mut dyn Out) {
        for peer in self.all.values_mut() {
            peer.desk.withdraw(server, frame, e, out);
        }
    }
}
