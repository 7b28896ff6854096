//! Tests of the policy.

use proptest::prelude::*;

use super::*;
use crate::mcp::object::tests::{raw_members, raw_value};

fn glob(pattern: &str) -> Glob {
    Glob::new(pattern)
}

#[test]
fn a_tool_is_published_if_allowed_and_not_denied() {
    let all = ToolPolicy::default();
    let some = ToolPolicy { allow: vec![glob("get_*"), glob("add")], deny: vec![glob("*_secret")], ..all.clone() };
    assert!(all.publishes("anything"));
    for (tool, want) in [("get_time", true), ("add", true), ("get_secret", false), ("set_time", false)] {
        assert_eq!(some.publishes(tool), want, "{tool}");
    }
    let most = ToolPolicy { deny: vec![glob("rm?")], ..all };
    assert!(most.publishes("rm") && !most.publishes("rmd"));
}

#[test]
fn the_first_pattern_that_matches_counts_and_else_the_setting_for_all() {
    let policy = ToolPolicy {
        rename: vec![("old".into(), "new".into())],
        describe: vec![(glob("a*"), "first".into()), (glob("ab"), "second".into())],
        timeout: Some(Duration::from_secs(9)),
        timeouts: vec![(glob("slow*"), Duration::from_secs(60))],
        max_result: None,
        max_results: vec![(glob("big"), 4096)],
        ..ToolPolicy::default()
    };
    assert_eq!((policy.name_of("old"), policy.name_of("other")), ("new", "other"));
    assert_eq!((policy.described("ab"), policy.described("b")), (Some("first"), None));
    assert_eq!(policy.timeout_of("slow_one"), Some(Duration::from_secs(60)));
    assert_eq!(policy.timeout_of("x"), Some(Duration::from_secs(9)));
    assert_eq!((policy.max_result_of("big"), policy.max_result_of("x")), (Some(4096), None));
}

#[test]
fn a_name_or_pattern_that_covers_no_tool_is_told_once_with_the_closest_there_is() {
    let policy = ToolPolicy {
        allow: vec![glob("add"), glob("subs"), glob("zz*"), glob("*")],
        deny: vec![glob("subs"), glob("su?")],
        rename: vec![("sub".into(), "x".into()), ("qq".into(), "y".into())],
        timeouts: vec![(glob("tm"), Duration::ZERO)],
        ..ToolPolicy::default()
    };
    let doubts = policy.doubts(&["add", "sub"]).unwrap_or_default();
    let want =
        "\"tools\" names subs (did you mean sub?), zz*, tm, qq, which the server does not have; its tools are add, sub";
    assert_eq!(doubts, want);
}

#[test]
fn a_policy_that_leaves_nothing_is_told_so_also_where_it_denies_everything() {
    let policy = ToolPolicy { allow: vec![glob("adds")], ..ToolPolicy::default() };
    let doubts = policy.doubts(&["add", "sub"]).unwrap_or_default();
    assert_eq!(
        doubts,
        "\"tools\" names adds (did you mean add?), which the server does not have; \
         it leaves none of its tools to publish; it has add, sub"
    );
    let clash = ToolPolicy { allow: vec![glob("a*")], deny: vec![glob("a?d")], ..ToolPolicy::default() };
    let doubts = clash.doubts(&["add"]).unwrap_or_default();
    assert_eq!(doubts, "\"tools\" leaves none of its tools to publish; it has add");
    assert_eq!(clash.doubts(&["add", "all"]), None);
    let nothing = ToolPolicy { deny: vec![glob("*")], ..ToolPolicy::default() };
    // It may be meant; whoever wonders where the tools are finds it in the log.
    let doubts = nothing.doubts(&["add"]).unwrap_or_default();
    assert_eq!(doubts, "\"tools\" leaves none of its tools to publish; it has add");
    assert_eq!(ToolPolicy::default().doubts(&[]), None, "it has none itself");
}

