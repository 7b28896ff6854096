//! The named endpoints of the config, as written.
//!
//! | key | value | default | meaning |
//! |---|---|---|---|
//! | `url` | URL `$` | | the endpoint's address, token included |
//! | `servers` | names or patterns | all that name no endpoint | the servers that it shows, besides those whose `endpoint` names it |
//! | `tools` | object, or patterns | all | `allow` and `deny`: which of their tools it shows; matched against the name that it would see, and `SERVER__TOOL` |
//! | `slim` | `true`/`false` | the server's, or false | publishes name, description and inputSchema of a tool only |
//!
//! Besides the keys for how servers share a connection (`mode`, `naming`, `names`, `turn`, `resync`) and for the connection
//! itself (`endpointHeaders` …) that [`super::file`] lists: here they are this endpoint's own.

use jsonc_parser::ast::{Object, ObjectProp, Value};

use super::keys::{self, Place as Where};
use super::policy::{self, Written};
use super::reader::{Located, Reader};
use super::shared::{Shared, shared};
use crate::error::{Code, Place};
use crate::tools::ToolPolicy;

/// One of `endpoints`.
#[derive(Debug)]
pub(crate) struct NamedEndpoint {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) url: Option<Located<String>>,
    /// `None`: nothing is said of servers.
    pub(crate) servers: Option<Vec<Located<String>>>,
    pub(crate) tools: ToolPolicy,
    /// The patterns in that, each where it stands.
    pub(crate) patterns: Vec<Located<String>>,
    pub(crate) shared: Shared,
}

/// Reads the value of `endpoints`.
pub(crate) fn read(r: &mut Reader<'_>, value: &Value<'_>, path: &str) -> Vec<NamedEndpoint> {
    let mut all: Vec<NamedEndpoint> = Vec::new();
    let is_nameless = |object: &Object<'_>| {
        let is_text = |prop: &ObjectProp<'_>| prop.name.as_str() == "url" && matches!(prop.value, Value::StringLit(_));
        object.properties.iter().any(is_text) && object.properties.iter().any(|prop| prop.name.as_str() == "servers")
    };
    let what = match value {
        Value::Array(_) => Some("is a list, and each endpoint needs a name"),
        Value::Object(object) if is_nameless(object) => Some("is one endpoint, and each stands there behind its name"),
        Value::Object(_) | Value::StringLit(_) | Value::NumberLit(_) | Value::BooleanLit(_) => None,
        Value::NullKeyword(_) => None,
    };
    if let Some(what) = what {
        let what = Code::WrongType.says(what);
        let remedy = r#"write {"kitchen": {"url": "wss://…"}, "office": {"url": "wss://…"}}, with names of your own"#;
        r.mistake(value, path, what, remedy);
        return all;
    }
    for (name, path, prop) in r.members(value, path) {
        if name.trim().is_empty() || name.contains(['/', ':', '$', '*', '?']) || name.chars().any(char::is_control) {
            let what = Code::WrongName.says("is no name for an endpoint");
            r.mistake(prop, &path, what, "use letters, digits, - and _; its address belongs in its url");
        }
        let mut endpoint = NamedEndpoint {
            name,
            place: r.place(prop, &path),
            url: None,
            servers: None,
            tools: ToolPolicy::default(),
            patterns: Vec::new(),
            shared: Shared::default(),
        };
        if let Value::StringLit(_) = prop.value {
            // The address alone.
            endpoint.url = r.string(&prop.value, &path);
            all.push(endpoint);
            continue;
        }
        for (key, path, prop) in keys::members(r, &prop.value, &path, Where::Endpoint) {
            match key.as_str() {
                "url" => endpoint.url = r.string(&prop.value, &path),
                "servers" => endpoint.servers = Some(r.one_or_more(&prop.value, &path)),
                "tools" => (endpoint.tools, endpoint.patterns) = tools(r, &prop.value, &path),
                _ if keys::ENDPOINT.contains(&&*key) && shared(r, &key, prop, &path, &mut endpoint.shared) => {}
                _ => keys::foreign(r, &key, prop, &path, Where::Endpoint),
            }
        }
        if endpoint.url.is_none() {
            let remedy = "add \"url\": the endpoint's address, token included, or ${NAME} for a variable that holds it";
            r.mistake(prop, &path, Code::MissingKey.says("has no url"), remedy);
        }
        all.push(endpoint);
    }
    all
}

/// What an endpoint, or a key of the gateway, lets through. Only `allow` and `deny` mean something for several servers.
pub(crate) fn tools(r: &mut Reader<'_>, value: &Value<'_>, path: &str) -> (ToolPolicy, Vec<Located<String>>) {
    let mut written = Written::default();
    let read = policy::read(r, value, path, &mut written);
    let ToolPolicy { allow, deny, .. } = read.clone();
    let only = ToolPolicy { allow, deny, ..ToolPolicy::default() };
    if read != only {
        let what = "says more than allow and deny, and the rest is a matter of each server";
        r.mistake(value, path, Code::Misplaced.says(what), "write that in the tools of the server's entry");
    }
    (only, written.patterns)
}

/// Takes the addresses out of what an entry says as its `endpoint`, where the names stay.
pub(crate) fn take_addresses(texts: &mut Vec<Located<String>>, names: &[&str]) -> Vec<Located<String>> {
    // Without named endpoints a text can only be meant as an address, and is told of as such.
    let is_plain = |text: &str| !names.is_empty() && !text.trim().is_empty() && !text.contains(['/', ':', '$']);
    let is_name = |text: &str| names.contains(&text) || is_plain(text);
    texts.extract_if(.., |it| !is_name(&it.value)).collect()
}
