//! What the gateway serves, as clients see it that people have: those of the official SDKs, and that of fastmcp, unmodified, over
//! Streamable HTTP with sessions, and one over WebSocket.

use std::fs;
use std::path::Path;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::eras::script;
use crate::gateway::url;
use crate::harness::{Client, Daemon, Setup, config, everything, fixture_entry, installed, of_npm, within};
use crate::sdk_clients::use_everything;

/// A client, in a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    TypeScript,
    /// Over WebSocket, for which it has a transport.
    TypeScriptSocket,
    TypeScript2,
    /// In the era without sessions.
    ModernTypeScript2,
    Python,
    /// In the era without sessions.
    ModernPython,
    OldPython,
    FastMcp,
    OldFastMcp,
    /// On stdio, before the program that brings HTTP to such clients.
    Remote,
    /// The same over HTTP+SSE.
    RemoteEvents,
}

const KINDS: [Kind; 11] = [
    Kind::TypeScript,
    Kind::TypeScriptSocket,
    Kind::TypeScript2,
    Kind::ModernTypeScript2,
    Kind::Python,
    Kind::ModernPython,
    Kind::OldPython,
    Kind::FastMcp,
    Kind::OldFastMcp,
    Kind::Remote,
    Kind::RemoteEvents,
];

impl Kind {
    /// Connects it. `None`: it isn't installed.
    async fn at(self, url: &str) -> Option<Client> {
        let program = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name);
        let python_with = |variable: &str, name: &str, args: &[&str]| {
            let mut command = Command::new(installed(variable)?);
            // They call what a later version of MCP has deprecated.
            command.arg("-Wignore").arg(program(name)).args(args);
            Some(command)
        };
        let node = |name: &str, args: &[&str]| {
            let mut command = Command::new("node");
            command.arg(program(name)).arg(installed("MCP_PIPE_TEST_NODE_MODULES")?).args(args);
            Some(command)
        };
        let python = |variable: &str, name: &str| python_with(variable, name, &[]);
        let remote = |transport: &str| {
            let [node, remote] = [of_npm(".bin/node")?, of_npm(".bin/mcp-remote")?];
            let bridge = ["legacy", node.to_str()?, remote.to_str()?, "{}", "--transport", transport];
            let mut command = python_with("MCP_PIPE_TEST_PYTHON", "sdk_client.py", &bridge)?;
            // It would keep files for the user.
            command.env("MCP_REMOTE_CONFIG_DIR", env!("CARGO_TARGET_TMPDIR"));
            Some(command)
        };
        let command = match self {
            Kind::TypeScript | Kind::TypeScriptSocket => node("sdk_client.mjs", &[]),
            Kind::TypeScript2 => node("sdk2_client.mjs", &["legacy"]),
            Kind::ModernTypeScript2 => node("sdk2_client.mjs", &["auto"]),
            Kind::Python => python_with("MCP_PIPE_TEST_PYTHON", "sdk_client.py", &["legacy"]),
            Kind::ModernPython => python_with("MCP_PIPE_TEST_PYTHON", "sdk_client.py", &["auto"]),
            Kind::OldPython => python("MCP_PIPE_TEST_OLD_PYTHON", "old_sdk_client.py"),
            Kind::FastMcp => python("MCP_PIPE_TEST_PYTHON", "fastmcp_client.py"),
            Kind::OldFastMcp => python("MCP_PIPE_TEST_OLD_PYTHON", "fastmcp_client.py"),
            Kind::Remote => remote("http-only"),
            Kind::RemoteEvents => remote("sse-only"),
        };
        let url = match self {
            Kind::TypeScriptSocket => url.replace("http://", "ws://").replace("/mcp", "/ws"),
            Kind::RemoteEvents => url.replace("/mcp", "/sse"),
            Kind::TypeScript
            | Kind::TypeScript2
            | Kind::ModernTypeScript2
            | Kind::Python
            | Kind::ModernPython
            | Kind::OldPython
            | Kind::FastMcp
            | Kind::OldFastMcp
            | Kind::Remote => url.to_owned(),
        };
        Some(Client::dial(command?, &url).await)
    }
}

