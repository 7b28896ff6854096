//! `mcp-pipe import` and `mcp-pipe init`: a made-up home in which fifteen programs have their files, with a secret wherever one may stand.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::terminal::terminal;

/// A machine of somebody who uses all of these programs.
pub(crate) struct Machine {
    root: TempDir,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let root = TempDir::new().unwrap();
        for folder in ["home", "work"] {
            fs::create_dir(root.path().join(folder)).unwrap();
        }
        Machine { root }
    }

    pub(crate) fn home(&self, path: &str) -> PathBuf {
        self.root.path().join("home").join(path)
    }

    /// Where it is called, and where the config is.
    pub(crate) fn work(&self, path: &str) -> PathBuf {
        self.root.path().join("work").join(path)
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-pipe"));
        command.args(args).env_clear().current_dir(self.work("")).env("HOME", self.home(""));
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("TMPDIR", self.root.path());
        command.env("XDG_RUNTIME_DIR", self.root.path());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).stdin(std::process::Stdio::null()).output().unwrap()
    }

    /// What it prints, if all is well.
    pub(crate) fn says(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn told(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.says(args)).unwrap()
    }
}

pub(crate) fn put(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

pub(crate) fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

/// All files of a folder, with what is in them.
pub(crate) fn contents(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(contents(&path));
        } else {
            all.insert(path.clone(), fs::read_to_string(&path).unwrap());
        }
    }
    all
}

/// The planted secret of this number; no two have a part in common by which one could be taken for another.
fn secret(n: usize) -> String {
    format!("Zq{n:02}x{}Kw{}v", n * 7919 % 9973, n * 104_729 % 99_991)
}

/// How many are planted.
const SECRETS: usize = 41;
/// Those that are taken over: the others stand in keys that are not.
fn is_taken(n: usize) -> bool {
    !(31..=38).contains(&n)
}

