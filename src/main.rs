//! Arguments → logging → config → run → exit code.

use std::process::ExitCode;

use anyhow::Context as _;
use mcp_pipe::config::Environment;
use mcp_pipe::error::{Exit, Failure};
use mcp_pipe::{cli, config, logging};

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
    let cli = cli::parse(std::env::args_os()).map_err(Failure::Usage)?;
    cli::scrub::hide(&cli.secrets());
    let env = Environment::of_process();
    let redactions = logging::start(&cli.options, &env).map_err(Failure::Option)?;
    let cwd = std::env::current_dir().context("the working directory can't be found; was it removed?")?;
    let resolved = config::resolve(&cli, &env, &cwd)?;
    redactions.add(resolved.secrets.iter().cloned());
    resolved.log();
    Ok(Exit::Success)
}
