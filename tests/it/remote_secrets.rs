//! What lets mcp-pipe in at remote servers, in each way in which it can be written and had: seen by its server and whoever gives it, and by
//! nobody else, whatever goes wrong.
#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::json;

use crate::auth::logged_in;
use crate::harness::{
    Asked, AuthServer, Conn, Daemon, FakeEndpoint, Part, Setup, Web, events, field, fixture_entry, metadata, multiplex,
    result, text_of, whole, with_json,
};

/// What stands in the config, in files, or is printed by a program.
const IN_HEADER: &str = "h3ader+v4lue/of=the%41config";
const PASSWORD: &str = "pa55 w0rd+of/the=address";
const IN_CONFIG: &str = "b3arer.of~the-c0nfig+/==";
const WRONG: &str = "wr0ng.token~of-the-c0nfig+/==";
const IN_FILE: &str = "f1le-t0ken-of-a-file+/=";
const IN_ENVIRONMENT: &str = "env1ron-t0ken-of-a-variable+/=";
const PRINTED: &str = "pr1nted-t0ken-of-a-program+/=";
const OF_CLIENT: &str = "cl1ent+s3cret/of=the%41config";
const OF_ENDPOINT: &str = "t0ken-of-the-endpo1nt";
/// How those begin that an authorization server gives (`harness::AuthServer`).
const GIVEN: [&str; 3] = ["at-00", "rt-00", "code-00"];

/// Length of the pieces of a secret that nobody may see.
const PIECE: usize = 12;

/// What servers do about a call, and in all of it repeat what they were sent.
const FAULTS: [&str; 14] =
    ["401", "403", "404", "400", "500", "503", "302", "307", "page", "broken", "foreign", "head", "cut", "log"];

/// What somebody repeats who was sent this, in the spellings of programs.
fn spelled(sent: &str) -> Vec<String> {
    let (scheme, value) = sent.split_once(' ').filter(|(scheme, _)| scheme.len() < 7).unwrap_or(("", sent));
    let pair = BASE64_STANDARD.decode(value).ok().filter(|_| scheme == "Basic");
    let pair = pair.map(|pair| String::from_utf8(pair).unwrap()).unwrap_or_default();
    let parts: Vec<String> = pair.split(':').map(|part| percent_decode_str(part).decode_utf8_lossy().into()).collect();
    let plain = [value, &pair].into_iter().map(str::to_owned).chain(parts).filter(|text| text.len() >= 4);
    plain.collect::<BTreeSet<_>>().into_iter().flat_map(|text| spellings(&text)).collect()
}

fn spellings(secret: &str) -> Vec<String> {
    let encoded = utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string();
    let hex = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let escaped = secret.replace('/', "\\/").replace('+', "\\u002b");
    let lower = encoded.replace("%2B", "%2b").replace("%2F", "%2f");
    let form = encoded.replace("%20", "+");
    let base64 =
        [&BASE64_STANDARD, &BASE64_STANDARD_NO_PAD, &BASE64_URL_SAFE_NO_PAD].map(|engine| engine.encode(secret));
    let html = secret.replace('+', "&#43;").replace('/', "&#x2F;");
    let all = [secret.to_owned(), encoded, lower, form, escaped, html, hex].into_iter().chain(base64);
    all.collect::<BTreeSet<_>>().into_iter().collect()
}

/// A server that takes what is good in a header only, and repeats whatever that header holds.
async fn prying(header: &'static str, good: Arc<Mutex<BTreeSet<String>>>, issuer: String) -> Web {
    Web::start(move |asked| {
        let path = asked.target.split('?').next().unwrap_or_default();
        if path == "/.well-known/oauth-protected-resource/mcp" && !issuer.is_empty() {
            let resource = format!("{}/mcp", asked.origin());
            return Some(with_json(
                &json!({"resource": resource, "authorization_servers": [issuer], "scopes_supported": ["tools"]}),
            ));
        }
        if path != "/mcp" {
            return Some(whole("404 Not Found", &[], ""));
        }
        let sent = asked.exact(header).unwrap_or_default();
        let is_in = good.lock().unwrap().contains(sent.strip_prefix("Bearer ").unwrap_or(sent));
        let fault = asked.body["params"]["arguments"]["fault"].as_str().map(str::to_owned);
        fault
            .filter(|_| is_in)
            .or_else(|| (!is_in).then(|| "401".to_owned()))
            .and_then(|fault| repeating(&fault, asked, sent))
    })
    .await
}

