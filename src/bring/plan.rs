//! What becomes of a config when servers of other programs are taken over: each of them is told, and each key that is left out. Pure.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::client;
use super::edit::{self, Put};
use super::moved::{self, Added, Variables};
use crate::config::{self, ENDPOINT, Environment, ExpandError, Habits, List};
use crate::disk::joined;
use crate::endpoint::{is_placeholder, looks_like_endpoint};
use crate::secrecy::{Secret, address, apart};

/// A file of another program, as read.
#[derive(Debug)]
pub(crate) struct Source {
    /// What the program is called on the command line.
    pub(crate) program: &'static str,
    pub(crate) habits: Habits,
    pub(crate) path: PathBuf,
    /// From where its paths start, if that is known.
    pub(crate) folder: Option<PathBuf>,
    pub(crate) value: Value,
}

/// What counts now.
pub(crate) struct Present<'a> {
    /// The servers of the config.
    pub(crate) servers: Map<String, Value>,
    /// Whether it names endpoints.
    pub(crate) has_endpoints: bool,
    /// The folder of the config.
    pub(crate) folder: &'a Path,
    pub(crate) env: &'a Environment,
    /// The variables of `.env`.
    pub(crate) held: Vec<(&'a str, &'a str)>,
    /// Whether a file is there.
    pub(crate) exists: &'a dyn Fn(&Path) -> bool,
    /// Whether a server is taken over under another name where its own is taken.
    pub(crate) both: bool,
}

/// What becomes of one server.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    /// It is added.
    New(Map<String, Value>),
    /// It is in the config already.
    Same,
    /// Another one has its name; the keys in which the two differ.
    Taken(Vec<String>),
    /// It can't be taken over.
    Unusable(String),
}

/// One server of another program.
#[derive(Debug)]
pub(crate) struct Step {
    /// Which of the files it is in.
    pub(crate) source: usize,
    /// What it is called there.
    pub(crate) written: String,
    /// What it is called in the config.
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
    /// The variables that hold what was taken out of it.
    pub(crate) variables: Vec<String>,
    /// The keys that are left out, each with the reason.
    pub(crate) left: Vec<(String, String)>,
}

/// What becomes of all.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    pub(crate) added: Vec<Added>,
    /// Named endpoints that are added.
    pub(crate) endpoints: Vec<(String, Value)>,
    /// What is to be said of a file beside its servers.
    pub(crate) notes: Vec<(usize, String)>,
    /// What may be seen nowhere.
    pub(crate) secrets: Vec<Secret>,
    /// What was moved into variables, also of servers that are not added.
    pub(crate) moved: Vec<Secret>,
}

impl Plan {
    /// The servers that are added, with their entries.
    pub(crate) fn new_servers(&self) -> impl Iterator<Item = (&str, &Map<String, Value>)> {
        self.steps.iter().filter_map(|step| match &step.outcome {
            Outcome::New(entry) => Some((&*step.name, entry)),
            Outcome::Same | Outcome::Taken(_) | Outcome::Unusable(_) => None,
        })
    }

    /// What is put where in the config, whose servers these keys lead to.
    pub(crate) fn puts<'a>(&'a self, list: &[&'a str]) -> Vec<Put<'a>> {
        let at = |name| list.iter().copied().chain([name]).collect();
        let servers = self.new_servers().map(|(name, entry)| (at(name), Value::Object(entry.clone())));
        let endpoints = self.endpoints.iter().map(|(name, value)| (vec!["endpoints", name], value.clone()));
        servers.chain(endpoints).collect()
    }

    /// Whether it brings an endpoint.
    pub(crate) fn has_endpoint(&self) -> bool {
        let is_it = |added: &Added| added.name == ENDPOINT && !added.value.reveal().is_empty();
        !self.endpoints.is_empty() || self.added.iter().any(is_it)
    }

    /// Whether there is anything to write.
    pub(crate) fn changes(&self) -> bool {
        self.new_servers().next().is_some() || !self.added.is_empty() || !self.endpoints.is_empty()
    }
}

/// Plans how the servers of some files are taken over. `known`: what variables hold that are set.
pub(crate) fn plan(sources: &[Source], present: &Present<'_>, known: &dyn Fn(&str) -> Option<String>) -> Plan {
    let of = |(name, value): &(&str, &str)| {
        let parts = apart::of_variable(name, value).into_iter();
        parts.filter_map(|part| value.get(part.range).map(Secret::new)).collect::<Vec<_>>()
    };
    let mut secrets: Vec<Secret> = present.held.iter().flat_map(of).collect();
    // What is a secret in one server is one in all of them, those before it, too.
    secrets.extend(knowing(sources, present, known, &secrets).moved);
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.reveal().len()));
    secrets.dedup_by(|one, other| one.reveal() == other.reveal());
    knowing(sources, present, known, &secrets)
}

