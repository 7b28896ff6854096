//! One WebSocket connection to an endpoint, through all its reconnects.
//!
//! # Theory of operation
//!
//! A [`Link`] has no task of its own: the task that owns the pipe polls it. A link *rests* until it is told to dial, for the
//! first time or after nobody needed it for a while; then it is *dialling*, *open* or *waiting* for the next attempt, until it is *closed* for good. How a connection ends is
//! a [`Cause`]; what that means for the next attempt is decided in [`crate::link::cause`], and how long the wait is in
//! [`crate::backoff`]. The backoff starts over on proof of health only: a call was served, or the handshake was answered and
//! the connection then stood for a minute. Where another program keeps taking our connection's place, the waits are those of
//! a [`Contest`], and a served call proves nothing.
//!
//! Messages go out through an [`Outgoing`] that the pipe owns, so that whoever handles an event can answer it.

pub(crate) mod cause;
pub(crate) mod keepalive;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests;

use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BufMut;
use tokio::io::AsyncWrite;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tokio_util::io::poll_read_buf;

use self::cause::{Cause, Takeover, code, pace};
use self::keepalive::{Beat, Keepalive};
use crate::backoff::{Backoff, Contest};
use crate::chunk::poll_chunk;
use crate::config::LinkSpec;
use crate::endpoint::Endpoint;
use crate::frame::Cut;
use crate::mcp::cloud;
use crate::net::alarm::Alarm;
use crate::net::dial::{Dialed, Stream, dial};
use crate::net::error::DialError;
use crate::net::peer_text::Redaction;
use crate::net::tls::words;
use crate::net::websocket::{Event, Incoming, OnEvent, Outgoing, Violation};
use crate::wakers::Wakers;

/// Most reads in a row before others have their turn.
const READS: usize = 2;

/// Longest time that a closing handshake may take, either way (RFC 6455 section 7.1.1 leaves the limit to us).
const CLOSING: Duration = Duration::from_secs(1);

/// Longest part of a peer's reason that a log line holds, in characters. A close frame has 123 bytes at most.
const REASON: usize = 123;

/// Longest part that a log line holds of what an endpoint says that is no MCP client, in characters: enough to tell who it
/// is.
const SAID: usize = 200;

/// Longest time until the next attempt after the machine woke up: its network needs a moment, and no more.
const AFTER_WAKING: Duration = Duration::from_secs(2);

/// Shortest time for which a connection must have stood so that an answered handshake proves health.
const STABLE: Duration = Duration::from_secs(60);

/// The wakers of a connection beside that of the stream: each thing is polled only when its own waker woke the link.
const WAKE: usize = 0;
const ALARM: usize = 1;

