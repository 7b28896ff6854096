//! `mcp-pipe connect`: the entry that a client gets is really used, and nothing else in its file changes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use rmcp::ServiceExt as _;
use rmcp::model::CallToolRequestParams;
use rmcp::transport::TokioChildProcess;
use serde_json::{Value, json};

use crate::control::Runtime;
use crate::gateway::url;
use crate::harness::{McpHttp, config, fixture_entry, within};
use crate::import::{Machine, contents, jsonc, mode, put};

/// The clients, with the file of each and where its servers stand in it.
const CLIENTS: &[(&str, &str, &[&str])] = &[
    ("claude", ".config/Claude/claude_desktop_config.json", &["mcpServers"]),
    ("claude-code", ".claude.json", &["mcpServers"]),
    ("cursor", ".cursor/mcp.json", &["mcpServers"]),
    ("vscode", ".config/Code/User/mcp.json", &["servers"]),
    ("windsurf", ".codeium/windsurf/mcp_config.json", &["mcpServers"]),
    (
        "cline",
        ".config/Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json",
        &["mcpServers"],
    ),
    ("roo", ".config/Code/User/globalStorage/rooveterinaryinc.roo-cline/settings/mcp_settings.json", &["mcpServers"]),
    ("gemini", ".gemini/settings.json", &["mcpServers"]),
    ("opencode", ".config/opencode/opencode.json", &["mcp"]),
    ("lmstudio", ".lmstudio/mcp.json", &["mcpServers"]),
    ("zed", ".config/zed/settings.json", &["context_servers"]),
    ("copilot", ".copilot/mcp-config.json", &["mcpServers"]),
    ("amazonq", ".aws/amazonq/mcp.json", &["mcpServers"]),
];

fn machine() -> Machine {
    let machine = Machine::new();
    put(&machine.work("mcp_config.json"), &config([("x", fixture_entry(&[]))]).to_string());
    machine
}

/// The entry in a client's file.
fn entry(machine: &Machine, path: &str, list: &[&str]) -> Value {
    let value = jsonc(&fs::read_to_string(machine.home(path)).unwrap());
    list.iter().chain(&["mcp-pipe"]).fold(value, |value, key| value[*key].clone())
}

fn copies(machine: &Machine) -> Vec<PathBuf> {
    contents(&machine.home("")).into_keys().filter(|path| path.to_string_lossy().contains(".backup-")).collect()
}

#[tokio::test]
async fn each_client_gets_an_entry_that_works_and_keeps_whatever_else_is_in_its_file() {
    for (client, path, list) in CLIENTS {
        let machine = machine();
        let key = list[0];
        let text = format!(
            "// mine\n{{\n    \"theme\": \"dark\", // kept\n    \"{key}\": {{\n        \"other\": {{\"command\": \"x\"}}\n    }}\n}}\n"
        );
        put(&machine.home(path), &text);
        let shown = machine.says(&["connect", client]);
        assert!(shown.contains(path) && shown.contains(&format!("mcp-pipe connect {client} --write")), "{shown}");
        assert_eq!(fs::read_to_string(machine.home(path)).unwrap(), text, "nothing is written that was not asked for");
        let said = machine.says(&["connect", client, "--write"]);
        let new = fs::read_to_string(machine.home(path)).unwrap();
        for kept in ["// mine\n{\n    \"theme\": \"dark\", // kept\n", "        \"other\": {\"command\": \"x\"}"] {
            assert!(new.contains(kept), "{client}: {new}");
        }
        let copies = copies(&machine);
        assert!(copies.len() == 1 && said.contains(copies[0].file_name().unwrap().to_str().unwrap()), "{said}");
        assert_eq!(fs::read_to_string(&copies[0]).unwrap(), text);
        // A second run changes nothing.
        let before = contents(&machine.home(""));
        assert!(machine.says(&["connect", client, "--write"]).contains("It is there already."));
        assert_eq!(machine.told(&["connect", client, "--write", "--json"])["changes"], false);
        assert_eq!(contents(&machine.home("")), before);

        let entry = entry(&machine, path, list);
        let words = |value: &Value| -> Vec<String> {
            value.as_array().into_iter().flatten().map(|word| word.as_str().unwrap().to_owned()).collect()
        };
        let program = entry["command"].as_str().map(str::to_owned).into_iter();
        let line: Vec<String> = program.chain(words(&entry["command"])).chain(words(&entry["args"])).collect();
        assert!(line[0].starts_with('/') && line[3].starts_with('/'), "{client}: {line:?}");
        // As the client does: from wherever it is.
        let mut command = tokio::process::Command::new(&line[0]);
        command
            .args(&line[1..])
            .current_dir("/")
            .env("HOME", machine.home(""))
            .env("XDG_RUNTIME_DIR", machine.home(""));
        let child = TokioChildProcess::new(command).unwrap();
        let peer = within("a greeting", ().serve(child)).await.unwrap();
        let arguments = json!({"a": 2, "b": 3}).as_object().cloned().unwrap();
        let call = CallToolRequestParams::new("add").with_arguments(arguments);
        let said = within("an answer", peer.call_tool(call)).await.unwrap();
        assert_eq!(serde_json::to_value(said).unwrap()["content"][0]["text"], "5", "{client}");
        within("the end", peer.cancel()).await.unwrap();
    }
}

