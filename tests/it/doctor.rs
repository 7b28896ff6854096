//! `mcp-pipe doctor`: one root for each fault that is made, none where all is well, and nothing disturbed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::control::{Asked, Runtime};
use crate::harness::{
    Authority, Daemon, FakeEndpoint, McpHttp, Secured, Setup, Transport, Web, config, fixture_entry, multiplex, whole,
    within,
};

/// Roots as `code target`.
pub(crate) fn roots(asked: &Asked) -> Vec<String> {
    let told: Value = serde_json::from_str(&asked.out).unwrap_or_else(|_| panic!("no JSON: {asked:?}"));
    assert_eq!(told["schema"], 1);
    let roots = told["roots"].as_array().unwrap();
    assert_eq!(asked.code, i32::from(!roots.is_empty()), "{told:#}");
    for root in roots {
        assert!(root["message"].as_str().is_some_and(|text| !text.is_empty()), "{root}");
        assert!(root["remedy"].as_str().is_some_and(|text| !text.is_empty()), "{root}");
    }
    let one = |root: &Value| format!("{} {}", root["code"].as_str().unwrap(), root["target"].as_str().unwrap());
    roots.iter().map(one).collect()
}

/// How a check ended, and because of what.
fn check(asked: &Asked, id: &str, target: &str) -> (String, String) {
    let told: Value = serde_json::from_str(&asked.out).unwrap();
    let all = told["checks"].as_array().unwrap();
    let found = all.iter().find(|check| check["id"] == id && check["target"] == target);
    let found = found.unwrap_or_else(|| panic!("no {id} of {target}: {told:#}"));
    (found["status"].as_str().unwrap().to_owned(), found["because"].as_str().unwrap().to_owned())
}

async fn doctor(setup: Setup) -> Asked {
    Asked::of(setup.args(["doctor", "--json"]).output().await)
}

/// A server that is well beside whatever else there is, and no endpoint.
fn beside(name: &str, entry: Value) -> Value {
    config([("well", fixture_entry(&[])), (name, entry)])
}

/// An endpoint called `e`, at this address.
fn with_endpoint(url: &str) -> Value {
    let mut config = config([("well", fixture_entry(&[]))]);
    config["endpoints"] = json!({"e": {"url": url, "servers": ["well"]}});
    config
}

/// A fault, what is set up for it, and the one root that is to be found.
struct Fault {
    what: &'static str,
    setup: Setup,
    root: String,
}

fn fault(what: &'static str, setup: Setup, root: impl Into<String>) -> Fault {
    Fault { what, setup, root: root.into() }
}

fn of_server(what: &'static str, code: &str, entry: Value) -> Fault {
    fault(what, Setup::new().config(&beside("x", entry)).args(["--local"]), format!("{code} x"))
}

fn of_endpoint(what: &'static str, code: &str, url: &str) -> Fault {
    fault(what, Setup::new().config(&with_endpoint(url)), format!("{code} e"))
}

