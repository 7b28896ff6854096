//! The sessions that have ended before their time: their ids open as they did, and must not begin them anew. Pure.
//!
//! ```text
//! before 1764000000
//! ended 00112233445566778899aabbccddeeff 1764086400
//! ```
//!
//! A line is appended for each, with the hash of its id and the time until which the id would be good. Now and then all is written
//! anew, without those whose time is over. Where there are too many, no session that has begun by then is begun anew by its id: that is
//! told by the first line, in place of the others.

use std::collections::HashMap;
use std::fmt::Write as _;

use ring::digest::{SHA256, digest};

/// Most ended sessions that are remembered, each for a day at most: one every four seconds all day. Each takes some 25 bytes of memory.
const MOST: usize = 25_000;
/// Most lines about sessions whose time is over, beside as many as there are others.
const OUTDATED: usize = 1000;
/// Largest file, in bytes: all lines that there may be, and some more of others who write it just now.
pub(super) const MAX_FILE: u64 = 4 << 20;

/// By which an id is known again, and does not become known.
pub(super) type Hash = [u8; 16];

/// The hash of an id.
pub(super) fn hash_of(id: &str) -> Hash {
    let mut hash = Hash::default();
    hash.copy_from_slice(&digest(&SHA256, id.as_bytes()).as_ref()[..16]);
    hash
}

/// A session that has ended: the hash of its id, and until when the id would be good, in seconds since 1970.
pub(super) type End = (Hash, u64);

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// No session is begun anew that began at this time or before, in seconds since 1970.
    before: u64,
    until: HashMap<Hash, u64>,
    /// How many lines the file has.
    lines: usize,
}

/// The line about a session.
fn line((hash, until): &End) -> String {
    let mut line = "ended ".to_owned();
    for byte in hash {
        let _infallible = write!(line, "{byte:02x}");
    }
    let _infallible = writeln!(line, " {until}");
    line
}

/// What is appended to a file for these. `is_whole`: whether the last line of the file has its end.
pub(super) fn lines(ends: &[End], is_whole: bool) -> String {
    let before = if is_whole { "" } else { "\n" };
    ends.iter().fold(before.to_owned(), |all, end| all + &line(end))
}

