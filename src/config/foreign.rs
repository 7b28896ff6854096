//! The servers of another program's file, as entries of ours: what each key becomes, and what is left out, with the reason. Pure.
//!
//! [`super::keys`] knows the keys; here they are written anew, so that a config that is kept has our names only.

use std::path::{Path, PathBuf};

use http::{HeaderName, HeaderValue};
use jsonc_parser::ast;
use serde_json::{Map, Value, json};

use super::Environment;
use super::auth;
use super::editor;
use super::expand::is_name;
use super::file::{self, Transport};
use super::keys::{self, Taken};
use super::reader::Reader;
use super::remote::RESERVED;
use crate::disk::joined;
use crate::endpoint::RemoteUrl;
use crate::error::Problems;
use crate::words::{brief, quoted};

/// Which variables a program replaces in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replaces {
    /// None.
    Nothing,
    /// `${NAME}`, and those of editors.
    Braces,
    /// Also `$NAME`.
    Dollar,
    /// `{env:NAME}`.
    Env,
}

/// How a program writes its file, where programs differ.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Habits {
    pub(crate) replaces: Replaces,
    /// The unit in which its `timeout` is counted, if that is how long a call may take.
    pub(crate) timeout: Option<&'static str>,
}

/// A list of servers in a file.
#[derive(Debug)]
pub(crate) struct List {
    /// The folder from which its servers start, if the file says so.
    pub(crate) folder: Option<PathBuf>,
    /// Its servers by name, each as written.
    pub(crate) servers: Vec<(String, Value)>,
}

/// An entry of ours, made of another program's.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    pub(crate) entry: Map<String, Value>,
    /// The keys that are left out, each with the reason.
    pub(crate) left: Vec<(String, String)>,
}

/// Parses a file: JSON with comments and trailing commas.
///
/// # Errors
/// Why it is none, with line and column.
pub(crate) fn parsed(name: &str, text: &str) -> Result<Value, Problems> {
    let mut reader = Reader::new(name, text);
    match reader.parse() {
        Some(value) => Ok(to_json(&value)),
        None => Err(Problems { mistakes: reader.mistakes, ..Problems::default() }),
    }
}

fn to_json(value: &ast::Value<'_>) -> Value {
    match value {
        ast::Value::StringLit(text) => json!(text.value),
        ast::Value::NumberLit(number) => serde_json::from_str(number.value).unwrap_or_else(|_| json!(number.value)),
        ast::Value::BooleanLit(boolean) => json!(boolean.value),
        ast::Value::NullKeyword(_) => Value::Null,
        ast::Value::Array(list) => list.elements.iter().map(to_json).collect(),
        ast::Value::Object(object) => {
            Value::Object(object.properties.iter().map(|p| (p.name.as_str().to_owned(), to_json(&p.value))).collect())
        }
    }
}

/// The lists of servers in a file, and the keys at its top that are about something else. Claude Code's file has a list for each project.
pub(crate) fn lists(file: &Value) -> (Vec<List>, Vec<String>) {
    let (mut lists, mut others) = (Vec::new(), Vec::new());
    for (key, value) in file.as_object().into_iter().flatten() {
        if keys::names_servers(key) || key == "mcp.servers" {
            lists.push(list(value, None));
        } else if key == "mcp" {
            let inner = value.get("servers").filter(|inner| inner.is_object() && inner.get("command").is_none());
            let found = list(inner.unwrap_or(value), None);
            // Gemini CLI says there which servers run.
            if found.servers.iter().all(|(_, server)| server.is_object()) {
                lists.push(found);
            } else {
                others.push(key.clone());
            }
        } else if key == "projects" {
            let of = |(folder, project): (&String, &Value)| {
                Some(list(project.get("mcpServers")?, Some(PathBuf::from(folder))))
            };
            lists.extend(value.as_object().into_iter().flatten().filter_map(of));
        } else {
            others.push(key.clone());
        }
    }
    lists.retain(|list| !list.servers.is_empty());
    (lists, others)
}

