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

/// Whether nobody but its owner can read a file.
pub(crate) fn is_closed(path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        path.metadata().is_ok_and(|file| file.permissions().mode() & 0o077 == 0)
    }
    #[cfg(not(unix))]
    {
        path.exists()
    }
}

/// A config as a part of the name of a file about it. Where links lead changes with each release, and the config is still the same one.
pub(crate) fn digest_of_config(config: &Path) -> String {
    digest_of(&std::path::absolute(config).unwrap_or_else(|_| config.to_path_buf()))
}

/// A path as a part of the name of a file about it: 16 digits, which are other ones for each path.
pub(crate) fn digest_of(path: &Path) -> String {
    let digest = digest(&SHA256, path.as_os_str().as_encoded_bytes());
    digest.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}
