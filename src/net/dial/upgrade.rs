//! The WebSocket upgrade (RFC 6455 section 4), and what answers instead of it.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderMap;
use http::header::{self, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};

use super::{Dialed, Limit, Stream};
use crate::config::LinkSpec;
use crate::endpoint::{EPOCH_HEADER, Endpoint};
use crate::net::error::{DialError, DialStep};
use crate::net::head::{Head, HeadError, body_text, read_body, read_head, retry_after};
use crate::net::peer_text::Redaction;
use crate::net::tls::words;

/// Longest wait for the body of an error, whose status is known by then.
const BODY_PATIENCE: Duration = Duration::from_millis(500);
/// Longest part of an error's body that is shown, in characters.
const MAX_SHOWN: usize = 200;
/// Longest part of a header's value that is shown, in characters.
const MAX_VALUE: usize = 60;

/// What a server answered to the upgrade request, errors aside.
pub(super) enum Answer {
    /// The connection speaks WebSocket from here on.
    Open(Dialed),
    /// The endpoint is at another address.
    Redirect {
        /// 301, 302, 303, 307 or 308.
        status: u16,
        /// The address as it was sent.
        location: String,
    },
}

/// Asks for the upgrade.
pub(super) async fn upgrade(
    mut stream: Stream,
    endpoint: &Endpoint,
    spec: &LinkSpec,
    peer: &str,
    limit: &Limit,
) -> Result<Answer, DialError> {
    let key = generate_key();
    let request = request(endpoint, spec, Some(&key))?;
    let head = exchange(&mut stream, &request, endpoint, peer, limit).await?;
    if head.status == 101 {
        verify(&head.headers, &key, spec, peer, || Redaction::of(endpoint, spec))?;
        return Ok(Answer::Open(Dialed { stream, early: head.rest }));
    }
    if let (301 | 302 | 303 | 307 | 308, Some(location)) = (head.status, head.headers.get(header::LOCATION)) {
        let location = String::from_utf8_lossy(location.as_bytes()).into_owned();
        return Ok(Answer::Redirect { status: head.status, location });
    }
    Err(refusal(stream, head, (endpoint, spec), peer, limit).await)
}

/// The same address asked for a page: one GET that can't become a connection of the endpoint's.
pub(super) async fn get(
    mut stream: Stream,
    endpoint: &Endpoint,
    spec: &LinkSpec,
    peer: &str,
    limit: &Limit,
) -> Result<(u16, HeaderMap, DialError), DialError> {
    let request = request(endpoint, spec, None)?;
    let head = exchange(&mut stream, &request, endpoint, peer, limit).await?;
    let (status, headers) = (head.status, head.headers.clone());
    Ok((status, headers, refusal(stream, head, (endpoint, spec), peer, limit).await))
}

/// Sends a request, and reads the head of the answer.
async fn exchange(
    stream: &mut Stream,
    request: &[u8],
    endpoint: &Endpoint,
    peer: &str,
    limit: &Limit,
) -> Result<Head, DialError> {
    let exchange = async {
        // Not an error yet: a server that refuses without reading has often answered before it closed.
        let written = stream.write_all(request).await.and(stream.flush().await);
        read_head(stream).await.map_err(|error| match (error, written) {
            (HeadError::Lost(_), Err(error)) => HeadError::Lost(error),
            (error, _) => error,
        })
    };
    let step = if endpoint.is_tls() { DialStep::Upgrade } else { DialStep::PlainUpgrade };
    limit.bound(peer, step, async { exchange.await.map_err(|e| no_head(e, peer, step)) }).await
}

/// An answer that is no upgrade, as an error, with the beginning of its body.
async fn refusal(
    mut stream: Stream,
    Head { status, headers, rest: mut body }: Head,
    (endpoint, spec): (&Endpoint, &LinkSpec),
    peer: &str,
    limit: &Limit,
) -> DialError {
    let patience = limit.deadline.min(Instant::now() + BODY_PATIENCE);
    // The end of the patience is no error: what came until then is shown.
    let _ = tokio::time::timeout_at(patience, read_body(&mut stream, &headers, &mut body)).await;
    let body = Redaction::of(endpoint, spec).shown(&body_text(&headers, &body), MAX_SHOWN);
    let retry_after = headers.get(header::RETRY_AFTER).and_then(|value| retry_after(value, SystemTime::now()));
    DialError::Http { peer: peer.to_owned(), status, retry_after, body }
}

