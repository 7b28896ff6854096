//! Whether a JSON Schema is one, as far as programs need that which put tools before a model; pure.
//!
//! What is wrong by JSON Schema 2020-12, which MCP takes where nothing else is said, is *grave*: such a schema is refused, with all
//! tools beside it. What is right and not taken by the API of every model is told besides.

use std::fmt;

use serde_json::{Map, Value};

/// Deepest schema that is looked into: what lies deeper no model understands.
const DEEPEST: usize = 64;
/// Most faults that are found in one schema: a person mends one after the other.
const MOST: usize = 8;

/// Something that is wrong with a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// Where: `inputSchema.properties.a`.
    place: String,
    /// What, as the end of a sentence that begins with the place.
    what: String,
    /// Whether clients refuse it, and not only some models.
    pub(super) is_grave: bool,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.place, self.what)
    }
}

/// What a keyword takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// The name of a type, or a list of names.
    Types,
    Schema,
    /// A schema; a list of schemas in older versions of JSON Schema.
    Items,
    /// A schema for each name.
    Schemas,
    /// A list of schemas, one at least.
    List,
    /// A list of texts, each once.
    Names,
    /// Such a list for each name.
    NamesEach,
    Text,
    Number,
    /// A number above 0.
    Positive,
    /// A whole number from 0 on.
    Count,
    Flag,
    Array,
}

/// What the keywords of JSON Schema take. Any other member may be anything.
fn takes(keyword: &str) -> Option<Takes> {
    Some(match keyword {
        "type" => Takes::Types,
        "items" => Takes::Items,
        "additionalProperties"
        | "unevaluatedProperties"
        | "propertyNames"
        | "not"
        | "if"
        | "then"
        | "else"
        | "contains"
        | "unevaluatedItems"
        | "contentSchema" => Takes::Schema,
        "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas" => Takes::Schemas,
        "allOf" | "anyOf" | "oneOf" | "prefixItems" => Takes::List,
        "required" => Takes::Names,
        "dependentRequired" => Takes::NamesEach,
        "title" | "description" | "pattern" | "format" | "$ref" | "$id" | "$schema" | "$anchor" | "$comment"
        | "$dynamicRef" | "$dynamicAnchor" | "contentEncoding" | "contentMediaType" => Takes::Text,
        "maximum" | "minimum" | "exclusiveMaximum" | "exclusiveMinimum" => Takes::Number,
        "multipleOf" => Takes::Positive,
        "maxLength" | "minLength" | "maxItems" | "minItems" | "maxProperties" | "minProperties" | "maxContains"
        | "minContains" => Takes::Count,
        "uniqueItems" | "deprecated" | "readOnly" | "writeOnly" => Takes::Flag,
        "enum" | "examples" => Takes::Array,
        _ => return None,
    })
}

const TYPES: [&str; 7] = ["string", "number", "integer", "boolean", "object", "array", "null"];

/// The type that is most likely meant by a name from some programming language.
fn meant(name: &str) -> Option<&'static str> {
    Some(match name.to_lowercase().as_str() {
        "int" | "int32" | "int64" | "long" => "integer",
        "float" | "double" | "decimal" => "number",
        "str" | "text" => "string",
        "bool" => "boolean",
        "list" | "tuple" | "set" => "array",
        "dict" | "map" | "record" | "any" => "object",
        "none" | "undefined" => "null",
        lower => return TYPES.into_iter().find(|known| *known == lower),
    })
}

/// What is wrong with the schema of a tool's arguments, or of its structured content. `name`: the member that it is.
pub(super) fn faults(name: &str, schema: &Value) -> Vec<Fault> {
    let mut found = Found { root: schema, faults: Vec::new() };
    match schema {
        Value::Object(root) => {
            match &root.get("type") {
                Some(kind) if *kind == "object" => {}
                Some(kind) => {
                    found.grave(name, format!("has the type {kind}; MCP wants \"type\": \"object\" there"));
                }
                None => found.grave(name, "has no type; MCP wants \"type\": \"object\" there"),
            }
            for keyword in ["anyOf", "oneOf", "allOf"].into_iter().filter(|keyword| root.contains_key(*keyword)) {
                found.doubt(name, format!("has {keyword} at its top, which not every model's API takes"));
            }
            found.walk(name, schema, 0);
        }
        Value::Null => found.grave(name, "is missing; {\"type\": \"object\"} says that there are no arguments"),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            found.grave(name, "is no object; MCP wants a schema with \"type\": \"object\" there");
        }
    }
    found.faults
}

