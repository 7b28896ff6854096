//! What `mcp-pipe validate` tells: in words, or as JSON; pure.

use std::fmt::Write as _;

use serde::Serialize;

use crate::config::{CANT_START, Finding, Findings, Severity};
use crate::error::{Code, Exit, Problem};
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

    /// What the program ends with: whether the config is not to be used, with `strict` also for a warning. A run has another code for a wrong
    /// command line, and for the variable that stands in the place of an option.
    pub(crate) fn exit(&self, strict: bool) -> Exit {
        let findings = &self.found.findings;
        let errors: Vec<&Finding> = findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
        let is_of_line = |finding: &Finding| {
            let place = &finding.problem.place;
            place.is_option() || place.path() == LOG_LEVEL
        };
        match errors.as_slice() {
            [] if !strict || findings.is_empty() => Exit::Success,
            [_, ..] if errors.iter().all(|error| is_of_line(error)) => Exit::Usage,
            _ => Exit::Config,
        }
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
        let elsewhere = places(findings, config.as_deref());
        let config = config.as_deref().unwrap_or("without a config");
        let config = elsewhere.map_or_else(|| config.to_owned(), |places| places.join(", "));
        let all = match (errors, warnings) {
            (0, 0) => format!("nothing to say against it; {} to start", counted(*servers, "server")),
            (0, warnings) => {
                let unable = match servers {
                    _ if !findings.iter().any(|finding| is_in_the_way(&finding.problem)) => "",
                    1 => ", as far as it can",
                    _ => ", as far as they can",
                };
                format!("{}; {} to start{unable}", counted(warnings, "warning"), counted(*servers, "server"))
            }
            (errors, 0) => format!("{}; nothing would be started", counted(errors, "error")),
            (errors, warnings) => {
                format!("{}, {}; nothing would be started", counted(errors, "error"), counted(warnings, "warning"))
            }
        };
        let _ = writeln!(text, "{config}: {all}");
        text
    }
}

/// Whether a warning is about something without which a server can't start, or not do what it is for. Of another system may also be
/// something in whose place the right one is started.
fn is_in_the_way(problem: &Problem) -> bool {
    let is_missing = [Code::ProgramMissing, Code::PathMissing].contains(&problem.code);
    is_missing || problem.what.ends_with(CANT_START)
}

/// The variable in which the level of the log is named.
const LOG_LEVEL: &str = "MCP_LOG_LEVEL";

/// Most places that are named in the last line.
const PLACES: usize = 4;

/// Where the findings are, if not in the config alone.
fn places(findings: &[Finding], config: Option<&str>) -> Option<Vec<String>> {
    let mut places: Vec<String> = Vec::new();
    for Finding { problem, .. } in findings {
        let place = match problem.place.spot() {
            Some(at) => at.file.clone(),
            None => problem.place.to_string(),
        };
        if !places.contains(&place) {
            places.push(place);
        }
    }
    if places.iter().all(|place| Some(place.as_str()) == config) {
        return None;
    }
    let more = places.len().saturating_sub(PLACES);
    places.truncate(PLACES);
    places.extend((more > 0).then(|| format!("{more} more")));
    Some(places)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Code, Place, Spot};

    /// The last line of what is told of findings in these places.
    fn last(places: Vec<(Severity, Place)>) -> String {
        let finding =
            |(severity, place)| Finding { severity, problem: Problem::new(place, Code::Syntax.says("x"), "") };
        let findings = places.into_iter().map(finding).collect();
        let config = Some("c.json".to_owned());
        let found = Findings { findings, servers: 2, config, secrets: Vec::new(), names: Vec::new(), tls: None };
        Report::new(&found).words().lines().last().unwrap_or_default().to_owned()
    }

    #[test]
    fn the_last_line_names_the_places_that_are_wrong() {
        use Severity::{Error, Warning};
        let (config, dotenv) = (|| Place::line("c.json", 3), || Place::set("MCP_ENDPOINT", Spot::line("/x/.env", 1)));
        for (places, want) in [
            (vec![], "c.json: nothing to say against it; 2 servers to start"),
            (vec![(Error, config()), (Error, config())], "c.json: 2 errors; nothing would be started"),
            (vec![(Error, dotenv())], "/x/.env: 1 error; nothing would be started"),
            (vec![(Error, Place::variable("X"))], "X (environment): 1 error; nothing would be started"),
            (vec![(Error, "--endpoint".into())], "--endpoint: 1 error; nothing would be started"),
            (vec![(Warning, dotenv())], "/x/.env: 1 warning; 2 servers to start"),
            (
                vec![(Error, dotenv()), (Warning, config())],
                "/x/.env, c.json: 1 error, 1 warning; nothing would be started",
            ),
            (
                (0..6).map(|n| (Error, Place::file(n.to_string()))).collect(),
                "0, 1, 2, 3, 2 more: 6 errors; nothing would be started",
            ),
        ] {
            assert_eq!(last(places), want);
        }
    }
}
