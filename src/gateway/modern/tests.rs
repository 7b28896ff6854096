//! Requests of the modern era without a socket, in front of a pipe that is played.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;

use super::*;
use crate::config::{ApiKeySpec, GatewaySpec, sha256};
use crate::control::status::Status;
use crate::gateway::tests::{servers, spec};
use crate::gateway::{Gateway, Survival};
use crate::passage::Passage;
use crate::pipe::orders::PipeOrder;
use crate::pipe::reception::Reception;

const HANG: Duration = Duration::from_secs(400);

/// What the pipe has heard, each line with the number of its guest; `null`: that guest is gone.
type Heard = mpsc::UnboundedReceiver<(usize, Value)>;

fn gateway() -> (Arc<Gateway>, Heard) {
    gateway_of(spec())
}

fn gateway_of(spec: GatewaySpec) -> (Arc<Gateway>, Heard) {
    let (pipe, mut orders) = mpsc::channel::<Box<PipeOrder>>(4);
    let (told, heard) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut number = 0;
        while let Some(order) = orders.recv().await {
            if let PipeOrder::ShowGuests { .. } = *order {
                continue;
            }
            let PipeOrder::Receive(_, arrival, reply) = *order else { panic!("nothing else is ordered") };
            let _gone = reply.send(());
            number += 1;
            tokio::spawn(play(arrival.lines, number, told.clone()));
        }
    });
    let servers = servers(&["calc", "clock"]);
    let (reception, status) = (Reception::of(pipe), Status::default());
    (Arc::new(Gateway::new(&Arc::new(spec), &servers, reception, status, Survival::default())), heard)
}

/// What a peer of a router is told, more or less.
async fn play(lines: Passage, number: usize, told: mpsc::UnboundedSender<(usize, Value)>) {
    let (from, mut to) = tokio::io::split(lines);
    let mut from = BufReader::new(from).lines();
    let mut call = Value::Null;
    while let Ok(Some(line)) = from.next_line().await {
        let message: Value = serde_json::from_str(&line).unwrap();
        let _nobody_looks = told.send((number, message.clone()));
        let id = message["id"].clone();
        let params = &message["params"];
        let answer = |result: Value| json!({"jsonrpc": "2.0", "id": id, "result": result});
        let error = |error: Value| json!({"jsonrpc": "2.0", "id": id, "error": error});
        let question = |id: &str, method: &str, params: Value| json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let form = || {
            question(
                "q1",
                "elicitation/create",
                json!({"message": "sure?", "requestedSchema": {}, "_meta": {"progressToken": "q1"}}),
            )
        };
        let said = match (message["method"].as_str(), params["name"].as_str().or(params["uri"].as_str())) {
            (Some("initialize"), _) if params["clientInfo"]["name"] == "unwelcome" => {
                vec![error(json!({"code": -32000, "message": "no server answers", "data": {"from": "mcp-pipe"}}))]
            }
            (Some("initialize"), _) => vec![answer(json!({
                "protocolVersion": "2025-11-25",
                "capabilities": {"tools": {"listChanged": true}, "resources": {"subscribe": true}, "logging": {}, "tasks": {}},
                "serverInfo": {"name": "pipe", "version": "1"}, "instructions": "do",
            }))],
            (Some("tools/list"), _) => vec![answer(json!({"tools": [{"name": "at", "inputSchema": {
                "type": "object", "properties": {"n": {"type": "integer", "x-mcp-header": "N"}},
            }}]}))],
            (Some("tools/call"), Some("ask" | "two" | "sample" | "noisy" | "hang")) => {
                call = id.clone();
                let token = &params["_meta"]["progressToken"];
                let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": token, "progress": 1}});
                let log = |level: &str| json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": level, "data": level}});
                match params["name"].as_str() {
                    Some("ask") => vec![progress, form()],
                    Some("two") => vec![form(), question("q2", "roots/list", json!({}))],
                    Some("sample") => {
                        vec![question("q1", "sampling/createMessage", json!({"messages": [], "tools": []}))]
                    }
                    Some("noisy") => vec![
                        log("debug"),
                        progress,
                        log("error"),
                        json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}),
                        answer(json!({"content": []})),
                    ],
                    _ => vec![],
                }
            }
            (Some("tools/call"), Some("url")) => {
                vec![error(json!({"code": -32042, "message": "go", "data": {"elicitations": [
                    {"mode": "url", "elicitationId": "e1", "url": "https://a.example/", "message": "sign"},
                ]}}))]
            }
            (Some("tools/call"), Some("named")) => {
                call = id.clone();
                vec![question("q9", "roots/list", json!({"_meta": {"mcp-pipe/key": "own"}}))]
            }
            (Some("tools/call"), Some("die")) => return,
            (Some("resources/read"), Some("a://no")) => vec![error(json!({"code": -32002, "message": "no such"}))],
            (Some("resources/subscribe"), Some("a://no")) => vec![error(json!({"code": -32602, "message": "no such"}))],
            (Some("resources/subscribe"), Some(uri)) => {
                let news = |method: &str, params: Value| json!({"jsonrpc": "2.0", "method": method, "params": params});
                vec![
                    news("notifications/resources/updated", json!({"uri": uri, "_meta": {"a": 1}})),
                    news("notifications/resources/updated", json!({"uri": "a://other"})),
                    news("notifications/prompts/list_changed", json!({})),
                    news("notifications/message", json!({"level": "error"})),
                    news("notifications/tools/list_changed", json!({})),
                    answer(json!({})),
                ]
            }
            (Some("nobody/knows"), _) => vec![error(json!({"code": -32601, "message": "method not found"}))],
            (Some("logging/setLevel"), _) => vec![answer(json!({}))],
            (Some(method), _) if !id.is_null() => vec![answer(json!({"of": method, "params": params}))],
            (None, _) if !call.is_null() => {
                let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": "t1", "progress": 2}});
                match (&message["id"], &message["result"]["again"]) {
                    // The first of two is not the last one.
                    (Value::String(first), again) if first == "q1" && *again == "two" => vec![],
                    (_, again) if *again == "more" => {
                        vec![question(
                            "q3",
                            "elicitation/create",
                            json!({"message": "really?", "_meta": {"mcp-pipe/key": "own", "x": 1}}),
                        )]
                    }
                    (_, _) => {
                        vec![progress, json!({"jsonrpc": "2.0", "id": call, "result": {"told": message["result"]}})]
                    }
                }
            }
            (Some(_) | None, _) => vec![],
        };
        for message in said {
            if to.write_all(format!("{message}\n").as_bytes()).await.is_err() {
                break;
            }
        }
    }
    let _nobody_looks = told.send((number, Value::Null));
}

