//! What people write on their first day: what is told of it names the remedy that works.

use super::*;

/// What `mcp-pipe validate --local` tells of a config: mistakes and warnings.
fn told_of(case: &Case) -> String {
    let words = |found: String| found.split_once(": ").map_or(String::new(), |(_, words)| words.to_owned());
    case.found(&["--local"]).into_iter().map(words).collect::<Vec<_>>().join("\n")
}

fn told(config: &str) -> String {
    told_of(&Case::new(config))
}

#[test]
fn an_entry_without_its_name_is_told_with_a_file_that_would_do() {
    let example = r#"write {"mcpServers": {"x": {"command": "python", "args": ["x.py"]}}}"#;
    let what = "is the entry of one server, and servers stand in mcpServers, each behind its name";
    for list in ["mcpServers", "servers", "context_servers", "mcp"] {
        let told = told(&format!(r#"{{"{list}":{{"command":"python","args":["x.py"]}}}}"#));
        assert_eq!(told, format!("mcp_config.json:1:{} {list}: {what}; {example}", list.len() + 5));
    }
    let remote = told(r#"{"mcpServers": {"url": "https://h/?k=s3cret", "headers": {"A": "s3cret"}}}"#);
    assert!(remote.ends_with(r#"{"mcpServers": {"my-server": {"url": …, "headers": {…}}}}"#), "{remote}");
    let beside = told(r#"{"mcpServers": {"command": "x", "b": {"command": "y"}}}"#);
    assert!(beside.ends_with(r#"write {"mcpServers": {"x": {"command": "x"}}}"#), "{beside}");
    let named = told(r#"{"mcpServers": {"command": {"command": "x-y-z"}, "url": {"command": "x-y-z"}}}"#);
    assert!(!named.contains("entry of one server"), "{named}");
    let endpoint = told(r#"{"mcpServers": {}, "endpoints": {"url": "wss://h/?token=s3cret", "servers": ["a"]}}"#);
    assert!(endpoint.contains(r#"write {"kitchen": {"url": "wss://…"}"#) && !endpoint.contains("s3cret"), "{endpoint}");
}

#[test]
fn what_is_no_object_is_told_with_an_object_that_would_do() {
    let entry = |value: &str| told(&format!(r#"{{"mcpServers": {{"c": {value}}}}}"#));
    for (value, want) in [
        (r#""python x.py s3cret""#, r#"is a text, not an object; write {"command": "python", "args": ["…"]}"#),
        (r#"["python", "s3cret.py"]"#, r#"is a list, not an object; write {"command": "python", "args": ["…"]}"#),
        (r#""s3cret""#, r#"is a text, not an object; write {"command": "…", "args": ["…"]}"#),
        ("5", r#"is a number, not an object; write {"command": "…", "args": ["…"]}"#),
        (r#""https://h/s3cret""#, r#"is a text, not an object; write {"url": "https://…"}"#),
        (r#"["http://h/s3cret"]"#, r#"is a list, not an object; write {"url": "https://…"}"#),
    ] {
        let told = entry(value);
        assert!(told.ends_with(want) && !told.contains("s3cret"), "{told}");
    }
    for key in ["headers", "http_headers", "httpHeaders", "requestHeaders", "env_http_headers"] {
        for value in [r#"["Authorization: Bearer s3cret"]"#, r#""Authorization: Bearer s3cret""#] {
            let told = entry(&format!(r#"{{"url": "http://h/", "{key}": {value}}}"#));
            assert!(told.contains(r#"not an object; write {"NAME": "value"}"#) && !told.contains("s3cret"), "{told}");
        }
    }
    for key in ["env", "environment", "envVars", "environmentVariables"] {
        let told = entry(&format!(r#"{{"command": "x", "{key}": ["KEY=s3cret"]}}"#));
        assert!(told.contains(r#"not an object; write {"NAME": "value"}"#) && !told.contains("s3cret"), "{told}");
    }
    for (key, want) in [("login", r#"write {"login": {}}"#), ("clientCredentials", r#"{"clientId": "…""#)] {
        let told = entry(&format!(r#"{{"url": "https://h/", "auth": {{"{key}": "s3cret"}}}}"#));
        let want = if key == "login" { "write {}" } else { want };
        assert!(told.contains(want) && !told.contains("s3cret"), "{told}");
    }
    let auth = entry(r#"{"url": "https://h/", "auth": ["s3cret"]}"#);
    assert!(auth.contains(r#"is a list, not an object; write {"bearer": "${TOKEN}"}"#), "{auth}");
}

#[test]
fn a_slip_of_what_others_call_a_key_is_told_with_ours() {
    for (slip, want) in [("enviroment", "did you mean env?"), ("enviromentVariables", "did you mean env?")] {
        let case = Case::new(&format!(r#"{{"mcpServers": {{"a": {{"command": "x", "{slip}": {{"K": "v"}}}}}}}}"#));
        let told = case.warnings(&[]);
        assert!(told.iter().any(|told| told.contains(slip) && told.contains(want)), "{told:#?}");
    }
}

#[test]
fn a_character_that_looks_like_one_of_an_address_is_told_with_that_one() {
    for (url, want) in [
        ("http：//127.0.0.1/mcp", "write : for it"),
        ("http:／／127.0.0.1/mcp", "write / for it"),
        ("http://127.0.0.1:9／mcp", "write / for it"),
        ("http://h/mcp？k=1", "write ? for it"),
        ("http://h/a–b", "write - for it"),
        ("http://h/“x", "remove it"),
        ("http://h/\\u200b", "remove it"),
        ("http://h/\\u00a0x", "remove it"),
        ("http://h/ü", "write its bytes with %, as a browser's address bar does when it is copied from"),
        ("http://h/a b", "remove it, or write %20 for it"),
    ] {
        let told = told(&format!(r#"{{"mcpServers": {{"a": {{"url": "{url}"}}}}}}"#));
        assert!(told.ends_with(want), "{url}: {told}");
    }
}

#[test]
fn an_address_in_the_place_of_a_command_is_told_to_be_one() {
    for (address, want) in [
        (
            "http://127.0.0.1:18361/mcp",
            "that is the address of a remote server: write it as \"url\", in place of `command`",
        ),
        ("HTTPS://h/?k=s3cret", "that is the address of a remote server: write it as \"url\", in place of `command`"),
        (
            "wss://h/?token=s3cret",
            "that is the address of an endpoint: write it as \"endpoint\", and the program as `command`",
        ),
    ] {
        let told = told(&format!(r#"{{"mcpServers": {{"a": {{"command": "{address}"}}}}}}"#));
        assert!(told.ends_with(want) && !told.contains("s3cret") && !told.contains("no file"), "{told}");
    }
}

#[test]
fn a_whole_config_inside_of_an_entry_is_told_what_to_do_with_the_inner_one() {
    for inner in ["mcpServers", "servers", "mcp_servers"] {
        let told = told(&format!(r#"{{"mcpServers":{{"a":{{"{inner}":{{"b":{{"command":"x"}}}}}}}}}}"#));
        assert!(
            told.contains("is a whole list of servers inside of one; put what is inside of it in place of a"),
            "{told}"
        );
        assert!(!told.contains("move it there") && !told.contains("neither a command"), "{told}");
    }
    let twice = told(r#"{"mcpServers":{"mcpServers":{"a":{"command":"x"}}}}"#);
    assert!(twice.ends_with("behind its name; remove the mcpServers around it, with its braces"), "{twice}");
    let beside = told(r#"{"mcpServers":{"a":{"command":"x","mcpServers":{"b":{"command":"x"}}}}}"#);
    assert!(beside.contains("put what is inside of it beside a"), "{beside}");
}

#[test]
fn a_path_with_backslashes_is_told_to_be_one_of_windows() {
    for path in [r".venv\\Scripts\\python.exe", r"venv\\Scripts\\python", r"bin\\server", r".\\venv\\python.exe"] {
        let told = told(&format!(r#"{{"mcpServers": {{"a": {{"command": "{path}"}}}}}}"#));
        assert!(told.contains("is a path of Windows") && !told.contains("of the PATH"), "{told}");
    }
    for argument in [r"a\\d+", r"x\\n", r"\\w"] {
        let told = told(&format!(r#"{{"mcpServers": {{"a": {{"command": "/bin/sh", "args": ["{argument}"]}}}}}}"#));
        assert!(!told.contains("Windows"), "an argument may hold a backslash: {told}");
    }
}

#[test]
fn a_text_that_holds_several_arguments_and_a_script_behind_flags_are_told() {
    let case = |program: &str, args: &str| {
        let config = format!(r#"{{"mcpServers": {{"a": {{"command": "{program}", "args": {args}}}}}}}"#);
        let case = Case::new(&config).file("there.py", "").file("has blank.py", "").file("-x y.py", "");
        told_of(&case.env(&[("PATH", "/nowhere")]))
    };
    for args in [
        r#"["calculator.py --port 3"]"#,
        r#"["./calculator.py -v"]"#,
        r#"["there.py --port 3"]"#,
        r#"["-u calculator.py"]"#,
        r#"["-u", "calculator.py --port 3"]"#,
        r#"["-m server"]"#,
        r#"["--version x"]"#,
    ] {
        let told = case("/usr/bin/python3", args);
        assert!(
            told.contains("holds several arguments") && told.contains("a text for each argument"),
            "{args}: {told}"
        );
        assert!(!told.contains("create it"), "{args}: {told}");
    }
    for (program, args, missing) in [
        ("/usr/bin/python3", r#"["-u", "calc.py"]"#, "calc.py"),
        ("python3.12", r#"["-X", "utf8", "-W", "ignore", "calc.py"]"#, "calc.py"),
        ("python3", r#"["-uB", "calc.py"]"#, "calc.py"),
        ("node", r#"["--no-warnings", "srv.mjs"]"#, "srv.mjs"),
        ("node", r#"["--import", "tsx", "srv.ts"]"#, "srv.ts"),
        ("node", r#"["-r", "dotenv/config", "srv.js"]"#, "srv.js"),
        ("deno", r#"["run", "-A", "srv.ts"]"#, "srv.ts"),
        ("bun", r#"["run", "srv.ts"]"#, "srv.ts"),
        ("uv", r#"["run", "calc.py"]"#, "calc.py"),
        ("bash", r#"["-e", "srv.sh"]"#, "srv.sh"),
    ] {
        let told = case(program, args);
        assert!(told.contains(&format!("names DIR/{missing}, which is no file")), "{program} {args}: {told}");
    }
    for (program, args) in [
        ("/usr/bin/python3", r#"["-u", "there.py", "missing.py"]"#),
        ("/usr/bin/python3", r#"["-m", "calc.py"]"#),
        ("/usr/bin/python3", r#"["-c", "import calc.py"]"#),
        ("/usr/bin/python3", r#"["-c", "import x; x.run()"]"#),
        ("/usr/bin/python3", r#"["-uc", "import x"]"#),
        ("/usr/bin/python3", r#"["has blank.py"]"#),
        ("/usr/bin/python3", r#"["-u", "has blank.py"]"#),
        ("/usr/bin/python3", r#"["there.py", "--name", "two words.py"]"#),
        ("/usr/bin/python3", r#"["there.py", "-c some text"]"#),
        ("node", r#"["-e", "require('./x.js')"]"#),
        ("node", r#"["--unknown", "value.js", "there.py"]"#),
        ("bash", r#"["-c", "exec python x.py"]"#),
        ("bash", r#"["-lc", "exec python x.py"]"#),
        ("sh", r#"["-c", "./x.sh"]"#),
        ("deno", r#"["run", "npm:x"]"#),
        ("uv", r#"["run", "--directory", "/d", "calc.py"]"#),
        ("docker", r#"["run -i", "x.py"]"#),
    ] {
        let told = case(program, args);
        assert!(!told.contains("no file, so") || told.contains("names /usr/bin"), "{program} {args}: {told}");
        assert!(!told.contains("several arguments"), "{program} {args}: {told}");
    }
}

#[test]
fn what_is_written_in_another_programs_way_or_in_a_shells_is_told_with_ours() {
    let entry = |members: &str| {
        let config = format!(r#"{{"mcpServers": {{"a": {{{members}}}}}}}"#);
        told_of(&Case::new(&config).env(&[("PATH", "/bin:/usr/bin"), ("HOME", "/home/u")]))
    };
    for (members, want) in [
        (r#""url": "https://h/", "token": "s3cret""#, r#"write "auth": {"bearer": "${TOKEN}"}"#),
        (r#""httpUrl": "https://h/", "access_token": "s3cret""#, r#"write "auth": {"bearer": "${TOKEN}"}"#),
        (r#""command": "sh", "token": "s3cret""#, "an endpoint's token stands in its address"),
        (
            r#""url": "https://h/", "auth": {"CLIENT_ID": "x", "CLIENT_SECRET": "s3cret"}"#,
            "write it in clientCredentials, or in login if a person logs in",
        ),
        (r#""command": "sh", "args": ["${HOME}/x.py"]"#, "write ${userHome} for it, or the whole path"),
        (r#""command": "sh", "args": ["${DATA}/x.db"]"#, "everybody can read it; write the whole path"),
        (r#""command": "sh", "args": ["--key=${KEY}"]"#, "everybody can read it; hand a value over in env"),
        (
            r#""command": "sh", "cwd": "~/x""#,
            "has a ~, and that is not replaced here, so a can't start; write the whole path",
        ),
        (r#""command": "sh", "envFile": "~/x""#, "has a ~, and that is not replaced here; write the whole path"),
        (r#""command": "sh", "args": ["x.sh "]"#, "is taken for a part of the script's name; write \"x.sh\""),
        (r#""command": "/opt/nosuch/python""#, "so a can't start; create it, or correct the path"),
        (r#""command": "sh", "args": ["/opt/nosuch/x.sh"]"#, "so a can't start; create it, or correct the path"),
        (r#""command": "sh", "envFile": "/opt/nosuch/env""#, "which is no file; create it, or correct the path"),
        (
            r#""command": "pipx-x", "env": {"PATH": "$PATH:/nosuch"}"#,
            "$PATH is not replaced there: write ${PATH} for it",
        ),
        (r#""command": "sh", "env": {"PATH": "/nosuch"}"#, "write \"PATH\": \"/what/you/add:${PATH}\""),
        (
            r#""url": "https://h/mcp?k=s3cret-1 https://h/mcp""#,
            "holds more than one address; write one; another server has",
        ),
        (
            r#""url": "https://h/mcp?k=s3cret-1,https://h/mcp""#,
            "holds more than one address; write one; another server has",
        ),
        (r#""command": "pipx""#, "install pipx, or write its whole path"),
        (
            r#""command": "sh", "tools": ["!add"]"#,
            "is no part of a pattern; to leave it out write {\"deny\": [\"add\"]}",
        ),
        (r#""command": "sh", "tools": ["add, subtract"]"#, "write a text for each: \"add\", \"subtract\""),
        (
            r#""command": "sh", "endpoint": "ws://h/mcp_endpoint/call/?token=s3cret-1""#,
            "write /mcp_endpoint/mcp/ for that path",
        ),
        (r#""command": "sh", "endpoint": "ws://h/endpoint/call?token=s3cret-1""#, "write /endpoint/mcp for that path"),
        (r#""command": "sh", "endpoint": "wss://h/?token=s3cret-1;""#, "remove it, unless the token ends so"),
    ] {
        let case = Case::new(&format!(r#"{{"mcpServers": {{"a": {{{members}}}}}}}"#));
        let case = case.env(&[("PATH", "/bin:/usr/bin"), ("HOME", "/home/u")]);
        let told = if members.contains("\"endpoint\"") { case.found(&[]).join("\n") } else { entry(members) };
        assert!(told.contains(want) && !told.contains("s3cret"), "{members}: {told}");
        assert!(!want.ends_with("correct the path") || told.ends_with(want), "an absolute one starts nowhere: {told}");
    }
    for (config, want) in [
        (
            r#""{\"mcpServers\": {}}""#,
            "is a text, not an object; remove the quotes around it, and the \\ before each quote in it",
        ),
        (r#""x""#, r#"is a text, not an object; write {"mcpServers": {"#),
        (
            r#"{"mcp": {"allowed": ["a"]}, "mcpServers": {"a": {"command": "sh"}}}"#,
            "is ignored, as there are mcpServers; to keep a server from running, write in its entry: \"disabled\": true",
        ),
        (
            r#"{"gateway": {"endpointServers": ["a"]}, "mcpServers": {"a": {"command": "sh"}}}"#,
            "does nothing without endpointTokens",
        ),
    ] {
        let case = Case::new(config).env(&[("PATH", "/bin:/usr/bin")]);
        let told = case.found(&[]).join("\n");
        assert!(told.contains(want), "{config}: {told}");
    }
    let named = Case::new(r#"{"mcpServers": {"calculator": {"command": "sh"}}}"#).found(&["calculator"]).join("\n");
    assert!(named.contains("name a config file, or nothing for mcp_config.json"), "{named}");
}

#[test]
fn a_script_whose_interpreter_is_not_on_the_path_is_told_before_it_starts() {
    let case = |entry: &str| {
        let case = Case::new(&format!(r#"{{"mcpServers": {{"a": {{"command": "./npx"{entry}}}}}}}"#));
        let case = case.file("npx", "#!/usr/bin/env node\n").file("bin/node", "");
        for name in ["npx", "bin/node"] {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(case.dir.path().join(name), mode).unwrap();
        }
        let bin = case.dir.path().join("bin").display().to_string();
        (case.env(&[("PATH", "/nosuch")]), bin)
    };
    let told = told_of(&case("").0);
    assert!(told.contains("npx, which node runs, and that is in no folder of the PATH, so a can't start"), "{told}");
    assert!(told.ends_with("write \"env\": {\"PATH\": \"/folder/of/it:${PATH}\"} beside it"), "{told}");
    let (with_path, bin) = case("");
    assert_eq!(told_of(&with_path.no_env().env(&[("PATH", &bin)])), "");
    let (_, bin) = case("");
    let own = format!(r#", "env": {{"PATH": "{bin}:${{PATH}}"}}"#);
    assert!(told_of(&case(&own).0).contains("which node runs"), "that folder is gone");
}

#[test]
fn a_script_that_needs_its_interpreter_named_is_told_with_the_command_line_as_it_was() {
    let case = Case::new(r#"{"mcpServers": {}}"#).file("s.ts", "x").file("t.ts", "x").env(&[("PATH", "/nosuch")]);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(case.dir.path().join("t.ts"), mode).unwrap();
    for (line, want) in [
        (
            &["--local", "s.ts"][..],
            "make it executable (chmod +x), or name its interpreter: mcp-pipe --local -- npx -y tsx s.ts",
        ),
        (&["tools", "s.ts"], "name its interpreter: mcp-pipe tools -- npx -y tsx s.ts"),
        (
            &["--local", "t.ts"],
            "has no #! line, which would say what runs it; name its interpreter: mcp-pipe --local -- npx -y tsx t.ts",
        ),
        (&["call", "s.ts", "x"], r#"name its interpreter: "command": "npx", "args": ["-y", "tsx", "s.ts"]"#),
    ] {
        let told = case.run(line).unwrap_err().target.unwrap().to_string();
        assert!(told.ends_with(want), "{line:?}: {told}");
    }
}

#[test]
fn other_names_of_args_are_told_with_ours() {
    for key in ["argument", "arguments", "argv", "arg", "params", "param", "parameters", "cmd_args", "commandArgs"] {
        let told = told(&format!(r#"{{"mcpServers": {{"a": {{"command": "x-y", "{key}": ["calculator.py"]}}}}}}"#));
        assert!(told.contains(&format!("{key}: is not a known key and is ignored; did you mean args?")), "{told}");
    }
}

#[test]
fn a_path_is_told_without_control_characters() {
    for members in [
        r#""command": "C:\new\test.py""#,
        r#""command": "x", "cwd": "a\u001bb""#,
        r#""command": "./a\u001b[2Jb""#,
        r#""command": "python", "args": ["a\u0007b.py"]"#,
        r#""command": "x", "envFile": "a\nb""#,
        r#""command": "a\u009bb""#,
        r#""url": "https://h/", "auth": {"bearerCommand": ["./a\u001bb"]}"#,
        r#""url": "https://h/", "auth": {"bearerCommand": ["a\u001bb"]}"#,
    ] {
        let told = told(&format!(r#"{{"mcpServers": {{"a": {{{members}}}}}}}"#));
        assert!(told.lines().all(|line| line.contains(": ")), "a path on a line of its own: {told:?}");
        assert!(!told.replace('\n', "").contains(char::is_control), "{told:?}");
    }
}

#[test]
fn a_missing_config_is_told_with_the_one_that_was_meant() {
    for (name, want) in [
        ("mcp_config.jsn", "did you mean mcp_config.json?"),
        ("mcp_config", "did you mean mcp_config.json?"),
        ("mcp-config.json", "did you mean mcp_config.json?"),
        ("conf/own.jsom", "did you mean conf/own.json?"),
    ] {
        let case = Case::new(r#"{"mcpServers": {}}"#).file("conf/own.json", "{}");
        let told = case.mistakes(&["--config", name]).join("\n");
        assert!(told.ends_with(want), "{told}");
    }
    let far = Case::new("{}").mistakes(&["--config", "elsewhere.json"]).join("\n");
    assert!(far.contains("create it with"), "{far}");
}

#[test]
fn a_file_that_an_editor_called_env_txt_is_told_of_where_an_endpoint_is_missing() {
    let case = |name: &str| {
        let case = Case::new(r#"{"mcpServers": {"a": {"command": "x"}}}"#).no_env();
        case.file(name, "MCP_ENDPOINT=wss://h/?token=s3cret").mistakes(&[]).join("\n")
    };
    for name in [".env.txt", "env.txt", ".env.TXT", "env"] {
        let told = case(name);
        assert!(told.contains(&format!("{name} beside the config is not read: call it .env")), "{told}");
    }
    for name in [".env.example", ".env.local"] {
        assert!(case(name).contains(&format!("{name} beside the config is not read: call it .env")), "{name}");
    }
    assert!(!case("notes.txt").contains("call it .env"));
    let holds = |name: &str, text: &str| {
        let case = Case::new(r#"{"mcpServers": {"a": {"command": "x"}}}"#).no_env();
        case.file(name, text).mistakes(&[]).join("\n")
    };
    for (name, text) in [
        ("env", "# MCP_ENDPOINT=wss://h/?token=s3cret"),
        ("env", "OTHER=x"),
        (".env.txt", ""),
        (".env.example", "MCP_ENDPOINT=wss://h/?token=your_token"),
        (".env", "#MCP_ENDPOINT=wss://h/?token=your_token"),
    ] {
        let told = holds(name, text);
        assert!(!told.contains("is not read") && !told.contains("commented out"), "{name}: {told}");
    }
    let exported = holds("env", "export MCP_ENDPOINT=wss://h/?token=s3cret");
    assert!(exported.contains("remove the word export from its lines, which systemd leaves out"), "{exported}");
    let commented = holds(".env", "#MCP_ENDPOINT=wss://h/?token=s3cret");
    assert!(commented.contains("MCP_ENDPOINT is commented out in .env beside the config: remove the #"), "{commented}");
    assert!(!commented.contains("s3cret") && !exported.contains("s3cret"));
}

#[test]
fn a_server_and_its_tool_in_one_word_are_told_apart() {
    let case = Case::new(r#"{"mcpServers": {"calculator": {"command": "x"}, "my.calc": {"command": "x"}}}"#);
    let told = |line: &[&str]| case.run(line).unwrap_err().target.unwrap().to_string();
    for (word, want) in [
        ("calculator.add", "mcp-pipe call calculator add '{…}'"),
        ("calculator/add", "mcp-pipe call calculator add '{…}'"),
        ("calculator__add", "mcp-pipe call calculator add '{…}'"),
        ("calculator:get-it", "mcp-pipe call calculator get-it '{…}'"),
        ("my.calc.add", "mcp-pipe call my.calc add '{…}'"),
    ] {
        let told = told(&["call", word, "{}"]);
        assert!(told.ends_with(&format!("write the server and its tool as two words: {want}")), "{told}");
    }
    assert!(told(&["tools", "calculator.add"]).ends_with("write the server alone: calculator"));
    assert!(told(&["version"]).ends_with("did you mean --version?"), "{}", told(&["version"]));
    assert!(!told(&["tools", "version"]).contains("--version"));
}
