//! Arguments → logging → config → run → exit code.

use std::process::ExitCode;

use anyhow::Context as _;
use mcp_pipe::cli::{self, Command};
use mcp_pipe::config::{self, Environment};
use mcp_pipe::error::{Exit, Failure};
use mcp_pipe::process::scrub;
use mcp_pipe::{logging, run};

fn main() -> ExitCode {
    match start() {
        Ok(exit) => exit.into(),
        Err(failure) => {
            failure.tell();
            failure.exit().into()
        }
    }
}

fn start() -> Result<Exit, Failure> {
    scrub::seclude();
    // It forks: before there is any thread, and while there is little to copy.
    let (guard, unguarded) = run::guard();
    let cli = cli::parse(std::env::args_os()).map_err(Failure::Usage)?;
    scrub::hide(&cli.secrets());
    let env = Environment::of_process();
    let command = cli.action();
    if let Command::Health = command {
        return Ok(run::health(config::status_socket(&cli.options, &env))?);
    }
    let redactions = logging::start(&cli.options, run::is_quiet(&command), &env).map_err(Failure::Option)?;
    if let Some(error) = unguarded {
        tracing::warn!(
            event = "GUARD_LOST",
            "no watcher: if mcp-pipe is killed, servers may be left running ({error})"
        );
    }
    let cwd = std::env::current_dir().context("the working directory can't be found; was it removed?")?;
    let resolved = config::resolve(&cli.line(), &env, &cwd)?;
    redactions.add(resolved.secrets.iter().cloned());
    resolved.log();
    Ok(run::run(command, resolved.config, guard)?)
}
