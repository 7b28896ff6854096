//! What comes of an order: whether a server has become what was wanted, or why it does not. Pure but for [`of`], which waits.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::orders::{Awaited, Dialled, Given, Until};
use super::status::{LinkState, LinkStatus, Overview, ServerState, ServerStatus, Status};
use crate::logging::Names;
use crate::router::bar::argument;
use crate::server::wanted::{ServerCommand, Wanted};
use crate::words::{listed, span};

/// Most servers that are named where they don't serve in time.
const SHOWN: usize = 8;

/// What has come of an order, or why nothing will, in words for a person.
pub(crate) type Outcome = Result<String, String>;

/// Waits until it is clear what comes of an order, but not for ever.
pub(crate) async fn of(Given { until, within }: Given, status: &Status) -> Outcome {
    let end = Instant::now() + within;
    match until {
        Until::Server { name, command, number } => {
            let done = when(status, |all| all.server(&name).and_then(|server| of_server(command, number, server)));
            match timeout_at(end, done).await {
                Ok(outcome) => outcome.map(|said| said + &unconnected(&name, command, &status.read())),
                Err(_) => Err(late(&name, command, within, &status.read())),
            }
        }
        Until::Connected { begun, servers, endpoint } => {
            heard(begun, end).await?;
            let at = endpoint.as_deref();
            let done = when(status, |all| of_connections(servers.iter().map(|name| links_of(name, at, all))));
            let label = servers.iter().cloned().collect::<Names>().at(endpoint.clone()).to_string();
            match timeout_at(end, done).await {
                Ok(Ok(())) => Ok(format!("{label}: connected anew")),
                Ok(Err(why)) => Err(format!("{label}: not connected: {why}")),
                Err(_) => Err(format!("{label}: still not connected after {}; attempts go on", span(within))),
            }
        }
        Until::Turned(told) => heard(told, end).await,
        Until::Ended(told) => match timeout_at(end, told).await {
            Ok(Ok(words)) => Ok(words),
            Ok(Err(_)) | Err(_) => Err("the gateway has not said what came of it; see mcp-pipe sessions".to_owned()),
        },
        Until::Reloaded { told, undone, warnings, awaited } => {
            let Awaited { servers, .. } = &awaited;
            let is_done = undone.is_empty();
            let with = |line: String| [vec![line], undone, warnings].concat().join("\n");
            let all_clear = |all: &Overview| {
                let states = servers.iter().filter_map(|name| all.server(name));
                // One that another mcp-pipe serves is not started before that ends.
                if states.clone().any(|server| server.state == ServerState::Starting && !all.is_held_back(server)) {
                    return None;
                }
                let failed = states.filter_map(|server| match &server.state {
                    ServerState::Refusing(why) => Some(format!("{} {why}", server.name)),
                    ServerState::Down(why) => Some(format!("{} {why}{}", server.name, server.last_lines())),
                    ServerState::Starting | ServerState::Serving | ServerState::Silent | ServerState::Stopped => None,
                });
                let (down, is_open) = of_new_links(&awaited, all);
                let failed: Vec<String> = failed.chain(down).collect();
                // A link may wait for a server that doesn't serve.
                (!is_open || !failed.is_empty()).then_some(failed)
            };
            match timeout_at(end, when(status, all_clear)).await {
                Ok(failed) if failed.is_empty() && is_done => Ok(with(told)),
                Ok(failed) if failed.is_empty() => Err(with(told)),
                Ok(failed) => Err(with(format!("{told}; but {}", failed.join("; ")))),
                Err(_) => {
                    let all = status.read();
                    // One in a crash loop is down now and starting then.
                    let is_unwell = |name: &&Arc<str>| {
                        all.server(name).is_some_and(|server| match server.state {
                            ServerState::Starting | ServerState::Refusing(_) | ServerState::Down(_) => true,
                            ServerState::Serving | ServerState::Silent | ServerState::Stopped => false,
                        })
                    };
                    let names: Vec<&Arc<str>> = servers.iter().filter(is_unwell).collect();
                    let within = span(within);
                    let what = if names.is_empty() {
                        let late: Vec<String> = new_links(&awaited, &all)
                            .filter(|link| is_open(link, &all))
                            .map(|link| label(link, &all))
                            .collect();
                        let n = late.len();
                        let names = if n == 0 {
                            "an endpoint".to_owned()
                        } else {
                            listed(late.into_iter().take(SHOWN).collect(), n)
                        };
                        format!("{names}: still not connected after {within}; attempts go on")
                    } else {
                        let (does, n) = (if names.len() == 1 { "does" } else { "do" }, names.len());
                        let names = listed(names.into_iter().take(SHOWN).collect(), n);
                        format!("{names} {does} not serve within {within}; see mcp-pipe status")
                    };
                    Err(with(format!("{told}; but {what}")))
                }
            }
        }
    }
}

