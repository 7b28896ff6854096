//! What an HTTP request of the modern era repeats of its body, so that what stands between may route it (MCP 2026-07-28,
//! basic/transports, headers). Pure.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::super::object;

/// The method of a request.
pub(crate) const METHOD: HeaderName = HeaderName::from_static("mcp-method");
/// What it is about: the name of a tool or prompt, the URI of a resource.
pub(crate) const NAME: HeaderName = HeaderName::from_static("mcp-name");
/// Begins the name of a header that repeats an argument.
const PARAM: &str = "mcp-param-";
/// The key by which a schema says that an argument is repeated.
const ANNOTATION: &str = "x-mcp-header";
/// Most levels of a schema that are looked at: a schema that is deeper is none that anybody wrote.
const DEPTH: usize = 64;
/// Most tools whose annotations are kept, and most annotations of one.
const MAX_TOOLS: usize = 10_000;
const MAX_PARAMS: usize = 64;

/// Headers of one request.
pub(crate) type Headers = Vec<(HeaderName, HeaderValue)>;

/// The arguments of tools that are repeated in headers.
#[derive(Debug, Default)]
pub(crate) struct Repeated(BTreeMap<Box<str>, Vec<Param>>);

/// An argument that is repeated.
#[derive(Debug, PartialEq, Eq)]
struct Param {
    /// The names that lead to it.
    path: Vec<String>,
    header: HeaderName,
}

/// A tool that says of its arguments what none may, with what is wrong.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Bad {
    pub(crate) tool: String,
    pub(crate) why: &'static str,
}

/// The headers of a request: `about` is the raw JSON text of what it is about, if it is about something.
pub(crate) fn of_request(method: &str, about: Option<&str>) -> Headers {
    let mut headers = Headers::new();
    headers.extend(HeaderValue::from_str(method).ok().map(|value| (METHOD, value)));
    let about = about.and_then(object::text_of).map(|text| encoded(&text));
    headers.extend(about.and_then(|text| HeaderValue::from_str(&text).ok()).map(|value| (NAME, value)));
    headers
}

/// A text as the value of a header: what no header may hold, or readers would not tell apart, is written in base64.
fn encoded(text: &str) -> String {
    let is_plain = text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && text.trim() == text;
    let looks_encoded = text.to_ascii_lowercase().starts_with("=?base64?") && text.ends_with("?=");
    if is_plain && !looks_encoded {
        return text.to_owned();
    }
    format!("=?base64?{}?=", BASE64_STANDARD.encode(text))
}

/// The text that a header says; `None` if its base64 is broken.
pub(crate) fn decoded(value: &str) -> Option<Cow<'_, str>> {
    match value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) {
        Some(inside) => String::from_utf8(BASE64_STANDARD.decode(inside).ok()?).ok().map(Cow::Owned),
        None => Some(Cow::Borrowed(value)),
    }
}

impl Repeated {
    /// Whether no argument of any tool is repeated.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The header of a call that does not say what the arguments say, if there is one. `arguments`: raw JSON.
    pub(crate) fn differing(&self, tool: &str, arguments: &str, headers: &HeaderMap) -> Option<&HeaderName> {
        let says_it = |param: &&Param| {
            let path: Vec<&str> = param.path.iter().map(String::as_str).collect();
            let argument = object::find(arguments, &path);
            let is_text = argument.is_some_and(|argument| argument.starts_with('"'));
            let wanted = argument.and_then(text_of_argument);
            let mut said = headers.get_all(&param.header).iter();
            match (wanted, said.next(), said.next()) {
                (None, None, None) => true,
                (Some(wanted), Some(said), None) => {
                    let said = said.to_str().ok().map(|said| said.trim_matches([' ', '\t'])).and_then(decoded);
                    said.is_some_and(|said| said == wanted || !is_text && same_number(&said, &wanted))
                }
                (_, _, _) => false,
            }
        };
        self.0.get(tool)?.iter().find(|param| !says_it(param)).map(|param| &param.header)
    }

    /// Forgets all tools: their list is read from its beginning.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Reads the tools of a page. Returns those that a client must not offer.
    pub(crate) fn read(&mut self, tools: &[&str]) -> Vec<Bad> {
        let mut bad = Vec::new();
        for tool in tools.iter().filter(|tool| memchr::memmem::find(tool.as_bytes(), b"x-mcp-header").is_some()) {
            let name = object::find(tool, &["name"]).and_then(object::text_of).unwrap_or_default();
            let schema = object::find(tool, &["inputSchema"]).and_then(|schema| serde_json::from_str(schema).ok());
            match schema.as_ref().map_or(Ok(Vec::new()), annotated) {
                Ok(params) if params.is_empty() => {}
                Ok(params) if self.0.len() < MAX_TOOLS => {
                    self.0.insert(name.into(), params);
                }
                Ok(_) => {}
                Err(why) => bad.push(Bad { tool: name.into_owned(), why }),
            }
        }
        bad
    }

