//! How each process of a server does by its circuit breaker and its health check, and what that means for the server. Pure.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::moment;

/// Whether a server is asked that has a circuit breaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum CircuitState {
    Closed,
    /// Not before `until`, as so many calls in a row got no answer.
    Open {
        failures: usize,
        #[serde(with = "moment")]
        until: Instant,
    },
    HalfOpen,
}

impl CircuitState {
    /// How machines know it.
    pub(in crate::control) fn as_str(&self) -> &'static str {
        match self {
            CircuitState::Closed => "closed",
            CircuitState::Open { .. } => "open",
            CircuitState::HalfOpen => "half-open",
        }
    }
}

/// What a server's health check has shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HealthStatus {
    pub state: HealthState,
    /// Since when.
    #[serde(with = "moment")]
    pub since: Instant,
    /// When the last check was over.
    #[serde(with = "moment")]
    pub at: Instant,
    /// What is wrong.
    pub why: String,
}

/// Whether a server is well, by its health check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum HealthState {
    /// It has answered, within so many microseconds.
    Healthy { took_micros: u64 },
    /// It has not answered, and works on something.
    Busy,
    /// So many checks in a row have failed.
    Failing { times: u32 },
    /// It lists no such tool as is to be called.
    Unlisted,
}

impl HealthState {
    /// All of them, as machines know them.
    pub(in crate::control) const ALL: [&str; 4] = ["healthy", "busy", "failing", "unlisted"];

    /// The place among these.
    pub(in crate::control) fn place(self) -> usize {
        match self {
            HealthState::Healthy { .. } => 0,
            HealthState::Busy => 1,
            HealthState::Failing { .. } => 2,
            HealthState::Unlisted => 3,
        }
    }

    /// Whether both are the same but for numbers.
    pub(in crate::control) fn is_like(&self, other: &HealthState) -> bool {
        self.place() == other.place()
    }
}

/// A process among those of a server that are alike: the place of one besides the first.
pub(in crate::control) type Alike = Option<usize>;

/// What is known of processes that are alike. Of one that is missing nothing is known against it.
#[derive(Debug, Clone, Default)]
pub(in crate::control) struct Conduct {
    circuits: BTreeMap<Alike, CircuitState>,
    healths: BTreeMap<Alike, HealthStatus>,
}

impl Conduct {
    pub(in crate::control) fn note_circuit(&mut self, process: Alike, circuit: CircuitState) {
        self.circuits.insert(process, circuit);
    }

    /// There are circuits no longer.
    pub(in crate::control) fn forget_circuits(&mut self) {
        self.circuits.clear();
    }

    /// How the last check has gone, of a life of this process that is not over.
    pub(in crate::control) fn note_health(&mut self, process: Alike, health: HealthStatus) {
        self.healths.insert(process, health);
    }

    pub(in crate::control) fn health_of(&self, process: Alike) -> Option<&HealthStatus> {
        self.healths.get(&process)
    }

    /// What its checks have shown counts no longer.
    pub(in crate::control) fn forget_health(&mut self, process: Alike) {
        self.healths.remove(&process);
    }

    pub(in crate::control) fn forget_healths(&mut self) {
        self.healths.clear();
    }

    /// The process has ended for good.
    pub(in crate::control) fn forget(&mut self, process: Alike) {
        self.circuits.remove(&process);
        self.healths.remove(&process);
    }

    /// The circuit of a server that has so many processes, by the one that takes calls soonest; and how many others get none meanwhile.
    pub(in crate::control) fn circuit(&self, processes: usize) -> (CircuitState, usize) {
        let open = |circuit: &&CircuitState| matches!(circuit, CircuitState::Open { .. });
        let cut_off = self.circuits.values().filter(open).count();
        let rank = |circuit: &&CircuitState| match circuit {
            CircuitState::Closed => (0, None),
            CircuitState::HalfOpen => (1, None),
            CircuitState::Open { until, .. } => (2, Some(*until)),
        };
        let soonest = self.circuits.values().min_by_key(rank).filter(|_| self.circuits.len() >= processes);
        match soonest.cloned().unwrap_or(CircuitState::Closed) {
            circuit @ CircuitState::Open { .. } => (circuit, 0),
            circuit @ (CircuitState::Closed | CircuitState::HalfOpen) => (circuit, cut_off),
        }
    }

    /// What the checks of the process have shown that does worst.
    pub(in crate::control) fn health(&self) -> Option<HealthStatus> {
        let rank = |health: &&HealthStatus| match health.state {
            HealthState::Failing { times } => (3, times, Reverse(health.since)),
            HealthState::Unlisted => (2, 0, Reverse(health.since)),
            HealthState::Busy => (1, 0, Reverse(health.since)),
            HealthState::Healthy { .. } => (0, 0, Reverse(health.since)),
        };
        self.healths.values().max_by_key(rank).cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_server_takes_calls_while_one_of_its_processes_does() {
        let mut conduct = Conduct::default();
        let until = |seconds| Instant::now() + Duration::from_secs(seconds);
        let open = |seconds| CircuitState::Open { failures: 2, until: until(seconds) };
        assert_eq!(conduct.circuit(2), (CircuitState::Closed, 0));
        conduct.note_circuit(None, open(30));
        assert_eq!(conduct.circuit(1), (open(30), 0));
        assert_eq!(conduct.circuit(2), (CircuitState::Closed, 1), "nothing is known against the other");
        conduct.note_circuit(Some(7), open(9));
        assert_eq!(conduct.circuit(2), (open(9), 0));
        conduct.note_circuit(None, CircuitState::HalfOpen);
        assert_eq!(conduct.circuit(2), (CircuitState::HalfOpen, 1));
        conduct.note_circuit(None, CircuitState::Closed);
        assert_eq!(conduct.circuit(2), (CircuitState::Closed, 1));
        conduct.forget(Some(7));
        assert_eq!(conduct.circuit(2), (CircuitState::Closed, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_fails_its_checks_is_not_hidden_by_the_others() {
        let mut conduct = Conduct::default();
        let health = |state| HealthStatus { state, since: Instant::now(), at: Instant::now(), why: String::new() };
        let failing = HealthState::Failing { times: 3 };
        conduct.note_health(None, health(failing));
        conduct.note_health(Some(1), health(HealthState::Healthy { took_micros: 5 }));
        assert_eq!(conduct.health().map(|health| health.state), Some(failing));
        conduct.forget_health(None);
        assert_eq!(conduct.health().map(|health| health.state), Some(HealthState::Healthy { took_micros: 5 }));
        conduct.forget_healths();
        assert_eq!(conduct.health(), None);
    }
}
