//! How the gateway refuses, in the words and codes of whatever era the client is of.

use std::time::Duration;

use http::header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use tokio::time::Instant;

use super::door::Denied;
use super::era::is_modern_header;
use super::guesses::{Guesses, Source};
use super::reply::{self, Answer};
use crate::mcp::reply::{INTERNAL, error_with};

/// How long a client is told to wait before it tries again where nobody knows better.
pub(super) const LATER: Duration = Duration::from_secs(5);

/// JSON-RPC errors of MCP's field, for legacy clients: who asks is not known, or asks too often.
const NOT_ALLOWED: i32 = -32003;
pub(super) const TOO_OFTEN: i32 = -32004;
/// What whoever asks too often is told.
pub(super) const SLOWER: &str = "more requests than the config allows (requestsPerSecond)";

/// What whoever finds no place is told.
pub(super) const FULL: &str = "there are as many sessions as the config allows (maxSessions); try again later";

/// An answer with when to try again.
pub(super) fn later(mut answer: Answer, wait: Duration) -> Answer {
    let seconds = wait.as_secs_f64().ceil().max(1.0) as u64;
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    answer
}

/// That a client asks more often than it may.
pub(super) fn too_often(headers: &HeaderMap, wait: Duration) -> Answer {
    later(refused(headers, StatusCode::TOO_MANY_REQUESTS, (TOO_OFTEN, "rate_limited"), SLOWER), wait)
}

/// That too much has come from a client's address that was not good.
pub(super) fn too_many_guesses(headers: &HeaderMap, wait: Duration) -> Answer {
    let why = "too many wrong keys or tokens have come from this address; try again later";
    later(refused(headers, StatusCode::TOO_MANY_REQUESTS, (TOO_OFTEN, "rate_limited"), why), wait)
}

/// That a client is not let in, or has been wrong too often to be told so.
pub(super) fn turned_down(denied: Denied, headers: &HeaderMap, (from, guesses): (Option<&Source>, &Guesses)) -> Answer {
    let is_guess = matches!(denied, Denied::Unknown | Denied::Token);
    match from.filter(|_| is_guess).map(|from| guesses.wrong(*from, Instant::now())) {
        Some(Err(wait)) => too_many_guesses(headers, wait),
        Some(Ok(())) | None => denied_as(denied, headers),
    }
}

/// That a client is not let in (RFC 6750 section 3).
pub(super) fn denied_as(denied: Denied, headers: &HeaderMap) -> Answer {
    let (challenge, why) = match denied {
        Denied::NoKey => ("Bearer", "a key or a token is needed: Authorization: Bearer KEY, or X-API-Key: KEY"),
        Denied::Malformed => (
            "Bearer error=\"invalid_request\"",
            "no key is written like that: Authorization: Bearer KEY, or X-API-Key: KEY, and one of them",
        ),
        // Which check it was is for the log: whoever makes up tokens need not know.
        Denied::Token | Denied::Untimely => {
            ("Bearer error=\"invalid_token\"", "this token is not good here, or not any more")
        }
        Denied::Nowhere => return nowhere(),
        Denied::Unready => {
            let why = "whether this token is good can't be looked up now; try again later";
            let answer = refused(headers, StatusCode::SERVICE_UNAVAILABLE, (INTERNAL, "unavailable"), why);
            return later(answer, LATER);
        }
        Denied::Unknown => ("Bearer error=\"invalid_token\"", "this key is not known here"),
    };
    let mut answer = refused(headers, StatusCode::UNAUTHORIZED, (NOT_ALLOWED, "unauthorized"), why);
    answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    answer
}

/// The answer where there are as many conversations as there may be.
pub(super) fn full(id: Option<&[u8]>) -> Answer {
    later(reply::error(StatusCode::SERVICE_UNAVAILABLE, id, INTERNAL, FULL), LATER)
}

/// The answer where a token has as many connections of tools as it may.
pub(super) fn full_of_tools(most: usize) -> Answer {
    let why = format!("there are {most} connections of tools with this token, and that is all that there may be");
    later(reply::error(StatusCode::SERVICE_UNAVAILABLE, None, INTERNAL, &why), LATER)
}

/// The answer where the pipe receives nobody.
pub(super) fn closed(id: Option<&[u8]>) -> Answer {
    let why = "mcp-pipe is stopping, or its servers are being changed; try again later";
    later(reply::error(StatusCode::SERVICE_UNAVAILABLE, id, INTERNAL, why), LATER)
}

/// A refusal for whatever era the client is of: codes that only the legacy one knows are a reason in the other.
fn refused(headers: &HeaderMap, status: StatusCode, (code, reason): (i32, &str), why: &str) -> Answer {
    if !is_modern_header(headers) {
        return reply::error(status, None, code, why);
    }
    let reason = format!("\"{reason}\"");
    reply::json(status, error_with(b"null", INTERNAL, why, &[("reason", &reason)]).into())
}

/// That an address leads nowhere.
pub(super) fn nowhere() -> Answer {
    reply::text(StatusCode::NOT_FOUND, "there is nothing here; the servers are at /mcp")
}
