//! The one line that is logged when everything of a run is up.

use std::fmt;
use std::time::Duration;

use tokio::time::sleep;

use crate::control::status::{LinkState, LinkStatus, Overview, ServerState, Status};
use crate::process::stop::Stop;
use crate::words::counted;

/// Longest wait for the endpoints to read the tools, once everything is up; after that the line is logged without their number.
/// The cloud reads tools at once, the self-hosted endpoint when a robot comes.
const UNREAD: Duration = Duration::from_secs(5);
/// Shortest time that everything has been up: the log lines of the last step come first, and a connection that replaces another
/// one has done so by then.
const SETTLED: Duration = Duration::from_millis(100);

/// A run in which everything is up: each server answers, and each connection stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Summary {
    /// How many servers.
    pub servers: usize,
    /// How many tools the endpoints were shown, those of a server once; `None` unless each endpoint has read all, and it is clear
    /// which are whose.
    pub tools: Option<usize>,
    /// How many connections.
    pub connections: usize,
    /// Where MCP clients are served, if they are.
    pub gateway: Option<String>,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, ", counted(self.servers, "server"))?;
        if let Some(tools) = self.tools {
            write!(f, "{}, ", counted(tools, "tool"))?;
        }
        match &self.gateway {
            Some(url) if self.connections == 0 => write!(f, "at {url}"),
            Some(url) => write!(f, "{}, and at {url}", counted(self.connections, "connection")),
            None => f.write_str(&counted(self.connections, "connection")),
        }
    }
}

impl Summary {
    /// The summary; `None` while something is not up.
    fn of(all: &Overview) -> Option<Summary> {
        let Overview { servers, links, gateway, .. } = all;
        let has_link = |server| gateway.is_some() || all.links_of(server).next().is_some();
        let all_up = !servers.is_empty()
            && servers.iter().all(|server| server.state == ServerState::Serving && has_link(server.key))
            && links.iter().all(|link| link.state == LinkState::Connected);
        let tools = distinct(links);
        let tools = tools.filter(|_| !links.is_empty());
        let gateway = gateway.as_ref().map(|gateway| gateway.url.clone());
        all_up.then_some(Summary { servers: servers.len(), tools, connections: links.len(), gateway })
    }

    /// Waits until everything is up for the first time.
    pub(crate) async fn all_up(status: &Status) {
        // What `wait_for` returns holds a lock, so it is dropped at once.
        drop(status.changes().wait_for(|all| Summary::of(all).is_some()).await);
    }

    /// Waits until everything is up, and then a moment for the endpoints to read the tools. `None`: a stop was asked for before.
    pub(crate) async fn when_due(status: &Status, stop: &Stop) -> Option<Summary> {
        tokio::select! {
            biased;
            () = stop.drain().cancelled() => None,
            summary = Summary::when_all_is_up(status) => Some(summary),
        }
    }

    async fn when_all_is_up(status: &Status) -> Summary {
        let mut changes = status.changes();
        loop {
            Summary::all_up(status).await;
            let read = async {
                let settled = |all: &Overview| {
                    Summary::of(all).is_none_or(|summary| summary.tools.is_some() || summary.connections == 0)
                };
                drop(changes.wait_for(settled).await);
            };
            tokio::select! {
                () = read => {}
                () = sleep(UNREAD) => {}
            }
            sleep(SETTLED).await;
            if let Some(summary) = Summary::of(&changes.borrow()) {
                return summary;
            }
        }
    }
}

