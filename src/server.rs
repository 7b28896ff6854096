//! A server as frames in, frames out, and a state: started, restarted when it dies, and stopped for good.
//!
//! # Theory of operation
//!
//! A [`Server`] has no task of its own: the task that owns the pipe polls it. A server is *waiting* for its (re)start,
//! *running*, *halted*, *stopping*, or *stopped*. When a process is over, the server reports [`ServerEvent::Down`] and waits: an
//! instant after a life in which it was of use ([`Server::healthy`]), longer and longer while it only crashes. A process is
//! over only when nothing of its group is left, so two lives never overlap. A server that a person has stopped is *halted* until
//! a person starts it (`wanted`).
//!
//! What the server says on stderr is logged, whatever else goes on.

pub(crate) mod auth;
mod being;
pub(crate) mod bridge;
mod comer;
mod echo;
mod era;
mod exit;
mod limits;
mod living;
mod log_file;
pub(crate) mod printed;
mod remote;
pub(crate) mod spawn;
mod stderr;
mod stdio;
mod stdout;
mod stop;
#[cfg(all(test, target_os = "linux"))]
mod tests;
pub(crate) mod wanted;

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use self::auth::Auth;
use self::being::{Being, End};
use self::comer::Comer;
use self::echo::{Echo, fingerprint};
use self::era::Eras;
use self::limits::Met;
use self::living::Living;
use self::log_file::Print;
use self::remote::Remote;
use self::stderr::Noted;
use self::stdio::Process;
pub(crate) use self::stdout::notation;
pub use self::stdout::{Found, Habit, Stdout};
use self::wanted::{Actual, Goal, Step, Wanted};
use crate::backoff::Backoff;
use crate::backoff::Pace;
use crate::config::{LimitsSpec, Reach, ServerSpec};
use crate::error::FaultCode;
use crate::frame::LineOut;
use crate::logging::LogFile;
use crate::mcp::envelope;
use crate::mcp::era::Era;
use crate::passage::Passage;
use crate::process::guard::Guard;
use crate::secrecy::Redactor;
use crate::words::counted;

/// Shortest life after which a server's next crash is not part of a loop.
const STABLE: Duration = Duration::from_secs(60);
/// Longest time until a server that was of use is started again. Not zero: several servers that died of one thing don't all
/// start in one instant.
const AT_ONCE: Duration = Duration::from_millis(100);
/// Longest first wait in a crash loop.
const FIRST_CEILING: Duration = Duration::from_millis(500);
/// Longest wait in a crash loop: a start costs only this machine.
const LONGEST: Duration = Duration::from_secs(60);

/// Longest wait that a remote server may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(600);

/// What a server reports.
#[derive(Debug)]
pub enum ServerEvent<'a> {
    /// A life of the server has begun. It knows nothing of any earlier one.
    Up {
        /// The process id; `None` for a remote server.
        pid: Option<u32>,
    },
    /// The life goes on with another process, as the server is none of the other era. The router is not told: it has heard nothing of
    /// the one before.
    Again {
        /// The process id of the one before; `None` for a remote server.
        ended: Option<u32>,
        /// How that ended.
        why: &'a str,
        /// The process id of the one that follows.
        pid: Option<u32>,
        /// As one of which era the server is opened now.
        era: Era,
        /// The server's words, by which it was none of the other era.
        words: &'a str,
    },
    /// The server has shown of which era it is, and that was not known.
    Shown {
        /// That era.
        era: Era,
    },
    /// The server says that it has met one of its limits, which it may survive; once in a life.
    LimitMet {
        /// Which limit.
        fault: FaultCode,
        /// That limit, in words that continue what the server did.
        told: &'a str,
    },
    /// The server wrote something.
    Said(Found<'a>),
    /// The server's process is gone, with everything that was not yet answered, or could not be started.
    Down {
        /// What happened, in one line for people.
        why: &'a str,
        /// How long until the server is started again.
        retry_in: Duration,
        /// What it is that has ended.
        life: Life<'a>,
    },
    /// The server's process is gone, as a person wants it, and no other is started until that changes.
    Halted {
        /// The process id, if there was one.
        pid: Option<u32>,
        /// How the process ended.
        why: &'a str,
        /// Whether it went on after the end of its stdin, and was sent a signal.
        signalled: bool,
    },
    /// The server's process is gone, as the server is stopped for good.
    Stopped {
        /// The process id, if there was one.
        pid: Option<u32>,
        /// How the process ended.
        why: &'a str,
    },
}

