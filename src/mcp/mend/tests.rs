//! Tests of what is mended, and of what is left alone.

use proptest::prelude::*;
use serde_json::json;

use super::super::lists::ListKind;
use super::super::object::tests::{raw_members, raw_value};
use super::super::shape::{WELCOME, item};
use super::*;

fn tool(text: &str) -> Option<Mended<'_>> {
    mend(text, item(ListKind::Tools))
}

#[test]
fn what_is_as_it_has_to_be_stays_byte_for_byte() {
    for text in [
        r#"{"name":"a","inputSchema":{"type":"object"}}"#,
        r#" { "inputSchema" : { "type" : "obj\u0065ct", "properties":{"x":{"default":[1.50e2,null],"enum":[]},"properties":{}} } , "name":"\ud83d\ude00\\ud83d", "own":[ null , {"a":[]} ] } "#,
        r#"{"name":"a","inputSchema":{"type":"object","properties":{"a":{"properties":{"b":true},"items":[],"required":true}}},"annotations":{"x":1,"readOnlyHint":false}}"#,
        r#"{"name":"a","n":123456789012345678901234567890.10e-300,"inputSchema":{"type":"object"},"execution":{"taskSupport":"optional"},"icons":[{"src":"data:x"}]}"#,
    ] {
        let mended = tool(text).unwrap();
        assert!(matches!(mended.text, Cow::Borrowed(_)), "{text}");
        assert_eq!((&*mended.text, mended.odd), (text, vec![]));
    }
    let resource = r#"{"uri":"a:b","name":"n","size":5,"annotations":{"audience":["user"],"priority":0.5,"lastModified":"2024-02-29T15:00:58.1+01:00"}}"#;
    assert_eq!(mend(resource, item(ListKind::Resources)).unwrap().text, resource);
}

