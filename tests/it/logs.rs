//! `mcp-pipe logs`: what it shows, to whom, and what a slow reader costs.

use std::process::Stdio;

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStdout, Command};

use crate::control::{Asked, Runtime};
use crate::harness::{FakeEndpoint, Setup, config, fixture_entry, multiplex, one_server, within};

/// `mcp-pipe logs -f`, or another command that goes on, as a process of its own.
pub(crate) struct Follower {
    pub(crate) child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Follower {
    fn start(runtime: &Runtime, args: &[&str]) -> Self {
        Self::running(runtime, &["logs", "-f"], args)
    }

    pub(crate) fn running(runtime: &Runtime, words: &[&str], args: &[&str]) -> Self {
        let socket = runtime.sockets().remove(0);
        let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-pipe"));
        command.env_clear().args(words).arg("--control-socket").arg(socket).args(args);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Follower { child, lines }
    }

    /// The next line in which this is.
    pub(crate) async fn until(&mut self, text: &str) -> String {
        self.until_all(&[text]).await
    }

    /// The next line in which all of these are.
    pub(crate) async fn until_all(&mut self, texts: &[&str]) -> String {
        let what = texts.join(" and ");
        let search = async {
            loop {
                let line = self.lines.next_line().await.unwrap().unwrap_or_else(|| panic!("it ended without {what}"));
                if texts.iter().all(|text| line.contains(text)) {
                    return line;
                }
            }
        };
        within(&what, search).await
    }

    pub(crate) async fn exit(mut self) -> (i32, Vec<String>) {
        let mut rest = Vec::new();
        while let Some(line) = within("its end", self.lines.next_line()).await.unwrap() {
            rest.push(line);
        }
        (within("its end", self.child.wait()).await.unwrap().code().unwrap(), rest)
    }
}

#[tokio::test]
async fn the_lines_of_a_server_are_shown_in_the_forms_of_the_log_whatever_the_log_shows() {
    let (runtime, endpoint) = (Runtime::new(), FakeEndpoint::bind().await);
    let entries = [("one", fixture_entry(&["--saying", "hello from one"])), ("two", fixture_entry(&[]))];
    let daemon = runtime.setup().config(&multiplex(&endpoint, entries)).start("error");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    let all = async {
        loop {
            let said = runtime.ask(&["logs"]).await;
            if said.out.contains("hello from one") && said.out.contains("ALL_UP") {
                return said;
            }
        }
    };
    let all = within("all lines", all).await;
    assert_eq!((all.code, daemon.log_text().as_str()), (0, ""), "the log itself is quiet");
    let said =
        |text: &str| all.out.lines().find(|line| line.contains(text)).unwrap_or_else(|| panic!("{text}: {}", all.out));
    assert!(said("hello from one").ends_with("Z INFO  [one] hello from one event=SERVER_STDERR"), "{}", all.out);
    assert!(said("event=CONNECTION_OPENED").contains("[one+two]"));
    let one = runtime.ask(&["logs", "one"]).await.out;
    assert!(one.contains("hello from one") && one.contains("CONNECTION_OPENED"), "{one}");
    assert!(!one.contains("[two]") && !one.contains("ALL_UP"), "{one}");
    let last = runtime.ask(&["logs", "two", "-n", "1", "--json"]).await.out;
    let last: Value = serde_json::from_str(&last).unwrap_or_else(|_| panic!("one line: {last}"));
    assert!(
        last["servers"] == json!(["one", "two"]) && last["timestamp"].is_string() && last["level"] == "INFO",
        "{last}"
    );
    assert!(runtime.ask(&["logs", "-n", "0"]).await.out.is_empty());
    let unknown = runtime.ask(&["logs", "twoo"]).await;
    assert!(unknown.code == 2 && unknown.err.contains("did you mean two?"), "{unknown:?}");
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn what_a_shared_server_logs_without_a_call_is_shown_by_logs_and_nowhere_else() {
    let (runtime, token) = (Runtime::new(), "s3cr3t-of-a-l0g");
    let (one, two) = (FakeEndpoint::with_token(token).await, FakeEndpoint::bind().await);
    let mut config = config([("lamp", fixture_entry(&["--logs"]))]);
    config["endpoints"] = json!({"kitchen": {"url": one.url()}, "office": {"url": two.url()}});
    let daemon = runtime.setup().config(&config).start("info");
    let (mut one, mut two) = (one.accept().await, two.accept().await);
    for conn in [&mut one, &mut two] {
        conn.handshake().await;
    }
    // A message that comes while the next call is under way would be that call's.
    let logged = async |many: usize| {
        let lines = async {
            loop {
                let lines = runtime.ask(&["logs", "lamp", "--json"]).await.out;
                if lines.matches("SERVER_LOG").count() >= many {
                    return lines;
                }
            }
        };
        within("the lines", lines).await
    };
    for (n, (level, data)) in (1..).zip([
        ("warning", json!("low \u{1b}[2Joil")),
        ("debug", json!({"token": token})),
        ("emergency", json!("x".repeat(50_000))),
    ]) {
        let log = json!({"level": level, "logger": "db", "data": data});
        one.call(n, "echo", json!({"text": "x", "log": log})).await;
        logged(n).await;
    }
    for conn in [&mut one, &mut two] {
        conn.call(8, "pid", json!({})).await;
        assert!(conn.others.is_empty(), "{:?}", conn.others);
    }
    one.call(9, "echo", json!({"text": "x", "log": {"level": "info", "data": "flood"}, "times": 5000})).await;
    let lines = logged(100).await;
    let of_server = |line: &Value| line["event"] == "SERVER_LOG";
    let all: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).filter(of_server).collect();
    let of = |n: usize| (all[n]["level"].as_str().unwrap(), all[n]["message"].as_str().unwrap());
    assert_eq!((of(0).0, of(0).1, &all[0]["server"]), ("WARN", "db: low \u{1b}[2Joil", &"lamp".into()));
    assert_eq!((of(1), &all[1]["fields"]["level"]), (("DEBUG", r#"db: {"token":"…"}"#), &"debug".into()));
    assert_eq!((of(2).0, &all[2]["fields"]["level"]), ("ERROR", &"emergency".into()));
    assert!(of(2).1.len() < 5000 && of(2).1.ends_with("x…"), "{}", of(2).1.len());
    assert!(all.len() < 1000, "{} lines", all.len());
    let text = runtime.ask(&["logs", "lamp"]).await.out;
    assert!(text.contains("WARN  [lamp] db: low") && !text.contains('\u{1b}') && !text.contains(token), "{text}");
    assert!(!daemon.log_text().contains("SERVER_LOG"), "the log itself has what only mcp-pipe logs is to show");
    daemon.stop_closing([&mut one, &mut two]).await;
}

#[tokio::test]
async fn a_follower_gets_each_line_as_it_comes_and_is_told_how_it_ends() {
    let runtime = Runtime::new();
    let mut daemon = runtime.local("x", "info").await;
    let mut follower = Follower::start(&runtime, &["-n", "1"]);
    follower.until("ALL_UP").await;
    let mut other = Follower::start(&runtime, &["x", "--json"]);
    other.until("SERVER_STARTED").await;
    daemon.signal(Signal::USR1);
    follower.until("no servers take turns").await;
    daemon.signal(Signal::TERM);
    assert!(daemon.exit().await.success());
    let (code, rest) = follower.exit().await;
    assert!(code == 0 && rest.iter().any(|line| line.contains("event=SERVER_EXITED")), "{rest:?}");
    let (code, rest) = other.exit().await;
    assert!(
        code == 0 && rest.iter().all(|line| serde_json::from_str::<Value>(line).unwrap()["server"] == "x"),
        "{rest:?}"
    );
    let mut daemon = runtime.local("x", "info").await;
    let mut follower = Follower::start(&runtime, &[]);
    follower.until("ALL_UP").await;
    daemon.signal(Signal::KILL);
    daemon.exit().await;
    assert_eq!(follower.exit().await.0, 1, "it was not told that this is the end");
}

/// Sends calls that are logged in several lines each.
async fn talk(conn: &mut crate::harness::Conn, from: usize, times: usize) {
    for id in from..from + times {
        conn.call(id, "echo", json!({"text": "on"})).await;
    }
}

#[tokio::test]
async fn a_reader_that_keeps_up_gets_thousands_of_lines_and_a_slow_one_is_told_how_many_it_missed() {
    let (runtime, endpoint) = (Runtime::new(), FakeEndpoint::bind().await);
    let daemon = runtime.setup().config(&one_server(&endpoint, &[])).start("debug");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    // It asks, and does not read.
    let mut slow = UnixStream::connect(&runtime.sockets()[0]).await.unwrap();
    slow.write_all(b"{\"ask\":\"logs\",\"last\":0,\"follow\":true}\n").await.unwrap();
    let mut follower = Follower::start(&runtime, &["--json"]);
    let reading = tokio::spawn(async move {
        let mut lines = Vec::new();
        loop {
            let line = follower.lines.next_line().await.unwrap().unwrap();
            let line: Value = serde_json::from_str(&line).unwrap();
            let is_last = line["message"].to_string().contains("no servers take turns");
            lines.push(line);
            if is_last {
                return lines;
            }
        }
    });
    talk(&mut conn, 10, 2000).await;
    daemon.signal(Signal::USR1);
    let got = within("all lines", reading).await.unwrap();
    let lost: u64 =
        got.iter().filter(|line| line["event"] == "LOG_LOST").filter_map(|line| line["fields"]["lines"].as_u64()).sum();
    let logged: Vec<String> = daemon.log_lines().iter().map(|line| line["message"].to_string()).collect();
    let end = logged.iter().position(|line| line.contains("no servers take turns")).unwrap();
    let shown: Vec<String> =
        got.iter().filter(|line| line["event"] != "LOG_LOST").map(|line| line["message"].to_string()).collect();
    assert_eq!(shown.len() as u64 + lost, end as u64 + 1, "each line was shown or told to be lost");
    assert!(logged.len() > 5000, "{}", logged.len());
    let mut all = logged.iter();
    assert!(shown.iter().all(|line| all.any(|logged| logged == line)), "in order, and none made up");
    // The slow one reads now: what the socket held, how many are gone, and the last ones.
    let mut lines = BufReader::new(slow).lines();
    let (mut shown, mut lost) = (0, 0);
    loop {
        let line = within("the rest", lines.next_line()).await.unwrap().unwrap();
        let line: Value = serde_json::from_str(&line).unwrap();
        lost += line["lost"].as_u64().unwrap_or_default();
        shown += u64::from(line["log"].is_object());
        if line.to_string().contains("no servers take turns") {
            break;
        }
    }
    assert!(lost > 1000 && shown > 1000, "{shown} shown, {lost} lost");
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn nothing_secret_is_in_what_is_asked() {
    let (runtime, token) = (Runtime::new(), "s3cr3t-of-a-l0g");
    let endpoint = FakeEndpoint::with_token(token).await;
    let mut config = one_server(&endpoint, &["--saying", &format!("my token is {token}")]);
    config["endpointHeaders"] = json!({"Authorization": "Bearer h3ader-of-a-l0g"});
    let daemon = runtime.setup().config(&config).start("debug");
    let said = format!("bad {token} h3ader-of-a-l0g");
    endpoint.answer(&format!("HTTP/1.1 401 No\r\nContent-Length: {}\r\n\r\n{said}", said.len())).await;
    let refused = daemon.wait_for_event("ERROR_CONNECT").await.to_string();
    assert!(refused.contains("bad …"), "{refused}");
    let mut shown = String::new();
    for args in [&["status"][..], &["status", "--json"], &["logs"], &["logs", "--json"], &["logs", "x"]] {
        let Asked { out, err, .. } = runtime.ask(args).await;
        assert!(!out.is_empty() && err.is_empty(), "{args:?}");
        shown += &out;
    }
    // As it comes from the daemon, which knows the secrets; a client does not.
    let mut stream = UnixStream::connect(&runtime.sockets()[0]).await.unwrap();
    stream.write_all(b"{\"ask\":\"logs\"}\n").await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    while let Some(line) = within("the log", lines.next_line()).await.unwrap() {
        shown += &line;
    }
    assert!(shown.contains("my token is …") && shown.contains("bad …"), "{shown}");
    assert!(!shown.contains("s3cr3t-of-a") && !shown.contains("h3ader-of-a"), "{shown}");
    let mut conn = endpoint.accept().await;
    daemon.wait_for_event("CONNECTION_OPENED").await;
    daemon.stop_closing([&mut conn]).await;
}

/// How often a process was put to sleep or interrupted.
#[cfg(target_os = "linux")]
fn switches(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    // How often it went to sleep again, having been woken. How often it had to make way for others says nothing of it.
    let of = |line: &str| line.strip_prefix("voluntary_ctxt_switches:")?.trim().parse().ok();
    status.lines().find_map(of).unwrap()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn to_follow_one_that_is_idle_costs_nothing_on_either_side() {
    let runtime = Runtime::new();
    let entry = json!({"command": "sleep", "args": ["1000"]});
    // Nobody dials, and nothing is due: the endpoint is never reached before its server has answered.
    let mut config = config([("x", entry)]);
    config["endpoint"] = "ws://127.0.0.1:9/".into();
    config["startTimeout"] = "1h".into();
    let daemon = runtime.setup().config(&config).start("info");
    daemon.wait_for_event("SERVER_STARTED").await;
    let mut follower = Follower::start(&runtime, &[]);
    follower.until("SERVER_STARTED").await;
    let pids = [daemon.pid().as_raw_nonzero().get() as u32, follower.child.id().unwrap()];
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let before = pids.map(switches);
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let after = pids.map(switches);
    assert!(after[0] - before[0] < 8, "the daemon: {before:?} {after:?}");
    // It may have been told of a line or two; one that looks each tenth of a second does so twenty times.
    assert!(after[1] - before[1] < 8, "the client: {before:?} {after:?}");
    drop(follower);
    daemon.stop().await;
}

#[tokio::test]
async fn a_reader_that_went_away_has_seen_enough() {
    let runtime = Runtime::new();
    let daemon = runtime.local("x", "info").await;
    let mut follower = Follower::start(&runtime, &[]);
    follower.until("ALL_UP").await;
    let Follower { mut child, lines } = follower;
    drop(lines);
    daemon.signal(Signal::USR1);
    let status = within("its end", child.wait()).await.unwrap();
    assert!(status.success(), "{status}");
    let off = Setup::new().args(["logs", "-n", "many"]).output().await;
    assert_eq!(off.status.code(), Some(2));
    daemon.stop().await;
}