/// What was of a server before it went down.
#[derive(Debug, Clone, Copy)]
pub enum Life<'a> {
    /// Nothing: its process could not be started, or nobody answered at its address.
    None {
        /// What kind of fault that is.
        fault: FaultCode,
        /// What is to be said of it, which may have been said before.
        shown: &'a str,
    },
    /// A life that ended by itself, or because of a fault.
    Ended {
        /// The process id, if there was one.
        pid: Option<u32>,
        /// What kind of fault that is, where it was no process, or a limit has come of it.
        fault: Option<FaultCode>,
        /// How many lives in a row, this one included, were of no use.
        failures: u32,
        /// The last lines of its stderr, as the end of a sentence.
        last_words: &'a str,
        /// The same lines as one, whether or not the log has had them before.
        tail: &'a str,
    },
    /// A process that was to end, as another one is wanted.
    Replaced {
        /// The process id, if there was one.
        pid: Option<u32>,
    },
}

/// Takes what a server reports, and says whether there is room for its next message. If not, the server keeps what has been
/// read.
pub type OnServerEvent<'a> = dyn FnMut(ServerEvent<'_>) -> ControlFlow<()> + 'a;

/// One configured server, through all its lives. A server must be polled inside a tokio runtime.
pub struct Server {
    spec: Arc<ServerSpec>,
    guard: Guard,
    redactor: Redactor,
    state: ServerPhase,
    restarts: Restarts,
    /// When the server was last started.
    since: Instant,
    /// The present process is ended because another one is wanted.
    restarting: bool,
    /// No life is begun any more: the present one goes on to its end.
    is_last: bool,
    /// What a person wants.
    goal: Goal,
    /// The number of the last command before the server was last started.
    under: u64,
    notes: Notes,
    echo: Echo,
    eras: Eras,
    /// How a remote server was last told who asks.
    auth: Option<Arc<Auth>>,
    /// By what a server has come, until its life begins.
    lines: Option<Passage>,
    /// Where is written what it prints beside its messages, if anywhere.
    file: Option<LogFile>,
    /// The limit that the present process has said to have met.
    met: Option<Met>,
}

enum ServerPhase {
    /// The server waits for its (re)start; `None`: that is due.
    Waiting(Option<Pin<Box<Sleep>>>),
    Running(Box<Living>),
    /// There is no process, as a person wants it.
    Halted,
    Stopping(Box<Living>),
    Stopped,
}

/// What has been logged of a server, so that it isn't said over and over.
#[derive(Default)]
struct Notes {
    /// How the server writes its messages.
    habits: Vec<Habit>,
    /// Hash of the stderr shown at the last death.
    tail: u64,
    /// Hash of the reason why the server could not be started.
    start: u64,
    /// It was told that the server refuses the era that the config sets.
    era: bool,
}

impl Server {
    /// A server that is not started yet: the first poll does that. What `redactor` knows is hidden wherever the server
    /// writes it to stderr.
    ///
    /// `known`: of which era it has shown to be in an earlier run.
    pub fn new(spec: Arc<ServerSpec>, guard: Guard, redactor: Redactor, known: Option<Era>) -> Self {
        Server {
            eras: Eras::new(spec.era, known, first(&spec)),
            file: spec.log_file.as_ref().and_then(log_file::open),
            spec,
            guard,
            redactor,
            state: ServerPhase::Waiting(None),
            restarts: Restarts::new(),
            since: Instant::now(),
            restarting: false,
            is_last: false,
            goal: Goal::default(),
            under: 0,
            notes: Notes::default(),
            echo: Echo::default(),
            auth: None,
            lines: None,
            met: None,
        }
    }

    /// A server that has come over these lines, and whose only life ends with them.
    pub(crate) fn of_comer(spec: Arc<ServerSpec>, lines: Passage, guard: Guard, redactor: Redactor) -> Self {
        Server { lines: Some(lines), ..Server::new(spec, guard, redactor, None) }
    }