/// The same with the secrets known that are to stand nowhere.
fn knowing(
    sources: &[Source],
    present: &Present<'_>,
    known: &dyn Fn(&str) -> Option<String>,
    secrets: &[Secret],
) -> Plan {
    let mut plan = Plan::default();
    let mut variables = Variables::new(known, secrets);
    let mut servers = present.servers.clone();
    for (n, source) in sources.iter().enumerate() {
        // What stays in a query, since it is plainly no secret, may be seen.
        let stays = |text: &str| text.contains('=') && apart::of_address(&format!("x://h/?{text}")).is_empty();
        let secrets = texts(&source.value).into_iter().flat_map(|text| address::in_text(&text));
        plan.secrets.extend(secrets.filter(|secret| !stays(secret.reveal())));
        let (lists, others) = config::lists(&source.value);
        let settings = source.value.get("mcpServerConfig");
        for List { folder, servers: found } in lists {
            let folder = folder.as_deref().or(source.folder.as_deref());
            for (written, value) in found {
                let value = with_switches(value, settings.and_then(|all| all.get(&written)));
                let before = variables.added.len();
                let mut left = Vec::new();
                let taken = |again: bool, variables: &mut Variables<'_>, left: &mut Vec<(String, String)>| match take(
                    source,
                    (&written, &value),
                    folder,
                    (present, again),
                    variables,
                    left,
                ) {
                    Ok(entry) => place(&written, source.program, entry, &servers, present.both, variables),
                    Err(why) => (written.clone(), Outcome::Unusable(why)),
                };
                // Another run may have taken it over: then it has its variable.
                let there = [&written, &format!("{written}-{}", source.program)];
                let again = there.iter().any(|name| present.servers.contains_key(*name));
                let (mut name, mut outcome) = taken(again, &mut variables, &mut left);
                if again && outcome != Outcome::Same {
                    variables.added.truncate(before);
                    left.clear();
                    (name, outcome) = taken(false, &mut variables, &mut left);
                }
                let new = variables.added.get(before..).unwrap_or_default();
                plan.moved.extend(new.iter().map(|added| added.value.clone()));
                if let Some(added) = new.iter().find(|added| edit::line(&added.name, added.value.reveal()).is_none()) {
                    let why = format!("the value for {} has a character that no line of .env can hold", added.name);
                    outcome = Outcome::Unusable(why);
                }
                match &outcome {
                    Outcome::New(entry) => drop(servers.insert(name.clone(), Value::Object(entry.clone()))),
                    Outcome::Same => variables.added.truncate(before),
                    Outcome::Taken(_) | Outcome::Unusable(_) => {
                        // What it would need is not added for it.
                        plan.secrets.extend(variables.added.drain(before..).map(|added| added.value));
                        left.clear();
                    }
                }
                let names = variables.added[before.min(variables.added.len())..].iter().map(|added| added.name.clone());
                plan.steps.push(Step { source: n, written, name, outcome, variables: names.collect(), left });
            }
        }
        endpoints(n, source, present, &mut plan, &mut variables);
        plan.notes.extend(beside(&source.value, &others).into_iter().map(|note| (n, note)));
    }
    plan.added = variables.added;
    plan.secrets.extend(plan.added.iter().map(|added| added.value.clone()).filter(|value| !value.reveal().is_empty()));
    plan
}

/// All texts in a value.
fn texts(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    config::each_text(&mut value.clone(), &mut |text| found.push(text.clone()));
    found
}