fn repeating(fault: &str, asked: &Asked, sent: &str) -> Option<Vec<Part>> {
    let said = spelled(sent).join(" ");
    // What may stand within quotes in a head.
    let mut inside = spelled(sent);
    inside.retain(|text| !text.contains(['"', '\\']));
    let inside = inside.join(" ");
    let metadata = format!("{}/.well-known/oauth-protected-resource/mcp", asked.origin());
    let challenge = format!(
        "www-authenticate: Bearer error=\"invalid_token\", error_description=\"{inside}\", scope=\"{inside}\", resource_metadata=\"{metadata}\""
    );
    let lacking = format!("www-authenticate: Bearer error=\"insufficient_scope\", scope=\"{inside}\"");
    let elsewhere =
        format!("location: http://127.0.0.1:1/{0}?token={0}&x={1}", sent.replace(' ', "/"), inside.replace(' ', "&"));
    let own = format!("x-said: {inside}");
    let error =
        json!({"jsonrpc": "2.0", "id": null, "error": {"code": -1, "message": format!("not for {sent}: {said}")}})
            .to_string();
    let json = "content-type: application/json";
    Some(match fault {
        "401" => whole("401 Unauthorized", &[&challenge, &own, json], &error),
        "403" => whole("403 Forbidden", &[&lacking, &own, json], &error),
        "404" => whole("404 Not Found", &[&own, json], &error),
        "400" => whole(&format!("400 {inside}"), &[&own], &said),
        "500" => whole("500 Oops", &[&own, json], &error),
        "503" => whole("503 Busy", &[&format!("retry-after: {inside}"), json], &error),
        "302" => whole("302 Found", &[&elsewhere], &said),
        "307" => whole("307 Temporary Redirect", &[&elsewhere], &said),
        "page" => whole("200 OK", &["content-type: text/html"], &format!("<html>{said}</html>")),
        "broken" => whole("200 OK", &[json], &format!("{{\"for\": {said}")),
        "foreign" => {
            whole("200 OK", &[json], &json!({"jsonrpc": "2.0", "id": said, "result": {"content": [said]}}).to_string())
        }
        "head" => vec![Part::Write(format!("HTTP/1.1 2x0 {inside}\r\n{inside}\r\n\r\n").into()), Part::Close],
        "cut" => {
            let mut parts = events(&format!("id: {inside}\ndata: {said}\n\ndata: {{\"jsonrpc\""));
            parts.push(Part::Close);
            parts
        }
        "log" => {
            let log = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "error", "logger": sent, "data": said}});
            events(&format!("data: {log}\n\ndata: {}\n\n", result(asked, "logged")))
                .into_iter()
                .chain([Part::Close])
                .collect()
        }
        _ => return None,
    })
}

/// All of it in all spellings, in pieces: of a part of a secret the rest may be guessed.
static PIECES: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let known = [IN_HEADER, PASSWORD, IN_CONFIG, WRONG, IN_FILE, IN_ENVIRONMENT, PRINTED, OF_CLIENT, OF_ENDPOINT];
    let pairs = [format!("us3r:{PASSWORD}"), format!("me:{OF_CLIENT}"), pair_of_client()];
    let all = known.iter().map(|secret| (*secret).to_owned()).chain(pairs).flat_map(|secret| spellings(&secret));
    let pieces = |text: String| {
        let middle = text.len() / 2 - PIECE / 2;
        [0, middle, text.len() - PIECE].map(|from| text[from..from + PIECE].to_owned())
    };
    all.flat_map(pieces).chain(GIVEN.map(str::to_owned)).collect()
});

