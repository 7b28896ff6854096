//! What each server and each link is doing: the fields that `status` and `health` show. They follow from what is written into the
//! `journal`, through handles; `answers`, `health`, `summary` and `inspect` read them.

mod alike;
mod entries;
mod gateway;
mod link;
mod moment;
mod server;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;

pub(in crate::control) use self::alike::Alike;
pub(crate) use self::alike::{CircuitState, HealthState, HealthStatus};
use self::entries::Held;
pub(super) use self::entries::Which;
pub(crate) use self::entries::{LinkEntry, ServerEntry};
pub(crate) use self::gateway::{Caller, CountedCaller, CountedClient, GatewayStatus, Refusal, TokenCount, TokenStatus};
pub(crate) use self::link::{LastClose, LinkKey, LinkState, LinkStatus, ShownServer};
pub(super) use self::server::SILENT;
pub(crate) use self::server::{HowHalted, Remark, ServerKey, ServerState, ServerStatus, Started, TurnState};
use super::figures::{Besides, Figures};
use super::history::kept::History;
use super::orders::Known;
use super::tap::Tap;
use crate::config::LeftOut;
use crate::endpoint::Endpoint;
use crate::error::{FaultCode, Problem};
use crate::logging::Names;
use crate::secrecy::Redactor;
use crate::server::wanted::Wanted;

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

/// What reloads came to.
#[derive(Debug, Default)]
struct Reloads {
    done: AtomicU64,
    failed: AtomicU64,
    /// When the last was done, in seconds since 1970.
    at: AtomicU64,
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
