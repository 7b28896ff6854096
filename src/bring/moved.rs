//! Secrets of an entry, moved into variables: `${NAME}` stands in their place, and the entry does what it did. Pure.

use std::ops::Range;

use serde_json::{Map, Value, json};

use crate::config::{ExpandError, Replaces, each_text, expand, is_place, is_setting, literals, variables_in};
use crate::secrecy::Secret;
use crate::secrecy::apart::{self, Part};

/// A variable that is to be set.
#[derive(Debug, Clone)]
pub(crate) struct Added {
    pub(crate) name: String,
    /// What it holds; nothing where a person has to fill it in.
    pub(crate) value: Secret,
    /// The server for which it was added first.
    pub(crate) server: String,
}

/// The variables that there are, and those that are added.
pub(crate) struct Variables<'a> {
    known: &'a dyn Fn(&str) -> Option<String>,
    pub(crate) added: Vec<Added>,
    /// What is a secret wherever it stands.
    secrets: &'a [Secret],
}

impl<'a> Variables<'a> {
    /// `known`: what variables hold that are set already. `secrets`: what is a secret wherever it stands.
    pub(crate) fn new(known: &'a dyn Fn(&str) -> Option<String>, secrets: &'a [Secret]) -> Self {
        Variables { known, added: Vec::new(), secrets }
    }

    /// The places in a text where a known secret stands.
    fn places(&self, text: &str, name: &str) -> Vec<Part> {
        let of = |secret: &Secret| apart::occurrences(text, secret.reveal());
        self.secrets.iter().flat_map(of).map(|range| Part { range, name: name.to_owned() }).collect()
    }

    /// What a variable holds.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        let added = || self.added.iter().find(|added| added.name == name).map(|added| added.value.reveal().to_owned());
        (self.known)(name).or_else(added)
    }

    /// The variable that holds a value for a server: one that does already, or a new one. `hint`: what the value is called there.
    pub(crate) fn hold(&mut self, server: &str, hint: &str, value: &str) -> String {
        let fits = |name: &String| self.get(name).is_none_or(|there| there == value);
        let name = names(server, hint).find(fits).unwrap_or_default();
        self.set(&name, value, server);
        name
    }

    /// The variable for what a person is asked: never one that is set, which may hold what belongs to another server. `own`: whether the
    /// server has this variable from a run before.
    pub(crate) fn ask(&mut self, server: &str, hint: &str, default: &str, own: &dyn Fn(&str) -> bool) -> String {
        let fits = |name: &String| {
            let is_asked =
                |added: &Added| added.name == *name && added.server == server && added.value.reveal() == default;
            self.get(name).is_none() || self.added.iter().any(is_asked) || own(name)
        };
        let name = names(server, hint).find(fits).unwrap_or_default();
        self.set(&name, default, server);
        name
    }

    /// Sets a variable that is not set yet, or that was to be filled in.
    pub(crate) fn set(&mut self, name: &str, value: &str, server: &str) {
        let is_blank = |added: &&mut Added| added.name == name && added.value.reveal().is_empty();
        if let Some(blank) = self.added.iter_mut().find(is_blank) {
            blank.value = Secret::new(value);
        } else if self.get(name).is_none() {
            self.added.push(Added { name: name.to_owned(), value: Secret::new(value), server: server.to_owned() });
        }
    }

    /// A value with each variable in it replaced that is set.
    pub(crate) fn expanded(&self, value: &Value) -> Value {
        let mut value = value.clone();
        each_text(&mut value, &mut |text| {
            if let Ok(expanded) = expand(text, |name| self.get(name)) {
                *text = expanded;
            }
        });
        value
    }
}

/// The names that a variable of a server may have, the best one first; there is no end of them.
fn names(server: &str, hint: &str) -> impl Iterator<Item = String> {
    let (server, hint) = (screaming(server), screaming(hint));
    let word = |name: &str| name.split('_').next().unwrap_or_default().to_owned();
    let name = if word(&hint) == word(&server) { hint } else { format!("{server}_{hint}") };
    let name = if is_setting(&name) { format!("{name}_VALUE") } else { name };
    std::iter::once(name.clone()).chain((2..).map(move |n: usize| format!("{name}_{n}")))
}

/// A name as variables have them.
pub(crate) fn screaming(text: &str) -> String {
    let (mut name, mut was_small) = (String::new(), false);
    for c in text.chars() {
        // `apiKey` is two words.
        if std::mem::replace(&mut was_small, c.is_ascii_lowercase()) && c.is_ascii_uppercase() {
            name.push('_');
        }
        if c.is_ascii_alphanumeric() {
            name.push(c.to_ascii_uppercase());
        } else if !name.is_empty() && !name.ends_with('_') {
            name.push('_');
        }
    }
    let name = name.trim_end_matches('_');
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        format!("SERVER_{name}").trim_end_matches('_').to_owned()
    } else {
        name.to_owned()
    }
}

