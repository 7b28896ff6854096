//! Assembly: what each command is made of, and the life of the process around it.

use std::convert::Infallible;
use std::io::{self, IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tracing::{error, info, warn};

use crate::bring;
use crate::cli::upkeep::{CachePart, ServicePart, UpkeepCommand};
use crate::cli::{self, Command, ConfigPart, SessionsPart};
use crate::complete;
use crate::config::options::{CommandLine, Options};
use crate::config::{self, Config, ControlSocket, Environment, Mode, Resolved, Surroundings};
use crate::control::health::PipeStatus;
use crate::control::metrics::{self, Metrics};
use crate::control::orders::{Instruction, NotGiven, Order, Orders};
use crate::control::status::{OtherLevel, Status};
use crate::control::summary::Summary;
use crate::control::{self, Asking, Opening, Question, Tapping, health};
use crate::doctor::{Doctor, Wishes};
use crate::error::{Code, Exit, Failure, Problems};
use crate::exam::Exam;
use crate::gateway::check_tls;
use crate::gateway::listener::{ADMIN_AT_THE_START, AT_THE_START, Listener};
use crate::guest::Visitor;
use crate::inspect::{self, ArgumentsError, Form, Show};
use crate::last_run::Keeper;
use crate::local::LocalEndpoint;
use crate::logging::{self, Keep, LastLines, LogLevel, Loudness, Other, Ring};
use crate::login;
use crate::manual;
use crate::process::guard::Guard;
use crate::process::limits;
use crate::process::stdout;
use crate::process::stop::Stop;
use crate::process::systemd::Systemd;
use crate::process::text;
use crate::replay::{self, Calls, Replay};
use crate::review::{self, Look};
use crate::router::TurnCommand;
use crate::secrecy::Redactor;
use crate::service::{self, Service};
use crate::sharing::layout::groups;
use crate::stdio::{self, End};
use crate::supervisor;
use crate::supervisor::{Audience, Listening, Reread};
use crate::words::counted;

/// Starts the watcher that ends what a killed mcp-pipe leaves behind. To be called before there is any thread.
pub fn guard() -> (Guard, Option<io::Error>) {
    match Guard::start() {
        Ok(guard) => (guard, None),
        Err(error) => (Guard::none(), Some(error)),
    }
}

/// Whether a command asks a running mcp-pipe, and starts nothing.
pub fn asks_another(command: &Command) -> bool {
    matches!(
        command,
        Command::Status { .. }
            | Command::Logs { .. }
            | Command::Tap { .. }
            | Command::Sessions { .. }
            | Command::LogLevel { .. }
            | Command::Order(_)
            | Command::Health
    )
}

/// Asks a running mcp-pipe, if that is what `command` does; the others are `None`.
///
/// # Errors
/// None answers, or it is not clear which is meant.
pub fn ask(
    command: &Command,
    options: &Options,
    surroundings: &Surroundings,
    redactor: &Redactor,
) -> Option<Result<Exit, Failure>> {
    let env = surroundings.settings();
    let (socket, config) = (config::control_socket(options, env), surroundings.named_config());
    let asking = Asking { socket, config, redactor, env };
    Some(match command {
        Command::Status { name, json, watch, wait, history } => {
            let (name, history) = (name.as_deref(), *history);
            let question = Question { name, json: *json, watch: *watch, wait: *wait, history };
            asking.status(question)
        }
        Command::Logs { server, follow, lines, json } => asking.logs(server.clone(), *lines, *follow, *json),
        Command::Tap { pattern, contents, save, json } => {
            let (pattern, save) = (pattern.as_deref(), save.as_deref());
            asking.tap(&Tapping { pattern, contents: *contents, json: *json, save })
        }
        Command::Order(order) => asking.order(order.order()),
        Command::Sessions { part: None, json, .. } => asking.sessions(*json),
        Command::Sessions { part: Some(SessionsPart::End), name, .. } => {
            asking.order(Order::EndSession { name: name.clone() })
        }
        Command::LogLevel { level, within } => asking.log_level(level.clone(), *within),
        Command::Health => match config::status_socket(options, env) {
            // Who names the one on the command line does not mean another that stands in a variable.
            Some(path) if options.status_socket.is_some() || options.control_socket.is_none() => {
                health(&path, redactor)
            }
            Some(_) | None => asking.health(),
        }
        .map_err(Failure::from),
        Command::Stdio { server } => return asking.stdio(server.clone()),
        Command::Run(_) | Command::Serve { .. } | Command::Tools { .. } | Command::Call { .. } => return None,
        Command::Test { .. } | Command::Replay { .. } => return None,
        Command::Login { .. } | Command::Logout { .. } | Command::Doctor(_) => return None,
        Command::Validate { .. } | Command::Config { .. } | Command::Bring(_) | Command::Upkeep(_) => return None,
    })
}

/// Looks at the config, if that is all that `command` does; the others are `None`.
///
/// # Errors
/// What keeps the config from being shown.
pub fn look(
    command: &Command,
    line: &CommandLine<'_>,
    surroundings: &Surroundings,
    redactor: &Redactor,
) -> Option<Result<Exit, Failure>> {
    let look = Look { line, surroundings, redactor };
    Some(match command {
        Command::Validate { strict, json, .. } => look.validate(*strict, *json),
        Command::Config { part: ConfigPart::Show, last_good, json } => look.show(*last_good, *json),
        Command::Config { part: ConfigPart::Schema, .. } => Ok(review::schema()),
        Command::Bring(bring) => bring::run(&bring.errand(), line, surroundings, redactor),
        Command::Upkeep(UpkeepCommand::Cache { part: CachePart::Clear, server }) => look.clear(server.as_deref()),
        Command::Upkeep(UpkeepCommand::Completions { shell }) => {
            complete::print(*shell);
            Ok(Exit::Success)
        }
        Command::Upkeep(UpkeepCommand::Service { part, user, dry_run, path }) => {
            let wishes = service::Wishes { user: *user, dry_run: *dry_run, path: *path };
            let service = Service { wishes, line, surroundings, redactor };
            match part {
                ServicePart::Install => service.install(),
                ServicePart::Uninstall => service.uninstall(),
                ServicePart::Status => service.status(),
            }
        }
        Command::Upkeep(UpkeepCommand::Man { dir: None }) => {
            manual::print(cli::whole()).map(|()| Exit::Success).map_err(Failure::from)
        }
        Command::Upkeep(UpkeepCommand::Man { dir: Some(folder) }) => {
            manual::write(cli::whole(), folder).map_err(Failure::from).map(|n| {
                stdout::print(&format!("{} written to {}\n", counted(n, "page"), folder.display()));
                Exit::Success
            })
        }
        Command::Run(_)
        | Command::Serve { .. }
        | Command::Stdio { .. }
        | Command::Tools { .. }
        | Command::Call { .. }
        | Command::Test { .. }
        | Command::Replay { .. }
        | Command::Status { .. }
        | Command::Logs { .. }
        | Command::Tap { .. }
        | Command::Sessions { .. }
        | Command::LogLevel { .. }
        | Command::Order(_)
        | Command::Doctor(_)
        | Command::Login { .. }
        | Command::Logout { .. }
        | Command::Health => return None,
    })
}

/// The mistakes of a config, with the last one that ran if `command` was to run it.
pub fn beside_the_last(
    problems: Problems,
    command: &Command,
    line: &CommandLine<'_>,
    surroundings: &Surroundings,
) -> Problems {
    if !is_daemon(command) || problems.mistakes.is_empty() {
        return problems;
    }
    Problems { known_good: review::known_good(line, surroundings).map(Arc::new), ..problems }
}

/// `mcp-pipe health` at a status socket.
fn health(socket: &Path, redactor: &Redactor) -> Result<Exit> {
    let pipes = health::ask(socket)?;
    // A reader that went away has seen enough.
    let _gone = io::stdout().write_all(health::describe(&pipes, redactor).as_bytes());
    Ok(if pipes.iter().all(PipeStatus::is_well) { Exit::Success } else { Exit::Failed })
}

/// Where the last lines of the log are kept: for whoever asks, if `command` is one that is asked; and for the run after a daemon.
pub fn keep(command: &Command, options: &Options, settings: &Environment) -> Keep {
    if let Command::Doctor(_) = command {
        // It looks for what its servers have said.
        return Keep { ring: Some(Ring::default()), ..Keep::default() };
    }
    if !is_daemon(command) {
        return Keep::default();
    }
    let is_asked = config::control_socket(options, settings) != ControlSocket::None;
    Keep { ring: is_asked.then(Ring::default), last: Some(LastLines::default()), ..Keep::default() }
}

/// Whether a command serves until it is told to stop, for whoever comes.
fn is_daemon(command: &Command) -> bool {
    match command {
        Command::Run(_) | Command::Serve { .. } => true,
        Command::Tools { .. } | Command::Call { .. } | Command::Stdio { .. } => false,
        Command::Test { .. } | Command::Replay { .. } => false,
        Command::Status { .. } | Command::Logs { .. } | Command::Order(_) | Command::Health => false,
        Command::Sessions { .. } | Command::Tap { .. } | Command::LogLevel { .. } | Command::Doctor(_) => false,
        Command::Validate { .. } | Command::Config { .. } | Command::Login { .. } | Command::Logout { .. } => false,
        Command::Bring(_) | Command::Upkeep(_) => false,
    }
}

/// What was made around a run before it began.
pub struct Around {
    /// Ends what a killed mcp-pipe leaves behind.
    pub guard: Guard,
    /// The last lines of the log.
    pub keep: Keep,
    /// From which level on lines are shown.
    pub level: LogLevel,
    /// Whoever has started this process, and wants to be told how far a run is.
    pub systemd: Systemd,
    /// Where a socket listens that they have opened.
    pub socket: Option<SocketAddr>,
}

/// Looks for what keeps servers from being used, if that is what `command` does; the others are `None`. A config with mistakes is one of
/// the things that may be found.
///
/// # Errors
/// The command line is wrong, or it was told to stop.
pub fn examine(
    command: &Command,
    resolved: &Result<Resolved, Problems>,
    line: &CommandLine<'_>,
    surroundings: &Surroundings,
    around: Around,
    redactor: &Redactor,
) -> Result<Result<Exit, Failure>, Around> {
    let Command::Doctor(args) = command else { return Err(around) };
    if let Err(problems) = resolved
        && let failure = Failure::from(problems.clone())
        && failure.exit() == Exit::Usage
    {
        return Ok(Err(failure));
    }
    // Where only an endpoint is missing, servers can be looked at as with --local.
    let is_endpoint =
        |problems: &Problems| problems.mistakes.iter().all(|mistake| mistake.code == Code::EndpointMissing);
    let config = match resolved {
        Ok(resolved) => Some(resolved.config.clone().without_log_files()),
        Err(problems) if is_endpoint(problems) && problems.target.is_none() => {
            let local = CommandLine { local: true, commands: Vec::new(), ..*line };
            config::resolve(&local, surroundings).ok().map(|resolved| resolved.config.without_log_files())
        }
        Err(_) => None,
    };
    let Around { guard, keep, .. } = around;
    let settings = surroundings.settings();
    let socket = config::control_socket(line.options, settings);
    let plain = settings.filled("NO_COLOR").is_some();
    let look = Look { line, surroundings, redactor };
    let (compare, bundle, print) = (args.compare.as_deref(), args.bundle.as_deref(), args.print);
    let shown = (print || bundle.is_some()).then(|| look.shown()).and_then(Result::ok);
    let findings = look.findings();
    // Also where it has mistakes: a mcp-pipe may run with it as it was.
    let cwd = &surroundings.cwd;
    let place = findings.config.as_ref().map_or_else(|| cwd.clone(), |name| cwd.join(name));
    let place = config.as_ref().map_or(place, |config| config.place.clone());
    let doctor = Doctor {
        wishes: Wishes { json: args.json, dials: args.dial, plain, client: args.client, compare, bundle, print },
        findings,
        config,
        shown,
        surroundings,
        asking: Asking { socket, config: Some(place), redactor, env: settings },
        status: Status::of_one_look(redactor.clone()),
        ring: keep.ring,
        guard: guard.clone(),
    };
    Ok(limits::runtime().map_err(|error| no_start(error).into()).and_then(|runtime| {
        let done = runtime.block_on(async {
            let signalled = Signals::new().context("signals can't be handled")?;
            let (stop, (orders, instructions)) = (Stop::new(), Orders::channel());
            let (_, opened) = control::opening();
            let status = doctor.status.clone();
            let metrics = Arc::new(Metrics::of(status.clone(), String::new()));
            let pipes = async |config, stop| {
                let audience = Audience { systemd: Systemd::default(), opened };
                let listening = Listening { gateway: None, admin: None, metrics };
                supervisor::serve(config, guard, status, (instructions, None), (stop, audience), listening).await;
            };
            // How it ends is of no interest to anybody later.
            let keeper = Keeper::default();
            tokio::select! {
                done = doctor.examine(stop.clone(), pipes) => done,
                never = signals(signalled, &stop, &orders, &keeper) => match never {},
            }
        });
        runtime.shutdown_background();
        done
    }))
}

/// Has the log written to the file that the config names for it, if `command` is one that serves.
pub fn write_log(command: &Command, config: &Config, around: &Around, options: &Options) {
    if serves(command) {
        around.keep.file.set(config.log_file.as_ref(), options.log_format);
    }
}

/// Whether a command serves somebody with the servers of the config, and so writes their log files.
fn serves(command: &Command) -> bool {
    is_daemon(command) || matches!(command, Command::Stdio { .. })
}

/// Does what `command` says with the servers of `config`, until that is done or a signal comes.
///
/// # Errors
/// What could not be done, for people.
pub fn run(
    command: Command,
    (config, reread): (Config, Reread),
    around: Around,
    redactor: &Redactor,
) -> Result<Exit, Failure> {
    let config = if serves(&command) { config } else { config.without_log_files() };
    // Standard input is read before signals are handled, so that Ctrl-C ends the wait; and a file before anything starts.
    let given = match &command {
        Command::Call { arguments, .. } => {
            Given::Arguments(inspect::arguments(arguments.as_deref(), io::stdin()).map_err(ArgumentsError::told)?)
        }
        Command::Replay { file, .. } => {
            let server = config.servers.first().map_or("", |server| &server.name);
            Given::Calls(replay::read(file, server)?)
        }
        Command::Run(_) | Command::Serve { .. } | Command::Tools { .. } => Given::Nothing,
        Command::Stdio { .. } | Command::Test { .. } => Given::Nothing,
        Command::Status { .. } | Command::Logs { .. } | Command::Order(_) | Command::Health => Given::Nothing,
        Command::Sessions { .. } | Command::Tap { .. } | Command::LogLevel { .. } => Given::Nothing,
        Command::Validate { .. } | Command::Config { .. } | Command::Doctor(_) => Given::Nothing,
        Command::Login { .. } | Command::Logout { .. } | Command::Bring(_) | Command::Upkeep(_) => Given::Nothing,
    };
    let runtime = limits::runtime().map_err(no_start)?;
    // Before anything is written, for which the system may have a signal in store.
    let signalled = {
        let _inside = runtime.enter();
        Signals::new().context("signals can't be handled")?
    };
    let keeper = match around.keep.last.clone() {
        Some(last) => Keeper::begin(config.state_dir.as_ref(), &config.place, last, redactor),
        None => Keeper::default(),
    };
    let done = runtime.block_on(noted(command, given, (config, reread), around, signalled, (redactor, &keeper)));
    // In the background: a name server that doesn't answer must not hold up the end.
    runtime.shutdown_background();
    keeper.end(done.as_ref().err());
    logging::finish();
    done
}

/// Does what `command` says; its end is noted by whoever has called this.
async fn noted(
    command: Command,
    given: Given,
    (config, reread): (Config, Reread),
    around: Around,
    signalled: Signals,
    (redactor, keeper): (&Redactor, &Keeper),
) -> Result<Exit, Failure> {
    let stop = Stop::new();
    let (orders, instructions) = Orders::channel();
    let status = match &command {
        Command::Tools { .. } | Command::Call { .. } => Status::of_one_look(redactor.clone()),
        Command::Test { .. } | Command::Replay { .. } => Status::of_one_look(redactor.clone()),
        Command::Run(_) | Command::Serve { .. } | Command::Stdio { .. } => Status::new(redactor.clone()),
        Command::Status { .. } | Command::Logs { .. } | Command::Order(_) | Command::Health => {
            Status::new(redactor.clone())
        }
        Command::Sessions { .. } | Command::Tap { .. } | Command::LogLevel { .. } => Status::new(redactor.clone()),
        Command::Validate { .. } | Command::Config { .. } | Command::Doctor(_) => Status::new(redactor.clone()),
        Command::Login { .. } | Command::Logout { .. } | Command::Bring(_) | Command::Upkeep(_) => {
            Status::new(redactor.clone())
        }
    };
    let ours = Handles { around, reread, orders: orders.clone(), instructions, status, stop: stop.clone() };
    tokio::select! {
        done = perform(command, given, config, ours) => done,
        never = signals(signalled, &stop, &orders, keeper) => match never {},
    }
}

/// Why there is no runtime, for people.
fn no_start(error: io::Error) -> anyhow::Error {
    anyhow::Error::msg(limits::told(&error)).context("can't start")
}

/// What a command was given besides its options.
enum Given {
    Nothing,
    /// The arguments of a call.
    Arguments(serde_json::Map<String, serde_json::Value>),
    /// The calls of a file.
    Calls(Calls),
}

/// What every command that runs servers needs besides the config.
struct Handles {
    around: Around,
    /// How the config is read again.
    reread: Reread,
    /// Where orders are given, and where they come.
    orders: Orders,
    instructions: mpsc::Receiver<Instruction>,
    status: Status,
    stop: Stop,
}

async fn perform(
    command: Command,
    given: Given,
    config: Config,
    Handles { around, reread, orders, instructions, status, stop }: Handles,
) -> Result<Exit, Failure> {
    let Around { guard, keep, level, systemd, socket } = around;
    // What `tools` and `call` have begun, they end; and the endpoint of --local knows the servers that there were at first.
    let serves = is_daemon(&command);
    let reread = Some(reread).filter(|_| serves && !config.local);
    let listener = match config.gateway.as_ref().filter(|_| serves) {
        Some(gateway) => {
            if let Some(tls) = &gateway.tls {
                check_tls("gateway.tls", tls)
                    .map_err(|unusable| Problems { mistakes: vec![unusable], ..Problems::default() })?;
            }
            Some(Listener::bind(gateway.listen, gateway.tls.as_ref(), AT_THE_START).await?)
        }
        None => None,
    };
    if let Some(socket) = socket.filter(|_| serves && config.gateway.is_none()) {
        warn!(
            event = "SYSTEMD",
            "systemd has handed over the socket {socket}, and nobody listens there, as the config has no gateway: whoever dials it waits. \
             Add \"gateway\": {{}} to the config, or disable the socket unit"
        );
    }
    let (opening, opened) = control::opening();
    // Other commands run servers for themselves, and nobody waits for them to be up.
    let audience = Audience { systemd: if serves { systemd } else { Systemd::default() }, opened };
    let admin = match config.admin.as_ref().filter(|_| serves) {
        Some(admin) => Some(Listener::bind(admin.listen, admin.tls.as_ref(), ADMIN_AT_THE_START).await?),
        None => None,
    };
    let metrics = Arc::new(Metrics::of(status.clone(), config.place.display().to_string()));
    let listening = Listening { gateway: listener, admin, metrics: metrics.clone() };
    let pipes = async |config, stop| {
        supervisor::serve(config, guard, status.clone(), (instructions, reread), (stop, audience), listening).await;
    };
    let out = &mut io::stdout();
    match command {
        Command::Run(_) | Command::Serve { .. } => {
            let from = control::Sources { status: status.clone(), orders, ring: keep.ring, level };
            serve(config, (from, metrics), opening, stop, pipes).await?;
            if status.read().faulted {
                return Err(
                    anyhow!("ended by a fault of mcp-pipe itself, which the log tells (FAULT, ERROR_PIPE)").into()
                );
            }
        }
        Command::Stdio { server } => return serve_stdio(config, server, orders, stop, pipes).await,
        Command::Tools { json, size, published, .. } => {
            let show = match (size, published) {
                (true, _) => Show::Size,
                (false, true) => Show::Published,
                (false, false) => Show::Offer,
            };
            let form = if json { Form::Json } else { inspect::table_for_stdout(config.plain) };
            let told = inspect::tools(config, show, form, &status, stop, pipes, out).await;
            told.map_err(anyhow::Error::from)?;
        }
        Command::Call { tool, .. } => {
            let arguments = if let Given::Arguments(arguments) = given { arguments } else { serde_json::Map::new() };
            let called = inspect::call(config, &tool, arguments, &status, stop, pipes, out).await;
            called.map_err(anyhow::Error::from)?;
        }
        Command::Test { suite, json, .. } => {
            let form = if json { Form::Json } else { inspect::table_for_stdout(config.plain) };
            let exam = Exam { suite, form, status: &status, orders: &orders };
            let is_well = exam.run(config, stop, pipes, out).await.map_err(anyhow::Error::from)?;
            return Ok(if is_well { Exit::Success } else { Exit::Failed });
        }
        Command::Replay { all, json, .. } => {
            let Given::Calls(calls) = given else { return Ok(Exit::Success) }; // they were read for this command
            let form = if json { Form::Json } else { inspect::table_for_stdout(config.plain) };
            let replay = Replay { calls, all, form, status: &status };
            let is_well = replay.run(config, stop, pipes, out).await.map_err(anyhow::Error::from)?;
            return Ok(if is_well { Exit::Success } else { Exit::Failed });
        }
        Command::Status { .. } | Command::Logs { .. } | Command::Order(_) | Command::Health => {} // asked of another
        Command::Sessions { .. } | Command::Tap { .. } | Command::LogLevel { .. } => {}
        Command::Login { .. } => return Ok(login::login(&config, status.redactor(), &stop, out).await?),
        Command::Logout { .. } => return Ok(login::logout(&config, out).await?),
        Command::Validate { .. } | Command::Config { .. } | Command::Bring(_) | Command::Upkeep(_) => {} // looked at before there is a log
        Command::Doctor(_) => {} // examines before the config is known to be right
    }
    Ok(Exit::Success)
}

/// Serves one client on standard input and output, until it ends or a signal comes.
async fn serve_stdio(
    config: Config,
    server: Option<String>,
    orders: Orders,
    stop: Stop,
    pipes: impl AsyncFnOnce(Config, Stop),
) -> Result<Exit, Failure> {
    let carried = async {
        let carried = match orders.receive(server).await {
            // A client that says no more is waited with until it has its answers.
            Ok(Visitor { lines, stays: _stays }) => {
                stdio::carry(lines).await.map_err(|error| anyhow::Error::from(error).into())
            }
            Err(NotGiven::Unclear(what)) => Err(Failure::Asking { exit: Exit::Usage, what, remedy: String::new() }),
            Err(NotGiven::Mistakes(why) | NotGiven::Impossible(why)) => Err(anyhow::Error::msg(why).into()),
        };
        // A signal may have asked for this already, and all that it ends; another step would cut off what is under way.
        let is_told = stop.drain().is_cancelled();
        if !is_told {
            stop.advance();
        }
        match carried {
            Ok(End::Stream(_)) if !is_told => {
                Err(anyhow::anyhow!("mcp-pipe has ended the conversation before the client did: the log says why")
                    .into())
            }
            carried => carried.map(|_| Exit::Success),
        }
    };
    let (done, ()) = tokio::join!(carried, pipes(config, stop.clone()));
    done
}

/// Serves until told to stop.
async fn serve(
    mut config: Config,
    (from, metrics): (control::Sources, Arc<Metrics>),
    opening: Opening,
    stop: Stop,
    pipes: impl AsyncFnOnce(Config, Stop),
) -> Result<()> {
    let endpoint = if config.local {
        let mut endpoint =
            LocalEndpoint::bind().await.context("no local endpoint: no port of 127.0.0.1 can be listened on")?;
        endpoint.attach_shared(&mut config)?;
        Some(endpoint)
    } else {
        None
    };
    let (status, level, socket) = (from.status.clone(), from.level.clone(), config.status_socket.clone());
    let (control_socket, place) = (config.control_socket.clone(), config.place.clone());
    let metrics_file = config.metrics_file.clone();
    let store = status.history().open(config.state_dir.clone(), &place).await;
    announce(&config);
    let ended = Stop::new();
    let pipes = async {
        tokio::select! {
            () = pipes(config, stop.clone()) => {}
            never = follow_the_start(&status, &stop) => match never {},
            never = keep_level(&level, &status) => match never {},
        }
        // Both steps of the stop at once: the local endpoint and the sockets have nobody left to serve.
        ended.advance();
        ended.advance();
    };
    let local = async {
        if let Some(endpoint) = endpoint {
            endpoint.run(ended.clone()).await;
        }
    };
    let opening_too = opening.clone();
    let health = async {
        let opening = opening_too;
        if let Some(path) = socket
            && let Err(failed) = health::serve(&path, status.clone(), ended.clone(), opening).await
        {
            error!(event = "ERROR_STATUS_SOCKET", "{failed:#}; going on without it");
        }
    };
    let figures = async {
        if let Some(path) = metrics_file {
            metrics::file::keep(path, metrics, ended.clone()).await;
        }
    };
    let history = async {
        if let Some(store) = store {
            store.keep(ended.clone()).await;
        }
    };
    let control = control::serve(control_socket, &place, from, ended.clone(), opening);
    tokio::join!(pipes, local, health, control, figures, history);
    info!(event = "STOPPED", "stopped");
    Ok(())
}

/// Has another level of the log count only as long as it is to, and `status` tell of it.
async fn keep_level(level: &LogLevel, status: &Status) -> Infallible {
    let usual = level.usual();
    let told = |other: Option<Other>| {
        let with = |Other { level, until }| OtherLevel { level, usual: usual.clone(), until };
        status.set_log_level(other.map(with));
    };
    level.keep(told).await
}

/// Logs once that everything is up, if that ever happens.
async fn say_when_all_is_up(status: &Status, stop: &Stop) {
    if let Some(summary) = Summary::when_due(status, stop).await {
        let Summary { servers, tools, connections, gateway: _ } = summary;
        let hint = if io::stderr().is_terminal() { "; Ctrl-C stops" } else { "" };
        info!(event = "ALL_UP", count = servers, tools, connections, "{summary}{hint}");
    }
}

/// Longest wait for everything to be up before the start counts as over; npx may be installing for minutes.
const START: Duration = Duration::from_mins(5);
/// How long everything has been up when the start counts as over: handshakes, lists and first calls come at once.
const SETTLED: Duration = Duration::from_millis(500);

/// Does what is due once everything is up: tells of it, and gives back the memory of what only the start needed.
async fn follow_the_start(status: &Status, stop: &Stop) -> Infallible {
    // Where something never comes up, the start is over nonetheless.
    let _late = timeout(START, Summary::all_up(status)).await;
    let release = async {
        sleep(SETTLED).await;
        text::release();
    };
    tokio::join!(release, say_when_all_is_up(status, stop));
    std::future::pending().await
}

fn announce(config: &Config) {
    let n = config.servers.len();
    let version = env!("CARGO_PKG_VERSION");
    info!(event = "STARTED", count = n, "mcp-pipe {version}: {}, process {}", counted(n, "server"), std::process::id());
    for group in groups(&config.servers, &config.endpoints) {
        for (spec, endpoint) in &group.servers {
            let name = group.name.as_ref().map_or_else(String::new, |name| format!("{name}, "));
            info!(event = "SERVER_CONFIGURED", server = %spec.name, "to be served on {name}{endpoint}");
        }
        let names = group.names();
        match group.terms() {
            Some(terms) if group.mode == Mode::PerServer => warn!(event = "AGENT_SHARED", servers = ?names, "{terms}"),
            Some(terms) => info!(event = "AGENT_SHARED", servers = ?names, "{terms}"),
            None => {}
        }
    }
}

/// What a signal asks for.
enum Signalled {
    /// A stop, and the name of the signal.
    Stop(&'static str),
    /// The turns of servers.
    #[cfg_attr(not(unix), expect(dead_code, reason = "Windows has no signals to spare"))]
    Turn(&'static str, TurnCommand),
    /// To read the config again, and the name of the signal.
    #[cfg_attr(not(unix), expect(dead_code, reason = "Windows has no signals to spare"))]
    Reload(&'static str),
}

/// Longest time between two signals that count as one: a terminal signals the whole group, and the program that started us passes
/// its signal on. A person is slower.
const ONE_SIGNAL: Duration = Duration::from_millis(500);

/// Turns the first stopping signal into a graceful stop and the second into an immediate one, and hands commands for
/// turns to the pipes that take turns. Never ends by itself.
async fn signals(mut signals: Signals, stop: &Stop, orders: &Orders, keeper: &Keeper) -> Infallible {
    let mut first: Option<Instant> = None;
    loop {
        match signals.next().await {
            Signalled::Stop(_) if first.is_some_and(|at| at.elapsed() < ONE_SIGNAL) => {}
            Signalled::Stop(name) if stop.drain().is_cancelled() => {
                warn!(event = "STOPPING", "{name} again: stopping at once");
                stop.advance();
            }
            Signalled::Stop(name) => {
                info!(event = "STOPPING", "{name}: finishing the calls under way; once more to stop at once");
                first = Some(Instant::now());
                keeper.on_signal(name);
                stop.advance();
            }
            Signalled::Turn(name, command) => orders.signal(name, command),
            Signalled::Reload(name) => orders.reload(name),
        }
    }
}

#[cfg(unix)]
struct Signals {
    int: tokio::signal::unix::Signal,
    term: tokio::signal::unix::Signal,
    /// HUP: the terminal was closed; of a daemon without one, to read its config again. `None` under `nohup`, which is there to survive just that.
    hup: Option<tokio::signal::unix::Signal>,
    /// There was no terminal at the start: HUP can't be that it was closed.
    is_daemon: bool,
    usr1: tokio::signal::unix::Signal,
    usr2: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let hup = if is_ignored(libc::SIGHUP) { None } else { Some(signal(SignalKind::hangup())?) };
        limits::outlive_full_files()?;
        Ok(Signals {
            int: signal(SignalKind::interrupt())?,
            term: signal(SignalKind::terminate())?,
            hup,
            is_daemon: std::fs::File::open("/dev/tty").is_err(),
            usr1: signal(SignalKind::user_defined1())?,
            usr2: signal(SignalKind::user_defined2())?,
        })
    }

    async fn next(&mut self) -> Signalled {
        let hup = async {
            match &mut self.hup {
                Some(hup) => hup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.int.recv() => Signalled::Stop("SIGINT"),
            _ = self.term.recv() => Signalled::Stop("SIGTERM"),
            _ = hup => match self.is_daemon {
                true => Signalled::Reload("SIGHUP"),
                false => Signalled::Stop("SIGHUP"),
            },
            _ = self.usr1.recv() => Signalled::Turn("SIGUSR1", TurnCommand::Next),
            _ = self.usr2.recv() => Signalled::Turn("SIGUSR2", TurnCommand::Keep),
        }
    }
}

/// Whether the program that started us had the system ignore a signal.
#[cfg(unix)]
#[expect(unsafe_code, reason = "the standard library does not tell what became of a signal")]
fn is_ignored(signal: i32) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action the call only writes the present one, to memory of the right type; all-zero is an action, too.
    unsafe {
        libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr());
        action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

/// Ctrl-C alone; not tried on Windows yet.
#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Signals)
    }

    async fn next(&mut self) -> Signalled {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        Signalled::Stop("Ctrl-C")
    }
}

/// How much of the log is of use beside what a command prints.
pub fn loudness(command: &Command) -> Loudness {
    match command {
        Command::Tools { .. } | Command::Call { .. } | Command::Login { .. } | Command::Logout { .. } => {
            Loudness::Beside
        }
        Command::Test { .. } | Command::Replay { .. } => Loudness::Beside,
        Command::Doctor(_) => Loudness::Silent,
        Command::Run(_) | Command::Serve { .. } | Command::Stdio { .. } => Loudness::Usual,
        Command::Status { .. } | Command::Logs { .. } | Command::Order(_) | Command::Health => Loudness::Usual,
        Command::Sessions { .. } | Command::Tap { .. } | Command::LogLevel { .. } => Loudness::Usual,
        Command::Validate { .. } | Command::Config { .. } | Command::Bring(_) | Command::Upkeep(_) => Loudness::Usual,
    }
}
