//! Whoever dials the gateway, or the admin address: connections over TCP, with TLS where the config has a certificate, each with its requests over HTTP/1.1 or
//! HTTP/2.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use http::Request;
use http::header::UPGRADE;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::admin::Admin;
use super::guesses::Source;
use super::reply::Answer;
use super::socket::Seats;
use super::stall::Stall;
use super::turned_away::{self, Refusal};
use super::{Encryption, Gateway};
use crate::config::GatewayTls;
use crate::net::port;
use crate::process::{handed, limits};

/// Most bytes of the head of a request, and most headers in it.
const MAX_HEAD: usize = 64 * 1024;
const MAX_HEADERS: usize = 128;
/// Most requests at a time on one connection of HTTP/2.
const MAX_REQUESTS: u32 = 256;
/// Pause after a failed accept: the system is out of something, such as descriptors.
const PAUSE: Duration = Duration::from_millis(100);
/// Time between two looks for sessions that nobody uses.
const SWEEP: Duration = Duration::from_secs(30);
/// What to do at the start where an address can't be listened on.
pub(crate) const AT_THE_START: &str = "name another one in `listen` of `gateway`, or with `mcp-pipe serve --listen`";
/// The same of the admin address.
pub(crate) const ADMIN_AT_THE_START: &str = "name another one in `listen` of `admin`";
/// Most connections of the admin address at a time, and longest time for the head of a request: a few programs ask there, from near by.
const ADMIN: Bounds = Bounds { most: 64, most_of_address: 32, patience: Duration::from_secs(10) };
/// Longest time for connections to end after what was under way on them.
const FAREWELL: Duration = Duration::from_secs(2);

/// A port that is listened on.
#[derive(Debug)]
pub(crate) struct Listener {
    port: TcpListener,
    /// As its connections are to be encrypted.
    encryption: Option<Encryption>,
}

impl Listener {
    /// Listens where the config says, on the socket that is there already if systemd has handed one over. `remedy`: what to do where that is not possible.
    ///
    /// # Errors
    /// The address is taken, or not one of this machine; or a file of its certificate can't be used.
    pub(crate) async fn bind(address: SocketAddr, tls: Option<&GatewayTls>, remedy: &str) -> anyhow::Result<Self> {
        let listening = match handed::at(address) {
            Some(socket) => socket.and_then(TcpListener::from_std),
            None => TcpListener::bind(address).await,
        };
        let port = listening.map_err(|error| {
            let holder = port::holder(address).filter(|_| error.kind() == std::io::ErrorKind::AddrInUse);
            let why = holder.map_or_else(|| limits::told(&error), |holder| format!("{holder}, listens there"));
            anyhow::anyhow!("{address} can't be listened on: {why}; {remedy}")
        })?;
        Ok(Listener { port, encryption: Encryption::of(tls).await? })
    }

    /// Looks whether there is what connections are encrypted with, before anything else is given up for this one.
    ///
    /// # Errors
    /// A file of its certificate can't be used.
    pub(crate) async fn check(tls: Option<&GatewayTls>) -> anyhow::Result<()> {
        Encryption::of(tls).await.map(drop)
    }

    /// Where it is.
    pub(super) fn address(&self) -> anyhow::Result<SocketAddr> {
        self.port.local_addr().context("the gateway has no address")
    }

    /// Answers who comes, until `ended`. Then what is under way has so long.
    ///
    /// `ends`: what ends it, and what is dropped as soon as nobody listens any more.
    pub(crate) async fn serve(self, host: Host, ends: (CancellationToken, oneshot::Sender<()>), patience: Duration) {
        let (ended, open) = ends;
        if let Ok(address) = self.address() {
            host.opened(address, self.encryption.clone());
        }
        let (mut connections, guests) = (JoinSet::new(), Arc::new(Counted::default()));
        let mut sweep = interval(SWEEP);
        loop {
            let Bounds { most, most_of_address, .. } = host.bounds();
            tokio::select! {
                accepted = self.port.accept(), if connections.len() < most => match accepted {
                    Ok((stream, from)) => {
                        // Beyond the limit a connection is closed at once: its client learns that, and waits for nothing.
                        if let Some(place) = guests.clone().come(from.ip(), most_of_address) {
                            let (host, ended) = (host.clone(), ended.clone());
                            connections.spawn(async move {
                                admit((stream, from.ip()), host, ended).await;
                                drop(place);
                            });
                        } else {
                            host.refused(Refusal::Connections);
                        }
                    }
                    Err(error) => {
                        debug!(event = "GATEWAY", "a connection could not be accepted: {error}");
                        sleep(PAUSE).await;
                    }
                },
                Some(_ended) = connections.join_next() => {}
                _ = sweep.tick() => host.sweep(),
                () = ended.cancelled() => break,
            }
        }
        drop(self.port);
        drop(open);
        let all_ended = async { while connections.join_next().await.is_some() {} };
        // Streams that are for nothing in particular have no end of their own.
        let _late = timeout(patience + FAREWELL, all_ended).await;
    }
}

/// Who answers requests.
#[derive(Debug, Clone)]
pub(crate) enum Host {
    Gateway(Arc<Gateway>),
    Admin(Arc<Admin>),
}

