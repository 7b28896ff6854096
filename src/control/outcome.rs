//! What comes of an order: whether a server has become what was wanted, or why it does not. Pure but for [`of`], which waits.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::orders::{Given, Until};
use super::status::{LinkState, PipeStatus, ServerState, Status};
use crate::server::wanted::{ServerCommand, Wanted};
use crate::words::span;

/// What has come of an order, or why nothing will, in words for a person.
pub(super) type Outcome = Result<String, String>;

/// Waits until it is clear what comes of an order, but not for ever.
pub(super) async fn of(Given { until, within }: Given, status: &Status) -> Outcome {
    let end = Instant::now() + within;
    match until {
        Until::Server { name, command, number } => {
            let done = when(status, |pipes| {
                pipes.iter().find(|pipe| *pipe.name == *name).and_then(|pipe| of_server(command, number, pipe))
            });
            match timeout_at(end, done).await {
                Ok(outcome) => outcome,
                Err(_) => Err(late(&name, command, within, &status.read())),
            }
        }
        Until::Connected { begun, servers } => {
            heard(begun, end).await?;
            let ours = |pipe: &&PipeStatus| servers.iter().any(|name| **name == *pipe.name);
            let done = when(status, |pipes| of_connections(&pipes.iter().filter(ours).collect::<Vec<_>>()));
            let label = label(&servers);
            match timeout_at(end, done).await {
                Ok(Ok(())) => Ok(format!("{label}: connected anew")),
                Ok(Err(why)) => Err(format!("{label}: not connected: {why}")),
                Err(_) => Err(format!("{label}: still not connected after {}; attempts go on", span(within))),
            }
        }
        Until::Turned(told) => heard(told, end).await,
    }
}

/// Waits until `outcome` of the state of all servers is clear.
async fn when<T>(status: &Status, outcome: impl Fn(&[PipeStatus]) -> Option<T>) -> T {
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
fn of_server(command: ServerCommand, number: u64, pipe: &PipeStatus) -> Option<Outcome> {
    let PipeStatus { name, .. } = pipe;
    if let Some(other) = overtaken(command, number, pipe) {
        return Some(Err(format!("{name}: another command came in between; now it is wanted {other}")));
    }
    if pipe.heeded < number {
        return None;
    }
    match command {
        ServerCommand::Pause => Some(Ok(format!("{name}: paused, takes no calls"))),
        ServerCommand::Stop => (pipe.server == ServerState::Stopped).then(|| Ok(format!("{name}: stopped"))),
        ServerCommand::Start | ServerCommand::Resume | ServerCommand::Restart => match &pipe.server {
            ServerState::Serving | ServerState::Silent => Some(Ok(match command {
                ServerCommand::Restart => format!("{name}: restarted, serves again"),
                ServerCommand::Start | ServerCommand::Resume | ServerCommand::Pause | ServerCommand::Stop => {
                    format!("{name}: serves")
                }
            })),
            ServerState::Refusing(why) => Some(Err(format!("{name}: refuses to be initialized: {why}"))),
            ServerState::Down(why) => Some(Err(format!("{name}: {why}; further attempts follow by themselves"))),
            ServerState::Starting | ServerState::Stopped => None,
        },
    }
}

/// What is wanted of a server since a later command that wants something else than this one.
fn overtaken(command: ServerCommand, number: u64, pipe: &PipeStatus) -> Option<&'static str> {
    if pipe.ordered <= number {
        return None;
    }
    match (command, pipe.wanted) {
        (ServerCommand::Stop, Wanted::Running) | (ServerCommand::Pause, Wanted::Running) => Some("running"),
        (ServerCommand::Stop, Wanted::Paused) => Some("paused"),
        (
            ServerCommand::Start | ServerCommand::Resume | ServerCommand::Restart | ServerCommand::Pause,
            Wanted::Stopped,
        ) => Some("stopped"),
        // One that runs and takes no calls has been started and restarted all the same.
        (ServerCommand::Start | ServerCommand::Restart, Wanted::Paused) => None,
        (ServerCommand::Resume, Wanted::Paused) => Some("paused"),
        (ServerCommand::Stop, Wanted::Stopped)
        | (ServerCommand::Pause, Wanted::Paused)
        | (ServerCommand::Start | ServerCommand::Resume | ServerCommand::Restart, Wanted::Running) => None,
    }
}

