//! A config is looked at without starting anything, and the result is the same whatever runs beside it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};

use crate::harness::{Setup, config, fixture_entry, within};

fn text(output: &Output) -> String {
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Every file below a folder.
fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { BTreeSet::from([path]) }).collect()
}

#[tokio::test]
async fn findings_are_told_as_json_with_place_and_code_and_the_exit_code_says_whether_it_would_start() {
    let broken = "{\n  \"mcpServers\": {\n    \"calculator\": {\"command\": 5, \"zzz\": 1}\n  }\n}";
    let run = |arguments: &[&str], text: &str| {
        let arguments: Vec<&str> = std::iter::once("validate").chain(arguments.iter().copied()).collect();
        Setup::new().file("mcp_config.json", text).file("other.json", text).args(arguments).output()
    };
    let output = run(&["--json", "--local"], broken).await;
    assert_eq!(output.status.code(), Some(78));
    let report: Value = serde_json::from_str(&text(&output)).unwrap();
    assert_eq!(
        report,
        json!({"schema": 1, "findings": [
            {"severity": "error", "code": "wrong-type", "file": "mcp_config.json", "line": 3, "column": 31,
             "path": "mcpServers.calculator.command", "message": "is a number, not a text", "remedy": "write it in quotes: \"5\""},
            {"severity": "warning", "code": "unknown-key", "file": "mcp_config.json", "line": 3, "column": 34,
             "path": "mcpServers.calculator.zzz", "message": "is not a known key and is ignored",
             "remedy": "remove it, or check its spelling"},
        ]})
    );
    let whole = run(&["other.json", "--json"], "").await;
    assert_eq!(whole.status.code(), Some(78));
    let report: Value = serde_json::from_str(&text(&whole)).unwrap();
    let finding = &report["findings"][0];
    assert_eq!(
        (&finding["file"], &finding["line"], &finding["path"]),
        (&json!("other.json"), &Value::Null, &json!(""))
    );
    let odd = r#"{"mcpServers": {"a": {"command": "surely-no-such-program"}}}"#;
    for (arguments, code) in [(&["--local"][..], 0), (&["--local", "--strict"], 78), (&[], 78)] {
        let output = run(arguments, odd).await;
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text(&output));
    }
    // As a run has it: where only the command line is wrong.
    for command in [&["validate"][..], &["config", "show"], &[]] {
        for (text, code) in [(odd, 2), (broken, 78)] {
            let arguments = command.iter().copied().chain(["--endpoint", "http://h/"]);
            let output = Setup::new().file("mcp_config.json", text).args(arguments).output().await;
            assert_eq!(output.status.code(), Some(code), "{command:?}: {output:?}");
        }
    }
    for (name, value, code, want) in [
        (
            "MCP_LOG_LEVEL",
            "inof",
            2,
            "MCP_LOG_LEVEL\n    error (argument): \"inof\" is no level\n    → did you mean info?",
        ),
        ("RUST_LOG", "inof", 0, "RUST_LOG\n    warning (argument): \"inof\" is no level"),
    ] {
        let output =
            Setup::new().file("mcp_config.json", odd).env(name, value).args(["validate", "--local"]).output().await;
        assert_eq!(output.status.code(), Some(code), "{}", text(&output));
        assert!(text(&output).starts_with(want), "{}", text(&output));
    }
    let words = text(&run(&["--local"], odd).await);
    assert!(
        words.contains("mcp_config.json:1:34 mcpServers.a.command\n    warning (program-missing): names surely-no-"),
        "{words}"
    );
    assert!(words.ends_with("mcp_config.json: 1 warning; 1 server to start, as far as it can\n"), "{words}");
    // Whichever kind of finding says that a server can't start.
    for entry in [
        r#"{"command": "C:\\Python\\python.exe"}"#,
        r#"{"command": "sh", "cwd": "D:\\work"}"#,
        r#"{"command": "sh", "cwd": "gone"}"#,
        r#"{"command": "./gone"}"#,
        r#"{"command": "sh", "args": ["gone.sh"]}"#,
    ] {
        let words = text(&run(&["--local"], &format!(r#"{{"mcpServers": {{"a": {entry}}}}}"#)).await);
        assert!(
            words.contains("so a can't start\n") && words.ends_with("1 server to start, as far as it can\n"),
            "{words}"
        );
    }
    let prompt = r#"{"mcpServers": {"a": {"command": "cmd", "args": ["/c", "sh", "-c", "x"]}}}"#;
    let words = text(&run(&["--local"], prompt).await);
    assert!(words.contains("(other-system)") && words.ends_with("1 warning; 1 server to start\n"), "{words}");
}

#[tokio::test]
async fn looking_writes_no_file_and_a_running_mcp_pipe_makes_no_difference() {
    let endpoint = "ws://127.0.0.1:9/?token=s3cr3t-s3cr3t-s3cr3t";
    let entries =
        config([("x", fixture_entry(&[])), ("y", json!({"command": "nowhere", "env": {"T": "s3cr3t-s3cr3t-s3cr3t"}}))]);
    let daemon = Setup::new().config(&entries).env("MCP_ENDPOINT", endpoint).start("info");
    daemon.wait_for("the start", |line| line["event"] == "ERROR_CONNECT").await;
    let dir = daemon.path().to_owned();
    within("the config to be kept", async {
        // It has another ending until it is whole.
        let is_it = |file: &PathBuf| {
            file.file_name().unwrap().to_str().unwrap().starts_with("config-") && file.extension().is_none()
        };
        while !files(&dir).iter().any(is_it) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let before = files(&dir);
    let look = |arguments: &[&str]| {
        let setup = Setup::new().args(arguments.iter().copied()).env("MCP_ENDPOINT", endpoint);
        setup.args(["--config", dir.join("mcp_config.json").to_str().unwrap()]).output()
    };
    let mut beside = Vec::new();
    for arguments in [&["validate"][..], &["validate", "--json"], &["config", "show"], &["config", "show", "--json"]] {
        let told = text(&look(arguments).await);
        assert!(!told.contains("s3cr3t"), "{told}");
        beside.push(told);
    }
    assert_eq!(files(&dir), before, "nothing is written");
    assert!(
        beside[0].contains("warning (program-missing)") && beside[2].contains("mcpServers.y.command"),
        "{beside:?}"
    );
    let alone = Setup::new().config(&entries).env("MCP_ENDPOINT", endpoint).args(["validate", "--json"]).output().await;
    let same = |text: &str| text.replace(dir.join("mcp_config.json").to_str().unwrap(), "mcp_config.json");
    assert_eq!(text(&alone), same(&beside[1]));
    let schema = text(&look(&["config", "schema"]).await);
    assert!(serde_json::from_str::<Value>(&schema).unwrap()["properties"]["mcpServers"].is_object());
}

#[tokio::test]
async fn a_config_that_cannot_run_is_not_shown_but_its_mistakes_are() {
    let output = Setup::new().file("mcp_config.json", "{").args(["config", "show"]).output().await;
    assert_eq!(output.status.code(), Some(78));
    assert!(output.stdout.is_empty() && String::from_utf8_lossy(&output.stderr).contains("is never closed"));
}

#[tokio::test]
async fn a_name_stays_readable_where_a_short_token_is_the_same_word_and_a_token_is_shown_nowhere() {
    let show = async |token: &str| {
        let url = format!("ws://127.0.0.1:9/?token={token}");
        let mut config = config([("x", fixture_entry(&[token]))]);
        config["endpoints"] = json!({token: {"url": url, "servers": ["x"]}});
        let run = |args: &[&'static str]| Setup::new().config(&config).args(args.iter().copied()).output();
        let (words, json) = (run(&["config", "show"]).await, run(&["config", "show", "--json"]).await);
        (text(&words), serde_json::from_str::<Value>(&text(&json)).unwrap())
    };
    for token in ["office", "endpoint", "command"] {
        let (words, json) = show(token).await;
        let of = |key: &str| format!("endpoints.{token}.{key}");
        assert!(words.contains(&of("url")) && words.contains(&of("servers")), "{words}");
        assert!(words.contains("  command  ") && words.contains("  endpoint  "), "{words}");
        assert!(words.contains("?token=…") && words.contains("[\"…\"]"), "{words}");
        let rows = json["values"].as_array().unwrap();
        assert!(rows.iter().any(|row| row["key"] == of("url") && row["path"] == of("url")), "{json:#}");
        assert!(rows.iter().all(|row| !row["value"].to_string().contains(token)), "{json:#}");
    }
    let (words, json) = show("s3cret-s3cret-s3cret").await;
    assert!(words.contains("endpoints.….url") && !words.contains("s3cret"), "{words}");
    assert!(words.ends_with("where … stands in a name, the name holds a token: give it another one\n"), "{words}");
    assert!(!json.to_string().contains("s3cret"), "{json:#}");
}
