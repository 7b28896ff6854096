//! What a pipe holds, in bytes, whatever the endpoint and the servers send and however little they read.
//!
//! Everything is the real thing but sockets and processes: codecs, buffers, routers, and the pipe's rules for who is read
//! when. Each allocation of the thread is counted.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use allocation_counter::{AllocationInfo, measure};
use proptest::prelude::*;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocket};

use super::*;
use crate::link::cause::Cause;
use crate::net::websocket::{Event, Incoming};
use crate::router::hub::Hub;
use crate::router::turns::{NewSeat, Turns};
use crate::server::{Found, Stdout};

/// What the endpoint says first.
const HELLO: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{"roots":{},"sampling":{}}}}"#;

/// Most bytes that one read brings.
const READ: usize = 64 * 1024;

/// Largest message, in bytes: small, so that the tables of a router count beside it.
const MAX_FRAME: usize = 40 * 1024;

/// Most bytes that an answer of our own has beside what it quotes, and a message beside its own bytes: ids, headers.
const AROUND: usize = 4 * 1024;

/// Most bytes of an error for a request under way: a message of at most 1 KiB and an id as long.
const ERROR: usize = 2 * 1024 + 256;

/// Most bytes that a router may keep for one server beside what waits in buffers: requests under way and held (1 MiB each,
/// and as much for their tables), questions (1 MiB), subscriptions (1000 of two times 2 KiB), handshake and lists.
const TABLES: usize = 12 << 20;

/// A pipe without sockets and processes.
struct Rig {
    router: Box<dyn Router + Send>,
    peer: PeerId,
    sides: Sides,
    incoming: Incoming,
    stdouts: Vec<Stdout>,
    now: Instant,
    /// The most bytes that waited for the endpoint, and for all servers together.
    most: (usize, usize),
}

/// Which router takes the servers: as in the modes of a config.
#[derive(Debug, Clone, Copy)]
enum Layout {
    Alone,
    Edited,
    Merged,
    Turns,
}

impl Layout {
    fn servers(self) -> usize {
        match self {
            Layout::Alone | Layout::Edited => 1,
            Layout::Merged | Layout::Turns => 3,
        }
    }

    /// The router, and the peers that stand for the endpoint.
    fn router(self, specs: &[Arc<ServerSpec>], now: Instant) -> (Box<dyn Router + Send>, Vec<PeerId>) {
        let new = NewPeer::unknown(MAX_FRAME);
        let mut hub = match self {
            Layout::Alone => Hub::alone(&specs[0]),
            Layout::Edited | Layout::Merged => Hub::merging(specs.iter().map(|spec| (spec.clone(), None))),
            Layout::Turns => {
                let mut turns = Turns::default();
                let seat = |spec: &Arc<ServerSpec>| {
                    let server = turns.hub.add_server(spec, None);
                    NewSeat { server, name: spec.name.clone(), sight: Sight::Alone(server), pin: false }
                };
                let seats = specs.iter().map(seat).collect();
                let peers = turns.join_in_turns(&new, seats, Duration::from_secs(60), now);
                return (Box::new(turns), peers);
            }
        };
        let peer = hub.join(new);
        (Box::new(hub), vec![peer])
    }
}

impl Rig {
    fn new(layout: Layout) -> Self {
        let (now, status) = (Instant::now(), Status::default());
        let spec = |n| ServerSpec { max_frame: MAX_FRAME, ..ServerSpec::sample(&format!("server{n}"), "", &[]) };
        let specs: Vec<_> = (0..layout.servers()).map(|n| Arc::new(spec(n))).collect();
        let (router, peers) = layout.router(&specs, now);
        let stdouts = specs.iter().map(|_| Stdout::new(MAX_FRAME, now)).collect();
        let names = specs.iter().map(|spec| spec.name.clone()).collect();
        let mut sides = Sides::new(&run(Stop::new()));
        for (server, spec) in specs.into_iter().enumerate() {
            sides.put(server, Side::new(spec, status.add_server("x"), unchanged(), now));
        }
        let entry = status.add_link(&"ws://h/".parse().unwrap(), None);
        let seen = ((0..sides.each.len()).collect(), names);
        sides.links.put(0, &peers, LinkSide::new(Some(entry), seen, MAX_FRAME, "agent".into()));
        let incoming = Incoming::new(MAX_FRAME);
        Rig { router, peer: peers[0], sides, incoming, stdouts, now, most: (0, 0) }
    }

    /// The endpoint and all servers are there, and know what they need to know of each other.
    fn begin(&mut self, tools: usize) {
        for server in 0..self.stdouts.len() {
            self.server_event(server, ServerEvent::Up { pid: Some(1) });
            self.serve(server, tools);
        }
        self.link_event(LinkEvent::Up(Duration::ZERO));
        for said in [
            HELLO,
            r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#,
        ] {
            self.link_event(LinkEvent::Message(said));
            (0..self.stdouts.len()).for_each(|server| self.serve(server, tools));
        }
        self.sides.links.each[0].out.clear();
    }

    /// A server answers the requests that it has got, as long as any come.
    fn serve(&mut self, server: ServerIndex, tools: usize) {
        self.serve_but(server, tools, "");
    }

