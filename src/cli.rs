//! Flags, subcommands and their help. Nothing here acts; the options of a run are in `config::options`.

pub(crate) mod bring;
pub(crate) mod orders;
mod slips;
pub(crate) mod upkeep;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

use self::bring::BringCommand;
use self::orders::OrderCommand;
use self::upkeep::UpkeepCommand;
use crate::config::Environment;
use crate::config::defaults::{LOG_LEVEL, LOG_LEVEL_BESIDE, STATUS_WAIT};
use crate::config::options::{CommandLine, Options, ServeArgs, Target, default_texts};
use crate::config::units;
pub use crate::doctor::clients::Client;
use crate::endpoint::{is_placeholder, is_variable, looks_like_endpoint, looks_like_token};
use crate::exam::Suite;
use crate::secrecy::{Secret, address};

const EXAMPLES: &str = "\
Examples:
  mcp-pipe --local                        every server of mcp_config.json, no account, no network
  mcp-pipe                                the same servers on the endpoint in MCP_ENDPOINT or .env
  mcp-pipe calculator                     one server of the config
  mcp-pipe calculator.py                  one script
  mcp-pipe -- npx -y some-server --flag   any command
  mcp-pipe tools calculator               what it offers
  mcp-pipe tools --size                   how much of an assistant's context the tools take
  mcp-pipe --mode multiplex               all servers of an endpoint on one connection
  mcp-pipe call calculator add '{\"a\":2,\"b\":3}'
  mcp-pipe test                           whether the servers do what clients need
  mcp-pipe serve                          all servers for the MCP clients of this machine, over HTTP
  mcp-pipe stdio                          the same on stdin and stdout, for a client that starts it
  mcp-pipe status                         what a running mcp-pipe does
  mcp-pipe logs -f                        what it says
  mcp-pipe tap                            the messages that pass
  mcp-pipe log-level debug --for 10m      more of it, for a while
  mcp-pipe sessions                       which MCP clients use its gateway
  mcp-pipe restart calculator             one of its servers anew, while the rest runs
  mcp-pipe validate                       what is wrong with the config, before anything starts
  mcp-pipe import                         what other programs have as servers, and how to take it over
  mcp-pipe connect cursor                 how an MCP client comes to use mcp-pipe
  mcp-pipe login notion                   log in at a remote server that wants a person to

A server whose name is also a command (tools, serve, status, stop, config …) is run with: mcp-pipe run NAME";

const RUN_EXAMPLES: &str = "\
Examples:
  mcp-pipe run --local     every server of mcp_config.json, no account, no network
  mcp-pipe run tools       the server of the config that is called tools";

