//! The program as a process: started with nothing but what a test gives it, its log read as it is written, and
//! nothing of it left when the test ends.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use std::{fs, thread};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::{Conn, Talk, within};

/// In the environment of the program and so of all that it starts: how leftovers are recognised.
const MARK: &str = "MCP_PIPE_TEST_RUN";

/// A user that may do nothing.
const NOBODY: u32 = 65534;

/// How the program is to be started.
pub(crate) struct Setup {
    dir: TempDir,
    mark: String,
    command: Command,
}

impl Setup {
    /// In an empty directory of its own, with nothing in its environment but `PATH`, `HOME` and where its files may be.
    pub(crate) fn new() -> Self {
        static RUNS: AtomicU32 = AtomicU32::new(0);
        let mark = format!("{}-{}", std::process::id(), RUNS.fetch_add(1, Ordering::Relaxed));
        let dir = TempDir::new().unwrap();
        let command = command(env!("CARGO_BIN_EXE_mcp-pipe").as_ref(), dir.path(), &mark);
        Setup { dir, mark, command }
    }

    /// Under a user that may do nothing, where the tests run as root; then to be called before the others. A copy of
    /// the program runs, as that user may not be let into the directory where it was built.
    pub(crate) fn unprivileged(mut self) -> Self {
        if rustix::process::geteuid().is_root() {
            let copy = self.dir.path().join("mcp-pipe");
            // By another process: what this one is writing can't be executed, and a test that forks meanwhile holds it open.
            let copied =
                std::process::Command::new("cp").args([env!("CARGO_BIN_EXE_mcp-pipe").as_ref(), &*copy]).status();
            assert!(copied.unwrap().success());
            std::os::unix::fs::chown(self.dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
            self.command = command(&copy, self.dir.path(), &self.mark);
            self.command.uid(NOBODY).gid(NOBODY);
        }
        self
    }

    /// With a limit, as prlimit(1) writes it; then to be called before the others, but after [`Setup::unprivileged`].
    pub(crate) fn limited(mut self, limit: &str) -> Self {
        let plain = self.command.as_std().get_program().to_owned();
        let is_root = rustix::process::geteuid().is_root();
        self.command = command("prlimit".as_ref(), self.dir.path(), &self.mark);
        if is_root && plain != env!("CARGO_BIN_EXE_mcp-pipe") {
            self.command.uid(NOBODY).gid(NOBODY);
        }
        self.command.arg(limit).arg(plain);
        self
    }

    /// In a session of its own, by setsid(1): without a terminal that controls it, or with this one. Then to be called before the others.
    pub(crate) fn in_session(mut self, terminal: Option<OwnedFd>) -> Self {
        let plain = self.command.as_std().get_program().to_owned();
        self.command = command("setsid".as_ref(), self.dir.path(), &self.mark);
        if let Some(terminal) = terminal {
            self.command.arg("--ctty").stdin(terminal);
        }
        self.command.arg(plain);
        self
    }

    /// With a socket that is open already, as systemd hands one over. Then to be called before the others.
    pub(crate) fn activated(mut self, socket: impl Into<OwnedFd>) -> Self {
        let plain = self.command.as_std().get_program().to_owned();
        self.command = command("sh".as_ref(), self.dir.path(), &self.mark);
        let script = r#"export LISTEN_PID=$$ LISTEN_FDS=1; exec "$0" "$@" 3<&0 </dev/null"#;
        self.command.args(["-c", script]).arg(plain).stdin(socket.into());
        self
    }

    /// With this `mcp_config.json` in its directory.
    pub(crate) fn config(self, config: &Value) -> Self {
        self.file("mcp_config.json", &config.to_string())
    }

    pub(crate) fn file(self, name: &str, text: &str) -> Self {
        fs::write(self.dir.path().join(name), text).unwrap();
        self
    }

    /// The directory that it is to run in.
    pub(crate) fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// With whatever else is to be made in its directory.
    pub(crate) fn prepared(self, prepare: impl FnOnce(&Path)) -> Self {
        prepare(self.dir.path());
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn args<'a>(mut self, args: impl IntoIterator<Item = &'a str>) -> Self {
        self.command.args(args);
        self
    }

    /// Starts it; it logs JSON at this level.
    pub(crate) fn start(self, level: &str) -> Daemon {
        self.args(["--log-format", "json", "--log-level", level]).begin()
    }

    /// Starts it; it logs in whatever form it was told to.
    pub(crate) fn start_logging(self, level: &str) -> Daemon {
        self.args(["--log-level", level]).begin()
    }

    /// Starts it with this as its stderr.
    pub(crate) fn start_at(mut self, stderr: OwnedFd) -> Daemon {
        let child = self.command.stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
        Daemon { child, mark: self.mark, log: Arc::default(), lines: watch::channel(0).1, dir: self.dir }
    }

    /// Starts it, waits for this in its log, and stops it: the whole log.
    pub(crate) async fn stop_after(self, text: &str) -> String {
        let mut daemon = self.begin();
        daemon.wait_for(text, |line| line.to_string().contains(text)).await;
        daemon.signal(Signal::TERM);
        let status = daemon.exit().await;
        assert!(status.success(), "{status}");
        daemon.log_text()
    }

    fn begin(mut self) -> Daemon {
        let mut child = self.command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr: OwnedFd = child.stderr.take().unwrap().into_owned_fd().unwrap();
        let (count, lines) = watch::channel(0);
        let log = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&log);
        thread::spawn(move || {
            for line in BufReader::new(fs::File::from(stderr)).lines().map_while(Result::ok) {
                written.lock().unwrap().push(line);
                count.send_modify(|count| *count += 1);
            }
        });
        Daemon { child, mark: self.mark, log, lines, dir: self.dir }
    }

