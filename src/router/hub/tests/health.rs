//! Health checks: when a server is asked, and what that costs whoever asks it.

use super::*;
use crate::config::{HealthCheck, Instances, PerPeer};

const SECOND: Duration = Duration::from_secs(1);

fn check(tool: Option<&str>) -> Option<HealthCheck> {
    Some(HealthCheck { every: SECOND, tool: tool.map(Arc::from), restart: true })
}

/// Two servers, up and listed by an endpoint, of which the first is checked. It answers pings where it is not `deaf`.
fn pair(tool: Option<&str>, deaf: bool) -> Rig {
    let mut specs = specs(&["a", "b"]);
    specs[0].health_check = check(tool);
    let mut a = offer(&["one"]);
    a["deaf"] = deaf.into();
    let mut rig = Rig::new(specs, vec![a, offer(&["two"])], vec![]);
    rig.begin();
    rig
}

fn pings(rig: &mut Rig) -> usize {
    let methods = rig.at_server(0).into_iter().filter(|frame| frame["method"] == "ping");
    methods.count()
}

#[test]
fn only_a_server_that_is_ready_and_wanted_is_asked() {
    let mut rig = pair(None, true);
    rig.sink.servers[0].clear();
    rig.pass(1);
    assert_eq!((pings(&mut rig), rig.router.in_flight()), (1, 0), "it is no call");
    rig.router.on_server_barred(0, Some(Bar::Paused), rig.now, &mut rig.sink);
    rig.pass(10);
    assert_eq!(pings(&mut rig), 0, "paused");
    rig.router.on_server_barred(0, None, rig.now, &mut rig.sink);
    rig.pass(1);
    assert_eq!(pings(&mut rig), 1);
    rig.down(0, 100);
    rig.pass(10);
    assert_eq!(pings(&mut rig), 0, "down");
    rig.offers[0]["silent"] = true.into();
    rig.up(0);
    rig.pass(10);
    assert_eq!(pings(&mut rig), 0, "starting");
    rig.router.drain(rig.now, &mut rig.sink);
    assert!(rig.sink.failed.is_empty() && pings(&mut rig) == 0);
    let mut none = pair(None, false);
    none.pass(10);
    assert!(
        none.sink.notes.iter().all(|note| note.starts_with("answered its health check in ")),
        "{:?}",
        none.sink.notes
    );
    assert!(none.at_server(1).is_empty(), "one without a check");
}

#[test]
fn a_server_that_hangs_is_replaced_and_what_comes_meanwhile_waits_for_the_next_process() {
    let mut rig = pair(None, true);
    rig.pass(4);
    let why = "failed its health check 3 times in a row: did not answer ping within 1.0 s, nor say anything else";
    assert_eq!(rig.sink.failed, [(0, why.to_owned())]);
    rig.endpoint(&call(3, "one"));
    rig.endpoint(&call(4, "two"));
    assert!(rig.at_endpoint().is_empty() && rig.at_server(0).iter().all(|frame| frame["method"] != "tools/call"));
    let two = rig.at_server(1).pop().unwrap();
    rig.server(1, &json!({"jsonrpc": "2.0", "id": two["id"], "result": {}}).to_string());
    assert_eq!(rig.at_endpoint()[0]["id"], 4, "the other one goes on");
    rig.pass(3);
    assert_eq!(rig.sink.failed.len(), 1, "it is as good as gone");
    rig.down(0, 0);
    rig.offers[0]["deaf"] = false.into();
    rig.up(0);
    let one = rig.at_server(0).into_iter().find(|frame| frame["method"] == "tools/call").unwrap();
    rig.server(0, &json!({"jsonrpc": "2.0", "id": one["id"], "result": {}}).to_string());
    assert_eq!(rig.at_endpoint()[0]["id"], 3);
}

