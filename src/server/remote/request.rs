//! What a remote server is sent: the head of each request. Pure.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use percent_encoding::percent_decode_str;

use super::exchange::{Aim, Exchange, Wanted};
use super::session::Session;
use crate::config::RemoteSpec;
use crate::endpoint::RemoteUrl;
use crate::net::http::Call;

/// The names of headers that only MCP has (MCP, basic/transports), and of one that only event streams have.
const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const LAST_EVENT: HeaderName = HeaderName::from_static("last-event-id");

/// The name of the header in which a server tells the id of a session.
pub(super) const SESSION_HEADER: &str = "mcp-session-id";

const BOTH: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PLAIN: HeaderValue = HeaderValue::from_static("identity");
const OURS: HeaderValue = HeaderValue::from_static(concat!("mcp-pipe/", env!("CARGO_PKG_VERSION")));

/// The request of an exchange, to this address and with this token.
pub(super) fn call(
    exchange: &Exchange,
    (url, token): (&RemoteUrl, Option<HeaderValue>),
    session: &Session,
    spec: &RemoteSpec,
) -> Call {
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, OURS);
    // A compressed stream comes in blocks, and so late.
    headers.insert(ACCEPT_ENCODING, PLAIN);
    if let Some(value) = token.or_else(|| basic(url)) {
        headers.insert(AUTHORIZATION, value);
    }
    for (name, value) in &spec.headers {
        // A value that no header may have was refused where the config was read.
        if let Ok(mut value) = HeaderValue::from_str(value.reveal()) {
            value.set_sensitive(true);
            headers.insert(name, value);
        }
    }
    for (name, value) in &exchange.headers {
        headers.append(name, value.clone());
    }
    let behind = match &exchange.aim {
        Aim::Request(Wanted { resumes, .. }) => resumes.as_deref(),
        Aim::Listening { behind, .. } => behind.as_deref(),
        Aim::Message { .. } | Aim::Renewal | Aim::Probe | Aim::Stream | Aim::End => None,
    };
    let is_get = behind.is_some() || matches!(exchange.aim, Aim::Listening { .. } | Aim::Stream);
    headers.insert(ACCEPT, if is_get { EVENTS } else { BOTH });
    let mut text = |name: HeaderName, value: Option<&[u8]>| {
        if let Some(Ok(value)) = value.map(HeaderValue::from_bytes) {
            headers.insert(name, value);
        }
    };
    text(LAST_EVENT, behind);
    text(SESSION, session.id().map(str::as_bytes));
    text(VERSION, session.version().map(str::as_bytes));
    let (method, body) = match exchange.aim {
        _ if is_get => (Method::GET, Bytes::new()),
        Aim::End => (Method::DELETE, Bytes::new()),
        Aim::Request(_) | Aim::Message { .. } | Aim::Renewal | Aim::Probe | Aim::Listening { .. } | Aim::Stream => {
            headers.insert(CONTENT_TYPE, JSON);
            (Method::POST, exchange.body.clone())
        }
    };
    Call { method, url: url.clone(), headers, body }
}

/// The user name and the password of an address as a header (RFC 7617).
fn basic(url: &RemoteUrl) -> Option<HeaderValue> {
    let user_info = url.user_info();
    if user_info.is_empty() {
        return None;
    }
    let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    let mut pair: Vec<u8> = percent_decode_str(user).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(password));
    let mut value = HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(pair))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::super::exchange::{MethodId, WantedKind};
    use super::super::session::LineKind;
    use super::*;
    use crate::config::{AuthSpec, RemoteTransport, TlsSpec};
    use crate::secrecy::Secret;

    fn spec(url: &str, headers: &[(&'static str, &str)]) -> RemoteSpec {
        let headers = headers.iter().map(|(name, value)| (HeaderName::from_static(name), Secret::new(*value)));
        RemoteSpec {
            url: url.parse().unwrap(),
            transport: RemoteTransport::Any,
            headers: headers.collect(),
            auth: AuthSpec::Headers,
            tls: TlsSpec::default(),
            connect_timeout: Duration::from_secs(1),
        }
    }

    fn sent(aim: Aim, session: &Session, spec: &RemoteSpec) -> Call {
        call(&Exchange::new(aim, Bytes::from_static(b"{}"), Instant::now()), (&spec.url, None), session, spec)
    }

    fn request(resumes: Option<&[u8]>) -> Aim {
        let resumes = resumes.map(Into::into);
        let (id, number) = (b"1".as_slice().into(), Some(1));
        Aim::Request(Wanted {
            id,
            number,
            kind: WantedKind::Other,
            method: MethodId::of(b"x"),
            answered: false,
            resumes,
            instead: None,
        })
    }

    #[test]
    fn each_request_has_the_head_that_its_revision_wants() {
        let plain = spec("http://h/mcp", &[]);
        let mut session = Session::new();
        let first = sent(request(None), &session, &plain);
        assert_eq!((first.method, &*first.body), (Method::POST, &b"{}"[..]));
        assert_eq!(first.headers[CONTENT_TYPE], "application/json");
        assert!(!first.headers.contains_key(SESSION) && !first.headers.contains_key(VERSION));
        session.sends(LineKind::Initialize, &Bytes::from_static(b"{}"));
        session.greeted(br#"{"protocolVersion":"2025-06-18"}"#, Some("a-1"));
        for (aim, method, body) in [
            (request(None), Method::POST, "{}"),
            (request(Some(b"e/7")), Method::GET, ""),
            (Aim::Listening { stood: true, behind: Some(b"e/7".as_slice().into()) }, Method::GET, ""),
            (Aim::Message { announces: true }, Method::POST, "{}"),
            (Aim::End, Method::DELETE, ""),
        ] {
            let of = format!("{aim:?}");
            let call = sent(aim, &session, &plain);
            assert_eq!((call.method.clone(), &*call.body), (method, body.as_bytes()), "{of}");
            assert!(call.headers[SESSION] == "a-1" && call.headers[VERSION] == "2025-06-18", "{of}");
            assert_eq!(call.headers.contains_key(LAST_EVENT), call.method == Method::GET, "{of}");
        }
    }

    #[test]
    fn who_asks_is_told_by_the_address_or_else_by_the_headers_and_shown_to_nobody() {
        let session = Session::new();
        let by_address = spec("http://me:a%20b@h/", &[]);
        let call = sent(request(None), &session, &by_address);
        assert_eq!(call.headers[AUTHORIZATION], "Basic bWU6YSBi");
        let by_header = spec("http://me:pw@h/", &[("authorization", "Bearer t0ken"), ("x-own", "s3cret")]);
        let call = sent(request(None), &session, &by_header);
        assert!(call.headers[AUTHORIZATION] == "Bearer t0ken" && call.headers["x-own"] == "s3cret");
        let shown = format!("{:?}", call.headers);
        assert!(!shown.contains("t0ken") && !shown.contains("s3cret"), "{shown}");
    }
}
