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
//! The endpoint is dialled once the servers have shown that they are loaded, or after the start timeout. From
//! then on link and servers live and die independently; the router hides each one's deaths from the other.

use std::borrow::Cow;
use std::future::poll_fn;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until};
use tracing::{debug, enabled, info, warn};

use crate::catalogue::Memory;
use crate::config::ServerSpec;
use crate::diagnosis::{self, span};
use crate::endpoint::Endpoint;
use crate::envelope;
use crate::frame::LineOut;
use crate::guard::Guard;
use crate::link::websocket::Outgoing;
use crate::link::{Link, LinkEvent};
use crate::router::{Gone, Note, Out, Router, ServerIndex};
use crate::server::{Server, ServerEvent};
use crate::shutdown::Stop;
use crate::status::{LinkState, ServerState, StatusEntry};

/// Above this much unwritten data for one side, in bytes, the other side is not read. Large enough that a burst of
/// small messages goes out in one write, small enough that a hundred stuck servers cost little.
const HIGH: usize = 256 * 1024;

/// Looks in a row before other pipes have their turn.
const LOOKS: usize = 8;

/// Messages of a connection that were refused and are each shown in the log.
const REFUSALS: u64 = 10;

/// How long a server may leave more than [`HIGH`] unread before the endpoint is read again all the same, so that its pings
/// are answered; what it asks of that server is refused then. Below the 10 s and more that endpoints wait for a pong.
const BUSY: Duration = Duration::from_secs(5);

/// After this a server that still reads nothing is given up. It may be busy for as long as a call may take at the
/// cloud, and that is 300 s.
const STUCK: Duration = Duration::from_secs(300);

/// How often a long start is reported.
const PROGRESS: Duration = Duration::from_secs(10);

/// See the module's documentation.
pub struct Pipe<R> {
    name: Arc<str>,
    router: R,
    link: Link,
    servers: Vec<Server>,
    /// Messages for the endpoint, not yet written.
    endpoint: Outgoing,
    inner: Inner,
    phase: Phase,
    timer: Timer,
    /// Since when, and at how many bytes, a server has taken nothing of what waits for it.
    stuck: Vec<Option<(Instant, usize)>>,
    stop: Stop,
    stopped: Stopped,
    drain_timeout: Duration,
    /// Above this much unwritten data for one side, in bytes, that side is not read either.
    full: usize,
    /// The router's count at the last look.
    served: u64,
    /// What `status` was told at the last look.
    serving: bool,
    status: StatusEntry,
}

/// The servers' side of the buffers.
struct Inner {
    name: Arc<str>,
    /// Whether the log may hold what messages hold.
    log_contents: bool,
    /// Messages for each server, not yet written.
    stdin: Vec<LineOut>,
    /// Servers that have not read for [`BUSY`], through no fault of the endpoint.
    busy: Vec<bool>,
    /// Lines of each server's present life that were no message.
    noise: Vec<u64>,
    /// What of the endpoint could not be taken, on this connection.
    refused: u64,
}

/// Where the router's decisions go.
struct Buffers<'a> {
    endpoint: &'a mut Outgoing,
    inner: &'a mut Inner,
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

/// One timer for the deadlines of a pipe, of which there mostly are none. Moved only when a deadline comes nearer.
struct Timer(Option<(Instant, Pin<Box<Sleep>>)>);

