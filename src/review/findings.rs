//! What `mcp-pipe validate` tells: in words, or as JSON; pure.

use std::fmt::Write as _;

use serde::Serialize;

use crate::config::{Finding, Findings, Severity};
use crate::error::Problem;
use crate::words::counted;

/// The number of the form in which findings are told as JSON; another one where a program has to be changed to read it.
const SCHEMA: u32 = 1;

/// All findings.
#[derive(Serialize)]
pub(crate) struct Report<'a> {
    schema: u32,
    findings: Vec<Told<'a>>,
    #[serde(skip)]
    found: &'a Findings,
}

/// One finding, as programs read it.
#[derive(Serialize)]
struct Told<'a> {
    severity: &'static str,
    code: &'static str,
    file: Option<&'a str>,
    line: Option<usize>,
    column: Option<usize>,
    path: &'a str,
    message: &'a str,
    remedy: &'a str,
}

impl<'a> Report<'a> {
    pub(crate) fn new(found: &'a Findings) -> Self {
        Report { schema: SCHEMA, findings: found.findings.iter().map(told).collect(), found }
    }

    /// Whether the config is not to be used; with `strict` also for a warning.
    pub(crate) fn is_bad(&self, strict: bool) -> bool {
        let counts = |finding: &Finding| strict || finding.severity == Severity::Error;
        self.found.findings.iter().any(counts)
    }

    /// The findings for a person, and how many there are.
    pub(crate) fn words(&self) -> String {
        let Findings { findings, servers, config, .. } = self.found;
        let mut text = String::new();
        for Finding { severity, problem } in findings {
            let Problem { place, code, what, remedy } = problem;
            // Writing to a String cannot fail.
            let _ = write!(text, "{place}\n    {} ({code}): {what}\n", word(*severity));
            if !remedy.is_empty() {
                let _ = writeln!(text, "    → {remedy}");
            }
        }
        let of = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
        let (errors, warnings) = (of(Severity::Error), of(Severity::Warning));
        let config = config.as_deref().unwrap_or("without a config");
        let all = match (errors, warnings) {
            (0, 0) => format!("nothing to say against it; {} to start", counted(*servers, "server")),
            (0, warnings) => format!("{}; {} to start", counted(warnings, "warning"), counted(*servers, "server")),
            (errors, 0) => format!("{}; nothing would be started", counted(errors, "error")),
            (errors, warnings) => {
                format!("{}, {}; nothing would be started", counted(errors, "error"), counted(warnings, "warning"))
            }
        };
        let _ = writeln!(text, "{config}: {all}");
        text
    }
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

fn told(Finding { severity, problem }: &Finding) -> Told<'_> {
    let Problem { place, code, what, remedy } = problem;
    let spot = place.spot();
    Told {
        severity: word(*severity),
        code: code.as_str(),
        file: spot.map(|at| &*at.file),
        line: spot.and_then(|at| at.line),
        column: spot.and_then(|at| at.column),
        path: place.path(),
        message: what,
        remedy,
    }
}
