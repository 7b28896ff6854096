//! Several daemons that share their endpoints by leases of a real etcd: whatever becomes of one, or of etcd, no agent is ever had by two,
//! and another daemon takes over in time.

mod etcd;
mod fleet;
mod ledger;
mod networks;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use self::etcd::Etcd;
use self::fleet::{Endpoint, Outcome, daemon, shared, taken_over};
use self::ledger::Ledger;
use self::networks::{Cut, Networks, Place};
use crate::control::{Runtime, put_in_place};
use crate::doctor::roots;
use crate::harness::{Authority, Daemon, report, skip, text_of, within};

const HERE: &str = "127.0.0.1";
/// How long leases live, in seconds: the shortest that there is.
const TTL: u64 = 3;

fn agents(n: usize) -> Vec<String> {
    (0..n).map(|n| format!("agent-{n:04}-of-a-test")).collect()
}

/// What happens to whoever has an agent, or to etcd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Killed,
    Stopped,
    EngineKilled,
    CutOff(Cut),
    Ended,
}

/// How often each comes: a factor of what is said of all.
const FAULTS: [(Fault, usize); 6] = [
    (Fault::Killed, 2),
    (Fault::Stopped, 1),
    (Fault::EngineKilled, 1),
    (Fault::CutOff(Cut::Both), 1),
    (Fault::CutOff(Cut::Answers), 1),
    (Fault::Ended, 1),
];

#[test]
fn whatever_fails_no_agent_is_ever_had_by_two_and_another_daemon_takes_over_in_time() {
    // On a thread of its own, which takes the namespaces along when it ends.
    let test = thread::spawn(|| {
        let networks =
            Networks::joined(3).inspect_err(|why| skip(&format!("daemons that are cut off from etcd: {why}")));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(fail(networks.ok()));
    });
    test.join().unwrap();
}

