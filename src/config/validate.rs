//! Everything that can be known of a config without starting anything.

use std::time::SystemTime;

use super::check;
use super::gateway::GatewayTls;
use super::options::CommandLine;
use super::resolve::{Draft, draft};
use super::surroundings::Surroundings;
use crate::error::{Place, Problem};
use crate::secrecy::{Redactor, Secret};

/// What is to be said of a config.
pub struct Findings {
    /// What keeps a run from starting, and what else looks wrong; each in the order of the files.
    pub findings: Vec<Finding>,
    /// How many servers would run.
    pub servers: usize,
    /// The config's name, if there is one.
    pub config: Option<String>,
    /// What must be seen nowhere.
    pub secrets: Vec<Secret>,
    /// The names of all servers and endpoints, which are shown whole.
    pub names: Vec<String>,
    /// The files of the gateway's TLS connections, and where the first is named: only what speaks TLS can look into them.
    pub tls: Option<(Place, GatewayTls)>,
}

/// One thing that is to be said.
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is. Holds no secret.
    pub problem: Problem,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing can be started.
    Error,
    /// It stops nothing.
    Warning,
}

/// Looks at a config as a run would, and at what a run would only find out later. Reads files, and changes nothing.
pub fn validate(line: &CommandLine<'_>, surroundings: &Surroundings, now: SystemTime) -> Findings {
    let Draft { mut ctx, file, name, servers, gateway, .. } = draft(line, surroundings);
    check::ahead(&mut ctx, &file, &servers, now);
    let secrets = ctx.hidden.all;
    let (redactor, names) = (secrets.iter().cloned().collect::<Redactor>(), file.names());
    redactor.spare(names.iter().map(String::as_str));
    let problems = ctx.problems.cleaned(&redactor);
    let of = |severity| move |problem| Finding { severity, problem };
    let mistakes = problems.mistakes.into_iter().chain(problems.target).map(of(Severity::Error));
    let mut findings: Vec<Finding> = mistakes.chain(problems.warnings.into_iter().map(of(Severity::Warning))).collect();
    findings.sort_by(|a, b| order(a).cmp(&order(b)));
    let named = file.gateway.and_then(|entry| Some(entry.tls?.cert_file.place));
    let tls = named.zip(gateway.and_then(|spec| spec.tls));
    Findings { findings, servers: servers.len(), config: name, secrets, names, tls }
}

impl Findings {
    /// Adds what others than the config have found, in the order of the files.
    pub fn add(&mut self, severity: Severity, problem: Problem) {
        let new = Finding { severity, problem };
        let at = self.findings.partition_point(|finding| order(finding) < order(&new));
        self.findings.insert(at, new);
    }
}

/// Findings stand in the order of the files; what is in none comes first.
fn order(finding: &Finding) -> (Option<(&str, usize, usize)>, Severity) {
    let spot = finding.problem.place.spot();
    let at = spot.map(|at| (&*at.file, at.line.unwrap_or_default(), at.column.unwrap_or_default()));
    (at, finding.severity)
}
