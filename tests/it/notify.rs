//! What systemd is told, by a stand-in for its socket: that a run is ready, reads its config again and stops, and that its loop goes round;
//! and what of that reaches the servers, which is nothing.

use std::fs;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::control::Runtime;
use crate::gateway::url;
use crate::harness::{Daemon, FakeEndpoint, McpHttp, config, fixture, fixture_entry, text_of, within};

/// A stand-in for systemd's socket. What it is told is read as it comes.
struct Systemd {
    name: String,
    told: Arc<Mutex<Vec<String>>>,
    count: watch::Receiver<usize>,
    _dir: TempDir,
}

impl Systemd {
    /// At a socket with a file.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        Self::read(UnixDatagram::bind(&path).unwrap(), path.to_str().unwrap().to_owned(), dir)
    }

    /// At one without.
    fn without_file() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let name = format!("mcp-pipe-test{}", dir.path().to_str().unwrap());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        Self::read(socket, format!("@{name}"), dir)
    }

    fn read(socket: UnixDatagram, name: String, dir: TempDir) -> Self {
        let (told, (add, count)) = (Arc::new(Mutex::new(Vec::new())), watch::channel(0));
        let all = told.clone();
        thread::spawn(move || {
            let mut text = [0; 4096];
            while let Ok(length) = socket.recv(&mut text) {
                all.lock().unwrap().push(String::from_utf8(text[..length].to_vec()).unwrap());
                if add.send(all.lock().unwrap().len()).is_err() {
                    return;
                }
            }
        });
        Systemd { name, told, count, _dir: dir }
    }

    /// All that it was told, but for requests for time.
    fn all(&self) -> Vec<String> {
        let is_other = |text: &&String| !text.starts_with("EXTEND_TIMEOUT_USEC=");
        self.told.lock().unwrap().iter().filter(is_other).cloned().collect()
    }

    /// What it was told but how the run stands, each without its value.
    fn steps(&self) -> Vec<String> {
        let steps = self.all().into_iter().filter(|text| !text.starts_with("STATUS="));
        steps.map(|text| text.split_once("_USEC=").map_or(text.clone(), |(step, _)| step.to_owned())).collect()
    }

    /// How often it was fed.
    fn fed(&self) -> usize {
        self.all().iter().filter(|text| *text == "WATCHDOG=1").count()
    }

    /// Waits until this holds.
    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let mut count = self.count.clone();
        let waiting = async {
            while !holds(self) {
                count.changed().await.unwrap();
            }
        };
        within(&format!("systemd to be told {what}"), waiting).await;
    }

    async fn told(&self, text: &str) {
        self.until(text, |systemd| systemd.all().iter().any(|told| told == text)).await;
    }
}

/// The clock of `MONOTONIC_USEC`.
fn micros() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1000
}

/// A server that starts when the file `go` is in its folder.
fn held() -> Value {
    let script = format!("until [ -e go ]; do sleep 0.02; done; exec '{}'", fixture().display());
    json!({"command": "sh", "args": ["-c", script]})
}

fn write(folder: &Path, config: &Value) {
    fs::write(folder.join("mcp_config.json"), config.to_string()).unwrap();
}

