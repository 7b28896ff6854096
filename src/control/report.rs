//! What `mcp-pipe status` tells: of each server and each endpoint a line in words, and what is wrong; or all as JSON. Pure.
//!
//! One fault is one cause. What only follows from it (an endpoint that is not dialled because its servers don't start, a connection that was
//! closed because they don't answer) is told as following from it.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::figures::{Counted, PRECISION};
use super::history::Told;
use super::history::words::Row;
use super::picture::Picture;
use super::protocol::Daemon;
use super::status::{
    CircuitState, GatewayStatus, HealthState, HealthStatus, LeaseStatus, LinkState, LinkStatus, Mistake, OtherLevel,
    Overview, ServerKey, ServerState, ServerStatus, ShownServer, Started, TokenStatus,
};
use super::wording;
use crate::error::FaultCode;
use crate::process::memory::Memory;
use crate::server::wanted::Wanted;
use crate::words::{counted, millis, span};

/// The number of this form of the JSON. It changes when a member is taken away or means something else, not when one is added.
const SCHEMA: u32 = 1;

/// A running mcp-pipe.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    schema: u32,
    daemon: Daemon,
    /// Whether all that is wanted serves, and the config has no mistakes.
    well: bool,
    /// What is wrong.
    pub(crate) causes: Vec<Cause>,
    pub(crate) servers: Vec<Server>,
    pub(crate) endpoints: Vec<Endpoint>,
    /// Where MCP clients are served, if they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<GatewayStatus>,
    /// As what it shares its endpoints with others, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lease: Option<LeaseStatus>,
    /// mcp-pipe has been told to stop, and does.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stopping: bool,
    /// How often each cause has come up since the start, by its code.
    counts: BTreeMap<&'static str, u64>,
    /// The level of the log that counts in place of the one of the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    log_level: Option<LogLevel>,
    /// What servers did, where that is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<Vec<Row>>,
}

/// A level of the log that counts in place of the one of the start.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LogLevel {
    level: String,
    /// That of the start.
    usual: String,
    /// For how long still, where that was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    for_seconds: Option<f64>,
}

impl LogLevel {
    fn of(OtherLevel { level, usual, until }: &OtherLevel, now: Instant) -> Self {
        let for_seconds = until.map(|until| seconds(until.saturating_duration_since(now)));
        LogLevel { level: level.clone(), usual: usual.clone(), for_seconds }
    }
}

/// A fault.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Cause {
    pub(crate) code: FaultCode,
    /// `error`, or `warning` where everything is served in spite of it.
    severity: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint: Option<String>,
    pub(crate) message: String,
    /// Of a mistake in the config, its code as `mcp-pipe validate` has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    mistake: Option<String>,
}

/// A server.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) well: bool,
    /// What a person wants of it: `running`, `paused` or `stopped`.
    wanted: Wanted,
    /// `starting`, `serving`, `silent`, `refusing`, `down` or `stopped`.
    pub(crate) state: &'static str,
    /// For how long that has been so, in seconds.
    for_seconds: f64,
    /// Whether it is asked: `closed`, `open` or `half-open`, where it has a circuit breaker.
    #[serde(skip_serializing_if = "Option::is_none")]
    circuit: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<FaultCode>,
    /// What is or was wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// What it is doing, in words.
    pub(crate) words: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt_seconds: Option<f64>,
    /// How often it was started again because it had ended or could not be started; and how many of its last lives in a row were of no use.
    restarts: u64,
    failures: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<Process>,
    /// Those besides the first: of other endpoints, or of clients of another era.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    further: Vec<Process>,
    /// What all of them hold of the memory, where the system tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_bytes: Option<u64>,
    calls: Calls,
    /// What its health check has shown, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    health: Option<Health>,
    /// What its endpoints are called.
    endpoints: Vec<String>,
}

/// What a server's health check has shown.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Health {
    /// `healthy`, `busy`, `failing` or `unlisted`.
    state: &'static str,
    for_seconds: f64,
    /// How long ago the last check was over.
    seconds_ago: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    took_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failures: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

impl Health {
    fn of(HealthStatus { state, since, at, why }: &HealthStatus, now: Instant) -> Self {
        let (took_ms, failures) = match state {
            HealthState::Healthy { took_micros } => (Some(millis(Duration::from_micros(*took_micros))), None),
            HealthState::Failing { times } => (None, Some(*times)),
            HealthState::Busy | HealthState::Unlisted => (None, None),
        };
        Health {
            state: HealthState::ALL[state.place()],
            for_seconds: seconds(now.saturating_duration_since(*since)),
            seconds_ago: seconds(now.saturating_duration_since(*at)),
            took_ms,
            failures,
            why: Some(why.clone()).filter(|why| !why.is_empty()),
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Process {
    pid: u32,
    for_seconds: f64,
    /// What it and everything that it has started hold of the memory, and how many processes that is; where the system tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    processes: Option<usize>,
}

/// What is counted of a server's calls.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Calls {
    /// Those that were answered, by the server or in its place.
    answered: u64,
    /// Those among them that were answered with an error.
    errors: u64,
    /// The times within which 50 and 99 of 100 were answered, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    p50_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p99_ms: Option<f64>,
    /// The part by which these may differ from the true ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    precision: Option<f64>,
}

/// An endpoint, and the connection to it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Endpoint {
    /// Its name in the config; its address where it has none.
    pub(crate) name: String,
    /// Its address, without what is secret.
    pub(crate) address: String,
    pub(crate) well: bool,
    /// `waiting`, `connected`, `down` or `standby`.
    state: &'static str,
    for_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<FaultCode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    pub(crate) words: String,
    /// Where that only follows from what is wrong with servers: which.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    because_of: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt_seconds: Option<f64>,
    /// How many attempts and connections in a row came to nothing, and how many connections there were.
    failures: u32,
    connections: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_close: Option<Close>,
    /// How many tools it has read on this connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<usize>,
    /// Where the connection stands: whether the endpoint has said anything on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    asked: Option<bool>,
    servers: Vec<Shown>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Close {
    seconds_ago: f64,
    why: String,
}

/// A server on an endpoint.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    name: String,
    /// With mode sequential: `current` or `waiting`, and whether a turn of it does not end by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    turn: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pinned: Option<bool>,
}

/// What a report is made of.
pub(super) struct Sight<'a> {
    pub daemon: &'a Daemon,
    pub picture: &'a Picture,
    /// What processes hold, by the leaders of their groups.
    pub memory: &'a HashMap<u32, Memory>,
    /// Only the server or the endpoint of this name.
    pub only: Option<&'a str>,
    pub now: Instant,
}

