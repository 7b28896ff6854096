//! Configs as other programs have them: read as they are meant, or refused with what to write.

use super::*;
use crate::tools::Glob;

/// A server as it would be started, in one line: `program|argument|argument`.
fn started(server: &ServerSpec) -> String {
    std::iter::once(&server.command().program).chain(&server.command().args).cloned().collect::<Vec<_>>().join("|")
}

fn servers(case: &Case) -> Vec<String> {
    case.ok(&[]).config.servers.iter().map(|server| format!("{}: {}", server.name, started(server))).collect()
}

#[test]
fn whole_files_of_other_programs_are_read_without_a_word() {
    for (whose, text, want) in [
        (
            "VS Code",
            r#"{"inputs": [{"type": "promptString", "id": "k", "password": true}], "servers": {
                "a": {"type": "stdio", "command": "npx", "args": ["-y", "x", "${workspaceFolder}"],
                      "cwd": "${workspaceFolder}", "dev": {"watch": "src/**"}, "gallery": true, "version": "1.0"}}}"#,
            vec!["a: npx|-y|x|DIR"],
        ),
        (
            "VS Code's user settings",
            r#"{"mcp": {"inputs": [], "servers": {"a": {"command": "npx", "args": ["x"]}}}}"#,
            vec!["a: npx|x"],
        ),
        (
            "opencode",
            r#"{"$schema": "https://opencode.ai/config.json", "mcp": {
                "a": {"type": "local", "command": ["npx", "-y", "x"], "enabled": true, "environment": {"K": "v"}},
                "b": {"type": "local", "command": ["y"], "enabled": false}}}"#,
            vec!["a: npx|-y|x"],
        ),
        (
            "Gemini CLI",
            r#"{"mcpServers": {"a": {"command": "x", "includeTools": ["t"], "excludeTools": ["u"], "trust": true}}}"#,
            vec!["a: x"],
        ),
        (
            "Roo Code, Cline, Kiro",
            r#"{"mcpServers": {"a": {"command": "x", "alwaysAllow": [], "autoApprove": ["*"], "disabled": false,
                "disabledTools": ["t"], "description": "d"}}}"#,
            vec!["a: x"],
        ),
        (
            "Zed",
            r#"{"context_servers": {"a": {"source": "custom", "command": "x", "args": [], "env": {}}}}"#,
            vec!["a: x"],
        ),
        ("Amp", r#"{"amp.mcpServers": {"a": {"command": "x"}}}"#, vec!["a: x"]),
        (
            "Cherry Studio",
            r#"{"mcpServers": {"a": {"isActive": true, "name": "n", "provider": "p", "logoUrl": "l", "tags": [],
                "registryUrl": "", "longRunning": true, "installSource": "manual", "command": "x"}}}"#,
            vec!["a: x"],
        ),
        (
            "mcphub",
            r#"{"mcpServers": {"a": {"enabled": true, "owner": "admin", "command": "x", "args": [],
                "tools": {"t": {"enabled": false, "description": ""}, "u": {"enabled": true, "description": "D"}}},
                "b": {"enabled": false, "type": "sse", "url": "http://h"}},
                "users": [{"username": "admin", "password": "s3cret"}], "systemConfig": {"routing": {}}}"#,
            vec!["a: x"],
        ),
        (
            "xiaozhi-client",
            r#"{"mcpEndpoint": ["wss://of-client/?token=x"], "mcpServers": {"a": {"command": "x"}},
                "mcpServerConfig": {"a": {"tools": {"t": {"enable": false, "usageCount": 3}, "u": {"description": "D", "enable": true}}}},
                "webUI": {"port": 9999, "autoRestart": true}, "platforms": {}, "modelscope": {"apiKey": ""}}"#,
            vec!["a: x"],
        ),
    ] {
        // The endpoint of the file is the last to count.
        let case = Case::new(text).no_env().env(&[("HOME", "/home/u")]);
        let flags: &[&str] = if whose == "xiaozhi-client" { &[] } else { &["--endpoint", "wss://h/"] };
        let resolved = case.ok(flags);
        let got: Vec<String> = resolved.config.servers.iter().map(|s| format!("{}: {}", s.name, started(s))).collect();
        let want: Vec<String> = want.iter().map(|w| w.replace("DIR", case.dir.path().to_str().unwrap())).collect();
        assert_eq!(got, want, "{whose}");
        let notes: Vec<_> = resolved.notes.iter().filter(|note| !note.starts_with("disabled in the config")).collect();
        assert!(resolved.warnings.is_empty() && notes.is_empty(), "{whose}: {resolved:?}");
        let host = resolved.config.servers[0].endpoint.as_ref().unwrap().host().to_owned();
        assert_eq!(host, if whose == "xiaozhi-client" { "of-client" } else { "h" });
    }
}

