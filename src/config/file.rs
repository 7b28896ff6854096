//! `mcp_config.json` as written, with a table of its keys: the only reader of that file. Nothing is expanded or defaulted here.
//!
//! Keys beside `mcpServers`, at the top of the file (T), in an entry of `mcpServers` (S), or in both (TS: the
//! entry counts, then the command line's option, then the top of the file):
//!
//! | key | where | value | default | meaning |
//! |---|---|---|---|---|
//! | `command` | S | text, or texts | | the program; with a slash, relative to the file's folder; of several texts the first, the others are arguments |
//! | `args` | S | texts | none | the program's arguments |
//! | `expandArgs` | S | `true`/`false` | false | whether `${VAR}` is expanded in `args`, too: everybody on the machine can read these |
//! | `env` | S | texts by name `$` | none | set for the program, on top of what it inherits; what holds an endpoint or its token is left out |
//! | `envFile` | S | path `$`, or paths | none | files like `.env`, set below `env` |
//! | `inheritEnv` | TS | `true`/`false`, or names, or one | true | what the program inherits of mcp-pipe's environment and `.env`: all, only what programs need to start, or these besides; `*` and `?` stand for any text and any character |
//! | `cwd` | S | text `$` | the file's folder | where the program starts |
//! | `url`, `serverUrl` | S | URL `$` | | the address of a remote server, in place of a command |
//! | `type`, `transportType`, `transport` | S | `stdio`, `local`; `http`, `sse` and their spellings | what there is: a command or a url | how the server is reached; without it a url is tried as Streamable HTTP, then as SSE |
//! | `headers` | S | texts by name `$` | none | sent to a remote server with each request |
//! | `auth` | S | object | none | how a remote server is told who asks: see [`super::auth`] |
//! | `certFile`, `keyFile` | S | paths `$` | none | the certificate that a remote server is shown, and its key (PEM) |
//! | `disabled`, `enabled`, `isActive` | S | `true`/`false`, also as text | enabled | whether the server runs |
//! | `endpoint` (S: also `env.MCP_ENDPOINT`) | TS | URL `$`; S: or the name of one of `endpoints`, or a list of both | `MCP_ENDPOINT` | where the server is served |
//! | `endpointHeaders` | TS | texts by name `$` | none | sent with the WebSocket upgrade; those of the top only to the shared endpoint |
//! | `subprotocol` | TS | text | none | offered as `Sec-WebSocket-Protocol` |
//! | `caFile` | TS | path `$` | none | certificate authorities (PEM) trusted besides the platform's |
//! | `connectTimeout` | TS | time | `15s` | for DNS, TCP, proxy, TLS and upgrade together |
//! | `pingInterval` | TS | time | `20s` | silence after which a WebSocket ping is sent |
//! | `pingTimeout` | TS | time | `20s` | silence after a ping after which the connection is given up |
//! | `maxBackoff` | TS | time | `600s` | the longest wait between two attempts to connect |
//! | `startTimeout` | TS | time | `60s` | how long a server may take to answer `initialize` before its endpoint is dialled regardless |
//! | `maxFrameSize` | TS | size | `16MiB` | the largest message, in either direction |
//! | `handshake` | TS | `answer`, `relay` | `answer` | who answers a further `initialize`: mcp-pipe, or the server |
//! | `era` | TS | `auto`, `legacy`, `modern` | `auto` | the era of MCP that a server is of: with or without a handshake |
//! | `endpoints` | T | objects by name | none | named endpoints, each with the servers that it shows: see [`super::named`] |
//! | `gateway` | T | object | none | where MCP clients reach the servers over HTTP, and who may: see [`super::gateway`] |
//! | `admin` | T | object | none | where figures and health are told over HTTP: see [`super::admin`] |
//! | `lease` | T | object | none | where several mcp-pipe agree on who serves an endpoint: see [`super::lease`] |
//! | `drainTimeout` | T | time | `5s` | how long calls under way may take to finish at a stop |
//! | `mode` | TS | `auto`, `per-server`, `multiplex`, `sequential` | `auto` | how servers share connections |
//! | `naming` | TS | `auto`, `prefix` | `auto` | on a shared connection: a name that one server has alone stays, or all become `server__name` |
//! | `names` | TS | `ascii`, `unicode` | `ascii` | on a shared connection: which characters names of tools may have |
//! | `turn` | TS | time | `5m` | with `sequential`: how long a server has the endpoint; at least 10 s |
//! | `pin` | S | `true`/`false` | false | with `sequential`: the server's turn does not end |
//! | `resync` | TS | `true`/`false` | true | whether an endpoint that does not read changed lists anew is connected to once more |
//! | `keepListed` | TS | `true`/`false` | true | on a shared connection: whether a server's tools stay listed while it is down |
//! | `limits` | S | object | none | how much of the machine the server may have: see [`super::limits`] |
//! | `logFile` | TS | path `$`, or object | none | T: where mcp-pipe's log is written besides; S: where the server's stderr is, and what it prints beside its messages: see [`super::log_file`] |
//! | `tools` | S | object, or patterns | all | which tools of the server are published and as what: see [`super::policy`] |
//! | `slim` | TS | `true`/`false` | false | publishes name, description and inputSchema of a tool only |
//! | `timeout` | TS | time | none | how long a call may take before it is answered with an error |
//! | `maxResultBytes` | TS | size | none | the largest result of a call; larger ones are cut |
//! | `instances` | TS | `shared`, `per-peer` | `shared` | whether all endpoints that see a server share one process, or each has one of its own |
//! | `idle` | TS | time | `10m` | with `per-peer`: how long a further process lives without a call or a subscription |
//! | `maxInstances` | TS | number | 16 | with `per-peer`: the most processes of the server, the first included; at most 1000 |
//! | `replicas` | S | number | 1 | how many processes of the server there are, which share its work; at most 64 |
//! | `sticky` | S | `true`/`false` | false | with `replicas`: whether an endpoint or a client stays with the process that did its work first |
//! | `circuitBreaker` | S | object | none | when a server that gives no answers is asked no more for a while: see [`super::bounds`] |
//! | `fallback` | S | name of a server | none | the server that takes the calls of this one while it is down, stopped, or its circuit is open; it is shown nowhere itself |
//! | `cache` | S | object | none | which answers of tools are given again for a while: see [`super::bounds`] |
//! | `healthCheck` | S | object | none | how the server is asked now and then whether it is well: see [`super::health`] |
//! | `toolBudget` | T | number | 8000 | estimated tokens above which a list of tools is warned about |
//! | `cacheDir` | T | path | the user's cache | where it is remembered what servers said; `""` or `none`: nowhere |
//! | `stateDir` | T | path | the user's state folder | where logins at remote servers are kept; `""` or `none`: nowhere |
//!
//! Servers of one endpoint have the same `mode`, `naming`, `names`, `turn` and `resync`: see [`super::sharing`].
//!
//! Times are written `5s`, `2m`, `500ms`; sizes `16MiB`. In values marked `$`, `${VAR}`, `${VAR:-default}` and
//! `${env:VAR}` are expanded, in `command` and (without `expandArgs`) `args` nothing but what editors know: see [`super::expand`]. Comments and
//! trailing commas are allowed. What other programs call these keys is in [`super::keys`].

