//! The state of a server.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::alike::{CircuitState, Conduct, HealthState, HealthStatus};
use super::moment;
use crate::control::figures::{Causes, Figures};
use crate::control::history::Doing;
use crate::error::FaultCode;
use crate::router::FAILURES;
use crate::server::wanted::Wanted;

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
pub(in crate::control) const SILENT: &str = "it was called, and has said nothing for 5 minutes or more";

/// How a server stands whose servers have their endpoint in turns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TurnState {
    /// Whether the server has its turn.
    pub current: bool,
    /// Whether a turn of the server does not end by itself.
    pub pinned: bool,
}

/// What a server is known by in a run: no other server of the run is ever known by the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct ServerKey(pub(super) u64);

/// The state of a server.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServerStatus {
    pub key: ServerKey,
    /// The server's name.
    pub name: String,
    /// What the server is doing.
    pub state: ServerState,
    /// Since when.
    #[serde(with = "moment")]
    pub since: Instant,
    /// What is wrong with the server. While another attempt is under way this is what was wrong with the last one.
    pub fault: Option<FaultCode>,
    /// The words for that.
    pub why: String,
    /// What its last process wrote to stderr before it ended by itself, as one line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_words: String,
    /// The process, while there is one.
    pub process: Option<Started>,
    /// Its further processes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further: Vec<Started>,
    /// When the server is started again.
    #[serde(with = "moment::maybe")]
    pub retry_at: Option<Instant>,
    /// How often the server was started again because its process had ended or could not be started.
    pub restarts: u64,
    /// The same by cause, and by which it was replaced besides.
    #[serde(skip)]
    pub(in crate::control) restarts_by: Causes,
    /// The lives that have said to have met one of its limits, by which that was.
    #[serde(skip)]
    pub(in crate::control) limits_met: Causes,
    /// The limit that its present life has said to have met and survives, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<(FaultCode, String)>,
    /// How many of its last lives in a row were of no use.
    pub failures: u32,
    /// How many processes of it are wanted that are alike, where that is more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<usize>,
    /// It stands in for another one, and is shown nowhere.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stands_in: bool,
    /// Whether it is asked, where it has a circuit breaker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit: Option<CircuitState>,
    /// How many of its processes get no calls, as their circuits are open, while others do.
    #[serde(default)]
    pub cut_off: usize,
    /// By what `circuit` and `health` are as they are.
    #[serde(skip)]
    pub(in crate::control) conduct: Conduct,
    /// Whether its present process has refused to be initialized.
    #[serde(skip)]
    pub(in crate::control) refused: bool,
    /// Whether its present process has not answered in time, and says on stderr that it serves over HTTP.
    #[serde(skip)]
    pub(in crate::control) for_http: bool,
    /// How its last process ended that a command has stopped.
    #[serde(skip)]
    pub(crate) halted: Option<HowHalted>,
    /// What it does that MCP does not have, each once, and no more than some of it.
    #[serde(skip)]
    pub(crate) remarks: Vec<Remark>,
    #[serde(skip)]
    pub(in crate::control) figures: Arc<Figures>,
    /// What its health check has shown last in its present life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthStatus>,
    /// How many checks were answered, had no answer while it worked, and failed.
    #[serde(skip)]
    pub(in crate::control) checks: [u64; 3],
    /// What a person wants of the server.
    pub wanted: Wanted,
    /// The number of the last command about the server.
    #[serde(skip)]
    pub ordered: u64,
    /// The number of the last command about the server that its pipe has taken note of.
    #[serde(skip)]
    pub heeded: u64,
}

/// How a process ended that a command has stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HowHalted {
    /// Whether it went on after the end of its stdin, and was sent a signal.
    pub signalled: bool,
    /// The words for its end.
    pub why: String,
}

/// Something that a server does that MCP does not have, and that is understood all the same, or left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Remark {
    /// A text on its stdout that is no message: this one was the first of its process.
    Noise(String),
    /// A way of writing messages, or a message, that others may not understand.
    Odd(String),
}

