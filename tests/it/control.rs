//! The control socket: who finds it, who may use it, and what hostile clients cost.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::harness::{Daemon, FakeEndpoint, Setup, config, field, fixture_entry, one_server, text_of, within};

/// A folder in which the daemons of a test have their sockets.
pub(crate) struct Runtime(TempDir);

impl Runtime {
    pub(crate) fn new() -> Self {
        Runtime(tempfile::tempdir().unwrap())
    }

    pub(crate) fn setup(&self) -> Setup {
        self.setup_as(|setup| setup)
    }

    /// The same, where the program is to be started by another one.
    pub(crate) fn setup_as(&self, how: impl FnOnce(Setup) -> Setup) -> Setup {
        how(Setup::new()).env("XDG_RUNTIME_DIR", self.0.path().to_str().unwrap())
    }

    fn folder(&self) -> PathBuf {
        self.0.path().join("mcp-pipe")
    }

    /// A place for what is remembered from one run to the next.
    pub(crate) fn cache(&self) -> String {
        self.0.path().join("cache").to_str().unwrap().to_owned()
    }

    pub(crate) fn sockets(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.folder()) else { return Vec::new() };
        let mut all: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        all.retain(|path| path.extension().is_some_and(|end| end == "sock"));
        all.sort();
        all
    }

    /// A server of this name on an endpoint of our own, ready.
    pub(crate) async fn local(&self, name: &str, level: &str) -> Daemon {
        let daemon = self.setup().config(&config([(name, fixture_entry(&[]))])).args(["--local"]).start(level);
        self.until_one_listens(&daemon).await;
        daemon.wait_for_event("ALL_UP").await;
        daemon
    }

    pub(crate) async fn until_one_listens(&self, daemon: &Daemon) {
        daemon.wait_for_event("STARTED").await;
        let listens = async {
            while self.sockets().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        within("a control socket", listens).await;
    }

    pub(crate) async fn ask(&self, args: &[&str]) -> Asked {
        Asked::of(self.setup().args(args.iter().copied()).output().await)
    }

    /// Has another config count, put in the place of the one that there is, as editors do. Returns what is told.
    pub(crate) async fn reload(&self, daemon: &Daemon, config: &Value) -> String {
        put_in_place(&daemon.path().join("mcp_config.json"), &config.to_string());
        let said = self.ask(&["reload"]).await;
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{said:?}");
        said.out
    }
}

/// Puts another file in the place of one, as editors do.
pub(crate) fn put_in_place(file: &Path, text: &str) {
    let new = file.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, file).unwrap();
}

/// Where daemons of one user have their configs and one state folder, one after the other.
pub(crate) struct Home {
    pub(crate) runtime: Runtime,
    pub(crate) dir: TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        Home { runtime: Runtime::new(), dir: TempDir::new().unwrap() }
    }

    /// A daemon with a config in a file of this name, once its servers are up.
    pub(crate) async fn start(&self, file: &str, config: &Value, level: &str) -> Daemon {
        let path = self.dir.path().join(file);
        fs::write(&path, config.to_string()).unwrap();
        let setup = self.runtime.setup().env("XDG_STATE_HOME", self.dir.path().to_str().unwrap());
        let daemon = setup.args(["--config", path.to_str().unwrap()]).start(level);
        daemon.wait_for_event("ALL_UP").await;
        daemon
    }

    /// The file in the state folder that is such.
    pub(crate) fn state(&self, is: impl Fn(&Path) -> bool) -> PathBuf {
        let all = fs::read_dir(self.dir.path().join("mcp-pipe/mcp-pipe-state")).unwrap();
        all.map(|entry| entry.unwrap().path()).find(|path| is(path)).unwrap()
    }
}

/// What came of a command.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Asked {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Asked { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }
}

fn pid(daemon: &Daemon) -> String {
    daemon.pid().as_raw_nonzero().to_string()
}

