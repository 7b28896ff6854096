//! Which tools of a server are published, and as what: the `tools`, `slim`, `timeout` and `maxResultBytes` of a config.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use wildmatch::WildMatch;

use crate::mcp::object;
use crate::words::{closest, listed};

pub(crate) mod cut;
mod gate;
pub(crate) mod size;
#[cfg(test)]
mod tests;

pub(crate) use gate::Gate;
pub(crate) use gate::Offered;

/// Most names that are shown in a warning, and longest part of each in bytes: a warning is one line of a log.
const SHOWN: usize = 8;
const BRIEF: usize = 64;

/// A pattern for names: `*` stands for any text, `?` for one character.
#[derive(Debug, Clone, PartialEq)]
pub struct Glob {
    pattern: Box<str>,
    matcher: WildMatch,
}

impl Glob {
    /// Every text is a pattern.
    pub fn new(pattern: &str) -> Self {
        Glob { pattern: pattern.into(), matcher: WildMatch::new(pattern) }
    }

    /// Whether the pattern covers a name.
    pub fn matches(&self, name: &str) -> bool {
        self.matcher.matches(name)
    }

    /// The pattern as it was written.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// Whether the pattern covers every name.
    pub fn is_all(&self) -> bool {
        self.pattern.chars().all(|c| c == '*')
    }
}

/// The patterns that most likely were meant by a regular expression, such as `^add$`, `sub.*` or `add|subtract`; `None` for a text that
/// is none by its looks.
pub(crate) fn of_regular_expression(pattern: &str) -> Option<Vec<String>> {
    let is_one = pattern.contains(['^', '$', '|']) || pattern.contains(".*") || pattern.contains(".+");
    let plain = |part: &str| part.trim_matches(['^', '$', '(', ')']).replace(".*", "*").replace(".+", "*");
    let parts = || pattern.split('|').map(plain).filter(|part| !part.is_empty());
    is_one.then(|| parts().collect()).filter(|patterns: &Vec<String>| !patterns.is_empty())
}

/// What is wrong with a pattern as others have them, with a `!` before a name that is left out or with a comma between two, and what to
/// write; `None` for one that is none by its looks.
pub(crate) fn of_others(pattern: &str) -> Option<(&'static str, String)> {
    if let Some(denied) = pattern.trim().strip_prefix('!').filter(|denied| !denied.is_empty()) {
        let remedy = format!("to leave it out write {{\"deny\": [\"{}\"]}}", brief(denied));
        return Some(("begins with !, which is no part of a pattern", remedy));
    }
    let parts: Vec<&str> = pattern.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    (pattern.contains(',') && !parts.is_empty()).then(|| {
        let texts: Vec<String> = parts.iter().take(SHOWN).map(|part| format!("\"{}\"", brief(part))).collect();
        ("holds a comma, which is no part of a pattern", format!("write a text for each: {}", texts.join(", ")))
    })
}

/// One server's rules. Patterns are matched against the server's own names for its tools; of several that match, the first
/// counts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ToolPolicy {
    /// The tools that are published; all if empty.
    pub allow: Vec<Glob>,
    /// The tools that are not published, even if allowed.
    pub deny: Vec<Glob>,
    /// Names to publish, each behind the server's own name.
    pub rename: Vec<(Box<str>, Box<str>)>,
    /// Descriptions to publish in the place of the server's.
    pub describe: Vec<(Glob, Box<str>)>,
    /// Whether only name, description and inputSchema of a tool are published.
    pub slim: bool,
    /// Longest time that a call may take before it is answered with an error.
    pub timeout: Option<Duration>,
    /// The same for some tools, before `timeout`.
    pub timeouts: Vec<(Glob, Duration)>,
    /// Largest result, in bytes of its JSON; larger ones are cut.
    pub max_result: Option<usize>,
    /// The same for some tools, before `max_result`.
    pub max_results: Vec<(Glob, usize)>,
    /// What the endpoint lets through of what its servers publish.
    pub gate: Option<Arc<Gate>>,
}

impl ToolPolicy {
    /// Whether the rules change nothing at all.
    pub fn is_untouched(&self) -> bool {
        *self == ToolPolicy::default()
    }

    /// Whether the rules leave tools out.
    pub fn chooses(&self) -> bool {
        !(self.allow.is_empty() && self.deny.is_empty())
    }

    /// Whether a tool is listed and can be called.
    pub fn publishes(&self, tool: &str) -> bool {
        let among = |globs: &[Glob]| globs.iter().any(|glob| glob.matches(tool));
        (self.allow.is_empty() || among(&self.allow)) && !among(&self.deny)
    }

