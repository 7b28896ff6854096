//! What each server and each link is doing: the fields that `status` and `health` show. They follow from what is written into the
//! `journal`, through handles; `answers`, `health`, `summary` and `inspect` read them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;

use super::figures::{Besides, Causes, Figures, Traffic};
use super::history::Doing;
use super::history::kept::History;
use super::orders::Known;
use super::tap::Tap;
use crate::config::{Instances, LeftOut, ServerSpec};
use crate::endpoint::Endpoint;
use crate::error::{FaultCode, Problem};
use crate::logging::Names;
use crate::router::FAILURES;
use crate::secrecy::Redactor;
use crate::server::wanted::{Goal, Wanted};

/// What a server is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum ServerState {
    /// The server runs or is about to, and has not answered anything yet.
    #[default]
    Starting,
    /// The server answers.
    Serving,
    /// The server was called, and has said nothing for 5 minutes; until then it counts as serving.
    Silent,
    /// The server answers `initialize` with an error, in these words.
    Refusing(String),
    /// The server is gone or could not be started, for this reason.
    Down(String),
    /// The server does not run, as it is wanted.
    Stopped,
}

/// What is said of a server that is [`ServerState::Silent`].
pub(super) const SILENT: &str = "it was called, and has said nothing for 5 minutes or more";

/// Whether a server is asked that has a circuit breaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum CircuitState {
    Closed,
    /// Not before `until`, as so many calls in a row got no answer.
    Open {
        failures: usize,
        #[serde(with = "moment")]
        until: Instant,
    },
    HalfOpen,
}

impl CircuitState {
    /// How machines know it.
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            CircuitState::Closed => "closed",
            CircuitState::Open { .. } => "open",
            CircuitState::HalfOpen => "half-open",
        }
    }
}

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

/// How a server stands whose servers have their endpoint in turns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TurnState {
    /// Whether the server has its turn.
    pub current: bool,
    /// Whether a turn of the server does not end by itself.
    pub pinned: bool,
}

/// What a server is known by in a run: no other server of the run is ever known by the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct ServerKey(u64);

/// The same for a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct LinkKey(u64);

impl LinkKey {
    /// Whether the link was added after the status gave this number.
    pub(super) fn is_since(self, mark: u64) -> bool {
        self.0 > mark
    }
}

/// The state of a server.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServerStatus {
    pub key: ServerKey,
    /// The server's name.
    pub name: String,
    /// What the server is doing.
    pub state: ServerState,
    /// Since when.
    #[serde(with = "moment")]
    pub since: Instant,
    /// What is wrong with the server. While another attempt is under way this is what was wrong with the last one.
    pub fault: Option<FaultCode>,
    /// The words for that.
    pub why: String,
    /// What its last process wrote to stderr before it ended by itself, as one line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_words: String,
    /// The process, while there is one.
    pub process: Option<Started>,
    /// Its further processes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further: Vec<Started>,
    /// When the server is started again.
    #[serde(with = "moment::maybe")]
    pub retry_at: Option<Instant>,
    /// How often the server was started again because its process had ended or could not be started.
    pub restarts: u64,
    /// The same by cause, and by which it was replaced besides.
    #[serde(skip)]
    pub(super) restarts_by: Causes,
    /// The lives that have said to have met one of its limits, by which that was.
    #[serde(skip)]
    pub(super) limits_met: Causes,
    /// The limit that its present life has said to have met and survives, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<(FaultCode, String)>,
    /// How many of its last lives in a row were of no use.
    pub failures: u32,
    /// How many processes of it are wanted that are alike, where that is more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<usize>,
    /// It stands in for another one, and is shown nowhere.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stands_in: bool,
    /// Whether it is asked, where it has a circuit breaker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit: Option<CircuitState>,
    /// Whether its present process has refused to be initialized.
    #[serde(skip)]
    pub(super) refused: bool,
    /// Whether its present process has not answered in time, and says on stderr that it serves over HTTP.
    #[serde(skip)]
    pub(super) for_http: bool,
    /// How its last process ended that a command has stopped.
    #[serde(skip)]
    pub(crate) halted: Option<HowHalted>,
    /// What it does that MCP does not have, each once: the first [`REMARKS`].
    #[serde(skip)]
    pub(crate) remarks: Vec<Remark>,
    #[serde(skip)]
    pub(super) figures: Arc<Figures>,
    /// What its health check has shown last in its present life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthStatus>,
    /// How many checks were answered, had no answer while it worked, and failed.
    #[serde(skip)]
    pub(super) checks: [u64; 3],
    /// What a person wants of the server.
    pub wanted: Wanted,
    /// The number of the last command about the server.
    #[serde(skip)]
    pub ordered: u64,
    /// The number of the last command about the server that its pipe has taken note of.
    #[serde(skip)]
    pub heeded: u64,
}

/// What a server's health check has shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HealthStatus {
    pub state: HealthState,
    /// Since when.
    #[serde(with = "moment")]
    pub since: Instant,
    /// When the last check was over.
    #[serde(with = "moment")]
    pub at: Instant,
    /// What is wrong.
    pub why: String,
}

