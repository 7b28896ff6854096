//! Text from others in which nothing steers a terminal or forges a line. Pure.
//!
//! Control characters move the cursor, ring, change colours and titles; others turn the direction of writing, or can't be
//! seen at all, so that a text reads as another. All of these characters are shown by their numbers.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::words::is_unseen;

/// Whether a character changes the text around it, or can't be seen: control characters, and those that turn the direction of
/// writing. Blanks are seen as such, and joiners and variation selectors spell words.
fn steers(c: char) -> bool {
    // Nearly all that is looked at, and each line of the log is.
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    let spells = matches!(c, '\u{200c}' | '\u{200d}' | '\u{180b}'..='\u{180d}' | '\u{180f}' | '\u{fe00}'..='\u{fe0f}')
        || matches!(c, '\u{e0100}'..='\u{e01ef}');
    let ends_line = matches!(c, '\u{2028}' | '\u{2029}');
    c.is_control() || ends_line || (is_unseen(c) && !c.is_whitespace() && !spells)
}

/// Appends a character, or the number of one that steers.
fn push(c: char, to: &mut String) {
    match c {
        c if c.is_control() => to.extend(c.escape_default()),
        c if steers(c) => to.extend(c.escape_unicode()),
        c => to.push(c),
    }
}

/// A text on one line; tabs stay.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    keeping(text, |c| c == '\t')
}

/// A text of which lines and tabs stay.
pub(crate) fn lines(text: &str) -> Cow<'_, str> {
    let text = if text.contains("\r\n") { Cow::Owned(text.replace("\r\n", "\n")) } else { Cow::Borrowed(text) };
    match &text {
        Cow::Borrowed(text) => keeping(text, |c| c == '\t' || c == '\n'),
        Cow::Owned(text) => Cow::Owned(keeping(text, |c| c == '\t' || c == '\n').into_owned()),
    }
}

fn keeping(text: &str, kept: impl Fn(char) -> bool) -> Cow<'_, str> {
    if text.bytes().all(|b| (b' '..0x7f).contains(&b)) || !text.contains(|c| steers(c) && !kept(c)) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len() + 16);
    text.chars().for_each(|c| if kept(c) { plain.push(c) } else { push(c, &mut plain) });
    Cow::Owned(plain)
}

/// A text as one line of at most `max` characters: a run of blanks becomes one blank, and an ellipsis marks a cut.
pub(crate) fn bounded(text: &str, max: usize) -> String {
    let mut out = String::new();
    let mut left = max;
    for c in text.trim().chars() {
        if left == 0 {
            out.push('…');
            break;
        }
        left -= 1;
        if !c.is_whitespace() {
            push(c, &mut out);
        } else if !out.ends_with(' ') {
            out.push(' ');
        }
    }
    out
}

/// A JSON text with all such characters as `\u….`, since it may go to a terminal. Such characters are only inside of
/// strings; line breaks between the tokens stay.
pub(crate) fn json(text: &str) -> Cow<'_, str> {
    if !text.contains(|c| steers(c) && c != '\n') {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if steers(c) && c != '\n' {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a String does not fail.
                let _infallible = write!(plain, "\\u{unit:04x}");
            }
        } else {
            plain.push(c);
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Whether nothing of a text steers a terminal but its line ends and tabs.
    pub(crate) fn is_plain(text: &str) -> bool {
        !text.chars().any(|c| steers(c) && c != '\n' && c != '\t')
    }

    #[test]
    fn what_steers_a_terminal_is_shown_by_its_number() {
        for (text, want) in [
            ("a\x1b[2Jb", r"a\u{1b}[2Jb"),
            ("a\u{9b}2Jb\u{85}c\u{7f}", r"a\u{9b}2Jb\u{85}c\u{7f}"),
            ("a\u{202e}b\u{2066}c\u{61c}d\u{200f}", r"a\u{202e}b\u{2066}c\u{61c}d\u{200f}"),
            ("a\u{200b}b\u{feff}c\u{2028}d\u{e0041}", r"a\u{200b}b\u{feff}c\u{2028}d\u{e0041}"),
            ("a\rb\nc\td\0", "a\\rb\\nc\td\\u{0}"),
            ("日本語 می\u{200c}خواهم 👩\u{200d}🔬", "日本語 می\u{200c}خواهم 👩\u{200d}🔬"),
        ] {
            assert_eq!(line(text), want);
        }
        assert_eq!(lines("a\r\nb\rc\n\td"), "a\nb\\rc\n\td");
    }

    #[test]
    fn a_text_becomes_one_bounded_line() {
        assert_eq!(bounded("  a\r\n\tb\u{7}  ", 80), "a b\\u{7}");
        assert_eq!(bounded("日本語日本語", 3), "日本語…");
        assert_eq!(bounded("a\u{202e}b\u{2029}c", 9), "a\\u{202e}b c");
    }

    proptest! {
        #[test]
        fn nothing_steers_and_json_says_the_same(text in any::<String>(), odd in "[\\x00-\\x1f\\x7f-\\x9f\u{200b}-\u{202e}]{0,4}") {
            let text = text + &odd;
            prop_assert!(is_plain(&line(&text)) && is_plain(&lines(&text)) && is_plain(&bounded(&text, 9)));
            prop_assert!(!line(&text).contains('\n') && !bounded(&text, 9).contains('\n'));
            let value = serde_json::json!({ text.clone(): [text] });
            let shown = format!("{value:#}");
            prop_assert!(is_plain(&json(&shown)));
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&json(&shown)).unwrap(), value);
        }
    }
}