    /// The name under which a tool is published: its own, unless it is renamed.
    pub fn name_of<'a>(&'a self, tool: &'a str) -> &'a str {
        self.rename.iter().find(|(old, _)| **old == *tool).map_or(tool, |(_, new)| new)
    }

    /// Longest time that a call of a tool may take.
    pub fn timeout_of(&self, tool: &str) -> Option<Duration> {
        first(&self.timeouts, tool).copied().or(self.timeout)
    }

    /// Largest result of a tool, in bytes.
    pub fn max_result_of(&self, tool: &str) -> Option<usize> {
        first(&self.max_results, tool).copied().or(self.max_result)
    }

    /// The description to publish instead of a tool's own.
    pub fn described(&self, tool: &str) -> Option<&str> {
        first(&self.describe, tool).map(|text| &**text)
    }

    /// What these rules say that can't be meant, in words about the server that has `tools`: names and patterns that cover no
    /// tool and are most likely misspelt; rules that leave nothing; two tools with one name.
    pub fn doubts(&self, tools: &[&str]) -> Option<String> {
        let mut doubts = Vec::new();
        let none = !tools.is_empty() && !tools.iter().any(|tool| self.publishes(tool));
        let unmatched = self.unmatched(tools);
        if !unmatched.is_empty() {
            let meant: Vec<Option<String>> =
                unmatched.iter().take(SHOWN).map(|pattern| self.meant_by(pattern, tools)).collect();
            let shown = unmatched.iter().zip(&meant);
            let shown =
                shown.map(|(pattern, meant)| format!("{}{}", in_quotes(pattern), meant.as_deref().unwrap_or("")));
            let names = listed(shown.collect(), unmatched.len());
            let there_are = match tools {
                // Told below, or where each has a remedy of its own.
                _ if none || meant.iter().all(Option::is_some) => String::new(),
                [] => "; it has none".to_owned(),
                tools => format!("; its tools are {}", listed(first_of(tools), tools.len())),
            };
            doubts.push(format!("names {names}, which the server does not have{there_are}"));
        }
        for (old, new) in self.reversed(tools) {
            let (old, new) = (brief(old), brief(new));
            doubts.push(format!(
                "renames {old} to {new}, which is the server's own name: its own stands first, {{\"{new}\": \"{old}\"}}"
            ));
        }
        if none {
            doubts
                .push(format!("leaves none of its tools to publish; it has {}", listed(first_of(tools), tools.len())));
        }
        for (old, new) in self.rename.iter().filter(|(old, new)| old != new && self.publishes(old)) {
            // The name is taken only by a tool that keeps it and is published.
            let taken = |tool: &&str| **tool == **new && self.publishes(tool) && self.name_of(tool) == *tool;
            if tools.contains(&&**old) && tools.iter().any(taken) {
                doubts.push(format!(
                    "renames {old} to {new}, which another of its tools is called: both get other names"
                ));
            }
        }
        (!doubts.is_empty()).then(|| format!("\"tools\" {}", doubts.join("; it ")))
    }

    /// What was most likely meant by a name or pattern that covers no tool, for a bracket behind it.
    fn meant_by(&self, pattern: &str, tools: &[&str]) -> Option<String> {
        // A rule that was written with the name that the endpoint sees: the new one, or that behind the server's.
        let renamed = self.rename.iter().find(|(old, new)| **new == *pattern && tools.contains(&&**old));
        let behind = || pattern.split_once("__").map(|(_, own)| own).filter(|own| tools.contains(own));
        if let Some(own) = renamed.map(|(old, _)| &**old).or_else(behind) {
            return Some(format!(" (write {}: rules have the server's own names)", brief(own)));
        }
        if let Some((what, remedy)) = of_others(pattern) {
            return Some(format!(" ({what}: {remedy})"));
        }
        if let Some(patterns) = of_regular_expression(pattern) {
            let patterns = patterns.iter().map(|pattern| brief(pattern)).collect::<Vec<_>>().join(", ");
            return Some(format!(" (a pattern knows * and ? only: write {patterns})"));
        }
        let meant = closest(pattern, tools.iter().copied())?;
        Some(format!(" (did you mean {}?)", brief(meant)))
    }

