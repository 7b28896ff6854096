//! The files that are read and written here: the config, `.env`, and those of other programs.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::config::{self, DotEnv, Surroundings};
use crate::disk::read::{Accept, whole};
use crate::disk::replace::{Before, Replaced, replace};
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
    redactor.clean_value(&mut value);
    plain::json(&format!("{value:#}\n")).into_owned()
}

/// That something can't be done, with what to do.
pub(crate) fn failure(exit: Exit, what: impl Into<String>, remedy: impl Into<String>) -> Failure {
    Failure::Asking { exit, what: what.into(), remedy: remedy.into() }
}

/// Why a file can't be used.
pub(crate) struct Broken {
    exit: Exit,
    what: String,
    remedy: String,
}

impl From<Broken> for Failure {
    /// Nothing goes on without the file.
    fn from(Broken { exit, what, remedy }: Broken) -> Self {
        failure(exit, format!("{what}; nothing was written"), remedy)
    }
}

impl Broken {
    /// The same of a file that costs nothing but itself.
    pub(crate) fn passed_over(self) -> Failure {
        failure(self.exit, format!("{}; it is passed over", self.what), "once it is mended: mcp-pipe import")
    }
}

/// The text of a file of the user; `None` if there is none.
///
/// # Errors
/// Why it can't be read.
pub(crate) fn text(path: &Path) -> Result<Option<String>, Broken> {
    read(path, "mend it, or see that it may be read")
}

/// The same of a file of another program.
///
/// # Errors
/// As [`text`].
pub(crate) fn foreign_text(path: &Path) -> Result<Option<String>, Broken> {
    read(path, "name it by --from only if it is needed, or mend it")
}

