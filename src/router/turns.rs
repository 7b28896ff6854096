//! Several servers on one connection, one at a time, in turns.
//!
//! # Theory of operation
//!
//! Each server has a router of its own, made for it alone. What happens to a server goes to that server's router; what the
//! endpoint and the link do goes to the router of the server whose turn it is. The other routers take their link for down,
//! and what they send to the endpoint goes nowhere; so they initialize their servers, and that is all.
//!
//! When a turn is over (`rotation` says when), the connection is closed and made anew, because an endpoint reads the lists
//! only then; the new connection goes to the next server's router. The close waits for a quiet moment: nothing is under way,
//! and the endpoint has said nothing for an instant, so that no request crosses our close frame. New requests are refused
//! after a grace, so that such a moment comes. A request that is under way is waited for until the cloud has given up on it:
//! a server that never answers must not keep the turn from all others.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::lane::ABANDONED;
use super::rotation::{Rotation, Verdict};
use super::{
    About, Account, Bar, Gone, NewPeer, Note, Out, PeerId, Reconnect, Router, ServerIndex, Start, TurnCommand, What,
};
use crate::catalogue::Memory;
use crate::frame::Cut;
use crate::mcp::envelope::{self, Envelope, Kind, Lost, Scanned};
use crate::mcp::reply::{self, UNAVAILABLE};

/// Longest time that a quiet moment is waited for while new requests are still taken. A talk with an assistant has pauses,
/// and a refused request costs its user more than a late turn.
const GRACE: Duration = Duration::from_secs(10);

/// Shortest time that the endpoint has to be silent: the way there and back, so that the endpoint has seen our last answer
/// and has had time to react.
const QUIET: Duration = Duration::from_millis(250);

/// Longest time that an endpoint is waited for which goes on asking although everything is refused.
const INSISTING: Duration = Duration::from_secs(5);

/// See the module's documentation. `R` is the router of one server, which it calls 0.
#[derive(Debug)]
pub(crate) struct Turns<R> {
    seats: Vec<Seat<R>>,
    rotation: Rotation,
    link: TurnLink,
    draining: bool,
    /// What was last said of each seat: whether it has its turn, and whether it is pinned.
    told: Vec<Option<(bool, bool)>>,
}

/// A server of a [`Turns`].
#[derive(Debug)]
pub(crate) struct Seat<R> {
    /// The server's name, for the endpoint and the log.
    pub name: Arc<str>,
    /// The server's rules.
    pub router: R,
    /// Whether the server keeps its turn.
    pub pin: bool,
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

/// Where the decisions of one server's router go.
struct Door<'a> {
    out: &'a mut dyn Out,
    server: ServerIndex,
    /// It is this server's turn: the endpoint gets what the router sends.
    open: bool,
}

impl<R: Router> Turns<R> {
    /// Turns of this length, in this order. Nothing is connected, nothing runs.
    ///
    /// There must be at least one server.
    pub(crate) fn new(seats: Vec<Seat<R>>, turn: Duration, now: Instant) -> Self {
        let rotation = Rotation::new(seats.iter().map(|s| s.pin), turn, now);
        let told = vec![None; seats.len()];
        Turns { seats, rotation, link: TurnLink::Down, draining: false, told }
    }

    /// Says of each server how it stands, where that has changed.
    fn tell_seats(&mut self, out: &mut dyn Out) {
        for (server, told) in self.told.iter_mut().enumerate() {
            let (current, pinned) = (server == self.rotation.current(), self.rotation.is_pinned(server));
            if told.replace((current, pinned)) != Some((current, pinned)) {
                out.note(Note::of(server, What::Seated { current, pinned }));
            }
        }
    }