    /// Starts it for somebody who reads its stdout; it ends with whoever does.
    pub(crate) fn watched(mut self) -> Child {
        self.command.stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap()
    }

    /// The command that starts it, and the directory that it needs, for whoever starts it himself.
    pub(crate) fn into_command(self) -> (Command, TempDir) {
        (self.command, self.dir)
    }

    /// Starts it for a client on its stdin and stdout.
    pub(crate) fn talk(mut self) -> Talk {
        let command = self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().unwrap();
        let (to, from) = (child.stdin.take(), tokio::io::BufReader::new(child.stdout.take().unwrap()));
        Talk { child, to, from, others: VecDeque::new(), mark: self.mark, _dir: self.dir }
    }

    /// Runs another program to its end, where and with what it would be started itself.
    pub(crate) async fn output_of(mut self, mut command: Command) -> Output {
        command.env_clear().current_dir(self.dir.path()).stdin(Stdio::null());
        for (name, value) in self.command.as_std().get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        self.command = command;
        self.output().await
    }

    /// Runs it to its end.
    pub(crate) async fn output(mut self) -> Output {
        let output = within("the program to end", self.command.kill_on_drop(true).output()).await.unwrap();
        let left = left_behind(&self.mark, Duration::from_secs(5));
        assert!(left.is_empty(), "left behind: {left:?}");
        output
    }
}

fn command(program: &Path, dir: &Path, mark: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().current_dir(dir).env("HOME", dir).env(MARK, mark);
    // Where its control socket is, and where others are looked for: none but the test's own are found.
    command.env("XDG_RUNTIME_DIR", dir).env("TMPDIR", dir);
    command.env("PATH", std::env::var_os("PATH").unwrap()).stdin(Stdio::null());
    command
}

/// The running program.
pub(crate) struct Daemon {
    child: Child,
    mark: String,
    log: Arc<Mutex<Vec<String>>>,
    lines: watch::Receiver<usize>,
    dir: TempDir,
}

impl Daemon {
    /// The log line of the first event of this name, as the fields that it carries.
    pub(crate) async fn wait_for_event(&self, event: &str) -> Value {
        self.wait_for(event, |line| field(line, "event") == Some(event)).await
    }

    /// The first log line for which this holds.
    pub(crate) async fn wait_for(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let mut lines = self.lines.clone();
        let search = async {
            loop {
                lines.mark_unchanged();
                if let Some(line) = self.log_lines().into_iter().find(&holds) {
                    return line;
                }
                if lines.changed().await.is_err() {
                    panic!("the program closed its log without: {what}");
                }
            }
        };
        within(&format!("this in the log: {what}"), search).await
    }

