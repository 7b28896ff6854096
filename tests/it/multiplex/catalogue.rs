//! What servers said of themselves in an earlier run answers for them while they start.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{FakeEndpoint, Setup, field, fixture_entry, multiplex, names, text_of};

/// Two servers, one of which reads nothing while the file `hold` is in the directory; that also has the cache.
fn two(endpoint: &FakeEndpoint, dir: &TempDir) -> Value {
    let hold = dir.path().join("hold");
    let slow = fixture_entry(&["--name", "slow", "--hold", hold.to_str().unwrap()]);
    let mut servers = [("slow", slow), ("quick", fixture_entry(&[]))];
    for (_, entry) in &mut servers {
        // In another directory, it would be another server.
        entry["cwd"] = dir.path().to_str().into();
    }
    let mut config = multiplex(endpoint, servers);
    config["naming"] = "prefix".into();
    config["cacheDir"] = dir.path().join("cache").to_str().into();
    config
}

#[tokio::test]
async fn a_second_run_answers_from_memory_and_a_call_waits_for_its_server() {
    let (dir, endpoint) = (TempDir::new().unwrap(), FakeEndpoint::bind().await);
    let daemon = Setup::new().config(&two(&endpoint, &dir)).start("info");
    let mut conn = endpoint.accept().await;
    let welcome = conn.initialize(0).await;
    conn.send(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
    conn.send(json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})).await;
    let list = conn.answer_to(1).await;
    assert!(names(&list).contains(&"slow__echo") && names(&list).contains(&"quick__echo"), "{list}");
    daemon.stop_closing([&mut conn]).await;

    fs::write(dir.path().join("hold"), "").unwrap();
    let daemon = Setup::new().config(&two(&endpoint, &dir)).start("info");
    let mut conn = endpoint.accept().await;
    // As long as the file is there, nothing of this comes from that server.
    assert_eq!(conn.initialize(0).await["result"], welcome["result"]);
    conn.send(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
    conn.send(json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})).await;
    assert_eq!(conn.answer_to(1).await, list);
    conn.send_call(2, "slow__echo", json!({"text": "at last"})).await;
    assert_eq!(text_of(&conn.call(3, "quick__echo", json!({"text": "hi"})).await), "hi");
    fs::remove_file(dir.path().join("hold")).unwrap();
    assert_eq!(text_of(&conn.answer_to(2).await), "at last");
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn a_server_that_hangs_is_told_of_in_time_though_its_tools_are_remembered() {
    let (dir, endpoint) = (TempDir::new().unwrap(), FakeEndpoint::bind().await);
    let mut config = two(&endpoint, &dir);
    config["startTimeout"] = "2s".into();
    for hangs in [false, true] {
        if hangs {
            fs::write(dir.path().join("hold"), "").unwrap();
        }
        let daemon = Setup::new().config(&config).start("info");
        let mut conn = endpoint.accept().await;
        assert!(names(&conn.handshake().await).contains(&"slow__echo"));
        if hangs {
            let said = daemon.wait_for_event("ERROR_START_TIMEOUT").await;
            assert_eq!(field(&said, "server"), Some("slow"));
            let said = said.to_string();
            assert!(said.contains("has not answered initialize for 2.") && !said.contains("waits for it no"), "{said}");
        }
        daemon.stop_closing([&mut conn]).await;
    }
}

#[tokio::test]
async fn a_cache_that_is_damaged_is_made_anew() {
    let (dir, endpoint) = (TempDir::new().unwrap(), FakeEndpoint::bind().await);
    let config = two(&endpoint, &dir);
    for run in 0..3 {
        let daemon = Setup::new().config(&config).start("info");
        let mut conn = endpoint.accept().await;
        let list = conn.handshake().await;
        assert!(names(&list).contains(&"slow__echo") && names(&list).contains(&"quick__echo"), "run {run}: {list}");
        assert_eq!(text_of(&conn.call(2, "slow__echo", json!({"text": "hi"})).await), "hi");
        daemon.stop_closing([&mut conn]).await;
        assert!(damage(&dir.path().join("cache")) > 0, "nothing was remembered");
    }
}

#[tokio::test]
async fn a_cache_that_cannot_be_written_costs_one_line_of_the_log() {
    let (dir, endpoint) = (TempDir::new().unwrap(), FakeEndpoint::bind().await);
    fs::write(dir.path().join("cache"), "no folder").unwrap();
    let daemon = Setup::new().config(&two(&endpoint, &dir)).start("debug");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    let said = |line: &Value, level| line["event"] == "NOT_REMEMBERED" && line["level"] == level;
    // Both are written at once, and either may be told first.
    daemon.wait_for("it for one server", |line| said(line, "INFO")).await;
    daemon.wait_for("it for the other one", |line| said(line, "DEBUG")).await;
    assert_eq!(daemon.log_lines().iter().filter(|line| said(line, "INFO")).count(), 1);
    assert_eq!(text_of(&conn.call(2, "quick__echo", json!({"text": "hi"})).await), "hi");
    daemon.stop_closing([&mut conn]).await;
}

/// Cuts each file off in its middle; how many there are.
fn damage(dir: &std::path::Path) -> usize {
    let mut files = 0;
    for entry in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            files += damage(&entry);
        } else {
            let bytes = fs::read(&entry).unwrap();
            fs::write(&entry, &bytes[..bytes.len() / 2]).unwrap();
            files += 1;
        }
    }
    files
}

#[tokio::test]
async fn the_lists_of_all_servers_come_whole_however_they_page_them() {
    let endpoint = FakeEndpoint::bind().await;
    let entries = [
        ("one", fixture_entry(&["--page", "1"])),
        ("four", fixture_entry(&["--page", "4"])),
        ("all", fixture_entry(&[])),
    ];
    let daemon = Setup::new().config(&multiplex(&endpoint, entries)).start("info");
    let mut conn = endpoint.accept().await;
    let list = conn.handshake().await;
    assert!(list["result"].get("nextCursor").is_none(), "{list}");
    let names = names(&list);
    assert_eq!(names.len(), 27, "{names:?}");
    for server in ["one", "four", "all"] {
        assert!(
            names.contains(&format!("{server}__echo").as_str()) && names.contains(&format!("{server}__touch").as_str())
        );
    }
    daemon.stop_closing([&mut conn]).await;
}
