//! What people see go wrong, and which command tells why: each symptom is made, the command is run, and what docs/OPERATING.md says of it has
//! to be in what is printed. The table there is this one.

use std::fs;
use std::os::unix::fs::symlink;
use std::pin::Pin;
use std::time::Duration;

use futures_util::future::join_all;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use crate::control::{Asked, Runtime};
use crate::doctor::from_the_future;
use crate::gateway::url;
use crate::harness::{
    Agent, Authority, BOUND, Daemon, FakeEndpoint, McpHttp, REPLACED, Secured, Setup, Takes, Transport, Web, config,
    fixture, fixture_entry, one_server, skip, whole, within,
};
use crate::logs::Follower;
use crate::status::SmallDisk;

/// A symptom, and what is told of it.
struct Row {
    symptom: &'static str,
    command: &'static str,
    /// What is printed, for a person; what stands between backticks is printed like that.
    prints: &'static str,
    /// The exit code; `None` of a command that goes on until somebody ends it.
    code: Option<i32>,
    seen: Seen,
}

/// What the command has printed; `None` where the symptom can't be made here.
type Seen = Pin<Box<dyn Future<Output = Option<Asked>>>>;

/// What a row wants of whoever makes the symptom.
#[derive(Clone)]
struct Wanted {
    /// The command, without its name.
    words: Vec<&'static str>,
    /// What has to be printed.
    parts: Vec<&'static str>,
}

impl Wanted {
    fn of(command: &'static str, prints: &'static str) -> Self {
        let words = command.split(' ').skip(1).collect();
        Wanted { words, parts: prints.split('`').skip(1).step_by(2).collect() }
    }

    fn missing<'a>(&'a self, out: &str) -> Vec<&'a str> {
        self.parts.iter().copied().filter(|part| !out.contains(part)).collect()
    }

    /// Runs the command where nothing else runs.
    async fn alone(self, setup: Setup) -> Option<Asked> {
        Some(Asked::of(setup.args(self.words).output().await))
    }

    /// Runs the command beside a daemon, until it tells all that it has to, or long enough; then the daemon has done its part.
    async fn beside(self, runtime: &Runtime, daemon: Daemon) -> Option<Asked> {
        let file = daemon.path().join("mcp_config.json").to_str().unwrap().to_owned();
        let ask = async || {
            let command = runtime.setup().env("MCP_CONFIG", &file).args(self.words.iter().copied());
            Asked::of(command.output().await)
        };
        let all = async {
            while !self.missing(&ask().await.out).is_empty() {
                sleep(Duration::from_millis(50)).await;
            }
        };
        // Too late, it is told with what is missing.
        let _late = timeout(BOUND, all).await;
        let asked = ask().await;
        daemon.stop().await;
        Some(asked)
    }

    /// Has a server and a gateway, and looks on while something is done there again and again: the line that tells of it.
    async fn tapped(self, gateway: Value, act: impl AsyncFn(&Runtime, &str)) -> Option<Asked> {
        let runtime = Runtime::new();
        let daemon = runtime.setup().config(&with_gateway(gateway, fixture_entry(&[]))).start("info");
        daemon.wait_for_event("ALL_UP").await;
        let at = url(&daemon).await;
        let mut tap = Follower::running(&runtime, &self.words, &[]);
        let line = async {
            loop {
                act(&runtime, &at).await;
                // It may look on only now.
                if let Ok(line) = timeout(Duration::from_millis(200), tap.until_all(&self.parts)).await {
                    return line;
                }
            }
        };
        // Without it, it is told what is missing.
        let out = timeout(BOUND, line).await.unwrap_or_default();
        daemon.stop().await;
        tap.exit().await;
        Some(Asked { code: 0, out, err: String::new() })
    }
}

fn row<F: Future<Output = Option<Asked>> + 'static>(
    symptom: &'static str,
    (command, prints): (&'static str, &'static str),
    code: impl Into<Option<i32>>,
    seen: impl FnOnce(Wanted) -> F,
) -> Row {
    Row { symptom, command, prints, code: code.into(), seen: Box::pin(seen(Wanted::of(command, prints))) }
}

/// A gateway, and a server of this entry.
fn with_gateway(mut gateway: Value, entry: Value) -> Value {
    gateway["listen"] = "127.0.0.1:0".into();
    let mut config = config([("x", entry)]);
    config["gateway"] = gateway;
    config
}