/// A request of a modern client.
#[derive(Clone)]
struct Ask {
    method: &'static str,
    path: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Value,
}

/// A request with all that belongs to it.
fn ask(id: impl Into<Value>, method: &'static str, params: Value) -> Ask {
    let mut params = params;
    let own = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "c", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}, "roots": {}, "extensions": {"a/b": {}}},
    });
    let mut meta = params["_meta"].take();
    match meta.as_object_mut() {
        Some(meta) => meta.extend(own.as_object().unwrap().clone()),
        None => meta = own,
    }
    let about = params["name"].as_str().or(params["uri"].as_str()).map(str::to_owned);
    params["_meta"] = meta;
    let mut headers = vec![
        ("host", "localhost".to_owned()),
        ("content-type", "application/json".to_owned()),
        ("accept", "application/json, text/event-stream".to_owned()),
        ("mcp-protocol-version", "2026-07-28".to_owned()),
        ("mcp-method", method.to_owned()),
    ];
    headers.extend(about.map(|about| ("mcp-name", about)));
    Ask {
        method: "POST",
        path: "/mcp",
        headers,
        body: json!({"jsonrpc": "2.0", "id": id.into(), "method": method, "params": params}),
    }
}

fn call(id: impl Into<Value>, tool: &str) -> Ask {
    ask(id, "tools/call", json!({"name": tool, "arguments": {"n": 1}, "_meta": {"progressToken": "t1"}}))
}

impl Ask {
    /// With another value of a header, or without it.
    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        if !value.is_empty() {
            self.headers.push((name, value.to_owned()));
        }
        self
    }

    /// With another value in the body, or without it.
    fn set(mut self, path: &[&str], value: Value) -> Self {
        let (last, first) = path.split_last().unwrap();
        let inner = first.iter().fold(&mut self.body, |inner, name| &mut inner[name]).as_object_mut().unwrap();
        if value.is_null() {
            inner.remove(*last);
        } else {
            inner.insert((*last).to_owned(), value);
        }
        self
    }

    fn at(self, path: &'static str) -> Self {
        Ask { path, ..self }
    }

    fn can(self, capabilities: Value) -> Self {
        self.set(&["params", "_meta", "io.modelcontextprotocol/clientCapabilities"], capabilities)
    }

    async fn send(self, gateway: &Gateway) -> Answer {
        let mut request = Request::builder().method(self.method).uri(self.path);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let body = if self.body.is_null() { String::new() } else { self.body.to_string() };
        let body = Full::new(Bytes::from(body));
        tokio::time::timeout(HANG, gateway.answer(request.body(body).unwrap())).await.unwrap()
    }

    /// The status, and the answer as JSON.
    async fn told(self, gateway: &Gateway) -> (u16, Value) {
        let answer = self.send(gateway).await;
        let status = answer.status().as_u16();
        let body = whole(answer).await;
        (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
    }
}