/// The files of all programs, each with `%NN%` where a secret is, and how many servers are in it.
const FILES: &[(&str, usize, &str)] = &[
    (
        "home/.config/Claude/claude_desktop_config.json",
        5,
        r#"{"globalShortcut": "x", "mcpServers": {
            "github": {"command": "npx", "args": ["-y", "@modelcontextprotocol/server-github"], "env": {"GITHUB_PERSONAL_ACCESS_TOKEN": "%01%"}},
            "postgres": {"command": "npx", "args": ["-y", "@modelcontextprotocol/server-postgres", "postgresql://me:%02%@db.example/x"]},
            "docker": {"command": "docker", "args": ["run", "-i", "--rm", "-e", "API_KEY=%03%", "mcp/x"]},
            "remote": {"command": "npx", "args": ["mcp-remote", "https://r.example/mcp", "--header", "Authorization: Bearer %04%"]},
            "keyed": {"command": "srv", "args": ["--api-key", "%05%", "--verbose"]}
        }}"#,
    ),
    (
        "home/.claude.json",
        3,
        r#"{"numStartups": 3, "oauthAccount": {"token": "%31%"}, "mcpServers": {
            "notion": {"type": "http", "url": "https://mcp.notion.example/mcp", "headers": {"Authorization": "Bearer %06%"}},
            "vars": {"command": "srv", "args": ["--token", "${MY_TOKEN}"], "env": {"K": "${UNSET_KEY}", "D": "${OTHER:-%07%}"}}
        }, "projects": {"/srv/app": {"allowedTools": [], "mcpServers": {"app": {"command": "./run.sh", "args": [], "env": {"APP_SECRET": "%08%"}}}}, "/srv/b": {}}}"#,
    ),
    (
        "work/.mcp.json",
        1,
        r#"{"mcpServers": {"project": {"command": "node", "args": ["server.js"], "env": {"SESSION": "%09%"}}}}"#,
    ),
    (
        "home/.cursor/mcp.json",
        3,
        r#"{"mcpServers": {
            "github": {"command": "npx", "args": ["-y", "@modelcontextprotocol/server-github"], "env": {"GITHUB_PERSONAL_ACCESS_TOKEN": "%32%"}},
            "zapier": {"url": "https://actions.zapier.example/mcp/%10%/sse"},
            "oauth": {"url": "https://o.example/mcp", "auth": {"CLIENT_ID": "me", "CLIENT_SECRET": "%33%"}}
        }}"#,
    ),
    (
        "home/.config/Code/User/mcp.json",
        2,
        r#"{ // of VS Code
            "inputs": [{"type": "promptString", "id": "asked-key", "password": true}, {"type": "promptString", "id": "tz", "default": "%11%"},],
            "servers": {
                "asked": {"type": "stdio", "command": "srv", "env": {"ASKED": "${input:asked-key}", "Z": "${input:tz}"}, "envFile": "${workspaceFolder}/none", "dev": {"watch": "x"}},
                "http": {"type": "http", "url": "https://h.example/mcp?api_key=%12%&lang=en", "headers": {"X-Api-Key": "%13%", "Accept": "text/plain", "X-Lang": "en"}},
            },
        }"#,
    ),
    (
        "home/.config/Code/User/settings.json",
        1,
        r#"{"editor.fontSize": 12, "some.apiKey": "%34%", "mcp": {"servers": {"settings": {"command": "srv", "env": {"A_B": "%14%"}}}}}"#,
    ),
    (
        "work/.vscode/mcp.json",
        1,
        r#"{"servers": {"workspace": {"command": "${workspaceFolder}/bin/x", "args": ["${workspaceFolder}"], "env": {"PASSWORD": "%15%"}}}}"#,
    ),
    (
        "home/.codeium/windsurf/mcp_config.json",
        2,
        r#"{"mcpServers": {
            "surf": {"serverUrl": "https://me:%16%@s.example/mcp", "disabledTools": ["rm"]},
            "local-surf": {"command": "srv", "args": ["--password=%17%"], "disabled": true}
        }}"#,
    ),
    (
        "home/.config/Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json",
        1,
        r#"{"mcpServers": {"cline": {"command": "srv", "args": [], "env": {"NEUTRAL": "%18%"}, "autoApprove": ["a"], "timeout": 60, "disabled": false}}}"#,
    ),
    (
        "home/.config/Code/User/globalStorage/rooveterinaryinc.roo-cline/settings/mcp_settings.json",
        1,
        r#"{"mcpServers": {"roo": {"type": "streamable-http", "url": "https://roo.example/mcp", "headers": {"Cookie": "id=%19%"}, "alwaysAllow": ["x"]}}}"#,
    ),
    (
        "home/.gemini/settings.json",
        2,
        r#"{"theme": "x", "security": {"apiKey": "%35%"}, "mcpServers": {
            "gem": {"httpUrl": "https://g.example/mcp", "headers": {"Authorization": "%20%"}, "timeout": 5000, "trust": true, "includeTools": ["t"]},
            "gem-local": {"command": "srv", "env": {"G_TOKEN": "$MY_TOKEN", "LITERAL": "%21%"}, "oauth": {"clientSecret": "%36%"}}
        }}"#,
    ),
    (
        "home/.config/opencode/opencode.jsonc",
        2,
        r#"{ "$schema": "x", /* mine */ "model": "m",
            "mcp": {
                "open": {"type": "local", "command": ["srv", "--key", "%22%"], "environment": {"OPEN_KEY": "%23%", "E": "{env:MY_TOKEN}"}, "enabled": true},
                "open-remote": {"type": "remote", "url": "https://open.example/mcp", "headers": {"Authorization": "Bearer %24%"}, "enabled": false},
            },
        }"#,
    ),
    (
        "home/.lmstudio/mcp.json",
        1,
        r#"{"mcpServers": {"hf": {"url": "https://hf.example/mcp", "headers": {"Authorization": "Bearer hf_%25%"}}}}"#,
    ),
    (
        "home/.config/zed/settings.json",
        2,
        r#"// Zed
        {"theme": "x", "context_servers": {
            "zed": {"source": "custom", "command": {"path": "srv", "args": ["x", "%26%"], "env": {"ZED_KEY": "%27%"}}, "settings": {"k": "%37%"}},
            "extension": {"source": "extension", "settings": {"token": "%38%"}}
        }}"#,
    ),
    (
        "home/.copilot/mcp-config.json",
        1,
        r#"{"mcpServers": {"copilot": {"type": "local", "command": "srv", "args": ["-e"], "tools": ["*"], "env": {"COPILOT": "%28%"}}}}"#,
    ),
    (
        "home/.aws/amazonq/mcp.json",
        1,
        r#"{"mcpServers": {"q": {"command": "srv", "env": {"JSON": "{\"key\": \"%29%\"}"}, "timeout": 1000}}}"#,
    ),
    (
        "work/xiaozhi.config.json",
        1,
        r#"{"mcpEndpoint": "wss://api.xiaozhi.example/mcp/?token=%30%", "mcpServers": {"calculator": {"command": "node", "args": ["./calc.js"]}},
            "mcpServerConfig": {"calculator": {"tools": {"off": {"enable": false}}}}, "connection": {"heartbeatInterval": 30000}}"#,
    ),
    (
        "work/mcp_settings.json",
        4,
        r#"{"mcpServers": {
            "hub": {"command": "srv", "env": {"HUB_TOKEN": "%39%"}, "enabled": false, "tools": {"x": {"enabled": false}}},
            "hub-sse": {"type": "sse", "url": "https://hub.example/sse?k=%40%"},
            "api": {"type": "openapi", "openapi": {"url": "https://api.example/openapi.json"}},
            "socket": {"url": "wss://ws.example/?token=%41%"}
        }, "groups": [{"id": "g"}], "users": [{"username": "admin"}]}"#,
    ),
];