#[tokio::test]
async fn a_run_is_ready_once_each_server_has_served_or_failed_and_waits_for_no_endpoint() {
    let (runtime, systemd) = (Runtime::new(), Systemd::new());
    let gone = FakeEndpoint::bind().await.url();
    let mut all = config([("x", held()), ("y", json!({"command": "not-there-at-all"}))]);
    (all["endpoint"], all["gateway"]) = (gone.into(), json!({"listen": "127.0.0.1:0"}));
    let daemon = runtime.setup().env("NOTIFY_SOCKET", &systemd.name).config(&all).start("debug");
    daemon.wait_for_event("ERROR_SERVER_START").await;
    runtime.until_one_listens(&daemon).await;
    url(&daemon).await;
    systemd.told("STATUS=0 of 2 servers serving, 0 of 2 connections standing").await;
    assert!(systemd.steps().is_empty(), "x has neither served nor failed: {:?}", systemd.all());
    let asked_for_time = systemd.told.lock().unwrap().iter().any(|text| text == "EXTEND_TIMEOUT_USEC=30000000");
    assert!(asked_for_time, "a server may take longer to start than systemd waits");
    fs::write(daemon.path().join("go"), "").unwrap();
    systemd.told("READY=1").await;
    let line = "STATUS=1 of 2 servers serving, 0 of 2 connections standing";
    systemd.told(line).await;
    // A config that is read again, whatever comes of it.
    for (wrong, code) in [(false, 0), (true, 78)] {
        let before = micros();
        let mut other = all.clone();
        other["drainTimeout"] = if wrong { "soon".into() } else { "1s".into() };
        write(daemon.path(), &other);
        let said = runtime.ask(&["reload"]).await;
        assert_eq!(said.code, code, "{said:?}");
        let begun = systemd.all().into_iter().rfind(|text| text.starts_with("RELOADING=1\nMONOTONIC_USEC="));
        let at: i64 = begun.unwrap().rsplit_once('=').unwrap().1.parse().unwrap();
        assert!((before..=micros()).contains(&at));
    }
    systemd.told(&format!("{line}; the config was changed and has mistakes")).await;
    let ready = |n: usize| ["RELOADING=1\nMONOTONIC", "READY=1"].repeat(n);
    let steps = systemd.steps();
    // The file that has changed may have been noticed besides.
    assert!(steps.len() >= 5 && steps[0] == "READY=1" && steps[1..] == ready(steps.len() / 2), "{steps:?}");
    daemon.signal(Signal::TERM);
    systemd.told("STOPPING=1").await;
    daemon.stop_after_signal().await;
    assert_eq!(systemd.steps().last().unwrap(), "STOPPING=1");
    assert!(systemd.all().iter().all(|text| !text.contains("token")), "{:?}", systemd.all());
}

/// Every server and every program of ours that is none.
#[tokio::test]
async fn no_server_can_speak_in_our_name() {
    let (endpoint, systemd) = (FakeEndpoint::bind().await, Systemd::new());
    let ours = [
        ("NOTIFY_SOCKET", &*systemd.name),
        ("WATCHDOG_USEC", "60000000"),
        ("WATCHDOG_PID", "1"),
        ("LISTEN_PID", "1"),
        ("LISTEN_FDS", "1"),
        ("LISTEN_FDNAMES", "gateway"),
        ("CREDENTIALS_DIRECTORY", "/nowhere"),
        ("OTHER", "is inherited"),
    ];
    let mut setup = Runtime::new().setup().config(&crate::harness::one_server(&endpoint, &[]));
    for (name, value) in ours {
        setup = setup.env(name, value);
    }
    let daemon = setup.start("info");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    for (at, (name, value)) in (10..).zip(ours) {
        let has = text_of(&conn.call(at, "env", json!({"name": name})).await).to_owned();
        assert_eq!(has, if name == "OTHER" { value } else { "" }, "{name}");
    }
    systemd.told("READY=1").await;
    assert_eq!(systemd.fed(), 0, "the watchdog is of another process");
    daemon.stop_closing([&mut conn]).await;
}

/// A daemon with a gateway and one server, whose watchdog wants to be fed this often.
async fn watched(systemd: &Systemd, runtime: &Runtime, most: Duration) -> (Daemon, Value) {
    let mut all = config([("x", fixture_entry(&[]))]);
    all["gateway"] = json!({"listen": "127.0.0.1:0"});
    let setup = runtime.setup().config(&all).env("NOTIFY_SOCKET", &systemd.name);
    let daemon = setup.env("WATCHDOG_USEC", &most.as_micros().to_string()).start("info");
    systemd.told("READY=1").await;
    (daemon, all)
}

