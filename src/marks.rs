//! Lines for a person that tell what was looked at, what came of it in one word that stands out, and why; pure.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr;

use crate::secrecy::{Redactor, plain};

/// Columns between two cells.
const GAP: usize = 2;
/// Fewest columns into which words are broken: in fewer nobody reads them, so the terminal may break them.
const LEAST: usize = 30;
/// What stands before what is to be done.
const ARROW: &str = "→ ";

/// How the word of a line stands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hue {
    /// All is well.
    Good,
    /// It works, and might be better.
    Doubtful,
    /// It does not work.
    Bad,
    /// Nothing was looked at.
    Faint,
}

impl Hue {
    /// How a terminal is told.
    fn code(self) -> &'static str {
        match self {
            Hue::Good => "32",
            Hue::Doubtful => "33",
            Hue::Bad => "1;31",
            Hue::Faint => "2",
        }
    }
}

/// A line, with texts as they have come.
#[derive(Debug, Clone)]
pub(crate) struct Marked<'a> {
    /// What was looked at: a cell for each column of the head.
    pub(crate) cells: [&'a str; 2],
    /// What came of it.
    pub(crate) word: &'static str,
    pub(crate) hue: Hue,
    /// Why, in words.
    pub(crate) words: &'a str,
    /// What to do, if there is something.
    pub(crate) remedy: Option<&'a str>,
}

/// A text of others as it may stand in a line.
fn printable(text: &str, redactor: &Redactor) -> String {
    let text = redactor.clean(text);
    plain::line(&text.split_whitespace().collect::<Vec<_>>().join(" ")).into_owned()
}

/// The lines under a head, in columns. `width`: that of the terminal, into which words are broken; `None` breaks nothing.
pub(crate) fn draw(
    head: [&str; 4],
    lines: &[Marked<'_>],
    (width, colour): (Option<usize>, bool),
    redactor: &Redactor,
) -> String {
    let cells: Vec<[String; 3]> = lines
        .iter()
        .map(|line| [printable(line.cells[0], redactor), printable(line.cells[1], redactor), line.word.to_owned()])
        .collect();
    let mut widths = [head[0].width(), head[1].width(), head[2].width()];
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    let indent: usize = widths.iter().map(|width| width + GAP).sum();
    let room = width.map(|width| width.saturating_sub(indent)).filter(|room| *room >= LEAST);
    let mut text = String::new();
    let mut titles = String::new();
    for (title, width) in head.iter().zip(widths) {
        pad(&mut titles, title, width);
    }
    titles.push_str(head[3]);
    let _ = if colour { writeln!(text, "\x1b[1m{titles}\x1b[0m") } else { writeln!(text, "{titles}") };
    for (line, row) in lines.iter().zip(&cells) {
        pad(&mut text, &row[0], widths[0]);
        pad(&mut text, &row[1], widths[1]);
        let from = text.len();
        pad(&mut text, &row[2], widths[2]);
        if colour {
            text.insert_str(from + row[2].len(), "\x1b[0m");
            text.insert_str(from, &format!("\x1b[{}m", line.hue.code()));
        }
        let blank = " ".repeat(indent);
        text.push_str(&broken(&printable(line.words, redactor), room).join(&format!("\n{blank}")));
        text.push('\n');
        if let Some(remedy) = line.remedy {
            let room = room.map(|room| room - ARROW.width());
            let lines = broken(&printable(remedy, redactor), room).join(&format!("\n{blank}  "));
            let _ = writeln!(text, "{blank}{ARROW}{lines}");
        }
    }
    text
}

fn pad(to: &mut String, cell: &str, width: usize) {
    to.push_str(cell);
    to.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.width()) + GAP));
}

/// A text in lines of at most so many columns; a longer word has a line of its own.
fn broken(text: &str, room: Option<usize>) -> Vec<String> {
    let Some(room) = room else { return vec![text.to_owned()] };
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(line) = lines.last_mut() else { continue };
        if !line.is_empty() && line.width() + 1 + word.width() > room {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::secrecy::Secret;
    use crate::secrecy::plain::tests::is_plain;

    const HEAD: [&str; 4] = ["SERVER", "CHECK", "RESULT", "WORDS"];

    fn line<'a>(words: &'a str, remedy: Option<&'a str>) -> Marked<'a> {
        Marked { cells: ["time", "ping"], word: "PASS", hue: Hue::Good, words, remedy }
    }

    #[test]
    fn a_line_has_its_cells_in_columns_and_what_to_do_below_its_words() {
        let lines = [line("in 2 ms", None), line("was silent", Some("answer it"))];
        let want = "\
SERVER  CHECK  RESULT  WORDS
time    ping   PASS    in 2 ms
time    ping   PASS    was silent
                       → answer it
";
        assert_eq!(draw(HEAD, &lines, (None, false), &Redactor::default()), want);
        let coloured = draw(HEAD, &lines, (None, true), &Redactor::default());
        assert!(coloured.contains("ping   \x1b[32mPASS\x1b[0m    in 2 ms"), "{coloured:?}");
    }

    #[test]
    fn words_are_broken_at_a_terminal_and_no_word_is_lost() {
        let words = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen";
        let text = draw(HEAD, &[line(words, Some(words))], (Some(60), false), &Redactor::default());
        assert!(text.lines().all(|line| line.width() <= 60) && text.lines().count() > 5, "{text}");
        let said: Vec<&str> = text.split_whitespace().filter(|word| words.contains(word)).collect();
        assert_eq!(said.len(), 2 * words.split(' ').count());
    }

    #[test]
    fn no_secret_is_shown_and_nothing_steers_the_terminal() {
        let redactor: Redactor = [Secret::new("s3cr3t-word")].into_iter().collect();
        let hostile = "a\u{1b}[2J s3cr3t-word\nb\u{202e}";
        let text = draw(HEAD, &[line(hostile, Some(hostile))], (None, false), &redactor);
        assert!(is_plain(&text) && text.lines().count() == 3 && !text.contains("s3cr3t"), "{text:?}");
    }

    proptest! {
        #[test]
        fn breaking_keeps_each_word_and_the_width(text in "[a-z]{1,9}( [a-z]{1,9}){0,20}", room in 9_usize..40) {
            let lines = broken(&text, Some(room));
            prop_assert!(lines.iter().all(|line| line.width() <= room));
            prop_assert_eq!(lines.join(" "), text);
        }
    }
}