    /// The renamings of which the new name is the server's own, and the old one is not: most likely written the wrong way round.
    fn reversed<'a>(&'a self, tools: &'a [&str]) -> impl Iterator<Item = (&'a str, &'a str)> {
        let pairs = self.rename.iter().map(|(old, new)| (&**old, &**new));
        pairs.filter(|(old, new)| !tools.contains(old) && tools.contains(new))
    }

    /// The names and patterns in these rules that cover none of `tools`, each once; without renamings that are reversed.
    fn unmatched<'a>(&'a self, tools: &[&str]) -> Vec<&'a str> {
        let globs = (self.allow.iter().chain(&self.deny))
            .chain(self.describe.iter().map(|(glob, _)| glob))
            .chain(self.timeouts.iter().map(|(glob, _)| glob))
            .chain(self.max_results.iter().map(|(glob, _)| glob))
            .filter(|glob| !glob.is_all() && !tools.iter().any(|tool| glob.matches(tool)))
            .map(Glob::pattern);
        let wrong = |(old, new): &(&str, &str)| !tools.contains(old) && !tools.contains(new);
        let renamed = self.rename.iter().map(|(old, new)| (&**old, &**new)).filter(wrong).map(|(old, _)| old);
        let mut unmatched = Vec::new();
        for name in globs.chain(renamed) {
            if !unmatched.contains(&name) {
                unmatched.push(name);
            }
        }
        unmatched
    }

    /// A tool's definition (MCP, server/tools; a raw JSON object) as it is published.
    ///
    /// `own` is the server's name for the tool, `published` the endpoint's. Another description comes from
    /// [`ToolPolicy::described`]. All that is kept stays as it was written: the order of members, numbers of any size.
    ///
    /// - With `slim` only `name`, `description` and `inputSchema` are kept, the latter without `$schema`. Nothing below is
    ///   touched:
    ///   a `title` there may as well be a property's name.
    /// - A tool whose results may be cut has no `outputSchema`: a cut result can't keep a schema's promise, and clients
    ///   that check would refuse the result.
    ///
    /// An item that is no JSON object comes back unchanged.
    pub fn definition(&self, item: &str, own: &str, published: &str) -> String {
        let Some(members) = object::members(item) else { return item.to_owned() };
        let described = self.described(own);
        let cuts = self.max_result_of(own).is_some();
        let mut kept: Vec<(&str, Cow<'_, str>)> = Vec::with_capacity(members.len() + 1);
        for member in &members {
            let value = match &*member.name() {
                "name" => with_text(member.value, Some(published)),
                "description" => with_text(member.value, described),
                "inputSchema" if self.slim => without_dialect(member.value),
                "inputSchema" => member.value.into(),
                "outputSchema" if cuts => continue,
                _ if self.slim => continue,
                _ => member.value.into(),
            };
            kept.push((member.key, value));
        }
        if let Some(described) = described
            && !members.iter().any(|m| m.name() == "description")
        {
            let name = kept.iter().position(|(key, _)| object::text_of(key).as_deref() == Some("name"));
            kept.insert(name.map_or(0, |at| at + 1), ("\"description\"", object::quoted(described).into()));
        }
        let same = kept.len() == members.len() && kept.iter().zip(&members).all(|(new, old)| new.1 == old.value);
        if same { item.to_owned() } else { object::object(kept.iter().map(|(key, value)| (*key, &**value))) }
    }
}

/// The first names of a list that may be of any length.
fn first_of<'a>(tools: &[&'a str]) -> Vec<&'a str> {
    tools.iter().take(SHOWN).map(|tool| brief(tool)).collect()
}

/// The beginning of a name that may be of any length.
fn brief(name: &str) -> &str {
    &name[..name.floor_char_boundary(BRIEF)]
}

/// The same, in quotes where its end would not be seen.
fn in_quotes(name: &str) -> Cow<'_, str> {
    let name = brief(name);
    if name.contains([',', ' ']) { format!("\"{name}\"").into() } else { name.into() }
}

/// The rule of the first pattern that covers a tool.
fn first<'a, T>(rules: &'a [(Glob, T)], tool: &str) -> Option<&'a T> {
    rules.iter().find(|(glob, _)| glob.matches(tool)).map(|(_, rule)| rule)
}

/// A raw JSON value with another text. A value that has just this text keeps its spelling.
fn with_text<'a>(value: &'a str, text: Option<&str>) -> Cow<'a, str> {
    match text {
        Some(text) if object::text_of(value).is_none_or(|old| old != text) => object::quoted(text).into(),
        Some(_) | None => value.into(),
    }
}

/// A JSON schema without the name of its dialect, which costs an assistant tokens and brings nothing.
fn without_dialect(schema: &str) -> Cow<'_, str> {
    match object::members(schema) {
        Some(members) if members.iter().any(|m| m.name() == "$schema") => {
            let kept = members.iter().filter(|m| m.name() != "$schema");
            object::object(kept.map(|m| (m.key, m.value))).into()
        }
        Some(_) | None => schema.into(),
    }
}