/// The gateway with these servers, once all are up, and its address.
async fn gateway<'a>(servers: impl IntoIterator<Item = (&'a str, Value)>) -> (Daemon, String) {
    let mut all = config(servers);
    all["gateway"] = json!({"sse": true});
    let setup = Setup::new().config(&all).args(["serve", "--listen", "127.0.0.1:0"]);
    let daemon = setup.start("debug");
    daemon.wait_for_event("ALL_UP").await;
    let at = url(&daemon).await;
    (daemon, at)
}

/// A server that asks its client: what the conformance suite has the client asked.
fn asking() -> Option<Value> {
    let python = installed("MCP_PIPE_TEST_PYTHON")?;
    Some(json!({"command": python, "args": [script("everything.py")]}))
}

async fn tools(client: &mut Client) -> Vec<String> {
    let result = client.ask("tools/list", json!({})).await;
    let name = |tool: &Value| tool["name"].as_str().unwrap().to_owned();
    result["tools"].as_array().unwrap().iter().map(name).collect()
}

#[tokio::test]
async fn each_client_lists_calls_follows_gives_up_sees_changes_and_is_asked() {
    let Some(asking) = asking() else { return };
    let (daemon, url) = gateway([("x", fixture_entry(&[])), ("asking", asking)]).await;
    for kind in KINDS {
        let Some(mut client) = kind.at(&url).await else { return };
        let listed = tools(&mut client).await;
        for tool in ["echo", "test_sampling"] {
            assert!(listed.iter().any(|name| name == tool), "{kind:?}: {listed:?}");
        }
        assert_eq!(client.call("echo", json!({"text": "wörter ✓"})).await, "wörter ✓", "{kind:?}");

        // While a call is under way it reports, and can be given up; the server hears of it.
        let long = client.send_call("test_tool_with_progress", json!({})).await;
        assert_eq!(client.progress(long).await["progress"].as_f64(), Some(0.0), "{kind:?}");
        assert_eq!(client.progress(long).await["total"].as_f64(), Some(100.0), "{kind:?}");
        assert_eq!(client.outcome(long).await["result"]["content"][0]["text"], "went all the way", "{kind:?}");
        let go = daemon.path().join(format!("{kind:?}"));
        let before = daemon.log_text().matches("cancelled ").count();
        let long = client.send_call("sleep", json!({"ms": 0, "until": go})).await;
        // Its answer says that the server has the call: the fixture reads in turn.
        client.call("echo", json!({"text": ""})).await;
        client.cancel(long).await;
        assert!(client.outcome(long).await["error"].is_object(), "{kind:?}");
        daemon
            .wait_for(&format!("the cancellation by {kind:?}"), |_| {
                daemon.log_text().matches("cancelled ").count() > before
            })
            .await;
        fs::write(go, "").unwrap();

        let name = format!("grown_for_{kind:?}");
        assert_eq!(client.call("grow", json!({"name": name})).await, format!("grown by {name}"));
        client.notification("notifications/tools/list_changed").await;
        assert!(tools(&mut client).await.contains(&name), "{kind:?}");
        assert_eq!(client.call(&name, json!({})).await, name);

        // This server asks in each era by other tools.
        let [elicits, samples] = match kind {
            Kind::ModernPython | Kind::ModernTypeScript2 => {
                ["test_input_required_result_elicitation", "test_input_required_result_sampling"]
            }
            Kind::TypeScript
            | Kind::TypeScriptSocket
            | Kind::TypeScript2
            | Kind::Python
            | Kind::OldPython
            | Kind::FastMcp
            | Kind::OldFastMcp
            | Kind::Remote
            | Kind::RemoteEvents => ["test_elicitation_sep1034_defaults", "test_sampling"],
        };
        let answered = client.call(elicits, json!({})).await;
        assert!(answered.contains("elicited by the client"), "{kind:?}: {answered}");
        client.was_asked("elicitation/create").await;
        let sampled = client.call(samples, json!({"prompt": "?"})).await;
        assert!(sampled.contains("sampled by the client"), "{kind:?}: {sampled}");
        client.end().await;
    }
    daemon.stop().await;
}

