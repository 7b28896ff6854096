//! Requests that nobody here can place, and what several servers have.

use super::*;

/// Three servers with resources that they do not list, and one resource and one template that two of them list.
fn keepers() -> Rig {
    let keeper = |listed: Value, templates: Value| {
        json!({
            "capabilities": {"resources": {"subscribe": true}},
            "tools/list": {"tools": []},
            "resources/list": {"resources": listed},
            "resources/templates/list": {"resourceTemplates": templates},
        })
    };
    let both = || json!([{"uri": "file:///x", "name": "x"}]);
    let template = || json!([{"uriTemplate": "note://{id}", "name": "n"}]);
    let none = json!({"capabilities": {"tools": {}}, "tools/list": {"tools": []}});
    let offers = vec![keeper(both(), template()), none, keeper(json!([]), json!([])), keeper(both(), template())];
    let mut rig = Rig::new(specs(&["a", "tools", "b", "c"]), offers, vec![]);
    rig.begin();
    rig
}

fn read(uri: &str) -> String {
    json!({"id": "r", "method": "resources/read", "params": {"uri": uri}}).to_string()
}

/// What a server was asked to read.
fn asked(rig: &mut Rig, server: ServerIndex) -> Value {
    let frames = rig.at_server(server);
    let asked: Vec<_> = frames.iter().filter(|frame| frame["method"] == "resources/read").collect();
    assert_eq!(asked.len(), 1, "{server}: {frames:?}");
    asked[0]["id"].clone()
}

#[test]
fn an_unlisted_resource_is_looked_for_at_each_server_that_has_any_after_any_error() {
    for code in [0, -32601, -32602, -32603, -32002, -1, 7] {
        let mut rig = keepers();
        rig.endpoint(&read("mem:1"));
        let id = asked(&mut rig, 0);
        rig.server(0, &error(&id, code, "not here"));
        assert!(rig.at_server(1).is_empty(), "it has no resources");
        let id = asked(&mut rig, 2);
        rig.server(2, &error(&id, code, "nor here"));
        let id = asked(&mut rig, 3);
        assert!(rig.at_endpoint().is_empty());
        let found = json!({"contents": [{"uri": "mem:1", "text": "found"}]});
        rig.server(3, &json!({"jsonrpc": "2.0", "id": id, "result": found}).to_string());
        let answer = rig.at_endpoint();
        assert_eq!((answer.len(), &answer[0]["id"], &answer[0]["result"]), (1, &json!("r"), &found), "{code}");
    }
}

#[test]
fn where_nobody_has_a_resource_the_most_telling_error_is_the_answer() {
    for (codes, told) in [
        ([-32602, 0, -32601], 0),
        ([-32002, 0, -32602], -32002),
        ([-32603, -32002, 0], -32603),
        ([-32601, -32601, -32601], -32601),
        ([0, -5, -32601], -5),
    ] {
        let mut rig = keepers();
        rig.endpoint(&read("mem:1"));
        for (server, code) in [0, 2, 3].into_iter().zip(codes) {
            let id = asked(&mut rig, server);
            rig.server(server, &error(&id, code, &format!("error {code}")));
        }
        let answer = rig.at_endpoint();
        let want = json!({"jsonrpc": "2.0", "id": "r", "error": {"code": told, "message": format!("error {told}")}});
        assert_eq!(answer, [want], "{codes:?}");
    }
}

