//! Calls that do not go where they are meant to go: circuits that are open, fallbacks, and answers that are given again; to peers that see
//! a server alone and to those that see several as one.

use super::ear::Ear;
use super::*;
use crate::catalogue::Lists;
use crate::config::{Bounds, BreakerSpec, CacheSpec};

const SECOND: Duration = Duration::from_secs(1);

/// `main` with `add` and `get_it`, and `backup` with `add` and `secret`; the calls that each has under way.
struct World {
    hub: Hub,
    ear: Ear,
    now: Instant,
    sights: [Sight; 2],
    calls: [Vec<(Value, Value)>; 2],
    /// Servers that read what they are sent and say nothing.
    hangs: [bool; 2],
    next: u64,
}

const MAIN: ServerIndex = 0;
const BACKUP: ServerIndex = 1;

fn bounded(name: &str, bounds: Bounds) -> ServerSpec {
    ServerSpec { bounds, start_timeout: 60 * SECOND, ..ServerSpec::sample(name, "", &[]) }
}

impl World {
    fn new(bounds: Bounds) -> Self {
        let mut world = World::unstarted(bounds, None);
        world.up(MAIN);
        world.up(BACKUP);
        world
    }

    /// Nothing runs yet. `memory`: what an earlier run remembered of `main`.
    fn unstarted(bounds: Bounds, memory: Option<Memory>) -> Self {
        let (mut hub, mut ear, now) = (Hub::new(), Ear::default(), Instant::now());
        let has_fallback = bounds.fallback.is_some();
        hub.add_server(&bounded("main", bounds), memory);
        hub.add_server(&bounded("backup", Bounds { stands_in: has_fallback, ..Bounds::default() }), None);
        let policy = ToolPolicy { timeout: Some(2 * SECOND), ..ToolPolicy::default() };
        let servers = vec![(MAIN, Arc::new(policy))];
        let show = Show { servers, sharing: Sharing::default(), max_list: 1 << 20, grows: false };
        let view = Sight::Merged(hub.add_view(show, now, &mut ear));
        let sights = [view, Sight::Alone(MAIN)];
        World { hub, ear, now, sights, calls: Default::default(), hangs: [false; 2], next: 0 }
    }

    fn fallback() -> Self {
        World::new(Bounds { fallback: Some("backup".into()), ..Bounds::default() })
    }

    fn join(&mut self, sight: Sight) -> PeerId {
        let peer = self.hub.join(NewPeer { sight: Some(sight), ..NewPeer::unknown(1 << 20) });
        self.hub.on_link_up(peer, self.now, &mut self.ear);
        let params =
            json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}});
        self.say(peer, json!({"jsonrpc": "2.0", "id": "hello", "method": "initialize", "params": params}));
        self.say(peer, json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        self.ear.peers.clear();
        peer
    }

    fn say(&mut self, peer: PeerId, frame: Value) {
        self.hub.on_peer(peer, frame.to_string().as_bytes(), self.now, &mut self.ear);
        self.serve();
    }

    fn server(&mut self, server: ServerIndex, frame: Value) {
        say(&mut self.hub, server, frame.to_string().as_bytes(), self.now, &mut self.ear);
        self.serve();
    }

    /// Servers answer what is no call at once, and keep calls.
    fn serve(&mut self) {
        for (server, frame) in std::mem::take(&mut self.ear.servers) {
            if self.hangs[server] {
                continue;
            }
            let id = frame["id"].clone();
            let result = match frame["method"].as_str() {
                Some("initialize") => {
                    let name = if server == MAIN { "main" } else { "backup" };
                    json!({"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": name, "version": "1"}})
                }
                Some("tools/list") => {
                    let names: &[&str] = if server == MAIN { &["add", "get_it"] } else { &["add", "secret"] };
                    let tools: Vec<_> =
                        names.iter().map(|name| json!({"name": name, "inputSchema": {"type": "object"}})).collect();
                    json!({"tools": tools})
                }
                Some("tools/call") => {
                    self.calls[server].push((id, frame["params"].clone()));
                    continue;
                }
                _ => continue,
            };
            self.server(server, json!({"jsonrpc": "2.0", "id": id, "result": result}));
        }
    }

    fn call(&mut self, peer: PeerId, tool: &str) -> u64 {
        self.next += 1;
        let params = json!({"name": tool, "arguments": {"x": 1}, "_meta": {"progressToken": self.next}});
        self.say(peer, json!({"jsonrpc": "2.0", "id": self.next, "method": "tools/call", "params": params}));
        self.next
    }

    /// The server answers the oldest call that it has.
    fn answer(&mut self, server: ServerIndex, result: Value) {
        let (id, _) = self.calls[server].remove(0);
        self.server(server, json!({"jsonrpc": "2.0", "id": id, "result": result}));
    }

    /// What a peer was answered to its last call, if it was.
    fn answered(&mut self, id: u64) -> Option<Value> {
        let at = self.ear.peers.iter().position(|(_, frame)| frame["id"] == id)?;
        Some(self.ear.peers.remove(at).1)
    }

    fn error(&mut self, id: u64) -> String {
        let answer = self.answered(id).unwrap();
        answer["error"]["message"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    fn up(&mut self, server: ServerIndex) {
        self.calls[server].clear();
        self.hub.on_server_up(server, self.now, &mut self.ear);
        self.serve();
    }

    fn down(&mut self, server: ServerIndex, retry_in: u64) {
        self.calls[server].clear();
        let gone = Gone { why: "exited with code 1", retry_in: Duration::from_secs(retry_in), by_command: false };
        self.hub.on_server_down(server, gone, self.now, &mut self.ear);
        self.serve();
    }

    fn bar(&mut self, bar: Option<Bar>) {
        self.hub.on_server_barred(MAIN, bar, self.now, &mut self.ear);
        self.serve();
    }

    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += SECOND;
            self.hub.on_tick(self.now, &mut self.ear);
            self.serve();
        }
    }
}