/// Whether a server is well, by its health check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum HealthState {
    /// It has answered, within so many microseconds.
    Healthy { took_micros: u64 },
    /// It has not answered, and works on something.
    Busy,
    /// So many checks in a row have failed.
    Failing { times: u32 },
    /// It lists no such tool as is to be called.
    Unlisted,
}

impl HealthState {
    /// All of them, as machines know them.
    pub(super) const ALL: [&str; 4] = ["healthy", "busy", "failing", "unlisted"];

    /// The place among these.
    pub(super) fn place(self) -> usize {
        match self {
            HealthState::Healthy { .. } => 0,
            HealthState::Busy => 1,
            HealthState::Failing { .. } => 2,
            HealthState::Unlisted => 3,
        }
    }

    /// Whether both are the same but for numbers.
    pub(super) fn is_like(&self, other: &HealthState) -> bool {
        self.place() == other.place()
    }
}

/// How a process ended that a command has stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HowHalted {
    /// Whether it went on after the end of its stdin, and was sent a signal.
    pub signalled: bool,
    /// The words for its end.
    pub why: String,
}

/// Something that a server does that MCP does not have, and that is understood all the same, or left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Remark {
    /// A text on its stdout that is no message: this one was the first of its process.
    Noise(String),
    /// A way of writing messages, or a message, that others may not understand.
    Odd(String),
}

/// Most remarks that are kept about a server: what it does it mostly does all the time.
const REMARKS: usize = 16;

/// A process of a server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Started {
    pub pid: u32,
    /// The program, as the config names it.
    pub program: String,
    /// The program that downloads the server at its first start, if one does.
    pub fetcher: Option<String>,
    #[serde(with = "moment")]
    pub at: Instant,
    /// Whether it is the one for clients of MCP 2026-07-28, beside one for all others.
    #[serde(default)]
    pub of_era: bool,
}

impl ServerStatus {
    fn new(key: ServerKey, name: String, figures: Arc<Figures>) -> Self {
        ServerStatus {
            key,
            name,
            state: ServerState::Starting,
            since: Instant::now(),
            fault: None,
            why: String::new(),
            last_words: String::new(),
            process: None,
            further: Vec::new(),
            retry_at: None,
            restarts: 0,
            restarts_by: Causes::new(),
            limits_met: Causes::new(),
            limit: None,
            failures: 0,
            replicas: None,
            stands_in: false,
            circuit: None,
            refused: false,
            for_http: false,
            halted: None,
            remarks: Vec::new(),
            figures,
            health: None,
            checks: [0; 3],
            wanted: Wanted::Running,
            ordered: 0,
            heeded: 0,
        }
    }
}

impl ServerStatus {
    /// What it does, for its history, and why.
    fn doing(&self) -> (Doing, &str) {
        match (&self.state, self.wanted) {
            (_, Wanted::Stopped) | (ServerState::Stopped, _) => (Doing::Stopped, ""),
            (ServerState::Starting, _) => (Doing::Starting, ""),
            (ServerState::Refusing(why), _) => (Doing::Refusing, why),
            (ServerState::Down(why), _) => (Doing::Down, why),
            (ServerState::Silent, _) => (Doing::Silent, ""),
            (ServerState::Serving, _) if self.fault == Some(FaultCode::ServerHangs) => (Doing::Silent, ""),
            (ServerState::Serving, Wanted::Paused) => (Doing::Paused, ""),
            (ServerState::Serving, Wanted::Running) if self.is_cut_off() => (Doing::CircuitOpen, ""),
            (ServerState::Serving, Wanted::Running) => match &self.health {
                Some(HealthStatus { state: HealthState::Failing { .. }, why, .. }) => (Doing::Failing, why),
                Some(_) | None => (Doing::Serving, ""),
            },
        }
    }

    /// Whether all is as it is wanted: the server answers, or somebody has said that it shall not run.
    pub(super) fn is_well(&self) -> bool {
        match self.wanted {
            Wanted::Running | Wanted::Paused => {
                self.state == ServerState::Serving && !self.is_cut_off() && !self.is_unhealthy()
            }
            Wanted::Stopped => self.state == ServerState::Stopped,
        }
    }

    /// Whether its circuit is open.
    pub(in crate::control) fn is_cut_off(&self) -> bool {
        matches!(self.circuit, Some(CircuitState::Open { .. }))
    }

    /// Whether its health check has failed so often in a row that it counts as not well.
    pub(super) fn is_unhealthy(&self) -> bool {
        let health = self.health.as_ref().map(|health| health.state);
        matches!(health, Some(HealthState::Failing { times }) if times >= FAILURES)
    }

