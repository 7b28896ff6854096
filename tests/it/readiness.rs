//! What of a run that is broken in some way can be asked: `/livez`, `/readyz` and `mcp-pipe status`. The table of docs/OPERATING.md is this
//! one.

use std::fs;
use std::time::Duration;

use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::control::Runtime;
use crate::gateway::url;
use crate::harness::{Daemon, McpHttp, fixture_entry, within};

/// What is done to a daemon that has started.
enum Then {
    Nothing,
    /// This is ordered.
    Order(&'static [&'static str]),
    /// This becomes a part of its config, which is read again.
    Write(&'static str, Value),
    /// It is told to stop, while a call is under way.
    Stop,
    /// It is frozen.
    Freeze,
}

/// A breakage, and what is seen of it.
struct Row {
    what: &'static str,
    servers: Value,
    then: Then,
    live: &'static str,
    ready: &'static str,
    /// The exit code of `status`, and the codes of the causes that it tells.
    status: &'static str,
}

/// An address at which nobody listens.
const NOBODY: &str = "127.0.0.1:9";

fn rows() -> Vec<Row> {
    let good = || json!({"x": fixture_entry(&[])});
    let sleeps = || json!({"command": "sh", "args": ["-c", "exec sleep 1000"]});
    let row = |what, servers, then, [live, ready, status]: [&'static str; 3]| Row {
        what,
        servers,
        then,
        live,
        ready,
        status,
    };
    let beside = |name: &str, entry: Value| {
        let mut both = good();
        both[name] = entry;
        both
    };
    let remote = json!({"x": {"url": format!("http://{NOBODY}/mcp")}});
    let mut lost = good();
    lost["x"]["endpoint"] = format!("ws://{NOBODY}/mcp").into();
    vec![
        row("nothing is broken", good(), Then::Nothing, ["200", "200", "0"]),
        row(
            "one of two servers ends again and again",
            beside("y", json!({"command": "false"})),
            Then::Nothing,
            ["200", "200", "1 `server-crash-loop`"],
        ),
        row(
            "the program of the only server is not there",
            json!({"x": {"command": "not-there-at-all"}}),
            Then::Nothing,
            ["200", "503", "1 `command-not-found`"],
        ),
        row(
            "the only server hangs at its start",
            json!({"x": sleeps()}),
            Then::Nothing,
            ["200", "503", "1 `server-not-ready`"],
        ),
        row(
            "the only server refuses `initialize`",
            json!({"x": fixture_entry(&["--refuse", "no licence"])}),
            Then::Nothing,
            ["200", "503", "1 `server-refuses`"],
        ),
        row("the only server is remote, and down", remote, Then::Nothing, ["200", "503", "1 `remote-refused`"]),
        row("the endpoint is down", lost, Then::Nothing, ["200", "200", "1 `endpoint-refused`"]),
        row("the only server is stopped by command", good(), Then::Order(&["stop", "x"]), ["200", "503", "0"]),
        row("the only server is paused by command", good(), Then::Order(&["pause", "x"]), ["200", "503", "0"]),
        row(
            "the config was changed, and has mistakes",
            good(),
            Then::Write("/drainTimeout", "soon".into()),
            ["200", "200", "1 `config-mistake`"],
        ),
        row(
            "the gateway can't move to where the changed config wants it",
            good(),
            // No address of this machine (RFC 5737).
            Then::Write(
                "/gateway",
                json!({"listen": "192.0.2.1:1", "apiKeys": [{"name": "me", "key": "the-key-of-me-0123"}]}),
            ),
            ["200", "200", "1 `gateway-unchanged`"],
        ),
        row("mcp-pipe stops, and a call is under way", good(), Then::Stop, ["refused", "refused", "0, stopping"]),
        row("mcp-pipe is frozen, or its loop hangs", good(), Then::Freeze, ["no answer", "no answer", "1, no answer"]),
    ]
}

/// What an address answers: its status, and its body.
async fn asked(host: &str, path: &str) -> (String, String) {
    let Ok(mut stream) = TcpStream::connect(host).await else { return ("refused".into(), String::new()) };
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    match timeout(Duration::from_secs(2), stream.read_to_string(&mut answer)).await {
        Ok(Ok(_)) => {}
        // It came just when nobody listened any more.
        Ok(Err(_)) => return ("refused".into(), String::new()),
        Err(_) => return ("no answer".into(), String::new()),
    }
    if answer.is_empty() {
        return ("refused".into(), String::new());
    }
    let body = answer.split_once("\r\n\r\n").unwrap().1.trim_end().to_owned();
    (answer.split(' ').nth(1).unwrap().to_owned(), body)
}

