//! Words for people that many places need: time spans, sizes, numbers of things, the name for which a text is a slip, and a text of others at a bearable length.

mod character;

use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

pub(crate) use character::{a_character, character, is_unseen, meant};

/// A time span as a person reads it.
pub(crate) fn span(d: Duration) -> String {
    match d.as_secs() {
        0 if d.as_millis() < 10 => format!("{:.1} ms", d.as_secs_f64() * 1e3),
        0 if d.as_millis() < 100 => format!("{} ms", d.as_millis()),
        0..=119 => format!("{:.1} s", d.as_secs_f64()),
        s @ 120..=7199 => format!("{} min", s / 60),
        s @ 7200..=172_799 => format!("{} h {} min", s / 3600, s % 3600 / 60),
        s => format!("{} days", s / 86_400),
    }
}

/// A number of things: "1 tool", "2 tools".
pub(crate) fn counted(n: usize, one: &str) -> String {
    format!("{n} {one}{}", if n == 1 { "" } else { "s" })
}

/// The first names of `all`, and how many more there are.
pub(crate) fn listed(first: Vec<impl AsRef<str>>, all: usize) -> String {
    let names = first.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    if all > first.len() { format!("{names} and {} more", all - first.len()) } else { names }
}

/// The verb behind a number of things: "was", "were".
pub(crate) fn was(n: usize) -> &'static str {
    if n == 1 { "was" } else { "were" }
}

/// A time in milliseconds, for a program: to a thousandth.
pub(crate) fn millis(time: std::time::Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// A time in whole microseconds.
pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// A number of bytes as a person reads it: in the largest unit that leaves it whole.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        n if n >= 1 << 30 && n.is_multiple_of(1 << 30) => format!("{} GiB", n >> 30),
        n if n >= 1 << 20 && n.is_multiple_of(1 << 20) => format!("{} MiB", n >> 20),
        n if n >= 1 << 10 && n.is_multiple_of(1 << 10) => format!("{} KiB", n >> 10),
        n => format!("{n} bytes"),
    }
}

/// Fewest letters for each one that a slip leaves out, adds, exchanges or puts in another order: with more slips a name is another
/// one, and to suggest it would mislead. One slip is allowed from three letters on.
const LETTERS_TO_A_SLIP: usize = 4;
const LETTERS_TO_THE_FIRST: usize = 3;

/// The name for which a text is most likely a slip.
pub(crate) fn closest<'a>(text: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let text = text.to_lowercase();
    let letters = text.chars().count();
    let slips = |name: &'a str| {
        let lower = name.to_lowercase();
        let longer = letters.max(lower.chars().count());
        let most = (longer / LETTERS_TO_A_SLIP).max(usize::from(longer >= LETTERS_TO_THE_FIRST));
        // Mostly the lengths alone show that it is none.
        let may_be = letters.abs_diff(lower.chars().count()) <= most;
        let slips = may_be.then(|| strsim::osa_distance(&text, &lower)).filter(|slips| *slips <= most)?;
        Some((name, slips, strsim::jaro_winkler(&text, &lower)))
    };
    let best = names.into_iter().filter_map(slips).min_by(|a, b| a.1.cmp(&b.1).then(b.2.total_cmp(&a.2)));
    best.map(|(name, _, _)| name)
}

/// Fewest letters of a name that are taken for its beginning.
const BEGINNING: usize = 3;

/// The name of which somebody has written the beginning only, if there is one such.
pub(crate) fn begun<'a>(name: &str, mut names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let begun = names.find(|other| name.len() >= BEGINNING && other.starts_with(name))?;
    names.all(|other| !other.starts_with(name)).then_some(begun)
}

/// Longest text of a person's that is repeated where it is wrong, in characters: enough to find it again.
const LONGEST_REPEATED: usize = 80;

/// Longest path that is repeated, in characters: what is wrong with a path often stands at its end.
const LONGEST_PATH: usize = 250;

/// The beginning of a text that may be of any length.
pub(crate) fn brief(text: &str) -> Cow<'_, str> {
    beginning(text, LONGEST_REPEATED)
}

/// A path for people, whatever its length.
pub(crate) fn brief_path(path: &Path) -> String {
    beginning(&path.display().to_string(), LONGEST_PATH).into_owned()
}

fn beginning(text: &str, longest: usize) -> Cow<'_, str> {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

/// A word as it is written in a shell.
pub(crate) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_suggested_for_a_slip_and_for_nothing_else() {
        let names = ["add", "args", "mode", "maxResultBytes", "maxBackoff", "get_current_time", "开灯开"];
        for (slip, meant) in [
            ("ad", "add"),
            ("arg", "args"),
            ("Arsg", "args"),
            ("maxBakcof", "maxBackoff"),
            ("get_curent_tyme", "get_current_time"),
            ("开灯", "开灯开"),
        ] {
            assert_eq!(closest(slip, names), Some(meant), "{slip}");
        }
        for other in ["maxRetries", "models", "get_time", "a", "", "sub", "mx", "argument"] {
            assert_eq!(closest(other, names), None, "{other}");
        }
    }

    #[test]
    fn a_long_text_is_repeated_in_part() {
        assert_eq!((brief("é"), brief(&"é".repeat(81))), ("é".into(), format!("{}…", "é".repeat(80)).into()));
    }

    #[test]
    fn one_is_one_and_any_other_number_is_many() {
        let line = |n| format!("{} {} dropped", counted(n, "line"), was(n));
        assert_eq!([line(0), line(1), line(2)], ["0 lines were dropped", "1 line was dropped", "2 lines were dropped"]);
    }
}