    /// What its last process wrote to stderr before it ended, as the end of a sentence: mostly that is the reason.
    pub(crate) fn last_lines(&self) -> String {
        match &*self.last_words {
            "" => String::new(),
            words => format!("; the last lines of its stderr: {words}"),
        }
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
    pub(super) reconnects: Causes,
    /// How long the endpoint's `initialize` last took, from when its connection stood to the answer.
    #[serde(skip)]
    pub(super) initialize: Option<Duration>,
    #[serde(skip)]
    pub(super) traffic: Arc<Traffic>,
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
    fn new(key: LinkKey, endpoint: String, name: Option<String>) -> Self {
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
    pub(super) fn called(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.endpoint)
    }

    /// What is said of a server here; `None` if the endpoint does not see it.
    pub(crate) fn shown(&self, server: ServerKey) -> Option<&ShownServer> {
        self.servers.iter().find(|shown| shown.key == server)
    }
}

/// The state of all servers and links of a run, each in the order in which they were added.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Overview {
    pub servers: Vec<ServerStatus>,
    pub links: Vec<LinkStatus>,
    /// The servers of the config that are disabled, and so are none here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disabled: Vec<String>,
    /// Those that no endpoint shows, the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unshown: Vec<String>,
    /// The mistakes of the config as it is now, while an earlier one is used.
    pub mistakes: Vec<Mistake>,
    pub loss: Option<Loss>,
    /// Where MCP clients are served, if they are.
    #[serde(default)]
    pub gateway: Option<GatewayStatus>,
    /// Why the gateway is not as the config wants it.
    #[serde(default)]
    pub gateway_fault: Option<Box<str>>,
    /// As what this daemon shares its endpoints with others, if it does.
    #[serde(default)]
    pub lease: Option<LeaseStatus>,
    /// mcp-pipe has been told to stop, and does.
    #[serde(default)]
    pub stopping: bool,
    /// A part of mcp-pipe has ended by a fault of its own.
    #[serde(skip)]
    pub faulted: bool,
    /// How often each cause has come up since the start.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<FaultCode, u64>,
    /// The level of the log that counts in place of the one of the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_level: Option<OtherLevel>,
}

/// A level of the log that counts in place of the one of the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OtherLevel {
    pub level: String,
    /// That of the start.
    pub usual: String,
    /// When that counts again.
    #[serde(with = "moment::maybe")]
    pub until: Option<Instant>,
}

/// What is known of the lease that this daemon keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeaseStatus {
    /// What it is called.
    pub node: String,
    /// Why the lease can't be kept at present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

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
    pub(super) fn as_str(self) -> &'static str {
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

/// What reloads came to.
#[derive(Debug, Default)]
struct Reloads {
    done: AtomicU64,
    failed: AtomicU64,
    /// When the last was done, in seconds since 1970.
    at: AtomicU64,
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
    name: Arc<str>,
    tools: AtomicUsize,
    robots: AtomicUsize,
}

impl TokenCount {
    /// Nobody has come with the token of this name.
    pub(crate) fn of(name: Arc<str>) -> Self {
        TokenCount { name, tools: AtomicUsize::new(0), robots: AtomicUsize::new(0) }
    }

    fn of_caller(&self, caller: Caller) -> &AtomicUsize {
        match caller {
            Caller::Tools => &self.tools,
            Caller::Robot => &self.robots,
        }
    }
}

/// Somebody who has come with a token, and is counted until this is dropped.
#[derive(Debug)]
pub(crate) struct CountedCaller {
    of: Status,
    count: Arc<TokenCount>,
    caller: Caller,
}

impl Drop for CountedCaller {
    fn drop(&mut self) {
        self.count.of_caller(self.caller).fetch_sub(1, Ordering::Relaxed);
        self.of.tell_clients();
    }
}

/// A conversation of a client of the gateway, which is counted until this is dropped.
#[derive(Debug)]
pub(crate) struct CountedClient(Status);

impl Drop for CountedClient {
    fn drop(&mut self) {
        self.0.clients.fetch_sub(1, Ordering::Relaxed);
        self.0.tell_clients();
    }
}

/// A mistake in a config that was changed while mcp-pipe runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mistake {
    /// Its code.
    pub code: String,
    /// Where it is, what, and the remedy.
    pub text: String,
}

/// What mcp-pipe can't keep for its next run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Loss {
    pub code: FaultCode,
    pub text: String,
}

impl Overview {
    fn count(&mut self, cause: Option<FaultCode>) {
        if let Some(cause) = cause {
            *self.counts.entry(cause).or_default() += 1;
        }
    }

    /// The name of a server.
    pub(super) fn name_of(&self, server: ServerKey) -> &str {
        self.servers.iter().find(|known| known.key == server).map_or("", |server| &server.name)
    }

    /// Whether a link is needed: a server on it is wanted, and no other daemon serves its agent; where it is about `one`, that one.
    pub(super) fn needs(&self, link: &LinkStatus, one: Option<ServerKey>) -> bool {
        if let LinkState::Standby(_) = link.state {
            return false;
        }
        let mut servers = self.servers.iter().filter(|server| one.is_none_or(|one| server.key == one));
        servers.any(|server| server.wanted != Wanted::Stopped && link.shown(server.key).is_some())
    }

    /// The servers from which it follows that a link is not connected; none if that has another reason.
    pub(super) fn reasons_of(&self, link: &LinkStatus) -> Vec<&str> {
        let follows = match &link.state {
            LinkState::Resting => !link.dialled,
            LinkState::Down(_) => link.by_servers,
            LinkState::Connected | LinkState::Standby(_) => false,
        };
        let is_reason = |server: &&ServerStatus| {
            link.shown(server.key).is_some() && server.wanted != Wanted::Stopped && server.state != ServerState::Serving
        };
        let servers = self.servers.iter().filter(|_| follows).filter(is_reason);
        servers.map(|server| server.name.as_str()).collect()
    }

