//! What came of calls that were made again, as a table for a person or as JSON; pure.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::marks::{Hue, Marked, draw};
use crate::secrecy::{Redactor, plain};
use crate::words::{counted, listed};

/// What came of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The answer has the same shape as it had.
    Same,
    Differs,
    /// There was no answer.
    Failed,
    /// It was not made, for the reason that stands in its words.
    Skipped,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Verdict::Same => "SAME",
            Verdict::Differs => "DIFFERS",
            Verdict::Failed => "FAILED",
            Verdict::Skipped => "SKIPPED",
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Verdict::Same => "same",
            Verdict::Differs => "differs",
            Verdict::Failed => "failed",
            Verdict::Skipped => "skipped",
        }
    }

    fn hue(self) -> Hue {
        match self {
            Verdict::Same => Hue::Good,
            Verdict::Differs | Verdict::Failed => Hue::Bad,
            Verdict::Skipped => Hue::Faint,
        }
    }
}

/// A call, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Replayed {
    /// The line of the file in which it is.
    pub(super) line: usize,
    /// The server's own name for the tool, or the name in the file where none is known.
    pub(super) tool: String,
    pub(super) verdict: Verdict,
    /// Why, in words.
    pub(super) words: String,
}

/// All calls of a file.
#[derive(Debug)]
pub(super) struct Replays<'a> {
    pub(super) server: &'a str,
    pub(super) calls: Vec<Replayed>,
    /// How many lines the tap has lost.
    pub(super) lost: u64,
}

impl Replays<'_> {
    fn count(&self, verdict: Verdict) -> usize {
        self.calls.iter().filter(|call| call.verdict == verdict).count()
    }

    /// Whether something was compared, and all of that is the same.
    pub(super) fn are_well(&self) -> bool {
        self.count(Verdict::Same) > 0 && self.count(Verdict::Differs) + self.count(Verdict::Failed) == 0
    }

    /// For a program: `{"schema":1,"server","lost","calls":[{"line","tool","status","message"?}]}`.
    pub(super) fn as_json(&self, redactor: &Redactor) -> String {
        let clean = |text: &str| Value::from(redactor.clean(text).into_owned());
        let calls: Vec<Value> = self
            .calls
            .iter()
            .map(|call| {
                let mut told = Map::new();
                told.insert("line".into(), call.line.into());
                told.insert("tool".into(), clean(&call.tool));
                told.insert("status".into(), call.verdict.as_str().into());
                if call.verdict != Verdict::Same {
                    told.insert("message".into(), clean(&call.words));
                }
                told.into()
            })
            .collect();
        let all = json!({"schema": 1, "server": clean(self.server), "lost": self.lost, "calls": calls});
        plain::json(&format!("{all:#}\n")).into_owned()
    }

    /// For a person: a line for each call, and one with the numbers.
    pub(super) fn render(&self, (width, colour): (Option<usize>, bool), redactor: &Redactor) -> String {
        // Calls in a row of one tool of which the same is to be said are one line.
        let alike = |one: &Replayed, other: &Replayed| {
            (&one.tool, one.verdict, &one.words) == (&other.tool, other.verdict, &other.words)
        };
        let rows: Vec<(String, &Replayed)> =
            self.calls.chunk_by(alike).map(|run| (listed(vec![run[0].line.to_string()], run.len()), &run[0])).collect();
        let lines: Vec<Marked<'_>> = rows
            .iter()
            .map(|(line, call)| Marked {
                cells: [&call.tool, line],
                word: call.verdict.word(),
                hue: call.verdict.hue(),
                words: &call.words,
                remedy: None,
            })
            .collect();
        let mut text = draw(["TOOL", "LINE", "RESULT", "WORDS"], &lines, (width, colour), redactor);
        let _ = writeln!(text, "{}", self.summary());
        text
    }

    fn summary(&self) -> String {
        let [same, differ, failed, skipped] =
            [Verdict::Same, Verdict::Differs, Verdict::Failed, Verdict::Skipped].map(|verdict| self.count(verdict));
        let numbers = format!("{same} same, {differ} different, {failed} failed, {skipped} skipped");
        let mut text = format!("{}: {numbers}", counted(self.calls.len(), "call"));
        if skipped == self.calls.len() {
            text.push_str("; so nothing was compared");
        }
        if self.lost > 0 {
            let lost = counted(usize::try_from(self.lost).unwrap_or(usize::MAX), "line");
            let _ = write!(text, "; the tap lost {lost} as it wrote the file, so calls may be missing");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrecy::Secret;

    fn call(line: usize, tool: &str, verdict: Verdict, words: &str) -> Replayed {
        Replayed { line, tool: tool.into(), verdict, words: words.into() }
    }

    fn replays(calls: Vec<Replayed>) -> Replays<'static> {
        Replays { server: "x", calls, lost: 0 }
    }

    #[test]
    fn a_person_gets_a_line_for_each_kind_of_call_and_the_numbers() {
        let skipped = |line| call(line, "write", Verdict::Skipped, "because");
        let all = replays(vec![
            call(2, "add", Verdict::Same, "as it was"),
            skipped(4),
            skipped(8),
            call(9, "now", Verdict::Differs, "a\u{1b}[2J"),
        ]);
        let text = all.render((None, false), &Redactor::default());
        assert!(text.contains("add    2             SAME     as it was\n"), "{text}");
        assert!(text.contains("write  4 and 1 more  SKIPPED  because\n") && !text.contains('\u{1b}'), "{text}");
        assert!(text.ends_with("\n4 calls: 1 same, 1 different, 0 failed, 2 skipped\n"), "{text}");
        let none = Replays { lost: 3, ..replays(vec![skipped(1)]) };
        let text = none.render((None, false), &Redactor::default());
        assert!(text.contains("so nothing was compared; the tap lost 3 lines"), "{text}");
    }

    #[test]
    fn all_is_well_where_something_was_compared_and_is_the_same() {
        let same = call(1, "a", Verdict::Same, "");
        let other = |verdict| replays(vec![same.clone(), call(2, "a", verdict, "")]).are_well();
        assert!(other(Verdict::Same) && other(Verdict::Skipped));
        assert!(!other(Verdict::Differs) && !other(Verdict::Failed));
        assert!(!replays(vec![call(2, "a", Verdict::Skipped, "")]).are_well());
    }

    #[test]
    fn a_program_gets_each_call_and_no_secret() {
        let redactor: Redactor = [Secret::new("k3y-of-mine")].into_iter().collect();
        let all = replays(vec![call(1, "a", Verdict::Same, ""), call(2, "b", Verdict::Failed, "no k3y-of-mine")]);
        let told: Value = serde_json::from_str(&all.as_json(&redactor)).unwrap_or_default();
        assert_eq!((&told["schema"], &told["server"], &told["lost"]), (&json!(1), &json!("x"), &json!(0)));
        assert_eq!(told["calls"][0], json!({"line": 1, "tool": "a", "status": "same"}));
        assert_eq!(told["calls"][1]["status"], "failed");
        assert!(!told.to_string().contains("k3y"), "{told}");
    }
}
