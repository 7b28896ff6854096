//! Whoever dials the gateway: connections over TCP, each with its requests over HTTP/1.1 or HTTP/2.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};
use tracing::{debug, info};

use super::Gateway;
use crate::process::stop::Stop;

/// Longest time for the head of a request to come.
const HEAD: Duration = Duration::from_secs(10);
/// Most bytes of the head of a request, and most headers in it.
const MAX_HEAD: usize = 64 * 1024;
const MAX_HEADERS: usize = 128;
/// Most connections at a time.
const MAX_CONNECTIONS: usize = 1024;
/// Pause after a failed accept: the system is out of something, such as descriptors.
const PAUSE: Duration = Duration::from_millis(100);
/// Time between two looks for sessions that nobody uses.
const SWEEP: Duration = Duration::from_secs(30);
/// Longest time for connections to end once the program stops.
const FAREWELL: Duration = Duration::from_secs(2);

/// A port that is listened on.
#[derive(Debug)]
pub(crate) struct Listener(TcpListener);

impl Listener {
    /// Listens.
    ///
    /// # Errors
    /// The address is taken, or not one of this machine.
    pub(crate) async fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Listener(TcpListener::bind(address).await?))
    }

    /// Where it is.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Answers who comes, until the program stops.
    pub(crate) async fn serve(self, gateway: Arc<Gateway>, stop: Stop) {
        if let Ok(address) = self.address() {
            info!(event = "GATEWAY", "MCP clients are served at http://{address}/mcp");
        }
        let mut connections = JoinSet::new();
        let mut sweep = interval(SWEEP);
        loop {
            tokio::select! {
                accepted = self.0.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                    Ok((stream, _)) => drop(connections.spawn(converse(stream, gateway.clone(), stop.clone()))),
                    Err(error) => {
                        debug!(event = "GATEWAY", "a connection could not be accepted: {error}");
                        sleep(PAUSE).await;
                    }
                },
                Some(_ended) = connections.join_next() => {}
                _ = sweep.tick() => gateway.sweep(),
                () = stop.drain().cancelled() => break,
            }
        }
        drop(self.0);
        let all_ended = async { while connections.join_next().await.is_some() {} };
        tokio::select! {
            () = all_ended => {}
            () = stop.now().cancelled() => {}
        }
        gateway.end_all();
        let all_ended = async { while connections.join_next().await.is_some() {} };
        let _late = tokio::time::timeout(FAREWELL, all_ended).await;
    }
}

/// Answers the requests of one connection.
async fn converse(stream: TcpStream, gateway: Arc<Gateway>, stop: Stop) {
    let _slower = stream.set_nodelay(true);
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(HEAD).max_headers(MAX_HEADERS).max_buf_size(MAX_HEAD);
    server.http2().timer(TokioTimer::new()).max_header_list_size(MAX_HEAD as u32);
    let answer = service_fn(|request| {
        let gateway = gateway.clone();
        async move { Ok::<_, std::convert::Infallible>(gateway.answer(request).await) }
    });
    let mut connection = std::pin::pin!(server.serve_connection(TokioIo::new(stream), answer));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.drain().cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(event = "GATEWAY", "a connection ended: {error}");
    }
}