    /// Whether a server is not started at all: each endpoint that shows it is one that another mcp-pipe serves.
    pub(super) fn is_held_back(&self, server: &ServerStatus) -> bool {
        let mut links = self.links_of(server.key).peekable();
        let is_without_life = server.state == ServerState::Starting && server.process.is_none();
        // One that stands in for others begins with these.
        let is_shown = links.peek().is_some() || (server.stands_in && self.lease.is_some());
        is_without_life
            && self.gateway.is_none()
            && is_shown
            && links
                .all(|link| link.fault == Some(FaultCode::AgentTaken) || matches!(link.state, LinkState::Standby(_)))
    }

    /// Whether a server has nothing to do here, as this daemon has the lease of none of its agents. That is as it should be.
    pub(super) fn stands_by(&self, server: &ServerStatus) -> bool {
        self.lease.is_some() && self.is_held_back(server)
    }

    /// The names that can be asked about.
    pub(super) fn known(&self) -> Known<'_> {
        let mut endpoints = Vec::new();
        for link in &self.links {
            if !endpoints.contains(&link.called()) {
                endpoints.push(link.called());
            }
        }
        Known { servers: self.names(), endpoints, disabled: &self.disabled, unshown: &self.unshown }
    }

    /// Whether an endpoint or a connection to one is called so: by the endpoint's name or address, which may lack what is behind its path,
    /// or as the log calls the connection.
    pub(super) fn is_called(&self, link: &LinkStatus, text: &str) -> bool {
        let servers = link.servers.iter().map(|shown| Arc::from(self.name_of(shown.key)));
        let label = servers.collect::<Names>().at(link.name.as_deref().map(Arc::from)).to_string();
        // Several of its servers that have a connection each, in any order.
        let is_one_of = || text.contains('+') && text.split('+').all(|word| self.server(word).is_some());
        let is_joined = link.name.is_none() && is_one_of() && text.split('+').any(|word| word == label);
        is_joined
            || link.called() == text
            || label == text
            || link.endpoint == text
            || link.endpoint.split('?').next() == Some(text)
    }

    /// The server of this name.
    pub(crate) fn server(&self, name: &str) -> Option<&ServerStatus> {
        self.servers.iter().find(|server| server.name == name)
    }

    /// The links on which a server is shown.
    pub(crate) fn links_of(&self, server: ServerKey) -> impl Iterator<Item = &LinkStatus> {
        self.links.iter().filter(move |link| link.shown(server).is_some())
    }

    /// The names of all servers.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.servers.iter().map(|server| server.name.as_str()).collect()
    }
}

/// The state of all servers and links of a run, kept up to date. Cloning gives another handle.
#[derive(Debug, Clone, Default)]
pub(crate) struct Status {
    overview: watch::Sender<Overview>,
    /// Tells of each call.
    calls: watch::Sender<()>,
    /// How many conversations of clients there are.
    clients: Arc<AtomicUsize>,
    /// How many have come with each token of the gateway's endpoint.
    tokens: Arc<Mutex<Vec<Arc<TokenCount>>>>,
    /// How many keys were given away. Sixty-four bits are never used up.
    keys: Arc<AtomicU64>,
    besides: Arc<Besides>,
    /// How often the gateway has refused a request, by [`Refusal`].
    refusals: Arc<[AtomicU64; Refusal::ALL.len()]>,
    /// What the last reload came to.
    reloads: Arc<Reloads>,
    /// Cleans each text that is noted, which servers or endpoints may have said.
    redactor: Redactor,
    /// Those who look on while messages pass.
    tap: Tap,
    history: History,
    /// Whoever looks on ends the run with the first fault, so no further attempt is told of.
    is_one_look: bool,
}

/// The entry of one server, for whoever runs it to write. Cloning gives another handle; the entry is there as long as there is one.
#[derive(Debug, Clone)]
pub(crate) struct ServerEntry {
    held: Arc<Held<ServerKey>>,
    pub(super) figures: Arc<Figures>,
    /// Which process of the server this is for.
    pub(super) which: Which,
}

/// A process of a server. Of one that is not the first is shown that it is there, and what it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    First,
    /// One that is for an endpoint alone.
    OfPeer,
    /// The one for clients of MCP 2026-07-28.
    OfEra,
    /// One that is like the first, and for the same peers.
    Replica,
}

/// The same of one link.
#[derive(Debug, Clone)]
pub(crate) struct LinkEntry {
    held: Arc<Held<LinkKey>>,
    traffic: Arc<Traffic>,
}

/// An entry, taken out when this is dropped.
#[derive(Debug)]
struct Held<K: EntryKey> {
    of: Status,
    key: K,
}

/// What entries are known by.
trait EntryKey: Copy {
    fn take_out(self, overview: &mut Overview, history: &History);
}

impl EntryKey for ServerKey {
    fn take_out(self, overview: &mut Overview, history: &History) {
        // At the end of a run none is removed from its config.
        if let Some(server) = overview.servers.iter().find(|server| server.key == self && !overview.stopping) {
            history.remove(&server.name);
        }
        overview.servers.retain(|server| server.key != self);
        overview.links.iter_mut().for_each(|link| link.servers.retain(|shown| shown.key != self));
    }
}

