//! `mcp-pipe stdio`: the servers as one MCP server on standard input and output, of a daemon or without one.

use std::fs;
use std::path::PathBuf;

use rmcp::ServiceExt as _;
use rmcp::model::CallToolRequestParams;
use rmcp::transport::TokioChildProcess;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::control::Runtime;
use crate::harness::{
    Daemon, FakeEndpoint, Setup, Talk, config, fixture_entry, installed, multiplex, names, text_of, within,
};

fn two_servers() -> Value {
    config([("x", fixture_entry(&[])), ("y", fixture_entry(&[]))])
}

/// A daemon with the servers `x` and `y`, on an endpoint of our own.
async fn daemon(runtime: &Runtime) -> Daemon {
    let daemon = runtime.setup().config(&two_servers()).args(["--local"]).start("info");
    runtime.until_one_listens(&daemon).await;
    daemon.wait_for_event("ALL_UP").await;
    daemon
}

/// A client of the daemon, or of the servers of its own config.
fn talk(runtime: &Runtime, has_daemon: bool, args: &[&str]) -> Talk {
    let setup = runtime.setup();
    let setup = if has_daemon { setup } else { setup.config(&two_servers()) };
    setup.args(["stdio"]).args(args.iter().copied()).talk()
}

/// Both ways, one after the other: whether there is a daemon, and where.
async fn both_ways() -> [(Runtime, Option<Daemon>); 2] {
    let with = Runtime::new();
    let daemon = daemon(&with).await;
    [(with, Some(daemon)), (Runtime::new(), None)]
}

#[tokio::test]
async fn a_client_lists_calls_and_cancels_and_its_end_is_the_end() {
    for (runtime, daemon) in both_ways().await {
        let mut talk = talk(&runtime, daemon.is_some(), &[]);
        talk.greet().await;
        let tools = talk.ask(1, "tools/list", json!({})).await;
        let tools = names(&tools);
        assert!(tools.contains(&"x__echo") && tools.contains(&"y__echo"), "{tools:?}");
        assert_eq!(text_of(&talk.call(2, "y__echo", json!({"text": "ä\n\"hi\""})).await), "ä\n\"hi\"");
        let big = talk.call(3, "x__big", json!({"bytes": 1 << 20})).await;
        assert_eq!(text_of(&big).len(), 1 << 20);
        // Progress comes to the call that wants it.
        let file = tempfile::NamedTempFile::new().unwrap();
        let arguments = json!({"ms": 0, "until": file.path()});
        let params = json!({"name": "x__sleep", "arguments": arguments, "_meta": {"progressToken": "p"}});
        talk.send("tools/call", Some(4), params).await;
        assert!(talk.answer(4).await["result"].is_object());
        assert!(talk.others.iter().any(|other| other["params"]["progressToken"] == "p"), "{:?}", talk.others);
        // One that is cancelled has no answer, and the client's end waits for none.
        talk.send("tools/call", Some(5), json!({"name": "x__sleep", "arguments": {"ms": 60_000}})).await;
        talk.send("notifications/cancelled", None, json!({"requestId": 5})).await;
        assert_eq!(text_of(&talk.call(6, "x__echo", json!({"text": "on"})).await), "on");
        // What is under way at the end of the client's messages is answered.
        talk.send("tools/call", Some(7), json!({"name": "y__sleep", "arguments": {"ms": 300}})).await;
        let said = talk.end().await;
        assert_eq!(said.code, Some(0), "{said:?}");
        let rest: Vec<Value> = said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(rest.iter().any(|message| message["id"] == 7 && message["result"].is_object()), "{rest:?}");
        if let Some(daemon) = daemon {
            daemon.stop().await;
        }
    }
}

#[tokio::test]
async fn one_server_is_seen_under_its_own_names_and_one_that_there_is_not_is_told() {
    for (runtime, daemon) in both_ways().await {
        let mut one = talk(&runtime, daemon.is_some(), &["--server", "y"]);
        one.greet().await;
        let tools = one.ask(1, "tools/list", json!({})).await;
        assert!(names(&tools).contains(&"echo"), "{tools}");
        assert_eq!(one.end().await.code, Some(0));
        let said = talk(&runtime, daemon.is_some(), &["--server", "yy"]).end().await;
        assert_eq!((said.code, &*said.out), (Some(2), ""), "{said:?}");
        assert!(said.err.contains("no server here is called \"yy\"; there are: x, y"), "{said:?}");
        drop(daemon);
    }
}

