//! Which series there are, and what each is made of.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeCounterValue, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::labels::{
    Build, ByCause, Callers, Calls, CameTo, Checks, Durations, Links, NONE, Of, OfEndpoint, OfServer, PeersOf,
    Reconnects, RefusedFor, ServerIs,
};
use super::process::Machine;
use crate::control::figures::{BOUNDS, Besides, Carried, Causes, Figures, Outcomes};
use crate::control::readiness::Readiness;
use crate::control::status::{
    HealthState, LinkState, LinkStatus, Overview, Refusal, ServerState, ServerStatus, Status,
};
use crate::process::memory::Memory;
use crate::router::{CallMethod, Outcome};

/// What all tools are called together that a server has not listed.
const OTHERS: &str = "other";
/// The states of servers and links, as machines know them.
const SERVER_STATES: [&str; 6] = ["starting", "serving", "silent", "refusing", "down", "stopped"];
const LINK_STATES: [&str; 4] = ["resting", "connected", "down", "standby"];

/// What becomes of health checks, in the order in which they are counted.
const CHECK_RESULTS: [&str; 3] = ["healthy", "busy", "failed"];

/// All that is told, as it was at a moment.
#[derive(Debug)]
pub(super) struct Snapshot {
    overview: Overview,
    besides: Arc<Besides>,
    refusals: [u64; Refusal::ALL.len()],
    reloads: [u64; 3],
    since: SystemTime,
    machine: Arc<Machine>,
}

impl Snapshot {
    pub(super) fn take(status: &Status, since: SystemTime, machine: Arc<Machine>) -> Self {
        Snapshot {
            overview: status.read(),
            besides: status.besides(),
            refusals: status.refusals(),
            reloads: status.reloads(),
            since,
            machine,
        }
    }
}

/// All links to one endpoint.
#[derive(Default)]
struct Endpoint {
    states: [u64; LINK_STATES.len()],
    connections: u64,
    reconnects: Causes,
    initialize: Option<Duration>,
    carried: Carried,
}

impl Endpoint {
    fn add(&mut self, link: &LinkStatus) {
        let state = match link.state {
            LinkState::Resting => 0,
            LinkState::Connected => 1,
            LinkState::Down(_) => 2,
            LinkState::Standby(_) => 3,
        };
        self.states[state] += 1;
        self.connections += link.connections;
        for (cause, n) in &link.reconnects {
            *self.reconnects.entry(cause).or_default() += n;
        }
        self.initialize = self.initialize.max(link.initialize);
        self.carried += link.traffic.read();
    }
}

fn place_of(state: &ServerState) -> usize {
    match state {
        ServerState::Starting => 0,
        ServerState::Serving => 1,
        ServerState::Silent => 2,
        ServerState::Refusing(_) => 3,
        ServerState::Down(_) => 4,
        ServerState::Stopped => 5,
    }
}

/// Calls of one server, or of none, as series.
fn calls<'a>(
    server: &'a str,
    figures: &Figures,
    tools: &'a [(Option<Arc<str>>, Outcomes<u64>)],
) -> Vec<(Calls<'a>, u64)> {
    let mut all = Vec::new();
    let mut add = |method, tool: &'a str, counted: &Outcomes<u64>| {
        let counted = Outcome::ALL.into_iter().zip(counted).filter(|(_, n)| **n > 0);
        all.extend(counted.map(|(outcome, n)| (Calls { server, method: Of(method), tool, outcome: Of(outcome) }, *n)));
    };
    for (tool, counted) in tools {
        add(CallMethod::Tool, tool.as_deref().unwrap_or(OTHERS), counted);
    }
    for method in CallMethod::ALL.into_iter().filter(|method| *method != CallMethod::Tool) {
        add(method, "", &figures.outcomes(method));
    }
    all
}

