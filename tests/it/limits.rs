//! Where the system allows little, it is said what is missing; nothing panics.
#![cfg(target_os = "linux")]

use serde_json::{Value, json};

use crate::harness::{FakeEndpoint, Setup, config, field, fixture_entry, multiplex, skip};

/// Whether prlimit(1) of util-linux is there.
fn can_limit() -> bool {
    let there = std::process::Command::new("prlimit").arg("--version").output().is_ok();
    if !there {
        skip("there is no prlimit");
    }
    there
}

#[tokio::test]
async fn with_few_open_files_it_works_or_says_that_it_needs_more() {
    if !can_limit() {
        return;
    }
    let (mut refused, mut worked) = (0, 0);
    for files in 4..=40 {
        for line in [&["tools"][..], &["health", "--status-socket", "x"]] {
            let setup = Setup::new().limited(&format!("--nofile={files}:{files}"));
            let output = setup.config(&config([("x", fixture_entry(&[]))])).args(line.iter().copied()).output().await;
            let said = String::from_utf8_lossy(&output.stderr);
            let code = output.status.code();
            match (code, line) {
                (Some(0), ["tools"]) => worked += 1,
                // It is the loader that finds no library.
                (Some(127), _) => assert!(files < 5, "{said}"),
                (Some(1), ["tools"]) => {
                    assert!(said.contains("ulimit -n") || said.contains("Too many open files"), "{files}: {said}");
                    refused += 1;
                }
                (Some(1), _) => assert!(said.contains("no mcp-pipe answers") || said.contains("ulimit -n"), "{said}"),
                _ => panic!("{line:?} with {files} files: {code:?}: {said}"),
            }
        }
    }
    assert!(refused > 4 && worked > 4, "{refused}, {worked}");
}

#[tokio::test]
async fn a_daemon_with_few_open_files_goes_on_trying_and_stops_when_it_is_told() {
    if !can_limit() {
        return;
    }
    for files in (14..=34).step_by(2) {
        let mut config = config([("x", fixture_entry(&[]))]);
        config["endpoint"] = "ws://127.0.0.1:1/".into();
        let setup = Setup::new().limited(&format!("--nofile={files}:{files}"));
        let daemon = setup.config(&config).args(["--status-socket", "s"]).start("info");
        let line = daemon.wait_for("what came of it", came_to_nothing).await;
        let text = line["message"].as_str().unwrap();
        assert!(text.contains("refused") || text.contains("ulimit -n"), "{files}: {line}");
        daemon.stop().await;
    }
}

#[tokio::test]
async fn a_file_that_may_not_grow_is_not_written_and_ends_nothing() {
    if !can_limit() {
        return;
    }
    let endpoint = FakeEndpoint::bind().await;
    let config = multiplex(&endpoint, [("one", fixture_entry(&[])), ("two", fixture_entry(&[]))]);
    let setup = Setup::new().limited("--fsize=300:300");
    let daemon = setup.config(&config).args(["--cache-dir", "cache"]).start("info");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    let line = daemon.wait_for("what became of the file", |line| field(line, "event") == Some("NOT_REMEMBERED")).await;
    assert!(line["message"].as_str().unwrap().contains("File too large"), "{line}");
    conn.handshake().await;
    daemon.stop_closing([&mut conn]).await;
}

/// Whether a log line says that a server could not be started or an endpoint not be dialled.
fn came_to_nothing(line: &Value) -> bool {
    ["ERROR_SERVER_START", "ERROR_CONNECT"].iter().any(|event| field(line, "event") == Some(*event))
}

#[tokio::test]
async fn where_there_is_no_thread_for_a_name_server_the_pipe_goes_on() {
    if !can_limit() {
        return;
    }
    for processes in 1..=8 {
        let mut config = config([("x", json!({"command": "sleep", "args": ["60"]}))]);
        config["endpoint"] = "wss://no-such-name.invalid/".into();
        config["startTimeout"] = "100ms".into();
        let setup = Setup::new().unprivileged().limited(&format!("--nproc={processes}:{processes}"));
        let daemon = setup.config(&config).start("info");
        let line = daemon.wait_for("what came of it", came_to_nothing).await;
        let text = line["message"].as_str().unwrap();
        assert!(text.contains("can't be looked up") || text.contains("ulimit -u"), "{processes}: {line}");
        daemon.stop().await;
    }
}
