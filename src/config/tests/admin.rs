//! The admin address: what arrives of it, what is refused, and what the schema says of it.

use std::net::SocketAddr;

use serde_json::json;

use super::*;
use crate::config::AdminSpec;

const KEY: &str = "s3cret-s3cret-s3cret-1";

/// A server, a gateway and an admin address of these values.
fn case(gateway: &str, admin: &str) -> Case {
    Case::new(&format!(
        r#"{{"gateway": {gateway}, "admin": {admin}, "mcpServers": {{"a": {{"command": "x"}}, "b": {{"command": "x"}}}}}}"#
    ))
}

fn spec(case: &Case, arguments: &[&str]) -> Option<AdminSpec> {
    case.ok(arguments).config.admin.map(|admin| (*admin).clone())
}

fn at(listen: &str) -> Option<AdminSpec> {
    Some(AdminSpec { listen: listen.parse().unwrap(), hosts: Vec::new(), keys: Vec::new(), tls: None })
}

/// Keys of the gateway: one that opens all, and two that don't.
fn keys() -> String {
    format!(
        r#"{{"hosts": "mcp.example.com", "tls": {{"certFile": "c"}}, "apiKeys": [{{"name": "all", "key": "{KEY}"}},
        {{"name": "some", "key": "{KEY}2", "servers": ["a"]}}, {{"name": "few", "key": "{KEY}3", "tools": ["t"]}}]}}"#
    )
}

#[test]
fn it_is_there_where_the_config_says_so_and_on_this_machine_for_anybody() {
    assert_eq!(spec(&case("null", "{}"), &[]), at("127.0.0.1:9464"));
    for (listen, want) in [("127.0.0.1:0", "127.0.0.1:0"), ("[::1]:9", "[::1]:9"), ("localhost:7", "127.0.0.1:7")] {
        assert_eq!(spec(&case("null", &json!({"listen": listen}).to_string()), &[]), at(want), "{listen}");
    }
    assert_eq!(spec(&case("null", "null"), &[]), None);
    assert_eq!(Case::new(r#"{"mcpServers": {"a": {"command": "x"}}}"#).ok(&[]).config.admin, None);
    assert_eq!(spec(&case("null", "{}"), &["--local"]), None, "whoever has started that watches it");
}

#[test]
fn others_need_a_key_of_the_gateway_that_opens_all_of_it() {
    let open = r#"{"listen": "0.0.0.0:9464"}"#;
    let told = spec(&case(&keys(), open), &[]).unwrap();
    assert_eq!(told.listen, "0.0.0.0:9464".parse::<SocketAddr>().unwrap());
    assert_eq!(told.keys.iter().map(|key| &*key.name).collect::<Vec<_>>(), ["all"]);
    assert!(told.tls.is_some() && told.hosts.len() == 1, "{told:?}");
    assert!(!format!("{told:?}").contains(KEY));
    let few = keys().replace(&format!(r#"{{"name": "all", "key": "{KEY}"}},"#), "");
    for gateway in ["null", "{}", &few] {
        let mistakes = case(gateway, open).mistakes(&[]);
        let mistake = mistakes.iter().find(|mistake| mistake.to_string().contains("has no key that opens all servers"));
        let mistake = mistake.unwrap_or_else(|| panic!("{gateway}: {mistakes:?}")).to_string();
        assert!(mistake.contains("admin.listen") && mistake.contains("127.0.0.1:9464"), "{mistake}");
    }
    let certificates = r#"{"tls": {"certFile": "c", "clientCaFile": "ca"}}"#;
    assert!(
        spec(&case(certificates, open), &[]).is_some_and(|spec| spec.keys.is_empty()),
        "who has one is known by that"
    );
}

#[test]
fn it_is_shown_with_where_it_comes_from() {
    let rows = super::validate::shown(&case("null", r#"{"listen": "127.0.0.1:5"}"#), &[]);
    assert!(
        rows.iter().any(|row| row.starts_with(r#"admin.listen = "127.0.0.1:5" from file mcp_config.json"#)),
        "{rows:#?}"
    );
    let rows = super::validate::shown(&case("null", "{}"), &[]);
    assert!(rows.iter().any(|row| row == r#"admin.listen = "127.0.0.1:9464" from default -:-:-:-"#), "{rows:#?}");
    for key in keys::ADMIN {
        assert!(rows.iter().any(|row| row.starts_with(&format!("admin.{key} = "))), "{key}");
    }
}

#[test]
fn the_schema_and_the_reader_agree_about_the_admin_address() {
    let value = super::schema();
    let schema = jsonschema::validator_for(&value).unwrap();
    for (admin, is_taken) in [
        (json!({}), true),
        (json!(null), true),
        (json!(true), false),
        (json!("127.0.0.1:9464"), false),
        (json!(9464), false),
        (json!([]), false),
        (json!({"listen": "127.0.0.1:0", "_note": 1, "description": "x", "#listen": []}), true),
        (json!({"listen": "localhost:0"}), true),
        (json!({"listen": null}), true),
        (json!({"listen": 9464}), false),
        (json!({"listen": true}), false),
        (json!({"listen": ["127.0.0.1:0"]}), false),
        (json!({"listen": {}}), false),
        (json!({"Listen": "127.0.0.1:0"}), false),
        (json!({"port": 9464}), false),
        (json!({"apiKeys": []}), false),
    ] {
        let file = json!({"admin": admin, "mcpServers": {"a": {"command": "x"}}});
        let read = Case::new(&file.to_string()).run(&[]).is_ok();
        assert_eq!((schema.is_valid(&file), read), (is_taken, is_taken), "{file}");
    }
    // Which texts are addresses only the reader knows.
    let address = json!({"admin": {"listen": "everywhere"}, "mcpServers": {"a": {"command": "x"}}});
    assert!(schema.is_valid(&address) && Case::new(&address.to_string()).run(&[]).is_err());
    for key in keys::ADMIN {
        let told = &value["$defs"]["admin"]["properties"][key]["description"];
        assert!(told.as_str().is_some_and(|text| !text.is_empty()), "admin.{key}");
    }
}
