//! One pipe: a link, a router and its servers, in one loop, for ever.
//!
//! # Theory of operation
//!
//! A pipe is one future on one task. Whatever wakes it, it looks at everything in turn: the link's
//! messages go through the router into the servers' stdin buffers, the servers' lines through the router into the link's
//! buffer, and both buffers are written out. All that is there is handled before anything is written, so a
//! burst costs one write, and a single message is passed on in the poll that read it.
//!
//! Each side is read only while the other side's buffer is below a high-water mark: a slow side slows the other down, and nothing
//! grows. What we answer ourselves is no different: a side that sends on without taking its answers is not read either once
//! more is owed to it than the other side alone could have caused. Reading never waits inside a write, so no ring of full buffers can close: whatever can be
//! written is written at every look, and a look that made room reads again.
//!
//! Servers that share a link don't wait for each other: it is read whatever one of them does, and the router is told which
//! of them has too much waiting to be given more.
//!
//! The endpoint is dialled once the servers have shown that they are loaded, or after the start timeout. From
//! then on link and servers live and die independently; the router hides each one's deaths from the other.

mod name;
mod sides;
mod timer;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use self::sides::{Buffers, HIGH, Side, Sides};
use self::timer::Timer;
use crate::catalogue::Catalogue;
use crate::config::{LinkSpec, ServerSpec};
use crate::diagnosis::{self, span};
use crate::endpoint::Endpoint;
use crate::guard::Guard;
use crate::link::websocket::Outgoing;
use crate::link::{Link, LinkEvent};
use crate::router::{Gone, Router, ServerIndex, TurnCommand};
use crate::server::{Server, ServerEvent};
use crate::sharing::{Close, Witness};
use crate::shutdown::Stop;
use crate::status::{ServerState, StatusEntry};

/// Looks in a row before other pipes have their turn.
const LOOKS: usize = 8;

/// How often a long start is reported.
const PROGRESS: Duration = Duration::from_secs(10);

/// What a pipe gets of the run that it is part of.
#[derive(Debug, Clone)]
pub struct Run {
    /// Ends what a killed mcp-pipe leaves behind.
    pub guard: Guard,
    /// Changes when the machine woke up or its clock jumped.
    pub wake: watch::Receiver<u64>,
    /// Ends the pipe.
    pub stop: Stop,
    /// How long requests under way may take to finish at a graceful stop.
    pub drain_timeout: Duration,
    /// Whether the log may hold what messages hold.
    pub log_contents: bool,
    /// Where what servers say of themselves is kept for the next run.
    pub catalogue: Arc<Catalogue>,
}

/// See the module's documentation.
pub struct Pipe<R> {
    router: R,
    link: Link,
    servers: Vec<Server>,
    /// Messages for the endpoint, not yet written.
    endpoint: Outgoing,
    sides: Sides,
    phase: Phase,
    timer: Timer,
    stop: Stop,
    stopped: Stopped,
    drain_timeout: Duration,
    /// Above this much unwritten data for one side, in bytes, that side is not read either.
    full: usize,
    /// The router's count at the last look.
    served: u64,
    /// What a person wants of it.
    commands: Option<mpsc::Receiver<TurnCommand>>,
}

enum Phase {
    /// The servers load; the endpoint is not dialled yet.
    Starting {
        since: Instant,
        report: Instant,
        give_up: Instant,
    },
    Serving,
    /// No new requests; those under way go on until the deadline.
    Draining {
        until: Instant,
    },
    /// Link and servers are ending.
    Closing,
}

/// The two steps of [`Stop`] as one thing to poll.
type Stopped = Pin<Box<dyn Future<Output = ()> + Send>>;

