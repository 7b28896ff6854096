//! Whoever follows a hint gets further: what it names is there, and nothing far-fetched is suggested.

use super::*;

/// A folder without a config or an endpoint.
fn nothing() -> Case {
    Case { dir: tempfile::tempdir().unwrap(), env: Vec::new() }
}

#[test]
fn a_missing_endpoint_is_told_for_what_was_named_with_every_way_that_there_is() {
    let case = nothing().file("my.py", "").file("my s.py", "");
    for (line, local) in [
        (&["my.py"][..], "mcp-pipe --local my.py"),
        (&["run", "my s.py"], "mcp-pipe run --local 'my s.py'"),
        (&["--", "npx", "-y", "a b"], "mcp-pipe --local -- npx -y 'a b'"),
        (&["--mode", "multiplex", "run", "--", "x"], "mcp-pipe run --local -- x"),
        (&["--", "x", "--url", "https://u:s3cret@h/?token=s3cret"], "mcp-pipe --local -- x --url …"),
    ] {
        let told = case.mistakes(line);
        assert!(told[0].ends_with(&format!("Or try it without an account: {local}")), "{told:?}");
        assert!(!told[0].contains("entry") && !told[0].contains("the config"), "there is none: {told:?}");
    }
    let config = r#"{"mcpServers": {"a": {"command": "x"}}}"#;
    let case = case.file("mcp_config.json", config).file("d/c.json", config);
    let ways = "MCP_ENDPOINT=wss://… in the environment or in a file .env; --endpoint wss://…; \"endpoint\" at the top of the config";
    for (line, more, local) in [
        (&[][..], ", or in a server's entry for that one alone", "mcp-pipe --local"),
        (&["a"], ", or in a server's entry for that one alone", "mcp-pipe --local a"),
        (&["my.py"], "", "mcp-pipe --local my.py"),
        (
            &["--config", "d/c.json"],
            ", or in a server's entry for that one alone",
            "mcp-pipe --config d/c.json --local",
        ),
    ] {
        let told = case.mistakes(line);
        assert!(
            told[0].ends_with(&format!("{ways}{more}. Or try it without an account: {local}")),
            "{line:?}: {told:?}"
        );
    }
    let empty = nothing().file("my.py", "").env(&[("MCP_ENDPOINT", "")]).mistakes(&["my.py"]);
    assert!(empty[0].ends_with("or try it without an account: mcp-pipe --local my.py"), "{empty:?}");
}

#[test]
fn of_an_address_beside_a_command_it_is_said_which_counts() {
    for (members, want) in [
        (
            r#""url": "https://h/""#,
            "1:46 mcpServers.a.url: does nothing beside command, which counts: a is a program that is started here; remove one of \
             the two",
        ),
        (
            r#""httpUrl": "https://h/""#,
            "mcpServers.a.httpUrl: does nothing beside command, which counts: a is a program",
        ),
        (
            r#""serverUrl": "wss://h/?token=s3cret""#,
            "remove one of the two; if a is to be served at that address, call it \"endpoint\"",
        ),
        (
            r#""headers": {"X": "y"}"#,
            "1:39 mcpServers.a.headers: does nothing beside command, as only a remote server has it; headers of the WebSocket \
             connection are called endpointHeaders",
        ),
        (
            r#""oauth": {}"#,
            "1:39 mcpServers.a.oauth: does nothing beside command, as only a remote server has it; remove it",
        ),
    ] {
        let told = Case::server(members).warnings(&[]);
        assert!(told.len() == 1 && told[0].contains(want) && !told[0].contains("s3cret"), "{told:?}");
    }
}

