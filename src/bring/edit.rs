//! Changes to the text of a file that somebody else wrote: what is not meant stays byte for byte, comments too. Pure.

use std::ops::Range;

use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstInputValue, CstObject, CstRootNode};
use serde_json::{Map, Value};

/// What is put where: the keys that lead there from the top, and the value.
pub(crate) type Put<'a> = (Vec<&'a str>, Value);

/// The text with each value put where it belongs, in place of what stands there; where that is a list, behind its items. `None` where
/// something else than an object is in the way, or the result would not be what was meant.
pub(crate) fn with(text: &str, puts: &[Put<'_>]) -> Option<String> {
    let (mark, text) = text.strip_prefix('\u{feff}').map_or(("", text), |text| ("\u{feff}", text));
    if text.trim().is_empty() {
        let mut whole = Value::Object(Map::new());
        puts.iter().try_for_each(|put| put_value(&mut whole, put))?;
        return Some(format!("{mark}{whole:#}\n"));
    }
    let options = ParseOptions {
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        ..ParseOptions::default()
    };
    let root = CstRootNode::parse(text, &options).ok()?;
    let mut wanted = crate::config::parsed("", text).ok()?;
    for put in puts {
        put_value(&mut wanted, put)?;
        put_text(&root.object_value()?, put)?;
    }
    let new = root.to_string();
    // What was written is read again before anybody relies on it.
    (crate::config::parsed("", &new).ok()? == wanted).then(|| format!("{mark}{new}"))
}

/// Puts a value into another one, as [`with`] does into a text. `None` where something else than an object is in the way.
pub(crate) fn put_value(whole: &mut Value, (path, value): &Put<'_>) -> Option<()> {
    let (last, before) = path.split_last()?;
    let mut at = whole;
    for key in before {
        at = at.as_object_mut()?.entry(*key).or_insert_with(|| Value::Object(Map::new()));
    }
    let object = at.as_object_mut()?;
    match (object.get_mut(*last), value) {
        (Some(Value::Array(items)), Value::Array(more)) => items.extend(more.iter().cloned()),
        _ => drop(object.insert((*last).to_owned(), value.clone())),
    }
    Some(())
}

fn put_text(root: &CstObject, (path, value): &Put<'_>) -> Option<()> {
    let (last, before) = path.split_last()?;
    let mut at = root.clone();
    for key in before {
        at = at.object_value_or_create(key)?;
    }
    match (at.get(last), value) {
        (Some(there), Value::Array(more)) if there.array_value().is_some() => {
            let list = there.array_value()?;
            for item in more {
                list.append(input(item));
            }
        }
        (Some(there), _) => there.set_value(input(value)),
        (None, _) => drop(at.append(last, input(value))),
    }
    Some(())
}

fn input(value: &Value) -> CstInputValue {
    match value {
        Value::Null => CstInputValue::Null,
        Value::Bool(truth) => CstInputValue::Bool(*truth),
        Value::Number(number) => CstInputValue::Number(number.to_string()),
        Value::String(text) => CstInputValue::String(text.clone()),
        Value::Array(items) => CstInputValue::Array(items.iter().map(input).collect()),
        Value::Object(members) => {
            CstInputValue::Object(members.iter().map(|(key, value)| (key.clone(), input(value))).collect())
        }
    }
}

/// The text of a `.env` with further lines. One that sets what a line there leaves blank takes its place.
pub(crate) fn with_lines(text: &str, lines: &[String]) -> String {
    let (mut text, mut more) = (text.to_owned(), Vec::new());
    for line in lines {
        match line.split_once('=').and_then(|(name, _)| blank(&text, name)) {
            Some(place) => text.replace_range(place, line),
            None => more.push(line.as_str()),
        }
    }
    if more.is_empty() {
        return text;
    }
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{text}{end}{}\n", more.join("\n"))
}

/// Where a text has a line that sets a variable to nothing.
fn blank(text: &str, name: &str) -> Option<Range<usize>> {
    let mut from = 0;
    text.split_inclusive('\n').find_map(|line| {
        let start = from;
        from += line.len();
        let is_blank = line.trim().strip_prefix(name) == Some("=");
        is_blank.then(|| start..start + line.trim_end_matches(['\r', '\n']).len())
    })
}

/// A line of `.env` that sets a variable to just this value; `None` for a value that no line can hold.
pub(crate) fn line(name: &str, value: &str) -> Option<String> {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,~?&".contains(c);
    let written = if value.chars().all(is_bare) {
        value.to_owned()
    } else if !value.contains(['\'', '\n', '\r']) {
        format!("'{value}'")
    } else {
        format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
    };
    let line = format!("{name}={written}");
    (crate::config::dotenv_value(&line, name).as_deref() == Some(value)).then_some(line)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_meant_stays_byte_for_byte() {
        let text = "// mine\n{\n    \"theme\": \"dark\", // keep\n    \"mcpServers\": {\n        \"a\": {\"command\": \"x\"}, /* a */\n    },\n}\n";
        let new = with(text, &[(vec!["mcpServers", "b"], json!({"command": "y", "args": ["z"]}))]).unwrap();
        for kept in [
            "// mine\n",
            "    \"theme\": \"dark\", // keep\n",
            "        \"a\": {\"command\": \"x\"}, /* a */\n",
            "        \"b\": {",
        ] {
            assert!(new.contains(kept), "{new}");
        }
        let again = with(&new, &[(vec!["mcpServers", "b"], json!({"command": "y", "args": ["z"]}))]).unwrap();
        assert_eq!(again, new);
    }

    #[test]
    fn objects_are_made_on_the_way_and_lists_grow() {
        let new = with("", &[(vec!["mcp", "servers", "a"], json!({"url": "u"}))]).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&new).unwrap(), json!({"mcp": {"servers": {"a": {"url": "u"}}}}));
        let new = with(r#"{"inputs": [{"id": 1}]}"#, &[(vec!["inputs"], json!([{"id": 2}]))]).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&new).unwrap(), json!({"inputs": [{"id": 1}, {"id": 2}]}));
    }

    #[test]
    fn what_is_in_the_way_or_no_json_is_left_alone() {
        for text in ["[]", "{\"mcpServers\": []}", "{", "{'a': 1}", "{a: 1}", "5"] {
            assert_eq!(with(text, &[(vec!["mcpServers", "b"], json!({}))]), None, "{text}");
        }
    }

    #[test]
    fn lines_are_added_behind_what_is_there() {
        let lines = ["A=1".to_owned(), "B=2".to_owned()];
        assert_eq!(with_lines("", &lines), "A=1\nB=2\n");
        assert_eq!(with_lines("X=0", &lines), "X=0\nA=1\nB=2\n");
        assert_eq!(with_lines("#A=\nA=\r\nXA=\nA=2\n", &lines), "#A=\nA=1\r\nXA=\nA=2\nB=2\n");
        assert_eq!(with_lines("B=\nA= ", &lines), "B=2\nA=1");
        assert_eq!(line("A", "x y").unwrap(), "A='x y'");
        assert_eq!(line("A", "it's\nso").unwrap(), "A=\"it's\\nso\"");
        assert_eq!(line("A", "a\rb"), None);
    }

    proptest! {
        #[test]
        fn a_line_holds_just_its_value(value in "[ -~é\\n]{0,30}") {
            let line = line("NAME", &value);
            prop_assert!(line.is_some_and(|line| !line.contains('\n')), "{value:?}");
        }

        #[test]
        fn any_config_gets_its_server_and_loses_nothing(before in "[ \\n]{0,3}", names in prop::collection::vec("[a-c]{1,2}", 0..4), tail in "(,)?") {
            let members: Vec<String> = names.iter().map(|name| format!("{before}\"{name}\": {{}}")).collect();
            let tail = if members.is_empty() { "" } else { &*tail };
            let text = format!("{{{before}\"mcpServers\": {{{}{tail}}} }}", members.join(","));
            let new = with(&text, &[(vec!["mcpServers", "new"], json!({"command": "x"}))]);
            prop_assert!(new.is_some(), "{text}");
        }
    }
}