/// How many connections there may be, of all and from one address, and how long a client may take for the head of a request.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    most: usize,
    most_of_address: usize,
    patience: Duration,
}

impl Host {
    /// Notes, and tells, where it is reached.
    fn opened(&self, address: SocketAddr, encryption: Option<Encryption>) {
        let scheme = if encryption.is_some() { "https" } else { "http" };
        // Nobody dials that.
        let is_any = address.ip().is_unspecified();
        let others = if is_any { "; from elsewhere it is reached under this machine's own address" } else { "" };
        match self {
            Host::Gateway(gateway) => {
                gateway.encrypt(encryption);
                let url = format!("{scheme}://{address}/mcp");
                info!(event = "GATEWAY", "MCP clients are served at {url}{others}");
                gateway.status.set_gateway(Some(url));
            }
            Host::Admin(admin) => {
                admin.encrypt(encryption);
                info!(event = "ADMIN", "figures and health are told at {scheme}://{address}/metrics{others}");
            }
        }
    }

    fn bounds(&self) -> Bounds {
        match self {
            Host::Gateway(gateway) => {
                let spec = &gateway.terms().spec;
                Bounds {
                    most: spec.max_connections,
                    most_of_address: spec.max_connections_per_address,
                    patience: spec.header_timeout,
                }
            }
            Host::Admin(_) => ADMIN,
        }
    }

    fn encryption(&self) -> Option<Encryption> {
        match self {
            Host::Gateway(gateway) => gateway.encryption(),
            Host::Admin(admin) => admin.encryption(),
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        match self {
            Host::Gateway(gateway) => gateway.answer(request).await,
            Host::Admin(admin) => admin.answer(request).await,
        }
    }

    /// Notes a client that got no answer.
    fn refused(&self, refusal: Refusal) {
        if let Host::Gateway(gateway) = self {
            turned_away::note(refusal, &gateway.status);
        }
    }

    fn sweep(&self) {
        if let Host::Gateway(gateway) = self {
            gateway.sweep();
        }
    }
}

/// How many connections there are from each address.
#[derive(Debug, Default)]
struct Counted(Mutex<HashMap<IpAddr, usize>>);

/// One connection of an address, until it is dropped.
#[derive(Debug)]
struct Place {
    of: Arc<Counted>,
    from: IpAddr,
}

impl Counted {
    /// One more, unless there are `most`.
    fn come(self: Arc<Self>, from: IpAddr, most: usize) -> Option<Place> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(from).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        drop(all);
        Some(Place { of: self, from })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.of.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.from);
            }
        }
    }
}

/// Answers the requests of one connection, once it is encrypted if it is to be.
async fn admit((stream, from): (TcpStream, IpAddr), host: Host, ended: CancellationToken) {
    let _slower = stream.set_nodelay(true);
    let stream = Stall::of(stream);
    match host.encryption() {
        None => converse((stream, from), host, ended).await,
        Some(Encryption(config)) => {
            let Bounds { patience, .. } = host.bounds();
            match timeout(patience, TlsAcceptor::from(config).accept(stream)).await {
                Ok(Ok(stream)) => converse((stream, from), host, ended).await,
                Ok(Err(error)) => {
                    debug!(event = "GATEWAY", "a connection was not encrypted: {error}");
                    host.refused(Refusal::NotHttp);
                }
                Err(_) => debug!(event = "GATEWAY", "a connection was not encrypted in time"),
            }
        }
    }
}

async fn converse<S>((stream, from): (S, IpAddr), host: Host, ended: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Bounds { patience, .. } = host.bounds();
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD);
    server
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HEAD as u32)
        .max_concurrent_streams(MAX_REQUESTS)
        .keep_alive_interval(Some(Duration::from_secs(20)));
    let (seats, seat) = Seats::new();
    let has_asked = AtomicBool::new(false);
    let answer = service_fn(|mut request: Request<Incoming>| {
        has_asked.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(Source::of(from));
        if request.headers().contains_key(UPGRADE) {
            request.extensions_mut().insert(seat.clone());
        }
        let host = host.clone();
        async move { Ok::<_, Infallible>(host.answer(request).await) }
    });
    let done = {
        let mut connection = pin!(server.serve_connection_with_upgrades(TokioIo::new(stream), answer));
        // The server waits for ever for what tells the version of HTTP.
        let silent = async {
            sleep(patience).await;
            if has_asked.load(Ordering::Relaxed) {
                std::future::pending().await
            }
        };
        tokio::select! {
            done = connection.as_mut() => done,
            () = silent => return debug!(event = "GATEWAY", "a connection ended: its client has asked for nothing"),
            () = ended.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    if let Err(error) = done {
        debug!(event = "GATEWAY", "a connection ended: {error}");
        // Also what a client says that wants to be encrypted where nothing is.
        if error.downcast_ref::<hyper::Error>().is_some_and(|error| error.is_parse() && !error.is_parse_too_large()) {
            host.refused(Refusal::NotHttp);
        }
    }
    // One that has become a connection of WebSocket still counts among those of its address.
    drop(seat);
    seats.left().await;
}
