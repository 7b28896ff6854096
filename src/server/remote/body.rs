//! The body of a reply: it is read as it comes, what is in it is handed on, and what follows from its end is done.

use std::ops::ControlFlow;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::exchange::{Aim, Exchange, Instead, Io, MethodId, Reading, Wanted, WantedKind};
use super::reader::{self, Fed, Heard, Piece, Reader};
use super::request::SESSION_HEADER;
use super::session::Greeting;
use super::steps::{MAX_RESUMES, MAX_RETRY, Next, PING, PROBE, RETRY, SHOWN};
use super::{Found, Obituary, Remote, Taker, Way};
use crate::error::FaultCode;
use crate::mcp::envelope::{self, Kind};
use crate::mcp::failure::Failure;
use crate::mcp::id::flight_id;
use crate::mcp::reply;

/// Most reads in a row from one body before others have their turn.
const READS: usize = 8;
/// Shortest time until a stream is asked for again, whatever the server says.
const MIN_RETRY: Duration = Duration::from_millis(50);

/// How long to wait until a stream is asked for again of which the server has said this, and which was empty so often in a row.
fn pause(retry: Option<Duration>, empty: u32) -> Duration {
    let told = retry.unwrap_or(RETRY).clamp(MIN_RETRY, MAX_RETRY);
    told.saturating_mul(1 << empty.min(10)).min(MAX_RETRY)
}

impl Remote {
    /// Reads a body.
    pub(super) fn read(
        &mut self,
        exchange: &mut Exchange,
        mut reading: Box<Reading>,
        cx: &mut Context<'_>,
        taker: &mut Taker<'_, '_>,
    ) -> Next {
        let session = reading.reply.header(SESSION_HEADER).map(str::to_owned);
        for _ in 0..READS {
            let Reading { reply, reader, rest } = &mut *reading;
            if taker.flow.is_break() {
                exchange.io = Io::Reading(reading);
                return Next::Full;
            }
            if !rest.is_empty() {
                let bytes = std::mem::take(rest);
                // What comes behind an answer keeps its stream open no longer.
                let is_over = matches!(exchange.aim, Aim::Request(Wanted { answered: true, .. }));
                let aim = &mut exchange.aim;
                let fed = reader.feed(&bytes, &mut |piece| self.on_piece(aim, session.as_deref(), piece, taker));
                if reader.taken() > exchange.taken && !is_over {
                    (exchange.taken, exchange.moved) = (reader.taken(), taker.now);
                }
                match fed {
                    Fed::All => {}
                    Fed::Part(taken) => *rest = bytes.slice(taken..),
                    Fed::TooLarge => return self.on_too_large(exchange, taker),
                }
                if self.end.is_some() {
                    return Next::Done;
                }
                continue;
            }
            match reply.poll_chunk(cx) {
                Poll::Pending => {
                    exchange.io = Io::Reading(reading);
                    return Next::Wait;
                }
                Poll::Ready(Some(Ok(bytes))) => *rest = bytes,
                Poll::Ready(Some(Err(error))) => {
                    let heard = reader.heard();
                    return self.on_end(exchange, heard, &error.to_string(), taker);
                }
                Poll::Ready(None) => {
                    let aim = &mut exchange.aim;
                    // What finds no room is left.
                    let _flow = reader.end(&mut |piece| self.on_piece(aim, session.as_deref(), piece, taker));
                    let heard = reader.heard();
                    let why = match reader {
                        Reader::Json { .. } => "its answer is empty",
                        Reader::Events(_) => "the stream of its answer ended without that",
                    };
                    return self.on_end(exchange, heard, why, taker);
                }
            }
        }
        cx.waker().wake_by_ref();
        exchange.io = Io::Reading(reading);
        Next::Wait
    }

    /// A text is larger than a message may be, and is not read to its end.
    fn on_too_large(&mut self, exchange: &mut Exchange, taker: &mut Taker<'_, '_>) -> Next {
        let why = format!("answered with more than {} bytes, which is the limit (maxFrameSize)", self.max_frame);
        match (exchange.wanted(), &exchange.aim) {
            (Some(wanted), _) if wanted.kind != WantedKind::Initialize => self.unanswered(wanted, &why, taker),
            (Some(_), _) | (None, Aim::Renewal | Aim::Stream) => {
                self.finish(Obituary::new(FaultCode::RemoteNotMcp, why), false);
            }
            (None, Aim::Listening { .. }) => {
                exchange.io = Io::Pausing(taker.now + MAX_RETRY);
                return Next::Go;
            }
            (None, Aim::Request(_) | Aim::Message { .. } | Aim::Probe | Aim::End) => {}
        }
        Next::Done
    }

