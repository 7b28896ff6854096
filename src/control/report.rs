//! What `mcp-pipe status` tells: of each server a line in words, or all as JSON. Pure.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::figures::{Counted, PRECISION};
use super::health::PipeStatus;
use super::picture::Picture;
use super::protocol::Daemon;
use super::status::{LinkState, SILENT, ServerState};
use crate::server::wanted::Wanted;
use crate::words::counted;

/// The number of this form of the JSON. It changes when a member is taken away or means something else, not when one is added.
const SCHEMA: u32 = 1;

/// A running mcp-pipe.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report<'a> {
    schema: u32,
    daemon: &'a Daemon,
    /// Whether all that is wanted serves.
    well: bool,
    servers: Vec<Server<'a>>,
}

/// A server and its connection.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Server<'a> {
    name: &'a str,
    well: bool,
    /// What a person wants of it: `running`, `paused` or `stopped`.
    wanted: Wanted,
    /// `starting`, `serving`, `silent`, `refusing`, `down` or `stopped`.
    state: &'static str,
    /// Where it refuses or is down, why.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
    /// With mode sequential: `current` or `waiting`.
    #[serde(skip_serializing_if = "Option::is_none")]
    turn: Option<&'static str>,
    /// With mode sequential: whether a turn of it does not end by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pinned: Option<bool>,
    calls: Calls,
    connection: Connection<'a>,
}

/// What is counted of a server's calls.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Calls {
    /// Those that were answered.
    answered: u64,
    /// Those among them that were answered with an error.
    errors: u64,
    /// The times within which 50 and 99 of 100 were answered, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    p50_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p99_ms: Option<f64>,
    /// The part by which these may differ from the true ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    precision: Option<f64>,
}

impl Calls {
    fn of(Counted { calls, errors, p50, p99 }: Counted) -> Self {
        let millis = |micros: u64| Duration::from_micros(micros).as_secs_f64() * 1e3;
        let (p50_ms, p99_ms) = (p50.map(millis), p99.map(millis));
        Calls { answered: calls, errors, p50_ms, p99_ms, precision: p50.map(|_| PRECISION) }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Connection<'a> {
    /// `waiting`, `connected` or `down`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
    /// Where to, without what is secret.
    #[serde(skip_serializing_if = "str::is_empty")]
    endpoint: &'a str,
    /// The first server on it, where it is shared and this is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    shared_with: Option<&'a str>,
    /// How many tools the endpoint has read on it, of all servers on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<usize>,
    /// Where it stands: whether the endpoint has said anything on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    asked: Option<bool>,
}

impl<'a> Report<'a> {
    /// Of all pipes, or of the one of this server.
    pub(super) fn new(
        daemon: &'a Daemon,
        (picture, pipes): (&'a Picture, &'a [PipeStatus]),
        only: Option<&str>,
    ) -> Self {
        let of = |pipe: &&PipeStatus| only.is_none_or(|only| pipe.name == only);
        let servers: Vec<Server> = pipes.iter().filter(of).map(|pipe| Server::new(pipe, (picture, pipes))).collect();
        Report { schema: SCHEMA, daemon, well: servers.iter().all(|server| server.well), servers }
    }

    /// Whether all of it serves.
    pub(super) fn is_well(&self) -> bool {
        self.well
    }

    /// A line for each server.
    pub(super) fn words(&self) -> String {
        let mut text = String::new();
        for server in &self.servers {
            // Writing to a String does not fail.
            let _infallible = writeln!(text, "{}: {}, {}", server.name, server.words(), server.connection.words());
        }
        text
    }
}

impl<'a> Server<'a> {
    fn new(pipe: &'a PipeStatus, (picture, all): (&Picture, &'a [PipeStatus])) -> Self {
        let (state, why) = match &pipe.server {
            ServerState::Starting => ("starting", None),
            ServerState::Serving => ("serving", None),
            ServerState::Silent => ("silent", None),
            ServerState::Refusing(why) => ("refusing", Some(why.as_str())),
            ServerState::Down(why) => ("down", Some(why.as_str())),
            ServerState::Stopped => ("stopped", None),
        };
        let (link, no_link) = match &pipe.link {
            LinkState::Resting => ("waiting", None),
            LinkState::Connected => ("connected", None),
            LinkState::Down(why) => ("down", Some(why.as_str())),
        };
        let first = all.get(pipe.line).map(|first| first.name.as_str()).filter(|first| *first != pipe.name);
        let connection = Connection {
            state: link,
            why: no_link,
            endpoint: &pipe.endpoint,
            shared_with: first,
            tools: pipe.tools,
            asked: (pipe.link == LinkState::Connected).then_some(!pipe.unasked),
        };
        // A stopped server waits for nothing.
        let turn = pipe.turn.filter(|turn| turn.current || pipe.wanted != Wanted::Stopped);
        let turn = turn.map(|turn| if turn.current { "current" } else { "waiting" });
        let pinned = pipe.turn.map(|turn| turn.pinned);
        let seen = picture.overview.server(&pipe.name).and_then(|server| picture.seen(server.key));
        let calls = Calls::of(seen.map(|seen| seen.counted).unwrap_or_default());
        let (name, well, wanted) = (pipe.name.as_str(), pipe.is_well(), pipe.wanted);
        Server { name, well, wanted, state, why, turn, pinned, calls, connection }
    }

