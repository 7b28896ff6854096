//! Reading a frame's envelope, beside what a JSON library takes to read the same frame.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use mcp_pipe::mcp::envelope::scan;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::clock::CpuTime;
use crate::sample::{Text, reply, request};

/// Frames that are hard in different ways.
fn frames() -> Vec<(&'static str, String)> {
    let arguments = |value: String| {
        format!(r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"echo","arguments":{value}}}}}"#)
    };
    let id_last = reply("7", 1 << 10, Text::Ascii).replacen(r#""id":7,"#, "", 1);
    let id_last = format!(r#"{},"id":7}}"#, &id_last[..id_last.len() - 1]);
    let deep = r#"{"a":[{"b":1},"#.repeat(40) + "{}" + &"]}".repeat(40);
    let numbers: Vec<String> = (0..10_000).map(|n| (n % 1000).to_string()).collect();
    vec![
        ("id first, 1 KiB", request("7", 1 << 10, Text::Ascii)),
        ("id last, 1 KiB", id_last),
        ("deep params", arguments(deep)),
        ("one string, 1 MiB", reply("7", 1 << 20, Text::Ascii)),
        ("Chinese, 16 KiB", reply("7", 16 << 10, Text::Chinese)),
        ("10,000 small numbers", arguments(format!("[{}]", numbers.join(",")))),
    ]
}

pub(crate) fn bench(c: &mut Criterion<CpuTime>) {
    let mut group = c.benchmark_group("envelope");
    for (name, frame) in frames() {
        group.throughput(Throughput::Bytes(frame.len() as u64));
        group.bench_function(BenchmarkId::new("scan", name), |b| {
            assert!(scan(frame.as_bytes()).is_ok(), "{name}");
            b.iter(|| scan(black_box(frame.as_bytes())));
        });
        group.bench_function(BenchmarkId::new("serde_json IgnoredAny", name), |b| {
            b.iter(|| serde_json::from_str::<IgnoredAny>(black_box(&frame)));
        });
        group.bench_function(BenchmarkId::new("serde_json Value", name), |b| {
            b.iter(|| serde_json::from_str::<Value>(black_box(&frame)));
        });
    }
    group.finish();
}
