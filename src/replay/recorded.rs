//! The calls of tools in what `mcp-pipe tap --save` wrote: which were made, at which side, and what came of each. Pure: lines in,
//! calls out.
//!
//! One call passes up to four times: the endpoint asks, the server is asked, the server answers, the endpoint is answered. It is counted
//! once: as the server was asked, under the server's own name for the tool, or where no server was looked at, as the endpoint has asked.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::shape::Outcome;

/// Why a line is none of the tap's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    /// It ends before its end.
    CutOff,
    /// It is something else.
    Other,
}

/// Who was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Side {
    /// The server of this name.
    Server(String),
    /// mcp-pipe, by an endpoint or a client, perhaps under another name for the tool.
    Peer,
}

/// A call that was made.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Recorded {
    /// The line of the file in which it is, from 1 on.
    pub(super) line: usize,
    pub(super) side: Side,
    /// The tool's name on that side.
    pub(super) tool: String,
    /// What it was called with; `None`: the contents of the message are not in the file.
    pub(super) arguments: Option<Value>,
    /// What came of it, if that is in the file.
    pub(super) outcome: Option<Outcome>,
}

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Recording {
    /// All calls, at both sides, in their order.
    pub(super) calls: Vec<Recorded>,
    /// How many lines there are.
    pub(super) lines: usize,
    /// How many lines the tap has lost.
    pub(super) lost: u64,
    /// Calls without an answer so far, by their places.
    under_way: HashMap<(String, String, String), usize>,
}

/// A line of the tap.
#[derive(Deserialize)]
struct Told {
    kind: String,
    way: Option<String>,
    #[serde(default)]
    name: String,
    id: Option<Box<RawValue>>,
    method: Option<String>,
    tool: Option<String>,
    outcome: Option<String>,
    contents: Option<Value>,
    lines: Option<u64>,
}

impl Recording {
    /// Takes a line.
    pub(super) fn take(&mut self, line: &str) -> Result<(), Unread> {
        self.lines += 1;
        let told: Told = serde_json::from_str(line).map_err(|error| match error.is_eof() {
            true => Unread::CutOff,
            false => Unread::Other,
        })?;
        match (&*told.kind, told.way.as_deref()) {
            ("lost", None) => self.lost += told.lines.unwrap_or_default(),
            ("refused", None) => {}
            (kind @ ("server" | "endpoint" | "client"), Some(way @ ("from" | "to"))) => {
                let (kind, way) = (kind.to_owned(), way.to_owned());
                self.message(&kind, &way, told);
            }
            _ => return Err(Unread::Other),
        }
        Ok(())
    }

    fn message(&mut self, kind: &str, way: &str, told: Told) {
        // A server is told a request; of an endpoint it comes.
        let asks = if kind == "server" { "to" } else { "from" };
        if told.method.as_deref() != Some("tools/call") {
            return;
        }
        let Some(id) = told.id.map(|id| id.get().to_owned()) else { return };
        let key = (kind.to_owned(), told.name.clone(), id);
        match told.outcome {
            None if way == asks => {
                let side = if kind == "server" { Side::Server(told.name) } else { Side::Peer };
                let contents = told.contents;
                let arguments = contents.map(|mut contents| contents["params"]["arguments"].take());
                let tool = told.tool.unwrap_or_default();
                self.under_way.insert(key, self.calls.len());
                self.calls.push(Recorded { line: self.lines, side, tool, arguments, outcome: None });
            }
            Some(_) if way != asks => {
                let call = self.under_way.remove(&key).and_then(|place| self.calls.get_mut(place));
                if let (Some(call), Some(contents)) = (call, told.contents) {
                    call.outcome = Outcome::of_message(&contents);
                }
            }
            None | Some(_) => {}
        }
    }

