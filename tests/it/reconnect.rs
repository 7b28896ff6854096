//! Connections that end: the server doesn't notice, and no answer crosses over.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use crate::harness::{FakeEndpoint, Setup, one_server, rounds, text_of};

#[tokio::test]
async fn disconnects_with_calls_in_flight_cost_the_server_nothing_and_mix_no_answers() {
    let endpoint = FakeEndpoint::bind().await;
    let daemon = Setup::new().config(&one_server(&endpoint, &[])).start("debug");
    let mut pids = Vec::new();
    for round in 0..rounds() {
        let mut conn = endpoint.accept().await;
        conn.handshake().await;
        // The ids of the calls that the last connection took along with it.
        for id in 2..6 {
            let text = format!("round {round} call {id}");
            assert_eq!(text_of(&conn.call(id, "echo", json!({"text": text})).await), text);
        }
        pids.push(text_of(&conn.call(6, "pid", json!({})).await).to_owned());
        for id in 2..6 {
            conn.send_call(id, "sleep", json!({"ms": 50 * id})).await;
        }
        match round % 6 {
            // Has to be waited for for 5 s, so not as often.
            _ if round % 20 == 19 => conn.close(1012).await,
            0 => conn.reset(),
            1 => drop(conn),
            2 => conn.close(1000).await,
            3 => conn.close(1001).await,
            4 => conn.close(1011).await,
            _ => conn.close(4004).await,
        }
    }
    pids.dedup();
    assert_eq!(pids.len(), 1, "the same process all the time");
    daemon.stop().await;
}

#[tokio::test]
async fn progress_of_a_call_that_went_with_its_connection_is_not_told_on_the_next() {
    for mode in ["per-server", "multiplex"] {
        let endpoint = FakeEndpoint::bind().await;
        let mut config = one_server(&endpoint, &[]);
        config["mode"] = mode.into();
        // A setting, so that it is not passed through untouched.
        config["slim"] = (mode == "multiplex").into();
        let daemon = Setup::new().config(&config).start("info");
        let mut conn = endpoint.accept().await;
        conn.handshake().await;
        // Tokens start again with each connection, as ids do.
        let dir = TempDir::new().unwrap();
        let until = dir.path().join("until");
        let params = json!({"name": "sleep", "arguments": {"ms": 0, "until": until}, "_meta": {"progressToken": 2}});
        conn.send(json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params})).await;
        conn.call(3, "echo", json!({"text": "the call is under way"})).await;
        conn.reset();
        let mut conn = endpoint.accept().await;
        conn.handshake().await;
        fs::write(until, "").unwrap();
        daemon.wait_for("the end of the call", |line| line["message"] == "slept").await;
        conn.call(2, "echo", json!({"text": "whatever came before has been read"})).await;
        let stray = conn.others.iter().find(|frame| frame["method"] == "notifications/progress");
        assert!(stray.is_none(), "{mode}: {stray:?}");
        daemon.stop_closing([&mut conn]).await;
    }
}

#[tokio::test]
async fn every_call_of_a_living_connection_is_answered_once() {
    let endpoint = FakeEndpoint::bind().await;
    let daemon = Setup::new().config(&one_server(&endpoint, &["--duplicate"])).start("debug");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    for id in 2..102 {
        conn.send_call(id, "echo", json!({"text": id.to_string()})).await;
    }
    for id in (2..102).rev() {
        assert_eq!(text_of(&conn.answer_to(id).await), id.to_string());
    }
    // A second answer to the last of them would come before this one's, and panic.
    conn.call(102, "echo", json!({"text": "end"})).await;
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn a_refused_token_is_named_and_tried_again() {
    let endpoint = FakeEndpoint::bind().await;
    let daemon = Setup::new().config(&one_server(&endpoint, &[])).start("info");
    endpoint.refuse(401).await;
    daemon.wait_for("the token as the cause", |line| line.to_string().contains("token")).await;
    endpoint.accept().await.handshake().await;
    daemon.stop().await;
}

#[tokio::test]
async fn never_a_connection_sooner_than_250_ms_after_a_close() {
    let endpoint = FakeEndpoint::bind().await;
    let daemon = Setup::new().config(&one_server(&endpoint, &[])).start("info");
    for _ in 0..3 {
        let mut conn = endpoint.accept().await;
        conn.handshake().await;
        conn.call(2, "echo", json!({"text": "proof of health"})).await;
        let closed = Instant::now();
        conn.close(1000).await;
        endpoint.expect_nobody_for(Duration::from_millis(240).saturating_sub(closed.elapsed())).await;
    }
    daemon.stop().await;
}

#[tokio::test]
async fn a_close_is_explained_from_our_own_state() {
    let endpoint = FakeEndpoint::bind().await;
    let daemon = Setup::new().config(&one_server(&endpoint, &[])).start("info");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    conn.close(4004).await;
    let line = daemon.wait_for_event("CONNECTION_CLOSED").await.to_string();
    assert!(line.contains("4004"), "{line}");
    daemon.stop().await;
}

#[tokio::test]
async fn a_close_is_reported_and_counted_at_once() {
    let endpoint = FakeEndpoint::bind().await;
    let daemon = Setup::new().config(&one_server(&endpoint, &[])).start("info");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    let closed = Instant::now();
    conn.close(1011).await;
    let line = daemon.wait_for_event("CONNECTION_CLOSED").await.to_string();
    assert!(closed.elapsed() < Duration::from_millis(900), "it waited for its own farewell: {:?}", closed.elapsed());
    assert!(line.contains("closed 1011 \\\"as the test says\\\" after "), "{line}");
    daemon.stop().await;
}

#[tokio::test]
async fn an_endpoint_that_never_answers_the_upgrade_is_left_after_the_timeout() {
    let endpoint = FakeEndpoint::bind().await;
    let mut config = one_server(&endpoint, &[]);
    config["connectTimeout"] = "1s".into();
    let daemon = Setup::new().config(&config).start("info");
    // Nobody accepts: the system has made the connection, and nothing answers on it.
    let line = daemon.wait_for_event("ERROR_CONNECT").await.to_string();
    assert!(line.contains("took longer than 1.0 s (WebSocket upgrade)"), "{line}");
    daemon.stop().await;
}

#[tokio::test]
async fn an_endpoint_that_falls_silent_is_noticed_and_dialled_again() {
    let endpoint = FakeEndpoint::bind().await;
    let mut config = one_server(&endpoint, &[]);
    config["pingInterval"] = "1s".into();
    config["pingTimeout"] = "1s".into();
    let daemon = Setup::new().config(&config).start("info");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    // It is not read from here on, so no ping is answered: as if its machine were gone without a word.
    let silent = Instant::now();
    let line = daemon.wait_for_event("CONNECTION_CLOSED").await.to_string();
    assert!(line.contains("not even the answer to a ping"), "{line}");
    assert!(silent.elapsed() < Duration::from_secs(4), "{:?}", silent.elapsed());
    endpoint.accept().await.handshake().await;
    drop(conn);
    daemon.stop().await;
}
