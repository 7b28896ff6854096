//! What is wrong with a config is said before anything starts, all of it at once.

use serde_json::json;

use crate::harness::{Setup, config, fixture_entry};

async fn refused(setup: Setup) -> String {
    let output = setup.output().await;
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{stderr}");
    assert!(output.stdout.is_empty() && !stderr.contains("SERVER_STARTED"), "{stderr}");
    stderr
}

#[tokio::test]
async fn all_mistakes_are_listed_at_once_with_their_place() {
    let config = json!({"mcpServers": {
        "no-command": {"args": []},
        "bad-endpoint": {"command": "true", "endpoint": "https://h.example/"},
        "bad-args": {"command": "true", "args": "one text", "endpoint": "ws://127.0.0.1:1/"},
        "unset": {"command": "true", "env": {"A": "${SURELY_NOT_SET_1} ${SURELY_NOT_SET_2}"}, "endpoint": "ws://127.0.0.1:1/"},
    }});
    let said = refused(Setup::new().config(&config)).await;
    for part in
        ["mcp_config.json", "no-command", "bad-endpoint", "wss://", "bad-args", "SURELY_NOT_SET_1", "SURELY_NOT_SET_2"]
    {
        assert!(said.contains(part), "{part} is missing in:\n{said}");
    }
}

#[tokio::test]
async fn a_missing_endpoint_is_answered_with_the_ways_to_set_it() {
    let said = refused(Setup::new().config(&config([("x", fixture_entry(&[]))]))).await;
    for way in ["MCP_ENDPOINT", ".env", "--endpoint", "--local"] {
        assert!(said.contains(way), "{way} is missing in:\n{said}");
    }
}

#[tokio::test]
async fn a_missing_or_broken_file_is_named() {
    let said = refused(Setup::new().args(["--local", "--config", "nowhere.json"])).await;
    assert!(said.contains("nowhere.json"), "{said}");
    let broken = "{\n  \"mcpServers\": {\n    \"x\" {}\n  }\n}";
    let said = refused(Setup::new().file("mcp_config.json", broken).args(["--local"])).await;
    assert!(said.contains("mcp_config.json") && said.contains('3'), "the line of the mistake: {said}");
}