#[test]
fn what_has_to_be_an_object_is_one_and_says_so() {
    for (odd, want, said) in [
        (r#""inputSchema":[]"#, r#""inputSchema":{"type":"object"}"#, "inputSchema is not the object"),
        (r#""inputSchema":null"#, r#""inputSchema":{"type":"object"}"#, "inputSchema is not the object"),
        (r#""inputSchema":{}"#, r#""inputSchema":{"type":"object"}"#, "inputSchema.type is missing"),
        (r#""x":1"#, r#""x":1,"inputSchema":{"type":"object"}"#, "inputSchema is missing"),
        (
            r#""inputSchema":{"type":"object","properties":[],"required":[]}"#,
            r#""inputSchema":{"type":"object","properties":{},"required":[]}"#,
            "inputSchema.properties is not the object",
        ),
        (
            r#""inputSchema":{"type":["object"],"properties":{"a":[],"b":true,"c":null,"d":{"type":"object","properties":[ ]}}}"#,
            r#""inputSchema":{"type":"object","properties":{"a":{},"b":{},"c":{},"d":{"type":"object","properties":{}}}}"#,
            "inputSchema.type is not what MCP has there, and counts as \"object\"",
        ),
        (
            r#""inputSchema":{"type":"object","properties":{"a":{"items":{"properties":[]},"anyOf":[{"$defs":[]},true]}}}"#,
            r#""inputSchema":{"type":"object","properties":{"a":{"items":{"properties":{}},"anyOf":[{"$defs":{}},true]}}}"#,
            "inputSchema.properties.a.items.properties is not the object",
        ),
        (
            r#""inputSchema":{"type":"object"},"outputSchema":[],"annotations":[],"_meta":"x","execution":5"#,
            r#""inputSchema":{"type":"object"},"outputSchema":{"type":"object"},"annotations":{},"_meta":{},"execution":{}"#,
            "outputSchema is not the object",
        ),
    ] {
        let text = format!(r#"{{"name":"n",{odd}}}"#);
        let mended = tool(&text).unwrap();
        assert_eq!(mended.text, format!(r#"{{"name":"n",{want}}}"#));
        assert!(mended.odd[0].starts_with(said), "{:?}", mended.odd);
        assert!(mended.odd.len() <= TOLD);
    }
}

#[test]
fn a_member_of_a_wrong_type_is_left_out_and_its_neighbours_stay() {
    let schema = r#""inputSchema":{"type":"object"}"#;
    for (odd, want) in [
        (r#""title":5, "name":"n" ,"description":[{}]"#, r#""name":"n""#),
        (r#""title":null,"description":null,"name":"n""#, r#""name":"n""#),
        (r#""name":"n","annotations":{"readOnlyHint":"yes","title":1,"x":2}"#, r#""name":"n","annotations":{"x":2}"#),
        (
            r#""name":"n","icons":[{"src":1},{"src":"a","sizes":"any","theme":"pink"},null,{"src":"b","sizes":["any",1]}]"#,
            r#""name":"n","icons":[{"src":"a"},{"src":"b","sizes":["any"]}]"#,
        ),
        (r#""name":"n","icons":{"0":{"src":"a"}},"execution":{"taskSupport":true}"#, r#""name":"n","execution":{}"#),
        (r#""name":"n","name":"m","title":"a","title":"b""#, r#""name":"m","title":"b""#),
    ] {
        let text = format!("{{ {odd},{schema} }}");
        assert_eq!(tool(&text).unwrap().text, format!("{{ {want},{schema} }}"), "{odd}");
    }
    let all = r#"{"title":1,"readOnlyHint":2}"#;
    assert_eq!(mend(all, &HINTS_ALONE).unwrap().text, "{}");
}

/// An object of which nothing has to stay.
static HINTS_ALONE: Shape = Shape::Object(&super::super::shape::HINTS);

#[test]
fn half_a_character_costs_itself() {
    let text = r#"{"name":"n","title":"a\ud83d","description":"\ude00\ud83d\ud83d\ude00\\\ud83db","inputSchema":{"type":"object","\ud83d":1}}"#;
    let mended = tool(text).unwrap();
    let want = r#"{"name":"n","title":"a\ufffd","description":"\ufffd\ufffd\ud83d\ude00\\\ufffdb","inputSchema":{"type":"object","\ufffd":1}}"#;
    assert_eq!(mended.text, want);
    assert!(serde_json::from_str::<Value>(&mended.text).is_ok() && serde_json::from_str::<Value>(text).is_err());
    assert_eq!(mended.odd[0], "title has half a character, which counts as U+FFFD");
}

#[test]
fn numbers_that_nothing_holds_and_nesting_that_nobody_follows_cost_themselves() {
    let text = r#"{"name":"n","inputSchema":{"type":"object","maximum":1e999,"minimum":-1e400,"x":1e-999}}"#;
    let mended = tool(text).unwrap();
    assert!(mended.text.contains(r#""maximum":1.7976931348623157e308,"minimum":-1.7976931348623157e308,"x":1e-999"#));
    let value: Value = serde_json::from_str(&mended.text).unwrap();
    assert_eq!(value["inputSchema"]["maximum"], f64::MAX);
    let huge = format!(r#"{{"name":"n","inputSchema":{{"type":"object"}},"n":{}}}"#, "9".repeat(400));
    assert!(tool(&huge).unwrap().text.contains(LARGEST));
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = |levels: usize| {
            let inside = if open == "[" { String::new() } else { "1".into() };
            let nested = format!("{}{inside}{}", open.repeat(levels), close.repeat(levels));
            format!(r#"{{"name":"n","inputSchema":{{"type":"object","default":{nested}}}}}"#)
        };
        assert!(tool(&deep(PART - 2)).unwrap().odd.is_empty());
        let text = deep(900);
        let mended = tool(&text).unwrap();
        assert!(mended.odd[0].ends_with("is nested too deeply, and counts as empty"), "{:?}", mended.odd);
        assert!(serde_json::from_str::<Value>(&format!("[[[{}]]]", mended.text)).is_ok());
    }
}

#[test]
fn without_what_it_is_known_by_nothing_is_an_item() {
    for text in ["[]", "null", "\"x\"", "5", "{}", r#"{"name":5}"#, r#"{"name":null}"#, r#"{"name":"a","name":[]}"#] {
        for kind in ListKind::ALL {
            assert_eq!(mend(text, item(kind)), None, "{text}");
        }
    }
    for text in ["", "{", r#"{"name":"a"#, r#"{"name":"a"} x"#, "{\"name\"}", "{,}"] {
        assert_eq!(tool(text), None, "{text}");
    }
    let named = mend(r#"{"uri":"a:\ud83d"}"#, item(ListKind::Resources)).unwrap();
    assert_eq!(named.text, "{\"uri\":\"a:\\ufffd\",\"name\":\"a:\u{fffd}\"}");
    let prompt = r#"{"name":"p","arguments":[{"name":"a","required":"yes"},{"description":"b"},7]}"#;
    assert_eq!(mend(prompt, item(ListKind::Prompts)).unwrap().text, r#"{"name":"p","arguments":[{"name":"a"}]}"#);
}

#[test]
fn a_handshake_is_one_whatever_is_in_it() {
    let text = r#"{"capabilities":{"resources":[],"tools":null,"logging":5,"experimental":{"a":[],"b":null},"tasks":{"requests":{"tools":[]}},"prompts":{"listChanged":1}},"serverInfo":{"name":"x"},"instructions":["a"],"_meta":[],"own":{"half":"\ud83d"}}"#;
    let want = json!({
        "protocolVersion": "2024-11-05",
        "capabilities": {"resources": {}, "logging": {}, "experimental": {"a": {}}, "tasks": {"requests": {"tools": {}}}, "prompts": {}},
        "serverInfo": {"name": "x", "version": "?"},
        "_meta": {},
        "own": {"half": "\u{fffd}"},
    });
    assert_eq!(serde_json::from_str::<Value>(&mend(text, &WELCOME).unwrap().text).unwrap(), want);
    for text in ["[]", "null", "5", "{}"] {
        let mended: Value = serde_json::from_str(&mend(text, &WELCOME).unwrap().text).unwrap();
        assert!(mended["capabilities"].is_object() && mended["serverInfo"]["name"].is_string(), "{mended}");
    }
}

#[test]
fn dates_are_told_from_other_texts() {
    for (text, want) in [
        ("2025-01-12T15:00:58Z", true),
        ("2025-01-12T15:00Z", true),
        ("2025-01-12T15:00:58.123456789-08:30", true),
        ("2024-02-29T00:00:00Z", true),
        ("2025-02-29T00:00:00Z", false),
        ("2025-13-01T00:00:00Z", false),
        ("2025-01-12T15:00:58", false),
        ("2025-01-12", false),
        ("2025-1-12T15:00:58Z", false),
        ("2025-01-12T24:00:00Z", false),
        ("2025-01-12T15:00:58.Z", false),
        ("+025-01-12T15:00:58Z", false),
        ("yesterday", false),
        ("", false),
    ] {
        assert_eq!(is_date(text), want, "{text}");
    }
}

/// Whether a parsed value is what it has to be, written down another way.
fn conforms(value: &Value, shape: &Shape) -> bool {
    let object = |object: &'static Object, map: &serde_json::Map<String, Value>| {
        let has = |field: &super::super::shape::Field| field.need == Need::Optional || map.contains_key(field.name);
        object.fields.iter().all(has) && map.iter().all(|(name, value)| conforms(value, object.member(name).0))
    };
    match (shape, value) {
        (Shape::Any, _) => true,
        (Shape::Text, Value::String(_)) | (Shape::Flag | Shape::ObjectOrFlag(_), Value::Bool(_)) => true,
        (Shape::OneOf(all), Value::String(text)) => all.contains(&text.as_str()),
        (Shape::Date, Value::String(text)) => is_date(text),
        (Shape::Number, Value::Number(_)) => true,
        (Shape::Share, Value::Number(n)) => n.as_f64().is_some_and(|n| (0.0..=1.0).contains(&n)),
        (Shape::List(item), Value::Array(all)) => all.iter().all(|value| conforms(value, item)),
        (Shape::Object(of) | Shape::ObjectOrFlag(of), Value::Object(map)) => object(of, map),
        (Shape::Perhaps(Shape::Object(_)), Value::Object(_)) | (Shape::Perhaps(Shape::List(_)), Value::Array(_)) => {
            let Shape::Perhaps(inner) = shape else { return false };
            conforms(value, inner)
        }
        (Shape::Perhaps(_), _) => true,
        (_, _) => false,
    }
}

/// Something that has all members that are known.
fn full(kind: ListKind) -> &'static str {
    match kind {
        ListKind::Tools => {
            r#"{"name":"n","title":"t","description":"d","inputSchema":{"type":"object","properties":{"a":{"type":"array","items":{"properties":{"b":true}},"anyOf":[{"$defs":{"c":{}}}]}},"required":["a"]},"outputSchema":{"type":"object"},"annotations":{"title":"x","readOnlyHint":true},"execution":{"taskSupport":"required"},"icons":[{"src":"s","sizes":["any"],"theme":"dark"}],"_meta":{"m":1}}"#
        }
        ListKind::Prompts => {
            r#"{"name":"n","title":"t","description":"d","arguments":[{"name":"a","required":true}],"icons":[{"src":"s"}],"_meta":{}}"#
        }
        ListKind::Resources => {
            r#"{"uri":"a:b","name":"n","mimeType":"text/plain","size":1,"annotations":{"audience":["user"],"priority":1,"lastModified":"2025-01-12T15:00:58Z"},"_meta":{}}"#
        }
        ListKind::Templates => r#"{"uriTemplate":"a:{b}","name":"n","description":"d","annotations":{"priority":0}}"#,
    }
}

const HANDSHAKE: &str = r#"{"protocolVersion":"2025-06-18","capabilities":{"tools":{"listChanged":true},"resources":{"subscribe":false},"experimental":{"x":{}},"logging":{},"tasks":{"list":{},"requests":{"tools":{"call":{}}}}},"serverInfo":{"name":"n","version":"1","icons":[{"src":"s"}]},"instructions":"i","_meta":{}}"#;

/// All places of values in a text.
fn places(text: &str) -> Vec<Range<usize>> {
    fn walk(text: &str, whole: &str, found: &mut Vec<Range<usize>>) {
        let at = text.as_ptr().addr() - whole.as_ptr().addr();
        found.push(at..at + text.len());
        if let Some(members) = object::members(text) {
            members.iter().for_each(|member| walk(member.value, whole, found));
        } else if let Ok(items) = serde_json::from_str::<Vec<&serde_json::value::RawValue>>(text) {
            items.iter().for_each(|item| walk(item.get(), whole, found));
        }
    }
    let mut found = Vec::new();
    walk(text, text, &mut found);
    found
}

/// JSON that somebody may have put where something else belongs.
fn odd_value() -> impl Strategy<Value = String> {
    let deep = (1..200usize).prop_map(|n| format!("{}{}", "[".repeat(n), "]".repeat(n)));
    prop_oneof![
        8 => raw_value(),
        4 => proptest::sample::select(vec!["[]", "{}", "null", "0", "-1", "1e999", "\"\"", "\"\\ud83d\"", "false", "[null]", "{\"a\":[]}", "{\"type\":5,\"type\":[]}"]).prop_map(str::to_owned),
        1 => deep,
        2 => raw_members().prop_map(|members| object::object(members.iter().map(|(k, v)| (k.as_str(), v.as_str())))),
    ]
}

proptest! {
    #[test]
    fn whatever_stands_anywhere_what_comes_out_is_strict_json_as_mcp_has_it(
        value in odd_value(),
        place in any::<prop::sample::Index>(),
        which in 0..5usize,
    ) {
        let (text, shape) = match ListKind::ALL.get(which) {
            Some(kind) => (full(*kind), item(*kind)),
            None => (HANDSHAKE, &WELCOME),
        };
        let untouched = mend(text, shape).unwrap();
        prop_assert_eq!((&*untouched.text, untouched.odd.len()), (text, 0));
        let places = places(text);
        let mut odd = text.to_owned();
        odd.replace_range(places[place.index(places.len())].clone(), &value);
        let Some(mended) = mend(&odd, shape) else {
            // Only what an item is known by can't be done without.
            prop_assert!(which < 4);
            return Ok(());
        };
        let parsed: Value = match serde_json::from_str(&mended.text) {
            Ok(parsed) => parsed,
            Err(error) => return Err(TestCaseError::fail(format!("{error}: {}", mended.text))),
        };
        prop_assert!(conforms(&parsed, shape), "{} from {}", mended.text, odd);
        let again = mend(&mended.text, shape).unwrap();
        prop_assert_eq!(&again.text, &mended.text, "once is enough");
        prop_assert!(mended.text == odd || !mended.odd.is_empty() || odd.contains("null"), "not a word: {}", odd);
        prop_assert!(mended.odd.iter().all(|odd| odd.len() < 500));
    }

    #[test]
    fn any_json_becomes_what_our_own_parser_takes(value in odd_value()) {
        let mended = plain(&value).unwrap();
        prop_assert!(serde_json::from_str::<Value>(&mended).is_ok(), "{}", mended);
        if serde_json::from_str::<Value>(&value).is_ok() && !mended.contains("fffd") {
            prop_assert_eq!(serde_json::from_str::<Value>(&value).unwrap(), serde_json::from_str::<Value>(&mended).unwrap());
        }
    }

    #[test]
    fn what_is_no_json_is_never_walked_past_its_end(text in "[\\[\\]{}\",:\\\\ua0-9dnt ]{0,30}|.*") {
        let _ = (mend(&text, &WELCOME), plain(&text));
    }
}
