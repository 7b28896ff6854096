//! What servers did in the last 24 hours: told, and kept over a restart of mcp-pipe.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::control::Home;
use crate::harness::{Daemon, field, fixture_entry, within};

/// A daemon with these servers, once they are up.
async fn start(home: &Home, servers: Value) -> Daemon {
    let config = json!({"gateway": {"listen": "127.0.0.1:0"}, "mcpServers": servers});
    home.start("c.json", &config, "info").await
}

/// The file with the histories.
fn file(home: &Home) -> PathBuf {
    home.state(|path| path.to_str().unwrap().contains("/history-") && path.extension().unwrap() == "json")
}

impl Home {
    /// What is told of a server, as JSON that is as its schema says.
    async fn told(&self, name: &str) -> Value {
        let said = self.runtime.ask(&["status", name, "--history", "--json"]).await;
        assert_eq!(said.code, 0, "{said:?}");
        let json: Value = serde_json::from_str(&said.out).unwrap();
        let schema = serde_json::from_str(include_str!("../../docs/status.schema.json")).unwrap();
        let schema = jsonschema::validator_for(&schema).unwrap();
        let errors: Vec<_> = schema.iter_errors(&json).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?} in {json:#}");
        json["history"][0].clone()
    }

    async fn states(&self, name: &str) -> Vec<String> {
        let told = self.told(name).await;
        let spans = told["spans"].as_array().unwrap().iter();
        spans.map(|span| span["state"].as_str().unwrap().to_owned()).collect()
    }
}

#[tokio::test]
async fn what_a_server_did_is_told_also_after_a_restart_of_mcp_pipe() {
    let home = Home::new();
    let daemon = start(&home, json!({"x": fixture_entry(&[]), "y": fixture_entry(&[])})).await;
    for command in ["pause", "resume", "stop", "start", "restart"] {
        let said = home.runtime.ask(&[command, "x"]).await;
        assert_eq!(said.code, 0, "{said:?}");
    }
    let did = ["starting", "serving", "paused", "serving", "stopped", "starting", "serving", "starting", "serving"];
    assert_eq!(home.states("x").await, did);
    assert_eq!(home.states("y").await, ["starting", "serving"]);
    let all = home.runtime.ask(&["status", "--history"]).await;
    assert!(all.out.contains("x: served ") && all.out.contains("\ny: served "), "{all:?}");
    let none = home.runtime.ask(&["status", "z", "--history"]).await;
    assert!(none.code == 2 && none.err.contains("no server here is called \"z\""), "{none:?}");
    daemon.stop().await;
    // Without y, which is told of for a day.
    let daemon = start(&home, json!({"x": fixture_entry(&[])})).await;
    assert_eq!(home.states("x").await, [&did[..], &["away", "starting", "serving"]].concat());
    assert_eq!(home.states("y").await, ["starting", "serving", "away"]);
    let x = home.told("x").await;
    let away = &x["spans"][did.len()];
    assert!(away["why"].is_null() && x["served"].as_f64() < Some(1.0) && x["served"].as_f64() > Some(0.0), "{x:#}");
    daemon.stop().await;
}

#[tokio::test]
async fn a_crash_loop_is_one_line_and_a_killed_mcp_pipe_is_told_as_that() {
    let home = Home::new();
    let servers = json!({"x": {"command": "sh", "args": ["-c", "exit 3"]}, "y": fixture_entry(&[])});
    let path = home.dir.path().join("c.json");
    fs::write(&path, json!({"gateway": {"listen": "127.0.0.1:0"}, "mcpServers": servers}).to_string()).unwrap();
    let start = || {
        let setup = home.runtime.setup().env("XDG_STATE_HOME", home.dir.path().to_str().unwrap());
        setup.args(["--config", path.to_str().unwrap()]).start("info")
    };
    let mut daemon = start();
    home.runtime.until_one_listens(&daemon).await;
    let four = async {
        loop {
            let told = home.told("x").await;
            let spans = told["spans"].as_array().unwrap();
            if spans.iter().any(|span| span["state"] == "down" && span["times"].as_u64() >= Some(4)) {
                assert!(spans.len() <= 3, "{told:#}");
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within("a crash loop", four).await;
    let words = home.runtime.ask(&["status", "x", "--history"]).await.out;
    assert!(words.contains("down: exited with code 3, ") && words.contains(" times\n"), "{words}");
    within("the first write", async {
        while !home.dir.path().join("mcp-pipe/mcp-pipe-state").exists() || !has_file(&home) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    daemon.signal(Signal::KILL);
    daemon.exit().await;
    let daemon = start();
    home.runtime.until_one_listens(&daemon).await;
    daemon.wait_for("a death of x", |line| field(line, "event") == Some("SERVER_EXITED")).await;
    let told = home.told("y").await;
    let spans = told["spans"].as_array().unwrap();
    let away = spans.iter().find(|span| span["state"] == "away").unwrap();
    assert!(away["why"].as_str().unwrap().contains("killed"), "{told:#}");
    daemon.stop().await;
}

fn has_file(home: &Home) -> bool {
    let all = fs::read_dir(home.dir.path().join("mcp-pipe/mcp-pipe-state")).unwrap();
    all.flatten().any(|entry| {
        let name = entry.file_name().into_string().unwrap();
        name.starts_with("history-") && name.ends_with(".json")
    })
}

#[tokio::test]
async fn a_damaged_file_costs_a_line_of_the_log_and_is_made_anew() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new();
    let servers = || json!({"x": fixture_entry(&[])});
    start(&home, servers()).await.stop().await;
    assert_eq!(fs::metadata(file(&home)).unwrap().permissions().mode() & 0o777, 0o600);
    fs::write(file(&home), "{\"saved\": 7, ").unwrap();
    let daemon = start(&home, servers()).await;
    let lines = daemon.log_lines();
    let told: Vec<_> = lines.iter().filter(|line| field(line, "event") == Some("HISTORY")).collect();
    assert!(matches!(told[..], [line] if line.to_string().contains("is begun anew")), "{told:?}");
    assert_eq!(home.states("x").await, ["starting", "serving"]);
    daemon.stop().await;
    let daemon = start(&home, servers()).await;
    assert_eq!(home.states("x").await, ["starting", "serving", "away", "starting", "serving"]);
    daemon.stop().await;
}
