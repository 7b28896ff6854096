#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use super::*;
use crate::catalogue::Memory;
use crate::mcp::envelope::{NotMessage, Notation};
use crate::mcp::reply::{INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR};
use crate::router::Greeting;
use crate::router::desk::MAX_ASKED;
use crate::router::lane::MAX_IN_FLIGHT;
use crate::router::peers::MAX_WAITING;
use crate::router::{PeerKind, in_guise, say};
use proptest::prelude::*;
use serde_json::{Value, json};

#[derive(Debug, Default)]
struct Sink {
    endpoint: Vec<String>,
    server: Vec<String>,
    /// What the next run is to know of the endpoint.
    hellos: Vec<String>,
    restarts: usize,
    notes: Vec<String>,
}

impl Out for Sink {
    fn to_peer(&mut self, _: PeerId, pieces: &[&[u8]]) {
        self.endpoint.push(String::from_utf8(pieces.concat()).unwrap());
    }
    fn to_server(&mut self, _: ServerIndex, pieces: &[&[u8]]) {
        self.server.push(String::from_utf8(pieces.concat()).unwrap());
    }
    fn remember(&mut self, _: ServerIndex, _: &Memory) {}
    fn remember_hello(&mut self, _: PeerId, params: &str) {
        self.hellos.push(params.to_owned());
    }
    fn restart(&mut self, _: ServerIndex, _: &'static str) {
        self.restarts += 1;
    }
    fn note(&mut self, note: Note<'_>) {
        // What is only counted is told to nobody.
        if !matches!(note.what, What::Unserved(_)) {
            self.notes.push(note.to_string());
        }
    }
}

/// A router with a clock that a test moves, and what the router has decided since the last look.
struct Rig {
    router: Hub,
    peer: PeerId,
    sink: Sink,
    now: Instant,
}

impl Rig {
    fn new() -> Self {
        Self::with(Handshake::Answer)
    }

    fn with(handshake: Handshake) -> Self {
        let spec = ServerSpec { handshake, max_frame: 1000, ..ServerSpec::sample("calc", "", &[]) };
        Self::of(&spec, NewPeer::unknown(1000))
    }

    fn of(spec: &ServerSpec, peer: NewPeer) -> Self {
        let mut router = Hub::alone(spec);
        let peer = router.join(peer);
        Rig { router, peer, sink: Sink::default(), now: Instant::now() }
    }

    /// A rig with a server that is up and initialized.
    fn ready() -> Self {
        let mut rig = Self::new();
        rig.server_up();
        rig.answer(welcome());
        rig.sink = Sink::default();
        rig
    }

    /// A rig with a server that is up, initialized and conversing, with nothing left to look at.
    fn running() -> Self {
        let mut rig = Self::ready();
        rig.link_up();
        rig.endpoint(&hello(0));
        rig.endpoint(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        rig.sink = Sink::default();
        rig
    }

    fn endpoint(&mut self, frame: &str) {
        self.router.on_peer(self.peer, frame.as_bytes(), self.now, &mut self.sink);
    }
    fn server(&mut self, frame: &str) {
        say(&mut self.router, 0, frame.as_bytes(), self.now, &mut self.sink);
    }
    fn link_up(&mut self) {
        self.router.on_link_up(self.peer, self.now, &mut self.sink);
    }
    fn link_down(&mut self) {
        self.router.on_link_down(self.peer, self.now, &mut self.sink);
    }
    fn server_up(&mut self) {
        self.router.on_server_up(0, self.now, &mut self.sink);
    }
    fn server_down(&mut self, retry_in: u64) {
        let gone = Gone { why: "exited with code 1", retry_in: Duration::from_secs(retry_in), by_command: false };
        self.router.on_server_down(0, gone, self.now, &mut self.sink);
    }
    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        while self.router.next_tick().is_some_and(|t| t <= self.now) {
            self.router.on_tick(self.now, &mut self.sink);
        }
    }
    /// A beat of the connection, after so many seconds.
    fn beat(&mut self, seconds: u64) {
        self.pass(seconds);
        self.router.on_beat(self.peer, self.now, &mut self.sink);
    }
    /// The last request that the server got.
    fn last(&self) -> Value {
        let is_request = |frame: &Value| frame["method"].is_string() && !frame["id"].is_null();
        self.sink.server.iter().rev().map(|frame| parsed(frame)).find(is_request).unwrap()
    }
    /// The server answers the last request that it got.
    fn answer(&mut self, result: Value) {
        let id = self.last()["id"].clone();
        self.server(&json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string());
    }
    /// The server answers the last request that it got with an error.
    fn refuse(&mut self, words: &str) {
        let id = self.last()["id"].clone();
        self.server(&json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32602, "message": words}}).to_string());
    }
    /// The process that was to be replaced ends, and another one is up.
    fn restarted(&mut self) {
        assert_eq!(std::mem::take(&mut self.sink.restarts), 1);
        self.server_down(0);
        self.server_up();
    }
    /// How many handshakes of the endpoint wait.
    fn waiting(&self) -> usize {
        self.router.peers.get(self.peer).unwrap().waiting()
    }
    fn sent_to_endpoint(&mut self) -> Vec<String> {
        std::mem::take(&mut self.sink.endpoint)
    }
    fn sent_to_server(&mut self) -> Vec<String> {
        std::mem::take(&mut self.sink.server)
    }
}

fn hello(id: u64) -> String {
    hello_with(id, "2024-11-05", json!({"sampling": {}, "roots": {}}))
}

fn hello_with(id: u64, version: &str, capabilities: Value) -> String {
    let params = json!({"protocolVersion": version, "capabilities": capabilities, "clientInfo": {"name": "robot"}});
    json!({"id": id, "jsonrpc": "2.0", "method": "initialize", "params": params}).to_string()
}

/// An `initialize` on which a server would act otherwise than on a likely one.
fn other(id: u64) -> String {
    hello_with(id, "2024-11-05", json!({"elicitation": {}}))
}

fn welcome() -> Value {
    json!({"protocolVersion": "2024-11-05", "capabilities": {"tools": {}}, "serverInfo": {"name": "calc", "version": "1"}})
}

fn methods(frames: &[String]) -> Vec<String> {
    frames
        .iter()
        .map(|f| serde_json::from_str::<Value>(f).unwrap()["method"].as_str().unwrap_or("-").to_string())
        .collect()
}

fn parsed(frame: &str) -> Value {
    serde_json::from_str(frame).unwrap()
}

