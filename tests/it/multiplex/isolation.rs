//! What a bad server costs the others on its connection: nothing.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{FakeEndpoint, Setup, fixture_entry, multiplex, names, text_of};

/// The cloud gives up on `initialize` after this.
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn lying_slow_silent_and_dead_servers_cost_the_others_nothing() {
    let endpoint = FakeEndpoint::bind().await;
    let entries = [
        ("liar", fixture_entry(&["--lie", "--duplicate", "--garbage"])),
        ("slow", fixture_entry(&["--late", "300"])),
        ("silent", fixture_entry(&["--silent"])),
        ("dead", fixture_entry(&["--write-and-exit", "3"])),
        ("missing", json!({"command": "surely-no-such-program"})),
        ("good", fixture_entry(&[])),
    ];
    let mut config = multiplex(&endpoint, entries);
    config["naming"] = "prefix".into();
    config["startTimeout"] = "1s".into();
    let daemon = Setup::new().config(&config).start("info");
    let mut conn = endpoint.accept().await;
    let opened = Instant::now();
    conn.initialize(0).await;
    assert!(opened.elapsed() < PATIENCE, "{:?}", opened.elapsed());
    conn.send(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
    conn.send(json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})).await;
    let list = conn.answer_to(1).await;
    let names = names(&list);
    for (server, there) in
        [("liar", true), ("slow", true), ("good", true), ("silent", false), ("dead", false), ("missing", false)]
    {
        assert_eq!(names.contains(&format!("{server}__echo").as_str()), there, "{server}: {names:?}");
    }
    // The harness panics at a second answer, and at one that nobody asked for.
    for n in 0..30 {
        for server in ["slow", "good"] {
            let id = format!("{server} {n}");
            conn.send_call(id.clone(), &format!("{server}__echo"), json!({"text": id})).await;
        }
    }
    for n in 0..30 {
        // It lies about the ids of all the others, while they are under way.
        let id = format!("liar {n}");
        assert_eq!(text_of(&conn.call(id.clone(), "liar__echo", json!({"text": id})).await), id);
        let id = format!("good {n}");
        assert_eq!(text_of(&conn.answer_to(id.clone()).await), id);
    }
    for server in ["silent", "dead", "missing"] {
        let error = conn.call(server, &format!("{server}__echo"), json!({"text": "?"})).await;
        assert!(error["error"]["message"].is_string(), "{error}");
    }
    for n in 0..30 {
        let id = format!("slow {n}");
        assert_eq!(text_of(&conn.answer_to(id.clone()).await), id);
    }
    let strays: Vec<&Value> = conn.others.iter().filter(|frame| frame["method"] == "notifications/progress").collect();
    assert!(strays.is_empty(), "progress of what nobody asked for: {strays:?}");
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn a_server_that_does_not_read_costs_the_others_nothing() {
    let endpoint = FakeEndpoint::bind().await;
    // The two are initialize and tools/list.
    let entries = [("deaf", fixture_entry(&["--deaf-after", "2"])), ("good", fixture_entry(&[]))];
    let mut config = multiplex(&endpoint, entries);
    config["naming"] = "prefix".into();
    let daemon = Setup::new().config(&config).start("info");
    let mut conn = endpoint.accept().await;
    assert!(names(&conn.handshake().await).contains(&"deaf__echo"));
    let text = "x".repeat(1 << 20);
    for n in 0..40 {
        conn.send_call(format!("deaf {n}"), "deaf__echo", json!({"text": text})).await;
        let id = format!("good {n}");
        assert_eq!(text_of(&conn.call(id.clone(), "good__echo", json!({"text": id})).await), id);
    }
    // Of 40 MiB some are refused by now, in plain words; what it was handed is its own.
    let refused = conn.answer_to("deaf 39").await;
    assert!(refused["error"]["message"].as_str().is_some_and(|why| why.contains("deaf")), "{refused}");
    drop(daemon);
}
