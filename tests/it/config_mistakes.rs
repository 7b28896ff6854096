//! What is wrong with a config is said before anything starts, all of it at once.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

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
async fn a_wrong_endpoint_of_the_command_line_ends_with_the_command_lines_code() {
    for endpoint in ["--endpoint=", "--endpoint=foo"] {
        let output = Setup::new().config(&config([("x", fixture_entry(&[]))])).args([endpoint]).output().await;
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.starts_with("mcp-pipe: --endpoint ") && said.contains("wss://host/path"), "{said}");
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

#[tokio::test]
async fn an_endpoint_with_what_cannot_be_seen_is_refused_and_the_character_named() {
    for (endpoint, want) in [
        ("wss://api.example/mcp/?token=s3cr3t\u{200b}", "zero width space (U+200B)"),
        ("wss://api.example/mcp/？token=s3cr3t", "？ (U+FF1F, fullwidth question mark)"),
        ("wss://api.example/mcp/?token=YOUR_TOKEN_HERE", "YOUR_TOKEN_HERE"),
    ] {
        let setup = Setup::new().config(&config([("x", fixture_entry(&[]))]));
        let said = refused(setup.env("MCP_ENDPOINT", endpoint)).await;
        assert!(said.contains(want) && !said.contains("s3cr3t"), "{said}");
    }
}

#[tokio::test]
async fn what_keeps_the_config_from_being_read_is_named() {
    let lock = |path: &Path| fs::set_permissions(path, Permissions::from_mode(0o000)).unwrap();
    let config = config([("x", fixture_entry(&[]))]).to_string();
    let locked_folder = Setup::new().unprivileged().prepared(|dir| {
        fs::create_dir_all(dir.join("locked/sub")).unwrap();
        fs::write(dir.join("locked/sub/c.json"), &config).unwrap();
        symlink("locked/sub/c.json", dir.join("mcp_config.json")).unwrap();
        lock(&dir.join("locked"));
    });
    let said = refused(locked_folder.args(["--local"])).await;
    assert!(said.contains("mcp_config.json\n    is out of reach: the folder /"), "{said}");
    assert!(said.contains("/locked may not be entered") && said.contains("chmod a+x /"), "{said}");
    let locked_target = Setup::new().unprivileged().prepared(|dir| {
        fs::write(dir.join("target.json"), &config).unwrap();
        symlink("target.json", dir.join("mcp_config.json")).unwrap();
        lock(&dir.join("target.json"));
    });
    let said = refused(locked_target.args(["--local"])).await;
    assert!(
        said.contains("mcp_config.json\n    is a link to /") && said.contains("target.json, which may not be read"),
        "{said}"
    );
    let dangling = Setup::new().prepared(|dir| symlink("gone.json", dir.join("mcp_config.json")).unwrap());
    let said = refused(dangling.args(["--local"])).await;
    assert!(said.contains("gone.json, which does not exist"), "{said}");
    let dotenv = Setup::new().config(&serde_json::from_str(&config).unwrap()).prepared(|dir| {
        symlink("nowhere.env", dir.join(".env")).unwrap();
    });
    let said = refused(dotenv).await;
    assert!(
        said.contains(".env is a link to /") && said.contains("nowhere.env, which does not exist, and is ignored"),
        "{said}"
    );
    let locked = Setup::new().unprivileged().config(&serde_json::from_str(&config).unwrap()).prepared(|dir| {
        fs::write(dir.join(".env"), "MCP_ENDPOINT=wss://h.example/?token=s3cr3t").unwrap();
        lock(&dir.join(".env"));
    });
    let said = refused(locked).await;
    assert!(said.contains("is not set: ") && said.contains(".env can't be read (Permission denied)"), "{said}");
    assert!(said.contains("or chmod u+r ") && !said.contains("a+r"), "{said}");
}

#[tokio::test]
async fn in_a_json_log_mistakes_are_json_lines_without_a_secret() {
    let config = json!({"zzz": 1, "mcpServers": {
        "a": {"command": "true", "args": "one text"},
        "b": {"command": "true", "endpoint": "https://u:s3cr3t@h.example/?token=s3cr3t"},
    }});
    let said = refused(Setup::new().config(&config).args(["--log-format", "json"])).await;
    let lines: Vec<serde_json::Value> = said.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let of = |event: &str| lines.iter().filter(|line| line["event"] == event).collect::<Vec<_>>();
    let mistakes = of("ERROR_CONFIG");
    assert!(mistakes.len() >= 2 && mistakes.iter().all(|line| line["level"] == "ERROR"), "{said}");
    let args = mistakes.iter().find(|line| line["message"].to_string().contains("mcpServers.a.args")).expect(&said);
    assert!(args["message"].to_string().contains("is a text, not a list of texts; write"), "{args}");
    assert!(args["fields"]["place"].as_str().unwrap().starts_with("mcp_config.json:1:"), "{args}");
    assert_eq!(args["fields"]["code"], "wrong-type", "{args}");
    assert_eq!(of("CONFIG_WARNING").len(), 1, "{said}");
    assert!(!said.contains("s3cr3t"), "{said}");
    let missing = refused(Setup::new().args(["--log-format", "json", "--local", "--config", "none.json"])).await;
    assert!(missing.lines().all(|line| line.starts_with('{')), "{missing}");
}
