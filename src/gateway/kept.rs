//! What of the gateway's sessions is kept in the state folder: the key with which their ids are sealed, and which of them have ended.
//!
//! # Theory of operation
//!
//! Both files are named after the config, so that an id is good for the daemons of one config and no others. Two of them may run at a
//! time; so each file is made and written anew under a lock, and what another has appended is read before an id is taken.
//! Files appear whole, or grow by whole lines. A thread writes what has ended, and exists only while there is something to write:
//! no disk holds up a message.
//!
//! Without a folder, or where its files can't be used, ids are random and don't survive the process.
//!
//! A key that the config names is that of several daemons on several machines, as behind a load balancer. It is read with the config and kept
//! nowhere here. What has ended is known to those that share a folder, and to nobody without one but this process.

use std::fmt::Display;
use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rand::Rng as _;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::ended::{End, Ended, Hash, MAX_FILE, lines};
use super::seal::{SealKey, Sealed};
use crate::config::SessionKey;
use crate::disk::digest_of_config;
use crate::disk::folder::{Folder, Purpose};
use crate::disk::read::{Accept, read};
use crate::process::aside::aside;

/// Longest wait of a client for the disk: whatever hangs there, it is answered.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longest wait for another process that has a lock, and time between two looks: each has it for some milliseconds.
const LOCKED: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(5);
/// Most ends that wait to be written: beyond that the file is written anew, with all of them.
const UNWRITTEN: usize = 1000;
/// Largest file with a key, in bytes: its digits, and a line break or two.
const MAX_KEY: u64 = 2 * SessionKey::LENGTH as u64 + 2;

/// The time, in seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// See the module's documentation. A clone is the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    sealing: Mutex<Sealing>,
    /// `None`: what ends is known as long as the process is there.
    files: Option<Files>,
    known: Mutex<Known>,
    /// Whether the thread is at work.
    busy: watch::Sender<bool>,
    /// How many looks at what others have written have begun.
    looks: AtomicU64,
    /// Held by whoever looks: the number of the last look that is over, and what has failed. One that began after somebody came serves them.
    looking: tokio::sync::Mutex<(u64, Option<String>)>,
}

/// With what ids are sealed.
#[derive(Debug, Clone, Default)]
struct Sealing {
    /// `None`: with nothing, they are random.
    key: Option<SealKey>,
    /// Whether other machines have the key as well.
    is_of_config: bool,
}

/// Where the files are.
#[derive(Debug, Clone)]
struct Files {
    parent: PathBuf,
    /// What they have in their names for the config.
    of: String,
}

#[derive(Debug, Default)]
struct Known {
    ended: Ended,
    unwritten: Vec<End>,
    /// Whether more has ended than is in the file and in `unwritten`, so that the file is to be written anew.
    is_behind: bool,
    /// The file as it was read or written last.
    seen: Option<Mark>,
    /// Whether the log has been told that nothing can be written.
    said: bool,
}

/// By which a file is seen to be another, or to have grown.
type Mark = (u64, SystemTime);

impl Kept {
    /// What is kept in this folder for a config, which may name a key. Where nothing can be, that is told in the log.
    pub(crate) async fn open(parent: Option<PathBuf>, config: &Path, key: Option<&SessionKey>) -> Self {
        let files = parent.map(|parent| Files::of(parent, config));
        let kept = Kept(Arc::new(Shared { files, ..Shared::default() }));
        kept.seal_with(key).await;
        kept
    }

    /// Has ids sealed with the key that the config names, or with our own. Those that were sealed with another one begin nothing anew.
    pub(super) async fn seal_with(&self, key: Option<&SessionKey>) {
        if let Some(key) = key {
            *self.0.sealing() = Sealing { key: Some(SealKey::new(key.clone())), is_of_config: true };
            return;
        }
        let before = self.0.sealing().clone();
        if before.key.is_some() && !before.is_of_config {
            return;
        }
        let own = match self.0.files.clone() {
            Some(files) => aside(move || files.key()).await.and_then(|key| key).map(Some),
            None => Ok(None),
        };
        let key = own.unwrap_or_else(|error| {
            warn!(
                event = "SESSIONS_NOT_KEPT",
                "sessions of MCP clients will not survive a restart of mcp-pipe: {error}; once that is mended, restart it"
            );
            None
        });
        *self.0.sealing() = Sealing { key, is_of_config: false };
    }

