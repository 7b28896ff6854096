//! The connections to one origin that nobody uses just now, and one that many use (HTTP/2).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use http::{HeaderMap, Request};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{Answer, Call, Payload};
use crate::net::dial::Stream;

/// Most connections that are kept unused: as many as a busy endpoint has calls under way at once, as each needs one of its own.
const MAX_IDLE: usize = 64;
/// Longest time for which a connection is kept unused, unless the server names another: below the 5 s after which Node.js and uvicorn
/// close one, since a request that is written while the server closes is lost, and by as much as a small machine that is busy may be late.
const IDLE: Duration = Duration::from_secs(3);
/// Longest time that a server may name.
const MAX_IDLE_TIME: Duration = Duration::from_secs(90);
/// Time before the end of what the server names, in which no request is begun.
const MARGIN: Duration = Duration::from_secs(2);
/// Time between two looks for connections that are too old.
const SWEEP: Duration = Duration::from_secs(1);
/// Shortest time without use behind which it is looked whether a connection still stands: on a busy machine its end may not be noticed yet.
const RESTED: Duration = Duration::from_secs(1);
/// Most headers of a reply, and most bytes of its head: a server that sends more is up to no good.
const MAX_HEADERS: usize = 128;
const MAX_HEAD: u32 = 64 * 1024;
/// Most bytes of a connection that are read ahead.
const READ_AHEAD: usize = 128 * 1024;
/// Longest silence of a connection of HTTP/2 that is in use before it is asked for a sign of life, and longest wait for that.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// See the module's documentation. Clones are the same pool.
#[derive(Debug, Clone, Default)]
pub(super) struct Pool(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    /// Those that nobody uses; the last one is used first.
    idle: Vec<Idle>,
    /// Closes them when they are too old, while there are any.
    sweeper: Option<Owned>,
    /// Its clones share one connection.
    shared: Option<Conn>,
}

#[derive(Debug)]
struct Idle {
    conn: Conn,
    since: Instant,
    /// When it is to be used no more.
    until: Instant,
}

