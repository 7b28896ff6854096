//! What a server of the legacy era has answered, in the words of the modern one (MCP 2026-07-28, basic, and server/discover). Pure.

use http::StatusCode;

use super::envelope::{Caller, Fault};
use crate::mcp::failure::Failure;
use crate::mcp::modern::{KEY_OF_QUESTION, MISSING_CAPABILITY, SERVER_INFO, SUBSCRIPTION, VERSION};
use crate::mcp::object::{self, Member};
use crate::mcp::reply::{INTERNAL, INVALID_PARAMS, METHOD_NOT_FOUND, OURS, RESOURCE_NOT_FOUND, TIMEOUT, UNAVAILABLE};

/// MCP 2025-11-25, client/elicitation: the request can be served once a person has been at these addresses. Servers of the modern era ask
/// in their result.
const URL_ELICITATION_REQUIRED: i32 = -32042;

/// The lists and what else a client may keep for a while (MCP 2026-07-28, server/utilities/caching).
const KEPT: [&str; 6] =
    ["server/discover", "tools/list", "prompts/list", "resources/list", "resources/templates/list", "resources/read"];

/// What is said of the age of a result: nobody knows for how long the server will say the same, nor whether to others.
const AGE: &str = r#","ttlMs":0,"cacheScope":"private""#;

/// A message for the client, the last one of its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Last {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
}

impl Last {
    pub(super) fn ok(body: Vec<u8>) -> Self {
        Last { status: StatusCode::OK, body }
    }

    pub(super) fn fault(fault: &Fault, id: &[u8]) -> Self {
        Last { status: fault.status, body: fault.answer(id) }
    }
}

/// What a request is to be told about.
#[derive(Debug, Clone, Copy)]
pub(super) struct About<'a> {
    /// The raw token of the answer's id.
    pub(super) id: &'a [u8],
    pub(super) method: &'a str,
    /// The URI of the resource that is read, raw JSON.
    pub(super) uri: Option<&'a str>,
    /// What the servers call themselves, raw JSON.
    pub(super) server: Option<&'a str>,
}

/// A result of a server, stamped.
pub(super) fn result(about: About<'_>, result: &str) -> Last {
    let Some(inside) = result.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
        let why = "the server has answered with something that is no object, as each result has to be";
        return Last::fault(&Fault::new(StatusCode::OK, INTERNAL, why), about.id);
    };
    let is_stamped = ["\"resultType\"", "\"_meta\"", "\"ttlMs\"", "\"cacheScope\""]
        .into_iter()
        .any(|name| memchr::memmem::find(inside.as_bytes(), name.as_bytes()).is_some());
    // Nearly all results have none of this, and are copied as they are.
    if !is_stamped {
        return complete(about, inside.trim(), &[]);
    }
    let members = object::members(result).unwrap_or_default();
    let mut text = String::with_capacity(inside.len());
    let mut meta = Vec::new();
    for member in &members {
        match &*member.name() {
            "resultType" | "ttlMs" | "cacheScope" => continue,
            "_meta" => meta = object::members(member.value).unwrap_or_default(),
            _ => {
                let comma = if text.is_empty() { "" } else { "," };
                text.extend([comma, member.key, ":", member.value]);
            }
        }
    }
    complete(about, &text, &meta)
}

/// A whole result. `inside`: its members, without braces.
fn complete(about: About<'_>, inside: &str, meta: &[Member<'_>]) -> Last {
    let mut body = String::with_capacity(inside.len() + 256);
    body.push_str("{\"jsonrpc\":\"2.0\",\"id\":");
    body.push_str(str::from_utf8(about.id).unwrap_or("null"));
    body.push_str(",\"result\":{\"resultType\":\"complete\"");
    if !inside.is_empty() {
        body.extend([",", inside]);
    }
    if KEPT.contains(&about.method) {
        body.push_str(AGE);
    }
    push_meta(&mut body, meta, about.server, None);
    body.push_str("}}");
    Last::ok(body.into_bytes())
}

/// Adds `_meta` with what the servers call themselves. `listen`: the id of the request for news that ends so.
fn push_meta(body: &mut String, meta: &[Member<'_>], server: Option<&str>, listen: Option<&str>) {
    let own = [(SUBSCRIPTION, listen), (SERVER_INFO, server)];
    let own = own.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
    let kept = meta.iter().filter(|member| server.is_none() || member.name() != SERVER_INFO);
    let mut between = ",\"_meta\":{";
    for member in kept {
        body.extend([between, member.key, ":", member.value]);
        between = ",";
    }
    for (name, value) in own {
        body.extend([between, "\"", name, "\":", value]);
        between = ",";
    }
    if between == "," {
        body.push('}');
    }
}

/// What a server has asked, for the result that asks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    /// The name under which it is answered.
    pub(super) key: String,
    /// The raw token of its id; empty if the server waits for no answer to it.
    pub(super) id: Box<[u8]>,
    pub(super) method: Box<str>,
    /// Raw JSON.
    pub(super) params: Option<Box<str>>,
}

