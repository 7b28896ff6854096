//! The tokens of the gateway's endpoint, and the servers that its robots see.

use super::*;
use crate::config::gateway::sha256;

const TOKEN: &str = "s3cret+s3cret/==";

fn with(members: &str) -> Case {
    let servers = r#"{"calc": {"command": "x"}, "clock": {"command": "x"}}"#;
    Case::new(&format!(r#"{{"gateway": {{{members}}}, "mcpServers": {servers}}}"#)).no_env()
}

fn tokens(tokens: &str) -> Case {
    with(&format!(r#""endpointTokens": {tokens}"#))
}

#[test]
fn a_token_that_cannot_be_meant_is_refused_with_its_place_and_never_repeated() {
    let hash: String = sha256(TOKEN).iter().map(|b| format!("{b:02x}")).collect();
    for (written, told) in [
        (
            r#""s3cret+s3cret""#.to_owned(),
            "gateway.endpointTokens: is no list of tokens; write [\"${ENDPOINT_TOKEN}\"]",
        ),
        (
            r#"["s3cret1"]"#.to_owned(),
            "gateway.endpointTokens[0]: has less than 8 characters, so that it may be guessed",
        ),
        (r#"[12345678]"#.to_owned(), "gateway.endpointTokens[0]: is a number, not a text; write it in quotes"),
        (
            "[null]".to_owned(),
            "gateway.endpointTokens[0]: is neither a text nor an object; write \"${ENDPOINT_TOKEN}\", or",
        ),
        (r#"["${UNSET}"]"#.to_owned(), "gateway.endpointTokens[0]: needs UNSET, which nothing sets"),
        (
            r#"["ws://127.0.0.1:8004/mcp_endpoint/mcp/?token=s3cret+s3cret"]"#.to_owned(),
            "gateway.endpointTokens[0]: is a whole address, or a part of one; write only what follows token= there",
        ),
        (
            r#"["s3cret s3cret"]"#.to_owned(),
            "gateway.endpointTokens[0]: holds a blank or another character that no token has",
        ),
        (
            r#"[{"name": "n"}]"#.to_owned(),
            "gateway.endpointTokens[0]: has neither a token nor a tokenFile nor a tokenSha256",
        ),
        (
            format!(r#"[{{"token": "{TOKEN}", "tokenSha256": "{hash}"}}]"#),
            "gateway.endpointTokens[0].tokenSha256: stands beside token, and one of them is all that can count",
        ),
        (format!(r#"[{{"name": " ", "token": "{TOKEN}"}}]"#), "gateway.endpointTokens[0].name: is no name for a token"),
        (
            format!(r#"["{TOKEN}", {{"name": "n", "tokenSha256": "{hash}"}}]"#),
            "gateway.endpointTokens[1].tokenSha256: is the token of token 1, too, so that nobody could tell them apart",
        ),
        (
            format!(r#"[{{"name": "n", "token": "{TOKEN}"}}, {{"name": "n", "token": "{TOKEN}x"}}]"#),
            "gateway.endpointTokens[1].name: is \"n\", as another token is called; give each token its own name",
        ),
        (r#"[{"tokenFile": "gone"}]"#.to_owned(), "gateway.endpointTokens[0].tokenFile: names"),
        (
            format!(r#"[{{"key": "{TOKEN}"}}]"#),
            "gateway.endpointTokens[0].key: is not a known key; did you mean token?",
        ),
    ] {
        let mistakes = tokens(&written).mistakes(&[]).join("\n");
        assert!(mistakes.contains(told), "{written}: {mistakes}");
        assert!(!mistakes.contains("s3cret"), "{mistakes}");
    }
    for (members, told) in [
        (
            r#""endpointServers": ["clok"]"#,
            "gateway.endpointServers[0]: names clok, which is no server; did you mean clock?",
        ),
        (r#""endpointServers": "*""#, "gateway.endpointServers: names *, which is no server; name each of them"),
        (r#""endpointToken": []"#, "did you mean endpointTokens?"),
        (r#""tokenFile": "x""#, "gateway.tokenFile: belongs in one of the gateway's endpointTokens"),
    ] {
        let mistakes = with(members).mistakes(&[]).join("\n");
        assert!(mistakes.contains(told), "{members}: {mistakes}");
    }
}

#[test]
fn a_config_is_shown_with_the_names_of_its_tokens_and_without_them() {
    let case = with(&format!(
        r#""endpointTokens": ["{TOKEN}", {{"name": "desk", "tokenFile": "t"}}], "endpointServers": "calc""#
    ));
    let case = case.file("t", "s3cret-of-desk");
    let shown = format!("{:?}", case.ok(&[]).config.gateway);
    assert!(shown.contains("desk") && !shown.contains("s3cret"), "{shown}");
}

#[test]
fn the_rows_of_a_shown_config_name_tokens_and_hold_none() {
    let hash: String = sha256(TOKEN).iter().map(|b| format!("{b:02x}")).collect();
    let case = with(&format!(
        r#""endpointTokens": ["{TOKEN}x", {{"name": "desk", "tokenFile": "t"}}, {{"name": "hall", "tokenSha256": "{hash}"}}], "endpointServers": "calc""#
    ));
    let rows = super::validate::shown(&case.file("t", "s3cret-of-desk"), &[]);
    let row = |key: &str| rows.iter().find(|row| row.starts_with(key)).unwrap().split(" from ").next().unwrap();
    assert_eq!(
        row("gateway.endpointTokens"),
        r#"gateway.endpointTokens = [{"name":"token 1","token":"…"},{"name":"desk","tokenFile":"t"},{"name":"hall","tokenSha256":"…"}]"#
    );
    assert_eq!(row("gateway.endpointServers"), r#"gateway.endpointServers = ["calc"]"#);
    assert!(!format!("{rows:?}").contains(&hash));
}

#[test]
fn where_tools_may_dial_in_no_server_need_be_ours() {
    let only = |gateway: &str| Case::new(&format!(r#"{{"gateway": {gateway}}}"#)).no_env();
    assert!(only(r#"{"endpointTokens": ["s3cret+s3cret/=="]}"#).ok(&[]).config.servers.is_empty());
    let none = only(r#"{"endpointTokens": []}"#).mistakes(&[]);
    assert!(none[0].contains("mcpServers: is missing"), "{none:?}");
}