/// A token of JSON that says this of itself.
pub(crate) fn token_that_says(claims: &Value) -> String {
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.c2lnbmF0dXJl", part(&json!({"alg": "ES256"})), part(claims))
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// Has this file seem to be changed in the days to come, as where a machine without a clock has lost its time.
pub(crate) fn from_the_future(folder: &Path, name: &str) {
    let file = fs::File::options().append(true).open(folder.join(name)).unwrap();
    file.set_modified(SystemTime::now() + Duration::from_secs(40 * 86_400)).unwrap();
}

#[tokio::test]
async fn each_fault_is_one_root_with_its_code_and_its_target() {
    let authority = Authority::new();
    let expired = Secured { expired: true, ..Secured::default() };
    let page = |status: &'static str| move |_: &_| Some(whole(status, &[], "no"));
    let of_tls =
        async |secured| Web::start_secure(Transport::Http, authority.secure(secured), page("404 Not Found")).await;
    let (good_tls, expired_tls) = (of_tls(Secured::default()).await, of_tls(expired).await);
    let early_tls = of_tls(Secured { early: true, ..Secured::default() }).await;
    let (locked, busy) = (Web::start(page("401 Unauthorized")).await, Web::start(page("503 Unavailable")).await);
    let found = Web::start(page("404 Not Found")).await;
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let strange = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let strange_port = strange.local_addr().unwrap().port();
    let speaks_otherwise = tokio::spawn(async move {
        while let Ok((mut stream, _)) = strange.accept().await {
            let _gone = tokio::io::AsyncWriteExt::write_all(&mut stream, b"220 mail.example ESMTP\r\n").await;
        }
    });
    let at = |web: &Web| format!("ws://127.0.0.1:{}/mcp/?token=t0ken-of-a-test", web.port());
    let wss = |web: &Web| at(web).replace("ws:", "wss:");
    let trusting = |url: &str| {
        let mut config = with_endpoint(url);
        config["endpoints"]["e"]["caFile"] = json!(authority.file("ca.pem"));
        config
    };
    let script = |name: &str, text: &str, mode| {
        let (name, text) = (name.to_owned(), text.to_owned());
        move |folder: &Path| {
            fs::write(folder.join(&name), &text).unwrap();
            fs::set_permissions(folder.join(&name), fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    let expired_token = token_that_says(&json!({"agentId": 7, "exp": seconds() - 86_400}));
    let issued = token_that_says(&json!({"agentId": 7, "iat": seconds() + 6 * 86_400}));
    let early = wss(&early_tls).replace("t0ken-of-a-test", &issued);
    let mut both_by_proxy = with_endpoint("ws://endpoint.test/?token=t0ken-of-a-test");
    both_by_proxy["mcpServers"]["x"] = json!({"url": "http://remote.test/mcp"});
    both_by_proxy["endpoints"]["e"]["servers"] = json!(["well", "x"]);
    let with_port = |key: &str| {
        let mut config = config([("well", fixture_entry(&[]))]);
        config["gateway"] = json!({"listen": "127.0.0.1:0"});
        config[key] = json!({"listen": taken.local_addr().unwrap().to_string()});
        Setup::new().config(&config)
    };
    let clock =
        Setup::new().config(&trusting(&wss(&early_tls))).prepared(|folder| from_the_future(folder, "mcp_config.json"));
    let unflushed = "import sys\nfor line in sys.stdin:\n    \
        sys.stdout.write('{\"jsonrpc\":\"2.0\",\"id\":0,\"result\":{\"protocolVersion\":\"2024-11-05\",\"capabilities\":{},\"serverInfo\":{\"name\":\"x\",\"version\":\"1\"}}}\\n')\n";
    let mut late = fixture_entry(&["--silent"]);
    late["startTimeout"] = json!("2s");
    let faults = vec![
        fault(
            "a config that is no JSON",
            Setup::new().file("mcp_config.json", "{\"mcpServers\": {\"x\": }"),
            "config-mistake mcp_config.json:1:22",
        ),
        fault(
            "a variable that is not set",
            Setup::new()
                .config(&beside("x", json!({"command": "x", "env": {"A": "${NOT_SET_ANYWHERE}"}})))
                .args(["--local"]),
            "config-mistake mcp_config.json:1:…",
        ),
        of_server("a program that is not there", "command-not-found", json!({"command": "not-there-at-all"})),
        fault(
            "a program that only the shell's PATH knows",
            Setup::new().config(&beside("x", json!({"command": "uvx"}))).args(["--local"]).env("PATH", "/usr/sbin"),
            "command-not-found x",
        ),
        fault(
            "a file that is no program",
            Setup::new()
                .config(&beside("x", json!({"command": "./x"})))
                .args(["--local"])
                .prepared(script("x", "text", 0o644)),
            "command-not-runnable x",
        ),
        of_server(
            "a module that is missing",
            "server-exited",
            json!({"command": "python3", "args": ["-c", "import no_such_module"]}),
        ),
        of_server("a server that ends without a word", "server-exited", json!({"command": "true"})),
        of_server("a server that says nothing", "server-not-ready", late),
        of_server(
            "a server that does not flush",
            "server-not-ready",
            json!({"command": "python3", "args": ["-c", unflushed], "env": {"PYTHONUNBUFFERED": ""}, "startTimeout": "4s"}),
        ),
        of_server("a server that refuses", "server-refuses", fixture_entry(&["--refuse", "no licence"])),
        of_server(
            "a server that does not list its tools",
            "server-refuses",
            fixture_entry(&["--fail", "tools/list", "-32000"]),
        ),
        of_server("a remote server that is down", "remote-refused", json!({"url": "http://127.0.0.1:9/mcp"})),
        of_server("a remote server of no name", "remote-dns", json!({"url": "http://no-such-name.invalid/mcp"})),
        of_server("a remote server that wants a token", "remote-unauthorized", json!({"url": locked.url()})),
        of_server(
            "a token for a remote server that has expired",
            "remote-unauthorized",
            json!({"url": locked.url(), "headers": {"Authorization": format!("Bearer {expired_token}")}}),
        ),
        of_server("a remote server at another path", "remote-http", json!({"url": found.url()})),
        of_server("a remote server of an unknown authority", "remote-tls", json!({"url": good_tls.url()})),
        of_endpoint("an endpoint of no name", "endpoint-dns", "ws://no-such-name.invalid/mcp/?token=t0ken-of-a-test"),
        of_endpoint("an endpoint that is down", "endpoint-refused", "ws://127.0.0.1:9/mcp/?token=t0ken-of-a-test"),
        of_endpoint("an endpoint that takes no token", "endpoint-unauthorized", &at(&locked)),
        of_endpoint("an endpoint that is out of order", "endpoint-http", &at(&busy)),
        of_endpoint(
            "an endpoint that speaks something else",
            "endpoint-not-mcp",
            &format!("ws://127.0.0.1:{strange_port}/"),
        ),
        of_endpoint("an endpoint of an unknown authority", "endpoint-tls", &wss(&good_tls)),
        fault(
            "an endpoint whose certificate has expired",
            Setup::new().config(&trusting(&wss(&expired_tls))),
            "endpoint-tls e",
        ),
        of_endpoint("an endpoint without TLS", "endpoint-timeout", &wss(&found)),
        of_endpoint(
            "a token that has expired",
            "endpoint-unauthorized",
            &format!("ws://127.0.0.1:{}/?token={expired_token}", found.port()),
        ),
        fault("a clock that stands in the past", clock, "clock-wrong "),
        fault("a clock that stands before a token was issued", Setup::new().config(&trusting(&early)), "clock-wrong "),
        fault(
            "a proxy that is not there, on the way to an endpoint and to a remote server",
            Setup::new().config(&both_by_proxy).env("HTTP_PROXY", "http://127.0.0.1:9"),
            "remote-proxy x, e",
        ),
        fault(
            "a proxy that is not there",
            Setup::new()
                .config(&with_endpoint("ws://endpoint.test/?token=t0ken-of-a-test"))
                .env("HTTP_PROXY", "http://127.0.0.1:9"),
            "endpoint-proxy e",
        ),
        fault(
            "a proxy that is none",
            Setup::new()
                .config(&with_endpoint("ws://endpoint.test/?token=t0ken-of-a-test"))
                .env("HTTP_PROXY", "ftp://x"),
            "endpoint-proxy e",
        ),
        fault("a gateway's port that is taken", with_port("gateway"), "port-taken gateway"),
        fault("an admin port that is taken", with_port("admin"), "port-taken admin"),
    ];
    // A few at a time: a server that has to share a processor with thirty starts late.
    let mut left = faults.into_iter();
    loop {
        let some: Vec<Fault> = left.by_ref().take(6).collect();
        if some.is_empty() {
            break;
        }
        let found =
            join_all(some.into_iter().map(async |Fault { what, setup, root }| (what, root, doctor(setup).await))).await;
        for (what, root, asked) in found {
            let [told] = &roots(&asked)[..] else { panic!("{what}: {root}: {asked:?}") };
            let fits = root.strip_suffix('…').map_or(*told == root, |beginning| told.starts_with(beginning));
            assert!(fits, "{what}: {root} and not {told}: {}", asked.out);
        }
    }
    drop(mute);
    speaks_otherwise.abort();
}

#[tokio::test]
async fn where_all_is_well_there_is_no_root_and_an_endpoint_is_only_asked_for_a_page() {
    let endpoint = Web::start(|_| Some(whole("426 Upgrade Required", &[], ""))).await;
    let url = format!("ws://127.0.0.1:{}/mcp/?token=t0ken-of-a-test", endpoint.port());
    let asked = doctor(Setup::new().config(&with_endpoint(&url))).await;
    assert_eq!(roots(&asked), [""; 0], "{asked:?}");
    assert_eq!(asked.err, "");
    assert!(!asked.out.contains("t0ken-of-a-test"), "{asked:?}");
    let ended: Vec<&str> = ["PASS", "SKIP", "WARN"].to_vec();
    let told: Value = serde_json::from_str(&asked.out).unwrap();
    assert!(told["checks"].as_array().unwrap().iter().all(|check| ended.contains(&check["status"].as_str().unwrap())));
    assert_eq!(check(&asked, "server.tools", "well").0, "PASS");
    assert_eq!(check(&asked, "endpoint.http", "e").0, "PASS");
    assert_eq!(check(&asked, "endpoint.connection", "e").0, "SKIP");
    let asked_for = endpoint.asked();
    let [got] = &asked_for[..] else { panic!("one request: {asked_for:?}") };
    assert_eq!((got.method.as_str(), got.header("upgrade"), got.header("sec-websocket-key")), ("GET", None, None));
    let words = Asked::of(Setup::new().config(&with_endpoint(&url)).args(["doctor"]).output().await);
    assert!(words.code == 0 && words.out.starts_with("well: nothing keeps mcp-pipe from serving"), "{words:?}");
}

#[tokio::test]
async fn two_faults_are_two_roots_and_one_at_two_places_is_one() {
    let mut both = with_endpoint("ws://no-such-name.invalid/?token=t0ken-of-a-test");
    both["endpoints"]["f"] = json!({"url": "ws://no-such-name.invalid/?token=another-t0ken", "servers": ["well"]});
    both["mcpServers"]["x"] = json!({"command": "not-there-at-all"});
    both["endpoints"]["f"]["servers"] = json!(["well", "x"]);
    let asked = doctor(Setup::new().config(&both)).await;
    assert_eq!(roots(&asked), ["command-not-found x", "endpoint-dns e, f"]);
    assert_eq!(check(&asked, "server.initialize", "x"), ("SKIP".to_owned(), "because of command-not-found".to_owned()));
    let words = Asked::of(Setup::new().config(&both).args(["doctor"]).output().await);
    assert!(words.code == 1 && words.out.starts_with("root cause command-not-found: x: "), "{words:?}");
}

/// A daemon with two servers on one connection.
async fn running(runtime: &Runtime, endpoint: &FakeEndpoint) -> (Daemon, crate::harness::Conn) {
    let config = multiplex(endpoint, [("a", fixture_entry(&[])), ("b", fixture_entry(&[]))]);
    let daemon = runtime.setup().config(&config).start("info");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    daemon.wait_for_event("ALL_UP").await;
    (daemon, conn)
}

#[tokio::test]
async fn beside_one_that_runs_nothing_is_started_or_dialled_and_nothing_drops() {
    let (runtime, endpoint) = (Runtime::new(), FakeEndpoint::bind().await);
    let (daemon, mut conn) = running(&runtime, &endpoint).await;
    let file = daemon.path().join("mcp_config.json");
    let before = daemon.processes();
    for more in [&[][..], &["--dial"]] {
        let asked = runtime.ask(&[&["doctor", "--json", "--config", file.to_str().unwrap()], more].concat()).await;
        assert_eq!(roots(&asked), [""; 0], "{asked:?}");
        assert!(check(&asked, "daemon", "").1.starts_with("process "), "{asked:?}");
        assert_eq!(check(&asked, "server.initialize", "a").0, "PASS");
        assert!(check(&asked, "server.tools", "b").1.starts_with("9 tools, "), "asked for, too: {asked:?}");
    }
    assert_eq!((daemon.processes(), endpoint.accepted()), (before, 1));
    // Of a config with mistakes none runs, whatever else does.
    let other = runtime.local("x", "info").await;
    let broken = runtime.setup().file("mcp_config.json", "{").args(["doctor", "--json"]).output().await;
    assert_eq!(roots(&Asked::of(broken)), ["config-mistake mcp_config.json:1:1"]);
    other.stop().await;
    assert_eq!(crate::harness::text_of(&conn.call(7, "a__echo", json!({"text": "still here"})).await), "still here");
    let told: Value = serde_json::from_str(&runtime.ask(&["status", "--json"]).await.out).unwrap();
    assert_eq!((&told["servers"][0]["restarts"], &told["endpoints"][0]["connections"]), (&json!(0), &json!(1)));
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn one_that_runs_is_asked_for_what_is_wrong_with_it() {
    let runtime = Runtime::new();
    let mut config = config([
        ("a", fixture_entry(&[])),
        ("b", json!({"command": "sh", "args": ["-c", "echo no licence >&2; exit 3"]})),
    ]);
    config["gateway"] = json!({"listen": "127.0.0.1:0"});
    let daemon = runtime.setup().config(&config).start("info");
    let loops = async { while !runtime.ask(&["status"]).await.out.contains("server-crash-loop") {} };
    within("a crash loop", loops).await;
    let file = daemon.path().join("mcp_config.json");
    let asked = runtime.ask(&["doctor", "--json", "--config", file.to_str().unwrap()]).await;
    assert_eq!(roots(&asked), ["server-crash-loop b"], "{asked:?}");
    let told: Value = serde_json::from_str(&asked.out).unwrap();
    assert!(told["roots"][0]["remedy"].as_str().unwrap().contains("mcp-pipe restart b"), "{told:#}");
    daemon.stop().await;
}

#[tokio::test]
async fn a_gateway_that_a_reload_could_not_move_is_a_root_and_its_port_is_not_well() {
    let runtime = Runtime::new();
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = config([("a", fixture_entry(&[]))]);
    config["gateway"] = json!({"listen": "127.0.0.1:0"});
    let daemon = runtime.setup().config(&config).start("info");
    daemon.wait_for_event("ALL_UP").await;
    config["gateway"] = json!({"listen": taken.local_addr().unwrap().to_string()});
    let file = daemon.path().join("mcp_config.json");
    fs::write(&file, config.to_string()).unwrap();
    assert_ne!(runtime.ask(&["reload"]).await.code, 0);
    let asked = runtime.ask(&["doctor", "--json", "--config", file.to_str().unwrap()]).await;
    assert_eq!(roots(&asked), ["gateway-unchanged gateway"], "{asked:?}");
    assert_eq!(check(&asked, "listen.port", "gateway").0, "SKIP");
    // What it runs by, where the file is broken by now.
    fs::write(&file, "{").unwrap();
    let asked = runtime.ask(&["doctor", "--json", "--config", file.to_str().unwrap()]).await;
    let mistake = format!("config-mistake {}:1:1", file.display());
    assert_eq!(roots(&asked), [mistake.as_str(), "gateway-unchanged gateway"], "{asked:?}");
    daemon.stop().await;
}

#[tokio::test]
async fn a_remote_server_tells_the_time_and_its_token_how_long_it_is_good() {
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(7200));
    let web = Web::start(move |_| Some(whole("404 Not Found", &[&format!("date: {date}")], ""))).await;
    let token = token_that_says(&json!({"exp": seconds() + 86_400 + 600}));
    let entry = json!({"url": web.url(), "headers": {"Authorization": format!("Bearer {token}")}});
    let asked = doctor(Setup::new().config(&beside("x", entry)).args(["--local"])).await;
    assert_eq!(roots(&asked), ["remote-http x"]);
    let (status, because) = check(&asked, "machine.clock", "");
    assert!(status == "WARN" && because.contains(" behind that of x"), "{because}");
    let (status, because) = check(&asked, "server.token", "x");
    assert!(status == "PASS" && because.starts_with("good for 24 h "), "{because}");
    let first = web.asked().into_iter().find(|asked| asked.method == "GET").unwrap();
    assert_eq!((first.target.as_str(), first.header("authorization")), ("/", None), "nothing lets anybody in");
    assert!(!asked.out.contains(&token[..20]), "{asked:?}");
}

#[tokio::test]
async fn each_client_that_starts_mcp_pipe_needs_neither_an_endpoint_nor_a_gateway() {
    for name in ["claude", "claude-desktop", "cursor", "windsurf"] {
        let setup = Setup::new().config(&config([("well", fixture_entry(&[]))]));
        let asked = Asked::of(setup.args(["doctor", "--json", "--client", name]).output().await);
        assert_eq!(roots(&asked), [""; 0], "{name}: {asked:?}");
    }
    let none = Asked::of(Setup::new().args(["doctor", "--client", "curser"]).output().await);
    assert!(none.code == 2 && none.err.contains("cursor"), "{none:?}");
}

#[tokio::test]
async fn what_surrounds_it_is_looked_at() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let mut config = config([("well", fixture_entry(&[]))]);
    (config["gateway"], config["admin"]) = (json!({"listen": free}), json!({"listen": free}));
    config["stateDir"] = json!("a-file/of-mine");
    let setup = Setup::new().config(&config).file("a-file", "").env("KUBERNETES_SERVICE_HOST", "10.0.0.1");
    let (mut command, folder) = setup.args(["doctor", "--json"]).into_command();
    let asked = Asked::of(command.output().await.unwrap());
    assert_eq!(roots(&asked), ["port-taken admin"], "{asked:?}");
    assert_eq!(check(&asked, "listen.both", "admin").0, "FAIL");
    assert_eq!(check(&asked, "listen.reach", "gateway").0, "WARN");
    assert_eq!(check(&asked, "machine.container", "").0, "PASS");
    assert_eq!(check(&asked, "machine.files", "").0, "PASS");
    let state = folder.path().canonicalize().unwrap().join("a-file/of-mine");
    let (status, because) = check(&asked, "machine.state", state.to_str().unwrap());
    assert!(status == "WARN" && because.contains("is no folder"), "{because}");
}

#[tokio::test]
async fn one_that_hangs_is_the_root_and_nothing_is_started_beside_it() {
    let runtime = Runtime::new();
    let mut config = config([("a", fixture_entry(&[]))]);
    config["gateway"] = json!({"listen": "127.0.0.1:0"});
    let daemon = runtime.setup().config(&config).start("info");
    daemon.wait_for_event("ALL_UP").await;
    let (file, before) = (daemon.path().join("mcp_config.json"), daemon.processes());
    daemon.signal(Signal::STOP);
    let asked = runtime.ask(&["doctor", "--json", "--config", file.to_str().unwrap()]).await;
    daemon.signal(Signal::CONT);
    assert_eq!(roots(&asked), ["daemon-silent "], "{asked:?}");
    assert_eq!(daemon.processes(), before);
    daemon.stop().await;
}

#[tokio::test]
async fn a_dial_tells_what_the_endpoint_does_with_the_token() {
    let dialled = async |close: Option<(u16, &str)>| {
        let endpoint = FakeEndpoint::bind().await;
        let config = with_endpoint(&endpoint.url());
        let asking = Setup::new().config(&config).args(["doctor", "--json", "--dial"]).output();
        let answering = async {
            endpoint.answer("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n").await;
            let mut conn = endpoint.accept().await;
            match close {
                Some((code, reason)) => conn.close_saying(code, reason).await,
                None => {
                    let goodbye = conn.wait_for_close().await;
                    assert!(goodbye.is_some_and(|frame| u16::from(frame.code) == 1000), "it says goodbye");
                }
            }
        };
        let (output, ()) = tokio::join!(asking, answering);
        Asked::of(output)
    };
    assert_eq!(roots(&dialled(None).await), [""; 0]);
    assert_eq!(roots(&dialled(Some((4004, "Internal server error"))).await), ["endpoint-4004 e"]);
    assert_eq!(roots(&dialled(Some((1008, "bad token"))).await), ["endpoint-unauthorized e"]);
}

#[tokio::test]
async fn what_is_mended_is_a_warning_and_a_client_is_told_what_it_cant_take() {
    let long = "a".repeat(70);
    let many: Vec<Value> =
        (0..50).map(|n| json!({"name": format!("tool{n}"), "inputSchema": {"type": "object"}})).collect();
    let config = config([
        ("noisy", fixture_entry(&["--garbage"])),
        ("long", fixture_entry(&["--extra", &long])),
        ("many", fixture_entry(&["--answer", "tools/list", &json!({"tools": many}).to_string()])),
    ]);
    let asked = Asked::of(
        Setup::new().config(&config).args(["doctor", "--json", "--local", "--client", "cursor"]).output().await,
    );
    assert_eq!(roots(&asked), [""; 0], "{asked:?}");
    assert_eq!(check(&asked, "server.output", "noisy").0, "WARN");
    let (status, because) = check(&asked, "server.names", "long");
    assert!(status == "WARN" && because.contains("aaaa"), "{because}");
    assert_eq!(check(&asked, "client.way", "cursor").0, "WARN");
    assert!(check(&asked, "client.tools", "cursor").1.contains("cursor takes 40 at most"), "{asked:?}");
}

/// Secrets that are like no other text, each of another kind.
fn secrets(count: usize) -> Vec<String> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |most: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % most as u64).unwrap()
    };
    let alphabets: [&[u8]; 4] = [
        b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
        b"0123456789abcdef",
        b"abcdefghijklmnopqrstuvwxyz",
        b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789",
    ];
    let one = |alphabet: &[u8], length: usize, next: &mut dyn FnMut(usize) -> usize| -> String {
        (0..length).map(|_| char::from(alphabet[next(alphabet.len())])).collect()
    };
    (0..count).map(|n| one(alphabets[n % 4], 20 + n % 9, &mut next)).collect()
}

