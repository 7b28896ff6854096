//! Servers of the modern era behind a bridge: whose request it is, and how long a list may be told.

use super::*;
use crate::mcp::modern::CALLER;

/// What goes where.
#[derive(Debug, Default)]
struct Ear {
    peers: Vec<(PeerId, Value)>,
    server: Vec<Vec<u8>>,
}

impl Out for Ear {
    fn to_peer(&mut self, peer: PeerId, pieces: &[&[u8]]) {
        self.peers.push((peer, serde_json::from_slice(&pieces.concat()).unwrap()));
    }
    fn to_server(&mut self, _: ServerIndex, pieces: &[&[u8]]) {
        self.server.push(pieces.concat());
    }
    fn remember(&mut self, _: ServerIndex, _: &Memory) {}
    fn remember_hello(&mut self, _: PeerId, _: &str) {}
    fn restart(&mut self, _: ServerIndex, _: &'static str) {}
    fn note(&mut self, _: Note<'_>) {}
}

/// One server of the modern era, and two peers that have it alone.
struct Shared {
    hub: Hub,
    ear: Ear,
    now: Instant,
    peers: [PeerId; 2],
}

impl Shared {
    fn new() -> Self {
        let (mut hub, mut ear, now) = (Hub::new(), Ear::default(), Instant::now());
        hub.add_server(&ServerSpec { max_frame: 1 << 20, ..ServerSpec::sample("m", "", &[]) }, None);
        let sight = Some(Sight::Alone(0));
        let peers = [(); 2].map(|()| hub.join(NewPeer { sight, ..NewPeer::unknown(1 << 20) }));
        hub.on_server_up(0, now, &mut ear);
        hub.on_server_modern(0);
        let mut shared = Shared { hub, ear, now, peers };
        let result = json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "m", "version": ""}});
        shared.server(&json!({"jsonrpc": "2.0", "id": 1, "result": result}));
        for (n, capabilities) in [json!({"elicitation": {}}), json!({"sampling": {}})].into_iter().enumerate() {
            shared.hub.on_link_up(peers[n], now, &mut shared.ear);
            shared.peer(n, &hello_with(0, capabilities));
            shared.peer(n, r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        }
        shared.said();
        shared
    }

    fn peer(&mut self, n: usize, frame: &str) {
        self.hub.on_peer(self.peers[n], frame.as_bytes(), self.now, &mut self.ear);
    }

    fn server(&mut self, message: &Value) {
        say(&mut self.hub, 0, message.to_string().as_bytes(), self.now, &mut self.ear);
    }

    fn caused(&mut self, cause: u64, message: &Value) {
        let frame = message.to_string();
        let e = envelope::scan_one(frame.as_bytes()).unwrap();
        self.hub.on_server_caused(0, cause, (frame.as_bytes(), &e), self.now, &mut self.ear);
    }

    /// What the server got: for whom the next ones are, or the id and the method.
    fn said(&mut self) -> Vec<String> {
        let line = |line: &Vec<u8>| match line.as_slice() {
            [CALLER, hello @ ..] => {
                let hello: Value = serde_json::from_slice(hello).unwrap_or_default();
                format!("for {}", hello["capabilities"])
            }
            message => {
                let message: Value = serde_json::from_slice(message).unwrap();
                format!("{} {}", message["id"], message["method"].as_str().unwrap_or("answer"))
            }
        };
        std::mem::take(&mut self.ear.server).iter().map(line).collect()
    }

    fn heard(&mut self) -> Vec<(usize, Value)> {
        let place = |peer: PeerId| self.peers.iter().position(|other| *other == peer).unwrap();
        std::mem::take(&mut self.ear.peers).into_iter().map(|(peer, message)| (place(peer), message)).collect()
    }
}