/// What a link reports. Borrowed data is valid during the callback only.
#[derive(Debug)]
pub(crate) enum LinkEvent<'a> {
    /// A connection stands; how long dialling took.
    Up(Duration),
    /// One message, valid UTF-8, perhaps no JSON.
    Message(&'a str),
    /// A message above the size limit, dropped but for its ends.
    TooLarge(Cut<'a>),
    /// A binary message that is not UTF-8.
    NotText(&'a [u8]),
    /// The connection still stands: reported once in a `pingInterval`, whatever comes and goes.
    Beat,
    /// The connection is gone, or an attempt failed.
    Down {
        /// Why.
        cause: &'a Cause,
        /// How long the connection stood; `None` if it never did.
        open_for: Option<Duration>,
        /// How long until the endpoint is dialled again.
        retry_in: Duration,
    },
}

/// Takes what a link reports, and says whether there is room for the next message. If not, the link keeps what it has read.
pub(crate) type OnLinkEvent<'a> = dyn FnMut(&mut Outgoing, LinkEvent<'_>) -> ControlFlow<()> + 'a;

/// See the module's documentation. A link must be polled inside a tokio runtime.
pub(crate) struct Link {
    endpoint: Endpoint,
    spec: Arc<LinkSpec>,
    max_frame: usize,
    state: LinkPhase,
    backoff: Backoff,
    contest: Contest,
    /// No connection is made any more: one that stands goes on to its end.
    is_last: bool,
    wake: watch::Receiver<u64>,
}

enum LinkPhase {
    Resting,
    Waiting { timer: Pin<Box<Sleep>>, wake: Woken },
    Dialling { since: Instant, dial: Pin<Box<dyn Future<Output = Result<Dialed, DialError>> + Send>> },
    Open(Box<Connection>),
    Closed,
}

/// Ready when the machine woke up or its clock jumped. Made anew after each.
type Woken = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Connection {
    stream: Stream,
    incoming: Incoming,
    keepalive: Keepalive,
    timer: Alarm,
    wake: Woken,
    jumps: watch::Receiver<u64>,
    wakers: Wakers,
    since: Instant,
    /// Reading rested at the last poll, because there was no room for what would be read.
    paused: bool,
    /// The endpoint's `initialize` was answered on this connection.
    handshaken: bool,
    phase: ConnectionPhase,
}

enum ConnectionPhase {
    Live,
    /// The connection ended; our close frame is still to go out.
    Parting {
        cause: Cause,
        /// When the connection ended.
        at: Instant,
        until: Pin<Box<Sleep>>,
    },
    /// We closed the connection; the peer's close frame is awaited.
    Leaving {
        until: Pin<Box<Sleep>>,
        /// Why the connection is to be made anew; `None`: it was the last one.
        again: Option<&'static str>,
    },
}

/// What one look at an open connection has brought.
enum LookOutcome {
    Nothing,
    /// The stream is of no more use.
    Over(Cause),
    /// The connection is over for this cause, and a close frame is queued.
    Part(Cause),
    /// There is no room for more of what was read.
    Full,
}

impl Link {
    /// A link that dials nothing yet. `max_frame`: the largest message, in bytes. `wake` changes when the machine woke up or
    /// its clock jumped.
    pub(crate) fn new(endpoint: Endpoint, spec: Arc<LinkSpec>, max_frame: usize, wake: watch::Receiver<u64>) -> Self {
        let (backoff, contest) = (Backoff::new(spec.max_backoff), Contest::new(spec.max_backoff));
        Link { endpoint, spec, max_frame, state: LinkPhase::Resting, backoff, contest, is_last: false, wake }
    }

    /// From the next connection on, messages may be so large, in bytes.
    pub(crate) fn set_max_frame(&mut self, max_frame: usize) {
        self.max_frame = max_frame;
    }

    /// Begins to dial, and goes on for ever. Does nothing if the link has begun already.
    pub(crate) fn dial(&mut self) {
        if let LinkPhase::Resting = self.state {
            self.state = self.dialling();
        }
    }

    /// Has a link that waits for its next attempt rest until it is told to dial, with waits as at the start. Returns whether it did.
    pub(crate) fn rest(&mut self) -> bool {
        let LinkPhase::Waiting { .. } = self.state else { return false };
        (self.backoff, self.contest) = (Backoff::new(self.spec.max_backoff), Contest::new(self.spec.max_backoff));
        self.state = LinkPhase::Resting;
        true
    }

    /// Has the link make no connection any more. One that stands goes on to its end, with which the link is ready.
    pub(crate) fn dial_no_more(&mut self) {
        self.is_last = true;
        match self.state {
            LinkPhase::Resting | LinkPhase::Waiting { .. } | LinkPhase::Dialling { .. } => self.abort(),
            LinkPhase::Open(_) | LinkPhase::Closed => {}
        }
    }

    /// Closes the link for good with code 1000. The link is to be polled on until it is ready.
    pub(crate) fn close(&mut self, out: &mut Outgoing) {
        self.state = match std::mem::replace(&mut self.state, LinkPhase::Closed) {
            LinkPhase::Open(mut open) => {
                if let ConnectionPhase::Live = open.phase {
                    out.close(1000, "");
                }
                open.phase = ConnectionPhase::Leaving { until: Box::pin(sleep(CLOSING)), again: None };
                LinkPhase::Open(open)
            }
            LinkPhase::Resting | LinkPhase::Waiting { .. } | LinkPhase::Dialling { .. } | LinkPhase::Closed => {
                LinkPhase::Closed
            }
        };
    }

    /// Closes a connection that stands with code 1000 and makes a new one after a pause, for an endpoint that reads the
    /// lists anew only then. `why` goes on from "mcp-pipe closed the connection, ". False if no connection stands.
    pub(crate) fn hang_up(&mut self, out: &mut Outgoing, why: &'static str) -> bool {
        let LinkPhase::Open(open) = &mut self.state else { return false };
        let ConnectionPhase::Live = open.phase else { return false };
        out.close(1000, "");
        open.phase = ConnectionPhase::Leaving { until: Box::pin(sleep(CLOSING)), again: Some(why) };
        true
    }

    /// Makes a new connection now, with waits as at the start: of a link that waits or dials at once, of one that stands after the
    /// pause that endpoints need.
    pub(crate) fn redial(&mut self, out: &mut Outgoing) {
        (self.backoff, self.contest) = (Backoff::new(self.spec.max_backoff), Contest::new(self.spec.max_backoff));
        match &self.state {
            LinkPhase::Resting | LinkPhase::Waiting { .. } | LinkPhase::Dialling { .. } => self.state = self.dialling(),
            LinkPhase::Open(_) => {
                // One that is about to end already is followed by another one anyway.
                let _ended = self.hang_up(out, "because it was told to make it anew");
            }
            LinkPhase::Closed => {}
        }
    }

    /// Closes a connection whose other end speaks no JSON-RPC: the address is most likely wrong. `said` is what came instead.
    pub(crate) fn turn_away(&mut self, out: &mut Outgoing, said: &[u8], now: Instant) {
        let LinkPhase::Open(open) = &mut self.state else { return };
        let ConnectionPhase::Live = open.phase else { return };
        let said = Redaction::of(&self.endpoint, &self.spec).shown(&String::from_utf8_lossy(said), SAID);
        out.close(code::UNSUPPORTED, "an MCP server is here; JSON-RPC is expected");
        open.phase =
            ConnectionPhase::Parting { cause: Cause::Stranger { said }, at: now, until: Box::pin(sleep(CLOSING)) };
    }

    /// Drops the link for good, with a farewell if the socket takes that now.
    pub(crate) fn cut(&mut self, out: &mut Outgoing) {
        if let LinkPhase::Open(open) = &mut self.state {
            if let ConnectionPhase::Live = open.phase {
                out.close(1000, "");
            }
            let cx = &mut Context::from_waker(std::task::Waker::noop());
            // Once: what does not go out now is of no use to anybody.
            if let Poll::Ready(Ok(_)) = Pin::new(&mut open.stream).poll_write(cx, out.pending()) {
                let _unwritten = Pin::new(&mut open.stream).poll_flush(cx);
            }
        }
        out.clear();
        self.state = LinkPhase::Closed;
    }

    /// Drops the link for good, without a farewell.
    pub(crate) fn abort(&mut self) {
        self.state = LinkPhase::Closed;
    }

    /// A call was served: endpoint and token are all right.
    pub(crate) fn healthy(&mut self) {
        self.backoff.healthy();
    }

    /// The endpoint's handshake was answered on this connection.
    pub(crate) fn handshaken(&mut self) {
        if let LinkPhase::Open(open) = &mut self.state {
            open.handshaken = true;
        }
    }

    /// Drives everything but writing. With `read: false`, and once `on` says that there is no room, the socket is left
    /// alone, so that the endpoint feels the pressure; the link is to be polled again when there is room. Ready only when
    /// the link is closed for good.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        mut read: bool,
        out: &mut Outgoing,
        on: &mut OnLinkEvent<'_>,
    ) -> Poll<()> {
        loop {
            match &mut self.state {
                LinkPhase::Resting => return Poll::Pending,
                LinkPhase::Closed => return Poll::Ready(()),
                LinkPhase::Waiting { timer, wake } => {
                    while wake.as_mut().poll(cx).is_ready() {
                        *wake = woken(&self.wake);
                        // What was wrong before the machine slept need not be wrong now; the network needs a moment.
                        let soon = now + AFTER_WAKING;
                        if timer.deadline() > soon {
                            timer.as_mut().reset(soon);
                        }
                    }
                    if timer.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    self.state = self.dialling();
                }
                LinkPhase::Dialling { since, dial } => match dial.as_mut().poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(dialed)) => {
                        let took = now.saturating_duration_since(*since);
                        out.clear();
                        let early = dialed.early;
                        let mut open = Box::new(self.open(dialed.stream, now));
                        read &= on(out, LinkEvent::Up(took)).is_continue();
                        let look = open.feed(out, on, |incoming, on| incoming.feed(&early, on));
                        read &= !matches!(look, LookOutcome::Full);
                        self.state = LinkPhase::Open(open);
                        self.on_look(look, now, out, on);
                    }
                    Poll::Ready(Err(error)) => self.on_end(&Cause::Dial(error), now, out, on),
                },
                LinkPhase::Open(open) => {
                    let look = open.poll(cx, now, read, out, on);
                    if let LookOutcome::Nothing | LookOutcome::Full = look {
                        return Poll::Pending;
                    }
                    self.on_look(look, now, out, on);
                }
            }
        }
    }

    /// Writes what the socket takes now; ready when nothing is left. A failed write is noticed by the next [`Link::poll`].
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, out: &mut Outgoing) -> Poll<()> {
        let LinkPhase::Open(open) = &mut self.state else {
            out.clear(); // no peer will ever read these bytes
            return Poll::Ready(());
        };
        while !out.pending().is_empty() {
            match Pin::new(&mut open.stream).poll_write(cx, out.pending()) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(n)) if n > 0 => {
                    out.advance(n);
                    if !out.pending().is_empty() {
                        open.keepalive.on_taken(Instant::now());
                    }
                }
                Poll::Ready(failed) => {
                    let why = failed.map_or_else(|e| words::of_io(&e), |_| "the socket takes no more".into());
                    out.clear();
                    if let ConnectionPhase::Live = open.phase {
                        let at = Instant::now();
                        open.phase =
                            ConnectionPhase::Parting { cause: Cause::Lost(why), at, until: Box::pin(sleep_until(at)) };
                    }
                }
            }
        }
        if let ConnectionPhase::Parting { .. } = open.phase {
            cx.waker().wake_by_ref(); // the farewell is out, the end can be reported
        }
        // TLS holds records back until the stream is flushed.
        Pin::new(&mut open.stream).poll_flush(cx).map(|_| ())
    }

    fn dialling(&self) -> LinkPhase {
        let (endpoint, spec) = (self.endpoint.clone(), self.spec.clone());
        LinkPhase::Dialling { since: Instant::now(), dial: Box::pin(async move { dial(&endpoint, &spec).await }) }
    }

    fn open(&self, stream: Stream, now: Instant) -> Connection {
        let keepalive = Keepalive::new(self.spec.ping_interval, self.spec.ping_timeout, now);
        Connection {
            stream,
            incoming: Incoming::new(self.max_frame),
            timer: Alarm::at(keepalive.deadline()),
            keepalive,
            wake: woken(&self.wake),
            jumps: self.wake.clone(),
            wakers: Wakers::new(2),
            since: now,
            paused: false,
            handshaken: false,
            phase: ConnectionPhase::Live,
        }
    }

    fn on_look(&mut self, look: LookOutcome, now: Instant, out: &mut Outgoing, on: &mut OnLinkEvent<'_>) {
        match look {
            LookOutcome::Nothing | LookOutcome::Full => {}
            LookOutcome::Part(cause) => {
                if let LinkPhase::Open(open) = &mut self.state {
                    open.phase = ConnectionPhase::Parting { cause, at: now, until: Box::pin(sleep(CLOSING)) };
                }
            }
            LookOutcome::Over(cause) => self.on_end(&cause, now, out, on),
        }
    }

    fn on_end(&mut self, cause: &Cause, now: Instant, out: &mut Outgoing, on: &mut OnLinkEvent<'_>) {
        let (open_for, left) = match &self.state {
            LinkPhase::Open(open) => {
                let at = if let ConnectionPhase::Parting { at, .. } = open.phase { at } else { now };
                let open_for = at.saturating_duration_since(open.since);
                if open.handshaken && open_for >= STABLE {
                    self.backoff.healthy();
                }
                self.contest.ended(open_for);
                let left = if let ConnectionPhase::Leaving { again, .. } = open.phase { Some(again) } else { None };
                (Some(open_for), left)
            }
            LinkPhase::Resting | LinkPhase::Waiting { .. } | LinkPhase::Dialling { .. } | LinkPhase::Closed => {
                (None, None)
            }
        };
        out.clear();
        match left {
            Some(None) => {
                self.state = LinkPhase::Closed;
                return;
            }
            // This is no failure, so the backoff has no say.
            Some(Some(why)) => {
                self.state = self.after(cloud::SETTLING);
                let _down = on(out, LinkEvent::Down { cause: &Cause::Ours(why), open_for, retry_in: cloud::SETTLING });
                return;
            }
            None => {}
        }
        let mut retry_in = self.backoff.after(pace(cause), rand::random());
        let cause = match cause {
            Cause::Closed { code, reason, .. } => {
                let replaced = cause.takeover() != Takeover::Unlikely;
                let reason = Redaction::of(&self.endpoint, &self.spec).shown(reason, REASON);
                let held_back = replaced.then(|| self.contest.replaced(rand::random())).flatten();
                retry_in = retry_in.max(held_back.unwrap_or_default());
                &Cause::Closed { code: *code, reason, contested: held_back.is_some() }
            }
            Cause::Dial(_)
            | Cause::Ours(_)
            | Cause::Lost(_)
            | Cause::Unresponsive { .. }
            | Cause::Protocol(_)
            | Cause::Stranger { .. } => cause,
        };
        self.state = self.after(retry_in);
        let _down = on(out, LinkEvent::Down { cause, open_for, retry_in });
    }

    /// What follows the end of a connection: the next attempt, after so long, unless this was the last one.
    fn after(&self, retry_in: Duration) -> LinkPhase {
        match self.is_last {
            true => LinkPhase::Closed,
            false => LinkPhase::Waiting { timer: Box::pin(sleep(retry_in)), wake: woken(&self.wake) },
        }
    }
}

