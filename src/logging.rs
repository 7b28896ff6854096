//! Log lines on stderr: text for people, JSON for machines.
//!
//! One event is one line, whatever a child or a peer put into it: control characters are escaped, so that
//! nobody can forge a line. Known secrets are cut out of every event as a last defence. Records of the `log`
//! crate are not taken, as tungstenite's show whole requests. A line that can't be written is dropped.

mod clock;
mod file;
mod flood;
mod last;
mod level;
mod line;
mod names;
mod ring;
mod stderr;

use std::borrow::Cow;
use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::Level;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterExt as _, LevelFilter, Targets};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

pub(crate) use clock::{local_of, now, utc};
pub(crate) use file::LogFile;
pub use file::finish;
pub(crate) use flood::Flood;
pub use last::LastLines;
pub use level::LogLevel;
pub(crate) use level::{Other, check_level};
pub(crate) use line::told::Shown;
pub use names::Names;
pub use ring::Ring;
pub(crate) use ring::{Cursor, Entry, View};

use crate::config::options::{LogFormat, Options};
use crate::config::{Environment, LogFileSpec, defaults};
use crate::error::Problem;
use crate::secrecy::Redactor;
use level::targets;
use line::{Fields, Looks};
use stderr::{Patient, Place};

/// The target of what is logged about attempts that are made again: to connect, and to start a server. `tools` and `call` leave
/// these lines out: they wait for no other attempt, and their own error says what is the matter.
pub(crate) const RETRIES: &str = "mcp_pipe::retries";

/// The target of what servers log by MCP and no peer gets: only kept, never written to stderr, where one server could drown what is
/// to be read. Such an event has the server's own level in its field `level`, which becomes the level of its line.
pub(crate) const OF_SERVERS: &str = "mcp_pipe::said";

/// The level from which on lines are kept that are not shown: whoever asks what happened has not known before that they would.
const KEPT: LevelFilter = LevelFilter::INFO;

/// How much of the log is shown where nobody says from which level on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loudness {
    /// As of a program that is there to run.
    Usual,
    /// What a person wants to know beside what a command prints: warnings, but not of connections.
    Beside,
    /// Nothing: what a command prints has all of it.
    Silent,
}

/// The level from which on lines are kept that may tell why a run ended.
const LAST: Level = Level::WARN;

/// Where lines are kept besides being written, if anywhere.
#[derive(Clone, Default)]
pub struct Keep {
    /// The last lines, for whoever asks.
    pub ring: Option<Ring>,
    /// The last warnings and errors, for the next run.
    pub last: Option<LastLines>,
    /// What is shown, for later.
    pub file: OwnFile,
}

/// The `logFile` into which the log is written besides, which the config names only once there is a log. A clone is the same.
#[derive(Clone, Default)]
pub struct OwnFile(Arc<Mutex<Option<(LogFile, Looks)>>>);

impl OwnFile {
    /// Has what is logged from now on written there, in this form; or nowhere.
    pub fn set(&self, spec: Option<&LogFileSpec>, format: LogFormat) {
        let looks = match format {
            LogFormat::Text => Looks::Text { time: true },
            LogFormat::Json => Looks::Json,
        };
        // Opening may log something itself.
        let file = spec.and_then(|spec| {
            LogFile::open(spec, Box::new(move |lines| looks.missed(lines, "the disk did not take it in time")))
        });
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = file.map(|file| (file, looks));
    }

    /// Writes the line that `make` makes.
    fn write(&self, make: impl FnOnce(Looks) -> String) {
        if let Some((file, looks)) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            file.push(&make(*looks));
        }
    }
}

/// Starts logging for the whole process, at the level of `--log-level`, `MCP_LOG_LEVEL` or `RUST_LOG`, else at info, or
/// beside what a command prints at warn and without the ends of connections, or not at all. No line shows what `redactor` knows, now or later.
/// `keep` keeps the last lines: what is shown, and from level info on what isn't. Returns what changes
/// the level while the process runs.
///
/// # Errors
/// The option or our own variable names no level. The error says which levels there are.
pub fn start(
    options: &Options,
    loudness: Loudness,
    env: &Environment,
    redactor: &Redactor,
    keep: Keep,
) -> Result<LogLevel, Problem> {
    let (filter, oddity) = filter(options.log_level.as_deref(), env, loudness)?;
    let level = LogLevel::of(filter);
    let looks = looks(options.log_format, env);
    let stderr = Patient::new(Place::find());
    let write = move |line: &str| stderr.write(line, |missed| looks.missed(missed, "nobody read it for a while"));
    let kept = match &keep {
        Keep { ring: Some(_), .. } => KEPT,
        Keep { ring: None, last: Some(_), .. } => LevelFilter::from_level(LAST),
        Keep { ring: None, last: None, .. } => LevelFilter::OFF,
    };
    let lines = Lines { looks, redactor: redactor.clone(), shown: level.clone(), write, keep };
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(level.clone().or(kept)));
    // Only a second call in one process fails; then the first call's settings stay.
    drop(tracing::subscriber::set_global_default(subscriber));
    if let Some(problem) = oddity {
        tracing::warn!(event = "CONFIG_WARNING", "{problem}; it is ignored");
    }
    Ok(level)
}

