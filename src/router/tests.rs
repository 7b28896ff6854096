//! Many peers on the same servers, coming and going at random: nothing of one reaches another, nothing is lost, and each call is counted
//! once, by what has become of it.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::hub::{Hub, Show};
use super::*;
use crate::config::{ServerSpec, Sharing};
use crate::tools::ToolPolicy;

const LEVELS: [&str; 4] = ["debug", "info", "warning", "error"];

/// What peers may see: these servers as one, and the last two alone.
const VIEWS: [&[usize]; 6] = [&[0, 1, 2, 3, 4], &[0, 1], &[2], &[1, 2, 3], &[3], &[0]];
const ALONE: std::ops::Range<usize> = 4..6;

/// What can happen. Peers, servers and open requests are taken modulo their number.
#[derive(Debug, Clone)]
enum Happening {
    Join(bool),
    Leave(usize),
    Link(usize, bool),
    Hello(usize),
    Call(usize, usize),
    /// A peer reads a resource of a server, or one that no server lists.
    Read(usize, usize),
    List(usize),
    Cancel(usize, usize),
    Answer(usize, usize),
    /// A server answers a call otherwise than with what was asked for.
    Fail(usize, usize, Failing),
    Progress(usize, usize),
    Log(usize, usize),
    Ask(usize),
    PeerAnswers(usize),
    Follow(usize, usize, bool),
    Update(usize),
    Level(usize, usize),
    Server(usize, bool),
    Busy(usize, bool),
    Barred(usize, Option<Bar>),
    Changed(usize),
    Pass(u64),
    Room(usize, bool),
    /// A peer is given another view.
    Look(usize, usize),
    /// A batch of calls: each is answered alone.
    Batch(usize, usize),
    /// A server goes for good, and another one comes in its place.
    Swap(usize),
    /// A view shows other servers for a while.
    Narrow(usize),
}

/// How a server answers otherwise than with what was asked for.
#[derive(Debug, Clone, Copy)]
enum Failing {
    Tool,
    Rpc,
    Unreadable,
    TooLarge,
    Unanswered,
}

/// What has become of a call, as its client sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Became {
    /// It has a result, in which the tool may report a failure.
    Answered(Outcome),
    /// It has an error: because of what the server did, if it was the server.
    Failed(Option<Outcome>),
    /// The client has given it up, or is gone.
    GivenUp,
    /// The client is gone, and the call may be one of a batch that was not looked at yet for want of room: as if it had not come.
    Unread,
}

impl Became {
    /// Whether it may be counted so.
    fn is(self, counted: &[Outcome]) -> bool {
        match (self, counted) {
            (Became::Answered(answered), [outcome]) => *outcome == answered,
            (Became::Failed(Some(failed)), [outcome]) => *outcome == failed,
            (Became::Failed(None), [outcome]) => {
                !matches!(outcome, Outcome::Ok | Outcome::ToolError | Outcome::Cancelled)
            }
            (Became::GivenUp | Became::Unread, [outcome]) => *outcome == Outcome::Cancelled,
            (Became::Unread, []) => true,
            (_, _) => false,
        }
    }
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening::*;
    let (p, s, n) = (0..9usize, 0..5usize, 0..8usize);
    prop_oneof![
        2 => any::<bool>().prop_map(Join),
        1 => p.clone().prop_map(Leave),
        3 => (p.clone(), prop::bool::weighted(0.8)).prop_map(|(p, up)| Link(p, up)),
        3 => p.clone().prop_map(Hello),
        9 => (p.clone(), s.clone()).prop_map(|(p, s)| Call(p, s)),
        3 => (p.clone(), 0..7usize).prop_map(|(p, s)| Read(p, s)),
        2 => p.clone().prop_map(List),
        2 => (p.clone(), n.clone()).prop_map(|(p, n)| Cancel(p, n)),
        9 => (s.clone(), n.clone()).prop_map(|(s, n)| Answer(s, n)),
        3 => (s.clone(), n.clone(), prop::sample::select(vec![Failing::Tool, Failing::Rpc, Failing::Unreadable, Failing::TooLarge, Failing::Unanswered])).prop_map(|(s, n, how)| Fail(s, n, how)),
        4 => (s.clone(), n.clone()).prop_map(|(s, n)| Progress(s, n)),
        4 => (s.clone(), 0..LEVELS.len()).prop_map(|(s, level)| Log(s, level)),
        3 => s.clone().prop_map(Ask),
        3 => p.clone().prop_map(PeerAnswers),
        3 => (p.clone(), s.clone(), prop::bool::weighted(0.7)).prop_map(|(p, s, on)| Follow(p, s, on)),
        2 => s.clone().prop_map(Update),
        2 => (p.clone(), 0..LEVELS.len()).prop_map(|(p, level)| Level(p, level)),
        3 => (s.clone(), prop::bool::weighted(0.8)).prop_map(|(s, up)| Server(s, up)),
        1 => (s.clone(), any::<bool>()).prop_map(|(s, busy)| Busy(s, busy)),
        2 => (s.clone(), prop::sample::select(vec![None, Some(Bar::Paused), Some(Bar::Stopped)])).prop_map(|(s, bar)| Barred(s, bar)),
        1 => s.clone().prop_map(Changed),
        2 => (0..20u64).prop_map(Pass),
        1 => (p.clone(), any::<bool>()).prop_map(|(p, room)| Room(p, room)),
        2 => (p.clone(), 0..VIEWS.len()).prop_map(|(p, view)| Look(p, view)),
        1 => (p, s.clone()).prop_map(|(p, s)| Batch(p, s)),
        1 => s.prop_map(Swap),
        1 => (0..4usize).prop_map(Narrow),
    ]
}

/// A request of a peer that has no answer yet.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Open {
    /// A call with this mark in it, which is in its answer too.
    Call(String),
    Other,
}

/// One peer, as a client would be.
#[derive(Debug)]
struct Client {
    name: String,
    /// Which of [`VIEWS`] it has.
    view: usize,
    /// Whether the client declares that it can be asked.
    answers: bool,
    linked: bool,
    conversing: bool,
    /// The same ids at each client, and on each connection.
    next: u64,
    open: BTreeMap<u64, Open>,
    follows: BTreeSet<usize>,
    level: Option<usize>,
    /// Questions of servers: the id that the client was given, and the mark of the question.
    questions: Vec<(Value, String)>,
    /// Updates and log messages that the client got.
    updates: usize,
    logs: usize,
    /// How often the client was told that a list has changed.
    changes: usize,
}

