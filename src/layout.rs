//! Which servers share a pipe. Pure.

use crate::agent::Agent;
use crate::config::{Mode, ServerSpec};

/// How the servers of a pipe share its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shared {
    /// There is one only.
    Alone,
    /// As one server.
    Merged,
    /// One at a time.
    InTurns,
}

/// The servers of one pipe.
#[derive(Debug)]
pub struct Group {
    /// How they share its connection.
    pub shared: Shared,
    /// In the order of the config.
    pub servers: Vec<ServerSpec>,
}

/// Lays servers onto pipes. `takes_one` says of which agents it is known that they keep one connection only.
pub fn layout(servers: Vec<ServerSpec>, takes_one: impl Fn(&ServerSpec) -> bool) -> Vec<Group> {
    let mut groups: Vec<(Option<Agent>, Group)> = Vec::new();
    for spec in servers {
        let agent = spec.endpoint.as_ref().map(|endpoint| Agent::of(endpoint, &spec.link.headers));
        let shared = match spec.sharing.mode {
            Mode::Multiplex => Shared::Merged,
            Mode::Auto if takes_one(&spec) => Shared::Merged,
            Mode::Sequential => Shared::InTurns,
            Mode::Auto | Mode::PerServer => Shared::Alone,
        };
        let group = groups
            .iter_mut()
            .find(|(of, group)| shared != Shared::Alone && agent.is_some() && *of == agent && group.shared == shared);
        match group {
            Some((_, group)) => group.servers.push(spec),
            None => groups.push((agent, Group { shared, servers: vec![spec] })),
        }
    }
    let alone = |mut group: Group| {
        if group.servers.len() == 1 {
            group.shared = Shared::Alone;
        }
        group
    };
    groups.into_iter().map(|(_, group)| alone(group)).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn spec(name: &str, endpoint: &str, mode: Mode) -> ServerSpec {
        let mut spec = ServerSpec::sample(name, "", &[]);
        spec.endpoint = Some(endpoint.parse().unwrap());
        spec.sharing.mode = mode;
        spec
    }

    fn laid(servers: Vec<ServerSpec>, takes_one: bool) -> Vec<(Shared, String)> {
        let names = |group: &Group| group.servers.iter().map(|s| s.name.to_string()).collect::<Vec<_>>().join("+");
        layout(servers, |_| takes_one).iter().map(|group| (group.shared, names(group))).collect()
    }

    #[test]
    fn servers_of_one_agent_share_a_pipe_as_their_mode_says() {
        let (x, y) = ("wss://h/?token=x", "wss://h/?token=y");
        for (mode, shared) in [(Mode::Multiplex, Shared::Merged), (Mode::Sequential, Shared::InTurns)] {
            let servers = vec![spec("a", x, mode), spec("b", y, mode), spec("c", x, mode)];
            assert_eq!(laid(servers, false), [(shared, "a+c".into()), (Shared::Alone, "b".into())]);
        }
        let servers = vec![spec("a", x, Mode::PerServer), spec("b", x, Mode::PerServer)];
        assert_eq!(laid(servers, true), [(Shared::Alone, "a".into()), (Shared::Alone, "b".into())]);
    }

    #[test]
    fn with_auto_they_share_one_where_the_agent_is_known_to_take_only_one() {
        let servers = || vec![spec("a", "wss://h/?token=x", Mode::Auto), spec("b", "wss://h/?token=x", Mode::Auto)];
        assert_eq!(laid(servers(), true), [(Shared::Merged, "a+b".into())]);
        assert_eq!(laid(servers(), false).len(), 2);
    }
}