async fn fail(networks: Option<Networks>) {
    let times: usize = std::env::var("MCP_PIPE_TEST_FAULTS").map_or(1, |times| times.parse().unwrap());
    let (host, etcd_host) = networks.as_ref().map_or((HERE, HERE), |_| (networks::ENDPOINT, networks::ETCD));
    let Some(mut etcd) = Etcd::start(etcd_host).await else { return };
    let endpoint = Endpoint::at(host).await;
    let agents = agents(3);
    let config = shared(&endpoint, &agents, &etcd.url(), TTL);
    let mut fleet = Fleet { networks, config, daemons: BTreeMap::new() };
    let begun = Instant::now();
    ["a", "b", "c"].into_iter().for_each(|node| fleet.start(node));
    taken_over(&endpoint, &agents, begun).await;
    let mut took: BTreeMap<Fault, Vec<Duration>> = BTreeMap::new();
    let faults = (0..times).flat_map(|_| FAULTS).flat_map(|(fault, n)| std::iter::repeat_n(fault, n));
    for (n, fault) in faults.enumerate() {
        if matches!(fault, Fault::CutOff(_)) && fleet.networks.is_none() {
            continue;
        }
        // At another point between two renewals each time.
        sleep(Duration::from_millis(137 * (n as u64 % 8))).await;
        let victim = fleet.holder_of(&endpoint, &agents[n % agents.len()]).await;
        let had = fleet.had_by(&endpoint, &victim).await;
        let since = Instant::now();
        let within = match fault {
            Fault::Killed => {
                fleet.daemons[&victim].signal(Signal::KILL);
                Duration::from_secs(TTL + 1)
            }
            Fault::Stopped => {
                fleet.daemons[&victim].signal(Signal::STOP);
                Duration::from_secs(TTL + 1)
            }
            Fault::EngineKilled => {
                etcd.kill();
                sleep(Duration::from_millis(700 * (n as u64 % 8))).await;
                etcd.restart().await;
                Duration::from_secs(2 * TTL + 2)
            }
            Fault::CutOff(cut) => {
                fleet.cut(&victim, cut, true);
                match cut {
                    Cut::Both => Duration::from_secs(TTL + 1),
                    Cut::Answers => Duration::from_secs(TTL + TTL / 3 + 1),
                }
            }
            Fault::Ended => {
                fleet.daemons[&victim].signal(Signal::TERM);
                Duration::from_millis(500)
            }
        };
        let now_took = match fault {
            // Where it was short, nobody had to close anything.
            Fault::EngineKilled => {
                let restarted = Instant::now();
                all_held(&endpoint, &agents).await;
                restarted.elapsed()
            }
            Fault::Ended => {
                // From when it had closed.
                let took = taken_over(&endpoint, &had, since).await;
                let closed = endpoint.ledger.lock().unwrap().last_end(&had, since);
                closed.map_or(took, |closed| took.saturating_sub(closed.saturating_duration_since(since)))
            }
            Fault::Killed | Fault::Stopped | Fault::CutOff(_) => taken_over(&endpoint, &had, since).await,
        };
        took.entry(fault).or_default().push(now_took);
        endpoint.assert_alone();
        assert!(now_took <= within.max(Duration::from_secs(20)), "{fault:?}: {now_took:?}");
        match fault {
            Fault::Killed | Fault::Ended => fleet.renew(&victim),
            Fault::Stopped => {
                fleet.daemons[&victim].signal(Signal::CONT);
                // The watcher has killed it by now.
                let status = within_time(fleet.daemons.get_mut(&victim).unwrap()).await;
                assert!(!status.success(), "{status}");
                fleet.renew(&victim);
            }
            Fault::CutOff(cut) => fleet.cut(&victim, cut, false),
            Fault::EngineKilled => {}
        }
        all_held(&endpoint, &agents).await;
    }
    for agent in &agents {
        let answer = endpoint.call(agent, "echo", json!({"text": "still"})).await.unwrap();
        assert_eq!(text_of(&answer), "still");
    }
    for (fault, mut took) in took {
        took.sort_unstable();
        let (median, most) = (took[took.len() / 2], took[took.len() - 1]);
        report(&format!("{fault:?}: {} times, taken over within {median:?} (median), {most:?} (most)", took.len()));
    }
    unfenced_is_caught(&etcd, &endpoint).await;
}

async fn within_time(daemon: &mut Daemon) -> std::process::ExitStatus {
    within("a daemon that was stopped for too long to have been killed", daemon.exit()).await
}

/// Waits until each agent is connected.
async fn all_held(endpoint: &Endpoint, agents: &[String]) {
    let held = |ledger: &Ledger| {
        let holders = ledger.holders();
        agents.iter().all(|agent| holders.contains_key(agent)).then_some(())
    };
    endpoint.wait_for("each agent to be connected", held).await;
}

/// Daemons that can be started again.
struct Fleet {
    networks: Option<Networks>,
    config: Value,
    daemons: BTreeMap<String, Daemon>,
}

impl Fleet {
    fn place(&self, node: &str) -> Option<Place<'_>> {
        let n = node.bytes().next().unwrap() - b'a';
        self.networks.as_ref().map(|networks| networks.place(n.into()))
    }

    fn start(&mut self, node: &str) {
        let place = self.place(node);
        let started = match &place {
            Some(place) => place.within(|| daemon(&self.config, node)),
            None => daemon(&self.config, node),
        };
        self.daemons.insert(node.to_owned(), started);
    }

    /// Starts another one in the place of one that has ended.
    fn renew(&mut self, node: &str) {
        drop(self.daemons.remove(node));
        self.start(node);
    }

    fn cut(&self, node: &str, cut: Cut, is_cut: bool) {
        self.place(node).unwrap().cut(cut, is_cut);
    }

    /// Who has an agent, as its log says.
    async fn holder_of(&self, endpoint: &Endpoint, agent: &str) -> String {
        all_held(endpoint, &[agent.to_owned()]).await;
        let epoch = endpoint.ledger.lock().unwrap().holders()[agent].clone();
        let has = |daemon: &Daemon| daemon.log_text().contains(&format!("\"epoch\":{epoch}"));
        let found = self.daemons.iter().find(|(_, daemon)| has(daemon));
        found.unwrap_or_else(|| panic!("nobody has {agent} since {epoch}")).0.clone()
    }

    /// The agents that a daemon has.
    async fn had_by(&self, endpoint: &Endpoint, node: &str) -> Vec<String> {
        let holders = endpoint.ledger.lock().unwrap().holders();
        let log = self.daemons[node].log_text();
        let has = |epoch: &String| log.contains(&format!("\"epoch\":{epoch}"));
        holders.into_iter().filter(|(_, epoch)| has(epoch)).map(|(agent, _)| agent).collect()
    }
}