#[test]
fn a_modern_server_is_told_of_each_request_for_whom_it_is_where_that_changes() {
    let mut shared = Shared::new();
    for (n, tool) in [(0, "t"), (0, "t"), (1, "t"), (0, "t")] {
        shared.peer(n, &call(7, tool));
    }
    let (first, second) = (r#"for {"elicitation":{}}"#, r#"for {"sampling":{}}"#);
    let said = shared.said();
    let numbers: Vec<&str> = said.iter().filter(|line| line.contains("tools/call")).map(String::as_str).collect();
    assert_eq!(numbers.len(), 4);
    assert_eq!(said, [first, numbers[0], numbers[1], second, numbers[2], first, numbers[3]]);
    // Another life is told anew, once it is known to be of that era, and one of the other era never is.
    shared.hub.on_server_down(
        0,
        Gone { why: "exited", retry_in: Duration::ZERO, by_command: false },
        shared.now,
        &mut shared.ear,
    );
    shared.hub.on_server_up(0, shared.now, &mut shared.ear);
    let hello = shared.said().pop().unwrap();
    let number: u64 = hello.split(' ').next().unwrap().parse().unwrap();
    shared.server(
        &json!({"jsonrpc": "2.0", "id": number, "result": {"protocolVersion": "2025-11-25", "capabilities": {}}}),
    );
    shared.peer(0, &call(8, "t"));
    assert!(shared.said().iter().all(|line| !line.starts_with("for ")));
}

#[test]
fn what_a_server_asks_or_logs_about_a_call_goes_to_whoever_called() {
    let mut shared = Shared::new();
    shared.peer(0, &call("a", "t"));
    shared.peer(1, &call("b", "t"));
    let numbers: Vec<u64> =
        shared.said().iter().filter_map(|line| line.strip_suffix(" tools/call")?.parse().ok()).collect();
    shared.heard();
    let question = |method: &str| json!({"jsonrpc": "2.0", "id": "input-1", "method": method, "params": {}});
    shared.caused(numbers[1], &question("sampling/createMessage"));
    let heard = shared.heard();
    assert_eq!((heard.len(), heard[0].0, &heard[0].1["method"]), (1, 1, &json!("sampling/createMessage")));
    // A peer that can't do it is not asked, nor is the other one.
    shared.caused(numbers[0], &question("sampling/createMessage"));
    assert_eq!(shared.heard(), []);
    assert_eq!(shared.said(), ["\"input-1\" answer"]);
    let log = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x"}});
    shared.caused(numbers[0], &log);
    assert_eq!(shared.heard(), [(0, log)]);
    // Nobody is asked about a call that is over.
    shared.server(&json!({"jsonrpc": "2.0", "id": numbers[0], "result": {"content": []}}));
    shared.heard();
    shared.caused(numbers[0], &question("elicitation/create"));
    assert_eq!((shared.heard(), shared.said().len()), (vec![], 1));
}

#[test]
fn a_list_that_is_too_old_by_its_servers_own_words_is_read_anew_before_it_is_told() {
    let mut one = offer(&["one"]);
    one["tools/list"]["ttlMs"] = 1000.into();
    let mut rig = Rig::new(specs(&["a", "b"]), vec![one, offer(&["two"])], vec![]);
    rig.begin();
    rig.offers[0]["tools/list"]["tools"][0]["name"] = "other".into();
    rig.offers[1]["tools/list"]["tools"][0]["name"] = "new".into();
    assert_eq!(rig.tools(), ["one", "two"]);
    rig.pass(1);
    // What the other one has never said is old is not read.
    assert_eq!(rig.tools(), ["other", "two"]);
    // A server that does not answer is waited for, but not for ever.
    let list = rig.offers[0]["tools/list"].take();
    rig.pass(2);
    rig.sink.endpoint.clear();
    rig.endpoint(r#"{"jsonrpc":"2.0","id":"late","method":"tools/list"}"#);
    rig.endpoint(r#"{"jsonrpc":"2.0","id":"later","method":"tools/list"}"#);
    assert_eq!(rig.at_server(0).len(), 1, "it is asked once");
    rig.pass(8);
    assert_eq!(rig.at_endpoint(), Vec::<Value>::new());
    rig.pass(2);
    let answered: Vec<Value> = rig.at_endpoint().iter().map(|answer| answer["id"].clone()).collect();
    assert_eq!(answered, ["late", "later"]);
    rig.offers[0]["tools/list"] = list;
    rig.pass(60);
    // No time at all: it is read each time.
    rig.offers[0]["tools/list"]["ttlMs"] = 0.into();
    for name in ["p", "q"] {
        rig.offers[0]["tools/list"]["tools"][0]["name"] = name.into();
        rig.pass(2);
        assert_eq!(rig.tools(), [name, "two"]);
    }
}

#[test]
fn a_server_that_may_do_more_as_a_modern_one_is_told_of_once() {
    let mut rig = Rig::pair();
    let mut fail = |message: &str, method: &str| {
        let params = json!({"name": "one", "uri": "u"});
        rig.endpoint(&json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}).to_string());
        let id = rig.at_server(0).pop().unwrap()["id"].clone();
        rig.server(0, &json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32603, "message": message}}).to_string());
        std::mem::take(&mut rig.sink.notes).iter().filter(|note| note.contains("\"era\": \"modern\"")).count()
    };
    assert_eq!(fail("out of memory", "tools/call"), 0);
    assert_eq!(fail("Handler returned an invalid result", "tools/call"), 1);
    assert_eq!(fail("Handler returned an invalid result", "tools/call"), 0);
}
