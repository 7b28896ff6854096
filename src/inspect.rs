//! `mcp-pipe tools` and `mcp-pipe call`: what the servers offer, and one call, through whole pipes.
//!
//! Both start the configured servers as any run does, on a local endpoint, ask there, and stop the servers again. Results go
//! to a writer; everything else is the returned error.

mod arguments;
mod published;
mod size;
mod table;
mod waiting;

use std::future::pending;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Map, Value, json};
use tokio::time::sleep;

pub(crate) use self::arguments::{ArgumentsError, arguments};
pub(crate) use self::table::{Form, Show};
pub(crate) use self::waiting::Waiting;
use crate::config::{Config, Reach, ServerSpec};
use crate::control::journal::FOR_HTTP;
use crate::control::status::{ServerState, Status};
use crate::local::{Catalogue, Client, LocalEndpoint, LocalError};
use crate::mcp::cloud;
use crate::process::stop::Stop;
use crate::secrecy::{Redactor, plain};
use crate::tools::ToolPolicy;

/// Time from when a server should have answered until the pipe has certainly noted what it knows of that.
const NOTED: Duration = Duration::from_millis(250);
/// Longest time that a server may take to list its tools, on top of its own start timeout.
pub(crate) const LIST_PATIENCE: Duration = Duration::from_secs(20);
/// Longest time that a call may take: the xiaozhi cloud's own deadline.
pub(crate) const CALL_PATIENCE: Duration = cloud::CALL;
/// Least similarity (Jaro–Winkler, 0 to 1) of a name that is suggested for a mistyped one.
const SIMILAR: f64 = 0.75;

