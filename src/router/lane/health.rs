//! Whether a server is well, by its health check: when it is asked, and what its answer or its silence means. Pure.
//!
//! A server that works on something may answer late, and a restart would cost what it works on. So a check without an answer is a failure
//! only where nothing is under way at the server, and where it has said nothing else meanwhile.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::HealthCheck;
use crate::mcp::lists::{ListKind, MAX_PAGES};
use crate::mcp::object;
use crate::net::peer_text::bounded;
use crate::router::listing::page;
use crate::words::{counted, span};

/// How many checks in a row fail before a server counts as not well, and is started anew where that is wanted: one may be chance, and two a
/// pause of the machine.
pub(crate) const FAILURES: u32 = 3;

/// Longest wait for the answer to a check.
const PATIENCE: Duration = Duration::from_secs(10);

/// Most questions without an answer: a server that hangs must not find more of them than of calls, should it go on.
const UNANSWERED: usize = FAILURES as usize;

/// Longest part of a server's words that is kept, in characters: more than is shown, so that a secret across that cut is known.
const WORDS: usize = 4096;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Health {
    terms: HealthCheck,
    stage: Stage,
    shown: Shown,
    /// Questions without an answer, and when each was asked: at most [`UNANSWERED`].
    asked: Vec<(u32, Instant, Question)>,
    /// The number of the last question.
    last: u32,
    tool: Tool,
    /// It was told that there is no such tool.
    told: bool,
}

/// How far the present check is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// None has begun since the server was ready.
    Resting,
    /// The next one begins then.
    Due(Instant),
    /// One has begun at that time. `heard`: the server has said something since.
    Waiting { since: Instant, heard: bool },
}

/// What the checks have shown last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Nothing,
    Well,
    Busy,
    /// So many in a row have failed, since then. `silent`: the last had no answer.
    Failing {
        since: Instant,
        times: u32,
        silent: bool,
    },
    Unlisted,
}

/// What is known of the tool that is called, in the present life of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Tool {
    /// Whether the server lists it is to be found out, from this page on; so many were read.
    Sought {
        cursor: Option<Box<str>>,
        pages: usize,
    },
    Listed,
}

const UNSOUGHT: Tool = Tool::Sought { cursor: None, pages: 0 };

/// What a server is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    Ping,
    /// Which tools there are.
    List,
    /// To do what the tool does.
    Call,
}