    /// The log so far, line by line; what is no JSON is a JSON string.
    pub(crate) fn log_lines(&self) -> Vec<Value> {
        let log = self.log.lock().unwrap();
        log.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|_| Value::from(line.as_str()))).collect()
    }

    /// The log so far, as it was written.
    pub(crate) fn log_text(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// Nobody reads the log while this is held.
    pub(crate) fn hold_log(&self) -> MutexGuard<'_, Vec<String>> {
        self.log.lock().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// The directory that it runs in.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().unwrap() as i32).unwrap()
    }

    /// The most memory that it had so far, in kB, where the system tells.
    pub(crate) fn peak_memory(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid().as_raw_nonzero())).unwrap_or_default();
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok())
    }

    pub(crate) async fn exit(&mut self) -> ExitStatus {
        within("the program to end", self.child.wait()).await.unwrap()
    }

    /// The first step of a stop, to its end, with success; where no connection is open.
    pub(crate) async fn stop(self) {
        self.stop_closing([]).await;
    }

    /// The same, where it has been told to.
    pub(crate) async fn stop_after_signal(mut self) {
        let status = self.exit().await;
        assert!(status.success(), "{status}");
    }

    /// The first step of a stop, to its end, with success; these connections are closed with 1000.
    pub(crate) async fn stop_closing<'a>(mut self, conns: impl IntoIterator<Item = &'a mut Conn>) {
        self.signal(Signal::TERM);
        for conn in conns {
            let close = conn.wait_for_close().await.expect("a close frame");
            assert_eq!(u16::from(close.code), 1000, "{close}");
        }
        let status = self.exit().await;
        assert!(status.success(), "{status}");
    }

    /// The processes that this run has started and that still run, itself included: pid → command line.
    pub(crate) fn processes(&self) -> BTreeMap<i32, String> {
        marked(&self.mark)
    }

    /// Asserts that all that it started ends within this time.
    pub(crate) fn assert_nothing_left_within(&self, time: Duration) {
        let left = left_behind(&self.mark, time);
        assert!(left.is_empty(), "left behind after {time:?}: {left:?}");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.child.id().is_some() {
            // Where the test stopped it, it is gone by now and this says so.
            let _ = kill_process(self.pid(), Signal::KILL);
        }
        let left = left_behind(&self.mark, Duration::from_secs(5));
        for pid in left.keys().filter_map(|pid| Pid::from_raw(*pid)) {
            let _ = kill_process(pid, Signal::KILL);
        }
        if thread::panicking() {
            #[expect(clippy::print_stderr, reason = "the log is what explains a failed test")]
            {
                eprintln!("--- the program's log ---\n{}\n--- end of the log ---", self.log_text());
            }
        } else {
            assert!(left.is_empty(), "left behind, and killed now: {left:?}\n{}", self.log_text());
        }
    }
}

/// A text field of a log line, wherever the format puts it: at the top, under `fields`, or in a span.
pub(crate) fn field<'a>(line: &'a Value, name: &str) -> Option<&'a str> {
    let places = [&line[name], &line["fields"][name], &line["span"][name]];
    places.into_iter().find_map(Value::as_str)
}

/// Asserts that nothing of a run is there for long.
pub(super) fn assert_nothing_left(mark: &str) {
    let left = left_behind(mark, Duration::from_secs(5));
    assert!(left.is_empty(), "left behind: {left:?}");
}

/// What of a run is still there after at most this time.
fn left_behind(mark: &str, time: Duration) -> BTreeMap<i32, String> {
    let end = Instant::now() + time;
    loop {
        let left = marked(mark);
        if left.is_empty() || Instant::now() >= end {
            return left;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// The running processes with this mark in their environment. Linux shows it; elsewhere nothing is found.
fn marked(mark: &str) -> BTreeMap<i32, String> {
    let mark = format!("{MARK}={mark}");
    let Ok(processes) = fs::read_dir("/proc") else { return BTreeMap::new() };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let marked = |pid: &i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    };
    let line = |pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        (pid, String::from_utf8_lossy(&line).replace('\0', " "))
    };
    pids.filter(marked).map(line).collect()
}
