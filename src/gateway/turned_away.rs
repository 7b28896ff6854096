//! Clients that are let in nowhere, told to the log: the first of each kind, and then how many there are. Nothing of what they sent is
//! shown, as a key that is only misspelt is nearly one.

use http::StatusCode;
use serde_json::json;
use tracing::{debug, warn};

pub(super) use crate::control::status::Refusal;
use crate::control::status::Status;
use crate::logging::utc;

/// What is said of the client.
fn words(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Key => "a client was refused (401): it showed neither a key nor a token that is good here",
        Refusal::Host => {
            "a client was refused (403): it asked for a host of a name that is not known here; if that is this one, add it to `hosts` of `gateway`"
        }
        Refusal::Token => {
            "a connection at the endpoint was closed (1008): the token in its address is none of `endpointTokens`"
        }
        Refusal::NoToken => {
            "a connection at the endpoint was closed (1008): its address has no token; it has to end with ?token=TOKEN, one of `endpointTokens`"
        }
        Refusal::Origin => {
            "a client was refused (403): it is a web page of an origin that may not ask; if it may, add it to `cors` of `gateway`"
        }
        Refusal::Rate => {
            "a request was refused (429): more come than `requestsPerSecond` of `gateway` allows, or too many wrong keys or tokens have come from its address"
        }
        Refusal::Room => "a request was refused (503): there is no room for it, or nobody to serve it",
        Refusal::Size => "a request was refused (413): it is larger than `maxBody` of `gateway` allows",
        Refusal::ContentType => {
            "a request was refused (415): a message is a POST of application/json, not compressed, and this one says that it is something else"
        }
        Refusal::Epoch => {
            "tools were refused at the endpoint (409): by Mcp-Pipe-Epoch they dial by an older lease than others that came with their token"
        }
        Refusal::Session => {
            "a request was refused (404): its session is not here, or has ended; its client has to begin anew (initialize)"
        }
        Refusal::Message => {
            "a request was refused (400): it is no message, or lacks its session or a version of MCP that is known here; its answer says which"
        }
        Refusal::Path => "a request was refused (404): nothing is at its address, or nothing for its key",
        Refusal::Method => "a request was refused (405): nothing at its address is asked for by its method",
        Refusal::Connections => {
            "a connection was closed: its address has as many as `maxConnectionsPerAddress` of `gateway` allows"
        }
        Refusal::NotHttp => {
            "a connection was closed: what came is not HTTP as it is spoken here; its client may have https:// for http://, or the other way round"
        }
    }
}

/// Notes another one. Whoever comes again and again doesn't get to fill the disk: it is told that there are 2, 4, 8 and so on.
pub(super) fn note(refusal: Refusal, status: &Status) {
    let (count, words) = (status.refused(refusal), words(refusal));
    if status.tap().is_on() {
        status.tap().show(&[], |_| json!({"time": utc(), "kind": "refused", "why": words}).to_string());
    }
    // Whoever is let in somewhere is told why, and that is enough.
    let is_let_in = match refusal {
        Refusal::Rate | Refusal::Room | Refusal::Size | Refusal::ContentType | Refusal::Session => true,
        Refusal::Message | Refusal::Path | Refusal::Method => true,
        Refusal::Key | Refusal::Host | Refusal::Origin | Refusal::Token | Refusal::NoToken | Refusal::Epoch => false,
        Refusal::Connections | Refusal::NotHttp => false,
    };
    if is_let_in {
        return;
    }
    match count {
        1 => warn!(event = "CLIENT_REFUSED", "{words}"),
        n if n.is_power_of_two() => warn!(event = "CLIENT_REFUSED", refused = n, "{words}; {n} times so far"),
        n => debug!(event = "CLIENT_REFUSED", refused = n, "{words}"),
    }
}

/// Why a request was refused, as far as its answer's status tells; others of its kind are noted where they are refused. `has_session`:
/// whether it says of which session it is.
pub(super) fn by_status(status: StatusCode, has_session: bool) -> Option<Refusal> {
    match status {
        StatusCode::UNAUTHORIZED => Some(Refusal::Key),
        StatusCode::TOO_MANY_REQUESTS => Some(Refusal::Rate),
        StatusCode::SERVICE_UNAVAILABLE => Some(Refusal::Room),
        StatusCode::PAYLOAD_TOO_LARGE => Some(Refusal::Size),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Some(Refusal::ContentType),
        StatusCode::NOT_FOUND if has_session => Some(Refusal::Session),
        StatusCode::NOT_FOUND => Some(Refusal::Path),
        StatusCode::BAD_REQUEST => Some(Refusal::Message),
        StatusCode::METHOD_NOT_ALLOWED => Some(Refusal::Method),
        _ => None,
    }
}