fn config_of(daemon: &Daemon) -> String {
    daemon.path().join("mcp_config.json").to_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_only_one_is_found_without_being_named_and_by_any_way_to_its_config() {
    let runtime = Runtime::new();
    let daemon = runtime.local("x", "info").await;
    let said = runtime.ask(&["status"]).await;
    assert!(
        said.code == 0 && said.out.starts_with("x: serving for ") && said.out.contains(", 9 tools; serves x\n"),
        "{said:?}"
    );
    assert_eq!(runtime.ask(&["health"]).await.out, "x: server ok, connected\n");
    let said: Value = serde_json::from_str(&runtime.ask(&["status", "x", "--json"]).await.out).unwrap();
    assert_eq!((&said["schema"], &said["well"]), (&json!(1), &json!(true)), "{said}");
    assert_eq!(said["daemon"]["pid"].to_string(), pid(&daemon));
    assert_eq!(said["daemon"]["config"], config_of(&daemon));
    let way = runtime.0.path().join("way.json");
    symlink(config_of(&daemon), &way).unwrap();
    for named in [config_of(&daemon), way.to_str().unwrap().to_owned()] {
        assert_eq!(runtime.ask(&["status", "--config", &named]).await.code, 0, "{named}");
        let by_variable = runtime.setup().env("MCP_CONFIG", &named).args(["status"]).output().await;
        assert_eq!(by_variable.status.code(), Some(0), "{named}");
    }
    let [socket] = &runtime.sockets()[..] else { panic!("there is one") };
    assert_eq!(socket.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(runtime.folder().metadata().unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(runtime.ask(&["status", "--control-socket", socket.to_str().unwrap()]).await.code, 0);
    let other = runtime.ask(&["status", "--config", "/nonexistent.json"]).await;
    assert!(other.code == 3 && other.err.contains("/nonexistent.json"), "{other:?}");
    let unknown = runtime.ask(&["status", "y"]).await;
    assert!(unknown.code == 2 && unknown.err.contains("no server or endpoint here is called \"y\""), "{unknown:?}");
    daemon.stop().await;
    assert!(runtime.sockets().is_empty(), "removed at the end");
    let none = runtime.ask(&["status"]).await;
    assert!(none.code == 3 && none.err.contains("no mcp-pipe of this user runs here"), "{none:?}");
    assert_eq!(runtime.ask(&["logs"]).await.code, 3);
    assert_eq!(runtime.ask(&["health"]).await.code, 1, "as ever");
}

#[tokio::test]
async fn one_that_does_not_serve_is_told_by_the_code_and_in_words() {
    let (runtime, endpoint) = (Runtime::new(), FakeEndpoint::bind().await);
    let daemon = runtime.setup().config(&one_server(&endpoint, &[])).start("info");
    endpoint.refuse(401).await;
    daemon.wait_for_event("ERROR_CONNECT").await;
    let said = runtime.ask(&["status"]).await;
    assert!(
        said.code == 1
            && said.out.contains(": not connected for ")
            && said.out.contains("error endpoint-unauthorized: "),
        "{said:?}"
    );
    assert!(said.out.contains("401"), "{said:?}");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    let connected = async { while runtime.ask(&["status"]).await.code != 0 {} };
    within("it to be well", connected).await;
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn an_endpoint_that_has_asked_for_nothing_is_told_without_being_a_failure() {
    let (runtime, endpoint) = (Runtime::new(), FakeEndpoint::bind().await);
    let daemon = runtime.setup().config(&one_server(&endpoint, &[])).start("info");
    let mut conn = endpoint.accept().await;
    daemon.wait_for_event("CONNECTION_OPENED").await;
    let said = runtime.ask(&["status"]).await;
    assert!(said.code == 0 && said.out.contains(", has asked for nothing yet; serves x\n"), "{said:?}");
    assert_eq!(runtime.ask(&["health"]).await.code, 0);
    conn.handshake().await;
    let said = runtime.ask(&["status"]).await;
    assert!(said.code == 0 && said.out.contains(", 9 tools; serves x\n"), "{said:?}");
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn several_are_listed_and_one_of_them_is_meant_by_its_config_or_socket() {
    let runtime = Runtime::new();
    let (one, other) = (runtime.local("one", "info").await, runtime.local("other", "info").await);
    for command in ["status", "logs"] {
        let said = runtime.ask(&[command]).await;
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{said:?}");
        for daemon in [&one, &other] {
            let line = said.err.lines().find(|line| line.contains(&config_of(daemon))).unwrap();
            assert!(line.contains(&format!("process {}", pid(daemon))) && line.contains("--control-socket "), "{line}");
            let socket = line.split_once("--control-socket ").unwrap().1;
            let named: Value =
                serde_json::from_str(&runtime.ask(&["status", "--json", "--control-socket", socket]).await.out)
                    .unwrap();
            assert_eq!(named["daemon"]["pid"].to_string(), pid(daemon));
        }
    }
    assert!(runtime.ask(&["status", "--config", &config_of(&other)]).await.out.starts_with("other: "));
    let unclear = runtime.ask(&["health"]).await;
    assert!(unclear.code == 1 && unclear.err.contains("several of them run"), "{unclear:?}");
    // A second one of the same config.
    let twin = runtime.setup().args(["--local", "--config", &config_of(&one)]).start("info");
    let said = twin.wait_for_event("CONTROL_SOCKET").await;
    assert_eq!(field(&said, "level"), Some("INFO"));
    let unclear = runtime.ask(&["status", "--config", &config_of(&one)]).await;
    assert!(unclear.code == 2 && unclear.err.contains(&pid(&one)) && unclear.err.contains(&pid(&twin)), "{unclear:?}");
    assert!(!unclear.err.contains(&pid(&other)));
    // What it says to do tells them apart.
    assert!(
        !unclear.err.contains("by its config") && unclear.err.contains("name it by its socket as above"),
        "{unclear:?}"
    );
    let all = runtime.ask(&["status"]).await;
    assert!(
        all.err.contains("name it by its socket as above; or that with")
            && all.err.contains(&format!("by its config, --config {}", config_of(&other))),
        "{all:?}"
    );
    one.stop().await;
    twin.wait_for_event("ALL_UP").await;
    assert_eq!(runtime.ask(&["status", "--config", &config_of(&other)]).await.code, 0);
    other.stop().await;
    assert_eq!(runtime.ask(&["status"]).await.code, 0, "the twin is the only one now");
    twin.stop().await;
}

#[tokio::test]
async fn a_socket_that_a_killed_one_left_is_nobodys_and_its_next_run_takes_it() {
    let runtime = Runtime::new();
    let path = tempfile::tempdir().unwrap();
    let file = path.path().join("mcp_config.json");
    fs::write(&file, config([("x", fixture_entry(&[]))]).to_string()).unwrap();
    let start = || runtime.setup().args(["--local", "--config", file.to_str().unwrap()]).start("info");
    for _ in 0..3 {
        let mut daemon = start();
        daemon.wait_for_event("ALL_UP").await;
        assert!(!daemon.log_text().contains("CONTROL_SOCKET"), "nobody else is there");
        assert_eq!(runtime.ask(&["status"]).await.code, 0);
        daemon.signal(Signal::KILL);
        daemon.exit().await;
        assert_eq!(runtime.sockets().len(), 1, "it stays, and another does not come");
        assert_eq!(runtime.ask(&["status"]).await.code, 3);
        assert_eq!(runtime.ask(&["status", "--control-socket", runtime.sockets()[0].to_str().unwrap()]).await.code, 3);
    }
    // What is stale is in nobody's way.
    let other = runtime.local("other", "info").await;
    assert!(runtime.ask(&["status"]).await.out.starts_with("other: "));
    other.stop().await;
}

#[tokio::test]
async fn a_folder_that_is_not_the_users_alone_is_refused_with_a_warning_and_the_rest_goes_on() {
    let foreign = |path: &Path| {
        fs::create_dir(path).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
        chown(path, Some(65534), None).unwrap();
    };
    let open = |path: &Path| {
        fs::create_dir(path).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    };
    let link = |path: &Path| symlink("/tmp", path).unwrap();
    let file = |path: &Path| fs::write(path, "mine").unwrap();
    type Trick<'a> = (&'a str, &'a dyn Fn(&Path));
    let mut tricks: Vec<Trick> =
        vec![("is a link or no folder", &link), ("is a link or no folder", &file), ("chmod 700", &open)];
    if rustix::process::geteuid().is_root() {
        tricks.push(("belongs to another user", &foreign));
    }
    for (why, make) in tricks {
        let runtime = Runtime::new();
        make(&runtime.folder());
        let setup = runtime.setup().config(&config([("x", fixture_entry(&[]))])).args(["--local"]);
        let daemon = setup.start("info");
        let said = daemon.wait_for_event("ERROR_CONTROL_SOCKET").await;
        assert_eq!(field(&said, "level"), Some("WARN"));
        assert!(field(&said, "message").unwrap().contains(why), "{said}");
        daemon.wait_for_event("ALL_UP").await;
        let asked = runtime.ask(&["status"]).await;
        assert!(asked.code == 3 && asked.err.contains(why), "{asked:?}");
        daemon.stop().await;
    }
}

#[tokio::test]
async fn a_socket_can_be_named_or_left_out_and_one_shots_have_none() {
    let runtime = Runtime::new();
    let named = runtime.0.path().join("named");
    let with = |socket: &str| {
        let setup = runtime.setup().config(&config([("x", fixture_entry(&[]))]));
        setup.args(["--local", "--control-socket", socket]).start("info")
    };
    let daemon = with(named.to_str().unwrap());
    daemon.wait_for_event("ALL_UP").await;
    assert!(runtime.sockets().is_empty());
    let by_variable = runtime.setup().env("MCP_CONTROL_SOCKET", named.to_str().unwrap()).args(["status"]);
    assert!(Asked::of(by_variable.output().await).out.starts_with("x: serving for "));
    let by_dotenv = runtime.setup().file(".env", &format!("MCP_CONTROL_SOCKET={}\n", named.display())).args(["logs"]);
    assert!(Asked::of(by_dotenv.output().await).out.contains("ALL_UP"));
    // It is another's, and what is no socket is not replaced.
    let second = with(named.to_str().unwrap());
    let said = second.wait_for_event("ERROR_CONTROL_SOCKET").await;
    assert!(field(&said, "message").unwrap().contains("another mcp-pipe answers"), "{said}");
    second.wait_for_event("ALL_UP").await;
    second.stop().await;
    daemon.stop().await;
    assert!(!named.exists());
    let daemon = with("none");
    daemon.wait_for_event("ALL_UP").await;
    assert!(!runtime.folder().exists());
    assert_eq!(runtime.ask(&["status"]).await.code, 3);
    let off = runtime.ask(&["status", "--control-socket", "none"]).await;
    assert!(off.code == 3 && off.err.contains("there is no socket"), "{off:?}");
    daemon.stop().await;
    for line in [&["tools"][..], &["call", "x", "echo", r#"{"text":"hi"}"#]] {
        let setup = runtime.setup().config(&config([("x", fixture_entry(&[]))])).args(line.iter().copied());
        assert!(setup.output().await.status.success());
        assert!(!runtime.folder().exists(), "{line:?}");
    }
}

#[tokio::test]
async fn an_older_status_socket_answers_beside_it() {
    let runtime = Runtime::new();
    let status = runtime.0.path().join("status");
    let setup = runtime.setup().config(&config([("x", fixture_entry(&[]))]));
    let daemon = setup.args(["--local", "--status-socket", status.to_str().unwrap()]).start("info");
    daemon.wait_for_event("ALL_UP").await;
    for args in [&["health"][..], &["health", "--status-socket", status.to_str().unwrap()]] {
        let said = runtime.ask(args).await;
        assert_eq!((said.code, said.out.as_str()), (0, "x: server ok, connected\n"), "{said:?}");
    }
    daemon.stop().await;
}

async fn connect(socket: &Path) -> UnixStream {
    loop {
        match UnixStream::connect(socket).await {
            Ok(stream) => return stream,
            // The queue is full: the daemon takes so many in a second.
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// What a client that sends this is told until the daemon closes the connection.
async fn told(socket: &Path, sent: &[u8]) -> String {
    let mut stream = connect(socket).await;
    // One that is sent away earlier can't send it all.
    let _cut = stream.write_all(sent).await;
    let mut text = Vec::new();
    let _reset = within("an answer", stream.read_to_end(&mut text)).await;
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn garbage_floods_and_silence_are_told_bounded_and_cost_the_others_nothing() {
    let (runtime, endpoint) = (Runtime::new(), FakeEndpoint::bind().await);
    let daemon = runtime.setup().config(&one_server(&endpoint, &[])).start("info");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    runtime.until_one_listens(&daemon).await;
    let socket = runtime.sockets().remove(0);
    for garbage in ["\n", "GET / HTTP/1.1\r\n\r\n", "[]\n", "{\"ask\":\"nothing\"}\n", "\u{0}\u{ff}\n"] {
        let said = told(&socket, garbage.as_bytes()).await;
        assert!(said.contains("does not understand the request") && said.lines().count() == 1, "{garbage:?}: {said}");
    }
    let said = told(&socket, &[b' '; 1 << 20]).await;
    assert!(said.is_empty() || said.contains("at most 64 KiB"), "{said}");
    // Nothing, and a drip: its time is over.
    let said = told(&socket, b"{\"ask\":").await;
    assert!(said.contains("no whole request came within 2.0 s"), "{said}");
    let mut drip = connect(&socket).await;
    let dripping = async {
        while drip.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within("a drip to be ended", dripping).await;
    // Far more than there is room for, of which none asks anything: whoever asks gets a place.
    let mut silent = Vec::new();
    for n in 0..60 {
        silent.push(connect(&socket).await);
        if n % 20 == 19 {
            assert!(runtime.ask(&["status"]).await.code < 2, "{n}");
            assert_eq!(text_of(&conn.call(n, "echo", json!({"text": "on"})).await), "on");
        }
    }
    drop(silent);
    // All places taken by some that ask and don't read: one more is told, and those that follow leave room for others.
    let mut following = Vec::new();
    for _ in 0..12 {
        let mut stream = connect(&socket).await;
        stream.write_all(b"{\"ask\":\"logs\",\"follow\":true}\n").await.unwrap();
        stream.readable().await.unwrap();
        following.push(stream);
    }
    let said = runtime.ask(&["logs", "-f"]).await;
    assert!(said.code == 1 && said.err.contains("12 clients follow this mcp-pipe already"), "{said:?}");
    assert!(runtime.ask(&["status"]).await.code < 2);
    drop(following);
    within("room again", async { while runtime.ask(&["logs", "-n", "1"]).await.code != 0 {} }).await;
    assert_eq!(text_of(&conn.call(100, "echo", json!({"text": "on"})).await), "on");
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn a_thousand_connections_leave_nothing_and_stop_no_call() {
    let (runtime, endpoint) = (Runtime::new(), FakeEndpoint::bind().await);
    let daemon = runtime.setup().config(&one_server(&endpoint, &[])).start("info");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    runtime.until_one_listens(&daemon).await;
    let socket = runtime.sockets().remove(0);
    let open = || fs::read_dir(format!("/proc/{}/fd", pid(&daemon))).map(Iterator::count).unwrap_or_default();
    let before = open();
    let flood = tokio::spawn({
        let socket = socket.clone();
        async move {
            for _ in 0..1000 {
                // Refused for want of room is what a flood may get.
                drop(UnixStream::connect(&socket).await);
            }
        }
    });
    for n in 0..50 {
        assert_eq!(text_of(&conn.call(n + 10, "echo", json!({"text": "on"})).await), "on");
    }
    flood.await.unwrap();
    assert!(runtime.ask(&["status"]).await.code < 2);
    let gone = async {
        while open() > before {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("their descriptors to be gone", gone).await;
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn one_that_hangs_is_told_from_one_that_is_not_there() {
    let runtime = Runtime::new();
    let daemon = runtime.local("x", "info").await;
    daemon.signal(Signal::STOP);
    let said = runtime.ask(&["status"]).await;
    daemon.signal(Signal::CONT);
    assert!(said.code == 1 && said.err.contains("has not answered within 5.0 s; it hangs"), "{said:?}");
    assert_eq!(runtime.ask(&["status"]).await.code, 0);
    daemon.stop().await;
}
