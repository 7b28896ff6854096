//! What the control socket of a daemon is called: after its config.

use std::fs;
use std::path::Path;

use crate::disk::digest_of;

/// Most daemons of one config that get a socket each: more than that are a mistake.
pub(super) const MOST: usize = 16;

/// The name for a config, and a number where several daemons run with that.
pub(super) fn of_config(config: &Path, number: usize) -> String {
    let resolved = fs::canonicalize(config).unwrap_or_else(|_| config.to_path_buf());
    let key = digest_of(&resolved);
    if number == 1 { key } else { format!("{key}-{number}") }
}
