//! The servers: those of a mcp-pipe that runs as it tells of them, others started for this once, through a whole pipe.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::check::{Check, Fault, Found, Key};
use super::code::Code;
use super::program::Program;
use super::{CONFIG, FAULT, MISTAKE, clients, network, program};
use crate::config::{Config, Instances, Reach, ServerSpec};
use crate::control::journal::FOR_HTTP;
use crate::control::status::Status;
use crate::control::{Asking, Cause, Examined, Logged, Report};
use crate::error::FaultCode;
use crate::inspect::remedy_for_silence;
use crate::local::{Catalogue, Client, LocalError};
use crate::mcp::cloud;
use crate::process::guard::Guard;
use crate::tools::size::{Size, budget_warning};
use crate::words::{counted, span};

/// Longest time that a server has for its answer to `initialize`: as long as the cloud waits.
pub(super) const START: Duration = cloud::INITIALIZE;
/// Time that is left after that for its list of tools.
const LIST: Duration = Duration::from_secs(1);
/// From when on an answer to `initialize` is told as slow: half of what the cloud waits.
const SLOW: Duration = Duration::from_secs(5);

/// From when on a server that has said nothing is looked at once more: what starts slowly has mostly answered by then. As a part of its time.
const LONG: f64 = 0.6;

const LEASE: &str = "lease";
const PROGRAM: &str = "server.program";
const INITIALIZE: &str = "server.initialize";
const TOOLS: &str = "server.tools";

/// What came of a server's start.
pub(super) enum Started {
    Listed(Arc<Catalogue>),
    /// It is down, or refuses: the state says why.
    Failed,
    /// It has answered, and kept that to itself.
    Unflushed,
    /// It answers `initialize`, and not `tools/list`.
    Unlisted(LocalError),
    /// Its time was over.
    Late,
}

/// The tools of servers of a mcp-pipe that runs. One that has a process for each of its peers is left alone: it would start another.
pub(super) async fn known(asking: &Asking<'_>, report: &Report, servers: &[ServerSpec]) -> HashMap<Arc<str>, Started> {
    let serves = |server: &&ServerSpec| {
        server.instances == Instances::Shared
            && report.servers.iter().any(|told| *told.name == *server.name && told.state == "serving")
    };
    let one = async |server: &ServerSpec| {
        let (server_info, tools) = (Value::Null, asking.tools(&server.name).await?);
        Some((server.name.clone(), Started::Listed(Arc::new(Catalogue { server_info, tools }))))
    };
    join_all(servers.iter().filter(serves).map(one)).await.into_iter().flatten().collect()
}

/// Asks each server of a config that runs for its tools.
pub(super) async fn ask(
    client: &Client,
    status: &Status,
    servers: &[ServerSpec],
    guard: &Guard,
) -> HashMap<Arc<str>, Started> {
    let one = async |server: &ServerSpec| {
        let mut unflushed = false;
        let looking = async {
            let long = server.start_timeout.mul_f64(LONG);
            sleep(long).await;
            if let Some(command) = server.reach.command().filter(|_| status.is_starting(&server.name)) {
                unflushed =
                    program::answers_at_its_end(command, guard.clone(), server.start_timeout.saturating_sub(long))
                        .await;
            }
            std::future::pending::<Infallible>().await
        };
        let asked = async {
            tokio::select! {
                tools = client.tools(&server.name, START + LIST) => match tools {
                    Ok(catalogue) => Started::Listed(catalogue),
                    Err(error @ LocalError::NotListed { .. }) => Started::Unlisted(error),
                    Err(_) => Started::Late,
                },
                _ = status.failed(&server.name) => Started::Failed,
            }
        };
        let asked = async {
            tokio::select! {
                started = timeout(START + LIST, asked) => started.unwrap_or(Started::Late),
                never = looking => match never {},
            }
        };
        let started = asked.await;
        let is_silent = matches!(started, Started::Failed | Started::Late) && unflushed;
        (server.name.clone(), if is_silent { Started::Unflushed } else { started })
    };
    join_all(servers.iter().map(one)).await.into_iter().collect()
}

/// What a mcp-pipe that runs says is wrong, where no other check tells of it. `told`: the checks that there are.
pub(super) fn causes(report: &Report, told: &[Check]) -> Vec<Check> {
    let is_told =
        |id: &'static str, target: &str| told.iter().any(|check| check.key.id == id && check.key.target == target);
    let has_mistakes = told.iter().any(|check| check.key.id == MISTAKE);
    let one = |cause: &Cause| {
        let (id, target) = match (&cause.server, &cause.endpoint, cause.code) {
            (Some(server), _, _) => (INITIALIZE, server.as_str()),
            (None, Some(endpoint), _) => (network::CONNECTION, endpoint.as_str()),
            (None, None, FaultCode::GatewayUnchanged) => (FAULT, "gateway"),
            (None, None, FaultCode::LeaseUnkept) => (LEASE, ""),
            // The file as it is now is looked at anyway.
            (None, None, FaultCode::ConfigMistake) if has_mistakes => return None,
            (None, None, FaultCode::ConfigMistake) => (MISTAKE, ""),
            (None, None, _) => (FAULT, ""),
        };
        let check = || Check::new(Key::of(id, target), Found::Bad(Fault::of(cause.code, &cause.message)));
        (id == MISTAKE || !is_told(id, target)).then(check)
    };
    report.causes.iter().filter(|cause| cause.is_error()).filter_map(one).collect()
}

