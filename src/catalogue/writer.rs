//! Writes the cache's files on a thread of its own: neither a slow disk nor a memory of megabytes holds up a message.
//!
//! # Theory of operation
//!
//! The waiting list has one piece for each file, and so has the list of those that could not be written, which are tried again now and then: a newer piece takes the older one's place. So the list is
//! bounded by the number of servers and agents, and a piece found on it ([`Writer::unwritten`]) is always the latest.
//! The thread exists only while a piece waits; it takes the pieces in order, and leaves each on the list until that piece
//! is written. The end of a run waits for the thread, but not long: everything in the cache can be found out again.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;

use super::Memory;
use super::file;
use super::name::{AGENT_KEPT, kept};
use crate::disk::folder::Folder;
use crate::error::FaultCode;
use crate::mcp::era::Era;
use crate::words::span;

/// Longest wait at the end of a run for pieces that are still to be written: all that is lost with them is some speed at the
/// next start.
const AT_THE_END: Duration = Duration::from_secs(2);

/// What is written into one file.
#[derive(Debug, Clone)]
pub(super) enum Piece {
    /// What a server said.
    Server {
        /// The server's name, for people.
        name: Arc<str>,
        /// What the server said.
        memory: Memory,
    },
    /// What an endpoint says of itself: its `initialize` parameters, raw JSON.
    Hello(Box<str>),
    /// That an agent takes one connection only.
    Single,
    /// Of which era a server is.
    Era(Era),
}

/// The word for an era in its file.
pub(super) fn piece_of(era: Era) -> &'static str {
    match era {
        Era::Legacy => "legacy",
        Era::Modern => "modern",
    }
}

/// See the module's documentation. A clone is the same writer.
#[derive(Debug, Clone)]
pub(super) struct Writer(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    waiting: Mutex<Waiting>,
    /// Whether the thread is at work.
    busy: watch::Sender<bool>,
    /// What kept the last piece from being written.
    loss: watch::Sender<Option<(FaultCode, String)>>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Each piece with the name of its file and a number, by which a piece that was replaced while the older one was being
    /// written is told apart, and written again.
    pieces: VecDeque<(String, u64, Piece)>,
    next: u64,
    /// The last piece for each file that could not be written: no more than there are files.
    failed: Vec<(String, Piece)>,
    /// The last piece about an endpoint, as it is in its file or is to be: each link of an agent hears the same and asks for the same, and once
    /// is enough.
    hello: Option<(String, Box<str>)>,
    /// Whether old files were removed, which happens once in a run.
    swept: bool,
    /// Whether the log has been told that a piece about a server could not be written.
    said: bool,
}

impl Writer {
    /// Writes into our folder in `dir`; without a `dir` nothing is written.
    pub(super) fn new(dir: Option<PathBuf>) -> Self {
        let shared = |dir| {
            let (waiting, busy, loss) = (Mutex::default(), watch::Sender::new(false), watch::Sender::new(None));
            Arc::new(Shared { dir, waiting, busy, loss })
        };
        Writer(dir.map(shared))
    }

    /// What keeps pieces from being written, as the last one has shown, and a notice of each change.
    pub(super) fn losses(&self) -> watch::Receiver<Option<(FaultCode, String)>> {
        self.0.as_ref().map_or_else(|| watch::Sender::new(None).subscribe(), |shared| shared.loss.subscribe())
    }

    /// Notes that nothing can be written at present.
    pub(super) fn has_failed(&self, error: &anyhow::Error) {
        if let Some(shared) = &self.0 {
            let _may_pass = shared.note(Some(error));
        }
    }

    /// Has a piece written, in the place of an older one for the same file.
    pub(super) fn put(&self, name: String, piece: Piece) {
        let Some(shared) = &self.0 else { return };
        let mut waiting = shared.lock();
        if let Piece::Hello(params) = &piece {
            let is_put = |(last, said): &(String, Box<str>)| *last == name && said == params;
            if waiting.hello.as_ref().is_some_and(is_put) {
                return;
            }
            waiting.hello = Some((name.clone(), params.clone()));
        }
        waiting.put(name, piece);
        Self::begin(shared, waiting);
    }

    /// What an endpoint says of itself, if that was the last one that was asked for or told of.
    pub(super) fn hello(&self, name: &str) -> Option<Box<str>> {
        let waiting = self.0.as_ref()?.lock();
        waiting.hello.as_ref().filter(|(last, _)| last == name).map(|(_, params)| params.clone())
    }

    /// That this was read from the file of this name.
    pub(super) fn has_read_hello(&self, name: String, params: &str) {
        if let Some(shared) = &self.0 {
            shared.lock().hello = Some((name, params.into()));
        }
    }

    /// Has those pieces written that could not be.
    pub(super) fn again(&self) {
        let Some(shared) = &self.0 else { return };
        let mut waiting = shared.lock();
        for (name, piece) in std::mem::take(&mut waiting.failed) {
            waiting.put(name, piece);
        }
        if !waiting.pieces.is_empty() {
            Self::begin(shared, waiting);
        }
    }

