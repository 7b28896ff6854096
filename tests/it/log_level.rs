//! `mcp-pipe log-level`: more lines of a running mcp-pipe, or fewer, for a while.

use std::time::Duration;

use serde_json::{Value, json};

use crate::control::Runtime;
use crate::harness::{Daemon, FakeEndpoint, field, fixture_entry, one_server, within};

/// How many lines of this event were logged.
fn count(daemon: &Daemon, event: &str) -> usize {
    daemon.log_lines().iter().filter(|line| field(line, "event") == Some(event)).count()
}

#[tokio::test]
async fn messages_are_logged_for_as_long_as_they_are_to_and_status_and_the_log_say_so() {
    let (runtime, endpoint) = (Runtime::new(), FakeEndpoint::bind().await);
    let daemon = runtime.setup().config(&one_server(&endpoint, &[])).start("info");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    conn.call(5, "pid", json!({})).await;
    assert_eq!(runtime.done(&["log-level"]).await, "log level: info\n");
    assert_eq!(count(&daemon, "MESSAGE_SENT"), 0);
    let said = runtime.done(&["log-level", "debug", "--for", "3s"]).await;
    assert_eq!(said, "log level: debug for 3.0 s, then info again\n");
    let told = runtime.ask(&["status"]).await;
    assert!(
        told.code == 0 && told.out.contains("log level: debug for ") && told.out.contains("(info at the start)"),
        "{told:?}"
    );
    let json: Value = crate::status::told(&runtime).await.1;
    assert_eq!((&json["logLevel"]["level"], &json["logLevel"]["usual"]), (&json!("debug"), &json!("info")));
    assert!(json["logLevel"]["forSeconds"].as_f64().unwrap() <= 3.0);
    conn.call(6, "pid", json!({})).await;
    daemon.wait_for_event("MESSAGE_SENT").await;
    let is_again = |line: &Value| field(line, "message") == Some("log level: info again");
    daemon.wait_for("that it is over", is_again).await;
    let before = count(&daemon, "MESSAGE_SENT");
    conn.call(7, "pid", json!({})).await;
    assert_eq!(runtime.done(&["log-level"]).await, "log level: info\n");
    assert_eq!(count(&daemon, "MESSAGE_SENT"), before);
    assert!(crate::status::told(&runtime).await.1["logLevel"].is_null());
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn one_part_alone_can_say_more_and_less_is_possible_too() {
    let (runtime, endpoint) = (Runtime::new(), FakeEndpoint::bind().await);
    let daemon = runtime.setup().config(&one_server(&endpoint, &[])).start("info");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    for blank in ["", " ", ","] {
        let refused = runtime.ask(&["log-level", blank]).await;
        assert!(refused.code == 2 && refused.err.contains(&format!("\"{blank}\" is no level")), "{refused:?}");
    }
    let said = runtime.done(&["log-level", "error,mcp_pipe::pipe=debug"]).await;
    assert_eq!(said, "log level: mcp_pipe::pipe=debug,error until somebody says otherwise (info at the start)\n");
    conn.call(5, "pid", json!({})).await;
    daemon.wait_for_event("MESSAGE_SENT").await;
    let commands = count(&daemon, "COMMAND");
    runtime.done(&["restart", "x"]).await;
    assert_eq!(count(&daemon, "COMMAND"), commands, "it is at info");
    // What is not shown is kept all the same.
    let kept = runtime.done(&["logs", "--json"]).await;
    assert!(kept.contains("restarted, by command") || kept.contains("by command"), "{kept}");
    assert_eq!(runtime.done(&["log-level", "INFO"]).await, "log level: info\n");
    runtime.done(&["restart", "x"]).await;
    let logged = async {
        while count(&daemon, "COMMAND") == commands {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within("the command in the log", logged).await;
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn what_is_no_level_is_told_as_at_a_start_and_without_a_daemon_it_is_code_three() {
    let runtime = Runtime::new();
    for (args, code, why) in [
        (
            &["log-level", "inof"][..],
            2,
            "log-level \"inof\" is no level\n  → did you mean info? levels are off, error, warn, info, debug, trace; for one part: mcp_pipe::link=debug",
        ),
        (&["log-level", "x=debug=y"], 2, "is no level"),
        (&["log-level", "debug", "--for", "10"], 2, "a time needs a unit"),
        (&["log-level", "--for", "10m"], 2, "LEVEL"),
        (&["log-level", "debug"], 3, "no mcp-pipe of this user runs here"),
    ] {
        let said = runtime.ask(args).await;
        assert!(said.code == code && said.err.contains(why), "{args:?}: {said:?}");
    }
}

#[tokio::test]
async fn what_comes_up_is_counted_by_its_cause() {
    let runtime = Runtime::new();
    let config = json!({"maxBackoff": "1s", "mcpServers": {"x": {"command": "false"}, "y": fixture_entry(&[])}, "gateway": {"listen": "127.0.0.1:0"}});
    let daemon = runtime.setup().config(&config).start("info");
    runtime.until_one_listens(&daemon).await;
    let counted = async {
        loop {
            let counts = crate::status::told(&runtime).await.1["counts"].clone();
            if counts["server-crash-loop"].as_u64() >= Some(2) {
                return counts;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let counts = within("a crash loop", counted).await;
    assert_eq!(counts.as_object().unwrap().len(), 2, "{counts}");
    assert_eq!(counts["server-exited"], 2, "the first two are none yet: {counts}");
    let said = runtime.ask(&["status"]).await;
    assert!(
        said.out.contains("\nsince the start: server-crash-loop ") && said.out.ends_with(", server-exited 2\n"),
        "{said:?}"
    );
    // What is wrong no more has still come up.
    runtime.done(&["stop", "x"]).await;
    let said = runtime.ask(&["status"]).await;
    assert!(said.code == 0 && said.out.contains("\nsince the start: server-crash-loop "), "{said:?}");
    daemon.stop().await;
}
