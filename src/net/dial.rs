//! Dialling an endpoint: name, TCP, proxy, TLS, WebSocket upgrade.
//!
//! # Theory of operation
//!
//! One deadline bounds the whole dial, redirects included; the error names the step that was under way. A host is
//! looked up only if it is a name. Its addresses are tried in turn, the families alternating, each with a share of
//! the time, so that one black hole doesn't use up all of it. The result is a raw stream, with whatever the endpoint sent right
//! behind its 101: the cloud's first message often shares a segment with that.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::error::{DialError, DialStep, host_port};
use super::proxy::Proxies;
use super::tls::{self, Alpn};
use crate::config::{LinkSpec, TlsSpec};
use crate::endpoint::{Endpoint, Origin};
use crate::process::aside::aside;
use crate::process::limits;

pub(crate) mod probe;
mod redirect;
mod stream;
mod upgrade;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
pub(in crate::net) mod tests;

pub(crate) use stream::Stream;

use upgrade::Answer;

/// Most redirects in a dial: more than a well-meant chain has.
const MAX_REDIRECTS: usize = 5;
/// Longest time for one of several addresses: a lost SYN is sent again after 1 s, and once more in this time.
const MAX_SHARE: Duration = Duration::from_millis(3500);
/// The deadline of a dial whose connect timeout is too long for the clock to add.
const FAR: Duration = Duration::from_secs(86_400);

/// A connection that speaks WebSocket from here on.
#[derive(Debug)]
pub(crate) struct Dialed {
    /// Everything after `early`.
    pub stream: Stream,
    /// What the endpoint sent right behind its 101, to be read before `stream`.
    pub early: Vec<u8>,
}

/// Dials the endpoint, through a proxy if the environment says so, within `spec.connect_timeout`.
pub(crate) async fn dial(endpoint: &Endpoint, spec: &LinkSpec) -> Result<Dialed, DialError> {
    dial_via(Proxies::in_use(), endpoint, spec).await
}

pub(super) async fn dial_via(proxies: &Proxies, endpoint: &Endpoint, spec: &LinkSpec) -> Result<Dialed, DialError> {
    let limit = Limit::starting_now(spec.connect_timeout);
    let mut target = endpoint.clone();
    for _ in 0..=MAX_REDIRECTS {
        match attempt(proxies, &target, spec, &limit).await? {
            Answer::Open(dialed) => return Ok(dialed),
            Answer::Redirect { status, location } => target = redirect::follow(&target, status, &location)?,
        }
    }
    Err(DialError::TooManyRedirects { peer: host_port(endpoint.host(), endpoint.port()), limit: MAX_REDIRECTS })
}

async fn attempt(proxies: &Proxies, endpoint: &Endpoint, spec: &LinkSpec, limit: &Limit) -> Result<Answer, DialError> {
    let origin = endpoint.origin();
    let files = TlsSpec { ca_file: spec.ca_file.clone(), identity: None };
    let stream = open(proxies, &origin, (&files, Alpn::Http1), limit).await?;
    upgrade::upgrade(stream, endpoint, spec, &origin.to_string(), limit).await
}

/// A connection to whoever is dialled, through a proxy if the environment says so, by TLS if the address says so.
pub(in crate::net) async fn open(
    proxies: &Proxies,
    origin: &Origin,
    (files, alpn): (&TlsSpec, Alpn),
    limit: &Limit,
) -> Result<Stream, DialError> {
    let (Origin { tls, host, port }, peer) = (origin, origin.to_string());
    let tcp = match proxies.proxy_for(origin)? {
        None => connect(host, *port, &peer, limit).await?,
        Some(proxy) => {
            let name = proxy.to_string();
            let tcp = connect(&proxy.host, proxy.port, &name, limit).await?;
            limit.bound(&name, DialStep::Proxy, proxy.tunnel(tcp, host, *port)).await?
        }
    };
    if !tls {
        return Ok(Stream::Tcp(tcp));
    }
    let handshake = tls::handshake(tcp, host, &peer, (files, alpn));
    Ok(Stream::Tls(Box::new(limit.bound(&peer, DialStep::Tls, handshake).await?)))
}

/// The time limit of a dial.
pub(in crate::net) struct Limit {
    whole: Duration,
    deadline: Instant,
}

impl Limit {
    pub(in crate::net) fn starting_now(whole: Duration) -> Self {
        let now = Instant::now();
        Limit { whole, deadline: now.checked_add(whole).unwrap_or(now + FAR) }
    }

    /// The result of `work`, unless the deadline passes first.
    async fn bound<T>(
        &self,
        peer: &str,
        step: DialStep,
        work: impl Future<Output = Result<T, DialError>>,
    ) -> Result<T, DialError> {
        timeout_at(self.deadline, work).await.unwrap_or_else(|_| Err(self.passed(peer, step)))
    }

    fn passed(&self, peer: &str, step: DialStep) -> DialError {
        DialError::Timeout { peer: peer.to_owned(), step, limit: self.whole }
    }
}

/// A TCP connection to the first address that takes one.
async fn connect(host: &str, port: u16, peer: &str, limit: &Limit) -> Result<TcpStream, DialError> {
    let addresses = limit.bound(peer, DialStep::Dns, resolve(host, port)).await?;
    let mut refused = None;
    let mut failed = None;
    for (i, &address) in addresses.iter().enumerate() {
        let now = Instant::now();
        let left = limit.deadline.saturating_duration_since(now);
        let share = match addresses.len() - i {
            1 => left,
            n => (left / n as u32).min(MAX_SHARE),
        };
        let error = match timeout_at(now + share, TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => match tcp.set_nodelay(true) {
                // Messages are written whole: waiting to fill a segment only delays them.
                Ok(()) => return Ok(tcp),
                Err(error) => error,
            },
            Ok(Err(error)) => error,
            Err(_) => io::ErrorKind::TimedOut.into(),
        };
        if error.kind() == io::ErrorKind::ConnectionRefused {
            refused = Some(DialError::Refused { peer: peer.to_owned() });
        } else if error.kind() == io::ErrorKind::TimedOut {
            failed = Some(DialError::Timeout { peer: peer.to_owned(), step: DialStep::Tcp, limit: share });
        } else {
            let reason = format!("{address}: {}", limits::told(&error));
            failed = Some(DialError::Unreachable { peer: peer.to_owned(), reason });
        }
    }
    // Of several failures a refusal says least: an address that isn't served usually refuses.
    Err(failed.or(refused).unwrap_or_else(|| no_address(host)))
}

fn no_address(host: &str) -> DialError {
    DialError::Dns { host: host.to_owned(), reason: "it has no address".to_owned() }
}

/// The addresses of a host. Only a name that isn't this machine's own takes a thread and the name server.
async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, DialError> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    if host.eq_ignore_ascii_case("localhost") {
        // `localhost` is always this machine (RFC 6761 section 6.3).
        let ips: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        return Ok(ips.map(|ip| SocketAddr::new(ip, port)).to_vec());
    }
    let name = host.to_owned();
    match aside(move || (name, port).to_socket_addrs()).await.and_then(|found| found) {
        Ok(found) => Ok(alternating(found.collect())),
        Err(error) => Err(DialError::Dns { host: host.to_owned(), reason: limits::told(&error) }),
    }
}

/// The same addresses, the families taking turns and the system's first choice first (RFC 8305 section 4).
fn alternating(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|a| a.is_ipv6() == first_is_v6);
    let longer = first.len().max(second.len());
    (0..longer).flat_map(|i| [first.get(i).copied(), second.get(i).copied()]).flatten().collect()
}
