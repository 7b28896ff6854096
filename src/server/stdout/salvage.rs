//! Messages amid what is none: on a line with other text, several on a line, one over several lines, behind headers.
//!
//! # Theory of operation
//!
//! [`Salvage`] gets the parts of a server's stdout that are no message by themselves. Objects and arrays in that text are
//! followed ([`walk`]). A value that ends as JSON and names `jsonrpc` is a message; a value that stops being JSON is text,
//! in which the search goes on; a value that has begun and not ended waits for what comes next. An object inside another one
//! is no message of the stream: a log's JSON that quotes a message is text. Only where the outer object turns out to be no
//! JSON, whole objects in it count.
//!
//! A message that was meant and can't be had is lost, and its id is reported, so that whoever waits for the message gets an
//! error: at once where a line begins with the message. Where other text stands before it on its line, this may be a log's
//! copy, cut short, and the answer itself is still to come; so the loss is reported after a while ([`doubts`]).
//!
//! Nothing here waits for ever: a message that has begun is given up when nothing more of it comes, when another message
//! comes, and above the size limit.

mod doubts;
mod named;
mod search;
mod walk;

use std::ops::Range;
use std::time::Duration;

use tokio::time::Instant;

use self::doubts::Doubts;
pub(crate) use self::named::notation;
use self::walk::{Walk, WalkResult};
use super::found::{Found, Habit, On};
use crate::frame::Ends;

/// Longest time that a message that has begun may stand still between two of its lines, which are written together.
const BETWEEN_LINES: Duration = Duration::from_secs(5);

/// Longest time that a message may stand still within a line. Some servers write an answer while they work it out, and a
/// line that has not ended is no fault yet.
pub(super) const WITHIN_LINE: Duration = Duration::from_secs(60);

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Salvage {
    max: usize,
    /// What may be a message and has not ended; empty if there is no such thing.
    text: Vec<u8>,
    candidate: Option<Candidate>,
    line: LineContents,
    /// When something last came.
    touched: Instant,
    doubts: Doubts,
    /// The server has shown that it leaves out line ends.
    loose: bool,
}

/// An object or array that may be a message.
#[derive(Debug)]
struct Candidate {
    walk: Walk,
    /// Other text stands before the candidate on its line.
    is_prefixed: bool,
    /// Where the candidate's id is, if that is no JSON.
    odd_id: Option<Range<usize>>,
    /// The candidate is above the limit, and only its ends are kept.
    cut: Option<Ends>,
}

/// What stands on the line that is under way.
#[derive(Debug, Default)]
struct LineContents {
    /// Some of the line has been looked at.
    begun: bool,
    /// The line holds text that is no message.
    text: bool,
    /// The line holds a message.
    message: bool,
    /// The line holds a message that was found before the line had ended.
    early: bool,
}

impl Salvage {
    /// Messages of more than `max` bytes are too large.
    pub(super) fn new(max: usize, now: Instant) -> Self {
        Salvage {
            max,
            text: Vec::new(),
            candidate: None,
            line: LineContents::default(),
            touched: now,
            doubts: Doubts::default(),
            loose: false,
        }
    }

    /// Whether nothing is under way, so that the next line stands for itself.
    pub(super) fn is_idle(&self) -> bool {
        self.candidate.is_none() && !self.line.begun
    }

    /// Whether the next text begins a line.
    pub(super) fn is_at_line_start(&self) -> bool {
        !self.line.begun
    }

    /// Whether the server has shown that it leaves out line ends.
    pub(super) fn is_loose(&self) -> bool {
        self.loose
    }

    /// When [`Salvage::on_deadline`] is to be called.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let stands_still = self.candidate.is_some().then(|| self.touched + self.patience());
        [stands_still, self.doubts.deadline()].into_iter().flatten().min()
    }

    /// How long what has begun may stand still.
    fn patience(&self) -> Duration {
        if self.line.begun { WITHIN_LINE } else { BETWEEN_LINES }
    }

    /// Gives up what stands still, and reports what has been in doubt for long enough.
    pub(super) fn on_deadline(&mut self, now: Instant, on: On<'_>) {
        if self.touched + self.patience() <= now {
            self.end_candidate(now, on);
        }
        self.doubts.report_due(now, on);
    }

    /// Nothing more will come of what has begun.
    pub(super) fn end_candidate(&mut self, now: Instant, on: On<'_>) {
        match &self.candidate {
            None => {}
            Some(Candidate { cut: Some(ends), .. }) => {
                on(Found::TooLarge(ends.cut()));
                self.candidate = None;
            }
            Some(Candidate { cut: None, .. }) => {
                let text = std::mem::take(&mut self.text);
                self.search(&text, None, now, on);
            }
        }
    }

    /// Takes a part of a line. `ends`: the line's end follows.
    pub(super) fn add_part(&mut self, piece: &[u8], ends: bool, now: Instant, on: On<'_>) {
        self.touched = now;
        if self.line.early && !search::is_blank(piece) {
            self.loose = true;
            on(Found::Habit(Habit::Unended));
        }
        self.line.begun = !ends;
        self.add(piece, now, on);
        if ends && self.candidate.is_some() {
            self.add(b"\n", now, on);
        }
        if ends {
            self.line = LineContents::default();
            self.doubts.end_line(now);
        }
    }

    fn add(&mut self, piece: &[u8], now: Instant, on: On<'_>) {
        let Some(rest) = self.skip(piece, on) else { return };
        // Nearly always nothing is kept, and then a long text isn't copied.
        let mut text = std::mem::take(&mut self.text);
        if text.is_empty() {
            let kept = self.search(rest, Some(0), now, on);
            self.text = rest[kept..].to_vec();
        } else {
            let line = text.len();
            text.extend_from_slice(rest);
            let kept = self.search(&text, Some(line), now, on);
            text.drain(..kept);
            self.text = text;
        }
        if self.text.len() > self.max
            && let Some(candidate) = &mut self.candidate
        {
            candidate.cut = Some(Ends::of(&self.text));
            self.text = Vec::new();
        }
    }

    /// Walks over what belongs to a message above the limit, and returns the part of `piece` behind it. `None`: the message
    /// goes on.
    fn skip<'p>(&mut self, piece: &'p [u8], on: On<'_>) -> Option<&'p [u8]> {
        let Some(Candidate { walk, cut: Some(ends), .. }) = &mut self.candidate else { return Some(piece) };
        let before = walk.at();
        let n = match walk.go(piece) {
            WalkResult::More => {
                ends.push(piece);
                return None;
            }
            WalkResult::Done(end) | WalkResult::Broken(end) => end - before,
        };
        ends.push(&piece[..n]);
        on(Found::TooLarge(ends.cut()));
        self.candidate = None;
        Some(&piece[n..])
    }

    /// Bytes that are kept until more comes.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.text.len()
    }
}
