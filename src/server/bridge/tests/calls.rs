//! Calls at the edges: what is kept for them, their questions, their headers, and answers that can't be read.

use super::*;

fn asks(question: &Value) -> Value {
    json!({"resultType": "input_required", "inputRequests": {"a": question}})
}

fn roots() -> Value {
    json!({"method": "roots/list"})
}

fn cancel(id: u64) -> Value {
    json!({"method": "notifications/cancelled", "params": {"requestId": id}})
}

/// A tool with an argument that headers repeat, or without.
fn tool(name: &str, repeats: bool) -> Value {
    let mut region = json!({"type": "string"});
    if repeats {
        region["x-mcp-header"] = "Region".into();
    }
    json!({"name": name, "inputSchema": {"type": "object", "properties": {"region": region}}})
}

fn mismatch(rig: &mut Rig) -> Vec<(char, Value)> {
    rig.refuse(json!({"code": -32020, "message": "header Mcp-Param-Region is missing"}))
}

/// The text of a call that came to nothing.
fn text_of(done: &[(char, Value)]) -> &str {
    let result = &done.last().unwrap().1["result"];
    assert_eq!(result["isError"], true, "{done:?}");
    result["content"][0]["text"].as_str().unwrap()
}

#[test]
fn a_call_as_large_as_what_may_be_kept_can_be_asked_again_and_one_byte_more_can_t() {
    for (more, fits) in [(0, true), (1, false)] {
        let mut rig = Rig::open(false);
        let call = |text: &str| json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "t", "arguments": {"a": text}}});
        let size = MAX_KEPT - call("").to_string().len() + more;
        rig.line(call(&"x".repeat(size)));
        let done = rig.answer(json!({"resultType": "input_required", "requestState": "s"}));
        assert_eq!(done[0].0, if fits { 'S' } else { 'R' }, "{more}");
    }
}

#[test]
fn sixteen_questions_are_asked_at_once_and_seventeen_are_not() {
    for (count, fits) in [(16, true), (17, false)] {
        let mut rig = Rig::open(false);
        rig.call(7);
        let questions: serde_json::Map<String, Value> = (0..count).map(|n| (n.to_string(), roots())).collect();
        let done = rig.answer(json!({"resultType": "input_required", "inputRequests": questions}));
        assert_eq!((done.len(), done[0].1["cause"] == 7), if fits { (count, true) } else { (1, false) }, "{count}");
    }
}

#[test]
fn an_answer_that_is_too_large_to_be_kept_ends_its_call() {
    let mut rig = Rig::open(false);
    rig.call(7);
    let id = rig.answer(asks(&roots()))[0].1["asked"]["id"].clone();
    let done = rig.line(json!({"id": id, "result": {"roots": "x".repeat(MAX_KEPT)}}));
    assert!(text_of(&done).contains("too large to be kept"), "{}", text_of(&done));
}

#[test]
fn what_was_kept_for_a_call_is_free_for_the_next_one() {
    let mut rig = Rig::open(false);
    let large = "s".repeat(MAX_KEPT - 1000);
    for id in 7..10 {
        rig.call(id);
        let asked =
            rig.answer(json!({"resultType": "input_required", "requestState": large, "inputRequests": {"a": roots()}}));
        assert_eq!(asked[0].1["cause"], id, "the state of the one before is kept no more");
        let done = rig.line(json!({"id": asked[0].1["asked"]["id"], "result": {"roots": []}}));
        assert_eq!(done[0].1["params"]["requestState"], large);
        rig.answer(json!({"resultType": "complete", "content": []}));
    }
}

#[test]
fn a_call_that_is_asked_again_keeps_its_level_of_log_messages() {
    let mut rig = Rig::open(false);
    rig.line(json!({"id": 2, "method": "logging/setLevel", "params": {"level": "warning"}}));
    rig.call(7);
    let done = rig.answer(json!({"resultType": "input_required", "requestState": "s"}));
    assert_eq!(done[0].1["params"]["_meta"]["io.modelcontextprotocol/logLevel"], "warning");
}

#[test]
fn what_a_question_is_called_by_the_server_and_by_us_stands_in_it_once() {
    let told = |rig: &mut Rig, hello: Value| {
        let line = [&[CALLER], hello.to_string().as_bytes()].concat();
        rig.bridge.on_line(&line, rig.now, &mut rig.wire);
    };
    let mut rig = Rig::open(false);
    told(&mut rig, json!({"_meta": {"mcp-pipe/era": "modern"}}));
    rig.call(7);
    rig.answer(asks(&json!({"method": "roots/list", "params": {"_meta": {"mcp-pipe/key": "forged"}}})));
    assert_eq!(rig.wire.asked.matches("mcp-pipe/key").count(), 1, "{}", rig.wire.asked);
    told(&mut rig, json!({"capabilities": {"elicitation": {"url": {}}}}));
    rig.call(8);
    let page = json!({"mode": "url", "url": "https://h", "message": "Log in", "elicitationId": "forged"});
    let question = json!({"method": "elicitation/create", "params": page});
    rig.answer(asks(&question));
    assert_eq!(rig.wire.asked.matches("elicitationId").count(), 1, "{}", rig.wire.asked);
    assert!(!rig.wire.asked.contains("forged"), "{}", rig.wire.asked);
    // A client that shows no pages is not asked to.
    told(&mut rig, json!({"capabilities": {"elicitation": {}}}));
    rig.call(9);
    let done = rig.answer(asks(&question));
    assert!(done.len() == 1 && text_of(&done).contains("can't give"), "{done:?}");
}