use std::path::Path;
use std::time::Duration;

use jsonc_parser::ast::{Array, ObjectProp, Value};

use super::admin::{self, AdminEntry};
use super::bounds;
use super::gateway::{self, GatewayEntry};
use super::keys::Place;
use super::lease::{self, LeaseEntry};
use super::limits::{self, LimitsEntry};
use super::log_file::{self, LogFileEntry};
use super::missing::LAUNCHERS;
use super::named::{self, NamedEndpoint};
use super::reach::Written;
pub(crate) use super::reach::{RemoteEntry, Transport};
use super::reader::{Located, Reader, kind};
use super::shared::{Shared, shared};
use super::{HealthCheck, auth, defaults, health, keys, policy, reach, syntax, units};
use crate::endpoint::{looks_like_endpoint, looks_like_token};
use crate::error::{self, Code, Problem};
use crate::tools::ToolPolicy;
use crate::words::brief;

/// Longest program, and longest list of arguments, that is shown in an example, in bytes.
const LONGEST_SHOWN: usize = 120;

/// The whole file.
#[derive(Debug, Default)]
pub(crate) struct File {
    pub(crate) entries: Vec<Entry>,
    pub(crate) shared: Shared,
    pub(crate) endpoints: Vec<NamedEndpoint>,
    /// Whether there are some that could not be read, which has been noted.
    pub(crate) endpoints_unread: bool,
    pub(crate) gateway: Option<GatewayEntry>,
    pub(crate) admin: Option<AdminEntry>,
    pub(crate) lease: Option<LeaseEntry>,
    pub(crate) drain_timeout: Option<Duration>,
    pub(crate) tool_budget: Option<usize>,
    pub(crate) cache_dir: Option<Located<String>>,
    pub(crate) state_dir: Option<Located<String>>,
    pub(crate) log_file: Option<LogFileEntry>,
    /// Where each value is written, by its path under our names for the keys.
    pub(crate) written: Vec<(String, error::Place)>,
}

