use super::*;

#[test]
fn a_caller_is_told_to_servers_as_they_know_callers() {
    for (capabilities, info, want) in [
        ("{}", None, r#""capabilities":{},"clientInfo":{"name":"mcp-pipe""#),
        (
            r#"{"elicitation":{"form":{}},"tasks":{},"extensions":{},"sampling":null,"experimental":{"a":1.0}}"#,
            Some(r#"{"name":"c"}"#),
            r#""capabilities":{"elicitation":{"form":{}},"experimental":{"a":1.0}},"clientInfo":{"name":"c"},"_meta":{"mcp-pipe/era":"modern"}}"#,
        ),
    ] {
        let caller = Caller { capabilities: capabilities.into(), info: info.map(Into::into), level: None };
        let hello = caller.hello();
        assert!(hello.starts_with(r#"{"protocolVersion":"2025-11-25","#) && hello.contains(want), "{hello}");
    }
}

#[test]
fn two_tries_of_a_request_are_known_to_be_the_same() {
    let of = |params: &str| {
        let params = object::members(params).unwrap_or_default();
        let caller = Caller { capabilities: "{}".into(), info: None, level: None };
        let asked =
            Asked { id: b"1", method: "tools/call".into(), wanted: Wanted::Work, params, meta: Vec::new(), caller };
        asked.substance().join("|")
    };
    let first = of(r#"{"name":"t","arguments":{"a":1}}"#);
    assert_eq!(first, of(r#"{"requestState":"x","arguments":{"a":1},"_meta":{},"name":"t","inputResponses":{}}"#));
    for other in [r#"{"name":"t","arguments":{"a":2}}"#, r#"{"name":"t"}"#, r#"{"name":"t","arguments":{"a":1},"b":1}"#]
    {
        assert_ne!(first, of(other));
    }
}