/// The client's name and secret, as they are shown to an authorization server (RFC 6749 section 2.3.1).
fn pair_of_client() -> String {
    format!("me:{}", utf8_percent_encode(OF_CLIENT, NON_ALPHANUMERIC))
}

/// Asserts that a text holds none of what lets somebody in.
fn is_clean(what: &str, text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    for piece in &*PIECES {
        if let Some(at) = text.find(piece) {
            let from = text.floor_char_boundary(at.saturating_sub(300));
            let to = text.ceil_char_boundary((at + 100).min(text.len()));
            panic!("{piece} in {what}: {}", &text[from..to]);
        }
    }
}

/// Every file below a folder, but those of these names.
fn files(folder: &Path, but: &[&str]) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let entries = entries.filter(|path| !but.iter().any(|name| path.ends_with(name)));
    entries.flat_map(|path| if path.is_dir() { files(&path, but) } else { vec![path] }).collect()
}

/// What a command prints that is run beside the daemon.
async fn told(daemon: &Daemon, arguments: &[&str]) -> String {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_mcp-pipe"));
    let dir = daemon.path();
    command
        .args(arguments)
        .env_clear()
        .current_dir(dir)
        .env("HOME", dir)
        .env("XDG_RUNTIME_DIR", dir)
        .env("TMPDIR", dir);
    command.env("PATH", std::env::var_os("PATH").unwrap()).env("OF_ENVIRONMENT", IN_ENVIRONMENT).kill_on_drop(true);
    let output = crate::harness::within("a command", command.output()).await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    is_clean(&format!("{arguments:?}"), &said);
    assert!(!said.is_empty(), "{arguments:?}");
    String::from_utf8(said).unwrap()
}

/// Neither the command line of anything that the daemon has started nor what it was given.
fn nobody_sees_any(daemon: &Daemon) {
    let own = daemon.pid().as_raw_nonzero().get();
    let all = daemon.processes();
    assert!(all.len() > 1, "{all:?}");
    for (pid, line) in all {
        is_clean(&format!("the command line of {pid}"), line.as_bytes());
        if pid != own {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            is_clean(&format!("the environment of {line}"), &environment);
        }
    }
}

/// Calls of each server, of which each goes wrong in another way; what the endpoint is told of that by mcp-pipe.
async fn exercise(conn: &mut Conn, servers: &[&str], round: usize) {
    for (n, server) in servers.iter().enumerate() {
        let tool = format!("{server}__x");
        for (m, fault) in FAULTS.iter().enumerate() {
            let id = 10_000 * (round + 1) + 100 * n + m;
            let answer = conn.call(id, &tool, json!({"fault": fault})).await;
            if *fault == "log" {
                assert_eq!(text_of(&answer), "logged", "{server}: {answer}");
            } else {
                assert!(answer["error"]["message"].is_string(), "{server}, {fault}: {answer}");
                is_clean(&format!("the answer of {server} to {fault}"), answer.to_string().as_bytes());
            }
        }
        let answer = conn.call(10_000 * (round + 1) + 100 * n + 99, &format!("{server}__echo"), json!({})).await;
        assert_eq!(text_of(&answer), "echo", "{server} goes on");
    }
}