impl File {
    /// The names of all servers and endpoints.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = self.entries.iter().map(|entry| entry.name.clone());
        entries.chain(self.endpoints.iter().map(|endpoint| endpoint.name.clone())).collect()
    }
}

/// One `mcpServers` entry.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) place: error::Place,
    /// The entry's path in the file.
    pub(crate) path: String,
    pub(crate) kind: Transport,
    /// The place that says that the server does not run; `None` if none says so.
    pub(crate) disabled: Option<error::Place>,
    pub(crate) args: Vec<Located<String>>,
    /// Whether variables are replaced in them.
    pub(crate) expand_args: bool,
    pub(crate) env: Vec<(String, Located<String>)>,
    pub(crate) env_files: Vec<Located<String>>,
    pub(crate) cwd: Option<Located<String>>,
    pub(crate) pin: Option<Located<bool>>,
    pub(crate) limits: LimitsEntry,
    pub(crate) log_file: Option<LogFileEntry>,
    /// The policy under `tools`.
    pub(crate) tools: ToolPolicy,
    pub(crate) health_check: Option<HealthCheck>,
    /// The new names in `tools.rename`.
    pub(crate) given_names: Vec<Located<String>>,
    pub(crate) bounds: bounds::Written,
    pub(crate) replicas: Option<Located<usize>>,
    pub(crate) sticky: Option<Located<bool>>,
    /// The texts in `endpoint` that are no address but the name of a named endpoint, or seem to be meant so.
    pub(crate) at: Vec<Located<String>>,
    /// The addresses in `endpoint` behind the first.
    pub(crate) more: Vec<Located<String>>,
    pub(crate) shared: Shared,
}

/// A file as read, and what was found wrong with it.
pub(crate) struct Reading {
    pub(crate) file: File,
    pub(crate) mistakes: Vec<Problem>,
    pub(crate) warnings: Vec<Problem>,
    pub(crate) notes: Vec<String>,
}

/// Reads the text of a file that is shown to people as `name`.
pub(crate) fn read(name: &str, text: &str) -> Reading {
    let whole = syntax::with_braces(text);
    let mut reader = match &whole {
        Some(whole) => Reader::with_brace(name, whole),
        None => Reader::new(name, text),
    };
    let mut file = File::default();
    if let Some(value) = reader.parse() {
        top(&mut reader, &value, &mut file);
    }
    file.written = std::mem::take(&mut reader.written);
    Reading { file, mistakes: reader.mistakes, warnings: reader.warnings, notes: reader.notes }
}

