//! What came of the checks, as a table for a person or as JSON; pure.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::check::{Check, Examined, Mark};
use crate::marks::{Marked, draw};
use crate::secrecy::{Redactor, plain};
use crate::words::{counted, listed};

/// For a program: `{"schema":1,"servers":[{"name","checks":[{"id","status","message","remedy"?}]}]}`.
pub(super) fn as_json(all: &[Examined], redactor: &Redactor) -> String {
    let servers: Vec<Value> = all
        .iter()
        .map(|server| {
            let checks: Vec<Value> = server
                .checks
                .iter()
                .map(|check| {
                    let clean = |text: &str| Value::from(redactor.clean(text).into_owned());
                    let mut told = Map::new();
                    told.insert("id".into(), check.id.into());
                    told.insert("status".into(), check.mark.word().into());
                    told.insert("message".into(), clean(&check.message));
                    if let Some(remedy) = &check.remedy {
                        told.insert("remedy".into(), clean(remedy));
                    }
                    told.into()
                })
                .collect();
            json!({"name": redactor.clean(&server.name), "checks": checks})
        })
        .collect();
    plain::json(&format!("{:#}\n", json!({"schema": 1, "servers": servers}))).into_owned()
}

/// For a person: a line for each check, and one with the numbers.
pub(super) fn render(all: &[Examined], (width, colour): (Option<usize>, bool), redactor: &Redactor) -> String {
    // Checks in a row that were skipped for one reason are one line.
    let alike =
        |one: &Check, other: &Check| one.mark == Mark::Skip && other.mark == Mark::Skip && one.message == other.message;
    let rows: Vec<(&str, String, &Check)> = all
        .iter()
        .flat_map(|server| server.checks.chunk_by(alike).map(|run| (server.name.as_str(), run)))
        .map(|(name, run)| (name, listed(vec![run[0].id], run.len()), &run[0]))
        .collect();
    let lines: Vec<Marked<'_>> = rows
        .iter()
        .map(|(name, checks, check)| Marked {
            cells: [name, checks],
            word: check.mark.word(),
            hue: check.mark.hue(),
            words: &check.message,
            remedy: check.remedy.as_deref(),
        })
        .collect();
    let mut text = draw(["SERVER", "CHECK", "RESULT", "WORDS"], &lines, (width, colour), redactor);
    let _ = writeln!(text, "{}", summary(all));
    text
}

fn summary(all: &[Examined]) -> String {
    let count = |mark| all.iter().flat_map(|server| &server.checks).filter(|check| check.mark == mark).count();
    let parts = [
        format!("{} passed", count(Mark::Pass)),
        counted(count(Mark::Warn), "warning"),
        format!("{} failed", count(Mark::Fail)),
        format!("{} skipped", count(Mark::Skip)),
    ];
    format!("{}: {}", counted(all.len(), "server"), parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrecy::Secret;

    fn examined() -> [Examined; 2] {
        let checks = vec![
            Check::pass("ping", "in 2 ms"),
            Check::fail("names", "\u{1b}[2J with k3y-of-mine", "rename it"),
            Check::skip("stdout", "it has none"),
            Check::skip("cancel", "it has none"),
            Check::skip("stop", "it is none"),
        ];
        let warned = vec![Check::warn("ping", "it is late", "be early")];
        [Examined { name: "a".into(), checks }, Examined { name: "other".into(), checks: warned }]
    }

    #[test]
    fn a_program_gets_each_check_with_a_remedy_where_there_is_one_and_no_secret() {
        let redactor: Redactor = [Secret::new("k3y-of-mine")].into_iter().collect();
        let text = as_json(&examined(), &redactor);
        assert!(!text.contains('\u{1b}') && !text.contains("k3y"), "{text}");
        let value: Value = serde_json::from_str(&text).unwrap_or_default();
        assert_eq!(value["schema"], 1);
        assert_eq!(value["servers"][0]["checks"][0], json!({"id": "ping", "status": "PASS", "message": "in 2 ms"}));
        assert_eq!(value["servers"][0]["checks"][1]["remedy"], "rename it");
        assert_eq!(value["servers"][1]["checks"][0]["status"], "WARN");
    }

    #[test]
    fn a_person_gets_a_line_for_each_and_the_numbers() {
        let text = render(&examined(), (None, false), &Redactor::default());
        assert!(text.contains("a       stdout and 1 more  SKIP    because it has none\n"), "{text}");
        assert!(text.contains("a       stop               SKIP    because it is none\n"), "{text}");
        assert!(text.ends_with("\n2 servers: 1 passed, 1 warning, 1 failed, 3 skipped\n"), "{text}");
    }
}
