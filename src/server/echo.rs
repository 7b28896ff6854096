//! Which stderr lines of a server in a crash loop were logged in its life before, so that each is logged once. Pure.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Most lines of a life that are known again in the next: more than a program prints before it dies at its start.
const LINES: usize = 256;
/// Shortest run of digits that may differ between equal lines: a date, the number of another process, a port of the moment.
const LONG: usize = 4;

/// The lines of a server's stderr in this life and in the one before it.
#[derive(Debug, Default)]
pub(super) struct Echo {
    /// Fingerprints of the lines; none of a life in which the server was of use.
    before: HashSet<u64>,
    now: HashSet<u64>,
    /// The number of the present process, which differs from life to life. In a container it may have any length.
    pid: Option<u32>,
}

impl Echo {
    /// A life has begun, in the process of this number.
    pub(super) fn begins(&mut self, pid: Option<u32>) {
        self.pid = pid;
    }

    /// A fingerprint of what the present process has said.
    pub(super) fn print(&self, text: &str) -> u64 {
        fingerprint(text, self.pid)
    }

    /// Notes a line. Returns whether the life before had the same.
    pub(super) fn hears(&mut self, line: &str) -> bool {
        let print = self.print(line);
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

/// A fingerprint, equal for two texts that say the same at different times and from different processes. `pid`: the number of the process
/// that has said it.
pub(super) fn fingerprint(text: &str, pid: Option<u32>) -> u64 {
    let mut hasher = DefaultHasher::new();
    let is_digit = |c: char| c.is_ascii_digit();
    let pid = pid.map(|pid| pid.to_string());
    let is_long_or_own = |digits: &str| digits.len() >= LONG || pid.as_deref() == Some(digits);
    for word in text.split_whitespace() {
        let of_the_moment = word.contains(':') || word.split(|c| !is_digit(c)).any(is_long_or_own);
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
            assert_eq!(fingerprint(one, None), fingerprint(other, None), "{one}");
        }
        for (one, other) in [
            ("[Errno 13] in start", "[Errno 2] in start"),
            ("HTTP 401", "HTTP 403"),
            ("no module a", "no module b"),
            ("failed at 03:04:05", "stopped at 03:04:05"),
        ] {
            assert_ne!(fingerprint(one, None), fingerprint(other, None), "{one}");
        }
    }

    #[test]
    fn a_process_has_another_number_in_each_life_however_short_the_number_is() {
        let mut echo = Echo::default();
        echo.begins(Some(57));
        assert!(!echo.hears("Started server process [57]") && !echo.hears("[57] in start, code 13"));
        echo.next_life(true);
        echo.begins(Some(103));
        assert!(echo.hears("Started server process [103]") && echo.hears("[103] in start, code 13"));
        assert!(!echo.hears("[103] in start, code 14"), "other short numbers mean something");
        assert_ne!(fingerprint("HTTP 401", Some(57)), fingerprint("HTTP 403", Some(103)));
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
