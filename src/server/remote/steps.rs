//! The steps of an exchange: it is sent, and what follows from the head of a reply, a refusal or an error is done. Its body is read in
//! `body`.

use std::ops::ControlFlow;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, LOCATION};
use tokio::time::Instant;

use super::super::auth::{Cause, Challenge, Ready, Renewed};
use super::answer::{self, Asked, Head, Media};
use super::exchange::{Aim, Exchange, Io, MethodId, Reading, Wanted, WantedKind};
use super::reader::Reader;
use super::request;
use super::session::{LineKind, Loss};
use super::words::{self, Words};
use super::{Found, Obituary, Remote, STANDS, Taker, Way};
use crate::error::FaultCode;
use crate::mcp::envelope;
use crate::mcp::modern;
use crate::mcp::object;
use crate::net::http::{HttpError, Reply};
use crate::net::sse::Decoder;
use crate::words::span;

/// Most bytes that are read of why a server refuses something, and longest time for that.
const MAX_WORDS: usize = 64 * 1024;
const EXPLAINING: Duration = Duration::from_secs(2);
/// Longest piece of what a server says in place of an answer that is shown, in bytes.
pub(super) const SHOWN: usize = 200;
/// Most redirects of one request.
const MAX_REDIRECTS: u32 = 5;
/// Time until something is tried again of which a server has not said when.
const PAUSE: Duration = Duration::from_millis(500);
/// Longest time until a stream is asked for again, whatever the server says.
pub(super) const MAX_RETRY: Duration = Duration::from_secs(30);
/// Time until a stream that has ended is asked for again, where the server says nothing of that.
pub(super) const RETRY: Duration = Duration::from_secs(1);
/// How often in a row it is tried in vain to have a cut answer go on.
pub(super) const MAX_RESUMES: u32 = 3;
/// What has become of a request whose server took it, and then forgot the session (HTTP+SSE).
const FORGOTTEN: &str = "knows its session no more, and the stream of its answer ended with that";
/// What has become of a request whose server took it, where nothing is left on which it could be answered (Streamable HTTP).
const UNHEARD: &str = "took it without an answer, and has no stream on which that could come";
/// The method of a call, whose time the config may limit.
const CALL: &[u8] = b"tools/call";
/// The method of the question whether a server still knows us, and the id of that.
pub(super) const PING: &[u8] = b"ping";
pub(super) const PROBE: &[u8] = b"\"mcp-pipe-probe\"";

/// What becomes of an exchange.
pub(super) enum Next {
    /// Its waker is registered.
    Wait,
    /// There is no room for what it reads.
    Full,
    /// The next step can be taken at once.
    Go,
    /// It is over.
    Done,
}