/// A connection.
#[derive(Debug)]
pub(super) enum Conn {
    Http1(http1::SendRequest<Payload>, #[expect(dead_code, reason = "it ends with the connection")] Owned),
    Http2(http2::SendRequest<Payload>, Arc<Owned>),
}

/// A task that drives a connection, or looks after those of a pool; it ends with this.
#[derive(Debug)]
pub(super) struct Owned(JoinHandle<()>);

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Pool {
    /// A connection that may be used at once.
    pub(super) async fn take(&self) -> Option<Conn> {
        let now = Instant::now();
        loop {
            let (conn, has_rested) = {
                let mut kept = self.kept();
                kept.shared.take_if(|conn| conn.is_closed());
                if let Some(Conn::Http2(sender, driver)) = &kept.shared {
                    return Some(Conn::Http2(sender.clone(), driver.clone()));
                }
                let idle = kept.idle.pop()?;
                if !idle.is_usable(now) {
                    continue;
                }
                (idle.conn, now.saturating_duration_since(idle.since) > RESTED)
            };
            if has_rested {
                // The server may have closed it a while ago, and nothing here has looked since.
                tokio::task::yield_now().await;
            }
            if let Some(conn) = conn.ready().await {
                return Some(conn);
            }
        }
    }

    /// Keeps a connection whose reply, with these headers, has ended.
    pub(super) fn put(&self, conn: Conn, headers: &HeaderMap) {
        let mut kept = self.kept();
        match conn {
            Conn::Http2(..) => {}
            Conn::Http1(..) if conn.is_closed() || kept.idle.len() >= MAX_IDLE => {}
            Conn::Http1(..) => {
                let now = Instant::now();
                kept.idle.push(Idle { conn, since: now, until: now + idle_time(headers) });
                if kept.sweeper.is_none() {
                    kept.sweeper = Some(Owned(tokio::spawn(Self::sweep(Arc::downgrade(&self.0)))));
                }
            }
        }
    }

    /// Closes what is too old, until nothing is left.
    async fn sweep(pool: Weak<Mutex<Kept>>) {
        loop {
            tokio::time::sleep(SWEEP).await;
            let Some(pool) = pool.upgrade().map(Pool) else { return };
            let mut kept = pool.kept();
            let now = Instant::now();
            kept.idle.retain(|idle| idle.is_usable(now));
            if kept.idle.is_empty() {
                kept.idle = Vec::new();
                kept.sweeper = None;
                return;
            }
        }
    }

    /// Has others use a connection, too, if it can serve several at once.
    pub(super) fn share(&self, conn: &Conn) {
        if let Conn::Http2(sender, driver) = conn {
            self.kept().shared = Some(Conn::Http2(sender.clone(), driver.clone()));
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a connection may be kept unused (`Keep-Alive: timeout=5`).
fn idle_time(headers: &HeaderMap) -> Duration {
    let told = headers.get("keep-alive").and_then(|value| value.to_str().ok()).and_then(|value| {
        let mut parts = value.split(',').filter_map(|part| part.trim().split_once('='));
        parts.find(|(name, _)| name.trim().eq_ignore_ascii_case("timeout"))?.1.trim().parse().ok()
    });
    told.map_or(IDLE, |seconds| Duration::from_secs(seconds).min(MAX_IDLE_TIME).saturating_sub(MARGIN))
}

impl Idle {
    fn is_usable(&self, now: Instant) -> bool {
        self.until > now && !self.conn.is_closed()
    }
}

impl Conn {
    /// Takes over a stream, by whichever version of HTTP was agreed on.
    pub(super) async fn open(stream: Stream) -> Result<Self, hyper::Error> {
        if stream.is_http2() {
            let (sender, conn) = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .max_header_list_size(MAX_HEAD)
                .keep_alive_interval(PING_INTERVAL)
                .keep_alive_timeout(PING_INTERVAL)
                .handshake(TokioIo::new(stream))
                .await?;
            return Ok(Conn::Http2(sender, Arc::new(Owned::driving(conn))));
        }
        let (sender, conn) = http1::Builder::new()
            .max_headers(MAX_HEADERS)
            .max_header_size(MAX_HEAD as usize)
            .max_buf_size(READ_AHEAD)
            .handshake(TokioIo::new(stream))
            .await?;
        Ok(Conn::Http1(sender, Owned::driving(conn)))
    }

    /// A call as this connection takes it.
    pub(super) fn request(&self, call: &Call) -> Option<Request<Payload>> {
        match self {
            Conn::Http1(..) => call.for_http1(),
            Conn::Http2(..) => call.for_http2(),
        }
    }

    /// Sends a request. With an error it is told whether nothing at all of the request was sent.
    pub(super) async fn send(&mut self, request: Request<Payload>) -> Result<Answer, (hyper::Error, bool)> {
        let told = |mut error: hyper::client::conn::TrySendError<_>| {
            let unsent = error.take_message().is_some();
            (error.into_error(), unsent)
        };
        match self {
            Conn::Http1(sender, _) => sender.try_send_request(request).await.map_err(told),
            Conn::Http2(sender, _) => sender.try_send_request(request).await.map_err(told),
        }
    }

    /// The same connection once it takes a request; `None` if it is closed instead.
    async fn ready(mut self) -> Option<Self> {
        let is_ready = match &mut self {
            Conn::Http1(sender, _) => sender.ready().await.is_ok(),
            Conn::Http2(sender, _) => sender.ready().await.is_ok(),
        };
        is_ready.then_some(self)
    }

    fn is_closed(&self) -> bool {
        match self {
            Conn::Http1(sender, _) => sender.is_closed(),
            Conn::Http2(sender, _) => sender.is_closed(),
        }
    }
}

impl Owned {
    fn driving(conn: impl Future<Output = Result<(), hyper::Error>> + Send + 'static) -> Self {
        Owned(tokio::spawn(async move {
            // Whoever waits for a reply is told the same.
            let _told = conn.await;
        }))
    }
}