impl Report {
    /// Of everything, or of the one thing that is asked about; `None` if there is none of that name.
    pub(super) fn of(sight: &Sight<'_>) -> Option<Self> {
        let Sight { daemon, picture, only, .. } = *sight;
        let all = &picture.overview;
        let one = only.and_then(|only| all.server(only)).map(|server| server.key);
        let asked = |link: &&LinkStatus| match (only, one) {
            (None, _) => true,
            (Some(_), Some(server)) => link.shown(server).is_some(),
            (Some(only), None) => all.is_called(link, only),
        };
        let links: Vec<&LinkStatus> = all.links.iter().filter(asked).collect();
        let asked = |server: &&ServerStatus| match (only, one) {
            (None, _) => true,
            (Some(_), Some(key)) => server.key == key,
            (Some(_), None) => links.iter().any(|link| link.shown(server.key).is_some()),
        };
        let servers: Vec<&ServerStatus> = all.servers.iter().filter(asked).collect();
        if only.is_some() && servers.is_empty() && links.is_empty() {
            return None;
        }
        let of_server =
            |server: &&ServerStatus| [Cause::of_server(server), Cause::of_circuit(server), Cause::of_limit(server)];
        let mut causes: Vec<Cause> = servers.iter().flat_map(of_server).flatten().collect();
        causes.extend(links.iter().filter_map(|link| Cause::of_link(link, all, one)));
        causes.extend(all.mistakes.iter().map(Cause::of_mistake));
        causes.extend(all.gateway_fault.iter().map(|why| Cause::alone(FaultCode::GatewayUnchanged, why.to_string())));
        let trouble = all.lease.iter().filter_map(|lease| lease.trouble.as_ref());
        causes.extend(trouble.map(|why| Cause::alone(FaultCode::LeaseUnkept, why.clone())));
        causes.extend(all.loss.iter().map(|loss| Cause::alone(loss.code, loss.text.clone())));
        let servers: Vec<Server> = servers.into_iter().map(|server| Server::of(server, sight)).collect();
        let endpoints: Vec<Endpoint> = links.into_iter().map(|link| Endpoint::of(link, sight, one)).collect();
        let well = servers.iter().all(|server| server.well)
            && endpoints.iter().all(|endpoint| endpoint.well)
            && all.mistakes.is_empty()
            && all.gateway_fault.is_none()
            && all.lease.as_ref().is_none_or(|lease| lease.trouble.is_none());
        let (stopping, gateway) = (all.stopping, all.gateway.clone().filter(|_| only.is_none()));
        let lease = all.lease.clone().filter(|_| only.is_none());
        let counts = all.counts.iter().map(|(cause, count)| (cause.as_str(), *count)).collect();
        let log_level = all.log_level.as_ref().map(|level| LogLevel::of(level, sight.now));
        let daemon = daemon.clone();
        let schema = SCHEMA;
        let history = None;
        Some(Report {
            schema,
            daemon,
            well,
            causes,
            servers,
            endpoints,
            gateway,
            lease,
            stopping,
            counts,
            log_level,
            history,
        })
    }

    /// The same with what servers did.
    pub(super) fn with_history(self, all: &[Told]) -> Self {
        Report { history: Some(all.iter().map(Row::of).collect()), ..self }
    }

    /// Which one it is.
    pub(crate) fn who(&self) -> String {
        let Daemon { pid, version, config } = &self.daemon;
        format!("process {pid}, version {version}, with {config}")
    }

    /// Its process.
    pub(crate) fn process(&self) -> u32 {
        self.daemon.pid
    }

    /// As what it shares its endpoints with other daemons, if it does.
    pub(crate) fn lease_node(&self) -> Option<&str> {
        self.lease.as_ref().map(|lease| &*lease.node)
    }

    /// Whether all of it serves.
    pub(super) fn is_well(&self) -> bool {
        self.well
    }

    /// What does not serve.
    pub(super) fn unwell(&self) -> Vec<&str> {
        let servers = self.servers.iter().filter(|server| !server.well).map(|server| server.name.as_str());
        let endpoints = self.endpoints.iter().filter(|endpoint| !endpoint.well);
        let config = self.causes.iter().filter(|cause| cause.mistake.is_some()).take(1).map(|_| "the config");
        let besides = [(FaultCode::GatewayUnchanged, "the gateway"), (FaultCode::LeaseUnkept, "the lease")];
        let is_there = |code| self.causes.iter().any(|cause| cause.code == code);
        let besides = besides.into_iter().filter(|(code, _)| is_there(*code)).map(|(_, what)| what);
        servers.chain(endpoints.map(|endpoint| endpoint.name.as_str())).chain(config).chain(besides).collect()
    }

