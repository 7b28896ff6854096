//! The commands that ask a running mcp-pipe, or tell it something: `logs`, `health`, and orders such as `restart`. Each asks once,
//! prints, and ends with a code that says what came of it.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io::{self, IsTerminal as _, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::time::{Instant, sleep};

use super::client::{ANSWER, Answer, Unanswered};
use super::discovery::{self, Found, Running};
use super::health::{self, PipeStatus};
use super::orders::{Order, Sought};
use super::picture::Picture;
use super::protocol::{Daemon, Failed, Reason, Reply, Request};
use super::report::{Report, Sight};
use super::sessions;
use super::status::Overview;
use crate::config::{ControlSocket, Environment};
use crate::error::{Exit, Failure};
use crate::logging::{Shown, check_level};
use crate::process::limits;
use crate::process::memory;
use crate::secrecy::{Redactor, plain};
use crate::stdio::{self, End};
use crate::words::{counted, listed};

/// Which mcp-pipe is asked, and how what it says is shown.
pub(crate) struct Asking<'a> {
    /// Where it is asked, as far as that was said.
    pub socket: ControlSocket,
    /// The config that it runs with, where that was said.
    pub config: Option<PathBuf>,
    /// What is to be seen nowhere.
    pub redactor: &'a Redactor,
    /// For the looks of the log.
    pub env: &'a Environment,
}

/// What an mcp-pipe says of itself.
pub(super) struct State {
    pub daemon: Daemon,
    pub picture: Picture,
}