impl Question {
    /// What of the client's capabilities is missing for it, as `requiredCapabilities` names it.
    pub(super) fn lacks(&self, caller: &Caller) -> Option<&'static str> {
        let params = self.params.as_deref().unwrap_or("{}");
        let is_url = || object::find(params, &["mode"]) == Some("\"url\"");
        let has = |name| object::find(params, &[name]).is_some_and(|value| value != "null");
        match &*self.method {
            "elicitation/create" if is_url() => {
                (!caller.can(&["elicitation", "url"])).then_some(r#"{"elicitation":{"url":{}}}"#)
            }
            "elicitation/create" => {
                // Without a word on how, it is by a form.
                let can = caller.can(&["elicitation", "form"])
                    || caller.can(&["elicitation"]) && !caller.can(&["elicitation", "url"]);
                (!can).then_some(r#"{"elicitation":{"form":{}}}"#)
            }
            "sampling/createMessage" if !caller.can(&["sampling"]) => Some(r#"{"sampling":{}}"#),
            "sampling/createMessage" if has("tools") || has("toolChoice") => {
                (!caller.can(&["sampling", "tools"])).then_some(r#"{"sampling":{"tools":{}}}"#)
            }
            "roots/list" => (!caller.can(&["roots"])).then_some(r#"{"roots":{}}"#),
            _ => None,
        }
    }

    /// The question without what only a legacy conversation knows, raw JSON.
    fn shown(&self) -> String {
        let params = self.params.as_deref().and_then(object::members).unwrap_or_default();
        let kept = params.iter().filter(|member| !matches!(&*member.name(), "_meta" | "elicitationId" | "task"));
        let meta = params.iter().rev().find(|member| member.name() == "_meta").and_then(|meta| own_meta(meta.value));
        let kept = kept.map(|member| (member.key, member.value));
        let params = object::object(kept.chain(meta.as_deref().map(|meta| ("\"_meta\"", meta))));
        let method = object::quoted(&self.method);
        object::object([("\"method\"", method.as_str()), ("\"params\"", params.as_str())].into_iter())
    }
}

/// What a server of the modern era says in the `_meta` of its question. That of the legacy era speaks of its conversation.
fn own_meta(meta: &str) -> Option<String> {
    let (ours, own): (Vec<_>, Vec<_>) =
        object::members(meta)?.into_iter().partition(|member| member.name() == KEY_OF_QUESTION);
    let is_any = !ours.is_empty() && !own.is_empty();
    is_any.then(|| object::object(own.iter().map(|member| (member.key, member.value))))
}

/// Whether a client of the modern era can be asked this at all.
pub(super) fn is_question(method: &str) -> bool {
    matches!(method, "elicitation/create" | "sampling/createMessage" | "roots/list")
}

/// That a client lacks what a server needs of it.
pub(super) fn lacking(what: &str) -> Fault {
    let why = "the server asks for something that this client has not said it can give";
    Fault::new(StatusCode::BAD_REQUEST, MISSING_CAPABILITY, why).with("requiredCapabilities", what)
}

/// A result that asks these questions. `state`: to be given back with the answers.
pub(super) fn input_required(about: About<'_>, questions: &[Question], state: Option<&str>) -> Last {
    let mut body = String::with_capacity(512);
    body.push_str("{\"jsonrpc\":\"2.0\",\"id\":");
    body.push_str(str::from_utf8(about.id).unwrap_or("null"));
    body.push_str(",\"result\":{\"resultType\":\"input_required\",\"inputRequests\":{");
    for (n, question) in questions.iter().enumerate() {
        let comma = if n == 0 { "" } else { "," };
        body.extend([comma, &object::quoted(&question.key), ":", &question.shown()]);
    }
    body.push('}');
    if let Some(state) = state {
        body.extend([",\"requestState\":", &object::quoted(state)]);
    }
    push_meta(&mut body, &[], about.server, None);
    body.push_str("}}");
    Last::ok(body.into_bytes())
}

/// An error of a server, for a client of the modern era. `error`: raw JSON.
pub(super) fn error(about: About<'_>, frame: &[u8], caller: &Caller) -> Last {
    let Failure { code, message } = Failure::read(frame);
    let text = str::from_utf8(frame).unwrap_or_default();
    let error = object::find(text, &["error"]).unwrap_or("{}");
    let data = object::find(error, &["data"]);
    match code {
        RESOURCE_NOT_FOUND if about.method == "resources/read" => {
            let uri = data.and_then(|data| object::find(data, &["uri"])).or(about.uri);
            let data = object::object(uri.map(|uri| ("\"uri\"", uri)).into_iter());
            return Last::ok(failed(about.id, INVALID_PARAMS, &message, Some(&data)));
        }
        URL_ELICITATION_REQUIRED => {
            let all = data.and_then(|data| object::find(data, &["elicitations"])).unwrap_or("[]");
            let all = object::elements(all, usize::MAX).unwrap_or_default();
            let question = |(n, params): (usize, &&str)| Question {
                key: format!("url-{}", n + 1),
                id: Box::default(),
                method: "elicitation/create".into(),
                params: Some((*params).into()),
            };
            let questions: Vec<_> = all.iter().enumerate().map(question).collect();
            if !questions.is_empty() {
                return match questions.iter().find_map(|question| question.lacks(caller)) {
                    Some(what) => Last::fault(&lacking(what), about.id),
                    None => input_required(about, &questions, None),
                };
            }
            return Last::ok(failed(about.id, INTERNAL, &message, data));
        }
        // These have another meaning from now on, or none.
        RESOURCE_NOT_FOUND => return Last::ok(failed(about.id, INVALID_PARAMS, &message, data)),
        UNAVAILABLE | TIMEOUT if data.is_some_and(|data| object::find(data, &[OURS.0]).is_some()) => {
            let reason = if code == TIMEOUT { "\"timeout\"" } else { "\"unavailable\"" };
            let fault = Fault::new(StatusCode::OK, INTERNAL, message).with("reason", reason);
            return Last::fault(&fault, about.id);
        }
        _ => {}
    }
    let status = match code {
        METHOD_NOT_FOUND => StatusCode::NOT_FOUND,
        // Of a server of the modern era.
        MISSING_CAPABILITY => StatusCode::BAD_REQUEST,
        _ => StatusCode::OK,
    };
    let id = str::from_utf8(about.id).unwrap_or("null");
    Last { status, body: format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#).into_bytes() }
}

/// An error of another code. `data`: raw JSON.
fn failed(id: &[u8], code: i32, message: &str, data: Option<&str>) -> Vec<u8> {
    let id = str::from_utf8(id).unwrap_or("null");
    let data = data.map(|data| format!(",\"data\":{data}")).unwrap_or_default();
    let message = object::quoted(message);
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":{message}{data}}}}}"#).into_bytes()
}

/// What the servers say of themselves, by their result of `initialize`.
pub(super) fn discovered(about: About<'_>, welcome: &str) -> Last {
    let declared = object::find(welcome, &["capabilities"]).and_then(object::members).unwrap_or_default();
    // Tasks of the legacy era are other ones; extensions are agreed on with the server itself.
    let kept = declared.iter().filter(|member| !matches!(&*member.name(), "tasks" | "extensions"));
    let capabilities = object::object(kept.map(|member| (member.key, member.value)));
    let mut inside = format!(r#""supportedVersions":["{VERSION}"],"capabilities":{capabilities}"#);
    if let Some(text) = object::find(welcome, &["instructions"]).filter(|text| text.starts_with('"')) {
        inside.extend([",\"instructions\":", text]);
    }
    complete(about, &inside, &[])
}

/// What ends a stream of news in good order. `listen`: the id of the request for them, raw.
pub(super) fn no_more_news(listen: &str, server: Option<&str>) -> String {
    let mut body = format!(r#"{{"jsonrpc":"2.0","id":{listen},"result":{{"resultType":"complete""#);
    push_meta(&mut body, &[], server, Some(listen));
    body.push_str("}}");
    body
}

/// A notification that belongs to a request for news. `params`: its own, raw JSON. `listen`: the id of that request, raw.
pub(super) fn news(method: &str, params: &str, listen: &str) -> String {
    let params = object::members(params).unwrap_or_default();
    let mut body = format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{{"#);
    let mut meta = Vec::new();
    for member in &params {
        match &*member.name() {
            "_meta" => meta = object::members(member.value).unwrap_or_default(),
            _ => body.extend([member.key, ":", member.value, ","]),
        }
    }
    let others = meta.iter().filter(|member| member.name() != SUBSCRIPTION);
    let own = (object::quoted(SUBSCRIPTION), listen);
    let meta = object::object(others.map(|member| (member.key, member.value)).chain([(own.0.as_str(), own.1)]));
    body.extend(["\"_meta\":", &meta, "}}"]);
    body
}

#[cfg(test)]
mod tests;