    /// The same, but for one method: once a request with that comes, all requests stay.
    fn serve_but(&mut self, server: ServerIndex, tools: usize, unanswered: &str) {
        while !self.sides.each[server].stdin.is_empty() {
            let stdin = &mut self.sides.each[server].stdin;
            let asked = requests(stdin.pending());
            if asked.iter().any(|request| request["method"] == unanswered) {
                return;
            }
            stdin.clear();
            for request in asked {
                let result = match request["method"].as_str() {
                    _ if request["id"].is_null() => continue,
                    Some("initialize") => {
                        json!({"protocolVersion": "2025-06-18", "capabilities": {"tools": {}, "resources": {"subscribe": true}, "logging": {}}})
                    }
                    Some("tools/list") => {
                        json!({"tools": (0..tools).map(|n| json!({"name": tool(n)})).collect::<Vec<_>>()})
                    }
                    Some("resources/list") => json!({"resources": [{"uri": "a://b", "name": "b"}]}),
                    Some("resources/templates/list") => {
                        json!({"resourceTemplates": [{"uriTemplate": "a://{+x}", "name": "x"}]})
                    }
                    _ => json!({}),
                };
                let answer = json!({"jsonrpc": "2.0", "id": request["id"], "result": result}).to_string();
                if self.server_reads(server, Some((answer + "\n").as_bytes())).is_break() {
                    return;
                }
            }
        }
    }

    /// What the endpoint calls the first server's tool. To be called where the router reads lists.
    fn tool(&mut self) -> String {
        self.link_event(LinkEvent::Message(r#"{"id":"t","method":"tools/list"}"#));
        (0..self.stdouts.len()).for_each(|server| self.serve(server, 1));
        let list = read_all(self).pop().unwrap();
        list["result"]["tools"][0]["name"].as_str().unwrap().to_owned()
    }

    /// The requests that a server has been sent and has not read.
    fn asked(&self, server: ServerIndex) -> Vec<Value> {
        requests(self.sides.each[server].stdin.pending())
    }

    fn link_event(&mut self, event: LinkEvent<'_>) {
        on_link((&mut *self.router, self.peer), (&mut self.sides, 0), event, Then::Again, self.now);
    }

    fn server_event(&mut self, server: ServerIndex, event: ServerEvent<'_>) {
        on_server(&mut *self.router, (&mut self.sides, true), server, event, self.now);
    }

    /// What the pipe does with a read of the link, or with what is left of one.
    fn link_reads(&mut self, bytes: Option<&[u8]>) -> ControlFlow<()> {
        let Rig { router, peer, sides, incoming, now, .. } = self;
        if !sides.takes_from_endpoint(0) {
            return ControlFlow::Break(());
        }
        let on = &mut |event: Event<'_>| {
            let event = match event {
                Event::Message(text) => LinkEvent::Message(text),
                Event::TooLarge(cut) => LinkEvent::TooLarge(cut),
                Event::NotText(frame) => LinkEvent::NotText(frame),
                Event::Ping(payload) => {
                    sides.links.each[0].out.pong(payload);
                    return ControlFlow::Continue(());
                }
                Event::Pong | Event::Close { .. } => return ControlFlow::Continue(()),
            };
            on_link((&mut **router, *peer), (sides, 0), event, Then::Again, *now);
            if_room(sides.takes_from_endpoint(0))
        };
        incoming.resume(on).unwrap()?;
        bytes.map_or(ControlFlow::Continue(()), |bytes| incoming.feed(bytes, on).unwrap())
    }

    /// What the pipe does with a read of a server, or with what is left of one.
    fn server_reads(&mut self, server: ServerIndex, bytes: Option<&[u8]>) -> ControlFlow<()> {
        let Rig { router, sides, stdouts, now, .. } = self;
        if !sides.takes_from_server(server) {
            return ControlFlow::Break(());
        }
        let on = &mut |found: Found<'_>| {
            if let Found::Habit(_) = found {
                return ControlFlow::Continue(());
            }
            on_server(&mut **router, (sides, true), server, ServerEvent::Said(found), *now);
            if_room(sides.takes_from_server(server))
        };
        let stdout = &mut stdouts[server];
        stdout.resume(*now, on)?;
        if stdout.deadline().is_some_and(|at| at <= *now) {
            stdout.on_deadline(*now, on)?;
        }
        bytes.map_or(ControlFlow::Continue(()), |bytes| stdout.feed(bytes, *now, on))
    }

    /// What the pipe does at each look: whoever has room again goes on.
    fn look(&mut self) {
        self.router.on_room(self.peer, self.now, &mut self.sides);
        let _full = self.link_reads(None);
        for server in 0..self.stdouts.len() {
            let _full = self.server_reads(server, None);
        }
        // What the timers do.
        for _ in 0..100 {
            if self.router.next_tick().is_none_or(|at| at > self.now) {
                break;
            }
            self.router.on_tick(self.now, &mut self.sides);
        }
        let watched = self.sides.watch(&mut *self.router, self.now);
        let unwanted = std::mem::take(&mut self.sides.restarts).into_iter().map(|(server, _)| server);
        for server in watched.stuck.into_iter().chain(unwanted) {
            self.restart(server);
        }
    }

    fn restart(&mut self, server: ServerIndex) {
        self.stdouts[server] = Stdout::new(MAX_FRAME, self.now);
        self.server_event(
            server,
            ServerEvent::Down {
                why: "did not read its stdin for 5 min",
                retry_in: Duration::ZERO,
                life: Life::Replaced { pid: Some(1) },
            },
        );
        self.server_event(server, ServerEvent::Up { pid: Some(1) });
    }

