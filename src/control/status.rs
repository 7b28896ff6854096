//! What each server and its connection are doing: the fields that `status` and `health` show. The pipes write them through handles; `answers`,
//! `health`, `summary` and `inspect` read them.

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::endpoint::Endpoint;
use crate::secrecy::Redactor;
use crate::server::wanted::{Goal, Wanted};

/// What a server is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum ServerState {
    /// The server runs or is about to, and has not answered anything yet.
    #[default]
    Starting,
    /// The server answers.
    Serving,
    /// The server was called, and has said nothing for 5 minutes; until then it counts as serving.
    Silent,
    /// The server answers `initialize` with an error, in these words.
    Refusing(String),
    /// The server is gone or could not be started, for this reason.
    Down(String),
    /// The server does not run, as it is wanted.
    Stopped,
}

/// What is said of a server that is [`ServerState::Silent`].
pub(super) const SILENT: &str = "it was called, and has said nothing for 5 minutes or more";

/// What a link is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum LinkState {
    /// No attempt has ended yet.
    #[default]
    Resting,
    /// A connection stands.
    Connected,
    /// No connection stands, for this reason.
    Down(String),
}

/// How a server stands whose servers have their endpoint in turns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TurnState {
    /// Whether the server has its turn.
    pub current: bool,
    /// Whether a turn of the server does not end by itself.
    pub pinned: bool,
}

/// The state of one server and of its connection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PipeStatus {
    /// The server's name.
    pub name: String,
    /// What the server is doing.
    pub server: ServerState,
    /// What its connection is doing.
    pub link: LinkState,
    /// The place, in the list of all, of the first server that shares this connection; the server's own place if it is alone.
    pub line: usize,
    /// How many tools the endpoint was shown on this connection; `None` if the endpoint has not read all of them.
    pub tools: Option<usize>,
    /// Whether the endpoint has said nothing yet on a connection that stands.
    #[serde(default)]
    pub unasked: bool,
    /// The server's turn; `None` if its servers take no turns.
    #[serde(default)]
    pub turn: Option<TurnState>,
    /// What a person wants of the server.
    #[serde(default)]
    pub wanted: Wanted,
    /// The number of the last command about the server.
    #[serde(skip)]
    pub ordered: u64,
    /// The number of the last command about the server that its pipe has taken note of.
    #[serde(skip)]
    pub heeded: u64,
    /// Where the server is served, without what is secret.
    #[serde(default)]
    pub endpoint: String,
}

impl PipeStatus {
    /// Whether a call would get through.
    pub(crate) fn is_healthy(&self) -> bool {
        self.server == ServerState::Serving && self.link == LinkState::Connected
    }

    /// Whether all is as it is wanted: a call would get through, or somebody has said that it shall not.
    pub(crate) fn is_well(&self) -> bool {
        match self.wanted {
            Wanted::Running | Wanted::Paused => self.is_healthy(),
            Wanted::Stopped => self.server == ServerState::Stopped,
        }
    }
}

/// The state of all servers of a run, in the order of the config. Cloning gives another handle.
#[derive(Debug, Clone, Default)]
pub(crate) struct Status {
    pipes: watch::Sender<Vec<PipeStatus>>,
    /// Cleans each text that is noted, which servers or endpoints may have said.
    redactor: Redactor,
}

/// The entry of one server, for its pipe to write.
#[derive(Debug, Clone)]
pub(crate) struct StatusEntry {
    of: Status,
    index: usize,
}

impl Status {
    /// The state of no server yet. `redactor` cleans all texts.
    pub(crate) fn new(redactor: Redactor) -> Self {
        Status { redactor, ..Status::default() }
    }

    /// The redactor that cleans all texts.
    pub(crate) fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// Adds a server that has not been started yet.
    pub(crate) fn add(&self, name: &str) -> StatusEntry {
        let mut index = 0;
        self.pipes.send_modify(|pipes| {
            index = pipes.len();
            pipes.push(PipeStatus { name: name.into(), line: index, ..PipeStatus::default() });
        });
        StatusEntry { of: self.clone(), index }
    }