#[tokio::test]
async fn the_watchdog_is_fed_in_time_and_nobody_is_told_anything_by_a_daemon_that_is_frozen() {
    const MOST: Duration = Duration::from_millis(400);
    let (runtime, systemd) = (Runtime::new(), Systemd::without_file());
    let (daemon, mut all) = watched(&systemd, &runtime, MOST).await;
    let fed = systemd.fed();
    let begun = std::time::Instant::now();
    systemd.until("that the loop goes round", |systemd| systemd.fed() >= fed + 10).await;
    // Twice as often as it wants; with room for a busy machine.
    assert!(begun.elapsed() > 4 * MOST && begun.elapsed() < 10 * MOST, "{:?}", begun.elapsed());
    daemon.signal(Signal::STOP);
    all["drainTimeout"] = "1s".into();
    write(daemon.path(), &all);
    // What was told before is read by then.
    tokio::time::sleep(MOST / 4).await;
    let (told, begun) = (systemd.all(), micros());
    tokio::time::sleep(5 * MOST).await;
    assert_eq!(systemd.all(), told, "frozen");
    daemon.signal(Signal::CONT);
    systemd
        .until("that the config is read again", |systemd| systemd.steps().iter().any(|s| s.starts_with("RELOADING")))
        .await;
    let reloading = systemd.all().into_iter().find(|text| text.starts_with("RELOADING")).unwrap();
    assert!(reloading.rsplit_once('=').unwrap().1.parse::<i64>().unwrap() > begun + 4 * MOST.as_micros() as i64);
    let fed = told.iter().filter(|text| *text == "WATCHDOG=1").count();
    systemd.until("that it goes on", |systemd| systemd.fed() > fed + 2).await;
    daemon.stop().await;
}

#[tokio::test]
async fn calls_and_clients_do_not_keep_the_watchdog_from_being_fed_and_one_that_reads_nothing_holds_up_nobody() {
    // Its queue is full at once.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let unread = UnixDatagram::bind(&path).unwrap();
    let mut all = config([("x", fixture_entry(&[]))]);
    all["gateway"] = json!({"listen": "127.0.0.1:0"});
    let setup = Runtime::new().setup().config(&all).env("NOTIFY_SOCKET", path.to_str().unwrap());
    let daemon = setup.env("WATCHDOG_USEC", "2000").start("info");
    let mut client = McpHttp::at(&url(&daemon).await);
    client.begin().await;
    for _ in 0..200 {
        client.call("pid", json!({})).await;
    }
    let mut text = [0; 4096];
    let mut is_ready = false;
    unread.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    while !is_ready {
        let length = unread.recv(&mut text).unwrap();
        is_ready = text[..length] == *b"READY=1";
    }
    daemon.stop().await;
}

