#![expect(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::catalogue::Memory;
use crate::config::ServerSpec;
use crate::router::{Start, say};

const TURN: u64 = 300;

#[derive(Debug, Default)]
struct Sink {
    endpoint: Vec<(PeerId, Value)>,
    servers: Vec<(ServerIndex, Value)>,
    notes: Vec<(ServerIndex, String)>,
}

impl Out for Sink {
    fn to_peer(&mut self, peer: PeerId, pieces: &[&[u8]]) {
        self.endpoint.push((peer, serde_json::from_slice(&pieces.concat()).unwrap()));
    }
    fn to_server(&mut self, server: ServerIndex, pieces: &[&[u8]]) {
        self.servers.push((server, serde_json::from_slice(&pieces.concat()).unwrap()));
    }
    fn remember(&mut self, _: ServerIndex, _: &Memory) {}

    fn remember_hello(&mut self, _: PeerId, _: &str) {}

    fn restart(&mut self, _: ServerIndex, _: &'static str) {}
    fn note(&mut self, note: Note<'_>) {
        if let What::Turn { server, what } = note.what {
            self.notes.push((server, what));
        }
    }
}

/// A router with a clock that a test moves, and servers that answer when told to.
struct Rig {
    turns: Turns,
    /// The endpoint, and all peers that stand for it.
    peer: PeerId,
    seats: Vec<PeerId>,
    sink: Sink,
    now: Instant,
}

impl Rig {
    /// Servers `a`, `b`, … of which nothing runs.
    fn new(servers: u8, pinned: Option<u8>) -> Self {
        let (mut turns, now) = (Turns::default(), Instant::now());
        let seats = (0..servers).map(|i| {
            let name: Arc<str> = char::from(b'a' + i).to_string().into();
            let spec = ServerSpec { max_frame: 1000, ..ServerSpec::sample(&name, "", &[]) };
            let server = turns.hub.add_server(&spec, None);
            NewSeat { server, name, sight: Sight::Alone(server), pin: pinned == Some(i) }
        });
        let seats = seats.collect();
        let seats = turns.join_in_turns(&NewPeer::unknown(1000), seats, Duration::from_secs(TURN), now);
        Rig { turns, peer: seats[0], seats, sink: Sink::default(), now }
    }

    /// All servers loaded, and the first one serves the connection.
    fn running(servers: u8) -> Self {
        let mut rig = Self::new(servers, None);
        (0..servers.into()).for_each(|i| rig.server_warms_up(i));
        rig.connect();
        rig
    }

    fn server_up(&mut self, server: ServerIndex) {
        self.turns.on_server_up(server, self.now, &mut self.sink);
    }

    fn server_warms_up(&mut self, server: ServerIndex) {
        self.server_up(server);
        self.answer_all();
    }

    fn server_down(&mut self, server: ServerIndex, retry_in: u64) {
        let gone = Gone { why: "exited with code 1", retry_in: Duration::from_secs(retry_in), by_command: false };
        self.turns.on_server_down(server, gone, self.now, &mut self.sink);
        self.sink.servers.retain(|(s, _)| *s != server);
    }

    /// A server answers with its index, and an `initialize` with that index in its name.
    fn answer(&mut self, server: ServerIndex, request: &Value) {
        let mut result = json!({"by": server, "of": request["params"]["of"]});
        if request["method"] == "initialize" {
            result = json!({"protocolVersion": "2024-11-05", "serverInfo": {"name": server}});
        }
        let frame = json!({"jsonrpc": "2.0", "id": request["id"], "result": result}).to_string();
        say(&mut self.turns, server, frame.as_bytes(), self.now, &mut self.sink);
    }

    fn answer_all(&mut self) {
        while !self.sink.servers.is_empty() {
            for (server, frame) in std::mem::take(&mut self.sink.servers) {
                if frame["method"].is_string() && !frame["id"].is_null() {
                    self.answer(server, &frame);
                }
            }
        }
    }

    fn link_up(&mut self) {
        self.turns.on_link_up(self.peer, self.now, &mut self.sink);
    }

    fn link_down(&mut self) {
        self.turns.on_link_down(self.peer, self.now, &mut self.sink);
    }