/// Whether a text gives a secret away: eight characters of it in a row, in any letter case, or of its base64 or hexadecimal digits.
fn is_betrayed(text: &str, secret: &str) -> Option<String> {
    let lower = text.to_lowercase();
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let encoded = (0..3).map(|before| {
        let whole = base64::prelude::BASE64_STANDARD.encode(format!("{}{secret}", "x".repeat(before)));
        whole[4..whole.len() - 4].to_owned()
    });
    let pieces = |of: &str, length: usize| -> Vec<String> {
        of.as_bytes().windows(length).map(|piece| String::from_utf8_lossy(piece).into_owned()).collect()
    };
    let plain = pieces(&secret.to_lowercase(), 8).into_iter().find(|piece| lower.contains(piece));
    let encoded = encoded.flat_map(|of| pieces(&of, 12)).find(|piece| text.contains(piece));
    plain.or(encoded).or_else(|| pieces(&hex, 16).into_iter().find(|piece| lower.contains(piece)))
}

#[tokio::test]
async fn a_bundle_has_no_secret_in_it_whatever_way_it_went() {
    let all = secrets(50);
    let told = |from: usize| -> String {
        // As they are, in part, in base64 and in hexadecimal digits: what a careless server writes.
        let of = |secret: &String| {
            let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
            let whole = base64::prelude::BASE64_STANDARD.encode(format!("user:{secret}"));
            format!("key {secret} is {} or {whole} or {hex}", &secret[..10])
        };
        // What calls are asked with, servers here don't repeat there.
        all[..40].iter().skip(from).step_by(5).map(of).collect::<Vec<_>>().join("\n")
    };
    let jwt = token_that_says(&json!({"agentId": all[20], "exp": seconds() + 86_400}));
    let gone = "127.0.0.1:9";
    let broken = "import os, sys\nsys.stderr.write(open('told.txt').read())\nsys.stderr.write('pin ' + os.environ['PIN'] + ', ' + repr(os.environ['ODD'][:12]) + '\\n')\nsys.stderr.flush()\nsys.exit(int('no number ' + os.environ['A']))";
    let mut config = config([
        ("well", fixture_entry(&["--saying", &told(0), "--api-key", &all[1]])),
        (
            "broken",
            json!({"command": "python3", "args": ["-c", broken, &all[2], format!("--key={}", all[3])], "env": {
                "A": all[4], "PASSWORD": all[5], "SETTING": all[6], "PIN": "48213", "ODD": "pa\"ss\\wo'rd<12>&é€", "FROM_DOTENV": "${IN_DOTENV}"
            }}),
        ),
        (
            "remote",
            json!({"url": format!("http://{}:{}@{gone}/{}/mcp?key={}", all[7], all[8], all[9], all[10]), "headers": {"X-Key": all[11]}}),
        ),
    ]);
    config["gateway"] = json!({"listen": "127.0.0.1:0", "apiKeys": [{"name": "me", "key": all[12]}]});
    config["endpoints"] = json!({
        "e": {"url": format!("ws://{gone}/{}/?token={}&more={}", all[13], all[14], all[15]), "headers": {"Authorization": format!("Bearer {}", all[16])}, "servers": ["well"]},
        "f": {"url": format!("ws://{}:{}@{gone}/?token={jwt}", all[17], all[18]), "servers": ["broken"]},
    });
    let runtime = Runtime::new();
    let planted = |setup: Setup| {
        let dotenv = format!("IN_DOTENV={}\nUNUSED={}\nQUOTED=\"{}\"\n", all[21], all[22], all[23]);
        let setup = setup
            .config(&config)
            .file(".env", &dotenv)
            .file("told.txt", &[told(1), told(2), told(3), told(4)].join("\n"));
        (24..40).fold(setup, |setup, n| setup.env(&format!("VARIABLE_{n}"), &all[n]))
    };
    let check = |text: &str, what: &str| {
        for (n, secret) in all.iter().enumerate() {
            assert_eq!(is_betrayed(text, secret), None, "{what}: secret {n}, {secret}: {text}");
        }
        for short in ["48213", "pa\"ss", "ss\\\\wo", "wo\\'rd"] {
            assert!(!text.contains(short), "{what}: {short}: {text}");
        }
        for section in [
            "## In it",
            "## Report",
            "## Versions and surroundings",
            "## Config as it counts",
            "server-exited",
            "endpoint-refused",
            "## Log",
        ] {
            assert!(text.contains(section), "{what}: {section}: {text}");
        }
        assert!(text.len() < 1 << 20, "{}", text.len());
    };
    // Where none runs, servers are started for it.
    let alone = Asked::of(planted(Setup::new()).args(["doctor", "--print"]).output().await);
    check(&alone.out, "alone");
    assert_eq!(alone.code, 1, "{alone:?}");
    // Beside one that runs, whose log has calls in it, and whose run before has left last words.
    let daemon = planted(runtime.setup()).start("debug");
    daemon.wait_for_event("GATEWAY").await;
    daemon.wait_for("the third end", |line| line["event"] == "SERVER_EXITED" && line["server"] == "broken").await;
    let url = daemon.wait_for_event("GATEWAY").await["message"].as_str().unwrap().to_owned();
    let url = url.split_whitespace().find(|word| word.starts_with("http")).unwrap().to_owned();
    let mut client = McpHttp::at(&url).key(&all[12]);
    client.begin().await;
    for secret in &all[40..] {
        client.call("echo", json!({"text": format!("{secret}\n{secret}")})).await;
    }
    let file = daemon.path().join("report.txt");
    let bundle = async || {
        let (mut command, _folder) = planted(runtime.setup()).args(["doctor", "--bundle", "report.txt"]).into_command();
        Asked::of(command.current_dir(daemon.path()).output().await.unwrap())
    };
    let asked = bundle().await;
    assert!(asked.out.contains("report.txt: look through it before you hand it on"), "{asked:?}");
    check(&fs::read_to_string(&file).unwrap(), "beside");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let again = bundle().await;
    assert!(again.code == 2 && again.err.contains("is there already"), "{again:?}");
    daemon.stop().await;
}

