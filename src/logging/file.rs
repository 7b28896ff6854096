//! A `logFile`: lines go there by a thread of its own, and neither a slow disk nor a full one holds up whoever has a line.
//!
//! # Theory of operation
//!
//! Lines wait in a list of at most [`MOST`] bytes, [`PIECE`] of them in one piece, which is written by one system call: a server may write a hundred thousand in a second. One for which there is no room is dropped, and so are all that follow until half of the list is written: so gaps are few. In each gap the file
//! says how many lines are missing there. While the disk takes nothing, lines wait; the thread tries again each [`AGAIN`]. The log is told once that a file can't be written, and once that
//! it can be again.
//!
//! Whoever opens a file that is open already gets the same one: a server may have several processes. The thread ends when nobody has the file any more, and what
//! waits then is written first. At the end of the program [`finish`] waits for that, but not long.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use memchr::memchr_iter;

use crate::config::LogFileSpec;
use crate::disk::rotated::Rotated;
use crate::process::limits;
use crate::words::counted;

/// Most bytes that wait for the disk: what a server writes to stderr in a second where it writes much, and no burden for a small machine.
const MOST: usize = 1 << 20;
/// Most bytes of a piece, but for what comes at once: as much as one read of a server's stderr brings.
const PIECE: usize = 64 * 1024;
/// How long after a failure the next attempt is made.
const AGAIN: Duration = Duration::from_secs(1);
/// Shortest time between two lines of the log about what is wrong with one file: with a disk that is always too slow or almost full there is no end of that.
const TOLD: Duration = Duration::from_secs(60);
/// Longest wait for a disk at the end of the program.
const AT_THE_END: Duration = Duration::from_secs(2);

/// What stands in a file for so many lines that are missing there: a line with its end.
pub(crate) type Missed = Box<dyn Fn(u64) -> String + Send>;

/// A file into which lines are written; a clone is the same one.
#[derive(Clone)]
pub(crate) struct LogFile(Arc<Handle>);

/// Its last clone lets the thread end.
struct Handle(Arc<Shared>);

struct Shared {
    path: PathBuf,
    waiting: Mutex<Waiting>,
    /// Something waits, or nobody has the file any more.
    news: Condvar,
    /// Nothing waits any more.
    idle: Condvar,
}

struct Waiting {
    /// At which size the file begins anew, and how many older ones there are.
    bounds: (u64, usize),
    items: VecDeque<Item>,
    /// Of all items, that which is being written included.
    bytes: usize,
    /// How many items are not written yet, the same: a gap has no bytes.
    unwritten: usize,
    /// The list was full, and is not half empty yet.
    is_full: bool,
    /// Nobody has the file any more.
    is_over: bool,
}

enum Item {
    /// Each with its end.
    Lines(String),
    /// So many lines were dropped here.
    Gap(u64),
}

/// The files that somebody has, and those that are still written.
static OPEN: Mutex<Vec<(Weak<Handle>, Weak<Shared>)>> = Mutex::new(Vec::new());

impl LogFile {
    /// A file as the config has it. `None` where no thread can be had, which is logged.
    pub(crate) fn open(spec: &LogFileSpec, missed: Missed) -> Option<LogFile> {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(_, shared)| shared.strong_count() > 0);
        let bounds = (spec.max_size, spec.keep);
        if let Some(handle) = open.iter().filter_map(|(file, _)| file.upgrade()).find(|file| file.0.path == spec.path) {
            handle.0.lock().bounds = bounds;
            return Some(LogFile(handle));
        }
        let waiting =
            Waiting { bounds, items: VecDeque::new(), bytes: 0, unwritten: 0, is_full: false, is_over: false };
        let shared = Arc::new(Shared {
            path: spec.path.clone(),
            waiting: Mutex::new(waiting),
            news: Condvar::new(),
            idle: Condvar::new(),
        });
        let of_thread = shared.clone();
        let begun = thread::Builder::new().name("mcp-pipe-log".into()).spawn(move || of_thread.write_all(&missed));
        if let Err(error) = begun {
            drop(open);
            let (path, why) = (spec.path.display(), limits::told(&error));
            tracing::warn!(
                event = "ERROR_LOG_FILE",
                "nothing is written into {path}: there is no thread for it ({why})"
            );
            return None;
        }
        let still = Arc::downgrade(&shared);
        let handle = Arc::new(Handle(shared));
        open.push((Arc::downgrade(&handle), still));
        Some(LogFile(handle))
    }

    /// Has lines written, each with its end; or not, where the disk is too far behind.
    pub(crate) fn push(&self, lines: &str) {
        let mut waiting = self.0.0.lock();
        // Where there is something, the thread comes back for more by itself, and to wake it is a system call.
        let was_empty = waiting.items.is_empty();
        waiting.push(lines);
        drop(waiting);
        if was_empty {
            self.0.0.news.notify_one();
        }
    }
}

