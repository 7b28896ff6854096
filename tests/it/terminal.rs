//! What somebody sees who starts the program at a terminal, and what a file or a program gets instead.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::fs::{Mode, OFlags, open};
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::json;
use tokio::sync::mpsc;

use crate::control::Runtime;
use crate::harness::{Agent, Setup, Takes, calculator_entry, config, example, field, fixture_entry, within};

/// A terminal: the end that a person looks at, and the one that a program writes to.
pub(crate) fn terminal() -> (OwnedFd, OwnedFd) {
    let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&person).and_then(|()| unlockpt(&person)).unwrap();
    let name = ptsname(&person, Vec::new()).unwrap();
    let program = open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    (person, program)
}

/// The lines that appear on a terminal, as they come.
fn lines(person: OwnedFd) -> mpsc::UnboundedReceiver<String> {
    let (sender, lines) = mpsc::unbounded_channel();
    thread::spawn(move || {
        // It ends when the last program that has the terminal has gone.
        for line in BufReader::new(File::from(person)).lines().map_while(Result::ok) {
            let _ = sender.send(line.trim_end().to_owned());
        }
    });
    lines
}

/// Starts this at a terminal, reads up to the summary, and stops it; every line so far.
async fn seen(setup: Setup) -> Vec<String> {
    let (person, program) = terminal();
    let mut daemon = setup.start_at(program);
    let (mut lines, mut seen) = (lines(person), Vec::new());
    let read = async {
        while let Some(line) = lines.recv().await {
            seen.push(line);
            if seen.last().is_some_and(|line| line.ends_with("Ctrl-C stops")) {
                return;
            }
        }
    };
    within("the line that says that everything is up", read).await;
    daemon.signal(Signal::INT);
    assert_eq!(daemon.exit().await.code(), Some(0), "{seen:?}");
    seen
}

fn two() -> Setup {
    let old = json!({"command": "/nonexistent", "disabled": true});
    let servers = [("calculator", calculator_entry()), ("old", old), ("x", fixture_entry(&[]))];
    Setup::new().config(&config(servers)).args(["--local"])
}

/// Whether a line begins with a time of day and a level.
fn is_line(line: &str) -> bool {
    let form = "00:00:00 ";
    let is_clock = line.len() > form.len()
        && line.bytes().zip(form.bytes()).all(|(c, f)| if f == b'0' { c.is_ascii_digit() } else { c == f });
    is_clock && ["ERROR ", "WARN  ", "INFO  "].iter().any(|level| line[form.len()..].starts_with(level))
}

#[tokio::test]
async fn at_a_terminal_lines_are_short_in_local_time_and_a_summary_says_when_all_is_up() {
    // A zone in which hardly anybody lives: its hour is not that of UTC.
    let lines = seen(two().env("NO_COLOR", "1").env("TZ", "XXX-7:30")).await;
    assert!(lines.iter().all(|line| is_line(line) && !line.contains("event=")), "{lines:#?}");
    let has = |what: &str| lines.iter().any(|line| line[9..].starts_with(what));
    assert!(has("INFO  [calculator] │ "), "what a server says stands apart: {lines:#?}");
    assert!(has("INFO  disabled in the config, so not run: old"), "{lines:#?}");
    let summary = &lines.last().unwrap()[9..];
    assert!(
        summary.starts_with("INFO  2 servers, ") && summary.ends_with(" tools, 2 connections; Ctrl-C stops"),
        "{summary}"
    );
    let now = std::process::Command::new("date").arg("+%H:%M").env("TZ", "XXX-7:30").output().unwrap().stdout;
    let (now, last) = (String::from_utf8(now).unwrap(), lines.last().unwrap());
    let minutes = |text: &str| text[..2].parse::<i32>().unwrap() * 60 + text[3..5].parse::<i32>().unwrap();
    assert!((minutes(&now) - minutes(last)).rem_euclid(24 * 60) <= 1, "{now} {last}");
}

#[tokio::test]
async fn at_a_terminal_with_colours_what_a_server_says_is_dim() {
    let lines = seen(two().env("TERM", "xterm")).await;
    assert!(lines.iter().any(|line| line.contains("[calculator]\u{1b}[0m \u{1b}[2m│ ")), "{lines:#?}");
}

/// Without what differs from run to run and from machine to machine, and in an order that does not.
fn timeless<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    let digits = |line: &str| {
        let mut plain = String::new();
        for c in line.replace("python3", "python").replace(" ms", " s").chars() {
            match c {
                '0'..='9' | '.' if plain.ends_with('0') => {}
                '0'..='9' => plain.push('0'),
                c => plain.push(c),
            }
        }
        plain
    };
    let mut lines: Vec<String> = lines.filter(|line| !line.contains("there is no python here")).map(digits).collect();
    lines.sort_unstable();
    lines
}