fn list(value: &Value, folder: Option<PathBuf>) -> List {
    let servers = value.as_object().into_iter().flatten().map(|(name, server)| (name.clone(), server.clone()));
    List { folder, servers: servers.collect() }
}

/// The entry of ours for a server as another program has it. `folder`: from where its paths start, if that is known.
///
/// # Errors
/// Why there can be none.
pub(crate) fn entry(
    written: &Value,
    habits: Habits,
    folder: Option<&Path>,
    env: &Environment,
) -> Result<Entry, String> {
    let Some(written) = written.as_object() else { return Err("is no object".to_owned()) };
    let mut made = Entry::default();
    for (key, value) in written {
        made.take(key, value, habits);
    }
    if !["command", "url", "serverUrl"].iter().any(|key| made.entry.contains_key(*key)) {
        return Err("has neither a command nor a url: how it is reached is not in this file".to_owned());
    }
    let place = |text: &str| filled(text, habits.replaces, folder, env);
    for (key, value) in &mut made.entry {
        if key != "tools" {
            each_text(value, &mut |text| *text = place(text));
        }
    }
    made.start_in(folder, env);
    Ok(made)
}

impl Entry {
    /// Takes one key over, or says why not.
    fn take(&mut self, key: &str, value: &Value, habits: Habits) {
        // Zed had program, arguments and variables in `command`.
        if let ("command", Some(command)) = (key, value.as_object()) {
            for (key, value) in command {
                self.take(if key == "path" { "command" } else { key }, value, habits);
            }
            return;
        }
        match (keys::taken(key, value.as_str().unwrap_or_default()), value) {
            (_, Value::Null) => self.leave(key, "says nothing".to_owned()),
            (Taken::Left(why), _) => self.leave(key, why),
            (Taken::As("timeout"), Value::Number(number)) => match habits.timeout {
                Some(unit) => self.put(key, "timeout", json!(format!("{number}{unit}"))),
                None => self.leave(key, "has no unit; a time is written \"timeout\": \"60s\"".to_owned()),
            },
            (Taken::Time(ours), Value::Number(number)) => {
                self.put(key, ours, json!(keys::time_of_number(key, &number.to_string())));
            }
            (Taken::Time(ours), _) => self.put(key, ours, value.clone()),
            (Taken::As("auth"), _) if !is_our_auth(value) => {
                let why = "a person logs in by \"auth\": {\"login\": {}}, and mcp-pipe login with the server's name";
                self.leave(key, why.to_owned());
            }
            (Taken::As("command"), Value::String(line)) if words(line).is_some() => {
                self.take(key, &json!(words(line)), habits);
            }
            (Taken::As("command"), Value::Array(line)) => {
                let mut line = line.iter().cloned();
                if let Some(program) = line.next() {
                    self.put(key, "command", program);
                    // What the line has comes before `args`, wherever those stand.
                    self.arguments(line, true);
                }
            }
            (Taken::As("args"), _) => self.arguments(items(value.clone()), false),
            (Taken::As(ours @ ("env" | "headers")), Value::Object(members)) => {
                let mut texts = Map::new();
                for (name, value) in members {
                    if ours == "headers" && RESERVED.contains(&name.to_ascii_lowercase().as_str()) {
                        self.leave(&format!("{key}.{name}"), "is a header that mcp-pipe sets itself".to_owned());
                    } else if value.is_null() {
                        self.leave(&format!("{key}.{name}"), "says nothing".to_owned());
                    } else {
                        texts.insert(name.clone(), as_text(value.clone()));
                    }
                }
                if !texts.is_empty() {
                    self.put(key, ours, Value::Object(texts));
                }
            }
            (Taken::As(ours), _) => self.put(key, ours, value.clone()),
        }
    }

    fn leave(&mut self, key: &str, why: String) {
        self.left.push((key.to_owned(), why));
    }

    /// Adds arguments, before or behind those that there are.
    fn arguments(&mut self, more: impl IntoIterator<Item = Value>, are_first: bool) {
        let mut more = more.into_iter().map(as_text).peekable();
        if are_first && more.peek().is_none() {
            return;
        }
        let args = self.entry.entry("args").or_insert_with(|| json!([]));
        if let Some(args) = args.as_array_mut() {
            let at = if are_first { 0 } else { args.len() };
            drop(args.splice(at..at, more));
        }
    }

