//! What each server did in the last 24 hours: bounded, whatever happens. Pure.
//!
//! A history is a row of spans: what a server did from a moment on, until the next one begins. A trouble that comes again soon after a try
//! (a crash loop, a check that fails now and then) is one span with a count, so that ten thousand restarts are a line and not ten thousand.

pub(crate) mod kept;
pub(super) mod words;

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

/// For how long it is kept what a server did, in milliseconds.
pub(crate) const WINDOW: u64 = 24 * 60 * 60 * 1000;
/// Most spans of a server, some 100 bytes each: one for each seven minutes, which are joined where they are alike.
const MOST: usize = 200;
/// Most spans of all servers together: two megabytes.
const MOST_OF_ALL: usize = 10_000;
/// Most servers that are gone, of which it is kept what they did: names may come and go by the thousand.
const MOST_GONE: usize = 200;
/// Longest reason of a span, in bytes.
const WHY: usize = 200;
/// Longest time between two equal troubles that are one span, in milliseconds: a life of that length is no part of a crash loop.
const SOON: u64 = 60_000;

/// What a server did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Doing {
    Starting,
    Serving,
    /// It was called, and said nothing.
    Silent,
    /// It failed its health check.
    Failing,
    /// It got no calls, as it had given no answers.
    CircuitOpen,
    /// It answered `initialize` with an error.
    Refusing,
    Down,
    /// It ran and took no calls, as a person wanted it.
    Paused,
    /// It did not run, as a person wanted it.
    Stopped,
    /// It was not in the config any more.
    Removed,
    /// mcp-pipe itself did not run.
    Away,
}

impl Doing {
    /// Whether it is one span where it comes again soon, with nothing but this in between.
    fn joins_over(self, between: Doing) -> bool {
        let is_try = matches!(between, Doing::Starting | Doing::Serving);
        match self {
            Doing::Down | Doing::Refusing | Doing::Silent | Doing::CircuitOpen | Doing::Away => is_try,
            // What has failed may have been replaced.
            Doing::Failing => is_try || between == Doing::Down,
            Doing::Starting | Doing::Serving | Doing::Paused | Doing::Stopped | Doing::Removed => false,
        }
    }
}

/// What a server did from a moment on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Span {
    /// When it began, in milliseconds since 1970.
    pub from: u64,
    pub doing: Doing,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub why: Box<str>,
    /// How many spans were joined to this one, itself included.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub times: u32,
    /// For how long it served between these, in milliseconds.
    #[serde(default, skip_serializing_if = "is_none")]
    pub served: u64,
}

fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_one(times: &u32) -> bool {
    *times == 1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_none(time: &u64) -> bool {
    *time == 0
}

/// What one server did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// The oldest first.
    pub spans: VecDeque<Span>,
    /// How many spans were dropped, as there were too many within the time.
    #[serde(default)]
    pub dropped: u64,
    /// Whether it is one of the servers of this run.
    #[serde(skip)]
    present: bool,
}

impl Row {
    /// Notes what the server does from now on. Returns whether that is something else than before.
    fn note(&mut self, doing: Doing, why: &str, now: u64) -> bool {
        let why = &why[..why.floor_char_boundary(WHY)];
        let last = self.spans.back();
        if last.is_some_and(|last| last.doing == doing && *last.why == *why) {
            return false;
        }
        // A clock may be set back.
        let now = last.map_or(now, |last| now.max(last.from));
        if !self.join(doing, why, now) {
            self.spans.push_back(Span { from: now, doing, why: why.into(), times: 1, served: 0 });
        }
        self.age(now);
        if self.spans.len() > MOST {
            self.drop_oldest();
        }
        true
    }

    /// Joins what begins now to a span like it that ended a short while ago.
    fn join(&mut self, doing: Doing, why: &str, now: u64) -> bool {
        let mut at = self.spans.len();
        while at > 0 && doing.joins_over(self.spans[at - 1].doing) && now - self.spans[at - 1].from < SOON {
            at -= 1;
            let Some(before) = at.checked_sub(1).map(|before| &self.spans[before]) else { return false };
            if before.doing == doing && *before.why == *why {
                let served = self.served_between(at..self.spans.len(), now);
                self.spans.truncate(at);
                if let Some(joined) = self.spans.back_mut() {
                    joined.times = joined.times.saturating_add(1);
                    joined.served = joined.served.saturating_add(served);
                }
                return true;
            }
        }
        false
    }

    /// For how long the server served in some of the spans.
    fn served_between(&self, spans: std::ops::Range<usize>, now: u64) -> u64 {
        spans.map(|at| self.served(at, now)).sum()
    }

