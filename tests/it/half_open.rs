//! A path that drops packets: no FIN, no reset, not even an acknowledgement tells of it.
//!
//! The program and the endpoint get a network namespace each, joined by a pair of virtual interfaces, so nothing of the
//! machine's own network is touched, and nothing is left of it. That needs root and `ip` (Debian's iproute2); without,
//! the test is skipped, which is said.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;
use std::thread;

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};
use serde_json::json;

use crate::harness::{FakeEndpoint, Setup, field, one_server, skip, text_of};

/// Addresses for documentation (RFC 5737): nobody's.
const ENDPOINT: &str = "192.0.2.1";
const PROGRAM: &str = "192.0.2.2";

/// A network namespace; it ends with its last process, thread and descriptor.
struct Network(File);

impl Network {
    /// A new one, which the calling thread is in from now on; why not, where that isn't allowed.
    #[expect(unsafe_code, reason = "rustix leaves it to the caller that no other thread minds")]
    fn new() -> Result<Self, String> {
        // SAFETY: the network namespace is the thread's own; no descriptor or memory is shared less than before.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.map_err(|why| format!("no network namespace: {why}"))?;
        Ok(Network(File::open("/proc/thread-self/ns/net").unwrap()))
    }

    /// The calling thread, and what it starts, is in this one from now on.
    fn enter(&self) {
        move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    }

    /// Where another process can open it.
    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }
}

/// Runs `ip` in the thread's namespace.
fn ip(arguments: &str) -> Result<(), String> {
    let output = Command::new("ip").args(arguments.split(' ')).output().map_err(|why| format!("ip: {why}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("ip {arguments}: {said}")) }
}

/// Two networks, joined: the program's and the endpoint's. The calling thread is in the second.
fn join() -> Result<(Network, Network), String> {
    let program = Network::new()?;
    let endpoint = Network::new()?;
    ip(&format!("link add far type veth peer name near netns {}", program.path()))?;
    ip(&format!("address add {ENDPOINT}/30 dev far"))?;
    ip("link set far up")?;
    program.enter();
    ip(&format!("address add {PROGRAM}/30 dev near"))?;
    ip("link set near up")?;
    endpoint.enter();
    Ok((program, endpoint))
}

#[test]
fn a_path_that_drops_packets_is_noticed_and_dialled_until_it_is_back() {
    // On a thread of its own, which takes the namespaces along when it ends.
    let test = thread::spawn(|| {
        let (program, endpoint) = match join() {
            Ok(networks) => networks,
            Err(why) => return skip(&why),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(drop_packets(&program, &endpoint));
    });
    test.join().unwrap();
}

async fn drop_packets(program: &Network, network: &Network) {
    let endpoint = FakeEndpoint::on(ENDPOINT, "t0ken-of-a-test").await;
    let mut config = one_server(&endpoint, &[]);
    for key in ["pingInterval", "pingTimeout", "connectTimeout"] {
        config[key] = "1s".into();
    }
    program.enter();
    let daemon = Setup::new().config(&config).start("info");
    network.enter();
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    let pid = text_of(&conn.call(2, "pid", json!({})).await).to_owned();
    conn.send_call(3, "sleep", json!({"ms": 60_000})).await;
    // An answer to this says that the call is under way.
    conn.call(4, "echo", json!({"text": "sleeping"})).await;

    // From now on what leaves the endpoint's machine vanishes, acknowledgements too.
    ip(&format!("route add blackhole {PROGRAM}/32")).unwrap();
    let line = daemon.wait_for_event("CONNECTION_CLOSED").await.to_string();
    assert!(line.contains("not even the answer to a ping"), "{line}");
    assert!(line.contains("1 request was unanswered, the oldest (tools/call)"), "{line}");
    let line = daemon.wait_for_event("ERROR_CONNECT").await.to_string();
    assert!(line.contains("took longer than 1.0 s"), "{line}");
    assert_eq!(endpoint.accepted(), 1);

    ip(&format!("route delete blackhole {PROGRAM}/32")).unwrap();
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    assert_eq!(text_of(&conn.call(2, "pid", json!({})).await), pid, "the same process");
    let exits = daemon.log_lines().iter().filter(|line| field(line, "event") == Some("SERVER_EXITED")).count();
    assert_eq!(exits, 0);
    daemon.stop_closing([&mut conn]).await;
}
