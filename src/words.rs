//! Words for people that many places need: time spans, sizes, numbers of things, and the name for which a text is a slip.

mod character;

use std::time::Duration;

pub(crate) use character::{character, is_unseen, meant};

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

/// A number of bytes as a person reads it: in the largest unit that leaves it whole.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        n if n >= 1 << 20 && n.is_multiple_of(1 << 20) => format!("{} MiB", n >> 20),
        n if n >= 1 << 10 && n.is_multiple_of(1 << 10) => format!("{} KiB", n >> 10),
        n => format!("{n} bytes"),
    }
}

/// The name that a text most resembles, if there is any resemblance.
pub(crate) fn closest<'a>(text: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let text = text.to_lowercase();
    let likeness = |name: &str| strsim::jaro_winkler(&text, &name.to_lowercase());
    let best = names.into_iter().map(|name| (name, likeness(name))).max_by(|a, b| a.1.total_cmp(&b.1));
    best.filter(|(_, likeness)| *likeness > 0.8).map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_one_and_any_other_number_is_many() {
        let line = |n| format!("{} {} dropped", counted(n, "line"), was(n));
        assert_eq!([line(0), line(1), line(2)], ["0 lines were dropped", "1 line was dropped", "2 lines were dropped"]);
    }
}
