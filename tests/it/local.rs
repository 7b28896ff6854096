//! No account, no network: `--local`, `tools` and `call`.

use std::process::Output;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::control::Runtime;
use crate::harness::{Agent, Setup, Takes, calculator_entry, config, fixture_entry};

fn calculator() -> Setup {
    Setup::new().config(&config([("calculator", calculator_entry())]))
}

async fn run(setup: Setup, args: &[&str]) -> (Output, String, String) {
    let output = setup.args(args.iter().copied()).output().await;
    let stdout = String::from_utf8(output.stdout.clone()).unwrap();
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    (output, stdout, stderr)
}

#[tokio::test]
async fn local_shows_the_tools_of_each_server_and_stays_up_until_told_to_stop() {
    let servers = [("calculator", calculator_entry()), ("other", fixture_entry(&[]))];
    let mut daemon = Setup::new().config(&config(servers)).args(["--local"]).start("info");
    for (server, tool) in [("calculator", "subtract"), ("other", "echo")] {
        daemon
            .wait_for(&format!("the tools of {server}"), |line| {
                let line = line.to_string();
                line.contains("TOOLS_READ") && line.contains(server) && line.contains(tool)
            })
            .await;
    }
    assert!(daemon.processes().len() >= 3, "{:?}", daemon.processes());
    daemon.signal(Signal::INT);
    assert_eq!(daemon.exit().await.code(), Some(0));
}

