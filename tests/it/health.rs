//! The health checks of servers: a server that hangs is noticed and one that works is left alone, beside another that notices nothing.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::control::{Asked, Runtime};
use crate::gateway::url;
use crate::harness::{Conn, Daemon, FakeEndpoint, config, field, fixture_entry, multiplex, text_of, within};
use crate::metrics::{admin, figures};
use crate::status::told;

/// A server `x` that is checked, and a server `y`, whose endpoint asks all the time.
struct Rig {
    runtime: Runtime,
    daemon: Daemon,
    /// The endpoint of `x`, where it has one of its own.
    x: Option<Conn>,
    y: JoinHandle<Conn>,
    over: Arc<AtomicBool>,
    shared: bool,
    _endpoints: Vec<FakeEndpoint>,
}

impl Rig {
    async fn start(shared: bool, flags: &[&str], check: Value) -> Rig {
        let (runtime, mut x) = (Runtime::new(), fixture_entry(flags));
        x["healthCheck"] = check;
        let (a, b) = (FakeEndpoint::bind().await, FakeEndpoint::bind().await);
        let mut y = fixture_entry(&[]);
        let mut all = if shared {
            multiplex(&a, [("x", x), ("y", y)])
        } else {
            (x["endpoint"], y["endpoint"]) = (a.url().into(), b.url().into());
            config([("x", x), ("y", y)])
        };
        all["admin"] = json!({"listen": "127.0.0.1:0"});
        let daemon = runtime.setup().config(&all).start("info");
        runtime.until_one_listens(&daemon).await;
        let mut first = a.accept().await;
        first.handshake().await;
        let (x, y) = if shared {
            (None, first)
        } else {
            let mut second = b.accept().await;
            second.handshake().await;
            (Some(first), second)
        };
        let over = Arc::new(AtomicBool::new(false));
        let y = tokio::spawn(chatter(y, if shared { "y__echo" } else { "echo" }, over.clone()));
        Rig { runtime, daemon, x, y, over, shared, _endpoints: vec![a, b] }
    }