    fn make(&mut self, step: &Step) {
        let servers = self.stdouts.len();
        match step {
            // What is not read stays where it is, and is not sent again.
            Step::Endpoint(said) => {
                let _full = reads(said).try_for_each(|read| self.link_reads(Some(&read)));
            }
            Step::Server(server, said) => {
                let _full = reads(said).try_for_each(|read| self.server_reads(server % servers, Some(&read)));
            }
            Step::Serve(server) => self.serve(server % servers, 30),
            Step::EndpointTakes(n) => {
                let out = &mut self.sides.links.each[0].out;
                out.advance(out.pending().len().min(*n));
            }
            Step::ServerTakes(server, n) => {
                let stdin = &mut self.sides.each[server % servers].stdin;
                stdin.advance(stdin.len().min(*n));
            }
            Step::ServerDies(server) => self.restart(server % servers),
            Step::Reconnect => {
                self.sides.links.each[0].out.clear();
                self.incoming = Incoming::new(MAX_FRAME);
                let cause = Cause::Lost("for a test".into());
                let (open_for, retry_in) = (Some(Duration::ZERO), Duration::ZERO);
                self.link_event(LinkEvent::Down { cause: &cause, open_for, retry_in });
                self.link_event(LinkEvent::Up(Duration::ZERO));
            }
            Step::Pass(seconds) => self.now += Duration::from_secs(*seconds),
        }
    }

    fn waits_for_servers(&self) -> usize {
        self.sides.each.iter().map(|side| side.stdin.len()).sum()
    }

    /// Makes a step, and compares what waits then with what may.
    fn check(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let under_way = self.router.in_flight();
        let (before, full) = (self.sides.links.each[0].out.pending().len(), 2 * HIGH + MAX_FRAME);
        let stdin_before: Vec<_> = self.sides.each.iter().map(|side| side.stdin.len()).collect();
        self.make(step);
        self.look();
        // Whatever is answered all at once are errors, one for each request under way; everything else comes one by one.
        let under_way = under_way.max(self.router.in_flight());
        let mark = if let Step::Server(..) | Step::Serve(_) = step { HIGH } else { full };
        let limit = before.max(mark) + MAX_FRAME + AROUND + under_way * ERROR;
        let pending = self.sides.links.each[0].out.pending().len();
        prop_assert!(pending <= limit, "{pending} bytes wait for the endpoint, {under_way} requests are under way");
        for (side, before) in self.sides.each.iter().zip(stdin_before) {
            // Messages that were held for the server go to it at once, as do cancellations and subscriptions.
            let limit = before.max(full.max(CROWDED)) + MAX_FRAME + AROUND + (5 << 20);
            prop_assert!(side.stdin.len() <= limit, "{} bytes wait for {}", side.stdin.len(), side.name);
        }
        self.most = (self.most.0.max(pending), self.most.1.max(self.waits_for_servers()));
        Ok(())
    }
}

/// Messages for a server. The first may have been taken in part.
fn requests(stdin: &[u8]) -> Vec<Value> {
    stdin.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

/// Whole messages as they are read: as many at once as a read holds, or a part of a long one.
fn reads(said: &[Vec<u8>]) -> impl Iterator<Item = Vec<u8>> {
    let mut rest = said;
    let many = move || {
        let first = rest.first()?;
        let mut bytes = first.len();
        let more = rest[1..].iter().take_while(|message| {
            bytes += message.len();
            bytes <= READ
        });
        let (read, left) = rest.split_at(1 + more.count());
        rest = left;
        Some(read.concat())
    };
    std::iter::from_fn(many).flat_map(|read| read.chunks(READ).map(<[u8]>::to_vec).collect::<Vec<_>>())
}

/// What an endpoint, a server or the network does.
#[derive(Clone)]
enum Step {
    /// Messages of the endpoint.
    Endpoint(Vec<Vec<u8>>),
    /// Lines of a server.
    Server(ServerIndex, Vec<Vec<u8>>),
    /// A server reads and answers all requests that it has got.
    Serve(ServerIndex),
    EndpointTakes(usize),
    ServerTakes(ServerIndex, usize),
    ServerDies(ServerIndex),
    Reconnect,
    Pass(u64),
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let begin = |said: &[Vec<u8>]| {
            let first = said[0][..said[0].len().min(120)].escape_ascii();
            format!("{} of {} bytes: {first}", said.len(), said[0].len())
        };
        match self {
            Step::Endpoint(said) => write!(f, "endpoint says {}", begin(said)),
            Step::Server(server, said) => write!(f, "server {server} says {}", begin(said)),
            Step::Serve(server) => write!(f, "server {server} serves"),
            Step::EndpointTakes(n) => write!(f, "endpoint takes {n}"),
            Step::ServerTakes(server, n) => write!(f, "server {server} takes {n}"),
            Step::ServerDies(server) => write!(f, "server {server} dies"),
            Step::Reconnect => write!(f, "reconnect"),
            Step::Pass(seconds) => write!(f, "{seconds} s pass"),
        }
    }
}

