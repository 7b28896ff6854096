//! A healthy server beside one in trouble, on one connection or on one each: what its callers notice of that. A part of it is the machine's, which
//! the one in trouble keeps busy; so the same trouble is made once more by a process of which mcp-pipe knows nothing ([`Replay`]).

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::File;
use std::io::{Write, copy, sink};
use std::process::Child;
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Plan;
use crate::contender::{Bench, Running};
use crate::echo::{Trouble, now};
use crate::exchange::Exchange;
use crate::report::{Figure, Table};
use crate::speed::{AT_LEAST, quantile};

/// Calls of the server in trouble that are under way at most.
const AT_ONCE: usize = 4;
/// Pause before each call of the healthy one, and between that and one of the other.
const PAUSE: Duration = Duration::from_millis(1);
pub(crate) const MULTIPLEX: &str = "multiplex";
/// By which the two are known: a tool that no other one has.
const WELL: &str = "tool_1_of_0";
const BAD: &str = "tool_1_of_bad";
/// By which an answer of the one in trouble is known.
const OF_BAD: &str = "\"id\":\"bad-";
/// As the server in trouble gets it beside mcp-pipe.
const CALL: &[u8] =
    br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"look_0","arguments":{"text":"x"}}}
"#;
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

/// `only`: a word in the names of the cases that are measured. `mode`: how the servers share the endpoint.
pub(crate) fn measure(bench: &Bench, plan: &Plan, only: Option<&String>, mode: &str) -> Table {
    let (mut figures, time) = (Vec::new(), plan.slice * SLICES);
    for (name, trouble, bounds) in cases().into_iter().filter(|(name, ..)| only.is_none_or(|only| name.contains(only)))
    {
        let mut p50 = Figure::new(format!("p50 beside {name}"), "µs");
        let mut p99 = Figure::new(format!("p99 beside {name}"), "µs");
        for _ in 0..plan.rounds.div_ceil(2) {
            let mut siblings = Siblings::start(bench, trouble, &bounds, mode);
            let quiet = siblings.round_trips(time, &mut Other::Quiet);
            let began = now();
            let inside = siblings.round_trips(time, &mut Other::Inside);
            drop(siblings);
            let replay = Replay::of(bench, trouble, began, bounds.get("logFile").is_some());
            let mut siblings = Siblings::start(bench, trouble, &bounds, mode);
            let beside = siblings.round_trips(time, &mut Other::Beside(replay));
            let round = [quiet, beside, inside];
            p50.push([0, 1, 2].map(|at: usize| Some(quantile(&round[at], 0.5))));
            p99.push([0, 1, 2].map(|at: usize| Some(quantile(&round[at], 0.99))));
        }
        figures.extend([p50, p99]);
    }
    let ratios = &[("÷ quiet", 2, 0), ("÷ beside", 2, 1)];
    Table { columns: &["quiet", "beside", "inside"], ratios, figures }
}

/// Where the server in trouble is, and whether it is called.
enum Other<'a> {
    /// Behind mcp-pipe, and not called.
    Quiet,
    /// Behind mcp-pipe.
    Inside,
    /// That one is not called; what it did before is done by another one beside mcp-pipe.
    Beside(Replay<'a>),
}

/// What a server in trouble did behind mcp-pipe, once more, by processes of which mcp-pipe knows nothing: they begin and are called when
/// that one was, and end when it has had its last call. What they write is read, and thrown away or written to a file as it is.
struct Replay<'a> {
    bench: &'a Bench,
    trouble: Trouble,
    has_file: bool,
    /// The first of a process is its beginning, all others are calls.
    moments: VecDeque<Moment>,
    processes: HashMap<u32, Child>,
}

struct Moment {
    at: Duration,
    process: u32,
    is_last: bool,
}

impl<'a> Replay<'a> {
    /// Of what was done since `began`; who had begun before that begins now.
    fn of(bench: &'a Bench, trouble: Trouble, began: Duration, has_file: bool) -> Self {
        let (mut moments, mut seen) = (VecDeque::new(), HashSet::new());
        for (process, at) in bench.diary().into_iter().rev() {
            moments.push_front(Moment { at: at.saturating_sub(began), process, is_last: seen.insert(process) });
        }
        let mut replay = Replay { bench, trouble, has_file, moments, processes: HashMap::new() };
        replay.go_on(Duration::ZERO);
        replay
    }

    /// Does what is due, up to a call. Says whether there was one.
    fn go_on(&mut self, now: Duration) -> bool {
        while let Some(moment) = self.moments.pop_front() {
            if moment.at > now {
                self.moments.push_front(moment);
                break;
            }
            let Some(process) = self.processes.get_mut(&moment.process) else {
                let process = self.begin();
                self.processes.insert(moment.process, process);
                continue;
            };
            if let Some(stdin) = &mut process.stdin {
                // One that has crashed does not take it.
                let _unread = stdin.write_all(CALL);
            }
            if moment.is_last {
                process.stdin = None;
            }
            return true;
        }
        false
    }

