//! Several daemons with one key of sessions, as behind a load balancer: a client goes on with its session at another one.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use http_body_util::BodyExt as _;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::control::{Asked, Runtime};
use crate::gateway::url;
use crate::harness::{Daemon, McpHttp, body_of, fixture_entry, within};

const DESK: &str = "s3cret-of-desk-0123456789";
const KITCHEN: &str = "s3cret-of-kitchen-0123456";

/// A machine with a daemon, which has nothing in common with another one but the config.
struct Machine {
    runtime: Runtime,
    dir: TempDir,
}

impl Machine {
    fn new() -> Self {
        Machine { runtime: Runtime::new(), dir: TempDir::new().unwrap() }
    }

    fn key(&self) -> PathBuf {
        self.dir.path().join("sessions.key")
    }

    /// Its key file, as an orchestrator puts one there: nobody writes to it.
    fn with_key(self, digit: char) -> Self {
        fs::remove_file(self.key()).ok();
        fs::write(self.key(), digit.to_string().repeat(64)).unwrap();
        fs::set_permissions(self.key(), Permissions::from_mode(0o400)).unwrap();
        self
    }

    fn setup(&self) -> crate::harness::Setup {
        let keys = json!([{"name": "desk", "key": DESK}, {"name": "kitchen", "key": KITCHEN, "servers": ["one"]}]);
        let gateway = json!({"listen": "127.0.0.1:0", "apiKeys": keys, "sessionKeyFile": "sessions.key"});
        let servers = json!({"one": fixture_entry(&["--name", "one"]), "two": fixture_entry(&["--name", "two"])});
        let path = self.dir.path().join("mcp_config.json");
        fs::write(&path, json!({"gateway": gateway, "mcpServers": servers}).to_string()).unwrap();
        let setup = self.runtime.setup().env("XDG_STATE_HOME", self.dir.path().to_str().unwrap());
        setup.args(["--config", path.to_str().unwrap()])
    }

    async fn start(&self) -> Daemon {
        let daemon = self.setup().start("debug");
        daemon.wait_for_event("ALL_UP").await;
        daemon
    }
}

/// A client with a session of this version.
async fn begun(gateway: &McpHttp, version: &str) -> McpHttp {
    let mut client = gateway.clone();
    let hello = json!({"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let hello = json!({"jsonrpc": "2.0", "id": "first", "method": "initialize", "params": hello});
    let answer = client.send("POST", hello.to_string()).await;
    client.session = Some(answer.headers()["mcp-session-id"].to_str().unwrap().to_owned());
    let told: Value = serde_json::from_str(&body_of(answer).await).unwrap();
    assert_eq!(told["result"]["protocolVersion"], version, "{told}");
    client.headers.push(("mcp-protocol-version", version.to_owned()));
    assert_eq!(client.status("POST", &json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await, 202);
    client
}

/// The same client, whose balancer has chosen another daemon.
async fn moved(client: &McpHttp, daemon: &Daemon) -> McpHttp {
    let mut moved = client.clone();
    moved.host = McpHttp::at(&url(daemon).await).host;
    moved
}

fn ping() -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})
}

