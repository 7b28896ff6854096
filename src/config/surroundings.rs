//! What surrounds a run: the environment, the working directory, and the `.env` files there and beside the config.
//!
//! The surroundings are looked at before anything is logged, since `.env` may say how: [`Surroundings::settings`] is where
//! mcp-pipe's own variables are to be read. Warnings wait for the log.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::control;
use super::dial::ENDPOINT;
use super::dotenv::DotEnv;
use super::environment::{Environment, proxies};
use super::gateway;
use super::locate::{self, CONFIG, Named};
use super::options::Options;
use crate::disk::joined;
use crate::error::{Code, Place, Problem};
use crate::process::systemd;
use crate::words::character;

/// Variables, besides `MCP_ENDPOINT`, that tell mcp-pipe itself something; they count in `.env`, too.
const SETTINGS: &[&str] = &[
    CONFIG,
    "MCP_LOG_LEVEL",
    "RUST_LOG",
    "MCP_CACHE_DIR",
    control::VARIABLE,
    "MCP_STATUS_SOCKET",
    gateway::LISTEN,
    "NO_COLOR",
    proxies::PLAIN[0],
    proxies::PLAIN[1],
    proxies::SECURE[0],
    proxies::SECURE[1],
    proxies::ALL[0],
    proxies::ALL[1],
    proxies::EXCEPT[0],
    proxies::EXCEPT[1],
];
/// Whether a variable tells mcp-pipe itself something.
pub(crate) fn is_setting(name: &str) -> bool {
    name == ENDPOINT || SETTINGS.contains(&name)
}

/// Variables that libraries read from the environment of the process, so that `.env` can't set them; and what to do instead.
const ELSEWHERE: &[(&str, &str)] = &[
    ("SSL_CERT_FILE", "set it in the environment, or name the file in caFile"),
    ("SSL_CERT_DIR", "set it in the environment, or name a file in caFile"),
];

/// Most letters in which a variable may differ from one of ours to be taken for it.
const MOST_SLIPS: usize = 2;

/// What surrounds a run.
pub struct Surroundings {
    pub(crate) env: Environment,
    pub(crate) dotenv: DotEnv,
    pub(crate) cwd: PathBuf,
    /// Where the config is looked for.
    pub(crate) config: Named,
    /// What a person should know, as soon as there is a log.
    pub(crate) warnings: Vec<Problem>,
    settings: Environment,
    /// Where a socket listens that whoever has started this process has opened.
    pub(crate) socket: Option<SocketAddr>,
}

impl Surroundings {
    /// Reads the `.env` files: that of `cwd` (absolute), and that of the config's folder. The command line, the environment or
    /// the first `.env` names the config.
    pub fn look(options: &Options, env: Environment, cwd: &Path) -> Self {
        let (mut dotenv, mut warnings) = (DotEnv::default(), Vec::new());
        if let Some(folder) = env.filled(systemd::CREDENTIALS) {
            dotenv.add_credentials(Path::new(folder), &mut warnings);
        }
        dotenv.add(cwd, &mut warnings);
        let in_dotenv =
            dotenv.filled(CONFIG).filter(|_| env.filled(CONFIG).is_none()).map(|(_, place)| place.to_string());
        let config = locate::named(options, &with_settings(&env, &dotenv), in_dotenv);
        if let Some(folder) = joined(cwd, &config.path).parent() {
            dotenv.add(folder, &mut warnings);
        }
        let settings = with_settings(&env, &dotenv);
        let mut surroundings =
            Surroundings { env, dotenv, cwd: cwd.to_path_buf(), config, warnings, settings, socket: None };
        surroundings.warn();
        surroundings
    }

    /// The same with a socket that whoever has started this process has opened: it listens there.
    pub fn with_socket(self, socket: Option<SocketAddr>) -> Self {
        Surroundings { socket, ..self }
    }

    /// The environment, and what `.env` sets of mcp-pipe's own variables.
    pub fn settings(&self) -> &Environment {
        &self.settings
    }

    /// Where the config is looked for, absolute.
    pub(crate) fn place(&self) -> PathBuf {
        joined(&self.cwd, &self.config.path)
    }

    /// The config, absolute, if the command line or a variable names it.
    pub fn named_config(&self) -> Option<PathBuf> {
        self.config.is_named().then(|| self.place())
    }

    /// The problem, with the file added to its place where a `.env` sets the variable.
    pub fn placed(&self, mut problem: Problem) -> Problem {
        if let Some(name) = problem.place.name()
            && self.env.filled(name).is_none()
            && let Some((_, at)) = self.dotenv.filled(name)
        {
            problem.place = Place::set(name, at);
        }
        problem
    }

