//! What a modern request says of itself, in its headers and in its `_meta`, and what is wrong with that (MCP 2026-07-28, basic, and
//! basic/transports). Pure.

use std::borrow::Cow;

use http::header::HeaderMap;
use http::{HeaderName, StatusCode};

use crate::gateway::era::VERSION_HEADER;
use crate::mcp::envelope::{Envelope, Kind, Scanned};
use crate::mcp::modern::headers::{self, METHOD, NAME};
use crate::mcp::modern::{
    CAPABILITIES, CLIENT_INFO, ERA_OF_PEER, HEADER_MISMATCH, LOG_LEVEL, PREFIX, PROTOCOL_VERSION, UNSUPPORTED_VERSION,
    VERSION,
};
use crate::mcp::object::{self, Member};
use crate::mcp::reply::{self, INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND};

/// The levels of log messages, the lowest first (MCP 2026-07-28, server/utilities/logging).
pub(super) const LEVELS: [&str; 8] = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

/// Longest piece of a request that an error quotes, in bytes.
const SHOWN: usize = 100;

/// Methods of a legacy conversation that the modern era has no use for, or has in another form.
const REMOVED: [&str; 9] = [
    "initialize",
    "ping",
    "logging/setLevel",
    "resources/subscribe",
    "resources/unsubscribe",
    "tasks/get",
    "tasks/result",
    "tasks/cancel",
    "tasks/list",
];

/// Why a request is answered with an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) status: StatusCode,
    code: i32,
    message: String,
    /// Further members of `data`, raw JSON.
    more: Vec<(&'static str, String)>,
}

impl Fault {
    pub(super) fn new(status: StatusCode, code: i32, message: impl Into<String>) -> Self {
        Fault { status, code, message: message.into(), more: Vec::new() }
    }

    fn bad(code: i32, message: impl Into<String>) -> Self {
        Fault::new(StatusCode::BAD_REQUEST, code, message)
    }

    fn header(message: impl Into<String>) -> Self {
        Fault::bad(HEADER_MISMATCH, message)
    }

    /// With a member of `data`, raw JSON.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.more.push((name, value.into()));
        self
    }

    /// The answer. `id`: the raw token.
    pub(super) fn answer(&self, id: &[u8]) -> Vec<u8> {
        let more: Vec<(&str, &str)> = self.more.iter().map(|(name, value)| (*name, value.as_str())).collect();
        reply::error_with(id, self.code, &self.message, &more)
    }
}

/// Who asks, as a request says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    /// Raw JSON, an object.
    pub(super) capabilities: Box<str>,
    /// Raw JSON, an object.
    pub(super) info: Option<Box<str>>,
    /// The lowest level of log messages that are wanted, by its place among [`LEVELS`].
    pub(super) level: Option<usize>,
}

impl Caller {
    /// Whether whoever asks can answer this. `path`: names that lead to the capability.
    pub(super) fn can(&self, path: &[&str]) -> bool {
        object::find(&self.capabilities, path).is_some_and(|value| value != "null")
    }

    /// The parameters of `initialize` by which a server of the legacy era learns who asks.
    pub(super) fn hello(&self) -> String {
        let declared = object::members(&self.capabilities).unwrap_or_default();
        // Extensions are agreed on in each request, and tasks of the legacy era are other ones.
        let kept = declared
            .iter()
            .filter(|member| !matches!(&*member.name(), "extensions" | "tasks") && member.value.starts_with('{'));
        let capabilities = object::object(kept.map(|member| (member.key, member.value)));
        let ours = || concat!(r#"{"name":"mcp-pipe","version":""#, env!("CARGO_PKG_VERSION"), r#""}"#);
        let info = self.info.as_deref().unwrap_or_else(ours);
        let era = format!(r#""_meta":{{"{ERA_OF_PEER}":"modern"}}"#);
        format!(r#"{{"protocolVersion":"2025-11-25","capabilities":{capabilities},"clientInfo":{info},{era}}}"#)
    }
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Discover,
    Listen,
    /// Something in whose course a server may want to be told more.
    Work,
    /// A page of the tools.
    Tools,
    /// Anything else.
    Plain,
}

/// A modern request without a fault.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    /// The raw token.
    pub(super) id: &'a [u8],
    pub(super) method: Cow<'a, str>,
    pub(super) wanted: Wanted,
    pub(super) params: Vec<Member<'a>>,
    meta: Vec<Member<'a>>,
    pub(super) caller: Caller,
}

impl<'a> Asked<'a> {
    /// A parameter, raw JSON.
    pub(super) fn param(&self, name: &str) -> Option<&'a str> {
        member(&self.params, name)
    }

    /// The token under which progress is wanted, raw JSON.
    pub(super) fn token(&self) -> Option<&'a str> {
        member(&self.meta, "progressToken")
    }