/// The request head: for an upgrade if there is a `key` for that. The path and query go as they were given.
fn request(endpoint: &Endpoint, spec: &LinkSpec, key: Option<&str>) -> Result<Vec<u8>, DialError> {
    let uri = endpoint.reveal();
    let target = uri.path_and_query().map_or("/", |p| p.as_str());
    // For `ws://host?token=…` the http crate gives the query alone, but a request target starts with a slash.
    let slash = if target.starts_with('/') { "" } else { "/" };
    let (user_info, host) =
        uri.authority().map_or(("", ""), |a| a.as_str().rsplit_once('@').unwrap_or(("", a.as_str())));

    let upgrade = key.map_or_else(
        || "Connection: close\r\n".to_owned(),
        |key| {
            format!(
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
            )
        },
    );
    let mut out = format!("GET {slash}{target} HTTP/1.1\r\n{upgrade}").into_bytes();
    let mut put = |name: &str, value: &[u8]| {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    };
    let configured = |name: HeaderName| spec.headers.iter().any(|(n, _)| *n == name);
    if !configured(header::HOST) {
        put("Host", host.as_bytes());
    }
    if !configured(header::USER_AGENT) {
        put("User-Agent", concat!("mcp-pipe/", env!("CARGO_PKG_VERSION")).as_bytes());
    }
    if !user_info.is_empty() && !configured(header::AUTHORIZATION) {
        let decoded: Vec<u8> = percent_decode_str(user_info).collect();
        put("Authorization", format!("Basic {}", BASE64_STANDARD.encode(decoded)).as_bytes());
    }
    if let Some(subprotocol) = spec.subprotocol.as_ref().filter(|_| key.is_some()) {
        let value = HeaderValue::from_str(subprotocol);
        put("Sec-WebSocket-Protocol", checked(&header::SEC_WEBSOCKET_PROTOCOL, value)?.as_bytes());
    }
    if let Some(epoch) = spec.epoch {
        put(EPOCH_HEADER, epoch.to_string().as_bytes());
    }
    for (name, value) in &spec.headers {
        let ours = [header::UPGRADE, header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
        if ours.contains(name) || name.as_str().starts_with("sec-websocket-") {
            let reason = "belongs to the WebSocket upgrade and can't be set";
            return Err(DialError::Header { name: name.to_string(), reason });
        }
        put(name.as_str(), checked(name, HeaderValue::from_str(value.reveal()))?.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    Ok(out)
}

fn checked<E>(name: &HeaderName, value: Result<HeaderValue, E>) -> Result<HeaderValue, DialError> {
    let reason = "has a value with a line break or another control character";
    value.map_err(|_| DialError::Header { name: name.to_string(), reason })
}

fn no_head(error: HeadError, peer: &str, step: DialStep) -> DialError {
    let reason = match error {
        HeadError::Lost(error) => {
            return DialError::Lost { peer: peer.to_owned(), step, reason: words::of_io(&error) };
        }
        HeadError::Tls => "this port speaks TLS: use wss:// in the endpoint URL",
        HeadError::NotHttp => "it answers with something else than HTTP; check the port in the endpoint URL",
        HeadError::TooLong => "the head of its answer is longer than 16 KiB or has more than 64 headers",
    };
    DialError::NotWebSocket { peer: peer.to_owned(), reason: reason.to_owned() }
}

/// Checks what a client has to check of a 101 (RFC 6455 section 4.1, which allows a missing subprotocol).
/// `redaction` is made where something of the peer's is quoted, which is rare.
fn verify(
    headers: &HeaderMap,
    key: &str,
    spec: &LinkSpec,
    peer: &str,
    redaction: impl Fn() -> Redaction,
) -> Result<(), DialError> {
    let has = |name, token: &str| {
        let values = headers.get_all(name).iter().filter_map(|v| v.to_str().ok());
        values.flat_map(|v| v.split(',')).any(|t| t.trim().eq_ignore_ascii_case(token))
    };
    let shown = |v: &HeaderValue| redaction().shown(&String::from_utf8_lossy(v.as_bytes()), MAX_VALUE);
    let fault = |reason: String| Err(DialError::NotWebSocket { peer: peer.to_owned(), reason });
    if !has(header::UPGRADE, "websocket") || !has(header::CONNECTION, "upgrade") {
        return fault(
            "it answered 101 without upgrading to websocket; a proxy before it may drop these headers".into(),
        );
    }
    if headers
        .get(header::SEC_WEBSOCKET_ACCEPT)
        .is_none_or(|v| v.as_bytes() != derive_accept_key(key.as_bytes()).as_bytes())
    {
        return fault("its Sec-WebSocket-Accept doesn't fit our key; a cache or proxy may have answered for it".into());
    }
    if let Some(extensions) = headers.get(header::SEC_WEBSOCKET_EXTENSIONS) {
        return fault(format!("it wants the extension \"{}\", which was not offered", shown(extensions)));
    }
    match (headers.get(header::SEC_WEBSOCKET_PROTOCOL), &spec.subprotocol) {
        (None, _) => Ok(()),
        (Some(theirs), Some(ours)) if theirs.as_bytes() == ours.as_bytes() => Ok(()),
        (Some(theirs), Some(ours)) => {
            fault(format!("it wants the subprotocol \"{}\", but \"{ours}\" was offered", shown(theirs)))
        }
        (Some(theirs), None) => fault(format!(
            "it wants the subprotocol \"{}\", but none was offered; set it as the subprotocol in the config",
            shown(theirs)
        )),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::endpoint::Secret;

    fn text(endpoint: &str, spec: &LinkSpec) -> String {
        String::from_utf8(request(&endpoint.parse().unwrap(), spec, Some("KEY")).unwrap()).unwrap()
    }

    #[test]
    fn the_query_goes_verbatim_and_a_query_without_a_path_gets_its_slash() {
        assert!(
            text("ws://h/p/?token=a%2Bb%3D&x", &LinkSpec::default())
                .starts_with("GET /p/?token=a%2Bb%3D&x HTTP/1.1\r\n")
        );
        assert!(text("ws://h?token=a", &LinkSpec::default()).starts_with("GET /?token=a HTTP/1.1\r\n"));
        assert!(text("ws://h", &LinkSpec::default()).starts_with("GET / HTTP/1.1\r\n"));
    }

    #[test]
    fn the_host_is_the_one_dialled_and_a_user_becomes_basic_authorization() {
        let text = text("ws://Aladdin:open%20sesame@[::1]:8004/", &LinkSpec::default());
        assert!(text.contains("\r\nHost: [::1]:8004\r\n"), "{text}");
        assert!(text.contains("\r\nAuthorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n"), "{text}");
    }

    #[test]
    fn configured_headers_are_sent_and_replace_ours() {
        let spec = LinkSpec {
            headers: vec![(header::HOST, Secret::new("inner")), (HeaderName::from_static("x-key"), Secret::new("v"))],
            ..LinkSpec::default()
        };
        let text = text("ws://h/", &spec);
        assert!(text.contains("\r\nhost: inner\r\n") && text.contains("\r\nx-key: v\r\n"), "{text}");
        assert!(!text.contains("Host: h") && !text.contains("Sec-WebSocket-Protocol"), "{text}");
    }

    #[test]
    fn a_header_that_would_break_the_request_is_refused_by_name() {
        for (name, value) in [("x-key", "a\r\nb: s3cret"), ("upgrade", "h2c"), ("sec-websocket-key", "s3cret")] {
            let spec =
                LinkSpec { headers: vec![(HeaderName::from_static(name), Secret::new(value))], ..LinkSpec::default() };
            let error = request(&"ws://h/".parse().unwrap(), &spec, Some("KEY")).unwrap_err().to_string();
            assert!(error.contains(name) && !error.contains("s3cret"), "{error}");
        }
    }
}
