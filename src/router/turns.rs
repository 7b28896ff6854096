//! Endpoints that see several servers one at a time, in turns.
//!
//! # Theory of operation
//!
//! Such an endpoint has a peer of the hub for each of its servers, a *seat*, which sees that server. What the endpoint and
//! the link do goes to the seat whose turn it is. The other seats take their link for down, so nothing of theirs reaches the
//! endpoint. Other endpoints may see the same servers meanwhile, in turns of their own or without any.
//!
//! When a turn is over (`rotation` says when), the connection is closed and made anew, because an endpoint reads the lists
//! only then; the new connection goes to the next server's seat. The close waits for a quiet moment: nothing is under way,
//! and the endpoint has said nothing for an instant, so that no request crosses our close frame. New requests are refused
//! after a grace, so that such a moment comes. A request that is under way is waited for until the cloud has given up on it:
//! a server that never answers must not keep the turn from all others.

use std::sync::Arc;
use std::time::Duration;

use slotmap::SecondaryMap;
use tokio::time::Instant;

use super::hub::Hub;
use super::lane::ABANDONED;
use super::rotation::{Rotation, Verdict};
use super::{
    Account, Bar, CallMethod, CountedCall, Gone, NewPeer, Note, Out, Outcome, PeerId, Reconnect, Router, ServerIndex,
    Sight, TurnCommand, What, earliest,
};
use crate::frame::Cut;
use crate::mcp::envelope::{self, Envelope, Kind, Lost, Scanned};
use crate::mcp::reply::{self, UNAVAILABLE};
use crate::mcp::trace;

/// Longest time that a quiet moment is waited for while new requests are still taken. A talk with an assistant has pauses,
/// and a refused request costs its user more than a late turn.
const GRACE: Duration = Duration::from_secs(10);

/// Shortest time that the endpoint has to be silent: the way there and back, so that the endpoint has seen our last answer
/// and has had time to react.
pub(crate) const QUIET: Duration = Duration::from_millis(250);

/// Longest time that an endpoint is waited for which goes on asking although everything is refused.
const INSISTING: Duration = Duration::from_secs(5);

/// The router of a pipe: the hub, and the turns of those endpoints that see one server at a time.
///
/// An endpoint is known by one key: that of its peer, or of the peer of its first seat.
#[derive(Debug, Default)]
pub struct Turns {
    pub(crate) hub: Hub,
    rotas: SecondaryMap<PeerId, Rota>,
}

/// A server that is to have turns.
#[derive(Debug, Clone)]
pub(crate) struct NewSeat {
    /// The server, its name, and what of it the endpoint sees.
    pub server: ServerIndex,
    pub name: Arc<str>,
    pub sight: Sight,
    /// Whether the server keeps its turn.
    pub pin: bool,
}

/// The turns of one endpoint.
#[derive(Debug)]
struct Rota {
    seats: Vec<Seat>,
    rotation: Rotation,
    link: TurnLink,
    /// No turn ends any more.
    draining: bool,
    /// It was told whose turn began.
    begun: bool,
    /// What was last said of each seat: whether it has its turn, and whether it is pinned.
    told: Vec<Option<(bool, bool)>>,
}

#[derive(Debug)]
struct Seat {
    name: Arc<str>,
    /// `None`: the server is gone for good.
    server: Option<ServerIndex>,
    /// The endpoint, for as long as the server has its turn.
    peer: PeerId,
}

#[derive(Debug)]
enum TurnLink {
    Down,
    Up {
        /// When the endpoint last said something. `None`: so long ago that the endpoint counts as quiet.
        heard: Option<Instant>,
        phase: TurnPhase,
    },
}

#[derive(Debug, Clone, Copy)]
enum TurnPhase {
    Serving,
    /// The turn is over, and a quiet moment is waited for.
    Ending {
        refuse_from: Instant,
    },
    /// The turn is over, and nothing is waited for any more.
    Over,
}

impl Rota {
    /// The seat whose turn it is.
    fn current(&self) -> &Seat {
        &self.seats[self.rotation.current()]
    }

    /// The seat of a server.
    fn seat(&self, server: ServerIndex) -> Option<usize> {
        self.seats.iter().position(|seat| seat.server == Some(server))
    }

