//! Servers of many libraries and versions, by each transport that they have, in each mode, beside one that is only a process: listed,
//! called, watched, cancelled, read, and changed. `docs/SERVERS.md` says what was seen.
//!
//! Beside what `real_servers.rs` needs: `MCP_PIPE_TEST_OLD_PYTHON`, a Python with `mcp<2` and `fastmcp<4`; in the other one `mcp-server-time`,
//! `-git` and `-fetch`; and among the modules `@modelcontextprotocol/server` and `@modelcontextprotocol/node`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::task::{JoinHandle, JoinSet};

use crate::harness::{
    Conn, Daemon, FakeEndpoint, Setup, built, config, field, fixture_entry, installed, multiplex, names, text_of,
};
use crate::remote::{Real, free_port, listening};

/// How many servers are started at a time.
const AT_ONCE: usize = 4;

/// Those that speak both eras, each of which is used by the newer one as well.
const OF_BOTH: [&str; 11] = [
    "fastmcp4",
    "fastmcp4_http",
    "python2",
    "python2_http",
    "typescript2",
    "typescript2_http",
    "time",
    "git",
    "fetch",
    "rmcp3",
    "rmcp3_http",
];

/// What a server has for a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Has {
    /// What `tests/servers/` have. `grows`: whoever lists its tools is told of a new one.
    All { grows: bool },
    /// What server-everything has.
    Everything,
    /// What `tests/it/rust_server.rs` has.
    Countdown,
    /// One tool that answers with this text.
    Tool(&'static str, &'static str, &'static str),
}

/// A server, and how it is reached.
struct Row {
    name: &'static str,
    entry: Value,
    has: Has,
    /// In which era it is spoken to.
    era: &'static str,
    _process: Option<Real>,
}

const LEGACY: &str = "legacy";
const MODERN: &str = "modern";

const ALL: Has = Has::All { grows: true };
/// One without sessions, to whom nobody listens.
const ALL_BUT_CHANGES: Has = Has::All { grows: false };

fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers").join(name)
}

/// A server by one of its transports: a command without the last two arguments, which are the transport and the port.
async fn row(name: &'static str, has: Has, command: &[&Path], transport: &str) -> Row {
    let (program, args) = command.split_first().unwrap();
    let mut args: Vec<String> = args.iter().map(|arg| arg.to_str().unwrap().to_owned()).collect();
    args.push(transport.to_owned());
    if transport == "stdio" {
        args.push("0".to_owned());
        return Row { name, entry: json!({"command": program, "args": args}), has, era: LEGACY, _process: None };
    }
    let port = free_port().await;
    args.push(port.to_string());
    let mut command = Command::new(program);
    command.args(args).env("PORT", port.to_string());
    let real = listening(command, port, if transport == "sse" { "/sse" } else { "/mcp" }).await;
    Row { name, entry: json!({"url": real.url}), has, era: LEGACY, _process: Some(real) }
}

