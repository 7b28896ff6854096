//! Tasks of several servers, which may have the same ids.

use super::*;

const RELATED: &str = "io.modelcontextprotocol/related-task";

fn task(id: &str, status: &str) -> Value {
    json!({"taskId": id, "status": status, "createdAt": "x", "lastUpdatedAt": "x", "ttl": null})
}

/// Servers that make tasks.
fn makers(names: &[&str]) -> Rig {
    let offers = names.iter().map(|name| {
        let mut offer = offer(&[&format!("{name}_t")]);
        offer["capabilities"] =
            json!({"tools": {}, "tasks": {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}});
        offer
    });
    let mut rig = Rig::new(specs(names), offers.collect(), vec![]);
    rig.begin();
    rig
}

/// The endpoint calls the tool of a server, which makes a task with that id. Returns the endpoint's id of the task, and the
/// token for progress.
fn made(rig: &mut Rig, server: ServerIndex, id: &str) -> (String, Value) {
    let params =
        json!({"name": format!("{}_t", ["a", "b"][server]), "task": {"ttl": 1}, "_meta": {"progressToken": "p"}});
    rig.endpoint(&json!({"id": "c", "method": "tools/call", "params": params}).to_string());
    let asked = rig.at_server(server).pop().unwrap();
    rig.server(
        server,
        &json!({"jsonrpc": "2.0", "id": asked["id"], "result": {"task": task(id, "working")}}).to_string(),
    );
    let mut answer = rig.at_endpoint().pop().unwrap();
    let published = answer["result"]["task"]["taskId"].as_str().unwrap().to_owned();
    answer["result"]["task"]["taskId"] = id.into();
    assert_eq!(answer, json!({"jsonrpc": "2.0", "id": "c", "result": {"task": task(id, "working")}}));
    (published, asked["id"].clone())
}

fn ask(rig: &mut Rig, method: &str, id: &str) {
    rig.endpoint(&json!({"id": "q", "method": method, "params": {"taskId": id, "x": 1.5}}).to_string());
}

#[test]
fn what_is_asked_about_a_task_goes_to_the_server_that_made_it_under_its_own_id() {
    let mut rig = makers(&["a", "b"]);
    let (of_a, _) = made(&mut rig, 0, "1");
    let (of_b, _) = made(&mut rig, 1, "1");
    assert_ne!(of_a, of_b);
    for (server, published) in [(1, &of_b), (0, &of_a)] {
        for method in ["tasks/get", "tasks/cancel", "tasks/result"] {
            ask(&mut rig, method, published);
            assert!(rig.at_server(1 - server).is_empty());
            let asked = rig.at_server(server).pop().unwrap();
            assert_eq!(asked["params"], json!({"taskId": "1", "x": 1.5}));
            let (answer, want) = if method == "tasks/result" {
                // A result may take as long as it needs.
                rig.pass(600);
                assert!(rig.at_endpoint().is_empty() && rig.at_server(server).is_empty());
                let result = |id: &str| json!({"content": [], "_meta": {RELATED: {"taskId": id}}});
                (result("1"), result(published))
            } else {
                (task("1", "working"), task(published, "working"))
            };
            rig.server(server, &json!({"jsonrpc": "2.0", "id": asked["id"], "result": answer}).to_string());
            assert_eq!(rig.at_endpoint(), [json!({"jsonrpc": "2.0", "id": "q", "result": want})]);
        }
    }
    ask(&mut rig, "tasks/get", "1");
    ask(&mut rig, "tasks/list", &of_a);
    let codes: Vec<Value> = rig.at_endpoint().iter().map(|answer| answer["error"]["code"].clone()).collect();
    assert_eq!(codes, [json!(-32602), json!(-32601)]);
    assert!(rig.at_server(0).is_empty() && rig.at_server(1).is_empty());
}

#[test]
fn what_a_task_says_and_asks_names_it_by_the_id_that_the_endpoint_knows() {
    let mut rig = makers(&["a", "b"]);
    made(&mut rig, 0, "1");
    // One more, so that the next has a number that the other server has not seen.
    made(&mut rig, 1, "0");
    let (published, token) = made(&mut rig, 1, "1");
    let progress = |token: &Value| json!({"method": "notifications/progress", "params": {"progressToken": token}});
    rig.server(1, &progress(&token).to_string());
    assert_eq!(rig.at_endpoint(), [progress(&json!("p"))], "after the answer");
    rig.server(0, &progress(&token).to_string());
    assert!(rig.at_endpoint().is_empty(), "of another's");
    let status = |id: &str, status: &str| json!({"method": "notifications/tasks/status", "params": task(id, status)});
    rig.server(1, &status("1", "input_required").to_string());
    assert_eq!(rig.at_endpoint(), [status(&published, "input_required")]);
    rig.server(1, &status("unknown", "working").to_string());
    assert!(rig.at_endpoint().is_empty());
    let asks = |id: &str| json!({"id": 0, "method": "roots/list", "params": {"_meta": {RELATED: {"taskId": id}}}});
    rig.server(1, &asks("1").to_string());
    let asked = rig.at_endpoint().pop().unwrap();
    assert_eq!(asked["params"], asks(&published)["params"]);
    let answers = |id: &str| json!({"roots": [], "_meta": {RELATED: {"taskId": id}}});
    rig.endpoint(&json!({"jsonrpc": "2.0", "id": asked["id"], "result": answers(&published)}).to_string());
    assert_eq!(rig.at_server(1), [json!({"jsonrpc": "2.0", "id": 0, "result": answers("1")})]);
    rig.server(1, &status("1", "completed").to_string());
    rig.at_endpoint();
    rig.server(1, &progress(&token).to_string());
    assert!(rig.at_endpoint().is_empty(), "it is over");
}