    /// The state of all servers now.
    pub(crate) fn read(&self) -> Vec<PipeStatus> {
        self.pipes.borrow().clone()
    }

    /// The state of all servers, and a notice of each change.
    pub(crate) fn changes(&self) -> watch::Receiver<Vec<PipeStatus>> {
        self.pipes.subscribe()
    }

    /// Whether the server called `name` is [`ServerState::Starting`].
    pub(crate) fn is_starting(&self, name: &str) -> bool {
        self.pipes.borrow().iter().any(|pipe| pipe.name == name && pipe.server == ServerState::Starting)
    }

    /// Waits until the server called `name` is down or refuses to be initialized. Returns that state.
    pub(crate) async fn failed(&self, name: &str) -> ServerState {
        let mut changes = self.changes();
        loop {
            let failed = changes.borrow_and_update().iter().find(|p| p.name == name).and_then(|p| match &p.server {
                failed @ (ServerState::Down(_) | ServerState::Refusing(_)) => Some(failed.clone()),
                ServerState::Starting | ServerState::Serving | ServerState::Silent | ServerState::Stopped => None,
            });
            if let Some(failed) = failed {
                return failed;
            }
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await; // can't be: we hold a sender
            }
        }
    }
}

impl StatusEntry {
    /// Notes the server's new state.
    pub(crate) fn server(&self, mut state: ServerState) {
        if let ServerState::Down(why) = &mut state {
            *why = self.of.redactor.clean(why).into_owned();
        }
        self.change(|entry| entry.server = state);
    }

    /// Notes the link's new state.
    pub(crate) fn link(&self, mut state: LinkState) {
        if let LinkState::Down(why) = &mut state {
            *why = self.of.redactor.clean(why).into_owned();
        }
        self.change(|entry| entry.link = state);
    }

    /// Notes that the server shares the connection of `first`, which may be the server itself.
    pub(crate) fn shares(&self, first: &StatusEntry) {
        self.change(|entry| entry.line = first.index);
    }

    /// Notes where the server is served.
    pub(crate) fn endpoint(&self, endpoint: &Endpoint) {
        let text = self.of.redactor.clean(&endpoint.to_string()).into_owned();
        self.change(|entry| entry.endpoint = text);
    }

    /// Notes what a person wants of the server.
    pub(crate) fn ordered(&self, goal: Goal) {
        self.change(|entry| (entry.wanted, entry.ordered) = (goal.wanted, goal.number));
    }

    /// Notes that what follows from a command, by its number, has begun.
    pub(crate) fn heeded(&self, number: u64) {
        self.change(|entry| entry.heeded = number);
    }

    /// Notes whether the endpoint has said nothing yet on the connection.
    pub(crate) fn unasked(&self, unasked: bool) {
        self.change(|entry| entry.unasked = unasked);
    }

    /// Notes how the server stands among those that take turns.
    pub(crate) fn turn(&self, turn: TurnState) {
        self.change(|entry| entry.turn = Some(turn));
    }

    /// Notes how many tools the endpoint was shown on the connection.
    pub(crate) fn tools(&self, tools: Option<usize>) {
        self.change(|entry| entry.tools = tools);
    }

    fn change(&self, change: impl FnOnce(&mut PipeStatus)) {
        self.of.pipes.send_modify(|pipes| {
            if let Some(entry) = pipes.get_mut(self.index) {
                change(entry);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrecy::Secret;

    #[test]
    fn no_secret_is_in_what_it_was_told() {
        let status = Status::new([Secret::new("ab1cd2e")].into_iter().collect());
        let entry = status.add("a");
        entry.server(ServerState::Down("exited: ab1cd2e".into()));
        entry.link(LinkState::Down("closed 4004 \"bad ab1cd2e\"".into()));
        let [pipe] = &status.read()[..] else { panic!("there is one") };
        assert_eq!(pipe.server, ServerState::Down("exited: …".into()));
        assert_eq!(pipe.link, LinkState::Down("closed 4004 \"bad …\"".into()));
    }
}
