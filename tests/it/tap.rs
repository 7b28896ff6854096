//! `mcp-pipe tap`: what it shows of the messages that pass, and what one who does not read costs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::control::Runtime;
use crate::harness::{Conn, Daemon, FakeEndpoint, McpHttp, fixture_entry, multiplex, text_of};
use crate::logs::Follower;

const TOKEN: &str = "s3cr3t-of-a-t4p";

/// Two servers on one connection.
async fn two(runtime: &Runtime) -> (Daemon, Conn) {
    let endpoint = FakeEndpoint::with_token(TOKEN).await;
    let entries = [("one", fixture_entry(&[])), ("two", fixture_entry(&[]))];
    let daemon = runtime.setup().config(&multiplex(&endpoint, entries)).start("info");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    daemon.wait_for_event("ALL_UP").await;
    (daemon, conn)
}

/// Calls, until the tap shows that it looks on.
async fn looks_on(tap: &mut Follower, conn: &mut Conn) {
    for id in 1000.. {
        conn.call(id, "one__echo", json!({"text": "is anybody there"})).await;
        if timeout(Duration::from_millis(200), tap.until("one__echo")).await.is_ok() {
            return;
        }
    }
}

fn message(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))
}

#[tokio::test]
async fn each_message_is_shown_on_both_sides_with_its_time_and_outcome_and_without_secrets() {
    let runtime = Runtime::new();
    let (daemon, mut conn) = two(&runtime).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("calls.jsonl");
    let args = ["--json", "--contents", "--save", file.to_str().unwrap()];
    let mut tap = Follower::running(&runtime, &["tap"], &args);
    looks_on(&mut tap, &mut conn).await;
    let text = format!("a text with {TOKEN} in it");
    assert_eq!(text_of(&conn.call(500, "two__echo", json!({"text": text})).await), text);
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(message(&tap.until("echo").await));
        while seen.last().is_some_and(|line: &Value| line["contents"].to_string().contains("anybody")) {
            seen.pop();
            seen.push(message(&tap.until("echo").await));
        }
    }
    let sides: Vec<_> =
        seen.iter().map(|line| (line["kind"].as_str().unwrap(), line["way"].as_str().unwrap())).collect();
    assert_eq!(sides, [("endpoint", "from"), ("server", "to"), ("server", "from"), ("endpoint", "to")], "{seen:?}");
    let of = |name: &str| seen.iter().map(|line| line[name].clone()).collect::<Vec<_>>();
    assert_eq!((&seen[0]["id"], &seen[3]["id"]), (&json!(500), &json!(500)));
    assert_eq!(of("method"), ["tools/call"; 4]);
    assert_eq!(of("tool"), ["two__echo", "echo", "echo", "two__echo"]);
    assert_eq!(of("outcome"), [Value::Null, Value::Null, json!("ok"), json!("ok")]);
    assert_eq!((&seen[1]["name"], &seen[2]["name"]), (&json!("two"), &json!("two")));
    assert!(seen[2]["ms"].as_f64().unwrap() <= seen[3]["ms"].as_f64().unwrap(), "{seen:?}");
    assert!(seen[0]["contents"]["params"]["arguments"]["text"].as_str().unwrap().contains("a text with …"), "{seen:?}");
    // A tool that there is not.
    conn.call(501, "three__echo", json!({})).await;
    let refused = message(&tap.until("\"refused\"").await);
    assert_eq!(
        (&refused["id"], &refused["tool"], &refused["outcome"]),
        (&json!(501), &json!("three__echo"), &json!("refused"))
    );
    daemon.stop_closing([&mut conn]).await;
    let (code, rest) = tap.exit().await;
    assert_eq!(code, 0, "{rest:?}");
    let kept = fs::read_to_string(&file).unwrap();
    assert!(
        kept.contains("\"id\":500")
            && kept.contains("\"refused\"")
            && !kept.contains(TOKEN)
            && !rest.concat().contains(TOKEN)
    );
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_call_without_an_answer_of_the_server_is_told_as_the_figures_count_it() {
    let (runtime, endpoint) = (Runtime::new(), FakeEndpoint::with_token(TOKEN).await);
    let mut config = multiplex(&endpoint, [("one", fixture_entry(&[])), ("two", fixture_entry(&[]))]);
    config["mcpServers"]["two"]["tools"] = json!({"timeout": {"sleep": "300ms"}});
    let daemon = runtime.setup().config(&config).start("info");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    daemon.wait_for_event("ALL_UP").await;
    let mut tap = Follower::running(&runtime, &["tap"], &["--json"]);
    looks_on(&mut tap, &mut conn).await;
    let mut told = async |conn: &mut Conn, id: i64, tool: &str, arguments: Value| {
        conn.call(id, tool, arguments).await;
        loop {
            let line = message(&tap.until("\"outcome\"").await);
            if line["id"] == id && line["kind"] == "endpoint" {
                return line["outcome"].as_str().unwrap().to_owned();
            }
        }
    };
    assert_eq!(told(&mut conn, 1, "two__sleep", json!({"ms": 20_000})).await, "timeout");
    assert_eq!(told(&mut conn, 2, "one__echo", json!({"text": "x"})).await, "ok");
    runtime.done(&["pause", "two"]).await;
    assert_eq!(told(&mut conn, 3, "two__echo", json!({"text": "x"})).await, "refused");
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn a_pattern_picks_a_server_or_tools_and_a_file_that_is_there_stays() {
    let runtime = Runtime::new();
    let (daemon, mut conn) = two(&runtime).await;
    let mut of_one = Follower::running(&runtime, &["tap"], &["one"]);
    let mut of_tools = Follower::running(&runtime, &["tap"], &["*__pid"]);
    for id in 1.. {
        conn.call(id, "one__pid", json!({})).await;
        conn.call(id + 100_000, "two__echo", json!({"text": "x"})).await;
        let both =
            async { (of_one.until("one ← tools/call pid").await, of_tools.until("tools/call one__pid").await) };
        if timeout(Duration::from_millis(200), both).await.is_ok() {
            break;
        }
    }
    daemon.stop_closing([&mut conn]).await;
    for (tap, none) in [(of_one, "two"), (of_tools, "echo")] {
        let (code, lines) = tap.exit().await;
        assert!(code == 0 && !lines.concat().contains(none), "{none}: {lines:?}");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "mine").unwrap();
    let refused = runtime.ask(&["tap", "--save", file.path().to_str().unwrap()]).await;
    assert!(
        refused.code == 2 && refused.err.contains("is there already, and nothing is written over it"),
        "{refused:?}"
    );
    assert_eq!(fs::read_to_string(file.path()).unwrap(), "mine");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn clients_that_the_gateway_refuses_are_shown_and_why() {
    let runtime = Runtime::new();
    let keys = json!([{"name": "me", "key": "a-key-of-my-own-01"}]);
    let gateway = json!({"listen": "127.0.0.1:0", "apiKeys": keys, "maxBody": "4KiB", "maxConnectionsPerAddress": 8});
    let config = json!({"gateway": gateway, "mcpServers": {"one": fixture_entry(&[])}});
    let daemon = runtime.setup().config(&config).start("info");
    let url = crate::gateway::url(&daemon).await;
    let mut tap = Follower::running(&runtime, &["tap"], &[]);
    let stranger = McpHttp::at(&url);
    let asked = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    // Until it looks on.
    loop {
        assert_eq!(stranger.status("POST", &asked).await, 401);
        if timeout(Duration::from_millis(200), tap.until("a client was refused (401): it showed neither a key"))
            .await
            .is_ok()
        {
            break;
        }
    }
    let large = json!({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"x": "x".repeat(5000)}});
    assert_eq!(stranger.key("a-key-of-my-own-01").status("POST", &large).await, 413);
    tap.until("a request was refused (413): it is larger than `maxBody`").await;
    let mine = McpHttp::at(&url).key("a-key-of-my-own-01");
    assert_eq!(mine.status("POST", &json!({"no": "message"})).await, 400);
    tap.until("a request was refused (400): it is no message").await;
    assert_eq!(mine.status("PUT", &asked).await, 405);
    tap.until("a request was refused (405): nothing at its address").await;
    assert_eq!(McpHttp::at(&url.replace("/mcp", "/elsewhere")).status("POST", &asked).await, 404);
    tap.until("a request was refused (404): nothing is at its address").await;
    // What a client says first that wants TLS.
    let at = url.split('/').nth(2).unwrap();
    let hello = [&[22, 3, 1, 0, 60, 1, 0, 0, 56, 3, 3][..], &[7; 54]].concat();
    let mut stream = tokio::net::TcpStream::connect(at).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, &hello).await.unwrap();
    tap.until("a connection was closed: what came is not HTTP").await;
    let mut open = Vec::new();
    let many = async {
        loop {
            open.push(tokio::net::TcpStream::connect(at).await.unwrap());
            if timeout(Duration::from_millis(200), tap.until("a connection was closed: its address has as many"))
                .await
                .is_ok()
            {
                break;
            }
        }
    };
    crate::harness::within("a connection too many", many).await;
    daemon.stop().await;
    assert_eq!(tap.exit().await.0, 0);
}

#[tokio::test]
async fn one_who_looks_on_and_reads_nothing_holds_nothing_up_and_is_told_what_is_lost() {
    let runtime = Runtime::new();
    let (daemon, mut conn) = two(&runtime).await;
    let mut tap = Follower::running(&runtime, &["tap"], &["--contents", "--json"]);
    looks_on(&mut tap, &mut conn).await;
    let process = Pid::from_raw(tap.child.id().unwrap().cast_signed()).unwrap();
    kill_process(process, Signal::STOP).unwrap();
    let text = "x".repeat(20_000);
    for id in 1..200 {
        assert_eq!(text_of(&conn.call(id, "one__echo", json!({"text": text})).await), text);
    }
    kill_process(process, Signal::CONT).unwrap();
    let lost = message(&tap.until("\"lost\"").await);
    assert!(lost["lines"].as_u64().is_some_and(|lines| (100..800).contains(&lines)), "{lost}");
    conn.call(900, "two__echo", json!({"text": "after that"})).await;
    tap.until("after that").await;
    daemon.stop_closing([&mut conn]).await;
    assert_eq!(tap.exit().await.0, 0);
}
