//! Real processes: the fixture server, built by `cargo test` beside the tests.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::future::poll_fn;
use std::io::{BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::wanted::{Goal, ServerCommand, Step};
use super::{Found, Restarts, Server, ServerEvent};
use crate::config::{AuthSpec, ClientProof, ClientSpec, Reach, RemoteSpec, RemoteTransport, ServerSpec, TlsSpec};
use crate::frame::LineOut;
use crate::process::guard::Guard;
use crate::secrecy::{Redactor, Secret};

fn example(name: &str) -> String {
    let mut path: PathBuf = std::env::current_exe().unwrap();
    path.pop();
    path.set_file_name("examples");
    let path = path.join(name);
    assert!(
        path.exists(),
        "{} is missing: `cargo test` builds it, `cargo test --lib` needs `cargo build --examples` before",
        path.display()
    );
    path.to_str().unwrap().to_owned()
}

fn spec(program: &str, args: &[&str]) -> ServerSpec {
    ServerSpec::sample("test", program, args)
}

#[derive(Debug, Clone, PartialEq)]
enum Got {
    Up,
    Frame(String),
    TooLarge(u64),
    Down(String),
    Halted,
}

/// A server and what waits for it, driven as a pipe drives them.
struct Rig {
    server: Server,
    out: LineOut,
    got: Vec<Got>,
    /// Longest time for what is waited for.
    patience: Duration,
}

impl Rig {
    fn new(spec: ServerSpec) -> Self {
        Rig {
            server: Server::new(Arc::new(spec), Guard::none(), Redactor::default(), None),
            out: LineOut::new(),
            got: Vec::new(),
            patience: Duration::from_secs(20),
        }
    }

    fn fixture(args: &[&str]) -> Self {
        Self::new(spec(&example("fixture"), args))
    }

    fn send(&mut self, message: &str) {
        self.out.push(&[message.as_bytes()]);
    }

    fn call(&mut self, tool: &str, arguments: &str) {
        self.send(&format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}}}}}"#
        ));
    }

    /// Drives until an event is `wanted`, and returns that. Events before are dropped.
    async fn until(&mut self, wanted: impl Fn(&Got) -> bool) -> Got {
        self.drive(true, wanted).await
    }

    async fn drive(&mut self, read: bool, wanted: impl Fn(&Got) -> bool) -> Got {
        let Rig { server, out, got, patience } = self;
        let found = poll_fn(|cx| {
            let _ = server.poll_write(cx, out);
            let _ = server.poll(cx, tokio::time::Instant::now(), read, &mut |event| {
                got.push(match event {
                    ServerEvent::Up { .. } => Got::Up,
                    ServerEvent::Said(
                        Found::Message { frame: text, .. }
                        | Found::Noise(text)
                        | Found::Nameless(text)
                        | Found::Lost(_, text),
                    ) => Got::Frame(std::str::from_utf8(text).unwrap().to_owned()),
                    ServerEvent::Said(Found::TooLarge(cut)) => Got::TooLarge(cut.size),
                    ServerEvent::Said(
                        Found::Habit(_)
                        | Found::Unanswered { .. }
                        | Found::Renewed
                        | Found::Caused { .. }
                        | Found::Modern
                        | Found::Odd { .. },
                    )
                    | ServerEvent::Again { .. }
                    | ServerEvent::LimitMet { .. }
                    | ServerEvent::Shown { .. } => {
                        return ControlFlow::Continue(());
                    }
                    ServerEvent::Down { why, .. } => Got::Down(why.to_owned()),
                    ServerEvent::Halted { .. } => Got::Halted,
                    ServerEvent::Stopped { .. } => return ControlFlow::Continue(()),
                });
                ControlFlow::Continue(())
            });
            if got.contains(&Got::Up) {
                let _ = server.poll_write(cx, out);
            }
            match got.iter().position(&wanted) {
                Some(at) => Poll::Ready(got.drain(..=at).next_back().unwrap()),
                None => Poll::Pending,
            }
        });
        tokio::time::timeout(*patience, found).await.unwrap()
    }

    async fn up(&mut self) -> u32 {
        self.until(|got| *got == Got::Up).await;
        self.server.pid().unwrap()
    }

    async fn frame_with(&mut self, part: &str) -> String {
        match self.until(|got| matches!(got, Got::Frame(text) if text.contains(part))).await {
            Got::Frame(text) => text,
            Got::Up | Got::TooLarge(_) | Got::Down(_) | Got::Halted => unreachable!("only a frame was wanted"),
        }
    }

    async fn down(&mut self) -> String {
        match self.until(|got| matches!(got, Got::Down(_))).await {
            Got::Down(why) => why,
            Got::Up | Got::TooLarge(_) | Got::Frame(_) | Got::Halted => unreachable!("only an end was wanted"),
        }
    }

    /// Stops the server and returns how long that took.
    async fn stop(&mut self, now: bool) -> Duration {
        let began = Instant::now();
        self.server.stop(now);
        let stopped =
            poll_fn(|cx| self.server.poll(cx, tokio::time::Instant::now(), false, &mut |_| ControlFlow::Continue(())));
        tokio::time::timeout(Duration::from_secs(20), stopped).await.unwrap();
        began.elapsed()
    }
}