    /// A body has ended. `why`: what is wrong with that where something was still to come.
    fn on_end(&mut self, exchange: &mut Exchange, heard: Heard, why: &str, taker: &mut Taker<'_, '_>) -> Next {
        let Heard { last, retry, nothing } = heard;
        let is_empty = nothing && taker.now < exchange.moved + MAX_RETRY;
        exchange.tries.empty = if is_empty { exchange.tries.empty + 1 } else { 0 };
        let empty = exchange.tries.empty;
        let pause = pause(retry, empty);
        match &mut exchange.aim {
            Aim::Listening { behind, .. } => {
                *behind = last.or(behind.take());
                exchange.io = Io::Pausing(taker.now + pause);
                Next::Go
            }
            Aim::Stream => {
                self.finish(
                    Obituary::new(FaultCode::RemoteLost, "has closed its event stream, and with it the session"),
                    false,
                );
                Next::Done
            }
            Aim::Request(Wanted { answered: true, .. }) | Aim::Message { .. } | Aim::Probe | Aim::End => Next::Done,
            // It was not answered at once, so it is on the stream.
            Aim::Request(_) | Aim::Renewal if self.way != Way::Http => self.on_taken(exchange, taker),
            Aim::Renewal if self.session.is_renewing() => {
                let why = format!("did not answer initialize: {why}");
                self.finish(Obituary::new(FaultCode::RemoteLost, why), false);
                Next::Done
            }
            Aim::Renewal => Next::Done,
            Aim::Request(wanted) => {
                // In the modern era nothing is resumed.
                let resumes = last.or(wanted.resumes.take()).filter(|_| !self.session.is_modern());
                if let Some(last) = resumes
                    && !matches!(wanted.instead, Some(Instead::Noise(_)))
                    && empty < MAX_RESUMES
                {
                    wanted.resumes = Some(last);
                    exchange.io = Io::Pausing(taker.now + pause);
                    return Next::Go;
                }
                let (why, fault) = match &wanted.instead {
                    Some(Instead::Noise(noise)) => {
                        (format!("answered with something that is no MCP: {noise}"), FaultCode::RemoteNotMcp)
                    }
                    Some(Instead::Foreign(odd)) => (format!("did not answer: {odd}"), FaultCode::RemoteLost),
                    None => (format!("did not answer: {why}"), FaultCode::RemoteLost),
                };
                if wanted.kind == WantedKind::Initialize {
                    self.finish(Obituary::new(fault, why), false);
                } else {
                    self.unanswered(wanted, &why, taker);
                    if fault == FaultCode::RemoteLost && !self.session.is_modern() {
                        self.probe(taker.now);
                    }
                }
                Next::Done
            }
        }
    }

    /// Takes a piece of a body. `session`: the id in the reply's head.
    fn on_piece(
        &mut self,
        aim: &mut Aim,
        session: Option<&str>,
        piece: Piece<'_>,
        taker: &mut Taker<'_, '_>,
    ) -> ControlFlow<()> {
        match piece {
            // Else it is what the server puts behind its status, such as "Accepted".
            Piece::Text(text) if self.way != Way::Http && !matches!(aim, Aim::Stream) => {
                if self.is_answered_by(aim, text) {
                    self.take_text(aim, session, text, taker);
                }
            }
            Piece::Text(text) => self.take_text(aim, session, text, taker),
            Piece::Named("endpoint", data) => {
                if matches!(aim, Aim::Stream) && self.way == (Way::Sse { posts: None }) {
                    self.on_address(data);
                }
            }
            Piece::Named(..) => {}
            Piece::TooLarge(cut) => {
                let id = envelope::scan_cut(cut).id.and_then(flight_id);
                self.note_answer(aim, id);
                self.left.pass(Found::TooLarge(cut), &mut taker.flow, taker.on);
            }
        }
        if self.end.is_some() { ControlFlow::Break(()) } else { taker.flow }
    }

