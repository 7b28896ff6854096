//! What a server writes to stdout: its messages, told apart from whatever else is printed there. Pure.
//!
//! # Theory of operation
//!
//! A line that is a message goes on as it was read, and nearly all lines are. Anything else is for [`salvage`]. A line that
//! has not ended is looked at as well once it stands still, since an answer may be all that comes: some servers leave out
//! the line end.
//!
//! Text of megabytes that is no message is searched piece by piece. After each piece the taker is asked to come back, as if it had no
//! room, so that others on the thread have their turn ([`Stdout::is_paused`]).

mod found;
mod left;
mod line;
mod salvage;
mod utf16;

use std::ops::ControlFlow;
use std::time::Duration;

use memchr::{memchr, memchr2};
use tokio::time::Instant;

use self::found::On;
pub use self::found::{Found, Habit};
pub(super) use self::left::{Left, OnFound};
pub(super) use self::line::hand_on_text;
use self::line::{hand_on_line, is_message};
pub(crate) use self::salvage::notation;
use self::salvage::{Salvage, WITHIN_LINE};
use crate::frame::{Line, LineIn, OnLine, either};
use crate::mcp::envelope;

/// Shortest time for which an unfinished line must stand still before it is looked at: long enough for the end of a large
/// message to follow, and short enough for a caller not to notice.
const STILL: Duration = Duration::from_millis(50);

/// Most bytes of a line that is no message that are searched at a time: others on the thread wait meanwhile.
const PIECE: usize = 64 * 1024;

/// The rest of a line that is searched piece by piece. Never more than one line, and one read.
#[derive(Debug, Default)]
struct Later {
    text: Vec<u8>,
    /// How much of the text has been searched.
    done: usize,
    /// The line ends behind the text.
    ends: bool,
    /// Nothing more will come of what has begun, once the text is searched.
    is_last: bool,
}

impl Later {
    fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Keeps a text that follows what is kept already.
    fn keep(&mut self, text: &[u8], ends: bool) {
        self.text.extend_from_slice(text);
        self.ends = ends;
    }

    /// Has the next piece searched.
    fn search_piece(&mut self, salvage: &mut Salvage, now: Instant, on: On<'_>) {
        let end = self.text.len().min(self.done + PIECE);
        let is_end = end == self.text.len();
        salvage.add_part(&self.text[self.done..end], is_end && self.ends, now, on);
        self.done = end;
        if is_end {
            (self.text, self.done) = (Vec::new(), 0);
        }
    }
}

/// See the module's documentation. One for each life of a server.
#[derive(Debug)]
pub struct Stdout {
    lines: LineIn,
    salvage: Salvage,
    left: Left,
    later: Later,
    /// When something last came of the line that has not ended.
    grown: Instant,
    /// The line that has not ended has been looked at since.
    looked: bool,
}

impl Stdout {
    /// For one life of a server. Messages of more than `max` bytes are too large.
    pub fn new(max: usize, now: Instant) -> Self {
        let lines = LineIn::new(max, envelope::begins_message);
        let (salvage, left, later) = (Salvage::new(max, now), Left::default(), Later::default());
        Stdout { lines, salvage, left, later, grown: now, looked: false }
    }

    /// Takes what was read, until `on` doesn't go on: then nothing is to be read before [`Stdout::resume`] has taken the
    /// rest.
    pub fn feed(&mut self, chunk: &[u8], now: Instant, on: &mut OnFound<'_>) -> ControlFlow<()> {
        let flow = self.sort_all(now, on, |lines, each| lines.feed(chunk, each));
        self.note_growth(now);
        flow
    }

    /// Goes on with what is left of an earlier read. Nothing is left then, unless `on` stops again.
    pub fn resume(&mut self, now: Instant, on: &mut OnFound<'_>) -> ControlFlow<()> {
        if !self.has_rest() {
            return ControlFlow::Continue(());
        }
        self.left.resume(on)?;
        if !self.later.is_empty() {
            self.find(on, |salvage, later, on| later.search_piece(salvage, now, on))?;
        }
        if std::mem::take(&mut self.later.is_last) {
            self.find(on, |salvage, _, on| salvage.end_candidate(now, on))?;
        }
        let flow = self.sort_all(now, on, LineIn::resume);
        self.note_growth(now);
        flow
    }

    /// Whether something of an earlier read is still to be handed on.
    pub(super) fn has_rest(&self) -> bool {
        !self.left.is_empty() || self.is_paused() || self.lines.has_rest()
    }

    /// Whether a stop was our own: there is more to search, and [`Stdout::resume`] is to be called soon, though not at once.
    pub(super) fn is_paused(&self) -> bool {
        !self.later.is_empty() || self.later.is_last
    }

    /// Sorts the lines that `hand` hands on.
    fn sort_all(
        &mut self,
        now: Instant,
        on: &mut OnFound<'_>,
        hand: impl FnOnce(&mut LineIn, &mut OnLine<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let Stdout { lines, salvage, left, later, .. } = self;
        hand(lines, &mut |line| {
            let mut flow = ControlFlow::Continue(());
            sort(salvage, later, line, now, &mut |found| left.pass(found, &mut flow, on));
            if later.is_empty() { flow } else { ControlFlow::Break(()) }
        })
    }

    /// Hands on what `find` finds.
    fn find(&mut self, on: &mut OnFound<'_>, find: impl FnOnce(&mut Salvage, &mut Later, On<'_>)) -> ControlFlow<()> {
        let mut flow = ControlFlow::Continue(());
        let Stdout { salvage, left, later, .. } = self;
        find(salvage, later, &mut |found| left.pass(found, &mut flow, on));
        if later.is_empty() { flow } else { ControlFlow::Break(()) }
    }

