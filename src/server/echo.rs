//! Which stderr lines of a server in a crash loop were logged in its life before, so that each is logged once. Pure.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Most lines of a life that are known again in the next: more than a program prints before it dies at its start.
const LINES: usize = 256;
/// Shortest run of digits that may differ between equal lines: a date, a process number, a port of the moment.
const LONG: usize = 4;

/// The lines of a server's stderr in this life and in the one before it.
#[derive(Debug, Default)]
pub(super) struct Echo {
    /// Fingerprints of the lines; none of a life in which the server was of use.
    before: HashSet<u64>,
    now: HashSet<u64>,
}

impl Echo {
    /// Notes a line. Returns whether the life before had the same.
    pub(super) fn hears(&mut self, line: &str) -> bool {
        let print = fingerprint(line);
        if self.now.len() < LINES {
            self.now.insert(print);
        }
        self.before.contains(&print)
    }

    /// A life has ended. `crashed`: it was of no use, so that the next life may well be the same.
    pub(super) fn next_life(&mut self, crashed: bool) {
        self.before = std::mem::take(&mut self.now);
        if !crashed {
            self.before = HashSet::new();
        }
    }
}

/// A fingerprint, equal for two texts that say the same at different times and from different processes.
pub(super) fn fingerprint(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    let is_digit = |c: char| c.is_ascii_digit();
    for word in text.split_whitespace() {
        let of_the_moment = word.contains(':') || word.split(|c| !is_digit(c)).any(|digits| digits.len() >= LONG);
        let is_address = word.contains("0x");
        let varies = |c: char| if is_address { c.is_ascii_hexdigit() } else { of_the_moment && is_digit(c) };
        word.split(varies).filter(|part| !part.is_empty()).for_each(|part| part.hash(&mut hasher));
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_life_before_said_is_known_and_anything_new_is_not() {
        let mut echo = Echo::default();
        assert!(!echo.hears("starting") && !echo.hears("no such file"));
        echo.next_life(true);
        assert!(echo.hears("starting") && !echo.hears("permission denied"));
        echo.next_life(true);
        assert!(echo.hears("permission denied") && !echo.hears("no such file"), "only the last life counts");
        echo.next_life(false);
        assert!(!echo.hears("starting"), "a server that was of use may say everything again");
    }

    #[test]
    fn a_line_is_the_same_at_another_time_and_by_another_process() {
        for (one, other) in [
            ("2026-01-02 03:04:05,678 ERROR no database", "2026-01-02 03:04:11,012 ERROR no database"),
            ("[03:04:05] it failed", "[03:05:59] it failed"),
            ("INFO: Started server process [12345]", "INFO: Started server process [23456]"),
            ("<Server object at 0x7f3a2b> is gone", "<Server object at 0x7fcc01> is gone"),
        ] {
            assert_eq!(fingerprint(one), fingerprint(other), "{one}");
        }
        for (one, other) in [
            ("[Errno 13] in start", "[Errno 2] in start"),
            ("HTTP 401", "HTTP 403"),
            ("no module a", "no module b"),
            ("failed at 03:04:05", "stopped at 03:04:05"),
        ] {
            assert_ne!(fingerprint(one), fingerprint(other), "{one}");
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut echo = Echo::default();
        for n in 0..10_000 {
            assert!(!echo.hears(&format!("line {}", "x".repeat(n % 1000))) || n >= 1000);
        }
        assert_eq!(echo.now.len(), LINES);
    }
}