/// A server of this entry, and nobody beside it.
fn server(entry: Value) -> Setup {
    Setup::new().config(&with_gateway(json!({}), entry))
}

/// A server that is well, and an endpoint.
fn endpoint(url: &str) -> Value {
    let mut config = config([("x", fixture_entry(&[]))]);
    config["endpoints"] = json!({"e": {"url": url}});
    config
}

/// A server by this script, which ends at once.
fn script(text: &str) -> Value {
    json!({"command": "sh", "args": ["-c", text]})
}

fn with_many_tools() -> Value {
    let tools: Vec<Value> =
        (0..50).map(|n| json!({"name": format!("tool{n}"), "inputSchema": {"type": "object"}})).collect();
    fixture_entry(&["--answer", "tools/list", &json!({"tools": tools}).to_string()])
}

/// An endpoint that answers a plain GET as those do that take WebSocket alone.
async fn usual() -> (Web, String) {
    let web = Web::start(|_| Some(whole("426 Upgrade Required", &[], ""))).await;
    let url = format!("ws://127.0.0.1:{}/mcp/?token=t0ken-of-a-test", web.port());
    (web, url)
}

/// An endpoint by TLS, and a config with its authority or without.
async fn by_tls(secured: Secured, is_known: bool) -> (Web, Authority, Value) {
    let authority = Authority::new();
    let page = |_: &_| Some(whole("404 Not Found", &[], "no"));
    let web = Web::start_secure(Transport::Http, authority.secure(secured), page).await;
    let mut config = endpoint(&format!("wss://127.0.0.1:{}/mcp/?token=t0ken-of-a-test", web.port()));
    if is_known {
        config["endpoints"]["e"]["caFile"] = json!(authority.file("ca.pem"));
    }
    (web, authority, config)
}

/// Sends a request with these headers as they are, and no others but those that it needs.
async fn send(url: &str, method: &str, headers: &str) {
    let host = url.trim_start_matches("http://").split('/').next().unwrap();
    let host_header = if headers.starts_with("Host: ") { String::new() } else { format!("Host: {host}\r\n") };
    let body = if method == "POST" { PING } else { "" };
    let length = body.len();
    let head = format!(
        "{method} /mcp HTTP/1.1\r\n{host_header}Connection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    let mut stream = TcpStream::connect(host).await.unwrap();
    stream.write_all((head + body).as_bytes()).await.unwrap();
    within("an answer of the gateway", stream.read_to_end(&mut Vec::new())).await.unwrap();
}

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
/// Those of a message as an MCP client sends it.
const JSON: &str = "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n";

/// A folder with a program in it that is a server.
fn folder_with_program() -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    symlink(fixture(), folder.path().join("my-server")).unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    (folder, path)
}