#[test]
fn a_server_that_hangs_is_asked_for_a_sign_of_life_and_then_named_until_it_speaks() {
    let mut rig = Rig::running();
    (0..30).for_each(|_| rig.beat(20));
    rig.endpoint(r#"{"id":1,"method":"tools/call"}"#);
    rig.sent_to_server();
    rig.beat(20);
    assert_eq!((rig.sent_to_server(), rig.router.next_tick()), (vec![], None), "it has time, and nothing ticks");
    rig.beat(20);
    assert_eq!(methods(&rig.sent_to_server()), ["ping"]);
    assert!(rig.sink.notes.is_empty());
    rig.beat(20);
    assert!(rig.sink.notes.remove(0).starts_with("was called 60.0 s ago (tools/call) and has said nothing since"));
    (0..11).for_each(|_| rig.beat(20));
    assert!(rig.sink.notes.is_empty(), "once is enough");
    rig.beat(20);
    assert!(rig.sink.notes.remove(0).starts_with("was called 5 min ago"), "for the state that is shown");
    // Another connection changes nothing about the silence.
    rig.link_down();
    rig.link_up();
    rig.beat(20);
    rig.server(r#"{"method":"notifications/message"}"#);
    assert_eq!(rig.sink.notes, ["says something again, after 5 min"]);
    assert_eq!(methods(&rig.sent_to_server()), ["notifications/cancelled"]);
}

#[test]
fn a_server_that_is_slow_with_a_call_and_sends_progress_or_answers_a_ping_is_not_silent() {
    let mut rig = Rig::running();
    rig.endpoint(r#"{"id":1,"method":"tools/call","params":{"_meta":{"progressToken":1}}}"#);
    let call = parsed(&rig.sent_to_server()[0]);
    rig.beat(29);
    rig.server(&json!({"method": "notifications/progress", "params": {"progressToken": call["id"]}}).to_string());
    rig.beat(29);
    rig.endpoint(r#"{"id":2,"method":"tools/call"}"#);
    rig.sent_to_server();
    rig.beat(30);
    rig.answer(json!({}));
    (0..30).for_each(|_| rig.beat(20));
    assert_eq!(rig.sink.notes, ["dropped an answer of the server that nobody waits for"], "that to the ping");
    assert_eq!(rig.router.in_flight(), 2);
    // A server that has ended owes nothing.
    rig.endpoint(r#"{"id":3,"method":"tools/call"}"#);
    rig.server_down(1);
    rig.server_up();
    rig.sent_to_server();
    rig.beat(400);
    assert_eq!(rig.sent_to_server(), Vec::<String>::new());
}

#[test]
fn a_call_goes_through_with_nothing_but_its_id_exchanged() {
    let mut rig = Rig::running();
    rig.endpoint(r#"{"params":{"name":"add","arguments":{"a":1.50},"clientId":"x"}, "id" : "u_n_7","method":"tools/call","extra":[]}"#);
    let sent = rig.sent_to_server().pop().unwrap();
    let id = parsed(&sent)["id"].to_string();
    assert_eq!(
        sent,
        format!(
            r#"{{"params":{{"name":"add","arguments":{{"a":1.50}},"clientId":"x"}}, "id" : {id},"method":"tools/call","extra":[]}}"#
        )
    );
    rig.server(&format!(r#"{{"result":{{"n":1e2}}, "jsonrpc" : "2.0","id":{id}}}"#));
    assert_eq!(rig.sent_to_endpoint(), [r#"{"result":{"n":1e2}, "jsonrpc" : "2.0","id":"u_n_7"}"#]);
    assert_eq!((rig.router.in_flight(), rig.router.served(rig.peer)), (0, 1));
    rig.server(&format!(r#"{{"result":{{}},"id":{id}}}"#));
    assert!(rig.sent_to_endpoint().is_empty(), "a second answer is dropped");
}

#[test]
fn the_account_tells_an_initialize_that_waits_from_one_that_we_excused() {
    let mut rig = Rig::new();
    rig.server_up();
    rig.link_up();
    rig.endpoint(&hello(0));
    let became = |rig: &Rig| rig.router.account(rig.peer, rig.now).initialize;
    assert_eq!(became(&rig), Some(Greeting::Waits));
    rig.pass(9);
    assert!(rig.sent_to_endpoint()[0].contains("error"));
    assert_eq!(became(&rig), Some(Greeting::Excused));
    assert!(!rig.router.is_handshaken(rig.peer));
    rig.endpoint(&hello(1));
    assert_eq!(became(&rig), Some(Greeting::Waits));
    rig.refuse("no licence");
    assert_eq!(became(&rig), Some(Greeting::Refused));
    assert!(!rig.router.is_handshaken(rig.peer), "it is no proof of anything");
    assert_eq!(rig.router.account(rig.peer, rig.now).server, "refused to initialize: no licence");
}

#[test]
fn an_id_that_the_server_made_a_string_of_is_still_ours() {
    for form in [r#""ID""#, "ID.0"] {
        let mut rig = Rig::running();
        rig.endpoint(r#"{"id":5,"method":"tools/call"}"#);
        let id = parsed(&rig.sent_to_server()[0])["id"].to_string();
        rig.server(&format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{}}}}"#, form.replace("ID", &id)));
        assert_eq!(rig.sent_to_endpoint(), [r#"{"jsonrpc":"2.0","id":5,"result":{}}"#]);
    }
}

#[test]
fn null_params_and_null_arguments_are_repaired() {
    for (sent, got) in [
        (r#"{"id":9,"method":"tools/list","params":null}"#, r#"{"id":ID,"method":"tools/list"}"#),
        (r#"{"params": null , "id":9,"method":"tools/list"}"#, r#"{ "id":ID,"method":"tools/list"}"#),
        (r#"{"id":9,"params":null,"method":"tools/list"}"#, r#"{"id":ID,"method":"tools/list"}"#),
        (
            r#"{"id":9,"method":"tools/call","params":{"name":"x","arguments":null}}"#,
            r#"{"id":ID,"method":"tools/call","params":{"name":"x","arguments":{}}}"#,
        ),
        (
            r#"{"params":{"arguments":null},"id":9,"method":"tools/call"}"#,
            r#"{"params":{"arguments":{}},"id":ID,"method":"tools/call"}"#,
        ),
    ] {
        let mut rig = Rig::running();
        rig.endpoint(sent);
        let frame = rig.sent_to_server().pop().unwrap();
        assert_eq!(frame, got.replace("ID", &parsed(&frame)["id"].to_string()));
    }
}

#[test]
fn a_server_is_initialized_before_anything_else_and_its_answer_is_what_shows_that_it_is_ready() {
    let mut rig = Rig::new();
    assert_eq!(rig.router.start(0), Start::Awaited);
    rig.server_up();
    assert_eq!(parsed(&rig.sink.server[0])["params"], parsed(str::from_utf8(&Hello::likely().params).unwrap()));
    for early in [
        "loading…",
        r#"{"method":"notifications/message","params":{}}"#,
        r#"{"id":"x","method":"ping"}"#,
        r#"{"id":9,"result":{}}"#,
    ] {
        rig.server(early);
        assert_eq!((rig.router.start(0), rig.router.is_serving(0)), (Start::Awaited, false), "{early}");
    }
    assert_eq!(methods(&rig.sink.server), ["initialize", "-"], "and the answer to its own ping");
    rig.answer(welcome());
    assert_eq!((rig.router.start(0), rig.router.is_serving(0)), (Start::Settled, true));
    assert_eq!(methods(&rig.sent_to_server()), ["initialize", "-"], "its endpoint may be another than expected");
    rig.server_down(1);
    assert_eq!(rig.router.start(0), Start::Absent);
    rig.server_up();
    rig.refuse("no");
    assert_eq!(
        (rig.router.start(0), rig.router.is_serving(0)),
        (Start::Settled, false),
        "there is no more to wait for"
    );
}

#[test]
fn the_burst_of_the_cloud_is_answered_in_order() {
    let mut rig = Rig::new();
    rig.link_up();
    rig.server_up();
    rig.endpoint(&hello(0));
    rig.endpoint(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    rig.endpoint(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
    assert_eq!(methods(&rig.sink.server), ["initialize"], "nothing reaches a server that is not initialized");
    rig.answer(welcome());
    assert_eq!(methods(&rig.sink.server), ["initialize", "notifications/initialized", "tools/list"]);
    rig.answer(json!({"tools": []}));
    let answers: Vec<Value> = rig.sent_to_endpoint().iter().map(|f| parsed(f)["id"].clone()).collect();
    assert_eq!(answers, [json!(0), json!(1)]);
}

#[test]
fn interleaved_handshakes_on_one_socket_are_all_answered_from_the_first() {
    let mut rig = Rig::new();
    rig.link_up();
    rig.server_up();
    for id in [10, 11, 12] {
        rig.endpoint(&hello(id));
    }
    rig.answer(welcome());
    rig.endpoint(&other(13));
    let ids: Vec<Value> = rig.sent_to_endpoint().iter().map(|f| parsed(f)["id"].clone()).collect();
    assert_eq!(ids, [json!(10), json!(11), json!(12), json!(13)]);
    for _ in 0..4 {
        rig.endpoint(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    }
    assert_eq!(methods(&rig.sent_to_server()), ["initialize", "notifications/initialized"], "the server is told once");
}

#[test]
fn an_endpoint_that_says_what_its_server_was_told_is_answered_at_once_and_anything_else_is_told_to_the_server() {
    let mut rig = Rig::ready();
    rig.link_up();
    rig.endpoint(r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":null}"#);
    assert_eq!(parsed(&rig.sent_to_endpoint()[0])["result"], welcome());
    assert_eq!(
        (methods(&rig.sent_to_server()), rig.sink.hellos.len()),
        (vec!["notifications/initialized".to_owned()], 0)
    );

    let mut rig = Rig::ready();
    rig.link_up();
    rig.endpoint(&hello(0));
    assert_eq!(parsed(&rig.sent_to_endpoint()[0])["result"], welcome());
    assert_eq!(methods(&rig.sent_to_server()), ["notifications/initialized"]);
    assert_eq!(parsed(&rig.sink.hellos[0]), parsed(&hello(0))["params"], "from now on it is more than likely");

    for (version, capabilities) in [
        ("2025-06-18", json!({"roots": {}, "sampling": {}})),
        ("2024-11-05", json!({})),
        ("2024-11-05", json!({"elicitation": {}})),
    ] {
        let mut rig = Rig::ready();
        rig.link_up();
        let hello = hello_with(0, version, capabilities);
        rig.endpoint(&hello);
        assert!(rig.sent_to_endpoint().is_empty(), "what the server says to that is not known yet");
        assert_eq!(methods(&rig.sink.server), ["initialize"], "nothing came between");
        assert_eq!(rig.last()["params"], parsed(&hello)["params"]);
        let mut second = welcome();
        second["protocolVersion"] = version.into();
        rig.answer(second.clone());
        assert_eq!(parsed(&rig.sent_to_endpoint()[0])["result"], second);
        assert_eq!(methods(&rig.sent_to_server()), ["initialize", "notifications/initialized"]);
        // The parameters are kept for the next run.
        assert_eq!(parsed(&rig.sink.hellos.pop().unwrap()), parsed(&hello)["params"]);
        // Another robot, and then another connection, say other things: the server has been asked once more already.
        rig.endpoint(&other(1));
        rig.link_down();
        rig.link_up();
        rig.endpoint(&hello_with(0, "2025-03-26", json!({})));
        assert_eq!((rig.sent_to_endpoint().len(), rig.sent_to_server().len(), rig.sink.hellos.len()), (2, 0, 0));
    }
}

#[test]
fn what_is_known_of_an_endpoint_is_what_its_server_is_told_first() {
    let params = parsed(&other(0))["params"].clone();
    let known = Some(Arc::new(Hello::read(params.to_string().as_bytes())));
    let mut rig = Rig::of(&ServerSpec::sample("calc", "", &[]), NewPeer { hello: known, ..NewPeer::unknown(1000) });
    rig.server_up();
    assert_eq!(rig.last()["params"], params);
    rig.answer(welcome());
    assert_eq!(methods(&rig.sent_to_server()), ["initialize", "notifications/initialized"], "it may go on");
    rig.link_up();
    rig.endpoint(&other(0));
    assert_eq!((rig.sent_to_endpoint().len(), rig.sent_to_server().len(), rig.sink.hellos.len()), (1, 0, 0));
}

#[test]
fn a_server_that_takes_one_handshake_only_is_started_anew_once_and_serves() {
    type Reaction = fn(&mut Rig);
    let reactions: [(&str, Reaction); 3] = [
        ("an error", |rig| {
            rig.refuse("already initialized");
            rig.restarted();
        }),
        ("its end", |rig| {
            rig.server_down(1);
            rig.server_up();
        }),
        ("silence", |rig| {
            rig.pass(4);
            assert_eq!(rig.sink.restarts, 0);
            rig.pass(1);
            rig.restarted();
        }),
    ];
    for (what, react) in reactions {
        let mut rig = Rig::ready();
        rig.link_up();
        rig.endpoint(&other(0));
        react(&mut rig);
        assert!(rig.sent_to_endpoint().is_empty(), "{what}");
        assert_eq!(rig.last()["params"], parsed(&other(0))["params"], "{what}: as its first message");
        rig.sent_to_server();
        rig.server(&json!({"jsonrpc": "2.0", "id": 2, "result": {}}).to_string());
        rig.endpoint(r#"{"id":1,"method":"tools/list"}"#);
        assert!(rig.sent_to_server().is_empty(), "{what}");
        rig.server(&json!({"jsonrpc": "2.0", "id": 3, "result": welcome()}).to_string());
        assert_eq!(parsed(&rig.sent_to_endpoint()[0])["result"], welcome(), "{what}");
        assert_eq!(methods(&rig.sent_to_server()), ["notifications/initialized", "tools/list"], "{what}");
        // In the next life the server is told the right thing at once.
        rig.server_down(0);
        rig.sent_to_endpoint();
        rig.server_up();
        assert_eq!(rig.last()["params"], parsed(&other(0))["params"], "{what}");
        rig.answer(welcome());
        rig.link_down();
        rig.link_up();
        rig.endpoint(&hello(0));
        assert_eq!((rig.sent_to_endpoint().len(), rig.sink.restarts), (1, 0), "{what}: it does not flap");
        // What the server takes is known for the run: if its endpoint changes while it starts, it is not asked again.
        rig.server_down(0);
        rig.server_up();
        rig.link_down();
        rig.link_up();
        rig.endpoint(&other(0));
        let last = rig.last()["id"].clone();
        rig.sent_to_server();
        rig.server(&json!({"jsonrpc": "2.0", "id": last, "result": welcome()}).to_string());
        assert_eq!((rig.sent_to_server().len(), rig.sink.restarts), (0, 1), "{what}");
    }
}

#[test]
fn a_server_that_is_of_use_already_keeps_its_process() {
    // A call came before any handshake, and is under way.
    let mut rig = Rig::ready();
    rig.link_up();
    rig.endpoint(r#"{"id":1,"method":"tools/call"}"#);
    rig.sent_to_server();
    rig.endpoint(&other(0));
    assert_eq!((rig.sent_to_endpoint().len(), rig.sent_to_server().len()), (1, 0), "it may die of another one");
    // The call has been answered.
    let mut rig = Rig::ready();
    rig.link_up();
    rig.endpoint(r#"{"id":1,"method":"tools/call"}"#);
    rig.answer(json!({}));
    rig.sent_to_endpoint();
    rig.endpoint(&other(0));
    rig.refuse("already initialized");
    assert_eq!((rig.sent_to_endpoint().len(), rig.sink.restarts), (1, 0));
    // What waits for the server might be refused before another process is ready.
    let mut rig = Rig::ready();
    rig.link_up();
    rig.endpoint(&other(0));
    rig.endpoint(r#"{"id":1,"method":"tools/call"}"#);
    rig.pass(5);
    assert_eq!((rig.sent_to_endpoint().len(), rig.sink.restarts), (1, 0));
    assert_eq!(rig.last()["method"], "tools/call");
}

#[test]
fn a_server_that_refuses_what_its_endpoint_says_serves_with_what_it_accepted() {
    let mut rig = Rig::ready();
    rig.link_up();
    rig.endpoint(&other(0));
    rig.refuse("no such capability");
    rig.restarted();
    rig.refuse("no such capability");
    rig.restarted();
    assert_eq!(rig.last()["params"]["clientInfo"]["name"], "mcp-pipe");
    rig.answer(welcome());
    assert_eq!(parsed(&rig.sent_to_endpoint()[0])["result"], welcome());
    rig.pass(600);
    assert_eq!((rig.sink.restarts, rig.sink.hellos.len()), (0, 0), "and stays with that");
    rig.server_down(0);
    rig.server_up();
    assert_eq!(rig.last()["params"]["clientInfo"]["name"], "mcp-pipe");
}

#[test]
fn an_endpoint_does_not_wait_longer_for_another_answer_than_for_a_first() {
    let mut rig = Rig::ready();
    rig.link_up();
    rig.endpoint(&other(0));
    rig.refuse("already initialized");
    rig.server_down(0);
    rig.pass(8);
    assert!(rig.sent_to_endpoint().is_empty());
    rig.pass(1);
    assert_eq!(parsed(&rig.sent_to_endpoint()[0])["result"], welcome(), "what is known is better than an error");
}

#[test]
fn a_server_is_never_asked_for_its_other_era_and_an_endpoint_that_asks_has_yet_to_say_what_it_is() {
    for handshake in [Handshake::Answer, Handshake::Relay] {
        let mut rig = Rig::with(handshake);
        rig.server_up();
        rig.answer(welcome());
        rig.link_up();
        rig.sent_to_server();
        rig.endpoint(r#"{"id":1,"method":"server/discover","params":{}}"#);
        assert!(rig.sent_to_server().is_empty());
        assert_eq!(parsed(&rig.sent_to_endpoint()[0])["error"]["code"], METHOD_NOT_FOUND);
        rig.endpoint(&other(2));
        assert_eq!(methods(&rig.sent_to_server()), ["initialize"], "before it is told that it may go on");
    }
}

#[test]
fn a_reconnect_is_answered_from_memory_and_late_answers_of_before_are_dropped() {
    let mut rig = Rig::running();
    rig.endpoint(r#"{"id":1,"method":"tools/call"}"#);
    let old = parsed(&rig.sent_to_server()[0])["id"].clone();
    rig.link_down();
    let cancelled = parsed(&rig.sent_to_server()[0]);
    assert_eq!((&cancelled["method"], &cancelled["params"]["requestId"]), (&json!("notifications/cancelled"), &old));
    rig.link_up();
    rig.endpoint(&hello(0));
    assert_eq!(parsed(&rig.sent_to_endpoint()[0])["result"], welcome());
    assert!(rig.sent_to_server().is_empty(), "the server does not notice");
    rig.endpoint(r#"{"id":1,"method":"tools/call"}"#);
    rig.server(&json!({"jsonrpc": "2.0", "id": old, "result": "late"}).to_string());
    assert!(rig.sent_to_endpoint().is_empty());
    rig.answer(json!({"is": "right"}));
    assert_eq!(parsed(&rig.sent_to_endpoint()[0])["result"]["is"], "right");
}

#[test]
fn a_restarted_server_is_initialized_again_before_anything_else_reaches_it() {
    let mut rig = Rig::running();
    rig.endpoint(r#"{"id":1,"method":"tools/call"}"#);
    rig.server_down(0);
    let error = parsed(&rig.sent_to_endpoint()[0]);
    assert_eq!(error["id"], 1);
    assert_eq!(error["error"]["message"], "not answered: server \"calc\" exited with code 1");
    rig.sent_to_server();
    rig.endpoint(r#"{"id":2,"method":"tools/call"}"#);
    rig.endpoint(&hello(3));
    assert_eq!(parsed(&rig.sent_to_endpoint()[0])["id"], 3, "initialize is answered from memory meanwhile");
    rig.server_up();
    assert_eq!(methods(&rig.sink.server), ["initialize"]);
    rig.answer(welcome());
    assert_eq!(methods(&rig.sent_to_server()), ["initialize", "notifications/initialized", "tools/call"]);
    assert!(rig.sent_to_endpoint().is_empty());
}

#[test]
fn what_an_endpoint_asks_without_a_handshake_reaches_a_server_that_had_one() {
    let mut rig = Rig::ready();
    rig.link_up();
    rig.endpoint(r#"{"id":1,"method":"tools/list"}"#);
    assert_eq!(methods(&rig.sent_to_server()), ["notifications/initialized", "tools/list"]);
    let mut rig = Rig::new();
    rig.link_up();
    rig.endpoint(r#"{"id":1,"method":"tools/list"}"#);
    rig.server_up();
    assert_eq!(methods(&rig.sent_to_server()), ["initialize"]);
    rig.server(&json!({"jsonrpc": "2.0", "id": 1, "result": welcome()}).to_string());
    assert_eq!(methods(&rig.sent_to_server()), ["notifications/initialized", "tools/list"]);
    rig.server(r#"{"id":"r","method":"roots/list"}"#);
    assert_eq!(parsed(&rig.sent_to_server()[0])["error"]["code"], METHOD_NOT_FOUND, "the endpoint declared nothing");
}

#[test]
fn a_relayed_handshake_that_waits_for_a_restart_is_the_only_one() {
    let mut rig = Rig::with(Handshake::Relay);
    rig.link_up();
    rig.server_down(0);
    rig.endpoint(&other(0));
    rig.server_up();
    assert_eq!(rig.last()["params"], parsed(&other(0))["params"]);
    rig.answer(welcome());
    rig.endpoint(r#"{"method":"notifications/initialized"}"#);
    assert_eq!(methods(&rig.sent_to_server()), ["initialize", "notifications/initialized"]);
    assert_eq!(rig.sent_to_endpoint().len(), 1);
}

#[test]
fn an_answer_is_never_answered() {
    let mut rig = Rig::running();
    rig.endpoint(r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"parse error"}}"#);
    assert!(rig.sent_to_endpoint().is_empty() && rig.sent_to_server().is_empty());
}

#[test]
fn what_waits_for_a_server_is_answered_before_the_endpoint_gives_up() {
    let mut rig = Rig::running();
    rig.server_down(1);
    rig.endpoint(r#"{"id":2,"method":"tools/call"}"#);
    rig.pass(8);
    assert!(rig.sent_to_endpoint().is_empty());
    rig.pass(1);
    assert_eq!(parsed(&rig.sent_to_endpoint()[0])["error"]["code"], UNAVAILABLE);
    rig.server_down(300);
    rig.endpoint(r#"{"id":3,"method":"tools/call"}"#);
    let message = parsed(&rig.sent_to_endpoint()[0])["error"]["message"].to_string();
    assert!(message.contains("exited with code 1; next start in 300.0 s"), "{message}");
}

#[test]
fn an_initialize_that_the_server_never_answers_gets_an_error() {
    let mut rig = Rig::new();
    rig.server_up();
    rig.link_up();
    rig.endpoint(&hello(0));
    rig.pass(9);
    assert_eq!(parsed(&rig.sent_to_endpoint()[0])["id"], 0);
    assert_eq!(rig.router.next_tick(), None);
}

#[test]
fn a_server_that_refuses_to_initialize_says_so_itself_to_all_who_ask_and_is_asked_again_later() {
    let refused = |id: u64| json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32602, "message": "no licence"}});
    let mut rig = Rig::new();
    rig.server_up();
    rig.link_up();
    rig.endpoint(&hello(7));
    rig.endpoint(r#"{"id":8,"method":"tools/call"}"#);
    rig.refuse("no licence");
    let answers: Vec<Value> = rig.sent_to_endpoint().iter().map(|frame| parsed(frame)).collect();
    assert_eq!(answers[0], refused(7), "as the server wrote it");
    assert_eq!(answers[1]["error"]["message"], "server \"calc\" refused to initialize: no licence");
    assert_eq!(rig.sink.notes.len(), 1);
    rig.endpoint(&hello(9));
    assert_eq!(parsed(&rig.sent_to_endpoint()[0]), refused(9), "at once");
    // The answer is the same words, by a fresh process each time, later and later.
    for wait in [5, 10, 20] {
        rig.pass(wait - 1);
        assert_eq!(rig.sink.restarts, 0);
        rig.pass(1);
        rig.endpoint(&hello(1));
        assert_eq!(parsed(&rig.sent_to_endpoint()[0]), refused(1), "also while it is away");
        rig.restarted();
        rig.refuse("no licence");
    }
    // An endpoint that says other things may have better luck, and an `initialize` that comes meanwhile waits for that.
    rig.link_down();
    rig.link_up();
    rig.endpoint(&other(0));
    rig.restarted();
    assert_eq!(rig.last()["params"], parsed(&other(0))["params"]);
    rig.endpoint(&hello(2));
    assert!(rig.sent_to_endpoint().is_empty());
    rig.answer(welcome());
    let answers: Vec<Value> = rig.sent_to_endpoint().iter().map(|frame| parsed(frame)["result"].clone()).collect();
    assert_eq!(answers, [welcome(), welcome()]);
    rig.endpoint(r#"{"id":3,"method":"tools/call"}"#);
    assert_eq!(rig.last()["method"], "tools/call");
}

#[test]
fn a_server_that_exits_when_it_has_refused_is_known_by_its_words_and_not_by_its_end() {
    let mut rig = Rig::new();
    rig.server_up();
    rig.refuse("no licence");
    rig.server_down(60);
    rig.link_up();
    rig.endpoint(&hello(0));
    assert_eq!(parsed(&rig.sent_to_endpoint()[0])["error"]["message"], "no licence");
    rig.endpoint(r#"{"id":1,"method":"tools/call"}"#);
    let message = parsed(&rig.sent_to_endpoint()[0])["error"]["message"].to_string();
    assert!(message.contains("refused to initialize: no licence; next start in 60.0 s"), "{message}");
    assert_eq!(rig.sink.restarts, 0);
    rig.link_down();
    rig.link_up();
    rig.endpoint(&other(0));
    assert_eq!(rig.sink.restarts, 1, "it need not wait for its turn");
    // Another reason for the server's absence is told as such.
    rig.server_down(60);
    rig.endpoint(r#"{"id":1,"method":"tools/call"}"#);
    let message = parsed(&rig.sent_to_endpoint().pop().unwrap())["error"]["message"].to_string();
    assert!(message.contains("exited with code 1"), "{message}");
}

#[test]
fn an_answer_to_initialize_that_cannot_be_read_is_no_refusal_and_is_quoted() {
    let mut rig = Rig::new();
    rig.server_up();
    rig.link_up();
    rig.endpoint(&hello(7));
    let id = rig.last()["id"].to_string();
    let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":oops{}"#, "!".repeat(1000));
    let lost = Lost { id: id.as_bytes(), method: false, why: NotMessage::Json(30) };
    rig.router.on_server_lost(0, lost, text.as_bytes(), rig.now, &mut rig.sink);
    let message = parsed(&rig.sent_to_endpoint()[0])["error"]["message"].as_str().unwrap().to_owned();
    let want = format!(
        "server \"calc\" answered initialize with something that is not JSON-RPC (not JSON at byte 30): {}",
        &text[..200]
    );
    assert!(message.starts_with(&want) && message.len() < want.len() + 10, "{message}");
    // What was shown as noise already is not shown again.
    let mut rig = Rig::new();
    rig.server_up();
    rig.link_up();
    rig.endpoint(&hello(7));
    let id = rig.last()["id"].to_string();
    let lost = Lost { id: id.as_bytes(), method: false, why: NotMessage::Notation(Notation::Python) };
    rig.router.on_server_lost(0, lost, b"", rig.now, &mut rig.sink);
    let message = parsed(&rig.sent_to_endpoint()[0])["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("use json.dumps)") && !message.contains("): "), "{message}");
    assert!(!rig.sink.notes.iter().any(|note| note.contains("refused")), "{:?}", rig.sink.notes);
}

#[test]
fn an_endless_refusal_is_kept_by_its_first_words() {
    let mut rig = Rig::new();
    rig.server_up();
    rig.refuse(&"no! ".repeat(10_000));
    rig.link_up();
    rig.endpoint(&hello(0));
    let answer = rig.sent_to_endpoint().pop().unwrap();
    assert!(answer.len() < 1000 && parsed(&answer)["id"] == 0, "{answer}");
    assert!(parsed(&answer)["error"]["message"].as_str().unwrap().contains("refused to initialize: no! no!"));
}

#[test]
fn a_request_of_the_server_is_answered_by_the_endpoint_under_another_id() {
    let mut rig = Rig::running();
    rig.endpoint(r#"{"id":0,"method":"tools/call"}"#);
    rig.sent_to_server();
    rig.server(r#"{"jsonrpc":"2.0","id":0,"method":"roots/list"}"#);
    let asked = parsed(&rig.sent_to_endpoint()[0]);
    assert_ne!(asked["id"], 0, "the endpoint's own 0 is under way");
    rig.endpoint(&json!({"jsonrpc": "2.0", "id": asked["id"], "result": {"roots": []}}).to_string());
    assert_eq!(parsed(&rig.sent_to_server()[0]), json!({"jsonrpc": "2.0", "id": 0, "result": {"roots": []}}));
    rig.endpoint(&json!({"jsonrpc": "2.0", "id": asked["id"], "result": {}}).to_string());
    assert!(rig.sent_to_server().is_empty(), "a second answer is dropped");
}

#[test]
fn a_request_of_the_server_never_stays_unanswered() {
    let mut rig = Rig::running();
    rig.server(r#"{"id":"e","method":"elicitation/create"}"#);
    assert_eq!(parsed(&rig.sent_to_server()[0])["error"]["code"], METHOD_NOT_FOUND, "not declared");
    rig.server(r#"{"id":"p","method":"ping"}"#);
    assert_eq!(parsed(&rig.sent_to_server()[0])["result"], json!({}));
    rig.server(r#"{"id":"r","method":"roots/list"}"#);
    rig.pass(60);
    assert_eq!(parsed(&rig.sent_to_server()[0])["error"]["code"], UNAVAILABLE, "silent");
    rig.server(r#"{"id":"s","method":"roots/list"}"#);
    assert_eq!(parsed(&rig.sent_to_server()[0])["id"], "s", "a mute endpoint is not asked again");
    rig.endpoint(r#"{"id":"mcp-pipe-3","result":{}}"#);
    rig.server(r#"{"id":"v","method":"roots/list"}"#);
    assert!(rig.sent_to_server().is_empty(), "one that answers late is");
    let mut rig = Rig::running();
    rig.server(r#"{"id":"t","method":"roots/list"}"#);
    rig.link_down();
    rig.server(r#"{"id":"u","method":"roots/list"}"#);
    assert_eq!(parsed(&rig.sent_to_server()[0])["id"], "t", "what was asked on the connection that is lost");
    rig.pass(60);
    assert_eq!(parsed(&rig.sent_to_server()[0])["id"], "u", "and what has waited for another one for too long");
}

#[test]
fn cancelling_names_the_request_as_its_receiver_knows_it() {
    let mut rig = Rig::running();
    rig.endpoint(r#"{"id":"x","method":"tools/call"}"#);
    let id = parsed(&rig.sent_to_server()[0])["id"].clone();
    rig.endpoint(r#"{"method":"notifications/cancelled","params":{"requestId":"x","reason":"r"}}"#);
    assert_eq!(parsed(&rig.sent_to_server()[0])["params"], json!({"requestId": id, "reason": "r"}));
    assert_eq!(rig.router.in_flight(), 0, "nobody waits for it any more");
    rig.endpoint(r#"{"method":"notifications/cancelled","params":{"requestId":"unknown"}}"#);
    assert!(rig.sent_to_server().is_empty());
    rig.server(&json!({"jsonrpc": "2.0", "id": id, "error": {"code": 0, "message": "Request cancelled"}}).to_string());
    assert!(rig.sent_to_endpoint().is_empty(), "and an answer is of no use to anybody");
    rig.server(r#"{"id":4,"method":"roots/list"}"#);
    let asked = parsed(&rig.sent_to_endpoint()[0])["id"].clone();
    rig.server(r#"{"method":"notifications/cancelled","params":{"requestId":4}}"#);
    assert_eq!(parsed(&rig.sent_to_endpoint()[0])["params"]["requestId"], asked);
}

#[test]
fn what_is_no_message_is_answered_with_an_error_and_never_reaches_the_server() {
    let mut rig = Rig::running();
    for (frame, code) in [
        ("hello", PARSE_ERROR),
        ("{\"id\":1", PARSE_ERROR),
        ("17", INVALID_REQUEST),
        (r#"{"id":{},"method":"m"}"#, INVALID_REQUEST),
        ("[]", INVALID_REQUEST),
        ("{\"id\":1}", INVALID_REQUEST),
        ("{\"a\":\"x\ny\"}", PARSE_ERROR),
    ] {
        rig.endpoint(frame);
        assert_eq!(parsed(&rig.sent_to_endpoint()[0])["error"]["code"], code, "{frame}");
    }
    assert!(rig.sent_to_server().is_empty());
    rig.server("Traceback (most recent call last):");
    rig.server("42");
    assert!(rig.sent_to_endpoint().is_empty());
}

/// How often the router answers an endpoint that says `said` first and again to each answer, in no more than 5000 turns.
fn ping_pong(rig: &mut Rig, said: &str) -> usize {
    let mut answers = 0;
    rig.endpoint(said);
    for _ in 0..5000 {
        let sent = rig.sent_to_endpoint();
        answers += sent.len();
        sent.iter().for_each(|_| rig.endpoint(said));
    }
    answers
}

#[test]
fn an_endpoint_that_speaks_no_json_rpc_is_answered_a_few_times_and_then_turned_away() {
    for said in [
        r#"{"type":"error"}"#,
        r#"{"type":"error","id":5}"#,
        r#"[{"type":"error"}]"#,
        r#"[{"type":"error"},{"type":"error"}]"#,
        "error: bad frame",
        "<html></html>",
        "",
        "17",
        "[]",
        r#"{"error":"x""#,
        // It quotes what it was sent.
        r#"unknown command: {"jsonrpc":"2.0","id":null,"error":{}}"#,
        r#"{"type":"error","of":{"jsonrpc":"2.0","id":null,"error":{}}}"#,
    ] {
        let mut rig = Rig::new();
        rig.link_up();
        let answers = ping_pong(&mut rig, said);
        assert!((1..5).contains(&answers), "{said}: {answers} answers");
        let strangers = rig.sink.notes.iter().filter(|note| note.contains("speaks no JSON-RPC")).count();
        assert_eq!(strangers, 1, "{said}: {:?}", rig.sink.notes);
        // The next connection may be another program's.
        rig.link_down();
        rig.link_up();
        rig.endpoint(said);
        assert!(!rig.sent_to_endpoint().is_empty(), "{said}");
        // Each may say no more than that, and then this line is all that a person gets.
        let advice = rig
            .sink
            .notes
            .iter()
            .filter(|note| note.contains("If that is all that comes, no MCP client is at"))
            .count();
        assert_eq!(advice, 2, "{said}: {:?}", rig.sink.notes);
    }
}

#[test]
fn a_client_that_answers_errors_by_nonsense_is_not_answered_for_ever_and_still_served() {
    let not_answers = [r#"{"type":"error"}"#, "bad", r#"{"jsonrpc":"2.0","id":[],"error":{}}"#, r#"{"jsonrpc":"2.0"}"#];
    for said in not_answers {
        let mut rig = Rig::running();
        for _ in 0..2 {
            let answers = ping_pong(&mut rig, said);
            assert_eq!(answers, 1024, "{said}");
            rig.endpoint(r#"{"jsonrpc":"2.0","id":9,"method":"ping"}"#);
            assert_eq!(rig.sent_to_endpoint(), [r#"{"jsonrpc":"2.0","id":9,"result":{}}"#]);
        }
        assert!(!rig.sink.notes.iter().any(|note| note.contains("speaks no JSON-RPC")), "{said}");
        assert!(!rig.sink.notes.iter().any(|note| note.contains("If that is all")), "{said}");
        assert!(rig.sink.notes.iter().any(|note| note.contains("not answered")), "{said}");
    }
    // An endpoint whose first messages are a client's slips is a client all the same.
    let mut rig = Rig::new();
    rig.link_up();
    (0..100).for_each(|_| rig.endpoint(r#"{"jsonrpc":"2.0","id":1,"method":7}"#));
    assert_eq!(rig.sent_to_endpoint().len(), 100);
}

#[test]
fn what_never_sends_a_message_without_a_fault_is_turned_away_at_last() {
    for said in [r#"{"jsonrpc":"2.0","Method":"x","id":1}"#, r#"{"jsonrpc":"2.0","id":1,"method":7}"#] {
        let mut rig = Rig::new();
        rig.link_up();
        let answers = ping_pong(&mut rig, said);
        assert_eq!(answers, 1023, "{said}");
        let strangers = rig.sink.notes.iter().filter(|note| note.contains("speaks no JSON-RPC")).count();
        assert_eq!(strangers, 1, "{said}");
    }
}

#[test]
fn an_error_that_names_no_request_answers_the_only_one_under_way_at_once() {
    for error in [
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"no key"}}"#,
        r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"no key"}}"#,
        r#"{"error":"no key"}"#,
    ] {
        let mut rig = Rig::new();
        rig.server_up();
        rig.link_up();
        rig.endpoint(&hello(7));
        rig.server(error);
        let answer = parsed(&rig.sent_to_endpoint()[0]);
        assert_eq!(answer["id"], 7, "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains("no key"), "{answer}");

        let mut rig = Rig::running();
        let call = |id: u64| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"x"}}}}"#);
        // Some servers answer `notifications/initialized`, too.
        rig.endpoint(&call(1));
        rig.server(error);
        assert_eq!(rig.sent_to_endpoint(), [""; 0]);
        rig.answer(json!({}));
        assert_eq!(rig.sent_to_endpoint().len(), 1);
        rig.endpoint(&call(2));
        rig.server(error);
        let answer = parsed(&rig.sent_to_endpoint()[0]);
        assert_eq!((&answer["id"], &answer["error"]["message"]), (&json!(2), &json!("no key")));
        // Of two, nobody knows which one is meant.
        rig.endpoint(&call(3));
        rig.endpoint(&call(4));
        rig.server(error);
        assert_eq!(rig.sent_to_endpoint(), [""; 0]);
        let told = rig.sink.notes.last().unwrap();
        assert!(told.contains("names no request: no key; 2 are under way"), "{told}");
        // One that was given up may be meant.
        rig.endpoint(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":3}}"#);
        rig.server(error);
        assert_eq!(rig.sent_to_endpoint(), [""; 0]);
    }
    let mut rig = Rig::running();
    rig.server(r#"{"level":"warn","error":"no key"}"#);
    assert!(rig.sink.notes.last().unwrap().contains("not JSON-RPC"), "{:?}", rig.sink.notes);
}

#[test]
fn an_answer_that_no_strict_client_reads_is_mended_and_told_once() {
    let mut rig = Rig::running();
    let call = r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"x"}}"#;
    for said in [r#""result":"done""#, r#""error":"bad""#, r#""error":"bad""#] {
        rig.endpoint(call);
        let id = rig.last()["id"].clone();
        rig.server(&format!(r#"{{"jsonrpc":"2.0","id":{id},{said}}}"#));
        let answer = parsed(&rig.sent_to_endpoint()[0]);
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!("a"), &json!(-32603)), "{answer}");
    }
    let told: Vec<_> = rig.sink.notes.iter().filter(|note| note.starts_with("its answer to tools/call")).collect();
    assert_eq!(told.len(), 2, "{told:?}");
}

#[test]
fn an_error_that_answers_an_error_is_not_answered() {
    for said in [
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"?"}}"#,
        r#"{"jsonrpc":"2.0","error":{"code":-32600,"message":"?"}}"#,
        r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32600,"message":"?"}}"#,
        r#"{"error":"Invalid message"}"#,
        r#"{"id":null,"result":{}}"#,
    ] {
        let mut rig = Rig::running();
        assert_eq!(ping_pong(&mut rig, said), 0, "{said}");
    }
    // An endpoint that says nothing else is no client.
    for (said, is_stranger) in [(r#"{"error":"no"}"#, true), (r#"{"jsonrpc":"2.0","error":{"code":1}}"#, false)] {
        let mut rig = Rig::new();
        rig.link_up();
        (0..5).for_each(|_| rig.endpoint(said));
        assert!(rig.sent_to_endpoint().is_empty());
        assert_eq!(rig.sink.notes.iter().any(|note| note.contains("speaks no JSON-RPC")), is_stranger, "{said}");
    }
}

#[test]
fn a_binary_message_that_is_no_text_is_an_error_for_its_sender() {
    let mut rig = Rig::running();
    let not_text = |rig: &mut Rig, frame: &[u8]| rig.router.on_peer_not_text(rig.peer, frame, rig.now, &mut rig.sink);
    not_text(&mut rig, b"\x80\x81");
    not_text(&mut rig, b"{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"tools/call\",\"params\":{\"name\":\"\xff\"}}");
    let sent: Vec<Value> = rig.sent_to_endpoint().iter().map(|frame| parsed(frame)).collect();
    assert_eq!([&sent[0]["id"], &sent[1]["id"]], [&Value::Null, &json!(5)]);
    assert!(sent.iter().all(|answer| answer["error"]["code"] == PARSE_ERROR), "{sent:?}");
    assert!(rig.sent_to_server().is_empty());
    // The endpoint's answer to a request of the server can't be read either, and is not answered.
    rig.server(r#"{"jsonrpc":"2.0","id":"s","method":"roots/list"}"#);
    let id = parsed(&rig.sent_to_endpoint()[0])["id"].to_string();
    for _ in 0..2 {
        let answer = [b"{\"jsonrpc\":\"2.0\",\"id\":", id.as_bytes(), b",\"result\":\"\xff\"}"].concat();
        not_text(&mut rig, &answer);
        assert!(rig.sent_to_endpoint().is_empty());
    }
    let sent = rig.sent_to_server();
    assert_eq!((sent.len(), &parsed(&sent[0])["id"]), (1, &json!("s")));
    assert!(sent[0].contains("UTF-8"), "{sent:?}");
}

#[test]
fn pretty_printed_requests_and_batches_reach_the_server_line_by_line() {
    let mut rig = Rig::running();
    rig.endpoint("{\n  \"id\": 1,\r\n  \"method\": \"tools/list\"\n}");
    rig.endpoint(r#"[{"id":2,"method":"a"},{"method":"b"},{"id":3}]"#);
    let sent = rig.sent_to_server();
    assert_eq!(methods(&sent), ["tools/list", "a", "b"]);
    assert!(sent.iter().all(|f| !f.contains(['\n', '\r'])));
    assert_eq!(parsed(&rig.sent_to_endpoint()[0])["error"]["code"], INVALID_REQUEST);
}

#[test]
fn a_message_above_the_limit_becomes_an_error_that_names_size_and_limit() {
    let mut rig = Rig::running();
    rig.endpoint(r#"{"id":"big","method":"tools/call"}"#);
    let id = parsed(&rig.sent_to_server()[0])["id"].to_string();
    let tail = format!(r#"xx"}},"jsonrpc":"2.0","id":{id}}}"#);
    rig.router.on_server_too_large(
        0,
        Cut { size: 5000, head: b"{\"result\":{\"x\":\"", tail: tail.as_bytes() },
        rig.now,
        &mut rig.sink,
    );
    let error = parsed(&rig.sent_to_endpoint()[0]);
    assert_eq!(error["id"], "big");
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.contains("5000") && message.contains("1000"), "{message}");
    rig.router.on_peer_too_large(
        rig.peer,
        Cut { size: 6000, head: br#"{"id":3,"method":"tools/call","params":{"x"#, tail: b"}}" },
        rig.now,
        &mut rig.sink,
    );
    assert_eq!(parsed(&rig.sent_to_endpoint()[0])["id"], 3);
}

/// A text that a server may have written, with the id of the last request that it got in place of `ID`.
fn with_id(rig: &mut Rig, text: &str) -> String {
    text.replace("ID", &parsed(&rig.sent_to_server().pop().unwrap())["id"].to_string())
}

#[test]
fn an_answer_that_is_no_message_is_an_error_for_its_request() {
    for answer in [
        r#"{"jsonrpc":"2.0","id":ID}"#,
        r#"{"jsonrpc":"2.0","id":ID,"result":{"x":NaN}}"#,
        r#"{"result":{"x":NaN},"jsonrpc":"2.0","id":ID}"#,
        r#"{'jsonrpc': '2.0', 'id': ID, 'result': {}}"#,
    ] {
        let mut rig = Rig::running();
        rig.endpoint(r#"{"id":"x","method":"tools/call"}"#);
        let answer = with_id(&mut rig, answer);
        rig.server(&answer);
        let error = parsed(&rig.sent_to_endpoint()[0]);
        assert_eq!((&error["id"], rig.router.in_flight()), (&json!("x"), 0), "{answer}");
        let message = error["error"]["message"].as_str().unwrap();
        assert!(message.starts_with("server \"calc\" answered with something that is not JSON-RPC ("), "{message}");
    }
    let mut rig = Rig::new();
    rig.server_up();
    rig.link_up();
    rig.endpoint(&hello(7));
    let answer = with_id(&mut rig, r#"{"jsonrpc":"2.0","id":ID,"result":{"x":NaN}}"#);
    rig.server(&answer);
    assert!(rig.sent_to_endpoint()[0].contains("not JSON-RPC"), "initialize");
    rig.server(r#"{"jsonrpc":"2.0","id":"s","method":"roots/list","params":NaN}"#);
    assert_eq!(parsed(&rig.sent_to_server()[0])["id"], "s", "and a request of its own");
}

#[test]
fn a_line_of_a_log_is_not_taken_for_the_answer_to_the_request_that_it_names() {
    for line in [
        r#"sending: {"msg":{"jsonrpc":"2.0","result":{},"id":ID}}"#,
        r#"received: {"jsonrpc":"2.0","id":ID,"method":"tools/call"}"#,
        r#"received: {'jsonrpc': '2.0', 'id': ID, 'method': 'tools/call'}"#,
        r#"{"level":30,"msg":"called","id":ID}"#,
        r#"{"level":30,"message":{"jsonrpc":"2.0","id":ID}}"#,
        r#"{"jsonrpc":"2.0","x":NaN,"message":{"id":ID}}"#,
        r#"{"jsonrpc":"2.0","result":{"item":{"id":ID}"#,
    ] {
        let mut rig = Rig::running();
        rig.endpoint(r#"{"id":"x","method":"tools/call"}"#);
        let lines = with_id(&mut rig, &format!("{line}\n{}", r#"{"jsonrpc":"2.0","id":ID,"result":{}}"#));
        lines.lines().for_each(|line| rig.server(line));
        assert_eq!(rig.sent_to_endpoint(), [r#"{"jsonrpc":"2.0","id":"x","result":{}}"#], "{line}");
        assert!(rig.sink.notes[0].contains("not JSON-RPC"), "{:?}", rig.sink.notes);
    }
}

#[test]
fn answers_amid_other_text_and_several_on_a_line_reach_their_requests() {
    let mut rig = Rig::running();
    let first = parsed(&with_id_of(&mut rig, "a", "ID")).as_u64().unwrap();
    let second = parsed(&with_id_of(&mut rig, "b", "ID")).as_u64().unwrap();
    let answer = |id: u64| format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#);
    rig.server(&format!("10%\r{}{} done", answer(second), answer(first)));
    let want = ["b", "a"].map(|id| format!(r#"{{"jsonrpc":"2.0","id":"{id}","result":{{}}}}"#));
    assert_eq!(rig.sent_to_endpoint(), want);
    assert_eq!(rig.sink.notes.iter().filter(|note| note.contains("not JSON-RPC")).count(), 2, "{:?}", rig.sink.notes);
    // A log of an answer is not a second answer.
    rig.server(&format!("sent {}", answer(first)));
    assert!(rig.sent_to_endpoint().is_empty());
}

/// Calls the server, and puts the id of the call there into a text.
fn with_id_of(rig: &mut Rig, id: &str, text: &str) -> String {
    rig.endpoint(&json!({"id": id, "method": "tools/call"}).to_string());
    with_id(rig, text)
}

#[test]
fn a_method_is_known_also_where_its_slashes_are_escaped() {
    let mut rig = Rig::running();
    rig.endpoint(r#"{"id":1,"method":"tools\/call","params":{"_meta":{"progressToken":"p"}}}"#);
    let progress = r#"{"method":"notifications\/progress","params":{"progressToken":ID,"message":"a\/b"}}"#;
    let progress = with_id(&mut rig, progress);
    rig.server(&progress);
    assert_eq!(
        rig.sent_to_endpoint(),
        [r#"{"method":"notifications/progress","params":{"progressToken":"p","message":"a\/b"}}"#]
    );
    rig.server(r#"{"id":"e","method":"elicitation\/create"}"#);
    assert_eq!(
        parsed(&rig.sent_to_server()[0])["error"]["code"],
        METHOD_NOT_FOUND,
        "the endpoint declared no such thing"
    );
    rig.endpoint(r#"{"method":"notifications\/cancelled","params":{"requestId":1}}"#);
    assert_eq!(rig.router.in_flight(), 0);
    // A method that is no plain text even then is none: some readers drop what makes it none.
    for odd in [
        r#"{"id":5,"method":"a\"\/b"}"#,
        r#"{"id":5,"method":"tools/call\ud800"}"#,
        r#"{"id":5,"method":"tools/call\u0000"}"#,
    ] {
        rig.sink = Sink::default();
        rig.endpoint(odd);
        let error = parsed(&rig.sent_to_endpoint()[0]);
        assert_eq!((&error["id"], &error["error"]["code"]), (&json!(5), &json!(INVALID_REQUEST)), "{odd}");
        assert!(rig.sent_to_server().is_empty(), "{odd}");
        rig.server(odd);
        assert!(rig.sent_to_endpoint().is_empty(), "{odd}");
    }
}

#[test]
fn a_message_that_readers_differ_on_is_refused_on_its_id_and_named() {
    let mut rig = Rig::running();
    for (frame, id, named) in [
        (r#"{"id":"x","method":"tools/call","Method":"ping"}"#, json!("x"), "others may take for method"),
        (r#"{"params":{"name":"a","name":"b"},"method":"tools/call","id":4}"#, json!(4), "its name is given twice"),
        (r#"{"ID":4,"method":"tools/call"}"#, json!(4), "others may take for id"),
        (r#"{"id":4,"ID":5,"method":"tools/call"}"#, json!(null), "others may take for id"),
        (r#"{"id":4,"id":5,"method":"tools/call"}"#, json!(null), "its id is given twice"),
        (r#"{"method":"notifications/x","params":{"_meta":{},"_META":{}}}"#, json!(null), "others may take for _meta"),
    ] {
        rig.endpoint(frame);
        let error = parsed(&rig.sent_to_endpoint().pop().unwrap());
        assert_eq!((&error["id"], &error["error"]["code"]), (&id, &json!(INVALID_REQUEST)), "{frame}");
        assert!(error["error"]["message"].as_str().unwrap().contains(named), "{error}");
        assert!(rig.sent_to_server().is_empty(), "{frame}");
    }
    // In a batch the message costs only itself.
    rig.endpoint(r#"[{"id":1,"Method":"tools/call"},{"id":2,"method":"tools/call"}]"#);
    assert_eq!((rig.sent_to_endpoint().len(), rig.sent_to_server().len()), (1, 1));
}

#[test]
fn an_answer_of_the_endpoint_that_readers_differ_on_is_an_error_for_the_server_and_never_answered() {
    let mut rig = Rig::running();
    for answer in [r#"{"id":ID,"result":{},"Result":{}}"#, r#"{"Id":ID,"error":{}}"#, r#"{"id":ID,"id":7,"result":{}}"#]
    {
        rig.server(r#"{"id":"s","method":"roots/list"}"#);
        let asked = parsed(&rig.sent_to_endpoint().pop().unwrap())["id"].to_string();
        rig.endpoint(&answer.replace("ID", &asked));
        let error = parsed(&rig.sent_to_server().pop().unwrap());
        assert_eq!((&error["id"], error["error"].is_object()), (&json!("s"), true), "{answer}");
        assert!(rig.sent_to_endpoint().is_empty(), "{answer}");
    }
    rig.endpoint(r#"{"id":7,"error":{},"error":{}}"#);
    assert!(rig.sent_to_endpoint().is_empty() && rig.sent_to_server().is_empty(), "an answer to nothing");
}

#[test]
fn an_answer_that_readers_differ_on_is_an_error_for_each_request_that_it_may_be_of() {
    for answer in [
        r#"{"jsonrpc":"2.0","id":ID,"result":{},"Result":{}}"#,
        r#"{"jsonrpc":"2.0","result":{},"error":{},"error":{},"id":ID}"#,
        r#"{"jsonrpc":"2.0","Id":9999,"id":ID,"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":ID,"id":ID,"result":{}}"#,
        r#"{"JSONRPC":"2.0","Id":ID,"Result":{}}"#,
    ] {
        let mut rig = Rig::running();
        rig.endpoint(r#"{"id":"x","method":"tools/call"}"#);
        let answer = with_id(&mut rig, answer);
        rig.server(&answer);
        let error = parsed(&rig.sent_to_endpoint().pop().unwrap());
        assert_eq!((&error["id"], error["error"].is_object()), (&json!("x"), true), "{answer}");
        assert_eq!(rig.router.in_flight(), 0, "{answer}");
    }
    let mut rig = Rig::running();
    rig.endpoint(r#"{"id":"x","method":"tools/call"}"#);
    rig.endpoint(r#"{"id":"y","method":"tools/call"}"#);
    let [x, y] = [0, 1].map(|n| parsed(&rig.sink.server[n])["id"].to_string());
    rig.server(&format!(r#"{{"id":{x},"id":{y},"msg":"a line of a log","error":"e"}}"#));
    assert_eq!(rig.router.in_flight(), 2);
    rig.server(&format!(r#"{{"jsonrpc":"2.0","id":{x},"id":{y},"result":{{}}}}"#));
    let mut failed: Vec<Value> = rig.sent_to_endpoint().iter().map(|f| parsed(f)["id"].clone()).collect();
    failed.sort_by_key(Value::to_string);
    assert_eq!((failed, rig.router.in_flight()), (vec![json!("x"), json!("y")], 0));
    rig.sink = Sink::default();
    rig.server(r#"{"jsonrpc":"2.0","id":"s","method":"roots/list","Method":"ping"}"#);
    assert_eq!(parsed(&rig.sent_to_server()[0])["error"]["code"], INVALID_REQUEST, "a request of its own");
    assert!(rig.sent_to_endpoint().is_empty());
}

#[test]
fn an_error_beside_a_result_of_null_is_an_error() {
    let mut rig = Rig::new();
    rig.server_up();
    rig.link_up();
    rig.endpoint(&hello(7));
    let answer = r#"{"id":ID,"result":null,"error":{"code":-32602,"message":"unsupported version"}}"#;
    let answer = with_id(&mut rig, answer);
    rig.server(&answer);
    assert_eq!(parsed(&rig.sent_to_endpoint()[0])["error"]["message"], "unsupported version");
    assert!(!rig.router.is_serving(0));
}

#[test]
fn a_progress_token_of_null_is_none() {
    let mut rig = Rig::running();
    rig.endpoint(r#"{"id":1,"method":"tools/call","params":{"_meta":{"progressToken":null}}}"#);
    // A TypeScript server does not answer a request with such a token, so it gets one.
    assert!(parsed(&rig.sink.server[0])["params"]["_meta"]["progressToken"].is_u64());
    let progress = with_id(&mut rig, r#"{"method":"notifications/progress","params":{"progressToken":ID}}"#);
    rig.server(&progress);
    assert!(rig.sent_to_endpoint().is_empty());
    rig.server(r#"{"id":"r","method":"roots/list","params":{"_meta":{"progressToken":null}}}"#);
    let token = parsed(&rig.sent_to_endpoint()[0])["id"].clone();
    rig.endpoint(&json!({"method": "notifications/progress", "params": {"progressToken": token}}).to_string());
    assert!(rig.sent_to_server().is_empty());
}

#[test]
fn a_notification_that_waited_is_never_answered() {
    let held = || {
        let mut rig = Rig::running();
        rig.server_down(1);
        rig.endpoint(r#"{"id":null,"method":"x/y"}"#);
        rig.endpoint(r#"{"id":2,"method":"tools/call"}"#);
        rig
    };
    let (mut late, mut gone, mut drained) = (held(), held(), held());
    late.pass(9);
    gone.server_down(300);
    drained.router.drain(drained.now, &mut drained.sink);
    for mut rig in [late, gone, drained] {
        let answers = rig.sent_to_endpoint();
        assert_eq!((answers.len(), &parsed(&answers[0])["id"]), (1, &json!(2)), "{answers:?}");
    }
}

#[test]
fn a_late_answer_of_the_endpoint_above_the_limit_is_dropped() {
    let mut rig = Rig::running();
    let cut = Cut { size: 6000, head: br#"{"id":"mcp-pipe-7","result":{"x":"#, tail: b"}}" };
    rig.router.on_peer_too_large(rig.peer, cut, rig.now, &mut rig.sink);
    assert!(rig.sent_to_endpoint().is_empty() && rig.sent_to_server().is_empty());
    assert!(rig.sink.notes[0].contains("6000 bytes"), "{:?}", rig.sink.notes);
}

#[test]
fn an_answer_that_is_above_the_limit_only_with_the_id_of_the_endpoint_becomes_an_error() {
    for (room, passes) in [(40, true), (39, false)] {
        let mut rig = Rig::running();
        let id = "i".repeat(38);
        rig.endpoint(&json!({"id": id, "method": "tools/call"}).to_string());
        let answer = with_id(&mut rig, r#"{"id":ID,"jsonrpc":"2.0","result":{"x":"TEXT"}}"#);
        let ours = answer.split([':', ',']).nth(1).unwrap().len();
        let text = "x".repeat(1000 - room - (answer.len() - ours - "TEXT".len()));
        rig.server(&answer.replace("TEXT", &text));
        let answer = rig.sent_to_endpoint().pop().unwrap();
        assert_eq!((answer.len() == 1000, parsed(&answer)["error"].is_null()), (passes, passes), "{answer}");
        assert_eq!((&parsed(&answer)["id"], rig.router.served(rig.peer)), (&json!(id), u64::from(passes)));
    }
}

#[test]
fn a_server_can_take_a_request_back_before_the_handshake_is_complete() {
    let mut rig = Rig::ready();
    rig.link_up();
    rig.endpoint(&hello(0));
    rig.server(r#"{"id":4,"method":"roots/list"}"#);
    rig.server(r#"{"method":"notifications/cancelled","params":{"requestId":4}}"#);
    rig.sent_to_endpoint();
    rig.endpoint(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    assert!(rig.sent_to_endpoint().is_empty());
}

#[test]
fn pings_are_answered_while_the_server_is_busy_or_dead() {
    let mut rig = Rig::running();
    rig.server_down(100);
    rig.endpoint(r#"{"jsonrpc":"2.0","id":0,"method":"ping"}"#);
    assert_eq!(rig.sent_to_endpoint(), [r#"{"jsonrpc":"2.0","id":0,"result":{}}"#]);
}

#[test]
fn a_server_that_does_not_read_costs_the_endpoint_its_calls_and_not_its_pings() {
    let mut rig = Rig::running();
    rig.router.on_server_busy(0, true, rig.now, &mut rig.sink);
    rig.endpoint(r#"{"id":1,"method":"tools/call"}"#);
    rig.endpoint(r#"{"id":2,"method":"ping"}"#);
    let answers = rig.sent_to_endpoint();
    assert_eq!(parsed(&answers[0])["error"]["message"], "server \"calc\" is busy and takes no more requests now");
    assert_eq!(parsed(&answers[1])["result"], json!({}));
    assert!(rig.sent_to_server().is_empty());
    rig.router.on_server_busy(0, false, rig.now, &mut rig.sink);
    rig.endpoint(r#"{"id":3,"method":"tools/call"}"#);
    assert_eq!(rig.sent_to_server().len(), 1);
}

#[test]
fn what_a_server_asks_before_the_endpoint_is_there_waits_for_it_and_is_asked_if_it_can_answer() {
    for (hello, asked) in [(hello(0), true), (other(0), false)] {
        let mut rig = Rig::ready();
        rig.server(r#"{"id":4,"method":"roots/list"}"#);
        rig.server(r#"{"id":5,"method":"elicitation/create"}"#);
        assert_eq!(parsed(&rig.sent_to_server()[0])["error"]["code"], METHOD_NOT_FOUND, "it was told of no such thing");
        rig.pass(3600);
        assert!(rig.sent_to_server().is_empty(), "the endpoint may come late");
        rig.link_up();
        rig.endpoint(&hello);
        rig.sent_to_endpoint();
        rig.endpoint(r#"{"method":"notifications/initialized"}"#);
        let to_server: Vec<Value> = rig.sent_to_server().iter().map(|frame| parsed(frame)).collect();
        let error = to_server.iter().find(|frame| frame["id"] == 4);
        if asked {
            assert_eq!(methods(&rig.sent_to_endpoint()), ["roots/list"]);
            assert!(error.is_none());
            rig.pass(60);
            assert_eq!(parsed(&rig.sent_to_server()[0])["error"]["message"], "the endpoint did not answer in time");
        } else {
            assert!(rig.sent_to_endpoint().is_empty());
            assert_eq!(error.unwrap()["error"]["code"], METHOD_NOT_FOUND);
        }
    }
}

#[test]
fn a_peer_that_judges_for_itself_is_asked_whatever_it_has_declared_and_for_as_long_as_it_likes() {
    for (judges, asked) in [(true, vec!["elicitation/create", "roots/list"]), (false, vec!["roots/list"])] {
        let kind = if judges { PeerKind::Modern } else { PeerKind::Client };
        let mut rig = Rig::of(&ServerSpec::sample("calc", "", &[]), NewPeer { kind, ..NewPeer::unknown(1000) });
        rig.server_up();
        rig.answer(welcome());
        rig.link_up();
        rig.endpoint(&hello(0));
        rig.endpoint(r#"{"method":"notifications/initialized"}"#);
        rig.sent_to_endpoint();
        rig.server(r#"{"id":4,"method":"elicitation/create"}"#);
        rig.server(r#"{"id":5,"method":"roots/list"}"#);
        assert_eq!(methods(&rig.sent_to_endpoint()), asked);
        rig.sent_to_server();
        rig.pass(250);
        assert_eq!(rig.sent_to_server().is_empty(), judges);
    }
}

#[test]
fn with_relay_each_handshake_reaches_the_server() {
    let mut rig = Rig::with(Handshake::Relay);
    rig.server_up();
    rig.answer(welcome());
    rig.link_up();
    rig.endpoint(&hello(0));
    rig.answer(welcome());
    rig.endpoint(r#"{"method":"notifications/initialized"}"#);
    rig.endpoint(r#"{"id":1,"method":"ping"}"#);
    rig.answer(json!({}));
    rig.link_down();
    rig.link_up();
    rig.endpoint(&other(0));
    assert_eq!(
        methods(&rig.sent_to_server()),
        ["initialize", "notifications/initialized", "initialize", "notifications/initialized", "ping", "initialize"]
    );
    assert_eq!(rig.sent_to_endpoint().len(), 2);
    rig.server_down(0);
    rig.server_up();
    assert_eq!(methods(&rig.sent_to_server()), ["initialize"], "a restart is still hidden from the endpoint");
}

#[test]
fn a_draining_router_refuses_new_requests_and_finishes_the_old() {
    let mut rig = Rig::running();
    rig.endpoint(r#"{"id":1,"method":"tools/call"}"#);
    rig.router.drain(rig.now, &mut rig.sink);
    rig.answer(json!({"n": 1}));
    rig.endpoint(r#"{"id":2,"method":"tools/call"}"#);
    let answers = rig.sent_to_endpoint();
    assert_eq!((parsed(&answers[0])["result"].clone(), answers.len()), (json!({"n": 1}), 1));
    rig.router.part(rig.peer, &mut rig.sink);
    assert_eq!(
        parsed(&rig.sent_to_endpoint()[0])["error"]["message"],
        "mcp-pipe is shutting down or restarting its servers"
    );
}

/// The endpoint sends a request, and the server answers with `result`.
fn ask(rig: &mut Rig, method: &str, params: Value, result: Value) {
    rig.endpoint(&json!({"id": "ask", "method": method, "params": params}).to_string());
    rig.answer(result);
    rig.sink.endpoint.clear();
    rig.sink.server.clear();
}

fn tools(names: &[&str], next: Option<&str>) -> Value {
    let tools: Vec<Value> = names.iter().map(|name| json!({"name": name, "inputSchema": {"type": "object"}})).collect();
    let mut list = json!({"tools": tools});
    if let Some(next) = next {
        list["nextCursor"] = next.into();
    }
    list
}

/// The server dies, and another life of it is initialized.
fn restart(rig: &mut Rig) {
    rig.server_down(0);
    rig.server_up();
    rig.answer(welcome());
    rig.sink.endpoint.clear();
}

#[test]
fn a_restarted_server_is_told_what_the_endpoint_follows_and_its_level_before_the_calls_that_waited() {
    let mut rig = Rig::running();
    for uri in ["mem:a", "mem:b"] {
        ask(&mut rig, "resources/subscribe", json!({"uri": uri, "x": 1}), json!({}));
    }
    ask(&mut rig, "resources/unsubscribe", json!({"uri": "mem:b"}), json!({}));
    ask(&mut rig, "logging/setLevel", json!({"level": "error", "x": 1}), json!({}));
    rig.server_down(0);
    rig.endpoint(r#"{"id":1,"method":"tools/call"}"#);
    rig.server_up();
    rig.answer(welcome());
    let sent: Vec<Value> = rig.sent_to_server().iter().map(|frame| parsed(frame)).collect();
    let said: Vec<_> = sent.iter().map(|frame| (frame["method"].as_str().unwrap(), &frame["params"])).collect();
    assert_eq!(
        said[1..],
        [
            ("notifications/initialized", &Value::Null),
            ("resources/subscribe", &json!({"uri": "mem:a"})),
            ("logging/setLevel", &json!({"level": "error", "x": 1})),
            ("tools/call", &Value::Null)
        ]
    );
    // The server's answers to that are for nobody.
    rig.server(&json!({"jsonrpc": "2.0", "id": sent[2]["id"], "result": {}}).to_string());
    assert!(rig.sent_to_endpoint().is_empty());
    rig.server(r#"{"method":"notifications/resources/updated","params":{"uri":"mem:a"}}"#);
    assert_eq!(methods(&rig.sent_to_endpoint()), ["notifications/resources/updated"]);
}

#[test]
fn what_waits_to_be_subscribed_is_subscribed_once() {
    let mut rig = Rig::running();
    rig.server_down(0);
    rig.endpoint(r#"{"id":1,"method":"resources/subscribe","params":{"uri":"mem:a"}}"#);
    rig.server_up();
    rig.answer(welcome());
    assert_eq!(methods(&rig.sent_to_server())[1..], ["notifications/initialized", "resources/subscribe"]);
    // A subscription that was refused for want of a server was never made.
    let mut rig = Rig::running();
    rig.server_down(60);
    rig.endpoint(r#"{"id":1,"method":"resources/subscribe","params":{"uri":"mem:a"}}"#);
    assert!(rig.sent_to_endpoint()[0].contains("error"));
    rig.server_up();
    rig.answer(welcome());
    assert_eq!(methods(&rig.sent_to_server())[1..], ["notifications/initialized"]);
}

#[test]
fn what_one_connection_follows_is_undone_for_the_next() {
    let mut rig = Rig::running();
    ask(&mut rig, "resources/subscribe", json!({"uri": "mem:\"ä"}), json!({}));
    ask(&mut rig, "logging/setLevel", json!({"level": "error"}), json!({}));
    rig.link_down();
    let sent = parsed(&rig.sent_to_server()[0]);
    assert_eq!((&sent["method"], &sent["params"]), (&json!("resources/unsubscribe"), &json!({"uri": "mem:\"ä"})));
    rig.link_up();
    rig.endpoint(&hello(0));
    restart(&mut rig);
    assert_eq!(methods(&rig.sent_to_server()), ["initialize", "notifications/initialized"]);
}

#[test]
fn a_server_that_does_not_read_is_told_of_ended_subscriptions_once_it_reads_and_its_next_life_is_not() {
    let follow = |rig: &mut Rig| ask(rig, "resources/subscribe", json!({"uri": "mem:a"}), json!({}));
    let busy = |rig: &mut Rig, busy| rig.router.on_server_busy(0, busy, rig.now, &mut rig.sink);
    let mut rig = Rig::running();
    follow(&mut rig);
    busy(&mut rig, true);
    rig.link_down();
    assert!(rig.sent_to_server().is_empty());
    busy(&mut rig, false);
    assert_eq!(methods(&rig.sent_to_server()), ["resources/unsubscribe"]);
    let mut rig = Rig::running();
    follow(&mut rig);
    busy(&mut rig, true);
    rig.link_down();
    restart(&mut rig);
    busy(&mut rig, false);
    assert_eq!(methods(&rig.sent_to_server()), ["initialize", "notifications/initialized"]);
}

#[test]
fn a_list_that_came_back_different_is_told_and_read_anew_or_brings_a_new_connection() {
    let mut rig = Rig::running();
    ask(&mut rig, "tools/list", json!({}), tools(&["a", "b"], None));
    restart(&mut rig);
    assert_eq!(methods(&rig.sink.server), ["initialize", "notifications/initialized", "tools/list"]);
    rig.answer(tools(&["b", "a"], None));
    rig.pass(600);
    assert!(rig.sent_to_endpoint().is_empty(), "the same in another order");
    assert_eq!((rig.router.wants_reconnect(rig.peer, rig.now), rig.router.next_tick()), (None, None));

    restart(&mut rig);
    rig.answer(tools(&["a", "c"], None));
    assert_eq!(methods(&rig.sent_to_endpoint()), ["notifications/tools/list_changed"]);
    rig.pass(4);
    rig.sent_to_server();
    rig.endpoint(r#"{"id":1,"method":"tools/list"}"#);
    rig.answer(tools(&["a", "c"], None));
    rig.pass(600);
    assert_eq!(rig.router.wants_reconnect(rig.peer, rig.now), None, "it listens");

    restart(&mut rig);
    rig.answer(tools(&["a"], None));
    rig.sent_to_server();
    rig.pass(4);
    assert_eq!(rig.router.wants_reconnect(rig.peer, rig.now), None, "it may still read it");
    rig.endpoint(r#"{"id":2,"method":"tools/call"}"#);
    rig.pass(2);
    assert_eq!(rig.router.wants_reconnect(rig.peer, rig.now), None, "a call is under way");
    rig.answer(json!({}));
    assert_eq!(rig.router.wants_reconnect(rig.peer, rig.now), Some(Reconnect::Resync));
    rig.link_down();
    rig.link_up();
    rig.pass(600);
    assert_eq!(rig.router.wants_reconnect(rig.peer, rig.now), None, "once");
}

#[test]
fn without_resync_a_changed_list_is_told_and_no_more() {
    let spec = ServerSpec {
        max_frame: 1000,
        sharing: crate::config::Sharing { resync: false, ..Default::default() },
        ..ServerSpec::sample("calc", "", &[])
    };
    let mut rig = Rig::of(&spec, NewPeer { resync: spec.sharing.resync, ..NewPeer::unknown(1000) });
    rig.server_up();
    rig.answer(welcome());
    rig.link_up();
    rig.endpoint(&hello(0));
    ask(&mut rig, "tools/list", json!({}), tools(&["a"], None));
    restart(&mut rig);
    rig.answer(tools(&["b"], None));
    assert_eq!(methods(&rig.sent_to_endpoint()), ["notifications/tools/list_changed"]);
    rig.pass(600);
    assert_eq!(rig.router.wants_reconnect(rig.peer, rig.now), None);
}

#[test]
fn lists_are_compared_page_by_page_as_far_as_the_endpoint_has_read_them_and_only_those() {
    // The endpoint has read the first page, or both.
    for both in [false, true] {
        for (first, second, tells) in
            [(["a", "b"], ["c", "d"], false), (["a", "b"], ["c", "x"], both), (["a", "x"], ["c", "d"], true)]
        {
            let mut rig = Rig::running();
            ask(&mut rig, "tools/list", json!({}), tools(&["a", "b"], Some("2")));
            if both {
                ask(&mut rig, "tools/list", json!({"cursor": "2"}), tools(&["c", "d"], None));
            }
            restart(&mut rig);
            // The server's cursors are others in each life.
            rig.answer(tools(&first, Some("another")));
            assert_eq!(rig.last()["params"], json!({"cursor": "another"}));
            rig.answer(tools(&second, None));
            let told = !rig.sent_to_endpoint().is_empty();
            assert_eq!(told, tells, "both pages: {both}, then {first:?} {second:?}");
        }
    }
    let mut rig = Rig::running();
    restart(&mut rig);
    assert_eq!(methods(&rig.sent_to_server()), ["initialize", "notifications/initialized"], "it has read nothing");
    ask(&mut rig, "prompts/list", json!(null), json!({"prompts": [{"name": "p"}]}));
    restart(&mut rig);
    assert_eq!(methods(&rig.sent_to_server())[2..], ["prompts/list"]);
    rig.server_down(0);
    rig.link_down();
    rig.link_up();
    rig.server_up();
    rig.answer(welcome());
    assert_eq!(methods(&rig.sent_to_server()), ["initialize", "notifications/initialized"], "on another connection");
}

#[test]
fn a_list_that_the_server_calls_changed_is_looked_at_if_the_endpoint_does_not_read_it() {
    const CHANGED: &str = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
    let mut rig = Rig::running();
    rig.server(CHANGED);
    rig.pass(600);
    assert!(rig.sent_to_server().is_empty(), "the endpoint has not read it");
    ask(&mut rig, "tools/list", json!({}), tools(&["a"], None));
    // An endpoint that listens.
    rig.server(CHANGED);
    assert_eq!(rig.sent_to_endpoint(), [CHANGED], "as it came");
    ask(&mut rig, "tools/list", json!({}), tools(&["a", "b"], None));
    rig.pass(600);
    assert!(rig.sent_to_server().is_empty() && rig.router.wants_reconnect(rig.peer, rig.now).is_none());
    // An endpoint that doesn't.
    for (list, changed) in [(&["a", "b"][..], false), (&["a", "b", "c"], true)] {
        rig.server(CHANGED);
        rig.pass(5);
        assert_eq!(methods(&rig.sink.server), ["tools/list"]);
        rig.answer(tools(list, None));
        rig.sink.server.clear();
        rig.pass(6);
        assert_eq!(rig.router.wants_reconnect(rig.peer, rig.now).is_some(), changed);
    }
}

#[test]
fn a_list_that_fails_or_hangs_after_a_restart_is_no_change_and_is_asked_for_again() {
    let mut rig = Rig::running();
    ask(&mut rig, "tools/list", json!({}), tools(&["a"], None));
    restart(&mut rig);
    rig.refuse("database is locked");
    rig.pass(4);
    rig.sent_to_server();
    rig.pass(1);
    assert_eq!(methods(&rig.sink.server), ["tools/list"], "again after a while");
    rig.pass(30);
    assert_eq!(methods(&rig.sink.server)[1..2], ["notifications/cancelled"], "it hangs");
    assert!(rig.sent_to_endpoint().is_empty() && rig.router.wants_reconnect(rig.peer, rig.now).is_none());
    rig.pass(600);
    rig.answer(tools(&["b"], None));
    assert_eq!(methods(&rig.sent_to_endpoint()), ["notifications/tools/list_changed"]);
}

#[test]
fn other_capabilities_after_a_restart_bring_a_new_connection() {
    let mut rig = Rig::running();
    rig.server_down(0);
    rig.server_up();
    let mut more = welcome();
    more["capabilities"]["prompts"] = json!({});
    rig.answer(more);
    rig.pass(6);
    assert_eq!(rig.router.wants_reconnect(rig.peer, rig.now), Some(Reconnect::Resync));
}

#[test]
fn nothing_grows_without_bound() {
    let mut rig = Rig::running();
    for id in 0..MAX_IN_FLIGHT + 10 {
        rig.endpoint(&json!({"id": id, "method": "tools/call"}).to_string());
    }
    assert_eq!((rig.router.in_flight(), rig.sent_to_endpoint().len()), (MAX_IN_FLIGHT, 10));
    rig.pass(600);
    rig.endpoint(r#"{"id":"new","method":"tools/call"}"#);
    assert_eq!(parsed(&rig.sent_to_endpoint()[0])["id"], 0, "the oldest makes room");
    rig.server_down(1);
    rig.sent_to_endpoint();
    let pad = "x".repeat(300_000);
    for id in 0..10 {
        rig.endpoint(&json!({"id": id, "method": "tools/call", "params": {"pad": pad}}).to_string());
    }
    assert!(
        rig.router.servers[0].lane.held.bytes() <= crate::router::held::HOLD_BYTES && rig.sent_to_endpoint().len() == 7
    );
    for id in 0..MAX_ASKED + 5 {
        rig.server(&json!({"id": id, "method": "roots/list"}).to_string());
    }
    assert!(rig.router.peers.get(rig.peer).unwrap().desk.asked.len() <= MAX_ASKED);
    let mut rig = Rig::new();
    rig.link_up();
    for id in 0..MAX_WAITING as u64 + 10 {
        rig.endpoint(&hello(id));
    }
    assert_eq!((rig.waiting(), rig.sent_to_endpoint().len()), (MAX_WAITING, 10));
}

/// What can happen to a router, in any order.
#[derive(Debug, Clone)]
enum Happening {
    LinkUp,
    LinkDown,
    ServerUp,
    ServerDown,
    /// The endpoint initializes, with likely parameters or with others.
    Hello(bool),
    Call,
    Notify,
    /// The endpoint follows a resource, or does so no more.
    Follow(usize, bool),
    Level(u64),
    List,
    /// The server has another list from now on, and says so.
    Changed,
    /// The server answers its nth open request, perhaps twice, in some guise.
    Answer(prop::sample::Index, bool, u8),
    /// The server answers its nth open request with an error.
    Refuse(prop::sample::Index),
    Ask,
    Busy(bool),
    Pass(u64),
}

fn any_happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        2 => Just(Happening::LinkUp),
        2 => Just(Happening::LinkDown),
        2 => Just(Happening::ServerUp),
        2 => Just(Happening::ServerDown),
        3 => any::<bool>().prop_map(Happening::Hello),
        8 => Just(Happening::Call),
        1 => Just(Happening::Notify),
        4 => (0usize..3, any::<bool>()).prop_map(|(uri, follows)| Happening::Follow(uri, follows)),
        2 => (0u64..9).prop_map(Happening::Level),
        3 => Just(Happening::List),
        1 => Just(Happening::Changed),
        14 => (any::<prop::sample::Index>(), any::<bool>(), 0..15u8)
            .prop_map(|(i, twice, guise)| Happening::Answer(i, twice, guise)),
        2 => any::<prop::sample::Index>().prop_map(Happening::Refuse),
        2 => Just(Happening::Ask),
        1 => any::<bool>().prop_map(Happening::Busy),
        2 => (0u64..12).prop_map(Happening::Pass),
    ]
}

/// A server, an endpoint, and what both may expect.
struct World {
    rig: Rig,
    linked: bool,
    alive: bool,
    busy: bool,
    next: u64,
    asked: u64,
    /// Requests of this connection that have no answer, with their methods.
    open: Vec<(u64, &'static str)>,
    /// Requests that this life of the server has not answered.
    at_server: Vec<Value>,
    /// What this life of the server was told, and what the endpoint wants.
    told: Told,
    wanted: Told,
    /// Which list the server has, and which one the endpoint has read.
    list: u64,
    read: Option<u64>,
}

#[derive(Debug, Default, PartialEq)]
struct Told {
    follows: std::collections::BTreeSet<String>,
    level: Option<u64>,
}

impl World {
    fn ask(&mut self, method: &'static str, params: Value) {
        self.open.push((self.next, method));
        self.rig.endpoint(&json!({"id": self.next, "method": method, "params": params}).to_string());
        self.next += 1;
    }

    /// The server's answer to a request, in some guise.
    fn answer(&mut self, request: &Value, times: usize, guise: u8) {
        let result = match request["method"].as_str().unwrap() {
            "initialize" => welcome(),
            "tools/list" => tools(&[&format!("t{}", self.list)], None),
            _ => request["params"]["of"].clone(),
        };
        // An item that is printed with other spaces counts as another one.
        let guise = if request["method"] == "tools/list" && guise == 1 { 5 } else { guise };
        for _ in 0..times {
            self.rig.server(&in_guise(json!({"jsonrpc": "2.0", "id": request["id"], "result": result}), guise));
        }
    }

    /// Has an event happen, if it can now.
    fn happen(&mut self, event: &Happening) {
        match event {
            Happening::LinkUp if !self.linked => {
                (self.linked, self.next, self.read) = (true, 0, None);
                self.rig.link_up();
            }
            Happening::LinkDown if self.linked => {
                self.linked = false;
                self.open.clear();
                self.wanted = Told::default();
                self.rig.link_down();
            }
            Happening::ServerUp if !self.alive => {
                (self.alive, self.busy, self.told) = (true, false, Told::default());
                self.rig.server_up();
            }
            Happening::ServerDown if self.alive => {
                self.alive = false;
                self.at_server.clear();
                self.asked = 0;
                self.list += self.next % 2;
                self.rig.server_down(2);
            }
            Happening::Hello(likely) if self.linked => {
                self.open.push((self.next, "initialize"));
                self.rig.endpoint(&if *likely { hello(self.next) } else { other(self.next) });
                self.next += 1;
            }
            Happening::Call if self.linked => self.ask("tools/call", json!({"of": self.next})),
            Happening::Notify if self.linked => self.rig.endpoint(r#"{"method":"notifications/initialized"}"#),
            Happening::Follow(uri, true) if self.linked => {
                self.ask("resources/subscribe", json!({"uri": format!("mem:{uri}"), "own": true}));
            }
            Happening::Follow(uri, false) if self.linked => {
                // A server that can't be told goes on sending updates.
                if !self.busy {
                    self.wanted.follows.remove(&format!("mem:{uri}"));
                    self.ask("resources/unsubscribe", json!({"uri": format!("mem:{uri}"), "own": true}));
                }
            }
            Happening::Level(level) if self.linked => {
                self.ask("logging/setLevel", json!({"level": level, "own": true}))
            }
            Happening::List if self.linked => self.ask("tools/list", json!({})),
            Happening::Changed if self.alive => {
                self.list += 1;
                self.rig.server(r#"{"method":"notifications/tools/list_changed"}"#);
            }
            Happening::Answer(i, twice, guise) if !self.at_server.is_empty() => {
                let request = self.at_server.swap_remove(i.index(self.at_server.len()));
                self.answer(&request, 1 + usize::from(*twice), *guise);
            }
            Happening::Refuse(i) if !self.at_server.is_empty() => {
                let request = self.at_server.swap_remove(i.index(self.at_server.len()));
                self.rig.server(
                    &json!({"jsonrpc": "2.0", "id": request["id"], "error": {"code": 1, "message": "no"}}).to_string(),
                );
            }
            Happening::Ask if self.alive => {
                self.rig.server(&json!({"id": format!("s{}", self.asked), "method": "roots/list"}).to_string());
                self.asked += 1;
            }
            Happening::Busy(busy) if self.alive => {
                self.busy = *busy;
                let rig = &mut self.rig;
                rig.router.on_server_busy(0, *busy, rig.now, &mut rig.sink);
            }
            Happening::Pass(seconds) => self.rig.pass(*seconds),
            // What can't happen now.
            Happening::LinkUp
            | Happening::LinkDown
            | Happening::ServerUp
            | Happening::ServerDown
            | Happening::Hello(_)
            | Happening::Call
            | Happening::Notify
            | Happening::Follow(..)
            | Happening::Level(_)
            | Happening::List
            | Happening::Changed
            | Happening::Answer(..)
            | Happening::Refuse(_)
            | Happening::Ask
            | Happening::Busy(_) => {}
        }
    }

    /// Checks what has come of the events so far.
    fn check(&mut self) -> Result<(), TestCaseError> {
        for frame in self.rig.sent_to_server() {
            let frame = parsed(&frame);
            prop_assert!(self.alive, "a dead server got {frame}");
            let (uri, level) = (frame["params"]["uri"].as_str().map(str::to_owned), frame["params"]["level"].as_u64());
            let own = frame["params"]["own"] == true;
            match frame["method"].as_str().unwrap_or_default() {
                "resources/subscribe" => {
                    self.told.follows.extend(uri.clone());
                    self.wanted.follows.extend(uri.filter(|_| own));
                }
                "resources/unsubscribe" => {
                    let uri = uri.unwrap();
                    self.told.follows.remove(&uri);
                    // A request that waited comes behind what waited before it.
                    if own {
                        self.wanted.follows.remove(&uri);
                    }
                }
                "logging/setLevel" => {
                    self.told.level = level;
                    self.wanted.level = if own { level } else { self.wanted.level };
                }
                _ => {}
            }
            if frame["method"].is_string() && !frame["id"].is_null() {
                self.at_server.push(frame);
            }
        }
        for frame in self.rig.sent_to_endpoint() {
            let frame = parsed(&frame);
            prop_assert!(self.linked, "a closed connection got {frame}");
            if frame["method"].is_string() {
                continue;
            }
            let id = frame["id"].as_u64().unwrap();
            let at = self.open.iter().position(|(open, _)| *open == id);
            prop_assert!(at.is_some(), "nobody asked for {frame}");
            let (_, method) = self.open.swap_remove(at.unwrap());
            if method == "tools/call" && frame["error"].is_null() {
                prop_assert_eq!(&frame["result"], &json!(id), "another call's answer");
            }
            if let ("tools/list", Some(name)) = (method, frame["result"]["tools"][0]["name"].as_str()) {
                self.read = Some(name[1..].parse().unwrap());
            }
        }
        if self.alive && self.rig.router.servers[0].lane.is_ready() && !self.busy {
            prop_assert_eq!(&self.told.follows, &self.wanted.follows, "what the endpoint follows");
            if self.wanted.level.is_some() {
                prop_assert_eq!(self.told.level, self.wanted.level, "the level");
            }
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn every_request_of_a_living_connection_gets_exactly_one_answer_and_what_it_wants_holds_in_each_life_of_the_server(
        events in prop::collection::vec(any_happening(), 1..160),
        relay: bool,
    ) {
        let mut world = World {
            rig: Rig::with(if relay { Handshake::Relay } else { Handshake::Answer }),
            linked: false,
            alive: false,
            busy: false,
            next: 0,
            asked: 0,
            open: Vec::new(),
            at_server: Vec::new(),
            told: Told::default(),
            wanted: Told::default(),
            list: 0,
            read: None,
        };
        for event in events {
            world.happen(&event);
            world.check()?;
        }
        // An endpoint that does not read what is new gets a new connection, and no other does.
        if world.linked && world.alive && world.read.is_some() {
            world.happen(&Happening::Busy(false));
            for _ in 0..4000 {
                world.check()?;
                for request in std::mem::take(&mut world.at_server) {
                    world.answer(&request, 1, 0);
                }
                world.rig.pass(1);
                if world.rig.sink.restarts > 0 {
                    world.rig.sink.restarts = 0;
                    world.happen(&Happening::ServerDown);
                    world.happen(&Happening::ServerUp);
                }
            }
            world.check()?;
            if world.rig.router.servers[0].lane.is_ready() {
                let is_new = world.read != Some(world.list);
                prop_assert_eq!(world.rig.router.wants_reconnect(world.rig.peer, world.rig.now).is_some(), is_new);
            }
        }
        // In the end everything is answered, whatever became of the server.
        if world.linked {
            world.happen(&Happening::ServerDown);
            world.rig.pass(60);
            world.check()?;
            prop_assert_eq!(&world.open, &[]);
        }
    }
}

#[test]
fn progress_goes_on_after_an_answer_that_created_a_task_and_ends_with_the_task() {
    let task = json!({"taskId": "t1", "status": "working", "createdAt": "x", "lastUpdatedAt": "x", "ttl": null});
    let progress = |rig: &mut Rig, id: &Value| {
        rig.server(
            &json!({"method": "notifications/progress", "params": {"progressToken": id, "progress": 1}}).to_string(),
        );
        rig.sent_to_endpoint().iter().map(|frame| parsed(frame)["params"]["progressToken"].clone()).collect::<Vec<_>>()
    };
    let start = |rig: &mut Rig, result: &Value| {
        rig.endpoint(
            r#"{"id":7,"method":"tools/call","params":{"name":"x","task":{"ttl":1},"_meta":{"progressToken":"p"}}}"#,
        );
        let id = parsed(&rig.sent_to_server()[0])["id"].clone();
        let answer = json!({"jsonrpc": "2.0", "id": id, "result": result});
        rig.server(&answer.to_string());
        assert_eq!(
            rig.sent_to_endpoint(),
            [json!({"jsonrpc": "2.0", "id": 7, "result": result}).to_string()],
            "byte for byte"
        );
        id
    };
    let mut rig = Rig::running();
    let done = start(&mut rig, &json!({"content": [], "taskId": "t1"}));
    assert!(progress(&mut rig, &done).is_empty(), "no task was created");
    let id = start(&mut rig, &json!({"task": task}));
    assert_eq!((progress(&mut rig, &id), progress(&mut rig, &id)), (vec![json!("p")], vec![json!("p")]));
    for (status, goes_on) in [("input_required", true), ("completed", false)] {
        let status =
            json!({"method": "notifications/tasks/status", "params": {"taskId": "t1", "status": status}}).to_string();
        rig.server(&status);
        assert_eq!(rig.sent_to_endpoint(), [status]);
        assert_eq!(!progress(&mut rig, &id).is_empty(), goes_on);
    }
    // Nothing of one connection reaches another, nor does anything of one life of the server.
    let id = start(&mut rig, &json!({"task": task}));
    rig.link_down();
    rig.link_up();
    rig.endpoint(&hello(0));
    rig.endpoint(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    rig.sent_to_endpoint();
    rig.sent_to_server();
    assert!(progress(&mut rig, &id).is_empty());
    // Nor does the table of tasks grow.
    let first = start(&mut rig, &json!({"task": task}));
    for _ in 0..crate::router::task::MAX_TASKS {
        start(&mut rig, &json!({"task": task}));
    }
    assert!(progress(&mut rig, &first).is_empty());
}

#[test]
fn early_questions_of_a_server_are_kept_up_to_their_size() {
    let mut rig = Rig::ready();
    let ask = |id: u8, size: usize| {
        json!({"id": id, "method": "sampling/createMessage", "params": {"text": "x".repeat(size)}}).to_string()
    };
    rig.server(&ask(1, 60 * 1024));
    assert_eq!(rig.sent_to_server(), Vec::<String>::new(), "it waits for the endpoint");
    rig.server(&ask(2, 64 * 1024));
    assert_eq!(parsed(&rig.sent_to_server()[0])["id"], 2, "it is answered with an error");
    rig.link_up();
    rig.endpoint(&hello(0));
    rig.endpoint(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    assert_eq!(methods(&rig.sent_to_endpoint()), ["-", "sampling/createMessage"]);
}

#[test]
fn an_error_about_nonsense_says_of_which_kind_it_is() {
    let mut rig = Rig::running();
    for (said, code, name) in
        [("{\"jsonrpc\"", PARSE_ERROR, "parse error: "), (r#"{"jsonrpc":"2.0"}"#, INVALID_REQUEST, "invalid request: ")]
    {
        rig.endpoint(said);
        let error = parsed(&rig.sent_to_endpoint()[0])["error"].clone();
        assert_eq!(error["code"], code, "{error}");
        assert!(error["message"].as_str().unwrap().starts_with(name), "{error}");
    }
}

#[test]
fn a_stranger_gets_no_more_errors_for_messages_that_are_too_large_either() {
    let mut rig = Rig::ready();
    rig.link_up();
    let said = vec![b'x'; 2000];
    for _ in 0..10 {
        let ends = crate::frame::Ends::of(&said);
        rig.router.on_peer_too_large(rig.peer, ends.cut(), rig.now, &mut rig.sink);
    }
    assert_eq!(rig.sent_to_endpoint().len(), 4);
}

#[test]
fn only_progress_has_its_token_exchanged() {
    let mut rig = Rig::running();
    let other = r#"{"method":"notifications/message","params":{"progressToken":7}}"#;
    rig.server(other);
    assert_eq!(rig.sent_to_endpoint(), [other]);
    rig.server(r#"{"method":"notifications/progress","params":{"progressToken":7}}"#);
    assert_eq!(rig.sent_to_endpoint(), Vec::<String>::new(), "nobody asked for that");
}

#[test]
fn a_changed_list_is_looked_at_all_the_same_where_the_endpoint_got_an_error_for_it() {
    let mut rig = Rig::running();
    let list = |id: u64| json!({"id": id, "method": "tools/list"}).to_string();
    rig.endpoint(&list(1));
    rig.answer(tools(&["a"], None));
    rig.server(r#"{"method":"notifications/tools/list_changed"}"#);
    rig.endpoint(&list(2));
    rig.refuse("not now");
    rig.sent_to_server();
    rig.pass(4);
    assert_eq!(rig.sent_to_server(), Vec::<String>::new());
    rig.pass(1);
    assert_eq!(methods(&rig.sent_to_server()), ["tools/list"]);
    // One that it has read is not looked at, be it that the change was told in between.
    let mut rig = Rig::running();
    rig.endpoint(&list(1));
    rig.answer(tools(&["a"], None));
    rig.server(r#"{"method":"notifications/tools/list_changed"}"#);
    rig.endpoint(&list(2));
    rig.answer(tools(&["b"], None));
    rig.sent_to_server();
    rig.pass(60);
    assert_eq!(rig.sent_to_server(), Vec::<String>::new());
    rig.endpoint(&list(3));
    let asked = rig.last()["id"].clone();
    rig.server(r#"{"method":"notifications/tools/list_changed"}"#);
    rig.server(&json!({"jsonrpc": "2.0", "id": asked, "result": tools(&["b"], None)}).to_string());
    rig.sent_to_server();
    rig.pass(5);
    assert_eq!(methods(&rig.sent_to_server()), ["tools/list"], "that may be what it was before");
}

/// The errors among these messages: id and text.
fn errors(messages: &[String]) -> Vec<(Value, String)> {
    let errors = messages.iter().map(|message| parsed(message)).filter(|message| message["error"].is_object());
    errors.map(|message| (message["id"].clone(), message["error"]["message"].as_str().unwrap().to_owned())).collect()
}

#[test]
fn a_paused_server_is_asked_what_it_has_and_finishes_its_calls_and_gets_no_other() {
    let mut rig = Rig::running();
    rig.endpoint(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}"#);
    rig.router.on_server_barred(0, Some(Bar::Paused), rig.now, &mut rig.sink);
    assert!(rig.sent_to_endpoint().is_empty());
    rig.answer(json!({"content": []}));
    assert_eq!(parsed(&rig.sent_to_endpoint()[0])["id"], 1);
    rig.endpoint(r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"x"}}"#);
    assert_eq!(errors(&rig.sent_to_endpoint()), [(json!(2), Bar::Paused.words("calc"))]);
    rig.sent_to_server();
    rig.endpoint(r#"{"jsonrpc":"2.0","id":3,"method":"tools/list"}"#);
    rig.answer(json!({"tools": []}));
    assert_eq!(parsed(&rig.sent_to_endpoint()[0])["id"], 3);
    rig.router.on_server_barred(0, None, rig.now, &mut rig.sink);
    rig.endpoint(r#"{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"name":"x"}}"#);
    assert_eq!(rig.last()["method"], "tools/call");
}

#[test]
fn what_waits_for_a_server_is_refused_as_soon_as_a_person_stops_or_pauses_it() {
    let call = r#"{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"x"}}"#;
    let list = r#"{"jsonrpc":"2.0","id":6,"method":"tools/list"}"#;
    for (bar, refused) in [(Bar::Paused, &[5][..]), (Bar::Stopped, &[5, 6])] {
        let mut rig = Rig::running();
        rig.server_down(1);
        rig.sent_to_endpoint();
        rig.endpoint(call);
        rig.endpoint(list);
        assert!(rig.sent_to_endpoint().is_empty(), "they wait");
        rig.router.on_server_barred(0, Some(bar), rig.now, &mut rig.sink);
        let want: Vec<_> = refused.iter().map(|id| (json!(id), bar.words("calc"))).collect();
        assert_eq!(errors(&rig.sent_to_endpoint()), want);
        rig.pass(3600);
        assert_eq!(errors(&rig.sent_to_endpoint()).len(), 2 - refused.len(), "nothing is forgotten");
    }
}

#[test]
fn a_stopped_server_refuses_even_the_handshake_at_once_unless_its_answer_is_known() {
    let mut rig = Rig::new();
    rig.link_up();
    rig.endpoint(&hello(0));
    rig.router.on_server_barred(0, Some(Bar::Stopped), rig.now, &mut rig.sink);
    rig.endpoint(&hello(1));
    let words = Bar::Stopped.words("calc");
    assert_eq!(errors(&rig.sent_to_endpoint()), [(json!(0), words.clone()), (json!(1), words)]);
    let mut rig = Rig::running();
    rig.router.on_server_barred(0, Some(Bar::Stopped), rig.now, &mut rig.sink);
    rig.server_down(0);
    rig.link_down();
    rig.link_up();
    rig.endpoint(&hello(1));
    assert!(parsed(&rig.sent_to_endpoint()[0])["result"].is_object(), "its tools stay published");
    rig.router.on_server_barred(0, None, rig.now, &mut rig.sink);
    rig.endpoint(r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"x"}}"#);
    rig.server_up();
    rig.answer(welcome());
    assert!(rig.sent_to_server().iter().any(|sent| sent.contains("tools/call")), "it waited for the start");
}

#[test]
fn an_endpoint_that_asked_a_stopped_server_for_its_tools_reads_them_when_the_server_is_back() {
    let list = r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#;
    for asked in ["on a new connection", "just before"] {
        let mut rig = Rig::running();
        if asked == "just before" {
            rig.endpoint(list);
        }
        rig.router.on_server_barred(0, Some(Bar::Stopped), rig.now, &mut rig.sink);
        rig.server_down(0);
        if asked == "on a new connection" {
            rig.link_down();
            rig.link_up();
            rig.endpoint(&hello(1));
            rig.endpoint(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
            rig.endpoint(list);
        }
        assert_eq!(errors(&rig.sent_to_endpoint()).len(), 1, "{asked}");
        rig.router.on_server_barred(0, None, rig.now, &mut rig.sink);
        rig.server_up();
        rig.answer(welcome());
        assert_eq!(rig.last()["method"], "tools/list", "{asked}: we look");
        rig.answer(json!({"tools": [{"name": "add"}]}));
        let told = rig.sent_to_endpoint();
        assert!(told.iter().any(|message| message.contains("notifications/tools/list_changed")), "{asked}: {told:?}");
        rig.endpoint(&list.replace('7', "8"));
        rig.answer(json!({"tools": [{"name": "add"}]}));
        rig.pass(3600);
        assert_eq!(rig.router.wants_reconnect(rig.peer, rig.now), None, "{asked}: it has read");
    }
}

/// A rig with a server that is ready, and a peer of this kind that has said nothing yet.
fn come(kind: PeerKind) -> Rig {
    let mut rig = Rig::of(&ServerSpec::sample("calc", "", &[]), NewPeer { kind, ..NewPeer::unknown(100_000) });
    rig.server_up();
    rig.answer(
        json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {"x": 1.0}, "prompts": {}, "logging": {}}}),
    );
    rig.link_up();
    rig
}

#[test]
fn whoever_has_come_to_us_is_told_that_each_list_may_change() {
    for (kind, want) in [
        (PeerKind::Endpoint, json!({"tools": {"x": 1.0}, "prompts": {}, "logging": {}})),
        (
            PeerKind::Client,
            json!({"tools": {"x": 1.0, "listChanged": true}, "prompts": {"listChanged": true}, "logging": {}}),
        ),
    ] {
        let mut rig = come(kind);
        rig.endpoint(&hello(0));
        assert_eq!(parsed(&rig.sent_to_endpoint()[0])["result"]["capabilities"], want, "{kind:?}");
    }
}

#[test]
fn a_batch_is_taken_in_the_version_that_has_batches_and_from_the_field_in_any() {
    let batch = r#"[{"jsonrpc":"2.0","id":1,"method":"a"},{"jsonrpc":"2.0","method":"b"},{"jsonrpc":"2.0","id":"2","method":"c"}]"#;
    for (kind, version, is_taken) in [
        (PeerKind::Endpoint, "2025-11-25", true),
        (PeerKind::Robot, "2025-11-25", true),
        (PeerKind::Client, "2025-03-26", true),
        (PeerKind::Client, "2025-06-18", false),
        (PeerKind::Client, "", false),
    ] {
        let mut rig = come(kind);
        if !version.is_empty() {
            // What is likely, so that nothing is said anew to the server.
            rig.endpoint(&hello_with(0, version, json!({"sampling": {}, "roots": {}})));
        }
        rig.sink = Sink::default();
        rig.endpoint(batch);
        let ids: Vec<Value> = rig
            .sent_to_endpoint()
            .iter()
            .map(|frame| parsed(frame))
            .map(|error| {
                assert_eq!(error["error"]["code"], INVALID_REQUEST, "{error}");
                error["id"].clone()
            })
            .collect();
        let want = if is_taken { vec![] } else { vec![json!(1), json!("2")] };
        assert_eq!((ids, rig.sent_to_server().is_empty()), (want, !is_taken), "{kind:?} {version}");
        if !is_taken {
            rig.endpoint(r#"[{"jsonrpc":"2.0","method":"b"}]"#);
            rig.endpoint(&format!("[{}]", vec![r#"{"jsonrpc":"2.0","id":1,"method":"a"}"#; 101].join(",")));
            let told: Vec<Value> = rig.sent_to_endpoint().iter().map(|frame| parsed(frame)["id"].clone()).collect();
            assert_eq!(told, [Value::Null, Value::Null], "as one");
        }
    }
}

#[test]
fn a_request_of_the_modern_era_without_a_handshake_is_told_which_versions_are_spoken() {
    let version = |method: &str| {
        let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28"});
        json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": {"_meta": meta}}).to_string()
    };
    for (kind, code) in [(PeerKind::Client, Some(-32022)), (PeerKind::Robot, Some(-32022)), (PeerKind::Endpoint, None)]
    {
        let mut rig = come(kind);
        rig.sink = Sink::default();
        rig.endpoint(&version("tools/list"));
        let told = rig.sent_to_endpoint().pop().map(|frame| parsed(&frame)["error"].take());
        assert_eq!(told.as_ref().and_then(|error| error["code"].as_i64()), code, "{kind:?}");
        assert_eq!(rig.sent_to_server().is_empty(), code.is_some());
        if let Some(error) = told {
            let supported = json!(["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"]);
            assert_eq!((&error["data"]["supported"], &error["data"]["requested"]), (&supported, &json!("2026-07-28")));
        }
        // By this question clients find out the era, and an error is all that they need.
        rig.endpoint(&version("server/discover"));
        assert_eq!(parsed(&rig.sent_to_endpoint()[0])["error"]["code"], METHOD_NOT_FOUND, "{kind:?}");
        // Once there was a handshake, the request is of that conversation.
        rig.endpoint(&hello(0));
        rig.sink = Sink::default();
        rig.endpoint(&version("tools/list"));
        assert_eq!((rig.sent_to_endpoint().len(), rig.sent_to_server().len()), (0, 1), "{kind:?}");
    }
}
