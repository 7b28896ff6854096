//! What a server says that answers nothing: its own requests and notifications, and for whom they are.

use std::ops::Range;

use tokio::time::Instant;

use super::{Flight, Lane, Note, Out, PeerId, Peers, What, Whose, brief};
use crate::mcp::envelope::Envelope;
use crate::mcp::id::flight_id;
use crate::mcp::reply::{self, INVALID_REQUEST, UNAVAILABLE};

/// Why a server's request is answered with an error where several peers share the server.
const WHOSE: &str = "several clients may share this server, and its request can't be told to belong to one of them: one is asked only while it has a call under way here and no other has one, nor has given one up that the server may still work on";

/// The same where no peer is there.
const ABSENT: &str = "no client is connected that could be asked";

/// The same where each peer has a process of its own.
const NOBODYS: &str = "no client has used this process of the server so far, or the one that has is gone";

/// The requests that open a conversation, which clients send and servers never do.
const OF_CLIENTS: [&[u8]; 2] = [b"initialize", b"server/discover"];
/// What is told whoever sends them: where tools have dialled in, and elsewhere.
const ROBOT: &str =
    "this address is for tools, which are asked that and do not ask it; robots dial the other one, /endpoint/call";
const CLIENT: &str = "that is asked by an MCP client, and what is run here has to be an MCP server";

impl Lane {
    /// Whom a message of the server is for that names no call.
    fn meant_for(&self) -> Option<PeerId> {
        match self.whose {
            Whose::All if self.has_many => self.calls().next().map(|call| call.peer),
            Whose::All | Whose::Free => self.only_viewer().filter(|_| !self.has_many),
            Whose::One(peer) => return Some(peer),
            Whose::Nobody => None,
        }
        .filter(|peer| self.calls().all(|call| call.peer == *peer) && self.abandoned.are_all_of(*peer))
        // It may be about a call of our own.
        .filter(|_| !self.health.as_ref().is_some_and(|health| health.is_calling()))
    }

    /// Why a message of the server is for nobody.
    fn why_nobody(&self, peers: &Peers) -> &'static str {
        match self.whose {
            Whose::All if !self.viewers().any(|viewer| peers.is_conversing(viewer)) => ABSENT,
            Whose::All => WHOSE,
            Whose::Free | Whose::One(_) | Whose::Nobody => NOBODYS,
        }
    }

    /// Passes the server's own request on to a peer, or answers with an error where that is not possible: no server waits in
    /// vain. Returns who was asked. `peer`: whom the request is for, where it says so.
    pub(in crate::router) fn ask(
        &self,
        peer: Option<PeerId>,
        (frame, e): (&[u8], &Envelope),
        peers: &mut Peers,
        now: Instant,
        out: &mut dyn Out,
    ) -> Option<PeerId> {
        if e.method.clone().is_some_and(|method| OF_CLIENTS.contains(&&frame[method])) {
            self.refuse_client(frame, e, out);
            return None;
        }
        let Some(key) = peer.or_else(|| self.meant_for()) else {
            self.refuse_question(frame, e, self.why_nobody(peers), out);
            return None;
        };
        peers.get_mut(key)?.desk.ask(self.index, frame, e, now, out);
        Some(key)
    }

    /// Answers the server's own request with an error, as nobody can be asked that.
    pub(in crate::router) fn refuse_question(&self, frame: &[u8], e: &Envelope, why: &'static str, out: &mut dyn Out) {
        let Some(id) = e.id.clone() else { return };
        let method = e.method.clone().map_or("", |r| str::from_utf8(&frame[r]).unwrap_or_default());
        if method == "ping" {
            out.to_server(self.index, &[&reply::result(&frame[id], b"{}")]);
        } else {
            let method = brief(method).to_owned();
            out.to_server(self.index, &[&reply::error(&frame[id], UNAVAILABLE, why)]);
            out.note(Note::of(self.index, What::AnsweredForEndpoint { method, why }));
        }
    }

    /// Answers with an error what only a client asks: what is run as a server is none.
    fn refuse_client(&self, frame: &[u8], e: &Envelope, out: &mut dyn Out) {
        let Some(id) = e.id.clone() else { return };
        let why = if self.came { ROBOT } else { CLIENT };
        out.to_server(self.index, &[&reply::error(&frame[id], INVALID_REQUEST, why)]);
        let method = e.method.clone().map_or("", |r| str::from_utf8(&frame[r]).unwrap_or_default()).to_owned();
        out.note(Note::of(self.index, What::AskedAsClient { method, why }));
    }

    /// Passes what the server logs about a peer's request on to that peer, at the peer's own level.
    pub(in crate::router) fn pass_log(
        &self,
        peer: PeerId,
        frame: &[u8],
        e: &Envelope,
        peers: &Peers,
        out: &mut dyn Out,
    ) {
        let is_wanted = !self.has_many || peers.get(peer).is_some_and(|peer| peer.wishes.takes(frame, e));
        if is_wanted && peers.is_conversing(peer) {
            out.to_peer(peer, &[frame]);
        }
    }

    /// Passes a notification of the server on, its progress token exchanged for the peer's.
    pub(in crate::router) fn pass_notification(&self, frame: &[u8], e: &Envelope, peers: &Peers, out: &mut dyn Out) {
        let method = e.method.clone().map_or(&b""[..], |r| &frame[r]);
        if method == b"notifications/progress"
            && let Some(token) = e.progress_token.clone()
        {
            return self.pass_progress(frame, token, peers, out);
        }
        let is_log = method == b"notifications/message";
        let Some(peer) = self.meant_for().filter(|peer| peers.is_conversing(*peer)) else {
            if let Some(params) = e.params.clone().filter(|_| is_log) {
                out.note(Note::of(self.index, What::Logged { params: &frame[params] }));
            }
            return;
        };
        // The server was told the lowest level of all peers.
        let is_wanted = !is_log || !self.has_many || peers.get(peer).is_some_and(|peer| peer.wishes.takes(frame, e));
        if is_wanted {
            out.to_peer(peer, &[frame]);
        }
    }

    fn pass_progress(&self, frame: &[u8], token: Range<usize>, peers: &Peers, out: &mut dyn Out) {
        let Some(id) = flight_id(&frame[token.clone()]) else { return };
        let wanted = match self.flights.get(&id) {
            Some(Flight::Call(call)) => Some((call.peer, call.progress())),
            Some(Flight::Initialize(_) | Flight::List(..) | Flight::Check(_)) => None,
            None => self.lasting.token(id),
        };
        // Progress on anything else is wanted by nobody any more, or never was.
        if let Some((peer, own)) = wanted.filter(|(peer, own)| !own.is_empty() && peers.is_conversing(*peer)) {
            out.to_peer(peer, &[&frame[..token.start], own, &frame[token.end..]]);
        }
    }
}