/// One server, as it sees us.
#[derive(Debug, Default)]
struct Served {
    alive: bool,
    busy: bool,
    initialized: bool,
    /// Calls: the id and token that the server was given, and the mark of the call.
    calls: Vec<(Value, String)>,
    /// Those that it was told to stop. Nobody knows which it works on all the same.
    cancelled: Vec<(Value, String)>,
    /// It works on all of them, and answers.
    is_stubborn: bool,
    /// Questions under way: the id, and its mark.
    questions: BTreeMap<u64, String>,
    asked: u64,
    followed: BTreeSet<String>,
    level: Option<usize>,
}

impl Served {
    /// What it talks about: all that it works on.
    fn said(&self) -> String {
        let cancelled = self.cancelled.iter().filter(|_| self.is_stubborn);
        self.calls.iter().chain(cancelled).map(|(_, mark)| format!("{mark} ")).collect()
    }
}

/// The router of a world.
enum Kind {
    Alone(Box<Hub>),
    /// Several servers, with the [`VIEWS`] of them.
    Merged(Box<Hub>, Vec<Sight>),
}

impl Kind {
    fn it(&mut self) -> &mut dyn Router {
        match self {
            Kind::Alone(router) => &mut **router,
            Kind::Merged(router, _) => &mut **router,
        }
    }
}

struct World {
    router: Kind,
    sink: Sink,
    now: Instant,
    clients: BTreeMap<PeerId, Client>,
    gone: BTreeSet<PeerId>,
    servers: Vec<Served>,
    /// What a person has said of each server.
    bars: Vec<Option<Bar>>,
    marks: u64,
    /// Whether each server has had several viewers at once.
    shared: Vec<bool>,
    /// Peers that are not read for want of room.
    unread: BTreeSet<PeerId>,
    /// What has become of calls that are over, by their marks.
    became: BTreeMap<String, Became>,
    /// Of which calls a server has spoilt the answer, and how that is counted.
    failed: BTreeMap<String, Outcome>,
}

#[derive(Default)]
struct Sink {
    peers: Vec<(PeerId, String)>,
    servers: Vec<(ServerIndex, String)>,
    full: BTreeSet<PeerId>,
    restarts: Vec<ServerIndex>,
    /// How many log messages of servers were for nobody.
    kept: usize,
    /// How calls were counted, by their marks.
    counted: HashMap<String, Vec<Outcome>>,
}

impl Out for Sink {
    fn to_peer(&mut self, peer: PeerId, pieces: &[&[u8]]) {
        self.peers.push((peer, String::from_utf8(pieces.concat()).unwrap()));
    }
    fn to_server(&mut self, server: ServerIndex, pieces: &[&[u8]]) {
        self.servers.push((server, String::from_utf8(pieces.concat()).unwrap()));
    }
    fn remember(&mut self, _: ServerIndex, _: &Memory) {}
    fn remember_hello(&mut self, _: PeerId, _: &str) {}
    fn restart(&mut self, server: ServerIndex, _: &'static str) {
        self.restarts.push(server);
    }
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others are for the log alone")]
    fn note(&mut self, note: Note<'_>) {
        match note.what {
            What::Logged { params } => {
                assert!(params.starts_with(b"{"));
                self.kept += 1;
            }
            What::Served { call, .. } | What::Lost(call) | What::Unserved(call) => {
                let counted = call.trace.map(|mark| self.counted.entry(mark.to_owned()).or_default());
                if let Some(counted) = counted {
                    counted.push(call.outcome);
                }
            }
            _ => {}
        }
    }
    fn has_room(&self, peer: PeerId) -> bool {
        !self.full.contains(&peer)
    }
}

/// The server whose calls are waited for this long at most.
const TIMED: (usize, Duration) = (1, Duration::from_secs(25));

/// A view of these servers.
fn show(seen: &[usize], sharing: Sharing) -> Show {
    let timed = Arc::new(ToolPolicy { timeout: Some(TIMED.1), ..ToolPolicy::default() });
    let policy = |server: &usize| if *server == TIMED.0 { timed.clone() } else { Arc::default() };
    Show {
        servers: seen.iter().map(|server| (*server, policy(server))).collect(),
        sharing,
        max_list: 1 << 20,
        grows: false,
    }
}

/// The `_meta` of a call: by its mark it is known where it is counted.
fn meta(token: u64, mark: &str) -> Value {
    json!({"progressToken": token, crate::mcp::trace::REQUEST_ID: mark})
}

/// Ends the mark of a call that may go to one server after the other.
const READ: &str = "r";

/// Whose calls are, by their marks.
fn owners(calls: &[(Value, String)]) -> BTreeSet<String> {
    calls.iter().map(|(_, mark)| mark.rsplit_once('-').unwrap().0.to_owned() + "-").collect()
}

/// The marks in a text: each says whose it is.
fn marks(text: &str) -> Vec<String> {
    text.match_indices("mark-").map(|(at, _)| text[at..].split('.').next().unwrap().to_owned()).collect()
}

impl World {
    fn new(merged: bool) -> Self {
        let names: &[&str] = if merged { &["a", "b", "c", "d", "e"] } else { &["a"] };
        let spec = |name: &&str| ServerSpec { max_frame: 1 << 20, ..ServerSpec::sample(name, "", &[]) };
        let specs: Vec<_> = names.iter().map(spec).map(Arc::new).collect();
        let router = if merged {
            let mut merge = Hub::merging(specs.iter().map(|spec| (spec.clone(), None)));
            let mut add = |seen: &&[usize]| {
                Sight::Merged(merge.add_view(show(seen, specs[0].sharing), Instant::now(), &mut Sink::default()))
            };
            let merged = VIEWS[..4].iter().map(&mut add);
            let views = merged.chain(VIEWS[ALONE].iter().map(|seen| Sight::Alone(seen[0]))).collect();
            Kind::Merged(Box::new(merge), views)
        } else {
            Kind::Alone(Box::new(Hub::alone(&specs[0])))
        };
        let servers = names.iter().map(|_| Served::default()).collect();
        let bars = vec![None; names.len()];
        World {
            router,
            sink: Sink::default(),
            now: Instant::now(),
            clients: BTreeMap::new(),
            gone: BTreeSet::new(),
            servers,
            bars,
            marks: 0,
            shared: vec![false; names.len()],
            unread: BTreeSet::new(),
            became: BTreeMap::new(),
            failed: BTreeMap::new(),
        }
    }

    fn client(&mut self, n: usize) -> Option<PeerId> {
        let keys: Vec<_> = self.clients.keys().copied().collect();
        keys.get(n % keys.len().max(1)).copied()
    }