/// A process of a server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Started {
    pub pid: u32,
    /// The program, as the config names it.
    pub program: String,
    /// The program that downloads the server at its first start, if one does.
    pub fetcher: Option<String>,
    #[serde(with = "moment")]
    pub at: Instant,
    /// Whether it is the one for clients of MCP 2026-07-28, beside one for all others.
    #[serde(default)]
    pub of_era: bool,
}

impl ServerStatus {
    pub(super) fn new(key: ServerKey, name: String, figures: Arc<Figures>) -> Self {
        ServerStatus {
            key,
            name,
            state: ServerState::Starting,
            since: Instant::now(),
            fault: None,
            why: String::new(),
            last_words: String::new(),
            process: None,
            further: Vec::new(),
            retry_at: None,
            restarts: 0,
            restarts_by: Causes::new(),
            limits_met: Causes::new(),
            limit: None,
            failures: 0,
            replicas: None,
            stands_in: false,
            circuit: None,
            cut_off: 0,
            conduct: Conduct::default(),
            refused: false,
            for_http: false,
            halted: None,
            remarks: Vec::new(),
            figures,
            health: None,
            checks: [0; 3],
            wanted: Wanted::Running,
            ordered: 0,
            heeded: 0,
        }
    }

    /// What it does, for its history, and why.
    pub(super) fn doing(&self) -> (Doing, &str) {
        match (&self.state, self.wanted) {
            (_, Wanted::Stopped) | (ServerState::Stopped, _) => (Doing::Stopped, ""),
            (ServerState::Starting, _) => (Doing::Starting, ""),
            (ServerState::Refusing(why), _) => (Doing::Refusing, why),
            (ServerState::Down(why), _) => (Doing::Down, why),
            (ServerState::Silent, _) => (Doing::Silent, ""),
            (ServerState::Serving, _) if self.fault == Some(FaultCode::ServerHangs) => (Doing::Silent, ""),
            (ServerState::Serving, Wanted::Paused) => (Doing::Paused, ""),
            (ServerState::Serving, Wanted::Running) if self.is_cut_off() => (Doing::CircuitOpen, ""),
            (ServerState::Serving, Wanted::Running) => match &self.health {
                Some(HealthStatus { state: HealthState::Failing { .. }, why, .. }) => (Doing::Failing, why),
                Some(_) | None => (Doing::Serving, ""),
            },
        }
    }

    /// Whether all is as it is wanted: the server answers, or somebody has said that it shall not run.
    pub(in crate::control) fn is_well(&self) -> bool {
        match self.wanted {
            Wanted::Running | Wanted::Paused => {
                self.state == ServerState::Serving && !self.is_cut_off() && !self.is_unhealthy()
            }
            Wanted::Stopped => self.state == ServerState::Stopped,
        }
    }

    /// Says of the whole what its processes show.
    pub(in crate::control) fn sum_up(&mut self) {
        let (circuit, cut_off) = self.conduct.circuit(self.replicas.unwrap_or(1));
        self.cut_off = if self.circuit.is_some() { cut_off } else { 0 };
        self.circuit = self.circuit.take().map(|_| circuit);
        self.health = self.conduct.health();
    }

    /// Whether its circuit is open.
    pub(in crate::control) fn is_cut_off(&self) -> bool {
        matches!(self.circuit, Some(CircuitState::Open { .. }))
    }

    /// Whether its health check has failed so often in a row that it counts as not well.
    pub(in crate::control) fn is_unhealthy(&self) -> bool {
        let health = self.health.as_ref().map(|health| health.state);
        matches!(health, Some(HealthState::Failing { times }) if times >= FAILURES)
    }

    /// What its last process wrote to stderr before it ended, as the end of a sentence: mostly that is the reason.
    pub(crate) fn last_lines(&self) -> String {
        match &*self.last_words {
            "" => String::new(),
            words => format!("; the last lines of its stderr: {words}"),
        }
    }
}