/// A page on its way.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn gauges<S: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (S, f64)>,
    ) -> fmt::Result {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return Ok(());
        }
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        samples.try_for_each(|(labels, value)| metric.encode_family(&labels)?.encode_gauge(&value))
    }

    fn counters<S: EncodeLabelSet, V: EncodeCounterValue>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (S, V)>,
    ) -> fmt::Result {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return Ok(());
        }
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        samples.try_for_each(|(labels, value)| {
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, V, u64>(&value, None)
        })
    }

    /// What has come from each of some and gone there. `of`: as the names of its series begin; `whom`: as people call them.
    fn carried<S: EncodeLabelSet>(
        &mut self,
        (of, whom): (&str, &str),
        all: &[Carried],
        labels: impl Fn(usize) -> S,
    ) -> fmt::Result {
        let each = |value: fn(&Carried) -> u64| {
            all.iter().enumerate().map(|(at, carried)| (labels(at), value(carried))).collect::<Vec<_>>()
        };
        let name = |what: &str| format!("{of}_{what}");
        self.counters(
            &name("received_messages"),
            &format!("Messages that came from {whom}."),
            each(|it| it.received[0]),
        )?;
        self.counters(
            &name("received_bytes"),
            &format!("Bytes of messages that came from {whom}."),
            each(|it| it.received[1]),
        )?;
        self.counters(&name("sent_messages"), &format!("Messages for {whom}."), each(|it| it.sent[0]))?;
        self.counters(&name("sent_bytes"), &format!("Bytes of messages for {whom}."), each(|it| it.sent[1]))?;
        let queued = each(|it| it.queued).into_iter().map(|(labels, n)| (labels, n as f64));
        self.gauges(&name("queue_bytes"), &format!("Bytes that wait until {whom} take them."), queued)
    }

    fn of_servers(&mut self, snapshot: &Snapshot) -> fmt::Result {
        let mut known = BTreeSet::new();
        // No two are called the same but for what is secret in their names.
        let servers: Vec<&ServerStatus> =
            snapshot.overview.servers.iter().filter(|server| known.insert(&server.name)).collect();
        self.gauges(
            "server_state",
            "1 for the state that a server is in, 0 for the others.",
            servers.iter().flat_map(|server| {
                let is = place_of(&server.state);
                let states = SERVER_STATES.into_iter().enumerate();
                states.map(move |(at, state)| (ServerIs { server: &server.name, state }, f64::from(u8::from(at == is))))
            }),
        )?;
        let circuits = servers.iter().filter(|server| server.circuit.is_some());
        self.gauges(
            "server_circuit_open",
            "1 while a server with a circuit breaker is not asked, as it gave no answers.",
            circuits.map(|server| (OfServer { server: &server.name }, f64::from(u8::from(server.is_cut_off())))),
        )?;
        self.gauges(
            "server_failed_lives",
            "How many lives of a server in a row were of no use.",
            servers.iter().map(|server| (OfServer { server: &server.name }, f64::from(server.failures))),
        )?;
        self.counters(
            "server_restarts",
            "Lives of a server that were begun anew, by the cause: a code of docs/STATUS.md, command, or mcp-pipe.",
            servers.iter().flat_map(|server| {
                server.restarts_by.iter().map(|(cause, n)| (ByCause { server: &server.name, cause }, *n))
            }),
        )?;
        self.counters(
            "server_limits_met",
            "Lives of a server that have said to have met one of its limits, by the cause: a code of docs/STATUS.md.",
            servers.iter().flat_map(|server| {
                server.limits_met.iter().map(|(cause, n)| (ByCause { server: &server.name, cause }, *n))
            }),
        )?;
        self.checks(&servers)?;
        let tools: Vec<_> = servers.iter().map(|server| server.figures.tools()).collect();
        let unplaced = snapshot.besides.unplaced.tools();
        let of_servers =
            servers.iter().zip(&tools).flat_map(|(server, tools)| calls(&server.name, &server.figures, tools));
        self.counters(
            "calls",
            "Calls by server, method, tool and what became of them.",
            of_servers.chain(calls("", &snapshot.besides.unplaced, &unplaced)),
        )?;
        self.counters(
            "cached_answers",
            "Calls that were answered with what the same client had got for the same before.",
            servers.iter().map(|server| (OfServer { server: &server.name }, server.figures.all_given_again())),
        )?;
        self.durations(&servers)?;
        let carried: Vec<_> = servers.iter().map(|server| server.figures.traffic.read()).collect();
        self.carried(("server", "a server"), &carried, |at| OfServer { server: &servers[at].name })?;
        let used: Vec<_> = servers.iter().filter_map(|server| Some((*server, snapshot.used(server)?))).collect();
        let each = |value: fn(&Memory) -> f64| {
            used.iter().map(move |(server, used)| (OfServer { server: &server.name }, value(used))).collect::<Vec<_>>()
        };
        self.gauges("server_memory_bytes", "Resident bytes of a server's processes.", each(|it| it.bytes as f64))?;
        self.gauges("server_processes", "Processes of a server.", each(|it| it.processes as f64))?;
        self.counters(
            "server_cpu_seconds",
            "Time of processors that a server's processes have used.",
            each(|it| it.cpu),
        )
    }

    /// What health checks have shown.
    fn checks(&mut self, servers: &[&ServerStatus]) -> fmt::Result {
        let checked = || servers.iter().filter_map(|server| Some((*server, server.health.as_ref()?.state)));
        self.gauges(
            "server_health",
            "1 for what a server's health check has shown last, 0 for the rest. There is none before the first check of a life.",
            checked().flat_map(|(server, is)| {
                let states = HealthState::ALL.into_iter().enumerate();
                states.map(move |(at, state)| {
                    (ServerIs { server: &server.name, state }, f64::from(u8::from(at == is.place())))
                })
            }),
        )?;
        self.gauges(
            "server_health_check_seconds",
            "How long a server took to answer its last health check.",
            checked().filter_map(|(server, is)| match is {
                HealthState::Healthy { took_micros } => {
                    Some((OfServer { server: &server.name }, took_micros as f64 / 1e6))
                }
                HealthState::Busy | HealthState::Failing { .. } | HealthState::Unlisted => None,
            }),
        )?;
        let counted = servers.iter().filter(|server| server.checks.iter().any(|n| *n > 0));
        self.counters(
            "server_health_checks",
            "Health checks of a server by what became of them.",
            counted.flat_map(|server| {
                let results = CHECK_RESULTS.into_iter().zip(server.checks);
                results.map(|(result, n)| (Checks { server: &server.name, result }, n))
            }),
        )
    }

    fn durations(&mut self, servers: &[&ServerStatus]) -> fmt::Result {
        let all: Vec<_> = servers
            .iter()
            .flat_map(|server| CallMethod::ALL.map(|method| (*server, method)))
            .filter_map(|(server, method)| Some((server, method, server.figures.durations(method)?)))
            .collect();
        if all.is_empty() {
            return Ok(());
        }
        let help = "How long calls took that a server has answered, from the request to the answer.";
        let mut metric = self.0.encode_descriptor("call_duration_seconds", help, None, MetricType::Histogram)?;
        for (server, method, durations) in all {
            let labels = Durations { server: &server.name, method: Of(method) };
            let bounds = BOUNDS.iter().map(|power| f64::from(1_u32 << power) / 1e6).chain([f64::INFINITY]);
            let buckets: Vec<_> = bounds.zip(durations.buckets.iter().copied()).collect();
            let count = durations.buckets.iter().sum();
            let mut family = metric.encode_family(&labels)?;
            family.encode_histogram::<NoLabelSet>(durations.seconds, count, &buckets, None)?;
        }
        Ok(())
    }

    fn of_endpoints(&mut self, snapshot: &Snapshot) -> fmt::Result {
        let mut endpoints: BTreeMap<&str, Endpoint> = BTreeMap::new();
        for link in &snapshot.overview.links {
            endpoints.entry(link.called()).or_default().add(link);
        }
        let all = || endpoints.iter();
        self.gauges(
            "links",
            "Links to an endpoint by their state.",
            all().flat_map(|(endpoint, it)| {
                let states = LINK_STATES.into_iter().zip(it.states);
                states.map(|(state, n)| (Links { endpoint, state }, n as f64))
            }),
        )?;
        self.counters(
            "link_connections",
            "Connections to an endpoint that stood.",
            all().map(|(endpoint, it)| (OfEndpoint { endpoint }, it.connections)),
        )?;
        self.counters(
            "link_reconnects",
            "Attempts to connect that follow another one, by the cause: a code of docs/STATUS.md, or mcp-pipe.",
            all()
                .flat_map(|(endpoint, it)| it.reconnects.iter().map(|(cause, n)| (Reconnects { endpoint, cause }, *n))),
        )?;
        self.gauges(
            "link_initialize_seconds",
            "How long an endpoint's initialize last took, from when its connection stood to the answer: the longest of its links.",
            all().filter_map(|(endpoint, it)| Some((OfEndpoint { endpoint }, it.initialize?.as_secs_f64()))),
        )?;
        let carried: Vec<_> = all().map(|(_, it)| it.carried).collect();
        let names: Vec<_> = endpoints.keys().copied().collect();
        self.carried(("link", "an endpoint"), &carried, |at| OfEndpoint { endpoint: names[at] })
    }

    fn of_clients(&mut self, snapshot: &Snapshot) -> fmt::Result {
        let Snapshot { overview, besides, refusals, .. } = snapshot;
        let is_connected = |link: &&LinkStatus| link.state == LinkState::Connected;
        let connected = overview.links.iter().filter(is_connected).count();
        let present = besides.present.load(Ordering::Relaxed);
        self.gauges(
            "peers",
            "Who asks now: endpoints that are connected, and clients of the gateway and on stdio.",
            [("endpoint", connected), ("client", present)].map(|(kind, n)| (PeersOf { kind }, n as f64)),
        )?;
        self.carried(("client", "clients"), &[besides.guests.read()], |_| NONE)?;
        let gateway = overview.gateway.as_ref();
        self.gauges(
            "gateway_sessions",
            "Conversations of clients at the gateway: sessions, and connections of WebSocket and HTTP+SSE.",
            gateway.map(|gateway| (NONE, gateway.clients as f64)),
        )?;
        self.gauges(
            "gateway_callers",
            "Who has come with a token of the gateway's endpoint.",
            gateway.iter().flat_map(|gateway| &gateway.tokens).flat_map(|token| {
                let of = |kind, n: usize| (Callers { token: &token.name, kind }, n as f64);
                [of("tools", token.tools), of("robot", token.robots)]
            }),
        )?;
        self.counters(
            "gateway_refused",
            "Requests that the gateway has refused, by the reason.",
            Refusal::ALL.into_iter().zip(*refusals).map(|(reason, n)| (RefusedFor { reason: Of(reason) }, n)),
        )
    }

    fn of_the_run(&mut self, snapshot: &Snapshot) -> fmt::Result {
        let Snapshot { overview, besides, reloads, since, machine, .. } = snapshot;
        let flag = |is: bool| [(NONE, f64::from(u8::from(is)))];
        let mut build = self.0.encode_descriptor("build", "Which mcp-pipe this is.", None, MetricType::Info)?;
        build.encode_info(&Build { version: env!("CARGO_PKG_VERSION") })?;
        let began = since.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        self.gauges("start_time_seconds", "When this run began, in seconds since 1970.", [(NONE, began)])?;
        self.gauges("ready", "1 if a server serves, as /readyz tells.", flag(Readiness::of(overview, false).is_ready))?;
        self.gauges("stopping", "1 once mcp-pipe was told to stop.", flag(overview.stopping))?;
        let good = overview.mistakes.is_empty();
        self.gauges(
            "config_good",
            "1 if the config as it is now counts, 0 if it has mistakes and an earlier one is used.",
            flag(good),
        )?;
        let as_wanted = overview.gateway_fault.is_none();
        self.gauges(
            "gateway_as_configured",
            "0 if the gateway or the admin address can't follow the config.",
            flag(as_wanted),
        )?;
        let [done, failed, at] = *reloads;
        self.counters(
            "config_reloads",
            "Times that the config was read again.",
            [("done", done), ("failed", failed)].map(|(result, n)| (CameTo { result }, n)),
        )?;
        self.gauges(
            "config_last_reload_timestamp_seconds",
            "When the config was last read again without mistakes, in seconds since 1970.",
            (at > 0).then_some((NONE, at as f64)),
        )?;
        let looked_up = ["hit", "miss"].into_iter().zip(&besides.cache);
        self.counters(
            "cache_lookups",
            "Servers that were known from the cache when they were first wanted, and that were not.",
            looked_up.map(|(result, n)| (CameTo { result }, n.load(Ordering::Relaxed))),
        )?;
        self.gauges(
            "cache_writable",
            "0 if what servers said can't be kept for the next run.",
            flag(overview.loss.is_none()),
        )?;
        let Some(own) = machine.own else { return Ok(()) };
        self.gauges("process_memory_bytes", "Resident bytes of mcp-pipe itself.", [(NONE, own.bytes as f64)])?;
        self.counters("process_cpu_seconds", "Time of processors that mcp-pipe itself has used.", [(NONE, own.cpu)])?;
        self.gauges("process_open_fds", "Descriptors that mcp-pipe has open.", [(NONE, own.descriptors as f64)])?;
        let most = own.most_descriptors.map(|most| (NONE, most as f64));
        self.gauges("process_max_fds", "The most descriptors that mcp-pipe may have open.", most)
    }
}

impl Snapshot {
    /// What the processes of a server hold and have used; `None`: none is known to run.
    fn used(&self, server: &ServerStatus) -> Option<Memory> {
        let processes = server.process.iter().chain(&server.further);
        processes.filter_map(|process| self.machine.groups.get(&process.pid).copied()).reduce(Memory::and)
    }
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        page.of_the_run(self)?;
        page.of_servers(self)?;
        page.of_endpoints(self)?;
        page.of_clients(self)
    }
}
