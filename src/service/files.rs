//! The files of a service: compared with what is there, written whole and with the rights that they need, and removed.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::seal;
use super::variables;
use crate::disk::is_closed;

/// A file that is to be there.
pub(super) struct Planned {
    pub(super) path: PathBuf,
    pub(super) text: String,
    /// For its owner only.
    pub(super) is_private: bool,
}

/// What is to be done so that it is there.
pub(super) enum Change {
    New,
    Same,
    /// What is there was written by us.
    Renewed,
    /// What is there is somebody's, and goes to this place.
    Kept(PathBuf),
}

/// Whether a file is as we wrote it; `None`: it is not ours, or not there.
pub(super) fn state(path: &Path) -> Option<bool> {
    seal::is_as_written(&fs::read_to_string(path).ok()?)
}

/// Removes a file of ours. One that was changed since is kept under another name. Returns what was done, for people.
pub(super) fn remove(path: &Path) -> io::Result<String> {
    if state(path) == Some(true) {
        fs::remove_file(path)?;
        return Ok(format!("removed {}\n", path.display()));
    }
    let kept = beside(path);
    fs::rename(path, &kept)?;
    Ok(format!("removed {}; as somebody had changed it, it is kept as {}\n", path.display(), kept.display()))
}

/// A name beside a file that is not taken.
fn beside(path: &Path) -> PathBuf {
    let named = |n: usize| {
        let mut name = path.as_os_str().to_owned();
        name.push(if n == 0 { ".old".to_owned() } else { format!(".old{n}") });
        PathBuf::from(name)
    };
    (0..).map(named).find(|path| fs::symlink_metadata(path).is_err()).unwrap_or_else(|| named(0))
}

impl Planned {
    pub(super) fn change(&self) -> Change {
        let is_closed = !self.is_private || is_closed(&self.path);
        match fs::read(&self.path) {
            Err(_) if fs::symlink_metadata(&self.path).is_err() => Change::New,
            Ok(there) if there == self.text.as_bytes() && is_closed => Change::Same,
            Ok(there) if seal::is_as_written(&String::from_utf8_lossy(&there)) == Some(true) => Change::Renewed,
            Ok(_) | Err(_) => Change::Kept(beside(&self.path)),
        }
    }

    /// Written beside its place, and put there at once. Nobody else can read a private one at any moment.
    fn write(&self) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(self.text.as_bytes())?;
        #[cfg(unix)]
        if !self.is_private {
            use std::os::unix::fs::PermissionsExt as _;
            file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
        }
        file.persist(&self.path).map(drop).map_err(|error| error.error)
    }
}

impl Change {
    /// Makes it. Returns what was done, for people.
    pub(super) fn make(&self, file: &Planned) -> io::Result<String> {
        let path = file.path.display();
        let kept = match self {
            Change::Same => return Ok(format!("as it was: {path}\n")),
            Change::New | Change::Renewed => String::new(),
            Change::Kept(kept) => {
                fs::rename(&file.path, kept)?;
                format!("; what somebody had written there is kept as {}", kept.display())
            }
        };
        file.write()?;
        Ok(format!("written: {path}{kept}\n"))
    }

    /// What would be done, with the file as far as it may be seen.
    pub(super) fn would(&self, file: &Planned) -> String {
        let path = file.path.display();
        let only = if file.is_private { ", for its owner only" } else { "" };
        let head = match self {
            Change::Same => return format!("would leave as it is: {path}\n"),
            Change::New => format!("would write {path}{only}:\n"),
            Change::Renewed => format!("would write {path} anew{only}:\n"),
            Change::Kept(kept) => format!("would write {path}{only}, and keep what is there as {}:\n", kept.display()),
        };
        let text = if file.is_private { variables::shown(&file.text) } else { file.text.clone() };
        let lines: String = text.lines().map(|line| format!("    {line}\n")).collect();
        format!("{head}{lines}")
    }
}
