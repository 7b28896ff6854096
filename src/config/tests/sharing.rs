//! How servers share endpoints, what is remembered, and when they disagree.

use super::*;

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn sharing_is_the_entrys_then_the_flags_then_the_files() {
    let case = Case::new(
        r#"{"mode": "sequential", "naming": "prefix", "names": "unicode", "turn": "2m", "resync": false, "keepListed": false,
            "mcpServers": {
              "a": {"command": "x"},
              "b": {"command": "x", "endpoint": "wss://b/?token=1", "mode": "multiplex", "naming": "auto", "names": "ascii", "resync": true,
                    "keepListed": true},
              "c": {"command": "x", "endpoint": "wss://c/?token=1", "mode": "sequential", "turn": "10s", "pin": true}}}"#,
    );
    let config = case.ok(&[]).config;
    let got: Vec<_> = config.servers.iter().map(|s| (s.sharing, s.pin, s.keep_listed)).collect();
    let (naming, names) = (Naming::Prefix, Names::Unicode);
    let all = Sharing { mode: Mode::Sequential, naming, names, turn: seconds(120), resync: false };
    let own = Sharing { mode: Mode::Multiplex, naming: Naming::Auto, names: Names::Ascii, resync: true, ..all };
    assert_eq!(got, [(all, false, false), (own, false, true), (Sharing { turn: seconds(10), ..all }, true, false)]);

    let config = case.ok(&["--mode", "per-server"]).config;
    let modes: Vec<_> = config.servers.iter().map(|server| server.sharing.mode).collect();
    assert_eq!(modes, [Mode::PerServer, Mode::Multiplex, Mode::Sequential]);
}

#[test]
fn a_wrong_value_is_refused_with_its_place_and_a_remedy() {
    let case = Case::new(
        r#"{"mode": "Sequental", "turn": "9s", "toolBudget": 0,
            "mcpServers": {"a": {"command": "x", "naming": "x", "names": "utf8", "resync": "perhaps", "pin": 2, "turn": 60}}}"#,
    );
    assert_eq!(
        case.mistakes(&[]),
        [
            "mcp_config.json:1:10 mode: is \"Sequental\", and it must be one of auto, per-server, multiplex, sequential; did you mean sequential?",
            "mcp_config.json:1:31 turn: is \"9s\", and the shortest turn is 10s; write 10s or more",
            "mcp_config.json:1:51 toolBudget: is 0, and that is no whole number above 0; write 1 or more",
            "mcp_config.json:2:60 mcpServers.a.naming: is \"x\", and it must be one of auto, prefix; write one of them",
            "mcp_config.json:2:74 mcpServers.a.names: is \"utf8\", and it must be one of ascii, unicode; write one of them",
            "mcp_config.json:2:92 mcpServers.a.resync: is neither true nor false; write true or false",
            "mcp_config.json:2:110 mcpServers.a.pin: is neither true nor false; write true or false",
            "mcp_config.json:2:121 mcpServers.a.turn: is 60, and a time needs a unit; write \"60s\", or \"60m\" for minutes",
        ]
    );
}

#[test]
fn servers_of_one_endpoint_that_disagree_are_told_with_both_values_and_places() {
    let case = Case::new(
        r#"{"mode": "multiplex",
"mcpServers": {
"a": {"command": "x"},
"b": {"command": "x", "mode": "sequential"},
"c": {"command": "x", "mode": "sequential"},
"d": {"command": "x", "endpoint": "wss://other/?token=1", "mode": "per-server"}}}"#,
    );
    assert_eq!(
        case.mistakes(&[]),
        [
            "mcp_config.json:4:31 mcpServers.b.mode: is sequential for b, but multiplex for a (mcp_config.json:1:10 mode), \
          and both are served on one endpoint; write the same mode in both, or only at the top of the file"
        ]
    );
    let three = Case::new(
        r#"{"mcpServers": {"a": {"command": "x"}, "b": {"command": "x", "mode": "multiplex"},
"c": {"command": "x", "mode": "sequential"}}}"#,
    );
    let told = three.mistakes(&[]);
    assert!(told.len() == 2 && told[0].contains("multiplex for b") && told[1].contains("sequential for c"), "{told:?}");
    let flag = case.mistakes(&["--mode", "auto"]);
    assert!(flag[0].contains("sequential for b, but auto for a (--mode)"), "{flag:?}");
    assert_eq!(case.ok(&["--local"]).config.servers.len(), 4, "there they share nothing");

    let first = Case::new(
        r#"{"mcpServers": {"a": {"command": "x", "mode": "multiplex", "naming": "prefix"}, "b": {"command": "x"}}}"#,
    );
    let first = first.mistakes(&[]);
    assert_eq!(first.len(), 1, "the mode decides whether the naming counts: {first:?}");
    assert!(
        first[0]
            .starts_with("mcp_config.json:1:47 mcpServers.a.mode: is multiplex for a, but auto for b (the default)")
    );
}