/// What `.env` has before: of an endpoint only the name.
const DOTENV: &str = "MY_TOKEN=mine\nMCP_ENDPOINT=\n";

/// A machine with all of them, and the servers in each, as written.
fn machine() -> (Machine, BTreeSet<(String, String)>) {
    let machine = Machine::new();
    let mut servers = BTreeSet::new();
    for (path, count, text) in FILES {
        let mut text = (*text).to_owned();
        for n in 1..=SECRETS {
            text = text.replace(&format!("%{n:02}%"), &secret(n));
        }
        let path = machine.root.path().join(path);
        put(&path, &text);
        let value = jsonc(&text);
        let before = servers.len();
        let lists = [
            &value["mcpServers"],
            &value["servers"],
            &value["context_servers"],
            &value["projects"]["/srv/app"]["mcpServers"],
        ];
        let mcp = if value["mcp"]["servers"].is_object() { &value["mcp"]["servers"] } else { &value["mcp"] };
        for list in lists.into_iter().chain([mcp]) {
            servers.extend(
                list.as_object().into_iter().flatten().map(|(name, _)| (path.display().to_string(), name.clone())),
            );
        }
        assert_eq!(servers.len() - before, *count, "{}", path.display());
    }
    (machine, servers)
}

/// JSON with comments and trailing commas, as far as the files here have them.
pub(crate) fn jsonc(text: &str) -> Value {
    let text = text.replace("/* mine */", "").replace(",]", "]");
    let lines = text.lines().map(|line| line.split_once("// ").map_or(line, |(before, _)| before));
    let mut text = lines.collect::<Vec<_>>().join("\n");
    while let Some(at) = text.find(',').filter(|_| has_trailing(&text)) {
        let _ = at;
        text = without_trailing(&text);
    }
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn has_trailing(text: &str) -> bool {
    without_trailing(text) != text
}

/// Without each comma behind which only blanks and a bracket follow.
fn without_trailing(text: &str) -> String {
    let mut out = String::new();
    for (at, c) in text.char_indices() {
        let next = text[at + c.len_utf8()..].trim_start().chars().next();
        if !(c == ',' && matches!(next, Some('}' | ']'))) {
            out.push(c);
        }
    }
    out
}

fn assert_no_secret(shown: &str, what: &str) {
    for n in 1..=SECRETS {
        assert!(!shown.contains(&secret(n)), "secret {n} in {what}: {shown}");
    }
}

/// The variables of a `.env`, as far as it has plain lines.
fn variables(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
    lines.map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned())).collect()
}

