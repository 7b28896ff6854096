//! Which tools are published, as what, and what a call may take.

use super::*;
use crate::tools::Glob;

fn tools(case: &Case) -> ToolPolicy {
    (*case.ok(&[]).config.servers[0].tools).clone()
}

fn globs(patterns: &[&str]) -> Vec<Glob> {
    patterns.iter().map(|pattern| Glob::new(pattern)).collect()
}

#[test]
fn every_rule_arrives() {
    let case = Case::server(
        r#""slim": true, "timeout": "30s", "maxResultBytes": "64KiB",
           "tools": {"allow": ["get_*", "put?"], "deny": ["get_secret"], "rename": {"get_x": "x", "get.y": "y-1"},
                     "describe": {"get_*": "Gets."}, "timeout": {"get_x": "5s", "*": "10s"}, "maxResultBytes": {"*": 256}}"#,
    );
    let text = |text: &str| -> Box<str> { text.into() };
    let want = ToolPolicy {
        allow: globs(&["get_*", "put?"]),
        deny: globs(&["get_secret"]),
        rename: vec![(text("get_x"), text("x")), (text("get.y"), text("y-1"))],
        describe: vec![(Glob::new("get_*"), text("Gets."))],
        slim: true,
        timeout: Some(Duration::from_secs(30)),
        timeouts: vec![(Glob::new("get_x"), Duration::from_secs(5)), (Glob::new("*"), Duration::from_secs(10))],
        max_result: Some(64 << 10),
        max_results: vec![(Glob::new("*"), 256)],
        gate: None,
    };
    assert_eq!(tools(&case), want);
}

#[test]
fn the_entrys_slim_and_limits_count_before_those_of_the_file() {
    let case = Case::new(
        r#"{"slim": true, "timeout": "1m", "maxResultBytes": 1000, "toolBudget": 500,
            "mcpServers": {"a": {"command": "x", "slim": false, "timeout": "2m", "maxResultBytes": 2000}, "b": {"command": "x"}}}"#,
    );
    let config = case.ok(&[]).config;
    let got: Vec<_> = config.servers.iter().map(|s| (s.tools.slim, s.tools.timeout, s.tools.max_result)).collect();
    let minutes = |n: u64| Some(Duration::from_secs(60 * n));
    assert_eq!(got, [(false, minutes(2), Some(2000)), (true, minutes(1), Some(1000))]);
    assert_eq!(config.tool_budget, 500);
}

#[test]
fn a_list_is_what_is_allowed_and_a_star_is_everything() {
    assert_eq!(tools(&Case::server(r#""tools": ["add", "sub*"]"#)).allow, globs(&["add", "sub*"]));
    for all in [r#"["*"]"#, r#"["add", "**"]"#, r#"{"allow": ["*"]}"#, "{}", "null", r#"{"allow": null, "rename": {}}"#]
    {
        let case = Case::server(&format!(r#""tools": {all}"#));
        assert!(tools(&case).is_untouched() && case.warnings(&[]).is_empty(), "{all}");
    }
    for none in ["[]", r#"{"allow": []}"#] {
        let case = Case::server(&format!(r#""tools": {none}"#));
        assert!(tools(&case).is_untouched());
        assert!(case.warnings(&[])[0].contains("is empty, so all tools are published; remove it; for none at all"));
    }
}

#[test]
fn wrong_rules_are_all_refused_with_place_and_remedy() {
    let long = "n".repeat(65);
    let case = Case::new(&format!(
        r#"{{"mcpServers": {{"a": {{"command": "x", "timeout": "0s", "maxResultBytes": 255, "tools": {{
"allow": ["", "get_{{a,b}}"],
"deny": "x",
"rename": {{"a": "b c", "d": "{long}", "e": "x", "f": "x", "g*": "g", "h": ""}},
"describe": {{" ": "t", "x": 1}},
"timeout": {{"x": 5}},
"maxResultBytes": {{"x": "1KB", "[y]": "10"}}
}}}}}}}}"#
    ));
    let charset = "use letters, digits, _ and -, at most 64";
    let wildcards = "* stands for any text and ? for one character; write several patterns for more";
    let want = [
        "1:50 mcpServers.a.timeout: is \"0s\", and no call could be answered in that; leave it out for no limit".to_owned(),
        "1:74 mcpServers.a.maxResultBytes: is 255, and it must lie between 256 bytes and 1GiB; write a size between them".to_owned(),
        "2:11 mcpServers.a.tools.allow[0]: is an empty pattern, which covers no tool; write a tool's name, or * for all"
            .to_owned(),
        format!("2:15 mcpServers.a.tools.allow[1]: has '{{', which is no part of a pattern; {wildcards}"),
        "3:9 mcpServers.a.tools.deny: is a text, not a list of texts; write [\"x\"]".to_owned(),
        format!("4:17 mcpServers.a.tools.rename.a: is \"b c\", and assistants take no ' ' in a tool's name; {charset}"),
        format!("4:29 mcpServers.a.tools.rename.d: is 65 characters long, and assistants take no more than 64; {charset}"),
        "4:113 mcpServers.a.tools.rename.f: is \"x\", as e is already called; give each tool its own name".to_owned(),
        "4:118 mcpServers.a.tools.rename[\"g*\"]: is not the name of one tool; write the tool's own name; patterns can't \
         be renamed"
            .to_owned(),
        format!("4:134 mcpServers.a.tools.rename.h: is empty; {charset}"),
        "5:14 mcpServers.a.tools.describe[\" \"]: is an empty pattern, which covers no tool; write a tool's name, or * for \
         all"
            .to_owned(),
        "5:29 mcpServers.a.tools.describe.x: is a number, not a text; write it in quotes: \"1\"".to_owned(),
        "6:18 mcpServers.a.tools.timeout.x: is 5, and a time needs a unit; write \"5s\", or \"5m\" for minutes, or \"5ms\" for milliseconds".to_owned(),
        format!("7:32 mcpServers.a.tools.maxResultBytes[\"[y]\"]: has '[', which is no part of a pattern; {wildcards}"),
        "7:39 mcpServers.a.tools.maxResultBytes[\"[y]\"]: is \"10\", and it must lie between 256 bytes and 1GiB; write a size between them".to_owned(),
    ];
    assert_eq!(case.mistakes(&[]), want.map(|line| format!("mcp_config.json:{line}")));
}

