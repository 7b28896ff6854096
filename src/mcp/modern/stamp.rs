//! Who asks, in each request of the modern era; and what stands in its results, taken out for clients of the legacy era. Pure.

use std::fmt::Write as _;

use super::{CAPABILITIES, CLIENT_INFO, ERA_OF_PEER, LOG_LEVEL, PREFIX, PROTOCOL_VERSION, SERVER_INFO, VERSION};
use crate::mcp::envelope::Envelope;
use crate::mcp::object;

/// What a request says of whoever asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Raw JSON.
    client: Option<Box<str>>,
    /// Raw JSON, an object.
    capabilities: Box<str>,
    /// Whether whoever asks is of the modern era.
    is_modern: bool,
}

impl Stamp {
    /// For whoever has sent these parameters of `initialize`. `extension`: one of MCP by which the server is spoken to, whoever asks.
    pub(crate) fn of_hello(params: &[u8], extension: Option<&str>) -> Self {
        let params = str::from_utf8(params).unwrap_or_default();
        let client = object::find(params, &["clientInfo"]).filter(|info| info.starts_with('{')).map(Into::into);
        let declared = object::find(params, &["capabilities"]).and_then(object::members).unwrap_or_default();
        let kept = declared.iter().filter_map(|member| match &*member.name() {
            // Tasks of the legacy era are other ones than those of the modern era.
            "tasks" => None,
            // That roots may change is a promise to tell, which the modern era has no way for.
            "roots" => Some((member.key, "{}")),
            "extensions" if extension.is_some() => None,
            _ => Some((member.key, member.value)),
        });
        let extensions = extension.map(|own| {
            let theirs = declared.iter().rev().find(|member| member.name() == "extensions");
            let theirs = theirs.and_then(|theirs| object::members(theirs.value)).unwrap_or_default();
            let theirs = theirs.iter().filter(|member| member.name() != own).map(|member| (member.key, member.value));
            object::object(theirs.chain([(object::quoted(own).as_str(), "{}")]))
        });
        let kept = kept.chain(extensions.as_deref().map(|extensions| ("\"extensions\"", extensions)));
        let is_modern = object::find(params, &["_meta", ERA_OF_PEER]) == Some("\"modern\"");
        Stamp { client, capabilities: object::object(kept).into(), is_modern }
    }

    /// Whether whoever asks is of the modern era.
    pub(crate) fn is_modern(&self) -> bool {
        self.is_modern
    }

    /// Whether whoever asks can answer this question. `path`: names that lead to the capability.
    pub(crate) fn can(&self, path: &[&str]) -> bool {
        object::find(&self.capabilities, path).is_some()
    }

    /// The members of `_meta`, without braces. `level`: the lowest level of log messages that are wanted, raw JSON.
    fn members(&self, level: Option<&str>) -> String {
        let mut text = format!(r#""{PROTOCOL_VERSION}":"{VERSION}","{CAPABILITIES}":{}"#, self.capabilities);
        // To a text nothing can fail to be written.
        if let Some(client) = &self.client {
            let _ = write!(text, r#","{CLIENT_INFO}":{client}"#);
        }
        if let Some(level) = level {
            let _ = write!(text, r#","{LOG_LEVEL}":{level}"#);
        }
        text
    }

    /// The parameters of a request with all that the modern era wants in them, and with these members in place of such as have their
    /// names. Whatever else they hold stays byte for byte. Parameters that are no object stay as they are.
    pub(crate) fn params(&self, params: &str, level: Option<&str>, more: &[(&str, &str)]) -> String {
        let Some(members) = object::members(params) else { return params.to_owned() };
        let mut text = String::with_capacity(params.len() + 256);
        text.push('{');
        let mut meta = self.members(level);
        for member in members {
            let name = member.name();
            if name == "_meta" {
                for own in object::members(member.value).unwrap_or_default() {
                    if !own.name().starts_with(PREFIX) {
                        let _ = write!(meta, ",{}:{}", own.key, own.value);
                    }
                }
            } else if more.iter().all(|(other, _)| *other != name) {
                let _ = write!(text, "{}:{},", member.key, member.value);
            }
        }
        for (name, value) in more {
            let _ = write!(text, "\"{name}\":{value},");
        }
        let _ = write!(text, "\"_meta\":{{{meta}}}}}");
        text
    }
}

/// A message with these parameters in place of its own, and with this id, if there is one to exchange.
pub(crate) fn with_params(frame: &[u8], e: &Envelope, id: Option<u64>, params: &str) -> Vec<u8> {
    let mut parts: Vec<(std::ops::Range<usize>, String)> = Vec::with_capacity(2);
    match e.params.clone() {
        Some(range) => parts.push((range, params.to_owned())),
        None => {
            let end = frame.iter().rposition(|byte| *byte == b'}').unwrap_or(frame.len());
            parts.push((end..end, format!(",\"params\":{params}")));
        }
    }
    if let (Some(range), Some(id)) = (e.id.clone(), id) {
        parts.push((range, id.to_string()));
    }
    replaced(frame, parts)
}

/// A text with these parts exchanged, none of which overlap.
pub(crate) fn replaced(frame: &[u8], mut parts: Vec<(std::ops::Range<usize>, String)>) -> Vec<u8> {
    parts.sort_unstable_by_key(|(range, _)| range.start);
    let mut text = Vec::with_capacity(frame.len() + parts.iter().map(|(_, with)| with.len()).sum::<usize>());
    let mut at = 0;
    for (range, with) in parts {
        text.extend_from_slice(&frame[at..range.start]);
        text.extend_from_slice(with.as_bytes());
        at = range.end;
    }
    text.extend_from_slice(&frame[at..]);
    text
}

/// What a result is (MCP 2026-07-28, basic, `resultType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResultType<'a> {
    /// What was asked for.
    Complete,
    /// The server wants to be told something first.
    InputRequired,
    /// Something that is not known here.
    Other(&'a str),
}

/// The type of a result, by its members.
pub(crate) fn result_type<'a>(members: &[object::Member<'a>]) -> ResultType<'a> {
    match members.iter().rev().find(|member| member.name() == "resultType").map(|member| member.value) {
        None | Some("\"complete\"" | "null") => ResultType::Complete,
        Some("\"input_required\"") => ResultType::InputRequired,
        Some(other) => ResultType::Other(other),
    }
}