/// Why there is no result, or not all of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InspectError {
    /// The local endpoint could not be opened.
    #[error("the local endpoint could not be opened")]
    Endpoint(#[source] io::Error),
    /// The result could not be written.
    #[error("the result could not be written")]
    Output(#[source] io::Error),
    /// The server is gone, or could not be started. Its last words are in the log.
    #[error("server \"{server}\": {why}")]
    Down {
        /// The server.
        server: String,
        /// What happened.
        why: String,
    },
    /// The server answered `initialize` with an error, or with nothing that can be read.
    #[error("server \"{server}\" {why}")]
    Refused {
        /// The server.
        server: String,
        /// What it did.
        why: String,
    },
    /// The server runs and has said nothing.
    #[error("server \"{server}\" started but did not answer initialize in {} s; {remedy}", waited.as_secs())]
    Silent {
        /// The server.
        server: String,
        /// How long we waited.
        waited: Duration,
        /// What most likely helps.
        remedy: String,
    },
    /// The server has no such tool.
    #[error("server \"{server}\" publishes no tool \"{name}\"{hint}")]
    UnknownTool {
        /// The server.
        server: String,
        /// The name that was asked for.
        name: String,
        /// Names that exist, in words.
        hint: String,
    },
    /// Some servers did not show their tools; those of the others have been printed.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Unanswered(Vec<InspectError>),
    /// The call brought no result.
    #[error(transparent)]
    Call(LocalError),
    /// The tool reported an error (`isError`).
    #[error("tool \"{tool}\" of server \"{server}\" reports an error: {text}")]
    Tool {
        /// The server.
        server: String,
        /// The tool's name.
        tool: String,
        /// The text of the result.
        text: String,
    },
    /// A signal, or every pipe ended, before there was an answer.
    #[error("stopped before there was an answer")]
    Stopped,
}

impl InspectError {
    /// That a server is there and has said nothing. `for_http`: but on stderr, that it serves over HTTP.
    fn silent(server: &str, waited: Duration, reach: &Reach, for_http: bool) -> Self {
        InspectError::Silent { server: server.to_owned(), waited, remedy: remedy_for_silence(reach, for_http) }
    }
}

/// What most likely helps with a server that says nothing. `for_http`: but on stderr, that it serves over HTTP.
pub(crate) fn remedy_for_silence(reach: &Reach, for_http: bool) -> String {
    match reach.fetcher() {
        _ if for_http => FOR_HTTP.to_owned(),
        _ if reach.command().is_none() => {
            "is its url that of an MCP server, to the last slash? --log-level debug shows more".to_owned()
        }
        Some(program) => format!(
            "{program} downloads the server at its first start: check the network, or give it longer, --start-timeout 5m"
        ),
        // Its stderr is shown already.
        None if tracing::enabled!(tracing::Level::INFO) => "is it an MCP server on stdin and stdout?".to_owned(),
        None => "is it an MCP server on stdin and stdout? --log-level info shows what it writes to stderr".to_owned(),
    }
}

/// Prints the tools that the servers of `config` offer, or the sizes of these. Warns if the sizes are above the budget.
///
/// `serve` runs the pipes until the stop; everything is printed before the servers are stopped.
///
/// # Errors
/// [`InspectError::Unanswered`] after the others' tools were printed; others as their descriptions say.
pub(crate) async fn tools(
    mut config: Config,
    show: Show,
    form: Form,
    status: &Status,
    stop: Stop,
    serve: impl AsyncFnOnce(Config, Stop),
    out: &mut dyn Write,
) -> Result<(), InspectError> {
    // The budget is checked here, with all servers at hand, and not by each pipe.
    let budget = std::mem::replace(&mut config.tool_budget, usize::MAX);
    let mut specs = config.servers.clone();
    // The config's policy is applied once: by the pipes, or here, where the tools of both sides are to be shown.
    let done = if show == Show::Offer { &mut specs } else { &mut config.servers };
    done.iter_mut().for_each(|server| server.tools = Arc::default());
    let wanted = config.servers.clone();
    at_local_endpoint(config, &stop, serve, async |client| {
        let waiting = Waiting::default();
        let asked = wanted.iter().map(|server| catalogue(&client, status, &waiting, server));
        let answers = waiting.during(join_all(asked), status).await;
        let (mut found, mut failed) = (Vec::new(), Vec::new());
        for (spec, answer) in specs.iter().zip(answers) {
            match answer {
                Ok(catalogue) => found.push((spec, without_secrets(&catalogue, status.redactor()))),
                Err(error) => failed.push(error),
            }
        }
        for (spec, catalogue) in &found {
            if let Some(what) = spec.tools.doubts(&catalogue.names().collect::<Vec<_>>()) {
                tracing::warn!(event = "CONFIG_WARNING", server = %spec.name, "{what}");
            }
        }
        let sizes = size::measure(&found);
        for warning in size::warnings(&sizes, budget) {
            tracing::warn!(event = "TOOL_BUDGET", "{warning}");
        }
        let text = match show {
            Show::Offer => {
                let found: Vec<_> =
                    found.iter().map(|(spec, catalogue)| (&*spec.name, Arc::clone(catalogue))).collect();
                match form {
                    Form::Json => as_json(&found),
                    Form::Table { width, colour } => table::render(&found, width, colour),
                }
            }
            Show::Published => match form {
                Form::Json => published::as_json(&found),
                Form::Table { width, colour } => published::render(&found, width, colour),
            },
            Show::Size => match form {
                Form::Json => size::as_json(&sizes, budget),
                Form::Table { colour, .. } => size::render(&sizes, colour),
            },
        };
        // An empty table would only be a head.
        if !found.is_empty() || matches!(form, Form::Json) {
            write(out, &text)?;
        }
        if failed.is_empty() { Ok(()) } else { Err(InspectError::Unanswered(failed)) }
    })
    .await
}

/// What a server offers. The wait ends with the server's first death or refusal, or when its `start_timeout` and
/// [`LIST_PATIENCE`] are over: a person is waiting here, and the log says why a server died.
pub(crate) async fn catalogue(
    client: &Client,
    status: &Status,
    waiting: &Waiting,
    spec: &ServerSpec,
) -> Result<Arc<Catalogue>, InspectError> {
    let (server, start_timeout) = (&*spec.name, spec.start_timeout);
    let _over = waiting.begin(server, start_timeout, LIST_PATIENCE);
    let of_it = || server.to_owned();
    let silent = async {
        sleep(start_timeout + NOTED).await;
        if !status.is_starting(server) {
            pending().await
        }
    };
    tokio::select! {
        catalogue = client.tools(server, start_timeout + LIST_PATIENCE) => catalogue.map_err(InspectError::Call),
        () = silent => Err(InspectError::silent(server, start_timeout, &spec.reach, status.is_for_http(server))),
        failed = status.failed(server) => Err(match failed {
            ServerState::Refusing(why) => InspectError::Refused { server: of_it(), why },
            ServerState::Down(why) => InspectError::Down { server: of_it(), why },
            ServerState::Starting | ServerState::Serving | ServerState::Silent | ServerState::Stopped => {
                InspectError::Stopped // no failure
            }
        }),
    }
}

/// Calls a tool of the first server of `config` and prints its result: text as text, anything else as JSON.
///
/// `serve` runs the server's pipe until the stop; everything is printed before the server is stopped.
///
/// # Errors
/// [`InspectError::Tool`] where the tool itself reports one; others as their descriptions say.
pub(crate) async fn call(
    config: Config,
    tool: &str,
    arguments: Map<String, Value>,
    status: &Status,
    stop: Stop,
    serve: impl AsyncFnOnce(Config, Stop),
    out: &mut dyn Write,
) -> Result<(), InspectError> {
    let Some(spec) = config.servers.first().cloned() else {
        return Err(InspectError::Stopped); // resolving a config without servers has failed already
    };
    let (server, policy) = (spec.name.clone(), spec.tools.clone());
    at_local_endpoint(config, &stop, serve, async |client| {
        let waiting = Waiting::default();
        let asked = catalogue(&client, status, &waiting, &spec);
        let catalogue = waiting.during(asked, status).await?;
        if !catalogue.names().any(|name| name == tool) {
            let (server, name) = (server.to_string(), tool.to_owned());
            let hint = published_hint(&server, &name, catalogue.names())
                .or_else(|| policy_hint(&policy, &name, catalogue.names()))
                .unwrap_or_else(|| hint(&name, catalogue.names()));
            return Err(InspectError::UnknownTool { hint, server, name });
        }
        let arguments = Value::Object(arguments);
        let called = async {
            let _over = waiting.begin_call(&server, tool, longest(&policy, tool));
            client.call(&server, tool, arguments, CALL_PATIENCE).await
        };
        let result = waiting.during(called, status).await.map_err(InspectError::Call)?;
        let text = result_text(&result);
        if result["isError"] == true {
            return Err(InspectError::Tool { server: server.to_string(), tool: tool.to_owned(), text });
        }
        // A program gets the result as it is; a terminal gets a cleaned one, which the server can't use to steer it.
        if io::stdout().is_terminal() {
            write(out, &format!("{}\n", plain::lines(&status.redactor().clean(&text))))
        } else {
            write(out, &format!("{text}\n"))
        }
    })
    .await
}

/// How a table looks on standard output: as wide as the terminal, in colour unless `plain`; whole and without colour
/// where standard output is no terminal.
pub(crate) fn table_for_stdout(plain: bool) -> Form {
    let terminal = io::stdout().is_terminal();
    Form::Table { width: if terminal { terminal_width() } else { None }, colour: terminal && !plain }
}

#[cfg(unix)]
fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0).then_some(size.ws_col.into())
}