impl Remote {
    /// Takes the steps of an exchange that are possible now. Breaks where it has more to read than there is room for.
    pub(super) fn step(&mut self, place: usize, taker: &mut Taker<'_, '_>) -> ControlFlow<()> {
        let Some(mut exchange) = self.each.get_mut(place).and_then(Option::take) else {
            return ControlFlow::Continue(());
        };
        let waker = self.wakers.waker(place).clone();
        let cx = &mut Context::from_waker(&waker);
        // Its place is kept, lest one that begins meanwhile gets it.
        self.each[place] = Some(Exchange::new(Aim::Probe, Bytes::new(), taker.now));
        if let Some(held) = &mut self.each[place] {
            held.io = Io::Parked;
        }
        loop {
            let next = match std::mem::replace(&mut exchange.io, Io::Parked) {
                Io::Parked => Next::Wait,
                Io::Unauthorized => {
                    exchange.io = Io::Unauthorized;
                    Next::Wait
                }
                Io::Awaited => {
                    exchange.io = Io::Awaited;
                    let is_renewal = matches!(exchange.aim, Aim::Renewal);
                    let is_over = if is_renewal { !self.session.is_renewing() } else { exchange.wanted().is_none() };
                    if is_over { Next::Done } else { Next::Wait }
                }
                Io::Pausing(until) if until > taker.now => {
                    exchange.io = Io::Pausing(until);
                    Next::Wait
                }
                Io::Pausing(_) => self.dispatch(&mut exchange),
                Io::Sending(mut sending) => match sending.as_mut().poll(cx) {
                    Poll::Pending => {
                        exchange.io = Io::Sending(sending);
                        Next::Wait
                    }
                    Poll::Ready(result) => {
                        if matches!(exchange.aim, Aim::Listening { .. }) {
                            // Whatever came of it: nothing waits for it any longer.
                            self.stream_until = None;
                        }
                        exchange.io = Io::Arrived(Box::new(result));
                        Next::Go
                    }
                },
                Io::Arrived(result) => match *result {
                    Ok(reply) => self.on_reply(&mut exchange, reply, cx, taker),
                    Err(error) => self.on_error(&mut exchange, &error, taker),
                },
                Io::Explaining { reply, text, until } => self.explain(&mut exchange, (reply, text, until), cx, taker),
                Io::Reading(reading) => self.read(&mut exchange, reading, cx, taker),
            };
            match next {
                // The life has ended over it, and with it everything else.
                _ if self.end.is_some() && !matches!(exchange.aim, Aim::End) => return ControlFlow::Continue(()),
                Next::Go => {}
                Next::Done => {
                    self.vacate(place);
                    if matches!(exchange.aim, Aim::Listening { .. }) {
                        self.on_deaf(taker);
                    }
                    return ControlFlow::Continue(());
                }
                Next::Wait | Next::Full => {
                    if matches!(exchange.io, Io::Parked) && !self.queue.contains(&place) {
                        self.queue.push_back(place);
                    }
                    self.each[place] = Some(exchange);
                    self.release();
                    return if matches!(next, Next::Full) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
                }
            }
        }
    }

    /// Sends a request.
    fn dispatch(&mut self, exchange: &mut Exchange) -> Next {
        let waits = match &exchange.aim {
            Aim::Request(Wanted { kind, resumes: None, .. }) if *kind != WantedKind::Initialize => {
                !self.session.admits(LineKind::Request)
            }
            Aim::Probe => !self.session.admits(LineKind::Request),
            Aim::Message { announces: false } => !self.session.admits(LineKind::Message),
            Aim::Request(_)
            | Aim::Message { announces: true }
            | Aim::Renewal
            | Aim::Listening { .. }
            | Aim::Stream
            | Aim::End => false,
        };
        if waits {
            // The session was lost a moment ago, and without one the server would not know whose request it is.
            return Next::Wait;
        }
        let token = match self.auth.ready(Instant::now()) {
            Ready::Send(token, number) => {
                exchange.token = number;
                token
            }
            // The end of a session waits for nothing.
            Ready::Renew(_) if matches!(exchange.aim, Aim::End) => self.auth.header(),
            Ready::Renew(cause) => {
                self.renew(cause);
                exchange.io = Io::Unauthorized;
                return Next::Wait;
            }
        };
        let url = match (&self.way, &exchange.aim) {
            (Way::Sse { posts: Some(posts) }, Aim::Request(_) | Aim::Message { .. } | Aim::Probe | Aim::Renewal) => {
                posts
            }
            (Way::Http | Way::Sse { .. }, _) => &self.url,
        };
        // By HTTP+SSE the address names the session.
        let names_session = self.session.id().is_some() || matches!(self.way, Way::Sse { posts: Some(_) });
        exchange.session = (self.session.number(), names_session);
        let call = request::call(exchange, (url, token), &self.session, &self.spec);
        exchange.io = Io::Sending(self.client.send(call));
        Next::Go
    }