/// All of them; `None` where something is not installed.
async fn fleet(repository: &Path) -> Option<Vec<Row>> {
    let (new, old) = (installed("MCP_PIPE_TEST_PYTHON")?, installed("MCP_PIPE_TEST_OLD_PYTHON")?);
    let modules = installed("MCP_PIPE_TEST_NODE_MODULES")?;
    let (python, node) = (program("sdk_server.py"), program("sdk_server.mjs"));
    let everything = modules.join("@modelcontextprotocol/server-everything/dist/index.js");
    let [mcp, fastmcp, one, two, js] = ["mcp", "fastmcp", "1", "2", "node"].map(Path::new);
    let rust = built("rust_server");
    let commands: [(&'static str, Has, Vec<&Path>, &str); 21] = [
        ("everything", Has::Everything, vec![js, &everything], "stdio"),
        ("everything_http", Has::Everything, vec![js, &everything], "streamableHttp"),
        ("everything_sse", Has::Everything, vec![js, &everything], "sse"),
        ("fastmcp4", ALL, vec![&new, &python, fastmcp], "stdio"),
        ("fastmcp4_http", ALL, vec![&new, &python, fastmcp], "http"),
        ("fastmcp4_sse", ALL, vec![&new, &python, fastmcp], "sse"),
        ("fastmcp3", ALL, vec![&old, &python, fastmcp], "stdio"),
        ("fastmcp3_http", ALL, vec![&old, &python, fastmcp], "http"),
        ("fastmcp3_sse", ALL, vec![&old, &python, fastmcp], "sse"),
        ("python2", ALL, vec![&new, &python, mcp], "stdio"),
        ("python2_http", ALL, vec![&new, &python, mcp], "http"),
        ("python2_sse", ALL, vec![&new, &python, mcp], "sse"),
        ("python1", ALL, vec![&old, &python, mcp], "stdio"),
        ("python1_http", ALL, vec![&old, &python, mcp], "http"),
        ("python1_sse", ALL, vec![&old, &python, mcp], "sse"),
        ("typescript1", ALL, vec![js, &node, &modules, one], "stdio"),
        ("typescript1_http", ALL, vec![js, &node, &modules, one], "http"),
        ("typescript1_sse", ALL, vec![js, &node, &modules, one], "sse"),
        ("typescript2", ALL, vec![js, &node, &modules, two], "stdio"),
        ("typescript2_http", ALL_BUT_CHANGES, vec![js, &node, &modules, two], "http"),
        ("rmcp3_http", Has::Countdown, vec![&rust], "http"),
    ];
    let started = commands.iter().map(|(name, has, command, transport)| row(name, *has, command, transport));
    let mut rows: Vec<Row> = stream::iter(started).buffered(AT_ONCE).collect().await;
    let bin = new.parent().unwrap();
    let own = |name, entry, has| Row { name, entry, has, era: LEGACY, _process: None };
    rows.extend([
        own(
            "time",
            json!({"command": bin.join("mcp-server-time")}),
            Has::Tool("get_current_time", r#"{"timezone":"UTC"}"#, "\"timezone\""),
        ),
        own(
            "git",
            json!({"command": bin.join("mcp-server-git"), "args": ["--repository", repository]}),
            Has::Tool("git_status", "{}", "Repository status"),
        ),
        own(
            "fetch",
            json!({"command": bin.join("mcp-server-fetch")}),
            Has::Tool("fetch", r#"{"url":"http://127.0.0.1:1/"}"#, ""),
        ),
        own("rmcp3", json!({"command": &rust}), Has::Countdown),
        own("rmcp1", json!({"command": built("old_rust_server")}), Has::Tool("reverse", r#"{"text":"abc"}"#, "cba")),
    ]);
    Some(rows)
}

/// A peer's next id.
struct Ids(u64);

impl Ids {
    fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

/// Uses all that a server has, under the names that its tools are published under. `mode`: for names of its own.
async fn use_all(conn: &mut Conn, ids: &mut Ids, has: Has, tool: impl Fn(&str) -> String, mode: &str) {
    let two = json!({"a": 2, "b": 3});
    let (add, arguments, sum, slow, steps) = match has {
        Has::Tool(name, arguments, says) => {
            let mut arguments: Value = serde_json::from_str(arguments).unwrap();
            if name == "git_status" {
                arguments = json!({"repo_path": mode.split_once(' ').unwrap().1});
            }
            let answer = conn.call(ids.next(), &tool(name), arguments).await;
            let text = answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{name}: {answer}"));
            assert!(text.contains(says), "{name}: {answer}");
            return;
        }
        Has::All { .. } => ("add", two, "5", "slow", ["{\"steps\":3}", "{\"steps\":1000}"]),
        Has::Countdown => {
            let steps = ["{\"from\":3,\"ms\":50}", "{\"from\":1000,\"ms\":50}"];
            ("reverse", json!({"text": "abc"}), "cba", "countdown", steps)
        }
        Has::Everything => {
            let long = ["{\"duration\":0.3,\"steps\":3}", "{\"duration\":60,\"steps\":1000}"];
            ("get-sum", two, "The sum of 2 and 3 is 5.", "trigger-long-running-operation", long)
        }
    };
    assert_eq!(text_of(&conn.call(ids.next(), &tool(add), arguments.clone()).await), sum);
    for (steps, is_cancelled) in steps.into_iter().zip([false, true]) {
        let (id, steps) = (ids.next(), serde_json::from_str::<Value>(steps).unwrap());
        let token = format!("of {id}");
        let params = json!({"name": tool(slow), "arguments": steps, "_meta": {"progressToken": token}});
        conn.send(json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})).await;
        // What a call said that was cancelled before may still have been on its way.
        while conn.other("notifications/progress").await["params"]["progressToken"] != token {}
        if is_cancelled {
            let params = json!({"requestId": id});
            conn.send(json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params})).await;
        } else {
            assert!(conn.answer_to(id).await["result"].is_object());
        }
        conn.others.retain(|other| other["method"] != "notifications/progress");
    }
    // It goes on, whatever it does about that.
    assert_eq!(text_of(&conn.call(ids.next(), &tool(add), arguments).await), sum);
    if has == ALL {
        let name = format!("grown_{}", mode.split_once(' ').unwrap().0);
        let answer = conn.call(ids.next(), &tool("grow"), json!({"name": name})).await;
        assert_eq!(text_of(&answer), format!("grown by {name}"));
        loop {
            conn.other("notifications/tools/list_changed").await;
            let id = ids.next();
            conn.send(json!({"jsonrpc": "2.0", "id": id, "method": "tools/list"})).await;
            if names(&conn.answer_to(id).await).iter().any(|listed| listed.ends_with(&name)) {
                break;
            }
        }
    }
}

/// Reads each resource of these that is a text of `tests/servers/` or of server-everything; how many there were.
async fn read_resources(conn: &mut Conn, ids: &mut Ids) -> usize {
    let id = ids.next();
    conn.send(json!({"jsonrpc": "2.0", "id": id, "method": "resources/list"})).await;
    let listed = conn.answer_to(id).await;
    let all = listed["result"]["resources"].as_array().cloned().unwrap_or_default();
    let texts = all.iter().filter_map(|resource| resource["uri"].as_str()).filter(|uri| uri.contains("demo:"));
    let mut count = 0;
    for uri in texts {
        let id = ids.next();
        conn.send(json!({"jsonrpc": "2.0", "id": id, "method": "resources/read", "params": {"uri": uri}})).await;
        let read = conn.answer_to(id).await;
        assert!(read["result"]["contents"][0]["text"].is_string(), "{uri}: {read}");
        count += 1;
    }
    count
}

fn has_resources(has: Has) -> bool {
    matches!(has, Has::All { .. } | Has::Everything)
}

/// Whether it says by its stderr that a tool was cancelled.
fn hears(row: &Row) -> bool {
    row.entry["url"].is_null() && matches!(row.has, Has::All { .. } | Has::Countdown)
}

/// Each process was started once.
fn started_once(daemon: &Daemon, rows: &[Row]) {
    let lines = daemon.log_lines();
    for row in rows {
        let is_start =
            |line: &&Value| field(line, "event") == Some("SERVER_STARTED") && field(line, "server") == Some(row.name);
        assert_eq!(lines.iter().filter(is_start).count(), 1, "{}", row.name);
    }
}

fn entries(rows: &[Row]) -> impl Iterator<Item = (&'static str, Value)> {
    let entry = |row: &Row| {
        let mut entry = row.entry.clone();
        entry["era"] = row.era.into();
        (row.name, entry)
    };
    let rows: Vec<_> = rows.iter().map(entry).collect();
    rows.into_iter().chain([("own", fixture_entry(&[]))])
}

/// Each on a connection of its own.
async fn each_alone(rows: &[Row], repository: &str) {
    let tokens: Vec<String> = (0..rows.len()).map(|n| format!("t0ken-number-{n}")).collect();
    let endpoints: Vec<_> = join_all(tokens.iter().map(|token| FakeEndpoint::with_token(token))).await;
    let mut file = config(entries(rows).filter(|(name, _)| *name != "own"));
    for (row, endpoint) in rows.iter().zip(&endpoints) {
        file["mcpServers"][row.name]["endpoint"] = endpoint.url().into();
    }
    let daemon = Setup::new().config(&file).start("debug");
    let uses = rows.iter().zip(&endpoints).map(|(row, endpoint)| async move {
        let mut conn = endpoint.accept().await;
        let listed = conn.handshake().await;
        assert!(!names(&listed).is_empty(), "{}", row.name);
        let mut ids = Ids(100);
        use_all(&mut conn, &mut ids, row.has, str::to_owned, &format!("alone_{} {repository}", row.era)).await;
        let read = if has_resources(row.has) { read_resources(&mut conn, &mut ids).await } else { 1 };
        assert!(read > 0, "{}", row.name);
        conn
    });
    // All at once: whoever is not accepted, or not read, is given up after a while.
    let mut conns: Vec<Conn> = join_all(uses).await;
    // What a process writes to stderr is in the log; a server that is only listened to tells nobody.
    for row in rows.iter().filter(|row| hears(row)) {
        let is_told = |line: &Value| {
            field(line, "server") == Some(row.name)
                && line["message"].as_str().is_some_and(|said| said.contains("was cancelled"))
        };
        daemon.wait_for(&format!("{} to hear of the cancellation", row.name), is_told).await;
    }
    started_once(&daemon, rows);
    daemon.stop_closing(&mut conns).await;
}

/// All on one connection.
async fn all_as_one(rows: &[Row], repository: &str) {
    let endpoint = FakeEndpoint::bind().await;
    let daemon = Setup::new().config(&multiplex(&endpoint, entries(rows))).start("debug");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    daemon.wait_for_event("ALL_UP").await;
    let mut ids = Ids(100);
    conn.send(json!({"jsonrpc": "2.0", "id": 50, "method": "tools/list"})).await;
    let listed = conn.answer_to(50).await;
    let listed = names(&listed);
    for row in rows {
        let published = |tool: &str| {
            let own = format!("{}__{tool}", row.name);
            if listed.contains(&&*own) { own } else { tool.to_owned() }
        };
        use_all(&mut conn, &mut ids, row.has, published, &format!("merged_{}_{} {repository}", row.name, row.era))
            .await;
    }
    let expected = rows.iter().filter(|row| has_resources(row.has)).count();
    assert!(read_resources(&mut conn, &mut ids).await >= expected);
    assert_eq!(endpoint.accepted(), 1);
    started_once(&daemon, rows);
    daemon.stop_closing([&mut conn]).await;
}

/// One after the other.
async fn in_turns(rows: &[Row], repository: &str) {
    let endpoint = FakeEndpoint::bind().await;
    let mut file = config(entries(rows));
    file["mode"] = "sequential".into();
    file["endpoint"] = endpoint.url().into();
    let daemon = Setup::new().config(&file).start("debug");
    // At once: a daemon waits for an upgrade for a shorter time than so many servers may need for their start.
    let mut conn = endpoint.accept().await;
    for (name, _) in entries(rows) {
        let is_warm = |line: &Value| field(line, "event") == Some("SERVER_WARM") && field(line, "server") == Some(name);
        daemon.wait_for(&format!("{name} answers"), is_warm).await;
    }
    let mut left: Vec<Has> = rows.iter().map(|row| row.has).collect();
    // All of them, and the fixture.
    for turn in 0..=rows.len() {
        let listed = conn.handshake().await;
        let listed = names(&listed);
        let is_it = |has: &Has| match has {
            Has::All { .. } => listed.contains(&"slow"),
            Has::Everything => listed.contains(&"get-sum"),
            Has::Countdown => listed.contains(&"countdown"),
            Has::Tool(tool, ..) => listed.contains(tool),
        };
        match left.iter().position(is_it) {
            Some(at) => {
                // Whether it tells of changes is not asked here: which of them it is, is not known.
                let has = left.remove(at);
                let has = if has == ALL { ALL_BUT_CHANGES } else { has };
                use_all(&mut conn, &mut Ids(100), has, str::to_owned, &format!("turn {repository}")).await;
            }
            None => assert!(listed.contains(&"touch"), "{listed:?}"),
        }
        if turn == rows.len() {
            daemon.stop_closing([&mut conn]).await;
            assert!(left.is_empty(), "{left:?}");
            return;
        }
        daemon.signal(Signal::USR1);
        while conn.next().await.is_ok() {}
        conn = endpoint.accept().await;
    }
}

/// What is sent through a port of this machine to another one. It ends when this is dropped.
struct Tap {
    port: u16,
    heard: Arc<Mutex<Vec<u8>>>,
    task: JoinHandle<()>,
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Tap {
    async fn before(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, heard) = (listener.local_addr().unwrap().port(), Arc::default());
        let noted: Arc<Mutex<Vec<u8>>> = Arc::clone(&heard);
        let task = tokio::spawn(async move {
            let mut each = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let noted = noted.clone();
                each.spawn(async move {
                    let (mut back, mut back_to) = TcpStream::connect(("127.0.0.1", to)).await.ok()?.into_split();
                    let (mut from, mut answers) = stream.into_split();
                    let there = async {
                        let mut bytes = vec![0; 1 << 16];
                        loop {
                            let size = from.read(&mut bytes).await.ok().filter(|size| *size > 0)?;
                            noted.lock().unwrap().extend_from_slice(&bytes[..size]);
                            back_to.write_all(&bytes[..size]).await.ok()?;
                        }
                    };
                    // Whichever side ends, the other one is told.
                    tokio::select! {
                        ended = there => ended,
                        _ = tokio::io::copy(&mut back, &mut answers) => Some(()),
                    }
                });
            }
        });
        Tap { port, heard, task }
    }

    /// What was sent since this was asked last.
    fn take(&self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut *self.heard.lock().unwrap())).into_owned()
    }
}

