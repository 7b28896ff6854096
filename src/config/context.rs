//! The state of resolving a config: what is being resolved, and the variables, mistakes and secrets found so far.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::Environment;
use super::defaults;
use super::dotenv::{DotEnv, DotFile};
use super::editor;
use super::expand::{ExpandError, expand, names};
use super::options::CommandLine;
use super::reader::Located;
use super::syntax::BACKSLASH;
use super::windows;
use crate::endpoint::{Endpoint, is_variable};
use crate::error::{Code, Place, Problem, Problems, Spot, What};
use crate::secrecy::{Redactor, Secret};
use crate::words::{brief, listed};

/// Most variables that are named in one mistake.
pub(crate) const MOST_NAMES: usize = 4;

/// What is being resolved, and what has been found so far.
pub(crate) struct Context<'a> {
    pub(crate) line: &'a CommandLine<'a>,
    pub(crate) env: &'a Environment,
    /// The environment, and what `.env` sets of mcp-pipe's own variables.
    pub(crate) settings: &'a Environment,
    pub(crate) dotenv: &'a DotEnv,
    /// Where a socket listens that whoever has started this process has opened.
    pub(crate) socket: Option<SocketAddr>,
    /// The files that entries name as their `envFile`, by the entry's name.
    pub(crate) env_files: Vec<(String, DotFile)>,
    pub(crate) cwd: &'a Path,
    /// The config's folder; the working directory without a config.
    pub(crate) base: PathBuf,
    /// The folder in which the state folder is, if anything is to be kept.
    pub(crate) state_dir: Option<PathBuf>,
    /// The variables that were looked up.
    pub(crate) asked: RefCell<BTreeSet<String>>,
    pub(crate) local: bool,
    pub(crate) problems: Problems,
    /// The endpoints that are dialled, with the place where each is named.
    pub(crate) named: Vec<(Place, Endpoint)>,
    pub(crate) notes: Vec<String>,
    /// What only a person who looks closely wants to know: logged at debug.
    pub(crate) details: Vec<String>,
    /// Everything that must be kept from a child's environment and from the log.
    pub(crate) hidden: Hidden,
}

/// Texts that let somebody in, in every spelling.
#[derive(Default)]
pub(crate) struct Hidden {
    /// Endpoints, whole ones and the secret parts of them.
    pub(crate) endpoints: Redactor,
    /// Header values.
    pub(crate) headers: Redactor,
    /// The names of variables of which header values, tokens and keys are made: one that is only a part of such a text is not found by it.
    pub(crate) parts: BTreeSet<String>,
    /// The environment's variables that hold one of these, and those of the `.env` files: found out once, not for each server.
    pub(crate) in_env: BTreeSet<OsString>,
    pub(crate) in_dotenv: BTreeSet<String>,
    /// All that must be seen nowhere: the parts of endpoints, header values, and what lets somebody in at a proxy.
    pub(crate) all: Vec<Secret>,
}