    fn served(&self, at: usize, now: u64) -> u64 {
        let Span { from, doing, served, .. } = &self.spans[at];
        if *doing == Doing::Serving { self.end_of(at, now).saturating_sub(*from) } else { *served }
    }

    /// When a span ended, or that it has not.
    pub(super) fn end_of(&self, at: usize, now: u64) -> u64 {
        self.spans.get(at + 1).map_or(now, |next| next.from)
    }

    /// Forgets spans that ended more than [`WINDOW`] ago.
    fn age(&mut self, now: u64) {
        while self.spans.get(1).is_some_and(|second| second.from + WINDOW <= now) {
            self.spans.pop_front();
        }
    }

    fn drop_oldest(&mut self) {
        self.spans.pop_front();
        self.dropped += 1;
    }

    /// For how long the server served, and how long that is known, in milliseconds of the last 24 hours.
    pub(super) fn share(&self, now: u64) -> (u64, u64) {
        let begin = now.saturating_sub(WINDOW);
        let served = (0..self.spans.len()).map(|at| {
            let (from, until) = (self.spans[at].from, self.end_of(at, now));
            let (lasted, inside) = (until.saturating_sub(from), until.saturating_sub(from.max(begin)));
            match lasted {
                0 => 0,
                lasted => u64::try_from(u128::from(self.served(at, now)) * u128::from(inside) / u128::from(lasted))
                    .unwrap_or(u64::MAX),
            }
        });
        let known = self.spans.front().map_or(0, |first| now.saturating_sub(first.from.max(begin)));
        (served.sum(), known)
    }
}

/// What all servers did, by their names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Histories {
    rows: BTreeMap<Box<str>, Row>,
}

/// What one server did, for whoever asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    pub name: Box<str>,
    /// The time at which it is told, in milliseconds since 1970.
    pub now: u64,
    #[serde(flatten)]
    pub row: Row,
}

impl Histories {
    /// A server is one of this run.
    fn add(&mut self, name: &str) {
        self.rows.entry(name.into()).or_default().present = true;
    }

    /// A server is one of this run no more.
    fn remove(&mut self, name: &str, now: u64) {
        if let Some(row) = self.rows.get_mut(name) {
            row.note(Doing::Removed, "", now);
            row.present = false;
        }
        self.sweep(now);
    }

    /// Notes what a server of this run does from now on. Returns whether that is something else than before.
    fn note(&mut self, name: &str, doing: Doing, why: &str, now: u64) -> bool {
        let noted = self.rows.get_mut(name).is_some_and(|row| row.note(doing, why, now));
        if noted {
            self.sweep(now);
        }
        noted
    }

    /// Forgets servers that were there a day ago, and keeps the whole within its bound.
    fn sweep(&mut self, now: u64) {
        self.rows.retain(|_, row| row.present || row.spans.back().is_some_and(|last| last.from + WINDOW > now));
        let gone = self.rows.iter().filter(|(_, row)| !row.present);
        let mut gone: Vec<_> = gone.map(|(name, row)| (row.spans.back().map(|last| last.from), name.clone())).collect();
        if gone.len() > MOST_GONE {
            gone.sort_unstable();
            gone[..gone.len() - MOST_GONE].iter().for_each(|(_, name)| drop(self.rows.remove(name)));
        }
        let mut all: usize = self.rows.values().map(|row| row.spans.len()).sum();
        while all > MOST_OF_ALL {
            let longest = self.rows.values_mut().max_by_key(|row| row.spans.len());
            let Some(row) = longest.filter(|row| row.spans.len() > 1) else { return };
            row.drop_oldest();
            all -= 1;
        }
    }

    /// Takes what an earlier run has kept, which was at `saved`. `why`: what is known of that run's end.
    fn restore(&mut self, before: Histories, (saved, now): (u64, u64), why: &str) {
        self.rows = before.rows;
        for row in self.rows.values_mut() {
            row.present = false;
            row.note(Doing::Away, why, saved.min(now));
            row.age(now);
        }
        self.sweep(now);
    }

    /// What the server of this name did, or all did.
    fn read(&mut self, only: Option<&str>, now: u64) -> Vec<Told> {
        self.sweep(now);
        let asked = self.rows.iter_mut().filter(|(name, _)| only.is_none_or(|only| ***name == *only));
        let told = asked.map(|(name, row)| {
            row.age(now);
            Told { name: name.clone(), now, row: row.clone() }
        });
        told.collect()
    }
}

#[cfg(test)]
mod tests;