/// Nothing is said of their eras, and they are run twice: each is found out in the first run, and opened as what it is in the second.
async fn straight_in_a_second_run(rows: &[Row]) {
    let (endpoint, cache) = (FakeEndpoint::bind().await, tempfile::tempdir().unwrap());
    let mut taps = Vec::new();
    let mut entries = Vec::new();
    for row in rows {
        let mut entry = row.entry.clone();
        if let Some(url) = entry["url"].as_str() {
            let (port, path) = url.strip_prefix("http://127.0.0.1:").unwrap().split_once('/').unwrap();
            let tap = Tap::before(port.parse().unwrap()).await;
            entry["url"] = format!("http://127.0.0.1:{}/{path}", tap.port).into();
            taps.push((row.name, tap));
        }
        entries.push((row.name, entry));
    }
    let mut file = multiplex(&endpoint, entries);
    file["cacheDir"] = cache.path().to_str().unwrap().into();
    for is_second in [false, true] {
        let daemon = Setup::new().config(&file).start("debug");
        let mut conn = endpoint.accept().await;
        conn.handshake().await;
        daemon.wait_for_event("ALL_UP").await;
        started_once(&daemon, rows);
        for (name, tap) in &taps {
            let asked = tap.take();
            let count = |what: &str| asked.matches(what).count();
            let (sse, modern) = (name.ends_with("_sse"), OF_BOTH.contains(name));
            // Once for each life, whichever the method: a tap that hears nothing would show nothing.
            assert_eq!(count("\"method\":\"initialize\""), usize::from(!modern), "{name}: {asked}");
            let probes = usize::from(!sse && !modern && !is_second);
            let discovers = count("\"method\":\"server/discover\"");
            assert!(if modern { discovers > 0 } else { discovers == probes }, "{name}, {is_second}: {asked}");
            // By the other transport it is not tried.
            let first = if sse { "GET /" } else { "POST /" };
            assert!(asked.starts_with(first) && (!sse || count("GET /") == 1), "{name}: {asked}");
        }
        daemon.stop_closing([&mut conn]).await;
        taps.iter().for_each(|(_, tap)| drop(tap.take()));
    }
    assert_eq!(endpoint.accepted(), 2);
}

