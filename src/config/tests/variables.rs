//! Which variables a server gets.

use super::*;

fn removed(server: &ServerSpec) -> Vec<&str> {
    let mut names: Vec<&str> = server.command().env_remove.iter().map(|name| name.to_str().unwrap()).collect();
    names.sort_unstable();
    names
}

const ENVIRONMENT: [(&str, &str); 6] =
    [("PATH", "/bin"), ("HOME", "/home/u"), ("LC_ALL", "C"), ("AWS_KEY", "s3cret"), ("AWS_ID", "i"), ("EDITOR", "vi")];

#[test]
fn a_server_inherits_everything_or_only_what_it_needs_and_what_is_named() {
    let dotenv = "DOTENV_KEY=s3cret\nLANG=de\nOTHER=1\n";
    let all = vec![("DOTENV_KEY", "s3cret"), ("LANG", "de"), ("OTHER", "1")];
    for (written, of_dotenv, kept_back) in [
        ("true", all.clone(), vec!["MCP_ENDPOINT"]),
        ("null", all, vec!["MCP_ENDPOINT"]),
        ("false", vec![("LANG", "de")], vec!["AWS_ID", "AWS_KEY", "EDITOR", "MCP_ENDPOINT"]),
        ("\"no\"", vec![("LANG", "de")], vec!["AWS_ID", "AWS_KEY", "EDITOR", "MCP_ENDPOINT"]),
        ("[]", vec![("LANG", "de")], vec!["AWS_ID", "AWS_KEY", "EDITOR", "MCP_ENDPOINT"]),
        ("[\"AWS_*\", \"OTHER\"]", vec![("LANG", "de"), ("OTHER", "1")], vec!["EDITOR", "MCP_ENDPOINT"]),
    ] {
        let case = Case::server(&format!(r#""inheritEnv": {written}"#)).env(&ENVIRONMENT).file(".env", dotenv);
        let resolved = case.ok(&[]);
        let server = &resolved.config.servers[0];
        assert_eq!((own_env(server), removed(server)), (of_dotenv, kept_back), "{written}");
        assert!(resolved.warnings.is_empty(), "{written}: {:?}", resolved.warnings);
    }
}

#[test]
fn what_a_server_does_not_inherit_is_listed_for_who_looks_closely_and_an_unset_name_is_told() {
    let case =
        Case::server(r#""inheritEnv": ["EDITOR", "AWS_KEi"]"#).env(&ENVIRONMENT).file(".env", "DOTENV_KEY=s3cret\n");
    let resolved = case.ok(&[]);
    assert_eq!(resolved.details, ["a: not inherited, as inheritEnv says: AWS_ID, AWS_KEY, DOTENV_KEY, MCP_ENDPOINT"]);
    assert_eq!(
        case.lines(&resolved.warnings),
        ["mcp_config.json:1:53 mcpServers.a.inheritEnv: names AWS_KEi, which neither the environment nor .env sets; \
             correct the name, or remove it"]
    );
}

#[test]
fn inherit_env_may_stand_at_the_top_and_hands_over_no_endpoint() {
    let text = r#"{"inheritEnv": false, "mcpServers": {"a": {"command": "x", "env": {"KEY": "${AWS_KEY}"}},
        "b": {"command": "x", "inheritEnv": ["MCP_ENDPOINT", "COPY"]}, "c": {"command": "x", "inheritEnv": true}}}"#;
    let case = Case::new(text).env(&ENVIRONMENT).env(&[("COPY", ENDPOINT.1)]);
    let servers = case.ok(&[]).config.servers;
    assert_eq!(own_env(&servers[0]), [("KEY", "s3cret")], "what it is given it has");
    assert_eq!(removed(&servers[1]), ["AWS_ID", "AWS_KEY", "COPY", "EDITOR", "MCP_ENDPOINT"]);
    assert_eq!(removed(&servers[2]), ["COPY", "MCP_ENDPOINT"]);
    let script = case.file("s.py", "").ok(&["s.py"]).config.servers;
    assert_eq!(removed(&script[0]), ["AWS_ID", "AWS_KEY", "COPY", "EDITOR", "MCP_ENDPOINT"]);
    let one = Case::server(r#""inheritEnv": "AWS_*""#).env(&ENVIRONMENT).ok(&[]);
    assert_eq!(removed(&one.config.servers[0]), ["EDITOR", "MCP_ENDPOINT"], "one text is a list of one");
    assert!(one.warnings.is_empty(), "{:?}", one.warnings);
    assert!(
        Case::server(r#""inheritEnv": "maybe""#).warnings(&[])[0].contains("inheritEnv: names maybe, which neither")
    );
    assert!(Case::server(r#""inheritEnv": """#).mistakes(&[])[0].contains("is neither true nor false"));
    assert!(Case::server(r#""inheritEnv": [1]"#).mistakes(&[])[0].contains("inheritEnv[0]: is a number"));
}

#[test]
fn python_is_told_to_write_lines_at_once_and_in_utf_8_unless_somebody_says_otherwise() {
    let python = |case: &Case, arguments: &[&str]| {
        let server = case.ok(arguments).config.servers.remove(0);
        let env = &server.command().env;
        ["PYTHONUNBUFFERED", "PYTHONUTF8"].map(|name| {
            env.iter().find(|(n, _)| n == name).map_or("unsaid".to_owned(), |(_, value)| value.reveal().to_owned())
        })
    };
    let plain = Case::server(r#""args": []"#).file("s.py", "");
    for line in [&[][..], &["s.py"], &["--", "python3", "s.py"]] {
        assert_eq!(python(&plain, line), ["1", "1"], "{line:?}");
    }
    assert_eq!(python(&Case::server(r#""env": {"PYTHONUTF8": "0"}"#), &[]), ["1", "0"]);
    assert_eq!(python(&Case::server(r#""inheritEnv": false"#), &[]), ["1", "1"]);
    let case = Case::server(r#""inheritEnv": false"#).env(&[("PYTHONUNBUFFERED", "")]).file(".env", "PYTHONUTF8=0\n");
    assert_eq!(python(&case, &[]), ["unsaid", "0"], "the environment's is inherited");
    assert!(!removed(&case.ok(&[]).config.servers[0]).contains(&"PYTHONUNBUFFERED"));
    let case = Case::server(r#""envFile": "e""#).file("e", "PYTHONUNBUFFERED=x\n");
    assert_eq!(python(&case, &[]), ["x", "1"]);
}

#[test]
fn a_variable_that_only_shells_replace_is_a_warning_where_its_name_is_known() {
    for (value, want) in [
        ("$PATH:/x", Some(("$PATH", "PATH"))),
        ("/x:$PATH", Some(("$PATH", "PATH"))),
        ("%PATH%;C:/x", Some(("%PATH%", "PATH"))),
        ("$HOME/x", Some(("$HOME", "HOME"))),
        ("--key=$AWS_KEY", Some(("$AWS_KEY", "AWS_KEY"))),
        ("$NOT_SET", Some(("$NOT_SET", "NOT_SET"))),
        ("$NOT_SET/x", None),
        ("pa$HOMEstead", None),
        ("pa$HOME", None),
        ("a $ b", None),
        ("$5", None),
        ("$$HOME", None),
        ("${HOME}/x", None),
        ("100%PATH", None),
    ] {
        let told = Case::server(&format!(r#""env": {{"A": "{value}"}}"#)).env(&ENVIRONMENT).warnings(&[]);
        let want = want.map(|(written, name)| {
            format!("holds {written}, which is passed on as it stands; write ${{{name}}} for the variable")
        });
        assert!(told.len() == usize::from(want.is_some()), "{value}: {told:?}");
        assert!(want.is_none_or(|want| told[0].ends_with(&want)), "{value}: {told:?}");
    }
}

#[test]
fn what_a_remote_server_is_told_as_it_stands_is_a_warning() {
    let of = |members: &str| {
        let case = Case::new(&format!(r#"{{"mcpServers": {{"a": {{{members}}}}}}}"#)).env(&ENVIRONMENT);
        let told = case.found(&[]);
        assert!(told.len() == 1 && !told[0].contains("s3cret"), "{members}: {told:?}");
        told[0].clone()
    };
    let header = |value: &str| of(&format!(r#""url": "https://h/", "headers": {{"Authorization": "{value}"}}"#));
    for (value, want) in [
        (
            "Bearer {env:AWS_KEY}",
            "holds {env:AWS_KEY}, which is passed on as it stands; write ${AWS_KEY} for the variable",
        ),
        ("Bearer {KEY}", "holds {KEY}, which is passed on as it stands; write ${KEY} for the variable"),
        ("Bearer {{KEY}}", "write ${KEY} for the variable"),
        ("Bearer {TOKEN}", "write ${TOKEN} for the variable"),
        ("Bearer Bearer s3cret", "begins with the scheme Bearer twice; write it once"),
        (
            "Bearer “s3cret”",
            "holds “ (U+201C, left double quotation mark), which is sent as it stands; remove it, or write \" for it",
        ),
        (
            "Bearer ${UNSET_TOKEN:-}",
            "is \"Bearer\" without a token behind it, as UNSET_TOKEN is empty or set nowhere; set UNSET_TOKEN in the environment or in .env",
        ),
        ("Bearer ", "is \"Bearer\" without a token behind it; write the token behind it"),
    ] {
        let told = header(value);
        assert!(told.ends_with(want), "{value}: {told}");
    }
    let told = of(r#""url": "https://h/mcp?key=$KEY""#);
    assert!(told.ends_with("write ${KEY} for the variable"), "{told}");
    for bearer in ["YOUR_TOKEN", "<token>"] {
        let told = of(&format!(r#""url": "https://h/", "auth": {{"bearer": "{bearer}"}}"#));
        assert!(told.contains("Warning placeholder: mcp_config.json:1:63 mcpServers.a.auth.bearer"), "{told}");
    }
    let told = of(r#""url": "https://h/", "auth": {"bearer": "{env:KEY}"}"#);
    assert!(told.ends_with("write ${KEY} for the variable"), "{told}");
    for fine in ["Bearer abc-$1", "Bearer a{b}c", "Basic dXNlcjpw", "Bearer token1"] {
        let config =
            format!(r#"{{"mcpServers": {{"a": {{"url": "https://h/", "headers": {{"Authorization": "{fine}"}}}}}}}}"#);
        assert!(Case::new(&config).found(&[]).is_empty(), "{fine}");
    }
}

#[test]
fn an_env_file_is_read_below_env_and_above_what_is_inherited() {
    let case =
        Case::server(r#""envFile": "${workspaceFolder}/secrets/${WHO}.env", "env": {"B": "entry", "C": "${OUTER}"}"#)
            .env(&[("WHO", "a"), ("A", "environment"), ("OUTER", "o")])
            .file(".env", "A=dotenv\nD=dotenv\n")
            .file("secrets/a.env", "# c\nA=file-$x\nB=file\nexport D='file'\n");
    let resolved = case.ok(&[]);
    let mut env = own_env(&resolved.config.servers[0]);
    env.sort_unstable();
    assert_eq!(env, [("A", "file-$x"), ("B", "entry"), ("C", "o"), ("D", "file")]);
    assert!(resolved.warnings.is_empty(), "{:?}", resolved.warnings);
    let several = Case::server(r#""env_file": ["1.env", "2.env"]"#).file("1.env", "A=1\nB=1\n").file("2.env", "B=2\n");
    assert_eq!(own_env(&several.ok(&[]).config.servers[0]), [("A", "1"), ("B", "2")]);
    let gone = Case::server(r#""envFile": "gone.env""#).mistakes(&[]);
    assert!(gone[0].contains("mcpServers.a.envFile: names DIR/gone.env, which is no file; create it"), "{gone:?}");
    let off = Case::new(
        r#"{"mcpServers": {"a": {"command": "x"}, "b": {"command": "x", "disabled": true, "envFile": "gone.env"}}}"#,
    );
    assert!(off.ok(&[]).warnings.is_empty());
    let odd = Case::server(r#""envFile": "e""#).file("e", "A=1\ns3cret\n");
    assert!(odd.warnings(&[])[0].starts_with("DIR/e:2: is not NAME=value"), "{:?}", odd.warnings(&[]));
}

#[test]
fn an_endpoint_in_an_env_file_is_its_servers_and_no_child_sees_it() {
    let text = r#"{"mcpServers": {"a": {"command": "x", "envFile": "a.env"}, "b": {"command": "x"},
        "c": {"command": "x", "disabled": true, "envFile": "c.env"}}}"#;
    let case = Case::new(text)
        .file("a.env", "MCP_ENDPOINT=wss://own/?token=own-s3cret-0123456789\nCOPY=own-s3cret-0123456789\nKEY=k\n")
        .file("c.env", "MCP_ENDPOINT=wss://unused/?token=unused-s3cret-0123456789\n")
        .env(&[("LEAK", "unused-s3cret-0123456789")]);
    let resolved = case.ok(&[]);
    let servers = &resolved.config.servers;
    assert_eq!(
        (revealed(&servers[0]), revealed(&servers[1])),
        ("wss://own/?token=own-s3cret-0123456789".to_owned(), ENDPOINT.1.to_owned())
    );
    assert_eq!(own_env(&servers[0]), [("KEY", "k")]);
    assert_eq!(removed(&servers[1]), ["LEAK", "MCP_ENDPOINT"]);
    assert!(case.lines(&resolved.warnings)[0].starts_with("DIR/a.env:2: holds an endpoint and is not passed on"));
    assert!(resolved.secrets.iter().any(|secret| secret.reveal().contains("own-s3cret-0123456789")));
    let wrong = Case::server(r#""envFile": "e""#).file("e", "\nMCP_ENDPOINT=https://h/?token=s3cret\n").mistakes(&[]);
    assert!(wrong[0].starts_with("MCP_ENDPOINT (DIR/e:2): has the scheme"), "{wrong:?}");
}

#[test]
fn each_argument_that_lacks_a_variable_is_told_and_what_stands_beside_it() {
    let case = Case::server(r#""args": ["${ONE}", "x", "${TWO}"], "expandArgs": true, "cwd": "${THREE}""#);
    let mistakes = case.mistakes(&[]).join("\n");
    for (place, name) in [("args[0]", "ONE"), ("args[2]", "TWO"), ("cwd", "THREE")] {
        let told = |line: &str| line.contains(place) && line.contains(&format!("needs {name}"));
        assert!(mistakes.lines().any(told), "{name} in {mistakes}");
    }
}
