//! Which servers share an agent, and how they are laid onto pipes. Pure.

use std::sync::Arc;

use crate::config::{EndpointSpec, LinkSpec, Mode, ServerSpec};
use crate::endpoint::Endpoint;
use crate::endpoint::agent::{self, Agent, LeaseKey};
use crate::logging::Names;
use crate::words::span;

/// Servers of one agent that share it in the same mode.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    /// The agent.
    pub agent: Agent,
    /// The mode in which the servers share the agent.
    pub mode: Mode,
    /// The endpoint's name, if it has one.
    pub name: Option<Arc<str>>,
    /// How the endpoint is dialled where servers share a connection; `None`: as the first server says.
    pub link: Option<Arc<LinkSpec>>,
    /// At least one server, in the order of the config, each with its endpoint, as that shows it.
    pub servers: Vec<(ServerSpec, Endpoint)>,
}

/// How the servers of a group are laid onto pipes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// A pipe for each server.
    Apart,
    /// One pipe for all servers, as one server.
    Together,
    /// One pipe for all servers, as one server, as long as that fares better than a pipe for each.
    OnTrial,
    /// One pipe for all servers, one of them at a time.
    InTurns,
}

/// Groups servers by the endpoints that they have of their own, and those that the other endpoints show.
pub(crate) fn groups(servers: &[ServerSpec], endpoints: &[EndpointSpec]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for spec in servers.iter().cloned() {
        let Some(endpoint) = spec.endpoint.clone() else { continue };
        let (agent, mode) = (Agent::of(&endpoint, &spec.link.headers), spec.sharing.mode);
        match groups.iter_mut().find(|group| group.agent == agent && group.mode == mode) {
            Some(group) => group.servers.push((spec, endpoint)),
            None => groups.push(Group { agent, mode, name: None, link: None, servers: vec![(spec, endpoint)] }),
        }
    }
    for spec in endpoints {
        let EndpointSpec { name, endpoint, link, sharing, .. } = spec;
        let (agent, mode) = (Agent::of(endpoint, &link.headers), sharing.mode);
        let shown = spec.as_shown(servers).into_iter().map(|server| (server, endpoint.clone()));
        // An address that one entry has for its own may stand among those of another.
        let is_it = |group: &&mut Group| group.name.is_none() && group.agent == agent && group.mode == mode;
        match groups.iter_mut().find(is_it).filter(|_| name.is_none()) {
            Some(group) => group.servers.extend(shown),
            None => {
                let (name, link) = (name.clone(), Some(link.clone()));
                groups.push(Group { agent, mode, name, link, servers: shown.collect() });
            }
        }
    }
    groups
}

impl Group {
    /// The layout at the start. `takes_one`: the agent is known to keep one connection only.
    pub(crate) fn layout(&self, takes_one: bool) -> Layout {
        match self.mode {
            // One may become several, and the connection is to stay.
            Mode::Multiplex => Layout::Together,
            _ if self.servers.len() == 1 => Layout::Apart,
            Mode::Auto if takes_one => Layout::Together,
            Mode::Sequential => Layout::InTurns,
            Mode::Auto | Mode::PerServer => Layout::Apart,
        }
    }

    /// What several daemons call its agent.
    pub(crate) fn lease_key(&self) -> Option<LeaseKey> {
        let (first, endpoint) = self.servers.first()?;
        let link = self.link.as_ref().unwrap_or(&first.link);
        Some(LeaseKey::of(endpoint, &link.headers))
    }

    /// Whether the endpoint is one of those that keep only the newest connection of an agent.
    pub(crate) fn is_self_hosted(&self) -> bool {
        self.servers.iter().any(|(_, endpoint)| agent::takes_one(endpoint))
    }

    /// How several servers share their agent, and why so, in words that follow their names; `None` for one server.
    pub(crate) fn terms(&self) -> Option<String> {
        let [(first, _), _, ..] = self.servers.as_slice() else { return None };
        Some(match self.mode {
            Mode::Auto => {
                "share an agent: each has a connection of its own unless the endpoint is found to take only one, \
                           then all share that (\"mode\": \"auto\")"
                    .into()
            }
            Mode::PerServer => {
                "share an agent and have a connection each, in mode per-server; most endpoints allow only \
                                one or two for an agent and close the rest"
                    .into()
            }
            Mode::Multiplex => "share one connection as one server, in mode multiplex".into(),
            Mode::Sequential => {
                let turn = span(first.sharing.turn);
                format!("take turns of {turn} on one connection, in mode sequential")
            }
        })
    }

    /// The servers' names, for the log.
    pub(crate) fn names(&self) -> Names {
        self.servers.iter().map(|(spec, _)| spec.name.clone()).collect::<Names>().at(self.name.clone())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn laid(servers: &[(&str, &str)], mode: Mode, takes_one: bool) -> Vec<(Layout, String)> {
        let spec = |(name, token): &(&str, &str)| {
            let mut spec = ServerSpec::sample(name, "", &[]);
            spec.endpoint = Some(format!("wss://h/?token={token}").parse().unwrap());
            spec.sharing.mode = mode;
            spec
        };
        groups(&servers.iter().map(spec).collect::<Vec<_>>(), &[])
            .iter()
            .map(|group| (group.layout(takes_one), group.names().to_string()))
            .collect()
    }

    #[test]
    fn servers_of_one_agent_are_laid_out_as_their_mode_says() {
        let servers = [("a", "x"), ("b", "y"), ("c", "x")];
        for (mode, takes_one, want) in [
            (Mode::Auto, false, Layout::Apart),
            (Mode::Auto, true, Layout::Together),
            (Mode::PerServer, true, Layout::Apart),
            (Mode::Multiplex, false, Layout::Together),
            (Mode::Sequential, false, Layout::InTurns),
        ] {
            // One on a shared connection may get others beside it.
            let alone = if mode == Mode::Multiplex { Layout::Together } else { Layout::Apart };
            let one_alone = (alone, "b".into());
            assert_eq!(laid(&servers, mode, takes_one), [(want, "a+c".into()), one_alone], "{mode:?}");
        }
    }

    #[test]
    fn servers_that_share_an_agent_are_told_how_and_one_alone_is_not() {
        for (mode, part) in [
            (Mode::Auto, "unless the endpoint is found to take only one"),
            (Mode::PerServer, "close the rest"),
            (Mode::Multiplex, "share one connection as one server"),
            (Mode::Sequential, "take turns of 5 min on one connection"),
        ] {
            let spec = |name: &&str| {
                let mut spec = ServerSpec::sample(name, "", &[]);
                spec.endpoint = Some("wss://h/?token=x".parse().unwrap());
                spec.sharing.mode = mode;
                spec
            };
            let terms = |names: &[&str]| groups(&names.iter().map(spec).collect::<Vec<_>>(), &[])[0].terms();
            assert!(terms(&["a", "b"]).unwrap().contains(part), "{mode:?}");
            assert_eq!(terms(&["a"]), None);
        }
    }
}