/// The entry of ours for a server, without secrets, or why there can be none; what is left out is told to `left`.
fn take(
    source: &Source,
    (name, value): (&str, &Value),
    folder: Option<&Path>,
    (present, again): (&Present<'_>, bool),
    variables: &mut Variables<'_>,
    left: &mut Vec<(String, String)>,
) -> Result<Map<String, Value>, String> {
    if is_itself(name, value) {
        return Err("is mcp-pipe itself".to_owned());
    }
    // Where the paths of the config start, those of the server do, too.
    let elsewhere = folder.filter(|folder| *folder != present.folder);
    let made = config::foreign_entry(value, source.habits, elsewhere, present.env)?;
    let mut entry = made.entry;
    left.extend(made.left);
    let there = [name.to_owned(), format!("{name}-{}", source.program)].map(|name| present.servers.get(&name));
    let there: Vec<String> = there.into_iter().flatten().flat_map(texts).filter(|_| again).collect();
    let own = |name: &str| there.iter().any(|text| text.contains(&format!("${{{name}}}")));
    for value in entry.values_mut() {
        config::each_text(value, &mut |text| *text = asked(text, &source.value, variables, (name, &own), left));
    }
    // A file that is named and is not there would keep all servers from starting.
    if let Some(why) = entry.get("envFile").and_then(|files| not_there(files, present, variables)) {
        entry.shift_remove("envFile");
        left.push(("envFile".to_owned(), why));
    }
    moved::secrets(name, &mut entry, source.habits.replaces, variables, left)?;
    let odd = config::judge(name, &entry)?;
    config::usable(&variables.expanded(&Value::Object(entry.clone())))?;
    left.extend(odd.into_iter().map(|what| (String::new(), what)));
    Ok(entry)
}

/// Why an `envFile`, or one of several, can't be read.
fn not_there(files: &Value, present: &Present<'_>, variables: &Variables<'_>) -> Option<String> {
    texts(files).iter().find_map(|file| match config::expand(file, |name| variables.get(name)) {
        Ok(path) if (present.exists)(&joined(present.folder, path.trim())) => None,
        Ok(_) => Some("names a file that is not there".to_owned()),
        Err(ExpandError::Unset(names)) => Some(format!("needs {}, which nothing sets", names.join(", "))),
        Err(_) => Some("has a ${ that only an editor replaces".to_owned()),
    })
}

/// Whether an entry has its program use mcp-pipe, as `mcp-pipe connect` writes it: it would start itself without end.
fn is_itself(name: &str, value: &Value) -> bool {
    let line = [&value["command"], &value["args"]].map(texts).concat();
    let program = line.first().and_then(|program| program.rsplit(['/', '\\']).next());
    let is_ours = program.is_some_and(|program| program.trim_end_matches(".exe") == client::ENTRY);
    name == client::ENTRY || (is_ours && line.get(1).is_some_and(|command| command == "stdio"))
}

/// A text in which VS Code's questions are variables, with the defaults of these questions.
fn asked(
    text: &str,
    file: &Value,
    variables: &mut Variables<'_>,
    (server, own): (&str, &dyn Fn(&str) -> bool),
    left: &mut Vec<(String, String)>,
) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, behind)) = rest.split_once("${input:") {
        let Some((id, after)) = behind.split_once('}') else { break };
        let inputs = file.get("inputs").or_else(|| file.get("mcp")?.get("inputs"));
        let input = inputs.and_then(Value::as_array).and_then(|all| all.iter().find(|input| input["id"] == *id));
        let default = input.and_then(|input| input["default"].as_str()).unwrap_or_default();
        let name = variables.ask(server, id, default, own);
        if default.is_empty() {
            left.push((String::new(), format!("${{input:{id}}} is {name} in .env, to be filled in")));
        }
        out.extend([before, "${", &name, "}"]);
        rest = after;
    }
    out + rest
}

/// The name that an entry gets in the config, and what becomes of it there.
fn place(
    written: &str,
    program: &str,
    entry: Map<String, Value>,
    servers: &Map<String, Value>,
    both: bool,
    variables: &Variables<'_>,
) -> (String, Outcome) {
    let other = format!("{written}-{program}");
    let differs = |name: &str| -> Option<Vec<String>> {
        let (there, new) = (variables.expanded(servers.get(name)?), variables.expanded(&Value::Object(entry.clone())));
        let (there, new) = (there.as_object()?, new.as_object()?);
        let keys = new.keys().chain(there.keys().filter(|key| !new.contains_key(*key)));
        Some(keys.filter(|key| there.get(*key) != new.get(*key)).cloned().collect())
    };
    match (differs(written), differs(&other)) {
        (None, _) => (written.to_owned(), Outcome::New(entry)),
        (Some(keys), _) if keys.is_empty() => (written.to_owned(), Outcome::Same),
        (Some(_), Some(keys)) if keys.is_empty() => (other, Outcome::Same),
        (Some(_), None) if both => (other, Outcome::New(entry)),
        (Some(keys), _) => (written.to_owned(), Outcome::Taken(keys)),
    }
}

