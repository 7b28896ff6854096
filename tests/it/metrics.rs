//! Figures on the admin address, against what a client has counted itself.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::control::Runtime;
use crate::gateway::url;
use crate::harness::{Daemon, FakeEndpoint, McpHttp, body_of, field, fixture_entry, names, skip};

/// Where a daemon tells its figures.
pub(crate) async fn admin(daemon: &Daemon) -> McpHttp {
    let is_it =
        |line: &Value| field(line, "message").is_some_and(|said| said.contains("figures and health are told at"));
    let line = daemon.wait_for("an admin address", is_it).await;
    McpHttp::at(field(&line, "message").unwrap().split_once(" at ").unwrap().1)
}

/// The figures: values by series.
pub(crate) async fn figures(admin: &McpHttp) -> BTreeMap<String, f64> {
    let page = body_of(admin.send("GET", String::new()).await).await;
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').unwrap()).map(|(of, n)| (of.to_owned(), n.parse().unwrap())).collect()
}

/// How many calls there were, by server, tool and outcome.
async fn calls(admin: &McpHttp) -> BTreeMap<(String, String, String), u64> {
    let label = |series: &str, name: &str| {
        let (_, rest) = series.split_once(&format!("{name}=\"")).unwrap();
        rest.split('"').next().unwrap().to_owned()
    };
    let all = figures(admin).await;
    let calls = all.iter().filter(|(series, _)| series.starts_with("mcp_pipe_calls_total{"));
    calls.map(|(of, n)| ((label(of, "server"), label(of, "tool"), label(of, "outcome")), *n as u64)).collect()
}

/// Counts what a client has seen, as metrics should.
#[derive(Default)]
struct Own(BTreeMap<(String, String, String), u64>);

impl Own {
    fn add(&mut self, server: &str, tool: &str, outcome: &str) {
        *self.0.entry((server.to_owned(), tool.to_owned(), outcome.to_owned())).or_default() += 1;
    }

    /// Calls a tool, and counts the answer by what it says.
    async fn call(&mut self, client: &mut McpHttp, (server, own): (&str, &str), published: &str, arguments: Value) {
        let answer = client.ask("tools/call", json!({"name": published, "arguments": arguments})).await;
        let said = answer["error"]["message"].as_str().unwrap_or_default();
        let is_ours = answer["error"]["data"]["from"] == "mcp-pipe";
        let outcome = match (&answer["result"], is_ours) {
            (Value::Object(result), _) if result.get("isError") == Some(&true.into()) => "tool_error",
            (Value::Object(_), _) => "ok",
            (_, false) => "rpc_error",
            _ if said.contains("(timeout)") => "timeout",
            _ if said.contains("above the limit") => "too_large",
            _ if said.starts_with("not answered:") => "server_down",
            _ => "refused",
        };
        self.add(server, own, outcome);
    }
}

