//! Servers of every kind start: `initialize` is the first line that a process gets, and its answer is what is waited for.

use std::process::Output;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::control::Runtime;
use crate::harness::{
    Conn, Daemon, FakeEndpoint, Setup, built, config, everything, example, field, fixture_entry, installed, multiplex,
    names, one_server, text_of,
};

/// Nothing that is expected at once takes longer; what was wrong took a minute and more.
const SOON: Duration = Duration::from_secs(30);

/// How often an event of the server `x` is in the log.
fn count(daemon: &Daemon, event: &str) -> usize {
    daemon.log_lines().iter().filter(|line| field(line, "event") == Some(event)).count()
}

/// The methods of what a server was sent, in order.
fn sent(daemon: &Daemon) -> Vec<String> {
    let lines = daemon.log_lines();
    let sent = lines.iter().filter(|l| field(l, "event") == Some("MESSAGE_SENT") && field(l, "with") == Some("server"));
    sent.filter_map(|line| field(line, "method")).map(str::to_owned).collect()
}

/// An `initialize` that differs from the cloud's in a way that matters.
async fn initialize_otherwise(conn: &mut Conn, id: u64) -> Value {
    let info = json!({"name": "another", "version": "1"});
    let params = json!({"protocolVersion": "2025-06-18", "capabilities": {"elicitation": {}}, "clientInfo": info});
    conn.send(json!({"id": id, "jsonrpc": "2.0", "method": "initialize", "params": params})).await;
    let answer = conn.answer_to(id).await;
    conn.send(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
    answer
}

#[tokio::test]
async fn a_server_that_exits_on_anything_before_initialize_serves_at_its_first_start() {
    for (entry, tool, arguments, says) in [
        (json!({"command": built("old_rust_server")}), "reverse", json!({"text": "abc"}), "cba"),
        (fixture_entry(&["--initialize-first"]), "echo", json!({"text": "abc"}), "abc"),
    ] {
        let endpoint = FakeEndpoint::bind().await;
        let mut config = config([("x", entry)]);
        config["endpoint"] = endpoint.url().into();
        let daemon = Setup::new().config(&config).start("debug");
        let mut conn = endpoint.accept().await;
        assert!(names(&conn.handshake().await).contains(&tool));
        assert_eq!(text_of(&conn.call(2, tool, arguments).await), says);
        assert_eq!(count(&daemon, "SERVER_STARTED"), 1);
        assert_eq!(sent(&daemon), ["initialize", "notifications/initialized", "tools/list", "tools/call"]);
        daemon.stop_closing([&mut conn]).await;
    }
}

#[tokio::test]
async fn real_servers_of_both_eras_start_once_and_are_asked_once_for_an_endpoint_like_the_cloud() {
    const FAST: &str = "from fastmcp import FastMCP\nFastMCP('fast').run()\n";
    let (Some(everything), Some(python)) = (everything(), installed("MCP_PIPE_TEST_PYTHON")) else { return };
    let entries = [
        ("everything", everything),
        ("python", json!({"command": python, "args": [example("sdk_clock.py")]})),
        ("fastmcp", json!({"command": python, "args": ["-c", FAST]})),
        ("rust", json!({"command": built("rust_server")})),
        ("old rust", json!({"command": built("old_rust_server")})),
    ];
    for (name, mut entry) in entries {
        let (endpoint, dir) = (FakeEndpoint::bind().await, tempfile::tempdir().unwrap());
        entry["endpoint"] = endpoint.url().into();
        let mut config = config([("x", entry)]);
        config["cacheDir"] = dir.path().to_str().into();
        for run in 1..=2 {
            let daemon = Setup::new().config(&config).start("debug");
            let mut conn = endpoint.accept().await;
            let list = conn.handshake().await;
            assert!(list["result"]["tools"].is_array(), "{name}: {list}");
            assert_eq!(sent(&daemon)[..2], ["initialize", "notifications/initialized"], "{name}, run {run}");
            assert_eq!((count(&daemon, "SERVER_STARTED"), count(&daemon, "SERVER_INITIALIZED")), (1, 1), "{name}");
            daemon.stop_closing([&mut conn]).await;
        }
    }
}

#[tokio::test]
async fn an_endpoint_that_differs_is_told_to_its_server_and_known_in_the_next_run() {
    let (endpoint, cache) = (FakeEndpoint::bind().await, tempfile::tempdir().unwrap());
    let mut config = one_server(&endpoint, &[]);
    config["cacheDir"] = cache.path().to_str().into();
    config["mcpServers"]["x"]["cwd"] = cache.path().to_str().into();
    for initialized in [2, 1] {
        let daemon = Setup::new().config(&config).start("debug");
        let mut conn = endpoint.accept().await;
        assert_eq!(initialize_otherwise(&mut conn, 0).await["result"]["protocolVersion"], "2025-06-18");
        assert_eq!(text_of(&conn.call(1, "echo", json!({"text": "abc"})).await), "abc");
        assert_eq!((count(&daemon, "SERVER_STARTED"), count(&daemon, "SERVER_INITIALIZED")), (1, initialized));
        daemon.stop_closing([&mut conn]).await;
    }
}

#[tokio::test]
async fn a_server_that_takes_initialize_once_is_started_anew_once_in_a_run_and_serves() {
    for how in ["error", "exit", "mute"] {
        let endpoint = FakeEndpoint::bind().await;
        let daemon = Setup::new().config(&one_server(&endpoint, &["--initialize-once", how])).start("debug");
        let mut conn = endpoint.accept().await;
        assert_eq!(initialize_otherwise(&mut conn, 0).await["result"]["protocolVersion"], "2025-06-18", "{how}");
        assert_eq!(text_of(&conn.call(1, "echo", json!({"text": "abc"})).await), "abc");
        assert_eq!(count(&daemon, "SERVER_STARTED"), 2, "{how}");
        // Its next life, and the next connection, bring no other.
        let died = conn.call(2, "exit", json!({"code": 3})).await;
        assert!(died["error"].is_object(), "{died}");
        assert_eq!(text_of(&conn.call(3, "echo", json!({"text": "back"})).await), "back");
        conn.close(1012).await;
        let mut conn = endpoint.accept().await;
        conn.initialize(0).await;
        assert_eq!(text_of(&conn.call(1, "echo", json!({"text": "abc"})).await), "abc");
        assert_eq!(count(&daemon, "SERVER_STARTED"), 3, "{how}");
        daemon.stop_closing([&mut conn]).await;
    }
}

#[tokio::test]
async fn who_waits_for_a_mute_server_is_told_for_what_and_how_long_and_is_not_kept_after_giving_up() {
    for args in [&["tools"][..], &["call", "mute", "echo", "{}"]] {
        let servers = [("mute", fixture_entry(&["--mute", "tools/list"])), ("y", fixture_entry(&[]))];
        let mut config = config(servers);
        // The request that is never answered would be waited for as long.
        config["drainTimeout"] = "10m".into();
        let mut daemon = Setup::new().config(&config).args(args.iter().copied()).start("warn");
        let said = daemon.wait_for_event("WAITING").await;
        let text = field(&said, "message").unwrap();
        assert!(text.starts_with("waiting for \"mute\" to answer tools/list: "), "{text}");
        assert!(text.ends_with(" of 80 s at most"), "{text}");
        daemon.signal(Signal::INT);
        assert_eq!(daemon.exit().await.code(), Some(1), "{args:?}");
    }
}

#[tokio::test]
async fn a_line_of_the_log_names_its_server_once() {
    let servers = config([("bad", fixture_entry(&["--fail", "tools/list", "-32603"]))]);
    let daemon = Setup::new().config(&servers).args(["--local"]).start("debug");
    let said = daemon.wait_for_event("ERROR_TOOLS_LIST").await;
    daemon.wait_for_event("LOCAL_CONNECTED").await;
    assert!(field(&said, "message").unwrap().starts_with("answered tools/list with an error: "), "{said}");
    for line in daemon.log_lines() {
        assert!(!field(&line, "message").unwrap_or_default().starts_with("bad "), "{line}");
    }
    daemon.stop().await;
}

/// Runs a command to its end, which is to be soon.
async fn soon(setup: Setup, args: &[&str]) -> (Output, String) {
    let began = Instant::now();
    let output = setup.args(args.iter().copied()).output().await;
    assert!(began.elapsed() < SOON, "{args:?} took {:?}", began.elapsed());
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    (output, stderr)
}

#[tokio::test]
async fn what_a_server_says_that_refuses_to_initialize_is_said_at_once_and_everywhere() {
    const WORDS: &str = "the licence has expired";
    let entries = || [("x", fixture_entry(&["--refuse", WORDS])), ("y", fixture_entry(&[]))];
    for args in [&["tools"][..], &["tools", "x"], &["call", "x", "echo", "{}"]] {
        let (output, stderr) = soon(Setup::new().config(&config(entries())), args).await;
        assert_eq!(output.status.code(), Some(1), "{args:?}: {stderr}");
        assert!(stderr.contains(&format!("server \"x\" refused to initialize: {WORDS}")), "{args:?}: {stderr}");
        assert!(!stderr.contains("mcp-pipe restart") && !stderr.contains("later"), "it ends now: {args:?}: {stderr}");
    }
    let endpoint = FakeEndpoint::bind().await;
    let health = tempfile::tempdir().unwrap();
    let socket = health.path().join("health").to_str().unwrap().to_owned();
    let setup = Setup::new().config(&one_server(&endpoint, &["--refuse", WORDS]));
    let daemon = setup.args(["--status-socket", &socket]).start("info");
    for _ in 0..3 {
        let mut conn = endpoint.accept().await;
        let params = json!({"protocolVersion": "2024-11-05", "capabilities": {"sampling": {}, "roots": {}}});
        conn.send(json!({"id": 0, "jsonrpc": "2.0", "method": "initialize", "params": params})).await;
        assert_eq!(conn.answer_to(0).await["error"], json!({"code": -32000, "message": WORDS}), "its own error");
        // As the cloud does.
        conn.close_saying(4004, "Internal server error").await;
    }
    let (output, _) = soon(Setup::new(), &["health", "--status-socket", &socket]).await;
    assert_eq!(output.status.code(), Some(1));
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains(&format!("server refused to initialize: {WORDS}")), "{shown}");
    let closed = daemon.wait_for_event("CONNECTION_CLOSED").await.to_string();
    assert!(closed.contains(&format!("server x refused to initialize: {WORDS}")), "{closed}");
    assert!(!daemon.log_text().contains("most likely"), "nothing else is accused");
    assert_eq!(count(&daemon, "ERROR_INITIALIZE"), 1, "once, not each time");
    daemon.stop().await;
}