/// Moves the secrets of an entry into variables.
///
/// # Errors
/// The entry needs something that only another program knows.
pub(crate) fn secrets(
    server: &str,
    entry: &mut Map<String, Value>,
    replaces: Replaces,
    variables: &mut Variables<'_>,
    left: &mut Vec<(String, String)>,
) -> Result<(), String> {
    let mut mover = Mover { server, replaces, variables };
    mover.arguments(entry);
    mover.stay(entry, left)?;
    for (key, value) in entry.iter_mut() {
        match key.as_str() {
            "env" | "headers" | "endpointHeaders" | "auth" => mover.members(key, value),
            "url" | "serverUrl" | "endpoint" => mover.texts(value, key, &|_, text| apart::of_address(text)),
            _ => {}
        }
    }
    mover.lacking(entry)
}

struct Mover<'m, 'v> {
    server: &'m str,
    replaces: Replaces,
    variables: &'m mut Variables<'v>,
}

impl Mover<'_, '_> {
    /// Looks at what stays as it is written, since no variable is replaced there.
    fn stay(&self, entry: &mut Map<String, Value>, left: &mut Vec<(String, String)>) -> Result<(), String> {
        let has_secret = |text: &str| !self.variables.places(text, "").is_empty();
        let command = entry.get("command").and_then(Value::as_str).unwrap_or_default();
        let is_line = command.contains(|c: char| c.is_whitespace() || c == '=');
        if has_secret(command) || (is_line && !apart::of_arguments(&[command]).is_empty()) {
            return Err("has what may be a secret in its command; write program, args and env apart".to_owned());
        }
        let moved = ["args", "env", "headers", "endpointHeaders", "auth", "url", "serverUrl", "endpoint", "command"];
        let (mut keys, mut names) = (Vec::new(), false);
        for (key, value) in entry.iter() {
            if !moved.contains(&key.as_str()) && has_secret(&value.to_string()) {
                keys.push(key.clone());
            }
            let members = value.as_object().into_iter().flatten();
            names |= moved.contains(&key.as_str()) && members.into_iter().any(|(name, _)| has_secret(name));
        }
        if names {
            return Err("has what is a secret elsewhere as the name of a variable or a header".to_owned());
        }
        for key in keys {
            entry.shift_remove(&key);
            left.push((key, "holds what is a secret elsewhere".to_owned()));
        }
        Ok(())
    }

    /// The values of an object, by their names.
    fn members(&mut self, of: &str, value: &mut Value) {
        for (name, value) in value.as_object_mut().into_iter().flatten() {
            if value.is_object() {
                self.members(of, value);
            } else if of.to_ascii_lowercase().ends_with("headers") {
                self.texts(value, name, &apart::of_header);
            } else {
                self.texts(value, name, &apart::of_variable);
            }
        }
    }

    fn texts(&mut self, value: &mut Value, name: &str, parts: &dyn Fn(&str, &str) -> Vec<Part>) {
        each_text(value, &mut |text| *text = self.moved(text, parts(name, text), name));
    }

    /// A text with its secret parts in variables.
    fn moved(&mut self, text: &str, parts: Vec<Part>, name: &str) -> String {
        // What is no variable for whoever has written it is to be none here: it is kept as a whole, and not looked into again.
        let is_literal = self.replaces == Replaces::Nothing && text.contains("${");
        if is_literal || matches!(expand(text, |_| Some(String::new())), Err(ExpandError::Malformed)) {
            return format!("${{{}}}", self.variables.hold(self.server, name, text));
        }
        let parts = apart::merged(parts.into_iter().chain(self.variables.places(text, name)).collect());
        let mut out = text.to_owned();
        let literals = literals(text);
        let has_variables = text.contains("${");
        for part in parts.into_iter().rev() {
            for range in literals.iter().rev() {
                let range = range.start.max(part.range.start)..range.end.min(part.range.end);
                let Some(piece) = text.get(range.clone()).filter(|piece| !piece.trim().is_empty()) else { continue };
                // Of a text with variables in it, the rest may be as harmless as a slash.
                if !has_variables || !apart::is_harmless(&part.name, piece) {
                    let variable = self.variables.hold(self.server, &part.name, piece);
                    out.replace_range(range, &format!("${{{variable}}}"));
                }
            }
        }
        out
    }