impl<R: Router> Pipe<R> {
    /// A pipe for servers, each with the entry that shows its state, in the order by which `router` knows them.
    /// `link` is how `endpoint` is dialled. Nothing starts before [`Pipe::run`].
    pub fn new(
        servers: Vec<(Arc<ServerSpec>, StatusEntry)>,
        endpoint: Endpoint,
        link: Arc<LinkSpec>,
        router: R,
        run: Run,
    ) -> Self {
        let now = Instant::now();
        let specs = || servers.iter().map(|(spec, _)| &**spec);
        let max_frame = specs().map(|spec| spec.max_frame).max().unwrap_or_default();
        let start_timeout = specs().map(|spec| spec.start_timeout).max().unwrap_or_default();
        let name = name::joined(specs().map(|spec| &*spec.name));
        let Run { guard, wake, stop, drain_timeout, log_contents, catalogue } = run;
        let first = stop.clone();
        let mut pipe = Pipe {
            router,
            link: Link::new(endpoint, link, max_frame, wake),
            servers: Vec::new(),
            endpoint: Outgoing::default(),
            sides: Sides::new(name, log_contents, catalogue),
            phase: Phase::Starting { since: now, report: now + PROGRESS, give_up: now + start_timeout },
            timer: Timer::default(),
            stopped: Box::pin(async move { first.drain().cancelled().await }),
            stop,
            drain_timeout,
            // The other side's messages go up to the mark and one message beyond it.
            full: 2 * HIGH + max_frame,
            served: 0,
            commands: None,
        };
        for (spec, status) in servers {
            pipe.sides.each.push(Side::new(spec.clone(), status, now));
            pipe.servers.push(Server::new(spec, guard.clone()));
        }
        pipe
    }

    /// The same, taking a person's commands.
    pub fn steered_by(self, commands: mpsc::Receiver<TurnCommand>) -> Self {
        Pipe { commands: Some(commands), ..self }
    }

    /// The same, telling what becomes of the connection.
    pub fn watched_by(mut self, witness: Witness) -> Self {
        self.sides.witness = Some(witness);
        self
    }

