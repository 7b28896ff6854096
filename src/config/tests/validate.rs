//! What is seen of a config without starting anything, where each value comes from, and what editors are told.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;
use crate::error::Code;

/// The time at which a config is looked at, in seconds since 1970.
const NOW: u64 = 1_800_000_000;

impl Case {
    /// What is found, one a line: how bad it is, the code, and the words; with the folder's name cut out.
    pub(super) fn found(&self, arguments: &[&str]) -> Vec<String> {
        let line = ["mcp-pipe", "validate"].iter().chain(arguments).map(Into::into);
        let cli = cli::parse(line).unwrap();
        let surroundings = Surroundings::look(&cli.options, self.env.iter().cloned().collect(), self.dir.path());
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
        let found = super::validate(&cli.line(), &surroundings, now);
        let told = |Finding { severity, problem }: Finding| {
            format!("{severity:?} {}: {}", problem.code, self.lines(std::slice::from_ref(&problem))[0])
        };
        found.findings.into_iter().map(told).collect()
    }

    /// With these programs in a folder that is the PATH.
    fn programs(self, names: &[&str]) -> Self {
        let mut case = self;
        for name in names {
            case = case.file(&format!("bin/{name}"), "#!/bin/sh\n");
            let path = case.dir.path().join("bin").join(name);
            std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        }
        let bin = case.dir.path().join("bin").to_str().unwrap().to_owned();
        case.env(&[("PATH", &bin)])
    }
}

fn token(claims: &Value) -> String {
    format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
}

#[test]
fn a_program_or_script_that_is_not_there_is_a_warning() {
    let case = Case::new(
        r#"{"mcpServers": {
"a": {"command": "there", "args": ["x.py"]},
"b": {"command": "nowhere"},
"c": {"command": "./run.sh"},
"d": {"command": "./none.sh"},
"e": {"command": "./bin"},
"f": {"command": "python3", "args": ["gone.py"]},
"g": {"command": "python3", "args": ["-m", "gone.py"]},
"h": {"command": "own", "env": {"PATH": "/surely/not/here"}},
"i": {"command": "nowhere", "disabled": true}
}}"#,
    );
    let case = case.programs(&["there", "python3", "own"]).file("run.sh", "#!/bin/sh\n");
    let correct = "create it, or correct the path, which starts at";
    assert_eq!(
        case.found(&[]),
        [
            "Warning program-missing: mcp_config.json:3:18 mcpServers.b.command: names nowhere, which is in no folder of the PATH, \
             so b can't start; install it, or write its whole path as `command`"
                .to_owned(),
            "Warning program-missing: mcp_config.json:4:18 mcpServers.c.command: names DIR/run.sh, which is not executable, so c \
             can't start; make it executable: chmod +x"
                .to_owned(),
            format!(
                "Warning program-missing: mcp_config.json:5:18 mcpServers.d.command: names DIR/none.sh, which is no file, so d \
                 can't start; {correct} the config's folder"
            ),
            "Warning program-missing: mcp_config.json:6:18 mcpServers.e.command: names DIR/bin, which is a folder, so e can't \
             start; name the program in it"
                .to_owned(),
            format!(
                "Warning path-missing: mcp_config.json:7:38 mcpServers.f.args[0]: names DIR/gone.py, which is no file, so f can't \
                 start; {correct} the server's cwd, else at the config's folder"
            ),
            "Warning program-missing: mcp_config.json:9:18 mcpServers.h.command: names own, which is in no folder of the PATH, so \
             h can't start; the PATH that its entry sets is the only one that counts, and mcp-pipe's own has it: write \
             \"PATH\": \"/what/you/add:${PATH}\""
                .to_owned(),
        ]
    );
}