#[test]
fn what_no_tool_is_called_is_told_with_a_near_name_a_published_one_or_all_that_there_are() {
    let told = |policy: ToolPolicy, tools: &[&str]| policy.doubts(tools).unwrap_or_default();
    let deny = |pattern: &str| ToolPolicy { deny: vec![glob(pattern)], ..ToolPolicy::default() };
    let rename = |old: &str, new: &str| ToolPolicy { rename: vec![(old.into(), new.into())], ..ToolPolicy::default() };
    let tools = ["get_state", "light_on", "search"];
    assert_eq!(
        told(deny("get_stat"), &tools),
        "\"tools\" names get_stat (did you mean get_state?), which the server does not have"
    );
    // Written quite otherwise: no tool is meant more than the others.
    for far in ["get_weather", "starch_it", "light_dim_*"] {
        let want =
            format!("\"tools\" names {far}, which the server does not have; its tools are get_state, light_on, search");
        assert_eq!(told(deny(far), &tools), want);
    }
    assert_eq!(
        told(rename("lights", "light_on"), &tools),
        "\"tools\" renames lights to light_on, which is the server's own name: its own stands first, {\"light_on\": \"lights\"}"
    );
    let both = ToolPolicy { deny: vec![glob("lamp")], ..rename("light_on", "lamp") };
    assert_eq!(
        told(both, &tools),
        "\"tools\" names lamp (write light_on: rules have the server's own names), which the server does not have"
    );
    assert_eq!(
        told(deny("home__search"), &tools),
        "\"tools\" names home__search (write search: rules have the server's own names), which the server does not have"
    );
}

#[test]
fn a_long_list_or_name_is_not_told_whole() {
    let policy = ToolPolicy { allow: vec![glob("zz")], ..ToolPolicy::default() };
    let names: Vec<String> = (10..30).map(|n| format!("{n}{}", "é".repeat(100))).collect();
    let doubts = policy.doubts(&names.iter().map(String::as_str).collect::<Vec<_>>()).unwrap_or_default();
    assert!(doubts.len() < 800 && doubts.ends_with(" and 12 more"), "{doubts}");
}

#[test]
fn a_new_name_that_another_tool_has_is_told() {
    let rename = |pairs: &[(&str, &str)]| {
        let rename = pairs.iter().map(|(old, new)| ((*old).into(), (*new).into())).collect();
        ToolPolicy { rename, ..ToolPolicy::default() }
    };
    let doubts = rename(&[("add", "sub")]).doubts(&["add", "sub"]).unwrap_or_default();
    assert_eq!(doubts, "\"tools\" renames add to sub, which another of its tools is called: both get other names");
    assert_eq!(rename(&[("add", "sub"), ("sub", "add")]).doubts(&["add", "sub"]), None, "they change places");
    let hidden = ToolPolicy { deny: vec![glob("sub")], ..rename(&[("add", "sub")]) };
    assert_eq!(hidden.doubts(&["add", "sub"]), None);
}

const ITEM: &str = r#"{ "title":"T", "name":"n\u0061me","inputSchema": {"type":"object", "$schema":"http://x", "properties":{"$schema":{"maximum":12345678901234567890.10}}} ,"outputSchema":{},"description":"old"}"#;

#[test]
fn a_definition_with_nothing_to_change_comes_back_as_it_is() {
    assert_eq!(ToolPolicy::default().definition(ITEM, "name", "name"), ITEM);
    assert_eq!(ToolPolicy::default().definition("[1", "name", "other"), "[1");
}

#[test]
fn a_definition_gets_its_name_and_description_in_their_places() {
    let policy = ToolPolicy { describe: vec![(glob("name"), "say \"hi\"".into())], ..ToolPolicy::default() };
    assert_eq!(
        policy.definition(ITEM, "name", "s__name"),
        r#"{"title":"T","name":"s__name","inputSchema":{"type":"object", "$schema":"http://x", "properties":{"$schema":{"maximum":12345678901234567890.10}}},"outputSchema":{},"description":"say \"hi\""}"#
    );
    let bare = r#"{"x":1,"name":"name","inputSchema":{}}"#;
    let want = r#"{"x":1,"name":"name","description":"say \"hi\"","inputSchema":{}}"#;
    assert_eq!(policy.definition(bare, "name", "name"), want);
    assert_eq!(policy.definition(bare, "other", "name"), bare);
}