#[tokio::test]
async fn a_daemon_that_dies_under_it_is_told_and_what_was_under_way_gets_an_error() {
    for (signal, is_answered) in [(Signal::KILL, false), (Signal::TERM, true)] {
        let runtime = Runtime::new();
        let mut daemon = daemon(&runtime).await;
        let mut talk = talk(&runtime, true, &[]);
        talk.greet().await;
        assert_eq!(text_of(&talk.call(1, "x__echo", json!({"text": "hi"})).await), "hi");
        let ms = if is_answered { 500 } else { 60_000 };
        talk.send("tools/call", Some(2), json!({"name": "x__sleep", "arguments": {"ms": ms}})).await;
        talk.send("tools/call", Some(3), json!({"name": "y__echo", "arguments": {"text": "there"}})).await;
        assert_eq!(text_of(&talk.answer(3).await), "there");
        daemon.signal(signal);
        daemon.exit().await;
        let answer = talk.answer(2).await;
        assert_eq!(answer["result"].is_object(), is_answered, "{answer}");
        if !is_answered {
            let error = &answer["error"];
            assert_eq!((&error["code"], &error["data"]["from"]), (&json!(-32000), &json!("mcp-pipe")), "{answer}");
        }
        // It does not wait for the client.
        let said = talk.ended().await;
        assert_eq!((said.code, &*said.out), (Some(1), ""), "{said:?}");
        let told = if is_answered { "no request was under way" } else { "1 request under way got an error" };
        assert!(said.err.contains("has ended") && said.err.contains(told), "{said:?}");
    }
}

#[tokio::test]
async fn a_client_whose_server_is_gone_from_the_config_is_told_so() {
    let runtime = Runtime::new();
    let all = config([("x", fixture_entry(&[])), ("y", fixture_entry(&[]))]);
    let daemon = runtime.setup().config(&all).args(["serve", "--listen", "127.0.0.1:0"]).start("info");
    daemon.wait_for_event("ALL_UP").await;
    let mut talk = talk(&runtime, true, &["--server", "y"]);
    talk.greet().await;
    fs::write(daemon.path().join("mcp_config.json"), config([("x", fixture_entry(&[]))]).to_string()).unwrap();
    assert_eq!(runtime.ask(&["reload"]).await.code, 0);
    let said = talk.ended().await;
    assert_eq!((said.code, &*said.out), (Some(1), ""), "{said:?}");
    assert!(said.err.contains("has ended the conversation; no request was under way"), "{said:?}");
    assert!(said.err.contains("no server here is called \"y\""), "{said:?}");
    daemon.stop().await;
}

