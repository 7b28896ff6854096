//! Mode `auto`: a connection for each server, until an agent turns out to take only one. And two mcp-pipes on one agent.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::control::Runtime;
use crate::harness::{
    Agent, Daemon, FakeEndpoint, REPLACED, Seen, Setup, Takes, config, field, fixture_entry, one_server, text_of,
};

/// A token as the cloud's are: another one at each visit to its console, with the same claims.
fn token(issued: usize) -> String {
    let claims =
        json!({"userId": 7, "agentId": 42, "endpointId": "agent_42", "purpose": "mcp-endpoint", "iat": issued});
    format!("eyJhbGciOiJFUzI1NiJ9.{}.c2lnbmF0dXJl", URL_SAFE_NO_PAD.encode(claims.to_string()))
}

/// Servers of these names, each with another token of this agent.
fn servers(agent: &Agent, names: &[&str]) -> Value {
    config(names.iter().enumerate().map(|(n, name)| {
        let mut entry = fixture_entry(&[]);
        entry["endpoint"] = agent.url(&token(n)).into();
        (*name, entry)
    }))
}

fn start(config: &Value, cache: &Path) -> Daemon {
    Setup::new().config(config).env("MCP_CACHE_DIR", cache.to_str().unwrap()).start("info")
}

/// Whether this connection is everybody's.
fn is_merged(seen: &Seen, names: &[&str]) -> bool {
    let has = |name| seen.tools.as_ref().is_some_and(|tools| tools.contains(&format!("{name}__echo")));
    seen.open && names.iter().all(has)
}

async fn merged(agent: &Agent, names: &[&str]) -> Vec<Seen> {
    agent.wait_for("a connection with all tools", |seen| seen.iter().any(|seen| is_merged(seen, names))).await
}

fn says(daemon: &Daemon, event: &str) -> bool {
    daemon.log_text().contains(event)
}

#[tokio::test]
async fn an_agent_that_replaces_connections_gets_one_for_all_within_two_rounds_and_at_once_the_next_time() {
    for names in [&["a", "b"][..], &["a", "b", "c", "d"]] {
        let (agent, cache) = (Agent::bind("/mcp/", Takes::Newest).await, TempDir::new().unwrap());
        let config = servers(&agent, names);
        let daemon = start(&config, cache.path());
        let seen = merged(&agent, names).await;
        for (n, _) in names.iter().enumerate() {
            let dialled = seen.iter().filter(|seen| seen.token == token(n)).count();
            // The one for all is dialled with the token of the first.
            assert!(dialled <= 2 + usize::from(n == 0), "{dialled} connections for {}", names[n]);
        }
        assert_eq!(text_of(&agent.call("b__echo", json!({"text": "hi"})).await), "hi");
        let line = daemon.wait_for_event("SERVERS_MERGED").await.to_string();
        assert!(line.contains("closed") && line.contains("1000") && line.contains("per-server"), "{line}");
        daemon.stop().await;

        let before = agent.seen().len();
        let daemon = start(&config, cache.path());
        let seen = merged(&agent, names).await;
        assert_eq!(seen.len(), before + 1, "the first connection of this run is the one for all");
        let line = daemon.wait_for_event("SERVERS_MERGED").await.to_string();
        assert!(line.contains("an earlier run found") && line.contains("per-server"), "{line}");
        daemon.stop().await;
    }
}

#[tokio::test]
async fn connections_that_the_endpoint_has_forgotten_are_not_taken_for_served_ones() {
    for names in [&["a", "b"][..], &["a", "b", "c", "d", "e"]] {
        let (agent, cache) = (Agent::bind("/mcp/", Takes::Forgetful).await, TempDir::new().unwrap());
        let daemon = start(&servers(&agent, names), cache.path());
        merged(&agent, names).await;
        assert_eq!(agent.seen().iter().filter(|seen| seen.open).count(), 1);
        daemon.stop().await;
    }
}

