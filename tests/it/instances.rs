//! A server of which each endpoint has a process of its own: real processes, with a state of their own.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Map, Value, json};

use crate::control::Runtime;
use crate::harness::{Conn, Daemon, FakeEndpoint, field, fixture_entry, text_of, within};
use crate::status::told;

/// mcp-pipe with one server, and endpoints that all see it.
struct Running {
    runtime: Runtime,
    daemon: Daemon,
    config: Value,
    endpoints: Vec<FakeEndpoint>,
    conns: Vec<Conn>,
}

impl Running {
    async fn start(endpoints: &[&str], keys: Value) -> Self {
        let (runtime, mut all, mut written) = (Runtime::new(), Vec::new(), Map::new());
        for name in endpoints {
            let endpoint = FakeEndpoint::bind().await;
            written.insert((*name).to_owned(), json!({"url": endpoint.url()}));
            all.push(endpoint);
        }
        let mut entry = fixture_entry(&[]);
        entry["instances"] = "per-peer".into();
        entry.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        let config = json!({"endpoints": written, "mcpServers": {"x": entry}});
        let daemon = runtime.setup().config(&config).start("info");
        let mut conns = Vec::new();
        for endpoint in &all {
            let mut conn = endpoint.accept().await;
            conn.handshake().await;
            conns.push(conn);
        }
        Running { runtime, daemon, config, endpoints: all, conns }
    }

    /// The processes of the server that there are.
    fn processes(&self) -> BTreeSet<i32> {
        let all = self.daemon.processes().into_iter();
        all.filter(|(_, line)| line.contains("fixture")).map(|(pid, _)| pid).collect()
    }