#[test]
fn what_an_example_left_open_is_a_warning_and_no_secret_is_repeated() {
    let case = Case::new(
        r#"{"mcpServers": {
"a": {"command": "there", "args": ["--key", "<YOUR_TOKEN>"], "env": {"API_KEY": "your-key-here", "OTHER_KEY": "s3cret-9f8e"}},
"b": {"url": "https://h.example/mcp?key=YOUR_KEY", "headers": {"Authorization": "Bearer <YOUR_TOKEN>"}},
"c": {"command": "there", "args": ["YOUR_TOKEN"], "disabled": true}
}}"#,
    );
    let case = case.programs(&["there"]).file(".env", "GITHUB_TOKEN=ghp_xxxxxxxx\nMODE=your\n");
    let of = |place: &str, example: &str| {
        format!(
            "Warning placeholder: {place}: still holds the placeholder text of an example: {example}; write your own value in its place"
        )
    };
    assert_eq!(
        case.found(&[]),
        [
            of("GITHUB_TOKEN (DIR/.env:1)", "\"xxxxxxxx\""),
            of("mcp_config.json:2:45 mcpServers.a.args[1]", "\"YOUR_TOKEN\""),
            of("mcp_config.json:2:81 mcpServers.a.env.API_KEY", "\"your-key-here\""),
            // What a parameter of an address holds counts as secret.
            of("mcp_config.json:3:14 mcpServers.b.url", "\"…\""),
            of("mcp_config.json:3:81 mcpServers.b.headers.Authorization", "\"YOUR_TOKEN\""),
        ]
    );
}

