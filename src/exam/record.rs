//! What passes at the servers while they are examined, as far as checks ask for it. Pure: lines of the tap in, facts out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::control::tap::Seen;

/// The record of all servers, by their names.
#[derive(Debug, Default)]
pub(super) struct Record {
    servers: BTreeMap<String, OfServer>,
    /// Lines of the tap were lost, so nothing can be said of numbers.
    pub(super) has_gaps: bool,
}

/// The record of one server.
#[derive(Debug, Default, Clone)]
pub(super) struct OfServer {
    /// How it last answered `initialize`, and after which time.
    pub(super) welcome: Option<(Value, Duration)>,
    /// Requests of its present life that have no answer yet, and those that have one.
    asked: BTreeSet<String>,
    answered: BTreeSet<String>,
    /// How many requests it has answered more than once.
    pub(super) twice: u64,
    /// How many answers it has given to what nobody had asked.
    pub(super) unasked: u64,
    /// How many cancellations it was told of.
    pub(super) cancelled: u64,
}

/// A message, as the tap shows it.
#[derive(Deserialize)]
struct Told<'a> {
    #[serde(borrow)]
    kind: &'a str,
    #[serde(borrow)]
    way: Option<&'a str>,
    #[serde(default)]
    name: String,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: Option<String>,
    ms: Option<f64>,
    outcome: Option<String>,
    #[serde(borrow)]
    contents: Option<&'a RawValue>,
}

impl Record {
    /// The record of this server so far.
    pub(super) fn of(&self, server: &str) -> OfServer {
        self.servers.get(server).cloned().unwrap_or_default()
    }

    /// Takes a line of the tap.
    pub(super) fn note(&mut self, seen: &Seen) {
        let line = match seen {
            Seen::Line(_, line) => line,
            Seen::Lost(_) => {
                self.has_gaps = true;
                return;
            }
        };
        let Ok(told) = serde_json::from_str::<Told<'_>>(line) else { return };
        if told.kind != "server" {
            return;
        }
        let (id, method) = (told.id.map(|id| id.get().to_owned()), told.method.as_deref());
        let server = self.servers.entry(told.name).or_default();
        match (told.way, told.outcome, id) {
            (Some("to"), None, Some(id)) => {
                if method == Some("initialize") {
                    // Another life, which counts its requests anew.
                    (server.asked, server.answered) = (BTreeSet::new(), BTreeSet::new());
                }
                server.asked.insert(id);
            }
            (Some("to"), None, None) if method == Some("notifications/cancelled") => server.cancelled += 1,
            (Some("from"), Some(_), Some(id)) => {
                if server.asked.remove(&id) {
                    server.answered.insert(id);
                } else if server.answered.contains(&id) {
                    server.twice += 1;
                } else {
                    server.unasked += 1;
                }
                if let (Some("initialize"), Some(contents), Some(ms)) = (method, told.contents, told.ms) {
                    let mut answer: Value = serde_json::from_str(contents.get()).unwrap_or_default();
                    let took = Duration::try_from_secs_f64(ms / 1e3).unwrap_or_default();
                    server.welcome = Some((answer["result"].take(), took));
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(lines: &[Value]) -> OfServer {
        let mut record = Record::default();
        for line in lines {
            let mut line = line.clone();
            line["name"] = "x".into();
            record.note(&Seen::Line(0, line.to_string().into()));
        }
        assert!(record.of("y").welcome.is_none() && !record.has_gaps);
        record.of("x")
    }

    fn asked(id: u64, method: &str) -> Value {
        json!({"kind": "server", "way": "to", "id": id, "method": method})
    }

    fn answered(id: u64, method: &str) -> Value {
        json!({"kind": "server", "way": "from", "id": id, "method": method, "outcome": "ok", "ms": 1.5,
            "contents": {"id": id, "result": {"capabilities": {}}}})
    }

    #[test]
    fn answers_are_counted_by_their_ids_for_each_life() {
        let is_well =
            record(&[asked(1, "initialize"), answered(1, "initialize"), asked(2, "ping"), answered(2, "ping")]);
        assert_eq!((is_well.twice, is_well.unasked), (0, 0));
        assert_eq!(is_well.welcome, Some((json!({"capabilities": {}}), Duration::from_micros(1500))));
        let twice = record(&[asked(2, "ping"), answered(2, "ping"), answered(2, "ping"), answered(9, "ping")]);
        assert_eq!((twice.twice, twice.unasked), (1, 1));
        let again = record(&[asked(1, "x"), answered(1, "x"), asked(1, "initialize"), answered(1, "initialize")]);
        assert_eq!((again.twice, again.unasked), (0, 0), "another life may count anew");
    }

    #[test]
    fn only_what_passes_at_the_server_counts_and_its_own_requests_do_not() {
        let endpoint = json!({"kind": "endpoint", "way": "from", "id": 4, "outcome": "ok"});
        let its_own = json!({"kind": "server", "way": "from", "id": 0, "method": "roots/list"});
        let our_answer = json!({"kind": "server", "way": "to", "id": 0, "outcome": "ok"});
        let cancelled = json!({"kind": "server", "way": "to", "method": "notifications/cancelled"});
        let it = record(&[endpoint, its_own, our_answer, cancelled]);
        assert_eq!((it.twice, it.unasked, it.cancelled), (0, 0, 1));
        let mut record = Record::default();
        record.note(&Seen::Lost(3));
        assert!(record.has_gaps);
    }
}