    /// Nothing more will come of what has begun.
    fn end_candidate(&mut self, now: Instant, on: &mut OnFound<'_>) -> ControlFlow<()> {
        if self.later.is_empty() {
            return self.find(on, |salvage, _, on| salvage.end_candidate(now, on));
        }
        self.later.is_last = true;
        ControlFlow::Break(())
    }

    /// Where a large line under way is best read to ([`LineIn::spare`]). Call [`Stdout::spared`] afterwards.
    pub(super) fn spare(&mut self) -> Option<&mut Vec<u8>> {
        self.lines.spare()
    }

    /// Looks at what was read into [`Stdout::spare`], as [`Stdout::feed`] does.
    pub(super) fn spared(&mut self, now: Instant, on: &mut OnFound<'_>) -> ControlFlow<()> {
        let flow = self.sort_all(now, on, LineIn::spared);
        self.note_growth(now);
        flow
    }

    /// Nothing more will come: looks at what is left, as [`Stdout::feed`] does.
    pub fn end(&mut self, now: Instant, on: &mut OnFound<'_>) -> ControlFlow<()> {
        let last = self.sort_all(now, on, LineIn::end);
        either(last, self.end_candidate(now, on))
    }

    fn note_growth(&mut self, now: Instant) {
        if !self.lines.unfinished().is_empty() {
            (self.grown, self.looked) = (now, false);
        }
    }

    /// When [`Stdout::on_deadline`] is to be called; may move with everything that is fed.
    pub fn deadline(&self) -> Option<Instant> {
        let line = (!self.lines.unfinished().is_empty()).then(|| self.grown + self.patience());
        [line, self.salvage.deadline()].into_iter().flatten().min()
    }

    /// How long the line under way may stand still.
    fn patience(&self) -> Duration {
        match self.looked {
            true => WITHIN_LINE,
            false if self.salvage.is_loose() => Duration::ZERO,
            false => STILL,
        }
    }

    /// Looks at what stands still, as [`Stdout::feed`] does.
    pub fn on_deadline(&mut self, now: Instant, on: &mut OnFound<'_>) -> ControlFlow<()> {
        let is_still = !self.lines.unfinished().is_empty() && self.grown + self.patience() <= now;
        let mut flow = ControlFlow::Continue(());
        if is_still && self.looked {
            flow = self.sort_all(now, on, LineIn::pass);
            flow = either(flow, self.end_candidate(now, on));
        } else if is_still {
            self.looked = true;
            // Where no object has ended, no message can be found.
            if memchr(b'}', self.lines.unfinished()).is_some() {
                flow = self.sort_all(now, on, LineIn::pass);
            }
        }
        either(flow, self.find(on, |salvage, _, on| salvage.on_deadline(now, on)))
    }
}

#[cfg(test)]
impl Stdout {
    /// Bytes that are kept until more comes.
    fn held(&self) -> usize {
        self.lines.unfinished().len() + self.salvage.held() + self.later.text.len()
    }
}

fn sort(salvage: &mut Salvage, later: &mut Later, line: Line<'_>, now: Instant, on: On<'_>) {
    match line {
        // What comes before the rest of its line is searched.
        Line::Part { text, ends } if !later.is_empty() => later.keep(text, ends),
        Line::Frame(text) | Line::Repaired(text) => {
            if let Line::Repaired(_) = line {
                on(Found::Habit(Habit::NotUtf8));
            }
            // A progress bar may have left a `\r`.
            let line = text.trim_ascii();
            if salvage.is_idle() && hand_on_line(line, on) {
                return;
            }
            if salvage.is_idle()
                && let Some(narrow) = utf16::narrow(text)
                && hand_on_line(narrow.trim_ascii(), on)
            {
                on(Found::Habit(Habit::Wide));
                return;
            }
            if salvage.is_at_line_start() && !salvage.is_idle() && is_message(line) {
                salvage.end_candidate(now, on);
                hand_on_line(line, on);
                return;
            }
            begin_search(salvage, later, text, true, now, on);
        }
        Line::Part { text, ends } => begin_search(salvage, later, text, ends, now, on),
        Line::TooLarge(cut) => {
            salvage.end_candidate(now, on);
            on(Found::TooLarge(cut));
        }
    }
}

/// Searches the first piece of a text, and keeps the rest for later.
fn begin_search(salvage: &mut Salvage, later: &mut Later, text: &[u8], ends: bool, now: Instant, on: On<'_>) {
    // Up to the first bracket there is nothing to search: that costs little, and need not be kept.
    let plain = memchr2(b'{', b'[', text).unwrap_or(text.len()) / PIECE * PIECE;
    let (plain, text) =
        if plain == text.len() { text.split_at(plain - plain.min(PIECE)) } else { text.split_at(plain) };
    plain.chunks(PIECE).for_each(|piece| salvage.add_part(piece, false, now, on));
    let (first, rest) = text.split_at(text.len().min(PIECE));
    salvage.add_part(first, ends && rest.is_empty(), now, on);
    if !rest.is_empty() {
        later.keep(rest, ends);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
