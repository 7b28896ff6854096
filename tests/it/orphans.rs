//! Nothing that was started stays behind, whatever ends the program.
#![cfg(target_os = "linux")]

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::harness::{FakeEndpoint, Setup, config, fixture_entry};

#[tokio::test]
async fn kill_9_leaves_no_child_no_grandchild_and_none_that_ignores_term() {
    let endpoints = [FakeEndpoint::bind().await, FakeEndpoint::bind().await];
    let flags: [&[&str]; 2] = [&["--grandchild"], &["--ignore-term", "--grandchild"]];
    let servers = ["a", "b"].iter().zip(&endpoints).zip(flags).map(|((name, endpoint), flags)| {
        let mut entry = fixture_entry(flags);
        entry["endpoint"] = endpoint.url().into();
        (*name, entry)
    });
    let mut daemon = Setup::new().config(&config(servers)).start("info");
    let mut conns = Vec::new();
    for endpoint in &endpoints {
        let mut conn = endpoint.accept().await;
        conn.handshake().await;
        conn.send_call(2, "sleep", json!({"ms": 60_000})).await;
        conns.push(conn);
    }
    let running = daemon.processes();
    let fixtures = running.values().filter(|line| line.contains("fixture")).count();
    assert_eq!(fixtures, 4, "two servers and a grandchild of each: {running:?}");
    daemon.signal(Signal::KILL);
    daemon.exit().await;
    daemon.assert_nothing_left_within(Duration::from_secs(5));
}

#[tokio::test]
async fn a_graceful_stop_ends_also_those_that_ignore_it() {
    let endpoint = FakeEndpoint::bind().await;
    let mut entry = fixture_entry(&["--ignore-term", "--grandchild"]);
    entry["endpoint"] = endpoint.url().into();
    let mut daemon = Setup::new().config(&config([("x", entry)])).start("info");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    daemon.signal(Signal::TERM);
    conn.wait_for_close().await;
    assert_eq!(daemon.exit().await.code(), Some(0));
    daemon.assert_nothing_left_within(Duration::ZERO);
}

/// Notes what it gets to do: the end of its stdin, then TERM, each with a little work that takes its time. Its stderr ends with
/// mcp-pipe, and the shell has something to say there.
const DILIGENT: &str = "
    trap 'sleep 0.1; echo asked to end >>done; exit' TERM
    echo ready >&2
    exec 2>/dev/null
    cat >/dev/null
    sleep 0.1
    echo stdin ended >>done
    while :; do sleep 0.05; done
";

#[tokio::test]
async fn after_kill_9_servers_get_time_to_clean_up_before_they_are_ended() {
    let server = json!({"command": "sh", "args": ["-c", DILIGENT]});
    let mut daemon = Setup::new().config(&config([("x", server)])).args(["--local"]).start("info");
    daemon.wait_for("that it runs", |line| line["message"] == "ready").await;
    daemon.signal(Signal::KILL);
    daemon.exit().await;
    daemon.assert_nothing_left_within(Duration::from_secs(5));
    let done = std::fs::read_to_string(daemon.path().join("done")).unwrap();
    assert_eq!(done, "stdin ended\nasked to end\n");
}