#[test]
fn a_server_that_hangs_dies_or_answers_nonsense_keeps_nobody_from_what_others_have() {
    let found = |rig: &mut Rig| {
        let id = asked(rig, 3);
        rig.server(
            3,
            &json!({"jsonrpc": "2.0", "id": id, "result": {"contents": [{"uri": "mem:1", "text": "x"}]}}).to_string(),
        );
        let answers = rig.at_endpoint();
        assert_eq!((answers.len(), answers[0]["error"].is_null()), (1, true), "{answers:?}");
    };
    let mut rig = keepers();
    rig.endpoint(&read("mem:1"));
    let hangs = asked(&mut rig, 0);
    rig.pass(10);
    assert_eq!(rig.at_server(0)[0]["params"]["requestId"], hangs, "the server need not go on with it");
    let id = asked(&mut rig, 2);
    rig.server(2, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"contents":NaN}}}}"#));
    found(&mut rig);
    rig.server(0, &json!({"jsonrpc": "2.0", "id": hangs, "result": {"contents": []}}).to_string());
    assert!(rig.at_endpoint().is_empty(), "too late");

    rig.endpoint(&read("mem:1"));
    asked(&mut rig, 0);
    rig.down(0, 100);
    let id = asked(&mut rig, 2);
    rig.server(2, &json!({"jsonrpc": "2.0", "id": id, "result": {"contents": [ ]}}).to_string());
    found(&mut rig);
    // The last server may take as long as it needs, and its death is told if nothing else is.
    rig.endpoint(&read("mem:1"));
    let id = asked(&mut rig, 2);
    rig.server(2, &error(&id, 0, "unknown"));
    asked(&mut rig, 3);
    rig.pass(300);
    assert!(rig.at_endpoint().is_empty());
    rig.down(3, 100);
    let answers = rig.at_endpoint();
    assert_eq!(answers.len(), 1);
    assert!(answers[0]["error"]["message"].as_str().unwrap().contains("server \"c\" exited"), "{answers:?}");
}

#[test]
fn a_cancelled_request_is_neither_answered_nor_asked_of_the_next_server() {
    let mut rig = keepers();
    rig.endpoint(&read("mem:1"));
    let id = asked(&mut rig, 0);
    rig.endpoint(r#"{"method":"notifications/cancelled","params":{"requestId":"r"}}"#);
    rig.server(0, &error(&id, 0, "unknown"));
    rig.pass(100);
    assert!(rig.at_endpoint().is_empty() && rig.at_server(2).is_empty() && rig.router.in_flight() == 0);
}

#[test]
fn a_request_that_may_have_been_carried_out_is_asked_of_no_other_server() {
    let mut rig = keepers();
    rig.endpoint(r#"{"id":"q","method":"x/y"}"#);
    let id = rig.at_server(0)[0]["id"].clone();
    rig.server(0, &error(&id, 0, "half done"));
    assert_eq!(rig.at_endpoint()[0]["error"]["message"], "half done");
    rig.endpoint(r#"{"id":"q","method":"x/y"}"#);
    rig.down(0, 100);
    assert_eq!(rig.at_endpoint().len(), 1, "it died with it");
    assert!((1..4).all(|server| rig.at_server(server).is_empty()));
}

#[test]
fn a_resource_that_two_servers_have_is_read_from_neither_by_its_bare_uri() {
    let mut rig = keepers();
    for (method, params, names) in [
        ("resources/read", json!({"uri": "file:///x"}), ["mcp-pipe://a/file:///x", "mcp-pipe://c/file:///x"]),
        ("resources/subscribe", json!({"uri": "file:///x"}), ["mcp-pipe://a/file:///x", "mcp-pipe://c/file:///x"]),
        ("resources/unsubscribe", json!({"uri": "file:///x"}), ["mcp-pipe://a/file:///x", "mcp-pipe://c/file:///x"]),
        ("resources/read", json!({"uri": "note://7"}), ["mcp-pipe://a/note://7", "mcp-pipe://c/note://7"]),
        (
            "completion/complete",
            json!({"ref": {"type": "ref/resource", "uri": "note://{id}"}, "argument": {"name": "id", "value": "7"}}),
            ["mcp-pipe://a/note://{id}", "mcp-pipe://c/note://{id}"],
        ),
    ] {
        rig.endpoint(&json!({"id": 5, "method": method, "params": params}).to_string());
        assert!((0..4).all(|server| rig.at_server(server).is_empty()), "{method} {params}");
        let answer = rig.at_endpoint().pop().unwrap();
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(answer["error"]["code"] == -32602 && names.iter().all(|name| message.contains(name)), "{answer}");
    }
    rig.endpoint(&read("mcp-pipe://c/note://7"));
    assert_eq!(rig.at_server(3)[0]["params"]["uri"], "note://7");
    let mut rig = Rig::pair();
    rig.endpoint(&call(3, "add"));
    assert_eq!(rig.at_endpoint()[0]["error"]["message"], "unknown tool: add (published as a__add or b__add)");
}
