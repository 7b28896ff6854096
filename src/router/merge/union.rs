//! One handshake out of many: the `initialize` result of servers that share a connection.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::mcp::handshake::{self, Welcome};

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
                    // Writing to a String does not fail.
                    let _infallible = write!(instructions, "{gap}{name}: {text}");
                }
                (_, value) if !all.contains_key(&key) && key != "instructions" => {
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

/// What any of them can do. That lists change is always so: a server may come and go.
pub(super) fn capabilities(welcomes: &[(&str, &Welcome)]) -> Value {
    let mut all = json!({"tools": {}});
    for (_, welcome) in welcomes {
        join(&mut all, &welcome.value()["capabilities"]);
    }
    for list in ["tools", "prompts", "resources"] {
        if let Some(Value::Object(capability)) = all.get_mut(list) {
            capability.insert("listChanged".into(), true.into());
        }
    }
    all
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
    fn without_any_server_there_is_still_an_answer() {
        let none: Value = serde_json::from_slice(&result("2024-11-05", &[])).unwrap();
        assert_eq!((&none["protocolVersion"], &none["instructions"]), (&json!("2024-11-05"), &Value::Null));
    }
}
