//! A client of HTTP for one origin: requests with a body in memory, replies whose bodies are read as they come.
//!
//! # Theory of operation
//!
//! A [`Client`] belongs to an origin, so that nothing that is meant for one can go to another. Its connections are made when they are
//! needed, by the rules by which endpoints are dialled (DNS, proxy, TLS), and are kept for a moment when they are not (`pool`). A
//! connection is driven by a task of its own, which ends with whoever holds the connection: dropping a [`Reply`] whose body has not
//! ended closes its connection.
//!
//! A request is written once. Only one of which a connection has not taken a byte is written on another: whatever else fails, the
//! server may have acted.

mod error;
mod pool;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{HOST, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

pub(crate) use self::error::HttpError;
use self::pool::{Conn, Pool};
use super::dial::{self, Limit};
use super::proxy::Proxies;
use super::tls::Alpn;
use crate::config::TlsSpec;
use crate::endpoint::{Origin, RemoteUrl};

/// A client for one origin. Clones share its connections.
#[derive(Debug, Clone)]
pub(crate) struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    origin: Origin,
    tls: TlsSpec,
    connect_timeout: Duration,
    pool: Pool,
}

/// A request, which is kept so that it can be sent again.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// The address, at the client's origin.
    pub(crate) url: RemoteUrl,
    /// All headers but `Host` and those of the connection.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A request's way to its reply.
pub(crate) type Sending = Pin<Box<dyn Future<Output = Result<Reply, HttpError>> + Send>>;

impl Client {
    /// A client for the origin of an address.
    pub(crate) fn new(url: &RemoteUrl, tls: TlsSpec, connect_timeout: Duration) -> Self {
        Client(Arc::new(Inner { origin: url.origin(), tls, connect_timeout, pool: Pool::default() }))
    }

    /// Sends a request. Without a limit but that of connecting: the caller has one of its own.
    pub(crate) fn send(&self, call: Call) -> Sending {
        let client = self.0.clone();
        Box::pin(async move {
            if call.url.origin() != client.origin {
                return Err(HttpError::Elsewhere);
            }
            while let Some(conn) = client.pool.take().await {
                match client.send_on(conn, &call).await {
                    // The server has closed a connection that nobody used.
                    Err(HttpError::Unsent(_)) => {}
                    done => return done,
                }
            }
            let conn = client.connect().await?;
            client.send_on(conn, &call).await
        })
    }
}

impl Inner {
    async fn connect(&self) -> Result<Conn, HttpError> {
        let limit = Limit::starting_now(self.connect_timeout);
        let tls = (&self.tls, Alpn::Http2);
        let stream = dial::open(Proxies::in_use(), &self.origin, tls, &limit).await.map_err(HttpError::Dial)?;
        let conn = Conn::open(stream).await.map_err(|error| HttpError::of(&error, &self.origin))?;
        self.pool.share(&conn);
        Ok(conn)
    }

    async fn send_on(&self, mut conn: Conn, call: &Call) -> Result<Reply, HttpError> {
        let request = conn.request(call).ok_or(HttpError::BadAddress)?;
        let response = conn.send(request).await.map_err(|(error, unsent)| {
            let error = HttpError::of(&error, &self.origin);
            if unsent { HttpError::Unsent(Box::new(error)) } else { error }
        })?;
        let (parts, body) = response.into_parts();
        Ok(Reply { status: parts.status, headers: parts.headers, body, conn: Some((conn, self.pool.clone())) })
    }
}

impl Call {
    /// The request for a connection of HTTP/1.1.
    fn for_http1(&self) -> Option<Request<Payload>> {
        let mut request = self.request(&self.url.target())?;
        let authority = self.url.reveal().authority()?.as_str();
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        request.headers_mut().insert(HOST, HeaderValue::from_str(host).ok()?);
        Some(request)
    }

    /// The request for a connection of HTTP/2, where the host is a part of the address.
    fn for_http2(&self) -> Option<Request<Payload>> {
        let authority = self.url.reveal().authority()?.as_str();
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        self.request(&format!("https://{host}{}", self.url.target()))
    }

    fn request(&self, uri: &str) -> Option<Request<Payload>> {
        let body = Payload((!self.body.is_empty()).then(|| self.body.clone()));
        let mut request = Request::builder().method(&self.method).uri(uri).body(body).ok()?;
        *request.headers_mut() = self.headers.clone();
        Some(request)
    }
}

/// The body of a request: all of it, or none.
#[derive(Debug)]
struct Payload(Option<Bytes>);

impl Body for Payload {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

/// The head of a reply, and its body as it comes.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Incoming,
    /// The connection, and where it goes once the body has ended.
    conn: Option<(Conn, Pool)>,
}

impl Reply {
    /// The next bytes of the body; `None`: it has ended, and the connection may serve others.
    pub(crate) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, HttpError>>> {
        loop {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    // Trailers say nothing here.
                    if let Ok(bytes) = frame.into_data()
                        && !bytes.is_empty()
                    {
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                }
                Some(Err(error)) => {
                    self.conn = None;
                    return Poll::Ready(Some(Err(HttpError::cut(&error))));
                }
                None => {
                    if let Some((conn, pool)) = self.conn.take() {
                        pool.put(conn, &self.headers);
                    }
                    return Poll::Ready(None);
                }
            }
        }
    }

    /// The value of a header, if it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok().map(str::trim)
    }

    /// How long the server asks to wait (RFC 9110 section 10.2.3).
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        super::head::retry_after(self.headers.get(RETRY_AFTER)?, SystemTime::now())
    }
}

/// A response of a connection, of whichever version.
type Answer = Response<Incoming>;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
