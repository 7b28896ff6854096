//! `mcp-pipe status`: once, until all serves, or on and on.

use std::cell::{Cell, RefCell};
use std::io::{self, IsTerminal as _, Write as _};
use std::pin::pin;
use std::time::Duration;

use anyhow::anyhow;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::client::Answer;
use super::commands::{Asking, State, print, tell_waiting, told, unknown_name, unwell};
use super::history::words;
use super::protocol::{Daemon, Reply, Request};
use super::report::{Report, Sight, gone};
use crate::error::{Exit, Failure};
use crate::logging::local_of;
use crate::process::memory;
use crate::secrecy::plain;
use crate::words::span;

/// Pause between two attempts to find a mcp-pipe that is waited for.
const AGAIN: Duration = Duration::from_millis(200);
/// Time between two looks at a terminal at which nothing happens: the times go on.
const TICK: Duration = Duration::from_secs(1);
/// Clears a terminal (ECMA-48): cursor to the top, and everything below it away.
const CLEAR: &str = "\u{1b}[H\u{1b}[J";

/// What `mcp-pipe status` is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    /// Only this server or endpoint.
    pub name: Option<&'a str>,
    /// For a program.
    pub json: bool,
    /// On and on.
    pub watch: bool,
    /// Until all that is wanted serves, for so long at most.
    pub wait: Option<Duration>,
    /// What servers did in the last 24 hours.
    pub history: bool,
}

/// What `status --wait` has seen so far.
#[derive(Debug, Default)]
struct Waiting {
    /// How it was at last.
    last: RefCell<Option<Report>>,
    /// Whether a mcp-pipe is there that tells.
    answers: Cell<bool>,
}

impl Waiting {
    /// What is waited for, in words that follow "waiting for".
    fn awaited(&self) -> String {
        match &*self.last.borrow() {
            Some(report) if self.answers.get() => {
                format!("all that is wanted to serve (not yet: {})", unwell(report))
            }
            Some(_) | None => "a mcp-pipe to come up".to_owned(),
        }
    }
}