    fn words(&self) -> String {
        let mut said = self.standing();
        said += match self.turn {
            Some("current") => ", its turn",
            Some(_) => ", waits for its turn",
            None => "",
        };
        if self.pinned == Some(true) {
            said += ", pinned";
        }
        said
    }

    fn standing(&self) -> String {
        match self.wanted {
            Wanted::Running => self.doing(),
            Wanted::Paused => format!("paused (takes no calls), {}", self.doing()),
            Wanted::Stopped if self.state == "stopped" => "stopped by command".to_owned(),
            Wanted::Stopped => "is being stopped by command".to_owned(),
        }
    }

    fn doing(&self) -> String {
        let said = match self.state {
            "starting" => "starting, has not answered yet",
            "silent" => return format!("silent: {SILENT}"),
            "refusing" => "refuses to be initialized",
            state => state,
        };
        with_reason(said, self.why)
    }
}

impl Connection<'_> {
    fn words(&self) -> String {
        let said = match self.state {
            "waiting" => "not connected yet",
            "down" => "not connected",
            state => state,
        };
        let mut said = with_reason(said, self.why);
        if let Some(first) = self.shared_with {
            said += &format!(" together with {first}");
        } else if let Some(tools) = self.tools.filter(|_| self.state == "connected") {
            said += &format!(", {}", counted(tools, "tool"));
        } else if self.asked == Some(false) {
            said += ", has asked for nothing yet";
        }
        said
    }
}