    /// Tells the log something of a seat. `of`: the endpoint.
    fn note(&self, of: PeerId, seat: usize, what: impl Into<String>, out: &mut dyn Out) {
        if let Some(server) = self.seats[seat].server {
            out.note(Note::of_peer(of, What::Turn { server, what: what.into() }));
        }
    }

    /// Tells the log whose turn begins.
    fn begins(&mut self, of: PeerId, out: &mut dyn Out) {
        self.begun = true;
        self.note(of, self.rotation.current(), "its turn begins", out);
    }

    /// Says of each seat how it stands, where that has changed.
    fn tell_seats(&mut self, of: PeerId, out: &mut dyn Out) {
        for (seat, told) in self.told.iter_mut().enumerate() {
            let (current, pinned) = (seat == self.rotation.current(), self.rotation.is_pinned(seat));
            if told.replace((current, pinned)) != Some((current, pinned))
                && let Some(server) = self.seats[seat].server
            {
                out.note(Note::of_peer(of, What::Seated { server, current, pinned }));
            }
        }
    }

    /// Brings the present turn in line with the rotation, after something has changed.
    fn follow(&mut self, of: PeerId, now: Instant, out: &mut dyn Out) {
        if self.draining {
            return;
        }
        let (seat, verdict) = (self.rotation.current(), self.rotation.verdict(now));
        match (&mut self.link, verdict) {
            (TurnLink::Down, Verdict::Stays) => {}
            (TurnLink::Down, Verdict::Over | Verdict::Cut) => {
                self.rotation.advance();
                self.begins(of, out);
            }
            (TurnLink::Up { phase: phase @ (TurnPhase::Ending { .. } | TurnPhase::Over), .. }, Verdict::Stays) => {
                *phase = TurnPhase::Serving;
                self.note(of, seat, "its turn goes on", out);
            }
            (TurnLink::Up { phase: phase @ TurnPhase::Serving, .. }, Verdict::Over | Verdict::Cut) => {
                let grace = if verdict == Verdict::Cut { Duration::ZERO } else { GRACE };
                *phase = TurnPhase::Ending { refuse_from: now + grace };
                if let Some(next) = self.rotation.next() {
                    let next = &self.seats[next].name;
                    let what = format!("its turn is over; {next} is next, as soon as nothing is under way");
                    self.note(of, seat, what, out);
                }
            }
            (TurnLink::Up { phase: TurnPhase::Ending { refuse_from }, .. }, Verdict::Cut) => {
                *refuse_from = now.min(*refuse_from);
            }
            (TurnLink::Up { phase: TurnPhase::Over, .. }, Verdict::Over | Verdict::Cut)
            | (TurnLink::Up { phase: TurnPhase::Ending { .. }, .. }, Verdict::Over)
            | (TurnLink::Up { phase: TurnPhase::Serving, .. }, Verdict::Stays) => {}
        }
        self.tell_seats(of, out);
    }

    /// The endpoint says something. Returns whether new requests are refused, as the turn is over.
    fn heard(&mut self, now: Instant) -> bool {
        let TurnLink::Up { heard, phase } = &mut self.link else { return false };
        *heard = Some(now);
        match *phase {
            TurnPhase::Serving => false,
            TurnPhase::Ending { refuse_from } => refuse_from <= now,
            TurnPhase::Over => true,
        }
    }

    fn tick(&mut self, now: Instant) {
        if let TurnLink::Up { heard, phase } = &mut self.link {
            heard.take_if(|at| *at + QUIET <= now);
            if let TurnPhase::Ending { refuse_from } = *phase
                && refuse_from + ABANDONED <= now
            {
                *phase = TurnPhase::Over;
            }
        }
    }

    /// When [`Rota::tick`] has something to do, or the turn ends. `owed`: how many requests of the present turn have no answer yet.
    fn next_tick(&self, owed: impl Fn() -> usize) -> Option<Instant> {
        match &self.link {
            _ if self.draining => None,
            TurnLink::Down | TurnLink::Up { phase: TurnPhase::Serving, .. } => self.rotation.deadline(),
            TurnLink::Up { heard, phase: TurnPhase::Ending { .. } } if owed() == 0 => heard.map(|at| at + QUIET),
            // The last answer is an event of its own, if it comes. A request without an answer by then is at least that old.
            TurnLink::Up { phase: TurnPhase::Ending { refuse_from }, .. } => Some(*refuse_from + ABANDONED),
            TurnLink::Up { phase: TurnPhase::Over, .. } => None,
        }
    }