fn top(r: &mut Reader<'_>, value: &Value<'_>, file: &mut File) {
    if is_server(value) && !keys::has_servers(value) {
        return r.mistake(value, "", Code::Misplaced.says(NAMELESS), format!("write {}", one_server(value)));
    }
    if let Value::Array(list) = value {
        return r.mistake(value, "", Code::WrongType.says("is a list, not an object"), for_list(list));
    }
    if let Value::StringLit(text) = value {
        let is_config = text.value.trim_start().starts_with('{');
        let unescape = "remove the quotes around it, and the \\ before each quote in it";
        return r.mistake(
            value,
            "",
            Code::WrongType.says("is a text, not an object"),
            if is_config { unescape } else { EXAMPLE },
        );
    }
    let (mut servers, mut mcp, mut settings) = (false, None, Vec::new());
    for (key, path, prop) in keys::members(r, value, "", Place::Top) {
        match key.as_str() {
            "mcpServers" => {
                servers = true;
                entries(r, &prop.value, &path, file);
            }
            "endpoints" => {
                let before = r.mistakes.len();
                file.endpoints = named::read(r, &prop.value, &path);
                file.endpoints_unread = file.endpoints.is_empty() && r.mistakes.len() > before;
            }
            "gateway" => file.gateway = gateway::read(r, &prop.value, &path),
            "admin" => file.admin = admin::read(r, &prop.value, &path),
            "lease" => file.lease = lease::read(r, &prop.value, &path),
            "mcp" => mcp = Some((path, prop)),
            "mcpServerConfig" => settings = policy::of_servers(r, &prop.value, &path),
            "drainTimeout" => file.drain_timeout = r.parsed(&prop.value, &path, units::duration),
            "toolBudget" => file.tool_budget = r.parsed(&prop.value, &path, units::count),
            "cacheDir" => file.cache_dir = r.string(&prop.value, &path),
            "stateDir" => file.state_dir = r.string(&prop.value, &path),
            "logFile" => file.log_file = log_file::read(r, &prop.value, &path),
            _ if shared(r, &key, prop, &path, &mut file.shared) => {}
            _ if is_server(&prop.value) => {
                let remedy = format!("write {{\"mcpServers\": {{{:?}: {{…}}}}}}", brief(&key));
                r.mistake(prop, &path, Code::Misplaced.says("is a server, and servers stand in mcpServers"), remedy);
            }
            _ => keys::foreign(r, &key, prop, &path, Place::Top),
        }
    }
    match mcp {
        Some((path, prop)) if servers => {
            let remedy = if chooses_servers(&prop.value) {
                "to keep a server from running, write in its entry: \"disabled\": true"
            } else {
                "move what it says there"
            };
            r.warning(prop, &path, Code::NoEffect.says("is ignored, as there are mcpServers"), remedy);
        }
        Some((path, prop)) => {
            servers = true;
            let (value, path) = servers_of_mcp(&prop.value, path);
            entries(r, value, &path, file);
        }
        None => {}
    }
    // Where tools may dial in, no server need be ours.
    let has_tools = file.gateway.as_ref().is_some_and(|gateway| !gateway.endpoint_tokens.is_empty());
    if !servers && !has_tools && r.mistakes.is_empty() {
        let remedy = match keys::slip_of_servers(value) {
            Some(written) => format!("did you mean it by {written:?}? write \"mcpServers\" for that"),
            None => EXAMPLE.to_owned(),
        };
        r.mistake(value, "mcpServers", Code::MissingKey.says("is missing"), remedy);
    }
    let names: Vec<&str> = file.endpoints.iter().map(|endpoint| &*endpoint.name).collect();
    for entry in &mut file.entries {
        entry.more = named::take_addresses(&mut entry.at, &names);
        if !entry.more.is_empty() {
            entry.shared.endpoint = Some(entry.more.remove(0));
        }
    }
    for (server, place, own) in settings {
        match file.entries.iter_mut().find(|entry| entry.name == server) {
            Some(entry) => policy::add(&mut entry.tools, own),
            None => r.warning_at(
                &place,
                Code::NoEffect.says("is about no server of mcpServers, and is ignored"),
                "correct its name",
            ),
        }
    }
}

/// Whether an object is an entry that stands beside `mcpServers`.
fn is_server(value: &Value<'_>) -> bool {
    let Value::Object(object) = value else { return false };
    ["command", "url", "httpUrl", "serverUrl"]
        .iter()
        .any(|key| object.properties.iter().any(|p| p.name.as_str() == *key))
}

/// Whether an `mcp` says which servers run, and lists none, as Gemini CLI has it.
fn chooses_servers(value: &Value<'_>) -> bool {
    let Value::Object(object) = value else { return false };
    let is_choice = |prop: &ObjectProp<'_>| ["allowed", "excluded"].contains(&prop.name.as_str());
    !object.properties.is_empty() && object.properties.iter().all(is_choice)
}

/// Whether a list of servers is the entry of one, whose name was forgotten: a server may be called `command`, and is an object.
fn is_nameless(value: &Value<'_>) -> bool {
    let Value::Object(object) = value else { return false };
    is_server(value) && object.properties.iter().any(|prop| !matches!(prop.value, Value::Object(_)))
}

/// What is wrong with an entry that has no name.
const NAMELESS: &str = "is the entry of one server, and servers stand in mcpServers, each behind its name";
/// What to write where nothing is known of the servers that are meant.
const EXAMPLE: &str = r#"write {"mcpServers": {"calculator": {"command": "python", "args": ["calculator.py"]}}}"#;