#[test]
fn a_slim_definition_has_three_members_and_no_dialect() {
    let policy = ToolPolicy { slim: true, ..ToolPolicy::default() };
    assert_eq!(
        policy.definition(ITEM, "name", "name"),
        r#"{"name":"n\u0061me","inputSchema":{"type":"object","properties":{"$schema":{"maximum":12345678901234567890.10}}},"description":"old"}"#
    );
    // The description that it gets is behind the name, whatever was left out before that.
    let policy = ToolPolicy { describe: vec![(glob("*"), "d".into())], ..policy };
    let item = r#"{"a":1,"b":2,"name":"n","inputSchema":true}"#;
    assert_eq!(policy.definition(item, "n", "n"), r#"{"name":"n","description":"d","inputSchema":true}"#);
}

#[test]
fn a_tool_whose_results_may_be_cut_promises_no_output() {
    let policy = ToolPolicy { max_results: vec![(glob("name"), 4096)], ..ToolPolicy::default() };
    assert!(!policy.definition(ITEM, "name", "name").contains("outputSchema"));
    assert!(policy.definition(ITEM, "other", "name").contains("outputSchema"));
}

proptest! {
    #[test]
    fn what_a_definition_keeps_is_as_it_was_written(
        extra in raw_members(),
        schema in raw_value(),
        slim in any::<bool>(),
        description in any::<Option<String>>(),
    ) {
        let describe = description.iter().map(|text| (glob("*"), text.as_str().into())).collect();
        let policy = ToolPolicy { slim, describe, ..ToolPolicy::default() };
        let schema = format!("{{\"x\":{schema}}}");
        let own = vec![("\"name\"".to_owned(), "\"n\"".to_owned()), ("\"inputSchema\"".to_owned(), schema)];
        let parts = extra.split_at(extra.len() / 2);
        let members = [parts.0, &own, parts.1].concat();
        let raw = |members: &[(String, String)]| object::object(members.iter().map(|(k, v)| (k.as_str(), v.as_str())));

        let mut want = if slim { own } else { members.clone() };
        let place = want.iter().position(|(key, _)| key == "\"name\"").unwrap_or_default();
        want[place].1 = "\"p\"".into();
        if let Some(text) = &description {
            want.insert(place + 1, ("\"description\"".into(), object::quoted(text)));
        }
        prop_assert_eq!(policy.definition(&raw(&members), "n", "p"), raw(&want));
    }
}

#[test]
fn a_regular_expression_that_covers_no_tool_is_told_as_the_pattern_that_was_meant() {
    for (written, meant) in
        [("^add$", "add"), ("sub.*", "sub*"), ("add|subtract", "add, subtract"), ("^(a|b.+)$", "a, b*")]
    {
        let policy = ToolPolicy { deny: vec![glob(written)], ..ToolPolicy::default() };
        let doubts = policy.doubts(&["add", "subtract"]).unwrap_or_default();
        assert!(doubts.contains(&format!("{written} (a pattern knows * and ? only: write {meant})")), "{doubts}");
    }
    for (written, want) in [
        ("!add", "!add (begins with !, which is no part of a pattern: to leave it out write {\"deny\": [\"add\"]})"),
        (
            "add, subtract",
            "\"add, subtract\" (holds a comma, which is no part of a pattern: write a text for each: \"add\", \"subtract\")",
        ),
    ] {
        let policy = ToolPolicy { allow: vec![glob(written)], ..ToolPolicy::default() };
        let doubts = policy.doubts(&["add", "subtract"]).unwrap_or_default();
        assert!(doubts.starts_with(&format!("\"tools\" names {want}")), "{doubts}");
    }
    let dotted = ToolPolicy { deny: vec![glob("files.*")], ..ToolPolicy::default() };
    assert_eq!(dotted.doubts(&["files.read", "add"]), None);
    assert_eq!(of_regular_expression("get_*"), None);
}