    /// Whether a session that nobody uses here may go on elsewhere.
    pub(super) fn is_shared(&self) -> bool {
        self.0.sealing().is_of_config
    }

    /// An id for a session. `None`: it would not survive the process.
    pub(super) fn seal(&self, of: &Sealed, bound: &[u8]) -> Option<Box<str>> {
        let mut random = [0; super::seal::RANDOM];
        rand::rng().fill_bytes(&mut random);
        let sealed = self.key()?.seal(of, bound, random);
        if sealed.is_none() {
            debug!(event = "GATEWAY", "a client says so much of itself that its session won't survive a restart");
        }
        sealed
    }

    /// What an id tells that is good for `bound`, unless its time is over.
    pub(super) fn open_id(&self, id: &str, bound: &[u8]) -> Option<Sealed> {
        self.key()?.open(id, bound).filter(|sealed| sealed.is_good(now()))
    }

    /// Whether a session has ended before its time. Where nobody can tell, it has; but not where other replicas have it as well, which can't
    /// tell either.
    pub(super) async fn has_ended(&self, hash: &Hash, issued: u64) -> bool {
        if self.key().is_none() {
            return true;
        }
        if let Err(why) = self.0.look().await {
            self.0.known().complain(&why);
            if !self.is_shared() {
                return true;
            }
        }
        self.is_known_to_have_ended(hash, issued)
    }

    /// The same, as far as it is known without a look at what others have written.
    pub(super) fn is_known_to_have_ended(&self, hash: &Hash, issued: u64) -> bool {
        self.0.known().ended.has(hash, issued)
    }

    /// Notes that a session has ended, by the hash of its id. `until`: when it would have ended anyway.
    pub(super) fn end(&self, hash: Hash, until: u64) {
        if until > now() && self.key().is_some() {
            self.0.note((hash, until));
        }
    }

    /// Notes that all sessions have ended, whoever knows of them.
    pub(super) fn end_all(&self) {
        if self.key().is_none() {
            return;
        }
        let mut known = self.0.known();
        known.ended.end_all(now());
        known.is_behind = true;
        self.0.work(known);
    }

    /// Waits until what has ended is written, but not for long.
    pub(super) async fn written(&self) {
        let mut busy = self.0.busy.subscribe();
        let _late = timeout(PATIENCE, busy.wait_for(|busy| !busy)).await;
    }

    fn key(&self) -> Option<SealKey> {
        self.0.sealing().key.clone()
    }
}

impl Shared {
    fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing panics while it is held.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sealing(&self) -> MutexGuard<'_, Sealing> {
        self.sealing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has an end written.
    fn note(self: &Arc<Self>, end: End) {
        let mut known = self.known();
        known.ended.note(end);
        if known.ended.is_full() {
            known.ended.make_room(now());
            known.is_behind = true;
        }
        if known.unwritten.len() < UNWRITTEN {
            known.unwritten.push(end);
        } else {
            known.is_behind = true;
        }
        self.work(known);
    }

    /// Has the thread at work.
    fn work(self: &Arc<Self>, mut known: MutexGuard<'_, Known>) {
        let Some(files) = self.files.clone() else {
            (known.unwritten, known.is_behind) = (Vec::new(), false);
            return;
        };
        // The flag is set while the list is locked: a thread that saw the list empty has cleared the flag by then.
        if !self.busy.send_replace(true) {
            let shared = self.clone();
            if let Err(error) =
                thread::Builder::new().name("mcp-pipe-sessions".to_owned()).spawn(move || shared.write(&files))
            {
                self.busy.send_replace(false);
                known.complain(&error);
            }
        }
    }

