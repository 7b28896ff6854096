//! Files whose names others choose or share: read with bounds, whatever lies there; and a folder that is ours alone.

pub(crate) mod folder;
pub(crate) mod obstacle;
pub(crate) mod read;
pub(crate) mod replace;
pub(crate) mod rotated;

use std::path::{Path, PathBuf};

use ring::digest::{SHA256, digest};

/// A path that starts at a folder, without steps that lead nowhere (`/./`, `//`). Steps upwards stay: behind a link they lead elsewhere.
pub(crate) fn joined(folder: &Path, path: impl AsRef<Path>) -> PathBuf {
    folder.join(path).components().collect()
}

/// A path as a part of the name of a file about it: 16 digits, which are other ones for each path.
pub(crate) fn digest_of(path: &Path) -> String {
    let digest = digest(&SHA256, path.as_os_str().as_encoded_bytes());
    digest.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}
