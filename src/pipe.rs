//! One pipe: a link, a router and its servers, in one loop, for ever.
//!
//! # Theory of operation
//!
//! A pipe is one future on one task. When woken, the pipe looks at what woke it, in turn: the link's messages go through the
//! router into the servers' stdin buffers, the servers' lines through the router into the link's buffer, and what is in the
//! buffers is written out. Everything that is there is handled before anything is written, so a burst costs one write, and a
//! single message is passed on in the poll that read it. Link and servers have a waker each ([`crate::wakers`]), so idle
//! servers cost nothing. A side is also looked at when what kept it from being read is gone, and where this module itself
//! has changed its state.
//!
//! Each side is read only while the other side's buffer is below a high-water mark: a slow side slows the other down, and
//! nothing grows. Our own answers are no different: a side that sends on without taking its answers is not read either once
//! more is owed to it than the other side alone could have caused. The buffers are looked at after each message, not after
//! each read: one read holds a thousand requests, and each may be answered by a list. The rest of the read waits where it
//! is. Reading never waits inside a write, so no ring of full buffers can close: whatever can be written is written at every
//! look, and a look that made room reads again.
//!
//! Servers that share a link don't wait for each other: the link is read whatever one of them does, and the router is told
//! which servers have too much waiting to be given more.
//!
//! The endpoint is dialled once each server has answered `initialize`, is known to be gone, or has used up its own start
//! timeout, and at least one server is there. From then on link and servers live and die independently; the router hides the
//! deaths of each from the other.

mod diagnosis;
pub(crate) mod orders;
mod sides;
mod timer;

use std::future::poll_fn;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use self::orders::PipeOrders;
use self::sides::{Buffers, HIGH, STUCK, Side, Sides};
use self::timer::Timer;
use crate::catalogue::Catalogue;
use crate::config::{LinkSpec, ServerSpec};
use crate::control::status::{ServerState, StatusEntry};
use crate::endpoint::Endpoint;
use crate::endpoint::agent::Agent;
use crate::link::cause::Cause;
use crate::link::{Link, LinkEvent};
use crate::logging::{Names, RETRIES};
use crate::mcp::handshake::Hello;
use crate::net::websocket::Outgoing;
use crate::process::guard::Guard;
use crate::process::stop::Stop;
use crate::router::{Gone, NewPeer, PeerId, Router, ServerIndex, Start, TurnCommand, earliest};
use crate::secrecy::Redactor;
use crate::server::{Found, Server, ServerEvent};
use crate::sharing::{Close, Witness};
use crate::wakers::{Bits, Wakers};
use crate::words::span;

/// Most looks in a row before other pipes have their turn.
const LOOKS: usize = 8;

/// The wakers that come after those of the servers, counted from the first of them.
const LINK: usize = 0;
const STOP: usize = 1;
const TIMER: usize = 2;
const ORDERS: usize = 3;
const OTHERS: usize = 4;

/// Time between two reports of a start that takes long.
const PROGRESS: Duration = Duration::from_secs(10);

/// What a pipe gets of the run that it is part of.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// Ends what a killed mcp-pipe leaves behind.
    pub guard: Guard,
    /// Changes when the machine woke up or its clock jumped.
    pub wake: watch::Receiver<u64>,
    /// Ends the pipe.
    pub stop: Stop,
    /// How long requests under way may take to finish at a graceful stop.
    pub drain_timeout: Duration,
    /// Whether the log may hold the contents of messages.
    pub log_contents: bool,
    /// Most tokens that a list of tools may have before the log warns.
    pub tool_budget: usize,
    /// Where what servers say of themselves is kept for the next run.
    pub catalogue: Arc<Catalogue>,
    /// Knows what the log may not show, for texts that are cut on their way there.
    pub redactor: Redactor,
}

/// An endpoint of a pipe.
pub(crate) struct LinkPeer {
    pub endpoint: Endpoint,
    /// How the endpoint is dialled.
    pub link: Arc<LinkSpec>,
    /// What the endpoint will say of itself, if that is known.
    pub hello: Option<Arc<Hello>>,
    /// Whether an endpoint that does not read changed lists anew gets a new connection.
    pub resync: bool,
}