    /// Whether the connection is to be closed for the next turn; `None`: no turn is over. `owed` as above.
    fn is_time(&self, owed: impl Fn() -> usize, now: Instant) -> Option<bool> {
        let is_time = match self.link {
            TurnLink::Down | TurnLink::Up { phase: TurnPhase::Serving, .. } => return None,
            TurnLink::Up { heard, phase: TurnPhase::Ending { refuse_from } } => {
                (heard.is_none() || now >= refuse_from + INSISTING) && owed() == 0
            }
            TurnLink::Up { phase: TurnPhase::Over, .. } => true,
        };
        Some(is_time && !self.draining)
    }

    /// A person commands the turns. Returns the seat that this is about, and what comes of it.
    fn command(&mut self, command: TurnCommand, now: Instant) -> (usize, Result<&'static str, &'static str>) {
        let seat = self.rotation.current();
        match command {
            TurnCommand::Next if self.rotation.skip() && self.rotation.is_pinned(seat) => (
                seat,
                Ok("its turn ends as soon as nothing is under way; it stays pinned, so that the next one won't end"),
            ),
            TurnCommand::Next if self.rotation.skip() => (seat, Ok("its turn ends as soon as nothing is under way")),
            TurnCommand::Next => (seat, Err("its turn goes on: no other server is ready")),
            TurnCommand::Keep if self.rotation.toggle_pin(now) => (seat, Ok("is kept: its turn does not end")),
            TurnCommand::Keep => (seat, Ok("is no longer kept: the turns go on")),
            TurnCommand::Pin(wanted) => (wanted, self.rotation.pin(wanted, now)),
            TurnCommand::Unpin(wanted) => {
                self.rotation.unpin(wanted);
                (wanted, Ok("is not kept: the turns go on"))
            }
        }
    }
}

impl Turns {
    /// An endpoint comes that sees one server at a time, in turns of this length: at least one server, in this order. Returns the
    /// keys of all its peers; the endpoint is known by the first.
    pub(crate) fn join_in_turns(
        &mut self,
        new: &NewPeer,
        seats: Vec<NewSeat>,
        turn: Duration,
        now: Instant,
    ) -> Vec<PeerId> {
        let rotation = Rotation::new(seats.iter().map(|seat| seat.pin), turn, now);
        let told = vec![None; seats.len()];
        let mut take_seat = |NewSeat { server, name, sight, .. }| {
            let peer = self.hub.join(NewPeer { sight: Some(sight), ..new.clone() });
            Seat { name, server: Some(server), peer }
        };
        let seats: Vec<Seat> = seats.into_iter().map(&mut take_seat).collect();
        let peers: Vec<PeerId> = seats.iter().map(|seat| seat.peer).collect();
        if let Some(first) = peers.first() {
            let draining = self.hub.is_draining();
            self.rotas.insert(*first, Rota { seats, rotation, link: TurnLink::Down, draining, begun: false, told });
        }
        peers
    }

    /// The peer that now stands for an endpoint.
    fn peer(&self, of: PeerId) -> PeerId {
        self.rotas.get(of).map_or(of, |rota| rota.current().peer)
    }

    /// All peers that stand for an endpoint at some time.
    fn peers(&self, of: PeerId) -> Vec<PeerId> {
        self.rotas.get(of).map_or_else(|| vec![of], |rota| rota.seats.iter().map(|seat| seat.peer).collect())
    }

    /// How many requests of the present turn have no answer yet.
    fn owed(&self, rota: &Rota) -> usize {
        self.hub.owed_to(rota.current().peer)
    }

    /// Something about a server has changed: `change` is told the rotations that it is in, with its place there.
    fn each_rota_of(
        &mut self,
        server: ServerIndex,
        now: Instant,
        out: &mut dyn Out,
        mut change: impl FnMut(&mut Rota, usize),
    ) {
        for (of, rota) in &mut self.rotas {
            if let Some(seat) = rota.seat(server) {
                change(rota, seat);
                rota.follow(of, now, out);
            }
        }
    }

