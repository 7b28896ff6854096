//! The first signal lets calls finish, the second doesn't.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::harness::{FakeEndpoint, Setup, field, fixture_entry, one_server, text_of};

#[tokio::test]
async fn a_call_under_way_is_finished_then_the_connection_closes_with_1000_and_the_program_exits_0() {
    let endpoint = FakeEndpoint::bind().await;
    let mut daemon = Setup::new().config(&one_server(&endpoint, &[])).start("info");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    conn.send_call(2, "sleep", json!({"ms": 700})).await;
    // Answered after the call was handed over: the server has it.
    conn.call(3, "echo", json!({"text": "after"})).await;
    daemon.signal(Signal::TERM);
    assert_eq!(text_of(&conn.answer_to(2).await), "slept 700 ms");
    let close = conn.wait_for_close().await.expect("a close frame");
    assert_eq!(u16::from(close.code), 1000);
    assert_eq!(daemon.exit().await.code(), Some(0));
}

#[tokio::test]
async fn an_answer_for_which_the_line_is_slow_arrives_whole() {
    let endpoint = FakeEndpoint::bind().await;
    let mut config = one_server(&endpoint, &[]);
    config["drainTimeout"] = "60s".into();
    let mut daemon = Setup::new().config(&config).start("debug");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    const BYTES: usize = 15_000_000; // more than the sockets hold
    conn.send_call(2, "big", json!({"bytes": BYTES})).await;
    let big = |line: &Value| {
        field(line, "event") == Some("MESSAGE_SENT") && line["fields"]["bytes"].as_u64() > Some(BYTES as u64)
    };
    daemon.wait_for("the answer", big).await;
    daemon.signal(Signal::TERM);
    daemon.wait_for_event("STOPPING").await;
    // More than a closing handshake is given; whoever reads later than that must not find less.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(text_of(&conn.answer_to(2).await).len(), BYTES);
    let close = conn.wait_for_close().await.expect("a close frame");
    assert_eq!(u16::from(close.code), 1000);
    assert_eq!(daemon.exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_call_that_takes_too_long_is_answered_with_an_error_when_the_time_to_drain_is_over() {
    let endpoint = FakeEndpoint::bind().await;
    let mut config = one_server(&endpoint, &[]);
    config["drainTimeout"] = "300ms".into();
    let mut daemon = Setup::new().config(&config).start("info");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    conn.send_call(2, "sleep", json!({"ms": 60_000})).await;
    conn.call(3, "echo", json!({"text": "after"})).await;
    daemon.signal(Signal::TERM);
    assert!(conn.answer_to(2).await.get("error").is_some());
    conn.wait_for_close().await;
    assert_eq!(daemon.exit().await.code(), Some(0));
    let cut = daemon.wait_for_event("CALL_CUT").await.to_string();
    assert!(cut.contains("tools/call had not answered for"), "{cut}");
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let endpoint = FakeEndpoint::bind().await;
    let mut config = one_server(&endpoint, &["--ignore-term"]);
    config["drainTimeout"] = "15s".into();
    let mut daemon = Setup::new().config(&config).start("info");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    conn.send_call(2, "sleep", json!({"ms": 60_000})).await;
    conn.call(3, "echo", json!({"text": "after"})).await;
    daemon.signal(Signal::TERM);
    // What comes within half a second is taken for one.
    tokio::time::sleep(Duration::from_millis(700)).await;
    let second = Instant::now();
    daemon.signal(Signal::INT);
    daemon.exit().await;
    let exited = daemon.wait_for_event("SERVER_EXITED").await;
    assert_eq!(field(&exited, "why"), Some("was killed by mcp-pipe"), "not by the system: {exited}");
    assert!(second.elapsed() < Duration::from_secs(2), "took {:?}", second.elapsed());
}

#[tokio::test]
async fn two_signals_in_a_moment_are_one() {
    let endpoint = FakeEndpoint::bind().await;
    let mut daemon = Setup::new().config(&one_server(&endpoint, &[])).start("info");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    conn.send_call(2, "sleep", json!({"ms": 700})).await;
    conn.call(3, "echo", json!({"text": "after"})).await;
    // As from a terminal, and once more from the program in between.
    daemon.signal(Signal::INT);
    daemon.signal(Signal::TERM);
    assert_eq!(text_of(&conn.answer_to(2).await), "slept 700 ms");
    conn.wait_for_close().await;
    assert_eq!(daemon.exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_stop_while_the_endpoint_is_away_is_as_quick() {
    let endpoint = FakeEndpoint::bind().await;
    let config = one_server(&endpoint, &[]);
    drop(endpoint);
    let daemon = Setup::new().config(&config).start("info");
    daemon.wait_for_event("SERVER_STARTED").await;
    let told = Instant::now();
    daemon.stop().await;
    assert!(told.elapsed() < Duration::from_secs(4), "took {:?}", told.elapsed());
}

#[tokio::test]
async fn while_calls_are_finished_nothing_is_dialled_or_started_again_and_nobody_is_blamed() {
    let (endpoint, other) = (FakeEndpoint::bind().await, FakeEndpoint::bind().await);
    let mut config = one_server(&endpoint, &[]);
    let mut entry = fixture_entry(&[]);
    entry["endpoint"] = other.url().into();
    config["mcpServers"]["other"] = entry;
    config["drainTimeout"] = "4s".into();
    let mut daemon = Setup::new().config(&config).start("info");
    let (mut conn, mut leaving) = (endpoint.accept().await, other.accept().await);
    conn.handshake().await;
    leaving.handshake().await;
    let started =
        |line: &Value| field(line, "event") == Some("SERVER_STARTED") && field(line, "server") == Some("other");
    let line = daemon.wait_for("the other server", started).await;
    // Under way until the time is over.
    conn.send_call(2, "sleep", json!({"ms": 60_000})).await;
    conn.call(3, "echo", json!({"text": "after"})).await;
    daemon.signal(Signal::TERM);
    daemon.wait_for_event("STOPPING").await;
    leaving.close(4004).await;
    let closed = daemon.wait_for_event("CONNECTION_CLOSED").await.to_string();
    assert!(closed.contains("; not dialled again\""), "{closed}");
    assert!(!closed.contains("too many connections") && !closed.contains("maintenance"), "{closed}");
    let pid = line["fields"]["pid"].as_i64().unwrap();
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::KILL).unwrap();
    let exited = daemon.wait_for_event("SERVER_EXITED").await.to_string();
    assert!(exited.contains("killed by signal 9") && exited.contains("not started again: stopping"), "{exited}");
    assert_eq!(daemon.exit().await.code(), Some(0));
    assert_eq!(other.accepted(), 1, "{}", daemon.log_text());
    let starts = daemon.log_lines().iter().filter(|line| started(line)).count();
    assert_eq!(starts, 1, "{}", daemon.log_text());
}