const SERVE_EXAMPLES: &str = "\
Examples:
  mcp-pipe serve                          every server of mcp_config.json, for the MCP clients of this machine
  mcp-pipe serve calculator               one server of the config
  mcp-pipe serve --listen 127.0.0.1:9000  at another address
  mcp-pipe serve --listen :8765           for other machines, too: the config has the keys (\"apiKeys\" in \"gateway\")
  mcp-pipe serve -- npx -y some-server    any command

Endpoints of the config are served as well. The config's \"gateway\" says who is let in and how much there may be.";

const STDIO_EXAMPLES: &str = "\
Examples:
  mcp-pipe stdio                          all servers: those of the mcp-pipe that runs, or if none runs those of mcp_config.json
  mcp-pipe stdio --server calculator      one of them, its tools under their own names
  mcp-pipe stdio --config FILE            those of the mcp-pipe that runs with this config, or if none does those of the config

For MCP clients that start their servers, such as Claude Desktop: {\"command\": \"mcp-pipe\", \"args\": [\"stdio\"]}. It ends with its client.

Exit code: 0 the client has ended, 1 the mcp-pipe with the servers has, 2 no such server or several mcp-pipes, 78 the config is wrong";

const TOOLS_EXAMPLES: &str = "\
Examples:
  mcp-pipe tools                          the tools of every server of mcp_config.json
  mcp-pipe tools calculator --json        those of one server, for a program
  mcp-pipe tools --size                   how much of an assistant's context they take
  mcp-pipe tools --published              their names where all servers share one connection
  mcp-pipe tools -- npx -y some-server    those of any command";

const CALL_EXAMPLES: &str = "\
Examples:
  mcp-pipe call calculator add '{\"a\":2,\"b\":3}'
  echo '{\"a\":2,\"b\":3}' | mcp-pipe call calculator add -";

const TEST_EXAMPLES: &str = "\
Examples:
  mcp-pipe test                           every server of mcp_config.json: does it start, and offer what clients can take?
  mcp-pipe test server.py                 one script
  mcp-pipe test time --suite protocol     also what it does with wrong requests, with many at once, and at a restart
  mcp-pipe test --json                    for a program
  mcp-pipe test -- npx -y some-server     any command

No tool is called that is not marked readOnlyHint: true.
Exit code: 0 nothing failed (a warning is no failure), 1 something did, 2 no such server, 78 the config is wrong";

const REPLAY_EXAMPLES: &str = "\
Examples:
  mcp-pipe tap time --save calls.jsonl --contents   while a mcp-pipe runs: keep the calls of a server, and their answers
  mcp-pipe replay calls.jsonl time                  make them again: is each answered in the same shape?
  mcp-pipe replay calls.jsonl server.py             the same at another version of it
  mcp-pipe replay calls.jsonl time --all            calls of tools, too, that may change something

Types and members of an answer are compared, the kinds of its contents, and errors; texts, numbers and lengths are not.
Exit code: 0 all that was compared is the same, 1 something is not, had no answer, or nothing was compared, 2 no such server, or a
file that can't be used, 78 the config is wrong";

const STATUS_EXAMPLES: &str = "\
Examples:
  mcp-pipe status                         each server and endpoint of the mcp-pipe that runs, and what is wrong
  mcp-pipe status calculator              one server, and the endpoints that see it
  mcp-pipe status --json                  the same for a program; docs/status.schema.json describes it
  mcp-pipe status --watch                 at a terminal all of it, else each line that changes
  mcp-pipe status --wait                  until all serves, 2 min at most; --wait=10s: 10 s at most
  mcp-pipe status --config FILE           of the one that runs with this config

Exit code: 0 all that is wanted serves (an endpoint that is connected and has not asked for anything yet is well), 1 something
does not, or the config has mistakes, 2 no such server or endpoint, or several mcp-pipes, 3 none runs";

const LOGS_EXAMPLES: &str = "\
Examples:
  mcp-pipe logs                           the last lines of each server, and what its server writes to stderr
  mcp-pipe logs calculator -n 20          the last 20 about one server
  mcp-pipe logs -f                        those, and each further line as it comes
  mcp-pipe logs -f --json | jq .message   the same for a program

Exit code: 0 done, 1 it has broken off, 2 no such server or several mcp-pipes, 3 none runs";

const TAP_EXAMPLES: &str = "\
Examples:
  mcp-pipe tap                            each message: at the endpoints and clients, and at the servers
  mcp-pipe tap calculator                 what one server is told, and says
  mcp-pipe tap 'get_*'                    calls of tools of such names, and their answers
  mcp-pipe tap --contents                 the messages themselves, too
  mcp-pipe tap --save calls.jsonl         and all of it in a file

NAME → is what NAME says, NAME ← what it is told; an answer has the time since its request, and how it went.
Exit code: 0 it has ended, 1 it has broken off, 2 several mcp-pipes run or the file can't be written, 3 none runs";

const DOCTOR_EXAMPLES: &str = "\
Examples:
  mcp-pipe doctor                         what keeps anything from being served, its cause first; 12 s at most
  mcp-pipe doctor --json                  the same for a program; see docs/DOCTOR.md
  mcp-pipe doctor --client cursor         and what this client can't take
  mcp-pipe doctor --dial                  and whether endpoints take their tokens: a connection that holds one may be lost by that
  mcp-pipe doctor --compare host.json     and what is different there, where it was called with --json > host.json
  mcp-pipe doctor --bundle report.txt     and all of it in a file for whoever helps, without secrets; --print shows that

It asks a mcp-pipe that runs with the config, and starts servers only where none does. Without --dial an endpoint is asked for a page only.
Exit code: 0 nothing keeps mcp-pipe from serving, 1 something does (the root causes say what), 2 the command line is wrong";

const SESSIONS_EXAMPLES: &str = "\
Examples:
  mcp-pipe sessions                       who has a session at the gateway: a line each, its name in front
  mcp-pipe sessions --json                the same for a program
  mcp-pipe sessions end 3f9a2c17d0        ends the session of this name; the beginning of the name will do
  mcp-pipe sessions end --all             ends all, also those from before a restart; clients begin anew by themselves

Exit code: 0 done, 1 not (with the reason), 2 no such session or several mcp-pipes, 3 none runs";

const LOG_LEVEL_EXAMPLES: &str = "\
Examples:
  mcp-pipe log-level                              which one counts
  mcp-pipe log-level debug --for 10m              each message, for ten minutes; then as it was
  mcp-pipe log-level info,mcp_pipe::link=debug    one part of mcp-pipe, until somebody says otherwise

It is forgotten when mcp-pipe ends: MCP_LOG_LEVEL, or the option of that name, says from which level on a start shows lines.

Exit code: 0 done, 2 no such level or several mcp-pipes, 3 none runs";

const HEALTH_EXAMPLES: &str = "\
Examples:
  mcp-pipe health                                       the mcp-pipe that runs
  mcp-pipe health --control-socket /run/mcp-pipe.sock   the one that was started with this socket";

const VALIDATE_EXAMPLES: &str = "\
Examples:
  mcp-pipe validate                       the config that a run would take, with .env and the environment
  mcp-pipe validate --local               the same without an endpoint, as for mcp-pipe --local
  mcp-pipe validate other.json --strict   another one; warnings count as well
  mcp-pipe validate --json                for a program: see docs/VALIDATE.md

Exit code: 0 nothing would keep mcp-pipe from starting, 2 an option or a variable that stands for one is wrong, and the config is not,
78 the config is wrong (with --strict: or there is a warning)";

const LOGIN_EXAMPLES: &str = "\
Examples:
  mcp-pipe login notion                   prints an address; the login is kept in the state folder (stateDir in the config)
  mcp-pipe restart notion                 has a mcp-pipe that runs use it at once

Exit code: 0 logged in (or the server lets anybody in), 1 not (with the reason), 2 no server at which one can log in, 78 the
config is wrong";

const LOGOUT_EXAMPLES: &str = "\
Examples:
  mcp-pipe logout notion                  forgets the login here; the authorization server is not told

Exit code: 0 there is none any more, 1 it can't be removed, 2 no server at which one can log in, 78 the config is wrong";

const CONFIG_EXAMPLES: &str = "\
Examples:
  mcp-pipe config show                    every value that counts, and where it comes from
  mcp-pipe config show --config FILE      of another config
  mcp-pipe config show --last-good        of the last one with which a server ran: after a mistake, or a change that was none for the better
  mcp-pipe config schema > schema.json    for an editor, which then knows the keys";

/// The options of `tools`, `call`, `test` and `replay`, which start servers as any run does, on an endpoint of our own.
const LOOKING: &[&str] =
    &["config", "start_timeout", "max_frame_size", "drain_timeout", "log_level", "log_format", "log_contents"];
/// The options of `stdio`, which asks a running mcp-pipe, or runs servers as any run does, on no endpoint.
const ON_STDIO: &[&str] = &[
    "config",
    "control_socket",
    "start_timeout",
    "max_frame_size",
    "drain_timeout",
    "cache_dir",
    "log_level",
    "log_format",
    "log_contents",
];
/// The options of `login` and `logout`.
const LOGGING_IN: &[&str] = &["config", "log_level", "log_format"];
/// The commands whose log has only warnings: what they print is what is to be read.
const QUIET: &[&str] = &["tools", "call", "test", "replay", "login", "logout"];
/// The options that `validate` and `config` don't take: they log nothing, and nobody asks them.
const RUNNING: &[&str] =
    &["log_level", "log_format", "log_contents", "control_socket", "status_socket", "metrics_file"];
/// The options that `doctor` doesn't take: it answers nobody.
const NOT_OF_DOCTOR: &[&str] = &["log_format", "log_contents", "status_socket", "metrics_file"];
/// The options of `status`, `logs`, `tap`, `sessions`, `log-level` and the orders: they start nothing.
const ASKING: &[&str] = &["config", "control_socket"];

/// Serves MCP servers (programs that speak JSON-RPC on stdin and stdout) on WebSocket endpoints
#[derive(Debug, Parser)]
#[command(name = "mcp-pipe", version, after_help = EXAMPLES, subcommand_help_heading = "Commands")]
#[command(override_usage = "mcp-pipe [OPTIONS] [TARGET | -- CMD ARGS…]\n       mcp-pipe [OPTIONS] COMMAND …")]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    target: TargetArgs,
    /// The options; `run` takes all of them, other commands some.
    #[command(flatten)]
    pub options: Options,
}

/// What to do.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Run servers until told to stop (what happens without a command, too)
    #[command(after_help = RUN_EXAMPLES)]
    Run(TargetArgs),
    /// Run servers, and offer them to MCP clients over HTTP
    #[command(after_help = SERVE_EXAMPLES)]
    Serve {
        /// Which servers.
        #[command(flatten)]
        target: TargetArgs,
        /// Where they are offered.
        #[command(flatten)]
        gateway: ServeArgs,
    },
    /// Offer the servers as one MCP server on standard input and output, for a client that starts it: those of the mcp-pipe that
    /// runs, else those of the config
    #[command(after_help = STDIO_EXAMPLES)]
    Stdio {
        /// Only this server, under its own names
        #[arg(long, value_name = "NAME")]
        server: Option<String>,
    },
    /// Start servers, print the tools that they offer, and end
    #[command(after_help = TOOLS_EXAMPLES)]
    Tools {
        /// Which servers.
        #[command(flatten)]
        target: TargetArgs,
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
        /// Print how much of an assistant's context the tools take: bytes, and tokens by estimate, the largest first; as
        /// servers offer them and as they are published
        #[arg(long)]
        size: bool,
        /// Print what an endpoint calls the tools if all servers share one connection
        #[arg(long, conflicts_with = "size")]
        published: bool,
    },
    /// Start a server, call one of its tools through the whole pipe, print the result, and end
    #[command(after_help = CALL_EXAMPLES)]
    Call {
        /// A server name in the config, or a script
        server: String,
        /// The tool's name
        tool: String,
        /// Its arguments: a JSON object, or - to read it from standard input [default: {}]
        #[arg(value_name = "ARGS_JSON")]
        arguments: Option<String>,
    },
    /// Start servers, check whether they do what MCP clients need, print what came of that, and end
    #[command(after_help = TEST_EXAMPLES)]
    Test {
        /// Which servers.
        #[command(flatten)]
        target: TargetArgs,
        /// Which checks: smoke (does it start, and offer what clients can take?), or protocol (those, and wrong requests, many at
        /// once, a restart, the end)
        #[arg(long, value_enum, value_name = "smoke|protocol", default_value = "smoke", hide_possible_values = true)]
        suite: Suite,
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Start a server, make calls again that mcp-pipe tap recorded, compare the shapes of the answers, and end
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay {
        /// The file that mcp-pipe tap --save FILE --contents wrote
        file: PathBuf,
        /// A server name in the config, or a script
        server: String,
        /// Call also tools that are not marked readOnlyHint: true; they may change something
        #[arg(long)]
        all: bool,
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Ask a running mcp-pipe what each server and each endpoint does
    #[command(after_help = STATUS_EXAMPLES)]
    Status {
        /// Only this server, or this endpoint
        #[arg(value_name = "SERVER | ENDPOINT")]
        name: Option<String>,
        /// Print JSON instead of words
        #[arg(long)]
        json: bool,
        /// Go on whenever something changes, until it or you end
        #[arg(long)]
        watch: bool,
        /// Wait until all that is wanted serves, so long at most, also for a mcp-pipe to come up
        #[arg(long, value_name = "TIME", value_parser = units::duration, num_args = 0..=1, require_equals = true)]
        #[arg(default_missing_value = STATUS_WAIT, conflicts_with = "watch")]
        wait: Option<Duration>,
        /// What servers did in the last 24 hours
        #[arg(long, conflicts_with_all = ["watch", "wait"])]
        history: bool,
    },
    /// Print the last lines of a running mcp-pipe's log
    #[command(after_help = LOGS_EXAMPLES)]
    Logs {
        /// Only lines about this server
        server: Option<String>,
        /// Go on with each further line, until it or you end
        #[arg(short, long)]
        follow: bool,
        /// Only the last so many lines [default: all that it keeps]
        #[arg(short = 'n', long = "lines", value_name = "N")]
        lines: Option<u64>,
        /// Print them as a JSON log has them: an object a line
        #[arg(long)]
        json: bool,
    },
    /// Show the messages of a running mcp-pipe as they pass, and clients that its gateway refuses
    #[command(after_help = TAP_EXAMPLES)]
    Tap {
        /// Only messages of servers, and about tools, of this name (* stands for any text)
        #[arg(value_name = "SERVER | TOOL")]
        pattern: Option<String>,
        /// Print the messages themselves as well: arguments and results may be private
        #[arg(long)]
        contents: bool,
        /// Keep all of it as JSON in this new file, too
        #[arg(long, value_name = "FILE")]
        save: Option<PathBuf>,
        /// Print a JSON object a line instead of words
        #[arg(long)]
        json: bool,
    },
    /// Find out why something is not served: the root cause first, with what to do
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor(DoctorArgs),
    /// Ask a running mcp-pipe which MCP clients have sessions at its gateway, or end some
    #[command(after_help = SESSIONS_EXAMPLES)]
    Sessions {
        /// What to do: end (a session); without it they are listed
        #[arg(value_enum, value_name = "end", hide_possible_values = true)]
        part: Option<SessionsPart>,
        /// With end: which one, by its name or the beginning of that
        #[arg(value_name = "NAME", conflicts_with_all = ["all", "json"])]
        name: Option<String>,
        /// With end: all of them
        #[arg(long, requires = "part", conflicts_with = "json")]
        all: bool,
        /// Print JSON instead of words
        #[arg(long, conflicts_with = "part")]
        json: bool,
    },
    /// Tell a running mcp-pipe from which level on to show lines in its log, or ask it
    #[command(after_help = LOG_LEVEL_EXAMPLES)]
    LogLevel {
        /// off, error, warn, info, debug or trace; for one part: mcp_pipe::link=debug [default: only ask]
        #[arg(value_name = "LEVEL")]
        level: Option<String>,
        /// For so long; then the level of the start counts again [default: until somebody says otherwise]
        #[arg(long = "for", value_name = "TIME", value_parser = units::duration_from_1s, requires = "level")]
        within: Option<Duration>,
    },
    /// Tell a running mcp-pipe to do something.
    #[command(flatten)]
    Order(OrderCommand),
    /// Bring servers here, or other programs to them.
    #[command(flatten)]
    Bring(BringCommand),
    /// Ask a running mcp-pipe whether it serves; exit code 0 or 1
    #[command(after_help = HEALTH_EXAMPLES)]
    Health,
    /// Log in at a remote server that wants a person to, once: mcp-pipe prints an address for a browser, keeps the login and renews it
    #[command(after_help = LOGIN_EXAMPLES)]
    Login {
        /// A server in the config that has a url
        server: String,
    },
    /// Forget the login at a remote server
    #[command(after_help = LOGOUT_EXAMPLES)]
    Logout {
        /// A server in the config that has a url
        server: String,
    },
    /// Say what is wrong with the config, without starting anything
    #[command(after_help = VALIDATE_EXAMPLES)]
    Validate {
        /// The config file, in place of --config
        #[arg(conflicts_with = "config")]
        file: Option<PathBuf>,
        /// Fail for warnings, too
        #[arg(long)]
        strict: bool,
        /// Print JSON instead of words
        #[arg(long)]
        json: bool,
    },
    /// Keep mcp-pipe on this machine.
    #[command(flatten)]
    Upkeep(UpkeepCommand),
    /// Print the config as it counts, or the JSON Schema of the file
    #[command(after_help = CONFIG_EXAMPLES)]
    Config {
        /// What to print: show (every value that counts, and where it comes from), or schema (the JSON Schema of the file)
        #[arg(value_enum, value_name = "show|schema", hide_possible_values = true)]
        part: ConfigPart,
        /// With show: the last config with which a server ran, as it was written then
        #[arg(long)]
        last_good: bool,
        /// Print JSON instead of words
        #[arg(long)]
        json: bool,
    },
}

/// What `doctor` looks at.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct DoctorArgs {
    /// Print JSON instead of words
    #[arg(long)]
    pub json: bool,
    /// Also what this MCP client needs, and can't take: one of those of connect, home-assistant, open-webui or xiaozhi
    #[arg(long, value_name = "NAME", hide_possible_values = true, value_parser = PossibleValuesParser::new(Client::names()).try_map(|name| Client::named(&name)))]
    pub client: Option<Client>,
    /// Dial each endpoint that is not connected to: that may end the connection of another program with the same token
    #[arg(long)]
    pub dial: bool,
    /// Also what is different on another side, whose report (--json) this file is: container and host, or two machines
    #[arg(long, value_name = "FILE")]
    pub compare: Option<PathBuf>,
    /// Put all of it into this new file, for whoever helps: without secrets, 1 MiB at most
    #[arg(long, value_name = "FILE")]
    pub bundle: Option<PathBuf>,
    /// Print what such a file would hold
    #[arg(long, conflicts_with_all = ["json", "bundle"])]
    pub print: bool,
}

/// What `sessions` does besides listing them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SessionsPart {
    /// End some.
    End,
}