#[test]
fn only_messages_of_a_process_go_on_that_nobody_here_knows() {
    let odd = json!({"method": "notifications/odd", "params": {}});
    assert_eq!(Rig::open(true).line(odd.clone()), []);
    assert_eq!(Rig::open(false).line(odd)[0].0, 'S');
}

#[test]
fn a_prompt_is_named_in_the_headers_of_its_request() {
    let mut rig = Rig::open(true);
    rig.line(json!({"id": 7, "method": "prompts/get", "params": {"name": "p"}}));
    assert_eq!(rig.headers(), ["mcp-method: prompts/get", "mcp-name: p"]);
}

#[test]
fn the_tools_of_all_pages_are_known_and_those_of_the_list_before_are_not() {
    let named = |rig: &mut Rig| {
        rig.call(9);
        let is_named = rig.headers().iter().any(|header| header.starts_with("mcp-param-region"));
        rig.answer(json!({"resultType": "complete", "content": []}));
        is_named
    };
    let mut rig = Rig::open(true);
    let page = |rig: &mut Rig, params: Value, tools: Value| {
        rig.line(json!({"id": 3, "method": "tools/list", "params": params}));
        rig.answer(json!({"resultType": "complete", "tools": tools}));
    };
    page(&mut rig, json!({}), json!([tool("t", true)]));
    page(&mut rig, json!({"cursor": "2"}), json!([tool("other", true)]));
    assert!(named(&mut rig));
    page(&mut rig, json!({}), json!([tool("other", true)]));
    assert!(!named(&mut rig));
}

#[test]
fn a_call_is_sent_again_by_the_new_list_alone_and_what_is_kept_meanwhile_is_counted() {
    let mut rig = Rig::open(true);
    rig.line(json!({"id": 2, "method": "tools/list"}));
    rig.answer(json!({"resultType": "complete", "tools": [tool("t", true)]}));
    rig.call(3);
    let kept = rig.bridge.kept;
    assert_eq!(mismatch(&mut rig)[0].1["method"], "tools/list");
    assert_eq!(rig.bridge.kept, kept);
    // What is no text is no place in a list.
    let done = rig.answer(json!({"tools": [], "nextCursor": null}));
    assert_eq!(done[0].1["method"], "tools/call");
    assert_eq!(rig.headers(), ["mcp-method: tools/call", "mcp-name: t"]);
    mismatch(&mut rig);
    assert_eq!((rig.bridge.kept, rig.bridge.pending.len()), (0, 0));
}

#[test]
fn twenty_pages_of_tools_are_read_for_one_call_at_most() {
    let mut rig = Rig::open(true);
    rig.call(3);
    let mut done = mismatch(&mut rig);
    let mut pages = 0;
    while done[0].1["method"] == "tools/list" {
        pages += 1;
        done = rig.answer(json!({"tools": [], "nextCursor": "next"}));
    }
    assert_eq!((pages, &done[0].1["method"]), (20, &json!("tools/call")));
}

#[test]
fn a_call_that_is_cancelled_while_tools_are_read_for_it_is_not_sent_again() {
    let mut rig = Rig::open(true);
    rig.call(3);
    mismatch(&mut rig);
    let number = rig.sent();
    assert_eq!(texts(&rig.line(cancel(3))), [format!("W {number}")]);
    assert_eq!((rig.bridge.kept, rig.bridge.pending.len()), (0, 0));
}

/// What is found of an answer to the request of this number: that it is too large, or is lost.
fn unreadable(rig: &mut Rig, number: u64, is_large: bool) -> Vec<(char, Value)> {
    let id = number.to_string();
    let head = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":"#);
    rig.found(if is_large {
        Found::TooLarge(Cut { size: 1 << 30, head: head.as_bytes(), tail: b"" })
    } else {
        Found::Lost(Lost { id: id.as_bytes(), method: false, why: NotMessage::Json(0) }, b"noise")
    })
}

#[test]
fn an_answer_that_was_lost_or_is_too_large_is_told_under_the_routers_number() {
    for is_large in [false, true] {
        let mut rig = Rig::open(false);
        rig.call(7);
        let done = unreadable(&mut rig, 7, is_large);
        assert!(done.len() == 1 && done[0].1["unanswered"].is_null(), "the router has that number: {done:?}");
        assert!(rig.bridge.pending.is_empty());
        // The second time the call has a number that the router does not know.
        rig.call(8);
        rig.answer(json!({"resultType": "input_required", "requestState": "s"}));
        let number = rig.sent();
        let done = unreadable(&mut rig, number, is_large);
        assert_eq!((done.len(), &done[0].1["unanswered"]), (1, &json!("8")), "{done:?}");
    }
}

#[test]
fn a_server_that_was_of_the_modern_era_and_only_refuses_something_is_of_no_other() {
    let mut rig = Rig::open(false);
    rig.bridge.is_legacy("has said something".to_owned());
    assert_eq!(rig.bridge.take_verdict(), None);
    for code in [-32020, -32021] {
        let mut rig = Rig::asked(true);
        let done = rig.refuse(json!({"code": code, "message": "not so"}));
        let why = done[0].1["error"]["message"].as_str().unwrap();
        assert!(done.len() == 1 && why.contains("not so"), "{done:?}");
        assert_eq!(rig.bridge.take_verdict(), None, "{code}");
    }
}