/// What `status` tells, as the table has it.
async fn status(runtime: &Runtime) -> String {
    let said = runtime.ask(&["status", "--json"]).await;
    let Ok(json) = serde_json::from_str::<Value>(&said.out) else { return format!("{}, no answer", said.code) };
    let codes =
        json["causes"].as_array().unwrap().iter().map(|cause| format!(" `{}`", cause["code"].as_str().unwrap()));
    let stopping = if json["stopping"] == true { ", stopping" } else { "" };
    format!("{}{}{stopping}", said.code, codes.collect::<String>())
}

/// What is seen: `/livez`, `/readyz`, `status`, and the body of `/readyz`.
async fn seen(host: &str, runtime: &Runtime) -> [String; 4] {
    let (live, (ready, body)) = (asked(host, "/livez").await.0, asked(host, "/readyz").await);
    [live, ready, status(runtime).await, body]
}

async fn broken(row: &Row) -> [String; 4] {
    let runtime = Runtime::new();
    let mut config =
        json!({"maxBackoff": "1s", "startTimeout": "1s", "drainTimeout": "1m", "gateway": {"listen": "127.0.0.1:0"}});
    config["mcpServers"] = row.servers.clone();
    let mut daemon = runtime.setup().config(&config).start("info");
    runtime.until_one_listens(&daemon).await;
    let at = url(&daemon).await;
    let host = at.trim_start_matches("http://").split('/').next().unwrap().to_owned();
    let called = match &row.then {
        Then::Nothing => None,
        Then::Order(order) => {
            runtime.done(order).await;
            None
        }
        Then::Write(place, value) => {
            served(&daemon).await;
            let (key, value) = (place.trim_start_matches('/'), value.clone());
            config[key] = value;
            fs::write(daemon.path().join("mcp_config.json"), config.to_string()).unwrap();
            None
        }
        Then::Stop => {
            served(&daemon).await;
            let mut client = McpHttp::at(&at);
            client.begin().await;
            let until = daemon.path().join("over").to_str().unwrap().to_owned();
            let call = tokio::spawn(async move { client.call("sleep", json!({"ms": 0, "until": until})).await });
            // It is under way once the server has it.
            tokio::time::sleep(Duration::from_millis(300)).await;
            daemon.signal(Signal::TERM);
            daemon.wait_for_event("STOPPING").await;
            Some(call)
        }
        Then::Freeze => {
            served(&daemon).await;
            daemon.signal(Signal::STOP);
            None
        }
    };
    // What is told once it is told why has to stay so.
    let settled = async {
        while !seen(&host, &runtime).await[..3].iter().eq([row.live, row.ready, row.status]) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    if timeout(Duration::from_secs(30), settled).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let seen = seen(&host, &runtime).await;
    match called {
        Some(call) => {
            fs::write(daemon.path().join("over"), "").unwrap();
            within("the call's answer", call).await.unwrap();
            assert!(daemon.exit().await.success());
        }
        None => {
            daemon.signal(Signal::CONT);
            daemon.stop().await;
        }
    }
    seen
}

/// Waits until the only server serves.
async fn served(daemon: &Daemon) {
    daemon.wait_for_event("ALL_UP").await;
}

#[tokio::test]
async fn each_breakage_is_seen_where_it_matters() {
    let rows = rows();
    let table: Vec<&str> =
        include_str!("../../docs/OPERATING.md").lines().filter(|line| line.starts_with("| ")).collect();
    let mut wrong = Vec::new();
    // Some at a time: each is a daemon and its servers.
    for some in rows.chunks(4) {
        let all = join_all(some.iter().map(broken)).await;
        for (row, seen) in some.iter().zip(all) {
            if !seen[..3].iter().eq([row.live, row.ready, row.status]) {
                wrong.push(format!("{}: {seen:?}", row.what));
            }
            let body = match row.what {
                "one of two servers ends again and again" => "ok: 1 of 2 servers serving\nwaiting for y",
                "the endpoint is down" => "ok: 1 of 1 server serving\nnot connected: ws://127.0.0.1:9/mcp",
                "the only server is stopped by command" => "no server serves\nstopped or paused by command: x",
                _ if row.ready == "503" && !matches!(row.then, Then::Order(_)) => "no server serves\nwaiting for x",
                _ if row.ready == "200" => "ok",
                _ => &seen[3],
            };
            if seen[3] != body {
                wrong.push(format!("{}: the body is {:?}", row.what, seen[3]));
            }
            let line = format!("| {} | {} | {} | {} |", row.what, row.live, row.ready, row.status);
            if !table.contains(&&*line) {
                wrong.push(format!("docs/OPERATING.md lacks: {line}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
