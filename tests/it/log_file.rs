//! `logFile`: what is written where, that nothing of it is lost while the disk is well, and that nobody notices when it is not.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, prlimit};
use serde_json::{Value, json};

use crate::bounded::eater;
use crate::harness::{Conn, Daemon, FakeEndpoint, Setup, config, fixture_entry, in_mode, multiplex, text_of, within};

/// A file and its older ones, oldest first, as far as they are there.
fn parts(path: &Path) -> Vec<PathBuf> {
    let older = (1..=100).rev().map(|number| PathBuf::from(format!("{}.{number}", path.display())));
    older.chain([path.to_owned()]).filter(|path| path.exists()).collect()
}

fn text(path: &Path) -> String {
    parts(path).iter().map(|part| fs::read_to_string(part).unwrap()).collect()
}

/// Waits until the file holds this.
async fn holds(path: &Path, what: &str) -> String {
    let found = async {
        loop {
            let text = text(path);
            if text.contains(what) {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within(&format!("{what} in {}", path.display()), found).await
}

/// A server with this log file that prints what it is told to, and its connection, which the other one may share.
async fn printer(is_shared: bool, setup: Setup, log_file: Value) -> Printer {
    let (endpoint, other) = (FakeEndpoint::bind().await, FakeEndpoint::bind().await);
    let mut server = eater(json!({}));
    server["logFile"] = log_file;
    let config = in_mode(is_shared, [&endpoint, &other], [("eater", server), ("sibling", fixture_entry(&[]))]);
    let daemon = setup.config(&config).start("info");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    let mut sibling = None;
    if !is_shared {
        let mut conn = other.accept().await;
        conn.handshake().await;
        sibling = Some(conn);
    }
    Printer { _endpoints: [endpoint, other], daemon, conn, sibling, config }
}

/// What there is of it. `sibling`: the connection of the other server, where that has one of its own.
struct Printer {
    _endpoints: [FakeEndpoint; 2],
    daemon: Daemon,
    conn: Conn,
    sibling: Option<Conn>,
    config: Value,
}

impl Printer {
    async fn stop(self) {
        let Printer { daemon, mut conn, mut sibling, .. } = self;
        daemon.stop_closing([&mut conn].into_iter().chain(sibling.as_mut())).await;
    }
}

#[tokio::test]
async fn no_line_is_lost_or_doubled_while_the_file_begins_anew_under_load() {
    for is_shared in [false, true] {
        begins_anew_under_load(is_shared).await;
    }
}

async fn begins_anew_under_load(is_shared: bool) {
    let log_file = json!({"path": "logs/eater.log", "maxSize": "32KiB", "keep": 100});
    let mut printer = printer(is_shared, Setup::new(), log_file).await;
    let (daemon, conn) = (&printer.daemon, &mut printer.conn);
    let (each, times) = (500, 40);
    // What a line ends with may be the beginning of a secret, and is hidden then: four digits may be one in hexadecimal.
    for n in 0..times {
        let to = if n % 2 == 0 { "stderr" } else { "stdout" };
        conn.call(n + 10, "print", json!({"to": to, "from": n * each, "n": each, "then": "."})).await;
    }
    let path = daemon.path().join("logs/eater.log");
    holds(&path, &format!("line {:06}.", times * each - 1)).await;
    holds(&path, &format!("line {:06}.", (times - 1) * each - 1)).await;
    let all = text(&path);
    let mut numbers: Vec<u64> = all
        .lines()
        .map(|line| {
            let (time, rest) = line.split_once(' ').unwrap();
            assert!(time.len() == 24 && time.ends_with('Z') && time.starts_with("20"), "{line}");
            rest.strip_prefix("line ")
                .and_then(|rest| rest.strip_suffix('.')?.parse().ok())
                .unwrap_or_else(|| panic!("{line}"))
        })
        .collect();
    // Two pipes have no common order, but each has its own.
    for parity in [0, 1] {
        let of_one: Vec<u64> = numbers.iter().copied().filter(|number| number / each % 2 == parity).collect();
        assert!(of_one.is_sorted());
    }
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(0..times * each), "{} lines", numbers.len());
    let parts = parts(&path);
    assert!(parts.len() > 10, "{parts:?}");
    for part in &parts {
        let found = fs::metadata(part).unwrap();
        assert!(found.len() <= 32 << 10 && found.permissions().mode() & 0o777 == 0o600, "{part:?}");
    }
    assert_eq!(fs::metadata(daemon.path().join("logs")).unwrap().permissions().mode() & 0o777, 0o700);
    // The log itself leaves lines out, as ever. It tells of them with the next line that it has room for.
    let told = async {
        for n in 0.. {
            if daemon.log_text().contains("of stderr left out: too many at once") {
                break;
            }
            let one = json!({"to": "stderr", "from": times * each + n, "n": 1, "then": "."});
            conn.call(n + 1000, "print", one).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within("the lines that were left out are told of", told).await;
    printer.stop().await;
}

#[tokio::test]
async fn the_log_itself_is_written_in_both_forms_to_its_last_line_and_without_secrets() {
    for format in ["text", "json"] {
        let endpoint = FakeEndpoint::bind().await;
        let mut config = multiplex(&endpoint, [("x", fixture_entry(&["--saying", "the token is s3cret-0123456789"]))]);
        config["mcpServers"]["x"]["env"] = json!({"KEY": "${TOKEN}"});
        config["endpointHeaders"] = json!({"Authorization": "Bearer s3cret-0123456789"});
        config["mcpServers"]["x"]["logFile"] = "x.log".into();
        config["logFile"] = "${FOLDER}/own.log".into();
        let setup = Setup::new().config(&config).env("FOLDER", "made").env("TOKEN", "s3cret-0123456789");
        let mut daemon = setup.args(["--log-format", format]).start_logging("info");
        let line = daemon.wait_for("a line of the server", |line| line.to_string().contains("the token is")).await;
        let own = holds(&daemon.path().join("made/own.log"), "the token is").await;
        let of_server = holds(&daemon.path().join("x.log"), "the token is").await;
        for text in [&own, &of_server, &line.to_string()] {
            assert!(!text.contains("s3cret-0123"), "{text}");
        }
        daemon.signal(rustix::process::Signal::TERM);
        assert!(daemon.exit().await.success());
        let own = text(&daemon.path().join("made/own.log"));
        for line in own.lines() {
            let time = match format {
                "json" => serde_json::from_str::<Value>(line).unwrap()["timestamp"].as_str().unwrap().to_owned(),
                _ => line.split(' ').next().unwrap().to_owned(),
            };
            assert!(time.len() == 24 && time.ends_with('Z'), "{line}");
        }
        let last = daemon.log_text();
        let last = last.lines().last().unwrap();
        assert_eq!(
            own.lines().last().unwrap().split_once(' ').map(|(_, rest)| rest),
            last.split_once(' ').map(|(_, rest)| rest)
        );
    }
}

#[tokio::test]
async fn a_disk_without_room_loses_lines_that_it_counts_and_nothing_else() {
    for is_shared in [false, true] {
        is_without_room(is_shared).await;
    }
}

async fn is_without_room(is_shared: bool) {
    // The daemon alone may write no file beyond that, until it may.
    let log_file = json!({"path": "eater.log", "maxSize": "100MiB"});
    let setup = Setup::new().limited("--fsize=65536:unlimited");
    let mut printer = printer(is_shared, setup, log_file).await;
    let (daemon, conn, sibling) = (&printer.daemon, &mut printer.conn, &mut printer.sibling);
    let tool = if is_shared { "eater__pid" } else { "pid" };
    let pid = conn.call(2, tool, json!({})).await;
    let (each, times) = (1000, 60);
    let then = "x".repeat(80);
    for n in 0..times {
        conn.call(n + 10, "print", json!({"to": "stderr", "from": n * each, "n": each, "then": then})).await;
        let of_sibling = sibling.as_mut().unwrap_or(&mut *conn);
        assert_eq!(text_of(&of_sibling.call(n + 1000, "echo", json!({"text": "fine"})).await), "fine");
    }
    let line = daemon.wait_for_event("ERROR_LOG_FILE").await.to_string();
    assert!(line.contains("File too large"), "{line}");
    let path = daemon.path().join("eater.log");
    assert!(fs::metadata(&path).unwrap().len() <= 65536);
    // All of it has come: the last line is in the log as well, once the flood is over.
    let until_quiet = async {
        loop {
            conn.call(5000, "print", json!({"to": "stderr", "from": 900_000, "n": 1})).await;
            if daemon.log_text().contains("line 900000") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    within("the end of the flood", until_quiet).await;
    prlimit(Some(daemon.pid()), Resource::Fsize, Rlimit { current: None, maximum: None }).unwrap();
    daemon.wait_for_event("LOG_FILE_WRITTEN").await;
    let told = async {
        loop {
            conn.call(6000, "print", json!({"to": "stderr", "from": 910_000, "n": 1})).await;
            if text(&path).contains("line 910000") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    within("lines that go on", told).await;
    let all = text(&path);
    let (mut written, mut lost) = (0, 0);
    for line in all.lines().filter(|line| !line.contains("line 9")) {
        match line.split_once("mcp-pipe: ") {
            Some((_, gap)) => {
                lost += gap.split(' ').next().unwrap().parse::<u64>().unwrap();
                assert!(gap.contains("dropped here"), "{line}");
            }
            None => {
                assert!(line.len() == 36 + then.len() && line.ends_with(&then), "none is torn: {line}");
                written += 1;
            }
        }
    }
    // What was printed while the end was waited for is in the gap as well.
    assert!(written + lost >= times * each && lost > 1000, "{written} written, {lost} lost");
    let line = daemon.wait_for("how many are lost", |line| line["fields"]["lost"].is_u64()).await;
    assert!(line["fields"]["lost"].as_u64() > Some(1000), "{line}");
    let mut numbers: Vec<u64> =
        all.lines().filter_map(|line| line.split("line ").nth(1)?.get(..6)?.parse().ok()).collect();
    numbers.retain(|number| *number < 900_000);
    let count = numbers.len();
    numbers.dedup();
    assert!(numbers.len() == count && numbers.is_sorted(), "none is there twice");
    assert_eq!(conn.call(7000, tool, json!({})).await["result"], pid["result"], "no server was restarted");
    printer.stop().await;
}

#[tokio::test]
async fn whatever_takes_the_place_of_the_file_holds_up_nobody_and_is_told() {
    let printer = printer(true, Setup::new(), json!("eater.log")).await;
    let Printer { _endpoints, daemon, mut conn, .. } = printer;
    let path = daemon.path().join("eater.log");
    let mut id = 10;
    let mut say = async |conn: &mut Conn, from: u64| {
        id += 1;
        conn.call(id, "print", json!({"to": "stderr", "from": from, "n": 1})).await;
    };
    say(&mut conn, 1).await;
    holds(&path, "line 000001").await;
    // As logrotate moves it away: it is there again with the next line but for those of a second.
    fs::rename(&path, daemon.path().join("away")).unwrap();
    let again = async {
        while !path.exists() {
            say(&mut conn, 2).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within("a file in the place of the one that was moved", again).await;
    // A named pipe in its place, with nobody who reads it.
    fs::remove_file(&path).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    let told = async {
        while !daemon.log_text().contains("ERROR_LOG_FILE") {
            say(&mut conn, 3).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within("what is wrong", told).await;
    assert!(daemon.log_text().contains("eater.log can't be written: is no regular file"), "{}", daemon.log_text());
    say(&mut conn, 4).await;
    fs::remove_file(&path).unwrap();
    holds(&path, "line 000004").await;
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn files_that_are_none_or_are_shared_are_mistakes_before_anything_starts() {
    let prepare = |folder: &Path| {
        fs::create_dir(folder.join("folder")).unwrap();
        fs::write(folder.join("target"), "").unwrap();
        symlink("target", folder.join("link")).unwrap();
        let owner = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, folder.join("pipe"), rustix::fs::FileType::Fifo, owner, 0).unwrap();
        if rustix::process::geteuid().is_root() {
            fs::write(folder.join("others"), "").unwrap();
            std::os::unix::fs::chown(folder.join("others"), Some(12345), None).unwrap();
        }
    };
    let mut cases = vec![
        (json!("folder"), "is a folder"),
        (json!("link"), "no link is followed"),
        (json!("pipe"), "is no regular file"),
        (json!("/dev/full"), "is no regular file"),
        (json!("target/below"), "lies below a file"),
        (json!("~/x.log"), "write ${HOME} for it"),
        (json!(""), "is empty"),
        (json!("mcp_config.json"), "from which mcp-pipe reads its config"),
        (json!("own.log"), "and so does mcp-pipe's log"),
        (json!("not-yet/../own.log"), "and so does mcp-pipe's log"),
        (json!("sub/../not-yet/./../own.log"), "and so does mcp-pipe's log"),
        (json!("not-yet/../mcp_config.json"), "from which mcp-pipe reads its config"),
        (json!("./sub/../own.log.2"), "an older part of one log would lie at the other"),
        (json!({"maxSize": "1MiB"}), "has no path"),
        (json!({"path": "x.log", "maxSize": "1KiB"}), "between 4KiB and 16TiB"),
        (json!({"path": "x.log", "keep": 0}), "from 1 to 100"),
        (json!({"path": "x.log", "size": "1MiB"}), "did you mean maxSize?"),
        (json!(7), "is a number, not a text"),
    ];
    if rustix::process::geteuid().is_root() {
        cases.push((json!("others"), "belongs to another user"));
    }
    for (log_file, want) in cases {
        let mut config = config([("x", fixture_entry(&[]))]);
        config["endpoint"] = "ws://127.0.0.1:1/".into();
        config["mcpServers"]["x"]["logFile"] = log_file.clone();
        config["logFile"] = "own.log".into();
        for command in [&["validate"][..], &[]] {
            let setup = Setup::new().prepared(prepare).prepared(|folder| fs::create_dir(folder.join("sub")).unwrap());
            let said = setup.config(&config).args(command.iter().copied()).output().await;
            let text =
                String::from_utf8_lossy(if command.is_empty() { &said.stderr } else { &said.stdout }).into_owned();
            assert!(text.contains(want) && !said.status.success(), "{log_file}: {text}");
        }
    }
}

#[tokio::test]
async fn a_reload_changes_the_files_and_restarts_nothing() {
    let printer = printer(true, Setup::new(), json!("one.log")).await;
    let Printer { _endpoints, daemon, mut conn, mut config, .. } = printer;
    let pid = conn.call(2, "eater__pid", json!({})).await["result"].clone();
    conn.call(3, "print", json!({"to": "stderr", "from": 1, "n": 1})).await;
    holds(&daemon.path().join("one.log"), "line 000001").await;
    config["mcpServers"]["eater"]["logFile"] = json!({"path": "two.log"});
    config["logFile"] = "own.log".into();
    fs::write(daemon.path().join("mcp_config.json"), config.to_string()).unwrap();
    let line =
        daemon.wait_for("what changed", |line| line["message"].to_string().contains("changed: ")).await.to_string();
    assert!(line.contains("eater has another logFile") && line.contains("own.log as well"), "{line}");
    let moved = async {
        let mut id = 10;
        while !daemon.path().join("two.log").exists() {
            id += 1;
            conn.call(id, "print", json!({"to": "stderr", "from": 2, "n": 1})).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("the other file", moved).await;
    holds(&daemon.path().join("own.log"), "own.log as well").await;
    assert_eq!(conn.call(5000, "eater__pid", json!({})).await["result"], pid);
    assert!(!daemon.log_text().contains("SERVER_EXITED"));
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn whoever_only_looks_at_servers_writes_no_file_of_the_one_that_serves() {
    let mut config = config([("x", fixture_entry(&["--saying", "hello"]))]);
    config["mcpServers"]["x"]["logFile"] = "x.log".into();
    config["logFile"] = "own.log".into();
    let setup = Setup::new().config(&config);
    let folder = setup.folder().to_owned();
    let (command, dir) = setup.args(["tools"]).into_command();
    let said = { command }.kill_on_drop(true).output().await.unwrap();
    assert!(said.status.success(), "{said:?}");
    assert!(!folder.join("x.log").exists() && !folder.join("own.log").exists());
    drop(dir);
}
