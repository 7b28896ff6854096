//! What `mcp-pipe import` tells: each server of other programs and what becomes of it, in words or as JSON; pure. Entries have no secrets
//! any more, and values of variables are not shown.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::edit;
use super::files::one_line;
use super::plan::{Outcome, Plan, Source, Step};
use super::programs;
use crate::secrecy::plain;
use crate::words::{brief_path, counted};

/// The number of the form in which this is told as JSON; another one where a program has to be changed to read it.
const SCHEMA: u32 = 1;
/// Columns in front of the name of a server.
const WORD: usize = 11;

/// What is told.
pub(crate) struct Report<'a> {
    pub(crate) sources: &'a [Source],
    pub(crate) plan: &'a Plan,
    /// The config, and `.env` beside it.
    pub(crate) config: &'a Path,
    pub(crate) dotenv: &'a Path,
    /// The keys that lead to the servers of the config.
    pub(crate) list: &'a [&'a str],
    /// The copies of what was there, where it was written; `None` where nothing was.
    pub(crate) written: Option<&'a [PathBuf]>,
    /// How the same is written, as a command.
    pub(crate) command: String,
    /// Servers of the config that inherit what is added.
    pub(crate) inheriting: Vec<String>,
}

impl Outcome {
    fn word(&self) -> &'static str {
        match self {
            Outcome::New(_) => "new",
            Outcome::Same => "same",
            Outcome::Taken(_) => "name taken",
            Outcome::Unusable(_) => "skipped",
        }
    }
}

impl Report<'_> {
    pub(crate) fn words(&self) -> String {
        let mut out = String::new();
        for (n, source) in self.sources.iter().enumerate() {
            let title = programs::named(source.program).map_or("A file", |program| program.title);
            let _ = writeln!(out, "{title}: {}", brief_path(&source.path));
            for step in self.plan.steps.iter().filter(|step| step.source == n) {
                self.step(&mut out, step);
            }
            for (_, note) in self.plan.notes.iter().filter(|(of, _)| *of == n) {
                let _ = writeln!(out, "  {}", plain::line(note));
            }
            out.push('\n');
        }
        self.difference(&mut out);
        self.end(&mut out);
        out
    }

    fn step(&self, out: &mut String, step: &Step) {
        let (word, name) = (step.outcome.word(), one_line(&step.written));
        let what = match &step.outcome {
            Outcome::New(entry) if step.name != step.written => {
                format!("as {}: {}", one_line(&step.name), reached(entry))
            }
            Outcome::New(entry) => reached(entry),
            Outcome::Same if step.name != step.written => {
                format!("is in the config already, as {}", one_line(&step.name))
            }
            Outcome::Same => "is in the config already".to_owned(),
            Outcome::Taken(keys) => {
                let program = self.sources.get(step.source).map_or("", |source| source.program);
                let other = format!("{}-{program}", step.written);
                let keys = one_line(&keys.join(", "));
                format!("another server has that name (different: {keys}); --both takes it as {}", one_line(&other))
            }
            Outcome::Unusable(why) => plain::line(why).into_owned(),
        };
        let _ = writeln!(out, "  {word:WORD$}{name}: {what}");
        if !step.variables.is_empty() {
            let _ = writeln!(out, "  {:WORD$}in .env: {}", "", step.variables.join(", "));
        }
        for (key, why) in &step.left {
            let key = if key.is_empty() { "note".to_owned() } else { format!("left out: {}", one_line(key)) };
            let _ = writeln!(out, "  {:WORD$}{key}: {}", "", plain::line(why));
        }
    }

    /// What is added to which file.
    fn difference(&self, out: &mut String) {
        let mut added = json!({});
        for put in self.plan.puts(self.list) {
            let _put = edit::put_value(&mut added, &put);
        }
        if added != json!({}) {
            let _ = writeln!(out, "{}", brief_path(self.config));
            for line in format!("{added:#}").lines() {
                let _ = writeln!(out, "+ {line}");
            }
            out.push('\n');
        }
        if !self.plan.added.is_empty() {
            let _ = writeln!(out, "{}", brief_path(self.dotenv));
            for added in &self.plan.added {
                match added.value.reveal() {
                    "" => drop(writeln!(out, "+ {}=   to be filled in, for {}", added.name, one_line(&added.server))),
                    _ => drop(writeln!(out, "+ {}={}", added.name, added.value)),
                }
            }
            out.push('\n');
        }
    }

    fn end(&self, out: &mut String) {
        let count = |word: &str| self.plan.steps.iter().filter(|step| step.outcome.word() == word).count();
        let parts: Vec<String> = ["new", "same", "name taken", "skipped"]
            .into_iter()
            .filter(|word| count(word) > 0)
            .map(|word| format!("{} {word}", count(word)))
            .collect();
        let all = counted(self.plan.steps.len(), "server");
        let _ = writeln!(out, "{all}: {}.", if parts.is_empty() { "none".to_owned() } else { parts.join(", ") });
        if !self.inheriting.is_empty() {
            let names: Vec<_> = self.inheriting.iter().take(5).map(|name| one_line(name)).collect();
            let more = if self.inheriting.len() > names.len() { " and others" } else { "" };
            let inherit = if self.inheriting.len() == 1 { "inherits" } else { "inherit" };
            let _ = writeln!(
                out,
                "{}{more} of the config {inherit} from .env, these tokens too; \"inheritEnv\": false keeps them away.",
                names.join(", ")
            );
        }
        match (self.written, self.plan.changes()) {
            (_, false) => out.push_str("Nothing is to be done.\n"),
            (None, true) => {
                let _ = writeln!(out, "Nothing has been written. To write it: {}", self.command);
            }
            (Some(copies), true) => {
                let _ = writeln!(out, "Written.");
                for copy in copies {
                    let _ = writeln!(out, "What was there before: {}", brief_path(copy));
                }
                if self.plan.added.iter().any(|added| added.value.reveal().is_empty()) {
                    let _ = writeln!(out, "Fill in what is empty in {}.", brief_path(self.dotenv));
                }
                let _ = writeln!(out, "Next: mcp-pipe validate");
            }
        }
    }

    pub(crate) fn json(&self) -> Value {
        let step = |step: &Step| {
            let source = self.sources.get(step.source);
            let (why, keys) = match &step.outcome {
                Outcome::Unusable(why) => (Some(why.as_str()), None),
                Outcome::Taken(keys) => (None, Some(keys)),
                Outcome::New(_) | Outcome::Same => (None, None),
            };
            let entry = if let Outcome::New(entry) = &step.outcome { Some(entry) } else { None };
            let left: Vec<Value> = step.left.iter().map(|(key, why)| json!({ "key": key, "why": why })).collect();
            json!({
                "program": source.map(|source| source.program),
                "file": source.map(|source| source.path.display().to_string()),
                "server": step.written, "name": step.name, "outcome": step.outcome.word().replace(' ', "-"),
                "why": why, "different": keys, "entry": entry, "variables": step.variables, "left": left,
            })
        };
        let note = |(n, what): &(usize, String)| json!({ "file": self.sources.get(*n).map(|source| source.path.display().to_string()), "note": what });
        let variable = |added: &super::moved::Added| json!({ "name": added.name, "server": added.server, "fillIn": added.value.reveal().is_empty() });
        json!({
            "schema": SCHEMA,
            "config": self.config.display().to_string(),
            "env": self.dotenv.display().to_string(),
            "written": self.written.is_some() && self.plan.changes(),
            "changes": self.plan.changes(),
            "backups": self.written.unwrap_or_default().iter().map(|p| p.display().to_string()).collect::<Vec<_>>(),
            "servers": self.plan.steps.iter().map(step).collect::<Vec<_>>(),
            "variables": self.plan.added.iter().map(variable).collect::<Vec<_>>(),
            "notes": self.plan.notes.iter().map(note).collect::<Vec<_>>(),
        })
    }
}