    /// Makes a new connection with a handshake; returns which server answered that.
    fn connect(&mut self) -> u64 {
        self.link_up();
        self.endpoint(&hello(0));
        self.answer_all();
        self.said().pop().unwrap()["result"]["serverInfo"]["name"].as_u64().unwrap()
    }

    fn endpoint(&mut self, frame: &Value) {
        self.turns.on_peer(self.peer, frame.to_string().as_bytes(), self.now, &mut self.sink);
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        for n in 0.. {
            if self.turns.next_tick().is_none_or(|at| at > self.now) {
                break;
            }
            assert!(n < 10, "a tick leads to the next one for ever");
            self.turns.on_tick(self.now, &mut self.sink);
        }
    }

    /// What the pipe asks after each event.
    fn wants_turn(&self) -> bool {
        self.turns.wants_reconnect(self.peer, self.now) == Some(Reconnect::Turn)
    }

    /// The seat whose turn it is.
    fn current(&self) -> usize {
        self.turns.rotas[self.peer].rotation.current()
    }

    /// What the endpoint was told: by the seat whose turn it is, and by no other.
    fn said(&mut self) -> Vec<Value> {
        let current = self.seats[self.current()];
        let said = std::mem::take(&mut self.sink.endpoint);
        let of_current = |(peer, said)| {
            assert_eq!(peer, current, "it is not its turn: {said}");
            said
        };
        said.into_iter().map(of_current).collect()
    }

    fn notes(&mut self) -> Vec<(ServerIndex, String)> {
        std::mem::take(&mut self.sink.notes)
    }