/// A flood of one kind of message: a template in which `N` counts up, `BIG` is a long text and `LONG` one of some 1000
/// bytes.
fn flood(templates: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    let size = prop_oneof![3 => Just(8 << 10), 2 => Just(READ), 1 => Just(4 * READ)];
    let big = prop_oneof![3 => 0..200usize, 1 => 0..MAX_FRAME, 1 => MAX_FRAME..2 * MAX_FRAME];
    (prop::sample::select(templates), 0..5000u64, size, big, prop::bool::weighted(0.1)).prop_map(
        |(template, from, size, big, batch)| {
            let (big, long) = ("b".repeat(big), "l".repeat(990));
            let (mut all, mut bytes) = (Vec::new(), 0);
            while bytes < size {
                let n = (from + all.len() as u64).to_string();
                let message = template.replace("BIG", &big).replace("LONG", &long).replace('N', &n);
                bytes += message.len() + 10;
                all.push(message);
            }
            if batch {
                let small: Vec<_> = all.iter().take_while(|m| m.len() < MAX_FRAME / 100).take(100).cloned().collect();
                vec![format!("[{}]", small.join(","))]
            } else {
                all
            }
        },
    )
}

const ENDPOINT: &[&str] = &[
    r#"{"jsonrpc":"2.0","id":N,"method":"tools/list"}"#,
    r#"{"jsonrpc":"2.0","id":"LONGN","method":"tools/list"}"#,
    r#"{"id":N,"method":"initialize","params":{"protocolVersion":"2024-11-05","capabilities":{},"x":"BIG"}}"#,
    r#"{"id":"LONGN","method":"ping"}"#,
    r#"{"id":"LONGN","method":"custom/method","params":{"x":"BIG"}}"#,
    r#"{"id":N,"method":"custom/method","params":{"x":"LONGLONGLONG"}}"#,
    r#"{"id":"LONGN","method":"tools/call","params":{"name":"tool1","_meta":{"progressToken":"LONG"}}}"#,
    r#"{"id":N,"method":"tools/call","params":{"name":"BIG"}}"#,
    r#"{"id":N,"method":"tools/call","params":{"name":"x","arguments":{"x":"BIG"}}}"#,
    r#"{"id":N,"method":"resources/read","params":{"uri":"a://N"}}"#,
    r#"{"id":N,"method":"resources/subscribe","params":{"uri":"a://LONGN"}}"#,
    r#"{"id":N,"method":"resources/unsubscribe","params":{"uri":"a://LONGN"}}"#,
    r#"{"id":N,"method":"completion/complete","params":{"ref":{"type":"ref/resource","uri":"a://{+x}"},"argument":"BIG"}}"#,
    r#"{"id":N,"method":"logging/setLevel","params":{"level":"LONG"}}"#,
    r#"{"id":N,"method":"server/discover"}"#,
    r#"{"method":"notifications/cancelled","params":{"requestId":N,"reason":"BIG"}}"#,
    r#"{"method":"notifications/roots/list_changed","params":{"x":"BIG"}}"#,
    r#"{"method":"notifications/progress","params":{"progressToken":"mcp-pipe-N","message":"BIG"}}"#,
    r#"{"id":"mcp-pipe-N","result":{"x":"BIG"}}"#,
    r#"{"id":"mcp-pipe-N","error":{"code":1,"message":"BIG"},"error":0}"#,
    r#"{"id":N,"method":"tools/call","Method":"BIG"}"#,
    r#"{"id":N}"#,
    r#"{"jsonrpc":"2.0","id":N,"method":"BIG""#,
    "BIG",
    "1",
];

const SERVER: &[&str] = &[
    r#"{"jsonrpc":"2.0","id":N,"result":{"x":"BIG"}}"#,
    r#"{"jsonrpc":"2.0","id":N,"error":{"code":-32601,"message":"BIG"}}"#,
    r#"{"jsonrpc":"2.0","id":N,"result":{"tools":[{"name":"N"},{"name":"LONG"}],"nextCursor":"N"}}"#,
    r#"{"jsonrpc":"2.0","id":N,"id":7,"result":{"x":"BIG"}}"#,
    r#"{"jsonrpc":"2.0","id":"LONGN","method":"ping"}"#,
    r#"{"jsonrpc":"2.0","id":"LONGN","method":"roots/list","params":{"x":"BIG","_meta":{"progressToken":"LONG"}}}"#,
    r#"{"jsonrpc":"2.0","id":N,"method":"elicitation/create","params":{"x":"BIG"}}"#,
    r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#,
    r#"{"jsonrpc":"2.0","method":"notifications/resources/list_changed"}"#,
    r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"x":"BIG"}}"#,
    r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":N}}"#,
    r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"a://LONGN"}}"#,
    r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"LONGN","reason":"BIG"}}"#,
    r#"{"jsonrpc":"2.0","id":N,"result":BIG}"#,
    "BIG",
];

/// A text message as a server of RFC 6455 writes it; a ping in front of some.
fn framed(n: usize, message: &str) -> Vec<u8> {
    let mut frame = if n.is_multiple_of(7) { vec![0x89, 0] } else { Vec::new() };
    frame.extend([0x81, 127]);
    frame.extend((message.len() as u64).to_be_bytes());
    frame.extend(message.bytes());
    frame
}