    /// The calls that are for this server: those that it was asked, else those of the only server that was asked anything, else those
    /// that were made at mcp-pipe. `Err`: the servers that were asked, where it is none of them, and not clear which is meant.
    pub(super) fn calls_for(self, server: &str) -> Result<Vec<Recorded>, Vec<String>> {
        let mut asked: Vec<String> = Vec::new();
        for call in &self.calls {
            if let Side::Server(name) = &call.side
                && !asked.contains(name)
            {
                asked.push(name.clone());
            }
        }
        let wanted = match asked.as_slice() {
            [] => Side::Peer,
            names if names.iter().any(|name| name == server) => Side::Server(server.to_owned()),
            [only] => Side::Server(only.clone()),
            _ => return Err(asked),
        };
        Ok(self.calls.into_iter().filter(|call| call.side == wanted).collect())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked(kind: &str, name: &str, id: u64, tool: &str) -> Value {
        let way = if kind == "server" { "to" } else { "from" };
        let params = json!({"name": tool, "arguments": {"id": id}});
        json!({"time": "", "way": way, "kind": kind, "name": name, "id": id, "method": "tools/call", "tool": tool, "bytes": 1,
            "contents": {"id": id, "method": "tools/call", "params": params}})
    }

    fn answered(kind: &str, name: &str, id: u64, contents: Value) -> Value {
        let way = if kind == "server" { "from" } else { "to" };
        json!({"time": "", "way": way, "kind": kind, "name": name, "id": id, "method": "tools/call", "tool": "x", "bytes": 1,
            "ms": 1.5, "outcome": "ok", "contents": contents})
    }

    fn recording(lines: &[Value]) -> Recording {
        let mut recording = Recording::default();
        lines.iter().for_each(|line| recording.take(&line.to_string()).unwrap());
        recording
    }

    #[test]
    fn a_call_that_passed_at_both_sides_is_one_call_under_the_servers_own_name() {
        let error = json!({"id": 9, "error": {"code": -5}});
        let lines = [
            asked("endpoint", "kitchen", 1, "calc__add"),
            asked("server", "calc", 9, "add"),
            asked("server", "calc", 10, "sub"),
            answered("server", "calc", 9, error.clone()),
            answered("endpoint", "kitchen", 1, error),
        ];
        let calls = recording(&lines).calls_for("calc").unwrap();
        assert_eq!(calls.len(), 2);
        assert_eq!((calls[0].line, &*calls[0].tool, &calls[0].outcome), (2, "add", &Some(Outcome::Error(-5))));
        assert_eq!((&calls[0].arguments, &calls[1].outcome), (&Some(json!({"id": 9})), &None));
        let only_endpoint = [lines[0].clone(), lines[4].clone()];
        let calls = recording(&only_endpoint).calls_for("calc").unwrap();
        assert_eq!((calls.len(), &*calls[0].tool, &calls[0].side), (1, "calc__add", &Side::Peer));
    }

    #[test]
    fn ids_of_different_servers_and_sides_are_told_apart() {
        let result = |n: u64| json!({"result": {"n": n}});
        let lines = [
            asked("server", "a", 1, "x"),
            asked("server", "b", 1, "x"),
            answered("server", "b", 1, json!({"error": {"code": 2}})),
            answered("server", "a", 1, result(1)),
        ];
        let of = |server: &str| recording(&lines).calls_for(server).unwrap().remove(0).outcome.unwrap();
        assert!(matches!(of("a"), Outcome::Result { .. }));
        assert_eq!(of("b"), Outcome::Error(2));
        assert_eq!(recording(&lines).calls_for("c").unwrap_err(), ["a", "b"]);
        assert_eq!(recording(&lines[..1]).calls_for("c").unwrap().len(), 1, "a server that is called otherwise now");
    }

    #[test]
    fn other_lines_pass_and_what_is_no_line_of_the_tap_does_not() {
        let mut recording = Recording::default();
        for line in [
            json!({"kind": "lost", "lines": 7}),
            json!({"kind": "refused", "why": "x"}),
            json!({"kind": "server", "way": "from", "name": "a", "method": "notifications/message"}),
            json!({"kind": "server", "way": "to", "name": "a", "id": 1, "method": "ping"}),
        ] {
            assert_eq!(recording.take(&line.to_string()), Ok(()));
        }
        assert_eq!((recording.calls.len(), recording.lost, recording.lines), (0, 7, 4));
        for (line, want) in [
            (r#"{"kind":"server","way":"#, Unread::CutOff),
            ("hello", Unread::Other),
            ("{}", Unread::Other),
            ("[1]", Unread::Other),
            (r#"{"kind":"server"}"#, Unread::Other),
            (r#"{"level":"INFO","message":"x"}"#, Unread::Other),
        ] {
            assert_eq!(recording.take(line), Err(want), "{line}");
        }
        let mut bare = asked("server", "a", 1, "x");
        bare.as_object_mut().unwrap().remove("contents");
        assert_eq!(self::recording(&[bare]).calls[0].arguments, None);
    }
}