/// What a start would find wrong with the level of the log, without one: a mistake, or only an oddity.
///
/// # Errors
/// As [`start`].
pub(crate) fn check(options: &Options, env: &Environment) -> Result<Option<Problem>, Problem> {
    filter(options.log_level.as_deref(), env, Loudness::Usual).map(|(_, oddity)| oddity)
}

fn looks(format: LogFormat, env: &Environment) -> Looks {
    match format {
        LogFormat::Json => Looks::Json,
        LogFormat::Text if std::io::stderr().is_terminal() => Looks::Terminal { colour: Looks::has_colour(env) },
        // The journal notes the time itself.
        LogFormat::Text => Looks::Text { time: !to_journal(env) },
    }
}

/// Whether stderr goes to systemd's journal: `JOURNAL_STREAM` is its device and inode (systemd.exec(5)).
#[cfg(unix)]
fn to_journal(env: &Environment) -> bool {
    let stderr = rustix::fs::fstat(rustix::stdio::stderr()).map(|stat| format!("{}:{}", stat.st_dev, stat.st_ino));
    env.get("JOURNAL_STREAM").is_some_and(|stream| stderr.is_ok_and(|stderr| stderr == stream))
}

/// No journal exists on this system.
#[cfg(not(unix))]
fn to_journal(_env: &Environment) -> bool {
    false
}

/// What is logged, and what is wrong with `RUST_LOG`. A fault there is only told, since the variable may be meant for other
/// programs.
fn filter(flag: Option<&str>, env: &Environment, loudness: Loudness) -> Result<(Targets, Option<Problem>), Problem> {
    let own = flag.map(|text| ("--log-level", text));
    let own = own.or_else(|| env.filled("MCP_LOG_LEVEL").map(|text| ("MCP_LOG_LEVEL", text)));
    if let Some((place, text)) = own {
        return Ok((targets(place, text)?, None));
    }
    let usual = match loudness {
        Loudness::Usual => Targets::new().with_default(defaults::LOG_LEVEL),
        Loudness::Beside => {
            Targets::new().with_default(defaults::LOG_LEVEL_BESIDE).with_target(RETRIES, LevelFilter::OFF)
        }
        Loudness::Silent => Targets::new().with_default(LevelFilter::OFF),
    };
    Ok(match env.filled("RUST_LOG").map(|text| targets("RUST_LOG", text)) {
        Some(Ok(targets)) => (targets, None),
        Some(Err(problem)) => (usual, Some(problem)),
        None => (usual, None),
    })
}

/// Makes each event a line.
struct Lines<W> {
    looks: Looks,
    redactor: Redactor,
    /// What is written; the rest is only kept.
    shown: LogLevel,
    write: W,
    keep: Keep,
}

/// The name of the server that a span is about.
struct ServerName(String);

