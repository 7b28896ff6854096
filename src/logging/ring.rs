//! The last lines of the log, for `mcp-pipe logs`.
//!
//! # Theory of operation
//!
//! Each server has a section of its own, so that one that talks all the time costs the others no line; lines about no server, or
//! about several, share one. A line is kept as the JSON that it is in a JSON log, secrets taken out before. All lines have numbers without
//! a gap. A reader has a [`Cursor`]: what it wants and how far it is. Nothing is kept for a reader: one that is too slow is told how many
//! lines are gone, which is the number of those that were ever pushed without those that it got and those that are still to come.
//!
//! A reader that waits is woken by the next line; nobody polls.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Most lines of a section, and most bytes: what a person scrolls through, or a day of a server that says little. Nothing is
/// allocated before there are lines.
const LINES: usize = 1000;
const BYTES: usize = 256 << 10;
/// Most bytes of all sections: a hundred servers that talk may not cost more than the servers themselves.
const ALL_BYTES: usize = 8 << 20;
/// Most bytes of text in a line, before JSON's escapes: a server's last words (16 KiB) and what stands around them.
pub(super) const LINE: usize = 24 << 10;
/// What a line takes besides its text, in bytes: its place in the queue, and the allocator's own.
const BESIDES: usize = 64;

/// The last lines. Cloning gives another handle.
#[derive(Clone, Default)]
pub struct Ring(Arc<Inner>);

#[derive(Default)]
struct Inner {
    kept: Mutex<Kept>,
    /// How many lines there ever were.
    news: watch::Sender<u64>,
}

#[derive(Default)]
struct Kept {
    /// The number of the next line.
    next: u64,
    bytes: usize,
    /// Lines about no server, or about several.
    shared: Section,
    servers: HashMap<Arc<str>, Section>,
}

#[derive(Default)]
struct Section {
    lines: VecDeque<Line>,
    bytes: usize,
    /// How many lines ever named this server, those about several included.
    named: u64,
}

struct Line {
    number: u64,
    /// When it was logged, in seconds since 1970.
    at: u64,
    about: About,
    text: Box<str>,
}

enum About {
    /// No server.
    None,
    /// The server whose section it is in.
    One,
    /// These.
    Several(Box<[Arc<str>]>),
}

/// Which lines are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum View {
    /// All.
    All,
    /// Those about this server, alone or among others.
    Server(Arc<str>),
}

/// A reader's place.
#[derive(Debug)]
pub(crate) struct Cursor {
    view: View,
    /// The number of the first line that it has not seen.
    next: u64,
    /// How many lines of its view it has got, was told to be lost, or did not want.
    settled: u64,
    /// Where it ends, if it wants none that are logged from now on: the number of the next line, and how many of its view there were.
    end: Option<(u64, u64)>,
}

/// What a reader gets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Entry<'a> {
    /// So many lines before the next one are gone.
    Lost(u64),
    /// A line in JSON, and when it was logged, in seconds since 1970.
    Line(u64, &'a str),
}