/// How a server is reached, in a few words.
fn reached(entry: &Map<String, Value>) -> String {
    let text = |key: &str| entry.get(key).and_then(Value::as_str);
    if let Some(command) = text("command") {
        let args = entry.get("args").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let line: Vec<&str> = std::iter::once(command).chain(args).collect();
        return one_line(&line.join(" "));
    }
    one_line(text("url").or_else(|| text("serverUrl")).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told of a plan that adds to these keys.
    fn told(plan: &Plan, list: &[&str], inheriting: &[&str]) -> String {
        let (config, dotenv, command) = (Path::new("/c.json"), Path::new("/.env"), String::new());
        let inheriting = inheriting.iter().map(|name| (*name).to_owned()).collect();
        Report { sources: &[], plan, config, dotenv, list, written: None, command, inheriting }.words()
    }

    #[test]
    fn one_server_inherits_and_several_inherit() {
        let plan = Plan::default();
        assert!(told(&plan, &[], &["a"]).contains("a of the config inherits from .env"));
        assert!(told(&plan, &[], &["a", "b"]).contains("a, b of the config inherit from .env"));
    }

    #[test]
    fn what_is_added_is_shown_where_the_config_has_its_servers() {
        let entry = json!({"command": "x"}).as_object().cloned().unwrap_or_default();
        let (name, written) = ("a".to_owned(), "a".to_owned());
        let step =
            Step { source: 0, written, name, outcome: Outcome::New(entry), variables: Vec::new(), left: Vec::new() };
        let plan = Plan { steps: vec![step], ..Plan::default() };
        for (list, want) in [
            (&["servers"][..], json!({"servers": {"a": {"command": "x"}}})),
            (&["mcp", "servers"], json!({"mcp": {"servers": {"a": {"command": "x"}}}})),
        ] {
            let words = told(&plan, list, &[]);
            let added: String = words.lines().filter_map(|line| line.strip_prefix("+ ")).collect();
            assert_eq!(added.parse::<Value>().ok(), Some(want), "{words}");
        }
    }
}