#[test]
fn of_two_keys_that_say_where_or_how_a_remote_server_is_reached_it_is_said_which_counts() {
    for (members, want) in [
        (r#""url": "https://h/", "serverUrl": "https://i/""#, Some("serverUrl: says the same as url beside it")),
        (r#""serverUrl": "https://h/", "url": "https://i/""#, Some("serverUrl: says the same as url beside it")),
        (
            r#""httpUrl": "https://h/", "serverUrl": "https://i/""#,
            Some("httpUrl: says the same as serverUrl beside it"),
        ),
        (
            r#""serverUrl": "https://h/", "httpUrl": "https://i/""#,
            Some("httpUrl: says the same as serverUrl beside it"),
        ),
        (
            r#""url": "https://h/", "type": "sse", "transport": "http""#,
            Some("transport: says the same as type beside it"),
        ),
        (
            r#""url": "https://h/", "transport": "http", "transportType": "sse""#,
            Some("transport: says the same as transportType"),
        ),
        // Some programs write both.
        (r#""url": "https://h/", "type": "http", "transport": "http""#, None),
        (r#""url": "https://h/", "serverUrl": "https://h/""#, None),
    ] {
        let told = Case::new(&format!(r#"{{"mcpServers": {{"a": {{{members}}}}}}}"#)).warnings(&[]);
        assert_eq!(told.len(), usize::from(want.is_some()), "{members}: {told:?}");
        if let Some(want) = want {
            assert!(told[0].contains(want) && told[0].contains("the last one counts"), "{members}: {told:?}");
        }
    }
}

#[test]
fn a_key_of_another_program_that_wishes_what_is_not_done_is_told() {
    let again = "is ignored: a server that ends is started again; to keep it from running: \"disabled\": true";
    for (members, want) in [
        (r#""autoRestart": false"#, again),
        (r#""restart": "no""#, again),
        (r#""restart": "never""#, again),
        (
            r#""autoStart": false"#,
            "is ignored: every server runs from the start; to keep it from running: \"disabled\": true",
        ),
        (r#""sandbox": true"#, "is ignored: a server runs as mcp-pipe's user does, in no sandbox"),
        (r#""sandboxEnabled": true"#, "in no sandbox"),
        (
            r#""token": "s3cret""#,
            "is ignored; an endpoint's token stands in its address: \"endpoint\": \"wss://host/path?token=…\"",
        ),
        (r#""endpointUrl": "wss://h/""#, "did you mean endpoint?"),
        (r#""wsUrl": "wss://h/""#, "did you mean endpoint?"),
    ] {
        let told = Case::server(members).warnings(&[]);
        assert!(told.len() == 1 && told[0].contains(want) && !told[0].contains("s3cret"), "{members}: {told:?}");
    }
    let notes = Case::server(r#""trust": false"#).ok(&[]).notes;
    assert!(notes.len() == 1 && notes[0].contains("mcpServers.a.trust: nobody is asked before a call"), "{notes:?}");
    for members in
        [r#""restart": "always""#, r#""autoRestart": true, "trust": true, "sandbox": false, "autoStart": true"#]
    {
        let resolved = Case::server(members).ok(&[]);
        assert!(resolved.warnings.is_empty() && resolved.notes.is_empty(), "{resolved:?}");
    }
    let top = Case::new(r#"{"token": "s3cret-s3cret", "mcpServers": {"a": {"command": "x"}}}"#).warnings(&[]);
    assert!(top[0].contains("token: is ignored; an endpoint's token stands in its address"), "{top:?}");
}

#[test]
fn the_readme_names_the_keys_that_pass_without_a_word() {
    let readme = include_str!("../../../README.md");
    let told = readme
        .split_once("Without a warning pass")
        .and_then(|(_, rest)| rest.split("`src/config/keys.rs` has the whole list").next());
    let told = told.expect("the sentence is there");
    let named: Vec<&str> = told.split('`').skip(1).step_by(2).filter(|key| key.len() > 1).collect();
    assert!(named.len() > 8, "{named:?}");
    for key in named {
        let entry = Case::server(&format!("\"{key}\": \"text\"")).ok(&[]);
        let top = Case::new(&format!(r#"{{"{key}": "text", "mcpServers": {{"a": {{"command": "x"}}}}}}"#)).ok(&[]);
        assert!(entry.warnings.is_empty() || top.warnings.is_empty(), "{key}: {entry:?}");
    }
    assert!(readme.contains("`MCP_ENDPOINT` and `mcpEndpoint` at the top count as `endpoint`"));
    let top = Case::new(r#"{"MCP_ENDPOINT": "wss://top/?token=x", "mcpServers": {"a": {"command": "x"}}}"#).no_env();
    assert!(revealed(&top.ok(&[]).config.servers[0]).starts_with("wss://top/"));
}

#[test]
fn only_what_is_written_much_alike_is_suggested() {
    for key in ["maxRetries", "retries", "description2", "maxTokens", "models", "port", "host", "pingCount", "start"] {
        let told = Case::server(&format!("\"{key}\": 3")).warnings(&[]);
        assert!(told.len() == 1 && told[0].ends_with("remove it, or check its spelling"), "{told:?}");
    }
    for (key, meant) in [
        ("maxBackof", "maxBackoff"),
        ("startTimout", "startTimeout"),
        ("pingIntervall", "pingInterval"),
        ("arg", "args"),
    ] {
        let told = Case::server(&format!("\"{key}\": 3")).warnings(&[]);
        assert!(told.len() == 1 && told[0].ends_with(&format!("did you mean {meant}?")), "{told:?}");
    }
}

#[test]
fn a_server_that_nobody_here_speaks_to_is_told_how_it_can_be_used() {
    let of = |members: &str| {
        let case = Case::new(&format!(r#"{{"mcpServers": {{"a": {{{members}}}, "b": {{"command": "x"}}}}}}"#));
        case.warnings(&[]).remove(0)
    };
    // A program that others start for that replaces its variables itself.
    let bridge = Case::server(
        r#""args": ["-y", "mcp-remote", "https://h/mcp", "--header", "Authorization:${AUTHORIZATION}"], "env": {"AUTHORIZATION": "s3cret"}"#,
    );
    assert!(bridge.warnings(&[]).is_empty(), "{:?}", bridge.warnings(&[]));
    let other = Case::server(r#""args": ["${OTHER}"], "env": {"AUTHORIZATION": "s3cret"}"#).warnings(&[]);
    assert!(other[0].contains("has a ${, which is not replaced here"), "{other:?}");
    for (members, want) in [
        (
            r#""type": "websocket", "url": "wss://h/?token=s3cret""#,
            "if that address is where a server of yours is to be served: call it \"endpoint\"",
        ),
        (
            r#""type": "websocket", "url": "https://h/""#,
            "start a program that speaks WebSocket to it for you; if it speaks MCP over HTTP as well, write \"type\": \"http\"",
        ),
        (
            r#""transport": "ws""#,
            "write the address where a server of yours is to be served as \"endpoint\", beside the \"command\"",
        ),
        (r#""type": "openapi", "url": "https://h/""#, "start a program that makes an MCP server of it for you"),
    ] {
        let told = of(members);
        assert!(told.contains(want) && !told.contains("\"npx\"") && !told.contains("s3cret"), "{told}");
    }
}

#[test]
fn whoever_follows_the_hint_for_a_websocket_has_a_config_that_runs() {
    for (members, want) in [
        (r#""type": "websocket", "url": "ws://h/""#, true),
        (r#""transport": "ws""#, true),
        (r#""url": "ws://h/""#, false),
    ] {
        let case = Case::new(&format!(r#"{{"mcpServers": {{"a": {{{members}}}, "b": {{"command": "x"}}}}}}"#));
        let told = case.warnings(&[]).remove(0);
        assert_eq!(told.ends_with(", and remove the type"), want, "{told}");
    }
}

#[test]
fn a_value_without_its_brackets_is_told_how_to_write_it() {
    for (members, want) in [
        (
            r#""tools": "add""#,
            "is neither a list of patterns nor an object of rules; write [\"add\"], or {\"deny\": […]}",
        ),
        (r#""tools": 5"#, "write [\"…\", \"…\"], or {\"deny\": […]}"),
        (r#""tools": {"allow": "add"}"#, "is a text, not a list of texts; write [\"add\"]"),
        (r#""tools": {"deny": "a_*"}"#, "write [\"a_*\"]"),
        (r#""args": "my.py""#, "write [\"my.py\"]"),
        (r#""args": "-y foo""#, "write [\"…\", \"…\"]"),
        (r#""args": "eyJhbGciOiJFUzI1NiJ9.c2VjcmV0IQ.s3cr3t""#, "write [\"…\", \"…\"]"),
        (r#""env": ["A=b"]"#, "is a list, not an object; write {\"NAME\": \"value\"}"),
        (r#""endpointHeaders": "X: y""#, "write {\"X-Name\": \"value\"}"),
        (r#""tools": {"rename": "x"}"#, "write {\"its name\": \"the name to publish\"}"),
        (r#""tools": {"describe": ["x"]}"#, "write {\"name or pattern\": \"text\"}"),
        (r#""tools": {"timeout": "5s"}"#, "write {\"*\": \"30s\"}, or a timeout for all tools beside tools"),
        (r#""tools": {"maxResultBytes": 5}"#, "or a maxResultBytes for all tools beside tools"),
    ] {
        let told = Case::server(members).mistakes(&[]);
        assert!(told.len() == 1 && told[0].ends_with(want), "{members}: {told:?}");
    }
}

#[test]
fn a_regular_expression_in_the_place_of_a_pattern_is_a_warning() {
    for (members, want) in [
        (r#""tools": ["^add$"]"#, "and a pattern knows * and ? only; write \"add\""),
        (r#""tools": {"deny": ["add|sub.*"]}"#, "write \"add\", \"sub*\""),
        (r#""tools": {"timeout": {"add$": "5s"}}"#, "write \"add\""),
    ] {
        let told = Case::server(members).warnings(&[]);
        assert!(told.len() == 1 && told[0].ends_with(want), "{told:?}");
    }
    assert!(Case::server(r#""tools": ["files.*", "get_?"]"#).warnings(&[]).is_empty());
}

#[test]
fn a_variable_as_opencode_writes_it_is_a_warning() {
    let told =
        Case::server(r#""environment": {"A": "Bearer {env:HOME}", "B": "{x}"}"#).env(&[("HOME", "/h")]).warnings(&[]);
    assert!(told.len() == 1, "{told:?}");
    assert!(told[0].ends_with("holds {env:HOME}, which is passed on as it stands; write ${HOME} for the variable"));
    let ours = Case::server(r#""env": {"A": "${env:HOME}"}"#).env(&[("HOME", "/h")]).warnings(&[]);
    assert!(ours.is_empty(), "{ours:?}");
}

#[test]
fn a_script_named_without_its_ending_is_suggested() {
    let case = nothing().file("my.py", "").file("d/w.mjs", "").file("examples/weather.py", "").file("t.ts", "");
    let case = case.file("logs.js", "").file("my/x", "");
    for (line, script) in [
        (&["my"][..], "my.py"),
        (&["tools", "my"], "my.py"),
        (&["d/w"], "d/w.mjs"),
        (&["weather"], "weather.py"),
        (&["t"], "t.ts"),
        (&["tools", "logs"], "logs.js"),
    ] {
        let target = case.run(line).unwrap_err().target.unwrap().to_string();
        assert!(target.ends_with(&format!("did you mean {script}?")), "{target}");
    }
}

#[test]
fn a_script_in_the_place_of_a_config_is_told_so() {
    let case = nothing().file("my.py", "import os\n").file("x.ts", "");
    for (line, script, target) in
        [(&["validate", "my.py"][..], "my.py", "my.py"), (&["--config", "x.ts", "--local"], "x.ts", "--local x.ts")]
    {
        let told = case.mistakes(line);
        assert_eq!(
            told,
            [format!("{script}: is a script, not a config; name a config file, or run the script: mcp-pipe {target}")]
        );
    }
}

#[test]
fn what_is_wrong_is_not_repeated_at_any_length() {
    let (text, digits) = (format!("s3cret{}", "é".repeat(5000)), "7".repeat(5000));
    let case = |members: &str| {
        let case = Case::new(&format!(r#"{{{members}, "mcpServers": {{"a": {{"command": "x", {members}}}}}}}"#));
        let found = match case.run(&[]) {
            Ok(resolved) => resolved.warnings,
            Err(problems) => [problems.mistakes, problems.warnings].concat(),
        };
        for problem in &found {
            let told = case.lines(std::slice::from_ref(problem)).join("");
            assert!(told.chars().count() < 700, "{} characters: {told:.900}", told.chars().count());
        }
        found.len()
    };
    for key in keys::SHARED.iter().chain(keys::TOP).chain(keys::SERVER).chain(&["zzz", "timeoutMs", "options"]) {
        for value in [
            format!("\"{text}\""),
            format!("\"${{{text}}}\""),
            format!("\"${{A{digits}}}\""),
            digits.clone(),
            format!("[\"{text}\", \"{text}\"]"),
            format!("[{digits}]"),
            format!("{{\"{text}\": \"{text}\"}}"),
            format!("{{\"{text}\": {digits}}}"),
            format!("{{\"rename\": {{\"a\": \"{text} {text}\", \"b\": \"{text} {text}\"}}}}"),
            format!("{{\"command\": \"{text}\", \"type\": \"{text}\"}}"),
            format!("{{\"{text}\": {{\"command\": \"{text}\", \"type\": \"{text}\"}}}}"),
            format!("{{\"{text}\": {{\"url\": \"https://{text}\", \"cwd\": \"{text}\"}}}}"),
        ] {
            case(&format!("\"{key}\": {value}"));
        }
    }
    assert!(case(&format!("\"{text}\": 1")) > 0);
    // Wherever the cut is, nothing of a secret is left before it.
    for before in 40..90 {
        let key = "s3cr3t-k3y-0123456789-abcdefghi";
        let text = format!("{}{key}", "x".repeat(before));
        let case = Case::server(&format!(r#""mode": "{text}", "endpointHeaders": {{"X-Api-Key": "{key}"}}"#));
        let told = case.mistakes(&[]);
        assert!(!told[0].contains("s3cr"), "{before}: {told:?}");
    }
    let mode = Case::server(
        r#""mode": "eyJhbGciOiJFUzI1NiJ9.0123456789012345678901234567890123456789.s3cr3ts3cr3ts3cr3ts3cr3ts3cr3t""#,
    );
    let token =
        "wss://h/?token=eyJhbGciOiJFUzI1NiJ9.0123456789012345678901234567890123456789.s3cr3ts3cr3ts3cr3ts3cr3ts3cr3t";
    let told = mode.no_env().env(&[("MCP_ENDPOINT", token)]).mistakes(&[]);
    assert!(!told[0].contains("eyJh") && !told[0].contains("s3cr3t"), "a secret that the cut goes through: {told:?}");
}

#[test]
fn a_name_with_letters_of_other_scripts_is_told_where_to_allow_them() {
    let told = Case::server(r#""tools": {"rename": {"a": "开灯"}}"#).mistakes(&[]);
    assert!(told[0].ends_with("say \"names\": \"unicode\" at the top of the config"), "{told:?}");
}

#[test]
fn a_path_is_told_without_steps_that_lead_nowhere() {
    let case =
        Case::server(r#""cwd": "./none/./x", "envFile": "././e.env", "caFile": "./ca.pem""#).file("d/c.json", "");
    let told = match case.run(&["--config", "./mcp_config.json"]) {
        Ok(resolved) => case.lines(&resolved.warnings),
        Err(problems) => case.lines(&[problems.mistakes, problems.warnings].concat()),
    };
    assert!(told.len() == 3 && told.iter().all(|told| !told.contains("/./")), "{told:?}");
    assert!(told.iter().any(|told| told.contains("DIR/none/x")), "{told:?}");
    let target = case.run(&["./zzz.py"]).unwrap_err().target.unwrap().to_string();
    assert!(!target.contains("/./"), "{target}");
    let program = Case::new(r#"{"mcpServers": {"a": {"command": "./bin/./x"}}}"#);
    let server = &program.ok(&["--config", "./mcp_config.json"]).config.servers[0];
    assert_eq!(server.command().program, program.dir.path().join("bin/x").display().to_string());
}

#[test]
fn the_clouds_address_without_a_token_is_told() {
    let at = |address: &str, members: &str| {
        let case = Case::server(&format!(r#""args": []{members}"#)).no_env();
        case.env(&[("MCP_ENDPOINT", address)]).warnings(&[])
    };
    for address in ["wss://api.xiaozhi.me/mcp/", "wss://API.XIAOZHI.ME/mcp", "wss://api.xiaozhi.me/mcp/?v=1"] {
        let told = at(address, "");
        assert_eq!(
            told,
            [
                "MCP_ENDPOINT (environment): has no token, and nobody is let in there without one; copy the whole address from the \
              console, with everything behind ?token="
            ]
        );
    }
    for address in ["wss://api.xiaozhi.me/mcp/?token=abc", "ws://my.example/mcp/", "wss://notxiaozhi.me/mcp/"] {
        assert!(at(address, "").is_empty(), "{address}");
    }
    let header = at("wss://api.xiaozhi.me/mcp/", r#", "endpointHeaders": {"Authorization": "Bearer x"}"#);
    assert!(header.is_empty(), "{header:?}");
}

#[test]
fn an_address_as_target_is_told_what_its_command_can_do_with_it() {
    let case = nothing();
    let told = |line: &[&str]| case.run(line).unwrap_err().target.unwrap().to_string();
    let dialled = "pass an endpoint, token included, by MCP_ENDPOINT, .env or --endpoint";
    let looks = "starts servers on this machine and dials no endpoint";
    let entry = "write {\"mcpServers\": {\"my-server\": {\"url\": ";
    for (line, want) in [
        (&["wss://h.example/mcp?token=abcdef"][..], dialled.to_owned()),
        (&["run", "wss://h.example/mcp?token=abcdef"], dialled.to_owned()),
        (
            &["--local", "wss://h.example/mcp?token=abcdef"],
            "with --local mcp-pipe serves the endpoint itself: leave one of both out".to_owned(),
        ),
        (
            &["tools", "wss://h.example/mcp?token=abcdef"],
            format!("tools {looks}: name a server of the config, a script, or a program behind --"),
        ),
        (
            &["tools", "--", "wss://h.example/mcp?token=abcdef"],
            format!("tools {looks}: name a server of the config, a script, or a program behind --"),
        ),
        (
            &["call", "wss://h.example/mcp?token=abcdef", "add"],
            format!("call {looks}: name a server of the config, or a script"),
        ),
        (
            &["https://h.example/mcp"],
            format!("{entry}\"https://h.example/mcp\"}}}}}}; an endpoint begins with wss:// or ws://"),
        ),
        (&["tools", "HTTPS://h.example/mcp"], format!("{entry}\"HTTPS://h.example/mcp\"}}}}}}")),
        (
            &["call", "http://h.example/mcp?token=abcdef", "add"],
            format!("{entry}\"http://h.example/mcp?token=…\"}}}}}}"),
        ),
    ] {
        let told = told(line);
        assert!(told.ends_with(&want) && !told.contains("abcdef"), "{line:?}: {told}");
        assert_eq!(told.contains("the address of a remote server"), want.contains("my-server"), "{told}");
    }
    let named = |line: &[&str]| case.mistakes(line).join("");
    assert!(
        named(&["tools", "--config", "wss://h.example/?token=abcdef"])
            .ends_with("is a URL, not a config file; name a file")
    );
    assert!(
        named(&["--config", "wss://h.example/?token=abcdef"])
            .ends_with("pass an endpoint by MCP_ENDPOINT, .env or --endpoint")
    );
}

#[test]
fn an_address_or_a_token_where_a_path_belongs_is_a_mistake_and_nothing_is_called_by_it() {
    let case = |members: &str| Case::new(&format!(r#"{{{members}"mcpServers": {{"a": {{"command": "x"}}}}}}"#));
    for (path, what) in [
        ("wss://h.example/mcp/?token=abcdef", "is an address, where a path belongs"),
        ("h.example/mcp/?a=1&token=abcdef", "is an address, where a path belongs"),
        ("eyJhbGciOiJIUzI1NiJ9.abcdef.abcdef", "looks like a token, where a path belongs"),
    ] {
        let check = |told: Vec<String>, place: &str| {
            let is_it = |text: &String| text.starts_with(place) && text.contains(what) && !text.contains("abcdef");
            assert!(told.len() == 1 && told.iter().all(is_it), "{place}: {told:?}");
        };
        for option in ["--cache-dir", "--metrics-file", "--control-socket", "--status-socket"] {
            check(case("").mistakes(&[option, path]), option);
        }
        for variable in ["MCP_CACHE_DIR", "MCP_CONTROL_SOCKET", "MCP_STATUS_SOCKET"] {
            check(case("").env(&[(variable, path)]).mistakes(&[]), &format!("{variable} (environment)"));
            check(
                case("").file(".env", format!("{variable}={path}")).mistakes(&[]),
                &format!("{variable} (DIR/.env:1)"),
            );
        }
        for key in ["cacheDir", "stateDir", "logFile"] {
            let told = case(&format!(r#""{key}": "{path}", "#)).mistakes(&[]);
            check(told, &format!("mcp_config.json:1:{} {key}", key.len() + 6));
        }
        let entry = r#""logFile": {"path": "${WHERE}"}"#;
        check(Case::server(entry).env(&[("WHERE", path)]).mistakes(&[]), "mcp_config.json:1:");
    }
    let hex = "0123456789abcdef0123456789abcdef";
    for path in ["./eyJhbGciOiJIUzI1NiJ9", &format!("./{hex}"), &format!("/var/{hex}")] {
        case("").ok(&["--cache-dir", path]);
    }
}

#[test]
fn a_way_without_a_config_is_one_that_works_for_whoever_follows_it() {
    for (line, want) in [
        (&[][..], "or run one command without a config: mcp-pipe --local -- CMD"),
        (&["--local"], "or run one command without a config: mcp-pipe --local -- CMD"),
        (&["run"], "or run one command without a config: mcp-pipe run --local -- CMD"),
        (&["run", "--local"], "or run one command without a config: mcp-pipe run --local -- CMD"),
        (&["tools"], "or run one command without a config: mcp-pipe tools -- CMD"),
        (&["validate"], "or run one command without a config: mcp-pipe --local -- CMD"),
        (&["--endpoint", "wss://h/?token=1"], "or run one command without a config: mcp-pipe -- CMD"),
        (&["call", "a", "b", "--config", "none.json"], "see mcp_config.minimal.json"),
    ] {
        let told = nothing().mistakes(line).join("");
        assert!(told.ends_with(want), "{line:?}: {told}");
    }
    // Where a variable names the config, following it would lead to the same error.
    let by_variable = nothing().env(&[("MCP_CONFIG", "nope.json")]).mistakes(&[]).join("");
    assert!(
        by_variable.ends_with("; or unset MCP_CONFIG, and run one command without a config: mcp-pipe --local -- CMD"),
        "{by_variable}"
    );
    let in_dotenv = nothing().file(".env", "MCP_CONFIG=nope.json").mistakes(&[]).join("");
    assert!(in_dotenv.contains("; or take MCP_CONFIG out of .env, and run one command"), "{in_dotenv}");
    let script = nothing().file("x.py", "").env(&[("MCP_CONFIG", "x.py")]).mistakes(&["--local"]).join("");
    assert!(script.ends_with("or unset MCP_CONFIG and run the script: mcp-pipe --local x.py"), "{script}");
    let set = nothing().env(&[ENDPOINT]).mistakes(&[]).join("");
    assert!(set.ends_with("mcp-pipe -- CMD"), "{set}");
    let in_file = nothing().file(".env", "MCP_ENDPOINT=wss://h/?token=1").mistakes(&[]).join("");
    assert!(in_file.ends_with("mcp-pipe -- CMD"), "{in_file}");
    let empty = Case::new(r#"{"mcpServers": {}}"#).no_env();
    for (line, want) in [
        (&[][..], "or a command without the config: mcp-pipe --local -- CMD"),
        (&["tools"], "or a command without the config: mcp-pipe tools -- CMD"),
    ] {
        let told = empty.mistakes(line).join("");
        assert!(told.ends_with(want), "{line:?}: {told}");
    }
    let quoted = nothing().run(&["--local", "npx some-server"]).unwrap_err().target.unwrap().to_string();
    assert!(quoted.ends_with("write it without quotes: mcp-pipe --local -- npx some-server"), "{quoted}");
    let words = nothing().run(&["tools", "--", "npx some-server"]).unwrap_err().target.unwrap().to_string();
    assert!(words.ends_with("write it without quotes: mcp-pipe tools -- npx some-server"), "{words}");
}

#[test]
fn a_variable_in_the_place_of_a_program_is_told_to_be_written_out() {
    for program in ["${PYBIN}", "${HOME}/bin/python", "${PYBIN:-python}"] {
        let config = format!(r#"{{"mcpServers": {{"a": {{"command": "{program}", "env": {{"PYBIN": "python"}}}}}}}}"#);
        let told = Case::new(&config).warnings(&[]);
        assert_eq!(told.len(), 1, "{told:?}");
        let want =
            "mcpServers.a.command: has a ${, which is not replaced there; write the program's name, or its whole path";
        assert!(told[0].ends_with(want), "{told:?}");
    }
}

#[test]
fn a_list_in_the_place_of_the_config_is_told_as_the_whole_config() {
    for (text, want) in [
        (
            r#"[{"command": "python", "args": ["my.py"]}]"#,
            r#"write {"mcpServers": {"my": {"command": "python", "args": ["my.py"]}}}"#,
        ),
        (
            r#"[{"command": "a"}, {"command": "b"}]"#,
            r#"write {"mcpServers": {"a": {"command": "a"}, …}}, each server behind its name"#,
        ),
        (r#"[{"mcpServers": {"a": {"command": "x"}}}]"#, "remove the [ before it and the ] behind it"),
        (r#"[{"a": {"command": "x"}}]"#, r#"write {"mcpServers": {"a": {…}}}"#),
        ("[]", r#"write {"mcpServers": {"calculator": {"command": "python", "args": ["calculator.py"]}}}"#),
        (r#"["x"]"#, r#"write {"mcpServers": {"calculator": {"command": "python", "args": ["calculator.py"]}}}"#),
    ] {
        let told = Case::new(text).mistakes(&[]);
        assert_eq!(told, [format!("mcp_config.json:1:1: is a list, not an object; {want}")]);
    }
}

#[test]
fn a_script_behind_the_dashes_is_told_how_to_be_started_before_anything_starts() {
    let case =
        nothing().file("my.py", "x = 1\n").file("t.ts", "").file("examples/calc.py", "").env(&[("PATH", "/nowhere")]);
    let told =
        |line: &[&str]| case.run(line).unwrap_err().target.map(|problem| problem.to_string()).unwrap_or_default();
    let what = "is a script, and behind -- stands the program that runs it";
    for (line, want) in [
        (
            &["--", "my.py"][..],
            format!(
                "my.py: {what}; write mcp-pipe --local -- python my.py, or the script alone: mcp-pipe --local my.py"
            ),
        ),
        (&["tools", "--", "./my.py", "-v"], format!("./my.py: {what}; write mcp-pipe tools -- python ./my.py -v")),
        (&["--local", "--", "t.ts"], format!("t.ts: {what}; write mcp-pipe --local -- npx -y tsx t.ts")),
    ] {
        assert_eq!(told(line), want, "{line:?}");
    }
    let gone = told(&["--local", "--", "calc.py"]);
    assert!(
        gone.starts_with("calc.py: is neither a program of the PATH nor a script in the working directory (")
            && gone.ends_with("; write the script's path behind its interpreter: mcp-pipe --local -- python calc.py"),
        "{gone}"
    );
    // One with a first line starts by itself, where it is named by its path.
    let fit = nothing().file("my.py", "#!/usr/bin/env python3\n").env(&[("PATH", "/nowhere"), ENDPOINT]);
    std::fs::set_permissions(fit.dir.path().join("my.py"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    assert!(fit.ok(&["--", "./my.py"]).warnings.is_empty());
    let named = fit.run(&["--", "my.py"]).unwrap_err().target.unwrap().to_string();
    assert!(named.contains("or by its path: mcp-pipe -- ./my.py"), "{named}");
}

#[test]
fn a_script_that_stands_beside_the_config_and_not_in_its_servers_folder_is_told() {
    let case = |members: &str| {
        let config = format!(r#"{{"mcpServers": {{"a": {{{members}, "cwd": "sub"}}}}}}"#);
        Case::new(&config).file("my.py", "").file("sub/own.py", "").env(&[("PATH", "/nowhere")])
    };
    for members in [r#""command": "my.py""#, r#""command": "python", "args": ["-u", "my.py"]"#] {
        let case = case(members);
        let told = case.warnings(&[]);
        assert_eq!(told.len(), 1, "{told:?}");
        let what = "names my.py, which is looked for in DIR/sub (key `cwd`), and stands beside the config";
        let remedy = if members.contains("args") {
            "write \"DIR/my.py\""
        } else {
            "name its interpreter, and the whole path: \"command\": \"python\", \"args\": [\"DIR/my.py\"]"
        };
        assert!(told[0].ends_with(&format!("{what}; {remedy}")), "{told:?}");
        let ahead = case.run(&["validate", "--local"]).unwrap().warnings;
        assert_eq!(ahead.len(), 1, "{ahead:?}");
    }
    for members in [r#""command": "python", "args": ["own.py"]"#, r#""command": "python", "args": ["--name", "x.txt"]"#]
    {
        assert!(case(members).warnings(&[]).is_empty(), "{members}");
    }
}
