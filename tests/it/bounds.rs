//! What bounds the harm of a server that fails: its circuit, its fallback, its replicas, and answers that are given again. Real processes, each
//! broken for real, beside one that is well; on a connection of its own and on one with the others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::control::Runtime;
use crate::harness::{
    Conn, Daemon, FakeEndpoint, McpHttp, config, field, fixture, fixture_entry, multiplex, names, report, text_of,
    within,
};
use crate::status::told;

/// mcp-pipe with these servers, and whoever asks them.
struct Running {
    runtime: Runtime,
    daemon: Daemon,
    file: Value,
    /// A connection for each server that is shown, or one for all.
    conns: BTreeMap<String, Conn>,
    next: u64,
}

/// For all of them.
const ALL: &str = "";

impl Running {
    /// `together`: on one connection. `hidden`: the servers that nothing shows. All of them answer.
    async fn start(together: bool, servers: &[(&str, Value)], hidden: &[&str]) -> Self {
        let running = Running::begin(Runtime::new(), together, servers, hidden).await;
        for (name, _) in servers {
            running.up(name).await;
        }
        running
    }

    /// The same, whether or not they answer.
    async fn begin(runtime: Runtime, together: bool, servers: &[(&str, Value)], hidden: &[&str]) -> Self {
        let servers = servers.to_vec();
        let shown: Vec<&str> = servers.iter().map(|(name, _)| *name).filter(|name| !hidden.contains(name)).collect();
        let mut conns = BTreeMap::new();
        let (file, daemon);
        if together {
            let endpoint = FakeEndpoint::bind().await;
            let mut written = multiplex(&endpoint, servers);
            written["naming"] = "prefix".into();
            daemon = runtime.setup().env("MCP_CACHE_DIR", &runtime.cache()).config(&written).start("debug");
            file = written;
            conns.insert(ALL.to_owned(), endpoint.accept().await);
        } else {
            let mut written = config(servers);
            let mut endpoints = Vec::new();
            for name in &shown {
                let endpoint = FakeEndpoint::with_token(&format!("t0ken-of-{name}")).await;
                written["mcpServers"][name]["endpoint"] = endpoint.url().into();
                endpoints.push((*name, endpoint));
            }
            daemon = runtime.setup().env("MCP_CACHE_DIR", &runtime.cache()).config(&written).start("debug");
            file = written;
            for (name, endpoint) in endpoints {
                conns.insert(name.to_owned(), endpoint.accept().await);
            }
        }
        let mut running = Running { runtime, daemon, file, conns, next: 100 };
        for conn in running.conns.values_mut() {
            conn.handshake().await;
        }
        running
    }

    async fn up(&self, server: &str) {
        let is_warm =
            |line: &Value| field(line, "event") == Some("SERVER_WARM") && field(line, "server") == Some(server);
        self.daemon.wait_for(&format!("{server} answers"), is_warm).await;
    }

    fn conn(&mut self, server: &str) -> (&mut Conn, bool) {
        let together = self.conns.contains_key(ALL);
        (self.conns.get_mut(if together { ALL } else { server }).unwrap(), together)
    }

    async fn send(&mut self, server: &str, tool: &str, arguments: Value) -> u64 {
        self.next += 1;
        let id = self.next;
        let (conn, together) = self.conn(server);
        let tool = if together { format!("{server}__{tool}") } else { tool.to_owned() };
        conn.send_call(id, &tool, arguments).await;
        id
    }

    async fn answer(&mut self, server: &str, id: u64) -> Value {
        self.conn(server).0.answer_to(id).await
    }

    async fn call(&mut self, server: &str, tool: &str, arguments: Value) -> Value {
        let id = self.send(server, tool, arguments).await;
        self.answer(server, id).await
    }

    /// The words with which a call is refused.
    async fn refused(&mut self, server: &str, tool: &str, arguments: Value) -> String {
        let answer = self.call(server, tool, arguments).await;
        answer["error"]["message"].as_str().unwrap_or_else(|| panic!("no error: {answer}")).to_owned()
    }