/// What to write instead of a list around the whole config.
fn for_list(list: &Array<'_>) -> String {
    let Some(first @ Value::Object(object)) = list.elements.first() else { return EXAMPLE.to_owned() };
    let named = || object.properties.iter().find(|prop| is_server(&prop.value));
    match list.elements.len() {
        1 if keys::has_servers(first) => "remove the [ before it and the ] behind it".to_owned(),
        1 if is_server(first) => format!("write {}", one_server(first)),
        _ if is_server(first) => {
            let one = one_server(first);
            format!("write {}, …}}}}, each server behind its name", one.strip_suffix("}}").unwrap_or(&one))
        }
        _ => named().map_or_else(
            || EXAMPLE.to_owned(),
            |prop| format!("write {{\"mcpServers\": {{{:?}: {{…}}}}}}", brief(prop.name.as_str())),
        ),
    }
}

/// A whole config for the entry of one server. Nothing is repeated that may be a secret.
fn one_server(entry: &Value<'_>) -> String {
    let Value::Object(object) = entry else { return String::new() };
    let text = |value: &Value<'_>| match value {
        Value::StringLit(text) if !looks_like_endpoint(&text.value) && !looks_like_token(&text.value) => {
            Some(text.value.clone().into_owned())
        }
        Value::StringLit(_) | Value::NumberLit(_) | Value::BooleanLit(_) | Value::Object(_) | Value::Array(_) => None,
        Value::NullKeyword(_) => None,
    };
    let words = |value: &Value<'_>| match value {
        Value::Array(list) => list.elements.iter().map(text).collect::<Option<Vec<String>>>(),
        Value::StringLit(_) | Value::NumberLit(_) | Value::BooleanLit(_) | Value::Object(_) | Value::NullKeyword(_) => {
            text(value).map(|text| vec![text])
        }
    };
    let (mut name, mut members) = (None, Vec::new());
    for prop in object.properties.iter().filter(|prop| !is_server(&prop.value)) {
        let key = prop.name.as_str();
        let written = words(&prop.value).filter(|_| ["command", "args"].contains(&key));
        let written = written.filter(|words| words.iter().map(String::len).sum::<usize>() <= LONGEST_SHOWN);
        let value = match (written, &prop.value) {
            (Some(words), Value::StringLit(_)) => words.first().map(|word| format!("{word:?}")).unwrap_or_default(),
            (Some(words), _) => format!("{words:?}"),
            (None, Value::Object(_)) => "{…}".to_owned(),
            (None, Value::Array(_)) => "[…]".to_owned(),
            (None, _) => "…".to_owned(),
        };
        // That of a script says more than that of its interpreter.
        let program = words(&prop.value).and_then(|words| words.into_iter().find(|word| !word.starts_with('-')));
        let stem = program.as_deref().and_then(|word| Path::new(word).file_stem()?.to_str());
        if let Some(stem) = stem.filter(|_| key == "args" || (key == "command" && name.is_none())) {
            name = Some(stem.to_owned());
        }
        members.push(format!("{:?}: {value}", brief(key)));
    }
    let name = name.unwrap_or_else(|| "my-server".to_owned());
    let name = brief(&name);
    format!("{{\"mcpServers\": {{{name:?}: {{{}}}}}}}", members.join(", "))
}

/// The servers in an `mcp`: for opencode its members, for VS Code's user settings those of its `servers`.
fn servers_of_mcp<'v, 'a>(value: &'v Value<'a>, path: String) -> (&'v Value<'a>, String) {
    let Value::Object(object) = value else { return (value, path) };
    let inner = object.properties.iter().find(|prop| prop.name.as_str() == "servers").map(|prop| &prop.value);
    match inner.filter(|inner| matches!(inner, Value::Object(_)) && !is_server(inner)) {
        Some(inner) => (inner, format!("{path}.servers")),
        None => (value, path),
    }
}

