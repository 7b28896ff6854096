//! More and more servers in one process: time until all have answered, and memory.

use std::thread::sleep;

use crate::Plan;
use crate::contender::{Bench, Contender};
use crate::process::memory;
use crate::report::Figure;

pub(crate) fn measure(bench: &Bench, plan: &Plan) -> Vec<Figure> {
    let mut figures = Vec::new();
    for &servers in plan.servers {
        let what = if servers == 1 { "1 server".to_owned() } else { format!("{servers} servers") };
        let mut ready = Figure::new(format!("start to first answers, {what}"), "ms");
        let mut rss = Figure::new(format!("RSS, {what}"), "KiB");
        let mut pss = Figure::new(format!("PSS, {what}"), "KiB");
        for _ in 0..plan.rounds.div_ceil(2) {
            let round = Contender::ALL.map(|contender| {
                let running = bench.start(contender, servers);
                let own = running.pid().map(|pid| {
                    sleep(plan.settle);
                    memory(pid)
                });
                (running.ready.as_secs_f64() * 1e3, own.flatten())
            });
            ready.push(round.map(|(ready, _)| Some(ready)));
            rss.push(round.map(|(_, own)| own.map(|own| own.rss)));
            pss.push(round.map(|(_, own)| own.map(|own| own.pss)));
        }
        figures.extend([ready, rss, pss]);
    }
    figures
}