    /// A server has said something: perhaps, for the first time, something that shows the server is loaded.
    fn note_serving(&mut self, server: ServerIndex, now: Instant, out: &mut dyn Out) {
        let Turns { hub, rotas } = self;
        for (of, rota) in rotas {
            if let Some(seat) = rota.seat(server)
                && !rota.rotation.is_warm(seat)
                && hub.is_serving(server)
            {
                rota.rotation.warm(seat);
                rota.follow(of, now, out);
            }
        }
    }

    /// Refuses a request because the turn is over; returns whether the frame needs no more attention. `alone`: the frame is
    /// no part of a batch.
    fn refuse(&mut self, of: PeerId, frame: &[u8], alone: bool, now: Instant, out: &mut dyn Out) -> bool {
        let Some(rota) = self.rotas.get(of) else { return false };
        let Seat { name, peer, .. } = rota.current();
        match envelope::scan(frame) {
            Ok(Scanned::One(e)) => {
                let (Kind::Request, Some(id), Some(method)) = (e.kind(frame), e.id.clone(), e.method.clone()) else {
                    return false;
                };
                // The router answers both at once, and an endpoint that gets no answer to these may give us up. In a batch
                // `initialize` is refused: answers to a whole batch of handshakes would need room (and MCP 2025-03-26
                // forbids them in batches).
                if &frame[method.clone()] == b"ping" || alone && &frame[method.clone()] == b"initialize" {
                    return false;
                }
                let message = format!(
                    "the turn of server \"{name}\" is over; the connection is about to be made anew for the next one"
                );
                out.to_peer(*peer, &[&reply::error(&frame[id], UNAVAILABLE, message)]);
                let method = &frame[method];
                if CallMethod::of(method).is_some() {
                    let call = CountedCall {
                        method,
                        tool: b"",
                        outcome: Outcome::Refused,
                        trace: trace::of_message(frame, &e),
                    };
                    out.note(Note::of_peer(*peer, What::Unserved(call)));
                }
                true
            }
            Ok(Scanned::Batch(members)) if !members.is_empty() => {
                let peer = *peer;
                for m in members {
                    if !self.refuse(of, &frame[m.clone()], false, now, out) {
                        self.hub.on_peer(peer, &frame[m], now, out);
                    }
                }
                true
            }
            Ok(Scanned::Batch(_)) | Err(_) => false,
        }
    }

    /// Removes a server for good (see [`Hub::remove_server`]). It has no turn any more.
    pub(crate) fn remove_server(&mut self, server: ServerIndex, now: Instant, out: &mut dyn Out) {
        self.hub.remove_server(server, now, out);
        self.each_rota_of(server, now, out, |rota, seat| {
            rota.rotation.barred(seat, Some(Bar::Stopped), now);
            rota.seats[seat].server = None;
        });
    }

    /// An endpoint's connection is about to be closed for good (see [`Hub::drain_peer`]).
    pub(crate) fn drain_peer(&mut self, of: PeerId, out: &mut dyn Out) {
        if let Some(rota) = self.rotas.get_mut(of) {
            rota.draining = true;
        }
        self.peers(of).into_iter().for_each(|peer| self.hub.drain_peer(peer, out));
    }

    /// Requests of an endpoint that have no answer yet.
    pub(crate) fn owed_to(&self, of: PeerId) -> usize {
        self.hub.owed_to(self.peer(of))
    }
}

impl Router for Turns {
    fn join(&mut self, peer: NewPeer) -> PeerId {
        self.hub.join(peer)
    }

    /// What only this endpoint has seen goes with it.
    fn leave(&mut self, of: PeerId, now: Instant, out: &mut dyn Out) {
        let peers = self.peers(of);
        self.rotas.remove(of);
        for peer in peers {
            let sight = self.hub.sight(peer);
            self.hub.leave(peer, now, out);
            if let Some(Sight::Merged(view)) = sight {
                self.hub.remove_view(view);
            }
        }
    }