    /// The parameters as a server of the legacy era takes them: without what only the modern era knows.
    pub(super) fn plain_params(&self) -> String {
        let meta = self.meta.iter().filter(|member| !member.name().starts_with(PREFIX));
        let meta = object::object(meta.map(|member| (member.key, member.value)));
        let others = self.params.iter().filter(|member| !is_of_era(&member.name()));
        let others = others.map(|member| (member.key, member.value));
        object::object(others.chain((meta != "{}").then_some(("\"_meta\"", meta.as_str()))))
    }

    /// What makes two requests the same one, asked again: all parameters but those that belong to one try.
    pub(super) fn substance(&self) -> Vec<&'a str> {
        let mut kept: Vec<_> = self.params.iter().filter(|member| !is_of_era(&member.name())).collect();
        kept.sort_by_key(|member| member.name());
        kept.iter().flat_map(|member| [member.key, member.value]).collect()
    }
}

/// Whether a parameter is none of a server of the legacy era.
fn is_of_era(name: &str) -> bool {
    matches!(name, "_meta" | "inputResponses" | "requestState")
}

fn member<'a>(members: &[Member<'a>], name: &str) -> Option<&'a str> {
    members.iter().rev().find(|member| member.name() == name).map(|member| member.value)
}

/// Reads a message; `None`: one that wants no answer.
///
/// # Errors
/// What is wrong with it, and the id of the answer.
pub(super) fn check<'a>(
    headers: &HeaderMap,
    body: &'a [u8],
    scanned: &Scanned,
) -> Result<Option<Asked<'a>>, (Fault, &'a [u8])> {
    let e = match scanned {
        Scanned::One(e) => e,
        Scanned::Batch(_) => {
            return Err((
                Fault::bad(INVALID_REQUEST, "a batch: one message at a time, in this version of MCP"),
                b"null",
            ));
        }
    };
    let id = e.id.clone().map(|id| &body[id]);
    match e.kind(body) {
        Kind::Notification if id.is_none() => return Ok(None),
        Kind::Notification => return Err((Fault::bad(INVALID_REQUEST, "its id is null"), b"null")),
        Kind::Response => {
            let why = "an answer: in this version of MCP answers go into `inputResponses` of a request";
            return Err((Fault::bad(INVALID_REQUEST, why), b"null"));
        }
        Kind::Other => return Err((Fault::bad(INVALID_REQUEST, "it is no request"), id.unwrap_or(b"null"))),
        Kind::Request => {}
    }
    let id = id.unwrap_or(b"null");
    request(headers, body, e, id).map(Some).map_err(|fault| (fault, id))
}

fn request<'a>(headers: &HeaderMap, body: &'a [u8], e: &Envelope, id: &'a [u8]) -> Result<Asked<'a>, Fault> {
    let of = |range: &Option<std::ops::Range<usize>>| {
        range.clone().map_or("", |range| str::from_utf8(&body[range]).unwrap_or_default())
    };
    let params = of(&e.params);
    // Some serializers write `\/` for a slash.
    let quoted = e.method.clone().map(|method| method.start - 1..method.end + 1);
    let method = object::text_of(of(&quoted)).unwrap_or_default();
    if method.chars().any(|c| c.is_control() || c == '"' || c == '\\') {
        return Err(Fault::bad(INVALID_REQUEST, "its method holds a quote, a backslash or a control character"));
    }
    let params = object::members(params).unwrap_or_default();
    let meta = member(&params, "_meta").and_then(object::members).unwrap_or_default();
    let caller = caller(headers, &meta)?;
    let named = header(headers, &METHOD)?.ok_or_else(|| Fault::header("Mcp-Method is missing"))?;
    if named != method {
        return Err(Fault::header(format!("Mcp-Method is {}, and the body's method another", shown(named))));
    }
    let wanted = match &*method {
        "server/discover" => Wanted::Discover,
        "subscriptions/listen" => Wanted::Listen,
        "tools/call" | "prompts/get" | "resources/read" => Wanted::Work,
        "tools/list" => Wanted::Tools,
        _ if REMOVED.contains(&&*method) || method.starts_with("notifications/") => {
            let why = format!("method not found: MCP {VERSION} has no {}", shown(&method));
            return Err(Fault::new(StatusCode::NOT_FOUND, METHOD_NOT_FOUND, why));
        }
        _ => Wanted::Plain,
    };
    let about = match &*method {
        "tools/call" | "prompts/get" => Some("name"),
        "resources/read" => Some("uri"),
        _ => None,
    };
    if let Some(about) = about {
        same_name(headers, member(&params, about), about)?;
    }
    Ok(Asked { id, method, wanted, params, meta, caller })
}

