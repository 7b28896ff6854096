//! How remote servers are told who asks.

use super::*;

fn remote(case: &Case) -> Arc<RemoteSpec> {
    match &case.ok(&[]).config.servers[0].reach {
        Reach::Remote(remote) => remote.clone(),
        Reach::Comer(_) => panic!("a comer is in no config"),
        Reach::Command(_) => panic!("a remote server"),
    }
}

fn with(members: &str) -> Case {
    Case::new(&format!(r#"{{"mcpServers": {{"a": {{"url": "https://h/mcp", {members}}}}}}}"#))
}

fn auth(auth: &str) -> Case {
    with(&format!(r#""auth": {auth}"#)).env(&[
        ("TOKEN", "t0ken-s3cret"),
        ("HOME", "/home/me"),
        ("PATH", "/bin:/usr/bin"),
    ])
}

#[test]
fn every_way_to_say_who_asks_arrives() {
    let of = |text: &str| remote(&auth(text)).auth.clone();
    assert_eq!(of(r#"{"bearer": " ${TOKEN} "}"#), AuthSpec::Bearer(Secret::new("t0ken-s3cret")));
    let case = auth(r#"{"bearerFile": "token"}"#).file("token", "x").file("key.pem", "x");
    assert_eq!(remote(&case).auth, AuthSpec::BearerFile(case.dir.path().join("token")));
    let AuthSpec::BearerCommand(command) = of(r#"{"bearerCommand": ["sh", "-c", "echo $X"]}"#) else { panic!() };
    assert_eq!(
        (command.program.as_str(), command.args.as_slice()),
        ("sh", &["-c".to_owned(), "echo $X".to_owned()][..])
    );
    let of_client = |text: &str| {
        let AuthSpec::ClientCredentials(client) = of(&format!(r#"{{"clientCredentials": {text}}}"#)) else { panic!() };
        *client
    };
    let client =
        of_client(r#"{"clientId": "me", "clientSecret": "${TOKEN}", "scope": ["a b", "c"], "issuer": "https://as/x"}"#);
    assert_eq!(client.proof, ClientProof::Secret(Secret::new("t0ken-s3cret")));
    assert_eq!(
        (client.client_id.as_str(), client.scope.as_deref(), client.issuer.as_deref()),
        ("me", Some("a b c"), Some("https://as/x"))
    );
    let case = auth(r#"{"clientCredentials": {"clientId": "me", "privateKeyFile": "key.pem", "keyId": "1"}}"#)
        .file("key.pem", "x");
    let AuthSpec::ClientCredentials(client) = remote(&case).auth.clone() else { panic!() };
    assert_eq!(client.proof, ClientProof::Key { file: case.dir.path().join("key.pem"), key_id: Some("1".into()) });
    let AuthSpec::Login(login) = of(r#"{"login": {"clientId": "me", "scope": "a", "redirectPort": 8976}}"#) else {
        panic!()
    };
    assert_eq!(
        (login.client_id.as_deref(), login.scope.as_deref(), login.redirect_port),
        (Some("me"), Some("a"), Some(8976))
    );
    // A login may be there wherever nothing else says who asks.
    assert_eq!(of(r#"{"login": {}}"#), of("null"));
    assert_eq!(of("null"), remote(&with(r#""timeout": "1s""#).env(&[("HOME", "/home/me")])).auth);
    for members in [r#""headers": {"authorization": "x"}"#, r#""url": "https://me:pw@h/""#] {
        assert_eq!(remote(&with(members)).auth, AuthSpec::Headers, "{members}");
    }
}

#[test]
fn what_is_wrong_with_an_auth_is_told_with_its_key_and_remedy_and_without_its_secrets() {
    for (text, want) in [
        (r#""Bearer s3cret""#, r#"a.auth: is a text, not an object; write {"bearer": "${TOKEN}"}"#),
        (r#""oauth""#, r#"a.auth: is a text, not an object; write {"login": {}}, and run mcp-pipe login"#),
        ("true", "a.auth: is true or false, not an object"),
        ("{}", "a.auth: does not say how the server is told who asks; write one of bearer, bearerFile, bearerCommand"),
        (r#"{"bearer": null}"#, "a.auth: does not say how"),
        (
            r#"{"bearer": "s3cret", "login": {}}"#,
            "a.auth.login: stands beside bearer, and one of them is all that can count; remove bearer or login",
        ),
        (r#"{"token": "s3cret"}"#, "a.auth.token: is not a known key; did you mean bearer?"),
        (r#"{"bearerfile": "x"}"#, "a.auth.bearerfile: is not a known key; did you mean bearerFile?"),
        (r#"{"oauth": {}}"#, "a.auth.oauth: is not a known key; did you mean login?"),
        (
            r#"{"clientId": "x"}"#,
            "a.auth.clientId: is not a known key; write it in clientCredentials, or in login if a person logs in",
        ),
        (r#"{"keyId": "x"}"#, "a.auth.keyId: is not a known key; write it in clientCredentials"),
        (r#"{"zzz": "x"}"#, "a.auth.zzz: is not a known key; known are bearer, "),
        (
            r#"{"bearer": "Bearer s3cret"}"#,
            "a.auth.bearer: begins with a scheme, which is written before it in any case; write the token alone",
        ),
        (r#"{"bearer": "s3cret s3cret"}"#, "a.auth.bearer: holds a blank or another character that no token has"),
        (r#"{"bearer": "s3cré t"}"#, "a.auth.bearer: holds a blank"),
        (r#"{"bearer": "  "}"#, "a.auth.bearer: is empty, or names a variable that is"),
        (r#"{"bearer": "${UNSET}"}"#, "a.auth.bearer: needs UNSET, which nothing sets"),
        (r#"{"bearer": 5}"#, "a.auth.bearer: is a number, not a text"),
        (r#"{"bearerFile": ""}"#, "a.auth.bearerFile: is empty"),
        (
            r#"{"bearerCommand": "echo s3cret"}"#,
            r#"a.auth.bearerCommand: is a text, not a list of texts, and no shell takes it apart"#,
        ),
        (r#"{"bearerCommand": []}"#, "a.auth.bearerCommand: names no program"),
        (r#"{"bearerCommand": [" "]}"#, "a.auth.bearerCommand: names no program"),
        (
            r#"{"bearerCommand": ["echo", "${TOKEN}"]}"#,
            "a.auth.bearerCommand[1]: holds a variable, which is not replaced: everybody here sees",
        ),
        (r#"{"clientCredentials": {"clientSecret": "s3cret"}}"#, "a.auth.clientCredentials: has no clientId"),
        (
            r#"{"clientCredentials": {"clientId": "me"}}"#,
            "a.auth.clientCredentials: has neither a clientSecret nor a privateKeyFile",
        ),
        (
            r#"{"clientCredentials": {"clientId": "me", "clientSecret": "s3cret", "privateKeyFile": "k"}}"#,
            "privateKeyFile: stands beside clientSecret",
        ),
        (
            r#"{"clientCredentials": {"clientId": "me", "clientSecret": "s3cret", "keyId": "k"}}"#,
            "keyId: names a key, and the client has a secret",
        ),
        (
            r#"{"clientCredentials": {"clientId": "me", "clientSecret": "s3cret", "issuer": "http://as"}}"#,
            "issuer: is no address of an authorization server: https://",
        ),
        (
            r#"{"clientCredentials": {"clientId": "me", "client_secret": "s3cret"}}"#,
            "client_secret: is not a known key; did you mean clientSecret?",
        ),
        (r#"{"clientCredentials": "me:s3cret"}"#, "a.auth.clientCredentials: is no object"),
        (r#"{"login": true}"#, "a.auth.login: is no object; write {}"),
        (
            r#"{"login": {"clientSecret": "s3cret"}}"#,
            "clientSecret: is the secret of a client, and there is no clientId beside it",
        ),
        (r#"{"login": {"redirectPort": 0}}"#, "redirectPort: is 0, and a port is a whole number from 1 to 65535"),
        (r#"{"login": {"privateKeyFile": "x"}}"#, "privateKeyFile: is not a known key"),
    ] {
        let told = auth(text).mistakes(&[]);
        assert!(told.len() == 1 && told[0].contains(want) && !told[0].contains("s3cr"), "{text}: {told:?}");
    }
    for (members, want) in [
        (
            r#""auth": {"bearer": "s3cret-s3cret"}, "headers": {"AUTHORIZATION": "x"}"#,
            "a.headers.AUTHORIZATION: says who asks, and so does auth beside headers; remove the header, or auth",
        ),
        (
            r#""auth": {"login": {}}, "url": "https://me:s3cret@h""#,
            "a.url: has a user name, which says who asks, and so does auth beside it",
        ),
    ] {
        let told = with(members).mistakes(&[]);
        assert!(told.iter().any(|told| told.contains(want) && !told.contains("s3cret")), "{told:?}");
    }
}

#[test]
fn what_other_programs_say_of_it_is_honoured_or_told_with_what_to_write() {
    let case =
        with(r#""env_http_headers": {"X-Key": "TOKEN"}, "headers": {"X-Own": "1"}"#).env(&[("TOKEN", "t0ken-s3cret")]);
    let headers = remote(&case).headers.clone();
    assert_eq!(
        headers.iter().map(|(name, value)| (name.as_str(), value.reveal())).collect::<Vec<_>>(),
        [("x-key", "t0ken-s3cret"), ("x-own", "1")]
    );
    for (members, want) in [
        (
            r#""bearer_token_env_var": "GH_TOKEN""#,
            r#"a.bearer_token_env_var: is another program's and does nothing here; write "auth": {"bearer": "${GH_TOKEN}"}"#,
        ),
        (r#""bearer_token_env_var": "s3cret s3cret""#, r#"write "auth": {"bearer": "${TOKEN}"}, and set TOKEN"#),
        (
            r#""oauth": {"clientId": "x"}"#,
            r#"a.oauth: is another program's and does nothing here; write "auth": {"login": {}}, and run mcp-pipe login"#,
        ),
        (
            r#""authProviderType": "google_credentials""#,
            r#"write "auth": {"bearerCommand": ["gcloud", "auth", "print-access-token"]}"#,
        ),
        (r#""authProviderType": "dynamic_discovery""#, r#"write "auth": {"login": {}}"#),
        (r#""bearerToken": "s3cret""#, r#"write "auth": {"bearer": "${TOKEN}"}"#),
        (r#""headersHelper": "/opt/x.sh""#, r#"write "auth": {"bearerCommand": ["…"]}"#),
    ] {
        let told = with(members).warnings(&[]);
        assert!(told.len() == 1 && told[0].contains(want) && !told[0].contains("s3cret"), "{members}: {told:?}");
    }
    let told = Case::server(r#""auth": {"bearer": "x"}"#).warnings(&[]);
    assert!(told.len() == 1 && told[0].contains("a.auth: does nothing beside command"), "{told:?}");
}

#[test]
fn a_token_is_kept_from_the_log_and_from_children() {
    let config = r#"{"mcpServers": {"a": {"url": "https://h", "auth": {"bearer": "${A}"}}, "b": {"command": "x"},
        "c": {"url": "https://i", "auth": {"clientCredentials": {"clientId": "me", "clientSecret": "${C}"}}, "disabled": true}}}"#;
    let case = Case::new(config).env(&[("A", "t0ken-of-a-t0ken"), ("C", "s3cret-of-c-s3cret"), ("D", "plain")]);
    let resolved = case.ok(&[]);
    let redactor: Redactor = resolved.secrets.iter().cloned().collect();
    assert_eq!(redactor.clean("t0ken-of-a-t0ken s3cret-of-c-s3cret plain"), "… … plain");
    let removed: Vec<_> =
        resolved.config.servers[1].command().env_remove.iter().map(|name| name.to_str().unwrap()).collect();
    assert_eq!(removed, ["MCP_ENDPOINT", "A", "C"]);
    assert!(!format!("{:?}", resolved.config).contains("t0ken"));
    let case = Case::new(&config.replace("${A}", "t0ken-of-a-t0ken")).env(&[("C", "s3cret-of-c-s3cret")]);
    let shown = super::validate::shown(&case, &[]).join("\n");
    assert!(shown.contains("a.auth.bearer = \"…\"") && !shown.contains("t0ken"), "{shown}");
}

#[test]
fn logins_are_kept_in_the_state_folder() {
    let folder = |case: &Case| {
        let AuthSpec::Login(login) = &remote(case).auth else { panic!() };
        login.folder.as_ref().map(|folder| folder.display().to_string())
    };
    let case = |top: &str, env: &[(&str, &str)]| {
        Case::new(&format!(r#"{{{top} "mcpServers": {{"a": {{"url": "https://h"}}}}}}"#)).env(env)
    };
    let (home, xdg, service) =
        (("HOME", "/home/me"), ("XDG_STATE_HOME", "/state"), ("STATE_DIRECTORY", "/var/lib/mcp-pipe:/x"));
    for (top, env, want) in [
        ("", &[][..], None),
        ("", &[home], Some("/home/me/.local/state/mcp-pipe")),
        ("", &[home, xdg], Some("/state/mcp-pipe")),
        ("", &[home, xdg, service], Some("/var/lib/mcp-pipe")),
        ("", &[home, ("XDG_STATE_HOME", "relative")], Some("/home/me/.local/state/mcp-pipe")),
        (r#""stateDir": "/own","#, &[home, service], Some("/own")),
        (r#""stateDir": "none","#, &[home], None),
        (r#""stateDir": "","#, &[home], None),
    ] {
        assert_eq!(folder(&case(top, env)).as_deref(), want, "{top} {env:?}");
    }
    let relative = case(r#""stateDir": "kept","#, &[]);
    assert_eq!(folder(&relative).unwrap(), relative.dir.path().join("kept").display().to_string());
}
