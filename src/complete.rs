//! `mcp-pipe completions`, and what the script of a shell asks for: the words that may come next, with the servers and tools that there are.
//!
//! Nothing is started, asked, written or told: what is not known is left out. Servers are those of the config, and without one those that
//! are remembered; tools are those that servers had when they last ran.

mod shell;
mod words;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Command;

use self::shell::Asked;
pub use self::shell::Shell;
use self::words::{Live, Next, Word};
use crate::catalogue;
use crate::config::options::{CommandLine, Options, Target};
use crate::config::{self, Environment, Outline, Reach, Surroundings};
use crate::process::stdout;
use crate::secrecy::{Secret, plain};

/// By this word scripts ask. It is no command for people, and stands in no help.
const ASKS: &str = "__complete";
/// Longest description of a candidate, in characters.
const LONGEST: usize = 60;

/// Answers a shell's script, if that is who asks; and then does nothing else. `definition`: that of the command line.
pub fn answer(arguments: impl IntoIterator<Item = OsString>, definition: impl FnOnce() -> Command) -> bool {
    let mut words = arguments.into_iter().skip(1).map(|word| word.to_string_lossy().into_owned());
    if words.next().as_deref() != Some(ASKS) {
        return false;
    }
    let shell = words.next().and_then(|name| Shell::of(&name));
    if let Some(shell) = shell {
        let asked = shell.asked(words.collect());
        let text: String = candidates(&definition(), &asked).iter().map(|word| shell.line(word, &asked)).collect();
        stdout::print(&text);
    }
    true
}

/// `mcp-pipe completions`: prints the script of a shell.
pub(crate) fn print(shell: Shell) {
    stdout::print(shell.script());
}

/// What may come next.
fn candidates(definition: &Command, Asked { before, current }: &Asked) -> Vec<Word> {
    let Next { mut words, live, option } = words::next(definition, before, current);
    if let (Some(live), Ok(cwd)) = (live, std::env::current_dir()) {
        let known = Known::look(before, &cwd);
        words.extend(known.of(&live));
    }
    let written = option.as_deref().map_or(&**current, |option| &current[option.len()..]);
    words.retain(|word| word.is_file || word.text.starts_with(written));
    for word in words.iter_mut().filter(|word| !word.is_file) {
        word.text.insert_str(0, option.as_deref().unwrap_or_default());
        word.about = plain::bounded(&word.about, LONGEST);
    }
    // What would steer a terminal, or has another line, can't be written at a prompt.
    words.retain(|word| !word.text.contains(char::is_control));
    words
}

/// What is known of the servers.
struct Known(Outline);

impl Known {
    /// By the config that the line names so far, or that a run would take.
    fn look(before: &[String], cwd: &Path) -> Self {
        let env = Environment::of_process();
        let value = |option: &str| {
            let mut words = before.iter();
            let found = words
                .find_map(|word| word.strip_prefix(option).filter(|rest| rest.is_empty() || rest.starts_with('=')))?;
            let path = found.strip_prefix('=').or_else(|| words.next().map(String::as_str))?;
            Some(at_home(path, &env))
        };
        let mut options = Options { config: value("--config"), ..Options::default() };
        options.cache_dir = value("--cache-dir").map(PathBuf::into_os_string);
        let mut surroundings = Surroundings::look(&options, env, cwd);
        // One that comes from a program is not for us.
        let is_file = surroundings.place().is_file();
        let nothing = Secret::new("{}");
        let text = (!is_file).then_some(&nothing);
        surroundings.warnings.clear();
        let (target, more, commands) = (Target::All, &[][..], Vec::new());
        let line =
            CommandLine { text, options: &options, target, local: true, serve: None, more, command: None, commands };
        Known(config::outline(&line, &surroundings))
    }

    fn of(&self, live: &Live) -> Vec<Word> {
        let Known(Outline { cache_dir, servers, names, .. }) = self;
        let cache = cache_dir.as_deref();
        match live {
            Live::Servers if names.is_empty() => {
                cache.map(catalogue::servers).unwrap_or_default().into_iter().map(Word::from).collect()
            }
            Live::Servers => names.iter().cloned().map(Word::from).collect(),
            Live::Remote => {
                let remote = servers.iter().filter(|server| matches!(server.reach, Reach::Remote(_)));
                remote.map(|server| Word::from(server.name.to_string())).collect()
            }
            Live::Tools(server) => {
                let spec = servers.iter().find(|spec| *spec.name == **server);
                let tools = cache.map(|dir| catalogue::tools(dir, server, spec)).unwrap_or_default();
                let named = |(name, about): (String, String)| match spec {
                    Some(spec) if !spec.tools.publishes(&name) => None,
                    Some(spec) => Some(Word { text: spec.tools.name_of(&name).to_owned(), about, is_file: false }),
                    None => Some(Word { text: name, about, is_file: false }),
                };
                tools.into_iter().filter_map(named).collect()
            }
        }
    }
}

/// A path that begins with `~`, which no shell has replaced yet.
fn at_home(path: &str, env: &Environment) -> PathBuf {
    match (path.strip_prefix("~/"), env.filled("HOME")) {
        (Some(rest), Some(home)) => Path::new(home).join(rest),
        (Some(_) | None, Some(_) | None) => PathBuf::from(path),
    }
}
