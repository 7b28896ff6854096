//! The files that are read and written here: the config, `.env`, and those of other programs.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::config::{self, Surroundings};
use crate::disk::joined;
use crate::disk::read::{Accept, whole};
use crate::disk::replace::{Before, replace, undo};
use crate::error::{Exit, Failure, Problems};
use crate::logging;
use crate::secrecy::{Redactor, plain};
use crate::words::{brief, brief_path};

/// Largest file that is read, in bytes: the settings of an editor, or what Claude Code remembers of all projects.
const MAX: u64 = 64 << 20;

/// Longest wait for another mcp-pipe that writes.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time between two looks whether it has done.
const BETWEEN: Duration = Duration::from_millis(50);

/// A name or a value from somebody else's file, within a line of ours.
pub(crate) fn one_line(text: &str) -> String {
    plain::line(&brief(text)).into_owned()
}

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

/// The text of a file of the user; `None` if there is none.
///
/// # Errors
/// Why it can't be read.
pub(crate) fn text(path: &Path) -> Result<Option<String>, Failure> {
    read(path, "mend it, or see that it may be read")
}

/// The same of a file of another program.
///
/// # Errors
/// As [`text`].
pub(crate) fn foreign_text(path: &Path) -> Result<Option<String>, Failure> {
    read(path, "name it by --from only if it is needed, or mend it")
}

fn read(path: &Path, remedy: &str) -> Result<Option<String>, Failure> {
    let unread = |why: &dyn std::fmt::Display| {
        let what = format!("{} can't be read: {why}; nothing was written", brief_path(path));
        failure(Exit::Failed, what, remedy)
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
    /// What is in the `.env` beside it.
    pub(crate) dotenv: Option<String>,
}

/// The folder of the config, with which nobody else of us does anything until this is dropped.
pub(crate) struct Lock(#[expect(dead_code, reason = "held, not used: closing it releases the lock")] Option<File>);

impl Lock {
    /// Waits for it. Where the folder is not there yet, that in which it will be counts.
    ///
    /// # Errors
    /// Somebody else has had it for long.
    pub(crate) fn wait(surroundings: &Surroundings) -> Result<Self, Failure> {
        let path = surroundings.place();
        // Where a folder can't be opened (on Windows), nothing is locked: what has changed meanwhile is still noticed.
        let Some(folder) = path.ancestors().skip(1).find(|folder| folder.is_dir()).and_then(|f| File::open(f).ok())
        else {
            return Ok(Lock(None));
        };
        let end = Instant::now() + PATIENCE;
        loop {
            match folder.try_lock() {
                Ok(()) => return Ok(Lock(Some(folder))),
                Err(TryLockError::WouldBlock) if Instant::now() < end => std::thread::sleep(BETWEEN),
                Err(TryLockError::WouldBlock) => {
                    let what = format!("another mcp-pipe is writing {}; nothing was written", brief_path(&path));
                    return Err(failure(Exit::Failed, what, "try again once it has done, or asked what it asks"));
                }
                Err(TryLockError::Error(_)) => return Ok(Lock(None)),
            }
        }
    }
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
        let dotenv = self::text(&path.with_file_name(".env"))?;
        Ok(Config { path, text, value, dotenv })
    }

    /// What a variable holds in the environment or in `.env`, as that is now.
    pub(crate) fn variable(&self, surroundings: &Surroundings, name: &str) -> Option<String> {
        let here = || config::dotenv_value(self.dotenv.as_deref()?, name);
        variable(surroundings, name).or_else(here)
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
    /// What was done, the last at the end.
    done: Vec<Done>,
    /// The copies of what was there.
    pub(crate) copies: Vec<PathBuf>,
}

impl Writer {
    pub(crate) fn new() -> Self {
        // 2026-11-29T17:15:00.000Z
        let digits: String = logging::utc().chars().filter(char::is_ascii_digit).take(14).collect();
        let (date, time) = digits.split_at(digits.len().min(8));
        Writer { stamp: format!("{date}-{time}"), done: Vec::new(), copies: Vec::new() }
    }

    /// Puts a text into a file that held another, or none.
    ///
    /// # Errors
    /// It could not be written, and all files are as they were.
    pub(crate) fn put(
        &mut self,
        path: &Path,
        before: Option<String>,
        text: &str,
        is_private: bool,
    ) -> Result<(), Failure> {
        let before = Before { text: before, is_private };
        match replace(path, &before, text, &self.stamp) {
            Ok(copy) => {
                self.copies.extend(copy.clone());
                self.done.push(Done { path: path.to_path_buf(), before, text: text.to_owned(), copy });
                Ok(())
            }
            Err(error) => {
                for done in self.done.drain(..).rev() {
                    undo(&done.path, &done.before, &done.text, done.copy.as_deref());
                }
                let what = format!("{} can't be written: {error}; it is as it was", brief_path(path));
                let is_barred =
                    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem);
                Err(failure(Exit::Failed, what, if is_barred { "see that its folder may be written" } else { "" }))
            }
        }
    }
}

/// A file that was written.
struct Done {
    path: PathBuf,
    before: Before,
    text: String,
    copy: Option<PathBuf>,
}
