//! A server that is reached over the network, by Streamable HTTP (MCP 2025-03-26 and later) or HTTP+SSE (MCP 2024-11-05).
//!
//! # Theory of operation
//!
//! A life is one conversation. Its face is that of a process: lines go in, messages come out, and it ends by itself, by a fault, or by
//! [`Remote::stop`]. Each line becomes a request over HTTP of its own, an *exchange* (`exchange`), which goes through a few steps
//! (`steps`): it may wait for a session, is sent, and what comes of it is read (`body`). How far the conversation is, and so what may be sent, is
//! decided in `session`; what a reply means in `answer`; what a body holds in `reader`, and what a refusal says in `words`. All four are pure.
//!
//! A request that fails is told to whoever asked ([`Found::Unanswered`]), and costs the others nothing. A life ends where the server can't
//! be reached, does not let us in, or ends a session that can't be had anew. A session that a server has forgotten is replaced within the
//! life: what was refused for its sake is sent again, and the router is told ([`Found::Renewed`]).

mod answer;
mod body;
mod exchange;
mod reader;
mod request;
mod session;
mod steps;
mod words;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, Sleep, sleep_until};

use self::exchange::{Aim, DISCOVER, Exchange, Io, MethodId, Patience, SILENCE, Wanted, WantedKind};
use self::session::{LineKind, Session};
use super::auth::{Auth, Cause, Denied, Renewal};
use super::bridge::{Post, PostKind};
use super::stdout::{Found, Left, OnFound};
use crate::config::{AuthSpec, RemoteSpec, RemoteTransport, ServerSpec};
use crate::endpoint::RemoteUrl;
use crate::error::FaultCode;
use crate::frame::LineOut;
use crate::mcp::envelope::{self, Kind};
use crate::mcp::id::flight_id;
use crate::mcp::modern;
use crate::net::http::Client;
use crate::secrecy::Redactor;
use crate::tools::ToolPolicy;
use crate::wakers::{Bits, Wakers};
use crate::words::span;

/// Most requests that use a connection at the same time; others wait for one to end. Each costs a descriptor, of which a process has
/// often 1024.
const MAX_AT_WORK: usize = 100;
/// Most bytes of requests that wait so: what comes beyond waits before the life, where the endpoint feels it.
const MAX_QUEUED: usize = 1 << 20;

/// Longest time for which requests wait for the stream of what the server says by itself: what is asked amid a call may come on it, and some
/// servers drop that where it does not stand. Others don't answer for it before they have something to say.
const STANDS: Duration = Duration::from_millis(300);

/// See the module's documentation.
pub(super) struct Remote {
    spec: Arc<RemoteSpec>,
    redactor: Redactor,
    max_frame: usize,
    patience: Patience,
    /// How long calls may take, as the config had it when the life began.
    tools: Arc<ToolPolicy>,
    client: Client,
    auth: Arc<Auth>,
    /// Another token is being had, and requests wait for it.
    renewal: Option<Renewal>,
    /// Where requests go, but those for which the server has named another address.
    url: RemoteUrl,
    way: Way,
    /// The other way was tried, or is not to be.
    is_settled: bool,
    session: Session,
    /// By which methods sessions were found to be lost that were not answered since: what a server refuses in each session is no sign
    /// that it has forgotten another one. As many as there are methods.
    suspects: Vec<MethodId>,
    /// By their places; `None`: the place is free.
    each: Vec<Option<Exchange>>,
    /// Exchanges that wait, the oldest first.
    queue: VecDeque<usize>,
    wakers: Wakers,
    woken: Bits,
    left: Left,
    /// Lines wait before the life, as it takes none now.
    is_blocked: bool,
    timer: Option<Pin<Box<Sleep>>>,
    /// Requests wait for the stream of what the server says by itself to stand, but no longer.
    stream_until: Option<Instant>,
    end: Option<Obituary>,
    /// In what words the server refused `initialize` before the other way was tried.
    refusal: Option<Obituary>,
}

/// The transport of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Way {
    /// Streamable HTTP.
    Http,
    /// HTTP+SSE. `posts`: the address that the server has named for what it is sent.
    Sse { posts: Option<RemoteUrl> },
}

/// How a life ended.
#[derive(Debug, Clone)]
pub(super) struct Obituary {
    pub(super) fault: FaultCode,
    /// In one line for people, as the end of a sentence that begins with the server's name.
    pub(super) why: String,
    /// How long the server asks to be left alone.
    pub(super) retry_after: Duration,
}