    /// The server has named the address for what it is sent (HTTP+SSE).
    fn on_address(&mut self, data: &[u8]) {
        let named = str::from_utf8(data).ok().map(|text| self.url.join(text.trim()));
        match named {
            Some(Ok(url)) if url.origin() == self.url.origin() => {
                self.way = Way::Sse { posts: Some(url) };
                (self.is_settled, self.refusal) = (true, None);
                self.release();
            }
            Some(Ok(url)) => {
                let why =
                    format!("names an address of another origin for what it is sent ({url}), and nothing goes there");
                self.finish(Obituary::new(FaultCode::RemoteNotMcp, why), false);
            }
            Some(Err(_)) | None => {
                let why = "names no address for what it is sent, as HTTP+SSE wants";
                self.finish(Obituary::new(FaultCode::RemoteNotMcp, why), false);
            }
        }
    }

    /// Hands on the messages of a text, but those that are for this life itself.
    pub(super) fn take_text(&mut self, aim: &mut Aim, session: Option<&str>, text: &[u8], taker: &mut Taker<'_, '_>) {
        reader::messages(text, &mut |found| {
            match &found {
                Found::Message { frame, envelope } if envelope.kind(frame) == Kind::Response => {
                    let id = envelope.id.clone().map_or(&b""[..], |id| &frame[id]);
                    let result = envelope.result.clone().map(|result| &frame[result]);
                    if id == PROBE {
                        self.clear(MethodId::of(PING));
                        return;
                    }
                    if self.on_answer(aim, session, flight_id(id), result, taker) {
                        return;
                    }
                    if let Aim::Request(wanted) = aim
                        && flight_id(id) != wanted.number
                    {
                        wanted.instead = Some(Instead::Foreign(self.foreign(&wanted.id, id, (frame, envelope))));
                    }
                }
                Found::Noise(text) | Found::Nameless(text) => {
                    if let Aim::Request(wanted) = aim {
                        let text = String::from_utf8_lossy(&text[..text.len().min(2 * SHOWN)]);
                        wanted.instead = Some(Instead::Noise(self.redactor.shown(&text, SHOWN)));
                        return;
                    }
                    // By HTTP+SSE nothing but `initialize` is under way while that is.
                    let hello = self.hello_number().filter(|number| self.place_of(*number).is_some());
                    if matches!(found, Found::Nameless(_)) && self.note_answer(aim, hello) {
                        self.session.refused();
                        self.release();
                    }
                }
                Found::Lost(lost, _) => {
                    self.note_answer(aim, flight_id(lost.id));
                }
                Found::Message { frame, envelope } if is_progress(frame, envelope) => {
                    self.note_progress(frame, envelope, taker.now);
                }
                // A question of the server on the stream of a request is about that, and so is what it logs there.
                Found::Message { frame, envelope } if is_about_request(frame, envelope) => {
                    if let Aim::Request(Wanted { number: Some(cause), .. }) = aim {
                        let found = Found::Caused { cause: *cause, frame, envelope };
                        self.left.pass(found, &mut taker.flow, taker.on);
                        return;
                    }
                }
                Found::Message { .. }
                | Found::Caused { .. }
                | Found::Modern
                | Found::Odd { .. }
                | Found::TooLarge(_)
                | Found::Unanswered { .. }
                | Found::Renewed
                | Found::Habit(_) => {}
            }
            self.left.pass(found, &mut taker.flow, taker.on);
        });
    }

    /// Whether a text is the answer to what was asked.
    pub(super) fn is_answered_by(&self, aim: &Aim, text: &[u8]) -> bool {
        let answer = envelope::scan_one(text).filter(|e| e.kind(text) == Kind::Response);
        let number = answer.and_then(|e| e.id).and_then(|id| flight_id(&text[id]));
        let asked = match aim {
            Aim::Request(wanted) => wanted.number,
            Aim::Renewal => self.hello_number(),
            Aim::Message { .. } | Aim::Probe | Aim::Listening { .. } | Aim::Stream | Aim::End => None,
        };
        number.is_some() && number == asked
    }

    /// What is odd about an answer with this id where one with another is waited for.
    fn foreign(&self, own: &[u8], id: &[u8], (frame, e): (&[u8], &envelope::Envelope)) -> String {
        let shown =
            |text: &[u8]| self.redactor.shown(&String::from_utf8_lossy(&text[..text.len().min(2 * SHOWN)]), SHOWN);
        let said =
            if e.error { format!(" (\"{}\")", shown(Failure::read(frame).message.as_bytes())) } else { String::new() };
        format!("it sent an answer with the id {} in place of {}{said}", shown(id), shown(own))
    }

