//! What each pipe is doing, for whoever asks. Written by the pipes through handles, read by `admin` and `inspect`.

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

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
pub struct Status(watch::Sender<Vec<PipeStatus>>);

/// One pipe's own entry.
#[derive(Debug, Clone)]
pub struct StatusEntry {
    of: Status,
    index: usize,
}

impl Status {
    /// Adds a pipe that has not begun yet.
    pub fn add(&self, name: &str) -> StatusEntry {
        let mut index = 0;
        self.0.send_modify(|pipes| {
            index = pipes.len();
            pipes.push(PipeStatus { name: name.into(), line: index, ..PipeStatus::default() });
        });
        StatusEntry { of: self.clone(), index }
    }

    /// What all pipes are doing now.
    pub fn read(&self) -> Vec<PipeStatus> {
        self.0.borrow().clone()
    }

    /// The same, again and again.
    pub fn changes(&self) -> watch::Receiver<Vec<PipeStatus>> {
        self.0.subscribe()
    }

    /// Whether the server called `name` runs, or is about to, and has not answered anything yet.
    pub fn is_starting(&self, name: &str) -> bool {
        self.0.borrow().iter().any(|pipe| pipe.name == name && pipe.server == ServerState::Starting)
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
    pub fn server(&self, state: ServerState) {
        self.change(|entry| entry.server = state);
    }

    /// The link's new state.
    pub fn link(&self, state: LinkState) {
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
        self.of.0.send_modify(|pipes| {
            if let Some(entry) = pipes.get_mut(self.index) {
                change(entry);
            }
        });
    }
}