    /// Has a key of ours hold a value, for another program's `key`.
    fn put(&mut self, key: &str, ours: &str, value: Value) {
        if let Some((outer, inner)) = ours.split_once('.') {
            let tools = self.entry.entry(outer).or_insert_with(|| json!({}));
            // A list there is the same as `allow`.
            if tools.is_array() {
                *tools = json!({ "allow": tools.take() });
            }
            if let Some(tools) = tools.as_object_mut() {
                let all = tools.entry(inner).or_insert_with(|| json!([]));
                let both = items(all.take()).into_iter().chain(items(value)).collect();
                *all = Value::Array(both);
            }
        } else if self.entry.contains_key(ours) {
            self.leave(key, format!("says the same as {ours} beside it"));
        } else {
            self.entry.insert(ours.to_owned(), value);
        }
    }

    /// Has the server start where it did, and with no more of the environment than it needs: other servers' tokens will be in `.env`.
    fn start_in(&mut self, folder: Option<&Path>, env: &Environment) {
        let Some(command) = self.entry.get("command").and_then(Value::as_str).map(str::to_owned) else { return };
        if let Some(folder) = folder {
            let absolute = |text: &str| json!(joined(folder, text).display().to_string());
            if command.contains(['/', '\\']) && Path::new(&command).is_relative() {
                self.entry.insert("command".to_owned(), absolute(&command));
            }
            self.entry.entry("cwd").or_insert_with(|| json!(""));
            for key in ["cwd", "envFile"] {
                let mut start = |text: &mut String| {
                    if !text.starts_with("${") {
                        *text = joined(folder, &*text).display().to_string();
                    }
                };
                self.entry.get_mut(key).into_iter().for_each(|value| each_text(value, &mut start));
            }
        }
        // Nothing replaces a variable in the name of a program here.
        if let Some(filled) = of_environment(&command, env) {
            self.entry.insert("command".to_owned(), json!(filled));
        }
        self.entry.entry("inheritEnv").or_insert(json!(false));
    }
}

/// The program and the arguments of a command that is written as one line, with quotes as for a shell. `None` if it is a program alone,
/// the path of which may have blanks.
fn words(line: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            Some(_) | None => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    let first = words.first().filter(|_| words.len() > 1 && quote.is_none())?;
    let is_argument = |word: &String| word.starts_with('-') || word.contains('=');
    (!first.contains(['/', '\\']) || words[1..].iter().any(is_argument)).then_some(words)
}

/// A program's path with the variables of the environment in it replaced; `None` if there are none.
fn of_environment(command: &str, env: &Environment) -> Option<String> {
    command.contains("${").then(|| super::expand::expand(command, |name| env.get(name).map(str::to_owned)).ok())?
}

fn is_our_auth(value: &Value) -> bool {
    value.as_object().is_some_and(|auth| auth.keys().all(|key| auth::WAYS.contains(&key.as_str())))
}

fn items(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        Value::Null => Vec::new(),
        one @ (Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Object(_)) => vec![one],
    }
}

/// A number, or true and false, as the text that a program gets.
fn as_text(value: Value) -> Value {
    match value {
        Value::Number(number) => json!(number.to_string()),
        Value::Bool(truth) => json!(truth.to_string()),
        other @ (Value::String(_) | Value::Null | Value::Array(_) | Value::Object(_)) => other,
    }
}

