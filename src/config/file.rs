//! `mcp_config.json` as written: the only reader of that file. Nothing is expanded or defaulted here.
//!
//! Keys beside `mcpServers`, at the top of the file (T), in an entry of `mcpServers` (S), or in both (TS: the
//! entry counts, then the command line's option, then the top of the file):
//!
//! | key | where | value | default | meaning |
//! |---|---|---|---|---|
//! | `command` | S | text | | the program; with a slash, relative to the file's folder; never expanded |
//! | `args` | S | texts | none | its arguments; never expanded |
//! | `env` | S | texts by name `$` | none | set for the program, on top of what mcp-pipe and `.env` have; what holds an endpoint or its token is left out |
//! | `cwd` | S | text `$` | the file's folder | where the program starts |
//! | `type`, `transportType`, `transport` | S | `stdio` | `stdio` | remote types are skipped with a warning |
//! | `disabled`, `enabled`, `isActive` | S | `true`/`false`, also as text | enabled | whether it runs |
//! | `endpoint` (S: also `env.MCP_ENDPOINT`) | TS | URL `$` | `MCP_ENDPOINT` | where it is served |
//! | `endpointHeaders` | TS | texts by name `$` | none | sent with the WebSocket upgrade; those of the top only to the shared endpoint |
//! | `subprotocol` | TS | text | none | offered as `Sec-WebSocket-Protocol` |
//! | `caFile` | TS | path `$` | none | certificate authorities (PEM) trusted besides the platform's |
//! | `connectTimeout` | TS | time | `15s` | for DNS, TCP, proxy, TLS and upgrade together |
//! | `pingInterval` | TS | time | `20s` | silence after which a WebSocket ping is sent |
//! | `pingTimeout` | TS | time | `20s` | silence after a ping after which the peer is held for dead |
//! | `maxBackoff` | TS | time | `600s` | the longest wait between two attempts to connect |
//! | `startTimeout` | TS | time | `60s` | how long a server may take to its first answer before its endpoint is dialled regardless |
//! | `maxFrameSize` | TS | size | `16MiB` | the largest message, in either direction |
//! | `handshake` | TS | `answer`, `relay` | `answer` | who answers a further `initialize`: mcp-pipe, or the server |
//! | `drainTimeout` | T | time | `5s` | how long calls under way may take to finish at a stop |
//! | `mode` | TS | `auto`, `per-server`, `multiplex`, `sequential` | `auto` | how servers share connections |
//! | `naming` | TS | `auto`, `prefix` | `auto` | on a shared connection: a name that one server has alone stays, or all become `server__name` |
//! | `turn` | TS | time | `5m` | with `sequential`: how long a server has the endpoint; at least 10 s |
//! | `pin` | S | `true`/`false` | false | with `sequential`: its turn does not end |
//! | `resync` | TS | `true`/`false` | true | whether an endpoint that does not read changed lists anew is connected to once more |
//! | `keepListed` | TS | `true`/`false` | true | on a shared connection: whether its tools stay listed while it is down |
//! | `tools` | S | object, or patterns | all | which of its tools are published and as what: see [`super::policy`] |
//! | `slim` | TS | `true`/`false` | false | publishes name, description and inputSchema of a tool only |
//! | `timeout` | TS | time | none | how long a call may take before it is answered with an error |
//! | `maxResultBytes` | TS | size | none | the largest result of a call; larger ones are cut |
//! | `toolBudget` | T | number | 8000 | estimated tokens above which a list of tools is warned about |
//! | `cacheDir` | T | path | the user's cache | where it is remembered what servers said; `""` or `none`: nowhere |
//!
//! Of `mode`, `naming`, `turn` and `resync`, servers of one endpoint have the same: see [`super::sharing`].
//!
//! Times are written `5s`, `2m`, `500ms`; sizes `16MiB`. In values marked `$`, `${VAR}`, `${VAR:-default}` and
//! `${env:VAR}` are expanded. Comments and trailing commas are allowed.

use std::time::Duration;

use jsonc_parser::ast::{ObjectProp, Value};

use super::reader::{Located, Reader};
use super::{Handshake, Mode, Naming, keys, policy, units};
use crate::error::Problem;
use crate::tools::ToolPolicy;

/// The whole file.
#[derive(Debug, Default)]
pub(crate) struct File {
    pub(crate) entries: Vec<Entry>,
    pub(crate) shared: Shared,
    pub(crate) drain_timeout: Option<Duration>,
    pub(crate) tool_budget: Option<usize>,
    pub(crate) cache_dir: Option<Located<String>>,
}