#[test]
fn which_tools_there_are_is_honoured_in_every_spelling() {
    let globs = |names: &[&str]| names.iter().map(|name| Glob::new(name)).collect::<Vec<_>>();
    for (members, allow, deny) in [
        (r#""excludeTools": ["a", "b*"]"#, &[][..], &["a", "b*"][..]),
        (r#""disabledTools": ["a"], "excludeTools": ["b"]"#, &[], &["a", "b"]),
        (r#""disabled_tools": ["a"]"#, &[], &["a"]),
        (r#""includeTools": ["a"], "excludeTools": ["a"]"#, &["a"], &["a"]),
        (r#""allowedTools": ["a"]"#, &["a"], &[]),
        (r#""enabled_tools": ["a"]"#, &["a"], &[]),
        (r#""tools": {"deny": ["a"]}, "excludeTools": ["b"]"#, &[], &["a", "b"]),
        (r#""excludeTools": ["b"], "tools": ["a"]"#, &["a"], &["b"]),
        (
            r#""tools": {"a": {"enabled": false}, "b": {"enable": "true", "description": "B"}, "deny": ["c"]}"#,
            &[],
            &["c", "a"],
        ),
    ] {
        let case = Case::server(members);
        let resolved = case.ok(&[]);
        let tools = &resolved.config.servers[0].tools;
        assert_eq!((&tools.allow, &tools.deny), (&globs(allow), &globs(deny)), "{members}");
        assert!(resolved.warnings.is_empty(), "{members}: {:?}", resolved.warnings);
    }
    let described = Case::server(r#""tools": {"b": {"description": "B"}}"#).ok(&[]);
    assert_eq!(described.config.servers[0].tools.described("b"), Some("B"));
    let twice = Case::server(r#""tools": {"allow": ["a"]}, "includeTools": ["b"]"#).mistakes(&[]);
    assert!(twice[0].contains("says twice which tools to publish: in its tools and beside them"), "{twice:?}");
}

#[test]
fn a_list_of_tools_that_need_no_question_takes_no_tool_away_and_it_is_said_how_to() {
    let case = Case::server(r#""alwaysAllow": ["t"], "autoApprove": []"#);
    let resolved = case.ok(&[]);
    assert!(resolved.config.servers[0].tools.is_untouched() && resolved.warnings.is_empty());
    assert_eq!(
        resolved.notes,
        [
            "mcp_config.json:1:39 mcpServers.a.alwaysAllow: nobody is asked before a call, so every published tool can be called; \
          to publish these only: \"tools\": {\"allow\": […]}"
        ]
    );
}

#[test]
fn what_other_programs_call_our_keys_is_read_as_ours() {
    for members in [r#""directory": "sub""#, r#""workingDirectory": "sub""#, r#""cwd": "${workspaceFolder}/sub""#] {
        let case = Case::server(members).file("sub/x", "");
        let resolved = case.ok(&[]);
        assert_eq!(resolved.config.servers[0].command().cwd, Some(case.dir.path().join("sub")), "{members}");
        assert!(resolved.warnings.is_empty(), "{members}");
    }
    for members in [r#""environment": {"K": "v"}"#, r#""envVars": {"K": "v"}"#, r#""type": "LOCAL", "env": {"K": "v"}"#]
    {
        assert_eq!(own_env(&Case::server(members).ok(&[]).config.servers[0]), [("K", "v")], "{members}");
    }
    let case = Case::new(
        r#"{"mcpServers": {"a": {"httpUrl": "https://h"}, "b": {"command": "x"}, "c": {"type": "openapi"}}}"#,
    );
    let warnings = case.warnings(&[]);
    assert_eq!(case.ok(&[]).config.servers.len(), 2);
    assert!(
        warnings[0].contains("mcpServers.c.type: makes c a remote server of a kind (openapi) that mcp-pipe does not"),
        "{warnings:?}"
    );
    let twice = Case::server(r#""cwd": "/", "directory": "/""#).warnings(&[]);
    assert!(
        twice[0].contains("mcpServers.a.directory: says the same as cwd beside it; the last one counts"),
        "{twice:?}"
    );
}

#[test]
fn of_two_lists_of_servers_it_is_told_which_servers_are_left_out() {
    for (text, names, told) in [
        (
            r#"{"servers": {"a": {"command": "x"}, "b": {"command": "x"}}, "mcpServers": {"b": {"command": "x"}, "c": {"command": "x"}}}"#,
            &["b", "c"][..],
            "servers: means the same as mcpServers beside it; the last one counts, without a of the first",
        ),
        (
            r#"{"servers": {"a": {"command": "x"}}, "mcpServers": {}}"#,
            &["a"],
            "servers: means the same as mcpServers beside it; the one that is not empty counts; remove the empty one",
        ),
        (
            r#"{"mcpServers": {}, "servers": {"a": {"command": "x"}}}"#,
            &["a"],
            "servers: means the same as mcpServers beside it; the one that is not empty counts",
        ),
        (
            r#"{"servers": {"a": {"command": "x"}}, "mcpServers": {"a": {"command": "y"}}}"#,
            &["a"],
            "servers: says the same as mcpServers beside it; the last one counts",
        ),
    ] {
        let resolved = Case::new(text).ok(&[]);
        let run: Vec<&str> = resolved.config.servers.iter().map(|server| &*server.name).collect();
        assert_eq!(run, names, "{text}");
        let warnings = Case::new(text).warnings(&[]);
        assert!(warnings[0].contains(told), "{warnings:?}");
    }
}

#[test]
fn what_is_wrong_beside_a_wrong_type_is_told_with_it() {
    for transport in ["telepathy", "sse"] {
        let members = format!(r#""transport": "{transport}", "env": {{"KEY": "${{NO_SUCH_VARIABLE}}"}}"#);
        let told = Case::server(&members).mistakes(&[]);
        assert!(told.iter().any(|line| line.contains("NO_SUCH_VARIABLE")) && told.len() == 2, "{told:?}");
    }
}

#[test]
fn a_tilde_in_an_argument_is_told_not_to_be_replaced() {
    let told = Case::server(r#""args": ["~/server.py", "a~/b"]"#).warnings(&[]);
    assert!(
        told.len() == 1 && told[0].contains("mcpServers.a.args[0]: has a ~, which is not replaced here"),
        "{told:?}"
    );
}

#[test]
fn a_command_may_be_a_list() {
    let case =
        |command: &str| Case::new(&format!(r#"{{"mcpServers": {{"a": {{"command": {command}, "args": ["z"]}}}}}}"#));
    assert_eq!(servers(&case(r#"["npx", "-y", "x"]"#)), ["a: npx|-y|x|z"]);
    assert_eq!(servers(&case(r#"["npx"]"#)), ["a: npx|z"]);
    assert!(case("[]").mistakes(&[])[0].contains("mcpServers.a.command: is empty; name the program"));
    assert!(case("[1]").mistakes(&[])[0].contains("command[0]: is a number, not a text"));
    let object = case(r#"{"path": "x", "args": []}"#).mistakes(&[]);
    assert!(object[0].contains("is an object, not a text; write the program as \"command\": \"…\", and args and env"));
    assert_eq!(object.len(), 1, "{object:?}");
}

#[test]
fn what_would_be_lost_is_a_mistake_or_a_warning_with_what_to_write() {
    for (text, want) in [
        (
            r#""mcpEndpoint": ["ws://a/", "ws://b/"]"#,
            "mcpEndpoint: names 2 endpoints, and at the top there is one; name them in",
        ),
        (
            r#""tools": {"my_*": false}"#,
            "tools: belongs in a server's entry; write it there: \"tools\": {\"allow\": […]",
        ),
        (r#""excludeTools": ["x"]"#, "excludeTools: belongs in a server's entry; write it there"),
        (
            r#""files": {"command": "x"}"#,
            "files: is a server, and servers stand in mcpServers; write {\"mcpServers\": {\"files\": {…}}}",
        ),
    ] {
        let case = Case::new(&format!(r#"{{{text}, "mcpServers": {{"a": {{"command": "x"}}}}}}"#));
        let mistakes = case.mistakes(&[]);
        assert!(mistakes.len() == 1 && mistakes[0].contains(want), "{mistakes:?}");
    }
    let filter = Case::server(r#""toolFilter": ["x"]"#).mistakes(&[]);
    assert!(
        filter[0].contains("toolFilter: is not a known key; write \"tools\": {\"allow\": […]} for those to publish")
    );
    for (members, want) in [
        (
            r#""initTimeout": 30000"#,
            "initTimeout: is not a known key and is ignored; write \"startTimeout\": \"30000ms\"",
        ),
        (r#""startup_timeout_sec": 2000"#, "is ignored; write \"startTimeout\": \"2000s\""),
        (r#""tool_timeout_sec": 90"#, "is ignored; write \"timeout\": \"90s\""),
        (r#""timeoutMs": 500"#, "is ignored; write \"timeout\": \"500ms\""),
        (r#""options": {"timeout": 60000}"#, "options: is ignored; write its timeout beside command, with a unit"),
        (r#""prompts": {"p": {"enabled": false}}"#, "prompts: is ignored; prompts can't be chosen here"),
        (
            r#""watchPaths": ["x.js"]"#,
            "watchPaths: is ignored; a server whose files have changed is started anew by mcp-pipe restart",
        ),
        (r#""connectionTimeout": 5000"#, "is ignored; write \"startTimeout\": \"5000ms\""),
        (r#""requestOptions": {}"#, "requestOptions: is ignored; write its headers beside url"),
        (r#""settings": {}"#, "settings: is ignored; a server is told its settings by its args or env"),
        (
            r#""apiKey": "s3cret""#,
            "apiKey: is ignored; a program is told a key by its env, a remote server by its headers",
        ),
        (r#""permissions": {}"#, "permissions: is ignored; nobody is asked before a call; to publish some tools only"),
        (r#""start_on_launch": false"#, "start_on_launch: is ignored: every server runs from the start; to keep it"),
        (
            r#""headersHelper": "x""#,
            "headersHelper: does nothing beside command, as only a remote server has it; remove it",
        ),
    ] {
        let warnings = Case::server(members).warnings(&[]);
        assert!(warnings.len() == 1 && warnings[0].contains(want), "{warnings:?}");
    }
    for (number, want) in [("60", "60s"), ("30000", "30000ms")] {
        let mistake = &Case::server(&format!(r#""timeout": {number}"#)).mistakes(&[])[0];
        assert!(mistake.contains(&format!("a time needs a unit; write \"{want}\"")), "{mistake}");
    }
    let connection =
        Case::new(r#"{"connection": {"heartbeatInterval": 30000}, "mcpServers": {"a": {"command": "x"}}}"#);
    assert!(connection.warnings(&[])[0].contains("connection: is ignored; write \"pingInterval\": \"30s\""));
    for harmless in [r#""remoteConfigured": true"#, r#""alwaysLoad": true"#, r#""faviconUrl": "x", "dxtVersion": "1""#]
    {
        assert!(Case::server(harmless).warnings(&[]).is_empty(), "{harmless}");
    }
    for (key, want) in [
        ("disabledMcpServers", "is ignored; to keep a server from running, write in its entry: \"disabled\": true"),
        ("permissions", "is ignored; nobody is asked before a call; to publish some tools only, in a server's entry"),
        ("proxy", "is ignored; a proxy is named by HTTPS_PROXY or HTTP_PROXY"),
        ("sandbox", "is ignored: a server runs as mcp-pipe's user does, in no sandbox"),
    ] {
        let case = Case::new(&format!(r#"{{"{key}": {{}}, "mcpServers": {{"a": {{"command": "x"}}}}}}"#));
        let warnings = case.warnings(&[]);
        assert!(warnings.len() == 1 && warnings[0].contains(&format!("{key}: {want}")), "{warnings:?}");
    }
    let stray = Case::new(r#"{"mcpServerConfig": {"b": {"tools": {}}}, "mcpServers": {"a": {"command": "x"}}}"#);
    assert!(stray.warnings(&[])[0].contains("mcpServerConfig.b: is about no server of mcpServers, and is ignored"));
    let both = Case::new(r#"{"mcp": {"excluded": ["x"]}, "mcpServers": {"a": {"command": "x"}}}"#);
    assert!(both.warnings(&[])[0].contains("mcp: is ignored, as there are mcpServers"));
}

#[test]
fn a_fragment_without_its_braces_is_read_and_told_with_the_right_places() {
    let text = "\"mcpServers\": {\"a\": {\"command\": \"x\", \"foo\": 1},\n\"b\": {\"command\": \"y\", \"bar\": 2}},";
    let case = Case::new(text);
    assert_eq!(servers(&case), ["a: x", "b: y"]);
    assert_eq!(
        case.warnings(&[]),
        [
            "mcp_config.json: lacks the braces around it; it is read as if they were there; put { before it and } behind it",
            "mcp_config.json:1:38 mcpServers.a.foo: is not a known key and is ignored; remove it, or check its spelling",
            "mcp_config.json:2:23 mcpServers.b.bar: is not a known key and is ignored; remove it, or check its spelling",
        ]
    );
    let entry = Case::new("\"a\": {\"command\": \"x\"}").mistakes(&[]);
    assert!(entry[0].contains("1:1 a: is a server, and servers stand in mcpServers"), "{entry:?}");
    let whole = Case::new(r#"{"a": {"command": "x"}}"#).mistakes(&[]);
    assert_eq!(whole.len(), 1, "{whole:?}");
    let list = Case::new(r#"{"mcpServers": [{"name": "a", "command": "x"}]}"#).mistakes(&[]);
    assert!(list[0].contains("mcpServers: is a list, not an object; write each server behind its name"), "{list:?}");
}

#[test]
fn what_an_editor_replaces_is_replaced_where_it_is_a_place_and_told_where_it_is_not() {
    let text = r#"{"servers": {"a": {"command": "${workspaceFolder}/bin/x", "args": ["${userHome}/d", "${env:KEY}"],
        "env": {"A": "${userHome}${/}a", "B": "${workspaceFolderBasename}", "C": "${env:KEY}"}}}}"#;
    let case = Case::new("{}").file("p/.vscode/mcp.json", text).env(&[("HOME", "/home/u"), ("KEY", "s3cret")]);
    let resolved = case.ok(&["--config", "p/.vscode/mcp.json"]);
    let server = &resolved.config.servers[0];
    let project = case.dir.path().join("p").display().to_string();
    assert_eq!(started(server), format!("{project}/bin/x|/home/u/d|${{env:KEY}}"));
    assert_eq!(own_env(server), [("A", "/home/u/a"), ("B", "p"), ("C", "s3cret")]);
    assert_eq!(resolved.warnings.len(), 1, "{:?}", resolved.warnings);
    assert!(case.lines(&resolved.warnings)[0].contains("args[1]: has a ${, which is not replaced here"));
    for (value, want) in [
        ("${input:key}", "asks a person by ${input:…}, which only VS Code does; write ${NAME} and set NAME"),
        ("${command:pick}", "has ${command:…}, which only an editor replaces; write what it stands for"),
        ("${file}", "needs file, which nothing sets"),
    ] {
        let mistake = &Case::server(&format!(r#""env": {{"A": "{value}"}}"#)).mistakes(&[])[0];
        assert!(mistake.contains(want), "{mistake}");
    }
}

#[test]
fn a_backslash_that_json_took_for_an_escape_is_told() {
    for (members, want) in [
        (r#""cwd": "C:\new""#, "mcpServers.a.cwd: has a line break (U+000A), which is what \\n means in JSON"),
        (r#""command": "C:\tools\x""#, "mcpServers.a.command: has a tab (U+0009), which is what \\t means in JSON"),
    ] {
        let text =
            if members.contains("\"command\"") { members.to_owned() } else { format!(r#""command": "x", {members}"#) };
        let case = Case::new(&format!(r#"{{"mcpServers": {{"a": {{{}}}}}}}"#, text.replace(r"\x", "/x")));
        let mistake = &case.mistakes(&[])[0];
        assert!(
            mistake.contains(want) && mistake.ends_with(r"write \\ for a backslash, or / for it in a path"),
            "{mistake}"
        );
    }
    let argument = Case::server(r#""args": ["C:\temp"]"#).warnings(&[]);
    assert!(argument[0].contains("args[0]: has a character that JSON made of a backslash"), "{argument:?}");
    let users = Case::server(r#""cwd": "C:\Users""#).mistakes(&[]);
    assert!(
        users[0].contains(r"is no valid JSON: \U means nothing in a text; write \\ for a backslash, or /"),
        "{users:?}"
    );
}

#[cfg(not(windows))]
#[test]
fn what_only_windows_has_is_left_out_or_told() {
    let bin = tempfile::tempdir().unwrap();
    let npx = bin.path().join("npx");
    std::fs::write(&npx, "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(&npx, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = bin.path().to_str().unwrap();
    let case =
        |members: &str| Case::new(&format!(r#"{{"mcpServers": {{"a": {{{members}}}}}}}"#)).env(&[("PATH", path)]);
    let prompt = case(r#""command": "cmd", "args": ["/c", "npx", "-y", "x"]"#);
    assert_eq!(servers(&prompt), ["a: npx|-y|x"]);
    assert!(prompt.warnings(&[])[0].ends_with(
        "is the command prompt of Windows, and this is another system; npx is started without it; \
         write \"command\": \"npx\", and in args what follows it"
    ));
    let ending = case(r#""command": "npx.cmd", "args": ["x"]"#);
    assert_eq!(servers(&ending), ["a: npx|x"]);
    assert!(ending.warnings(&[])[0].contains("is the name that the program has on Windows; npx is started"));
    for (members, want) in [
        (
            r#""command": "C:\\Python\\python.exe""#,
            "a.command: is a path of Windows, and this is another system, so a can't start",
        ),
        (
            r#""command": "x", "cwd": "D:/work""#,
            "a.cwd: is a path of Windows, and this is another system, so a can't start",
        ),
        (
            r#""command": "x", "args": ["C:\\Users\\me\\s.py"]"#,
            "a.args[0]: is a path of Windows, and this is another system",
        ),
        (r#""command": "%APPDATA%\\npm\\npx.cmd""#, "a.command: is a path of Windows"),
    ] {
        let warnings = case(members).warnings(&[]);
        assert!(warnings.len() == 1 && warnings[0].contains(want), "{warnings:?}");
    }
    let line = case(r#""command": "x""#).ok(&["--", "cmd", "/c", "npx", "-y", "x"]);
    assert_eq!(started(&line.config.servers[0]), "npx|-y|x");
    assert!(line.warnings[0].place.to_string() == "the command line" && &*line.config.servers[0].name == "npx");
}

#[test]
fn what_concerns_only_another_programs_window_passes_without_a_word() {
    for key in [
        // Claude Desktop
        "globalShortcut",
        "preferences",
        "isUsingBuiltInNodeForMcp",
        "isDxtAutoUpdatesEnabled",
        "scale",
        "locale",
        // Gemini CLI and Qwen Code
        "selectedAuthType",
        "theme",
        "general",
        "ui",
        "security",
        "contextFileName",
        "telemetry",
        // opencode, Crush, Zed
        "model",
        "keybinds",
        "autoupdate",
        "lsp",
        "vim_mode",
        "buffer_font_size",
        // VS Code's user settings, and those of extensions
        "editor.fontSize",
        "workbench.colorTheme",
        "chat.mcp.discovery.enabled",
        "github.copilot.enable",
        // Cursor, Claude Code
        "hooks",
        "statusLine",
        "editor",
    ] {
        let case = Case::new(&format!(r#"{{"{key}": {{"x": 1}}, "mcpServers": {{"a": {{"command": "x"}}}}}}"#));
        assert!(case.warnings(&[]).is_empty(), "{key}: {:?}", case.warnings(&[]));
    }
    // What chooses tools or is no setting of a window is told.
    for key in ["permissions", "tools.deny", "servers.a", "shortcut"] {
        let case = Case::new(&format!(r#"{{"{key}": {{"x": 1}}, "mcpServers": {{"a": {{"command": "x"}}}}}}"#));
        assert_eq!(case.warnings(&[]).len(), 1, "{key}");
    }
}
