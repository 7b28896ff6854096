//! Files whose names others choose or share: read with bounds, whatever lies there; and a folder that is ours alone.

pub(crate) mod folder;
pub(crate) mod obstacle;
pub(crate) mod read;

use std::path::{Path, PathBuf};

/// A path that starts at a folder, without steps that lead nowhere (`/./`, `//`). Steps upwards stay: behind a link they lead elsewhere.
pub(crate) fn joined(folder: &Path, path: impl AsRef<Path>) -> PathBuf {
    folder.join(path).components().collect()
}