    /// What is told of `x` once this holds.
    async fn until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> (i32, Value) {
        let look = async {
            loop {
                let (code, json) = told(&self.runtime).await;
                if holds(&json["servers"][0]) {
                    return (code, json);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        within(what, look).await
    }

    /// The same until its check has shown this.
    async fn until_it_is(&self, state: &str) -> (i32, Value) {
        self.until(state, |x| x["health"]["state"] == state).await
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.daemon.path().join(name)
    }

    /// How often the log has told of a check at this level.
    fn logged(&self, level: &str) -> usize {
        let is_it = |line: &&Value| field(line, "event") == Some("HEALTH_CHECK") && field(line, "level") == Some(level);
        self.daemon.log_lines().iter().filter(is_it).count()
    }

    /// The endpoint of `x`, and what its tools are called there. `y` is asked no more where it has the same one.
    async fn endpoint(&mut self) -> (Conn, &'static str) {
        if let Some(conn) = self.x.take() {
            return (conn, "");
        }
        self.over.store(true, Ordering::Relaxed);
        let idle = tokio::spawn(std::future::pending());
        (std::mem::replace(&mut self.y, idle).await.unwrap(), "x__")
    }

    async fn history(&self) -> String {
        let said = self.runtime.ask(&["status", "x", "--history"]).await;
        assert_eq!(said.code, 0, "{said:?}");
        said.out
    }

    async fn end(self) {
        self.over.store(true, Ordering::Relaxed);
        let mut conns: Vec<Conn> = self.x.into_iter().collect();
        if !self.y.is_finished() || !self.shared {
            self.y.abort();
        }
        conns.extend(self.y.await.ok());
        self.daemon.stop_closing(&mut conns).await;
    }
}

/// Asks all the time, and has all its answers.
async fn chatter(mut conn: Conn, tool: &'static str, over: Arc<AtomicBool>) -> Conn {
    for n in 1000.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let answer = conn.call(n, tool, json!({"text": n.to_string()})).await;
        assert_eq!(text_of(&answer), n.to_string());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    conn
}

fn pid(json: &Value) -> u64 {
    json["servers"][0]["process"]["pid"].as_u64().unwrap()
}

#[tokio::test]
async fn a_server_that_hangs_without_a_call_is_told_and_left_as_it_is() {
    for shared in [false, true] {
        let rig = Rig::start(shared, &["--stall", "stall"], json!({"every": "1s"})).await;
        let (code, before) = rig.until_it_is("healthy").await;
        let health = &before["servers"][0]["health"];
        assert!(code == 0 && health["tookMs"].as_f64() > Some(0.0), "{health}");
        fs::write(rig.file("stall"), "").unwrap();
        let (code, json) = rig.until("four failures", |x| x["health"]["failures"].as_u64() >= Some(4)).await;
        let (x, cause) = (&json["servers"][0], &json["causes"][0]);
        assert_eq!((code, &x["well"], pid(&json)), (1, &json!(false), pid(&before)), "{json:#}");
        assert_eq!((&cause["code"], &cause["severity"]), (&json!("server-unhealthy"), &json!("error")), "{json:#}");
        assert_eq!((&x["calls"]["answered"], &x["restarts"]), (&json!(0), &json!(0)), "{json:#}");
        let words = x["words"].as_str().unwrap();
        assert!(words.contains("health checks in ") && words.contains("did not answer ping within 1.0 s"), "{words}");
        assert_eq!(
            (rig.logged("WARN"), &json["counts"]["server-unhealthy"]),
            (2, &json!(1)),
            "the first and the third"
        );
        fs::remove_file(rig.file("stall")).unwrap();
        let (code, json) = rig.until_it_is("healthy").await;
        assert_eq!((code, pid(&json), rig.logged("INFO")), (0, pid(&before), 1), "{json:#}");
        let lines = rig.history().await;
        let does: Vec<&str> = lines.lines().skip(1).map(|line| line[21..].trim().split(':').next().unwrap()).collect();
        assert!(does.ends_with(&["serving", "failing", "serving"]), "{lines}");
        assert!(lines.starts_with("x: served "), "{lines}");
        rig.end().await;
    }
}

#[tokio::test]
async fn a_server_that_hangs_is_started_anew_where_that_is_wanted() {
    for shared in [false, true] {
        let mut rig = Rig::start(shared, &["--stall", "stall"], json!({"every": "1s", "restart": true})).await;
        let (_, before) = rig.until_it_is("healthy").await;
        fs::write(rig.file("stall"), "").unwrap();
        let said = rig.daemon.wait_for_event("SERVER_EXITED").await;
        let why = "failed its health check 3 times in a row: did not answer ping within 1.0 s, nor say anything else";
        assert!(field(&said, "message").unwrap().starts_with(why), "{said}");
        fs::remove_file(rig.file("stall")).unwrap();
        let (code, json) = rig.until_it_is("healthy").await;
        assert_eq!((code, &json["servers"][0]["restarts"]), (0, &json!(1)), "{json:#}");
        assert_ne!(pid(&json), pid(&before));
        let told = figures(&admin(&rig.daemon).await).await;
        for (series, value) in [
            (r#"mcp_pipe_server_restarts_total{server="x",cause="server-unhealthy"}"#, 1.0),
            (r#"mcp_pipe_server_health{server="x",state="healthy"}"#, 1.0),
            (r#"mcp_pipe_server_health{server="x",state="failing"}"#, 0.0),
            (r#"mcp_pipe_server_health_checks_total{server="x",result="failed"}"#, 3.0),
        ] {
            assert_eq!(told.get(series), Some(&value), "{series}: {told:?}");
        }
        assert!(
            !told.keys().any(|series| series.contains("_calls_total") && series.contains("server=\"x\"")),
            "{told:?}"
        );
        assert!(!told.keys().any(|series| series.contains("_health") && series.contains("server=\"y\"")), "{told:?}");
        let history = rig.history().await;
        assert!(history.contains(&format!("down: {why}")), "{history}");
        // Its endpoint has noticed nothing.
        let (mut conn, of) = rig.endpoint().await;
        let now = text_of(&conn.call(5, &format!("{of}pid"), json!({})).await).to_owned();
        assert_eq!(now, pid(&json).to_string());
        rig.x = Some(conn);
        rig.end().await;
    }
}

#[tokio::test]
async fn a_server_that_works_on_a_call_is_busy_and_keeps_its_process() {
    for shared in [false, true] {
        let mut rig = Rig::start(shared, &["--serial"], json!({"every": "1s", "restart": true})).await;
        let (_, before) = rig.until_it_is("healthy").await;
        let (mut conn, of) = rig.endpoint().await;
        let sleep = format!("{of}sleep");
        for (id, cancelled) in [(7, false), (8, true)] {
            let until = format!("until-{id}");
            conn.send_call(id, &sleep, json!({"ms": 0, "until": until})).await;
            if cancelled {
                let params = json!({"requestId": id});
                conn.send(json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params})).await;
            }
            // Longer than three checks, which would be too many.
            let is_long = |x: &Value| x["health"]["state"] == "busy" && x["health"]["forSeconds"].as_f64() > Some(4.0);
            let (code, json) = rig.until("a busy server", is_long).await;
            assert_eq!((code, pid(&json)), (0, pid(&before)), "{json:#}");
            fs::write(rig.file(&until), "").unwrap();
            if !cancelled {
                assert_eq!(text_of(&conn.answer_to(id).await), "slept 0 ms");
            }
            let (code, json) = rig.until_it_is("healthy").await;
            assert_eq!((code, pid(&json)), (0, pid(&before)), "{json:#}");
        }
        assert_eq!(rig.logged("WARN"), 0);
        rig.x = Some(conn);
        rig.end().await;
    }
}

#[tokio::test]
async fn a_tool_that_reports_a_failure_is_one_and_one_that_is_not_listed_is_told_once() {
    for shared in [false, true] {
        let rig = Rig::start(shared, &["--ill", "ill", "--page", "2"], json!({"every": "1s", "tool": "pid"})).await;
        let (_, before) = rig.until_it_is("healthy").await;
        fs::write(rig.file("ill"), "").unwrap();
        let (code, json) = rig.until("three failures", |x| x["health"]["failures"].as_u64() >= Some(3)).await;
        assert_eq!(
            (code, &json["servers"][0]["why"]),
            (1, &json!("reports a failure of pid: no database")),
            "{json:#}"
        );
        fs::remove_file(rig.file("ill")).unwrap();
        let (code, json) = rig.until_it_is("healthy").await;
        assert_eq!((code, pid(&json)), (0, pid(&before)), "{json:#}");
        assert_eq!(json["servers"][0]["calls"]["answered"], 0, "{json:#}");
        // Another check counts at once, in the same process.
        let path = rig.file("mcp_config.json");
        let mut written: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        written["mcpServers"]["x"]["healthCheck"]["tool"] = "other".into();
        fs::write(&path, written.to_string()).unwrap();
        let said = rig.runtime.ask(&["reload"]).await;
        assert!(said.code == 0 && said.out.contains("x has another healthCheck"), "{said:?}");
        let (code, json) = rig.until_it_is("unlisted").await;
        assert_eq!((code, pid(&json)), (0, pid(&before)), "{json:#}");
        let warned = rig.logged("WARN");
        rig.until("some checks more", |x| x["health"]["forSeconds"].as_f64() > Some(2.5)).await;
        assert_eq!(rig.logged("WARN"), warned, "told once");
        let last = rig.daemon.wait_for("a warning", |line| line.to_string().contains("lists no tool other")).await;
        assert_eq!(field(&last, "level"), Some("WARN"));
        written["mcpServers"]["x"]["healthCheck"] = Value::Null;
        fs::write(&path, written.to_string()).unwrap();
        assert_eq!(rig.runtime.ask(&["reload"]).await.code, 0);
        let (_, json) = rig.until("no check", |x| x["health"].is_null()).await;
        assert_eq!(pid(&json), pid(&before), "{json:#}");
        rig.end().await;
    }
}

#[tokio::test]
async fn a_remote_server_is_checked_as_well() {
    let (there, here) = (Runtime::new(), Runtime::new());
    let far = json!({"gateway": {"listen": "127.0.0.1:0"}, "mcpServers": {"x": fixture_entry(&["--stall", "stall"])}});
    let far = there.setup().config(&far).start("info");
    far.wait_for_event("ALL_UP").await;
    let check = json!({"every": "1s", "tool": "pid", "restart": true});
    let near = json!({
        "gateway": {"listen": "127.0.0.1:0"},
        "mcpServers": {"x": {"url": format!("{}/x", url(&far).await), "healthCheck": check}},
    });
    let daemon = here.setup().config(&near).start("info");
    here.until_one_listens(&daemon).await;
    let healthy = async || {
        within("a healthy server", async {
            while told(&here).await.1["servers"][0]["health"]["state"] != "healthy" {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    };
    healthy().await;
    fs::write(far.path().join("stall"), "").unwrap();
    let said = daemon.wait_for_event("SERVER_EXITED").await;
    let why = "failed its health check 3 times in a row: did not answer pid within 1.0 s";
    assert!(field(&said, "message").unwrap().starts_with(why), "{said}");
    fs::remove_file(far.path().join("stall")).unwrap();
    healthy().await;
    daemon.stop().await;
    far.stop().await;
}

#[tokio::test]
async fn a_check_that_can_not_be_is_a_mistake_that_says_so() {
    let mistakes = async |check: Value| {
        let mut x = fixture_entry(&[]);
        x["healthCheck"] = check;
        let setup = Runtime::new().setup().config(&config([("x", x)])).args(["validate", "--local"]);
        let said = Asked::of(setup.output().await);
        assert_eq!(said.code, 78, "{said:?}");
        (said.out + &said.err).split_whitespace().collect::<Vec<_>>().join(" ")
    };
    for (check, want) in [
        (
            json!({"every": "500ms"}),
            "healthCheck.every error (wrong-value): is \"500ms\", and the shortest time is 1s here → write 1s or more",
        ),
        (json!({"every": 30}), "is 30, and a time needs a unit"),
        (json!({"tool": ""}), "healthCheck.tool error (wrong-value): is empty"),
        (json!({"tool": 5}), "is a number, not a text"),
        (json!({"interval": "30s"}), "did you mean every?"),
        (json!({"retries": 3}), "healthCheck.retries error (unknown-key): is not a known key"),
        (json!(true), "healthCheck error (wrong-type): is no object"),
    ] {
        let said = mistakes(check.clone()).await;
        assert!(said.contains(want), "{check}: {said}");
    }
}