    /// The server beside it goes on, whatever has become of the others.
    async fn sibling_is_well(&mut self) {
        let said = self.call("well", "echo", json!({"text": "as ever"})).await;
        assert_eq!(text_of(&said), "as ever");
    }

    /// The names of the tools that are shown on the connection of a server.
    async fn listed(&mut self, server: &str) -> Vec<String> {
        self.next += 1;
        let id = self.next;
        let conn = self.conn(server).0;
        conn.send(json!({"jsonrpc": "2.0", "id": id, "method": "tools/list"})).await;
        names(&conn.answer_to(id).await).into_iter().map(str::to_owned).collect()
    }

    /// Which process answers.
    async fn pid(&mut self, server: &str) -> i32 {
        text_of(&self.call(server, "pid", json!({})).await).parse().unwrap()
    }

    async fn server_status(&self, name: &str) -> (i32, Value) {
        let (code, status) = told(&self.runtime).await;
        let server = status["servers"].as_array().unwrap().iter().find(|server| server["name"] == name);
        (code, server.unwrap_or_else(|| panic!("{status:#}")).clone())
    }

    /// Has another config count.
    async fn reload(&mut self, change: impl FnOnce(&mut Value)) -> String {
        change(&mut self.file);
        self.runtime.reload(&self.daemon, &self.file).await
    }

    /// Returns where it ran, and what it remembers.
    async fn stop(mut self) -> Runtime {
        self.daemon.stop_closing(self.conns.values_mut()).await;
        self.runtime
    }
}

fn entry(flags: &[&str], keys: &Value) -> Value {
    let mut entry = fixture_entry(flags);
    entry.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    entry
}

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_asked_no_more_until_its_time_is_over_or_a_person_says_so() {
    for together in [false, true] {
        let keys = json!({"timeout": "300ms", "circuitBreaker": {"failures": 2, "openFor": "1h"}});
        let servers = [("slow", entry(&[], &keys)), ("well", fixture_entry(&[]))];
        let mut run = Running::start(together, &servers, &[]).await;
        assert_eq!(run.server_status("slow").await.1["circuit"], "closed");
        assert!(run.server_status("well").await.1["circuit"].is_null());
        assert!(run.runtime.not_done(1, &["reset", "well"]).await.contains("has no circuit that could be open"));
        for _ in 0..2 {
            let said = run.refused("slow", "sleep", json!({"ms": 60_000})).await;
            assert!(said.contains("did not answer within 0.3 s"), "{said}");
            run.sibling_is_well().await;
        }
        let said = run.refused("slow", "echo", json!({"text": "hi"})).await;
        assert!(said.starts_with("the circuit of server \"slow\" is open: 2 calls in a row got no answer"), "{said}");
        assert!(said.ends_with("; mcp-pipe reset slow has it asked at once"), "{said}");
        run.sibling_is_well().await;
        let (code, status) = run.server_status("slow").await;
        assert_eq!(
            (code, &status["circuit"], &status["well"], &status["state"]),
            (1, &json!("open"), &json!(false), &json!("serving"))
        );
        let said = run.runtime.ask(&["status"]).await.out;
        assert!(said.contains("error circuit-open: slow: 2 calls in a row got no answer"), "{said}");
        assert!(said.contains("its circuit is open, and it gets no calls for "), "{said}");
        let said = run.runtime.ask(&["status", "slow", "--history"]).await.out;
        assert!(said.contains("got no calls: its circuit was open"), "{said}");
        let told = run.daemon.wait_for_event("CIRCUIT_OPEN").await.to_string();
        assert!(told.contains("mcp-pipe reset slow"), "{told}");
        assert_eq!(run.runtime.done(&["reset", "slow"]).await, "slow: its circuit is closed, and it gets all calls\n");
        assert_eq!(text_of(&run.call("slow", "echo", json!({"text": "hi"})).await), "hi");
        let (code, status) = run.server_status("slow").await;
        assert_eq!((code, &status["circuit"]), (0, &json!("closed")));
        // Another rule counts without another process.
        let before = run.pid("slow").await;
        let said = run
            .reload(|file| file["mcpServers"]["slow"]["circuitBreaker"] = json!({"failures": 1, "openFor": "1s"}))
            .await;
        assert!(said.contains("slow has another circuitBreaker, fallback or cache"), "{said}");
        let said = run.refused("slow", "sleep", json!({"ms": 60_000})).await;
        assert!(said.contains("did not answer within"), "{said}");
        assert!(
            run.refused("slow", "echo", json!({"text": "hi"}))
                .await
                .contains("its circuit is open: a call got no answer")
                || run.server_status("slow").await.1["circuit"] != "closed"
        );
        // It tries by itself.
        run.daemon.wait_for_event("CIRCUIT_HALF_OPEN").await;
        assert_eq!(run.pid("slow").await, before);
        run.daemon.wait_for("its circuit to close", |line| field(line, "event") == Some("CIRCUIT_CLOSED")).await;
        run.stop().await;
    }
}

