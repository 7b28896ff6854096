//! Whether a request asks for a WebSocket connection as it has to (RFC 6455 section 4.2.1), and the answer to it. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode, Version};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::super::reply::{self, Answer};
use crate::mcp::reply::INVALID_REQUEST;

/// The only version that there is.
const VERSION: &str = "13";
/// The subprotocol of MCP's clients over WebSocket.
const PROTOCOL: &str = "mcp";
/// Length of what a key stands for, in bytes.
const KEY: usize = 16;

/// The answer that makes a connection one of WebSocket; else a refusal that says what is missing.
pub(in crate::gateway) fn accept(head: &Parts) -> Result<Answer, Box<Answer>> {
    if head.method != Method::GET {
        return Err(Box::new(reply::other_method("GET")));
    }
    let headers = &head.headers;
    if head.version != Version::HTTP_11 || !is_wanted(headers) || !has(headers, &CONNECTION, "upgrade") {
        let why = "this address is for WebSocket: a GET over HTTP/1.1 with Connection: Upgrade and Upgrade: websocket";
        return Err(upgrade_required(why));
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != VERSION) {
        return Err(upgrade_required("Sec-WebSocket-Version has to be 13"));
    }
    let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).iter();
    let key = match (keys.next(), keys.next()) {
        (Some(key), None) if STANDARD.decode(key).is_ok_and(|key| key.len() == KEY) => key,
        (_, _) => {
            let why = "Sec-WebSocket-Key has to be 16 bytes in Base64";
            return Err(Box::new(reply::error(StatusCode::BAD_REQUEST, None, INVALID_REQUEST, why)));
        }
    };
    let mut answer = reply::empty(StatusCode::SWITCHING_PROTOCOLS);
    let told = answer.headers_mut();
    told.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    told.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accepted) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
        told.insert(SEC_WEBSOCKET_ACCEPT, accepted);
    }
    if has(headers, &SEC_WEBSOCKET_PROTOCOL, PROTOCOL) {
        told.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
    }
    Ok(answer)
}

/// Whether a request asks for a WebSocket connection.
pub(in crate::gateway) fn is_wanted(headers: &HeaderMap) -> bool {
    has(headers, &UPGRADE, "websocket")
}

fn upgrade_required(why: &str) -> Box<Answer> {
    let mut answer = reply::error(StatusCode::UPGRADE_REQUIRED, None, INVALID_REQUEST, why);
    let told = answer.headers_mut();
    // RFC 9110 section 15.5.22, and RFC 6455 section 4.4.
    told.insert(UPGRADE, HeaderValue::from_static("websocket"));
    told.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    told.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION));
    Box::new(answer)
}

/// Whether a word is in the list of a header.
fn has(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(word))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use http::Request;

    use super::*;

    /// The request of RFC 6455 section 1.2, changed.
    fn ask(method: &str, version: Version, changes: &[(&str, &str)]) -> Result<Answer, Box<Answer>> {
        let mut request = Request::builder().method(method).version(version).uri("/ws").body(()).unwrap();
        for (name, value) in [
            ("host", "localhost"),
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-version", "13"),
        ]
        .iter()
        .chain(changes)
        {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            match value.is_empty() {
                true => drop(request.headers_mut().remove(name)),
                false => drop(request.headers_mut().insert(name, value.parse().unwrap())),
            }
        }
        accept(&request.into_parts().0)
    }

    #[test]
    fn the_example_of_the_rfc_is_accepted_with_its_answer() {
        let answer = ask("GET", Version::HTTP_11, &[]).unwrap();
        assert_eq!(answer.status(), 101);
        assert_eq!(answer.headers()[SEC_WEBSOCKET_ACCEPT], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(!answer.headers().contains_key(SEC_WEBSOCKET_PROTOCOL));
    }

    #[test]
    fn of_the_subprotocols_that_are_offered_only_ours_is_taken() {
        for (offered, taken) in [("mcp", true), ("chat, mcp", true), ("MCP", true), ("chat", false), ("mcp2", false)] {
            let answer = ask("GET", Version::HTTP_11, &[("sec-websocket-protocol", offered)]).unwrap();
            let got = answer.headers().get(SEC_WEBSOCKET_PROTOCOL).map(|value| value.to_str().unwrap());
            assert_eq!(got, taken.then_some("mcp"), "{offered}");
        }
    }

    #[test]
    fn what_asks_for_no_connection_is_told_what_is_missing() {
        for (status, method, version, change) in [
            (405, "POST", Version::HTTP_11, ("x", "y")),
            (426, "GET", Version::HTTP_2, ("x", "y")),
            (426, "GET", Version::HTTP_10, ("x", "y")),
            (426, "GET", Version::HTTP_11, ("upgrade", "")),
            (426, "GET", Version::HTTP_11, ("upgrade", "h2c")),
            (426, "GET", Version::HTTP_11, ("connection", "keep-alive")),
            (426, "GET", Version::HTTP_11, ("sec-websocket-version", "8")),
            (426, "GET", Version::HTTP_11, ("sec-websocket-version", "")),
            (400, "GET", Version::HTTP_11, ("sec-websocket-key", "")),
            (400, "GET", Version::HTTP_11, ("sec-websocket-key", "short")),
            (400, "GET", Version::HTTP_11, ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZSE=")),
        ] {
            let refused = *ask(method, version, &[change]).unwrap_err();
            assert_eq!(refused.status(), status, "{method} {version:?} {change:?}");
            if status == 426 {
                assert_eq!(
                    (&refused.headers()[UPGRADE], &refused.headers()["sec-websocket-version"]),
                    (&"websocket".parse().unwrap(), &"13".parse().unwrap())
                );
            }
        }
        let listed = [("connection", "keep-alive, Upgrade"), ("upgrade", "h2c, WebSocket")];
        assert!(ask("GET", Version::HTTP_11, &listed).is_ok(), "words of a list, in any case");
    }
}
