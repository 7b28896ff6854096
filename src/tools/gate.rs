//! What an endpoint, or a key of the gateway, lets through of the tools of its servers.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Glob, SHOWN, brief, first_of, in_quotes, of_others, of_regular_expression};
use crate::words::{closest, listed};

/// What a named endpoint, or a key, lets through of the tools of its servers. Patterns are matched against the name that the endpoint would see,
/// and against `SERVER__TOOL`, whatever the naming.
#[derive(Debug, Clone, Default)]
pub struct Gate {
    /// Where the patterns stand in the config: no other gate stands there.
    pub place: Arc<str>,
    /// The tools that pass; all if empty.
    pub allow: Vec<Glob>,
    /// The tools that don't, even if allowed.
    pub deny: Vec<Glob>,
    /// The servers that the endpoint shows. Another one changes nothing for the tools of the others, so it makes no other gate.
    pub servers: Vec<Arc<str>>,
}

impl PartialEq for Gate {
    fn eq(&self, other: &Self) -> bool {
        (&self.place, &self.allow, &self.deny) == (&other.place, &other.allow, &other.deny)
    }
}

/// A tool as an endpoint would see it, were there no gate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offered<'a> {
    pub(crate) server: &'a str,
    /// The server's name for it, or the new one that its entry gives it.
    pub(crate) own: &'a str,
    pub(crate) published: &'a str,
}

impl Offered<'_> {
    /// The tool's name that is the same whatever the naming.
    fn whole(&self) -> String {
        format!("{}__{}", self.server, self.own)
    }

    fn is_matched_by(&self, glob: &Glob) -> bool {
        glob.matches(self.published) || glob.matches(&self.whole())
    }
}

impl Gate {
    /// Whether a tool passes.
    pub(crate) fn passes(&self, tool: Offered<'_>) -> bool {
        let among = |globs: &[Glob]| globs.iter().any(|glob| tool.is_matched_by(glob));
        (self.allow.is_empty() || among(&self.allow)) && !among(&self.deny)
    }

    /// Adds the patterns that cover a tool to those that cover any.
    pub(crate) fn note_fitting(&self, tool: Offered<'_>, fitting: &mut BTreeSet<Box<str>>) {
        for glob in self.allow.iter().chain(&self.deny) {
            if !fitting.contains(glob.pattern()) && tool.is_matched_by(glob) {
                fitting.insert(glob.pattern().into());
            }
        }
    }

    /// The patterns that cover no tool. `known`: the servers whose tools are known; a pattern about others is none of these yet.
    pub(crate) fn doubtful(&self, fitting: &BTreeSet<Box<str>>, known: &BTreeSet<&str>) -> BTreeSet<Box<str>> {
        let of_one = |pattern: &str| {
            let is_its = |server: &&Arc<str>| pattern.strip_prefix(&***server).is_some_and(|it| it.starts_with("__"));
            self.servers.iter().filter(is_its).max_by_key(|server| server.len())
        };
        let is_known = |glob: &&Glob| match of_one(glob.pattern()) {
            Some(server) => known.contains(&**server),
            None => self.servers.iter().all(|server| known.contains(&**server)),
        };
        let all = self.allow.iter().chain(&self.deny);
        let doubtful = all.filter(|glob| !glob.is_all() && !fitting.contains(glob.pattern())).filter(is_known);
        doubtful.map(|glob| glob.pattern().into()).collect()
    }

    /// What to tell of patterns that cover no tool, with what was most likely meant by each. `tools`: those of the endpoint's servers,
    /// as `SERVER__TOOL`.
    pub(crate) fn doubts(&self, doubtful: &BTreeSet<Box<str>>, tools: &BTreeSet<String>) -> String {
        let told = [("allow", &self.allow), ("deny", &self.deny)].map(|(key, globs)| {
            let patterns: Vec<&str> =
                globs.iter().map(Glob::pattern).filter(|pattern| doubtful.contains(*pattern)).collect();
            let shown = patterns.iter().take(SHOWN).map(|it| format!("{}{}", in_quotes(it), meant_by(it, tools)));
            (!patterns.is_empty()).then(|| format!("{key} names {}", listed(shown.collect(), patterns.len())))
        });
        let told = told.into_iter().flatten().collect::<Vec<_>>().join("; ");
        let there_are: Vec<&str> = tools.iter().map(String::as_str).collect();
        let there_are = match &there_are[..] {
            [] => "they have none".to_owned(),
            tools => format!("they have {}", listed(first_of(tools), tools.len())),
        };
        format!("{}: {told}, which none of its servers has; {there_are}", self.place)
    }
}

