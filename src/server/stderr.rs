//! What a server writes to stderr: cut into lines, cleaned, kept for the moment it dies, and logged
//! without letting a flood through.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::Instant;

use memchr::memchr;

use crate::logging::Flood;
use crate::secrecy::Redactor;

/// Longest line in the log, in bytes; a longer one is cut.
const LINE: usize = 8 * 1024;
/// Most bytes behind [`LINE`] that are kept until a line is complete: a secret across the cut is recognised only as a whole. More
/// than the longest tokens have.
const BEHIND: usize = 4 * 1024;
/// Most lines that are kept for an obituary, longest part of each, and of all together in bytes: enough for a stack trace.
const TAIL_LINES: usize = 50;
const TAIL_LINE: usize = 2 * 1024;
const TAIL: usize = 16 * 1024;

/// A line that a server has printed, as it may be shown: without secrets and control characters, and not endless.
pub(super) fn shown(line: &[u8], redactor: &Redactor) -> String {
    redactor.beginning(&plain(&line[..line.len().min(LINE + BEHIND)]), LINE).into_owned()
}

/// One line for the log, as it is to be shown.
#[derive(Debug)]
pub(super) enum Noted<'a> {
    Line(&'a str),
    /// One of too many at once.
    Flood(&'a str),
    /// This many lines were left out.
    LeftOut(u32),
}

/// The stderr of one process. Pure: the clock is an argument.
#[derive(Debug)]
pub(super) struct Stderr {
    partial: Vec<u8>,
    tail: VecDeque<Box<str>>,
    tail_bytes: usize,
    flood: Flood,
    redactor: Redactor,
}

impl Stderr {
    pub(super) fn new(now: Instant, redactor: Redactor) -> Self {
        Stderr { partial: Vec::new(), tail: VecDeque::new(), tail_bytes: 0, flood: Flood::new(now), redactor }
    }

    pub(super) fn feed(&mut self, chunk: &[u8], now: Instant, log: &mut dyn FnMut(Noted<'_>)) {
        let mut rest = chunk;
        while let Some(end) = memchr(b'\n', rest) {
            if self.partial.is_empty() {
                self.note(&rest[..end.min(LINE + BEHIND)], now, log);
            } else {
                self.append(&rest[..end]);
                self.end(now, log);
            }
            rest = &rest[end + 1..];
        }
        self.append(rest);
    }

    /// Logs and keeps the line that has begun, which is complete or never will be.
    pub(super) fn end(&mut self, now: Instant, log: &mut dyn FnMut(Noted<'_>)) {
        // A new buffer: between lines an idle server holds no memory.
        let line = std::mem::take(&mut self.partial);
        self.note(&line, now, log);
    }

    fn note(&mut self, line: &[u8], now: Instant, log: &mut dyn FnMut(Noted<'_>)) {
        let text = plain(line);
        if text.trim().is_empty() {
            return;
        }
        // To look for secrets is most of the work, and in a flood there are thousands of lines a second: what is shown at the end of the
        // process is a part of what is shown now.
        let redactor = self.redactor.clone();
        let text = redactor.beginning(&text, LINE);
        self.keep(&text[..text.floor_char_boundary(TAIL_LINE)]);
        if self.flood.admits_line(now, &mut |n| log(Noted::LeftOut(n))) {
            log(Noted::Line(&text));
        } else {
            log(Noted::Flood(&text));
        }
    }

    /// Ends the last line, and says how many lines were left out.
    pub(super) fn flush(&mut self, now: Instant, log: &mut dyn FnMut(Noted<'_>)) {
        self.end(now, log);
        self.flood.tell_left_out(&mut |n| log(Noted::LeftOut(n)));
    }

    /// The last lines as one line, oldest first: a log has one line for each event.
    pub(super) fn tail(&self) -> String {
        self.tail.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" | ")
    }

    /// Whether a line says, as servers for HTTP do at their start, where one is served.
    pub(super) fn tells_of_http(&self) -> bool {
        self.tail.iter().any(|line| is_of_http(line))
    }

    fn append(&mut self, more: &[u8]) {
        let room = (LINE + BEHIND).saturating_sub(self.partial.len());
        self.partial.extend_from_slice(&more[..more.len().min(room)]);
    }

    fn keep(&mut self, line: &str) {
        let line: Box<str> = line.into();
        self.tail_bytes += line.len();
        self.tail.push_back(line);
        while self.tail.len() > TAIL_LINES || self.tail_bytes > TAIL {
            self.tail_bytes -= self.tail.pop_front().map_or(0, |oldest| oldest.len());
        }
    }
}

/// A line without colours, cursor movements and control characters.
fn plain(raw: &[u8]) -> Cow<'_, str> {
    // Most lines are as plain as can be.
    if let Ok(text) = str::from_utf8(raw)
        && raw.iter().all(|byte| (b' '..=b'~').contains(byte))
    {
        return text.trim_end().into();
    }
    let text = String::from_utf8_lossy(raw);
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            // A control sequence: ESC [ parameters, up to its final letter.
            if chars.next_if_eq(&'[').is_some() {
                while chars.next().is_some_and(|c| !('\u{40}'..='\u{7e}').contains(&c)) {}
            }
        } else if c == '\t' || !c.is_control() {
            plain.push(c);
        }
    }
    plain.truncate(plain.trim_end().len());
    plain.into()
}

/// Whether a line says where somebody is served over HTTP.
fn is_of_http(line: &str) -> bool {
    const DOES: [&str; 5] = ["running", "listening", "serving", "started", "starting"];
    let line = line.to_ascii_lowercase();
    let names_place = [" on http://", " on https://", " at http://", " at https://", "listening on port"];
    names_place.iter().any(|place| line.contains(place)) && DOES.iter().any(|does| line.contains(does))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_server_that_says_where_it_serves_over_http_is_told_by_that() {
        for (line, want) in [
            ("INFO:     Uvicorn running on http://127.0.0.1:8000 (Press CTRL+C to quit)", true),
            ("Starting MCP server 'x' with transport 'http' on http://127.0.0.1:8000/mcp", true),
            ("Server listening on port 3000", true),
            ("Listening at https://0.0.0.0:8443", true),
            ("see the server's manual: https://example.com/", false),
            ("Starting MCP server 'x' with transport 'stdio'", false),
            ("asking https://example.com/ failed", false),
        ] {
            let mut stderr = Stderr::new(Instant::now(), Redactor::default());
            stderr.feed(format!("first\n{line}\n").as_bytes(), Instant::now(), &mut |_| {});
            assert_eq!(stderr.tells_of_http(), want, "{line}");
        }
    }

    fn show(noted: Noted<'_>) -> String {
        match noted {
            Noted::Line(text) => text.to_owned(),
            Noted::Flood(text) => format!("({text})"),
            Noted::LeftOut(n) => format!("+{n}"),
        }
    }

    #[test]
    fn lines_are_joined_over_chunks_and_cleaned() {
        let now = Instant::now();
        let (mut stderr, mut log) = (Stderr::new(now, Redactor::default()), Vec::new());
        for chunk in [&b"\x1b[31mre"[..], b"d\x1b[0m\r\n\n  \nbad \xFF\x07 by", b"te\nlast"] {
            stderr.feed(chunk, now, &mut |noted| log.push(show(noted)));
        }
        stderr.flush(now, &mut |noted| log.push(show(noted)));
        assert_eq!(log, ["red", "bad \u{FFFD} byte", "last"]);
        assert_eq!(stderr.tail(), "red | bad \u{FFFD} byte | last");
    }

    #[test]
    fn a_flood_is_counted_and_every_second_starts_afresh() {
        let now = Instant::now();
        let (mut stderr, mut log) = (Stderr::new(now, Redactor::default()), Vec::new());
        for n in 0..1000 {
            stderr.feed(format!("{n}\n").as_bytes(), now, &mut |noted| log.push(show(noted)));
        }
        let flood = log.split_off(200);
        assert_eq!((log[199].as_str(), flood.len(), flood[0].as_str()), ("199", 800, "(200)"));
        stderr.feed(b"later\n", now + Duration::from_secs(1), &mut |noted| log.push(show(noted)));
        assert_eq!(log[200..], ["+800", "later"]);
    }

    #[test]
    fn what_is_kept_is_bounded_in_lines_and_bytes() {
        let now = Instant::now();
        let mut stderr = Stderr::new(now, Redactor::default());
        let endless = "é".repeat(100_000);
        for _ in 0..100 {
            stderr.feed(endless.as_bytes(), now, &mut |_| {});
            assert!(stderr.partial.len() <= LINE + BEHIND);
            stderr.feed(b"\n", now, &mut |_| {});
        }
        assert!(stderr.tail().len() <= TAIL + 3 * TAIL_LINES);
        for n in 0..100 {
            stderr.feed(format!("{n}\n").as_bytes(), now, &mut |_| {});
        }
        assert!(stderr.tail().starts_with("50 | 51 |") && stderr.tail().ends_with("| 99"));
    }

    #[test]
    fn a_secret_across_a_cut_or_across_chunks_is_in_neither_line_nor_tail() {
        let now = Instant::now();
        let secret = "s3cret-0123456789";
        let redactor: Redactor = [crate::secrecy::Secret::new(secret)].into_iter().collect();
        for cut in [TAIL_LINE, LINE, LINE + BEHIND] {
            for at in cut - secret.len()..=cut {
                let (mut stderr, mut log) = (Stderr::new(now, redactor.clone()), Vec::new());
                let line = format!("{}{secret}{}", "x".repeat(at), "y".repeat(LINE));
                for chunk in [&line.as_bytes()[..at + 5], &line.as_bytes()[at + 5..], b"\n"] {
                    stderr.feed(chunk, now, &mut |noted| log.push(show(noted)));
                }
                assert!(!log[0].contains("s3c") && !stderr.tail().contains("s3c"), "{at}");
                assert!(log[0].len() <= LINE + '…'.len_utf8() && log[0].starts_with("xxx"), "{}", log[0].len());
            }
        }
        let mut stderr = Stderr::new(now, redactor);
        let mut log = Vec::new();
        stderr.feed(b"bad s3cret\x1b[31m-0123\x1b[0m456789 here\n", now, &mut |noted| log.push(show(noted)));
        assert_eq!(log, ["bad … here"], "colours in it hide nothing");
    }
}
