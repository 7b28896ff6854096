//! The parts of the data path one by one, without sockets and processes.
//!
//! `cargo bench --bench parts` measures, `cargo bench --bench parts -- envelope` measures one group, and
//! `cargo test --benches` runs everything once, so that it can't rot. docs/BENCHMARKS.md has method and figures.

#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

use std::time::Duration;

use criterion::Criterion;

mod clock;
mod envelope;
mod line_codec;
mod many;
mod router;
mod sample;
mod websocket;

fn main() {
    // Two seconds each show a change of a few percent: figures are nanoseconds to milliseconds, and steady.
    let mut c = Criterion::default()
        .with_measurement(clock::CpuTime)
        .sample_size(40)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_millis(1500))
        .configure_from_args();
    line_codec::bench(&mut c);
    envelope::bench(&mut c);
    websocket::bench(&mut c);
    router::bench(&mut c);
    c.final_summary();
}
