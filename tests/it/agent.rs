//! The fake agents behave as the field's do.

use serde_json::json;

use crate::harness::{Agent, Daemon, Setup, Takes, config, fixture_entry, text_of};

/// A server on this agent, with a program of its own.
fn start(agent: &Agent, token: &str) -> Daemon {
    let mut entry = fixture_entry(&[]);
    entry["endpoint"] = agent.url(token).into();
    Setup::new().config(&config([("x", entry)])).start("info")
}

#[tokio::test]
async fn an_agent_that_takes_many_serves_each() {
    let agent = Agent::bind("/mcp/", Takes::Many).await;
    let daemons = ["one", "two", "three"].map(|token| start(&agent, token));
    let seen = agent.wait_for("three with tools", |seen| seen.iter().filter(|s| s.tools.is_some()).count() == 3).await;
    let mut tokens: Vec<_> = seen.iter().filter(|seen| seen.open).map(|seen| seen.token.as_str()).collect();
    tokens.sort_unstable();
    assert_eq!(tokens, ["one", "three", "two"]);
    assert_eq!(text_of(&agent.call("echo", json!({"text": "hi"})).await), "hi");
    for daemon in daemons {
        daemon.stop().await;
    }
    agent.wait_for("all to be closed", |seen| seen.iter().all(|seen| !seen.open)).await;
}

#[tokio::test]
async fn an_agent_that_takes_the_newest_closes_the_older_with_1000_and_serves_the_newer() {
    let agent = Agent::bind("/mcp/", Takes::Newest).await;
    let first = start(&agent, "a");
    agent.wait_for("the first with tools", |seen| seen.iter().any(|seen| seen.tools.is_some())).await;
    let second = start(&agent, "a");
    let line = first.wait_for_event("CONNECTION_CLOSED").await.to_string();
    assert!(line.contains("closed 1000"), "{line}");
    agent.wait_for("the second with tools", |seen| seen.get(1).is_some_and(|seen| seen.tools.is_some())).await;
    drop((first, second));
}

#[tokio::test]
async fn an_agent_that_takes_the_oldest_closes_the_newer_with_4004_after_its_initialize() {
    let agent = Agent::bind("/mcp/", Takes::Oldest).await;
    let _first = start(&agent, "a");
    agent.wait_for("the first with tools", |seen| seen.iter().any(|seen| seen.tools.is_some())).await;
    let second = start(&agent, "a");
    let line = second.wait_for_event("CONNECTION_CLOSED").await.to_string();
    assert!(line.contains("closed 4004") && !line.contains("initialize was not"), "{line}");
    assert!(agent.seen()[0].open);
}