#[tokio::test]
async fn errors_that_a_server_answers_with_never_open_its_circuit() {
    let breaker = json!({"circuitBreaker": {"failures": 2, "openFor": "1h"}});
    let servers = [("odd", entry(&["--fail", "tools/call", "-32000"], &breaker)), ("well", fixture_entry(&[]))];
    for together in [false, true] {
        let mut run = Running::start(together, &servers, &[]).await;
        for _ in 0..5 {
            let answer = run.call("odd", "echo", json!({"text": "hi"})).await;
            assert_eq!(answer["error"]["code"], -32000, "{answer}");
            run.sibling_is_well().await;
        }
        assert_eq!(run.server_status("odd").await.1["circuit"], "closed");
        run.stop().await;
    }
}

#[tokio::test]
async fn a_fallback_takes_the_calls_of_a_server_that_is_down_or_stopped_and_is_shown_nowhere() {
    for together in [false, true] {
        let servers = [
            ("first", entry(&[], &json!({"fallback": "second"}))),
            ("second", entry(&["--extra", "own"], &json!({}))),
            ("well", fixture_entry(&[])),
        ];
        let mut run = Running::start(together, &servers, &["second"]).await;
        let listed = run.listed("first").await;
        assert!(!listed.iter().any(|name| name.starts_with("second") || name.ends_with("own")), "{listed:?}");
        let first = run.pid("first").await;
        // What is under way is not done twice.
        let lost = run.send("first", "sleep", json!({"ms": 60_000})).await;
        assert_eq!(run.pid("first").await, first);
        assert_eq!(run.runtime.done(&["stop", "first"]).await, "first: stopped\n");
        assert!(
            run.answer("first", lost).await["error"]["message"].as_str().unwrap().contains("was stopped by command")
        );
        let second = run.pid("first").await;
        assert_ne!(second, first);
        run.sibling_is_well().await;
        assert_eq!(run.pid("first").await, second);
        run.runtime.done(&["start", "first"]).await;
        let again = run.pid("first").await;
        assert!(again != first && again != second);
        // A crash: whatever is asked then is answered by one of both.
        for _ in 0..5 {
            let serves = run.pid("first").await;
            kill(serves);
            let said = run.call("first", "echo", json!({"text": "hi"})).await;
            let is_cut = said["error"]["message"].as_str().is_some_and(|why| why.starts_with("not answered: "));
            assert!(is_cut || text_of(&said) == "hi", "{said}");
            run.sibling_is_well().await;
        }
        run.stop().await;
    }
}

