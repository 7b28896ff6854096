//! A bridge between a router and a modern server, message by message.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use super::*;
use crate::frame::Cut;
use crate::mcp::envelope::{Lost, NotMessage};

mod calls;
mod news;

/// What a bridge did: "S" to the server, "R" to the router, "W" withdrawn.
#[derive(Default)]
struct Recorded {
    all: Vec<(char, Value)>,
    posts: Vec<Post>,
    /// The last question as it was written.
    asked: String,
}

impl Wire for Recorded {
    fn send(&mut self, post: Post) {
        // Not all that a server may say is read by serde.
        self.all.push(('S', serde_json::from_slice(&post.frame).unwrap_or_default()));
        self.posts.push(post);
    }

    fn withdraw(&mut self, number: u64) {
        self.all.push(('W', number.into()));
    }

    fn hand_on(&mut self, found: Found<'_>) {
        self.all.push(match found {
            Found::Message { frame, .. } => ('R', serde_json::from_slice(frame).unwrap()),
            Found::Caused { cause, frame, .. } => {
                let asked: Value = serde_json::from_slice(frame).unwrap();
                self.asked = String::from_utf8(frame.to_vec()).unwrap();
                ('R', json!({"cause": cause, "asked": asked}))
            }
            Found::Modern => ('R', "modern".into()),
            Found::Odd { what, .. } => ('R', json!({"odd": what})),
            Found::Unanswered { id, why } => ('R', json!({"unanswered": String::from_utf8_lossy(id), "why": why})),
            Found::Lost(lost, _) => ('R', json!({"lost": String::from_utf8_lossy(lost.id)})),
            Found::TooLarge(cut) => ('R', json!({"too_large": cut.size})),
            other @ (Found::Noise(_) | Found::Nameless(_) | Found::Renewed | Found::Habit(_)) => panic!("{other:?}"),
        });
    }
}

struct Rig {
    bridge: Bridge,
    wire: Recorded,
    now: Instant,
}

const CAPABILITIES: &str = r#"{"tools":{"listChanged":true},"resources":{"subscribe":true},"logging":{}}"#;

impl Rig {
    /// A bridge that has asked the server what it is.
    fn asked(is_http: bool) -> Self {
        let (bridge, wire) = (
            Bridge::new("srv".into(), is_http, (!is_http).then_some(Duration::from_secs(20)), None),
            Recorded::default(),
        );
        let mut rig = Rig { bridge, wire, now: Instant::now() };
        let hello = json!({"protocolVersion": "2025-06-18", "capabilities": {"elicitation": {}},
            "clientInfo": {"name": "c", "version": "1"}});
        let done = rig.line(json!({"id": 1, "method": "initialize", "params": hello}));
        assert_eq!((done.len(), &done[0].1["method"]), (1, &json!("server/discover")));
        rig
    }

    /// The same, and the server has answered.
    fn open(is_http: bool) -> Self {
        Rig::offered(is_http, CAPABILITIES)
    }

    /// The same of a server that can do this.
    fn offered(is_http: bool, capabilities: &str) -> Self {
        let mut rig = Rig::asked(is_http);
        let capabilities: Value = serde_json::from_str(capabilities).unwrap();
        let done = rig.answer(json!({"supportedVersions": ["2026-07-28"], "capabilities": capabilities, "ttlMs": 0}));
        assert_eq!(rig.bridge.take_verdict(), Some(Verdict::Modern));
        assert_eq!(done[0], ('R', json!("modern")));
        assert_eq!(done[1].1["result"]["protocolVersion"], "2025-06-18");
        assert_eq!(done[1].1["result"]["serverInfo"], json!({"name": "srv", "version": ""}));
        assert_eq!((done.len(), &done[1].1["id"]), (2, &json!(1)));
        rig
    }

    /// The same, and the server gives news.
    fn listening(is_http: bool) -> Self {
        let mut rig = Rig::open(is_http);
        let done = rig.line(json!({"method": "notifications/initialized"}));
        assert_eq!(done[0].1["params"]["notifications"], json!({"toolsListChanged": true}));
        let number = done[0].1["id"].clone();
        assert_eq!(rig.granted(&number, json!({"toolsListChanged": true})), []);
        rig
    }

    /// Finds something in what the server says.
    fn found(&mut self, found: Found<'_>) -> Vec<(char, Value)> {
        self.bridge.on_found(found, self.now, &mut self.wire);
        self.done()
    }

    /// Time passes.
    fn after(&mut self, seconds: u64) -> Vec<(char, Value)> {
        self.now += Duration::from_secs(seconds);
        self.bridge.on_tick(self.now, &mut self.wire);
        self.done()
    }

