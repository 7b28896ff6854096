//! `mcp-pipe doctor`: what keeps servers from being used, with its cause first.
//!
//! # Theory of operation
//!
//! Checks are made side by side, within [`WITHIN`] in all, and each says after which others it means something (`check.rs`): so a fault is told
//! once, as a *root*, and what follows from it is skipped. Everything that runs already is asked and not tried: a mcp-pipe that runs with the
//! config tells of its servers and connections, and only where none does are servers started, for this once and at an endpoint of our own. An
//! endpoint is asked for a page by one plain GET. To become a connection of the endpoint's a dial needs a person's word, for it could end that
//! of whoever holds the token.

mod bundle;
mod check;
pub(crate) mod clients;
mod code;
mod compare;
mod dial;
mod facts;
mod machine;
mod network;
mod private;
mod program;
mod report;
mod servers;

use std::collections::HashMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use serde_json::Value;
use tokio::time::{Instant, timeout, timeout_at};

use self::bundle::Part;
use self::check::{Check, Fault, Found, Key, judge};
use self::clients::Client;
use self::code::Code;
use self::facts::Facts;
use self::servers::{Known, Started};
use crate::config::{Config, Findings, Reach, ServerSpec, Severity, Surroundings};
use crate::control::created::{create, unwritten};
use crate::control::status::Status;
use crate::control::{Asking, Examined, Logged, Report, Running, tell_waiting};
use crate::error::{Code as Mistake, Exit, Failure, FaultCode};
use crate::inspect::{Form, InspectError, at_local_endpoint, table_for_stdout};
use crate::logging::Ring;
use crate::process::aside::aside;
use crate::process::guard::Guard;
use crate::process::stdout::print;
use crate::process::stop::Stop;
use crate::secrecy::{Redactor, plain};
use crate::words::{brief_path, counted};

/// Longest time for everything, and what of it is left for telling what was found.
const WITHIN: Duration = Duration::from_secs(12);
const SPARE: Duration = Duration::from_secs(1);
/// Longest time for what is looked at on this machine: a network drive that is gone never answers.
const MACHINE: Duration = Duration::from_secs(5);
/// Longest time for asking a mcp-pipe that runs: it answers within a millisecond, or hangs.
const ASKED: Duration = Duration::from_secs(3);

/// The checks of which others make sense only after them: of the config, of a mcp-pipe that runs, and of this machine's clock.
const CONFIG: &str = "config";
const DAEMON: &str = "daemon";
/// The checks of what is wrong with the config, and with a mcp-pipe that runs besides its servers and connections.
const MISTAKE: &str = "config.mistake";
const FAULT: &str = "daemon.fault";
const CLOCK: &str = "machine.clock";

/// What is wanted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wishes<'a> {
    pub(crate) json: bool,
    /// Whether endpoints are dialled.
    pub(crate) dials: bool,
    /// Whether what is printed is to have no colour.
    pub(crate) plain: bool,
    pub(crate) client: Option<Client>,
    /// The report of another side.
    pub(crate) compare: Option<&'a Path>,
    /// Where all of it goes for whoever helps.
    pub(crate) bundle: Option<&'a Path>,
    /// Whether that is printed instead.
    pub(crate) print: bool,
}

/// What is looked at.
pub(crate) struct Doctor<'a> {
    pub(crate) wishes: Wishes<'a>,
    /// What is to be said of the config.
    pub(crate) findings: Findings,
    /// The config; `None` where it has mistakes.
    pub(crate) config: Option<Config>,
    /// The same in words, for a bundle.
    pub(crate) shown: Option<String>,
    pub(crate) surroundings: &'a Surroundings,
    /// How a mcp-pipe that runs with it is asked.
    pub(crate) asking: Asking<'a>,
    pub(crate) status: Status,
    pub(crate) ring: Option<Ring>,
    pub(crate) guard: Guard,
}

/// What was found.
struct Looked {
    checks: Vec<Check>,
    facts: Facts,
    /// What is known of the servers, by a mcp-pipe that runs or by our own starts of them.
    examined: Option<Box<Examined>>,
    runs: bool,
}