/// Servers that don't start, or don't stay, and configs.
fn of_servers() -> Vec<Row> {
    vec![
        row(
            "a server won't start",
            (
                "mcp-pipe doctor",
                "`root cause command-not-found: x: command not found: not-there-at-all`, where it was looked for, and `install it, or write its whole path`",
            ),
            1,
            |wanted| wanted.alone(server(json!({"command": "not-there-at-all"}))),
        ),
        row(
            "a server exits without output",
            (
                "mcp-pipe doctor",
                "`root cause server-exited: x: exited by itself (code 0), without a word on stdout`, and what is mostly missing: `mcp.run()`",
            ),
            1,
            |wanted| wanted.alone(server(script("exit 0"))),
        ),
        row(
            "a server doesn't answer in time",
            (
                "mcp-pipe doctor",
                "`root cause server-not-ready: x: has not answered initialize within 2.0 s; the cloud waits for 10.0 s`",
            ),
            1,
            |wanted| {
                let mut entry = fixture_entry(&["--silent"]);
                entry["startTimeout"] = "2s".into();
                wanted.alone(server(entry))
            },
        ),
        row(
            "a module is missing",
            (
                "mcp-pipe doctor",
                "`root cause server-exited: x: exited with code 1`, and its last words: `ModuleNotFoundError: No module named 'no_such_module'`",
            ),
            1,
            |wanted| wanted.alone(server(json!({"command": "python3", "args": ["-c", "import no_such_module"]}))),
        ),
        row(
            "a server crashes again and again",
            (
                "mcp-pipe status",
                "`crash loop: exited with code 3`, how often, when it is started again; `error server-crash-loop: x:`, and its last words: `no licence`",
            ),
            1,
            async |wanted| {
                let runtime = Runtime::new();
                let entry = script("echo no licence >&2; exit 3");
                let daemon = runtime.setup().config(&with_gateway(json!({}), entry)).start("info");
                runtime.until_one_listens(&daemon).await;
                wanted.beside(&runtime, daemon).await
            },
        ),
        row(
            "it works by hand, and not as a service: a wrong PATH",
            (
                "mcp-pipe doctor",
                "what the service's mcp-pipe says, with the PATH that it has: `root cause command-not-found: x:`, `(searched PATH=/opt/nothing/bin)`",
            ),
            1,
            async |wanted| {
                let runtime = Runtime::new();
                let config = with_gateway(json!({}), json!({"command": "python3"}));
                let daemon = runtime.setup().env("PATH", "/opt/nothing/bin").config(&config).start("info");
                runtime.until_one_listens(&daemon).await;
                wanted.beside(&runtime, daemon).await
            },
        ),
        row(
            "it works on the host, and not in Docker",
            (
                "mcp-pipe doctor --compare host.json",
                "after mcp-pipe doctor --json > host.json on the host: `compared with the report of`, here and there, and in front the difference that fits the cause: `likely  the program of x: none; my-server is`",
            ),
            1,
            async |wanted| {
                let ((_folder, path), side) = (folder_with_program(), || server(json!({"command": "my-server"})));
                let host = Asked::of(side().env("PATH", &path).args(["doctor", "--json"]).output().await);
                assert_eq!(host.code, 0, "{host:?}");
                wanted.alone(side().file("host.json", &host.out)).await
            },
        ),
        row(
            "a bad config",
            (
                "mcp-pipe validate",
                "the place, what is wrong and what to do: `mcp_config.json:1:`, `error (wrong-type): is a number, not a text`, `write it in quotes: \"5\"`, `nothing would be started`",
            ),
            78,
            |wanted| wanted.alone(server(json!({"command": 5}))),
        ),
        row(
            "parse errors: a server prints text to stdout",
            (
                "mcp-pipe doctor",
                "`WARN`, since mcp-pipe takes the text out: `server.output`, and the text; `have it print to stderr: stdout belongs to the protocol`",
            ),
            0,
            |wanted| wanted.alone(server(fixture_entry(&["--garbage"]))),
        ),
    ]
}