    /// The headers for a call of a tool with these arguments, raw JSON.
    pub(crate) fn of_call(&self, tool: &str, arguments: &str) -> Headers {
        let Some(params) = self.0.get(tool) else { return Headers::new() };
        let header = |param: &Param| {
            let path: Vec<&str> = param.path.iter().map(String::as_str).collect();
            let text = text_of_argument(object::find(arguments, &path)?)?;
            Some((param.header.clone(), HeaderValue::from_str(&encoded(&text)).ok()?))
        };
        params.iter().filter_map(header).collect()
    }
}

/// Whether two texts are the same whole number, however it is written.
fn same_number(a: &str, b: &str) -> bool {
    let whole = |text: &str| text.parse::<f64>().ok().filter(|value| value.fract() == 0.0 && value.abs() < 9.1e15);
    whole(a).is_some_and(|a| whole(b) == Some(a))
}

/// An argument as the text that its header has; `None` where it has none.
fn text_of_argument(raw: &str) -> Option<String> {
    match serde_json::from_str(raw).ok()? {
        Value::String(text) => Some(text),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Some(whole.to_string()),
            None => {
                number.as_f64().filter(|value| value.fract() == 0.0 && value.abs() < 9e15).map(|v| format!("{v:.0}"))
            }
        },
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The arguments that a schema has repeated, or what is wrong with that.
fn annotated(schema: &Value) -> Result<Vec<Param>, &'static str> {
    let mut found = Vec::new();
    if schema.get(ANNOTATION).is_some() {
        return Err("has a header for all arguments together");
    }
    walk(schema, Some(&mut Vec::new()), &mut found, DEPTH)?;
    let names: BTreeSet<&str> = found.iter().map(|param: &Param| param.header.as_str()).collect();
    if names.len() < found.len() {
        return Err("has the same header for two arguments");
    }
    Ok(found)
}

/// Looks through a schema for annotations. `path`: the names that lead there; `None` where no argument is reached for certain.
fn walk(
    schema: &Value,
    mut path: Option<&mut Vec<String>>,
    found: &mut Vec<Param>,
    depth: usize,
) -> Result<(), &'static str> {
    let Some(depth) = depth.checked_sub(1) else { return Err("has a schema that is too deep") };
    let members = match schema {
        Value::Object(members) => members,
        Value::Array(each) => return each.iter().try_for_each(|one| walk(one, None, found, depth)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return Ok(()),
    };
    for (key, value) in members {
        match (key.as_str(), value) {
            ("properties", Value::Object(properties)) => {
                for (name, property) in properties {
                    if let Some(path) = path.as_deref_mut() {
                        path.push(name.clone());
                        note(property, path, found)?;
                        walk(property, Some(path), found, depth)?;
                        path.pop();
                    } else {
                        walk_out_of_reach(property, found, depth)?;
                    }
                }
            }
            // Here names stand in front of schemas, too, and no argument is reached for certain.
            ("patternProperties" | "$defs" | "definitions" | "dependentSchemas", Value::Object(each)) => {
                each.values().try_for_each(|one| walk_out_of_reach(one, found, depth))?;
            }
            // Not schemas.
            ("default" | "enum" | "const" | "examples" | "required" | "type", _) => {}
            (ANNOTATION, _) => {} // seen where its property was
            (_, Value::Object(_)) => walk_out_of_reach(value, found, depth)?,
            (_, Value::Array(each)) => each.iter().try_for_each(|one| walk_out_of_reach(one, found, depth))?,
            (_, _) => {}
        }
    }
    Ok(())
}

/// Looks through a part of a schema in which no annotation may stand.
fn walk_out_of_reach(schema: &Value, found: &mut Vec<Param>, depth: usize) -> Result<(), &'static str> {
    if schema.get(ANNOTATION).is_some() {
        return Err("has a header for something that is no argument or part of one in every call");
    }
    walk(schema, None, found, depth)
}