    /// An answer has come. Returns whether it is for this life itself.
    fn on_answer(
        &mut self,
        aim: &mut Aim,
        session: Option<&str>,
        number: Option<u64>,
        result: Option<&[u8]>,
        taker: &mut Taker<'_, '_>,
    ) -> bool {
        if self.session.is_renewing() && number.is_some() && number == self.hello_number() {
            let greeting = result.map(|result| self.session.greeted(result, session));
            // What asked for it waits no more, if it did so for another stream.
            let is_renewal = |exchange: &Exchange| matches!(exchange.aim, Aim::Renewal);
            let places = self.each.iter().enumerate();
            for (place, _) in places.filter(|(_, held)| held.as_ref().is_some_and(is_renewal)) {
                self.woken.insert(place);
            }
            match greeting {
                Some(Greeting::Renewed { announce: true }) => {
                    let line = reply::notification("notifications/initialized");
                    self.begin(Exchange::new(Aim::Message { announces: true }, line.into(), taker.now));
                }
                Some(Greeting::Renewed { announce: false }) => self.release(),
                Some(Greeting::First) => {}
                Some(Greeting::Another) => {
                    let why = "was restarted, and says other things of itself than before";
                    self.finish(Obituary::new(FaultCode::RemoteLost, why), true);
                }
                None => {
                    let why = "lost its session, and refuses another one";
                    self.finish(Obituary::new(FaultCode::RemoteLost, why), false);
                }
            }
            return true;
        }
        if self.note_answer(aim, number) {
            match result {
                Some(_) if self.session.is_modern() => {
                    self.session.discovered();
                    self.is_settled = true;
                }
                Some(result) => {
                    self.session.greeted(result, session);
                    self.is_settled = true;
                }
                None if self.session.is_modern() => {}
                None => self.session.refused(),
            }
            self.release();
        }
        false
    }

    /// The server is at work on the request that its progress names. On a stream that is not the request's own (by HTTP+SSE none is) nothing
    /// else shows that.
    fn note_progress(&mut self, frame: &[u8], e: &envelope::Envelope, now: Instant) {
        let number = e.progress_token.clone().and_then(|token| flight_id(&frame[token]));
        if let Some(place) = number.and_then(|number| self.place_of(number))
            && let Some(exchange) = &mut self.each[place]
        {
            exchange.moved = now;
        }
    }

    /// The number of the request by which the conversation began.
    fn hello_number(&self) -> Option<u64> {
        let hello = self.session.hello()?;
        envelope::scan_one(&hello)?.id.and_then(|id| flight_id(&hello[id]))
    }

    /// A request of this method is answered.
    fn clear(&mut self, method: MethodId) {
        self.suspects.retain(|suspect| *suspect != method);
    }

    /// The request of this number is answered. Returns whether that was `initialize`.
    fn note_answer(&mut self, aim: &mut Aim, number: Option<u64>) -> bool {
        let Some(number) = number else { return false };
        if let Aim::Request(wanted) = aim
            && wanted.number == Some(number)
        {
            self.clear(wanted.method);
            return !std::mem::replace(&mut wanted.answered, true) && wanted.kind.opens();
        }
        // It came on another stream than its own.
        let Some(place) = self.place_of(number) else { return false };
        let Some(Exchange { aim: Aim::Request(wanted), .. }) = &mut self.each[place] else { return false };
        wanted.answered = true;
        let (method, opens) = (wanted.method, wanted.kind.opens());
        self.woken.insert(place);
        self.clear(method);
        opens
    }
}

/// Whether a message of the server tells how far a request is.
fn is_progress(frame: &[u8], e: &envelope::Envelope) -> bool {
    e.kind(frame) == Kind::Notification
        && e.method.clone().is_some_and(|method| frame[method] == *b"notifications/progress")
}

/// Whether a message of the server on the stream of a request is about that request: its own question, or what it logs.
fn is_about_request(frame: &[u8], e: &envelope::Envelope) -> bool {
    match e.kind(frame) {
        Kind::Request => true,
        Kind::Notification => e.method.clone().is_some_and(|method| frame[method] == *b"notifications/message"),
        Kind::Response | Kind::Other => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_asked_for_again_when_its_server_wants_that_and_less_and_less_while_it_is_empty() {
        let ms = Duration::from_millis;
        assert_eq!(
            [None, Some(ms(0)), Some(ms(500)), Some(ms(86_400_000))].map(|told| pause(told, 0)),
            [RETRY, MIN_RETRY, ms(500), MAX_RETRY]
        );
        let seconds: Vec<u64> = (0..8).map(|empty| pause(None, empty).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(pause(Some(ms(0)), u32::MAX), MAX_RETRY);
    }
}