    /// Has the thread at work.
    fn begin(shared: &Arc<Shared>, waiting: MutexGuard<'_, Waiting>) {
        // The flag is set while the list is locked: a thread that saw the list empty has cleared the flag by then.
        if !shared.busy.send_replace(true) {
            let writer = Arc::clone(shared);
            let work = move || writer.work();
            if let Err(error) = thread::Builder::new().name("mcp-pipe-cache".to_owned()).spawn(work) {
                shared.busy.send_replace(false);
                // The piece stays on the list: the next one may get a thread again.
                tracing::debug!(event = "NOT_REMEMBERED", "no thread to write the cache with: {error}");
            }
        }
        drop(waiting);
    }

    /// The piece that waits to be written into a file of this name.
    pub(super) fn unwritten(&self, name: &str) -> Option<Piece> {
        let waiting = self.0.as_ref()?.lock();
        let on_list = waiting.pieces.iter().map(|(known, _, piece)| (known, piece));
        let mut all = on_list.chain(waiting.failed.iter().map(|(known, piece)| (known, piece)));
        all.find(|(known, _)| *known == name).map(|(_, piece)| piece.clone())
    }

    /// Waits until no piece is left to be written, but no longer than [`AT_THE_END`].
    pub(super) async fn finish(&self) {
        let Some(shared) = &self.0 else { return };
        let mut busy = shared.busy.subscribe();
        let idle = busy.wait_for(|busy| !busy);
        if tokio::time::timeout(AT_THE_END, idle).await.is_err() {
            tracing::debug!(event = "NOT_REMEMBERED", "the cache could not be written in time; going on without it");
        }
    }
}

impl Waiting {
    /// Adds a piece, in the place of an older one for the same file.
    fn put(&mut self, name: String, piece: Piece) {
        self.failed.retain(|(known, _)| *known != name);
        let number = self.next;
        self.next += 1;
        match self.pieces.iter_mut().find(|(known, ..)| *known == name) {
            Some(older) => *older = (name, number, piece),
            None => self.pieces.push_back((name, number, piece)),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread's work: writes until no piece waits.
    fn work(&self) {
        while let Some((name, number, piece, sweep)) = self.next() {
            let written = write(&self.dir, &name, &piece, sweep);
            let may_pass = self.note(written.as_ref().err());
            let mut waiting = self.lock();
            if waiting.pieces.front().is_some_and(|(_, latest, _)| *latest == number) {
                waiting.pieces.pop_front();
                if may_pass {
                    waiting.failed.push((name.clone(), piece.clone()));
                }
            }
            // A loss about an endpoint or an agent is hardly noticed, and must not take the place of a line about a server.
            let costs = written.is_err() && matches!(piece, Piece::Server { .. });
            let said = costs && std::mem::replace(&mut waiting.said, true);
            // Unlocked before the log is told: a log that nobody reads holds up this thread alone.
            drop(waiting);
            if let Err(error) = written {
                say(&piece, &error, said);
            }
        }
    }

    /// Notes what came of an attempt to write. Returns whether another one may fare better.
    fn note(&self, error: Option<&anyhow::Error>) -> bool {
        let loss = error.and_then(|error| {
            // What is too large to be kept says nothing of the disk.
            let system = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>())?;
            let is_full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded].contains(&system.kind());
            let code = if is_full { FaultCode::DiskFull } else { FaultCode::CacheUnwritable };
            let text = format!(
                "what servers offer is not kept for the next start ({error:#}); make room there, or name another folder: --cache-dir"
            );
            Some((code, text))
        });
        self.loss.send_if_modified(|last| std::mem::replace(last, loss.clone()) != loss);
        loss.is_some()
    }

    /// The first piece, and whether old files are to be removed before. Without a piece the thread is done.
    fn next(&self) -> Option<(String, u64, Piece, bool)> {
        let mut waiting = self.lock();
        let Some((name, number, piece)) = waiting.pieces.front().cloned() else {
            self.busy.send_replace(false);
            return None;
        };
        Some((name, number, piece, !std::mem::replace(&mut waiting.swept, true)))
    }
}

fn write(dir: &Path, name: &str, piece: &Piece, sweep: bool) -> anyhow::Result<()> {
    let text = match piece {
        Piece::Server { name, memory } => {
            file::write(name, memory).map_err(|error| anyhow::anyhow!("of what the server said: {error}"))?
        }
        Piece::Hello(params) => format!("{params}\n"),
        Piece::Era(era) => format!("{}\n", piece_of(*era)),
        Piece::Single => format!(
            "An endpoint that takes one connection only: its servers share one. Forgotten after {}.\n",
            span(AGENT_KEPT)
        ),
    };
    // The folder is opened anew for each piece: somebody may have deleted it meanwhile.
    let folder = Folder::make(dir)?;
    if sweep {
        folder.sweep(kept);
    }
    let path = || format!("{} can't be written", folder.path().join(name).display());
    folder.put(name, text.as_bytes()).with_context(path)
}