    /// A server's router, and where its decisions go.
    fn at<'o>(&mut self, server: ServerIndex, out: &'o mut dyn Out) -> (&mut R, Door<'o>) {
        let open = server == self.rotation.current();
        (&mut self.seats[server].router, Door { out, server, open })
    }

    /// The router whose turn it is, and where its decisions go.
    fn current<'o>(&mut self, out: &'o mut dyn Out) -> (&mut R, Door<'o>) {
        self.at(self.rotation.current(), out)
    }

    /// Brings the present turn in line with the rotation, after something has changed.
    fn follow_rotation(&mut self, now: Instant, out: &mut dyn Out) {
        if self.draining {
            return;
        }
        let (server, verdict) = (self.rotation.current(), self.rotation.verdict(now));
        match (&mut self.link, verdict) {
            (TurnLink::Down, Verdict::Stays) => {}
            (TurnLink::Down, Verdict::Over | Verdict::Cut) => {
                self.rotation.advance();
                out.note(Note::of(self.rotation.current(), What::Turn { what: "its turn begins".into() }));
            }
            (TurnLink::Up { phase: phase @ (TurnPhase::Ending { .. } | TurnPhase::Over), .. }, Verdict::Stays) => {
                *phase = TurnPhase::Serving;
                out.note(Note::of(server, What::Turn { what: "its turn goes on".into() }));
            }
            (TurnLink::Up { phase: phase @ TurnPhase::Serving, .. }, Verdict::Over | Verdict::Cut) => {
                let grace = if verdict == Verdict::Cut { Duration::ZERO } else { GRACE };
                *phase = TurnPhase::Ending { refuse_from: now + grace };
                if let Some(next) = self.rotation.next() {
                    let next = &self.seats[next].name;
                    let what = format!("its turn is over; {next} is next, as soon as nothing is under way");
                    out.note(Note::of(server, What::Turn { what }));
                }
            }
            (TurnLink::Up { phase: TurnPhase::Ending { refuse_from }, .. }, Verdict::Cut) => {
                *refuse_from = now.min(*refuse_from);
            }
            (TurnLink::Up { phase: TurnPhase::Over, .. }, Verdict::Over | Verdict::Cut)
            | (TurnLink::Up { phase: TurnPhase::Ending { .. }, .. }, Verdict::Over)
            | (TurnLink::Up { phase: TurnPhase::Serving, .. }, Verdict::Stays) => {}
        }
        self.tell_seats(out);
    }

    /// Refuses a request because the turn is over; returns whether the frame needs no more attention. `alone`: the frame is
    /// no part of a batch.
    fn refuse(&mut self, peer: PeerId, frame: &[u8], alone: bool, now: Instant, out: &mut dyn Out) -> bool {
        match envelope::scan(frame) {
            Ok(Scanned::One(e)) => {
                let (Kind::Request, Some(id), Some(method)) = (e.kind(frame), e.id.clone(), e.method) else {
                    return false;
                };
                // The router answers both at once, and an endpoint that gets no answer to these may give us up. In a batch
                // `initialize` is refused: answers to a whole batch of handshakes would need room (and MCP 2025-03-26
                // forbids them in batches).
                if &frame[method.clone()] == b"ping" || alone && &frame[method] == b"initialize" {
                    return false;
                }
                let name = &self.seats[self.rotation.current()].name;
                let message = format!(
                    "the turn of server \"{name}\" is over; the connection is about to be made anew for the next one"
                );
                out.to_peer(peer, &[&reply::error(&frame[id], UNAVAILABLE, message)]);
                true
            }
            Ok(Scanned::Batch(members)) if !members.is_empty() => {
                for m in members {
                    if !self.refuse(peer, &frame[m.clone()], false, now, out) {
                        let (router, mut door) = self.current(out);
                        router.on_peer(peer, &frame[m], now, &mut door);
                    }
                }
                true
            }
            Ok(Scanned::Batch(_)) | Err(_) => false,
        }
    }
}