impl Connection {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        read: bool,
        out: &mut Outgoing,
        on: &mut OnLinkEvent<'_>,
    ) -> LookOutcome {
        match &mut self.phase {
            ConnectionPhase::Live => {}
            ConnectionPhase::Parting { cause, until, at: _ } => {
                if out.pending().is_empty() || until.as_mut().poll(cx).is_ready() {
                    return LookOutcome::Over(std::mem::replace(cause, Cause::Lost(String::new())));
                }
                return LookOutcome::Nothing;
            }
            ConnectionPhase::Leaving { until, .. } => {
                if until.as_mut().poll(cx).is_ready() {
                    return LookOutcome::Over(Cause::Lost(String::new()));
                }
                // Only the end of the connection is of interest now.
                return self.poll_read(cx, now, out, &mut |_, _| ControlFlow::Continue(()));
            }
        }
        self.wakers.attach(cx);
        let mut alarm = self.wakers.take(ALARM);
        if self.wakers.take(WAKE) {
            while self.wake.as_mut().poll(&mut Context::from_waker(self.wakers.waker(WAKE))).is_ready() {
                self.keepalive.check_now(now);
                self.wake = woken(&self.jumps);
                self.timer.set(now);
                alarm = true;
            }
        }
        if alarm && let Some(look) = self.beat(now, read, out, on) {
            return look;
        }
        if !read {
            self.paused = true;
            return LookOutcome::Nothing;
        }
        if self.paused {
            self.paused = false;
            self.keepalive.on_own_pause(now);
        }
        let look = self.poll_read(cx, now, out, on);
        // The socket is left alone from now on.
        self.paused = matches!(look, LookOutcome::Full);
        look
    }

    fn beat(&mut self, now: Instant, read: bool, out: &mut Outgoing, on: &mut OnLinkEvent<'_>) -> Option<LookOutcome> {
        while self.timer.poll(&mut Context::from_waker(self.wakers.waker(ALARM))).is_ready() {
            // On a slow line a ping waits behind a large answer. A peer that takes nothing of that answer is dead, whether
            // we read or not.
            if if out.pending().is_empty() { !read } else { self.keepalive.is_taking(now) } {
                self.keepalive.on_own_pause(now);
            }
            match self.keepalive.on_deadline(now) {
                Beat::Wait => {}
                Beat::Ping => out.ping(),
                Beat::Dead { silent } => return Some(LookOutcome::Over(Cause::Unresponsive { silent })),
            }
            self.timer.set(self.keepalive.deadline());
            let _beat = on(out, LinkEvent::Beat);
        }
        None
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        out: &mut Outgoing,
        on: &mut OnLinkEvent<'_>,
    ) -> LookOutcome {
        let look = self.feed(out, on, Incoming::resume);
        if !matches!(look, LookOutcome::Nothing) {
            return look;
        }
        for _ in 0..READS {
            let mut look = LookOutcome::Nothing;
            let read = match self.incoming.spare() {
                Some((buf, room)) => {
                    let read = poll_read_buf(Pin::new(&mut self.stream), cx, &mut buf.limit(room));
                    if let Poll::Ready(Ok(1..)) = read {
                        look = self.feed(out, on, |incoming, on| incoming.filled(on));
                    }
                    read
                }
                None => {
                    let Connection { stream, incoming, phase, .. } = self;
                    poll_chunk(stream, cx, &mut |chunk| {
                        look = feed_codec(incoming, phase, out, on, |incoming, on| incoming.feed(chunk, on));
                    })
                }
            };
            match read {
                // After a read that did not fill its buffer this costs no system call, and registers the waker.
                Poll::Pending => return LookOutcome::Nothing,
                Poll::Ready(Ok(1..)) => {
                    if let Some(sooner) = self.keepalive.on_received(now) {
                        self.timer.set(sooner);
                    }
                }
                Poll::Ready(Ok(_)) => {
                    return LookOutcome::Over(Cause::Lost("the connection ended without a close frame".into()));
                }
                Poll::Ready(Err(error)) => return LookOutcome::Over(Cause::Lost(words::of_io(&error))),
            }
            if !matches!(look, LookOutcome::Nothing) {
                return look;
            }
        }
        cx.waker().wake_by_ref();
        LookOutcome::Nothing
    }

    fn feed(
        &mut self,
        out: &mut Outgoing,
        on: &mut OnLinkEvent<'_>,
        feed: impl FnOnce(&mut Incoming, &mut OnEvent<'_>) -> Result<ControlFlow<()>, Violation>,
    ) -> LookOutcome {
        feed_codec(&mut self.incoming, &self.phase, out, on, feed)
    }
}

