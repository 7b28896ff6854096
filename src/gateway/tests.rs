//! The gateway without a socket, in front of a pipe that is played.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD;
use http::Response;
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::guesses::Source;
use super::issuers::tests::{claims, file, jwt};
use super::*;
use crate::config::{ApiKeySpec, JwtSpec, sha256};
use crate::jwt::tests::Issuer as Key;
use crate::pipe::orders::PipeOrder;
use crate::tools::{Glob, ToolPolicy};

pub(super) const HANG: Duration = Duration::from_secs(10);

/// The config of a gateway.
pub(crate) fn spec() -> GatewaySpec {
    GatewaySpec {
        listen: ([127, 0, 0, 1], 8765).into(),
        cors: vec!["https://app.example".into()],
        hosts: Vec::new(),
        api_keys: Vec::new(),
        jwt: Vec::new(),
        endpoint_tokens: Vec::new(),
        endpoint_servers: Vec::new(),
        max_frame: 100_000,
        sse: false,
        session_idle: Duration::from_secs(60),
        session_key: None,
        max_sessions: 3,
        max_streams: 2,
        max_held: 8,
        held_timeout: Duration::from_secs(300),
        max_body: 100_000,
        header_timeout: HANG,
        max_connections: 10,
        max_connections_per_address: 10,
        requests_per_second: None,
        tls: None,
    }
}

pub(super) fn gateway() -> Arc<Gateway> {
    gateway_of(spec())
}

pub(super) fn servers(names: &[&str]) -> Vec<ServerSpec> {
    names.iter().map(|name| ServerSpec::sample(name, "true", &[])).collect()
}

/// A gateway to `calc` and `my clock`, and what its pipe does.
pub(super) fn gateway_of(spec: GatewaySpec) -> Arc<Gateway> {
    surviving(spec, Survival::default())
}

/// The same, where sessions are kept.
pub(super) fn surviving(spec: GatewaySpec, survival: Survival) -> Arc<Gateway> {
    let (pipe, mut orders) = mpsc::channel::<Box<PipeOrder>>(4);
    tokio::spawn(async move {
        while let Some(order) = orders.recv().await {
            if let PipeOrder::ShowGuests { .. } = *order {
                continue;
            }
            let PipeOrder::Receive(guest, arrival, reply) = *order else { panic!("nothing else is ordered") };
            let _gone = reply.send(());
            let seen: Vec<_> = guest.shown.servers.iter().map(|(name, _)| name.to_string()).collect();
            tokio::spawn(play(arrival.lines, seen.join("+")));
        }
    });
    Arc::new(Gateway::new(
        &Arc::new(spec),
        &servers(&["calc", "my clock"]),
        Reception::of(pipe),
        Status::default(),
        survival,
    ))
}

/// What a peer of a router is told, more or less.
async fn play(lines: Passage, seen: String) {
    let (from, mut to) = tokio::io::split(lines);
    let mut from = BufReader::new(from).lines();
    let mut held = Vec::new();
    while let Ok(Some(line)) = from.next_line().await {
        let messages: Value = serde_json::from_str(&line).unwrap();
        let messages = messages.as_array().cloned().unwrap_or_else(|| vec![messages]);
        for message in messages {
            let id = message["id"].clone();
            let answer = |result: Value| json!({"jsonrpc": "2.0", "id": id, "result": result});
            let params = &message["params"];
            let mut said = Vec::new();
            match (message["method"].as_str(), params["name"].as_str()) {
                (Some("initialize"), _) if params["protocolVersion"] == "1" => {
                    said.push(json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32602, "message": "no"}}));
                }
                (Some("initialize"), _) => {
                    let able = json!({"tools": {"listChanged": true}, "prompts": {}});
                    said.push(answer(
                        json!({"protocolVersion": params["protocolVersion"], "seen": seen, "capabilities": able}),
                    ));
                }
                (Some("tools/call"), Some("slow")) => held.push(id),
                (Some("tools/call"), Some("go")) => {
                    said.extend(held.drain(..).map(|id| json!({"jsonrpc": "2.0", "id": id, "result": {"late": true}})));
                    said.push(answer(json!({})));
                }
                (Some("tools/call"), Some("ask")) => {
                    let token = &params["_meta"]["progressToken"];
                    said.push(json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": token}}));
                    said.push(json!({"jsonrpc": "2.0", "id": "q1", "method": "elicitation/create", "params": {}}));
                    held.push(id);
                }
                (Some("tools/call"), Some("change")) => {
                    said.push(json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}));
                    said.push(answer(json!({})));
                }
                (Some("tools/call"), Some("meta")) => said.push(answer(json!({"meta": params["_meta"]}))),
                (Some("tools/call"), Some("die")) => return,
                (Some(_), _) if !id.is_null() => said.push(answer(json!({"of": message["method"]}))),
                // An answer to what was asked.
                (None, _) => said.extend(
                    held.drain(..).map(|id| json!({"jsonrpc": "2.0", "id": id, "result": {"told": message["result"]}})),
                ),
                (Some(_), _) => {}
            }
            for message in said {
                if to.write_all(format!("{message}\n").as_bytes()).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// A request, as most clients make it.
pub(super) struct Ask {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: String,
}

pub(super) fn post(message: &Value) -> Ask {
    Ask {
        method: "POST",
        path: "/mcp",
        headers: usual("application/json, text/event-stream"),
        body: message.to_string(),
    }
}

pub(super) fn get() -> Ask {
    Ask { method: "GET", path: "/mcp", headers: usual("text/event-stream"), body: String::new() }
}

fn usual(accept: &str) -> Vec<(&'static str, String)> {
    [("host", "localhost:8765"), ("content-type", "application/json"), ("accept", accept)]
        .map(|(name, value)| (name, value.to_owned()))
        .into()
}

impl Ask {
    pub(super) fn at(self, path: &'static str) -> Self {
        Ask { path, ..self }
    }

    pub(super) fn by(self, method: &'static str) -> Self {
        Ask { method, ..self }
    }

    /// With another value of a header, or without it.
    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        if !value.is_empty() {
            self.headers.push((name, value.to_owned()));
        }
        self
    }

    pub(super) async fn send(self, gateway: &Gateway) -> Answer {
        self.send_from(gateway, None).await
    }

    /// The same, as it comes from there.
    async fn send_from(self, gateway: &Gateway, from: Option<Source>) -> Answer {
        let mut request = Request::builder().method(self.method).uri(self.path);
        if let Some(from) = from {
            request = request.extension(from);
        }
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let body = Full::new(Bytes::from(self.body));
        timeout(HANG, gateway.answer(request.body(body).unwrap())).await.unwrap()
    }
}

