//! Servers of both eras of MCP, behind an endpoint that knows only the earlier one.

use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use crate::harness::{
    Asked, Client, Conn, Daemon, FakeEndpoint, Part, Setup, Web, built, config, events, field, fixture_entry,
    installed, multiplex, names, skip, text_of, whole, with_json, within,
};
use crate::real_servers::start;
use crate::sdk_clients::typescript;

/// What a request is answered with.
type Answers = Box<dyn Fn(&Asked) -> Vec<Part> + Send + Sync>;

/// The fixture as a server of MCP 2026-07-28, with this way of not taking `initialize`.
fn modern(how: &str) -> Value {
    fixture_entry(&["--modern", how])
}

/// How many processes of servers were started.
fn starts(daemon: &Daemon) -> usize {
    daemon.log_text().matches("SERVER_STARTED").count()
}

#[tokio::test]
async fn a_server_that_refuses_initialize_is_asked_as_a_modern_one_and_that_is_remembered() {
    let cache = tempfile::tempdir().unwrap();
    for (how, first) in [("error", 2), ("exit", 2)] {
        let cache = cache.path().join(how);
        for wanted in [first, 1] {
            let mut entry = modern(how);
            let endpoint = FakeEndpoint::bind().await;
            entry["endpoint"] = endpoint.url().into();
            entry["cwd"] = std::env::temp_dir().to_str().unwrap().into();
            let mut config = config([("x", entry)]);
            config["cacheDir"] = cache.to_str().unwrap().into();
            let daemon = Setup::new().config(&config).start("debug");
            let mut conn = endpoint.accept().await;
            assert!(names(&conn.handshake().await).contains(&"echo"));
            assert_eq!(text_of(&conn.call(7, "echo", json!({"text": "x"})).await), "x");
            let log = daemon.log_text();
            assert_eq!(starts(&daemon), wanted, "{how}: {log}");
            let is_quoted = log.contains("as it refused before: initialize is unknown here");
            assert_eq!(is_quoted, how == "error" && wanted == first, "{log}");
            daemon.stop_closing([&mut conn]).await;
        }
    }
}

#[tokio::test]
async fn the_config_decides_of_which_era_a_server_is() {
    let mut entry = modern("mute");
    entry["era"] = "modern".into();
    let (_endpoint, daemon, mut conn) = start(Setup::new(), entry).await;
    assert!(names(&conn.handshake().await).contains(&"echo"));
    assert_eq!(starts(&daemon), 1);
    daemon.stop_closing([&mut conn]).await;

    // A server of the other era says so, and is quoted with the remedy.
    for (entry, era, words) in
        [(modern("error"), "legacy", "initialize is unknown here"), (fixture_entry(&[]), "modern", "remove that")]
    {
        let mut entry = entry;
        entry["era"] = era.into();
        let endpoint = FakeEndpoint::bind().await;
        entry["endpoint"] = endpoint.url().into();
        let daemon = Setup::new().config(&config([("x", entry)])).start("debug");
        let says = |line: &Value| field(line, "event") == Some("ERROR_INITIALIZE") && line.to_string().contains(words);
        daemon.wait_for(words, says).await;
        assert_eq!(starts(&daemon), 1, "{era}");
        daemon.stop().await;
    }
}

#[tokio::test]
async fn a_modern_server_lists_by_pages_is_one_of_several_and_comes_back() {
    let endpoint = FakeEndpoint::bind().await;
    let paged = fixture_entry(&["--modern", "error", "--page", "2", "--name", "m"]);
    let servers = [("m", paged), ("l", fixture_entry(&["--name", "l"]))];
    let daemon = Setup::new().config(&multiplex(&endpoint, servers)).start("debug");
    let mut conn = endpoint.accept().await;
    let list = conn.handshake().await;
    assert!(names(&list).contains(&"m__echo") && names(&list).contains(&"l__grow"), "{:?}", names(&list));
    assert_eq!(names(&list).len(), 18);
    let pid = text_of(&conn.call(3, "m__pid", json!({})).await).to_owned();
    conn.call(4, "m__exit", json!({"code": 3})).await;
    let again = text_of(&conn.call(5, "m__pid", json!({})).await).to_owned();
    assert_ne!(pid, again);
    // What is known by now costs no start: one for the other server, two for the first life, one for the second.
    assert_eq!(starts(&daemon), 4, "{}", daemon.log_text());
    daemon.stop_closing([&mut conn]).await;
}

/// A server of `tests/servers/` on HTTP, at its address. It ends when this is dropped.
pub(super) struct OnHttp {
    pub(super) url: String,
    _child: Child,
}

