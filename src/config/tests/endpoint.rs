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
    assert_eq!(case.ok(&[]).config.servers[0].command().env_remove, ["MCP_ENDPOINT", "COPY"]);
}

#[test]
fn a_variable_that_is_not_replaced_is_told_with_what_to_write_in_its_place() {
    for (text, shown, name) in [
        ("$TOKEN", "$TOKEN", "TOKEN"),
        ("wss://$HOST/mcp/?token=abc123", "$HOST", "HOST"),
        ("wss://api.$DOMAIN:8080/?token=abc123", "$DOMAIN", "DOMAIN"),
        ("wss://h/mcp/?token=$TOKEN", "$TOKEN", "TOKEN"),
        ("wss://%HOST%/mcp/?token=%TOKEN%", "%HOST%", "HOST"),
        ("wss://h/mcp/?token=%ACCESS_TOKEN%", "%ACCESS_TOKEN%", "ACCESS_TOKEN"),
    ] {
        for (place, start) in PLACES {
            let (case, line) = at(place, text);
            let line: Vec<&str> = line.iter().map(String::as_str).collect();
            let remedy = if start.starts_with("mcp_config") {
                format!("write ${{{name}}} for it")
            } else {
                "write the endpoint's whole address, wss://host/path?token=…; variables are replaced in the config only"
                    .to_owned()
            };
            let want = format!("{start}holds the variable {shown}, which is not replaced; {remedy}");
            assert_eq!(case.mistakes(&line), [want], "{place}");
        }
    }
    let nested = Case::server(r#""endpoint": "${A}""#).env(&[("A", "wss://h/?token=${B}")]).mistakes(&[]);
    assert!(
        nested[0].contains("holds the variable ${B}") && nested[0].contains("what it holds is not looked at again")
    );
}

#[test]
fn a_parameter_that_lacks_its_token_is_named() {
    for (place, start) in PLACES {
        let (case, line) = at(place, "ws://h/mcp/?token=");
        let line: Vec<&str> = line.iter().map(String::as_str).collect();
        let want = format!("{start}has nothing behind its parameter token; paste your own endpoint URL there");
        let mistakes = case.mistakes(&line);
        assert!(mistakes.len() == 1 && mistakes[0].starts_with(&want), "{mistakes:?}");
    }
}

#[test]
fn what_spoils_an_address_is_told_once_and_of_a_pair_of_quotes_both() {
    let case =
        Case::server(r#""args": []"#).no_env().file(".env", "MCP_ENDPOINT=wss://h/?token=a\u{200b}\nX=a\u{200b}\n");
    let told = case.run(&[]).unwrap_err();
    assert_eq!(told.mistakes.len(), 1, "{told}");
    assert!(told.warnings.len() == 1 && case.lines(&told.warnings)[0].starts_with("DIR/.env:2: holds what"), "{told}");
    let (case, _) = at(".env", "“wss://h/?token=abc”");
    assert_eq!(
        case.mistakes(&[]),
        [
            "MCP_ENDPOINT (DIR/.env:1): stands between “ (U+201C, left double quotation mark) and ” (U+201D, right double \
          quotation mark), which are no part of an address; remove both"
        ]
    );
}

#[test]
fn a_line_of_dotenv_that_was_to_set_the_endpoint_is_told_with_what_to_write() {
    for (line, what, remedy) in [
        ("wss://h/?token=s3cr3t", "is not NAME=value but an address alone", "write MCP_ENDPOINT= before it"),
        ("“wss://h/?token=s3cr3t”", "is not NAME=value but an address alone", "write MCP_ENDPOINT= before it"),
        ("\"wss://h/?token=s3cr3t\"", "is not NAME=value but an address alone", "write MCP_ENDPOINT= before it"),
        (
            "MCP_ENDPOINT: wss://h/?token=s3cr3t",
            "is not NAME=value because of the colon",
            "write MCP_ENDPOINT=, with = for :",
        ),
        ("mcp_endpoint : wss://h/", "is not NAME=value because of the colon", "write MCP_ENDPOINT=, with = for :"),
        (
            "MCP-ENDPOINT=wss://h/?token=s3cr3t",
            "is not NAME=value because of the - in its name",
            "write MCP_ENDPOINT, with _ for -",
        ),
        (
            "set MCP_ENDPOINT=wss://h/?token=s3cr3t",
            "is not NAME=value but the command set",
            "write MCP_ENDPOINT=wss://…, without set",
        ),
        ("setx MCP_ENDPOINT \"wss://h/?x=s3cr3t\"", "but the command setx", "write MCP_ENDPOINT=wss://…, without setx"),
        (
            "$env:MCP_ENDPOINT = \"wss://h/?token=s3cr3t\"",
            "is not NAME=value but an assignment of PowerShell",
            "write MCP_ENDPOINT=wss://…, without $env:",
        ),
        ("MCP_ENDPOINT wss://h/?token=s3cr3t", "is not NAME=value", "write MCP_ENDPOINT=wss://… on a line of its own"),
        (
            "- MCP_ENDPOINT=wss://h/?token=s3cr3t",
            "is not NAME=value",
            "write MCP_ENDPOINT=wss://… on a line of its own",
        ),
        ("MCP_ENDPOINT", "is not NAME=value but a name alone", "write MCP_ENDPOINT= and the address behind it"),
        ("\"MCP_ENDPOINT\"=wss://h/", "because of the quotes around its name", "write MCP_ENDPOINT= without them"),
        ("MCP_ENDPOINT=\"wss://h/?token=s3cr3t", "opens a quote that it doesn't close", "close it on the same line"),
    ] {
        let case = Case::server(r#""args": []"#).no_env().file(".env", format!("# mine\n{line}\n"));
        let told = case.run(&[]).unwrap_err();
        let mistakes = case.lines(&told.mistakes);
        assert!(mistakes.len() == 1 && told.warnings.is_empty(), "{told}");
        let start = "MCP_ENDPOINT: is not set: DIR/.env:2 ";
        assert!(mistakes[0].starts_with(start) && mistakes[0].contains(what), "{mistakes:?}");
        assert!(mistakes[0].contains("and is ignored, so there is nowhere to serve a; "), "{mistakes:?}");
        assert!(mistakes[0].contains(remedy) && !mistakes[0].contains("s3cr3t"), "{mistakes:?}");
    }
    for (line, remedy) in [
        ("API_KEY: s3cr3t", "write = for :"),
        ("MY-KEY=s3cr3t", "write _ for -"),
        ("set KEY=s3cr3t", "write NAME=value, without set"),
        ("s3cr3t", "write one variable a line, with letters, digits and _ in its name"),
    ] {
        let warnings = Case::server(r#""args": []"#).file(".env", line).warnings(&[]);
        assert!(
            warnings.len() == 1 && warnings[0].ends_with(remedy) && !warnings[0].contains("s3cr3t"),
            "{warnings:?}"
        );
    }
    let good = Case::server(r#""args": []"#).file(".env", "set=1\nexport A=b: c\nB='x-y: z'\nsetx = 2\n");
    assert!(good.warnings(&[]).is_empty(), "{:?}", good.warnings(&[]));
}

#[test]
fn an_endpoint_that_is_set_and_empty_is_told_to_be_empty() {
    for (dotenv, env, want) in [
        ("MCP_ENDPOINT=\n", None, "is empty in DIR/.env:1, so"),
        ("\nMCP_ENDPOINT=  # later\n", None, "is empty in DIR/.env:2, so"),
        ("", Some(" "), "is empty in the environment, so"),
        ("MCP_ENDPOINT=\"\"\n", Some(""), "is empty in the environment and in DIR/.env:1, so"),
    ] {
        let case = Case::server(r#""args": []"#).no_env().file(".env", dotenv);
        let case = env.into_iter().fold(case, |case, value| case.env(&[("MCP_ENDPOINT", value)]));
        let mistakes = case.mistakes(&[]);
        let want =
            format!("MCP_ENDPOINT: {want} there is nowhere to serve a; write the endpoint's whole address there");
        assert!(mistakes.len() == 1 && mistakes[0].starts_with(&want), "{mistakes:?}");
    }
}

#[test]
fn of_two_endpoints_in_one_entry_it_is_said_which_counts() {
    let case = Case::server(
        r#""envFile": "e", "env": {"MCP_ENDPOINT": "wss://env/?token=s3cr3t-e"}, "endpoint": "wss://own/?token=s3cr3t-o""#,
    )
    .file("e", "MCP_ENDPOINT=wss://file/?token=s3cr3t-f\n");
    assert!(revealed(&case.ok(&[]).config.servers[0]).starts_with("wss://own/"));
    assert_eq!(
        case.warnings(&[]),
        ["mcp_config.json:1:121 mcpServers.a.endpoint: counts; another endpoint, which does not count, is in \
          mcp_config.json:1:79 mcpServers.a.env.MCP_ENDPOINT and in MCP_ENDPOINT (DIR/e:1); remove the one that is out of date"]
    );
    let same = Case::server(r#""env": {"MCP_ENDPOINT": "'wss://own/?token=x'"}, "endpoint": "wss://own/?token=x""#);
    assert!(same.warnings(&[]).is_empty(), "{:?}", same.warnings(&[]));
}

#[test]
fn a_variable_of_a_shell_in_a_header_or_in_env_is_told() {
    let case = Case::server(
        r#""endpointHeaders": {"Authorization": "Bearer $TOKEN", "X-A": "a$B"}, "env": {"K": "%KEY%", "P": "cost $US", "Q": "${Q:-$Q}"}"#,
    );
    assert_eq!(
        case.warnings(&[]),
        [
            "mcp_config.json:1:121 mcpServers.a.env.K: holds %KEY%, which is passed on as it stands; write ${KEY} for the variable",
            "mcp_config.json:1:76 mcpServers.a.endpointHeaders.Authorization: holds $TOKEN, which is passed on as it stands; \
             write ${TOKEN} for the variable",
        ]
    );
}

#[test]
fn headers_that_are_sent_nowhere_are_told() {
    let top =
        |entries: &str| Case::new(&format!(r#"{{"endpointHeaders": {{"X-Key": "k"}}, "mcpServers": {{{entries}}}}}"#));
    let own = r#""a": {"command": "x", "endpoint": "wss://own/"}"#;
    let told = top(own).warnings(&[]);
    assert!(
        told.len() == 1 && told[0].contains("endpointHeaders.X-Key: is sent nowhere: each server that runs has an"),
        "{told:?}"
    );
    assert!(top(&format!(r#"{own}, "b": {{"command": "x"}}"#)).warnings(&[]).is_empty());
    assert!(top(own).warnings(&["--local"]).is_empty());
}

#[test]
fn an_endpoint_of_the_command_line_that_is_wrong_is_the_command_lines_fault() {
    use crate::error::{Exit, Failure};
    for text in ["", "foo", "https://h/", "wss://h/?token="] {
        let case = Case::server(r#""args": []"#).no_env();
        let failure = Failure::from(case.run(&["--endpoint", text]).unwrap_err());
        assert_eq!(failure.exit(), Exit::Usage, "{failure}");
        assert!(failure.to_string().starts_with("mcp-pipe: --endpoint "), "{failure}");
    }
    let case = Case::server(r#""cwd": 5"#).no_env();
    assert_eq!(Failure::from(case.run(&["--endpoint", "foo"]).unwrap_err()).exit(), Exit::Config);
}