fn entries(r: &mut Reader<'_>, value: &Value<'_>, path: &str, file: &mut File) {
    // Of two `mcpServers` the last counts, or the one that is not empty, as a warning has said.
    if !file.entries.is_empty() && matches!(value, Value::Object(object) if object.properties.is_empty()) {
        return;
    }
    file.entries.clear();
    if matches!(value, Value::Array(_)) {
        let remedy = r#"write each server behind its name: {"calculator": {"command": …}}"#;
        return r.mistake(value, path, Code::WrongType.says("is a list, not an object"), remedy);
    }
    if is_nameless(value) {
        return r.mistake(value, path, Code::Misplaced.says(NAMELESS), format!("write {}", one_server(value)));
    }
    let mut lines: Vec<(String, usize)> = Vec::new();
    for (name, path, prop) in r.servers(value, path) {
        let line = r.line(prop);
        if let Some((_, first)) = lines.iter().find(|(seen, _)| *seen == name) {
            let what = format!("is the second server of that name; the first is on line {first}");
            r.mistake(prop, &path, Code::Duplicate.says(what), "give each server its own name");
        } else if name.trim().is_empty() || name.chars().any(char::is_control) {
            r.mistake(prop, &path, Code::WrongName.says("is no name for a server"), "use letters, digits, - and _");
        }
        lines.push((name.clone(), line));
        file.entries.push(entry(r, name, prop, &path));
    }
}

fn entry(r: &mut Reader<'_>, name: String, prop: &ObjectProp<'_>, path: &str) -> Entry {
    let mut entry = Entry {
        name,
        place: r.place(prop, path),
        path: path.to_owned(),
        kind: Transport::Unknown,
        disabled: None,
        args: Vec::new(),
        expand_args: defaults::EXPAND_ARGS,
        env: Vec::new(),
        env_files: Vec::new(),
        cwd: None,
        pin: None,
        limits: LimitsEntry::default(),
        log_file: None,
        tools: ToolPolicy::default(),
        health_check: None,
        given_names: Vec::new(),
        bounds: bounds::Written::default(),
        replicas: None,
        sticky: None,
        at: Vec::new(),
        more: Vec::new(),
        shared: Shared::default(),
    };
    let before = r.mistakes.len();
    if let Some((what, remedy)) = no_entry(&prop.value) {
        r.mistake(&prop.value, path, Code::WrongType.says(what), remedy);
        return entry;
    }
    let mut written = Written::default();
    let (mut disabled, mut enabled, mut active) = (None, None, None);
    let (mut before_args, mut elsewhere) = (Vec::new(), ToolPolicy::default());
    let mut gate = policy::Written::default();
    let outer = prop;
    for (key, path, prop) in keys::members(r, &outer.value, path, Place::Server) {
        let value = &prop.value;
        let switch = |r: &mut Reader<'_>, off| (r.boolean(value, &path) == Some(off)).then(|| r.place(prop, &path));
        written.note(&key, || r.place(prop, &path));
        match key.as_str() {
            "type" | "transportType" | "transport" => written.transport = r.string(value, &path),
            "command" => (written.command, before_args) = command_line(r, value, &path),
            "args" => entry.args = r.strings(value, &path),
            "expandArgs" => entry.expand_args = r.boolean(value, &path) == Some(true),
            "env" => entry.env = r.string_map(value, &path),
            "envFile" => entry.env_files = r.one_or_more(value, &path),
            "cwd" => entry.cwd = r.string(value, &path),
            "pin" => entry.pin = r.located(value, &path, Reader::boolean),
            "limits" => entry.limits = limits::read(r, value, &path),
            "logFile" => entry.log_file = log_file::read(r, value, &path),
            "tools" => entry.tools = policy::read(r, value, &path, &mut gate),
            "healthCheck" => entry.health_check = health::read(r, value, &path),
            "tools.allow" => elsewhere.allow.extend(policy::allow(r, value, &path, &mut gate)),
            "tools.deny" => elsewhere.deny.extend(policy::deny(r, value, &path, &mut gate)),
            "url" | "serverUrl" => written.url = r.string(value, &path),
            "headers" => written.headers.extend(r.string_map(value, &path)),
            "env_http_headers" => written.headers.extend(reach::from_variables(r.string_map(value, &path))),
            "auth" => written.auth = auth::read(r, value, &path),
            "certFile" => written.cert_file = r.string(value, &path),
            "keyFile" => written.key_file = r.string(value, &path),
            _ if keys::is_of_remote(&key) => written.unused(r, &key, prop, &path),
            _ if keys::is_token(&key) && keys::is_at_address(&outer.value) => written.unused(r, &key, prop, &path),
            "endpoint" => entry.at = r.one_or_more(value, &path),
            "disabled" => disabled = switch(r, true),
            "enabled" => enabled = switch(r, false),
            "isActive" => active = switch(r, false),
            _ if shared(r, &key, prop, &path, &mut entry.shared) => {}
            "replicas" => entry.replicas = r.located(value, &path, |r, v, p| r.parsed(v, p, units::replicas)),
            "sticky" => entry.sticky = r.located(value, &path, Reader::boolean),
            _ if entry.bounds.read(r, &key, value, &path) => {}
            _ if keys::names_servers(&key) && matches!(value, Value::Object(_)) => {
                let at = if is_server(&outer.value) { "beside" } else { "in place of" };
                let what = "is a whole list of servers inside of one";
                let remedy = format!("put what is inside of it {at} {}", brief(&entry.name));
                r.mistake(prop, &path, Code::Misplaced.says(what), remedy);
            }
            _ if keys::is_unknown(Place::Server, &key) && is_server(value) => {
                let what = "is a server inside of another one, and each stands in mcpServers behind its name";
                let remedy = match keys::names_servers(&entry.name) {
                    true => format!("remove the {} around it, with its braces", brief(&entry.name)),
                    false => "move it there".to_owned(),
                };
                r.mistake(prop, &path, Code::Misplaced.says(what), remedy);
            }
            _ => keys::foreign(r, &key, prop, &path, Place::Server),
        }
    }
    entry.args.splice(..0, before_args);
    if !entry.tools.allow.is_empty() && !elsewhere.allow.is_empty() {
        let remedy = "write all of them in the allow of tools";
        r.mistake(
            prop,
            path,
            Code::Contradiction.says("says twice which tools to publish: in its tools and beside them"),
            remedy,
        );
    }
    policy::add(&mut entry.tools, elsewhere);
    entry.given_names = gate.names;
    entry.disabled = disabled.or(enabled).or(active);
    let malformed = r.mistakes.len() > before;
    entry.kind = written.way(r, &entry.name).unwrap_or_else(|| {
        // A member that could not be read has been told of, and may have been the command.
        if !malformed {
            let remedy = "add \"command\": the program to start, or \"url\": the address of a remote server";
            r.mistake(prop, path, Code::MissingKey.says("has neither a command nor a url"), remedy);
        }
        Transport::Unknown
    });
    if entry.disabled.is_some() && r.mistakes.len() > before {
        // A person who disables a broken server wants the others to run.
        let mistakes = r.mistakes.split_off(before);
        r.warnings.extend(mistakes);
        entry.kind = Transport::Unknown;
    }
    entry
}

