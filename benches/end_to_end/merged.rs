//! Servers that share one connection, beside the same servers with a connection each.

use std::thread::sleep;
use std::time::Instant;

use serde_json::json;

use crate::Plan;
use crate::contender::Bench;
use crate::echo::TOOLS;
use crate::process::{cpu, memory};
use crate::report::{Figure, Table};
use crate::speed::{DEPTH, in_turns, quantile};
use crate::spread::Spread;

/// Of the calls, in bytes.
const SIZE: usize = 1 << 10;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    PerServer,
    Multiplex,
}

const MODES: [Mode; 2] = [Mode::PerServer, Mode::Multiplex];

pub(crate) fn measure(bench: &Bench, plan: &Plan) -> Table {
    let mut figures = Vec::new();
    for &servers in plan.servers {
        let what = if servers == 1 { "1 server".to_owned() } else { format!("{servers} servers") };
        figures.extend(starts(bench, plan, servers, &what));
        figures.extend(calls(bench, plan, servers, &what));
    }
    Table { columns: &["per-server", "multiplex"], ratios: &[("÷ per-server", 1, 0)], figures }
}

/// From the program's start to all lists of tools, what memory it then has, and how soon a shell is told a server's tools.
fn starts(bench: &Bench, plan: &Plan, servers: usize, what: &str) -> [Figure; 5] {
    let mut first = Figure::new(format!("start to all {} tools, first run, {what}", servers * TOOLS), "ms");
    let mut again = Figure::new(format!("start to all {} tools, remembered, {what}", servers * TOOLS), "ms");
    let mut rss = Figure::new(format!("RSS, {what}"), "KiB");
    let mut pss = Figure::new(format!("PSS, {what}"), "KiB");
    let mut completion = Figure::new(format!("a completion, {what}"), "ms");
    for _ in 0..plan.rounds.div_ceil(2) {
        let round = MODES.map(|mode| {
            bench.forget();
            let spread = start(bench, mode, servers);
            sleep(plan.settle);
            let own = spread.running.pid().and_then(memory);
            let (first, completion) = (spread.listed, bench.completion());
            drop(spread);
            [first, start(bench, mode, servers).listed]
                .map(|listed| listed.as_secs_f64() * 1e3)
                .map(Some)
                .into_iter()
                .chain([own.map(|own| own.rss), own.map(|own| own.pss), Some(completion.as_secs_f64() * 1e3)])
                .collect::<Vec<_>>()
        });
        for (at, figure) in [&mut first, &mut again, &mut rss, &mut pss, &mut completion].into_iter().enumerate() {
            figure.push([round[0][at], round[1][at]]);
        }
    }
    [first, again, rss, pss, completion]
}

/// One at a time, and many under way.
fn calls(bench: &Bench, plan: &Plan, servers: usize, what: &str) -> Vec<Figure> {
    let mut running = MODES.map(|mode| start(bench, mode, servers));
    running.iter_mut().for_each(|spread| spread.size(SIZE));
    let mut p50 = Figure::new(format!("round trip, p50, {what}"), "µs");
    let mut p99 = Figure::new(format!("round trip, p99, {what}"), "µs");
    let mut own = Figure::new(format!("CPU a call, 1 in flight, {what}"), "µs");
    in_turns(plan, &mut running, |spread| {
        let (trips, cpu) = with_cpu(spread, |spread| spread.round_trips(plan.slice));
        [Some(quantile(&trips, 0.5)), Some(quantile(&trips, 0.99)), cpu.map(|cpu| cpu / trips.len() as f64)]
    })
    .for_each(|round| {
        p50.push(round.map(|[p50, _, _]| p50));
        p99.push(round.map(|[_, p99, _]| p99));
        own.push(round.map(|[_, _, own]| own));
    });
    let mut figures = vec![p50, p99, own];

    let mut rate = Figure::new(format!("calls/s, {DEPTH} in flight, {what}"), "k/s");
    let mut own = Figure::new(format!("CPU a call, {DEPTH} in flight, {what}"), "µs");
    in_turns(plan, &mut running, |spread| {
        let ((calls, took), cpu) = with_cpu(spread, |spread| spread.rate(plan.slice));
        [Some(calls as f64 / took.as_secs_f64() / 1e3), cpu.map(|cpu| cpu / calls as f64)]
    })
    .for_each(|round| {
        rate.push(round.map(|[rate, _]| rate));
        own.push(round.map(|[_, own]| own));
    });
    figures.extend([rate, own]);

    // On one connection only.
    let mut json = Figure::new(format!("ping p99, {DEPTH} calls under way, {what}"), "ms");
    let mut websocket = Figure::new(format!("WebSocket ping p99, {DEPTH} calls under way, {what}"), "ms");
    in_turns(plan, &mut running, |spread| {
        let alone = spread.running.exchanges.len() == 1;
        alone.then(|| spread.pings(plan.slice).map(|pings| quantile(&pings, 0.99) / 1e3))
    })
    .for_each(|round| {
        json.push(round.map(|pings| pings.map(|[json, _]| json)));
        websocket.push(round.map(|pings| pings.map(|[_, websocket]| websocket)));
    });
    figures.extend([json, websocket]);
    figures
}

fn start(bench: &Bench, mode: Mode, servers: usize) -> Spread {
    let mut entries = bench.servers(servers);
    let (name, connections) = match mode {
        Mode::PerServer => ("per-server", servers),
        Mode::Multiplex => ("multiplex", 1),
    };
    if mode == Mode::Multiplex && servers == 1 {
        // One server is passed through as it is, unless there is something to do for its tools.
        entries["s0"]["tools"] = json!({"allow": ["*"]});
    }
    let config = json!({"mode": name, "mcpServers": entries});
    let began = Instant::now();
    Spread::begin(bench.start_with(&config, connections), began, servers, servers * TOOLS)
}

/// The same, and how long the contender had a CPU meanwhile, in µs.
fn with_cpu<T>(spread: &mut Spread, work: impl FnOnce(&mut Spread) -> T) -> (T, Option<f64>) {
    let pid = spread.running.pid();
    let before = pid.and_then(cpu);
    let done = work(spread);
    let spent = pid.and_then(cpu).zip(before).map(|(after, before)| (after - before).as_secs_f64() * 1e6);
    (done, spent)
}
