//! The state of a link.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::moment;
use super::server::{ServerKey, TurnState};
use crate::control::figures::{Causes, Traffic};
use crate::error::FaultCode;

/// What a link is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum LinkState {
    /// No attempt has ended yet.
    #[default]
    Resting,
    /// A connection stands.
    Connected,
    /// No connection stands, for this reason.
    Down(String),
    /// None is to stand: another daemon has the lease of its agent, or nobody has it yet, in words.
    Standby(String),
}

/// What a link is known by in a run: no other link of the run is ever known by the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct LinkKey(pub(super) u64);

impl LinkKey {
    /// Whether the link was added after the status gave this number.
    pub(in crate::control) fn is_since(self, mark: u64) -> bool {
        self.0 > mark
    }
}

/// The state of a link.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LinkStatus {
    pub key: LinkKey,
    /// The endpoint's name, if it has one.
    pub name: Option<String>,
    /// The endpoint's address, without what is secret.
    pub endpoint: String,
    /// What the link is doing.
    pub state: LinkState,
    /// Since when.
    #[serde(with = "moment")]
    pub since: Instant,
    /// Whether the endpoint was ever dialled: before that its servers are waited for.
    pub dialled: bool,
    /// What is wrong with the link.
    pub fault: Option<FaultCode>,
    /// Whether the last connection was closed because of what the servers did, or did not do.
    pub by_servers: bool,
    /// When the endpoint is dialled again.
    #[serde(with = "moment::maybe")]
    pub retry_at: Option<Instant>,
    /// How many attempts and connections in a row were of no use.
    pub failures: u32,
    /// How many connections there were.
    pub connections: u64,
    /// How many attempts followed an end or an attempt before, by cause.
    #[serde(skip)]
    pub(in crate::control) reconnects: Causes,
    /// How long the endpoint's `initialize` last took, from when its connection stood to the answer.
    #[serde(skip)]
    pub(in crate::control) initialize: Option<Duration>,
    #[serde(skip)]
    pub(in crate::control) traffic: Arc<Traffic>,
    /// The end of the last connection.
    pub last_close: Option<LastClose>,
    /// The servers that the endpoint sees.
    pub servers: Vec<ShownServer>,
    /// How many tools the endpoint was shown on this connection; `None` if the endpoint has not read all of them.
    pub tools: Option<usize>,
    /// Whether the endpoint has said nothing yet on a connection that stands.
    pub unasked: bool,
}

/// How a connection ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LastClose {
    #[serde(with = "moment")]
    pub at: Instant,
    pub why: String,
}

/// A server that an endpoint sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShownServer {
    pub key: ServerKey,
    /// The server's turn; `None` if the servers of the link take no turns.
    pub turn: Option<TurnState>,
}

impl LinkStatus {
    pub(super) fn new(key: LinkKey, endpoint: String, name: Option<String>) -> Self {
        LinkStatus {
            key,
            name,
            endpoint,
            state: LinkState::Resting,
            since: Instant::now(),
            dialled: false,
            fault: None,
            by_servers: false,
            retry_at: None,
            failures: 0,
            connections: 0,
            reconnects: Causes::new(),
            initialize: None,
            traffic: Arc::default(),
            last_close: None,
            servers: Vec::new(),
            tools: None,
            unasked: false,
        }
    }

    /// What the endpoint is called: its name, or its address where it has none.
    pub(in crate::control) fn called(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.endpoint)
    }

    /// What is said of a server here; `None` if the endpoint does not see it.
    pub(crate) fn shown(&self, server: ServerKey) -> Option<&ShownServer> {
        self.servers.iter().find(|shown| shown.key == server)
    }
}
