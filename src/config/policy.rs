//! The `tools` of an entry: which of the server's tools are published, and as what.
//!
//! | key | value | meaning |
//! |---|---|---|
//! | `allow` | patterns | only these are published; all if there are none |
//! | `deny` | patterns | these are not, even if allowed |
//! | `rename` | names by name | publishes a tool under another name: letters, digits, `_` and `-`, at most 64; with `"names": "unicode"` also letters of other scripts, and `.` |
//! | `describe` | texts by pattern | publishes another description |
//! | `timeout` | times by pattern | how long a call may take; before the entry's `timeout` |
//! | `maxResultBytes` | sizes by pattern | the largest result; before the entry's `maxResultBytes` |
//!
//! A list in the place of the object counts as `allow`, as other programs have it. Patterns are matched against the
//! server's own names; `*` stands for any text, `?` for one character; of several patterns that match, the first counts.

use jsonc_parser::ast::Value;

use super::keys::Place;
use super::reader::{Located, Reader, in_brackets};
use super::{Names, keys, units};
use crate::error::{self, Code};
use crate::tools::{Glob, ToolPolicy, of_others, of_regular_expression};
use crate::words::brief;

/// Longest name of a tool that assistants take, in characters.
const LONGEST_NAME: usize = 64;

/// Parts of `tools` that are looked at once more when the whole file is read, each where it stands.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// The new names of tools, for [`super::sharing::check_names`].
    pub(crate) names: Vec<Located<String>>,
    /// What is allowed and denied.
    pub(crate) patterns: Vec<Located<String>>,
}

/// Reads the value of `tools`. The parts of the policy that stand beside `tools` in the entry are left at their defaults.
pub(crate) fn read(r: &mut Reader<'_>, value: &Value<'_>, path: &str, written: &mut Written) -> ToolPolicy {
    let (mut policy, mut switches) = (ToolPolicy::default(), Vec::new());
    if matches!(value, Value::Array(_)) {
        policy.allow = allow(r, value, path, written);
        return policy;
    }
    if !matches!(value, Value::Object(_) | Value::NullKeyword(_)) {
        let what = Code::WrongType.says("is neither a list of patterns nor an object of rules");
        r.mistake(value, path, what, format!("{}, or {{\"deny\": […]}}", in_brackets(value)));
        return policy;
    }
    for (key, path, prop) in keys::members(r, value, path, Place::Tools) {
        let value = &prop.value;
        match key.as_str() {
            "allow" => policy.allow = allow(r, value, &path, written),
            "deny" => policy.deny = deny(r, value, &path, written),
            "rename" => policy.rename = rename(r, value, &path, &mut written.names),
            "describe" => {
                policy.describe = by_pattern(r, value, &path, |r, v, p| Some(r.string(v, p)?.value.into_boxed_str()));
            }
            "timeout" => {
                policy.timeouts = by_pattern(r, value, &path, |r, v, p| r.parsed(v, p, units::call_timeout));
            }
            "maxResultBytes" => {
                policy.max_results = by_pattern(r, value, &path, |r, v, p| r.parsed(v, p, units::result_size));
            }
            beside if keys::SHARED.contains(&beside) => {
                r.warning(prop, &path, Code::Misplaced.says("is ignored here"), "write it beside tools, not in it");
            }
            _ => match switch(r, &key, value, &path) {
                Some(own) => switches.push(own),
                None => keys::foreign(r, &key, prop, &path, Place::Tools),
            },
        }
    }
    switches.into_iter().for_each(|own| add(&mut policy, own));
    policy
}

/// Adds rules that were found beside `tools` or elsewhere; those in `tools` count first.
pub(crate) fn add(policy: &mut ToolPolicy, other: ToolPolicy) {
    policy.allow.extend(other.allow);
    policy.deny.extend(other.deny);
    policy.describe.extend(other.describe);
}

