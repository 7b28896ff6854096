//! A server's stdout split into frames, and frames joined for its stdin.

use std::hint::black_box;
use std::ops::ControlFlow;

use criterion::{BenchmarkId, Criterion, Throughput};
use mcp_pipe::frame::{Line, LineIn, LineOut};

use crate::clock::CpuTime;
use crate::sample::{CHUNK, SIZES, Text, per_chunk, reply};

/// The daemon's default limit of a frame, in bytes.
const MAX_FRAME: usize = 16 << 20;

pub(crate) fn bench(c: &mut Criterion<CpuTime>) {
    split(c);
    join(c);
}

/// A stream read in chunks of 64 KiB; a line under way is read in place where the codec offers room.
fn split(c: &mut Criterion<CpuTime>) {
    let mut group = c.benchmark_group("line_codec/in");
    for (kind, text) in Text::ALL {
        for (size, len) in SIZES {
            let count = per_chunk(len);
            let stream = (reply("7", len, text) + "\n").repeat(count).into_bytes();
            group.throughput(Throughput::Bytes(stream.len() as u64));
            group.bench_function(BenchmarkId::new(kind, size), |b| {
                let mut lines = LineIn::new(MAX_FRAME, |_| true);
                b.iter(|| {
                    let mut seen = 0;
                    for chunk in stream.chunks(CHUNK) {
                        let on = &mut |_: Line<'_>| {
                            seen += 1;
                            ControlFlow::Continue(())
                        };
                        let flow = match lines.spare() {
                            Some(room) => {
                                room.extend_from_slice(chunk);
                                lines.spared(on)
                            }
                            None => lines.feed(chunk, on),
                        };
                        assert!(flow.is_continue());
                    }
                    assert_eq!(seen, count);
                });
            });
        }
    }
    group.finish();
}

/// Frames with an exchanged id, so in three pieces, gathered and taken by one write.
fn join(c: &mut Criterion<CpuTime>) {
    let mut group = c.benchmark_group("line_codec/out");
    for (size, len) in SIZES {
        let count = per_chunk(len);
        let frame = reply("7", len, Text::Ascii).into_bytes();
        group.throughput(Throughput::Bytes((len * count) as u64));
        group.bench_function(BenchmarkId::new("ASCII", size), |b| {
            let mut out = LineOut::new();
            b.iter(|| {
                for _ in 0..count {
                    out.push(&[&frame[..22], b"8", &frame[23..]]);
                }
                let n = black_box(out.pending()).len();
                out.advance(n);
            });
        });
    }
    group.finish();
}
