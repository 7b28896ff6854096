//! Servers that run as several processes: peers that come and go, and processes that die and come back.

use std::collections::BTreeMap;

use super::ear::Ear;
use super::*;
use crate::config::{Instances, Replicas};
use crate::router::Arrangement;

type UnderWay = Vec<(Value, u64)>;

/// One server of several processes, which answer handshakes and lists by themselves and keep calls.
struct World {
    hub: Hub,
    ear: Ear,
    now: Instant,
    sights: [Sight; 2],
    /// The processes that are there: whether each is up, and the calls that it has under way, by our id and the caller's mark.
    processes: BTreeMap<ServerIndex, (bool, UnderWay)>,
    /// The calls that have no answer yet, each with its peer.
    open: BTreeMap<u64, PeerId>,
    answers: BTreeMap<u64, Value>,
    next: u64,
}

fn spec(number: usize, sticky: bool) -> ServerSpec {
    let instances = Instances::Replicas(Replicas { number, sticky });
    ServerSpec { instances, start_timeout: Duration::from_secs(60), ..ServerSpec::sample("calc", "", &[]) }
}

impl World {
    fn new(number: usize, sticky: bool) -> Self {
        let (mut hub, mut ear, now) = (Hub::new(), Ear::default(), Instant::now());
        let first = hub.add_server(&spec(number, sticky), None);
        let show = Show {
            servers: vec![(first, Arc::default())],
            sharing: Sharing::default(),
            max_list: 1 << 20,
            grows: true,
        };
        let view = Sight::Merged(hub.add_view(show, now, &mut ear));
        let mut world = World {
            hub,
            ear,
            now,
            sights: [view, Sight::Alone(first)],
            processes: [(first, (false, Vec::new()))].into(),
            open: BTreeMap::new(),
            answers: BTreeMap::new(),
            next: 0,
        };
        world.up(first);
        world.start_all();
        world
    }

    fn start_all(&mut self) {
        let down: Vec<_> = self.processes.iter().filter(|(_, (up, _))| !up).map(|(server, _)| *server).collect();
        down.into_iter().for_each(|server| self.up(server));
    }

    fn settle(&mut self) {
        loop {
            for (server, what) in std::mem::take(&mut self.ear.arranged) {
                match what {
                    Arrangement::Start { first: 0, peer: None } => {
                        self.processes.insert(server, (false, Vec::new()));
                    }
                    Arrangement::End => {
                        self.processes.remove(&server);
                        self.hub.remove_server(server, self.now, &mut self.ear);
                    }
                    other @ (Arrangement::Start { .. } | Arrangement::Replace(_)) => panic!("{other:?}"),
                }
            }
            for (peer, frame) in std::mem::take(&mut self.ear.peers) {
                let Some(id) = frame["id"].as_u64() else { continue };
                assert_eq!(self.open.remove(&id), Some(peer), "answered twice, or to another: {frame}");
                self.answers.insert(id, frame);
            }
            let said = std::mem::take(&mut self.ear.servers);
            if said.is_empty() && self.ear.arranged.is_empty() {
                break;
            }
            for (server, frame) in said {
                let (id, process) = (frame["id"].clone(), self.processes.get_mut(&server));
                let (_, calls) = process.unwrap_or_else(|| panic!("{server} is not there, and is told {frame}"));
                let result = match frame["method"].as_str() {
                    Some("initialize") => {
                        json!({"protocolVersion": "2025-06-18", "capabilities": {"tools": {}, "logging": {}}, "serverInfo": {"name": "s", "version": "1"}})
                    }
                    Some("tools/list") => json!({"tools": [{"name": "add", "inputSchema": {"type": "object"}}]}),
                    Some("tools/call") => {
                        calls.push((id, frame["params"]["arguments"]["mark"].as_u64().unwrap()));
                        continue;
                    }
                    Some("logging/setLevel") => json!({}),
                    _ => continue,
                };
                let frame = json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string();
                say(&mut self.hub, server, frame.as_bytes(), self.now, &mut self.ear);
            }
        }
    }