#[tokio::test]
async fn a_client_goes_on_at_another_replica_and_nobody_else_by_its_session() {
    let (first, second, stranger) =
        (Machine::new().with_key('a'), Machine::new().with_key('a'), Machine::new().with_key('b'));
    let (mut one, two, three) = (first.start().await, second.start().await, stranger.start().await);
    let gateway = McpHttp::at(&url(&one).await);
    let (desk, kitchen) = (gateway.key(DESK), gateway.key(KITCHEN));
    let at_one = desk.path("/mcp/one");
    let mut all = Vec::new();
    for version in ["2025-03-26", "2025-06-18", "2025-11-25"] {
        for (gateway, tool) in [(&desk, "one__pid"), (&kitchen, "pid"), (&at_one, "pid")] {
            all.push((begun(gateway, version).await, tool));
        }
    }
    let mut at_first = String::new();
    for (client, tool) in &mut all {
        at_first = client.call(tool, json!({})).await;
    }
    for (client, tool) in &mut all {
        let mut there = moved(client, &two).await;
        let at_second = there.call(tool, json!({})).await;
        assert_ne!(at_second, at_first, "a process of the other's server");
        // A balancer that keeps to nothing: back, and there again.
        assert_eq!(
            (client.call(tool, json!({})).await, there.call(tool, json!({})).await),
            (at_first.clone(), at_second)
        );
        // It opens nothing to another key, at another address, without a key, or where another key of sessions is.
        let other = if there.headers[0].1.ends_with(DESK) { KITCHEN } else { DESK };
        let [mut thief, mut elsewhere, mut nobody] = [there.clone(), there.clone(), there.clone()];
        thief.headers[0].1 = format!("Bearer {other}");
        elsewhere.path = "/mcp/two".into();
        nobody.headers.remove(0);
        for (client, want) in [(&thief, 404), (&elsewhere, 404), (&nobody, 401), (&moved(client, &three).await, 404)] {
            assert_eq!(client.status("POST", &ping()).await, want);
            assert_eq!(client.status("DELETE", &Value::Null).await, want);
        }
        *client = there;
    }
    // Requests with equal ids at once, each with its own answer; and of a stream only what is of the session.
    let answers = all.iter().enumerate().map(|(n, (client, tool))| {
        let (client, tool) = (client.clone(), tool.replace("pid", "echo"));
        tokio::spawn(async move {
            let params = json!({"name": tool, "arguments": {"text": format!("of {n}")}});
            let call = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params});
            body_of(client.send("POST", call.to_string()).await).await
        })
    });
    for (n, answer) in answers.collect::<Vec<_>>().into_iter().enumerate() {
        let answer = answer.await.unwrap();
        assert!(answer.contains(&format!(r#""text":"of {n}""#)) && answer.matches("\"of ").count() == 1, "{answer}");
    }
    // The first of this version sees all servers, whose lists change.
    let mut stream = all[6].0.send("GET", String::new()).await;
    let mut told = String::new();
    while !told.contains("notifications/tools/list_changed") {
        let frame = within("news", stream.body_mut().frame()).await.unwrap().unwrap();
        told.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
    }
    assert!(!told.contains("of "), "{told}");
    drop(stream);
    one.signal(Signal::KILL);
    one.exit().await;
    for (client, tool) in &mut all {
        client.call(tool, json!({})).await;
    }
    // An end is known where it was told, also after a restart there, and not elsewhere.
    let (ended, _) = &all[0];
    assert_eq!(ended.status("DELETE", &Value::Null).await, 200);
    assert_eq!(ended.status("POST", &ping()).await, 404);
    two.stop().await;
    let (one, two) = (first.start().await, second.start().await);
    assert_eq!(moved(ended, &two).await.status("POST", &ping()).await, 404);
    assert_eq!(moved(ended, &one).await.status("POST", &ping()).await, 200);
    for (client, _) in &all[1..] {
        assert_eq!(moved(client, &one).await.status("POST", &ping()).await, 200);
    }
    for (machine, daemon) in [(&first, &one), (&second, &two), (&stranger, &three)] {
        let shown = machine.runtime.ask(&["sessions", "--json"]).await.out;
        for text in [daemon.log_text(), shown] {
            let secret = |text: &str| all.iter().any(|(client, _)| text.contains(client.session.as_deref().unwrap()));
            assert!(!secret(&text) && !text.contains("aaaaaaaa") && !text.contains("s3cret"), "{text}");
        }
        let folder = fs::read_dir(machine.dir.path().join("mcp-pipe/mcp-pipe-state")).unwrap();
        let names: Vec<_> = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        assert!(names.iter().all(|name| !name.starts_with("sessions-") || !name.ends_with(".key")), "{names:?}");
    }
    for daemon in [one, two, three] {
        daemon.stop().await;
    }
}

#[tokio::test]
async fn clients_without_sessions_need_no_key_of_sessions() {
    let machines = [Machine::new().with_key('a'), Machine::new().with_key('b')];
    let daemons = [machines[0].start().await, machines[1].start().await];
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {}, "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"}});
    for daemon in [&daemons[0], &daemons[1], &daemons[0]] {
        let mut client = McpHttp::at(&url(daemon).await).key(DESK);
        let modern = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "one__echo")];
        client.headers.extend(modern.map(|(name, value)| (name, value.to_owned())));
        let params = json!({"name": "one__echo", "arguments": {"text": "hi"}, "_meta": meta});
        let told = client.ask("tools/call", params).await;
        assert_eq!(told["result"]["content"][0]["text"], "hi", "{told}");
    }
    for daemon in daemons {
        daemon.stop().await;
    }
}

#[tokio::test]
async fn another_key_counts_from_a_reload_on_and_one_that_is_none_changes_nothing() {
    let mut machine = Machine::new().with_key('a');
    let other = Machine::new().with_key('b');
    let (daemon, elsewhere) = (machine.start().await, other.start().await);
    let gateway = McpHttp::at(&url(&daemon).await).key(DESK);
    let before = begun(&gateway, "2025-11-25").await;
    assert_eq!(moved(&before, &elsewhere).await.status("POST", &ping()).await, 404);
    fs::remove_file(machine.key()).unwrap();
    let refused = machine.runtime.ask(&["reload"]).await;
    assert!(refused.code != 0 && refused.err.contains("(umask 077; openssl rand -hex 32 > "), "{refused:?}");
    machine = machine.with_key('b');
    let done = machine.runtime.ask(&["reload"]).await;
    assert_eq!(done.code, 0, "{done:?}");
    // What is open goes on, and what begins is good at the other.
    assert_eq!(before.status("POST", &ping()).await, 200);
    let after = begun(&gateway, "2025-11-25").await;
    for (client, want) in [(&before, 404), (&after, 200)] {
        assert_eq!(moved(client, &elsewhere).await.status("POST", &ping()).await, want);
    }
    let shown = machine.setup().args(["config", "show", "--json"]).output().await;
    let shown = Asked::of(shown);
    assert!(shown.out.contains(r#""value": "sessions.key""#) && !shown.out.contains("bbbbbbbb"), "{shown:?}");
    fs::set_permissions(machine.key(), Permissions::from_mode(0o644)).unwrap();
    let told = Asked::of(machine.setup().args(["validate"]).output().await);
    assert!(told.code == 0 && told.out.contains("which everybody on this machine can read"), "{told:?}");
    daemon.stop().await;
    elsewhere.stop().await;
    fs::remove_file(machine.key()).unwrap();
    let refused = Asked::of(machine.setup().output().await);
    assert!(refused.code == 78 && refused.err.contains("gateway.sessionKeyFile"), "{refused:?}");
}