/// Waits until `outcome` of the state of all servers is clear.
async fn when<T>(status: &Status, outcome: impl Fn(&Overview) -> Option<T>) -> T {
    let mut changes = status.changes();
    loop {
        if let Some(outcome) = outcome(&changes.borrow_and_update()) {
            return outcome;
        }
        if changes.changed().await.is_err() {
            std::future::pending::<()>().await; // can't be: the status holds a sender
        }
    }
}

/// What pipes say: all that is done, or the first reason why nothing is.
async fn heard(told: Vec<oneshot::Receiver<Outcome>>, end: Instant) -> Outcome {
    let (mut done, mut not) = (Vec::new(), Vec::new());
    for told in told {
        match timeout_at(end, told).await {
            Ok(Ok(Ok(words))) => done.push(words),
            Ok(Ok(Err(why))) => not.push(why),
            // The pipe has ended, or does not look.
            Ok(Err(_)) | Err(_) => not.push("its connection is just being made or given up; try again".to_owned()),
        }
    }
    if done.is_empty() { Err(not.join("\n")) } else { Ok(done.join("\n")) }
}

/// What has come of a command about a server: the command of this `number`. `None`: that is not clear yet.
fn of_server(command: ServerCommand, number: u64, server: &ServerStatus) -> Option<Outcome> {
    let ServerStatus { name, .. } = server;
    if let Some(other) = overtaken(command, number, server) {
        return Some(Err(format!("{name}: another command came in between; now it is wanted {other}")));
    }
    if server.heeded < number {
        return None;
    }
    match command {
        ServerCommand::Reset if server.circuit.is_none() => {
            Some(Err(format!("{name}: has no circuit that could be open; \"circuitBreaker\" in its entry makes one")))
        }
        ServerCommand::Reset => Some(Ok(format!("{name}: its circuit is closed, and it gets all calls"))),
        ServerCommand::Pause => Some(Ok(format!("{name}: paused, takes no calls"))),
        ServerCommand::Stop => {
            (server.state == ServerState::Stopped && server.further.is_empty()).then(|| Ok(format!("{name}: stopped")))
        }
        ServerCommand::Start | ServerCommand::Resume | ServerCommand::Restart => match &server.state {
            ServerState::Serving | ServerState::Silent => Some(Ok(match command {
                ServerCommand::Restart => format!("{name}: restarted, serves again"),
                ServerCommand::Start
                | ServerCommand::Resume
                | ServerCommand::Pause
                | ServerCommand::Stop
                | ServerCommand::Reset => {
                    format!("{name}: serves")
                }
            })),
            ServerState::Refusing(why) => Some(Err(format!("{name}: {why}"))),
            ServerState::Down(why) => {
                Some(Err(format!("{name}: {why}{}; further attempts follow by themselves", server.last_lines())))
            }
            ServerState::Starting | ServerState::Stopped => None,
        },
    }
}

/// What is wanted of a server since a later command that wants something else than this one.
fn overtaken(command: ServerCommand, number: u64, server: &ServerStatus) -> Option<&'static str> {
    if server.ordered <= number {
        return None;
    }
    match (command, server.wanted) {
        (ServerCommand::Stop, Wanted::Running) | (ServerCommand::Pause, Wanted::Running) => Some("running"),
        (ServerCommand::Stop, Wanted::Paused) => Some("paused"),
        (
            ServerCommand::Start | ServerCommand::Resume | ServerCommand::Restart | ServerCommand::Pause,
            Wanted::Stopped,
        ) => Some("stopped"),
        // One that runs and takes no calls has been started and restarted all the same.
        (ServerCommand::Start | ServerCommand::Restart, Wanted::Paused) => None,
        (ServerCommand::Resume, Wanted::Paused) => Some("paused"),
        // Whatever is wanted besides, that has been done.
        (ServerCommand::Reset, _) => None,
        (ServerCommand::Stop, Wanted::Stopped)
        | (ServerCommand::Pause, Wanted::Paused)
        | (ServerCommand::Start | ServerCommand::Resume | ServerCommand::Restart, Wanted::Running) => None,
    }
}