    /// Reads what another process has written since.
    async fn look(self: &Arc<Self>) -> Result<(), String> {
        let Some(files) = &self.files else { return Ok(()) };
        let before = self.looks.load(Ordering::Relaxed);
        let mut last = self.looking.lock().await;
        if last.0 <= before {
            let number = self.looks.fetch_add(1, Ordering::Relaxed) + 1;
            let (shared, files) = (self.clone(), files.clone());
            let looked = aside(move || {
                let mut file = files.open_ended(&files.folder()?)?;
                shared.read(&mut file)
            });
            let looked = timeout(PATIENCE, looked).await.map_err(io::Error::from).and_then(|looked| looked);
            *last = (number, looked.and_then(|looked| looked).err().map(|why| why.to_string()));
        }
        last.1.clone().map_or(Ok(()), Err)
    }

    /// Reads a file that is not as it was.
    fn read(&self, file: &mut File) -> io::Result<()> {
        let mark = mark_of(file)?;
        if self.known().seen == Some(mark) {
            return Ok(());
        }
        file.seek(SeekFrom::Start(0))?;
        let ended = Ended::read(&read(file, MAX_FILE, Accept::Files)?, now());
        let mut known = self.known();
        known.ended.join(ended);
        known.seen = Some(mark);
        Ok(())
    }

    /// The work of the thread: until nothing waits any more.
    fn write(&self, files: &Files) {
        loop {
            let written = self.write_once(files);
            let mut known = self.known();
            match written {
                Ok(()) if !known.unwritten.is_empty() || known.is_behind => continue,
                Ok(()) => known.said = false,
                Err(error) => {
                    // All that could not be written is still known, and is tried again with the next end.
                    known.is_behind = true;
                    known.complain(&error);
                }
            }
            self.busy.send_replace(false);
            return;
        }
    }

    fn write_once(&self, files: &Files) -> io::Result<()> {
        let folder = files.folder()?;
        let _lock = files.lock(&folder)?;
        let mut file = files.open_ended(&folder)?;
        self.read(&mut file)?;
        let mut known = self.known();
        let ends = std::mem::take(&mut known.unwritten);
        if known.is_behind || known.ended.is_outdated() {
            known.is_behind = false;
            let text = known.ended.rewrite(now());
            drop(known);
            folder.put(&files.ended(), text.as_bytes())?;
            file = files.open_ended(&folder)?;
        } else {
            known.ended.append(ends.len());
            drop(known);
            let is_whole = ends_with_line_break(&mut file)?;
            file.seek(SeekFrom::End(0))?;
            file.write_all(lines(&ends, is_whole).as_bytes())?;
        }
        self.known().seen = Some(mark_of(&file)?);
        Ok(())
    }
}

impl Known {
    /// Tells once that nothing can be kept.
    fn complain(&mut self, error: &dyn Display) {
        if !std::mem::replace(&mut self.said, true) {
            warn!(
                event = "SESSIONS_NOT_KEPT",
                "that sessions of MCP clients have ended can't be noted, or looked up: {error}; until that is mended, none survives a restart, but those with a sessionKeyFile"
            );
        }
    }
}

fn mark_of(file: &File) -> io::Result<Mark> {
    let found = file.metadata()?;
    Ok((found.len(), found.modified()?))
}