    fn join(&mut self, answers: bool) {
        let view = (self.clients.len() + self.gone.len()) % VIEWS.len();
        let named = match &self.router {
            Kind::Merged(_, views) => Some(views[view]),
            Kind::Alone(_) => None,
        };
        let peer = self.router.it().join(NewPeer { sight: named, ..NewPeer::unknown(1 << 20) });
        assert!(!self.gone.contains(&peer) && !self.clients.contains_key(&peer), "a key is used again");
        let client = Client {
            view,
            name: format!("mark-{}-", self.clients.len() + self.gone.len()),
            answers,
            linked: false,
            conversing: false,
            next: 0,
            open: BTreeMap::new(),
            follows: BTreeSet::new(),
            level: None,
            questions: Vec::new(),
            updates: 0,
            logs: 0,
            changes: 0,
        };
        self.clients.insert(peer, client);
        self.look_around();
    }

    /// Whether the server that a client has alone takes nothing now.
    fn is_alone_with_one_away(&self, peer: PeerId) -> bool {
        let view = self.clients[&peer].view;
        let alone = match &self.router {
            Kind::Alone(_) => Some(0),
            Kind::Merged(..) => ALONE.contains(&view).then(|| VIEWS[view][0]),
        };
        alone.is_some_and(|server| !self.servers[server].alive || self.servers[server].busy)
    }

    /// Whether a client sees a server.
    fn sees(&self, client: &Client, server: usize) -> bool {
        matches!(self.router, Kind::Alone(_)) || VIEWS[client.view].contains(&server)
    }

    /// How many clients see a server.
    fn viewers(&self, server: usize) -> usize {
        self.clients.values().filter(|client| self.sees(client, server)).count()
    }

    /// Notes which servers have several viewers now.
    fn look_around(&mut self) {
        for server in 0..self.servers.len() {
            let is_shared = self.viewers(server) > 1;
            self.shared[server] |= is_shared;
        }
    }

    fn mark(&mut self, peer: PeerId) -> String {
        self.marks += 1;
        format!("{}{}", self.clients[&peer].name, self.marks)
    }

    /// A frame of a client that is linked.
    fn say(&mut self, peer: PeerId, frame: &Value) {
        let World { router, sink, now, .. } = self;
        router.it().on_peer(peer, frame.to_string().as_bytes(), *now, sink);
        self.settle();
    }

