//! Finding and reading the config file.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Environment;
use super::defaults;
use super::missing::is_script;
use super::options::{CommandLine, Options, Target};
use crate::disk::read::{Accept, whole};
use crate::disk::{joined, obstacle};
use crate::endpoint::{looks_like_endpoint, looks_like_token};
use crate::error::{Code, Place, Problem};
use crate::process::limits;
use crate::words::{character, closest, is_unseen, quoted};

/// The variable that names the config.
pub(crate) const CONFIG: &str = "MCP_CONFIG";

/// Largest config that is read, in bytes: a thousand servers take a quarter of that.
pub(crate) const MAX_CONFIG: u64 = 4 << 20;
/// Longest wait for a config that comes from a command, as with `--config <(pass show mcp)`: a person may be typing a
/// passphrase.
const PATIENCE: Duration = Duration::from_secs(60);

/// The config file's text.
pub(crate) struct Found {
    /// The file's name, as people are shown it.
    pub(crate) name: String,
    /// The folder from which relative paths in the file start; absolute.
    pub(crate) base: PathBuf,
    /// The whole text.
    pub(crate) text: String,
}

/// Where the config is looked for.
pub(crate) struct Named {
    /// The path as it was written; relative to the working directory.
    pub(crate) path: PathBuf,
    /// The option or variable that names the config; `None` for the default name.
    by: Option<String>,
}

/// What names a config that is named by an argument.
const ARGUMENT: &str = "the command line";

impl Named {
    /// Whether somebody has named it.
    pub(crate) fn is_named(&self) -> bool {
        self.by.is_some()
    }
}

/// The config that `--config` names, else `MCP_CONFIG` in `settings`, else the default. `in_dotenv`: the place in `.env` that
/// sets the variable, if one does.
pub(crate) fn named(options: &Options, settings: &Environment, in_dotenv: Option<String>) -> Named {
    match (&options.config, settings.filled(CONFIG)) {
        (Some(path), _) => {
            let by = if options.config_is_argument { ARGUMENT } else { "--config" };
            Named { path: path.clone(), by: Some(by.to_owned()) }
        }
        (None, Some(path)) => {
            let place = in_dotenv.map_or_else(String::new, |place| format!(" in {place}"));
            Named { path: PathBuf::from(path), by: Some(format!("{CONFIG}{place}")) }
        }
        (None, None) => Named { path: PathBuf::from(defaults::CONFIG), by: None },
    }
}

/// Whether the config may have a server of this name: `file`, or what a run would take. It is not read as a config, since whatever else is
/// wrong with it is no matter to whoever asks.
pub(crate) fn may_have_server(name: &str, file: Option<&Path>) -> bool {
    let by_variable = || std::env::var_os(CONFIG).filter(|file| !file.is_empty()).map(PathBuf::from);
    let file = file.map(Path::to_path_buf).or_else(by_variable).unwrap_or_else(|| defaults::CONFIG.into());
    let text = whole(&file, MAX_CONFIG, Accept::Files).unwrap_or_default();
    String::from_utf8_lossy(&text).contains(&format!("{name:?}"))
}

/// How the variable that names the config is set no more, if it is that: `by` is it, perhaps with its place in `.env`.
fn without_variable(by: &str) -> Option<String> {
    Some(match by.strip_prefix(CONFIG)?.strip_prefix(" in ") {
        Some(_) => format!("take {CONFIG} out of .env"),
        None => format!("unset {CONFIG}"),
    })
}