fn read(path: &Path, remedy: &str) -> Result<Option<String>, Broken> {
    let unread = |why: &dyn std::fmt::Display| {
        let what = format!("{} can't be read: {why}", brief_path(path));
        Broken { exit: Exit::Failed, what, remedy: remedy.to_owned() }
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
pub(crate) fn value(path: &Path, text: &str) -> Result<Value, Broken> {
    if text.trim_start_matches('\u{feff}').trim().is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    let name = path.display().to_string();
    let unparsed = |Problems { mistakes, .. }: Problems| {
        let first = mistakes.first();
        let what = first.map_or_else(|| format!("{name}: is no valid JSON"), |p| format!("{}: {}", p.place, p.what));
        let remedy = first.map_or_else(String::new, |problem| problem.remedy.clone());
        Broken { exit: Exit::Config, what, remedy }
    };
    let value = config::parsed(&name, text).map_err(unparsed)?;
    if value.is_object() {
        return Ok(value);
    }
    Err(Broken { exit: Exit::Config, what: format!("{name}: is no JSON object"), remedy: "name a config".to_owned() })
}

/// The config that counts, as it is now.
pub(crate) struct Config {
    pub(crate) path: PathBuf,
    pub(crate) text: Option<String>,
    pub(crate) value: Value,
    /// What is in the `.env` beside it.
    pub(crate) dotenv_text: Option<String>,
    /// All variables of `.env` files, with those of that one as they are now.
    pub(crate) dotenv: DotEnv,
}

/// The folder of a file, with which nobody else of us does anything until this is dropped.
pub(crate) struct Lock(#[expect(dead_code, reason = "held, not used: closing it releases the lock")] Option<File>);

impl Lock {
    /// Waits for it. Where the folder is not there yet, that in which it will be counts.
    ///
    /// # Errors
    /// Somebody else has had it for long.
    pub(crate) fn wait(path: &Path) -> Result<Self, Failure> {
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
                    let what = format!("another mcp-pipe is writing {}; nothing was written", brief_path(path));
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
    pub(crate) fn read(surroundings: &Surroundings) -> Result<Self, Broken> {
        let path = surroundings.place();
        let text = text(&path)?;
        let value = value(&path, text.as_deref().unwrap_or_default())?;
        let file = path.with_file_name(".env");
        let dotenv_text = self::text(&file)?;
        // Whoever had the lock before may have written it.
        let dotenv = surroundings.dotenv.with(file, dotenv_text.as_deref());
        Ok(Config { path, text, value, dotenv_text, dotenv })
    }

    /// What a variable in it holds: by the environment, else by `.env`, else as one of editors.
    pub(crate) fn variable(&self, surroundings: &Surroundings, name: &str) -> Option<String> {
        let env = &surroundings.env;
        // An endpoint that is blank does not count.
        if name == config::ENDPOINT {
            return env.filled(name).or_else(|| Some(self.dotenv.filled(name)?.0)).map(str::to_owned);
        }
        let set = env.get(name).or_else(|| self.dotenv.get(name)).map(str::to_owned);
        set.or_else(|| config::editor_value(name, self.folder(), env))
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

    /// The `.env` beside it.
    pub(crate) fn dotenv_path(&self) -> PathBuf {
        self.path.with_file_name(".env")
    }

    /// Its servers.
    pub(crate) fn servers(&self) -> Map<String, Value> {
        let list = self.list().into_iter().fold(&self.value, |value, key| &value[key]);
        list.as_object().cloned().unwrap_or_default()
    }
}

/// Writes files, with one time for all copies.
pub(crate) struct Writer {
    stamp: String,
    /// What was done, the last at the end.
    done: Vec<(PathBuf, Replaced)>,
}

impl Writer {
    pub(crate) fn new() -> Self {
        // 2026-11-29T17:15:00.000Z
        let digits: String = logging::utc().chars().filter(char::is_ascii_digit).take(14).collect();
        let (date, time) = digits.split_at(digits.len().min(8));
        Writer { stamp: format!("{date}-{time}"), done: Vec::new() }
    }

    /// The copies of what was there.
    pub(crate) fn copies(&self) -> Vec<PathBuf> {
        self.done.iter().filter_map(|(_, done)| done.copy().map(Path::to_path_buf)).collect()
    }

    /// Puts a text into a file that held another, or none.
    ///
    /// # Errors
    /// It could not be written, and all files are as they were, or it is said which is not.
    pub(crate) fn put(
        &mut self,
        path: &Path,
        before: Option<String>,
        text: &str,
        is_private: bool,
    ) -> Result<(), Failure> {
        match replace(path, &Before { text: before, is_private }, text, &self.stamp) {
            Ok(done) => {
                self.done.push((path.to_path_buf(), done));
                Ok(())
            }
            Err(error) => {
                let mut what = format!("{} can't be written: {error}; it is as it was", brief_path(path));
                for (path, done) in self.done.drain(..).rev() {
                    let copy = done.copy().map(Path::to_path_buf);
                    if let Err(error) = done.undo() {
                        what.push_str(&format!(", but {} is not: {error}", brief_path(&path)));
                        let copy = copy.filter(|copy| copy.exists());
                        what.extend(copy.map(|copy| format!("; what was in it is in {}", brief_path(&copy))));
                    }
                }
                let is_barred =
                    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem);
                Err(failure(Exit::Failed, what, if is_barred { "see that its folder may be written" } else { "" }))
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::Environment;
    use crate::config::options::Options;

    fn config(folder: &Path, env: Environment) -> (Surroundings, Config) {
        let surroundings = Surroundings::look(&Options::default(), env, folder);
        let config = Config::read(&surroundings).map_err(Failure::from).unwrap();
        (surroundings, config)
    }

    #[test]
    fn a_variable_holds_what_it_does_for_a_run_and_a_blank_endpoint_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path();
        let of = |env: &[(&str, &str)], dotenv: &str, name: &str| {
            fs::write(folder.join(".env"), dotenv).unwrap();
            let (surroundings, config) = config(folder, env.iter().copied().collect());
            config.variable(&surroundings, name)
        };
        let place = Some(folder.display().to_string());
        for (env, dotenv, name, want) in [
            (&[("A", "env")][..], "A=file", "A", Some("env")),
            (&[], "A=file", "A", Some("file")),
            (&[("A", "")], "A=file", "A", Some("")),
            (&[], "MCP_ENDPOINT=", "MCP_ENDPOINT", None),
            (&[("MCP_ENDPOINT", " ")], "", "MCP_ENDPOINT", None),
            (&[("MCP_ENDPOINT", "")], "MCP_ENDPOINT=wss://h/", "MCP_ENDPOINT", Some("wss://h/")),
            (&[("HOME", "/home/u")], "", "userHome", Some("/home/u")),
            (&[], "", "workspaceFolder", place.as_deref()),
        ] {
            assert_eq!(of(env, dotenv, name).as_deref(), want, "{env:?} {dotenv} {name}");
        }
    }

    #[test]
    fn what_was_written_while_somebody_waited_counts() {
        let dir = tempfile::tempdir().unwrap();
        let surroundings = Surroundings::look(&Options::default(), Environment::default(), dir.path());
        fs::write(dir.path().join(".env"), "A=now\n").unwrap();
        let config = Config::read(&surroundings).map_err(Failure::from).unwrap();
        assert_eq!(config.variable(&surroundings, "A").as_deref(), Some("now"));
        assert_eq!(config.dotenv.vars().collect::<Vec<_>>(), [("A", "now")]);
    }

    #[test]
    fn where_a_file_can_not_be_written_it_is_told_which_is_not_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (dir.path().join("first"), dir.path().join("second"));
        let put = |spoil: &dyn Fn()| {
            fs::write(&first, "old").unwrap();
            let mut writer = Writer::new();
            writer.put(&first, Some("old".to_owned()), "new", true).unwrap();
            spoil();
            // It is not as it is said to have been.
            let failure = writer.put(&second, Some("never".to_owned()), "new", false).unwrap_err();
            failure.shown(&Redactor::default())
        };
        let said = put(&|| {});
        assert!(said.contains("it is as it was") && !said.contains("first"), "{said}");
        assert_eq!(fs::read_to_string(&first).unwrap(), "old");
        let said = put(&|| fs::write(&first, "somebody's").unwrap());
        assert!(said.contains("but") && said.contains("first is not: it has changed meanwhile"), "{said}");
        assert!(said.contains("what was in it is in") && said.contains("first.backup-"), "{said}");
        assert_eq!(fs::read_to_string(&first).unwrap(), "somebody's");
    }
}