    fn request(&mut self, peer: PeerId, method: &str, params: Value, open: Open) -> u64 {
        let client = self.clients.get_mut(&peer).unwrap();
        client.next += 1;
        let id = client.next;
        client.open.insert(id, open);
        client.conversing |= method != "initialize";
        self.say(peer, &json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        id
    }

    fn call(&mut self, peer: PeerId, server: usize) -> (Value, String) {
        let mark = self.mark(peer);
        // The token is the same for all clients too.
        let token = self.clients[&peer].next + 1;
        let params =
            json!({"name": format!("t{server}"), "arguments": {"of": format!("{mark}.")}, "_meta": meta(token, &mark)});
        (params, mark)
    }

    /// All that a client waits for is over.
    fn give_up(&mut self, peer: PeerId) {
        let open = std::mem::take(&mut self.clients.get_mut(&peer).unwrap().open);
        let became = if self.sink.full.contains(&peer) { Became::Unread } else { Became::GivenUp };
        open.into_values().for_each(|open| self.has_become(open, became));
    }

    fn has_become(&mut self, open: Open, became: Became) {
        if let Open::Call(mark) = open {
            assert_eq!(self.became.insert(mark, became), None);
        }
    }

    /// Each call that is over was counted, once, and as what its client knows of it.
    fn assert_counted(&self) {
        for (mark, became) in &self.became {
            let counted = self.sink.counted.get(mark).map_or(&[][..], Vec::as_slice);
            assert!(became.is(counted), "{mark} is over ({became:?}) and counted as {counted:?}");
        }
        let others = self.sink.counted.keys().find(|mark| !self.became.contains_key(*mark));
        assert_eq!(others, None, "it is counted, and not over");
    }

    /// Everything that was said is heard, and servers answer what they answer at once.
    fn settle(&mut self) {
        loop {
            let Sink { peers, servers, .. } = &mut self.sink;
            let (peers, servers) = (std::mem::take(peers), std::mem::take(servers));
            if peers.is_empty() && servers.is_empty() {
                break;
            }
            for (peer, frame) in peers {
                self.hear(peer, &frame);
            }
            for (server, frame) in servers {
                self.serve(server, &frame);
            }
        }
        for server in std::mem::take(&mut self.sink.restarts) {
            self.server_down(server);
            self.server_up(server);
        }
    }

    /// A client hears something.
    fn hear(&mut self, peer: PeerId, frame: &str) {
        let client = self.clients.get_mut(&peer).unwrap_or_else(|| panic!("to a peer that is gone: {frame}"));
        assert!(client.linked, "without a connection: {frame}");
        for mark in marks(frame) {
            assert!(mark.starts_with(&client.name), "{} hears {frame}", client.name);
        }
        let message: Value = serde_json::from_str(frame).unwrap();
        let method = message["method"].as_str();
        if method.is_none() {
            let id = message["id"].as_u64().unwrap_or_else(|| panic!("{frame}"));
            let open = client.open.remove(&id).unwrap_or_else(|| panic!("{} has not asked: {frame}", client.name));
            let became = match message.get("result") {
                Some(result) if result["isError"] == true => Became::Answered(Outcome::ToolError),
                Some(_) => Became::Answered(Outcome::Ok),
                None => Became::Failed(match &open {
                    Open::Call(mark) => self.failed.get(&format!("{mark}.")).copied(),
                    Open::Other => None,
                }),
            };
            if let (Open::Call(mark), Some(result)) = (&open, message.get("result")) {
                assert_eq!(result["of"], format!("{mark}."), "another call's answer");
            }
            self.has_become(open, became);
            return;
        }
        match method.unwrap() {
            "notifications/progress" => {
                let token = message["params"]["progressToken"].as_u64().unwrap();
                let Some(Open::Call(mark)) = client.open.get(&token) else { panic!("no such call: {frame}") };
                assert_eq!(message["params"]["message"], format!("{mark}."));
            }
            "notifications/message" => {
                let level = LEVELS.iter().position(|level| message["params"]["level"] == **level).unwrap();
                assert!(
                    client.level.is_none_or(|wanted| wanted <= level) || message["params"]["shared"] == false,
                    "{frame}"
                );
                client.logs += 1;
            }
            "notifications/resources/updated" => client.updates += 1,
            "sampling/createMessage" => {
                assert!(client.answers, "can't be asked: {frame}");
                let mark = message["params"]["q"].as_str().unwrap().to_owned();
                client.questions.push((message["id"].clone(), mark));
            }
            "notifications/cancelled" => {
                client.questions.retain(|(id, _)| *id != message["params"]["requestId"]);
            }
            method => {
                assert!(method.ends_with("/list_changed"), "{frame}");
                client.changes += 1;
            }
        }
    }

    /// A server hears something.
    fn serve(&mut self, server: ServerIndex, frame: &str) {
        let message: Value = serde_json::from_str(frame).unwrap();
        let it = &mut self.servers[server];
        if !it.alive {
            return;
        }
        let id = message["id"].clone();
        let result = match message["method"].as_str() {
            None => {
                let question = it.questions.remove(&id.as_u64().unwrap());
                assert!(question.is_some(), "an answer to nothing: {frame}");
                if let Some(text) = message["result"]["q"].as_str() {
                    assert_eq!(Some(text), question.as_deref(), "another question's answer");
                }
                return;
            }
            Some("initialize") => {
                let is_own = message["params"]["clientInfo"]["name"] == "c";
                assert!(!is_own || !self.shared[server], "a server of several peers is told of none of them");
                assert!(!it.initialized || !self.shared[server], "no peer's coming or going has a server asked again");
                it.initialized = true;
                json!({"protocolVersion": "2025-06-18", "serverInfo": {"name": "s", "version": "1"},
                       "capabilities": {"tools": {}, "resources": {"subscribe": true}, "logging": {}}})
            }
            Some("tools/list") => json!({"tools": [{"name": format!("t{server}"), "inputSchema": {"type": "object"}}]}),
            Some("resources/list") => {
                json!({"resources": [{"name": "m", "uri": format!("mem:{server}")}]})
            }
            Some("resources/templates/list") => json!({"resourceTemplates": []}),
            Some("resources/subscribe") => {
                it.followed.insert(message["params"]["uri"].as_str().unwrap().to_owned());
                json!({})
            }
            Some("resources/unsubscribe") => {
                it.followed.remove(message["params"]["uri"].as_str().unwrap());
                json!({})
            }
            Some("logging/setLevel") => {
                it.level = LEVELS.iter().position(|level| message["params"]["level"] == **level);
                json!({})
            }
            Some("ping") => json!({}),
            Some("tools/call" | "resources/read") => {
                assert_eq!(self.bars[server], None, "a call of a server that takes none");
                let params = &message["params"];
                let mark = params["arguments"]["of"].as_str().or(params["of"].as_str()).unwrap().to_owned();
                assert_eq!(id, message["params"]["_meta"]["progressToken"], "the token is exchanged as the id is");
                let caller = self.clients.values().find(|client| mark.starts_with(&client.name)).unwrap();
                assert!(self.sees(caller, server), "{} calls what it does not see", caller.name);
                let it = &mut self.servers[server];
                it.calls.push((id, mark));
                return;
            }
            Some("notifications/cancelled") => {
                let cancelled = &message["params"]["requestId"];
                if let Some(why) = message["params"]["reason"].as_str().filter(|why| why.starts_with("mark-")) {
                    let call = it.calls.iter().find(|(id, _)| id == cancelled).unwrap();
                    assert_eq!(call.1, why, "another call is cancelled");
                }
                let over = it.calls.extract_if(.., |(id, _)| id == cancelled);
                it.cancelled.extend(over);
                return;
            }
            Some(_) => return,
        };
        self.server_says(server, &json!({"jsonrpc": "2.0", "id": id, "result": result}));
    }

    fn server_says(&mut self, server: ServerIndex, message: &Value) {
        super::say(self.router.it(), server, message.to_string().as_bytes(), self.now, &mut self.sink);
    }

    fn server_up(&mut self, server: ServerIndex) {
        self.servers[server] = Served { alive: true, is_stubborn: server == 0, ..Served::default() };
        self.router.it().on_server_up(server, self.now, &mut self.sink);
        self.settle();
    }

    fn server_down(&mut self, server: ServerIndex) {
        self.servers[server] = Served::default();
        let gone = Gone { why: "exited with code 1", retry_in: Duration::from_secs(1), by_command: false };
        self.router.it().on_server_down(server, gone, self.now, &mut self.sink);
        self.settle();
    }

    fn link(&mut self, peer: PeerId, up: bool) {
        let client = self.clients.get_mut(&peer).unwrap();
        if client.linked == up {
            return;
        }
        client.linked = up;
        client.conversing = false;
        if up {
            self.router.it().on_link_up(peer, self.now, &mut self.sink);
        } else {
            (client.next, client.level) = (0, None);
            client.follows.clear();
            client.questions.clear();
            self.give_up(peer);
            self.sink.full.remove(&peer);
            self.unread.remove(&peer);
            self.router.it().on_link_down(peer, self.now, &mut self.sink);
        }
        self.settle();
    }

    fn pass(&mut self, seconds: u64) {
        let until = self.now + Duration::from_secs(seconds);
        while let Some(at) = self.router.it().next_tick().filter(|at| *at <= until) {
            self.now = at.max(self.now);
            self.router.it().on_tick(self.now, &mut self.sink);
            self.settle();
        }
        self.now = until;
    }

    /// What the marks of the calls under way at a server say of whose they are.
    fn callers(&self, server: ServerIndex) -> BTreeSet<String> {
        owners(&self.servers[server].calls)
    }

    /// Whose everything is that a server may work on, whether or not anybody waits for it.
    fn concerned(&self, server: ServerIndex) -> BTreeSet<String> {
        let cancelled = owners(&self.servers[server].cancelled);
        self.callers(server).union(&cancelled).cloned().collect()
    }

    /// Whether nobody can be told from the others to whom a server speaks.
    fn is_for_nobody(&self, server: ServerIndex) -> bool {
        self.concerned(server).len() > 1 || (self.shared[server] && self.callers(server).is_empty())
    }

    fn happen(&mut self, what: &Happening) {
        let servers = self.servers.len();
        match *what {
            Happening::Join(answers) if self.clients.len() < 9 => self.join(answers),
            Happening::Look(p, view) => {
                let Some(peer) = self.client(p) else { return };
                let Kind::Merged(merge, views) = &mut self.router else { return };
                merge.change_sight(peer, views[view], self.now, &mut self.sink);
                let client = self.clients.get_mut(&peer).unwrap();
                client.view = view;
                client.follows.retain(|server| VIEWS[view].contains(server));
                self.look_around();
                self.settle();
            }
            Happening::Swap(s) => self.swap(s % servers),
            Happening::Narrow(view) => self.narrow(view),
            Happening::Leave(p) => {
                let Some(peer) = self.client(p) else { return };
                self.give_up(peer);
                self.clients.remove(&peer);
                self.gone.insert(peer);
                self.router.it().leave(peer, self.now, &mut self.sink);
                self.settle();
            }
            Happening::Link(p, up) => {
                let Some(peer) = self.client(p) else { return };
                self.link(peer, up);
            }
            Happening::Server(s, up) => {
                let s = s % servers;
                match (self.servers[s].alive, up) {
                    (false, true) if self.bars[s] != Some(Bar::Stopped) => self.server_up(s),
                    (true, false) => self.server_down(s),
                    _ => {}
                }
            }
            Happening::Answer(s, n) => {
                let s = s % servers;
                let Served { calls, cancelled, is_stubborn, .. } = &mut self.servers[s];
                let is_stubborn = *is_stubborn;
                let from = if calls.is_empty() && is_stubborn { cancelled } else { calls };
                if from.is_empty() {
                    return;
                }
                let (id, mark) = from.remove(n % from.len());
                self.server_says(s, &json!({"jsonrpc": "2.0", "id": id, "result": {"of": mark}}));
                self.settle();
            }
            Happening::Fail(s, n, how) => self.fail(s % servers, n, how),
            Happening::Progress(s, n) => {
                let s = s % servers;
                let calls = &self.servers[s].calls;
                let Some((id, mark)) = calls.get(n % calls.len().max(1)).cloned() else { return };
                let params = json!({"progressToken": id, "progress": 1, "message": mark});
                self.server_says(s, &json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params}));
                self.settle();
            }
            Happening::Log(s, level) => self.log(s % servers, level),
            Happening::Ask(s) => self.ask(s % servers),
            Happening::Update(s) => self.update(s % servers),
            Happening::Busy(s, busy) => {
                let s = s % servers;
                if self.servers[s].alive {
                    self.servers[s].busy = busy;
                    self.router.it().on_server_busy(s, busy, self.now, &mut self.sink);
                    self.settle();
                }
            }
            Happening::Barred(s, bar) => {
                let s = s % servers;
                self.bars[s] = bar;
                self.router.it().on_server_barred(s, bar, self.now, &mut self.sink);
                self.settle();
                if bar == Some(Bar::Stopped) {
                    self.server_down(s);
                }
            }
            Happening::Changed(s) => self.list_changed(s % servers),
            Happening::Pass(seconds) => self.pass(seconds),
            Happening::Join(_) => {}
            Happening::Hello(p)
            | Happening::Call(p, _)
            | Happening::Read(p, _)
            | Happening::List(p)
            | Happening::Cancel(p, _)
            | Happening::PeerAnswers(p)
            | Happening::Follow(p, ..)
            | Happening::Level(p, _)
            | Happening::Room(p, _)
            | Happening::Batch(p, _) => {
                let Some(peer) = self.client(p).filter(|peer| self.clients[peer].linked) else { return };
                // A pipe reads no more of a peer whose buffer is full than the message that showed it.
                let is_read = matches!(what, Happening::Room(..)) || !self.unread.contains(&peer);
                if is_read {
                    self.client_does(peer, what);
                    let was_read = !matches!(what, Happening::Room(..));
                    self.unread.extend(self.sink.full.get(&peer).filter(|_| was_read));
                }
            }
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the others are not of a client")]
    fn client_does(&mut self, peer: PeerId, what: &Happening) {
        let servers = self.servers.len();
        match *what {
            Happening::Hello(_) => {
                let capabilities = if self.clients[&peer].answers { json!({"sampling": {}}) } else { json!({}) };
                let info = json!({"name": "c", "version": "1"});
                let params = json!({"protocolVersion": "2025-06-18", "capabilities": capabilities, "clientInfo": info});
                self.request(peer, "initialize", params, Open::Other);
                self.clients.get_mut(&peer).unwrap().conversing = true;
                self.say(peer, &json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
            }
            Happening::Call(_, s) => {
                let (params, mark) = self.call(peer, s % servers);
                let id = self.request(peer, "tools/call", params, Open::Call(mark));
                let is_refused = servers == 1 && self.bars[0].is_some();
                assert!(!(is_refused && self.clients[&peer].open.contains_key(&id)), "it is not told at once");
            }
            Happening::Read(_, s) => {
                let (mark, token) = (self.mark(peer) + READ, self.clients[&peer].next + 1);
                let params = json!({"uri": format!("mem:{s}"), "of": format!("{mark}."), "_meta": meta(token, &mark)});
                self.request(peer, "resources/read", params, Open::Call(mark));
            }
            Happening::Batch(_, s) => {
                let mut batch = Vec::new();
                for n in 0..3 {
                    let (mut params, mark) = self.call(peer, (s + n) % servers);
                    let client = self.clients.get_mut(&peer).unwrap();
                    client.next += 1;
                    client.conversing = true;
                    params["_meta"]["progressToken"] = client.next.into();
                    client.open.insert(client.next, Open::Call(mark));
                    batch.push(json!({"jsonrpc": "2.0", "id": client.next, "method": "tools/call", "params": params}));
                }
                self.say(peer, &Value::Array(batch));
            }
            Happening::List(_) => {
                self.request(peer, "tools/list", json!({}), Open::Other);
            }
            Happening::Cancel(_, n) => {
                let calls = self.clients[&peer].open.iter().filter(|(_, open)| matches!(open, Open::Call(_)));
                let calls: Vec<_> = calls.map(|(id, open)| (*id, open.clone())).collect();
                let Some((id, Open::Call(mark))) = calls.get(n % calls.len().max(1)).cloned() else { return };
                self.clients.get_mut(&peer).unwrap().open.remove(&id);
                self.has_become(Open::Call(mark.clone()), Became::GivenUp);
                let params = json!({"requestId": id, "reason": format!("{mark}.")});
                self.say(peer, &json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}));
            }
            Happening::PeerAnswers(_) => {
                let Some((id, mark)) = self.clients.get_mut(&peer).unwrap().questions.pop() else { return };
                self.say(peer, &json!({"jsonrpc": "2.0", "id": id, "result": {"q": mark}}));
            }
            Happening::Follow(_, s, on) => {
                let s = s % servers;
                // Where a server is away or busy a subscription may be refused, which this world does not follow up.
                let is_seen = self.sees(&self.clients[&peer], s);
                if !is_seen || !self.servers.iter().all(|server| server.alive && !server.busy) {
                    return;
                }
                let client = self.clients.get_mut(&peer).unwrap();
                if on {
                    client.follows.insert(s)
                } else {
                    client.follows.remove(&s)
                };
                let method = if on { "resources/subscribe" } else { "resources/unsubscribe" };
                self.request(peer, method, json!({"uri": format!("mem:{s}")}), Open::Other);
            }
            // A stopped server is told nothing, and whoever wanted that gets an error.
            Happening::Level(..) if self.bars.contains(&Some(Bar::Stopped)) => {}
            // One that is away too long may be told nothing either, and its only peer, which asks it itself, gets an error.
            Happening::Level(..) if self.is_alone_with_one_away(peer) => {}
            Happening::Level(_, level) => {
                self.clients.get_mut(&peer).unwrap().level = Some(level);
                self.request(peer, "logging/setLevel", json!({"level": LEVELS[level]}), Open::Other);
            }
            Happening::Room(_, room) => {
                if room {
                    self.sink.full.remove(&peer);
                    self.make_room(peer);
                } else {
                    self.sink.full.insert(peer);
                }
            }
            _ => unreachable!("not of a client"),
        }
    }