/// Whether a mcp-pipe that runs keeps its lease, if it shares its endpoints by one: without it, it dials none of them.
pub(super) fn lease(report: &Report) -> Option<Check> {
    let node = report.lease_node()?;
    let kept = || Found::Good(format!("shares its endpoints with others, as {node}"));
    let trouble = report.causes.iter().find(|cause| cause.code == FaultCode::LeaseUnkept);
    let found = trouble.map_or_else(kept, |cause| Found::Bad(Fault::of(cause.code, &cause.message)));
    Some(Check::new(Key::of(LEASE, ""), found))
}

/// What is known of all servers.
pub(super) struct Known<'a> {
    pub(super) config: &'a Config,
    /// A mcp-pipe that runs with the config, or our own.
    pub(super) examined: &'a Examined,
    /// Whether the servers were started for this, and are not those of a mcp-pipe that runs.
    pub(super) ours: bool,
    /// What came of their starts; of another mcp-pipe's what is known of their tools.
    pub(super) started: &'a HashMap<Arc<str>, Started>,
    /// The ways to remote servers.
    pub(super) ways: &'a HashMap<Arc<str>, Vec<Check>>,
    /// The programs of the others.
    pub(super) programs: &'a HashMap<Arc<str>, Program>,
}

/// The programs that servers are, as far as they are found.
pub(super) async fn programs(servers: &[ServerSpec], guard: &Guard) -> HashMap<Arc<str>, Program> {
    let one = async |server: &ServerSpec| {
        let command = server.reach.command()?;
        Some((server.name.clone(), program::told(command, guard.clone()).await?))
    };
    join_all(servers.iter().map(one)).await.into_iter().flatten().collect()
}

