//! A config that is changed while mcp-pipe runs: only what changed is touched.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::control::{Runtime, put_in_place};
use crate::escapes::terminal;
use crate::harness::{Conn, Daemon, FakeEndpoint, Setup, field, fixture_entry, names, rounds, text_of, within};

/// Servers of these names, each on an endpoint of its own.
fn apart(servers: &[(&str, &FakeEndpoint)]) -> Value {
    let entry = |(name, endpoint): &(&str, &FakeEndpoint)| {
        let mut entry = fixture_entry(&[]);
        entry["endpoint"] = endpoint.url().into();
        ((*name).to_owned(), entry)
    };
    json!({ "mcpServers": servers.iter().map(entry).collect::<serde_json::Map<_, _>>() })
}

/// A running mcp-pipe, and its config.
struct Running {
    runtime: Runtime,
    daemon: Daemon,
    config: Value,
}

impl Running {
    fn start(config: Value) -> Self {
        Self::start_as(config, |setup| setup)
    }

    /// The same, started otherwise.
    fn start_as(config: Value, how: impl FnOnce(Setup) -> Setup) -> Self {
        let runtime = Runtime::new();
        let daemon = runtime.setup_as(how).config(&config).start("info");
        Running { runtime, daemon, config }
    }

    fn file(&self) -> std::path::PathBuf {
        self.daemon.path().join("mcp_config.json")
    }

    fn write(&self) {
        put_in_place(&self.file(), &self.config.to_string());
    }

    /// Changes the config, and has it read. Returns what is told.
    async fn reload(&mut self, change: impl FnOnce(&mut Value)) -> String {
        change(&mut self.config);
        self.runtime.reload(&self.daemon, &self.config).await
    }

    /// The same where endpoints are dialled anew, which is waited for: also what comes of `accepted`.
    async fn reload_dialled<T>(
        &mut self,
        change: impl FnOnce(&mut Value),
        accepted: impl Future<Output = T>,
    ) -> (String, T) {
        tokio::join!(self.reload(change), accepted)
    }

    /// How often a server was started.
    fn starts(&self, server: &str) -> usize {
        let is_it =
            |line: &&Value| field(line, "event") == Some("SERVER_STARTED") && field(line, "server") == Some(server);
        self.daemon.log_lines().iter().filter(is_it).count()
    }
}

/// How many files the daemon has open, where that can be told.
fn open_files(daemon: &Daemon) -> Option<usize> {
    Some(fs::read_dir(format!("/proc/{}/fd", daemon.pid().as_raw_nonzero())).ok()?.count())
}

async fn pid(conn: &mut Conn, id: u64) -> i32 {
    text_of(&conn.call(id, "pid", json!({})).await).parse().unwrap()
}