async fn whole(answer: Answer) -> String {
    let body = tokio::time::timeout(HANG, answer.into_body().collect()).await.unwrap().unwrap();
    String::from_utf8(body.to_bytes().to_vec()).unwrap()
}

/// The messages of a whole stream.
async fn events(answer: Answer) -> Vec<Value> {
    let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
    let whole = whole(answer).await;
    assert_eq!(kind, "text/event-stream", "{whole}");
    let data = |event: &str| event.lines().find_map(|line| line.strip_prefix("data: ").map(str::to_owned));
    whole.split("\n\n").filter_map(data).map(|data| serde_json::from_str(&data).unwrap()).collect()
}

/// The next piece of a stream.
async fn piece(answer: &mut Answer) -> Option<String> {
    let frame = tokio::time::timeout(HANG, answer.body_mut().frame()).await.unwrap()?;
    Some(String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap())
}

/// What the pipe hears of a guest until that is gone.
async fn until_gone(heard: &mut Heard, guest: usize) -> Vec<Value> {
    let mut all = Vec::new();
    loop {
        let (number, line) = tokio::time::timeout(HANG, heard.recv()).await.unwrap().unwrap();
        if number == guest && line.is_null() {
            return all;
        }
        if number == guest {
            all.push(line);
        }
    }
}

const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";

