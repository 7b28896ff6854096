//! Servers of which each peer has a process of its own: processes that don't bear a second peer, peers that come and go.

use std::collections::BTreeMap;

use super::*;
use crate::config::{Instances, PerPeer};
use crate::router::Arrangement;

const IDLE: Duration = Duration::from_secs(600);
const SERVERS: usize = 2;

/// One process, as it sees us.
#[derive(Debug)]
struct Served {
    /// The server whose process it is.
    of: usize,
    stage: ServedStage,
    /// The peer that it has worked for.
    peer: Option<String>,
    /// Requests that have no answer yet: id and the peer's mark.
    open: Vec<(Value, String)>,
    follows: BTreeSet<String>,
    asked: u64,
    levels: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ServedStage {
    /// It is to be started.
    Due,
    Up,
    /// It is ending for good; another one may be due behind it.
    Ending {
        next: bool,
    },
    Gone,
}

impl Served {
    fn new(of: usize) -> Self {
        Served {
            of,
            stage: ServedStage::Due,
            peer: None,
            open: Vec::new(),
            follows: BTreeSet::new(),
            asked: 0,
            levels: Vec::new(),
        }
    }

    /// It works for this peer, and bears no other.
    fn works_for(&mut self, peer: &str) {
        let before = self.peer.get_or_insert_with(|| peer.to_owned());
        assert_eq!(before, peer, "a process of server {} sees a second peer", self.of);
    }
}

/// A client. Its name is in all that it says.
#[derive(Debug)]
struct Client {
    name: String,
    linked: bool,
    alone: Option<usize>,
    next: u64,
    /// The id of the last `initialize`, which can't be cancelled.
    greeting: u64,
    open: BTreeSet<u64>,
    answers: Vec<Value>,
    questions: Vec<Value>,
    heard: Vec<Value>,
}

#[derive(Debug)]
enum Said {
    ToPeer(PeerId, String),
    ToServer(ServerIndex, String),
    Arranged(ServerIndex, Arrangement),
    Restarted(ServerIndex),
}

#[derive(Debug, Default)]
struct Ear(Vec<Said>);

impl Out for Ear {
    fn to_peer(&mut self, peer: PeerId, pieces: &[&[u8]]) {
        self.0.push(Said::ToPeer(peer, String::from_utf8(pieces.concat()).unwrap()));
    }
    fn to_server(&mut self, server: ServerIndex, pieces: &[&[u8]]) {
        self.0.push(Said::ToServer(server, String::from_utf8(pieces.concat()).unwrap()));
    }
    fn remember(&mut self, _: ServerIndex, _: &Memory) {}
    fn remember_hello(&mut self, _: PeerId, _: &str) {}
    fn restart(&mut self, server: ServerIndex, _: &'static str) {
        self.0.push(Said::Restarted(server));
    }
    fn arrange(&mut self, server: ServerIndex, what: Arrangement) {
        self.0.push(Said::Arranged(server, what));
    }
    fn note(&mut self, _: Note<'_>) {}
}

struct World {
    hub: Hub,
    ear: Ear,
    now: Instant,
    most: usize,
    view: Sight,
    processes: BTreeMap<ServerIndex, Served>,
    clients: BTreeMap<PeerId, Client>,
    gone: BTreeSet<PeerId>,
    /// Answers come by [`World::answer`] only.
    slow: bool,
}

fn spec(name: &str, instances: Instances) -> ServerSpec {
    ServerSpec { instances, max_frame: 1 << 20, ..ServerSpec::sample(name, "", &[]) }
}

impl World {
    fn new(most: usize) -> Self {
        let (mut hub, mut ear, now) = (Hub::new(), Ear::default(), Instant::now());
        let instances = Instances::PerPeer(PerPeer { idle: IDLE, most });
        for n in 0..SERVERS {
            hub.add_server(&spec(&format!("s{n}"), instances), None);
        }
        let servers = (0..SERVERS).map(|server| (server, Arc::default())).collect();
        let show = Show { servers, sharing: Sharing::default(), max_list: 1 << 20, grows: false };
        let view = Sight::Merged(hub.add_view(show, now, &mut ear));
        let processes = (0..SERVERS).map(|n| (n, Served::new(n))).collect();
        let (clients, gone) = (BTreeMap::new(), BTreeSet::new());
        let mut world = World { hub, ear, now, most, view, processes, clients, gone, slow: false };
        (0..SERVERS).for_each(|server| world.up(server));
        world
    }

