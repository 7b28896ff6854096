//! Servers that die: the connection stays, every call is answered, the server comes back initialised.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::harness::{Conn, FakeEndpoint, Setup, config, field, one_server, rounds, text_of, within};

/// The pid of the server; calls that a dead one got an error for are repeated.
async fn pid(conn: &mut Conn, id: &mut u64) -> i32 {
    loop {
        *id += 1;
        let answer = conn.call(*id, "pid", json!({})).await;
        if answer.get("result").is_some() {
            return text_of(&answer).parse().unwrap();
        }
        // The error of a dead server comes at once; without a pause this would be a busy loop.
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn killing_the_server_during_calls_costs_the_calls_and_nothing_else() {
    let endpoint = FakeEndpoint::bind().await;
    let daemon = Setup::new().config(&one_server(&endpoint, &[])).start("debug");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    let (mut id, mut last) = (1, 0);
    for _ in 0..rounds() {
        let child = pid(&mut conn, &mut id).await;
        assert_ne!(child, last, "a new process each time");
        let calls = id + 1..id + 5;
        id = calls.end;
        for call in calls.clone() {
            conn.send_call(call, "sleep", json!({"ms": 60_000})).await;
        }
        // Its answer shows that the server has those before it.
        id += 1;
        conn.call(id, "echo", json!({"text": "in order"})).await;
        kill_process(Pid::from_raw(child).unwrap(), Signal::KILL).unwrap();
        for call in calls {
            let answer = conn.answer_to(call).await;
            assert!(answer["error"]["message"].is_string(), "{answer}");
        }
        last = child;
    }
    pid(&mut conn, &mut id).await;
    assert_eq!(endpoint.accepted(), 1, "the connection never dropped");
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn a_server_that_exits_in_a_call_is_named_with_its_exit_code() {
    let endpoint = FakeEndpoint::bind().await;
    let daemon = Setup::new().config(&one_server(&endpoint, &[])).start("info");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    let answer = conn.call(2, "exit", json!({"code": 7})).await;
    assert_eq!(answer["error"]["code"], -32000, "{answer}");
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("\"x\"") && message.contains('7'), "{message}");
    let line = daemon.wait_for_event("SERVER_EXITED").await.to_string();
    assert!(line.contains('7'), "{line}");
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn a_crash_loop_says_once_what_the_server_says_in_each_of_its_lives() {
    let endpoint = FakeEndpoint::bind().await;
    // At another time and by another process each time; in its third life it says something new.
    let script = r#"
        echo "$(date +%H:%M:%S.%N) process $((10000 + $$)) starts" >&2
        echo "no database" >&2
        [ -e twice ] && echo "no disk" >&2
        [ -e once ] && touch twice
        touch once
        exit 1"#;
    let server = json!({"command": "sh", "args": ["-c", script], "endpoint": endpoint.url()});
    let daemon = Setup::new().config(&config([("x", server)])).start("info");
    let exited = |line: &Value| field(line, "event") == Some("SERVER_EXITED");
    let says = |line: &Value, text: &str| {
        field(line, "event") == Some("SERVER_STDERR") && field(line, "message").is_some_and(|said| said.contains(text))
    };
    let lives = || daemon.log_lines().iter().filter(|line| exited(line)).count();
    within("five lives", async {
        while lives() < 5 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    for text in ["starts", "no database", "no disk"] {
        let said = daemon.log_lines().iter().filter(|line| says(line, text)).count();
        assert_eq!(said, 1, "{text}: {}", daemon.log_text());
    }
    let repeated =
        daemon.log_lines().iter().filter(|l| exited(l) && l.to_string().contains("the same as before")).count();
    assert!(repeated >= 2, "{}", daemon.log_text());
    daemon.stop().await;
}

#[tokio::test]
async fn a_crash_loop_disturbs_no_other_server() {
    let endpoint = FakeEndpoint::bind().await;
    let mut config = one_server(&endpoint, &[]);
    config["mcpServers"]["broken"] =
        json!({"command": "false", "endpoint": endpoint.url().replace("/mcp/", "/other/")});
    let daemon = Setup::new().config(&config).start("info");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    for id in 2..50 {
        conn.call(id, "echo", json!({"text": "fine"})).await;
    }
    daemon.stop_closing([&mut conn]).await;
}