impl Ring {
    /// Keeps a line about these servers.
    pub(super) fn push<'a>(&self, names: impl Iterator<Item = &'a str>, at: u64, text: &str) {
        let mut kept = self.kept();
        kept.push(names, at, text);
        let next = kept.next;
        drop(kept);
        self.0.news.send_replace(next);
    }

    /// Tells of each further line.
    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.0.news.subscribe()
    }

    /// A reader of the last so many lines, of all that are kept if `None`; and, if it follows, of those that are logged from now on.
    pub(crate) fn cursor(&self, view: View, last: Option<u64>, follows: bool) -> Cursor {
        self.kept().cursor(view, last, follows)
    }

    /// Hands a reader the next lines, of about `most` bytes, and first how many are gone before them. Calls `each` for nothing if there is
    /// nothing new.
    pub(crate) fn read(&self, cursor: &mut Cursor, most: usize, each: &mut dyn FnMut(Entry<'_>)) {
        self.kept().read(cursor, most, each);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn push<'a>(&mut self, names: impl Iterator<Item = &'a str>, at: u64, text: &str) {
        let mut names: Vec<Arc<str>> = names.map(|name| self.name(name)).collect();
        names.dedup();
        for name in &names {
            if let Some(section) = self.servers.get_mut(name) {
                section.named += 1;
            }
        }
        let (section, about) = match &names[..] {
            [] => (&mut self.shared, About::None),
            [name] => (self.servers.entry(name.clone()).or_default(), About::One),
            _ => (&mut self.shared, About::Several(names.into_boxed_slice())),
        };
        let line = Line { number: self.next, at, about, text: text.into() };
        self.next += 1;
        self.bytes += line.bytes();
        section.bytes += line.bytes();
        section.lines.push_back(line);
        while section.lines.len() > LINES || section.bytes > BYTES {
            self.bytes -= section.drop_oldest();
        }
        while self.bytes > ALL_BYTES {
            // The one that talks most pays.
            let largest = self.servers.values_mut().chain([&mut self.shared]).max_by_key(|section| section.bytes);
            self.bytes -= largest.map_or(self.bytes, Section::drop_oldest);
        }
    }

    /// The name as it is kept already.
    fn name(&mut self, name: &str) -> Arc<str> {
        if let Some((kept, _)) = self.servers.get_key_value(name) {
            return kept.clone();
        }
        let name: Arc<str> = name.into();
        self.servers.insert(name.clone(), Section::default());
        name
    }

    fn cursor(&self, view: View, last: Option<u64>, follows: bool) -> Cursor {
        let all = self.pushed(&view);
        let mut numbers: Vec<u64> = self.unseen(&view, 0).map(|line| line.number).collect();
        let wanted = last.map_or(all, |last| last.min(all));
        // Of the lines that are kept these are not wanted; what else is missing is lost.
        let skipped = numbers.len().saturating_sub(usize::try_from(wanted).unwrap_or(usize::MAX));
        let next = if skipped == 0 { 0 } else { *numbers.select_nth_unstable(skipped - 1).1 + 1 };
        let end = (!follows).then_some((self.next, all));
        Cursor { view, next, settled: all - wanted, end }
    }

    fn read(&self, cursor: &mut Cursor, most: usize, each: &mut dyn FnMut(Entry<'_>)) {
        let view = cursor.view.clone();
        let (end, pushed) = cursor.end.unwrap_or_else(|| (self.next, self.pushed(&view)));
        let unseen = self.unseen(&view, cursor.next).filter(|line| line.number < end).count() as u64;
        let lost = pushed.saturating_sub(cursor.settled).saturating_sub(unseen);
        if lost > 0 {
            cursor.settled += lost;
            each(Entry::Lost(lost));
        }
        let mut left = most;
        for line in self.in_order(&view, cursor.next).take_while(|line| line.number < end) {
            if left == 0 {
                return;
            }
            left = left.saturating_sub(line.bytes());
            cursor.settled += 1;
            cursor.next = line.number + 1;
            each(Entry::Line(line.at, &line.text));
        }
        cursor.next = end;
    }

    /// How many lines of a view there ever were.
    fn pushed(&self, view: &View) -> u64 {
        match view {
            View::All => self.next,
            View::Server(name) => self.servers.get(name).map_or(0, |section| section.named),
        }
    }

    /// The sections in which lines of a view are.
    fn sections<'a>(&'a self, view: &'a View) -> impl Iterator<Item = &'a Section> {
        let wanted = |name: &Arc<str>| match view {
            View::All => true,
            View::Server(wanted) => name == wanted,
        };
        self.servers.iter().filter(move |(name, _)| wanted(name)).map(|(_, section)| section).chain([&self.shared])
    }

    /// The lines of a view that are kept, from a number on; in no order.
    fn unseen<'a>(&'a self, view: &'a View, from: u64) -> impl Iterator<Item = &'a Line> {
        self.sections(view).flat_map(move |section| section.from(from, view))
    }

    /// The lines of a view that are kept and not yet seen.
    fn in_order<'a>(&'a self, view: &'a View, from: u64) -> impl Iterator<Item = &'a Line> {
        let sections: Vec<&Section> = self.sections(view).collect();
        let first = sections.iter().enumerate().filter_map(|(which, section)| {
            let (place, line) = section.first(section.place_of(from), view)?;
            Some(Reverse((line.number, which, place)))
        });
        let mut heads: BinaryHeap<_> = first.collect();
        std::iter::from_fn(move || {
            let Reverse((_, which, place)) = heads.pop()?;
            let section = sections[which];
            if let Some((place, line)) = section.first(place + 1, view) {
                heads.push(Reverse((line.number, which, place)));
            }
            section.lines.get(place)
        })
    }
}

impl Section {
    fn drop_oldest(&mut self) -> usize {
        let bytes = self.lines.pop_front().map_or(0, |line| line.bytes());
        self.bytes -= bytes;
        bytes
    }

    /// Where the first line is that has this number or a later one.
    fn place_of(&self, number: u64) -> usize {
        self.lines.partition_point(|line| line.number < number)
    }

    /// The first line of a view from a place on, and where it is.
    fn first(&self, place: usize, view: &View) -> Option<(usize, &Line)> {
        let lines = self.lines.range(place.min(self.lines.len())..).enumerate();
        lines.map(|(after, line)| (place + after, line)).find(|(_, line)| line.is_in(view))
    }

    fn from<'a>(&'a self, number: u64, view: &'a View) -> impl Iterator<Item = &'a Line> {
        self.lines.range(self.place_of(number)..).filter(|line| line.is_in(view))
    }
}

impl Line {
    fn bytes(&self) -> usize {
        let names = match &self.about {
            About::None | About::One => 0,
            About::Several(names) => size_of_val(&**names),
        };
        self.text.len() + BESIDES + names
    }

    fn is_in(&self, view: &View) -> bool {
        match (view, &self.about) {
            (View::All, _) | (View::Server(_), About::One) => true,
            (View::Server(_), About::None) => false,
            (View::Server(server), About::Several(names)) => names.contains(server),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a reader gets until there is nothing more: numbers of lines, and how many are lost as a negative number.
    fn read(ring: &Ring, cursor: &mut Cursor, most: usize) -> Vec<i64> {
        let mut got = Vec::new();
        loop {
            let before = got.len();
            ring.read(cursor, most, &mut |entry| match entry {
                Entry::Lost(n) => got.push(-(n as i64)),
                Entry::Line(_, text) => got.push(text.trim_end_matches('x').parse().unwrap()),
            });
            if got.len() == before {
                return got;
            }
        }
    }

    fn server(name: &str) -> View {
        View::Server(name.into())
    }

    fn push(ring: &Ring, names: &[&str], n: usize) {
        ring.push(names.iter().copied(), 0, &n.to_string());
    }

    #[test]
    fn a_view_has_its_lines_in_order_and_those_about_several_servers() {
        let ring = Ring::default();
        for (n, names) in [&["a"][..], &[], &["b"], &["a", "b"], &["b", "c"], &["a"]].iter().enumerate() {
            push(&ring, names, n);
        }
        let all = |view, last| read(&ring, &mut ring.cursor(view, last, true), usize::MAX);
        assert_eq!(all(View::All, None), [0, 1, 2, 3, 4, 5]);
        assert_eq!(all(server("a"), None), [0, 3, 5]);
        assert_eq!(all(server("c"), None), [4]);
        assert!(all(server("d"), None).is_empty());
        assert_eq!(all(View::All, Some(2)), [4, 5]);
        assert_eq!(all(server("b"), Some(2)), [3, 4]);
        assert!(all(server("b"), Some(0)).is_empty());
        assert_eq!(all(server("b"), Some(9)), [2, 3, 4]);
    }

    #[test]
    fn one_that_talks_all_the_time_costs_the_others_nothing_and_what_is_gone_is_counted() {
        let ring = Ring::default();
        push(&ring, &["quiet"], 0);
        push(&ring, &[], 1);
        (2..LINES + 302).for_each(|n| push(&ring, &["loud"], n));
        let all = read(&ring, &mut ring.cursor(View::All, None, false), 1 << 16);
        assert_eq!(all[..4], [-300, 0, 1, 302]);
        assert_eq!(all.len(), LINES + 3);
        assert_eq!(read(&ring, &mut ring.cursor(server("quiet"), None, true), 100), [0]);
        let loud = |last| read(&ring, &mut ring.cursor(server("loud"), Some(last), false), 100);
        assert_eq!(loud(2), [LINES as i64 + 300, LINES as i64 + 301]);
        assert_eq!(loud(LINES as u64 + 5)[..2], [-5, 302], "only of what was asked for");
    }

    #[test]
    fn what_is_kept_is_bounded_in_bytes_and_the_largest_section_pays() {
        let ring = Ring::default();
        let long = "x".repeat(LINE);
        push(&ring, &["quiet"], 0);
        (0..20).for_each(|_| ring.push(["alone"].into_iter(), 0, &long));
        assert!((BYTES / 2..=BYTES).contains(&ring.kept().servers["alone"].bytes), "{}", ring.kept().bytes);
        for n in 0..60 {
            let name = format!("loud{n}");
            (0..20).for_each(|_| ring.push([name.as_str()].into_iter(), 0, &format!("{n}{long}")));
        }
        let kept = ring.kept();
        let sections = || kept.servers.values().chain([&kept.shared]);
        assert!(sections().all(|section| section.bytes <= BYTES && section.lines.len() <= LINES));
        assert!(kept.bytes <= ALL_BYTES && kept.bytes > ALL_BYTES / 2, "{}", kept.bytes);
        assert_eq!(kept.bytes, sections().map(|section| section.bytes).sum::<usize>());
        assert_eq!(kept.servers["quiet"].lines.len(), 1);
    }

    #[test]
    fn the_readme_tells_the_bounds() {
        let (bytes, all) = (crate::words::size(BYTES as u64), crate::words::size(ALL_BYTES as u64));
        let told = format!("the last {LINES} lines about each server (at most {bytes}, {all} for all servers)");
        assert!(include_str!("../../README.md").contains(&told), "{told}");
    }

    #[test]
    fn a_reader_that_does_not_follow_gets_what_there_was_when_it_came() {
        let ring = Ring::default();
        (0..10).for_each(|n| push(&ring, &["a"], n));
        let mut cursors = [ring.cursor(View::All, None, false), ring.cursor(server("a"), Some(4), false)];
        (10..LINES + 5).for_each(|n| push(&ring, &["a"], n));
        assert_eq!(read(&ring, &mut cursors[0], 100), [-5, 5, 6, 7, 8, 9], "five made room");
        assert_eq!(read(&ring, &mut cursors[1], 100), [6, 7, 8, 9]);
    }

    #[test]
    fn a_reader_that_waits_is_woken_by_a_line_and_by_nothing_else() {
        let ring = Ring::default();
        push(&ring, &["a"], 0);
        let news = ring.news();
        assert!(!news.has_changed().unwrap());
        push(&ring, &[], 1);
        assert!(news.has_changed().unwrap());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Whatever is pushed while readers of any pace read: each gets its lines once, in order, and lines and losses add up.
        #[test]
        fn nothing_is_told_twice_and_nothing_is_missing(
            steps in proptest::collection::vec((0_usize..6, 1_usize..700, 0_usize..3), 1..40),
            last in proptest::option::of(0_u64..1500),
        ) {
            let ring = Ring::default();
            let sets: [&[&str]; 6] = [&["a"], &["b"], &[], &["a", "b"], &["b", "c"], &["a"]];
            let (mut n, mut expected) = (0, [Vec::new(), Vec::new()]);
            let mut push_some = |set: usize, times: usize, expected: &mut [Vec<i64>; 2]| {
                for _ in 0..times {
                    push(&ring, sets[set], n);
                    expected[0].push(n as i64);
                    if sets[set].contains(&"a") {
                        expected[1].push(n as i64);
                    }
                    n += 1;
                }
            };
            push_some(steps[0].0, steps[0].1, &mut expected);
            let views = [View::All, server("a")];
            let mut cursors = views.map(|view| ring.cursor(view, last, true));
            for (seen, _) in expected.iter_mut().zip(0..) {
                let wanted = last.map_or(seen.len(), |last| seen.len().min(last as usize));
                seen.drain(..seen.len() - wanted);
            }
            let mut got = [Vec::new(), Vec::new()];
            for (set, times, reader) in steps.iter().skip(1) {
                push_some(*set, *times, &mut expected);
                if let (Some(cursor), Some(got)) = (cursors.get_mut(*reader), got.get_mut(*reader)) {
                    got.extend(read(&ring, cursor, 200));
                }
            }
            for ((cursor, got), expected) in cursors.iter_mut().zip(&mut got).zip(&expected) {
                got.extend(read(&ring, cursor, 200));
                let lines: Vec<i64> = got.iter().copied().filter(|n| *n >= 0).collect();
                let lost: i64 = -got.iter().filter(|n| **n < 0).sum::<i64>();
                prop_assert!(lines.windows(2).all(|pair| pair[0] < pair[1]));
                prop_assert!(lines.iter().all(|line| expected.binary_search(line).is_ok()));
                prop_assert_eq!(lines.len() as i64 + lost, expected.len() as i64);
            }
        }
    }
}