fn text(text: &str) -> Value {
    json!({"content": [{"type": "text", "text": text}]})
}

/// With a peer that sees the server among others, and with one that has it alone.
fn in_both_sights(bounds: &Bounds, test: impl Fn(&mut World, PeerId)) {
    for sight in 0..2 {
        let mut world = World::new(bounds.clone());
        let peer = world.join(world.sights[sight]);
        test(&mut world, peer);
    }
}

#[tokio::test(start_paused = true)]
async fn a_fallback_gets_new_calls_of_what_it_has_while_the_first_is_gone_and_nothing_else() {
    in_both_sights(&Bounds { fallback: Some("backup".into()), ..Bounds::default() }, |world, peer| {
        let before = world.call(peer, "add");
        assert_eq!((world.calls[MAIN].len(), world.calls[BACKUP].len()), (1, 0));
        world.down(MAIN, 60);
        assert!(
            world.error(before).starts_with("not answered: server \"main\" exited"),
            "never a call that was under way"
        );
        let (id, other) = (world.call(peer, "add"), world.call(peer, "get_it"));
        assert_eq!(world.calls[BACKUP].len(), 1);
        assert!(world.error(other).contains("server \"main\" exited"), "one that it does not have");
        world.answer(BACKUP, text("by another"));
        assert_eq!(world.answered(id).unwrap()["result"], text("by another"));
        // Its process is there again, and not ready before it has answered.
        world.up(MAIN);
        let id = world.call(peer, "add");
        assert_eq!((world.calls[MAIN].len(), world.calls[BACKUP].len()), (1, 0));
        world.answer(MAIN, text("as ever"));
        assert_eq!(world.answered(id).unwrap()["result"], text("as ever"));
        world.down(MAIN, 60);
        world.down(BACKUP, 60);
        let id = world.call(peer, "add");
        assert!(world.error(id).contains("server \"main\" exited"), "both are gone: the first one's reason counts");
    });
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_for_a_server_go_to_its_fallback_once_it_fails_or_is_stopped() {
    in_both_sights(&Bounds { fallback: Some("backup".into()), ..Bounds::default() }, |world, peer| {
        // It starts for the first time: that is waited for.
        world.hub.on_server_down(
            MAIN,
            Gone { why: "is being restarted", retry_in: Duration::ZERO, by_command: true },
            world.now,
            &mut world.ear,
        );
        world.hub.on_server_up(MAIN, world.now, &mut world.ear);
        let initialize = std::mem::take(&mut world.ear.servers);
        assert_eq!(initialize[0].1["method"], "initialize");
        let id = world.call(peer, "add");
        assert_eq!(world.calls[BACKUP].len(), 1, "it has been there, and fails");
        world.answer(BACKUP, text("2"));
        assert_eq!(world.answered(id).unwrap()["result"], text("2"));
        world.bar(Some(Bar::Stopped));
        world.down(MAIN, 0);
        let id = world.call(peer, "add");
        world.answer(BACKUP, text("3"));
        assert_eq!(world.answered(id).unwrap()["result"], text("3"));
        // A person who pauses it wants no calls at all.
        world.bar(None);
        world.up(MAIN);
        world.bar(Some(Bar::Paused));
        let id = world.call(peer, "add");
        assert!(world.error(id).contains("is paused"));
    });
    let mut world = World::fallback();
    let peer = world.join(world.sights[0]);
    world.hub.on_server_busy(MAIN, true, world.now, &mut world.ear);
    let id = world.call(peer, "add");
    assert!(world.answered(id).is_none() && world.calls[MAIN].is_empty());
    world.down(MAIN, 60);
    world.answer(BACKUP, text("held"));
    assert_eq!(world.answered(id).unwrap()["result"], text("held"), "it was not under way");
}

#[tokio::test(start_paused = true)]
async fn nobody_sees_a_fallback_and_what_its_entry_denies_is_not_called() {
    let mut world = World::fallback();
    let peer = world.join(world.sights[0]);
    world.say(peer, json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}));
    let listed = world.answered(1).unwrap();
    let names: Vec<_> = listed["result"]["tools"].as_array().unwrap().iter().map(|tool| tool["name"].clone()).collect();
    assert_eq!(names, ["add", "get_it"]);
    let id = world.call(peer, "secret");
    assert!(world.error(id).contains("unknown tool"));
    let deny = Arc::new(ToolPolicy { deny: vec![Glob::new("add")], ..ToolPolicy::default() });
    let spec = ServerSpec { tools: deny, ..bounded("backup", Bounds { stands_in: true, ..Bounds::default() }) };
    world.hub.change_server(BACKUP, &spec, world.now, &mut world.ear);
    world.down(MAIN, 60);
    let id = world.call(peer, "add");
    assert!(world.error(id).contains("server \"main\" exited"));
}