    /// Drives everything but stdin: starts the server when that is due, hands out what the server wrote, notices its end.
    /// With `read: false`, and once `on` says that there is no room, stdout is left alone, so that the server feels the
    /// pressure; the server is to be polled again when there is room. While the server is being stopped, stdout is read
    /// regardless, and the caller drops what finds no room. Ready only when a stop has completed.
    pub fn poll(&mut self, cx: &mut Context<'_>, now: Instant, read: bool, on: &mut OnServerEvent<'_>) -> Poll<()> {
        loop {
            let name = &self.spec.name;
            match &mut self.state {
                // The pipe stops, and polls again for that.
                ServerPhase::Waiting(_) if self.is_last => return Poll::Pending,
                ServerPhase::Waiting(timer) => {
                    if let Some(timer) = timer {
                        ready!(timer.as_mut().poll(cx));
                    }
                    self.start(on);
                }
                ServerPhase::Running(living) => {
                    let (notes, echo, eras) = (&mut self.notes, &mut self.echo, &mut self.eras);
                    let (file, redactor) = (Print::to(self.file.as_ref()), &self.redactor);
                    let limits = self.spec.reach.command().map_or_else(LimitsSpec::default, |command| command.limits);
                    let (before, met) = (self.met, &mut self.met);
                    let each = &mut |found: Found<'_>| {
                        file.noise(&found, redactor);
                        notes.pass(name, found, on)
                    };
                    let log = &mut |noted: Noted<'_>| {
                        file.stderr(&noted);
                        if let Noted::Line(text) = &noted {
                            *met = met.or_else(|| Met::told_by(text, limits));
                        }
                        log_stderr(name, noted, echo);
                    };
                    let polled = living.poll(cx, (now, read), eras, each, log);
                    drop(file);
                    if living.take_hint() && !std::mem::replace(&mut self.notes.era, true) {
                        tracing::warn!(event = "SERVER_ERA", server = %name, "it refused initialize, and its \"era\" is set to \"legacy\"; if it is of the newer era, remove that");
                    }
                    if let (None, Some(met)) = (before, *met) {
                        let _told = on(ServerEvent::LimitMet { fault: met.fault(), told: &met.told() });
                    }
                    if let Some(era) = living.take_news() {
                        let _told = on(ServerEvent::Shown { era });
                    }
                    ready!(polled);
                    let (pid, end) = (living.pid(), living.end());
                    if !self.goes_on((pid, &end), on) {
                        self.exited(pid, &end, on);
                    }
                }
                ServerPhase::Stopping(living) => {
                    let (notes, echo) = (&mut self.notes, &mut self.echo);
                    let (file, redactor) = (Print::to(self.file.as_ref()), &self.redactor);
                    let each = &mut |found: Found<'_>| {
                        file.noise(&found, redactor);
                        let _dropped = notes.pass(name, found, on);
                        ControlFlow::Continue(())
                    };
                    // The pipes are drained to the last: a process that is stuck in a write can't end by itself.
                    let eras = &mut self.eras;
                    let log = &mut |noted: Noted<'_>| {
                        file.stderr(&noted);
                        log_stderr(name, noted, echo);
                    };
                    ready!(living.poll(cx, (now, true), eras, each, log));
                    let (pid, why) = (living.pid(), living.end().why);
                    self.state = ServerPhase::Stopped;
                    let _stopped = on(ServerEvent::Stopped { pid, why: &why });
                }
                // The pipe polls again when a person wants something else.
                ServerPhase::Halted => return Poll::Pending,
                ServerPhase::Stopped => return Poll::Ready(()),
            }
        }
    }

    /// Writes what the server takes now; ready when nothing is left. While the server isn't up, or has closed its stdin,
    /// everything stays in `out`: the caller drops that at [`ServerEvent::Down`], which follows.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, out: &mut LineOut) -> Poll<()> {
        match &mut self.state {
            ServerPhase::Running(living) => living.poll_write(cx, out),
            ServerPhase::Waiting(_) | ServerPhase::Halted | ServerPhase::Stopping(_) | ServerPhase::Stopped => {
                if out.is_empty() { Poll::Ready(()) } else { Poll::Pending }
            }
        }
    }

    /// The server was of use (served a call): its next restart is a quick one again.
    pub fn healthy(&mut self) {
        self.restarts.healthy();
    }

    /// Has the server not be started any more, however its present life ends.
    pub(crate) fn start_no_more(&mut self) {
        self.is_last = true;
    }

    /// Stops the server for good: stdin is closed, then the group is sent TERM, then KILL; with `now` KILL at once. That
    /// takes less than five seconds at worst. The server is to be polled on until it is ready.
    pub fn stop(&mut self, now: bool) {
        self.lines = None;
        self.state = match std::mem::replace(&mut self.state, ServerPhase::Stopped) {
            ServerPhase::Running(mut living) | ServerPhase::Stopping(mut living) => {
                living.stop(now);
                ServerPhase::Stopping(living)
            }
            ServerPhase::Waiting(_) | ServerPhase::Halted | ServerPhase::Stopped => ServerPhase::Stopped,
        };
    }

    /// From its next process on, the server is what `spec` says. The name stays.
    pub(crate) fn change(&mut self, spec: Arc<ServerSpec>) {
        self.eras = Eras::new(spec.era, None, first(&spec));
        if self.spec.log_file != spec.log_file {
            self.file = spec.log_file.as_ref().and_then(log_file::open);
        }
        self.spec = spec;
    }

    /// Takes the step that leads to `goal`, and tells which. To be followed by a poll. While the server is being stopped for
    /// good, no step is left.
    pub(crate) fn want(&mut self, goal: Goal) -> Step {
        let actual = match &self.state {
            ServerPhase::Waiting(_) => Actual::Waiting { tried: self.under },
            ServerPhase::Running(_) => Actual::Running { since: self.under },
            ServerPhase::Halted => Actual::Halted,
            ServerPhase::Stopping(_) | ServerPhase::Stopped => return Step::Stay,
        };
        self.goal = goal;
        let step = goal.step(actual);
        match (step, &mut self.state) {
            (Step::Start, _) => {
                self.eras.begin_anew();
                // Whoever wants it now also wants to read anew why it fails.
                (self.restarts, self.notes.start, self.notes.tail) = (Restarts::new(), 0, 0);
                self.state = ServerPhase::Waiting(None);
            }
            (Step::End, ServerPhase::Running(living)) => {
                self.restarting = goal.wanted != Wanted::Stopped;
                self.restarts = Restarts::new();
                living.stop(false);
            }
            (Step::Halt, _) => self.state = ServerPhase::Halted,
            (Step::Stay | Step::End, _) => {}
        }
        step
    }

    /// Whether the server's process runs and can be written to.
    pub fn is_up(&self) -> bool {
        matches!(&self.state, ServerPhase::Running(living) if living.is_up())
    }

    /// Whether the server's process says nothing on stdout, and says on stderr that it serves over HTTP.
    pub(crate) fn seems_for_http(&self) -> bool {
        matches!(&self.state, ServerPhase::Running(living) if living.seems_for_http())
    }

    /// Ends the server's present process because of a fault, and has another one started. `fault` says what the server did,
    /// for people.
    pub fn end_faulty_process(&mut self, fault: impl Into<Cow<'static, str>>) {
        if let ServerPhase::Running(living) = &mut self.state {
            living.fail(fault.into());
        }
    }

    /// Ends the server's present process, if there is one, and starts another at once. `why` is for people. To be followed
    /// by a poll.
    pub fn restart(&mut self, why: &str) {
        let name = &self.spec.name;
        match &mut self.state {
            ServerPhase::Running(living) => {
                if !std::mem::replace(&mut self.restarting, true) {
                    tracing::info!(event = "SERVER_RESTARTING", server = %name, "is started anew: {why}");
                }
                living.stop(false);
            }
            ServerPhase::Waiting(_) => self.state = ServerPhase::Waiting(None),
            ServerPhase::Halted | ServerPhase::Stopping(_) | ServerPhase::Stopped => {}
        }
    }

    /// The process id while there is a process, even one that is ending.
    pub fn pid(&self) -> Option<u32> {
        match &self.state {
            ServerPhase::Running(living) | ServerPhase::Stopping(living) => living.pid(),
            ServerPhase::Waiting(_) | ServerPhase::Halted | ServerPhase::Stopped => None,
        }
    }

    fn start(&mut self, on: &mut OnServerEvent<'_>) {
        (self.under, self.met) = (self.goal.number, None);
        match self.being() {
            Ok(being) => {
                let pid = being.pid();
                self.echo.begins(pid);
                self.since = Instant::now();
                let living = Living::new(being, &self.eras, &self.spec.name, self.since);
                self.state = ServerPhase::Running(Box::new(living));
                let _up = on(ServerEvent::Up { pid });
            }
            Err((fault, why, still)) => self.not_started(fault, &why, &still, Duration::ZERO, on),
        }
    }

    /// What carries the messages of a life that begins; or why there is none, and what is said of that once it has been said.
    fn being(&mut self) -> Result<Being, (FaultCode, String, String)> {
        let (guard, redactor, now) = (self.guard.clone(), self.redactor.clone(), Instant::now());
        match &self.spec.reach {
            Reach::Remote(remote) => {
                let auth = Auth::of(&self.spec.name, remote, &redactor, &guard);
                let being = Remote::new(&self.spec, remote.clone(), auth.clone(), redactor, now);
                self.auth = Some(auth);
                Ok(Being::Remote(Box::new(being)))
            }
            Reach::Command(command) => match spawn::spawn(command) {
                Ok(child) => {
                    let process = Process::new(child, (self.spec.max_frame, command.limits), guard, redactor, now);
                    Ok(Being::Process(Box::new(process)))
                }
                Err((fault, why)) => Err((fault, why, format!("still cannot start {}", command.program))),
            },
            Reach::Comer(_) => match self.lines.take() {
                Some(lines) => Ok(Being::Comer(Box::new(Comer::new(lines, self.spec.max_frame, now)))),
                // Its only life has ended; `exited` lets no other follow.
                None => Err((FaultCode::RemoteLost, "is gone".to_owned(), "is still gone".to_owned())),
            },
        }
    }

    /// What carried the messages of the present life is gone. Returns whether the life goes on, as the server turned out to be of the other
    /// era.
    fn goes_on(&mut self, (ended, end): (Option<u32>, &End), on: &mut OnServerEvent<'_>) -> bool {
        let ServerPhase::Running(living) = &self.state else { return false };
        let Some(era) =
            living.again().filter(|_| !self.restarting && !self.is_last && self.goal.wanted != Wanted::Stopped)
        else {
            return false;
        };
        let Ok(being) = self.being() else { return false };
        let pid = being.pid();
        self.echo.begins(pid);
        let mut words = None;
        if let ServerPhase::Running(living) = &mut self.state {
            living.go_on(being, era, &self.spec.name, Instant::now());
            words = living.refused_words();
        }
        let words = &words.unwrap_or_default();
        let _told = on(ServerEvent::Again { ended, why: &end.why, pid, era, words });
        true
    }

    /// No life came about. `still`: what is said where `why` has been said before. `least`: the shortest wait.
    fn not_started(&mut self, fault: FaultCode, why: &str, still: &str, least: Duration, on: &mut OnServerEvent<'_>) {
        let retry_in = self.wait(least);
        let said = std::mem::replace(&mut self.notes.start, fingerprint(why, None));
        let shown = if said == self.notes.start { still } else { why };
        let _down = on(ServerEvent::Down { why, retry_in, life: Life::None { fault, shown } });
    }

    fn exited(&mut self, pid: Option<u32>, end: &End, on: &mut OnServerEvent<'_>) {
        let (why, tail) = (&*end.why, &*end.tail);
        if let ServerPhase::Running(living) = &mut self.state
            && !self.restarting
            && let Some(era) = living.opening()
        {
            // At an address nothing is bound to an era, and so nothing ends of that.
            if pid.is_some() {
                self.eras.ended(era);
            } else {
                self.eras.begin_anew();
            }
            // Its words are more than that the process which was to be of the other era has ended.
            if let Some(refusal) = living.take_refusal()
                && let Some(envelope) = envelope::scan_one(&refusal)
            {
                let _told = on(ServerEvent::Said(Found::Message { frame: &refusal, envelope: &envelope }));
            }
        }
        if let Reach::Comer(_) = self.spec.reach {
            // It comes again by itself, and is another one then.
            self.state = ServerPhase::Stopped;
            let _stopped = on(ServerEvent::Stopped { pid, why });
            return;
        }
        let restarting = std::mem::take(&mut self.restarting);
        if self.goal.wanted == Wanted::Stopped {
            self.state = ServerPhase::Halted;
            let _halted = on(ServerEvent::Halted { pid, why, signalled: end.signalled });
            return;
        }
        if restarting {
            self.restarts.at_once();
            let retry_in = self.wait(Duration::ZERO);
            let _down = on(ServerEvent::Down { why, retry_in, life: Life::Replaced { pid } });
            return;
        }
        if let Some((fault, false)) = end.remote {
            // The remedy was told with the first failure.
            let still = format!("still {}", why.split("; ").next().unwrap_or(why));
            return self.not_started(fault, why, &still, end.retry_after, on);
        }
        self.notes.start = 0;
        if self.since.elapsed() >= STABLE {
            self.restarts.healthy();
        }
        self.echo.next_life(!self.restarts.proven);
        let retry_in = self.wait(end.retry_after);
        let (last_words, failures) = (&self.notes.shown(tail, self.echo.print(tail)), self.restarts.failures);
        let fault = end.remote.map(|(fault, _)| fault).or(end.limit);
        let _down =
            on(ServerEvent::Down { why, retry_in, life: Life::Ended { pid, fault, failures, last_words, tail } });
    }

    /// The next life begins after a while, and not before `least` has passed.
    fn wait(&mut self, least: Duration) -> Duration {
        let retry_in = self.restarts.after(rand::random()).max(least.min(LONGEST_ASKED));
        self.state = ServerPhase::Waiting(Some(Box::pin(sleep(retry_in))));
        retry_in
    }
}

