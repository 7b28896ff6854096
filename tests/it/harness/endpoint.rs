//! A WebSocket endpoint on loopback that does what a test tells it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};

use super::{Conn, within};

/// Bound, and accepting only when the test says so; who dials meanwhile waits.
pub(crate) struct FakeEndpoint {
    listener: TcpListener,
    address: SocketAddr,
    token: String,
    accepted: AtomicUsize,
}

impl FakeEndpoint {
    pub(crate) async fn bind() -> Self {
        Self::with_token("t0ken-of-a-test").await
    }

    pub(crate) async fn with_token(token: &str) -> Self {
        Self::on("127.0.0.1", token).await
    }

    /// On an address of a network of its own.
    pub(crate) async fn on(address: &str, token: &str) -> Self {
        Self::at(SocketAddr::new(address.parse().unwrap(), 0), token).await
    }

    /// At just this address.
    pub(crate) async fn at(address: SocketAddr, token: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        FakeEndpoint { listener, address, token: token.to_owned(), accepted: AtomicUsize::new(0) }
    }

    /// What a config names.
    pub(crate) fn url(&self) -> String {
        format!("ws://{}/mcp/?token={}", self.address, self.token)
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections came, refused ones too.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// The next connection, upgraded.
    pub(crate) async fn accept(&self) -> Conn {
        within("somebody to dial the endpoint", self.accept_at_any_time()).await
    }

    /// The same, however long it takes. Whoever had to wait for so long that they have gone away again will come back.
    pub(crate) async fn accept_at_any_time(&self) -> Conn {
        loop {
            let stream = self.accept_tcp().await;
            let accepted = Instant::now();
            let Ok((target, mut conn)) = upgrade(stream).await else { continue };
            conn.opened_at = accepted;
            assert_eq!(target, format!("/mcp/?token={}", self.token), "the address is dialled as it was given");
            return conn;
        }
    }

    /// The next connection gets this HTTP status instead of an upgrade.
    pub(crate) async fn refuse(&self, status: u16) {
        self.answer(&format!("HTTP/1.1 {status} Refused\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")).await;
    }

    /// The next connection gets this, headers and body, instead of an upgrade.
    pub(crate) async fn answer(&self, response: &str) {
        let mut stream = within("somebody to dial the endpoint", self.accept_tcp()).await;
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(within("an upgrade request", stream.read_u8()).await.unwrap());
        }
        stream.write_all(response.as_bytes()).await.unwrap();
    }

    /// Fails if somebody dials within this time.
    pub(crate) async fn expect_nobody_for(&self, time: Duration) {
        let dialled = tokio::time::timeout(time, self.listener.accept()).await;
        assert!(dialled.is_err(), "dialled though nobody should have");
    }

    /// The next connection, however long it takes.
    pub(super) async fn accept_tcp(&self) -> TcpStream {
        let (stream, _) = self.listener.accept().await.unwrap();
        self.accepted.fetch_add(1, Ordering::Relaxed);
        stream
    }
}

/// What was asked for, path and query, and the connection. An error where who dialled has gone away meanwhile.
pub(crate) async fn upgrade(stream: TcpStream) -> Result<(String, Conn), Error> {
    let mut seen = None;
    #[expect(clippy::result_large_err, reason = "the signature is tungstenite's")]
    let callback = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        seen = Some((request.uri().to_string(), request.headers().clone()));
        Ok(response)
    };
    let socket = within("the upgrade", accept_hdr_async(stream, callback)).await?;
    let (target, headers) = seen.unwrap();
    Ok((target, Conn::new(socket, headers)))
}