    /// Runs until it was stopped and everything has ended.
    pub async fn run(mut self) {
        poll_fn(|cx| self.poll(cx)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..LOOKS {
            let now = Instant::now();
            // Again after a step: the next one has to wake us too.
            while self.stopped.as_mut().poll(cx).is_ready() {
                self.next_step(now);
            }
            self.obey(cx, now);
            let (made_room, ended) = self.look(cx, now);
            if ended {
                return Poll::Ready(());
            }
            // Each of these may have left something to read or to write that nothing else would wake us for.
            let advanced = self.advance(now);
            let timed = self.tick(cx, now);
            if !(made_room || advanced || timed) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Passes on what a person wants.
    fn obey(&mut self, cx: &mut Context<'_>, now: Instant) {
        let Some(commands) = &mut self.commands else { return };
        while let Poll::Ready(Some(command)) = commands.poll_recv(cx) {
            let out = &mut Buffers { endpoint: &mut self.endpoint, sides: &mut self.sides };
            self.router.on_turn_command(command, now, out);
        }
    }

    /// One look at everything: (whether a side that was not read has room again, whether everything has ended).
    fn look(&mut self, cx: &mut Context<'_>, now: Instant) -> (bool, bool) {
        let Pipe { router, link, servers, endpoint, sides, full, .. } = self;
        let closing = matches!(self.phase, Phase::Closing);
        let ending = closing || matches!(self.phase, Phase::Draining { .. });
        let for_link = |sides: &Sides, endpoint: &Outgoing| sides.has_room() && endpoint.pending().len() < *full;
        let for_server = |sides: &Sides, endpoint: &Outgoing, index: ServerIndex| {
            endpoint.pending().len() < HIGH && sides.each[index].stdin.len() < *full
        };
        let link_room = for_link(sides, endpoint);
        let mut ended = Poll::Ready(())
            == link.poll(cx, now, link_room, endpoint, &mut |endpoint, event| {
                on_link(router, Buffers { endpoint, sides }, event, ending, now);
            });
        let mut paused = Vec::new();
        for (index, server) in servers.iter_mut().enumerate() {
            // A writer that is pending has registered to be woken.
            let _pending = server.poll_write(cx, &mut sides.each[index].stdin);
            let room = for_server(sides, endpoint, index);
            ended &= Poll::Ready(())
                == server.poll(cx, room, &mut |event| {
                    // Of a server that is being stopped nobody wants to hear any more.
                    if !closing {
                        on_server(router, Buffers { endpoint, sides }, index, event, now);
                    }
                });
            if std::mem::take(&mut sides.each[index].proven) {
                server.healthy();
            }
            if !room {
                paused.push(index);
            }
        }
        let _pending = link.poll_write(cx, endpoint);
        for (server, side) in servers.iter_mut().zip(&mut sides.each) {
            let _pending = server.poll_write(cx, &mut side.stdin);
        }
        // Only now: what one server wrote may have been for another.
        let made_room = (!link_room && for_link(sides, endpoint))
            || paused.into_iter().any(|index| for_server(sides, endpoint, index));
        (made_room, ended)
    }

    /// What follows from what the router has seen; whether anything did.
    fn advance(&mut self, now: Instant) -> bool {
        if self.router.served() > self.served {
            self.served = self.router.served();
            self.link.healthy();
        }
        if self.router.is_handshaken() {
            self.link.handshaken();
        }
        match &mut self.phase {
            Phase::Starting { since, report, give_up } => {
                let waited = span(now - *since);
                let slow = || {
                    let all = self.servers.iter().zip(&self.sides.each);
                    all.filter(|(server, side)| server.is_up() && !side.serving).map(|(_, side)| &side.name)
                };
                let warm = self.router.is_warm();
                if !warm && now >= *give_up && self.servers.iter().any(Server::is_up) {
                    for name in slow() {
                        warn!(
                            event = "ERROR_START_TIMEOUT", server = %name,
                            "has not answered anything for {waited}; dialling the endpoint all the same. If it needs longer to start, raise startTimeout"
                        );
                    }
                } else if !warm {
                    if now >= *report {
                        for name in slow() {
                            info!(event = "SERVER_STARTING", server = %name, "still starting ({waited}); the endpoint is dialled once it answers");
                        }
                    }
                    while *report <= now {
                        *report += PROGRESS;
                    }
                    return false;
                }
                self.link.dial();
                self.phase = Phase::Serving;
                true
            }
            Phase::Draining { until } if self.router.in_flight() == 0 || now >= *until => {
                self.close(now);
                true
            }
            Phase::Draining { .. } | Phase::Serving | Phase::Closing => false,
        }
    }

    /// A step of the stop was asked for.
    fn next_step(&mut self, now: Instant) {
        if self.stop.now().is_cancelled() {
            self.stopped = Box::pin(std::future::pending());
            self.link.abort();
            self.servers.iter_mut().for_each(|s| s.stop(true));
            self.phase = Phase::Closing;
        } else {
            let second = self.stop.clone();
            self.stopped = Box::pin(async move { second.now().cancelled().await });
            self.router.drain(now, &mut Buffers { endpoint: &mut self.endpoint, sides: &mut self.sides });
            self.phase = Phase::Draining { until: now + self.drain_timeout };
        }
    }

    fn close(&mut self, now: Instant) {
        let gone = Gone { why: "is being stopped, mcp-pipe is shutting down,", retry_in: Duration::ZERO };
        for index in 0..self.servers.len() {
            let mut out = Buffers { endpoint: &mut self.endpoint, sides: &mut self.sides };
            self.router.on_server_down(index, gone, now, &mut out);
        }
        self.link.close(&mut self.endpoint);
        self.servers.iter_mut().for_each(|s| s.stop(false));
        self.phase = Phase::Closing;
    }

    /// Handles deadlines that have come, and sees to it that the next one wakes us.
    fn tick(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let mut timed = false;
        if self.router.next_tick().is_some_and(|at| at <= now) {
            self.router.on_tick(now, &mut Buffers { endpoint: &mut self.endpoint, sides: &mut self.sides });
            timed = true;
        }
        let own = match &self.phase {
            Phase::Starting { report, give_up, .. } if *give_up > now => Some(*report.min(give_up)),
            Phase::Starting { report, .. } => Some(*report),
            Phase::Draining { until } => Some(*until),
            Phase::Serving | Phase::Closing => None,
        };
        // A server that can't write need not read: then it is the endpoint that holds everything up.
        let its_fault = self.endpoint.pending().len() < HIGH;
        let watched = self.sides.watch(&mut self.router, &mut self.endpoint, its_fault, now);
        timed |= watched.changed || !watched.stuck.is_empty();
        for index in watched.stuck {
            self.servers[index].give_up("did not read its stdin for 300 s");
        }
        let next = [own, self.router.next_tick(), watched.next].into_iter().flatten().min();
        timed | self.timer.poll(cx, next)
    }
}

fn on_link<R: Router>(router: &mut R, mut out: Buffers<'_>, event: LinkEvent<'_>, ending: bool, now: Instant) {
    let name = &out.sides.name;
    match event {
        LinkEvent::Up(took) => {
            info!(event = "CONNECTION_OPENED", server = %name, "connected in {took:.0?}");
            out.sides.connected();
            if let Some(witness) = &out.sides.witness {
                witness.opened(now);
            }
            router.on_link_up(now, &mut out);
        }
        LinkEvent::Message(text) => {
            out.sides.trace("MESSAGE_RECEIVED", None, &[text.as_bytes()]);
            router.on_endpoint(text.as_bytes(), now, &mut out);
            out.sides.tell_crowded(router, out.endpoint, now);
        }
        LinkEvent::TooLarge(cut) => router.on_endpoint_too_large(cut, now, &mut out),
        LinkEvent::Down { cause, open_for, retry_in } => {
            let why = diagnosis::explain(cause, open_for, &router.account(now), name);
            let next = span(retry_in);
            match open_for {
                Some(_) if ending => {
                    warn!(event = "CONNECTION_CLOSED", server = %name, "{why}; not dialled again: stopping")
                }
                Some(_) => warn!(event = "CONNECTION_CLOSED", server = %name, "{why}; reconnecting in {next}"),
                None => warn!(event = "ERROR_CONNECT", server = %name, "{why}; next attempt in {next}"),
            }
            out.sides.disconnected(&why);
            if let (Some(witness), Some(_)) = (&out.sides.witness, open_for) {
                witness.closed(Close::by(cause, router.is_handshaken()), now);
            }
            if open_for.is_some() {
                router.on_link_down(now, &mut out);
            }
        }
    }
}

fn on_server<R: Router>(
    router: &mut R,
    mut out: Buffers<'_>,
    index: ServerIndex,
    event: ServerEvent<'_>,
    now: Instant,
) {
    match event {
        ServerEvent::Up => {
            let side = &mut out.sides.each[index];
            side.renew(now);
            side.status.server(ServerState::Starting);
            router.on_server_up(index, now, &mut out);
        }
        ServerEvent::Frame(frame) => {
            out.sides.trace("MESSAGE_RECEIVED", Some(index), &[frame]);
            router.on_server(index, frame, now, &mut out);
            let side = &mut out.sides.each[index];
            if !side.serving && router.is_serving(index) {
                side.serving = true;
                debug!(event = "SERVER_WARM", server = %side.name, "answers {} after its start", span(now - side.since));
                side.status.server(ServerState::Serving);
            }
        }
        ServerEvent::TooLarge(cut) => router.on_server_too_large(index, cut, now, &mut out),
        ServerEvent::Down { why, retry_in } => {
            let side = &mut out.sides.each[index];
            side.renew(now);
            side.status.server(ServerState::Down(why.into()));
            router.on_server_down(index, Gone { why, retry_in }, now, &mut out);
        }
    }
}

#[cfg(all(test, unix))]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
