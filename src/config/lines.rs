//! Lines and columns of a text, however long it and its lines are. Pure.

/// Bytes between two marks: what is counted for each place, at most.
const EVERY: usize = 4096;

/// Knows some places of a text, so that others are not counted from its beginning: a config of thousands of servers has tens of
/// thousands of places, and may be one line.
pub(super) struct Lines {
    /// One for each [`EVERY`] bytes of the text.
    marks: Vec<Mark>,
}

#[derive(Clone, Copy)]
struct Mark {
    /// Its place, in bytes.
    at: usize,
    /// From 1.
    line: usize,
    /// In characters, from 1.
    column: usize,
}

impl Lines {
    pub(super) fn of(text: &str) -> Self {
        let mut mark = Mark { at: 0, line: 1, column: 1 };
        let marks = (0..=text.len()).step_by(EVERY).map(|at| {
            mark = mark.moved(text, text.floor_char_boundary(at));
            mark
        });
        Lines { marks: marks.collect() }
    }

    /// The line and the column, in characters, of a place in the same text, both from 1.
    pub(super) fn place(&self, text: &str, at: usize) -> (usize, usize) {
        let at = text.floor_char_boundary(at);
        let mark = self.marks[at / EVERY].moved(text, at);
        (mark.line, mark.column)
    }
}

impl Mark {
    /// The mark of a place that is not before this one.
    fn moved(self, text: &str, at: usize) -> Mark {
        let between = &text[self.at..at];
        match between.rsplit_once('\n') {
            Some((before, line)) => {
                Mark { at, line: self.line + 1 + before.matches('\n').count(), column: line.chars().count() + 1 }
            }
            None => Mark { at, line: self.line, column: self.column + between.chars().count() },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn places_of_a_long_line_and_of_many_lines_are_counted_in_characters() {
        let text = format!("{}\nx\n", "é".repeat(5000));
        let lines = Lines::of(&text);
        assert_eq!(lines.place(&text, 0), (1, 1));
        assert_eq!(lines.place(&text, 9_998), (1, 5_000));
        assert_eq!(lines.place(&text, 10_001), (2, 1));
        assert_eq!(lines.place(&text, text.len()), (3, 1));
        assert_eq!(lines.place(&text, usize::MAX), (3, 1), "behind the end is the end");
    }

    proptest! {
        #[test]
        fn a_place_is_where_counting_from_the_beginning_finds_it(
            parts in prop::collection::vec(("[a\n€é]{0,9}", 1..2000_usize), 0..8), at in any::<prop::sample::Index>(),
        ) {
            let text: String = parts.into_iter().map(|(part, times)| part.repeat(times)).collect();
            let at = text.floor_char_boundary(at.index(text.len() + 1));
            let before = &text[..at];
            let line = before.rsplit('\n').next().unwrap_or_default();
            let counted = (before.matches('\n').count() + 1, line.chars().count() + 1);
            prop_assert_eq!(Lines::of(&text).place(&text, at), counted);
        }
    }
}