fn woken(jumps: &watch::Receiver<u64>) -> Woken {
    let mut jumps = jumps.clone();
    jumps.mark_unchanged(); // what happened before concerns nobody now
    Box::pin(async move {
        if jumps.changed().await.is_err() {
            std::future::pending::<()>().await; // the watch has ended: the program stops
        }
    })
}

/// Passes bytes to the codec, and the codec's events on. Control frames are dealt with here.
fn feed_codec(
    incoming: &mut Incoming,
    phase: &ConnectionPhase,
    out: &mut Outgoing,
    on: &mut OnLinkEvent<'_>,
    feed: impl FnOnce(&mut Incoming, &mut OnEvent<'_>) -> Result<ControlFlow<()>, Violation>,
) -> LookOutcome {
    let mut closed = None;
    let fed = feed(incoming, &mut |event| {
        match event {
            _ if closed.is_some() => {} // RFC 6455 section 5.5.1: nothing counts after a close frame
            Event::Message(text) => return on(out, LinkEvent::Message(text)),
            Event::TooLarge(cut) => return on(out, LinkEvent::TooLarge(cut)),
            Event::NotText(frame) => return on(out, LinkEvent::NotText(frame)),
            // Pongs are hardly larger than the pings of a read.
            Event::Ping(payload) => out.pong(payload),
            Event::Pong => {}
            Event::Close { code, reason } => {
                closed = Some(Cause::Closed { code, reason: reason.to_owned(), contested: false });
            }
        }
        ControlFlow::Continue(())
    });
    match (closed, fed) {
        (Some(cause), _) if matches!(phase, ConnectionPhase::Leaving { .. }) => LookOutcome::Over(cause),
        (Some(cause), _) => {
            // RFC 6455 section 5.5.1: the answer echoes the code. Private codes are answered with the plain one.
            let code = match &cause {
                Cause::Closed { code: Some(code @ 1000..=1015), .. } => *code,
                Cause::Closed { .. }
                | Cause::Dial(_)
                | Cause::Ours(_)
                | Cause::Lost(_)
                | Cause::Unresponsive { .. }
                | Cause::Protocol(_)
                | Cause::Stranger { .. } => 1000,
            };
            out.close(code, "");
            LookOutcome::Part(cause)
        }
        (None, Err(violation)) if matches!(phase, ConnectionPhase::Leaving { .. }) => {
            LookOutcome::Over(Cause::Protocol(violation.to_string()))
        }
        (None, Err(violation)) => {
            out.close(violation.code, violation.why);
            LookOutcome::Part(Cause::Protocol(violation.to_string()))
        }
        (None, Ok(ControlFlow::Continue(()))) => LookOutcome::Nothing,
        (None, Ok(ControlFlow::Break(()))) => LookOutcome::Full,
    }
}