#[tokio::test]
async fn an_agent_that_takes_many_has_a_connection_for_each() {
    let (agent, cache) = (Agent::bind("/mcp/", Takes::Many).await, TempDir::new().unwrap());
    let names = ["a", "b", "c"];
    let daemon = start(&servers(&agent, &names), cache.path());
    let served = |seen: &[Seen]| seen.iter().filter(|seen| seen.open && seen.tools.is_some()).count() == names.len();
    agent.wait_for("a connection with tools for each", served).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(served(&agent.seen()) && agent.seen().len() == names.len(), "{:?}", agent.seen());
    assert!(!says(&daemon, "SERVERS_MERGED"));
    daemon.stop().await;
}

#[tokio::test]
async fn an_agent_that_refuses_more_than_one_gets_one_for_all() {
    let (agent, cache) = (Agent::bind("/mcp/", Takes::Oldest).await, TempDir::new().unwrap());
    let names = ["a", "b", "c"];
    let daemon = start(&servers(&agent, &names), cache.path());
    let line = daemon.wait_for_event("SERVERS_MERGED").await.to_string();
    assert!(line.contains("4004"), "{line}");
    merged(&agent, &names).await;
    daemon.stop().await;
}

#[tokio::test]
async fn the_second_of_two_that_is_refused_shares_the_connection_of_the_first() {
    let (agent, cache) = (Agent::bind("/mcp/", Takes::Oldest).await, TempDir::new().unwrap());
    let names = ["a", "b"];
    let daemon = start(&servers(&agent, &names), cache.path());
    merged(&agent, &names).await;
    daemon.stop().await;
}

#[tokio::test]
async fn where_the_one_connection_is_refused_as_well_each_has_its_own_again() {
    let endpoint = FakeEndpoint::bind().await;
    let mut entry = fixture_entry(&[]);
    entry["endpoint"] = endpoint.url().into();
    let daemon = Setup::new().config(&config(["a", "b"].map(|name| (name, entry.clone())))).start("info");
    let parted = async {
        // It dislikes what one of them has, alone or among others.
        let mut stays = None;
        loop {
            let mut conn = endpoint.accept().await;
            let greeting = tokio::spawn(async move { (conn.handshake().await["result"]["tools"].to_string(), conn) });
            // It may come just when servers move, and panic.
            let Ok((tools, conn)) = greeting.await else { continue };
            if tools.contains("__") || stays.is_some() {
                conn.close(4004).await;
            } else {
                stays = Some(conn);
            }
        }
    };
    tokio::select! {
        () = parted => {}
        line = daemon.wait_for_event("SERVERS_PARTED") => assert!(line.to_string().contains("tools"), "{line}"),
    }
    daemon.stop().await;
}

#[tokio::test]
async fn a_refusal_during_a_stop_parts_no_servers() {
    let endpoint = FakeEndpoint::bind().await;
    let mut entry = fixture_entry(&[]);
    entry["endpoint"] = endpoint.url().into();
    let mut daemon = Setup::new().config(&config(["a", "b"].map(|name| (name, entry.clone())))).start("info");
    let (mut stays, mut refused) = (None, 0);
    let mut last = loop {
        let mut conn = endpoint.accept().await;
        let greeting = tokio::spawn(async move { (conn.handshake().await["result"]["tools"].to_string(), conn) });
        // It may come just when servers move, and panic.
        let Ok((tools, conn)) = greeting.await else { continue };
        let shared = tools.contains("__");
        refused += usize::from(shared);
        if refused == 3 {
            break conn;
        } else if shared || stays.is_some() {
            conn.close(4004).await;
        } else {
            stays = Some(conn);
        }
    };
    last.send_call(2, "a__sleep", json!({"ms": 60_000})).await;
    // Answered after that call was handed over: it is under way.
    last.call(3, "a__echo", json!({"text": "?"})).await;
    daemon.signal(rustix::process::Signal::TERM);
    // Once it refuses, the stop has begun.
    let mut id = 4;
    while last.call(id, "a__echo", json!({"text": "?"})).await.get("error").is_none() {
        id += 1;
    }
    last.close(4004).await;
    assert!(daemon.exit().await.success());
    assert!(!says(&daemon, "SERVERS_PARTED"), "{}", daemon.log_text());
}