impl Known<'_> {
    /// The checks of all servers.
    pub(super) fn checks(&self) -> Vec<Check> {
        self.config.servers.iter().flat_map(|server| self.of(server)).collect()
    }

    fn of(&self, server: &ServerSpec) -> Vec<Check> {
        let name = &*server.name;
        let key = |id| Key::of(id, name);
        let report = &self.examined.report;
        let cause = report.causes.iter().find(|cause| cause.server.as_deref() == Some(name) && cause.is_error());
        let bad = cause.map(|cause| self.fault(server, cause.code, &cause.message));
        let of_program = |fault: &Fault| {
            matches!(
                fault.code,
                Code::Fault(FaultCode::CommandNotFound | FaultCode::CommandNotRunnable | FaultCode::LimitReached)
            )
        };
        let told = report.servers.iter().find(|told| told.name == name);
        let mut checks = Vec::new();
        let mut before = vec![Key::of(CONFIG, "")];
        match &server.reach {
            Reach::Command(command) => {
                let found = match bad.clone().filter(of_program) {
                    Some(fault) => Found::Bad(fault),
                    None => match self.programs.get(name) {
                        Some(Program { found, with }) => Found::Good(format!("{found}{with}")),
                        None => Found::Odd {
                            what: format!("{} is in no folder of PATH={}", command.program, program::path(command)),
                            remedy: FaultCode::CommandNotFound.remedy().to_owned(),
                        },
                    },
                };
                checks.push(Check::new(key(PROGRAM), found).after(before.clone()));
                before.push(key(PROGRAM));
            }
            Reach::Remote(remote) => {
                checks.extend(self.ways.get(name).into_iter().flatten().cloned());
                before.push(key(network::LAST_OF_REMOTE));
                let is_taken = bad.is_none() && told.is_some_and(|told| told.took().is_some());
                checks.extend(network::token_of_remote(name, remote, is_taken));
                before.push(key(network::TOKEN_OF_REMOTE));
            }
            Reach::Comer(_) => {}
        }
        let initialized = match (bad.filter(|fault| !of_program(fault)), told) {
            (Some(fault), _) => Found::Bad(fault),
            (None, None) => {
                Found::Skipped("the mcp-pipe that runs has no such server: its config is another one".to_owned())
            }
            (None, Some(told)) => match told.took() {
                Some(took) if took >= SLOW && self.ours => Found::Odd {
                    what: format!("answered initialize within {}; the cloud waits for {}", brief(took), span(START)),
                    remedy: "nothing as long as mcp-pipe runs: it starts servers before it dials".to_owned(),
                },
                Some(took) if self.ours => Found::Good(format!(
                    "answered initialize within {}; the cloud waits for {}",
                    brief(took),
                    span(START)
                )),
                Some(_) => Found::Good(told.words.clone()),
                None if told.state == "starting" && self.ours => {
                    Found::Bad(self.fault(server, FaultCode::ServerNotReady, &told.words))
                }
                None => Found::Skipped(told.words.clone()),
            },
        };
        checks.push(Check::new(key(INITIALIZE), initialized).after(before));
        checks.extend(output(name, &self.examined.log));
        if let Some(started) = self.started.get(name) {
            checks.extend(self.listed(server, started).into_iter().map(|check| check.after([key(INITIALIZE)])));
        }
        checks
    }

    /// A fault of a server, in the words of whoever started it.
    fn fault(&self, server: &ServerSpec, code: FaultCode, words: &str) -> Fault {
        let started = self.started.get(&server.name).filter(|_| self.ours);
        match (code, started) {
            (FaultCode::ServerNotReady, Some(Started::Unflushed)) => Fault {
                code: Code::Fault(code),
                what: "answers initialize only once its standard input ends: it keeps what it prints to itself"
                    .to_owned(),
                remedy: "have it flush standard output behind each message (fflush, $stdout.sync = true, autoflush)"
                    .to_owned(),
            },
            (FaultCode::ServerNotReady, Some(_)) => {
                let waited = server.start_timeout.min(START);
                let what =
                    format!("has not answered initialize within {}; the cloud waits for {}", span(waited), span(START));
                let for_http = words.contains(FOR_HTTP);
                Fault { code: Code::Fault(code), what, remedy: remedy_for_silence(&server.reach, for_http) }
            }
            (code, _) => {
                let fault = Fault::of(code, words);
                Fault { remedy: fault.remedy.replace("SERVER", &server.name), ..fault }
            }
        }
    }

    fn listed(&self, server: &ServerSpec, started: &Started) -> Vec<Check> {
        let name = &*server.name;
        let key = |id| Key::of(id, name);
        match started {
            Started::Failed | Started::Unflushed => Vec::new(),
            Started::Late => {
                let took =
                    self.examined.report.servers.iter().find(|told| told.name == name).and_then(|told| told.took());
                let waited = (START + LIST).saturating_sub(took.unwrap_or_default());
                let what = format!("answers initialize, and has not listed its tools within {} more", span(waited));
                let found = if waited >= SLOW {
                    Found::Bad(Fault::of(
                        FaultCode::ServerHangs,
                        &format!("{what}; see why it does not answer tools/list"),
                    ))
                } else {
                    Found::Odd { what, remedy: "mcp-pipe tools waits for longer".to_owned() }
                };
                vec![Check::new(key(TOOLS), found)]
            }
            Started::Unlisted(error) => {
                let fault = Fault::of(FaultCode::ServerRefuses, &error.to_string());
                vec![Check::new(key(TOOLS), Found::Bad(fault))]
            }
            Started::Listed(catalogue) => {
                let tools = &catalogue.tools;
                let size = Size::of(&Value::Array(tools.clone()).to_string());
                let count = counted(tools.len(), "tool");
                let found = match budget_warning(&count, size, self.config.tool_budget) {
                    _ if tools.is_empty() => Found::Odd { what: "lists no tools".to_owned(), remedy: String::new() },
                    Some(warning) => Found::Odd { what: warning, remedy: String::new() },
                    None => Found::Good(format!("{count}, about {} tokens (an estimate)", size.tokens)),
                };
                [Check::new(key(TOOLS), found)].into_iter().chain(clients::tools(name, tools)).collect()
            }
        }
    }

    /// How many tools all servers have, if all have listed them.
    pub(super) fn tools(&self) -> Option<usize> {
        let of = |server: &ServerSpec| match self.started.get(&server.name)? {
            Started::Listed(catalogue) => Some(catalogue.tools.len()),
            Started::Failed | Started::Unflushed | Started::Unlisted(_) | Started::Late => None,
        };
        self.config.servers.iter().map(of).sum()
    }
}

/// Lines of the log that tell of what a server prints, and is mended.
const OUTPUT: [(&str, &str); 3] = [
    ("ERROR_STDOUT_NOISE", "have it print to stderr: stdout belongs to the protocol"),
    ("SERVER_NOT_UTF8", "have it write UTF-8"),
    ("SERVER_ODD", "mcp-pipe mends it; whoever wrote the server wants to know"),
];
/// Most of them that are shown.
const SHOWN: usize = 3;

fn output(server: &str, log: &[Logged]) -> Vec<Check> {
    let is_about = |Logged { line, .. }: &&Logged| {
        line["server"] == server || line["servers"].as_array().is_some_and(|all| all.iter().any(|one| one == server))
    };
    let told: Vec<(&str, &str)> = log
        .iter()
        .filter(is_about)
        .filter_map(|Logged { line, .. }| {
            let (_, remedy) = OUTPUT.iter().find(|(event, _)| line["event"] == *event)?;
            Some((line["message"].as_str()?, *remedy))
        })
        .collect();
    let Some((_, remedy)) = told.first() else { return Vec::new() };
    let what = told.iter().take(SHOWN).map(|(message, _)| *message).collect::<Vec<_>>().join("; ");
    let found = Found::Odd { what, remedy: (*remedy).to_owned() };
    vec![Check::new(Key::of("server.output", server), found)]
}

/// A time of a start.
fn brief(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