/// Reads the config. `Ok(None)` if neither option nor variable names one, the default one doesn't exist, and the command line names a
/// server or a program. `beginning`: how a command line begins that needs no config, if there is one.
///
/// # Errors
/// Why the file can't be read, or that there is none.
pub(crate) fn config(
    Named { path, by }: &Named,
    cwd: &Path,
    line: &CommandLine<'_>,
    beginning: Option<&str>,
) -> Result<Option<Found>, Problem> {
    let (name, named_by) = (path.display().to_string(), by.as_deref());
    let needed = line.target == Target::All;
    if let (true, Some(by)) = (looks_like_endpoint(&name), named_by) {
        // On an endpoint of our own no other one has a place.
        let dialled = if line.local { "" } else { "; pass an endpoint by MCP_ENDPOINT, .env or --endpoint" };
        let remedy = format!("name a file{dialled}");
        return Err(Problem::new(by, Code::Argument.says("is a URL, not a config file"), remedy));
    }
    let full = joined(cwd, path);
    if let Some(text) = line.text {
        let base = full.parent().unwrap_or(cwd).to_path_buf();
        return Ok(Some(Found { name, base, text: text.reveal().to_owned() }));
    }
    if let (true, Some(by)) = (looks_like_token(&name) && !full.exists(), named_by) {
        let dialled =
            if line.local { "" } else { "; pass an endpoint, token included, by MCP_ENDPOINT, .env or --endpoint" };
        let remedy = format!("name a file{dialled}");
        return Err(Problem::new(by, Code::Argument.says("looks like a token, and there is no such file"), remedy));
    }
    if is_script(&name) && named_by.is_some() && full.is_file() {
        let local = if line.local { "--local " } else { "" };
        let unset = named_by.and_then(without_variable).map_or_else(String::new, |unset| format!("{unset} and "));
        let remedy = format!("name a config file, or {unset}run the script: mcp-pipe {local}{}", quoted(&name));
        return Err(Problem::new(Place::file(name), Code::Argument.says("is a script, not a config"), remedy));
    }
    let error = match whole(&full, MAX_CONFIG, Accept::Streams(PATIENCE)) {
        Ok(bytes) => {
            let text = String::from_utf8(bytes).map_err(|error| {
                let line = error.as_bytes()[..error.utf8_error().valid_up_to()].split(|b| *b == b'\n').count();
                Problem::new(
                    Place::line(&*name, line),
                    Code::Encoding.says("is not UTF-8"),
                    "save the file in the encoding UTF-8",
                )
            })?;
            let base = full.parent().unwrap_or(cwd).to_path_buf();
            return Ok(Some(Found { name, base, text }));
        }
        Err(error) => error,
    };
    // Whoever follows this is not to be told the same again.
    let unset = named_by.and_then(without_variable).map_or_else(String::new, |unset| format!("{unset}, and "));
    let alone = beginning.map(|line| format!("; or {unset}run one command without a config: {line} -- CMD"));
    let make =
        format!("create it with {{\"mcpServers\": {{…}}}}, see mcp_config.minimal.json{}", alone.unwrap_or_default());
    let on_the_way = obstacle::on_the_way(&full);
    match (error.kind(), named_by) {
        _ if on_the_way.is_some() => {
            let (what, remedy) = on_the_way.map(|obstacle| obstacle.told()).unwrap_or_default();
            Err(Problem::new(Place::file(name), Code::FileUnreadable.says(what), remedy))
        }
        (ErrorKind::NotFound, None) if !needed => Ok(None),
        (ErrorKind::NotFound, None) => {
            let what = format!(
                "is not in the working directory ({}), and neither --config nor MCP_CONFIG names another",
                cwd.display()
            );
            Err(Problem::new(Place::file(name), Code::FileMissing.says(what), make))
        }
        (ErrorKind::NotFound, Some(by)) => {
            let what = format!("does not exist ({by} names it)");
            Err(match name.chars().find(|c| *c != ' ' && is_unseen(*c)) {
                Some(c) => {
                    let what = format!("{what}, and its name holds a character that can't be seen: {}", character(c));
                    // Escaped: such a character must not reach a terminal.
                    Problem::new(
                        Place::file(name.escape_debug().to_string()),
                        Code::FileMissing.says(what),
                        "write the name without it",
                    )
                }
                None => {
                    let meant = neighbour(path, &full).map(|meant| format!("did you mean {meant}?"));
                    // A server's name, most likely.
                    let is_word = by == ARGUMENT && path.extension().is_none() && path.components().count() == 1;
                    let alone = || {
                        "name a config file, or nothing for mcp_config.json: all its servers are looked at".to_owned()
                    };
                    let remedy = meant.unwrap_or_else(|| if is_word { alone() } else { make });
                    Problem::new(Place::file(name), Code::FileMissing.says(what), remedy)
                }
            })
        }
        _ if full.is_dir() => {
            Err(Problem::new(Place::file(name), Code::FileUnreadable.says("is a directory"), "name the file in it"))
        }
        (ErrorKind::PermissionDenied, _) => Err(Problem::new(
            Place::file(name),
            Code::FileUnreadable.says(format!("can't be read: {}", limits::in_words(&error))),
            format!("{}; in a container that is uid 10001, not the user on the host", obstacle::let_read(path)),
        )),
        (ErrorKind::FileTooLarge | ErrorKind::TimedOut, _) => {
            let remedy = "name the config itself, or a command that writes it and ends";
            Err(Problem::new(
                Place::file(name),
                Code::FileUnreadable.says(format!("can't be read: {}", limits::in_words(&error))),
                remedy,
            ))
        }
        _ => Err(Problem::new(
            Place::file(name),
            Code::FileUnreadable.says(format!("can't be read: {}", limits::in_words(&error))),
            "",
        )),
    }
}

/// Most files of a folder among which a config is looked for that was meant.
const MOST_NEIGHBOURS: usize = 1000;

/// The config that was most likely meant by the name of one that is not there, as it is to be written.
fn neighbour(written: &Path, full: &Path) -> Option<String> {
    let name = full.file_name()?.to_str()?;
    let files = full.parent()?.read_dir().ok()?.take(MOST_NEIGHBOURS).filter_map(Result::ok);
    let mut names: Vec<String> = files.filter_map(|file| file.file_name().into_string().ok()).collect();
    names.retain(|name| [".json", ".jsonc"].iter().any(|ending| name.ends_with(ending)));
    names.sort();
    let without_ending = names.iter().find(|other| other.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')));
    let meant = without_ending.map(String::as_str).or_else(|| closest(name, names.iter().map(String::as_str)))?;
    Some(written.with_file_name(meant).display().to_string())
}
