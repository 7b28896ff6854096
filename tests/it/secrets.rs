//! A token is seen by the endpoint it belongs to, and by nobody else.
#![cfg(target_os = "linux")]

use std::fs;

use serde_json::json;

use crate::harness::{Daemon, FakeEndpoint, Setup, config, fixture_entry, one_server, text_of};

/// A token for one test: the others, which run at the same time, look at every process, too.
fn token(part: &str) -> String {
    format!("eyJhbGciOiJFUzI1NiJ9.c2VjcmV0IQ.{part}%2B")
}

/// Drives a pipe through everything that might log: a refusal, a handshake, calls, odd frames, closes, a crash.
async fn exercise(endpoint: &FakeEndpoint, daemon: &Daemon, part: &str) {
    endpoint.refuse(401).await;
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    conn.send_unreadable("not JSON").await;
    let environment = conn.call(2, "env", json!({"name": "MCP_ENDPOINT"})).await;
    assert_eq!(text_of(&environment), "", "the child has no endpoint");
    conn.call(3, "exit", json!({"code": 1})).await;
    conn.close(4004).await;
    let mut conn = endpoint.accept().await;
    conn.initialize(0).await;
    nobody_sees_it(daemon, part);
    conn.close(1008).await;
    endpoint.refuse(500).await;
    repeat_it(endpoint, part).await;
}

/// An endpoint that repeats the token wherever it may say something, as some do.
async fn repeat_it(endpoint: &FakeEndpoint, part: &str) {
    let token = token(part);
    for answer in [
        format!("HTTP/1.1 401 {token}\r\nContent-Length: 200\r\n\r\n{{\"detail\": \"bad token={token}\"}}"),
        format!("HTTP/1.1 302 Found\r\nLocation: https://elsewhere.example/?token={token}\r\n\r\n"),
        format!("HTTP/1.1 503 Busy\r\nRetry-After: {token}\r\nContent-Length: 200\r\n\r\n{token}"),
        format!(
            "HTTP/1.1 101 {token}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {token}\r\n\r\n"
        ),
        format!("SSH-2.0-{token}\r\n"),
    ] {
        endpoint.answer(&answer).await;
    }
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    conn.send_unreadable(&token).await;
    conn.call(2, &token, json!({"token": token})).await;
    conn.close_saying(4004, &format!("token {token}")).await;
}

/// Neither a command line of any process nor an environment of ours but the program's own.
fn nobody_sees_it(daemon: &Daemon, part: &str) {
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        assert!(!holds_it(&line, part), "in the command line of {pid}: {}", String::from_utf8_lossy(&line));
    }
    let own = daemon.pid().as_raw_nonzero().get();
    for (pid, line) in daemon.processes().into_iter().filter(|(pid, _)| *pid != own) {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        assert!(!holds_it(&environment, part), "in the environment of {pid}: {line}");
    }
}

fn holds_it(bytes: &[u8], part: &str) -> bool {
    String::from_utf8_lossy(bytes).contains(part)
}

async fn check(setup: Setup, endpoint: FakeEndpoint, part: &str) {
    let daemon = setup.start("trace");
    exercise(&endpoint, &daemon, part).await;
    let last = |line: &serde_json::Value| line["event"] == "CONNECTION_CLOSED" && line.to_string().contains("token …");
    daemon.wait_for("the last close, without the token that its reason holds", last).await;
    let log = daemon.log_text();
    assert!(log.len() > 1000, "there is a log to look at: {log}");
    assert!(!log.contains(part), "{}", log.lines().find(|line| line.contains(part)).unwrap_or_default());
    daemon.stop().await;
}

#[tokio::test]
async fn a_token_from_the_config_is_in_no_log_command_line_or_childs_environment() {
    let part = "s3cr3t-of-a-c0nfig";
    let endpoint = FakeEndpoint::with_token(&token(part)).await;
    check(Setup::new().config(&one_server(&endpoint, &["--grandchild"])), endpoint, part).await;
}

#[tokio::test]
async fn a_token_from_the_environment_is_in_no_log_command_line_or_childs_environment() {
    let part = "s3cr3t-of-an-env1ronment";
    let endpoint = FakeEndpoint::with_token(&token(part)).await;
    let setup = Setup::new().config(&config([("x", fixture_entry(&[]))])).env("MCP_ENDPOINT", &endpoint.url());
    check(setup, endpoint, part).await;
}

#[tokio::test]
async fn a_token_from_the_command_line_is_gone_from_it_and_in_no_log_or_environment() {
    let part = "s3cr3t-of-a-c0mmand-line";
    let endpoint = FakeEndpoint::with_token(&token(part)).await;
    let url = endpoint.url();
    let setup = Setup::new().config(&config([("x", fixture_entry(&[]))])).args(["--endpoint", &url]);
    check(setup, endpoint, part).await;
}

#[tokio::test]
async fn a_token_from_a_dotenv_file_is_in_no_log_command_line_or_childs_environment() {
    let part = "s3cr3t-of-a-d0tenv";
    let endpoint = FakeEndpoint::with_token(&token(part)).await;
    let dotenv = format!("MCP_ENDPOINT={}\n", endpoint.url());
    check(Setup::new().config(&config([("x", fixture_entry(&[]))])).file(".env", &dotenv), endpoint, part).await;
}

/// Looks at itself, which is allowed, and at mcp-pipe.
const PRYING: &str = "
    cat /proc/self/environ >own
    cat /proc/$PPID/environ >environment
    dd if=/proc/$PPID/mem of=memory count=1
    cat >rest
