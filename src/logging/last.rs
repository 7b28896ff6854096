//! The last warnings and errors of the log: what a run said before it ended.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most lines that are kept: what a person reads to see what led to an end.
const LINES: usize = 20;
/// Most bytes of text in such a line, before JSON's escapes.
pub(super) const LINE: usize = 1 << 10;

/// The last lines, as `mcp-pipe logs` has them. Cloning gives another handle.
#[derive(Debug, Clone, Default)]
pub struct LastLines(Arc<Mutex<VecDeque<Box<str>>>>);

impl LastLines {
    pub(super) fn push(&self, line: String) {
        let mut lines = self.kept();
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(line.into());
    }

    /// The lines, the oldest first: each a JSON text.
    pub(crate) fn lines(&self) -> Vec<Box<str>> {
        self.kept().iter().cloned().collect()
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Box<str>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_none_before() {
        let last = LastLines::default();
        (0..3 * LINES).for_each(|n| last.push(n.to_string()));
        let expected: Vec<Box<str>> = (2 * LINES..3 * LINES).map(|n| n.to_string().into()).collect();
        assert_eq!(last.lines(), expected);
    }
}