    fn join(&mut self, sight: usize) -> PeerId {
        let peer = self.hub.join(NewPeer { sight: Some(self.sights[sight]), ..NewPeer::unknown(1 << 20) });
        self.hub.on_link_up(peer, self.now, &mut self.ear);
        let params =
            json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}});
        self.tell(peer, json!({"jsonrpc": "2.0", "id": "hello", "method": "initialize", "params": params}));
        self.tell(peer, json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        peer
    }

    fn leave(&mut self, peer: PeerId) {
        self.open.retain(|_, of| *of != peer);
        self.hub.leave(peer, self.now, &mut self.ear);
        self.settle();
    }

    fn tell(&mut self, peer: PeerId, frame: Value) {
        self.hub.on_peer(peer, frame.to_string().as_bytes(), self.now, &mut self.ear);
        self.settle();
    }

    fn call(&mut self, peer: PeerId) -> u64 {
        self.next += 1;
        self.open.insert(self.next, peer);
        let params = json!({"name": "add", "arguments": {"mark": self.next}});
        self.tell(peer, json!({"jsonrpc": "2.0", "id": self.next, "method": "tools/call", "params": params}));
        self.next
    }

    /// Where a call is under way.
    fn place_of(&self, mark: u64) -> Option<ServerIndex> {
        let has = |(_, (_, calls)): &(&ServerIndex, &(bool, UnderWay))| calls.iter().any(|(_, of)| *of == mark);
        self.processes.iter().find(has).map(|(server, _)| *server)
    }

    fn answer(&mut self, server: ServerIndex) {
        let Some((_, calls)) = self.processes.get_mut(&server) else { return };
        if calls.is_empty() {
            return;
        }
        let (id, mark) = calls.remove(0);
        let frame = json!({"jsonrpc": "2.0", "id": id, "result": {"content": [], "mark": mark}}).to_string();
        say(&mut self.hub, server, frame.as_bytes(), self.now, &mut self.ear);
        self.settle();
    }

    fn up(&mut self, server: ServerIndex) {
        self.processes.get_mut(&server).unwrap().0 = true;
        self.hub.on_server_up(server, self.now, &mut self.ear);
        self.settle();
    }

    /// A process dies. Returns the calls that were under way there.
    fn crash(&mut self, server: ServerIndex) -> Vec<u64> {
        let (up, calls) = self.processes.get_mut(&server).unwrap();
        *up = false;
        let lost = std::mem::take(calls).into_iter().map(|(_, mark)| mark).collect();
        let gone = Gone { why: "was killed by signal 9", retry_in: Duration::from_millis(200), by_command: false };
        self.hub.on_server_down(server, gone, self.now, &mut self.ear);
        self.settle();
        lost
    }

    fn places(&self) -> Vec<ServerIndex> {
        self.processes.keys().copied().collect()
    }
}

#[tokio::test(start_paused = true)]
async fn calls_go_to_the_process_with_the_least_under_way_and_a_death_costs_only_its_own() {
    for sight in 0..2 {
        let mut world = World::new(3, false);
        assert_eq!(world.places().len(), 3);
        let peer = world.join(sight);
        let calls: Vec<u64> = (0..6).map(|_| world.call(peer)).collect();
        let loads: Vec<usize> = world.processes.values().map(|(_, calls)| calls.len()).collect();
        assert_eq!(loads, [2, 2, 2]);
        for dies in world.places() {
            let lost = world.crash(dies);
            for mark in &lost {
                assert!(
                    world.answers[mark]["error"]["message"]
                        .as_str()
                        .unwrap()
                        .starts_with("not answered: server \"calc\" was")
                );
            }
            let mark = world.call(peer);
            assert_ne!(world.place_of(mark).unwrap(), dies, "the others go on");
            world.up(dies);
            for server in world.places() {
                while !world.processes[&server].1.is_empty() {
                    world.answer(server);
                }
            }
            assert!(world.answers[&mark]["result"].is_object());
            (0..6).for_each(|_| _ = world.call(peer));
        }
        assert!(calls.iter().all(|mark| world.answers.contains_key(mark)));
    }
}

#[tokio::test(start_paused = true)]
async fn calls_wait_while_none_is_there_and_go_to_whichever_comes_first() {
    let mut world = World::new(2, false);
    let peer = world.join(0);
    let places = world.places();
    places.iter().for_each(|server| drop(world.crash(*server)));
    let marks: Vec<u64> = (0..3).map(|_| world.call(peer)).collect();
    assert!(marks.iter().all(|mark| world.place_of(*mark).is_none() && !world.answers.contains_key(mark)));
    world.up(places[1]);
    assert!(marks.iter().all(|mark| world.place_of(*mark) == Some(places[1])));
}

#[tokio::test(start_paused = true)]
async fn another_number_starts_and_ends_processes_and_the_level_of_the_log_reaches_all() {
    let mut world = World::new(2, false);
    let peer = world.join(1);
    world.hub.change_server(0, &spec(4, false), world.now, &mut world.ear);
    world.settle();
    world.start_all();
    assert_eq!(world.places().len(), 4);
    world.hub.on_peer(
        peer,
        br#"{"jsonrpc":"2.0","id":"l","method":"logging/setLevel","params":{"level":"error"}}"#,
        world.now,
        &mut world.ear,
    );
    let told = world.ear.servers.iter().filter(|(_, frame)| frame["method"] == "logging/setLevel").count();
    assert_eq!(told, 4);
    world.settle();
    let marks: Vec<u64> = (0..4).map(|_| world.call(peer)).collect();
    world.hub.change_server(
        0,
        &ServerSpec { instances: Instances::Shared, ..spec(2, false) },
        world.now,
        &mut world.ear,
    );
    world.settle();
    assert_eq!(world.places(), [0]);
    world.answer(0);
    assert!(marks.iter().all(|mark| world.answers.contains_key(mark)), "{:?}", world.answers);
}