    /// A line for each server, each endpoint, and each cause.
    pub(super) fn words(&self) -> String {
        let mut text = String::new();
        if self.stopping {
            text.push_str("mcp-pipe is stopping\n");
        }
        // Writing to a String does not fail.
        for Server { name, words, .. } in &self.servers {
            let _infallible = writeln!(text, "{name}: {words}");
        }
        for Endpoint { name, words, .. } in &self.endpoints {
            let _infallible = writeln!(text, "endpoint {name}: {words}");
        }
        if let Some(GatewayStatus { url, clients, tokens }) = &self.gateway {
            let _infallible = writeln!(text, "gateway {url}: {}", counted(*clients, "client"));
            for TokenStatus { name, tools, robots } in tokens {
                let (tools, robots) = (counted(*tools, "connection"), counted(*robots, "robot"));
                // One without a name is called "token 1".
                let name = name.strip_prefix("token ").unwrap_or(name);
                let _infallible = writeln!(text, "token {name}: {tools} of tools, {robots}");
            }
        }
        if let Some(LeaseStatus { node, .. }) = &self.lease {
            let _infallible = writeln!(text, "shares its endpoints by leases, as {node}");
        }
        if let Some(LogLevel { level, usual, for_seconds }) = &self.log_level {
            let left = for_seconds.map(|seconds| format!(" for {}", span(Duration::from_secs(seconds.ceil() as u64))));
            let _infallible = writeln!(text, "log level: {level}{} ({usual} at the start)", left.unwrap_or_default());
        }
        for cause in &self.causes {
            let _infallible = writeln!(text, "{}", cause.words());
        }
        text
    }

    /// A line with how often each cause has come up since the start; nothing where none has.
    pub(super) fn counts(&self) -> String {
        if self.counts.is_empty() {
            return String::new();
        }
        let counts: Vec<String> = self.counts.iter().map(|(cause, count)| format!("{cause} {count}")).collect();
        format!("since the start: {}\n", counts.join(", "))
    }

    /// What stands for whatever may change but times and numbers, of each line.
    pub(super) fn gist(&self) -> Vec<Gist> {
        let gist = |state: &str, why: &Option<String>, more: String| format!("{state} {why:?} {more}");
        let servers = self.servers.iter().map(|server| {
            let processes = (server.process.is_some(), server.further.len());
            let health = server.health.as_ref().map(|health| health.state);
            let more = format!("{:?} {:?} {processes:?} {health:?}", server.wanted, server.fault);
            Gist::of(server.name.clone(), gist(server.state, &server.why, more))
        });
        let endpoints = self.endpoints.iter().map(|endpoint| {
            let more = format!("{:?} {:?} {:?}", endpoint.tools, endpoint.asked, endpoint.servers);
            Gist::of(format!("endpoint {}", endpoint.name), gist(endpoint.state, &endpoint.why, more))
        });
        let causes = self.causes.iter().map(|cause| {
            let of_endpoint = || cause.endpoint.as_ref().map(|endpoint| format!("endpoint {endpoint}"));
            let about = cause.server.clone().or_else(of_endpoint);
            Gist { about: Some(about), ..Gist::of(cause.words(), String::new()) }
        });
        let of_gateway =
            self.gateway.as_ref().map(|gateway| Gist::of(format!("gateway {}", gateway.url), String::new()));
        let of_log = self.log_level.as_ref().map(|log| Gist::of("log level".to_owned(), log.level.clone()));
        let stopping = self.stopping.then(|| Gist::of("mcp-pipe is stopping".to_owned(), String::new()));
        stopping.into_iter().chain(servers).chain(endpoints).chain(of_gateway).chain(of_log).chain(causes).collect()
    }
}

/// What stands for a line of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gist {
    /// What the line is about: a server, an endpoint, or a cause in its words.
    subject: String,
    text: String,
    /// Of a cause: the subject of which something is wrong; `None` in it where that is none of these.
    about: Option<Option<String>>,
}

impl Gist {
    fn of(subject: String, text: String) -> Self {
        Gist { subject, text, about: None }
    }
}

/// What to tell of lines that stood in a report before, and of which the new one has none: what is gone, and what is wrong no more. Of a
/// server in which something else is wrong now, or that is gone, that is told.
pub(super) fn gone(before: &[Gist], new: &[Gist]) -> Vec<String> {
    let mut left: Vec<&Gist> = new.iter().collect();
    let mut told = Vec::new();
    for old in before {
        if let Some(at) = left.iter().position(|new| new.subject == old.subject) {
            left.swap_remove(at);
            continue;
        }
        let is_told = |subject: &String| {
            let (is_there, is_wrong) = (new.iter().any(|new| new.subject == *subject), Some(Some(subject)));
            !is_there || new.iter().any(|new| new.about.as_ref().map(Option::as_ref) == is_wrong)
        };
        match &old.about {
            None => told.push(format!("{}: is gone", old.subject)),
            Some(Some(about)) if is_told(about) => {}
            Some(_) => told.push(format!("no more: {}", old.subject)),
        }
    }
    told
}

impl Server {
    /// How long its process, which serves, took to its answer to `initialize`.
    pub(crate) fn took(&self) -> Option<Duration> {
        let process = self.process.as_ref().filter(|_| self.state == "serving")?;
        Duration::try_from_secs_f64(process.for_seconds - self.for_seconds).ok()
    }
}

impl Cause {
    /// Whether something that is wanted is not served because of it.
    pub(crate) fn is_error(&self) -> bool {
        self.severity == "error"
    }

    fn alone(code: FaultCode, message: String) -> Self {
        let severity = if code.is_warning() { "warning" } else { "error" };
        Cause { code, severity, server: None, endpoint: None, message, mistake: None }
    }