fn step() -> impl Strategy<Value = Step> {
    let endpoint = flood(ENDPOINT)
        .prop_map(|all| Step::Endpoint(all.iter().enumerate().map(|(n, message)| framed(n, message)).collect()));
    let server = (0..3usize, flood(SERVER))
        .prop_map(|(n, all)| Step::Server(n, all.into_iter().map(|line| (line + "\n").into()).collect()));
    let some = || prop_oneof![Just(1000usize), Just(100_000), Just(usize::MAX)];
    prop_oneof![
        8 => endpoint,
        5 => server,
        1 => (0..3usize).prop_map(Step::Serve),
        1 => some().prop_map(Step::EndpointTakes),
        1 => (0..3usize, some()).prop_map(|(server, n)| Step::ServerTakes(server, n)),
        1 => (0..3usize).prop_map(Step::ServerDies),
        1 => Just(Step::Reconnect),
        2 => prop_oneof![Just(1u64), Just(10), Just(300)].prop_map(Step::Pass),
    ]
}

/// The name of a server's tool.
fn tool(n: usize) -> String {
    format!("tool{n}_{}", "x".repeat(200))
}

/// Messages from a template: `N` counts up from `from`, `BIG` is a text of `big` bytes, and `LONG` one of some 1000.
fn said(template: &str, from: usize, count: usize, big: usize) -> Vec<String> {
    let (big, long) = ("b".repeat(big), "l".repeat(990));
    let message = template.replace("BIG", &big).replace("LONG", &long);
    (from..from + count).map(|n| message.replace('N', &n.to_string())).collect()
}

fn by_endpoint(all: &[String]) -> Step {
    Step::Endpoint(all.iter().map(|message| framed(1, message)).collect())
}

fn by_server(server: ServerIndex, all: &[String]) -> Step {
    Step::Server(server, all.iter().map(|line| format!("{line}\n").into()).collect())
}

/// A rig after these steps, each of them within the limits, and how many bytes it holds.
fn held_after(layout: Layout, tools: usize, steps: impl FnOnce(&mut Rig) -> Result<(), TestCaseError>) -> (Rig, usize) {
    let mut kept = None;
    let counted = counted(|| {
        let mut rig = Rig::new(layout);
        rig.begin(tools);
        steps(&mut rig).unwrap();
        kept = Some(rig);
    });
    (kept.unwrap(), counted.bytes_current as usize)
}

/// Tools whose list is nearly as large as a message may be.
const MANY: usize = 150;

