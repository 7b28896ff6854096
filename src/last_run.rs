//! How the run of a daemon before this one ended, also where it had no time to say so.
//!
//! # Theory of operation
//!
//! A daemon that begins writes a record of itself into the state folder, without an end. Its end puts the same record with an end in that
//! place: a stop, a failure with its words, or a fault of mcp-pipe's own. So a record without an end is that of a daemon that
//! runs or was killed. Which of these, a lock tells, which the system gives back with the process: a process id could be that of another by now.
//! The file keeps the record of the run before as well, so that it is known while the next one runs.
//!
//! There is one file for each config. A second daemon of the same config at the same time notes nothing.
//!
//! Nothing is written but at the start and at the end, for the sake of disks that wear out. All of it is work that may block, and waits have their limits: a run does not depend on it.

mod good;
mod hook;
mod record;

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

pub(crate) use self::good::{Good, good, keep};
use self::record::{End, How, Noted, Run};
pub(crate) use self::record::{Fate, LastRun};
use crate::disk::digest_of_config;
use crate::disk::folder::{Folder, Purpose};
use crate::error::Failure;
use crate::logging::{self, LastLines};
use crate::process::aside::wait_aside;
use crate::secrecy::Redactor;

/// Longest wait for the disk, at the start and at the end.
const PATIENCE: Duration = Duration::from_secs(2);
/// Largest file that is read, in bytes: two records with their lines, each of which is escaped twice, have half of that at most.
const MAX_FILE: u64 = 1 << 20;
/// Longest time that a lock is waited for: somebody may look for an instant whether a daemon has it.
const LOCKED: Duration = Duration::from_millis(100);
/// Time between two tries to get the lock.
const LOOK: Duration = Duration::from_millis(5);

/// What is known of the runs with `config`, by what is kept in the state folder `parent`. `None`: nothing is.
///
/// # Errors
/// The folder or the file can't be read.
pub(crate) fn read(parent: &Path, config: &Path) -> io::Result<Option<Known>> {
    let Some(folder) = Folder::find_for(Purpose::State, parent)? else { return Ok(None) };
    let names = Names::of(config);
    let Some(noted) = noted(&folder, &names)? else { return Ok(None) };
    // A lock that can't be had is held by the daemon; but nobody is kept from starting by a look.
    let runs = matches!(folder.open_lock(&names.lock)?.try_lock_shared(), Err(TryLockError::WouldBlock));
    let boot = boot();
    Ok(Some(match (noted.run.end.is_none() && runs, noted.before) {
        (true, before) => Known {
            now: Some(LastRun::of(noted.run, true, boot.as_deref())),
            before: before.map(|run| LastRun::of(run, false, boot.as_deref())),
        },
        (false, _) => Known { now: None, before: Some(LastRun::of(noted.run, false, boot.as_deref())) },
    }))
}

/// What is known of the runs with a config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    /// The one that goes on.
    pub(crate) now: Option<LastRun>,
    /// The last one that does not.
    pub(crate) before: Option<LastRun>,
}

/// What the file says, if there is one and it says anything.
fn noted(folder: &Folder, names: &Names) -> io::Result<Option<Noted>> {
    match folder.read(&names.file, MAX_FILE) {
        Ok(bytes) => Ok(Noted::read(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            Err(io::Error::new(error.kind(), format!("{}: {error}", folder.path().join(&names.file).display())))
        }
    }
}

/// What the files of a config are called.
#[derive(Debug)]
struct Names {
    file: String,
    lock: String,
}

impl Names {
    fn of(config: &Path) -> Self {
        let of = digest_of_config(config);
        Names { file: format!("run-{of}.json"), lock: format!("run-{of}.lock") }
    }
}

/// By which one can tell whether the machine has been restarted; `None` where it doesn't say.
fn boot() -> Option<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
}

/// Notes how this run ends. Cloning gives another handle; one of a command that is no daemon does nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keeper(Option<Arc<Kept>>);

#[derive(Debug)]
struct Kept {
    /// Where the folder is, which is not held open: where there are few files to be had, others need them more.
    parent: PathBuf,
    names: Names,
    /// Held for as long as the process lives.
    _lock: File,
    noted: Mutex<Noted>,
    begun: Instant,
    last: LastLines,
    redactor: Redactor,
    /// The signal that has asked for the end, if any.
    signal: OnceLock<&'static str>,
}

impl Keeper {
    /// Notes that a run begins with `config`, tells the log what is odd about the end of the one before, and has a fault of
    /// mcp-pipe's own noted from now on. Without a state folder, or where it can't be used, nothing is noted. Blocks for a bounded time.
    pub(crate) fn begin(parent: Option<&PathBuf>, config: &Path, last: LastLines, redactor: &Redactor) -> Self {
        let keeper = Self::noting(parent, config, last, redactor);
        hook::install(keeper.clone(), redactor.clone());
        keeper
    }