/// The width is not asked for on this system: the table is whole, and the console wraps it.
#[cfg(not(unix))]
fn terminal_width() -> Option<usize> {
    None
}

/// Runs the pipes of `config` against a local endpoint for as long as `ask` takes.
pub(crate) async fn at_local_endpoint<T>(
    mut config: Config,
    stop: &Stop,
    serve: impl AsyncFnOnce(Config, Stop),
    ask: impl AsyncFnOnce(Client) -> Result<T, InspectError>,
) -> Result<T, InspectError> {
    // Nothing is taken from memory: a person who looks at a server wants to see what it says now.
    config.cache_dir = None;
    // No endpoint but our own is dialled, which no other daemon has, and nobody else is let in.
    (config.local, config.lease, config.gateway, config.admin) = (true, None, None, None);
    config.endpoints.clear();
    // What is still under way at the end nobody waits for: its answer would come too late for the result.
    config.drain_timeout = Duration::ZERO;
    let mut endpoint = LocalEndpoint::bind().await.map_err(InspectError::Endpoint)?;
    endpoint.attach(&mut config).map_err(InspectError::Endpoint)?;
    let client = endpoint.client();
    // Asks for the first step of the stop, unless a signal has done so already.
    let drain = || {
        if !stop.drain().is_cancelled() {
            stop.advance();
        }
    };
    let asking = async {
        let outcome = tokio::select! {
            outcome = ask(client) => outcome,
            () = stop.drain().cancelled() => Err(InspectError::Stopped),
        };
        drain();
        outcome
    };
    let serving = async {
        serve(config, stop.clone()).await;
        drain();
    };
    let (outcome, (), ()) = tokio::join!(asking, serving, endpoint.run(stop.clone()));
    outcome
}