/// What is wrong with an entry that is no object, and what to write. What stands there may hold a secret: of that only the name of a
/// program that everybody has is repeated.
fn no_entry(value: &Value<'_>) -> Option<(String, String)> {
    let first = match value {
        Value::Object(_) | Value::NullKeyword(_) => return None,
        Value::Array(list) => list.elements.first().unwrap_or(value),
        Value::StringLit(_) | Value::NumberLit(_) | Value::BooleanLit(_) => value,
    };
    let text = match first {
        Value::StringLit(text) => text.value.trim(),
        Value::NumberLit(_) | Value::BooleanLit(_) | Value::Object(_) | Value::Array(_) | Value::NullKeyword(_) => "",
    };
    let program = text.split_whitespace().next().unwrap_or_default();
    let program = LAUNCHERS.iter().find(|known| **known == program).unwrap_or(&"…");
    let remedy = if is_server(first) {
        "write what is in the [ ] without them: an entry is one server".to_owned()
    } else if text.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http")) && text.contains("://") {
        r#"write {"url": "https://…"}"#.to_owned()
    } else {
        format!(r#"write {{"command": "{program}", "args": ["…"]}}"#)
    };
    Some((format!("is {}, not an object", kind(value)), remedy))
}

/// The value of `command`: a program, and the arguments that stand behind it where somebody wrote one list.
fn command_line(r: &mut Reader<'_>, value: &Value<'_>, path: &str) -> (Option<Located<String>>, Vec<Located<String>>) {
    if matches!(value, Value::Array(_)) {
        let mut texts = r.strings(value, path).into_iter();
        let program = texts.next().or_else(|| r.located(value, path, |_, _, _| Some(String::new())));
        return (program, texts.collect());
    }
    if matches!(value, Value::Object(_)) {
        let remedy = "write the program as \"command\": \"…\", and args and env beside it";
        r.mistake(value, path, Code::WrongType.says("is an object, not a text"), remedy);
        return (None, Vec::new());
    }
    (r.string(value, path), Vec::new())
}