/// A server of `tests/servers/`.
pub(super) fn script(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers").join(name).to_str().unwrap().to_owned()
}

impl OnHttp {
    /// Starts this command with a port added.
    pub(super) async fn start(program: &str, args: &[String]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let mut command = Command::new(program);
        command.args(args).arg(port.to_string()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.kill_on_drop(true).spawn().unwrap();
        within("the server to listen", async {
            while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        OnHttp { url: format!("http://127.0.0.1:{port}/mcp"), _child: child }
    }
}

/// What a client gets of the server, step by step; without what differs between the eras by their nature.
async fn use_both(client: &mut Client) -> Vec<Value> {
    let mut got = vec![client.ready["instructions"].clone(), client.ready["serverInfo"]["name"].clone()];
    for method in ["tools/list", "prompts/list", "resources/list", "resources/templates/list"] {
        let mut result = client.ask(method, json!({})).await;
        for odd in ["ttlMs", "cacheScope", "_meta"] {
            result.as_object_mut().unwrap().remove(odd);
        }
        got.push(result);
    }
    got.push(client.ask("resources/read", json!({"uri": "note://a"})).await);
    got.push(client.ask("prompts/get", json!({"name": "greet", "arguments": {"name": "Eve"}})).await);
    for (tool, arguments) in
        [("echo", json!({"text": "h\u{e9}"})), ("fail", json!({})), ("echo", json!({})), ("none", json!({}))]
    {
        let number = client.send_call(tool, arguments).await;
        let mut outcome = client.outcome(number).await;
        outcome.as_object_mut().unwrap().remove("id");
        got.push(outcome);
    }
    // Two questions, the second of which depends on the answer to the first.
    got.push(client.call("ask", json!({})).await.into());
    client.was_asked("elicitation/create").await;
    client.was_asked("elicitation/create").await;
    got.push(client.call("sample", json!({})).await.into());
    got.push(client.call("roots", json!({})).await.into());
    client.was_asked("roots/list").await;
    let number = client.send_call("steps", json!({"n": 3})).await;
    for _ in 0..2 {
        got.push(client.progress(number).await);
    }
    assert!(client.outcome(number).await["result"].is_object());
    let number = client.send_call("wait", json!({})).await;
    client.progress(number).await;
    client.cancel(number).await;
    assert!(client.outcome(number).await["error"].is_object());
    got
}

/// Has a client use each of these servers in turn: what it gets is the same each time.
async fn compare(runs: &[(Value, &str)]) {
    let mut first: Option<Vec<Value>> = None;
    for (entry, era) in runs {
        let mut entry = entry.clone();
        entry["era"] = (*era).into();
        let (_endpoint, daemon, conn) = start(Setup::new(), entry.clone()).await;
        let is_modern = || daemon.log_text().contains("translated from MCP 2026-07-28");
        let mut client = typescript(conn).await;
        let got = use_both(&mut client).await;
        let first = first.get_or_insert_with(|| got.clone());
        for (one, other) in first.iter().zip(&got) {
            assert_eq!(one, other, "{entry}");
        }
        // The server is told of the cancellation, by its transport's means.
        if entry.get("command").is_some() {
            daemon.wait_for("the cancellation", |line| line.to_string().contains("eras: cancelled")).await;
        }
        if is_modern() {
            client.ask("resources/subscribe", json!({"uri": "note://a"})).await;
            client.call("change", json!({})).await;
            client.notification("notifications/tools/list_changed").await;
            assert_eq!(client.notification("notifications/resources/updated").await["uri"], "note://a");
        }
        assert!(is_modern() || *era == "legacy", "{entry}");
        let mut conn = client.close().await;
        daemon.stop_closing([&mut conn]).await;
    }
}

#[tokio::test]
async fn a_python_server_is_the_same_to_a_client_of_the_earlier_era_in_either_and_on_either_transport() {
    let (Some(python), Some(_)) = (installed("MCP_PIPE_TEST_PYTHON"), installed("MCP_PIPE_TEST_NODE_MODULES")) else {
        return;
    };
    let (python, args) = (python.to_str().unwrap(), ["-Wignore".to_owned(), script("eras.py")]);
    let web = OnHttp::start(python, &args).await;
    let stdio = json!({"command": python, "args": args});
    let http = json!({"url": web.url});
    let (second, third) = (stdio.clone(), http.clone());
    compare(&[(stdio, "legacy"), (second, "modern"), (http, "legacy"), (third, "auto")]).await;
}

#[tokio::test]
async fn a_typescript_server_is_the_same_to_a_client_of_the_earlier_era_in_either_and_on_either_transport() {
    let Some(modules) = installed("MCP_PIPE_TEST_NODE_MODULES") else { return };
    if !modules.join("@modelcontextprotocol/server").is_dir() {
        return skip("version 2 of the TypeScript SDK is not installed");
    }
    let args = |eras: &str| [script("eras.mjs"), modules.to_str().unwrap().to_owned(), eras.to_owned()];
    let web = OnHttp::start("node", &args("modern")).await;
    let stdio = |eras: &str| json!({"command": "node", "args": args(eras)});
    // One that speaks the newer era only is found out. Over HTTP its legacy side asks nothing, as it has no sessions.
    let runs = [
        (stdio("both"), "legacy"),
        (stdio("both"), "modern"),
        (stdio("modern"), "auto"),
        (json!({"url": web.url}), "auto"),
    ];
    compare(&runs).await;
}

/// What a modern server answers over HTTP; `None`: something else is scripted.
pub(crate) fn as_modern(asked: &Asked) -> Option<Vec<Part>> {
    let id = &asked.body["id"];
    let result = match asked.body["method"].as_str()? {
        "server/discover" => {
            json!({"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {"listChanged": true}}})
        }
        "tools/list" => {
            let tool = |name: &str| json!({"name": name, "inputSchema": {"type": "object", "properties": {"to": {"type": "string", "x-mcp-header": "To"}}}});
            json!({"resultType": "complete", "tools": [tool("echo"), tool("x")], "ttlMs": 0, "cacheScope": "private"})
        }
        "tools/call" => {
            json!({"resultType": "complete", "content": [{"type": "text", "text": asked.body["params"]["name"]}]})
        }
        "subscriptions/listen" => {
            let acknowledged = json!({"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params":
                {"_meta": {"io.modelcontextprotocol/subscriptionId": id}, "notifications": asked.body["params"]["notifications"]}});
            let mut parts = events(&format!("data: {acknowledged}\n\n"));
            parts.push(Part::Hang);
            return Some(parts);
        }
        _ => return Some(whole("404 Not Found", &["content-type: application/json"], "{}")),
    };
    Some(with_json(&json!({"jsonrpc": "2.0", "id": id, "result": result})))
}

async fn remote(
    script: impl Fn(&Asked) -> Option<Vec<Part>> + Send + Sync + 'static,
    more: Value,
) -> (Web, FakeEndpoint, Daemon, Conn) {
    let web = Web::start(script).await;
    let mut entry = json!({"url": web.url()});
    entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let (endpoint, daemon, conn) = start(Setup::new(), entry).await;
    (web, endpoint, daemon, conn)
}

#[tokio::test]
async fn each_request_to_a_modern_server_says_in_its_head_what_it_is_and_knows_no_session() {
    let (web, _endpoint, daemon, mut conn) = remote(as_modern, json!({})).await;
    assert_eq!(names(&conn.handshake().await), ["echo", "x"]);
    assert_eq!(text_of(&conn.call(4, "echo", json!({"to": "\u{fc}"})).await), "echo");
    daemon.stop_closing([&mut conn]).await;
    let asked = web.asked();
    assert!(asked.iter().all(|asked| asked.method == "POST" && asked.header("mcp-session-id").is_none()), "{asked:?}");
    for asked in &asked {
        assert_eq!(asked.header("mcp-protocol-version"), Some("2026-07-28"));
        assert_eq!(asked.header("mcp-method"), asked.body["method"].as_str());
        let meta = &asked.body["params"]["_meta"];
        assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
        assert!(meta["io.modelcontextprotocol/clientCapabilities"].is_object(), "{asked:?}");
    }
    let call = asked.iter().find(|asked| asked.tool() == Some("echo")).unwrap();
    assert_eq!((call.header("mcp-name"), call.header("mcp-param-to")), (Some("echo"), Some("=?base64?w7w=?=")));
}

#[tokio::test]
async fn faults_of_a_modern_server_over_http_cost_one_call_at_most() {
    let error = |asked: &Asked, status: &str, code: i32, data: Value| {
        let error = json!({"code": code, "message": "no", "data": data});
        let body = json!({"jsonrpc": "2.0", "id": asked.body["id"], "error": error}).to_string();
        whole(status, &["content-type: application/json"], &body)
    };
    let faults: Vec<(&str, Answers)> = vec![
        ("HTTP 500", Box::new(|_| whole("500 Oops", &[], "oops"))),
        ("gave no answer", Box::new(|_| whole("202 Accepted", &[], ""))),
        ("did not answer", Box::new(|_| events(": comment\n\n").into_iter().chain([Part::Close]).collect())),
        ("no", Box::new(move |asked| error(asked, "400 Bad Request", -32602, json!({})))),
        ("no", Box::new(move |asked| error(asked, "404 Not Found", -32601, json!({})))),
        ("does not take the headers", Box::new(move |asked| error(asked, "400 Bad Request", -32020, json!({})))),
        (
            "elicitation",
            Box::new(move |asked| {
                error(asked, "400 Bad Request", -32021, json!({"requiredCapabilities": {"elicitation": {}}}))
            }),
        ),
        (
            "not known here",
            Box::new(|asked| {
                with_json(&json!({"jsonrpc": "2.0", "id": asked.body["id"], "result": {"resultType": "new"}}))
            }),
        ),
        ("HTTP 404", Box::new(|_| whole("404 Not Found", &["content-type: text/html"], "<html>"))),
    ];
    for (words, fault) in faults {
        let script = move |asked: &Asked| if asked.tool() == Some("x") { Some(fault(asked)) } else { as_modern(asked) };
        let (_web, _endpoint, daemon, mut conn) = remote(script, json!({})).await;
        conn.handshake().await;
        let answer = conn.call(5, "x", json!({})).await.to_string();
        assert!(answer.contains(words), "{words}: {answer}");
        assert_eq!(text_of(&conn.call(6, "echo", json!({})).await), "echo", "{words}");
        daemon.stop_closing([&mut conn]).await;
    }
}

#[tokio::test]
async fn what_is_none_of_the_modern_era_at_an_address_is_asked_as_before_it() {
    let refusals: Vec<Answers> = vec![
        Box::new(|_| {
            whole(
                "400 Bad Request",
                &["content-type: application/json"],
                r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"not initialized"}}"#,
            )
        }),
        Box::new(|_| whole("404 Not Found", &["content-type: text/html"], "<html>")),
        Box::new(|_| whole("405 Method Not Allowed", &[], "")),
        Box::new(|_| whole("500 Oops", &[], "")),
        Box::new(|_| whole("200 OK", &["content-type: text/html"], "<html>")),
        Box::new(|_| whole("202 Accepted", &[], "")),
        Box::new(|asked| {
            with_json(&json!({"jsonrpc": "2.0", "id": asked.body["id"], "error": {"code": -32601, "message": "?"}}))
        }),
        Box::new(|asked| with_json(&json!({"jsonrpc": "2.0", "id": asked.body["id"], "result": {"tools": []}}))),
        Box::new(|asked| {
            with_json(
                &json!({"jsonrpc": "2.0", "id": asked.body["id"], "error": {"code": -32022, "message": "?", "data": {"supported": ["2025-06-18"]}}}),
            )
        }),
    ];
    for refusal in refusals {
        let script = move |asked: &Asked| (asked.body["method"] == "server/discover").then(|| refusal(asked));
        let (web, _endpoint, daemon, mut conn) = remote(script, json!({})).await;
        assert_eq!(names(&conn.handshake().await), ["echo", "x"]);
        let discovers = web.asked().iter().filter(|asked| asked.body["method"] == "server/discover").count();
        assert_eq!(discovers, 1);
        daemon.stop_closing([&mut conn]).await;
    }
    // Who asks matters in either era: that is no sign of one.
    for status in ["401 Unauthorized", "403 Forbidden", "429 Too Many Requests"] {
        let web = Web::start(move |_| Some(whole(status, &[], ""))).await;
        let endpoint = FakeEndpoint::bind().await;
        let entry = json!({"url": web.url(), "endpoint": endpoint.url()});
        let daemon = Setup::new().config(&config([("x", entry)])).start("debug");
        let words = format!("HTTP {}", &status[..3]);
        daemon.wait_for(&words, |line| line.to_string().contains(&words)).await;
        assert!(web.asked().iter().all(|asked| asked.body["method"] == "server/discover"), "{:?}", web.asked());
        daemon.stop().await;
    }
}

#[tokio::test]
async fn a_modern_server_that_knows_no_version_of_ours_is_quoted() {
    let script = |asked: &Asked| {
        let error = json!({"code": -32022, "message": "no", "data": {"supported": ["2031-01-01"]}});
        Some(whole(
            "400 Bad Request",
            &["content-type: application/json"],
            &json!({"jsonrpc": "2.0", "id": asked.body["id"], "error": error}).to_string(),
        ))
    };
    let web = Web::start(script).await;
    let endpoint = FakeEndpoint::bind().await;
    let entry = json!({"url": web.url(), "endpoint": endpoint.url()});
    let daemon = Setup::new().config(&config([("x", entry)])).start("debug");
    let words = "speaks no version of MCP that mcp-pipe knows (it names 2031-01-01)";
    daemon.wait_for(words, |line| line.to_string().contains(words)).await;
    daemon.stop().await;
}

#[tokio::test]
async fn what_a_remote_server_asks_on_the_stream_of_a_call_goes_to_whoever_called() {
    let script = |asked: &Asked| {
        let who = asked.body["params"]["arguments"]["who"].as_str().unwrap_or_default();
        let question = json!({"jsonrpc": "2.0", "id": format!("for {who}"), "method": "sampling/createMessage", "params": {"who": who}});
        let log =
            json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": who}});
        (asked.tool() == Some("x")).then(|| {
            let mut parts = events(&format!("data: {log}\n\ndata: {question}\n\n"));
            parts.push(Part::Hang);
            parts
        })
    };
    let web = Web::start(script).await;
    let ends = [FakeEndpoint::bind().await, FakeEndpoint::bind().await];
    let mut config = config([("x", json!({"url": web.url(), "era": "legacy"}))]);
    let endpoint = |end: &FakeEndpoint| json!({"url": end.url(), "servers": ["x"]});
    config["endpoints"] = json!({"one": endpoint(&ends[0]), "two": endpoint(&ends[1])});
    let daemon = Setup::new().config(&config).start("debug");
    let mut conns = [ends[0].accept().await, ends[1].accept().await];
    for conn in &mut conns {
        conn.handshake().await;
    }
    // Both have a call under way when the server asks about either.
    for (n, conn) in conns.iter_mut().enumerate() {
        let params = json!({"name": "x", "arguments": {"who": format!("peer {n}")}});
        conn.send(json!({"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": params})).await;
    }
    for (n, conn) in conns.iter_mut().enumerate() {
        let who = format!("peer {n}");
        assert_eq!(conn.other("notifications/message").await["params"]["data"], who.as_str());
        assert_eq!(conn.other("sampling/createMessage").await["params"]["who"], who.as_str());
    }
    daemon.stop_closing(&mut conns).await;
}

#[tokio::test]
async fn a_server_that_ended_and_is_none_of_the_newer_era_is_asked_as_before() {
    let dir = tempfile::tempdir().unwrap();
    // It ends at its first start, for another reason, and serves from then on.
    let script = format!(
        "test -e {0}/there && exec {1}; touch {0}/there; exit 3",
        dir.path().display(),
        built("fixture").display()
    );
    let (_endpoint, daemon, mut conn) = start(Setup::new(), json!({"command": "sh", "args": ["-c", script]})).await;
    assert!(names(&conn.handshake().await).contains(&"echo"));
    assert_eq!(text_of(&conn.call(7, "echo", json!({"text": "x"})).await), "x");
    // As it was started, as one of the newer era, and again.
    assert_eq!(starts(&daemon), 3, "{}", daemon.log_text());
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn an_address_without_a_server_is_told_as_that_and_not_as_a_refusal() {
    let web = Web::start(|_| Some(whole("404 Not Found", &["content-type: text/html"], "<html>"))).await;
    let endpoint = FakeEndpoint::bind().await;
    let entry = json!({"url": web.url(), "endpoint": endpoint.url()});
    let daemon = Setup::new().config(&config([("x", entry)])).start("debug");
    let line =
        daemon.wait_for("the fault", |line| line.to_string().contains("there is no MCP server at this path")).await;
    assert_eq!(field(&line, "event"), Some("ERROR_SERVER_START"), "{line}");
    assert!(!daemon.log_text().contains("ERROR_INITIALIZE"), "{}", daemon.log_text());
    daemon.stop().await;
}

#[tokio::test]
async fn a_modern_server_that_was_in_trouble_when_it_was_asked_first_is_asked_as_one_again() {
    // Before it is up, what stands before it answers for it.
    let requests = AtomicUsize::new(0);
    let script = move |asked: &Asked| match (requests.fetch_add(1, Ordering::SeqCst), asked.body["method"].as_str()) {
        (0, _) => Some(whole("502 Bad Gateway", &[], "")),
        (_, Some("initialize") | None) => Some(whole("404 Not Found", &[], "")),
        (_, Some(_)) => as_modern(asked),
    };
    let (web, _endpoint, daemon, mut conn) = remote(script, json!({})).await;
    assert_eq!(names(&conn.handshake().await), ["echo", "x"]);
    let discovers = web.asked().iter().filter(|asked| asked.body["method"] == "server/discover").count();
    assert_eq!(discovers, 2);
    daemon.stop_closing([&mut conn]).await;
}
