//! WebSocket messages out of bytes and into bytes, beside what tungstenite takes for the same.

use std::hint::black_box;
use std::io::{self, Read, Write};
use std::ops::ControlFlow;

use criterion::{BenchmarkId, Criterion, Throughput};
use mcp_pipe::net::websocket::{Event, Incoming, Outgoing};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocket, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use crate::clock::CpuTime;
use crate::sample::{CHUNK, SIZES, Text, per_chunk, reply, request};

/// The daemon's default limit of a frame, in bytes.
const MAX_FRAME: usize = 16 << 20;

pub(crate) fn bench(c: &mut Criterion<CpuTime>) {
    incoming(c);
    outgoing(c);
}

/// A socket without a system call: gives the same bytes over and over, and takes everything.
struct Memory {
    bytes: Vec<u8>,
    at: usize,
}

impl Read for Memory {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = buf.len().min(CHUNK).min(self.bytes.len() - self.at);
        buf[..n].copy_from_slice(&self.bytes[self.at..self.at + n]);
        self.at = (self.at + n) % self.bytes.len();
        Ok(n)
    }
}

impl Write for Memory {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(black_box(buf).len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// tungstenite with a read buffer as large as ours.
fn tungstenite(bytes: Vec<u8>, role: Role) -> WebSocket<Memory> {
    let config = WebSocketConfig::default().read_buffer_size(CHUNK);
    WebSocket::from_raw_socket(Memory { bytes, at: 0 }, role, Some(config))
}

/// What a server writes for these messages.
fn wire(text: &str, count: usize) -> Vec<u8> {
    let mut server = WebSocket::from_raw_socket(io::Cursor::new(Vec::new()), Role::Server, None);
    for _ in 0..count {
        server.send(Message::text(text)).unwrap();
    }
    server.get_ref().get_ref().clone()
}

fn incoming(c: &mut Criterion<CpuTime>) {
    let mut group = c.benchmark_group("websocket/in");
    for (kind, text) in Text::ALL {
        for (size, len) in SIZES {
            let count = per_chunk(len);
            let bytes = wire(&request("7", len, text), count);
            group.throughput(Throughput::Bytes(bytes.len() as u64));
            group.bench_function(BenchmarkId::new(kind, size), |b| {
                let (mut ws, mut socket) = (Incoming::new(MAX_FRAME), Memory { bytes: bytes.clone(), at: 0 });
                let mut scratch = vec![0; CHUNK];
                b.iter(|| {
                    let mut seen = 0;
                    let on = &mut |event: Event<'_>| {
                        seen += usize::from(matches!(event, Event::Message(_)));
                        ControlFlow::Continue(())
                    };
                    // As the link reads: a large message goes straight to where it is put together.
                    loop {
                        let flow = if let Some((room, most)) = ws.spare() {
                            (&mut socket).take(most as u64).read_to_end(room).unwrap();
                            ws.filled(on)
                        } else {
                            let n = socket.read(&mut scratch).unwrap();
                            ws.feed(&scratch[..n], on)
                        };
                        assert!(flow.unwrap().is_continue());
                        if socket.at == 0 {
                            break;
                        }
                    }
                    assert_eq!(seen, count);
                });
            });
            group.bench_function(BenchmarkId::new(format!("{kind}, tungstenite"), size), |b| {
                let mut ws = tungstenite(bytes.clone(), Role::Client);
                b.iter(|| {
                    for _ in 0..count {
                        assert!(black_box(ws.read().unwrap()).is_text());
                    }
                });
            });
        }
    }
    group.finish();
}

/// Masked, as a client must. tungstenite is given messages that it needn't copy or check.
fn outgoing(c: &mut Criterion<CpuTime>) {
    let mut group = c.benchmark_group("websocket/out");
    for (size, len) in SIZES {
        let count = per_chunk(len);
        let text = reply("7", len, Text::Ascii);
        group.throughput(Throughput::Bytes((len * count) as u64));
        group.bench_function(BenchmarkId::new("ASCII", size), |b| {
            let mut out = Outgoing::default();
            b.iter(|| {
                for _ in 0..count {
                    out.text(&[text.as_bytes()]);
                }
                let n = black_box(out.pending()).len();
                out.advance(n);
            });
        });
        group.bench_function(BenchmarkId::new("ASCII, tungstenite", size), |b| {
            let (mut ws, text) = (tungstenite(Vec::new(), Role::Client), Utf8Bytes::from(text.clone()));
            b.iter(|| {
                for _ in 0..count {
                    ws.write(Message::Text(text.clone())).unwrap();
                }
                ws.flush().unwrap();
            });
        });
    }
    group.finish();
}