impl Context<'_> {
    /// What a variable holds in the environment, else in the `.env` files, else for editors.
    pub(crate) fn lookup(&self, name: &str) -> Option<String> {
        self.asked.borrow_mut().insert(name.to_owned());
        let set = self.env.get(name).or_else(|| self.dotenv.get(name)).map(str::to_owned);
        set.or_else(|| editor::value(name, &self.base, self.env))
    }

    /// What a variable of mcp-pipe's own says in the environment, else in the `.env` files, and where it is set.
    pub(crate) fn setting(&self, name: &str) -> Option<(String, Place)> {
        if let Some(text) = self.env.filled(name) {
            return Some((text.to_owned(), Place::variable(name)));
        }
        let (text, at) = self.dotenv.filled(name)?;
        Some((text.to_owned(), Place::set(name, at)))
    }

    /// What a variable holds in the files that an entry names as its `envFile`, and its place there. The last file counts.
    pub(crate) fn in_env_file(&self, server: &str, name: &str) -> Option<(&str, Spot)> {
        self.env_files_of(server).rev().find_map(|file| Some((file.get(name)?, file.spot(name))))
    }

    /// The files that an entry names as its `envFile`.
    pub(crate) fn env_files_of(&self, server: &str) -> impl DoubleEndedIterator<Item = &DotFile> {
        self.env_files.iter().filter(move |(of, _)| of == server).map(|(_, file)| file)
    }

    /// Notes the variables of which a text is made that lets somebody in.
    pub(crate) fn hide_parts(&mut self, text: &str) {
        let named = RefCell::new(BTreeSet::new());
        let look = |name: &str| {
            let found = self.lookup(name);
            named.borrow_mut().extend(found.is_some().then(|| name.to_owned()));
            found
        };
        // A text that can't be expanded is told of where it is used.
        let _text = expand(text, look);
        self.hidden.parts.append(&mut named.into_inner());
    }

    /// Keeps what the variables of a text hold out of the log: whoever names one there wants it seen nowhere else.
    pub(crate) fn hide_variables(&mut self, text: &str) {
        let held = names(text).filter(|name| !defaults::NEEDED.contains(name));
        let held = held.filter_map(|name| self.env.get(name).or_else(|| self.dotenv.get(name)));
        self.hidden.all.extend(held.map(Secret::new));
    }

    /// Whether a path holds what JSON made of a backslash, which is noted as a mistake.
    pub(crate) fn is_mangled(&mut self, text: &Located<String>, path: &str) -> bool {
        let Some((control, letter)) = windows::swallowed_backslash(path) else { return false };
        let what = format!("has a {}, which is what \\{letter} means in JSON", crate::words::character(control));
        self.mistake(&text.place, Code::WrongValue.says(what), BACKSLASH);
        true
    }

    /// Expands a text of the file. `None` if that is not possible, which is noted as a mistake.
    pub(crate) fn expand(&mut self, text: &Located<String>) -> Option<String> {
        let (code, what, remedy) = match expand(&text.value, |name| self.lookup(name)) {
            Ok(value) => return Some(value),
            Err(ExpandError::Unset(names)) => {
                let default = names.first().map_or_else(String::new, |name| format!("${{{}:-…}}", brief(name)));
                let shown = names.iter().take(MOST_NAMES).map(|name| brief(name)).collect();
                let what = format!("needs {}, which nothing sets", listed(shown, names.len()));
                (
                    Code::UnsetVariable,
                    what,
                    format!("set it in the environment or in .env, or give a default: {default}"),
                )
            }
            Err(ExpandError::Malformed) => {
                let code = Code::WrongValue;
                (code, "has a ${ that is not ${NAME} or ${NAME:-default}".to_owned(), "correct it".to_owned())
            }
            Err(ExpandError::Input) => {
                let remedy = "write ${NAME} and set NAME in the environment or in .env";
                (
                    Code::NotReplaced,
                    "asks a person by ${input:…}, which only VS Code does".to_owned(),
                    remedy.to_owned(),
                )
            }
            Err(ExpandError::Editor(kind)) => {
                let remedy = "write what it stands for, or ${NAME} and set NAME in the environment or in .env";
                (Code::NotReplaced, format!("has ${{{kind}…}}, which only an editor replaces"), remedy.to_owned())
            }
        };
        self.mistake(&text.place, code.says(what), remedy);
        None
    }

    /// Warns of a word that is a variable as shells write it, also of one that is all that a parameter of an address holds: it is
    /// passed on as it stands.
    pub(crate) fn warn_of_variable(&mut self, text: &Located<String>) {
        let is_between = |c: char| c.is_whitespace() || (text.value.contains("://") && "?&=".contains(c));
        let whole = text.value.split(is_between).find(|word| !word.starts_with("${") && is_variable(word));
        match whole {
            Some(word) => self.warn_not_replaced(&text.place, word, word.trim_matches(['$', '%'])),
            None => self.warn_of_known_variable(text),
        }
    }

    /// The same of a variable that is only a part of a word, as in `$HOME/x`: only where its name is one that everybody has, or is set,
    /// as any other may be a piece of a password.
    pub(crate) fn warn_of_known_variable(&mut self, text: &Located<String>) {
        let is_known = |name: &str| defaults::NEEDED.contains(&name) || (name.len() > 2 && self.lookup(name).is_some());
        let found = shells_variables(&text.value).find(|(_, name)| is_known(name));
        let found = found.map(|(written, name)| (written.to_owned(), name.to_owned()));
        if let Some((written, name)) = found {
            self.warn_not_replaced(&text.place, &written, &name);
        }
    }

    /// Warns of a variable as others than shells write it, `{env:NAME}`, `{NAME}` or `{{NAME}}`: it is passed on as it stands.
    pub(crate) fn warn_of_braces(&mut self, text: &Located<String>, which: Braces) {
        let found = text.value.match_indices('{').find_map(|(at, _)| {
            let (before, inside) = (&text.value[..at], &text.value[at + 1..]);
            let (name, _) = inside.split_once('}').filter(|_| !before.ends_with('$'))?;
            let written = format!("{{{name}}}");
            let name = match (name.strip_prefix("env:"), which) {
                (Some(name), _) => name,
                (None, Braces::Env) => return None,
                (None, Braces::All) => name.trim(),
            };
            is_variable(&format!("${{{name}}}")).then(|| (written, name.to_owned()))
        });
        if let Some((written, name)) = found {
            self.warn_not_replaced(&text.place, &written, &name);
        }
    }

    fn warn_not_replaced(&mut self, place: &Place, written: &str, name: &str) {
        let what = format!("holds {}, which is passed on as it stands", brief(written));
        self.warning(place, Code::NotReplaced.says(what), format!("write ${{{}}} for the variable", brief(name)));
    }

    /// Notes what must be put right; once, though keys at the top of the file are looked at for each server.
    pub(crate) fn mistake(&mut self, place: impl Into<Place>, what: What, remedy: impl Into<String>) {
        note(&mut self.problems.mistakes, Problem::new(place, what, remedy));
    }

    /// Notes that the target is neither a server nor a script nor a program.
    pub(crate) fn no_target(&mut self, place: impl Into<Place>, what: What, remedy: impl Into<String>) {
        self.problems.target = Some(Problem::new(place, what, remedy));
    }

    /// Notes an oddity that stops nothing; once, like a mistake.
    pub(crate) fn warning(&mut self, place: impl Into<Place>, what: What, remedy: impl Into<String>) {
        note(&mut self.problems.warnings, Problem::new(place, what, remedy));
    }
}

/// Which braces are taken for those of a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Braces {
    /// Those of opencode, `{env:NAME}`.
    Env,
    /// Also those that stand around a name alone.
    All,
}

/// The variables in a text as shells write them, `$NAME` or `%NAME%`, each with its name: those that begin where a word or a part of a
/// path or list does.
fn shells_variables(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let begins = move |at: usize| !text[..at].ends_with(|c: char| c.is_alphanumeric() || "_$%".contains(c));
    text.match_indices(['$', '%']).filter(move |(at, _)| begins(*at)).filter_map(move |(at, mark)| {
        let rest = &text[at + 1..];
        let name = &rest[..rest.find(|c| !is_name(c)).unwrap_or(rest.len())];
        let end = if mark == "%" { rest[name.len()..].starts_with('%').then_some(1)? } else { 0 };
        Some((&text[at..at + 1 + name.len() + end], name))
    })
}

fn note(problems: &mut Vec<Problem>, problem: Problem) {
    if !problems.contains(&problem) {
        problems.push(problem);
    }
}