    /// The head of a reply has come.
    fn on_reply(
        &mut self,
        exchange: &mut Exchange,
        reply: Reply,
        cx: &mut Context<'_>,
        taker: &mut Taker<'_, '_>,
    ) -> Next {
        let status = reply.status.as_u16();
        let media = Media::of(reply.header(CONTENT_TYPE.as_str()));
        let is_stream = exchange.asked() == Asked::Stream;
        let may_answer = matches!(exchange.aim, Aim::Request(_) | Aim::Renewal) && !is_encoded(&reply);
        let head = match Head::of(exchange.asked(), status, media) {
            // What is sent is answered on the stream; a few servers answer at once.
            Head::Body(_) if !is_stream && !may_answer && matches!(self.way, Way::Sse { .. }) => Head::Taken,
            head @ (Head::Body(_) | Head::Taken | Head::Redirect | Head::Refused) => head,
        };
        match head {
            Head::Redirect => self.on_redirect(exchange, &reply, taker),
            Head::Taken => {
                let mut reply = reply;
                // A body that is there already is read, so that the connection serves others.
                while let Poll::Ready(Some(Ok(_))) = reply.poll_chunk(cx) {}
                self.on_taken(exchange, taker)
            }
            Head::Body(_) if is_encoded(&reply) => {
                let why = "compresses its answers, though it was asked not to";
                self.on_refusal(exchange, (status, why, None), None, taker)
            }
            Head::Body(media) => {
                exchange.tries.in_vain = 0;
                exchange.moved = taker.now;
                exchange.taken = 0;
                if let Aim::Listening { stood, .. } = &mut exchange.aim {
                    *stood = true;
                }
                let reader = match media {
                    Media::Events => Reader::Events(Decoder::new(self.max_frame)),
                    Media::Json | Media::Page | Media::Unknown => {
                        Reader::Json { text: Vec::new(), max: self.max_frame }
                    }
                };
                exchange.io = Io::Reading(Box::new(Reading { reply, reader, rest: Bytes::new() }));
                Next::Go
            }
            Head::Refused if status == 401 && self.may_be_authorized(exchange) => {
                exchange.tries.authorized = true;
                self.renew(Cause::Refused(exchange.token, Challenge::of(&reply.headers)));
                exchange.io = Io::Unauthorized;
                Next::Wait
            }
            Head::Refused => {
                let until = taker.now + EXPLAINING;
                exchange.io = Io::Explaining { reply: Box::new(reply), text: Vec::new(), until };
                Next::Go
            }
        }
    }

    /// Whether a request that was refused for its token may be sent once more with another one.
    fn may_be_authorized(&self, exchange: &Exchange) -> bool {
        !exchange.tries.authorized && self.auth.is_renewable() && !matches!(exchange.aim, Aim::End)
    }

    /// Sends a request to the address that its server has named, if that is at the same origin.
    fn on_redirect(&mut self, exchange: &mut Exchange, reply: &Reply, taker: &mut Taker<'_, '_>) -> Next {
        let status = reply.status.as_u16();
        exchange.tries.redirects += 1;
        let to = reply.header(LOCATION.as_str()).map(|to| self.url.join(to));
        let why = match to {
            _ if exchange.tries.redirects > MAX_REDIRECTS => format!("redirected more than {MAX_REDIRECTS} times"),
            Some(Ok(to)) if to.origin() == self.url.origin() => {
                // The other requests would be sent the same way.
                let is_old = exchange.asked() != Asked::Stream && self.is_of_lost_session(exchange);
                match &mut self.way {
                    // The new session has an address of its own.
                    Way::Sse { .. } if is_old => {}
                    Way::Sse { posts: posts @ Some(_) } if exchange.asked() != Asked::Stream => *posts = Some(to),
                    Way::Http | Way::Sse { .. } => self.url = to,
                }
                exchange.io = Io::Pausing(taker.now);
                return Next::Go;
            }
            Some(Ok(to)) => {
                format!(
                    "redirected to another origin ({to}), which is not followed; if that is the server, put its address into the url"
                )
            }
            Some(Err(_)) | None => format!("answered HTTP {status} without an address to go to"),
        };
        self.on_refusal(exchange, (status, &why, None), None, taker)
    }

