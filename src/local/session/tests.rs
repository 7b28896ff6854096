#![expect(clippy::unwrap_used, reason = "a test may panic")]

use super::*;

type Out = Output<&'static str>;

const SECOND: Duration = Duration::from_secs(1);

fn frame(value: &Value) -> Out {
    Output::Send(value.to_string())
}

fn cloud_close() -> Vec<Out> {
    vec![Output::Close { code: 4004, reason: "Internal server error" }]
}

fn ask(id: u64, method: &str) -> Out {
    frame(&json!({"id": id, "jsonrpc": "2.0", "method": method}))
}

fn result(id: u64, result: Value) -> String {
    json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string()
}

fn failure(id: u64, code: i64, message: &str) -> String {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}}).to_string()
}

/// A session with `initialize` answered; `tools/list` (id 1) is in flight.
fn initialized(now: Instant) -> Session<&'static str> {
    let (mut session, _) = Session::open(now);
    let out = session.on_frame(&result(0, json!({"serverInfo": {"name": "x"}})), now);
    assert_eq!(out, [Output::Send(INITIALIZED.to_owned()), ask(1, "tools/list")], "one burst");
    session
}

/// A session with an empty list of tools read.
fn ready(now: Instant) -> Session<&'static str> {
    let mut session = initialized(now);
    assert_eq!(session.on_frame(&result(1, json!({"tools": []})), now), [tools(&[])]);
    session
}

fn tools(names: &[&str]) -> Out {
    let tools = names.iter().map(|name| json!({"name": name})).collect();
    Output::Tools(Catalogue { server_info: json!({"name": "x"}), tools })
}

#[test]
fn the_first_frame_is_the_clouds_to_the_byte() {
    let (_, out) = Session::<()>::open(Instant::now());
    let cloud = concat!(
        r#"{"id":0,"jsonrpc":"2.0","method":"initialize","params":{"protocolVersion":"2024-11-05","#,
        r#""capabilities":{"sampling":{},"roots":{"listChanged":false}},"#,
        r#""clientInfo":{"name":"xz-mcp-broker","version":"0.0.1"}}}"#
    );
    assert_eq!(out, [Output::Send(cloud.to_owned())]);
}

#[test]
fn an_initialize_unanswered_for_ten_seconds_is_closed_with_4004() {
    let start = Instant::now();
    let (mut session, _) = Session::<&str>::open(start);
    assert_eq!(session.wake_at(), Some(start + 10 * SECOND));
    assert_eq!(session.on_time(start + 9 * SECOND), []);
    assert_eq!(session.on_time(start + 10 * SECOND), cloud_close());
    assert_eq!(session.wake_at(), None);
    assert_eq!(session.on_frame(&result(0, json!({})), start + 11 * SECOND), [], "too late");
    assert!(!session.is_open());
}

#[test]
fn an_initialize_answered_with_an_error_is_closed_with_4004() {
    let (mut session, _) = Session::<&str>::open(Instant::now());
    let out = session.on_frame(&failure(0, -32000, "broken"), Instant::now());
    assert_eq!(out[1..], cloud_close());
    assert!(!session.is_open());
}

#[test]
fn a_ping_goes_out_every_minute_and_may_be_unanswered_for_a_minute() {
    let start = Instant::now();
    let mut session = ready(start);
    assert_eq!(session.wake_at(), Some(start + 60 * SECOND));
    assert_eq!(session.on_time(start + 60 * SECOND), [ask(2, "ping")]);

    let answered = start + 61 * SECOND;
    assert_eq!(session.on_frame(&failure(2, -32601, "no ping here"), answered), [], "an error is an answer too");
    assert_eq!(session.wake_at(), Some(answered + 60 * SECOND));
    assert_eq!(session.on_time(answered + 60 * SECOND), [ask(3, "ping")]);

    assert_eq!(session.on_time(answered + 119 * SECOND), []);
    assert_eq!(session.on_time(answered + 120 * SECOND), cloud_close());
}

#[test]
fn pages_are_followed_to_the_end_and_come_out_as_one_list() {
    let now = Instant::now();
    let mut session = initialized(now);
    let page = result(1, json!({"tools": [{"name": "a"}], "nextCursor": "2"}));
    let next = json!({"id": 2, "jsonrpc": "2.0", "method": "tools/list", "params": {"cursor": "2"}});
    assert_eq!(session.on_frame(&page, now), [frame(&next)]);
    assert_eq!(session.on_frame(&result(2, json!({"tools": [{"name": "b"}]})), now), [tools(&["a", "b"])]);
}