impl EntryKey for LinkKey {
    fn take_out(self, overview: &mut Overview, _: &History) {
        overview.links.retain(|link| link.key != self);
    }
}

impl<K: EntryKey> Drop for Held<K> {
    fn drop(&mut self) {
        self.of.overview.send_modify(|overview| self.key.take_out(overview, &self.of.history));
    }
}

impl Status {
    /// The state of nothing yet. `redactor` cleans all texts.
    pub(crate) fn new(redactor: Redactor) -> Self {
        Status { redactor, ..Status::default() }
    }

    /// The same, where whoever looks on ends the run with the first fault.
    pub(crate) fn of_one_look(redactor: Redactor) -> Self {
        Status { is_one_look: true, ..Status::new(redactor) }
    }

    /// The redactor that cleans all texts.
    pub(crate) fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// Those who look on while messages pass.
    pub(crate) fn tap(&self) -> &Tap {
        &self.tap
    }

    /// What servers did.
    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    /// Notes which servers are not run.
    pub(crate) fn leave_out(&self, left_out: &LeftOut) {
        let clean = |names: &[String]| names.iter().map(|name| self.redactor.clean(name).into_owned()).collect();
        let (disabled, unshown) = (clean(&left_out.disabled), clean(&left_out.unshown));
        self.overview.send_modify(|overview| (overview.disabled, overview.unshown) = (disabled, unshown));
    }

    /// Notes where MCP clients are served; `None`: nowhere any more.
    pub(crate) fn set_gateway(&self, url: Option<String>) {
        let (clients, tokens) = self.clients_now();
        let gateway = url.map(|url| GatewayStatus { url, clients, tokens });
        self.overview.send_modify(|overview| overview.gateway = gateway);
    }

    /// Counts one more conversation of a client of the gateway, unless there are `most`.
    pub(crate) fn count_client(&self, most: usize) -> Option<CountedClient> {
        let one_more = |clients| (clients < most).then_some(clients + 1);
        self.clients.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        self.tell_clients();
        Some(CountedClient(self.clone()))
    }

    /// Notes which tokens the gateway's endpoint has.
    pub(crate) fn set_tokens(&self, tokens: Vec<Arc<TokenCount>>) {
        // Nothing panics while it is held.
        *self.tokens.lock().unwrap_or_else(PoisonError::into_inner) = tokens;
        self.tell_clients();
    }

    /// Counts one more who has come with a token, unless there are `most`.
    pub(crate) fn count_caller(&self, count: &Arc<TokenCount>, caller: Caller, most: usize) -> Option<CountedCaller> {
        let one_more = |callers| (callers < most).then_some(callers + 1);
        count.of_caller(caller).fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        self.tell_clients();
        Some(CountedCaller { of: self.clone(), count: count.clone(), caller })
    }

    fn clients_now(&self) -> (usize, Vec<TokenStatus>) {
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let tokens = tokens.iter().map(|count| TokenStatus {
            name: self.redactor.clean(&count.name).into_owned(),
            tools: count.tools.load(Ordering::Relaxed),
            robots: count.robots.load(Ordering::Relaxed),
        });
        (self.clients.load(Ordering::Relaxed), tokens.collect())
    }

    fn tell_clients(&self) {
        let (clients, tokens) = self.clients_now();
        let told = |gateway: &mut GatewayStatus| {
            let told = (std::mem::replace(&mut gateway.clients, clients), std::mem::take(&mut gateway.tokens));
            gateway.tokens = tokens;
            told != (gateway.clients, gateway.tokens.clone())
        };
        self.overview.send_if_modified(|overview| overview.gateway.as_mut().is_some_and(told));
    }

    /// Notes that mcp-pipe stops.
    pub(crate) fn set_stopping(&self) {
        self.overview.send_modify(|overview| overview.stopping = true);
    }

    /// Notes that a part of mcp-pipe has ended by a fault of its own, so that it stops.
    pub(crate) fn set_faulted(&self) {
        self.overview.send_modify(|overview| overview.faulted = true);
    }

    /// Adds a server that has not been started yet.
    pub(crate) fn add_server(&self, name: &str) -> ServerEntry {
        let key = ServerKey(self.next_key());
        let figures = Arc::new(Figures::new(self.calls.clone()));
        let server = ServerStatus::new(key, self.redactor.clean(name).into_owned(), figures.clone());
        self.history.add(&server.name);
        self.overview.send_modify(|overview| overview.servers.push(server));
        ServerEntry { held: Arc::new(Held { of: self.clone(), key }), figures, which: Which::First }
    }

    /// Adds a link that has not been dialled yet and shows nothing. `name`: the endpoint's, if it has one.
    pub(crate) fn add_link(&self, endpoint: &Endpoint, name: Option<&str>) -> LinkEntry {
        let key = LinkKey(self.next_key());
        let clean = |text: &str| self.redactor.clean(text).into_owned();
        let link = LinkStatus::new(key, clean(&endpoint.to_string()), name.map(clean));
        let traffic = link.traffic.clone();
        self.overview.send_modify(|overview| overview.links.push(link));
        LinkEntry { held: Arc::new(Held { of: self.clone(), key }), traffic }
    }