/// What `config` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ConfigPart {
    /// Every value that counts, and where it comes from.
    Show,
    /// The JSON Schema of the file, for editors.
    Schema,
}

/// Which servers, as written.
#[derive(Debug, Clone, Default, Args)]
pub struct TargetArgs {
    /// Only this server: a name in the config, or a script (.py, .js, .mjs, .cjs, or an executable file)
    target: Option<String>,
    /// Taken to be told about: one server is all that can be named.
    #[arg(hide = true)]
    more: Vec<String>,
    /// Only the server that this command starts
    #[arg(last = true, value_name = "CMD", conflicts_with = "target")]
    line: Vec<String>,
}

impl Cli {
    /// Which servers take part, whatever the command is.
    pub fn target(&self) -> Target<'_> {
        if let Some(
            Command::Call { server, .. }
            | Command::Replay { server, .. }
            | Command::Login { server }
            | Command::Logout { server },
        ) = &self.command
        {
            return Target::Named(server);
        }
        if let Some(Command::Upkeep(upkeep)) = &self.command
            && let Some(server) = upkeep.server()
        {
            return Target::Named(server);
        }
        let written = self.written();
        match (&written.target, written.line.as_slice()) {
            (Some(name), _) => Target::Named(name),
            (None, []) => Target::All,
            (None, line) => Target::Line(line),
        }
    }

    /// The target as written, behind its command if there is one.
    fn written(&self) -> &TargetArgs {
        match &self.command {
            Some(
                Command::Run(target)
                | Command::Serve { target, .. }
                | Command::Tools { target, .. }
                | Command::Test { target, .. },
            ) => target,
            Some(
                Command::Call { .. }
                | Command::Replay { .. }
                | Command::Stdio { .. }
                | Command::Status { .. }
                | Command::Logs { .. }
                | Command::Tap { .. }
                | Command::Doctor(_)
                | Command::Sessions { .. }
                | Command::LogLevel { .. }
                | Command::Order(_)
                | Command::Bring(_)
                | Command::Validate { .. }
                | Command::Config { .. }
                | Command::Login { .. }
                | Command::Logout { .. }
                | Command::Upkeep(_)
                | Command::Health,
            )
            | None => &self.target,
        }
    }

    /// What the command line says about the config.
    pub fn line(&self) -> CommandLine<'_> {
        let command = self.command.as_ref().map(|command| match command {
            Command::Run(_) => "run",
            Command::Serve { .. } => "serve",
            Command::Stdio { .. } => "stdio",
            Command::Tools { .. } => "tools",
            Command::Call { .. } => "call",
            Command::Test { .. } => "test",
            Command::Replay { .. } => "replay",
            Command::Status { .. } => "status",
            Command::Logs { .. } => "logs",
            Command::Tap { .. } => "tap",
            Command::Doctor(_) => "doctor",
            Command::Sessions { .. } => "sessions",
            Command::LogLevel { .. } => "log-level",
            Command::Order(order) => order.name(),
            Command::Bring(bring) => bring.name(),
            Command::Health => "health",
            Command::Login { .. } => "login",
            Command::Logout { .. } => "logout",
            Command::Validate { .. } => "validate",
            Command::Config { .. } => "config",
            Command::Upkeep(upkeep) => upkeep.name(),
        });
        let target = self.target();
        // Only a name may be a slip of one, and to define the command line once more takes its time.
        let commands = if let Target::Named(_) = target {
            self::command().get_subcommands().map(|command| command.get_name().to_owned()).collect()
        } else {
            Vec::new()
        };
        let serve = if let Some(Command::Serve { gateway, .. }) = &self.command { Some(*gateway) } else { None };
        let (options, local) = (&self.options, self.is_local());
        CommandLine { text: None, options, target, local, serve, more: &self.written().more, command, commands }
    }

    /// What to do.
    pub fn action(&self) -> Command {
        self.command.clone().unwrap_or_else(|| Command::Run(self.target.clone()))
    }

    /// Whether the servers are served on an endpoint of our own: by `--local`, or because `tools` and `call` look at servers
    /// and not at an account.
    pub fn is_local(&self) -> bool {
        let needs_none = |command: &Command| match command {
            Command::Tools { .. } | Command::Call { .. } | Command::Login { .. } | Command::Logout { .. } => true,
            Command::Stdio { .. } | Command::Test { .. } | Command::Replay { .. } => true,
            Command::Run(_) | Command::Serve { .. } => false,
            Command::Status { .. } | Command::Logs { .. } | Command::Order(_) | Command::Health => false,
            Command::Sessions { .. } | Command::Tap { .. } | Command::LogLevel { .. } => false,
            Command::Validate { .. } | Command::Config { .. } | Command::Doctor(_) | Command::Bring(_) => false,
            Command::Upkeep(upkeep) => upkeep.is_local(),
        };
        self.options.local || self.command.as_ref().is_some_and(needs_none)
    }

    /// The arguments that must not stay in the process list: an endpoint, also where something else belongs.
    pub fn secrets(&self) -> Vec<&str> {
        let target = match self.target() {
            Target::Named(name) => Some(name),
            Target::Line(line) => line.first().map(String::as_str),
            Target::All => None,
        };
        let asked = match &self.command {
            Some(Command::Status { name: asked, .. } | Command::Logs { server: asked, .. }) => asked.as_deref(),
            Some(Command::Stdio { server }) => server.as_deref(),
            Some(Command::Sessions { name, .. }) => name.as_deref(),
            Some(Command::Tap { pattern, .. }) => pattern.as_deref(),
            Some(Command::LogLevel { level, .. }) => level.as_deref(),
            Some(Command::Validate { file, .. }) => file.as_deref().and_then(Path::to_str),
            Some(Command::Replay { file, .. }) => file.to_str(),
            Some(Command::Order(order)) => order.about(),
            Some(Command::Bring(bring)) => bring.about(),
            Some(Command::Run(_) | Command::Serve { .. } | Command::Tools { .. } | Command::Call { .. }) => None,
            Some(Command::Doctor(args)) => args.compare.as_deref().or(args.bundle.as_deref()).and_then(Path::to_str),
            Some(Command::Health | Command::Test { .. }) | None => None,
            Some(Command::Upkeep(_) | Command::Config { .. } | Command::Login { .. } | Command::Logout { .. }) => None,
        };
        let Options { config, control_socket, status_socket, metrics_file, ca_file, cache_dir, log_level, .. } =
            &self.options;
        let paths = [config, control_socket, status_socket, metrics_file, ca_file];
        let paths = paths.into_iter().flatten().filter_map(|path| path.to_str());
        let others = cache_dir.iter().filter_map(|path| path.to_str()).chain(log_level.as_deref());
        let given = target.into_iter().chain(asked).chain(paths).chain(others);
        let misplaced = given.filter(|text| looks_like_endpoint(text) || looks_like_token(text));
        self.options.endpoint.iter().map(Secret::reveal).chain(misplaced).collect()
    }
}

