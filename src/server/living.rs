//! One life of a server in its era: what carries its messages, and what stands between that and the router.
//!
//! A server of the legacy era is passed on as it is. Before a server that may be of the other era the answer to its first question shows which it
//! is; of the modern era a [`Bridge`] speaks for it. A process that turns out to be of the other era is replaced by a fresh one, and the
//! router, which waits for the answer to `initialize`, notices nothing ([`Living::again`]). At an address the other question simply follows.

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, Sleep, sleep_until};

use super::being::{Being, End};
use super::bridge::{Bridge, Post, Verdict, Wire};
use super::era::Eras;
use super::stderr::Noted;
use super::stdout::{Found, Left, OnFound};
use crate::frame::LineOut;
use crate::mcp::envelope::{self, Kind};
use crate::mcp::era::Era;
use crate::mcp::failure::Failure;
use crate::mcp::id::flight_id;
use crate::mcp::reply::{self, UNAVAILABLE};

/// Most bytes that wait for a process behind its bridge: what comes beyond waits before it, where the endpoint feels it.
const MAX_WAITING: usize = 256 * 1024;

/// Longest time until a process that may be of either era says what it is. A slow one on a loaded machine took 4 s.
const PATIENCE: Duration = Duration::from_secs(20);

/// See the module's documentation.
pub(super) struct Living {
    being: Being,
    stage: Stage,
    /// `initialize`, as the router sent it, with its number, until the server's era is known.
    hello: Option<(Bytes, u64)>,
    /// For a process, before what the router has for it.
    stdin: LineOut,
    /// It was opened as one of the other era before, in this life.
    tried_other: bool,
    /// Its own answer by which it refused `initialize`, kept back meanwhile.
    refusal: Option<Box<[u8]>>,
    /// The server is to be opened anew, as one of this era, once what carries its messages now is gone.
    again: Option<Era>,
    /// The server has shown of which era it is, and nobody has asked for that.
    news: Option<Era>,
    /// The server refuses the era that the config sets, and nobody has asked for that.
    hints: bool,
    /// When the life began.
    began: Instant,
}

enum Stage {
    /// Messages pass.
    Passing,
    /// The answer to `initialize` shows whether the server is of the legacy era.
    Asked,
    Bridged(Box<Middle>),
}

/// What a bridge needs around it.
struct Middle {
    bridge: Bridge,
    /// For an address.
    posts: Vec<Post>,
    withdrawn: Vec<u64>,
    /// What the bridge has to say while nobody listens.
    left: Left,
    timer: Option<Pin<Box<Sleep>>>,
}

/// Takes a bridge's messages for the time of a call.
struct Carrier<'a, 'b> {
    is_http: bool,
    stdin: &'a mut LineOut,
    posts: &'a mut Vec<Post>,
    withdrawn: &'a mut Vec<u64>,
    left: &'a mut Left,
    /// Whether there is room for what is found.
    flow: ControlFlow<()>,
    on: &'a mut OnFound<'b>,
}

impl Wire for Carrier<'_, '_> {
    fn send(&mut self, post: Post) {
        if self.is_http {
            self.posts.push(post);
        } else {
            self.stdin.push(&[&post.frame]);
        }
    }

    fn withdraw(&mut self, number: u64) {
        self.withdrawn.push(number);
    }

    fn hand_on(&mut self, found: Found<'_>) {
        self.left.pass(found, &mut self.flow, self.on);
    }
}

impl Middle {
    fn new(bridge: Bridge) -> Self {
        Middle { bridge, posts: Vec::new(), withdrawn: Vec::new(), left: Left::default(), timer: None }
    }

