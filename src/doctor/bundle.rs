//! What a person hands on to whoever helps: one file with all that was found, and nothing private in it. Pure.
//!
//! Each part is cleaned as for strangers ([`Stranger`]), and has its own limit; the manifest in front says what is in and what is not.

use std::fmt::Write as _;

use crate::secrecy::plain;
use crate::secrecy::stranger::Stranger;
use crate::words::size;

/// Largest bundle, in bytes.
const MOST: usize = 1 << 20;
/// Largest part but one, so that all have room beside the manifest.
const PART: usize = 150 << 10;

/// A part of a bundle.
pub(super) struct Part {
    pub(super) title: &'static str,
    /// Its text, or why there is none.
    pub(super) text: Result<String, String>,
}

impl Part {
    pub(super) fn new(title: &'static str, text: Result<String, String>) -> Self {
        Part { title, text }
    }
}

/// What is in no bundle, whatever is private.
const NEVER: &[&str] = &[
    "arguments and results of calls, and what servers log of them by MCP",
    "what servers write to stderr, but for the last lines of those that don't serve",
    "values of environment variables, headers and .env; arguments of servers that are no option and no file",
    "of addresses all behind the host",
    "the cache, logins and the keys of sessions",
];

/// The bundle as one text.
pub(super) fn of(parts: &[Part], stranger: &Stranger) -> String {
    let mut body = String::new();
    let mut manifest = String::from(
        "# A report of mcp-pipe doctor for whoever helps\n\nLook through it before you hand it on.\n\n## In it\n\n",
    );
    for Part { title, text } in parts {
        // Writing to a String does not fail.
        let _infallible = match text {
            Ok(text) => {
                let kept = ending(text, PART);
                let cut = if kept.len() < text.len() {
                    format!(", the last {} of it", size(PART as u64))
                } else {
                    String::new()
                };
                let kept: String =
                    kept.lines().map(|line| format!("{}\n", plain::line(&stranger.clean(line)))).collect();
                let _infallible = write!(body, "\n## {title}\n\n{kept}");
                writeln!(manifest, "- {title}: {} lines{cut}", kept.lines().count())
            }
            Err(why) => writeln!(manifest, "- {title}: nothing, {}", stranger.clean(why)),
        };
    }
    manifest.push_str("\n## Never in it\n\n");
    for never in NEVER {
        let _infallible = writeln!(manifest, "- {never}");
    }
    manifest.push_str("\nA … stands where something was left out.\n");
    let mut text = manifest + &body;
    text.truncate(text.floor_char_boundary(MOST));
    text
}

/// The last lines of a text, of so many bytes at most.
fn ending(text: &str, most: usize) -> &str {
    let from = text.len().saturating_sub(most);
    match from {
        0 => text,
        from => text[text.ceil_char_boundary(from)..].split_once('\n').map_or("", |(_, whole)| whole),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrecy::{Redactor, Secret};

    #[test]
    fn each_part_is_told_in_the_manifest_and_none_is_too_large() {
        let long: String = (0..20_000).map(|n| format!("line {n} \u{e9}\n")).collect();
        let parts = [
            Part::new("Report", Ok("a hunter2hunter2 b\n".into())),
            Part::new("Log", Ok(long.clone())),
            Part::new("Status", Err("no mcp-pipe runs".into())),
        ];
        let mut stranger = Stranger::new(Redactor::default());
        stranger.hide([Secret::new("hunter2hunter2")]);
        let text = of(&parts, &stranger);
        assert!(
            text.contains("- Report: 1 lines\n") && text.contains("- Status: nothing, no mcp-pipe runs\n"),
            "{text}"
        );
        assert!(text.contains("a … b") && text.contains("line 19999 ") && !text.contains("line 1 "));
        let many: Vec<Part> = (0..9).map(|_| Part::new("Log", Ok(long.clone()))).collect();
        assert!(of(&many, &stranger).len() <= MOST);
    }
}