impl Obituary {
    fn new(fault: FaultCode, why: impl Into<String>) -> Self {
        Obituary { fault, why: why.into(), retry_after: Duration::ZERO }
    }
}

/// Whoever takes what is found, for the time of a poll.
struct Taker<'a, 'b> {
    on: &'a mut OnFound<'b>,
    /// Whether there is room for more.
    flow: ControlFlow<()>,
    now: Instant,
}

impl Remote {
    /// Begins a life. `max_frame` and the like are those of the server.
    pub(super) fn new(
        server: &ServerSpec,
        spec: Arc<RemoteSpec>,
        auth: Arc<Auth>,
        redactor: Redactor,
        now: Instant,
    ) -> Self {
        auth.begin();
        let longest = server.tools.timeouts.iter().map(|(_, timeout)| *timeout).chain(server.tools.timeout).max();
        // A call with a time of its own is ended by the router.
        let silence = longest.map_or(SILENCE, |longest| SILENCE.max(longest.saturating_mul(2)));
        let is_sse = spec.is_sse();
        let mut remote = Remote {
            client: Client::new(&spec.url, spec.tls.clone(), spec.connect_timeout),
            auth,
            renewal: None,
            url: spec.url.clone(),
            redactor,
            max_frame: server.max_frame,
            tools: server.tools.clone(),
            patience: Patience { start: server.start_timeout, discover: DISCOVER.min(server.start_timeout), silence },
            way: Way::Http,
            is_settled: spec.transport != RemoteTransport::Any,
            spec,
            session: Session::new(),
            suspects: Vec::new(),
            each: Vec::new(),
            queue: VecDeque::new(),
            wakers: Wakers::new(0),
            woken: Bits::default(),
            left: Left::default(),
            is_blocked: false,
            timer: None,
            stream_until: None,
            end: None,
            refusal: None,
        };
        if is_sse {
            remote.way = Way::Sse { posts: None };
            remote.begin(Exchange::new(Aim::Stream, Bytes::new(), now));
        }
        remote
    }

    /// Whether nothing is known to be wrong.
    pub(super) fn is_up(&self) -> bool {
        self.end.is_none()
    }

