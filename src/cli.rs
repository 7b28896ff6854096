//! Flags, subcommands and their help. Nothing here acts.
//!
//! Values that may also stand in the config file are `Option`s: which one counts, and every default, is
//! decided in [`crate::config::resolve`]. The endpoint is taken as a plain [`Secret`], so that neither a
//! parse error nor `--help` can show it.

use std::ffi::OsString;
use std::path::Path;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, Parser, Subcommand};

use crate::config::options::{CommandLine, Options, Target};
use crate::endpoint::{Secret, looks_like_endpoint};

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

A server whose name is also a command (tools, call, health, run, help) is run with: mcp-pipe run NAME";

/// Serves MCP servers (programs that speak JSON-RPC on stdin and stdout) on WebSocket endpoints
#[derive(Debug, Parser)]
#[command(name = "mcp-pipe", version, after_help = EXAMPLES, subcommand_help_heading = "Commands")]
#[command(override_usage = "mcp-pipe [OPTIONS] [TARGET | -- CMD ARGS…]\n       mcp-pipe [OPTIONS] COMMAND …")]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    target: TargetArgs,
    /// The options, which every command takes.
    #[command(flatten)]
    pub options: Options,
}

/// What to do.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Run servers until told to stop (what happens without a command, too)
    Run(TargetArgs),
    /// Start servers, print the tools that they offer, and end
    Tools {
        /// Which servers.
        #[command(flatten)]
        target: TargetArgs,
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
        /// Print how much of an assistant's context they take: bytes, and tokens by estimate, the largest first
        #[arg(long)]
        size: bool,
    },
    /// Start a server, call one of its tools through the whole pipe, print the result, and end
    Call {
        /// A server name in the config, or a script
        server: String,
        /// The tool's name
        tool: String,
        /// Its arguments: a JSON object, or - to read it from standard input [default: {}]
        #[arg(value_name = "ARGS_JSON")]
        arguments: Option<String>,
    },
    /// Ask a running mcp-pipe over its status socket whether it serves; exit code 0 or 1
    Health,
}

/// Which servers, as written.
#[derive(Debug, Clone, Default, Args)]
pub struct TargetArgs {
    /// Only this server: a name in the config, or a script (.py, .js, .mjs, .cjs, or an executable file)
    target: Option<String>,
    /// Only the server that this command starts
    #[arg(last = true, value_name = "CMD", conflicts_with = "target")]
    line: Vec<String>,
}

impl Cli {
    /// Which servers take part, whatever the command is.
    pub fn target(&self) -> Target<'_> {
        let written = match &self.command {
            Some(Command::Run(target) | Command::Tools { target, .. }) => target,
            Some(Command::Call { server, .. }) => return Target::Named(server),
            Some(Command::Health) | None => &self.target,
        };
        match (&written.target, written.line.as_slice()) {
            (Some(name), _) => Target::Named(name),
            (None, []) => Target::All,
            (None, line) => Target::Line(line),
        }
    }

    /// What it says to the config.
    pub fn line(&self) -> CommandLine<'_> {
        let (options, target, local) = (&self.options, self.target(), self.is_local());
        CommandLine { options, target, local, other_commands: self.other_commands() }
    }

    /// The names of the commands, where none was given: a target may be one that was mistyped.
    fn other_commands(&self) -> Vec<String> {
        if self.command.is_some() {
            return Vec::new();
        }
        Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect()
    }

    /// What to do.
    pub fn action(&self) -> Command {
        self.command.clone().unwrap_or_else(|| Command::Run(self.target.clone()))
    }

    /// Whether the servers are served on an endpoint of our own: asked for, or because the command is one
    /// that looks at servers and not at an account.
    pub fn is_local(&self) -> bool {
        self.options.local || matches!(self.command, Some(Command::Tools { .. } | Command::Call { .. }))
    }

    /// The arguments that must not stay in the process list: an endpoint, also one in the wrong place.
    pub fn secrets(&self) -> Vec<&str> {
        let target = match self.target() {
            Target::Named(name) => Some(name),
            Target::Line(line) => line.first().map(String::as_str),
            Target::All => None,
        };
        let config = self.options.config.as_deref().and_then(Path::to_str);
        let misplaced = target.into_iter().chain(config).filter(|text| looks_like_endpoint(text));
        self.options.endpoint.iter().map(Secret::reveal).chain(misplaced).collect()
    }
}

/// Reads the command line.
///
/// # Errors
/// What clap says about it, and `--help` and `--version`, which are errors to clap.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let cli = Cli::try_parse_from(arguments)?;
    if cli.command.is_some() && (cli.target.target.is_some() || !cli.target.line.is_empty()) {
        let text = "a target stands behind its command, for example: mcp-pipe tools calculator";
        return Err(Cli::command().error(ErrorKind::ArgumentConflict, text));
    }
    if cli.options.endpoint.is_some() && cli.is_local() {
        let text = "tools and call start servers on this machine and dial no endpoint; leave --endpoint out";
        return Err(Cli::command().error(ErrorKind::ArgumentConflict, text));
    }
    Ok(cli)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::time::Duration;

    use super::*;

    fn cli(arguments: &[&str]) -> Result<Cli, clap::Error> {
        parse(std::iter::once("mcp-pipe").chain(arguments.iter().copied()).map(OsString::from))
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_target_is_a_name_a_script_or_a_command_line() {
        assert_eq!(cli(&[]).unwrap().target(), Target::All);
        assert_eq!(cli(&["calculator.py"]).unwrap().target(), Target::Named("calculator.py"));
        assert_eq!(cli(&["run", "tools"]).unwrap().target(), Target::Named("tools"));
        assert_eq!(cli(&["tools", "time", "--json"]).unwrap().target(), Target::Named("time"));
        assert_eq!(cli(&["call", "a", "b"]).unwrap().target(), Target::Named("a"));
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
        assert_eq!(cli(&["heath"]).unwrap().other_commands(), ["run", "tools", "call", "health"]);
        assert!(cli(&["tools", "heath"]).unwrap().other_commands().is_empty());
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
        assert!(!cli(&[]).unwrap().is_local());
        assert!(cli(&["tools", "--endpoint", "wss://h/"]).is_err(), "no option does nothing");
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
            for line in [&[url][..], &["--", url, "x"], &["--config", url, "x"]] {
                assert_eq!(super::tests::cli(line).unwrap().secrets(), [url], "{line:?}");
            }
        }
        assert!(super::tests::cli(&["--config", "x", "--", "npx", "wss://h/"]).unwrap().secrets().is_empty());
        let help = Cli::command().render_long_help().to_string();
        assert!(help.contains("mcp-pipe -- npx") && help.contains("Endpoint:"), "{help}");
    }
}
