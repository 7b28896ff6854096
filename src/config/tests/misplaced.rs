//! Keys that are ours and stand in another place, and files that lack a level.

use super::*;

fn at_top(members: &str) -> Vec<String> {
    Case::new(&format!(r#"{{{members}, "mcpServers": {{"a": {{"command": "x"}}}}}}"#)).warnings(&[])
}

#[test]
fn a_key_of_ours_in_another_place_is_told_where_it_belongs() {
    let top = "belongs at the top of the file, beside mcpServers, and is ignored; move it there";
    let entry = "belongs in a server's entry, under mcpServers.NAME, and is ignored; move it there";
    for (key, value) in
        [("toolBudget", "9000"), ("drainTimeout", "\"5s\""), ("cacheDir", "\"c\""), ("drain_timeout", "\"5s\"")]
    {
        let told = Case::server(&format!("\"{key}\": {value}")).warnings(&[]);
        assert_eq!(told, [format!("mcp_config.json:1:39 mcpServers.a.{key}: {top}")]);
    }
    for (key, value) in [
        ("pin", "true"),
        ("args", "[]"),
        ("command", "5"),
        ("env", "{}"),
        ("cwd", "\"/\""),
        ("envFile", "\"e\""),
        ("disabled", "true"),
        ("env_file", "\"e\""),
    ] {
        let told = at_top(&format!("\"{key}\": {value}"));
        assert_eq!(told, [format!("mcp_config.json:1:2 {key}: {entry}")]);
    }
    for (members, want) in [
        (r#""drainTimout": "5s""#, "did you mean drainTimeout? That belongs at the top of the file, beside mcpServers"),
        (r#""MCP_ENDPOINT": "wss://h/""#, "is not a known key and is ignored; did you mean endpoint?"),
        (r#""rename": {}"#, "belongs in the tools of a server's entry, and is ignored"),
        (r#""start_timeout": "5s""#, "is not a known key and is ignored; did you mean startTimeout?"),
    ] {
        let told = Case::server(members).warnings(&[]);
        assert!(told.len() == 1 && told[0].contains(want), "{told:?}");
    }
    let told = at_top(r#""environment": {}"#);
    assert!(told[0].contains("did you mean env? That belongs in a server's entry"), "{told:?}");
    for members in [r#""allow": ["t"]"#, r#""deny": ["t"]"#] {
        let told = Case::server(members).mistakes(&[]);
        assert!(told[0].contains("write it in the entry's tools: \"tools\": {\"allow\": […]"), "{told:?}");
    }
    let told = Case::server(r#""tools": {"pin": true}"#).mistakes(&[]);
    assert!(
        told[0].contains("tools.pin: belongs in a server's entry, under mcpServers.NAME; move it there"),
        "{told:?}"
    );
}

#[test]
fn what_is_said_on_the_command_line_or_under_another_name_is_told_so() {
    for (members, want) in [
        (
            r#""logLevel": "debug""#,
            "logLevel: is ignored; use the option --log-level, or MCP_LOG_LEVEL in the environment",
        ),
        (r#""statusSocket": "/s""#, "use the option --status-socket, or MCP_STATUS_SOCKET"),
        (r#""local": true"#, "use the option --local"),
    ] {
        let told = at_top(members);
        assert!(told.len() == 1 && told[0].contains(want), "{told:?}");
    }
    for (members, want) in [
        (r#""arguments": ["y"]"#, "mcpServers.a.arguments: is not a known key and is ignored; did you mean args?"),
        (r#""cmd": "y""#, "did you mean command?"),
        (
            r#""logLevel": "debug""#,
            "mcp-pipe's own is set by --log-level or MCP_LOG_LEVEL, a server's by its args or env",
        ),
    ] {
        let told = Case::server(members).warnings(&[]);
        assert!(told.len() == 1 && told[0].contains(want), "{told:?}");
    }
}

#[test]
fn a_file_that_is_one_servers_entry_is_told_with_a_file_that_would_do() {
    let told = |text: &str| {
        let mistakes = Case::new(text).mistakes(&[]);
        assert_eq!(mistakes.len(), 1, "{mistakes:?}");
        mistakes.into_iter().next().unwrap()
    };
    let what = "mcp_config.json:1:1: is the entry of one server, and servers stand in mcpServers, each behind its name; write ";
    for (text, example) in [
        (
            r#"{"command": "python", "args": ["-u", "dir/calculator.py"]}"#,
            r#"{"mcpServers": {"calculator": {"command": "python", "args": ["-u", "dir/calculator.py"]}}}"#,
        ),
        (
            r#"{"command": ["my-server", "-v"], "env": {"KEY": "s3cret"}, "disabled": false}"#,
            r#"{"mcpServers": {"my-server": {"command": ["my-server", "-v"], "env": {…}, "disabled": …}}}"#,
        ),
        (
            r#"{"command": "x", "args": ["--token", "abcdef0123456789abcdef0123456789s3cret"]}"#,
            r#"{"mcpServers": {"x": {"command": "x", "args": […]}}}"#,
        ),
        (r#"{"url": "https://h/?k=s3cret"}"#, r#"{"mcpServers": {"my-server": {"url": …}}}"#),
    ] {
        assert_eq!(told(text), format!("{what}{example}"));
    }
    let nested = told(r#"{"mcpServers": {"mcpServers": {"a": {"command": "x"}}}}"#);
    assert!(nested.contains("mcpServers.mcpServers.a: is a server inside of another one"), "{nested}");
}