/// Whether the last line of a file has its end.
fn ends_with_line_break(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

impl Files {
    fn of(parent: PathBuf, config: &Path) -> Self {
        Files { parent, of: digest_of_config(config) }
    }

    fn folder(&self) -> io::Result<Folder> {
        Folder::make_for(Purpose::State, &self.parent)
    }

    fn ended(&self) -> String {
        format!("sessions-{}.ended", self.of)
    }

    fn open_ended(&self, folder: &Folder) -> io::Result<File> {
        folder.open_lock(&self.ended())
    }

    /// Waits until no other process writes; none does until the file is dropped.
    fn lock(&self, folder: &Folder) -> io::Result<File> {
        let file = folder.open_lock(&format!("sessions-{}.lock", self.of))?;
        let until = Instant::now() + LOCKED;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if Instant::now() < until => thread::sleep(LOOK),
                Err(TryLockError::WouldBlock) => {
                    return Err(io::Error::other("another mcp-pipe holds the lock for too long"));
                }
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    }

    /// The key, which is made where there is none.
    fn key(&self) -> io::Result<SealKey> {
        let (folder, name) = (self.folder()?, format!("sessions-{}.key", self.of));
        let _lock = self.lock(&folder)?;
        let shown = || folder.path().join(&name).display().to_string();
        match folder.read(&name, MAX_KEY) {
            Ok(text) => SessionKey::read(&text).map(SealKey::new).ok_or_else(|| {
                let digits = 2 * SessionKey::LENGTH;
                let why = format!(
                    "{} is no key: it has to have {digits} hexadecimal digits; remove it, and another is made",
                    shown()
                );
                io::Error::other(why)
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut random = [0; SessionKey::LENGTH];
                rand::rng().fill_bytes(&mut random);
                let key = SessionKey(random);
                folder.put(&name, key.write().as_bytes())?;
                Ok(SealKey::new(key))
            }
            Err(error) => Err(io::Error::new(
                error.kind(),
                format!("{} can't be read: {error}; remove it, or make it readable", shown()),
            )),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::fs;

    use futures_util::future::join_all;

    use super::super::ended::hash_of;
    use super::*;

    /// What is kept in a folder for a config of this name.
    async fn kept(dir: &Path, config: &str) -> Kept {
        Kept::open(Some(dir.to_path_buf()), Path::new(config), None).await
    }

    /// The same where the config names a key.
    async fn kept_with(dir: Option<&Path>, of: u8) -> Kept {
        Kept::open(dir.map(Path::to_path_buf), Path::new("/a.json"), Some(&SessionKey([of; SessionKey::LENGTH]))).await
    }

    fn sealed() -> Sealed {
        Sealed::now(now(), "2025-11-25", "{}")
    }

    /// The path of the only file with this ending.
    fn file(dir: &Path, ending: &str) -> PathBuf {
        let all = fs::read_dir(dir.join("mcp-pipe-state")).unwrap().map(|entry| entry.unwrap().path());
        let found: Vec<_> = all.filter(|path| path.extension().is_some_and(|end| end == ending)).collect();
        let [one] = &found[..] else { panic!("{found:?}") };
        one.clone()
    }

    #[tokio::test]
    async fn one_look_at_what_others_have_written_serves_all_who_wait_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let kept = kept(dir.path(), "/a.json").await;
        let ids: Vec<_> = (0..500).map(|n| hash_of(&n.to_string())).collect();
        let ended = join_all(ids.iter().map(|id| kept.has_ended(id, now()))).await;
        assert!(ended.iter().all(|ended| !ended));
        // Two, where all have come before the first look is over.
        let looks = kept.0.looks.load(Ordering::Relaxed);
        assert!(looks < 50, "{looks}");
    }

    #[tokio::test]
    async fn daemons_of_one_config_know_each_others_sessions_and_ends_and_others_know_neither() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = tokio::join!(kept(dir.path(), "/a.json"), kept(dir.path(), "/a.json"));
        let other = kept(dir.path(), "/b.json").await;
        let ids: Vec<_> = (0..2).map(|_| one.seal(&sealed(), b"x").unwrap()).collect();
        let issued = two.open_id(&ids[0], b"x").unwrap().issued;
        assert!(other.open_id(&ids[0], b"x").is_none() && two.open_id(&ids[0], b"y").is_none());
        assert!(!two.has_ended(&hash_of(&ids[0]), issued).await);
        for (from, to, id) in [(&one, &two, &ids[0]), (&two, &one, &ids[1])] {
            from.end(hash_of(id), now() + 100);
            from.written().await;
            assert!(from.has_ended(&hash_of(id), issued).await && to.has_ended(&hash_of(id), issued).await);
        }
        let again = kept(dir.path(), "/a.json").await;
        assert!(again.has_ended(&hash_of(&ids[0]), issued).await && again.has_ended(&hash_of(&ids[1]), issued).await);
        assert!(!again.has_ended(&hash_of("another"), issued).await);
    }

    #[tokio::test]
    async fn all_may_end_at_once_whoever_knows_of_them() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = tokio::join!(kept(dir.path(), "/a.json"), kept(dir.path(), "/a.json"));
        assert!(!two.has_ended(&hash_of("id"), now()).await);
        one.end_all();
        one.written().await;
        let again = kept(dir.path(), "/a.json").await;
        for kept in [&one, &two, &again] {
            assert!(
                kept.has_ended(&hash_of("id"), now() - 5).await && !kept.has_ended(&hash_of("id"), now() + 5).await
            );
        }
    }

    #[tokio::test]
    async fn however_many_end_at_once_all_are_known_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let one = kept(dir.path(), "/a.json").await;
        let ids: Vec<String> = (0..3 * UNWRITTEN).map(|of| of.to_string()).collect();
        ids.iter().for_each(|id| one.end(hash_of(id), now() + 100));
        one.end(hash_of("over"), now());
        one.written().await;
        let again = kept(dir.path(), "/a.json").await;
        for id in &ids {
            assert!(again.has_ended(&hash_of(id), now()).await, "{id}");
        }
        assert!(!again.has_ended(&hash_of("over"), now()).await);
        let lines = fs::read_to_string(dir.path().join(file(dir.path(), "ended"))).unwrap().lines().count();
        assert!(lines <= 3 * UNWRITTEN + 1, "{lines}");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn what_lies_there_is_for_its_owner_only_and_has_no_id() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let one = kept(dir.path(), "/a.json").await;
        let id = one.seal(&sealed(), b"").unwrap();
        one.end(hash_of(&id), now() + 100);
        one.written().await;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir.path().join("mcp-pipe-state")), 0o700);
        for ending in ["key", "ended", "lock"] {
            let path = file(dir.path(), ending);
            assert_eq!(mode(&path), 0o600, "{ending}");
            assert!(!fs::read_to_string(path).unwrap().contains(&*id));
        }
    }

    #[tokio::test]
    async fn without_a_key_that_can_be_used_no_id_survives() {
        let dir = tempfile::tempdir().unwrap();
        let one = kept(dir.path(), "/a.json").await;
        let id = one.seal(&sealed(), b"").unwrap();
        let path = file(dir.path(), "key");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, &text[1..]).unwrap();
        let wrong = kept(dir.path(), "/a.json").await;
        assert!(wrong.seal(&sealed(), b"").is_none() && wrong.open_id(&id, b"").is_none());
        assert!(wrong.has_ended(&hash_of(&id), now()).await, "nobody knows");
        assert_eq!(fs::read_to_string(&path).unwrap(), text[1..], "it is left as it is");
        fs::remove_file(&path).unwrap();
        let another = kept(dir.path(), "/a.json").await;
        assert!(another.seal(&sealed(), b"").is_some() && another.open_id(&id, b"").is_none());
        // Nothing is followed out of the folder.
        #[cfg(unix)]
        {
            fs::remove_file(&path).unwrap();
            let outside = dir.path().join("outside");
            fs::write(&outside, &text).unwrap();
            std::os::unix::fs::symlink(&outside, &path).unwrap();
            assert!(kept(dir.path(), "/a.json").await.seal(&sealed(), b"").is_none());
        }
        assert!(Kept::open(None, Path::new("/a.json"), None).await.seal(&sealed(), b"").is_none());
    }

    #[tokio::test]
    async fn with_a_key_of_the_config_ids_are_good_wherever_it_is_and_each_folder_knows_what_has_ended_there() {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let (one, other) = (kept_with(Some(dirs[0].path()), 1).await, kept_with(Some(dirs[1].path()), 1).await);
        let (nowhere, stranger) = (kept_with(None, 1).await, kept_with(Some(dirs[0].path()), 2).await);
        let id = one.seal(&sealed(), b"x").unwrap();
        let hash = hash_of(&id);
        for (kept, is_good) in [(&one, true), (&other, true), (&nowhere, true), (&stranger, false)] {
            assert_eq!((kept.is_shared(), kept.open_id(&id, b"x").is_some()), (true, is_good));
            assert!(kept.open_id(&id, b"y").is_none() && !kept.has_ended(&hash, now()).await);
        }
        for ending in [&one, &nowhere] {
            ending.end(hash, now() + 100);
            ending.written().await;
        }
        for (kept, has_ended) in [(&one, true), (&nowhere, true), (&other, false)] {
            assert_eq!(kept.has_ended(&hash, now()).await, has_ended);
        }
        nowhere.end_all();
        nowhere.written().await;
        assert!(nowhere.has_ended(&hash_of("another"), now() - 5).await);
        // The key itself lies in no folder, and a process without a folder knows only of itself.
        for dir in &dirs {
            let names = fs::read_dir(dir.path().join("mcp-pipe-state")).unwrap().map(|it| it.unwrap().path());
            assert!(names.into_iter().all(|path| path.extension().is_none_or(|end| end != "key")));
        }
        assert!(kept_with(Some(dirs[0].path()), 1).await.has_ended(&hash, now()).await);
        assert!(!kept_with(None, 1).await.has_ended(&hash, now()).await);
        // Where the folder can't be had, that costs no id its session.
        let file = dirs[0].path().join("file");
        fs::write(&file, "").unwrap();
        let without = kept_with(Some(&file), 1).await;
        assert!(without.open_id(&id, b"x").is_some() && !without.has_ended(&hash, now()).await);
    }

    #[tokio::test]
    async fn another_key_counts_from_when_the_config_names_it_and_our_own_where_it_names_none() {
        let dir = tempfile::tempdir().unwrap();
        let kept = kept(dir.path(), "/a.json").await;
        let own = kept.seal(&sealed(), b"").unwrap();
        kept.seal_with(Some(&SessionKey([1; SessionKey::LENGTH]))).await;
        let first = kept.seal(&sealed(), b"").unwrap();
        kept.seal_with(Some(&SessionKey([2; SessionKey::LENGTH]))).await;
        let second = kept.seal(&sealed(), b"").unwrap();
        let good = || [&own, &first, &second].map(|id| kept.open_id(id, b"").is_some());
        assert_eq!((good(), kept.is_shared()), ([false, false, true], true));
        kept.seal_with(None).await;
        assert_eq!((good(), kept.is_shared()), ([true, false, false], false));
        kept.seal_with(None).await;
        assert_eq!(good(), [true, false, false]);
    }

    #[tokio::test]
    async fn what_can_not_be_written_at_first_is_written_later() {
        let dir = tempfile::tempdir().unwrap();
        let one = kept(dir.path(), "/a.json").await;
        let name = dir.path().join("mcp-pipe-state").join(one.0.files.as_ref().unwrap().ended());
        fs::create_dir(&name).unwrap();
        one.end(hash_of("first"), now() + 100);
        one.written().await;
        assert!(one.has_ended(&hash_of("other"), now()).await, "nobody can tell");
        one.seal_with(Some(&SessionKey([1; SessionKey::LENGTH]))).await;
        let of = async |id| one.has_ended(&hash_of(id), now()).await;
        assert_eq!((of("other").await, of("first").await), (false, true), "nor can other replicas");
        one.seal_with(None).await;
        fs::remove_dir(&name).unwrap();
        one.end(hash_of("second"), now() + 100);
        one.written().await;
        let again = kept(dir.path(), "/a.json").await;
        for (id, want) in [("first", true), ("second", true), ("other", false)] {
            assert_eq!(again.has_ended(&hash_of(id), now()).await, want, "{id}");
        }
    }
}
