//! Whatever lies under the names that mcp-pipe reads and writes: nothing of somebody else's is lost, and nothing hangs.
#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;
use tempfile::TempDir;

use crate::harness::{Daemon, FakeEndpoint, Setup, config, fixture_entry, multiplex, names};

/// A folder that a person has other things in, with the cache in it.
fn work(setup: Setup, endpoint: &FakeEndpoint, dir: &Path) -> Setup {
    let mut config = multiplex(endpoint, [("one", fixture_entry(&[])), ("two", fixture_entry(&[]))]);
    config["cacheDir"] = dir.to_str().into();
    for server in ["one", "two"] {
        // In another directory, it would be another server.
        config["mcpServers"][server]["cwd"] = dir.to_str().into();
    }
    setup.config(&config)
}

/// Serves until what servers say is written, and stops.
async fn serve_and_stop(daemon: Daemon, endpoint: &FakeEndpoint) {
    let mut conn = endpoint.accept().await;
    let list = conn.handshake().await;
    assert!(names(&list).contains(&"one__echo"), "{list}");
    daemon.stop_closing([&mut conn]).await;
}

fn cache(dir: &Path) -> PathBuf {
    dir.join("mcp-pipe-cache")
}

/// The files about servers and agents in the cache.
fn remembered(dir: &Path) -> Vec<PathBuf> {
    let all = fs::read_dir(cache(dir)).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| !path.ends_with("CACHEDIR.TAG")).collect()
}

fn make_pipe(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

#[tokio::test]
async fn a_folder_with_other_things_in_it_can_hold_the_cache_and_loses_none_of_them() {
    let (dir, endpoint) = (TempDir::new().unwrap(), FakeEndpoint::bind().await);
    let hash = "0123456789abcdef0123456789abcdef";
    let theirs = ["server-key.pem", "agent-smith.md", &format!("server-{hash}.json"), &format!("agent-{hash}")];
    for name in theirs {
        let file = dir.path().join(name);
        fs::write(&file, name).unwrap();
        let hundred_days = Duration::from_hours(100 * 24);
        File::options().write(true).open(file).unwrap().set_modified(SystemTime::now() - hundred_days).unwrap();
    }
    serve_and_stop(work(Setup::new(), &endpoint, dir.path()).start("info"), &endpoint).await;
    assert!(remembered(dir.path()).len() >= 3, "two servers and a lock: {:?}", remembered(dir.path()));
    for name in theirs {
        assert_eq!(fs::read_to_string(dir.path().join(name)).unwrap(), name);
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), theirs.len() + 1, "nothing but its own folder is made");
}

#[tokio::test]
async fn pipes_and_links_with_the_names_of_cache_files_hold_up_nothing_and_are_not_followed() {
    let (dir, endpoint) = (TempDir::new().unwrap(), FakeEndpoint::bind().await);
    serve_and_stop(work(Setup::new(), &endpoint, dir.path()).start("info"), &endpoint).await;
    let (outside, dangling) = (dir.path().join("outside"), dir.path().join("dangling"));
    fs::write(&outside, "mine").unwrap();
    let kinds: [&dyn Fn(&Path); 3] =
        [&|path| make_pipe(path), &|path| symlink(&outside, path).unwrap(), &|path| symlink(&dangling, path).unwrap()];
    for make in kinds {
        for path in remembered(dir.path()) {
            fs::remove_file(&path).unwrap();
            make(&path);
        }
        serve_and_stop(work(Setup::new(), &endpoint, dir.path()).start("info"), &endpoint).await;
    }
    assert_eq!((fs::read_to_string(&outside).unwrap().as_str(), dangling.exists()), ("mine", false));
    // A link in the place of the folder itself leads nowhere either; it costs the memory and nothing else.
    let elsewhere = dir.path().join("elsewhere");
    fs::rename(cache(dir.path()), &elsewhere).unwrap();
    fs::remove_dir_all(&elsewhere).unwrap();
    fs::create_dir(&elsewhere).unwrap();
    symlink(&elsewhere, cache(dir.path())).unwrap();
    let daemon = work(Setup::new(), &endpoint, dir.path()).start("info");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    let said = daemon.wait_for_event("NOT_REMEMBERED").await;
    assert!(said["message"].as_str().unwrap().contains("a link is not followed"), "{said}");
    daemon.stop_closing([&mut conn]).await;
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
}

async fn refused(setup: Setup) -> String {
    let output = setup.output().await;
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{stderr}");
    stderr
}

#[tokio::test]
async fn a_config_without_an_end_is_refused_naming_the_limit() {
    let said = refused(Setup::new().args(["--local", "--config", "/dev/zero"])).await;
    assert!(said.contains("/dev/zero") && said.contains("larger than 4 MiB"), "{said}");
}

#[tokio::test]
async fn a_config_from_a_pipe_is_read_if_somebody_writes_to_it_and_not_waited_for_otherwise() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("config");
    make_pipe(&path);
    let named = || Setup::new().args(["--local", "--config", path.to_str().unwrap()]);
    let said = refused(named()).await;
    assert!(said.contains("nobody wrote to it within 5.0 s"), "{said}");
    let text = config([("x", fixture_entry(&[]))]).to_string();
    let to = path.clone();
    let writer = std::thread::spawn(move || fs::write(to, text).unwrap());
    let daemon = named().start("info");
    daemon.wait_for_event("TOOLS_READ").await;
    daemon.stop().await;
    writer.join().unwrap();
}

#[tokio::test]
async fn a_dotenv_that_is_a_pipe_is_read_or_ignored_with_a_warning() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("mcp_config.json"), config([("x", fixture_entry(&[]))]).to_string()).unwrap();
    let dotenv = dir.path().join(".env");
    make_pipe(&dotenv);
    let setup = || Setup::new().args(["--config", dir.path().join("mcp_config.json").to_str().unwrap()]);
    let said = refused(setup()).await;
    assert!(said.contains("it is no regular file, and nobody wrote to it"), "{said}");
    let endpoint = FakeEndpoint::bind().await;
    let text = format!("MCP_ENDPOINT={}\n", endpoint.url());
    let writer = std::thread::spawn(move || fs::write(dotenv, text).unwrap());
    let daemon = setup().start("info");
    let mut conn = endpoint.accept().await;
    daemon.wait_for_event("CONNECTION_OPENED").await;
    daemon.stop_closing([&mut conn]).await;
    writer.join().unwrap();
}

#[tokio::test]
async fn a_ca_file_that_is_a_pipe_is_said_to_be_none() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("ca.pem");
    make_pipe(&path);
    // Something has to listen, or it would not come to that.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = config([("x", fixture_entry(&[]))]);
    config["endpoint"] = format!("wss://{}/", listener.local_addr().unwrap()).into();
    config["caFile"] = json!(path);
    let daemon = Setup::new().config(&config).start("info");
    let said = daemon.wait_for_event("ERROR_CONNECT").await;
    assert!(said["message"].as_str().unwrap().contains("it is no regular file"), "{said}");
    daemon.stop().await;
}
