//! Answers that may be lost: who waits for one gets an error, but not before it had time to come after all.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::named;
use crate::mcp::envelope::{Lost, NotMessage};
use crate::server::stdout::found::{Found, On};

/// Longest time that an answer may take whose log, cut short, may have come before it.
const GRACE: Duration = Duration::from_secs(2);

/// Most ids that are in doubt at a time. More than that are a log's, and the oldest is reported at once.
const MAX_DOUBTS: usize = 64;

/// Longest id that is kept, in bytes: ours are numbers.
const MAX_ID: usize = 32;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    list: VecDeque<Doubt>,
    rest: Rest,
}

/// What follows the beginning of an answer that was lost without an id.
#[derive(Debug, Default)]
enum Rest {
    /// No beginning was lost.
    #[default]
    None,
    /// The rest of the line, which began with the answer, is the answer's.
    OfLine,
    /// A text that comes until then may be the rest.
    Perhaps(Instant),
}

#[derive(Debug)]
struct Doubt {
    until: Instant,
    id: Box<[u8]>,
    why: NotMessage,
}

impl Doubts {
    /// The answer to the request with this id may be lost. One doubt about an answer is enough.
    pub(super) fn add(&mut self, id: &[u8], why: NotMessage, now: Instant, on: On<'_>) {
        if id.len() > MAX_ID || self.list.iter().any(|doubt| *doubt.id == *id) {
            return;
        }
        if self.list.len() == MAX_DOUBTS {
            self.report_oldest(on);
        }
        self.list.push_back(Doubt { until: now + GRACE, id: id.into(), why });
    }

    /// The beginning of an answer is lost, and its id may be in the rest. `begins_line`: nothing stood before the answer on
    /// its line.
    pub(super) fn expect_rest(&mut self, begins_line: bool, now: Instant) {
        self.rest = if begins_line { Rest::OfLine } else { Rest::Perhaps(now + GRACE) };
    }

    /// A line has ended.
    pub(super) fn end_line(&mut self, now: Instant) {
        if let Rest::OfLine = self.rest {
            self.rest = Rest::Perhaps(now + GRACE);
        }
    }

    /// Reads a text that is neither JSON nor begins like a message: perhaps the rest of an answer, or an answer in another
    /// notation.
    pub(super) fn read(&mut self, text: &[u8], now: Instant, on: On<'_>) {
        let is_rest = match self.rest {
            Rest::None => false,
            Rest::OfLine => true,
            Rest::Perhaps(until) => now <= until,
        };
        let Some(id) = named::answered(text, is_rest) else { return };
        let why = named::notation(text).map_or(NotMessage::Other, NotMessage::Notation);
        match std::mem::take(&mut self.rest) {
            Rest::OfLine => on(Found::Lost(Lost { id, method: false, why }, b"")),
            Rest::None | Rest::Perhaps(_) => self.add(id, why, now, on),
        }
    }

    /// When [`Doubts::report_due`] is to be called.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.list.front().map(|doubt| doubt.until)
    }

    /// Reports answers in doubt that have had time to come. If one has come, nobody waits for it any more.
    pub(super) fn report_due(&mut self, now: Instant, on: On<'_>) {
        while self.deadline().is_some_and(|due| due <= now) {
            self.report_oldest(on);
        }
    }

    fn report_oldest(&mut self, on: On<'_>) {
        if let Some(Doubt { id, why, .. }) = self.list.pop_front() {
            on(Found::Lost(Lost { id: &id, method: false, why }, b""));
        }
    }
}