/// That a server which serves is reached by nobody, as the end of what has come of a command.
fn unconnected(name: &str, command: ServerCommand, all: &Overview) -> String {
    let is_to_serve = match command {
        ServerCommand::Start | ServerCommand::Resume | ServerCommand::Restart => true,
        ServerCommand::Pause | ServerCommand::Stop | ServerCommand::Reset => false,
    };
    let links = links_of(name, None, all);
    let is_reached = links.iter().any(|link| link.state == LinkState::Connected);
    let why = links.iter().find_map(|link| match &link.state {
        LinkState::Down(why) => Some(why),
        LinkState::Resting | LinkState::Connected | LinkState::Standby(_) => None,
    });
    match why.filter(|_| is_to_serve && !is_reached) {
        Some(why) => format!("; but its endpoint is not connected: {why}"),
        None => String::new(),
    }
}

/// What to tell when the time is over.
fn late(name: &str, command: ServerCommand, within: Duration, all: &Overview) -> String {
    let within = span(within);
    let down = links_of(name, None, all).into_iter().find_map(|link| match &link.state {
        LinkState::Down(why) => Some(why),
        LinkState::Resting | LinkState::Connected | LinkState::Standby(_) => None,
    });
    let also = down.map_or_else(String::new, |why| format!(" (its connection: {why})"));
    match command {
        ServerCommand::Stop => format!("{name}: its process has not ended within {within}"),
        ServerCommand::Reset => format!("{name}: has not been asked again within {within}; see mcp-pipe status"),
        ServerCommand::Start | ServerCommand::Resume | ServerCommand::Restart | ServerCommand::Pause => {
            format!(
                "{name}: has not answered initialize within {within}{also}; it goes on starting, see mcp-pipe logs {}",
                argument(name)
            )
        }
    }
}

/// The links of a server: those to the endpoint of this name, or all.
fn links_of<'a>(name: &str, endpoint: Option<&str>, all: &'a Overview) -> Vec<&'a LinkStatus> {
    let is_meant = |link: &&LinkStatus| endpoint.is_none() || link.name.as_deref() == endpoint;
    all.server(name).map_or_else(Vec::new, |server| all.links_of(server.key).filter(is_meant).collect())
}

/// The links that a reload has made.
fn new_links<'a>(awaited: &Awaited, all: &'a Overview) -> impl Iterator<Item = &'a LinkStatus> {
    let since = awaited.links;
    all.links.iter().filter(move |link| since.is_some_and(|since| link.key.is_since(since)))
}

/// What has become of the links that a reload has made: which are not connected, with the reason, and whether any may still be.
fn of_new_links(awaited: &Awaited, all: &Overview) -> (Vec<String>, bool) {
    let down = new_links(awaited, all).filter_map(|link| match &link.state {
        LinkState::Down(why) => Some(format!("{}: not connected: {why}", label(link, all))),
        LinkState::Resting | LinkState::Connected | LinkState::Standby(_) => None,
    });
    // The link of an endpoint that is new comes a moment later.
    let lacks = awaited.endpoints.iter().any(|Dialled { name, servers }| {
        let has = |key| {
            new_links(awaited, all).any(|link| link.name.as_deref() == name.as_deref() && link.shown(key).is_some())
        };
        servers.iter().filter_map(|server| all.server(server)).any(|server| !has(server.key))
    });
    (down.collect(), lacks || new_links(awaited, all).any(|link| is_open(link, all)))
}

/// Whether a link may still be connected: it is not dialled where nobody wants its servers.
fn is_open(link: &LinkStatus, all: &Overview) -> bool {
    link.state == LinkState::Resting && all.needs(link, None)
}

/// What the log calls a link.
fn label(link: &LinkStatus, all: &Overview) -> String {
    let servers = all.servers.iter().filter(|server| link.shown(server.key).is_some());
    let names: Names = servers.map(|server| Arc::from(server.name.as_str())).collect();
    names.at(link.name.as_deref().map(Arc::from)).to_string()
}