    fn on_link_up(&mut self, of: PeerId, now: Instant, out: &mut dyn Out) {
        self.hub.on_link_up(self.peer(of), now, out);
        if let Some(rota) = self.rotas.get_mut(of) {
            rota.link = TurnLink::Up { heard: Some(now), phase: TurnPhase::Serving };
            rota.rotation.connected(now);
            if !rota.begun {
                // The first of all: of the others it was told when the one before ended.
                rota.begins(of, out);
            }
            rota.follow(of, now, out);
        }
    }

    fn on_link_down(&mut self, of: PeerId, now: Instant, out: &mut dyn Out) {
        self.hub.on_link_down(self.peer(of), now, out);
        if let Some(rota) = self.rotas.get_mut(of) {
            rota.link = TurnLink::Down;
            rota.follow(of, now, out);
        }
    }

    fn on_peer(&mut self, of: PeerId, frame: &[u8], now: Instant, out: &mut dyn Out) {
        let Some(rota) = self.rotas.get_mut(of) else { return self.hub.on_peer(of, frame, now, out) };
        if rota.heard(now) && self.refuse(of, frame, true, now, out) {
            return;
        }
        self.hub.on_peer(self.peer(of), frame, now, out);
    }

    fn on_room(&mut self, of: PeerId, now: Instant, out: &mut dyn Out) {
        self.hub.on_room(self.peer(of), now, out);
    }

    fn on_peer_too_large(&mut self, of: PeerId, cut: Cut<'_>, now: Instant, out: &mut dyn Out) {
        self.rotas.get_mut(of).map(|rota| rota.heard(now));
        self.hub.on_peer_too_large(self.peer(of), cut, now, out);
    }

    fn on_peer_not_text(&mut self, of: PeerId, frame: &[u8], now: Instant, out: &mut dyn Out) {
        self.rotas.get_mut(of).map(|rota| rota.heard(now));
        self.hub.on_peer_not_text(self.peer(of), frame, now, out);
    }

    fn on_server_up(&mut self, server: ServerIndex, now: Instant, out: &mut dyn Out) {
        self.hub.on_server_up(server, now, out);
        for (of, rota) in &mut self.rotas {
            rota.tell_seats(of, out);
        }
    }

    fn on_server_down(&mut self, server: ServerIndex, gone: Gone<'_>, now: Instant, out: &mut dyn Out) {
        self.hub.on_server_down(server, gone, now, out);
        self.each_rota_of(server, now, out, |rota, seat| rota.rotation.away(seat, gone.retry_in, now));
    }

    fn on_server_busy(&mut self, server: ServerIndex, busy: bool, now: Instant, out: &mut dyn Out) {
        self.hub.on_server_busy(server, busy, now, out);
    }

    fn on_server_barred(&mut self, server: ServerIndex, bar: Option<Bar>, now: Instant, out: &mut dyn Out) {
        self.hub.on_server_barred(server, bar, now, out);
        self.each_rota_of(server, now, out, |rota, seat| rota.rotation.barred(seat, bar, now));
    }

    fn on_server(&mut self, server: ServerIndex, frame: &[u8], e: &Envelope, now: Instant, out: &mut dyn Out) {
        self.hub.on_server(server, frame, e, now, out);
        self.note_serving(server, now, out);
    }

    fn on_server_caused(
        &mut self,
        server: ServerIndex,
        cause: u64,
        message: (&[u8], &Envelope),
        now: Instant,
        out: &mut dyn Out,
    ) {
        self.hub.on_server_caused(server, cause, message, now, out);
        self.note_serving(server, now, out);
    }

    fn on_server_modern(&mut self, server: ServerIndex) {
        self.hub.on_server_modern(server);
    }

    fn on_server_noise(&mut self, server: ServerIndex, text: &[u8], now: Instant, out: &mut dyn Out) {
        self.hub.on_server_noise(server, text, now, out);
    }

    fn on_server_nameless(&mut self, server: ServerIndex, error: &[u8], now: Instant, out: &mut dyn Out) {
        self.hub.on_server_nameless(server, error, now, out);
        self.note_serving(server, now, out);
    }

    fn on_server_lost(&mut self, server: ServerIndex, lost: Lost<'_>, text: &[u8], now: Instant, out: &mut dyn Out) {
        self.hub.on_server_lost(server, lost, text, now, out);
        self.note_serving(server, now, out);
    }