    /// A number by which links that are added from now on are told from earlier ones.
    pub(crate) fn mark(&self) -> u64 {
        self.next_key()
    }

    fn next_key(&self) -> u64 {
        self.keys.fetch_add(1, Ordering::Relaxed)
    }

    /// What is counted that belongs to no server and no endpoint.
    pub(crate) fn besides(&self) -> Arc<Besides> {
        self.besides.clone()
    }

    /// Counts a request that was refused, and returns how many there were for the same reason.
    pub(crate) fn refused(&self, refusal: Refusal) -> u64 {
        self.refusals[refusal as usize].fetch_add(1, Ordering::Relaxed) + 1
    }

    /// How many requests were refused, by [`Refusal`].
    pub(super) fn refusals(&self) -> [u64; Refusal::ALL.len()] {
        self.refusals.each_ref().map(|n| n.load(Ordering::Relaxed))
    }

    /// Counts a reload, by whether the config counts now.
    pub(crate) fn reloaded(&self, done: bool) {
        let reloads = if done { &self.reloads.done } else { &self.reloads.failed };
        reloads.fetch_add(1, Ordering::Relaxed);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        if done {
            self.reloads.at.store(now, Ordering::Relaxed);
        }
    }

    /// How many reloads were done, how many failed, and when the last was done, in seconds since 1970; 0: never.
    pub(super) fn reloads(&self) -> [u64; 3] {
        let Reloads { done, failed, at } = &*self.reloads;
        [done, failed, at].map(|n| n.load(Ordering::Relaxed))
    }

    /// The state of all now.
    pub(crate) fn read(&self) -> Overview {
        self.overview.borrow().clone()
    }

    /// The state of all, and a notice of each change.
    pub(crate) fn changes(&self) -> watch::Receiver<Overview> {
        self.overview.subscribe()
    }

    /// A notice of each call.
    pub(super) fn calls(&self) -> watch::Receiver<()> {
        self.calls.subscribe()
    }

    /// Notes the mistakes of the config as it is now, while an earlier one is used; none once it is in use.
    pub(crate) fn set_config_mistakes(&self, mistakes: Vec<Problem>) {
        let clean = |text: String| self.redactor.clean_all(&text).into_owned();
        let mistake = |problem: Problem| Mistake { code: problem.code.to_string(), text: clean(problem.to_string()) };
        let mistakes: Vec<Mistake> = mistakes.into_iter().map(mistake).collect();
        self.overview.send_if_modified(|all| {
            let is_new = all.mistakes != mistakes;
            all.count((is_new && !mistakes.is_empty()).then_some(FaultCode::ConfigMistake));
            all.mistakes = mistakes;
            is_new
        });
    }

    /// Notes why the gateway is not as the config wants it; `None` if it is.
    pub(crate) fn set_gateway_fault(&self, why: Option<String>) {
        let why: Option<Box<str>> = why.map(|why| self.redactor.clean_all(&why).into());
        self.overview.send_if_modified(|all| {
            let is_new = all.gateway_fault != why;
            all.count((is_new && why.is_some()).then_some(FaultCode::GatewayUnchanged));
            all.gateway_fault = why;
            is_new
        });
    }

    /// Why an endpoint is not connected here that is called so, where that is as leases have it.
    pub(crate) fn standby(&self, name: &str) -> Option<String> {
        let all = self.overview.borrow();
        all.links.iter().filter(|link| all.is_called(link, name)).find_map(|link| match &link.state {
            LinkState::Standby(why) => Some(why.clone()),
            LinkState::Resting | LinkState::Connected | LinkState::Down(_) => None,
        })
    }

    /// Notes as what this daemon shares its endpoints with others.
    pub(crate) fn set_lease_node(&self, node: &str) {
        let node = self.redactor.clean_all(node).into_owned();
        self.overview.send_modify(|all| all.lease = Some(LeaseStatus { node, trouble: None }));
    }

    /// Notes why its lease can't be kept; `None` if it can.
    pub(crate) fn set_lease_trouble(&self, why: Option<String>) {
        let trouble = why.map(|why| self.redactor.clean_all(&why).into_owned());
        self.overview.send_if_modified(|all| {
            let Some(lease) = &mut all.lease else { return false };
            let before = std::mem::replace(&mut lease.trouble, trouble.clone());
            all.count((before.is_none() && trouble.is_some()).then_some(FaultCode::LeaseUnkept));
            before != trouble
        });
    }

    /// Notes what can't be kept for the next run.
    pub(crate) fn set_loss(&self, loss: Option<(FaultCode, String)>) {
        let clean = |text: String| self.redactor.clean_all(&text).into_owned();
        let loss = loss.map(|(code, text)| Loss { code, text: clean(text) });
        self.overview.send_if_modified(|all| {
            let is_new = all.loss != loss;
            all.count(loss.as_ref().map(|loss| loss.code).filter(|_| is_new));
            all.loss = loss;
            is_new
        });
    }

    /// Notes which level of the log counts in place of the one of the start; `None`: that one does.
    pub(crate) fn set_log_level(&self, level: Option<OtherLevel>) {
        self.overview.send_if_modified(|all| std::mem::replace(&mut all.log_level, level.clone()) != level);
    }

