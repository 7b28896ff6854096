//! A `logFile`: at the top of the file that of mcp-pipe's own log, in an entry that of its server.
//!
//! | key | value | default | meaning |
//! |---|---|---|---|
//! | `path` | path `$` | | the file; it is made for its owner only, with the folders on the way |
//! | `maxSize` | size | `10MiB` | at this size it becomes `path.1`, what was that `path.2`, and so on, and it begins anew; at least 4 KiB |
//! | `keep` | number | 3 | how many older ones there are; at most 100 |

use std::path::{Component, Path, PathBuf};

use jsonc_parser::ast::Value;

use super::context::Context;
use super::keys::{self, Place as Where};
use super::reader::{Located, Reader};
use super::{defaults, paths, units};
use crate::disk::{joined, rotated};
use crate::error::{Code, Place};
use crate::words::{brief, brief_path};

/// A file into which lines are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFileSpec {
    /// Where it is; absolute.
    pub path: PathBuf,
    /// At which size it begins anew, in bytes.
    pub max_size: u64,
    /// How many older ones are kept.
    pub keep: usize,
}

/// The value of a `logFile`.
#[derive(Debug)]
pub(crate) struct LogFileEntry {
    place: Place,
    path: Option<Located<String>>,
    max_size: Option<u64>,
    keep: Option<usize>,
}

/// Reads the value of a `logFile`. `None` where there is to be none.
pub(crate) fn read(r: &mut Reader<'_>, value: &Value<'_>, path: &str) -> Option<LogFileEntry> {
    let mut entry = LogFileEntry { place: r.place(value, path), path: None, max_size: None, keep: None };
    match value {
        Value::NullKeyword(_) => return None,
        Value::Object(_) => {}
        Value::StringLit(_) | Value::NumberLit(_) | Value::BooleanLit(_) | Value::Array(_) => {
            entry.path = Some(r.string(value, path)?);
            return Some(entry);
        }
    }
    let before = r.mistakes.len();
    for (key, path, prop) in keys::members(r, value, path, Where::LogFile) {
        let value = &prop.value;
        match key.as_str() {
            "path" => entry.path = r.string(value, &path),
            "maxSize" => entry.max_size = r.parsed(value, &path, units::log_size),
            "keep" => entry.keep = r.parsed(value, &path, units::kept_files),
            _ => keys::foreign(r, &key, prop, &path, Where::LogFile),
        }
    }
    if entry.path.is_none() {
        // One that could not be read has been told of.
        if r.mistakes.len() == before {
            r.mistake(value, path, Code::MissingKey.says("has no path"), "add \"path\": the file");
        }
        return None;
    }
    Some(entry)
}

/// The file that is meant. `None` where it can't be used, which has been noted.
pub(crate) fn of(ctx: &mut Context<'_>, entry: Option<&LogFileEntry>) -> Option<LogFileSpec> {
    let entry = entry?;
    let text = entry.path.as_ref()?;
    let written = ctx.expand(text)?;
    let written = written.trim();
    if written.is_empty() {
        ctx.mistake(&text.place, Code::WrongValue.says("is empty"), "name a file, or leave it out for none");
        return None;
    }
    if ctx.is_mangled(text, written) || paths::is_misplaced(ctx, &text.place, written) {
        return None;
    }
    if written == "~" || written.starts_with("~/") {
        let what = "has a ~, which is not replaced here, as no shell reads it";
        ctx.mistake(&text.place, Code::NotReplaced.says(what), "write ${HOME} for it, or the whole path");
        return None;
    }
    let path = joined(&ctx.base, written);
    if let Some((what, remedy)) = rotated::unfit(&path) {
        let what = format!("names {}, which {what}", brief_path(&path));
        ctx.mistake(&text.place, Code::WrongValue.says(what), remedy);
        return None;
    }
    let max_size = entry.max_size.unwrap_or(defaults::LOG_FILE_SIZE);
    Some(LogFileSpec { path, max_size, keep: entry.keep.unwrap_or(defaults::LOG_FILES) })
}

/// Notes files in which lines would come together that are not meant to, also once they are older: each has one file alone. `servers`: those of servers, with their
/// names. `config`: the file in which all of this stands.
pub(crate) fn check(
    ctx: &mut Context<'_>,
    top: Option<(&LogFileSpec, &LogFileEntry)>,
    servers: &[(&str, &LogFileSpec, &LogFileEntry)],
    config: Option<&str>,
) {
    let of_servers = servers.iter().map(|(name, spec, entry)| (*spec, *entry, format!("the server {}", brief(name))));
    let of_top = top.map(|(spec, entry)| (spec, entry, "mcp-pipe's log".to_owned()));
    // Where each leads to is found out once: a config may have thousands.
    let all: Vec<_> =
        of_top.into_iter().chain(of_servers).map(|(spec, entry, of)| (spec, whole(&spec.path), entry, of)).collect();
    let read = [config.map(|name| joined(ctx.cwd, name)), Some(ctx.cwd.join(".env")), Some(ctx.base.join(".env"))];
    let read: Vec<_> = read.into_iter().flatten().map(|path| (whole(&path), path)).collect();
    for (at, (spec, leads_to, LogFileEntry { place, .. }, _)) in all.iter().enumerate() {
        if let Some((_, path)) = read.iter().find(|(path, _)| path == leads_to) {
            let what = format!("names {}, from which mcp-pipe reads its config", brief_path(path));
            ctx.mistake(place, Code::Contradiction.says(what), "name another file");
        }
        let path = brief_path(&spec.path);
        let what = all[..at].iter().find_map(|(other, other_leads_to, _, of)| {
            if leads_to == other_leads_to {
                Some(format!("names {path}, and so does {of}"))
            } else if is_older(other_leads_to, leads_to, spec) || is_older(leads_to, other_leads_to, other) {
                let theirs = brief_path(&other.path);
                Some(format!("names {path}, and {of} has {theirs}: an older part of one log would lie at the other"))
            } else {
                None
            }
        });
        if let Some(what) = what {
            ctx.mistake(place, Code::Duplicate.says(what), "give each a file of its own");
        }
    }
}

/// A path without links and `..`, as far as it is there: of two that lead to one file these are the same.
fn whole(path: &Path) -> PathBuf {
    let mut whole = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir {
            whole.pop();
        } else {
            whole.push(part);
            whole = whole.canonicalize().unwrap_or(whole);
        }
    }
    whole
}

/// Whether this path is that of an older part of a log that leads to `log`.
fn is_older(path: &Path, log: &Path, spec: &LogFileSpec) -> bool {
    (1..=spec.keep).any(|number| rotated::older(log, number) == path)
}