/// What may stand both at the top and in an entry.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) endpoint: Option<Located<String>>,
    pub(crate) endpoint_headers: Vec<(String, Located<String>)>,
    pub(crate) subprotocol: Option<Located<String>>,
    pub(crate) ca_file: Option<Located<String>>,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) ping_interval: Option<Duration>,
    pub(crate) ping_timeout: Option<Duration>,
    pub(crate) max_backoff: Option<Duration>,
    pub(crate) start_timeout: Option<Duration>,
    pub(crate) max_frame: Option<usize>,
    pub(crate) handshake: Option<Handshake>,
    pub(crate) mode: Option<Located<Mode>>,
    pub(crate) naming: Option<Located<Naming>>,
    pub(crate) turn: Option<Located<Duration>>,
    pub(crate) resync: Option<Located<bool>>,
    pub(crate) keep_listed: Option<bool>,
    pub(crate) slim: Option<bool>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) max_result: Option<usize>,
}

/// One `mcpServers` entry.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Where it is said that it does not run.
    pub(crate) disabled: Option<String>,
    pub(crate) args: Vec<Located<String>>,
    pub(crate) env: Vec<(String, Located<String>)>,
    pub(crate) cwd: Option<Located<String>>,
    pub(crate) pin: Option<Located<bool>>,
    /// The part that stands under `tools`.
    pub(crate) tools: ToolPolicy,
    pub(crate) shared: Shared,
}

/// How a server is reached.
#[derive(Debug)]
pub(crate) enum Kind {
    /// By starting a program.
    Stdio(Located<String>),
    /// Over the network, which this version doesn't do; with the place and text of what says so.
    Remote(Located<String>),
    /// Can't be told or can't be run; that has been noted.
    Unknown,
}

/// What reading brought.
pub(crate) struct Reading {
    pub(crate) file: File,
    pub(crate) mistakes: Vec<Problem>,
    pub(crate) warnings: Vec<Problem>,
}

/// Reads the text of a file that is shown to people as `name`.
pub(crate) fn read(name: &str, text: &str) -> Reading {
    let mut reader = Reader::new(name, text);
    let mut file = File::default();
    if let Some(value) = reader.parse() {
        top(&mut reader, &value, &mut file);
    }
    Reading { file, mistakes: reader.mistakes, warnings: reader.warnings }
}

fn top(r: &mut Reader<'_>, value: &Value<'_>, file: &mut File) {
    let mut servers = false;
    for (key, path, prop) in r.members(value, "") {
        match key.as_str() {
            "mcpServers" => {
                servers = true;
                entries(r, prop, &path, file);
            }
            "drainTimeout" => file.drain_timeout = r.parsed(&prop.value, &path, units::duration),
            "toolBudget" => file.tool_budget = r.parsed(&prop.value, &path, units::count),
            "cacheDir" => file.cache_dir = r.string(&prop.value, &path),
            _ if shared(r, &key, prop, &path, &mut file.shared) => {}
            _ => keys::unknown(r, &key, prop, &path, &[keys::TOP, keys::SHARED]),
        }
    }
    if !servers && r.mistakes.is_empty() {
        let example = r#"write {"mcpServers": {"calculator": {"command": "python", "args": ["calculator.py"]}}}"#;
        r.mistake(value, "mcpServers", "is missing", example);
    }
}

fn entries(r: &mut Reader<'_>, prop: &ObjectProp<'_>, path: &str, file: &mut File) {
    // Where it comes twice the last counts, as is warned.
    file.entries.clear();
    let mut lines: Vec<(String, usize)> = Vec::new();
    for (name, path, prop) in r.servers(&prop.value, path) {
        let line = r.line(prop);
        if let Some((_, first)) = lines.iter().find(|(seen, _)| *seen == name) {
            let what = format!("is the second server of that name; the first is on line {first}");
            r.mistake(prop, &path, what, "give each server its own name");
        } else if name.trim().is_empty() || name.chars().any(char::is_control) {
            r.mistake(prop, &path, "is no name for a server", "use letters, digits, - and _");
        }
        lines.push((name.clone(), line));
        file.entries.push(entry(r, name, prop, &path));
    }
}