/// The way to an endpoint.
fn of_ways() -> Vec<Row> {
    let token = "?token=t0ken-of-a-test";
    vec![
        row(
            "DNS: a name can't be looked up",
            ("mcp-pipe doctor", "`root cause endpoint-dns: e: the name no-such-name.invalid can't be looked up`"),
            1,
            async move |wanted| {
                let config = endpoint(&format!("ws://no-such-name.invalid/mcp/{token}"));
                wanted.alone(Setup::new().config(&config)).await
            },
        ),
        row(
            "a proxy is in the way",
            (
                "mcp-pipe doctor",
                "`root cause endpoint-proxy: e: the proxy http://127.0.0.1:9 refused the connection`, and `check the port, and that it is running`",
            ),
            1,
            async move |wanted| {
                let setup = Setup::new().config(&endpoint(&format!("ws://endpoint.test/mcp/{token}")));
                wanted.alone(setup.env("HTTP_PROXY", "http://127.0.0.1:9")).await
            },
        ),
        row(
            "TLS: a certificate has expired",
            (
                "mcp-pipe doctor",
                "`root cause endpoint-tls: e:`, `its certificate has expired; renew it there, or check this machine's clock`",
            ),
            1,
            async |wanted| {
                let expired = Secured { expired: true, ..Secured::default() };
                let (_web, _authority, config) = by_tls(expired, true).await;
                wanted.alone(Setup::new().config(&config)).await
            },
        ),
        row(
            "TLS: a certificate of an unknown CA",
            (
                "mcp-pipe doctor",
                "`root cause endpoint-tls: e:`, `its certificate is signed by nobody this machine trusts`, and where to name its authority: `SSL_CERT_FILE`, `caFile`",
            ),
            1,
            async |wanted| {
                let (_web, _authority, config) = by_tls(Secured::default(), false).await;
                wanted.alone(Setup::new().config(&config)).await
            },
        ),
        row(
            "this machine's clock is wrong",
            (
                "mcp-pipe doctor",
                "`root cause clock-wrong:`, and not the certificate that seems to be good only later; `set the clock: timedatectl`",
            ),
            1,
            async |wanted| {
                let early = Secured { early: true, ..Secured::default() };
                let (_web, _authority, config) = by_tls(early, true).await;
                let setup = Setup::new().config(&config);
                wanted.alone(setup.prepared(|folder| from_the_future(folder, "mcp_config.json"))).await
            },
        ),
        row(
            "a wrong token",
            (
                "mcp-pipe doctor --dial",
                "`root cause endpoint-unauthorized: e:`, and `copy a fresh endpoint URL`. Without --dial only where the endpoint says so to a plain GET, or the token says itself that its time is over",
            ),
            1,
            async |wanted| {
                let web = FakeEndpoint::bind().await;
                let answering = async {
                    web.answer("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n").await;
                    web.refuse(401).await;
                };
                let setup = Setup::new().config(&endpoint(&web.url()));
                let (asked, ()) = tokio::join!(wanted.alone(setup), answering);
                asked
            },
        ),
        row(
            "the endpoint closes with 4004",
            (
                "mcp-pipe status",
                "`error endpoint-4004: endpoint`, how long it stood and what was asked on it, `everything it asked was answered`, and what that mostly means: `too many connections`",
            ),
            1,
            async |wanted| {
                let (runtime, endpoint) = (Runtime::new(), FakeEndpoint::bind().await);
                let daemon = runtime.setup().config(&one_server(&endpoint, &[])).start("info");
                let mut conn = endpoint.accept().await;
                conn.handshake().await;
                conn.close_saying(4004, "Internal server error").await;
                wanted.beside(&runtime, daemon).await
            },
        ),
        row(
            "how many connections does one token take?",
            (
                "mcp-pipe logs",
                "unknown until it is tried: see below. Where it takes only one, `SERVERS_MERGED`, by what that was seen, and that the servers `share one connection from now on`",
            ),
            0,
            async |wanted| {
                let (runtime, agent) = (Runtime::new(), Agent::bind("/mcp/", Takes::Newest).await);
                let mut config = config(["a", "b"].map(|name| (name, fixture_entry(&[]))));
                config["endpoint"] = agent.url("t0ken-of-a-test").into();
                let daemon = runtime.setup().config(&config).start("info");
                runtime.until_one_listens(&daemon).await;
                wanted.beside(&runtime, daemon).await
            },
        ),
        row(
            "another program uses the same token",
            (
                "mcp-pipe status",
                "`error endpoint-contested: endpoint`, and `end the other program that uses it`; until then mcp-pipe dials less and less often",
            ),
            1,
            async |wanted| {
                let (runtime, endpoint) = (Runtime::new(), FakeEndpoint::bind().await);
                let daemon = runtime.setup().config(&one_server(&endpoint, &[])).start("info");
                for _ in 0..2 {
                    let mut conn = endpoint.accept().await;
                    conn.handshake().await;
                    conn.close_saying(1000, REPLACED).await;
                }
                wanted.beside(&runtime, daemon).await
            },
        ),
        row(
            "a remote server limits how often it is asked",
            (
                "mcp-pipe doctor",
                "`root cause remote-busy: x: answered HTTP 429: it takes no more requests now, and wants the same in 60.0 s`",
            ),
            1,
            async |wanted| {
                let web = Web::start(|_| Some(whole("429 Too Many Requests", &["Retry-After: 60"], ""))).await;
                wanted.alone(server(json!({"url": web.url()}))).await
            },
        ),
    ]
}