    /// The server has taken what it was sent.
    pub(super) fn on_taken(&mut self, exchange: &mut Exchange, taker: &mut Taker<'_, '_>) -> Next {
        match &exchange.aim {
            Aim::Message { announces: true } => {
                self.on_announced(taker);
                Next::Done
            }
            Aim::Request(Wanted { answered: true, .. }) => Next::Done,
            // In the modern era an answer comes on no other stream.
            Aim::Request(wanted) if self.session.is_modern() => {
                self.unanswered(wanted, "took it, and gave no answer", taker);
                Next::Done
            }
            // The stream on which it would be answered was closed meanwhile.
            Aim::Request(wanted) if self.way != Way::Http && self.is_of_lost_session(exchange) => {
                self.unanswered(wanted, FORGOTTEN, taker);
                Next::Done
            }
            Aim::Request(_) | Aim::Renewal if self.way == Way::Http && !self.is_listening() => {
                self.on_unheard(exchange, taker);
                Next::Done
            }
            Aim::Request(_) | Aim::Renewal => {
                exchange.io = Io::Awaited;
                Next::Go
            }
            Aim::Message { announces: false } | Aim::Probe | Aim::Listening { .. } | Aim::Stream | Aim::End => {
                Next::Done
            }
        }
    }

    /// Whether a stream of what the server says by itself stands, or is asked for (Streamable HTTP).
    fn is_listening(&self) -> bool {
        self.each.iter().flatten().any(|exchange| matches!(exchange.aim, Aim::Listening { .. }))
    }

    /// The server has taken a request, and there is no stream on which it could be answered.
    fn on_unheard(&mut self, exchange: &Exchange, taker: &mut Taker<'_, '_>) {
        match (&exchange.aim, exchange.wanted()) {
            (_, Some(wanted)) if wanted.kind != WantedKind::Initialize => self.unanswered(wanted, UNHEARD, taker),
            (_, Some(_)) | (Aim::Renewal, None) => self.finish(Obituary::new(FaultCode::RemoteLost, UNHEARD), false),
            (_, None) => {}
        }
    }

    /// The stream of what the server says by itself has ended for good, and with it the hope of what would be answered there.
    fn on_deaf(&mut self, taker: &mut Taker<'_, '_>) {
        for place in 0..self.each.len() {
            if let Some(over) = self.each[place].take_if(|exchange| matches!(exchange.io, Io::Awaited)) {
                self.on_unheard(&over, taker);
            }
        }
    }

    /// Whether something was sent in a session that is over.
    fn is_of_lost_session(&self, exchange: &Exchange) -> bool {
        exchange.session.0 != self.session.number() || self.session.is_renewing()
    }

    /// The server has taken `initialized`: from now on it takes anything.
    fn on_announced(&mut self, taker: &mut Taker<'_, '_>) {
        if self.session.opened() {
            self.left.pass(Found::Renewed, &mut taker.flow, taker.on);
        }
        self.listen(taker.now);
        self.release();
    }

    /// Asks for the stream of what the server says by itself, unless there is one.
    fn listen(&mut self, now: Instant) {
        if self.way == Way::Http && !self.is_listening() {
            self.stream_until = Some(now + STANDS);
            self.begin(Exchange::new(Aim::Listening { stood: false, behind: None }, Bytes::new(), now));
        }
    }