    /// A server answers a call otherwise than with what was asked for.
    fn fail(&mut self, server: ServerIndex, n: usize, how: Failing) {
        let calls = &mut self.servers[server].calls;
        if calls.is_empty() {
            return;
        }
        let (id, mark) = calls.remove(n % calls.len());
        let counted = match how {
            Failing::Tool => None,
            Failing::Rpc | Failing::Unreadable => Some(Outcome::RpcError),
            Failing::TooLarge => Some(Outcome::TooLarge),
            Failing::Unanswered => Some(Outcome::ServerDown),
        };
        // Of a call that other servers are asked as well, the last one's answer counts.
        if let Some(counted) = counted.filter(|_| !mark.ends_with(&format!("{READ}."))) {
            self.failed.insert(mark.clone(), counted);
        }
        match how {
            Failing::Tool => {
                let result = json!({"of": mark, "isError": true});
                self.server_says(server, &json!({"jsonrpc": "2.0", "id": id, "result": result}));
            }
            Failing::Rpc => {
                let error = json!({"code": -32000, "message": "no"});
                self.server_says(server, &json!({"jsonrpc": "2.0", "id": id, "error": error}));
            }
            Failing::Unreadable => {
                let line = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":NaN}}"#);
                super::say(self.router.it(), server, line.as_bytes(), self.now, &mut self.sink);
            }
            Failing::TooLarge => {
                let head = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"of":"#);
                let cut = Cut { size: 2 << 20, head: head.as_bytes(), tail: b"\"}}" };
                self.router.it().on_server_too_large(server, cut, self.now, &mut self.sink);
            }
            Failing::Unanswered => {
                let World { router, sink, now, .. } = self;
                router.it().on_server_unanswered(server, id.to_string().as_bytes(), "lost it", *now, sink);
            }
        }
        self.settle();
    }