/// What is slow, large or full.
fn of_resources() -> Vec<Row> {
    vec![
        row(
            "too many tools for a client",
            ("mcp-pipe doctor --client cursor", "`50 tools in all; cursor takes 40 at most`, and `publish fewer`"),
            0,
            |wanted| wanted.alone(server(with_many_tools())),
        ),
        row(
            "which tools are the largest",
            (
                "mcp-pipe tools --size",
                "each tool with its `BYTES` and `TOKENS`, the largest first, and the sum: `50 tools`",
            ),
            0,
            |wanted| wanted.alone(server(with_many_tools())),
        ),
        row(
            "a call is slow",
            (
                "mcp-pipe tap",
                "`x → tools/call sleep`, how long the server took for it, `ms, ok`, and below that the same as the client saw it",
            ),
            None,
            |wanted| {
                wanted.tapped(json!({}), async |_, at| {
                    let mut client = McpHttp::at(at);
                    client.begin().await;
                    client.call("sleep", json!({"ms": 20})).await;
                })
            },
        ),
        row(
            "which server is slow, and how much memory each takes",
            (
                "mcp-pipe status",
                "behind each server its `process`, the memory of all that it has started, `MiB`, and the times of its calls: `p50`, `p99`",
            ),
            0,
            async |wanted| {
                let runtime = Runtime::new();
                let daemon = runtime.setup().config(&with_gateway(json!({}), fixture_entry(&[]))).start("info");
                daemon.wait_for_event("ALL_UP").await;
                let mut client = McpHttp::at(&url(&daemon).await);
                client.begin().await;
                client.call("echo", json!({"text": "x"})).await;
                wanted.beside(&runtime, daemon).await
            },
        ),
        row(
            "a server was killed because memory ran out",
            (
                "mcp-pipe logs x",
                "`was killed by signal 9 (SIGKILL: by the system if memory ran out, else by a person or a program)`, and when it is started again: `restart in`",
            ),
            0,
            async |wanted| {
                let runtime = Runtime::new();
                let daemon = runtime.setup().config(&with_gateway(json!({}), fixture_entry(&[]))).start("info");
                daemon.wait_for_event("ALL_UP").await;
                let told: Value = serde_json::from_str(&runtime.ask(&["status", "--json"]).await.out).unwrap();
                let pid = told["servers"][0]["process"]["pid"].as_i64().unwrap() as i32;
                kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
                wanted.beside(&runtime, daemon).await
            },
        ),
        row(
            "the disk is full",
            (
                "mcp-pipe doctor",
                "`WARN`, since everything is served all the same: `machine.cache`, `its disk is full:`, `make room`",
            ),
            0,
            async |wanted| {
                let Some(disk) = SmallDisk::mount() else {
                    skip("the disk is full: nothing can be mounted here");
                    return None;
                };
                let mut config = with_gateway(json!({}), fixture_entry(&[]));
                config["cacheDir"] = json!(disk.path().join("cache"));
                fs::create_dir(disk.path().join("cache")).unwrap();
                wanted.alone(Setup::new().config(&config)).await
            },
        ),
    ]
}

