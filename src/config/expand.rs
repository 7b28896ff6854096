//! `${VAR}` in texts of the config. The variables of editors are in [`super::editor`].

use std::ops::Range;

/// Why a text could not be expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ExpandError {
    /// Variables that are set nowhere and have no default: each once, in order.
    Unset(Vec<String>),
    /// A `${` without an end, or around something that is no name.
    Malformed,
    /// VS Code's `${input:…}`, which asks a person.
    Input,
    /// A variable that only an editor can replace, such as `${command:…}`.
    Editor(&'static str),
}

/// The beginnings of variables for which an editor runs something, or looks into its own settings.
const EDITORS: &[&str] = &["command:", "config:", "extensionInstallFolder:"];

/// Deepest nesting of defaults. More is a slip, and each level takes a piece of the stack.
const DEEPEST: usize = 8;

/// Replaces `${VAR}`, `${VAR:-default}` and `${env:VAR}`. A default stands in for an empty variable too, as in
/// a shell, and may hold references itself. The value of a variable is not expanded again, and a `$` without a brace
/// stands for itself.
pub(crate) fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> Result<String, ExpandError> {
    let mut unset = Vec::new();
    let out = fill(text, &lookup, &mut unset, DEEPEST)?;
    if unset.is_empty() { Ok(out) } else { Err(ExpandError::Unset(unset)) }
}

fn fill(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    unset: &mut Vec<String>,
    deepest: usize,
) -> Result<String, ExpandError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        out.push_str(&rest[..start]);
        let (inner, after) = up_to_its_brace(&rest[start + 2..]).ok_or(ExpandError::Malformed)?;
        rest = after;
        if inner.starts_with("input:") {
            return Err(ExpandError::Input);
        }
        if let Some(editors) = EDITORS.iter().find(|editors| inner.starts_with(**editors)) {
            return Err(ExpandError::Editor(editors));
        }
        let inner = inner.strip_prefix("env:").unwrap_or(inner);
        let (name, default) = match inner.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inner, None),
        };
        // The variables of editors have names that are no names otherwise: those that `lookup` knows count.
        let is_editors = default.is_none() && lookup(name).is_some();
        if !is_name(name) && !is_editors {
            return Err(ExpandError::Malformed);
        }
        // A default is expanded even where it isn't needed, so that a slip in it shows; but variables that it lacks matter only
        // where it is needed.
        let mut lacking = Vec::new();
        let default = match default {
            Some(default) => {
                let deepest = deepest.checked_sub(1).ok_or(ExpandError::Malformed)?;
                Some(fill(default, lookup, &mut lacking, deepest)?)
            }
            None => None,
        };
        match (lookup(name), default) {
            (Some(value), None) => out.push_str(&value),
            (Some(value), Some(_)) if !value.is_empty() => {
                out.push_str(&value);
                continue;
            }
            (_, Some(default)) => out.push_str(&default),
            (None, None) => lacking.push(name.to_owned()),
        }
        lacking.retain(|name| !unset.contains(name));
        unset.append(&mut lacking);
    }
    out.push_str(rest);
    Ok(out)
}

/// The names of the variables in a text, whether they are set or not.
pub(crate) fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split("${").skip(1).map(|rest| {
        let name = rest.strip_prefix("env:").unwrap_or(rest);
        name.split(['}', ':']).next().unwrap_or_default()
    })
}

/// The name of the variable that a text is: nothing stands around it, and it has no default.
pub(crate) fn whole(text: &str) -> Option<&str> {
    let inner = text.strip_prefix("${")?.strip_suffix('}')?;
    Some(inner.strip_prefix("env:").unwrap_or(inner)).filter(|name| is_name(name))
}

/// The ranges of a text that are no variables, in their order; the default of one is none either.
pub(crate) fn literals(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    add_literals(text, 0, DEEPEST, &mut found);
    found.retain(|range| !range.is_empty());
    found
}

fn add_literals(text: &str, from: usize, deepest: usize, found: &mut Vec<Range<usize>>) {
    let mut at = 0;
    while let Some(start) = text[at..].find("${").map(|start| at + start) {
        found.push(from + at..from + start);
        let behind = start + 2;
        // One without an end goes on to that of the text.
        let inner = up_to_its_brace(&text[behind..]).map_or(&text[behind..], |(inner, _)| inner);
        if let Some((name, default)) = inner.split_once(":-") {
            let place = from + behind + name.len() + 2;
            match deepest.checked_sub(1) {
                Some(deepest) => add_literals(default, place, deepest, found),
                // So deep nothing is replaced.
                None => found.push(place..place + default.len()),
            }
        }
        at = (behind + inner.len() + 1).min(text.len());
    }
    found.push(from + at..from + text.len());
}

