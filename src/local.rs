//! The endpoint that mcp-pipe serves itself, on loopback: no account, no network, and the pipes dial it for real.
//!
//! It behaves like the xiaozhi cloud (see `session`), so that a server that works here works there. Each server gets
//! an address of its own, `ws://127.0.0.1:PORT/mcp/?token=…`, whose random token says which server it is; any other
//! token is refused with 401. A [`Client`] asks the connected servers for their tools and calls them.
//!
//! # Theory of operation
//!
//! [`LocalEndpoint::run`] owns the listener and one task per connection (`connection`). What connections and clients share
//! is one `Seat` per server: the connection publishes there what is known about the server, and calls reach it
//! through the queue that is part of that. A connection that ends takes only its own state back, so a reconnect
//! that overlaps with the old connection's end is not undone by it.

mod client;
mod connection;
mod session;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rand::TryRng;
use rand::rngs::SysRng;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use self::client::{Client, LocalError};
use crate::config::{Config, Mode};
use crate::endpoint::Endpoint;
use crate::logging::Names;
use crate::mcp::reply::OURS;
use crate::process::stop::Stop;

/// Each pipe holds one connection, two while it reconnects; the rest is room for refused ones.
const MAX_CONNECTIONS: usize = 1024;
/// The pause after a failed accept: out of descriptors, which only time heals.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The largest message when no server allows more: what a pipe's own limit is by default.
const MAX_MESSAGE: usize = 16 * 1024 * 1024;

/// The local endpoint: bound, not yet serving.
#[derive(Debug)]
pub struct LocalEndpoint {
    listener: TcpListener,
    address: SocketAddr,
    seats: Seats,
    max_message: usize,
}

/// What a server told of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Catalogue {
    /// `serverInfo` of its answer to `initialize`; null if it gave none.
    pub server_info: Value,
    /// Its tools over all pages, as it wrote them.
    pub tools: Vec<Value>,
}

impl Catalogue {
    /// The tools' names, in the server's order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tools.iter().filter_map(|tool| tool["name"].as_str())
    }
}

/// An error answer (JSON-RPC 2.0, section 5.1).
#[derive(Debug, Clone, PartialEq)]
pub struct RpcError {
    /// Its code; 0 if the server sent none.
    pub code: i64,
    /// Its message.
    pub message: String,
    /// Whether it is mcp-pipe's own, in the place of an answer of the server.
    pub ours: bool,
}

impl RpcError {
    /// The code for a method that the other side doesn't have.
    pub const METHOD_NOT_FOUND: i64 = -32601;
}

impl From<Value> for RpcError {
    fn from(error: Value) -> Self {
        let message = error["message"].as_str().map_or_else(|| error.to_string(), str::to_owned);
        let (key, name) = OURS;
        RpcError { code: error["code"].as_i64().unwrap_or_default(), message, ours: error["data"][key] == name }
    }
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ours {
            true => f.write_str(&self.message),
            false => write!(f, "{} (code {})", self.message, self.code),
        }
    }
}

/// Token → seat. Filled before serving starts.
type Seats = HashMap<String, Arc<Seat>>;

/// Where a server's connections and those who ask for it meet.
#[derive(Debug)]
struct Seat {
    /// The server; several that share a connection go by all their names.
    server: String,
    names: Names,
    presence: watch::Sender<Presence>,
}

/// What is known of a server at the endpoint.
#[derive(Debug)]
enum Presence {
    /// No connection with a list of tools; why, as far as it is known.
    Away(&'static str),
    /// Connected, and `tools/list` was answered with an error.
    Refusing(RpcError),
    /// Connected, tools read.
    Ready { catalogue: Arc<Catalogue>, line: connection::Line },
}

impl LocalEndpoint {
    /// Binds a free port on loopback.
    ///
    /// # Errors
    /// When the system refuses it.
    pub async fn bind() -> io::Result<LocalEndpoint> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        Ok(LocalEndpoint { listener, address, seats: Seats::new(), max_message: MAX_MESSAGE })
    }

    /// The address on which the server of this name is awaited. Each call makes another address.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn endpoint(&mut self, server: &str) -> io::Result<Endpoint> {
        self.endpoint_of(Names::from_iter([server.into()]))
    }

    fn endpoint_of(&mut self, names: Names) -> io::Result<Endpoint> {
        let token = token()?;
        let address = format!("ws://{}/mcp/?token={token}", self.address);
        let presence = watch::Sender::new(Presence::Away("it has not connected yet"));
        self.seats.insert(token, Arc::new(Seat { server: names.to_string(), names, presence }));
        address.parse().map_err(io::Error::other)
    }

    /// Gives every server of a run an address of its own here, and takes messages as large as the largest they may send. It is
    /// known what is said here, so servers are told that from the start.
    ///
    /// # Errors
    /// As [`LocalEndpoint::endpoint`].
    pub fn attach(&mut self, config: &mut Config) -> io::Result<()> {
        let hello = Arc::new(session::hello());
        for server in &mut config.servers {
            server.endpoint = Some(self.endpoint(&server.name)?);
            server.hello = Some(hello.clone());
            self.max_message = self.max_message.max(server.max_frame);
        }
        Ok(())
    }

    /// The same, but those servers that are to share a connection share an address.
    ///
    /// # Errors
    /// As [`LocalEndpoint::endpoint`].
    pub fn attach_shared(&mut self, config: &mut Config) -> io::Result<()> {
        self.attach(config)?;
        for mode in [Mode::Multiplex, Mode::Sequential] {
            let sharing = || config.servers.iter().filter(|server| server.sharing.mode == mode);
            let endpoint = Some(self.endpoint_of(sharing().map(|server| server.name.clone()).collect())?);
            for server in config.servers.iter_mut().filter(|server| server.sharing.mode == mode) {
                server.endpoint.clone_from(&endpoint);
            }
        }
        Ok(())
    }

    /// A handle to the servers registered so far.
    pub fn client(&self) -> Client {
        Client::new(self.seats.values().cloned())
    }

    /// Serves. After the first step of the stop no connection is accepted, and the last one's end is the end of this;
    /// the second step ends all at once.
    pub async fn run(self, stop: Stop) {
        let LocalEndpoint { listener, address, seats, max_message } = self;
        let seats = Arc::new(seats);
        let mut connections = JoinSet::new();
        tracing::debug!(event = "GATEWAY_LISTENING", port = address.port(), "serving the local endpoint on {address}");
        loop {
            let accepting = !stop.drain().is_cancelled();
            if !accepting && connections.is_empty() {
                break;
            }
            tokio::select! {
                () = stop.now().cancelled() => break,
                () = stop.drain().cancelled(), if accepting => {}
                _ = connections.join_next(), if !connections.is_empty() => {}
                accepted = listener.accept(), if accepting && connections.len() < MAX_CONNECTIONS => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(connection::serve(stream, Arc::clone(&seats), max_message));
                    }
                    Err(error) => {
                        tracing::warn!(event = "ERROR_ACCEPT", %error, "the local endpoint could not take a connection: {error}");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        connections.shutdown().await;
    }
}

/// 128 random bits in characters that a query holds as they are.
fn token() -> io::Result<String> {
    let mut bytes = [0; 16];
    SysRng.try_fill_bytes(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests;