#[test]
fn servers_of_one_agent_have_to_agree_though_their_tokens_differ() {
    // Unsigned tokens with the same userId and agentId, issued at different times.
    let token = |issued: &str| format!("wss://h/?token=eyJhbGciOiJFUzI1NiJ9.{issued}.x");
    let (one, other) = (
        token("eyJ1c2VySWQiOiAxLCAiYWdlbnRJZCI6IDIsICJpYXQiOiAxfQ"),
        token("eyJ1c2VySWQiOiAxLCAiYWdlbnRJZCI6IDIsICJpYXQiOiAyfQ"),
    );
    let case = Case::new(&format!(
        r#"{{"mcpServers": {{"a": {{"command": "x", "endpoint": "{one}", "mode": "multiplex"}},
            "b": {{"command": "x", "endpoint": "{other}", "mode": "sequential"}}}}}}"#
    ));
    let mistakes = case.mistakes(&[]);
    assert!(mistakes.len() == 1 && mistakes[0].contains("is sequential for b, but multiplex for a"), "{mistakes:?}");
}

#[test]
fn a_handshake_that_cannot_be_relayed_is_warned_about() {
    let case = Case::new(
        r#"{"handshake": "relay", "mcpServers": {
            "a": {"command": "x"},
            "b": {"command": "x", "slim": true, "endpoint": "wss://b/?token=1"},
            "c": {"command": "x", "mode": "multiplex", "endpoint": "wss://c/?token=1"}}}"#,
    );
    let warnings = case.lines(&case.ok(&[]).warnings);
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(
        warnings[0].starts_with("mcp_config.json:1:15 handshake: does nothing for b: a server whose tools")
            && warnings[1].contains("does nothing for c: in mode multiplex"),
        "{warnings:?}"
    );
}

#[test]
fn a_handshake_that_does_nothing_is_told_where_it_was_written() {
    let told = Case::server(r#""slim": true, "handshake": "relay""#).warnings(&[]);
    assert_eq!(
        told,
        [
            "mcp_config.json:1:66 mcpServers.a.handshake: does nothing for a: a server whose tools are chosen or limited is \
          initialized by mcp-pipe; remove \"relay\""
        ]
    );
}

#[test]
fn only_what_the_mode_makes_use_of_has_to_agree() {
    let differing = |mode: &str| {
        let text = format!(
            r#"{{"mode": "{mode}", "mcpServers": {{"a": {{"command": "x"}},
                "b": {{"command": "x", "naming": "prefix", "names": "unicode", "turn": "1m", "resync": false}}}}}}"#
        );
        let case = Case::new(&text);
        let keys = |line: &String| line.split("mcpServers.b.").nth(1).unwrap().split(':').next().unwrap().to_owned();
        case.run(&[]).err().map_or_else(Vec::new, |problems| case.lines(&problems.mistakes).iter().map(keys).collect())
    };
    assert_eq!(differing("auto"), ["naming", "names", "resync"]);
    assert_eq!(differing("multiplex"), ["naming", "names", "resync"]);
    assert_eq!(differing("sequential"), ["turn", "resync"]);
    assert!(differing("per-server").is_empty());
}

#[test]
fn two_pins_on_one_endpoint_are_a_mistake() {
    let text = |endpoint: &str| {
        format!(
            r#"{{"mode": "sequential", "mcpServers": {{"a": {{"command": "x", "pin": true}},
                "b": {{"command": "x", "pin": true{endpoint}}}}}}}"#
        )
    };
    let mistakes = Case::new(&text("")).mistakes(&[]);
    assert_eq!(mistakes.len(), 1, "{mistakes:?}");
    assert!(
        mistakes[0]
            .contains("mcpServers.b.pin: pins b, but a has the same endpoint and is pinned too (mcp_config.json:1:")
    );
    Case::new(&text(r#", "endpoint": "wss://other/?token=1""#)).ok(&[]);
    assert_eq!(Case::new(&text("")).warnings(&["--mode", "multiplex"]).len(), 2, "there they do nothing");
}

#[test]
fn what_only_sequential_mode_uses_is_warned_about_elsewhere() {
    let case = Case::new(r#"{"turn": "1m", "mcpServers": {"a": {"command": "x", "pin": true, "turn": "2m"}}}"#);
    assert_eq!(
        case.warnings(&[]),
        [
            "mcp_config.json:1:60 mcpServers.a.pin: does nothing in mode auto; remove it, or write \"mode\": \"sequential\"",
            "mcp_config.json:1:74 mcpServers.a.turn: does nothing in mode auto; remove it, or write \"mode\": \"sequential\"",
            "mcp_config.json:1:10 turn: does nothing: no server is in sequential mode; remove it, or write \"mode\": \
             \"sequential\"",
        ]
    );
    assert!(case.warnings(&["--mode", "sequential"]).is_empty());
    let off = r#"{"turn": "1m", "mcpServers": {"a": {"command": "x", "pin": false},
                  "b": {"command": "x", "mode": "sequential", "disabled": true}}}"#;
    assert!(Case::new(off).warnings(&[]).is_empty(), "b uses it, once it is enabled");
}