/// The text before the `}` that closes a reference, and the text behind.
fn up_to_its_brace(text: &str) -> Option<(&str, &str)> {
    let mut open = 0;
    for (at, c) in text.char_indices() {
        match c {
            '$' if text[at..].starts_with("${") => open += 1,
            '}' if open == 0 => return Some((&text[..at], &text[at + 1..])),
            '}' => open -= 1,
            _ => {}
        }
    }
    None
}

/// Whether a text is the name of a variable.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn go(text: &str) -> Result<String, ExpandError> {
        expand(text, |name| match name {
            "A" => Some("1".into()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${A}".into()),
            _ => None,
        })
    }

    #[test]
    fn references_become_values_or_defaults() {
        for (text, want) in [
            ("x${A}y${env:A}", "x1y1"),
            ("${A:-2}", "1"),
            ("${B:-2}", "2"),
            ("${B:-}", ""),
            ("${B:-a:-b}", "a:-b"),
            ("${EMPTY}", ""),
            ("${EMPTY:-2}", "2"),
            ("${NESTED}", "${A}"),
            ("${A:-${B}}", "1"),
            ("${B:-${A}}x}", "1x}"),
            ("${B:-<${C:-[${A}]}>}", "<[1]>"),
            ("${A:-${B:-${C}}}y${A}", "1y1"),
            ("${B:-{x}}", "{x}"),
            ("a$b $A {A} 100%", "a$b $A {A} 100%"),
        ] {
            assert_eq!(go(text), Ok(want.to_owned()), "{text}");
        }
    }

    #[test]
    fn all_unset_names_are_listed_once() {
        assert_eq!(go("${C}${A}${D}${C}"), Err(ExpandError::Unset(vec!["C".into(), "D".into()])));
        assert_eq!(go("${B:-${C}${C}}"), Err(ExpandError::Unset(vec!["C".into()])));
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        for text in ["${A", "${}", "${1A}", "${a b}", "${A-b}", "${${A}}", "${A:-${B}", "${A:-${B-c}}"] {
            assert_eq!(go(text), Err(ExpandError::Malformed), "{text}");
        }
        assert_eq!(go(&format!("{}{}", "${B:-".repeat(10_000), "}".repeat(10_000))), Err(ExpandError::Malformed));
        assert_eq!(go("${input:token}"), Err(ExpandError::Input));
        assert_eq!(go("${command:pick}"), Err(ExpandError::Editor("command:")));
    }

    #[test]
    fn a_variable_that_is_all_of_a_text_is_told_from_others() {
        for (text, want) in [
            ("${A}", Some("A")),
            ("${env:A_1}", Some("A_1")),
            ("${A:-s3cret}", None),
            ("${A}-${B}", None),
            ("x${A}", None),
            ("${A} ", None),
            ("${}", None),
            ("${workspaceFolder:x}", None),
            ("$A", None),
        ] {
            assert_eq!(whole(text), want, "{text}");
        }
    }

    #[test]
    fn what_is_no_variable_in_a_text_is_found_at_any_depth() {
        let of = |text: &str| literals(text).into_iter().map(|range| text[range].to_owned()).collect::<Vec<_>>();
        assert_eq!(of("a${B}c${D:-e${F:-g}h}i"), ["a", "c", "e", "g", "h", "i"]);
        assert_eq!((of("${A}"), of("${A:-é"), of("${A} ${")), (vec![], vec!["é".to_owned()], vec![" ".to_owned()]));
        // So deep it would end the program, were each level one of the stack.
        let deep = format!("{}s3cret{}", "${B:-".repeat(100_000), "}".repeat(100_000));
        let found = of(&deep);
        assert!(found.len() == 1 && found[0].contains("s3cret"), "{}", found.len());
        assert_eq!(of(&"${B:-".repeat(100_000)).len(), 1);
    }

    proptest! {
        #[test]
        fn literals_are_in_order_and_within_the_text(text in r"(\$\{|\}|:-|A|é| )*") {
            let found = literals(&text);
            prop_assert!(found.windows(2).all(|pair| pair[0].end <= pair[1].start), "{found:?}");
            prop_assert!(found.iter().all(|range| text.get(range.clone()).is_some()), "{found:?}");
        }

        #[test]
        fn a_text_without_references_stays_as_it_is(text in "[^{]*") {
            prop_assert_eq!(go(&text), Ok(text.clone()));
        }

        #[test]
        fn nothing_panics(text in ".*", braces in r"(\$\{|\}|:-|A|B|é| )*") {
            let _ = (go(&text), go(&braces));
        }
    }
}
