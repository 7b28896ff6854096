//! What is odd about a server that shares a connection costs the others nothing, whatever reads it.

use serde_json::{Value, json};

use crate::harness::{Client, Conn, Daemon, FakeEndpoint, Setup, field, fixture_entry, installed, multiplex, text_of};
use crate::sdk_clients::{python, typescript};

const LISTS: [&str; 4] = ["tools/list", "prompts/list", "resources/list", "resources/templates/list"];

/// The fixture with resources, prompts and tools, all of it as MCP has it.
const GOOD: &[&str] = &[
    "--answer",
    "initialize",
    r#"{"protocolVersion":"2024-11-05","capabilities":{"tools":{},"prompts":{},"resources":{}},"serverInfo":{"name":"good","version":"1"},"instructions":"Be good."}"#,
    "--answer",
    "prompts/list",
    r#"{"prompts":[{"name":"good_p","arguments":[{"name":"x"}]}]}"#,
    "--answer",
    "resources/list",
    r#"{"resources":[{"uri":"good:r","name":"r"}]}"#,
    "--answer",
    "resources/templates/list",
    r#"{"resourceTemplates":[{"uriTemplate":"good:{id}","name":"t"}]}"#,
    "--answer",
    "resources/read",
    r#"{"contents":[{"uri":"good:r","text":"good"}]}"#,
];

/// What PHP makes of empty objects.
const PHP: &[&str] = &[
    "--answer",
    "initialize",
    r#"{"protocolVersion":"2024-11-05","capabilities":{"tools":[],"prompts":[],"resources":[],"experimental":[]},"serverInfo":{"name":"php","version":"1"},"_meta":[]}"#,
    "--answer",
    "tools/list",
    r#"{"tools":[{"name":"php_t","inputSchema":[],"annotations":[],"_meta":[]},{"name":"php_u","inputSchema":{"type":"object","properties":[],"required":[]}}],"_meta":[]}"#,
    "--answer",
    "prompts/list",
    r#"{"prompts":[{"name":"php_p","arguments":{}}]}"#,
    "--answer",
    "resources/list",
    r#"{"resources":[{"uri":"php:r","name":"r","annotations":[],"size":null,"mimeType":[]}]}"#,
    "--fail",
    "resources/templates/list",
    "-32602",
    "--fail",
    "resources/read",
    "0",
];

/// Half of an emoji wherever there is text.
const HALF: &[&str] = &[
    "--answer",
    "initialize",
    r#"{"protocolVersion":"2024-11-05","capabilities":{"tools":{},"resources":{}},"serverInfo":{"name":"half\ud83d","version":"1"},"instructions":"\ude00 Halve."}"#,
    "--answer",
    "tools/list",
    r#"{"tools":[{"name":"half_t","title":"\ud83d","description":"a \ude00 b","inputSchema":{"type":"object","properties":{"\ud83d":{"description":"\ud83d"}}}}]}"#,
    "--answer",
    "resources/list",
    r#"{"resources":[{"uri":"half:r","name":"\ud83d","description":"\ud83d"}]}"#,
];

/// Nothing that any schema has, and no tools although some list them.
const WILD: &[&str] = &[
    "--answer",
    "initialize",
    r#"{"protocolVersion":20241105,"capabilities":{"resources":true,"logging":null},"serverInfo":"wild","instructions":["a"],"x":1e999}"#,
    "--fail",
    "tools/list",
    "-32602",
    "--answer",
    "resources/list",
    r#"{"resources":[null,{},{"uri":7},{"uri":"wild:r","annotations":{"audience":["me"],"priority":9,"lastModified":"now"}}],"nextCursor":false}"#,
    "--answer",
    "resources/templates/list",
    "[]",
];

/// Two names for one thing, numbers and nesting that parsers refuse.
fn deep() -> Vec<String> {
    let nested = format!("{}{}", "[".repeat(600), "]".repeat(600));
    let tools = format!(
        r#"{{"tools":[{{"name":"x","title":"a","name":"deep_t","title":"b","inputSchema":{{"type":"object","default":{nested},"maximum":1e999}}}},{{"name":"deep_u"}},5]}}"#
    );
    ["--answer", "tools/list", &tools].map(str::to_owned).into()
}