impl Ended {
    /// What is in a file. Lines that nobody can read are passed over: the last one may be half written.
    pub(super) fn read(text: &[u8], now: u64) -> Self {
        let mut ended = Ended::default();
        for line in text.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok()) {
            ended.lines += usize::from(!line.is_empty());
            let mut words = line.split(' ');
            match (words.next(), words.next(), words.next()) {
                (Some("before"), Some(time), None) => {
                    ended.before = ended.before.max(time.parse().unwrap_or_default());
                }
                (Some("ended"), Some(digits), Some(until)) => {
                    let number = u128::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 32);
                    if let (Some(number), Some(until)) = (number, until.parse().ok().filter(|until| now < *until)) {
                        ended.until.insert(number.to_be_bytes(), until);
                    }
                }
                _ => {}
            }
        }
        ended
    }

    /// One more has ended.
    pub(super) fn note(&mut self, (hash, until): End) {
        self.until.insert(hash, until);
    }

    /// So many lines more are in the file.
    pub(super) fn append(&mut self, lines: usize) {
        self.lines += lines;
    }

    /// Takes what a file holds, in which others may have written.
    pub(super) fn join(&mut self, file: Ended) {
        self.before = self.before.max(file.before);
        self.until.extend(file.until);
        self.lines = file.lines;
    }

    /// Whether a session that began at this time must not begin anew.
    pub(super) fn has(&self, hash: &Hash, issued: u64) -> bool {
        issued <= self.before || self.until.contains_key(hash)
    }

    /// Whether there are too many of them.
    pub(super) fn is_full(&self) -> bool {
        self.until.len() > MOST
    }

    /// Forgets those whose time is over; or all, if that makes too little room.
    pub(super) fn make_room(&mut self, now: u64) {
        self.until.retain(|_, until| now < *until);
        if self.until.len() > MOST / 2 {
            self.end_all(now);
        }
        self.until.shrink_to_fit();
    }

    /// All have ended that have begun.
    pub(super) fn end_all(&mut self, now: u64) {
        (self.before, self.until) = (self.before.max(now), HashMap::new());
    }

    /// Whether most lines of the file are about sessions whose time is over.
    pub(super) fn is_outdated(&self) -> bool {
        self.lines > 2 * self.until.len() + OUTDATED
    }

    /// The file written anew.
    pub(super) fn rewrite(&mut self, now: u64) -> String {
        self.until.retain(|_, until| now < *until);
        self.lines = self.until.len() + 1;
        let all = self.until.iter().map(|(hash, until)| line(&(*hash, *until)));
        format!("before {}\n{}", self.before, all.collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_764_000_000;

    fn end(of: u32, until: u64) -> End {
        (hash_of(&of.to_string()), until)
    }

    fn read(text: &str) -> Ended {
        Ended::read(text.as_bytes(), NOW)
    }

    #[test]
    fn who_has_ended_is_known_until_the_id_would_have_ended() {
        let text = lines(&[end(1, NOW + 10), end(2, NOW), end(3, NOW + 1)], true);
        let ended = read(&text);
        let known = |of: u32| ended.has(&end(of, 0).0, NOW);
        assert_eq!([1, 2, 3, 4].map(known), [true, false, true, false]);
        assert!(!text.contains(char::from(0)) && text.lines().count() == 3);
    }

    #[test]
    fn a_half_written_line_costs_no_other() {
        let text = lines(&[end(1, NOW + 10), end(2, NOW + 10)], true);
        for cut in 0..text.len() {
            let torn = text[..cut].to_owned();
            let is_whole = torn.is_empty() || torn.ends_with('\n');
            let ended = read(&(torn + &lines(&[end(3, NOW + 10)], is_whole)));
            assert!(ended.has(&end(3, 0).0, NOW), "{cut}");
            assert_eq!(ended.has(&end(1, 0).0, NOW), cut >= text.len() / 2 - 1, "{cut}");
        }
        for odd in ["", "\n\n", "nonsense", "ended x 5", "ended", "before x", "ended 00 99999999999", "\u{e4}"] {
            assert_eq!(read(odd).until.len(), 0, "{odd}");
        }
    }

    #[test]
    fn the_file_is_written_anew_once_most_of_it_is_about_what_is_over() {
        let text: String = (0..3000).map(|of| line(&end(of, NOW + if of < 500 { 10 } else { 0 }))).collect();
        let mut ended = read(&text);
        assert!(ended.is_outdated());
        let text = ended.rewrite(NOW);
        assert_eq!(text.lines().count(), 501);
        assert!(!ended.is_outdated() && !read(&text).is_outdated());
        assert!(read(&text).has(&end(499, 0).0, NOW) && !read(&text).has(&end(500, 0).0, NOW));
        assert_eq!(ended.rewrite(NOW + 10).lines().count(), 1);
    }

    #[test]
    fn where_too_many_have_ended_none_from_before_begins_anew() {
        let mut ended = Ended::default();
        (0..=MOST as u32).for_each(|of| ended.note(end(of, NOW + 10)));
        assert!(ended.is_full());
        ended.make_room(NOW);
        let text = ended.rewrite(NOW);
        assert!(text == format!("before {NOW}\n"), "{} bytes", text.len());
        for ended in [&ended, &read(&text)] {
            assert!(ended.has(&end(1, 0).0, NOW - 5) && ended.has(&end(u32::MAX, 0).0, NOW));
            assert!(!ended.has(&end(u32::MAX, 0).0, NOW + 1));
        }
        let mut others = Ended::default();
        (0..=MOST as u32).for_each(|of| others.note(end(of, NOW + u64::from(of < 100))));
        others.make_room(NOW);
        assert_eq!((others.before, others.until.len()), (0, 100), "there is room");
        let most = MAX_FILE as usize / line(&end(0, NOW)).len();
        assert!(most > 2 * MOST + OUTDATED, "a file of {most} lines is read");
    }

    proptest! {
        #[test]
        fn a_file_is_read_as_it_was_written(all in prop::collection::vec((any::<Hash>(), NOW + 1..NOW * 2), 0..50), before in 0..NOW) {
            let mut ended = Ended { before, ..Ended::default() };
            all.iter().for_each(|end| ended.note(*end));
            let again = read(&ended.rewrite(NOW));
            prop_assert_eq!(&again.until, &ended.until);
            prop_assert_eq!((again.before, again.lines), (before, ended.until.len() + 1));
            prop_assert_eq!(read(&lines(&all, true)).until, ended.until);
        }
    }
}