impl<R: Router> Turns<R> {
    /// A server has said something: perhaps, for the first time, something that shows the server is loaded.
    fn note_serving(&mut self, server: ServerIndex, now: Instant, out: &mut dyn Out) {
        if !self.rotation.is_warm(server) && self.seats[server].router.is_serving(0) {
            self.rotation.warm(server);
            self.follow_rotation(now, out);
        }
    }
}

impl<R: Router> Router for Turns<R> {
    fn join(&mut self, peer: NewPeer) -> PeerId {
        let keys: Vec<_> = self.seats.iter_mut().map(|seat| seat.router.join(peer.clone())).collect();
        debug_assert!(keys.windows(2).all(|keys| keys[0] == keys[1]), "peers come to all seats and leave all of them");
        keys.first().copied().unwrap_or_default()
    }

    fn leave(&mut self, peer: PeerId, now: Instant, out: &mut dyn Out) {
        for server in 0..self.seats.len() {
            let (router, mut door) = self.at(server, out);
            router.leave(peer, now, &mut door);
        }
    }

    fn on_link_up(&mut self, peer: PeerId, now: Instant, out: &mut dyn Out) {
        self.link = TurnLink::Up { heard: Some(now), phase: TurnPhase::Serving };
        self.rotation.connected(now);
        let (router, mut door) = self.current(out);
        router.on_link_up(peer, now, &mut door);
        self.follow_rotation(now, out);
    }

    fn on_link_down(&mut self, peer: PeerId, now: Instant, out: &mut dyn Out) {
        self.link = TurnLink::Down;
        let (router, mut door) = self.current(out);
        router.on_link_down(peer, now, &mut door);
        self.follow_rotation(now, out);
    }

    fn on_peer(&mut self, peer: PeerId, frame: &[u8], now: Instant, out: &mut dyn Out) {
        if let TurnLink::Up { heard, phase } = &mut self.link {
            *heard = Some(now);
            let is_over = match *phase {
                TurnPhase::Serving => false,
                TurnPhase::Ending { refuse_from } => refuse_from <= now,
                TurnPhase::Over => true,
            };
            if is_over && self.refuse(peer, frame, true, now, out) {
                return;
            }
        }
        let (router, mut door) = self.current(out);
        router.on_peer(peer, frame, now, &mut door);
    }

    fn on_room(&mut self, peer: PeerId, now: Instant, out: &mut dyn Out) {
        let (router, mut door) = self.current(out);
        router.on_room(peer, now, &mut door);
    }

    fn on_peer_too_large(&mut self, peer: PeerId, cut: Cut<'_>, now: Instant, out: &mut dyn Out) {
        if let TurnLink::Up { heard, .. } = &mut self.link {
            *heard = Some(now);
        }
        let (router, mut door) = self.current(out);
        router.on_peer_too_large(peer, cut, now, &mut door);
    }

    fn on_peer_not_text(&mut self, peer: PeerId, frame: &[u8], now: Instant, out: &mut dyn Out) {
        if let TurnLink::Up { heard, .. } = &mut self.link {
            *heard = Some(now);
        }
        let (router, mut door) = self.current(out);
        router.on_peer_not_text(peer, frame, now, &mut door);
    }

    fn on_server_up(&mut self, server: ServerIndex, now: Instant, out: &mut dyn Out) {
        let (router, mut door) = self.at(server, out);
        router.on_server_up(0, now, &mut door);
        self.tell_seats(out);
    }

    fn on_server_down(&mut self, server: ServerIndex, gone: Gone<'_>, now: Instant, out: &mut dyn Out) {
        let (router, mut door) = self.at(server, out);
        router.on_server_down(0, gone, now, &mut door);
        self.rotation.away(server, gone.retry_in, now);
        self.follow_rotation(now, out);
    }

    fn on_server_busy(&mut self, server: ServerIndex, busy: bool, now: Instant, out: &mut dyn Out) {
        let (router, mut door) = self.at(server, out);
        router.on_server_busy(0, busy, now, &mut door);
    }