    /// The extension of MCP by which the server is told who asks, if it is by one.
    pub(super) fn extension(&self) -> Option<&'static str> {
        match self.spec.auth {
            AuthSpec::ClientCredentials(_) => Some(modern::CLIENT_CREDENTIALS),
            AuthSpec::Headers
            | AuthSpec::Bearer(_)
            | AuthSpec::BearerFile(_)
            | AuthSpec::BearerCommand(_)
            | AuthSpec::Login(_) => None,
        }
    }

    /// Whether the server has answered `initialize` in this life.
    pub(super) fn has_begun(&self) -> bool {
        self.session.has_begun()
    }

    /// How the life ended.
    pub(super) fn obituary(&self) -> Obituary {
        self.end.clone().unwrap_or_else(|| Obituary::new(FaultCode::RemoteLost, "ended"))
    }

    /// Drives everything but what is written. Ready when the life is over.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, now: Instant, read: bool, on: &mut OnFound<'_>) -> Poll<()> {
        self.wakers.attach(cx);
        self.poll_renewal(cx);
        let flow = if read { self.left.resume(on) } else { ControlFlow::Break(()) };
        let mut taker = Taker { on, flow, now };
        self.wakers.take_all(&mut self.woken);
        let mut unread = Bits::default();
        while let Some(place) = self.woken.next(0) {
            self.woken.remove(place);
            if self.step(place, &mut taker).is_break() {
                unread.insert(place);
            }
        }
        self.poll_timer(cx, &mut taker);
        // These were woken by the timer, or begun by what was read.
        while let Some(place) = self.woken.next(0) {
            self.woken.remove(place);
            if self.step(place, &mut taker).is_break() {
                unread.insert(place);
            }
        }
        self.poll_renewal(cx);
        self.arm(cx);
        // Polled again once there is room.
        self.woken = unread;
        if self.is_blocked && self.takes_lines() {
            self.is_blocked = false;
            cx.waker().wake_by_ref();
        }
        if self.end.is_some() && self.each.iter().all(Option::is_none) && self.left.is_empty() {
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Takes what the server may be sent now. Ready when nothing is left.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, out: &mut LineOut) -> Poll<()> {
        self.wakers.attach(cx);
        while let Some(end) = memchr::memchr(b'\n', out.pending()) {
            if !self.takes_lines() {
                self.is_blocked = true;
                return Poll::Pending;
            }
            let line = Bytes::copy_from_slice(&out.pending()[..end]);
            out.advance(end + 1);
            self.send(line, Instant::now());
        }
        Poll::Ready(())
    }

    /// Ends the life: at once, or after the server was told that the session is over. To be followed by a poll.
    pub(super) fn stop(&mut self, now: bool) {
        if self.end.is_none() {
            let how = if self.session.is_modern() { "is asked no more" } else { "was told that its session is over" };
            self.finish(Obituary::new(FaultCode::RemoteLost, how), true);
        }
        if now {
            self.drop_all();
        }
    }

    /// Ends the life because of something that the server did. To be followed by a poll.
    pub(super) fn fail(&mut self, fault: impl Into<Cow<'static, str>>) {
        self.finish(Obituary::new(FaultCode::RemoteLost, fault.into()), true);
    }

    /// Ends the life. `tell`: the server is told.
    fn finish(&mut self, end: Obituary, tell: bool) {
        if self.end.is_some() {
            return;
        }
        self.end = Some(end);
        self.drop_all();
        if tell && self.way == Way::Http && self.session.id().is_some() {
            self.begin(Exchange::new(Aim::End, Bytes::new(), Instant::now()));
        } else if !self.each.is_empty() {
            self.wakers.waker(0).wake_by_ref();
        }
    }

    fn drop_all(&mut self) {
        self.renewal = None;
        self.each.iter_mut().for_each(|place| *place = None);
        self.queue.clear();
        // The task is to see that nothing is left.
        if !self.each.is_empty() {
            self.wakers.waker(0).wake_by_ref();
        }
    }

    /// Whether lines are taken: what waits for a session or for others is bounded.
    fn takes_lines(&self) -> bool {
        let queued = || self.queue.iter().filter_map(|place| self.each[*place].as_ref());
        self.end.is_none() && queued().map(|exchange| exchange.body.len()).sum::<usize>() < MAX_QUEUED
    }

    /// A line for the server.
    pub(super) fn send(&mut self, line: Bytes, now: Instant) {
        let Some(e) = envelope::scan_one(&line) else { return };
        let method = e.method.clone().map_or(&b""[..], |method| &line[method]);
        let kind = match (e.kind(&line), method) {
            (Kind::Request, b"initialize") => LineKind::Initialize,
            (Kind::Request, _) => LineKind::Request,
            (_, b"notifications/initialized") => LineKind::Initialized,
            (Kind::Notification | Kind::Response | Kind::Other, _) => LineKind::Message,
        };
        if method == b"notifications/cancelled"
            && let Some(number) = e.request_id.clone().and_then(|id| flight_id(&line[id]))
            && self.cancel(number, now)
        {
            return;
        }
        let aim = match (kind, e.id) {
            (LineKind::Initialize | LineKind::Request, Some(id)) => Aim::Request(Wanted {
                number: flight_id(&line[id.clone()]),
                id: line[id].into(),
                kind: if kind == LineKind::Initialize { WantedKind::Initialize } else { WantedKind::Other },
                method: MethodId::of(method),
                answered: false,
                resumes: None,
                instead: None,
            }),
            (LineKind::Initialize | LineKind::Request | LineKind::Initialized | LineKind::Message, _) => {
                Aim::Message { announces: kind == LineKind::Initialized }
            }
        };
        let place = self.begin(Exchange::new(aim, line, now));
        if let Some(exchange) = &mut self.each[place] {
            exchange.io = Io::Parked;
        }
        self.queue.push_back(place);
        self.release();
    }

    /// From now on the server is spoken to as one of the modern era, or no longer.
    pub(super) fn be_modern(&mut self, is_modern: bool) {
        if self.session.is_modern() != is_modern {
            self.session = if is_modern { Session::modern() } else { Session::new() };
        }
    }

    /// Whether messages of a bridge are taken.
    pub(super) fn takes_posts(&mut self) -> bool {
        self.is_blocked = !self.takes_lines();
        !self.is_blocked
    }

    /// A message of a bridge for the server.
    pub(super) fn post(&mut self, post: Post, now: Instant) {
        let Post { kind, number, frame, headers } = post;
        let kind = match kind {
            PostKind::Discover => WantedKind::Discover,
            PostKind::Listen => WantedKind::Listen,
            PostKind::Request | PostKind::Message => WantedKind::Other,
        };
        let aim = match number {
            Some(number) => Aim::Request(Wanted {
                id: number.to_string().into_bytes().into(),
                number: Some(number),
                kind,
                method: MethodId::of(b""), // there is no session to be lost
                answered: false,
                resumes: None,
                instead: None,
            }),
            None => Aim::Message { announces: false },
        };
        let place = self.begin(Exchange::new(aim, frame.into(), now));
        if let Some(exchange) = &mut self.each[place] {
            (exchange.io, exchange.headers) = (Io::Parked, headers);
        }
        self.queue.push_back(place);
        self.release();
    }

    /// Nobody waits any more for the answer to the request of this number: its stream is closed, by which the server is told.
    pub(super) fn withdraw(&mut self, number: u64) {
        if let Some(place) = self.place_of(number) {
            self.vacate(place);
        }
    }

    /// Nobody waits any more for the request of this number. Returns whether the server never heard of it.
    fn cancel(&mut self, number: u64, now: Instant) -> bool {
        let Some(place) = self.place_of(number) else { return false };
        let Some(exchange) = &mut self.each[place] else { return false };
        match exchange.io {
            Io::Parked | Io::Unauthorized if !exchange.tries.renewed => {
                self.vacate(place);
                return true;
            }
            // Elsewhere nothing would end it.
            Io::Parked | Io::Unauthorized | Io::Pausing(_) | Io::Awaited => self.vacate(place),
            Io::Sending(_) | Io::Arrived(_) | Io::Explaining { .. } | Io::Reading(_) => {
                if let Aim::Request(wanted) = &mut exchange.aim {
                    wanted.answered = true;
                }
                exchange.moved = now;
                self.woken.insert(place);
            }
        }
        false
    }

    /// Where the request of this number is that has no answer yet.
    fn place_of(&self, number: u64) -> Option<usize> {
        let is_it = |exchange: &Exchange| exchange.wanted().is_some_and(|wanted| wanted.number == Some(number));
        self.each.iter().position(|place| place.as_ref().is_some_and(is_it))
    }

    /// An exchange begins, at a place of its own.
    fn begin(&mut self, exchange: Exchange) -> usize {
        let place = self.each.iter().position(Option::is_none).unwrap_or_else(|| {
            self.each.push(None);
            self.wakers.add();
            self.each.len() - 1
        });
        self.each[place] = Some(exchange);
        self.wakers.waker(place).wake_by_ref();
        place
    }

    /// The place of an exchange that is over is free.
    fn vacate(&mut self, place: usize) {
        self.each[place] = None;
        self.queue.retain(|waits| *waits != place);
        self.release();
    }

    /// Sends what waits, as far as the conversation and the connections allow.
    fn release(&mut self) {
        // Without the token that is being had they would be refused.
        if self.renewal.is_some() {
            return;
        }
        // Counted once, not for each that waits: thousands may.
        let mut at_work = self.each.iter().flatten().filter(|exchange| exchange.is_at_work()).count();
        let is_reachable = self.way != Way::Sse { posts: None };
        let mut at = 0;
        while let Some(&place) = self.queue.get(at) {
            let Some(exchange) = self.each[place].as_mut() else {
                self.queue.remove(at);
                continue;
            };
            let line = match &exchange.aim {
                Aim::Request(wanted) if wanted.kind == WantedKind::Initialize => LineKind::Initialize,
                Aim::Renewal => LineKind::Initialize,
                Aim::Message { announces: true } => LineKind::Initialized,
                Aim::Message { announces: false } => LineKind::Message,
                Aim::Request(_) | Aim::Probe | Aim::Listening { .. } | Aim::Stream | Aim::End => LineKind::Request,
            };
            let is_renewal = matches!(exchange.aim, Aim::Renewal);
            // `initialize` may be sent again, by the other way, or for another session.
            let is_again = line == LineKind::Initialize && (is_renewal || !self.session.has_begun());
            let is_admitted = self.session.admits(line) || is_again;
            let has_to_wait = at_work >= MAX_AT_WORK || self.stream_until.is_some();
            if !is_reachable || !is_admitted || line == LineKind::Request && has_to_wait {
                // A cancellation goes past requests that wait for others to end; nothing goes past the handshake.
                at += 1;
                if !is_reachable || line != LineKind::Request {
                    return;
                }
                continue;
            }
            self.queue.remove(at);
            if let Some(exchange) = self.each[place].as_mut() {
                at_work += 1;
                if !is_renewal {
                    self.session.sends(line, &exchange.body);
                }
                exchange.io = Io::Pausing(exchange.moved);
                self.woken.insert(place);
                self.wakers.waker(place).wake_by_ref();
            }
        }
    }

    /// Has another token, unless one is being had already.
    fn renew(&mut self, cause: Cause) {
        if self.renewal.is_none() {
            self.renewal = Some(self.auth.renew(cause));
        }
    }

    /// Drives what another token is had by. Once there is one, the requests that wait for it are sent.
    fn poll_renewal(&mut self, cx: &mut Context<'_>) {
        let Some(renewal) = &mut self.renewal else { return };
        let Poll::Ready(done) = renewal.as_mut().poll(cx) else { return };
        self.renewal = None;
        if let Err(Denied { fault, why }) = done {
            return self.finish(Obituary::new(fault, why), false);
        }
        let now = Instant::now();
        for (place, exchange) in self.each.iter_mut().enumerate() {
            if let Some(exchange) = exchange.as_mut().filter(|exchange| matches!(exchange.io, Io::Unauthorized)) {
                (exchange.io, exchange.moved) = (Io::Pausing(now), now);
                self.wakers.waker(place).wake_by_ref();
            }
        }
        self.release();
    }

    /// Has the task woken when the next exchange is due.
    fn arm(&mut self, cx: &mut Context<'_>) {
        let dues = self.each.iter().flatten().filter_map(|exchange| exchange.due(self.patience));
        let due = dues.chain(self.stream_until).min();
        let Some(due) = due else {
            self.timer = None;
            return;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if timer.deadline() != due {
            timer.as_mut().reset(due);
        }
        if timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }

    /// Deals with exchanges that are due.
    fn poll_timer(&mut self, cx: &mut Context<'_>, taker: &mut Taker<'_, '_>) {
        let Some(timer) = &mut self.timer else { return };
        if timer.as_mut().poll(cx).is_pending() {
            return;
        }
        self.timer = None;
        taker.now = Instant::now();
        if self.stream_until.is_some_and(|until| until <= taker.now) {
            self.stream_until = None;
            self.release();
        }
        for place in 0..self.each.len() {
            let Some(exchange) = &self.each[place] else { continue };
            if exchange.stalls(self.patience).is_some_and(|at| at <= taker.now) {
                self.give_up(place, taker);
            } else if exchange.due(self.patience).is_some_and(|at| at <= taker.now) {
                self.woken.insert(place);
            }
        }
    }

    /// An exchange has taken too long.
    fn give_up(&mut self, place: usize, taker: &mut Taker<'_, '_>) {
        let Some(exchange) = self.each[place].take() else { return };
        self.vacate(place);
        let start = span(self.patience.start);
        match &exchange.aim {
            Aim::Request(Wanted { answered: true, .. }) | Aim::Message { announces: false } | Aim::End => {}
            Aim::Request(Wanted { kind: WantedKind::Initialize, .. }) | Aim::Renewal => {
                let why = format!("has not answered initialize for {start}");
                self.finish(Obituary::new(FaultCode::RemoteTimeout, why), false);
            }
            Aim::Message { announces: true } | Aim::Probe => {
                let why = format!("has not answered for {}", span(exchange::MESSAGE));
                self.finish(Obituary::new(FaultCode::RemoteTimeout, why), false);
            }
            Aim::Request(wanted) => {
                let is_discover = wanted.kind == WantedKind::Discover;
                let silence = if is_discover { self.patience.discover } else { self.patience.silence };
                let why = format!("has said nothing about it for {}", span(silence));
                let cancelled = crate::mcp::reply::cancelled(&wanted.id, "it took too long");
                self.unanswered(wanted, &why, taker);
                // In the modern era the end of the exchange says it.
                if exchange.session.0 == self.session.number() && !self.session.is_modern() {
                    self.begin(Exchange::new(Aim::Message { announces: false }, cancelled.into(), taker.now));
                }
            }
            Aim::Listening { .. } | Aim::Stream => {}
        }
    }

    /// A request is answered by the server no more.
    fn unanswered(&mut self, wanted: &Wanted, why: &str, taker: &mut Taker<'_, '_>) {
        let why = self.redactor.clean(why);
        self.left.pass(Found::Unanswered { id: &wanted.id, why: &why }, &mut taker.flow, taker.on);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
