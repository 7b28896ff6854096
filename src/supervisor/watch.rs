//! Notices that a file has changed from which the config is made.
//!
//! Files are looked at once a second, by name: so one that an editor puts in the place of another is seen, and so is a link that leads
//! elsewhere. What has changed has to stay as it is for one more look, so that nothing is read that is half written.
//! A thread of its own does that: a disk that hangs holds up nothing else, and nobody else is woken.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::thread::{Builder, sleep};
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc::{Receiver, Sender, channel};
use tracing::warn;

use crate::config::MAX_CONFIG;
use crate::disk::read::{Accept, whole};
use crate::process::aside::aside;

/// Time between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// Bytes of the thread's stack: it calls nothing deep.
const STACK: usize = 128 << 10;

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

/// Some files, as they were at the last look.
#[derive(Debug, Default)]
struct Seen {
    files: Vec<Sight>,
    /// The stamps of a look at which something had changed.
    unsettled: Option<Vec<Stamp>>,
}

/// Files that are watched until this is dropped.
#[derive(Debug, Default)]
pub(super) struct Watch {
    paths: BTreeSet<PathBuf>,
    /// Which files have changed; `None`: nothing is watched.
    changes: Option<Receiver<BTreeSet<PathBuf>>>,
}

impl Watch {
    /// These files, as they are now.
    pub(super) async fn of(paths: BTreeSet<PathBuf>) -> Watch {
        let (tell, changes) = channel(1);
        let look = paths.clone();
        let seen = aside(move || Seen::of(&look)).await.unwrap_or_default();
        let watching = Builder::new().name("mcp-pipe-watch".to_owned()).stack_size(STACK);
        let changes = match watching.spawn(move || watch(seen, &tell)) {
            Ok(_) => Some(changes),
            Err(error) => {
                warn!(
                    event = "CONFIG_WARNING",
                    "changes of the config are not noticed by themselves ({error}); mcp-pipe reload applies them"
                );
                None
            }
        };
        Watch { paths, changes }
    }

    /// Which files these are.
    pub(super) fn paths(&self) -> BTreeSet<PathBuf> {
        self.paths.clone()
    }

    /// Waits until some file is another one than it was. Returns which.
    pub(super) async fn changed(&mut self) -> BTreeSet<PathBuf> {
        let changed = match &mut self.changes {
            Some(changes) => changes.recv().await,
            None => None,
        };
        match changed {
            Some(changed) => changed,
            None => std::future::pending().await,
        }
    }
}

/// Looks until nobody wants to know any more.
fn watch(mut seen: Seen, tell: &Sender<BTreeSet<PathBuf>>) {
    loop {
        sleep(PAUSE);
        if tell.is_closed() {
            return;
        }
        let changed = seen.look();
        if !changed.is_empty() {
            let _nobody = tell.blocking_send(changed);
        }
    }
}

impl Seen {
    fn of(paths: &BTreeSet<PathBuf>) -> Seen {
        Seen { files: paths.iter().map(|path| Sight::of(path)).collect(), unsettled: None }
    }

    /// The files that have changed since the last look, and not only just now.
    fn look(&mut self) -> BTreeSet<PathBuf> {
        let stamps: Vec<Stamp> = self.files.iter().map(|sight| stamp(&sight.path)).collect();
        if self.files.iter().zip(&stamps).all(|(sight, stamp)| sight.stamp == *stamp) {
            self.unsettled = None;
            return BTreeSet::new();
        }
        if self.unsettled.replace(stamps.clone()).as_ref() != Some(&stamps) {
            return BTreeSet::new();
        }
        self.unsettled = None;
        let now: Vec<Sight> = self.files.iter().map(|sight| Sight::of(&sight.path)).collect();
        let others = self.files.iter().zip(&now).filter(|(before, now)| before.print != now.print);
        let changed = others.map(|(_, now)| now.path.clone()).collect();
        self.files = now;
        changed
    }
}

impl Sight {
    fn of(path: &Path) -> Sight {
        let stamp = stamp(path);
        let print = whole(path, MAX_CONFIG, Accept::Files).ok().map(|bytes| {
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

    #[test]
    fn a_file_that_has_changed_is_told_once_it_stays_so_and_one_that_was_only_touched_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let [file, other, link] = ["a", "b", "l"].map(|name| dir.path().join(name));
        write(&file, "1").unwrap();
        let mut watch = Seen::of(&[file.clone(), other.clone(), link.clone()].into());
        assert!(watch.look().is_empty());
        // Written twice: not before it stays.
        for text in ["22", "333"] {
            write(&file, text).unwrap();
            assert!(watch.look().is_empty(), "{text}");
        }
        assert_eq!(watch.look(), [file.clone()].into());
        assert!(watch.look().is_empty());
        // The same again, in another file of that name.
        write(dir.path().join("new"), "333").unwrap();
        rename(dir.path().join("new"), &file).unwrap();
        assert!(watch.look().is_empty() && watch.look().is_empty() && watch.look().is_empty());
        // One that was not there, a link that leads elsewhere, and one that is gone.
        write(&other, "x").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(&other, &link).unwrap();
        #[cfg(not(unix))]
        write(&link, "y").unwrap();
        remove_file(&file).unwrap();
        assert!(watch.look().is_empty());
        assert_eq!(watch.look(), [file, other, link].into());
    }

    #[tokio::test]
    async fn a_change_is_told_to_whoever_waits_also_where_the_wait_was_broken_off() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a");
        let mut watch = Watch::of([file.clone()].into()).await;
        write(&file, "1").unwrap();
        let changed = loop {
            if let Ok(changed) = tokio::time::timeout(Duration::from_millis(50), watch.changed()).await {
                break changed;
            }
        };
        assert_eq!((changed, watch.paths()), ([file.clone()].into(), [file].into()));
    }
}
