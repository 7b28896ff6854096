//! `mcp-pipe test`: what it says of servers that do what clients need, and of each that does not.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Setup, calculator_entry, config, example, fixture_entry};

/// The tools of the fixture that only read, marked as such: on one line, as the fixture writes it so.
const READERS: &str = concat!(
    r#"{"tools":[{"name":"pid","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":true}},"#,
    r#"{"name":"echo","inputSchema":{"type":"object","properties":{"text":{"type":"string"}},"required":["text"]},"#,
    r#""annotations":{"readOnlyHint":true}}]}"#
);

/// A server that does what its first argument says, notes what it is told in the file that the second one names, and has tools that the third one lists.
const SERVER: &str = r#"
import json, os, sys, time
how, notes, tools = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
def say(message):
    print(json.dumps(message), flush=True)
for line in sys.stdin:
    message = json.loads(line)
    method, id = message.get("method"), message.get("id")
    params = message.get("params") or {}
    with open(notes, "a") as file:
        file.write(json.dumps([method, params.get("name"), params.get("arguments")]) + "\n")
    if how == "exits-on-cancel" and method == "notifications/cancelled":
        sys.exit(5)
    if id is None or method is None:
        continue
    if method == "initialize":
        result = {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": {"name": "s", "version": "1"}}
        if how == "nameless":
            del result["serverInfo"]
        if how == "shy":
            result["capabilities"] = {}
    elif method == "tools/list":
        result = {"tools": tools}
        if how == "other-tools":
            result = {"tools": tools + [{"name": "t%d" % os.getpid(), "inputSchema": {"type": "object"}}]}
        if how == "endless":
            result["nextCursor"] = "more"
        if how == "no-list":
            result = {}
    elif method == "ping":
        result = {}
    elif method == "tools/call":
        known = [tool for tool in tools if tool["name"] == params.get("name")]
        needed = known[0]["inputSchema"].get("required", []) if known else []
        missing = [name for name in needed if not isinstance((params.get("arguments") or {}).get(name), str)]
        if missing and how == "exits-on-arguments":
            sys.exit(7)
        if how == "takes-anything":
            missing = []
        if not known or missing:
            say({"jsonrpc": "2.0", "id": id, "error": {"code": -32602, "message": "no"}})
            continue
        result = {"content": [{"type": "text", "text": "done"}]}
    elif how == "exits-on-method":
        sys.exit(6)
    else:
        say({"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "no such method"}})
        continue
    say({"jsonrpc": "2.0", "id": id, "result": result})
"#;

/// A folder with the server in it.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("server.py"), SERVER).unwrap();
    folder
}

/// An entry that runs the server in this way; and the file where it notes what it is told.
fn entry(folder: &Path, how: &str, tools: &Value) -> (Value, std::path::PathBuf) {
    let notes = folder.join(format!("{how}.notes"));
    let args = json!([folder.join("server.py"), how, notes, tools.to_string()]);
    (json!({"command": "python3", "args": args}), notes)
}

fn readers() -> Value {
    let readers: Value = serde_json::from_str(READERS).unwrap();
    readers["tools"].clone()
}

/// What `mcp-pipe test` came to.
struct Tested {
    code: i32,
    json: Value,
    stderr: String,
}

impl Tested {
    async fn of(config: &Value, args: &[&str]) -> Tested {
        let line = [&["test", "--json"], args].concat();
        let output = Setup::new().config(config).args(line.iter().copied()).output().await;
        let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        let json = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}"));
        Tested { code: output.status.code().unwrap(), json, stderr }
    }

    fn server(&self, name: &str) -> &Vec<Value> {
        let servers = self.json["servers"].as_array().unwrap();
        let server = servers.iter().find(|server| server["name"] == name);
        server.unwrap_or_else(|| panic!("no {name} in {}{}", self.json, self.stderr))["checks"].as_array().unwrap()
    }

    /// The check of this name.
    fn check(&self, server: &str, id: &str) -> &Value {
        let check = self.server(server).iter().find(|check| check["id"] == id);
        check.unwrap_or_else(|| panic!("no {id} of {server} in {}", self.json))
    }

    /// The checks that neither passed nor were skipped, as `id status`.
    fn trouble(&self, server: &str) -> Vec<String> {
        let odd = self.server(server).iter().filter(|check| check["status"] != "PASS" && check["status"] != "SKIP");
        odd.map(|check| format!("{} {}", check["id"].as_str().unwrap(), check["status"].as_str().unwrap())).collect()
    }
}

#[tokio::test]
async fn a_server_that_does_what_clients_need_passes_each_check_of_both_suites() {
    let servers = config([("x", fixture_entry(&["--answer", "tools/list", READERS]))]);
    let tested = Tested::of(&servers, &["x", "--suite", "protocol"]).await;
    let marks: Vec<(&str, &str)> = tested
        .server("x")
        .iter()
        .map(|check| (check["id"].as_str().unwrap(), check["status"].as_str().unwrap()))
        .collect();
    let passed = |ids: &[&'static str]| ids.iter().map(|id| (*id, "PASS")).collect::<Vec<_>>();
    let mut want = passed(&["initialize", "tools"]);
    want.extend([("prompts", "SKIP"), ("resources", "SKIP")]);
    want.extend(passed(&["schemas", "names", "ping", "stdout", "unknown-method", "unknown-tool", "arguments"]));
    want.extend(passed(&["cancel", "parallel", "restart", "stop"]));
    assert_eq!(marks, want, "{}{}", tested.json, tested.stderr);
    assert_eq!((tested.code, &tested.json["schema"]), (0, &json!(1)), "{}", tested.stderr);
    assert_eq!(tested.check("x", "prompts")["message"], "because it declares no prompts");
    assert!(tested.check("x", "ping").get("remedy").is_none());
    let smoke = Tested::of(&servers, &[]).await;
    assert_eq!((smoke.code, smoke.server("x").len()), (0, 8), "{}", smoke.json);
}

#[tokio::test]
async fn each_thing_that_a_server_gets_wrong_is_the_one_check_that_fails() {
    let folder = folder();
    let tools = readers();
    let list = |tool: Value| json!({"tools": [tool]}).to_string();
    let bad_schema =
        list(json!({"name": "t", "inputSchema": {"type": "object", "properties": {"a": {"type": "int"}}}}));
    let bad_output = list(json!({"name": "t", "inputSchema": {"type": "object"}, "outputSchema": {"type": "array"}}));
    let doubtful = list(json!({"name": "t", "inputSchema": {"type": "object", "anyOf": [{}]}}));
    let odd_name = list(json!({"name": "get.time", "inputSchema": {"type": "object"}}));
    let unknown = "mcp-pipe/no-such-method";
    let of_fixture: Vec<(&str, Vec<&str>, &str)> = vec![
        ("garbage", vec!["--garbage"], "stdout FAIL"),
        ("spread", vec!["--shape", "spread"], "stdout FAIL"),
        ("unended", vec!["--shape", "unended"], "stdout FAIL"),
        ("bad-schema", vec!["--answer", "tools/list", &bad_schema], "schemas FAIL"),
        ("bad-output", vec!["--answer", "tools/list", &bad_output], "schemas FAIL"),
        ("doubtful", vec!["--answer", "tools/list", &doubtful], "schemas WARN"),
        ("odd-name", vec!["--answer", "tools/list", &odd_name], "names WARN"),
        ("no-ping", vec!["--fail", "ping", "-32601"], "ping FAIL"),
        ("other-code", vec!["--fail", unknown, "-32602"], "unknown-method WARN"),
        ("takes-methods", vec!["--answer", unknown, "{}"], "unknown-method FAIL"),
        ("mute-method", vec!["--mute", unknown], "unknown-method FAIL"),
        ("takes-tools", vec!["--answer", "tools/call", r#"{"content":[]}"#], "unknown-tool FAIL, arguments FAIL"),
        ("twice", vec!["--duplicate"], "parallel FAIL"),
        ("stays", vec!["--ignore-term"], "stop WARN"),
    ];
    let of_script = [
        ("nameless", "initialize FAIL"),
        ("shy", "tools WARN"),
        ("endless", "tools FAIL"),
        ("exits-on-method", "unknown-method FAIL"),
        ("exits-on-arguments", "arguments FAIL"),
        ("takes-anything", "arguments WARN"),
        ("exits-on-cancel", "cancel FAIL"),
        ("other-tools", "restart FAIL"),
    ];
    let mut servers = Vec::new();
    for (name, flags, _) in &of_fixture {
        let flags = if flags.contains(&"tools/list") {
            flags.clone()
        } else {
            [flags.as_slice(), &["--answer", "tools/list", READERS]].concat()
        };
        servers.push((*name, fixture_entry(&flags)));
    }
    for (how, _) in of_script {
        servers.push((how, entry(folder.path(), how, &tools).0));
    }
    let tested = Tested::of(&config(servers), &["--suite", "protocol"]).await;
    assert_eq!(tested.code, 1);
    let want = of_fixture.iter().map(|(name, _, want)| (*name, *want)).chain(of_script);
    for (name, want) in want {
        assert_eq!(tested.trouble(name).join(", "), want, "{name}: {:#}\n{}", tested.json, tested.stderr);
        for id in want.split(", ").filter_map(|odd| odd.split(' ').next()) {
            assert!(tested.check(name, id)["remedy"].is_string(), "{name}: {}", tested.check(name, id));
        }
    }
    for (name, id, said) in [
        ("bad-schema", "schemas", "t: inputSchema.properties.a.type is \"int\""),
        ("odd-name", "names", "get.time"),
        ("mute-method", "unknown-method", "was not answered within 10.0 s"),
        (
            "exits-on-method",
            "unknown-method",
            "got no answer (not answered: server \"exits-on-method\" exited with code 6",
        ),
        ("exits-on-cancel", "cancel", "a call of pid was cancelled, and then it ended"),
        ("stays", "stop", "was sent a signal"),
    ] {
        let message = tested.check(name, id)["message"].as_str().unwrap();
        assert!(message.contains(said), "{name}: {message}");
    }
    assert!(!tested.stderr.contains("next attempt in"), "{}", tested.stderr);
}

#[tokio::test]
async fn a_server_that_is_silent_dies_or_cannot_start_costs_the_others_nothing_and_a_disabled_one_is_told() {
    let broken = json!({"command": "sh", "args": ["-c", "echo the last words >&2; exit 3"]});
    let mut config = config([
        ("mute", fixture_entry(&["--silent"])),
        ("broken", broken),
        ("missing", json!({"command": "no-such-program"})),
        ("listless", fixture_entry(&["--mute", "tools/list"])),
        ("well", calculator_entry()),
        ("off", json!({"command": "x", "disabled": true})),
    ]);
    config["startTimeout"] = "3s".into();
    let tested = Tested::of(&config, &[]).await;
    assert_eq!((tested.code, tested.trouble("well")), (1, Vec::new()), "{}{}", tested.json, tested.stderr);
    for (name, said) in [
        ("mute", "did not answer initialize in 3 s"),
        ("broken", "exited with code 3; the last lines of its stderr: the last words"),
        ("missing", "no-such-program"),
    ] {
        let message = tested.check(name, "initialize")["message"].as_str().unwrap().to_owned();
        assert!(message.contains(said), "{name}: {message}");
        assert_eq!(tested.trouble(name), ["initialize FAIL"]);
        assert_eq!(tested.check(name, "tools")["message"], "because it does not answer initialize");
    }
    assert_eq!(tested.trouble("listless"), ["tools FAIL"], "{}", tested.json);
    assert!(tested.server("off").iter().all(|check| check["message"] == "because it is disabled in the config"));
}

#[tokio::test]
async fn no_tool_is_called_that_does_not_say_that_it_only_reads() {
    let folder = folder();
    let tool = |name: &str, annotations: Value, required: Value| {
        let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": required});
        json!({"name": name, "inputSchema": schema, "annotations": annotations})
    };
    let reads = json!({"readOnlyHint": true});
    let tools = json!([
        tool("writes", json!({}), json!([])),
        tool("destroys", json!({"readOnlyHint": false}), json!(["a"])),
        tool("reads", reads.clone(), json!([])),
        tool("reads-a", reads, json!(["a"])),
    ]);
    let (entry, notes) = entry(folder.path(), "well", &tools);
    let tested = Tested::of(&config([("x", entry)]), &["--suite", "protocol"]).await;
    assert_eq!((tested.code, tested.trouble("x")), (0, Vec::new()), "{}", tested.json);
    let notes = fs::read_to_string(notes).unwrap();
    let called: Vec<Value> = notes.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let called: Vec<&Value> = called.iter().filter(|note| note[0] == "tools/call").map(|note| &note[1]).collect();
    assert_eq!(
        called,
        ["mcp_pipe_no_such_tool", "", "reads-a", "reads-a", "reads"]
            .map(|name| match name {
                "" => Value::Null,
                name => name.into(),
            })
            .iter()
            .collect::<Vec<_>>(),
        "{notes}"
    );
    // And where none may be called, that is said.
    let (entry, _) = self::entry(folder.path(), "none", &json!([tool("writes", json!({}), json!([]))]));
    let tested = Tested::of(&config([("x", entry)]), &["--suite", "protocol"]).await;
    let cancel = tested.check("x", "cancel");
    assert_eq!(cancel["status"], "SKIP");
    assert!(cancel["message"].as_str().unwrap().contains("is marked readOnlyHint: true, and no other is called"));
}

#[tokio::test]
async fn a_script_and_a_command_line_are_tested_and_a_person_reads_a_table() {
    let script = example("calculator.py");
    for line in [vec![script.to_str().unwrap()], vec!["--", "python3", script.to_str().unwrap()]] {
        let args = [&["test"], line.as_slice()].concat();
        let output = Setup::new().args(args.iter().copied()).output().await;
        let stdout = String::from_utf8(output.stdout).unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{stdout}{stderr}");
        assert!(stdout.starts_with("SERVER ") && !stdout.contains('\u{1b}'), "{stdout}");
        let line = stdout.lines().find(|line| line.contains(" initialize ")).unwrap();
        assert!(line.contains("PASS") && line.contains("the xiaozhi cloud waits 10.0 s"), "{stdout}");
        assert!(stdout.ends_with("0 failed, 2 skipped\n"), "{stdout}");
    }
}

#[tokio::test]
async fn a_wrong_name_and_a_wrong_config_are_told_before_anything_starts() {
    let well = config([("x", calculator_entry())]);
    let output = Setup::new().config(&well).args(["test", "y"]).output().await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let output = Setup::new().config(&well).args(["test", "x", "--suite", "all"]).output().await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let output = Setup::new().config(&json!({"mcpServers": {"x": {"args": []}}})).args(["test"]).output().await;
    assert_eq!(output.status.code(), Some(78), "{output:?}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_remote_server_is_tested_as_far_as_that_makes_sense() {
    let gateway = json!({"gateway": {"listen": "127.0.0.1:0"}, "mcpServers": {"x": fixture_entry(&["--answer", "tools/list", READERS])}});
    let daemon = Setup::new().config(&gateway).start("info");
    let url = crate::gateway::url(&daemon).await;
    let tested = Tested::of(&config([("far", json!({"url": url}))]), &["--suite", "protocol"]).await;
    assert_eq!((tested.code, tested.trouble("far")), (0, Vec::new()), "{}{}", tested.json, tested.stderr);
    for id in ["restart", "stop"] {
        assert_eq!(
            tested.check("far", id)["message"],
            "because it is reached over HTTP, and is no process of this machine"
        );
    }
    assert_eq!(tested.check("far", "parallel")["status"], "PASS");
    daemon.stop().await;
}