impl Asking<'_> {
    /// `mcp-pipe health`: prints a line for each server; fails where one does not serve or nobody answers.
    ///
    /// # Errors
    /// Nobody answers, or it is not clear who is meant.
    pub(crate) fn health(self) -> Result<Exit> {
        let State { picture, .. } = self.run(self.state()).map_err(|failure| match failure {
            Failure::Asking { what, remedy, .. } => anyhow!("{what}; {remedy}"),
            Failure::Run(error) => error,
            Failure::Usage(_) | Failure::Option(_) | Failure::Config(_) => anyhow!("{failure}"),
        })?;
        let pipes = health::pipes(&picture.overview);
        print(&health::describe(&pipes, self.redactor));
        Ok(if pipes.iter().all(PipeStatus::is_well) { Exit::Success } else { Exit::Failed })
    }

    /// `mcp-pipe logs`: prints lines of the log, and goes on where it `follow`s.
    ///
    /// # Errors
    /// Which mcp-pipe is meant is not clear, or it does not answer, or breaks off.
    pub(crate) fn logs(
        self,
        server: Option<String>,
        last: Option<u64>,
        follow: bool,
        json: bool,
    ) -> Result<Exit, Failure> {
        let shown = Shown::on_stdout(json, self.env, self.redactor.clone());
        self.run(async {
            let request = Request::Logs { server, last, follow };
            let mut answer = self.ask(&request).await?;
            let mut out = io::stdout().lock();
            loop {
                let reply = if follow { answer.next_in_time().await } else { answer.next().await };
                let text = match reply.map_err(told)? {
                    Some(Reply::Log(line)) => shown.line(line.at, line.line.get()).unwrap_or_default(),
                    Some(Reply::Lost(lines)) => shown.lost(lines),
                    Some(
                        Reply::Daemon(_)
                        | Reply::Picture(_)
                        | Reply::Sessions(_)
                        | Reply::History(_)
                        | Reply::Seen(_)
                        | Reply::Given(_)
                        | Reply::Carried(_)
                        | Reply::Failed(_)
                        | Reply::Done {},
                    ) => String::new(),
                    None => return Ok(Exit::Success),
                };
                if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
                    // A reader that went away has seen enough.
                    return Ok(Exit::Success);
                }
            }
        })
    }

    /// `mcp-pipe sessions`: prints which clients have sessions at the gateway.
    ///
    /// # Errors
    /// Which mcp-pipe is meant is not clear, or it does not answer, or has no gateway.
    pub(crate) fn sessions(self, json: bool) -> Result<Exit, Failure> {
        self.run(async {
            let mut answer = self.ask(&Request::Sessions).await?;
            let Some(Reply::Sessions(all)) = answer.next().await.map_err(told)? else {
                return Err(anyhow!(OLDER).into());
            };
            print(&sessions::shown(&all, json, self.redactor));
            Ok(Exit::Success)
        })
    }

    /// `mcp-pipe log-level`: has lines of the log shown from another level on, and prints from which one they are.
    ///
    /// # Errors
    /// The text is no level; or which mcp-pipe is meant is not clear, or it does not answer.
    pub(crate) fn log_level(self, level: Option<String>, within: Option<Duration>) -> Result<Exit, Failure> {
        if let Some(level) = &level {
            check_level(level).map_err(Failure::Option)?;
        }
        let millis = within.map(|within| u64::try_from(within.as_millis()).unwrap_or(u64::MAX));
        self.run(async {
            let mut answer = self.ask(&Request::LogLevel { level, millis }).await?;
            let Some(Reply::Carried(words)) = answer.next().await.map_err(told)? else {
                return Err(anyhow!(OLDER).into());
            };
            print(&format!("{}\n", plain::line(&self.redactor.clean_all(&words))));
            Ok(Exit::Success)
        })
    }

    /// `mcp-pipe restart` and the like: gives an order, waits for what comes of it, and prints that.
    ///
    /// # Errors
    /// Which mcp-pipe is meant is not clear, or it does not answer, or the order is not carried out.
    pub(crate) fn order(self, order: Order) -> Result<Exit, Failure> {
        let awaited = plain::line(&self.redactor.clean_all(&order.awaited())).into_owned();
        let is_of_all = matches!(order, Order::Reload);
        let (within, unwell) =
            (Cell::new(if is_of_all { READING } else { Duration::ZERO }), RefCell::new(String::new()));
        let named = || match &*unwell.borrow() {
            names if names.is_empty() => awaited.clone(),
            names => format!("{awaited} (not yet: {names})"),
        };
        let carried = async {
            let mut answer = self.ask(&Request::Order(order)).await?;
            while let Some(reply) = answer.next_within(within.get()).await.map_err(told)? {
                match reply {
                    Reply::Given(seconds) => within.set(Duration::from_secs(seconds)),
                    Reply::Carried(words) => {
                        let line = |line: &str| format!("{}\n", plain::line(&self.redactor.clean_all(line)));
                        print(&words.lines().map(line).collect::<String>());
                    }
                    Reply::Daemon(_)
                    | Reply::Picture(_)
                    | Reply::Sessions(_)
                    | Reply::History(_)
                    | Reply::Seen(_)
                    | Reply::Log(_)
                    | Reply::Lost(_)
                    | Reply::Failed(_)
                    | Reply::Done {} => {}
                }
            }
            Ok(Exit::Success)
        };
        self.run(async {
            tokio::select! {
                done = carried => done,
                // Until the order is given, its giving is what may take long.
                never = tell_waiting(|| (named(), within.get().max(ANSWER))) => match never {},
                never = self.look_for_unwell(&unwell), if is_of_all => match never {},
            }
        })
    }

    /// Notes again and again what does not serve, while an order is waited for that may be about all.
    async fn look_for_unwell(&self, names: &RefCell<String>) -> Infallible {
        loop {
            sleep(LOOK).await;
            // One that can't tell says what comes of the order all the same.
            let Ok(State { daemon, picture }) = self.state().await else { continue };
            let memory = &memory::of_groups();
            let sight = Sight { daemon: &daemon, picture: &picture, memory, only: None, now: Instant::now() };
            let told = Report::of(&sight).map_or_else(String::new, |report| unwell(&report));
            *names.borrow_mut() = plain::line(&self.redactor.clean_all(&told)).into_owned();
        }
    }

    /// `mcp-pipe stdio`: the servers of the mcp-pipe that runs, on standard input and output. `None` where none runs.
    ///
    /// # Errors
    /// Which mcp-pipe is meant is not clear, or it lets nobody in, or has ended before the client did.
    pub(crate) fn stdio(&self, server: Option<String>) -> Option<Result<Exit, Failure>> {
        let done = self.run(async {
            let path = match &self.socket {
                ControlSocket::None => return Ok(None),
                ControlSocket::At(path) => path.clone(),
                ControlSocket::In(places) => match discovery::find(places, self.config.as_deref()).await {
                    Found::One(path) => path,
                    Found::None(_) => return Ok(None),
                    Found::Several(running) => return Err(several(&running)),
                },
            };
            let request = Request::Mcp { server };
            let mut answer = match Answer::to(&request, &path).await {
                Err(Unanswered::Absent(_)) => return Ok(None),
                answer => answer.map_err(told)?,
            };
            let Some(Reply::Daemon(Daemon { pid, .. })) = answer.next_within(ADMITTED).await.map_err(told)? else {
                return Err(anyhow!(OLDER).into());
            };
            let lost = match stdio::carry(answer.into_stream()).await.map_err(anyhow::Error::from)? {
                End::Client => return Ok(Some(Exit::Success)),
                End::Stream(0) => "no request was under way".to_owned(),
                End::Stream(n) => format!("{} got an error", counted(n, "request under way")),
            };
            // Whether and why it would not let this client in again is why it has let it go.
            let now = match Answer::to(&request, &path).await {
                Ok(mut answer) => answer.next_within(ADMITTED).await.map(|_| ()),
                Err(unanswered) => Err(unanswered),
            };
            Err(let_go(pid, &lost, now))
        });
        done.transpose()
    }

    pub(super) async fn state(&self) -> Result<State, Failure> {
        let mut answer = self.ask(&Request::Status { watch: false }).await?;
        let (mut daemon, mut picture) = (Daemon::default(), None);
        while let Some(reply) = answer.next().await.map_err(told)? {
            match reply {
                Reply::Daemon(who) => daemon = who,
                Reply::Picture(told) => picture = Some(*told),
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
        match picture {
            Some(picture) => Ok(State { daemon, picture }),
            None => Err(anyhow!(OLDER).into()),
        }
    }

    /// Asks the one that is meant.
    pub(super) async fn ask(&self, request: &Request) -> Result<Answer, Failure> {
        let path = match &self.socket {
            ControlSocket::At(path) => path.clone(),
            ControlSocket::None => {
                let what =
                    "no mcp-pipe can be asked: --control-socket or MCP_CONTROL_SOCKET says that there is no socket";
                return Err(no_daemon(what.to_owned(), "leave it out, or name the socket of one that runs"));
            }
            ControlSocket::In(places) => match discovery::find(places, self.config.as_deref()).await {
                Found::One(path) => path,
                Found::None(obstacles) => return Err(self.none(&obstacles)),
                Found::Several(running) => return Err(several(&running)),
            },
        };
        Answer::to(request, &path).await.map_err(told)
    }

    fn none(&self, obstacles: &[String]) -> Failure {
        let with = self.config.as_ref().map_or_else(String::new, |config| format!(" with {}", config.display()));
        let mut what = format!("no mcp-pipe of this user runs here{with}");
        if !obstacles.is_empty() {
            what += &format!("; {}", obstacles.join("; "));
        }
        let remedy = "start one: mcp-pipe; or name the socket of one that runs as another user or in another place: --control-socket PATH";
        no_daemon(what, remedy)
    }

    pub(super) fn run<T>(&self, asking: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let runtime = limits::runtime()
            .map_err(|error| anyhow::Error::msg(limits::told(&error)).context("nothing can be asked"))?;
        runtime.block_on(asking)
    }
}

/// That it is not said which of several is meant.
fn several(running: &[Running]) -> Failure {
    let mut lines: Vec<String> = running.iter().take(discovery::LISTED).map(ToString::to_string).collect();
    let more = running.len() - lines.len();
    lines.extend((more > 0).then(|| format!("and {more} more")));
    let what = format!("several of them run, and it is not said which is meant:\n  {}", lines.join("\n  "));
    Failure::Asking { exit: Exit::Usage, what, remedy: telling_apart(running) }
}

/// That the mcp-pipe with the servers has ended, or has ended the conversation of a client on standard input and output. `now`: what it says
/// when it is asked for another one.
fn let_go(pid: u32, lost: &str, now: Result<(), Unanswered>) -> Failure {
    let (what, why) = match now {
        Err(Unanswered::Absent(_) | Unanswered::Because(_)) => ("ended", "Start it again, then".to_owned()),
        Err(Unanswered::Failed(Failed { message, .. })) => {
            let why = format!("Asked for another one, it says: {message}. Once one runs that takes clients, start");
            ("ended the conversation", why)
        }
        Ok(()) => {
            let why = "What it said was not read in time, or its config has changed meanwhile. Start".to_owned();
            ("ended the conversation", why)
        }
    };
    anyhow!(
        "the mcp-pipe with the servers (process {pid}) has {what}; {lost}. {why} this server in your MCP client again"
    )
    .into()
}

/// What names one of several that run: a config does where only one runs with it.
fn telling_apart(running: &[Running]) -> String {
    let by_socket = "name it by its socket as above".to_owned();
    let config = |running: &Running| running.who.as_ref().map(|who| who.config.clone());
    let configs: Vec<Option<String>> = running.iter().map(config).collect();
    let is_alone = |config: &&Option<String>| config.is_some() && configs.iter().filter(|c| c == config).count() == 1;
    let alone: Vec<&Option<String>> = configs.iter().filter(is_alone).collect();
    match alone.as_slice() {
        all if all.len() == configs.len() => {
            "name it by its config, --config FILE, or by its socket as above".to_owned()
        }
        [] => by_socket,
        [Some(one)] => format!("{by_socket}; or that with a config of its own by its config, --config {one}"),
        _ => format!("{by_socket}; or one that alone has its config by that, --config FILE"),
    }
}

/// What to tell where the answer is not one to the question.
const OLDER: &str = "mcp-pipe has answered, but not what it was asked; is it as new as this one?";
/// Longest wait for being let in beyond that for any answer: the config may just be read again, which takes as long as servers take to end.
const ADMITTED: Duration = Duration::from_secs(30);
/// Longest wait for a config to be read beyond that for any answer: it, and each file of variables, may be a pipe that is waited for.
const READING: Duration = Duration::from_secs(15);
/// Most names in a line.
const SHOWN: usize = 5;

/// The first names of what does not serve.
pub(super) fn unwell(report: &Report) -> String {
    let names = report.unwell();
    listed(names.iter().take(SHOWN).collect(), names.len())
}

/// Time between two looks at what does not serve: below [`QUIET`], so that the first line has it.
const LOOK: Duration = Duration::from_millis(1500);
/// Shortest wait for what comes of an order of which anything is told: most orders are carried out sooner.
const QUIET: Duration = Duration::from_secs(2);
/// Time between two lines of that at a terminal.
const AGAIN: Duration = Duration::from_secs(10);

/// Tells what a command waits for, and for how long at most: at a terminal, where a person looks on, again and again, elsewhere once.
pub(crate) async fn tell_waiting(awaited: impl Fn() -> (String, Duration)) -> Infallible {
    let begun = Instant::now();
    sleep(QUIET).await;
    loop {
        let (awaited, most) = awaited();
        let (so_far, most) = (begun.elapsed().as_secs(), most.as_secs());
        let text = format!("mcp-pipe: waiting for {awaited}: {so_far} of {most} s at most\n");
        // A reader that went away has seen enough.
        let _gone = io::stderr().write_all(text.as_bytes());
        if !io::stderr().is_terminal() {
            std::future::pending::<()>().await;
        }
        sleep(AGAIN).await;
    }
}

fn no_daemon(what: String, remedy: &str) -> Failure {
    Failure::Asking { exit: Exit::NoDaemon, what, remedy: remedy.to_owned() }
}

pub(super) fn told(unanswered: Unanswered) -> Failure {
    match unanswered {
        Unanswered::Absent(why) => no_daemon(why, "does it run, with the same --control-socket or MCP_CONTROL_SOCKET?"),
        Unanswered::Failed(failed) => match failed.reason {
            Reason::UnknownServer | Reason::Unclear => {
                Failure::Asking { exit: Exit::Usage, what: failed.message, remedy: String::new() }
            }
            Reason::Mistakes => Failure::Asking { exit: Exit::Config, what: failed.message, remedy: String::new() },
            Reason::NotUnderstood | Reason::NotDone | Reason::Busy | Reason::Unavailable | Reason::Other => {
                anyhow!(failed.message).into()
            }
        },
        Unanswered::Because(why) => anyhow!(why).into(),
    }
}

/// What to tell about a name that nothing here has.
pub(super) fn unknown_name(name: &str, all: &Overview) -> Failure {
    let what = all.known().unknown(name, Sought::Either);
    Failure::Asking { exit: Exit::Usage, what, remedy: String::new() }
}

pub(super) fn print(text: &str) {
    // A reader that went away has seen enough.
    let _gone = io::stdout().write_all(text.as_bytes());
}
