//! A tool call to the server and its answer back, into the buffers that the daemon writes from: to a peer
//! that has the server alone, and to one that sees 50 servers as one with 20 tools each.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use mcp_pipe::catalogue::Memory;
use mcp_pipe::frame::LineOut;
use mcp_pipe::mcp::envelope;
use mcp_pipe::net::websocket::Outgoing;
use mcp_pipe::router::hub::Hub;
use mcp_pipe::router::{NewPeer, Note, Out, PeerId, Router, ServerIndex};
use std::hint::black_box;
use tokio::time::Instant;

use crate::clock::CpuTime;
use crate::many::{self, SERVERS, TOOLS};
use crate::sample::{SIZES, Text, reply, request};

/// Copies as the pipe's own does, and says nothing. One buffer for all servers, so that routers are compared, not caches.
#[derive(Default)]
struct Buffers {
    /// The peer that asks.
    peer: PeerId,
    endpoint: Outgoing,
    stdin: LineOut,
    /// Where in that each message begins.
    starts: Vec<usize>,
}

impl Out for Buffers {
    fn to_peer(&mut self, _: PeerId, pieces: &[&[u8]]) {
        self.endpoint.text(pieces);
    }

    fn to_server(&mut self, _: ServerIndex, pieces: &[&[u8]]) {
        self.starts.push(self.stdin.len());
        self.stdin.push(pieces);
    }

    fn remember(&mut self, _: ServerIndex, _: &Memory) {}

    fn remember_hello(&mut self, _: PeerId, _: &str) {}

    fn restart(&mut self, _: ServerIndex, _: &'static str) {}

    fn note(&mut self, _: Note<'_>) {}
}

impl Buffers {
    /// All of it is written.
    fn drain(&mut self) {
        self.stdin.advance(self.stdin.len());
        self.starts.clear();
        self.endpoint.advance(self.endpoint.pending().len());
    }

    /// The id that the router gave a request that waits.
    fn id(&self, n: usize) -> &[u8] {
        let id = &self.stdin.pending()[self.starts[n] + ID_AT..];
        &id[..id.iter().take_while(|b| b.is_ascii_digit()).count()]
    }
}

/// Where the id is in a sample message.
const ID_AT: usize = r#"{"jsonrpc":"2.0","id":"#.len();

/// A name as long as all that are called.
const NAME: &str = "s00_tools_00";

/// Calls of one length, each of another tool of another server, and the answers.
struct Calls {
    /// Whose tool it is, and what the endpoint calls it.
    tools: Vec<(ServerIndex, String)>,
    made: usize,
    request: Vec<u8>,
    name_at: usize,
    answer: Vec<u8>,
    line: Vec<u8>,
}

impl Calls {
    fn new(len: usize, servers: usize) -> Self {
        let tools = (0..SERVERS * TOOLS).map(|n| {
            let server = n % SERVERS;
            (server % servers, many::published(server, (n / SERVERS + n) % TOOLS))
        });
        let request = request("7", len - (NAME.len() - "echo".len()), Text::Ascii).replace("echo", NAME);
        let name_at = request.find(NAME).unwrap();
        let answer = reply("7", len, Text::Ascii).into_bytes();
        Calls { tools: tools.collect(), made: 0, request: request.into(), name_at, answer, line: Vec::new() }
    }

    /// So many calls there, a look of the pipe, and all answers back.
    fn pass(&mut self, depth: usize, router: &mut impl Router, out: &mut Buffers, now: Instant) {
        let tool = |n: usize| n % (SERVERS * TOOLS);
        for n in self.made..self.made + depth {
            let (_, name) = &self.tools[tool(n)];
            self.request[self.name_at..][..NAME.len()].copy_from_slice(name.as_bytes());
            router.on_peer(out.peer, &self.request, now, out);
        }
        look(router, out.peer, now);
        for n in 0..depth {
            self.line.clear();
            self.line.extend_from_slice(&self.answer[..ID_AT]);
            self.line.extend_from_slice(out.id(n));
            self.line.extend_from_slice(&self.answer[ID_AT + 1..]);
            let (server, _) = self.tools[tool(self.made + n)];
            // What a server's side does with a line that is a message.
            let envelope = envelope::scan_one(&self.line).unwrap();
            router.on_server(server, &self.line, &envelope, now, out);
        }
        look(router, out.peer, now);
        self.made += depth;
        out.drain();
    }
}

/// What the pipe asks each time it has been woken.
fn look(router: &impl Router, peer: PeerId, now: Instant) {
    let asked = (router.is_handshaken(peer), router.wants_reconnect(peer, now));
    black_box((router.served(peer), asked, router.next_tick()));
}

fn passes<R: Router>(
    c: &mut Criterion<CpuTime>,
    group: &str,
    servers: usize,
    sizes: &[(&str, usize)],
    running: impl Fn(Instant) -> (R, PeerId),
) {
    let mut group = c.benchmark_group(group);
    let now = Instant::now();
    for depth in [1, 64] {
        for &(size, len) in sizes {
            if len * depth > 16 << 20 {
                continue; // the pipe would have stopped reading long before
            }
            // What reaches us and what we hand on, each way.
            group.throughput(Throughput::Elements(depth as u64));
            group.bench_function(BenchmarkId::new(format!("{depth} in flight"), size), |b| {
                let ((mut router, peer), mut calls) = (running(now), Calls::new(len, servers));
                let mut out = Buffers { peer, ..Buffers::default() };
                b.iter(|| calls.pass(depth, &mut router, &mut out, now));
                assert_eq!(router.in_flight(), 0);
            });
        }
    }
    group.finish();
}

pub(crate) fn bench(c: &mut Criterion<CpuTime>) {
    passes(c, "router/passthrough", 1, &SIZES, |now| {
        let mut router = Hub::alone(&many::spec(0));
        let peer = many::begin(&mut router, 1, now);
        (router, peer)
    });
    passes(c, "router/merge", SERVERS, &SIZES, |now| {
        let mut router = many::merge(None);
        let peer = many::begin(&mut router, SERVERS, now);
        (router, peer)
    });

    // A message of one peer, however many others there are. Where only the benches themselves are tested, each of many is checked at each step.
    for peers in [1, 10, if cfg!(debug_assertions) { 100 } else { 1000 }] {
        passes(c, &format!("router/peers/{peers}"), SERVERS, &SIZES[..1], |now| {
            let mut router = many::merge(None);
            let peer = many::begin(&mut router, SERVERS, now);
            for _ in 1..peers {
                let other = router.join(NewPeer::unknown(16 << 20));
                many::greet(&mut router, other, now);
            }
            (router, peer)
        });
    }

    // From memory, which spares the bench the servers: the list is made when it is asked for.
    let memory = Some(many::memory());
    c.bench_function("router/publish", |b| {
        let now = Instant::now();
        let known = || {
            let mut router = many::merge(memory.clone());
            let peer = router.join(NewPeer::unknown(16 << 20));
            router.on_link_up(peer, now, &mut Buffers::default());
            (router, Buffers { peer, ..Buffers::default() })
        };
        let list = br#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#;
        let publish = |(router, out): &mut (mcp_pipe::router::hub::Hub, Buffers)| {
            router.on_peer(out.peer, list, now, out);
            assert!(out.endpoint.pending().len() > SERVERS * TOOLS * 100);
        };
        b.iter_batched_ref(known, publish, BatchSize::LargeInput);
    });
}