    fn on_server_unanswered(&mut self, server: ServerIndex, id: &[u8], why: &str, now: Instant, out: &mut dyn Out) {
        self.hub.on_server_unanswered(server, id, why, now, out);
        self.note_serving(server, now, out);
    }

    fn on_server_renewed(&mut self, server: ServerIndex, now: Instant, out: &mut dyn Out) {
        self.hub.on_server_renewed(server, now, out);
    }

    fn on_server_too_large(&mut self, server: ServerIndex, cut: Cut<'_>, now: Instant, out: &mut dyn Out) {
        self.hub.on_server_too_large(server, cut, now, out);
    }

    fn on_tick(&mut self, now: Instant, out: &mut dyn Out) {
        if self.hub.next_tick().is_some_and(|at| at <= now) {
            self.hub.on_tick(now, out);
        }
        for (of, rota) in &mut self.rotas {
            rota.tick(now);
            rota.follow(of, now, out);
        }
    }

    fn on_beat(&mut self, of: PeerId, now: Instant, out: &mut dyn Out) {
        for peer in self.peers(of) {
            self.hub.on_beat(peer, now, out);
        }
    }

    fn next_tick(&self) -> Option<Instant> {
        let hub = self.hub.next_tick();
        if self.rotas.is_empty() {
            return hub;
        }
        let turns = self.rotas.values().filter_map(|rota| rota.next_tick(|| self.owed(rota))).min();
        earliest([hub, turns])
    }

    fn on_turn_command(
        &mut self,
        of: PeerId,
        command: TurnCommand,
        now: Instant,
        out: &mut dyn Out,
    ) -> Result<String, String> {
        let Some(rota) = self.rotas.get_mut(of) else { return Err("its servers take no turns".into()) };
        let (seat, done) = rota.command(command, now);
        let (Ok(what) | Err(what)) = done;
        // That a turn ends is noted below, with what follows.
        if command != TurnCommand::Next || done.is_err() {
            rota.note(of, seat, what, out);
        }
        rota.follow(of, now, out);
        let told = format!("{}: {what}", rota.seats[seat].name);
        if done.is_ok() { Ok(told) } else { Err(told) }
    }

    fn drain(&mut self, now: Instant, out: &mut dyn Out) {
        self.rotas.values_mut().for_each(|rota| rota.draining = true);
        self.hub.drain(now, out);
    }

    fn part(&mut self, of: PeerId, out: &mut dyn Out) {
        self.peers(of).into_iter().for_each(|peer| self.hub.part(peer, out));
    }

    fn tell_cut(&self, now: Instant, out: &mut dyn Out) {
        self.hub.tell_cut(now, out);
    }

    fn in_flight(&self) -> usize {
        self.hub.in_flight()
    }

    fn start(&self, server: ServerIndex) -> super::Start {
        self.hub.start(server)
    }

    fn is_next(&self, of: PeerId, server: ServerIndex) -> bool {
        self.rotas.get(of).is_none_or(|rota| rota.current().server == Some(server))
    }

    fn is_serving(&self, server: ServerIndex) -> bool {
        self.hub.is_serving(server)
    }

    fn is_handshaken(&self, of: PeerId) -> bool {
        self.hub.is_handshaken(self.peer(of))
    }

    fn wants_reconnect(&self, of: PeerId, now: Instant) -> Option<Reconnect> {
        match self.rotas.get(of).and_then(|rota| rota.is_time(|| self.owed(rota), now)) {
            Some(is_time) => is_time.then_some(Reconnect::Turn),
            None => self.hub.wants_reconnect(self.peer(of), now),
        }
    }

    fn account(&self, of: PeerId, now: Instant) -> Account {
        Account { served: self.served(of), ..self.hub.account(self.peer(of), now) }
    }

    fn turns(&mut self) -> Option<&mut Turns> {
        Some(self)
    }

    fn served(&self, of: PeerId) -> u64 {
        match self.rotas.get(of) {
            Some(rota) => rota.seats.iter().map(|seat| self.hub.served(seat.peer)).sum(),
            None => self.hub.served(of),
        }
    }
}

#[cfg(test)]
mod tests;
