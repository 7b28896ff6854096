#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod bounds;
mod ear;
mod elsewhere;
mod health;
mod modern;
mod odd;
mod parting;
mod processes;
mod replicas;
mod tasks;

use std::collections::BTreeSet;
use std::ops::Add as _;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::config::Naming;
use crate::config::{Names, Sharing};
use crate::router::{PeerKind, in_guise, say};
use crate::tools::Glob;

#[derive(Debug, Default)]
struct Sink {
    endpoint: Vec<String>,
    servers: Vec<Vec<String>>,
    memories: Vec<(ServerIndex, Memory)>,
    hellos: Vec<String>,
    restarts: Vec<ServerIndex>,
    failed: Vec<(ServerIndex, String)>,
    notes: Vec<String>,
}

impl Out for Sink {
    fn to_peer(&mut self, _: PeerId, pieces: &[&[u8]]) {
        self.endpoint.push(String::from_utf8(pieces.concat()).unwrap());
    }
    fn to_server(&mut self, server: ServerIndex, pieces: &[&[u8]]) {
        self.servers[server].push(String::from_utf8(pieces.concat()).unwrap());
    }
    fn remember(&mut self, server: ServerIndex, memory: &Memory) {
        self.memories.push((server, memory.clone()));
    }
    fn remember_hello(&mut self, _: PeerId, params: &str) {
        self.hellos.push(params.to_owned());
    }
    fn restart(&mut self, server: ServerIndex, _: &'static str) {
        self.restarts.push(server);
    }
    fn end_failed(&mut self, server: ServerIndex, why: String) {
        self.failed.push((server, why));
    }
    fn note(&mut self, note: Note<'_>) {
        self.notes.push(note.to_string());
    }
}

/// A router with a clock that a test moves, in front of servers that answer handshakes and lists by themselves.
struct Rig {
    router: Hub,
    peer: PeerId,
    sink: Sink,
    now: Instant,
    /// What each server offers: its `initialize` result without the version, and its lists by method.
    offers: Vec<Value>,
}

fn offer(tools: &[&str]) -> Value {
    let tools: Vec<Value> = tools.iter().map(|name| json!({"name": name, "inputSchema": {"type": "object"}})).collect();
    json!({"capabilities": {"tools": {}}, "tools/list": {"tools": tools}})
}

fn specs(names: &[&str]) -> Vec<ServerSpec> {
    let minute = Duration::from_secs(60);
    names.iter().map(|name| ServerSpec { start_timeout: minute, ..ServerSpec::sample(name, "", &[]) }).collect()
}

impl Rig {
    fn new(specs: Vec<ServerSpec>, offers: Vec<Value>, memories: Vec<Option<Memory>>) -> Self {
        // Where servers are remembered, their endpoint is too.
        let known = parsed(&hello_with(0, json!({"roots": {}})))["params"].to_string();
        let known = (!memories.is_empty()).then(|| Arc::new(Hello::read(known.as_bytes())));
        let memories = memories.into_iter().chain(std::iter::repeat(None));
        let max_frame = specs.iter().map(|spec| spec.max_frame).max().unwrap_or_default();
        let resync = specs.first().is_none_or(|spec| spec.sharing.resync);
        let mut router = Hub::merging(specs.into_iter().map(Arc::new).zip(memories));
        let peer = router.join(NewPeer { resync, hello: known, ..NewPeer::unknown(max_frame) });
        let servers = vec![Vec::new(); offers.len()];
        Rig { router, peer, sink: Sink { servers, ..Sink::default() }, now: Instant::now(), offers }
    }

    /// Two servers that have `add` and something of their own, up and listed by an endpoint.
    fn pair() -> Self {
        let mut rig = Rig::new(specs(&["a", "b"]), vec![offer(&["add", "one"]), offer(&["add", "two"])], vec![]);
        rig.begin();
        rig
    }

    fn begin(&mut self) {
        for server in 0..self.offers.len() {
            self.up(server);
        }
        self.link_up();
        self.handshake();
        self.sink.notes.clear();
    }

    fn handshake(&mut self) {
        self.greet(&hello(0));
    }

    fn greet(&mut self, hello: &str) {
        self.endpoint(hello);
        self.endpoint(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        self.endpoint(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
        self.sink.endpoint.clear();
    }

    fn link_up(&mut self) {
        self.router.on_link_up(self.peer, self.now, &mut self.sink);
    }

    fn endpoint(&mut self, frame: &str) {
        self.router.on_peer(self.peer, frame.as_bytes(), self.now, &mut self.sink);
        self.serve();
    }

    fn server(&mut self, server: ServerIndex, frame: &str) {
        say(&mut self.router, server, frame.as_bytes(), self.now, &mut self.sink);
        self.serve();
    }

    /// A server starts, and shows that it is loaded.
    fn up(&mut self, server: ServerIndex) {
        self.router.on_server_up(server, self.now, &mut self.sink);
        self.serve();
    }

    fn down(&mut self, server: ServerIndex, retry_in: u64) {
        let gone = Gone { why: "exited with code 1", retry_in: Duration::from_secs(retry_in), by_command: false };
        self.router.on_server_down(server, gone, self.now, &mut self.sink);
        self.serve();
    }

    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds * 10 {
            self.now += Duration::from_millis(100);
            self.tick();
        }
    }

    fn tick(&mut self) {
        for round in 0.. {
            if self.router.next_tick().is_none_or(|at| at > self.now) {
                return;
            }
            assert!(round < 10, "ticks without end");
            self.router.on_tick(self.now, &mut self.sink);
            self.serve();
        }
    }

    /// The servers answer what they answer by themselves; all other messages stay in the sink.
    fn serve(&mut self) {
        loop {
            let mut answers = Vec::new();
            for (server, frames) in self.sink.servers.iter_mut().enumerate() {
                frames.retain(|frame| {
                    // A frame that a `Value` can't hold (1e999) is for a test to look at.
                    let frame: Value = serde_json::from_str(frame).unwrap_or_default();
                    let offer = &self.offers[server];
                    let result = match frame["method"].as_str() {
                        Some("ping") if offer["deaf"] == true => return true,
                        Some("ping") => json!({}),
                        Some("initialize") if offer["silent"] == true => return true,
                        Some("initialize") => {
                            let version = "2025-06-18";
                            json!({"protocolVersion": version, "capabilities": offer["capabilities"], "serverInfo": {"name": "s", "version": "1"}})
                        }
                        Some("notifications/initialized") => return false,
                        Some(list) if list.ends_with("/list") && !offer["raw"][list].is_null() => Value::Null,
                        Some(list) if list.ends_with("/list") && !offer[list].is_null() => offer[list].clone(),
                        _ => return true,
                    };
                    let method = frame["method"].as_str().unwrap_or_default();
                    let result = offer["raw"][method].as_str().map_or_else(|| result.to_string(), str::to_owned);
                    answers.push((server, format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, frame["id"])));
                    false
                });
            }
            if answers.is_empty() {
                return;
            }
            for (server, answer) in answers {
                say(&mut self.router, server, answer.as_bytes(), self.now, &mut self.sink);
            }
        }
    }

    fn at_endpoint(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.sink.endpoint).iter().map(|f| parsed(f)).collect()
    }

    fn at_server(&mut self, server: ServerIndex) -> Vec<Value> {
        std::mem::take(&mut self.sink.servers[server]).iter().map(|f| parsed(f)).collect()
    }

    /// The names in the tool list, as the endpoint reads them now.
    fn tools(&mut self) -> Vec<String> {
        self.sink.endpoint.clear();
        self.endpoint(r#"{"jsonrpc":"2.0","id":"tools","method":"tools/list"}"#);
        let answer = self.at_endpoint().pop().unwrap();
        let tools = answer["result"]["tools"].as_array().unwrap();
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    }
}

fn parsed(frame: &str) -> Value {
    serde_json::from_str(frame).unwrap()
}

/// What servers are told beforehand, but in another name.
fn hello(id: u64) -> String {
    hello_with(id, json!({"sampling": {}, "roots": {}}))
}

fn hello_with(id: u64, capabilities: Value) -> String {
    json!({"id": id, "jsonrpc": "2.0", "method": "initialize", "params": {"protocolVersion": "2024-11-05", "capabilities": capabilities}}).to_string()
}

fn call(id: impl Into<Value>, tool: &str) -> String {
    json!({"jsonrpc": "2.0", "id": id.into(), "method": "tools/call", "params": {"name": tool, "arguments": {}}})
        .to_string()
}

#[test]
fn the_burst_of_the_cloud_is_answered_with_the_union_of_all_servers() {
    let mut rig = Rig::new(specs(&["a", "b"]), vec![offer(&["add", "one"]), offer(&["add", "two"])], vec![]);
    rig.up(0);
    rig.up(1);
    assert_eq!([0, 1].map(|server| rig.router.start(server)), [Start::Settled; 2]);
    rig.link_up();
    rig.endpoint(&hello(0));
    let welcome = rig.at_endpoint();
    assert_eq!((&welcome[0]["id"], &welcome[0]["result"]["protocolVersion"]), (&json!(0), &json!("2024-11-05")));
    assert!(rig.router.is_handshaken(rig.peer));
    assert_eq!(rig.tools(), ["a__add", "one", "b__add", "two"]);
}