    fn noting(parent: Option<&PathBuf>, config: &Path, last: LastLines, redactor: &Redactor) -> Self {
        let Some(parent) = parent.cloned() else { return Keeper::default() };
        let (config, secrets) = (config.to_path_buf(), redactor.clone());
        let begun = wait_aside(PATIENCE, move || Kept::begin(&parent, &config, last, secrets));
        match begun.and_then(|begun| begun) {
            Ok(Some((kept, before))) => {
                if let Some(before) = before {
                    before.log(redactor);
                }
                Keeper(Some(Arc::new(kept)))
            }
            Ok(None) => {
                debug!(event = "LAST_RUN", "another mcp-pipe runs with this config: how this one ends is not noted");
                Keeper::default()
            }
            Err(error) => {
                info!(event = "LAST_RUN", "how this run ends will not be known to the next one: {error}");
                Keeper::default()
            }
        }
    }

    /// A signal has asked for the end. Of several the first counts.
    pub(crate) fn on_signal(&self, name: &'static str) {
        if let Some(kept) = &self.0 {
            let _later = kept.signal.set(name);
        }
    }

    /// Notes that the run has ended: by a failure, or else as it was told. Blocks for a bounded time.
    pub(crate) fn end(&self, failure: Option<&Failure>) {
        let Some(kept) = &self.0 else { return };
        let how = match (failure, kept.signal.get()) {
            (Some(failure), _) => How::failed(&failure.shown(&kept.redactor)),
            (None, Some(signal)) => How::Stopped((*signal).to_owned()),
            (None, None) => How::Done,
        };
        let keeper = self.clone();
        // What has failed is told by the next start as a death without words.
        let _hangs = wait_aside(PATIENCE, move || keeper.note(how));
    }

    /// Writes an end into the file.
    fn note(&self, how: How) {
        if let Some(kept) = &self.0
            && let Err(error) = kept.note(how)
        {
            info!(event = "LAST_RUN", "how this run ends can't be noted: {error}");
        }
    }
}

impl Kept {
    /// Puts the record of this run into the file. `None`: another one has it. Also tells of the run before.
    fn begin(
        parent: &Path,
        config: &Path,
        last: LastLines,
        redactor: Redactor,
    ) -> io::Result<Option<(Self, Option<LastRun>)>> {
        let folder = Folder::make_for(Purpose::State, parent)?;
        let names = Names::of(config);
        let Some(lock) = locked(folder.open_lock(&names.lock)?)? else { return Ok(None) };
        let before = noted(&folder, &names)?.map(|noted| noted.run);
        let boot = boot();
        let run = Run {
            started: logging::utc(),
            pid: std::process::id(),
            boot: boot.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            config: redactor.clean_all(&config.display().to_string()).into_owned(),
            end: None,
        };
        let noted = Noted { run, before: before.clone() };
        folder.put(&names.file, &noted.write())?;
        let before = before.map(|run| LastRun::of(run, false, boot.as_deref()));
        let (begun, signal) = (Instant::now(), OnceLock::new());
        let parent = parent.to_path_buf();
        Ok(Some((Kept { parent, names, _lock: lock, noted: Mutex::new(noted), begun, last, redactor, signal }, before)))
    }

    fn note(&self, how: How) -> io::Result<()> {
        // Secrets may have become known after a line was written.
        let lines = self.last.lines().iter().map(|line| self.redactor.clean_json(line).into()).collect();
        let end = End { at: logging::utc(), after: self.begun.elapsed().as_secs(), how, lines };
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.run.end = Some(end);
        Folder::make_for(Purpose::State, &self.parent)?.put(&self.names.file, &noted.write())
    }
}

/// The lock, unless another process has it.
fn locked(file: File) -> io::Result<Option<File>> {
    let until = Instant::now() + LOCKED;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) if Instant::now() < until => std::thread::sleep(LOOK),
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