    fn of_server(server: &ServerStatus) -> Option<Self> {
        let code = server.fault.filter(|_| server.wanted != Wanted::Stopped)?;
        // Until it is silent for long it counts as serving.
        let is_served = server.state == ServerState::Serving && !server.is_unhealthy();
        let severity = if is_served { "warning" } else { "error" };
        let has_ended = matches!(code, FaultCode::ServerExited | FaultCode::ServerCrashLoop);
        let last = if has_ended { server.last_lines() } else { String::new() };
        let alone = Cause::alone(code, server.why.clone() + &last);
        Some(Cause { severity, server: Some(server.name.clone()), ..alone })
    }

    /// That a server is not asked although it runs: where it doesn't, that is the cause.
    fn of_circuit(server: &ServerStatus) -> Option<Self> {
        if server.wanted == Wanted::Stopped || server.state != ServerState::Serving {
            return None;
        }
        let name = Some(server.name.clone());
        if server.cut_off > 0 {
            let alone = Cause::alone(FaultCode::CircuitOpen, wording::of_some_circuits(server));
            return Some(Cause { severity: "warning", server: name, ..alone });
        }
        Some(Cause { server: name, ..Cause::alone(FaultCode::CircuitOpen, wording::of_circuit(server)?) })
    }

    /// That a server has met one of its limits, and serves in spite of it.
    fn of_limit(server: &ServerStatus) -> Option<Self> {
        let (code, words) = server.limit.as_ref()?;
        let alone = Cause::alone(*code, words.clone());
        Some(Cause { severity: "warning", server: Some(server.name.clone()), ..alone })
    }

    fn of_link(link: &LinkStatus, all: &Overview, one: Option<ServerKey>) -> Option<Self> {
        let code = link.fault.filter(|_| all.needs(link, one) && all.reasons_of(link).is_empty())?;
        let LinkState::Down(message) = &link.state else { return None };
        Some(Cause { endpoint: Some(link.called().to_owned()), ..Cause::alone(code, message.clone()) })
    }

    fn of_mistake(mistake: &Mistake) -> Self {
        let alone = Cause::alone(FaultCode::ConfigMistake, mistake.text.clone());
        Cause { mistake: Some(mistake.code.clone()), ..alone }
    }

    fn words(&self) -> String {
        let Cause { code, severity, server, endpoint, message, .. } = self;
        let about = match (server, endpoint) {
            (Some(server), _) => format!("{server}: "),
            (None, Some(endpoint)) => format!("endpoint {endpoint}: "),
            (None, None) => String::new(),
        };
        format!("{severity} {}: {about}{message}", code.as_str())
    }
}

impl Server {
    fn of(server: &ServerStatus, sight: &Sight<'_>) -> Self {
        let Sight { picture, memory, now, .. } = *sight;
        let state = match &server.state {
            ServerState::Starting => "starting",
            ServerState::Serving => "serving",
            ServerState::Silent => "silent",
            ServerState::Refusing(_) => "refusing",
            ServerState::Down(_) => "down",
            ServerState::Stopped => "stopped",
        };
        let seen = picture.seen(server.key);
        let counted = seen.map(|seen| seen.counted).unwrap_or_default();
        let of_one = |process: &Started| {
            let memory = memory.get(&process.pid);
            Process {
                pid: process.pid,
                for_seconds: seconds(now.saturating_duration_since(process.at)),
                memory_bytes: memory.map(|memory| memory.bytes),
                processes: memory.map(|memory| memory.processes),
            }
        };
        let all = server.process.iter().chain(&server.further).filter_map(|process| memory.get(&process.pid).copied());
        let memory = all.reduce(|a, b| a.and(b));
        let last_line = seen.and_then(|seen| seen.last_line.as_deref());
        Server {
            name: server.name.clone(),
            well: server.is_well() || picture.overview.stands_by(server),
            wanted: server.wanted,
            state,
            for_seconds: seconds(now.saturating_duration_since(server.since)),
            circuit: server.circuit.as_ref().map(CircuitState::as_str),
            fault: server.fault,
            why: (!server.why.is_empty()).then(|| server.why.clone()),
            words: wording::of_server(server, (counted, memory, last_line), &picture.overview, now),
            next_attempt_seconds: wording::until(server.retry_at, now).map(seconds),
            restarts: server.restarts,
            failures: server.failures,
            process: server.process.as_ref().map(of_one),
            further: server.further.iter().map(of_one).collect(),
            memory_bytes: memory.map(|memory| memory.bytes),
            calls: Calls::of(counted),
            health: server.health.as_ref().map(|health| Health::of(health, now)),
            endpoints: picture.overview.links_of(server.key).map(|link| link.called().to_owned()).collect(),
        }
    }
}

impl Calls {
    fn of(Counted { calls, errors, p50, p99 }: Counted) -> Self {
        // To the microsecond, in which they are counted: most calls take less than a millisecond.
        let told = |micros: u64| millis(Duration::from_micros(micros));
        let (p50_ms, p99_ms) = (p50.map(told), p99.map(told));
        Calls { answered: calls, errors, p50_ms, p99_ms, precision: p50.map(|_| PRECISION) }
    }
}

