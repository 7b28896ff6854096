//! Commands that change a running mcp-pipe: `restart`, `stop`, `start`, `pause`, `resume`, `pin`, `next`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::control::{Asked, Runtime};
use crate::harness::{
    Conn, Daemon, FakeEndpoint, calculator_entry, config, everything, field, fixture, fixture_entry, multiplex, names,
    one_server, report, rounds, text_of, within,
};

/// The words with which a call is answered at once.
fn error_of(answer: &Value) -> &str {
    answer["error"]["message"].as_str().unwrap_or_else(|| panic!("no error: {answer}"))
}

impl Runtime {
    /// Gives an order that is carried out.
    pub(crate) async fn done(&self, args: &[&str]) -> String {
        let said = self.ask(args).await;
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{args:?}: {said:?}");
        said.out
    }

    /// Gives an order that is not.
    pub(crate) async fn not_done(&self, code: i32, args: &[&str]) -> String {
        let said = self.ask(args).await;
        assert_eq!((said.code, said.out.as_str()), (code, ""), "{args:?}: {said:?}");
        said.err
    }
}

/// The processes of the servers whose command line has this.
fn pids(daemon: &Daemon, part: &str) -> Vec<i32> {
    let own = daemon.pid().as_raw_nonzero().get();
    let processes = daemon.processes().into_iter();
    processes.filter(|(pid, line)| *pid != own && line.contains(part)).map(|(pid, _)| pid).collect()
}

async fn one_fixture(flags: &[&str]) -> (Runtime, FakeEndpoint, Daemon, Conn) {
    let (runtime, endpoint) = (Runtime::new(), FakeEndpoint::bind().await);
    let daemon = runtime.setup().config(&one_server(&endpoint, flags)).start("info");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    (runtime, endpoint, daemon, conn)
}

async fn pid(conn: &mut Conn, id: u64) -> i32 {
    text_of(&conn.call(id, "pid", json!({})).await).parse().unwrap()
}