impl LastRun {
    /// Tells the log of an end that nobody has wished for.
    fn log(&self, redactor: &Redactor) {
        let told = self.told(redactor);
        match self.fate() {
            Fate::Died | Fate::Panicked => warn!(event = "LAST_RUN", "the run before {told}"),
            Fate::WentDown => info!(event = "LAST_RUN", "the run before {told}"),
            // It has told its own log, and would be told again by each try of a service manager.
            Fate::Failed | Fate::Ended | Fate::Runs => debug!(event = "LAST_RUN", "the run before {told}"),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::panic::catch_unwind;
    use std::process::Command;

    use super::*;
    use crate::secrecy::Secret;

    fn begin(dir: &Path, config: &Path) -> Keeper {
        Keeper::noting(Some(&dir.to_path_buf()), config, LastLines::default(), &Redactor::default())
    }

    fn fates(dir: &Path, config: &Path) -> (Option<Fate>, Option<Fate>) {
        let known = read(dir, config).unwrap().unwrap();
        let fate = |run: Option<LastRun>| run.map(|run| run.fate());
        (fate(known.now), fate(known.before))
    }

    #[test]
    fn a_run_is_known_while_it_goes_on_and_after_it() {
        let (dir, config) = (tempfile::tempdir().unwrap(), Path::new("/a.json"));
        assert_eq!(read(dir.path(), config).unwrap(), None);
        let first = begin(dir.path(), config);
        assert_eq!(fates(dir.path(), config), (Some(Fate::Runs), None));
        let file = dir.path().join("mcp-pipe-state").join(Names::of(config).file);
        let before = fs::read(&file).unwrap();
        assert!(begin(dir.path(), config).0.is_none(), "another one of the same config");
        assert_eq!(fs::read(&file).unwrap(), before);
        first.on_signal("SIGTERM");
        first.on_signal("SIGINT");
        first.end(None);
        drop(first);
        assert_eq!(fates(dir.path(), config), (None, Some(Fate::Ended)));
        assert!(
            read(dir.path(), config).unwrap().unwrap().before.unwrap().told(&Redactor::default()).contains("SIGTERM")
        );
        let second = begin(dir.path(), config);
        assert_eq!(fates(dir.path(), config), (Some(Fate::Runs), Some(Fate::Ended)));
        // As if it were killed: the lock goes with it, and nothing else happens.
        drop(second);
        assert_eq!(fates(dir.path(), config), (None, Some(Fate::Died)));
        assert_eq!(read(dir.path(), Path::new("/b.json")).unwrap(), None, "another config");
        begin(dir.path(), config).end(Some(&Failure::Run(anyhow::anyhow!("no port"))));
        assert_eq!(fates(dir.path(), config), (None, Some(Fate::Failed)));
        fs::write(&file, "{}").unwrap();
        assert_eq!(read(dir.path(), config).unwrap(), None);
        drop(begin(dir.path(), config));
        assert_eq!(fates(dir.path(), config), (None, Some(Fate::Died)));
    }

    #[test]
    fn a_look_keeps_nobody_from_noting() {
        let (dir, config) = (tempfile::tempdir().unwrap(), Path::new("/a.json"));
        drop(begin(dir.path(), config));
        let lock = dir.path().join("mcp-pipe-state").join(Names::of(config).lock);
        let looks = File::open(lock).unwrap();
        looks.lock_shared().unwrap();
        let ends = std::thread::spawn(move || {
            std::thread::sleep(LOCKED / 4);
            drop(looks);
        });
        assert!(begin(dir.path(), config).0.is_some());
        ends.join().unwrap();
    }

    const SECRET: &str = "s3cret-of-somebody";

    /// The body of the test below, in a process of its own: the hook is that of a whole process. Does nothing by itself.
    #[test]
    fn with_a_fault() {
        let Some(dir) = std::env::var_os("LAST_RUN_TEST").map(PathBuf::from) else { return };
        let last = LastLines::default();
        let keep = logging::Keep { ring: None, last: Some(last.clone()), ..logging::Keep::default() };
        let redactor: Redactor = [Secret::new(SECRET)].into_iter().collect();
        let (options, env) = (crate::config::options::Options::default(), crate::config::Environment::default());
        logging::start(&options, logging::Loudness::Usual, &env, &redactor, keep).unwrap();
        let _keeper = Keeper::begin(Some(&dir), Path::new("/a.json"), last, &redactor);
        warn!(event = "CONFIG_WARNING", "odd: {SECRET}");
        drop(catch_unwind(|| panic!("no {SECRET}\nat all")));
    }

    #[test]
    fn a_fault_of_our_own_is_noted_with_the_last_lines_and_without_secrets() {
        let dir = tempfile::tempdir().unwrap();
        let arguments = ["--exact", "last_run::tests::with_a_fault", "--test-threads=1", "--nocapture"];
        let mut child = Command::new(std::env::current_exe().unwrap());
        let output = child.args(arguments).env("LAST_RUN_TEST", dir.path()).output().unwrap();
        let (out, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && out.contains("1 passed"), "{out}{log}");
        assert!(
            log.contains("please report it: no … at all") && log.contains("event=FAULT") && !log.contains(SECRET),
            "{log}"
        );
        let last = read(dir.path(), Path::new("/a.json")).unwrap().unwrap().before.unwrap();
        let told = last.told(&Redactor::default());
        assert!(
            last.fate() == Fate::Panicked && told.contains("fault of mcp-pipe: no … at all (src/last_run.rs:"),
            "{told}"
        );
        let lines: Vec<&str> = last.lines().collect();
        assert!(matches!(lines[..], [line] if line.contains("odd: …") && line.contains("CONFIG_WARNING")), "{lines:?}");
        let file = dir.path().join("mcp-pipe-state").join(Names::of(Path::new("/a.json")).file);
        assert!(!fs::read_to_string(file).unwrap().contains(SECRET));
    }
}