fn entry(r: &mut Reader<'_>, name: String, prop: &ObjectProp<'_>, path: &str) -> Entry {
    let mut entry = Entry {
        name,
        kind: Kind::Unknown,
        disabled: None,
        args: Vec::new(),
        env: Vec::new(),
        cwd: None,
        pin: None,
        tools: ToolPolicy::default(),
        shared: Shared::default(),
    };
    let before = r.mistakes.len();
    let (mut command, mut transport, mut url, mut headers) = (None, None, None, false);
    let (mut disabled, mut enabled, mut active) = (None, None, None);
    for (key, path, prop) in r.members(&prop.value, path) {
        let value = &prop.value;
        let switch = |r: &mut Reader<'_>, off| (r.boolean(value, &path) == Some(off)).then(|| r.place(prop, &path));
        match key.as_str() {
            "type" | "transportType" | "transport" => transport = r.string(value, &path),
            "command" => command = r.string(value, &path),
            "args" => entry.args = r.strings(value, &path),
            "env" => entry.env = r.string_map(value, &path),
            "cwd" => entry.cwd = r.string(value, &path),
            "pin" => entry.pin = r.located(value, &path, Reader::boolean),
            "tools" => entry.tools = policy::read(r, value, &path),
            "url" | "serverUrl" => url = Some(r.place(prop, &path)),
            "headers" => headers = true,
            "disabled" => disabled = switch(r, true),
            "enabled" => enabled = switch(r, false),
            "isActive" => active = switch(r, false),
            _ if shared(r, &key, prop, &path, &mut entry.shared) => {}
            _ => keys::unknown(r, &key, prop, &path, &[keys::SERVER, keys::SHARED]),
        }
    }
    entry.disabled = disabled.or(enabled).or(active);
    let malformed = r.mistakes.len() > before;
    entry.kind = match (transport, command, url) {
        (Some(t), _, _) if keys::is_remote(&t.value) => Kind::Remote(t),
        (Some(t), _, _) if !t.value.eq_ignore_ascii_case("stdio") => {
            let what = format!("is \"{}\", which is no type of server", t.value);
            r.mistake_at(&t.place, what, "leave it out for a program that is started here");
            Kind::Unknown
        }
        (_, Some(command), _) if command.value.trim().is_empty() => {
            r.mistake_at(&command.place, "is empty", "name the program to start");
            Kind::Unknown
        }
        (_, Some(command), _) => {
            if headers {
                let what = "has headers, which only a remote server has; they are ignored";
                r.warning(prop, path, what, "headers of the WebSocket connection are called endpointHeaders");
            }
            Kind::Stdio(command)
        }
        (None, None, Some(place)) => Kind::Remote(Located { value: "url".to_owned(), place }),
        (_, None, _) => {
            // Where something of it could not be read, that has been said, and may have been the command.
            if !malformed {
                r.mistake(prop, path, "has no command", "add \"command\": the program to start");
            }
            Kind::Unknown
        }
    };
    if entry.disabled.is_some() && r.mistakes.len() > before {
        // Who switches off what is broken wants the others to run.
        let mistakes = r.mistakes.split_off(before);
        r.warnings.extend(mistakes);
        entry.kind = Kind::Unknown;
    }
    entry
}

/// Takes a key that may stand at the top and in an entry. Whether it is one.
fn shared(r: &mut Reader<'_>, key: &str, prop: &ObjectProp<'_>, path: &str, to: &mut Shared) -> bool {
    let value = &prop.value;
    match key {
        "endpoint" => to.endpoint = r.string(value, path),
        "endpointHeaders" => to.endpoint_headers = r.string_map(value, path),
        "subprotocol" => to.subprotocol = r.string(value, path),
        "caFile" => to.ca_file = r.string(value, path),
        "connectTimeout" => to.connect_timeout = r.parsed(value, path, units::duration_from_1s),
        "pingInterval" => to.ping_interval = r.parsed(value, path, units::duration_from_1s),
        "pingTimeout" => to.ping_timeout = r.parsed(value, path, units::duration_from_1s),
        "maxBackoff" => to.max_backoff = r.parsed(value, path, units::duration_from_1s),
        "startTimeout" => to.start_timeout = r.parsed(value, path, units::duration),
        "maxFrameSize" => to.max_frame = r.parsed(value, path, units::frame_size),
        "handshake" => {
            to.handshake = r.parsed(value, path, |text| match text {
                "answer" => Ok(Handshake::Answer),
                "relay" => Ok(Handshake::Relay),
                _ => Err("must be \"answer\" or \"relay\"".to_owned()),
            });
        }
        "mode" => to.mode = r.located(value, path, |r, v, p| r.parsed(v, p, units::choice)),
        "naming" => to.naming = r.located(value, path, |r, v, p| r.parsed(v, p, units::choice)),
        "turn" => to.turn = r.located(value, path, |r, v, p| r.parsed(v, p, units::turn)),
        "resync" => to.resync = r.located(value, path, Reader::boolean),
        "keepListed" => to.keep_listed = r.boolean(value, path),
        "slim" => to.slim = r.boolean(value, path),
        "timeout" => to.timeout = r.parsed(value, path, units::call_timeout),
        "maxResultBytes" => to.max_result = r.parsed(value, path, units::result_size),
        _ => return false,
    }
    true
}