impl Notes {
    /// Passes on what the server said. A habit of writing is logged, and passed on, once.
    fn pass(&mut self, name: &str, found: Found<'_>, on: &mut OnServerEvent<'_>) -> ControlFlow<()> {
        let Found::Habit(habit) = found else { return on(ServerEvent::Said(found)) };
        if self.habits.contains(&habit) {
            return ControlFlow::Continue(());
        }
        self.habits.push(habit);
        match habit {
            Habit::NotUtf8 => tracing::warn!(event = "SERVER_NOT_UTF8", server = %name, "{habit}"),
            Habit::Unescaped | Habit::Wide | Habit::Framed | Habit::Spread | Habit::Crowded | Habit::Unended => {
                tracing::warn!(event = "ERROR_STDOUT_NOISE", server = %name, "{habit}");
            }
        }
        // It needs no room.
        let _any = on(ServerEvent::Said(Found::Habit(habit)));
        ControlFlow::Continue(())
    }

    /// The last lines of stderr, as part of a log line. A crash loop shows them once, as known by their fingerprint.
    fn shown(&mut self, tail: &str, print: u64) -> String {
        let before = std::mem::replace(&mut self.tail, print);
        match tail {
            "" => String::new(),
            _ if before == self.tail => "; the last lines of its stderr are the same as before".to_owned(),
            _ => format!("; the last lines of its stderr: {tail}"),
        }
    }
}