fn config(admin: &str) -> Value {
    json!({
        "admin": {"listen": admin},
        "gateway": {"listen": "127.0.0.1:0"},
        "maxFrameSize": "64KiB",
        "naming": "prefix",
        "mcpServers": {
            "one": fixture_entry(&["--name", "one"]),
            "two": {"tools": {"timeout": {"sleep": "300ms"}}, "command": "", "args": []},
            "bad": fixture_entry(&["--name", "bad", "--answer", "tools/call", r#"{"content":[],"isError":true}"#]),
        },
    })
}

#[tokio::test]
async fn figures_agree_with_a_clients_own_count_of_every_outcome() {
    let runtime = Runtime::new();
    let mut all = config("127.0.0.1:0");
    let two = fixture_entry(&["--name", "two"]);
    (all["mcpServers"]["two"]["command"], all["mcpServers"]["two"]["args"]) =
        (two["command"].clone(), two["args"].clone());
    let daemon = runtime.setup().config(&all).start("info");
    let admin = admin(&daemon).await;
    daemon.wait_for_event("ALL_UP").await;
    let mut client = McpHttp::at(&url(&daemon).await);
    client.begin().await;
    client.tools().await;
    let mut own = Own::default();
    for n in 0..5 {
        own.call(&mut client, ("one", "echo"), "one__echo", json!({"text": n.to_string()})).await;
        own.call(&mut client, ("two", "echo"), "two__echo", json!({"text": "x"})).await;
    }
    for _ in 0..3 {
        own.call(&mut client, ("bad", "echo"), "bad__echo", json!({})).await;
        own.call(&mut client, ("one", "add"), "one__add", json!({})).await;
        own.call(&mut client, ("", "other"), "one__nothing_of_that_name", json!({})).await;
    }
    own.call(&mut client, ("two", "sleep"), "two__sleep", json!({"ms": 2000})).await;
    own.call(&mut client, ("one", "big"), "one__big", json!({"bytes": 200_000})).await;
    own.call(&mut client, ("two", "exit"), "two__exit", json!({"code": 3})).await;
    // The same server under its own names, by a client that sees nothing else; what that has not listed is passed on.
    let mut alone = client.path("/mcp/one");
    alone.begin().await;
    alone.tools().await;
    own.call(&mut alone, ("one", "echo"), "echo", json!({"text": "x"})).await;
    own.call(&mut alone, ("one", "add"), "add", json!({})).await;
    own.call(&mut alone, ("one", "big"), "big", json!({"bytes": 200_000})).await;
    own.call(&mut alone, ("one", "other"), "nothing_of_that_name", json!({})).await;
    for client in [&client, &alone] {
        let published = if client.path == "/mcp" { "one__sleep" } else { "sleep" };
        let params = json!({"name": published, "arguments": {"ms": 1500}});
        let call = json!({"jsonrpc": "2.0", "id": "given up", "method": "tools/call", "params": params});
        let asking = tokio::spawn({
            let client = client.clone();
            async move { client.status("POST", &call).await }
        });
        tokio::time::sleep(Duration::from_millis(300)).await;
        let params = json!({"requestId": "given up"});
        let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params});
        assert_eq!(client.status("POST", &cancel).await, 202);
        own.add("one", "sleep", "cancelled");
        asking.abort();
    }
    let said = runtime.ask(&["pause", "one"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    own.call(&mut client, ("one", "echo"), "one__echo", json!({"text": "x"})).await;
    own.call(&mut alone, ("one", "echo"), "echo", json!({"text": "x"})).await;
    let outcomes: std::collections::BTreeSet<&str> = own.0.keys().map(|(.., outcome)| outcome.as_str()).collect();
    assert_eq!(outcomes.len(), 8, "{outcomes:?}");
    let metrics = admin.path("/metrics");
    // A cancellation is on its way for a moment.
    for _ in 0..100 {
        if calls(&metrics).await == own.0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(calls(&metrics).await, own.0);
    let told = figures(&metrics).await;
    let answered = ["ok", "tool_error", "rpc_error"];
    let answered = own.0.iter().filter(|((server, _, outcome), _)| server == "one" && answered.contains(&&**outcome));
    let answered: u64 = answered.map(|(_, n)| n).sum();
    assert_eq!(told[r#"mcp_pipe_call_duration_seconds_count{server="one",method="tools/call"}"#], answered as f64);
    assert_eq!(told[r#"mcp_pipe_server_restarts_total{server="two",cause="server-exited"}"#], 1.0);
    assert_eq!(told["mcp_pipe_gateway_sessions"], 2.0);
    assert!(told[r#"mcp_pipe_server_received_bytes_total{server="one"}"#] > 1000.0);
    assert!(told["mcp_pipe_client_sent_messages_total"] > 20.0 && told["mcp_pipe_client_queue_bytes"] == 0.0);
    if cfg!(target_os = "linux") {
        assert!(told[r#"mcp_pipe_server_memory_bytes{server="one"}"#] > 1e5, "{told:?}");
        assert!(told["mcp_pipe_process_memory_bytes"] > 1e6 && told["mcp_pipe_process_open_fds"] > 3.0);
        assert!(told["mcp_pipe_process_cpu_seconds_total"] > 0.0);
    }
    daemon.stop().await;
}

#[tokio::test]
async fn invented_tool_names_make_no_series_and_no_secret_is_in_the_page() {
    const INVENTED: u64 = 100_000;
    const AT_ONCE: u64 = 500;
    let (endpoint, runtime) = (FakeEndpoint::bind().await, Runtime::new());
    let config = json!({
        "admin": {"listen": "127.0.0.1:0"}, "endpoint": endpoint.url(), "mcpServers": {"one": fixture_entry(&[])},
    });
    let daemon = runtime.setup().config(&config).start("warn,mcp_pipe::gateway=info");
    let admin = admin(&daemon).await.path("/metrics");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    conn.send(json!({"jsonrpc": "2.0", "id": "list", "method": "tools/list"})).await;
    assert!(names(&conn.answer_to("list").await).contains(&"echo"));
    conn.call("known", "echo", json!({"text": "x"})).await;
    conn.call("new", "invented", json!({})).await;
    let before = figures(&admin).await;
    let mut last = 0;
    while last < INVENTED {
        for n in last..last + AT_ONCE {
            conn.send_call(n, &format!("invented \"{n}\""), json!({})).await;
        }
        for n in last..last + AT_ONCE {
            assert_eq!(conn.answer_to(n).await["error"]["code"], -32602);
        }
        last += AT_ONCE;
    }
    let after = figures(&admin).await;
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    let other = r#"mcp_pipe_calls_total{server="one",method="tools/call",tool="other",outcome="rpc_error"}"#;
    assert_eq!((before[other], after[other]), (1.0, 1.0 + INVENTED as f64));
    let ok = r#"mcp_pipe_calls_total{server="one",method="tools/call",tool="echo",outcome="ok"}"#;
    assert_eq!(after[ok], 1.0);
    let (url, page) = (endpoint.url(), body_of(admin.send("GET", String::new()).await).await);
    let token = url.split_once("token=").unwrap().1;
    assert!(!page.contains(token) && page.contains("mcp_pipe_links{endpoint=\"ws://"), "{page}");
    assert!(after.keys().any(|series| series.starts_with("mcp_pipe_link_initialize_seconds{")), "{after:?}");
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn both_formats_and_health_are_told_and_others_are_refused() {
    let runtime = Runtime::new();
    let config = json!({"admin": {"listen": "127.0.0.1:0"}, "gateway": {"listen": "127.0.0.1:0"},
        "mcpServers": {"one": fixture_entry(&[])}});
    let daemon = runtime.setup().config(&config).start("info");
    daemon.wait_for_event("ALL_UP").await;
    let mut admin = admin(&daemon).await.path("/metrics");
    let kind = |answer: &hyper::Response<hyper::body::Incoming>| {
        answer.headers()["content-type"].to_str().unwrap().split(';').next().unwrap().to_owned()
    };
    let classic = admin.send("GET", String::new()).await;
    assert_eq!(kind(&classic), "text/plain");
    assert!(!body_of(classic).await.contains("# EOF"));
    admin.headers = vec![("accept", "application/openmetrics-text;version=1.0.0;q=0.9,text/plain;q=0.1".into())];
    let open = admin.send("GET", String::new()).await;
    assert_eq!(kind(&open), "application/openmetrics-text");
    assert!(body_of(open).await.ends_with("# EOF\n"));
    for (path, want) in [("/livez", "ok\n"), ("/readyz", "ok\n")] {
        assert_eq!(body_of(admin.path(path).send("GET", String::new()).await).await, want);
    }
    let told = body_of(admin.path("/status").send("GET", String::new()).await).await;
    let told: Value = serde_json::from_str(&told).unwrap();
    let said: Value = serde_json::from_str(&runtime.ask(&["status", "--json"]).await.out).unwrap();
    assert_eq!((&told["daemon"], &told["servers"][0]["name"]), (&said["daemon"], &said["servers"][0]["name"]));
    // What a browser is led into by a page of somebody else (DNS rebinding).
    let stream = tokio::net::TcpStream::connect(&admin.host).await.unwrap();
    let mut led = admin.clone();
    led.host = "evil.example:9464".into();
    assert_eq!(led.send_over(stream, "GET", String::new()).await.status(), 403);
    admin.headers = vec![("origin", "https://evil.example".into())];
    assert_eq!(admin.status("GET", &Value::Null).await, 403);
    admin.headers.clear();
    assert_eq!(admin.status("POST", &json!({})).await, 405);
    assert_eq!(figures(&admin).await[r#"mcp_pipe_gateway_refused_total{reason="origin"}"#], 1.0);
    daemon.stop().await;
}

#[tokio::test]
async fn a_reload_starts_moves_and_ends_it_and_takes_away_the_series_of_what_is_gone() {
    let runtime = Runtime::new();
    let servers = |names: &[&str]| -> serde_json::Map<String, Value> {
        names.iter().map(|name| ((*name).to_owned(), fixture_entry(&[]))).collect()
    };
    let mut all = json!({"gateway": {"listen": "127.0.0.1:0"}, "mcpServers": servers(&["one", "two"])});
    let daemon = runtime.setup().config(&all).start("info");
    daemon.wait_for_event("ALL_UP").await;
    let reload = async |all: &Value| {
        fs::write(daemon.path().join("mcp_config.json"), all.to_string()).unwrap();
        runtime.ask(&["reload"]).await
    };
    all["admin"] = json!({"listen": "127.0.0.1:0"});
    let said = reload(&all).await;
    assert!(said.code == 0 && said.out.contains("the admin address is 127.0.0.1:0"), "{said:?}");
    let first = admin(&daemon).await.path("/metrics");
    let of_two = |told: &BTreeMap<String, f64>| told.keys().filter(|series| series.contains("\"two\"")).count();
    assert!(of_two(&figures(&first).await) > 5);
    all["mcpServers"] = servers(&["one"]).into();
    assert_eq!(reload(&all).await.code, 0);
    let told = figures(&first).await;
    assert_eq!(of_two(&told), 0);
    assert!(told[r#"mcp_pipe_config_reloads_total{result="done"}"#] >= 2.0 && told["mcp_pipe_config_good"] == 1.0);
    // A port that somebody has: it stays where it is.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let elsewhere = taken.local_addr().unwrap();
    all["admin"]["listen"] = elsewhere.to_string().into();
    let said = reload(&all).await;
    assert!(said.code == 1 && said.err.contains("the admin address stays where it was"), "{said:?}");
    assert_eq!(figures(&first).await["mcp_pipe_gateway_as_configured"], 0.0);
    drop(taken);
    assert_eq!(reload(&all).await.code, 0);
    let mut second = first.clone();
    second.host = elsewhere.to_string();
    assert_eq!(figures(&second).await["mcp_pipe_gateway_as_configured"], 1.0);
    assert!(tokio::net::TcpStream::connect(&first.host).await.is_err(), "nobody listens there any more");
    fs::write(daemon.path().join("mcp_config.json"), "{").unwrap();
    assert_eq!(runtime.ask(&["reload"]).await.code, 78);
    let told = figures(&second).await;
    assert_eq!(
        (told["mcp_pipe_config_good"], told[r#"mcp_pipe_config_reloads_total{result="failed"}"#] >= 1.0),
        (0.0, true)
    );
    all.as_object_mut().unwrap().remove("admin");
    let said = reload(&all).await;
    assert!(said.code == 0 && said.out.contains("there is no admin address any more"), "{said:?}");
    assert!(tokio::net::TcpStream::connect(&second.host).await.is_err());
    daemon.stop().await;
}

#[tokio::test]
async fn an_address_for_others_needs_a_key_that_opens_all() {
    let runtime = Runtime::new();
    let key = |more: Value| {
        let mut key = json!({"name": "scraper", "key": "a-key-of-16-chars"});
        key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"listen": "127.0.0.1:0", "apiKeys": [key]})
    };
    let config = |gateway: &Value| json!({"admin": {"listen": "0.0.0.0:0"}, "gateway": gateway, "mcpServers": {"one": fixture_entry(&[])}});
    for gateway in [json!({"listen": "127.0.0.1:0"}), key(json!({"servers": ["one"]})), key(json!({"tools": ["echo"]}))]
    {
        let output = runtime.setup().config(&config(&gateway)).output().await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains("listen on 127.0.0.1:0, or add to `apiKeys` of \"gateway\" a key"), "{said}");
    }
    let daemon = runtime.setup().config(&config(&key(json!({})))).start("info");
    let mut admin = admin(&daemon).await;
    admin.host = admin.host.replace("0.0.0.0", "127.0.0.1");
    let admin = admin.path("/metrics");
    assert_eq!(admin.status("GET", &Value::Null).await, 401);
    assert_eq!(admin.key("another-key-of-16").status("GET", &Value::Null).await, 401);
    assert_eq!(admin.key("a-key-of-16-chars").status("GET", &Value::Null).await, 200);
    daemon.stop().await;
}

#[tokio::test]
async fn figures_are_written_into_a_file_and_taken_away_at_the_end() {
    let runtime = Runtime::new();
    let config = json!({"gateway": {"listen": "127.0.0.1:0"}, "mcpServers": {"one": fixture_entry(&[])}});
    let daemon = runtime.setup().config(&config).args(["--metrics-file", "mcp.prom"]).start("info");
    daemon.wait_for_event("ALL_UP").await;
    let file = daemon.path().join("mcp.prom");
    let page = fs::read_to_string(&file).unwrap();
    assert!(page.contains("# TYPE mcp_pipe_ready gauge\n") && page.ends_with('\n'), "{page}");
    let folder = daemon.path().to_owned();
    daemon.stop().await;
    assert!(!folder.join("mcp.prom").exists());
}

#[test]
fn the_dashboard_and_the_alert_rules_ask_for_series_that_there_are() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = include_str!("../../docs/METRICS.md");
    let is_known = |series: &str| {
        let whole = series.trim_end_matches("_bucket");
        table.contains(&format!("| `{whole}` |"))
    };
    let (dashboard, rules) = (root.join("deploy/grafana.json"), root.join("deploy/alerts.yml"));
    for file in [&dashboard, &rules] {
        let text = fs::read_to_string(file).unwrap();
        let words = text.split(|c: char| !(c.is_ascii_lowercase() || c == '_'));
        let series: Vec<&str> = words.filter(|word| word.starts_with("mcp_pipe_")).collect();
        assert!(series.len() > 5, "{file:?}");
        let unknown: Vec<_> = series.into_iter().filter(|series| !is_known(series)).collect();
        assert!(unknown.is_empty(), "{file:?} names {unknown:?}");
    }
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(dashboard).unwrap()).unwrap();
    assert!(dashboard["panels"].as_array().unwrap().len() > 10);
    // The rules themselves, where Prometheus' tool is there (Debian: prometheus), as it is in .ci/run.
    for what in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts.test.yml"]] {
        match std::process::Command::new("promtool").args(what).current_dir(root.join("deploy")).output() {
            Ok(said) => assert!(said.status.success(), "{said:?}"),
            Err(error) => skip(&format!("no promtool, so {what:?} is not run: {error}")),
        }
    }
}