impl Waiting {
    fn push(&mut self, lines: &str) {
        self.is_full = if self.is_full { self.bytes > MOST / 2 } else { self.bytes + lines.len() > MOST };
        if !self.is_full {
            self.bytes += lines.len();
            match self.items.back_mut() {
                Some(Item::Lines(piece)) if piece.len() + lines.len() <= PIECE => piece.push_str(lines),
                Some(Item::Lines(_) | Item::Gap(_)) | None => {
                    self.unwritten += 1;
                    self.items.push_back(Item::Lines(lines.to_owned()));
                }
            }
            return;
        }
        let dropped = memchr_iter(b'\n', lines.as_bytes()).count() as u64;
        if let Some(Item::Gap(more)) = self.items.back_mut() {
            *more += dropped;
        } else {
            self.unwritten += 1;
            self.items.push_back(Item::Gap(dropped));
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.news.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next item, once there is one; `None` once nobody has the file any more.
    fn next(&self) -> Option<Item> {
        let mut waiting = self.lock();
        loop {
            if let Some(item) = waiting.items.pop_front() {
                return Some(item);
            }
            self.idle.notify_all();
            if waiting.is_over {
                return None;
            }
            waiting = self.news.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The thread's work.
    fn write_all(&self, missed: &Missed) {
        let (max_size, keep) = self.lock().bounds;
        let mut file = Rotated::new(self.path.clone(), max_size, keep);
        let mut told = Told::default();
        while let Some(item) = self.next() {
            let (lines, bytes) = match item {
                Item::Lines(lines) => {
                    let bytes = lines.len();
                    (lines, bytes)
                }
                Item::Gap(lines) => {
                    told.lost += lines;
                    (missed(lines), 0)
                }
            };
            loop {
                let (max_size, keep) = self.lock().bounds;
                file.bound(max_size, keep);
                match file.write(lines.as_bytes()) {
                    Ok(()) => break,
                    Err(error) => told.fails(&self.path, &limits::told(&error)),
                }
                let waiting = self.lock();
                if waiting.is_over {
                    return self.idle.notify_all(); // nobody waits for a disk that takes nothing
                }
                drop(self.news.wait_timeout_while(waiting, AGAIN, |waiting| !waiting.is_over));
            }
            let mut waiting = self.lock();
            waiting.unwritten -= 1;
            waiting.bytes -= bytes;
            drop(waiting);
            told.goes_on(&self.path);
        }
    }
}

/// What the log was told of a file.
#[derive(Default)]
struct Told {
    /// That it can't be written.
    failing: bool,
    /// Lines that it lacks, of which the log was not told yet.
    lost: u64,
    /// When each of the two was last told.
    failed_at: Option<Instant>,
    lost_at: Option<Instant>,
}

/// Whether something may be told again: what comes and goes all the time would be a flood.
fn is_due(told: &mut Option<Instant>) -> bool {
    let is_due = told.is_none_or(|at| at.elapsed() >= TOLD);
    if is_due {
        *told = Some(Instant::now());
    }
    is_due
}

impl Told {
    fn fails(&mut self, path: &Path, why: &str) {
        if !self.failing && is_due(&mut self.failed_at) {
            self.failing = true;
            let path = path.display();
            tracing::warn!(
                event = "ERROR_LOG_FILE",
                "{path} can't be written: {why}. Its lines wait, as far as there is room, and are lost beyond that; it is tried again each second"
            );
        }
    }

    fn goes_on(&mut self, path: &Path) {
        let path = path.display();
        if std::mem::take(&mut self.failing) {
            tracing::info!(event = "LOG_FILE_WRITTEN", "{path} is written again");
        }
        if self.lost > 0 && is_due(&mut self.lost_at) {
            let lost = std::mem::take(&mut self.lost);
            let lines = counted(usize::try_from(lost).unwrap_or(usize::MAX), "line");
            tracing::warn!(event = "ERROR_LOG_FILE", lost, "{path} lacks {lines}, which its disk did not take in time");
        }
    }
}

/// Waits until what has been logged is in its file, for the end of the program; not long, where a disk takes nothing.
pub fn finish() {
    let until = Instant::now() + AT_THE_END;
    let open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    for shared in open.iter().filter_map(|(_, shared)| shared.upgrade()) {
        let waiting = shared.lock();
        let left = until.saturating_duration_since(Instant::now());
        drop(shared.idle.wait_timeout_while(waiting, left, |waiting| waiting.unwritten > 0));
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::fs;

    use super::*;

    fn file(dir: &tempfile::TempDir, name: &str) -> (LogFileSpec, LogFile) {
        let spec = LogFileSpec { path: dir.path().join(name), max_size: 1 << 30, keep: 1 };
        let file = LogFile::open(&spec, Box::new(|lines| format!("missed {lines}\n"))).unwrap();
        (spec, file)
    }

    /// Waits until nothing waits for the file any more.
    fn written(file: &LogFile) {
        let waiting = file.0.0.lock();
        drop(file.0.0.idle.wait_while(waiting, |waiting| waiting.unwritten > 0));
    }

    #[test]
    fn lines_come_in_order_and_whoever_opens_the_file_again_has_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let (spec, first) = file(&dir, "log");
        let (_, second) = file(&dir, "log");
        for n in 0..1000 {
            [&first, &second][n % 2].push(&format!("line {n}\n"));
        }
        written(&first);
        let want: String = (0..1000).map(|n| format!("line {n}\n")).collect();
        assert_eq!(fs::read_to_string(&spec.path).unwrap(), want);
    }

    #[test]
    fn lines_that_wait_are_few_pieces() {
        let mut waiting =
            Waiting { bounds: (0, 0), items: VecDeque::new(), bytes: 0, unwritten: 0, is_full: false, is_over: false };
        (0..PIECE / 8 + 1).for_each(|_| waiting.push("a line.\n"));
        assert_eq!((waiting.items.len(), waiting.unwritten, waiting.bytes), (2, 2, PIECE + 8));
    }

    #[test]
    fn what_is_not_taken_is_bounded_and_its_gap_is_counted_where_it_is() {
        let mut waiting =
            Waiting { bounds: (0, 0), items: VecDeque::new(), bytes: 0, unwritten: 0, is_full: false, is_over: false };
        let line = "x".repeat(MOST / 8 - 1) + "\n";
        (0..20).for_each(|_| waiting.push(&line));
        assert_eq!((waiting.items.len(), waiting.bytes), (9, MOST));
        assert!(matches!(waiting.items.back(), Some(Item::Gap(12))));
        // Two are written: there is room, but not enough to go on.
        waiting.bytes -= 2 * MOST / 8;
        waiting.push(&line);
        assert!(matches!(waiting.items.back(), Some(Item::Gap(13))));
        waiting.bytes -= 2 * MOST / 8;
        waiting.push(&line);
        assert!(matches!(waiting.items.back(), Some(Item::Lines(_))));
    }

    #[test]
    fn one_that_can_not_be_written_yet_loses_nothing_that_has_room() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("log")).unwrap();
        let (spec, file) = file(&dir, "log");
        (0..10).for_each(|n| file.push(&format!("line {n}\n")));
        fs::remove_dir(dir.path().join("log")).unwrap();
        written(&file);
        assert_eq!(fs::read_to_string(&spec.path).unwrap().lines().count(), 10);
    }
}
