//! The histories of a run: noted with the time, and kept in the state folder, so that they survive a restart of mcp-pipe.
//!
//! # Theory of operation
//!
//! There is one file for each config, and the daemon that writes it has a lock; another one of the same config keeps its histories in memory
//! alone. The file is written a while after something has changed, once in a minute at most, and at the end; and once in an hour, so that after a
//! death without words it is known until when mcp-pipe ran. Each write is a thread's work, which holds up nothing.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::{Doing, Histories, Told};
use crate::disk::digest_of_config;
use crate::disk::folder::{Folder, Purpose};
use crate::process::aside::aside;
use crate::process::stop::Stop;

/// Shortest time between two writes, for the sake of disks that wear out.
const BETWEEN: Duration = Duration::from_secs(60);
/// Longest time between two of them.
const AT_LEAST: Duration = Duration::from_secs(3600);
/// Longest wait for the disk, at the start and at the end.
const PATIENCE: Duration = Duration::from_secs(2);
/// Largest file that is read, in bytes: all spans that there may be, with the longest reasons, have less.
const MAX_FILE: u64 = 16 << 20;

/// What is known of the end of a run that has not said anything.
const UNSAID: &str = "it was killed, or the machine went down, then or later";

/// What servers did. Cloning gives another handle.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    all: Arc<Mutex<Histories>>,
    changed: watch::Sender<()>,
}

/// What is in the file.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    /// When it was written, in milliseconds since 1970.
    saved: u64,
    /// Whether that was the end of the run.
    ended: bool,
    servers: Histories,
}

/// Where histories are kept.
#[derive(Debug)]
pub(crate) struct Store {
    history: History,
    file: Arc<Place>,
}

#[derive(Debug)]
struct Place {
    parent: PathBuf,
    name: String,
    /// Held for as long as the process lives.
    _lock: File,
}

impl History {
    fn lock(&self) -> MutexGuard<'_, Histories> {
        // Nothing panics while it is held.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A server is one of this run, and is starting.
    pub(crate) fn add(&self, name: &str) {
        self.lock().add(name);
        self.note(name, Doing::Starting, "");
    }

    /// A server is one of this run no more.
    pub(crate) fn remove(&self, name: &str) {
        self.lock().remove(name, now());
        self.changed.send_replace(());
    }

    /// Notes what a server does from now on.
    pub(crate) fn note(&self, name: &str, doing: Doing, why: &str) {
        if self.lock().note(name, doing, why, now()) {
            self.changed.send_replace(());
        }
    }

    /// What the server of this name did, or all did.
    pub(crate) fn read(&self, only: Option<&str>) -> Vec<Told> {
        self.lock().read(only, now())
    }

    /// Takes what the run before has kept in the state folder `parent` for a config, before any server is added. Where nothing can be kept,
    /// that is told in the log.
    pub(crate) async fn open(&self, parent: Option<PathBuf>, config: &Path) -> Option<Store> {
        let config = config.to_path_buf();
        let parent = parent?;
        let opened = timeout(PATIENCE, aside(move || open(parent, &config))).await;
        match opened.map_err(io::Error::from).and_then(|opened| opened).and_then(|opened| opened) {
            Ok((place, read)) => {
                match read {
                    Ok(Some(Kept { saved, ended, servers })) => {
                        self.lock().restore(servers, (saved, now()), if ended { "" } else { UNSAID });
                    }
                    Ok(None) => {}
                    Err(damage) => warn!(
                        event = "HISTORY",
                        "what servers did before can't be read, and is begun anew: {}: {damage}", place.name
                    ),
                }
                Some(Store { history: self.clone(), file: Arc::new(place) })
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                debug!(
                    event = "HISTORY",
                    "another mcp-pipe runs with this config: what servers do is not kept by this one"
                );
                None
            }
            Err(error) => {
                warn!(event = "HISTORY", "what servers do is not kept for the next run: {error}");
                None
            }
        }
    }
}

/// What was kept, if anything was and can be read.
type Read = Result<Option<Kept>, String>;

fn open(parent: PathBuf, config: &Path) -> io::Result<(Place, Read)> {
    let of = digest_of_config(config);
    let (name, folder) = (format!("history-{of}.json"), Folder::make_for(Purpose::State, &parent)?);
    let lock = folder.open_lock(&format!("history-{of}.lock"))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::WouldBlock.into()),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let read = match folder.read(&name, MAX_FILE) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| error.to_string()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    };
    Ok((Place { parent, name, _lock: lock }, read))
}

