//! Streamable HTTP without sessions (MCP 2026-07-28, basic/transports): each request says for itself who asks, and is answered by itself.
//!
//! # Theory of operation
//!
//! The pipe's peers speak as clients of the legacy era do. So each modern request is a guest of its own, whose short conversation has
//! `initialize` and the request (`call`). When the client goes, its guest goes, which cancels the request at the server. Nothing of a
//! request can reach another one, whatever their ids are.
//!
//! A server that asks something amid a call has its conversation held until the client comes with the answers (`held`). A request for
//! news is a guest that stays (`listening`).

mod call;
mod envelope;
mod flow;
mod held;
mod listening;
mod stamp;
mod talk;
mod turn;

use std::future::poll_fn;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::time::{Instant, timeout};

use self::call::{Call, Print};
use self::envelope::{Asked, Fault, Wanted, check};
use self::flow::{Flow, Source};
use self::held::Leg;
pub(super) use self::held::{Held, Limits};
use self::listening::{Listening, Wish};
use self::stamp::Last;
use self::talk::Talk;
use self::turn::{Next, Turn};
use super::events::SILENCE;
use super::legacy::Takes;
use super::reply::{self, Answer};
use super::terms::Gate;
use super::{Gateway, refusal};
use crate::mcp::envelope::Scanned;
use crate::mcp::era::Era;
use crate::mcp::object;
use crate::mcp::reply::{INTERNAL, INVALID_PARAMS, INVALID_REQUEST};

impl Gateway {
    /// A message of the modern era that was posted to an address.
    pub(super) async fn post_modern(&self, gate: &Gate, headers: &HeaderMap, body: Bytes, scanned: Scanned) -> Answer {
        let asked = match check(headers, &body, &scanned) {
            Ok(Some(asked)) => asked,
            // Nothing that a client tells in this way is of use to a server: what it wants no more it hangs up on.
            Ok(None) => return reply::empty(StatusCode::ACCEPTED),
            Err((fault, id)) => return refuse(&fault, id),
        };
        let takes = Takes::of(headers);
        match asked.wanted {
            Wanted::Listen => self.listen(gate, &asked, takes).await,
            Wanted::Discover | Wanted::Work | Wanted::Tools | Wanted::Plain => {
                let leg = match asked.param("requestState").filter(|_| asked.wanted == Wanted::Work) {
                    Some(state) => self.go_on(gate, &asked, state),
                    None => self.begin_modern(gate, headers, &asked).await,
                };
                match leg {
                    Ok(leg) => answer(Turn::of(leg, gate.scope.clone(), self.held.clone()), takes).await,
                    Err(fault) => refuse(&fault, asked.id),
                }
            }
        }
    }

    /// Begins the conversation of a request.
    async fn begin_modern(&self, gate: &Gate, headers: &HeaderMap, asked: &Asked<'_>) -> Result<Leg, Fault> {
        let (call, hello) = Call::begin(asked, headers, &gate.tools)?;
        let mut talk = self.guest(gate).await?;
        talk.say(&[&hello]);
        Ok(Leg { talk, call })
    }

    /// Goes on with a conversation that has waited for this request. `state`: raw JSON.
    fn go_on(&self, gate: &Gate, asked: &Asked<'_>, state: &str) -> Result<Leg, Fault> {
        let state = object::text_of(state).unwrap_or_default();
        let leg = self.held.take(&state, &gate.scope, &Print::of(asked), Instant::now());
        let Some(mut leg) = leg else {
            let why =
                "requestState is none that waits for this request: it was used, is too old, or belongs to another";
            let fault = Fault::new(StatusCode::OK, INVALID_PARAMS, why);
            return Err(fault.with("reason", "\"invalid_request_state\""));
        };
        for message in leg.call.go_on(asked) {
            leg.talk.say(&[&message]);
        }
        Ok(leg)
    }

    /// Begins a stream of news.
    async fn listen(&self, gate: &Gate, asked: &Asked<'_>, takes: Takes) -> Answer {
        if !takes.a_stream() {
            let why = "news come as text/event-stream, which has to be in Accept";
            return reply::error(StatusCode::NOT_ACCEPTABLE, Some(asked.id), INVALID_REQUEST, why);
        }
        let wish = match Wish::of(asked) {
            Ok(wish) => wish,
            Err(fault) => return refuse(&fault, asked.id),
        };
        // It stays as a session does, and is counted like one.
        let Some(counted) = self.place() else { return refuse(&unavailable(refusal::FULL), asked.id) };
        match self.guest(gate).await {
            Ok(talk) => {
                let listening = Listening::begin(talk, wish, &asked.caller.hello(), &self.over, counted);
                reply::until(reply::pieces(Flow::of(Source::News(Box::new(listening)), None)), gate.until)
            }
            Err(fault) => refuse(&fault, asked.id),
        }
    }

    /// A guest that has said nothing yet.
    async fn guest(&self, gate: &Gate) -> Result<Talk, Fault> {
        let why = "mcp-pipe is stopping, or its servers are being changed; try again later";
        self.receive_as(gate, "/mcp", Era::Modern).await.map(Talk::over).ok_or_else(|| unavailable(why))
    }
}

/// That there may be an answer later.
fn unavailable(why: impl Into<String>) -> Fault {
    Fault::new(StatusCode::SERVICE_UNAVAILABLE, INTERNAL, why).with("reason", "\"unavailable\"")
}

/// Answers with what comes of a request: as JSON, if the answer comes first.
async fn answer(mut turn: Turn, takes: Takes) -> Answer {
    loop {
        match timeout(SILENCE, poll_fn(|cx| turn.poll_next(cx))).await {
            Ok(Some(Next::Last(Last { status, body }))) if takes.json || !takes.events || status != StatusCode::OK => {
                let answer = reply::json(status, body.into());
                return if status == StatusCode::SERVICE_UNAVAILABLE {
                    refusal::later(answer, refusal::LATER)
                } else {
                    answer
                };
            }
            Ok(Some(Next::Last(last))) => {
                return reply::pieces(Flow::of(Source::Turn(Box::new(turn)), Some(last.body.into())));
            }
            Ok(Some(Next::Note(note))) if takes.events => {
                return reply::pieces(Flow::of(Source::Turn(Box::new(turn)), Some(note)));
            }
            // Clients and proxies give up on what does not begin.
            Err(_silence) if takes.events => return reply::pieces(Flow::of(Source::Turn(Box::new(turn)), None)),
            Ok(Some(Next::Note(_)) | None) | Err(_) => {}
        }
    }
}

fn refuse(fault: &Fault, id: &[u8]) -> Answer {
    let answer = reply::json(fault.status, fault.answer(id).into());
    if fault.status == StatusCode::SERVICE_UNAVAILABLE { refusal::later(answer, refusal::LATER) } else { answer }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
