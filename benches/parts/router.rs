//! A tool call to the server and its answer back, through `Passthrough` into the buffers that the daemon writes from.

use criterion::{BenchmarkId, Criterion, Throughput};
use mcp_pipe::catalogue::Memory;
use mcp_pipe::config::Handshake;
use mcp_pipe::frame::LineOut;
use mcp_pipe::link::websocket::Outgoing;
use mcp_pipe::router::passthrough::Passthrough;
use mcp_pipe::router::{Note, Out, Router, ServerIndex};
use tokio::time::Instant;

use crate::clock::CpuTime;
use crate::sample::{SIZES, Text, reply, request};

/// Copies as the pipe's own does, and says nothing.
#[derive(Default)]
struct Buffers {
    endpoint: Outgoing,
    stdin: LineOut,
}

impl Out for Buffers {
    fn to_endpoint(&mut self, pieces: &[&[u8]]) {
        self.endpoint.text(pieces);
    }

    fn to_server(&mut self, _: ServerIndex, pieces: &[&[u8]]) {
        self.stdin.push(pieces);
    }

    fn remember(&mut self, _: ServerIndex, _: &Memory) {}

    fn note(&mut self, _: Note<'_>) {}
}

impl Buffers {
    /// All of it is written.
    fn drain(&mut self) {
        self.stdin.advance(self.stdin.len());
        self.endpoint.advance(self.endpoint.pending().len());
    }

    /// The id that the router gave the first request that waits. It counts up, which the bench relies on.
    fn first_id(&self) -> u64 {
        let digits = self.stdin.pending()[ID_AT..].iter().take_while(|b| b.is_ascii_digit());
        digits.fold(0, |id, digit| id * 10 + u64::from(digit - b'0'))
    }
}

/// Where the id is in a sample message.
const ID_AT: usize = r#"{"jsonrpc":"2.0","id":"#.len();

/// A router that is past all handshakes.
fn running(now: Instant) -> (Passthrough, Buffers) {
    let (mut router, mut out) = (Passthrough::new("bench".into(), Handshake::Answer, 16 << 20), Buffers::default());
    let answer = |router: &mut Passthrough, out: &mut Buffers, result: &str| {
        let frame = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, out.first_id());
        out.drain();
        router.on_server(0, frame.as_bytes(), now, out);
    };
    router.on_server_up(0, now, &mut out);
    answer(&mut router, &mut out, "{}");
    router.on_link_up(now, &mut out);
    let hello =
        r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2024-11-05","capabilities":{}}}"#;
    router.on_endpoint(hello.as_bytes(), now, &mut out);
    let welcome =
        r#"{"protocolVersion":"2024-11-05","capabilities":{"tools":{}},"serverInfo":{"name":"echo","version":"1"}}"#;
    answer(&mut router, &mut out, welcome);
    router.on_endpoint(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, now, &mut out);
    assert!(router.is_handshaken());
    out.drain();
    (router, out)
}

pub(crate) fn bench(c: &mut Criterion<CpuTime>) {
    let mut group = c.benchmark_group("router/passthrough");
    let now = Instant::now();
    for depth in [1u64, 64] {
        for (size, len) in SIZES {
            // What reaches us and what we hand on, each way.
            group.throughput(Throughput::Elements(depth));
            let request = request("7", len, Text::Ascii);
            let answer = reply("7", len, Text::Ascii).into_bytes();
            if len * depth as usize > 16 << 20 {
                continue; // the pipe would have stopped reading long before
            }
            group.bench_function(BenchmarkId::new(format!("{depth} in flight"), size), |b| {
                let (mut router, mut out) = running(now);
                let mut line = Vec::new();
                b.iter(|| {
                    for _ in 0..depth {
                        router.on_endpoint(request.as_bytes(), now, &mut out);
                    }
                    let first = out.first_id();
                    for id in first..first + depth {
                        line.clear();
                        line.extend_from_slice(&answer[..ID_AT]);
                        line.extend_from_slice(id.to_string().as_bytes());
                        line.extend_from_slice(&answer[ID_AT + 1..]);
                        router.on_server(0, &line, now, &mut out);
                    }
                    assert_eq!(router.in_flight(), 0);
                    out.drain();
                });
            });
        }
    }
    group.finish();
}