#[test]
fn a_tool_may_be_given_the_letters_that_the_names_of_its_endpoint_may_have() {
    let given = |names: &str| Case::server(&format!(r#"{names} "tools": {{"rename": {{"a": "开灯", "b": "b.c"}}}}"#));
    assert_eq!(tools(&given(r#""names": "unicode","#)).rename[0].1, "开灯".into());
    let remedy = "use letters, digits, _ and -, at most 64; or, where the assistant takes others, say \"names\": \"unicode\" at the top of the config";
    for names in ["", r#""names": "ascii","#] {
        let mistakes = given(names).mistakes(&[]);
        let [a, b] = &mistakes[..] else { panic!("{mistakes:?}") };
        assert!(a.contains("rename.a: is \"开灯\", and assistants take no '开'") && a.ends_with(remedy), "{a}");
        assert!(b.contains("rename.b: is \"b.c\"") && b.ends_with(remedy), "{b}");
    }
    let long = "开".repeat(64);
    let case = Case::server(&format!(r#""names": "unicode", "tools": {{"rename": {{"a": "{long}"}}}}"#));
    assert_eq!(tools(&case).rename[0].1, long.into(), "characters are counted, not bytes");
}

#[test]
fn of_a_tool_that_is_renamed_twice_the_last_name_counts() {
    let case = Case::server(r#""tools": {"rename": {"a": "x", "a": "y", "b": "x"}}"#);
    assert_eq!(tools(&case).rename, [("a".into(), "y".into()), ("b".into(), "x".into())]);
    assert!(case.warnings(&[])[0].contains("tools.rename.a: stands there twice"));
}

#[test]
fn a_slip_inside_tools_is_told_the_closest_key_or_the_right_place() {
    let case = Case::server(
        r#""tools": {"alow": ["x"], "exclude": ["y"], "note": "z", "calculate": {"enable": true, "x": 1}}"#,
    );
    let mistakes = case.mistakes(&[]);
    for (at, part) in [
        "tools.alow: is not a known key; did you mean allow?",
        "tools.exclude: is not a known key; did you mean deny?",
        "tools.calculate: is not a known key; remove it, or check its spelling",
    ]
    .into_iter()
    .enumerate()
    {
        assert!(mistakes[at].contains(part), "{part} in\n{mistakes:?}");
    }
    assert_eq!(mistakes.len(), 3, "the note is somebody's own");
    for (key, ours) in
        [("hide", "deny"), ("blacklist", "deny"), ("disable", "deny"), ("show", "allow"), ("only", "allow")]
    {
        let told = Case::server(&format!(r#""tools": {{"{key}": ["x"]}}"#)).mistakes(&[]);
        assert!(told[0].ends_with(&format!("did you mean {ours}?")), "{told:?}");
    }
    let warnings = Case::server(r#""tools": {"slim": true}"#).warnings(&[]);
    assert!(warnings[0].contains("tools.slim: is ignored here; write it beside tools, not in it"), "{warnings:?}");
}

#[test]
fn a_slip_of_a_key_that_keeps_something_from_happening_is_a_mistake_and_no_warning() {
    let is_refused = |case: Case, key: &str| {
        let mistakes = case.mistakes(&[]);
        assert!(mistakes.len() == 1 && mistakes[0].contains(key), "{key}: {mistakes:?}");
    };
    for key in ["leases", "Lease", "LEASE", "leese", "tool", "inherit_env", "inheritEnvs"] {
        let top = format!(r#"{{"mcpServers": {{"a": {{"command": "x"}}}}, "{key}": {{}}}}"#);
        is_refused(Case::new(&top), key);
    }
    for key in
        ["lease", "Lease", "tool", "Tools", "InheritEnv", "ExcludeTools", "exclude-tools", "denyTools", "allowTools"]
    {
        is_refused(Case::server(&format!(r#""{key}": ["x"]"#)), key);
    }
    for key in ["hiddenTools", "ignoreTools", "toolsExclude", "toolBlacklist", "tool_denylist", "toolWhitelist"] {
        is_refused(Case::server(&format!(r#""{key}": ["x"]"#)), key);
    }
    for key in ["exclude", "include", "toolsAllowed"] {
        is_refused(Case::server(&format!(r#""{key}": ["x"]"#)), key);
    }
    for key in ["zzz", "toolkit", "includes_nothing"] {
        assert_eq!(Case::server(&format!(r#""{key}": ["x"]"#)).warnings(&[]).len(), 1, "{key}");
    }
}