#[tokio::test]
async fn call_prints_what_the_tool_says_and_nothing_else() {
    let (output, stdout, stderr) = run(calculator(), &["call", "calculator", "add", r#"{"a":2,"b":3}"#]).await;
    assert_eq!((stdout.as_str(), output.status.code()), ("5\n", Some(0)), "{stderr}");
}

#[tokio::test]
async fn call_gets_its_answer_however_the_server_writes_it() {
    for shape in ["before", "spread", "framed", "unended", "log-cut"] {
        let server = config([("x", fixture_entry(&["--shape", shape]))]);
        let setup = Setup::new().config(&server);
        let (output, stdout, stderr) = run(setup, &["call", "x", "echo", r#"{"text":"through"}"#]).await;
        assert_eq!((stdout.as_str(), output.status.code()), ("through\n", Some(0)), "{shape}: {stderr}");
    }
}

#[tokio::test]
async fn a_tools_own_error_goes_to_stderr_with_exit_code_1() {
    let (output, stdout, stderr) = run(calculator(), &["call", "calculator", "divide", r#"{"a":1,"b":0}"#]).await;
    assert_eq!((stdout.as_str(), output.status.code()), ("", Some(1)));
    assert_eq!(stderr, "mcp-pipe: tool \"divide\" of server \"calculator\" reports an error: division by zero\n");
}

#[tokio::test]
async fn a_call_that_takes_longer_than_its_timeout_is_mcp_pipes_error_and_one_of_the_server_is_the_servers() {
    let mut entry = fixture_entry(&[]);
    entry["timeout"] = "300ms".into();
    let setup = || Setup::new().config(&config([("x", entry.clone())]));
    let (output, _, stderr) = run(setup(), &["call", "x", "sleep", r#"{"ms":60000}"#]).await;
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let want = "tool sleep of server \"x\" did not answer within 0.3 s (timeout), so mcp-pipe has cancelled the call\n";
    assert_eq!(stderr, format!("mcp-pipe: {want}"));
    let (_, _, stderr) = run(calculator(), &["call", "calculator", "divide", r#"{"a":1}"#]).await;
    assert!(stderr.starts_with("mcp-pipe: server \"calculator\" answered with an error: "), "{stderr}");
}

#[tokio::test]
async fn a_mistyped_tool_or_server_is_answered_with_the_closest_name() {
    for (args, want) in [(["call", "calculator", "ad"], "\"add\""), (["call", "calclator", "add"], "calculator")] {
        let (output, stdout, stderr) = run(calculator(), &args).await;
        assert!(!output.status.success() && stdout.is_empty(), "{stdout}");
        assert!(stderr.contains(want), "{stderr}");
    }
}

#[tokio::test]
async fn arguments_that_are_no_json_are_refused_before_anything_starts() {
    for (arguments, want) in
        [("{a:2}", "a key stands here without quotes"), ("[1]", "not an array"), ("-", "standard input was empty")]
    {
        let (output, stdout, stderr) = run(calculator(), &["call", "calculator", "add", arguments]).await;
        assert_eq!((output.status.code(), stdout.as_str()), (Some(2), ""), "{stderr}");
        assert!(stderr.contains(want) && !stderr.contains("SERVER_STARTED"), "{stderr}");
    }
}

#[tokio::test]
async fn tools_prints_a_table_that_a_pipe_can_read() {
    let (output, stdout, stderr) = run(calculator(), &["tools"]).await;
    assert!(output.status.success(), "{stderr}");
    assert!(stdout.lines().any(|line| line.starts_with("calculator  add ")), "{stdout}");
    assert!(stdout.contains("a: number, b: number") && !stdout.contains('\u{1b}'), "{stdout}");
}

#[tokio::test]
async fn tools_and_call_promise_no_further_attempt_of_a_server_that_dies_or_cannot_start() {
    for (command, args, told) in
        [("sh", json!(["-c", "exit 3"]), "exited with code 3"), ("no-such-program", json!([]), "no-such-program")]
    {
        let config = json!({"mcpServers": {"x": {"command": command, "args": args}}});
        for line in [&["tools"][..], &["call", "x", "echo"]] {
            let output = Setup::new().config(&config).args(line.iter().copied()).output().await;
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(!output.status.success() && said.contains(told), "{line:?}: {said}");
            assert!(!said.contains("restart in") && !said.contains("next attempt in"), "{line:?}: {said}");
        }
    }
}

#[tokio::test]
async fn tools_json_holds_what_the_server_said() {
    let servers = [("calculator", calculator_entry()), ("other", fixture_entry(&[]))];
    let (_, stdout, stderr) = run(Setup::new().config(&config(servers)), &["tools", "--json"]).await;
    let value: Value = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}"));
    let names: Vec<_> = value["servers"].as_array().unwrap().iter().map(|server| server["name"].clone()).collect();
    assert_eq!(names, ["calculator", "other"]);
    assert_eq!(value["servers"][0]["serverInfo"]["name"], "calculator");
    assert_eq!(value["servers"][0]["tools"][0]["inputSchema"]["required"], json!(["a", "b"]));
}

#[tokio::test]
async fn tools_shows_what_a_server_says_now_and_not_what_is_remembered_of_it() {
    const SERVER: &str = r#"
import json, sys
for message in map(json.loads, sys.stdin):
    if "id" in message:
        tools = [{"name": open(sys.argv[1]).read(), "inputSchema": {"type": "object"}}]
        result = {"protocolVersion": "2024-11-05", "capabilities": {"tools": {}}, "serverInfo": {"name": "s"}, "tools": tools}
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
"#;
    let dir = tempfile::tempdir().unwrap();
    let tool = dir.path().join("tool");
    // With a shared connection, or edited tools, what servers say is remembered for the endpoint.
    let server = json!({"command": "python", "args": ["-c", SERVER, tool], "cwd": dir.path(), "slim": true});
    let config = json!({"cacheDir": dir.path().join("cache"), "mcpServers": {"s": server}});
    for now in ["old", "new"] {
        std::fs::write(&tool, now).unwrap();
        let (_, stdout, stderr) = run(Setup::new().config(&config), &["tools"]).await;
        assert!(stdout.contains(now), "{now}: {stdout}{stderr}");
    }
}

#[tokio::test]
async fn tools_size_measures_each_tool_and_warns_above_the_budget() {
    let config = json!({"toolBudget": 100, "mcpServers": {"calculator": calculator_entry()}});
    let (output, stdout, stderr) = run(Setup::new().config(&config), &["tools", "--size", "--json"]).await;
    assert!(output.status.success(), "{stderr}");
    let value: Value = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}"));
    let tools = value["servers"][0]["tools"].as_array().unwrap();
    let bytes: Vec<u64> = tools.iter().map(|tool| tool["bytes"].as_u64().unwrap()).collect();
    assert!(bytes.len() == 5 && bytes.is_sorted_by(|a, b| a >= b), "{stdout}");
    assert_eq!(value["bytes"].as_u64(), Some(bytes.iter().sum()));
    assert!(stderr.contains("TOOL_BUDGET") && stderr.contains("above the toolBudget of 100"), "{stderr}");
}

/// Three servers with the same tools, each by other rules.
fn edited() -> Value {
    let mut servers = config(["a", "b", "c"].map(|name| (name, fixture_entry(&[]))));
    servers["mcpServers"]["a"]["tools"] = json!({"deny": ["big"], "rename": {"add": "plus"}});
    servers["mcpServers"]["b"]["tools"] = json!({"allow": ["echo", "touch"], "describe": {"*": "Does it."}});
    servers["mcpServers"]["b"]["slim"] = true.into();
    servers["mcpServers"]["c"]["tools"] = json!({"allow": ["big"]});
    servers
}

#[tokio::test]
async fn published_names_are_those_that_an_endpoint_reads_on_one_connection() {
    let (_, stdout, stderr) = run(Setup::new().config(&edited()), &["tools", "--published", "--json"]).await;
    let value: Value = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}"));
    let tools = value["servers"].as_array().unwrap().iter().flat_map(|server| server["tools"].as_array().unwrap());
    let mut printed: Vec<_> = tools.map(|tool| tool["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(value["servers"][0]["ownNames"]["plus"], "add", "{stdout}");
    let agent = Agent::bind("/mcp/", Takes::Newest).await;
    let mut servers = edited();
    servers["endpoint"] = agent.url("t").into();
    let daemon = Setup::new().config(&servers).args(["--mode", "multiplex"]).start("info");
    let seen = agent.wait_for("the tools", |seen| seen.last().is_some_and(|seen| seen.tools.is_some())).await;
    let mut read = seen.last().unwrap().tools.clone().unwrap();
    printed.sort_unstable();
    read.sort_unstable();
    assert_eq!(printed, read);
    assert!(read.iter().any(|name| name == "a__echo") && read.iter().any(|name| name == "big"), "{read:?}");
    daemon.stop().await;
    let (_, stdout, _) = run(Setup::new().config(&edited()), &["tools", "--published"]).await;
    assert!(stdout.lines().any(|line| line.starts_with("a       add    plus          ")), "{stdout}");
}

#[tokio::test]
async fn sizes_are_shown_as_offered_and_as_published() {
    let (_, stdout, stderr) = run(Setup::new().config(&edited()), &["tools", "--size", "--json"]).await;
    let value: Value = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}"));
    let of = |server: usize| {
        let server = &value["servers"][server];
        (server["offered"]["bytes"].as_u64().unwrap(), server["bytes"].as_u64().unwrap())
    };
    let (offered, published) = of(1);
    assert!(published < offered && of(0).0 == offered && of(0).1 < offered, "{stdout}");
    assert_eq!(value["servers"][2]["tools"].as_array().unwrap().len(), 1, "{stdout}");
    assert!(value["servers"][2]["unpublished"].as_array().unwrap().len() > 5, "{stdout}");
    let (_, stdout, _) = run(Setup::new().config(&edited()), &["tools", "--size"]).await;
    assert!(stdout.lines().next().unwrap().ends_with("OFFERED  TOKENS  PUBLISHED  TOKENS"), "{stdout}");
}

#[tokio::test]
async fn tools_of_one_server_starts_no_other() {
    let servers = [("calculator", calculator_entry()), ("other", json!({"command": "/nonexistent"}))];
    let (output, stdout, stderr) = run(Setup::new().config(&config(servers)), &["tools", "calculator"]).await;
    assert!(output.status.success() && !stderr.contains("/nonexistent"), "{stderr}");
    assert!(stdout.contains("subtract"), "{stdout}");
}

#[tokio::test]
async fn a_local_run_survives_a_server_that_cannot_be_started() {
    let servers = [("calculator", calculator_entry()), ("broken", json!({"command": "no-such-program-anywhere"}))];
    let daemon = Setup::new().config(&config(servers)).args(["--local"]).start("info");
    daemon.wait_for_event("TOOLS_READ").await;
    daemon.wait_for("the missing program", |line| line.to_string().contains("no-such-program-anywhere")).await;
    daemon.stop().await;
}

#[tokio::test]
async fn half_a_character_in_what_a_server_says_costs_neither_the_table_nor_an_answer() {
    let tools =
        r#"{"tools":[{"name":"t","description":"a \ud83d b","inputSchema":{"type":"object","maximum":1e999}}]}"#;
    let result = r#"{"content":[{"type":"text","text":"half \ude00"}]}"#;
    let flags = ["--answer", "tools/list", tools, "--answer", "tools/call", result];
    let setup = || Setup::new().config(&config([("x", fixture_entry(&flags))]));
    let (output, stdout, stderr) = run(setup(), &["tools"]).await;
    assert!(output.status.success() && stdout.contains("a \u{fffd} b"), "{stdout}{stderr}");
    let (output, stdout, stderr) = run(setup(), &["call", "x", "t"]).await;
    assert_eq!((stdout.as_str(), output.status.code()), ("half \u{fffd}\n", Some(0)), "{stderr}");
}

#[tokio::test]
async fn a_server_that_is_mute_to_the_request_for_its_tools_is_not_said_to_have_none() {
    let mut config = config([("m", fixture_entry(&["--mute", "tools/list"]))]);
    config["timeout"] = "5s".into();
    let runtime = Runtime::new();
    let daemon = runtime.setup().config(&config).args(["--local"]).start("info");
    let line = daemon.wait_for_event("TOOLS_READ").await.to_string();
    assert!(line.contains("0 tools: the server has none, or has not answered tools/list yet"), "{line}");
    let said = runtime.ask(&["status"]).await;
    assert!(said.code == 0 && said.out.starts_with("m: serving for "), "{said:?}");
    daemon.stop().await;
}

#[tokio::test]
async fn a_list_that_tools_leaves_empty_is_not_said_to_be_the_servers() {
    let mut entry = fixture_entry(&[]);
    entry["tools"] = json!({"allow": ["zzz"]});
    let daemon = Setup::new().config(&config([("x", entry)])).args(["--local"]).start("info");
    let line = daemon.wait_for_event("TOOLS_READ").await.to_string();
    assert!(line.contains(r#"0 tools: \"tools\" in the config leaves none to publish"#), "{line}");
    daemon.stop().await;
}

#[tokio::test]
async fn a_list_that_is_read_again_and_is_the_same_is_told_once() {
    let entry = fixture_entry(&["--announce", "3"]);
    let daemon = Setup::new().config(&config([("x", entry)])).args(["--local"]).start("debug");
    daemon.wait_for("the list read again", |line| line.to_string().contains("read again, the same")).await;
    let log = daemon.log_text();
    let told = log.lines().filter(|line| line.contains("TOOLS_READ") && line.contains("INFO")).count();
    assert_eq!(told, 1, "{log}");
    daemon.stop().await;
}

#[tokio::test]
async fn a_call_that_takes_long_is_told_to_be_waited_for() {
    let setup = Setup::new().config(&config([("x", fixture_entry(&[]))]));
    let (_, stdout, stderr) = run(setup, &["call", "x", "sleep", r#"{"ms":4000}"#]).await;
    assert!(
        stdout.contains("slept") && stderr.contains("waiting for the answer of sleep: 3 of 300 s at most"),
        "{stdout}{stderr}"
    );
}