impl Doctor<'_> {
    /// Looks at everything, and prints what there is to tell. `serve` runs the pipes of a config until the stop.
    ///
    /// # Errors
    /// It was told to stop; or a file that was named can't be read or written.
    pub(crate) async fn examine(self, stop: Stop, serve: impl AsyncFnOnce(Config, Stop)) -> Result<Exit, Failure> {
        let wishes = self.wishes;
        let there = wishes.compare.map(compare::read).transpose()?;
        // Before all the work: a person whose file is there already is told at once. It is made once there is something to put in.
        if let Some(path) = wishes.bundle.filter(|path| path.symlink_metadata().is_ok()) {
            create("--bundle", path)?;
        }
        let redactor = self.status.redactor().clone();
        let awaited = || ("all checks".to_owned(), WITHIN);
        let looked = tokio::select! {
            looked = self.look(&stop, serve) => looked,
            never = tell_waiting(awaited) => match never {},
        };
        let Looked { checks, mut facts, examined, runs } = looked.map_err(anyhow::Error::from)?;
        let verdict = judge(checks.into_iter().map(|check| cleaned(check, &redactor)).collect());
        facts.roots = verdict.roots.iter().map(|root| root.code.as_str().to_owned()).collect();
        let exit = if verdict.roots.is_empty() { Exit::Success } else { Exit::Failed };
        let differences = there.as_ref().map(|there| (compare::differences(&facts, there), there));
        let words = |looks| {
            let compared = differences.as_ref().map(|(found, there)| compare::words(found, there));
            report::words(&verdict, looks) + &cleaned_lines(&compared.unwrap_or_default(), &redactor)
        };
        if wishes.print || wishes.bundle.is_some() {
            let known = (&self.findings, self.asking.config.as_deref());
            let mut stranger = private::of(self.config.as_ref(), known, self.surroundings, redactor.clone());
            // The names of events, checks and codes are ours; and which host is asked has to be seen.
            let lines = examined.iter().flat_map(|examined| &examined.log);
            stranger.spare(lines.filter_map(|logged| logged.line["event"].as_str()));
            stranger.spare(verdict.roots.iter().map(|root| root.code.as_str()));
            stranger.spare(verdict.checks.iter().map(|check| check.key.id));
            stranger.spare(facts.addresses.keys().map(String::as_str));
            let parts = self.parts(words((None, false)), &facts, examined.as_deref(), runs);
            let text = bundle::of(&parts, &stranger);
            if wishes.print {
                print(&text);
                return Ok(exit);
            }
            if let Some(path) = wishes.bundle {
                let mut file = create("--bundle", path)?;
                file.write_all(text.as_bytes()).map_err(|error| unwritten("--bundle", path, &error))?;
            }
        }
        if wishes.json {
            let mut told = report::json(&verdict, &facts);
            if let (Some(members), Some((found, _))) = (told.as_object_mut(), &differences) {
                members.insert("differences".to_owned(), compare::as_json(found));
            }
            redactor.clean_value(&mut told);
            print(&plain::json(&format!("{told:#}\n")));
        } else {
            let looks = match table_for_stdout(wishes.plain) {
                Form::Table { width, colour } => (width, colour),
                Form::Json => (None, false),
            };
            print(&words(looks));
            if let Some(path) = wishes.bundle {
                print(&format!("\nAll of it is in {}: look through it before you hand it on.\n", brief_path(path)));
            }
        }
        Ok(exit)
    }

    async fn look(&self, stop: &Stop, serve: impl AsyncFnOnce(Config, Stop)) -> Result<Looked, InspectError> {
        let until = Instant::now() + (WITHIN - SPARE);
        let mut checks = self.of_config();
        let running = match timeout(ASKED, self.asking.examine()).await {
            Ok(running) => running,
            Err(_) => Running::Mute("it has not answered".to_owned()),
        };
        checks.push(Check::new(Key::of(DAEMON, ""), daemon(&running)));
        let place = self.config.as_ref().map(|config| config.place.clone());
        let newest = machine::newest(place.as_deref());
        let mut facts = machine::facts(place.as_deref(), self.surroundings);
        let runs = matches!(running, Running::One(_));
        let is_started = matches!(running, Running::One(_) | Running::Several(_));
        if is_started {
            let why = "none is set here, and the mcp-pipe that runs was started with one, or to do without: --endpoint, --local, serve";
            checks.iter_mut().for_each(|check| needs_no_endpoint(check, why));
        } else if self.wishes.client.is_some_and(Client::needs_no_endpoint) {
            checks.iter_mut().for_each(|check| needs_no_endpoint(check, "none is set, and the client needs none"));
        }
        if let Running::One(examined) = &running {
            facts.daemon = Some(examined.report.who());
            checks.extend(servers::lease(&examined.report));
        }
        let Some(config) = &self.config else {
            checks.push(network::clock_of(&[], newest, SystemTime::now()));
            if let Running::One(examined) = &running {
                checks.extend(servers::causes(&examined.report, &checks));
            }
            let examined = if let Running::One(examined) = running { Some(examined) } else { None };
            return Ok(Looked { checks, facts, examined, runs });
        };
        let daemon = if let Running::One(examined) = &running { Some(examined.report.process()) } else { None };
        let surroundings = {
            let (config, redactor) = (config.clone(), self.status.redactor().clone());
            timeout(MACHINE, aside(move || machine::checks(&config, daemon, &redactor)))
        };
        let endpoints = network::endpoints(config);
        let report = if let Running::One(examined) = &running { Some(&examined.report) } else { None };
        // Whoever holds a token keeps it: also one that hangs, and one that runs as somebody else.
        let holders: Vec<Check> = endpoints
            .iter()
            .filter(|_| !runs)
            .filter_map(|at| network::holder(at, config.cache_dir.as_deref()))
            .collect();
        let is_held = |name: &str| holders.iter().any(|check| check.key.target == name);
        let dials = |name: &str| self.wishes.dials && matches!(running, Running::No) && !is_held(name);
        let walks = join_all(endpoints.iter().map(|at| network::endpoint(at.clone(), report, dials(&at.name), until)));
        let remotes = config.servers.iter().filter_map(|server| match &server.reach {
            Reach::Remote(remote) => Some((server.name.clone(), remote.clone())),
            Reach::Command(_) | Reach::Comer(_) => None,
        });
        let remotes = remotes.map(async |(name, remote)| (name.clone(), network::remote(&name, &remote, until).await));
        let programs = servers::programs(&config.servers, &self.guard);
        let starts = async {
            match &running {
                Running::No => self.start(config.clone(), stop, serve).await.map(Some),
                Running::One(_) | Running::Several(_) | Running::Mute(_) => Ok(None),
            }
        };
        let known = async {
            match report {
                Some(report) => {
                    let known = servers::known(&self.asking, report, &config.servers);
                    timeout_at(until, known).await.unwrap_or_default()
                }
                None => HashMap::new(),
            }
        };
        let (surroundings, mut walks, remotes, programs, own, known) =
            tokio::join!(surroundings, walks, join_all(remotes), programs, starts, known);
        let mut ways: HashMap<Arc<str>, Vec<Check>> = HashMap::new();
        for (name, mut walked) in remotes {
            ways.insert(name, std::mem::take(&mut walked.checks));
            walks.push(walked);
        }
        let (examined, started) = match (own?, running) {
            (Some((examined, started)), _) => (Some(Box::new(examined)), started),
            (None, Running::One(examined)) => (Some(examined), known),
            // Of a mcp-pipe that says nothing nothing is known but that.
            (None, Running::No | Running::Several(_) | Running::Mute(_)) => (None, known),
        };
        checks.push(network::clock_of(&walks, newest, SystemTime::now()));
        checks.extend(surroundings.unwrap_or_else(|_| Ok(vec![machine::hangs()])).unwrap_or_default());
        facts.clock = walks.iter().find_map(|walked| Some(walked.skew.as_ref()?.1));
        for to in walks.iter().filter_map(|walked| walked.to.as_ref()) {
            facts.addresses.extend(to.addresses.clone().map(|addresses| (to.host.clone(), addresses)));
            facts.proxies.insert(to.name.clone(), to.proxy.clone());
        }
        let commands = config.servers.iter().filter(|server| server.reach.command().is_some());
        let program =
            |server: &ServerSpec| programs.get(&server.name).map(|program| program.found.clone()).unwrap_or_default();
        facts.programs = commands.map(|server| (server.name.to_string(), program(server))).collect();
        if let Some(examined) = &examined {
            let took = examined.report.servers.iter();
            facts.starts =
                took.filter_map(|server| Some((server.name.clone(), server.took()?.as_secs_f64()))).collect();
            let known = Known { config, examined, ours: !runs, started: &started, ways: &ways, programs: &programs };
            checks.extend(known.checks());
            checks.extend(
                self.wishes.client.into_iter().flat_map(|client| clients::needs(client, config, known.tools())),
            );
        }
        checks.extend(holders);
        checks.extend(walks.into_iter().flat_map(|walked| walked.checks));
        if let Some(examined) = examined.as_ref().filter(|_| runs) {
            checks.extend(servers::causes(&examined.report, &checks));
        }
        Ok(Looked { checks, facts, examined, runs })
    }

    /// What a bundle is made of. `report`: what would be printed.
    fn parts(&self, report: String, facts: &Facts, examined: Option<&Examined>, runs: bool) -> Vec<Part> {
        let none = || "nothing is known of servers".to_owned();
        let status = examined.and_then(|examined| serde_json::to_string_pretty(&examined.report).ok()).ok_or_else(none);
        let log = examined.map(|examined| logged(&examined.log, &examined.report)).ok_or_else(none);
        let last = self
            .config
            .as_ref()
            .and_then(|config| machine::last_words(config.state_dir.as_ref()?, &config.place, self.status.redactor()));
        let whose = if runs {
            "Status and journal of the mcp-pipe that runs"
        } else {
            "Status of servers that were started for this"
        };
        vec![
            Part::new("Report", Ok(report)),
            Part::new(
                "Versions and surroundings",
                serde_json::to_string_pretty(facts).map_err(|error| error.to_string()),
            ),
            Part::new("Config as it counts", self.shown.clone().ok_or_else(|| "it has mistakes".to_owned())),
            Part::new(whose, status),
            Part::new("Last words of the run before", last.ok_or_else(|| "none are kept".to_owned())),
            Part::new("Log", log),
        ]
    }

    /// Starts the servers at an endpoint of our own, and ends them.
    ///
    /// # Errors
    /// It was told to stop before, or there can be no such endpoint.
    async fn start(
        &self,
        mut config: Config,
        stop: &Stop,
        serve: impl AsyncFnOnce(Config, Stop),
    ) -> Result<(Examined, HashMap<Arc<str>, Started>), InspectError> {
        for server in &mut config.servers {
            server.start_timeout = server.start_timeout.min(servers::START);
        }
        let wanted = config.servers.clone();
        at_local_endpoint(config, stop, serve, async |client| {
            let started = servers::ask(&client, &self.status, &wanted, &self.guard).await;
            let examined = Examined::here(&self.status, self.ring.as_ref()).ok_or(InspectError::Stopped)?;
            // Whoever has been looked at is not waited for any longer.
            stop.advance();
            stop.advance();
            Ok((examined, started))
        })
        .await
    }

    /// What is to be said of the config.
    fn of_config(&self) -> Vec<Check> {
        let Findings { findings, servers, config, .. } = &self.findings;
        let mut checks = Vec::new();
        let mut mistakes = Vec::new();
        for finding in findings {
            let problem = &finding.problem;
            let id = match finding.severity {
                Severity::Error if problem.code == Mistake::EndpointMissing => "config.endpoint",
                Severity::Error => MISTAKE,
                Severity::Warning => "config.warning",
            };
            let key = Key::of(id, problem.place.to_string());
            let (what, remedy) = (problem.what.clone(), problem.remedy.clone());
            let found = match finding.severity {
                Severity::Error => {
                    // Servers can be looked at without one.
                    if problem.code != Mistake::EndpointMissing {
                        mistakes.push(key.clone());
                    }
                    let code = Code::Fault(FaultCode::ConfigMistake);
                    Found::Bad(Fault { code, what, remedy })
                }
                // What follows from it is looked at in itself.
                Severity::Warning if matches!(problem.code, Mistake::ProgramMissing | Mistake::TokenExpired) => {
                    continue;
                }
                Severity::Warning => Found::Odd { what, remedy },
            };
            checks.push(Check::new(key, found));
        }
        let what = match config {
            Some(config) => format!("{config}: {}", counted(*servers, "server")),
            None => format!("without a file; {}", counted(*servers, "server")),
        };
        checks.push(Check::new(Key::of(CONFIG, ""), Found::Good(what)).after(mistakes));
        checks
    }
}