#[test]
fn a_server_that_works_is_never_replaced_even_where_the_call_was_given_up() {
    let mut rig = pair(None, true);
    rig.endpoint(&call(3, "one"));
    rig.pass(20);
    rig.endpoint(r#"{"method":"notifications/cancelled","params":{"requestId":3}}"#);
    rig.pass(20);
    assert_eq!((rig.sink.failed.len(), pings(&mut rig)), (0, 1), "nor asked again and again");
    // Nobody knows of its work any more.
    rig.pass(600);
    assert_eq!(rig.sink.failed.len(), 1);
}

#[test]
fn a_tool_that_fails_costs_no_call_that_is_under_way() {
    let mut rig = pair(Some("one"), false);
    rig.endpoint(&call(3, "one"));
    let called = rig.at_server(0).into_iter().find(|frame| frame["params"]["name"] == "one").unwrap();
    let fail = |rig: &mut Rig, times: usize| {
        for _ in 0..times {
            rig.pass(1);
            let asked = rig.at_server(0).into_iter().find(|frame| frame["method"] == "tools/call").unwrap();
            assert_eq!(asked["params"], json!({"name": "one", "arguments": {}}));
            let failure = json!({"content": [{"type": "text", "text": "no database"}], "isError": true});
            rig.server(0, &json!({"jsonrpc": "2.0", "id": asked["id"], "result": failure}).to_string());
        }
    };
    fail(&mut rig, 5);
    assert!(rig.sink.failed.is_empty() && rig.at_endpoint().is_empty());
    rig.server(0, &json!({"jsonrpc": "2.0", "id": called["id"], "result": {}}).to_string());
    assert_eq!(rig.at_endpoint()[0]["id"], 3);
    fail(&mut rig, 1);
    let why = "failed its health check 6 times in a row: reports a failure of one: no database";
    assert_eq!(rig.sink.failed, [(0, why.to_owned())]);
}

#[test]
fn what_a_server_asks_while_its_check_calls_a_tool_is_for_nobody() {
    let mut rig = pair(Some("one"), false);
    rig.endpoint(&call(3, "one"));
    let question = r#"{"jsonrpc":"2.0","id":"q","method":"sampling/createMessage","params":{}}"#;
    rig.pass(1);
    rig.server(0, question);
    assert!(rig.at_endpoint().is_empty(), "it may be about the check");
    let answer = rig.at_server(0).into_iter().find(|frame| frame["id"] == "q").unwrap();
    assert!(answer["error"].is_object(), "{answer}");
}

#[test]
fn another_check_counts_at_once_and_none_is_none() {
    let mut rig = pair(None, true);
    rig.pass(1);
    assert_eq!(pings(&mut rig), 1);
    let mut spec = specs(&["a"]).remove(0);
    rig.router.change_server(0, &spec, rig.now, &mut rig.sink);
    rig.pass(10);
    assert_eq!((pings(&mut rig), rig.sink.failed.len()), (0, 0));
    spec.health_check = check(None);
    rig.router.change_server(0, &spec, rig.now, &mut rig.sink);
    rig.pass(1);
    assert_eq!(pings(&mut rig), 1);
}

/// What processes are sent.
#[derive(Default)]
struct Ear(Vec<(ServerIndex, Value)>);

impl Out for Ear {
    fn to_peer(&mut self, _: PeerId, _: &[&[u8]]) {}
    fn to_server(&mut self, server: ServerIndex, pieces: &[&[u8]]) {
        self.0.push((server, serde_json::from_slice(&pieces.concat()).unwrap()));
    }
    fn remember(&mut self, _: ServerIndex, _: &Memory) {}
    fn remember_hello(&mut self, _: PeerId, _: &str) {}
    fn restart(&mut self, _: ServerIndex, _: &'static str) {}
    fn note(&mut self, _: Note<'_>) {}
}

#[test]
fn each_process_is_asked_where_each_peer_has_one() {
    let (mut hub, mut ear, mut now) = (Hub::new(), Ear::default(), Instant::now());
    let instances = Instances::PerPeer(PerPeer { idle: 600 * SECOND, most: 4 });
    let spec = ServerSpec { instances, health_check: check(None), ..ServerSpec::sample("s", "", &[]) };
    let first = hub.add_server(&spec, None);
    let up = |hub: &mut Hub, ear: &mut Ear, server: ServerIndex, now| {
        hub.on_server_up(server, now, ear);
        let (_, hello) = ear.0.pop().unwrap();
        let result =
            json!({"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {"name": "s", "version": "1"}});
        say(
            hub,
            server,
            json!({"jsonrpc": "2.0", "id": hello["id"], "result": result}).to_string().as_bytes(),
            now,
            ear,
        );
    };
    up(&mut hub, &mut ear, first, now);
    for further in [first, 1] {
        let peer = hub.join(NewPeer { sight: Some(Sight::Alone(first)), ..NewPeer::unknown(1 << 20) });
        hub.on_link_up(peer, now, &mut ear);
        for frame in [hello(0), r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#.into(), call(3, "x")] {
            hub.on_peer(peer, frame.as_bytes(), now, &mut ear);
        }
        if further != first {
            up(&mut hub, &mut ear, further, now);
        }
    }
    ear.0.clear();
    now += SECOND;
    hub.on_tick(now, &mut ear);
    let asked: Vec<ServerIndex> =
        ear.0.iter().filter(|(_, frame)| frame["method"] == "ping").map(|(server, _)| *server).collect();
    assert_eq!(asked, [first, 1]);
}
