//! Arguments → logging → config → run → exit code.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use mcp_pipe::cli;
use mcp_pipe::complete;
use mcp_pipe::config::{self, Environment, LogFormat, Surroundings};
use mcp_pipe::error::{Exit, Failure};
use mcp_pipe::net::proxy::Proxies;
use mcp_pipe::process::systemd::Systemd;
use mcp_pipe::process::{handed, scrub, stdout};
use mcp_pipe::run::Around;
use mcp_pipe::secrecy::Redactor;
use mcp_pipe::{logging, run};

fn main() -> ExitCode {
    // Before all else: a shell waits, and wants words or nothing.
    if complete::answer(std::env::args_os(), cli::whole) {
        return ExitCode::SUCCESS;
    }
    let redactor = Redactor::default();
    // Until there is a log.
    let mut log = LogFormat::Text;
    match start(&redactor, &mut log) {
        Ok(exit) => match (exit, stdout::lost()) {
            (Exit::Success, Some(why)) => {
                Failure::from(anyhow::anyhow!("not all of it could be printed: {why}")).tell(&redactor);
                ExitCode::FAILURE
            }
            (exit, _) => exit.into(),
        },
        Err(failure) => {
            match log {
                LogFormat::Text => failure.tell(&redactor),
                LogFormat::Json => failure.log(&redactor),
            }
            failure.exit().into()
        }
    }
}

fn start(redactor: &Redactor, log: &mut LogFormat) -> Result<Exit, Failure> {
    scrub::seclude();
    // The guard forks, so it comes before any thread, and while there is little to copy.
    let (guard, unguarded) = run::guard();
    let env = Environment::of_process();
    let socket = handed::take(|name| env.get(name).map(str::to_owned));
    redactor.add(cli::secrets_given(std::env::args_os(), &env));
    let cli = cli::parse(std::env::args_os()).map_err(Failure::Usage)?;
    scrub::hide(&cli.secrets());
    let command = cli.action();
    let cwd = match std::env::current_dir() {
        // One that runs is asked from anywhere.
        Err(_) if run::asks_another(&command) => Ok(std::path::PathBuf::from("/")),
        cwd => cwd.context("the working directory can't be found; was it removed?"),
    };
    // `.env` is read before there is a log, since it may say how much is logged.
    let cwd = cwd?;
    let surroundings = Surroundings::look(&cli.options, env.clone(), &cwd);
    let surroundings = surroundings.with_socket(*socket.as_ref().unwrap_or(&None));
    let settings = surroundings.settings();
    redactor.add(cli::secrets_given([], settings));
    if let Some(asked) = run::ask(&command, &cli.options, &surroundings, redactor) {
        return asked;
    }
    if let Some(looked) = run::look(&command, &cli.line(), &surroundings, redactor) {
        return looked;
    }
    let keep = run::keep(&command, &cli.options, settings);
    let level = logging::start(&cli.options, run::loudness(&command), settings, redactor, keep.clone())
        .map_err(|problem| Failure::Option(surroundings.placed(problem)))?;
    *log = cli.options.log_format;
    Proxies::use_variables(|name| settings.get(name).map(str::to_owned));
    if let Some(error) = unguarded {
        tracing::warn!(
            event = "GUARD_LOST",
            "no watcher: if mcp-pipe is killed, servers may be left running ({error})"
        );
    }
    let socket = socket.unwrap_or_else(|unusable| {
        tracing::warn!(event = "SYSTEMD", "{unusable}; it is ignored");
        None
    });
    let systemd = Systemd::named(|name| env.get(name).map(str::to_owned));
    let around = Around { guard, keep, level, systemd, socket };
    let resolved = config::resolve(&cli.line(), &surroundings);
    let around = match run::examine(&command, &resolved, &cli.line(), &surroundings, around, redactor) {
        Ok(examined) => return examined,
        Err(around) => around,
    };
    let resolved = resolved.map_err(|problems| run::beside_the_last(problems, &command, &cli.line(), &surroundings))?;
    redactor.add(resolved.secrets.iter().cloned());
    redactor.spare(resolved.names.iter().map(String::as_str));
    run::write_log(&command, &resolved.config, &around, &cli.options);
    resolved.log(redactor);
    let file = around.keep.file.clone();
    let reread = move || {
        let surroundings = Surroundings::look(&cli.options, env.clone(), &cwd).with_socket(socket);
        let resolved = config::resolve(&cli.line(), &surroundings)?;
        file.set(resolved.config.log_file.as_ref(), cli.options.log_format);
        Ok(resolved)
    };
    run::run(command, (resolved.config, Arc::new(reread)), around, redactor)
}