    /// No reply has come, or only a part of one.
    fn on_error(&mut self, exchange: &mut Exchange, error: &HttpError, taker: &mut Taker<'_, '_>) -> Next {
        let is_unsent = error.is_unsent();
        let dies = |remote: &mut Self| {
            remote.finish(Obituary::new(error.fault(), format!("can't be reached: {error}")), false);
            Next::Done
        };
        let now = taker.now;
        let retry = |exchange: &mut Exchange, after| {
            exchange.tries.in_vain += 1;
            exchange.io = Io::Pausing(now + after);
            Next::Go
        };
        match &exchange.aim {
            Aim::End => Next::Done,
            Aim::Request(Wanted { answered: true, .. }) => Next::Done,
            // What a server of the legacy era makes of a question that it doesn't know is no fault yet.
            Aim::Request(wanted @ Wanted { kind: WantedKind::Discover, .. }) if !is_unsent => {
                self.unanswered(wanted, &format!("did not answer {}: {error}", modern::DISCOVER), taker);
                Next::Done
            }
            Aim::Request(Wanted { kind: WantedKind::Initialize | WantedKind::Discover, .. })
            | Aim::Renewal
            | Aim::Stream => dies(self),
            Aim::Request(Wanted { resumes: Some(_), .. }) if exchange.tries.in_vain < MAX_RESUMES => {
                retry(exchange, RETRY)
            }
            Aim::Listening { .. } if exchange.tries.in_vain == 0 => retry(exchange, RETRY),
            // Nothing of it was written, so it may be sent again.
            Aim::Request(_) | Aim::Message { .. } if is_unsent && exchange.tries.in_vain == 0 => retry(exchange, PAUSE),
            Aim::Request(_) | Aim::Message { .. } | Aim::Probe | Aim::Listening { .. } if is_unsent => dies(self),
            Aim::Probe | Aim::Message { announces: true } => dies(self),
            Aim::Request(wanted) => {
                // Some or all of it was written, and only the server knows what it has done about that.
                self.unanswered(wanted, &format!("was asked, and {error}; it may have acted on that"), taker);
                self.probe(taker.now);
                Next::Done
            }
            Aim::Message { announces: false } | Aim::Listening { .. } => {
                self.probe(taker.now);
                Next::Done
            }
        }
    }

