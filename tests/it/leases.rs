//! Several daemons that share their endpoints by leases of a real etcd: whatever becomes of one, or of etcd, no agent is ever had by two,
//! and another daemon takes over in time.

mod etcd;
mod fleet;
mod ledger;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use self::etcd::Etcd;
use self::fleet::{Endpoint, daemon, shared, taken_over};
use crate::harness::text_of;

const HERE: &str = "127.0.0.1";

fn agents(n: usize) -> Vec<String> {
    (0..n).map(|n| format!("agent-{n:04}-of-a-test")).collect()
}

#[tokio::test]
async fn one_daemon_serves_an_agent_and_another_takes_over_when_it_is_gone() {
    let Some(etcd) = Etcd::start(HERE).await else { return };
    let endpoint = Endpoint::at(HERE).await;
    let agents = agents(1);
    let config = shared(&endpoint, &agents, &etcd.url(), 3);
    let first = daemon(&config, "first");
    taken_over(&endpoint, &agents, Instant::now() - Duration::from_secs(9)).await;
    let second = daemon(&config, "second");
    second.wait_for("it stands by", |line| line.to_string().contains("first has the lease of its agent")).await;
    let answer = endpoint.call(&agents[0], "echo", json!({"text": "hello"})).await.unwrap();
    assert_eq!(text_of(&answer), "hello");
    let killed = Instant::now();
    first.signal(Signal::KILL);
    let took = taken_over(&endpoint, &agents, killed).await;
    assert!(took < Duration::from_secs(8), "{took:?}");
    endpoint.assert_alone();
    assert!(endpoint.call(&agents[0], "echo", json!({"text": "again"})).await.is_some());
    drop(first);
    second.stop().await;
    let _unused: BTreeMap<(), ()> = BTreeMap::new();
}