/// What is secret in arguments and in our own variables, also where something else belongs: known before anything can fail. A
/// placeholder is no secret, and whoever left one in has to find it in the error.
pub fn secrets_given(arguments: impl IntoIterator<Item = OsString>, variables: &Environment) -> Vec<Secret> {
    let ours = variables.iter().filter(|(name, _)| name.to_string_lossy().starts_with("MCP_"));
    let given = arguments.into_iter().chain(ours.map(|(_, value)| value.to_owned()));
    let texts = given.map(|text| text.to_string_lossy().into_owned()).filter(|text| !is_placeholder(text));
    texts
        .flat_map(|text| if looks_like_token(&text) { vec![Secret::new(text)] } else { address::in_text(&text) })
        .filter(|secret| !is_variable(secret.reveal()))
        .collect()
}

/// Reads the command line.
///
/// # Errors
/// What clap says about a wrong command line; also `--help` and `--version`, which are errors to clap.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let mut command = command_for(|name| arguments.iter().any(|argument| argument == name));
    if let Some(odd) = slips::dashes(&command, &arguments) {
        return Err(self::command().error(ErrorKind::UnknownArgument, odd));
    }
    let read = command.try_get_matches_from_mut(&arguments);
    let matches = read.map_err(|error| slips::explain(error, &command, &arguments))?;
    let mut cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
    if let Some(Command::Validate { file: Some(file), .. }) = &cli.command {
        cli.options.config = Some(file.clone());
        cli.options.config_is_argument = true;
    }
    let conflict = |text: String| Err(self::command().error(ErrorKind::ArgumentConflict, text));
    if cli.command.is_some() && (cli.target.target.is_some() || !cli.target.line.is_empty()) {
        let program = slips::program(&self::command(), &arguments);
        return conflict(program.unwrap_or_else(|| {
            "a target stands behind its command, for example: mcp-pipe tools calculator".to_owned()
        }));
    }
    if let Some(Command::Status { name: Some(name), wait: Some(_), .. }) = &cli.command
        && units::duration(name).is_ok()
    {
        return conflict(format!("a time stands behind an equals sign: mcp-pipe status --wait={name}"));
    }
    if let Some(Command::Sessions { part: Some(SessionsPart::End), name: None, all: false, .. }) = &cli.command {
        return conflict(
            "name the session that is to end, or all of them with --all: mcp-pipe sessions end NAME".to_owned(),
        );
    }
    if let Some(Command::Upkeep(upkeep)) = &cli.command
        && let Some(text) = upkeep.conflict()
    {
        return conflict(text.to_owned());
    }
    if let Some(Command::Config { part: ConfigPart::Schema, last_good: true, .. }) = &cli.command {
        return conflict("the schema is that of any config; leave --last-good out".to_owned());
    }
    if let Some(Command::Call { server, .. }) = &cli.command
        && slips::is_program_to_call(&arguments, server)
    {
        return conflict(
            "call takes a server of the config or a script, then a tool and its arguments: mcp-pipe call SERVER TOOL '{…}'; \
             a program with arguments of its own is written into a config first"
                .to_owned(),
        );
    }
    if let Some(word) = cli.written().more.first()
        && !slips::are_names(cli.written())
    {
        return Err(slips::explain(slips::unexpected(&command, word), &command, &arguments));
    }
    match without_effect(&command, &matches) {
        Some(text) => conflict(text),
        None => Ok(cli),
    }
}

