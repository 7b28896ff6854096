//! One handshake out of many: the `initialize` result of servers that share a connection.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::mcp::handshake::{self, Welcome};

/// Longest instructions of one server, in bytes: an assistant reads those of all servers, and the endpoint takes them as one
/// message.
const INSTRUCTIONS: usize = 32 * 1024;

/// Largest other part of a handshake that a server adds, in bytes of JSON.
const PART: usize = 64 * 1024;

/// The `initialize` result for an endpoint that asked for `version`, from those of the named servers.
pub(super) fn result(version: &str, welcomes: &[(&str, &Welcome)]) -> Vec<u8> {
    let spoken = welcomes.iter().map(|(_, welcome)| welcome.version()).max();
    let mut all = Map::new();
    all.insert("protocolVersion".into(), handshake::common(version, spoken).into());
    all.insert("capabilities".into(), capabilities(welcomes));
    let names: Vec<&str> = welcomes.iter().map(|(name, _)| *name).collect();
    let info = json!({"name": "mcp-pipe", "title": names.join(", "), "version": env!("CARGO_PKG_VERSION")});
    all.insert("serverInfo".into(), info);
    let mut instructions = String::new();
    for (name, welcome) in welcomes {
        let Value::Object(own) = welcome.value() else { continue };
        for (key, value) in own {
            match (key.as_str(), value) {
                ("instructions", Value::String(text)) => {
                    let gap = if instructions.is_empty() { "" } else { "\n\n" };
                    let (shown, cut) = match text.floor_char_boundary(INSTRUCTIONS) {
                        end if end < text.len() => (&text[..end], " … [cut by mcp-pipe]"),
                        _ => (text.as_str(), ""),
                    };
                    // Writing to a String does not fail.
                    let _infallible = write!(instructions, "{gap}{name}: {shown}{cut}");
                }
                (_, value) if !all.contains_key(&key) && key != "instructions" && is_small(&value) => {
                    all.insert(key, value);
                }
                _ => {}
            }
        }
    }
    if !instructions.is_empty() {
        all.insert("instructions".into(), instructions.into());
    }
    Value::Object(all).to_string().into_bytes()
}

/// What any of the servers can do. Lists are always said to change: a server may come and go.
pub(super) fn capabilities(welcomes: &[(&str, &Welcome)]) -> Value {
    let mut all = json!({"tools": {}});
    for (_, welcome) in welcomes {
        let Value::Object(own) = welcome.value()["capabilities"].take() else { continue };
        let small =
            own.into_iter().map(|(name, value)| if is_small(&value) { (name, value) } else { (name, json!({})) });
        join(&mut all, &small.collect());
    }
    // The endpoint knows which tasks there are, having made them; to ask all servers for all pages is worth nobody's while.
    if let (Some(Value::Object(tasks)), true) = (all.get_mut("tasks"), welcomes.len() > 1) {
        tasks.remove("list");
    }
    for list in handshake::CHANGING {
        if let Some(Value::Object(capability)) = all.get_mut(list) {
            capability.insert("listChanged".into(), true.into());
        }
    }
    all
}