impl Endpoint {
    fn of(link: &LinkStatus, sight: &Sight<'_>, one: Option<ServerKey>) -> Self {
        let (all, now) = (&sight.picture.overview, sight.now);
        let (state, why) = match &link.state {
            LinkState::Resting => ("waiting", None),
            LinkState::Connected => ("connected", None),
            LinkState::Down(why) => ("down", Some(why.clone())),
            LinkState::Standby(why) => ("standby", Some(why.clone())),
        };
        let shown = |shown: &ShownServer| Shown {
            name: all.name_of(shown.key).to_owned(),
            turn: shown.turn.map(|turn| if turn.current { "current" } else { "waiting" }),
            pinned: shown.turn.map(|turn| turn.pinned),
        };
        Endpoint {
            name: link.called().to_owned(),
            address: link.endpoint.clone(),
            well: link.state == LinkState::Connected || !all.needs(link, one),
            state,
            for_seconds: seconds(now.saturating_duration_since(link.since)),
            fault: link.fault,
            why,
            words: wording::of_link(link, all, now),
            because_of: all.reasons_of(link).into_iter().map(str::to_owned).collect(),
            next_attempt_seconds: wording::until(link.retry_at, now).map(seconds),
            failures: link.failures,
            connections: link.connections,
            last_close: link.last_close.as_ref().map(|close| Close {
                seconds_ago: seconds(now.saturating_duration_since(close.at)),
                why: close.why.clone(),
            }),
            tools: link.tools.filter(|_| link.state == LinkState::Connected),
            asked: (link.state == LinkState::Connected).then_some(!link.unasked),
            servers: link.servers.iter().map(shown).collect(),
        }
    }
}