#[tokio::test]
async fn the_self_hosted_endpoint_gets_one_connection_for_all_from_the_start() {
    let (agent, cache) = (Agent::bind("/mcp_endpoint/mcp/", Takes::Newest).await, TempDir::new().unwrap());
    let names = ["a", "b"];
    let daemon = start(&servers(&agent, &names), cache.path());
    assert_eq!(merged(&agent, &names).await.len(), 1);
    daemon.stop().await;
}

#[tokio::test]
async fn per_server_stays_per_server_and_is_told_what_would_help() {
    let (agent, cache) = (Agent::bind("/mcp/", Takes::Newest).await, TempDir::new().unwrap());
    let mut config = servers(&agent, &["a", "b"]);
    config["mode"] = "per-server".into();
    let daemon = start(&config, cache.path());
    let line = daemon.wait_for_event("CONNECTIONS_LIMITED").await.to_string();
    assert!(line.contains("multiplex"), "{line}");
    assert!(!says(&daemon, "SERVERS_MERGED"));
    daemon.stop().await;
}

#[tokio::test]
async fn connections_that_are_refused_before_anything_was_asked_are_explained_by_what_may_be_the_reason() {
    let endpoint = FakeEndpoint::bind().await;
    let mut entry = fixture_entry(&[]);
    entry["endpoint"] = endpoint.url().into();
    let daemon = Setup::new().config(&config(["a", "b"].map(|name| (name, entry.clone())))).start("info");
    let mut first = endpoint.accept().await;
    first.handshake().await;
    for _ in 0..2 {
        endpoint.accept().await.close(4004).await;
    }
    let line = daemon.wait_for("the hint", |line| line.to_string().contains("multiplex")).await.to_string();
    assert!(line.contains("CONNECTION_CLOSED") && !line.contains("too many tools"), "{line}");
    daemon.stop_closing([&mut first]).await;

    let claims = json!({"userId": 7, "agentId": 42, "exp": 1_000_000_000});
    let expired = format!("eyJhbGciOiJFUzI1NiJ9.{}.c2lnbmF0dXJl", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let endpoint = FakeEndpoint::with_token(&expired).await;
    let daemon = Setup::new().config(&one_server(&endpoint, &[])).start("info");
    endpoint.accept().await.close(4004).await;
    let line = daemon.wait_for_event("CONNECTION_CLOSED").await.to_string();
    assert!(line.contains("the token expired") && line.contains("copy a fresh endpoint URL"), "{line}");
    assert!(!daemon.log_text().contains(&expired));
    drop(daemon);
}

#[tokio::test]
async fn a_call_under_way_is_answered_before_servers_move_to_one_connection() {
    let endpoint = FakeEndpoint::bind().await;
    let mut entry = fixture_entry(&[]);
    entry["endpoint"] = endpoint.url().into();
    let daemon = Setup::new().config(&config(["a", "b", "c"].map(|name| (name, entry.clone())))).start("info");
    let mut stays = endpoint.accept().await;
    stays.handshake().await;
    let mut last = endpoint.accept().await;
    last.handshake().await;
    for _ in 0..3 {
        let mut refused = endpoint.accept().await;
        refused.handshake().await;
        std::mem::replace(&mut last, refused).close(4004).await;
    }
    // Nobody may be left that dials, as a dial that is given up counts as a connection here.
    let mut other = endpoint.accept().await;
    other.handshake().await;
    // By now nobody can take the closes for a restart.
    tokio::time::sleep(Duration::from_millis(5100)).await;
    stays.send_call(2, "sleep", json!({"ms": 2000})).await;
    // The tool runs, or else the call could be refused.
    stays.call(3, "echo", json!({"text": "after it"})).await;
    last.close(4004).await;
    daemon.wait_for_event("SERVERS_MERGED").await;
    assert!(stays.answer_to(2).await.get("result").is_some());
    for conn in [&mut stays, &mut other] {
        assert_eq!(u16::from(conn.wait_for_close().await.unwrap().code), 1000);
    }
    let mut all = endpoint.accept().await;
    all.handshake().await;
    daemon.stop_closing([&mut all]).await;
}

#[tokio::test]
async fn a_second_mcp_pipe_waits_for_the_first_where_an_agent_takes_one_connection() {
    let (agent, cache) = (Agent::bind("/mcp_endpoint/mcp/", Takes::Newest).await, TempDir::new().unwrap());
    let first = start(&servers(&agent, &["a"]), cache.path());
    agent.wait_for("the first", |seen| seen.iter().any(|seen| seen.tools.is_some())).await;
    let second = start(&servers(&agent, &["b"]), cache.path());
    let line = second.wait_for_event("AGENT_TAKEN").await.to_string();
    assert!(line.contains(&format!("process {} with", first.pid().as_raw_nonzero())), "{line}");
    assert!(line.contains("mcp_config.json"), "{line}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(agent.seen().len(), 1, "it has dialled all the same");
    // However it ends.
    first.signal(rustix::process::Signal::KILL);
    agent.wait_for("the second", |seen| seen.get(1).is_some_and(|seen| seen.tools.is_some())).await;
    second.wait_for_event("AGENT_FREE").await;
    second.stop().await;
    drop(first);
}

#[tokio::test]
async fn a_second_mcp_pipe_serves_beside_the_first_where_an_agent_may_take_many() {
    let (agent, cache) = (Agent::bind("/mcp/", Takes::Many).await, TempDir::new().unwrap());
    let daemons = ["a", "b"].map(|name| start(&servers(&agent, &[name]), cache.path()));
    agent.wait_for("both", |seen| seen.iter().filter(|seen| seen.tools.is_some()).count() == 2).await;
    let warned = daemons.iter().filter(|daemon| says(daemon, "AGENT_TAKEN")).count();
    assert_eq!(warned, 1, "the one that came later says so");
    for daemon in daemons {
        daemon.stop().await;
    }
}

#[tokio::test]
async fn a_connection_whose_place_is_taken_again_and_again_is_said_to_be_another_programs_doing() {
    let endpoint = FakeEndpoint::bind().await;
    let daemon = Setup::new().config(&one_server(&endpoint, &[])).start("info");
    for _ in 0..2 {
        let mut conn = endpoint.accept().await;
        conn.handshake().await;
        conn.call(2, "echo", json!({"text": "a served call proves nothing here"})).await;
        conn.close_saying(1000, REPLACED).await;
    }
    let line = daemon.wait_for("who did it", |line| line.to_string().contains("keeps taking its place")).await;
    assert!(line.to_string().contains("1000"), "{line}");
    daemon.stop().await;
}

#[tokio::test]
async fn a_regular_close_for_another_reason_is_quoted_and_nobody_is_accused() {
    let endpoint = FakeEndpoint::bind().await;
    let daemon = Setup::new().config(&one_server(&endpoint, &[])).start("info");
    for reason in ["idle timeout", "令牌已过期", "token expired"] {
        let mut conn = endpoint.accept().await;
        conn.handshake().await;
        conn.call(2, "echo", json!({"text": "of use"})).await;
        conn.close_saying(1000, reason).await;
        let line = daemon.wait_for(reason, |line| line.to_string().contains(reason)).await.to_string();
        assert!(line.contains(&format!("closed 1000 \\\"{reason}\\\" after")), "{line}");
    }
    endpoint.accept().await.handshake().await;
    assert!(!daemon.log_text().contains("another"), "{}", daemon.log_text());
    daemon.stop().await;
}

#[tokio::test]
async fn what_was_commanded_holds_when_the_layout_changes() {
    let (agent, cache, runtime) = (Agent::bind("/mcp/", Takes::Newest).await, TempDir::new().unwrap(), Runtime::new());
    let setup = runtime.setup().config(&servers(&agent, &["a", "b", "c", "d"]));
    let daemon = setup.env("MCP_CACHE_DIR", cache.path().to_str().unwrap()).start("info");
    daemon.wait_for_event("SERVER_INITIALIZED").await;
    assert_eq!(runtime.ask(&["stop", "c"]).await.code, 0);
    assert_eq!(runtime.ask(&["pause", "b"]).await.code, 0);
    daemon.wait_for_event("SERVERS_MERGED").await;
    merged(&agent, &["a", "b", "d"]).await;
    let refused = agent.call("b__echo", json!({"text": "hi"})).await;
    assert!(refused["error"]["message"].as_str().unwrap().contains("is paused"), "{refused}");
    assert_eq!(text_of(&agent.call("d__echo", json!({"text": "hi"})).await), "hi");
    let status: Value = serde_json::from_str(&runtime.ask(&["status", "--json"]).await.out).unwrap();
    let told = |n: usize| (status["servers"][n]["wanted"].clone(), status["servers"][n]["state"].clone());
    assert_eq!([told(1), told(2)], [(json!("paused"), json!("serving")), (json!("stopped"), json!("stopped"))]);
    let started = |name| {
        let is_it =
            |line: &&Value| field(line, "event") == Some("SERVER_STARTED") && field(line, "server") == Some(name);
        daemon.log_lines().iter().filter(is_it).count()
    };
    assert_eq!((started("a"), started("b"), started("c")), (1, 1, 1), "none is started anew for another layout");
    assert_eq!(runtime.ask(&["start", "c"]).await.code, 0);
    merged(&agent, &["a", "b", "c", "d"]).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_server_that_nothing_runs_for_now_is_told_so_at_once_and_what_was_commanded_counts_later() {
    let (agent, cache) = (Agent::bind("/mcp_endpoint/mcp/", Takes::Newest).await, TempDir::new().unwrap());
    let (runtime, other) = (Runtime::new(), Runtime::new());
    let start = |runtime: &Runtime| {
        let setup = runtime.setup().config(&servers(&agent, &["a", "b"]));
        setup.env("MCP_CACHE_DIR", cache.path().to_str().unwrap()).start("info")
    };
    let first = start(&runtime);
    merged(&agent, &["a", "b"]).await;
    let second = start(&other);
    second.wait_for_event("AGENT_TAKEN").await;
    let said = other.ask(&["restart", "a"]).await;
    assert!(said.code == 1 && said.err.contains("a: nothing runs it just now"), "{said:?}");
    let said = other.ask(&["restart", "a", "--connection"]).await;
    assert!(said.code == 1 && said.err.contains("nothing is connected for a just now"), "{said:?}");
    assert_eq!(other.ask(&["stop", "a"]).await.code, 0);
    let said = other.ask(&["status", "a"]).await;
    assert!(
        said.code == 0
            && said.out.starts_with("a: stopped by command\n")
            && said.out.contains(": another mcp-pipe serves"),
        "{said:?}"
    );
    first.stop().await;
    second.wait_for_event("SERVER_INITIALIZED").await;
    let status: Value = serde_json::from_str(&other.ask(&["status", "--json"]).await.out).unwrap();
    assert_eq!(
        (&status["servers"][0]["state"], &status["servers"][1]["state"]),
        (&json!("stopped"), &json!("serving"))
    );
    assert_eq!(other.ask(&["start", "a"]).await.code, 0);
    second.stop().await;
}