    /// Waits until these are the processes of the server.
    async fn come_to(&self, pids: &[i32]) {
        let wanted: BTreeSet<i32> = pids.iter().copied().collect();
        let come = async {
            while self.processes() != wanted {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        within(&format!("no other processes than {wanted:?}"), come).await;
    }

    /// Which process serves an endpoint.
    async fn pid(&mut self, at: usize, id: u64) -> i32 {
        text_of(&self.conns[at].call(id, "pid", json!({})).await).parse().unwrap()
    }

    async fn reload(&mut self, change: impl FnOnce(&mut Value)) -> String {
        change(&mut self.config);
        self.runtime.reload(&self.daemon, &self.config).await
    }
}

#[tokio::test]
async fn each_endpoint_has_a_process_with_a_state_of_its_own_until_the_endpoint_or_the_server_goes() {
    let mut run = Running::start(&["kitchen", "office"], json!({"idle": "1h"})).await;
    assert_eq!(run.processes().len(), 1, "handshakes and lists need no further one");
    let (office, kitchen) = (run.pid(1, 10).await, run.pid(0, 10).await);
    assert_ne!(office, kitchen);
    run.come_to(&[office, kitchen]).await;
    // What one has made grow the other has not.
    run.conns[0].call(11, "grow", json!({"name": "own"})).await;
    assert_eq!(text_of(&run.conns[0].call(12, "own", json!({})).await), "own");
    assert!(run.conns[1].call(12, "own", json!({})).await["result"].is_null());
    // They are one server to a person.
    let (code, status) = told(&run.runtime).await;
    let server = &status["servers"][0];
    assert_eq!((code, status["servers"].as_array().unwrap().len()), (0, 1), "{status:#}");
    assert_eq!((&server["process"]["pid"], &server["further"][0]["pid"]), (&json!(office), &json!(kitchen)));
    let of = |process: &Value| process["memoryBytes"].as_u64();
    if let (Some(one), Some(other), Some(all)) = (of(&server["process"]), of(&server["further"][0]), of(server)) {
        assert_eq!(one + other, all);
    }
    assert!(server["calls"]["answered"].as_u64().unwrap() >= 5, "{server:#}");
    let said = run.runtime.ask(&["status", "x"]).await;
    assert!(
        said.out.contains(&format!("; 2 processes, one for each endpoint that uses it: {office}, {kitchen}")),
        "{said:?}"
    );
    let starts = run.daemon.log_lines();
    let starts = starts.iter().filter(|line| field(line, "event") == Some("SERVER_STARTED"));
    assert!(starts.clone().count() == 2 && starts.clone().all(|line| field(line, "server") == Some("x")));

    // A crash is that endpoint's alone.
    kill_process(Pid::from_raw(kitchen).unwrap(), Signal::KILL).unwrap();
    let is_told = |line: &Value| field(line, "event") == Some("SERVER_EXITED") && line["fields"]["pid"] == kitchen;
    run.daemon.wait_for("the end of that process", is_told).await;
    let again = run.pid(0, 13).await;
    assert!(again != kitchen && run.pid(1, 13).await == office);
    // A command means all of them.
    let said = run.runtime.ask(&["restart", "x"]).await;
    assert_eq!((said.code, &*said.out), (0, "x: restarted, serves again\n"), "{said:?}");
    let (first, second) = (run.pid(1, 14).await, run.pid(0, 14).await);
    assert!(BTreeSet::from([office, again]).is_disjoint(&BTreeSet::from([first, second])));
    run.come_to(&[first, second]).await;
    let said = run.runtime.ask(&["stop", "x"]).await;
    assert_eq!((said.code, &*said.out), (0, "x: stopped\n"), "{said:?}");
    assert!(run.processes().is_empty(), "told when all have ended");
    run.runtime.ask(&["start", "x"]).await;

    // An endpoint takes its process along; the other one's goes on.
    let (first, second) = (run.pid(1, 15).await, run.pid(0, 15).await);
    run.come_to(&[first, second]).await;
    run.reload(|config| drop(config["endpoints"].as_object_mut().unwrap().remove("kitchen"))).await;
    assert_eq!(run.conns[0].wait_for_close().await.map(|close| u16::from(close.code)), Some(1000));
    run.come_to(&[first]).await;
    assert_eq!(run.pid(1, 16).await, first);
    // One that had the first process leaves another one behind.
    run.endpoints.push(FakeEndpoint::bind().await);
    let url = run.endpoints[2].url();
    let new = run.endpoints.remove(2);
    let change = |config: &mut Value| config["endpoints"]["hall"] = json!({"url": url});
    let (_, mut hall) = tokio::join!(run.reload(change), new.accept());
    run.endpoints.push(new);
    hall.handshake().await;
    run.reload(|config| drop(config["endpoints"].as_object_mut().unwrap().remove("office"))).await;
    let of_hall: i32 = text_of(&hall.call(10, "pid", json!({})).await).parse().unwrap();
    assert_ne!(of_hall, first);
    run.come_to(&[of_hall]).await;
    run.daemon.stop_closing([&mut hall]).await;
}

#[tokio::test]
async fn processes_end_when_they_are_idle_or_with_their_server_and_there_are_not_more_than_may_be() {
    let mut run = Running::start(&["a", "b", "c"], json!({"idle": "1s", "maxInstances": 2})).await;
    let gate = run.daemon.path().join("gate");
    for at in 0..2 {
        run.conns[at].send_call(11, "sleep", json!({"ms": 0, "until": gate.to_str().unwrap()})).await;
    }
    // Both have their calls when each has answered another one; these keep them.
    let (of_a, of_b) = (run.pid(0, 12).await, run.pid(1, 12).await);
    let full = run.conns[2].call(11, "pid", json!({})).await;
    let said = full["error"]["message"].as_str().unwrap();
    assert!(said.contains("server \"x\"") && said.contains("2 clients") && said.contains("maxInstances"), "{said}");
    assert_eq!(run.processes(), BTreeSet::from([of_a, of_b]));
    fs::write(&gate, "").unwrap();
    for at in 0..2 {
        assert_eq!(text_of(&run.conns[at].answer_to(11).await), "slept 0 ms");
    }
    run.come_to(&[of_a]).await;
    let (_, status) = told(&run.runtime).await;
    assert!(status["servers"][0]["further"].is_null(), "{status:#}");
    // The next call has another one, and another config has none of it.
    let of_c = run.pid(2, 12).await;
    assert!(of_c != of_a && of_c != of_b);
    let said = run.reload(|config| drop(config["mcpServers"]["x"].as_object_mut().unwrap().remove("instances"))).await;
    assert!(said.starts_with("changed: x is shared otherwise"), "{said}");
    let shared = run.pid(2, 13).await;
    assert!(shared != of_c && shared != of_a, "what one client has used is not shared");
    assert_eq!(run.pid(0, 13).await, shared);
    run.come_to(&[shared]).await;
    run.reload(|config| config["mcpServers"]["x"]["instances"] = "per-peer".into()).await;
    let pids = [run.pid(0, 14).await, run.pid(1, 14).await];
    assert!(pids[0] != pids[1] && !pids.contains(&shared));
    let Running { daemon, mut conns, .. } = run;
    daemon.stop_closing(conns.iter_mut()).await;
}

#[tokio::test]
async fn the_longest_idle_endpoint_makes_room_and_its_process_serves_no_other_one() {
    let mut run = Running::start(&["a", "b", "c"], json!({"idle": "1h", "maxInstances": 2})).await;
    let mut seen = BTreeSet::new();
    // Each of them comes to the process that was used the longest ago: the first one, and the further one, by turns.
    for round in 0..4 {
        for at in 0..3 {
            let pid = run.pid(at, 10 + round).await;
            assert!(seen.insert(pid), "process {pid} serves a second endpoint");
            run.conns[at].call(20 + round, "grow", json!({"name": "own"})).await;
            assert_eq!(text_of(&run.conns[at].call(30 + round, "own", json!({})).await), "own");
            assert!(run.processes().len() <= 2, "{:?}", run.processes());
        }
    }
    assert_eq!(run.endpoints.iter().map(FakeEndpoint::accepted).sum::<usize>(), 3, "no connection was made anew");
    let said = run.runtime.ask(&["logs", "x", "-n", "1000"]).await;
    assert!(said.out.contains("is started anew: what it keeps of one client must not reach another"), "{said:?}");
    let Running { daemon, mut conns, .. } = run;
    daemon.stop_closing(conns.iter_mut()).await;
}