/// Servers of these names on one connection; with `odd`, all but the good one are as they are not supposed to be.
async fn start(names: [&'static str; 3], odd: bool) -> (Daemon, Conn) {
    let deep = deep();
    let deep: Vec<&str> = deep.iter().map(String::as_str).collect();
    let flags = |name| match name {
        "good" => GOOD,
        _ if !odd => &[],
        "php" => PHP,
        "half" => HALF,
        "wild" => WILD,
        _ => &deep,
    };
    let endpoint = FakeEndpoint::bind().await;
    let mut config = multiplex(&endpoint, names.map(|name| (name, fixture_entry(flags(name)))));
    config["naming"] = "prefix".into();
    let daemon = Setup::new().config(&config).start("info");
    (daemon, endpoint.accept().await)
}

/// All that the good server has, and what it answers.
async fn all_of_good(conn: &mut Conn) -> Vec<Value> {
    // It panics on frames that a strict parser doesn't take.
    let welcome = conn.initialize("hello").await;
    assert!(welcome["result"]["instructions"].as_str().unwrap().contains("good: Be good."), "{welcome}");
    for capability in ["tools", "prompts", "resources"] {
        assert!(welcome["result"]["capabilities"][capability].is_object(), "{welcome}");
    }
    conn.send(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
    let mut all = Vec::new();
    for list in LISTS {
        conn.send(json!({"jsonrpc": "2.0", "id": list, "method": list})).await;
        let answer = conn.answer_to(list).await;
        let items = answer["result"].as_object().unwrap().values().next().unwrap().as_array().unwrap();
        all.extend(items.iter().filter(|item| item.to_string().contains("good")).cloned());
    }
    let read = json!({"uri": "good:unlisted/but/there"});
    conn.send(json!({"jsonrpc": "2.0", "id": "read", "method": "resources/read", "params": read})).await;
    all.push(conn.answer_to("read").await);
    all.push(conn.call("call", "good__add", json!({"a": 2, "b": 3})).await);
    all
}

#[tokio::test]
async fn two_odd_servers_of_every_kind_cost_a_third_nothing_and_are_told_once() {
    let (daemon, mut conn) = start(["php", "half", "good"], false).await;
    let want = all_of_good(&mut conn).await;
    assert_eq!((want.len(), text_of(want.last().unwrap())), (14, "5"), "{want:?}");
    daemon.stop_closing([&mut conn]).await;
    for (names, tools, odd) in [
        (["php", "half", "good"], ["php__php_u", "half__half_t"], ["tools/list", "initialize"]),
        (["wild", "deep", "good"], ["deep__deep_t", "deep__deep_u"], ["initialize", "tools/list"]),
    ] {
        let (daemon, mut conn) = start(names, true).await;
        assert_eq!(all_of_good(&mut conn).await, want, "{names:?}");
        conn.send(json!({"jsonrpc": "2.0", "id": "again", "method": "tools/list"})).await;
        let list = conn.answer_to("again").await.to_string();
        assert!(tools.iter().all(|tool| list.contains(tool)), "{list}");
        for (server, method) in names.into_iter().zip(odd) {
            let is_it = |line: &Value| {
                line["event"] == "SERVER_ODD"
                    && field(line, "server") == Some(server)
                    && line["message"].as_str().is_some_and(|text| text.contains(method))
            };
            daemon.wait_for("what is odd", is_it).await;
            assert_eq!(daemon.log_lines().iter().filter(|line| is_it(line)).count(), 1, "{server} {method}");
        }
        daemon.stop_closing([&mut conn]).await;
    }
}

/// What a client of the official SDKs, which check what they are told, makes of a connection with odd servers on it.
async fn use_what_there_is(client: &mut Client, tools: [&str; 2]) {
    let list = client.ask("tools/list", json!({})).await;
    let names: Vec<&str> =
        list["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert!(tools.iter().chain(&["good__echo"]).all(|tool| names.contains(tool)), "{names:?}");
    let list = client.ask("resources/list", json!({})).await.to_string();
    assert!(list.contains("good:r"), "{list}");
    let list = client.ask("prompts/list", json!({})).await.to_string();
    assert!(list.contains("good__good_p"), "{list}");
    client.ask("resources/templates/list", json!({})).await;
    assert_eq!(client.call("good__echo", json!({"text": "hi"})).await, "hi");
}

#[tokio::test]
async fn the_typescript_client_reads_what_odd_servers_share_with_others() {
    if installed("MCP_PIPE_TEST_NODE_MODULES").is_none() {
        return;
    }
    for (names, tools) in [
        (["php", "half", "good"], ["php__php_t", "half__half_t"]),
        (["wild", "deep", "good"], ["deep__deep_t", "deep__deep_u"]),
    ] {
        let (daemon, conn) = start(names, true).await;
        let mut client = typescript(conn).await;
        use_what_there_is(&mut client, tools).await;
        daemon.stop_closing([&mut client.close().await]).await;
    }
}

#[tokio::test]
async fn the_python_client_reads_what_odd_servers_share_with_others() {
    if installed("MCP_PIPE_TEST_PYTHON").is_none() {
        return;
    }
    for (names, tools) in [
        (["php", "half", "good"], ["php__php_t", "half__half_t"]),
        (["wild", "deep", "good"], ["deep__deep_t", "deep__deep_u"]),
    ] {
        let (daemon, conn) = start(names, true).await;
        let mut client = python(conn).await;
        use_what_there_is(&mut client, tools).await;
        daemon.stop_closing([&mut client.close().await]).await;
    }
}