/// What stays in a result although servers of the legacy era give no such thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keeps {
    /// How long it may be kept, which is no time at all where the server does not say.
    pub(crate) age: bool,
    /// `structuredContent` that is no object, for which clients of the legacy era check.
    pub(crate) any_content: bool,
}

/// A result as a server of the legacy era would have given it: without what only modern clients know.
pub(crate) fn plain_result(members: &[object::Member<'_>], keeps: Keeps) -> String {
    let mut kept: Vec<(&str, String)> = Vec::with_capacity(members.len());
    for member in members {
        let value = match &*member.name() {
            "resultType" => continue,
            "ttlMs" | "cacheScope" if !keeps.age => continue,
            "structuredContent" if !keeps.any_content && !member.value.starts_with('{') => continue,
            "_meta" => {
                let own = object::members(member.value).unwrap_or_default();
                let others = own.iter().filter(|own| own.name() != SERVER_INFO).map(|own| (own.key, own.value));
                let meta = object::object(others);
                if meta == "{}" && !own.is_empty() {
                    continue;
                }
                meta
            }
            _ => member.value.to_owned(),
        };
        kept.push((member.key, value));
    }
    if keeps.age && members.iter().all(|member| member.name() != "ttlMs") {
        kept.push(("\"ttlMs\"", "0".to_owned()));
    }
    object::object(kept.iter().map(|(key, value)| (*key, value.as_str())))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::mcp::envelope::scan_one;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn stamp() -> Stamp {
        let hello = r#"{"protocolVersion":"2025-06-18","capabilities":{"roots":{"listChanged":true},"tasks":{},"elicitation":{}},
            "clientInfo":{"name":"c","version":"1"}}"#;
        Stamp::of_hello(hello.as_bytes(), None)
    }

    #[test]
    fn a_request_says_who_asks_and_nobody_says_it_for_another() {
        let params = r#"{"name":"t", "arguments":{"n":1.00e400},"_meta":{"progressToken":7,"io.modelcontextprotocol/clientInfo":{"name":"x"}}}"#;
        let made = stamp().params(params, Some("\"info\""), &[]);
        assert!(made.starts_with(r#"{"name":"t","arguments":{"n":1.00e400},"_meta":{"#), "{made}");
        let made: Value = serde_json::from_str(&made.replace("1.00e400", "1")).unwrap();
        assert_eq!(
            made["_meta"],
            json!({
                PROTOCOL_VERSION: VERSION, CAPABILITIES: {"roots": {}, "elicitation": {}},
                CLIENT_INFO: {"name": "c", "version": "1"}, LOG_LEVEL: "info", "progressToken": 7,
            })
        );
        assert_eq!(stamp().params("[1]", None, &[]), "[1]");
        let bare = Stamp::of_hello(b"{}", None).params("{}", None, &[]);
        assert_eq!(bare, format!(r#"{{"_meta":{{"{PROTOCOL_VERSION}":"{VERSION}","{CAPABILITIES}":{{}}}}}}"#));
    }

    #[test]
    fn an_extension_of_ours_stands_beside_those_of_whoever_asks() {
        const OWN: &str = crate::mcp::modern::CLIENT_CREDENTIALS;
        for (theirs, made) in [
            (r#"{"sampling":{}}"#, r#"{"sampling":{},"extensions":{OWN:{}}}"#),
            (
                r#"{"extensions":{"a/b":{ "n":1.00e400 },"io.modelcontextprotocol\/ui":{}},"sampling":{}}"#,
                r#"{"sampling":{},"extensions":{"a/b":{ "n":1.00e400 },"io.modelcontextprotocol\/ui":{},OWN:{}}}"#,
            ),
            // That is between us and the server, whatever is between us and whoever asks.
            (
                r#"{"extensions":{"io.modelcontextprotocol\/oauth-client-credentials":{"x":1},"a/b":{}}}"#,
                r#"{"extensions":{"a/b":{},OWN:{}}}"#,
            ),
            (r#"{"extensions":7}"#, r#"{"extensions":{OWN:{}}}"#),
            ("[]", r#"{"extensions":{OWN:{}}}"#),
        ] {
            let stamp = Stamp::of_hello(format!(r#"{{"capabilities":{theirs}}}"#).as_bytes(), Some(OWN));
            assert_eq!(&*stamp.capabilities, made.replace("OWN", &format!("\"{OWN}\"")), "{theirs}");
        }
        let theirs = r#"{"extensions":{"a/b":{}}}"#;
        assert_eq!(&*Stamp::of_hello(format!(r#"{{"capabilities":{theirs}}}"#).as_bytes(), None).capabilities, theirs);
    }

    #[test]
    fn a_request_is_asked_again_with_what_was_answered() {
        let frame = br#"{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"t","requestState":"old"}}"#;
        let e = scan_one(frame).unwrap();
        let params = str::from_utf8(&frame[e.params.clone().unwrap()]).unwrap();
        let more = [("inputResponses", r#"{"a":{}}"#), ("requestState", "\"\\u00fc\"")];
        let again = with_params(frame, &e, Some(99), &stamp().params(params, None, &more));
        let text = String::from_utf8(again).unwrap();
        assert!(text.contains(r#""id":99,"#) && text.contains(r#""requestState":"\u00fc""#), "{text}");
        assert!(!text.contains("old"), "{text}");
        let frame = br#"{"jsonrpc":"2.0","id":5,"method":"tools/list"}"#;
        let made = with_params(frame, &scan_one(frame).unwrap(), None, "{\"a\":1}");
        assert_eq!(made, br#"{"jsonrpc":"2.0","id":5,"method":"tools/list","params":{"a":1}}"#);
    }

    #[test]
    fn a_result_is_as_a_legacy_server_would_have_given_it() {
        for (result, age, kind, plain) in [
            (r#"{"content":[],"isError":false}"#, false, ResultType::Complete, r#"{"content":[],"isError":false}"#),
            (
                r#"{"resultType":"complete","content":[ 1.0 ],"ttlMs":0,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":{}}}"#,
                false,
                ResultType::Complete,
                r#"{"content":[ 1.0 ]}"#,
            ),
            (
                r#"{"tools":[],"ttlMs":5,"structuredContent":[1],"_meta":{"a":1,"io.modelcontextprotocol/serverInfo":{}}}"#,
                true,
                ResultType::Complete,
                r#"{"tools":[],"ttlMs":5,"_meta":{"a":1}}"#,
            ),
            (
                r#"{"structuredContent":{"a":1},"_meta":{}}"#,
                false,
                ResultType::Complete,
                r#"{"structuredContent":{"a":1},"_meta":{}}"#,
            ),
            (r#"{"resultType":"task"}"#, false, ResultType::Other("\"task\""), "{}"),
            (r#"{"resultType":"input_required"}"#, false, ResultType::InputRequired, "{}"),
        ] {
            let members = object::members(result).unwrap();
            let made = plain_result(&members, Keeps { age, any_content: false });
            assert_eq!((result_type(&members), made.as_str()), (kind, plain), "{result}");
        }
        let any = object::members(r#"{"structuredContent":[1]}"#).unwrap();
        assert_eq!(plain_result(&any, Keeps { age: false, any_content: true }), r#"{"structuredContent":[1]}"#);
    }

    proptest! {
        /// Whatever a request holds besides stays byte for byte.
        #[test]
        fn all_else_stays_as_it_was(members in object::tests::raw_members()) {
            let members: Vec<_> = members.into_iter().filter(|(key, _)| key != "\"_meta\"").collect();
            let text = object::object(members.iter().map(|(key, value)| (key.as_str(), value.as_str())));
            let made = stamp().params(&text, None, &[]);
            let kept = object::members(&made).unwrap();
            prop_assert_eq!(kept.len(), members.len() + 1);
            for (member, (key, value)) in kept.iter().zip(&members) {
                prop_assert_eq!((member.key, member.value), (key.as_str(), value.trim()));
            }
        }
    }
}
