//! Whether a run is of use to anybody, and what it still waits for: what `/readyz` and systemd are told. Pure.
//!
//! What goes wrong at an endpoint is told and decides nothing: the endpoint may be down for all, and who comes by another way is served.

use super::status::{LinkState, LinkStatus, Overview, ServerState, ServerStatus};
use crate::server::wanted::Wanted;
use crate::words::{counted, listed};

/// Most names that are told in a line.
const SHOWN: usize = 8;

/// What `/readyz` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Readiness {
    /// Whether somebody who comes now is of use to themselves here: a server serves, and mcp-pipe is not stopping.
    pub is_ready: bool,
    /// In words: what serves, and line by line what does not.
    pub words: String,
}

impl Readiness {
    /// Of this state. `names`: whoever asks may know what servers and endpoints are called.
    pub(crate) fn of(all: &Overview, names: bool) -> Self {
        if all.stopping {
            return Readiness { is_ready: false, words: "stopping".to_owned() };
        }
        let serving = all.servers.iter().filter(|server| serves(server)).count();
        let is_ready = serving > 0 || all.servers.iter().all(|server| all.stands_by(server));
        let is_awaited =
            |server: &&ServerStatus| server.wanted == Wanted::Running && !serves(server) && !all.stands_by(server);
        let awaited = all.servers.iter().filter(is_awaited);
        let barred = all.servers.iter().filter(|server| server.wanted != Wanted::Running);
        let lost = all.links.iter().filter(|link| is_lost(link, all));
        let told = |what: &str, called: Vec<&str>, thing: &str| {
            let n = called.len();
            let which = if names { listed(called.into_iter().take(SHOWN).collect(), n) } else { counted(n, thing) };
            (n > 0).then(|| format!("{what} {which}"))
        };
        let lines = [
            told("waiting for", awaited.map(|server| server.name.as_str()).collect(), "server"),
            told("stopped or paused by command:", barred.map(|server| server.name.as_str()).collect(), "server"),
            told("not connected:", lost.map(LinkStatus::called).collect(), "endpoint"),
        ];
        let lines: Vec<String> = lines.into_iter().flatten().collect();
        let first = match (is_ready, lines.is_empty()) {
            (true, true) => "ok".to_owned(),
            (true, false) => format!("ok: {serving} of {} serving", counted(all.servers.len(), "server")),
            (false, _) => "no server serves".to_owned(),
        };
        Readiness { is_ready, words: [vec![first], lines].concat().join("\n") }
    }
}

/// Whether each server has served or failed once, and the gateway is there where one is wanted. An endpoint is never waited for.
pub(crate) fn is_started(all: &Overview, has_gateway: bool) -> bool {
    let is_settled = |server: &ServerStatus| {
        server.state != ServerState::Starting || server.fault.is_some() || all.is_held_back(server)
    };
    (!has_gateway || all.gateway.is_some()) && all.servers.iter().all(is_settled)
}

/// How a run stands, in a line without a name of anything.
pub(crate) fn line(all: &Overview) -> String {
    if all.stopping {
        return "stopping".to_owned();
    }
    let serving = all.servers.iter().filter(|server| serves(server)).count();
    let connected = all.links.iter().filter(|link| link.state == LinkState::Connected).count();
    let mut line = format!("{serving} of {} serving", counted(all.servers.len(), "server"));
    if !all.links.is_empty() {
        line += &format!(", {connected} of {} standing", counted(all.links.len(), "connection"));
    }
    if !all.mistakes.is_empty() {
        line += "; the config was changed and has mistakes";
    }
    line
}

/// Whether calls to a server are answered.
fn serves(server: &ServerStatus) -> bool {
    server.state == ServerState::Serving && server.wanted == Wanted::Running
}

/// Whether a link that is needed has no connection.
fn is_lost(link: &LinkStatus, all: &Overview) -> bool {
    link.state != LinkState::Connected && all.needs(link, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::status::tests::link;
    use crate::control::status::{ServerEntry, Status};
    use crate::error::FaultCode;
    use crate::server::wanted::{Goal, ServerCommand};

    fn three() -> (Status, [ServerEntry; 3]) {
        let status = Status::default();
        let servers = ["a", "b", "c"].map(|name| status.add_server(name));
        (status, servers)
    }

    #[test]
    fn one_server_that_serves_is_enough_and_the_rest_is_told() {
        let (status, servers) = three();
        let of = |names| Readiness::of(&status.read(), names);
        assert_eq!(of(true), Readiness { is_ready: false, words: "no server serves\nwaiting for a, b, c".into() });
        servers[0].state(ServerState::Serving);
        servers[1].state(ServerState::Down("exited".into()));
        servers[2].ordered(Goal::default().after(ServerCommand::Pause));
        let kitchen = link(&status, &[&servers[0]]);
        let told = of(true);
        let address = status.read().links[0].endpoint.clone();
        let words = format!(
            "ok: 1 of 3 servers serving\nwaiting for b\nstopped or paused by command: c\nnot connected: {address}"
        );
        assert_eq!(told, Readiness { is_ready: true, words });
        let words = "ok: 1 of 3 servers serving\nwaiting for 1 server\nstopped or paused by command: 1 server\nnot connected: 1 endpoint";
        assert_eq!(of(false).words, words);
        assert_eq!(line(&status.read()), "1 of 3 servers serving, 0 of 1 connection standing");
        kitchen.state(LinkState::Connected);
        servers[1].state(ServerState::Serving);
        servers[2].ordered(Goal::default());
        servers[2].state(ServerState::Serving);
        assert_eq!(of(true), Readiness { is_ready: true, words: "ok".into() });
        kitchen.state(LinkState::Down("it broke".into()));
        assert!(of(true).is_ready, "an outage elsewhere is told only");
        servers[0].ordered(Goal::default().after(ServerCommand::Stop));
        assert!(!of(true).words.contains("not connected"), "nobody needs that connection");
        status.set_stopping();
        assert_eq!(of(true), Readiness { is_ready: false, words: "stopping".into() });
        assert_eq!(line(&status.read()), "stopping");
    }

    #[test]
    fn who_stands_by_is_ready_and_waits_for_nothing() {
        let status = Status::default();
        let a = status.add_server("a");
        let kitchen = link(&status, &[&a]);
        status.set_lease_node("attic");
        kitchen.state(LinkState::Standby("garage has the lease of its agent".into()));
        let ready = |words: &str| Readiness { is_ready: true, words: words.into() };
        assert_eq!(Readiness::of(&status.read(), true), ready("ok"));
        assert!(is_started(&status.read(), false), "its servers are started when the lease comes");
        kitchen.state(LinkState::Resting);
        assert!(!Readiness::of(&status.read(), true).is_ready, "the lease is there, and nothing serves yet");
    }

    #[test]
    fn nothing_is_waited_for_where_there_is_no_server() {
        assert_eq!(Readiness::of(&Overview::default(), true), Readiness { is_ready: true, words: "ok".into() });
    }

    #[test]
    fn a_start_is_over_once_each_server_has_served_or_failed_whatever_the_endpoints_do() {
        let (status, servers) = three();
        let started = |gateway| is_started(&status.read(), gateway);
        servers[0].state(ServerState::Serving);
        servers[1].state(ServerState::Refusing("no licence".into()));
        let _undialled = link(&status, &[&servers[0]]);
        assert!(!started(false), "c has done neither");
        servers[2].change(|server| server.fault = Some(FaultCode::ServerExited));
        assert!(started(false), "it has failed, and starts again");
        assert!(!started(true));
        status.set_gateway(Some("http://127.0.0.1:1/mcp".into()));
        assert!(started(true));
    }
}
