//! Work that may block, beside the only thread: a name server that doesn't answer must not hold up a message.
//!
//! Such work is rare, so each piece has a thread of its own. tokio's pool would end the program where the system gives it
//! no thread: a limit that some other program has used up would take all pipes down.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::Builder;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::words::span;

/// Most pieces of work at once. The caller gives up one that hangs, but its thread goes on.
const MOST: usize = 512;

/// How many pieces of work there are now.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// Does work that may block on a thread of its own, and returns the result. A caller that waits no longer doesn't stop the work.
///
/// # Errors
/// There is no thread for the work, too much of it is under way, or it panicked.
pub(crate) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let place = Place::take().ok_or_else(|| io::Error::other(format!("{MOST} others like it hang")))?;
    let (done, result) = oneshot::channel();
    let work = move || {
        let _place = place;
        // A caller that no longer waits needs no result.
        let _unwanted = done.send(work());
    };
    Builder::new().name("mcp-pipe-aside".to_owned()).spawn(work)?;
    result.await.map_err(|_| io::Error::other("it came to nothing"))
}

/// The same for whoever has no runtime, or may not rely on it: waits for the result on this thread, for so long at most.
///
/// # Errors
/// As [`aside`]; or it takes longer, and goes on unheeded.
pub(crate) fn wait_aside<T: Send + 'static>(
    patience: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (done, result) = mpsc::sync_channel(1);
    let work = move || {
        // A caller that no longer waits needs no result.
        let _unwanted = done.send(work());
    };
    Builder::new().name("mcp-pipe-aside".to_owned()).spawn(work)?;
    result.recv_timeout(patience).map_err(|error| match error {
        RecvTimeoutError::Timeout => {
            io::Error::new(io::ErrorKind::TimedOut, format!("it takes longer than {}", span(patience)))
        }
        RecvTimeoutError::Disconnected => io::Error::other("it came to nothing"),
    })
}

/// Room for one piece of work, of [`MOST`].
struct Place;

impl Place {
    fn take() -> Option<Place> {
        let one_more = |running: usize| (running < MOST).then_some(running + 1);
        RUNNING.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok().map(|_| Place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::panic;

    use super::*;

    #[test]
    fn whoever_waits_on_this_thread_waits_no_longer_than_they_said() {
        assert_eq!(wait_aside(Duration::from_secs(60), || 7).unwrap(), 7);
        let (end, wait) = mpsc::channel::<()>();
        let hangs = wait_aside(Duration::from_millis(1), move || wait.recv().is_ok());
        assert_eq!(hangs.unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(end);
        assert!(wait_aside(Duration::from_secs(60), || panic::resume_unwind(Box::new(()))).is_err());
    }

    #[tokio::test]
    async fn work_is_done_elsewhere_and_its_place_is_free_again() {
        let here = std::thread::current().id();
        for _ in 0..2 * MOST {
            assert_ne!(aside(|| std::thread::current().id()).await.unwrap(), here);
        }
        let (end, wait) = mpsc::channel::<()>();
        let hangs = aside(move || wait.recv().is_ok());
        end.send(()).unwrap();
        assert!(hangs.await.unwrap());
    }
}
