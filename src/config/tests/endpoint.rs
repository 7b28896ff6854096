//! What people paste for an endpoint, wherever one may stand, and which of several counts.

use super::*;

const TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.c2VjcmV0IQ.s3cr3t";

/// A config with this endpoint at one of the places where one may stand, and the command line that goes with it.
fn at(place: &str, text: &str) -> (Case, Vec<String>) {
    let json = serde_json::Value::from(text);
    let server = |members: String| format!(r#"{{"mcpServers": {{"a": {{"command": "x"{members}}}}}}}"#);
    let config = match place {
        "the entry" => server(format!(r#", "endpoint": {json}"#)),
        "the entry's env" => server(format!(r#", "env": {{"MCP_ENDPOINT": {json}}}"#)),
        "the top" => format!(r#"{{"endpoint": {json}, "mcpServers": {{"a": {{"command": "x"}}}}}}"#),
        _ => server(String::new()),
    };
    let case = Case::new(&config).no_env();
    match place {
        "--endpoint" => (case, vec!["--endpoint".to_owned(), text.to_owned()]),
        "the environment" => (case.env(&[("MCP_ENDPOINT", text)]), Vec::new()),
        ".env" => (case.file(".env", format!("MCP_ENDPOINT={text}\n")), Vec::new()),
        _ => (case, Vec::new()),
    }
}

const PLACES: [(&str, &str); 6] = [
    ("--endpoint", "--endpoint: "),
    ("the environment", "MCP_ENDPOINT (environment): "),
    (".env", "MCP_ENDPOINT (DIR/.env:1): "),
    ("the top", "mcp_config.json:1:14 endpoint: "),
    ("the entry", "mcp_config.json:1:51 mcpServers.a.endpoint: "),
    ("the entry's env", "mcp_config.json:1:63 mcpServers.a.env.MCP_ENDPOINT: "),
];

#[test]
fn what_is_no_address_is_told_at_every_place_with_the_character_that_spoils_it() {
    for (text, want) in [
        ("wss://h/?token=\u{200b}@", "zero width space (U+200B)"),
        ("wss://h/?token=@\u{feff}", "byte order mark (U+FEFF)"),
        ("wss://h/?token=@\u{a0}", "no-break space (U+00A0)"),
        ("\u{3000}wss://h/?token=@", "ideographic space (U+3000)"),
        ("wss://h/？token=@", "？ (U+FF1F, fullwidth question mark)"),
        ("wss：//h/?token=@", "： (U+FF1A, fullwidth colon)"),
        ("“wss://h/?token=@”", "“ (U+201C, left double quotation mark)"),
        ("wss://h/?token=你的token", "你 (U+4F60, a Chinese character)"),
        ("wss://h/?token=YOUR_TOKEN_HERE", "\"YOUR_TOKEN_HERE\""),
        ("wss://h/?token=@ wss://h/?token=@", "more than one address"),
    ] {
        for (place, shown) in PLACES {
            let (case, line) = at(place, &text.replace('@', TOKEN));
            let line: Vec<&str> = line.iter().map(String::as_str).collect();
            let mistakes = case.mistakes(&line);
            assert_eq!(mistakes.len(), 1, "{place}: {mistakes:?}");
            assert!(mistakes[0].starts_with(shown) && mistakes[0].contains(want), "{place}: {mistakes:?}");
            assert!(!mistakes[0].contains("s3cr3t"), "{mistakes:?}");
        }
    }
}

#[test]
fn matching_quotes_around_an_address_are_no_matter_at_any_place() {
    let address = format!("wss://h/?token={TOKEN}");
    for around in ["\"@\"", "'@'", "`@`", " @ "] {
        for (place, _) in PLACES {
            let (case, line) = at(place, &around.replace('@', &address));
            let line: Vec<&str> = line.iter().map(String::as_str).collect();
            let resolved = case.ok(&line);
            assert_eq!(revealed(&resolved.config.servers[0]), address, "{place}: {around}");
            assert!(resolved.warnings.is_empty(), "{place}: {:?}", resolved.warnings);
        }
    }
}

#[test]
fn of_different_endpoints_it_is_said_which_counts_and_none_is_shown() {
    let top =
        r#"{"endpoint": "wss://top/?token=s3cr3t-top", "mcpServers": {"a": {"command": "x"}, "b": {"command": "x"}}}"#;
    let case = Case::new(top).no_env().file(".env", "# mine\nMCP_ENDPOINT=wss://dotenv/?token=s3cr3t-dotenv\n");
    let says = |warnings: &[String], want: &str| {
        assert_eq!(warnings, [format!("{want}; remove the one that is out of date")]);
    };
    says(
        &case.warnings(&[]),
        "MCP_ENDPOINT (DIR/.env:2): counts; another endpoint, which does not count, is in mcp_config.json:1:14 endpoint",
    );
    let case = case.env(&[("MCP_ENDPOINT", "wss://environment/?token=s3cr3t-environment")]);
    says(
        &case.warnings(&[]),
        "MCP_ENDPOINT (environment): counts; another endpoint, which does not count, is in \
         MCP_ENDPOINT (DIR/.env:2) and in mcp_config.json:1:14 endpoint",
    );
    let flag = case.ok(&["--endpoint", "wss://flag/?token=s3cr3t-flag"]);
    assert!(flag.warnings.is_empty(), "who writes it there knows: {:?}", flag.warnings);
    assert!(flag.notes.iter().any(|note| note.starts_with("--endpoint: counts; another endpoint")), "{:?}", flag.notes);
    assert!(!format!("{:?}{:?}", flag.notes, case.warnings(&[])).contains("s3cr3t"));
    assert!(case.warnings(&["--local"]).is_empty(), "nobody's endpoint counts there");
}

#[test]
fn the_same_endpoint_in_other_quotes_or_an_unset_top_is_no_matter() {
    let case = Case::new(r#"{"endpoint": "${UNSET}", "mcpServers": {"a": {"command": "x"}}}"#).no_env();
    let case = case.file(".env", "MCP_ENDPOINT=\"wss://h/?token=x\"\n").env(&[("MCP_ENDPOINT", "'wss://h/?token=x' ")]);
    assert!(case.warnings(&[]).is_empty(), "{:?}", case.warnings(&[]));
}

#[test]
fn a_variable_of_another_name_that_holds_an_address_is_named_where_none_is_set() {
    let case = Case::server(r#""args": []"#).no_env();
    let case = case.file(".env", "LOG=wss\nXIAOZHI_ENDPOINT=wss://h/?token=s3cr3t\n");
    let mistakes = case.mistakes(&[]);
    let want = "XIAOZHI_ENDPOINT (DIR/.env:2) holds an address: if it is that, call it MCP_ENDPOINT. Else set it";
    assert!(mistakes[0].contains(want) && !mistakes[0].contains("s3cr3t"), "{mistakes:?}");
    let case = Case::server(r#""args": []"#).no_env().env(&[("MCP_ENDPIONT", "ws://h/")]);
    assert!(case.mistakes(&[])[0].contains("MCP_ENDPIONT (environment) holds an address"));
}

#[cfg(unix)]
#[test]
fn an_endpoint_that_is_no_text_is_not_taken_for_none() {
    use std::os::unix::ffi::OsStringExt as _;
    let case = Case::server(r#""args": []"#).file(".env", "MCP_ENDPOINT=ws://other/\n");
    let value = std::ffi::OsString::from_vec(b"wss://h/?token=\xff".to_vec());
    let env = std::iter::once(("MCP_ENDPOINT", value)).collect();
    let cli = cli::parse(["mcp-pipe".into()]).unwrap();
    let problems = resolve(&cli.line(), &Surroundings::look(&cli.options, env, case.dir.path())).unwrap_err();
    assert_eq!(case.lines(&problems.mistakes)[0].split(';').next(), Some("MCP_ENDPOINT (environment): is not UTF-8"));
}

#[test]
fn no_child_sees_an_endpoint_that_stands_in_quotes_elsewhere() {
    let case = Case::server(r#""args": []"#).no_env();
    let case = case.env(&[("MCP_ENDPOINT", "'wss://h/?token=short1'"), ("COPY", "see wss://h/?token=short1")]);
    assert_eq!(case.ok(&[]).config.servers[0].command.env_remove, ["MCP_ENDPOINT", "COPY"]);
}