#[tokio::test(start_paused = true)]
async fn a_circuit_opens_after_timeouts_is_tried_by_one_call_and_closes_with_an_answer() {
    let bounds = Bounds { breaker: Some(BreakerSpec { failures: 2, open_for: 30 * SECOND }), ..Bounds::default() };
    let mut world = World::new(bounds);
    let peer = world.join(world.sights[0]);
    let wrong = json!({"content": [], "isError": true});
    for _ in 0..3 {
        let id = world.call(peer, "add");
        world.answer(MAIN, wrong.clone());
        assert_eq!(world.answered(id).unwrap()["result"], wrong, "an error of the tool is an answer");
    }
    let late = [world.call(peer, "add"), world.call(peer, "add")];
    world.pass(3);
    for id in late {
        assert!(world.error(id).contains("did not answer within 2.0 s"));
    }
    world.calls[MAIN].clear();
    assert_eq!(
        world.ear.notes,
        ["its circuit is open (circuitBreaker): 2 calls in a row got no answer, so it gets none for 30.0 s"]
    );
    let id = world.call(peer, "add");
    let said = world.error(id);
    assert!(said.starts_with("the circuit of server \"main\" is open: 2 calls in a row got no answer"), "{said}");
    assert!(world.calls[MAIN].is_empty());
    world.say(peer, json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}));
    assert_eq!(world.answered(1).unwrap()["result"]["tools"].as_array().map(Vec::len), Some(2), "it stays listed");
    world.pass(31);
    let (trial, other) = (world.call(peer, "add"), world.call(peer, "add"));
    assert_eq!(world.calls[MAIN].len(), 1);
    assert!(world.error(other).contains("one call tries just now"));
    // Whoever tries gives up: the next one may.
    world.say(peer, json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": trial}}));
    world.calls[MAIN].clear();
    let trial = world.call(peer, "add");
    world.answer(MAIN, text("well"));
    assert_eq!(world.answered(trial).unwrap()["result"], text("well"));
    assert_eq!(
        world.ear.notes[1..],
        [
            "its circuit is half-open: the next call tries whether it answers again",
            "its circuit is closed: it answers again, and gets all calls",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn one_end_of_a_process_counts_once_and_a_server_that_is_not_there_with_each_call() {
    let bounds = Bounds { breaker: Some(BreakerSpec { failures: 3, open_for: 30 * SECOND }), ..Bounds::default() };
    in_both_sights(&bounds, |world, peer| {
        for _ in 0..5 {
            world.call(peer, "add");
        }
        world.down(MAIN, 60);
        assert!(world.ear.notes.is_empty(), "five calls, and one end");
        for _ in 0..2 {
            let id = world.call(peer, "add");
            assert!(world.error(id).contains("next start in"));
        }
        let id = world.call(peer, "add");
        assert!(world.error(id).starts_with("the circuit of server \"main\" is open"));
        // A person who says that it is well has it asked.
        world.bar(None);
        let id = world.call(peer, "add");
        assert!(world.error(id).contains("next start in"));
    });
}

#[tokio::test(start_paused = true)]
async fn a_circuit_that_a_server_opens_by_giving_up_calls_lets_one_try_in_time() {
    let bounds = Bounds { breaker: Some(BreakerSpec { failures: 2, open_for: 30 * SECOND }), ..Bounds::default() };
    in_both_sights(&bounds, |world, peer| {
        for _ in 0..2 {
            let id = world.call(peer, "add");
            let (number, _) = world.calls[MAIN].remove(0);
            let why = "answered with HTTP status 500";
            world.hub.on_server_unanswered(MAIN, number.to_string().as_bytes(), why, world.now, &mut world.ear);
            assert_eq!(world.error(id), format!("server \"main\" {why}"));
        }
        assert!(world.hub.next_tick().is_some_and(|at| at <= world.now + 30 * SECOND));
        world.pass(31);
        world.call(peer, "add");
        assert_eq!(world.calls[MAIN].len(), 1);
    });
}

#[tokio::test(start_paused = true)]
async fn an_end_by_command_says_nothing_against_a_server() {
    let bounds = Bounds { breaker: Some(BreakerSpec { failures: 1, open_for: 30 * SECOND }), ..Bounds::default() };
    in_both_sights(&bounds, |world, peer| {
        let id = world.call(peer, "add");
        world.bar(None);
        let gone = Gone { why: "is being restarted", retry_in: Duration::ZERO, by_command: true };
        world.hub.on_server_down(MAIN, gone, world.now, &mut world.ear);
        assert!(world.error(id).ends_with("is being restarted"));
        assert!(world.ear.notes.is_empty(), "{:?}", world.ear.notes);
    });
}

#[tokio::test(start_paused = true)]
async fn a_fallback_takes_the_calls_of_a_server_whose_circuit_is_open() {
    let breaker = Some(BreakerSpec { failures: 1, open_for: 30 * SECOND });
    let mut world = World::new(Bounds { breaker, fallback: Some("backup".into()), ..Bounds::default() });
    let peer = world.join(world.sights[0]);
    world.call(peer, "add");
    world.pass(3);
    world.calls[MAIN].clear();
    let id = world.call(peer, "add");
    world.answer(BACKUP, text("2"));
    assert_eq!(world.answered(id).unwrap()["result"], text("2"));
    world.pass(30);
    let (trial, other) = (world.call(peer, "add"), world.call(peer, "add"));
    assert_eq!(
        (world.calls[MAIN].len(), world.calls[BACKUP].len()),
        (1, 1),
        "one tries, the others are served meanwhile"
    );
    world.answer(MAIN, text("1"));
    world.answer(BACKUP, text("2"));
    assert_eq!(world.answered(trial).unwrap()["result"], text("1"));
    assert_eq!(world.answered(other).unwrap()["result"], text("2"));
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_given_again_to_its_peer_until_its_time_is_over_or_the_server_changes() {
    let cache = CacheSpec { tools: vec![Glob::new("get_*")], ttl: 10 * SECOND };
    let bounds = Bounds { cache: Some(Arc::new(cache)), ..Bounds::default() };
    in_both_sights(&bounds, |world, peer| {
        let sight = world.hub.sight(peer).unwrap();
        let fresh = |world: &mut World, peer, said: &str| {
            let id = world.call(peer, "get_it");
            assert_eq!(world.calls[MAIN].len(), 1, "{said}");
            world.answer(MAIN, text(said));
            assert_eq!(world.answered(id).unwrap()["result"], text(said));
        };
        let again = |world: &mut World, peer, said: &str| {
            let id = world.call(peer, "get_it");
            assert!(world.calls[MAIN].is_empty(), "{said}");
            assert_eq!(world.answered(id).unwrap()["result"], text(said));
        };
        fresh(world, peer, "1");
        again(world, peer, "1");
        let other = world.join(sight);
        fresh(world, other, "for another");
        again(world, peer, "1");
        world.pass(10);
        fresh(world, peer, "2");
        world.server(MAIN, json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}));
        fresh(world, peer, "3");
        world.down(MAIN, 0);
        world.up(MAIN);
        fresh(world, peer, "4");
        let id = world.call(peer, "add");
        world.answer(MAIN, text("sum"));
        world.answered(id).unwrap();
        world.call(peer, "add");
        assert_eq!(world.calls[MAIN].len(), 1, "not of a tool that is not named");
        world.calls[MAIN].clear();
        world.pass(10);
        // What failed is not worth keeping.
        let id = world.call(peer, "get_it");
        world.answer(MAIN, json!({"content": [], "isError": true}));
        world.answered(id).unwrap();
        fresh(world, peer, "5");
        world.pass(10);
        // What was too large for the peer once is so again.
        let small = ServerSpec { max_frame: 1024, ..bounded("main", bounds.clone()) };
        world.hub.change_server(MAIN, &small, world.now, &mut world.ear);
        for _ in 0..2 {
            let id = world.call(peer, "get_it");
            world.answer(MAIN, text(&"x".repeat(2000)));
            assert!(world.error(id).contains("above the limit of 1024 (maxFrameSize)"));
        }
        world.bar(Some(Bar::Paused));
        let id = world.call(peer, "get_it");
        assert!(world.error(id).contains("is paused"));
        assert_eq!(world.ear.notes.len(), 2);
    });
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ran_before_becomes_a_fallback_and_is_none_again() {
    in_both_sights(&Bounds::default(), |world, peer| {
        let stands_in = |stands_in| bounded("backup", Bounds { stands_in, ..Bounds::default() });
        let fallback = |of: Option<&str>| bounded("main", Bounds { fallback: of.map(Into::into), ..Bounds::default() });
        world.hub.change_server(BACKUP, &stands_in(true), world.now, &mut world.ear);
        world.hub.change_server(MAIN, &fallback(Some("backup")), world.now, &mut world.ear);
        world.serve();
        world.down(MAIN, 60);
        let id = world.call(peer, "add");
        world.answer(BACKUP, text("2"));
        assert_eq!(world.answered(id).unwrap()["result"], text("2"));
        world.hub.change_server(MAIN, &fallback(None), world.now, &mut world.ear);
        world.hub.change_server(BACKUP, &stands_in(false), world.now, &mut world.ear);
        let id = world.call(peer, "add");
        assert!(world.error(id).contains("server \"main\" exited"));
    });
}

/// With a fallback, in both sights: what an earlier run remembered of `main`, or nothing; nothing runs yet.
fn before_the_start(is_remembered: bool, test: impl Fn(&mut World, Sight)) {
    for sight in 0..2 {
        let mut lists = Lists::default();
        lists.set(ListKind::Tools, vec![tool("add").into(), tool("old").into()]);
        let welcome = r#"{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"main","version":"1"}}"#;
        let memory = is_remembered.then(|| Memory { welcome: welcome.into(), lists });
        let mut world = World::unstarted(Bounds { fallback: Some("backup".into()), ..Bounds::default() }, memory);
        let sight = world.sights[sight];
        test(&mut world, sight);
    }
}

fn tool(name: &str) -> String {
    json!({"name": name, "inputSchema": {"type": "object"}}).to_string()
}

impl World {
    /// The names of the tools that a peer is shown.
    fn listed(&mut self, peer: PeerId) -> Vec<String> {
        self.next += 1;
        self.say(peer, json!({"jsonrpc": "2.0", "id": self.next, "method": "tools/list"}));
        let answer = self.answered(self.next).unwrap();
        let tools = answer["result"]["tools"].as_array().unwrap_or_else(|| panic!("{answer}"));
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    }

    /// As what a peer is greeted that connects anew.
    fn greeted(&mut self, peer: PeerId) -> Option<Value> {
        self.next += 1;
        let params = json!({"protocolVersion": "2025-06-18", "capabilities": {}});
        self.say(peer, json!({"jsonrpc": "2.0", "id": self.next, "method": "initialize", "params": params}));
        Some(self.answered(self.next)?["result"]["serverInfo"]["name"].clone())
    }

    /// A call of `add` that the fallback answers.
    fn is_served_by_backup(&mut self, peer: PeerId) {
        let id = self.call(peer, "add");
        assert_eq!(self.calls[BACKUP].len(), 1, "{:?}", self.ear.peers);
        self.answer(BACKUP, text("by another"));
        assert_eq!(self.answered(id).unwrap()["result"], text("by another"));
    }

    /// How often a peer was told that its tools have changed, since this was last asked.
    fn changes(&mut self, peer: PeerId) -> usize {
        let is_it =
            |(to, frame): &mut (PeerId, Value)| *to == peer && frame["method"] == "notifications/tools/list_changed";
        self.ear.peers.extract_if(.., is_it).count()
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_at_its_first_start_is_out_once_its_start_timeout_is_over() {
    before_the_start(true, |world, sight| {
        world.hangs[MAIN] = true;
        world.up(MAIN);
        world.up(BACKUP);
        let peer = world.join(sight);
        assert_eq!(world.hub.start(MAIN), Start::Settled);
        world.pass(50);
        // It may still come: that is waited for.
        let early = world.call(peer, "add");
        assert!(world.calls[BACKUP].is_empty() && world.answered(early).is_none());
        world.pass(9);
        assert!(world.error(early).contains("server \"main\" "));
        let held = world.call(peer, "add");
        world.pass(1);
        world.answer(BACKUP, text("held"));
        assert_eq!(world.answered(held).unwrap()["result"], text("held"), "it was not under way");
        for _ in 0..3 {
            world.is_served_by_backup(peer);
        }
        let late = world.join(sight);
        assert_eq!(world.listed(late), ["add", "old"], "it is known: its own tools are shown");
        world.is_served_by_backup(late);
        // Late, and well.
        world.hangs[MAIN] = false;
        world.up(MAIN);
        assert_eq!(world.changes(late), 1, "it has others now");
        assert_eq!(world.listed(late), ["add", "get_it"]);
        let id = world.call(late, "add");
        world.answer(MAIN, text("1"));
        assert_eq!(world.answered(id).unwrap()["result"], text("1"));
    });
}

#[tokio::test(start_paused = true)]
async fn a_server_that_has_never_served_is_told_of_by_its_fallback_until_it_does() {
    before_the_start(false, |world, sight| {
        let alone = sight == Sight::Alone(MAIN);
        world.down(MAIN, 1);
        assert_eq!(world.hub.start(MAIN), Start::Absent);
        let peer = world.hub.join(NewPeer { sight: Some(sight), ..NewPeer::unknown(1 << 20) });
        world.hub.on_link_up(peer, world.now, &mut world.ear);
        let early = alone.then(|| world.greeted(peer));
        assert_eq!(early.flatten(), None, "nobody can say what it is");
        world.up(BACKUP);
        assert_eq!(world.hub.start(MAIN), Start::Settled);
        assert_eq!(world.ear.peers.len(), usize::from(alone), "whoever waits is answered: {:?}", world.ear.peers);
        world.ear.peers.clear();
        let peer = world.join(sight);
        let as_what = world.greeted(peer).unwrap();
        assert_eq!(as_what, "backup");
        assert_eq!(world.listed(peer), ["add", "secret"]);
        world.is_served_by_backup(peer);
        // It begins again and again, and never answers.
        world.hangs[MAIN] = true;
        for _ in 0..2 {
            world.up(MAIN);
            assert_eq!(world.listed(peer), ["add", "secret"]);
            world.is_served_by_backup(peer);
            world.down(MAIN, 1);
        }
        let deny = Arc::new(ToolPolicy { deny: vec![Glob::new("secret")], ..ToolPolicy::default() });
        let spec = ServerSpec { tools: deny, ..bounded("backup", Bounds { stands_in: true, ..Bounds::default() }) };
        world.hub.change_server(BACKUP, &spec, world.now, &mut world.ear);
        assert_eq!(world.listed(peer), ["add"], "what its own entry lets others have");
        world.changes(peer);
        world.hangs[MAIN] = false;
        world.up(MAIN);
        assert!(world.changes(peer) >= 1);
        assert_eq!(world.greeted(peer).unwrap(), "main");
        assert_eq!(world.listed(peer), ["add", "get_it"]);
    });
}

#[tokio::test(start_paused = true)]
async fn whoever_connects_anew_while_a_server_is_gone_learns_its_tools() {
    in_both_sights(&Bounds { fallback: Some("backup".into()), ..Bounds::default() }, |world, peer| {
        let sight = world.hub.sight(peer).unwrap();
        assert_eq!(world.listed(peer), ["add", "get_it"]);
        for is_stopped in [false, true] {
            if is_stopped {
                world.bar(Some(Bar::Stopped));
            }
            world.down(MAIN, 60);
            let late = world.join(sight);
            assert_eq!(world.greeted(late).unwrap(), "main");
            assert_eq!(world.listed(late), ["add", "get_it"]);
            world.is_served_by_backup(late);
            let id = world.call(late, "get_it");
            world.error(id);
            world.bar(None);
            world.up(MAIN);
            assert_eq!((world.changes(peer), world.changes(late)), (0, 0), "it has what it had");
        }
        // Without anybody who takes the calls it is as it is.
        world.down(BACKUP, 60);
        world.down(MAIN, 60);
        if let Sight::Alone(_) = sight {
            world.next += 1;
            world.say(peer, json!({"jsonrpc": "2.0", "id": world.next, "method": "tools/list"}));
            assert!(world.error(world.next).contains("server \"main\" exited"));
        }
    });
}

#[test]
fn a_server_with_a_fallback_is_remembered_whoever_sees_it() {
    for (fallback, remembered) in [(None, vec![]), (Some("backup".into()), vec![MAIN, BACKUP])] {
        let (mut hub, now) = (Hub::new(), Instant::now());
        let stands_in = fallback.is_some();
        hub.add_server(&bounded("main", Bounds { fallback, ..Bounds::default() }), None);
        hub.add_server(&bounded("backup", Bounds { stands_in, ..Bounds::default() }), None);
        let sights = [Sight::Alone(MAIN), Sight::Alone(MAIN)];
        let (ear, calls) = (Ear::default(), Default::default());
        let mut world = World { hub, ear, now, sights, calls, hangs: [false; 2], next: 0 };
        world.join(Sight::Alone(MAIN));
        world.up(MAIN);
        world.up(BACKUP);
        assert_eq!(world.ear.remembered, remembered);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_is_told_of_by_its_fallback() {
    before_the_start(false, |world, sight| {
        world.up(BACKUP);
        world.hangs[MAIN] = true;
        let refuse = |world: &mut World| {
            world.hub.on_server_up(MAIN, world.now, &mut world.ear);
            let (_, asked) = world.ear.servers.remove(0);
            let error = json!({"code": -32000, "message": "no licence"});
            world.server(MAIN, json!({"jsonrpc": "2.0", "id": asked["id"], "error": error}));
        };
        refuse(world);
        let peer = world.join(sight);
        // It is asked once more, with what the peer says of itself.
        world.down(MAIN, 0);
        refuse(world);
        assert_eq!(world.greeted(peer).unwrap(), "backup");
        assert_eq!(world.listed(peer), ["add", "secret"]);
        world.is_served_by_backup(peer);
        world.down(BACKUP, 60);
        assert_eq!(world.greeted(peer).unwrap(), Value::Null, "nobody stands in: it is told what is the matter");
    });
}