#[tokio::test(start_paused = true)]
async fn a_peer_keeps_its_process_where_another_number_leaves_that_running() {
    let mut world = World::new(3, true);
    let peers: Vec<PeerId> = (0..6).map(|n| world.join(n % 2)).collect();
    let served_by = |world: &mut World, peer: &PeerId| {
        let mark = world.call(*peer);
        let place = world.place_of(mark).unwrap();
        world.answer(place);
        place
    };
    let mut seats: Vec<ServerIndex> = peers.iter().map(|peer| served_by(&mut world, peer)).collect();
    for number in [4, 3, 2] {
        world.hub.change_server(0, &spec(number, true), world.now, &mut world.ear);
        world.settle();
        world.start_all();
        let there = world.places();
        assert_eq!(there.len(), number);
        for (peer, seat) in peers.iter().zip(&mut seats) {
            let before = std::mem::replace(seat, served_by(&mut world, peer));
            assert!(before == *seat || !there.contains(&before), "{number}: from {before} to {seat}");
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Join(usize),
    Leave(usize),
    Call(usize),
    Answer(usize),
    Crash(usize),
    Up(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (0..2_usize).prop_map(Step::Join),
        1 => (0..8_usize).prop_map(Step::Leave),
        8 => (0..8_usize).prop_map(Step::Call),
        6 => (0..8_usize).prop_map(Step::Answer),
        1 => (0..8_usize).prop_map(Step::Crash),
        2 => (0..8_usize).prop_map(Step::Up),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn each_call_gets_one_answer_and_a_peer_keeps_its_process_while_that_lives(
        steps in proptest::collection::vec(step(), 1..120),
        number in 2..5_usize,
        sticky in any::<bool>(),
    ) {
        let mut world = World::new(number, sticky);
        let mut peers = vec![world.join(0), world.join(1)];
        // Where each peer was served last, and whether that process has died since.
        let mut seats: BTreeMap<PeerId, ServerIndex> = BTreeMap::new();
        let mut lost = BTreeSet::new();
        for step in steps {
            match step {
                Step::Join(sight) if peers.len() < 6 => peers.push(world.join(sight)),
                Step::Leave(at) if peers.len() > 1 => {
                    let peer = peers.remove(at % peers.len());
                    seats.remove(&peer);
                    world.leave(peer);
                }
                Step::Call(at) => {
                    let peer = peers[at % peers.len()];
                    let mark = world.call(peer);
                    let any = world.processes.values().any(|(up, _)| *up);
                    let place = world.place_of(mark);
                    prop_assert_eq!(place.is_some(), any, "a process that is there takes it");
                    if let Some(place) = place {
                        prop_assert!(world.processes[&place].0);
                        if sticky && let Some(seat) = seats.insert(peer, place) {
                            prop_assert_eq!(seat, place);
                        }
                    }
                }
                Step::Answer(at) => {
                    let places = world.places();
                    world.answer(places[at % places.len()]);
                }
                Step::Crash(at) => {
                    let places = world.places();
                    let dies = places[at % places.len()];
                    if world.processes[&dies].0 {
                        lost.extend(world.crash(dies));
                        seats.retain(|_, seat| *seat != dies);
                    }
                }
                Step::Up(at) => {
                    let places = world.places();
                    let comes = places[at % places.len()];
                    if !world.processes[&comes].0 {
                        // What waited is served there, or by another that came before.
                        world.up(comes);
                        if sticky {
                            let waited = world.processes[&comes].1.iter().filter_map(|(_, mark)| world.open.get(mark).copied());
                            seats.extend(waited.map(|peer| (peer, comes)).collect::<Vec<_>>());
                        }
                    }
                }
                Step::Join(_) | Step::Leave(_) => {}
            }
        }
        world.start_all();
        for _ in 0..500 {
            world.places().into_iter().for_each(|server| world.answer(server));
        }
        prop_assert!(world.open.is_empty(), "without an answer: {:?}", world.open);
        for (mark, answer) in &world.answers {
            prop_assert_eq!(answer["error"].is_object(), lost.contains(mark), "{}", answer);
        }
    }
}