    /// A server goes for good, and another one comes, which gets its place.
    fn swap(&mut self, server: usize) {
        let Kind::Merged(hub, views) = &mut self.router else { return };
        let views = views.clone();
        self.servers[server] = Served::default();
        hub.remove_server(server, self.now, &mut self.sink);
        self.settle();
        let name = ["a", "b", "c", "d", "e"][server];
        let spec = ServerSpec { max_frame: 1 << 20, ..ServerSpec::sample(name, "", &[]) };
        let Kind::Merged(hub, _) = &mut self.router else { return };
        assert_eq!(hub.add_server(&spec, None), server, "the place of the one that has gone");
        (self.bars[server], self.shared[server]) = (None, false);
        for client in self.clients.values_mut() {
            client.follows.remove(&server);
        }
        for (seen, sight) in VIEWS.iter().zip(views) {
            let Kind::Merged(hub, _) = &mut self.router else { return };
            match sight {
                Sight::Merged(view) => hub.change_view(view, show(seen, spec.sharing), self.now, &mut self.sink),
                Sight::Alone(alone) if alone == server => {
                    let having = |(peer, client): (&PeerId, &Client)| (VIEWS[client.view] == *seen).then_some(*peer);
                    let peers: Vec<_> = self.clients.iter().filter_map(having).filter(|_| seen.len() == 1).collect();
                    for peer in peers {
                        hub.change_sight(peer, sight, self.now, &mut self.sink);
                    }
                }
                Sight::Alone(_) => {}
            }
            self.settle();
        }
        self.look_around();
    }

    /// A view shows less, and then the same again.
    fn narrow(&mut self, view: usize) {
        let Kind::Merged(hub, views) = &mut self.router else { return };
        let Sight::Merged(key) = views[view] else { return };
        let sharing = Sharing::default();
        let (less, last) = (&VIEWS[view][1..], VIEWS[view][0]);
        hub.change_view(key, show(less, sharing), self.now, &mut self.sink);
        let having = self.clients.values_mut().filter(|client| client.view == view);
        having.for_each(|client| client.follows.retain(|server| *server != last));
        hub.change_view(key, show(VIEWS[view], sharing), self.now, &mut self.sink);
        self.settle();
    }

    fn make_room(&mut self, peer: PeerId) {
        if !self.sink.full.contains(&peer) {
            self.unread.remove(&peer);
            self.router.it().on_room(peer, self.now, &mut self.sink);
            self.settle();
        }
    }

    /// A server logs what it works on. If that is several peers' calls, or none, nobody may hear it but the peer of a server that has
    /// always had one alone.
    fn log(&mut self, server: ServerIndex, level: usize) {
        if !self.servers[server].initialized {
            return;
        }
        let said = self.servers[server].said();
        let heard = |world: &World| world.clients.values().map(|client| client.logs).sum::<usize>();
        let (before, kept) = (heard(self), self.sink.kept);
        let params = json!({"level": LEVELS[level], "data": said, "shared": self.shared[server]});
        self.server_says(server, &json!({"jsonrpc": "2.0", "method": "notifications/message", "params": params}));
        self.settle();
        let told = heard(self) - before;
        let kept = self.sink.kept - kept;
        assert!(told + kept <= 1, "one peer at most, or else `mcp-pipe logs`");
        if self.is_for_nobody(server) {
            assert_eq!((told, kept), (0, 1), "nobody can be told from the others");
        }
        let callers = self.callers(server);
        if let Some(client) = self.clients.values().find(|client| callers.contains(&client.name))
            && !self.is_for_nobody(server)
            && client.conversing
            && self.shared[server]
            && client.level.is_none_or(|wanted| wanted <= level)
        {
            assert_eq!(told, 1, "{} has the only calls under way", client.name);
        }
    }

