//! The table for people, the same as JSON for programs.

use std::io::{Write, stdout};

use serde_json::{Value, json};

use crate::contender::Contender;

/// One measured thing: a value of each contender for each round.
pub(crate) struct Figure {
    what: String,
    unit: &'static str,
    /// In the order of [`Contender::ALL`]; `None` where there is no such thing.
    rounds: Vec<[Option<f64>; 3]>,
}

/// The two whose ratio is given to the third.
const PIPE: usize = 0;
const PLAIN: usize = 1;
const MCP_PIPE: usize = 2;

impl Figure {
    pub(crate) fn new(what: String, unit: &'static str) -> Self {
        Figure { what, unit, rounds: Vec::new() }
    }

    pub(crate) fn push(&mut self, round: [Option<f64>; 3]) {
        self.rounds.push(round);
    }

    fn value(&self, contender: usize) -> Option<f64> {
        median(self.rounds.iter().filter_map(|round| round[contender]))
    }

    /// Made within each round, where both met the same machine.
    fn ratio_to(&self, contender: usize) -> Option<f64> {
        median(self.rounds.iter().filter_map(|round| Some(round[MCP_PIPE]? / round[contender]?)))
    }
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn cell(value: Option<f64>) -> String {
    match value {
        None => "–".into(),
        Some(value) if value < 10.0 => format!("{value:.2}"),
        Some(value) if value < 100.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.0}"),
    }
}

/// Medians as a table that can be pasted into Markdown.
pub(crate) fn print(speed: &[Figure], growth: &[Figure], pinned: bool) {
    let [pipe, plain, mcp_pipe] = Contender::ALL.map(Contender::name);
    let mut out = stdout().lock();
    let mut line = |cells: [&str; 6]| {
        let [what, rest @ ..] = cells;
        writeln!(out, "| {what:<38} |{} |", rest.map(|cell| format!(" {cell:>13}")).join(" |")).unwrap();
    };
    line(["", pipe, plain, mcp_pipe, "÷ plain pump", "÷ bare pipe"]);
    line(["---", "--:", "--:", "--:", "--:", "--:"]);
    for figure in speed.iter().chain(growth) {
        let [a, b, c] = [PIPE, PLAIN, MCP_PIPE].map(|contender| cell(figure.value(contender)));
        let [over_plain, over_pipe] = [PLAIN, PIPE].map(|contender| cell(figure.ratio_to(contender)));
        line([&format!("{}, {}", figure.what, figure.unit), &a, &b, &c, &over_plain, &over_pipe]);
    }
    let place = if pinned { "on one CPU" } else { "on any CPU, so expect scatter" };
    writeln!(out, "Medians of {} rounds, all processes {place}.", speed.first().map_or(0, |f| f.rounds.len())).unwrap();
}

/// All rounds of all figures.
pub(crate) fn json(speed: &[Figure], growth: &[Figure], pinned: bool) -> String {
    let names = Contender::ALL.map(Contender::name);
    let figures = speed.iter().chain(growth).map(|figure| {
        let medians = [PIPE, PLAIN, MCP_PIPE].map(|contender| figure.value(contender));
        json!({
            "what": figure.what, "unit": figure.unit, "rounds": figure.rounds,
            "median": medians,
            "ratio_to_plain_pump": figure.ratio_to(PLAIN), "ratio_to_bare_pipe": figure.ratio_to(PIPE),
        })
    });
    json!({ "contenders": names, "pinned": pinned, "figures": figures.collect::<Value>() }).to_string()
}