/// The definition of the command line, for whoever completes or describes it.
pub fn whole() -> clap::Command {
    command()
}

/// The definition of the command line. The help of a command lists only options that the command takes.
fn command() -> clap::Command {
    command_for(|_| true)
}

/// The same, where only these commands are of interest: the definition of the others is not complete. A daemon keeps the memory of
/// all of it.
fn command_for(is_wanted: impl Fn(&str) -> bool) -> clap::Command {
    let mut command = Cli::command();
    for (option, default) in default_texts() {
        command = command.mut_arg(option, |option| {
            let help = option.get_help().map_or_else(String::new, ToString::to_string);
            option.help(format!("{help} [default: {default}]"))
        });
    }
    let all: Vec<_> = command.get_arguments().filter(|option| option.is_global_set()).cloned().collect();
    let names: Vec<_> = command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    for name in names.into_iter().filter(|name| is_wanted(name)) {
        let others = all.iter().filter(|option| !takes(&name, option.get_id().as_str()));
        let hidden: Vec<_> = others.cloned().map(|option| option.hide(true)).collect();
        // Who asks names a config to say which mcp-pipe is meant; none counts by itself.
        let is_config = |option: &&clap::Arg| option.get_id() == "config" && asks(&name);
        let config = all.iter().find(is_config).cloned();
        let config = config.map(|option| {
            option.help("Only the mcp-pipe that runs with this config file [env: MCP_CONFIG] [default: any]")
        });
        let own = match &*name {
            "doctor" => Some(tracing::level_filters::LevelFilter::OFF),
            name => QUIET.contains(&name).then_some(LOG_LEVEL_BESIDE),
        };
        let is_level = |option: &&clap::Arg| option.get_id() == "log_level" && own.is_some();
        let level = all.iter().find(is_level).cloned().map(|option| {
            let help = option.get_help().map_or_else(String::new, ToString::to_string);
            option.help(help.replace(&of_level(LOG_LEVEL), &of_level(own.unwrap_or(LOG_LEVEL))))
        });
        let hidden: Vec<_> = hidden.into_iter().chain(config).chain(level).collect();
        command = command.mut_subcommand(name, |command| command.args(hidden));
    }
    command
}