/// Servers that are of no use from the first start on.
fn useless() -> [(&'static str, Value); 3] {
    [
        ("its program is not there", json!({"command": "/no/such/program"})),
        ("it never answers", fixture_entry(&["--silent"])),
        ("it refuses", fixture_entry(&["--refuse", "no licence"])),
    ]
}

#[tokio::test]
async fn a_server_that_has_never_served_is_served_by_its_fallback() {
    for together in [false, true] {
        for (how, mut first) in useless() {
            first["fallback"] = "second".into();
            first["startTimeout"] = "300ms".into();
            let servers =
                [("first", first), ("second", fixture_entry(&["--extra", "own"])), ("well", fixture_entry(&[]))];
            let mut run = Running::begin(Runtime::new(), together, &servers, &["second"]).await;
            run.up("second").await;
            // The connection may be older than the fallback.
            let listed = async {
                while !run.listed("first").await.iter().any(|name| name.ends_with("own")) {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            };
            within(&format!("tools of a server: {how}"), listed).await;
            let second = run.pid("first").await;
            run.sibling_is_well().await;
            assert_eq!(run.pid("first").await, second, "{how}");
            let status = run.server_status("first").await.1;
            assert_eq!(status["well"], false, "{how}: {status:#}");
            run.stop().await;
        }
    }
}

#[tokio::test]
async fn a_server_that_is_known_from_an_earlier_run_is_shown_as_it_was_and_served_by_its_fallback() {
    type Fault = fn(&Path);
    let faults: [(&str, Fault); 3] = [
        ("its program is not there", |folder| fs::remove_file(folder.join("program")).unwrap()),
        ("it ends at once", |folder| {
            fs::remove_file(folder.join("program")).unwrap();
            symlink("/bin/false", folder.join("program")).unwrap();
        }),
        ("it never answers", |folder| fs::write(folder.join("held"), "").unwrap()),
    ];
    for together in [false, true] {
        for (how, fault) in faults {
            let folder = TempDir::new().unwrap();
            symlink(fixture(), folder.path().join("program")).unwrap();
            let first = json!({"command": folder.path().join("program"), "fallback": "second", "startTimeout": "300ms",
                "args": ["--extra", "rare", "--hold", folder.path().join("held")], "cwd": folder.path()});
            let servers =
                [("first", first), ("second", fixture_entry(&["--extra", "own"])), ("well", fixture_entry(&[]))];
            let is_as_it_was = |listed: &[String]| {
                let has = |tool| listed.iter().any(|name| name.ends_with(tool));
                assert!(has("rare") && !has("own"), "{how}: {listed:?}");
            };
            let mut run = Running::start(together, &servers, &["second"]).await;
            is_as_it_was(&run.listed("first").await);
            let runtime = run.stop().await;
            fault(folder.path());
            let mut run = Running::begin(runtime, together, &servers, &["second"]).await;
            is_as_it_was(&run.listed("first").await);
            run.up("second").await;
            let second = run.pid("first").await;
            run.sibling_is_well().await;
            assert_eq!(run.pid("first").await, second, "{how}");
            // The fallback does not have it.
            run.refused("first", "rare", json!({})).await;
            is_as_it_was(&run.listed("first").await);
            let status = run.server_status("first").await.1;
            assert_eq!(status["well"], false, "{how}: {status:#}");
            run.stop().await;
        }
    }
}

#[tokio::test]
async fn a_client_of_the_gateway_is_served_by_the_fallback_of_a_server_that_has_never_served() {
    for (how, mut first) in useless() {
        first["fallback"] = "second".into();
        first["startTimeout"] = "300ms".into();
        let file = json!({"gateway": {"listen": "127.0.0.1:0"}, "mcpServers": {"first": first,
            "second": fixture_entry(&["--extra", "own"]), "well": fixture_entry(&[])}});
        let runtime = Runtime::new();
        let daemon = runtime.setup().config(&file).start("debug");
        let url = crate::gateway::url(&daemon).await;
        for (path, tool) in [("/mcp/first", "pid"), ("/mcp", "first__pid")] {
            let of_fallback = async {
                loop {
                    let mut client = McpHttp::at(&url).path(path);
                    if client.begin().await["result"].is_object()
                        && client.tools().await.iter().any(|name| name.ends_with("own"))
                    {
                        return client.call(tool, json!({})).await;
                    }
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            };
            let pid = within(&format!("a process at {path}: {how}"), of_fallback).await;
            assert!(daemon.processes().contains_key(&pid.parse().unwrap()), "{how}: {pid}");
        }
        daemon.stop().await;
    }
}

#[tokio::test]
async fn whoever_connects_anew_while_a_server_is_stopped_learns_its_tools() {
    let endpoint = FakeEndpoint::bind().await;
    let file = json!({"endpoint": endpoint.url(), "mcpServers": {
        "first": entry(&["--extra", "rare"], &json!({"fallback": "second"})), "second": fixture_entry(&[])}});
    let runtime = Runtime::new();
    let daemon = runtime.setup().config(&file).start("debug");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    daemon
        .wait_for("second answers", |line| {
            field(line, "server") == Some("second") && field(line, "event") == Some("SERVER_WARM")
        })
        .await;
    let first: i32 = text_of(&conn.call(10, "pid", json!({})).await).parse().unwrap();
    assert_eq!(runtime.done(&["stop", "first"]).await, "first: stopped\n");
    for _ in 0..2 {
        conn.send(json!({"jsonrpc": "2.0", "id": 11, "method": "tools/list"})).await;
        let listed = conn.answer_to(11).await;
        assert!(names(&listed).contains(&"rare"), "its own tools: {listed}");
        assert_ne!(text_of(&conn.call(12, "pid", json!({})).await), first.to_string());
        conn.close(1001).await;
        conn = endpoint.accept().await;
        conn.handshake().await;
    }
    daemon.stop_closing([&mut conn]).await;
}

/// A file in which servers note what they do.
struct Diary(TempDir);

impl Diary {
    fn new() -> Self {
        Diary(TempDir::new().unwrap())
    }

    fn path(&self) -> String {
        self.0.path().join("diary").to_str().unwrap().to_owned()
    }

    /// How often each call was done.
    fn done(&self) -> BTreeMap<String, usize> {
        let mut done = BTreeMap::new();
        for line in fs::read_to_string(self.path()).unwrap_or_default().lines() {
            *done.entry(line.to_owned()).or_default() += 1;
        }
        done
    }

    /// How often such a call of `echo` was.
    fn echoed(&self, text: &str) -> usize {
        self.done().get(&format!(r#""echo" {}"#, json!({"text": text}))).copied().unwrap_or_default()
    }
}

#[tokio::test]
async fn answers_are_given_again_until_the_server_says_that_its_tools_have_changed() {
    for together in [false, true] {
        let diary = Diary::new();
        let cache = json!({"cache": {"tools": ["ec*"], "ttl": "1h"}});
        let servers = [("kept", entry(&["--diary", &diary.path()], &cache)), ("well", fixture_entry(&[]))];
        let mut run = Running::start(together, &servers, &[]).await;
        for _ in 0..3 {
            let said = run.call("kept", "echo", json!({"text": "a"})).await;
            assert_eq!(text_of(&said), "a");
            run.sibling_is_well().await;
        }
        assert_eq!(diary.echoed("a"), 1, "it is asked once");
        run.call("kept", "echo", json!({"text": "b"})).await;
        assert_eq!((diary.echoed("a"), diary.echoed("b")), (1, 1));
        run.call("kept", "grow", json!({"name": "new"})).await;
        for _ in 0..3 {
            assert_eq!(text_of(&run.call("kept", "echo", json!({"text": "a"})).await), "a");
        }
        assert_eq!(diary.echoed("a"), 2, "once more, as it has changed");
        let (_, status) = run.server_status("kept").await;
        assert_eq!(status["calls"]["answered"], 8, "each counts: {status:#}");
        run.stop().await;
    }
}

#[tokio::test]
async fn what_one_client_was_answered_is_given_to_no_other() {
    let (runtime, diary) = (Runtime::new(), Diary::new());
    let (mut endpoints, mut written) = (Vec::new(), serde_json::Map::new());
    for n in 0..2 {
        let endpoint = FakeEndpoint::with_token(&format!("t0ken-number-{n}")).await;
        written.insert(format!("e{n}"), json!({"url": endpoint.url()}));
        endpoints.push(endpoint);
    }
    let cache = json!({"cache": {"tools": ["*"], "ttl": "1h"}});
    let file = json!({"endpoints": written, "mcpServers": {"x": entry(&["--diary", &diary.path()], &cache)}});
    let daemon = runtime.setup().config(&file).start("debug");
    let mut conns = Vec::new();
    for (n, endpoint) in endpoints.iter().enumerate() {
        let mut conn = endpoint.accept().await;
        conn.handshake().await;
        for id in 10..13 {
            assert_eq!(text_of(&conn.call(id, "echo", json!({"text": "a"})).await), "a");
        }
        assert_eq!(diary.echoed("a"), n + 1, "once for each client");
        conns.push(conn);
    }
    daemon.stop_closing(&mut conns).await;
}

#[tokio::test]
async fn a_thousand_calls_through_three_replicas_that_are_killed_lose_only_what_was_under_way_there() {
    for (together, sticky) in [(false, false), (true, true)] {
        let diary = Diary::new();
        let many = entry(&["--late", "3", "--diary", &diary.path()], &json!({"replicas": 3, "sticky": sticky}));
        let servers = [("many", many), ("well", fixture_entry(&[]))];
        let mut run = Running::start(together, &servers, &[]).await;
        let all = async {
            while run.processes().len() < 3 {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        within("three replicas", all).await;
        let (mut rng, mut answered, mut lost, mut kills) = (StdRng::seed_from_u64(7), 0, 0, 0);
        let (mut served_by, mut sent) = (BTreeSet::new(), 0);
        for round in 0..100_u64 {
            let mut open = Vec::new();
            for n in 0..10_u64 {
                let mark = format!("{round}.{n}");
                sent += 1;
                open.push((run.send("many", if n == 0 { "pid" } else { "echo" }, json!({"text": mark})).await, mark));
            }
            if round % 10 == 5 {
                let pids: Vec<i32> = run.processes().into_iter().collect();
                kill(pids[rng.random_range(0..pids.len())]);
                kills += 1;
            }
            for (id, mark) in open {
                let said = run.answer("many", id).await;
                match said["error"]["message"].as_str() {
                    None if text_of(&said) == mark => answered += 1,
                    None => {
                        served_by.insert(text_of(&said).parse::<i32>().unwrap());
                        answered += 1;
                    }
                    Some(why) => {
                        assert!(why.starts_with("not answered: server \"many\" was killed by signal 9"), "{why}");
                        lost += 1;
                    }
                }
            }
            run.sibling_is_well().await;
        }
        report(&format!(
            "1,000 calls, {kills} kills, sticky {sticky}: {answered} answered, {lost} lost, {} processes",
            served_by.len()
        ));
        assert_eq!((sent, answered + lost), (1000, 1000));
        let done = diary.done();
        let twice: Vec<_> = done.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "{twice:?}");
        assert!((answered..=1000).contains(&(done.len() as u64)), "{} done, {answered} answered", done.len());
        assert!(lost <= kills * 10, "only what was under way on the killed one");
        // Nothing of another round is left to come.
        assert!(run.conn("many").0.unanswered().is_empty());
        let (_, status) = run.server_status("many").await;
        assert_eq!(status["restarts"], kills, "{status:#}");
        run.stop().await;
    }
}

impl Running {
    /// The processes of the server of several.
    fn processes(&self) -> BTreeSet<i32> {
        let starts = self.daemon.log_lines().into_iter();
        let starts = starts
            .filter(|line| field(line, "event") == Some("SERVER_STARTED") && field(line, "server") == Some("many"));
        let pids: BTreeSet<i32> =
            starts.filter_map(|line| i32::try_from(line["fields"]["pid"].as_i64()?).ok()).collect();
        self.daemon.processes().into_keys().filter(|pid| pids.contains(pid)).collect()
    }
}

#[tokio::test]
async fn a_reload_has_more_of_them_or_fewer_and_another_server_stand_in_without_a_restart() {
    for together in [false, true] {
        let servers = [("many", fixture_entry(&[])), ("spare", fixture_entry(&[])), ("well", fixture_entry(&[]))];
        let mut run = Running::start(together, &servers, &[]).await;
        let (first, spare) = (run.pid("many").await, run.pid("spare").await);
        for wanted in [3, 5, 2] {
            let said = run.reload(|file| file["mcpServers"]["many"]["replicas"] = wanted.into()).await;
            assert!(said.contains("many is shared otherwise"), "{said}");
            let all = async {
                while run.processes().len() != wanted {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            };
            within(&format!("{wanted} replicas"), all).await;
            assert!(run.processes().contains(&first), "the first one goes on");
            run.sibling_is_well().await;
            run.pid("many").await;
        }
        if together {
            let said = run.reload(|file| file["mcpServers"]["many"]["fallback"] = "spare".into()).await;
            assert!(said.contains("spare is a fallback now, and shown nowhere"), "{said}");
            run.runtime.done(&["stop", "many"]).await;
            assert_eq!(run.pid("many").await, spare, "its process is the one that was");
            run.sibling_is_well().await;
        }
        run.stop().await;
    }
}

#[tokio::test]
async fn sticky_peers_keep_their_replica_until_that_is_killed() {
    let runtime = Runtime::new();
    let (mut endpoints, mut written) = (Vec::new(), serde_json::Map::new());
    for n in 0..4 {
        let endpoint = FakeEndpoint::with_token(&format!("t0ken-number-{n}")).await;
        written.insert(format!("e{n}"), json!({"url": endpoint.url()}));
        endpoints.push(endpoint);
    }
    let file = json!({"endpoints": written, "mcpServers": {"x": entry(&[], &json!({"replicas": 2, "sticky": true}))}});
    let daemon = runtime.setup().config(&file).start("debug");
    let mut conns = Vec::new();
    for endpoint in &endpoints {
        let mut conn = endpoint.accept().await;
        conn.handshake().await;
        conns.push(conn);
    }
    daemon.wait_for("both to answer", |line| field(line, "event") == Some("SERVER_WARM")).await;
    let both = async {
        while daemon.log_lines().iter().filter(|line| field(line, "event") == Some("SERVER_WARM")).count() < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    within("both to answer", both).await;
    async fn pid(conn: &mut Conn, id: u64) -> i32 {
        text_of(&conn.call(id, "pid", json!({})).await).parse().unwrap()
    }
    let mut seats = Vec::new();
    for conn in &mut conns {
        seats.push(pid(conn, 10).await);
    }
    assert_eq!(seats.iter().collect::<BTreeSet<_>>().len(), 2, "both have work");
    for round in 0..20 {
        for (conn, seat) in conns.iter_mut().zip(&seats) {
            assert_eq!(pid(conn, 20 + round).await, *seat);
        }
    }
    let dies = seats[0];
    kill(dies);
    daemon.wait_for("its end", |line| field(line, "event") == Some("SERVER_EXITED")).await;
    for (conn, seat) in conns.iter_mut().zip(&seats) {
        let now = pid(conn, 50).await;
        assert_eq!(now == *seat, *seat != dies, "whoever had another one keeps that");
        assert_eq!(pid(conn, 51).await, now);
    }
    daemon.stop_closing(&mut conns).await;
}