/// What a server has answered.
#[derive(Debug, Clone, Copy)]
pub(in crate::router) enum Answer<'a> {
    Result(&'a [u8]),
    /// A result in which the tool reports a failure.
    ToolError(&'a [u8]),
    /// An error of JSON-RPC, in these words.
    Error(&'a str),
    /// It can't be read, or will not come, for this reason.
    Lost(&'a str),
}

/// What has become of a check, for whoever watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// The server has answered.
    Well {
        /// How long that took.
        took: Duration,
        /// The failures that end with it.
        after: Option<Failures>,
    },
    /// The server has not answered, and works on something, or says something else.
    Busy {
        /// The failures that end with it.
        after: Option<Failures>,
    },
    /// The check has failed.
    Failed {
        /// How many have in a row, and since when the first.
        failures: Failures,
        /// What the server did, in words that follow its name.
        why: String,
    },
    /// The server lists no tool of this name, so nothing is called.
    Unlisted {
        /// The tool.
        tool: Box<str>,
        /// Whether that was told before.
        again: bool,
    },
    /// It is not checked any more.
    Ended,
}

/// Checks that have failed in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failures {
    /// How many.
    pub times: u32,
    /// How long ago the first of them did.
    pub lasted: Duration,
}

/// What is to be done about a check.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing for now.
    Wait,
    /// The server is asked this: number, method and parameters.
    Ask(u32, &'static str, Vec<u8>),
    /// This is told.
    Tell(Checked),
}

impl Health {
    pub(super) fn new(terms: HealthCheck) -> Self {
        Health {
            terms,
            stage: Stage::Resting,
            shown: Shown::Nothing,
            asked: Vec::new(),
            last: 0,
            tool: UNSOUGHT,
            told: false,
        }
    }

    /// The same for another process of the server.
    pub(super) fn anew(&self) -> Self {
        Health::new(self.terms.clone())
    }

    /// As the config wants it.
    pub(super) fn terms(&self) -> &HealthCheck {
        &self.terms
    }

    /// When [`Health::look`] has something to do, of a server that is ready since then.
    pub(super) fn due(&self, ready: Instant) -> Instant {
        match self.stage {
            Stage::Resting => ready + self.terms.every,
            Stage::Due(at) => at,
            Stage::Waiting { since, .. } => since + self.patience(),
        }
    }

    fn patience(&self) -> Duration {
        self.terms.every.min(PATIENCE)
    }

    /// Whether the tool is being called, so that what the server says may be about that.
    pub(super) fn is_calling(&self) -> bool {
        self.asked.iter().any(|(_, _, question)| *question == Question::Call)
    }

    /// What is due now. `works`: whether something is under way at the server, or may be; `reads`: whether it reads what it is sent.
    pub(super) fn look(&mut self, now: Instant, works: bool, reads: bool) -> Step {
        match self.stage {
            Stage::Resting | Stage::Due(_) => {
                self.stage = Stage::Waiting { since: now, heard: false };
                // One that works has its question already, and one that hangs has several.
                let asks = reads && self.asked.len() < UNANSWERED && (!works || self.asked.is_empty());
                if asks { self.ask(now) } else { Step::Wait }
            }
            Stage::Waiting { since, heard } => {
                self.stage = Stage::Due(since + self.terms.every);
                Step::Tell(if works || heard {
                    self.busy(now)
                } else {
                    let what = match self.asked.last() {
                        Some((_, _, Question::Call)) => self.terms.tool.as_deref().unwrap_or_default(),
                        Some((_, _, Question::List)) => ListKind::Tools.method(),
                        Some((_, _, Question::Ping)) | None => "ping",
                    };
                    let waited = span(self.patience());
                    self.failed(now, true, format!("did not answer {what} within {waited}, nor say anything else"))
                })
            }
        }
    }

    fn ask(&mut self, now: Instant) -> Step {
        let (question, method, params) = match (&self.terms.tool, &self.tool) {
            (None, _) => (Question::Ping, "ping", b"{}".to_vec()),
            (Some(_), Tool::Sought { cursor, .. }) => {
                let params = cursor.as_ref().map_or_else(|| "{}".to_owned(), |at| format!("{{\"cursor\":{at}}}"));
                (Question::List, ListKind::Tools.method(), params.into_bytes())
            }
            (Some(tool), Tool::Listed) => {
                let params = format!("{{\"name\":{},\"arguments\":{{}}}}", object::quoted(tool));
                (Question::Call, "tools/call", params.into_bytes())
            }
        };
        self.last = self.last.wrapping_add(1);
        self.asked.push((self.last, now, question));
        Step::Ask(self.last, method, params)
    }

    /// The server has answered the question of this number, perhaps late.
    pub(super) fn answered(&mut self, number: u32, answer: Answer<'_>, now: Instant) -> Step {
        let Some(at) = self.asked.iter().position(|(asked, ..)| *asked == number) else { return Step::Wait };
        let (_, asked, question) = self.asked.remove(at);
        if let Stage::Waiting { since, .. } = self.stage {
            self.stage = Stage::Due(since + self.terms.every);
        }
        let words = |text: &str| bounded(text, WORDS);
        let tool = self.terms.tool.as_deref().unwrap_or_default();
        let why = match (question, answer) {
            (_, Answer::Lost(why)) => words(why),
            // An error is an answer as well, whatever it says.
            (Question::Ping, Answer::Result(_) | Answer::ToolError(_) | Answer::Error(_))
            | (Question::Call, Answer::Result(_)) => {
                return Step::Tell(self.well(asked, now));
            }
            (Question::List, Answer::Result(result) | Answer::ToolError(result)) => {
                return self.listed(result, asked, now);
            }
            (Question::List, Answer::Error(said)) => format!("answered tools/list with an error: {}", words(said)),
            (Question::Call, Answer::Error(said)) => format!("answered {tool} with an error: {}", words(said)),
            (Question::Call, Answer::ToolError(result)) => {
                let said = said_of(result).map_or_else(String::new, |said| format!(": {}", words(&said)));
                format!("reports a failure of {tool}{said}")
            }
        };
        Step::Tell(self.failed(now, false, why))
    }

    /// The server has answered with a page of its list of tools.
    fn listed(&mut self, result: &[u8], asked: Instant, now: Instant) -> Step {
        let Tool::Sought { pages, .. } = self.tool else { return Step::Tell(self.well(asked, now)) };
        let wanted = self.terms.tool.as_deref().unwrap_or_default();
        let Some(page) = page::read(result, ListKind::Tools) else {
            return Step::Tell(self.failed(now, false, "answered tools/list with something that is no list".into()));
        };
        let is_it =
            |item: &str| object::find(item, &["name"]).and_then(object::text_of).is_some_and(|name| name == wanted);
        if page.items.iter().any(|item| is_it(item)) {
            (self.tool, self.stage) = (Tool::Listed, Stage::Due(now));
            return Step::Wait;
        }
        if page.next.is_some() && pages < MAX_PAGES {
            (self.tool, self.stage) = (Tool::Sought { cursor: page.next, pages: pages + 1 }, Stage::Due(now));
            return Step::Wait;
        }
        self.tool = UNSOUGHT;
        self.shown = Shown::Unlisted;
        Step::Tell(Checked::Unlisted { tool: wanted.into(), again: std::mem::replace(&mut self.told, true) })
    }

    /// The server has said something, whatever it was.
    pub(super) fn heard(&mut self, now: Instant) -> Option<Checked> {
        if let Stage::Waiting { heard, .. } = &mut self.stage {
            *heard = true;
        }
        matches!(self.shown, Shown::Failing { silent: true, .. }).then(|| self.busy(now))
    }

    /// Nothing is asked for now.
    pub(super) fn rest(&mut self) {
        self.stage = Stage::Resting;
    }

    /// The server's life is over.
    pub(super) fn reset(&mut self) {
        (self.stage, self.shown, self.tool) = (Stage::Resting, Shown::Nothing, UNSOUGHT);
        self.asked.clear();
    }

    fn well(&mut self, asked: Instant, now: Instant) -> Checked {
        let after = self.ended(now);
        self.shown = Shown::Well;
        Checked::Well { took: now - asked, after }
    }

    fn busy(&mut self, now: Instant) -> Checked {
        let after = self.ended(now);
        self.shown = Shown::Busy;
        Checked::Busy { after }
    }

    fn failed(&mut self, now: Instant, silent: bool, why: String) -> Checked {
        let (since, times) = match self.shown {
            Shown::Failing { since, times, .. } => (since, times.saturating_add(1)),
            Shown::Nothing | Shown::Well | Shown::Busy | Shown::Unlisted => (now, 1),
        };
        self.shown = Shown::Failing { since, times, silent };
        Checked::Failed { failures: Failures { times, lasted: now - since }, why }
    }

    /// The failures that end now.
    fn ended(&self, now: Instant) -> Option<Failures> {
        match self.shown {
            Shown::Failing { since, times, .. } => Some(Failures { times, lasted: now - since }),
            Shown::Nothing | Shown::Well | Shown::Busy | Shown::Unlisted => None,
        }
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Checked::Well { after: Some(failures), .. } => {
                write!(f, "answers its health check again, after {failures}")
            }
            Checked::Well { took, after: None } => write!(f, "answered its health check in {}", span(*took)),
            Checked::Busy { after: Some(failures) } => write!(f, "says something again, after {failures}"),
            Checked::Busy { after: None } => f.write_str("has not answered its health check, and works on something"),
            Checked::Failed { failures: Failures { times: 1, .. }, why } => write!(f, "failed its health check: {why}"),
            Checked::Failed { failures, why } => write!(f, "{failures}: {why}"),
            Checked::Unlisted { tool, .. } => write!(
                f,
                "lists no tool {tool}, so its health check calls nothing: correct the tool of its healthCheck, or remove it, and the \
                 server is sent a ping"
            ),
            Checked::Ended => f.write_str("has another health check from now on, or none"),
        }
    }
}

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failures { times, lasted } = self;
        write!(f, "{} in {}", counted(*times as usize, "failed health check"), span(*lasted))
    }
}

/// What a tool says of its failure: the first text of its result.
fn said_of(result: &[u8]) -> Option<String> {
    let content = object::find(str::from_utf8(result).ok()?, &["content"])?;
    let texts = object::elements(content, 1)?;
    let text = object::lossy_text_of(object::find(texts.first()?, &["text"])?)?;
    Some(text.into_owned()).filter(|text| !text.trim().is_empty())
}

#[cfg(test)]
mod tests;