struct Found<'a> {
    root: &'a Value,
    faults: Vec<Fault>,
}

impl Found<'_> {
    fn grave(&mut self, place: &str, what: impl Into<String>) {
        self.add(place, what.into(), true);
    }

    fn doubt(&mut self, place: &str, what: impl Into<String>) {
        self.add(place, what.into(), false);
    }

    fn add(&mut self, place: &str, what: String, is_grave: bool) {
        // A grave one always has room: it decides.
        if self.faults.len() < MOST {
            self.faults.push(Fault { place: place.to_owned(), what, is_grave });
        } else if is_grave && let Some(doubt) = self.faults.iter_mut().find(|fault| !fault.is_grave) {
            *doubt = Fault { place: place.to_owned(), what, is_grave };
        }
    }

    fn walk(&mut self, place: &str, schema: &Value, depth: usize) {
        let members = match schema {
            Value::Bool(_) => return,
            Value::Object(members) => members,
            Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                return self.grave(place, "is no schema, which is an object, or true or false");
            }
        };
        if depth > DEEPEST {
            return self.grave(place, "lies too deep for anybody to understand");
        }
        for (keyword, value) in members {
            if let Some(takes) = takes(keyword) {
                self.look(&format!("{place}.{keyword}"), value, takes, depth);
            }
        }
        self.look_at_reference(place, members);
        if members.get("type").is_some_and(|kind| kind == "array")
            && !["items", "prefixItems"].iter().any(|keyword| members.contains_key(*keyword))
        {
            self.doubt(place, "is an array without items, which not every model's API takes");
        }
        if let (Some(Value::Array(required)), Some(Value::Object(properties))) =
            (members.get("required"), members.get("properties"))
        {
            let unknown = required.iter().filter_map(Value::as_str).find(|name| !properties.contains_key(*name));
            if let Some(unknown) = unknown {
                let unknown = Value::from(unknown);
                self.doubt(place, format!("requires {unknown}, which is not among its properties"));
            }
        }
    }

    /// A `$ref` has to lead somewhere within the schema: nobody fetches another one.
    fn look_at_reference(&mut self, place: &str, members: &Map<String, Value>) {
        let Some(Value::String(reference)) = members.get("$ref") else { return };
        match reference.strip_prefix('#') {
            Some(pointer) if pointer.is_empty() || pointer.starts_with('/') => {
                let pointer = percent_encoding::percent_decode_str(pointer).decode_utf8_lossy().into_owned();
                if self.root.pointer(&pointer).is_none() {
                    self.grave(place, format!("has a $ref to {}, which is not there", Value::from(reference.as_str())));
                }
            }
            Some(_) => {} // an anchor
            None => self
                .doubt(place, format!("has a $ref to {} elsewhere, which nobody fetches", Value::from(&**reference))),
        }
    }

    fn look(&mut self, place: &str, value: &Value, takes: Takes, depth: usize) {
        match takes {
            Takes::Types => self.look_at_types(place, value),
            Takes::Schema => self.walk(place, value, depth + 1),
            Takes::Items if value.is_array() => {
                self.grave(place, "is a list, as older versions of JSON Schema have it; write prefixItems");
            }
            Takes::Items => self.walk(place, value, depth + 1),
            Takes::Schemas => match value {
                Value::Object(schemas) => {
                    for (name, schema) in schemas {
                        self.walk(&format!("{place}.{name}"), schema, depth + 1);
                    }
                }
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                    self.grave(place, "is no object with a schema for each name");
                }
            },
            Takes::List => match value {
                Value::Array(schemas) if !schemas.is_empty() => {
                    for (at, schema) in schemas.iter().enumerate() {
                        self.walk(&format!("{place}[{at}]"), schema, depth + 1);
                    }
                }
                Value::Array(_) => self.grave(place, "is empty, and takes one schema at least"),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
                    self.grave(place, "is no list of schemas");
                }
            },
            Takes::Names if !is_names(value) => {
                let hint = if value.is_boolean() { "; which ones are required is said beside properties" } else { "" };
                self.grave(place, format!("is no list of texts, each once{hint}"));
            }
            Takes::NamesEach if !value.as_object().is_some_and(|each| each.values().all(is_names)) => {
                self.grave(place, "is no object with a list of texts for each name");
            }
            Takes::Text if !value.is_string() => self.grave(place, "is no text"),
            Takes::Number if !value.is_number() => self.grave(place, "is no number"),
            Takes::Positive if !value.as_f64().is_some_and(|n| n > 0.0) => self.grave(place, "is no number above 0"),
            Takes::Count if !is_count(value) => self.grave(place, "is no whole number from 0 on"),
            Takes::Flag if !value.is_boolean() => self.grave(place, "is neither true nor false"),
            Takes::Array if !value.is_array() => self.grave(place, "is no list"),
            Takes::Names
            | Takes::NamesEach
            | Takes::Text
            | Takes::Number
            | Takes::Positive
            | Takes::Count
            | Takes::Flag
            | Takes::Array => {}
        }
    }

    fn look_at_types(&mut self, place: &str, value: &Value) {
        let one = |kind: &Value| kind.as_str().is_some_and(|kind| TYPES.contains(&kind));
        let is_well = match value {
            Value::Array(kinds) => {
                !kinds.is_empty()
                    && kinds.iter().all(one)
                    && (1..kinds.len()).all(|at| !kinds[..at].contains(&kinds[at]))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => one(value),
        };
        if !is_well {
            let hint = value.as_str().and_then(meant).map(|meant| format!("; write \"{meant}\""));
            let hint = hint.unwrap_or_else(|| format!(": these are {}", TYPES.join(", ")));
            let shown: String = value.to_string().chars().take(60).collect();
            self.grave(place, format!("is {shown}, which is no type of JSON Schema{hint}"));
        }
    }
}

