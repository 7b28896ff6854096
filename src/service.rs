//! `mcp-pipe service`: mcp-pipe as a service of this machine, or of one user: installed, removed, and how it stands.
//!
//! # Theory of operation
//!
//! What is installed are files, each of which says by a fingerprint whether somebody has changed it since ([`seal`]), and commands for
//! whoever starts services ([`manager`]). A plan of both is made first, and with `--dry-run` only told. Before anything is written, the config is
//! read as the service will read it: with its variables, and with each program looked for in its `PATH` ([`programs`]). Tokens that only
//! this shell knows go into a file of variables for its owner only ([`variables`]), and never into a unit.

mod files;
mod launchd;
mod manager;
mod programs;
mod seal;
mod unit;
mod variables;
mod windows;
mod wrapped;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};

use self::files::{Change, Planned};
use self::manager::Manager;
use crate::config::options::{CommandLine, Options};
use crate::config::{self, ControlSocket, Environment, Outline, Surroundings};
use crate::control::{Asking, Question};
use crate::error::{Exit, Failure};
use crate::last_run;
use crate::process::stdout;
use crate::secrecy::{Redactor, Secret, plain};

/// What is to be done with the service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wishes {
    /// It is of this user, and not of the machine.
    pub(crate) user: bool,
    /// Nothing is done, and told what would be.
    pub(crate) dry_run: bool,
    /// Programs are looked for where this shell looks for them.
    pub(crate) path: bool,
}

/// A service, and what surrounds it.
pub(crate) struct Service<'a> {
    pub(crate) wishes: Wishes,
    pub(crate) line: &'a CommandLine<'a>,
    pub(crate) surroundings: &'a Surroundings,
    pub(crate) redactor: &'a Redactor,
}

/// What a service runs, and with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Described {
    /// This program.
    program: PathBuf,
    config: PathBuf,
    /// The file of variables, if there is one.
    variables: Option<PathBuf>,
    /// The `PATH` that it is given, where it is not the usual one.
    path: Option<String>,
}

/// What can't be done, and what to do.
fn refused(what: impl Into<String>, remedy: impl Into<String>) -> Failure {
    Failure::Asking { exit: Exit::Failed, what: what.into(), remedy: remedy.into() }
}