    /// Moves the secrets out of the arguments: into the environment where the program takes them from there, else into variables that are
    /// replaced in the command line.
    fn arguments(&mut self, entry: &mut Map<String, Value>) {
        let Some(list) = entry.get("args").and_then(Value::as_array) else { return };
        let Some(mut args) = list.iter().map(|arg| arg.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>() else {
            return;
        };
        let texts: Vec<&str> = args.iter().map(String::as_str).collect();
        let found = apart::of_arguments(&texts);
        let of = |(n, text): (usize, &&str)| {
            let own = found.iter().filter(move |(of, _)| *of == n).map(|(_, part)| part.clone());
            let all = apart::merged(own.chain(self.variables.places(text, "arg")).collect());
            all.into_iter().map(move |part| (n, part))
        };
        let mut parts: Vec<(usize, Part)> = texts.iter().enumerate().flat_map(of).collect();
        // What is made of variables alone says nothing.
        parts.retain(|(n, part)| {
            let within = |range: &Range<usize>| range.start.max(part.range.start) < range.end.min(part.range.end);
            literals(texts[*n]).iter().any(within)
        });
        let program = entry.get("command").and_then(Value::as_str).unwrap_or_default();
        let by_environment = ByEnvironment::of(program, &texts);
        let mut env = entry.get("env").and_then(Value::as_object).cloned().unwrap_or_default();
        let is_set = |name: &str| env.contains_key(name);
        let has_variable = self.replaces != Replaces::Nothing
            && texts.iter().any(|arg| variables_in(arg).any(|name| !is_set(name) && !is_place(name)));
        let mut new = env.clone();
        let taken = by_environment.filter(|_| !has_variable).and_then(|way| way.take(&args, &parts, &mut new));
        if let Some(taken) = taken {
            args = taken;
            env = new;
        } else if has_variable || !parts.is_empty() {
            entry.insert("expandArgs".to_owned(), json!(true));
            for (n, arg) in args.iter_mut().enumerate() {
                let parts: Vec<Part> = parts.iter().filter(|(of, _)| *of == n).map(|(_, part)| part.clone()).collect();
                *arg = self.moved(arg, parts, "arg");
            }
        }
        entry.insert("args".to_owned(), json!(args));
        if !env.is_empty() {
            entry.insert("env".to_owned(), Value::Object(env));
        }
    }

    /// Sets what the entry needs and nothing sets, for a person to fill in.
    fn lacking(&mut self, entry: &Map<String, Value>) -> Result<(), String> {
        let mut needed = Vec::new();
        let mut editors = None;
        let expands = entry.get("expandArgs") == Some(&json!(true));
        let texts = entry
            .iter()
            .filter(|(key, _)| !["command", "tools"].contains(&key.as_str()) && (*key != "args" || expands));
        for (_, value) in texts {
            each_text(&mut value.clone(), &mut |text| match expand(text, |name| {
                self.variables.get(name).or_else(|| is_place(name).then(String::new))
            }) {
                Err(ExpandError::Unset(names)) => needed.extend(names),
                Err(ExpandError::Editor(kind)) => editors = Some(kind),
                Err(ExpandError::Malformed | ExpandError::Input) | Ok(_) => {}
            });
        }
        if let Some(kind) = editors {
            return Err(format!("has ${{{kind}…}}, which only an editor replaces"));
        }
        for name in needed {
            self.variables.set(&name, "", self.server);
        }
        Ok(())
    }
}

/// A program that takes what stands in its arguments from its environment, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ByEnvironment {
    /// `docker run -e NAME`: without a value it is that of docker's own environment.
    Docker,
    /// `mcp-remote` replaces `${NAME}` in its headers.
    McpRemote,
}

impl ByEnvironment {
    fn of(program: &str, args: &[&str]) -> Option<Self> {
        let name = program.rsplit(['/', '\\']).next().unwrap_or_default();
        let is_remote = |text: &str| text == "mcp-remote" || text.starts_with("mcp-remote@");
        if ["docker", "podman", "nerdctl", "docker.exe", "podman.exe"].contains(&name) {
            Some(ByEnvironment::Docker)
        } else if is_remote(name) || args.iter().any(|arg| is_remote(arg)) {
            Some(ByEnvironment::McpRemote)
        } else {
            None
        }
    }