    fn on_server_barred(&mut self, server: ServerIndex, bar: Option<Bar>, now: Instant, out: &mut dyn Out) {
        let (router, mut door) = self.at(server, out);
        router.on_server_barred(0, bar, now, &mut door);
        self.rotation.barred(server, bar, now);
        self.follow_rotation(now, out);
    }

    fn on_server(&mut self, server: ServerIndex, frame: &[u8], e: &Envelope, now: Instant, out: &mut dyn Out) {
        let (router, mut door) = self.at(server, out);
        router.on_server(0, frame, e, now, &mut door);
        self.note_serving(server, now, out);
    }

    fn on_server_noise(&mut self, server: ServerIndex, text: &[u8], now: Instant, out: &mut dyn Out) {
        let (router, mut door) = self.at(server, out);
        router.on_server_noise(0, text, now, &mut door);
    }

    fn on_server_lost(&mut self, server: ServerIndex, lost: Lost<'_>, text: &[u8], now: Instant, out: &mut dyn Out) {
        let (router, mut door) = self.at(server, out);
        router.on_server_lost(0, lost, text, now, &mut door);
        self.note_serving(server, now, out);
    }

    fn on_server_too_large(&mut self, server: ServerIndex, cut: Cut<'_>, now: Instant, out: &mut dyn Out) {
        let (router, mut door) = self.at(server, out);
        router.on_server_too_large(0, cut, now, &mut door);
    }

    fn on_tick(&mut self, now: Instant, out: &mut dyn Out) {
        for server in 0..self.seats.len() {
            let (router, mut door) = self.at(server, out);
            if router.next_tick().is_some_and(|at| at <= now) {
                router.on_tick(now, &mut door);
            }
        }
        if let TurnLink::Up { heard, phase } = &mut self.link {
            heard.take_if(|at| *at + QUIET <= now);
            if let TurnPhase::Ending { refuse_from } = *phase
                && refuse_from + ABANDONED <= now
            {
                *phase = TurnPhase::Over;
            }
        }
        self.follow_rotation(now, out);
    }

    fn on_beat(&mut self, peer: PeerId, now: Instant, out: &mut dyn Out) {
        for server in 0..self.seats.len() {
            let (router, mut door) = self.at(server, out);
            router.on_beat(peer, now, &mut door);
        }
    }

    fn next_tick(&self) -> Option<Instant> {
        let own = match &self.link {
            _ if self.draining => None,
            TurnLink::Down | TurnLink::Up { phase: TurnPhase::Serving, .. } => self.rotation.deadline(),
            TurnLink::Up { heard, phase: TurnPhase::Ending { .. } } if self.in_flight() == 0 => {
                heard.map(|at| at + QUIET)
            }
            // The last answer is an event of its own, if it comes. A request without an answer by then is at least that old.
            TurnLink::Up { phase: TurnPhase::Ending { refuse_from }, .. } => Some(*refuse_from + ABANDONED),
            TurnLink::Up { phase: TurnPhase::Over, .. } => None,
        };
        self.seats.iter().filter_map(|s| s.router.next_tick()).chain(own).min()
    }

    fn on_turn_command(&mut self, command: TurnCommand, now: Instant, out: &mut dyn Out) -> Result<String, String> {
        let server = self.rotation.current();
        let (about, done) = match command {
            TurnCommand::Next if self.rotation.skip() && self.rotation.is_pinned(server) => (
                server,
                Ok("its turn ends as soon as nothing is under way; it stays pinned, so that the next one won't end"),
            ),
            TurnCommand::Next if self.rotation.skip() => (server, Ok("its turn ends as soon as nothing is under way")),
            TurnCommand::Next => (server, Err("its turn goes on: no other server is ready")),
            TurnCommand::Keep if self.rotation.toggle_pin(now) => (server, Ok("is kept: its turn does not end")),
            TurnCommand::Keep => (server, Ok("is no longer kept: the turns go on")),
            TurnCommand::Pin(wanted) => (wanted, self.rotation.pin(wanted, now)),
            TurnCommand::Unpin(wanted) => {
                self.rotation.unpin(wanted);
                (wanted, Ok("is not kept: the turns go on"))
            }
        };
        let (Ok(what) | Err(what)) = done;
        // That a turn ends is noted below, with what follows.
        if command != TurnCommand::Next || done.is_err() {
            out.note(Note::of(about, What::Turn { what: what.into() }));
        }
        self.follow_rotation(now, out);
        let told = format!("{}: {what}", self.seats[about].name);
        if done.is_ok() { Ok(told) } else { Err(told) }
    }