#[test]
fn a_cursor_that_comes_twice_ends_the_list() {
    let now = Instant::now();
    let mut session = initialized(now);
    session.on_frame(&result(1, json!({"tools": [{"name": "a"}], "nextCursor": "again"})), now);
    let out = session.on_frame(&result(2, json!({"tools": [{"name": "b"}], "nextCursor": "again"})), now);
    assert!(matches!(out[0], Output::Odd(_)));
    assert_eq!(out[1..], [tools(&["a", "b"])]);
}

#[test]
fn cursors_that_never_end_are_cut_off_after_the_page_limit() {
    let now = Instant::now();
    let mut session = initialized(now);
    let mut id = 1;
    let end = loop {
        let out = session.on_frame(&result(id, json!({"tools": [{}], "nextCursor": id.to_string()})), now);
        if !matches!(out[..], [Output::Send(_)]) {
            break out;
        }
        id += 1;
    };
    assert_eq!(id, MAX_PAGES as u64);
    assert!(matches!(&end[1], Output::Tools(catalogue) if catalogue.tools.len() == MAX_PAGES));
}

#[test]
fn a_server_without_tools_has_an_empty_list_and_other_errors_are_asked_again() {
    let now = Instant::now();
    let mut session = initialized(now);
    assert_eq!(session.on_frame(&failure(1, -32601, "no tools"), now), [tools(&[])]);

    let mut session = initialized(now);
    let error = RpcError { code: -32000, message: "exited".to_owned(), ours: false };
    assert_eq!(session.on_frame(&failure(1, -32000, "exited"), now), [Output::ToolsFailed(error)]);
    let again = session.wake_at().unwrap();
    assert_eq!(again, now + LIST_AGAIN_AFTER);
    assert_eq!(session.on_time(again), [ask(2, "tools/list")]);
    assert_eq!(session.on_frame(&result(2, json!({"tools": []})), again), [tools(&[])]);
}

#[test]
fn a_list_that_stays_an_error_is_asked_for_less_and_less_often() {
    let mut now = Instant::now();
    let mut session = initialized(now);
    let (mut pauses, mut id) = (Vec::new(), 1);
    for _ in 0..5 {
        session.on_frame(&failure(id, -32000, "no"), now);
        let again = session.listed_again_at().unwrap();
        pauses.push((again - now).as_secs());
        now = again;
        let sent = session.on_time(now);
        let Some(Output::Send(list)) = sent.first() else { panic!("it asks first: {sent:?}") };
        id = serde_json::from_str::<Value>(list).unwrap()["id"].as_u64().unwrap();
    }
    assert_eq!(pauses, [2, 4, 8, 16, 32]);
}

#[test]
fn a_changed_list_is_read_again_also_when_it_changes_while_being_read() {
    const CHANGED: &str = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
    let now = Instant::now();
    let mut session = ready(now);
    assert_eq!(session.on_frame(CHANGED, now), [ask(2, "tools/list")]);
    assert_eq!(session.on_frame(CHANGED, now), []);
    let out = session.on_frame(&result(2, json!({"tools": [{"name": "a"}]})), now);
    assert_eq!(out, [tools(&["a"]), ask(3, "tools/list")]);
    assert_eq!(session.on_frame(&result(3, json!({"tools": []})), now), [tools(&[])]);
}

#[test]
fn calls_come_back_with_their_own_ticket_in_any_order() {
    let now = Instant::now();
    let mut session = ready(now);
    let params = json!({"name": "add", "arguments": {"a": 1}});
    let call = json!({"id": 2, "jsonrpc": "2.0", "method": "tools/call", "params": params});
    assert_eq!(session.request("tools/call", &json!({"name": "add", "arguments": {"a": 1}}), "first"), [frame(&call)]);
    session.request("tools/call", &json!({"name": "add", "arguments": {}}), "second");
    assert_eq!(session.calls_in_flight(), 2);
    let error = RpcError { code: -1, message: "no".to_owned(), ours: false };
    assert_eq!(session.on_frame(&failure(3, -1, "no"), now), [Output::Answer("second", Err(error))]);
    assert_eq!(session.on_frame(&result(2, json!(5)), now), [Output::Answer("first", Ok(json!(5)))]);
    assert!(matches!(session.on_frame(&result(2, json!(5)), now)[..], [Output::Odd(_)]), "a second answer");
    assert_eq!(session.calls_in_flight(), 0);
}