fn with_reason(said: &str, why: Option<&str>) -> String {
    why.map_or_else(|| said.to_owned(), |why| format!("{said}: {why}"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::control::status::TurnState;

    fn pipe(name: &str, line: usize, server: ServerState, link: LinkState) -> PipeStatus {
        let tools = (link == LinkState::Connected).then_some(5);
        PipeStatus { name: name.into(), server, link, line, tools, ..PipeStatus::default() }
    }

    fn pipes() -> Vec<PipeStatus> {
        vec![
            pipe("a", 0, ServerState::Serving, LinkState::Connected),
            pipe("b", 0, ServerState::Down("exited with code 1".into()), LinkState::Connected),
            pipe("c", 2, ServerState::Starting, LinkState::Resting),
            pipe("d", 3, ServerState::Refusing("no licence".into()), LinkState::Down("HTTP 401".into())),
            pipe("e", 4, ServerState::Silent, LinkState::Down("closed 4004".into())),
        ]
    }

    #[test]
    fn each_server_has_a_line_in_words() {
        let (daemon, pipes) = (Daemon::default(), pipes());
        let picture = Picture::default();
        let report = Report::new(&daemon, (&picture, &pipes), None);
        assert_eq!(
            report.words(),
            "a: serving, connected, 5 tools\n\
             b: down: exited with code 1, connected together with a\n\
             c: starting, has not answered yet, not connected yet\n\
             d: refuses to be initialized: no licence, not connected: HTTP 401\n\
             e: silent: it was called, and has said nothing for 5 minutes or more, not connected: closed 4004\n"
        );
        assert!(!report.is_well());
        let one = Report::new(&daemon, (&picture, &pipes), Some("a"));
        assert_eq!((one.words().as_str(), one.is_well()), ("a: serving, connected, 5 tools\n", true));
    }

    #[test]
    fn what_is_wanted_is_told_and_a_server_that_is_as_it_is_wanted_is_well() {
        let daemon = Daemon::default();
        let wanted = |wanted, server, link| PipeStatus { wanted, ..pipe("a", 0, server, link) };
        for (pipe, words, well) in [
            (
                wanted(Wanted::Paused, ServerState::Serving, LinkState::Connected),
                "a: paused (takes no calls), serving, connected, 5 tools\n",
                true,
            ),
            (
                wanted(Wanted::Paused, ServerState::Down("exited with code 1".into()), LinkState::Connected),
                "a: paused (takes no calls), down: exited with code 1, connected, 5 tools\n",
                false,
            ),
            (
                wanted(Wanted::Stopped, ServerState::Stopped, LinkState::Connected),
                "a: stopped by command, connected, 5 tools\n",
                true,
            ),
            (
                wanted(Wanted::Stopped, ServerState::Stopped, LinkState::Resting),
                "a: stopped by command, not connected yet\n",
                true,
            ),
            (
                wanted(Wanted::Stopped, ServerState::Serving, LinkState::Connected),
                "a: is being stopped by command, connected, 5 tools\n",
                false,
            ),
        ] {
            let pipes = [PipeStatus { endpoint: "wss://h/?…".into(), ..pipe }];
            let picture = Picture::default();
            let report = Report::new(&daemon, (&picture, &pipes), None);
            assert_eq!((report.words().as_str(), report.is_well()), (words, well));
            let json = serde_json::to_value(&report).unwrap();
            assert_eq!(json["servers"][0]["connection"]["endpoint"], "wss://h/?…");
        }
    }

    #[test]
    fn an_endpoint_that_has_asked_for_nothing_is_told_and_is_no_fault() {
        let daemon = Daemon::default();
        let unasked = |link| PipeStatus { unasked: true, tools: None, ..pipe("a", 0, ServerState::Serving, link) };
        let pipes = [unasked(LinkState::Connected)];
        let picture = Picture::default();
        let report = Report::new(&daemon, (&picture, &pipes), None);
        assert_eq!(
            (report.words().as_str(), report.is_well()),
            ("a: serving, connected, has asked for nothing yet\n", true)
        );
        assert_eq!(serde_json::to_value(&report).unwrap()["servers"][0]["connection"]["asked"], false);
        let pipes = [unasked(LinkState::Down("HTTP 401".into()))];
        let picture = Picture::default();
        let report = Report::new(&daemon, (&picture, &pipes), None);
        assert_eq!(report.words(), "a: serving, not connected: HTTP 401\n");
        assert!(serde_json::to_value(&report).unwrap()["servers"][0]["connection"].get("asked").is_none());
    }

    #[test]
    fn whose_turn_it_is_and_who_is_pinned_is_told() {
        let turn = |current, pinned| Some(TurnState { current, pinned });
        let of = |name, turn, wanted| PipeStatus {
            turn,
            wanted,
            tools: None,
            ..pipe(name, 0, ServerState::Serving, LinkState::Connected)
        };
        let mut pipes = vec![
            of("a", turn(true, false), Wanted::Running),
            of("b", turn(false, true), Wanted::Running),
            of("c", turn(false, false), Wanted::Stopped),
            of("d", turn(false, false), Wanted::Paused),
        ];
        pipes[2].server = ServerState::Stopped;
        let daemon = Daemon::default();
        let picture = Picture::default();
        let report = Report::new(&daemon, (&picture, &pipes), None);
        assert_eq!(
            report.words(),
            "a: serving, its turn, connected\n\
             b: serving, waits for its turn, pinned, connected together with a\n\
             c: stopped by command, connected together with a\n\
             d: paused (takes no calls), serving, waits for its turn, connected together with a\n"
        );
        let json = serde_json::to_value(&report).unwrap();
        let told = |n: usize| (json["servers"][n]["turn"].clone(), json["servers"][n]["pinned"].clone());
        assert_eq!(told(0), ("current".into(), false.into()));
        assert_eq!(told(1), ("waiting".into(), true.into()));
        assert_eq!(told(2), (serde_json::Value::Null, false.into()));
    }

    #[test]
    fn the_json_has_a_number_and_says_the_same() {
        let daemon = Daemon { pid: 7, version: "0.1.0".into(), config: "/c".into() };
        let json = serde_json::to_value(Report::new(&daemon, (&Picture::default(), &pipes()[..2]), None)).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "schema": 1,
                "daemon": {"pid": 7, "version": "0.1.0", "config": "/c"},
                "well": false,
                "servers": [
                    {"name": "a", "well": true, "wanted": "running", "state": "serving", "calls": {"answered": 0, "errors": 0}, "connection": {"state": "connected", "tools": 5, "asked": true}},
                    {"name": "b", "well": false, "wanted": "running", "state": "down", "why": "exited with code 1", "calls": {"answered": 0, "errors": 0},
                     "connection": {"state": "connected", "sharedWith": "a", "tools": 5, "asked": true}},
                ]
            })
        );
    }
}