/// As one of which era a server is opened of which nothing is known.
fn first(spec: &ServerSpec) -> Era {
    match &spec.reach {
        Reach::Command(_) | Reach::Comer(_) => Era::Legacy,
        Reach::Remote(remote) => {
            if remote.is_sse() {
                Era::Legacy
            } else {
                Era::Modern
            }
        }
    }
}

fn log_stderr(name: &str, noted: Noted<'_>, echo: &mut Echo) {
    match noted {
        Noted::Line(text) if echo.hears(text) => tracing::debug!(event = "SERVER_STDERR", server = %name, "{text}"),
        Noted::Line(text) => tracing::info!(event = "SERVER_STDERR", server = %name, "{text}"),
        Noted::Flood(_) => {}
        Noted::LeftOut(n) => {
            tracing::warn!(event = "SERVER_STDERR", server = %name, left_out = n, "{} of stderr left out: too many at once", counted(n as usize, "line"));
        }
    }
}

/// How long after its end a server is started again: at once after a life in which it was of use, then by chance up to a
/// ceiling that doubles from [`FIRST_CEILING`] to [`LONGEST`].
struct Restarts {
    backoff: Backoff,
    /// The server's last life was of use.
    proven: bool,
    /// How many lives in a row were of no use.
    failures: u32,
}

impl Restarts {
    fn new() -> Self {
        Restarts { backoff: Backoff::starting_at(FIRST_CEILING, LONGEST), proven: false, failures: 0 }
    }

    fn healthy(&mut self) {
        (self.proven, self.failures) = (true, 0);
        self.backoff.healthy();
    }

    /// The next wait is as after a life of use; the waits of a crash loop go on from where they were.
    fn at_once(&mut self) {
        self.proven = true;
    }

    /// How long to wait. `random` is uniform in `[0, 1)`.
    fn after(&mut self, random: f64) -> Duration {
        if std::mem::take(&mut self.proven) {
            return AT_ONCE.mul_f64(random);
        }
        self.failures = self.failures.saturating_add(1);
        self.backoff.after(Pace::EVEN, random)
    }
}