/// The rule for one tool that is switched on or off, or described, as mcphub and xiaozhi-client have it:
/// `{"enabled": false, "description": "…"}`. `None` for any other value.
fn switch(r: &mut Reader<'_>, tool: &str, value: &Value<'_>, path: &str) -> Option<ToolPolicy> {
    let Value::Object(object) = value else { return None };
    // xiaozhi-client also notes how often a tool was called, and when.
    let known = |key: &str| ["enabled", "enable", "description", "usageCount", "lastUsedTime"].contains(&key);
    if object.properties.is_empty() || !object.properties.iter().all(|prop| known(prop.name.as_str())) {
        return None;
    }
    let mut own = ToolPolicy::default();
    for (key, path, prop) in r.members(value, path) {
        if key == "description" {
            let text = r.string(&prop.value, &path).filter(|text| !text.value.trim().is_empty());
            own.describe.extend(text.map(|text| (Glob::new(tool), text.value.into_boxed_str())));
        } else if key.starts_with("enable") && r.boolean(&prop.value, &path) == Some(false) {
            own.deny.push(Glob::new(tool));
        }
    }
    Some(own)
}

/// xiaozhi-client's `mcpServerConfig`: the name of each server, the place of that, and the rules for the server's tools.
pub(crate) fn of_servers(r: &mut Reader<'_>, value: &Value<'_>, path: &str) -> Vec<(String, error::Place, ToolPolicy)> {
    let mut all = Vec::new();
    for (server, path, prop) in r.members(value, path) {
        let (mut policy, place) = (ToolPolicy::default(), r.place(prop, &path));
        for (key, path, prop) in r.members(&prop.value, &path) {
            if key != "tools" {
                r.warning(prop, &path, Code::NoEffect.says("is ignored"), "remove it");
                continue;
            }
            for (tool, path, prop) in r.members(&prop.value, &path) {
                match switch(r, &tool, &prop.value, &path) {
                    Some(own) => add(&mut policy, own),
                    None => {
                        let remedy = "write {\"enable\": true} or {\"enable\": false}";
                        r.mistake(
                            prop,
                            &path,
                            Code::WrongValue.says("doesn't say whether the tool is published"),
                            remedy,
                        );
                    }
                }
            }
        }
        all.push((server, place, policy));
    }
    all
}

/// The patterns of a list of tools that is no part of a policy.
pub(crate) fn globs(r: &mut Reader<'_>, value: &Value<'_>, path: &str) -> Vec<Glob> {
    deny(r, value, path, &mut Written::default())
}

pub(crate) fn deny(r: &mut Reader<'_>, value: &Value<'_>, path: &str, written: &mut Written) -> Vec<Glob> {
    patterns(r, value, path, written).iter().map(|p| Glob::new(p)).collect()
}

/// The value of `allow`. Patterns of which one covers every name become an empty list, so that no list has to be looked at.
pub(crate) fn allow(r: &mut Reader<'_>, value: &Value<'_>, path: &str, written: &mut Written) -> Vec<Glob> {
    if matches!(value, Value::Array(list) if list.elements.is_empty()) {
        r.warning(
            value,
            path,
            Code::NoEffect.says("is empty, so all tools are published"),
            "remove it; for none at all: \"deny\": [\"*\"]",
        );
    }
    let patterns = patterns(r, value, path, written);
    if patterns.iter().any(|p| p.chars().all(|c| c == '*')) {
        return Vec::new();
    }
    patterns.iter().map(|p| Glob::new(p)).collect()
}

fn patterns(r: &mut Reader<'_>, value: &Value<'_>, path: &str, written: &mut Written) -> Vec<String> {
    let mut all = Vec::new();
    for text in r.strings(value, path) {
        match fault(&text.value) {
            None => {
                warn_of_regular_expression(r, &text);
                all.push(text.value.clone());
                written.patterns.push(text);
            }
            Some((what, remedy)) => r.mistake_at(&text.place, Code::WrongValue.says(what), remedy),
        }
    }
    all
}

/// Warns of a pattern with characters that no tool's name has: of a regular expression, and of what else others write. One like `sub.*` may be meant, and is told of where it covers no tool.
fn warn_of_regular_expression(r: &mut Reader<'_>, pattern: &Located<String>) {
    if let Some((what, remedy)) = of_others(&pattern.value) {
        return r.warning_at(&pattern.place, Code::WrongValue.says(what), remedy);
    }
    let is_one = pattern.value.contains(['^', '$', '|']);
    if let Some(patterns) = of_regular_expression(&pattern.value).filter(|_| is_one) {
        let what = "looks like a regular expression, and a pattern knows * and ? only";
        let patterns = patterns.iter().map(|pattern| format!("\"{}\"", brief(pattern))).collect::<Vec<_>>().join(", ");
        r.warning_at(&pattern.place, Code::WrongValue.says(what), format!("write {patterns}"));
    }
}