    /// The number of the last request that the server got.
    fn sent(&self) -> u64 {
        self.wire.posts.last().unwrap().number.unwrap()
    }

    fn done(&mut self) -> Vec<(char, Value)> {
        std::mem::take(&mut self.wire.all)
    }

    fn line(&mut self, mut line: Value) -> Vec<(char, Value)> {
        line["jsonrpc"] = "2.0".into();
        self.bridge.on_line(line.to_string().as_bytes(), self.now, &mut self.wire);
        self.done()
    }

    fn said(&mut self, mut said: Value) -> Vec<(char, Value)> {
        said["jsonrpc"] = "2.0".into();
        let frame = said.to_string();
        let envelope = envelope::scan_one(frame.as_bytes()).unwrap();
        let found = Found::Message { frame: frame.as_bytes(), envelope: &envelope };
        self.bridge.on_found(found, self.now, &mut self.wire);
        self.done()
    }

    /// The server answers the last request that it got.
    fn answer(&mut self, result: Value) -> Vec<(char, Value)> {
        let number = self.sent();
        self.said(json!({"id": number, "result": result}))
    }

    /// The same with a result as it is written.
    fn answer_raw(&mut self, result: &str) -> Vec<(char, Value)> {
        let number = self.sent();
        let frame = format!(r#"{{"jsonrpc":"2.0","id":{number},"result":{result}}}"#);
        let envelope = envelope::scan_one(frame.as_bytes()).unwrap();
        let found = Found::Message { frame: frame.as_bytes(), envelope: &envelope };
        self.bridge.on_found(found, self.now, &mut self.wire);
        self.done()
    }

    fn refuse(&mut self, error: Value) -> Vec<(char, Value)> {
        let number = self.sent();
        self.said(json!({"id": number, "error": error}))
    }

    fn granted(&mut self, number: &Value, granted: Value) -> Vec<(char, Value)> {
        let meta = json!({"io.modelcontextprotocol/subscriptionId": number});
        self.said(json!({"method": "notifications/subscriptions/acknowledged",
            "params": {"_meta": meta, "notifications": granted}}))
    }

    fn call(&mut self, id: u64) -> Vec<(char, Value)> {
        self.line(json!({"id": id, "method": "tools/call",
            "params": {"name": "t", "arguments": {"region": "eu"}, "_meta": {"progressToken": id}}}))
    }

    fn headers(&self) -> Vec<String> {
        let headers = &self.wire.posts.last().unwrap().headers;
        headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
    }
}

fn texts(done: &[(char, Value)]) -> Vec<String> {
    done.iter().map(|(to, what)| format!("{to} {what}")).collect()
}

#[test]
fn whoever_asks_is_named_in_each_request_and_the_result_is_a_legacy_one() {
    let mut rig = Rig::open(false);
    let done = rig.call(7);
    let meta = &done[0].1["params"]["_meta"];
    assert_eq!(meta["io.modelcontextprotocol/clientCapabilities"], json!({"elicitation": {}}));
    assert_eq!((&meta["progressToken"], &done[0].1["id"]), (&json!(7), &json!(7)));
    let done = rig
        .answer(json!({"resultType": "complete", "content": [], "_meta": {"io.modelcontextprotocol/serverInfo": {}}}));
    assert_eq!(done, [('R', json!({"jsonrpc": "2.0", "id": 7, "result": {"content": []}}))]);
    // Another peer asks, and then nobody in particular.
    let told = |rig: &mut Rig, hello: &str| {
        let line = [&[CALLER], hello.as_bytes()].concat();
        rig.bridge.on_line(&line, rig.now, &mut rig.wire);
        rig.call(8)[0].1["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"].clone()
    };
    assert_eq!(told(&mut rig, r#"{"capabilities":{"sampling":{}}}"#), json!({"sampling": {}}));
    assert_eq!(told(&mut rig, ""), json!({"elicitation": {}}));
}

#[test]
fn what_has_no_request_of_its_own_is_answered_here() {
    let mut rig = Rig::open(false);
    let done = rig.line(json!({"id": 2, "method": "logging/setLevel", "params": {"level": "warning"}}));
    assert_eq!(texts(&done), [r#"R {"jsonrpc":"2.0","id":2,"result":{}}"#]);
    assert_eq!(rig.call(3)[0].1["params"]["_meta"]["io.modelcontextprotocol/logLevel"], "warning");
    let done = rig.line(json!({"id": 4, "method": "logging/setLevel", "params": {"level": "loud"}}));
    assert_eq!(done[0].1["error"]["code"], -32602);
    // A ping shows whether the server lives.
    let done = rig.line(json!({"id": 5, "method": "ping"}));
    assert_eq!(done[0].1["method"], "server/discover");
    assert_eq!(texts(&rig.answer(json!({}))), [r#"R {"jsonrpc":"2.0","id":5,"result":{}}"#]);
    for method in ["notifications/roots/list_changed", "notifications/progress"] {
        assert_eq!(rig.line(json!({"method": method, "params": {}})), []);
    }
    // A second handshake costs nothing.
    let done = rig.line(json!({"id": 6, "method": "initialize", "params": {"protocolVersion": "2024-11-05"}}));
    assert_eq!(done[1].1["result"]["protocolVersion"], "2024-11-05");
}

#[test]
fn a_server_of_the_other_era_is_told_by_its_answer() {
    let legacy = |rig: &mut Rig| matches!(rig.bridge.take_verdict(), Some(Verdict::Legacy(_)));
    for code in [-32601, -32602, -32000, -32603] {
        let mut rig = Rig::asked(false);
        assert_eq!(rig.refuse(json!({"code": code, "message": "no"})), []);
        assert!(legacy(&mut rig), "{code}");
    }
    for (data, is_legacy) in [
        (json!({"supported": ["2025-11-25"]}), true),
        (json!({"supported": ["2027-01-01"]}), false),
        (json!({}), false),
    ] {
        let mut rig = Rig::asked(true);
        let done = rig.refuse(json!({"code": -32022, "message": "no", "data": data}));
        assert_eq!((legacy(&mut rig), done.is_empty()), (is_legacy, is_legacy), "{data}");
        assert!(is_legacy || done[0].1["error"]["message"].as_str().is_some(), "{done:?}");
    }
    for result in [json!({}), json!({"supportedVersions": ["2025-06-18"]}), json!({"tools": []})] {
        let mut rig = Rig::asked(false);
        assert_eq!(rig.answer(result.clone()), [], "{result}");
        assert!(legacy(&mut rig), "{result}");
    }
    let mut rig = Rig::asked(false);
    let due = rig.bridge.due().unwrap();
    rig.bridge.on_tick(due, &mut rig.wire);
    assert!(legacy(&mut rig));
    let mut rig = Rig::asked(true);
    assert_eq!(rig.bridge.due(), None, "the exchange has a time of its own");
    rig.bridge.on_found(Found::Unanswered { id: (OWN + 1).to_string().as_bytes(), why: "x" }, rig.now, &mut rig.wire);
    assert!(legacy(&mut rig));
}

#[test]
fn a_question_of_the_server_goes_to_whoever_called_and_the_call_is_sent_again() {
    let mut rig = Rig::open(false);
    rig.call(7);
    let question = json!({"method": "elicitation/create", "params": {"message": "Sure?", "requestedSchema": {}}});
    let wanted = json!({"resultType": "input_required", "requestState": "\u{fc}\"s", "inputRequests": {"a": question, "b\"": question}});
    let done = rig.answer(wanted);
    assert_eq!(done.len(), 2);
    assert_eq!((&done[0].1["cause"], &done[0].1["asked"]["params"]["message"]), (&json!(7), &json!("Sure?")));
    let ids: Vec<Value> = done.iter().map(|(_, asked)| asked["asked"]["id"].clone()).collect();
    assert_eq!(rig.line(json!({"id": ids[1], "result": {"action": "decline"}})), []);
    let done = rig.line(json!({"id": ids[0], "result": {"action": "accept", "content": {"n": 1}}}));
    let again = &done[0].1;
    assert_eq!((again["id"].as_u64() > Some(OWN), &again["params"]["name"]), (true, &json!("t")));
    assert_eq!(again["params"]["requestState"], "\u{fc}\"s");
    assert_eq!(
        again["params"]["inputResponses"],
        json!({"a": {"action": "accept", "content": {"n": 1}}, "b\"": {"action": "decline"}})
    );
    assert_eq!(again["params"]["_meta"]["progressToken"], 7);
    // The answer is under the number that the router knows.
    let done = rig.answer(json!({"resultType": "complete", "content": [1]}));
    assert_eq!(done, [('R', json!({"jsonrpc": "2.0", "id": 7, "result": {"content": [1]}}))]);
    assert_eq!(rig.bridge.kept, 0);
    // One that is only to be asked again.
    rig.call(9);
    let done = rig.answer(json!({"resultType": "input_required", "requestState": "s"}));
    assert_eq!((&done[0].1["params"]["requestState"], done[0].1["params"].get("inputResponses")), (&json!("s"), None));
}

#[test]
fn the_state_of_a_call_goes_back_byte_for_byte_and_is_seen_by_nobody_else() {
    let large = format!("\"{}\"", "s\u{fc}\\n".repeat(20_000));
    let states = [
        r#""""#,
        r#""eyJh.bGci/+=""#,
        "\"\u{fc}\u{1f980}\u{202e}\u{7f}\"",
        r#""\u00fc\u00FC\/\"\\\b\u0000 \ud83e\udd80""#,
        // No text of Rust's, and no UTF-8.
        r#""\ud800""#,
        r#""\udc00\ud800x""#,
        r#""}],{\"requestState\":\"other\"""#,
        &large,
    ];
    for state in states {
        for questions in ["", r#","inputRequests":{"a":{"method":"roots/list"}}"#] {
            let mut rig = Rig::open(false);
            rig.line(
                json!({"id": 7, "method": "tools/call", "params": {"name": "t", "requestState": "the peer's own"}}),
            );
            let mut done =
                rig.answer_raw(&format!(r#"{{"requestState": {state} ,"resultType":"input_required"{questions}}}"#));
            if !questions.is_empty() {
                assert_eq!((done.len(), &done[0].1["asked"]["params"]), (1, &json!({})), "{state}");
                let id = done[0].1["asked"]["id"].clone();
                done.extend(rig.line(json!({"id": id, "result": {"roots": []}})));
            }
            let sent = std::str::from_utf8(&rig.wire.posts.last().unwrap().frame).unwrap();
            assert!(sent.contains(&format!(r#""requestState":{state},"_meta":"#)), "{state}: {sent}");
            assert_eq!(sent.matches("\"requestState\":").count(), 1, "{state}");
            let with_result =
                rig.answer(json!({"resultType": "complete", "content": [1], "requestState": "left over"}));
            let told: Vec<_> = done.iter().chain(&with_result).filter(|(to, _)| *to == 'R').collect();
            assert_eq!(told.len(), 1 + usize::from(!questions.is_empty()), "{state}");
            assert_eq!(told.last().unwrap().1["result"]["content"], json!([1]), "{state}");
            assert_eq!((rig.bridge.kept, rig.bridge.pending.len()), (0, 0), "{state}");
        }
    }
}

#[test]
fn a_state_that_is_none_or_is_refused_is_told_once() {
    for state in ["7", "1e400", "true", "{}", r#"["s"]"#] {
        for questions in ["", r#","inputRequests":{"a":{"method":"roots/list"}}"#] {
            let mut rig = Rig::open(false);
            rig.call(7);
            let done =
                rig.answer_raw(&format!(r#"{{"resultType":"input_required","requestState":{state}{questions}}}"#));
            assert_eq!((done.len(), done[0].0, &done[0].1["id"]), (1, 'R', &json!(7)), "{state}: {done:?}");
            let result = &done[0].1["result"];
            let text = result["content"][0]["text"].as_str().unwrap();
            assert!(result["isError"] == true && text.contains("that is no text (requestState)"), "{state}: {text}");
            assert_eq!((rig.bridge.kept, rig.bridge.pending.len()), (0, 0), "{state}");
        }
    }
    // What is too large to be kept.
    let mut rig = Rig::open(false);
    rig.call(7);
    let done = rig.answer(json!({"resultType": "input_required", "requestState": "s".repeat(MAX_KEPT)}));
    assert!(done.len() == 1 && done[0].1["result"]["isError"] == true, "{:?}", done[0].0);
    // None is as good as left out.
    rig.call(8);
    let question = json!({"a": {"method": "roots/list"}});
    let done = rig.answer(json!({"resultType": "input_required", "requestState": null, "inputRequests": question}));
    let done = rig.line(json!({"id": done[0].1["asked"]["id"], "result": {"roots": []}}));
    assert_eq!(done[0].1["params"].get("requestState"), None);
    // The server does not take back what it gave, as somebody has changed it, say.
    for method in ["tools/call", "prompts/get", "resources/read"] {
        let mut rig = Rig::open(false);
        rig.line(json!({"id": 7, "method": method, "params": {"name": "t", "uri": "u"}}));
        rig.answer(json!({"resultType": "input_required", "requestState": "s"}));
        let error = json!({"code": -32602, "message": "bad state", "data": {"reason": "invalid_request_state"}});
        let done = rig.refuse(error.clone());
        assert_eq!(done, [('R', json!({"jsonrpc": "2.0", "id": 7, "error": error}))], "{method}");
        assert_eq!((rig.bridge.kept, rig.bridge.pending.len()), (0, 0), "{method}");
    }
}

#[test]
fn a_question_that_can_t_be_answered_ends_its_call_in_words() {
    let refused = |method: &str, asked: Value, code: i32| {
        let mut rig = Rig::open(false);
        rig.line(json!({"id": 7, "method": method, "params": {"name": "t", "uri": "u"}}));
        let done = rig.answer(json!({"resultType": "input_required", "inputRequests": {"a": asked, "b": asked}}));
        if !done[0].1["cause"].is_null() {
            let id = done[0].1["asked"]["id"].clone();
            let done = rig.line(json!({"id": id, "error": {"code": code, "message": "later"}}));
            // The other question is taken back.
            assert_eq!(done[0].1["method"], "notifications/cancelled");
            assert_eq!(rig.bridge.kept, 0);
            return done[1].1.clone();
        }
        done.last().unwrap().1.clone()
    };
    let question = json!({"method": "elicitation/create", "params": {"message": "Sure?"}});
    let done = refused("tools/call", question.clone(), -32601);
    let text = done["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("can't give (elicitation/create): \"Sure?\""), "{text}");
    assert_eq!(done["result"]["isError"], true);
    let done = refused("prompts/get", question.clone(), -32000);
    assert_eq!(done["error"]["code"], -32603);
    assert!(done["error"]["message"].as_str().unwrap().contains("there was no answer: later"), "{done}");
    // Nobody is asked what no client knows, nor for a page that the client can't show.
    let done = refused("tools/call", json!({"method": "shell/run", "params": {}}), 0);
    assert!(done["result"]["isError"] == true, "{done}");
    let page =
        json!({"method": "elicitation/create", "params": {"mode": "url", "url": "https://h", "message": "Log in"}});
    let done = refused("tools/call", page, 0);
    assert!(done["result"]["content"][0]["text"].as_str().unwrap().contains("Log in"), "{done}");
}

#[test]
fn rounds_of_questions_and_what_is_kept_for_them_are_bounded() {
    let mut rig = Rig::open(false);
    rig.call(7);
    let mut rounds = 0;
    loop {
        let done = rig.answer(json!({"resultType": "input_required", "requestState": "s"}));
        if done[0].0 == 'R' {
            assert_eq!(done[0].1["result"]["isError"], true);
            break;
        }
        rounds += 1;
    }
    assert_eq!(rounds, 10);
    let large = "x".repeat(MAX_KEPT);
    rig.line(json!({"id": 8, "method": "tools/call", "params": {"name": "t", "arguments": {"a": large}}}));
    let done = rig.answer(json!({"resultType": "input_required", "requestState": "s"}));
    assert!(done[0].1["result"]["content"][0]["text"].as_str().unwrap().contains("too large"), "{done:?}");
}

#[test]
fn a_cancelled_call_ends_at_the_server_and_so_do_its_questions() {
    let cancel = |id: u64| json!({"method": "notifications/cancelled", "params": {"requestId": id}});
    let mut rig = Rig::open(false);
    rig.call(7);
    let done = rig.line(cancel(7));
    assert_eq!(done[0].1["params"]["requestId"], 7);
    assert_eq!(rig.line(cancel(7)), []);
    let mut rig = Rig::open(true);
    rig.call(7);
    assert_eq!(texts(&rig.line(cancel(7))), ["W 7"]);
    rig.call(8);
    let question = json!({"method": "roots/list"});
    let done = rig.answer(json!({"resultType": "input_required", "inputRequests": {"a": question}}));
    let id = done[0].1["asked"]["id"].clone();
    let done = rig.line(cancel(8));
    assert_eq!((done.len(), &done[0].1["params"]["requestId"]), (1, &id));
    assert_eq!(rig.line(json!({"id": id, "result": {}})), [], "its answer comes too late");
    assert_eq!(rig.bridge.kept, 0);
}

#[test]
fn errors_are_those_of_the_legacy_era() {
    let mut rig = Rig::open(false);
    let ask = |rig: &mut Rig, method: &str, error: Value| {
        rig.line(json!({"id": 7, "method": method, "params": {"name": "t", "uri": "u"}}));
        rig.refuse(error).pop().unwrap().1
    };
    let missing = json!({"code": -32602, "message": "none", "data": {"uri": "u"}});
    assert_eq!(ask(&mut rig, "resources/read", missing.clone())["error"]["code"], -32002);
    assert_eq!(ask(&mut rig, "prompts/get", missing)["error"]["code"], -32602);
    let plain = json!({"code": -32602, "message": "bad state", "data": {"reason": "invalid_request_state"}});
    assert_eq!(ask(&mut rig, "resources/read", plain.clone())["error"], plain);
    let needs =
        json!({"code": -32021, "message": "no", "data": {"requiredCapabilities": {"elicitation": {"form": {}}}}});
    let done = ask(&mut rig, "tools/call", needs.clone());
    assert!(done["result"]["content"][0]["text"].as_str().unwrap().contains("can do elicitation"), "{done}");
    assert_eq!(ask(&mut rig, "prompts/get", needs.clone())["error"]["code"], -32603);
    // A peer of this era knows what to make of it.
    let told = |rig: &mut Rig, hello: &str| {
        rig.bridge.on_line(&[&[CALLER], hello.as_bytes()].concat(), rig.now, &mut rig.wire);
    };
    told(&mut rig, r#"{"_meta":{"mcp-pipe/era":"modern"}}"#);
    assert_eq!(ask(&mut rig, "tools/call", needs.clone())["error"], needs);
    rig.call(8);
    let done = rig.answer(json!({"resultType": "complete", "structuredContent": [1]}));
    assert_eq!(done[0].1["result"], json!({"structuredContent": [1]}));
    rig.call(8);
    let question = json!({"method": "roots/list", "params": {"_meta": {"x": 1}}});
    let done = rig.answer(json!({"resultType": "input_required", "inputRequests": {"a\"b": question}}));
    assert_eq!(done[0].1["asked"]["params"], json!({"_meta": {"x": 1, "mcp-pipe/key": "a\"b"}}));
    told(&mut rig, "");
    let done = ask(&mut rig, "tools/call", json!({"code": -32022, "message": "no"}));
    assert_eq!((&done["error"]["code"], rig.bridge.take_verdict()), (&json!(-32000), Some(Verdict::Surprise)));
    rig.call(9);
    let done = rig.answer(json!({"resultType": "task", "taskId": "1"}));
    assert!(done[0].1["error"]["message"].as_str().unwrap().contains("task"), "{done:?}");
}

#[test]
fn news_are_asked_for_once_and_again_for_each_other_wish() {
    let mut rig = Rig::listening(false);
    let news = json!({"method": "notifications/tools/list_changed", "params": {"_meta": {"x": 1}}});
    assert_eq!(texts(&rig.said(news)), [r#"R {"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#]);
    let done = rig.line(json!({"id": 5, "method": "resources/subscribe", "params": {"uri": "a"}}));
    assert_eq!(done[0].1["params"]["notifications"], json!({"toolsListChanged": true, "resourceSubscriptions": ["a"]}));
    let first = done[0].1["id"].clone();
    // Another wish meanwhile waits for its turn.
    assert_eq!(rig.line(json!({"id": 6, "method": "resources/subscribe", "params": {"uri": "b"}})), []);
    let done = rig.granted(&first, json!({"resourceSubscriptions": ["a"]}));
    assert_eq!(done[0].1["method"], "notifications/cancelled", "the one before ends");
    assert_eq!(done[1].1, json!({"jsonrpc": "2.0", "id": 5, "result": {}}));
    assert_eq!(done[2].1["params"]["notifications"]["resourceSubscriptions"], json!(["a", "b"]));
    let second = done[2].1["id"].clone();
    // The server grants no more than before.
    let done = rig.granted(&second, json!({"resourceSubscriptions": ["a"]}));
    assert_eq!((&done[1].1["id"], &done[1].1["error"]["code"]), (&json!(6), &json!(-32602)));
    assert_eq!(
        rig.line(json!({"id": 7, "method": "resources/subscribe", "params": {"uri": "a"}}))[0].1["result"],
        json!({})
    );
    let done = rig.line(json!({"id": 8, "method": "resources/unsubscribe", "params": {"uri": "a"}}));
    assert_eq!(done[0].1["result"], json!({}));
    assert_eq!(done[1].1["params"]["notifications"], json!({"toolsListChanged": true}));
}

#[test]
fn news_that_were_lost_are_asked_for_later_and_later_and_count_as_changes() {
    let mut rig = Rig::listening(true);
    let number = rig.wire.posts.last().unwrap().number.unwrap();
    rig.bridge.on_found(Found::Unanswered { id: number.to_string().as_bytes(), why: "cut" }, rig.now, &mut rig.wire);
    assert_eq!(rig.done(), []);
    for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
        assert_eq!(rig.bridge.listening.due(), Some(rig.now + Duration::from_secs(seconds)));
        rig.now += Duration::from_secs(seconds);
        rig.bridge.on_tick(rig.now, &mut rig.wire);
        let number = rig.done().pop().unwrap().1["id"].as_u64().unwrap();
        rig.bridge.on_found(
            Found::Unanswered { id: number.to_string().as_bytes(), why: "cut" },
            rig.now,
            &mut rig.wire,
        );
    }
    rig.now += Duration::from_secs(60);
    rig.bridge.on_tick(rig.now, &mut rig.wire);
    let number = rig.done().pop().unwrap().1["id"].clone();
    let done = rig.granted(&number, json!({}));
    assert_eq!(done[0].1["method"], "notifications/tools/list_changed", "{done:?}");
    // The server itself ends it: soon, and after a while.
    let done = rig.said(json!({"id": number, "result": {}}));
    assert!(done.is_empty() && rig.bridge.listening.due() == Some(rig.now + Duration::from_secs(60)), "{done:?}");
    rig.now += Duration::from_secs(60);
    rig.bridge.on_tick(rig.now, &mut rig.wire);
    let number = rig.done().pop().unwrap().1["id"].clone();
    rig.granted(&number, json!({}));
    rig.now += Duration::from_secs(60);
    rig.said(json!({"id": number, "result": {}}));
    assert_eq!(rig.bridge.listening.due(), Some(rig.now + Duration::from_secs(1)));
}

#[test]
fn a_server_that_knows_no_news_is_not_asked_again() {
    let mut rig = Rig::open(false);
    rig.line(json!({"method": "notifications/initialized"}));
    assert_eq!(rig.refuse(json!({"code": -32601, "message": "no"})), []);
    assert_eq!(rig.bridge.due(), None);
    let done = rig.line(json!({"id": 5, "method": "resources/subscribe", "params": {"uri": "a"}}));
    assert_eq!((done.len(), &done[0].1["error"]["code"]), (1, &json!(-32601)));
}

#[test]
fn over_http_arguments_are_repeated_and_bad_tools_are_left_out() {
    let mut rig = Rig::open(true);
    rig.line(json!({"id": 2, "method": "tools/list"}));
    let schema = |annotated: Value| json!({"type": "object", "properties": {"region": annotated}});
    let done = rig.answer(json!({"resultType": "complete", "ttlMs": 3, "tools": [
        {"name": "t", "inputSchema": schema(json!({"type": "string", "x-mcp-header": "Region"})), "outputSchema": {"type": "array"}},
        {"name": "bad", "inputSchema": schema(json!({"type": "number", "x-mcp-header": "Region"}))},
    ]}));
    assert!(done[0].1["odd"].as_str().unwrap().contains("\"bad\""), "{done:?}");
    let result = &done[1].1["result"];
    assert_eq!((result["tools"].as_array().unwrap().len(), &result["ttlMs"]), (1, &json!(3)));
    assert_eq!(result["tools"][0].get("outputSchema"), None);
    rig.call(3);
    assert_eq!(rig.headers(), ["mcp-method: tools/call", "mcp-name: t", "mcp-param-region: eu"]);
    rig.line(json!({"id": 4, "method": "resources/read", "params": {"uri": "file:///\u{fc}"}}));
    assert_eq!(rig.headers(), ["mcp-method: resources/read", "mcp-name: =?base64?ZmlsZTovLy/DvA==?="]);
}

#[test]
fn a_call_whose_headers_are_outdated_is_sent_once_more_after_a_new_list() {
    let mut rig = Rig::open(true);
    let mismatch = json!({"code": -32020, "message": "header Mcp-Param-Region is missing"});
    rig.call(3);
    assert_eq!(rig.headers(), ["mcp-method: tools/call", "mcp-name: t"]);
    let done = rig.refuse(mismatch.clone());
    assert_eq!((done.len(), &done[0].1["method"]), (1, &json!("tools/list")));
    let done = rig.answer(json!({"tools": [], "nextCursor": "2"}));
    assert_eq!(done[0].1["params"]["cursor"], "2");
    let tool =
        json!({"name": "t", "inputSchema": {"properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}});
    let done = rig.answer(json!({"tools": [tool]}));
    assert_eq!(done[0].1["method"], "tools/call");
    assert_eq!(rig.headers(), ["mcp-method: tools/call", "mcp-name: t", "mcp-param-region: eu"]);
    let done = rig.refuse(mismatch);
    assert_eq!((&done[0].1["id"], &done[0].1["error"]["code"]), (&json!(3), &json!(-32000)));
    assert_eq!(rig.bridge.kept, 0);
}

#[test]
fn an_answer_that_can_t_be_read_ends_its_request_under_the_routers_number() {
    let mut rig = Rig::open(true);
    rig.call(7);
    let done = rig.found(Found::Unanswered { id: b"7", why: "is gone" });
    assert_eq!(texts(&done), [r#"R {"unanswered":"7","why":"is gone"}"#]);
    rig.call(8);
    rig.answer(json!({"resultType": "input_required", "requestState": "s"}));
    let number = rig.sent().to_string();
    let done = rig.found(Found::Unanswered { id: number.as_bytes(), why: "is gone" });
    assert_eq!(texts(&done), [r#"R {"unanswered":"8","why":"is gone"}"#]);
}

#[test]
fn a_server_over_http_that_gives_no_news_is_asked_now_and_then_whether_it_is_there() {
    let mut rig = Rig::open(true);
    let first = rig.bridge.due().unwrap();
    assert_eq!(first, rig.now + Duration::from_secs(60));
    for _ in 0..2 {
        rig.now = rig.bridge.due().unwrap();
        rig.bridge.on_tick(rig.now, &mut rig.wire);
        assert_eq!(rig.done()[0].1["method"], "server/discover");
        assert_eq!(rig.wire.posts.last().unwrap().kind, PostKind::Request);
        assert_eq!(rig.answer(json!({})), []);
    }
    // A stream that stands tells it by itself, and a process by its end.
    assert_eq!(Rig::listening(true).bridge.due(), None);
    assert_eq!(Rig::open(false).bridge.due(), None);
}

#[test]
fn wishes_that_nobody_waits_for_are_forgotten_and_what_is_followed_is_bounded() {
    let mut rig = Rig::listening(false);
    let done = rig.line(json!({"id": 5, "method": "resources/subscribe", "params": {"uri": "a"}}));
    let number = done[0].1["id"].clone();
    rig.line(json!({"method": "notifications/cancelled", "params": {"requestId": 5}}));
    let done = rig.granted(&number, json!({"resourceSubscriptions": ["a"]}));
    assert!(done.iter().all(|(_, what)| what["id"] != 5) && rig.bridge.listening_to().is_empty(), "{done:?}");
    let long = "x".repeat(2049);
    let done = rig.line(json!({"id": 6, "method": "resources/subscribe", "params": {"uri": long}}));
    assert_eq!(done[0].1["error"]["code"], -32602);
}

#[test]
fn a_server_that_never_grants_news_keeps_nobody_waiting() {
    let mut rig = Rig::open(true);
    rig.line(json!({"method": "notifications/initialized"}));
    rig.line(json!({"id": 5, "method": "resources/subscribe", "params": {"uri": "a"}}));
    rig.now = rig.bridge.listening.due().unwrap();
    rig.bridge.on_tick(rig.now, &mut rig.wire);
    let done = rig.done();
    assert_eq!((done[0].0, &done[1].1["error"]["code"]), ('W', &json!(-32601)), "{done:?}");
    assert!(rig.bridge.listening.due() > Some(rig.now));
}

#[test]
fn of_many_bad_tools_some_are_told() {
    let mut rig = Rig::open(true);
    rig.line(json!({"id": 2, "method": "tools/list"}));
    let tools: Vec<Value> =
        (0..20_000).map(|n| json!({"name": format!("t{n}"), "inputSchema": {"x-mcp-header": 1}})).collect();
    let done = rig.answer(json!({"resultType": "complete", "tools": tools}));
    assert_eq!((done.len(), &done[1].1["result"]["tools"]), (2, &json!([])));
    assert!(done[0].1["odd"].as_str().unwrap().contains("so do 19997 more"), "{}", done[0].1);
}

#[test]
fn what_a_server_logs_about_a_call_is_told_with_that_calls_number() {
    let mut rig = Rig::open(true);
    rig.call(7);
    rig.answer(json!({"resultType": "input_required", "requestState": "s"}));
    let sent = rig.wire.posts.last().unwrap().number.unwrap();
    let frame = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}"#;
    let envelope = envelope::scan_one(frame.as_bytes()).unwrap();
    for cause in [sent, 99] {
        let found = Found::Caused { cause, frame: frame.as_bytes(), envelope: &envelope };
        rig.bridge.on_found(found, rig.now, &mut rig.wire);
    }
    let done = rig.done();
    assert!(done.len() == 1 && done[0].1["cause"] == 7, "{done:?}");
}