/// All of a body.
pub(super) async fn whole(answer: Answer) -> String {
    let body = timeout(HANG, answer.into_body().collect()).await.unwrap().unwrap();
    String::from_utf8(body.to_bytes().to_vec()).unwrap()
}

/// The next piece of a stream.
pub(super) async fn piece(answer: &mut Answer) -> String {
    let frame = timeout(HANG, answer.body_mut().frame()).await.unwrap().unwrap().unwrap();
    String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
}

pub(super) fn of(response: &Response<reply::Reply>, name: &str) -> String {
    response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

pub(super) fn initialize(version: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": version}})
}

pub(super) fn call(id: u64, name: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": name, "_meta": {"progressToken": id}}})
}

/// Begins a session, and returns its id.
pub(super) async fn begin(gateway: &Gateway, version: &str) -> String {
    let answer = post(&initialize(version)).send(gateway).await;
    assert_eq!(answer.status(), 200);
    of(&answer, "mcp-session-id")
}

#[tokio::test]
async fn a_session_begins_with_initialize_and_ends_with_delete() {
    let gateway = gateway();
    let answer = post(&initialize("2025-06-18")).send(&gateway).await;
    let id = of(&answer, "mcp-session-id");
    assert_eq!((answer.status().as_u16(), &*of(&answer, "content-type")), (200, "application/json"));
    assert!(id.len() >= 22 && id.bytes().all(|b| (0x21..=0x7e).contains(&b)), "{id}");
    let told: Value = serde_json::from_str(&whole(answer).await).unwrap();
    assert_eq!(told["result"]["seen"], "calc+my clock");
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let answer = post(&list).with("mcp-session-id", &id).send(&gateway).await;
    assert_eq!(whole(answer).await, r#"{"jsonrpc":"2.0","id":1,"result":{"of":"tools/list"}}"#);
    let said = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let answer = post(&said).with("mcp-session-id", &id).send(&gateway).await;
    assert_eq!((answer.status().as_u16(), whole(answer).await), (202, String::new()));
    // Not the same session at another address.
    let answer = post(&list).at("/mcp/calc").with("mcp-session-id", &id).send(&gateway).await;
    assert_eq!(answer.status(), 404);
    let ended = get().by("DELETE").with("mcp-session-id", &id).send(&gateway).await;
    assert_eq!(ended.status(), 200);
    for ask in [post(&list), get(), get().by("DELETE")] {
        assert_eq!(ask.with("mcp-session-id", &id).send(&gateway).await.status(), 404);
    }
    // One server alone, by its name.
    let answer = post(&initialize("2025-06-18")).at("/mcp/my%20clock").send(&gateway).await;
    assert!(whole(answer).await.contains(r#""seen":"my clock""#));
    // What is refused begins none.
    let answer = post(&initialize("1")).send(&gateway).await;
    assert_eq!((answer.status().as_u16(), &*of(&answer, "mcp-session-id")), (200, ""));
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_told_by_its_status() {
    let gateway = gateway();
    let id = begin(&gateway, "2025-06-18").await;
    let list = || post(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})).with("mcp-session-id", &id);
    let says = |body: &str| Ask { body: body.to_owned(), ..list() };
    let long = format!("\"{}\"", "x".repeat(100_000));
    let long_id = format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"ping"}}"#, "i".repeat(600));
    let rows = [
        (200, list()),
        (200, list().with("content-type", "Application/JSON; charset=UTF-8")),
        (200, list().with("accept", "application/json")),
        (200, list().with("accept", "*/*")),
        (200, list().with("accept", "")),
        (200, list().with("accept", "text/event-stream")),
        (200, list().with("mcp-protocol-version", "2025-03-26")),
        (200, says("{\"jsonrpc\":\"2.0\",\n\"id\":2,\r\n\"method\":\"ping\"}\n")),
        (202, says(r#"{"jsonrpc":"2.0","id":"x","result":{}}"#)),
        (400, list().with("mcp-protocol-version", "nonsense")),
        (400, list().with("mcp-session-id", "")),
        (404, list().with("mcp-session-id", "unknown")),
        (400, says(r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#)),
        (400, says("")),
        (400, says("{")),
        (400, says("nonsense")),
        (400, says("[]")),
        (400, says("1")),
        (400, says(r#"{"jsonrpc":"2.0","id":1}"#)),
        (400, says(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","Method":"ping"}"#)),
        (400, says(r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#)),
        (400, says(&long_id)),
        (400, says("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":{\"a\":\"\t\"}}")),
        (200, says("{\t\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"ping\"}")),
        (403, list().with("sec-fetch-site", "cross-site")),
        (200, list().with("sec-fetch-site", "cross-site").with("origin", "https://app.example")),
        (413, says(&long)),
        (415, list().with("content-type", "text/plain")),
        (415, list().with("content-type", "")),
        (415, list().with("content-type", "application/json; charset=latin1")),
        (415, list().with("content-type", "application/x-www-form-urlencoded")),
        (415, list().with("content-encoding", "gzip")),
        (405, list().by("PUT")),
        (405, list().by("PATCH")),
        (403, list().with("host", "evil.example")),
        (403, list().with("origin", "http://evil.example")),
        (403, list().with("origin", "null")),
        (200, list().with("origin", "http://localhost:3000")),
        (404, list().at("/mcp/Calc")),
        (404, list().at("/mcp/calc")),
        (404, list().at("/.well-known/oauth-protected-resource")),
        (404, list().at("/register")),
        (405, list().at("/livez")),
        (200, get().at("/livez")),
        (200, get().at("/readyz")),
        (200, get().at("/")),
        (400, get()),
        (404, get().with("mcp-session-id", "unknown")),
        (406, get().with("mcp-session-id", &id).with("accept", "application/json")),
        (400, get().by("DELETE")),
        (404, get().by("DELETE").with("mcp-session-id", "unknown")),
    ];
    for (at, (status, ask)) in rows.into_iter().enumerate() {
        let answer = ask.send(&gateway).await;
        let (got, body) = (answer.status().as_u16(), whole(answer).await);
        assert_eq!(got, status, "row {at}: {body}");
    }
}

#[tokio::test]
async fn a_call_gets_its_answer_as_an_event_with_what_belongs_to_it() {
    let gateway = gateway();
    let id = begin(&gateway, "2025-06-18").await;
    let mut answer = post(&call(1, "ask")).with("mcp-session-id", &id).send(&gateway).await;
    assert_eq!(
        (of(&answer, "content-type"), of(&answer, "x-accel-buffering")),
        ("text/event-stream".to_owned(), "no".to_owned())
    );
    let mut said = String::new();
    while !said.contains("elicitation/create") {
        said.push_str(&piece(&mut answer).await);
    }
    assert!(said.starts_with("event: message\ndata: {") && said.contains(r#""progressToken":1"#), "{said}");
    // Another call of the same id meanwhile is refused, and another one goes its own way.
    let twice = post(&call(1, "x")).with("mcp-session-id", &id).send(&gateway).await;
    assert_eq!(twice.status(), 400);
    let other = post(&call(2, "x")).with("mcp-session-id", &id).send(&gateway).await;
    assert!(whole(other).await.contains(r#""id":2"#));
    let told = json!({"jsonrpc": "2.0", "id": "q1", "result": {"action": "accept"}});
    assert_eq!(post(&told).with("mcp-session-id", &id).send(&gateway).await.status(), 202);
    let rest = whole(answer).await;
    assert!(rest.contains(r#""told":{"action":"accept"}"#) && rest.ends_with("\n\n"), "{rest}");
}

#[tokio::test]
async fn what_belongs_to_no_request_goes_to_one_get_and_waits_for_one() {
    let gateway = gateway();
    let id = begin(&gateway, "2025-06-18").await;
    let change = || post(&call(1, "change")).with("mcp-session-id", &id);
    assert!(!whole(change().send(&gateway).await).await.contains("list_changed"));
    let mut first = get().with("mcp-session-id", &id).send(&gateway).await;
    assert!(piece(&mut first).await.contains("list_changed"), "it has waited");
    let mut second = get().with("mcp-session-id", &id).send(&gateway).await;
    let third = get().with("mcp-session-id", &id).send(&gateway).await;
    assert_eq!((third.status().as_u16(), &*of(&third, "retry-after")), (429, "5"), "no more streams than are allowed");
    change().send(&gateway).await;
    assert!(piece(&mut second).await.contains("list_changed"));
    // The first has nothing, and ends with the session.
    drop(second);
    get().by("DELETE").with("mcp-session-id", &id).send(&gateway).await;
    assert_eq!(whole(first).await, "");
}

#[tokio::test]
async fn a_broken_stream_goes_on_behind_its_last_event() {
    let gateway = gateway();
    let id = begin(&gateway, "2025-11-25").await;
    let mut answer = post(&call(1, "slow")).with("mcp-session-id", &id).send(&gateway).await;
    let first = piece(&mut answer).await;
    let number = first.lines().next().unwrap().strip_prefix("id: ").unwrap().to_owned();
    assert!(first.ends_with("retry: 1000\ndata: \n\n"), "{first}");
    drop(answer);
    let go = post(&call(2, "go")).with("mcp-session-id", &id).send(&gateway).await;
    assert!(!whole(go).await.contains("late"));
    // From the beginning, and again from the beginning, as the answer may have been lost once more.
    for _ in 0..2 {
        let again = get().with("mcp-session-id", &id).with("last-event-id", &number).send(&gateway).await;
        let rest = whole(again).await;
        assert!(rest.contains(r#""id":1,"result":{"late":true}"#), "{rest}");
        assert_eq!(rest.matches("event: message").count(), 1, "{rest}");
    }
    // A number of another session leads to nothing of that one.
    let other = begin(&gateway, "2025-11-25").await;
    let mut again = get().with("mcp-session-id", &other).with("last-event-id", &number).send(&gateway).await;
    assert!(!piece(&mut again).await.contains("late"));
}

#[tokio::test]
async fn a_batch_is_answered_as_one_in_the_version_that_has_batches() {
    let gateway = gateway();
    let id = begin(&gateway, "2025-03-26").await;
    let batch = json!([
        {"jsonrpc": "2.0", "id": 1, "method": "ping"},
        {"jsonrpc": "2.0", "method": "notifications/x"},
        {"jsonrpc": "2.0", "id": "a", "method": "tools/list"},
    ]);
    let answer = post(&batch).with("mcp-session-id", &id).with("accept", "application/json").send(&gateway).await;
    let answers: Value = serde_json::from_str(&whole(answer).await).unwrap();
    let ids: Vec<_> = answers.as_array().unwrap().iter().map(|answer| answer["id"].clone()).collect();
    assert_eq!(ids, [json!(1), json!("a")]);
    let twice = json!([{"jsonrpc": "2.0", "id": 1, "method": "ping"}, {"jsonrpc": "2.0", "id": 1, "method": "ping"}]);
    assert_eq!(post(&twice).with("mcp-session-id", &id).send(&gateway).await.status(), 400);
}

#[tokio::test(start_paused = true)]
async fn the_head_of_a_stream_waits_for_a_soon_answer_and_no_longer_and_less_where_the_client_could_come_back() {
    let gateway = gateway();
    for (version, soonest, latest) in [("2025-06-18", 40, 100), ("2025-11-25", 10, 30)] {
        let id = begin(&gateway, version).await;
        let send = |name| post(&call(1, name)).with("mcp-session-id", &id).send(&gateway);
        let begun = Instant::now();
        assert!(whole(send("change").await).await.contains("\"result\""));
        assert!(begun.elapsed() < Duration::from_millis(10), "an answer is not kept back");
        let stream = send("slow").await;
        assert_eq!((stream.status().as_u16(), &*of(&stream, "content-type")), (200, "text/event-stream"));
        let waited = begun.elapsed().as_millis();
        assert!((soonest..latest).contains(&waited), "{version}: {waited} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn there_are_so_many_sessions_and_those_that_nobody_uses_make_room() {
    let gateway = gateway();
    let first = begin(&gateway, "2025-06-18").await;
    tokio::time::advance(Duration::from_secs(50)).await;
    let others = [begin(&gateway, "2025-06-18").await, begin(&gateway, "2025-06-18").await];
    let _stream = get().with("mcp-session-id", &others[0]).send(&gateway).await;
    let refused = post(&initialize("2025-06-18")).send(&gateway).await;
    assert_eq!((refused.status().as_u16(), &*of(&refused, "retry-after")), (503, "5"));
    tokio::time::advance(Duration::from_secs(11)).await;
    let fourth = begin(&gateway, "2025-06-18").await;
    let ping = |id: &str| post(&json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})).with("mcp-session-id", id);
    assert_eq!(ping(&first).send(&gateway).await.status(), 404);
    assert_eq!(ping(&fourth).send(&gateway).await.status(), 200);
    // One with a stream is used however long it is silent.
    tokio::time::advance(Duration::from_secs(600)).await;
    gateway.sweep();
    assert_eq!(ping(&others[1]).send(&gateway).await.status(), 404);
    assert_eq!(ping(&others[0]).send(&gateway).await.status(), 200);
}

#[tokio::test]
async fn a_conversation_that_the_pipe_ends_is_over_and_nobody_waits() {
    let gateway = gateway();
    let id = begin(&gateway, "2025-06-18").await;
    let stream = get().with("mcp-session-id", &id).send(&gateway).await;
    let answer =
        post(&call(1, "die")).with("mcp-session-id", &id).with("accept", "application/json").send(&gateway).await;
    assert_eq!(answer.status(), 502);
    assert!(whole(answer).await.contains("the session ended before the answer came"));
    assert_eq!(whole(stream).await, "");
    let ping = post(&json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})).with("mcp-session-id", &id);
    assert_eq!(ping.send(&gateway).await.status(), 404);
}

/// A gateway with keys: `calc` sees one server, `all` both, `path` may stand in the path.
fn guarded() -> Arc<Gateway> {
    gateway_of(GatewaySpec { api_keys: keys(), max_sessions: 100, ..spec() })
}

pub(super) fn keys() -> Vec<ApiKeySpec> {
    let key = |name: &str, servers: Option<&[&str]>, capability_url| ApiKeySpec {
        name: name.into(),
        hash: sha256(&format!("key-of-{name}-0123456")),
        servers: servers.map(|names| names.iter().map(|name| Arc::from(*name)).collect()),
        tools: Arc::default(),
        capability_url,
    };
    vec![key("calc", Some(&["calc"]), false), key("all", None, false), key("path", None, true)]
}

/// Sends what a row of a table asks, which is to be answered with this status. Returns how it is to be let in, and the body.
async fn answered(gateway: &Gateway, ask: Ask, (at, status): (usize, u16)) -> (String, String) {
    let answer = ask.send(gateway).await;
    let (got, challenge) = (answer.status().as_u16(), of(&answer, "www-authenticate"));
    let body = whole(answer).await;
    assert_eq!(got, status, "row {at}: {body}");
    assert_eq!(challenge.starts_with("Bearer"), status == 401, "row {at}");
    (challenge, body)
}

#[tokio::test]
async fn with_keys_nobody_gets_in_without_one_and_each_sees_what_it_may() {
    let gateway = guarded();
    let first = || post(&initialize("2025-06-18"));
    let with = |ask: Ask, name: &str| ask.with("authorization", &format!("Bearer key-of-{name}-0123456"));
    let rows = [
        (401, first()),
        (401, first().with("authorization", "Bearer wrong-key-0123456789")),
        (401, first().with("authorization", "Basic a2V5LW9mLWFsbC0wMTIzNDU2")),
        (401, first().with("x-api-key", "key-of-all-0123456x")),
        (200, with(first(), "all")),
        (200, first().with("x-api-key", "key-of-all-0123456")),
        (200, with(first(), "calc")),
        (200, with(first(), "calc").at("/mcp/calc")),
        (404, with(first(), "calc").at("/mcp/my%20clock")),
        (404, with(first(), "calc").at("/mcp/unknown")),
        (200, with(first(), "all").at("/mcp/my%20clock")),
        (401, first().at("/mcp/my%20clock")),
        (401, first().at("/mcp/unknown")),
        (401, first().at("/mcp?key=key-of-all-0123456")),
        (401, first().at("/mcp/~key-of-all-0123456")),
        (401, first().at("/mcp/~")),
        (200, first().at("/mcp/~key-of-path-0123456")),
        // A page of this machine needs a key as well, and a foreign one does not get in by any.
        (401, first().with("origin", "http://localhost:3000").with("content-type", "text/plain")),
        (403, with(first(), "all").with("origin", "http://evil.example")),
        (403, with(first(), "all").with("host", "evil.example")),
        (
            204,
            first().by("OPTIONS").with("origin", "https://app.example").with("access-control-request-method", "POST"),
        ),
        (401, get()),
        (401, get().by("DELETE")),
        (401, get().by("PUT")),
        (200, get().at("/livez")),
        (200, get().at("/readyz")),
        (200, get().at("/")),
        (404, get().at("/.well-known/oauth-authorization-server")),
        (404, first().at("/register")),
        (404, first().at("/token")),
    ];
    for (at, (status, ask)) in rows.into_iter().enumerate() {
        let (_, body) = answered(&gateway, ask, (at, status)).await;
        assert!(!body.contains("0123456"), "{body}");
        if status == 200 && at == 6 {
            assert!(body.contains(r#""seen":"calc""#), "{body}");
        }
    }
    // Names of servers are for those who may see them.
    assert!(!whole(get().at("/").send(&gateway).await).await.contains("clock"));
    assert!(whole(with(get().at("/"), "all").send(&gateway).await).await.contains("/mcp/my%20clock"));
    assert!(!whole(with(get().at("/"), "calc").send(&gateway).await).await.contains("clock"));
}

#[tokio::test]
async fn a_session_is_its_keys_alone_and_ends_with_it() {
    let gateway = guarded();
    let with = |ask: Ask, name: &str| ask.with("authorization", &format!("Bearer key-of-{name}-0123456"));
    let answer = with(post(&initialize("2025-06-18")), "all").send(&gateway).await;
    let id = of(&answer, "mcp-session-id");
    let ping = || post(&json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})).with("mcp-session-id", &id);
    assert_eq!(with(ping(), "all").send(&gateway).await.status(), 200);
    assert_eq!(with(ping(), "path").send(&gateway).await.status(), 404);
    assert_eq!(with(get().by("DELETE").with("mcp-session-id", &id), "path").send(&gateway).await.status(), 404);
    let stream = with(get(), "all").with("mcp-session-id", &id).send(&gateway).await;
    // A reload that leaves the key there ends nothing, and one that takes it away ends all of it.
    let mut left = keys();
    gateway.change(&Arc::new(GatewaySpec { api_keys: left.clone(), ..spec() }), &servers(&["calc"])).await;
    assert_eq!(with(ping(), "all").send(&gateway).await.status(), 200);
    left.retain(|key| &*key.name != "all");
    gateway.change(&Arc::new(GatewaySpec { api_keys: left, ..spec() }), &servers(&["calc"])).await;
    assert_eq!(with(ping(), "all").send(&gateway).await.status(), 401);
    assert_eq!(whole(stream).await, "");
}

/// A gateway with keys and two kinds of tokens: those for `staff` see both servers, those for `guests` one. And what signs them.
fn trusting() -> (GatewaySpec, Key) {
    let key = Key::es256();
    let guests = JwtSpec { servers: Some(vec!["calc".into()]), ..jwt("guests", file(&key)) };
    (GatewaySpec { api_keys: keys(), jwt: vec![jwt("staff", file(&key)), guests], max_sessions: 100, ..spec() }, key)
}

fn bearing(ask: Ask, token: &str) -> Ask {
    ask.with("authorization", &format!("Bearer {token}"))
}

#[tokio::test]
async fn a_token_lets_in_whom_it_is_for_and_nobody_else() {
    let (spec, key) = trusting();
    let gateway = gateway_of(spec);
    let first = || post(&initialize("2025-06-18"));
    let token = |audience: &str, left: i64| key.token("k", &claims(audience, "me", left));
    let staff = token("staff", 60);
    let signed = |header: Value, claims: &Value| {
        let text = [header, claims.clone()].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
        let public = key.jwk("k").to_string();
        let hmac = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, public.as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(ring::hmac::sign(&hmac, text.as_bytes()));
        (text, signature)
    };
    let (text, _) = signed(json!({"alg": "none"}), &claims("staff", "me", 60));
    let none = format!("{text}.");
    let (text, signature) = signed(json!({"alg": "HS256", "kid": "k"}), &claims("staff", "me", 60));
    let confused = format!("{text}.{signature}");
    let mut foreign = claims("staff", "me", 60);
    foreign["iss"] = json!("https://evil.example");
    let early = {
        let mut early = claims("staff", "me", 600);
        early["nbf"] = json!(early["exp"].as_f64().unwrap() - 300.0);
        early
    };
    let other = Key::es256().token("k", &claims("staff", "me", 60));
    let rows = [
        (200, bearing(first(), &staff)),
        (200, first().with("authorization", &format!("bearer  {staff}"))),
        (200, bearing(first(), &staff).at("/mcp/my%20clock")),
        (200, bearing(first(), &token("guests", 60))),
        (200, bearing(first(), &token("guests", 60)).at("/mcp/calc")),
        (404, bearing(first(), &token("guests", 60)).at("/mcp/my%20clock")),
        (404, bearing(first(), &token("guests", 60)).at("/mcp/unknown")),
        (401, bearing(first(), &token("staff", -1))),
        (401, bearing(first(), &token("others", 60))),
        (401, bearing(first(), &key.token("k", &foreign))),
        (401, bearing(first(), &key.token("k", &early))),
        (401, bearing(first(), &key.token("new", &claims("staff", "me", 60)))),
        (401, bearing(first(), &key.token("k", &claims("staff", "", 60)))),
        (401, bearing(first(), &other)),
        (401, bearing(first(), &none)),
        (401, bearing(first(), &confused)),
        (401, bearing(first(), &format!("{staff}x"))),
        // A key still lets in; but not both, as they may speak for different people; and a token is no key.
        (200, bearing(first(), "key-of-all-0123456")),
        (401, bearing(first(), &staff).with("x-api-key", "key-of-all-0123456")),
        (401, bearing(first(), &staff).with("x-api-key", "wrong-key-0123456789")),
        (401, first().with("x-api-key", &staff)),
        (401, first()),
        (401, bearing(get().by("DELETE"), &none)),
        (403, bearing(first(), &staff).with("origin", "http://evil.example")),
        (403, bearing(first(), &staff).with("host", "evil.example")),
        (401, bearing(get().at("/ws"), &none)),
        (200, get().at("/livez")),
    ];
    let mut told = std::collections::HashSet::new();
    for (at, (status, ask)) in rows.into_iter().enumerate() {
        let (challenge, body) = answered(&gateway, ask, (at, status)).await;
        assert!(!body.contains("eyJ"), "{body}");
        if (7..=16).contains(&at) {
            assert_eq!(challenge, "Bearer error=\"invalid_token\"", "row {at}");
            told.insert(body.clone());
        }
        if at == 3 {
            assert!(body.contains(r#""seen":"calc""#), "{body}");
        }
    }
    assert_eq!(told.len(), 1, "whoever makes up tokens learns nothing: {told:?}");
    // Names of servers are for those who may see them.
    assert!(!whole(bearing(get().at("/"), &none).send(&gateway).await).await.contains("clock"));
    assert!(!whole(bearing(get().at("/"), &token("guests", 60)).send(&gateway).await).await.contains("clock"));
    assert!(whole(bearing(get().at("/"), &staff).send(&gateway).await).await.contains("/mcp/my%20clock"));
    // Where no issuer is trusted, a token is a key like another one.
    let key = ApiKeySpec { hash: sha256(&staff), ..keys()[1].clone() };
    let gateway = gateway_of(GatewaySpec { api_keys: vec![key], ..self::spec() });
    assert_eq!(bearing(first(), &staff).send(&gateway).await.status(), 200);
    // And where there are no keys, nobody gets in without one.
    let (spec, _) = trusting();
    let gateway = gateway_of(GatewaySpec { api_keys: Vec::new(), ..spec });
    for ask in [first(), first().with("x-api-key", "key-of-all-0123456"), get().at("/ws"), get()] {
        assert_eq!(ask.send(&gateway).await.status(), 401);
    }
    assert_eq!(first().at("/mcp/~key-of-all-0123456").send(&gateway).await.status(), 404);
}

#[tokio::test]
async fn a_session_is_of_whom_the_token_speaks_for_whichever_token_that_is() {
    let (spec, key) = trusting();
    let gateway = gateway_of(spec.clone());
    let token = |audience: &str, subject: &str, left: i64| key.token("k", &claims(audience, subject, left));
    let answer = bearing(post(&initialize("2025-06-18")), &token("staff", "me", 60)).send(&gateway).await;
    let id = of(&answer, "mcp-session-id");
    let ping = || post(&json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})).with("mcp-session-id", &id);
    let ends = || get().by("DELETE").with("mcp-session-id", &id);
    for (status, ask) in [
        (200, bearing(ping(), &token("staff", "me", 60))),
        (200, bearing(ping(), &token("staff", "me", 61))),
        (401, bearing(ping(), &token("staff", "me", -1))),
        (404, bearing(ping(), &token("staff", "you", 60))),
        (404, bearing(ping(), &token("staff", "m", 60))),
        (404, bearing(ping(), &token("guests", "me", 60))),
        (404, bearing(ping(), "key-of-all-0123456")),
        (404, bearing(ends(), &token("staff", "you", 60))),
        (404, bearing(get().with("mcp-session-id", &id), &token("staff", "you", 60))),
        (200, bearing(ping(), &token("staff", "me", 60))),
    ] {
        assert_eq!(ask.send(&gateway).await.status(), status);
    }
    // A reload that has other keys for the same issuer ends nothing; a token for others from then on does.
    let stream = bearing(get().with("mcp-session-id", &id), &token("staff", "me", 60)).send(&gateway).await;
    let new = Key::es256();
    let jwt = |audience: &str| JwtSpec { audience: vec![audience.into()], ..jwt("staff", file(&new)) };
    let both = ["calc", "my clock"];
    gateway.change(&Arc::new(GatewaySpec { jwt: vec![jwt("staff")], ..spec.clone() }), &servers(&both)).await;
    let mine = |audience: &str| new.token("k", &claims(audience, "me", 60));
    assert_eq!(bearing(ping(), &token("staff", "me", 60)).send(&gateway).await.status(), 401);
    assert_eq!(bearing(ping(), &mine("staff")).send(&gateway).await.status(), 200);
    gateway.change(&Arc::new(GatewaySpec { jwt: vec![jwt("more")], ..spec }), &servers(&both)).await;
    assert_eq!(whole(stream).await, "");
    assert_eq!(bearing(ping(), &mine("more")).send(&gateway).await.status(), 404);
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_with_the_token_that_was_shown_for_it_and_its_session_stays() {
    let (spec, key) = trusting();
    let gateway = gateway_of(GatewaySpec { sse: true, ..spec });
    let token = |left: i64| key.token("k", &claims("staff", "me", left));
    let answer = bearing(post(&initialize("2025-11-25")), &token(60)).send(&gateway).await;
    let id = of(&answer, "mcp-session-id");
    let news = json!({"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": {
        "notifications": {"toolsListChanged": true},
        "_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {"name": "c", "version": "1"}}}});
    let news = post(&news).with("mcp-protocol-version", "2026-07-28").with("mcp-method", "subscriptions/listen");
    for (what, ask) in [("session", get().with("mcp-session-id", &id)), ("sse", get().at("/sse")), ("news", news)] {
        let mut stream = bearing(ask, &token(60)).send(&gateway).await;
        assert_eq!(stream.status(), 200, "{what}");
        let before = Instant::now();
        let whole = async { while let Some(Ok(_)) = stream.body_mut().frame().await {} };
        assert!(timeout(Duration::from_secs(100), whole).await.is_ok(), "{what} does not end");
        let lasted = before.elapsed().as_secs_f64();
        assert!((50.0..=60.1).contains(&lasted), "{what}: {lasted}");
    }
    let ping = post(&json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})).with("mcp-session-id", &id);
    assert_eq!(bearing(ping, &token(60)).send(&gateway).await.status(), 200);
    // What is without an end is so for a key.
    let mut stream = get().at("/sse").with("x-api-key", "key-of-all-0123456").send(&gateway).await;
    let ended =
        timeout(Duration::from_secs(3600), async { while let Some(Ok(_)) = stream.body_mut().frame().await {} });
    assert!(ended.await.is_err());
}

#[tokio::test]
async fn while_the_keys_of_an_issuer_can_not_be_had_its_tokens_are_not_called_wrong() {
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys", nobody.local_addr().unwrap());
    drop(nobody);
    let key = Key::es256();
    let jwt = vec![jwt("staff", crate::config::JwksSource::Url(url.parse().unwrap()))];
    let gateway = gateway_of(GatewaySpec { jwt, ..spec() });
    let first = || post(&initialize("2025-06-18"));
    for (status, ask) in [
        (503, bearing(first(), &key.token("k", &claims("staff", "me", 60)))),
        (401, bearing(first(), &key.token("k", &claims("others", "me", 60)))),
        (401, first()),
    ] {
        let answer = ask.send(&gateway).await;
        assert_eq!(answer.status(), status);
        assert_eq!(of(&answer, "retry-after").is_empty(), status != 503);
    }
}

#[tokio::test]
async fn a_key_that_is_taken_away_while_a_body_comes_lets_nobody_in() {
    let gateway = guarded();
    let (more, rest) = mpsc::channel::<Result<http_body::Frame<Bytes>, std::convert::Infallible>>(1);
    let body = http_body_util::StreamBody::new(futures_util::stream::unfold(rest, async |mut rest| {
        Some((rest.recv().await?, rest))
    }));
    let body = Box::pin(body);
    let mut request = Request::builder().method("POST").uri("/mcp");
    for (name, value) in usual("application/json") {
        request = request.header(name, value);
    }
    let request = request.header("x-api-key", "key-of-all-0123456").body(body).unwrap();
    let asking = tokio::spawn({
        let gateway = gateway.clone();
        async move { gateway.answer(request).await }
    });
    let text = initialize("2025-06-18").to_string();
    let (first, second) = text.split_at(10);
    let frame = |text: &str| Ok(http_body::Frame::data(Bytes::from(text.to_owned())));
    more.send(frame(first)).await.unwrap();
    while more.capacity() == 0 {
        // Until that is read, so that the key was good.
        tokio::task::yield_now().await;
    }
    let mut left = keys();
    left.retain(|key| &*key.name != "all");
    gateway.change(&Arc::new(GatewaySpec { api_keys: left, ..spec() }), &servers(&["calc"])).await;
    more.send(frame(second)).await.unwrap();
    drop(more);
    assert_eq!(timeout(HANG, asking).await.unwrap().unwrap().status(), 401);
}

#[tokio::test]
async fn however_many_come_at_once_there_are_only_so_many_places() {
    let gateway = gateway();
    let all = (0..20).map(|_| {
        let gateway = gateway.clone();
        tokio::spawn(async move { post(&initialize("2025-06-18")).send(&gateway).await.status().as_u16() })
    });
    let mut got = Vec::new();
    for asked in all.collect::<Vec<_>>() {
        got.push(asked.await.unwrap());
    }
    assert_eq!(got.iter().filter(|status| **status == 200).count(), 3, "{got:?}");
    assert!(got.iter().all(|status| matches!(status, 200 | 503)), "{got:?}");
}

#[tokio::test]
async fn a_page_that_may_read_is_told_so_with_every_answer() {
    let gateway = guarded();
    let from = |ask: Ask, origin: &str| ask.with("origin", origin);
    let app = "https://app.example";
    let asked = get().by("OPTIONS").with("access-control-request-method", "POST");
    let asked = from(asked, app).with("access-control-request-headers", "mcp-session-id, x-whatever");
    let answer = asked.send(&gateway).await;
    assert_eq!(of(&answer, "access-control-allow-origin"), app);
    assert_eq!(of(&answer, "access-control-allow-headers"), "mcp-session-id, x-whatever");
    assert!(of(&answer, "access-control-allow-methods").contains("DELETE"));
    let answer = from(post(&initialize("2025-06-18")), app).send(&gateway).await;
    assert_eq!((answer.status().as_u16(), &*of(&answer, "access-control-allow-origin")), (401, app));
    assert!(of(&answer, "access-control-expose-headers").contains("WWW-Authenticate"));
    // Pages of this machine may ask, and read only what the config lets them.
    let answer = from(get().at("/livez"), "http://localhost:3000").send(&gateway).await;
    assert_eq!((answer.status().as_u16(), &*of(&answer, "access-control-allow-origin")), (200, ""));
    assert_eq!(of(&answer, "vary"), "Origin");
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_again() {
    let gateway = gateway_of(GatewaySpec { requests_per_second: Some(2), ..spec() });
    for _ in 0..2 {
        assert_eq!(post(&initialize("2025-06-18")).send(&gateway).await.status(), 200);
    }
    let refused = post(&initialize("2025-06-18")).send(&gateway).await;
    assert_eq!((refused.status().as_u16(), &*of(&refused, "retry-after")), (429, "1"));
    assert!(whole(refused).await.contains("-32004"));
    let refused = post(&initialize("2025-06-18")).with("mcp-protocol-version", "2026-07-28").send(&gateway).await;
    assert_eq!(refused.status(), 429);
    let told: Value = serde_json::from_str(&whole(refused).await).unwrap();
    assert_eq!((&told["error"]["code"], &told["error"]["data"]["reason"]), (&json!(-32603), &json!("rate_limited")));
    assert_eq!(get().at("/livez").send(&gateway).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn each_request_of_a_batch_counts_and_there_are_not_too_many() {
    let gateway = gateway_of(GatewaySpec { requests_per_second: Some(3), ..spec() });
    let id = of(&post(&initialize("2025-03-26")).send(&gateway).await, "mcp-session-id");
    let of_pings = |count: usize| {
        let ping = |id| json!({"jsonrpc": "2.0", "id": id, "method": "ping"});
        post(&(0..count).map(ping).collect()).with("mcp-session-id", &id)
    };
    assert_eq!(of_pings(3).send(&gateway).await.status(), 429);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(of_pings(3).send(&gateway).await.status(), 200);
    tokio::time::sleep(Duration::from_secs(1)).await;
    // More than there may be at once take all that there may be.
    assert_eq!(of_pings(9).send(&gateway).await.status(), 200);
    assert_eq!(of_pings(1).send(&gateway).await.status(), 429);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let refused = of_pings(101).send(&gateway).await;
    assert_eq!(refused.status(), 400);
    assert!(whole(refused).await.contains("a batch of more than 100 messages"));
}

#[tokio::test]
async fn a_client_over_websocket_is_told_where_to_dial() {
    let gateway = guarded();
    for path in ["/mcp", "/mcp/calc", "/sse", "/", "/elsewhere"] {
        let answer = get().at(path).with("upgrade", "WebSocket").with("connection", "Upgrade").send(&gateway).await;
        assert_eq!(answer.status(), 400, "{path}");
        assert!(whole(answer).await.contains("its clients use /ws, or /ws/SERVER for one server"), "{path}");
    }
    // Another protocol is none of ours, and a socket is what it was.
    assert_eq!(get().at("/").with("upgrade", "h2c").send(&gateway).await.status(), 200);
    assert_eq!(get().at("/ws").with("upgrade", "websocket").send(&gateway).await.status(), 401);
}

#[tokio::test]
async fn a_client_of_one_server_is_named_by_its_address_and_the_log_adds_the_server() {
    let (pipe, mut orders) = mpsc::channel::<Box<PipeOrder>>(4);
    let status = Status::default();
    let (spec, servers, survival) = (Arc::new(spec()), servers(&["calc"]), Survival::default());
    let gateway = Arc::new(Gateway::new(&spec, &servers, Reception::of(pipe), status, survival));
    let asking = tokio::spawn(async move { post(&initialize("2025-06-18")).at("/mcp/calc").send(&gateway).await });
    let PipeOrder::Receive(guest, ..) = *timeout(HANG, orders.recv()).await.unwrap().unwrap() else {
        panic!("a guest")
    };
    let names = crate::logging::Names::from_iter(["calc".into()]).at(Some(guest.name));
    assert_eq!(names.to_string(), "a client at /mcp/calc");
    asking.abort();
}

#[test]
fn patterns_of_a_key_are_told_of_by_their_place_in_the_config() {
    let mut keys = keys();
    keys[1].tools = Arc::new(ToolPolicy { deny: vec![Glob::new("x*")], ..ToolPolicy::default() });
    let spec = GatewaySpec { api_keys: keys, ..spec() };
    let terms = Terms::of(&Arc::new(spec), &servers(&["calc"]), None);
    let (_, policy) = &terms.keys[1].opens.gates.all.shown.servers[0];
    assert_eq!(&*policy.gate.as_ref().unwrap().place, "gateway.apiKeys[1].tools (key all)");
}

#[tokio::test]
async fn calls_under_way_take_no_place_of_streams_and_can_be_taken_up_again_whatever_is_open() {
    let gateway = gateway();
    let id = begin(&gateway, "2025-11-25").await;
    let calls: Vec<_> = (1..=4).map(|n| post(&call(n, "slow")).with("mcp-session-id", &id)).collect();
    let mut streams = Vec::new();
    for call in calls {
        streams.push(call.send(&gateway).await);
    }
    let priming = piece(&mut streams[3]).await;
    let last = priming.lines().find_map(|line| line.strip_prefix("id: ")).unwrap().to_owned();
    let listening = [(); 2].map(|()| get().with("mcp-session-id", &id));
    for ask in listening {
        let answer = ask.send(&gateway).await;
        assert_eq!(answer.status(), 200);
        streams.push(answer);
    }
    assert_eq!(get().with("mcp-session-id", &id).send(&gateway).await.status(), 429);
    drop(streams.remove(3));
    let resumed = get().with("mcp-session-id", &id).with("last-event-id", &last).send(&gateway).await;
    assert_eq!(resumed.status(), 200);
    post(&call(9, "go")).with("mcp-session-id", &id).send(&gateway).await;
    assert!(whole(resumed).await.contains(r#""id":4,"result":{"late":true}"#));
}

#[tokio::test]
async fn a_stream_is_given_to_whoever_does_not_say_what_they_take() {
    let gateway = gateway();
    let id = begin(&gateway, "2025-06-18").await;
    for (accept, status) in [
        ("", 200),
        ("*/*", 200),
        ("application/json, */*;q=0.1", 200),
        ("text/*", 200),
        ("text/event-stream", 200),
        ("application/json", 406),
        ("text/html", 406),
    ] {
        let answer = get().with("mcp-session-id", &id).with("accept", accept).send(&gateway).await;
        assert_eq!(answer.status(), status, "{accept}");
    }
}

#[tokio::test]
async fn what_is_offered_is_told_as_json_where_that_is_wanted_and_names_no_server_without_a_key() {
    let gateway = gateway_of(GatewaySpec { sse: true, ..spec() });
    let version = env!("CARGO_PKG_VERSION");
    let mut want =
        json!({"name": "mcp-pipe", "version": version, "streamableHttp": "/mcp", "webSocket": "/ws", "sse": "/sse"});
    let servers = json!([
        {"name": "calc", "streamableHttp": "/mcp/calc"},
        {"name": "my clock", "streamableHttp": "/mcp/my%20clock"},
    ]);
    want["servers"] = servers;
    let ask = || get().at("/").with("accept", "application/json");
    let told = ask().send(&gateway).await;
    assert_eq!(of(&told, "content-type"), "application/json");
    assert_eq!(serde_json::from_str::<Value>(&whole(told).await).unwrap(), want);
    for accept in ["", "*/*", "text/html, */*", "text/plain"] {
        let told = ask().with("accept", accept).send(&gateway).await;
        assert_eq!(of(&told, "content-type"), "text/plain; charset=utf-8", "{accept}");
        assert!(whole(told).await.contains("/mcp/my%20clock"), "{accept}");
    }
    let gateway = guarded();
    let told: Value = serde_json::from_str(&whole(ask().send(&gateway).await).await).unwrap();
    assert_eq!(told, json!({"name": "mcp-pipe", "version": version, "streamableHttp": "/mcp", "webSocket": "/ws"}));
    let told = ask().with("authorization", "Bearer key-of-calc-0123456").send(&gateway).await;
    let told: Value = serde_json::from_str(&whole(told).await).unwrap();
    assert_eq!(told["servers"], json!([{"name": "calc", "streamableHttp": "/mcp/calc"}]));
}

#[tokio::test(start_paused = true)]
async fn an_address_from_which_many_wrong_keys_come_is_told_to_wait_and_good_ones_are_let_in() {
    let gateway = guarded();
    let list = || post(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}));
    let with = |key: &str| list().with("x-api-key", key);
    let send = async |ask: Ask, from: [u8; 4]| ask.send_from(&gateway, Some(Source::of(from.into()))).await;
    let (here, there) = ([192, 0, 2, 1], [192, 0, 2, 2]);
    // Without a session a good key gets as far as this.
    const GOOD: u16 = 400;
    assert_eq!(send(with("key-of-all-0123456"), here).await.status(), GOOD);
    for n in 0..20 {
        let wrong = format!("not-a-key-{n}-0123456");
        let ask = if n % 2 == 0 { with(&wrong) } else { list().with("authorization", &format!("Bearer {wrong}")) };
        assert_eq!(send(ask, here).await.status(), 401, "{n}");
    }
    let refused = send(with("not-a-key-0123456"), here).await;
    assert_eq!((refused.status().as_u16(), &*of(&refused, "retry-after")), (429, "3"));
    assert!(whole(refused).await.contains(r#""code":-32004"#));
    let modern = send(with("not-a-key-0123456").with("mcp-protocol-version", "2026-07-28"), here).await;
    assert!(whole(modern).await.contains(r#""reason":"rate_limited""#));
    assert_eq!(send(with("key-of-path-0123456"), here).await.status(), GOOD, "a proxy may be there");
    assert_eq!(send(post(&initialize("2025-06-18")).at("/mcp/~not-a-key-0123456"), here).await.status(), 429);
    assert_eq!(send(with("key-of-all-0123456"), here).await.status(), GOOD);
    assert_eq!(send(list(), here).await.status(), 401, "without a key nobody guesses");
    assert_eq!(send(with("key-of-path-0123456"), there).await.status(), GOOD);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(send(with("key-of-path-0123456"), here).await.status(), GOOD);
}