    /// Whether the server called `name` is [`ServerState::Starting`].
    pub(crate) fn is_starting(&self, name: &str) -> bool {
        self.overview.borrow().server(name).is_some_and(|server| server.state == ServerState::Starting)
    }

    /// Whether the server called `name` has not answered in time, and says on stderr that it serves over HTTP.
    pub(crate) fn is_for_http(&self, name: &str) -> bool {
        self.overview.borrow().server(name).is_some_and(|server| server.for_http)
    }

    /// Waits until the server called `name` is down or refuses to be initialized. Returns that state.
    pub(crate) async fn failed(&self, name: &str) -> ServerState {
        let mut changes = self.changes();
        loop {
            let failed = changes.borrow_and_update().server(name).and_then(|server| match &server.state {
                failed @ (ServerState::Down(_) | ServerState::Refusing(_)) => Some(failed.clone()),
                ServerState::Starting | ServerState::Serving | ServerState::Silent | ServerState::Stopped => None,
            });
            if let Some(failed) = failed {
                return failed;
            }
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await; // can't be: we hold a sender
            }
        }
    }
}

impl ServerEntry {
    /// Where messages are counted.
    pub(crate) fn traffic(&self) -> Arc<Traffic> {
        self.figures.traffic.clone()
    }

    /// An entry that nobody reads.
    pub(crate) fn of_nobody() -> Self {
        Status::default().add_server("")
    }

    /// The same entry, for a further process of the server: one that is for an endpoint alone.
    pub(crate) fn further(&self) -> Self {
        ServerEntry { which: Which::OfPeer, ..self.clone() }
    }

    /// The same entry, for another process of the server that is like the first.
    pub(crate) fn replica(&self) -> Self {
        ServerEntry { which: Which::Replica, ..self.clone() }
    }

    /// The same entry, for the process that is for clients of MCP 2026-07-28.
    pub(crate) fn of_era(&self) -> Self {
        ServerEntry { which: Which::OfEra, ..self.clone() }
    }

    pub(crate) fn key(&self) -> ServerKey {
        self.held.key
    }

    /// A text without what is secret.
    pub(super) fn clean(&self, text: &str) -> String {
        self.held.of.redactor.clean(text).into_owned()
    }

    /// Notes something that the server does that MCP does not have. Kept only where somebody looks on for that.
    pub(crate) fn remark(&self, remark: Remark) {
        if !self.is_one_look() {
            return;
        }
        let remark = match remark {
            Remark::Noise(text) => Remark::Noise(self.clean(&text)),
            Remark::Odd(text) => Remark::Odd(self.clean(&text)),
        };
        self.change(|server| {
            if server.remarks.len() < REMARKS && !server.remarks.contains(&remark) {
                server.remarks.push(remark);
            }
        });
    }

    /// Whether whoever looks on ends the run with the first fault.
    pub(crate) fn is_one_look(&self) -> bool {
        self.held.of.is_one_look
    }

    /// Notes what the config says of the server, as far as that is shown.
    pub(crate) fn configured(&self, spec: &ServerSpec) {
        self.change(|server| {
            let breaker = spec.bounds.breaker;
            server.circuit = breaker.map(|_| server.circuit.take().unwrap_or(CircuitState::Closed));
            server.stands_in = spec.bounds.stands_in;
            server.replicas = match spec.instances {
                Instances::Replicas(replicas) => Some(replicas.number),
                Instances::Shared | Instances::PerPeer(_) => None,
            };
        });
    }

    /// Notes what a person wants of the server.
    pub(crate) fn ordered(&self, goal: Goal) {
        self.change(|server| (server.wanted, server.ordered) = (goal.wanted, goal.number));
    }

    /// Notes that what follows from a command, by its number, has begun.
    pub(crate) fn heeded(&self, number: u64) {
        if self.which == Which::First {
            self.change(|server| server.heeded = number);
        }
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut ServerStatus)) {
        self.change_because(None, change);
    }

    /// The same where a cause has come up, which is counted.
    pub(super) fn change_because(&self, cause: Option<FaultCode>, change: impl FnOnce(&mut ServerStatus)) {
        let Held { of, key } = &*self.held;
        of.overview.send_modify(|overview| {
            overview.count(cause);
            if let Some(server) = overview.servers.iter_mut().find(|server| server.key == *key) {
                change(server);
                let (doing, why) = server.doing();
                of.history.note(&server.name, doing, why);
            }
        });
    }
}

impl LinkEntry {
    /// Where messages are counted.
    pub(crate) fn traffic(&self) -> Arc<Traffic> {
        self.traffic.clone()
    }

    /// A text without what is secret.
    pub(super) fn clean(&self, text: &str) -> String {
        self.held.of.redactor.clean(text).into_owned()
    }

    /// Notes which servers the endpoint sees from now on. What was said of those that stay, stays.
    pub(crate) fn shows(&self, servers: impl IntoIterator<Item = ServerKey>) {
        self.change(|link| {
            let turn = |key| link.shown(key).and_then(|shown| shown.turn);
            link.servers = servers.into_iter().map(|key| ShownServer { key, turn: turn(key) }).collect();
        });
    }

