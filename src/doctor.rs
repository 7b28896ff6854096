//! `mcp-pipe doctor`: what keeps servers from being used, with its cause first.
//!
//! # Theory of operation
//!
//! Checks are made side by side, within [`WITHIN`] in all, and each says after which others it means something (`check.rs`): so a fault is told
//! once, as a *root*, and what follows from it is skipped. Everything that runs already is asked and not tried: a mcp-pipe that runs with the
//! config tells of its servers and connections, and only where none does are servers started, for this once and at an endpoint of our own. An
//! endpoint is asked for a page by one plain GET. To become a connection of the endpoint's a dial needs a person's word, for it could end that
//! of whoever holds the token.

mod check;
pub(crate) mod clients;
mod code;
mod dial;
mod machine;
mod network;
mod program;
mod report;
mod servers;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use tokio::time::timeout;

use self::check::{Check, Fault, Found, Key, Verdict, judge};
use self::clients::Client;
use self::code::Code;
use self::network::Walked;
use self::servers::{Known, Started};
use crate::config::{Config, Findings, Reach, Severity};
use crate::control::status::Status;
use crate::control::{Asking, Examined, Running, tell_waiting};
use crate::error::{Code as Mistake, Exit, Failure, FaultCode};
use crate::inspect::{Form, InspectError, at_local_endpoint, table_for_stdout};
use crate::logging::Ring;
use crate::process::aside::aside;
use crate::process::guard::Guard;
use crate::process::stop::Stop;
use crate::review::print;
use crate::secrecy::{Redactor, plain};
use crate::words::counted;

/// Longest time for everything.
const WITHIN: Duration = Duration::from_secs(12);
/// Longest time for asking a mcp-pipe that runs: it answers within a millisecond, or hangs.
const ASKED: Duration = Duration::from_secs(3);

/// The checks of which others make sense only after them: of the config, of a mcp-pipe that runs, and of this machine's clock.
const CONFIG: &str = "config";
const DAEMON: &str = "daemon";
const CLOCK: &str = "machine.clock";

/// What is wanted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wishes {
    pub(crate) json: bool,
    /// Whether endpoints are dialled.
    pub(crate) dials: bool,
    /// Whether what is printed is to have no colour.
    pub(crate) plain: bool,
    pub(crate) client: Option<Client>,
}

/// What is looked at.
pub(crate) struct Doctor<'a> {
    pub(crate) wishes: Wishes,
    /// What is to be said of the config.
    pub(crate) findings: Findings,
    /// The config; `None` where it has mistakes.
    pub(crate) config: Option<Config>,
    /// How a mcp-pipe that runs with it is asked.
    pub(crate) asking: Asking<'a>,
    pub(crate) status: Status,
    pub(crate) ring: Option<Ring>,
    pub(crate) guard: Guard,
}

