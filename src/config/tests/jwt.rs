//! Whose tokens let clients in at the gateway: what arrives, and what is refused.

use serde_json::json;

use super::*;
use crate::jwt::Keys;
use crate::jwt::tests::{Issuer, set as set_of};
use crate::tools::{Glob, ToolPolicy};

/// Two servers, and a gateway with these `jwt`; no endpoint anywhere.
fn case(jwt: &str) -> Case {
    let servers = r#"{"a": {"command": "x"}, "b": {"command": "x"}}"#;
    Case::new(&format!(r#"{{"gateway": {{"jwt": {jwt}}}, "mcpServers": {servers}}}"#)).no_env()
}

/// One of them, with these members besides.
fn one(members: &str) -> Case {
    case(&format!(r#"[{{"name": "n", "issuer": "https://i", "audience": "me", {members}}}]"#))
}

#[test]
fn every_key_of_an_issuer_arrives() {
    let set = set_of(&[Issuer::es256().jwk("k")]);
    let case = case(
        r#"[{"name": " staff ", "issuer": "${ISSUER}/", "audience": ["me", "${ISSUER}"], "jwksFile": "${KEYS}.json",
        "servers": "a", "tools": {"deny": ["x"]}, "_note": 1},
        {"name": "guests", "issuer": "https://i/", "audience": "other", "jwksUrl": "${ISSUER}/keys", "jwksFile": null}]"#,
    );
    let case = case.env(&[("ISSUER", "https://i"), ("KEYS", "keys")]).file("keys.json", &set);
    let resolved = case.ok(&[]);
    let file = JwksSource::File(Arc::new(Keys::read(set.as_bytes()).unwrap()));
    let deny = ToolPolicy { deny: vec![Glob::new("x")], ..ToolPolicy::default() };
    let want = [
        JwtSpec {
            name: "staff".into(),
            issuer: "https://i/".into(),
            audience: vec!["me".into(), "https://i".into()],
            keys: file,
            servers: Some(vec!["a".into()]),
            tools: Arc::new(deny),
        },
        JwtSpec {
            name: "guests".into(),
            issuer: "https://i/".into(),
            audience: vec!["other".into()],
            keys: JwksSource::Url("https://i/keys".parse().unwrap()),
            servers: None,
            tools: Arc::default(),
        },
    ];
    assert_eq!(resolved.config.gateway.clone().unwrap().jwt, want);
    assert!(resolved.warnings.is_empty(), "{:?}", resolved.warnings);
    // The file is watched, and what is in it counts.
    assert!(resolved.config.inputs.contains(&case.dir.path().join("keys.json")));
    let other = case.file("keys.json", set_of(&[Issuer::es256().jwk("k")])).ok(&[]);
    assert_ne!(other.config.gateway.unwrap().jwt[0], want[0]);
}

#[test]
fn what_is_wrong_with_an_issuer_is_told_with_its_place_and_remedy() {
    let whole = r#"{"name": "n", "issuer": "i", "audience": "a", "jwksUrl": "https://h"}"#;
    for (jwt, want) in [
        ("{}".to_owned(), r#"gateway.jwt: is no list of issuers; write [{"name": "…", "issuer": "https://…""#),
        ("[true]".to_owned(), r#"gateway.jwt[0]: is no object; write {"name": "…", "issuer""#),
        (
            r#"[{"issuer": "i", "audience": "a", "jwksUrl": "https://h"}]"#.to_owned(),
            "gateway.jwt[0]: has no name; add",
        ),
        (
            r#"[{"name": "n", "audience": "a", "jwksUrl": "https://h"}]"#.to_owned(),
            "gateway.jwt[0]: has no issuer; add \"issuer\": what stands in the tokens as \"iss\"",
        ),
        (
            r#"[{"name": "n", "issuer": "i", "jwksUrl": "https://h"}]"#.to_owned(),
            "gateway.jwt[0]: has no audience; add \"audience\": what stands in the tokens as \"aud\"",
        ),
        (
            r#"[{"name": "n", "issuer": "i", "audience": "a"}]"#.to_owned(),
            "gateway.jwt[0]: has neither a jwksFile nor a jwksUrl; add \"jwksUrl\": where the issuer has its keys",
        ),
        (whole.replace("\"n\"", "\"\\u0007\""), "gateway.jwt[0].name: is no name for a key"),
        (whole.replace("\"i\"", "\"${UNSET}\""), "gateway.jwt[0].issuer: needs UNSET, which nothing sets"),
        (whole.replace("\"i\"", "\" \""), "gateway.jwt[0].issuer: is empty, or names a variable that is"),
        (whole.replace("\"a\"", "[\"x\", \"\"]"), "gateway.jwt[0].audience[1]: is empty, or names a variable"),
        (whole.replace("https", "http"), "gateway.jwt[0].jwksUrl: is http: whoever is on the way could let anybody in"),
        (whole.replace("//h", "//u:p@h"), "gateway.jwt[0].jwksUrl: has a name or a password before the host"),
        (whole.replace("https://h", "h/keys"), "gateway.jwt[0].jwksUrl: "),
        (
            whole.replace("https://h\"", "https://h\", \"jwksFile\": \"f\""),
            "gateway.jwt[0].jwksFile: stands beside jwksUrl",
        ),
        (
            whole.replace("}", ", \"servers\": [\"c\"]}"),
            "gateway.jwt[0].servers[0]: names c, which is no server; there",
        ),
        (whole.replace("}", ", \"servers\": []}"), "gateway.jwt[0].servers: is empty, so the key would be good for"),
        (whole.replace("audience", "aud"), "gateway.jwt[0].aud: is not a known key; did you mean audience?"),
        (whole.replace("jwksUrl", "jwks_uri"), "gateway.jwt[0].jwks_uri: is not a known key; did you mean jwksUrl?"),
        (whole.replace("}", ", \"algorithms\": [\"HS256\"]}"), "gateway.jwt[0].algorithms: "),
        (format!("{whole}, {whole}"), "gateway.jwt[1].name: is \"n\", as another one, or a key, is called; give each"),
        (
            format!("{whole}, {}", whole.replace("\"n\"", "\"m\"")),
            "gateway.jwt[1].issuer: has tokens that are also those of n, and one of both is all that can count",
        ),
    ] {
        let jwt = if jwt.starts_with('[') || jwt == "{}" { jwt } else { format!("[{jwt}]") };
        let told = case(&jwt).mistakes(&[]);
        assert!(told.iter().any(|told| told.contains(want)), "{jwt}: {told:#?}");
    }
    let key = r#"{"gateway": {"apiKeys": [{"name": "n", "key": "0123456789-0123456789"}], "jwt": [WHOLE]}, "mcpServers": {"a": {"command": "x"}}}"#;
    let told = Case::new(&key.replace("WHOLE", whole)).no_env().mistakes(&[]);
    assert!(told.len() == 1 && told[0].contains("as another one, or a key, is called"), "{told:?}");
    for (file, want) in [
        (None, "names DIR/f, which can't be read: No such file or directory"),
        (Some("{}".to_owned()), "names DIR/f, which is no JSON Web Key Set, which is {\"keys\": […]}; write what"),
        (Some(r#"{"keys": []}"#.to_owned()), "names DIR/f, which holds no key; "),
        (
            Some(set_of(&[json!({"kty": "oct", "k": "s3cret"})])),
            "names DIR/f, which holds no public key for signatures",
        ),
        (Some("x".repeat(300_000)), "names DIR/f, which can't be read: it is larger than 256 KiB"),
    ] {
        let case = one(r#""jwksFile": "f""#);
        let case = if let Some(file) = file { case.file("f", file) } else { case };
        let dir = case.dir.path().display().to_string();
        let told = case.mistakes(&[]).join("\n").replace(&dir, "DIR");
        assert!(told.contains(want) && !told.contains("s3cret"), "{told}");
    }
}

#[test]
fn an_address_that_others_reach_needs_no_key_where_tokens_are_asked_for() {
    let jwt = r#"[{"name": "n", "issuer": "i", "audience": "a", "jwksUrl": "https://h/keys?p=1"}]"#;
    for (jwt, is_let) in [(jwt, true), ("[]", false), ("null", false)] {
        let gateway = format!(r#"{{"listen": ":8765", "jwt": {jwt}}}"#);
        let case =
            Case::new(&format!(r#"{{"gateway": {gateway}, "mcpServers": {{"a": {{"command": "x"}}}}}}"#)).no_env();
        assert_eq!(case.run(&[]).is_ok(), is_let, "{jwt}");
    }
    // Nothing of it is secret.
    let rows = super::validate::shown(&case(jwt), &[]);
    let row = rows.iter().find(|row| row.starts_with("gateway.jwt = ")).unwrap();
    let value = row.strip_prefix("gateway.jwt = ").unwrap().split_once(" from ").unwrap().0;
    let want = json!([{"name": "n", "issuer": "i", "audience": ["a"], "jwksUrl": "https://h/keys?p=1", "servers": "all", "tools": {}}]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(value).unwrap(), want);
}
