use http::HeaderValue;

use super::*;
use crate::mcp::envelope::scan;

fn headers(version: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let (false, Ok(value)) = (version.is_empty(), HeaderValue::from_str(version)) {
        headers.insert(VERSION_HEADER, value);
    }
    headers
}

#[test]
fn an_era_is_known_by_the_header_or_by_the_body() {
    let modern = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"x"}}}"#;
    let escaped = modern.replace('/', "\\/");
    let plain = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let hello = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}"#;
    let both = hello.replace(r#""protocolVersion""#, r#""_meta":{"io.modelcontextprotocol/protocolVersion":"x"},"a""#);
    for (version, body, want) in [
        ("", modern, true),
        ("", &escaped, true),
        ("2025-11-25", modern, true),
        ("", plain, false),
        ("2025-11-25", plain, false),
        ("2026-07-27", plain, false),
        ("2026-07-28", plain, true),
        (" 2026-07-28 ", plain, true),
        ("2027-01-01", plain, true),
        ("v9", plain, true),
        ("", hello, false),
        ("2026-07-28", hello, false),
        ("2026-07-28", &both, true),
        ("2026-07-28", "[]", true),
        ("2025-03-26", "[]", false),
    ] {
        let Ok(scanned) = scan(body.as_bytes()) else { panic!("{body}") };
        assert_eq!(is_modern(&headers(version), body.as_bytes(), &scanned), want, "{version} {body}");
    }
}

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
