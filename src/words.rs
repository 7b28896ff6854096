//! Words for people that many places need: time spans, sizes, and what a slip of the pen most likely meant.

use std::time::Duration;

/// A time span as a person reads it.
pub fn span(d: Duration) -> String {
    match d.as_secs() {
        0 if d.as_millis() < 100 => format!("{} ms", d.as_millis()),
        0..=119 => format!("{:.1} s", d.as_secs_f64()),
        s @ 120..=7199 => format!("{} min", s / 60),
        s @ 7200..=172_799 => format!("{} h {} min", s / 3600, s % 3600 / 60),
        s => format!("{} days", s / 86_400),
    }
}

/// A number of bytes as a person reads it: in the largest unit that leaves it whole.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        n if n >= 1 << 20 && n.is_multiple_of(1 << 20) => format!("{} MiB", n >> 20),
        n if n >= 1 << 10 && n.is_multiple_of(1 << 10) => format!("{} KiB", n >> 10),
        n => format!("{n} bytes"),
    }
}

/// The name most like a text, if it is like it at all.
pub(crate) fn closest<'a>(text: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let text = text.to_lowercase();
    let likeness = |name: &str| strsim::jaro_winkler(&text, &name.to_lowercase());
    let best = names.into_iter().map(|name| (name, likeness(name))).max_by(|a, b| a.1.total_cmp(&b.1));
    best.filter(|(_, likeness)| *likeness > 0.8).map(|(name, _)| name)
}
