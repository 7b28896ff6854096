//! What `mcp-pipe doctor` tells: root causes first, in words or as JSON. Pure.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::check::{Judged, Root, Verdict};
use super::facts::Facts;
use super::network::CONNECTION;
use crate::exam::Mark;
use crate::marks::{self, Marked};
use crate::secrecy::Redactor;
use crate::words::counted;

/// The number of this form of the JSON. It changes when a member is taken away or means something else, not when one is added.
const SCHEMA: u32 = 1;

/// For a person. `looks`: how wide the terminal is, if there is one, and whether it takes colours.
pub(super) fn words(verdict: &Verdict, looks: (Option<usize>, bool)) -> String {
    let mut text = String::new();
    // Writing to a String does not fail.
    for root in &verdict.roots {
        let Root { code, message, remedy, .. } = root;
        let about = if target(root).is_empty() { String::new() } else { format!("{}: ", target(root)) };
        let _infallible = writeln!(text, "root cause {}: {about}{message}", code.as_str());
        if !message.contains(remedy) {
            let _infallible = writeln!(text, "    → {remedy}");
        }
    }
    let warnings = verdict.checks.iter().filter(|check| check.mark == Mark::Warn).count();
    if verdict.roots.is_empty() {
        let mut more = if warnings == 0 { String::new() } else { format!("; {}", counted(warnings, "warning")) };
        if verdict.checks.iter().any(|check| check.key.id == CONNECTION && check.mark == Mark::Skip) {
            more += "; not of every endpoint is it known whether it takes its token";
        }
        let _infallible = writeln!(text, "well: nothing keeps mcp-pipe from serving{more}");
    }
    text.push('\n');
    let lines: Vec<Marked<'_>> = verdict.checks.iter().map(line).collect();
    text += &marks::draw(["CHECK", "OF", "RESULT", "FOUND"], &lines, looks, &Redactor::default());
    text
}

/// For a program.
pub(super) fn json(verdict: &Verdict, facts: &Facts) -> Value {
    let root = |root: &Root| {
        json!({
            "code": root.code.as_str(),
            "target": target(root),
            "message": root.message,
            "remedy": root.remedy,
        })
    };
    let check = |Judged { key, mark, because, remedy }: &Judged| {
        let mut told = json!({ "id": key.id, "target": key.target, "status": mark.word(), "because": because });
        if let Some(members) = told.as_object_mut().filter(|_| !remedy.is_empty()) {
            members.insert("remedy".to_owned(), Value::from(remedy.as_str()));
        }
        told
    };
    json!({
        "schema": SCHEMA,
        "roots": verdict.roots.iter().map(root).collect::<Vec<_>>(),
        "checks": verdict.checks.iter().map(check).collect::<Vec<_>>(),
        "facts": facts,
    })
}

fn target(root: &Root) -> String {
    root.targets.join(", ")
}

/// A check as a line. What its words say already is not repeated.
fn line(Judged { key, mark, because, remedy }: &Judged) -> Marked<'_> {
    let remedy = Some(remedy.as_str()).filter(|remedy| !remedy.is_empty() && !because.contains(remedy));
    Marked { cells: [key.id, &key.target], word: mark.word(), hue: mark.hue(), words: because, remedy }
}