async fn tools(conn: &mut Conn, id: u64) -> Vec<String> {
    conn.send(json!({"jsonrpc": "2.0", "id": id, "method": "tools/list"})).await;
    names(&conn.answer_to(id).await).into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn only_what_an_edit_is_about_is_touched() {
    let (a, b) = (FakeEndpoint::bind().await, FakeEndpoint::bind().await);
    let mut run = Running::start(apart(&[("a", &a), ("b", &b)]));
    let (mut at_a, mut at_b) = (a.accept().await, b.accept().await);
    at_a.handshake().await;
    at_b.handshake().await;
    let (of_a, of_b) = (pid(&mut at_a, 10).await, pid(&mut at_b, 10).await);
    assert_eq!(run.reload(|_| {}).await, "nothing changed\n");
    at_a.send_call(11, "sleep", json!({"ms": 3000})).await;

    // An edited entry restarts its server, whose connection stands.
    let said = run.reload(|config| config["mcpServers"]["b"]["env"] = json!({"WORD": "1"})).await;
    assert!(said.starts_with("changed: b is restarted, as its environment has changed"), "{said}");
    let after = pid(&mut at_b, 11).await;
    assert_ne!(of_b, after);
    // A filter restarts nothing.
    let said = run.reload(|config| config["mcpServers"]["b"]["tools"] = json!({"deny": ["echo"]})).await;
    assert!(said.contains("b shows other tools"), "{said}");
    assert!(!tools(&mut at_b, 12).await.contains(&"echo".to_owned()));
    run.reload(|config| drop(config["mcpServers"]["b"].as_object_mut().unwrap().remove("tools"))).await;
    assert!(tools(&mut at_b, 13).await.contains(&"echo".to_owned()));
    // Another address has this endpoint dialled anew, and the server knows nothing of it.
    let c = FakeEndpoint::bind().await;
    let change = |config: &mut Value| config["mcpServers"]["b"]["endpoint"] = c.url().into();
    let (said, mut at_c) = run.reload_dialled(change, c.accept()).await;
    assert!(said.starts_with("changed: "), "{said}");
    assert_eq!(u16::from(at_b.wait_for_close().await.unwrap().code), 1000);
    at_c.handshake().await;
    assert_eq!(pid(&mut at_c, 10).await, after);
    let known = run.runtime.ask(&["next", &c.url()]).await;
    assert!(known.code == 1 && known.err.contains("takes no turns"), "commands know its address: {known:?}");
    // A server comes, and goes.
    let d = FakeEndpoint::bind().await;
    let entry = apart(&[("d", &d)])["mcpServers"]["d"].clone();
    let (said, mut at_d) = run.reload_dialled(|config| config["mcpServers"]["d"] = entry, d.accept()).await;
    assert!(said.starts_with("changed: d is new"), "{said}");
    at_d.handshake().await;
    let of_d = pid(&mut at_d, 10).await;
    let said = run.reload(|config| drop(config["mcpServers"].as_object_mut().unwrap().remove("d"))).await;
    assert!(said.starts_with("changed: d is gone"), "{said}");
    assert_eq!(u16::from(at_d.wait_for_close().await.unwrap().code), 1000);
    assert!(!run.daemon.processes().contains_key(&of_d), "its process has ended");
    let status = run.runtime.ask(&["status"]).await;
    assert!(!status.out.contains("d:"), "{status:?}");

    assert_eq!(text_of(&at_a.answer_to(11).await), "slept 3000 ms");
    assert_eq!((pid(&mut at_a, 12).await, a.accepted(), run.starts("a")), (of_a, 1, 1));
    assert_eq!((c.accepted(), run.starts("b")), (1, 2));
    run.daemon.stop_closing([&mut at_a, &mut at_c]).await;
}

#[tokio::test]
async fn servers_that_share_an_endpoint_come_and_go_beside_each_other() {
    let endpoint = FakeEndpoint::bind().await;
    let mut config = apart(&[("a", &endpoint), ("b", &endpoint)]);
    config["mode"] = "multiplex".into();
    let mut run = Running::start(config);
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    assert!(tools(&mut conn, 10).await.contains(&"a__echo".to_owned()));
    let entry = run.config["mcpServers"]["b"].clone();
    run.reload(|config| config["mcpServers"]["c"] = entry).await;
    let listed = tools(&mut conn, 11).await;
    assert!(["a__echo", "b__echo", "c__echo"].iter().all(|tool| listed.contains(&(*tool).to_owned())), "{listed:?}");
    run.reload(|config| drop(config["mcpServers"].as_object_mut().unwrap().remove("a"))).await;
    let listed = tools(&mut conn, 12).await;
    assert!(!listed.iter().any(|tool| tool.starts_with("a__")) && listed.contains(&"c__echo".to_owned()), "{listed:?}");
    assert_eq!((endpoint.accepted(), run.starts("b"), run.starts("c")), (1, 1, 1));
    // Another mode has the connection made anew, and no server.
    let both = async { (endpoint.accept().await, endpoint.accept().await) };
    let (_, (mut one, mut other)) = run.reload_dialled(|config| config["mode"] = "per-server".into(), both).await;
    assert_eq!(u16::from(conn.wait_for_close().await.unwrap().code), 1000);
    one.handshake().await;
    other.handshake().await;
    assert_eq!((run.starts("b"), run.starts("c")), (1, 1));
    run.daemon.stop_closing([&mut one, &mut other]).await;
}

#[tokio::test]
async fn servers_that_come_to_take_turns_or_no_longer_do_are_not_restarted() {
    let endpoint = FakeEndpoint::bind().await;
    let mut config = apart(&[("a", &endpoint), ("b", &endpoint)]);
    config["mode"] = "multiplex".into();
    let mut run = Running::start(config);
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    let before = text_of(&conn.call(10, "a__pid", json!({})).await).to_owned();
    // Each change has the connection made anew, and no server.
    for (change, of) in [
        (json!({"mode": "sequential"}), "a"),
        (json!({"mode": "sequential", "turn": "20s"}), "a"),
        (json!({"mode": "sequential", "pin": "b"}), "b"),
        (json!({"mode": "multiplex"}), "both"),
    ] {
        let edit = |config: &mut Value| {
            config["mode"] = change["mode"].clone();
            config["turn"] = change.get("turn").unwrap_or(&json!("5m")).clone();
            config["mcpServers"]["b"]["pin"] = json!(change["pin"] == "b");
        };
        let (said, new) = run.reload_dialled(edit, endpoint.accept()).await;
        assert!(said.contains("is connected anew") || said.contains("is served"), "{said}");
        assert_eq!(u16::from(conn.wait_for_close().await.unwrap().code), 1000);
        conn = new;
        conn.handshake().await;
        let listed = tools(&mut conn, 10).await;
        assert_eq!(listed.contains(&"pid".to_owned()), of != "both", "{change}: {listed:?}");
        if of == "a" {
            assert_eq!(text_of(&conn.call(11, "pid", json!({})).await), before);
        }
    }
    assert_eq!(text_of(&conn.call(12, "a__pid", json!({})).await), before);
    assert_eq!((run.starts("a"), run.starts("b")), (1, 1));
    run.daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_is_told_with_its_places() {
    let endpoint = FakeEndpoint::bind().await;
    let mut run = Running::start(apart(&[("a", &endpoint)]));
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    let before = pid(&mut conn, 10).await;
    for (text, told) in [
        ("{\"mcpServers\": {", "mcp_config.json:1"),
        (r#"{"mcpServers": {"a": {"args": []}}}"#, "mcpServers.a"),
        (&"x".repeat(5 << 20), "larger than"),
        (r#"{"mcpServers": {}}"#, "names no server"),
        (" \n", "is empty"),
    ] {
        put_in_place(&run.file(), text);
        let said = run.runtime.ask(&["reload"]).await;
        assert!(said.code == 78 && said.err.contains(told) && said.err.contains("the old one runs on"), "{said:?}");
        assert!(!said.err.contains("nothing was started") && !said.err.contains("-- CMD"), "{said:?}");
    }
    fs::remove_file(run.file()).unwrap();
    let said = run.runtime.ask(&["reload"]).await;
    assert!(said.code == 78 && said.err.contains("mcp_config.json\n    is gone\n"), "{said:?}");
    assert!(!said.err.contains("-- CMD"), "{said:?}");
    fs::create_dir(run.file()).unwrap();
    assert_eq!(run.runtime.ask(&["reload"]).await.code, 78);
    fs::remove_dir(run.file()).unwrap();
    assert_eq!(run.reload(|_| {}).await, "nothing changed\n");
    assert_eq!((pid(&mut conn, 11).await, endpoint.accepted(), run.starts("a")), (before, 1, 1));
    run.daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn whatever_becomes_of_the_file_is_told_until_it_is_mended_and_disturbs_nothing() {
    let endpoint = FakeEndpoint::bind().await;
    let run = Running::start(apart(&[("a", &endpoint)]));
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    let (before, good) = (pid(&mut conn, 10).await, run.config.to_string());
    let file = run.file();
    let half = &good[..good.len() / 2];
    let faults: [(&str, &dyn Fn(), &str); 5] = [
        ("removed", &|| fs::remove_file(&file).unwrap(), "is gone"),
        ("half-written", &|| put_in_place(&file, half), "mcp_config.json:1:"),
        ("a folder", &|| fs::create_dir(&file).unwrap(), "mcp_config.json"),
        ("huge", &|| fs::File::create(&file).unwrap().set_len(100 << 20).unwrap(), "larger than"),
        (
            "unreadable",
            &|| {
                use std::os::unix::fs::{PermissionsExt as _, symlink};
                if rustix::process::geteuid().is_root() {
                    // Root may read whatever there is, but for this.
                    symlink("/proc/self/mem", &file).unwrap();
                } else {
                    put_in_place(&file, &good);
                    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
                }
            },
            "mcp_config.json",
        ),
    ];
    for (n, (fault, befalls, told)) in faults.into_iter().enumerate() {
        if file.is_dir() {
            fs::remove_dir(&file).unwrap()
        } else if n > 1 {
            fs::remove_file(&file).unwrap()
        }
        let logged =
            |event: &str| run.daemon.log_lines().iter().filter(|line| field(line, "event") == Some(event)).count();
        let (refused, mended) = (logged("ERROR_RELOAD"), logged("CONFIG_RELOADED"));
        befalls();
        // It is noticed by itself.
        within(fault, async {
            while logged("ERROR_RELOAD") == refused {
                tokio::time::sleep(Duration::from_millis(20)).await
            }
        })
        .await;
        let line = run.daemon.log_lines().into_iter().rfind(|line| field(line, "event") == Some("ERROR_RELOAD"));
        let line = line.unwrap().to_string();
        assert!(line.contains(told) && line.contains("the old one runs on"), "{fault}: {line}");
        let status = run.runtime.ask(&["status"]).await;
        assert!(
            status.code == 1 && status.out.contains("error config-mistake: ") && status.out.contains(told),
            "{fault}: {status:?}"
        );
        assert!(status.out.contains("a: serving for"), "{fault}: {status:?}");
        assert_eq!(pid(&mut conn, 20 + n as u64).await, before, "{fault}");
        if file.is_dir() {
            fs::remove_dir(&file).unwrap()
        }
        put_in_place(&file, &good);
        within("its end", async {
            while logged("CONFIG_RELOADED") == mended {
                tokio::time::sleep(Duration::from_millis(20)).await
            }
        })
        .await;
        let status = run.runtime.ask(&["status"]).await;
        assert!(status.code == 0 && !status.out.contains("error config-mistake"), "{fault}: {status:?}");
    }
    assert_eq!((endpoint.accepted(), run.starts("a")), (1, 1));
    run.daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn a_reload_needs_no_room_on_any_disk() {
    let endpoint = FakeEndpoint::bind().await;
    // As on a full disk, each write fails.
    let mut run = Running::start_as(apart(&[("a", &endpoint)]), |setup| setup.limited("--fsize=0:0"));
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    let said = run.reload(|config| config["mcpServers"]["a"]["tools"] = json!({"deny": ["echo"]})).await;
    assert!(said.contains("a shows other tools"), "{said}");
    assert!(!tools(&mut conn, 10).await.contains(&"echo".to_owned()));
    let said = run.reload(|config| config["mcpServers"]["a"]["env"] = json!({"WORD": "1"})).await;
    assert!(said.contains("a is restarted"), "{said}");
    assert_eq!(text_of(&conn.call(11, "env", json!({"name": "WORD"})).await), "1");
    run.daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn sighup_has_the_config_read_again_where_no_terminal_can_have_been_closed_and_else_ends_the_run() {
    let endpoint = FakeEndpoint::bind().await;
    let mut run = Running::start_as(apart(&[("a", &endpoint)]), |setup| setup.in_session(None));
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    run.config["mcpServers"]["a"]["tools"] = json!({"deny": ["echo"]});
    run.write();
    run.daemon.signal(Signal::HUP);
    let said = run.daemon.wait_for_event("COMMAND").await.to_string();
    assert!(said.contains("SIGHUP: the config is read again"), "{said}");
    run.daemon.wait_for_event("CONFIG_RELOADED").await;
    assert!(!tools(&mut conn, 10).await.contains(&"echo".to_owned()));
    assert_eq!((endpoint.accepted(), run.starts("a")), (1, 1));
    run.daemon.stop_closing([&mut conn]).await;

    let (_screen, program) = terminal();
    let mut run = Running::start_as(apart(&[("a", &endpoint)]), |setup| setup.in_session(Some(program)));
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    run.daemon.signal(Signal::HUP);
    assert_eq!(conn.wait_for_close().await.map(|close| u16::from(close.code)), Some(1000));
    assert!(run.daemon.exit().await.success());
    run.daemon.wait_for("the signal", |line| line.to_string().contains("SIGHUP")).await;
    let log = run.daemon.log_text();
    assert!(!log.contains("read again"), "{log}");
}

#[tokio::test]
async fn drain_timeout_and_tool_budget_count_from_a_reload_on() {
    let endpoint = FakeEndpoint::bind().await;
    let mut run = Running::start(apart(&[("a", &endpoint)]));
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    let said = run
        .reload(|config| {
            config["drainTimeout"] = "0s".into();
            config["toolBudget"] = 10.into();
        })
        .await;
    assert_eq!(said, "changed: drainTimeout is 0.0 ms; toolBudget is 10\n");
    tools(&mut conn, 10).await;
    run.reload(|config| config["mcpServers"]["a"]["tools"] = json!({"deny": ["echo"]})).await;
    tools(&mut conn, 11).await;
    let warned = run.daemon.wait_for_event("TOOL_BUDGET").await.to_string();
    assert!(warned.contains("10"), "{warned}");
    // Nothing is waited for at a stop: by the time of before it would be the end of the call.
    let go = run.daemon.path().join("go");
    conn.send_call(12, "sleep", json!({"ms": 1, "until": go})).await;
    assert_eq!(pid(&mut conn, 13).await, pid(&mut conn, 14).await);
    run.daemon.signal(Signal::TERM);
    let answer = conn.answer_to(12).await;
    assert!(answer["error"]["message"].as_str().is_some_and(|why| why.contains("shutdown")), "{answer}");
    assert_eq!(conn.wait_for_close().await.map(|close| u16::from(close.code)), Some(1000));
    let said = run.daemon.exit().await;
    assert!(said.success(), "{said}");
    // What is of the whole run is told as before.
    let mut run = Running::start(apart(&[("a", &endpoint)]));
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    let said = run.reload(|config| config["cacheDir"] = "elsewhere".into()).await;
    assert_eq!(said, "changed: cacheDir will count when mcp-pipe is started anew\n");
    run.daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn a_changed_file_is_noticed_and_what_was_commanded_stays_so() {
    let (a, b) = (FakeEndpoint::bind().await, FakeEndpoint::bind().await);
    let mut run = Running::start(apart(&[("a", &a), ("b", &b)]));
    let (mut at_a, mut at_b) = (a.accept().await, b.accept().await);
    at_a.handshake().await;
    at_b.handshake().await;
    assert_eq!(run.runtime.ask(&["stop", "a"]).await.code, 0);
    run.config["mcpServers"]["a"]["env"] = json!({"WORD": "1"});
    run.config["mcpServers"]["b"]["env"] = json!({"WORD": "${WORD}"});
    fs::write(run.daemon.path().join(".env"), "WORD=2\n").unwrap();
    run.write();
    run.daemon.wait_for_event("CONFIG_RELOADED").await;
    let said = run.reload(|_| {}).await;
    assert!(
        said.contains("b is restarted") && said.contains("a has another entry, and stays stopped"),
        "what was just applied is told: {said}"
    );
    let word = at_b.call(20, "env", json!({"name": "WORD"})).await;
    assert_eq!(text_of(&word), "2", "{word}");
    let status = run.runtime.ask(&["status", "a"]).await;
    assert!(status.out.contains("stopped by command"), "{status:?}");
    assert_eq!(run.starts("a"), 1, "it stays stopped");
    // What .env gives a server counts as well.
    fs::write(run.daemon.path().join(".env"), "WORD=3\n").unwrap();
    run.daemon
        .wait_for("the second", |line| {
            field(line, "event") == Some("CONFIG_RELOADED") && !line.to_string().contains("a has another")
        })
        .await;
    let mut word = String::new();
    for id in 30..60 {
        word = text_of(&at_b.call(id, "env", json!({"name": "WORD"})).await).to_owned();
        if word == "3" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(word, "3");
    run.daemon.stop_closing([&mut at_a, &mut at_b]).await;
}

#[tokio::test]
async fn many_reloads_under_load_cost_an_untouched_endpoint_nothing() {
    let [untouched, b, c] = [FakeEndpoint::bind().await, FakeEndpoint::bind().await, FakeEndpoint::bind().await];
    let mut run = Running::start(apart(&[("a", &untouched), ("b", &b)]));
    let mut at_a = untouched.accept().await;
    at_a.handshake().await;
    let urls = [b.url(), c.url()].map(Value::from);
    let others = tokio::spawn(async move {
        // Whoever is dialled greets, and is closed by mcp-pipe.
        let mut conns = Vec::new();
        loop {
            let mut conn = tokio::select! {
                conn = b.accept_at_any_time() => conn,
                conn = c.accept_at_any_time() => conn,
            };
            conns.push(tokio::spawn(async move {
                conn.send(json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}})).await;
                let _end = conn.wait_for_close().await;
            }));
        }
    });
    let (calls, mut descriptors) = (5, None);
    for round in 0..2 * rounds() {
        if round == 10 {
            descriptors = open_files(&run.daemon);
        }
        for call in 0..calls {
            at_a.send_call((100 + round * calls + call) as u64, "add", json!({"a": round, "b": call})).await;
        }
        let entry = |config: &mut Value| config["mcpServers"]["b"].clone();
        match round % 5 {
            0 => drop(run.reload(|config| config["mcpServers"]["b"]["env"] = json!({"N": round.to_string()})).await),
            1 => drop(
                run.reload(|config| config["mcpServers"]["b"]["tools"] = json!({"deny": [format!("x{round}*")]})).await,
            ),
            2 => drop(run.reload(|config| config["mcpServers"]["b"]["endpoint"] = urls[round / 5 % 2].clone()).await),
            3 => {
                let new = entry(&mut run.config);
                run.reload(|config| config["mcpServers"]["n"] = new).await;
                run.reload(|config| drop(config["mcpServers"].as_object_mut().unwrap().remove("n"))).await;
            }
            _ => {
                put_in_place(&run.file(), "{");
                assert_eq!(run.runtime.ask(&["reload"]).await.code, 78);
            }
        }
        for call in 0..calls {
            let answer = at_a.answer_to((100 + round * calls + call) as u64).await;
            assert_eq!(text_of(&answer), (round + call).to_string(), "{answer}");
        }
    }
    assert_eq!((untouched.accepted(), run.starts("a")), (1, 1));
    // One more may be a look at the config.
    if let (Some(before), Some(after)) = (descriptors, open_files(&run.daemon)) {
        assert!(after <= before + 2, "{before} open files, and then {after}");
    }
    others.abort();
    run.daemon.signal(Signal::TERM);
    at_a.wait_for_close().await;
}

#[tokio::test]
async fn a_changed_endpoint_that_is_not_connected_is_told_as_by_restart() {
    let (a, b, dead) = (FakeEndpoint::bind().await, FakeEndpoint::bind().await, FakeEndpoint::bind().await.url());
    let mut run = Running::start(apart(&[("a", &a), ("b", &b)]));
    let (mut at_a, mut at_b) = (a.accept().await, b.accept().await);
    at_a.handshake().await;
    at_b.handshake().await;
    run.config["mcpServers"]["b"]["endpoint"] = dead.into();
    run.write();
    let said = run.runtime.ask(&["reload"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    let dialled =
        said.err.split_once("b: not connected: ").map(|(told, why)| (told.contains("; but "), why.trim_end()));
    let by_restart = run.runtime.ask(&["restart", "b", "--connection"]).await;
    let again = by_restart.err.split_once("b: not connected: ").map(|(_, why)| (true, why.trim_end()));
    assert_eq!((dialled, by_restart.code), (again, 1), "{said:?} {by_restart:?}");
    // Whoever asks after the change has been noticed by itself is told the same.
    at_b.wait_for_close().await;
    let closed = async {
        b.accept().await.close_saying(4004, "Internal server error").await;
    };
    run.config["mcpServers"]["b"]["endpoint"] = b.url().into();
    run.write();
    let (line, ()) =
        tokio::join!(run.daemon.wait_for("the close", |line| line.to_string().contains("closed 4004")), closed);
    assert_eq!(field(&line, "event"), Some("CONNECTION_CLOSED"), "{line}");
    let said = run.runtime.ask(&["reload"]).await;
    assert!(said.code == 1 && said.err.contains("b: not connected: closed 4004"), "{said:?}");
    run.daemon.signal(Signal::TERM);
    at_a.wait_for_close().await;
}

#[tokio::test]
async fn what_a_reload_cannot_read_is_told_with_what_helps_while_it_runs() {
    let (runtime, endpoint) = (Runtime::new(), FakeEndpoint::bind().await);
    let setup = runtime.setup().file(".env", &format!("MCP_ENDPOINT={}\nKEY=abc\n", endpoint.url()));
    let mut entry = fixture_entry(&[]);
    entry["env"] = json!({"OWN": "${KEY}"});
    let daemon = setup.config(&crate::harness::config([("a", entry)])).start("info");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    for (dotenv, want) in [
        ("", "write MCP_ENDPOINT=wss://… in .env, or \"endpoint\" in the config"),
        ("MCP_ENDPOINT=\n", "write MCP_ENDPOINT=wss://… in .env, or \"endpoint\" in the config"),
        (&*format!("MCP_ENDPOINT={}\n", endpoint.url()), "set it in .env, or give a default"),
    ] {
        put_in_place(&daemon.path().join(".env"), dotenv);
        let said = runtime.ask(&["reload"]).await;
        assert!(said.code == 78 && said.err.contains(want), "{said:?}");
        for useless in ["--endpoint", "--local", "in the environment or"] {
            assert!(!said.err.contains(useless), "{said:?}");
        }
    }
    daemon.stop_closing([&mut conn]).await;
}
