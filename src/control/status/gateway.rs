//! The state of the gateway, and who is counted there.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

use super::Status;

/// What the gateway is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GatewayStatus {
    /// Its address for all servers.
    pub url: String,
    /// How many conversations there are, over HTTP with sessions or otherwise.
    pub clients: usize,
    /// Who has come with the tokens of its endpoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<TokenStatus>,
}

/// Why the gateway lets a client in nowhere, or answers nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The client shows no key that lets it in (401).
    Key,
    /// The request is for a host of another name (403).
    Host,
    /// The request comes from a page that may not ask (403).
    Origin,
    /// The token in the address of the endpoint is none (close code 1008).
    Token,
    /// There is no token in the address of the endpoint (close code 1008).
    NoToken,
    /// Others have come to the endpoint with the same token and a newer lease (409).
    Epoch,
    /// The client asks more often than it may (429).
    Rate,
    /// There is no room for it, or nobody to serve it (503).
    Room,
    /// The request is too large (413).
    Size,
    /// What came is no JSON, by what the request says of it (415).
    ContentType,
    /// The request is of a session that is not here, or has ended (404).
    Session,
    /// What came is no message, or the request lacks what it has to say (400).
    Message,
    /// Nothing is at that address (404).
    Path,
    /// Nothing there is asked for in this way (405).
    Method,
    /// There are as many connections from the client's address as there may be.
    Connections,
    /// What came on a connection is no HTTP, or not encrypted as it has to be.
    NotHttp,
}

impl Refusal {
    /// All of them, each at the place that its number names.
    pub(crate) const ALL: [Refusal; 16] = [
        Refusal::Key,
        Refusal::Host,
        Refusal::Origin,
        Refusal::Token,
        Refusal::NoToken,
        Refusal::Epoch,
        Refusal::Rate,
        Refusal::Room,
        Refusal::Size,
        Refusal::ContentType,
        Refusal::Session,
        Refusal::Message,
        Refusal::Path,
        Refusal::Method,
        Refusal::Connections,
        Refusal::NotHttp,
    ];

    /// How machines know it.
    pub(in crate::control) fn as_str(self) -> &'static str {
        match self {
            Refusal::Key => "key",
            Refusal::Host => "host",
            Refusal::Origin => "origin",
            Refusal::Token => "token",
            Refusal::NoToken => "no_token",
            Refusal::Epoch => "epoch",
            Refusal::Rate => "rate",
            Refusal::Room => "room",
            Refusal::Size => "size",
            Refusal::ContentType => "content_type",
            Refusal::Session => "session",
            Refusal::Message => "message",
            Refusal::Path => "path",
            Refusal::Method => "method",
            Refusal::Connections => "connections",
            Refusal::NotHttp => "not_http",
        }
    }
}

/// Who has come with one token of the gateway's endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TokenStatus {
    /// The token's name.
    pub name: String,
    /// How many connections of tools there are.
    pub tools: usize,
    /// How many robots there are.
    pub robots: usize,
}

/// Who comes with a token of the gateway's endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A connection of tools.
    Tools,
    Robot,
}

/// How many have come with one token.
#[derive(Debug)]
pub(crate) struct TokenCount {
    pub(super) name: Arc<str>,
    pub(super) tools: AtomicUsize,
    pub(super) robots: AtomicUsize,
}

impl TokenCount {
    /// Nobody has come with the token of this name.
    pub(crate) fn of(name: Arc<str>) -> Self {
        TokenCount { name, tools: AtomicUsize::new(0), robots: AtomicUsize::new(0) }
    }

    pub(super) fn of_caller(&self, caller: Caller) -> &AtomicUsize {
        match caller {
            Caller::Tools => &self.tools,
            Caller::Robot => &self.robots,
        }
    }
}

/// Somebody who has come with a token, and is counted until this is dropped.
#[derive(Debug)]
pub(crate) struct CountedCaller {
    pub(super) of: Status,
    pub(super) count: Arc<TokenCount>,
    pub(super) caller: Caller,
}

impl Drop for CountedCaller {
    fn drop(&mut self) {
        self.count.of_caller(self.caller).fetch_sub(1, Ordering::Relaxed);
        self.of.tell_clients();
    }
}

/// A conversation of a client of the gateway, which is counted until this is dropped.
#[derive(Debug)]
pub(crate) struct CountedClient(pub(super) Status);

impl Drop for CountedClient {
    fn drop(&mut self) {
        self.0.clients.fetch_sub(1, Ordering::Relaxed);
        self.0.tell_clients();
    }
}