/// What to tell when the time is over.
fn late(name: &str, command: ServerCommand, within: Duration, pipes: &[PipeStatus]) -> String {
    let within = span(within);
    let link = pipes.iter().find(|pipe| *pipe.name == *name).map(|pipe| &pipe.link);
    let also = match link {
        Some(LinkState::Down(why)) => format!(" (its connection: {why})"),
        Some(LinkState::Resting | LinkState::Connected) | None => String::new(),
    };
    match command {
        ServerCommand::Stop => format!("{name}: its process has not ended within {within}"),
        ServerCommand::Start | ServerCommand::Resume | ServerCommand::Restart | ServerCommand::Pause => {
            format!(
                "{name}: has not answered initialize within {within}{also}; it goes on starting, see mcp-pipe logs {name}"
            )
        }
    }
}

/// What has become of connections that are made anew. `None`: that is not clear yet.
fn of_connections(pipes: &[&PipeStatus]) -> Option<Result<(), String>> {
    let mut open = false;
    for pipe in pipes {
        match &pipe.link {
            LinkState::Down(why) => return Some(Err(why.clone())),
            LinkState::Resting => open = true,
            LinkState::Connected => {}
        }
    }
    (!open).then_some(Ok(()))
}

/// Names for a person.
fn label(servers: &[Arc<str>]) -> String {
    servers.iter().cloned().collect::<crate::logging::Names>().to_string()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::server::wanted::Goal;

    const ALL: [ServerCommand; 5] = [
        ServerCommand::Start,
        ServerCommand::Resume,
        ServerCommand::Restart,
        ServerCommand::Pause,
        ServerCommand::Stop,
    ];

    fn pipe(server: ServerState, wanted: Wanted, ordered: u64, heeded: u64) -> PipeStatus {
        PipeStatus { name: "x".into(), server, wanted, ordered, heeded, ..PipeStatus::default() }
    }

    #[test]
    fn nothing_is_clear_before_the_pipe_has_heeded_the_command() {
        for command in ALL {
            let wanted = Goal::default().after(command).wanted;
            for state in [ServerState::Serving, ServerState::Stopped, ServerState::Down("old".into())] {
                assert_eq!(of_server(command, 3, &pipe(state, wanted, 3, 2)), None, "{command:?}");
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
                .map(|state| match of_server(command, 1, &pipe(state.clone(), wanted, 1, 1)) {
                    None => '.',
                    Some(Ok(_)) => 'y',
                    Some(Err(_)) => 'n',
                })
                .collect();
            assert_eq!(got, want, "{command:?}");
        }
        let down = pipe(ServerState::Down("exited with code 1".into()), Wanted::Running, 1, 1);
        let said = of_server(ServerCommand::Restart, 1, &down).unwrap().unwrap_err();
        assert_eq!(said, "x: exited with code 1; further attempts follow by themselves");
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
            let got = later.map(|wanted| overtaken(command, 1, &pipe(ServerState::Starting, wanted, 2, 0)).is_some());
            assert_eq!(got, taken_back, "{command:?}");
        }
    }

    #[test]
    fn connections_are_made_when_all_stand_and_failed_when_one_attempt_has() {
        let link = |link| PipeStatus { link, ..PipeStatus::default() };
        let (resting, up, down) =
            (link(LinkState::Resting), link(LinkState::Connected), link(LinkState::Down("HTTP 401".into())));
        assert_eq!(of_connections(&[&up, &resting]), None);
        assert_eq!(of_connections(&[&up, &up]), Some(Ok(())));
        assert_eq!(of_connections(&[&up, &resting, &down]), Some(Err("HTTP 401".into())));
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_comes_is_not_waited_for_for_ever() {
        let status = Status::default();
        let entry = status.add("x");
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
            entry.server(ServerState::Stopped);
        };
        let (said, ()) = tokio::join!(of(given(ServerCommand::Stop, 10), &status), stopped);
        assert_eq!(said.unwrap(), "x: stopped");
    }
}