#[test]
fn requests_that_are_answered_from_memory_wait_for_room_alone_and_in_a_batch() {
    for layout in [Layout::Edited, Layout::Merged] {
        let list = said(r#"{"jsonrpc":"2.0","id":N,"method":"tools/list"}"#, 0, 400, 0);
        let batch = vec![format!("[{}]", list[..256].join(","))];
        for all in [list, batch] {
            let (mut rig, _) = held_after(layout, MANY, |rig| rig.check(&by_endpoint(&all)));
            assert!(rig.sides.links.each[0].out.pending().len() >= 2 * HIGH, "it has asked for more than fits");
            // All requests are answered in the end, once there is room.
            let answers = read_all(&mut rig).into_iter().map(|answer| answer["id"].as_u64().unwrap());
            assert_eq!(answers.collect::<Vec<_>>(), (0..all.len().max(256) as u64).collect::<Vec<_>>());
        }
    }
}

/// What the endpoint reads, until there is no more.
fn read_all(rig: &mut Rig) -> Vec<Value> {
    let mut all = Vec::new();
    while !rig.sides.links.each[0].out.pending().is_empty() {
        let mut server = WebSocket::from_raw_socket(
            std::io::Cursor::new(rig.sides.links.each[0].out.pending().to_vec()),
            Role::Server,
            None,
        );
        all.extend(
            std::iter::from_fn(|| server.read().ok())
                .filter(Message::is_text)
                .map(|message| serde_json::from_str::<Value>(message.to_text().unwrap()).unwrap()),
        );
        rig.sides.links.each[0].out.clear();
        rig.look();
    }
    all
}

#[test]
fn requests_that_waited_for_a_server_are_answered_as_there_is_room() {
    let big = "x".repeat(30_000);
    // A list that many wait for, and a handshake.
    for (layout, method, result) in [
        (
            Layout::Edited,
            "tools/list",
            format!(r#"{{"tools":[{{"name":"a","x":"{big}","inputSchema":{{"type":"object"}}}}]}}"#),
        ),
        (Layout::Alone, "initialize", format!(r#"{{"protocolVersion":"2025-06-18","capabilities":{{}},"x":"{big}"}}"#)),
    ] {
        let mut rig = Rig::new(layout);
        rig.server_event(0, ServerEvent::Up { pid: Some(1) });
        rig.link_event(LinkEvent::Up(Duration::ZERO));
        if method == "tools/list" {
            rig.link_event(LinkEvent::Message(HELLO));
            rig.serve_but(0, 0, method);
        }
        let template = r#"{"id":"x-N","method":"METHOD","params":{"protocolVersion":"2025-06-18","capabilities":{}}}"#;
        rig.check(&by_endpoint(&said(&template.replace("METHOD", method), 0, 300, 0))).unwrap();
        rig.sides.links.each[0].out.clear();
        // The server may be asked once more, now that the endpoint has said what it is.
        while let Some(asked) = rig.asked(0).into_iter().find(|asked| asked["method"] == method) {
            rig.sides.each[0].stdin.clear();
            rig.check(&by_server(0, &[format!(r#"{{"id":{},"result":{result}}}"#, asked["id"])])).unwrap();
        }
        let answered: HashSet<_> = read_all(&mut rig)
            .into_iter()
            .filter(|answer| answer["result"].is_object())
            .map(|answer| answer["id"].to_string())
            .collect();
        assert_eq!(answered.len(), 256, "{layout:?}");
    }
}

#[test]
fn what_is_kept_for_requests_under_way_is_bounded_by_their_bytes_too() {
    for (layout, template) in [
        (Layout::Alone, r#"{"id":"LONGN","method":"tools/call","params":{"_meta":{"progressToken":"LONGN"}}}"#),
        (
            Layout::Merged,
            r#"{"id":"LONGN","method":"resources/read","params":{"uri":"b://N","_meta":{"progressToken":"LONGN"}}}"#,
        ),
        (Layout::Merged, r#"{"id":N,"method":"custom/method","params":{"x":"LONGLONGLONGLONGLONGLONG"}}"#),
    ] {
        let (rig, held) = held_after(layout, 1, |rig| {
            (0..10).try_for_each(|n| {
                rig.check(&by_endpoint(&said(template, n * 500, 500, 0)))?;
                (0..rig.stdouts.len()).try_for_each(|server| rig.check(&Step::ServerTakes(server, usize::MAX)))?;
                rig.check(&Step::EndpointTakes(usize::MAX))
            })
        });
        let (under_way, limit) = (rig.router.in_flight(), 3 << 20);
        assert!(under_way > 100 && held < limit, "{template}: {under_way} under way, {held} bytes held");
    }
}

#[test]
fn what_waits_for_a_server_that_is_starting_is_bounded_however_small_it_is() {
    for (layout, template) in [
        (Layout::Alone, r#"{"method":"x"}"#),
        (Layout::Alone, r#"{"id":N,"method":"x"}"#),
        (Layout::Merged, r#"{"id":N,"method":"tools/call","params":{"name":"TOOL"}}"#),
    ] {
        let (_rig, held) = held_after(layout, 1, |rig| {
            let tool = rig.tool();
            let down = ServerEvent::Down {
                why: "exited with code 1",
                retry_in: Duration::from_secs(5),
                life: Life::Replaced { pid: Some(1) },
            };
            rig.server_event(0, down);
            (0..50).try_for_each(|n| {
                let all = said(template, n * 1000, 1000, 0);
                rig.check(&by_endpoint(&all.iter().map(|said| said.replace("TOOL", &tool)).collect::<Vec<_>>()))?;
                rig.check(&Step::EndpointTakes(usize::MAX))
            })
        });
        assert!(held < 5 << 19, "{template}: {held} bytes held");
    }
}

#[test]
fn a_server_that_reads_nothing_gets_no_long_messages_however_it_asked_for_them() {
    let questions = said(r#"{"id":N,"method":"roots/list","params":{"_meta":{"progressToken":"LONG"}}}"#, 0, 16, 0);
    let fill = said(r#"{"method":"notifications/roots/list_changed","params":{"x":"BIG"}}"#, 0, 40, 30_000);
    for (template, count, limit) in [
        (r#"{"method":"notifications/cancelled","params":{"requestId":N,"reason":"BIG"}}"#, 4000, 600 << 10),
        (r#"{"method":"notifications/progress","params":{"progressToken":ASKED,"message":"BIG"}}"#, 1000, 1 << 10),
        (r#"{"id":ASKED,"result":{"x":"BIG"}}"#, 1000, 1 << 10),
        (r#"{"id":N,"method":"tools/call","params":{"name":"TOOL","arguments":"BIG"}}"#, 1000, 0),
        (r#"{"id":N,"method":"logging/setLevel","params":{"level":"LONG"}}"#, 1000, 0),
        (r#"{"method":"notifications/roots/list_changed","params":{"x":"BIG"}}"#, 1000, 0),
    ] {
        let mut rig = Rig::new(Layout::Merged);
        rig.begin(1);
        let tool = &rig.tool();
        rig.check(&by_server(0, &questions)).unwrap();
        let asked = read_all(&mut rig).pop().unwrap()["id"].to_string();
        let calls = said(r#"{"id":N,"method":"tools/call","params":{"name":"TOOL"}}"#, 0, 4000, 0);
        rig.check(&by_endpoint(&calls.iter().map(|call| call.replace("TOOL", tool)).collect::<Vec<_>>())).unwrap();
        assert_eq!(rig.router.in_flight(), 4000);
        rig.check(&by_endpoint(&fill)).unwrap();
        let waiting = rig.sides.each[0].stdin.len();
        assert!(waiting >= CROWDED, "it is deaf, {waiting}");
        for n in 0..count / 20 {
            let all = said(template, n * 20, 20, 20_000);
            let all: Vec<_> = all.iter().map(|said| said.replace("ASKED", &asked).replace("TOOL", tool)).collect();
            rig.check(&by_endpoint(&all)).unwrap();
            rig.check(&Step::EndpointTakes(usize::MAX)).unwrap();
            // The other servers read.
            rig.check(&Step::ServerTakes(1, usize::MAX)).unwrap();
            rig.check(&Step::ServerTakes(2, usize::MAX)).unwrap();
        }
        let more = rig.sides.each[0].stdin.len() - waiting;
        assert!(more <= limit, "{more} bytes more wait for it after {count} times {template}");
    }
}

#[test]
fn an_error_of_our_own_is_short_whatever_it_quotes() {
    let mut rig = Rig::new(Layout::Merged);
    rig.begin(1);
    // Each of these characters takes six bytes once it is quoted.
    let odd = said(r#"{"id":N,"method":"tools/call","params":{"name":"BIG"}}"#, 0, 1, 30_000)[0].replace('b', "\u{1}");
    rig.check(&by_endpoint(&[odd])).unwrap();
    assert!(rig.sides.links.each[0].out.pending().len() < 2048, "{}", rig.sides.links.each[0].out.pending().len());
}

#[test]
fn what_an_endpoint_says_of_itself_is_not_kept_if_it_is_long() {
    for layout in [Layout::Alone, Layout::Merged] {
        let (rig, held) = held_after(layout, 1, |rig| {
            rig.check(&Step::Reconnect)?;
            let hello = r#"{"id":N,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"x":"BIG"}}"#;
            rig.link_event(LinkEvent::Message(&said(hello, 0, 1, 1 << 20)[0]));
            Ok(())
        });
        assert!(held < 1 << 20 && rig.waits_for_servers() < 10_000, "{layout:?}: {held}");
    }
}

#[test]
fn what_servers_ask_before_anybody_can_answer_is_bounded_together() {
    let mut rig = Rig::new(Layout::Merged);
    rig.begin(1);
    rig.check(&Step::Reconnect).unwrap();
    let questions = said(r#"{"id":N,"method":"roots/list","params":{"x":"BIG"}}"#, 0, 40, 38_000);
    for server in 0..3 {
        rig.check(&by_server(server, &questions)).unwrap();
    }
    let refused: usize =
        rig.sides.each.iter().map(|side| side.stdin.pending().iter().filter(|b| **b == b'\n').count()).sum();
    let kept = 3 * questions.len() - refused;
    assert!(kept * 38_000 > 900_000 && kept * 38_000 <= 1 << 20, "{kept} are kept");
}

#[test]
fn one_read_of_a_server_is_looked_at_message_by_message_as_well() {
    for template in [
        // Each request is answered by more bytes than it has.
        r#"{"id":N,"method":"elicitation/x"}"#,
        r#"{"id":"LONGLONG","method":"ping"}"#,
    ] {
        let mut rig = Rig::new(Layout::Alone);
        rig.begin(1);
        (0..60).try_for_each(|n| rig.check(&by_server(0, &said(template, n * 1000, 1000, 0)))).unwrap();
        let (waiting, full) = (rig.waits_for_servers(), 2 * HIGH + MAX_FRAME);
        assert!((full..full + AROUND).contains(&waiting), "{waiting}");
    }
    // The same requests on one line, and in what is taken for one message until that breaks off.
    let all = said(r#"{"jsonrpc":"2.0","id":N,"method":"elicitation/x"}"#, 0, 700, 0);
    for line in [all.concat(), format!("[{}", all.join(","))] {
        let mut rig = Rig::new(Layout::Alone);
        rig.begin(1);
        for _ in 0..60 {
            rig.check(&by_server(0, std::slice::from_ref(&line))).unwrap();
            rig.check(&Step::Pass(6)).unwrap();
        }
        let (waiting, full) = (rig.waits_for_servers(), 2 * HIGH + MAX_FRAME);
        assert!((full..full + AROUND).contains(&waiting), "{waiting}");
    }
    // Progress with a short token becomes longer on its way.
    let mut rig = Rig::new(Layout::Alone);
    rig.begin(1);
    rig.check(&by_endpoint(&said(
        r#"{"id":N,"method":"tools/call","params":{"_meta":{"progressToken":"LONG"}}}"#,
        0,
        1,
        0,
    )))
    .unwrap();
    let asked = rig.sides.each[0].stdin.pending().to_vec();
    let id = serde_json::from_slice::<Value>(&asked).unwrap()["id"].to_string();
    let progress = said(r#"{"method":"notifications/progress","params":{"progressToken":ID}}"#, 0, 800, 0);
    let progress: Vec<_> = progress.iter().map(|line| line.replace("ID", &id)).collect();
    rig.check(&by_server(0, &progress)).unwrap();
    let waiting = rig.sides.links.each[0].out.pending().len();
    assert!((HIGH..HIGH + AROUND).contains(&waiting), "{waiting}");
}

/// Counts what is allocated, even if the run ends in a panic, which the counter doesn't survive.
fn counted(run: impl FnOnce()) -> AllocationInfo {
    let mut ended = Ok(());
    let counted = measure(|| ended = catch_unwind(AssertUnwindSafe(run)));
    match ended {
        Ok(()) => counted,
        Err(panic) => resume_unwind(panic),
    }
}

#[test]
fn an_endpoint_that_shares_its_servers_with_no_other_keeps_its_connection_however_slow() {
    let mut rig = Rig::new(Layout::Alone);
    (0..40).for_each(|_| rig.sides.links.each[0].out.text(&[&vec![b'x'; 1 << 20]]));
    assert!(!rig.sides.is_overdue(0));
}

/// A server with one tool whose list has 50 KB.
const LISTER: &str = r#"
    big=$(head -c 50000 /dev/zero | tr '\\0' x)
    while read -r line; do
        id=${line#*'"id":'}; id=${id%%,*}
        case $line in
        *'"method":"initialize"'*) result='{"protocolVersion":"2025-06-18","capabilities":{"tools":{}}}';;
        *'"method":"tools/list"'*) result="{\"tools\":[{\"name\":\"a\",\"description\":\"$big\"}]}";;
        *'"id":'*) result='{}';;
        *) continue;;
        esac
        echo "{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":$result}"
    done"#;

/// A whole pipe with that server, in a thread of its own whose allocations are counted.
struct Whole {
    socket: WebSocketStream<TcpStream>,
    stop: Stop,
    /// How often the pipe was polled.
    polls: Arc<AtomicUsize>,
    thread: std::thread::JoinHandle<AllocationInfo>,
}

impl Whole {
    async fn begin() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint: Endpoint = format!("ws://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let (stop, polls) = (Stop::new(), Arc::new(AtomicUsize::new(0)));
        let spec = ServerSpec { max_frame: 64 * 1024, ..spec("lister", "sh", &["-c", LISTER], HANG) };
        let (stopped, polled) = (stop.clone(), polls.clone());
        let pipe = move || {
            let (spec, status) = (Arc::new(spec), Status::default());
            let (router, link) = (Box::new(Hub::merging([(spec.clone(), None)])), spec.link.clone());
            let entry = status.add_link(&endpoint, None);
            let peer = LinkPeer {
                endpoint,
                name: None,
                status: entry,
                link,
                hello: None,
                resync: true,
                servers: vec![0],
                seen: membership::Seen::AsOne(None),
            };
            let server = (spec, status.add_server("x"), unchanged());
            let mut pipe = Pipe::of(vec![server], vec![peer], router, run(stopped));
            let each = std::future::poll_fn(|cx| {
                polled.fetch_add(1, Ordering::Relaxed);
                pipe.poll(cx)
            });
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(each);
        };
        let thread = std::thread::spawn(|| counted(pipe));
        let mut whole = Whole { socket: super::Rig::accept(&listener).await, stop, polls, thread };
        for said in [
            r#"{"id":"a","method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{}}}"#,
            r#"{"id":"b","method":"tools/list"}"#,
        ] {
            whole.socket.send(Message::text(said)).await.unwrap();
            whole.next().await;
        }
        whole
    }

    async fn next(&mut self) -> Value {
        let next = timeout(HANG, self.socket.next()).await.unwrap_or_else(|_| panic!("something is forgotten"));
        serde_json::from_str(next.unwrap().unwrap().to_text().unwrap()).unwrap()
    }

    /// Waits until the pipe does nothing any more.
    async fn rest(&self) {
        let rests = async {
            let mut before = usize::MAX;
            while self.polls.load(Ordering::Relaxed) != before {
                before = self.polls.load(Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        timeout(HANG, rests).await.unwrap_or_else(|_| panic!("it is busy with nothing"));
    }

    /// Ends the pipe; returns the most bytes that it held.
    async fn end(mut self) -> usize {
        self.stop.advance();
        while let Some(Ok(_)) = self.socket.next().await {}
        self.thread.join().unwrap().bytes_max as usize
    }
}

#[tokio::test]
async fn an_endpoint_that_asks_on_without_reading_costs_no_more_than_its_buffer_and_gets_all_answers() {
    let list = |n: usize| format!(r#"{{"id":{n},"method":"tools/list"}}"#);
    let one_by_one: Vec<_> = (0..1000).map(list).collect();
    let batch = vec![format!("[{}]", one_by_one[..256].join(","))];
    for (all, count) in [(one_by_one, 1000), (batch, 256)] {
        let mut whole = Whole::begin().await;
        for said in all {
            whole.socket.feed(Message::text(said)).await.unwrap();
        }
        whole.socket.flush().await.unwrap();
        whole.rest().await;
        for n in 0..count {
            assert_eq!(whole.next().await["id"], n, "each is answered, in order");
        }
        // Pings are answered as before.
        whole.socket.send(Message::text(r#"{"id":"p","method":"ping"}"#)).await.unwrap();
        assert_eq!(whole.next().await["id"], "p");
        let held = whole.end().await;
        assert!(held < 6 << 20, "{held} bytes were held for {count} answers of 50 KB");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 8, max_shrink_iters: 200, ..ProptestConfig::default() })]
    #[test]
    fn what_a_pipe_holds_is_bounded_whatever_both_sides_say(
        layout in prop::sample::select(vec![Layout::Alone, Layout::Edited, Layout::Merged, Layout::Turns]),
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let (mut checked, mut most) = (Ok(()), (0, 0));
        let counted = counted(|| {
            let mut rig = Rig::new(layout);
            rig.begin(30);
            checked = steps.iter().try_for_each(|step| rig.check(step));
            most = rig.most;
        });
        checked?;
        // A buffer doubles as it grows, old and new one side by side, and is moved once half of it has been sent.
        let (endpoint, servers) = most;
        let limit = 5 * (endpoint + servers) + layout.servers() * TABLES;
        prop_assert!(counted.bytes_max as usize <= limit, "{} bytes were held; {most:?} bytes waited", counted.bytes_max);
    }
}