/// Whether a mcp-pipe runs with the config.
fn daemon(running: &Running) -> Found {
    match running {
        Running::No => Found::Good("none runs with this config".to_owned()),
        Running::One(examined) => {
            Found::Good(format!("{}; it is asked, and nothing is started", examined.report.who()))
        }
        Running::Several(which) => Found::Bad(Fault {
            code: Code::DaemonTwice,
            what: format!("several mcp-pipes run with this config: {which}"),
            remedy: "end all but one; or name one: --control-socket PATH".to_owned(),
        }),
        Running::Mute(why) => Found::Bad(Fault {
            code: Code::DaemonSilent,
            what: format!("a mcp-pipe runs with this config, and can't be asked: {why}"),
            remedy: "if it hangs, end its process and start it again".to_owned(),
        }),
    }
}

/// Of a mistake that there is no endpoint: where servers are reached otherwise it is none.
fn needs_no_endpoint(check: &mut Check, why: &str) {
    if matches!(check.found, Found::Bad(_)) && check.key.id == "config.endpoint" {
        check.found = Found::Good(why.to_owned());
    }
}

/// A check in which no secret is and nothing steers a terminal.
fn cleaned(mut check: Check, redactor: &Redactor) -> Check {
    let clean = |text: &mut String| *text = plain::line(&redactor.clean_all(text)).into_owned();
    match &mut check.found {
        Found::Good(what) | Found::Skipped(what) => clean(what),
        Found::Odd { what, remedy } | Found::Bad(Fault { what, remedy, .. }) => {
            clean(what);
            clean(remedy);
        }
    }
    for key in check.after.iter_mut().chain([&mut check.key]) {
        clean(&mut key.target);
    }
    check
}