/// Notes what a property says of a header of its own.
fn note(property: &Value, path: &[String], found: &mut Vec<Param>) -> Result<(), &'static str> {
    let Some(annotation) = property.get(ANNOTATION) else { return Ok(()) };
    let name = annotation.as_str().filter(|name| !name.is_empty()).ok_or("has a header without a name")?;
    let header = format!("{PARAM}{}", name.to_ascii_lowercase());
    let header = HeaderName::from_bytes(header.as_bytes()).map_err(|_| "has a header whose name no header may have")?;
    let is_one = |kind: &Value| matches!(kind.as_str(), Some("string" | "integer" | "boolean"));
    let kind = &property["type"];
    let fits = kind.as_array().map_or_else(
        || is_one(kind),
        |kinds| {
            kinds.iter().filter(|kind| is_one(kind)).count() == 1
                && kinds.iter().all(|kind| is_one(kind) || kind.as_str() == Some("null"))
        },
    );
    if !fits {
        return Err("has a header for an argument that is no text, whole number or truth value");
    }
    if found.len() >= MAX_PARAMS {
        return Err("has headers for too many arguments");
    }
    found.push(Param { path: path.to_vec(), header });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn a_text_is_a_header_as_it_is_or_in_base64() {
        for (text, want) in [
            ("", ""),
            ("echo", "echo"),
            ("a b;=?", "a b;=?"),
            (" ü ", "=?base64?IMO8IA==?="),
            (" a", "=?base64?IGE=?="),
            ("a\n", "=?base64?YQo=?="),
            ("=?base64?YQ==?=", "=?base64?PT9iYXNlNjQ/WVE9PT89?="),
            ("=?BASE64?x?=", "=?base64?PT9CQVNFNjQ/eD89?="),
        ] {
            assert_eq!(encoded(text), want, "{text:?}");
        }
    }

    fn one(schema: Value) -> (Repeated, Vec<Bad>) {
        let tool = json!({"name": "t", "inputSchema": schema}).to_string();
        let mut all = Repeated::default();
        let bad = all.read(&[&tool]);
        (all, bad)
    }

    #[test]
    fn arguments_are_repeated_by_their_place_and_type() {
        let (all, bad) = one(json!({"type": "object", "properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "n": {"type": "integer", "x-mcp-header": "N"},
            "deep": {"type": "object", "properties": {"on": {"type": ["boolean", "null"], "x-mcp-header": "On"}}},
            "x-mcp-header": {"type": "number"},
            "enumerated": {"enum": [{"x-mcp-header": "No"}]},
        }}));
        assert_eq!(bad, []);
        let sent = |arguments: &str| {
            let headers = all.of_call("t", arguments);
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap_or("?"))).collect::<Vec<_>>()
        };
        assert_eq!(
            sent(r#"{"region":"eu","n":42,"deep":{"on":false}}"#),
            ["mcp-param-region: eu", "mcp-param-n: 42", "mcp-param-on: false"]
        );
        assert_eq!(sent(r#"{"region":"","n":5.0,"deep":{"on":null}}"#), ["mcp-param-region: ", "mcp-param-n: 5"]);
        assert_eq!(sent(r#"{"region":null,"n":1.5}"#), Vec::<String>::new());
        assert!(all.of_call("other", r#"{"region":"eu"}"#).is_empty());
    }

    #[test]
    fn a_tool_whose_headers_break_a_rule_is_told() {
        let property = |annotated: Value| json!({"properties": {"a": annotated}});
        for schema in [
            property(json!({"type": "string", "x-mcp-header": ""})),
            property(json!({"type": "string", "x-mcp-header": 5})),
            property(json!({"type": "string", "x-mcp-header": "a b"})),
            property(json!({"type": "string", "x-mcp-header": "ü"})),
            property(json!({"type": "number", "x-mcp-header": "A"})),
            property(json!({"type": "object", "x-mcp-header": "A"})),
            property(json!({"type": ["string", "integer"], "x-mcp-header": "A"})),
            property(json!({"x-mcp-header": "A"})),
            property(json!({"type": "array", "items": {"type": "string", "x-mcp-header": "A"}})),
            json!({"properties": {"a": {"type": "string", "x-mcp-header": "A"}, "b": {"type": "string", "x-mcp-header": "a"}}}),
            json!({"anyOf": [{"properties": {"a": {"type": "string", "x-mcp-header": "A"}}}]}),
            json!({"$defs": {"a": {"type": "string", "x-mcp-header": "A"}}}),
            json!({"if": {"properties": {"a": {"x-mcp-header": "A"}}}}),
            json!({"type": "object", "x-mcp-header": "A"}),
        ] {
            let (all, bad) = one(schema.clone());
            assert!(bad.len() == 1 && bad[0].tool == "t" && all.0.is_empty(), "{schema}: {bad:?}");
        }
    }

    proptest! {
        /// Whatever a text holds, its header can be sent, and says what the text says.
        #[test]
        fn every_text_can_be_sent_and_read(text in any::<String>()) {
            let value = encoded(&text);
            prop_assert!(HeaderValue::from_str(&value).is_ok());
            prop_assert_eq!(decoded(&value).map(Cow::into_owned), Some(text));
        }
    }
}