    fn drain(&mut self, now: Instant, out: &mut dyn Out) {
        self.draining = true;
        for server in 0..self.seats.len() {
            let (router, mut door) = self.at(server, out);
            router.drain(now, &mut door);
        }
    }

    fn in_flight(&self) -> usize {
        self.seats[self.rotation.current()].router.in_flight()
    }

    /// Only the start of the server whose turn it is matters. If that takes long, the turn soon is another server's.
    fn start(&self, server: ServerIndex) -> Start {
        if server == self.rotation.current() { self.seats[server].router.start(0) } else { Start::Absent }
    }

    fn is_serving(&self, server: ServerIndex) -> bool {
        self.seats[server].router.is_serving(0)
    }

    fn is_handshaken(&self, peer: PeerId) -> bool {
        self.seats[self.rotation.current()].router.is_handshaken(peer)
    }

    fn wants_reconnect(&self, peer: PeerId, now: Instant) -> Option<Reconnect> {
        let is_time = match self.link {
            TurnLink::Down | TurnLink::Up { phase: TurnPhase::Serving, .. } => {
                return self.seats[self.rotation.current()].router.wants_reconnect(peer, now);
            }
            TurnLink::Up { heard, phase: TurnPhase::Ending { refuse_from } } => {
                (heard.is_none() || now >= refuse_from + INSISTING) && self.in_flight() == 0
            }
            TurnLink::Up { phase: TurnPhase::Over, .. } => true,
        };
        (is_time && !self.draining).then_some(Reconnect::Turn)
    }

    fn account(&self, peer: PeerId, now: Instant) -> Account {
        Account { served: self.served(peer), ..self.seats[self.rotation.current()].router.account(peer, now) }
    }

    fn served(&self, peer: PeerId) -> u64 {
        self.seats.iter().map(|s| s.router.served(peer)).sum()
    }
}

impl Out for Door<'_> {
    fn has_room(&self, peer: PeerId) -> bool {
        self.out.has_room(peer)
    }

    fn is_read_by(&self, _server: ServerIndex) -> bool {
        self.out.is_read_by(self.server)
    }

    fn to_peer(&mut self, peer: PeerId, pieces: &[&[u8]]) {
        if self.open {
            self.out.to_peer(peer, pieces);
        }
    }

    fn to_server(&mut self, _server: ServerIndex, pieces: &[&[u8]]) {
        self.out.to_server(self.server, pieces);
    }

    fn remember(&mut self, _server: ServerIndex, memory: &Memory) {
        self.out.remember(self.server, memory);
    }

    fn remember_hello(&mut self, peer: PeerId, params: &str) {
        self.out.remember_hello(peer, params);
    }

    fn restart(&mut self, _server: ServerIndex, why: &'static str) {
        self.out.restart(self.server, why);
    }

    fn note(&mut self, mut note: Note<'_>) {
        // The router knows one server and calls it the first; outside, the server has its own place.
        if note.server().is_some() {
            note.about = About::Server(self.server);
        }
        if let What::ToolsRead { count, .. } = &mut note.what {
            *count = None; // these are the tools of one server, and several take turns
        }
        self.out.note(note);
    }
}

#[cfg(test)]
mod tests;
