//! What each pipe is doing, for whoever asks. Written by the pipes through handles, read by `admin` and `inspect`.

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::secrecy::Redactor;

/// What a server is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ServerState {
    /// It runs or is about to, and has not answered anything yet.
    #[default]
    Starting,
    /// It answers.
    Serving,
    /// It was called, and has said nothing for minutes.
    Silent,
    /// It answers `initialize` with an error, and what that says.
    Refusing(String),
    /// It is gone or could not be started, and why.
    Down(String),
}

/// What a link is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LinkState {
    /// No attempt has ended yet.
    #[default]
    Resting,
    /// A connection stands.
    Connected,
    /// There is none, and why.
    Down(String),
}

/// One pipe's state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipeStatus {
    /// The server's name.
    pub name: String,
    /// The server.
    pub server: ServerState,
    /// The connection.
    pub link: LinkState,
    /// The place of the first of those that share this connection; its own if it has one alone.
    pub line: usize,
    /// How many tools the endpoint was shown on this connection; `None` if it has not read all of them.
    pub tools: Option<usize>,
}

impl PipeStatus {
    /// Whether a call would get through.
    pub fn is_healthy(&self) -> bool {
        self.server == ServerState::Serving && self.link == LinkState::Connected
    }
}

/// All pipes of a run, in the order of the config. Cloning gives another handle.
#[derive(Debug, Clone, Default)]
pub struct Status {
    pipes: watch::Sender<Vec<PipeStatus>>,
    /// What it takes out of each text that it is told: servers and endpoints may have said that.
    redactor: Redactor,
}

/// One pipe's own entry.
#[derive(Debug, Clone)]
pub struct StatusEntry {
    of: Status,
    index: usize,
}

impl Status {
    /// Of no pipe yet. What `redactor` knows is in none of its texts.
    pub fn new(redactor: Redactor) -> Self {
        Status { redactor, ..Status::default() }
    }

    /// What takes secrets out of texts.
    pub fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// Adds a pipe that has not begun yet.
    pub fn add(&self, name: &str) -> StatusEntry {
        let mut index = 0;
        self.pipes.send_modify(|pipes| {
            index = pipes.len();
            pipes.push(PipeStatus { name: name.into(), line: index, ..PipeStatus::default() });
        });
        StatusEntry { of: self.clone(), index }
    }

    /// What all pipes are doing now.
    pub fn read(&self) -> Vec<PipeStatus> {
        self.pipes.borrow().clone()
    }

    /// The same, again and again.
    pub fn changes(&self) -> watch::Receiver<Vec<PipeStatus>> {
        self.pipes.subscribe()
    }

    /// Whether the server called `name` runs, or is about to, and has not answered anything yet.
    pub fn is_starting(&self, name: &str) -> bool {
        self.pipes.borrow().iter().any(|pipe| pipe.name == name && pipe.server == ServerState::Starting)
    }

    /// Waits until the server called `name` is down or refuses to be initialized, and tells which.
    pub async fn failed(&self, name: &str) -> ServerState {
        let mut changes = self.changes();
        loop {
            let failed = changes.borrow_and_update().iter().find(|p| p.name == name).and_then(|p| match &p.server {
                failed @ (ServerState::Down(_) | ServerState::Refusing(_)) => Some(failed.clone()),
                ServerState::Starting | ServerState::Serving | ServerState::Silent => None,
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
    /// The server's new state.
    pub fn server(&self, mut state: ServerState) {
        if let ServerState::Down(why) = &mut state {
            *why = self.of.redactor.clean(why).into_owned();
        }
        self.change(|entry| entry.server = state);
    }

    /// The link's new state.
    pub fn link(&self, mut state: LinkState) {
        if let LinkState::Down(why) = &mut state {
            *why = self.of.redactor.clean(why).into_owned();
        }
        self.change(|entry| entry.link = state);
    }

    /// Its connection is that of `first`, perhaps itself, as well.
    pub fn shares(&self, first: &StatusEntry) {
        self.change(|entry| entry.line = first.index);
    }

    /// How many tools the endpoint was shown on its connection.
    pub fn tools(&self, tools: Option<usize>) {
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