#[tokio::test]
async fn by_http_a_client_gets_the_gateways_address_and_its_key_is_shown_to_nobody() {
    const SECRET: &str = "the-key-of-ann-Zq77-0123";
    let runtime = Runtime::new();
    let config = |listen: &str| {
        let gateway = json!({"listen": listen, "apiKeys": [{"name": "ann", "key": "${ANN_KEY}"}]});
        json!({"gateway": gateway, "mcpServers": {"x": fixture_entry(&[])}})
    };
    let daemon = runtime.setup().config(&config("127.0.0.1:0")).env("ANN_KEY", SECRET).start("info");
    daemon.wait_for_event("ALL_UP").await;
    // Only the daemon knows which port is free.
    let served = url(&daemon).await;
    let listen = served.split('/').nth(2).unwrap();
    let machine = Machine::new();
    put(&machine.work("mcp_config.json"), &config(listen).to_string());
    put(&machine.work(".env"), &format!("ANN_KEY={SECRET}\n"));
    for (client, path, list) in CLIENTS.iter().filter(|(client, ..)| *client != "claude") {
        // For everybody, until there is a key in it.
        put(&machine.home(path), "{}");
        assert_ne!(mode(&machine.home(path)), 0o600);
        let told = |more: &[&str]| {
            let said = machine.says(&[&["connect", client, "--http"], more].concat());
            assert!(!said.contains("Zq77"), "{said}");
            said
        };
        let (before, _, after) = (told(&[]), told(&["--json"]), told(&["--write"]));
        let entry = entry(&machine, path, list);
        let (_, address) =
            entry.as_object().unwrap().iter().find(|(key, _)| key.to_lowercase().ends_with("url")).unwrap();
        let address = address.as_str().unwrap();
        assert_eq!(address, format!("http://{listen}/mcp"), "{client}");
        let header = entry["headers"]["Authorization"].as_str().unwrap().strip_prefix("Bearer ").unwrap();
        let key = match header {
            SECRET => {
                assert_eq!(mode(&machine.home(path)), 0o600, "{client}");
                assert!(before.contains("will stand in that file, which will be for you alone"), "{before}");
                assert!(after.contains("stands in that file, which is for you alone"), "{after}");
                SECRET
            }
            // What the client puts in its place.
            "${ANN_KEY}" | "${env:ANN_KEY}" | "{env:ANN_KEY}" | "${input:mcp-pipe-key}" => SECRET,
            other => panic!("{client}: {other}"),
        };
        let mut peer = McpHttp::at(address).path("/mcp").key(key);
        peer.begin().await;
        assert_eq!(peer.call("add", json!({"a": 2, "b": 3})).await, "5", "{client}");
        let before = contents(&machine.home(""));
        // Somebody may have opened it since.
        fs::set_permissions(machine.home(path), fs::Permissions::from_mode(0o644)).unwrap();
        let again = told(&["--write"]);
        assert!(again.contains("It is there already.") && !again.contains("for you alone"), "{again}");
        assert_eq!(again.contains("others can read: chmod 600"), header == SECRET, "{again}");
        assert_eq!(contents(&machine.home("")), before);
    }
    let with_key = CLIENTS.iter().filter(|(client, path, _)| {
        *client != "claude" && fs::read_to_string(machine.home(path)).unwrap().contains(SECRET)
    });
    assert_eq!(
        with_key.map(|(client, ..)| *client).collect::<Vec<_>>(),
        ["cline", "lmstudio", "zed", "copilot", "amazonq"]
    );
    let refused = machine.run(&["connect", "claude", "--http"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    daemon.stop().await;
}

#[test]
fn what_can_not_be_done_is_said_and_the_file_is_as_it_was() {
    let machine = machine();
    for (text, code, want) in [
        ("{\n  \"mcpServers\": {,}\n}", 78, "mcp.json:2:"),
        ("{\"mcpServers\": []}", 1, "\"mcp-pipe\""),
        ("[]", 78, "no JSON object"),
    ] {
        put(&machine.home(".cursor/mcp.json"), text);
        let output = machine.run(&["connect", "cursor", "--write"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(want) && said.contains("nothing was written"), "{said}");
        assert_eq!(contents(&machine.home("")).into_values().collect::<Vec<_>>(), [text]);
    }
    let output = machine.run(&["connect", "vscode", "--http"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(78) && said.contains("has no gateway"), "{said}");
    // A key of which nobody here knows the text, and none at all.
    for (gateway, want) in [
        (json!({"apiKeys": [{"name": "a", "keySha256": "0".repeat(64)}]}), "as its SHA-256 only"),
        (
            json!({"jwt": [{"name": "i", "issuer": "https://i.example", "audience": "a", "jwksUrl": "https://i.example/jwks.json"}]}),
            "has no key",
        ),
        (json!({"apiKeys": [{"name": "a", "keyFile": "none"}]}), "work/none, which can't be read"),
    ] {
        let text = json!({"gateway": gateway, "mcpServers": {"x": fixture_entry(&[])}});
        put(&machine.work("gateway.json"), &text.to_string());
        let output = machine.run(&["connect", "zed", "--http", "--config", "gateway.json"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(78) && said.contains(want), "{said}");
    }
    // VS Code has servers in a file of their own.
    put(&machine.home(".config/Code/User/settings.json"), "{}");
    assert!(machine.says(&["connect", "vscode"]).contains("Code/User/mcp.json"));
    // What was put somewhere is not taken over from there.
    put(&machine.home(".cursor/mcp.json"), "{}");
    machine.says(&["connect", "cursor", "--write"]);
    assert_eq!(machine.told(&["import", "--json"])["servers"][0]["why"], "is mcp-pipe itself");
    // A file of a project, which is not there yet.
    machine.says(&["connect", "vscode", "--file", ".vscode/mcp.json", "--write"]);
    let value = jsonc(&fs::read_to_string(machine.work(".vscode/mcp.json")).unwrap());
    assert_eq!(value["servers"]["mcp-pipe"]["type"], "stdio");
}

#[test]
fn two_at_once_wait_for_each_other_and_both_are_in_the_file() {
    let machine = machine();
    // Each has its servers under another key, so each changes the file.
    let clients = ["cursor", "vscode", "opencode", "zed"];
    let start = |client| machine.command(&["connect", client, "--file", "all.json", "--write"]).output().unwrap();
    std::thread::scope(|scope| {
        let runs: Vec<_> = clients.into_iter().map(|client| scope.spawn(move || start(client))).collect();
        for run in runs {
            let output = run.join().unwrap();
            assert!(output.status.success(), "{output:?}");
        }
    });
    let value = jsonc(&fs::read_to_string(machine.work("all.json")).unwrap());
    for list in ["mcpServers", "servers", "mcp", "context_servers"] {
        assert!(value[list]["mcp-pipe"].is_object(), "{list}: {value}");
    }
}
