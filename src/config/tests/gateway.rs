//! The gateway: what arrives of it, what is refused, and that no key is seen anywhere.

use serde_json::json;

use super::*;
use crate::config::gateway::sha256;
use crate::error::{Exit, Failure};
use crate::tools::{Glob, ToolPolicy};

const KEY: &str = "s3cret-s3cret-s3cret-1";
const OTHER: &str = "s3cret-s3cret-s3cret-2";

/// Two servers, a disabled one, and a gateway with these members; no endpoint anywhere.
fn with(members: &str) -> Case {
    case(&format!("{{{members}}}"))
}

fn case(gateway: &str) -> Case {
    let servers = r#"{"a": {"command": "x"}, "b": {"command": "x"}, "off": {"command": "x", "disabled": true}}"#;
    Case::new(&format!(r#"{{"gateway": {gateway}, "mcpServers": {servers}}}"#)).no_env()
}

fn keys(keys: &str) -> Case {
    with(&format!(r#""apiKeys": {keys}"#))
}

fn spec(case: &Case, arguments: &[&str]) -> Arc<GatewaySpec> {
    case.ok(arguments).config.gateway.expect("there is a gateway")
}

#[test]
fn a_gateway_of_which_nothing_is_said_has_every_default() {
    let want = GatewaySpec {
        listen: "127.0.0.1:8765".parse().unwrap(),
        cors: Vec::new(),
        hosts: Vec::new(),
        api_keys: Vec::new(),
        jwt: Vec::new(),
        endpoint_tokens: Vec::new(),
        endpoint_servers: Vec::new(),
        max_frame: 16 << 20,
        sse: false,
        session_idle: Duration::from_secs(1800),
        session_key: None,
        max_sessions: 1000,
        max_streams: 16,
        max_held: 8,
        held_timeout: Duration::from_secs(300),
        max_body: 16 << 20,
        header_timeout: Duration::from_secs(10),
        max_connections: 1024,
        max_connections_per_address: 256,
        requests_per_second: None,
        tls: None,
    };
    assert_eq!(*spec(&case("{}"), &[]), want);
    let plain = Case::new(r#"{"mcpServers": {"a": {"command": "x"}}}"#);
    assert_eq!(plain.ok(&[]).config.gateway, None);
    assert_eq!(*spec(&plain, &["serve"]), want);
    assert_eq!(case("null").env(&[ENDPOINT]).ok(&[]).config.gateway, None);
}

#[test]
fn every_key_of_the_gateway_arrives() {
    let case = with(&format!(
        r#""listen": ":0", "cors": ["https://app.example.com", "http://Localhost:80"], "hosts": "mcp.example.com:443",
        "apiKeys": [
          {{"name": " one ", "key": "${{KEY}}", "servers": ["a", "off"], "tools": {{"allow": ["a__*"], "deny": ["x"]}}, "capabilityUrl": true}},
          {{"name": "two", "keyFile": "two.key", "servers": "b", "tools": ["y"]}},
          {{"name": "three", "keySha256": "{}", "key": null, "_note": 1}}],
        "endpointTokens": ["a+b/c=12", {{"name": " desk ", "tokenFile": "two.key"}},
          {{"name": "hall", "tokenSha256": "{}", "token": null, "_note": 1}}],
        "endpointServers": ["a", "off"],
        "sse": true, "sessionIdle": "5m", "sessionKeyFile": "${{CA}}.key", "maxSessions": 10, "maxStreams": "2", "maxBody": "1MiB", "headerTimeout": "3s",
        "maxHeld": 3, "heldTimeout": "90s",
        "maxConnections": 20, "maxConnectionsPerAddress": 4, "requestsPerSecond": 50,
        "tls": {{"certFile": "c.pem", "clientCaFile": "${{CA}}.pem"}}"#,
        hex(sha256("three")).to_uppercase(),
        hex(sha256("hall")),
    ));
    let case = case.env(&[("KEY", KEY), ("CA", "ca")]).file("two.key", format!("{OTHER}\n"));
    let case = case.file("c.pem", "x").file("ca.pem", "x").file("ca.key", hex([0xab; 32]));
    closed(&case, "ca.key", 0o440);
    let api_key = |name: &str, key: &str, servers: Option<&[&str]>| ApiKeySpec {
        name: name.into(),
        hash: sha256(key),
        servers: servers.map(|names| names.iter().map(|name| (*name).into()).collect()),
        tools: Arc::default(),
        capability_url: false,
    };
    let allow = |allow: &str, deny: &[&str]| {
        let deny = deny.iter().map(|pattern| Glob::new(pattern)).collect();
        Arc::new(ToolPolicy { allow: vec![Glob::new(allow)], deny, ..ToolPolicy::default() })
    };
    let dir = case.dir.path();
    let want = GatewaySpec {
        listen: "0.0.0.0:0".parse().unwrap(),
        cors: vec!["https://app.example.com".into(), "http://localhost".into()],
        hosts: vec![HostName { name: "mcp.example.com".into(), port: Some(443) }],
        api_keys: vec![
            ApiKeySpec {
                tools: allow("a__*", &["x"]),
                capability_url: true,
                ..api_key("one", KEY, Some(&["a", "off"]))
            },
            ApiKeySpec { tools: allow("y", &[]), ..api_key("two", OTHER, Some(&["b"])) },
            api_key("three", "three", None),
        ],
        jwt: Vec::new(),
        endpoint_tokens: vec![
            EndpointTokenSpec { name: "token 1".into(), hash: sha256("a+b/c=12") },
            EndpointTokenSpec { name: "desk".into(), hash: sha256(OTHER) },
            EndpointTokenSpec { name: "hall".into(), hash: sha256("hall") },
        ],
        endpoint_servers: vec!["a".into(), "off".into()],
        max_frame: 16 << 20,
        sse: true,
        session_idle: Duration::from_secs(300),
        session_key: Some(SessionKey([0xab; 32])),
        max_sessions: 10,
        max_streams: 2,
        max_held: 3,
        held_timeout: Duration::from_secs(90),
        max_body: 1 << 20,
        header_timeout: Duration::from_secs(3),
        max_connections: 20,
        max_connections_per_address: 4,
        requests_per_second: Some(50),
        tls: Some(GatewayTls {
            cert_file: dir.join("c.pem"),
            key_file: dir.join("c.pem"),
            client_ca_file: Some(dir.join("ca.pem")),
        }),
    };
    let resolved = case.ok(&[]);
    assert_eq!(*resolved.config.gateway.clone().unwrap(), want);
    assert!(resolved.warnings.is_empty(), "{:?}", resolved.warnings);
    for file in ["two.key", "c.pem", "ca.pem", "ca.key"] {
        assert!(resolved.config.inputs.contains(&dir.join(file)), "{file}");
    }
}

fn hex(hash: [u8; 32]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn keys_are_seen_nowhere() {
    let case = keys(&format!(
        r#"[{{"name": "one", "key": "${{KEY}}"}}, {{"name": "two", "keyFile": "k"}}, {{"name": "three", "key": "{KEY}-3"}},
            {{"name": "four", "key": "${{PART}}-and-${{MORE:-nothing}}"}}]"#
    ));
    let case = case.env(&[("KEY", KEY), ("ALSO", OTHER), ("PART", "half-of-a-key-1")]).file("k", OTHER);
    let resolved = case.ok(&[]);
    for key in [KEY, OTHER, &format!("{KEY}-3")] {
        assert!(resolved.secrets.iter().any(|secret| secret.reveal() == key), "the log hides {key}");
    }
    assert!(!format!("{:?}", resolved.config).contains("s3cret"));
    let spec = resolved.config.gateway.unwrap();
    let shown = format!("{spec:?}");
    assert!(shown.contains("\"one\"") && !shown.contains("hash"), "{shown}");
    // Servers get none of them.
    let removed = &resolved.config.servers[0].command().env_remove;
    for name in ["KEY", "ALSO", "PART"] {
        assert!(removed.iter().any(|removed| removed == name), "{name}: {removed:?}");
    }
    let rows = super::validate::shown(&case, &[]);
    assert!(!rows.join("").contains("s3cret"), "{rows:?}");
    // Also where the gateway is not on, and where a key can't be used.
    let local = case.ok(&["--local"]);
    assert!(local.config.gateway.is_none() && local.secrets.iter().any(|secret| secret.reveal() == KEY));
    let told = case.file("k", format!("{KEY} {OTHER}")).mistakes(&[]);
    assert!(told.len() == 1 && !told[0].contains("s3cret"), "{told:?}");
}

#[test]
fn what_is_wrong_with_a_gateway_is_told_with_its_place_and_remedy() {
    for (gateway, want) in [
        ("true", "1:13 gateway: is no object; write {\"listen\": \"127.0.0.1:8765\"}, or leave it out for no gateway"),
        ("\"127.0.0.1:80\"", "1:13 gateway: is no object; write {\"listen\": "),
        ("[]", "1:13 gateway: is no object; "),
        (
            r#"{"listen": "example.com:80"}"#,
            "1:24 gateway.listen: is \"example.com:80\", and no name is looked up to listen on; write an address of this machine: 127.0.0.1:80",
        ),
        (
            r#"{"listen": 8080}"#,
            "gateway.listen: is 8080, and that is a port alone; write \"127.0.0.1:8080\" for this machine alone, or \":8080\" for whoever",
        ),
        (
            r#"{"listen": true}"#,
            "gateway.listen: is true, and that is no address with a port; write it like \"127.0.0.1:",
        ),
        (r#"{"cors": "*"}"#, "gateway.cors: is \"*\", and that would let any page that is open in a browser"),
        (
            r#"{"cors": ["http://h", "https://h/x"]}"#,
            "gateway.cors[1]: is \"https://h/x\", and an origin has no path; write https://h",
        ),
        (r#"{"cors": [1]}"#, "gateway.cors[0]: is a number, not a text"),
        (r#"{"cors": {}}"#, "gateway.cors: is an object, not a text"),
        (r#"{"hosts": ["*"]}"#, "gateway.hosts[0]: is \"*\", and that would switch off the check that keeps foreign"),
        (r#"{"hosts": ["https://h"]}"#, "gateway.hosts[0]: is \"https://h\", and a host is named without a scheme"),
        (r#"{"sse": "maybe"}"#, "gateway.sse: is neither true nor false"),
        (r#"{"sessionIdle": "0s"}"#, "gateway.sessionIdle: is \"0s\", and the shortest time is 1s here"),
        (r#"{"sessionIdle": 30}"#, "gateway.sessionIdle: is 30, and a time needs a unit; write \"30s\""),
        (r#"{"headerTimeout": "10ms"}"#, "gateway.headerTimeout: is \"10ms\", and the shortest time is 1s here"),
        (r#"{"maxSessions": 0}"#, "gateway.maxSessions: is 0, and that is no whole number above 0"),
        (r#"{"maxStreams": -1}"#, "gateway.maxStreams: is -1, and that is no whole number above 0"),
        (r#"{"maxBody": "10"}"#, "gateway.maxBody: is \"10\", and it must lie between 1KiB and 1GiB"),
        (r#"{"maxConnections": "many"}"#, "gateway.maxConnections: is \"many\", and that is no whole number"),
        (r#"{"maxHeld": 0}"#, "gateway.maxHeld: is 0, and that is no whole number above 0"),
        (r#"{"heldTimeout": "0s"}"#, "gateway.heldTimeout: is "),
        (r#"{"maxConnectionsPerAddress": 0}"#, "gateway.maxConnectionsPerAddress: is 0, and"),
        (r#"{"requestsPerSecond": 0}"#, "gateway.requestsPerSecond: is 0, and that is no whole number above 0"),
        (r#"{"requestsPerSecond": 0.5}"#, "gateway.requestsPerSecond: is 0.5, and that is no whole number above 0"),
        (r#"{"tls": true}"#, "gateway.tls: is no object; write {\"certFile\": \"cert.pem\", \"keyFile\": \"key.pem\"}"),
        (r#"{"tls": {}}"#, "gateway.tls: has no certFile; write {\"certFile\""),
        (r#"{"tls": {"keyFile": "k"}}"#, "gateway.tls: has no certFile"),
        (r#"{"tls": {"certFile": "${UNSET}"}}"#, "gateway.tls.certFile: needs UNSET, which nothing sets"),
        (r#"{"tls": {"certFile": ""}}"#, "gateway.tls.certFile: is empty, or names a variable that is"),
        (r#"{"tls": {"cert": "x"}}"#, "gateway.tls.cert: is not a known key; did you mean certFile?"),
        (
            r#"{"tls": {"caFile": "x", "certFile": "c"}}"#,
            "gateway.tls.caFile: is not a known key; did you mean clientCaFile?",
        ),
    ] {
        let told = case(gateway).mistakes(&[]);
        assert!(told.len() == 1 && told[0].contains(want), "{gateway}: {told:#?}");
    }
    let told = with(r#""tls": {"certFile": "c.pem"}"#).warnings(&[]);
    assert_eq!(
        told[0],
        "mcp_config.json:1:34 gateway.tls.certFile: names DIR/c.pem, which is no file now; name a PEM file"
    );
}

#[test]
fn an_empty_list_of_keys_is_told_to_ask_for_none() {
    let told = with(r#""apiKeys": []"#).warnings(&[]);
    let want = "mcp_config.json:1:25 gateway.apiKeys: is empty, so nobody needs a key; add a key, or leave apiKeys out";
    assert_eq!(told, [want]);
    let others = r#""apiKeys": [], "jwt": [{"name": "s", "issuer": "i", "audience": "a", "jwksUrl": "https://h/k"}]"#;
    for unremarkable in [r#""sse": true"#, others] {
        assert_eq!(with(unremarkable).warnings(&[]), Vec::<String>::new());
    }
    // Where others reach it that is a mistake.
    let told = with(r#""apiKeys": [], "listen": ":80""#).mistakes(&[]);
    assert!(told.len() == 1 && told[0].contains("the gateway asks for no key"), "{told:#?}");
}

#[test]
fn what_is_wrong_with_a_key_is_told_with_its_place_and_without_it() {
    let weak = "; write a random one, as this prints: openssl rand -base64 32";
    for (list, want) in [
        (
            r#""s3cret-s3cret-s3cret""#.to_owned(),
            r#"gateway.apiKeys: is no list of keys; write [{"name": "…", "key": "${API_KEY}"}]"#,
        ),
        (r#"{"me": "s3cret-s3cret-s3cret"}"#.to_owned(), "gateway.apiKeys: is no list of keys; write [{"),
        (
            r#"["s3cret-s3cret-s3cret"]"#.to_owned(),
            r#"gateway.apiKeys[0]: is no object; write {"name": "…", "key": "${API_KEY}"}"#,
        ),
        (r#"[{"name": "n"}]"#.to_owned(), "gateway.apiKeys[0]: has neither a key nor a keyFile nor a keySha256"),
        (format!(r#"[{{"key": "{KEY}"}}]"#), "gateway.apiKeys[0]: has no name; add \"name\""),
        (format!(r#"[{{"name": " ", "key": "{KEY}"}}]"#), "gateway.apiKeys[0].name: is no name for a key"),
        (
            format!(r#"[{{"name": "a\u0007", "key": "{KEY}"}}]"#),
            "gateway.apiKeys[0].name: is no name for a key: it is empty, or has a control character",
        ),
        (
            format!(r#"[{{"name": "n", "key": "{KEY}", "keyFile": "k"}}]"#),
            "gateway.apiKeys[0].keyFile: stands beside key, and one of them is all that can count; remove key or keyFile",
        ),
        (
            r#"[{"name": "n", "key": "s3cret"}]"#.to_owned(),
            "gateway.apiKeys[0].key: has less than 16 characters, so that it may be guessed",
        ),
        (
            r#"[{"name": "n", "key": "  "}]"#.to_owned(),
            "gateway.apiKeys[0].key: is empty, or names a variable or a file",
        ),
        (r#"[{"name": "n", "key": "${UNSET}"}]"#.to_owned(), "gateway.apiKeys[0].key: needs UNSET, which nothing sets"),
        (
            r#"[{"name": "n", "key": "$API_KEY_OF_MINE_1"}]"#.to_owned(),
            "gateway.apiKeys[0].key: is a variable that is not replaced where it stands; write ${NAME}, and set NAME",
        ),
        (
            r#"[{"name": "n", "key": "<your-api-key-here>"}]"#.to_owned(),
            "gateway.apiKeys[0].key: still holds the placeholder text of an example",
        ),
        (
            format!(r#"[{{"name": "n", "key": "Bearer {KEY}"}}]"#),
            "gateway.apiKeys[0].key: begins with a scheme, which clients write before it in any case; write the key alone",
        ),
        (
            format!(r#"[{{"name": "n", "key": "{KEY} {KEY}"}}]"#),
            "gateway.apiKeys[0].key: holds a blank or another character that no key has",
        ),
        (format!(r#"[{{"name": "n", "key": "{KEY}é"}}]"#), "gateway.apiKeys[0].key: holds a blank or another"),
        (
            r#"[{"name": "n", "key": 12345678901234567890}]"#.to_owned(),
            "gateway.apiKeys[0].key: is a number, not a text; write it in quotes",
        ),
        (
            r#"[{"name": "n", "keyFile": "gone"}]"#.to_owned(),
            "gateway.apiKeys[0].keyFile: names DIR/gone, which can't be read: No such file or directory",
        ),
        (
            r#"[{"name": "n", "keyFile": "short"}]"#.to_owned(),
            "gateway.apiKeys[0].keyFile: has less than 16 characters",
        ),
        (r#"[{"name": "n", "keyFile": "empty"}]"#.to_owned(), "gateway.apiKeys[0].keyFile: is empty, or names"),
        (
            r#"[{"name": "n", "keyFile": "large"}]"#.to_owned(),
            "gateway.apiKeys[0].keyFile: names DIR/large, which can't be read: it is larger than 16 KiB",
        ),
        (
            r#"[{"name": "n", "keyFile": "latin"}]"#.to_owned(),
            "gateway.apiKeys[0].keyFile: names DIR/latin, which is not UTF-8",
        ),
        (r#"[{"name": "n", "keyFile": "."}]"#.to_owned(), "gateway.apiKeys[0].keyFile: names DIR, which can't be read"),
        (
            r#"[{"name": "n", "keySha256": "s3cret"}]"#.to_owned(),
            "gateway.apiKeys[0].keySha256: is no SHA-256, which has 64 hexadecimal digits; write what this prints: printf",
        ),
        (
            format!(r#"[{{"name": "n", "keySha256": "{}"}}]"#, &hex(sha256(KEY))[1..]),
            "gateway.apiKeys[0].keySha256: is no SHA-256",
        ),
        (
            format!(r#"[{{"name": "n", "keySha256": "{}"}}]"#, hex(sha256(""))),
            "gateway.apiKeys[0].keySha256: is the SHA-256 of nothing",
        ),
        (
            format!(r#"[{{"name": "n", "key": "{KEY}"}}, {{"name": "n ", "key": "{OTHER}"}}]"#),
            "gateway.apiKeys[1].name: is \"n\", as another key is called; give each key its own name",
        ),
        (
            format!(r#"[{{"name": "n", "key": "{KEY}"}}, {{"name": "m", "keySha256": "{}"}}]"#, hex(sha256(KEY))),
            "gateway.apiKeys[1].keySha256: is the key of n, too, so that nobody could tell them apart; write another one",
        ),
        (
            format!(r#"[{{"name": "n", "key": "{KEY}", "servers": ["a", "c"]}}]"#),
            "gateway.apiKeys[0].servers[1]: names c, which is no server; there are: a, b, off",
        ),
        (
            format!(r#"[{{"name": "n", "key": "{KEY}", "servers": "offf"}}]"#),
            "gateway.apiKeys[0].servers: names offf, which is no server; did you mean off?",
        ),
        (
            format!(r#"[{{"name": "n", "key": "{KEY}", "servers": ["*"]}}]"#),
            "gateway.apiKeys[0].servers[0]: names *, which is no server; leave servers out for all",
        ),
        (
            format!(r#"[{{"name": "n", "key": "{KEY}", "servers": []}}]"#),
            "gateway.apiKeys[0].servers: is empty, so the key would be good for nothing; name the servers, or leave it out",
        ),
        (
            format!(r#"[{{"name": "n", "key": "{KEY}", "tools": {{"rename": {{"a": "b"}}}}}}]"#),
            "gateway.apiKeys[0].tools: says more than allow and deny, and the rest is a matter of each server",
        ),
        (
            format!(r#"[{{"name": "n", "key": "{KEY}", "capabilityUrl": "perhaps"}}]"#),
            "gateway.apiKeys[0].capabilityUrl: is neither true nor false",
        ),
        (
            r#"[{"name": "n", "token": "s3cret-s3cret-s3cret"}]"#.to_owned(),
            "gateway.apiKeys[0].token: is not a known key; did you mean key?",
        ),
    ] {
        let case = keys(&list).file("short", "s3cret").file("empty", " \n").file("large", vec![b'x'; 20_000]);
        let told = case.file("latin", b"s3cret-s3cret-s3cret-\xe9").mistakes(&[]);
        assert!(told.len() == 1 && told[0].contains(want), "{list}: {told:#?}");
        assert!(!told[0].contains("s3cret") && !told[0].contains("567890"), "{told:?}");
        if want.contains("less than 16") || want.contains("placeholder") {
            assert!(told[0].ends_with(weak), "{told:?}");
        }
    }
    let told = keys("[{}]").mistakes(&[]);
    assert!(
        told.len() == 2 && told[0].contains("[0]: has neither a key") && told[1].contains("[0]: has no name"),
        "{told:?}"
    );
}

#[test]
fn a_near_miss_of_a_key_is_a_mistake_that_says_what_was_meant() {
    let address = "is not a known key; write host and port as one: \"listen\": \"HOST:PORT\"";
    for (members, want) in [
        (r#""apikeys": []"#, "gateway.apikeys: is not a known key; did you mean apiKeys?"),
        (r#""api_keys": []"#, "gateway.api_keys: is not a known key; did you mean apiKeys?"),
        (r#""apiKey": "s3cret-s3cret-s3cret""#, "gateway.apiKey: is not a known key; did you mean apiKeys?"),
        (r#""tokens": []"#, "gateway.tokens: is not a known key; did you mean apiKeys?"),
        (r#""port": 80"#, address),
        (r#""host": "h""#, address),
        (r#""bind": "h""#, address),
        (r#""lisen": ":80""#, "gateway.lisen: is not a known key; did you mean listen?"),
        (r#""CORS": []"#, "gateway.CORS: is not a known key; did you mean cors?"),
        (r#""allowedOrigins": []"#, "did you mean cors?"),
        (r#""rateLimit": 5"#, "did you mean requestsPerSecond?"),
        (r#""max_sessions": 5"#, "did you mean maxSessions?"),
        (r#""certFile": "c""#, "gateway.certFile: is not a known key; write it in tls: \"tls\": {\"certFile\": …"),
        (r#""servers": ["a"]"#, "gateway.servers: belongs in one of the gateway's apiKeys; move it there"),
        (r#""zzzzzz": 1"#, "gateway.zzzzzz: is not a known key; remove it, or check its spelling"),
    ] {
        let told = with(members).mistakes(&[]);
        assert!(told.len() == 1 && told[0].contains(want) && !told[0].contains("s3cret"), "{members}: {told:?}");
    }
    assert!(with(r#""_port": 80, "description": "mine", "//": "x""#).ok(&[]).warnings.is_empty());
    let at_top = |members: &str| {
        let config = format!(r#"{{{members}, "mcpServers": {{"a": {{"command": "x"}}}}}}"#);
        Case::new(&config).warnings(&[])
    };
    for (members, want) in [
        (r#""gatway": {}"#, "gatway: is not a known key and is ignored; did you mean gateway?"),
        (r#""Gateway": {}"#, "did you mean gateway?"),
        (r#""port": 80"#, "port: is ignored; to offer the servers over HTTP: \"gateway\": {\"listen\": \"HOST:PORT\"}"),
        (r#""host": "h""#, "host: is ignored; to offer the servers over HTTP"),
        (r#""apiKeys": []"#, "apiKeys: belongs in the gateway, at the top of the file, and is ignored; move it there"),
        (r#""listen": ":80""#, "listen: belongs in the gateway, at the top of the file, and is ignored"),
    ] {
        let told = at_top(members);
        assert!(told.len() == 1 && told[0].contains(want), "{members}: {told:?}");
    }
}

#[test]
fn an_address_that_others_reach_needs_a_key() {
    for members in [r#""listen": ":80""#, r#""listen": "0.0.0.0:80", "apiKeys": []"#, r#""listen": "[::]:80""#] {
        let told = with(members).mistakes(&[]);
        let (what, remedy) = told[0].split_once("; ").unwrap();
        assert!(told.len() == 1 && what.starts_with("mcp_config.json:1:24 gateway.listen: is "), "{told:?}");
        assert!(what.ends_with(":80, which other machines may reach, and the gateway asks for no key"), "{told:?}");
        // What it says to write is right.
        let added = remedy.strip_prefix("add ").unwrap().split_once(" to \"gateway\"").unwrap().0;
        let members = members.replace(r#", "apiKeys": []"#, "");
        assert_eq!(spec(&with(&format!("{members}, {added}")), &[]).api_keys.len(), 1, "{remedy}");
        assert!(remedy.ends_with("or listen on 127.0.0.1:80"), "{remedy}");
        let logged = super::super::gateway::without_made_up_key(remedy).unwrap();
        let key = remedy.split("\"key\": \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        assert!(
            !logged.contains(key) && logged.contains("\"key\": \"…\"}] to \"gateway\", with a random key"),
            "{logged}"
        );
    }
    let first = with(r#""listen": ":80""#).mistakes(&[]);
    assert_ne!(first, with(r#""listen": ":80""#).mistakes(&[]), "each time another key");
    for listen in ["127.0.0.1:80", "127.9.9.9:80", "[::1]:80", "[::ffff:127.0.0.1]:80", "localhost:80"] {
        spec(&with(&format!(r#""listen": "{listen}""#)), &[]);
    }
    let tls = r#""listen": ":80", "tls": {"certFile": "c", "clientCaFile": "ca"}"#;
    spec(&with(tls), &[]);
    assert!(with(r#""listen": ":80", "tls": {"certFile": "c"}"#).mistakes(&[])[0].contains("asks for no key"));
    // A mistake in the keys is not told twice.
    let told = with(r#""listen": ":80", "apiKeys": [{"name": "n", "key": "short"}]"#).mistakes(&[]);
    assert!(told.len() == 1 && told[0].contains("less than 16"), "{told:?}");
    let told = with(r#""listen": ":80", "apiKeys": "x""#).mistakes(&[]);
    assert!(told.len() == 1 && told[0].contains("no list of keys"), "{told:?}");
    let plain = Case::new(r#"{"mcpServers": {"a": {"command": "x"}}}"#);
    for (case, place) in [(&case("{}"), "mcp_config.json:1:13 gateway"), (&plain, "gateway")] {
        let told = case.mistakes(&["serve", "--listen", ":80"]);
        let want =
            format!("{place}: is to be at 0.0.0.0:80 by --listen, which other machines may reach, and the gateway");
        assert!(told.len() == 1 && told[0].starts_with(&want), "{told:?}");
        // The config lacks something: the command line is right.
        let failure = Failure::from(case.run(&["serve", "--listen", ":80"]).unwrap_err());
        assert_eq!(failure.exit(), Exit::Config);
    }
    let told = plain.env(&[("MCP_GATEWAY_LISTEN", ":80")]).mistakes(&["serve"]);
    assert!(told[0].starts_with("MCP_GATEWAY_LISTEN (environment): is 0.0.0.0:80, which other"), "{told:?}");
}

#[test]
fn the_option_counts_then_the_variable_then_the_config() {
    let of = |case: &Case, arguments: &[&str]| spec(case, arguments).listen.to_string();
    let plain = with(r#""listen": "127.0.0.1:1""#);
    assert_eq!(of(&plain, &[]), "127.0.0.1:1");
    assert_eq!(of(&plain, &["serve"]), "127.0.0.1:1");
    assert_eq!(of(&plain, &["serve", "--listen", "[::1]:3"]), "[::1]:3");
    let variable = plain.env(&[("MCP_GATEWAY_LISTEN", " 127.0.0.1:2 ")]);
    assert_eq!(of(&variable, &[]), "127.0.0.1:2");
    assert_eq!(of(&variable, &["serve", "--listen", "[::1]:3"]), "[::1]:3");
    let in_file = with(r#""listen": "127.0.0.1:1""#).file(".env", "MCP_GATEWAY_LISTEN=127.0.0.1:4\n");
    assert_eq!(of(&in_file, &[]), "127.0.0.1:4");
    let told = with("").env(&[("MCP_GATEWAY_LISTEN", "h:1")]).mistakes(&[]);
    let want = "MCP_GATEWAY_LISTEN (environment): is \"h:1\", and no name is looked up to listen on";
    assert!(told.len() == 1 && told[0].starts_with(want), "{told:?}");
    let told = with("").file(".env", "MCP_GATEWAY_LISTEN=:1\n").mistakes(&[]);
    assert!(told.len() == 1 && told[0].contains("MCP_GATEWAY_LISTEN (DIR/.env:1)"), "{told:?}");
    // The variable alone makes no gateway.
    let config = r#"{"mcpServers": {"a": {"command": "x"}}}"#;
    assert!(Case::new(config).env(&[("MCP_GATEWAY_LISTEN", "x")]).ok(&[]).config.gateway.is_none());
}

#[test]
fn a_config_with_a_gateway_needs_no_endpoint() {
    let names = |config: &Config| config.servers.iter().map(|server| server.name.to_string()).collect::<Vec<_>>();
    let off = LeftOut { disabled: vec!["off".into()], unshown: Vec::new() };
    for arguments in [&[][..], &["serve"]] {
        let resolved = case("{}").ok(arguments);
        let config = &resolved.config;
        assert_eq!((names(config), &config.left_out), (vec!["a".into(), "b".into()], &off));
        assert!(config.servers.iter().all(|server| server.endpoint.is_none()) && config.endpoints.is_empty());
        assert!(crate::sharing::layout::groups(&config.servers, &config.endpoints).is_empty());
        assert!(resolved.warnings.is_empty(), "{:?}", resolved.warnings);
    }
    // One server, a script, a program.
    let case = case("{}").file("my.py", "");
    for (arguments, want) in
        [(&["b"][..], "b"), (&["off"], "off"), (&["serve", "my.py"], "my"), (&["--", "prog"], "prog")]
    {
        let config = case.ok(arguments).config;
        assert_eq!((names(&config), config.left_out.unshown.len()), (vec![want.into()], 0), "{arguments:?}");
    }
    // Without the key, too, if the command is there for it.
    let plain = Case::new(r#"{"mcpServers": {"a": {"command": "x"}}}"#).no_env();
    assert!(plain.ok(&["serve"]).config.servers[0].endpoint.is_none());
    assert!(plain.run(&[]).is_err());
    // Both hold.
    let both = Case::new(r#"{"gateway": {}, "mcpServers": {"a": {"command": "x"}}}"#).ok(&[]).config;
    assert_eq!(revealed(&both.servers[0]), ENDPOINT.1);
    let named = r#"{"gateway": {}, "endpoints": {"k": {"url": "wss://k/?token=s3cret-01", "servers": ["a"]}},
        "mcpServers": {"a": {"command": "x"}, "b": {"command": "x"}, "c": {"command": "x", "endpoint": "wss://c/?token=s3cret-02"}}}"#;
    let resolved = Case::new(named).no_env().ok(&[]);
    assert_eq!(
        (names(&resolved.config), resolved.config.left_out),
        (vec!["a".into(), "b".into(), "c".into()], LeftOut::default())
    );
    let shown: Vec<_> = resolved.config.endpoints[0].servers.iter().map(|shown| &*shown.name).collect();
    assert_eq!((shown, resolved.config.servers[1].endpoint.is_some()), (vec!["a"], false));
    assert!(resolved.warnings.is_empty(), "{:?}", resolved.warnings);
    // An endpoint that is wrong is told all the same.
    assert!(
        !Case::new(r#"{"gateway": {}, "endpoint": "http://h", "mcpServers": {"a": {"command": "x"}}}"#)
            .no_env()
            .mistakes(&[])
            .is_empty()
    );
}

#[test]
fn where_servers_are_served_on_an_endpoint_of_our_own_there_is_no_gateway() {
    let case = keys(r#"[{"name": "n", "key": "${UNSET}"}, {"name": "m", "keyFile": "gone"}]"#);
    for arguments in [&["--local"][..], &["tools"], &["call", "a", "t"], &["login", "a"]] {
        assert_eq!(case.ok(arguments).config.gateway, None, "{arguments:?}");
    }
}

#[test]
fn a_gateway_is_another_one_if_anything_of_it_is() {
    let one = |members: &str| {
        let case = with(&format!(r#""apiKeys": [{{"name": "n", "key": "{KEY}", "servers": ["a"]}}]{members}"#));
        spec(&case.file("s", hex([1; 32])), &[])
    };
    let old = one("");
    assert_eq!(old, one(""));
    assert_eq!(old, one(r#", "listen": "127.0.0.1:8765", "_note": 1"#));
    for members in [
        r#", "listen": "127.0.0.1:1""#,
        r#", "cors": "https://h""#,
        r#", "hosts": "h""#,
        r#", "sse": true"#,
        r#", "sessionIdle": "1m""#,
        r#", "sessionKeyFile": "s""#,
        r#", "maxBody": "1MiB""#,
        r#", "maxHeld": 1"#,
        r#", "heldTimeout": "1m""#,
        r#", "requestsPerSecond": 1"#,
        r#", "tls": {"certFile": "c"}"#,
    ] {
        assert_ne!(old, one(members), "{members}");
    }
    for key in [
        format!(r#"{{"name": "m", "key": "{KEY}", "servers": ["a"]}}"#),
        format!(r#"{{"name": "n", "key": "{OTHER}", "servers": ["a"]}}"#),
        format!(r#"{{"name": "n", "key": "{KEY}"}}"#),
        format!(r#"{{"name": "n", "key": "{KEY}", "servers": ["a"], "tools": ["t"]}}"#),
        format!(r#"{{"name": "n", "key": "{KEY}", "servers": ["a"], "capabilityUrl": true}}"#),
    ] {
        assert_ne!(old, spec(&keys(&format!("[{key}]")), &[]), "{key}");
    }
    // The same key, written otherwise.
    let hashed = keys(&format!(r#"[{{"name": "n", "keySha256": "{}", "servers": ["a"]}}]"#, hex(sha256(KEY))));
    assert_eq!(old, spec(&hashed, &[]));
}

#[test]
fn a_key_of_sessions_that_can_not_be_used_is_told_with_what_makes_one() {
    let case = |path: &str| with(&format!(r#""sessionKeyFile": {path}"#)).file("short", "abcd").file("empty", "");
    let digits = hex([0xcd; 32]);
    for (path, want) in [
        (r#""gone.key""#, "gateway.sessionKeyFile: names DIR/gone.key, which can't be read: No such file or directory"),
        (r#""gone.key""#, "make one: (umask 077; openssl rand -hex 32 > DIR/gone.key)"),
        (r#""a b""#, "make one: (umask 077; openssl rand -hex 32 > 'DIR/a b')"),
        (r#""no/such/folder""#, "gateway.sessionKeyFile: names DIR/no/such/folder, which can't be"),
        (
            r#""short""#,
            "gateway.sessionKeyFile: names DIR/short, which has no key in it, which is 64 hexadecimal digits",
        ),
        (r#""short""#, "write into it what this prints: openssl rand -hex 32"),
        (r#""empty""#, "which has no key in it"),
        (r#""longer""#, "which has no key in it"),
        (r#""large""#, "which can't be read: it is larger than 1 KiB"),
        (r#"".""#, "gateway.sessionKeyFile: names DIR, which can't be read"),
        (r#""  ""#, "gateway.sessionKeyFile: is empty, or names a variable that is"),
        (r#""${UNSET}""#, "gateway.sessionKeyFile: needs UNSET, which nothing sets"),
        ("true", "gateway.sessionKeyFile: is true or false, not a text"),
    ] {
        let case = case(path).file("longer", format!("{digits}0")).file("large", " ".repeat(1025));
        let told = case.mistakes(&[]).join("\n");
        assert!(told.contains(want), "{path}: {want}\n{told}");
        assert!(!told.contains(&digits) && !told.contains("abcd"), "{told}");
    }
    // Whoever runs no gateway needs none.
    assert_eq!(case(r#""gone""#).ok(&["--local"]).config.gateway, None);
    let foreign = with(r#""sessionSecret": "x""#).mistakes(&[]).join("\n");
    assert!(foreign.contains("sessionKeyFile"), "{foreign}");
    // A group may read it, and not everybody.
    for (mode, want) in [(0o400, 0), (0o440, 0), (0o444, 1), (0o602, 1), (0o660, 0)] {
        let case = case(r#""good""#).file("good", format!("{}\n", digits.to_uppercase()));
        closed(&case, "good", mode);
        let resolved = case.ok(&[]);
        let warnings: Vec<String> = resolved.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(resolved.config.gateway.clone().unwrap().session_key, Some(SessionKey([0xcd; 32])));
        assert_eq!(warnings.len(), want, "{mode:o}: {warnings:?}");
        assert!(
            warnings
                .iter()
                .all(|it| it.contains("which everybody on this machine can read") && it.contains("chmod o-rw "))
        );
        assert!(!format!("{:?}{warnings:?}", resolved.config).contains("cdcd"));
    }
}

/// Gives a file of a case these rights.
fn closed(case: &Case, name: &str, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(case.dir.path().join(name), std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn the_gateway_is_shown_without_its_keys() {
    let case = Case::new(&format!(
        r#"{{"gateway": {{
"listen": "127.0.0.1:0", "hosts": ["h:1", "[::1]"], "maxBody": "1MiB", "sessionKeyFile": "s", "apiKeys": [
{{"name": "one", "key": "{KEY}", "servers": ["a"], "tools": {{"deny": ["x"]}}}}, {{"name": "two", "keyFile": "k", "capabilityUrl": true}}]}},
"mcpServers": {{"a": {{"command": "x"}}}}}}"#
    ));
    let case = case.no_env().file("k", OTHER).file("s", hex([0xee; 32]));
    let rows = super::validate::shown(&case, &[]);
    for want in [
        r#"gateway.listen = "127.0.0.1:0" from file mcp_config.json:2:1:gateway.listen"#,
        r#"gateway.cors = [] from default -:-:-:-"#,
        r#"gateway.hosts = ["h:1","[::1]"] from file mcp_config.json:2:26:gateway.hosts"#,
        r#"gateway.maxBody = "1MiB" from file mcp_config.json:2:53:gateway.maxBody"#,
        r#"gateway.sessionIdle = "1800s" from default -:-:-:-"#,
        r#"gateway.requestsPerSecond = null from default -:-:-:-"#,
        r#"gateway.sessionKeyFile = "s" from file mcp_config.json:2:72:gateway.sessionKeyFile"#,
        r#"gateway.tls = null from default -:-:-:-"#,
        "a.endpoint = null from default -:-:-:-",
    ] {
        assert!(rows.iter().any(|row| row == want), "{want}\n{rows:#?}");
    }
    let keys = rows.iter().find(|row| row.starts_with("gateway.apiKeys = ")).unwrap();
    let value = keys.strip_prefix("gateway.apiKeys = ").unwrap().split_once(" from ").unwrap().0;
    let value: serde_json::Value = serde_json::from_str(value).unwrap();
    let want = json!([
        {"name": "one", "key": "…", "servers": ["a"], "tools": {"deny": ["x"]}, "capabilityUrl": false},
        {"name": "two", "keyFile": "k", "servers": "all", "tools": {}, "capabilityUrl": true},
    ]);
    assert_eq!(value, want);
    assert!(!rows.join("").contains("s3cret") && !rows.join("").contains("eeee"), "{rows:?}");
    for key in keys::GATEWAY {
        assert!(rows.iter().any(|row| row.starts_with(&format!("gateway.{key} = "))), "{key}");
    }
    let variable = super::validate::shown(&case.env(&[("MCP_GATEWAY_LISTEN", "127.0.0.1:9")]), &[]);
    let want = r#"gateway.listen = "127.0.0.1:9" from outside -:-:-:MCP_GATEWAY_LISTEN (environment)"#;
    assert!(variable.iter().any(|row| row == want), "{variable:#?}");
}

#[test]
fn the_schema_and_the_reader_agree_about_the_gateway() {
    let value = super::schema();
    let schema = jsonschema::validator_for(&value).unwrap();
    let hash = hex(sha256(KEY));
    let key = |members: serde_json::Value| json!({"apiKeys": [members]});
    let issuer = |members: serde_json::Value| json!({"jwt": [members]});
    for (gateway, is_taken) in [
        (json!({}), true),
        (json!(null), true),
        (json!(true), false),
        (json!([]), false),
        (json!({"listen": ":0", "apiKeys": [{"name": "n", "key": KEY}], "_note": 1, "description": "x"}), true),
        (json!({"listen": 8080}), false),
        (json!({"cors": "https://h", "hosts": ["h"]}), true),
        (json!({"cors": [1]}), false),
        (json!({"hosts": {}}), false),
        (json!({"sse": "yes", "sessionIdle": "5m", "maxSessions": 5, "maxStreams": "5", "maxBody": "1MiB"}), true),
        (json!({"headerTimeout": "10s", "maxConnections": 5, "maxConnectionsPerAddress": null}), true),
        (json!({"maxHeld": 5, "heldTimeout": "10m"}), true),
        (json!({"sessionKeyFile": null}), true),
        (json!({"sessionKeyFile": 1}), false),
        (json!({"maxHeld": 0}), false),
        (json!({"heldTimeout": 300}), false),
        (json!({"requestsPerSecond": null}), true),
        (json!({"requestsPerSecond": 0}), false),
        (json!({"sessionIdle": 5}), false),
        (json!({"maxBody": true}), false),
        (json!({"apikeys": []}), false),
        (json!({"apiKeys": {}}), false),
        (json!({"apiKeys": ["x"]}), false),
        (json!({"apiKeys": null, "tls": null}), true),
        (key(json!({"name": "n", "keySha256": hash, "servers": "a", "tools": ["t"], "capabilityUrl": true})), true),
        (key(json!({"name": "n", "key": KEY, "keyFile": null, "servers": ["a"], "tools": {"deny": ["t"]}})), true),
        (key(json!({"name": "n", "key": KEY, "keySha256": hash})), false),
        (key(json!({"name": "n"})), false),
        (key(json!({"key": KEY})), false),
        (key(json!({"name": 1, "key": KEY})), false),
        (key(json!({"name": "n", "key": 1})), false),
        (key(json!({"name": "n", "keySha256": "x"})), false),
        (key(json!({"name": "n", "key": KEY, "servers": []})), false),
        (key(json!({"name": "n", "token": KEY})), false),
        (issuer(json!({"name": "n", "issuer": "i", "audience": "a", "jwksUrl": "https://h/keys"})), true),
        (
            issuer(
                json!({"name": "n", "issuer": "i", "audience": ["a"], "jwksUrl": "https://h", "tools": ["t"], "servers": "a"}),
            ),
            true,
        ),
        (issuer(json!({"name": "n", "issuer": "i", "audience": "a", "jwksUrl": "https://h", "jwksFile": null})), true),
        (issuer(json!({"name": "n", "issuer": "i", "audience": "a"})), false),
        (issuer(json!({"name": "n", "issuer": "i", "jwksUrl": "https://h"})), false),
        (issuer(json!({"name": "n", "issuer": "i", "audience": [], "jwksUrl": "https://h"})), false),
        (issuer(json!({"name": "n", "issuer": "i", "audience": null, "jwksUrl": "https://h"})), false),
        (issuer(json!({"name": "n", "audience": "a", "jwksUrl": "https://h"})), false),
        (issuer(json!({"issuer": "i", "audience": "a", "jwksUrl": "https://h"})), false),
        (issuer(json!({"name": "n", "issuer": null, "audience": "a", "jwksUrl": "https://h"})), false),
        (issuer(json!({"name": "n", "issuer": "i", "audience": "a", "jwksUrl": "https://h", "jwksFile": "f"})), false),
        (
            issuer(
                json!({"name": "n", "issuer": "i", "audience": "a", "jwksUrl": "https://h", "algorithms": ["HS256"]}),
            ),
            false,
        ),
        (issuer(json!({"name": "n", "issuer": "i", "audience": "a", "jwksUrl": "https://h", "servers": []})), false),
        (json!({"jwt": {}}), false),
        (json!({"jwt": null}), true),
        (json!({"tls": {"certFile": "c", "keyFile": "k", "clientCaFile": "ca"}}), true),
        (json!({"tls": {"certFile": "c", "keyFile": null}}), true),
        (json!({"tls": {"certFile": "c", "description": "x"}}), true),
        (json!({"tls": {"keyFile": "k"}}), false),
        (json!({"tls": {"certFile": 1}}), false),
        (json!({"tls": {"certFile": "c", "ca": "x"}}), false),
        (json!({"tls": "c"}), false),
    ] {
        let file = json!({"gateway": gateway, "mcpServers": {"a": {"command": "x"}}});
        let read = Case::new(&file.to_string()).run(&[]).is_ok();
        assert_eq!((schema.is_valid(&file), read), (is_taken, is_taken), "{file}");
    }
    for (name, keys) in
        [("gateway", keys::GATEWAY), ("apiKey", keys::API_KEY), ("jwt", keys::JWT), ("gatewayTls", keys::GATEWAY_TLS)]
    {
        let properties = &value["$defs"][name]["properties"];
        for key in keys {
            assert!(properties[key]["description"].as_str().is_some_and(|text| !text.is_empty()), "{name}.{key}");
        }
    }
    assert_eq!(value["$defs"]["jwt"]["properties"]["tools"]["description"], "`allow` and `deny`, as of a key");
    let described = |name: &str| value["$defs"][name]["properties"]["keyFile"]["description"].clone();
    assert_eq!(
        (described("apiKey"), described("gatewayTls")),
        (json!("a file with the key"), json!("the certificate's private key"))
    );
}

#[test]
fn a_server_of_the_gateway_is_not_called_as_a_key_in_the_path_is() {
    let file = |gateway: &str| {
        Case::new(&format!(r#"{{{gateway} "mcpServers": {{"~x": {{"command": "x"}}, "a~": {{"command": "x"}}}}}}"#))
    };
    let told = file(r#""gateway": {},"#).mistakes(&[]);
    let what = "is a name that begins with ~, and in an address of the gateway a key stands behind that (/mcp/~KEY)";
    let want = format!("mcpServers[\"~x\"]: {what}; call it x");
    assert!(told.len() == 1 && told[0].starts_with("mcp_config.json:1:") && told[0].ends_with(&want), "{told:?}");
    assert_eq!(file("").mistakes(&["serve"]).len(), 1);
    // Nobody asks for it in an address.
    file("").ok(&["--local"]);
}