/// What was most likely meant by a pattern that covers no tool, for a bracket behind it.
fn meant_by(pattern: &str, tools: &BTreeSet<String>) -> String {
    if let Some((what, remedy)) = of_others(pattern) {
        return format!(" ({what}: {remedy})");
    }
    if let Some(patterns) = of_regular_expression(pattern) {
        let patterns = patterns.iter().map(|pattern| brief(pattern)).collect::<Vec<_>>().join(", ");
        return format!(" (a pattern knows * and ? only: write {patterns})");
    }
    let is_own = |tool: &&String| tool.split_once("__").is_some_and(|(_, own)| own == pattern);
    let called_so: Vec<String> = tools.iter().filter(is_own).map(|tool| brief(tool).to_owned()).collect();
    if !called_so.is_empty() {
        // Several servers have a tool of that name, so none is published under it.
        let n = called_so.len();
        return format!(" (here {})", listed(called_so.into_iter().take(SHOWN).collect(), n));
    }
    let names = tools.iter().map(String::as_str);
    let own = tools.iter().filter_map(|tool| tool.split_once("__")).map(|(_, own)| own);
    let meant = if pattern.contains("__") { closest(pattern, names) } else { closest(pattern, own) };
    meant.map_or_else(String::new, |meant| format!(" (did you mean {}?)", brief(meant)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(allow: &[&str], deny: &[&str]) -> Gate {
        let globs = |patterns: &[&str]| patterns.iter().map(|pattern| Glob::new(pattern)).collect();
        let servers = ["lamp", "clock"].map(Arc::from).into();
        Gate { place: "endpoints.kitchen.tools".into(), allow: globs(allow), deny: globs(deny), servers }
    }

    #[test]
    fn a_pattern_that_covers_no_tool_is_told_once_it_can_be_known() {
        let all = [("lamp", "on"), ("lamp", "off"), ("clock", "now")];
        let doubts = |gate: &Gate, known: &[&str]| {
            let (known, mut fitting, mut tools) =
                (known.iter().copied().collect::<BTreeSet<_>>(), BTreeSet::new(), BTreeSet::new());
            for (server, own) in all.into_iter().filter(|(server, _)| known.contains(server)) {
                let tool = Offered { server, own, published: own };
                gate.note_fitting(tool, &mut fitting);
                tools.insert(tool.whole());
            }
            let doubtful = gate.doubtful(&fitting, &known);
            (!doubtful.is_empty()).then(|| gate.doubts(&doubtful, &tools))
        };
        let both = &["lamp", "clock"][..];
        for fine in [gate(&["on", "lamp__o*", "*"], &["clock__*"]), gate(&[], &["now", "**"])] {
            assert_eq!(doubts(&fine, both), None, "{fine:?}");
        }
        let wrong = gate(&["of"], &["lamp__onn", "clock__x*", "^on$"]);
        assert_eq!(
            doubts(&wrong, both).unwrap_or_default(),
            "endpoints.kitchen.tools: allow names of (did you mean off?); deny names lamp__onn (did you mean lamp__on?), clock__x*, \
             ^on$ (a pattern knows * and ? only: write on), which none of its servers has; they have clock__now, lamp__off, lamp__on"
        );
        let common =
            gate(&[], &["on"]).doubts(&[Box::from("on")].into(), &["lamp__on", "clock__on"].map(String::from).into());
        assert!(common.contains("deny names on (here clock__on, lamp__on), which"), "{common}");
        // What may be another server's is not told before that one is known.
        assert_eq!(
            doubts(&wrong, &["lamp"]).unwrap_or_default(),
            "endpoints.kitchen.tools: deny names lamp__onn (did you mean lamp__on?), which none of its servers has; they have lamp__off, lamp__on"
        );
        assert_eq!(doubts(&wrong, &[]), None);
        let none = gate(&[], &["x"]).doubts(&[Box::from("x")].into(), &BTreeSet::new());
        assert_eq!(none, "endpoints.kitchen.tools: deny names x, which none of its servers has; they have none");
    }
}
