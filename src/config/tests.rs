//! What becomes of files, flags and environments.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::cli;
use crate::error::{Code, Problem, Problems};
use crate::secrecy::Redactor;

mod admin;
mod auth;
mod bounds;
mod broken;
mod credentials;
mod endpoint;
mod endpoint_tokens;
mod endpoints;
mod everyday;
mod foreign;
mod gateway;
mod hints;
mod instances;
mod jwt;
mod lease;
mod misplaced;
mod policy;
mod sharing;
mod surroundings;
mod validate;
mod variables;

const ENDPOINT: (&str, &str) = ("MCP_ENDPOINT", "wss://h.example/mcp/?token=default-s3cret");

/// A folder with a config, an environment and a command line.
struct Case {
    dir: TempDir,
    env: Vec<(String, String)>,
}

impl Case {
    fn new(config: &str) -> Self {
        let case = Case { dir: tempfile::tempdir().unwrap(), env: Vec::new() };
        case.file("mcp_config.json", config).env(&[ENDPOINT])
    }

    /// One server with these members besides its command.
    fn server(members: &str) -> Self {
        Self::new(&format!(r#"{{"mcpServers": {{"a": {{"command": "x", {members}}}}}}}"#))
    }

    fn file(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    fn env(mut self, pairs: &[(&str, &str)]) -> Self {
        self.env.extend(pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
        self
    }

    fn no_env(mut self) -> Self {
        self.env.clear();
        self
    }

    fn run_in(&self, cwd: &Path, arguments: &[&str]) -> Result<Resolved, Problems> {
        let line = std::iter::once("mcp-pipe").chain(arguments.iter().copied()).map(Into::into);
        let cli = cli::parse(line).unwrap();
        resolve(&cli.line(), &Surroundings::look(&cli.options, self.env.iter().cloned().collect(), cwd))
    }

    fn run(&self, arguments: &[&str]) -> Result<Resolved, Problems> {
        self.run_in(self.dir.path(), arguments)
    }

    fn ok(&self, arguments: &[&str]) -> Resolved {
        self.run(arguments).unwrap_or_else(|problems| panic!("{problems}"))
    }

    /// The mistakes, one a line, with the folder's name cut out.
    fn mistakes(&self, arguments: &[&str]) -> Vec<String> {
        let problems = self.run(arguments).expect_err("there are mistakes");
        self.lines(&problems.mistakes)
    }

    fn warnings(&self, arguments: &[&str]) -> Vec<String> {
        self.lines(&self.ok(arguments).warnings)
    }

    fn lines(&self, problems: &[Problem]) -> Vec<String> {
        problems.iter().map(|p| p.to_string().replace(self.dir.path().to_str().unwrap(), "DIR")).collect()
    }
}

/// What a server gets besides what every Python is told.
fn own_env(server: &ServerSpec) -> Vec<(&str, &str)> {
    let all = server.command().env.iter().map(|(name, value)| (name.as_str(), value.reveal()));
    all.filter(|(name, _)| defaults::PYTHON.iter().all(|(python, _)| python != name)).collect()
}

fn revealed(server: &ServerSpec) -> String {
    server.endpoint.as_ref().unwrap().reveal().to_string()
}

#[test]
fn every_setting_has_its_default() {
    let case = Case::new(r#"{"mcpServers": {"a": {"command": "x", "args": ["1", "b c"]}}}"#);
    let config = case.ok(&[]).config;
    let server = &config.servers[0];
    assert_eq!((&*server.name, server.command().program.as_str()), ("a", "x"));
    assert_eq!(server.command().args, ["1", "b c"]);
    assert_eq!(server.command().cwd.as_deref(), Some(case.dir.path()));
    assert_eq!(revealed(server), ENDPOINT.1);
    assert_eq!((server.start_timeout, server.max_frame), (Duration::from_secs(60), 16 << 20));
    assert_eq!(server.handshake, Handshake::Answer);
    assert_eq!(config.drain_timeout, Duration::from_secs(5));
    assert_eq!((config.local, config.log_contents, config.status_socket), (false, false, None));
    let link = &server.link;
    assert_eq!((link.connect_timeout, link.max_backoff), (Duration::from_secs(15), Duration::from_secs(600)));
    assert_eq!((link.ping_interval, link.ping_timeout), (Duration::from_secs(20), Duration::from_secs(20)));
    assert_eq!((server.sharing, server.pin, server.keep_listed), (Sharing::default(), false, true));
    assert_eq!((config.tool_budget, &config.cache_dir), (8000, &None), "without a home nothing is remembered");
    assert!(server.tools.is_untouched());
    assert!(link.headers.is_empty() && link.subprotocol.is_none() && link.ca_file.is_none());
}

#[test]
fn the_servers_own_value_counts_then_the_flag_then_the_file() {
    let case = Case::new(
        r#"{"startTimeout": "1s", "maxBackoff": "1m", "maxFrameSize": 2048, "drainTimeout": "1s", "mode": "per-server",
            "handshake": "relay", "subprotocol": "mcp", "pingInterval": "5s",
            "mcpServers": {"a": {"command": "x", "startTimeout": "3s", "handshake": "answer", "maxFrameSize": "4KiB"},
                           "b": {"command": "x"}}}"#,
    );
    let flags = ["--start-timeout", "2s", "--drain-timeout", "2s"];
    let config = case.ok(&flags).config;
    let (a, b) = (&config.servers[0], &config.servers[1]);
    assert_eq!((a.start_timeout, b.start_timeout), (Duration::from_secs(3), Duration::from_secs(2)));
    assert_eq!((a.max_frame, b.max_frame), (4096, 2048));
    assert_eq!((a.handshake, b.handshake), (Handshake::Answer, Handshake::Relay));
    assert_eq!((b.link.max_backoff, b.link.ping_interval), (Duration::from_secs(60), Duration::from_secs(5)));
    assert_eq!(b.link.subprotocol.as_deref(), Some("mcp"));
    assert_eq!(config.drain_timeout, Duration::from_secs(2));
}

#[test]
fn all_mistakes_are_told_at_once_with_line_column_path_and_remedy() {
    let case = Case::new(
        r#"{
  "mode": "multiplexed",
  "drainTimeout": 5,
  "mcpServers": {
    "a": {"command": "x", "args": ["y", 8080], "env": {"P": true}},
    "b c": {"args": [], "disabled": "maybe"},
    "d": {"type": "studio", "command": "x"},
    "e": {"command": "x", "cwd": "nowhere", "env": {"K": "${K1}${K2:-x}${K3}"}},
    "f": {},
    "a": {"command": "x", "endpoint": "https://h/?token=s3cret-s3cret"},
  },
}"#,
    );
    assert_eq!(
        case.mistakes(&[]),
        [
            "mcp_config.json:2:11 mode: is \"multiplexed\", and it must be one of auto, per-server, multiplex, sequential; did you mean multiplex?",
            "mcp_config.json:3:19 drainTimeout: is 5, and a time needs a unit; write \"5s\", or \"5m\" for minutes, or \"5ms\" for milliseconds",
            "mcp_config.json:5:41 mcpServers.a.args[1]: is a number, not a text; write it in quotes: \"8080\"",
            "mcp_config.json:5:61 mcpServers.a.env.P: is true or false, not a text; write it in quotes: \"true\"",
            "mcp_config.json:6:37 mcpServers[\"b c\"].disabled: is neither true nor false; write true or false",
            "mcp_config.json:7:19 mcpServers.d.type: is \"studio\", which is no type of server; leave it out: \"command\" names a program that is started here, \"url\" a remote server",
            "mcp_config.json:9:5 mcpServers.f: has neither a command nor a url; add \"command\": the program to start, or \"url\": the address of a remote server",
            "mcp_config.json:10:5 mcpServers.a: is the second server of that name; the first is on line 5; give each \
             server its own name",
            "mcp_config.json:8:58 mcpServers.e.env.K: needs K1, K3, which nothing sets; set it in the environment or in \
             .env, or give a default: ${K1:-…}",
            "mcp_config.json:10:39 mcpServers.a.endpoint: has the scheme \"https\"; only ws:// and wss:// can be \
             dialled; write the endpoint's whole address, wss://host/path?token=…",
        ]
    );
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let config = |text: &[u8]| Case::new("").file("mcp_config.json", text).mistakes(&[]).join("\n");
    assert!(config(b"").starts_with("mcp_config.json: is empty; write {"));
    assert!(config(b" // only a comment\n").starts_with("mcp_config.json: is empty"));
    assert!(config(b"[]").contains("mcp_config.json:1:1: is a list, not an object"));
    assert!(config(b"{}").contains("mcpServers: is missing"));
    let slip = config(br#"{"mcpServer": {"a": {"command": "x"}}}"#);
    assert!(slip.contains("did you mean it by \"mcpServer\"? write \"mcpServers\" for that"), "{slip}");
    assert!(config(b"{\n\"mcpServers\": {}\n\xff}").starts_with("mcp_config.json:3: is not UTF-8"));
    let syntax = config(b"{\n  \"mcpServers\": {\n    \"a\": {\"command\": \"x\" \"args\": []}\n  }\n}");
    assert!(syntax.starts_with("mcp_config.json:3:") && syntax.contains("is no valid JSON"), "{syntax}");
    for (text, open, close) in [
        ("{\n\"mcpServers\": {\"a\": {\"command\": \"x\"}\n}", "1:1: is no valid JSON: the {", "a }"),
        ("{\"mcpServers\": {\"a\": {\"args\": [\"x\"", "1:31: is no valid JSON: the [", "a ]"),
        ("{\"mcpServers\": {\"a", "1:17: is no valid JSON: the \"", "a \""),
    ] {
        let want = format!("mcp_config.json:{open} is never closed; {close} is missing somewhere after it");
        assert_eq!(config(text.as_bytes()), want);
    }
    assert!(config(b"{\"mcpServers\": {}}").contains("names no server that can run"));
    assert!(config(b"{'mcpServers': {}}").contains("no valid JSON"), "JSON with comments is not JSON5");

    let case = Case::new("{}");
    assert!(case.mistakes(&["--config", "other.json"])[0].contains("does not exist (--config names it); create it"));
    assert!(case.mistakes(&["--config", "."])[0].contains("is a directory"));
    let strange = case.mistakes(&["--config", "other.json\r"]);
    assert!(
        strange[0].starts_with(
            "other.json\\r: does not exist (--config names it), and its name holds a character that can't be \
        seen: carriage return (U+000D)"
        ),
        "{strange:?}"
    );
    let empty = Case { dir: tempfile::tempdir().unwrap(), env: Vec::new() };
    let missing = empty.mistakes(&[]).join("\n");
    assert!(
        missing.contains("is not in the working directory (DIR)") && missing.contains("mcp-pipe --local -- CMD"),
        "{missing}"
    );
}

#[test]
fn comments_trailing_commas_and_a_byte_order_mark_are_tolerated() {
    let text = "\u{feff}// c\n{\"mcpServers\": {/* c */ \"a\": {\"command\": \"x\", \"args\": [\"http://x\",],},},}";
    assert_eq!(Case::new(text).ok(&[]).config.servers[0].command().args, ["http://x"]);
}

#[test]
fn the_config_is_that_of_the_flag_then_the_variable_then_the_folder() {
    let named = |name: &str| format!(r#"{{"mcpServers": {{"{name}": {{"command": "x"}}}}}}"#);
    let case = Case::new(&named("here")).file("v/c.json", named("variable")).file("f/c.json", named("flag"));
    let name = |case: &Case, arguments: &[&str]| case.ok(arguments).config.servers[0].name.to_string();
    assert_eq!(name(&case, &[]), "here");
    let case = case.env(&[("MCP_CONFIG", "v/c.json")]);
    assert_eq!(name(&case, &[]), "variable");
    assert_eq!(name(&case, &["--config", "f/c.json"]), "flag");
    let server = &case.ok(&["--config", "f/c.json"]).config.servers[0];
    assert_eq!(server.command().cwd, Some(case.dir.path().join("f")), "a server starts in its config's folder");
}

#[test]
fn unknown_keys_are_warned_about_with_the_closest_and_foreign_ones_are_not() {
    let case = Case::new(
        r#"{"mcpServer": 1, "$schema": "x", "inputs": [],
"mcpServers": {"a": {"comand": "y", "command": "x", "autoApprove": [], "description": "d", "zzz": 1, "command": "z"}}}"#,
    );
    assert_eq!(
        case.warnings(&[]),
        [
            "mcp_config.json:1:2 mcpServer: is not a known key and is ignored; did you mean mcpServers?",
            "mcp_config.json:2:102 mcpServers.a.command: stands there twice; the last one counts; remove one of them",
            "mcp_config.json:2:22 mcpServers.a.comand: is not a known key and is ignored; did you mean command?",
            "mcp_config.json:2:92 mcpServers.a.zzz: is not a known key and is ignored; remove it, or check its spelling",
        ]
    );
    assert_eq!(case.ok(&[]).config.servers[0].command().program, "z");
}

#[test]
fn remote_servers_run_and_those_that_nobody_here_speaks_to_are_skipped_with_a_warning() {
    let case = Case::new(
        r#"{"mcpServers": {"a": {"type": "streamable_http", "url": "https://h"}, "b": {"serverUrl": "https://h/x/sse?k=s3cret"},
            "c": {"transportType": "sse", "url": "https://h", "disabled": true}, "d": {"type": "stdio", "command": "x"},
            "e": {"transport": "sse", "httpUrl": "http://${HOST:-h}:1/s", "caFile": "ca.pem", "connectTimeout": "3s",
                  "certFile": "me.pem", "headers": {"Authorization": "Bearer ${KEY}"}}}}"#,
    );
    let case = case.env(&[("KEY", "t0ken")]).file("ca.pem", "").file("me.pem", "");
    let resolved = case.ok(&[]);
    assert_eq!(case.lines(&resolved.warnings), [""; 0]);
    let remote = |name: &str| {
        let server = resolved.config.servers.iter().find(|server| &*server.name == name).unwrap();
        let Reach::Remote(remote) = &server.reach else { panic!("{name} is started") };
        remote.clone()
    };
    assert_eq!(resolved.config.servers.len(), 4);
    assert_eq!(remote("a").transport, RemoteTransport::Http);
    assert_eq!(
        (remote("b").transport, remote("b").url.to_string()),
        (RemoteTransport::Any, "https://h:443/…".to_owned())
    );
    let e = remote("e");
    assert_eq!((e.transport, e.url.reveal().to_string()), (RemoteTransport::Sse, "http://h:1/s".to_owned()));
    assert_eq!((e.headers[0].0.as_str(), e.headers[0].1.reveal()), ("authorization", "Bearer t0ken"));
    let file = |name: &str| case.dir.path().join(name);
    assert_eq!(e.tls, TlsSpec { ca_file: Some(file("ca.pem")), identity: Some((file("me.pem"), file("me.pem"))) });
    assert_eq!(e.connect_timeout, Duration::from_secs(3));
    assert!(
        !format!("{:?}", resolved.config).contains("t0ken") && !format!("{:?}", resolved.config).contains("s3cret")
    );

    let of =
        |members: &str| Case::new(&format!(r#"{{"mcpServers": {{"a": {{{members}}}, "b": {{"command": "x"}}}}}}"#));
    let ws = of(r#""url": "wss://h/?token=s3cret""#).warnings(&[]);
    assert!(ws[0].contains("mcpServers.a.url: is the address of a WebSocket, and a remote server, as a would be, is reached by http:// or https://"), "{ws:?}");
    assert!(ws[0].contains("call it \"endpoint\", beside the \"command\"") && !ws[0].contains("s3cret"), "{ws:?}");
    let only = Case::new(r#"{"mcpServers": {"a": {"type": "ws", "url": "https://h"}}}"#);
    let none = &only.mistakes(&[])[0];
    assert!(
        none.contains("names no server that can run: a is a remote server, and not reached by http:// or https://"),
        "{none}"
    );
    let problems = only.run(&[]).unwrap_err().to_string();
    let kind = "makes a a remote server of a kind (ws) that mcp-pipe does not speak to; it is left out";
    assert!(problems.contains(kind) && !problems.contains("other servers"), "{problems}");
    assert!(only.mistakes(&["a"])[0].contains("choose another server"));
}

#[test]
fn what_is_wrong_with_a_remote_server_is_told_with_a_remedy_and_without_its_secrets() {
    for (members, want) in [
        (
            r#""url": "127.0.0.1:5555/mcp""#,
            "a.url: has no scheme; write https:// (or http:// without TLS) in front of it",
        ),
        (
            r#""url": "ftp://h/s3cret""#,
            "a.url: has the scheme \"ftp\"; a remote server is reached by http:// or https://",
        ),
        (r#""url": "http://h:0x/s3cret""#, "a.url: has a port that is no number"),
        (r#""url": "${NONE}/mcp""#, "a.url: needs NONE, which nothing sets"),
        (r#""type": "http""#, "a.type: makes a a remote server, and it has no url; add \"url\""),
        (r#""type": "http", "command": "x""#, "a.type: makes a a remote server (http), and it has a command too"),
        (
            r#""type": "stdio", "url": "http://h""#,
            "a.url: names a remote server, and the type says that a program is started",
        ),
        (r#""url": "http://h", "headers": {"Mcp-Session-Id": "x"}"#, "is a header that the connection sets itself"),
        (r#""url": "http://h", "headers": {"X": "s3cret\n"}"#, "a.headers.X: "),
        (
            r#""url": "http://h", "keyFile": "k.pem""#,
            "a.keyFile: names the key of a certificate, and there is no certFile",
        ),
    ] {
        let case = Case::new(&format!(r#"{{"mcpServers": {{"a": {{{members}}}}}}}"#));
        let told = case.mistakes(&[]);
        assert!(told.len() == 1 && told[0].contains(want) && !told[0].contains("s3cret"), "{members}: {told:?}");
    }
    for (members, want) in [
        (r#""args": ["x"]"#, "a.args: does nothing for a remote server, which mcp-pipe does not start"),
        (r#""oauth": {}"#, "a.oauth: is another program's and does nothing here"),
        (r#""certFile": "none.pem""#, "a.certFile: names DIR/none.pem, which is no file now"),
        (r#""type": "sse", "command": "x""#, "a.command: does nothing beside the type, which counts"),
    ] {
        let case = Case::new(&format!(r#"{{"mcpServers": {{"a": {{"url": "http://h", {members}}}}}}}"#));
        let told = case.warnings(&[]).join("").replace(case.dir.path().to_str().unwrap(), "DIR");
        assert!(told.contains(want), "{members}: {told}");
    }
}

#[test]
fn servers_that_are_disabled_are_named_once_unless_one_server_was_asked_for() {
    let entry = r#"{"command": "x", "disabled": true}"#;
    let case = Case::new(&format!(r#"{{"mcpServers": {{"a": {{"command": "x"}}, "old": {entry}, "test": {entry}}}}}"#));
    assert_eq!(case.ok(&[]).notes, ["disabled in the config, so not run: old, test"]);
    assert!(case.ok(&["a"]).notes.is_empty());
}

#[test]
fn a_server_is_disabled_by_truth_or_text() {
    for (members, runs) in [
        (r#""disabled": false"#, true),
        (r#""disabled": "false""#, true),
        (r#""disabled": "0""#, true),
        (r#""disabled": "Yes""#, false),
        (r#""enabled": "no""#, false),
        (r#""enabled": true, "disabled": true"#, false),
        (r#""disabled": null"#, true),
        (r#""isActive": false"#, false),
        (r#""isActive": true"#, true),
        (r#""isActive": true, "disabled": true"#, false),
        (r#""disabled": true, "disabled": false"#, true),
        (r#""enabled": false, "enabled": true"#, true),
    ] {
        assert_eq!(Case::server(members).run(&[]).is_ok(), runs, "{members}");
        assert!(Case::server(members).run(&["a"]).is_ok(), "asked for by name it runs: {members}");
    }
    for members in [r#""enabled": """#, r#""disabled": " ""#] {
        assert!(Case::server(members).mistakes(&[])[0].contains("is neither true nor false"), "{members}");
    }
}

#[test]
fn of_servers_that_are_written_twice_the_last_count() {
    let case = Case::new(r#"{"mcpServers": {"a": {"command": "x"}}, "mcpServers": {"b": {"command": "x"}}}"#);
    let resolved = case.ok(&[]);
    assert!(case.lines(&resolved.warnings)[0].contains("mcpServers: stands there twice; the last one counts"));
    assert_eq!(resolved.config.servers.iter().map(|server| &*server.name).collect::<Vec<_>>(), ["b"]);
}

#[test]
fn what_may_appear_later_is_a_warning_and_stops_nobody() {
    let case = Case::new(
        r#"{"caFile": "later.pem", "mcpServers": {
            "a": {"command": "x", "cwd": "later"}, "b": {"command": "x"}, "c": {"command": "x"}}}"#,
    );
    let resolved = case.ok(&[]);
    assert_eq!(
        case.lines(&resolved.warnings),
        [
            "mcp_config.json:2:42 mcpServers.a.cwd: names DIR/later, which is no folder now, so a can't start; create \
             it, or correct the path; it is tried again",
            "mcp_config.json:1:12 caFile: names DIR/later.pem, which is no file now, so neither a wss:// endpoint nor an https:// \
             server can be dialled with it; name a PEM file; it is tried again",
        ]
    );
    let server = &resolved.config.servers[0];
    assert_eq!(server.command().cwd, Some(case.dir.path().join("later")));
    assert_eq!(server.link.ca_file, Some(case.dir.path().join("later.pem")));
    let flag = case.ok(&["--ca-file", "no.pem"]);
    assert!(case.lines(&flag.warnings)[1].starts_with("--ca-file: names DIR/no.pem"));
}

#[test]
fn where_all_servers_are_disabled_it_is_said_which_and_where() {
    let case = Case::new(
        r#"{"mcpServers": {"a": {"command": "x", "disabled": true},
"b": {"command": "x", "enabled": false}}}"#,
    );
    let mistake = &case.mistakes(&[])[0];
    let want = "names no server that can run: a is disabled (mcp_config.json:1:39 mcpServers.a.disabled); \
                b is disabled (mcp_config.json:2:23 mcpServers.b.enabled); add or enable one, run a disabled one by its name";
    assert!(mistake.contains(want), "{mistake}");
}

#[test]
fn the_endpoint_is_the_entrys_then_the_flags_then_the_environments_then_that_of_dotenv_then_the_files() {
    let text = |entry: &str| {
        format!(r#"{{"endpoint": "wss://file/?token=1", "mcpServers": {{"a": {{"command": "x"{entry}}}}}}}"#)
    };
    let host = |case: &Case, arguments: &[&str]| {
        case.ok(arguments).config.servers[0].endpoint.as_ref().unwrap().host().to_owned()
    };
    let case = Case::new(&text("")).no_env();
    assert_eq!(host(&case, &[]), "file");
    let case = case.file(".env", "MCP_ENDPOINT=wss://dotenv/?token=1\n");
    assert_eq!(host(&case, &[]), "dotenv");
    let case = case.env(&[("MCP_ENDPOINT", "wss://environment/?token=1")]);
    assert_eq!(host(&case, &[]), "environment");
    let flag = ["--endpoint", "wss://flag/?token=1"];
    assert_eq!(host(&case, &flag), "flag");
    let case = case.file("mcp_config.json", text(r#", "env": {"MCP_ENDPOINT": "wss://entry-env/?token=1"}"#));
    assert_eq!(host(&case, &flag), "entry-env");
    assert!(own_env(&case.ok(&[]).config.servers[0]).is_empty(), "the child doesn't see it");
    let case = case.file(
        "mcp_config.json",
        text(r#", "endpoint": "${X:-wss://entry/?token=1}", "env": {"MCP_ENDPOINT": "ws://e"}"#),
    );
    assert_eq!(host(&case, &flag), "entry");
    let case = case.file("mcp_config.json", text(r#", "endpoint": "${X:-}""#));
    assert_eq!(host(&case, &flag), "flag", "an empty one is none");
}

#[test]
fn an_endpoint_of_its_own_that_lacks_what_a_variable_should_hold_is_a_mistake() {
    for entry in [
        r#""endpoint": "${KITCHEN}""#,
        r#""endpoint": "wss://h/?token=${KITCHEN}&x=${OTHER:-}""#,
        r#""env": {"MCP_ENDPOINT": " ${env:KITCHEN}${OTHER:-}"}"#,
    ] {
        let case = Case::server(entry).env(&[("KITCHEN", " "), ("OTHER", "")]);
        let mistakes = case.mistakes(&[]);
        assert_eq!(mistakes.len(), 1, "{mistakes:?}");
        assert!(mistakes[0].contains("names KITCHEN, which is empty; set it, or write ${KITCHEN:-}"), "{mistakes:?}");
        assert!(case.run(&["--local"]).is_ok(), "there nobody's endpoint counts");
    }
}

#[test]
fn headers_for_an_endpoint_that_came_out_blank_go_nowhere_else() {
    for endpoint in ["", "${KITCHEN:-}"] {
        let case = Case::new(&format!(
            r#"{{"endpointHeaders": {{"X-Top": "t"}}, "mcpServers": {{"a": {{"command": "x", "endpoint": "{endpoint}",
                "endpointHeaders": {{"Authorization": "Bearer kitchen-s3cret", "Host": "h"}}}}}}}}"#
        ));
        let resolved = case.ok(&[]);
        let headers = &resolved.config.servers[0].link.headers;
        assert_eq!(headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["x-top"]);
        let warnings = case.lines(&resolved.warnings);
        assert!(
            warnings[0].contains("mcpServers.a.endpoint: is empty, so a is served on the common endpoint"),
            "{warnings:?}"
        );
        assert!(warnings[0].contains("without its endpointHeaders") && !warnings[0].contains("s3cret"), "{warnings:?}");
    }
    let silent = Case::server(r#""endpoint": "${KITCHEN:-}""#);
    assert!(silent.warnings(&[]).is_empty(), "asked for");
}

#[test]
fn a_variable_is_looked_up_in_both_dotenv_files_the_working_directorys_first() {
    let case = Case::new("{}")
        .no_env()
        .file("conf/c.json", r#"{"mcpServers": {"a": {"command": "x", "env": {"W": "${WHO}"}}}}"#)
        .file("conf/.env", "MCP_ENDPOINT=wss://beside/\nWHO=config\nONLY=1\n")
        .file("work/.env", "WHO=work\nFOREIGN=1\nMCP_ENDPOINT=\n");
    let config = case.dir.path().join("conf/c.json");
    let run = |case: &Case| case.run_in(&case.dir.path().join("work"), &["--config", config.to_str().unwrap()]);
    let resolved = run(&case).unwrap();
    let server = &resolved.config.servers[0];
    assert_eq!(revealed(server), "wss://beside/");
    let mut env = own_env(server);
    env.sort_unstable();
    assert_eq!(env, [("FOREIGN", "1"), ("ONLY", "1"), ("W", "work"), ("WHO", "work")]);
    let note = resolved.notes.join("\n").replace(case.dir.path().to_str().unwrap(), "DIR");
    assert_eq!(
        note,
        "variables are read from DIR/work/.env, and what that lacks from DIR/conf/.env\n\
         what DIR/work/.env sets counts, not what DIR/conf/.env does: WHO"
    );

    let case = case.file("conf/.env", "WHO=x\n").file("work/.env", "");
    let problems = run(&case).unwrap_err();
    let mistakes = case.lines(&problems.mistakes);
    assert!(
        mistakes[0].contains("nor in DIR/work/.env or DIR/conf/.env, so there is nowhere to serve a"),
        "{mistakes:?}"
    );
}

#[test]
fn a_dotenv_file_is_read_once_where_both_places_are_one() {
    let case = Case::new("{}").no_env().file("sub/x", "").file(".env", "A=1\nA=2\n");
    let case = case.file("mcp_config.json", r#"{"mcpServers": {"a": {"command": "x"}}}"#);
    for config in ["./mcp_config.json", "sub/../mcp_config.json"] {
        let warnings = case.ok(&["--local", "--config", config]).warnings;
        assert_eq!(warnings.len(), 1, "{warnings:?}");
    }
}

#[test]
fn a_missing_endpoint_names_three_ways_and_local_for_all_servers_at_once() {
    let case = Case::new(r#"{"mcpServers": {"a": {"command": "x"}, "b": {"command": "x"}}}"#).no_env();
    let mistakes = case.mistakes(&[]);
    assert_eq!(mistakes.len(), 1);
    for part in ["MCP_ENDPOINT: is not set", "serve a, b", "in the environment", ".env", "\"endpoint\"", "--local"] {
        assert!(mistakes[0].contains(part), "{part} in {mistakes:?}");
    }
    let local = case.ok(&["--local"]).config;
    assert!(local.local && local.servers.iter().all(|server| server.endpoint.is_none()));
    assert!(case.ok(&["tools"]).config.local);
}

#[test]
fn a_wrong_common_endpoint_is_told_once_and_never_shown() {
    let case = Case::new(r#"{"mcpServers": {"a": {"command": "x"}, "b": {"command": "x"}}}"#).no_env();
    let case = case.env(&[("MCP_ENDPOINT", "https://h/?token=s3cret-s3cret")]);
    let mistakes = case.mistakes(&[]);
    assert_eq!(mistakes.len(), 1, "{mistakes:?}");
    assert!(mistakes[0].starts_with("MCP_ENDPOINT (environment): has the scheme \"https\""), "{mistakes:?}");
    assert!(!mistakes[0].contains("s3cret"));
}

#[test]
fn no_child_sees_an_endpoint_or_a_token_of_any_server() {
    let case = Case::new(
        r#"{"mcpServers": {"a": {"command": "x", "endpoint": "wss://h/?token=${KITCHEN_TOKEN}",
                             "endpointHeaders": {"Authorization": "Bearer ${HEADER_TOKEN}"}},
                       "b": {"command": "x", "env": {"LEAK": "see ${MCP_ENDPOINT}", "KEY": "kept"}},
                       "c": {"command": "x", "disabled": true, "endpoint": "${UNUSED_ENDPOINT}",
                             "endpointHeaders": {"X-Key": "${UNUSED_KEY}"}}}}"#,
    )
    .env(&[
        ("KITCHEN_TOKEN", "kitchen-token-0123456789"),
        ("HEADER_TOKEN", "header-token-0123456789"),
        ("UNUSED_ENDPOINT", "wss://unused/?token=unused-0123456789"),
        ("UNUSED_KEY", "unused-key-0123456789"),
        ("COPY", "x wss://h.example/mcp/?token=default-s3cret y"),
        ("ENCODED", "kitchen%2Dtoken%2D0123456789"),
        ("PATH", "/bin"),
        ("LANG", "C"),
    ])
    .file(".env", "FROM_DOTENV=1\nLANG=de\nDOTENV_TOKEN=kitchen-token-0123456789\nMCP_ENDPOINT=wss://other/?token=x\n");
    let resolved = case.ok(&[]);
    let hidden = ["COPY", "ENCODED", "HEADER_TOKEN", "KITCHEN_TOKEN", "MCP_ENDPOINT", "UNUSED_ENDPOINT", "UNUSED_KEY"];
    for server in &resolved.config.servers {
        let mut removed: Vec<_> = server.command().env_remove.iter().map(|n| n.to_str().unwrap()).collect();
        removed.sort_unstable();
        assert_eq!(removed, hidden);
        assert_eq!(own_env(server)[0].0, "FROM_DOTENV");
    }
    assert_eq!(own_env(&resolved.config.servers[1]), [("FROM_DOTENV", "1"), ("KEY", "kept")]);
    assert!(case.lines(&resolved.warnings)[0].contains("env.LEAK: holds an endpoint and is not passed on"));
    assert!(!format!("{resolved:?}").contains("0123456789"), "nothing shows in Debug");
    assert!(resolved.secrets.iter().any(|secret| secret.reveal() == "header-token-0123456789"));
    assert_eq!(
        resolved.notes.last().unwrap(),
        "not handed on to servers, for the token or header value in it: \
         COPY, DOTENV_TOKEN, ENCODED, HEADER_TOKEN, KITCHEN_TOKEN, UNUSED_ENDPOINT, UNUSED_KEY"
    );
    let local = case.ok(&["--local"]).config;
    let removed = &local.servers[0].command().env_remove;
    assert!(hidden.iter().all(|name| removed.iter().any(|r| r == name)), "also with --local: {removed:?}");
}

#[test]
fn no_child_sees_an_endpoint_that_could_not_be_dialled() {
    let unused =
        r#"{"mcpServers": {"a": {"command": "x"}, "b": {"command": "x", "disabled": true, "endpoint": "${B}"}}}"#;
    let case = Case::new(unused).env(&[("B", "https://h/?token=s3cret-s3cret"), ("C", "x")]);
    assert_eq!(case.ok(&[]).config.servers[0].command().env_remove, ["MCP_ENDPOINT", "B"]);
}

#[test]
fn an_endpoint_that_was_pasted_with_blanks_is_kept_from_children_and_hidden() {
    let case = Case::new(r#"{"mcpServers": {"a": {"command": "x"}}}"#).no_env();
    let pasted = "  wss://h.example/?a=1;token=s3cret-s3cret\n";
    let resolved =
        case.env(&[("MCP_ENDPOINT", pasted), ("COPY", "x wss://h.example/?a=1;token=s3cret-s3cret")]).ok(&[]);
    assert_eq!(resolved.config.servers[0].command().env_remove, ["MCP_ENDPOINT", "COPY"]);
    let redactor: Redactor = resolved.secrets.into_iter().collect();
    assert_eq!(redactor.clean("bad s3cret-s3cret"), "bad …");
}

#[test]
fn the_password_of_a_proxy_is_hidden_and_servers_have_it_all_the_same() {
    let proxy = ("https_proxy", "http://me:passw0rd@proxy:8080");
    let resolved = Case::server("\"args\": []").env(&[proxy, ("COPY", "passw0rd")]).ok(&[]);
    assert_eq!(resolved.config.servers[0].command().env_remove, ["MCP_ENDPOINT"]);
    let redactor: Redactor = resolved.secrets.into_iter().collect();
    assert_eq!(redactor.clean("407 for me:passw0rd, bWU6cGFzc3cwcmQ="), "407 for …, …");
}

#[test]
fn no_mistake_repeats_what_is_secret() {
    let case = Case::server(r#""env": {"s3cret-s3cret=": "x", "B": 1}, "cwd": 2"#).no_env();
    let case = case.env(&[("MCP_ENDPOINT", "wss://h.example/?key=s3cret-s3cret")]);
    let mistakes = case.mistakes(&[]);
    assert!(mistakes.len() > 1 && mistakes.iter().any(|mistake| mistake.contains("env[\"…\"]")), "{mistakes:?}");
    assert!(mistakes.iter().all(|mistake| !mistake.contains("s3cret")), "{mistakes:?}");
}

#[test]
fn a_harmless_header_takes_no_variable_from_a_server_and_nothing_out_of_the_log() {
    let headers = r#""endpointHeaders": {"Origin": "http://home.local", "X-Client": "server"}"#;
    let resolved = Case::server(headers).env(&[("HASS_URL", "http://home.local:8123"), ("KIND", "server")]).ok(&[]);
    assert_eq!(resolved.config.servers[0].command().env_remove, ["MCP_ENDPOINT"]);
    assert!(resolved.notes.is_empty(), "{:?}", resolved.notes);
    assert!(resolved.secrets.iter().all(|secret| secret.reveal().contains("s3cret")));
}

#[test]
fn the_files_headers_go_to_the_common_endpoint_only() {
    let case = Case::new(
        r#"{"endpointHeaders": {"X-Key": "k"}, "mcpServers": {"a": {"command": "x"},
            "b": {"command": "x", "endpoint": "wss://other/"},
            "c": {"command": "x", "endpointHeaders": {"X-Own": "o"}}}}"#,
    );
    let names: Vec<Vec<String>> = case
        .ok(&[])
        .config
        .servers
        .iter()
        .map(|server| server.link.headers.iter().map(|(name, _)| name.to_string()).collect())
        .collect();
    assert_eq!(names, [vec!["x-key"], vec![], vec!["x-own"]]);
    let bad = Case::new(
        r#"{"endpointHeaders": {"Host": "h"}, "subprotocol": "a b",
            "mcpServers": {"a": {"command": "x"}, "b": {"command": "x"}, "c": {"command": "x"}}}"#,
    );
    assert_eq!(bad.mistakes(&[]).len(), 2, "what several share is told once: {:?}", bad.mistakes(&[]));
    let bad = Case::server(r#""endpointHeaders": {"Host": "h", "a b": "c", "X": "s3cret\n"}, "subprotocol": "a b""#);
    let mistakes = bad.mistakes(&[]);
    assert_eq!(mistakes.len(), 4, "{mistakes:?}");
    assert!(!mistakes.join("").contains("s3cret"));
}

#[test]
fn references_in_arguments_are_passed_on_with_a_warning() {
    let case = Case::server(r#""args": ["--key=${KEY}"]"#).env(&[("KEY", "s3cret")]);
    assert_eq!(case.ok(&[]).config.servers[0].command().args, ["--key=${KEY}"]);
    assert!(case.warnings(&[])[0].contains("mcpServers.a.args[0]: has a ${, which is not replaced here"));
}

#[test]
fn paths_of_an_entry_start_at_the_config() {
    let case = Case::new("{}")
        .file("sub/work/x", "")
        .file("sub/ca.pem", "")
        .file("sub/c.json", r#"{"caFile": "ca.pem", "mcpServers": {"a": {"command": "./bin/x", "cwd": "${WORK}"}}}"#);
    let case = case.env(&[("WORK", "work")]);
    let server = &case.ok(&["--config", "sub/c.json"]).config.servers[0];
    assert_eq!(server.command().program, case.dir.path().join("sub/bin/x").to_str().unwrap());
    assert_eq!(server.command().cwd, Some(case.dir.path().join("sub/work")));
    assert_eq!(server.link.ca_file, Some(case.dir.path().join("sub/ca.pem")));
}

#[test]
fn a_target_is_a_name_of_the_config_before_it_is_a_file() {
    let case = Case::server(r#""args": []"#).file("a", "").file("calc.py", "").file("examples/other.py", "");
    assert_eq!(case.ok(&["a"]).config.servers[0].command().program, "x");
    let resolved = case.ok(&["calc.py"]);
    let server = &resolved.config.servers[0];
    assert_eq!((&*server.name, server.command().program.as_str()), ("calc", "python3"));
    assert_eq!(server.command().args, [case.dir.path().join("calc.py").to_str().unwrap()]);
    let resolved = case.ok(&["other.py"]);
    assert!(resolved.notes[0].contains("examples/other.py"), "{:?}", resolved.notes);
    let elsewhere = tempfile::tempdir().unwrap();
    let config = case.dir.path().join("mcp_config.json");
    let far = case.run_in(elsewhere.path(), &["other.py", "--config", config.to_str().unwrap()]).unwrap();
    assert_eq!(far.config.servers[0].command().cwd.as_deref(), Some(elsewhere.path()));
}

#[test]
fn an_unknown_target_says_where_it_was_looked_for_and_what_there_is() {
    let case = Case::new(r#"{"mcpServers": {"calculator": {"command": "x"}}}"#).file("x.txt", "");
    let wrong = |arguments: &[&str]| {
        let problems = case.run(arguments).unwrap_err();
        assert!(problems.mistakes.is_empty(), "the config is right: {problems}");
        case.lines(&[problems.target.unwrap()]).join("")
    };
    let mistake = wrong(&["calculater"]);
    assert!(
        mistake.contains("DIR/calculater, DIR/examples/calculater") && mistake.ends_with("did you mean calculator?")
    );
    assert!(wrong(&["heath"]).ends_with("did you mean health?"));
    assert!(wrong(&["stat"]).ends_with("did you mean start or status?"));
    assert!(wrong(&["valid"]).ends_with("did you mean validate?"));
    assert!(wrong(&["res"]).ends_with("; to run a program: mcp-pipe -- res"), "restart, or resume");
    assert!(wrong(&["tools", "heath"]).contains("the config has: calculator"), "no command follows a command");
    for (line, want) in [
        (&["zzz"][..], "the config has: calculator; to run a program: mcp-pipe -- zzz"),
        (&["run", "zzz"], "the config has: calculator; to run a program: mcp-pipe run -- zzz"),
        (&["tools", "zzz"], "the config has: calculator; to run a program: mcp-pipe tools -- zzz"),
        (&["call", "zzz", "t"], "DIR/examples/zzz; the config has: calculator"),
        (
            &["call", "zzz.py", "t"],
            "DIR/examples/zzz.py; the config has: calculator; write its path if it is in another folder",
        ),
        (&["tools", "zzz.py"], "the config has: calculator; write its path if it is in another folder"),
    ] {
        let told = wrong(line);
        assert!(told.ends_with(want) && told.contains("a command nor") == (line[0] == "zzz"), "{told}");
    }
    for (line, want) in [
        (
            ["tools", "tools"],
            "tools: is a command, and behind tools stands a server, of which none is called that; write one of both: \
             mcp-pipe tools, or mcp-pipe tools SERVER",
        ),
        (
            ["run", "health"],
            "health: is a command, and behind run stands a server, of which none is called that; write one of both: \
             mcp-pipe health, or mcp-pipe run SERVER",
        ),
    ] {
        assert_eq!(wrong(&line), want);
    }
    let empty = Case { dir: tempfile::tempdir().unwrap(), env: Vec::new() };
    for line in [&["call", "a", "b"][..], &["tools", "a"], &["a"]] {
        let told = empty.lines(&[empty.run(line).unwrap_err().target.unwrap()]).join("");
        assert!(told.contains("a file nor a server, as there is no config (DIR/mcp_config.json)"), "{told}");
    }
    assert!(wrong(&["zzz"]).contains("the config has: calculator"));
    assert!(wrong(&["x.txt"]).contains("chmod +x"));
}

#[test]
fn several_servers_on_a_command_line_are_told_how_to_run_them() {
    let case =
        Case::new(r#"{"mcpServers": {"calc": {"command": "x"}, "clock": {"command": "x"}, "my s": {"command": "x"}}}"#);
    for (line, want) in [
        (
            &["calc", "clock"][..],
            "calc clock: are servers of the config, of which one can be named, or none for all; without a name all run that are \
             not disabled: disable the others in the config; or start mcp-pipe once for each; or write a config that has only \
             these, and name it by --config",
        ),
        (&["tools", "calc", "clock", "my s"], "calc clock my s: are servers of the config, of which one"),
        (&["calc", "2"], "calc 2: are several words behind one another, and one server can be named; write calc alone"),
        (
            &["my-server", "calc"],
            "are several words, and one server or script can be named; to start a program with arguments: mcp-pipe -- my-server calc",
        ),
        (
            &["tolls", "calc"],
            "did you mean the command tools? Or, to start a program with arguments: mcp-pipe -- tolls calc",
        ),
        (
            &["conf", "show"],
            "did you mean the command config? Or, to start a program with arguments: mcp-pipe -- conf show",
        ),
    ] {
        let problems = case.run(line).unwrap_err();
        assert!(problems.mistakes.is_empty(), "the config is right: {problems}");
        let told = case.lines(&[problems.target.unwrap()]).join("");
        assert!(told.contains(want), "{line:?}: {told}");
    }
}

#[test]
fn a_value_is_told_with_its_fault_first_as_it_was_written() {
    for (members, want) in [
        (
            r#""timeout": 60"#,
            "timeout: is 60, and a time needs a unit; write \"60s\", or \"60m\" for minutes, or \"60ms\" for milliseconds",
        ),
        (
            r#""timeout": "60""#,
            "timeout: is \"60\", and a time needs a unit; write 60s, or 60m for minutes, or 60ms for milliseconds",
        ),
        (r#""timeout": "soon""#, "timeout: is \"soon\", and that is no time; write it like 5s, 2m or 500ms"),
        (r#""timeout": "0s""#, "timeout: is \"0s\", and no call could be answered in that; leave it out for no limit"),
        (r#""startTimeout": "31d""#, "startTimeout: is \"31d\", and the longest time is 30d; write a shorter one"),
        (r#""pingInterval": "1ms""#, "pingInterval: is \"1ms\", and the shortest time is 1s here; write 1s or more"),
        (r#""turn": "9s""#, "turn: is \"9s\", and the shortest turn is 10s; write 10s or more"),
        (
            r#""maxFrameSize": 16"#,
            "maxFrameSize: is 16, and it must lie between 1KiB and 1GiB; write a size between them",
        ),
        (r#""maxResultBytes": "big""#, "maxResultBytes: is \"big\", and that is no size; write it like 16MiB"),
        (
            r#""handshake": "replay""#,
            "handshake: is \"replay\", and it must be one of answer, relay; did you mean relay?",
        ),
        (
            r#""mode": "x""#,
            "mode: is \"x\", and it must be one of auto, per-server, multiplex, sequential; write one of them",
        ),
    ] {
        let mistakes = Case::server(members).mistakes(&[]);
        assert!(mistakes.len() == 1 && mistakes[0].contains(want), "{mistakes:?}");
    }
}

#[test]
fn what_a_target_was_meant_to_be_is_told() {
    let case = Case::new(r#"{"mcpServers": {"calculator": {"command": "x"}}}"#)
        .file("examples/calculator.py", "")
        .file("clock.js", "")
        .file("folder/x", "");
    for (line, want) in [
        (&["calculater.py"][..], "did you mean calculator.py?"),
        (&["tools", "calculator.pz"], "did you mean calculator.py?"),
        (
            &["call", "calculator.add", "{}"],
            "write the server and its tool as two words: mcp-pipe call calculator add '{…}'",
        ),
        (&["tools", "calculator.add"], "write the server alone: calculator"),
        (&["restart one --connection"], "write it without quotes: mcp-pipe restart one --connection"),
        (&["--local", "x.mjs --port 3"], "write it without quotes: mcp-pipe --local -- node x.mjs --port 3"),
        (&["gone.ts"], "the config has: calculator; write its path if it is in another folder"),
        (&["clok.js"], "did you mean clock.js?"),
        (&["calculater"], "did you mean calculator?"),
        (
            &["mcp_config.json"],
            "DIR/mcp_config.json: is a config, not a script; name a config by --config: mcp-pipe --config mcp_config.json",
        ),
        (&["tools", "other.jsonc"], "a config is named by --config: mcp-pipe --config other.jsonc"),
        (
            &["python calculator.py"],
            "write it without quotes: mcp-pipe -- python calculator.py; or the script alone: mcp-pipe calculator.py",
        ),
        (&["npx -y some-server"], "write it without quotes: mcp-pipe -- npx -y some-server"),
        (
            &["--", "python3 calculator.py"],
            "is one word for your shell, with a blank in it, and there is no program of that name; write it without quotes: \
             mcp-pipe -- python3 calculator.py",
        ),
        (&["folder"], "DIR/folder: is a folder; name a script in it, or a server of the config"),
    ] {
        let problems = case.run(line).unwrap_err();
        assert!(problems.mistakes.is_empty(), "the config is right: {problems}");
        let told = case.lines(&[problems.target.unwrap()]).join("");
        assert!(told.ends_with(want), "{line:?}: {told}");
    }
}

#[test]
fn a_token_in_the_place_of_a_target_or_config_is_told_and_not_shown() {
    let case = Case::server(r#""args": []"#).file("my-long-server-name-of-2024-and-2025.py", "");
    for token in ["eyJhbGciOiJFUzI1NiJ9.c2VjcmV0IQ.s3cr3t", "abcdef0123456789abcdef0123456789s3cr3t"] {
        for line in [&[token][..], &["tools", token], &["call", token, "add"], &["--", token, "x"]] {
            let wrong = case.run(line).unwrap_err().target.unwrap().to_string();
            assert!(wrong.starts_with("the target: looks like a token"), "{wrong}");
            let is_looking = ["tools", "call"].contains(&line[0]);
            assert!(wrong.contains(if is_looking { "dials no endpoint" } else { "--endpoint" }), "{wrong}");
            assert!(!wrong.contains("s3cr3t"), "{wrong}");
        }
        let mistakes = case.mistakes(&["--config", token]);
        assert!(
            mistakes[0].starts_with("--config: looks like a token") && !mistakes[0].contains("s3cr3t"),
            "{mistakes:?}"
        );
    }
    assert!(case.run(&["my-long-server-name-of-2024-and-2025.py"]).is_ok(), "a file is one");
    let named = Case::new(r#"{"mcpServers": {"my-long-server-name-of-2024-and-2025": {"command": "x"}}}"#);
    let slip = named.run(&["my-long-server-name-of-2024-and-2026"]).unwrap_err().target.unwrap();
    assert!(slip.remedy.contains("did you mean my-long-server-name-of-2024-and-2025?"), "{slip}");
    let slip = case.run(&["my-long-server-name-of-2024-and-2026.py"]).unwrap_err().target.unwrap();
    assert!(slip.remedy.contains("and-2025.py"), "{slip}");
}

#[test]
fn an_endpoint_in_the_wrong_place_is_told_and_not_shown() {
    const URL: &str = "wss://h/?token=s3cret-s3cret";
    let case = Case::server(r#""args": []"#).no_env();
    for line in [&[URL][..], &["--", URL], &["--local", "--", URL, "x"]] {
        let problems = case.run(line).unwrap_err();
        assert!(problems.mistakes.is_empty(), "the config is right: {problems}");
        let wrong = problems.target.unwrap().to_string();
        assert!(wrong.starts_with("the target: is a URL"), "{wrong}");
        assert!(wrong.contains(if line[0] == "--local" { "--local" } else { "--endpoint" }), "{wrong}");
        assert!(!wrong.contains("s3cret"), "{wrong}");
    }
    let is_told = |mistakes: Vec<String>, place: &str| {
        assert!(mistakes.len() == 1 && mistakes[0].starts_with(place), "{mistakes:?}");
        assert!(mistakes[0].contains("--endpoint") && !mistakes[0].contains("s3cret"), "{mistakes:?}");
    };
    is_told(case.mistakes(&["--config", URL]), "--config: is a URL");
    is_told(case.env(&[("MCP_CONFIG", URL)]).mistakes(&[]), "MCP_CONFIG: is a URL");
}

#[test]
fn a_command_line_needs_no_config() {
    let case = Case { dir: tempfile::tempdir().unwrap(), env: Vec::new() };
    let config = case.ok(&["--local", "--", "/usr/bin/npx", "-y", "some", "--local"]).config;
    let server = &config.servers[0];
    assert_eq!((&*server.name, server.command().program.as_str()), ("npx", "/usr/bin/npx"));
    assert_eq!(server.command().args, ["-y", "some", "--local"]);
    assert_eq!(server.command().cwd.as_deref(), Some(case.dir.path()));
    assert!(case.mistakes(&["--", "npx"])[0].starts_with("MCP_ENDPOINT: is not set"));
}

#[test]
fn a_broken_entry_that_is_switched_off_stops_nobody() {
    let case = Case::new(r#"{"mcpServers": {"a": {"command": "x"}, "b": {"command": 5, "disabled": true}}}"#);
    assert!(case.warnings(&[])[0].contains("mcpServers.b.command: is a number"));
    assert!(case.mistakes(&["b"])[0].starts_with("b: can't be run"));
}

proptest::proptest! {
    #[test]
    fn no_file_makes_it_panic(text in r#"[ \n{}\[\]:,"a-c1\u{feff}é\\/*]{0,60}"#) {
        drop(file::read("f", &text));
        drop(file::read("f", &format!("{{\"mcpServers\": {{\"a\": {text}}}}}")));
    }
}

#[test]
fn every_shipped_file_is_right() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let resolved = |name: &str, env: &[(&str, &str)]| {
        let elsewhere = tempfile::tempdir().unwrap();
        let line = ["mcp-pipe".into(), "--config".into(), root.join(name).into_os_string()];
        let cli = cli::parse(line).unwrap();
        resolve(&cli.line(), &Surroundings::look(&cli.options, env.iter().copied().collect(), elsewhere.path()))
            .unwrap_or_else(|problems| panic!("{problems}"))
    };
    for name in ["mcp_config.json", "mcp_config.minimal.json"] {
        let resolved = resolved(name, &[ENDPOINT]);
        assert!(resolved.warnings.is_empty(), "{:?}", resolved.warnings);
        assert_eq!(resolved.config.servers.len(), 1, "{name}");
        assert_eq!(&*resolved.config.servers[0].name, "calculator");
        assert_eq!(resolved.config.servers[0].command().args, ["examples/calculator.py"]);
    }
    let tokens = [ENDPOINT, ("KITCHEN_ENDPOINT", "wss://k.example/?token=k"), ("OFFICE_TOKEN", "o")];
    let several = resolved("mcp_config.multi-token.json", &tokens);
    assert!(several.warnings.is_empty(), "{:?}", several.warnings);
    let servers = &several.config.servers;
    let hosts: Vec<&str> = servers.iter().map(|server| server.endpoint.as_ref().unwrap().host()).collect();
    assert_eq!(hosts, ["k.example", "api.xiaozhi.me", "h.example", "h.example"], "own ones, and a shared one");
    assert!(servers.iter().all(|server| server.sharing.mode == Mode::Multiplex));
    assert_eq!(servers[2].tools.allow.len(), 4);

    let example = std::fs::read_to_string(root.join(".env.example")).unwrap();
    let case = Case::server(r#""args": []"#).no_env().file(".env", example);
    let mistakes = case.mistakes(&[]);
    assert_eq!(mistakes.len(), 1, "{mistakes:?}");
    assert!(mistakes[0].contains("placeholder"), "copied and not filled in: {mistakes:?}");
}