/// See the module's documentation.
pub(crate) struct Pipe {
    router: Box<dyn Router + Send>,
    link: Link,
    /// The endpoint behind the link, as the router knows it.
    peer: PeerId,
    servers: Vec<Server>,
    /// Messages for the endpoint, not yet written.
    endpoint: Outgoing,
    sides: Sides,
    wakers: Wakers,
    /// What is to be looked at: servers by their index, then the others.
    woken: Bits,
    /// Servers and link that were not read at the last look, for want of room.
    paused: Bits,
    /// The first server that was not read at the last look, for want of room.
    first: Option<ServerIndex>,
    phase: PipePhase,
    timer: Timer,
    stop: Stop,
    stopped: NextStop,
    drain_timeout: Duration,
    /// The router's count of served calls at the last look.
    served: u64,
    /// What a person says.
    orders: Option<PipeOrders>,
}

enum PipePhase {
    /// The servers load; the endpoint is not dialled yet.
    Starting {
        since: Instant,
        report: Instant,
    },
    Serving,
    /// No new requests; those under way go on, and their answers out, until the deadline.
    Draining {
        until: Instant,
    },
    /// Link and servers are ending.
    Closing,
}

/// The next step of [`Stop`], as something to poll.
type NextStop = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Pipe {
    /// A pipe for servers, each with the entry that shows its state, in the order by which `router` knows them.
    /// Nothing starts before [`Pipe::run`].
    pub(crate) fn new(
        servers: Vec<(Arc<ServerSpec>, StatusEntry)>,
        LinkPeer { endpoint, link, hello, resync }: LinkPeer,
        mut router: Box<dyn Router + Send>,
        run: Run,
    ) -> Self {
        let now = Instant::now();
        let specs = || servers.iter().map(|(spec, _)| &**spec);
        let max_frame = specs().map(|spec| spec.max_frame).max().unwrap_or_default();
        let names: Names = specs().map(|spec| spec.name.clone()).collect();
        let agent = Agent::of(&endpoint, &link.headers).key();
        let Run { guard, wake, stop, drain_timeout, redactor, .. } = run.clone();
        let (first, bits) = (stop.clone(), servers.len() + OTHERS);
        let (each, servers) = servers
            .into_iter()
            .map(|(spec, status)| {
                (Side::new(spec.clone(), status, now), Server::new(spec, guard.clone(), redactor.clone()))
            })
            .unzip();
        let peer = router.join(NewPeer { max_frame, hello, resync, view: None });
        Pipe {
            router,
            peer,
            link: Link::new(endpoint, link, max_frame, wake),
            servers,
            endpoint: Outgoing::default(),
            sides: Sides::new(names, agent, &run, each),
            wakers: Wakers::new(bits),
            woken: Bits::none(bits),
            paused: Bits::none(bits),
            first: None,
            phase: PipePhase::Starting { since: now, report: now + PROGRESS },
            timer: Timer::default(),
            stopped: Box::pin(async move { first.drain().cancelled().await }),
            stop,
            drain_timeout,
            served: 0,
            orders: None,
        }
    }

    /// The same pipe, doing what a person says.
    pub(crate) fn obeying(self, orders: PipeOrders) -> Self {
        Pipe { orders: Some(orders), ..self }
    }

    /// The same pipe, telling `witness` what becomes of the connection.
    pub(crate) fn watched_by(mut self, witness: Witness) -> Self {
        self.sides.witness = Some(witness);
        self
    }

    /// Runs until the pipe was stopped and everything has ended.
    pub(crate) async fn run(mut self) {
        poll_fn(|cx| self.poll(cx)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.wakers.attach(cx);
        for _ in 0..LOOKS {
            let now = Instant::now();
            self.wakers.take_all(&mut self.woken);
            if self.woken.remove(self.stop_bit()) {
                self.poll_stop(now);
            }
            self.obey(now);
            let (made_room, ended) = self.look(now);
            if ended {
                return Poll::Ready(());
            }
            // Each of these may have left something to read or to write that nothing else would wake us for.
            let advanced = self.advance(now);
            let timed = self.tick(now) | self.restart_servers();
            if !(made_room || advanced || timed) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// One look at all that was woken or has something to write. Returns whether a side that was not read has room again,
    /// and whether everything has ended.
    fn look(&mut self, now: Instant) -> (bool, bool) {
        let (count, link) = (self.servers.len(), self.link_bit());
        let closing = matches!(self.phase, PipePhase::Closing);
        if closing {
            // Closing is rare, and each part has to say that it has ended.
            (0..=link).for_each(|bit| self.woken.insert(bit));
        }
        if self.paused.contains(link) {
            self.router.on_room(self.peer, now, &mut Buffers { endpoint: &mut self.endpoint, sides: &mut self.sides });
        }
        for bit in self.paused.iter() {
            if self.has_room(bit) {
                self.woken.insert(bit);
            }
        }
        let mut ended = closing;
        let link_woken = self.woken.remove(link);
        if link_woken {
            ended &= self.look_at_link(now);
        }
        self.write_stdin();
        // The first server that got no room last time comes first now: the servers before it must not use up all room for
        // ever.
        let first = self.first.take().unwrap_or(0);
        for part in [first..count, 0..first] {
            let mut from = part.start;
            while let Some(index) = self.woken.next(from).filter(|index| part.contains(index)) {
                from = index + 1;
                self.woken.remove(index);
                ended &= self.look_at_server(index, closing, now);
            }
        }
        if !self.has_room(link) {
            // Also where nobody looked at the link: the router may have kept answers back.
            self.paused.insert(link);
        }
        if link_woken || !self.endpoint.pending().is_empty() {
            let cx = &mut Context::from_waker(self.wakers.waker(link));
            // A writer that is pending has registered to be woken.
            let _pending = self.link.poll_write(cx, &mut self.endpoint);
        }
        self.write_stdin();
        // Not before now: what one server wrote may have been for another.
        (self.paused.iter().any(|bit| self.has_room(bit)), ended)
    }

    /// Looks at the link; returns whether it has ended for good.
    fn look_at_link(&mut self, now: Instant) -> bool {
        let bit = self.link_bit();
        let room = self.has_room(bit);
        let Pipe { router, link, peer, endpoint, sides, wakers, phase, .. } = self;
        let ending = matches!(phase, PipePhase::Closing | PipePhase::Draining { .. });
        let cx = &mut Context::from_waker(wakers.waker(bit));
        let polled = link.poll(cx, now, room, endpoint, &mut |endpoint, event| {
            on_link((&mut **router, *peer), Buffers { endpoint, sides }, event, ending, now);
            if_room(sides.takes_from_endpoint(endpoint))
        });
        if let Some(said) = sides.stranger.take() {
            link.turn_away(endpoint, &said, now);
        }
        self.paused.set(bit, !(room && self.has_room(bit)));
        polled.is_ready()
    }

    /// Looks at a server; returns whether it has been stopped.
    fn look_at_server(&mut self, index: ServerIndex, closing: bool, now: Instant) -> bool {
        let Pipe { router, servers, endpoint, sides, wakers, .. } = self;
        let (server, cx) = (&mut servers[index], &mut Context::from_waker(wakers.waker(index)));
        if !sides.each[index].stdin.is_empty() {
            // The server's stdin may be what woke us.
            let _pending = server.poll_write(cx, &mut sides.each[index].stdin);
        }
        let room = sides.takes_from_server(endpoint, index);
        let polled = server.poll(cx, now, room, &mut |event| {
            // Of a server that is being stopped nobody wants to hear any more.
            if !closing {
                on_server(&mut **router, Buffers { endpoint, sides }, index, event, now);
            }
            if_room(sides.takes_from_server(endpoint, index))
        });
        let room = room && sides.takes_from_server(endpoint, index);
        if std::mem::take(&mut sides.each[index].proven) {
            server.healthy();
        }
        self.paused.set(index, !room);
        if !room {
            self.first.get_or_insert(index);
        }
        polled.is_ready()
    }

    /// Writes what waits for servers.
    fn write_stdin(&mut self) {
        while let Some(index) = self.sides.unwritten.next(0) {
            self.sides.unwritten.remove(index);
            let cx = &mut Context::from_waker(self.wakers.waker(index));
            // A writer that is pending has registered to be woken.
            let _pending = self.servers[index].poll_write(cx, &mut self.sides.each[index].stdin);
        }
    }

    /// Whether what comes from the link or a server has somewhere to go.
    fn has_room(&self, bit: usize) -> bool {
        if bit == self.link_bit() {
            self.sides.takes_from_endpoint(&self.endpoint)
        } else {
            self.sides.takes_from_server(&self.endpoint, bit)
        }
    }

    fn link_bit(&self) -> usize {
        self.servers.len() + LINK
    }

    fn stop_bit(&self) -> usize {
        self.servers.len() + STOP
    }

    fn timer_bit(&self) -> usize {
        self.servers.len() + TIMER
    }

    /// Does what follows from what the router has seen; returns whether anything did.
    fn advance(&mut self, now: Instant) -> bool {
        if self.router.served(self.peer) > self.served {
            self.served = self.router.served(self.peer);
            self.link.healthy();
        }
        if self.router.is_handshaken(self.peer) {
            self.link.handshaken();
        }
        // A link that is paused may have read messages that are yet to be answered.
        let all_written = self.endpoint.pending().is_empty() && !self.paused.contains(self.link_bit());
        match &mut self.phase {
            PipePhase::Starting { .. } => self.start(now),
            PipePhase::Draining { until } if now >= *until || all_written && self.router.in_flight() == 0 => {
                self.close(now);
                true
            }
            // An endpoint with a slow line may still be being sent something, which a close would cut off.
            PipePhase::Serving if all_written => match self.router.wants_reconnect(self.peer, now) {
                Some(reconnect) if self.link.hang_up(&mut self.endpoint, reconnect.why()) => {
                    self.woken.insert(self.link_bit());
                    true
                }
                Some(_) | None => false,
            },
            PipePhase::Serving | PipePhase::Draining { .. } | PipePhase::Closing => false,
        }
    }

    /// Replaces the processes that the router wants to be replaced; returns whether there were any.
    fn restart_servers(&mut self) -> bool {
        let restarts = std::mem::take(&mut self.sides.restarts);
        for (index, why) in &restarts {
            self.servers[*index].restart(why);
            self.woken.insert(*index);
        }
        !restarts.is_empty()
    }

    /// Dials the endpoint if there is nothing more to wait for; returns whether it did.
    fn start(&mut self, now: Instant) -> bool {
        let PipePhase::Starting { since, report } = &mut self.phase else { return false };
        let (waited, reports) = (span(now - *since), now >= *report);
        while *report <= now {
            *report += PROGRESS;
        }
        let (mut awaited, mut there) = (false, false);
        for (index, (server, side)) in self.servers.iter().zip(&mut self.sides.each).enumerate() {
            match self.router.start(index) {
                Start::Absent => {}
                Start::Settled => there = true,
                Start::Awaited if now < *since + side.spec.start_timeout => awaited = true,
                Start::Awaited if !server.is_up() => {}
                Start::Awaited => {
                    there = true;
                    if !std::mem::replace(&mut side.late, true) {
                        warn!(
                            event = "ERROR_START_TIMEOUT", server = %side.name,
                            "has not answered initialize for {waited}; its endpoint waits for it no longer. If it needs longer to start, raise startTimeout"
                        );
                    }
                }
            }
            if reports && server.is_up() && !side.serving && !side.late {
                info!(event = "SERVER_STARTING", server = %side.name, "still starting ({waited}); the endpoint is dialled once it answers");
            }
        }
        if awaited || !there {
            return false;
        }
        self.link.dial();
        self.woken.insert(self.link_bit());
        self.phase = PipePhase::Serving;
        true
    }

    /// When the next start of a server takes too long.
    fn next_start_timeout(&self, since: Instant, now: Instant) -> Option<Instant> {
        let timeouts = self.sides.each.iter().map(|side| since + side.spec.start_timeout);
        timeouts.filter(|at| *at > now).min()
    }

    fn poll_stop(&mut self, now: Instant) {
        // Polled again after each step, as the next step has to wake us too.
        let bit = self.stop_bit();
        while self.stopped.as_mut().poll(&mut Context::from_waker(self.wakers.waker(bit))).is_ready() {
            self.next_step(now);
        }
    }

    /// Takes the step of the stop that was asked for.
    fn next_step(&mut self, now: Instant) {
        if self.stop.now().is_cancelled() {
            self.stopped = Box::pin(std::future::pending());
            self.link.abort();
            self.servers.iter_mut().for_each(|s| s.stop(true));
            self.phase = PipePhase::Closing;
        } else {
            let second = self.stop.clone();
            self.stopped = Box::pin(async move { second.now().cancelled().await });
            self.router.drain(now, &mut Buffers { endpoint: &mut self.endpoint, sides: &mut self.sides });
            self.phase = PipePhase::Draining { until: now + self.drain_timeout };
        }
    }

    fn close(&mut self, now: Instant) {
        let gone = Gone {
            why: "is being stopped, mcp-pipe is shutting down or restarting its servers,",
            retry_in: Duration::ZERO,
        };
        for index in 0..self.servers.len() {
            let mut out = Buffers { endpoint: &mut self.endpoint, sides: &mut self.sides };
            self.router.on_server_down(index, gone, now, &mut out);
        }
        self.link.close(&mut self.endpoint);
        self.servers.iter_mut().for_each(|s| s.stop(false));
        self.phase = PipePhase::Closing;
    }

    /// Handles deadlines that have come, and has the next one wake the pipe.
    fn tick(&mut self, now: Instant) -> bool {
        let mut timed = false;
        let due = self.router.next_tick();
        if due.is_some_and(|at| at <= now) {
            self.router.on_tick(now, &mut Buffers { endpoint: &mut self.endpoint, sides: &mut self.sides });
            timed = true;
        }
        let own = match &self.phase {
            PipePhase::Starting { since, report } => {
                self.next_start_timeout(*since, now).into_iter().chain([*report]).min()
            }
            PipePhase::Draining { until } => Some(*until),
            PipePhase::Serving | PipePhase::Closing => None,
        };
        // A server that can't write need not read either: then the endpoint is what holds everything up.
        let its_fault = self.endpoint.pending().len() < HIGH;
        let watched = self.sides.watch(&mut *self.router, &mut self.endpoint, its_fault, now);
        timed |= watched.changed || !watched.stuck.is_empty();
        for index in watched.stuck {
            self.servers[index].end_faulty_process(format!("did not read its stdin for {}", span(STUCK)));
            self.woken.insert(index);
        }
        // It costs something with each message, so it is asked again only where the router was told something.
        let due = if timed { self.router.next_tick() } else { due };
        let next = earliest([own, due, watched.next]);
        let bit = self.timer_bit();
        timed | self.timer.poll(self.wakers.waker(bit), self.woken.remove(bit), next)
    }
}

/// Whether a link or a server may hand on its next message.
fn if_room(has_room: bool) -> ControlFlow<()> {
    if has_room { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

fn on_link(
    (router, peer): (&mut dyn Router, PeerId),
    mut out: Buffers<'_>,
    event: LinkEvent<'_>,
    ending: bool,
    now: Instant,
) {
    let names = &out.sides.names;
    match event {
        LinkEvent::Up(took) => {
            info!(event = "CONNECTION_OPENED", servers = ?names, "connected in {}", span(took));
            out.sides.connected();
            if let Some(witness) = &out.sides.witness {
                witness.opened(now);
            }
            router.on_link_up(peer, now, &mut out);
        }
        LinkEvent::Message(text) => {
            out.sides.trace("MESSAGE_RECEIVED", None, &[text.as_bytes()]);
            router.on_peer(peer, text.as_bytes(), now, &mut out);
            out.sides.report_crowded(router, out.endpoint, now);
        }
        LinkEvent::TooLarge(cut) => router.on_peer_too_large(peer, cut, now, &mut out),
        LinkEvent::NotText(frame) => router.on_peer_not_text(peer, frame, now, &mut out),
        // Servers are not read then, so their silence is not their doing.
        LinkEvent::Beat if out.endpoint.pending().len() >= HIGH => {}
        LinkEvent::Beat => router.on_beat(now, &mut out),
        LinkEvent::Down { cause, open_for, retry_in } => {
            let siblings = out.sides.witness.as_ref().is_some_and(Witness::has_siblings);
            let why = diagnosis::explain(cause, open_for, &router.account(peer, now), &names.to_string(), siblings);
            let next = span(retry_in);
            match open_for {
                Some(_) if matches!(cause, Cause::Ours(_)) => {
                    info!(event = "CONNECTION_CLOSED", servers = ?names, "{why}; reconnecting in {} ms", retry_in.as_millis());
                }
                Some(_) if ending => {
                    warn!(target: RETRIES, event = "CONNECTION_CLOSED", servers = ?names, "{why}; not dialled again: stopping");
                }
                Some(_) => {
                    warn!(target: RETRIES, event = "CONNECTION_CLOSED", servers = ?names, "{why}; reconnecting in {next}");
                }
                None => {
                    warn!(target: RETRIES, event = "ERROR_CONNECT", servers = ?names, "{why}; next attempt in {next}")
                }
            }
            out.sides.disconnected(&why, open_for.is_some());
            if let (Some(witness), Some(_)) = (&out.sides.witness, open_for) {
                witness.closed(Close::by(cause, router.is_handshaken(peer)), now);
            }
            if open_for.is_some() {
                router.on_link_down(peer, now, &mut out);
            }
        }
    }
}

fn on_server(router: &mut dyn Router, mut out: Buffers<'_>, index: ServerIndex, event: ServerEvent<'_>, now: Instant) {
    match event {
        ServerEvent::Up => {
            out.sides.each[index].up(now);
            router.on_server_up(index, now, &mut out);
        }
        // Whoever waited for a process that is ended by command has got an answer already.
        ServerEvent::Said(_) if out.sides.each[index].ending => {}
        ServerEvent::Said(found) => {
            pass_found(router, index, found, now, &mut out);
            let side = &mut out.sides.each[index];
            if !side.serving && router.is_serving(index) {
                side.serving = true;
                debug!(event = "SERVER_WARM", server = %side.name, "answers {} after its start", span(now - side.since));
                side.status.server(ServerState::Serving);
            }
        }
        ServerEvent::Halted => out.sides.each[index].halted(now),
        ServerEvent::Down { .. } if out.sides.each[index].ending => out.sides.each[index].ended(now),
        ServerEvent::Down { why, retry_in } => {
            out.sides.each[index].down(why, now);
            router.on_server_down(index, Gone { why, retry_in }, now, &mut out);
        }
    }
}

fn pass_found(router: &mut dyn Router, index: ServerIndex, found: Found<'_>, now: Instant, out: &mut Buffers<'_>) {
    match found {
        Found::Message { frame, envelope } => {
            out.sides.trace("MESSAGE_RECEIVED", Some(index), &[frame]);
            router.on_server(index, frame, envelope, now, out);
        }
        Found::Noise(line) => router.on_server_noise(index, line, now, out),
        Found::Lost(lost, text) => router.on_server_lost(index, lost, text, now, out),
        Found::TooLarge(cut) => router.on_server_too_large(index, cut, now, out),
        Found::Habit(_) => {} // the server's side has logged the habit
    }
}

#[cfg(all(test, unix))]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