impl Doctor<'_> {
    /// Looks at everything, and prints what there is to tell. `serve` runs the pipes of a config until the stop.
    ///
    /// # Errors
    /// It was told to stop.
    pub(crate) async fn examine(self, stop: Stop, serve: impl AsyncFnOnce(Config, Stop)) -> Result<Exit, Failure> {
        let (wishes, redactor) = (self.wishes, self.status.redactor().clone());
        let awaited = || match &self.config {
            Some(config) => counted(config.servers.len(), "server"),
            None => "this machine".to_owned(),
        };
        let awaited = awaited();
        let checks = tokio::select! {
            checks = self.checks(&stop, serve) => checks,
            never = tell_waiting(|| (awaited.clone(), WITHIN)) => match never {},
        };
        if stop.drain().is_cancelled() && checks.is_none() {
            return Err(anyhow::Error::msg("stopped before everything was looked at").into());
        }
        let verdict = judge(checks.unwrap_or_default().into_iter().map(|check| cleaned(check, &redactor)).collect());
        tell(&verdict, wishes);
        Ok(if verdict.roots.is_empty() { Exit::Success } else { Exit::Failed })
    }

    async fn checks(mut self, stop: &Stop, serve: impl AsyncFnOnce(Config, Stop)) -> Option<Vec<Check>> {
        let mut checks = self.of_config();
        let running = match timeout(ASKED, self.asking.examine()).await {
            Ok(running) => running,
            Err(_) => Running::Mute("it has not answered".to_owned()),
        };
        checks.push(Check::new(Key::of(DAEMON, ""), daemon(&running)));
        let place = self.config.as_ref().map(|config| config.place.clone());
        let newest = machine::newest(place.as_deref());
        let Some(config) = self.config.take() else {
            checks.push(network::clock_of(&[], newest, SystemTime::now()));
            return Some(checks);
        };
        let runs = matches!(running, Running::One(_));
        let surroundings = {
            let (config, redactor) = (config.clone(), self.status.redactor().clone());
            aside(move || machine::checks(&config, runs, &redactor))
        };
        let endpoints = network::endpoints(&config);
        let report = if let Running::One(examined) = &running { Some(&examined.report) } else { None };
        let walks = join_all(endpoints.iter().map(|at| network::endpoint(at.clone(), report, self.wishes.dials)));
        let remotes = config.servers.iter().filter_map(|server| match &server.reach {
            Reach::Remote(remote) => Some((server.name.clone(), remote.clone())),
            Reach::Command(_) | Reach::Comer(_) => None,
        });
        let remotes = remotes.map(async |(name, remote)| (name.clone(), network::remote(&name, &remote).await));
        let programs = servers::programs(&config.servers, &self.guard);
        let starts = async {
            match &running {
                Running::No => self.start(config.clone(), stop, serve).await.map(Some),
                Running::One(_) | Running::Mute(_) => Some(None),
            }
        };
        let (surroundings, walks, remotes, programs, own) =
            tokio::join!(surroundings, walks, join_all(remotes), programs, starts);
        let own = own?;
        let mut all: Vec<Walked> = walks;
        let mut ways: HashMap<Arc<str>, Vec<Check>> = HashMap::new();
        for (name, mut walked) in remotes {
            ways.insert(name, std::mem::take(&mut walked.checks));
            all.push(walked);
        }
        checks.push(network::clock_of(&all, newest, SystemTime::now()));
        checks.extend(surroundings.into_iter().flatten());
        let (examined, started) = match (&own, &running) {
            (Some((examined, started)), _) => (examined, Some(started)),
            (None, Running::One(examined)) => (&**examined, None),
            // Of a mcp-pipe that says nothing nothing is known but that.
            (None, Running::No | Running::Mute(_)) => return Some(checks),
        };
        let known = Known { config: &config, examined, started, ways: &ways, programs: &programs };
        checks.extend(known.checks());
        let holders =
            endpoints.iter().filter(|_| !runs).filter_map(|at| network::holder(at, config.cache_dir.as_deref()));
        checks.extend(holders);
        checks.extend(all.into_iter().flat_map(|walked| walked.checks));
        checks.extend(self.wishes.client.into_iter().flat_map(|client| clients::needs(client, &config, known.tools())));
        Some(checks)
    }

    /// Starts the servers at an endpoint of our own, and ends them. `None`: it was told to stop before.
    async fn start(
        &self,
        mut config: Config,
        stop: &Stop,
        serve: impl AsyncFnOnce(Config, Stop),
    ) -> Option<(Examined, HashMap<Arc<str>, Started>)> {
        let mut seen = None;
        for server in &mut config.servers {
            server.start_timeout = server.start_timeout.min(servers::START);
        }
        let wanted = config.servers.clone();
        let ended = at_local_endpoint(config, stop, serve, async |client| {
            let started = servers::ask(&client, &self.status, &wanted, &self.guard).await;
            seen = Examined::here(&self.status, self.ring.as_ref()).map(|examined| (examined, started));
            // Whoever has been looked at is not waited for any longer.
            stop.advance();
            stop.advance();
            Ok(())
        })
        .await;
        match ended {
            Ok(()) | Err(InspectError::Stopped) => seen,
            Err(_) => seen,
        }
    }

    /// What is to be said of the config.
    fn of_config(&self) -> Vec<Check> {
        let Findings { findings, servers, config, .. } = &self.findings;
        let mut checks = Vec::new();
        let mut mistakes = Vec::new();
        for finding in findings {
            let problem = &finding.problem;
            let key = Key::of(
                if finding.severity == Severity::Error { "config.mistake" } else { "config.warning" },
                problem.place.to_string(),
            );
            let (what, remedy) = (problem.what.clone(), problem.remedy.clone());
            let found = match finding.severity {
                Severity::Error => {
                    mistakes.push(key.clone());
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
        Running::No => Found::Good("none runs with this config, so servers are started for this once".to_owned()),
        Running::One(examined) => {
            Found::Good(format!("{}; it is asked, and nothing is started", examined.report.who()))
        }
        Running::Mute(why) => Found::Bad(Fault {
            code: Code::DaemonSilent,
            what: format!("a mcp-pipe runs with this config, and can't be asked: {why}"),
            remedy: "if it hangs, end its process and start it again; several need --control-socket or --config"
                .to_owned(),
        }),
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

fn tell(verdict: &Verdict, wishes: Wishes) {
    if wishes.json {
        print(&format!("{:#}\n", report::json(verdict)));
    } else {
        let looks = match table_for_stdout(wishes.plain) {
            Form::Table { width, colour } => (width, colour),
            Form::Json => (None, false),
        };
        print(&report::words(verdict, looks));
    }
}
