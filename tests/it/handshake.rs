//! The first seconds of a connection, as the cloud and the self-hosted endpoint begin it.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Conn, FakeEndpoint, Setup, config, fixture_entry, one_server, text_of};

/// What a warm server may take from the open connection to the answer of initialize: less than another start of it, however busy the machine is.
const AT_ONCE: Duration = Duration::from_millis(1_400);

#[tokio::test]
async fn servers_that_start_slowly_answer_initialize_at_once_when_they_are_connected() {
    let endpoints = [FakeEndpoint::bind().await, FakeEndpoint::bind().await, FakeEndpoint::bind().await];
    let names = ["one", "two", "three"];
    let servers = names.iter().zip(&endpoints).map(|(name, endpoint)| {
        let mut entry = fixture_entry(&["--slow-start", "1500", "--name", name]);
        entry["endpoint"] = endpoint.url().into();
        (*name, entry)
    });
    let daemon = Setup::new().config(&config(servers)).start("debug");
    let check = async |name: &str, endpoint: &FakeEndpoint| -> Conn {
        let mut conn = endpoint.accept().await;
        let opened = Instant::now();
        let answer = conn.initialize(0).await;
        let took = opened.elapsed();
        assert!(took < AT_ONCE, "{name} took {took:?}");
        assert_eq!(answer["result"]["serverInfo"]["name"], *name);
        conn.send(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
        assert_eq!(text_of(&conn.call(1, "echo", json!({"text": name})).await), name);
        conn
    };
    let [one, two, three] = &endpoints;
    let (mut one, mut two, mut three) = tokio::join!(check("one", one), check("two", two), check("three", three));
    daemon.stop_closing([&mut one, &mut two, &mut three]).await;
    assert!(endpoints.iter().all(|endpoint| endpoint.accepted() == 1), "one connection each");
}

#[tokio::test]
async fn ids_of_any_kind_come_back_equal() {
    let endpoint = FakeEndpoint::bind().await;
    let daemon = Setup::new().config(&one_server(&endpoint, &[])).start("debug");
    let mut conn = endpoint.accept().await;
    for id in ["0b9c7f7e-8f4b-4c4e-9d8b-0d6b6f6d2f11_n_0", "0b9c7f7e_s_重新连接", "a\"b\\c\u{1}", ""] {
        conn.initialize(id).await;
        assert_eq!(text_of(&conn.call(id, "echo", json!({"text": "x"})).await), "x");
    }
    for id in [json!(0), json!(-1), json!(9007199254740993_u64), json!(u64::MAX), json!("1"), json!(1)] {
        assert_eq!(text_of(&conn.call(id, "echo", json!({"text": "x"})).await), "x");
    }
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn three_robots_on_one_connection_are_each_initialized() {
    let endpoint = FakeEndpoint::bind().await;
    let daemon = Setup::new().config(&one_server(&endpoint, &[])).start("debug");
    let mut conn = endpoint.accept().await;
    let ids = ["a_n_1", "b_n_1", "c_n_1"];
    for id in ids {
        let params =
            json!({"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": id, "version": "1"}});
        conn.send(json!({"jsonrpc": "2.0", "id": id, "method": "initialize", "params": params})).await;
        conn.send(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
        // As one of the self-hosted server's clients writes it.
        conn.send(json!({"jsonrpc": "2.0", "id": format!("{id}_list"), "method": "tools/list", "params": null})).await;
    }
    for id in ids {
        assert_eq!(conn.answer_to(id).await["result"]["serverInfo"]["name"], "fixture");
        assert!(conn.answer_to(format!("{id}_list")).await["result"]["tools"].is_array());
    }
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn a_servers_request_with_the_id_of_ours_is_kept_apart_from_it() {
    let endpoint = FakeEndpoint::bind().await;
    let daemon = Setup::new().config(&one_server(&endpoint, &["--ask-roots"])).start("debug");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    // The endpoint declared roots, so it is asked; the harness would panic at an answer that nobody asked for.
    let request = loop {
        match conn.others.pop_front() {
            Some(frame) if frame["method"] == "roots/list" => break frame,
            Some(_) => {}
            None => {
                let frame = conn.expect_frame().await;
                conn.others.push_back(frame);
            }
        }
    };
    conn.send(json!({"jsonrpc": "2.0", "id": request["id"], "result": {"roots": []}})).await;
    daemon.wait_for("the roots to reach the server", |line| line.to_string().contains("answer {")).await;
    assert_eq!(text_of(&conn.call(0, "echo", json!({"text": "still mine"})).await), "still mine");
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn configured_headers_and_the_subprotocol_go_with_the_upgrade() {
    let endpoint = FakeEndpoint::bind().await;
    let mut config = one_server(&endpoint, &[]);
    let entry = &mut config["mcpServers"]["x"];
    entry["endpointHeaders"] = json!({"X-Robot": "seven"});
    entry["subprotocol"] = "mcp".into();
    let daemon = Setup::new().config(&config).start("info");
    let mut conn = endpoint.accept().await;
    assert_eq!(conn.headers["x-robot"], "seven");
    assert_eq!(conn.headers["sec-websocket-protocol"], "mcp");
    conn.handshake().await;
    daemon.stop_closing([&mut conn]).await;
}
