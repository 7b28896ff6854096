//! Notices that a file has changed from which the config is made.
//!
//! Files are looked at once a second, by name: so one that an editor puts in the place of another is seen, and so is a link that leads
//! elsewhere. What has changed has to stay as it is for one more look, so that nothing is read that is half written.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::time::sleep;

use crate::disk::read::{Accept, whole};
use crate::process::aside::aside;

/// Time between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// Largest file that is compared by what is in it, in bytes. Larger ones are no config.
const LARGEST: u64 = 4 << 20;

/// What a file looks like from outside: file system, number, size, time of the last change.
type Stamp = Option<(u64, u64, u64, Option<SystemTime>)>;

/// A file as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sight {
    path: PathBuf,
    stamp: Stamp,
    /// A fingerprint of what is in it; `None` if it can't be read.
    print: Option<u64>,
}

/// The files, as they were when the config was last read.
#[derive(Debug, Clone, Default)]
pub(super) struct Watch {
    seen: Vec<Sight>,
    /// The stamps of a look at which something had changed.
    unsettled: Option<Vec<Stamp>>,
}

impl Watch {
    /// These files, as they are now.
    pub(super) async fn of(paths: BTreeSet<PathBuf>) -> Watch {
        let look = move || paths.iter().map(|path| Sight::of(path)).collect();
        Watch { seen: aside(look).await.unwrap_or_default(), unsettled: None }
    }

    /// Which files these are.
    pub(super) fn paths(&self) -> BTreeSet<PathBuf> {
        self.seen.iter().map(|sight| sight.path.clone()).collect()
    }

    /// Waits until some file is another one than it was. Returns which.
    pub(super) async fn changed(&mut self) -> BTreeSet<PathBuf> {
        loop {
            sleep(PAUSE).await;
            let changed = self.look().await;
            if !changed.is_empty() {
                return changed;
            }
        }
    }

    /// The files that have changed since the last look, and not only just now.
    async fn look(&mut self) -> BTreeSet<PathBuf> {
        let paths: Vec<PathBuf> = self.seen.iter().map(|sight| sight.path.clone()).collect();
        // A disk that hangs holds up nothing but this.
        let Ok(stamps) = aside(move || paths.iter().map(|path| stamp(path)).collect::<Vec<Stamp>>()).await else {
            return BTreeSet::new();
        };
        if self.seen.iter().zip(&stamps).all(|(sight, stamp)| sight.stamp == *stamp) {
            self.unsettled = None;
            return BTreeSet::new();
        }
        if self.unsettled.replace(stamps.clone()).as_ref() != Some(&stamps) {
            return BTreeSet::new();
        }
        self.unsettled = None;
        let before = self.seen.clone();
        let Ok(now) = aside(move || before.iter().map(|sight| Sight::of(&sight.path)).collect::<Vec<Sight>>()).await
        else {
            return BTreeSet::new();
        };
        let others = self.seen.iter().zip(&now).filter(|(before, now)| before.print != now.print);
        let changed = others.map(|(_, now)| now.path.clone()).collect();
        self.seen = now;
        changed
    }
}

impl Sight {
    fn of(path: &Path) -> Sight {
        let stamp = stamp(path);
        let print = whole(path, LARGEST, Accept::Files).ok().map(|bytes| {
            let mut hasher = DefaultHasher::new();
            bytes.hash(&mut hasher);
            hasher.finish()
        });
        Sight { path: path.to_owned(), stamp, print }
    }
}

fn stamp(path: &Path) -> Stamp {
    let found = std::fs::metadata(path).ok()?;
    #[cfg(unix)]
    let (device, number) = {
        use std::os::unix::fs::MetadataExt as _;
        (found.dev(), found.ino())
    };
    #[cfg(not(unix))]
    let (device, number) = (0, 0);
    Some((device, number, found.len(), found.modified().ok()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::fs::{remove_file, rename, write};

    use super::*;

    #[tokio::test]
    async fn a_file_that_has_changed_is_told_once_it_stays_so_and_one_that_was_only_touched_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let [file, other, link] = ["a", "b", "l"].map(|name| dir.path().join(name));
        write(&file, "1").unwrap();
        let mut watch = Watch::of([file.clone(), other.clone(), link.clone()].into()).await;
        assert!(watch.look().await.is_empty());
        // Written twice: not before it stays.
        for text in ["22", "333"] {
            write(&file, text).unwrap();
            assert!(watch.look().await.is_empty(), "{text}");
        }
        assert_eq!(watch.look().await, [file.clone()].into());
        assert!(watch.look().await.is_empty());
        // The same again, in another file of that name.
        write(dir.path().join("new"), "333").unwrap();
        rename(dir.path().join("new"), &file).unwrap();
        assert!(watch.look().await.is_empty() && watch.look().await.is_empty() && watch.look().await.is_empty());
        // One that was not there, a link that leads elsewhere, and one that is gone.
        write(&other, "x").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(&other, &link).unwrap();
        #[cfg(not(unix))]
        write(&link, "y").unwrap();
        remove_file(&file).unwrap();
        assert!(watch.look().await.is_empty());
        assert_eq!(watch.look().await, [file, other, link].into());
    }
}