#[tokio::test]
async fn the_output_on_the_readmes_first_screen_is_real() {
    let shipped = |name: &str| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    let readme = shipped("README.md");
    let (_, block) = readme.split_once("mcp-pipe --local\n```\n\n```text\n").expect("a command and its output");
    let (block, _) = block.split_once("```").unwrap();
    let config =
        shipped("mcp_config.json").replace("examples/calculator.py", &example("calculator.py").display().to_string());
    let setup = Setup::new().file("mcp_config.json", &config).args(["--local"]).env("NO_COLOR", "1");
    let lines = seen(setup).await;
    assert_eq!(timeless(lines.iter().map(String::as_str)), timeless(block.lines()), "{lines:#?}");
}

#[tokio::test]
async fn in_a_file_a_line_has_the_whole_time_and_its_event() {
    let output = two().args(["--mode", "multiplex"]).stop_after("ALL_UP").await;
    let lines: Vec<&str> = output.lines().collect();
    let is_whole =
        |line: &&str| line.as_bytes().get(10) == Some(&b'T') && line.contains("Z ") && line.contains(" event=");
    assert!(lines.iter().all(is_whole), "{output}");
    assert!(!output.contains('│') && !output.contains("Ctrl-C"), "{output}");
    assert!(output.contains(" [calculator+x] connected in ") && output.contains("2 servers, "), "{output}");
    assert!(output.contains(" tools, 1 connection event=ALL_UP"), "{output}");
}

#[tokio::test]
async fn for_a_machine_a_line_about_a_shared_connection_lists_its_servers() {
    let agent = Agent::bind("/mcp_endpoint/mcp/", Takes::Newest).await;
    let mut servers = config([("a", fixture_entry(&[])), ("b", fixture_entry(&[]))]);
    servers["endpoint"] = agent.url("t").into();
    let daemon = Setup::new().config(&servers).start("info");
    for event in ["SERVERS_MERGED", "AGENT_SHARED", "CONNECTION_OPENED"] {
        let line = daemon.wait_for_event(event).await;
        assert_eq!((&line["servers"], line.get("server")), (&json!(["a", "b"]), None), "{line}");
    }
    let line = daemon.wait_for_event("SERVER_STARTED").await;
    assert!(line.get("servers").is_none() && field(&line, "server").is_some(), "{line}");
    let fields = daemon.wait_for_event("ALL_UP").await["fields"].clone();
    let seen = agent.wait_for("the tools", |seen| seen.last().is_some_and(|seen| seen.tools.is_some())).await;
    let tools = seen.last().and_then(|seen| Some(seen.tools.as_ref()?.len()));
    assert_eq!(fields, json!({"count": 2, "tools": tools, "connections": 1}));
    daemon.stop().await;
}

#[tokio::test]
async fn help_fits_the_terminal() {
    for (columns, args) in [("60", &["--help"][..]), ("60", &["tools", "--help"]), ("90", &["call", "--help"])] {
        let output = Setup::new().env("COLUMNS", columns).args(args.iter().copied()).output().await;
        let text = String::from_utf8(output.stdout).unwrap();
        // What can't be broken stays whole: examples, and the two lines of the usage.
        let body = text.split("Examples:").next().unwrap();
        let long = body.lines().filter(|line| line.chars().count() > columns.parse().unwrap());
        let long: Vec<_> = long.filter(|line| !line.contains("mcp-pipe [OPTIONS]")).collect();
        assert!(output.status.success() && long.is_empty(), "{columns}: {long:#?}");
    }
}

#[tokio::test]
async fn nothing_is_said_to_be_up_while_a_server_is_not() {
    let servers = [("calculator", calculator_entry()), ("broken", json!({"command": "no-such-program-anywhere"}))];
    let daemon = Setup::new().config(&config(servers)).args(["--local"]).start("info");
    daemon.wait_for_event("TOOLS_READ").await;
    daemon.wait_for("the missing program", |line| field(line, "event") == Some("ERROR_SERVER_START")).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!daemon.log_text().contains("ALL_UP"), "{}", daemon.log_text());
    daemon.stop().await;
}

#[tokio::test]
async fn who_gives_an_order_at_a_terminal_is_told_what_it_waits_for() {
    let runtime = Runtime::new();
    let daemon =
        runtime.setup().config(&config([("hung", fixture_entry(&["--silent"]))])).args(["--local"]).start("info");
    daemon.wait_for_event("SERVER_STARTED").await;
    let (person, program) = terminal();
    let order = runtime.setup().args(["restart", "hung"]).start_at(program);
    let mut lines = lines(person);
    let line = within("what is waited for", lines.recv()).await.unwrap();
    assert_eq!(line, "mcp-pipe: waiting for hung to serve again: 2 of 70 s at most");
    drop(order);
    daemon.stop().await;
}
