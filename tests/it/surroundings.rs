//! What the environment and `.env` say to mcp-pipe itself, through the whole program.

use serde_json::json;

use crate::harness::{Setup, calculator_entry, config, fixture_entry};

fn calculator() -> Setup {
    Setup::new().config(&config([("calculator", calculator_entry())]))
}

#[tokio::test]
async fn the_level_of_the_log_may_stand_in_dotenv() {
    let output = calculator().file(".env", "MCP_LOG_LEVEL=debug\r\n").args(["tools"]).output().await;
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && log.contains("CONFIG_RESOLVED"), "{log}");
    let output = calculator().file(".env", "# a level\nMCP_LOG_LEVEL=loud\n").args(["tools"]).output().await;
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{log}");
    assert!(log.contains("/.env:2) \"loud\" is no level") && log.contains("MCP_LOG_LEVEL ("), "{log}");
}

#[tokio::test]
async fn health_asks_at_the_socket_that_dotenv_names() {
    let output = Setup::new().file(".env", "MCP_STATUS_SOCKET=/nonexistent/of-dotenv.sock\n").args(["health"]).output();
    let output = output.await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("of-dotenv.sock"), "{said}");
}

#[tokio::test]
async fn an_endpoint_is_dialled_through_the_proxy_that_dotenv_names() {
    let entry = fixture_entry(&[]);
    let daemon = Setup::new()
        .config(&json!({"endpoint": "ws://far-away.invalid/?token=x", "mcpServers": {"x": entry}}))
        .file(".env", "HTTP_PROXY=http://127.0.0.1:9\n")
        .start("info");
    daemon.wait_for("a dial through the proxy", |line| line.to_string().contains("http://127.0.0.1:9")).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_carriage_return_behind_the_name_of_the_config_is_no_part_of_it() {
    let setup = Setup::new().file("c.json", &config([("calculator", calculator_entry())]).to_string());
    let output = setup.env("MCP_CONFIG", "c.json\r").args(["call", "calculator", "add", r#"{"a":2,"b":3}"#]).output();
    let output = output.await;
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "5\n", "{log}");
    assert!(log.contains("MCP_CONFIG ends with a carriage return (U+000D)"), "{log}");
}

#[tokio::test]
async fn a_server_that_inherits_little_gets_little_and_it_is_shown_at_debug_without_values() {
    let call = async |inherit: serde_json::Value, variable: &str| {
        let mut entry = fixture_entry(&[]);
        entry["inheritEnv"] = inherit;
        let arguments = json!({"name": variable}).to_string();
        let setup = Setup::new().config(&config([("x", entry)])).file(".env", "OF_DOTENV=s3cr3t\nKEPT=kept\n");
        let setup = setup.env("OF_ENVIRONMENT", "s3cr3t");
        let output = setup.args(["--log-level", "debug", "call", "x", "env", &arguments]).output().await;
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{log}");
        (String::from_utf8(output.stdout).unwrap(), log)
    };
    for variable in ["OF_DOTENV", "OF_ENVIRONMENT"] {
        assert_eq!(call(json!(true), variable).await.0, "s3cr3t\n");
        let (value, log) = call(json!(["KEPT"]), variable).await;
        assert_eq!(value, "\n", "{log}");
        let shown = log.lines().find(|line| line.contains("x: not inherited, as inheritEnv says:")).unwrap_or_default();
        assert!(shown.contains("OF_DOTENV, OF_ENVIRONMENT") && shown.contains("DEBUG"), "{log}");
        assert!(!shown.contains("s3cr3t") && !shown.contains("KEPT"), "{shown}");
    }
    assert_eq!(call(json!(["KEPT"]), "KEPT").await.0, "kept\n");
    assert_ne!(call(json!(false), "PATH").await.0, "\n");
}