/// Clients, and the gateway.
fn of_clients() -> Vec<Row> {
    vec![
        row(
            "the port is in use",
            (
                "mcp-pipe doctor",
                "`root cause port-taken: gateway:`, and who has it, by process and name: `listens there`",
            ),
            1,
            async |wanted| {
                let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let mut config = config([("x", fixture_entry(&[]))]);
                config["gateway"] = json!({"listen": taken.local_addr().unwrap().to_string()});
                wanted.alone(Setup::new().config(&config)).await
            },
        ),
        row(
            "a client can't connect: there is no gateway",
            (
                "mcp-pipe doctor --client cursor",
                "`dials over HTTP, and the config has no gateway`, and the two ways: `add \"gateway\": {} to the config`, `\"args\": [\"stdio\"]`",
            ),
            0,
            async |wanted| {
                let (_web, url) = usual().await;
                wanted.alone(Setup::new().config(&endpoint(&url))).await
            },
        ),
        row(
            "a client can't connect: it is in a container",
            (
                "mcp-pipe doctor --client open-webui",
                "`often runs in a container, from which the gateway on loopback is out of reach`, and `\"listen\": \"0.0.0.0:8765\" with an API key`",
            ),
            0,
            |wanted| wanted.alone(server(fixture_entry(&[]))),
        ),
        row(
            "401: a client shows no key, or a wrong one",
            ("mcp-pipe tap", "`a client was refused (401): it showed neither a key nor a token that is good here`"),
            None,
            |wanted| {
                let keys = json!({"apiKeys": [{"name": "me", "key": "a-key-of-my-own-01"}]});
                wanted.tapped(keys, async |_, at| send(at, "POST", JSON).await)
            },
        ),
        row(
            "CORS: a page in a browser is refused",
            (
                "mcp-pipe tap",
                "`a client was refused (403): it is a web page of an origin that may not ask`, and where to name it",
            ),
            None,
            |wanted| {
                wanted.tapped(json!({}), async |_, at| {
                    // A browser asks first whether the page may.
                    let asks =
                        "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type\r\n";
                    send(at, "OPTIONS", &format!("{asks}Origin: https://app.example\r\n")).await;
                })
            },
        ),
        row(
            "403: a client dials another name of this machine",
            (
                "mcp-pipe tap",
                "`a client was refused (403): it asked for a host of a name that is not known here`, and where to name it",
            ),
            None,
            |wanted| {
                wanted.tapped(json!({}), async |_, at| {
                    send(at, "POST", &format!("Host: box.example\r\n{JSON}")).await;
                })
            },
        ),
        row(
            "415: a wrong content type",
            ("mcp-pipe tap", "`a request was refused (415): a message is a POST of application/json`"),
            None,
            |wanted| wanted.tapped(json!({}), async |_, at| send(at, "POST", "Content-Type: text/plain\r\n").await),
        ),
        row(
            "429: too many requests",
            ("mcp-pipe tap", "`a request was refused (429): more come than`, and what says how many"),
            None,
            |wanted| {
                wanted.tapped(json!({"requestsPerSecond": 1}), async |_, at| {
                    for _ in 0..3 {
                        send(at, "POST", JSON).await;
                    }
                })
            },
        ),
        row(
            "404: a session is lost",
            (
                "mcp-pipe tap",
                "`a request was refused (404): its session is not here, or has ended`, and what its client has to do: `begin anew (initialize)`. mcp-pipe sessions lists those that there are",
            ),
            None,
            |wanted| {
                wanted.tapped(json!({}), async |runtime, at| {
                    let mut client = McpHttp::at(at);
                    client.begin().await;
                    let ended = runtime.ask(&["sessions", "end", "--all"]).await;
                    assert_eq!(ended.code, 0, "{ended:?}");
                    send(at, "POST", &format!("{JSON}Mcp-Session-Id: {}\r\n", client.session.unwrap())).await;
                })
            },
        ),
    ]
}

/// The rows of the table in a document's section.
fn table(text: &'static str, section: &str) -> Vec<&'static str> {
    let (_, rest) = text.split_once(&format!("\n## {section}\n")).expect("a section of that name");
    let section = rest.split("\n## ").next().unwrap();
    section.lines().filter(|line| line.starts_with("| ")).skip(1).collect()
}

#[tokio::test]
async fn each_symptom_is_told_by_the_command_that_stands_beside_it() {
    let rows = [of_servers(), of_ways(), of_resources(), of_clients()].into_iter().flatten();
    let mut wrong = Vec::new();
    let mut lines = Vec::new();
    let mut rows: Vec<Row> = rows.collect();
    while !rows.is_empty() {
        // Some at a time: each is a program and its servers.
        let (mut told, mut seen) = (Vec::new(), Vec::new());
        for Row { symptom, command, prints, code, seen: future } in rows.drain(..rows.len().min(4)) {
            told.push((symptom, command, prints, code));
            seen.push(future);
        }
        for ((symptom, command, prints, code), asked) in told.into_iter().zip(join_all(seen).await) {
            let shown = code.map_or_else(|| "–".to_owned(), |code| code.to_string());
            lines.push(format!("| {symptom} | `{command}` | {prints} | {shown} |"));
            let Some(asked) = asked else { continue };
            let missing = Wanted::of(command, prints).missing(&asked.out).join("`, `");
            if !missing.is_empty() {
                wrong.push(format!("{symptom}: `{missing}` is not in what is printed: {asked:#?}"));
            }
            if code.is_some_and(|code| code != asked.code) {
                wrong.push(format!("{symptom}: {asked:?}"));
            }
        }
    }
    let documented = table(include_str!("../../docs/OPERATING.md"), "Symptoms");
    let lacking = lines.iter().filter(|line| !documented.contains(&line.as_str()));
    wrong.extend(lacking.map(|line| format!("docs/OPERATING.md lacks: {line}")));
    let untested = documented.iter().filter(|line| !lines.iter().any(|tested| tested == *line));
    wrong.extend(untested.map(|line| format!("no test has: {line}")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