/// Logs why a piece could not be written. That only makes the next start slower, so nothing is above info. `again`: the log has
/// been told before.
fn say(piece: &Piece, error: &anyhow::Error, again: bool) {
    match piece {
        Piece::Server { name, .. } if !again => tracing::info!(
            event = "NOT_REMEMBERED", server = %name,
            "what it offers could not be written to the cache, so after a restart it is known only once it answers: {error:#}"
        ),
        Piece::Server { name, .. } => {
            tracing::debug!(event = "NOT_REMEMBERED", server = %name, "what it offers could not be written to the cache: {error:#}");
        }
        Piece::Hello(_) => {
            tracing::debug!(
                event = "NOT_REMEMBERED",
                "what an endpoint says of itself is to be found out again at the next start: {error:#}"
            );
        }
        Piece::Era(_) => {
            tracing::debug!(
                event = "NOT_REMEMBERED",
                "the era of a server is to be found out again at the next start: {error:#}"
            );
        }
        Piece::Single => {
            tracing::debug!(
                event = "NOT_REMEMBERED",
                "that an agent takes one connection is to be found out again at the next start: {error:#}"
            );
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::super::file::MAX_FILE;
    use super::*;

    fn piece(name: &str, welcome: &str) -> Piece {
        let memory = Memory { welcome: welcome.into(), ..Memory::default() };
        Piece::Server { name: name.into(), memory }
    }

    #[test]
    fn an_error_names_the_file_or_what_is_wrong_with_the_memory() {
        let temp = tempfile::tempdir().unwrap();
        let why = |dir: &Path, piece| format!("{:#}", write(dir, "name", &piece, false).unwrap_err());
        assert!(why(temp.path(), piece("a", "{")).contains("no such JSON"));
        let mut memory = Memory::default();
        let large = format!("\"{}\"", "x".repeat(MAX_FILE as usize));
        memory.lists.set(crate::mcp::lists::ListKind::Tools, vec![large.into()]);
        assert!(why(temp.path(), Piece::Server { name: "a".into(), memory }).contains("larger than 16 MiB"));
        let path = Folder::make(temp.path()).unwrap().path().join("name");
        std::fs::create_dir(&path).unwrap();
        assert!(why(temp.path(), Piece::Single).contains(path.to_str().unwrap()));
        let file = temp.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(why(&file, Piece::Single).contains(file.to_str().unwrap()));
    }

    #[tokio::test]
    async fn the_latest_of_each_file_is_written_in_order_and_what_comes_meanwhile_too() {
        let temp = tempfile::tempdir().unwrap();
        let writer = Writer::new(Some(temp.path().to_owned()));
        let shared = writer.0.as_ref().unwrap();
        shared.busy.send_replace(true); // no thread yet
        for (name, welcome) in [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4")] {
            writer.put(name.to_owned(), piece(name, welcome));
        }
        let order = || shared.lock().pieces.iter().map(|(name, ..)| name.clone()).collect::<String>();
        assert_eq!(order(), "abc");
        // A piece that is replaced while it is written is written again.
        let (name, number, first, sweep) = shared.next().unwrap();
        assert_eq!((name.as_str(), sweep), ("a", true));
        writer.put("a".to_owned(), piece("a", "5"));
        assert!(write(temp.path(), &name, &first, sweep).is_ok());
        assert!(shared.lock().pieces.front().is_some_and(|(_, latest, _)| *latest != number));
        shared.work();
        assert!(order().is_empty() && !*shared.busy.borrow());
        writer.put("d".to_owned(), piece("d", "6"));
        writer.finish().await;
        let folder = Folder::find(temp.path()).unwrap().unwrap();
        let text = |name: &str| String::from_utf8(folder.read(name, MAX_FILE).unwrap()).unwrap();
        for (name, welcome) in [("a", "5"), ("b", "2"), ("c", "4"), ("d", "6")] {
            assert!(text(name).contains(&format!("\"welcome\": {welcome}")), "{}", text(name));
        }
    }

    /// A hundred servers of one agent would else be a hundred threads and files at the busiest moment of a start.
    #[tokio::test]
    async fn what_all_pipes_of_an_agent_hear_is_written_once() {
        let temp = tempfile::tempdir().unwrap();
        let writer = Writer::new(Some(temp.path().to_owned()));
        let hears = |name: &str, params: &str| writer.put(name.to_owned(), Piece::Hello(params.into()));
        let written = || writer.0.as_ref().unwrap().lock().next;
        for name in ["hello-a", "hello-a", "hello-a"] {
            hears(name, "{}");
            writer.finish().await;
        }
        assert_eq!(written(), 1);
        hears("hello-b", "{}");
        hears("hello-a", "{}");
        hears("hello-a", "[]");
        hears("hello-a", "[]");
        writer.finish().await;
        assert_eq!(written(), 4);
        let folder = Folder::find(temp.path()).unwrap().unwrap();
        assert_eq!(folder.read("hello-a", MAX_FILE).unwrap(), b"[]\n");
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_does_not_answer_is_not_waited_for_for_ever() {
        let writer = Writer::new(Some("/nowhere".into()));
        writer.0.as_ref().unwrap().busy.send_replace(true);
        writer.put("a".to_owned(), Piece::Single);
        let begun = tokio::time::Instant::now();
        writer.finish().await;
        assert_eq!(begun.elapsed(), AT_THE_END);
    }
}
