//! The commands that keep mcp-pipe on a machine: what it remembers there, what shells and the manual know of it, and its service.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use crate::complete::Shell;

const CACHE_EXAMPLES: &str = "\
Examples:
  mcp-pipe cache clear               forgets what all servers and endpoints said; the next start asks them
  mcp-pipe cache clear calculator    forgets what one server said

Logins at remote servers are no part of the cache and stay: mcp-pipe logout SERVER forgets one. A mcp-pipe that runs goes on with what
it knows, and writes down only what a server says that is new.

Exit code: 0 there is nothing left of it, 1 something can't be removed, 2 no such server, 78 the config is wrong";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  source <(mcp-pipe completions bash)         in ~/.bashrc
  source <(mcp-pipe completions zsh)          in ~/.zshrc, behind compinit
  mcp-pipe completions fish > ~/.config/fish/completions/mcp-pipe.fish
  eval (mcp-pipe completions elvish | slurp)  in rc.elv
  mcp-pipe completions powershell | Out-String | Invoke-Expression

The script asks this program at each Tab: servers are those of the config that a run would take or that the line names, else those that
are remembered; tools those that a server had when it last ran. Nothing is started. The one for PowerShell has not been tried.";

const MAN_EXAMPLES: &str = "\
Examples:
  mcp-pipe man | man -l -                            reads it
  mcp-pipe man --dir /usr/local/share/man/man1       installs all: man mcp-pipe, man mcp-pipe-status";

const SERVICE_EXAMPLES: &str = "\
Examples:
  mcp-pipe service install --user --dry-run     what would be written and run, without doing it
  mcp-pipe service install --user               the config of this folder (--config FILE: another), from now on, as you
  sudo mcp-pipe service install --config /etc/mcp-pipe/mcp_config.json    for the whole machine, as a user of its own
  mcp-pipe service install --user --path        with the PATH of this shell, where its programs are nowhere else
  mcp-pipe service status --user
  mcp-pipe service uninstall --user             removes what install has made; config, logins and cache stay

The config is read first as the service will read it: with its PATH, and with the tokens that only this shell has (MCP_ENDPOINT, each
${VAR}), which go into a file for its owner only. What the service could not start is refused with what to write. On Linux this is
systemd; launchd (macOS) and the Task Scheduler (Windows) are written, and have not been tried there.

Exit code: 0 done, or it runs, 1 not (with the reason), 2 only root may do that, 3 status: it does not run, 78 the config is wrong";

/// What keeps mcp-pipe on a machine.
#[derive(Debug, Clone, Subcommand)]
pub enum UpkeepCommand {
    /// Forget what servers said, which is kept so that a restarted mcp-pipe can answer at once
    #[command(after_help = CACHE_EXAMPLES)]
    Cache {
        /// What to do: clear (forget it)
        #[arg(value_enum, value_name = "clear", hide_possible_values = true)]
        part: CachePart,
        /// Only what this server of the config said [default: all]
        server: Option<String>,
    },
    /// Print the script by which a shell completes what is typed: commands, options, files, and the servers and tools that there are
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// Which one
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Print the manual page, or write one for each command
    #[command(after_help = MAN_EXAMPLES)]
    Man {
        /// Write the page of mcp-pipe and of each of its commands into this folder
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Have this system start mcp-pipe by itself, or no longer; or tell how that stands
    #[command(after_help = SERVICE_EXAMPLES)]
    Service {
        /// What to do: install, uninstall, or status
        #[arg(value_enum, value_name = "install|uninstall|status", hide_possible_values = true)]
        part: ServicePart,
        /// A service that runs as you, and not one of the whole machine
        #[arg(long)]
        user: bool,
        /// Do nothing, and print each file and each command
        #[arg(long)]
        dry_run: bool,
        /// With install: look for programs where this shell does, for ever
        #[arg(long)]
        path: bool,
    },
}

/// What is done about the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ServicePart {
    /// It is installed and started.
    Install,
    /// It is ended and removed.
    Uninstall,
    /// It is told of.
    Status,
}

/// What is done about the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CachePart {
    /// It is emptied.
    Clear,
}

/// The names of these commands.
pub(super) const NAMES: &[&str] = &["cache", "completions", "man", "service"];

impl UpkeepCommand {
    /// What the command is called.
    pub(super) fn name(&self) -> &'static str {
        match self {
            UpkeepCommand::Cache { .. } => "cache",
            UpkeepCommand::Completions { .. } => "completions",
            UpkeepCommand::Man { .. } => "man",
            UpkeepCommand::Service { .. } => "service",
        }
    }

    /// The server that it is about.
    pub(super) fn server(&self) -> Option<&str> {
        match self {
            UpkeepCommand::Cache { server, .. } => server.as_deref(),
            UpkeepCommand::Completions { .. } | UpkeepCommand::Man { .. } | UpkeepCommand::Service { .. } => None,
        }
    }

    /// What to tell of options that do nothing together.
    pub(super) fn conflict(&self) -> Option<&'static str> {
        match self {
            UpkeepCommand::Service { part: ServicePart::Uninstall | ServicePart::Status, path: true, .. } => {
                Some("--path says how the service is installed; leave it out")
            }
            UpkeepCommand::Service { part: ServicePart::Status, dry_run: true, .. } => {
                Some("status changes nothing; leave --dry-run out")
            }
            UpkeepCommand::Service { .. } | UpkeepCommand::Cache { .. } => None,
            UpkeepCommand::Completions { .. } | UpkeepCommand::Man { .. } => None,
        }
    }

    /// Whether no endpoint is needed for it.
    pub(super) fn is_local(&self) -> bool {
        match self {
            UpkeepCommand::Cache { .. } => true,
            UpkeepCommand::Completions { .. } | UpkeepCommand::Man { .. } | UpkeepCommand::Service { .. } => false,
        }
    }
}

/// Whether an option of a run does anything for a command.
pub(super) fn takes(command: &str, option: &str) -> bool {
    match command {
        "cache" => ["config", "cache_dir"].contains(&option),
        "service" => option == "config",
        _ => false,
    }
}

/// What to tell of an option that does nothing, in words that continue the command's name.
pub(super) fn without_effect(command: &str) -> &'static str {
    match command {
        "cache" => "starts nothing, and takes nothing but --config and --cache-dir",
        "service" => "takes the options of a run from the config and the environment, and nothing but --config",
        _ => "takes no option of a run",
    }
}