    fn command(&mut self, command: TurnCommand) {
        let _told = self.turns.on_turn_command(self.peer, command, self.now, &mut self.sink);
    }
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn call(id: u64) -> Value {
    json!({"id": id, "method": "tools/call", "params": {"of": id}})
}

fn hello(id: u64) -> Value {
    json!({"id": id, "method": "initialize", "params": {"protocolVersion": "2024-11-05", "capabilities": {"sampling": {}, "roots": {}}}})
}

#[test]
fn each_connection_has_the_server_whose_turn_it_is() {
    let mut rig = Rig::new(3, None);
    (0..3).for_each(|i| rig.server_warms_up(i));
    for server in [0, 1, 2, 0] {
        assert_eq!(rig.connect(), server);
        rig.pass(seconds(TURN - 1));
        assert!(!rig.wants_turn());
        rig.pass(seconds(1));
        assert!(rig.wants_turn(), "nothing is under way");
        rig.link_down();
    }
}

#[test]
fn a_call_under_way_is_waited_for_and_its_answer_still_gets_through() {
    let mut rig = Rig::running(2);
    rig.endpoint(&call(1));
    rig.pass(seconds(TURN));
    assert!(!rig.wants_turn());
    rig.pass(GRACE + ABANDONED - QUIET);
    assert!(!rig.wants_turn(), "the cloud waits as well");
    rig.answer_all();
    assert_eq!(rig.said(), [json!({"jsonrpc": "2.0", "id": 1, "result": {"by": 0, "of": 1}})]);
    assert!(rig.wants_turn());
}

#[test]
fn a_call_that_is_never_answered_does_not_keep_the_turn_from_the_others() {
    let mut rig = Rig::running(2);
    rig.pass(seconds(TURN));
    rig.endpoint(&call(1));
    rig.pass(GRACE);
    rig.endpoint(&call(2));
    assert_eq!(rig.said()[0]["id"], 2, "it is refused");
    rig.pass(ABANDONED);
    assert_eq!((rig.wants_turn(), rig.turns.next_tick()), (true, None), "and nothing ticks until it is closed");
    rig.sink.servers.clear();
    rig.link_down();
    let cancelled = json!({"requestId": 2, "reason": "the endpoint's connection was lost"});
    assert_eq!((rig.sink.servers[0].0, &rig.sink.servers[0].1["params"]), (0, &cancelled));
    assert_eq!(rig.connect(), 1);
}

#[test]
fn a_request_that_waits_for_its_server_is_waited_for_as_well() {
    let mut rig = Rig::running(2);
    rig.server_down(0, 4);
    rig.endpoint(&call(1));
    rig.pass(seconds(6));
    assert!(!rig.wants_turn());
    rig.pass(seconds(3));
    assert_eq!(rig.said()[0]["error"]["code"], UNAVAILABLE);
    assert!(rig.wants_turn());
}

#[test]
fn after_a_grace_new_requests_are_refused_and_old_ones_finish() {
    let mut rig = Rig::running(2);
    rig.endpoint(&call(1));
    rig.pass(seconds(TURN));
    rig.endpoint(&call(2));
    rig.pass(GRACE);
    assert_eq!(rig.said(), Vec::<Value>::new());
    rig.endpoint(&call(3));
    rig.endpoint(&json!([call(4), {"method": "notifications/x"}, {"id": 5, "method": "ping"}]));
    rig.endpoint(&hello(6));
    let said = rig.said();
    let error = said[0]["error"]["message"].as_str().unwrap();
    assert!(
        said[0]["error"]["code"] == UNAVAILABLE && error.starts_with("the turn of server \"a\" is over"),
        "{error}"
    );
    let refused: Vec<_> = said.iter().map(|f| (f["id"].clone(), f["error"].is_object())).collect();
    assert_eq!(refused, [(json!(3), true), (json!(4), true), (json!(5), false), (json!(6), false)]);
    rig.answer_all();
    let said = rig.said();
    assert_eq!(said.iter().map(|f| f["result"]["of"].clone()).collect::<Vec<_>>(), [1, 2]);
    assert!(!rig.wants_turn(), "the endpoint has spoken just now");
    rig.pass(QUIET);
    assert!(rig.wants_turn());
}

#[test]
fn an_endpoint_that_never_pauses_is_left_once_all_it_asks_is_refused() {
    let mut rig = Rig::running(2);
    rig.pass(seconds(TURN - 1));
    let mut refused = 0;
    for id in 1..1000 {
        rig.pass(Duration::from_millis(100));
        rig.endpoint(&call(id));
        rig.answer_all();
        let said = rig.said();
        assert_eq!(said.len(), 1);
        refused += usize::from(said[0]["error"].is_object());
        if rig.wants_turn() {
            break;
        }
    }
    assert!(rig.wants_turn());
    assert!((40..60).contains(&refused), "{refused} in {INSISTING:?}");
}

#[test]
fn without_another_server_there_is_neither_a_switch_nor_a_timer() {
    let mut rig = Rig::running(1);
    rig.pass(seconds(TURN * 3));
    assert_eq!((rig.turns.next_tick(), rig.wants_turn()), (None, false));
    let mut rig = Rig::running(2);
    rig.server_down(1, 1);
    rig.pass(seconds(TURN * 3));
    assert_eq!((rig.turns.next_tick(), rig.wants_turn()), (None, false), "the other one is down");
    rig.server_warms_up(1);
    rig.pass(Duration::ZERO);
    assert!(rig.wants_turn(), "as soon as it is there");
    rig.server_down(1, 1);
    assert!(!rig.wants_turn(), "and no longer");
    rig.endpoint(&call(1));
    rig.answer_all();
    assert_eq!(rig.said()[0]["result"]["by"], 0);
    let mut rig = Rig::new(2, Some(1));
    (0..2).for_each(|i| rig.server_warms_up(i));
    assert_eq!(rig.connect(), 1);
    rig.pass(seconds(TURN * 3));
    assert_eq!((rig.turns.next_tick(), rig.wants_turn()), (None, false), "this one is pinned");
}

#[test]
fn servers_that_wait_for_their_turn_say_nothing_to_the_endpoint() {
    let mut rig = Rig::running(2);
    say(&mut rig.turns, 1, br#"{"method":"notifications/tools/list_changed"}"#, rig.now, &mut rig.sink);
    say(&mut rig.turns, 1, br#"{"id":"r","method":"roots/list"}"#, rig.now, &mut rig.sink);
    assert_eq!((rig.said(), rig.sink.servers.len()), (vec![], 0));
    rig.server_down(1, 1);
    rig.server_warms_up(1);
    assert_eq!(rig.said(), Vec::<Value>::new());
}

#[test]
fn endpoints_have_turns_of_their_own_over_the_same_servers() {
    let mut rig = Rig::running(2);
    let seats = [1, 0].map(|server| NewSeat {
        server,
        name: format!("s{server}").into(),
        sight: Sight::Alone(server),
        pin: false,
    });
    let others = rig.turns.join_in_turns(&NewPeer::unknown(1000), seats.into(), seconds(10), rig.now);
    let whole = rig.turns.join(NewPeer { sight: Some(Sight::Alone(1)), ..NewPeer::unknown(1000) });
    for peer in [others[0], whole] {
        rig.turns.on_link_up(peer, rig.now, &mut rig.sink);
        rig.turns.on_peer(peer, call(7).to_string().as_bytes(), rig.now, &mut rig.sink);
    }
    rig.endpoint(&call(7));
    rig.answer_all();
    let mut said: Vec<_> = std::mem::take(&mut rig.sink.endpoint);
    said.sort_by_key(|(peer, _)| *peer);
    let mut wanted = vec![(rig.peer, 0), (others[0], 1), (whole, 1)];
    wanted.sort_by_key(|(peer, _)| *peer);
    let by: Vec<_> = said.iter().map(|(peer, said)| (*peer, said["result"]["by"].as_u64().unwrap())).collect();
    assert_eq!(by, wanted);
    rig.pass(seconds(10));
    assert_eq!(rig.turns.wants_reconnect(others[0], rig.now), Some(Reconnect::Turn));
    assert_eq!((rig.wants_turn(), rig.turns.wants_reconnect(whole, rig.now)), (false, None));
    rig.turns.on_link_down(others[0], rig.now, &mut rig.sink);
    assert!(rig.turns.is_next(others[0], 0) && rig.turns.is_next(rig.peer, 0) && rig.turns.is_next(whole, 1));
    rig.turns.leave(others[0], rig.now, &mut rig.sink);
    rig.turns.on_link_up(others[0], rig.now, &mut rig.sink);
    rig.endpoint(&call(8));
    rig.answer_all();
    assert_eq!(rig.said()[0]["result"]["by"], 0);
}

#[test]
fn a_server_that_is_gone_for_good_has_no_turn_and_its_place_may_be_another_s() {
    let mut rig = Rig::running(3);
    rig.turns.remove_server(1, rig.now, &mut rig.sink);
    let spec = ServerSpec { max_frame: 1000, ..ServerSpec::sample("d", "", &[]) };
    assert_eq!(rig.turns.hub.add_server(&spec, None), 1);
    rig.server_warms_up(1);
    for server in [2, 0, 2] {
        rig.pass(seconds(TURN));
        assert!(rig.wants_turn());
        rig.link_down();
        assert_eq!(rig.connect(), server);
    }
    rig.turns.remove_server(2, rig.now, &mut rig.sink);
    rig.pass(seconds(1));
    assert!(rig.wants_turn(), "it has the turn, and is gone");
    rig.link_down();
    assert_eq!(rig.connect(), 0);
}

#[test]
fn a_server_that_crashed_is_passed_over_and_one_that_is_back_at_once_is_not() {
    let mut rig = Rig::running(3);
    rig.endpoint(&call(1));
    rig.server_down(0, 0);
    assert_eq!(rig.said()[0]["error"]["code"], UNAVAILABLE, "its calls are answered");
    rig.pass(seconds(1));
    rig.server_warms_up(0);
    rig.pass(seconds(10));
    assert!(!rig.wants_turn());
    rig.server_down(0, 60);
    rig.server_down(1, 60);
    rig.pass(Duration::ZERO);
    assert!(rig.wants_turn());
    rig.link_down();
    assert_eq!(rig.connect(), 2);
}

#[test]
fn without_a_connection_the_turn_changes_at_once() {
    let mut rig = Rig::new(2, None);
    rig.server_warms_up(1);
    let starts = |rig: &Rig| [0, 1].map(|server| rig.turns.is_next(rig.peer, server).then(|| rig.turns.start(server)));
    assert_eq!(starts(&rig), [Some(Start::Awaited), None], "the first one is given a moment");
    rig.pass(seconds(5));
    assert_eq!(starts(&rig), [None, Some(Start::Settled)]);
    assert_eq!(rig.connect(), 1);
    rig.server_warms_up(0);
    rig.link_down();
    assert_eq!(rig.connect(), 1, "its turn is not over");
    rig.link_down();
    rig.pass(seconds(TURN));
    assert_eq!(rig.connect(), 0);
    assert_eq!(rig.notes(), [(1, "its turn begins".into()), (0, "its turn begins".into())], "each once");
}

#[test]
fn a_person_can_skip_and_keep() {
    let mut rig = Rig::running(2);
    assert_eq!(rig.notes(), [(0, "its turn begins".into())], "the first of all, too");
    rig.pass(QUIET);
    rig.command(TurnCommand::Next);
    rig.pass(Duration::ZERO);
    assert!(rig.wants_turn());
    assert_eq!(rig.notes(), [(0, "its turn is over; b is next, as soon as nothing is under way".into())]);
    rig.command(TurnCommand::Keep);
    assert!(!rig.wants_turn());
    assert_eq!(rig.notes(), [(0, "is kept: its turn does not end".into()), (0, "its turn goes on".into())]);
    rig.pass(seconds(TURN));
    assert!(!rig.wants_turn());
    rig.command(TurnCommand::Keep);
    rig.link_down();
    assert_eq!(rig.connect(), 1);
    rig.notes();
    rig.server_down(0, 60);
    rig.command(TurnCommand::Next);
    assert_eq!(rig.notes(), [(1, "its turn goes on: no other server is ready".into())]);
}

#[test]
fn a_stop_lets_calls_finish_and_switches_no_more() {
    let mut rig = Rig::running(2);
    rig.endpoint(&call(1));
    rig.turns.drain(rig.now, &mut rig.sink);
    rig.pass(seconds(TURN));
    rig.answer_all();
    rig.endpoint(&call(2));
    let said = rig.said();
    assert_eq!((said[0]["result"]["by"].clone(), said.len()), (json!(0), 1));
    rig.turns.part(rig.peer, &mut rig.sink);
    assert_eq!(rig.said()[0]["error"]["message"], "mcp-pipe is shutting down or restarting its servers");
    assert_eq!((rig.turns.next_tick(), rig.wants_turn()), (None, false));
}

/// What can happen, in any order. A server is named by its index.
#[derive(Debug, Clone)]
enum Happening {
    LinkUp,
    LinkDown,
    ServerUp(usize),
    ServerDown(usize, u64),
    Hello,
    Call,
    /// A server answers its nth open request, perhaps twice.
    Answer(prop::sample::Index, bool),
    Ask(usize),
    Notify(usize),
    Command(TurnCommand),
    Pass(u64),
}

const SERVERS: usize = 3;

fn any_happening() -> impl Strategy<Value = Happening> {
    let times = prop_oneof![0..500u64, 0..20_000u64, Just(TURN * 1000)];
    prop_oneof![
        3 => Just(Happening::LinkUp),
        1 => Just(Happening::LinkDown),
        5 => (0..SERVERS).prop_map(Happening::ServerUp),
        2 => (0..SERVERS, 0..20u64).prop_map(|(s, retry)| Happening::ServerDown(s, retry)),
        3 => Just(Happening::Hello),
        8 => Just(Happening::Call),
        12 => (any::<prop::sample::Index>(), any::<bool>()).prop_map(|(i, twice)| Happening::Answer(i, twice)),
        1 => (0..SERVERS).prop_map(Happening::Ask),
        1 => (0..SERVERS).prop_map(Happening::Notify),
        1 => prop_oneof![
            3 => Just(TurnCommand::Next),
            1 => Just(TurnCommand::Keep),
            1 => (0..SERVERS).prop_map(TurnCommand::Pin),
            1 => (0..SERVERS).prop_map(TurnCommand::Unpin),
        ].prop_map(Happening::Command),
        4 => times.prop_map(Happening::Pass),
    ]
}

proptest! {
    #[test]
    fn every_request_gets_one_answer_from_the_server_whose_turn_it_is(
        // Whether the pipe looks at what the router wants only after later events.
        events in prop::collection::vec((any_happening(), prop::bool::weighted(0.3)), 1..200),
        pinned in prop::option::weighted(0.1, 0..SERVERS as u8),
    ) {
        let mut rig = Rig::new(SERVERS as u8, pinned);
        let mut alive = [false; SERVERS];
        // The server that has the connection, where there is one.
        let mut turn: Option<usize> = None;
        let mut next = 0u64; // ids start again on each connection
        let mut open: Vec<(u64, Instant)> = Vec::new(); // of this connection, unanswered; how long each is waited for
        let mut at_server: Vec<(usize, Value)> = Vec::new(); // of living processes, unanswered
        for (event, later) in events {
            match event {
                Happening::LinkUp if turn.is_none() => {
                    turn = Some(rig.current());
                    rig.link_up();
                    next = 0;
                }
                Happening::LinkDown if turn.is_some() => { rig.link_down(); turn = None; open.clear(); }
                Happening::ServerUp(s) if !alive[s] => { rig.server_up(s); alive[s] = true; }
                Happening::ServerDown(s, retry_in) if alive[s] => {
                    rig.server_down(s, retry_in);
                    alive[s] = false;
                    at_server.retain(|(of, _)| *of != s);
                }
                Happening::Hello if turn.is_some() => { rig.endpoint(&hello(next)); open.push((next, rig.now)); next += 1; }
                Happening::Call if turn.is_some() => { rig.endpoint(&call(next)); open.push((next, rig.now + ABANDONED)); next += 1; }
                Happening::Answer(i, twice) if !at_server.is_empty() => {
                    let (server, request) = at_server.swap_remove(i.index(at_server.len()));
                    (0..=usize::from(twice)).for_each(|_| rig.answer(server, &request));
                }
                Happening::Ask(s) if alive[s] => {
                    say(&mut rig.turns, s, br#"{"id":"s","method":"roots/list"}"#, rig.now, &mut rig.sink);
                }
                Happening::Notify(s) if alive[s] => {
                    let frame = json!({"method": "notifications/x", "params": {"by": s}}).to_string();
                    say(&mut rig.turns, s, frame.as_bytes(), rig.now, &mut rig.sink);
                }
                Happening::Command(command) => rig.command(command),
                Happening::Pass(ms) => rig.pass(Duration::from_millis(ms)),
                // What can't happen now.
                Happening::LinkUp
                | Happening::LinkDown
                | Happening::ServerUp(_)
                | Happening::ServerDown(..)
                | Happening::Hello
                | Happening::Call
                | Happening::Answer(..)
                | Happening::Ask(_)
                | Happening::Notify(_) => {}
            }
            for (server, frame) in std::mem::take(&mut rig.sink.servers) {
                prop_assert!(alive[server], "a dead server got {}", frame);
                if frame["method"] == "tools/call" {
                    prop_assert_eq!(Some(server), turn, "it is not its turn");
                }
                if frame["method"].is_string() && !frame["id"].is_null() {
                    at_server.push((server, frame));
                }
            }
            for f in rig.said() {
                prop_assert!(turn.is_some(), "a closed connection got {}", f);
                if f["method"] == "notifications/x" {
                    prop_assert_eq!(f["params"]["by"].as_u64(), turn.map(|t| t as u64));
                }
                if f["method"].is_string() {
                    continue;
                }
                let id = f["id"].as_u64().unwrap();
                let at = open.iter().position(|(o, _)| *o == id);
                prop_assert!(at.is_some(), "nobody asked for {}", f);
                open.swap_remove(at.unwrap());
                let result = &f["result"];
                if result.is_object() {
                    let by = if result["by"].is_u64() { &result["by"] } else { &result["serverInfo"]["name"] };
                    prop_assert_eq!(by.as_u64(), turn.map(|t| t as u64), "of another server: {}", f);
                    prop_assert!(result["of"].is_null() || result["of"] == id, "another call's answer: {}", f);
                }
            }
            if let Some(turn) = turn {
                prop_assert_eq!(rig.current(), turn, "switched under a standing connection");
            }
            if let (false, true, Some(before)) = (later, rig.wants_turn(), turn) {
                let cut = open.iter().find(|(_, until)| rig.now < *until);
                prop_assert_eq!(cut, None, "it is still waited for");
                open.clear();
                rig.link_down();
                turn = None;
                prop_assert_ne!(rig.current(), before, "a reconnect for nothing");
                prop_assert!(alive[rig.current()], "the next one was not ready");
            }
        }
        // In the end everything is answered, whatever became of the servers.
        if turn.is_some() {
            (0..SERVERS).filter(|s| alive[*s]).for_each(|s| rig.server_down(s, 2));
            rig.pass(seconds(60));
            let answered: Vec<u64> = rig.said().iter().filter_map(|f| f["id"].as_u64()).collect();
            for (id, _) in open {
                prop_assert_eq!(answered.iter().filter(|a| **a == id).count(), 1, "{}", id);
            }
        }
    }
}