/// What has become of connections that are made anew, of each server all of its links. `None`: that is not clear yet.
fn of_connections<'a>(links: impl Iterator<Item = Vec<&'a LinkStatus>>) -> Option<Result<(), String>> {
    let mut open = false;
    for links in links {
        open |= links.is_empty(); // between two layouts
        for link in links {
            match &link.state {
                LinkState::Down(why) => return Some(Err(why.clone())),
                LinkState::Resting => open = true,
                LinkState::Connected | LinkState::Standby(_) => {}
            }
        }
    }
    (!open).then_some(Ok(()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::control::status::tests::link;
    use crate::server::wanted::Goal;

    const ALL: [ServerCommand; 5] = [
        ServerCommand::Start,
        ServerCommand::Resume,
        ServerCommand::Restart,
        ServerCommand::Pause,
        ServerCommand::Stop,
    ];

    fn server(state: ServerState, wanted: Wanted, ordered: u64, heeded: u64) -> ServerStatus {
        let status = Status::default();
        let _entry = status.add_server("x");
        ServerStatus { state, wanted, ordered, heeded, ..status.read().servers.remove(0) }
    }

    #[test]
    fn nothing_is_clear_before_the_pipe_has_heeded_the_command() {
        for command in ALL {
            let wanted = Goal::default().after(command).wanted;
            for state in [ServerState::Serving, ServerState::Stopped, ServerState::Down("old".into())] {
                assert_eq!(of_server(command, 3, &server(state, wanted, 3, 2)), None, "{command:?}");
            }
        }
    }

    #[test]
    fn each_state_says_what_has_come_of_each_command() {
        let states = [
            ServerState::Starting,
            ServerState::Serving,
            ServerState::Silent,
            ServerState::Refusing("no licence".into()),
            ServerState::Down("exited with code 1".into()),
            ServerState::Stopped,
        ];
        // A dot: not clear; y: done; n: not.
        for (command, want) in [
            (ServerCommand::Start, ".yynn."),
            (ServerCommand::Resume, ".yynn."),
            (ServerCommand::Restart, ".yynn."),
            (ServerCommand::Pause, "yyyyyy"),
            (ServerCommand::Stop, ".....y"),
        ] {
            let wanted = Goal::default().after(command).wanted;
            let got: String = states
                .iter()
                .map(|state| match of_server(command, 1, &server(state.clone(), wanted, 1, 1)) {
                    None => '.',
                    Some(Ok(_)) => 'y',
                    Some(Err(_)) => 'n',
                })
                .collect();
            assert_eq!(got, want, "{command:?}");
        }
        let down = server(ServerState::Down("exited with code 1".into()), Wanted::Running, 1, 1);
        let said = of_server(ServerCommand::Restart, 1, &down).unwrap().unwrap_err();
        assert_eq!(said, "x: exited with code 1; further attempts follow by themselves");
        let down = ServerStatus { last_words: "no API key".into(), ..down };
        let said = of_server(ServerCommand::Restart, 1, &down).unwrap().unwrap_err();
        let want =
            "x: exited with code 1; the last lines of its stderr: no API key; further attempts follow by themselves";
        assert_eq!(said, want);
    }

    #[test]
    fn a_command_that_another_one_took_back_is_told_so_and_one_that_was_said_twice_is_not() {
        for (command, taken_back) in [
            (ServerCommand::Start, [false, false, true]),
            (ServerCommand::Resume, [false, true, true]),
            (ServerCommand::Restart, [false, false, true]),
            (ServerCommand::Pause, [true, false, true]),
            (ServerCommand::Stop, [true, true, false]),
        ] {
            let later = [Wanted::Running, Wanted::Paused, Wanted::Stopped];
            let got = later.map(|wanted| overtaken(command, 1, &server(ServerState::Starting, wanted, 2, 0)).is_some());
            assert_eq!(got, taken_back, "{command:?}");
        }
    }

    #[test]
    fn connections_are_made_when_all_stand_and_failed_when_one_attempt_has() {
        let status = Status::default();
        let link = |state: LinkState| {
            let link = link(&status, &[]);
            link.state(state);
            status.read().links.remove(0)
        };
        let (resting, up, down) =
            (link(LinkState::Resting), link(LinkState::Connected), link(LinkState::Down("HTTP 401".into())));
        for (links, want) in [
            (vec![vec![&up], vec![&resting]], None),
            (vec![vec![&up], vec![]], None),
            (vec![vec![&up, &up], vec![&up]], Some(Ok(()))),
            (vec![vec![&up, &resting], vec![&down]], Some(Err("HTTP 401".into()))),
        ] {
            assert_eq!(of_connections(links.into_iter()), want);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_reload_those_that_do_not_serve_are_named_and_warnings_follow() {
        let status = Status::default();
        let entries = ["x", "y", "z"].map(|name| status.add_server(name));
        entries[1].state(ServerState::Serving);
        let given = || Given {
            until: Until::Reloaded {
                told: "changed: x is new".into(),
                undone: Vec::new(),
                warnings: vec!["warning: odd".into()],
                awaited: Awaited { servers: vec!["x".into(), "y".into(), "z".into()], ..Awaited::default() },
            },
            within: Duration::from_secs(26),
        };
        assert_eq!(
            of(given(), &status).await.unwrap_err(),
            "changed: x is new; but x, z do not serve within 26.0 s; see mcp-pipe status\nwarning: odd"
        );
        entries[2].state(ServerState::Serving);
        let said = of(given(), &status).await.unwrap_err();
        assert!(said.contains("but x does not serve within"), "{said}");
        entries[0].state(ServerState::Serving);
        assert_eq!(of(given(), &status).await.unwrap(), "changed: x is new\nwarning: odd");
        // One that waits for a lease does not start before it has that.
        entries[0].state(ServerState::Starting);
        let kitchen = link(&status, &[&entries[0]]);
        kitchen.state(LinkState::Standby("kitchen has the lease of its agent".into()));
        assert_eq!(of(given(), &status).await.unwrap(), "changed: x is new\nwarning: odd");
        entries[0].state(ServerState::Serving);
        let mut undone = given();
        if let Until::Reloaded { undone, .. } = &mut undone.until {
            undone.push("the gateway stays".into());
        }
        let said = of(undone, &status).await.unwrap_err();
        assert_eq!(said, "changed: x is new\nthe gateway stays\nwarning: odd");
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_reload_the_links_that_it_has_made_are_waited_for_and_no_others() {
        let status = Status::default();
        let server = status.add_server("x");
        server.state(ServerState::Serving);
        let old = link(&status, &[&server]);
        old.state(LinkState::Down("HTTP 401".into()));
        let given = |awaited: &Awaited| Given {
            until: Until::Reloaded {
                told: "changed: x".into(),
                undone: Vec::new(),
                warnings: Vec::new(),
                awaited: awaited.clone(),
            },
            within: Duration::from_secs(25),
        };
        let mut awaited = Awaited { links: Some(status.mark()), ..Awaited::default() };
        assert_eq!(of(given(&awaited), &status).await.unwrap(), "changed: x", "the reload has made no link");
        awaited.endpoints.push(Dialled { name: None, servers: vec!["x".into()] });
        let said = of(given(&awaited), &status).await.unwrap_err();
        assert_eq!(said, "changed: x; but an endpoint: still not connected after 25.0 s; attempts go on");
        let new = link(&status, &[&server]);
        let said = of(given(&awaited), &status).await.unwrap_err();
        assert_eq!(said, "changed: x; but x: still not connected after 25.0 s; attempts go on");
        for (state, want) in [
            (LinkState::Down("HTTP 403".into()), Err("changed: x; but x: not connected: HTTP 403".to_owned())),
            (LinkState::Connected, Ok("changed: x".to_owned())),
        ] {
            new.state(state);
            assert_eq!(of(given(&awaited), &status).await, want);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_comes_is_not_waited_for_for_ever() {
        let status = Status::default();
        let entry = status.add_server("x");
        let given = |command, within| Given {
            until: Until::Server { name: "x".into(), command, number: 1 },
            within: Duration::from_secs(within),
        };
        let begun = Instant::now();
        let said = of(given(ServerCommand::Restart, 70), &status).await.unwrap_err();
        assert!(said.contains("has not answered initialize within 1 min") || said.contains("70"), "{said}");
        assert_eq!(begun.elapsed(), Duration::from_secs(70));
        entry.heeded(1);
        let stopped = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            entry.state(ServerState::Stopped);
        };
        let (said, ()) = tokio::join!(of(given(ServerCommand::Stop, 10), &status), stopped);
        assert_eq!(said.unwrap(), "x: stopped");
    }
}