/// Who asks, by `_meta`, and in which version of MCP.
fn caller(headers: &HeaderMap, meta: &[Member<'_>]) -> Result<Caller, Fault> {
    let missing = |name: &str| Fault::bad(INVALID_PARAMS, format!("invalid params: _meta has no {name}"));
    let version = member(meta, PROTOCOL_VERSION).and_then(object::text_of);
    let version = version.ok_or_else(|| missing(&format!("{PROTOCOL_VERSION}, a text")))?;
    let named = header(headers, &VERSION_HEADER)?.ok_or_else(|| Fault::header("MCP-Protocol-Version is missing"))?;
    if named != version {
        let why = format!("MCP-Protocol-Version is {}, and {PROTOCOL_VERSION} in _meta another", shown(named));
        return Err(Fault::header(why));
    }
    if version != VERSION {
        let why = format!("MCP {} is not spoken here without a handshake; {VERSION} is", shown(&version));
        return Err(Fault::bad(UNSUPPORTED_VERSION, why)
            .with("supported", format!("[\"{VERSION}\"]"))
            .with("requested", object::quoted(&version)));
    }
    let is_object = |value: &&str| value.starts_with('{');
    let capabilities = member(meta, CAPABILITIES).filter(is_object);
    let capabilities = capabilities.ok_or_else(|| missing(&format!("{CAPABILITIES}, an object")))?;
    let info = member(meta, CLIENT_INFO);
    if info.is_some_and(|info| !info.starts_with('{')) {
        return Err(Fault::bad(INVALID_PARAMS, format!("invalid params: {CLIENT_INFO} in _meta is no object")));
    }
    let level = match member(meta, LOG_LEVEL) {
        None => None,
        Some(level) => {
            let level = object::text_of(level).and_then(|level| level_of(&level));
            let why = || Fault::bad(INVALID_PARAMS, format!("invalid params: {LOG_LEVEL} in _meta is no level"));
            Some(level.ok_or_else(why)?)
        }
    };
    Ok(Caller { capabilities: capabilities.into(), info: info.map(Into::into), level })
}

/// The place of a level among [`LEVELS`].
pub(super) fn level_of(level: &str) -> Option<usize> {
    LEVELS.iter().position(|other| *other == level)
}

/// Checks that `Mcp-Name` names what the request is about. `value`: that parameter, raw JSON.
fn same_name(headers: &HeaderMap, value: Option<&str>, param: &str) -> Result<(), Fault> {
    let named = header(headers, &NAME)?.ok_or_else(|| Fault::header("Mcp-Name is missing"))?;
    let named = headers::decoded(named).ok_or_else(|| Fault::header("Mcp-Name can't be read: its base64 is broken"))?;
    match value.and_then(object::text_of) {
        Some(value) if value == named => Ok(()),
        Some(_) | None => {
            Err(Fault::header(format!("Mcp-Name is {}, and params.{param} of the body another", shown(&named))))
        }
    }
}

/// The value of a header that may come once.
fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Fault> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => match value.to_str() {
            Ok(value) => Ok(Some(value.trim_matches([' ', '\t']))),
            Err(_) => Err(Fault::header(format!("{name} holds characters that no header may"))),
        },
        (Some(_), Some(_)) => Err(Fault::header(format!("{name} comes twice"))),
    }
}

/// What a person wrote, short.
fn shown(text: &str) -> Cow<'_, str> {
    match text.len() <= SHOWN {
        true => Cow::Borrowed(text),
        false => Cow::Owned(format!("{}…", &text[..text.floor_char_boundary(SHOWN)])),
    }
}

#[cfg(test)]
mod tests;
