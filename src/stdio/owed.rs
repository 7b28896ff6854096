//! Which requests of a client have no answer yet. Pure.

use std::collections::HashSet;
use std::ops::ControlFlow;

use crate::frame::{Line, LineIn};
use crate::mcp::envelope::{self, Envelope, Kind, Scanned};

/// Most bytes of a message that are looked at as a whole; of a longer one the ends are.
const WHOLE: usize = 64 * 1024;
/// Most requests that are kept in mind: far more than a pipe takes at a time.
const MOST: usize = 10_000;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Owed {
    /// Their ids, as they were written.
    ids: HashSet<Box<[u8]>>,
    heard: LineIn,
    told: LineIn,
    /// Whether the client says no more.
    is_all: bool,
}

/// What a message does.
enum Effect<'a> {
    /// A request begins.
    Owe(&'a [u8]),
    /// A request is answered.
    Settle(&'a [u8]),
    /// Nobody waits for the answer of a request any more, and there may be none.
    Forget(&'a [u8]),
}

impl Default for Owed {
    fn default() -> Self {
        let lines = || LineIn::new(WHOLE, |_| true);
        Owed { ids: HashSet::new(), heard: lines(), told: lines(), is_all: false }
    }
}

impl Owed {
    /// What the client says, in any pieces.
    pub(super) fn hear(&mut self, piece: &[u8]) {
        let Owed { ids, heard, .. } = self;
        let _all = heard.feed(piece, &mut |line| {
            each(&line, &mut |effect| match effect {
                Effect::Owe(id) if ids.len() < MOST => drop(ids.insert(id.into())),
                Effect::Forget(id) => drop(ids.remove(id)),
                Effect::Owe(_) | Effect::Settle(_) => {}
            });
            ControlFlow::Continue(())
        });
    }

    /// What the client is told, in any pieces.
    pub(super) fn tell(&mut self, piece: &[u8]) {
        let Owed { ids, told, .. } = self;
        let _all = told.feed(piece, &mut |line| {
            each(&line, &mut |effect| match effect {
                Effect::Settle(id) => drop(ids.remove(id)),
                Effect::Owe(_) | Effect::Forget(_) => {}
            });
            ControlFlow::Continue(())
        });
    }

    /// The client says no more.
    pub(super) fn end(&mut self) {
        self.is_all = true;
    }

    /// Whether the client has said all and got all.
    pub(super) fn is_settled(&self) -> bool {
        self.is_all && self.ids.is_empty()
    }

    /// The ids of the requests, in a certain order.
    pub(super) fn ids(self) -> Vec<Box<[u8]>> {
        let mut ids: Vec<_> = self.ids.into_iter().collect();
        ids.sort();
        ids
    }
}

/// What each message of a line does.
fn each(line: &Line<'_>, on: &mut dyn FnMut(Effect<'_>)) {
    match line {
        Line::Frame(text) | Line::Repaired(text) => match envelope::scan(text) {
            Ok(Scanned::One(e)) => one(text, &e, on),
            Ok(Scanned::Batch(members)) => {
                for member in members {
                    let member = &text[member];
                    if let Some(e) = envelope::scan_one(member) {
                        one(member, &e, on);
                    }
                }
            }
            Err(_) => {}
        },
        Line::TooLarge(cut) => {
            let seen = envelope::scan_cut(*cut);
            if let Some(id) = seen.id {
                on(if seen.method { Effect::Owe(id) } else { Effect::Settle(id) });
            }
        }
        Line::Part { .. } => {}
    }
}

fn one(text: &[u8], e: &Envelope, on: &mut dyn FnMut(Effect<'_>)) {
    let of = |range: &Option<std::ops::Range<usize>>| range.clone().map(|range| &text[range]);
    match (e.kind(text), of(&e.id)) {
        (Kind::Request, Some(id)) => on(Effect::Owe(id)),
        (Kind::Response, Some(id)) => on(Effect::Settle(id)),
        (Kind::Notification, _) if of(&e.method) == Some(b"notifications/cancelled") => {
            if let Some(id) = of(&e.request_id) {
                on(Effect::Forget(id));
            }
        }
        (Kind::Request | Kind::Response | Kind::Notification | Kind::Other, _) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(heard: &[&str], told: &[&str]) -> Vec<String> {
        let mut owed = Owed::default();
        for line in heard {
            // Byte by byte: pieces are cut anywhere.
            format!("{line}\n").as_bytes().iter().for_each(|byte| owed.hear(&[*byte]));
        }
        for line in told {
            owed.tell(format!("{line}\n").as_bytes());
        }
        owed.ids().iter().map(|id| String::from_utf8_lossy(id).into_owned()).collect()
    }

    #[test]
    fn what_was_asked_and_not_answered_is_owed() {
        let ask = |id: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
        let answer = |id: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#);
        let (one, two, text) = (ask("1"), ask("2"), ask("\"1\""));
        assert_eq!(left(&[&one, &two, &text], &[&answer("1")]), ["\"1\"", "2"], "a text is no number");
        assert_eq!(left(&[&format!("[{one},{two}]")], &[&format!("[{}]", answer("2"))]), ["1"]);
        assert!(left(&[&one], &[&format!("[{}]", answer("1"))]).is_empty());
        // Neither what the servers ask, nor what the client answers, nor what nobody answers.
        assert!(left(&[&answer("7"), "nonsense", "", r#"{"jsonrpc":"2.0","method":"x"}"#], &[&ask("8")]).is_empty());
        let error = r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}"#;
        assert!(left(&[&one], &[error]).is_empty());
        let cancelled =
            |id| format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#);
        assert_eq!(
            left(&[&one, &two, &cancelled(2)], &[&cancelled(1)]),
            ["1"],
            "that of the client, and not of a server"
        );
    }

    #[test]
    fn a_request_is_owed_however_large_it_or_its_answer_is() {
        let long = "x".repeat(2 * WHOLE);
        let ask = format!(r#"{{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{{"name":"{long}"}}}}"#);
        assert_eq!(left(&[&ask], &[]), ["5"]);
        assert!(left(&[&ask], &[&format!(r#"{{"jsonrpc":"2.0","id":5,"result":"{long}"}}"#)]).is_empty());
    }

    #[test]
    fn all_is_settled_only_once_the_client_says_no_more() {
        let mut owed = Owed::default();
        owed.hear(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n");
        assert!(!owed.is_settled());
        owed.end();
        assert!(!owed.is_settled());
        owed.tell(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n");
        assert!(owed.is_settled());
        assert!(!Owed::default().is_settled());
    }
}