#[tokio::test]
async fn a_socket_that_is_none_is_told_and_the_run_goes_on() {
    let endpoint = FakeEndpoint::bind().await;
    let setup = Runtime::new().setup().config(&crate::harness::one_server(&endpoint, &[]));
    let daemon = setup.env("NOTIFY_SOCKET", "/nowhere/at/all").start("info");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    let said = daemon.wait_for_event("SYSTEMD").await.to_string();
    assert!(said.contains("NOTIFY_SOCKET names a socket at which nothing can be told"), "{said}");
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn the_gateway_takes_over_a_socket_that_is_there_before_it_and_after_it() {
    let runtime = Runtime::new();
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let mut all = config([("x", fixture_entry(&[]))]);
    all["gateway"] = json!({"listen": "127.0.0.1:1"});
    let start = |all: &Value| {
        let setup = runtime.setup_as(|setup| setup.activated(socket.try_clone().unwrap())).config(all);
        setup.start("info")
    };
    let daemon = start(&all);
    assert_eq!(url(&daemon).await, format!("http://{address}/mcp"));
    let mut client = McpHttp::at(&url(&daemon).await);
    client.begin().await;
    assert_eq!(client.call("env", json!({"name": "LISTEN_FDS"})).await, "");
    let told = format!("the gateway listens on {address}, as the socket of systemd does, and not on 127.0.0.1:1, as ");
    daemon.wait_for(&told, |line| line.to_string().contains(&told)).await;
    // Whatever the config says of the address, it stays there; also where the gateway goes and comes again.
    all["gateway"]["listen"] = "127.0.0.1:2".into();
    write(daemon.path(), &all);
    let said = runtime.done(&["reload"]).await;
    assert_eq!(said, "nothing changed\n");
    client.call("pid", json!({})).await;
    let gateway = all.as_object_mut().unwrap().remove("gateway").unwrap();
    let endpoint = FakeEndpoint::bind().await;
    all["endpoint"] = endpoint.url().into();
    write(daemon.path(), &all);
    let (_, mut conn) = tokio::join!(runtime.done(&["reload"]), endpoint.accept());
    all["gateway"] = gateway;
    write(daemon.path(), &all);
    runtime.done(&["reload"]).await;
    let mut again = McpHttp::at(&format!("http://{address}/mcp"));
    again.begin().await;
    daemon.stop_closing([&mut conn]).await;
    // Who dials while there is none waits for the next one.
    let mut waiting = McpHttp::at(&format!("http://{address}/mcp"));
    let waits = tokio::spawn(async move { waiting.begin().await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!waits.is_finished());
    let daemon = start(&all);
    assert_eq!(within("an answer", waits).await.unwrap()["result"]["protocolVersion"], "2025-11-25");
    daemon.stop().await;
}

#[tokio::test]
async fn a_socket_that_nobody_listens_on_or_that_is_none_or_that_lets_everybody_in_is_told() {
    let endpoint = FakeEndpoint::bind().await;
    let of = |socket: std::os::fd::OwnedFd| Runtime::new().setup_as(|setup| setup.activated(socket));
    let open = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = open.local_addr().unwrap();
    let daemon = of(open.into()).config(&crate::harness::one_server(&endpoint, &[])).start("info");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    let said = daemon.wait_for_event("SYSTEMD").await.to_string();
    assert!(said.contains(&format!("the socket {address}, and nobody listens there")), "{said}");
    daemon.stop_closing([&mut conn]).await;
    let mut all = config([("x", fixture_entry(&[]))]);
    all["gateway"] = json!({"listen": "127.0.0.1:0"});
    let dir = tempfile::tempdir().unwrap();
    let other = std::os::unix::net::UnixListener::bind(dir.path().join("s")).unwrap();
    let daemon = of(other.into()).config(&all).start("info");
    let said = daemon.wait_for_event("SYSTEMD").await.to_string();
    assert!(said.contains("descriptor 3, which is no TCP socket that listens"), "{said}");
    url(&daemon).await;
    daemon.stop().await;
    // The config is good for loopback, and the socket is not there.
    let wide = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let output = of(wide.into()).config(&all).output().await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(
        said.contains("by the socket of systemd, which other machines may reach, and the gateway asks for no key"),
        "{said}"
    );
}

#[tokio::test]
async fn a_credential_gives_the_endpoint_and_no_server_and_no_line_has_its_folder_or_a_secret_of_it() {
    let (runtime, endpoint) = (Runtime::new(), FakeEndpoint::with_token("s3cret-of-the-endpoint").await);
    let mut entry = fixture_entry(&[]);
    entry["env"] = json!({"KEY": "${api_key}"});
    let setup = runtime.setup().config(&config([("x", entry)]));
    let folder = setup.folder().join("credentials");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("mcp_endpoint"), format!("{}\n", endpoint.url())).unwrap();
    fs::write(folder.join("api_key"), "s3cret-of-the-server\n").unwrap();
    fs::write(folder.join("other_key"), "s3cret-of-nobody\n").unwrap();
    let daemon = setup.env("CREDENTIALS_DIRECTORY", folder.to_str().unwrap()).start("trace");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    for (at, (name, value)) in (10..).zip([
        ("KEY", "s3cret-of-the-server"),
        ("api_key", ""),
        ("API_KEY", ""),
        ("OTHER_KEY", ""),
        ("MCP_ENDPOINT", ""),
        ("CREDENTIALS_DIRECTORY", ""),
    ]) {
        assert_eq!(text_of(&conn.call(at, "env", json!({"name": name})).await), value, "{name}");
    }
    let told = "credentials that count as variables: api_key, mcp_endpoint, other_key";
    daemon.wait_for(told, |line| line.to_string().contains(told)).await;
    assert!(!daemon.log_text().contains("s3cret"), "{}", daemon.log_text());
    daemon.stop_closing([&mut conn]).await;
}