impl Store {
    /// Keeps what servers do, until `ended`, and once more then.
    pub(crate) async fn keep(self, ended: Stop) {
        let mut changes = self.history.changed.subscribe();
        let (mut said, over) = (false, ended.now());
        // A write is waited for however long it takes, while the run goes on: one that was left alone could come after the last one.
        while over.run_until_cancelled(timeout(AT_LEAST, changes.changed())).await.is_some() {
            let mut write = pin!(self.write(false, &mut said));
            if over.run_until_cancelled(&mut write).await.is_none() && timeout(PATIENCE, write).await.is_err() {
                // A disk that hangs takes the last one neither.
                return;
            }
            over.run_until_cancelled(sleep(BETWEEN)).await;
        }
        let _hangs = timeout(PATIENCE, self.write(true, &mut said)).await;
    }

    async fn write(&self, ended: bool, said: &mut bool) {
        let (history, file) = (self.history.clone(), self.file.clone());
        let written = aside(move || {
            let kept = Kept { saved: now(), ended, servers: history.lock().clone() };
            let text = serde_json::to_vec(&kept)?;
            Folder::make_for(Purpose::State, &file.parent)?.put(&file.name, &text)
        });
        let failed = written.await.and_then(|written| written).err();
        if let Some(error) = failed.as_ref().filter(|_| !*said) {
            warn!(
                event = "HISTORY",
                "what servers do can't be kept for the next run: {error}; it is tried again now and then"
            );
        }
        *said = failed.is_some();
    }
}

/// The time, in milliseconds since 1970.
fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::fs;

    use super::*;

    fn file(dir: &Path) -> PathBuf {
        let all = fs::read_dir(dir.join("mcp-pipe-state")).unwrap().map(|entry| entry.unwrap().path());
        let found: Vec<_> = all.filter(|path| path.extension().is_some_and(|end| end == "json")).collect();
        let [one] = &found[..] else { panic!("{found:?}") };
        one.clone()
    }

    async fn opened(dir: &Path) -> (History, Option<Store>) {
        let history = History::default();
        let store = history.open(Some(dir.to_path_buf()), Path::new("/a.json")).await;
        (history, store)
    }

    fn doings(history: &History) -> Vec<Doing> {
        let told = history.read(Some("a"));
        told.iter().flat_map(|told| told.row.spans.iter().map(|span| span.doing)).collect()
    }

    /// The end of a run that has these.
    async fn end(store: Store) {
        let ended = Stop::new();
        ended.advance();
        ended.advance();
        store.keep(ended).await;
    }

    #[tokio::test]
    async fn what_servers_did_survives_a_restart_and_the_time_without_mcp_pipe_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let (first, store) = opened(dir.path()).await;
        first.add("a");
        first.note("a", Doing::Serving, "");
        assert!(opened(dir.path()).await.1.is_none(), "another one of the same config");
        end(store.unwrap()).await;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(file(dir.path())).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let (second, store) = opened(dir.path()).await;
        second.add("a");
        assert_eq!(doings(&second), [Doing::Starting, Doing::Serving, Doing::Away, Doing::Starting]);
        assert_eq!(&*second.read(Some("a"))[0].row.spans[2].why, "");
        second.note("a", Doing::Serving, "");
        // As if it were killed a while after it has written.
        let mut said = false;
        store.as_ref().unwrap().write(false, &mut said).await;
        second.note("a", Doing::Down, "unseen");
        drop(store);
        let (third, _store) = opened(dir.path()).await;
        let told = third.read(None);
        assert_eq!(told[0].row.spans.back().map(|last| (last.doing, &*last.why)), Some((Doing::Away, UNSAID)));
    }

    #[tokio::test]
    async fn a_damaged_file_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let (first, store) = opened(dir.path()).await;
        first.add("a");
        end(store.unwrap()).await;
        let path = file(dir.path());
        for damage in ["", "{", "[]", "{\"saved\":1,\"ended\":true,\"servers\":{\"a\":{\"spans\":[{}]}}}"] {
            fs::write(&path, damage).unwrap();
            let (again, store) = opened(dir.path()).await;
            assert!(again.read(None).is_empty(), "{damage}");
            again.add("a");
            end(store.unwrap()).await;
            assert_eq!(doings(&opened(dir.path()).await.0), [Doing::Starting, Doing::Away], "{damage}");
        }
    }

    #[tokio::test]
    async fn without_a_folder_nothing_is_kept() {
        assert!(History::default().open(None, Path::new("/a.json")).await.is_none());
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("mcp-pipe-state"), "").unwrap();
        assert!(opened(dir.path()).await.1.is_none());
    }
}