/// Calls `edit` with each text in a value.
pub(crate) fn each_text(value: &mut Value, edit: &mut dyn FnMut(&mut String)) {
    match value {
        Value::String(text) => edit(text),
        Value::Array(items) => items.iter_mut().for_each(|item| each_text(item, edit)),
        Value::Object(members) => members.values_mut().for_each(|member| each_text(member, edit)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A text with the variables in it as they are written here: places by what they hold, if it is known from where they start.
fn filled(text: &str, replaces: Replaces, folder: Option<&Path>, env: &Environment) -> String {
    match replaces {
        Replaces::Nothing => text.to_owned(),
        Replaces::Braces => places(text, folder, env),
        Replaces::Dollar => places(&with_braces(text, "$", ""), folder, env),
        Replaces::Env => with_braces(text, "{env:", "}"),
    }
}

/// The places of editors.
fn places(text: &str, folder: Option<&Path>, env: &Environment) -> String {
    match folder {
        Some(folder) => editor::fill(text, folder, env),
        None => text.to_owned(),
    }
}

/// A text with `${NAME}` for each name between `before` and `behind`.
fn with_braces(text: &str, before: &str, behind: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(before) {
        let inside = &rest[at + before.len()..];
        let end = inside.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(inside.len());
        let (name, after) = inside.split_at(end);
        out.push_str(&rest[..at]);
        match after.strip_prefix(behind).filter(|_| is_name(name)) {
            Some(after) => {
                out.extend(["${", name, "}"]);
                rest = after;
            }
            None => {
                out.push_str(before);
                rest = inside;
            }
        }
    }
    out + rest
}

/// What mcp-pipe says of an entry of ours: why it can't be used, or what is odd about it.
///
/// # Errors
/// The first mistake, or that mcp-pipe does not speak to such a server.
pub(crate) fn judge(name: &str, entry: &Map<String, Value>) -> Result<Vec<String>, String> {
    let text = json!({ "mcpServers": { name: entry } }).to_string();
    let reading = file::read("", &text);
    let told = |problem: &crate::error::Problem| {
        let key = problem.place.spot().map_or("", |spot| &spot.path);
        let key = key.split_once(name).map_or(key, |(_, key)| key.trim_start_matches(['.', '"', ']']));
        let remedy = if problem.remedy.is_empty() { String::new() } else { format!("; {}", problem.remedy) };
        format!("{key} {}{remedy}", problem.what).trim_start().to_owned()
    };
    if let Some(mistake) = reading.mistakes.first() {
        return Err(told(mistake));
    }
    match reading.file.entries.first().map(|entry| &entry.kind) {
        Some(Transport::Unspoken { by, .. }) if by.value == "url" => {
            Err("has the address of a WebSocket as its url, and a remote server is reached by http:// or https://"
                .to_owned())
        }
        Some(Transport::Unspoken { by, .. }) => {
            Err(format!("is reached in a way that mcp-pipe does not speak ({})", quoted(&brief(&by.value))))
        }
        Some(Transport::Unknown) if entry.get("disabled") != Some(&json!(true)) => {
            Err(reading.warnings.first().map_or_else(|| "can't be reached".to_owned(), told))
        }
        Some(Transport::Stdio(_) | Transport::Remote(_) | Transport::Unknown) | None => {
            Ok(reading.warnings.iter().map(told).collect())
        }
    }
}

/// Whether an entry in which each variable is replaced says nothing that would keep mcp-pipe from starting.
///
/// # Errors
/// What it says, without its value.
pub(crate) fn usable(entry: &Value) -> Result<(), String> {
    let text = |key: &str| entry.get(key).and_then(Value::as_str);
    if let Some(Err(error)) = text("url").or(text("serverUrl")).map(str::parse::<RemoteUrl>) {
        return Err(format!("url {error}"));
    }
    if text("command").is_some_and(|command| command.contains(char::is_control)) {
        return Err("command has a control character, as JSON makes of one backslash".to_owned());
    }
    for (name, value) in entry.get("headers").and_then(Value::as_object).into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        if HeaderName::from_bytes(name.as_bytes()).is_err() || HeaderValue::from_str(value).is_err() {
            return Err(format!("headers.{} can't be sent", brief(name)));
        }
    }
    let names = entry.get("env").and_then(Value::as_object).into_iter().flatten().map(|(name, _)| name);
    match names.into_iter().find(|name| name.is_empty() || name.contains(['=', '\0'])) {
        Some(name) => Err(format!("env.{} is no name for a variable", brief(name))),
        None => Ok(()),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    const PLAIN: Habits = Habits { replaces: Replaces::Nothing, timeout: None };

    fn made(written: &Value, habits: Habits, folder: Option<&str>) -> (Value, Vec<String>) {
        let env: Environment = [("HOME", "/home/u")].into_iter().collect();
        let Entry { entry, left } = entry(written, habits, folder.map(Path::new), &env).unwrap();
        (Value::Object(entry), left.into_iter().map(|(key, _)| key).collect())
    }

    #[test]
    fn keys_of_others_become_ours_and_what_is_left_out_is_told() {
        let gemini = Habits { replaces: Replaces::Dollar, timeout: Some("ms") };
        let opencode = Habits { replaces: Replaces::Env, timeout: None };
        for (written, habits, want, left) in [
            (
                json!({"command": ["bun", "x"], "args": ["y"], "environment": {"A": "{env:B}"}, "enabled": true, "type": "local"}),
                opencode,
                json!({"command": "bun", "args": ["x", "y"], "env": {"A": "${B}"}, "enabled": true, "type": "local", "inheritEnv": false}),
                vec![],
            ),
            (
                json!({"httpUrl": "https://h/", "headers": {"A": "$B"}, "timeout": 5000, "trust": true, "includeTools": ["a"], "excludeTools": ["b"]}),
                gemini,
                json!({"url": "https://h/", "headers": {"A": "${B}"}, "timeout": "5000ms", "tools": {"allow": ["a"], "deny": ["b"]}}),
                vec!["trust"],
            ),
            (
                json!({"command": {"path": "p", "args": ["a"], "env": {"N": 1}}, "source": "custom", "settings": {}}),
                PLAIN,
                json!({"command": "p", "args": ["a"], "env": {"N": "1"}, "inheritEnv": false}),
                vec!["source", "settings"],
            ),
            (
                json!({"serverUrl": "https://h/", "autoApprove": [], "zzz": 1, "env": null, "timeout": 60, "auth": {"CLIENT_ID": "x"}}),
                PLAIN,
                json!({"serverUrl": "https://h/"}),
                vec!["autoApprove", "zzz", "env", "timeout", "auth"],
            ),
        ] {
            assert_eq!(made(&written, habits, None), (want, left.into_iter().map(str::to_owned).collect()));
        }
        for (written, want) in
            [(json!([]), "is no object"), (json!({"source": "extension", "settings": {}}), "neither a command")]
        {
            let refused = entry(&written, PLAIN, None, &Environment::default()).unwrap_err();
            assert!(refused.contains(want), "{refused}");
        }
    }

    #[test]
    fn a_command_of_one_line_is_a_program_with_arguments() {
        for (line, want) in [
            ("npx -y x --api-key 'a b'", Some(vec!["npx", "-y", "x", "--api-key", "a b"])),
            ("/usr/bin/env A=\"b c\" npx", Some(vec!["/usr/bin/env", "A=b c", "npx"])),
            ("/Applications/My App/run", None),
            ("C:\\Program Files\\x.exe", None),
            ("npx", None),
            ("npx 'open", None),
        ] {
            let want: Option<Vec<String>> = want.map(|words| words.into_iter().map(str::to_owned).collect());
            assert_eq!(words(line), want, "{line}");
        }
        // The order of keys changes nothing, nor does a number, and keys stay in their order.
        for (written, keys) in [
            (json!({"args": ["z", 5], "env": {}, "cwd": "/", "command": "npx -y"}), ["args", "cwd", "command"]),
            (json!({"command": "npx -y", "env": {}, "cwd": "/", "args": ["z", 5]}), ["command", "args", "cwd"]),
            (json!({"command": ["npx", "-y"], "args": ["z", 5], "cwd": "/"}), ["command", "args", "cwd"]),
            (
                json!({"command": {"path": "npx", "args": ["-y"]}, "cwd": "/", "args": ["z", 5]}),
                ["command", "args", "cwd"],
            ),
        ] {
            let (entry, _) = made(&written, PLAIN, None);
            let want = json!({"command": "npx", "args": ["-y", "z", "5"], "cwd": "/", "inheritEnv": false});
            assert_eq!(entry, want, "{written}");
            let first: Vec<&str> = entry.as_object().unwrap().keys().take(3).map(String::as_str).collect();
            assert_eq!(first, keys, "{written}");
        }
        let (entry, _) = made(&json!({"command": ["x", 1, true]}), PLAIN, None);
        assert_eq!(entry, json!({"command": "x", "args": ["1", "true"], "inheritEnv": false}));
    }

    #[test]
    fn a_server_of_a_project_starts_where_it_did() {
        let editor = Habits { replaces: Replaces::Braces, timeout: None };
        let written = json!({"command": "./bin/x", "args": ["${workspaceFolder}/a", "${KEY}"], "envFile": ".env"});
        let want = json!({
            "command": "/p/bin/x", "args": ["/p/a", "${KEY}"], "envFile": "/p/.env", "cwd": "/p", "inheritEnv": false
        });
        assert_eq!(made(&written, editor, Some("/p")).0, want);
        let written = json!({"command": "x", "cwd": "/", "envFile": ["a", "${userHome}/b", "${K}/c"]});
        assert_eq!(made(&written, editor, Some("/p")).0["envFile"], json!(["/p/a", "/home/u/b", "${K}/c"]));
        let written = json!({"command": "${HOME}/x", "cwd": "sub"});
        let want = json!({"command": "/home/u/x", "cwd": "/p/sub", "inheritEnv": false});
        assert_eq!(made(&written, editor, Some("/p")).0, want);
        assert_eq!(made(&json!({"command": "x"}), editor, None).0, json!({"command": "x", "inheritEnv": false}));
    }

    #[test]
    fn servers_are_found_wherever_programs_have_them() {
        for (file, want, others) in [
            (json!({"mcpServers": {"a": {}}, "theme": 1}), vec!["a"], vec!["theme"]),
            (json!({"servers": {"a": {}}, "inputs": []}), vec!["a"], vec!["inputs"]),
            (json!({"mcp": {"servers": {"a": {}, "b": {}}}}), vec!["a", "b"], vec![]),
            (json!({"mcp": {"a": {"command": ["x"]}}}), vec!["a"], vec![]),
            (json!({"mcpServers": {"a": {}}, "mcp": {"allowed": ["a"]}}), vec!["a"], vec!["mcp"]),
            (json!({"context_servers": {"a": {}}}), vec!["a"], vec![]),
            (json!({"projects": {"/p": {"mcpServers": {"a": {}}}, "/q": {}}, "mcpServers": {}}), vec!["a"], vec![]),
        ] {
            let (found, left) = lists(&file);
            let names: Vec<&str> = found.iter().flat_map(|list| &list.servers).map(|(name, _)| &**name).collect();
            assert_eq!((names, left), (want, others.into_iter().map(str::to_owned).collect()), "{file}");
        }
    }

    #[test]
    fn an_entry_that_could_not_be_used_is_judged_so() {
        let of = |entry: Value| judge("a", entry.as_object().unwrap());
        assert_eq!(of(json!({"command": "x"})), Ok(Vec::new()));
        assert!(of(json!({"command": 5})).unwrap_err().contains("is a number"));
        assert!(of(json!({"url": "wss://h/"})).unwrap_err().contains("by http:// or https://"));
        let refused = of(json!({"url": "https://h/", "type": "ws"})).unwrap_err();
        assert!(refused.contains("does not speak (") && refused.contains("ws"), "{refused}");
        assert!(of(json!({"url": "https://h/", "type": "openapi"})).unwrap_err().contains("openapi"));
        assert_eq!(
            usable(&json!({"url": "https://h/", "headers": {"A": "b"}, "command": "x", "env": {"A": ""}})),
            Ok(())
        );
        for (entry, want) in [
            (json!({"url": "/mcp"}), "url "),
            (json!({"command": "C:\tx"}), "command"),
            (json!({"headers": {"a b": "c"}}), "headers.a b"),
            (json!({"headers": {"a": "s3cret\n"}}), "headers.a"),
            (json!({"command": "x", "env": {"A=B": ""}}), "env.A=B"),
        ] {
            let why = usable(&entry).unwrap_err();
            assert!(why.starts_with(want) && !why.contains("s3cret"), "{why}");
        }
    }
}
