//! Looks into the cache for whoever only wants names: nothing is noted, and what can't be read is not there.

use std::path::Path;

use super::file::{self, MAX_FILE};
use super::name::{is_of_server, of_server, of_tools};
use crate::config::ServerSpec;
use crate::disk::folder::Folder;

/// The names of the servers that are remembered in our folder in `dir`, each once.
pub(crate) fn servers(dir: &Path) -> Vec<String> {
    let Ok(Some(folder)) = Folder::find(dir) else { return Vec::new() };
    let files = folder.files().into_iter().filter(|(name, _)| is_of_server(name));
    let mut names: Vec<String> =
        files.filter_map(|(name, _)| file::server(&folder.peek(&name, MAX_FILE).ok()?)).collect();
    names.sort();
    names.dedup();
    names
}

/// The tools of a server that are remembered in our folder in `dir`, each with its description. Another config of the server may have
/// been of another environment: then what it said last counts.
pub(crate) fn tools(dir: &Path, server: &str, spec: Option<&ServerSpec>) -> Vec<(String, String)> {
    let Ok(Some(folder)) = Folder::find(dir) else { return Vec::new() };
    let read = |name: &str| folder.peek(name, MAX_FILE).ok();
    let last = || {
        let files = folder.files().into_iter().map(|(name, _)| name).filter(|name| is_of_server(name));
        let about = files.filter_map(|name| Some((folder.time(&name)?, read(&name)?)));
        let about = about.filter(|(_, bytes)| file::is_about(bytes, server));
        about.max_by_key(|(time, _)| *time).map(|(_, bytes)| bytes)
    };
    let own = |spec| read(&of_server(spec)).or_else(|| read(&of_tools(spec)));
    let bytes = spec.and_then(own).or_else(last);
    bytes.map(|bytes| file::tools(&bytes)).unwrap_or_default()
}