/// That a tool was named as endpoints see it where several servers share a connection: behind its server's name.
fn published_hint<'a>(server: &str, tool: &str, mut known: impl Iterator<Item = &'a str>) -> Option<String> {
    let (before, own) = tool.split_once("__")?;
    (before == server && known.any(|known| known == own))
        .then(|| format!(": that is how endpoints may see it; here it has its own name, \"{own}\""))
}

/// What the config makes of a tool that is not published under its own name. Which tools the server has besides is not known here.
fn policy_hint<'a>(policy: &ToolPolicy, tool: &str, mut published: impl Iterator<Item = &'a str>) -> Option<String> {
    let name = policy.name_of(tool);
    if name != tool && policy.publishes(tool) {
        return Some(format!(": \"tools\" in its entry renames it, so call \"{name}\""));
    }
    let is_slip = published.any(|known| strsim::jaro_winkler(tool, known) >= SIMILAR);
    (!is_slip && !policy.publishes(tool)).then(|| ": if it has one, \"tools\" in its entry leaves it out".to_owned())
}

/// The names that may have been meant; all names where none is similar.
fn hint<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let mut known: Vec<_> = known.map(|known| (strsim::jaro_winkler(name, known), known)).collect();
    known.sort_by(|a, b| b.0.total_cmp(&a.0));
    let similar: Vec<_> = known.iter().filter(|(similarity, _)| *similarity >= SIMILAR).take(3).collect();
    let list = |names: &mut dyn Iterator<Item = &str>, between| {
        names.map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(between)
    };
    match (similar.is_empty(), known.is_empty()) {
        (false, _) => format!("; did you mean {}?", list(&mut similar.iter().map(|(_, name)| *name), " or ")),
        (true, false) => format!("; there are {}", list(&mut known.iter().map(|(_, name)| *name), ", ")),
        (true, true) => "; there are none".to_owned(),
    }
}

/// What a server offers, without what a person's config keeps secret.
fn without_secrets(catalogue: &Catalogue, redactor: &Redactor) -> Arc<Catalogue> {
    let mut clean = catalogue.clone();
    [&mut clean.server_info].into_iter().chain(&mut clean.tools).for_each(|value| redactor.clean_value(value));
    Arc::new(clean)
}

fn as_json(found: &[(&str, Arc<Catalogue>)]) -> String {
    let servers: Vec<_> = found
        .iter()
        .map(|(name, catalogue)| json!({"name": name, "serverInfo": catalogue.server_info, "tools": catalogue.tools}))
        .collect();
    plain::json(&format!("{:#}\n", json!({"servers": servers}))).into_owned()
}

/// The content of a tool's result: text blocks as they are, other blocks as JSON, one after the other.
fn result_text(result: &Value) -> String {
    let block = |block: &Value| match block["text"].as_str() {
        Some(text) if block["type"] == "text" => text.to_owned(),
        _ => block.to_string(),
    };
    match (&result["content"], &result["structuredContent"]) {
        (Value::Array(blocks), _) if !blocks.is_empty() => blocks.iter().map(block).collect::<Vec<_>>().join("\n"),
        (_, Value::Null) => result.to_string(),
        (_, structured) => structured.to_string(),
    }
}

/// Whether a tool only reads, by what its server says of it.
pub(crate) fn only_reads(tool: &Value) -> bool {
    tool["annotations"]["readOnlyHint"] == true
}

/// Writes a result.
pub(crate) fn write(out: &mut dyn Write, text: &str) -> Result<(), InspectError> {
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(InspectError::Output)
}

/// Longest time until a call of a tool is answered: by its server, or with an error for its `timeout`.
pub(crate) fn longest(policy: &ToolPolicy, tool: &str) -> Duration {
    policy.timeout_of(tool).map_or(CALL_PATIENCE, |timeout| timeout.min(CALL_PATIENCE))
}

#[cfg(test)]
mod tests;
