//! The keys that may stand in several places of the file: at the top, in an entry, in a named endpoint.

use std::time::Duration;

use jsonc_parser::ast::{ObjectProp, Value};

use super::reader::{Located, Reader, truth};
use super::{EraChoice, Handshake, Mode, Names, Naming, Share, units};
use crate::error::Code;
use crate::tools::Glob;

/// What may stand both at the top and in an entry.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// An address. Of several the first; others of an entry are in its `more`.
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
    pub(crate) handshake: Option<Located<Handshake>>,
    pub(crate) era: Option<EraChoice>,
    pub(crate) mode: Option<Located<Mode>>,
    pub(crate) naming: Option<Located<Naming>>,
    pub(crate) names: Option<Located<Names>>,
    pub(crate) turn: Option<Located<Duration>>,
    pub(crate) resync: Option<Located<bool>>,
    pub(crate) keep_listed: Option<bool>,
    pub(crate) slim: Option<bool>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) max_result: Option<usize>,
    pub(crate) inherit: Option<Located<Inherit>>,
    pub(crate) instances: Option<Located<Share>>,
    pub(crate) idle: Option<Located<Duration>>,
    pub(crate) max_instances: Option<Located<usize>>,
}

/// What a server inherits of mcp-pipe's environment and `.env`.
#[derive(Debug, Clone)]
pub(crate) enum Inherit {
    /// Everything.
    All,
    /// The variables that programs need to start, and those that these patterns cover.
    Only(Vec<Glob>),
}

/// The value of `endpoint`: a text, or a list of one.
fn endpoint(r: &mut Reader<'_>, value: &Value<'_>, path: &str) -> Option<Located<String>> {
    if !matches!(value, Value::Array(_)) {
        return r.string(value, path);
    }
    let mut all = r.strings(value, path);
    if all.len() > 1 {
        let what = format!("names {} endpoints, and at the top there is one", all.len());
        r.mistake(value, path, Code::WrongValue.says(what), "name them in \"endpoints\", each with its url");
    }
    all.truncate(1);
    all.pop()
}

/// The value of `inheritEnv`: `true`, `false`, or the names of variables. A text that is neither is a list of one.
fn inherit(r: &mut Reader<'_>, value: &Value<'_>, path: &str) -> Option<Inherit> {
    if matches!(value, Value::Array(_)) {
        let names = r.strings(value, path);
        return Some(Inherit::Only(names.iter().map(|name| Glob::new(&name.value)).collect()));
    }
    if let Value::StringLit(name) = value
        && let (name, None) = (name.value.trim(), truth(&name.value))
        && !name.is_empty()
    {
        return Some(Inherit::Only(vec![Glob::new(name)]));
    }
    let all = r.boolean(value, path)?;
    Some(if all { Inherit::All } else { Inherit::Only(Vec::new()) })
}

/// Reads a key that may stand at the top and in an entry. Returns false for any other key.
pub(crate) fn shared(r: &mut Reader<'_>, key: &str, prop: &ObjectProp<'_>, path: &str, to: &mut Shared) -> bool {
    let value = &prop.value;
    match key {
        "endpoint" => to.endpoint = endpoint(r, value, path),
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
            let read = |text: &str| match text {
                "answer" => Ok(Handshake::Answer),
                "relay" => Ok(Handshake::Relay),
                _ => Err(units::none_of(text, &["answer", "relay"])),
            };
            to.handshake = r.located(value, path, |r, v, p| r.parsed(v, p, read));
        }
        "era" => to.era = r.parsed(value, path, units::choice),
        "mode" => to.mode = r.located(value, path, |r, v, p| r.parsed(v, p, units::choice)),
        "naming" => to.naming = r.located(value, path, |r, v, p| r.parsed(v, p, units::choice)),
        "names" => to.names = r.located(value, path, |r, v, p| r.parsed(v, p, units::choice)),
        "turn" => to.turn = r.located(value, path, |r, v, p| r.parsed(v, p, units::turn)),
        "resync" => to.resync = r.located(value, path, Reader::boolean),
        "keepListed" => to.keep_listed = r.boolean(value, path),
        "slim" => to.slim = r.boolean(value, path),
        "timeout" => to.timeout = r.parsed(value, path, units::call_timeout),
        "maxResultBytes" => to.max_result = r.parsed(value, path, units::result_size),
        "inheritEnv" => to.inherit = r.located(value, path, inherit),
        "instances" => to.instances = r.located(value, path, |r, v, p| r.parsed(v, p, units::choice)),
        "idle" => to.idle = r.located(value, path, |r, v, p| r.parsed(v, p, units::duration_from_1s)),
        "maxInstances" => to.max_instances = r.located(value, path, |r, v, p| r.parsed(v, p, units::instances)),
        _ => return false,
    }
    true
}
