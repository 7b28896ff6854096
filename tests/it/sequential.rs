//! `mode: sequential`: servers of one endpoint, one at a time. Turns are too long for a test; signals drive them.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::control::Runtime;
use crate::harness::{Conn, Daemon, FakeEndpoint, Setup, config, field, fixture, report, rounds, text_of, within};

/// An endpoint that accepts at any time, and panics if there are two connections at once.
struct Single {
    url: String,
    conns: mpsc::Receiver<Conn>,
    open: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Single {
    async fn bind() -> Self {
        let endpoint = FakeEndpoint::bind().await;
        let (url, open) = (endpoint.url(), Arc::new(AtomicBool::new(false)));
        let (sender, conns) = mpsc::channel(1);
        let is_open = Arc::clone(&open);
        let task = tokio::spawn(async move {
            loop {
                let conn = endpoint.accept_at_any_time().await;
                assert!(!is_open.swap(true, Ordering::SeqCst), "two connections at once");
                sender.send(conn).await.unwrap();
            }
        });
        Single { url, conns, open, task }
    }

    /// The next connection, initialised, and the name of the server behind it.
    async fn accept(&mut self) -> (Conn, String) {
        let conn = within("a connection", self.conns.recv()).await;
        let mut conn = conn.expect("the endpoint goes on; if not, it has said above why");
        let name = conn.initialize(0).await["result"]["serverInfo"]["name"].as_str().unwrap().to_owned();
        conn.send(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
        (conn, name)
    }

    /// A message of the connection; `None` once it was closed with 1000.
    async fn next(&self, conn: &mut Conn) -> Option<Value> {
        match conn.next().await {
            Ok(frame) => Some(frame),
            Err(close) => {
                self.open.store(false, Ordering::SeqCst);
                assert_eq!(close.map(|close| u16::from(close.code)), Some(1000));
                None
            }
        }
    }

    /// Waits for the connection's end, at which nothing is unanswered.
    async fn end(&self, mut conn: Conn) {
        while self.next(&mut conn).await.is_some() {}
        assert!(conn.unanswered().is_empty(), "lost: {:?}", conn.unanswered());
    }
}

impl Drop for Single {
    fn drop(&mut self) {
        assert!(
            std::thread::panicking() || !self.task.is_finished(),
            "the endpoint has panicked; it has said above why"
        );
        self.task.abort();
    }
}

/// A config with fixtures of these names, in turns on one endpoint. While there is a file of a server's name in
/// `gone`, the server can't be started.
fn in_turns(endpoint: &Single, gone: &TempDir, names: &[&str]) -> Value {
    let fixture = fixture();
    let servers = names.iter().map(|name| {
        let gone = gone.path().join(name);
        let line = format!("test ! -e '{}' && exec '{}' --name {name}", gone.display(), fixture.display());
        (*name, json!({"command": "sh", "args": ["-c", line], "env": {"WHO": name}}))
    });
    let mut config = config(servers);
    config["mode"] = "sequential".into();
    for name in names {
        config["mcpServers"][name]["endpoint"] = endpoint.url.clone().into();
    }
    config
}

async fn all_warm(daemon: &Daemon, names: &[&str]) {
    for name in names {
        let is_warm = |line: &Value| field(line, "event") == Some("SERVER_WARM") && field(line, "server") == Some(name);
        daemon.wait_for(&format!("{name} answers"), is_warm).await;
    }
}

/// How often an event of a server is in the log.
fn count(daemon: &Daemon, event: &str, server: &str) -> usize {
    let lines = daemon.log_lines();
    lines.iter().filter(|l| field(l, "event") == Some(event) && field(l, "server") == Some(server)).count()
}

async fn who(conn: &mut Conn, id: u64) -> String {
    text_of(&conn.call(id, "env", json!({"name": "WHO"})).await).to_owned()
}

/// A call as the endpoint makes it, and what has to come back.
#[derive(Clone)]
enum Call {
    Who,
    Sleep(u64),
}

impl Call {
    fn request(&self, id: u64) -> Value {
        let (name, arguments) = match self {
            Call::Who => ("env", json!({"name": "WHO"})),
            Call::Sleep(ms) => ("sleep", json!({"ms": ms})),
        };
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": name, "arguments": arguments}})
    }

    fn result(&self, server: &str) -> String {
        match self {
            Call::Who => server.to_owned(),
            Call::Sleep(ms) => format!("slept {ms} ms"),
        }
    }
}

fn is_refused(answer: &Value) -> bool {
    let error = &answer["error"];
    let refused = error["message"].as_str().is_some_and(|m| m.starts_with("the turn of server \""));
    assert_eq!(refused, error["code"] == -32000, "{answer}");
    refused
}

#[tokio::test]
async fn turns_with_calls_under_way_all_the_time_lose_none_of_them() {
    const SERVERS: [&str; 3] = ["a", "b", "c"];
    const LONG: Call = Call::Sleep(400);
    let (mut endpoint, gone) = (Single::bind().await, TempDir::new().unwrap());
    let daemon = Setup::new().config(&in_turns(&endpoint, &gone, &SERVERS)).start("debug");
    all_warm(&daemon, &SERVERS).await;
    let (mut id, mut calls, mut gaps) = (10u64, 0, Vec::new());
    let mut closed: Option<Instant> = None;
    // What was refused is asked again in the next turn.
    let mut again: Vec<Call> = Vec::new();
    for turn in 0..rounds() {
        let (mut conn, server) = endpoint.accept().await;
        assert_eq!(server, SERVERS[turn % 3]);
        gaps.extend(closed.map(|closed| conn.opened_at - closed));
        let mut open: Vec<(u64, Call)> = Vec::new();
        let (mut answered, mut refused) = (0, false);
        loop {
            // Four at a time, and one that is under way when the turn ends.
            while !refused && open.iter().filter(|(_, call)| call.result("") != LONG.result("")).count() < 4 {
                let other = if id % 2 == 0 { Call::Who } else { Call::Sleep(id % 30) };
                let call = again.pop().unwrap_or(other);
                conn.send(call.request(id)).await;
                open.push((id, call));
                id += 1;
            }
            let Some(answer) = endpoint.next(&mut conn).await else { break };
            let at = open.iter().position(|(id, _)| answer["id"] == *id).unwrap();
            let (_, call) = open.swap_remove(at);
            if is_refused(&answer) {
                refused = true;
                again.push(call);
                continue;
            }
            assert_eq!(text_of(&answer), call.result(&server));
            (answered, calls) = (answered + 1, calls + 1);
            match answered {
                5 => {
                    conn.send(LONG.request(id)).await;
                    open.push((id, LONG));
                    id += 1;
                }
                // At least one of these was sent after the long one, so that has been read.
                10 => daemon.signal(Signal::USR1),
                _ => {}
            }
        }
        assert!(open.is_empty(), "{} calls were lost in turn {turn}", open.len());
        assert!(refused, "there was always something under way");
        closed = conn.closed_at;
    }
    let (mut conn, server) = endpoint.accept().await;
    assert_eq!(who(&mut conn, 1).await, server);
    gaps.extend(closed.map(|closed| conn.opened_at - closed));
    gaps.sort();
    let (turns, median, longest) = (gaps.len(), gaps[gaps.len() / 2], gaps[gaps.len() - 1]);
    report(&format!(
        "{turns} turns, {calls} calls served, gaps between two servers: median {median:?}, longest {longest:?}"
    ));
    // The endpoint answers our close frame after it has noted the time, and mcp-pipe waits from that answer on.
    assert!(gaps[0] >= Duration::from_millis(250), "{:?}", gaps[0]);
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn an_endpoint_that_asks_on_although_the_turn_is_over_gets_an_answer_to_all_that_arrives() {
    let (mut endpoint, gone) = (Single::bind().await, TempDir::new().unwrap());
    let daemon = Setup::new().config(&in_turns(&endpoint, &gone, &["a", "b"])).start("debug");
    all_warm(&daemon, &["a", "b"]).await;
    let (mut conn, _) = endpoint.accept().await;
    daemon.signal(Signal::USR1);
    for id in 10..100_000 {
        conn.send(Call::Who.request(id)).await;
        let Some(answer) = endpoint.next(&mut conn).await else { break };
        if !is_refused(&answer) {
            assert_eq!(text_of(&answer), "a");
        }
    }
    daemon.wait_for_event("CONNECTION_CLOSED").await;
    // Sent while our close frame was on its way, perhaps. Nothing that was read is among it.
    let read = daemon.log_lines();
    let read = read.iter().filter(|line| field(line, "with") == Some("endpoint"));
    let read: Vec<&str> =
        read.filter(|l| field(l, "event") == Some("MESSAGE_RECEIVED")).filter_map(|l| field(l, "id")).collect();
    assert!(read.len() > 10);
    for id in conn.unanswered() {
        assert!(!read.contains(&id.as_str()), "{id} was read and not answered");
    }
    let (mut conn, server) = endpoint.accept().await;
    assert_eq!(server, "b");
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn a_server_that_crashes_in_its_turn_keeps_it_if_it_comes_back_and_loses_it_if_not() {
    let (mut endpoint, gone) = (Single::bind().await, TempDir::new().unwrap());
    let daemon = Setup::new().config(&in_turns(&endpoint, &gone, &["a", "b"])).start("debug");
    all_warm(&daemon, &["a", "b"]).await;
    let (mut conn, server) = endpoint.accept().await;
    assert_eq!(server, "a");
    // Of use: it is started again at once.
    assert_eq!(who(&mut conn, 1).await, "a");
    let answer = conn.call(2, "exit", json!({"code": 7})).await;
    assert_eq!(answer["error"]["code"], -32000, "{answer}");
    assert_eq!(who(&mut conn, 3).await, "a", "the same connection, and the same server");
    fs::write(gone.path().join("a"), "").unwrap();
    conn.call(4, "exit", json!({"code": 7})).await;
    endpoint.end(conn).await;
    let (mut conn, server) = endpoint.accept().await;
    assert_eq!((server.as_str(), who(&mut conn, 1).await.as_str()), ("b", "b"));
    daemon.stop_closing([&mut conn]).await;
}

const LONG_ENOUGH: Call = Call::Sleep(300);

#[tokio::test]
async fn a_waiting_server_that_crashes_disturbs_nobody_and_is_passed_over_while_it_is_away() {
    let (mut endpoint, gone) = (Single::bind().await, TempDir::new().unwrap());
    let daemon = Setup::new().config(&in_turns(&endpoint, &gone, &["a", "b", "c"])).start("debug");
    all_warm(&daemon, &["a", "b", "c"]).await;
    let (mut conn, _) = endpoint.accept().await;
    conn.send(LONG_ENOUGH.request(1)).await;
    fs::write(gone.path().join("b"), "").unwrap();
    let (b, _) = daemon.processes().into_iter().find(|(_, line)| line.ends_with("--name b ")).unwrap();
    kill_process(Pid::from_raw(b).unwrap(), Signal::KILL).unwrap();
    daemon.wait_for("b's end", |l| field(l, "event") == Some("SERVER_EXITED") && field(l, "server") == Some("b")).await;
    assert_eq!(text_of(&conn.answer_to(1).await), LONG_ENOUGH.result("a"));
    daemon.signal(Signal::USR1);
    endpoint.end(conn).await;
    let (conn, server) = endpoint.accept().await;
    assert_eq!(server, "c");
    // It is tried again and again, and has its turn once it is there.
    fs::remove_file(gone.path().join("b")).unwrap();
    let warm = count(&daemon, "SERVER_WARM", "b");
    within("b to be back", async {
        while count(&daemon, "SERVER_WARM", "b") == warm {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    daemon.signal(Signal::USR1);
    endpoint.end(conn).await;
    let (conn, server) = endpoint.accept().await;
    assert_eq!(server, "a");
    daemon.signal(Signal::USR1);
    endpoint.end(conn).await;
    let (mut conn, server) = endpoint.accept().await;
    assert_eq!((server.as_str(), who(&mut conn, 1).await.as_str()), ("b", "b"));
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn a_turn_ends_by_itself_unless_the_server_is_kept() {
    let (mut endpoint, gone) = (Single::bind().await, TempDir::new().unwrap());
    let mut config = in_turns(&endpoint, &gone, &["a", "b"]);
    config["turn"] = "10s".into();
    let daemon = Setup::new().config(&config).start("debug");
    let (conn, server) = endpoint.accept().await;
    assert_eq!(server, "a");
    let opened = conn.opened_at;
    endpoint.end(conn).await;
    assert!(opened.elapsed() >= Duration::from_secs(10));
    let (mut conn, server) = endpoint.accept().await;
    assert_eq!(server, "b");
    daemon.signal(Signal::USR2);
    daemon
        .wait_for("b is kept", |l| field(l, "server") == Some("b") && l.to_string().contains("is kept: its turn"))
        .await;
    assert!(timeout(Duration::from_secs(11), conn.next()).await.is_err(), "nothing happens");
    daemon.signal(Signal::USR2);
    endpoint.end(conn).await;
    let (mut conn, server) = endpoint.accept().await;
    assert_eq!(server, "a");
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn a_pinned_server_is_the_first_and_stays_until_it_is_skipped() {
    let (mut endpoint, gone) = (Single::bind().await, TempDir::new().unwrap());
    let mut config = in_turns(&endpoint, &gone, &["a", "b"]);
    config["turn"] = "10s".into();
    config["mcpServers"]["b"]["pin"] = true.into();
    let daemon = Setup::new().config(&config).start("debug");
    let (mut conn, server) = endpoint.accept().await;
    assert_eq!(server, "b");
    assert!(timeout(Duration::from_secs(11), conn.next()).await.is_err(), "nothing happens");
    all_warm(&daemon, &["a"]).await;
    daemon.signal(Signal::USR1);
    endpoint.end(conn).await;
    let (mut conn, server) = endpoint.accept().await;
    assert_eq!(server, "a");
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn each_turn_has_the_tools_that_its_server_publishes() {
    let (mut endpoint, gone) = (Single::bind().await, TempDir::new().unwrap());
    let mut config = in_turns(&endpoint, &gone, &["a", "b"]);
    config["mcpServers"]["b"]["tools"] = json!({"allow": ["env", "add"], "rename": {"env": "variable"}});
    let daemon = Setup::new().config(&config).start("debug");
    all_warm(&daemon, &["a", "b"]).await;
    let published = async |conn: &mut Conn| {
        conn.send(json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})).await;
        let list = conn.answer_to(1).await;
        let tools = list["result"]["tools"].as_array().unwrap().iter();
        tools.map(|tool| tool["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let (mut conn, _) = endpoint.accept().await;
    let tools = published(&mut conn).await;
    assert!(tools.starts_with(&["echo", "add", "sleep"].map(str::to_owned)), "{tools:?}");
    assert_eq!(who(&mut conn, 2).await, "a");
    daemon.signal(Signal::USR1);
    endpoint.end(conn).await;
    let (mut conn, _) = endpoint.accept().await;
    assert_eq!(published(&mut conn).await, ["add", "variable"]);
    assert_eq!(text_of(&conn.call(2, "variable", json!({"name": "WHO"})).await), "b");
    daemon.signal(Signal::USR1);
    endpoint.end(conn).await;
    let (mut conn, server) = endpoint.accept().await;
    assert_eq!((server.as_str(), who(&mut conn, 1).await.as_str()), ("a", "a"));
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn where_no_servers_take_turns_the_signals_are_harmless() {
    let endpoint = FakeEndpoint::bind().await;
    let daemon = Setup::new().config(&crate::harness::one_server(&endpoint, &[])).start("info");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    daemon.signal(Signal::USR1);
    daemon.signal(Signal::USR2);
    daemon.wait_for("a word about it", |l| l.to_string().contains("SIGUSR2: no servers take turns here")).await;
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn commands_give_a_server_the_turn_and_end_it_and_a_stopped_server_has_none() {
    let (mut endpoint, gone, runtime) = (Single::bind().await, TempDir::new().unwrap(), Runtime::new());
    let names = ["a", "b", "c"];
    let daemon = runtime.setup().config(&in_turns(&endpoint, &gone, &names)).start("debug");
    all_warm(&daemon, &names).await;
    let told = async |args: &[&str], words: &str| {
        let said = runtime.ask(args).await;
        assert!(said.code == 0 && said.out.contains(words), "{said:?}");
    };
    let (conn, server) = endpoint.accept().await;
    assert_eq!(server, "a");
    told(&["pin", "c"], "c: its turn begins as soon as nothing is under way, and does not end").await;
    endpoint.end(conn).await;
    let (conn, server) = endpoint.accept().await;
    assert_eq!(server, "c", "and not b, which would be next");
    told(&["pin", "c"], "c: is kept: its turn does not end").await;
    told(&["status", "c"], ", its turn, pinned; process ").await;
    told(&["status", "a"], ", waits for its turn; process ").await;
    told(&["next"], "c: its turn ends as soon as nothing is under way; it stays pinned").await;
    endpoint.end(conn).await;
    let (conn, server) = endpoint.accept().await;
    assert_eq!(server, "a");
    let status: Value = serde_json::from_str(&runtime.ask(&["status", "--json"]).await.out).unwrap();
    let shown = &status["endpoints"][0]["servers"];
    let turn = |n: usize| (shown[n]["turn"].clone(), shown[n]["pinned"].clone());
    assert_eq!([turn(0), turn(2)], [(json!("current"), json!(false)), (json!("waiting"), json!(true))]);
    told(&["pin", "c", "--off"], "c: is not kept").await;
    // Whoever has the turn is stopped: the next one has it at once.
    told(&["stop", "a"], "a: stopped").await;
    endpoint.end(conn).await;
    let (conn, server) = endpoint.accept().await;
    assert_eq!(server, "b");
    let said = runtime.ask(&["pin", "a"]).await;
    assert!(said.code == 1 && said.err.contains("a: is stopped, and gets no turn"), "{said:?}");
    told(&["next", "b"], "b: its turn ends").await;
    endpoint.end(conn).await;
    let (conn, server) = endpoint.accept().await;
    assert_eq!(server, "c");
    told(&["next"], "c: its turn ends").await;
    endpoint.end(conn).await;
    let (mut conn, server) = endpoint.accept().await;
    assert_eq!(server, "b", "the stopped one is passed over");
    told(&["stop", "c"], "c: stopped").await;
    let said = runtime.ask(&["next"]).await;
    assert!(said.code == 1 && said.err.contains("b: its turn goes on: no other server is ready"), "{said:?}");
    told(&["pause", "b"], "b: paused").await;
    let refused = conn.call(1, "env", json!({"name": "WHO"})).await;
    assert!(refused["error"]["message"].as_str().unwrap().contains("is paused"), "{refused}");
    told(&["resume", "b"], "b: serves").await;
    assert_eq!(who(&mut conn, 2).await, "b");
    told(&["start", "a"], "a: serves").await;
    told(&["next"], "b: its turn ends").await;
    endpoint.end(conn).await;
    let (mut conn, server) = endpoint.accept().await;
    assert_eq!((server.as_str(), who(&mut conn, 1).await.as_str()), ("a", "a"));
    daemon.stop_closing([&mut conn]).await;
}
