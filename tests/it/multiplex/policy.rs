//! `tools`, `slim`, `timeout` and `maxResultBytes`: on lists and on calls, of a server alone and of one of several.

use serde_json::{Value, json};

use crate::harness::{Conn, Daemon, FakeEndpoint, Setup, fixture_entry, multiplex, names, text_of};

fn tools() -> Value {
    json!({
        "allow": ["e*", "add", "sleep", "big", "pid"],
        "deny": ["exit", "env"],
        "rename": {"echo": "say"},
        "describe": {"a*": "Adds."},
        "timeout": {"sleep": "300ms"},
        "maxResultBytes": {"big": "1KiB", "echo": "1KiB"},
    })
}

async fn start(servers: &[&'static str]) -> (Daemon, Conn) {
    let endpoint = FakeEndpoint::bind().await;
    let entry = |name: &&'static str| {
        let mut entry = fixture_entry(&[]);
        if *name == "x" {
            entry["tools"] = tools();
            entry["slim"] = true.into();
        }
        (*name, entry)
    };
    let config = multiplex(&endpoint, servers.iter().map(entry));
    let daemon = Setup::new().config(&config).start("debug");
    (daemon, endpoint.accept().await)
}

/// The tools of the server `x` have this before their names.
async fn check(daemon: &Daemon, conn: &mut Conn, prefix: &str) {
    let list = conn.handshake().await;
    let own: Vec<&str> = names(&list).into_iter().filter(|name| *name == "say" || name.starts_with(prefix)).collect();
    let unique = |name: &'static str| if name == "say" { name.to_owned() } else { format!("{prefix}{name}") };
    assert_eq!(own, ["say", "add", "sleep", "pid", "big"].map(unique));
    let entry = list["result"]["tools"].as_array().unwrap().iter().find(|tool| tool["name"] == unique("add")).unwrap();
    assert_eq!(
        *entry,
        json!({"name": unique("add"), "description": "Adds.", "inputSchema": {"type": "object"}}),
        "slim"
    );

    assert_eq!(text_of(&conn.call(2, "say", json!({"text": "hi"})).await), "hi");
    let pid = conn.call(3, &unique("pid"), json!({})).await;
    for (id, hidden) in ["echo", "exit", "env", "grow", "x__say", "x__exit"].into_iter().enumerate() {
        let hidden = if hidden.contains("__") { hidden.to_owned() } else { unique(hidden) };
        let error = conn.call(10 + id, &hidden, json!({"code": 7, "text": "?", "name": "HOME"})).await;
        assert_eq!(error["error"]["code"], -32602, "{hidden}: {error}");
    }
    assert_eq!(conn.call(4, &unique("pid"), json!({})).await["result"], pid["result"], "it still runs");

    let late = conn.call(5, &unique("sleep"), json!({"ms": 900})).await;
    assert!(late["error"]["message"].as_str().is_some_and(|why| why.contains("timeout")), "{late}");
    daemon
        .wait_for("the cancellation at the server", |line| {
            line["message"].as_str().is_some_and(|text| text.starts_with("cancelled "))
        })
        .await;
    daemon.wait_for("the late answer", |line| line["message"] == "slept").await;

    for (id, tool, arguments) in
        [(6, unique("big"), json!({"bytes": 100_000})), (7, "say".into(), json!({"text": "汉".repeat(5_000)}))]
    {
        let cut = conn.call(id, &tool, arguments).await;
        let size = cut["result"].to_string().len();
        assert!((600..=1024).contains(&size), "{tool}: {size} bytes: {cut}");
        assert!(!text_of(&cut).contains('\u{fffd}'), "{cut}");
    }
    assert_eq!(text_of(&conn.call(8, &unique("big"), json!({"bytes": 300})).await).len(), 300, "what is small stays");
}

#[tokio::test]
async fn the_tools_of_a_server_alone_are_published_as_the_config_says() {
    let (daemon, mut conn) = start(&["x"]).await;
    check(&daemon, &mut conn, "").await;
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn the_tools_of_one_of_several_servers_are_published_as_the_config_says() {
    let (daemon, mut conn) = start(&["x", "y"]).await;
    check(&daemon, &mut conn, "x__").await;
    // The other's are what they are.
    assert_eq!(text_of(&conn.call(20, "y__sleep", json!({"ms": 400})).await), "slept 400 ms");
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn names_in_chinese_stay_where_the_config_says_so_and_are_told_where_not() {
    let tools =
        r#"{"tools":[{"name":"天气","inputSchema":{"type":"object"}},{"name":"x.y","inputSchema":{"type":"object"}}]}"#;
    let result = r#"{"content":[{"type":"text","text":"sunny"}]}"#;
    for unicode in [true, false] {
        let endpoint = FakeEndpoint::bind().await;
        let odd = fixture_entry(&["--answer", "tools/list", tools, "--answer", "tools/call", result]);
        let mut config = multiplex(&endpoint, [("weather", odd), ("other", fixture_entry(&[]))]);
        if unicode {
            config["names"] = "unicode".into();
        }
        let daemon = Setup::new().config(&config).start("info");
        let mut conn = endpoint.accept().await;
        let list = conn.handshake().await;
        let (chinese, stop) = (names(&list)[0].to_owned(), names(&list)[1]);
        assert_eq!(stop, if unicode { "x.y" } else { "x_y" });
        assert_eq!(chinese == "天气", unicode, "{chinese}");
        assert_eq!(text_of(&conn.call(2, &chinese, json!({})).await), "sunny");
        if !unicode {
            let told = daemon.wait_for_event("TOOLS_RENAMED").await;
            let message = told["message"].as_str().unwrap();
            assert!(
                chinese.starts_with("weather_") && message.contains(&format!("天气 as {chinese}, x.y as x_y")),
                "{told}"
            );
            assert!(message.contains(r#""rename": {"天气": "…"}"#), "{told}");
        }
        daemon.stop_closing([&mut conn]).await;
    }
}