#[tokio::test]
async fn clients_of_all_kinds_at_once_get_their_own_answers() {
    if installed("MCP_PIPE_TEST_PYTHON").is_none() {
        return;
    }
    let (daemon, url) = gateway([("x", fixture_entry(&[])), ("y", fixture_entry(&["--name", "y"]))]).await;
    let clients = KINDS.map(async |kind| {
        let mut client = kind.at(&url).await?;
        // Whoever has read a list is told when it changes.
        assert!(tools(&mut client).await.iter().any(|name| name == "x__echo"));
        let mut sent = Vec::new();
        for n in 0..50 {
            let text = format!("{kind:?} {n}");
            sent.push((client.send_call(["x__echo", "y__echo"][n % 2], json!({"text": text})).await, text));
        }
        for (number, text) in sent {
            let outcome = client.outcome(number).await;
            assert_eq!(outcome["result"]["content"][0]["text"], *text, "{outcome}");
        }
        Some(client)
    });
    let clients = join_all(clients).await;
    // One that changes a server's tools tells all of them.
    let mut clients: Vec<_> = clients.into_iter().flatten().collect();
    if let Some(first) = clients.first_mut() {
        first.call("x__grow", json!({"name": "later"})).await;
    }
    for client in &mut clients {
        client.notification("notifications/tools/list_changed").await;
        assert_eq!(client.call("later", json!({})).await, "later");
    }
    join_all(clients.into_iter().map(Client::end)).await;
    daemon.stop().await;
}

/// What a server asks names no call, so that only a process of its own tells whom it asks.
#[tokio::test]
async fn clients_with_a_process_each_are_asked_at_once() {
    let Some(mut asking) = asking() else { return };
    asking["instances"] = "per-peer".into();
    let (daemon, url) = gateway([("asking", asking)]).await;
    let clients = [Kind::TypeScript, Kind::Python, Kind::OldPython].map(async |kind| {
        let mut client = kind.at(&url).await?;
        for _ in 0..5 {
            let tool = "test_elicitation_sep1034_defaults";
            let answered = within("a process for this client", async {
                loop {
                    // On a busy machine it starts for longer than a call may wait.
                    if let Some(answered) = client.attempt(tool, &json!({})).await {
                        return answered;
                    }
                }
            });
            let answered = answered.await;
            assert!(answered.contains("elicited by the client"), "{kind:?}: {answered}");
        }
        Some(client)
    });
    let clients: Vec<_> = join_all(clients).await.into_iter().flatten().collect();
    join_all(clients.into_iter().map(Client::end)).await;
    daemon.stop().await;
}

/// Another server that has everything, that of the TypeScript SDK; with what else a client may do.
#[tokio::test]
async fn clients_of_the_sdks_use_all_of_a_server_that_has_everything() {
    let Some(entry) = everything() else { return };
    for kind in [Kind::TypeScript, Kind::Python, Kind::OldPython] {
        let (daemon, url) = gateway([("everything", entry.clone())]).await;
        let Some(mut client) = kind.at(&url).await else { return };
        use_everything(&mut client).await;
        client.end().await;
        daemon.stop().await;
    }
}