/// An entry with what xiaozhi-client says elsewhere of the server's tools.
fn with_switches(mut value: Value, settings: Option<&Value>) -> Value {
    let tools = settings.and_then(|settings| settings.get("tools")).and_then(Value::as_object);
    let Some(entry) = value.as_object_mut() else { return value };
    let (mut deny, mut describe) = (Vec::new(), Map::new());
    for (tool, said) in tools.into_iter().flatten() {
        if said["enable"] == json!(false) {
            deny.push(tool.clone());
        }
        if let Some(text) = said["description"].as_str().filter(|text| !text.trim().is_empty()) {
            describe.insert(tool.clone(), json!(text));
        }
    }
    let mut rules = Map::new();
    if !deny.is_empty() {
        rules.insert("deny".to_owned(), json!(deny));
    }
    if !describe.is_empty() {
        rules.insert("describe".to_owned(), Value::Object(describe));
    }
    if !rules.is_empty() && !entry.contains_key("tools") {
        entry.insert("tools".to_owned(), Value::Object(rules));
    }
    value
}

/// Takes over where the servers of a file are served: one endpoint as that of the whole config, several by name.
fn endpoints(n: usize, source: &Source, present: &Present<'_>, plan: &mut Plan, variables: &mut Variables<'_>) {
    let Some(written) = source.value.get("mcpEndpoint") else { return };
    let all = written.as_array().cloned().unwrap_or_else(|| vec![written.clone()]);
    let is_address =
        |text: &&str| looks_like_endpoint(text) && !is_placeholder(text) && !text.contains(char::is_control);
    let addresses: Vec<&str> = all.iter().filter_map(Value::as_str).map(str::trim).filter(is_address).collect();
    plan.secrets.extend(addresses.iter().flat_map(|address| crate::secrecy::address::secrets(address)));
    let mut note = |what: &str| plan.notes.push((n, format!("mcpEndpoint: {what}")));
    match addresses.as_slice() {
        [] => note("holds no address, so it is not taken over"),
        // One that is yet to be filled in is filled in now.
        [one] => match variables.get(ENDPOINT).filter(|there| !there.is_empty()) {
            Some(there) if there == **one => note("is the endpoint already (MCP_ENDPOINT)"),
            Some(_) => note("is not taken over: MCP_ENDPOINT is set to another one"),
            None => {
                variables.set(ENDPOINT, one, source.program);
                note("goes into .env as MCP_ENDPOINT");
            }
        },
        several if present.has_endpoints => {
            let n = several.len();
            note(&format!("names {n} endpoints, which are not taken over: the config has endpoints already"));
        }
        several => {
            for (place, address) in several.iter().enumerate() {
                let name = format!("{}-{}", source.program, place + 1);
                let variable = variables.hold(&name, "endpoint", address);
                plan.endpoints.push((name, json!({ "url": format!("${{{variable}}}") })));
            }
            plan.notes.push((n, format!("mcpEndpoint: {} endpoints, each with all servers", several.len())));
        }
    }
}

/// Most keys that are named of those that stay where they are.
const SHOWN: usize = 6;

