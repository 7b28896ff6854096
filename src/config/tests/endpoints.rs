//! Named endpoints: which servers each shows, how, and what is wrong with them.

use serde_json::json;

use super::*;

/// Each endpoint besides those that servers have of their own: `name: servers`; one without a name by its host.
fn shows(config: &Config) -> Vec<String> {
    let told = |spec: &EndpointSpec| {
        let servers: Vec<&str> = spec.servers.iter().map(|shown| &*shown.name).collect();
        let host = spec.endpoint.reveal().host().unwrap_or_default().to_owned();
        format!("{}: {}", spec.name.as_deref().unwrap_or(&host), servers.join(" "))
    };
    config.endpoints.iter().map(told).collect()
}

/// The servers that have an endpoint of their own: `name host`.
fn on_their_own(config: &Config) -> Vec<String> {
    let own = |server: &ServerSpec| {
        Some(format!("{} {}", server.name, server.endpoint.as_ref()?.reveal().host().unwrap_or_default()))
    };
    config.servers.iter().filter_map(own).collect()
}

/// A config of `endpoints` and `mcpServers`, as they are written.
fn case(endpoints: &str, servers: &str) -> Case {
    Case::new(&format!("{{\"endpoints\": {{{endpoints}}},\n\"mcpServers\": {{{servers}}}}}"))
}

#[test]
fn a_list_of_endpoints_a_token_that_is_a_name_and_a_relay_that_several_share_are_told() {
    let listed = r#"{"endpoints": [{"url": "wss://h/?token=0123456789"}], "mcpServers": {"a": {"command": "a"}}}"#;
    let alone = Case::new(listed).no_env().mistakes(&[]);
    assert!(alone.len() == 1 && alone[0].contains("endpoints: is a list"), "no second one: {alone:?}");
    let said = Case::new(listed).mistakes(&[]).join("\n");
    assert!(
        said.contains("endpoints: is a list, and each endpoint needs a name; write {\"kitchen\": {\"url\""),
        "{said}"
    );
    let office = r#"{"endpoints": {"office": {"url": "wss://h/?token=office"}, "attic": {"url": "wss://h/?token=0123456789"}},
        "mcpServers": {"a": {"command": "a", "handshake": "relay"}}}"#;
    let told = Case::new(office).warnings(&[]).join("\n");
    assert!(
        told.contains("endpoints.office.url: has a token that is a part of the name office, and so can't be kept"),
        "{told}"
    );
    assert!(told.contains("has a initialized anew by each of the 2 endpoints that show it"), "{told}");
    assert!(!told.contains("attic.url"), "{told}");
    for (modes, what) in [
        (["multiplex", "multiplex"], Some("does nothing for a: in mode multiplex there is")),
        (["multiplex", "per-server"], Some("does nothing for a on some of its endpoints: in mode multiplex")),
        (["per-server", "per-server"], Some("initialized anew by each of the 2")),
    ] {
        let [one, other] = modes;
        let text = format!(
            r#"{{"endpoints": {{"x": {{"url": "wss://h/?token=x12345678", "mode": "{one}"}}, "y": {{"url": "wss://h/?token=y12345678", "mode": "{other}"}}}},
            "mcpServers": {{"a": {{"command": "a", "handshake": "relay"}}}}}}"#
        );
        let told = Case::new(&text).warnings(&[]).join("\n");
        assert!(what.is_none_or(|what| told.contains(what)), "{modes:?}: {told}");
    }
    let alone = r#"{"endpoints": {"x": {"url": "wss://h/?token=x12345678"}}, "mode": "multiplex",
        "mcpServers": {"a": {"command": "a", "handshake": "relay"}}}"#;
    let told = Case::new(alone).warnings(&[]).join("\n");
    assert!(told.contains("does nothing for a: in mode multiplex"), "{told}");
    // All of it is known without a start, and a token that is only short besides.
    let found = Case::new(listed).found(&[]).join("\n");
    assert!(found.contains("Error wrong-type: mcp_config.json:1:15 endpoints: is a list"), "{found}");
    let found = Case::new(&office.replace("0123456789", "lounge")).found(&[]).join("\n");
    for want in [
        "Warning token-weak: mcp_config.json:1:34 endpoints.office.url: has a token that is a part of the name office",
        "Warning token-weak: mcp_config.json:1:77 endpoints.attic.url: has a token of less than 8 characters",
        "Warning no-effect: mcp_config.json:2:59 mcpServers.a.handshake: has a initialized anew",
    ] {
        assert!(found.contains(want), "{want}\n{found}");
    }
}

