//! The journal: what happens to servers and links, each said once. Of each thing that is said, the line of the log and the state that
//! `status` shows are made here, and nowhere else.
//!
//! What has a meaning for the log alone is logged where it happens: a journal of everything would only be a second way to write
//! to the log.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::figures::ToolPlaces;
use super::status::{
    Alike, CircuitState, HealthState, HealthStatus, HowHalted, LastClose, LinkEntry, LinkState, LinkStatus,
    ServerEntry, ServerState, ServerStatus, Started, Which,
};
use crate::error::FaultCode;
use crate::link::cause::Cause;
use crate::logging::{Names, RETRIES};
use crate::router::bar::argument;
use crate::router::{Checked, Circuit, CountedCall, FAILURES, Failures, Note};
use crate::words::{micros, span};

/// Fewest lives of no use in a row that are a crash loop: one may be chance, and two a slow start of something else.
pub(super) const LOOP: u32 = 3;

/// What happens to a server.
#[derive(Debug)]
pub(crate) enum ServerNews<'a> {
    /// A process of it was started. `fetcher`: the program that downloads it at its first start, if one does.
    Started { pid: u32, program: &'a str, fetcher: Option<&'a str> },
    /// It is asked at its address, as a remote server.
    Contacted { url: &'a str },
    /// It has come by itself, with the token of this name.
    Came { by: &'a str },
    /// Its process could not be started. `shown`: what the log says, which does not repeat itself; `again`: how long until the next attempt,
    /// if one follows.
    NotStarted { fault: FaultCode, why: &'a str, shown: &'a str, again: Option<Duration> },
    /// It has not answered yet, so long after its start. `undialled`: an endpoint waits for it.
    StillStarting { waited: Duration, undialled: bool },
    /// The same, for longer than it may take. `undialled`: an endpoint waited for it, and does no longer. `ended`: its lives have ended
    /// so far. `fetcher`: the program that downloads it at its first start, if one does. `http`: it says on stderr that it serves over HTTP.
    NotReady { waited: Duration, undialled: bool, ended: bool, fetcher: Option<&'a str>, http: bool },
    /// It answers.
    Ready { took: Duration },
    /// It answers `initialize` with an error.
    Refused { words: &'a str, note: &'a Note<'a>, again: bool },
    /// It was called, and says nothing. `failed`: so long that it counts as not well.
    Silent { note: &'a Note<'a>, failed: bool },
    /// It says something again.
    Heard { note: &'a Note<'a>, serving: bool },
    /// Whether it is asked where it gives no answers has changed.
    Circuit { circuit: Circuit, note: &'a Note<'a> },
    /// What has become of its health check.
    Checked(&'a Checked),
    /// It says that it has met one of its limits: this one, in words that continue what it did. It may go on all the same.
    LimitMet { fault: FaultCode, told: &'a str },
    /// Its life has ended. `last_words`: what the log says of its stderr, which does not repeat itself; `tail`: the last lines of that; `fault`: what kind of fault that is, where it was no process;
    /// `again`: how long until the next one, if one follows.
    Exited {
        pid: Option<u32>,
        fault: Option<FaultCode>,
        why: &'a str,
        last_words: &'a str,
        tail: &'a str,
        failures: u32,
        again: Option<Duration>,
    },
    /// Its process has ended, as another one is wanted, by a person or by mcp-pipe itself.
    Replaced { pid: Option<u32>, why: &'a str, by_command: bool },
    /// Its process has ended, and a person wants none. `signalled`: it went on after the end of its stdin, and was sent a signal.
    StoppedByCommand { pid: Option<u32>, why: &'a str, signalled: bool },
    /// Its process has ended with mcp-pipe.
    Stopped { pid: Option<u32>, why: &'a str },
    /// There is no process, as a person wants it.
    Halted,
    /// It is to begin anew by command, perhaps when its process has ended.
    Begins,
}

/// What happens to a link.
#[derive(Debug)]
pub(crate) enum LinkNews<'a> {
    /// The endpoint is dialled, for the first time, by command, or as it is needed again.
    Dialled,
    /// The endpoint is dialled no more until a server is started that it sees: all of them were stopped by command.
    Rests,
    /// A connection stands.
    Opened { took: Duration },
    /// The endpoint's `initialize` was answered, so long after the connection stood.
    Initialized { took: Duration },
    /// The endpoint has said something on it.
    Heard,
    /// The endpoint has read the list of tools; how many there are, if all of them were counted.
    ToolsRead { note: &'a Note<'a>, count: Option<usize> },
    /// The connection is gone, or did not come about.
    Down(LinkEnd<'a>),
    /// Another mcp-pipe has the agent, so the endpoint is not dialled.
    Taken,
    /// Another daemon has the lease of its agent, or nobody has it yet, in words.
    Standby(&'a str),
}

/// How a connection, or an attempt to make one, ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LinkEnd<'a> {
    pub cause: &'a Cause,
    /// What that means, in a line.
    pub why: &'a str,
    /// Whether a connection stood.
    pub stood: bool,
    pub retry_in: Duration,
    pub then: Then,
    /// A new one is made by command, and counts.
    pub redialled: bool,
    /// The endpoint closed because of what the servers did, or did not do.
    pub by_servers: bool,
}

/// What follows the end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// The next attempt.
    Again,
    /// Nothing before a server is started that the endpoint sees.
    Rests,
    /// Nothing: mcp-pipe is stopping, or the link is to go.
    Ends,
}

impl ServerEntry {
    /// Writes what has happened to the server of this name.
    pub(crate) fn write(&self, name: &str, news: ServerNews<'_>) {
        news.log(name, self.is_one_look());
        self.note(news);
    }

    /// The same without a word in the log.
    pub(crate) fn note(&self, news: ServerNews<'_>) {
        // What is wrong with a further process is told in the log.
        let cause = news.cause().filter(|_| matches!(self.which, Which::First | Which::Replica(_)));
        self.change_because(cause, |server| {
            let (clean, now) = (|text: &str| self.clean(text), Instant::now());
            match self.which {
                Which::First if server.others_serve() => server.follow_first(&news, clean, now),
                Which::First => server.follow(&news, clean, now),
                Which::Replica(place) => server.follow_replica(place, &news, clean, now),
                Which::OfPeer => server.follow_further(&news, false, clean, now),
                Which::OfEra => server.follow_further(&news, true, clean, now),
            }
        });
    }

    /// Notes that a call was answered, which comes with each call: nothing is made for the log in advance.
    pub(crate) fn answered(&self, call: CountedCall<'_>, tools: &ToolPlaces, took: Duration) {
        self.figures.answered(call, tools, took);
    }

    /// Notes that a call was answered with an error because the server can't answer it any more.
    pub(crate) fn lost(&self, call: CountedCall<'_>, tools: &ToolPlaces) {
        self.figures.lost(call, tools);
    }

    /// Notes that a call has come to nothing that the server has not had, or whose answer nobody waits for.
    pub(crate) fn unserved(&self, call: CountedCall<'_>, tools: &ToolPlaces) {
        self.figures.unserved(call, tools);
    }

    /// Notes that a call was answered with what was answered before.
    pub(crate) fn given_again(&self) {
        self.figures.given_again();
    }

    /// Notes that the process that this is for has ended for good: what was known of it counts no longer.
    pub(crate) fn left(&self) {
        if let Which::Replica(place) = self.which {
            self.change(|server| {
                server.conduct.forget(Some(place));
                server.judge();
            });
        }
    }

    /// Notes which tools the server has listed.
    pub(crate) fn listed(&self, tools: &[&str], places: &mut ToolPlaces) {
        self.figures.listed(tools.iter().map(|name| (*name, self.clean(name).into())), places);
    }
}

impl ServerNews<'_> {
    /// What has come up with the news, if anything has.
    fn cause(&self) -> Option<FaultCode> {
        match self {
            ServerNews::NotStarted { fault, .. } => Some(*fault),
            ServerNews::NotReady { .. } => Some(FaultCode::ServerNotReady),
            ServerNews::Refused { .. } => Some(FaultCode::ServerRefuses),
            ServerNews::Silent { failed: false, .. } => Some(FaultCode::ServerHangs),
            ServerNews::Circuit { circuit: Circuit::Open { .. }, .. } => Some(FaultCode::CircuitOpen),
            ServerNews::Exited { fault, failures, .. } => Some(fault.unwrap_or(of_end(*failures))),
            ServerNews::Checked(Checked::Failed { failures: Failures { times: 1, .. }, .. }) => {
                Some(FaultCode::ServerUnhealthy)
            }
            ServerNews::Silent { failed: true, .. } // counted before
            | ServerNews::LimitMet { .. } // where it ends of that, that counts
            | ServerNews::Checked(_)
            | ServerNews::Started { .. }
            | ServerNews::Contacted { .. }
            | ServerNews::Came { .. }
            | ServerNews::StillStarting { .. }
            | ServerNews::Ready { .. }
            | ServerNews::Heard { .. }
            | ServerNews::Circuit { .. }
            | ServerNews::Replaced { .. }
            | ServerNews::StoppedByCommand { .. }
            | ServerNews::Stopped { .. }
            | ServerNews::Halted
            | ServerNews::Begins => None,
        }
    }

    /// `is_last`: the run ends with a fault, and no attempt follows.
    fn log(&self, name: &str, is_last: bool) {
        let servers = || Names::from_iter([name.into()]);
        match self {
            ServerNews::Started { pid, program, .. } => {
                info!(event = "SERVER_STARTED", server = %name, pid, program, "started {program}, process {pid}");
            }
            ServerNews::NotStarted { shown, .. } if is_last => {
                warn!(target: RETRIES, event = "ERROR_SERVER_START", server = %name, "{shown}");
            }
            ServerNews::Contacted { url } => debug!(event = "SERVER_STARTED", server = %name, "is asked at {url}"),
            ServerNews::Came { by } => {
                info!(event = "SERVER_STARTED", server = %name, "has come with the token of {by}")
            }
            ServerNews::NotStarted { shown, again, .. } => {
                let next =
                    again.map_or_else(|| STOPPING.to_owned(), |again| format!("next attempt in {}", span(again)));
                warn!(target: RETRIES, event = "ERROR_SERVER_START", server = %name, "{shown}; {next}");
            }
            ServerNews::StillStarting { waited, undialled } => {
                let then = if *undialled { "the endpoint is dialled" } else { "calls are passed to it" };
                info!(event = "SERVER_STARTING", server = %name, "still starting ({}); {then} once it answers", span(*waited));
            }
            ServerNews::NotReady { waited, undialled, ended: true, .. } => {
                warn!(
                    event = "ERROR_START_TIMEOUT", server = %name,
                    "has not served for {}, as it ends each time before it answers{}. What it says at its end, on stderr, mostly tells why",
                    span(*waited), no_longer(*undialled)
                );
            }
            ServerNews::NotReady { waited, undialled, ended: false, fetcher, http } => {
                let remedy = match fetcher {
                    _ if *http => format!("; {FOR_HTTP}"),
                    Some(fetcher) => {
                        format!(". {fetcher} downloads it at its first start: check the network, or raise startTimeout")
                    }
                    None => ". If it needs longer to start, raise startTimeout".to_owned(),
                };
                warn!(
                    event = "ERROR_START_TIMEOUT", server = %name,
                    "has not answered initialize for {}{}{remedy}", span(*waited),
                    no_longer(*undialled)
                );
            }
            ServerNews::Ready { took } => {
                debug!(event = "SERVER_WARM", server = %name, "answers {} after its start", span(*took));
            }
            // Said once, not each time that the server is asked.
            ServerNews::Refused { note, again: true, .. } => {
                debug!(event = "ERROR_INITIALIZE", servers = ?servers(), "{note}");
            }
            ServerNews::Refused { note, again: false, .. } if is_last => {
                warn!(event = "ERROR_INITIALIZE", servers = ?servers(), "{note}");
            }
            ServerNews::Refused { note, again: false, .. } => {
                let name = argument(name);
                warn!(
                    event = "ERROR_INITIALIZE", servers = ?servers(),
                    "{note}; its calls are refused until it accepts. It is asked again later, and at once by mcp-pipe restart {name}"
                );
            }
            ServerNews::Silent { failed: true, .. } => {} // said before
            ServerNews::Silent { note, failed: false } if is_last => {
                warn!(event = "SERVER_SILENT", servers = ?servers(), "{note}");
            }
            ServerNews::Silent { note, failed: false } => {
                warn!(event = "SERVER_SILENT", servers = ?servers(), "{}", of_silence(note, name));
            }
            ServerNews::Circuit { circuit, note } => match circuit {
                Circuit::Open { .. } => {
                    let name = argument(name);
                    warn!(
                        target: RETRIES, event = "CIRCUIT_OPEN", servers = ?servers(),
                        "{note}; mcp-pipe reset {name} has it asked at once"
                    );
                }
                Circuit::HalfOpen => debug!(event = "CIRCUIT_HALF_OPEN", servers = ?servers(), "{note}"),
                Circuit::Closed => info!(event = "CIRCUIT_CLOSED", servers = ?servers(), "{note}"),
            },
            ServerNews::Checked(checked) => log_check(name, checked),
            ServerNews::Heard { note, .. } => info!(event = "SERVER_HEARD", servers = ?servers(), "{note}"),
            ServerNews::LimitMet { fault, told } => {
                warn!(event = "SERVER_LIMIT", server = %name, "says that it is {told}; {}", fault.remedy());
            }
            ServerNews::Exited { pid, why, last_words, .. } if is_last => {
                warn!(event = "SERVER_EXITED", server = %name, pid, why, "{why}{last_words}");
            }
            ServerNews::Exited { pid, why, last_words, again, .. } => {
                let what = if pid.is_some() { "restart" } else { "next attempt" };
                let next = again.map_or_else(|| STOPPING.to_owned(), |again| format!("{what} in {}", span(again)));
                warn!(event = "SERVER_EXITED", server = %name, pid, why, "{why}; {next}{last_words}");
            }
            ServerNews::Replaced { pid, why, .. } => {
                info!(event = "SERVER_EXITED", server = %name, pid, why, "{why}, as it was told to");
            }
            ServerNews::StoppedByCommand { pid, why, .. } => {
                info!(event = "SERVER_EXITED", server = %name, pid, why, "stopped by command: {why}");
            }
            ServerNews::Stopped { pid, why } => {
                info!(event = "SERVER_EXITED", server = %name, pid, why, "stopped: {why}");
            }
            ServerNews::Halted | ServerNews::Begins => {} // the command was logged
        }
    }
}

/// Tells of a check: once that it fails, and once that it does no longer.
fn log_check(name: &str, checked: &Checked) {
    match checked {
        Checked::Failed { failures, .. } if [1, FAILURES].contains(&failures.times) => {
            warn!(event = "HEALTH_CHECK", server = %name, "{checked}");
        }
        Checked::Unlisted { again: false, .. } => warn!(event = "HEALTH_CHECK", server = %name, "{checked}"),
        Checked::Well { after: Some(_), .. } | Checked::Busy { after: Some(_) } => {
            info!(event = "HEALTH_CHECK", server = %name, "{checked}");
        }
        Checked::Failed { .. } | Checked::Well { .. } | Checked::Busy { .. } => {
            debug!(event = "HEALTH_CHECK", server = %name, "{checked}");
        }
        Checked::Unlisted { again: true, .. } | Checked::Ended => {
            debug!(event = "HEALTH_CHECK", server = %name, "{checked}");
        }
    }
}

/// That an endpoint was dialled without a server, if one was.
fn no_longer(undialled: bool) -> &'static str {
    if undialled { "; its endpoint waits for it no longer" } else { "" }
}

/// That no life of a server follows.
const STOPPING: &str = "not started again: stopping";

/// Longest part of a server's last lines that an order or `status` tells, in bytes: the log has all of them.
const LAST_WORDS: usize = 400;

/// The end of a server's last lines, from the beginning of a line on where that is to be had.
fn end_of(tail: &str) -> &str {
    if tail.len() <= LAST_WORDS {
        return tail;
    }
    let end = &tail[tail.ceil_char_boundary(tail.len() - LAST_WORDS)..];
    end.split_once(" | ").map_or(end, |(_, lines)| lines)
}

/// What to do about a server that says nothing on stdout, and says on stderr where it serves over HTTP.
pub(crate) const FOR_HTTP: &str = "by its stderr it serves over HTTP, and not on stdin and stdout: write its \"url\" in place of its command, or have it serve \
                        on stdio (FastMCP: mcp.run())";

/// What kind of fault the end of a process is, where so many lives in a row were of no use.
fn of_end(failures: u32) -> FaultCode {
    if failures >= LOOP { FaultCode::ServerCrashLoop } else { FaultCode::ServerExited }
}

/// That a server says nothing, with what to do about it.
fn of_silence(note: &dyn Display, name: &str) -> String {
    let name = argument(name);
    format!(
        "{note}. If it hangs, mcp-pipe restart {name} starts it anew; a \"timeout\" gives its callers an error in time"
    )
}

impl ServerStatus {
    /// What follows from the news.
    fn follow(&mut self, news: &ServerNews<'_>, clean: impl Fn(&str) -> String, now: Instant) {
        match news {
            ServerNews::Started { pid, program, fetcher } => {
                let fetcher = fetcher.map(&clean);
                self.process = Some(Started { pid: *pid, program: clean(program), fetcher, at: now, of_era: false });
                self.begins_life(now);
            }
            ServerNews::Contacted { .. } | ServerNews::Came { .. } => self.begins_life(now),
            ServerNews::NotStarted { fault, why, again, .. } => {
                self.note_restart(self.retry_at.is_some());
                self.last_words.clear();
                self.ends(*fault, &clean(why), now, *again);
                self.failures = self.failures.saturating_add(1);
            }
            ServerNews::StillStarting { .. } => {}
            ServerNews::NotReady { http, .. } => {
                self.for_http = *http;
                let fault = self.fault.unwrap_or(FaultCode::ServerNotReady);
                if fault == FaultCode::ServerNotReady {
                    // Without a time: whoever reads it later is told since when the server has been starting.
                    "has not answered initialize".clone_into(&mut self.why);
                    if *http {
                        self.why = format!("{}; {FOR_HTTP}", self.why);
                    }
                }
                self.fault = Some(fault);
            }
            ServerNews::Ready { .. } => {
                self.clear();
                self.becomes(ServerState::Serving, now);
            }
            ServerNews::Refused { words, .. } => {
                (self.fault, self.why, self.refused) = (Some(FaultCode::ServerRefuses), clean(words), true);
                self.becomes(ServerState::Refusing((*words).to_owned()), now);
            }
            ServerNews::Silent { failed: false, note } => {
                (self.fault, self.why) =
                    (Some(FaultCode::ServerHangs), clean(&of_silence(&note.timeless(), &self.name)));
            }
            ServerNews::Silent { failed: true, note } => {
                (self.fault, self.why) =
                    (Some(FaultCode::ServerHangs), clean(&of_silence(&note.timeless(), &self.name)));
                self.becomes(ServerState::Silent, now);
            }
            ServerNews::Circuit { circuit, .. } => self.note_circuit(None, *circuit, now),
            ServerNews::Heard { serving, .. } => {
                self.clear();
                self.becomes(if *serving { ServerState::Serving } else { ServerState::Starting }, now);
            }
            ServerNews::Checked(checked) => self.note_check(None, checked, clean, now),
            ServerNews::LimitMet { fault, told } => {
                self.count_limit(*fault);
                self.limit = Some((*fault, format!("says that it is {told}")));
            }
            ServerNews::Exited { why, fault, failures, again, tail, .. } => {
                self.failures = *failures;
                self.last_words = clean(end_of(tail));
                let fault = fault.unwrap_or(of_end(*failures));
                self.ends(fault, &clean(why), now, *again);
            }
            ServerNews::Replaced { by_command: true, .. } => {
                *self.restarts_by.entry("command").or_default() += 1;
                self.process = None;
            }
            ServerNews::Replaced { by_command: false, .. } => {
                *self.restarts_by.entry("mcp-pipe").or_default() += 1;
                self.process = None;
                self.forget_health();
                if !std::mem::take(&mut self.refused) {
                    self.becomes(ServerState::Starting, now);
                }
            }
            ServerNews::StoppedByCommand { signalled, why, .. } => {
                self.process = None;
                self.halted = Some(HowHalted { signalled: *signalled, why: clean(why) });
            }
            ServerNews::Stopped { .. } => self.process = None,
            ServerNews::Halted => {
                (self.process, self.limit) = (None, None);
                self.clear();
                self.becomes(ServerState::Stopped, now);
            }
            ServerNews::Begins => {
                self.clear();
                self.becomes(ServerState::Starting, now);
            }
        }
    }

    /// Whether processes serve that are like the first.
    fn others_serve(&self) -> bool {
        self.replicas.is_some() && self.state == ServerState::Serving && !self.further.is_empty()
    }

    /// What follows from news of the first process while others like it serve: the server goes on, whatever becomes of that one.
    fn follow_first(&mut self, news: &ServerNews<'_>, clean: impl Fn(&str) -> String, now: Instant) {
        match news {
            ServerNews::Started { pid, program, fetcher } => {
                let fetcher = fetcher.map(&clean);
                self.process = Some(Started { pid: *pid, program: clean(program), fetcher, at: now, of_era: false });
            }
            ServerNews::Exited { why, fault, failures, tail, .. } => {
                self.process = None;
                self.last_words = clean(end_of(tail));
                self.one_ends(fault.unwrap_or(of_end(*failures)), &clean(why));
            }
            ServerNews::NotStarted { fault, why, .. } => {
                self.process = None;
                self.one_ends(*fault, &clean(why));
            }
            ServerNews::Ready { .. } => self.one_is_back(),
            ServerNews::StillStarting { .. } | ServerNews::NotReady { .. } => {}
            ServerNews::Refused { .. }
            | ServerNews::Contacted { .. }
            | ServerNews::Came { .. }
            | ServerNews::Silent { .. }
            | ServerNews::Circuit { .. }
            | ServerNews::Checked(_)
            | ServerNews::LimitMet { .. }
            | ServerNews::Heard { .. }
            | ServerNews::Replaced { .. }
            | ServerNews::StoppedByCommand { .. }
            | ServerNews::Stopped { .. }
            | ServerNews::Halted
            | ServerNews::Begins => self.follow(news, clean, now),
        }
    }

    /// What follows from news of a process that is like the first: whether it is there, and whether the server serves by it.
    fn follow_replica(&mut self, place: usize, news: &ServerNews<'_>, clean: impl Fn(&str) -> String, now: Instant) {
        self.follow_further(news, false, &clean, now);
        if let ServerNews::Circuit { circuit, .. } = news {
            self.note_circuit(Some(place), *circuit, now);
        }
        if let ServerNews::Checked(checked) = news {
            self.note_check(Some(place), checked, &clean, now);
        }
        if let ServerNews::Exited { .. } | ServerNews::Replaced { .. } = news {
            self.conduct.forget_health(Some(place));
            self.judge();
        }
        if let ServerNews::Ready { .. } = news {
            match self.state {
                ServerState::Serving => self.one_is_back(),
                ServerState::Stopped => {}
                ServerState::Starting | ServerState::Silent | ServerState::Refusing(_) | ServerState::Down(_) => {
                    self.clear();
                    self.becomes(ServerState::Serving, now);
                }
            }
        }
        if let ServerNews::NotStarted { fault, why, .. } = news {
            self.one_ends(*fault, &clean(why));
        }
        if let ServerNews::Exited { why, fault, failures, again, tail, .. } = news {
            let fault = fault.unwrap_or(of_end(*failures));
            self.last_words = clean(end_of(tail));
            self.one_ends(fault, &clean(why));
            if self.process.is_none() && self.further.is_empty() && self.state == ServerState::Serving {
                self.ends(fault, &clean(why), now, *again);
            }
        }
    }

    /// One of several processes that are alike has ended, and another one follows. Where that will hardly be of use, it is told though others serve.
    fn one_ends(&mut self, fault: FaultCode, why: &str) {
        self.restarts += 1;
        *self.restarts_by.entry(fault.as_str()).or_default() += 1;
        if fault != FaultCode::ServerExited {
            (self.fault, self.why) = (Some(fault), why.to_owned());
        }
    }

    /// One of them serves again.
    fn one_is_back(&mut self) {
        let wanted = self.replicas.unwrap_or_default();
        if self.further.len() + usize::from(self.process.is_some()) >= wanted {
            self.clear();
        }
    }

    /// What follows from news of a further process: whether it is there. What is wrong with one is told in the log. `of_era`: it is the one for
    /// clients of MCP 2026-07-28.
    fn follow_further(&mut self, news: &ServerNews<'_>, of_era: bool, clean: impl Fn(&str) -> String, now: Instant) {
        match news {
            ServerNews::Started { pid, program, fetcher } => {
                let fetcher = fetcher.map(&clean);
                self.further.push(Started { pid: *pid, program: clean(program), fetcher, at: now, of_era });
            }
            ServerNews::Exited { pid, .. }
            | ServerNews::Replaced { pid, .. }
            | ServerNews::StoppedByCommand { pid, .. }
            | ServerNews::Stopped { pid, .. } => self.further.retain(|process| Some(process.pid) != *pid),
            ServerNews::LimitMet { fault, .. } => self.count_limit(*fault),
            // A server that is reached over the network has no processes.
            ServerNews::Contacted { .. }
            | ServerNews::Came { .. }
            | ServerNews::NotStarted { .. }
            | ServerNews::StillStarting { .. }
            | ServerNews::NotReady { .. }
            | ServerNews::Ready { .. }
            | ServerNews::Refused { .. }
            | ServerNews::Silent { .. }
            | ServerNews::Circuit { .. }
            | ServerNews::Heard { .. }
            | ServerNews::Checked(_)
            | ServerNews::Halted
            | ServerNews::Begins => {}
        }
    }

    /// What follows from a health check.
    fn note_check(&mut self, process: Alike, checked: &Checked, clean: impl Fn(&str) -> String, now: Instant) {
        let (state, result) = match checked {
            Checked::Well { took, .. } => (HealthState::Healthy { took_micros: micros(*took) }, Some(0)),
            Checked::Busy { .. } => (HealthState::Busy, Some(1)),
            Checked::Failed { failures, .. } => (HealthState::Failing { times: failures.times }, Some(2)),
            Checked::Unlisted { .. } => (HealthState::Unlisted, None),
            Checked::Ended => {
                self.conduct.forget_health(process);
                return self.judge();
            }
        };
        if let Some(result) = result {
            self.checks[result] += 1;
        }
        let why = match checked {
            Checked::Failed { why, .. } => clean(why),
            Checked::Unlisted { .. } => clean(&checked.to_string()),
            Checked::Well { .. } | Checked::Busy { .. } | Checked::Ended => String::new(),
        };
        let before = self.conduct.health_of(process).filter(|before| before.state.is_like(&state));
        let since = before.map_or(now, |before| before.since);
        self.conduct.note_health(process, HealthStatus { state, since, at: now, why });
        self.judge();
    }

    /// Whether a process fails its checks is what is wrong with the server, or is no longer.
    fn judge(&mut self) {
        self.sum_up();
        match &self.health {
            Some(HealthStatus { state: HealthState::Failing { .. }, why, .. }) => {
                // What it was called for in vain says more.
                if self.fault.is_none() || self.fault == Some(FaultCode::ServerUnhealthy) {
                    (self.fault, self.why) = (Some(FaultCode::ServerUnhealthy), why.clone());
                }
            }
            Some(_) | None if self.fault == Some(FaultCode::ServerUnhealthy) => {
                self.fault = None;
                self.why.clear();
            }
            Some(_) | None => {}
        }
    }

    /// Something has become of a process's circuit.
    fn note_circuit(&mut self, process: Alike, circuit: Circuit, now: Instant) {
        let circuit = match circuit {
            Circuit::Closed => CircuitState::Closed,
            Circuit::Open { failures, open_for } => CircuitState::Open { failures, until: now + open_for },
            Circuit::HalfOpen => CircuitState::HalfOpen,
        };
        self.circuit.get_or_insert(CircuitState::Closed);
        self.conduct.note_circuit(process, circuit);
        self.sum_up();
    }

    /// What the checks of the first process have shown counts no longer.
    fn forget_health(&mut self) {
        self.conduct.forget_health(None);
        self.sum_up();
    }

    /// A life has met one of its limits.
    fn count_limit(&mut self, fault: FaultCode) {
        *self.limits_met.entry(fault.as_str()).or_default() += 1;
    }

    /// A life has begun.
    fn begins_life(&mut self, now: Instant) {
        self.limit = None;
        self.forget_health();
        // A life that a command begins is no restart: the command has cleared this.
        let is_restart = self.retry_at.take().is_some();
        self.note_restart(is_restart);
        (self.refused, self.for_http) = (false, false);
        // What a server says of itself counts until its next life has ended without such words.
        if !matches!(self.state, ServerState::Refusing(_)) {
            self.becomes(ServerState::Starting, now);
        }
    }

    fn becomes(&mut self, state: ServerState, now: Instant) {
        if self.state != state {
            (self.state, self.since) = (state, now);
        }
    }

    /// Counts an attempt that follows one that ended or could not begin, if it is such a one.
    fn note_restart(&mut self, is_restart: bool) {
        if is_restart {
            self.restarts += 1;
            let cause = self.fault.map_or("unknown", FaultCode::as_str);
            *self.restarts_by.entry(cause).or_default() += 1;
        }
    }

    /// Nothing is wrong with the server any more.
    fn clear(&mut self) {
        self.conduct.forget_healths();
        self.health = None;
        (self.fault, self.retry_at, self.failures, self.refused) = (None, None, 0, false);
        self.why.clear();
        self.last_words.clear();
    }

    /// A life has ended that was not to end, or could not begin.
    fn ends(&mut self, fault: FaultCode, why: &str, now: Instant, again: Option<Duration>) {
        self.limit = None;
        self.forget_health();
        (self.process, self.retry_at) = (None, again.map(|again| now + again));
        // The server's own words say more than how its process ended.
        if !std::mem::take(&mut self.refused) {
            (self.fault, self.why) = (Some(fault), why.to_owned());
            self.becomes(ServerState::Down(why.to_owned()), now);
        }
    }
}

impl LinkEntry {
    /// Writes what has happened to the link. `names`: what the log calls it.
    pub(crate) fn write(&self, names: &Names, news: LinkNews<'_>) {
        news.log(names);
        self.change_because(news.cause(), |link| link.follow(&news, |text| self.clean(text), Instant::now()));
    }
}

impl LinkNews<'_> {
    /// What has come up with the news, if anything has.
    fn cause(&self) -> Option<FaultCode> {
        match self {
            LinkNews::Down(end) => end.cause.fault(),
            LinkNews::Taken => Some(FaultCode::AgentTaken),
            LinkNews::Dialled
            | LinkNews::Rests
            | LinkNews::Opened { .. }
            | LinkNews::Heard
            | LinkNews::Initialized { .. }
            | LinkNews::ToolsRead { .. }
            | LinkNews::Standby(_) => None,
        }
    }

    fn log(&self, servers: &Names) {
        match self {
            LinkNews::Dialled | LinkNews::Heard => {}
            LinkNews::Initialized { took } => {
                debug!(event = "CONNECTION_INITIALIZED", ?servers, "initialized in {}", span(*took))
            }
            LinkNews::Opened { took } => info!(event = "CONNECTION_OPENED", ?servers, "connected in {}", span(*took)),
            LinkNews::ToolsRead { note, .. } => debug!(event = "TOOLS_READ", ?servers, "{note}"),
            LinkNews::Down(LinkEnd { why, stood, then: Then::Rests, .. }) => {
                let event = if *stood { "CONNECTION_CLOSED" } else { "ERROR_CONNECT" };
                info!(event, ?servers, "{why}");
            }
            LinkNews::Down(LinkEnd { cause: Cause::Ours(_), why, stood: true, then: Then::Ends, .. }) => {
                info!(event = "CONNECTION_CLOSED", ?servers, "{why}; not dialled again");
            }
            LinkNews::Down(LinkEnd { cause: Cause::Ours(_), why, stood: true, retry_in, .. }) => {
                info!(event = "CONNECTION_CLOSED", ?servers, "{why}; reconnecting in {} ms", retry_in.as_millis());
            }
            LinkNews::Rests => {
                let what = "stopped by command, so the endpoint is not dialled before its server is started";
                info!(event = "CONNECTION_RESTS", ?servers, "{what}");
            }
            LinkNews::Down(LinkEnd { why, stood: true, then: Then::Ends, .. }) => {
                warn!(target: RETRIES, event = "CONNECTION_CLOSED", ?servers, "{why}; not dialled again");
            }
            LinkNews::Down(LinkEnd { why, stood: true, retry_in, .. }) => {
                warn!(target: RETRIES, event = "CONNECTION_CLOSED", ?servers, "{why}; reconnecting in {}", span(*retry_in));
            }
            LinkNews::Down(LinkEnd { why, stood: false, retry_in, .. }) => {
                warn!(target: RETRIES, event = "ERROR_CONNECT", ?servers, "{why}; next attempt in {}", span(*retry_in));
            }
            LinkNews::Taken => {} // the claim has logged by whom
            LinkNews::Standby(why) => info!(event = "LEASE_STANDBY", ?servers, "standby: {why}"),
        }
    }
}

/// The cause of a connection that follows one which mcp-pipe has closed itself.
const OURS: &str = "mcp-pipe";

/// What is said of a link whose agent another mcp-pipe serves.
const TAKEN: &str = "another mcp-pipe serves the same agent, which takes one connection only";

impl LinkStatus {
    /// What follows from the news.
    fn follow(&mut self, news: &LinkNews<'_>, clean: impl Fn(&str) -> String, now: Instant) {
        match news {
            LinkNews::Dialled => {
                (self.dialled, self.retry_at, self.fault) = (true, None, None);
                self.becomes(LinkState::Resting, now);
            }
            LinkNews::Rests => {
                (self.dialled, self.retry_at, self.fault, self.failures) = (false, None, None, 0);
                self.becomes(LinkState::Resting, now);
            }
            LinkNews::Opened { .. } => {
                (self.tools, self.unasked, self.retry_at, self.fault) = (None, true, None, None);
                self.connections += 1;
                self.becomes(LinkState::Connected, now);
            }
            LinkNews::Initialized { took } => self.initialize = Some(*took),
            LinkNews::Heard => (self.unasked, self.failures) = (false, 0),
            LinkNews::ToolsRead { count, .. } => self.tools = *count,
            LinkNews::Down(end) => {
                let LinkEnd { cause, why, stood, retry_in, then, redialled, by_servers } = *end;
                let (why, fault) = (clean(why), cause.fault());
                self.retry_at = (then != Then::Ends).then(|| now + retry_in);
                if then == Then::Again {
                    let cause = fault.map_or(OURS, FaultCode::as_str);
                    *self.reconnects.entry(cause).or_default() += 1;
                }
                (self.fault, self.by_servers) = (fault, by_servers);
                self.failures = if fault.is_some() { self.failures.saturating_add(1) } else { self.failures };
                // What counts is what becomes of the next one, where that is made by command.
                let state = if redialled { LinkState::Resting } else { LinkState::Down(why.clone()) };
                if stood {
                    self.last_close = Some(LastClose { at: now, why });
                }
                if redialled || !matches!(self.state, LinkState::Down(_)) {
                    self.since = now;
                }
                self.state = state;
            }
            LinkNews::Taken => {
                self.fault = Some(FaultCode::AgentTaken);
                self.becomes(LinkState::Down(TAKEN.to_owned()), now);
            }
            LinkNews::Standby(why) => self.becomes(LinkState::Standby(clean(why)), now),
        }
    }

    fn becomes(&mut self, state: LinkState, now: Instant) {
        if self.state != state {
            (self.state, self.since) = (state, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::status::Status;
    use crate::net::error::DialError;
    use crate::secrecy::Secret;

    const SOON: Duration = Duration::from_secs(5);

    fn exited(failures: u32) -> ServerNews<'static> {
        ServerNews::Exited {
            pid: Some(7),
            fault: None,
            why: "exited with code 1",
            last_words: "",
            tail: "",
            failures,
            again: Some(SOON),
        }
    }

    fn replaced(by_command: bool) -> ServerNews<'static> {
        ServerNews::Replaced { pid: Some(7), why: "killed", by_command }
    }

    const STARTED: ServerNews<'static> = ServerNews::Started { pid: 7, program: "npx", fetcher: Some("npx") };
    const READY: ServerNews<'static> = ServerNews::Ready { took: SOON };

    /// What the state is after this news.
    fn after(all: &[ServerNews<'_>]) -> ServerStatus {
        let status = Status::default();
        let entry = status.add_server("a");
        all.iter().for_each(|news| entry.change(|server| server.follow(news, str::to_owned, Instant::now())));
        status.read().servers.remove(0)
    }

    #[test]
    fn a_server_is_cut_off_once_all_its_processes_are_and_fails_its_checks_while_one_does() {
        use crate::config::{Bounds, BreakerSpec, Instances, Replicas, ServerSpec};
        let status = Status::default();
        let (first, breaker) = (status.add_server("a"), BreakerSpec { failures: 2, open_for: SOON });
        let bounds = Bounds { breaker: Some(breaker), ..Bounds::default() };
        let instances = Instances::Replicas(Replicas { number: 2, sticky: false });
        first.configured(&ServerSpec { bounds, instances, ..ServerSpec::sample("a", "", &[]) });
        let second = first.replica(9);
        [&first, &second].into_iter().for_each(|process| process.note(STARTED));
        first.note(READY);
        let is = |entry: &ServerEntry, circuit: Circuit| {
            let note = Note::of(0, crate::router::What::Circuit(circuit));
            entry.note(ServerNews::Circuit { circuit, note: &note });
            let server = status.read().servers.remove(0);
            (server.is_cut_off(), server.cut_off, server.is_well())
        };
        let open = Circuit::Open { failures: 2, open_for: SOON };
        assert_eq!(is(&second, open), (false, 1, true));
        assert_eq!(is(&first, open), (true, 0, false));
        assert_eq!(is(&first, Circuit::Closed), (false, 1, true));
        second.left();
        assert_eq!((status.read().servers[0].cut_off, is(&second, Circuit::Closed)), (0, (false, 0, true)));
        let failures = Failures { times: FAILURES, lasted: SOON };
        second.note(ServerNews::Checked(&Checked::Failed { why: "is mute".into(), failures }));
        first.note(ServerNews::Checked(&Checked::Well { took: SOON, after: None }));
        assert!(status.read().servers[0].is_unhealthy(), "the second one is");
        second.note(replaced(false));
        assert!(!status.read().servers[0].is_unhealthy() && status.read().servers[0].fault.is_none());
    }

    #[test]
    fn what_a_server_does_follows_from_what_happens_to_it() {
        let (down, missing) = (ServerState::Down("exited with code 1".into()), FaultCode::CommandNotFound);
        let refused = || {
            let note = Box::leak(Box::new(Note::of(0, crate::router::What::Unclaimed)));
            ServerNews::Refused { words: "no licence", note, again: false }
        };
        let refusing = ServerState::Refusing("no licence".into());
        let not_started =
            || ServerNews::NotStarted { fault: missing, why: "command not found: x", shown: "", again: Some(SOON) };
        let not_ready =
            || ServerNews::NotReady { waited: SOON, undialled: true, ended: false, fetcher: None, http: false };
        let rows: Vec<(Vec<ServerNews<'_>>, ServerState, Option<FaultCode>)> = vec![
            (vec![], ServerState::Starting, None),
            (vec![STARTED], ServerState::Starting, None),
            (vec![STARTED, READY], ServerState::Serving, None),
            (vec![STARTED, not_ready()], ServerState::Starting, Some(FaultCode::ServerNotReady)),
            (vec![STARTED, not_ready(), READY], ServerState::Serving, None),
            (vec![STARTED, exited(1)], down.clone(), Some(FaultCode::ServerExited)),
            (vec![STARTED, exited(LOOP)], down.clone(), Some(FaultCode::ServerCrashLoop)),
            // What was wrong stays until the next life is of more use.
            (vec![STARTED, exited(LOOP), STARTED], ServerState::Starting, Some(FaultCode::ServerCrashLoop)),
            (
                vec![STARTED, exited(LOOP), STARTED, not_ready()],
                ServerState::Starting,
                Some(FaultCode::ServerCrashLoop),
            ),
            (vec![STARTED, exited(LOOP), STARTED, READY], ServerState::Serving, None),
            (vec![STARTED, exited(LOOP), ServerNews::Begins], ServerState::Starting, None),
            (vec![not_started()], ServerState::Down("command not found: x".into()), Some(missing)),
            (vec![not_started(), STARTED, READY], ServerState::Serving, None),
            // A refusal says more than the end of the process that has refused, and no more than that of the next one.
            (vec![STARTED, refused(), exited(1)], refusing.clone(), Some(FaultCode::ServerRefuses)),
            (vec![STARTED, refused(), replaced(false), STARTED], refusing, Some(FaultCode::ServerRefuses)),
            (vec![STARTED, refused(), exited(1), STARTED, exited(2)], down, Some(FaultCode::ServerExited)),
            (vec![STARTED, refused(), replaced(false), STARTED, READY], ServerState::Serving, None),
            (vec![STARTED, READY, replaced(false)], ServerState::Starting, None),
            (vec![STARTED, READY, replaced(true), ServerNews::Halted], ServerState::Stopped, None),
        ];
        for (news, state, fault) in rows {
            let server = after(&news);
            assert_eq!((&server.state, server.fault), (&state, fault), "{news:?}");
            let has_process = matches!(news.last(), Some(ServerNews::Started { .. } | ServerNews::Ready { .. }));
            assert!(!has_process || server.process.is_some_and(|process| process.program == "npx"), "{news:?}");
        }
        assert_eq!(after(&[STARTED, exited(1), STARTED, exited(2), STARTED]).restarts, 2);
        assert_eq!(after(&[STARTED, READY, replaced(true), STARTED, READY]).restarts, 0, "a command is no restart");
        assert_eq!(after(&[STARTED, exited(1), ServerNews::Begins, STARTED]).restarts, 0, "it came before that");
        assert_eq!(after(&[STARTED, exited(1)]).restarts, 0, "none yet");
        assert_eq!(after(&[not_started(), not_started(), STARTED]).restarts, 2);
        assert!(
            after(&[STARTED, exited(1)]).retry_at.is_some() && after(&[STARTED, exited(1), STARTED]).retry_at.is_none()
        );
    }

    #[test]
    fn what_is_kept_for_later_holds_no_time_that_would_stand_still() {
        let not_ready =
            ServerNews::NotReady { waited: SOON, undialled: true, ended: false, fetcher: None, http: false };
        assert_eq!(after(&[STARTED, not_ready]).why, "has not answered initialize");
        for failed in [false, true] {
            let silent = crate::router::What::Silent { lasted: SOON, method: "tools/call", failed };
            let note = Note::of(0, silent);
            assert!(
                note.to_string().contains(" ago (tools/call) and has said nothing since"),
                "the log has it: {note}"
            );
            let why = after(&[STARTED, READY, ServerNews::Silent { note: &note, failed }]).why;
            assert!(
                why.starts_with("was called (tools/call) and has said nothing since, nor answered a ping"),
                "{why}"
            );
            assert!(why.contains("mcp-pipe restart a starts it anew"), "{why}");
        }
    }

    #[test]
    fn the_end_of_what_a_server_said_is_kept_until_it_serves() {
        let said = |tail| ServerNews::Exited {
            pid: Some(7),
            fault: None,
            why: "exited with code 1",
            last_words: "; the same as before",
            tail,
            failures: 1,
            again: Some(SOON),
        };
        let endless = "é".repeat(LAST_WORDS);
        let long = format!("{endless} | {} | no key", "x".repeat(100));
        assert_eq!(after(&[STARTED, said("no key")]).last_words, "no key");
        assert_eq!(after(&[STARTED, said(&long)]).last_words, format!("{} | no key", "x".repeat(100)));
        assert!(after(&[STARTED, said(&endless)]).last_words.len() <= LAST_WORDS);
        for mended in [READY, ServerNews::Begins] {
            assert_eq!(after(&[STARTED, said("no key"), STARTED, mended]).last_words, "");
        }
    }

    #[test]
    fn what_a_link_does_follows_from_what_happens_to_it_and_holds_no_secret() {
        let status = Status::new([Secret::new("ab1cd2e")].into_iter().collect());
        let link = crate::control::status::tests::link(&status, &[]);
        let names = Names::from_iter(["a".into()]);
        let now = || status.read().links.remove(0);
        assert!(!now().dialled);
        link.write(&names, LinkNews::Dialled);
        assert!(now().dialled && now().state == LinkState::Resting);
        let down = |cause: &Cause, why: &'static str, stood, redialled| {
            let (then, by_servers) = (Then::Again, false);
            link.write(
                &names,
                LinkNews::Down(LinkEnd { cause, why, stood, retry_in: SOON, then, redialled, by_servers }),
            );
        };
        let refused = Cause::Dial(DialError::Refused { peer: "h:443".into() });
        down(&refused, "refused ab1cd2e", false, false);
        down(&refused, "refused ab1cd2e", false, false);
        let seen = now();
        assert_eq!((seen.state, seen.fault), (LinkState::Down("refused …".into()), Some(FaultCode::EndpointRefused)));
        assert!(seen.failures == 2 && seen.last_close.is_none() && seen.retry_at.is_some());
        link.write(&names, LinkNews::Opened { took: SOON });
        assert!(now().unasked && now().connections == 1 && now().fault.is_none() && now().retry_at.is_none());
        link.write(&names, LinkNews::Heard);
        assert!(!now().unasked && now().failures == 0);
        down(&Cause::Ours("because it was told to"), "closed ab1cd2e", true, true);
        let seen = now();
        assert_eq!((&seen.state, seen.fault), (&LinkState::Resting, None), "what becomes of the next one counts");
        assert_eq!(seen.last_close.map(|close| close.why), Some("closed …".to_owned()));
        down(&refused, "refused", false, false);
        link.write(&names, LinkNews::Rests);
        let seen = now();
        assert_eq!((&seen.state, seen.fault, seen.failures), (&LinkState::Resting, None, 0), "nobody needs it");
        assert!(!seen.dialled && seen.retry_at.is_none());
        link.write(&names, LinkNews::Taken);
        assert_eq!(now().fault, Some(FaultCode::AgentTaken));
    }
}