impl Asking<'_> {
    /// `mcp-pipe status`: prints what each server and each endpoint is doing. Fails where not all that is wanted serves.
    ///
    /// # Errors
    /// Which mcp-pipe is meant is not clear, or it does not answer, or not all serves in time.
    pub(crate) fn status(self, question: Question<'_>) -> Result<Exit, Failure> {
        self.run(async {
            match question.wait {
                _ if question.history => self.tell_history(question).await,
                _ if question.watch => self.watch(question).await,
                Some(within) => {
                    let waiting = Waiting::default();
                    let awaited = || (plain::line(&self.redactor.clean_all(&waiting.awaited())).into_owned(), within);
                    tokio::select! {
                        done = self.wait_until_well(question, within, &waiting) => done,
                        never = tell_waiting(awaited) => match never {},
                    }
                }
                None => {
                    let state = self.state().await?;
                    let report = report(&state, question)?;
                    print(&self.shown(&report, question.json)?);
                    // At a look at all, for a person: what comes again and again may be well just now.
                    if !question.json && question.name.is_none() {
                        print(&report.counts());
                    }
                    Ok(exit(&report))
                }
            }
        })
    }

    /// Prints what servers did in the last 24 hours.
    async fn tell_history(&self, question: Question<'_>) -> Result<Exit, Failure> {
        let mut answer = self.ask(&Request::History { server: question.name.map(str::to_owned) }).await?;
        let mut all = Vec::new();
        while let Some(reply) = answer.next().await.map_err(told)? {
            if let Reply::History(told) = reply {
                all.push(*told);
            }
        }
        if !question.json {
            let texts: Vec<String> = all.iter().map(|told| words::of(told, local_of)).collect();
            print(&self.plain(&texts.concat()).concat());
            return Ok(Exit::Success);
        }
        let state = self.state().await?;
        // One that is gone has a history alone.
        let name = question.name.filter(|name| state.picture.overview.server(name).is_some());
        let report = report(&state, Question { name, ..question })?;
        print(&self.shown(&report.with_history(&all), true)?);
        Ok(Exit::Success)
    }

    /// Prints the state when all that is wanted serves, or what does not when the time is over.
    async fn wait_until_well(
        &self,
        question: Question<'_>,
        within: Duration,
        waiting: &Waiting,
    ) -> Result<Exit, Failure> {
        let end = Instant::now() + within;
        loop {
            let asked = timeout_at(end, self.until_well(question, waiting)).await;
            waiting.answers.set(asked.is_err());
            let failed = match asked {
                Ok(Ok(report)) => {
                    print(&self.shown(&report, question.json)?);
                    return Ok(Exit::Success);
                }
                // It is not there, or has ended; one may come.
                Ok(Err(Failure::Asking { exit: Exit::Usage, what, remedy })) => {
                    return Err(Failure::Asking { exit: Exit::Usage, what, remedy });
                }
                Ok(Err(failure)) => Some(failure),
                Err(_) => None,
            };
            if Instant::now() + AGAIN < end && failed.is_some() {
                sleep(AGAIN).await;
                continue;
            }
            let Some(report) = waiting.last.take() else {
                let what = format!("no mcp-pipe has answered within {}", span(within));
                let none = Failure::Asking { exit: Exit::NoDaemon, what, remedy: String::new() };
                return Err(failed.unwrap_or(none));
            };
            print(&self.shown(&report, question.json)?);
            let what = format!("not all serves after {}: {}", span(within), unwell(&report));
            return Err(Failure::Asking { exit: Exit::Failed, what, remedy: String::new() });
        }
    }

    /// Ready when all that is wanted serves. How it was before is noted.
    async fn until_well(&self, question: Question<'_>, waiting: &Waiting) -> Result<Report, Failure> {
        let mut answer = self.ask(&Request::Status { watch: true }).await?;
        let mut daemon = Daemon::default();
        while let Some(state) = next(&mut answer, &mut daemon).await? {
            let report = report(&state, question)?;
            if report.is_well() {
                return Ok(report);
            }
            waiting.answers.set(true);
            *waiting.last.borrow_mut() = Some(report);
        }
        Err(anyhow!("mcp-pipe has ended").into())
    }

    /// Shows the state again whenever it has changed: to a terminal all of it, to a program or a file what has changed.
    async fn watch(&self, question: Question<'_>) -> Result<Exit, Failure> {
        let mut answer = self.ask(&Request::Status { watch: true }).await?;
        let (mut daemon, mut gist, mut code) = (Daemon::default(), Vec::new(), Exit::Success);
        let mut state: Option<State> = None;
        let is_screen = io::stdout().is_terminal() && !question.json;
        loop {
            let mut coming = pin!(next(&mut answer, &mut daemon));
            let come = loop {
                let tick = Instant::now() + TICK;
                tokio::select! {
                    come = &mut coming => break come?,
                    () = sleep_until(tick), if is_screen => {
                        if let Some(state) = &state {
                            let text = self.shown(&report(state, question)?, false)?;
                            if !written(&format!("{CLEAR}{text}")) {
                                return Ok(code);
                            }
                        }
                    }
                }
            };
            let Some(come) = come else { return Ok(code) };
            let report = report(&come, question)?;
            state = Some(come);
            code = exit(&report);
            let new = report.gist();
            let text = if question.json {
                self.compact(&report)?
            } else if is_screen {
                format!("{CLEAR}{}", self.shown(&report, false)?)
            } else {
                let lines = self.shown(&report, false)?;
                let changed = lines.lines().zip(&new).filter(|(_, gist_of)| !gist.contains(*gist_of));
                let gone = self.plain(&gone(&gist, &new).join("\n"));
                gone.into_iter().chain(changed.map(|(line, _)| format!("{line}\n"))).collect()
            };
            gist = new;
            if !written(&text) {
                return Ok(code);
            }
        }
    }

    fn shown(&self, report: &Report, json: bool) -> Result<String, Failure> {
        if json {
            let mut value = serde_json::to_value(report).map_err(|error| anyhow!(error))?;
            self.redactor.clean_value(&mut value);
            return Ok(plain::json(&format!("{value:#}\n")).into_owned());
        }
        Ok(self.plain(&report.words()).concat())
    }

    /// The lines of a text, without what is to be seen nowhere.
    fn plain(&self, text: &str) -> Vec<String> {
        text.lines().map(|line| format!("{}\n", plain::line(&self.redactor.clean_all(line)))).collect()
    }

    /// The JSON on one line.
    fn compact(&self, report: &Report) -> Result<String, Failure> {
        let mut value = serde_json::to_value(report).map_err(|error| anyhow!(error))?;
        self.redactor.clean_value(&mut value);
        Ok(plain::json(&format!("{value}\n")).into_owned())
    }
}

/// The next state that is told; `None` at the end.
async fn next(answer: &mut Answer, daemon: &mut Daemon) -> Result<Option<State>, Failure> {
    while let Some(reply) = answer.next_in_time().await.map_err(told)? {
        match reply {
            Reply::Daemon(who) => *daemon = who,
            Reply::Picture(picture) => return Ok(Some(State { daemon: daemon.clone(), picture: *picture })),
            Reply::Sessions(_)
            | Reply::History(_)
            | Reply::Seen(_)
            | Reply::Log(_)
            | Reply::Lost(_)
            | Reply::Given(_)
            | Reply::Carried(_)
            | Reply::Failed(_)
            | Reply::Done {} => {}
        }
    }
    Ok(None)
}

fn report(State { daemon, picture }: &State, question: Question<'_>) -> Result<Report, Failure> {
    let sight = Sight { daemon, picture, memory: &memory::of_groups(), only: question.name, now: Instant::now() };
    Report::of(&sight).ok_or_else(|| unknown_name(question.name.unwrap_or_default(), &picture.overview))
}

fn exit(report: &Report) -> Exit {
    if report.is_well() { Exit::Success } else { Exit::Failed }
}

/// Writes to whoever reads. False if nobody does any more, who then has seen enough.
fn written(text: &str) -> bool {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
}