#[test]
fn what_an_endpoint_shows_is_what_it_names_and_what_names_it() {
    let kitchen = |servers: &str| format!(r#""kitchen": {{"url": "wss://k/?token=1"{servers}}}"#);
    let both = |servers: &str| format!(r#"{}, "office": {{"url": "wss://o/?token=1"}}"#, kitchen(servers));
    let entry = |name: &str, members: &str| format!(r#""{name}": {{"command": "x"{members}}}"#);
    let plain = [entry("a", ""), entry("b", "")].join(", ");
    let at = |endpoint: &str| format!("{}, {}", entry("a", &format!(r#", "endpoint": {endpoint}"#)), entry("b", ""));
    for (endpoints, servers, shown, own) in [
        // Without `servers`: all that name none of their own.
        (both(""), plain.clone(), vec!["kitchen: a b", "office: a b"], vec![]),
        (both(""), at(r#""wss://w/?token=1""#), vec!["kitchen: b", "office: b"], vec!["a w"]),
        (both(""), at(r#""office""#), vec!["kitchen: b", "office: a b"], vec![]),
        // Names, patterns, one as a text; what nobody takes is on the common endpoint.
        (kitchen(r#", "servers": ["a"]"#), plain.clone(), vec!["kitchen: a"], vec!["b h.example"]),
        (kitchen(r#", "servers": "a""#), plain.clone(), vec!["kitchen: a"], vec!["b h.example"]),
        (kitchen(r#", "servers": ["?"]"#), plain.clone(), vec!["kitchen: a b"], vec![]),
        (kitchen(r#", "servers": ["b", "a", "*"]"#), plain.clone(), vec!["kitchen: a b"], vec![]),
        // Both add up.
        (kitchen(r#", "servers": ["b"]"#), at(r#""kitchen""#), vec!["kitchen: a b"], vec![]),
        (kitchen(r#", "servers": ["a"]"#), at(r#""wss://w/?token=1""#), vec!["kitchen: a"], vec!["a w", "b h.example"]),
        (both(r#", "servers": ["a"]"#), at(r#""kitchen""#), vec!["kitchen: a", "office: b"], vec![]),
        (both(r#", "servers": []"#), at(r#"["kitchen", "office"]"#), vec!["kitchen: a", "office: a b"], vec![]),
        (
            both(""),
            at(r#"["office", "wss://w/?token=1", "wss://v/?token=1"]"#),
            vec!["kitchen: b", "office: a b", "v: a"],
            vec!["a w"],
        ),
        // The address of a named one is that one.
        (both(""), at(r#""wss://k/?token=1""#), vec!["kitchen: a b", "office: b"], vec![]),
        // The address alone, and another word for it.
        (r#""kitchen": "wss://k/?token=1""#.into(), plain.clone(), vec!["kitchen: a b"], vec![]),
        (r#""kitchen": {"endpoint": "wss://k/?token=1"}"#.into(), plain.clone(), vec!["kitchen: a b"], vec![]),
        // What is switched off is shown nowhere.
        (
            both(""),
            [entry("a", r#", "disabled": true"#), entry("b", "")].join(", "),
            vec!["kitchen: b", "office: b"],
            vec![],
        ),
    ] {
        let config = case(&endpoints, &servers).ok(&[]).config;
        assert_eq!((shows(&config), on_their_own(&config)), (words(&shown), words(&own)), "{endpoints} {servers}");
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn several_addresses_are_shared_by_the_servers_that_name_them_whatever_their_order() {
    let entry = |name: &str, endpoint: &str| format!(r#""{name}": {{"command": "x", "endpoint": {endpoint}}}"#);
    let all = |endpoints: &[&str]| {
        let entries: Vec<String> =
            ["a", "b", "c"].iter().zip(endpoints).map(|(name, endpoint)| entry(name, endpoint)).collect();
        let case = Case::new(&format!(r#"{{"mcpServers": {{{}}}}}"#, entries.join(", ")));
        let resolved = case.ok(&[]);
        assert!(resolved.warnings.is_empty(), "{:?}", case.lines(&resolved.warnings));
        let groups = crate::sharing::layout::groups(&resolved.config.servers, &resolved.config.endpoints);
        let told = groups.iter().map(|group| {
            let host = group.servers[0].1.reveal().host().unwrap_or_default().to_owned();
            format!("{host}: {}", group.servers.iter().map(|(spec, _)| &*spec.name).collect::<Vec<_>>().join(" "))
        });
        let mut told: Vec<String> = told.collect();
        told.sort();
        told
    };
    let (x, y, both) = (r#""wss://x/?t=1""#, r#""wss://y/?t=1""#, r#"["wss://x/?t=1", "wss://y/?t=1"]"#);
    assert_eq!(all(&[both, both]), ["x: a b", "y: a b"]);
    assert_eq!(all(&[both, y]), ["x: a", "y: b a"]);
    assert_eq!(all(&[y, both]), ["x: b", "y: a b"]);
    assert_eq!(all(&[both, r#"["wss://y/?t=1", "wss://x/?t=1"]"#, x]), ["x: a c b", "y: b a"]);
}

#[test]
fn the_common_endpoint_is_needed_only_for_what_no_endpoint_takes() {
    let (a, both) = (r#""a": {"command": "x"}"#, r#""a": {"command": "x"}, "b": {"command": "x"}"#);
    let named = r#""kitchen": {"url": "wss://k/?token=1", "servers": ["a"]}"#;
    // Not needed, and so not looked at: it may even be wrong.
    for case in [case(named, a).no_env(), case(named, a).no_env().env(&[("MCP_ENDPOINT", "https://h/")])] {
        let resolved = case.ok(&[]);
        assert_eq!(shows(&resolved.config), ["kitchen: a"]);
        assert!(on_their_own(&resolved.config).is_empty() && resolved.warnings.is_empty());
    }
    let case = case(named, both);
    assert_eq!(on_their_own(&case.ok(&[]).config), ["b h.example"]);
    let case = case.no_env();
    let resolved = case.ok(&[]);
    assert_eq!(
        case.lines(&resolved.warnings),
        [
            "mcp_config.json:2:39 mcpServers.b: is shown by no endpoint, so it is not started; name it in the \"servers\" of \
          one, or set MCP_ENDPOINT for the rest"
        ]
    );
    assert_eq!(resolved.config.servers.iter().map(|server| &*server.name).collect::<Vec<_>>(), ["a"]);
    assert_eq!(resolved.config.left_out.unshown, ["b"]);
}

#[test]
fn what_is_wrong_with_endpoints_is_told_with_place_and_remedy() {
    let a = r#""a": {"command": "x"}"#;
    let k = r#""kitchen": {"url": "wss://k/?token=1"}"#;
    for (endpoints, servers, want) in [
        (
            k,
            r#""a": {"command": "x", "endpoint": "kitchn"}"#,
            "2:50 mcpServers.a.endpoint: names kitchn, which is none of endpoints; did you mean kitchen?",
        ),
        (
            k,
            r#""a": {"command": "x", "endpoint": ["kitchen", "garage"]}"#,
            "mcpServers.a.endpoint[1]: names garage, which is none of endpoints; there are: kitchen",
        ),
        (
            r#""a": {"url": "wss://k/?token=1"}"#,
            a,
            "1:16 endpoints.a: is the name of a server too, and commands could mean either; call one of them otherwise",
        ),
        (
            r#""k": "wss://h/?token=1", "o": "wss://h/?token=1""#,
            a,
            "endpoints.o: is for the same agent as k; write one endpoint for both, or copy the address of the other agent",
        ),
        (r#""k": {}"#, a, "1:16 endpoints.k: has no url; add \"url\": the endpoint's address, token included"),
        (
            r#""k": {"url": ""}"#,
            a,
            "endpoints.k.url: is empty, or names a variable that is; write the endpoint's whole",
        ),
        (r#""k": {"url": "${EMPTY}"}"#, a, "endpoints.k.url: is empty, or names a variable that is"),
        (r#""k": {"url": "${NOT_SET}"}"#, a, "endpoints.k.url: needs NOT_SET, which nothing sets; set it in"),
        (r#""k": {"url": "https://h/"}"#, a, "endpoints.k.url: has the scheme \"https\""),
        (
            r#""k": {"url": "wss://k/?t=1", "servers": "a", "tools": {"rename": {"x": "y"}}}"#,
            a,
            "endpoints.k.tools: says more than allow and deny",
        ),
        (r#""wss://k/?t=1": {"url": "wss://k/?t=1"}"#, a, "is no name for an endpoint; use letters, digits, - and _"),
        (
            r#""k": {"url": "wss://k/?t=1", "turn": "1s"}"#,
            a,
            "endpoints.k.turn: is \"1s\", and the shortest turn is 10s",
        ),
        (
            r#""k": {"url": "wss://k/?t=1", "mode": "sequential"}"#,
            r#""a": {"command": "x", "pin": true}, "b": {"command": "x", "pin": true}"#,
            "mcpServers.b.pin: pins b, but a has the same endpoint and is pinned too",
        ),
        // The common endpoint is one of the named ones.
        (
            r#""k": {"url": "${MCP_ENDPOINT}", "servers": "a"}"#,
            r#""a": {"command": "x"}, "b": {"command": "x"}"#,
            "mcpServers.b: is for the same agent as k, which does not show it; add it to the \"servers\" of k",
        ),
    ] {
        let case = case(endpoints, servers).env(&[("EMPTY", "")]);
        let told = case.mistakes(&[]);
        assert!(told.iter().any(|told| told.contains(want)), "{endpoints} {servers}\n{told:#?}");
        if !want.contains("endpoints.k.tools")
            && !want.contains("no name")
            && !want.contains("turn:")
            && !want.contains("no url")
        {
            assert_eq!(
                case.run(&["--local"]).map(|_| ()).map_err(|problems| problems.to_string()),
                Ok(()),
                "{endpoints}"
            );
        }
    }
    let one_agent_twice = r#"{"mcpServers": {"a": {"command": "x", "endpoint": ["wss://w/?t=1", "wss://v/?t=1"], "mode": "multiplex"},
"b": {"command": "x", "endpoint": "wss://v/?t=1", "mode": "sequential"}}}"#;
    let told = Case::new(one_agent_twice).mistakes(&[]);
    assert!(told.iter().any(|told| told.contains("is multiplex for a, but sequential for b")), "{told:?}");
}

#[test]
fn what_is_odd_is_a_warning() {
    let (a, both) = (r#""a": {"command": "x"}"#, r#""a": {"command": "x"}, "b": {"command": "x", "disabled": true}"#);
    for (endpoints, servers, want) in [
        (
            r#""k": {"url": "wss://k/?t=1", "servers": ["a", "home*"]}"#,
            a,
            "endpoints.k.servers[1]: fits no server; correct or remove it",
        ),
        (
            r#""k": {"url": "wss://k/?t=1", "servers": ["a", "b"]}"#,
            both,
            "names a server that does not run; enable it, or remove it here",
        ),
        (
            r#""k": {"url": "wss://k/?t=1", "servers": ["a"]}, "o": {"url": "wss://o/?t=1", "servers": []}"#,
            a,
            "endpoints.o: shows no server, and so is not dialled; name its servers in \"servers\", or remove it",
        ),
        (
            r#""k": {"url": "wss://k/?t=1", "srvers": ["a"]}"#,
            a,
            "endpoints.k.srvers: is not a known key and is ignored; did you mean servers?",
        ),
        (
            r#""k": {"url": "wss://k/?t=1", "servers": ["a"], "tools": {"deny": ["x", "b__x"]}}, "o": {"url": "wss://o/?t=1", "servers": ["b"]}"#,
            r#""a": {"command": "x"}, "b": {"command": "x"}"#,
            "endpoints.k.tools.deny[1]: names b, which this endpoint does not show; show b here, or remove this",
        ),
        (
            r#""k": {"url": "wss://k/?t=1", "tools": ["lmap__*", "a__b", "*__x", "other__x"]}"#,
            r#""lamp": {"command": "x"}, "a": {"command": "x"}"#,
            "endpoints.k.tools[0]: fits no server of this endpoint; did you mean lamp__…?",
        ),
        (r#""k": {"url": "wss://k/?t=1", "startTimeout": "5s"}"#, a, "endpoints.k.startTimeout"),
        (r#""k": {"url": "wss://api.xiaozhi.me/mcp/"}"#, a, "has no token, and nobody is let in there without one"),
    ] {
        let told = case(endpoints, servers).warnings(&[]);
        assert!(told.len() == 1 && told[0].contains(want), "{endpoints}\n{told:#?}");
    }
    // Which names a tool may have is said by who shows it.
    let renamed = r#""a": {"command": "x", "tools": {"rename": {"w": "天气"}}}"#;
    let unicode = r#""k": {"url": "wss://k/?t=1", "names": "unicode"}"#;
    assert!(case(unicode, renamed).warnings(&[]).is_empty());
    let both = format!(r#"{unicode}, "o": "wss://o/?t=1""#);
    assert!(case(&both, renamed).mistakes(&[])[0].contains("mcpServers.a.tools.rename.w"));
    // What an entry says of sharing is for its own addresses.
    let told = case(r#""k": "wss://k/?t=1""#, r#""a": {"command": "x", "mode": "multiplex"}"#).warnings(&[]);
    assert!(
        told.len() == 1 && told[0].contains("mcpServers.a.mode: does nothing: it is a matter of the named endpoint"),
        "{told:?}"
    );
    // What a sequential endpoint makes use of is of use.
    let told = case(
        r#""k": {"url": "wss://k/?t=1", "mode": "sequential"}"#,
        r#""a": {"command": "x", "pin": true}, "b": {"command": "x"}"#,
    );
    assert!(told.warnings(&[]).is_empty(), "{:?}", told.warnings(&[]));
}

#[test]
fn how_an_endpoint_shares_is_its_own_and_what_else_counts_is_the_entrys_before_it() {
    let case = Case::new(
        r#"{"mode": "per-server", "naming": "prefix", "pingInterval": "1m", "pingTimeout": "1m", "connectTimeout": "1m", "slim": true,
"endpointHeaders": {"X-Top": "1"},
"endpoints": {
  "k": {"url": "wss://k/?t=1", "mode": "multiplex", "turn": "20s", "resync": false, "pingInterval": "2m", "pingTimeout": "2m",
        "maxBackoff": "2m", "slim": false, "endpointHeaders": {"X-K": "1"}, "tools": {"deny": ["b__*"]}},
  "o": {"url": "wss://o/?t=1", "naming": "auto"}},
"mcpServers": {"a": {"command": "x", "pingInterval": "3m", "maxBackoff": "3m", "slim": true}, "b": {"command": "x"}}}"#,
    );
    let config = case.ok(&["--mode", "sequential", "--max-backoff", "4m", "--local"]).config;
    assert!(config.endpoints.is_empty(), "there are none on an endpoint of our own");
    let config = case.ok(&["--mode", "auto", "--max-backoff", "4m"]).config;
    let [k, o] = config.endpoints.as_slice() else { panic!("{config:?}") };
    let (mode, naming) = (Mode::Multiplex, Naming::Prefix);
    let names = Names::default();
    let of_k = Sharing { mode, naming, names, turn: Duration::from_secs(20), resync: false };
    assert_eq!(k.sharing, of_k);
    assert_eq!(o.sharing, Sharing { mode: Mode::Auto, naming: Naming::Auto, ..Sharing::default() });
    let minutes = |link: &LinkSpec| {
        [link.ping_interval, link.ping_timeout, link.connect_timeout, link.max_backoff].map(|time| time.as_secs() / 60)
    };
    assert_eq!((minutes(&k.link), minutes(&o.link)), ([2, 2, 1, 2], [1, 1, 1, 4]));
    let shown = |spec: &EndpointSpec| -> Vec<_> {
        spec.servers.iter().map(|shown| (minutes(&shown.link), shown.tools.slim, shown.tools.gate.is_some())).collect()
    };
    assert_eq!(shown(k), [([3, 2, 1, 3], true, true), ([2, 2, 1, 2], false, true)]);
    assert_eq!(shown(o), [([3, 1, 1, 3], true, false), ([1, 1, 1, 4], true, false)]);
    let headers = |link: &LinkSpec| link.headers.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>();
    assert_eq!((headers(&k.link), headers(&k.servers[0].link)), (vec!["x-k".to_owned()], vec!["x-k".to_owned()]));
    assert!(headers(&o.link).is_empty(), "those of the top are for the common endpoint");
}

#[test]
fn an_endpoints_address_is_shown_nowhere_and_kept_from_servers() {
    let config = r#"{"endpoints": {
"k": {"url": "wss://k/?token=writt3n-s3cret", "endpointHeaders": {"Authorization": "Bearer h3ader-s3cret"}},
"o": {"url": "${OFFICE}"}},
"mcpServers": {"a": {"command": "x", "env": {"SAME": "wss://k/?token=writt3n-s3cret", "PLAIN": "1"}}}}"#;
    let office = ("OFFICE", "wss://o/?token=0ffice-s3cret");
    let case = Case::new(config).no_env().env(&[office, ("COPY", "0ffice-s3cret"), ("HEADER", "h3ader-s3cret")]);
    let resolved = case.ok(&[]);
    let command = &resolved.config.servers[0].command();
    let kept: Vec<&str> = command.env_remove.iter().map(|name| name.to_str().unwrap()).collect();
    for name in ["OFFICE", "COPY", "HEADER"] {
        assert!(kept.contains(&name), "{name}: {kept:?}");
    }
    assert_eq!(own_env(&resolved.config.servers[0]), [("PLAIN", "1")]);
    let redactor: Redactor = resolved.secrets.iter().cloned().collect();
    let said = redactor.clean("writt3n-s3cret 0ffice-s3cret h3ader-s3cret").to_string();
    let told = format!("{said} {:?} {:?} {:?}", resolved.config, case.lines(&resolved.warnings), resolved.notes);
    let all = format!("{told} {:?}", super::validate::shown(&case, &[]));
    assert!(!all.contains("s3cret"), "{all}");
}

#[test]
fn validate_show_and_schema_know_named_endpoints() {
    let config = r#"{"endpoints": {
"k": {"url": "wss://k/?token=s3cret-01", "mode": "multiplex", "tools": {"deny": ["x*"]}, "pingInterval": "5s"},
"o": "wss://o/?token=s3cret-01"},
"mcpServers": {"a": {"command": "x"}, "b": {"command": "x", "endpoint": ["k", "wss://w/?token=s3cret-01"]}}}"#;
    let case = Case::new(config);
    let shown = super::validate::shown(&case, &[]);
    for want in [
        r#"endpoints.k.url = "wss://k/?token=…" from file mcp_config.json:2:7:endpoints.k.url"#,
        r#"endpoints.k.servers = ["a","b"] from default -:-:-:-"#,
        r#"endpoints.k.mode = "multiplex" from file mcp_config.json:2:42:endpoints.k.mode"#,
        r#"endpoints.k.naming = "auto" from default -:-:-:-"#,
        r#"endpoints.k.tools = {"deny":["x*"]} from file mcp_config.json:2:63:endpoints.k.tools"#,
        r#"endpoints.k.pingInterval = "5s" from file mcp_config.json:2:90:endpoints.k.pingInterval"#,
        r#"endpoints.o.url = "wss://o/?token=…" from file mcp_config.json:3:6:endpoints.o"#,
        r#"a.endpoint = ["k","o"] from default -:-:-:-"#,
        r#"b.endpoint = ["wss://w/?token=…","k"] from file mcp_config.json:4:61:mcpServers.b.endpoint"#,
    ] {
        assert!(shown.iter().any(|row| row == want), "{want}\n{shown:#?}");
    }
    let option = super::validate::shown(&case, &["--mode", "sequential", "--local"]);
    assert!(option.iter().any(|row| row.starts_with(r#"a.endpoint = "one on loopback""#)), "{option:#?}");

    let schema = jsonschema::validator_for(&super::schema()).unwrap();
    let with = |endpoints: serde_json::Value| json!({"endpoints": endpoints, "mcpServers": {"a": {"command": "x"}}});
    for (endpoints, is_taken) in [
        (json!({"k": "wss://k/?t=1"}), true),
        (json!({"k": {"url": "wss://k/?t=1", "servers": "a"}}), true),
        (
            json!({"k": {"url": "wss://k/?t=1", "servers": ["a"], "mode": "multiplex", "naming": "prefix", "turn": "1m",
            "resync": true, "tools": {"allow": ["x"]}, "slim": true, "endpointHeaders": {"X": "1"}, "pingInterval": "5s"}}),
            true,
        ),
        (json!({"k": {"url": "wss://k/?t=1", "mode": "fast"}}), false),
        (json!({"k": {"url": 1}}), false),
        (json!([]), false),
    ] {
        let file = with(endpoints);
        let read = Case::new(&file.to_string()).run(&[]).is_ok();
        assert_eq!((schema.is_valid(&file), read), (is_taken, is_taken), "{file}");
    }
    // Tokens, agents and names are looked at ahead as everywhere else.
    let found = case.found(&[]);
    assert!(found.iter().all(|found| found.starts_with("Warning program-missing")), "{found:#?}");
}