#[tokio::test]
async fn two_clients_and_a_link_use_the_same_servers_at_once() {
    let (runtime, endpoint) = (Runtime::new(), FakeEndpoint::bind().await);
    let servers = [("x", fixture_entry(&[])), ("y", fixture_entry(&[]))];
    let daemon = runtime.setup().config(&multiplex(&endpoint, servers)).start("info");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    let mut talks = [talk(&runtime, true, &[]), talk(&runtime, true, &[])];
    for talk in &mut talks {
        talk.greet().await;
    }
    // The same ids, all under way at a time.
    for id in 10..40 {
        conn.send_call(id, "x__echo", json!({"text": format!("link {id}")})).await;
        for (n, talk) in talks.iter_mut().enumerate() {
            let arguments = json!({"text": format!("client {n} {id}")});
            talk.send("tools/call", Some(id), json!({"name": "x__echo", "arguments": arguments})).await;
        }
    }
    for id in 10..40 {
        assert_eq!(text_of(&conn.answer_to(id).await), format!("link {id}"));
        for (n, talk) in talks.iter_mut().enumerate() {
            assert_eq!(text_of(&talk.answer(id).await), format!("client {n} {id}"));
        }
    }
    let pid = text_of(&conn.call(50, "x__pid", json!({})).await).to_owned();
    for mut talk in talks {
        assert_eq!(text_of(&talk.call(50, "x__pid", json!({})).await), pid, "one process for all");
        assert_eq!(talk.end().await.code, Some(0));
    }
    // The end of a client is nothing to the others.
    assert_eq!(text_of(&conn.call(51, "x__pid", json!({})).await), pid);
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn a_client_of_the_only_server_learns_of_another_one() {
    let runtime = Runtime::new();
    let one = config([("x", fixture_entry(&[]))]);
    let daemon = runtime.setup().config(&one).args(["serve", "--listen", "127.0.0.1:0"]).start("info");
    daemon.wait_for_event("ALL_UP").await;
    let mut talk = talk(&runtime, true, &[]);
    let greeting = talk.greet().await;
    assert_eq!(greeting["result"]["capabilities"]["tools"]["listChanged"], true, "{greeting}");
    assert!(names(&talk.ask(1, "tools/list", json!({})).await).contains(&"echo"));
    fs::write(daemon.path().join("mcp_config.json"), two_servers().to_string()).unwrap();
    assert_eq!(runtime.ask(&["reload"]).await.code, 0);
    talk.other("notifications/tools/list_changed").await;
    assert_eq!(text_of(&talk.call(2, "y__echo", json!({"text": "new"})).await), "new");
    assert_eq!(talk.end().await.code, Some(0));
    daemon.stop().await;
}

#[tokio::test]
async fn a_client_that_is_killed_takes_it_along() {
    for (runtime, daemon) in both_ways().await {
        let mut talk = talk(&runtime, daemon.is_some(), &[]);
        talk.greet().await;
        talk.send("tools/call", Some(1), json!({"name": "x__sleep", "arguments": {"ms": 60_000}})).await;
        assert_eq!(text_of(&talk.call(2, "x__echo", json!({"text": "hi"})).await), "hi");
        // Nobody hears the answer any more, so nobody waits for it.
        within("the end", talk.vanish()).await;
        if let Some(daemon) = daemon {
            daemon.wait_for("the cancellation", |line| line.to_string().contains("cancelled ")).await;
            daemon.stop().await;
        }
    }
}

#[tokio::test]
async fn which_of_several_is_meant_has_to_be_said() {
    let runtime = Runtime::new();
    let (one, other) = (daemon(&runtime).await, daemon(&runtime).await);
    let said = talk(&runtime, true, &[]).end().await;
    assert_eq!((said.code, &*said.out), (Some(2), ""), "{said:?}");
    assert!(said.err.contains("several of them run") && said.err.contains("--control-socket"), "{said:?}");
    let config = one.path().join("mcp_config.json");
    let mut talk = talk(&runtime, true, &["--config", config.to_str().unwrap()]);
    talk.greet().await;
    assert_eq!(talk.end().await.code, Some(0));
    drop((one, other));
}

#[tokio::test]
async fn more_clients_than_ask_at_a_time_are_served_and_the_daemon_is_still_asked() {
    let runtime = Runtime::new();
    let daemon = daemon(&runtime).await;
    let mut talks = Vec::new();
    for _ in 0..20 {
        let mut talk = talk(&runtime, true, &[]);
        talk.greet().await;
        talks.push(talk);
    }
    let asked = runtime.ask(&["status"]).await;
    assert_eq!(asked.code, 0, "{asked:?}");
    for talk in &mut talks {
        assert_eq!(text_of(&talk.call(1, "y__echo", json!({"text": "hi"})).await), "hi");
    }
    for talk in talks {
        assert_eq!(talk.end().await.code, Some(0));
    }
    daemon.stop().await;
}

#[tokio::test]
async fn a_config_with_mistakes_is_told_on_stderr_alone() {
    let said = Setup::new().file("mcp_config.json", "{").args(["stdio"]).talk().end().await;
    assert_eq!((said.code, &*said.out), (Some(78), ""), "{said:?}");
    assert!(said.err.contains("mcp_config.json"), "{said:?}");
}

#[tokio::test]
async fn the_python_sdk_uses_it_as_any_server() {
    let Some(python) = installed("MCP_PIPE_TEST_PYTHON") else { return };
    for (runtime, daemon) in both_ways().await {
        let setup = runtime.setup();
        let setup = if daemon.is_some() { setup } else { setup.config(&two_servers()) };
        let client = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/clients/stdio_client.py");
        let mut command = Command::new(&python);
        command.arg(client).args(["x__add", r#"{"a": 2, "b": 3}"#]).arg(env!("CARGO_BIN_EXE_mcp-pipe")).arg("stdio");
        let output = setup.output_of(command).await;
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        let said: Value = serde_json::from_str(&text).unwrap();
        assert!(names_of(&said["tools"]).contains(&"y__echo"), "{said}");
        assert_eq!(said["result"]["content"][0]["text"], "5", "{said}");
        drop(daemon);
    }
}

#[tokio::test]
async fn the_rust_sdk_uses_it_as_any_server() {
    for (runtime, daemon) in both_ways().await {
        let setup = runtime.setup();
        let setup = if daemon.is_some() { setup } else { setup.config(&two_servers()) };
        let (command, _dir) = setup.args(["stdio"]).into_command();
        let child = TokioChildProcess::new(command).unwrap();
        let client = within("a greeting", ().serve(child)).await.unwrap();
        let tools = within("a list", client.list_all_tools()).await.unwrap();
        assert!(tools.iter().any(|tool| tool.name == "y__echo"), "{tools:?}");
        let arguments = json!({"a": 2, "b": 3}).as_object().cloned().unwrap();
        let call = CallToolRequestParams::new("x__add").with_arguments(arguments);
        let said = within("an answer", client.call_tool(call)).await.unwrap();
        assert_eq!(serde_json::to_value(said).unwrap()["content"][0]["text"], "5");
        within("the end", client.cancel()).await.unwrap();
        if let Some(daemon) = daemon {
            daemon.stop().await;
        }
    }
}

fn names_of(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect()
}
