//! What a server prints beside its messages, on its way to the server's own file.

use std::cell::{OnceCell, RefCell};

use super::stderr::{self, Noted};
use super::stdout::Found;
use crate::config::LogFileSpec;
use crate::logging::{LogFile, utc};
use crate::secrecy::Redactor;
use crate::words::{counted, was};

/// Most bytes that are kept back for those that follow.
const TOGETHER: usize = 16 * 1024;

/// Opens the file.
pub(super) fn open(spec: &LogFileSpec) -> Option<LogFile> {
    let missed = |lines| {
        let n = usize::try_from(lines).unwrap_or(usize::MAX);
        let lacks = format!("{} {} dropped here: the disk did not take it in time", counted(n, "line"), was(n));
        format!("{} mcp-pipe: {lacks}\n", utc())
    };
    LogFile::open(spec, Box::new(missed))
}

/// What is printed in one look at a server: handed on together, since each time the thread that writes may have to be woken.
pub(super) struct Print<'a> {
    file: Option<&'a LogFile>,
    /// When that was read.
    at: OnceCell<String>,
    lines: RefCell<String>,
}

impl<'a> Print<'a> {
    pub(super) fn to(file: Option<&'a LogFile>) -> Self {
        Print { file, at: OnceCell::new(), lines: RefCell::default() }
    }

    pub(super) fn stderr(&self, noted: &Noted<'_>) {
        match noted {
            Noted::Line(text) | Noted::Flood(text) => self.line(text),
            // None is left out here.
            Noted::LeftOut(_) => {}
        }
    }

    pub(super) fn noise(&self, found: &Found<'_>, redactor: &Redactor) {
        if let (Found::Noise(line), Some(_)) = (found, self.file) {
            self.line(&stderr::shown(line, redactor));
        }
    }

    fn line(&self, line: &str) {
        let Some(file) = self.file else { return };
        let mut lines = self.lines.borrow_mut();
        for part in [self.at.get_or_init(utc).as_str(), " ", line, "\n"] {
            lines.push_str(part);
        }
        if lines.len() >= TOGETHER {
            file.push(&lines);
            lines.clear();
        }
    }
}

impl Drop for Print<'_> {
    fn drop(&mut self) {
        if let Some(file) = self.file.filter(|_| !self.lines.borrow().is_empty()) {
            file.push(&self.lines.borrow());
        }
    }
}
