//! How a run ended, as it is noted in the state folder and told by the next run.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Daemon, Setup, field, fixture_entry};

/// Where daemons have one config and one state folder, one after the other.
struct Home {
    dir: TempDir,
    config: Value,
}

impl Home {
    fn new() -> Self {
        let config = json!({"gateway": {"listen": "127.0.0.1:0"}, "mcpServers": {"one": fixture_entry(&[])}});
        Home { dir: TempDir::new().unwrap(), config }
    }

    fn setup(&self) -> Setup {
        let path = self.dir.path().join("c.json");
        fs::write(&path, self.config.to_string()).unwrap();
        let state = self.dir.path().join("state");
        let setup = Setup::new().env("XDG_STATE_HOME", state.to_str().unwrap());
        setup.args(["--config", path.to_str().unwrap()])
    }

    /// A daemon, once its server is up.
    async fn start(&self) -> Daemon {
        let daemon = self.setup().start("info");
        daemon.wait_for_event("ALL_UP").await;
        daemon
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("state/mcp-pipe/mcp-pipe-state")
    }

    /// The files in the state folder that tell of runs.
    fn files(&self) -> Vec<PathBuf> {
        let Ok(all) = fs::read_dir(self.folder()) else { return Vec::new() };
        let all = all.map(|entry| entry.unwrap().path());
        all.filter(|path| path.to_str().unwrap().contains("/run-") && path.extension().unwrap() == "json").collect()
    }

    fn file(&self) -> PathBuf {
        let [file] = &self.files()[..] else { panic!("{:?}", self.files()) };
        file.clone()
    }

    fn noted(&self) -> Value {
        serde_json::from_slice(&fs::read(self.file()).unwrap()).unwrap()
    }
}

/// What a run has said of the one before: the level, and the words.
fn said(daemon: &Daemon) -> Vec<(String, String)> {
    let lines = daemon.log_lines();
    let of = |line: &Value, name| field(line, name).unwrap().to_owned();
    let said = lines.iter().filter(|line| field(line, "event") == Some("LAST_RUN"));
    said.map(|line| (of(line, "level"), of(line, "message"))).collect()
}

#[tokio::test]
async fn a_stop_is_noted_and_the_next_run_has_nothing_to_say_of_it() {
    let home = Home::new();
    let daemon = home.start().await;
    let (pid, noted) = (daemon.pid().as_raw_nonzero().get(), home.noted());
    assert!(noted["run"]["pid"] == pid && noted["run"]["end"].is_null() && noted["before"].is_null(), "{noted}");
    assert!(noted["run"]["config"].as_str().unwrap().ends_with("/c.json"), "{noted}");
    assert_eq!(fs::metadata(home.file()).unwrap().permissions().mode() & 0o777, 0o600);
    // Another one at the same time leaves it alone.
    let other = home.start().await;
    other.stop().await;
    assert_eq!(home.noted(), noted);
    daemon.stop().await;
    let ended = home.noted();
    assert!(ended["run"]["pid"] == pid && ended["run"]["end"]["how"] == json!({"stopped": "SIGTERM"}), "{ended}");
    let next = home.start().await;
    assert!(said(&next).is_empty(), "{:?}", said(&next));
    assert_eq!(home.noted()["before"], ended["run"]);
    next.stop().await;
}

#[tokio::test]
async fn a_run_that_was_killed_is_told_by_the_next_one() {
    let home = Home::new();
    for restarted in [false, true] {
        let mut daemon = home.start().await;
        let pid = daemon.pid().as_raw_nonzero();
        daemon.signal(Signal::KILL);
        daemon.exit().await;
        let mut noted = home.noted();
        assert!(noted["run"]["end"].is_null(), "{noted}");
        if restarted {
            noted["run"]["boot"] = json!("of another day");
            fs::write(home.file(), noted.to_string()).unwrap();
        }
        let next = home.start().await;
        let (level, words) =
            if restarted { ("INFO", "the machine has been restarted since") } else { ("WARN", "kill -9") };
        let told = said(&next);
        assert!(
            matches!(&told[..], [(at, text)] if at == level && text.contains(words) && text.contains(&format!("process {pid})"))),
            "{told:?}"
        );
        next.stop().await;
    }
}

#[tokio::test]
async fn a_start_that_fails_is_noted_with_its_reason() {
    let mut home = Home::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    home.config["gateway"]["listen"] = json!(address);
    let output = home.setup().output().await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let noted = home.noted();
    let why = noted["run"]["end"]["how"]["failed"].as_str().unwrap();
    assert!(why.contains(&address) && !why.contains('\n'), "{noted}");
}

#[tokio::test]
async fn the_last_warnings_are_noted_and_no_secret() {
    let mut home = Home::new();
    let secret = "t0ken-of-somebody-else";
    // Nobody listens there.
    home.config["mcpServers"]["one"]["endpoint"] = json!(format!("ws://127.0.0.1:1/mcp/?token={secret}"));
    let daemon = home.setup().start("info");
    let line = daemon.wait_for("a warning about the endpoint", |line| field(line, "level") == Some("WARN")).await;
    daemon.stop().await;
    let noted = home.noted();
    let lines = noted["run"]["end"]["lines"].as_array().unwrap();
    assert!(lines.iter().any(|kept| kept.as_str().unwrap().contains(field(&line, "event").unwrap())), "{noted}");
    for entry in fs::read_dir(home.folder()).unwrap().map(Result::unwrap) {
        // The config itself is kept as it is written.
        if entry.file_name().to_str().unwrap().starts_with("config-") {
            continue;
        }
        let text = fs::read(entry.path()).unwrap();
        assert!(!String::from_utf8_lossy(&text).contains(secret));
    }
}

#[tokio::test]
async fn where_nothing_can_be_noted_the_log_says_so_and_all_else_is_as_ever() {
    let mut home = Home::new();
    home.start().await.stop().await;
    // A link out of the folder is not followed, neither to read nor to write.
    let (file, outside) = (home.file(), home.dir.path().join("outside"));
    fs::rename(&file, &outside).unwrap();
    let text = fs::read(&outside).unwrap();
    symlink(&outside, &file).unwrap();
    let daemon = home.start().await;
    let told = said(&daemon);
    assert!(
        matches!(&told[..], [(level, text)] if level == "INFO" && text.contains(file.to_str().unwrap())),
        "{told:?}"
    );
    daemon.stop().await;
    assert_eq!(fs::read(&outside).unwrap(), text);
    // A file stands where the folder would be.
    home.config["stateDir"] = json!(outside);
    let daemon = home.start().await;
    let told = said(&daemon);
    assert!(matches!(&told[..], [(level, text)] if level == "INFO" && text.contains("outside")), "{told:?}");
    daemon.stop().await;
    home.config["stateDir"] = json!("none");
    let daemon = home.start().await;
    assert!(said(&daemon).is_empty());
    daemon.stop().await;
    assert_eq!(fs::read(&outside).unwrap(), text);
}

#[tokio::test]
async fn what_is_no_daemon_notes_nothing() {
    let home = Home::new();
    let output = home.setup().args(["tools"]).output().await;
    assert!(output.status.success(), "{output:?}");
    assert!(home.files().is_empty());
}