    /// Warns about variables that do nothing where they are set, or not what was meant.
    fn warn(&mut self) {
        let mut found = Vec::new();
        for file in &self.dotenv.files {
            for (name, remedy) in ELSEWHERE.iter().filter(|(name, _)| file.get(name).is_some()) {
                let what = format!("{name} counts for servers only, not for mcp-pipe's own connections");
                found.push(Problem::new(Place::from(file.spot(name)), Code::Variable.says(what), *remedy));
            }
            if file.get(CONFIG).is_some() && file.credential().is_none() && file.path.parent() != Some(&self.cwd) {
                let what = format!("{CONFIG} does not count here: this file was found by way of the config");
                let remedy = "set it in the environment or in the working directory's .env";
                found.push(Problem::new(Place::from(file.spot(CONFIG)), Code::Variable.says(what), remedy));
            }
        }
        let in_files = self
            .dotenv
            .files
            .iter()
            .flat_map(|file| file.vars().map(|(name, _)| (Place::from(file.spot(name)), name.to_owned())));
        let ours =
            self.env.iter().map(|(name, _)| (Place::from("the environment"), name.to_string_lossy().into_owned()));
        for (place, name) in in_files.chain(ours) {
            if let Some(meant) = slip(&name) {
                found.push(Problem::new(
                    place,
                    Code::Variable.says(format!("{name} is none of mcp-pipe's variables")),
                    format!("did you mean {meant}?"),
                ));
            }
        }
        let ends_in_cr = |value: &std::ffi::OsStr| value.to_string_lossy().ends_with('\r');
        let names = self.env.iter().filter(|(_, value)| ends_in_cr(value)).map(|(name, _)| name.to_string_lossy());
        let names: Vec<_> = names.collect();
        if !names.is_empty() {
            let end = if names.len() == 1 { "ends" } else { "end" };
            let what = format!("{} {end} with a {}, also for servers", names.join(", "), character('\r'));
            found.push(Problem::new(
                "the environment",
                Code::Variable.says(what),
                "save the script that sets it with the line ends of Unix",
            ));
        }
        self.warnings.append(&mut found);
    }

    /// Which value counts of each variable that is set more than once, to different values. `MCP_ENDPOINT` is the matter of
    /// [`super::dial`].
    pub(crate) fn disputed(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for (i, file) in self.dotenv.files.iter().enumerate() {
            let earlier =
                self.dotenv.files[..i].iter().map(|earlier| (earlier.path.display().to_string(), Some(earlier)));
            for (place, earlier) in std::iter::once(("the environment".to_owned(), None)).chain(earlier) {
                let of_earlier = |name: &str| earlier.map_or_else(|| self.env.get(name), |earlier| earlier.get(name));
                let differs = |name: &str, value: &str| of_earlier(name).is_some_and(|earlier| earlier != value);
                let names = file.vars().filter(|(name, value)| *name != ENDPOINT && differs(name, value));
                let names: Vec<&str> = names.map(|(name, _)| name).collect();
                if !names.is_empty() {
                    let file = file.path.display();
                    notes.push(format!("what {place} sets counts, not what {file} does: {}", names.join(", ")));
                }
            }
        }
        notes
    }
}

/// The variable of ours for which `name` most likely is a slip.
fn slip(name: &str) -> Option<&'static str> {
    if SETTINGS.contains(&name) || name == ENDPOINT {
        return None;
    }
    let ours = SETTINGS.iter().chain([&ENDPOINT]).filter(|ours| ours.starts_with("MCP_"));
    let (letters, upper) = (name.chars().count(), name.to_ascii_uppercase());
    // Mostly the letters alone show that it is none, which costs a hundredth of the comparison.
    let may_be = |ours: &str| {
        ours.len().abs_diff(letters) <= MOST_SLIPS
            && ours.chars().filter(|letter| !upper.contains(*letter)).count() <= MOST_SLIPS
    };
    ours.copied().find(|ours| may_be(ours) && strsim::osa_distance(&upper, ours) <= MOST_SLIPS)
}

/// An environment, with those of mcp-pipe's own variables that only `.env` sets. A variable in the other letter case counts as
/// set.
fn with_settings(env: &Environment, dotenv: &DotEnv) -> Environment {
    let mut settings = env.clone();
    for name in SETTINGS {
        let is_set =
            [name.to_ascii_lowercase(), name.to_ascii_uppercase()].iter().any(|name| env.filled(name).is_some());
        if let (false, Some((value, _))) = (is_set, dotenv.filled(name)) {
            settings.set(name, value);
        }
    }
    settings
}