#[test]
fn a_call_reaches_the_server_that_has_the_tool_under_its_own_name_and_all_else_untouched() {
    let mut rig = Rig::pair();
    let text = r#"{"params":{"clientId":"x","name":"b__add","arguments":{"a":1.50,"n":123456789012345678901234567890}},"id" : "u_n_7","method":"tools/call","x":[]}"#;
    rig.endpoint(text);
    assert!(rig.sink.servers[0].is_empty());
    let sent = rig.sink.servers[1].pop().unwrap();
    let id = parsed(&sent)["id"].to_string();
    assert_eq!(sent, text.replace("b__add", "add").replace(r#""u_n_7""#, &id));
    rig.server(1, &format!(r#"{{"result":{{"n":1e2,"z":1.00}}, "jsonrpc" : "2.0","id":{id}}}"#));
    assert_eq!(rig.sink.endpoint, [r#"{"result":{"n":1e2,"z":1.00}, "jsonrpc" : "2.0","id":"u_n_7"}"#]);
    assert_eq!(rig.router.served(rig.peer), 1);
}

#[test]
fn of_several_servers_the_one_that_hangs_is_named_even_if_its_calls_are_given_up() {
    let mut rig = Rig::pair();
    rig.endpoint(&call(5, "one"));
    rig.endpoint(&call(6, "two"));
    rig.endpoint(r#"{"method":"notifications/cancelled","params":{"requestId":6}}"#);
    let first = rig.at_server(0).pop().unwrap();
    rig.server(0, &json!({"jsonrpc": "2.0", "id": first["id"], "result": {}}).to_string());
    let mut named = Vec::new();
    for _ in 0..4 {
        rig.pass(20);
        // The answer to a ping of this beat is lost.
        let mut deaf = Sink { servers: vec![Vec::new(); 2], ..Sink::default() };
        rig.router.on_beat(rig.peer, rig.now, &mut deaf);
        assert_eq!(deaf.servers[0], Vec::<String>::new());
        named.extend(deaf.notes);
    }
    assert_eq!(named.len(), 1, "{named:?}");
}

#[test]
fn an_unknown_tool_is_an_error_at_once_and_reaches_nobody() {
    let mut rig = Rig::pair();
    rig.endpoint(&call(3, "add"));
    let answer = rig.at_endpoint();
    assert_eq!((&answer[0]["id"], &answer[0]["error"]["code"]), (&json!(3), &json!(-32602)));
    assert!(rig.at_server(0).is_empty() && rig.at_server(1).is_empty());
}

#[test]
fn a_dead_server_costs_only_its_own_calls() {
    let mut rig = Rig::pair();
    rig.endpoint(&call(3, "one"));
    rig.endpoint(&call(4, "two"));
    let two = rig.at_server(1).pop().unwrap();
    rig.down(0, 100);
    let answers = rig.at_endpoint();
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0]["id"], 3);
    assert!(answers[0]["error"]["message"].as_str().unwrap().contains("server \"a\" exited with code 1"));
    rig.endpoint(&call(5, "one"));
    assert_eq!(rig.at_endpoint()[0]["id"], 5, "it comes back too late to wait for");
    rig.server(1, &json!({"jsonrpc": "2.0", "id": two["id"], "result": {}}).to_string());
    assert_eq!(rig.at_endpoint()[0]["id"], 4);
    assert_eq!(rig.tools(), ["a__add", "one", "b__add", "two"], "what it has stays listed");
}

#[test]
fn a_restarted_server_gets_its_handshake_before_the_calls_that_waited() {
    let mut rig = Rig::pair();
    rig.down(0, 1);
    rig.endpoint(&call(3, "one"));
    assert!(rig.at_endpoint().is_empty());
    rig.router.on_server_up(0, rig.now, &mut rig.sink);
    assert_eq!(parsed(&rig.sink.servers[0][0])["method"], "initialize");
    rig.serve();
    let sent = rig.at_server(0);
    assert_eq!((sent.len(), &sent[0]["params"]["name"]), (1, &json!("one")));
}

#[test]
fn a_lying_server_cannot_answer_for_another() {
    let mut rig = Rig::pair();
    rig.endpoint(&call(3, "two"));
    let id = rig.at_server(1)[0]["id"].clone();
    rig.server(0, &json!({"jsonrpc": "2.0", "id": id, "result": "lie"}).to_string());
    rig.server(0, &json!({"jsonrpc": "2.0", "id": id, "error": {"code": 1, "message": "lie"}}).to_string());
    rig.server(
        0,
        &json!({"method": "notifications/progress", "params": {"progressToken": id, "progress": 1}}).to_string(),
    );
    assert!(rig.at_endpoint().is_empty());
    rig.server(1, &json!({"jsonrpc": "2.0", "id": id, "result": {}}).to_string());
    rig.server(1, &json!({"jsonrpc": "2.0", "id": id, "result": {}}).to_string());
    assert_eq!(rig.at_endpoint().len(), 1);
}

#[test]
fn progress_tokens_of_both_directions_are_kept_apart() {
    let mut rig = Rig::pair();
    for (id, tool) in [(3, "one"), (4, "two")] {
        rig.endpoint(
            &json!({"id": id, "method": "tools/call", "params": {"name": tool, "_meta": {"progressToken": "same", "x": 1}}}).to_string(),
        );
    }
    let (_, b) = (rig.at_server(0), rig.at_server(1).pop().unwrap());
    let tb = &b["params"]["_meta"]["progressToken"];
    rig.server(
        1,
        &json!({"method": "notifications/progress", "params": {"progressToken": tb, "progress": 1}}).to_string(),
    );
    let progress = rig.at_endpoint();
    assert_eq!(progress[0]["params"], json!({"progressToken": "same", "progress": 1}));
    // The other direction: both servers ask with the same id and the same token.
    for server in [0, 1] {
        rig.server(server, r#"{"id":0,"method":"roots/list","params":{"_meta":{"progressToken":0}}}"#);
    }
    let asked = rig.at_endpoint();
    assert_ne!(asked[0]["id"], asked[1]["id"]);
    let token = &asked[1]["params"]["_meta"]["progressToken"];
    rig.endpoint(
        &json!({"method": "notifications/progress", "params": {"progressToken": token, "progress": 2}}).to_string(),
    );
    assert_eq!(rig.at_server(1)[0]["params"]["progressToken"], 0);
    rig.endpoint(&json!({"jsonrpc": "2.0", "id": asked[0]["id"], "result": {"roots": []}}).to_string());
    assert_eq!((rig.at_server(0)[0]["id"].clone(), rig.at_server(1).len()), (json!(0), 0));
}

#[test]
fn cancelling_reaches_the_server_that_works_on_it() {
    let mut rig = Rig::pair();
    rig.endpoint(&call("x", "two"));
    let id = rig.at_server(1)[0]["id"].clone();
    rig.endpoint(r#"{"method":"notifications/cancelled","params":{"requestId":"x","reason":"r"}}"#);
    assert!(rig.at_server(0).is_empty());
    assert_eq!(rig.at_server(1)[0]["params"], json!({"requestId": id, "reason": "r"}));
    rig.server(1, &json!({"jsonrpc": "2.0", "id": id, "result": {}}).to_string());
    assert!(rig.at_endpoint().is_empty(), "a cancelled request gets no answer");
}

#[test]
fn what_is_remembered_answers_for_a_server_that_is_still_starting() {
    let mut rig = Rig::pair();
    let mut memories = vec![None, None];
    for (server, memory) in rig.sink.memories.drain(..) {
        memories[server] = Some(memory);
    }
    assert!(memories.iter().all(Option::is_some));
    let mut rig = Rig::new(specs(&["a", "b"]), vec![offer(&["add", "one"]), offer(&["add", "two"])], memories);
    assert_eq!(
        [0, 1].map(|server| rig.router.start(server)),
        [Start::Settled; 2],
        "nothing to wait for before dialling"
    );
    rig.link_up();
    rig.endpoint(&hello_with(0, json!({"roots": {}})));
    assert_eq!(rig.at_endpoint()[0]["id"], 0);
    assert_eq!(rig.tools(), ["a__add", "one", "b__add", "two"]);
    rig.endpoint(&call(2, "one"));
    assert!(rig.at_endpoint().is_empty(), "the call waits for its server");
    rig.up(0);
    rig.up(1);
    assert_eq!(rig.at_server(0)[0]["params"]["name"], "one");
    assert!(rig.at_endpoint().is_empty() && rig.sink.memories.is_empty(), "nothing new: nothing to tell or to keep");
    assert!(rig.sink.hellos.is_empty());
    assert_eq!(rig.router.wants_reconnect(rig.peer, rig.now + Duration::from_secs(3600)), None);
}

#[test]
fn servers_wait_for_their_endpoint_where_its_parameters_are_only_likely_and_go_on_at_once_where_they_are_remembered() {
    let offers = || vec![offer(&["add", "one"]), offer(&["add", "two"])];
    let read = |rig: &Rig| rig.router.servers.iter().all(|member| member.shelf.is_known());
    let mut rig = Rig::new(specs(&["a", "b"]), offers(), vec![]);
    rig.up(0);
    rig.up(1);
    rig.pass(3600);
    assert!(!read(&rig) && rig.router.servers.iter().all(|member| matches!(member.lane.state, ServerSide::Greeted)));
    rig.link_up();
    rig.endpoint(r#"{"id":1,"method":"server/discover"}"#);
    assert_eq!(rig.at_endpoint()[0]["error"]["code"], METHOD_NOT_FOUND);
    assert!(rig.router.servers.iter().all(|member| matches!(member.lane.state, ServerSide::Greeted)));
    // An endpoint that goes on without a handshake won't have one.
    assert_eq!(rig.tools(), ["a__add", "one", "b__add", "two"]);
    let mut rig = Rig::new(specs(&["a", "b"]), offers(), memories());
    rig.up(0);
    rig.up(1);
    assert!(rig.router.servers.iter().all(|member| member.lane.is_ready()));
}

#[test]
fn a_first_list_waits_for_all_servers_and_goes_out_without_one_that_takes_too_long() {
    let mut rig = Rig::new(
        specs(&["a", "b"]),
        vec![offer(&["one"]), json!({"silent": true, "tools/list": {"tools": []}})],
        vec![],
    );
    rig.up(0);
    rig.up(1);
    rig.link_up();
    rig.endpoint(&hello(0));
    rig.endpoint(r#"{"id":1,"method":"tools/list"}"#);
    assert!(rig.at_endpoint().is_empty());
    rig.pass(9);
    let answers = rig.at_endpoint();
    assert_eq!((&answers[0]["id"], &answers[1]["id"]), (&json!(0), &json!(1)));
    assert_eq!(answers[1]["result"]["tools"].as_array().unwrap().len(), 1);
    assert_eq!(rig.tools(), ["one"], "and nobody waits for it again");
}

#[test]
fn a_changed_list_is_told_and_read_anew_or_brings_a_new_connection() {
    let mut rig = Rig::pair();
    let changed = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
    rig.server(0, changed);
    rig.pass(100);
    assert!(
        rig.at_endpoint().is_empty() && rig.router.wants_reconnect(rig.peer, rig.now).is_none(),
        "the same list: no change"
    );
    rig.offers[0] = offer(&["add", "more"]);
    rig.server(0, changed);
    let told = rig.at_endpoint();
    assert_eq!((told.len(), &told[0]["method"]), (1, &json!("notifications/tools/list_changed")));
    assert_eq!(rig.tools(), ["a__add", "more", "b__add", "two"]);
    rig.pass(100);
    assert_eq!(rig.router.wants_reconnect(rig.peer, rig.now), None, "it has read it");
    rig.offers[0] = offer(&["add"]);
    rig.server(0, changed);
    rig.pass(4);
    assert_eq!(rig.router.wants_reconnect(rig.peer, rig.now), None, "it may still read it");
    rig.endpoint(&call(7, "two"));
    let id = rig.at_server(1)[0]["id"].clone();
    rig.pass(2);
    assert_eq!(rig.router.wants_reconnect(rig.peer, rig.now), None, "a call is under way");
    rig.server(1, &json!({"jsonrpc": "2.0", "id": id, "result": {}}).to_string());
    assert_eq!(rig.router.wants_reconnect(rig.peer, rig.now), Some(Reconnect::Resync));
    rig.router.on_link_down(rig.peer, rig.now, &mut rig.sink);
    rig.link_up();
    rig.handshake();
    rig.pass(100);
    assert_eq!(rig.router.wants_reconnect(rig.peer, rig.now), None, "once");
}

#[test]
fn hidden_tools_are_neither_listed_nor_called_and_the_others_are_as_configured() {
    let mut spec = specs(&["a"]);
    spec[0].tools = Arc::new(ToolPolicy {
        deny: vec![Glob::new("secret*")],
        rename: vec![("one".into(), "uno".into())],
        describe: vec![(Glob::new("one"), "First.".into())],
        max_result: Some(300),
        timeout: Some(Duration::from_secs(3)),
        ..ToolPolicy::default()
    });
    let mut rig = Rig::new(spec, vec![offer(&["one", "secret_1"])], vec![]);
    rig.begin();
    assert_eq!(rig.tools(), ["uno"]);
    for hidden in ["secret_1", "one"] {
        rig.endpoint(&call(1, hidden));
        assert_eq!(rig.at_endpoint()[0]["error"]["code"], -32602, "{hidden}");
    }
    rig.endpoint(&call(2, "uno"));
    let sent = rig.at_server(0).pop().unwrap();
    assert_eq!(sent["params"]["name"], "one");
    let text = "é".repeat(1000);
    rig.server(
        0,
        &json!({"jsonrpc": "2.0", "id": sent["id"], "result": {"content": [{"type": "text", "text": text}]}})
            .to_string(),
    );
    let answer = rig.at_endpoint().pop().unwrap();
    assert_eq!(answer["id"], 2);
    assert!(
        answer["result"].to_string().len() <= 300
            && answer["result"]["content"][0]["text"].as_str().unwrap().starts_with("éé")
    );
    rig.endpoint(&call(3, "uno"));
    let sent = rig.at_server(0).pop().unwrap();
    rig.pass(3);
    let answer = rig.at_endpoint().pop().unwrap();
    assert!(answer["error"]["message"].as_str().unwrap().contains("within 3.0 s"), "{answer}");
    assert_eq!(rig.at_server(0)[0]["params"]["requestId"], sent["id"]);
    rig.server(0, &json!({"jsonrpc": "2.0", "id": sent["id"], "result": {}}).to_string());
    assert!(rig.at_endpoint().is_empty(), "too late");
}

#[test]
fn prompts_resources_completions_and_levels_go_where_they_belong() {
    let mut offers = vec![offer(&["one"]), offer(&["two"])];
    for (server, offer) in offers.iter_mut().enumerate() {
        offer["capabilities"] = json!({"prompts": {}, "resources": {"subscribe": true}, "logging": {}});
        offer["prompts/list"] = json!({"prompts": [{"name": "ask"}, {"name": format!("p{server}")}]});
        offer["resources/list"] =
            json!({"resources": [{"uri": "mem:all", "name": "x"}, {"uri": format!("mem:{server}")}]});
        offer["resources/templates/list"] =
            json!({"resourceTemplates": [{"uriTemplate": format!("s{server}:{{id}}")}]});
    }
    let mut rig = Rig::new(specs(&["a", "b"]), offers, vec![]);
    rig.begin();
    rig.endpoint(r#"{"id":1,"method":"resources/list","params":null}"#);
    let listed = rig.at_endpoint()[0]["result"]["resources"].clone();
    let uris: Vec<&str> = listed.as_array().unwrap().iter().map(|r| r["uri"].as_str().unwrap()).collect();
    assert_eq!(uris, ["mcp-pipe://a/mem:all", "mem:0", "mcp-pipe://b/mem:all", "mem:1"]);
    for (method, params, own) in [
        ("prompts/get", json!({"name": "b__ask"}), json!({"name": "ask"})),
        ("resources/read", json!({"uri": "mem:1"}), json!({"uri": "mem:1"})),
        ("resources/read", json!({"uri": "mcp-pipe://b/mem:all"}), json!({"uri": "mem:all"})),
        ("resources/subscribe", json!({"uri": "mcp-pipe://b/mem:all"}), json!({"uri": "mem:all"})),
        ("resources/read", json!({"uri": "s1:77"}), json!({"uri": "s1:77"})),
        (
            "completion/complete",
            json!({"ref": {"type": "ref/prompt", "name": "b__ask"}, "argument": {"name": "n", "value": "v"}}),
            json!({"ref": {"type": "ref/prompt", "name": "ask"}, "argument": {"name": "n", "value": "v"}}),
        ),
        (
            "completion/complete",
            json!({"ref": {"type": "ref/resource", "uri": "s1:{id}"}, "argument": {}}),
            json!({"ref": {"type": "ref/resource", "uri": "s1:{id}"}, "argument": {}}),
        ),
    ] {
        rig.endpoint(&json!({"id": 5, "method": method, "params": params}).to_string());
        assert!(rig.at_server(0).is_empty(), "{method}");
        assert_eq!(rig.at_server(1)[0]["params"], own, "{method}");
    }
    rig.endpoint(r#"{"id":6,"method":"logging/setLevel","params":{"level":"error"}}"#);
    assert_eq!(rig.at_endpoint(), [json!({"jsonrpc": "2.0", "id": 6, "result": {}})]);
    for server in [0, 1] {
        assert_eq!(rig.at_server(server)[0]["params"]["level"], "error");
    }
    rig.server(1, r#"{"method":"notifications/resources/updated","params":{"uri":"mem:all"}}"#);
    assert_eq!(rig.at_endpoint()[0]["params"]["uri"], "mcp-pipe://b/mem:all");
    // After a restart the server is told again what the endpoint wants of it.
    rig.down(1, 1);
    rig.at_endpoint();
    rig.up(1);
    let methods: Vec<Value> = rig.at_server(1).into_iter().map(|f| f["method"].clone()).collect();
    assert_eq!(methods, ["resources/subscribe", "logging/setLevel"]);
}

#[test]
fn a_method_that_nobody_here_knows_goes_to_each_server_until_one_knows_it() {
    let mut rig = Rig::pair();
    let text = r#"{"id":"q","method":"x/y","params":{"n":1.0}}"#;
    rig.endpoint(text);
    let first = rig.at_server(0).pop().unwrap();
    rig.server(
        0,
        &json!({"jsonrpc": "2.0", "id": first["id"], "error": {"code": -32601, "message": "no"}}).to_string(),
    );
    assert!(rig.at_endpoint().is_empty());
    let second = rig.sink.servers[1].pop().unwrap();
    let id = parsed(&second)["id"].clone();
    assert_eq!(second, text.replace(r#""q""#, &id.to_string()));
    rig.server(1, &json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "neither"}}).to_string());
    let answer = rig.at_endpoint();
    assert_eq!((&answer[0]["id"], &answer[0]["error"]["message"]), (&json!("q"), &json!("neither")));
}

#[test]
fn a_server_that_refuses_to_initialize_keeps_nobody_waiting() {
    let mut rig = Rig::new(specs(&["a", "b"]), vec![offer(&["one"]), json!({"silent": true})], vec![]);
    rig.up(0);
    rig.up(1);
    rig.link_up();
    rig.endpoint(&hello(0));
    let greeting = rig.at_server(1).pop().unwrap();
    rig.server(
        1,
        &json!({"jsonrpc": "2.0", "id": greeting["id"], "error": {"code": -1, "message": "not today"}}).to_string(),
    );
    assert_eq!(rig.at_endpoint()[0]["id"], 0);
    assert!(rig.sink.notes.iter().any(|note| note.contains("not today")), "{:?}", rig.sink.notes);
    assert_eq!(rig.tools(), ["one"]);
}

#[test]
fn a_busy_server_is_waited_for_and_its_siblings_go_on() {
    let mut rig = Rig::pair();
    rig.router.on_server_busy(0, true, rig.now, &mut rig.sink);
    rig.endpoint(&call(3, "one"));
    rig.endpoint(&call(4, "two"));
    assert_eq!((rig.at_server(0).len(), rig.at_server(1).len()), (0, 1));
    rig.router.on_server_busy(0, false, rig.now, &mut rig.sink);
    assert_eq!(rig.at_server(0)[0]["params"]["name"], "one");
    rig.router.on_server_busy(0, true, rig.now, &mut rig.sink);
    rig.endpoint(&call(5, "one"));
    rig.pass(9);
    assert_eq!(rig.at_endpoint()[0]["id"], 5, "not for ever");
}

#[test]
fn with_prefix_every_name_begins_with_its_server_and_a_server_alone_introduces_itself() {
    let mut spec = specs(&["a", "b"]);
    for spec in &mut spec {
        spec.sharing = Sharing { naming: Naming::Prefix, ..Sharing::default() };
    }
    let mut rig = Rig::new(spec, vec![offer(&["one"]), offer(&["two"])], vec![]);
    rig.begin();
    assert_eq!(rig.tools(), ["a__one", "b__two"]);
    let mut rig = Rig::new(specs(&["a"]), vec![offer(&["one"])], vec![]);
    rig.up(0);
    rig.link_up();
    rig.endpoint(&hello(0));
    assert_eq!(rig.at_endpoint()[0]["result"]["serverInfo"]["name"], "s");
}

#[test]
fn names_in_other_scripts_stay_where_the_endpoint_takes_them_and_are_told_where_not() {
    let offers = || vec![offer(&["天气", "find"]), offer(&["预报", "find", "x.y"])];
    let mut spec = specs(&["weather", "b"]);
    let mut rig = Rig::new(spec.clone(), offers(), vec![]);
    rig.begin();
    let names = rig.tools();
    assert!(names[0].starts_with("weather_") && names[2].starts_with("b_") && names[4] == "x_y", "{names:?}");
    rig.endpoint(&call(1, &names[2]));
    assert_eq!(rig.at_server(1)[0]["params"]["name"], "预报");
    let told = |rig: &Rig| -> Vec<String> {
        rig.sink.notes.iter().filter(|note| note.contains("published under others")).cloned().collect()
    };
    rig.tools();
    let mut rig = Rig::new(spec.clone(), offers(), vec![]);
    rig.up(0);
    rig.up(1);
    rig.link_up();
    rig.handshake();
    rig.tools();
    let notes = told(&rig);
    assert_eq!(notes.len(), 2, "once for each server: {notes:?}");
    let want = format!("天气 as {}; to choose a name, write \"rename\": {{\"天气\": \"…\"}} in \"tools\"", names[0]);
    assert!(notes[0].contains(&want) && notes[0].contains("\"names\": \"unicode\""), "{notes:?}");
    assert!(notes[1].contains(&format!("预报 as {}, x.y as x_y;", names[2])), "{notes:?}");
    rig.offers[1] = offer(&["预报", "find"]);
    rig.server(1, CHANGED);
    rig.tools();
    assert!(told(&rig).len() > 2, "another list");

    for spec in &mut spec {
        spec.sharing.names = Names::Unicode;
    }
    let mut rig = Rig::new(spec, offers(), vec![]);
    rig.begin();
    assert_eq!(rig.tools(), ["天气", "weather__find", "预报", "b__find", "x.y"]);
    rig.endpoint(&call(1, "天气"));
    assert_eq!(rig.at_server(0)[0]["params"]["name"], "天气");
    assert!(told(&rig).is_empty());

    // A server alone has nobody to be kept apart from, and its names pass as they do without any edits.
    let mut rig = Rig::new(specs(&["a"]), vec![offer(&["天气", "a.b/c", &"x".repeat(100)])], vec![]);
    rig.begin();
    assert_eq!(rig.tools(), ["天气", "a.b/c", &"x".repeat(100)]);
}

#[test]
fn names_of_prompts_stay_as_they_are() {
    let mut offers = vec![offer(&[]), offer(&[])];
    for (server, offer) in offers.iter_mut().enumerate() {
        offer["capabilities"]["prompts"] = json!({});
        offer["prompts/list"] = json!({"prompts": [{"name": "写 诗"}, {"name": format!("a/{server}")}]});
    }
    let mut rig = Rig::new(specs(&["a", "b"]), offers, vec![]);
    rig.begin();
    rig.endpoint(r#"{"id":1,"method":"prompts/list"}"#);
    let prompts = rig.at_endpoint()[0]["result"]["prompts"].clone();
    let names: Vec<&str> = prompts.as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["a__写 诗", "a/0", "b__写 诗", "a/1"]);
}

#[test]
fn a_server_that_is_down_is_not_listed_if_so_configured() {
    let mut spec = specs(&["a", "b"]);
    spec[0].keep_listed = false;
    let mut rig = Rig::new(spec, vec![offer(&["add", "one"]), offer(&["add", "two"])], vec![]);
    rig.begin();
    rig.down(0, 100);
    assert_eq!(rig.at_endpoint()[0]["method"], "notifications/tools/list_changed");
    assert_eq!(rig.tools(), ["b__add", "two"], "and the names of the others stay");
    rig.up(0);
    assert_eq!(rig.tools(), ["a__add", "one", "b__add", "two"]);
}

fn error(id: &Value, code: i32, message: &str) -> String {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}}).to_string()
}

/// What an earlier run of [`Rig::pair`] remembered, whose endpoint had `roots` only.
fn memories() -> Vec<Option<Memory>> {
    let mut rig = Rig::new(specs(&["a", "b"]), vec![offer(&["add", "one"]), offer(&["add", "two"])], vec![]);
    rig.up(0);
    rig.up(1);
    rig.link_up();
    rig.greet(&hello_with(0, json!({"roots": {}})));
    rig.pass(31);
    let mut memories = vec![None, None];
    for (server, memory) in rig.sink.memories.drain(..) {
        memories[server] = Some(memory);
    }
    memories
}

#[test]
fn a_policy_is_compared_with_a_remembered_list_as_well_and_once_in_a_run() {
    let mut specs = specs(&["a", "b"]);
    specs[0].tools = Arc::new(ToolPolicy { allow: vec![Glob::new("adds")], ..ToolPolicy::default() });
    let mut rig = Rig::new(specs, vec![offer(&["add", "one"]), offer(&["add", "two"])], memories());
    rig.up(0);
    rig.up(1);
    let doubts = |rig: &Rig| rig.sink.notes.iter().filter(|note| note.contains("did you mean add?")).count();
    assert_eq!(doubts(&rig), 1, "{:?}", rig.sink.notes);
    rig.down(0, 1);
    rig.up(0);
    assert_eq!(doubts(&rig), 1, "a new life of the server, with the same list");
    rig.offers[0] = offer(&["add", "three"]);
    rig.server(0, r#"{"method":"notifications/tools/list_changed"}"#);
    assert_eq!(doubts(&rig), 2, "another list");
}

#[test]
fn a_server_that_takes_one_handshake_only_is_started_anew_once_and_its_siblings_go_on() {
    let mut rig = Rig::new(specs(&["a", "b"]), vec![offer(&["add", "one"]), offer(&["add", "two"])], memories());
    rig.up(0);
    rig.up(1);
    rig.offers[0]["silent"] = true.into();
    rig.link_up();
    rig.endpoint(OTHER_HELLO);
    assert!(rig.at_endpoint().is_empty(), "what it says to that is not known yet");
    let again = rig.at_server(0).pop().unwrap();
    assert_eq!(again["params"]["capabilities"], json!({"sampling": {}}));
    rig.endpoint(&call(1, "one"));
    rig.endpoint(&call(2, "two"));
    rig.server(0, &error(&again["id"], -32600, "duplicate"));
    assert_eq!((rig.at_endpoint()[0]["id"].clone(), rig.sink.restarts.as_slice()), (json!(0), &[0][..]));
    assert_eq!(rig.at_server(1)[0]["params"]["name"], "two");
    assert_eq!(rig.router.start(0), Start::Settled, "what it has is remembered");
    rig.down(0, 0);
    rig.up(0);
    let first = rig.at_server(0).pop().unwrap();
    assert_eq!(first["params"]["capabilities"], json!({"sampling": {}}));
    rig.offers[0]["silent"] = false.into();
    let welcome = json!({"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}});
    rig.server(0, &json!({"jsonrpc": "2.0", "id": first["id"], "result": welcome}).to_string());
    assert_eq!(rig.at_server(0)[0]["params"]["name"], "one", "what waited goes to it");
    // Another robot says yet other things, and which robot that is matters to nobody.
    for capabilities in [json!({}), json!({"sampling": {}})] {
        rig.endpoint(&hello_with(0, capabilities));
        assert!(rig.at_server(0).is_empty() && rig.at_server(1).is_empty());
    }
    assert_eq!(rig.sink.restarts, [0]);
}

#[test]
fn what_a_server_asks_before_the_endpoint_is_ready_is_asked_as_soon_as_the_endpoint_is() {
    let mut rig = Rig::new(specs(&["a", "b"]), vec![offer(&["one"]), offer(&["two"])], vec![]);
    rig.up(0);
    rig.up(1);
    rig.link_up();
    rig.endpoint(&hello(0));
    rig.at_endpoint();
    rig.server(0, r#"{"id":0,"method":"roots/list"}"#);
    assert!(rig.at_endpoint().is_empty() && rig.at_server(0).is_empty());
    rig.endpoint(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    let asked = rig.at_endpoint().pop().unwrap();
    assert_eq!(asked["method"], "roots/list");
    rig.endpoint(&json!({"jsonrpc": "2.0", "id": asked["id"], "result": {"roots": []}}).to_string());
    assert_eq!(rig.at_server(0)[0]["id"], 0);
}

#[test]
fn a_list_that_fails_or_hangs_is_no_empty_list_and_keeps_nothing_else_back() {
    let mut offers = vec![offer(&["one"]), offer(&["two"])];
    offers[0]["tools/list"] = Value::Null;
    offers[1]["capabilities"] = json!({"prompts": {}}); // and the server never answers prompts/list
    let mut rig = Rig::new(specs(&["a", "b"]), offers, vec![]);
    rig.up(0);
    rig.up(1);
    rig.link_up();
    rig.endpoint(&hello(0));
    let asked = rig.at_server(0).pop().unwrap();
    rig.server(0, &error(&asked["id"], -32603, "database is locked"));
    assert!(rig.sink.notes.iter().any(|note| note.contains("database is locked")), "{:?}", rig.sink.notes);
    rig.endpoint(r#"{"id":1,"method":"tools/list"}"#);
    rig.pass(9);
    rig.at_endpoint();
    assert_eq!(rig.tools(), ["two"]);
    assert!(rig.sink.memories.is_empty(), "an empty list is not what it has");
    rig.offers[0] = offer(&["one"]);
    rig.pass(40);
    assert_eq!(rig.tools(), ["one", "two"], "it was asked again");
    assert!(rig.sink.memories.iter().all(|(server, _)| *server == 0) && !rig.sink.memories.is_empty());
}

#[test]
fn a_request_before_the_handshake_does_not_settle_what_the_endpoint_can_do() {
    let mut rig = Rig::new(specs(&["a"]), vec![offer(&["one"])], vec![]);
    rig.up(0);
    rig.link_up();
    assert_eq!(rig.tools(), ["one"]);
    assert!(rig.sink.hellos.is_empty());
    rig.handshake();
    rig.server(0, r#"{"id":7,"method":"roots/list"}"#);
    assert_eq!(rig.at_endpoint()[0]["method"], "roots/list", "the endpoint declared roots");
}

#[test]
fn a_server_that_hangs_keeps_no_change_of_the_others_back() {
    let mut rig = Rig::new(specs(&["a", "b"]), vec![offer(&["one"]), json!({"silent": true})], vec![]);
    rig.begin();
    rig.pass(10);
    rig.handshake();
    rig.down(1, 1);
    rig.up(1);
    rig.at_endpoint();
    rig.offers[0] = offer(&["one", "more"]);
    rig.server(0, r#"{"method":"notifications/tools/list_changed"}"#);
    assert_eq!(rig.at_endpoint()[0]["method"], "notifications/tools/list_changed");
}

#[test]
fn a_server_whose_list_changes_all_the_time_is_read_once_a_second_and_remembered_twice_a_minute() {
    let mut rig = Rig::pair();
    rig.sink.memories.clear();
    rig.offers[0]["tools/list"] = Value::Null;
    let (mut reads, changed) = (0, r#"{"method":"notifications/tools/list_changed"}"#);
    for round in 0..600 {
        rig.server(0, changed);
        for asked in rig.at_server(0) {
            reads += 1;
            let tools = json!({"tools": [{"name": format!("t{round}")}]});
            rig.server(0, &json!({"jsonrpc": "2.0", "id": asked["id"], "result": tools}).to_string());
        }
        rig.now += Duration::from_millis(100);
        rig.tick();
    }
    assert!((50..=70).contains(&reads), "{reads} in a minute");
    assert!(rig.sink.memories.len() <= 3, "{}", rig.sink.memories.len());
}

#[test]
fn a_name_means_what_it_meant_when_it_was_read() {
    let mut rig = Rig::new(specs(&["a", "b"]), vec![offer(&["x.y", "find"]), offer(&["two"])], vec![]);
    rig.begin();
    assert_eq!(rig.tools(), ["x_y", "find", "two"]);
    rig.offers[1] = offer(&["x_y", "find"]);
    rig.server(1, r#"{"method":"notifications/tools/list_changed"}"#);
    for name in ["x_y", "find"] {
        rig.endpoint(&call(1, name));
        assert_eq!((rig.at_server(0).len(), rig.at_server(1).len()), (1, 0), "{name} was a's");
    }
    let names = rig.tools();
    assert_eq!((names[1..].to_vec(), names.len()), (vec!["a__find".into(), "x_y".into(), "b__find".into()], 4));
    rig.endpoint(&call(1, "x_y"));
    assert_eq!((rig.at_server(0).len(), rig.at_server(1).len()), (0, 1), "now it has read the new list");
}

#[test]
fn a_uri_means_what_it_meant_when_it_was_read() {
    let (mut a, mut b) = (offer(&["one"]), offer(&["two"]));
    for offer in [&mut a, &mut b] {
        offer["capabilities"] = json!({"resources": {"subscribe": true, "listChanged": true}});
        offer["resources/list"] = json!({"resources": []});
        offer["resources/templates/list"] = json!({"resourceTemplates": []});
    }
    b["resources/list"] = json!({"resources": [{"uri": "mem:x", "name": "x"}, {"uri": "mem:gone", "name": "x"}]});
    b["resources/templates/list"] = json!({"resourceTemplates": [{"uriTemplate": "s:{id}"}]});
    let mut rig = Rig::new(specs(&["a", "b"]), vec![a, b.clone()], vec![]);
    rig.begin();
    let read_lists = |rig: &mut Rig| {
        rig.endpoint(r#"{"id":1,"method":"resources/list"}"#);
        rig.endpoint(r#"{"id":2,"method":"resources/templates/list"}"#);
        rig.at_endpoint()
    };
    read_lists(&mut rig);
    for uri in ["mem:x", "mem:gone"] {
        rig.endpoint(&json!({"id": 3, "method": "resources/subscribe", "params": {"uri": uri}}).to_string());
    }
    assert_eq!(rig.at_server(1).len(), 2);
    // Another server now has the same, and a resource that was only covered by a template before.
    rig.offers[0]["resources/list"] =
        json!({"resources": [{"uri": "mem:x", "name": "x"}, {"uri": "s:1", "name": "x"}]});
    rig.offers[0]["resources/templates/list"] = b["resources/templates/list"].clone();
    rig.offers[1]["resources/list"] = json!({"resources": [{"uri": "mem:x", "name": "x"}]});
    for server in [0, 1] {
        rig.server(server, r#"{"method":"notifications/resources/list_changed"}"#);
    }
    let completion = json!({"ref": {"type": "ref/resource", "uri": "s:{id}"}, "argument": {}});
    for (method, params) in [
        ("resources/read", json!({"uri": "mem:x"})),
        ("resources/read", json!({"uri": "s:1"})),
        ("resources/read", json!({"uri": "s:2"})),
        ("completion/complete", completion),
        ("resources/unsubscribe", json!({"uri": "mem:x"})),
        ("resources/unsubscribe", json!({"uri": "mem:gone"})),
    ] {
        rig.endpoint(&json!({"id": 4, "method": method, "params": params}).to_string());
        assert_eq!(rig.at_server(0), [json!(null); 0], "{method} {params} was b's");
        assert_eq!(rig.at_server(1)[0]["params"], params, "{method}");
    }
    read_lists(&mut rig);
    for (uri, server) in [("s:1", 0), ("mcp-pipe://b/mem:x", 1), ("mcp-pipe://a/s:2", 0)] {
        rig.endpoint(&json!({"id": 5, "method": "resources/read", "params": {"uri": uri}}).to_string());
        let asked = [rig.at_server(0).len(), rig.at_server(1).len()];
        assert_eq!(asked[server], 1, "{uri}: now it has read the new lists");
    }
}

#[test]
fn a_server_that_comes_and_goes_unlisted_brings_fewer_and_fewer_connections() {
    let mut spec = specs(&["a", "b"]);
    spec[0].keep_listed = false;
    let mut rig = Rig::new(spec, vec![offer(&["one"]), offer(&["two"])], vec![]);
    rig.begin();
    let mut made = 0;
    for round in 0..240 {
        if round % 2 == 0 {
            rig.down(0, 30)
        } else {
            rig.up(0)
        }
        for _ in 0..30 {
            rig.pass(1);
            if rig.router.wants_reconnect(rig.peer, rig.now).is_some() {
                made += 1;
                rig.router.on_link_down(rig.peer, rig.now, &mut rig.sink);
                rig.link_up();
                rig.handshake();
            }
        }
    }
    assert!((3..=10).contains(&made), "{made} in two hours");
}

#[test]
fn the_same_tools_in_another_order_are_no_change_and_other_capabilities_are_one() {
    let mut rig = Rig::pair();
    rig.offers[0] = offer(&["one", "add"]);
    rig.down(0, 0);
    rig.up(0);
    rig.pass(100);
    assert!(rig.at_endpoint().is_empty() && rig.router.wants_reconnect(rig.peer, rig.now).is_none());
    rig.offers[0]["capabilities"]["completions"] = json!({});
    rig.down(0, 0);
    rig.up(0);
    rig.pass(10);
    assert_eq!(rig.router.wants_reconnect(rig.peer, rig.now), Some(Reconnect::Resync));
}

#[test]
fn a_server_that_refused_to_initialize_is_asked_again_after_a_while_and_its_calls_fail_at_once() {
    let mut rig = Rig::new(specs(&["a", "b"]), vec![offer(&["add", "one"]), offer(&["add", "two"])], memories());
    rig.offers[0]["silent"] = true.into();
    rig.up(0);
    rig.up(1);
    let asked = rig.at_server(0).pop().unwrap();
    rig.link_up();
    rig.endpoint(&hello_with(0, json!({"roots": {}})));
    rig.endpoint(&call(1, "one"));
    rig.at_endpoint();
    rig.server(0, &error(&asked["id"], -1, "no licence"));
    assert!(rig.at_endpoint()[0]["error"]["message"].as_str().unwrap().contains("no licence"), "what waited");
    rig.endpoint(&call(2, "one"));
    assert_eq!(rig.at_endpoint()[0]["id"], 2);
    rig.endpoint(&hello(3));
    assert!(rig.at_endpoint()[0]["result"].is_object(), "the others go on");
    rig.sink.restarts.clear();
    rig.pass(5);
    assert_eq!(rig.sink.restarts, [0]);
    rig.offers[0]["silent"] = false.into();
    rig.down(0, 0);
    rig.up(0);
    rig.endpoint(&call(4, "one"));
    assert_eq!(rig.at_server(0)[0]["params"]["name"], "one");
}

#[test]
fn where_all_servers_refuse_to_initialize_their_words_are_the_answer() {
    let silent = || json!({"silent": true});
    let mut rig = Rig::new(specs(&["a", "b"]), vec![silent(), silent()], vec![]);
    rig.link_up();
    for server in [0, 1] {
        rig.up(server);
        let asked = rig.at_server(server).pop().unwrap();
        rig.server(server, &error(&asked["id"], -1, "no licence"));
    }
    rig.endpoint(&hello(0));
    let message = rig.at_endpoint()[0]["error"]["message"].to_string();
    assert_eq!(
        message,
        r#""server \"a\" refused to initialize: no licence; server \"b\" refused to initialize: no licence""#
    );
    assert_eq!(rig.router.account(rig.peer, rig.now).initialize, Some(Greeting::Refused));
    assert_eq!([0, 1].map(|server| rig.router.start(server)), [Start::Settled; 2]);
}

#[test]
fn each_server_is_waited_for_no_longer_than_its_own_start_timeout() {
    let mut specs = specs(&["a", "b"]);
    specs[1].start_timeout = Duration::from_secs(3);
    let mut rig = Rig::new(specs, vec![offer(&["one"]), json!({"silent": true})], vec![]);
    rig.up(0);
    rig.up(1);
    assert_eq!(rig.router.start(1), Start::Awaited);
    rig.link_up();
    rig.endpoint(&hello(0));
    rig.endpoint(r#"{"id":1,"method":"tools/list"}"#);
    rig.pass(2);
    assert!(rig.at_endpoint().is_empty());
    rig.pass(1);
    assert_eq!(rig.at_endpoint().len(), 2, "both answers");
    rig.link_up();
    rig.endpoint(&hello(0));
    assert_eq!(rig.at_endpoint().len(), 1, "nor once more");
}

#[test]
fn a_timeout_counts_from_when_the_call_came() {
    let mut spec = specs(&["a"]);
    spec[0].tools = Arc::new(ToolPolicy { timeout: Some(Duration::from_secs(5)), ..ToolPolicy::default() });
    let mut rig = Rig::new(spec, vec![offer(&["one"])], vec![]);
    rig.begin();
    rig.down(0, 1);
    rig.endpoint(&call(1, "one"));
    rig.pass(4);
    rig.up(0);
    rig.pass(1);
    assert!(rig.at_endpoint()[0]["error"]["message"].as_str().unwrap().contains("within 5.0 s"));
}

#[test]
fn a_call_does_not_wait_for_its_server_beyond_its_own_timeout() {
    let mut spec = specs(&["a"]);
    let quick = (Glob::new("one"), Duration::from_secs(3));
    spec[0].tools = Arc::new(ToolPolicy { timeouts: vec![quick], ..ToolPolicy::default() });
    let mut rig = Rig::new(spec, vec![offer(&["one", "two"])], vec![]);
    rig.begin();
    rig.down(0, 2);
    rig.endpoint(&call(1, "two"));
    rig.endpoint(&call(2, "one"));
    rig.pass(3);
    let answers = rig.at_endpoint();
    let message = "server \"a\" exited with code 1 and has not been back for 3 s";
    assert_eq!((answers.len(), &answers[0]["id"], &answers[0]["error"]["message"]), (1, &json!(2), &json!(message)));
    rig.pass(6);
    assert_eq!(rig.at_endpoint()[0]["id"], 1);
    rig.down(0, 5);
    rig.endpoint(&call(3, "one"));
    assert_eq!(rig.at_endpoint()[0]["id"], 3, "the next start is too late for it");
}

#[test]
fn an_answer_that_is_no_message_costs_its_request_and_nothing_else() {
    let mut rig = Rig::pair();
    rig.endpoint(&call(3, "one"));
    let broken = |id: &Value| format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"tools":NaN}}}}"#);
    let id = rig.at_server(0)[0]["id"].clone();
    rig.server(0, &broken(&id));
    let answer = rig.at_endpoint().pop().unwrap();
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(3), &json!(UNAVAILABLE)));
    rig.offers[0]["tools/list"] = Value::Null;
    rig.server(0, r#"{"method":"notifications/tools/list_changed"}"#);
    let id = rig.at_server(0)[0]["id"].clone();
    rig.server(0, &broken(&id));
    assert!(rig.sink.notes.iter().any(|note| note.contains("did not answer tools/list")), "{:?}", rig.sink.notes);
    assert_eq!(rig.tools(), ["a__add", "one", "b__add", "two"]);
}

#[test]
fn escaped_slashes_hide_neither_a_call_nor_a_change() {
    let mut spec = specs(&["a"]);
    spec[0].tools = Arc::new(ToolPolicy { deny: vec![Glob::new("secret")], ..ToolPolicy::default() });
    let mut rig = Rig::new(spec, vec![offer(&["one", "secret"])], vec![]);
    rig.begin();
    rig.endpoint(&call(1, "secret").replace("tools/call", "tools\\/call"));
    assert_eq!(rig.at_endpoint()[0]["error"]["code"], -32602);
    assert!(rig.at_server(0).is_empty());
    rig.offers[0] = offer(&["more"]);
    rig.server(0, r#"{"method":"notifications\/tools\/list_changed"}"#);
    assert_eq!(rig.tools(), ["more"]);
}

#[test]
fn no_spelling_leads_to_a_tool_that_is_denied() {
    let mut spec = specs(&["a"]);
    spec[0].tools = Arc::new(ToolPolicy { deny: vec![Glob::new("danger")], ..ToolPolicy::default() });
    let mut rig = Rig::new(spec, vec![offer(&["ok", "danger"])], vec![]);
    rig.begin();
    for frame in [
        // Readers differ on the name, the parameters or the method.
        r#"{"id":1,"method":"tools/call","params":{"name":"ok","Name":"danger"}}"#,
        r#"{"id":1,"method":"tools/call","params":{"name":"danger","name":"ok"}}"#,
        r#"{"id":1,"method":"tools/call","params":{"name":"ok","name":"danger"}}"#,
        r#"{"id":1,"method":"tools/call","params":{"name":"ok","\u004eame":"danger"}}"#,
        r#"{"id":1,"method":"tools/call","params":{"name":"ok"},"Params":{"name":"danger"}}"#,
        r#"{"id":1,"method":"tools/call","params":{"name":"ok"},"params":{"name":"danger"}}"#,
        "{\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"ok\"},\"param\u{17f}\":{\"name\":\"danger\"}}",
        r#"{"id":1,"method":"custom/harmless","Method":"tools/call","params":{"name":"danger"}}"#,
        r#"{"id":1,"Method":"tools/call","params":{"name":"danger"}}"#,
        r#"[{"id":1,"method":"custom/harmless","METHOD":"tools/call","params":{"name":"danger"}}]"#,
        // Servers differ on what a method is.
        r#"{"id":1,"method":"Tools/Call","params":{"name":"danger"}}"#,
        r#"{"id":1,"method":" tools/call\u0020","params":{"name":"danger"}}"#,
        r#"{"id":1,"method":"tools/call\u0000","params":{"name":"danger"}}"#,
        r#"{"id":1,"method":"\ufefftools/call\u00a0","params":{"name":"danger"}}"#,
        "{\"id\":1,\"method\":\"\u{2003}tools/call\u{200b}\",\"params\":{\"name\":\"danger\"}}",
        "{\"id\":1,\"method\":\"tool\u{17f}/call\",\"params\":{\"name\":\"danger\"}}",
        // Some server may carry the call out though nobody waits for an answer.
        r#"{"method":"tools/call","params":{"name":"danger"}}"#,
        r#"{"id":null,"method":"tools/call","params":{"name":"danger"}}"#,
        r#"{"method":"TOOLS/CALL","params":{"name":"danger"}}"#,
        // The name itself.
        r#"{"id":1,"method":"tools/call","params":{"name":"dang\u0065r"}}"#,
        r#"{"id":1,"method":"tools/call","params":{"name":"danger "}}"#,
        r#"{"id":1,"method":"tools/call","params":{"name":"danger\u0000"}}"#,
        "{\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"danger\0\"}}",
        r#"{"id":1,"method":"tools/call","params":{"name":"danger\ud800"}}"#,
        r#"{"id":1,"method":"tools/call","params":{"name":["danger"]}}"#,
        r#"{"id":1,"method":"tools/call","params":["danger"]}"#,
        r#"{"id":1,"method":"tools/call","name":"danger"}"#,
    ] {
        rig.endpoint(frame);
        assert_eq!(rig.at_server(0), Vec::<Value>::new(), "{frame}");
        let answers = rig.at_endpoint();
        assert!(matches!(answers.as_slice(), [answer] if answer["error"].is_object()), "{frame}: {answers:?}");
        assert_eq!(rig.router.in_flight(), 0, "{frame}");
    }
    // What a tool is given as arguments is its own affair.
    rig.endpoint(r#"{"id":1,"method":"tools/call","params":{"name":"ok","arguments":{"name":"danger","Name":"danger","name":"x","Method":"tools/call"}}}"#);
    rig.endpoint(r#"{"method":"notifications/custom","params":{"name":"danger"}}"#);
    rig.endpoint(r#"{"id":2,"method":"custom/call","params":{"name":"danger"}}"#);
    assert_eq!((rig.at_server(0).len(), rig.at_endpoint().len()), (3, 0));
}

#[test]
fn a_server_can_take_a_request_back_before_the_handshake_is_complete() {
    let mut rig = Rig::new(specs(&["a"]), vec![offer(&["one"])], vec![]);
    rig.up(0);
    rig.link_up();
    rig.endpoint(&hello(0));
    rig.server(0, r#"{"id":4,"method":"roots/list"}"#);
    rig.server(0, r#"{"method":"notifications/cancelled","params":{"requestId":4}}"#);
    rig.at_endpoint();
    rig.endpoint(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    assert!(rig.at_endpoint().is_empty());
}

#[test]
fn one_server_cannot_take_all_questions_nor_silence_the_others() {
    let mut rig = Rig::pair();
    for id in 0..100 {
        rig.server(0, &json!({"id": id, "method": "roots/list"}).to_string());
    }
    assert_eq!((rig.at_endpoint().len(), rig.at_server(0).len()), (16, 84));
    rig.server(1, r#"{"id":0,"method":"roots/list"}"#);
    let asked = rig.at_endpoint().pop().unwrap();
    rig.endpoint(&json!({"jsonrpc": "2.0", "id": asked["id"], "result": {}}).to_string());
    rig.pass(61);
    rig.at_endpoint();
    rig.server(1, r#"{"id":1,"method":"roots/list"}"#);
    assert_eq!(rig.at_endpoint().len(), 1, "it does answer");
}

#[test]
fn what_only_clients_ask_is_not_passed_on_and_its_sender_is_told_what_is_wrong() {
    for (mut spec, why) in [
        (specs(&["a"]).remove(0), "that is asked by an MCP client, and what is run here has to be an MCP server"),
        (
            ServerSpec::of_comer("home/1".into(), crate::config::Room::new("home".into(), 1 << 20)),
            "robots dial the other one, /endpoint/call",
        ),
    ] {
        spec.start_timeout = Duration::from_secs(60);
        let mut rig = Rig::new(vec![spec], vec![offer(&["one"])], vec![]);
        rig.begin();
        rig.server(0, &hello(7));
        let told = rig.at_server(0);
        assert_eq!(told[0]["id"], 7);
        assert!(told[0]["error"]["message"].as_str().unwrap().contains(why), "{told:?}");
        assert!(rig.at_endpoint().is_empty());
        assert!(rig.sink.notes.iter().any(|note| note.contains("sent initialize") && note.contains(why)));
    }
}

#[test]
fn a_server_that_asks_while_nobody_is_there_is_told_that_and_not_that_there_are_many() {
    let mut rig = Rig::pair();
    rig.router.open_to_any();
    rig.server(0, r#"{"id":1,"method":"roots/list"}"#);
    let shared = rig.at_server(0).pop().unwrap()["error"]["message"].to_string();
    assert!(shared.contains("several clients may share this server"), "{shared}");
    rig.router.on_link_down(rig.peer, rig.now, &mut rig.sink);
    rig.at_server(0);
    rig.server(0, r#"{"id":2,"method":"roots/list"}"#);
    let absent = rig.at_server(0).pop().unwrap()["error"]["message"].to_string();
    assert!(absent.contains("no client is connected that could be asked"), "{absent}");
}

#[test]
fn calls_that_are_cut_off_are_told_with_what_was_called_and_for_how_long() {
    let mut spec = specs(&["a"]);
    spec[0].tools =
        Arc::new(ToolPolicy { timeouts: vec![(Glob::new("one"), Duration::from_secs(5))], ..ToolPolicy::default() });
    let mut rig = Rig::new(spec, vec![offer(&["one", "two"])], vec![]);
    rig.begin();
    rig.endpoint(&call("x", "one"));
    (0..8).for_each(|id| rig.endpoint(&call(id, "two")));
    rig.endpoint(r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#);
    rig.pass(6);
    let told = std::mem::take(&mut rig.sink.notes);
    assert!(
        told.contains(&"tool one did not answer within 5.0 s (timeout); the call was cancelled".to_owned()),
        "{told:?}"
    );
    rig.router.tell_cut(rig.now, &mut rig.sink);
    let told = std::mem::take(&mut rig.sink.notes);
    let line = "tools/call had not answered for 6.0 s when the servers were ended; the call got an error";
    assert_eq!(told, [vec![line; 5], vec!["3 calls more had not been answered then"]].concat());
}

#[test]
fn a_dead_server_takes_back_its_own_questions_and_no_others() {
    let mut rig = Rig::pair();
    rig.server(0, r#"{"id":"of a","method":"roots/list"}"#);
    rig.server(1, r#"{"id":"of b","method":"roots/list"}"#);
    let asked: Vec<Value> = rig.at_endpoint().into_iter().map(|frame| frame["id"].clone()).collect();
    rig.down(0, 1);
    let taken_back: Vec<Value> =
        rig.at_endpoint().into_iter().map(|frame| frame["params"]["requestId"].clone()).collect();
    assert_eq!(taken_back, asked[..1]);
    rig.endpoint(&json!({"jsonrpc": "2.0", "id": asked[1], "result": {"roots": []}}).to_string());
    assert_eq!(rig.at_server(1), [json!({"jsonrpc": "2.0", "id": "of b", "result": {"roots": []}})]);
}

#[test]
fn a_method_that_nobody_answers_gets_an_error() {
    let mut rig = Rig::pair();
    rig.endpoint(r#"{"id":"q","method":"x/y"}"#);
    rig.pass(61);
    assert_eq!(rig.at_endpoint()[0]["id"], "q");
}

#[test]
fn a_method_that_only_one_server_can_know_takes_as_long_as_it_takes() {
    let mut alone = Rig::new(specs(&["a"]), vec![offer(&["one"])], vec![]);
    alone.begin();
    alone.endpoint(r#"{"id":"q","method":"tasks/result"}"#);
    let mut last = Rig::pair();
    last.endpoint(r#"{"id":"q","method":"tasks/result"}"#);
    let first = last.at_server(0).pop().unwrap();
    last.server(
        0,
        &json!({"jsonrpc": "2.0", "id": first["id"], "error": {"code": -32601, "message": "no"}}).to_string(),
    );
    for (mut rig, server) in [(alone, 0), (last, 1)] {
        rig.pass(600);
        assert!(rig.at_endpoint().is_empty());
        let asked = rig.at_server(server);
        assert_eq!(asked.len(), 1, "it was cancelled: {asked:?}");
        rig.server(server, &json!({"jsonrpc": "2.0", "id": asked[0]["id"], "result": {}}).to_string());
        assert_eq!(rig.at_endpoint()[0]["result"], json!({}));
    }
}

#[test]
fn a_list_never_grows_beyond_what_the_endpoint_takes() {
    let mut rig = Rig::new(specs(&["a", "b"]), vec![offer(&["one"]), offer(&["two"])], vec![]);
    let huge = "x".repeat(1 << 20);
    rig.offers[0]["tools/list"]["tools"][0]["description"] = huge.into();
    (0..2).for_each(|server| rig.up(server));
    rig.link_up();
    rig.handshake();
    assert_eq!(rig.tools(), ["two"]);
    let told = |rig: &Rig| rig.sink.notes.iter().filter(|note| note.contains("maxFrameSize")).count();
    assert_eq!(told(&rig), 1);
    rig.offers[1] = offer(&["two", "three"]);
    rig.server(1, CHANGED);
    assert_eq!((rig.tools(), told(&rig)), (vec!["two".to_owned(), "three".into()], 1), "it was said");
}

const CHANGED: &str = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;

/// An `initialize` with other capabilities than those of [`hello`].
const OTHER_HELLO: &str =
    r#"{"id":0,"method":"initialize","params":{"protocolVersion":"2024-11-05","capabilities":{"sampling":{}}}}"#;

/// A tool list as a server answers it.
fn tools_page(id: &Value, names: &[&str], next: Option<&str>) -> String {
    let mut result = offer(names)["tools/list"].clone();
    if let Some(next) = next {
        result["nextCursor"] = next.into();
    }
    json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string()
}

#[test]
fn a_list_that_comes_too_late_is_taken_back_and_asked_for_again() {
    let mut rig = Rig::pair();
    rig.offers[0]["tools/list"] = Value::Null;
    rig.server(0, CHANGED);
    let asked = rig.at_server(0).pop().unwrap();
    rig.pass(31);
    assert_eq!(rig.at_server(0)[0]["params"]["requestId"], asked["id"], "the server need not go on with it");
    rig.server(0, &tools_page(&asked["id"], &["late"], None));
    rig.pass(4);
    let again = rig.at_server(0).pop().unwrap();
    assert_eq!(again["method"], "tools/list");
    rig.server(0, &tools_page(&again["id"], &["more"], None));
    assert_eq!(rig.tools(), ["more", "add", "two"]);
}

#[test]
fn a_list_that_never_comes_does_not_use_up_what_may_be_under_way_at_its_server() {
    let mut offers = vec![offer(&["one"])];
    offers[0]["capabilities"]["prompts"] = json!({}); // and the server never answers prompts/list
    let mut rig = Rig::new(specs(&["a"]), offers, vec![]);
    rig.begin();
    let mut asked = 0;
    while asked <= crate::router::lane::MAX_IN_FLIGHT {
        rig.now = rig.router.next_tick().unwrap();
        rig.router.on_tick(rig.now, &mut rig.sink);
        asked += rig.at_server(0).iter().filter(|frame| frame["method"] == "prompts/list").count();
    }
    rig.endpoint(&call(7, "one"));
    assert_eq!(rig.at_server(0).pop().unwrap()["params"]["name"], "one", "{:?}", rig.at_endpoint());
}

#[test]
fn a_list_that_fails_or_hangs_keeps_no_other_list_of_its_server_back() {
    let mut offers = vec![offer(&[])];
    offers[0]["tools/list"] = Value::Null;
    offers[0]["capabilities"] = json!({"tools": {}, "prompts": {}, "resources": {}});
    let mut rig = Rig::new(specs(&["a"]), offers, vec![]);
    rig.up(0);
    rig.link_up();
    rig.endpoint(&hello(0));
    rig.endpoint(r#"{"id":1,"method":"tools/list"}"#);
    rig.at_endpoint();
    let asked = rig.at_server(0);
    let id = |method: &str| asked.iter().find(|frame| frame["method"] == method).unwrap()["id"].clone();
    rig.server(0, &tools_page(&id("tools/list"), &["one"], Some("2")));
    rig.server(0, &error(&id("resources/list"), -32603, "database is locked"));
    assert!(rig.at_endpoint().is_empty(), "its tools are not all there yet");
    let second = rig.at_server(0).pop().unwrap();
    rig.server(0, &tools_page(&second["id"], &["two"], None));
    let answer = rig.at_endpoint().pop().unwrap();
    assert_eq!(answer["result"]["tools"].as_array().unwrap().len(), 2, "{answer}");
    rig.endpoint(r#"{"id":2,"method":"resources/list"}"#);
    assert_eq!(rig.at_endpoint()[0]["id"], 2, "it has failed");
    rig.endpoint(r#"{"id":3,"method":"prompts/list"}"#);
    assert!(rig.at_endpoint().is_empty(), "that may still come");
    rig.pass(9);
    assert_eq!(rig.at_endpoint()[0]["id"], 3);
}

#[test]
fn a_second_handshake_that_is_never_answered_costs_a_server_nothing_but_a_moment_where_something_waits_for_it() {
    let mut spec = specs(&["a", "b"]);
    spec[0].keep_listed = false;
    let mut rig = Rig::new(spec, vec![offer(&["add", "one"]), offer(&["add", "two"])], memories());
    rig.up(0);
    rig.up(1);
    // The list changes too often: one more reading is due in a second.
    (0..5).for_each(|_| rig.server(0, CHANGED));
    rig.offers[0]["silent"] = true.into();
    rig.link_up();
    rig.endpoint(OTHER_HELLO);
    let again = rig.at_server(0).pop().unwrap();
    assert_eq!(again["params"]["capabilities"], json!({"sampling": {}}));
    assert_eq!(rig.tools(), ["a__add", "one", "b__add", "two"], "it runs");
    rig.offers[0]["tools/list"] = offer(&["add", "one", "new"])["tools/list"].clone();
    rig.endpoint(&call(1, "one"));
    assert!(rig.at_server(0).is_empty());
    rig.pass(5);
    assert_eq!(rig.at_server(0)[0]["params"]["name"], "one", "what waited goes to it");
    rig.pass(1);
    assert_eq!(rig.tools(), ["a__add", "one", "new", "b__add", "two"]);
    rig.server(0, &error(&again["id"], -32600, "duplicate"));
    rig.endpoint(&call(2, "one"));
    assert_eq!(rig.at_server(0)[0]["params"]["name"], "one", "after a late refusal too");
    assert!(rig.sink.restarts.is_empty());
}

#[test]
fn a_second_handshake_that_is_never_answered_costs_a_server_its_process_where_nothing_waits_for_it() {
    let mut rig = Rig::new(specs(&["a", "b"]), vec![offer(&["add", "one"]), offer(&["add", "two"])], memories());
    rig.up(0);
    rig.up(1);
    rig.offers[0]["silent"] = true.into();
    rig.link_up();
    rig.endpoint(OTHER_HELLO);
    rig.pass(5);
    assert_eq!((rig.at_endpoint().len(), &rig.sink.restarts[..]), (1, &[0][..]));
    rig.offers[0]["silent"] = false.into();
    rig.down(0, 0);
    rig.up(0);
    rig.pass(31);
    assert!(rig.sink.hellos.pop().unwrap().contains("sampling"), "so that the next run begins with it");
}

#[test]
fn a_second_handshake_keeps_no_request_waiting_that_has_waited_through_the_first() {
    let mut rig = Rig::new(specs(&["a", "b"]), vec![offer(&["add", "one"]), offer(&["add", "two"])], memories());
    rig.offers[0]["silent"] = true.into();
    rig.up(0);
    rig.up(1);
    let first = rig.at_server(0).pop().unwrap();
    rig.link_up();
    rig.endpoint(OTHER_HELLO);
    rig.endpoint(&call(1, "one"));
    rig.pass(6);
    let welcome = json!({"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}});
    rig.server(0, &json!({"jsonrpc": "2.0", "id": first["id"], "result": welcome}).to_string());
    assert_eq!(rig.at_server(0)[0]["method"], "initialize");
    rig.pass(3);
    assert_eq!(rig.at_server(0)[0]["params"]["name"], "one", "it is usable, so the call is not refused after 9 s");
}

#[test]
fn a_server_that_starts_when_the_endpoint_comes_hears_of_its_own_parameters() {
    let mut rig = Rig::new(specs(&["a", "b"]), vec![offer(&["add", "one"]), offer(&["add", "two"])], memories());
    rig.offers[0]["silent"] = true.into();
    rig.up(0);
    rig.up(1);
    let first = rig.at_server(0).pop().unwrap();
    assert_eq!(first["params"]["capabilities"], json!({"roots": {}}), "those of the earlier run");
    rig.link_up();
    rig.endpoint(OTHER_HELLO);
    rig.endpoint(&call(1, "one"));
    assert!(rig.at_server(0).is_empty(), "one handshake after the other");
    rig.tick();
    let welcome = json!({"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}});
    rig.server(0, &json!({"jsonrpc": "2.0", "id": first["id"], "result": welcome}).to_string());
    let sent = rig.at_server(0);
    assert_eq!(sent.iter().map(|frame| &frame["method"]).collect::<Vec<_>>(), ["initialize"]);
    assert_eq!(sent[0]["params"]["capabilities"], json!({"sampling": {}}));
    assert!(rig.router.is_serving(0), "it has been initialized");
    rig.tick();
    rig.server(0, &error(&sent[0]["id"], -32600, "duplicate"));
    assert_eq!(rig.sink.restarts, [0]);
    rig.offers[0]["silent"] = false.into();
    rig.down(0, 0);
    rig.up(0);
    assert_eq!(rig.at_server(0)[0]["params"]["name"], "one", "its other process has it");
    let kept = parsed(OTHER_HELLO)["params"].to_string();
    assert_eq!(rig.sink.hellos, [kept], "once, when the first server had taken it");
}

#[test]
fn a_server_that_has_said_nothing_yet_is_initialized_for_an_endpoint_without_a_handshake() {
    let mut rig = Rig::new(specs(&["a"]), vec![offer(&["one"])], vec![]);
    rig.router.on_server_up(0, rig.now, &mut rig.sink);
    rig.link_up();
    rig.endpoint(r#"{"id":1,"method":"tools/list"}"#);
    assert_eq!(rig.at_endpoint()[0]["result"]["tools"][0]["name"], "one");
}

#[test]
fn a_list_that_changes_all_the_time_keeps_no_other_change_from_the_endpoint_for_long() {
    let mut rig = Rig::pair();
    let mut waited = 0;
    while rig.router.wants_reconnect(rig.peer, rig.now).is_none() {
        assert!(waited < 100, "for ever");
        rig.offers[0] = offer(&["add", &format!("t{waited}")]);
        rig.server(0, CHANGED);
        rig.pass(3);
        waited += 3;
    }
    assert!((60..=66).contains(&waited), "{waited} s");
}

/// What can happen, in any order. Servers are taken modulo their number.
#[derive(Debug, Clone)]
enum Happening {
    LinkUp,
    LinkDown,
    Up(usize),
    Down(usize),
    /// The endpoint initializes, with likely parameters or with others.
    Hello(bool),
    List,
    Call(usize),
    Unknown,
    /// The endpoint reads a resource that nobody lists.
    Read,
    /// A server answers its nth open request, perhaps twice, perhaps with what belongs to another.
    Answer(usize, prop::sample::Index, bool, u8),
    /// A server answers its nth open request with an error, if that is an `initialize`.
    Refuse(usize, prop::sample::Index),
    Lie(usize, u64),
    Changed(usize, bool),
    Ask(usize),
    Busy(usize, bool),
    Pass(u64),
}

fn any_happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        2 => Just(Happening::LinkUp),
        1 => Just(Happening::LinkDown),
        4 => (0usize..3).prop_map(Happening::Up),
        2 => (0usize..3).prop_map(Happening::Down),
        2 => any::<bool>().prop_map(Happening::Hello),
        2 => Just(Happening::List),
        8 => (0usize..3).prop_map(Happening::Call),
        1 => Just(Happening::Unknown),
        2 => Just(Happening::Read),
        16 => (0usize..3, any::<prop::sample::Index>(), any::<bool>(), 0..15u8).prop_map(|(s, i, twice, guise)| Happening::Answer(s, i, twice, guise)),
        1 => (0usize..3, any::<prop::sample::Index>()).prop_map(|(s, i)| Happening::Refuse(s, i)),
        2 => (0usize..3, 0u64..60).prop_map(|(s, id)| Happening::Lie(s, id)),
        1 => (0usize..3, any::<bool>()).prop_map(|(s, really)| Happening::Changed(s, really)),
        1 => (0usize..3).prop_map(Happening::Ask),
        1 => (0usize..3, any::<bool>()).prop_map(|(s, busy)| Happening::Busy(s, busy)),
        2 => (0u64..12).prop_map(Happening::Pass),
    ]
}

const NAMES: [&str; 3] = ["a", "b", "c"];

fn answer_of(server: usize, request: &Value, version: &[u64; 3]) -> Value {
    match request["method"].as_str() {
        Some("initialize") => json!({"protocolVersion": "2024-11-05", "capabilities": {"tools": {}}}),
        Some("tools/list") => {
            json!({"tools": [{"name": format!("t{server}")}, {"name": "same", "v": version[server]}]})
        }
        _ => json!({"server": server, "of": request["params"]["of"]}),
    }
}

proptest! {
    #[test]
    fn every_request_gets_exactly_one_answer_from_its_own_server(events in prop::collection::vec(any_happening(), 1..160)) {
        let mut rig = Rig::new(specs(&NAMES), vec![], vec![]);
        rig.sink.servers = vec![Vec::new(); 3];
        let (mut linked, mut alive, mut next, mut asked) = (false, [false; 3], 0u64, 0);
        // Open requests of this connection, by id: the server that alone may answer with a result.
        let mut open: Vec<(u64, Option<usize>)> = Vec::new();
        let mut at: [Vec<Value>; 3] = Default::default();
        let mut version = [0u64; 3];
        let (mut connections, mut of) = (0u64, 0u64);
        for event in events {
            let now = rig.now;
            match event {
                Happening::LinkUp if !linked => { rig.router.on_link_up(rig.peer, now, &mut rig.sink); linked = true; next = 0; connections += 1; }
                Happening::LinkDown if linked => { rig.router.on_link_down(rig.peer, now, &mut rig.sink); linked = false; open.clear(); }
                Happening::Up(s) if !alive[s] => { rig.router.on_server_up(s, now, &mut rig.sink); alive[s] = true; }
                Happening::Down(s) if alive[s] => {
                    let gone = Gone { why: "exited", retry_in: Duration::from_secs(2), by_command: false };
                    rig.router.on_server_down(s, gone, now, &mut rig.sink);
                    alive[s] = false;
                    at[s].clear();
                }
                Happening::Hello(likely) if linked => {
                    open.push((next, None));
                    let hello = if likely { hello(next) } else { hello_with(next, json!({})) };
                    rig.router.on_peer(rig.peer, hello.as_bytes(), now, &mut rig.sink);
                    next += 1;
                }
                Happening::List if linked => {
                    open.push((next, None));
                    rig.router.on_peer(rig.peer, json!({"id": next, "method": "tools/list"}).to_string().as_bytes(), now, &mut rig.sink);
                    next += 1;
                }
                Happening::Call(s) if linked => {
                    open.push((next, Some(s)));
                    of = connections * 1000 + next;
                    let call = json!({"id": next, "method": "tools/call", "params": {"name": format!("t{s}"), "of": of}});
                    rig.router.on_peer(rig.peer, call.to_string().as_bytes(), now, &mut rig.sink);
                    next += 1;
                }
                Happening::Unknown if linked => {
                    open.push((next, None));
                    rig.router.on_peer(rig.peer, json!({"id": next, "method": "x/y"}).to_string().as_bytes(), now, &mut rig.sink);
                    next += 1;
                }
                Happening::Read if linked => {
                    open.push((next, None));
                    rig.router.on_peer(rig.peer, json!({"id": next, "method": "resources/read", "params": {"uri": "x:y"}}).to_string().as_bytes(), now, &mut rig.sink);
                    next += 1;
                }
                Happening::Answer(s, i, twice, guise) if alive[s] && !at[s].is_empty() => {
                    let n = at[s].len();
                    let request = at[s].swap_remove(i.index(n));
                    let mut answer = json!({"jsonrpc": "2.0", "id": request["id"], "result": answer_of(s, &request, &version)});
                    if request["method"] == "x/y" {
                        answer = json!({"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32601, "message": "no"}});
                    }
                    if request["method"] == "resources/read" && request["id"] != 3 * (request["id"].as_u64().unwrap() / 3) {
                        answer = json!({"jsonrpc": "2.0", "id": request["id"], "error": {"code": 0, "message": "no"}});
                    }
                    for _ in 0..=usize::from(twice) {
                        say(&mut rig.router, s, in_guise(answer.clone(), guise).as_bytes(), now, &mut rig.sink);
                    }
                }
                Happening::Refuse(s, i) if alive[s] && !at[s].is_empty() => {
                    let n = at[s].len();
                    let request = at[s].swap_remove(i.index(n));
                    if request["method"] == "initialize" {
                        say(&mut rig.router, s, error(&request["id"], -1, "no").as_bytes(), now, &mut rig.sink);
                    } else {
                        at[s].push(request);
                    }
                }
                // An answer under an id that is not its own.
                Happening::Lie(s, id) if alive[s] && !at[s].iter().any(|r| r["id"] == id) => {
                    say(&mut rig.router, s, json!({"jsonrpc": "2.0", "id": id, "result": {"server": s, "of": "lie"}}).to_string().as_bytes(), now, &mut rig.sink);
                }
                Happening::Changed(s, really) if alive[s] => {
                    version[s] += u64::from(really);
                    say(&mut rig.router, s, br#"{"method":"notifications/tools/list_changed"}"#, now, &mut rig.sink);
                }
                Happening::Ask(s) if alive[s] => {
                    say(&mut rig.router, s, json!({"id": asked, "method": "roots/list"}).to_string().as_bytes(), now, &mut rig.sink);
                    asked += 1;
                }
                Happening::Busy(s, busy) if alive[s] => rig.router.on_server_busy(s, busy, now, &mut rig.sink),
                Happening::Pass(s) => {
                    rig.now += Duration::from_secs(s);
                    for round in 0.. {
                        if rig.router.next_tick().is_none_or(|at| at > rig.now) { break; }
                        prop_assert!(round < 20, "ticks without end");
                        rig.router.on_tick(rig.now, &mut rig.sink);
                    }
                }
                // What can't happen now.
                Happening::LinkUp | Happening::LinkDown | Happening::Up(_) | Happening::Down(_) | Happening::Hello(_)
                | Happening::List | Happening::Call(_) | Happening::Unknown | Happening::Read | Happening::Answer(..) | Happening::Refuse(..) | Happening::Lie(..)
                | Happening::Changed(..) | Happening::Ask(_) | Happening::Busy(..) => {}
            }
            let _ = of;
            for s in 0..3 {
                for f in rig.at_server(s) {
                    prop_assert!(alive[s], "a dead server got {}", f);
                    if f["method"].is_string() && !f["id"].is_null() {
                        if f["method"] == "tools/call" {
                            prop_assert_eq!(&f["params"]["name"], &json!(format!("t{s}")), "another server's call");
                        }
                        at[s].push(f);
                    }
                }
            }
            for f in rig.at_endpoint() {
                prop_assert!(linked, "a closed connection got {}", f);
                if f["method"].is_string() {
                    continue;
                }
                let id = f["id"].as_u64().unwrap();
                let found = open.iter().position(|(o, _)| *o == id);
                prop_assert!(found.is_some(), "nobody asked for {}", f);
                if let (_, Some(s)) = open.swap_remove(found.unwrap())
                    && f["error"].is_null()
                {
                    prop_assert_eq!(&f["result"], &json!({"server": s, "of": connections * 1000 + id}), "another call's answer");
                }
            }
        }
        // In the end everything is answered, whatever became of the servers.
        if linked {
            for (s, _) in alive.iter().enumerate().filter(|(_, alive)| **alive) {
                rig.router.on_server_busy(s, false, rig.now, &mut rig.sink);
                let gone = Gone { why: "exited", retry_in: Duration::from_secs(2), by_command: false };
                rig.router.on_server_down(s, gone, rig.now, &mut rig.sink);
            }
            for _ in 0..10 {
                rig.now += Duration::from_secs(10);
                rig.router.on_tick(rig.now, &mut rig.sink);
            }
            let answered: Vec<u64> = rig.at_endpoint().iter().filter_map(|f| f["id"].as_u64()).collect();
            for (id, _) in open {
                prop_assert_eq!(answered.iter().filter(|a| **a == id).count(), 1, "request {}", id);
            }
        }
    }
}

/// What can become of an endpoint's wishes, in any order. Servers are taken modulo their number.
#[derive(Debug, Clone)]
enum Wished {
    Link(bool),
    Server(usize, bool),
    Other,
    Follow(usize, bool),
    Level(u64),
    Busy(usize, bool),
    Pass(u64),
}

fn any_wish() -> impl Strategy<Value = Wished> {
    prop_oneof![
        2 => any::<bool>().prop_map(Wished::Link),
        4 => (0usize..2, any::<bool>()).prop_map(|(s, up)| Wished::Server(s, up)),
        1 => Just(Wished::Other),
        6 => (0usize..4, any::<bool>()).prop_map(|(n, follows)| Wished::Follow(n, follows)),
        2 => (0u64..9).prop_map(Wished::Level),
        1 => (0usize..2, any::<bool>()).prop_map(|(s, busy)| Wished::Busy(s, busy)),
        1 => (0u64..3).prop_map(Wished::Pass),
    ]
}

#[test]
fn an_unsubscribe_that_waits_for_a_server_undoes_no_subscribe_that_came_later() {
    let offers = [0, 1].map(|server| {
        let mut offer = offer(&[&format!("t{server}")]);
        offer["capabilities"] = json!({"resources": {"subscribe": true}});
        offer["resources/list"] = json!({"resources": [{"uri": format!("mem:{server}"), "name": "x"}]});
        offer["resources/templates/list"] = json!({"resourceTemplates": []});
        offer
    });
    let mut rig = Rig::new(specs(&["a", "b"]), offers.into(), vec![]);
    rig.link_up();
    let ask = |id: u8, method: &str| json!({"id": id, "method": method, "params": {"uri": "mem:0"}}).to_string();
    rig.endpoint(&ask(1, "resources/unsubscribe"));
    rig.up(1);
    rig.endpoint(&ask(2, "resources/subscribe"));
    rig.up(0);
    let methods = |frames: Vec<Value>| frames.iter().map(|frame| frame["method"].to_string()).collect::<Vec<_>>();
    let got = methods(rig.at_server(0));
    let subscriptions: Vec<_> = got.iter().filter(|method| method.contains("subscribe")).collect();
    assert_eq!(subscriptions, ["\"resources/unsubscribe\"", "\"resources/subscribe\""], "{got:?}");
    rig.down(0, 1);
    rig.up(0);
    assert!(methods(rig.at_server(0)).contains(&"\"resources/subscribe\"".to_owned()), "it is still followed");
}

proptest! {
    #[test]
    fn what_an_endpoint_follows_and_its_level_hold_in_each_life_of_each_server(events in prop::collection::vec(any_wish(), 1..80)) {
        let offers = [0, 1].map(|server| {
            let mut offer = offer(&[&format!("t{server}")]);
            offer["capabilities"] = json!({"resources": {"subscribe": true}, "logging": {}});
            offer["resources/list"] = json!({"resources": [{"uri": format!("mem:{server}"), "name": "x"}, {"uri": format!("mem:{}", server + 2), "name": "x"}]});
            offer["resources/templates/list"] = json!({"resourceTemplates": []});
            offer
        });
        let mut rig = Rig::new(specs(&["a", "b"]), offers.into(), vec![]);
        let (mut linked, mut alive, mut busy) = (false, [false; 2], [false; 2]);
        // For each server: what its present life was told, and what the endpoint wants.
        let mut told: [(BTreeSet<String>, Option<u64>); 2] = Default::default();
        let mut wanted = told.clone();
        for (n, event) in events.into_iter().enumerate() {
            match event {
                Wished::Link(true) if !linked => { rig.link_up(); rig.handshake(); linked = true; }
                Wished::Link(false) if linked => {
                    rig.router.on_link_down(rig.peer, rig.now, &mut rig.sink);
                    wanted = Default::default();
                    linked = false;
                }
                Wished::Server(s, true) if !alive[s] => { told[s] = Default::default(); rig.up(s); (alive[s], busy[s]) = (true, false); }
                Wished::Server(s, false) if alive[s] => { rig.down(s, 2); alive[s] = false; }
                Wished::Other if linked => rig.endpoint(OTHER_HELLO),
                Wished::Follow(uri, follows) if linked && busy == [false; 2] => {
                    let uri = format!("mem:{uri}");
                    if !follows {
                        // A server that has not said what it has may have been passed over, and the other one asked.
                        for (followed, _) in &mut wanted {
                            followed.remove(&uri);
                        }
                    }
                    let method = if follows { "resources/subscribe" } else { "resources/unsubscribe" };
                    rig.endpoint(&json!({"id": n, "method": method, "params": {"uri": uri, "own": true}}).to_string());
                }
                Wished::Level(level) if linked => {
                    rig.endpoint(&json!({"id": n, "method": "logging/setLevel", "params": {"level": level}}).to_string());
                    (wanted[0].1, wanted[1].1) = (Some(level), Some(level));
                }
                Wished::Busy(s, now) if alive[s] => { rig.router.on_server_busy(s, now, rig.now, &mut rig.sink); rig.serve(); busy[s] = now; }
                Wished::Pass(seconds) => rig.pass(seconds),
                // What can't happen now.
                Wished::Link(_) | Wished::Server(..) | Wished::Other | Wished::Follow(..) | Wished::Level(_) | Wished::Busy(..) => {}
            }
            for s in 0..2 {
                for frame in rig.at_server(s) {
                    let (uri, own) = (frame["params"]["uri"].as_str().map(str::to_owned), frame["params"]["own"] == true);
                    match frame["method"].as_str().unwrap_or_default() {
                        "resources/subscribe" => {
                            told[s].0.extend(uri.clone());
                            if let Some(uri) = uri.filter(|_| own) {
                                wanted.iter_mut().for_each(|(followed, _)| followed.retain(|other| *other != uri));
                                wanted[s].0.insert(uri);
                            }
                        }
                        "resources/unsubscribe" => {
                            let uri = uri.unwrap();
                            told[s].0.remove(&uri);
                            if own { wanted[s].0.remove(&uri); }
                        }
                        "logging/setLevel" => told[s].1 = frame["params"]["level"].as_u64(),
                        _ => {}
                    }
                }
            }
            for s in 0..2 {
                if alive[s] && !busy[s] && rig.router.servers[s].lane.is_ready() {
                    prop_assert_eq!(&told[s].0, &wanted[s].0, "what is followed at {}", s);
                    prop_assert!(wanted[s].1.is_none() || told[s].1 == wanted[s].1, "the level of {}", s);
                }
            }
        }
    }
}

/// JSON text as somebody may write it: numbers that no machine type holds, members in any order, spaces, escapes.
fn any_json() -> impl Strategy<Value = String> {
    let string = "[a-zA-Z0-9 _é计😀/.-]{0,12}|\\\\u00e9|\\\\n\\\\\\\\|\\\\\"".prop_map(|text| format!("\"{text}\""));
    let number = "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,4})?";
    let scalar =
        prop_oneof![string.boxed(), number.boxed(), Just("null".into()), Just("true".into()), Just("[]".into())];
    scalar.prop_recursive(4, 24, 5, |inner| {
        let members = prop::collection::vec(("x[a-z]{1,6}", inner.clone()), 0..5);
        prop_oneof![
            prop::collection::vec(inner, 0..5).prop_map(|all| format!("[{}]", all.join(" , "))),
            members.prop_map(|all| {
                format!("{{{}}}", all.iter().map(|(k, v)| format!("\"{k}\" :{v}")).collect::<Vec<_>>().join(","))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_else_is_in_a_message_comes_through_byte_for_byte(
        extra in prop::collection::vec(("x[a-z]{1,6}", any_json()), 0..4),
        inside in prop::collection::vec(("x[a-z]{1,6}", any_json()), 0..4),
        arguments in any_json(),
        method in "[a-z]{1,8}/[a-zA-Z]{1,8}",
        id in prop_oneof![any::<u64>().prop_map(|n| n.to_string()), "\"[a-z_0-9-]{1,40}\"", Just("0".to_owned())],
        first: bool,
    ) {
        let mut rig = Rig::pair();
        let members = |all: &[(String, String)]| all.iter().map(|(k, v)| format!(",\"{k}\": {v}")).collect::<String>();
        let (extra, inside) = (members(&extra), members(&inside));
        let id_first = if first { format!("\"id\":{id},") } else { String::new() };
        let id_last = if first { String::new() } else { format!(", \"id\" : {id}") };
        // With a name that is exchanged, and with a method that nobody knows.
        for (method, name, own) in [("tools/call", "\"name\":\"a__add\"", "\"name\":\"add\""), (&method, "\"q\":1", "\"q\":1")] {
            let text = format!(
                "{{{id_first}\"method\":\"{method}\",\"params\":{{{name},\"arguments\":{arguments}{inside}}}{extra}{id_last}}}"
            );
            rig.endpoint(&text);
            let sent = rig.sink.servers[0].pop().unwrap();
            let ours = sent[envelope::scan_one(sent.as_bytes()).unwrap().id.unwrap()].to_owned();
            let mut want = text.replace(name, own).replace(&format!("{id_first}\"method"), &id_first.replace(&id, &ours).add("\"method"));
            if !first {
                want = want.strip_suffix(&format!("{id_last}}}")).unwrap().to_owned() + &id_last.replace(&id, &ours) + "}";
            }
            if arguments == "null" {
                want = want.replacen("\"arguments\":null", "\"arguments\":{}", 1);
            }
            prop_assert_eq!(&sent, &want);
            let answer = |id: &str| format!("{{\"jsonrpc\" :\"2.0\",\"result\":{{\"content\":{arguments}{inside}}}{extra},\"id\":{id}}}");
            rig.server(0, &answer(&ours));
            prop_assert_eq!(rig.sink.endpoint.pop().unwrap(), answer(&id));
        }
    }
}

#[test]
fn a_server_that_a_person_stopped_stays_listed_and_the_others_go_on() {
    let mut rig = Rig::pair();
    let call =
        |id, tool: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}"}}}}"#);
    rig.endpoint(&call(2, "one"));
    rig.router.on_server_barred(0, Some(Bar::Stopped), rig.now, &mut rig.sink);
    let gone = Gone { why: "was stopped by command", retry_in: Duration::ZERO, by_command: true };
    rig.router.on_server_down(0, gone, rig.now, &mut rig.sink);
    let under_way: Vec<_> = std::mem::take(&mut rig.sink.endpoint);
    assert!(
        under_way.iter().any(|m| m.contains("not answered: server ") && m.contains("was stopped by command")),
        "{under_way:?}"
    );
    assert!(!under_way.iter().any(|m| m.contains("list_changed")), "nothing is announced: {under_way:?}");
    rig.endpoint(&call(3, "one"));
    rig.endpoint(&call(4, "two"));
    let refused = parsed(&rig.sink.endpoint.remove(0));
    assert_eq!(refused["error"]["message"], Bar::Stopped.words("a"));
    assert!(rig.sink.endpoint.is_empty() && rig.sink.servers[1].last().unwrap().contains("two"));
    rig.endpoint(r#"{"jsonrpc":"2.0","id":5,"method":"tools/list"}"#);
    assert!(rig.sink.endpoint.pop().unwrap().contains("\"one\""), "it stays listed");
    rig.router.on_server_barred(0, None, rig.now, &mut rig.sink);
    rig.up(0);
    rig.sink.endpoint.clear();
    rig.endpoint(&call(6, "one"));
    assert!(rig.sink.endpoint.is_empty() && rig.sink.servers[0].last().unwrap().contains("one"));
}

#[test]
fn a_paused_server_is_not_searched_for_what_nobody_lists() {
    let mut rig = Rig::pair();
    rig.sink.servers.iter_mut().for_each(Vec::clear);
    rig.router.on_server_barred(0, Some(Bar::Paused), rig.now, &mut rig.sink);
    rig.endpoint(r#"{"jsonrpc":"2.0","id":2,"method":"x/unknown"}"#);
    assert!(rig.sink.servers[0].is_empty() && rig.sink.servers[1].last().unwrap().contains("x/unknown"));
}

#[test]
fn a_name_that_was_read_of_a_server_that_is_gone_leads_to_no_other_one_in_its_place() {
    let mut rig = Rig::pair();
    rig.endpoint(r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#);
    assert!(rig.sink.endpoint.pop().unwrap().contains("a__add"));
    rig.router.remove_server(0, rig.now, &mut rig.sink);
    let other = &specs(&["c"])[0];
    assert_eq!(rig.router.add_server(other, None), 0);
    let Sight::Merged(view) = rig.router.whole else { panic!("a view of all") };
    let servers = vec![(0, Arc::default()), (1, Arc::default())];
    let show = Show { servers, sharing: Sharing::default(), max_list: 1 << 20, grows: false };
    rig.router.change_view(view, show, rig.now, &mut rig.sink);
    rig.up(0);
    rig.sink.endpoint.clear();
    rig.sink.servers.iter_mut().for_each(Vec::clear);
    rig.endpoint(&call(3, "a__add"));
    assert!(rig.sink.endpoint.pop().unwrap().contains("unknown tool: a__add"));
    rig.endpoint(&call(4, "c__add"));
    assert!(rig.sink.servers[0].pop().unwrap().contains("\"add\""));
}

#[test]
fn a_list_that_is_read_only_once_somebody_sees_the_server_is_waited_for_however_long_the_server_runs() {
    let mut rig = Rig::new(specs(&["a"]), vec![json!({"capabilities": {"tools": {}}})], vec![]);
    let show = |servers| Show { servers, sharing: Sharing::default(), max_list: 1 << 20, grows: false };
    let Sight::Merged(whole) = rig.router.whole else { panic!("a view of all") };
    rig.router.change_view(whole, show(vec![]), rig.now, &mut rig.sink);
    rig.router.leave(rig.peer, rig.now, &mut rig.sink);
    rig.router.open_to_any();
    rig.up(0);
    rig.pass(100);
    let view = rig.router.add_view(show(vec![(0, Arc::default())]), rig.now, &mut rig.sink);
    rig.peer = rig.router.join(NewPeer { sight: Some(Sight::Merged(view)), ..NewPeer::unknown(1 << 20) });
    rig.link_up();
    rig.endpoint(&hello(0));
    rig.endpoint(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
    rig.pass(2);
    rig.sink.endpoint.retain(|frame| parsed(frame)["id"] == 1);
    assert!(rig.sink.endpoint.is_empty(), "{:?}", rig.sink.endpoint);
    let asked = rig.at_server(0).into_iter().find(|frame| frame["method"] == "tools/list").unwrap();
    let tools = &offer(&["one"])["tools/list"];
    rig.server(0, &json!({"jsonrpc": "2.0", "id": asked["id"], "result": tools}).to_string());
    let listed = rig.at_endpoint().into_iter().find(|frame| frame["id"] == 1).unwrap();
    assert_eq!(listed["result"]["tools"][0]["name"], "one");
}

#[test]
fn what_a_server_says_in_this_run_counts_before_what_is_remembered_though_it_is_shown_later() {
    let show = |servers| Show { servers, sharing: Sharing::default(), max_list: 1 << 20, grows: true };
    let old = Memory {
        welcome: r#"{"protocolVersion":"2024-11-05","capabilities":{"tools":{}},"serverInfo":{"name":"s"}}"#.into(),
        ..Memory::default()
    };
    let mut lists = old.lists.clone();
    lists.set(ListKind::Tools, vec![r#"{"name":"gone","inputSchema":{"type":"object"}}"#.into()]);
    let mut rig = Rig::new(vec![], vec![offer(&["one"])], vec![]);
    rig.router.open_to_any();
    rig.router.leave(rig.peer, rig.now, &mut rig.sink);
    let server = rig.router.add_server(&specs(&["a"])[0], Some(Memory { lists, ..old }));
    rig.up(server);
    assert!(rig.sink.memories.pop().unwrap().1.welcome.contains("2025-06-18"), "also while nobody is shown it");
    let view = rig.router.add_view(show(vec![(server, Arc::default())]), rig.now, &mut rig.sink);
    rig.peer = rig.router.join(NewPeer { sight: Some(Sight::Merged(view)), ..NewPeer::unknown(1 << 20) });
    rig.link_up();
    for (asked, want) in [("2025-03-26", "2025-03-26"), ("2025-06-18", "2025-06-18"), ("2025-11-25", "2025-06-18")] {
        let hello = hello(0).replace("2024-11-05", asked);
        rig.router.on_peer(rig.peer, hello.as_bytes(), rig.now, &mut rig.sink);
        assert_eq!(rig.at_endpoint()[0]["result"]["protocolVersion"], want, "{asked}");
    }
    // Before the server has answered, nothing is told of tools that may be gone.
    rig.router.on_peer(rig.peer, br#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#, rig.now, &mut rig.sink);
    assert!(rig.sink.endpoint.is_empty(), "{:?}", rig.sink.endpoint);
    rig.serve();
    let listed = rig.at_endpoint().into_iter().find(|frame| frame["id"] == 1).unwrap();
    assert_eq!(listed["result"]["tools"][0]["name"], "one");
    rig.pass(60);
    assert_eq!(rig.sink.memories.pop().unwrap().1.lists.get(ListKind::Tools).len(), 1);
    assert!(rig.tools() == ["one"]);
}

#[test]
fn a_name_is_wrong_only_where_all_servers_have_said_what_they_have() {
    let mut rig = Rig::new(specs(&["a", "b"]), vec![offer(&["one"]), json!({"silent": true})], vec![]);
    rig.begin();
    rig.endpoint(&call(2, "two"));
    rig.pass(70);
    let told = rig.at_endpoint().into_iter().find(|frame| frame["id"] == 2).unwrap();
    let why = "unknown tool: two; but server \"b\" has not said what it has";
    assert_eq!((&told["error"]["code"], &told["error"]["message"]), (&json!(-32000), &json!(why)));
    let mut rig = Rig::pair();
    rig.endpoint(&call(2, "three"));
    let told = rig.at_endpoint();
    assert_eq!(
        (&told[0]["error"]["code"], &told[0]["error"]["message"]),
        (&json!(-32602), &json!("unknown tool: three"))
    );
}

#[test]
fn a_call_that_took_too_long_has_a_code_of_its_own_for_whoever_has_come_to_us() {
    for (kind, code) in [
        (PeerKind::Endpoint, -32000),
        (PeerKind::Robot, -32001),
        (PeerKind::Client, -32001),
        (PeerKind::Modern, -32001),
    ] {
        let mut spec = specs(&["a"]);
        spec[0].tools = Arc::new(ToolPolicy { timeout: Some(Duration::from_secs(3)), ..ToolPolicy::default() });
        let mut rig = Rig::new(spec, vec![offer(&["one"])], vec![]);
        rig.peer = rig.router.join(NewPeer { kind, ..NewPeer::unknown(1 << 20) });
        rig.begin();
        rig.at_endpoint();
        rig.endpoint(&call(3, "one"));
        rig.pass(3);
        let error = rig.at_endpoint().pop().unwrap()["error"].take();
        assert_eq!((error["code"].as_i64(), &error["data"]["from"]), (Some(code), &json!("mcp-pipe")), "{kind:?}");
        // A server that is not there is no late one.
        rig.down(0, 60);
        rig.endpoint(&call(4, "one"));
        rig.pass(3);
        assert_eq!(rig.at_endpoint().pop().unwrap()["error"]["code"], -32000, "{kind:?}");
    }
}
