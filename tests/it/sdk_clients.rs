//! What mcp-pipe serves, as the official SDKs' clients see it, unmodified.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokio::process::Command;

use crate::harness::{Client, Conn, Daemon, FakeEndpoint, Setup, config, everything, installed};

/// A client of `tests/clients/` on this connection.
pub(super) async fn typescript(conn: Conn) -> Client {
    let modules = installed("MCP_PIPE_TEST_NODE_MODULES").unwrap();
    let mut command = Command::new("node");
    command.arg(program("sdk_client.mjs")).arg(modules);
    Client::start(command, conn).await
}

/// A client of `tests/clients/` on this connection.
pub(super) async fn python(conn: Conn) -> Client {
    let mut command = Command::new(installed("MCP_PIPE_TEST_PYTHON").unwrap());
    // It calls what a later version of MCP has deprecated.
    command.arg("-Wignore").arg(program("sdk_client.py")).arg("auto");
    Client::start(command, conn).await
}

fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

/// A server that has everything, whether it is alone or one of several.
pub(super) async fn use_everything(client: &mut Client) {
    client.ask("ping", json!({})).await;
    let result = client.ask("tools/list", json!({})).await;
    assert!(names(&result["tools"]).contains(&"get-sum"), "{result}");
    assert_eq!(client.call("get-sum", json!({"a": 2, "b": 3})).await, "The sum of 2 and 3 is 5.");

    let result = client.ask("prompts/list", json!({})).await;
    assert!(names(&result["prompts"]).contains(&"completable-prompt"), "{result}");
    let arguments = json!({"department": "Sales", "name": "Eve"});
    let result = client.ask("prompts/get", json!({"name": "completable-prompt", "arguments": arguments})).await;
    assert!(result["messages"][0]["content"]["text"].as_str().unwrap().contains("promote Eve"), "{result}");
    let reference = json!({"type": "ref/prompt", "name": "completable-prompt"});
    let argument = json!({"name": "department", "value": "Eng"});
    let result = client.ask("completion/complete", json!({"ref": reference, "argument": argument})).await;
    assert_eq!(result["completion"]["values"], json!(["Engineering"]));

    let result = client.ask("resources/templates/list", json!({})).await;
    assert_eq!(result["resourceTemplates"].as_array().unwrap().len(), 2, "{result}");
    let result = client.ask("resources/list", json!({})).await;
    let uri = result["resources"][0]["uri"].clone();
    assert!(client.ask("resources/read", json!({"uri": uri})).await["contents"][0]["text"].is_string());
    // From a template: in no list.
    let dynamic = "demo://resource/dynamic/text/7";
    assert!(client.ask("resources/read", json!({"uri": dynamic})).await["contents"][0]["text"].is_string());

    client.ask("logging/setLevel", json!({"level": "debug"})).await;
    client.ask("resources/subscribe", json!({"uri": uri})).await;
    assert!(client.notification("notifications/message").await["data"].is_string());
    client.call("toggle-subscriber-updates", json!({})).await;
    assert_eq!(client.notification("notifications/resources/updated").await["uri"], uri);

    assert!(client.call("get-roots-list", json!({})).await.contains("file:///client"));
    client.was_asked("roots/list").await;
    let sampled = client.call("trigger-sampling-request", json!({"prompt": "?", "maxTokens": 5})).await;
    assert!(sampled.contains("sampled by the client"), "{sampled}");
    assert!(client.call("trigger-elicitation-request", json!({})).await.contains("provided the requested information"));

    let long = client.send_call("trigger-long-running-operation", json!({"duration": 1, "steps": 4})).await;
    // The client drops the last one where it has the result by then.
    for step in [1.0, 2.0, 3.0] {
        assert_eq!(client.progress(long).await["progress"].as_f64(), Some(step));
    }
    assert!(client.outcome(long).await["result"].is_object());
    let long = client.send_call("trigger-long-running-operation", json!({"duration": 60, "steps": 120})).await;
    client.progress(long).await;
    client.cancel(long).await;
    assert!(client.outcome(long).await["error"].is_object());
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

/// server-everything, on a connection that is given to a client.
async fn serve_everything() -> Option<(Daemon, Conn)> {
    installed("MCP_PIPE_TEST_PYTHON")?;
    let mut entry = everything()?;
    let endpoint = FakeEndpoint::bind().await;
    entry["endpoint"] = endpoint.url().into();
    let daemon = Setup::new().config(&config([("everything", entry)])).start("info");
    Some((daemon, endpoint.accept().await))
}

#[tokio::test]
async fn the_typescript_client_uses_all_of_a_server_that_has_everything() {
    let Some((daemon, conn)) = serve_everything().await else { return };
    let mut client = typescript(conn).await;
    use_everything(&mut client).await;
    daemon.stop_closing([&mut client.close().await]).await;
}

#[tokio::test]
async fn the_python_client_uses_all_of_a_server_that_has_everything() {
    let Some((daemon, conn)) = serve_everything().await else { return };
    let mut client = python(conn).await;
    use_everything(&mut client).await;
    daemon.stop_closing([&mut client.close().await]).await;
}