/// How many tools there are behind all links. A server may be shown by several; where these show others beside it, nobody has counted its
/// own tools.
fn distinct(links: &[LinkStatus]) -> Option<usize> {
    let mut counted: Vec<(Vec<_>, usize)> = Vec::new();
    for link in links {
        let tools = link.tools?;
        let mut servers: Vec<_> = link.servers.iter().map(|shown| shown.key).collect();
        servers.sort_unstable();
        match counted.iter_mut().find(|(others, _)| others.iter().any(|server| servers.contains(server))) {
            // Endpoints may let through fewer than there are.
            Some((same, most)) if *same == servers => *most = tools.max(*most),
            Some(_) => return None,
            None => counted.push((servers, tools)),
        }
    }
    Some(counted.iter().map(|(_, tools)| tools).sum())
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::control::status::tests::link;
    use crate::control::status::{LinkEntry, ServerEntry};

    /// Three servers: one alone, two on one connection.
    struct Three {
        servers: [ServerEntry; 3],
        links: [LinkEntry; 2],
    }

    impl Three {
        fn new() -> (Status, Self) {
            let status = Status::default();
            let servers = ["a", "b", "c"].map(|name| status.add_server(name));
            let links = [link(&status, &[&servers[0]]), link(&status, &[&servers[1], &servers[2]])];
            (status, Three { servers, links })
        }

        fn up(&self) {
            self.servers.iter().for_each(|server| server.state(ServerState::Serving));
            self.links.iter().for_each(|link| link.state(LinkState::Connected));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_due_when_all_servers_answer_all_connections_stand_and_the_tools_are_read() {
        let (status, three) = Three::new();
        let begun = Instant::now();
        let due = Summary::when_all_is_up(&status);
        let life = async {
            three.up();
            three.servers[2].state(ServerState::Starting);
            sleep(Duration::from_secs(3600)).await;
            three.servers[2].state(ServerState::Serving);
            three.links[0].tools(Some(5));
            sleep(Duration::from_secs(1)).await;
            three.links[1].tools(Some(7));
        };
        let (summary, ()) = tokio::join!(due, life);
        assert_eq!(summary, Summary { servers: 3, tools: Some(12), connections: 2, gateway: None });
        assert_eq!(summary.to_string(), "3 servers, 12 tools, 2 connections");
        assert_eq!(begun.elapsed(), Duration::from_secs(3601) + SETTLED);
    }

    #[tokio::test(start_paused = true)]
    async fn tools_that_nobody_reads_are_waited_for_a_moment_and_not_made_up() {
        let (status, three) = Three::new();
        three.up();
        three.links[0].tools(Some(5));
        let begun = Instant::now();
        assert_eq!(Summary::when_all_is_up(&status).await.to_string(), "3 servers, 2 connections");
        assert_eq!(begun.elapsed(), UNREAD + SETTLED);
    }

    #[tokio::test(start_paused = true)]
    async fn what_goes_down_meanwhile_is_waited_for_anew() {
        let (status, three) = Three::new();
        let life = async {
            three.up();
            sleep(UNREAD / 2).await;
            three.links[0].state(LinkState::Down("it broke".into()));
            sleep(UNREAD * 2).await;
            three.up();
        };
        let begun = Instant::now();
        tokio::join!(Summary::when_all_is_up(&status), life);
        assert_eq!(begun.elapsed(), UNREAD / 2 + UNREAD * 3 + SETTLED);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_up_any_more_once_a_stop_was_asked_for() {
        // Also in the very moment in which the summary is due.
        for before in [Duration::from_millis(1), Duration::ZERO] {
            let (status, three) = Three::new();
            let stop = Stop::new();
            three.up();
            let life = async {
                sleep(UNREAD + SETTLED - before).await;
                stop.advance();
            };
            let (summary, ()) = tokio::join!(Summary::when_due(&status, &stop), life);
            assert!(before.is_zero() || summary.is_none(), "{before:?}");
            assert_eq!(Summary::when_due(&status, &stop).await, None);
        }
    }

    #[test]
    fn tools_that_several_endpoints_are_shown_count_once() {
        let status = Status::default();
        let [a, b] = ["a", "b"].map(|name| status.add_server(name));
        let links = [link(&status, &[&a]), link(&status, &[&a]), link(&status, &[&b])];
        links.iter().zip([8, 8, 1]).for_each(|(link, tools)| link.tools(Some(tools)));
        assert_eq!(distinct(&status.read().links), Some(9));
        // Nobody has counted what is whose.
        let both = link(&status, &[&a, &b]);
        both.tools(Some(9));
        assert_eq!(distinct(&status.read().links), None);
    }

    #[test]
    fn one_is_one() {
        let one = Summary { servers: 1, tools: Some(1), connections: 1, gateway: None };
        assert_eq!(one.to_string(), "1 server, 1 tool, 1 connection");
        assert_eq!(Summary::of(&Overview::default()), None);
        let (status, three) = Three::new();
        three.up();
        let unserved = status.add_server("d");
        unserved.state(ServerState::Serving);
        assert_eq!(Summary::of(&status.read()), None, "one that no endpoint sees is not up");
    }
}
