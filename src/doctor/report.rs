//! What `mcp-pipe doctor` tells: root causes first, in words or as JSON. Pure.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::check::{Judged, Root, Status, Verdict};
use crate::words::counted;

/// The number of this form of the JSON. It changes when a member is taken away or means something else, not when one is added.
const SCHEMA: u32 = 1;

/// For a person. `colour`: whether the terminal takes any.
pub(super) fn words(verdict: &Verdict, colour: bool) -> String {
    let mut text = String::new();
    // Writing to a String does not fail.
    for root in &verdict.roots {
        let Root { code, message, remedy, .. } = root;
        let about = if target(root).is_empty() { String::new() } else { format!("{}: ", target(root)) };
        let _infallible = writeln!(text, "{} {}: {about}{message}", paint("root cause", RED, colour), code.as_str());
        if !is_told(message, remedy) {
            let _infallible = writeln!(text, "    → {remedy}");
        }
    }
    let warnings = verdict.checks.iter().filter(|check| check.status == Status::Warn).count();
    if verdict.roots.is_empty() {
        let more = if warnings == 0 { String::new() } else { format!("; {}", counted(warnings, "warning")) };
        let _infallible = writeln!(text, "{} nothing keeps mcp-pipe from serving{more}", paint("well:", GREEN, colour));
    }
    text.push('\n');
    let width = verdict.checks.iter().map(|check| check.key.id.len()).max().unwrap_or_default();
    for Judged { key, status, because, remedy } in &verdict.checks {
        let shade = match status {
            Status::Pass => GREEN,
            Status::Warn => YELLOW,
            Status::Fail => RED,
            Status::Skip => GREY,
        };
        let about = [&*key.target, because].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ");
        let status = paint(status.as_str(), shade, colour);
        let _infallible = writeln!(text, "{status} {:width$} {about}", key.id);
        if !remedy.is_empty() && !is_told(because, remedy) {
            let _infallible = writeln!(text, "     {:width$} → {remedy}", "");
        }
    }
    text
}

/// For a program.
pub(super) fn json(verdict: &Verdict) -> Value {
    let root = |root: &Root| {
        json!({
            "code": root.code.as_str(),
            "target": target(root),
            "message": root.message,
            "remedy": root.remedy,
        })
    };
    let check = |Judged { key, status, because, remedy }: &Judged| {
        let mut told = json!({ "id": key.id, "target": key.target, "status": status.as_str(), "because": because });
        if let Some(members) = told.as_object_mut().filter(|_| !remedy.is_empty()) {
            members.insert("remedy".to_owned(), Value::from(remedy.as_str()));
        }
        told
    };
    json!({
        "schema": SCHEMA,
        "roots": verdict.roots.iter().map(root).collect::<Vec<_>>(),
        "checks": verdict.checks.iter().map(check).collect::<Vec<_>>(),
    })
}

fn target(root: &Root) -> String {
    root.targets.join(", ")
}

/// Whether a message says already what to do.
fn is_told(message: &str, remedy: &str) -> bool {
    message.contains(remedy)
}

const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const GREY: &str = "\x1b[2m";

fn paint(text: &str, colour: &str, is_on: bool) -> String {
    if is_on { format!("{colour}{text}\x1b[0m") } else { text.to_owned() }
}