#[tokio::test]
async fn what_lets_us_in_at_remote_servers_is_seen_by_nobody_else_whatever_goes_wrong() {
    let good = |secret: &str| Arc::new(Mutex::new(BTreeSet::from([secret.to_owned()])));
    // Its words hold what it was sent, too.
    let refuses = Arc::new(AtomicBool::new(false));
    let is_refusing = refuses.clone();
    let authority = AuthServer::start(move |asked| {
        let is_it = asked.target == "/token" && is_refusing.load(Ordering::SeqCst);
        if asked.target == "/.well-known/oauth-authorization-server" {
            let mut metadata = metadata(asked);
            metadata["token_endpoint_auth_methods_supported"] = json!(["client_secret_basic", "none"]);
            return Some(with_json(&metadata));
        }
        is_it.then(|| {
            let by = spelled(asked.exact("authorization").unwrap_or_default()).join(" ");
            let fields = ["refresh_token", "client_secret"].map(|name| asked.field(name).unwrap_or_default());
            let said = format!("{} {by} {}", asked.text, fields.join(" "));
            let error = json!({"error": "invalid_client", "error_description": said, "error_uri": said}).to_string();
            whole("400 Bad Request", &["content-type: application/json", &format!("x-said: {by}")], &error)
        })
    })
    .await;
    let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("us3r:{PASSWORD}")));
    let nobody = String::new;
    let header = prying("x-api-key", good(IN_HEADER), nobody()).await;
    let address = prying("authorization", good(&basic), nobody()).await;
    let bearer = prying("authorization", good(IN_CONFIG), nobody()).await;
    let variable = prying("authorization", good(IN_ENVIRONMENT), nobody()).await;
    let file = prying("authorization", good(IN_FILE), nobody()).await;
    let program = prying("authorization", good(PRINTED), nobody()).await;
    let client = prying("authorization", authority.good.clone(), authority.issuer()).await;
    let person = prying("authorization", authority.good.clone(), authority.issuer()).await;
    let wrong = prying("authorization", good("another"), nobody()).await;
    let user = format!("us3r:{}", utf8_percent_encode(PASSWORD, NON_ALPHANUMERIC));

    let endpoint = FakeEndpoint::with_token(OF_ENDPOINT).await;
    let secret =
        json!({"clientCredentials": {"clientId": "me", "clientSecret": OF_CLIENT, "issuer": authority.issuer()}});
    let mut config = multiplex(
        &endpoint,
        [
            ("header", json!({"url": header.url(), "headers": {"X-Api-Key": IN_HEADER}})),
            ("address", json!({"url": address.url().replace("http://", &format!("http://{user}@"))})),
            ("bearer", json!({"url": bearer.url(), "auth": {"bearer": IN_CONFIG}})),
            ("variable", json!({"url": variable.url(), "auth": {"bearer": "${OF_ENVIRONMENT}"}})),
            ("file", json!({"url": file.url(), "auth": {"bearerFile": "token"}})),
            ("program", json!({"url": program.url(), "auth": {"bearerCommand": ["sh", "helper.sh"]}})),
            ("client", json!({"url": client.url(), "auth": secret})),
            ("person", json!({"url": person.url()})),
            ("wrong", json!({"url": wrong.url(), "auth": {"bearer": WRONG}})),
            ("child", fixture_entry(&["--grandchild"])),
        ],
    );
    config["naming"] = "prefix".into();
    let setup = Setup::new().file("token", IN_FILE).file("printed", PRINTED).env("OF_ENVIRONMENT", IN_ENVIRONMENT);
    let setup =
        setup.file("helper.sh", "env > seen; tr '\\0' ' ' < /proc/$$/cmdline >> seen; cat printed; cat printed >&2");
    let dir = setup.folder().to_owned();
    let said = logged_in(&dir, json!({"url": person.url()})).await;
    is_clean("what login says", said.as_bytes());
    let socket = dir.join("status.sock");
    let daemon =
        setup.config(&config).args(["--log-contents", "--status-socket", socket.to_str().unwrap()]).start("debug");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    daemon.wait_for_event("ERROR_SERVER_START").await;
    let servers = ["header", "address", "bearer", "variable", "file", "program", "client", "person"];
    exercise(&mut conn, &servers, 0).await;
    nobody_sees_any(&daemon);
    // What was given is good no more, and there is no other: then there is.
    refuses.store(true, Ordering::SeqCst);
    authority.revoke();
    for (n, server) in ["client", "person"].into_iter().enumerate() {
        let answer = conn.call(2 + n, &format!("{server}__echo"), json!({})).await;
        is_clean("an answer where no token was given", answer.to_string().as_bytes());
        let want = "HTTP 400 (invalid_client";
        daemon.wait_for(want, |line| field(line, "server") == Some(server) && line.to_string().contains(want)).await;
    }
    let health = socket.to_str().unwrap();
    for arguments in [
        &["status"][..],
        &["status", "--json"],
        &["status", "client"],
        &["logs"],
        &["logs", "--json"],
        &["logs", "wrong"],
        &["health", "--status-socket", health],
        &["validate"],
        &["validate", "--json"],
        &["config", "show"],
        &["config", "show", "--json"],
        &["restart", "person"],
        &["tools", "--log-level", "trace"],
        &["call", "person", "echo", "--log-level", "trace"],
        &["call", "wrong", "echo"],
    ] {
        told(&daemon, arguments).await;
    }
    refuses.store(false, Ordering::SeqCst);
    for arguments in [&["tools", "--json"][..], &["tools", "--published"], &["tools", "--size"]] {
        told(&daemon, arguments).await;
    }
    for server in servers {
        for fault in ["401", "403", "500", "302"] {
            let fault = json!({"fault": fault}).to_string();
            let said = told(&daemon, &["call", server, "x", &fault, "--log-level", "debug"]).await;
            assert!(said.contains("answered HTTP") || said.contains("redirect"), "{server} {fault}: {said}");
        }
        assert!(told(&daemon, &["call", server, "echo"]).await.contains("echo"), "{server}");
    }
    told(&daemon, &["restart", "client"]).await;
    told(&daemon, &["restart", "person"]).await;
    exercise(&mut conn, &["client", "person"], 1).await;
    nobody_sees_any(&daemon);
    told(&daemon, &["status", "--json"]).await;
    told(&daemon, &["logs", "--json"]).await;

    let (log, folder) = (daemon.log_text(), dir.join(".local/state/mcp-pipe/mcp-pipe-state"));
    for said in ["its token lacks the scope", "not for …", "invalid_client", "CALL_SERVED"] {
        assert!(log.contains(said), "{said}");
    }
    is_clean("the log", log.as_bytes());
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    // Which says what the others are.
    let kept = files(&folder, &["README"]);
    assert!(kept.iter().any(|file| std::fs::read_to_string(file).unwrap().contains("rt-00")), "{kept:?}");
    assert!(mode(&folder) == 0o700 && kept.iter().all(|file| mode(file) == 0o600), "{kept:?}");
    assert!(dir.join(".cache").is_dir() && dir.join("seen").is_file());
    for path in files(&dir, &["mcp_config.json", "token", "printed", "mcp-pipe-state"]) {
        // Sockets can't be read.
        if let Ok(text) = std::fs::read(&path) {
            is_clean(&path.display().to_string(), &text);
        }
    }
    told(&daemon, &["logout", "person"]).await;
    daemon.stop_closing([&mut conn]).await;
    // Each of them was sent where it belongs.
    let shown = format!("Basic {}", BASE64_STANDARD.encode(pair_of_client()));
    let asked = authority.asked("/token");
    assert!(asked.iter().any(|asked| asked.exact("authorization") == Some(&*shown)), "{asked:?}");
    for (web, name, sent) in [
        (&header, "x-api-key", IN_HEADER.to_owned()),
        (&address, "authorization", basic),
        (&bearer, "authorization", format!("Bearer {IN_CONFIG}")),
        (&variable, "authorization", format!("Bearer {IN_ENVIRONMENT}")),
        (&file, "authorization", format!("Bearer {IN_FILE}")),
        (&program, "authorization", format!("Bearer {PRINTED}")),
    ] {
        let all = web.asked();
        assert!(all.iter().all(|asked| asked.exact(name) == Some(&*sent)), "{sent}");
        assert!(all.len() > FAULTS.len());
    }
}
