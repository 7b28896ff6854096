//! What goes over the wire, and what never does. The connection itself checks each frame that it gets.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{FakeEndpoint, Setup, config, fixture_entry, multiplex, one_server, text_of, within};

#[tokio::test]
async fn what_a_server_prints_beside_its_messages_never_reaches_the_wire() {
    let endpoint = FakeEndpoint::bind().await;
    let daemon = Setup::new().config(&one_server(&endpoint, &["--garbage"])).start("debug");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    for id in 2..20 {
        conn.call(id, "echo", json!({"text": "clean"})).await;
    }
    assert!(conn.others.is_empty(), "{:?}", conn.others);
    daemon.wait_for("the garbage, in the log", |line| line.to_string().contains("Welcome to the fixture!")).await;
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn a_flood_on_stderr_holds_nothing_up() {
    let endpoint = FakeEndpoint::bind().await;
    let daemon = Setup::new().config(&one_server(&endpoint, &["--stderr-flood"])).start("info");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    for id in 2..10 {
        conn.call(id, "echo", json!({"text": "through"})).await;
    }
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn an_answer_over_the_limit_becomes_an_error_that_names_size_and_limit() {
    let endpoint = FakeEndpoint::bind().await;
    let mut config = one_server(&endpoint, &[]);
    config["maxFrameSize"] = "64KiB".into();
    let daemon = Setup::new().config(&config).start("info");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    assert_eq!(text_of(&conn.call(2, "big", json!({"bytes": 60_000})).await).len(), 60_000);
    let answer = conn.call(3, "big", json!({"bytes": 200_000})).await;
    let message = answer["error"]["message"].as_str().unwrap_or_else(|| panic!("{answer}"));
    assert!(message.contains("200") || message.contains("195"), "the size: {message}");
    assert!(message.contains("64") || message.contains("65536") || message.contains("65,536"), "the limit: {message}");
    conn.call(4, "echo", json!({"text": "the connection lives"})).await;
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn a_line_without_end_costs_neither_memory_nor_the_connection() {
    // Most of it is the unoptimised program itself, which has to be told from the line.
    let mut peaks = Vec::new();
    for flags in [&[][..], &["--no-newline", "100000000"]] {
        let endpoint = FakeEndpoint::bind().await;
        let daemon = Setup::new().config(&one_server(&endpoint, flags)).start("info");
        let mut conn = endpoint.accept().await;
        conn.handshake().await;
        conn.call(2, "echo", json!({"text": "through"})).await;
        peaks.extend(daemon.peak_memory());
        daemon.stop_closing([&mut conn]).await;
    }
    if let [usual, peak] = peaks[..] {
        assert!(peak < usual + 20_000, "maxFrameSize is 16 MiB; peak: {peak} kB, and {usual} kB without the line");
    }
}

#[tokio::test]
async fn an_endpoint_that_asks_on_and_reads_nothing_is_held_back() {
    let endpoint = FakeEndpoint::bind().await;
    let mut config = one_server(&endpoint, &[]);
    config["maxFrameSize"] = "1MiB".into();
    let daemon = Setup::new().config(&config).start("info");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    // We answer it ourselves, with its id.
    let ping = json!({"jsonrpc": "2.0", "method": "ping", "id": "i".repeat(1000)}).to_string();
    conn.send_until_stuck(&ping).await;
    let peak = daemon.peak_memory();
    assert!(peak.is_none_or(|peak| peak < 40_000), "peak: {peak:?} kB");
    conn.reset();
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn who_sends_nonsense_on_and_on_does_not_fill_the_log() {
    let endpoint = FakeEndpoint::bind().await;
    let daemon = Setup::new().config(&one_server(&endpoint, &[])).start("info");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    for _ in 0..1000 {
        conn.send_unreadable("nonsense").await;
        conn.expect_frame().await;
    }
    let lines = daemon.log_lines().iter().filter(|line| line["event"] == "ERROR_MESSAGE").count();
    assert!((10..20).contains(&lines), "{lines} lines");
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn an_endpoint_that_is_no_mcp_client_is_turned_away_with_what_it_said_and_without_its_token() {
    let endpoint = FakeEndpoint::with_token("t0ken-of-a-stranger").await;
    let daemon = Setup::new().config(&one_server(&endpoint, &[])).start("info");
    for _ in 0..2 {
        let mut conn = endpoint.accept().await;
        // It answers whatever comes, as some services do.
        let said = r#"{"type":"error","message":"unknown command, token t0ken-of-a-stranger"}"#;
        let mut frames = 0;
        conn.send_unreadable(said).await;
        let close = loop {
            match conn.next().await {
                Ok(_) => frames += 1,
                Err(close) => break close,
            }
            // The connection may be gone by now.
            let _sent = conn.send_unreadable_as(Message::text(said)).await;
        };
        assert!(frames < 5, "{frames} frames");
        assert_eq!(close.map(|close| u16::from(close.code)), Some(1003));
    }
    let line = daemon.wait_for_event("CONNECTION_CLOSED").await.to_string();
    assert!(line.contains("unknown command, token …") && line.contains("address is most likely wrong"), "{line}");
    assert!(!daemon.log_text().contains("t0ken-of-a-stranger"));
    daemon.stop().await;
}

#[tokio::test]
async fn a_binary_message_that_is_no_text_costs_an_error_and_not_the_connection() {
    let endpoint = FakeEndpoint::bind().await;
    let daemon = Setup::new().config(&one_server(&endpoint, &[])).start("info");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    conn.send_unreadable_as(Message::binary(vec![0, 0xff, 0xfe, 7])).await.unwrap();
    let answer = conn.expect_frame().await;
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(null), &json!(-32700)), "{answer}");
    daemon
        .wait_for("a line that says so", |line| line.to_string().contains("a binary message that is not UTF-8"))
        .await;
    conn.call(2, "echo", json!({"text": "goes on"})).await;
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn each_ping_of_a_burst_gets_its_pong() {
    let endpoint = FakeEndpoint::bind().await;
    let daemon = Setup::new().config(&one_server(&endpoint, &[])).start("info");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    conn.ping(10).await;
    conn.ping(500).await;
    conn.call(2, "echo", json!({"text": "goes on"})).await;
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn text_in_a_binary_message_and_on_many_lines_is_understood() {
    let endpoint = FakeEndpoint::bind().await;
    let daemon = Setup::new().config(&one_server(&endpoint, &[])).start("debug");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    let params = json!({"name": "echo", "arguments": {"text": "两行\nand more"}});
    let call = |id| json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params});
    conn.send_as(&call(2), Message::binary(call(2).to_string().into_bytes())).await;
    assert_eq!(text_of(&conn.answer_to(2).await), "两行\nand more");
    conn.send_as(&call(3), Message::text(format!("{:#}\r\n", call(3)))).await;
    assert_eq!(text_of(&conn.answer_to(3).await), "两行\nand more");
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn what_is_no_json_is_answered_with_a_parse_error_and_kept_from_the_server() {
    let endpoint = FakeEndpoint::bind().await;
    let daemon = Setup::new().config(&one_server(&endpoint, &[])).start("debug");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    conn.send_unreadable("{\"jsonrpc\": not JSON").await;
    let answer = conn.expect_frame().await;
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(null), &json!(-32700)), "{answer}");
    conn.call(2, "echo", json!({"text": "goes on"})).await;
    // The fixture says so on stderr when it gets a line that it can't read.
    assert!(!daemon.log_text().contains("fixture: bad line"), "it reached the server");
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn members_that_nobody_knows_pass_untouched_both_ways() {
    let endpoint = FakeEndpoint::bind().await;
    let daemon = Setup::new().config(&one_server(&endpoint, &[])).start("debug");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    let params =
        json!({"name": "echo", "arguments": {"text": "x"}, "clientId": "c", "serialNumber": "s", "_meta": {"k": 1e2}});
    conn.send(json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params, "extra": [null]})).await;
    assert_eq!(text_of(&conn.answer_to(2).await), "x");
    conn.send(json!({"jsonrpc": "2.0", "id": 3, "method": "vendor/unknown", "params": {}})).await;
    assert_eq!(conn.answer_to(3).await["error"]["code"], -32601, "the server's own answer");
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn a_server_that_reads_nothing_for_seconds_costs_the_endpoint_no_ping() {
    let endpoint = FakeEndpoint::bind().await;
    let daemon = Setup::new().config(&one_server(&endpoint, &["--deaf-after", "1"])).start("info");
    let mut conn = endpoint.accept().await;
    conn.initialize(0).await;
    let pad = "x".repeat(100_000);
    for id in 1..8 {
        conn.send_call(id, "echo", json!({"text": pad})).await;
    }
    // It stands behind more than the server's side takes, and the one behind it is refused.
    conn.send(json!({"jsonrpc": "2.0", "id": 100, "method": "ping"})).await;
    conn.send_call(101, "echo", json!({})).await;
    assert_eq!(conn.answer_to(100).await["result"], json!({}));
    assert!(conn.answer_to(101).await["error"]["message"].as_str().unwrap().contains("busy"));
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn an_answer_amid_whatever_a_server_prints_arrives_and_the_log_says_what_is_wrong() {
    for (shape, words) in [
        ("before", "stdout line that is not JSON-RPC: Working..."),
        ("behind", "stdout line that is not JSON-RPC:  done"),
        ("bar", "50 %"),
        ("bar-of-megabytes", "50 %"),
        ("painted", "INFO"),
        ("nul", ""),
        ("mark", ""),
        ("cr", "writes messages without an end of their line"),
        ("separator", "writes messages without an end of their line"),
        ("crowded", "writes several messages on one line"),
        ("batch", "here:"),
        ("spread", "writes a message over several lines"),
        ("spread-amid-text", "writes a message over several lines"),
        ("spread-unended", "writes messages without an end of their line"),
        ("framed", "puts headers (Content-Length) before its messages"),
        ("framed-more", "puts headers (Content-Length) before its messages"),
        ("unended", "writes messages without an end of their line"),
        ("log", "stdout line that is not JSON-RPC"),
        ("log-cut", "stdout line that is not JSON-RPC: sent"),
    ] {
        let endpoint = FakeEndpoint::bind().await;
        let daemon = Setup::new().config(&one_server(&endpoint, &["--shape", shape])).start("warn");
        // Its first answer as well, or it would be waited for for a minute.
        let mut conn = endpoint.accept().await;
        conn.handshake().await;
        for id in 2..6 {
            let text = format!("{shape} {id}: 两行\n{{\"jsonrpc\":\"2.0\"}}");
            assert_eq!(text_of(&conn.call(id, "echo", json!({"text": text})).await), text, "{shape}");
        }
        assert!(
            conn.others.iter().all(|other| other["method"] == "notifications/message"),
            "{shape}: {:?}",
            conn.others
        );
        if !words.is_empty() {
            daemon
                .wait_for(words, |line| line["event"] == "ERROR_STDOUT_NOISE" && line.to_string().contains(words))
                .await;
        }
        let said = daemon.log_lines().iter().filter(|line| line["event"] == "ERROR_STDOUT_NOISE").count();
        assert!(said <= 5, "{shape}: once in words is enough: {:?}", daemon.log_lines());
        daemon.stop_closing([&mut conn]).await;
    }
}

#[tokio::test]
async fn what_a_server_prints_in_each_of_its_lives_is_told_once() {
    let endpoint = FakeEndpoint::bind().await;
    let script = json!({"command": "sh", "args": ["-c", "echo hello; exit 1"], "endpoint": endpoint.url()});
    let mut daemon = Setup::new().config(&config([("x", script)])).start("warn");
    let said = |text: &str| daemon.log_lines().iter().filter(|line| line.to_string().contains(text)).count();
    within("three lives", async {
        while said("exited with code 1") < 3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(said(": hello"), 1, "{:?}", daemon.log_lines());
    daemon.signal(Signal::TERM);
    daemon.exit().await;
}

#[tokio::test]
async fn servers_on_one_connection_may_each_write_in_their_own_way() {
    let endpoint = FakeEndpoint::bind().await;
    let shapes = ["before", "spread", "framed", "unended", "cr", "log"];
    let servers = shapes.map(|shape| (shape, fixture_entry(&["--shape", shape])));
    let daemon = Setup::new().config(&multiplex(&endpoint, servers)).start("warn");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    for (shape, id) in shapes.into_iter().zip(2..) {
        let tool = format!("{shape}__echo");
        assert_eq!(text_of(&conn.call(id, &tool, json!({"text": shape})).await), shape);
    }
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn an_answer_that_cannot_be_had_is_an_error_and_the_next_one_arrives() {
    // At once, since some take seconds.
    let shapes = ["cut", "cut-short", "cut-short-behind-text", "not-json", "python", "endless"];
    futures_util::future::join_all(shapes.map(cannot_be_had)).await;
}

async fn cannot_be_had(shape: &str) {
    let endpoint = FakeEndpoint::bind().await;
    let daemon = Setup::new().config(&one_server(&endpoint, &["--shape-calls", shape])).start("warn");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    for id in 2..4 {
        let answer = conn.call(id, "echo", json!({"text": "x"})).await;
        let message = answer["error"]["message"].as_str().unwrap_or_else(|| panic!("{shape}: {answer}"));
        assert!(message.contains("answered with something that is not JSON-RPC"), "{shape}: {message}");
        let is_of_python = message.contains("it is written as Python prints a dict; use json.dumps");
        assert_eq!(is_of_python, shape == "python", "{message}");
    }
    if shape == "python" {
        let said = daemon.wait_for_event("ERROR_STDOUT_NOISE").await.to_string();
        assert!(said.contains("use json.dumps. More of it") && !said.contains("log to stderr"), "{said}");
    }
    conn.send(json!({"jsonrpc": "2.0", "id": 9, "method": "tools/list"})).await;
    assert!(conn.answer_to(9).await["result"].is_object(), "{shape}");
    daemon.stop_closing([&mut conn]).await;
}