/// In seconds, to the millisecond.
fn seconds(time: Duration) -> f64 {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)).as_secs_f64()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::control::figures::ToolPlaces;
    use crate::control::health::{PipeStatus, pipes};
    use crate::control::journal::{LinkEnd, LinkNews, ServerNews, Then};
    use crate::control::picture::Picture;
    use crate::control::status::tests::link;
    use crate::control::status::{LinkEntry, ServerEntry, Status, TurnState};
    use crate::error::{Code, Problem};
    use crate::link::cause::Cause as Ended;
    use crate::logging::Names;
    use crate::mcp::cloud;
    use crate::router::{CountedCall, Outcome};
    use crate::server::wanted::{Goal, ServerCommand};

    fn call(outcome: Outcome) -> CountedCall<'static> {
        CountedCall { method: b"tools/call", tool: b"", outcome, trace: None }
    }

    const MIN: Duration = Duration::from_secs(60);

    /// A mcp-pipe, so many minutes after the last news.
    struct Rig {
        status: Status,
        servers: HashMap<&'static str, ServerEntry>,
        links: Vec<LinkEntry>,
    }

    impl Rig {
        /// Servers, and endpoints that see these.
        fn new<const N: usize>(names: [&'static str; N], links: &[&[&str]]) -> Self {
            let status = Status::default();
            let servers: HashMap<_, _> = names.into_iter().map(|name| (name, status.add_server(name))).collect();
            let links = links.iter().map(|seen| {
                let seen: Vec<_> = seen.iter().map(|name| &servers[name]).collect();
                link(&status, &seen)
            });
            Rig { links: links.collect(), servers, status }
        }

        fn server(&self, name: &str, news: ServerNews<'_>) {
            self.servers[name].write(name, news);
        }

        fn ready(&self, name: &str) {
            self.server(name, ServerNews::Started { pid: 7, program: "/usr/bin/npx", fetcher: Some("npx") });
            self.server(name, ServerNews::Ready { took: MIN });
        }

        fn crash(&self, name: &str, failures: u32) {
            self.crash_saying(name, failures, "");
        }

        fn crash_saying(&self, name: &str, failures: u32, tail: &str) {
            let why = "exited with code 1";
            self.server(
                name,
                ServerNews::Exited {
                    pid: Some(7),
                    fault: None,
                    why,
                    last_words: "",
                    tail,
                    failures,
                    again: Some(2 * MIN),
                },
            );
        }

        fn link(&self, at: usize, news: LinkNews<'_>) {
            self.links[at].write(&Names::from_iter([]), news);
        }

        fn close(&self, at: usize, code: u16, by_servers: bool) {
            let cause = &Ended::Closed { code: Some(code), reason: String::new(), contested: false };
            let (why, retry_in) = ("closed 4004 after 9 s", 40 * MIN);
            let (stood, then, redialled) = (true, Then::Again, false);
            self.link(at, LinkNews::Down(LinkEnd { cause, why, stood, retry_in, then, redialled, by_servers }));
        }

        fn up(&self, at: usize) {
            self.link(at, LinkNews::Dialled);
            self.link(at, LinkNews::Opened { took: MIN });
        }

        fn report(&self, only: Option<&str>) -> Option<Report> {
            let (daemon, memory) =
                (Daemon::default(), HashMap::from([(7, Memory { bytes: 45 << 20, processes: 3, cpu: 0.0 })]));
            let picture = &Picture::take(&self.status, None);
            Report::of(&Sight { daemon: &daemon, picture, memory: &memory, only, now: Instant::now() + MIN })
        }

        fn causes(&self) -> Vec<String> {
            let about = |cause: &Cause| cause.server.clone().or(cause.endpoint.clone()).unwrap_or_default();
            let causes = self.report(None).unwrap().causes;
            causes.iter().map(|cause| format!("{} {}", cause.code.as_str(), about(cause))).collect()
        }

        fn words(&self) -> String {
            self.report(None).unwrap().words()
        }
    }

    const SHOWN: &str = "wss://h/mcp/?token=…";

    #[tokio::test(start_paused = true)]
    async fn what_serves_is_told_with_since_when_and_what_it_costs() {
        let rig = Rig::new(["a"], &[&["a"]]);
        rig.ready("a");
        rig.up(0);
        rig.servers["a"].answered(call(Outcome::Ok), &ToolPlaces::default(), Duration::from_millis(1));
        rig.servers["a"].lost(call(Outcome::ServerDown), &ToolPlaces::default());
        let address = rig.status.read().links[0].endpoint.clone();
        assert_eq!(
            rig.words(),
            format!(
                "a: serving for 60.0 s; process 7 and 2 more, 45 MiB; 2 calls, 1 with an error, p50 0.9 ms, p99 0.9 ms\n\
                 endpoint {address}: connected for 60.0 s, has asked for nothing yet; serves a\n"
            )
        );
        let report = rig.report(None).unwrap();
        assert!(report.is_well() && !address.contains("secret"), "{address} {SHOWN}");
        // The same in JSON: not a whole millisecond.
        let calls = serde_json::to_value(&report).unwrap()["servers"][0]["calls"].clone();
        let want = serde_json::json!({"answered": 2, "errors": 1, "p50Ms": 0.877, "p99Ms": 0.877, "precision": 0.2});
        assert_eq!(calls, want);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_with_several_processes_is_one_and_its_further_ones_only_come_and_go() {
        let rig = Rig::new(["a"], &[&["a"], &["a"]]);
        rig.ready("a");
        let further = rig.servers["a"].further();
        let started = |pid| ServerNews::Started { pid, program: "npx", fetcher: None };
        for pid in [7, 9] {
            further.write("a", started(pid));
        }
        assert!(
            rig.words().starts_with(
                "a: serving for 60.0 s; 3 processes, one for each endpoint that uses it: 7, 7, 9 and 3 more, 90 MiB\n"
            ),
            "{}",
            rig.words()
        );
        let json = serde_json::to_value(rig.report(None).unwrap()).unwrap();
        let server = &json["servers"][0];
        assert_eq!((&server["further"][1]["pid"], &server["memoryBytes"]), (&9.into(), &(90 << 20).into()));
        // What is wrong with one of them is no fault of the server.
        let why = "exited with code 1";
        for pid in [7, 9] {
            further.write(
                "a",
                ServerNews::Exited {
                    pid: Some(pid),
                    why,
                    last_words: "",
                    tail: "",
                    failures: 7,
                    again: Some(MIN),
                    fault: None,
                },
            );
        }
        further.answered(call(Outcome::Ok), &ToolPlaces::default(), Duration::from_millis(1));
        assert!(
            rig.words().starts_with("a: serving for 60.0 s; process 7 and 2 more, 45 MiB; 1 call"),
            "{}",
            rig.words()
        );
        assert!(rig.causes().is_empty() && rig.report(Some("a")).unwrap().servers[0].well);
        further.heeded(4);
        assert_eq!(rig.status.read().servers[0].heeded, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_is_told_with_what_is_known_of_it() {
        let rig = Rig::new(["a"], &[&["a"]]);
        rig.server("a", ServerNews::Started { pid: 9, program: "/usr/bin/npx", fetcher: Some("npx") });
        assert!(
            rig.words().starts_with("a: starting for 60.0 s: npx may still be downloading it; process 9\n"),
            "{}",
            rig.words()
        );
        assert!(rig.words().contains(": not dialled yet: waits for a; serves a\n") && rig.causes().is_empty());
        assert!(!rig.report(None).unwrap().is_well());
        rig.server(
            "a",
            ServerNews::NotReady { waited: MIN, undialled: true, ended: false, fetcher: None, http: false },
        );
        assert_eq!(rig.causes(), ["server-not-ready a"], "and not that its endpoint is not dialled");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_waits_for_an_agent_that_is_taken_is_not_said_to_start() {
        let rig = Rig::new(["a"], &[&["a"], &["a"]]);
        rig.link(0, LinkNews::Taken);
        assert!(rig.words().starts_with("a: starting for "), "{}", rig.words());
        rig.link(1, LinkNews::Taken);
        let told = "a: not started: waits for its agent, which another mcp-pipe serves\n";
        assert!(rig.words().starts_with(told), "{}", rig.words());
        rig.ready("a");
        assert!(rig.words().starts_with("a: serving for "), "{}", rig.words());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_gone_or_wrong_no_more_is_told_once() {
        let rig = Rig::new(["a", "b"], &[&["a"], &["b"]]);
        rig.ready("b");
        let gist = || rig.report(None).unwrap().gist();
        let start = gist();
        rig.crash("a", 1);
        let exited = gist();
        assert!(gone(&start, &exited).is_empty());
        rig.crash("a", 7);
        let looping = gist();
        assert!(gone(&exited, &looping).is_empty(), "what is wrong with it now is told");
        rig.ready("a");
        assert_eq!(gone(&looping, &gist()), ["no more: error server-crash-loop: a: exited with code 1"]);
        let of_b = |gist: &&Gist| gist.subject == "b" || gist.subject.starts_with("endpoint");
        let without_a: Vec<Gist> = looping.iter().filter(of_b).take(2).cloned().collect();
        // Both have one address, and its causes go with the server.
        assert_eq!(gone(&looping, &without_a), ["a: is gone", &format!("{}: is gone", without_a[1].subject)]);
        let mistake = Mistake { code: "wrong-type".into(), text: "x is a number".into() };
        let with = [
            start.clone(),
            vec![Gist { about: Some(None), ..Gist::of(Cause::of_mistake(&mistake).words(), "".into()) }],
        ];
        assert_eq!(gone(&with.concat(), &start), ["no more: error config-mistake: x is a number"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_several_processes_of_a_server_are_there_for_is_told() {
        let rig = Rig::new(["a"], &[&["a"]]);
        rig.ready("a");
        let of_era = rig.servers["a"].of_era();
        let (started, stopped) = (
            |pid| ServerNews::Started { pid, program: "npx", fetcher: None },
            |pid| ServerNews::Stopped { pid: Some(pid), why: "exited with code 0" },
        );
        of_era.write("a", started(8));
        for (words, further) in [
            ("; 2 processes, of which one is for clients of MCP 2026-07-28: 7, 8", 1),
            ("; 3 processes, one for each endpoint that uses it, and one for clients of MCP 2026-07-28: 7, 8, 9", 2),
        ] {
            let report = rig.report(None).unwrap();
            assert!(report.words().contains(words), "{}", report.words());
            let json = serde_json::to_value(&report).unwrap();
            assert!(json["servers"][0]["words"].as_str().unwrap().contains(words), "{json}");
            assert_eq!(json["servers"][0]["further"].as_array().unwrap().len(), further);
            rig.servers["a"].further().write("a", started(9));
        }
        of_era.write("a", stopped(8));
        assert!(rig.words().contains("processes, one for each endpoint that uses it: 7, 9"), "{}", rig.words());
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_a_server_is_told_with_its_last_words_and_nothing_else_is() {
        let rig = Rig::new(["a"], &[&["a"]]);
        rig.crash_saying("a", 1, "no key");
        let told = "error server-exited: a: exited with code 1; the last lines of its stderr: no key\n";
        assert!(rig.words().contains(told), "{}", rig.words());
        rig.server("a", ServerNews::Started { pid: 8, program: "npx", fetcher: None });
        let note = crate::router::Note::of(0, crate::router::What::Refused { error: "no licence".into() });
        rig.server("a", ServerNews::Refused { words: "no licence", note: &note, again: false });
        assert!(rig.causes() == ["server-refuses a"] && !rig.words().contains("no key"), "{}", rig.words());
    }

    #[tokio::test(start_paused = true)]
    async fn one_fault_is_one_cause() {
        let rig = Rig::new(["a", "b"], &[&["a"], &["a", "b"]]);
        rig.ready("b");
        rig.up(1);
        rig.crash("a", 7);
        assert_eq!(rig.causes(), ["server-crash-loop a"]);
        assert!(
            rig.words().starts_with("a: crash loop: exited with code 1; waits 60.0 s for the next attempt\n"),
            "{}",
            rig.words()
        );
        // Closed because the server does not answer: the same fault.
        rig.up(0);
        rig.close(0, cloud::CLOSE, true);
        assert_eq!(rig.causes(), ["server-crash-loop a"]);
        assert!(
            rig.words().contains("closed 4004 after 9 s (because of a); waits 39 min for the next attempt"),
            "{}",
            rig.words()
        );
        // The server is well again, and the endpoint closes for a reason of its own.
        rig.ready("a");
        rig.close(0, cloud::CLOSE, false);
        let address = rig.status.read().links[0].endpoint.clone();
        assert_eq!(rig.causes(), [format!("endpoint-4004 {address}")]);
        rig.up(0);
        assert!(rig.causes().is_empty() && rig.report(None).unwrap().is_well());
        assert!(
            rig.words().contains("; the last connection ended 60.0 s ago: closed 4004 after 9 s;"),
            "{}",
            rig.words()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn who_stands_by_is_well_until_its_lease_cannot_be_kept() {
        let rig = Rig::new(["a"], &[&["a"]]);
        rig.links[0].write(&Names::from_iter([]), LinkNews::Standby("garage has the lease of its agent"));
        assert!(!rig.report(None).unwrap().is_well(), "without leases it waits for nobody");
        rig.status.set_lease_node("attic");
        tokio::time::advance(MIN).await;
        let report = rig.report(None).unwrap();
        assert!(report.is_well() && report.unwell().is_empty() && rig.causes().is_empty(), "{}", rig.words());
        assert!(rig.report(Some("a")).unwrap().is_well() && report.lease_node() == Some("attic"));
        assert!(pipes(&rig.status.read()).iter().all(PipeStatus::is_well));
        let words = rig.words();
        assert!(words.starts_with("a: not started: waits for the lease of its agent\n"), "{words}");
        assert!(words.contains(": standby for 2 min: garage has the lease of its agent; serves a\n"), "{words}");
        assert!(words.contains("shares its endpoints by leases, as attic\n"), "{words}");
        rig.status.set_lease_trouble(Some("etcd says: permission denied".into()));
        let report = rig.report(None).unwrap();
        assert!(!report.is_well() && report.unwell() == ["the lease"] && rig.causes() == ["lease-unkept "]);
        assert!(report.words().ends_with("error lease-unkept: etcd says: permission denied\n"), "{}", report.words());
        rig.status.set_lease_trouble(None);
        assert!(rig.report(None).unwrap().is_well());
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_person_has_stopped_is_well_and_its_endpoint_is_not_needed() {
        let rig = Rig::new(["a", "b"], &[&["a"], &["b"]]);
        rig.ready("b");
        rig.up(1);
        rig.crash("a", 1);
        rig.close(0, cloud::CLOSE, false);
        rig.servers["a"].ordered(Goal::default().after(ServerCommand::Stop));
        assert!(!rig.report(None).unwrap().is_well(), "it has not ended yet");
        rig.server("a", ServerNews::Halted);
        assert!(rig.report(None).unwrap().is_well() && rig.causes().is_empty(), "{}", rig.words());
        assert!(rig.words().starts_with("a: stopped by command\n"), "{}", rig.words());
        rig.servers["b"].ordered(Goal::default().after(ServerCommand::Pause));
        assert!(rig.words().contains("b: paused (takes no calls), serving for 60.0 s;"), "{}", rig.words());
        rig.crash("b", 1);
        assert_eq!(rig.causes(), ["server-exited b"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_is_a_servers_or_an_endpoints_and_counts_alone() {
        let rig = Rig::new(["a", "b", "c"], &[&["a", "b"], &["c"]]);
        ["a", "c"].iter().for_each(|name| rig.ready(name));
        rig.crash("b", 1);
        rig.up(0);
        let of = |name: &str| {
            let report = rig.report(Some(name)).unwrap();
            let servers: Vec<String> = report.servers.iter().map(|server| server.name.clone()).collect();
            (servers.join(" "), report.endpoints.len(), report.is_well())
        };
        assert_eq!(of("a"), ("a".into(), 1, true));
        assert_eq!(of("b"), ("b".into(), 1, false));
        assert_eq!(of("c"), ("c".into(), 1, false), "its endpoint is not connected");
        assert!(rig.report(Some("d")).is_none());
        let kitchen = rig.status.add_link(&"wss://other/".parse().unwrap(), Some("kitchen"));
        kitchen.shows([rig.servers["a"].key()]);
        assert_eq!(of("kitchen"), ("a".into(), 1, false));
        assert_eq!(of("kitchen/a"), of("kitchen"), "as the log and restart call it");
        assert_eq!(of("a+b"), ("a b".into(), 1, false));
        let all = rig.status.read();
        let known = all.known();
        assert_eq!((known.servers, known.endpoints), (vec!["a", "b", "c"], vec![&*all.links[0].endpoint, "kitchen"]));
    }

    #[tokio::test(start_paused = true)]
    async fn whose_turn_it_is_and_who_is_pinned_is_told() {
        let rig = Rig::new(["a", "b", "c"], &[&["a", "b", "c"]]);
        for (name, current, pinned) in [("a", true, false), ("b", false, true), ("c", false, false)] {
            rig.ready(name);
            rig.links[0].turn(rig.servers[name].key(), TurnState { current, pinned });
        }
        rig.servers["c"].ordered(Goal::default().after(ServerCommand::Stop));
        rig.server("c", ServerNews::Halted);
        let words = rig.words();
        for line in [
            "a: serving for 60.0 s, its turn;",
            "b: serving for 60.0 s, waits for its turn, pinned;",
            "c: stopped by command\n",
        ] {
            assert!(words.contains(line), "{words}");
        }
        let json = serde_json::to_value(rig.report(None).unwrap()).unwrap();
        let shown = |n: usize| json["endpoints"][0]["servers"][n].clone();
        assert_eq!(shown(0), serde_json::json!({"name": "a", "turn": "current", "pinned": false}));
        assert_eq!(shown(1)["turn"], "waiting");
    }

    #[tokio::test(start_paused = true)]
    async fn mistakes_of_a_reload_are_told_until_mended_and_a_cache_that_is_lost_is_a_warning() {
        let rig = Rig::new(["a"], &[&["a"]]);
        rig.ready("a");
        rig.up(0);
        rig.status.set_loss(Some((FaultCode::DiskFull, "No space left".into())));
        assert!(rig.report(None).unwrap().is_well());
        assert!(rig.words().ends_with("warning disk-full: No space left\n"), "{}", rig.words());
        let mistake = Problem::new("mcp_config.json", Code::WrongType.says("is a number"), "write a text");
        rig.status.set_config_mistakes(vec![mistake]);
        let report = rig.report(None).unwrap();
        assert!(!report.is_well() && report.unwell() == ["the config"]);
        assert!(
            report.words().contains("error config-mistake: mcp_config.json: is a number; write a text\n"),
            "{}",
            report.words()
        );
        assert_eq!(serde_json::to_value(&report).unwrap()["causes"][0]["mistake"], "wrong-type");
        rig.status.set_config_mistakes(Vec::new());
        rig.status.set_gateway_fault(Some("the gateway stays where it was".into()));
        let report = rig.report(None).unwrap();
        assert!(!report.is_well() && report.unwell() == ["the gateway"]);
        let line = "error gateway-unchanged: the gateway stays where it was\n";
        assert!(report.words().contains(line), "{}", report.words());
        rig.status.set_gateway_fault(None);
        rig.status.set_loss(None);
        assert!(rig.causes().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_gist_of_a_line_changes_with_what_happens_and_not_with_time() {
        let rig = Rig::new(["a"], &[&["a"]]);
        rig.ready("a");
        rig.up(0);
        let before = rig.report(None).unwrap();
        tokio::time::advance(MIN).await;
        rig.servers["a"].answered(call(Outcome::Ok), &ToolPlaces::default(), MIN);
        let after = rig.report(None).unwrap();
        assert_eq!(before.gist(), after.gist());
        assert_ne!(before.words(), after.words());
        assert_eq!(after.gist().len(), after.words().lines().count());
        rig.crash("a", 1);
        assert_ne!(rig.report(None).unwrap().gist()[0], before.gist()[0]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_json_is_as_its_schema_says() {
        let schema = serde_json::from_str(include_str!("../../docs/status.schema.json")).unwrap();
        let schema = jsonschema::validator_for(&schema).unwrap();
        let rig = Rig::new(["a", "b"], &[&["a", "b"]]);
        let check = |rig: &Rig| {
            let json = serde_json::to_value(rig.report(None).unwrap()).unwrap();
            let errors: Vec<_> = schema.iter_errors(&json).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{errors:?} in {json:#}");
        };
        check(&rig);
        rig.ready("a");
        rig.crash("b", 4);
        rig.servers["a"].answered(call(Outcome::RpcError), &ToolPlaces::default(), MIN);
        rig.up(0);
        check(&rig);
        rig.close(0, cloud::CLOSE, false);
        rig.links[0].turn(rig.servers["a"].key(), TurnState { current: true, pinned: false });
        rig.status.set_loss(Some((FaultCode::DiskFull, "No space left".into())));
        rig.status.set_config_mistakes(vec![Problem::new("x", Code::WrongType.says("is a number"), "")]);
        check(&rig);
        let all: Vec<_> = FaultCode::ALL.iter().map(|code| code.as_str()).collect();
        let text: serde_json::Value = serde_json::from_str(include_str!("../../docs/status.schema.json")).unwrap();
        assert_eq!(text["$defs"]["code"]["enum"], serde_json::json!(all));
    }
}