";

#[tokio::test]
async fn a_server_under_the_same_user_reads_neither_environment_nor_memory() {
    let setup = Setup::new().unprivileged().file("pry.sh", PRYING).env("MCP_ENDPOINT", "ws://127.0.0.1:9/?token=x");
    let daemon = setup.config(&config([("x", json!({"command": "sh", "args": ["pry.sh"]}))])).start("info");
    for file in ["environ", "mem"] {
        let refused = |line: &serde_json::Value| {
            let text = line.to_string();
            text.contains(&format!("/{file}")) && text.contains("Permission denied")
        };
        daemon.wait_for(&format!("that {file} may not be read"), refused).await;
    }
    assert!(!daemon.log_text().contains("/self/environ"), "its own may be read");
    daemon.stop().await;
}

#[tokio::test]
async fn an_endpoint_that_is_refused_is_not_repeated_with_its_token() {
    let token = token("s3cr3t-of-a-m1stake");
    for url in [format!("https://h.example/?token={token}"), format!("api.example/mcp/?token={token}")] {
        let setup = Setup::new().config(&config([("x", fixture_entry(&[]))])).env("MCP_ENDPOINT", &url);
        let output = setup.output().await;
        assert_eq!(output.status.code(), Some(78));
        assert!(!holds_it(&output.stderr, "s3cr3t-of-a-m1stake"), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// What `mcp-pipe health` prints, and says where it fails.
fn health(socket: &str) -> String {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_mcp-pipe"));
    let output = command.args(["health", "--status-socket", socket]).env_clear().output().unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

#[tokio::test]
async fn what_an_endpoint_repeats_is_in_no_spelling_in_the_log_or_in_health() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("status.sock");
    for (token, spelled) in [
        ("ab1cd2e", &["ab1cd2e"][..]),
        ("s3c%2Br3t-x", &["s3c%2Br3t-x", "s3c%2br3t-x", "s3c+r3t-x", "s3c r3t-x", "s3c\\u002br3t-x", "s3c%252Br3t-x"]),
    ] {
        let endpoint = FakeEndpoint::with_token(token).await;
        let mut config = one_server(&endpoint, &[]);
        let url = endpoint.url().replace("ws://", "ws://t0ken-as-user:passw0rd@");
        config["mcpServers"]["x"]["endpoint"] = url.as_str().into();
        let setup = Setup::new().config(&config).args(["--status-socket", socket.to_str().unwrap()]);
        let daemon = setup.start("info");
        // Made of user and password (RFC 7617).
        let user = ["dDBrZW4tYXMtdXNlcjpwYXNzdzByZA==", "t0ken-as-user", "passw0rd"];
        let said = spelled.iter().chain(&user).map(|text| format!("bad {text}")).collect::<Vec<_>>().join(", ");
        endpoint.answer(&format!("HTTP/1.1 401 No\r\nContent-Length: {}\r\n\r\n{said}", said.len())).await;
        let refused = daemon.wait_for_event("ERROR_CONNECT").await.to_string();
        let want = vec!["bad …"; spelled.len() + user.len()].join(", ");
        assert!(refused.contains(&want), "{refused}");
        let health = health(socket.to_str().unwrap());
        assert!(health.contains(&want), "{health}");
        let conn = endpoint.accept().await;
        conn.close_saying(4004, &format!("bad {}", spelled[0])).await;
        let closed = daemon.wait_for_event("CONNECTION_CLOSED").await.to_string();
        assert!(closed.contains("bad …"), "{closed}");
        daemon.stop().await;
    }
}

#[tokio::test]
async fn an_endpoint_in_the_place_of_another_argument_is_not_repeated_with_its_token() {
    let token = token("s3cr3t-in-a-wr0ng-place");
    let options = ["--status-socket", "--config", "--ca-file", "--cache-dir", "--log-level", "--mode", "--no-such"];
    for url in [format!("wss://u:{token}@h.example/x?token={token}"), format!("h.example/mcp/?a=1&token={token}")] {
        for option in options {
            for line in [&["health", option, &url][..], &["--local", option, &url], &["x", &url, option]] {
                let setup = Setup::new().config(&config([("x", fixture_entry(&[]))])).args(line.iter().copied());
                let output = setup.output().await;
                assert!(!output.status.success(), "{line:?}");
                let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
                assert!(said.len() > 20 && !holds_it(said.as_bytes(), "wr0ng-place"), "{line:?}: {said}");
            }
        }
    }
}

#[tokio::test]
async fn a_secret_across_the_end_of_what_is_shown_of_a_line_is_not_in_the_log() {
    let endpoint = FakeEndpoint::with_token("s3cr3t-of-a-l0ng-line").await;
    for shown in [200, 2048, 8192] {
        let text = format!("{}s3cr3t-of-a-l0ng-line", "x".repeat(shown - 6));
        let script = format!("echo {text}; echo {text} >&2; exit 1");
        let mut config = one_server(&endpoint, &[]);
        config["mcpServers"]["x"]["command"] = "sh".into();
        config["mcpServers"]["x"]["args"] = json!(["-c", script]);
        let daemon = Setup::new().config(&config).start("info");
        daemon.wait_for_event("ERROR_STDOUT_NOISE").await;
        let exited = daemon.wait_for_event("SERVER_EXITED").await.to_string();
        assert!(exited.contains("xxx"), "the last words are there: {exited}");
        assert!(!daemon.log_text().contains("s3c"), "{shown}");
        daemon.stop().await;
    }
}