impl<R: Router> Pipe<R> {
    /// A pipe for one server. Nothing starts before [`Pipe::run`].
    #[expect(clippy::too_many_arguments, reason = "the parts of a pipe, each from another owner")]
    pub fn new(
        spec: Arc<ServerSpec>,
        endpoint: Endpoint,
        router: R,
        guard: Guard,
        wake: watch::Receiver<u64>,
        stop: Stop,
        drain_timeout: Duration,
        log_contents: bool,
        status: StatusEntry,
    ) -> Self {
        let now = Instant::now();
        // The other side's messages go up to the mark and one message beyond it.
        let full = 2 * HIGH + spec.max_frame;
        let link = Link::new(endpoint, spec.link.clone(), spec.max_frame, wake);
        let first = stop.clone();
        let name = spec.name.clone();
        Pipe {
            name: name.clone(),
            router,
            link,
            phase: Phase::Starting { since: now, report: now + PROGRESS, give_up: now + spec.start_timeout },
            servers: vec![Server::new(spec, guard)],
            endpoint: Outgoing::default(),
            inner: Inner {
                name,
                log_contents,
                stdin: vec![LineOut::new()],
                busy: vec![false],
                noise: vec![0],
                refused: 0,
            },
            timer: Timer(None),
            stuck: vec![None],
            stopped: Box::pin(async move { first.drain().cancelled().await }),
            stop,
            drain_timeout,
            full,
            served: 0,
            serving: false,
            status,
        }
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

    /// One look at everything: (whether a side that was not read has room again, whether everything has ended).
    fn look(&mut self, cx: &mut Context<'_>, now: Instant) -> (bool, bool) {
        let Pipe { router, link, servers, endpoint, inner, status, full, .. } = self;
        let mut made_room = false;
        let closing = matches!(self.phase, Phase::Closing);
        let ending = closing || matches!(self.phase, Phase::Draining { .. });
        let for_link = |inner: &Inner, endpoint: &Outgoing| inner.has_room() && endpoint.pending().len() < *full;
        let for_server = |inner: &Inner, endpoint: &Outgoing, index: ServerIndex| {
            endpoint.pending().len() < HIGH && inner.stdin[index].len() < *full
        };
        let link_room = for_link(inner, endpoint);
        let mut ended = Poll::Ready(())
            == link.poll(cx, now, link_room, endpoint, &mut |endpoint, event| {
                on_link(status, router, Buffers { endpoint, inner }, event, ending, now);
            });
        for (index, server) in servers.iter_mut().enumerate() {
            // A writer that is pending has registered to be woken.
            let _pending = server.poll_write(cx, &mut inner.stdin[index]);
            let room = for_server(inner, endpoint, index);
            ended &= Poll::Ready(())
                == server.poll(cx, room, &mut |event| {
                    // Of a server that is being stopped nobody wants to hear any more.
                    if !closing {
                        on_server(status, router, Buffers { endpoint, inner }, index, event, now);
                    }
                });
            let _pending = link.poll_write(cx, endpoint);
            let _pending = server.poll_write(cx, &mut inner.stdin[index]);
            made_room |= !room && for_server(inner, endpoint, index);
        }
        made_room |= !link_room && for_link(inner, endpoint);
        (made_room, ended)
    }

    /// What follows from what the router has seen; whether anything did.
    fn advance(&mut self, now: Instant) -> bool {
        if self.router.served() > self.served {
            self.served = self.router.served();
            self.link.healthy();
            self.servers.iter_mut().for_each(Server::healthy);
        }
        if self.router.is_handshaken() {
            self.link.handshaken();
        }
        let warm = self.router.is_warm();
        if warm != self.serving {
            self.serving = warm;
            if warm {
                self.status.server(ServerState::Serving);
            }
        }
        match &mut self.phase {
            Phase::Starting { since, report, give_up } => {
                let (up, waited) = (self.servers.iter().any(Server::is_up), span(now - *since));
                if warm {
                    debug!(event = "SERVER_WARM", server = %self.name, "answers {waited} after its start; dialling");
                } else if up && now >= *give_up {
                    warn!(
                        event = "ERROR_START_TIMEOUT", server = %self.name,
                        "has not answered anything for {waited}; dialling the endpoint all the same. If it needs longer to start, raise startTimeout"
                    );
                } else {
                    if up && now >= *report {
                        info!(event = "SERVER_STARTING", server = %self.name, "still starting ({waited}); the endpoint is dialled once it answers");
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
            self.router.drain(now, &mut Buffers { endpoint: &mut self.endpoint, inner: &mut self.inner });
            self.phase = Phase::Draining { until: now + self.drain_timeout };
        }
    }

    fn close(&mut self, now: Instant) {
        let gone = Gone { why: "is being stopped, mcp-pipe is shutting down,", retry_in: Duration::ZERO };
        for index in 0..self.servers.len() {
            let mut out = Buffers { endpoint: &mut self.endpoint, inner: &mut self.inner };
            self.router.on_server_down(index, gone, now, &mut out);
        }
        self.link.close(&mut self.endpoint);
        self.servers.iter_mut().for_each(|s| s.stop(false));
        self.phase = Phase::Closing;
    }

    /// Watches servers that don't read their stdin: (when to look again, whether anything changed).
    fn watch_stdin(&mut self, now: Instant) -> (Option<Instant>, bool) {
        let (mut next, mut changed) = (None, false);
        // A server that can't write need not read: then it is the endpoint that holds everything up.
        let its_fault = self.endpoint.pending().len() < HIGH;
        for (index, stuck) in self.stuck.iter_mut().enumerate() {
            let (since, least) = stuck.unwrap_or((now, usize::MAX));
            *stuck = match self.inner.stdin[index].len() {
                ..HIGH => None,
                len if len < least => Some((now, len)),
                _ => Some((since, least)),
            };
            let waited = stuck.map_or(Duration::ZERO, |(since, _)| now - since);
            let busy = its_fault && waited >= BUSY;
            if busy != self.inner.busy[index] {
                self.inner.busy[index] = busy;
                let mut out = Buffers { endpoint: &mut self.endpoint, inner: &mut self.inner };
                self.router.on_server_busy(index, busy, now, &mut out);
                changed = true;
            }
            if busy && waited >= STUCK {
                self.servers[index].give_up("did not read its stdin for 300 s");
                *stuck = None;
                changed = true;
            }
            let deadlines = stuck.map_or([None, None], |(since, _)| [Some(since + BUSY), Some(since + STUCK)]);
            next = deadlines.into_iter().flatten().filter(|at| *at > now).chain(next).min();
        }
        (next, changed)
    }

    /// Handles deadlines that have come, and sees to it that the next one wakes us.
    fn tick(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let mut timed = false;
        if self.router.next_tick().is_some_and(|at| at <= now) {
            self.router.on_tick(now, &mut Buffers { endpoint: &mut self.endpoint, inner: &mut self.inner });
            timed = true;
        }
        let own = match &self.phase {
            Phase::Starting { report, give_up, .. } if *give_up > now => Some(*report.min(give_up)),
            Phase::Starting { report, .. } => Some(*report),
            Phase::Draining { until } => Some(*until),
            Phase::Serving | Phase::Closing => None,
        };
        let (stuck, changed) = self.watch_stdin(now);
        let next = [own, self.router.next_tick(), stuck].into_iter().flatten().min();
        timed | changed | self.timer.poll(cx, next)
    }
}

impl Timer {
    /// Whether it has fired, having been set to `next` at the latest.
    fn poll(&mut self, cx: &mut Context<'_>, next: Option<Instant>) -> bool {
        match (&mut self.0, next) {
            // Not kept for nothing: while tokio has a timer, each sleep costs more.
            (slot, None) => {
                *slot = None;
                return false;
            }
            (Some((at, sleep)), Some(next)) if next < *at => {
                *at = next;
                sleep.as_mut().reset(next);
            }
            (slot @ None, Some(next)) => *slot = Some((next, Box::pin(sleep_until(next)))),
            (Some(_), _) => {}
        }
        let fired = self.0.as_mut().is_some_and(|(_, sleep)| sleep.as_mut().poll(cx).is_ready());
        if fired {
            self.0 = None;
        }
        fired
    }
}

fn on_link<R: Router>(
    status: &StatusEntry,
    router: &mut R,
    mut out: Buffers<'_>,
    event: LinkEvent<'_>,
    ending: bool,
    now: Instant,
) {
    let name = out.inner.name.clone();
    match event {
        LinkEvent::Up(took) => {
            info!(event = "CONNECTION_OPENED", server = %name, "connected in {took:.0?}");
            status.link(LinkState::Connected);
            out.inner.refused = 0;
            router.on_link_up(now, &mut out);
        }
        LinkEvent::Message(text) => {
            out.inner.trace("MESSAGE_RECEIVED", "endpoint", &[text.as_bytes()]);
            router.on_endpoint(text.as_bytes(), now, &mut out);
        }
        LinkEvent::TooLarge(cut) => router.on_endpoint_too_large(cut, now, &mut out),
        LinkEvent::Down { cause, open_for, retry_in } => {
            let why = diagnosis::explain(cause, open_for, &router.account(now), &name);
            let next = span(retry_in);
            match open_for {
                Some(_) if ending => {
                    warn!(event = "CONNECTION_CLOSED", server = %name, "{why}; not dialled again: stopping")
                }
                Some(_) => warn!(event = "CONNECTION_CLOSED", server = %name, "{why}; reconnecting in {next}"),
                None => warn!(event = "ERROR_CONNECT", server = %name, "{why}; next attempt in {next}"),
            }
            status.link(LinkState::Down(why));
            if open_for.is_some() {
                router.on_link_down(now, &mut out);
            }
        }
    }
}

fn on_server<R: Router>(
    status: &StatusEntry,
    router: &mut R,
    mut out: Buffers<'_>,
    index: ServerIndex,
    event: ServerEvent<'_>,
    now: Instant,
) {
    match event {
        ServerEvent::Up => {
            out.inner.stdin[index].clear();
            out.inner.noise[index] = 0;
            status.server(ServerState::Starting);
            router.on_server_up(index, now, &mut out);
        }
        ServerEvent::Frame(frame) => {
            out.inner.trace("MESSAGE_RECEIVED", "server", &[frame]);
            router.on_server(index, frame, now, &mut out);
        }
        ServerEvent::TooLarge(cut) => router.on_server_too_large(index, cut, now, &mut out),
        ServerEvent::Down { why, retry_in } => {
            status.server(ServerState::Down(why.into()));
            out.inner.stdin[index].clear();
            router.on_server_down(index, Gone { why, retry_in }, now, &mut out);
        }
    }
}

impl Inner {
    /// Logs a message: length, method and id; its contents only if the user asked for them.
    fn trace(&self, event: &'static str, with: &'static str, pieces: &[&[u8]]) {
        if !enabled!(tracing::Level::DEBUG) {
            return;
        }
        let frame = pieces.concat();
        let e = envelope::scan_one(&frame).unwrap_or_default();
        let text = |r: Option<Range<usize>>| r.map_or(Cow::Borrowed(""), |r| String::from_utf8_lossy(&frame[r]));
        let (method, id, bytes) = (text(e.method), text(e.id), frame.len());
        let contents = self.log_contents.then(|| String::from_utf8_lossy(&frame));
        debug!(event, server = %self.name, with, bytes, %method, %id, contents = contents.as_deref(), "{with}: {bytes} bytes {method} {id}");
    }

    fn has_room(&self) -> bool {
        self.stdin.iter().zip(&self.busy).all(|(out, busy)| out.len() < HIGH || *busy)
    }
}

impl Out for Buffers<'_> {
    fn to_endpoint(&mut self, pieces: &[&[u8]]) {
        self.inner.trace("MESSAGE_SENT", "endpoint", pieces);
        self.endpoint.text(pieces);
    }

    fn to_server(&mut self, server: ServerIndex, pieces: &[&[u8]]) {
        self.inner.trace("MESSAGE_SENT", "server", pieces);
        self.inner.stdin[server].push(pieces);
    }

    fn remember(&mut self, _server: ServerIndex, _memory: &Memory) {}

    fn note(&mut self, note: Note<'_>) {
        let name = &self.inner.name;
        match &note {
            Note::Noise { server, .. } => {
                let run = &mut self.inner.noise[*server];
                *run += 1;
                match *run {
                    1 => {
                        warn!(event = "ERROR_STDOUT_NOISE", server = %name, "{note}; a server must log to stderr. More of it is counted, not shown")
                    }
                    n if n.is_power_of_two() && n >= 1024 => {
                        warn!(event = "ERROR_STDOUT_NOISE", server = %name, lines = n, "{n} stdout lines that are not JSON-RPC so far");
                    }
                    _ => debug!(event = "ERROR_STDOUT_NOISE", server = %name, "{note}"),
                }
            }
            Note::NotMessage { .. } | Note::TooLarge { server: None, .. } => {
                self.inner.refused += 1;
                match self.inner.refused {
                    // Who sends on like that doesn't get to fill the disk.
                    n if n > REFUSALS && !n.is_power_of_two() => {
                        debug!(event = "ERROR_MESSAGE", server = %name, "{note}");
                    }
                    n @ REFUSALS.. => {
                        warn!(event = "ERROR_MESSAGE", server = %name, messages = n, "{note}; the {n}th such message on this connection. More of it is counted, not shown");
                    }
                    _ => warn!(event = "ERROR_MESSAGE", server = %name, "{note}"),
                }
            }
            Note::TooLarge { server: Some(_), .. } => warn!(event = "ERROR_MESSAGE", server = %name, "{note}"),
            Note::Refused { .. } => warn!(event = "ERROR_INITIALIZE", server = %name, "{note}"),
            Note::NoSuchTool { .. } => warn!(event = "CONFIG_WARNING", server = %name, "{note}"),
            Note::ToolsRead { .. } => info!(event = "TOOLS_READ", server = %name, "{note}"),
            Note::Initialized { .. } => info!(event = "SERVER_INITIALIZED", server = %name, "{note}"),
            Note::AnsweredForEndpoint { .. } | Note::Unclaimed { .. } => {
                debug!(event = "MESSAGE_DROPPED", server = %name, "{note}")
            }
            Note::Served { .. } => debug!(event = "CALL_SERVED", server = %name, "{note}"),
        }
    }
}
