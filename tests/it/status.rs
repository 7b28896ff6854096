//! `mcp-pipe status` against reality: what is broken for real is told as one cause, which is gone once it is mended.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::control::Runtime;
use crate::harness::{Conn, Daemon, FakeEndpoint, config, fixture, multiplex, one_server, skip, text_of, within};

/// What `status --json` says, which is as its schema says.
pub(crate) async fn told(runtime: &Runtime) -> (i32, Value) {
    let said = runtime.ask(&["status", "--json"]).await;
    let json: Value = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("no JSON: {said:?}"));
    let schema = serde_json::from_str(include_str!("../../docs/status.schema.json")).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<_> = schema.iter_errors(&json).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?} in {json:#}");
    (said.code, json)
}

/// The codes of all causes that are told.
fn codes(json: &Value) -> Vec<&str> {
    json["causes"].as_array().unwrap().iter().map(|cause| cause["code"].as_str().unwrap()).collect()
}

/// Waits until this is the only cause that is told, and exit code 1 with it.
async fn broken(runtime: &Runtime, code: &str) -> Value {
    let told = async {
        loop {
            let (exit, json) = told(runtime).await;
            assert!(codes(&json).len() <= 1, "one fault is one cause: {json:#}");
            if codes(&json) == [code] {
                assert_eq!((exit, &json["well"]), (1, &json!(false)), "{json:#}");
                return json;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(code, told).await
}

/// Nothing is wrong, and all serves: told now, without waiting for that.
async fn mended(runtime: &Runtime) {
    let (exit, json) = told(runtime).await;
    assert!(exit == 0 && codes(&json).is_empty(), "{json:#}");
}

/// All serves soon, by itself.
async fn mends(runtime: &Runtime) {
    let said = runtime.ask(&["status", "--wait=20s"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    mended(runtime).await;
}

/// A server that does this as long as the file `broken` is in its folder.
fn breakable(endpoint: &FakeEndpoint, does: &str, start_timeout: &str) -> Value {
    let script = format!("[ -e broken ] && {does}; exec '{}'", fixture().display());
    let entry = json!({"command": "sh", "args": ["-c", script], "endpoint": endpoint.url()});
    let mut config = config([("x", entry)]);
    config["startTimeout"] = start_timeout.into();
    config
}

async fn started(does: &str, start_timeout: &str) -> (Runtime, FakeEndpoint, Daemon) {
    let (runtime, endpoint) = (Runtime::new(), FakeEndpoint::bind().await);
    let setup = runtime.setup().config(&breakable(&endpoint, does, start_timeout)).file("broken", "");
    let daemon = setup.start("info");
    runtime.until_one_listens(&daemon).await;
    (runtime, endpoint, daemon)
}

async fn connected(endpoint: &FakeEndpoint) -> Conn {
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    conn
}

fn mend(daemon: &Daemon) {
    fs::remove_file(daemon.path().join("broken")).unwrap();
}

#[tokio::test]
async fn a_dead_server_is_told_until_it_is_back() {
    let (runtime, endpoint, daemon) = started("exec sleep 1000", "1m").await;
    mend(&daemon);
    let restarted = runtime.ask(&["restart", "x"]).await;
    assert_eq!(restarted.code, 0, "{restarted:?}");
    let mut conn = connected(&endpoint).await;
    mended(&runtime).await;
    fs::write(daemon.path().join("broken"), "").unwrap();
    let pid: i32 = text_of(&conn.call(5, "pid", json!({})).await).parse().unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    let json = broken(&runtime, "server-exited").await;
    let server = &json["servers"][0];
    assert!(server["why"].as_str().unwrap().contains("SIGKILL"), "{json:#}");
    assert_eq!((&json["endpoints"][0]["state"], &server["calls"]["answered"]), (&json!("connected"), &json!(1)));
    mend(&daemon);
    assert_eq!(runtime.ask(&["restart", "x"]).await.code, 0);
    mended(&runtime).await;
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn a_server_that_hangs_at_its_start_is_the_cause_and_not_its_endpoint() {
    let (runtime, endpoint, daemon) = started("{ echo loading the model >&2; exec sleep 1000; }", "1s").await;
    let json = broken(&runtime, "server-not-ready").await;
    assert_eq!((&json["servers"][0]["state"], &json["causes"][0]["server"]), (&json!("starting"), &json!("x")));
    assert!(json["servers"][0]["process"]["memoryBytes"].as_u64() > Some(0), "{json:#}");
    let long = async {
        loop {
            let said = runtime.ask(&["status", "x"]).await;
            if said.out.contains(": it last wrote \"loading the model\"") {
                return;
            }
        }
    };
    within("the last line of its stderr", long).await;
    mend(&daemon);
    let (restarted, mut conn) = tokio::join!(runtime.ask(&["restart", "x"]), connected(&endpoint));
    assert_eq!(restarted.code, 0, "{restarted:?}");
    mended(&runtime).await;
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn a_crash_loop_is_one_cause_with_the_number_of_restarts_and_mends_by_itself() {
    let (runtime, endpoint, daemon) = started("exit 3", "1m").await;
    let json = broken(&runtime, "server-crash-loop").await;
    let (server, link) = (&json["servers"][0], &json["endpoints"][0]);
    assert!(
        server["restarts"].as_u64() >= Some(2) && server["words"].as_str().unwrap().contains("crash loop"),
        "{json:#}"
    );
    assert_eq!((&link["state"], &link["becauseOf"]), (&json!("waiting"), &json!(["x"])), "{json:#}");
    let late = runtime.ask(&["status", "--wait=200ms"]).await;
    assert!(late.code == 1 && late.err.contains("not all serves after 0.2 s: x"), "{late:?}");
    mend(&daemon);
    let ((), mut conn) = tokio::join!(mends(&runtime), connected(&endpoint));
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn a_program_that_is_missing_is_told_until_it_is_there() {
    let (runtime, endpoint) = (Runtime::new(), FakeEndpoint::bind().await);
    let mut config = one_server(&endpoint, &[]);
    config["mcpServers"]["x"]["command"] = "./server".into();
    let daemon = runtime.setup().config(&config).start("info");
    runtime.until_one_listens(&daemon).await;
    let json = broken(&runtime, "command-not-found").await;
    assert!(json["servers"][0]["nextAttemptSeconds"].is_number() || json["servers"][0]["restarts"] != 0, "{json:#}");
    symlink(fixture(), daemon.path().join("server")).unwrap();
    let (restarted, mut conn) = tokio::join!(runtime.ask(&["restart", "x"]), connected(&endpoint));
    assert_eq!(restarted.code, 0, "{restarted:?}");
    mended(&runtime).await;
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn an_endpoint_where_nobody_listens_is_told_until_somebody_does() {
    let (runtime, address) = (Runtime::new(), free_address());
    let mut config = config([("x", crate::harness::fixture_entry(&[]))]);
    config["endpoint"] = format!("ws://{address}/mcp/?token=t0ken").into();
    let daemon = runtime.setup().config(&config).start("info");
    runtime.until_one_listens(&daemon).await;
    let json = broken(&runtime, "endpoint-refused").await;
    let link = &json["endpoints"][0];
    assert_eq!((&link["state"], &link["name"]), (&json!("down"), &json!(format!("ws://{address}/mcp/?token=…"))));
    assert_eq!(json["servers"][0]["state"], "serving");
    let endpoint = FakeEndpoint::at(address, "t0ken").await;
    let ((), mut conn) = tokio::join!(mends(&runtime), connected(&endpoint));
    daemon.stop_closing([&mut conn]).await;
}

fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_token_that_is_rejected_and_a_4004_are_told_until_the_next_connection() {
    let (runtime, endpoint) = (Runtime::new(), FakeEndpoint::bind().await);
    let daemon = runtime.setup().config(&one_server(&endpoint, &[])).start("info");
    endpoint.refuse(401).await;
    let json = broken(&runtime, "endpoint-unauthorized").await;
    assert!(json["causes"][0]["message"].as_str().unwrap().contains("401"), "{json:#}");
    let conn = connected(&endpoint).await;
    mends(&runtime).await;
    conn.close(4004).await;
    let json = broken(&runtime, "endpoint-4004").await;
    assert!(json["endpoints"][0]["lastClose"]["why"].as_str().unwrap().contains("4004"), "{json:#}");
    assert!(!json.to_string().contains("t0ken-of-a-test"), "{json:#}");
    let mut conn = connected(&endpoint).await;
    mends(&runtime).await;
    assert_eq!(told(&runtime).await.1["endpoints"][0]["connections"], 2);
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn a_half_open_connection_is_told_until_the_next_one() {
    let (runtime, endpoint) = (Runtime::new(), FakeEndpoint::bind().await);
    let mut config = one_server(&endpoint, &[]);
    (config["pingInterval"], config["pingTimeout"]) = ("1s".into(), "1s".into());
    let daemon = runtime.setup().config(&config).start("info");
    // Nobody reads it from now on, so nothing is answered.
    let mute = connected(&endpoint).await;
    let json = broken(&runtime, "endpoint-half-open").await;
    assert_eq!(json["servers"][0]["state"], "serving");
    let mut conn = connected(&endpoint).await;
    // This one is read, and so its pings are answered.
    let (asked, _) = tokio::join!(runtime.ask(&["status", "--wait=20s"]), conn.call(5, "echo", json!({"text": "hi"})));
    assert_eq!(asked.code, 0, "{asked:?}");
    drop(mute);
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn a_config_that_was_changed_to_a_bad_one_is_told_until_it_is_mended() {
    let (runtime, endpoint) = (Runtime::new(), FakeEndpoint::bind().await);
    let config = one_server(&endpoint, &[]);
    let daemon = runtime.setup().config(&config).start("info");
    let mut conn = connected(&endpoint).await;
    let file = daemon.path().join("mcp_config.json");
    let mut bad = config.clone();
    bad["mcpServers"]["x"]["command"] = json!(7);
    fs::write(&file, bad.to_string()).unwrap();
    assert_eq!(runtime.ask(&["reload"]).await.code, 78);
    let json = broken(&runtime, "config-mistake").await;
    assert_eq!((&json["causes"][0]["mistake"], &json["servers"][0]["well"]), (&json!("wrong-type"), &json!(true)));
    assert!(json["causes"][0]["message"].as_str().unwrap().contains("mcpServers.x.command"), "{json:#}");
    fs::write(&file, config.to_string()).unwrap();
    assert_eq!(runtime.ask(&["reload"]).await.code, 0);
    mended(&runtime).await;
    daemon.stop_closing([&mut conn]).await;
}

/// A server on a connection of the kind for which something is remembered.
async fn remembering(runtime: &Runtime, endpoint: &FakeEndpoint, cache: &str) -> (Daemon, Conn) {
    let config = multiplex(endpoint, [("x", crate::harness::fixture_entry(&[]))]);
    let daemon = runtime.setup().config(&config).env("MCP_CACHE_DIR", cache).start("info");
    let conn = connected(endpoint).await;
    (daemon, conn)
}

/// Waits until this warning, or none, is told. Everything is well all the while: the connection is read, so its pings are answered.
async fn warned(runtime: &Runtime, code: &[&str]) {
    let told = async {
        loop {
            let (exit, json) = told(runtime).await;
            assert_eq!(exit, 0, "{json:#}");
            if codes(&json) == code {
                assert!(json["causes"].as_array().unwrap().iter().all(|cause| cause["severity"] == "warning"));
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("what is told of the cache", told).await;
}

#[tokio::test]
async fn a_cache_that_cannot_be_written_is_a_warning_until_it_can() {
    let (runtime, endpoint, place) = (Runtime::new(), FakeEndpoint::bind().await, tempfile::tempdir().unwrap());
    let cache = place.path().join("cache");
    fs::write(&cache, "a file").unwrap();
    let (daemon, mut conn) = remembering(&runtime, &endpoint, cache.to_str().unwrap()).await;
    warned(&runtime, &["cache-unwritable"]).await;
    fs::remove_file(&cache).unwrap();
    tokio::select! {
        () = warned(&runtime, &[]) => {}
        frame = conn.expect_frame() => panic!("nothing is said meanwhile: {frame}"),
    }
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn a_full_disk_is_a_warning_until_there_is_room() {
    let (runtime, endpoint) = (Runtime::new(), FakeEndpoint::bind().await);
    let Some(disk) = SmallDisk::mount() else { return skip("a full disk: nothing can be mounted here") };
    let at = disk.path();
    // The cache is made, and then there is no room for anything in it.
    let cache = at.join("cache");
    fs::create_dir(&cache).unwrap();
    let filler = at.join("filler");
    let _full = fs::write(&filler, vec![0; 1 << 20]).unwrap_err();
    let (daemon, mut conn) = remembering(&runtime, &endpoint, cache.to_str().unwrap()).await;
    warned(&runtime, &["disk-full"]).await;
    fs::remove_file(&filler).unwrap();
    tokio::select! {
        () = warned(&runtime, &[]) => {}
        frame = conn.expect_frame() => panic!("nothing is said meanwhile: {frame}"),
    }
    daemon.stop_closing([&mut conn]).await;
}

/// A disk with next to no room, as long as this lives. To mount one, one has to be root.
pub(crate) struct SmallDisk(TempDir);

impl SmallDisk {
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn mount() -> Option<Self> {
        let at = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", "size=64k", "none"]).arg(at.path()).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(SmallDisk(at))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _left = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn without_a_daemon_it_ends_at_once_and_with_wait_it_waits_for_one() {
    let runtime = Runtime::new();
    let asked = Instant::now();
    assert_eq!(runtime.ask(&["status"]).await.code, 3);
    crate::harness::report(&format!("no daemon was told after {:?}", asked.elapsed()));
    let late = runtime.ask(&["status", "--wait=300ms"]).await;
    assert_eq!(late.code, 3, "{late:?}");
    let late = runtime.ask(&["status", "--wait=2500ms"]).await;
    assert!(late.err.starts_with("mcp-pipe: waiting for a mcp-pipe to come up: 2 of 2 s at most\n"), "{late:?}");
    assert!(late.code == 3 && late.err.contains("no mcp-pipe of this user runs here"), "{late:?}");
    let coming = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        runtime.local("x", "info").await
    };
    let (said, daemon) = tokio::join!(runtime.ask(&["status", "--wait"]), coming);
    assert!(said.code == 0 && said.out.starts_with("x: serving for "), "{said:?}");
    let unknown = runtime.ask(&["status", "y", "--wait"]).await;
    assert_eq!(unknown.code, 2, "{unknown:?}");
    let both = runtime.ask(&["status", "--wait", "--watch"]).await;
    assert_eq!(both.code, 2, "{both:?}");
    daemon.stop().await;
}

#[tokio::test]
async fn who_watches_is_told_what_changes_and_an_idle_daemon_does_nothing_for_it() {
    use tokio::io::{AsyncBufReadExt as _, BufReader};
    let (runtime, endpoint) = (Runtime::new(), FakeEndpoint::bind().await);
    let daemon = runtime.setup().config(&one_server(&endpoint, &[])).start("info");
    let mut conn = connected(&endpoint).await;
    let mut watching = runtime.setup().args(["status", "--watch"]).watched();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut line = async || within("a line", lines.next_line()).await.unwrap().unwrap();
    assert!(line().await.starts_with("x: serving for "));
    assert!(line().await.starts_with("endpoint ws://127.0.0.1:"));
    let ticks = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", daemon.pid().as_raw_nonzero())).unwrap();
        let fields: Vec<u64> =
            stat.rsplit(')').next().unwrap().split_whitespace().filter_map(|n| n.parse().ok()).collect();
        fields[10] + fields[11]
    };
    let before = ticks();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(ticks() - before <= 1, "{} ticks", ticks() - before);
    assert_eq!(runtime.ask(&["stop", "x"]).await.code, 0);
    let stopped = async { while !line().await.starts_with("x: stopped by command") {} };
    within("the stop", stopped).await;
    let file = daemon.path().join("mcp_config.json");
    let config = one_server(&endpoint, &[]);
    let (mut bad, mut other) = (config.clone(), config.clone());
    bad["mcpServers"]["x"]["command"] = json!(7);
    let entry = other["mcpServers"].as_object_mut().unwrap().remove("x");
    other["mcpServers"]["y"] = entry.unwrap();
    for (text, code, want) in [
        (&bad, 78, "error config-mistake: mcp_config.json"),
        (&config, 0, "no more: error config-mistake: mcp_config.json"),
        (&other, 0, "x: is gone"),
    ] {
        fs::write(&file, text.to_string()).unwrap();
        let told = async { while !line().await.starts_with(want) {} };
        // Another server on the endpoint has a connection of its own there.
        let dialled = async {
            if text == &other {
                conn = endpoint.accept().await;
            }
        };
        let (asked, (), ()) = tokio::join!(runtime.ask(&["reload"]), within(want, told), dialled);
        assert_eq!(asked.code, code, "{asked:?}");
    }
    daemon.stop_closing([&mut conn]).await;
    within("the end", watching.wait()).await.unwrap();
}