#[tokio::test]
async fn every_server_does_all_it_can_alone_among_others_and_in_turns() {
    let repository = tempfile::tempdir().unwrap();
    let made = Command::new("git").args(["init", "--quiet"]).current_dir(&repository).status().await;
    assert!(made.unwrap().success());
    let Some(rows) = fleet(repository.path()).await else { return };
    let repository = repository.path().to_str().unwrap();
    straight_in_a_second_run(&rows).await;
    // In parts, as a machine that starts dozens of processes at once is no place to look at their order.
    for rows in rows.chunks(9) {
        each_alone(rows, repository).await;
    }
    all_as_one(&rows, repository).await;
    in_turns(&rows, repository).await;
    // The same endpoint knows nothing of the newer era, in which these are spoken to now.
    let mut rows: Vec<Row> = rows.into_iter().filter(|row| OF_BOTH.contains(&row.name)).collect();
    assert_eq!(rows.len(), OF_BOTH.len());
    for row in &mut rows {
        row.era = MODERN;
        // They tell a session of a change, and in the newer era there is none: `eras.rs` has servers that tell whoever listens.
        row.has = if row.has == ALL { ALL_BUT_CHANGES } else { row.has };
    }
    each_alone(&rows, repository).await;
    all_as_one(&rows, repository).await;
    in_turns(&rows, repository).await;
}