#[tokio::test]
async fn a_server_that_refuses_costs_its_siblings_nothing_and_is_asked_again() {
    let (endpoint, dir) = (FakeEndpoint::bind().await, tempfile::tempdir().unwrap());
    let broken = dir.path().join("broken");
    std::fs::write(&broken, "").unwrap();
    let fixture = fixture_entry(&[]);
    let line = format!(
        "if test -e '{}'; then exec {fixture} --refuse 'no database'; else exec {fixture} --name mended; fi",
        broken.display(),
        fixture = fixture["command"].as_str().unwrap()
    );
    let entries = [("x", json!({"command": "sh", "args": ["-c", line]})), ("y", fixture)];
    let mut config = multiplex(&endpoint, entries);
    config["naming"] = "prefix".into();
    let daemon = Setup::new().config(&config).start("debug");
    let mut conn = endpoint.accept().await;
    assert!(names(&conn.handshake().await).iter().all(|name| name.starts_with("y__")));
    let refused = conn.call(2, "x__echo", json!({})).await;
    assert!(refused["error"].is_object(), "{refused}");
    let said = |daemon: &Daemon| {
        let lines = daemon.log_lines();
        let said = lines.iter().filter(|line| field(line, "event") == Some("ERROR_INITIALIZE"));
        said.map(|line| field(line, "level").unwrap().to_owned()).collect::<Vec<_>>()
    };
    daemon.wait_for("another refusal", |_| said(&daemon).len() > 1).await;
    assert_eq!(said(&daemon), ["WARN", "DEBUG"], "the same words are no news");
    std::fs::remove_file(broken).unwrap();
    conn.other("notifications/tools/list_changed").await;
    conn.send(json!({"jsonrpc": "2.0", "id": 3, "method": "tools/list"})).await;
    assert!(names(&conn.answer_to(3).await).contains(&"x__echo"));
    assert_eq!(text_of(&conn.call(4, "x__echo", json!({"text": "mended"})).await), "mended");
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn a_mute_server_holds_the_others_up_no_longer_than_its_own_start_timeout_says() {
    let endpoint = FakeEndpoint::bind().await;
    let mut mute = fixture_entry(&["--silent"]);
    mute["startTimeout"] = "1s".into();
    let began = Instant::now();
    let daemon = Setup::new().config(&multiplex(&endpoint, [("mute", mute), ("y", fixture_entry(&[]))])).start("info");
    let mut conn = endpoint.accept().await;
    assert!(names(&conn.handshake().await).contains(&"echo"));
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}: it waits for it at initialize as well", began.elapsed());
    let said = daemon.wait_for_event("ERROR_START_TIMEOUT").await;
    assert_eq!(field(&said, "server"), Some("mute"));
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn a_server_for_http_that_is_started_for_stdio_is_told_so() {
    let script = "echo 'Uvicorn running on http://127.0.0.1:8000 (Press CTRL+C to quit)' >&2; exec sleep 600";
    let entry = json!({"command": "sh", "args": ["-c", script], "startTimeout": "1s"});
    let (output, stderr) = soon(Setup::new().config(&config([("x", entry)])), &["tools"]).await;
    assert!(!output.status.success(), "{stderr}");
    let remedy = "write its \"url\" in place of its command, or have it serve on stdio (FastMCP: mcp.run())";
    assert!(stderr.contains(remedy) && !stderr.contains("raise startTimeout"), "{stderr}");
}

#[tokio::test]
async fn tools_call_and_local_cost_a_server_one_handshake() {
    for args in [&["tools"][..], &["call", "x", "echo", r#"{"text":"abc"}"#]] {
        let setup = Setup::new().config(&config([("x", fixture_entry(&["--initialize-once", "exit"]))]));
        let (output, stderr) = soon(setup, &[args, &["--log-level", "debug", "--log-contents"]].concat()).await;
        assert!(output.status.success(), "{stderr}");
        let sent = stderr.lines().filter(|line| line.contains("MESSAGE_SENT") && line.contains(" initialize"));
        let sent: Vec<_> = sent.collect();
        // In the local endpoint's own words, before that has said them.
        assert!(sent.len() == 1 && sent[0].contains("xz-mcp-broker"), "{stderr}");
        assert_eq!(stderr.matches("SERVER_STARTED").count(), 1, "{stderr}");
    }
    let entry = fixture_entry(&["--initialize-once", "exit"]);
    let daemon = Setup::new().config(&config([("x", entry)])).args(["--local"]).start("debug");
    daemon.wait_for_event("TOOLS_READ").await;
    assert_eq!(sent(&daemon).iter().filter(|method| *method == "initialize").count(), 1);
    daemon.stop().await;
}

#[tokio::test]
async fn the_time_of_a_start_begins_anew_with_a_restart_by_command() {
    let runtime = Runtime::new();
    let mut entry = fixture_entry(&["--silent"]);
    entry["startTimeout"] = "4s".into();
    let daemon = runtime.setup().config(&config([("x", entry)])).args(["--local"]).start("info");
    daemon.wait_for_event("SERVER_STARTED").await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let began = Instant::now();
    let late = async { daemon.wait_for_event("ERROR_START_TIMEOUT").await.to_string() };
    let said = tokio::select! {
        said = late => said,
        // The order waits for an answer that does not come.
        said = runtime.ask(&["restart", "x"]) => panic!("{said:?}"),
    };
    assert!(began.elapsed() >= Duration::from_millis(3800), "{:?}: {said}", began.elapsed());
    assert!(said.contains("has not answered initialize for 4."), "{said}");
    daemon.stop().await;
}

#[tokio::test]
async fn a_start_that_takes_long_is_told_of_soon() {
    let began = Instant::now();
    let entry = fixture_entry(&["--silent"]);
    let daemon = Setup::new().config(&config([("x", entry)])).args(["--local"]).start("info");
    let said = daemon.wait_for_event("SERVER_STARTING").await.to_string();
    assert!(
        began.elapsed() < Duration::from_secs(8) && said.contains("still starting (3"),
        "{:?} {said}",
        began.elapsed()
    );
    daemon.stop().await;
}
