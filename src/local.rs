//! The endpoint that mcp-pipe serves itself, on loopback: no account, no network, and the pipes dial it for real.
//!
//! This endpoint behaves like the xiaozhi cloud (see `session`), so that a server that works here works there. Each server gets
//! an address of its own, `ws://127.0.0.1:PORT/mcp/?token=…`, whose random token says which server it is; any other
//! token is refused with 401. A [`Client`] asks the connected servers for their tools and calls them.
//!
//! # Theory of operation
//!
//! [`LocalEndpoint::run`] owns the listener and one task per connection (`connection`). What connections and clients share
//! is one `Seat` per server: the connection publishes there what is known about the server, with a queue through which calls
//! reach it. A connection that ends takes only its own state back, so that a newer connection, which may overlap with the end of
//! the old one, keeps its place.

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

pub(crate) use self::client::{Client, LocalError};
use crate::config::defaults::MAX_FRAME_SIZE;
use crate::config::{Config, Mode};
use crate::endpoint::Endpoint;
use crate::logging::Names;
use crate::mcp::reply::{OURS, UNAVAILABLE};
use crate::process::stop::Stop;

/// Most connections at a time: each pipe has one, or two while it reconnects; the rest is room for refused ones.
const MAX_CONNECTIONS: usize = 1024;
/// Pause after a failed accept: there are no descriptors left, which only time heals.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The local endpoint: bound, not yet serving.
#[derive(Debug)]
pub(crate) struct LocalEndpoint {
    listener: TcpListener,
    address: SocketAddr,
    seats: Seats,
    /// Largest message, in bytes: what a pipe takes by default, unless a server's limit is larger.
    max_message: usize,
}

/// What a server told of itself.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Catalogue {
    /// `serverInfo` of the server's answer to `initialize`; null if it gave none.
    pub server_info: Value,
    /// The server's tools over all pages, as it wrote them.
    pub tools: Vec<Value>,
}

impl Catalogue {
    /// The tools' names, in the server's order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tools.iter().filter_map(|tool| tool["name"].as_str())
    }
}

/// An error answer (JSON-RPC 2.0, section 5.1).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RpcError {
    /// The code; 0 if the server sent none.
    pub code: i64,
    /// The message.
    pub message: String,
    /// Whether the error is mcp-pipe's own, in the place of an answer of the server.
    pub ours: bool,
}

impl RpcError {
    /// The code for a method that the other side doesn't have.
    pub(crate) const METHOD_NOT_FOUND: i64 = -32601;

    /// Whether the error stands in the place of an answer that has not come. Another one of mcp-pipe's is that of a server that is a mcp-pipe
    /// itself.
    pub(crate) fn is_no_answer(&self) -> bool {
        self.ours && self.code == i64::from(UNAVAILABLE)
    }
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

/// From a token to its seat. Filled before serving starts.
type Seats = HashMap<String, Arc<Seat>>;

/// Where a server's connections and its callers meet.
#[derive(Debug)]
struct Seat {
    /// The server's name; of several that share a connection, all names.
    server: String,
    names: Names,
    /// Whether the config chooses among their tools.
    chosen: bool,
    presence: watch::Sender<Presence>,
}

/// Whether a server can be called at the endpoint.
#[derive(Debug)]
enum Presence {
    /// No connection has read the server's tools, for this reason.
    Away(&'static str),
    /// The server is connected, and answered `tools/list` with an error.
    Refusing {
        /// The last one.
        error: RpcError,
        /// How often in a row.
        times: u32,
    },
    /// The server is connected, and its tools are read.
    Ready { catalogue: Arc<Catalogue>, line: connection::Line },
}

impl LocalEndpoint {
    /// Binds a free port on loopback.
    ///
    /// # Errors
    /// The system refuses that.
    pub(crate) async fn bind() -> io::Result<LocalEndpoint> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        Ok(LocalEndpoint { listener, address, seats: Seats::new(), max_message: MAX_FRAME_SIZE })
    }

    /// Makes an address on which the server of this name is awaited: another one in each call.
    ///
    /// # Errors
    /// The system has no random numbers.
    #[cfg(test)]
    pub(crate) fn endpoint(&mut self, server: &str) -> io::Result<Endpoint> {
        self.endpoint_of(Names::from_iter([server.into()]), false)
    }

    /// The same for several that share it. `chosen`: whether the config chooses among their tools.
    fn endpoint_of(&mut self, names: Names, chosen: bool) -> io::Result<Endpoint> {
        let token = token()?;
        let address = format!("ws://{}/mcp/?token={token}", self.address);
        let presence = watch::Sender::new(Presence::Away("it has not connected yet"));
        self.seats.insert(token, Arc::new(Seat { server: names.to_string(), names, chosen, presence }));
        address.parse().map_err(io::Error::other)
    }

    /// Gives every server of a run an address of its own here, and takes messages as large as the largest that any of them may
    /// send. Servers are initialized with this endpoint's own parameters from the start, since these are known.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(crate) fn attach(&mut self, config: &mut Config) -> io::Result<()> {
        let hello = Arc::new(session::hello());
        for server in &mut config.servers {
            server.endpoint = Some(self.endpoint_of(Names::from_iter([server.name.clone()]), server.tools.chooses())?);
            server.hello = Some(hello.clone());
            self.max_message = self.max_message.max(server.max_frame);
        }
        Ok(())
    }

    /// The same, but servers that are to share a connection share an address.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(crate) fn attach_shared(&mut self, config: &mut Config) -> io::Result<()> {
        self.attach(config)?;
        for mode in [Mode::Multiplex, Mode::Sequential] {
            let sharing = || config.servers.iter().filter(|server| server.sharing.mode == mode);
            let chosen = sharing().any(|server| server.tools.chooses());
            let endpoint = Some(self.endpoint_of(sharing().map(|server| server.name.clone()).collect(), chosen)?);
            for server in config.servers.iter_mut().filter(|server| server.sharing.mode == mode) {
                server.endpoint.clone_from(&endpoint);
            }
        }
        Ok(())
    }

    /// A handle to the servers registered so far.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.seats.values().cloned())
    }

    /// Serves. After the first step of the stop no connection is accepted, and the end of the last connection is the end of
    /// serving; the second step ends all connections at once.
    pub(crate) async fn run(self, stop: Stop) {
        let LocalEndpoint { listener, address, seats, max_message } = self;
        let seats = Arc::new(seats);
        let mut connections = JoinSet::new();
        tracing::debug!(event = "LOCAL_LISTENING", port = address.port(), "serving the local endpoint on {address}");
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

/// 128 random bits, in characters that a query takes unencoded.
fn token() -> io::Result<String> {
    let mut bytes = [0; 16];
    SysRng.try_fill_bytes(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests;