/// What is to be said of the keys at the top of a file that are not about servers.
fn beside(file: &Value, others: &[String]) -> Vec<String> {
    let handled = ["mcpEndpoint", "mcpServerConfig", "inputs", "$schema"];
    let is_filled = |key: &&String| !matches!(&file[key.as_str()], Value::Null);
    let others = others.iter().filter(is_filled).filter(|key| !handled.contains(&key.as_str()));
    let (mut notes, mut own) = (Vec::new(), Vec::new());
    for key in others {
        match config::foreign_top(key) {
            Some(why) => notes.push(format!("{key}: {why}")),
            None => own.push(key.as_str()),
        }
    }
    if !own.is_empty() {
        let more = own
            .len()
            .checked_sub(SHOWN)
            .filter(|more| *more > 0)
            .map_or_else(String::new, |n| format!(" and {n} more"));
        let names = own.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
        notes.push(format!("{names}{more}: no servers, so not taken over"));
    }
    notes
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::bring::programs;

    fn source(program: &str, value: Value) -> Source {
        let program = programs::named(program).unwrap();
        Source { program: program.name, habits: program.habits, path: program.name.into(), folder: None, value }
    }

    fn planned(sources: &[Source], servers: Value, both: bool, set: &[(&str, &str)]) -> Plan {
        plan_in(sources, servers, both, set, &|_| false)
    }

    fn plan_in(
        sources: &[Source],
        servers: Value,
        both: bool,
        set: &[(&str, &str)],
        exists: &dyn Fn(&Path) -> bool,
    ) -> Plan {
        let env = Environment::default();
        let servers = servers.as_object().unwrap().clone();
        let folder = Path::new("/c");
        let present = Present { servers, has_endpoints: false, folder, env: &env, exists, both, held: Vec::new() };
        let set: Vec<(String, String)> = set.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        plan(sources, &present, &|name| set.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone()))
    }

    fn outcomes(plan: &Plan) -> Vec<(&str, &str)> {
        let word = |outcome: &Outcome| match outcome {
            Outcome::New(_) => "new",
            Outcome::Same => "same",
            Outcome::Taken(_) => "taken",
            Outcome::Unusable(_) => "unusable",
        };
        plan.steps.iter().map(|step| (&*step.name, word(&step.outcome))).collect()
    }

    #[test]
    fn each_server_is_told_and_a_second_plan_finds_all_of_the_first() {
        let sources = || {
            [
                source("claude", json!({"mcpServers": {"a": {"command": "x", "env": {"A_TOKEN": "s3cret"}}, "b": {}}})),
                source("cursor", json!({"mcpServers": {"a": {"command": "y"}, "c": {"url": "https://h/?key=abc"}}})),
            ]
        };
        let first = planned(&sources(), json!({}), false, &[]);
        assert_eq!(outcomes(&first), [("a", "new"), ("b", "unusable"), ("a", "taken"), ("c", "new")]);
        assert_eq!(first.steps[2].outcome, Outcome::Taken(vec!["command".to_owned(), "env".to_owned()]));
        let servers: Map<String, Value> =
            first.new_servers().map(|(name, entry)| (name.to_owned(), Value::Object(entry.clone()))).collect();
        let set: Vec<(&str, &str)> = first.added.iter().map(|added| (&*added.name, added.value.reveal())).collect();
        let second = planned(&sources(), Value::Object(servers.clone()), false, &set);
        assert_eq!(outcomes(&second), [("a", "same"), ("b", "unusable"), ("a", "taken"), ("c", "same")]);
        assert!(!second.changes());
        let both = planned(&sources(), Value::Object(servers), true, &set);
        assert_eq!(outcomes(&both)[2], ("a-cursor", "new"));
    }

    #[test]
    fn questions_of_vs_code_become_variables_to_be_filled_in() {
        let file = json!({"inputs": [{"id": "my-key", "type": "promptString"}, {"id": "tz", "default": "UTC"}],
            "servers": {"a": {"command": "x", "env": {"K": "${input:my-key}", "TZ": "${input:tz}"}}}});
        let plan = planned(&[source("vscode", file)], json!({}), false, &[]);
        let (_, entry) = plan.new_servers().next().unwrap();
        assert_eq!(entry["env"], json!({"K": "${A_MY_KEY}", "TZ": "${A_TZ}"}));
        let added: Vec<(&str, &str)> = plan.added.iter().map(|a| (&*a.name, a.value.reveal())).collect();
        assert_eq!(added, [("A_MY_KEY", ""), ("A_TZ", "UTC")]);
    }

    #[test]
    fn a_question_never_gets_what_is_set_for_another_server() {
        let file = || {
            json!({"inputs": [{"id": "github_token"}], "servers": {"github": {"url": "https://h/",
            "headers": {"Authorization": "Bearer ${input:github_token}"}}}})
        };
        let set = [("GITHUB_TOKEN", "s3cret"), ("GITHUB_TOKEN_2", "")];
        let first = planned(&[source("vscode", file())], json!({}), false, &set[..1]);
        let (_, entry) = first.new_servers().next().unwrap();
        assert_eq!(entry["headers"]["Authorization"], "Bearer ${GITHUB_TOKEN_2}");
        assert!(first.steps[0].left[0].1.contains("GITHUB_TOKEN_2"));
        // A second run finds its own.
        let there = json!({"github": entry});
        assert_eq!(outcomes(&planned(&[source("vscode", file())], there.clone(), false, &set)), [("github", "same")]);
        // A stranger's server of that name does not get it.
        let other = json!({"servers": {"github": {"url": "https://evil/",
            "headers": {"Authorization": "Bearer ${input:github_token}"}}}});
        let both = planned(&[source("vscode", other)], there, true, &set);
        let (_, entry) = both.new_servers().next().unwrap();
        assert_eq!(entry["headers"]["Authorization"], "Bearer ${GITHUB_TOKEN_3}");
    }

    #[test]
    fn what_is_a_secret_somewhere_stands_nowhere() {
        let file = json!({"mcpServers": {
            "a": {"command": "x", "args": ["use S3cr3tP4ss now"], "env": {"NOTE": "letmein"}, "tools": {"describe": {"t": "by letmein"}}},
            "b": {"command": "npx -y x --api-key sk-live-0123456789", "env": {"PASSWORD": "letmein", "T_KEY": "S3cr3tP4ss"}},
            "c": {"command": "x", "args": ["-v", "heldByEnv9"]},
            "d": {"command": "letmein"}}});
        let env = Environment::default();
        let present = Present {
            servers: Map::new(),
            has_endpoints: false,
            folder: Path::new("/c"),
            env: &env,
            exists: &|_| false,
            both: false,
            held: vec![("O_TOKEN", "heldByEnv9"), ("LEVEL", "verbose")],
        };
        let plan =
            plan(&[source("claude", file)], &present, &|name| (name == "O_TOKEN").then(|| "heldByEnv9".to_owned()));
        assert_eq!(outcomes(&plan), [("a", "new"), ("b", "new"), ("c", "new"), ("d", "unusable")]);
        let written: String = plan.new_servers().map(|(_, entry)| json!(entry).to_string()).collect();
        for secret in ["letmein", "S3cr3tP4ss", "sk-live", "heldByEnv9"] {
            assert!(!written.contains(secret), "{secret} in {written}");
        }
        assert!(plan.steps[0].left.iter().any(|(key, _)| key == "tools"), "{:?}", plan.steps[0].left);
    }

    #[test]
    fn a_file_of_variables_that_is_there_is_taken_over_and_of_another_it_is_said_what_is_wrong() {
        let set = [("HOME", "/home/u"), ("workspaceFolder", "/c"), ("A_TOKEN", "")];
        for (written, exists, why) in [
            (json!("x.env"), "/c/x.env", None),
            (json!("${workspaceFolder}/x.env"), "/c/x.env", None),
            (json!("${HOME}/x.env"), "/home/u/x.env", None),
            (json!(["x.env", "${HOME}/x.env"]), "x.env", None),
            (json!(["x.env", "y.env"]), "/c/x.env", Some("names a file that is not there")),
            (json!("${HOME}/x.env"), "/c/x.env", Some("names a file that is not there")),
            (json!("${NOWHERE}/x.env"), "x.env", Some("needs NOWHERE, which nothing sets")),
            (json!("${command:pick}"), "x.env", Some("has a ${ that only an editor replaces")),
        ] {
            let file = json!({"mcpServers": {"a": {"command": "x", "envFile": written}}});
            let exists = |path: &Path| path.ends_with(exists);
            let plan = plan_in(&[source("cursor", file)], json!({}), false, &set, &exists);
            let (_, entry) = plan.new_servers().next().unwrap();
            assert_eq!(entry.contains_key("envFile"), why.is_none(), "{written}");
            assert_eq!(plan.steps[0].left.first().map(|(_, why)| &**why), why, "{written}");
            assert!(plan.added.is_empty(), "{written} needs no variable that is to be filled in");
        }
    }

    #[test]
    fn what_looks_like_a_pair_is_hidden_whatever_stands_in_the_next_file() {
        let first = json!({"mcpServers": {"a": {"command": "x", "env": {"A_TOKEN": "lang=en"}}}});
        let second = json!({"mcpServers": {"b": {"url": "https://h/?q=1&key=s3cret"}}});
        let sources = [source("claude", first), source("cursor", second)];
        let plan = planned(&sources, json!({"a": {"command": "other"}}), false, &[]);
        assert_eq!(outcomes(&plan)[0], ("a", "taken"));
        assert!(plan.secrets.iter().any(|secret| secret.reveal() == "lang=en"));
    }

    #[test]
    fn a_value_that_no_line_can_hold_costs_its_server_only() {
        let file = json!({"mcpServers": {"a": {"command": "x", "env": {"A_TOKEN": "a\rb"}}, "b": {"command": "y"}}});
        let plan = planned(&[source("claude", file)], json!({}), false, &[]);
        assert_eq!(outcomes(&plan), [("a", "unusable"), ("b", "new")]);
        assert!(plan.added.is_empty());
    }

    #[test]
    fn xiaozhi_clients_endpoint_and_switches_are_taken_over() {
        let file = json!({"mcpEndpoint": "wss://h/?token=s3cret", "mcpServers": {"a": {"command": "x"}}, "webUI": {"port": 1},
            "mcpServerConfig": {"a": {"tools": {"t": {"enable": false}, "u": {"enable": true, "description": "d"}}}},
            "connection": {"heartbeatInterval": 1}});
        let plan = planned(&[source("xiaozhi-client", file.clone())], json!({}), false, &[]);
        let (_, entry) = plan.new_servers().next().unwrap();
        assert_eq!(entry["tools"], json!({"deny": ["t"], "describe": {"u": "d"}}));
        assert_eq!((&*plan.added[0].name, plan.added[0].value.reveal()), ("MCP_ENDPOINT", "wss://h/?token=s3cret"));
        let notes: Vec<&str> = plan.notes.iter().map(|(_, note)| &**note).collect();
        assert!(notes.iter().any(|note| note.starts_with("connection: write")), "{notes:?}");
        assert!(notes.iter().any(|note| note.starts_with("webUI: no servers")), "{notes:?}");
        let other = planned(&[source("xiaozhi-client", file)], json!({}), false, &[("MCP_ENDPOINT", "wss://other/")]);
        assert!(other.added.is_empty() && other.notes[0].1.contains("another"));
        // What another program's server uses, and nothing sets, is filled in.
        let user =
            source("claude-code", json!({"mcpServers": {"b": {"command": "x", "env": {"WHERE": "${MCP_ENDPOINT}"}}}}));
        let alone = planned(std::slice::from_ref(&user), json!({}), false, &[]);
        assert_eq!((alone.added.len(), alone.has_endpoint()), (1, false));
        let brings = source(
            "xiaozhi-client",
            json!({"mcpEndpoint": "wss://h/?token=s3cret", "mcpServers": {"a": {"command": "x"}}}),
        );
        let plan = planned(&[user, brings], json!({}), false, &[]);
        let added: Vec<_> = plan.added.iter().map(|added| (&*added.name, added.value.reveal())).collect();
        assert_eq!((added, plan.has_endpoint()), (vec![("MCP_ENDPOINT", "wss://h/?token=s3cret")], true));
        let several =
            json!({"mcpEndpoint": ["wss://h/?token=a", "wss://h/?token=b"], "mcpServers": {"a": {"command": "x"}}});
        let plan = planned(&[source("xiaozhi-client", several)], json!({}), false, &[]);
        assert_eq!(plan.endpoints.len(), 2);
        assert_eq!(plan.endpoints[0].1, json!({"url": "${XIAOZHI_CLIENT_1_ENDPOINT}"}));
    }

    #[test]
    fn an_entry_that_leads_back_here_is_not_taken_over() {
        for server in [
            json!({"command": "/usr/bin/mcp-pipe", "args": ["stdio"]}),
            json!({"command": ["C:\\x\\mcp-pipe.exe", "stdio", "--config", "y"]}),
        ] {
            let plan = planned(&[source("opencode", json!({"mcp": {"home": server}}))], json!({}), false, &[]);
            assert_eq!(outcomes(&plan), [("home", "unusable")]);
        }
        let file = json!({"mcpServers": {"mcp-pipe": {"url": "http://127.0.0.1:8765/mcp"}}});
        assert_eq!(outcomes(&planned(&[source("cursor", file)], json!({}), false, &[])), [("mcp-pipe", "unusable")]);
    }

    #[test]
    fn a_server_that_is_not_taken_over_leaves_no_variable() {
        let file = json!({"mcpServers": {"a": {"command": "x", "env": {"A_TOKEN": "s3cret"}}}});
        let plan = planned(&[source("claude", file)], json!({"a": {"command": "z"}}), false, &[]);
        assert!(plan.added.is_empty() && !plan.changes());
        assert!(plan.secrets.iter().any(|secret| secret.reveal() == "s3cret"));
    }
}
