//! What is noted of a run: when it began, and how it ended. Pure.
//!
//! A record without an end is that of a run that goes on, or of one that died in no time: it was killed, or the machine went down.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::secrecy::{Redactor, plain};
use crate::words::span;

/// Longest text about an end, in characters.
pub(super) const WORDS: usize = 1000;
/// Longest path or name that is shown, in characters.
const NAME: usize = 300;

/// What the file says: the run that began last, and the one before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Noted {
    pub(super) run: Run,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) before: Option<Run>,
}

/// A run of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Run {
    /// When it began, as RFC 3339 has it.
    pub(super) started: String,
    /// Its process.
    pub(super) pid: u32,
    /// By which one can tell whether the machine has been restarted since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) boot: Option<String>,
    /// Of which mcp-pipe it was.
    pub(super) version: String,
    /// With which config.
    pub(super) config: String,
    /// How it ended, where there was time to say so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) end: Option<End>,
}

/// The end of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct End {
    /// When, as RFC 3339 has it.
    pub(super) at: String,
    /// How many seconds after its begin.
    pub(super) after: u64,
    pub(super) how: How,
    /// The last warnings and errors of its log, as JSON.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) lines: Vec<Box<str>>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum How {
    /// As it was told to, by a signal of this name.
    Stopped(String),
    /// By itself: nothing was left to do.
    Done,
    /// It could not go on, or not even start, and said why.
    Failed(String),
    /// By a fault of mcp-pipe's own: what the fault says, and where it is.
    Panicked(String, String),
}

/// A run that is not under way any more, or may not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LastRun {
    pub(super) run: Run,
    pub(super) fate: Fate,
}

/// What has become of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It goes on.
    Runs,
    /// It was stopped, or had nothing left to do.
    Ended,
    /// It said why it could not go on.
    Failed,
    /// A fault of mcp-pipe's own has ended it.
    Panicked,
    /// It died in no time, while the machine went on (as far as one can tell).
    Died,
    /// It died in no time, and the machine has been restarted since.
    WentDown,
}

impl LastRun {
    /// What has become of a run, by its record, whether it `runs`, and which boot this is.
    pub(super) fn of(run: Run, runs: bool, boot: Option<&str>) -> Self {
        let fate = match (&run.end, runs) {
            (None, true) => Fate::Runs,
            (None, false) => match (&run.boot, boot) {
                (Some(then), Some(now)) if then != now => Fate::WentDown,
                (Some(_) | None, Some(_) | None) => Fate::Died,
            },
            (Some(End { how: How::Stopped(_) | How::Done, .. }), _) => Fate::Ended,
            (Some(End { how: How::Failed(_), .. }), _) => Fate::Failed,
            (Some(End { how: How::Panicked(..), .. }), _) => Fate::Panicked,
        };
        LastRun { run, fate }
    }

    /// What has become of it.
    pub(crate) fn fate(&self) -> Fate {
        self.fate
    }

    /// The last warnings and errors of its log, the oldest first, as [`Shown`](crate::logging::Shown) takes them. None of one that
    /// died in no time.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        self.run.end.iter().flat_map(|end| &end.lines).map(|line| &**line)
    }

    /// When it began and what has become of it, in words that continue "the run before ". The file may say anything.
    pub(crate) fn told(&self, redactor: &Redactor) -> String {
        let Run { started, pid, version, end, .. } = &self.run;
        let name = |text: &str| redactor.shown(text, NAME);
        let began = format!("began {} (mcp-pipe {}, process {pid})", name(started), name(version));
        let Some(End { at, after, how, .. }) = end else {
            return format!("{began} and {}", self.fate.without_an_end());
        };
        let how = match how {
            How::Stopped(signal) => format!("was stopped by {}", name(signal)),
            How::Done => "ended by itself, as nothing was left to do".to_owned(),
            How::Failed(why) => format!("could not go on: {}", redactor.shown(why, WORDS)),
            How::Panicked(what, place) => {
                format!("was ended by a fault of mcp-pipe: {} ({})", redactor.shown(what, WORDS), name(place))
            }
        };
        format!("{began} and {how}, {} after {}", name(at), span(Duration::from_secs(*after)))
    }
}