fn is_names(value: &Value) -> bool {
    let Value::Array(names) = value else { return false };
    names.iter().all(Value::is_string) && (1..names.len()).all(|at| !names[..at].contains(&names[at]))
}

/// JSON Schema takes 2.0 for a whole number.
fn is_count(value: &Value) -> bool {
    value.is_u64() || value.as_f64().is_some_and(|n| n >= 0.0 && n.fract() == 0.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn told(schema: &Value) -> Vec<(bool, String)> {
        faults("s", schema).into_iter().map(|fault| (fault.is_grave, fault.to_string())).collect()
    }

    #[test]
    fn what_servers_write_is_fine() {
        for schema in [
            json!({"type": "object"}),
            json!({"type": "object", "properties": {"a": {"type": "integer", "title": "A"}}, "required": ["a"]}),
            json!({"type": "object", "properties": {"a": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": null}}}),
            json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "additionalProperties": false}),
            json!({"type": "object", "$defs": {"P": {"type": "object"}}, "properties": {"p": {"$ref": "#/$defs/P"}}}),
            json!({"type": "object", "properties": {"type": {"type": "string"}, "required": {"type": "boolean"}}}),
            json!({"type": "object", "properties": {"a": {"enum": [1, "b"], "x-own": {"type": 5}}}}),
        ] {
            assert_eq!(told(&schema), [], "{schema}");
        }
    }

    #[test]
    fn each_fault_is_told_with_its_place_and_what_is_right() {
        for (schema, is_grave, want) in [
            (Value::Null, true, "s is missing"),
            (json!([]), true, "s is no object"),
            (json!({}), true, "s has no type"),
            (json!({"type": "array", "items": {}}), true, "s has the type \"array\""),
            (
                json!({"type": "object", "properties": {"a": {"type": "int"}}}),
                true,
                "s.properties.a.type is \"int\", which is no type of JSON Schema; write \"integer\"",
            ),
            (json!({"type": "object", "properties": {"a": "string"}}), true, "s.properties.a is no schema"),
            (json!({"type": "object", "properties": []}), true, "s.properties is no object with a schema"),
            (
                json!({"type": "object", "properties": {"a": {"type": "string", "required": true}}}),
                true,
                "s.properties.a.required is no list of texts, each once; which ones are required",
            ),
            (json!({"type": "object", "required": ["a", "a"]}), true, "s.required is no list"),
            (
                json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}}),
                true,
                "s.properties.a has a $ref to \"#/$defs/A\", which is not there",
            ),
            (json!({"type": "object", "properties": {"a": {"anyOf": []}}}), true, "s.properties.a.anyOf is empty"),
            (
                json!({"type": "object", "properties": {"a": {"minLength": -1}}}),
                true,
                "s.properties.a.minLength is no whole",
            ),
            (json!({"type": "object", "anyOf": [{}]}), false, "s has anyOf at its top"),
            (
                json!({"type": "object", "properties": {"a": {"type": "array"}}}),
                false,
                "s.properties.a is an array without items",
            ),
            (json!({"type": "object", "properties": {}, "required": ["b"]}), false, "s requires \"b\""),
            (
                json!({"type": "object", "properties": {"a": {"$ref": "x.json"}}}),
                false,
                "s.properties.a has a $ref to \"x.json\"",
            ),
        ] {
            let told = told(&schema);
            assert!(told.len() == 1 && told[0].0 == is_grave && told[0].1.starts_with(want), "{schema}: {told:?}");
        }
    }

    #[test]
    fn the_faults_are_bounded_and_a_grave_one_is_never_left_out() {
        let mut properties = Map::new();
        for n in 0..100 {
            properties.insert(format!("a{n:03}"), json!({"type": "array"}));
        }
        properties.insert("z".into(), json!({"type": "int"}));
        let found = faults("s", &json!({"type": "object", "properties": properties}));
        assert!(found.len() == MOST && found.iter().any(|fault| fault.is_grave), "{found:?}");
        let mut deep = json!({"type": "object"});
        for _ in 0..1000 {
            deep = json!({"type": "object", "not": deep});
        }
        assert!(faults("s", &deep).iter().any(|fault| fault.is_grave));
    }

    /// Schemas that are right or wrong by their keywords, without what this file knows besides JSON Schema itself.
    fn schemas() -> impl Strategy<Value = Value> {
        let plain = prop_oneof![
            Just(json!(null)),
            any::<bool>().prop_map(Value::from),
            (-3_i64..9).prop_map(Value::from),
            Just(json!(1.5)),
            "[a-c]{0,2}".prop_map(Value::from),
            prop::sample::select(&TYPES[..]).prop_map(Value::from),
            Just(json!([])),
            Just(json!({})),
            prop::collection::vec("[ab]", 0..3).prop_map(Value::from),
        ];
        let keywords = [
            "type",
            "items",
            "additionalProperties",
            "not",
            "properties",
            "$defs",
            "anyOf",
            "prefixItems",
            "required",
            "dependentRequired",
            "title",
            "format",
            "maximum",
            "exclusiveMinimum",
            "multipleOf",
            "minLength",
            "maxItems",
            "uniqueItems",
            "readOnly",
            "enum",
            "examples",
            "own",
        ];
        plain.prop_recursive(4, 24, 4, move |inner| {
            let member = (prop::sample::select(keywords.to_vec()), inner.clone());
            prop_oneof![
                prop::collection::vec(member, 0..4)
                    .prop_map(|members| members.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
                prop::collection::vec(("[ab]", inner.clone()), 0..3).prop_map(|members| members.into_iter().collect()),
                prop::collection::vec(inner, 0..3).prop_map(Value::from),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_schema_is_grave_where_the_meta_schema_of_2020_12_refuses_it(schema in schemas()) {
            let mut found = Found { root: &schema, faults: Vec::new() };
            found.walk("s", &schema, 0);
            let is_grave = found.faults.iter().any(|fault| fault.is_grave);
            prop_assert_eq!(is_grave, !jsonschema::draft202012::meta::is_valid(&schema), "{} {:?}", schema, found.faults);
        }
    }
}