#[test]
fn each_server_of_fifteen_programs_is_told_taken_over_without_its_secrets_and_found_again() {
    let (machine, servers) = machine();
    let present = "// mine\n{\n  \"pingInterval\": \"30s\", // kept\n  \"mcpServers\": {\n    \"mine\": {\"command\": \"srv\"},\n  },\n}\n";
    put(&machine.work("mcp_config.json"), present);
    put(&machine.work(".env"), DOTENV);
    fs::set_permissions(machine.work(".env"), fs::Permissions::from_mode(0o644)).unwrap();
    let before = contents(machine.root.path());

    let words = machine.says(&["import"]);
    let plan = machine.told(&["import", "--json"]);
    assert_eq!(contents(machine.root.path()), before, "nothing is written that was not asked for");
    assert_no_secret(&words, "the plan");
    assert_no_secret(&plan.to_string(), "the plan as JSON");
    assert!(words.contains("Nothing has been written. To write it: mcp-pipe import --write"), "{words}");

    assert!(words.contains("https://h.example/mcp?api_key=${HTTP_API_KEY}&lang=en"), "{words}");

    // None is lost: each stands in the plan once, with what becomes of it.
    let steps = plan["servers"].as_array().unwrap();
    let told: BTreeSet<(String, String)> = steps
        .iter()
        .map(|step| (step["file"].as_str().unwrap().to_owned(), step["server"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!((told, steps.len()), (servers, 34));
    let of = |outcome: &str| -> Vec<&str> {
        let is = |step: &&Value| step["outcome"] == outcome;
        steps.iter().filter(is).map(|step| step["server"].as_str().unwrap()).collect()
    };
    assert_eq!(of("name-taken"), ["github"]);
    assert_eq!(of("skipped"), ["extension", "api", "socket"]);
    for step in steps {
        let text = fs::read_to_string(step["file"].as_str().unwrap()).unwrap();
        assert!(words.contains(step["server"].as_str().unwrap()) && text.contains(step["server"].as_str().unwrap()));
    }
    every_key_is_taken_over_or_told(&machine, steps);

    let written = machine.says(&["import", "--write"]);
    assert_no_secret(&written, "what is told of writing");
    let (config, dotenv) = (machine.work("mcp_config.json"), machine.work(".env"));
    let (text, env) = (fs::read_to_string(&config).unwrap(), fs::read_to_string(&dotenv).unwrap());
    assert_no_secret(&text, "the config");
    for kept in ["// mine\n{\n  \"pingInterval\": \"30s\", // kept\n", "    \"mine\": {\"command\": \"srv\"},\n"] {
        assert!(text.contains(kept), "{text}");
    }
    assert_eq!((mode(&dotenv), mode(&config) & 0o600), (0o600, 0o600));
    let held = variables(&env);
    for n in 1..=SECRETS {
        let is_held = held.values().any(|value| value.contains(&secret(n)));
        assert_eq!(is_held, is_taken(n) && n != 41, "secret {n}: {env}");
    }
    assert!(
        env.starts_with("MY_TOKEN=mine\nMCP_ENDPOINT=wss://")
            && env.contains("\nASKED_KEY=\n")
            && env.contains("\nUNSET_KEY=\n"),
        "{env}"
    );
    // What was there is beside it.
    let copies: Vec<_> = contents(&machine.work(""))
        .into_iter()
        .filter(|(path, _)| path.to_string_lossy().contains(".backup-"))
        .collect();
    assert_eq!(copies.len(), 2, "{copies:?}");
    for (path, copy) in &copies {
        assert!([present, DOTENV].contains(&copy.as_str()), "{}", path.display());
        assert!(written.contains(path.file_name().unwrap().to_str().unwrap()), "{written}");
    }

    // What each server was told it still is.
    let value = jsonc(&text);
    let entry = |name: &str| -> String {
        let mut entry = value["mcpServers"][name].to_string();
        for _ in 0..3 {
            for (name, value) in &held {
                entry = entry.replace(&format!("${{{name}}}"), value);
            }
        }
        entry
    };
    for (name, want) in [
        ("github", format!(r#""env":{{"GITHUB_PERSONAL_ACCESS_TOKEN":"{}"}}"#, secret(1))),
        ("postgres", format!(r#""postgresql://me:{}@db.example/x""#, secret(2))),
        ("docker", format!(r#""env":{{"API_KEY":"{}"}}"#, secret(3))),
        ("docker", r#""-e","API_KEY","mcp/x""#.to_owned()),
        ("remote", format!(r#""AUTHORIZATION":"{}""#, secret(4))),
        ("keyed", format!(r#""args":["--api-key","{}","--verbose"]"#, secret(5))),
        ("keyed", r#""expandArgs":true"#.to_owned()),
        ("vars", r#""args":["--token","mine"]"#.to_owned()),
        ("vars", format!(r#""D":"${{OTHER:-{}}}""#, secret(7))),
        ("app", r#""command":"/srv/app/run.sh""#.to_owned()),
        ("app", r#""cwd":"/srv/app""#.to_owned()),
        ("zapier", format!(r#""url":"https://actions.zapier.example/mcp/{}/sse""#, secret(10))),
        ("http", format!(r#""url":"https://h.example/mcp?api_key={}&lang=en""#, secret(12))),
        ("http", r#""X-Lang":"en""#.to_owned()),
        // The config's folder is the project's.
        ("workspace", r#""command":"${workspaceFolder}/bin/x","args":["${workspaceFolder}"]"#.to_owned()),
        ("surf", r#""tools":{"deny":["rm"]}"#.to_owned()),
        ("cline", r#""timeout":"60s""#.to_owned()),
        ("gem", r#""timeout":"5000ms","tools":{"allow":["t"]}"#.to_owned()),
        ("gem-local", r#""G_TOKEN":"mine""#.to_owned()),
        ("open", format!(r#""args":["--key","{}"]"#, secret(22))),
        ("open", r#""E":"mine""#.to_owned()),
        ("open-remote", r#""enabled":false"#.to_owned()),
        ("zed", format!(r#""ZED_KEY":"{}""#, secret(27))),
        ("calculator", r#""tools":{"deny":["off"]}"#.to_owned()),
        ("hub", r#""enabled":false"#.to_owned()),
    ] {
        assert!(entry(name).contains(&want), "{name}: {want} in {}", entry(name));
    }
    assert_eq!(held["MCP_ENDPOINT"], format!("wss://api.xiaozhi.example/mcp/?token={}", secret(30)));

    // mcp-pipe takes what was written.
    for args in [&["validate", "--json"][..], &["config", "show"]] {
        let output = machine.run(args);
        let shown = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{shown}");
        assert_no_secret(&shown, args[0]);
    }

    // Nothing is to be done once more.
    let before = contents(machine.root.path());
    let again = machine.says(&["import", "--write"]);
    assert!(again.ends_with("Nothing is to be done.\n"), "{again}");
    assert_no_secret(&again, "a second run");
    let told = machine.told(&["import", "--write", "--json"]);
    assert_eq!((&told["changes"], &told["written"], &told["backups"]), (&json!(false), &json!(false), &json!([])));
    assert_eq!(contents(machine.root.path()), before);

    let both = machine.says(&["import", "--from", "cursor", "--both", "--write"]);
    assert!(both.contains("github: as github-cursor: npx"), "{both}");
    let before = contents(machine.root.path());
    assert!(machine.says(&["import", "--both", "--write"]).ends_with("Nothing is to be done.\n"));
    assert_eq!(contents(machine.root.path()), before);
}

/// Each key of each server that is taken over is in its entry, under this name or another, or told as left out.
fn every_key_is_taken_over_or_told(machine: &Machine, steps: &[Value]) {
    let others = BTreeMap::from([
        ("httpUrl", "url"),
        ("environment", "env"),
        ("includeTools", "tools"),
        ("disabledTools", "tools"),
    ]);
    let mut seen = 0;
    for step in steps.iter().filter(|step| step["outcome"] == "new") {
        let value = jsonc(&fs::read_to_string(step["file"].as_str().unwrap()).unwrap());
        let name = step["server"].as_str().unwrap();
        let mcp = if value["mcp"]["servers"].is_object() { &value["mcp"]["servers"] } else { &value["mcp"] };
        let lists = [
            &value["mcpServers"],
            &value["servers"],
            &value["context_servers"],
            mcp,
            &value["projects"]["/srv/app"]["mcpServers"],
        ];
        let written = lists.iter().find_map(|list| list.get(name)).unwrap().as_object().unwrap();
        let left: Vec<&str> =
            step["left"].as_array().unwrap().iter().map(|left| left["key"].as_str().unwrap()).collect();
        for key in written.keys() {
            let ours = others.get(key.as_str()).copied().unwrap_or(key);
            assert!(!step["entry"][ours].is_null() || left.contains(&key.as_str()), "{name}.{key}: {step}");
            seen += 1;
        }
    }
    assert!(seen > 80, "{seen} in {}", machine.work("").display());
}

#[test]
fn what_is_no_json_is_named_with_its_place_and_nothing_is_written() {
    for (path, code) in [(".cursor/mcp.json", 78), (".gemini/settings.json", 78)] {
        let machine = Machine::new();
        put(&machine.home(path), "{\n  \"mcpServers\": {\n    \"a\": {\"command\" \"s3cret-Zq77\"}\n  }\n}\n");
        put(&machine.home(".codeium/windsurf/mcp_config.json"), r#"{"mcpServers": {"b": {"command": "x"}}}"#);
        let output = machine.run(&["import", "--write"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(&format!("{path}:3:")) && said.contains("nothing was written"), "{said}");
        assert!(!said.contains("s3cret"), "{said}");
        assert!(contents(&machine.work("")).is_empty());
        // The others can be named.
        machine.says(&["import", "--from", "windsurf", "--write"]);
        assert!(machine.work("mcp_config.json").exists());
    }
    let machine = Machine::new();
    put(&machine.home(".cursor/mcp.json"), r#"{"mcpServers": {"b": {"command": "x"}}}"#);
    for text in ["{\n  \"mcpServers\": {,}\n}", "[]"] {
        put(&machine.work("mcp_config.json"), text);
        let output = machine.run(&["import", "--write"]);
        assert_eq!(output.status.code(), Some(78), "{output:?}");
        assert_eq!(contents(&machine.work("")).into_values().collect::<Vec<_>>(), [text]);
    }
}

#[test]
fn a_program_that_is_not_there_and_a_file_that_is_not_are_told_with_what_to_do() {
    let machine = Machine::new();
    for (args, want) in [
        (&["import", "--from", "cursor"][..], "Cursor has no servers here: looked at"),
        (&["import", "--from", "curser"], "did you mean cursor?"),
        (&["import", "--from", "none.json"], "is neither a program nor a file"),
        (&["connect", "curser"], "'cursor'"),
        (&["connect", "xiaozhi-client"], "invalid value"),
        (&["import", "--local"], "takes nothing but --config"),
    ] {
        let output = machine.run(args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(want), "{said}");
    }
    assert!(machine.says(&["import"]).starts_with("No servers were found."));
    put(&machine.work("mine.json"), r#"{"mcpServers": {"b": {"command": "./x"}}}"#);
    let told = machine.told(&["import", "--from", "mine.json", "--json"]);
    assert_eq!((&told["servers"][0]["program"], &told["servers"][0]["outcome"]), (&json!("file"), &json!("new")));
}

#[test]
fn a_first_config_is_written_once_and_over_nothing() {
    let machine = Machine::new();
    let asked = machine.run(&["init"]);
    let said = String::from_utf8(asked.stderr).unwrap();
    assert_eq!(asked.status.code(), Some(2), "{said}");
    assert!(said.contains("there is no terminal") && said.contains("mcp-pipe init --yes"), "{said}");
    let said = machine.says(&["init", "--yes"]);
    assert!(said.ends_with("Next: mcp-pipe --local\n"), "{said}");
    let config = jsonc(&fs::read_to_string(machine.work("mcp_config.json")).unwrap());
    assert_eq!(config["mcpServers"].as_object().unwrap().len(), 1);
    assert_eq!(machine.run(&["validate", "--local"]).status.code(), Some(0));
    let before = contents(&machine.work(""));
    let again = machine.run(&["init", "--yes"]);
    let said = String::from_utf8(again.stderr).unwrap();
    assert!(
        again.status.code() == Some(2) && said.contains("is there already") && said.contains("mcp-pipe import"),
        "{said}"
    );
    assert_eq!(contents(&machine.work("")), before);

    let machine = Machine::new();
    put(
        &machine.home(".cursor/mcp.json"),
        r#"{"mcpServers": {"b": {"command": "x", "env": {"B_TOKEN": "Zq77s3cret"}}}}"#,
    );
    put(&machine.work(".env"), "MCP_ENDPOINT=wss://h.example/?token=Zq78s3cret\n");
    let said = machine.says(&["init", "--yes"]);
    assert!(said.ends_with("Next: mcp-pipe\n") && !said.contains("s3cret"), "{said}");
    assert_eq!(mode(&machine.work(".env")), 0o600);
    assert!(fs::read_to_string(machine.work(".env")).unwrap().ends_with("B_TOKEN=Zq77s3cret\n"));
    assert_eq!(machine.run(&["validate"]).status.code(), Some(0));
}

/// Answers the questions of `mcp-pipe init` at a terminal: what was to be seen there.
fn asked(machine: &Machine, answers: &[&str]) -> String {
    let (person, program) = terminal();
    let (input, output) = (program.try_clone().unwrap(), program.try_clone().unwrap());
    let mut child = machine.command(&["init"]).stdin(input).stdout(output).stderr(program).spawn().unwrap();
    let mut person = fs::File::from(person);
    let (mut seen, mut answers) = (String::new(), answers.iter());
    let mut answered = 0;
    let mut piece = [0; 4096];
    // Reading fails once the last one that has the terminal has gone.
    while let Ok(n @ 1..) = person.read(&mut piece) {
        seen.push_str(&String::from_utf8_lossy(&piece[..n]));
        let questions = seen.matches("none):").count() + seen.matches("[Y/n]").count();
        if questions > answered {
            answered = questions;
            writeln!(person, "{}", answers.next().unwrap()).unwrap();
        }
    }
    assert!(child.wait().unwrap().success(), "{seen}");
    assert!(answers.next().is_none(), "{seen}");
    seen
}

#[test]
fn at_a_terminal_it_asks_and_a_token_is_not_shown_while_it_is_typed() {
    let machine = Machine::new();
    put(
        &machine.home(".cursor/mcp.json"),
        r#"{"mcpServers": {"b": {"command": "x", "env": {"B_TOKEN": "Zq77s3cret"}}}}"#,
    );
    put(&machine.home(".codeium/windsurf/mcp_config.json"), r#"{"mcpServers": {"c": {"command": "x"}}}"#);
    let seen = asked(&machine, &["wss://h.example/?token=Zq78s3cret", "y", "n", ""]);
    assert!(!seen.contains("s3cret"), "{seen}");
    assert!(seen.contains("Import from Cursor") && seen.trim_end().ends_with("Next: mcp-pipe"), "{seen}");
    let config = jsonc(&fs::read_to_string(machine.work("mcp_config.json")).unwrap());
    assert!(config["mcpServers"]["b"].is_object() && config["mcpServers"]["c"].is_null(), "{config}");
    let env = fs::read_to_string(machine.work(".env")).unwrap();
    assert_eq!(variables(&env)["MCP_ENDPOINT"], "wss://h.example/?token=Zq78s3cret");
    assert_eq!((variables(&env)["B_TOKEN"].as_str(), mode(&machine.work(".env"))), ("Zq77s3cret", 0o600));
    assert_eq!(machine.run(&["validate"]).status.code(), Some(0));

    // Who wants no .env is told what to set.
    let machine = Machine::new();
    put(
        &machine.home(".cursor/mcp.json"),
        r#"{"mcpServers": {"b": {"command": "x", "env": {"B_TOKEN": "Zq77s3cret"}}}}"#,
    );
    let seen = asked(&machine, &["", "", "n"]);
    assert!(seen.contains("To be set where mcp-pipe runs: B_TOKEN") && !machine.work(".env").exists(), "{seen}");

    // Endpoints come along where there is no server to take over.
    let machine = Machine::new();
    let file = json!({"mcpEndpoint": ["wss://h.example/?token=Zq79s3cret", "wss://h.example/?token=Zq80s3cret"],
        "mcpServers": {"s": {"url": "wss://h.example/"}}});
    put(&machine.work("xiaozhi.config.json"), &file.to_string());
    let seen = asked(&machine, &["", "", "n", ""]);
    assert!(seen.contains("its endpoint") && seen.trim_end().ends_with("Next: mcp-pipe"), "{seen}");
    let config = jsonc(&fs::read_to_string(machine.work("mcp_config.json")).unwrap());
    assert_eq!((&config["mcpServers"], config["endpoints"].as_object().unwrap().len()), (&json!({}), 2));
    let held = variables(&fs::read_to_string(machine.work(".env")).unwrap());
    assert_eq!(held["XIAOZHI_CLIENT_1_ENDPOINT"], "wss://h.example/?token=Zq79s3cret");
}

#[test]
fn two_at_once_lose_no_server() {
    let machine = Machine::new();
    let files: Vec<String> = (0..4).map(|n| format!("{n}.json")).collect();
    for (n, file) in files.iter().enumerate() {
        let text = json!({"mcpServers": {format!("s{n}"): {"command": "x", "env": {"A_TOKEN": secret(n)}}}});
        put(&machine.work(file), &text.to_string());
    }
    let start = |file: &String| machine.command(&["import", "--from", file, "--write"]).output();
    std::thread::scope(|scope| {
        let runs: Vec<_> = files.iter().map(|file| scope.spawn(move || start(file).unwrap())).collect();
        for run in runs {
            let output = run.join().unwrap();
            assert!(output.status.success(), "{output:?}");
        }
    });
    let config = jsonc(&fs::read_to_string(machine.work("mcp_config.json")).unwrap());
    assert_eq!(config["mcpServers"].as_object().unwrap().len(), 4);
    let held = variables(&fs::read_to_string(machine.work(".env")).unwrap());
    for n in 0..4 {
        assert_eq!(held[&format!("S{n}_A_TOKEN")], secret(n));
    }
}

#[test]
fn a_write_that_fails_is_taken_back_and_leaves_nothing() {
    let machine = Machine::new();
    // More than `ulimit -f 1` lets a file have, where `.env` still fits.
    let servers: serde_json::Map<String, Value> = (0..40)
        .map(|n| (format!("s{n}"), json!({"command": "x", "args": ["word"], "env": {"MODE": "production"}})))
        .chain([("t".to_owned(), json!({"command": "x", "env": {"A_TOKEN": "Zq77s3cret"}}))])
        .collect();
    put(&machine.home(".cursor/mcp.json"), &json!({"mcpServers": servers}).to_string());
    put(&machine.work(".env"), "X=1\n");
    fs::set_permissions(machine.work(".env"), fs::Permissions::from_mode(0o644)).unwrap();
    let output = Command::new("sh")
        .args(["-c", "ulimit -f 1; exec \"$0\" import --write", env!("CARGO_BIN_EXE_mcp-pipe")])
        .env_clear()
        .current_dir(machine.work(""))
        .env("HOME", machine.home(""))
        .env("PATH", std::env::var_os("PATH").unwrap())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("too large") && !said.contains("may be written"), "{said}");
    assert_eq!(contents(&machine.work("")).into_values().collect::<Vec<_>>(), ["X=1\n"]);
    machine.says(&["import", "--write"]);
    for path in contents(&machine.work("")).keys().filter(|path| path.to_string_lossy().contains(".backup-")) {
        assert_eq!(mode(path), 0o600, "{}", path.display());
    }
}

#[test]
fn a_name_forges_no_line_and_init_passes_over_what_is_broken() {
    let machine = Machine::new();
    put(
        &machine.home(".codeium/windsurf/mcp_config.json"),
        &json!({"mcpServers": {"b\n  new        forged: x": {"command": "x", "odd\nkey": 1}}}).to_string(),
    );
    let words = machine.says(&["import"]);
    assert!(!words.lines().any(|line| line.trim().starts_with("new        forged") || line == "key"), "{words}");
    put(&machine.home(".cursor/mcp.json"), "{\"mcpServers\": {,}}");
    let output = machine.run(&["init", "--yes"]);
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("it is passed over") && !said.contains("nothing was written"), "{said}");
}

/// Starts `mcp-pipe init` at a terminal, does something at its first question, and tells how it ended and whether there is an echo.
fn at_the_first_question(machine: &Machine, act: impl Fn(&mut fs::File, u32)) -> (Option<i32>, bool) {
    let (person, program) = terminal();
    let (input, output) = (program.try_clone().unwrap(), program.try_clone().unwrap());
    let mut child =
        machine.command(&["init"]).stdin(input).stdout(output).stderr(program.try_clone().unwrap()).spawn().unwrap();
    let mut person = fs::File::from(person);
    let (mut seen, mut piece) = (String::new(), [0; 4096]);
    while !seen.contains("none):") {
        let n = person.read(&mut piece).unwrap();
        seen.push_str(&String::from_utf8_lossy(&piece[..n]));
    }
    act(&mut person, child.id());
    let code = child.wait().unwrap().code();
    let modes = rustix::termios::tcgetattr(&program).unwrap().local_modes;
    (code, modes.contains(rustix::termios::LocalModes::ECHO))
}

#[test]
fn the_end_of_the_input_or_a_signal_at_a_question_writes_nothing_and_gives_the_echo_back() {
    let machine = Machine::new();
    let signal = |signal| {
        move |_: &mut fs::File, pid: u32| {
            let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
            rustix::process::kill_process(pid, signal).unwrap();
        }
    };
    let end = |person: &mut fs::File, _: u32| person.write_all(&[4]).unwrap();
    assert_eq!(at_the_first_question(&machine, end), (Some(1), true));
    assert_eq!(at_the_first_question(&machine, signal(rustix::process::Signal::INT)), (Some(130), true));
    assert_eq!(at_the_first_question(&machine, signal(rustix::process::Signal::TERM)), (Some(143), true));
    assert!(contents(&machine.work("")).is_empty());
}
