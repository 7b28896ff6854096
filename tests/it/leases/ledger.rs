//! Who had a connection of an agent open, and when: that no two had one at the same time, and how long nobody had one. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What may lie between the end of a connection and when it is noticed, on a busy machine. The time in which nobody may have one is
/// half a second at least.
const TOLERANCE: Duration = Duration::from_millis(100);

/// A connection: of whom, and from when to when.
#[derive(Debug, Clone)]
pub(super) struct Stay {
    pub(super) holder: String,
    pub(super) from: Instant,
    pub(super) to: Option<Instant>,
}

/// All connections, by their agents.
#[derive(Debug, Default)]
pub(super) struct Ledger(BTreeMap<String, Vec<Stay>>);

impl Ledger {
    /// Returns the number of the connection.
    pub(super) fn opened(&mut self, agent: &str, holder: &str) -> usize {
        let stays = self.0.entry(agent.to_owned()).or_default();
        stays.push(Stay { holder: holder.to_owned(), from: Instant::now(), to: None });
        stays.len() - 1
    }

    pub(super) fn closed(&mut self, agent: &str, number: usize) {
        self.0.get_mut(agent).unwrap()[number].to = Some(Instant::now());
    }

    /// Two connections of different holders of one agent that were open at the same time.
    pub(super) fn overlaps(&self, now: Instant) -> Vec<(String, Stay, Stay)> {
        let mut found = Vec::new();
        for (agent, stays) in &self.0 {
            for (n, one) in stays.iter().enumerate() {
                for other in stays[n + 1..].iter().filter(|other| other.holder != one.holder) {
                    let end = one.to.unwrap_or(now).min(other.to.unwrap_or(now));
                    if end.saturating_duration_since(one.from.max(other.from)) > TOLERANCE {
                        found.push((agent.clone(), one.clone(), other.clone()));
                    }
                }
            }
        }
        found
    }

    /// Who has each agent now.
    pub(super) fn holders(&self) -> BTreeMap<String, String> {
        let open = |stays: &Vec<Stay>| Some(stays.iter().rfind(|stay| stay.to.is_none())?.holder.clone());
        self.0.iter().filter_map(|(agent, stays)| Some((agent.clone(), open(stays)?))).collect()
    }

    /// When the newest connection of an agent was opened.
    pub(super) fn newest(&self, agent: &str) -> Option<Instant> {
        self.0.get(agent)?.last().map(|stay| stay.from)
    }

    /// When the last connection of these agents ended that has ended since then.
    pub(super) fn last_end(&self, agents: &[String], since: Instant) -> Option<Instant> {
        let stays = agents.iter().filter_map(|agent| self.0.get(agent)).flatten();
        stays.filter_map(|stay| stay.to).filter(|to| *to > since).max()
    }
}
