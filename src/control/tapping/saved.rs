//! The file of `mcp-pipe tap --save`: a new one, for its owner only, and of bounded size.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::control::created::{create, unwritten};
use crate::error::Failure;
use crate::words::{brief_path, size};

/// Largest file, in bytes: millions of messages, which is more than anybody reads. One who forgot that they look on may not fill the disk.
const MOST: u64 = 1 << 30;

/// What has named the file.
const OPTION: &str = "--save";

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Saved {
    path: PathBuf,
    /// `None` once it is full.
    file: Option<File>,
    /// How much may still be written, in bytes.
    left: u64,
}

impl Saved {
    /// A new file.
    ///
    /// # Errors
    /// There is one of that name already, or none can be made.
    pub(super) fn create(path: &Path) -> Result<Self, Failure> {
        Saved::of(path, MOST)
    }

    fn of(path: &Path, left: u64) -> Result<Self, Failure> {
        let file = create(OPTION, path)?;
        Ok(Saved { path: path.to_path_buf(), file: Some(file), left })
    }

    /// Writes a line. The first one for which there is no room is told in the file, and for a person in what is returned; from then on
    /// nothing is written.
    ///
    /// # Errors
    /// The file can't be written.
    pub(super) fn write(&mut self, line: &str) -> Result<Option<String>, Failure> {
        let Some(file) = &mut self.file else { return Ok(None) };
        let bytes = line.len() as u64 + 1;
        let is_full = bytes > self.left;
        let line = if is_full { r#"{"kind":"full"}"# } else { line };
        writeln!(file, "{line}").map_err(|error| unwritten(OPTION, &self.path, &error))?;
        self.left = self.left.saturating_sub(bytes);
        if !is_full {
            return Ok(None);
        }
        self.file = None;
        let path = brief_path(&self.path);
        Ok(Some(format!("--save: {path} has {}, and gets no more; what passes is still shown", size(MOST))))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_is_full_says_so_once_and_gets_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let mut saved = Saved::of(&path, 9).unwrap();
        assert!(saved.write("abc").unwrap().is_none() && saved.write("abcd").unwrap().is_none());
        let full = saved.write("").unwrap().unwrap();
        assert!(full.starts_with("--save: ") && full.contains("has 1 GiB, and gets no more"), "{full}");
        assert!(saved.write("x").unwrap().is_none());
        assert_eq!(fs::read_to_string(&path).unwrap(), "abc\nabcd\n{\"kind\":\"full\"}\n");
        assert!(Saved::create(&path).is_err(), "nothing is written over it");
    }

    #[test]
    fn the_documents_tell_the_bound() {
        let told = format!("`--save` keeps {} at most", size(MOST));
        assert!(include_str!("../../../README.md").contains(&told), "{told}");
    }
}