impl Fate {
    /// What has become of a run whose end was not noted.
    fn without_an_end(self) -> &'static str {
        match self {
            Fate::Runs => "goes on",
            Fate::WentDown => {
                "did not come to say how it ended: the machine has been restarted since (or it ran on another one)"
            }
            Fate::Died | Fate::Ended | Fate::Failed | Fate::Panicked => {
                "did not come to say how it ended: it was killed (kill -9, by a person, a service manager or for lack of memory), or it crashed"
            }
        }
    }
}

impl How {
    /// That a run could not go on, in words of which the log has more lines.
    pub(super) fn failed(why: &str) -> Self {
        How::Failed(plain::bounded(why, WORDS))
    }
}

impl Noted {
    /// What a file says; `None` if it was not written by us, or by another version in a way of its own.
    pub(super) fn read(bytes: &[u8]) -> Option<Noted> {
        serde_json::from_slice(bytes).ok()
    }

    /// As a file, for a person too.
    pub(super) fn write(&self) -> Vec<u8> {
        // Texts and numbers alone: this can't fail, and an empty file says nothing.
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::secrecy::Secret;
    use crate::secrecy::plain::tests::is_plain;

    fn run(end: Option<How>) -> Run {
        let end = end.map(|how| End { at: "2026-01-01T01:00:00.000Z".into(), after: 3600, how, lines: Vec::new() });
        let (started, version) = ("2026-01-01T00:00:00.000Z".into(), "0.1.0".into());
        Run { started, pid: 7, boot: Some("a".into()), version, config: "/c.json".into(), end }
    }

    #[test]
    fn what_has_become_of_a_run_is_told() {
        let panicked = || How::Panicked("no way".into(), "src/x.rs:1:2".into());
        let table = [
            (None, true, Some("a"), Fate::Runs, "and goes on"),
            (None, false, Some("a"), Fate::Died, "it was killed"),
            (None, false, None, Fate::Died, "it was killed"),
            (None, false, Some("b"), Fate::WentDown, "the machine has been restarted since"),
            (Some(How::Stopped("SIGTERM".into())), false, Some("b"), Fate::Ended, "and was stopped by SIGTERM, 2026"),
            (Some(How::Done), false, Some("a"), Fate::Ended, "nothing was left to do, 2026"),
            // Another process may hold the lock just now.
            (
                Some(How::failed("no port\n\n  at all")),
                true,
                None,
                Fate::Failed,
                "could not go on: no port at all, 2026",
            ),
            (Some(panicked()), false, None, Fate::Panicked, "fault of mcp-pipe: no way (src/x.rs:1:2), 2026-01-01"),
        ];
        for (how, runs, boot, fate, words) in table {
            let last = LastRun::of(run(how), runs, boot);
            let told = last.told(&Redactor::default());
            assert_eq!(last.fate(), fate, "{told}");
            assert!(told.starts_with("began 2026-01-01T00:00:00.000Z (mcp-pipe 0.1.0, process 7) and "), "{told}");
            assert!(told.contains(words), "{told}");
        }
    }

    #[test]
    fn what_is_written_is_read_again_and_other_files_say_nothing() {
        let mut end = run(Some(How::Panicked("a".into(), "b".into())));
        end.end.as_mut().unwrap().lines = vec!["{\"level\":\"WARN\"}".into()];
        for noted in [Noted { run: run(None), before: Some(end) }, Noted { run: run(Some(How::Done)), before: None }] {
            assert_eq!(Noted::read(&noted.write()), Some(noted));
        }
        for other in ["", "{}", "[]", "null", r#"{"run":{"started":1}}"#] {
            assert_eq!(Noted::read(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn whatever_the_file_says_steers_no_terminal_and_shows_no_secret() {
        let odd = "s3cret\u{1b}[2J\nx\u{202e}".repeat(500);
        let how = [How::Stopped(odd.clone()), How::Failed(odd.clone()), How::Panicked(odd.clone(), odd.clone())];
        for how in how.map(Some).into_iter().chain([None]) {
            let mut run = run(how);
            (run.started, run.version) = (odd.clone(), odd.clone());
            let redactor: Redactor = [Secret::new("s3cret")].into_iter().collect();
            let told = LastRun::of(run, false, None).told(&redactor);
            assert!(is_plain(&told) && !told.contains("s3cret") && !told.contains('\n'), "{told}");
            // A character that steers a terminal is shown by its number.
            assert!(told.chars().count() < 8 * (WORDS + 5 * NAME), "{}", told.len());
        }
    }
}