/// The parts of a server's handshake that are too large to be passed on to an endpoint that others share, as a sentence.
pub(super) fn too_large(welcome: &Welcome) -> Option<String> {
    if welcome.result().len() <= INSTRUCTIONS {
        return None;
    }
    let Value::Object(own) = welcome.value() else { return None };
    let mut parts = Vec::new();
    for (key, value) in &own {
        match (key.as_str(), value) {
            ("instructions", Value::String(text)) if text.len() > INSTRUCTIONS => {
                parts.push(format!("instructions has {} bytes, of which {INSTRUCTIONS} are passed on", text.len()));
            }
            ("capabilities", Value::Object(all)) => {
                let large =
                    all.iter().filter(|(_, value)| !is_small(value)).map(|(name, _)| format!("capabilities.{name}"));
                parts.extend(large.map(|name| format!("{name} is larger than {PART} bytes, and counts as empty")));
            }
            (key, value) if key != "instructions" && !is_small(value) => {
                parts.push(format!("{key} is larger than {PART} bytes, and left out"));
            }
            _ => {}
        }
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn is_small(value: &Value) -> bool {
    // Nearly all values are small; the exact size in JSON is known only when a value is written.
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
        Value::String(text) if text.len() < PART / 8 => true,
        Value::String(_) | Value::Array(_) | Value::Object(_) => value.to_string().len() <= PART,
    }
}

fn join(all: &mut Value, one: &Value) {
    match (all, one) {
        (Value::Object(all), Value::Object(one)) => {
            for (key, value) in one {
                match all.get_mut(key) {
                    Some(known) => join(known, value),
                    None => {
                        all.insert(key.clone(), value.clone());
                    }
                }
            }
        }
        (all @ (Value::Bool(false) | Value::Null), one) => *all = one.clone(),
        (Value::Bool(true) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_), _) => {}
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn what_any_server_can_do_all_of_them_can() {
        let a = Welcome::read(
            br#"{"protocolVersion":"2024-11-05","capabilities":{"tools":{},"resources":{"subscribe":false}},"serverInfo":{"name":"x"},"instructions":"Add."}"#,
        );
        let b = Welcome::read(
            br#"{"protocolVersion":"2025-06-18","capabilities":{"resources":{"subscribe":true},"logging":{},"experimental":{"y":{"z":1}}},"serverInfo":{"name":"y"},"instructions":"Time.","own":[1]}"#,
        );
        let union: Value = serde_json::from_slice(&result("2025-11-25", &[("a", &a), ("b", &b)])).unwrap();
        assert_eq!(
            union["capabilities"],
            json!({"tools": {"listChanged": true}, "resources": {"subscribe": true, "listChanged": true}, "logging": {}, "experimental": {"y": {"z": 1}}})
        );
        assert_eq!(union["protocolVersion"], "2025-06-18", "the newest that any of them speaks");
        assert_eq!(union["instructions"], "a: Add.\n\nb: Time.");
        assert_eq!((&union["serverInfo"]["name"], &union["own"]), (&json!("mcp-pipe"), &json!([1])));
        let old: Value = serde_json::from_slice(&result("2024-11-05", &[("a", &a), ("b", &b)])).unwrap();
        assert_eq!(old["protocolVersion"], "2024-11-05");
    }

    #[test]
    fn no_server_fills_the_handshake_of_all() {
        let large = "é".repeat(PART);
        let welcome = json!({"instructions": large, "x": large, "capabilities": {"experimental": {"y": {"z": large}}, "logging": {}}});
        let large = Welcome::read(welcome.to_string().as_bytes());
        let small = Welcome::read(br#"{"instructions":"Add.","capabilities":{"prompts":{}}}"#);
        let union = result("2025-06-18", &[("large", &large), ("small", &small)]);
        assert!(union.len() < 2 * PART, "{}", union.len());
        let union: Value = serde_json::from_slice(&union).unwrap();
        assert!(union["instructions"].as_str().unwrap().ends_with("é … [cut by mcp-pipe]\n\nsmall: Add."));
        assert_eq!(union["x"], Value::Null);
        assert_eq!(union["capabilities"]["experimental"], json!({}));
        let said = too_large(&large).unwrap();
        assert!(
            said.contains("instructions has 131072 bytes") && said.contains("experimental") && said.contains("; x is"),
            "{said}"
        );
        assert_eq!(too_large(&small), None);
    }

    #[test]
    fn without_any_server_there_is_still_an_answer() {
        let none: Value = serde_json::from_slice(&result("2024-11-05", &[])).unwrap();
        assert_eq!((&none["protocolVersion"], &none["instructions"]), (&json!("2024-11-05"), &Value::Null));
    }
}
