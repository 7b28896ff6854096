//! The files that are read and written here: the config, `.env`, and those of other programs.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::config::{self, Surroundings};
use crate::disk::joined;
use crate::disk::read::{Accept, whole};
use crate::disk::replace::{Before, replace};
use crate::error::{Exit, Failure, Problems};
use crate::logging;
use crate::secrecy::{Redactor, plain};
use crate::words::brief_path;

/// Largest file that is read, in bytes: the settings of an editor, or what Claude Code remembers of all projects.
const MAX: u64 = 64 << 20;

/// A text with entries in it for a person. They have no secrets any more, and variables in their addresses are to be seen.
pub(crate) fn shown(text: &str, redactor: &Redactor) -> String {
    text.lines().map(|line| format!("{}\n", plain::line(&redactor.clean(line)))).collect()
}

/// The same for a program.
pub(crate) fn shown_json(mut value: Value, redactor: &Redactor) -> String {
    config::each_text(&mut value, &mut |text| *text = redactor.clean(text).into_owned());
    plain::json(&format!("{value:#}\n")).into_owned()
}

/// That something can't be done, with what to do.
pub(crate) fn failure(exit: Exit, what: impl Into<String>, remedy: impl Into<String>) -> Failure {
    Failure::Asking { exit, what: what.into(), remedy: remedy.into() }
}

/// The text of a file; `None` if there is none.
///
/// # Errors
/// Why it can't be read.
pub(crate) fn text(path: &Path) -> Result<Option<String>, Failure> {
    let unread = |why: &dyn std::fmt::Display| {
        let what = format!("{} can't be read: {why}; nothing was written", brief_path(path));
        failure(Exit::Failed, what, "name it by --from only if it is needed, or mend it")
    };
    match whole(path, MAX, Accept::Files) {
        Ok(bytes) => String::from_utf8(bytes).map(Some).map_err(|_| unread(&"it is not UTF-8")),
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.symlink_metadata().is_err() => Ok(None),
        Err(error) => Err(unread(&error)),
    }
}

/// What a text says; nothing where it is blank.
///
/// # Errors
/// Why it is no JSON, or no object, with line and column.
pub(crate) fn value(path: &Path, text: &str) -> Result<Value, Failure> {
    if text.trim_start_matches('\u{feff}').trim().is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    let name = path.display().to_string();
    let unparsed = |Problems { mistakes, .. }: Problems| {
        let first = mistakes.first();
        let what = first.map_or_else(|| format!("{name}: is no valid JSON"), |p| format!("{}: {}", p.place, p.what));
        let remedy = first.map_or_else(String::new, |problem| problem.remedy.clone());
        failure(Exit::Config, format!("{what}; nothing was written"), remedy)
    };
    let value = config::parsed(&name, text).map_err(unparsed)?;
    if value.is_object() {
        return Ok(value);
    }
    Err(failure(Exit::Config, format!("{name}: is no JSON object; nothing was written"), "name a config"))
}

/// The config that counts, as it is now.
pub(crate) struct Config {
    pub(crate) path: PathBuf,
    pub(crate) text: Option<String>,
    pub(crate) value: Value,
}

impl Config {
    /// Reads it; there may be none yet.
    ///
    /// # Errors
    /// As [`text`] and [`value`].
    pub(crate) fn read(surroundings: &Surroundings) -> Result<Self, Failure> {
        let path = joined(&surroundings.cwd, &surroundings.config.path);
        let text = text(&path)?;
        let value = value(&path, text.as_deref().unwrap_or_default())?;
        Ok(Config { path, text, value })
    }

    /// The folder in which it is.
    pub(crate) fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    /// The keys that lead to its servers: it may be written as another program has it.
    pub(crate) fn list(&self) -> Vec<&str> {
        let top = self.value.as_object().into_iter().flatten().map(|(key, _)| key.as_str());
        let mut named = top.filter(|key| config::names_servers(key));
        match named.next() {
            Some(key) => vec![key],
            None if self.value["mcp"]["servers"].is_object() => vec!["mcp", "servers"],
            None if self.value["mcp"].is_object() => vec!["mcp"],
            None => vec!["mcpServers"],
        }
    }

    /// Its servers.
    pub(crate) fn servers(&self) -> Map<String, Value> {
        let list = self.list().into_iter().fold(&self.value, |value, key| &value[key]);
        list.as_object().cloned().unwrap_or_default()
    }
}

/// What a variable holds in the environment or in `.env`.
pub(crate) fn variable(surroundings: &Surroundings, name: &str) -> Option<String> {
    surroundings.env.get(name).or_else(|| surroundings.dotenv.get(name)).map(str::to_owned)
}

/// Writes files, with one time for all copies.
pub(crate) struct Writer {
    stamp: String,
    /// The copies of what was there.
    pub(crate) copies: Vec<PathBuf>,
}

impl Writer {
    pub(crate) fn new() -> Self {
        // 2026-11-29T17:15:00.000Z
        let digits: String = logging::utc().chars().filter(char::is_ascii_digit).take(14).collect();
        let (date, time) = digits.split_at(digits.len().min(8));
        Writer { stamp: format!("{date}-{time}"), copies: Vec::new() }
    }

    /// Puts a text into a file that held another, or none.
    ///
    /// # Errors
    /// It could not be written, and is as it was.
    pub(crate) fn put(
        &mut self,
        path: &Path,
        before: Option<String>,
        text: &str,
        is_private: bool,
    ) -> Result<(), Failure> {
        match replace(path, &Before { text: before, is_private }, text, &self.stamp) {
            Ok(copy) => {
                self.copies.extend(copy);
                Ok(())
            }
            Err(error) => {
                let what = format!("{} can't be written: {error}; it is as it was", brief_path(path));
                Err(failure(Exit::Failed, what, "see that its folder may be written"))
            }
        }
    }
}