#[test]
fn tasks_outlive_connections_and_end_with_their_server_and_are_bounded_for_each() {
    let mut rig = makers(&["a", "b"]);
    let (of_a, token) = made(&mut rig, 0, "1");
    let (of_b, _) = made(&mut rig, 1, "1");
    rig.router.on_link_down(rig.peer, rig.now, &mut rig.sink);
    rig.link_up();
    rig.handshake();
    rig.at_server(0);
    rig.server(0, &json!({"method": "notifications/progress", "params": {"progressToken": token}}).to_string());
    assert!(rig.at_endpoint().is_empty(), "progress is of the connection");
    ask(&mut rig, "tasks/get", &of_a);
    assert_eq!(rig.at_server(0)[0]["params"]["taskId"], "1");
    rig.down(0, 0);
    rig.up(0);
    rig.at_endpoint();
    ask(&mut rig, "tasks/get", &of_a);
    assert_eq!(rig.at_endpoint()[0]["error"]["code"], -32602, "the new life knows nothing of it");
    for n in 0..300 {
        made(&mut rig, 0, &n.to_string());
    }
    assert!(rig.router.tasks.len() <= crate::router::task::MAX_TASKS + 1, "{}", rig.router.tasks.len());
    ask(&mut rig, "tasks/get", &of_b);
    assert_eq!(rig.at_server(1)[0]["params"]["taskId"], "1", "one that makes many takes none of the others'");
}

#[test]
fn ids_that_look_like_ours_lead_nowhere() {
    let mut rig = makers(&["a", "b"]);
    let (first, _) = made(&mut rig, 0, "mcp-pipe-1000");
    let own: u64 = first.strip_prefix("mcp-pipe-").unwrap().parse().unwrap();
    for n in own..own + 40 {
        made(&mut rig, 1, &format!("mcp-pipe-{n}"));
    }
    let note = json!({"method": "notifications/x", "params": {"_meta": {RELATED: {"taskId": format!("mcp-pipe-{}", own + 3)}}}});
    rig.server(1, &note.to_string());
    assert_eq!(rig.at_endpoint().len(), 1);
    rig.endpoint(&note.to_string());
    ask(&mut rig, "tasks/get", &first);
    let asked = rig.at_server(0).pop().unwrap();
    assert_eq!(asked["params"]["taskId"], "mcp-pipe-1000");
}

#[test]
fn the_tasks_of_a_server_alone_pass_untouched_and_several_servers_announce_no_list_of_tasks() {
    let mut rig = makers(&["a"]);
    assert_eq!(made(&mut rig, 0, "1").0, "1");
    ask(&mut rig, "tasks/list", "1");
    assert_eq!(rig.at_server(0)[0]["method"], "tasks/list");
    let mut rig = makers(&["a", "b"]);
    rig.endpoint(&hello(9));
    let tasks = rig.at_endpoint()[0]["result"]["capabilities"]["tasks"].clone();
    assert_eq!(tasks, json!({"cancel": {}, "requests": {"tools": {"call": {}}}}));
}

#[test]
fn the_limit_for_results_of_a_tool_holds_for_its_tasks() {
    let mut spec = specs(&["a", "b"]);
    spec[0].tools = Arc::new(ToolPolicy { max_result: Some(256), ..ToolPolicy::default() });
    let mut rig = makers(&["a", "b"]);
    let offers = std::mem::take(&mut rig.offers);
    let mut rig = Rig::new(spec, offers, vec![]);
    rig.begin();
    let (published, _) = made(&mut rig, 0, &"1".repeat(300));
    ask(&mut rig, "tasks/result", &published);
    let asked = rig.at_server(0).pop().unwrap();
    let content = json!([{"type": "text", "text": "x".repeat(1000)}]);
    rig.server(0, &json!({"jsonrpc": "2.0", "id": asked["id"], "result": {"content": content}}).to_string());
    let answer = rig.at_endpoint().pop().unwrap();
    assert!(answer["result"].to_string().len() <= 256, "{answer}");
}