#[tokio::test]
async fn each_request_is_a_short_conversation_of_its_own() {
    let (gateway, mut heard) = gateway();
    let meta = json!({"progressToken": 7, "traceparent": "x", "io.modelcontextprotocol/logLevel": "error"});
    let request = ask("a", "prompts/list", json!({"cursor": "2", "inputResponses": {}, "_meta": meta}));
    // A session of the other era means nothing here.
    let (status, told) = request.with("mcp-session-id", "nonsense").told(&gateway).await;
    assert_eq!(status, 200);
    let result = json!({
        "resultType": "complete", "of": "prompts/list",
        "params": {"cursor": "2", "_meta": {"progressToken": 7, "traceparent": "x"}},
        "ttlMs": 0, "cacheScope": "private", "_meta": {SERVER_INFO: {"name": "pipe", "version": "1"}},
    });
    assert_eq!(told, json!({"jsonrpc": "2.0", "id": "a", "result": result}));
    let said = until_gone(&mut heard, 1).await;
    let methods: Vec<_> = said.iter().map(|line| line["method"].as_str().unwrap()).collect();
    assert_eq!(methods, ["initialize", "notifications/initialized", "logging/setLevel", "prompts/list"]);
    assert_eq!(
        said[0]["params"],
        json!({
            "protocolVersion": "2025-11-25", "capabilities": {"elicitation": {}, "roots": {}},
            "clientInfo": {"name": "c", "version": "1"}, "_meta": {"mcp-pipe/era": "modern"},
        })
    );
    assert_eq!(said[2]["params"], json!({"level": "error"}));
    // Equal ids in flight are nothing to each other.
    let both = futures_util::future::join(call(1, "echo").told(&gateway), call(1, "echo").told(&gateway)).await;
    assert_eq!(both.0, both.1);
    assert_eq!((both.0.0, &both.0.1["id"], &both.0.1["result"]["of"]), (200, &json!(1), &json!("tools/call")));
    assert!(both.0.1["result"].get("ttlMs").is_none());
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_told_as_the_specification_says() {
    let (gateway, mut heard) = gateway();
    let list = || ask(1, "tools/list", json!({}));
    let version = ["params", "_meta", "io.modelcontextprotocol/protocolVersion"];
    let of = |name: &'static str| ["params", "_meta", name];
    let caps = of("io.modelcontextprotocol/clientCapabilities");
    let info = of("io.modelcontextprotocol/clientInfo");
    let level = of("io.modelcontextprotocol/logLevel");
    let rows = [
        (200, 0, list()),
        (200, 0, list().set(&info, Value::Null)),
        (200, 0, list().with("accept", "application/json")),
        (200, 0, list().with("mcp-method", " tools/list ")),
        (400, -32602, list().set(&["params"], Value::Null)),
        (400, -32602, list().set(&["params", "_meta"], Value::Null)),
        (400, -32602, list().set(&version, Value::Null)),
        (400, -32602, list().set(&caps, Value::Null)),
        (400, -32602, list().set(&caps, json!([]))),
        (400, -32602, list().set(&info, json!("c"))),
        (400, -32602, list().set(&level, json!("loud"))),
        (400, -32020, list().with("mcp-protocol-version", "")),
        (400, -32020, list().with("mcp-protocol-version", "2025-11-25")),
        (400, -32020, list().with("mcp-protocol-version", "2027-01-01")),
        (400, -32020, list().set(&version, json!("2025-11-25"))),
        (400, -32022, list().set(&version, json!("v9")).with("mcp-protocol-version", "v9")),
        (400, -32022, list().set(&version, json!("2025-11-25")).with("mcp-protocol-version", "2025-11-25")),
        (400, -32020, list().with("mcp-method", "")),
        (400, -32020, list().with("mcp-method", "Tools/list")),
        (400, -32020, call(1, "echo").with("mcp-name", "")),
        (400, -32020, call(1, "echo").with("mcp-name", "Echo")),
        (400, -32020, call(1, "echo").with("mcp-name", "=?base64?ZWNobw?=")),
        (400, -32020, call(1, "echo").set(&["params", "name"], Value::Null)),
        (200, 0, call(1, "echo").with("mcp-name", "=?base64?ZWNobw==?=")),
        (400, -32020, ask(1, "resources/read", json!({"uri": "a://b"})).with("mcp-name", "a://c")),
        (404, -32601, ask(1, "initialize", json!({}))),
        (404, -32601, ask(1, "ping", json!({}))),
        (404, -32601, ask(1, "logging/setLevel", json!({"level": "info"}))),
        (404, -32601, ask(1, "resources/subscribe", json!({"uri": "a://b"}))),
        (404, -32601, ask(1, "resources/unsubscribe", json!({"uri": "a://b"}))),
        (404, -32601, ask(1, "tasks/list", json!({}))),
        (404, -32601, ask(1, "nobody/knows", json!({}))),
        (202, 0, list().set(&["id"], Value::Null)),
        (406, -32600, ask(1, "subscriptions/listen", json!({"notifications": {}})).with("accept", "application/json")),
        (200, -32602, ask(1, "subscriptions/listen", json!({}))),
        (503, -32603, list().set(&info, json!({"name": "unwelcome"}))),
        (502, -32603, call(1, "die")),
        (404, 0, list().at("/mcp/none")),
        (405, -32600, Ask { method: "GET", ..list() }),
        (405, -32600, Ask { method: "DELETE", ..list() }),
        (400, -32600, Ask { body: json!([list().body]), ..list() }),
        (400, -32600, Ask { body: json!({"jsonrpc": "2.0", "id": 1, "result": {}}), ..list() }),
        (400, -32600, Ask { body: json!({"jsonrpc": "2.0", "id": 1}), ..list() }),
        // The other era: with a header of this one it begins all the same.
        (
            200,
            0,
            Ask {
                body: json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-06-18"}}),
                ..list()
            },
        ),
        (
            400,
            -32600,
            Ask { body: json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}), ..list() }
                .with("mcp-protocol-version", ""),
        ),
    ];
    for (at, (status, code, ask)) in rows.into_iter().enumerate() {
        let (id, body) = (ask.body["id"].clone(), ask.body.clone());
        let (got, told) = ask.told(&gateway).await;
        assert_eq!(
            (got, told["error"]["code"].as_i64().unwrap_or_default()),
            (status, code),
            "row {at}: {told} to {body}"
        );
        if !told["error"].is_null() && (code != -32600 || status == 406) {
            assert_eq!(told["id"], id, "row {at}: {told}");
        }
    }
    let raw = |body: &str| {
        let list = list();
        let mut request = Request::builder().method("POST").uri("/mcp");
        for (name, value) in list.headers {
            request = request.header(name, value);
        }
        request.body(Full::new(Bytes::from(body.to_owned()))).unwrap()
    };
    let answer = gateway.answer(raw(r#"{"jsonrpc":"2.0","id":null,"method":"tools/list","params":{}}"#)).await;
    assert_eq!(answer.status(), 400);
    // Written in another way it is the same method.
    let told = raw(&list().body.to_string().replace("tools/list", "tools\\/list"));
    assert_eq!(gateway.answer(told).await.status(), 200);
    // What is refused reaches no server.
    let mut all = Vec::new();
    while let Ok((_, line)) = heard.try_recv() {
        all.extend(line["method"].as_str().map(str::to_owned));
    }
    assert!(
        !all.iter().any(|method| method.contains("subscribe") || method == "ping" || method == "tasks/list"),
        "{all:?}"
    );
    let (_, told) = list().set(&version, json!("v9")).with("mcp-protocol-version", "v9").told(&gateway).await;
    assert_eq!(told["error"]["data"], json!({"from": "mcp-pipe", "supported": ["2026-07-28"], "requested": "v9"}));
}

#[tokio::test]
async fn discover_tells_what_the_servers_say_of_themselves() {
    let (gateway, _heard) = gateway();
    let (_, told) = ask(1, "server/discover", json!({})).told(&gateway).await;
    let result = json!({
        "resultType": "complete", "supportedVersions": ["2026-07-28"],
        "capabilities": {"tools": {"listChanged": true}, "resources": {"subscribe": true}, "logging": {}},
        "instructions": "do", "ttlMs": 0, "cacheScope": "private",
        "_meta": {SERVER_INFO: {"name": "pipe", "version": "1"}},
    });
    assert_eq!(told["result"], result);
}

#[tokio::test]
async fn what_belongs_to_a_request_comes_before_its_answer_and_nothing_else() {
    let (gateway, _heard) = gateway();
    let noisy = |level: Value| call(5, "noisy").set(&["params", "_meta", "io.modelcontextprotocol/logLevel"], level);
    for (level, want) in [
        (Value::Null, vec!["notifications/progress"]),
        (json!("error"), vec!["notifications/progress", "notifications/message"]),
        (json!("debug"), vec!["notifications/message", "notifications/progress", "notifications/message"]),
        (json!("critical"), vec!["notifications/progress"]),
    ] {
        let all = events(noisy(level.clone()).send(&gateway).await).await;
        let (last, notes) = all.split_last().unwrap();
        let notes: Vec<_> = notes.iter().map(|note| note["method"].as_str().unwrap()).collect();
        assert_eq!((notes, &last["id"]), (want, &json!(5)), "{level}");
    }
    // Nobody who takes JSON only gets anything else.
    let (status, told) = noisy(json!("debug")).with("accept", "application/json").told(&gateway).await;
    assert_eq!((status, &told["result"]["resultType"]), (200, &json!("complete")));
    // Who takes events only gets an answer as one.
    let all = events(call(1, "echo").with("accept", "text/event-stream").send(&gateway).await).await;
    assert_eq!(all.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_silent_request_begins_its_stream_and_hanging_up_cancels_it() {
    let (gateway, mut heard) = gateway();
    let mut answer = call(1, "hang").send(&gateway).await;
    assert_eq!(answer.headers()["x-accel-buffering"], "no");
    for _ in 0..3 {
        assert_eq!(piece(&mut answer).await.unwrap(), ": still here\n\n");
    }
    drop(answer);
    assert_eq!(until_gone(&mut heard, 1).await.last().unwrap()["method"], "tools/call");
    // The same before anything has come.
    let early = call(1, "hang");
    let early = tokio::time::timeout(Duration::from_secs(5), early.send(&gateway)).await;
    assert!(early.is_err());
    until_gone(&mut heard, 2).await;
}

/// Begins a call that asks, and returns the state of its question.
async fn asked(gateway: &Gateway, ask: Ask) -> String {
    let (_, told) = ask.with("accept", "application/json").told(gateway).await;
    assert_eq!(told["result"]["resultType"], "input_required", "{told}");
    told["result"]["requestState"].as_str().unwrap().to_owned()
}

fn retry(ask: Ask, state: &str, answers: Value) -> Ask {
    ask.set(&["params", "requestState"], json!(state)).set(&["params", "inputResponses"], answers)
}

#[tokio::test]
async fn a_question_amid_a_call_is_asked_and_its_answer_goes_on_with_the_call() {
    let (gateway, mut heard) = gateway();
    let all = events(call(1, "ask").send(&gateway).await).await;
    assert_eq!(all.len(), 2, "{all:?}");
    let result = &all[1]["result"];
    assert_eq!(
        (&all[0]["params"]["progressToken"], &all[1]["id"], &result["resultType"], &result["inputRequests"]),
        (
            &json!("t1"),
            &json!(1),
            &json!("input_required"),
            &json!({"input-1": {"method": "elicitation/create", "params": {"message": "sure?", "requestedSchema": {}}}})
        )
    );
    assert_eq!(result["_meta"][SERVER_INFO]["name"], "pipe");
    let state = result["requestState"].as_str().unwrap();
    assert!(state.len() >= 22);
    let answers = json!({"input-1": {"action": "accept", "content": {"n": 1.5}}, "other": {"action": "accept"}});
    let again = retry(call("second", "ask"), state, answers.clone());
    let again = again.set(&["params", "_meta", "progressToken"], json!(9));
    let all = events(again.clone().send(&gateway).await).await;
    // Its progress is that of this request now.
    assert_eq!(all[0]["params"], json!({"progressToken": 9, "progress": 2}));
    assert_eq!((&all[1]["id"], &all[1]["result"]["told"]), (&json!("second"), &answers["input-1"]));
    let said = until_gone(&mut heard, 1).await;
    assert_eq!(said.last().unwrap(), &json!({"jsonrpc": "2.0", "id": "q1", "result": answers["input-1"]}));
    // A state is spent once.
    let (status, told) = again.told(&gateway).await;
    assert_eq!(
        (status, &told["error"]["code"], &told["error"]["data"]["reason"]),
        (200, &json!(-32602), &json!("invalid_request_state"))
    );
}

#[tokio::test]
async fn a_state_is_good_for_its_own_request_only() {
    let (gateway, _heard) = gateway();
    let state = asked(&gateway, call(1, "ask")).await;
    let answers = json!({"input-1": {"action": "accept"}});
    let tampered = format!("{}x", &state[1..]);
    let own = |ask: Ask| retry(ask, &state, answers.clone());
    for wrong in [
        retry(call(2, "ask"), &tampered, answers.clone()),
        retry(call(2, "ask"), "", answers.clone()),
        own(call(2, "two")),
        own(call(2, "ask").set(&["params", "arguments", "n"], json!(2))),
        own(call(2, "ask").set(&["params", "more"], json!(2))),
        own(ask(2, "prompts/get", json!({"name": "ask", "arguments": {"n": 1}}))),
        own(call(2, "ask")).at("/mcp/calc"),
        retry(call(2, "ask"), "", answers.clone()).set(&["params", "requestState"], json!(7)),
    ] {
        let (status, told) = wrong.told(&gateway).await;
        assert_eq!((status, &told["error"]["code"]), (200, &json!(-32602)), "{told}");
    }
    // None of these has spent it.
    let (_, told) = own(call(2, "ask")).with("accept", "application/json").told(&gateway).await;
    assert_eq!(told["result"]["told"], answers["input-1"]);
}

#[tokio::test]
async fn questions_that_come_together_are_asked_together_and_missing_answers_again() {
    let (gateway, _heard) = gateway();
    let first = asked(&gateway, call(1, "two")).await;
    let answer = json!({"input-1": {"action": "accept", "again": "two"}});
    let (_, told) = retry(call(2, "two"), &first, answer).told(&gateway).await;
    let result = &told["result"];
    assert_eq!(result["inputRequests"], json!({"input-2": {"method": "roots/list", "params": {}}}));
    let second = result["requestState"].as_str().unwrap();
    assert_ne!(first, second);
    // Nothing at all is another round, too, and so is a further question.
    let third = asked(&gateway, retry(call(3, "two"), second, json!({}))).await;
    let more = json!({"input-2": {"again": "more"}});
    let (_, told) = retry(call(4, "two"), &third, more).told(&gateway).await;
    let asked = &told["result"]["inputRequests"];
    // By the name that a server of this era gives it.
    assert_eq!(
        asked,
        &json!({"own": {"method": "elicitation/create", "params": {"message": "really?", "_meta": {"x": 1}}}})
    );
    let fourth = told["result"]["requestState"].as_str().unwrap();
    let last = retry(call(5, "two"), fourth, json!({"own": {"action": "decline"}}));
    let (_, told) = last.with("accept", "application/json").told(&gateway).await;
    assert_eq!(told["result"]["told"], json!({"action": "decline"}));
}

#[tokio::test]
async fn answers_that_are_there_before_their_questions_are_taken_for_them() {
    let (gateway, _heard) = gateway();
    let with = |answers: Value| call(1, "named").set(&["params", "inputResponses"], answers);
    let json = |ask: Ask| ask.with("accept", "application/json");
    let given = json!({"own": {"roots": []}, "more": {"roots": [1]}});
    let (_, told) = json(with(given)).told(&gateway).await;
    assert_eq!(told["result"]["told"], json!({"roots": []}));
    for none in [json!({"own": 7}), json!({"input-1": {"roots": []}}), json!(7)] {
        let (_, told) = json(with(none)).told(&gateway).await;
        assert_eq!(told["result"]["inputRequests"], json!({"own": {"method": "roots/list", "params": {}}}));
    }
}

#[tokio::test]
async fn whoever_cannot_be_asked_is_told_what_is_missing() {
    let (gateway, mut heard) = gateway();
    for (guest, (tool, can, lacks)) in [
        ("ask", json!({}), json!({"elicitation": {"form": {}}})),
        ("ask", json!({"elicitation": {"url": {}}}), json!({"elicitation": {"form": {}}})),
        ("sample", json!({"elicitation": {}}), json!({"sampling": {}})),
        ("sample", json!({"sampling": {}}), json!({"sampling": {"tools": {}}})),
        ("two", json!({"elicitation": {"form": {}}}), json!({"roots": {}})),
        ("url", json!({"elicitation": {}}), json!({"elicitation": {"url": {}}})),
    ]
    .into_iter()
    .enumerate()
    {
        let ask = call(1, tool).can(can.clone()).set(&["params", "_meta", "progressToken"], Value::Null);
        let (status, told) = ask.told(&gateway).await;
        let error = &told["error"];
        assert_eq!(
            (status, &error["code"], &error["data"]["requiredCapabilities"]),
            (400, &json!(-32021), &lacks),
            "{tool} {can}: {told}"
        );
        until_gone(&mut heard, guest + 1).await;
    }
    // A page to be visited is asked for without anything held.
    let (_, told) = call(1, "url").can(json!({"elicitation": {"url": {}}})).told(&gateway).await;
    let params = json!({"mode": "url", "url": "https://a.example/", "message": "sign"});
    assert_eq!(told["result"]["inputRequests"], json!({"url-1": {"method": "elicitation/create", "params": params}}));
    assert!(told["result"].get("requestState").is_none());
}

#[tokio::test(start_paused = true)]
async fn so_many_are_waited_for_and_so_long() {
    let (gateway, mut heard) = gateway();
    let mut states = Vec::new();
    for id in 0..spec().max_held {
        states.push(asked(&gateway, call(id, "ask")).await);
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    // One more takes the place of the oldest.
    tokio::time::advance(Duration::from_secs(1)).await;
    states.push(asked(&gateway, call(99, "ask")).await);
    until_gone(&mut heard, 1).await;
    let answers = json!({"input-1": {"action": "accept"}});
    let again = |state: &str| retry(call(1, "ask"), state, answers.clone()).with("accept", "application/json");
    assert_eq!(again(&states[0]).told(&gateway).await.1["error"]["code"], -32602);
    tokio::time::advance(spec().held_timeout - Duration::from_secs(2)).await;
    gateway.sweep();
    assert_eq!(again(&states[1]).told(&gateway).await.1["result"]["told"], answers["input-1"]);
    tokio::time::advance(Duration::from_secs(2)).await;
    let (_, told) = again(&states[2]).told(&gateway).await;
    assert_eq!(told["error"]["code"], -32602, "{told}");
    gateway.sweep();
    until_gone(&mut heard, spec().max_held).await;
}

#[tokio::test(start_paused = true)]
async fn each_key_has_its_own_calls_that_are_waited_for_and_a_reload_changes_how_many() {
    let key = |name: &str| ApiKeySpec {
        name: name.into(),
        hash: sha256(name),
        servers: None,
        tools: Arc::default(),
        capability_url: false,
    };
    let with = |max_held, held_timeout| GatewaySpec {
        api_keys: vec![key("one"), key("two")],
        max_held,
        held_timeout,
        ..spec()
    };
    let minute = Duration::from_secs(60);
    let (gateway, mut heard) = gateway_of(with(2, minute));
    let mut states = Vec::new();
    for name in ["one", "two", "one", "two"] {
        states.push(asked(&gateway, call(1, "ask").with("x-api-key", name)).await);
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    let again = async |name: &str, state: &str| {
        let answers = json!({"input-1": {"action": "accept"}});
        let ask = retry(call(1, "ask"), state, answers).with("accept", "application/json").with("x-api-key", name);
        ask.told(&gateway).await.1
    };
    // One more of a key takes the place of that key's oldest, and of nobody else's.
    let third = asked(&gateway, call(1, "ask").with("x-api-key", "two")).await;
    until_gone(&mut heard, 2).await;
    assert_eq!(again("two", &states[1]).await["error"]["code"], -32602);
    assert_eq!(again("one", &states[0]).await["result"]["told"]["action"], "accept");
    // Fewer from now on, and for longer.
    gateway.change(&Arc::new(with(1, 2 * minute)), &servers(&["calc", "clock"])).await;
    until_gone(&mut heard, 4).await;
    tokio::time::advance(minute + minute / 2).await;
    gateway.sweep();
    assert_eq!(again("two", &third).await["result"]["told"]["action"], "accept");
    assert_eq!(again("one", &states[2]).await["result"]["told"]["action"], "accept");
}

#[tokio::test]
async fn arguments_that_headers_repeat_are_compared() {
    let (gateway, mut heard) = gateway();
    for (header, status) in
        [("1", 200), ("1.0", 200), ("=?base64?MQ==?=", 200), ("2", 400), ("", 400), ("=?base64?x?=", 400)]
    {
        let (got, told) = call(1, "at").with("mcp-param-n", header).told(&gateway).await;
        let code = if status == 200 { Value::Null } else { json!(-32020) };
        assert_eq!((got, &told["error"]["code"]), (status, &code), "{header}: {told}");
    }
    let absent = call(1, "at").set(&["params", "arguments"], json!({"n": null}));
    assert_eq!(absent.clone().told(&gateway).await.0, 200);
    assert_eq!(absent.with("mcp-param-n", "1").told(&gateway).await.0, 400);
    assert_eq!(call(1, "other").with("mcp-param-n", "7").told(&gateway).await.0, 200);
    // The tools are read once.
    let mut lists = 0;
    while let Ok((_, line)) = heard.try_recv() {
        lists += usize::from(line["method"] == "tools/list");
    }
    assert_eq!(lists, 1);
}

#[tokio::test]
async fn errors_of_servers_have_the_codes_of_this_era() {
    let (gateway, _heard) = gateway();
    let (status, told) = ask(1, "resources/read", json!({"uri": "a://no"})).told(&gateway).await;
    assert_eq!(
        (status, &told["error"]),
        (200, &json!({"code": -32602, "message": "no such", "data": {"uri": "a://no"}}))
    );
}

fn listen(id: impl Into<Value>, wanted: Value) -> Ask {
    ask(id, "subscriptions/listen", json!({"notifications": wanted}))
}

#[tokio::test]
async fn news_are_told_to_whoever_does_not_say_what_they_take() {
    let (gateway, _heard) = gateway();
    for (accept, status) in [("", 200), ("*/*", 200), ("text/html", 406)] {
        let answer = listen(1, json!({})).with("accept", accept).send(&gateway).await;
        assert_eq!(answer.status(), status, "{accept}");
    }
}

#[tokio::test]
async fn news_begin_with_what_is_granted_and_hold_nothing_else() {
    let (gateway, mut heard) = gateway();
    let wanted = json!({
        "toolsListChanged": true, "promptsListChanged": true, "resourcesListChanged": false,
        "resourceSubscriptions": ["a://b", "a://no"],
    });
    let mut answer = listen("s", wanted).send(&gateway).await;
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let mut said = String::new();
    while said.matches("\n\n").count() < 3 {
        said.push_str(&piece(&mut answer).await.unwrap());
    }
    let told: Vec<Value> = said
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    let meta = json!({"io.modelcontextprotocol/subscriptionId": "s"});
    assert_eq!(
        told,
        [
            json!({"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": {
                "notifications": {"toolsListChanged": true, "resourceSubscriptions": ["a://b"]}, "_meta": meta,
            }}),
            json!({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {
                "uri": "a://b", "_meta": {"a": 1, "io.modelcontextprotocol/subscriptionId": "s"},
            }}),
            json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed", "params": {"_meta": meta}}),
        ]
    );
    // It ends in good order when the program stops.
    let other = listen(7, json!({})).send(&gateway).await;
    gateway.end_all();
    let rest = events(answer).await;
    let end = |id: Value| {
        json!({"jsonrpc": "2.0", "id": id, "result": {"resultType": "complete", "_meta": {
            "io.modelcontextprotocol/subscriptionId": id, SERVER_INFO: {"name": "pipe", "version": "1"},
        }}})
    };
    assert_eq!(rest, [end(json!("s"))]);
    drop(other);
    let said = until_gone(&mut heard, 1).await;
    // The tools once to know them, and once more after their change.
    assert_eq!(said.iter().filter(|line| line["method"] == "tools/list").count(), 2);
    assert!(!said.iter().any(|line| line["method"] == "prompts/list"));
}

#[tokio::test]
async fn whoever_stops_listening_is_gone() {
    let (gateway, mut heard) = gateway();
    let mut answer = listen(3, json!({"toolsListChanged": true})).send(&gateway).await;
    let first = piece(&mut answer).await.unwrap();
    assert!(
        first.contains("acknowledged") && first.contains(r#""io.modelcontextprotocol/subscriptionId":3"#),
        "{first}"
    );
    drop(answer);
    until_gone(&mut heard, 1).await;
}

#[tokio::test]
async fn those_who_listen_take_the_places_of_sessions() {
    let most = 2;
    let (gateway, mut heard) = gateway_of(GatewaySpec { max_sessions: most, ..spec() });
    let begin = |id: u64| listen(id, json!({})).send(&gateway);
    let (first, _second) = (begin(1).await, begin(2).await);
    let refused = begin(3).await;
    assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].to_str().unwrap()), (503, "5"));
    let told: Value = serde_json::from_slice(&refused.into_body().collect().await.unwrap().to_bytes()).unwrap();
    assert_eq!((&told["id"], &told["error"]["code"]), (&json!(3), &json!(-32603)));
    assert_eq!(told["error"]["data"]["reason"], "unavailable");
    assert!(told["error"]["message"].as_str().unwrap().contains("maxSessions"), "{told}");
    let (status, _) = ask(4, "tools/list", json!({})).told(&gateway).await;
    assert_eq!(status, 200, "what is answered at once takes no place");
    drop(first);
    until_gone(&mut heard, 1).await;
    assert_eq!(begin(5).await.status(), 200);
}