    /// A line of the router's. What the bridge has to say to that is kept for the next poll.
    fn take_line(&mut self, line: &[u8], stdin: &mut LineOut) {
        let Middle { bridge, posts, withdrawn, left, .. } = self;
        let (is_http, flow, on) =
            (bridge.is_http(), ControlFlow::Break(()), &mut |_: Found<'_>| ControlFlow::Break(()));
        bridge.on_line(line, Instant::now(), &mut Carrier { is_http, stdin, posts, withdrawn, left, flow, on });
    }

    /// Whether the bridge's time has come.
    fn is_due(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(due) = self.bridge.due() else {
            self.timer = None;
            return false;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if timer.deadline() != due {
            timer.as_mut().reset(due);
        }
        timer.as_mut().poll(cx).is_ready()
    }
}

impl Living {
    /// A life begins, opened as `eras` say. `name`: the server's.
    pub(super) fn new(being: Being, eras: &Eras, name: &Arc<str>, now: Instant) -> Self {
        let (hello, stdin, stage) = (None, LineOut::new(), Stage::Asked);
        let mut living = Living {
            being,
            stage,
            hello,
            stdin,
            tried_other: false,
            refusal: None,
            again: None,
            news: None,
            hints: false,
            began: now,
        };
        let era = eras.opening();
        living.open(era, name, eras.is_guess(era).then_some(PATIENCE));
        living
    }

    /// `patience`: how long a server that may be of either era has to say what it is.
    fn open(&mut self, era: Era, name: &Arc<str>, patience: Option<Duration>) {
        if let Being::Remote(remote) = &mut self.being {
            remote.be_modern(era == Era::Modern);
        }
        let (is_http, extension) = match &self.being {
            Being::Remote(remote) => (true, remote.extension()),
            Being::Process(_) | Being::Comer(_) => (false, None),
        };
        // At an address the exchange has a time of its own.
        let patience = patience.filter(|_| !is_http);
        self.stage = match era {
            Era::Legacy => Stage::Asked,
            Era::Modern => {
                Stage::Bridged(Box::new(Middle::new(Bridge::new(name.clone(), is_http, patience, extension))))
            }
        };
    }

    /// The life goes on with another process, opened as one of this era.
    pub(super) fn go_on(&mut self, being: Being, era: Era, name: &Arc<str>, now: Instant) {
        (self.being, self.again) = (being, None);
        self.stdin.clear();
        // A slow server may take as long as it took to refuse.
        self.open(era, name, Some(PATIENCE.max(2 * (now - self.began))));
        self.resend_hello();
    }

    /// The server's words by which it was none of the era as which it was opened before.
    pub(super) fn refused_words(&self) -> Option<String> {
        self.refusal.as_deref().map(|refusal| Failure::read(refusal).message)
    }

    /// Whether the server has refused the legacy era, which the config sets, since this was last asked.
    pub(super) fn take_hint(&mut self) -> bool {
        std::mem::take(&mut self.hints)
    }

    /// Has the server asked what the router has asked it already.
    fn resend_hello(&mut self) {
        let Some((hello, _)) = &self.hello else { return };
        match (&mut self.stage, &mut self.being) {
            (Stage::Bridged(middle), _) => middle.take_line(hello, &mut self.stdin),
            (Stage::Asked | Stage::Passing, Being::Process(_) | Being::Comer(_)) => self.stdin.push(&[hello]),
            (Stage::Asked | Stage::Passing, Being::Remote(remote)) => remote.send(hello.clone(), Instant::now()),
        }
    }

    /// As what the server is opened, where it has not shown yet that it is of that era.
    pub(super) fn opening(&self) -> Option<Era> {
        match &self.stage {
            Stage::Passing => None,
            Stage::Asked => Some(Era::Legacy),
            Stage::Bridged(middle) => (!middle.bridge.is_open()).then_some(Era::Modern),
        }
    }

    /// As what the server is to be opened once more, now that what carried its messages is gone.
    pub(super) fn again(&self) -> Option<Era> {
        self.again
    }

    /// Of which era the server has turned out to be since this was last asked, where that is news.
    pub(super) fn take_news(&mut self) -> Option<Era> {
        self.news.take()
    }

    /// The answer to `initialize` that was kept back, as the server might have been of the other era.
    pub(super) fn take_refusal(&mut self) -> Option<Box<[u8]>> {
        self.hello.take().and_then(|_| self.refusal.take())
    }

    pub(super) fn stop(&mut self, now: bool) {
        self.being.stop(now);
    }

    pub(super) fn fail(&mut self, fault: Cow<'static, str>) {
        self.being.fail(fault);
    }

    pub(super) fn is_up(&self) -> bool {
        self.again.is_none() && self.being.is_up()
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.being.pid()
    }

    /// Whether it is a process that says nothing here, and says on stderr that it serves over HTTP.
    pub(super) fn seems_for_http(&self) -> bool {
        self.being.seems_for_http()
    }

    pub(super) fn end(&self) -> End {
        self.being.end()
    }

    /// Drives everything but what is written, as [`Being::poll`] does.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        (now, read): (Instant, bool),
        eras: &mut Eras,
        on: &mut OnFound<'_>,
        log: &mut dyn FnMut(Noted<'_>),
    ) -> Poll<()> {
        match &mut self.stage {
            Stage::Passing => self.being.poll(cx, now, read, on, log),
            Stage::Asked => self.poll_asked(cx, (now, read), eras, on, log),
            Stage::Bridged(_) => self.poll_bridged(cx, (now, read), eras, on, log),
        }
    }

    fn poll_asked(
        &mut self,
        cx: &mut Context<'_>,
        (now, read): (Instant, bool),
        eras: &mut Eras,
        on: &mut OnFound<'_>,
        log: &mut dyn FnMut(Noted<'_>),
    ) -> Poll<()> {
        let number = self.hello.as_ref().map(|(_, number)| *number);
        let (is_over, may_be_other) = (self.again.is_some(), !self.tried_other && eras.may_be_other());
        if let Being::Process(process) = &mut self.being
            && !self.stdin.is_empty()
        {
            // `initialize`, which the router has sent already.
            let _pending = process.poll_write(cx, &mut self.stdin);
        }
        // What the answer to `initialize` is: a result, or an error.
        let mut shown: Option<Result<(), Option<Box<[u8]>>>> = None;
        let polled = self.being.poll(
            cx,
            now,
            read,
            &mut |found| {
                if is_over || matches!(shown, Some(Err(Some(_)))) {
                    return ControlFlow::Continue(()); // nobody waits for it
                }
                // Nothing else is under way, so an error that names no request is the answer.
                let named = match (&found, number) {
                    (Found::Nameless(error), Some(number)) => envelope::named(error, number),
                    (_, _) => None,
                };
                let found = match &named {
                    Some((frame, envelope)) => Found::Message { frame, envelope },
                    None => found,
                };
                if let Found::Message { frame, envelope } = &found
                    && envelope.kind(frame) == Kind::Response
                    && envelope.id.clone().and_then(|id| flight_id(&frame[id])) == number
                    && number.is_some()
                {
                    match envelope.result {
                        Some(_) => shown = Some(Ok(())),
                        None if may_be_other => {
                            shown = Some(Err(Some((*frame).into())));
                            return ControlFlow::Continue(());
                        }
                        None => shown = Some(Err(None)),
                    }
                }
                on(found)
            },
            log,
        );
        match shown {
            None => {}
            Some(Ok(())) => {
                self.news = eras.proven(Era::Legacy).then_some(Era::Legacy);
                (self.stage, self.hello, self.refusal) = (Stage::Passing, None, None);
            }
            Some(Err(None)) => {
                self.hints = !eras.may_be_other();
                eras.begin_anew();
                (self.stage, self.hello, self.refusal) = (Stage::Passing, None, None);
            }
            Some(Err(refusal @ Some(_))) => {
                eras.refused(Era::Legacy);
                (self.refusal, self.again, self.tried_other) = (refusal, Some(Era::Modern), true);
                self.being.stop(false);
                cx.waker().wake_by_ref();
            }
        }
        polled
    }

    fn poll_bridged(
        &mut self,
        cx: &mut Context<'_>,
        (now, read): (Instant, bool),
        eras: &mut Eras,
        on: &mut OnFound<'_>,
        log: &mut dyn FnMut(Noted<'_>),
    ) -> Poll<()> {
        let Living { being, stage: Stage::Bridged(middle), stdin, .. } = self else { return Poll::Pending };
        // What a server still says that is asked anew is for nobody.
        let is_over = self.again.is_some();
        let is_due = middle.is_due(cx) && !is_over;
        let Middle { bridge, posts, withdrawn, left, .. } = &mut **middle;
        let flow = if read { left.resume(on) } else { ControlFlow::Break(()) };
        let read = flow.is_continue();
        let mut carrier = Carrier { is_http: bridge.is_http(), stdin, posts, withdrawn, left, flow, on };
        if is_due {
            bridge.on_tick(now, &mut carrier);
        }
        let polled = being.poll(
            cx,
            now,
            read,
            &mut |found| {
                if is_over {
                    return ControlFlow::Continue(());
                }
                bridge.on_found(found, now, &mut carrier);
                carrier.flow
            },
            log,
        );
        let verdict = bridge.take_verdict();
        let is_pending = self.flush(cx, now).is_pending();
        if !is_pending && self.timer_moved() {
            cx.waker().wake_by_ref();
        }
        if let Some(verdict) = verdict {
            self.on_verdict(verdict, eras);
            cx.waker().wake_by_ref();
        }
        polled
    }

    /// Whether the bridge's time is another one than is waited for.
    fn timer_moved(&self) -> bool {
        let Stage::Bridged(middle) = &self.stage else { return false };
        middle.bridge.due() != middle.timer.as_ref().map(|timer| timer.deadline())
    }

    /// Gives what the bridge has for the server to what carries it.
    fn flush(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        match (&mut self.being, &mut self.stage) {
            (being @ (Being::Process(_) | Being::Comer(_)), _) => being.poll_write(cx, &mut self.stdin),
            (Being::Remote(remote), Stage::Bridged(middle)) => {
                middle.posts.drain(..).for_each(|post| remote.post(post, now));
                middle.withdrawn.drain(..).for_each(|number| remote.withdraw(number));
                Poll::Ready(())
            }
            (Being::Remote(_), Stage::Asked | Stage::Passing) => Poll::Ready(()),
        }
    }

    /// Does what follows from the era of which the server has turned out to be.
    fn on_verdict(&mut self, verdict: Verdict, eras: &mut Eras) {
        match verdict {
            Verdict::Modern => {
                self.news = eras.proven(Era::Modern).then_some(Era::Modern);
                (self.hello, self.refusal) = (None, None);
            }
            Verdict::Surprise => {
                eras.refused(Era::Modern);
                self.being.fail("says that it is of the legacy era, which it was not before".into());
            }
            Verdict::Legacy(why) => {
                let number = self.hello.as_ref().map_or(0, |(_, number)| *number);
                if self.tried_other {
                    eras.begin_anew();
                    let refusal = self.refusal.take().unwrap_or_default();
                    self.say(&refusal);
                } else if !eras.refused(Era::Modern) {
                    let why = format!("{why}, and its \"era\" is set to \"modern\"; remove that");
                    self.say(&reply::error(number.to_string().as_bytes(), UNAVAILABLE, why));
                } else {
                    self.tried_other = true;
                    match &mut self.being {
                        being @ (Being::Process(_) | Being::Comer(_)) => {
                            self.again = Some(Era::Legacy);
                            being.stop(false);
                        }
                        Being::Remote(remote) => {
                            remote.be_modern(false);
                            self.stage = Stage::Asked;
                            self.resend_hello();
                        }
                    }
                }
            }
        }
    }

    /// Has the router told this with the next poll.
    fn say(&mut self, frame: &[u8]) {
        self.hello = None;
        if let (Stage::Bridged(middle), Some(envelope)) = (&mut self.stage, envelope::scan_one(frame)) {
            let (mut flow, on) = (ControlFlow::Break(()), &mut |_: Found<'_>| ControlFlow::Break(()));
            middle.left.pass(Found::Message { frame, envelope: &envelope }, &mut flow, on);
        }
    }

    /// Takes what the server may be sent now. Ready when nothing is left.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, out: &mut LineOut) -> Poll<()> {
        if self.again.is_some() {
            return if out.is_empty() { Poll::Ready(()) } else { Poll::Pending };
        }
        match &mut self.stage {
            Stage::Passing | Stage::Asked => {
                if self.hello.is_none() && matches!(self.stage, Stage::Asked) {
                    self.hello = first_line(out.pending()).and_then(read_hello);
                }
                if let Being::Process(process) = &mut self.being
                    && !self.stdin.is_empty()
                {
                    ready!(process.poll_write(cx, &mut self.stdin));
                }
                self.being.poll_write(cx, out)
            }
            Stage::Bridged(middle) => {
                while let Some(line) = first_line(out.pending()) {
                    let has_room = match &mut self.being {
                        Being::Process(_) | Being::Comer(_) => self.stdin.len() < MAX_WAITING,
                        Being::Remote(remote) => remote.takes_posts(),
                    };
                    if !has_room {
                        break;
                    }
                    if self.hello.is_none() && !middle.bridge.is_open() {
                        self.hello = read_hello(line);
                    }
                    middle.take_line(line, &mut self.stdin);
                    let taken = line.len() + 1;
                    out.advance(taken);
                    if !middle.left.is_empty() {
                        cx.waker().wake_by_ref();
                    }
                    if let Being::Remote(remote) = &mut self.being {
                        middle.posts.drain(..).for_each(|post| remote.post(post, Instant::now()));
                        middle.withdrawn.drain(..).for_each(|number| remote.withdraw(number));
                    }
                }
                ready!(self.flush(cx, Instant::now()));
                if out.is_empty() { Poll::Ready(()) } else { Poll::Pending }
            }
        }
    }
}

/// The first line of what waits.
fn first_line(pending: &[u8]) -> Option<&[u8]> {
    memchr::memchr(b'\n', pending).map(|end| &pending[..end])
}

/// A line that is `initialize`, with its number.
fn read_hello(line: &[u8]) -> Option<(Bytes, u64)> {
    let e = envelope::scan_one(line)?;
    let is_hello = e.method.clone().is_some_and(|method| line[method] == *b"initialize");
    let number = e.id.and_then(|id| flight_id(&line[id])).filter(|_| is_hello)?;
    Some((Bytes::copy_from_slice(line), number))
}