#[tokio::test]
async fn another_side_is_compared_with_and_the_likely_difference_comes_first() {
    let folder = tempfile::tempdir().unwrap();
    let tools = folder.path().join("bin");
    fs::create_dir(&tools).unwrap();
    fs::write(
        tools.join("a-server"),
        format!("#!/bin/sh\nexec '{}'\n", fixture_entry(&[])["command"].as_str().unwrap()),
    )
    .unwrap();
    fs::set_permissions(tools.join("a-server"), fs::Permissions::from_mode(0o755)).unwrap();
    let side = |with: bool| {
        let usual = std::env::var("PATH").unwrap();
        let path = if with { format!("{}:{usual}", tools.display()) } else { usual };
        let setup =
            Setup::new().config(&beside("x", json!({"command": "a-server"}))).env("PATH", &path).args(["--local"]);
        if with { setup.env("ONLY_HERE", "1") } else { setup }
    };
    let report = folder.path().join("host.json");
    let host = doctor(side(true)).await;
    assert_eq!(roots(&host), [""; 0], "{host:?}");
    fs::write(&report, &host.out).unwrap();
    let report = report.to_str().unwrap();
    let compared = Asked::of(side(false).args(["doctor", "--json", "--compare", report]).output().await);
    assert_eq!(roots(&compared), ["command-not-found x"]);
    let told: Value = serde_json::from_str(&compared.out).unwrap();
    let differences = told["differences"].as_array().unwrap();
    assert_eq!(differences[0]["what"], "the program of x", "{told:#}");
    assert_eq!((&differences[0]["here"], &differences[0]["likely"]), (&json!("none"), &json!(true)));
    assert!(differences.iter().any(|one| one["there"] == "ONLY_HERE" && one["likely"] == false), "{told:#}");
    let words = Asked::of(side(false).args(["doctor", "--compare", report]).output().await);
    assert!(words.out.contains("likely  the program of x: none; "), "{words:?}");
    let none = Asked::of(side(false).args(["doctor", "--compare", "mcp_config.json"]).output().await);
    assert!(none.code == 2 && none.err.contains("is no report of mcp-pipe doctor --json"), "{none:?}");
}

