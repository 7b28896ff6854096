//! Tables for people, the same as JSON for programs.

use std::io::{Write, stdout};

use serde_json::{Value, json};

/// Contenders side by side.
pub(crate) struct Table {
    pub(crate) columns: &'static [&'static str],
    /// Which column is divided by which, and what that is called.
    pub(crate) ratios: &'static [(&'static str, usize, usize)],
    pub(crate) figures: Vec<Figure>,
}

/// One measured thing: a value of each contender for each round.
pub(crate) struct Figure {
    what: String,
    unit: &'static str,
    /// In the order of the columns; `None` where there is no such thing.
    rounds: Vec<Vec<Option<f64>>>,
}

impl Figure {
    pub(crate) fn new(what: String, unit: &'static str) -> Self {
        Figure { what, unit, rounds: Vec::new() }
    }

    pub(crate) fn push<const N: usize>(&mut self, round: [Option<f64>; N]) {
        self.rounds.push(round.into());
    }

    fn value(&self, column: usize) -> Option<f64> {
        median(self.rounds.iter().filter_map(|round| round[column]))
    }

    /// Made within each round, where both met the same machine.
    fn ratio(&self, column: usize, to: usize) -> Option<f64> {
        median(self.rounds.iter().filter_map(|round| Some(round[column]? / round[to]?)))
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

/// Medians as tables that can be pasted into Markdown.
pub(crate) fn print(tables: &[Table], pinned: bool) {
    let mut out = stdout().lock();
    for Table { columns, ratios, figures } in tables {
        let mut line = |what: &str, cells: Vec<String>| {
            let cells: Vec<String> = cells.iter().map(|cell| format!(" {cell:>13}")).collect();
            writeln!(out, "| {what:<48} |{} |", cells.join(" |")).unwrap();
        };
        let heads: Vec<String> =
            columns.iter().chain(ratios.iter().map(|(name, ..)| name)).map(|s| (*s).to_owned()).collect();
        let rule = vec!["--:".to_owned(); heads.len()];
        line("", heads);
        line("---", rule);
        for figure in figures {
            let values = (0..columns.len()).map(|column| figure.value(column));
            let ratios = ratios.iter().map(|(_, column, to)| figure.ratio(*column, *to));
            line(&format!("{}, {}", figure.what, figure.unit), values.chain(ratios).map(cell).collect());
        }
        writeln!(out).unwrap();
    }
    let rounds = tables.iter().flat_map(|table| &table.figures).map(|figure| figure.rounds.len()).max();
    let rounds = rounds.unwrap_or_default();
    let place = if pinned { "on one CPU" } else { "on any CPU, so expect scatter" };
    writeln!(out, "Medians of {rounds} rounds, all processes {place}.").unwrap();
}

/// All rounds of all figures.
pub(crate) fn json(tables: &[Table], pinned: bool) -> String {
    let table = |table: &Table| {
        let figures = table.figures.iter().map(|figure| {
            let medians: Vec<_> = (0..table.columns.len()).map(|column| figure.value(column)).collect();
            let ratios = table.ratios.iter().map(|(name, column, to)| (*name, json!(figure.ratio(*column, *to))));
            json!({
                "what": figure.what, "unit": figure.unit, "rounds": figure.rounds,
                "median": medians, "ratios": ratios.collect::<Value>(),
            })
        });
        json!({ "columns": table.columns, "figures": figures.collect::<Value>() })
    };
    json!({ "pinned": pinned, "tables": tables.iter().map(table).collect::<Value>() }).to_string()
}
