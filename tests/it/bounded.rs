//! Servers that want more of the machine than their `limits` let them have: what becomes of them, and that it is nobody else's matter.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::control::Runtime;
use crate::harness::{
    Conn, Daemon, FakeEndpoint, Setup, config, everything, field, fixture_entry, in_mode, installed, multiplex,
    text_of, within,
};
use crate::status::told;

/// An entry of the server that takes what it is told to, with these limits.
pub(crate) fn eater(limits: Value) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/eater.py");
    json!({"command": "python3", "args": [script], "limits": limits})
}

/// Waits until a call is answered with a result: the server is back.
async fn back(conn: &mut Conn, tool: &str, id: &mut u64) -> Value {
    let answered = async {
        loop {
            *id += 1;
            let answer = conn.call(*id, tool, json!({})).await;
            if answer.get("result").is_some() {
                return answer;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    within("a server that is back", answered).await
}

/// What the log says of the end of the server `eater`.
async fn end_of(daemon: &Daemon) -> String {
    let is_end = |line: &Value| field(line, "event") == Some("SERVER_EXITED") && field(line, "server") == Some("eater");
    let line = daemon.wait_for("its end", is_end).await;
    field(&line, "message").unwrap().to_owned()
}

/// Has the server make this call, beside a healthy sibling that goes on. Returns the error of the call, and why the server ended.
async fn overrun(is_shared: bool, limits: Value, tool: &str, arguments: Value) -> (String, String, Runtime, Daemon) {
    let (runtime, endpoint, other) = (Runtime::new(), FakeEndpoint::bind().await, FakeEndpoint::bind().await);
    let servers = [("eater", eater(limits)), ("sibling", fixture_entry(&[]))];
    let config = in_mode(is_shared, [&endpoint, &other], servers);
    let daemon = runtime.setup().config(&config).start("info");
    runtime.until_one_listens(&daemon).await;
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    let mut others = None;
    if !is_shared {
        let mut conn = other.accept().await;
        conn.handshake().await;
        others = Some(conn);
    }
    conn.send_call(10, tool, arguments).await;
    // The sibling answers each call, in order, until the other one is gone, and behind that.
    let mut id = 1000;
    let until_gone = async {
        let mut gone = false;
        while !gone {
            gone = daemon.log_lines().iter().any(|line| field(line, "event") == Some("SERVER_EXITED"));
            for _ in 0..20 {
                id += 1;
                let conn = others.as_mut().unwrap_or(&mut conn);
                let answer = conn.call(id, "echo", json!({"text": id.to_string()})).await;
                assert_eq!(text_of(&answer), id.to_string());
            }
        }
    };
    within("the end of the server", until_gone).await;
    let answer = conn.answer_to(10).await;
    let error = answer["error"]["message"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    back(&mut conn, "limits", &mut id).await;
    assert!(conn.unanswered().is_empty());
    let why = end_of(&daemon).await;
    let exits = daemon.log_lines().iter().filter(|line| field(line, "event") == Some("SERVER_EXITED")).count();
    assert_eq!(exits, 1, "{}", daemon.log_text());
    let (_, status) = told(&runtime).await;
    assert_eq!(status["servers"][0]["restarts"], 1, "{status:#}");
    // The connections end with the daemon, by whoever calls this.
    (error, why, runtime, daemon)
}

#[tokio::test]
async fn a_server_that_eats_memory_slowly_is_ended_with_the_reason_and_comes_back() {
    for is_shared in [false, true] {
        let (error, why, _runtime, daemon) =
            overrun(is_shared, json!({"memory": "96MiB"}), "eat", json!({"mib": 2000})).await;
        for text in [&error, &why] {
            assert!(
                text.contains("was ended, as it held ") && text.contains("its limits let it have 96 MiB"),
                "{text}"
            );
        }
        let held = why.split_once("held ").unwrap().1.split_once(" MiB").unwrap().0;
        assert!((96..352).contains(&held.parse::<u64>().unwrap()), "before the system would have stopped it: {why}");
        assert!(why.contains("restart in"), "{why}");
        daemon.stop().await;
    }
}

#[tokio::test]
async fn a_sudden_jump_is_stopped_by_the_system_and_told_as_the_limit_that_it_is() {
    for is_shared in [false, true] {
        let (error, why, _runtime, daemon) =
            overrun(is_shared, json!({"memory": "64MiB"}), "jump", json!({"mib": 600})).await;
        for text in [&error, &why] {
            assert!(text.contains("exited with code 1, out of memory: its limits let it have 64 MiB"), "{text}");
        }
        daemon.stop().await;
    }
}

#[tokio::test]
async fn what_a_server_starts_counts_for_it() {
    for is_shared in [false, true] {
        let (error, why, _runtime, daemon) =
            overrun(is_shared, json!({"memory": "128MiB"}), "brood", json!({"n": 4, "mib": 40})).await;
        for text in [&error, &why] {
            assert!(text.contains(" processes, and its limits let it have 128 MiB"), "{text}");
        }
        daemon.stop().await;
    }
}

#[tokio::test]
async fn one_that_opens_too_many_files_is_told_as_the_limit_that_it_is() {
    for is_shared in [false, true] {
        let (error, why, runtime, daemon) =
            overrun(is_shared, json!({"openFiles": 64}), "open", json!({"n": 100})).await;
        for text in [&error, &why] {
            assert!(text.contains("out of files to open: its limits let a process have 64"), "{text}");
        }
        // Its next life has met no limit.
        let (_, status) = told(&runtime).await;
        assert!(!status["causes"].to_string().contains("open-files-limit"), "{status:#}");
        daemon.stop().await;
    }
}

#[tokio::test]
async fn one_that_survives_to_have_met_a_limit_is_well_with_a_warning_that_is_counted() {
    for is_shared in [false, true] {
        let (runtime, endpoint, other) = (Runtime::new(), FakeEndpoint::bind().await, FakeEndpoint::bind().await);
        let servers = [("eater", eater(json!({"openFiles": 64}))), ("sibling", fixture_entry(&[]))];
        let config = in_mode(is_shared, [&endpoint, &other], servers);
        let daemon = runtime.setup().config(&config).args(["--metrics-file", "figures"]).start("info");
        runtime.until_one_listens(&daemon).await;
        let mut conn = endpoint.accept().await;
        conn.handshake().await;
        let mut of_sibling = None;
        if !is_shared {
            of_sibling = Some(other.accept().await);
        }
        for id in 2..4 {
            conn.call(id, "open", json!({"n": 100, "catch": true})).await;
        }
        let line = daemon.wait_for_event("SERVER_LIMIT").await;
        assert!(field(&line, "message").unwrap().contains("raise openFiles in its limits"), "{line}");
        conn.call(9, "print", json!({"to": "stderr", "from": 0, "n": 1})).await;
        assert_eq!(daemon.log_text().matches("SERVER_LIMIT").count(), 1, "once in a life");
        let (_, status) = told(&runtime).await;
        assert_eq!(status["servers"][0]["well"], true, "{status:#}");
        let cause = &status["causes"][0];
        assert_eq!(
            (&cause["code"], &cause["severity"], &cause["server"]),
            (&json!("open-files-limit"), &json!("warning"), &json!("eater")),
            "{status:#}"
        );
        let words = "says that it is out of files to open: its limits let a process have 64";
        assert_eq!(cause["message"], words, "{status:#}");
        until_counted(&daemon, r#"mcp_pipe_server_limits_met_total{server="eater",cause="open-files-limit"} 1"#).await;
        assert_eq!(runtime.ask(&["restart", "eater"]).await.code, 0);
        let (_, status) = told(&runtime).await;
        assert_eq!(status["causes"], json!([]), "its next life has not: {status:#}");
        daemon.stop_closing([&mut conn].into_iter().chain(of_sibling.as_mut())).await;
    }
}

/// Waits until the file with the figures has these words.
async fn until_counted(daemon: &Daemon, words: &str) {
    let counted = async {
        while !fs::read_to_string(daemon.path().join("figures")).unwrap_or_default().contains(words) {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    within(&format!("{words} in the metrics"), counted).await;
}

#[tokio::test]
async fn a_cause_is_known_to_status_and_counted_in_the_metrics() {
    // Never of use: each life eats at its start.
    let memory = "held = b'x' * (100 << 20)\nimport sys\nsys.stdin.read()";
    let files = "held = [open('/dev/null') for _ in range(100)]";
    for (code, program, limits, words, key) in [
        ("memory-limit", memory, json!({"memory": "48MiB"}), "its limits let it have 48 MiB", "memory"),
        ("open-files-limit", files, json!({"openFiles": 64}), "its limits let a process have 64", "openFiles"),
    ] {
        let entry = json!({"command": "python3", "args": ["-c", program], "limits": limits});
        ends_for_a_limit(code, entry, words, key).await;
    }
}

/// A server that ends for a limit each time: the code of the cause, what its words contain, and the key of the limit.
async fn ends_for_a_limit(code: &str, entry: Value, words: &str, key: &str) {
    let (runtime, endpoint) = (Runtime::new(), FakeEndpoint::bind().await);
    let config = multiplex(&endpoint, [("eater", entry)]);
    let daemon = runtime.setup().config(&config).args(["--metrics-file", "figures"]).start("info");
    runtime.until_one_listens(&daemon).await;
    let cause = async {
        loop {
            let (_, status) = told(&runtime).await;
            if status["servers"][0]["restarts"].as_u64() >= Some(3) && status["causes"][0]["code"] == code {
                return status;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let status = within("the cause in status", cause).await;
    assert!(status["causes"][0]["message"].to_string().contains(words), "{status:#}");
    until_counted(&daemon, &format!(r#"mcp_pipe_server_restarts_total{{server="eater",cause="{code}"}}"#)).await;
    let config = daemon.path().join("mcp_config.json");
    let doctor = runtime.ask(&["doctor", "--config", config.to_str().unwrap()]).await;
    assert!(doctor.out.contains(&format!("raise {key} in its limits")), "{doctor:?}");
    daemon.stop().await;
}

#[tokio::test]
async fn limits_hold_from_the_start_on_and_for_whatever_a_server_starts() {
    let nice = (rustix::process::getpriority_process(None).unwrap() + 3).min(19);
    let limits = json!({"memory": "512MiB", "openFiles": 256, "nice": nice});
    for is_shared in [false, true] {
        let (endpoint, other) = (FakeEndpoint::bind().await, FakeEndpoint::bind().await);
        let servers = [("eater", eater(limits.clone())), ("sibling", fixture_entry(&[]))];
        let daemon = Setup::new().config(&in_mode(is_shared, [&endpoint, &other], servers)).start("info");
        let mut conn = endpoint.accept().await;
        conn.handshake().await;
        let mut id = 10;
        let answer = back(&mut conn, "limits", &mut id).await;
        let told: Value = serde_json::from_str(text_of(&answer)).unwrap();
        for of in ["own", "child"] {
            assert_eq!(told[of]["memory"], json!([1_u64 << 30, 1_u64 << 30]), "{told}");
            assert_eq!((&told[of]["openFiles"], &told[of]["nice"]), (&json!([256, 256]), &json!(nice)), "{told}");
        }
        daemon.stop_closing([&mut conn]).await;
    }
}

#[tokio::test]
async fn node_python_and_rust_start_and_serve_with_512_mib() {
    let limits = json!({"memory": "512MiB", "openFiles": 256});
    let mut servers = vec![("rust", json!({"command": crate::harness::built("rust_server")}))];
    servers.extend(everything().map(|entry| ("node", entry)));
    let sdk = crate::harness::example("sdk_clock.py");
    servers
        .extend(installed("MCP_PIPE_TEST_PYTHON").map(|python| ("python", json!({"command": python, "args": [sdk]}))));
    for (_, entry) in &mut servers {
        entry["limits"] = limits.clone();
    }
    let count = servers.len();
    let runtime = Runtime::new();
    let endpoint = FakeEndpoint::bind().await;
    let daemon = runtime.setup().config(&multiplex(&endpoint, servers)).start("info");
    runtime.until_one_listens(&daemon).await;
    let mut conn = endpoint.accept_at_any_time().await;
    conn.handshake().await;
    let said = runtime.ask(&["status", "--wait=60s", "--json"]).await;
    let status: Value = serde_json::from_str(&said.out).unwrap();
    let serving = status["servers"].as_array().unwrap().iter().filter(|server| server["state"] == "serving").count();
    assert_eq!(serving, count, "{status:#}");
    assert!(!daemon.log_text().contains("SERVER_EXITED"), "{}", daemon.log_text());
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn other_limits_restart_that_server_alone() {
    let endpoint = FakeEndpoint::bind().await;
    let mut config =
        multiplex(&endpoint, [("eater", eater(json!({"memory": "512MiB"}))), ("sibling", fixture_entry(&[]))]);
    config["naming"] = "prefix".into();
    let daemon = Setup::new().config(&config).start("info");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    let pids = async |conn: &mut Conn, id: &mut u64| {
        let pid = |answer: Value| text_of(&answer).to_owned();
        (pid(back(conn, "eater__pid", id).await), pid(back(conn, "sibling__pid", id).await))
    };
    let mut id = 10;
    let before = pids(&mut conn, &mut id).await;
    config["mcpServers"]["eater"]["limits"]["memory"] = "600MiB".into();
    fs::write(daemon.path().join("mcp_config.json"), config.to_string()).unwrap();
    let line = daemon.wait_for("what changed", |line| line["message"].to_string().contains("changed: ")).await;
    assert!(line["message"].to_string().contains("eater is restarted, as its entry has changed"), "{line}");
    daemon.wait_for("its end", |line| field(line, "event") == Some("SERVER_EXITED")).await;
    let after = pids(&mut conn, &mut id).await;
    assert!(before.0 != after.0 && before.1 == after.1, "{before:?} {after:?}");
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn limits_that_can_not_be_kept_are_mistakes_with_the_fix() {
    let none: &[(&str, Value, &str)] = &[
        ("memory", json!("512"), "write 512MiB"),
        ("memory", json!(536_870_912), "needs a unit"),
        ("memory", json!("0MiB"), "between 4MiB and 16TiB"),
        ("memory", json!("-5MiB"), "that is no size"),
        ("memory", json!("lots"), "that is no size"),
        ("memory", json!("1KiB"), "between 4MiB and 16TiB"),
        ("openFiles", json!(0), "from 32 on"),
        ("openFiles", json!(-3), "from 32 on"),
        ("openFiles", json!(4_000_000_000_u64), "the hard limit on open files is"),
        ("nice", json!(20), "from -20 to 19"),
        ("mem", json!("512MiB"), "\\\"memory\\\": \\\"512MiB\\\""),
    ];
    for (key, value, want) in none {
        let mut config = config([("x", eater(json!({})))]);
        config["endpoint"] = "ws://127.0.0.1:1/".into();
        config["mcpServers"]["x"]["limits"][key] = value.clone();
        let said = Setup::new().config(&config).args(["validate", "--json"]).output().await;
        let out = String::from_utf8_lossy(&said.stdout);
        assert_ne!(said.status.code(), Some(0), "{key} {value}");
        assert!(out.contains(want) && out.contains(&format!("mcpServers.x.limits.{key}")), "{key} {value}: {out}");
    }
    let remote = json!({"url": "http://127.0.0.1:1/mcp", "limits": {"memory": "512MiB"}});
    let mut config = config([("x", remote)]);
    config["endpoint"] = "ws://127.0.0.1:1/".into();
    let said = Setup::new().config(&config).args(["validate"]).output().await;
    assert!(String::from_utf8_lossy(&said.stdout).contains("a remote server runs elsewhere"), "{said:?}");
    // Whoever may not be less nice is told, and not only that a start has failed.
    if !rustix::process::geteuid().is_root() || !cfg!(target_os = "linux") {
        return;
    }
    config["mcpServers"]["x"] = eater(json!({"nice": -5}));
    let said = Setup::new().unprivileged().config(&config).args(["validate"]).output().await;
    let out = String::from_utf8_lossy(&said.stdout);
    assert!(out.contains("mcp-pipe may give 0 or more here") && out.contains("LimitNICE="), "{out}");
}