fn by_pattern<T>(
    r: &mut Reader<'_>,
    value: &Value<'_>,
    path: &str,
    read: impl Fn(&mut Reader<'_>, &Value<'_>, &str) -> Option<T>,
) -> Vec<(Glob, T)> {
    let map = r.map(value, path, |r, pattern, prop, path| {
        if let Some((what, remedy)) = fault(pattern) {
            r.mistake(prop, path, Code::WrongValue.says(what), remedy);
        }
        let place = r.place(prop, path);
        warn_of_regular_expression(r, &Located { value: pattern.to_owned(), place });
        read(r, &prop.value, path)
    });
    map.into_iter().map(|(pattern, value)| (Glob::new(&pattern), value)).collect()
}

/// What is wrong with a pattern, and the remedy.
fn fault(pattern: &str) -> Option<(String, &'static str)> {
    if pattern.trim().is_empty() {
        return Some(("is an empty pattern, which covers no tool".to_owned(), "write a tool's name, or * for all"));
    }
    let strange = pattern.chars().find(|c| "[]{}".contains(*c))?;
    let what = format!("has {strange:?}, which is no part of a pattern");
    Some((what, "* stands for any text and ? for one character; write several patterns for more"))
}

fn rename(
    r: &mut Reader<'_>,
    value: &Value<'_>,
    path: &str,
    given: &mut Vec<Located<String>>,
) -> Vec<(Box<str>, Box<str>)> {
    let mut names: Vec<(String, String)> = Vec::new();
    r.map(value, path, |r, old, prop, path| {
        if old.is_empty() || old.contains(['*', '?']) {
            r.mistake(
                prop,
                path,
                Code::WrongName.says("is not the name of one tool"),
                "write the tool's own name; patterns can't be renamed",
            );
        }
        let new = r.string(&prop.value, path)?;
        // All characters that `names` can allow: which value counts is known once the whole file is read.
        match name(&new.value, Names::Unicode) {
            Ok(()) => given.push(new.clone()),
            Err((what, remedy)) => r.mistake_at(&new.place, Code::WrongName.says(what), remedy),
        }
        // Of a name that comes twice the last value counts, as a warning has said.
        names.retain(|(earlier, _)| earlier != old);
        if let Some((other, _)) = names.iter().find(|(_, taken)| *taken == new.value) {
            let what = format!("is \"{}\", as {} is already called", brief(&new.value), brief(other));
            r.mistake_at(&new.place, Code::Duplicate.says(what), "give each tool its own name");
        }
        names.push((old.to_owned(), new.value));
        Some(())
    });
    names.into_iter().map(|(old, new)| (old.into(), new.into())).collect()
}

/// Checks that a name has only the characters of `names`, and not too many.
///
/// # Errors
/// What is wrong with the name, and the remedy.
pub(crate) fn name(new: &str, names: Names) -> Result<(), (String, &'static str)> {
    let remedy = "use letters, digits, _ and -, at most 64";
    let length = new.chars().count();
    if new.is_empty() {
        Err(("is empty".to_owned(), remedy))
    } else if let Some(c) = new.chars().find(|c| !names.has(*c)) {
        let remedy = match names {
            Names::Ascii if Names::Unicode.has(c) => {
                "use letters, digits, _ and -, at most 64; or, where the assistant takes others, say \"names\": \"unicode\" at the top of the config"
            }
            Names::Ascii | Names::Unicode => remedy,
        };
        Err((format!("is \"{}\", and assistants take no {c:?} in a tool's name", brief(new)), remedy))
    } else if length > LONGEST_NAME {
        Err((format!("is {length} characters long, and assistants take no more than {LONGEST_NAME}"), remedy))
    } else {
        Ok(())
    }
}