#[tokio::test]
async fn a_restarted_server_is_another_process_and_its_connection_stands() {
    let (runtime, endpoint, daemon, mut conn) = one_fixture(&[]).await;
    let before = pid(&mut conn, 10).await;
    conn.send_call(11, "sleep", json!({"ms": 60_000})).await;
    assert_eq!(runtime.done(&["restart", "x"]).await, "x: restarted, serves again\n");
    let lost = conn.answer_to(11).await;
    assert_eq!(error_of(&lost), "not answered: server \"x\" is being restarted");
    let after = pid(&mut conn, 12).await;
    assert_ne!(before, after);
    assert_eq!(pids(&daemon, "fixture"), [after]);
    assert_eq!(endpoint.accepted(), 1, "the same connection");
    assert!(
        !conn.others.iter().any(|frame| frame["method"] == "notifications/tools/list_changed"),
        "nothing is announced"
    );
    // Two at once are one or two restarts, and both come to an end.
    let (one, other) = tokio::join!(runtime.ask(&["restart", "x"]), runtime.ask(&["restart", "x"]));
    assert_eq!((one.code, other.code), (0, 0), "{one:?} {other:?}");
    let last = pid(&mut conn, 13).await;
    assert_ne!(last, after);
    assert_eq!(pids(&daemon, "fixture"), [last]);
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn calls_to_a_stopped_server_say_so_at_once_and_name_the_command_that_brings_it_back() {
    let (runtime, _endpoint, daemon, mut conn) = one_fixture(&[]).await;
    conn.send_call(10, "sleep", json!({"ms": 60_000})).await;
    assert_eq!(pid(&mut conn, 11).await, pids(&daemon, "fixture")[0]);
    assert_eq!(runtime.done(&["stop", "x"]).await, "x: stopped\n");
    assert!(error_of(&conn.answer_to(10).await).contains("not answered: server \"x\" was stopped by command"));
    assert!(pids(&daemon, "fixture").is_empty());
    let asked = Instant::now();
    let said = conn.call(12, "echo", json!({"text": "hi"})).await;
    assert_eq!(error_of(&said), "server \"x\" was stopped by command; mcp-pipe start x brings it back");
    assert!(asked.elapsed() < Duration::from_secs(5), "it was waited for");
    let status = runtime.ask(&["status"]).await;
    assert!(
        status.code == 0 && status.out.starts_with("x: stopped by command; 2 calls, 1 with an error, "),
        "{status:?}"
    );
    assert_eq!(runtime.ask(&["health"]).await.code, 0, "all is as it is wanted");
    assert_eq!(runtime.done(&["stop", "x"]).await, "x: stopped\n", "twice is once");
    // No backoff starts it.
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(pids(&daemon, "fixture").is_empty());
    assert_eq!(runtime.done(&["start", "x"]).await, "x: serves\n");
    assert_eq!(runtime.done(&["start", "x"]).await, "x: serves\n", "twice is once");
    assert_eq!(text_of(&conn.call(13, "echo", json!({"text": "hi"})).await), "hi");
    assert_eq!(pids(&daemon, "fixture").len(), 1);
    assert!(conn.others.is_empty(), "nothing is announced: {:?}", conn.others);
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn an_endpoint_whose_only_server_is_stopped_keeps_its_connection_and_is_not_dialled_once_that_has_ended() {
    let (runtime, endpoint, daemon, mut conn) = one_fixture(&[]).await;
    runtime.done(&["stop", "x"]).await;
    assert!(error_of(&conn.call(10, "echo", json!({"text": "hi"})).await).contains("mcp-pipe start x"));
    let status = runtime.ask(&["status"]).await;
    assert!(status.code == 0 && status.out.contains(": connected for "), "{status:?}");
    // As an endpoint does that reads the lists once more and gets an error.
    conn.send(json!({"jsonrpc": "2.0", "id": 11, "method": "tools/list"})).await;
    assert!(error_of(&conn.answer_to(11).await).contains("mcp-pipe start x"));
    conn.close_saying(4004, "internal error").await;
    let rests = daemon.wait_for_event("CONNECTION_RESTS").await.to_string();
    assert!(rests.contains("not dialled before its server is started"), "{rests}");
    let status = runtime.ask(&["status"]).await;
    assert!(
        status.code == 0 && status.out.contains(": not dialled while its servers are stopped by command; serves x\n"),
        "{status:?}"
    );
    assert!(!status.out.contains("error ") && !status.out.contains("warning "), "no fault: {status:?}");
    assert_eq!(runtime.ask(&["health"]).await.code, 0);
    assert!(!daemon.log_text().contains("reconnecting in"), "{}", daemon.log_text());
    let said = runtime.not_done(1, &["restart", "x", "--connection"]).await;
    assert!(said.contains("was stopped by command: mcp-pipe start x, and it is dialled"), "{said}");
    runtime.done(&["stop", "x"]).await;
    assert_eq!(endpoint.accepted(), 1);
    runtime.done(&["start", "x"]).await;
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    assert_eq!(text_of(&conn.call(20, "echo", json!({"text": "hi"})).await), "hi");
    assert_eq!(endpoint.accepted(), 2);
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn an_endpoint_that_waits_for_its_next_attempt_waits_for_the_start_of_its_servers_once_all_are_stopped() {
    let runtime = Runtime::new();
    let servers = json!({"one": fixture_entry(&["--name", "one"]), "other": fixture_entry(&["--name", "other"])});
    // Nothing listens there.
    let config = json!({"endpoint": "ws://127.0.0.1:1/mcp?token=t0ken", "mode": "multiplex", "mcpServers": servers});
    let daemon = runtime.setup().config(&config).start("info");
    daemon.wait_for_event("ERROR_CONNECT").await;
    runtime.done(&["stop", "one"]).await;
    let status = runtime.ask(&["status"]).await;
    assert!(status.code == 1 && status.out.contains("error endpoint-refused"), "the other one is wanted: {status:?}");
    runtime.done(&["stop", "other"]).await;
    daemon.wait_for_event("CONNECTION_RESTS").await;
    let status = runtime.ask(&["status"]).await;
    assert!(status.code == 0 && status.out.contains("not dialled while its servers are stopped"), "{status:?}");
    assert_eq!(runtime.ask(&["health"]).await.code, 0);
    runtime.done(&["start", "one"]).await;
    let dialled = async { while !runtime.ask(&["status"]).await.out.contains("error endpoint-refused") {} };
    within("the dial", dialled).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_paused_server_runs_stays_listed_and_finishes_what_is_under_way() {
    let (runtime, _endpoint, daemon, mut conn) = one_fixture(&[]).await;
    let before = pid(&mut conn, 10).await;
    let go = daemon.path().join("go");
    conn.send_call(11, "sleep", json!({"ms": 1, "until": go})).await;
    assert_eq!(pid(&mut conn, 12).await, before);
    assert_eq!(runtime.done(&["pause", "x"]).await, "x: paused, takes no calls\n");
    let said = conn.call(13, "echo", json!({"text": "hi"})).await;
    assert_eq!(error_of(&said), "server \"x\" is paused and takes no calls; mcp-pipe resume x lets it go on");
    fs::write(&go, "").unwrap();
    assert_eq!(text_of(&conn.answer_to(11).await), "slept 1 ms");
    conn.send(json!({"jsonrpc": "2.0", "id": 14, "method": "tools/list"})).await;
    assert_eq!(names(&conn.answer_to(14).await).len(), 9);
    let status = runtime.ask(&["status"]).await;
    assert!(status.code == 0 && status.out.starts_with("x: paused (takes no calls), serving for "), "{status:?}");
    assert_eq!(runtime.done(&["resume", "x"]).await, "x: serves\n");
    assert_eq!(pid(&mut conn, 15).await, before, "the same process");
    // A crash changes nothing about that: it is started again, and takes no calls.
    runtime.done(&["pause", "x"]).await;
    kill_process(Pid::from_raw(before).unwrap(), Signal::KILL).unwrap();
    let back = async { while pids(&daemon, "fixture").iter().all(|pid| *pid == before) {} };
    within("another process", async {
        tokio::task::yield_now().await;
        back.await
    })
    .await;
    assert!(error_of(&conn.call(16, "echo", json!({"text": "hi"})).await).contains("is paused"));
    // What is paused can be stopped, and what is stopped be paused.
    runtime.done(&["stop", "x"]).await;
    assert!(error_of(&conn.call(17, "echo", json!({"text": "hi"})).await).contains("was stopped"));
    runtime.done(&["pause", "x"]).await;
    assert!(error_of(&conn.call(18, "echo", json!({"text": "hi"})).await).contains("is paused"));
    assert_eq!(runtime.done(&["resume", "x"]).await, "x: serves\n");
    assert_eq!(text_of(&conn.call(19, "echo", json!({"text": "hi"})).await), "hi");
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn servers_on_one_connection_are_ordered_about_one_by_one() {
    let (runtime, endpoint) = (Runtime::new(), FakeEndpoint::bind().await);
    let servers = [("one", fixture_entry(&[])), ("other", calculator_entry())];
    let daemon = runtime.setup().config(&multiplex(&endpoint, servers)).start("info");
    let mut conn = endpoint.accept().await;
    let before = names(&conn.handshake().await).len();
    runtime.done(&["stop", "one"]).await;
    assert!(
        error_of(&conn.call(10, "echo", json!({"text": "hi"})).await).ends_with("; mcp-pipe start one brings it back")
    );
    assert_eq!(text_of(&conn.call(11, "evaluate", json!({"expression": "6*7"})).await), "42");
    conn.send(json!({"jsonrpc": "2.0", "id": 12, "method": "tools/list"})).await;
    assert_eq!(names(&conn.answer_to(12).await).len(), before, "its tools stay listed");
    let status = runtime.ask(&["status"]).await;
    assert!(status.code == 0 && status.out.starts_with("one: stopped by command\n"), "{status:?}");
    runtime.done(&["restart", "other"]).await;
    runtime.done(&["restart", "one"]).await;
    assert_eq!(text_of(&conn.call(13, "echo", json!({"text": "hi"})).await), "hi");
    assert!(conn.others.is_empty(), "nothing is announced: {:?}", conn.others);
    assert_eq!(endpoint.accepted(), 1);
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn a_server_that_does_not_come_back_is_told_with_the_reason_and_started_at_once_when_it_can_be() {
    let (runtime, endpoint, gone) = (Runtime::new(), FakeEndpoint::bind().await, TempDir::new().unwrap());
    let flag = gone.path().join("gone");
    let line = format!("test ! -e '{}' && exec '{}'", flag.display(), fixture().display());
    let mut config = config([("x", json!({"command": "sh", "args": ["-c", line]}))]);
    config["mcpServers"]["x"]["endpoint"] = endpoint.url().into();
    let daemon = runtime.setup().config(&config).start("info");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    fs::write(&flag, "").unwrap();
    let said = runtime.not_done(1, &["restart", "x"]).await;
    assert!(said.contains("x: exited with code 1; further attempts follow by themselves"), "{said}");
    // In a crash loop the waits grow, and a command does not wait for them.
    for _ in 0..8 {
        let said = runtime.not_done(1, &["start", "x"]).await;
        assert!(said.contains("exited with code 1"), "{said}");
    }
    fs::remove_file(&flag).unwrap();
    runtime.done(&["start", "x"]).await;
    assert_eq!(text_of(&conn.call(10, "echo", json!({"text": "hi"})).await), "hi");
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn one_that_refuses_or_is_mute_is_told_and_the_wait_for_it_is_bounded() {
    let (runtime, endpoint) = (Runtime::new(), FakeEndpoint::bind().await);
    let mut config = multiplex(
        &endpoint,
        [
            ("fine", fixture_entry(&[])),
            ("rude", fixture_entry(&["--refuse", "no licence"])),
            ("mute", fixture_entry(&["--silent"])),
        ],
    );
    config["mcpServers"]["mute"]["startTimeout"] = "1s".into();
    let daemon = runtime.setup().config(&config).start("info");
    let mut conn = endpoint.accept().await;
    let said = runtime.not_done(1, &["restart", "rude"]).await;
    assert!(said.contains("rude: refused to initialize: no licence"), "{said}");
    let said = runtime.not_done(1, &["restart", "mute"]).await;
    assert!(said.contains("mute: has not answered initialize within 11.0 s"), "{said}");
    assert!(said.starts_with("mcp-pipe: waiting for mute to serve again: 2 of 11 s at most\n"), "{said}");
    assert_eq!(said.matches("waiting for").count(), 1, "whoever reads a pipe is told once: {said}");
    let lines = daemon.log_lines();
    let told = |event: &str| lines.iter().filter(|line| field(line, "event") == Some(event)).count();
    assert_eq!(told("ERROR_START_TIMEOUT"), 2, "its new start is told like the first");
    assert!(lines.iter().any(|line| line.to_string().contains("and at once by mcp-pipe restart rude")));
    let status = runtime.ask(&["status", "mute"]).await;
    assert!(status.out.contains("server-not-ready"), "{status:?}");
    // A stop during a start, a start of what is starting, and a client that does not wait for the end.
    let (start, stop) = tokio::join!(runtime.ask(&["start", "mute"]), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        runtime.ask(&["stop", "mute"]).await
    });
    assert_eq!((start.code, stop.code), (1, 0), "{start:?} {stop:?}");
    assert!(start.err.contains("another command came in between; now it is wanted stopped"), "{start:?}");
    assert!(pids(&daemon, "--silent").is_empty());
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn a_server_that_dies_again_is_told_with_what_it_said_last() {
    let runtime = Runtime::new();
    let entry = json!({"command": "sh", "args": ["-c", "echo no API key >&2; exit 1"]});
    let daemon = runtime.setup().config(&config([("x", entry)])).args(["--local"]).start("info");
    daemon.wait_for_event("SERVER_EXITED").await;
    runtime.until_one_listens(&daemon).await;
    for _ in 0..2 {
        let said = runtime.not_done(1, &["restart", "x"]).await;
        assert!(said.contains("x: exited with code 1"), "{said}");
        assert!(said.contains("; the last lines of its stderr: no API key; further attempts follow"), "{said}");
    }
    daemon.stop().await;
}

#[tokio::test]
async fn names_that_nobody_has_are_told_with_what_was_meant_and_without_a_daemon_it_is_code_three() {
    let runtime = Runtime::new();
    for command in ["restart", "stop", "start", "pause", "resume", "pin"] {
        assert_eq!(runtime.ask(&[command, "x"]).await.code, 3, "{command}");
    }
    assert_eq!(runtime.ask(&["next"]).await.code, 3);
    let daemon = runtime.local("calculator", "info").await;
    for command in ["restart", "stop", "start", "pause", "resume", "pin", "next", "status", "logs"] {
        let said = runtime.not_done(2, &[command, "calulator"]).await;
        let what = match command {
            "next" => "endpoint",
            "restart" | "status" => "server or endpoint",
            _ => "server",
        };
        let told = format!("no {what} here is called \"calulator\"; did you mean calculator?");
        assert!(said.contains(&told), "{command}: {said}");
    }
    let said = runtime.not_done(1, &["next"]).await;
    assert!(said.contains("no servers take turns here"), "{said}");
    for command in ["pin", "next"] {
        let said = runtime.not_done(1, &[command, "calculator"]).await;
        assert!(said.contains("calculator takes no turns; \"mode\": \"sequential\""), "{said}");
    }
    let other = runtime.local("other", "info").await;
    assert_eq!(runtime.ask(&["restart", "calculator"]).await.code, 2, "several run");
    other.stop().await;
    daemon.stop().await;
}

#[tokio::test]
async fn an_endpoint_is_dialled_at_once_and_its_backoff_forgotten() {
    let (runtime, endpoint) = (Runtime::new(), FakeEndpoint::bind().await);
    let mut config = one_server(&endpoint, &[]);
    config["maxBackoff"] = "10m".into();
    let daemon = runtime.setup().config(&config).start("info");
    // Who is told to come in ten minutes does so.
    let later = "HTTP/1.1 503 Later\r\nRetry-After: 600\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    endpoint.answer(later).await;
    daemon.wait_for_event("ERROR_CONNECT").await;
    let json: Value = serde_json::from_str(&runtime.ask(&["status", "--json"]).await.out).unwrap();
    let shown = json["endpoints"][0]["address"].as_str().unwrap().to_owned();
    assert!(shown.starts_with("ws://127.0.0.1:") && !shown.contains("t0ken"), "{shown}");
    for name in [&["restart", &*shown][..], &["restart", "x", "--connection"], &["restart", &endpoint.url()]] {
        let (said, ()) = tokio::join!(runtime.not_done(1, name), endpoint.answer(later));
        assert!(said.contains("x: not connected: ") && said.contains("503"), "{said}");
        assert!(!said.contains("t0ken"), "{said}");
    }
    let accepted = async {
        let mut conn = endpoint.accept().await;
        conn.handshake().await;
        conn
    };
    let (said, mut conn) = tokio::join!(runtime.done(&["restart", "x", "--connection"]), accepted);
    assert_eq!(said, "x: connected anew\n");
    let before = pid(&mut conn, 10).await;
    // One that stands is closed in order and made anew; the server goes on.
    let again = async {
        let close = conn.wait_for_close().await.expect("a close frame");
        assert_eq!(u16::from(close.code), 1000);
        let mut conn = endpoint.accept().await;
        conn.handshake().await;
        conn
    };
    let restart = ["restart", &*shown];
    let (said, mut conn) = tokio::join!(runtime.done(&restart), again);
    assert_eq!(said, "x: connected anew\n");
    assert_eq!(pid(&mut conn, 10).await, before);
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn what_a_process_says_while_it_is_ended_reaches_nobody() {
    let (runtime, endpoint) = (Runtime::new(), FakeEndpoint::bind().await);
    let last = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "bye"}});
    let line = format!("'{}'; echo '{last}'", fixture().display());
    let mut config = config([("x", json!({"command": "sh", "args": ["-c", line]}))]);
    config["mcpServers"]["x"]["endpoint"] = endpoint.url().into();
    let daemon = runtime.setup().config(&config).start("info");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    for order in ["restart", "stop", "start"] {
        runtime.done(&[order, "x"]).await;
    }
    assert_eq!(text_of(&conn.call(10, "echo", json!({"text": "hi"})).await), "hi");
    assert!(conn.others.is_empty(), "{:?}", conn.others);
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn who_leaves_takes_nothing_back_and_its_place_is_free_again() {
    let (runtime, endpoint) = (Runtime::new(), FakeEndpoint::bind().await);
    let mut config = multiplex(&endpoint, [("fine", fixture_entry(&[])), ("mute", fixture_entry(&["--silent"]))]);
    config["mcpServers"]["mute"]["startTimeout"] = "1s".into();
    let daemon = runtime.setup().config(&config).start("info");
    let mut conn = endpoint.accept().await;
    let socket = runtime.sockets().remove(0);
    for _ in 0..40 {
        let mut stream = UnixStream::connect(&socket).await.unwrap();
        stream.write_all(b"{\"ask\":\"order\",\"order\":\"restart\",\"name\":\"mute\"}\n").await.unwrap();
        let mut given = [0; 9];
        within("an answer", stream.read_exact(&mut given)).await.unwrap();
        assert_eq!(&given, b"{\"given\":");
    }
    let began = Instant::now();
    assert_eq!(runtime.done(&["pause", "mute"]).await, "mute: paused, takes no calls\n");
    assert!(began.elapsed() < Duration::from_secs(5), "their places are taken");
    let orders = daemon.log_lines().iter().filter(|line| field(line, "event") == Some("COMMAND")).count();
    assert_eq!(orders, 41);
    within("one process", async {
        while pids(&daemon, "--silent").len() != 1 {
            tokio::time::sleep(Duration::from_millis(20)).await
        }
    })
    .await;
    let said = runtime.not_done(2, &["restart", "wss://host/path?token=0123456789abcdef0123"]).await;
    assert!(!said.contains("0123456789"), "{said}");
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn endpoints_that_look_alike_are_named_by_a_server() {
    let runtime = Runtime::new();
    let (one, other) = (FakeEndpoint::bind().await, FakeEndpoint::bind().await);
    let mut config = config([("a", fixture_entry(&[])), ("b", fixture_entry(&[]))]);
    config["mcpServers"]["a"]["endpoint"] = one.url().into();
    config["mcpServers"]["b"]["endpoint"] = format!("{}-other", one.url()).into();
    drop(other);
    let daemon = runtime.setup().config(&config).start("info");
    daemon.wait_for("both dialled", |line| field(line, "event") == Some("SERVER_INITIALIZED")).await;
    let shown = one.url().split_once("?").unwrap().0.to_owned();
    let said = runtime.not_done(2, &["restart", &shown]).await;
    assert!(
        said.contains("several endpoints look like that; call the one that is meant by a server on it: a, b"),
        "{said}"
    );
    daemon.stop().await;
}

#[tokio::test]
async fn what_is_no_server_or_no_endpoint_is_told_as_what_it_is() {
    let (runtime, kitchen) = (Runtime::new(), FakeEndpoint::bind().await);
    let urls = json!({"kitchen": {"url": kitchen.url(), "servers": ["a"]}});
    let servers = json!({"a": fixture_entry(&[]), "lost": fixture_entry(&[])});
    let config = json!({"endpoints": urls, "mcpServers": servers});
    let daemon = runtime.setup().config(&config).start("info");
    let mut conn = kitchen.accept().await;
    conn.handshake().await;
    for command in ["stop", "start", "pause", "resume", "pin", "logs"] {
        let said = runtime.not_done(2, &[command, "kitchen"]).await;
        assert!(said.contains("kitchen is an endpoint, and this takes a server; there are: a\n"), "{command}: {said}");
        let said = runtime.not_done(2, &[command, "lost"]).await;
        assert!(said.contains("lost is shown by no endpoint, so this mcp-pipe does not run it"), "{command}: {said}");
    }
    let (said, _conn) = tokio::join!(runtime.done(&["restart", "a", "--connection"]), kitchen.accept());
    assert_eq!(said, "kitchen/a: connected anew\n");
    let said = runtime.not_done(2, &["next", "kitchem"]).await;
    assert!(
        said.contains("no endpoint here is called \"kitchem\"; did you mean kitchen? there are: kitchen\n"),
        "{said}"
    );
    let found = runtime.ask(&["status", "kitchen/a"]).await;
    assert!(found.out.starts_with("a: "), "{found:?}");
    daemon.stop().await;
}

#[tokio::test]
async fn an_endpoint_with_a_name_is_found_by_its_address_too() {
    let (runtime, kitchen, office) = (Runtime::new(), FakeEndpoint::bind().await, FakeEndpoint::bind().await);
    let urls = json!({"kitchen": {"url": kitchen.url()}, "office": {"url": office.url()}});
    let config = json!({"endpoints": urls, "mode": "multiplex", "mcpServers": {"a": fixture_entry(&[])}});
    let daemon = runtime.setup().config(&config).start("info");
    let (mut at_kitchen, mut at_office) = (kitchen.accept().await, office.accept().await);
    at_kitchen.handshake().await;
    at_office.handshake().await;
    let status: Value = serde_json::from_str(&runtime.ask(&["status", "--json"]).await.out).unwrap();
    let shown = status["endpoints"][0]["address"].as_str().unwrap().to_owned();
    for address in [&*shown, shown.split_once('?').unwrap().0, &kitchen.url()] {
        let order = ["restart", address];
        let (said, again) = tokio::join!(runtime.ask(&order), async {
            at_kitchen.wait_for_close().await;
            let mut conn = kitchen.accept().await;
            conn.handshake().await;
            conn
        });
        assert!(said.code == 0 && said.out.contains("kitchen/a: connected anew"), "{address}: {said:?}");
        at_kitchen = again;
    }
    assert_eq!((office.accepted(), kitchen.accepted()), (1, 4));
    // By the server's name all of its connections are meant.
    let again = async {
        at_kitchen.wait_for_close().await;
        at_office.wait_for_close().await;
        let mut conns = [kitchen.accept().await, office.accept().await];
        for conn in &mut conns {
            conn.handshake().await;
        }
        conns
    };
    let (said, mut conns) = tokio::join!(runtime.done(&["restart", "a", "--connection"]), again);
    assert_eq!(said, "a: connected anew\n");
    daemon.stop_closing(&mut conns).await;
}

#[tokio::test]
async fn orders_during_a_stop_are_refused_and_a_stopped_server_needs_no_time_to_end() {
    let (runtime, _endpoint, daemon, mut conn) = one_fixture(&[]).await;
    runtime.done(&["stop", "x"]).await;
    daemon.stop_closing([&mut conn]).await;
    let (runtime, _endpoint, mut daemon, mut conn) = one_fixture(&[]).await;
    let go = daemon.path().join("go");
    conn.send_call(10, "sleep", json!({"ms": 1, "until": go})).await;
    pid(&mut conn, 11).await;
    daemon.signal(Signal::TERM);
    daemon.wait_for_event("STOPPING").await;
    let said = runtime.not_done(1, &["restart", "x"]).await;
    assert!(said.contains("mcp-pipe is stopping"), "{said}");
    let status = runtime.ask(&["status"]).await;
    assert!(status.out.starts_with("mcp-pipe is stopping\nx: serving"), "{status:?}");
    let status: Value = serde_json::from_str(&runtime.ask(&["status", "--json"]).await.out).unwrap();
    assert_eq!(status["stopping"], true);
    fs::write(&go, "").unwrap();
    assert_eq!(text_of(&conn.answer_to(10).await), "slept 1 ms");
    conn.wait_for_close().await;
    assert!(daemon.exit().await.success());
}

/// An entry whose processes note, each for itself, where another one of the same server is still there.
fn lonely(name: &str, dir: &Path, mut entry: Value) -> Value {
    let (lock, doubles) = (dir.join(format!("{name}.lock")), dir.join("doubles"));
    let command = entry["command"].as_str().unwrap();
    let args = entry["args"].as_array().unwrap().iter().map(|arg| format!(" '{}'", arg.as_str().unwrap()));
    let line = format!(
        "exec 9>'{}'; flock -n 9 || echo {name} >>'{}'; exec '{command}'{}",
        lock.display(),
        doubles.display(),
        args.collect::<String>()
    );
    (entry["command"], entry["args"]) = ("sh".into(), json!(["-c", line]));
    entry
}

/// How many random orders: few by default, as each waits for real processes.
fn how_many() -> usize {
    std::env::var("MCP_PIPE_TEST_ORDERS").map_or_else(|_| 6 * rounds(), |orders| orders.parse().unwrap())
}

#[tokio::test]
async fn whatever_four_clients_order_at_once_the_last_word_counts_and_no_server_runs_twice() {
    // Each with a part of its command line.
    let mut all =
        vec![("one", "--name one "), ("two", "--name two "), ("three", "--name three "), ("four", "calculator.py")];
    const ORDERS: [&str; 6] = ["start", "stop", "restart", "pause", "resume", "reload"];
    let (runtime, dir, endpoint) = (Runtime::new(), TempDir::new().unwrap(), FakeEndpoint::bind().await);
    let fixture = |name: &str, more: &[&str]| fixture_entry(&[&["--name", name], more].concat());
    let mut servers = vec![
        ("one", fixture("one", &[])),
        ("two", fixture("two", &["--slow-start", "30"])),
        // Ends by TERM only.
        ("three", fixture("three", &["--grandchild"])),
        ("four", calculator_entry()),
    ];
    if let Some(entry) = everything() {
        servers.push(("five", entry));
        all.push(("five", "mcp-server-everything"));
    }
    let servers = servers.into_iter().map(|(name, entry)| (name, lonely(name, dir.path(), entry)));
    let config = multiplex(&endpoint, servers);
    let daemon = runtime.setup().config(&config).start("info");
    let file = daemon.path().join("mcp_config.json");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    let total = how_many();
    let begun = Instant::now();
    let client = async |seed: u64| {
        let mut random = StdRng::seed_from_u64(seed);
        let mut codes = BTreeMap::new();
        for _ in 0..total / 4 {
            let order = ORDERS[random.random_range(0..ORDERS.len())];
            // The last one takes a second for each start.
            let (server, _) = all[(random.random_range(0..13) / 3).min(all.len() - 1)];
            let said: Asked = if order == "reload" {
                // Another process of this server, if it is to run.
                let (mut config, new) = (config.clone(), file.with_extension(seed.to_string()));
                config["mcpServers"][server]["env"] = json!({"N": random.random_range(0..9).to_string()});
                fs::write(&new, config.to_string()).unwrap();
                fs::rename(&new, &file).unwrap();
                runtime.ask(&[order]).await
            } else {
                runtime.ask(&[order, server]).await
            };
            // What another client took back is told; nothing else may go wrong.
            assert!(
                said.code == 0 || said.code == 1 && said.err.contains("another command came in between"),
                "{said:?}"
            );
            *codes.entry(said.code).or_insert(0) += 1;
        }
        codes
    };
    let calls = async {
        // Calls all the while, each of which gets one answer (which `Conn` checks).
        let mut answered = BTreeMap::new();
        for id in 1000..1000 + total as u64 * 2 {
            let tool = format!("{}__echo", ["one", "two", "three"][id as usize % 3]);
            let answer = conn.call(id, &tool, json!({"text": "hi"})).await;
            if answer["error"].is_object() {
                let told = ["by command", "is paused", "is being restarted"];
                assert!(told.iter().any(|words| error_of(&answer).contains(words)), "{answer}");
            }
            *answered.entry(answer["error"].is_null()).or_insert(0) += 1;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        answered
    };
    let (a, b, c, d, answered) = tokio::join!(client(1), client(2), client(3), client(4), calls);
    report(&format!(
        "{total} orders in {:?}: {:?}; calls served and refused: {answered:?}",
        begun.elapsed(),
        [a, b, c, d]
    ));
    // The last word about each server, as the daemon has heard it.
    let mut last = BTreeMap::new();
    for line in daemon.log_lines().iter().filter(|line| field(line, "event") == Some("COMMAND")) {
        last.insert(field(line, "server").unwrap().to_owned(), field(line, "wanted").unwrap().to_lowercase());
    }
    let settled = async {
        while runtime.ask(&["status"]).await.code != 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within("all to be as it is wanted", settled).await;
    let status: Value = serde_json::from_str(&runtime.ask(&["status", "--json"]).await.out).unwrap();
    for (server, (name, part)) in status["servers"].as_array().unwrap().iter().zip(&all) {
        let wanted = last.get(*name).map_or("running", String::as_str);
        assert_eq!((&server["name"], &server["wanted"]), (&json!(name), &json!(wanted)), "{status:#}");
        let there = pids(&daemon, part);
        match (wanted, *name) {
            ("stopped", _) => assert!(there.is_empty(), "{name}: {there:?}"),
            // A launcher, a shell and the server itself.
            (_, "five") => assert!(!there.is_empty(), "{name} is gone"),
            _ => assert_eq!(there.len(), 1, "{name}: {there:?}"),
        }
    }
    let doubles = fs::read_to_string(dir.path().join("doubles")).unwrap_or_default();
    assert_eq!(doubles, "", "two processes of one server");
    for (server, _) in &all {
        runtime.done(&["stop", server]).await;
    }
    let own = daemon.pid().as_raw_nonzero().get();
    let left: Vec<_> =
        daemon.processes().into_iter().filter(|(pid, line)| *pid != own && !line.contains("mcp-pipe")).collect();
    assert!(left.is_empty(), "left running: {left:?}");
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn a_server_that_is_stopped_while_it_starts_is_said_to_be_stopped_and_not_to_be_slow() {
    let runtime = Runtime::new();
    let mut entry = fixture_entry(&["--silent"]);
    entry["startTimeout"] = "1s".into();
    let daemon = runtime.setup().config(&config([("x", entry)])).args(["--local"]).start("info");
    daemon.wait_for_event("CONNECTION_OPENED").await;
    assert_eq!(runtime.done(&["stop", "x"]).await, "x: stopped\n");
    let closed = daemon.wait_for_event("CONNECTION_CLOSED").await.to_string();
    let want = "because server x was stopped by command; mcp-pipe start x brings it back";
    assert!(closed.contains(want) && !closed.contains("startTimeout") && !closed.contains("not ready"), "{closed}");
    daemon.stop().await;
}

#[tokio::test]
async fn a_name_that_is_disabled_in_the_config_is_told_so() {
    let runtime = Runtime::new();
    let off = json!({"command": "/nonexistent", "disabled": true});
    let servers = config([("x", fixture_entry(&[])), ("off", off)]);
    let daemon = runtime.setup().config(&servers).args(["--local"]).start("info");
    daemon.wait_for_event("ALL_UP").await;
    for args in [&["restart", "off"][..], &["start", "off"], &["status", "off"], &["logs", "off"]] {
        let said = runtime.not_done(2, args).await;
        let want = "off is disabled in the config, so this mcp-pipe does not run it; enable it there";
        assert!(said.contains(want), "{args:?}: {said}");
    }
    let other = runtime.not_done(2, &["restart", "zzz"]).await;
    assert!(other.contains("there are: x") && !other.contains("off"), "{other}");
    daemon.stop().await;
}

#[tokio::test]
async fn one_connection_that_is_to_be_made_anew_is_its_and_several_are_theirs() {
    let (runtime, endpoint, daemon, _before) = one_fixture(&[]).await;
    let (said, mut conn) = tokio::join!(runtime.ask(&["restart", "x", "--connection"]), endpoint.accept());
    assert_eq!(said.code, 0, "{said:?}");
    let said = daemon.wait_for("the order", |line| line.to_string().contains("made anew")).await.to_string();
    assert!(said.contains("its connection is to be made anew, by command"), "{said}");
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn servers_with_a_connection_each_are_named_together_in_any_order() {
    let (runtime, endpoint) = (Runtime::new(), FakeEndpoint::bind().await);
    let mut config = config([("ok", fixture_entry(&[])), ("calculator", fixture_entry(&[]))]);
    for server in ["ok", "calculator"] {
        config["mcpServers"][server]["endpoint"] = endpoint.url().into();
        config["mcpServers"][server]["mode"] = "per-server".into();
    }
    let daemon = runtime.setup().config(&config).start("info");
    let mut before = [endpoint.accept().await, endpoint.accept().await];
    for conn in &mut before {
        conn.handshake().await;
    }
    let mut conns = Vec::new();
    for (n, name) in ["ok+calculator", "calculator+ok"].into_iter().enumerate() {
        let anew = async { [endpoint.accept().await, endpoint.accept().await] };
        let line = ["restart", name];
        let (said, new) = tokio::join!(runtime.ask(&line), anew);
        assert!(said.code == 0 && endpoint.accepted() == 4 + 2 * n, "{said:?}");
        conns.extend(new);
    }
    let status = runtime.ask(&["status", "calculator+ok"]).await;
    assert!(status.out.contains("ok") && status.out.contains("calculator"), "{status:?}");
    let said = runtime.not_done(2, &["restart", "ok+calculatr"]).await;
    let address = endpoint.url().split_once('?').unwrap().0.to_owned();
    assert!(said.contains("no server or endpoint here is called") && said.contains(&address), "{said}");
    daemon.stop_closing(&mut conns).await;
}