    /// The arguments with all their secrets in `env`; `None` where that is not possible.
    fn take(self, args: &[String], parts: &[(usize, Part)], env: &mut Map<String, Value>) -> Option<Vec<String>> {
        let mut args = args.to_vec();
        let mut done = None;
        for (n, part) in parts.iter().rev() {
            // What follows `-e NAME=` is one value, whatever parts it has.
            if self == ByEnvironment::Docker && done.replace(*n) == Some(*n) {
                continue;
            }
            let before = n.checked_sub(1).and_then(|before| args.get(before)).cloned().unwrap_or_default();
            let arg = args.get(*n)?.clone();
            let (name, value, rest) = match self {
                ByEnvironment::Docker => {
                    let of_option = ["-e", "--env"].contains(&before.as_str());
                    let pair = if of_option { Some(arg.as_str()) } else { arg.strip_prefix("--env=") };
                    let (name, value) = pair?.split_once('=')?;
                    let rest = if of_option { name.to_owned() } else { format!("--env={name}") };
                    (name.to_owned(), value.to_owned(), rest)
                }
                ByEnvironment::McpRemote => {
                    // The last part of a header comes first, so those before it are still where they were.
                    let name = screaming(&part.name);
                    let value = arg.get(part.range.clone()).filter(|_| before == "--header")?.to_owned();
                    let mut rest = arg.clone();
                    rest.replace_range(part.range.clone(), &format!("${{{name}}}"));
                    (name, value, rest)
                }
            };
            if env.get(&name).is_some_and(|there| there.as_str() != Some(&value)) {
                return None;
            }
            env.insert(name, json!(value));
            args[*n] = rest;
        }
        Some(args)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn moved(entry: Value, replaces: Replaces) -> (Value, Vec<(String, String)>) {
        let known = |name: &str| (name == "HOME").then(|| "/home/u".to_owned());
        let mut variables = Variables::new(&known, &[]);
        let mut made = entry.as_object().unwrap().clone();
        secrets("my-db", &mut made, replaces, &mut variables, &mut Vec::new()).unwrap();
        let made = Value::Object(made);
        if replaces == Replaces::Braces {
            assert_eq!(
                variables.expanded(&json!({"env": made["env"], "headers": made["headers"], "url": made["url"]})),
                variables.expanded(&json!({"env": entry["env"], "headers": entry["headers"], "url": entry["url"]})),
                "the same is meant"
            );
        }
        (made, variables.added.into_iter().map(|added| (added.name, added.value.reveal().to_owned())).collect())
    }

    #[test]
    fn values_that_may_be_secret_become_variables_named_after_their_server() {
        let (made, added) = moved(
            json!({"url": "https://u:p4ss@h/?key=abc", "headers": {"Authorization": "Bearer xyz", "Accept": "text/plain"},
                   "env": {"MY_TOKEN": "t1", "API_KEY": "t2", "PORT": "80", "X": "a${HOME}b-s3cr3t9", "Y": "${API:-s3cr3t}"}}),
            Replaces::Braces,
        );
        assert_eq!(made["url"], "https://u:${MY_DB_PASSWORD}@h/?key=${MY_DB_KEY}");
        assert_eq!(made["headers"], json!({"Authorization": "Bearer ${MY_DB_AUTHORIZATION}", "Accept": "text/plain"}));
        assert_eq!(made["env"]["MY_TOKEN"], "${MY_TOKEN}");
        assert_eq!(made["env"]["API_KEY"], "${MY_DB_API_KEY}");
        assert_eq!((&made["env"]["PORT"], &made["env"]["Y"]), (&json!("80"), &json!("${API:-${MY_DB_Y}}")));
        assert!(added.contains(&("MY_DB_KEY".to_owned(), "abc".to_owned())), "{added:?}");
        let shown = made.to_string();
        for (_, value) in added {
            assert!(!shown.contains(&value), "{value} in {shown}");
        }
    }

    #[test]
    fn what_is_no_variable_where_it_stands_is_none_here() {
        let (made, added) =
            moved(json!({"env": {"X": "${NOT}"}, "command": "x", "args": ["${NOT}"]}), Replaces::Nothing);
        assert_eq!(made, json!({"env": {"X": "${MY_DB_X}"}, "command": "x", "args": ["${NOT}"]}));
        assert_eq!(added, [("MY_DB_X".to_owned(), "${NOT}".to_owned())]);
    }

    #[test]
    fn what_nothing_sets_is_there_to_be_filled_in() {
        let (made, added) = moved(json!({"env": {"X": "${NOT}", "Y": "${env:HOME}"}}), Replaces::Braces);
        assert_eq!(made, json!({"env": {"X": "${NOT}", "Y": "${env:HOME}"}}));
        assert_eq!(added, [("NOT".to_owned(), String::new())]);
    }

    #[test]
    fn secrets_of_a_command_line_go_into_the_environment_where_the_program_takes_them_from_there() {
        let docker =
            json!({"command": "docker", "args": ["run", "-i", "-e", "API_KEY=abc", "--env=T_TOKEN=def", "mcp/x"]});
        let (made, added) = moved(docker, Replaces::Nothing);
        assert_eq!(made["args"], json!(["run", "-i", "-e", "API_KEY", "--env=T_TOKEN", "mcp/x"]));
        assert_eq!(made["env"], json!({"T_TOKEN": "${MY_DB_T_TOKEN}", "API_KEY": "${MY_DB_API_KEY}"}));
        assert_eq!((made.get("expandArgs"), added.len()), (None, 2));
        let remote =
            json!({"command": "npx", "args": ["mcp-remote", "https://h/", "--header", "Authorization: Bearer abc"]});
        let own =
            json!({"command": "mcp-remote", "args": ["https://h/", "--header", "X-Key:${K}"], "env": {"K": "s3cret"}});
        let (made, added) = moved(own, Replaces::Nothing);
        assert_eq!((&made["args"][2], &*added[0].1, made.get("expandArgs")), (&json!("X-Key:${K}"), "s3cret", None));
        // Of several parts in one argument none stays, and none has all be replaced in the command line.
        let several =
            json!({"command": "docker", "args": ["run", "-e", "DSN=postgres://u:s3cretA1@h/?key=s3cretB2", "mcp/x"]});
        let (made, _) = moved(several, Replaces::Nothing);
        let want = json!({"command": "docker", "args": ["run", "-e", "DSN", "mcp/x"],
            "env": {"DSN": "postgres://u:${MY_DB_PASSWORD}@h/?key=${MY_DB_KEY}"}});
        assert_eq!(made, want);
        let args = ["--header".to_owned(), "A: one two".to_owned()];
        let part = |range, name: &str| (1, Part { range, name: name.to_owned() });
        let mut env = Map::new();
        let taken = ByEnvironment::McpRemote.take(&args, &[part(3..6, "x"), part(7..10, "y")], &mut env).unwrap();
        assert_eq!((&*taken[1], Value::Object(env)), ("A: ${X} ${Y}", json!({"Y": "two", "X": "one"})));
        let (made, _) = moved(remote, Replaces::Nothing);
        assert_eq!(made["args"][3], "Authorization: Bearer ${AUTHORIZATION}");
        assert_eq!((&made["env"], made.get("expandArgs")), (&json!({"AUTHORIZATION": "${MY_DB_AUTHORIZATION}"}), None));
    }

    #[test]
    fn others_are_replaced_in_the_command_line_which_is_said() {
        let (made, added) = moved(json!({"command": "x", "args": ["--api-key", "abc", "${lit}"]}), Replaces::Nothing);
        assert_eq!(
            made,
            json!({"command": "x", "args": ["--api-key", "${MY_DB_API_KEY}", "${MY_DB_ARG}"], "expandArgs": true})
        );
        assert_eq!(added.len(), 2);
        let (made, added) =
            moved(json!({"command": "x", "args": ["${userHome}/a", "--key", "${KEY}"]}), Replaces::Braces);
        assert_eq!(made, json!({"command": "x", "args": ["${userHome}/a", "--key", "${KEY}"], "expandArgs": true}));
        assert_eq!(added, [("KEY".to_owned(), String::new())]);
        // However deep its defaults are.
        let deep = "${B:-".repeat(100_000);
        let (made, added) = moved(json!({"command": "x", "args": ["--key", deep]}), Replaces::Braces);
        assert_eq!((&made["args"][1], added.len()), (&json!("${MY_DB_ARG}"), 1));
    }

    #[test]
    fn a_variable_that_holds_the_value_is_used_and_one_that_holds_another_is_not() {
        let known = |name: &str| match name {
            "A_KEY" => Some("other".to_owned()),
            "A_KEY_2" => Some("same".to_owned()),
            _ => None,
        };
        let mut variables = Variables::new(&known, &[]);
        assert_eq!(variables.hold("a", "KEY", "same"), "A_KEY_2");
        assert_eq!(variables.hold("a", "KEY", "third"), "A_KEY_3");
        assert_eq!(variables.hold("mcp", "ENDPOINT", "x"), "MCP_ENDPOINT_VALUE");
        assert_eq!(variables.hold("日本", "a b", "x"), "SERVER_A_B");
        assert_eq!((screaming("apiKey"), screaming("XAPIKey-2")), ("API_KEY".to_owned(), "XAPIKEY_2".to_owned()));
        assert_eq!(variables.added.len(), 3);
    }
}
