//! Tasks (MCP 2025-11-25) of two real servers on one connection.

use serde_json::{Value, json};

use crate::harness::{Conn, FakeEndpoint, Setup, everything, multiplex, names, text_of};

const RELATED: &str = "io.modelcontextprotocol/related-task";

async fn ask(conn: &mut Conn, id: &str, method: &str, task: &str) -> Value {
    conn.send(json!({"jsonrpc": "2.0", "id": id, "method": method, "params": {"taskId": task}})).await;
    conn.answer_to(id).await["result"].take()
}

/// Calls the tool of a server that works as a task only; the id of the task.
async fn research(conn: &mut Conn, server: &str, ambiguous: bool) -> String {
    let arguments = json!({"topic": format!("python of {server}"), "ambiguous": ambiguous});
    let tool = format!("{server}__simulate-research-query");
    let params = json!({"name": tool, "arguments": arguments, "task": {"ttl": 60000}});
    conn.send(json!({"jsonrpc": "2.0", "id": server, "method": "tools/call", "params": params})).await;
    let made = conn.answer_to(server).await;
    made["result"]["task"]["taskId"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned()
}

#[tokio::test]
async fn each_task_is_asked_about_where_it_was_made_and_asks_back_under_the_id_that_is_known() {
    let Some(entry) = everything() else { return };
    let endpoint = FakeEndpoint::bind().await;
    let config = multiplex(&endpoint, [("a", entry.clone()), ("b", entry)]);
    let daemon = Setup::new().config(&config).start("info");
    let mut conn = endpoint.accept().await;
    let capabilities = json!({"elicitation": {}});
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": {"name": "x", "version": "1"}});
    conn.send(json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})).await;
    let welcome = conn.answer_to(0).await;
    let tasks = &welcome["result"]["capabilities"]["tasks"];
    assert!(tasks["requests"]["tools"]["call"].is_object() && tasks["list"].is_null(), "{welcome}");
    conn.send(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
    loop {
        // It adds this one only when it is initialized.
        conn.send(json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})).await;
        let list = conn.answer_to(1).await;
        if ["a", "b"].iter().all(|server| names(&list).contains(&&*format!("{server}__simulate-research-query"))) {
            break;
        }
        conn.other("notifications/tools/list_changed").await;
    }

    let (of_a, of_b) = (research(&mut conn, "a", true).await, research(&mut conn, "b", false).await);
    for (server, task) in [("a", &of_a), ("b", &of_b)] {
        let state = ask(&mut conn, server, "tasks/get", task).await;
        assert_eq!((&state["taskId"], &state["status"]), (&json!(task), &json!("working")), "{state}");
    }
    // What it asks meanwhile comes with its result, and belongs to it.
    let params = json!({"taskId": of_a});
    conn.send(json!({"jsonrpc": "2.0", "id": "result", "method": "tasks/result", "params": params})).await;
    let asked = conn.other("elicitation/create").await;
    assert_eq!(asked["params"]["_meta"][RELATED]["taskId"], of_a, "{asked}");
    let answer =
        json!({"action": "accept", "content": {"interpretation": "snake"}, "_meta": {RELATED: {"taskId": of_a}}});
    conn.send(json!({"jsonrpc": "2.0", "id": asked["id"], "result": answer})).await;
    let result = conn.answer_to("result").await;
    assert!(text_of(&result).contains("python of a (snake)"), "{result}");
    assert_eq!(result["result"]["_meta"][RELATED]["taskId"], of_a, "{result}");

    let result = ask(&mut conn, "b's", "tasks/result", &of_b).await;
    assert!(result["content"][0]["text"].as_str().is_some_and(|text| text.contains("python of b")), "{result}");
    let of_b = research(&mut conn, "b", false).await;
    let cancelled = ask(&mut conn, "cancel", "tasks/cancel", &of_b).await;
    assert_eq!((&cancelled["taskId"], &cancelled["status"]), (&json!(of_b), &json!("cancelled")), "{cancelled}");
    daemon.stop_closing([&mut conn]).await;
}
