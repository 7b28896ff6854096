//! The whole program, measured as its user has it: the real binary between a WebSocket endpoint and a child process.
//!
//! ```text
//! cargo bench --bench end_to_end                    # some two minutes
//! cargo bench --bench end_to_end -- --json FILE     # every figure as well
//! cargo bench --bench end_to_end -- --bin PATH      # another build of mcp-pipe
//! cargo bench --bench end_to_end -- merged          # the second table only
//! cargo bench --bench end_to_end -- remote          # the third one only
//! cargo bench --bench end_to_end -- siblings        # a healthy server beside one in trouble; only where it is named
//! cargo bench --bench end_to_end -- siblings --only floods --mode per-server   # one kind of trouble; a connection each
//! ```
//!
//! Beside it, taking turns within each round: the same child by a bare pipe, which is what the job costs without any
//! pump, and a plain pump of tokio and tokio-tungstenite. Everything runs on one CPU where that can be asked for, so
//! figures depend on the machine and only ratios mean something. Without `--bench` (so under `cargo test --benches`)
//! each measurement is made once and briefly, to see that it works. A second table has many servers on one connection
//! beside as many connections, a third one a server over HTTP beside the same calls made directly. docs/BENCHMARKS.md has method and figures.

#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

use std::path::PathBuf;
use std::time::Duration;

use crate::report::Table;

mod contender;
mod echo;
mod exchange;
mod growth;
mod merged;
mod process;
mod pump;
mod remote;
mod report;
mod siblings;
mod speed;
mod spread;

/// How long and how often to measure.
struct Plan {
    rounds: usize,
    slice: Duration,
    servers: &'static [usize],
    settle: Duration,
}

const WHOLE: Plan =
    Plan { rounds: 9, slice: Duration::from_millis(200), servers: &[1, 10, 50], settle: Duration::from_millis(300) };
const SMOKE: Plan = Plan { rounds: 1, slice: Duration::from_millis(5), servers: &[1, 2], settle: Duration::ZERO };

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some(echo::FLAG) => return echo::main(&args[1..]),
        Some(pump::FLAG) => return pump::main(&args[1..]),
        Some(remote::FLAG) => return remote::main(),
        Some(_) | None => {}
    }
    let value = |flag| args.iter().position(|a| a == flag).and_then(|at| args.get(at + 1));
    let binary = value("--bin").map_or(env!("CARGO_BIN_EXE_mcp-pipe").into(), PathBuf::from);
    // What cargo passes when it measures and not when it tests.
    let plan = if args.iter().any(|a| a == "--bench") && !args.iter().any(|a| a == "--test") { WHOLE } else { SMOKE };

    // What is in trouble uses a CPU of its own, where there is one.
    let of_siblings = args.iter().any(|arg| arg == "siblings");
    let pinned = !of_siblings && process::pin();
    let bench = contender::Bench::new(binary);
    let mut tables = Vec::new();
    let wants = |table: &str| {
        let named = ["merged", "remote", "siblings"].into_iter().find(|name| args.iter().any(|arg| arg == name));
        named.is_none_or(|name| name == table)
    };
    if wants("program") {
        tables.push(Table {
            columns: &["bare pipe", "plain pump", "mcp-pipe"],
            ratios: &[("÷ plain pump", 2, 1), ("÷ bare pipe", 2, 0)],
            figures: speed::measure(&bench, &plan).into_iter().chain(growth::measure(&bench, &plan)).collect(),
        });
    }
    if wants("merged") {
        tables.push(merged::measure(&bench, &plan));
    }
    if wants("remote") {
        tables.push(remote::measure(&bench, &plan));
    }
    let mode = value("--mode").map_or(siblings::MULTIPLEX, String::as_str);
    if of_siblings || plan.rounds == SMOKE.rounds {
        tables.push(siblings::measure(&bench, &plan, value("--only"), mode));
    }
    report::print(&tables, pinned);
    if let Some(file) = value("--json") {
        std::fs::write(file, report::json(&tables, pinned)).unwrap();
    }
}
