use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::mcp::object;

fn about(method: &str) -> About<'_> {
    About { id: b"\"a\"", method, uri: Some("\"a://b\""), server: Some(r#"{"name":"s"}"#) }
}

fn text(last: Last) -> String {
    String::from_utf8(last.body).unwrap_or_default()
}

fn caller(capabilities: &str) -> Caller {
    Caller { capabilities: capabilities.into(), info: None, level: None }
}

#[test]
fn a_result_is_stamped_and_stays_as_it_was_written() {
    let meta = r#""_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s"}}"#;
    for (method, result_text, want) in [
        ("tools/call", "{}", format!(r#"{{"resultType":"complete",{meta}}}"#)),
        ("tools/call", " { } ", format!(r#"{{"resultType":"complete",{meta}}}"#)),
        (
            "tools/call",
            r#"{"content":[ 1.00e400 ],"structuredContent":[7]}"#,
            format!(r#"{{"resultType":"complete","content":[ 1.00e400 ],"structuredContent":[7],{meta}}}"#),
        ),
        (
            "tools/list",
            r#"{"tools":[]}"#,
            format!(r#"{{"resultType":"complete","tools":[],"ttlMs":0,"cacheScope":"private",{meta}}}"#),
        ),
        (
            "resources/read",
            r#"{"resultType":"x","contents":[],"ttlMs":900,"cacheScope":"public","_meta":{"a":1,"io.modelcontextprotocol/serverInfo":{}}}"#,
            r#"{"resultType":"complete","contents":[],"ttlMs":0,"cacheScope":"private","_meta":{"a":1,"io.modelcontextprotocol/serverInfo":{"name":"s"}}}"#.to_owned(),
        ),
        (
            "prompts/get",
            r#"{"messages":[{"_meta":{"resultType":1}}]}"#,
            format!(r#"{{"resultType":"complete","messages":[{{"_meta":{{"resultType":1}}}}],{meta}}}"#),
        ),
    ] {
        let want = format!(r#"{{"jsonrpc":"2.0","id":"a","result":{want}}}"#);
        assert_eq!(text(result(about(method), result_text)), want, "{result_text}");
    }
    for odd in ["[]", "null", "7"] {
        let last = result(about("tools/call"), odd);
        assert!(last.status == StatusCode::OK && text(last).contains(r#""code":-32603"#), "{odd}");
    }
    let nameless = result(About { server: None, ..about("tools/call") }, "{}");
    assert_eq!(text(nameless), r#"{"jsonrpc":"2.0","id":"a","result":{"resultType":"complete"}}"#);
}

#[test]
fn an_error_has_a_code_of_this_era() {
    for (method, given, status, want) in [
        (
            "resources/read",
            json!({"code": -32002, "message": "no", "data": {"uri": "x://y"}}),
            200,
            json!({"code": -32602, "message": "no", "data": {"uri": "x://y"}}),
        ),
        ("tools/call", json!({"code": -32002, "message": "no"}), 200, json!({"code": -32602, "message": "no"})),
        ("tools/call", json!({"code": -32042, "message": "no"}), 200, json!({"code": -32603, "message": "no"})),
        ("tools/call", json!({"code": -32021, "message": "no"}), 400, json!({"code": -32021, "message": "no"})),
        ("x/y", json!({"code": -32601, "message": "no"}), 404, json!({"code": -32601, "message": "no"})),
        (
            "tools/call",
            json!({"code": -32000, "message": "down", "data": {"from": "mcp-pipe"}}),
            200,
            json!({"code": -32603, "message": "down", "data": {"from": "mcp-pipe", "reason": "unavailable"}}),
        ),
        (
            "tools/call",
            json!({"code": -32001, "message": "late", "data": {"from": "mcp-pipe"}}),
            200,
            json!({"code": -32603, "message": "late", "data": {"from": "mcp-pipe", "reason": "timeout"}}),
        ),
        (
            "tools/call",
            json!({"code": -32001, "message": "its own"}),
            200,
            json!({"code": -32001, "message": "its own"}),
        ),
        (
            "tools/call",
            json!({"code": -32000, "message": "own", "data": [1]}),
            200,
            json!({"code": -32000, "message": "own", "data": [1]}),
        ),
        ("tools/call", json!({"code": 7, "message": "own"}), 200, json!({"code": 7, "message": "own"})),
    ] {
        let frame = json!({"jsonrpc": "2.0", "id": 4, "error": given}).to_string();
        let last = error(about(method), frame.as_bytes(), &caller("{}"));
        assert_eq!(last.status.as_u16(), status, "{given}");
        let told: Value = serde_json::from_slice(&last.body).unwrap_or_default();
        assert_eq!((&told["id"], &told["error"]), (&json!("a"), &want), "{given}");
    }
}

#[test]
fn news_name_the_request_that_they_are_for() {
    let meta = |id: &str| format!(r#""_meta":{{"io.modelcontextprotocol/subscriptionId":{id}}}"#);
    for (params, id, want) in [
        ("{}", "0", format!("{{{}}}", meta("0"))),
        (r#"{"uri":"a"}"#, "\"\"", format!(r#"{{"uri":"a",{}}}"#, meta("\"\""))),
        (
            r#"{"_meta":{"io.modelcontextprotocol/subscriptionId":9,"b":[ 1 ]},"uri":"a"}"#,
            "1",
            r#"{"uri":"a","_meta":{"b":[ 1 ],"io.modelcontextprotocol/subscriptionId":1}}"#.to_owned(),
        ),
    ] {
        assert_eq!(news("n/x", params, id), format!(r#"{{"jsonrpc":"2.0","method":"n/x","params":{want}}}"#));
    }
}

proptest! {
    /// Whatever a result holds besides stays byte for byte.
    #[test]
    fn all_else_of_a_result_stays_as_it_was(members in object::tests::raw_members(), stamped in any::<bool>()) {
        let own = stamped.then_some(("\"resultType\"", "7"));
        let all = members.iter().map(|(key, value)| (key.as_str(), value.as_str())).chain(own);
        let made = text(result(about("tools/call"), &object::object(all)));
        let made = object::find(&made, &["result"]).and_then(object::members).unwrap_or_default();
        prop_assert_eq!(made.len(), members.len() + 2);
        for (member, (key, value)) in made[1..].iter().zip(&members) {
            prop_assert_eq!((member.key, member.value), (key.as_str(), value.trim()));
        }
    }
}