/// Whether nobody is left of a group; zombies, which init has yet to reap, don't count.
fn group_is_empty(pgid: u32) -> bool {
    std::fs::read_dir("/proc").unwrap().flatten().all(|entry| {
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { return true };
        let mut fields = stat.rsplit_once(") ").unwrap().1.split(' ');
        let (state, group) = (fields.next().unwrap(), fields.nth(1).unwrap());
        state == "Z" || group != pgid.to_string()
    })
}

fn group_size(pgid: u32) -> usize {
    let of_group = |entry: &std::fs::DirEntry| {
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, fields)| fields.split(' ').nth(2) == Some(&pgid.to_string()))
    };
    std::fs::read_dir("/proc").unwrap().flatten().filter(of_group).count()
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_call_goes_in_and_its_answer_comes_out() {
    let mut rig = Rig::fixture(&[]);
    rig.up().await;
    rig.call("add", r#"{"a":2,"b":3}"#);
    assert!(rig.frame_with("result").await.contains(r#""text":"5""#));
    let took = rig.stop(false).await;
    assert!(took < Duration::from_secs(1), "the end of stdin is enough, yet it took {took:?}");
}

#[tokio::test]
async fn large_messages_pass_both_ways() {
    let mut rig = Rig::fixture(&[]);
    rig.up().await;
    let text = "ä".repeat(400_000);
    rig.call("echo", &format!(r#"{{"text":"{text}"}}"#));
    assert!(rig.frame_with("result").await.contains(&text));
    rig.call("big", r#"{"bytes":3000000}"#);
    let Got::TooLarge(size) = rig.until(|got| matches!(got, Got::TooLarge(_))).await else { unreachable!() };
    assert!(size > 3_000_000);
    rig.call("echo", r#"{"text":"after"}"#);
    rig.frame_with("after").await;
    rig.stop(false).await;
}

#[tokio::test]
async fn a_flood_on_stderr_holds_nothing_up_even_while_stdout_is_not_read() {
    let mut rig = Rig::fixture(&["--stderr-flood"]);
    rig.up().await;
    rig.call("echo", r#"{"text":"one"}"#);
    let blocked = tokio::time::timeout(Duration::from_millis(500), rig.drive(false, |_| true)).await;
    assert!(blocked.is_err(), "stdout was read: {blocked:?}");
    rig.frame_with("one").await;
    rig.stop(false).await;
}

#[tokio::test]
async fn of_a_flood_on_stderr_a_little_is_read_at_a_time_and_sockets_are_looked_at_between() {
    const LINES: usize = 9000;
    let Reach::Command(command) = spec("sh", &["-c", "yes line | head -n 9000 >&2; read end"]).reach else {
        unreachable!()
    };
    let child = super::spawn::spawn(&command).unwrap();
    let now = tokio::time::Instant::now();
    let of_spec = (1 << 20, command.limits);
    let mut process = super::stdio::Process::new(child, of_spec, Guard::none(), Redactor::default(), now);
    let turns = Arc::new(AtomicUsize::new(0));
    let seen = turns.clone();
    let flood = tokio::spawn(async move {
        let (mut lines, mut most, mut at_each) = (0, 0, Vec::new());
        poll_fn(|cx| {
            let before = lines;
            let _running = process.poll(cx, now, true, &mut |_| ControlFlow::Continue(()), &mut |_| lines += 1);
            most = most.max(lines - before);
            if lines > before {
                at_each.push(seen.load(Ordering::Relaxed));
            }
            if lines >= LINES { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        process.stop(true);
        poll_fn(|cx| process.poll(cx, now, true, &mut |_| ControlFlow::Continue(()), &mut |_| {})).await;
        (most, at_each)
    });
    // Somebody else, whose every turn needs a look at the sockets.
    while !flood.is_finished() {
        let (mut near, _far) = tokio::net::UnixStream::pair().unwrap();
        near.write_all(b"x").await.unwrap();
        turns.fetch_add(1, Ordering::Relaxed);
    }
    let (most, at_each) = flood.await.unwrap();
    // One more says how many of them the log leaves out.
    assert!(most <= 4096 / "line\n".len() + 2, "{most} lines at once");
    let turns = at_each[at_each.len() - 1] - at_each[0];
    assert!(turns >= at_each.len() / 2, "{turns} turns beside {} pieces", at_each.len());
}

#[tokio::test]
async fn everything_written_before_an_exit_arrives_before_its_report() {
    for _ in 0..20 {
        let mut rig = Rig::fixture(&["--write-and-exit", "2000"]);
        rig.up().await;
        let mut frames = 0;
        loop {
            match rig.until(|_| true).await {
                Got::Frame(_) => frames += 1,
                Got::Down(why) => {
                    assert_eq!(why, "exited with code 1");
                    break;
                }
                other @ (Got::Up | Got::TooLarge(_) | Got::Halted) => panic!("{other:?}"),
            }
        }
        assert_eq!(frames, 2000);
        rig.stop(true).await;
    }
}

#[tokio::test]
async fn nothing_is_lost_when_a_server_exits_while_its_stdout_is_not_read() {
    let mut rig = Rig::fixture(&["--write-and-exit", "500"]);
    rig.up().await;
    let blocked = tokio::time::timeout(Duration::from_secs(3), rig.drive(false, |_| true)).await;
    assert!(blocked.is_err(), "{blocked:?}");
    rig.until(|got| matches!(got, Got::Frame(text) if text.contains(r#""n":499"#))).await;
    assert_eq!(rig.down().await, "exited with code 1");
    rig.stop(true).await;
}

#[tokio::test]
async fn nothing_is_lost_either_where_its_pipe_holds_more_than_is_read_at_a_time() {
    let gated = r#"read -r _; exec "$0" --write-and-exit 6000"#;
    let mut rig = Rig::new(spec("sh", &["-c", gated, &example("fixture")]));
    let pid = rig.up().await;
    let stdout = std::fs::File::options().write(true).open(format!("/proc/{pid}/fd/1")).unwrap();
    rustix::pipe::fcntl_setpipe_size(&stdout, 1 << 20).unwrap();
    drop(stdout);
    rig.send("{}");
    let blocked = tokio::time::timeout(Duration::from_secs(3), rig.drive(false, |_| true)).await;
    assert!(blocked.is_err(), "{blocked:?}");
    rig.until(|got| matches!(got, Got::Frame(text) if text.contains(r#""n":5999"#))).await;
    assert_eq!(rig.down().await, "exited with code 1");
    rig.stop(true).await;
}

#[tokio::test]
async fn someone_outside_the_group_who_writes_on_for_ever_does_not_hold_up_the_report() {
    let mut rig = Rig::new(spec("sh", &["-c", "echo '{}'; timeout 20 setsid yes & exit 7"]));
    let began = Instant::now();
    assert_eq!(rig.down().await, "exited with code 7");
    assert!(began.elapsed() < Duration::from_secs(19), "{:?}", began.elapsed());
    rig.stop(true).await;
}

#[tokio::test]
async fn garbage_on_stdout_keeps_no_answer_back() {
    let mut rig = Rig::fixture(&["--garbage"]);
    rig.up().await;
    rig.call("add", r#"{"a":1,"b":1}"#);
    let mut got = Vec::new();
    while got.len() < 5 {
        got.push(rig.until(|_| true).await);
    }
    let frame = |text: &str| Got::Frame(text.to_owned());
    assert_eq!(
        got[..4],
        [
            frame("Welcome to the fixture!"),
            frame(r#"{"half": "#),
            frame("latin1: \u{FFFD}\u{FFFD}"),
            frame("DEBUG answering")
        ]
    );
    assert!(matches!(&got[4], Got::Frame(text) if text.contains("result")), "{got:?}");
    rig.stop(false).await;
}

#[tokio::test]
async fn a_killed_server_is_back_within_a_moment_if_it_was_of_use() {
    let mut rig = Rig::fixture(&[]);
    for _ in 0..20 {
        let pid = rig.up().await;
        rig.call("pid", "{}");
        assert!(rig.frame_with("result").await.contains(&pid.to_string()));
        rig.server.healthy();
        let began = Instant::now();
        kill(pid);
        assert!(rig.down().await.starts_with("was killed by signal 9 (SIGKILL"));
        assert!(began.elapsed() < Duration::from_millis(500), "noticed after {:?}", began.elapsed());
    }
    rig.stop(true).await;
}

#[tokio::test]
async fn a_server_that_ignores_term_is_gone_within_five_seconds() {
    let mut rig = Rig::fixture(&["--ignore-term", "--grandchild"]);
    let pid = rig.up().await;
    rig.call("echo", r#"{"text":"ready"}"#);
    rig.frame_with("ready").await;
    let took = rig.stop(false).await;
    assert!(took > Duration::from_secs(2), "it was given no time: {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(group_is_empty(pid));
}

#[tokio::test]
async fn the_second_stop_kills_at_once() {
    let mut rig = Rig::fixture(&["--ignore-term", "--grandchild"]);
    let pid = rig.up().await;
    rig.call("echo", r#"{"text":"ready"}"#);
    rig.frame_with("ready").await;
    rig.server.stop(false);
    let took = rig.stop(true).await;
    assert!(took < Duration::from_millis(500), "{took:?}");
    assert!(group_is_empty(pid));
}

#[tokio::test]
async fn a_crash_leaves_no_grandchild_although_it_ignores_term() {
    let mut rig = Rig::fixture(&["--grandchild"]);
    let pid = rig.up().await;
    rig.call("echo", r#"{"text":"ready"}"#);
    rig.frame_with("ready").await;
    assert_eq!(group_size(pid), 2, "the grandchild is in the group");
    kill(pid);
    rig.down().await;
    assert!(group_is_empty(pid));
    rig.stop(true).await;
}

#[tokio::test]
async fn one_that_is_ended_for_what_others_have_found_is_told_so_however_it_ends() {
    for program in ["cat", "cat; exit 3"] {
        let mut rig = Rig::new(spec("sh", &["-c", program]));
        rig.up().await;
        rig.server.end_faulty_process("failed its health check");
        assert_eq!(rig.down().await, "failed its health check, and was ended");
        rig.stop(true).await;
    }
}

#[tokio::test]
async fn a_grandchild_that_left_the_group_does_not_hold_up_the_report() {
    let mut rig = Rig::new(spec("sh", &["-c", "setsid sleep 8 & echo '{}'; exit 7"]));
    let began = Instant::now();
    rig.frame_with("{}").await;
    assert_eq!(rig.down().await, "exited with code 7");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    rig.stop(true).await;
}

#[tokio::test]
async fn a_server_that_closes_its_stdout_or_stdin_and_goes_on_is_started_again() {
    let mut rig = Rig::fixture(&["--close-stdout", "--ignore-term"]);
    let first = rig.up().await;
    assert_eq!(rig.down().await, "closed its stdout, but went on running, and was stopped");
    assert!(group_is_empty(first));
    rig.stop(true).await;

    let mut rig = Rig::new(spec("sh", &["-c", "exec sleep 30 <&-"]));
    let first = rig.up().await;
    // We write until the shell has closed its end.
    let down = loop {
        rig.send("{}");
        let event = tokio::time::timeout(Duration::from_millis(50), rig.until(|_| true)).await;
        if let Ok(Got::Down(why)) = event {
            break why;
        }
    };
    assert_eq!(down, "closed its stdin, but went on running, and was stopped");
    assert!(group_is_empty(first));
    rig.stop(true).await;
}

#[tokio::test]
async fn a_missing_program_is_reported_and_tried_again() {
    let mut rig = Rig::new(spec("no-such-program-anywhere", &[]));
    for _ in 0..3 {
        assert!(rig.down().await.starts_with("command not found: no-such-program-anywhere (searched PATH="));
    }
    assert!(!rig.server.is_up());
    assert!(rig.stop(false).await < Duration::from_millis(100));
}

#[tokio::test]
async fn the_environment_is_what_was_asked_for() {
    let mut spec = spec("sh", &["-c", r#"printf '["%s","%s"]\n' "$ADDED" "${CARGO_MANIFEST_DIR-none}"; cat"#]);
    spec.command_mut().env.push(("ADDED".into(), Secret::new("yes")));
    spec.command_mut().env_remove.push("CARGO_MANIFEST_DIR".into());
    let mut rig = Rig::new(spec);
    assert_eq!(rig.frame_with("[").await, r#"["yes","none"]"#);
    rig.stop(false).await;
}

#[tokio::test]
async fn no_pipe_of_one_server_leaks_into_another() {
    let (mut first, mut second) = (Rig::fixture(&[]), Rig::fixture(&[]));
    first.up().await;
    second.up().await;
    // If the second process had inherited our end of the first one's stdin, the first would not see it end.
    let took = first.stop(false).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    second.stop(false).await;
}

/// A program that a failed test doesn't leave behind.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn nothing_is_left_when_the_program_is_killed() {
    let fixture = example("fixture");
    let mut program = Killed(
        Command::new(example("guarded"))
            .args([&fixture, "--ignore-term", "--grandchild", "--", &fixture, "--", &fixture, "--grandchild"])
            .arg("--token-in-the-arguments")
            .env("MCP_ENDPOINT", "wss://example.invalid/?token=token-in-the-environment")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let mut lines = BufReader::new(program.0.stdout.take().unwrap());
    let groups: Vec<u32> = (0..3)
        .map(|_| {
            let mut line = String::new();
            lines.read_line(&mut line).unwrap();
            line.trim().parse().unwrap()
        })
        .collect();
    // The fixture doesn't report its grandchildren.
    wait_until(|| groups.iter().map(|group| group_size(*group)).sum::<usize>() == 5);
    let watcher = watcher_of(program.0.id());
    for file in ["environ", "cmdline"] {
        let shown = std::fs::read(format!("/proc/{watcher}/{file}")).unwrap();
        assert!(!String::from_utf8_lossy(&shown).contains("token"), "{file} of the watcher shows a token");
    }
    assert_eq!(std::fs::read_to_string(format!("/proc/{watcher}/comm")).unwrap(), "mcp-pipe-guard\n");
    assert_eq!(std::fs::read_dir(format!("/proc/{watcher}/fd")).unwrap().count(), 1, "the watcher holds its pipe only");

    // As `pkill -USR1 mcp-pipe` does, or a service manager that signals all of a service.
    for signal in [Signal::USR1, Signal::HUP, Signal::TERM, Signal::TSTP] {
        kill_process(Pid::from_raw(watcher.cast_signed()).unwrap(), signal).unwrap();
    }

    program.0.kill().unwrap();
    program.0.wait().unwrap();
    let killed = Instant::now();
    while !groups.iter().all(|group| group_is_empty(*group)) || alive(watcher) {
        assert!(killed.elapsed() < Duration::from_secs(5), "something is left of {groups:?} or the watcher");
        std::thread::sleep(Duration::from_millis(20));
    }
    // Once all processes are gone the program's output ends: nobody else has inherited it.
    lines.read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn the_watcher_of_a_program_without_children_ends_with_it() {
    let mut program = Killed(Command::new(example("guarded")).stdout(Stdio::piped()).spawn().unwrap());
    let watcher = watcher_of(program.0.id());
    program.0.kill().unwrap();
    program.0.wait().unwrap();
    let killed = Instant::now();
    while alive(watcher) {
        assert!(killed.elapsed() < Duration::from_secs(5));
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The watcher of a program, once it has been forked and has given itself its name.
fn watcher_of(pid: u32) -> u32 {
    let mut watcher = None;
    wait_until(|| {
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        let comm = |child: &str| std::fs::read_to_string(format!("/proc/{child}/comm")).unwrap_or_default();
        watcher = children
            .split_ascii_whitespace()
            .find(|child| comm(child).starts_with("mcp-pipe-guard"))
            .map(|child| child.parse().unwrap());
        watcher.is_some()
    });
    watcher.unwrap()
}

/// Waits until `is_so`; panics when that takes too long.
fn wait_until(mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn restarts_begin_at_once_and_climb_to_a_minute() {
    let mut restarts = Restarts::new();
    let mut waits = |n: usize, random| -> Vec<_> { (0..n).map(|_| restarts.after(random).as_millis()).collect() };
    assert_eq!(waits(10, 1.0), [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000]);
    assert_eq!(waits(1, 0.0), [250], "never a tight loop");
    restarts.healthy();
    assert_eq!([restarts.after(1.0).as_millis(), restarts.after(1.0).as_millis()], [100, 500]);
}

#[tokio::test]
async fn a_stopped_server_is_started_by_command_only_and_two_processes_never_overlap() {
    let mut rig = Rig::fixture(&[]);
    let first = rig.up().await;
    let mut goal = Goal::default().after(ServerCommand::Stop);
    assert_eq!(rig.server.want(goal), Step::End);
    rig.server.restart("an order of the router, which counts for nothing now");
    rig.until(|got| *got == Got::Halted).await;
    assert!(group_is_empty(first) && rig.server.pid().is_none());
    let nothing = tokio::time::timeout(Duration::from_millis(300), rig.drive(true, |_| true)).await;
    assert!(nothing.is_err(), "no backoff starts it: {nothing:?}");
    goal = goal.after(ServerCommand::Start);
    assert_eq!(rig.server.want(goal), Step::Start);
    let second = rig.up().await;
    // Started again before it is gone: the end is awaited all the same.
    goal = goal.after(ServerCommand::Stop);
    rig.server.want(goal);
    goal = goal.after(ServerCommand::Start);
    assert_eq!(rig.server.want(goal), Step::End);
    goal = goal.after(ServerCommand::Restart);
    rig.server.want(goal);
    rig.down().await;
    assert!(group_is_empty(second));
    let third = rig.up().await;
    assert_ne!(second, third);
    assert_eq!(rig.server.want(goal), Step::Stay, "one process for all three commands");
    rig.server.want(goal.after(ServerCommand::Stop));
    rig.stop(false).await;
    assert!(group_is_empty(third));
}

#[tokio::test]
async fn a_start_by_command_does_not_wait_for_the_next_attempt_and_a_stop_takes_it_back() {
    let mut rig = Rig::new(spec("/nonexistent/program", &[]));
    for _ in 0..3 {
        rig.down().await;
    }
    let mut goal = Goal::default();
    for _ in 0..20 {
        goal = goal.after(ServerCommand::Start);
        assert_eq!(rig.server.want(goal), Step::Start);
        let at_once = tokio::time::timeout(Duration::from_millis(50), rig.down()).await;
        assert!(at_once.is_ok(), "it waits");
    }
    assert_eq!(rig.server.want(goal.after(ServerCommand::Stop)), Step::Halt);
    assert!(tokio::time::timeout(Duration::from_secs(2), rig.down()).await.is_err(), "it is tried again");
}

/// The next request of a connection: its head in small letters, and its body; `None`: there is none any more. `read`: what was read already.
pub(super) async fn request(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    let end = loop {
        if let Some(at) = memchr::memmem::find(read, b"\r\n\r\n") {
            break at + 4;
        }
        (stream.read_buf(read).await.ok()? > 0).then_some(())?;
    };
    let head = std::str::from_utf8(&read[..end]).ok()?.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    while read.len() < end + length {
        (stream.read_buf(read).await.ok()? > 0).then_some(())?;
    }
    let body = read[end..end + length].to_vec();
    read.drain(..end + length);
    Some((head, body))
}

/// A server over HTTP that wants a token, and the authorization server that gives them after a while, at one address.
struct Guarded {
    /// How long each answer takes by which a token is had.
    takes: Duration,
    is_modern: bool,
    /// The methods that the server was asked for, and whether that was with the token.
    asked: Mutex<Vec<(String, bool)>>,
}

impl Guarded {
    async fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let mut read = Vec::new();
        loop {
            let (head, body) = request(&mut stream, &mut read).await?;
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            let host = head.lines().find_map(|line| line.strip_prefix("host: "))?;
            let origin = format!("http://{host}");
            let path = head.split(' ').nth(1)?;
            if path != "/mcp" {
                tokio::time::sleep(self.takes).await;
            }
            let (status, answer) = match path {
                "/mcp" => self.answer(&body, head.contains("authorization: bearer slow-t0ken")),
                "/.well-known/oauth-protected-resource/mcp" => {
                    ("200 OK", json!({"resource": format!("{origin}/mcp"), "authorization_servers": [origin]}))
                }
                "/.well-known/oauth-authorization-server" => {
                    ("200 OK", json!({"issuer": origin, "token_endpoint": format!("{origin}/token")}))
                }
                "/token" => {
                    ("200 OK", json!({"access_token": "slow-t0ken", "token_type": "Bearer", "expires_in": 3600}))
                }
                _ => ("404 Not Found", Value::Null),
            };
            let answer = answer.to_string();
            let length = answer.len();
            let head =
                format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
            stream.write_all((head + &answer).as_bytes()).await.ok()?;
        }
    }

    fn answer(&self, body: &Value, is_known: bool) -> (&'static str, Value) {
        let method = body["method"].as_str().unwrap_or_default().to_owned();
        self.asked.lock().unwrap().push((method.clone(), is_known));
        let result = |result: Value| ("200 OK", json!({"jsonrpc": "2.0", "id": body["id"], "result": result}));
        match method.as_str() {
            _ if !is_known => ("401 Unauthorized", Value::Null),
            "server/discover" if self.is_modern => {
                result(json!({"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}))
            }
            "initialize" if !self.is_modern => result(
                json!({"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {"name": "g", "version": "1"}}),
            ),
            _ => ("404 Not Found", Value::Null),
        }
    }
}

/// That a token takes longer than a server may that does not say what it is: that says nothing of its era.
#[tokio::test(start_paused = true)]
async fn a_server_whose_token_takes_long_is_served_in_its_era() {
    for (is_modern, takes, want) in [
        (true, 9, vec![("server/discover", false), ("server/discover", true)]),
        (false, 9, vec![("server/discover", false), ("server/discover", true), ("initialize", true)]),
        // There is no token to be had in time, in one life and in the next.
        (true, 11, vec![("server/discover", false), ("server/discover", false)]),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let (takes, asked) = (Duration::from_secs(takes), Mutex::default());
        let guarded = Arc::new(Guarded { takes, is_modern, asked });
        let serving = guarded.clone();
        let task = tokio::spawn(async move {
            let mut each = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                let serving = serving.clone();
                each.spawn(async move { serving.serve(stream).await });
            }
        });
        let client = ClientSpec {
            client_id: "me".to_owned(),
            proof: ClientProof::Secret(Secret::new("cl1ent-s3cret")),
            scope: None,
            issuer: None,
        };
        let remote = RemoteSpec {
            url: url.parse().unwrap(),
            transport: RemoteTransport::Http,
            headers: Vec::new(),
            auth: AuthSpec::ClientCredentials(Box::new(client)),
            tls: TlsSpec::default(),
            connect_timeout: Duration::from_secs(60),
        };
        let minute = Duration::from_secs(60);
        let sample = ServerSpec { start_timeout: minute, ..spec("", &[]) };
        let mut rig = Rig::new(ServerSpec { reach: Reach::Remote(Arc::new(remote)), ..sample });
        rig.patience = minute;
        let began = tokio::time::Instant::now();
        let hello = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18"}}"#;
        rig.until(|got| *got == Got::Up).await;
        rig.send(hello);
        if takes < Duration::from_secs(10) {
            let frame = rig.frame_with("\"id\":1").await;
            assert!(frame.contains(r#""result":{"protocolVersion":"2025-06-18""#), "{frame}");
            // The metadata of two, and the token.
            assert!(began.elapsed() >= 3 * takes, "{:?}", began.elapsed());
        } else {
            for _ in 0..2 {
                let why = rig.down().await;
                assert!(why.contains("asked how it is protected, has not answered within 10.0 s"), "{why}");
                rig.out.clear();
                rig.send(hello);
            }
        }
        let asked = guarded.asked.lock().unwrap().clone();
        let asked: Vec<(&str, bool)> = asked.iter().map(|(method, is_known)| (method.as_str(), *is_known)).collect();
        assert_eq!(asked, want, "{takes:?}");
        rig.stop(true).await;
        task.abort();
    }
}

/// What a server makes of `server/discover`, which those of the legacy era don't know.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Puzzled {
    /// It says nothing, for ever.
    Silent,
    /// It ends the connection.
    Closes,
}

/// A server of the legacy era that is puzzled so, and the methods that it was asked for.
async fn puzzled(how: Puzzled, asked: Arc<Mutex<Vec<String>>>, mut stream: TcpStream) -> Option<()> {
    let mut read = Vec::new();
    loop {
        let (_, body) = request(&mut stream, &mut read).await?;
        let body: Value = serde_json::from_slice(&body).ok()?;
        let method = body["method"].as_str()?.to_owned();
        asked.lock().unwrap().push(method.clone());
        if method != "initialize" {
            match how {
                Puzzled::Silent => std::future::pending().await,
                Puzzled::Closes => return None,
            }
        }
        let welcome =
            json!({"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {"name": "p", "version": "1"}});
        let answer = json!({"jsonrpc": "2.0", "id": body["id"], "result": welcome}).to_string();
        let length = answer.len();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all((head + &answer).as_bytes()).await.ok()?;
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_what_it_is_gets_initialize_once() {
    for (how, after) in [(Puzzled::Silent, 10), (Puzzled::Closes, 0)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = asked.clone();
        let task = tokio::spawn(async move {
            let mut each = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                each.spawn(puzzled(how, noted.clone(), stream));
            }
        });
        let minute = Duration::from_secs(60);
        let remote = RemoteSpec {
            url: url.parse().unwrap(),
            transport: RemoteTransport::Http,
            headers: Vec::new(),
            auth: AuthSpec::Headers,
            tls: TlsSpec::default(),
            connect_timeout: minute,
        };
        let sample = ServerSpec { start_timeout: minute, ..spec("", &[]) };
        let mut rig = Rig::new(ServerSpec { reach: Reach::Remote(Arc::new(remote)), ..sample });
        rig.patience = minute;
        let began = tokio::time::Instant::now();
        rig.until(|got| *got == Got::Up).await;
        rig.send(r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18"}}"#);
        let frame = rig.frame_with("\"id\":1").await;
        assert!(frame.contains(r#""result":{"#), "{how:?}: {frame}");
        let took = began.elapsed().as_secs();
        assert!((after..after + 5).contains(&took), "{how:?}: {took} s");
        assert_eq!(*asked.lock().unwrap(), ["server/discover", "initialize"], "{how:?}");
        rig.stop(true).await;
        task.abort();
    }
}