    /// The processes of a server that are there, or ending.
    fn of(&self, server: usize) -> Vec<ServerIndex> {
        let is_one = |(_, it): &(&ServerIndex, &Served)| it.of == server && it.stage != ServedStage::Gone;
        self.processes.iter().filter(is_one).map(|(index, _)| *index).collect()
    }

    fn join(&mut self, alone: Option<usize>) -> PeerId {
        let sight = Some(alone.map_or(self.view, Sight::Alone));
        let peer = self.hub.join(NewPeer { sight, ..NewPeer::unknown(1 << 20) });
        let name = format!("peer-{}.", self.clients.len() + self.gone.len());
        let client = Client {
            name,
            linked: false,
            alone,
            next: 0,
            greeting: 0,
            open: BTreeSet::new(),
            answers: Vec::new(),
            questions: Vec::new(),
            heard: Vec::new(),
        };
        self.clients.insert(peer, client);
        self.link(peer, true);
        peer
    }

    fn leave(&mut self, peer: PeerId) {
        self.hub.leave(peer, self.now, &mut self.ear);
        self.clients.remove(&peer);
        self.gone.insert(peer);
        self.settle();
    }

    fn link(&mut self, peer: PeerId, up: bool) {
        let client = self.clients.get_mut(&peer).unwrap();
        if client.linked == up {
            return;
        }
        client.linked = up;
        client.open.clear();
        client.questions.clear();
        let World { hub, now, ear, .. } = self;
        if !up {
            hub.on_link_down(peer, *now, ear);
            return self.settle();
        }
        hub.on_link_up(peer, *now, ear);
        let name = self.clients[&peer].name.clone();
        let params = json!({"protocolVersion": "2025-06-18", "capabilities": {"sampling": {}, "roots": {}}, "clientInfo": {"name": name, "version": "1"}});
        self.clients.get_mut(&peer).unwrap().greeting = self.clients[&peer].next + 1;
        self.ask(peer, "initialize", params);
        self.tell(peer, json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    }

    fn tell(&mut self, peer: PeerId, frame: Value) {
        self.hub.on_peer(peer, frame.to_string().as_bytes(), self.now, &mut self.ear);
        self.settle();
    }

    fn ask(&mut self, peer: PeerId, method: &str, params: Value) -> u64 {
        let client = self.clients.get_mut(&peer).unwrap();
        client.next += 1;
        let id = client.next;
        client.open.insert(id);
        self.tell(peer, json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        id
    }

    fn call(&mut self, peer: PeerId, server: usize) -> u64 {
        let server = self.clients[&peer].alone.unwrap_or(server);
        let name = self.clients[&peer].name.clone();
        self.ask(peer, "tools/call", json!({"name": format!("t{server}"), "arguments": {"of": name}}))
    }

    fn follow(&mut self, peer: PeerId, server: usize, follows: bool) -> u64 {
        let server = self.clients[&peer].alone.unwrap_or(server);
        let name = self.clients[&peer].name.clone();
        let method = if follows { "resources/subscribe" } else { "resources/unsubscribe" };
        self.ask(peer, method, json!({"uri": format!("mem:{server}"), "_meta": {"of": name}}))
    }

    /// A call, and its answer.
    fn called(&mut self, peer: PeerId, server: usize) -> Value {
        let id = self.call(peer, server);
        self.finish();
        self.answer_to(peer, id)
    }

    fn answer_to(&mut self, peer: PeerId, id: u64) -> Value {
        let answers = &mut self.clients.get_mut(&peer).unwrap().answers;
        let at = answers.iter().position(|answer| answer["id"] == id).unwrap_or_else(|| panic!("no answer to {id}"));
        answers.remove(at)
    }

    /// All processes that are due start, and all answer.
    fn finish(&mut self) {
        for _ in 0..20 {
            for (server, stage) in self.processes.iter().map(|(n, it)| (*n, it.stage)).collect::<Vec<_>>() {
                match stage {
                    ServedStage::Due => self.up(server),
                    ServedStage::Ending { .. } => self.end_of(server),
                    ServedStage::Up => while self.answer(server) {},
                    ServedStage::Gone => {}
                }
            }
        }
    }

    fn up(&mut self, server: ServerIndex) {
        self.processes.get_mut(&server).unwrap().stage = ServedStage::Up;
        self.hub.on_server_up(server, self.now, &mut self.ear);
        self.settle();
    }

    fn crash(&mut self, server: ServerIndex) {
        let it = self.processes.get_mut(&server).unwrap();
        *it = Served::new(it.of);
        let gone = Gone { why: "exited with code 1", retry_in: Duration::from_secs(1), by_command: false };
        self.hub.on_server_down(server, gone, self.now, &mut self.ear);
        self.settle();
    }

    /// A process that was ending is gone.
    fn end_of(&mut self, server: ServerIndex) {
        let it = self.processes.get_mut(&server).unwrap();
        let ServedStage::Ending { next } = it.stage else { return };
        *it = Served::new(it.of);
        if !next {
            it.stage = ServedStage::Gone;
            self.hub.remove_server(server, self.now, &mut self.ear);
        }
        self.settle();
    }

    fn says(&mut self, server: ServerIndex, message: &Value) {
        say(&mut self.hub, server, message.to_string().as_bytes(), self.now, &mut self.ear);
        self.settle();
    }

    /// A process gives the first answer that it owes. Returns whether it did.
    fn answer(&mut self, server: ServerIndex) -> bool {
        let it = self.processes.get_mut(&server).unwrap();
        if it.stage != ServedStage::Up || it.open.is_empty() {
            return false;
        }
        let (id, of) = it.open.remove(0);
        self.says(server, &json!({"jsonrpc": "2.0", "id": id, "result": {"of": of, "process": server}}));
        true
    }

    /// A process asks its client for something, which is as private as what it was told.
    fn question(&mut self, server: ServerIndex) {
        let it = self.processes.get_mut(&server).unwrap();
        it.asked += 1;
        let (id, of) = (it.asked, it.peer.clone().unwrap_or_default());
        self.says(
            server,
            &json!({"jsonrpc": "2.0", "id": id, "method": "sampling/createMessage", "params": {"of": of}}),
        );
    }

    fn log(&mut self, server: ServerIndex) {
        let of = self.processes[&server].peer.clone().unwrap_or_default();
        let params = json!({"level": "error", "data": of});
        self.says(server, &json!({"jsonrpc": "2.0", "method": "notifications/message", "params": params}));
    }

    fn update(&mut self, server: ServerIndex) {
        let it = &self.processes[&server];
        let (of, uri) = (it.peer.clone().unwrap_or_default(), format!("mem:{}", it.of));
        let params = json!({"uri": uri, "_meta": {"of": of}});
        self.says(server, &json!({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": params}));
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        for round in 0.. {
            if self.hub.next_tick().is_none_or(|at| at > self.now) {
                break;
            }
            assert!(round < 50, "ticks without end");
            self.hub.on_tick(self.now, &mut self.ear);
            self.settle();
        }
    }

    fn settle(&mut self) {
        loop {
            let said = std::mem::take(&mut self.ear.0);
            if said.is_empty() {
                break;
            }
            for said in said {
                match said {
                    Said::ToPeer(peer, frame) => self.hear(peer, &frame),
                    Said::ToServer(server, frame) => self.serve(server, &frame),
                    Said::Arranged(server, what) => self.arranged(server, what),
                    Said::Restarted(server) => self.crash(server),
                }
            }
        }
        for server in 0..SERVERS {
            assert!(self.of(server).len() <= self.most, "too many processes: {:?}", self.processes);
        }
    }

    fn arranged(&mut self, server: ServerIndex, what: Arrangement) {
        match (what, self.processes.get_mut(&server)) {
            (Arrangement::Start { first, .. }, None) => {
                let of = self.processes[&first].of;
                self.processes.insert(server, Served::new(of));
            }
            (Arrangement::Start { first, .. }, Some(it)) => {
                assert!(first < SERVERS);
                match &mut it.stage {
                    ServedStage::Ending { next } => *next = true,
                    ServedStage::Gone => *it = Served::new(first),
                    ServedStage::Due | ServedStage::Up => panic!("two processes in one place"),
                }
            }
            (Arrangement::Replace(_), Some(it)) => {
                assert!(server < SERVERS && it.stage == ServedStage::Up);
                *it = Served::new(it.of);
            }
            (Arrangement::End, Some(it)) => {
                assert!(server >= SERVERS, "a first process never ends for good");
                it.stage = ServedStage::Ending { next: false };
            }
            (Arrangement::Replace(_) | Arrangement::End, None) => panic!("there is no process {server}"),
        }
    }

    fn hear(&mut self, peer: PeerId, frame: &str) {
        let client =
            self.clients.get_mut(&peer).unwrap_or_else(|| panic!("nobody speaks to a peer that is gone: {frame}"));
        assert!(client.linked, "{frame}");
        for (at, _) in frame.match_indices("peer-") {
            assert!(frame[at..].starts_with(&*client.name), "{} hears {frame}", client.name);
        }
        let frame = parsed(frame);
        if frame["method"].is_null() {
            let id = frame["id"].as_u64().unwrap();
            assert!(client.open.remove(&id), "{} has not asked, or got an answer: {frame}", client.name);
            client.answers.push(frame);
        } else if frame["id"].is_null() {
            client.heard.push(frame);
        } else {
            client.questions.push(frame);
        }
    }

    fn serve(&mut self, server: ServerIndex, frame: &str) {
        let slow = self.slow;
        let it = self.processes.get_mut(&server).unwrap();
        if it.stage != ServedStage::Up {
            // The last words to a process that is ending.
            return;
        }
        if let Some(at) = frame.find("peer-").filter(|_| !frame.contains("\"initialize\"")) {
            let name = &frame[at..=at + frame[at..].find('.').unwrap()];
            it.works_for(name);
        }
        let (raw, frame, of) = (frame, parsed(frame), it.of);
        let (id, method) = (frame["id"].clone(), frame["method"].as_str().unwrap_or_default());
        if id.is_null() || method.is_empty() {
            return;
        }
        let result = match method {
            "initialize" => {
                json!({"protocolVersion": "2025-06-18", "capabilities": {"tools": {}, "logging": {}, "resources": {"subscribe": true}}, "serverInfo": {"name": "s", "version": "1"}})
            }
            list if list.ends_with("/list") && slow => return it.open.push((id, raw.to_owned())),
            "tools/list" => json!({"tools": [{"name": format!("t{of}"), "inputSchema": {"type": "object"}}]}),
            "resources/list" => json!({"resources": [{"uri": format!("mem:{of}"), "name": "mem"}]}),
            "resources/templates/list" => json!({"resourceTemplates": []}),
            "logging/setLevel" => {
                it.levels.push(frame["params"]["level"].as_str().unwrap().to_owned());
                json!({})
            }
            "resources/subscribe" | "resources/unsubscribe" => {
                let uri = frame["params"]["uri"].as_str().unwrap().to_owned();
                if method == "resources/subscribe" {
                    it.follows.insert(uri)
                } else {
                    it.follows.remove(&uri)
                };
                json!({})
            }
            "ping" => json!({}),
            "tools/call" => {
                let of = frame["params"]["arguments"]["of"].as_str().unwrap().to_owned();
                return it.open.push((id, of));
            }
            other => panic!("{other}"),
        };
        self.says(server, &json!({"jsonrpc": "2.0", "id": id, "result": result}));
    }

    /// A client answers the last question that it was asked.
    fn reply(&mut self, peer: PeerId) {
        let client = self.clients.get_mut(&peer).unwrap();
        let name = client.name.clone();
        if let Some(question) = client.questions.pop().filter(|_| client.linked) {
            self.tell(peer, json!({"jsonrpc": "2.0", "id": question["id"], "result": {"of": name}}));
        }
    }
}

/// Which process an answer is from.
fn process(answer: &Value) -> ServerIndex {
    let from = answer["result"]["process"].as_u64();
    usize::try_from(from.unwrap_or_else(|| panic!("{answer}"))).unwrap()
}

fn error(answer: &Value) -> &str {
    answer["error"]["message"].as_str().unwrap_or_else(|| panic!("no error: {answer}"))
}

#[test]
fn the_first_process_answers_for_all_and_works_for_the_first_peer_that_calls_and_each_other_one_gets_its_own() {
    let mut world = World::new(16);
    let (a, b, merged) = (world.join(Some(0)), world.join(Some(0)), world.join(None));
    for peer in [a, b, merged] {
        let id = world.ask(peer, "tools/list", json!({}));
        assert!(world.answer_to(peer, id)["result"]["tools"].is_array());
    }
    assert_eq!((world.of(0).len(), world.of(1).len()), (1, 1), "lists need no process");
    assert_eq!(process(&world.called(b, 0)), 0, "whoever calls first");
    let (of_a, of_merged) = (process(&world.called(a, 0)), process(&world.called(merged, 0)));
    assert!(of_a >= SERVERS && of_merged >= SERVERS && of_a != of_merged);
    assert_eq!(process(&world.called(merged, 1)), 1);
    for (peer, own) in [(a, of_a), (b, 0), (merged, of_merged)] {
        assert_eq!(process(&world.called(peer, 0)), own, "it stays so");
    }
    // A process says to its peer what it says to nobody in particular, and asks it.
    for (peer, own) in [(a, of_a), (b, 0), (merged, of_merged)] {
        world.log(own);
        world.question(own);
        let client = &world.clients[&peer];
        assert_eq!((client.heard.len(), client.questions.len()), (1, 1), "{}", client.name);
        world.reply(peer);
    }
    // A crash is one peer's alone, whose process comes again.
    let id = world.call(a, 0);
    world.crash(of_a);
    assert!(error(&world.answer_to(a, id)).contains("exited with code 1"));
    assert_eq!((process(&world.called(a, 0)), process(&world.called(b, 0))), (of_a, 0));
}

#[test]
fn with_one_peer_there_is_one_process() {
    let mut world = World::new(16);
    let a = world.join(Some(0));
    world.question(0);
    assert_eq!(world.clients[&a].questions.len(), 1, "its only peer, before any call");
    world.reply(a);
    world.tell(a, json!({"jsonrpc": "2.0", "method": "notifications/roots/list_changed", "params": {"of": "peer-0."}}));
    assert_eq!(process(&world.called(a, 0)), 0);
    world.pass(2 * IDLE);
    world.link(a, false);
    world.link(a, true);
    assert_eq!(process(&world.called(a, 0)), 0);
    assert_eq!(world.processes[&0].peer.as_deref(), Some("peer-0."), "the same process");
}

#[test]
fn what_a_process_leaves_to_nobody_is_replaced_before_another_peer_gets_it() {
    let mut world = World::new(1);
    let (a, b) = (world.join(Some(0)), world.join(Some(0)));
    world.called(a, 0);
    assert!(world.processes[&0].peer.is_some());
    world.leave(a);
    assert_eq!((world.processes[&0].stage, &world.processes[&0].peer), (ServedStage::Due, &None));
    // A call that comes meanwhile waits for it.
    let id = world.call(b, 0);
    world.finish();
    assert_eq!(process(&world.answer_to(b, id)), 0);
    // Where others wait for lists, these come first, but not for ever.
    let c = world.join(Some(0));
    for (waits, answers) in [(true, true), (true, false), (false, false)] {
        world.slow = waits;
        let id = world.ask(c, "tools/list", json!({}));
        let b = world.clients.keys().copied().find(|peer| *peer != c).unwrap();
        world.leave(b);
        assert_eq!(world.processes[&0].stage == ServedStage::Up, waits);
        if waits && answers {
            world.answer(0);
            assert!(!world.answer_to(c, id)["result"].is_null());
        } else if waits {
            world.pass(Duration::from_secs(6));
            assert!(error(&world.answer_to(c, id)).contains("started anew"));
        }
        assert_eq!(world.processes[&0].stage, ServedStage::Due, "{waits} {answers}");
        world.slow = false;
        world.finish();
        let d = world.join(Some(0));
        assert_eq!(process(&world.called(d, 0)), 0);
    }
}

#[test]
fn a_process_ends_when_it_is_idle_for_long_and_not_while_it_is_wanted() {
    let mut world = World::new(16);
    let (a, b) = (world.join(Some(0)), world.join(Some(0)));
    world.called(a, 0);
    let own = process(&world.called(b, 0));
    let is_there = |world: &World| world.processes[&own].stage == ServedStage::Up;
    // A call keeps it, however long it takes, and its answer counts.
    let id = world.call(b, 0);
    for _ in 0..4 {
        world.pass(IDLE * 2 / 3);
    }
    assert!(is_there(&world));
    world.answer(own);
    world.answer_to(b, id);
    world.pass(IDLE * 2 / 3);
    assert!(is_there(&world));
    world.follow(b, 0, true);
    (0..3).for_each(|_| world.pass(IDLE));
    assert!(is_there(&world), "a subscription keeps it");
    world.update(own);
    assert_eq!(world.clients[&b].heard.len(), 1);
    world.follow(b, 0, false);
    world.pass(IDLE);
    assert!(!is_there(&world), "{:?}", world.processes);
    // The next call has another one.
    world.finish();
    let again = process(&world.called(b, 0));
    assert!(world.processes[&again].peer.is_some());
    // A connection that is lost takes its subscriptions along.
    world.follow(b, 0, true);
    world.pass(3 * IDLE);
    world.link(b, false);
    world.pass(IDLE / 2);
    assert_eq!(world.processes[&again].stage, ServedStage::Up, "it may be back soon");
    world.pass(IDLE);
    world.finish();
    assert_eq!(world.of(0), [0]);
    assert_eq!(world.processes[&0].peer.as_deref(), Some("peer-0."), "the first one stays for its peer");
}

#[test]
fn beyond_the_most_the_longest_idle_makes_room_or_else_the_call_gets_an_error() {
    let mut world = World::new(3);
    let peers: Vec<PeerId> = (0..4).map(|_| world.join(Some(0))).collect();
    let ids: Vec<u64> = peers[..3].iter().map(|peer| world.call(*peer, 0)).collect();
    let refused = world.call(peers[3], 0);
    let said = world.answer_to(peers[3], refused);
    assert!(error(&said).contains("server \"s0\"") && error(&said).contains("3 clients"), "{said}");
    assert!(error(&said).contains("maxInstances"), "{said}");
    world.finish();
    let owned: Vec<ServerIndex> =
        peers[..3].iter().zip(ids).map(|(peer, id)| process(&world.answer_to(*peer, id))).collect();
    // The second is idle for the longest time.
    for at in [1, 0, 2] {
        world.pass(Duration::from_secs(1));
        world.called(peers[at], 0);
    }
    assert_eq!(process(&world.called(peers[3], 0)), owned[1]);
    // Then the first, whose process is the first of all: it is replaced.
    assert_eq!(process(&world.called(peers[1], 0)), 0);
    assert_eq!(world.of(0).len(), 3);
    // One that follows something is not idle.
    world.follow(peers[2], 0, true);
    world.pass(Duration::from_secs(1));
    world.called(peers[1], 0);
    assert_eq!(process(&world.called(peers[0], 0)), owned[1]);
}

#[test]
fn a_server_that_is_stopped_or_hopeless_starts_no_process() {
    let mut world = World::new(16);
    let (a, b) = (world.join(Some(0)), world.join(Some(0)));
    world.called(a, 0);
    for bar in [Bar::Paused, Bar::Stopped] {
        world.hub.on_server_barred(0, Some(bar), world.now, &mut world.ear);
        let said = world.called(b, 0);
        assert_eq!(error(&said), bar.words("s0"));
    }
    world.hub.on_server_barred(0, None, world.now, &mut world.ear);
    world.processes.insert(0, Served::new(0));
    let gone = Gone { why: "exited with code 1", retry_in: Duration::from_secs(60), by_command: false };
    world.hub.on_server_down(0, gone, world.now, &mut world.ear);
    let id = world.call(b, 0);
    assert!(error(&world.answer_to(b, id)).contains("next start in 60.0 s"));
    assert_eq!(world.of(0), [0]);
}

#[test]
fn a_level_starts_no_process_and_each_process_is_told_its_own_peers() {
    let mut world = World::new(16);
    let (a, b) = (world.join(Some(0)), world.join(Some(0)));
    for (peer, level) in [(a, "error"), (b, "debug")] {
        let id = world.ask(peer, "logging/setLevel", json!({"level": level}));
        assert_eq!(world.answer_to(peer, id)["result"], json!({}));
    }
    assert_eq!((world.of(0), &*world.processes[&0].levels), (vec![0], &[][..]));
    let (of_a, of_b) = (process(&world.called(a, 0)), process(&world.called(b, 0)));
    let last = |world: &World, server| world.processes[&server].levels.last().cloned();
    assert_eq!((last(&world, of_a).as_deref(), last(&world, of_b).as_deref()), (Some("error"), Some("debug")));
    let id = world.ask(b, "logging/setLevel", json!({"level": "info"}));
    world.answer_to(b, id);
    assert_eq!((last(&world, of_a).as_deref(), last(&world, of_b).as_deref()), (Some("error"), Some("info")));
}

#[test]
fn a_config_that_says_otherwise_ends_and_replaces_what_peers_have_used() {
    let mut world = World::new(16);
    let (a, b) = (world.join(Some(0)), world.join(Some(0)));
    world.called(a, 0);
    let own = process(&world.called(b, 0));
    let lost = world.call(b, 0);
    world.hub.change_server(0, &spec("s0", Instances::Shared), world.now, &mut world.ear);
    world.settle();
    assert!(error(&world.answer_to(b, lost)).contains("has ended"));
    assert_eq!(world.processes[&own].stage, ServedStage::Ending { next: false });
    assert_eq!(world.processes[&0].stage, ServedStage::Due);
    world.finish();
    assert_eq!((world.of(0), process(&world.called(a, 0))), (vec![0], 0));
    let instances = Instances::PerPeer(PerPeer { idle: IDLE, most: 2 });
    world.hub.change_server(0, &spec("s0", instances), world.now, &mut world.ear);
    world.settle();
    assert_eq!(process(&world.called(b, 0)), 0, "another process, the first peer's that calls");
    assert!(process(&world.called(a, 0)) >= SERVERS);
}

#[test]
fn a_peer_that_sees_a_server_no_more_gets_what_it_asked_and_loses_its_process_then() {
    let mut world = World::new(16);
    let (a, b) = (world.join(Some(0)), world.join(Some(0)));
    world.called(a, 0);
    let own = process(&world.called(b, 0));
    let (at_first, further) = (world.call(a, 0), world.call(b, 0));
    for peer in [a, b] {
        world.hub.change_sight(peer, Sight::Alone(1), world.now, &mut world.ear);
        world.settle();
        world.clients.get_mut(&peer).unwrap().alone = Some(1);
    }
    assert_eq!((world.processes[&0].stage, world.processes[&own].stage), (ServedStage::Up, ServedStage::Up));
    world.answer(0);
    world.answer(own);
    assert_eq!((process(&world.answer_to(a, at_first)), process(&world.answer_to(b, further))), (0, own));
    assert_eq!(world.processes[&0].stage, ServedStage::Due, "replaced");
    assert_eq!(world.processes[&own].stage, ServedStage::Ending { next: false });
}

#[derive(Debug, Clone)]
enum Happening {
    Join(Option<usize>),
    Leave(usize),
    Link(usize, bool),
    Call(usize, usize),
    Cancel(usize),
    List(usize),
    Follow(usize, usize, bool),
    Level(usize),
    Reply(usize),
    Look(usize, Option<usize>),
    Answer(usize),
    Question(usize),
    Log(usize),
    Update(usize),
    Up(usize),
    Crash(usize),
    Gone(usize),
    Pass(u64),
}

fn any_process_happening() -> impl Strategy<Value = Happening> {
    use self::Happening::*;
    let (p, s, n) = (0..8usize, 0..SERVERS, 0..12usize);
    prop_oneof![
        3 => prop::option::of(s.clone()).prop_map(Join),
        2 => p.clone().prop_map(Leave),
        2 => (p.clone(), any::<bool>()).prop_map(|(p, up)| Link(p, up)),
        8 => (p.clone(), s.clone()).prop_map(|(p, s)| Call(p, s)),
        1 => p.clone().prop_map(Cancel),
        2 => p.clone().prop_map(List),
        2 => (p.clone(), s.clone(), any::<bool>()).prop_map(|(p, s, f)| Follow(p, s, f)),
        1 => p.clone().prop_map(Level),
        2 => p.clone().prop_map(Reply),
        1 => (p, prop::option::of(s)).prop_map(|(p, s)| Look(p, s)),
        6 => n.clone().prop_map(Answer),
        2 => n.clone().prop_map(Question),
        2 => n.clone().prop_map(Log),
        2 => n.clone().prop_map(Update),
        5 => n.clone().prop_map(Up),
        1 => n.clone().prop_map(Crash),
        3 => n.prop_map(Gone),
        2 => prop_oneof![Just(0u64), Just(1), Just(3), Just(700)].prop_map(Pass),
    ]
}

impl World {
    fn nth_client(&self, n: usize, linked: bool) -> Option<PeerId> {
        let all: Vec<_> = self.clients.iter().filter(|(_, it)| !linked || it.linked).map(|(key, _)| *key).collect();
        all.get(n % all.len().max(1)).copied()
    }

    fn nth_process(&self, n: usize, is: impl Fn(ServedStage) -> bool) -> Option<ServerIndex> {
        let all: Vec<_> = self.processes.iter().filter(|(_, it)| is(it.stage)).map(|(index, _)| *index).collect();
        all.get(n % all.len().max(1)).copied()
    }

    fn happen(&mut self, what: &Happening) {
        use self::Happening::*;
        let is_up = |stage| stage == ServedStage::Up;
        match *what {
            Join(alone) if self.clients.len() < 8 => {
                self.join(alone);
            }
            Join(_) => {}
            Leave(n) => self.nth_client(n, false).into_iter().for_each(|peer| self.leave(peer)),
            Link(n, up) => self.nth_client(n, false).into_iter().for_each(|peer| self.link(peer, up)),
            Call(n, server) => self.nth_client(n, true).into_iter().for_each(|peer| {
                self.call(peer, server);
            }),
            Cancel(n) => {
                let Some(peer) = self.nth_client(n, true) else { return };
                let client = self.clients.get_mut(&peer).unwrap();
                if let Some(id) = client.open.last().copied().filter(|id| *id != client.greeting) {
                    let name = client.name.clone();
                    client.open.remove(&id);
                    let params = json!({"requestId": id, "_meta": {"of": name}});
                    self.tell(peer, json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}));
                }
            }
            List(n) => self.nth_client(n, true).into_iter().for_each(|peer| {
                self.ask(peer, "tools/list", json!({}));
            }),
            Follow(n, s, follows) => self.nth_client(n, true).into_iter().for_each(|peer| {
                self.follow(peer, s, follows);
            }),
            Level(n) => {
                if let Some(peer) = self.nth_client(n, true) {
                    self.ask(peer, "logging/setLevel", json!({"level": "info"}));
                }
            }
            Reply(n) => self.nth_client(n, true).into_iter().for_each(|peer| {
                self.reply(peer);
            }),
            Look(n, alone) => {
                let Some(peer) = self.nth_client(n, false) else { return };
                let sight = alone.map_or(self.view, Sight::Alone);
                self.hub.change_sight(peer, sight, self.now, &mut self.ear);
                self.clients.get_mut(&peer).unwrap().alone = alone;
                self.settle();
            }
            Answer(n) => self.nth_process(n, is_up).into_iter().for_each(|server| {
                self.answer(server);
            }),
            Question(n) => self.nth_process(n, is_up).into_iter().for_each(|server| {
                self.question(server);
            }),
            Log(n) => self.nth_process(n, is_up).into_iter().for_each(|server| {
                self.log(server);
            }),
            Update(n) => self.nth_process(n, is_up).into_iter().for_each(|server| {
                self.update(server);
            }),
            Up(n) => {
                if let Some(server) = self.nth_process(n, |stage| stage == ServedStage::Due) {
                    self.up(server);
                }
            }
            Crash(n) => self.nth_process(n, is_up).into_iter().for_each(|server| {
                self.crash(server);
            }),
            Gone(n) => {
                let is_ending = |stage| matches!(stage, ServedStage::Ending { .. });
                if let Some(server) = self.nth_process(n, is_ending) {
                    self.end_of(server);
                }
            }
            Pass(seconds) => self.pass(Duration::from_secs(seconds)),
        }
    }
}

#[test]
fn a_peer_that_the_first_process_asks_beside_its_own_leaves_none_behind() {
    use self::Happening::*;

    let mut world = World::new(2);
    let events = [
        Join(None),
        Question(7),
        Look(0, Some(0)),
        Join(Some(1)),
        Call(5, 0),
        Leave(6),
        Up(0),
        Crash(0),
        Answer(0),
        Question(0),
    ];
    events.iter().for_each(|event| world.happen(event));
    world.finish();
    (0..20).for_each(|_| world.pass(Duration::from_secs(5)));
    for peer in world.clients.keys().copied().collect::<Vec<_>>() {
        world.leave(peer);
    }
    world.finish();
    assert_eq!((world.of(1), &world.processes[&1].peer), (vec![1], &None));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn no_process_sees_a_second_peer_whoever_comes_and_goes_and_each_request_has_one_answer(
        most in 1..4usize,
        events in prop::collection::vec(any_process_happening(), 1..200),
    ) {
        let mut world = World::new(most);
        for event in &events {
            world.happen(event);
        }
        // All that is open is answered: by a process, or by an error after a while.
        world.finish();
        (0..20).for_each(|_| world.pass(Duration::from_secs(5)));
        world.finish();
        for client in world.clients.values() {
            prop_assert!(client.open.is_empty(), "{client:?}");
        }
        // A peer that is let in at last is served, if there is room.
        for peer in world.clients.keys().copied().collect::<Vec<_>>() {
            world.leave(peer);
        }
        world.finish();
        for server in 0..SERVERS {
            prop_assert_eq!(world.of(server), [server]);
            prop_assert_eq!(&world.processes[&server].peer, &None);
            let last = world.join(Some(server));
            prop_assert_eq!(process(&world.called(last, server)), server);
        }
    }
}