/// A program for clients on the command line and one that brings HTTP to those that know stdio only, as npm has them: they print JSON.
#[tokio::test]
async fn the_inspector_and_mcp_remote_reach_the_servers_by_both_transports() {
    let Some(python) = installed("MCP_PIPE_TEST_PYTHON") else { return };
    let [Some(node), Some(inspector), Some(remote)] =
        [".bin/node", ".bin/mcp-inspector", ".bin/mcp-remote"].map(of_npm)
    else {
        return;
    };
    let key = "the-key-of-ann-0123456";
    let mut all = config([("x", fixture_entry(&[])), ("y", fixture_entry(&[]))]);
    all["gateway"] = json!({"sse": true, "apiKeys": [{"name": "ann", "key": key}]});
    let daemon = Setup::new().config(&all).args(["serve", "--listen", "127.0.0.1:0"]).start("info");
    daemon.wait_for_event("ALL_UP").await;
    let (url, header) = (url(&daemon).await, format!("Authorization: Bearer {key}"));
    let home = tempfile::tempdir().unwrap();
    let told = async |program: &Path, args: &[&str]| {
        let mut command = Command::new(program);
        command.args(args).env("HOME", home.path()).env("MCP_REMOTE_CONFIG_DIR", home.path()).kill_on_drop(true);
        let output = within("a program of npm", command.output()).await.unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        serde_json::from_str::<Value>(&text)
            .unwrap_or_else(|error| panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr)))
    };
    let [node_text, inspector, remote] = [&node, &inspector, &remote].map(|path| path.to_str().unwrap());
    let script = format!("{}/tests/clients/stdio_client.py", env!("CARGO_MANIFEST_DIR"));
    for (transport, at) in [("http", url.clone()), ("sse", url.replace("/mcp", "/sse"))] {
        let inspect = ["--cli", &at, "--transport", transport, "--header", &header, "--method"];
        let inspected = async |rest: &[&str]| told(&node, &[&[inspector], &inspect[..], rest].concat()).await;
        let list = inspected(&["tools/list"]).await;
        assert!(list["tools"].as_array().unwrap().iter().any(|tool| tool["name"] == "y__add"), "{list}");
        let call = inspected(&["tools/call", "--tool-name", "x__add", "--tool-arg", "a=2", "b=3"]).await;
        assert_eq!(call["content"][0]["text"], "5", "{call}");
        let only = format!("{transport}-only");
        let bridge = [node_text, remote, &*at, "--transport", &*only, "--header", &*header];
        let said = told(&python, &[&[&*script, "y__add", r#"{"a": 3, "b": 4}"#], &bridge[..]].concat()).await;
        assert!(said["tools"].as_array().unwrap().contains(&"x__add".into()), "{said}");
        assert_eq!(said["result"]["content"][0]["text"], "7", "{said}");
    }
    daemon.stop().await;
}

/// An address whose connections lead to another, until they are cut; who cuts them is told when they are.
async fn cuttable(target: &str, mut cuts: mpsc::Receiver<oneshot::Sender<()>>) -> String {
    let host = target.strip_prefix("http://").and_then(|rest| rest.split('/').next()).unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut relays = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let (mut client, _) = accepted.unwrap();
                    let mut gateway = TcpStream::connect(&host).await.unwrap();
                    // Either may leave as it likes.
                    relays.spawn(async move { drop(copy_bidirectional(&mut client, &mut gateway).await) });
                }
                Some(cut) = cuts.recv() => {
                    relays.shutdown().await;
                    cut.send(()).unwrap();
                }
            }
        }
    });
    url
}

#[tokio::test]
async fn a_call_whose_stream_breaks_is_answered_once_its_client_is_back() {
    if installed("MCP_PIPE_TEST_PYTHON").is_none() {
        return;
    }
    let (daemon, url) = gateway([("x", fixture_entry(&[]))]).await;
    // Those that come back by themselves.
    for kind in [Kind::TypeScript, Kind::Python, Kind::OldPython] {
        let (cut, cuts) = mpsc::channel(1);
        let Some(mut client) = kind.at(&cuttable(&url, cuts).await).await else { return };
        let go = daemon.path().join(format!("{kind:?}"));
        let long = client.send_call("sleep", json!({"ms": 1, "until": go})).await;
        client.call("echo", json!({"text": ""})).await;
        let (reply, is_cut) = oneshot::channel();
        cut.send(reply).await.unwrap();
        is_cut.await.unwrap();
        // The answer is there before the client is, or behind it: either way it comes.
        fs::write(go, "").unwrap();
        let outcome = within("the answer", client.outcome(long)).await;
        assert_eq!(outcome["result"]["content"][0]["text"], "slept 1 ms", "{kind:?}: {outcome}");
        client.end().await;
    }
    daemon.stop().await;
}
