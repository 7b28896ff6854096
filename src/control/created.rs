//! A new file that a person has named by an option, for its owner only: what goes into it may be private.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use crate::error::{Exit, Failure};
use crate::words::brief_path;

/// Makes the file. `option`: what has named it.
///
/// # Errors
/// There is one of that name already, or none can be made.
pub(crate) fn create(option: &str, path: &Path) -> Result<File, Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|error| {
        if error.kind() != io::ErrorKind::AlreadyExists {
            return unwritten(option, path, &error);
        }
        let what = format!("{option}: {} is there already, and nothing is written over it", brief_path(path));
        Failure::Asking { exit: Exit::Usage, what, remedy: "name another file, or remove that one".to_owned() }
    })
}

/// That the file can't be written.
pub(crate) fn unwritten(option: &str, path: &Path, error: &io::Error) -> Failure {
    let what = format!("{option}: {} can't be written: {error}", brief_path(path));
    Failure::Asking { exit: Exit::Usage, what, remedy: "name a file in a folder that you may write".to_owned() }
}
