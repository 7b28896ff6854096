//! Forgets what servers and endpoints said, on a person's word: all of it, or what one server said.

use std::io;
use std::path::Path;

use super::file::{self, MAX_FILE};
use super::name::{is_of_server, kept, of_era, of_server, of_tools};
use crate::config::ServerSpec;
use crate::disk::folder::{Folder, base};

/// What was removed.
#[derive(Debug, Default)]
pub(crate) struct Cleared {
    pub(crate) files: usize,
    /// Of all of them together.
    pub(crate) bytes: u64,
    /// What could not be removed, and why.
    pub(crate) left: Vec<(String, io::Error)>,
}

/// Removes what is remembered in our folder in `dir`: of the server that has this config, also as earlier configs of its name had it;
/// without one all. `None`: there is no folder.
///
/// # Errors
/// What is there is not ours.
pub(crate) fn clear(dir: &Path, server: Option<&ServerSpec>) -> io::Result<Option<Cleared>> {
    let Some(folder) = Folder::find(dir)? else { return Ok(None) };
    let meant = server.map(|spec| (spec, [of_server(spec), of_tools(spec), of_era(spec)]));
    let is_meant = |name: &str| match &meant {
        Some((spec, names)) => {
            let is_named = || folder.peek(name, MAX_FILE).is_ok_and(|bytes| file::is_about(&bytes, &spec.name));
            names.iter().any(|known| base(name) == known) || (is_of_server(name) && is_named())
        }
        None => kept(base(name)).is_some(),
    };
    let mut cleared = Cleared::default();
    for (name, size) in folder.files().into_iter().filter(|(name, _)| is_meant(name)) {
        match folder.remove(&name) {
            Ok(()) => {
                cleared.files += 1;
                cleared.bytes += size;
            }
            // Somebody else was faster.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => cleared.left.push((folder.path().join(name).display().to_string(), error)),
        }
    }
    Ok(Some(cleared))
}