#[test]
fn an_abandoned_call_is_cancelled_once_and_its_late_answer_is_nobodys() {
    let now = Instant::now();
    let mut session = ready(now);
    session.request("tools/call", &json!({"name": "slow", "arguments": {}}), "kept");
    session.request("tools/call", &json!({"name": "slow", "arguments": {}}), "given up");
    let out = session.abandon(|ticket| *ticket == "given up");
    let [Output::Send(cancelled)] = &out[..] else { panic!("{out:?}") };
    let cancelled: Value = serde_json::from_str(cancelled).unwrap();
    assert_eq!(cancelled["method"], "notifications/cancelled");
    assert_eq!(cancelled["params"]["requestId"], 3);
    assert_eq!(session.abandon(|ticket| *ticket == "given up"), []);
    assert!(matches!(session.on_frame(&result(3, json!(1)), now)[..], [Output::Odd(_)]));
    assert_eq!(session.on_frame(&result(2, json!(1)), now), [Output::Answer("kept", Ok(json!(1)))]);
}

#[test]
fn a_servers_own_requests_are_answered_with_its_id_though_it_looks_like_ours() {
    let now = Instant::now();
    let (mut session, _) = Session::<&str>::open(now);
    for (method, id, key, want) in [
        ("ping", json!(0), "result", json!({})),
        ("roots/list", json!("r-1"), "result", json!({"roots": []})),
        ("sampling/createMessage", json!(2), "error", json!(-32601)),
    ] {
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method}).to_string();
        let out = session.on_frame(&request, now);
        let [Output::Send(reply)] = &out[..] else { panic!("{method}: {out:?}") };
        let reply: Value = serde_json::from_str(reply).unwrap();
        assert_eq!(reply["id"], id, "{method}");
        let got = if key == "error" { &reply["error"]["code"] } else { &reply["result"] };
        assert_eq!(*got, want, "{method}");
    }
    assert!(matches!(session.wake_at(), Some(at) if at == now + 10 * SECOND), "initialize is still unanswered");
}

#[test]
fn what_is_no_message_is_named_and_changes_nothing() {
    let now = Instant::now();
    let mut session = ready(now);
    for text in ["", "{", "[]", "null", "\"x\"", "{}", r#"{"id":null,"result":1}"#, r#"{"id":-1,"result":1}"#] {
        assert!(matches!(session.on_frame(text, now)[..], [Output::Odd(_)]), "{text}");
    }
    assert_eq!(session.on_frame(r#"{"jsonrpc":"2.0","method":"notifications/message"}"#, now), []);
    assert!(session.is_open());
}

#[test]
fn what_is_odd_in_an_answer_costs_itself_and_not_the_answer() {
    let now = Instant::now();
    let (mut session, _) = Session::<&str>::open(now);
    let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
    session.on_frame(&format!(r#"{{"id":0,"result":{{"serverInfo":{{"name":"x"}},"a":1e999,"b":{deep}}}}}"#), now);
    assert!(session.is_open());
    let page = |id: u64, name: &str, next: &str| {
        format!(r#"{{"id":{id},"result":{{"tools":[{{"name":"{name}"}}],"nextCursor":{next}}}}}"#)
    };
    let out = session.on_frame(&page(1, "a\\ud83d", "7"), now);
    assert_eq!(out, [frame(&json!({"id": 2, "jsonrpc": "2.0", "method": "tools/list", "params": {"cursor": 7}}))]);
    assert_eq!(session.on_frame(&page(2, "b\tc", "\"\""), now), [tools(&["a\u{fffd}", "b c"])]);
    session.request("tools/call", &json!({"name": "t", "arguments": {}}), "ticket");
    let answer = session.on_frame(r#"{"id":3,"result":{"content":[{"type":"text","text":"\ude00!"}]}}"#, now);
    let want = json!({"content": [{"type": "text", "text": "\u{fffd}!"}]});
    assert_eq!(answer, [Output::Answer("ticket", Ok(want))]);
}