    fn begin(&self) -> Child {
        let mut child = self.bench.alone(self.trouble).spawn().unwrap();
        let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        spawn(move || copy(&mut stdout, &mut sink()));
        let file = self.has_file.then(|| self.bench.file("beside.log"));
        spawn(move || match file {
            None => copy(&mut stderr, &mut sink()),
            Some(file) => {
                let mut file = File::options().append(true).create(true).open(file).unwrap();
                copy(&mut stderr, &mut file)
            }
        });
        child
    }
}

impl Drop for Replay<'_> {
    fn drop(&mut self) {
        for process in self.processes.values_mut() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }
}

struct Siblings {
    running: Running,
    /// Which connections the healthy one and the other have.
    places: [usize; 2],
    sent: usize,
    /// Calls of the other one that are under way.
    under_way: usize,
}

impl Siblings {
    fn start(bench: &Bench, trouble: Trouble, bounds: &Value, mode: &str) -> Self {
        let mut servers = bench.servers(2);
        let (well, spare) = (servers.remove("s0"), servers.remove("s1"));
        let mut bad = bench.troubled(trouble);
        bad.as_object_mut().unwrap().extend(bounds.as_object().unwrap().clone());
        let mut servers = json!({"well": well, "bad": bad});
        if bounds["fallback"].is_string() {
            servers["spare"] = spare.unwrap();
        }
        let connections = if mode == MULTIPLEX { 1 } else { 2 };
        let config = json!({"mode": mode, "naming": "prefix", "mcpServers": servers});
        let running = bench.start_with(&config, connections);
        let mut siblings = Siblings { running, places: [0; 2], sent: 0, under_way: 0 };
        siblings.running.exchanges.iter_mut().for_each(Exchange::greet);
        siblings.places = [WELL, BAD].map(|tool| siblings.place_of(tool));
        siblings
    }

    /// The connection on which a tool is shown, once one shows it.
    fn place_of(&mut self, tool: &str) -> usize {
        loop {
            for (place, exchange) in self.running.exchanges.iter_mut().enumerate() {
                exchange.send(r#"{"jsonrpc":"2.0","id":"list","method":"tools/list"}"#);
                exchange.flush();
                if exchange.receive(|list| list.contains(tool)) {
                    return place;
                }
            }
            sleep(Duration::from_millis(20));
        }
    }

    fn call(&mut self, server: &str) -> String {
        self.sent += 1;
        let id = format!("{server}-{}", self.sent);
        let [well, bad] = self.places;
        let tool = if well == bad { format!("{server}__look_0") } else { "look_0".to_owned() };
        let message = json!({
            "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "arguments": {"text": "x"}},
        });
        let exchange = &mut self.running.exchanges[if server == "bad" { bad } else { well }];
        exchange.send(&message.to_string());
        exchange.flush();
        id
    }

    /// Waits for an answer of the healthy one. Those of the other that come before are counted.
    fn receive<T>(&mut self, id: &str, look: impl Fn(&str) -> T) -> T {
        let id = format!("\"id\":\"{id}\"");
        loop {
            let found = self.running.exchanges[self.places[0]].receive(|message| {
                let is_bad = message.contains(OF_BAD);
                (message.contains(&id).then(|| look(message)), is_bad)
            });
            match found {
                (Some(found), _) => return found,
                (None, is_bad) => self.under_way -= usize::from(is_bad),
            }
        }
    }

    /// Counts the answers of the one in trouble that are there, where it has a connection of its own.
    fn count(&mut self) {
        let [well, bad] = self.places;
        while well != bad
            && let Some(is_answer) = self.running.exchanges[bad].receive_now(|message| message.contains(OF_BAD))
        {
            self.under_way -= usize::from(is_answer);
        }
    }

    /// How long each of many calls of the healthy server took, one at a time; sorted.
    fn round_trips(&mut self, time: Duration, other: &mut Other<'_>) -> Vec<Duration> {
        let (mut trips, began) = (Vec::new(), Instant::now());
        while began.elapsed() < time || trips.len() < AT_LEAST {
            sleep(PAUSE);
            self.count();
            let is_called = match other {
                Other::Inside if self.under_way < AT_ONCE => {
                    self.call("bad");
                    self.under_way += 1;
                    true
                }
                Other::Quiet | Other::Inside => false,
                Other::Beside(replay) => replay.go_on(began.elapsed()),
            };
            if is_called {
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