#[test]
fn a_placeholder_in_the_place_of_a_remote_server_is_a_mistake_as_it_is_for_an_endpoint() {
    for url in ["http://YOUR_HOST/mcp", "http://<host>/mcp"] {
        let told = Case::new(&format!(r#"{{"mcpServers": {{"a": {{"url": "{url}"}}}}}}"#)).mistakes(&[]);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("mcpServers.a.url: still holds the placeholder text of an example: "), "{told:?}");
    }
}

#[test]
fn what_to_write_for_a_program_that_cant_be_started_is_said_at_once() {
    let only = "`command` is the program only: put the rest into `args`, a text for each argument";
    let by = |command: &str, args: &str| {
        format!(
            "neither a program nor a script with a #! line; name its interpreter: \"command\": \"{command}\", \"args\": [{args}]"
        )
    };
    for (command, want) in [
        ("python my.py", only.to_owned()),
        ("npx -y foo", only.to_owned()),
        ("npx -y @scope/foo", only.to_owned()),
        ("./bin/python3 my.py", only.to_owned()),
        ("my.py", by("python", "\"my.py\"")),
        (
            "DIR/my.py",
            "is neither a program nor a script with a #! line, so a can't start; name its interpreter: \"command\": \"python\", \"args\": [\"my.py\"]"
                .to_owned(),
        ),
        ("x.ts", by("npx", "\"-y\", \"tsx\", \"x.ts\"")),
        ("runs.js", by("node", "\"runs.js\"")),
        ("line.py", "write \"./line.py\", and make it executable: chmod +x; or name its interpreter: \"command\": \"python\", \"args\": [\"line.py\"]".to_owned()),
        ("run.sh", "write \"./run.sh\"".to_owned()),
        ("gone.py", "install it, or write its whole path as `command`".to_owned()),
        ("pyton", "did you mean python?".to_owned()),
        ("Python", "did you mean python?".to_owned()),
        ("nodee", "did you mean node?".to_owned()),
        ("npxx", "did you mean npx?".to_owned()),
        ("npm", "what nvm, fnm or volta set up in a shell is not on a daemon's PATH".to_owned()),
        ("dockr", "install it, or write its whole path as `command`".to_owned()),
    ] {
        let case = Case::new("").programs(&["python3", "node", "npx"]).file("my.py", "print()").file("x.ts", "");
        let case = case.file("line.py", "#!/usr/bin/python3\n").file("runs.js", "").file("run.sh", "#!/bin/sh\n");
        for name in ["runs.js", "run.sh"] {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(case.dir.path().join(name), mode).unwrap();
        }
        let command = command.replace("DIR", case.dir.path().to_str().unwrap());
        let case = case.file("mcp_config.json", format!(r#"{{"mcpServers": {{"a": {{"command": "{command}"}}}}}}"#));
        let told = case.found(&[]);
        assert!(told.len() == 1 && told[0].ends_with(&want), "{command}: {told:?}");
    }
    // A folder with a blank in its name is no command line.
    let told = Case::new(r#"{"mcpServers": {"a": {"command": "./a b/none"}}}"#).file("a b/x", "").found(&[]);
    assert!(told[0].contains("create it, or correct the path"), "{told:?}");
}

#[test]
fn a_variable_that_nothing_sets_is_an_error_and_for_a_server_that_is_switched_off_a_warning() {
    let entry = r#"{"command": "x", "env": {"A": "${NOT_SET}", "B": "${SET_NOT:-}"}, "cwd": "${ALSO_NOT}""#;
    let told = |more: &str| {
        let case = Case::new(&format!(r#"{{"mcpServers": {{"a": {entry}{more}}}, "b": {{"command": "x"}}}}}}"#));
        case.programs(&["x"]).found(&[])
    };
    let needs = |severity: &str| {
        ["52 mcpServers.a.env.A: needs NOT_SET", "95 mcpServers.a.cwd: needs ALSO_NOT"]
            .map(|told| format!("{severity} unset-variable: mcp_config.json:1:{told}, which nothing sets"))
    };
    for (more, severity) in [("", "Error"), (r#", "disabled": true"#, "Warning")] {
        let told = told(more);
        assert!(
            told.len() == 2 && told.iter().zip(needs(severity)).all(|(told, want)| told.starts_with(&want)),
            "{told:?}"
        );
    }
}

#[test]
fn a_token_that_says_that_it_has_expired_is_a_warning_where_it_is_named() {
    let at = |claims: &Value| {
        let endpoint = format!("wss://h.example/mcp/?a=1&token={}", token(claims));
        let case = Case::server(r#""args": []"#).no_env().env(&[("MCP_ENDPOINT", &endpoint)]).programs(&["x"]);
        case.found(&[])
    };
    let told = at(&json!({"exp": NOW - 3 * 86_400}));
    assert_eq!(
        told,
        [
            "Warning token-expired: MCP_ENDPOINT (environment): has a token that expired 3 days ago, by what the token says of itself; \
          copy a fresh endpoint URL, with its token, from its console"
        ]
    );
    assert_eq!(at(&json!({"exp": (NOW - 90) as f64 + 0.5})).len(), 1);
    for good in [
        json!({"exp": NOW}),
        json!({"exp": NOW + 1}),
        json!({}),
        json!({"exp": "soon"}),
        json!({"exp": 0}),
        json!({"exp": -1e300}),
        json!({"exp": 1e300}),
    ] {
        assert!(at(&good).is_empty(), "{good}");
    }
    let own = format!(r#""endpoint": "wss://h/?token={}", "args": []"#, token(&json!({"exp": 1})));
    let told = Case::server(&own).programs(&["x"]).found(&[]);
    assert!(
        told[0].starts_with("Warning token-expired: mcp_config.json:1:51 mcpServers.a.endpoint: has a token"),
        "{told:?}"
    );
    assert!(Case::server(&own).programs(&["x"]).found(&["--local"]).is_empty(), "no endpoint is dialled");
}

#[test]
fn servers_on_one_agent_are_told_where_that_is_a_surprise() {
    let of = |top: &str, a: &str, b: &str| {
        let case = Case::new(&format!(
            "{{{top}\"mcpServers\": {{\n\"a\": {{\"command\": \"x\"{a}}},\n\"b\": {{\"command\": \"x\"{b}}}}}}}"
        ));
        case.programs(&["x"]).found(&[])
    };
    assert!(of("", "", "").is_empty(), "two servers on the common endpoint are what anybody has");
    let per_server = of(r#""mode": "per-server", "#, "", "");
    assert!(
        per_server.len() == 1
            && per_server[0].starts_with(
                "Warning agent-shared: mcp_config.json:3:1 mcpServers.b: is served to the agent of a, and in mode per-server"
            ),
        "{per_server:?}"
    );
    let own = |id: u32| format!(r#", "endpoint": "wss://h/?token={}""#, token(&json!({"agentId": 7, "iat": id})));
    let twice = of("", &own(1), &own(2));
    assert!(
        twice.len() == 1
            && twice[0].starts_with(
                "Warning agent-shared: mcp_config.json:3:35 mcpServers.b.endpoint: is for the agent that a \
                 (mcp_config.json:2:35 mcpServers.a.endpoint) is served to, by another address or token"
            ),
        "{twice:?}"
    );
    assert!(of("", &own(1), &own(1)).is_empty());
}

#[test]
fn a_name_that_an_endpoint_will_not_see_as_it_is_written_is_told() {
    let of = |top: &str| {
        let case = Case::new(&format!(
            r#"{{{top} "mcpServers": {{
"my s": {{"command": "x", "tools": {{"rename": {{"t": "light"}}}}}},
"b": {{"command": "x", "tools": {{"rename": {{"u": "light"}}}}}}}}}}"#
        ));
        case.programs(&["x"]).found(&[])
    };
    let auto = of("");
    assert_eq!(
        auto,
        [
            "Warning name-changed: mcp_config.json:2:52 mcpServers[\"my s\"].tools.rename.t: is \"light\", as a tool of b is: on \
             one connection both are published behind the names of their servers; give each tool its own name",
            "Warning name-changed: mcp_config.json:3:49 mcpServers.b.tools.rename.u: is \"light\", as a tool of my s is: on one \
             connection both are published behind the names of their servers; give each tool its own name",
        ]
    );
    let prefix = of(r#""naming": "prefix","#);
    assert!(
        prefix.len() == 1
            && prefix[0].contains("mcpServers[\"my s\"]: has ' ' in its name, which no tool's name may have"),
        "{prefix:?}"
    );
    assert!(of(r#""mode": "per-server","#).iter().all(|told| !told.contains("name-changed")));
}

#[test]
fn an_error_is_what_keeps_a_run_from_starting_and_nothing_else_is_one() {
    for config in [
        "{",
        "[]",
        "{}",
        "\u{feff}{\"mcpServers\": {}}",
        r#"{"mcpServers": {"a": {"command": 5, "args": "x", "env": {"A": "${NOT_SET}"}}}}"#,
        r#"{"mcpServers": {"a": {"command": "x", "endpoint": "https://h/?token=s3cret-s3cret"}}, "zzz": 1}"#,
        r#"{"mode": "sequential", "mcpServers": {"a": {"command": "x", "pin": true}, "b": {"command": "y", "pin": true}}}"#,
        r#"{"mcpServers": {"a": {"command": "x", "mode": "multiplex"}, "b": {"command": "y"}}}"#,
        r#"{"mcpServers": {"a": {"command": "x", "disabled": true, "args": 5}, "b": {"command": "y"}}}"#,
        r#"{"mcpServers": {"a": {"command": "x", "env": {"A": "${NOT_SET:-}"}}}}"#,
    ] {
        for case in [Case::new(config), Case::new(config).no_env()] {
            let found = case.found(&[]);
            let errors: Vec<&String> = found.iter().filter(|told| told.starts_with("Error")).collect();
            let (mut mistakes, warnings) = match case.run(&[]) {
                Ok(resolved) => (Vec::new(), resolved.warnings),
                Err(problems) => (problems.mistakes, problems.warnings),
            };
            mistakes.retain(|mistake| {
                errors.iter().any(|told| told.ends_with(&case.lines(std::slice::from_ref(mistake))[0]))
                    || panic!("{mistake} is missing in {found:?}")
            });
            assert_eq!(mistakes.len(), errors.len(), "{found:?}");
            for warning in warnings {
                assert!(
                    found.iter().any(|told| told.ends_with(&case.lines(std::slice::from_ref(&warning))[0])),
                    "{warning}"
                );
            }
            assert!(!found.join("").contains("s3cret"), "{found:?}");
        }
    }
    let missing = Case::new("{}").found(&["none.json"]);
    assert!(
        missing[0].starts_with("Error file-missing: none.json: does not exist (the command line names it)"),
        "{missing:?}"
    );
}

/// Where the values of a server, or of the run, come from: `key = value from place`.
pub(super) fn shown(case: &Case, arguments: &[&str]) -> Vec<String> {
    let line = ["mcp-pipe", "config", "show"].iter().chain(arguments).map(Into::into);
    let cli = cli::parse(line).unwrap();
    let surroundings = Surroundings::look(&cli.options, case.env.iter().cloned().collect(), case.dir.path());
    let (shown, _) = show(&cli.line(), &surroundings).unwrap();
    let value = serde_json::to_value(&shown).unwrap();
    let rows = value["values"].as_array().unwrap().iter().map(|row| {
        let server = row["server"].as_str().map_or_else(String::new, |server| format!("{server}."));
        let place = [&row["file"], &row["line"], &row["column"], &row["path"]].map(|part| match part {
            Value::String(text) => text.clone(),
            Value::Null => "-".to_owned(),
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => part.to_string(),
        });
        let row = format!(
            "{server}{} = {} from {} {}",
            row["key"].as_str().unwrap(),
            row["value"],
            row["from"].as_str().unwrap(),
            place.join(":")
        );
        row.replace(case.dir.path().to_str().unwrap(), "DIR")
    });
    rows.collect()
}

#[test]
fn every_value_is_shown_with_the_place_that_counts_and_without_a_secret() {
    let case = Case::new(
        r#"{"startTimeout": "30s", "maxBackoff": "1m", "endpointHeaders": {"X-Api-Key": "s3cret-s3cret"}, "mcpServers": {
"a": {"command": "x", "args": ["--token", "s3cret-s3cret"], "environment": {"K": "s3cret-s3cret"}, "includeTools": ["t*"],
      "directory": "sub", "startTimeout": "90s", "maxFrameSize": 5000, "turn": "61500ms"},
"b": {"command": "./y", "tools": {"deny": ["z"], "rename": {"o": "n"}}, "envFile": "b.env", "turn": "61500ms"},
"c": {"command": "x", "disabled": true}, "d": {"url": "https://h/?k=s3cret", "headers": {"X": "s3cret"}, "turn": "61500ms"}, "e": {"url": "ws://h/"}}}"#,
    );
    let case = case.file("b.env", "B=s3cret-s3cret\n").file(".env", "D=plain\n").file("sub/x", "");
    let options = ["--mode", "sequential", "--max-backoff", "2m", "--drain-timeout", "7s", "--max-frame-size", "1MiB"];
    let all = shown(&case, &options);
    for want in [
        r#"drainTimeout = "7s" from outside -:-:-:--drain-timeout"#,
        "toolBudget = 8000 from default -:-:-:-",
        r#"a.command = "x" from file mcp_config.json:2:7:mcpServers.a.command"#,
        r#"a.args = ["--token","…"] from file mcp_config.json:2:23:mcpServers.a.args"#,
        r#"a.env.K = "…" from file mcp_config.json:2:82:mcpServers.a.environment.K"#,
        r#"a.env.D = "…" from file DIR/.env:1:-:-"#,
        r#"a.env.PYTHONUTF8 = "1" from default -:-:-:-"#,
        r#"b.env.B = "…" from file DIR/b.env:1:-:-"#,
        r#"a.cwd = "DIR/sub" from file mcp_config.json:3:7:mcpServers.a.directory"#,
        r#"b.cwd = "DIR" from default -:-:-:-"#,
        r#"a.endpoint = "wss://h.example/mcp/?token=…" from outside -:-:-:MCP_ENDPOINT (environment)"#,
        r#"a.endpointHeaders = {"x-api-key":"…"} from file mcp_config.json:1:45:endpointHeaders"#,
        r#"a.startTimeout = "90s" from file mcp_config.json:3:27:mcpServers.a.startTimeout"#,
        r#"b.startTimeout = "30s" from file mcp_config.json:1:2:startTimeout"#,
        r#"a.maxFrameSize = 5000 from file mcp_config.json:3:50:mcpServers.a.maxFrameSize"#,
        r#"b.maxFrameSize = "1MiB" from outside -:-:-:--max-frame-size"#,
        r#"b.pingInterval = "20s" from default -:-:-:-"#,
        r#"a.maxBackoff = "120s" from outside -:-:-:--max-backoff"#,
        r#"a.mode = "sequential" from outside -:-:-:--mode"#,
        r#"b.turn = "61500ms" from file mcp_config.json:4:93:mcpServers.b.turn"#,
        r#"a.tools = {"allow":["t*"]} from file mcp_config.json:2:100:mcpServers.a.includeTools"#,
        r#"b.tools = {"deny":["z"],"rename":{"o":"n"}} from file mcp_config.json:4:25:mcpServers.b.tools"#,
        r#"c.disabled = true from file mcp_config.json:5:23:mcpServers.c.disabled"#,
        r#"d.url = "https://h:443/…" from file mcp_config.json:5:48:mcpServers.d.url"#,
        r#"d.type = "http or sse" from default -:-:-:-"#,
        r#"d.headers.x = "…" from file mcp_config.json:5:78:mcpServers.d.headers"#,
        r#"d.certFile = null from default -:-:-:-"#,
        r#"e.remote = true from file mcp_config.json:5:139:mcpServers.e.url"#,
    ] {
        assert!(all.iter().any(|row| row == want), "{want} in\n{}", all.join("\n"));
    }
    assert!(!all.join("").contains("s3cret"), "{all:?}");
    for key in keys::SHARED.iter().filter(|key| **key != "inheritEnv") {
        assert!(all.iter().any(|row| row.starts_with(&format!("a.{key} = "))), "{key}");
    }
    let local = shown(&case, &["--local"]);
    assert!(local.iter().any(|row| row == r#"a.endpoint = "one on loopback" from outside -:-:-:--local"#), "{local:?}");
}

/// Whether the schema takes a file, and whether the reader does: without the mistakes of entries that are switched off.
fn taken(schema: &jsonschema::Validator, file: &Value) -> (bool, Vec<Code>) {
    let mistakes = file::read("f", &file.to_string()).mistakes;
    (schema.is_valid(file), mistakes.into_iter().map(|mistake| mistake.code).collect())
}

#[test]
fn the_schema_takes_what_the_reader_takes_and_refuses_what_is_of_another_type() {
    let schema = jsonschema::validator_for(&super::schema()).unwrap();
    let long = "n".repeat(65);
    let values = [
        json!(null),
        json!(true),
        json!(0),
        json!(1),
        json!(2),
        json!(-1),
        json!(1.5),
        json!(2048),
        json!(2048.5),
        json!(5_000_000_000_u64),
        json!(""),
        json!(" "),
        json!("x"),
        json!("true"),
        json!("Off"),
        json!("5s"),
        json!(" 1.5 min "),
        json!("5"),
        json!(".5h"),
        json!("5 s s"),
        json!("16MiB"),
        json!("1.5 KiB"),
        json!("512"),
        json!("8000"),
        json!("auto"),
        json!("multiplex"),
        json!("prefix"),
        json!("unicode"),
        json!("answer"),
        json!("stdio"),
        json!("wss://h/"),
        json!([]),
        json!(["x"]),
        json!(["x", "y"]),
        json!([1]),
        json!([null]),
        json!([" "]),
        json!(["[x]"]),
        json!({}),
        json!({"x": "y"}),
        json!({"x": 1}),
        json!({"x": null}),
        json!({"allow": ["t"]}),
        json!({"allow": "t"}),
        json!({"rename": {"a": "b"}}),
        json!({"rename": {"a*": "b"}}),
        json!({"rename": {"a": long}}),
        json!({"rename": {"a": ""}}),
        json!({"describe": {"a": "b", "c": null}}),
        json!({"describe": {"a": 1}}),
        json!({"timeout": {"a": "5s"}}),
        json!({"timeout": {"a": 5}}),
        json!({"maxResultBytes": {"a": "4KiB"}}),
        json!({"maxResultBytes": {"[": 5}}),
        json!({"deny": []}),
        json!({"t": {"enabled": false}}),
    ];
    let mut seen = 0;
    let mut check = |file: Value, is_top_level: bool| {
        let (by_schema, by_reader) = taken(&schema, &file);
        assert!(by_schema || !by_reader.is_empty(), "the schema refuses what the reader takes: {file}");
        let is_typed = by_reader.contains(&Code::WrongType);
        assert!(
            !(by_schema && is_typed),
            "the schema takes what is of another type: {file}: {by_reader:?} {is_top_level}"
        );
        seen += usize::from(!by_schema);
    };
    for value in &values {
        for key in keys::SHARED.iter().chain(keys::TOP) {
            let mut file = json!({"mcpServers": {"a": {"command": "x"}}});
            file[*key] = value.clone();
            check(file, true);
        }
        for key in
            keys::SHARED.iter().chain(keys::SERVER).filter(|key| !["disabled", "enabled", "isActive"].contains(key))
        {
            let mut file = json!({"mcpServers": {"a": {"command": "x"}}});
            file["mcpServers"]["a"][*key] = value.clone();
            check(file, false);
        }
    }
    assert!(seen > 500, "{seen} were refused");
    for (key, value) in
        [("mode", "x"), ("startTimeout", "60"), ("maxFrameSize", "big"), ("naming", "Auto"), ("handshake", "no")]
    {
        let mut file = json!({"mcpServers": {"a": {"command": "x"}}});
        file[key] = value.into();
        let (by_schema, by_reader) = taken(&schema, &file);
        assert!(!by_schema && !by_reader.is_empty(), "{key}: {value}");
    }
}

/// A shipped config without what only JSON with comments has.
fn plain_json(text: &str) -> String {
    let lines = text
        .lines()
        .map(|line| if line.trim_start().starts_with("//") { "" } else { line.split(" // ").next().unwrap() });
    let text = lines.collect::<Vec<_>>().join("\n");
    let is_trailing = |at: usize| text[at + 1..].trim_start().starts_with(['}', ']']);
    text.char_indices().filter(|(at, c)| *c != ',' || !is_trailing(*at)).map(|(_, c)| c).collect()
}

#[test]
fn the_schema_knows_every_key_and_takes_the_shipped_files() {
    let value = super::schema();
    let schema = jsonschema::validator_for(&value).unwrap();
    let described = |properties: &Value, keys: &[&str]| {
        for key in keys {
            let is_told = properties[key]["description"].as_str().is_some_and(|text| !text.is_empty());
            let is_remote = ["url", "serverUrl", "headers", "mcpServers"].contains(key);
            assert!(properties[key].is_object() && (is_told || is_remote), "{key}: {}", properties[key]);
        }
    };
    for shared in [&value["properties"], &value["$defs"]["server"]["properties"]] {
        described(shared, keys::SHARED);
    }
    described(&value["properties"], keys::TOP);
    described(&value["$defs"]["server"]["properties"], keys::SERVER);
    described(&value["$defs"]["tools"]["properties"], keys::TOOLS);
    for name in ["mcp_config.json", "mcp_config.minimal.json", "mcp_config.multi-token.json"] {
        let text = std::fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
        let without = plain_json(&text);
        let file: Value = serde_json::from_str(&without).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(
            schema.is_valid(&file),
            "{name}: {:?}",
            schema.iter_errors(&file).map(|e| e.to_string()).collect::<Vec<_>>()
        );
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_stands_in_an_entry_is_looked_at_and_shown_or_told(
        key in proptest::sample::select([keys::SHARED, keys::SERVER].concat()),
        value in r#"("[a-z$\{\}:/.é ]{0,12}"|[0-9]{1,4}|true|null|\[("[a-zA-Z*/.\]$é ]{0,6}",?){0,2}\]|\{("[a-z*.]{1,4}": ("[a-zé{}$]{0,6}"|[0-9]|\{\}|\["x"\])){0,1}\})"#,
    ) {
        let case = Case::new(&format!(r#"{{"mcpServers": {{"a": {{"command": "x", "{key}": {value}}}, "b": {{"command": "y"}}}}}}"#));
        let found = case.found(&[]);
        let has_error = found.iter().any(|told| told.starts_with("Error"));
        proptest::prop_assert_eq!(has_error, case.run(&[]).is_err(), "{:?}", found);
        if !has_error {
            proptest::prop_assert!(shown(&case, &[]).len() > 20);
        }
    }
}
