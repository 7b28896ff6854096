//! A healthy server beside one in trouble, on one connection: what its callers notice of that.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Plan;
use crate::contender::{Bench, Running};
use crate::echo::Trouble;
use crate::exchange::Exchange;
use crate::report::{Figure, Table};
use crate::speed::{AT_LEAST, quantile};

/// Calls of the server in trouble that are under way at most.
const AT_ONCE: usize = 4;
/// Pause before each call of the healthy one, and between that and one of the other.
const PAUSE: Duration = Duration::from_millis(1);
/// So many slices are measured, quiet and beside trouble: for a quantile of 99 % there have to be many calls.
const SLICES: u32 = 10;

/// What is in trouble, and what bounds it.
fn cases() -> Vec<(&'static str, Trouble, Value)> {
    vec![
        (
            "a server that hangs, circuitBreaker",
            Trouble::Hangs,
            json!({"timeout": "100ms", "circuitBreaker": {"failures": 3, "openFor": "1s"}}),
        ),
        ("one that crashes, fallback", Trouble::Crashes, json!({"fallback": "spare"})),
        ("one of replicas that crash", Trouble::Crashes, json!({"replicas": 3})),
        ("one that eats memory, limits", Trouble::Eats, json!({"limits": {"memory": "64MiB"}})),
        ("one that is busy, healthCheck", Trouble::Dawdles, json!({"healthCheck": {"every": "1s", "restart": true}})),
        (
            "one that floods stderr, logFile",
            Trouble::Floods,
            json!({"logFile": {"path": "bad.log", "maxSize": "1MiB", "keep": 2}}),
        ),
    ]
}

pub(crate) fn measure(bench: &Bench, plan: &Plan) -> Table {
    let mut figures = Vec::new();
    for (name, trouble, bounds) in cases() {
        let mut p50 = Figure::new(format!("p50 beside {name}"), "µs");
        let mut p99 = Figure::new(format!("p99 beside {name}"), "µs");
        for _ in 0..plan.rounds.div_ceil(3) {
            let mut siblings = Siblings::start(bench, trouble, &bounds);
            let round = [false, true].map(|is_in_trouble| siblings.round_trips(plan.slice * SLICES, is_in_trouble));
            p50.push([0, 1].map(|at: usize| Some(quantile(&round[at], 0.5))));
            p99.push([0, 1].map(|at: usize| Some(quantile(&round[at], 0.99))));
        }
        figures.extend([p50, p99]);
    }
    Table { columns: &["quiet", "trouble"], ratios: &[("÷ quiet", 1, 0)], figures }
}

struct Siblings {
    running: Running,
    sent: usize,
    /// Calls of the other one that are under way.
    under_way: usize,
}

impl Siblings {
    fn start(bench: &Bench, trouble: Trouble, bounds: &Value) -> Self {
        let mut servers = bench.servers(2);
        let (well, spare) = (servers.remove("s0"), servers.remove("s1"));
        let mut bad = bench.troubled(trouble);
        bad.as_object_mut().unwrap().extend(bounds.as_object().unwrap().clone());
        let config =
            json!({"mode": "multiplex", "naming": "prefix", "mcpServers": {"well": well, "bad": bad, "spare": spare}});
        let mut siblings = Siblings { running: bench.start_with(&config, 1), sent: 0, under_way: 0 };
        siblings.exchange().greet();
        loop {
            let list = r#"{"jsonrpc":"2.0","id":"list","method":"tools/list"}"#;
            siblings.exchange().send(list);
            siblings.exchange().flush();
            let is_there =
                siblings.receive("list", |list| list.contains("bad__look_0") && list.contains("well__look_0"));
            if is_there {
                return siblings;
            }
            sleep(Duration::from_millis(20));
        }
    }

    fn exchange(&mut self) -> &mut Exchange {
        &mut self.running.exchanges[0]
    }

    fn call(&mut self, server: &str) -> String {
        self.sent += 1;
        let id = format!("{server}-{}", self.sent);
        let message = json!({
            "jsonrpc": "2.0", "id": id, "method": "tools/call",
            "params": {"name": format!("{server}__look_0"), "arguments": {"text": "x"}},
        });
        self.exchange().send(&message.to_string());
        self.exchange().flush();
        id
    }

    /// Waits for an answer. Those of the server in trouble that come before are counted.
    fn receive<T>(&mut self, id: &str, look: impl Fn(&str) -> T) -> T {
        let id = format!("\"id\":\"{id}\"");
        loop {
            let found = self.exchange().receive(|message| {
                let is_bad = message.contains("\"id\":\"bad-");
                (message.contains(&id).then(|| look(message)), is_bad)
            });
            match found {
                (Some(found), _) => return found,
                (None, is_bad) => self.under_way -= usize::from(is_bad),
            }
        }
    }

    /// How long each of many calls of the healthy server took, one at a time; sorted.
    fn round_trips(&mut self, time: Duration, is_in_trouble: bool) -> Vec<Duration> {
        let (mut trips, began) = (Vec::new(), Instant::now());
        while began.elapsed() < time || trips.len() < AT_LEAST {
            sleep(PAUSE);
            if is_in_trouble && self.under_way < AT_ONCE {
                self.call("bad");
                self.under_way += 1;
                sleep(PAUSE);
            }
            let began = Instant::now();
            let id = self.call("well");
            self.receive(&id, |answer| assert!(answer.contains("result"), "{answer:.200}"));
            trips.push(began.elapsed());
        }
        trips.sort_unstable();
        trips
    }
}