    /// Asks whether the server still knows us.
    pub(super) fn probe(&mut self, now: Instant) {
        let is_probe = |exchange: &Exchange| matches!(exchange.aim, Aim::Probe) && !exchange.body.is_empty();
        if !self.session.is_open()
            || self.session.is_modern()
            || self.end.is_some()
            || self.each.iter().flatten().any(is_probe)
        {
            return;
        }
        let [id, method] = [PROBE, PING].map(String::from_utf8_lossy);
        let body = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"{method}\"}}");
        self.begin(Exchange::new(Aim::Probe, body.into(), now));
    }

    /// Reads why the server refuses something.
    fn explain(
        &mut self,
        exchange: &mut Exchange,
        (mut reply, mut text, until): (Box<Reply>, Vec<u8>, Instant),
        cx: &mut Context<'_>,
        taker: &mut Taker<'_, '_>,
    ) -> Next {
        loop {
            match reply.poll_chunk(cx) {
                Poll::Pending if taker.now < until => {
                    exchange.io = Io::Explaining { reply, text, until };
                    return Next::Wait;
                }
                Poll::Ready(Some(Ok(bytes))) if text.len() < MAX_WORDS => text.extend_from_slice(&bytes),
                Poll::Ready(Some(Ok(_) | Err(_)) | None) | Poll::Pending => break,
            }
        }
        let status = reply.status.as_u16();
        let media = Media::of(reply.header(CONTENT_TYPE.as_str()));
        let is_unread = media == Media::Events && status != 200;
        let text = if is_unread || is_encoded(&reply) { b"" } else { text.trim_ascii() };
        let retry_after = reply.retry_after();
        let by_type = matches!((&exchange.aim, &self.way), (Aim::Stream, Way::Sse { .. }));
        let by_type = by_type && self.is_settled && !self.session.has_begun();
        let of_sse = by_type.then(|| answer::advice_on_sse(status)).flatten();
        let own = words::of(status, media, text);
        let busy = if answer::is_busy(status) { when(retry_after) } else { String::new() };
        let challenge = (&Challenge::of(&reply.headers), exchange.tries.authorized);
        let words = self.words(status, &own, challenge, of_sse) + &busy;
        self.on_refusal(exchange, (status, &words, retry_after), Some(text), taker)
    }

    /// What the server says in a refusal, as the end of a sentence that begins with its name. `own`: in its own words. `renewed`: what it
    /// refuses was sent with another token than at first.
    fn words(
        &self,
        status: u16,
        own: &Words,
        (challenge, renewed): (&Challenge, bool),
        of_sse: Option<&str>,
    ) -> String {
        let shown = |text: &str| self.redactor.shown(text, SHOWN);
        let own = match own {
            Words::None => String::new(),
            Words::Text(text) => format!(" (\"{}\")", shown(text)),
            Words::Page(None) => " (a page of HTML)".to_owned(),
            Words::Page(Some(title)) => format!(" (a page of HTML, \"{}\")", shown(title)),
        };
        let of_nobody = answer::advice_to_nobody(status).filter(|_| self.is_nobody());
        let others = || of_sse.or(of_nobody).unwrap_or_else(|| answer::advice(status)).to_owned();
        let renewal = renewed.then_some(Renewed::InVain);
        let advice = self.auth.advice(status, challenge, renewal).unwrap_or_else(others);
        format!("answered HTTP {status}{own}{advice}")
    }

    /// Whether nothing that is sent tells the server who asks.
    fn is_nobody(&self) -> bool {
        let by_config = !self.spec.headers.is_empty() || self.spec.tls.identity.is_some();
        !by_config && self.spec.url.user_info().is_empty() && self.auth.header().is_none()
    }

    /// The server does not do what it was asked. `words`: why, as the end of a sentence that begins with its name. `text`: the body.
    fn on_refusal(
        &mut self,
        exchange: &mut Exchange,
        (status, words, retry_after): (u16, &str, Option<Duration>),
        text: Option<&[u8]>,
        taker: &mut Taker<'_, '_>,
    ) -> Next {
        let said = String::from_utf8_lossy(text.unwrap_or_default());
        let ends_session = text.is_some() && answer::ends_session(status, &said) && exchange.session.1;
        let is_old_refusal = ends_session && self.is_suspect(exchange);
        if is_old_refusal && !matches!(exchange.aim, Aim::Probe) {
            self.probe(taker.now);
        }
        let ends_session = ends_session && !is_old_refusal;
        // None that is sent again at once, unless the server says so.
        let again = retry_after.filter(|_| answer::is_busy(status) && !exchange.tries.busy);
        let retry_after = retry_after.unwrap_or_default();
        let end = Obituary { fault: answer::fault(status), why: words.to_owned(), retry_after };
        let pause = |exchange: &mut Exchange, longest: Duration| {
            let Some(after) = again.filter(|after| *after < longest) else { return false };
            (exchange.tries.busy, exchange.io) = (true, Io::Pausing(taker.now + after));
            true
        };
        match &exchange.aim {
            Aim::End => Next::Done,
            Aim::Stream if !self.is_settled && (answer::may_be_sse(status) || status < 300) => {
                (self.is_settled, self.way) = (true, Way::Http);
                self.refusal = Some(end);
                self.release();
                Next::Done
            }
            Aim::Stream => {
                let end = self.refusal.take().unwrap_or(end);
                self.finish(end, false);
                Next::Done
            }
            // No stream is no lost session; one that stood before may be a sign of that.
            Aim::Listening { stood, .. }
                if (300..500).contains(&status) && !answer::is_busy(status) || status < 300 =>
            {
                if *stood {
                    self.probe(taker.now);
                }
                Next::Done
            }
            Aim::Listening { .. } if exchange.tries.in_vain < MAX_RESUMES => {
                exchange.tries.in_vain += 1;
                exchange.io = Io::Pausing(taker.now + retry_after.clamp(RETRY, MAX_RETRY));
                Next::Go
            }
            Aim::Listening { .. } => Next::Done,
            Aim::Request(Wanted { kind: WantedKind::Discover, .. }) => {
                if pause(exchange, self.patience.start) {
                    return Next::Go;
                }
                // Who asks matters in either era, and so does that the server is busy.
                if matches!(status, 401 | 403 | 429) {
                    self.finish(end, false);
                } else if !self.pass_error(exchange, text, taker)
                    && let Aim::Request(wanted) = &exchange.aim
                {
                    self.unanswered(wanted, words, taker);
                }
                Next::Done
            }
            Aim::Request(Wanted { kind: WantedKind::Initialize, .. }) => {
                let is_way_left = !self.is_settled && self.way == Way::Http;
                if is_way_left && answer::may_be_sse(status) {
                    (self.is_settled, self.way, self.refusal) = (true, Way::Sse { posts: None }, Some(end));
                    self.begin(Exchange::new(Aim::Stream, Bytes::new(), taker.now));
                    return Next::Wait;
                }
                if pause(exchange, self.patience.start) {
                    return Next::Go;
                }
                if self.pass_error(exchange, text, taker) {
                    return Next::Done;
                }
                let end = self.refusal.take().unwrap_or(end);
                self.finish(end, false);
                Next::Done
            }
            Aim::Renewal => {
                self.finish(end, false);
                Next::Done
            }
            Aim::Request(Wanted { answered: true, .. }) => Next::Done,
            Aim::Probe | Aim::Request(_) | Aim::Message { .. } if status == 401 => {
                self.finish(end, false);
                Next::Done
            }
            // A server that lost the stream of an answer may have acted on the request.
            Aim::Request(Wanted { resumes: None, .. }) if ends_session && !exchange.tries.renewed => {
                exchange.tries.renewed = true;
                match self.lose_session(exchange, taker) {
                    Loss::Begin | Loss::Wait => Next::Wait,
                    Loss::Resend => {
                        exchange.io = Io::Pausing(taker.now);
                        Next::Go
                    }
                    Loss::None | Loss::Hopeless => {
                        if let (Aim::Request(wanted), None) = (&exchange.aim, &self.end) {
                            self.unanswered(wanted, words, taker);
                        }
                        Next::Done
                    }
                }
            }
            Aim::Message { .. } | Aim::Probe if ends_session => {
                self.lose_session(exchange, taker);
                Next::Done
            }
            Aim::Message { announces: true } => {
                // Whatever it has against that: it will say so of what follows.
                self.on_announced(taker);
                Next::Done
            }
            Aim::Message { announces: false } | Aim::Probe => Next::Done,
            Aim::Request(Wanted { resumes: Some(_), .. }) if status >= 500 && exchange.tries.in_vain < MAX_RESUMES => {
                exchange.tries.in_vain += 1;
                exchange.io = Io::Pausing(taker.now + RETRY);
                Next::Go
            }
            Aim::Request(wanted @ Wanted { resumes: Some(_), .. }) => {
                let why =
                    format!("did not answer: the stream of its answer was cut, and it can't be had again: it {words}");
                self.unanswered(wanted, &why, taker);
                self.probe(taker.now);
                Next::Done
            }
            Aim::Request(_) => {
                let left = self.time_left(exchange, taker.now);
                if pause(exchange, left) {
                    return Next::Go;
                }
                if !self.pass_error(exchange, text, taker)
                    && let Aim::Request(wanted) = &exchange.aim
                {
                    let sent = match (answer::is_busy(status), exchange.tries.busy) {
                        (true, true) => "; it was sent again once, when the server wanted that",
                        (true, false) if again.is_some() => {
                            ", which is longer than the call may take; it was not sent again"
                        }
                        (true, false) => "; it was not sent again",
                        (false, _) => "",
                    };
                    self.unanswered(wanted, &format!("{words}{sent}"), taker);
                }
                Next::Done
            }
        }
    }

    /// How long whoever asks still waits for a request of which the server has said nothing yet.
    fn time_left(&self, exchange: &Exchange, now: Instant) -> Duration {
        let timeout = || {
            let e = envelope::scan_one(&exchange.body)?;
            let is_call = e.method.is_some_and(|method| exchange.body[method] == *CALL);
            let name = e.name.filter(|_| is_call).and_then(|name| str::from_utf8(&exchange.body[name]).ok())?;
            self.tools.timeout_of(&object::text_of(name)?)
        };
        let longest = timeout().unwrap_or(self.patience.silence);
        longest.saturating_sub(now.saturating_duration_since(exchange.moved))
    }

    /// Passes on the error that a server answers a request with, if the body of its refusal is one. Returns whether it was.
    fn pass_error(&mut self, exchange: &mut Exchange, text: Option<&[u8]>, taker: &mut Taker<'_, '_>) -> bool {
        let Some(text) = text else { return false };
        let is_error = envelope::scan_one(text).is_some_and(|e| e.error);
        if !is_error || exchange.wanted().is_none() || !self.is_answered_by(&exchange.aim, text) {
            return false;
        }
        self.take_text(&mut exchange.aim, None, text, taker);
        exchange.wanted().is_none()
    }

    /// Whether what is refused was refused in the session before, too, and not answered since.
    fn is_suspect(&self, exchange: &Exchange) -> bool {
        let is_known = self.is_of_lost_session(exchange);
        !is_known && method_of(exchange).is_some_and(|method| self.suspects.contains(&method))
    }

    /// A session is over in which something was sent.
    fn lose_session(&mut self, exchange: &Exchange, taker: &mut Taker<'_, '_>) -> Loss {
        let loss = self.session.lost(exchange.session.0);
        match loss {
            Loss::Begin => {
                self.suspects.extend(method_of(exchange));
                let mut renewal = Exchange::new(Aim::Renewal, self.session.hello().unwrap_or_default(), taker.now);
                if matches!(self.way, Way::Sse { .. }) {
                    // It waits for the address that the new stream names.
                    self.reopen(taker);
                    renewal.io = Io::Parked;
                    let place = self.begin(renewal);
                    self.queue.push_front(place);
                } else {
                    self.begin(renewal);
                }
            }
            Loss::Hopeless => {
                let why =
                    "forgets each session at once; several servers behind one address may each know their own only";
                self.finish(Obituary::new(FaultCode::RemoteLost, why), false);
            }
            Loss::Wait | Loss::Resend | Loss::None => {}
        }
        loss
    }

    /// Another stream in place of the one whose session is over (HTTP+SSE): what the server has taken is answered no more.
    fn reopen(&mut self, taker: &mut Taker<'_, '_>) {
        self.way = Way::Sse { posts: None };
        for place in 0..self.each.len() {
            let is_of_stream =
                |exchange: &Exchange| matches!((&exchange.io, &exchange.aim), (Io::Awaited, _) | (_, Aim::Stream));
            if let Some(over) = self.each[place].take_if(|exchange| is_of_stream(exchange))
                && let Some(wanted) = over.wanted()
            {
                self.unanswered(wanted, FORGOTTEN, taker);
            }
        }
        self.begin(Exchange::new(Aim::Stream, Bytes::new(), taker.now));
    }
}

/// Whether a body is compressed, though we have asked for none such.
fn is_encoded(reply: &Reply) -> bool {
    reply.header(CONTENT_ENCODING.as_str()).is_some_and(|coding| !coding.eq_ignore_ascii_case("identity"))
}

/// When a server that takes no more requests now says that it will.
fn when(retry_after: Option<Duration>) -> String {
    match retry_after {
        None => ", and does not say when it will".to_owned(),
        Some(after) if after.is_zero() => ", and wants the same at once".to_owned(),
        Some(after) => format!(", and wants the same in {}", span(after)),
    }
}

/// By which method a lost session is found; none where nothing is answered that could clear it.
fn method_of(exchange: &Exchange) -> Option<MethodId> {
    match &exchange.aim {
        Aim::Request(wanted) => Some(wanted.method),
        Aim::Probe => Some(MethodId::of(PING)),
        Aim::Message { .. } | Aim::Renewal | Aim::Listening { .. } | Aim::Stream | Aim::End => None,
    }
}
