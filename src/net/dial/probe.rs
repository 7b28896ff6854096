//! The way to somebody who is dialled, step by step, without an upgrade: what is found at each, and which step fails.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::DATE;
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout_at;

use super::upgrade::get;
use super::{DialError, Limit, Stream, open, resolve};
use crate::config::{LinkSpec, TlsSpec};
use crate::endpoint::{Endpoint, Origin};
use crate::net::error::host_port;
use crate::net::head::read_head;
use crate::net::proxy::Proxies;
use crate::net::tls::{self, Alpn};

/// Longest time for a date alone.
const PATIENCE: Duration = Duration::from_secs(3);

/// What was found on the way.
#[derive(Debug, Default)]
pub(crate) struct Way {
    /// The proxy through which it leads, without its credentials.
    pub(crate) proxy: Option<String>,
    /// The addresses of the host, where no proxy looks them up.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Where the connection is encrypted: until when the certificate is good, if that could be found out.
    pub(crate) good_until: Option<SystemTime>,
    /// What a plain GET was answered with, where one was sent.
    pub(crate) answer: Option<Answer>,
    /// The other side's clock, and ours when that was read.
    pub(crate) date: Option<(SystemTime, SystemTime)>,
    /// Where the way ends before its end: why. What it names is the step.
    pub(crate) error: Option<DialError>,
}

/// The answer to a plain GET.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The same as an error, in words.
    pub(crate) words: DialError,
}

/// Goes the way to an endpoint, and asks for its address by one GET that can't become a connection of the endpoint's.
pub(crate) async fn endpoint(endpoint: &Endpoint, spec: &LinkSpec, within: Duration) -> Way {
    let limit = Limit::starting_now(within);
    let files = TlsSpec { ca_file: spec.ca_file.clone(), identity: None };
    let (mut way, stream) = origin(&endpoint.origin(), (&files, Alpn::Http1), &limit).await;
    let Some(stream) = stream else { return way };
    match get(stream, endpoint, spec, &endpoint.origin().to_string(), &limit).await {
        Ok((status, headers, words)) => {
            way.date = date(&headers);
            way.answer = Some(Answer { status, words });
        }
        Err(error) => way.error = Some(error),
    }
    way
}

/// Goes the way to a remote server, and asks nothing of it but what time it is, where it may say that.
pub(crate) async fn remote(at: &Origin, files: &TlsSpec, within: Duration) -> Way {
    let (mut way, stream) = origin(at, (files, Alpn::Http2), &Limit::starting_now(within)).await;
    if stream.is_some() {
        way.date = time(at, files, &Limit::starting_now(within.min(PATIENCE))).await;
    }
    way
}

/// Asks for the first page of whoever is there, on a connection of its own: every answer of HTTP has a date. Nothing is sent that lets
/// somebody in, and nothing begins that an address of MCP might begin.
async fn time(at: &Origin, files: &TlsSpec, limit: &Limit) -> Option<(SystemTime, SystemTime)> {
    let mut stream = open(Proxies::in_use(), at, (files, Alpn::Http1), limit).await.ok()?;
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", host_port(&at.host, at.port));
    let head = async {
        stream.write_all(request.as_bytes()).await.ok()?;
        stream.flush().await.ok()?;
        read_head(&mut stream).await.ok()
    };
    date(&timeout_at(limit.deadline, head).await.ok()??.headers)
}

async fn origin(at: &Origin, (files, alpn): (&TlsSpec, Alpn), limit: &Limit) -> (Way, Option<Stream>) {
    let proxies = Proxies::in_use();
    let mut way = Way::default();
    match proxies.proxy_for(at) {
        Ok(proxy) => way.proxy = proxy.map(ToString::to_string),
        Err(error) => return (Way { error: Some(error), ..way }, None),
    }
    if way.proxy.is_none() {
        let peer = at.to_string();
        match limit.bound(&peer, super::DialStep::Dns, resolve(&at.host, at.port)).await {
            Ok(addresses) => way.addresses = addresses,
            Err(error) => return (Way { error: Some(error), ..way }, None),
        }
    }
    match open(proxies, at, (files, alpn), limit).await {
        Ok(stream) => {
            if let Stream::Tls(stream) = &stream {
                let shown = stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
                way.good_until = tls::good_until(shown, &at.host, files).await;
            }
            (way, Some(stream))
        }
        Err(error) => (Way { error: Some(error), ..way }, None),
    }
}

/// The other side's clock, and ours.
fn date(headers: &HeaderMap) -> Option<(SystemTime, SystemTime)> {
    let theirs = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
    Some((theirs, SystemTime::now()))
}