/// The same of a text.
fn cleaned_lines(text: &str, redactor: &Redactor) -> String {
    text.lines().map(|line| format!("{}\n", plain::line(&redactor.clean_all(line)))).collect()
}

/// Most lines of a server's stderr that are handed on.
const STDERR: usize = 20;

/// The lines of a log that may be handed on: none of what servers log by MCP, and of their stderr only the last lines of those that don't serve.
fn logged(log: &[Logged], report: &Report) -> String {
    let unwell = |name: &Value| report.servers.iter().any(|server| !server.well && name == server.name.as_str());
    let mut stderr: HashMap<&str, usize> = HashMap::new();
    let mut kept: Vec<String> = Vec::new();
    for Logged { at, line } in log.iter().rev() {
        let text = |member: &str| line[member].as_str().unwrap_or_default();
        let event = text("event");
        let is_wanted = match event {
            "SERVER_LOG" => false,
            "SERVER_STDERR" if unwell(&line["server"]) => {
                let count = stderr.entry(text("server")).or_default();
                *count += 1;
                *count <= STDERR
            }
            "SERVER_STDERR" => false,
            _ => !["DEBUG", "TRACE"].contains(&text("level")),
        };
        if is_wanted {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(*at);
            let servers =
                if line["servers"].is_array() { line["servers"].to_string() } else { text("server").to_owned() };
            kept.push(format!(
                "{} {} {event} {servers} {}\n",
                httpdate::fmt_http_date(time),
                text("level"),
                plain::line(text("message"))
            ));
        }
    }
    kept.into_iter().rev().collect()
}