#[test]
fn the_cache_is_that_of_the_flag_then_the_variable_then_the_file_then_the_users() {
    let text = |member: &str| format!(r#"{{{member} "mcpServers": {{"a": {{"command": "x"}}}}}}"#);
    let cache = |case: &Case, arguments: &[&str]| case.ok(arguments).config.cache_dir;
    let case = Case::new(&text("")).env(&[("HOME", "/home/u"), ("LOCALAPPDATA", "C:\\u")]);
    if cfg!(target_os = "linux") {
        assert_eq!(cache(&case, &[]), Some("/home/u/.cache/mcp-pipe".into()));
        let relative = Case::new(&text("")).env(&[("HOME", "/home/u"), ("XDG_CACHE_HOME", "x")]);
        assert_eq!(cache(&relative, &[]), Some("/home/u/.cache/mcp-pipe".into()), "a relative one doesn't count");
        let case = Case::new(&text("")).env(&[("HOME", "/home/u"), ("XDG_CACHE_HOME", "/var/x")]);
        assert_eq!(cache(&case, &[]), Some("/var/x/mcp-pipe".into()));
    }
    let case = case.file("sub/c.json", text(r#""cacheDir": "remembered","#)).env(&[("MCP_CONFIG", "sub/c.json")]);
    let dir = case.dir.path().to_path_buf();
    assert_eq!(cache(&case, &[]), Some(dir.join("sub/remembered")), "relative to the config");
    let case = case.env(&[("MCP_CACHE_DIR", "variable")]);
    assert_eq!(cache(&case, &[]), Some(dir.join("variable")));
    assert_eq!(cache(&case, &["--cache-dir", "flag"]), Some(dir.join("flag")));
    for off in ["none", ""] {
        assert_eq!(cache(&case, &["--cache-dir", off]), None);
        let written = Case::new(&text(&format!(r#""cacheDir": "{off}","#))).env(&[("HOME", "/home/u")]);
        assert_eq!(cache(&written, &[]), None);
    }
    let none = Case::new(&text(r#""cacheDir": "x","#)).env(&[("MCP_CACHE_DIR", "none")]);
    assert_eq!(cache(&none, &[]), None);
}

#[test]
fn servers_that_would_share_an_endpoint_disagree_also_while_there_is_none() {
    let text = r#"{"mode": "sequential", "mcpServers": {
"a": {"command": "x", "pin": true},
"b": {"command": "x", "mode": "auto"},
"c": {"command": "x", "mode": "per-server", "endpoint": "wss://own/?token=1"},
"d": {"command": "x", "pin": true}}}"#;
    for (case, first) in [
        (Case::new(text).no_env(), "MCP_ENDPOINT: is not set"),
        (
            Case::new(text).no_env().env(&[("MCP_ENDPOINT", "https://h/")]),
            "MCP_ENDPOINT (environment): has the scheme \"https\"",
        ),
    ] {
        let told = case.mistakes(&[]);
        assert_eq!(told.len(), 3, "{told:?}");
        let has = |want: &str| told.iter().any(|told| told.contains(want));
        assert!(has(first), "{told:?}");
        assert!(has("3:31 mcpServers.b.mode: is auto for b, but sequential for a"), "{told:?}");
        assert!(has("mcpServers.d.pin: pins d, but a has the same endpoint and is pinned too"), "{told:?}");
        // On endpoints of our own each mode has one.
        assert!(case.ok(&["--local", "a"]).warnings.is_empty());
        assert_eq!(case.run(&["--local"]).map(|_| ()).map_err(|problems| problems.to_string()), Ok(()));
    }
    let headers = r#"{"mcpServers": {
"a": {"command": "x", "mode": "auto", "endpointHeaders": {"X-Agent": "1"}},
"b": {"command": "x", "mode": "sequential", "endpointHeaders": {"X-Agent": "2"}}}}"#;
    assert_eq!(Case::new(headers).no_env().mistakes(&[]).len(), 1, "they may be two agents'");
}
