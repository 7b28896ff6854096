//! Round trips and rates: all contenders stay alive and take turns within each round.

use std::time::{Duration, Instant};

use crate::Plan;
use crate::contender::{Bench, Contender, Running};
use crate::exchange::Calls;
use crate::report::Figure;

/// Sizes of the request, in bytes.
const ROUND_TRIPS: [(&str, usize); 4] = [("100 B", 100), ("1 KiB", 1 << 10), ("16 KiB", 16 << 10), ("1 MiB", 1 << 20)];
const RATES: [(&str, usize); 2] = [("100 B", 100), ("1 KiB", 1 << 10)];
/// What a pipe holds at these sizes, so that a bare pipe can't block with both sides writing.
pub(crate) const DEPTH: usize = 64;
/// A slice has this many round trips at least, however large they are.
pub(crate) const AT_LEAST: usize = 10;

pub(crate) fn measure(bench: &Bench, plan: &Plan) -> Vec<Figure> {
    let mut running = Contender::ALL.map(|c| bench.start(c, 1));
    let mut figures = Vec::new();
    for (size, len) in ROUND_TRIPS {
        let mut p50 = Figure::new(format!("round trip, {size}, p50"), "µs");
        let mut p99 = Figure::new(format!("round trip, {size}, p99"), "µs");
        in_turns(plan, &mut running, |running| {
            let mut trips = round_trips(running, len, plan.slice);
            trips.sort_unstable();
            [quantile(&trips, 0.5), quantile(&trips, 0.99)]
        })
        .for_each(|round| {
            p50.push(round.map(|[p50, _]| Some(p50)));
            p99.push(round.map(|[_, p99]| Some(p99)));
        });
        figures.extend([p50, p99]);
    }
    for (size, len) in RATES {
        let mut rate = Figure::new(format!("messages/s, {size}, {DEPTH} in flight"), "k/s");
        in_turns(plan, &mut running, |running| {
            running.exchanges[0].rate(&mut Calls::new(len), DEPTH, plan.slice) / 1e3
        })
        .for_each(|round| rate.push(round.map(Some)));
        figures.push(rate);
    }
    figures
}

fn round_trips(running: &mut Running, len: usize, slice: Duration) -> Vec<Duration> {
    let (mut calls, mut trips, began) = (Calls::new(len), Vec::new(), Instant::now());
    // Buffers grow and caches fill in the first one.
    running.exchanges[0].round_trip(&mut calls);
    while began.elapsed() < slice || trips.len() < AT_LEAST {
        trips.push(running.exchanges[0].round_trip(&mut calls));
    }
    trips
}

/// One measurement of each contender a round, the first one changing.
pub(crate) fn in_turns<R, T, const N: usize>(
    plan: &Plan,
    running: &mut [R; N],
    mut measure: impl FnMut(&mut R) -> T,
) -> impl Iterator<Item = [T; N]> {
    (0..plan.rounds).map(move |round| {
        let mut order: [usize; N] = std::array::from_fn(|index| index);
        order.rotate_left(round % N);
        let mut measured = [const { None }; N];
        for index in order {
            measured[index] = Some(measure(&mut running[index]));
        }
        measured.map(Option::unwrap)
    })
}

/// The value below which this share of the sorted times lies, in µs.
pub(crate) fn quantile(sorted: &[Duration], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6
}