    /// A server asks something of its own.
    fn ask(&mut self, server: ServerIndex) {
        if !self.servers[server].initialized {
            return;
        }
        let it = &mut self.servers[server];
        it.asked += 1;
        let id = 1_000_000 + it.asked;
        // It is about all that is under way, so only the peer of all of it may see it.
        let question = format!("q{id} {}", it.said());
        it.questions.insert(id, question.clone());
        let params = json!({"q": question});
        self.server_says(
            server,
            &json!({"jsonrpc": "2.0", "id": id, "method": "sampling/createMessage", "params": params}),
        );
        self.settle();
        if self.is_for_nobody(server) {
            assert!(!self.servers[server].questions.contains_key(&id), "no server waits in vain");
        }
    }

    fn list_changed(&mut self, server: ServerIndex) {
        if !self.servers[server].initialized {
            return;
        }
        let before: HashMap<_, _> = self.clients.iter().map(|(key, client)| (*key, client.changes)).collect();
        self.server_says(server, &json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}));
        self.settle();
        for (key, client) in &self.clients {
            let told = client.changes - before[key];
            if !self.sees(client, server) {
                assert_eq!(told, 0, "{} does not see {server}", client.name);
            } else if matches!(self.router, Kind::Alone(_)) || ALONE.contains(&client.view) {
                let is_due = client.linked && client.conversing;
                // What a peer without room has said may not have been looked at yet.
                assert!((told == 1) == is_due || self.sink.full.contains(key), "{} has {server} alone", client.name);
            }
        }
    }

    fn update(&mut self, server: ServerIndex) {
        if !self.servers[server].initialized {
            return;
        }
        let before: HashMap<_, _> = self.clients.iter().map(|(key, client)| (*key, client.updates)).collect();
        let params = json!({"uri": format!("mem:{server}")});
        let updated = json!({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": params});
        self.server_says(server, &updated);
        self.settle();
        for (key, client) in &self.clients {
            let told = client.updates - before[key];
            assert!(told <= 1);
            if self.shared[server] {
                let is_due = client.linked && client.conversing && client.follows.contains(&server);
                assert_eq!(told == 1, is_due, "{} and the updates of {server}", client.name);
                let is_subscribed = self.servers[server].followed.contains(&format!("mem:{server}"));
                assert!(
                    is_subscribed || !is_due,
                    "{} waits for updates that {server} was told not to send",
                    client.name
                );
            }
        }
    }

    /// All that is under way comes to its end.
    fn end(&mut self) {
        for server in 0..self.servers.len() {
            self.happen(&Happening::Barred(server, None));
            if !self.servers[server].alive {
                self.server_up(server);
            }
            self.router.it().on_server_busy(server, false, self.now, &mut self.sink);
            self.settle();
        }
        let full: Vec<_> = std::mem::take(&mut self.sink.full).into_iter().collect();
        for peer in full {
            self.make_room(peer);
        }
        for _ in 0..3 {
            self.pass(60);
            while let Some(server) = (0..self.servers.len()).find(|s| !self.servers[*s].calls.is_empty()) {
                self.happen(&Happening::Answer(server, 0));
            }
        }
        for client in self.clients.values() {
            assert!(client.open.is_empty(), "{} waits for {:?}", client.name, client.open);
        }
        assert_eq!(self.router.it().in_flight(), 0);
        for (server, it) in self.servers.iter().enumerate() {
            let wanted = self.clients.values().filter(|client| client.linked && client.follows.contains(&server));
            let wanted: BTreeSet<_> = wanted.map(|_| format!("mem:{server}")).collect();
            let followed: BTreeSet<_> = it.followed.clone();
            assert_eq!(followed, wanted, "what is followed at {server}");
            let viewers = self.clients.values().filter(|client| self.sees(client, server));
            let lowest = viewers.filter_map(|client| client.level).min();
            assert!(lowest.is_none_or(|lowest| it.level.is_some_and(|level| level <= lowest)), "the level of {server}");
        }
        let peers: Vec<_> = self.clients.keys().copied().collect();
        for peer in peers {
            self.give_up(peer);
            self.clients.remove(&peer);
            self.gone.insert(peer);
            self.router.it().leave(peer, self.now, &mut self.sink);
            self.settle();
        }
        assert!(self.servers.iter().all(|server| server.followed.is_empty() && server.questions.is_empty()));
        // Whatever comes for a peer that is gone changes nothing.
        for peer in self.gone.clone() {
            self.router.it().on_peer(
                peer,
                br#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#,
                self.now,
                &mut self.sink,
            );
            self.router.it().on_link_up(peer, self.now, &mut self.sink);
            self.router.it().on_link_down(peer, self.now, &mut self.sink);
            assert!(self.sink.peers.is_empty() && self.sink.servers.is_empty());
        }
        self.assert_counted();
    }
}

#[test]
fn a_peer_that_floods_a_server_costs_the_others_nothing() {
    for merged in [false, true] {
        let mut world = World::new(merged);
        (0..3).for_each(|_| world.join(false));
        (0..world.servers.len()).for_each(|server| world.server_up(server));
        for p in 0..3 {
            world.happen(&Happening::Look(p, 0));
            world.happen(&Happening::Link(p, true));
        }
        let tokens = |world: &World, p: usize| {
            let client = world.clients.values().nth(p).unwrap();
            client.open.len()
        };
        (0..super::lane::MAX_IN_FLIGHT + 10).for_each(|_| world.happen(&Happening::Call(0, 0)));
        assert_eq!(tokens(&world, 0), super::lane::MAX_IN_FLIGHT, "the rest was refused");
        (1..3).for_each(|p| world.happen(&Happening::Call(p, 0)));
        assert_eq!((tokens(&world, 1), tokens(&world, 2)), (1, 1), "these are under way");
        world.end();
    }
}

#[test]
fn a_server_that_its_only_peer_has_told_nothing_goes_on_once_another_peer_uses_it() {
    for merged in [false, true] {
        let mut world = World::new(merged);
        world.join(true);
        world.server_up(4.min(world.servers.len() - 1));
        world.join(true);
        world.happen(&Happening::Link(1, true));
        if merged {
            world.happen(&Happening::Look(1, 0));
        }
        world.happen(&Happening::Call(1, 4));
        let called = world.servers.iter().map(|server| server.calls.len()).sum::<usize>();
        assert_eq!(called, 1, "the call is not kept for a peer that may never come");
    }
}

/// Two clients that see all servers, are linked and have said hello.
fn two(merged: bool) -> World {
    let mut world = World::new(merged);
    (0..2).for_each(|_| world.join(true));
    (0..world.servers.len()).for_each(|server| world.server_up(server));
    for p in 0..2 {
        let begin = [Happening::Look(p, 0), Happening::Link(p, true), Happening::Hello(p)];
        begin.iter().for_each(|what| world.happen(what));
    }
    world
}

#[test]
fn a_peer_cancels_its_own_call_and_not_that_of_another_with_the_same_id() {
    for (merged, canceller) in [(false, 0), (false, 1), (true, 0), (true, 1)] {
        let mut world = two(merged);
        (0..2).for_each(|p| world.happen(&Happening::Call(p, 0)));
        let ids = world.clients.values().map(|client| client.open.keys().collect::<Vec<_>>()).collect::<Vec<_>>();
        assert_eq!(ids[0], ids[1], "the same id at both");
        world.happen(&Happening::Cancel(canceller, 0));
        let other = world.clients.values().nth(1 - canceller).unwrap().name.clone();
        assert_eq!(world.callers(0), BTreeSet::from([other]));
        world.end();
    }
}

#[test]
fn what_two_peers_follow_is_followed_until_both_have_had_enough() {
    for (merged, first) in [(false, 0), (false, 1), (true, 0), (true, 1)] {
        let mut world = two(merged);
        (0..2).for_each(|p| world.happen(&Happening::Follow(p, 0, true)));
        world.happen(&Happening::Follow(first, 0, false));
        world.happen(&Happening::Update(0));
        let told: Vec<_> = world.clients.values().map(|client| client.updates).collect();
        assert_eq!((told[first], told[1 - first]), (0, 1));
        world.happen(&Happening::Follow(1 - first, 0, false));
        assert!(world.servers[0].followed.is_empty());
    }
}

#[test]
fn a_changed_list_is_told_to_each_peer_that_has_the_server_alone() {
    for merged in [false, true] {
        let mut world = two(merged);
        (0..2).filter(|_| merged).for_each(|p| world.happen(&Happening::Look(p, 5)));
        world.happen(&Happening::Changed(0));
        let told: Vec<_> = world.clients.values().map(|client| client.changes).collect();
        assert!(told.iter().all(|told| *told > 0), "{told:?}");
    }
}

#[test]
fn a_server_that_works_for_a_peer_which_sees_it_no_more_asks_no_other_about_that() {
    let mut world = two(true);
    world.happen(&Happening::Call(0, 0));
    world.happen(&Happening::Look(0, 2));
    assert_eq!(world.viewers(0), 1);
    world.happen(&Happening::Ask(0));
    let asked: Vec<_> = world.clients.values().map(|client| client.questions.len()).collect();
    assert_eq!(asked, [1, 0], "the caller alone");
    world.end();
}

#[test]
fn a_server_that_works_on_after_its_peer_has_gone_speaks_to_no_other_until_it_has_answered() {
    for gone in [Happening::Cancel(0, 0), Happening::Link(0, false), Happening::Leave(0)] {
        let mut world = two(true);
        world.happen(&Happening::Call(0, 0));
        world.happen(&gone);
        let other = world.clients.len() - 1;
        let told = |world: &World| {
            let client = world.clients.values().nth(other).unwrap();
            (client.logs, client.questions.len())
        };
        // As the only peer that sees the server, and as the only one with a call under way.
        for called in [false, true] {
            if called {
                world.happen(&Happening::Call(other, 0));
            }
            world.happen(&Happening::Log(0, 3));
            world.happen(&Happening::Ask(0));
            assert_eq!(told(&world), (0, 0), "{gone:?}");
        }
        let (id, _) = world.servers[0].cancelled.pop().unwrap();
        world.server_says(0, &json!({"jsonrpc": "2.0", "id": id, "result": {}}));
        world.happen(&Happening::Log(0, 3));
        world.happen(&Happening::Ask(0));
        assert_eq!(told(&world), (1, 1), "{gone:?}");
        world.end();
    }
}

#[test]
fn a_call_that_was_cancelled_long_ago_keeps_nobody_from_being_asked() {
    let mut world = two(true);
    world.happen(&Happening::Call(0, 0));
    world.happen(&Happening::Cancel(0, 0));
    world.servers[0].cancelled.clear();
    world.pass(super::lane::STALE.as_secs());
    world.happen(&Happening::Call(1, 0));
    world.happen(&Happening::Ask(0));
    assert_eq!(world.clients.values().nth(1).unwrap().questions.len(), 1);
    world.end();
}

/// Most bytes that a router keeps for one peer with a call under way, however much its servers list.
const OF_A_PEER: usize = 16 * 1024;

#[test]
fn a_thousand_peers_cost_little_each() {
    const PEERS: usize = 1000;
    for merged in [false, true] {
        let mut world = World::new(merged);
        (0..world.servers.len()).for_each(|server| world.server_up(server));
        let begin = |world: &mut World| {
            world.join(true);
            let peer = *world.clients.keys().next_back().unwrap();
            let view = world.clients[&peer].view;
            let last = world.clients.len() - 1;
            for what in [Happening::Link(last, true), Happening::Hello(last), Happening::List(last)] {
                world.happen(&what);
            }
            for server in VIEWS[view] {
                let what = [Happening::Follow(last, *server, true), Happening::Call(last, *server)];
                what.iter().for_each(|what| world.happen(what));
            }
        };
        (0..8).for_each(|_| begin(&mut world));
        // The clients of this world are counted too, which makes the bound a little stricter.
        let counted = allocation_counter::measure(|| (0..PEERS).for_each(|_| begin(&mut world)));
        let each = counted.bytes_current / PEERS as i64;
        assert!(each > 0 && each <= OF_A_PEER as i64, "{each} bytes");
        world.end();
    }
}

#[test]
fn a_server_that_waits_for_a_peer_does_not_wait_when_the_peer_has_left() {
    for merged in [false, true] {
        let mut world = World::new(merged);
        world.join(true);
        world.server_up(0);
        world.happen(&Happening::Ask(0));
        assert_eq!(world.servers[0].questions.len(), 1, "its only peer may yet come to be asked");
        world.happen(&Happening::Leave(0));
        assert!(world.servers[0].questions.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn peers_that_share_servers_get_their_own_and_nothing_of_each_other_and_each_call_is_counted_once(
        merged in any::<bool>(),
        events in proptest::collection::vec(happening(), 1..250),
    ) {
        let mut world = World::new(merged);
        for _ in 0..4 {
            world.join(true);
        }
        for server in 0..world.servers.len() {
            world.server_up(server);
        }
        for event in &events {
            world.happen(event);
        }
        world.end();
    }
}