/// What the help says of the default level of the log.
fn of_level(level: tracing::level_filters::LevelFilter) -> String {
    format!("[default: {level}]")
}

/// Whether a command asks a running mcp-pipe, or tells it something, and starts nothing.
fn asks(command: &str) -> bool {
    ["status", "logs", "tap", "sessions", "log-level", "health"].contains(&command) || orders::NAMES.contains(&command)
}

/// Whether an option does anything for a command.
fn takes(command: &str, option: &str) -> bool {
    match command {
        "tools" | "call" | "test" | "replay" => LOOKING.contains(&option),
        "stdio" => ON_STDIO.contains(&option),
        "login" | "logout" => LOGGING_IN.contains(&option),
        name if bring::NAMES.contains(&name) => option == "config",
        "status" | "logs" | "tap" | "sessions" | "log-level" => ASKING.contains(&option),
        "serve" => option != "local",
        "validate" | "config" => !RUNNING.contains(&option),
        "doctor" => !NOT_OF_DOCTOR.contains(&option),
        name if orders::NAMES.contains(&name) => ASKING.contains(&option),
        name if upkeep::NAMES.contains(&name) => upkeep::takes(name, option),
        "health" => ASKING.contains(&option) || option == "status_socket",
        _ => true,
    }
}

/// What to tell about an option that was given and does nothing for the command.
fn without_effect(command: &clap::Command, matches: &ArgMatches) -> Option<String> {
    let name = matches.subcommand_name()?;
    let given = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
    let useless = |option: &&clap::Arg| {
        let id = option.get_id().as_str();
        option.is_global_set() && given(id) && !takes(name, id)
    };
    let option = format!("--{}", command.get_arguments().find(useless)?.get_long()?);
    let why = match (name, &*option) {
        ("health", _) => "asks a running mcp-pipe and takes nothing but --control-socket, --status-socket and --config",
        ("validate" | "config", _) => "starts nothing, and has neither a log nor a socket",
        ("doctor", _) => "prints what it finds, and answers nobody",
        (name, _) if bring::NAMES.contains(&name) => "starts nothing and takes nothing but --config",
        ("login" | "logout", _) => "starts no server and takes nothing but --config, --log-level and --log-format",
        ("status" | "logs" | "tap" | "sessions" | "log-level", _) => {
            "asks a running mcp-pipe and takes nothing but --control-socket and --config"
        }
        (name, _) if orders::NAMES.contains(&name) => {
            "tells a running mcp-pipe something and takes nothing but --control-socket and --config"
        }
        (name, _) if upkeep::NAMES.contains(&name) => upkeep::without_effect(name),
        ("stdio", _) => "serves one client, on standard input and output, and dials no endpoint",
        ("serve", _) => "offers servers at an address for MCP clients, not on an endpoint for a look at them",
        (_, "--local") => "starts servers on this machine in any case and dials no endpoint",
        (_, "--cache-dir") => "shows what servers say now and remembers nothing of it",
        (_, "--status-socket" | "--control-socket") => "answers nobody; a running mcp-pipe does",
        _ => "starts servers on this machine and dials no endpoint",
    };
    Some(format!("{name} {why}; leave {option} out"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::logging::Loudness;

    fn cli(arguments: &[&str]) -> Result<Cli, clap::Error> {
        parse(std::iter::once("mcp-pipe").chain(arguments.iter().copied()).map(OsString::from))
    }

    #[test]
    fn the_definition_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn a_target_is_a_name_a_script_or_a_command_line() {
        assert_eq!(cli(&[]).unwrap().target(), Target::All);
        assert_eq!(cli(&["calculator.py"]).unwrap().target(), Target::Named("calculator.py"));
        assert_eq!(cli(&["run", "tools"]).unwrap().target(), Target::Named("tools"));
        assert_eq!(cli(&["tools", "time", "--json"]).unwrap().target(), Target::Named("time"));
        assert_eq!(cli(&["call", "a", "b"]).unwrap().target(), Target::Named("a"));
        assert_eq!(cli(&["test", "--suite", "protocol", "time"]).unwrap().target(), Target::Named("time"));
        assert_eq!(cli(&["test", "--", "npx", "x"]).unwrap().target(), Target::Line(&["npx".into(), "x".into()]));
        let run = cli(&["--local", "--", "npx", "-y", "x", "--local"]).unwrap();
        assert_eq!(run.target(), Target::Line(&["npx".into(), "-y".into(), "x".into(), "--local".into()]));
        assert!(cli(&["calculator", "tools"]).is_err());
        assert!(cli(&["calculator", "--", "npx"]).is_err());
    }

    #[test]
    fn help_is_a_command_as_well() {
        let help = cli(&["help"]).unwrap_err();
        assert_eq!((help.kind(), help.exit_code()), (ErrorKind::DisplayHelp, 0));
        assert!(help.to_string().contains("mcp-pipe -- npx"), "{help}");
        assert_eq!(cli(&["run", "help"]).unwrap().target(), Target::Named("help"));
        let heath = cli(&["heath"]).unwrap();
        assert_eq!(
            (heath.line().command, heath.line().commands.len()),
            (None, 18 + orders::NAMES.len() + bring::NAMES.len() + upkeep::NAMES.len())
        );
        assert_eq!(cli(&["tools", "heath"]).unwrap().line().command, Some("tools"));
    }

    #[test]
    fn options_stand_before_or_behind_a_command() {
        for line in [["--drain-timeout", "2m", "tools"], ["tools", "--drain-timeout", "2m"]] {
            assert_eq!(cli(&line).unwrap().options.drain_timeout, Some(Duration::from_secs(120)));
        }
    }

    #[test]
    fn tools_and_call_need_no_account() {
        assert!(cli(&["tools"]).unwrap().is_local());
        assert!(cli(&["call", "s", "t"]).unwrap().is_local());
        assert!(cli(&["test"]).unwrap().is_local());
        assert!(cli(&["replay", "f", "s"]).unwrap().is_local());
        assert!(!cli(&[]).unwrap().is_local());
    }

    #[test]
    fn serve_takes_a_target_and_an_address_and_a_server_of_its_name_can_be_run() {
        let serve = cli(&["serve", "--listen", ":80", "calculator"]).unwrap();
        let line = serve.line();
        let listen = line.serve.and_then(|serve| serve.listen).map(|listen| listen.to_string());
        assert_eq!(
            (line.command, line.target, listen),
            (Some("serve"), Target::Named("calculator"), Some("0.0.0.0:80".into()))
        );
        assert!(!line.local && cli(&["serve"]).unwrap().line().serve.is_some_and(|serve| serve.listen.is_none()));
        let run = cli(&["run", "serve"]).unwrap();
        assert_eq!((run.target(), run.line().serve.is_none()), (Target::Named("serve"), true));
        assert_eq!(
            cli(&["serve", "--", "x", "--listen"]).unwrap().target(),
            Target::Line(&["x".into(), "--listen".into()])
        );
        let wrong = cli(&["serve", "--listen", "h:80"]).unwrap_err();
        assert_eq!(wrong.exit_code(), 2);
        assert!(
            wrong.to_string().contains("no name is looked up to listen on; write an address of this machine"),
            "{wrong}"
        );
        let wrong = cli(&["serve", "--local"]).unwrap_err().to_string();
        assert!(
            wrong.contains("serve offers servers at an address for MCP clients") && wrong.contains("leave --local out")
        );
        let wrong = cli(&["run", "--listen", ":80"]).unwrap_err().to_string();
        assert!(wrong.contains("--listen is an option of serve: mcp-pipe serve --listen"), "{wrong}");
    }

    #[test]
    fn an_option_that_does_nothing_for_a_command_is_refused_and_not_listed() {
        let help = |name: &str| cli(&[name, "--help"]).unwrap_err().to_string();
        let all =
            command().get_arguments().filter_map(|option| Some(option.get_long()?.to_owned())).collect::<Vec<_>>();
        assert!(all.len() > 12, "{all:?}");
        for (name, rest) in [
            ("run", &[][..]),
            ("serve", &[]),
            ("stdio", &[]),
            ("tools", &[]),
            ("call", &["s", "t"]),
            ("test", &[]),
            ("replay", &["f", "s"]),
            ("status", &[]),
            ("logs", &[]),
            ("doctor", &[]),
            ("sessions", &[]),
            ("log-level", &[]),
            ("restart", &["s"]),
            ("stop", &["s"]),
            ("start", &["s"]),
            ("pause", &["s"]),
            ("resume", &["s"]),
            ("pin", &["s"]),
            ("next", &[]),
            ("health", &[]),
            ("validate", &[]),
            ("config", &["show"]),
            ("cache", &["clear"]),
            ("completions", &["bash"]),
            ("man", &[]),
            ("service", &["status"]),
        ] {
            let help = help(name);
            for option in &all {
                let value = match option.as_str() {
                    "mode" => "multiplex",
                    "log-format" => "json",
                    "max-frame-size" => "1MiB",
                    name if name.contains("timeout") || name.contains("backoff") => "5s",
                    _ => "x",
                };
                let option = format!("--{option}");
                let given: &[&str] =
                    if ["--local", "--log-contents"].contains(&&*option) { &[&option] } else { &[&option, value] };
                for line in [[given, &[name], rest].concat(), [&[name], rest, given].concat()] {
                    let parsed = cli(&line);
                    assert_eq!(parsed.is_ok(), help.contains(&format!(" {option} ")), "{line:?}\n{help}");
                    if let Err(error) = parsed {
                        let text = error.to_string();
                        assert!(
                            text.contains(&format!("{name} ")) && text.contains(&format!("leave {option} out")),
                            "{text}"
                        );
                        assert_eq!(error.exit_code(), 2);
                    }
                }
            }
        }
        let error = cli(&["tools", "--endpoint", "wss://h/?token=s3cret"]).unwrap_err().to_string();
        assert!(
            error.contains("tools starts servers on this machine and dials no endpoint") && !error.contains("s3cret")
        );
    }

    #[test]
    fn sessions_are_listed_or_some_of_them_end() {
        for (line, fits) in [
            (&["sessions"][..], true),
            (&["sessions", "--json"], true),
            (&["sessions", "end", "3f"], true),
            (&["sessions", "end", "--all"], true),
            (&["sessions", "end"], false),
            (&["sessions", "end", "3f", "--all"], false),
            (&["sessions", "end", "3f", "--json"], false),
            (&["sessions", "--all"], false),
            (&["sessions", "3f"], false),
        ] {
            let parsed = cli(line);
            assert_eq!(parsed.is_ok(), fits, "{line:?}");
            assert!(parsed.err().is_none_or(|error| error.exit_code() == 2), "{line:?}");
        }
    }

    #[test]
    fn the_help_of_a_command_says_from_which_level_on_it_logs() {
        for name in ["run", "serve", "tools", "call", "test", "replay", "login", "logout", "doctor"] {
            let help = cli(&[name, "--help"]).unwrap_err().to_string();
            let rest = match name {
                "call" | "replay" => &["a", "b"][..],
                "login" | "logout" => &["a"],
                _ => &[],
            };
            let level = match crate::run::loudness(&cli(&[&[name], rest].concat()).unwrap().action()) {
                Loudness::Usual => LOG_LEVEL,
                Loudness::Beside => LOG_LEVEL_BESIDE,
                Loudness::Silent => tracing::level_filters::LevelFilter::OFF,
            };
            let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
            let told = help.split_once("RUST_LOG] [default: ").and_then(|(_, rest)| rest.split_once(']'));
            assert_eq!(told.map(|(told, _)| told), Some(&*level.to_string()), "{help}");
        }
    }

    #[test]
    fn every_command_shows_an_example() {
        let all = command();
        let names: Vec<&str> = all.get_subcommands().map(clap::Command::get_name).filter(|it| *it != "help").collect();
        assert!(orders::NAMES.iter().chain(&["run", "status", "health"]).all(|name| names.contains(name)), "{names:?}");
        for name in names {
            let help = cli(&[name, "--help"]).unwrap_err().to_string();
            let examples = help.split_once("Examples:\n").map_or("", |(_, examples)| examples);
            assert!(examples.contains(&format!(" mcp-pipe {name}")), "{help}");
        }
        assert!(cli(&["--help"]).unwrap_err().to_string().contains("Examples:\n"));
    }

    #[test]
    fn a_wrong_unit_is_refused_with_an_example() {
        let error = cli(&["--start-timeout", "60"]).unwrap_err().to_string();
        assert!(error.contains("60s"), "{error}");
    }

    #[test]
    fn help_and_debug_show_no_endpoint() {
        let cli = cli(&["--endpoint", "wss://h/?token=s3cret"]).unwrap();
        assert!(!format!("{cli:?}").contains("s3cret"));
        assert_eq!(cli.secrets(), ["wss://h/?token=s3cret"]);
        for url in ["wss://h/?s3cret", "WSS:/h/?s3cret", "h/?token=s3cret"] {
            for line in [
                &[url][..],
                &["--", url, "x"],
                &["--config", url, "x"],
                &["--status-socket", url],
                &["--control-socket", url],
                &["status", url],
                &["logs", url],
                &["replay", url, "s"],
                &["restart", url],
                &["log-level", url],
                &["stop", url],
                &["stdio", "--server", url],
                &["next", url],
                &["--ca-file", url],
                &["--cache-dir", url],
                &["--log-level", url],
            ] {
                assert_eq!(super::tests::cli(line).unwrap().secrets(), [url], "{line:?}");
            }
        }
        assert!(super::tests::cli(&["--config", "x", "--", "npx", "wss://h/"]).unwrap().secrets().is_empty());
        let help = command().render_long_help().to_string();
        assert!(help.contains("mcp-pipe -- npx") && help.contains("Endpoint:"), "{help}");
    }
}