/// Calls of robots, one after the other for each agent, until they are told to end.
struct Load {
    end: CancellationToken,
    robots: JoinSet<(usize, usize)>,
}

fn robots(endpoint: &Arc<Endpoint>, agents: &[String]) -> Load {
    let (end, mut robots) = (CancellationToken::new(), JoinSet::new());
    for agent in agents {
        let (endpoint, end, agent) = (endpoint.clone(), end.clone(), agent.clone());
        robots.spawn(async move {
            let (mut answered, mut crossed) = (0, 0);
            while !end.is_cancelled() {
                match endpoint.attempt(&agent, "echo", json!({"text": "robot"})).await {
                    // While it stops a daemon refuses what is new, which is an answer as well.
                    Outcome::Answer(_) => answered += 1,
                    Outcome::Cut => crossed += 1,
                    Outcome::Unsent => sleep(Duration::from_millis(5)).await,
                }
            }
            (answered, crossed)
        });
    }
    Load { end, robots }
}

impl Load {
    /// How many calls were answered, and how many crossed the end of a connection.
    async fn end(self) -> (usize, usize) {
        self.end.cancel();
        let all = self.robots.join_all().await;
        all.into_iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }
}

/// A holder that does not close when its lease ends, by the same etcd and the same ledger: that is noticed.
async fn unfenced_is_caught(etcd: &Etcd, endpoint: &Endpoint) {
    let agent = "agent-unfenced-of-a-test";
    let first = etcd.lease(1).await;
    assert!(etcd.take(agent, &first).await);
    let dial = |holder: u64| {
        let url = endpoint.url(agent);
        async move {
            use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
            let mut request = url.into_client_request().unwrap();
            request.headers_mut().insert("mcp-pipe-epoch", holder.into());
            let stream = tokio::net::TcpStream::connect(endpoint.address).await.unwrap();
            tokio_tungstenite::client_async(request, stream).await.unwrap().0
        }
    };
    let _open_for_ever = dial(1).await;
    let second = etcd.lease(60).await;
    while !etcd.take(agent, &second).await {
        sleep(Duration::from_millis(50)).await;
    }
    let _other = dial(2).await;
    let both = |ledger: &Ledger| ledger.overlaps(Instant::now()).iter().any(|(of, ..)| of == agent).then_some(());
    for _ in 0..100 {
        if both(&endpoint.ledger.lock().unwrap()).is_some() {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("two had {agent} at the same time, and nobody noticed");
}

#[tokio::test]
async fn one_daemon_serves_an_agent_and_another_stands_by() {
    let Some(etcd) = Etcd::start(HERE).await else { return };
    let endpoint = Endpoint::at(HERE).await;
    let agents = agents(1);
    let config = shared(&endpoint, &agents, &etcd.url(), 60);
    let begun = Instant::now();
    let first = daemon(&config, "first");
    taken_over(&endpoint, &agents, begun).await;
    let second = daemon(&config, "second");
    second.wait_for("it stands by", |line| line.to_string().contains("first has the lease of its agent")).await;
    let answer = endpoint.call(&agents[0], "echo", json!({"text": "hello"})).await.unwrap();
    assert_eq!(text_of(&answer), "hello");
    let processes = |daemon: &Daemon| daemon.processes().values().filter(|line| line.contains("fixture")).count();
    assert_eq!((processes(&first), processes(&second)), (1, 0), "the standby is cold");
    let stopped = Instant::now();
    first.stop().await;
    taken_over(&endpoint, &agents, stopped).await;
    endpoint.assert_alone();
    assert!(endpoint.call(&agents[0], "echo", json!({"text": "again"})).await.is_some());
    second.stop().await;
}

#[tokio::test]
async fn who_is_reached_by_tls_and_wants_a_certificate_and_a_login_gets_them_and_nobody_sees_the_password() {
    let authority = Authority::new();
    authority.sign_client();
    let Some(etcd) = Etcd::secured(HERE, &authority).await else { return };
    etcd.demand(("pipe", "s3cret-of-etcd-1"), "/mcp-pipe/").await;
    let endpoint = Endpoint::at(HERE).await;
    let agents = agents(1);
    let mut config = shared(&endpoint, &agents, &etcd.tls_url(), TTL);
    for (key, value) in [("caFile", "ca.pem"), ("certFile", "client.pem"), ("keyFile", "client.key")] {
        config["lease"][key] = authority.file(value).to_str().unwrap().into();
    }
    (config["lease"]["user"], config["lease"]["password"]) = ("pipe".into(), "s3cret-of-etcd-2".into());
    let refused = daemon(&config, "refused");
    let is_told = |line: &Value| line.to_string().contains("invalid user ID or password");
    let line = refused.wait_for("its password is wrong", is_told).await;
    assert_eq!(line["event"], "LEASE_ENGINE");
    config["lease"]["password"] = "s3cret-of-etcd-1".into();
    let begun = Instant::now();
    let first = daemon(&config, "first");
    taken_over(&endpoint, &agents, begun).await;
    // Longer than the lease lives: it is renewed.
    sleep(Duration::from_secs(TTL + 1)).await;
    endpoint.call(&agents[0], "echo", json!({"text": "renewed"})).await.unwrap();
    for daemon in [refused, first] {
        assert!(!daemon.log_text().contains("s3cret-of-etcd"), "{}", daemon.log_text());
        daemon.stop().await;
    }
}

#[tokio::test]
async fn an_endpoint_that_a_reload_takes_out_is_given_to_a_daemon_that_still_has_it() {
    let Some(etcd) = Etcd::start(HERE).await else { return };
    let endpoint = Endpoint::at(HERE).await;
    let agents = agents(2);
    let mut config = shared(&endpoint, &agents, &etcd.url(), 60);
    let begun = Instant::now();
    let first = daemon(&config, "first");
    taken_over(&endpoint, &agents, begun).await;
    let second = daemon(&config, "second");
    second.wait_for("it stands by", |line| line.to_string().contains("first has the lease of its agent")).await;
    config["lease"]["node"] = "first".into();
    config["endpoints"].as_object_mut().unwrap().remove("e0");
    let reloaded = Instant::now();
    put_in_place(&first.path().join("mcp_config.json"), &config.to_string());
    first.signal(Signal::HUP);
    taken_over(&endpoint, &agents[..1], reloaded).await;
    endpoint.assert_alone();
    for agent in &agents {
        endpoint.call(agent, "echo", json!({"text": "served"})).await.unwrap();
    }
    let holders = endpoint.ledger.lock().unwrap().holders();
    assert!(second.log_text().contains(&format!("\"epoch\":{}", holders[&agents[0]])), "{holders:?}");
    config["lease"]["ttl"] = "10s".into();
    put_in_place(&first.path().join("mcp_config.json"), &config.to_string());
    first.signal(Signal::HUP);
    first
        .wait_for("it counts later", |line| line.to_string().contains("lease will count when mcp-pipe is started anew"))
        .await;
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn a_member_that_is_no_etcd_is_passed_over_and_nobody_waits_for_nodes_that_were_made_by_hand() {
    let Some(etcd) = Etcd::start(HERE).await else { return };
    // Each would be waited for in turn, for some minutes.
    for node in 1..1000 {
        etcd.put(&format!("/mcp-pipe/nodes/{node:x}"), "nobody").await;
    }
    let endpoint = Endpoint::at(HERE).await;
    let agents = agents(3);
    let mut config = shared(&endpoint, &agents, "", TTL);
    config["lease"]["etcd"] = json!([etcd.no_gateway(), etcd.url()]);
    let begun = Instant::now();
    let only = daemon(&config, "only");
    taken_over(&endpoint, &agents, begun).await;
    only.stop().await;
}

#[tokio::test]
async fn thirty_endpoints_are_spread_evenly_and_only_those_of_a_dead_daemon_move() {
    let Some(etcd) = Etcd::start(HERE).await else { return };
    let endpoint = Endpoint::at(HERE).await;
    let agents = agents(30);
    let config = shared(&endpoint, &agents, &etcd.url(), TTL);
    let begun = Instant::now();
    let mut fleet = Fleet { networks: None, config, daemons: BTreeMap::new() };
    ["a", "b", "c"].into_iter().for_each(|node| fleet.start(node));
    taken_over(&endpoint, &agents, begun).await;
    let mut of = BTreeMap::new();
    for node in ["a", "b", "c"] {
        of.insert(node, fleet.had_by(&endpoint, node).await);
    }
    let counts: Vec<usize> = of.values().map(Vec::len).collect();
    assert!(counts.iter().all(|n| (6..=14).contains(n)) && counts.iter().sum::<usize>() == 30, "{counts:?}");
    let before = endpoint.ledger.lock().unwrap().holders();
    let killed = Instant::now();
    fleet.daemons["b"].signal(Signal::KILL);
    taken_over(&endpoint, &of["b"], killed).await;
    endpoint.assert_alone();
    let after = endpoint.ledger.lock().unwrap().holders();
    for agent in of["a"].iter().chain(&of["c"]) {
        assert_eq!(before[agent], after[agent], "it need not have moved");
    }
    let now: Vec<usize> = [fleet.had_by(&endpoint, "a").await.len(), fleet.had_by(&endpoint, "c").await.len()].into();
    assert!(now.iter().all(|n| *n > 10) && now.iter().sum::<usize>() == 30, "both have some of them: {now:?}");
    report(&format!("30 endpoints: {counts:?} of three daemons, {now:?} of the two that are left"));
}

#[tokio::test]
async fn no_call_is_lost_by_stopping_daemons_in_turn_and_a_kill_costs_what_is_under_way() {
    let Some(etcd) = Etcd::start(HERE).await else { return };
    let endpoint = Arc::new(Endpoint::at(HERE).await);
    let agents = agents(3);
    let config = shared(&endpoint, &agents, &etcd.url(), TTL);
    let begun = Instant::now();
    let mut fleet = Fleet { networks: None, config, daemons: BTreeMap::new() };
    ["a", "b", "c"].into_iter().for_each(|node| fleet.start(node));
    taken_over(&endpoint, &agents, begun).await;
    // Robots that call without a pause. What one of them sends while the close frame is on its way to it, nobody can answer.
    let load = robots(&endpoint, &agents);
    for node in ["a", "b", "c"] {
        // Calls are under way on each agent while its daemon stops.
        let calls = agents.iter().map(|agent| endpoint.call(agent, "sleep", json!({"ms": 400})));
        let calls = futures_util::future::join_all(calls);
        let stopped = async {
            for agent in &agents {
                // An answer to this says that the other call is under way.
                endpoint.call(agent, "echo", json!({"text": "sleeping"})).await.unwrap();
            }
            fleet.daemons[node].signal(Signal::TERM);
        };
        let (answers, ()) = tokio::join!(calls, stopped);
        for answer in answers {
            let answer = answer.expect("an answer");
            assert!(answer["error"].is_null(), "{answer}");
        }
        let status = fleet.daemons.get_mut(node).unwrap().exit().await;
        assert!(status.success(), "{status}");
        all_held(&endpoint, &agents).await;
        fleet.renew(node);
        endpoint.assert_alone();
    }
    let (answered, crossed) = load.end().await;
    assert!(answered > 100, "{answered} calls were answered");
    report(&format!(
        "three daemons stopped in turn: {answered} calls answered, {crossed} sent while a close frame came"
    ));
    let victim = fleet.holder_of(&endpoint, &agents[0]).await;
    let had = fleet.had_by(&endpoint, &victim).await;
    let calls =
        agents.iter().map(|agent| async { (agent.clone(), endpoint.call(agent, "sleep", json!({"ms": 400})).await) });
    let killed = async {
        for agent in &agents {
            endpoint.call(agent, "echo", json!({"text": "sleeping"})).await.unwrap();
        }
        fleet.daemons[&victim].signal(Signal::KILL);
    };
    let (answers, ()) = tokio::join!(futures_util::future::join_all(calls), killed);
    for (agent, answer) in answers {
        assert_eq!(answer.is_none(), had.contains(&agent), "{agent}: {answer:?}");
    }
}

#[tokio::test]
async fn a_standby_is_well_and_follows_a_changed_config_and_is_not_where_etcd_is_gone() {
    let Some(mut etcd) = Etcd::start(HERE).await else { return };
    let endpoint = Endpoint::at(HERE).await;
    let agents = agents(1);
    let mut config = shared(&endpoint, &agents, &etcd.url(), TTL);
    let begun = Instant::now();
    let first = daemon(&config, "first");
    taken_over(&endpoint, &agents, begun).await;
    config["lease"]["node"] = "second".into();
    let runtime = Runtime::new();
    let second = runtime.setup().config(&config).start("info");
    second.wait_for("it stands by", |line| line.to_string().contains("first has the lease of its agent")).await;
    let status = runtime.ask(&["status"]).await;
    assert!(status.code == 0 && status.out.contains("shares its endpoints by leases, as second"), "{status:?}");
    let told = runtime.ask(&["restart", "e0"]).await;
    assert!(
        told.code != 0 && told.err.contains("e0 is not connected here: first has the lease of its agent"),
        "{told:?}"
    );
    // A new server is not waited for: it does not start before the lease is here, nor does the one that stands in for it.
    config["mcpServers"]["z"] = config["mcpServers"]["x"].clone();
    config["mcpServers"]["y"] = config["mcpServers"]["x"].clone();
    config["mcpServers"]["y"]["fallback"] = "z".into();
    config["endpoints"]["e0"]["servers"] = json!(["x", "y"]);
    let told = runtime.reload(&second, &config).await;
    assert!(told.contains("z, y are new"), "{told}");
    let status = runtime.ask(&["status"]).await;
    assert!(status.code == 0 && status.out.contains("first has the lease of its agent; serves x, y"), "{status:?}");
    assert_eq!(second.processes().len(), 1, "no server: {:?}", second.processes());
    etcd.kill();
    second.wait_for("it can't renew its lease", |line| line["event"] == "LEASE_ENGINE").await;
    let status = runtime.ask(&["status"]).await;
    assert!(status.code == 1 && status.out.contains("error lease-unkept: "), "{status:?}");
    let file = second.path().join("mcp_config.json");
    let found = runtime.ask(&["--config", file.to_str().unwrap(), "doctor", "--json"]).await;
    assert_eq!(roots(&found), ["lease-unkept "]);
    first.stop().await;
    second.stop().await;
    // Whoever only looks at servers asks for no lease.
    let found = runtime.setup().config(&config).args(["doctor"]).output().await;
    let found = String::from_utf8_lossy(&found.stdout).into_owned();
    assert!(found.contains("answered initialize within"), "{found}");
}