impl Service<'_> {
    /// Installs the service and has it start, now and from now on.
    ///
    /// # Errors
    /// Why it would not run, or can't be installed.
    pub(crate) fn install(&self) -> Result<Exit, Failure> {
        let Wishes { user, dry_run, path: of_shell } = self.wishes;
        let env = &self.surroundings.env;
        let manager = Manager::of_this_system(user)?;
        if !dry_run {
            manager.check()?;
        }
        let config = self.surroundings.place();
        if !config.is_file() {
            let remedy = "name the one that the service is to run: mcp-pipe service install --config FILE";
            return Err(refused(format!("{} is no config file", config.display()), remedy));
        }
        let program = std::env::current_exe().context("this program's own file can't be found")?;
        let shell = env.get("PATH").unwrap_or_default();
        let path = if of_shell { shell.to_owned() } else { manager.path(env) };
        // What an earlier installation has kept counts where this shell says nothing.
        let (unit, kept) = manager.places(env)?;
        let old = variables::read(&std::fs::read_to_string(&kept).unwrap_or_default());
        let variables = self.variables(&config, old, &manager);
        self.redactor.add(variables.iter().map(|(_, value)| value.clone()));
        if let Some((name, _)) = variables.first().filter(|_| !manager.reads_variables()) {
            let what = format!("the config uses variables that only this shell has, such as {name}");
            return Err(refused(what, format!("write them in .env beside {}", config.display())));
        }
        let described = Described {
            program,
            config,
            variables: (!variables.is_empty()).then(|| kept.clone()),
            path: of_shell.then(|| path.clone()),
        };
        manager.reach(&described)?;
        self.check(&described, &manager, (&path, shell), &variables)?;
        let unit = Planned { path: unit, text: manager.unit(&described, env)?, is_private: false };
        let tokens = Planned { path: kept, text: variables::file(&variables), is_private: true };
        // Tokens that an earlier installation has kept, and nobody needs any more.
        let left = Some(&tokens.path).filter(|file| variables.is_empty() && files::state(file).is_some());
        let plan = [&tokens, &unit].into_iter().filter(|file| !file.is_private || !variables.is_empty());
        let plan: Vec<(&Planned, Change)> = plan.map(|file| (file, file.change())).collect();
        let commands = manager.installing(&unit.path);
        if dry_run {
            let files = plan.iter().map(|(file, change)| change.would(file)).collect::<String>();
            let commands = would_run(&commands);
            let left = left.map_or_else(String::new, |file| format!("would remove {}\n", file.display()));
            self.say(&format!("{files}{left}{commands}"));
            return Ok(Exit::Success);
        }
        let is_same = left.is_none() && plan.iter().all(|(_, change)| matches!(change, Change::Same));
        if is_same && manager.is_up() {
            self.say("nothing to do: the service is installed as it would be, is started with the system, and runs\n");
            return Ok(Exit::Success);
        }
        if !manager.is_active() {
            self.runs_already(&described)?;
        }
        for (file, change) in &plan {
            let told = change.make(file).with_context(|| format!("{} can't be written", file.path.display()))?;
            self.say(&told);
        }
        if let Some(file) = left {
            let told = files::remove(file).with_context(|| format!("{} can't be removed", file.display()))?;
            self.say(&told);
        }
        self.carry_out(&commands, manager)?;
        self.say(&format!("the service runs; {}\n", manager.hints()));
        Ok(Exit::Success)
    }

    /// Ends the service and removes what was installed.
    ///
    /// # Errors
    /// What is there is not ours, or can't be removed.
    pub(crate) fn uninstall(&self) -> Result<Exit, Failure> {
        let manager = Manager::of_this_system(self.wishes.user)?;
        let (unit, kept) = manager.places(&self.surroundings.env)?;
        let there: Vec<&PathBuf> = [&unit, &kept].into_iter().filter(|path| path.exists()).collect();
        if there.is_empty() {
            self.say(&format!("nothing to do: no service is installed ({} is not there)\n", unit.display()));
            return Ok(Exit::Success);
        }
        if let Some(foreign) = there.iter().find(|path| files::state(path).is_none()) {
            let what = format!("{} was not written by mcp-pipe service install, so it stays", foreign.display());
            return Err(refused(what, "remove it yourself, if it is to go"));
        }
        let (mut before, after) = manager.uninstalling();
        if !unit.exists() {
            before.clear();
        }
        if self.wishes.dry_run {
            let files = there.iter().map(|path| format!("would remove {}\n", path.display())).collect::<String>();
            self.say(&format!("{}{files}{}", would_run(&before), would_run(&after)));
            return Ok(Exit::Success);
        }
        manager.check()?;
        let config = std::fs::read_to_string(&unit).ok().and_then(|text| unit::config_of(&text));
        self.carry_out(&before, manager)?;
        for path in there {
            let told = files::remove(path).with_context(|| format!("{} can't be removed", path.display()))?;
            self.say(&told);
        }
        for command in after {
            // The files are gone; what reads them again does so by itself one day.
            if manager::run(&command).is_ok() {
                self.say(&format!("{}\n", command.join(" ")));
            }
        }
        let config = config.map_or_else(String::new, |config| format!("the config ({}), ", config.display()));
        self.say(&format!("left as they are: {config}logins and the rest of the state folder, and the cache\n"));
        Ok(Exit::Success)
    }

    /// Tells how the service stands, and asks it.
    ///
    /// # Errors
    /// It does not answer.
    pub(crate) fn status(&self) -> Result<Exit, Failure> {
        let manager = Manager::of_this_system(self.wishes.user)?;
        let (unit, _) = manager.places(&self.surroundings.env)?;
        let installed = match files::state(&unit) {
            _ if !unit.exists() => format!("no: {} is not there", unit.display()),
            Some(true) => format!("yes, in {}", unit.display()),
            Some(false) => format!("yes, in {}, which somebody has changed since", unit.display()),
            None => format!("not by mcp-pipe service install, but there is {}", unit.display()),
        };
        self.say(&format!("installed  {installed}\n"));
        if !unit.exists() {
            return Ok(Exit::NoDaemon);
        }
        manager.check()?;
        for (what, told) in manager.standing() {
            self.say(&format!("{what:<10} {told}\n"));
        }
        if !manager.is_active() {
            return Ok(Exit::NoDaemon);
        }
        let config = std::fs::read_to_string(&unit).ok().and_then(|text| unit::config_of(&text));
        let (env, options) = (self.surroundings.settings(), self.line.options);
        let socket = manager.control_socket().map_or_else(|| config::control_socket(options, env), ControlSocket::At);
        let asking = Asking { socket, config, redactor: self.redactor, env };
        asking.status(Question { name: None, json: false, watch: false, wait: None, history: false })
    }

    /// The variables that the service would lack: those that the config names, and that its own `.env` does not set as here.
    fn variables(&self, config: &Path, old: Vec<(String, Secret)>, manager: &Manager) -> Vec<(String, Secret)> {
        let Surroundings { env, dotenv, .. } = self.surroundings;
        let folder = config.parent().unwrap_or(Path::new("/"));
        let mut env = env.clone();
        for (name, value) in &old {
            if env.filled(name).is_none() && dotenv.filled(name).is_none() {
                env.set(name, value.reveal());
            }
        }
        let options = Options { config: Some(config.to_path_buf()), ..self.line.options.clone() };
        let ours = Surroundings::look(&options, env, &self.surroundings.cwd);
        let line = CommandLine { options: &options, commands: Vec::new(), ..*self.line };
        let Outline { asked, .. } = config::outline(&line, &ours);
        let theirs = Surroundings::look(&options, Environment::default(), folder);
        let is_read = manager.reads(&folder.join(".env"));
        let needed = |name: &String| {
            let value = ours.env.filled(name).or_else(|| ours.dotenv.filled(name).map(|(value, _)| value))?;
            let is_there = is_read && theirs.dotenv.filled(name).is_some_and(|(theirs, _)| theirs == value);
            (!is_there).then(|| (name.clone(), Secret::new(value)))
        };
        asked.iter().filter(|name| !variables::is_of_everybody(name)).filter_map(needed).collect()
    }

    /// Reads the config as the service will, and looks for its programs.
    fn check(
        &self,
        described: &Described,
        manager: &Manager,
        (path, shell): (&str, &str),
        variables: &[(String, Secret)],
    ) -> Result<(), Failure> {
        let mut env: Environment = manager.environment(&self.surroundings.env);
        env.set("PATH", path);
        variables.iter().for_each(|(name, value)| env.set(name, value.reveal()));
        let options = Options { config: Some(described.config.clone()), ..self.line.options.clone() };
        let folder = described.config.parent().unwrap_or(Path::new("/"));
        let surroundings = Surroundings::look(&options, env, folder);
        let line = CommandLine { options: &options, commands: Vec::new(), ..*self.line };
        let resolved = config::resolve(&line, &surroundings)?;
        self.redactor.add(resolved.secrets.iter().cloned());
        self.redactor.spare(resolved.names.iter().map(String::as_str));
        let missing = programs::missing(&resolved.config.servers, path, shell, |file| manager.is_hidden(file));
        if missing.is_empty() {
            return Ok(());
        }
        let what = format!(
            "the service could not start what its config names; nothing was installed\n  {}",
            missing.join("\n  ")
        );
        Err(refused(
            what,
            format!("the service has PATH={path}; to give it that of this shell: mcp-pipe service install --path"),
        ))
    }

    /// Refuses a second one beside one that a person has started.
    fn runs_already(&self, described: &Described) -> Result<(), Failure> {
        let options = Options { config: Some(described.config.clone()), ..self.line.options.clone() };
        let line = CommandLine { options: &options, commands: Vec::new(), ..*self.line };
        let Outline { state_dir, place, .. } = config::outline(&line, self.surroundings);
        match state_dir.and_then(|state| last_run::read(&state, &place).ok()??.now) {
            Some(_) => Err(refused(
                format!(
                    "another mcp-pipe runs with {}, and two would take the endpoint from each other; nothing was installed",
                    place.display()
                ),
                "end that one first",
            )),
            None => Ok(()),
        }
    }

    /// Runs commands one after the other, until one fails.
    fn carry_out(&self, commands: &[Vec<String>], manager: Manager) -> Result<(), Failure> {
        for command in commands {
            let words = command.join(" ");
            manager::run(command).map_err(|why| refused(format!("{words} failed: {why}"), manager.remedy()))?;
            self.say(&format!("{words}\n"));
        }
        Ok(())
    }

    /// Tells a person.
    fn say(&self, text: &str) {
        let text: String =
            text.lines().map(|line| format!("{}\n", plain::line(&self.redactor.clean_all(line)))).collect();
        stdout::print(&text);
    }
}

/// Commands that would be run, line by line.
fn would_run(commands: &[Vec<String>]) -> String {
    commands.iter().map(|command| format!("would run: {}\n", command.join(" "))).collect()
}

/// A path in words that can stand in a file of the service: without line breaks and the like.
fn written(path: &Path) -> Result<&str, Failure> {
    let text = path.to_str().filter(|text| !text.contains(char::is_control) && !text.ends_with(['\\', ' ']));
    text.ok_or_else(|| {
        anyhow!("{} can't stand in the definition of a service; give it another name", path.display()).into()
    })
}