#[tokio::test]
async fn a_missing_endpoint_hides_no_other_fault_and_is_none_where_servers_are_reached_otherwise() {
    let runtime = Runtime::new();
    let servers = config([("well", fixture_entry(&[])), ("x", json!({"command": "not-there-at-all"}))]);
    let told = roots(&doctor(runtime.setup().config(&servers)).await);
    let [missing, not_found] = &told[..] else { panic!("{told:?}") };
    assert!(missing.starts_with("config-mistake MCP_ENDPOINT") && not_found == "command-not-found x", "{told:?}");
    let well = config([("well", fixture_entry(&[]))]);
    let daemon = runtime.setup().config(&well).args(["serve", "--listen", "127.0.0.1:0"]).start("info");
    daemon.wait_for_event("ALL_UP").await;
    let beside = async || {
        let (mut command, _folder) = runtime.setup().args(["doctor", "--json"]).into_command();
        Asked::of(command.current_dir(daemon.path()).output().await.unwrap())
    };
    let asked = beside().await;
    assert_eq!(roots(&asked), [""; 0], "{asked:?}");
    assert!(
        asked.out.contains("was started with one, or to do without") && !asked.out.contains("is not set"),
        "{asked:?}"
    );
    let second = {
        let (command, folder) = runtime.setup().args(["serve", "--listen", "127.0.0.1:0"]).into_command();
        let mut command = command;
        command.current_dir(daemon.path()).stderr(std::process::Stdio::null()).kill_on_drop(true);
        (command.spawn().unwrap(), folder)
    };
    let both = async { while roots(&beside().await) != ["daemon-twice "] {} };
    within("both to be found", both).await;
    drop(second);
    daemon.stop().await;
}

#[tokio::test]
async fn nobody_is_dialled_whose_token_another_one_holds() {
    let (runtime, endpoint) = (Runtime::new(), FakeEndpoint::bind().await);
    let (daemon, mut conn) = running(&runtime, &endpoint).await;
    // As another user would see it: its socket is not found, but the lock of the agent is.
    let asking = async {
        let (mut command, _folder) = runtime.setup().args(["doctor", "--json", "--dial"]).into_command();
        let cache = daemon.path().join(".cache/mcp-pipe");
        command.current_dir(daemon.path()).env("XDG_RUNTIME_DIR", _folder.path()).env("MCP_CACHE_DIR", cache);
        Asked::of(command.output().await.unwrap())
    };
    let page = endpoint.answer("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n");
    let (asked, ()) = tokio::join!(asking, page);
    assert_eq!(endpoint.accepted(), 2, "one GET: {asked:?}");
    let name = endpoint.url().split_once("?token=").unwrap().0.to_owned() + "?token=…";
    assert_eq!(check(&asked, "endpoint.holder", &name).0, "WARN");
    assert_eq!(check(&asked, "endpoint.connection", &name).0, "SKIP");
    daemon.stop_closing([&mut conn]).await;
}