    /// Notes how a server stands among those that take turns here.
    pub(crate) fn turn(&self, server: ServerKey, turn: TurnState) {
        self.change(|link| {
            if let Some(shown) = link.servers.iter_mut().find(|shown| shown.key == server) {
                shown.turn = Some(turn);
            }
        });
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut LinkStatus)) {
        self.change_because(None, change);
    }

    /// The same where a cause has come up, which is counted.
    pub(super) fn change_because(&self, cause: Option<FaultCode>, change: impl FnOnce(&mut LinkStatus)) {
        let Held { of, key } = &*self.held;
        of.overview.send_modify(|overview| {
            overview.count(cause);
            if let Some(link) = overview.links.iter_mut().find(|link| link.key == *key) {
                change(link);
            }
        });
    }
}

/// A moment, told to another process as the time from now: in milliseconds, of a moment in the past below zero.
mod moment {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer};
    use tokio::time::Instant;

    pub(super) fn serialize<S: Serializer>(at: &Instant, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i64(from_now(*at))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Instant, D::Error> {
        Ok(at(i64::deserialize(from)?))
    }

    fn from_now(at: Instant) -> i64 {
        let now = Instant::now();
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        if at > now { millis(at - now) } else { -millis(now - at) }
    }

    fn at(millis: i64) -> Instant {
        let (now, time) = (Instant::now(), Duration::from_millis(millis.unsigned_abs()));
        // A clock that began later knows no moment before.
        (if millis > 0 { now.checked_add(time) } else { now.checked_sub(time) }).unwrap_or(now)
    }

    /// The same where there may be none.
    pub(super) mod maybe {
        use super::*;

        pub(in super::super) fn serialize<S: Serializer>(at: &Option<Instant>, to: S) -> Result<S::Ok, S::Error> {
            match at {
                Some(at) => to.serialize_some(&from_now(*at)),
                None => to.serialize_none(),
            }
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Instant>, D::Error> {
            Ok(Option::<i64>::deserialize(from)?.map(at))
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
pub(crate) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::secrecy::Secret;

    impl ServerEntry {
        pub(crate) fn state(&self, state: ServerState) {
            self.change(|server| server.state = state);
        }
    }

    impl LinkEntry {
        pub(crate) fn state(&self, state: LinkState) {
            self.change(|link| link.state = state);
        }

        pub(crate) fn tools(&self, tools: Option<usize>) {
            self.change(|link| link.tools = tools);
        }
    }

    /// A link for tests, which shows these servers.
    pub(crate) fn link(status: &Status, servers: &[&ServerEntry]) -> LinkEntry {
        let link = status.add_link(&"wss://h/mcp/?token=secret".parse().unwrap(), None);
        link.shows(servers.iter().map(|server| server.key()));
        link
    }

    #[test]
    fn no_secret_is_in_a_name_or_an_address() {
        let status = Status::new([Secret::new("ab1cd2e")].into_iter().collect());
        let _server = status.add_server("ab1cd2e");
        let _link = status.add_link(&"wss://h/?token=ab1cd2e".parse().unwrap(), Some("ab1cd2e"));
        let all = format!("{:?}", status.read());
        assert!(!all.contains("ab1cd2e"), "{all}");
    }

    #[test]
    fn moments_are_told_as_times_from_now() {
        let status = Status::default();
        let server = status.add_server("a");
        let ago = Duration::from_secs(2);
        server.change(|server| (server.since, server.retry_at) = (server.since - ago, Some(server.since + ago)));
        let told: Overview = serde_json::from_value(serde_json::to_value(status.read()).unwrap()).unwrap();
        let [told] = &told.servers[..] else { panic!("there is one") };
        assert!(told.since.elapsed() >= ago && told.retry_at.unwrap() > Instant::now());
    }

    #[test]
    fn entries_come_and_go_and_nothing_is_written_into_another_ones() {
        let status = Status::default();
        let (a, b) = (status.add_server("a"), status.add_server("b"));
        let (one, other) = (link(&status, &[&a, &b]), link(&status, &[&b]));
        let (gone, again) = (a.key(), a.clone());
        one.turn(b.key(), TurnState { current: true, pinned: false });
        drop(a);
        assert_eq!(status.read().names(), ["a", "b"], "a handle is left");
        drop(again);
        assert!(status.read().links.iter().all(|link| link.servers.len() == 1), "no endpoint sees it any more");
        let c = status.add_server("c");
        assert_ne!(c.key(), gone);
        c.state(ServerState::Serving);
        one.shows([b.key(), c.key()]);
        one.turn(gone, TurnState::default());
        let now = status.read();
        assert_eq!(now.names(), ["b", "c"]);
        assert_eq!(now.servers[0].state, ServerState::Starting);
        let turns: Vec<_> = now.links[0].servers.iter().map(|shown| shown.turn.is_some()).collect();
        assert_eq!(turns, [true, false], "what was said of one that stays, stays");
        assert_eq!(now.links_of(b.key()).count(), 2);
        drop(one);
        other.state(LinkState::Connected);
        let now = status.read();
        assert_eq!((now.links.len(), &now.links[0].state), (1, &LinkState::Connected));
        drop((b, c, other));
        let left = status.read();
        assert!(left.servers.is_empty() && left.links.is_empty());
    }
}