impl<S, W> Layer<S> for Lines<W>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    W: Fn(&str) + 'static,
{
    fn on_new_span(&self, attributes: &tracing::span::Attributes<'_>, id: &tracing::span::Id, ctx: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let (Some(server), Some(span)) = (fields.server, ctx.span(id)) {
            span.extensions_mut().insert(ServerName(server));
        }
    }

    fn on_event(&self, event: &tracing::Event<'_>, ctx: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        if fields.server.is_none()
            && let Some(mut scope) = ctx.event_scope(event)
        {
            fields.server = scope.find_map(|span| span.extensions().get::<ServerName>().map(|name| name.0.clone()));
        }
        let metadata = event.metadata();
        // Texts are cleaned before a line is made of them, whose escapes could hide a secret; and a JSON line stays valid.
        for text in fields.texts_mut() {
            if let Cow::Owned(clean) = self.redactor.clean(text) {
                *text = clean;
            }
        }
        let (mut level, target) = (*metadata.level(), metadata.target());
        if target == OF_SERVERS {
            level = fields.servers_level().unwrap_or(level);
        } else if self.shown.would_enable(target, &level) {
            (self.write)(&self.looks.line(level, target, &fields));
            self.keep.file.write(|looks| looks.line(level, target, &fields));
        }
        // A server's own words are no reason for the end of a run.
        if let Some(last) = self.keep.last.as_ref().filter(|_| level <= LAST && target != OF_SERVERS) {
            last.push(fields.bounded(last::LINE).kept(level, target));
        }
        if let Some(ring) = &self.keep.ring {
            let text = fields.bounded(ring::LINE).kept(level, target);
            ring.push(fields.names(), clock::now(), &text);
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::secrecy::Secret;
    use std::sync::{Arc, Mutex};

    fn env(pairs: &[(&str, &str)]) -> Environment {
        pairs.iter().copied().collect()
    }

    #[test]
    fn the_flag_counts_before_the_variables() {
        let level = |flag, vars: &[(&str, &str)]| filter(flag, &env(vars), Loudness::Usual).unwrap().0.default_level();
        let vars = [("MCP_LOG_LEVEL", "warn"), ("RUST_LOG", "debug")];
        assert_eq!(level(Some("trace"), &vars), Some(LevelFilter::TRACE));
        assert_eq!(level(None, &vars), Some(LevelFilter::WARN));
        assert_eq!(level(None, &vars[1..]), Some(LevelFilter::DEBUG));
        assert_eq!(level(None, &[("RUST_LOG", "")]), Some(LevelFilter::INFO));
    }

    #[test]
    fn quietly_warnings_are_shown_but_not_of_connections_unless_a_level_is_asked_for() {
        let filter = |flag, quiet| filter(flag, &env(&[]), quiet).unwrap().0;
        let quiet = filter(None, Loudness::Beside);
        assert!(quiet.would_enable("mcp_pipe::pipe", &Level::WARN) && !quiet.would_enable("mcp_pipe", &Level::INFO));
        assert!(!quiet.would_enable(RETRIES, &Level::WARN));
        assert!(filter(None, Loudness::Usual).would_enable(RETRIES, &Level::WARN));
        assert!(filter(Some("warn"), Loudness::Beside).would_enable(RETRIES, &Level::WARN));
        let silent = filter(None, Loudness::Silent);
        assert!(!silent.would_enable("mcp_pipe::pipe", &Level::ERROR));
        assert!(filter(Some("info"), Loudness::Silent).would_enable("mcp_pipe", &Level::INFO));
    }

    #[test]
    fn a_list_sets_parts_apart() {
        let (filter, _) = filter(Some("warn,mcp_pipe::link=debug"), &env(&[]), Loudness::Usual).unwrap();
        assert!(filter.would_enable("mcp_pipe::link", &Level::DEBUG));
        assert!(!filter.would_enable("mcp_pipe::server", &Level::INFO));
    }

    #[test]
    fn what_only_others_understand_in_rust_log_is_a_warning() {
        let (filter, oddity) = filter(None, &env(&[("RUST_LOG", "hyper")]), Loudness::Usual).unwrap();
        assert_eq!(filter.default_level(), Some(LevelFilter::INFO));
        assert!(oddity.unwrap().to_string().starts_with("RUST_LOG: \"hyper\" is no level"));
    }

    #[test]
    fn a_wrong_level_is_named_with_the_right_ones() {
        let problem = filter(None, &env(&[("MCP_LOG_LEVEL", "inof")]), Loudness::Usual).unwrap_err().to_string();
        assert_eq!(
            problem,
            "MCP_LOG_LEVEL: \"inof\" is no level; did you mean info? levels are \
             off, error, warn, info, debug, trace; for one part: mcp_pipe::link=debug"
        );
    }

    #[test]
    fn an_endpoint_in_the_place_of_a_level_is_not_shown() {
        let problem = filter(Some("wss://h/?token=s3cret"), &env(&[]), Loudness::Usual).unwrap_err().to_string();
        assert!(problem.starts_with("--log-level: is an endpoint") && !problem.contains("s3cret"), "{problem}");
    }

    /// What `log` writes while `secrets` are secret.
    fn written(looks: Looks, secrets: &[&str], log: impl FnOnce()) -> String {
        let written = Arc::new(Mutex::new(String::new()));
        let sink = Arc::clone(&written);
        let redactor = Redactor::default();
        let write = move |line: &str| sink.lock().unwrap().push_str(line);
        let shown = LogLevel::of(Targets::new().with_default(LevelFilter::TRACE));
        let lines = Lines { looks, redactor: redactor.clone(), shown, write, keep: Keep::default() };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
            redactor.add(secrets.iter().map(|text| Secret::new(*text)));
            log();
        });
        written.lock().unwrap().clone()
    }

    #[test]
    fn a_line_names_the_server_of_its_span_and_holds_no_secret() {
        let text = written(Looks::Text { time: false }, &["s3cret", "token=s3cret"], || {
            let _pipe = tracing::info_span!("pipe", server = %"calculator").entered();
            tracing::trace!(target: "library", request = "GET /?token=s3cret", "sending");
            tracing::warn!(event = "SERVER_STDERR", server = "time", ok = true, "it said {}\n{}", "s3cret", "x");
        });
        assert_eq!(
            text,
            "TRACE [calculator] library: sending request=\"GET /?…\"\n\
             WARN  [time] it said …\\nx event=SERVER_STDERR\n"
        );
    }

    #[test]
    fn a_secret_that_is_also_a_key_leaves_json_whole_and_is_hidden_in_every_text() {
        let secrets = ["server", "message", "fields", "\"},{}\"", "se\"cr\\et", "42"];
        let text = written(Looks::Json, &secrets, || {
            let server = tracing::info_span!("pipe", server = "a server").entered();
            tracing::error!(event = "E server", request = ?"se\"cr\\et server", pid = 42, "message se\"cr\\et \"}},{{}}\"");
            drop(server);
        });
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        let of = |name: &str| line[name].as_str().unwrap().to_owned();
        assert_eq!([of("event"), of("server"), of("message")], ["E …", "a …", "… … …"]);
        assert_eq!(line["fields"]["pid"], 42);
        assert!(!line["fields"]["request"].as_str().unwrap().contains("server"), "{text}");
    }
}
