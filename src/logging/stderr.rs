//! Writes log lines to stderr, where perhaps nobody reads.
//!
//! Logging happens on the program's only thread. A reader that stops without going away (a terminal held by Ctrl-S,
//! `| less`, a collector that hangs) would stop every pipe. So the system is asked first whether stderr has room, a line that
//! finds none is dropped, and the number of dropped lines is logged once there is room again.

use std::io::Stderr;
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longest wait for a reader that is behind, once each time it falls behind: long enough for a busy machine, and far below every
/// deadline of a peer.
const PATIENCE: Duration = Duration::from_secs(1);
/// Most bytes that are written at once: a pipe with any room has room for these (`PIPE_BUF`, pipe(7)).
#[cfg(unix)]
const ROOM: usize = 4096;

/// Somewhere to write lines to. A closed terminal or a full disk costs the lines, never the program.
pub(super) struct Patient<W> {
    to: W,
    patience: Duration,
    behind: Mutex<Behind>,
}

/// What the reader has missed.
#[derive(Default)]
struct Behind {
    /// How many lines were dropped, whole or in part, since that number was last logged.
    lines: u64,
    /// Whether what was written last is a part of a line.
    torn: bool,
}

impl<W> Patient<W> {
    pub(super) fn new(to: W) -> Self {
        Patient { to, patience: PATIENCE, behind: Mutex::default() }
    }
}

/// Our stderr.
pub(super) enum Place {
    /// Stderr as we were given it.
    Given(Stderr),
    /// A terminal, opened anew so that writing there doesn't wait: a terminal may have room for a part of a line only. The given
    /// descriptor can't be set so, since other programs use it, too.
    #[cfg(target_os = "linux")]
    Terminal(OwnedFd),
}

impl Place {
    pub(super) fn find() -> Place {
        let given = std::io::stderr();
        #[cfg(target_os = "linux")]
        if std::io::IsTerminal::is_terminal(&given) {
            use rustix::fs::{Mode, OFlags, open};
            let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            if let Ok(terminal) = open("/proc/self/fd/2", flags, Mode::empty()) {
                return Place::Terminal(terminal);
            }
        }
        Place::Given(given)
    }
}

#[cfg(unix)]
impl AsFd for Place {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Place::Given(stderr) => stderr.as_fd(),
            #[cfg(target_os = "linux")]
            Place::Terminal(terminal) => terminal.as_fd(),
        }
    }
}

#[cfg(unix)]
impl<W: AsFd> Patient<W> {
    /// Writes a line, with its end. If lines were dropped before, the line that `say` makes of their number comes first.
    pub(super) fn write(&self, line: &str, say: impl FnOnce(u64) -> String) {
        let mut behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        if behind.lines > 0 {
            let missed = format!("{}{}", if behind.torn { "\n" } else { "" }, say(behind.lines));
            if !self.fits(&missed, Duration::ZERO, &mut behind) {
                behind.lines += 1;
                return;
            }
            *behind = Behind::default();
        }
        if !self.fits(line, self.patience, &mut behind) {
            behind.lines += 1;
        }
    }

    /// Writes a text; whether all of it could be written. A full disk may have room again, so the lines that it takes no more are
    /// counted; a reader that is gone will never ask for their number.
    fn fits(&self, text: &str, patience: Duration, behind: &mut Behind) -> bool {
        let mut rest = text.as_bytes();
        // One deadline for the whole line: a long one has many pieces, and a slow reader would be waited for at each.
        let until = Instant::now() + patience;
        while !rest.is_empty() && self.has_room(until.saturating_duration_since(Instant::now())) {
            match rustix::io::write(&self.to, &rest[..rest.len().min(ROOM)]) {
                Ok(written) => rest = &rest[written..],
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => break,
            }
        }
        behind.torn |= !rest.is_empty() && rest.len() < text.len();
        rest.is_empty()
    }

    fn has_room(&self, patience: Duration) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let patience = Timespec { tv_sec: patience.as_secs() as i64, tv_nsec: patience.subsec_nanos().into() };
        let mut fds = [PollFd::new(&self.to, PollFlags::OUT)];
        // Where `poll` fails, we write without asking, as most programs do. A signal is no answer.
        rustix::io::retry_on_intr(|| poll(&mut fds, Some(&patience))).map_or(true, |ready| ready > 0)
    }
}

#[cfg(not(unix))]
impl Patient<Place> {
    /// Writes a line, with its end. Waits for the reader.
    pub(super) fn write(&self, line: &str, _say: impl FnOnce(u64) -> String) {
        let Place::Given(stderr) = &self.to;
        drop(std::io::Write::write_all(&mut stderr.lock(), line.as_bytes()));
    }
}

#[cfg(all(test, unix))]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::io::{PipeReader, PipeWriter, Read as _};

    use super::*;

    fn patient(patience: Duration) -> (PipeReader, Patient<PipeWriter>) {
        let (from, to) = std::io::pipe().unwrap();
        (from, Patient { patience, ..Patient::new(to) })
    }

    fn say(lines: u64) -> String {
        format!("missed {lines}\n")
    }

    /// Reads what is there now.
    fn read(from: &mut PipeReader) -> String {
        let mut text = vec![0; 1 << 20];
        let read = from.read(&mut text).unwrap();
        String::from_utf8(text[..read].to_vec()).unwrap()
    }

    #[test]
    fn lines_that_nobody_reads_are_counted_and_stop_nobody() {
        let (mut from, to) = patient(Duration::ZERO);
        for n in 0..100_000 {
            to.write(&format!("line {n}\n"), say);
        }
        let text = read(&mut from);
        let written = text.lines().count();
        assert_eq!(text.lines().last().unwrap(), format!("line {}", written - 1), "whole lines, in order");
        to.write("on again\n", say);
        to.write("and on\n", say);
        assert_eq!(read(&mut from), format!("missed {}\non again\nand on\n", 100_000 - written));
    }

    #[test]
    fn a_line_that_was_torn_does_not_run_into_the_next() {
        let (mut from, to) = patient(Duration::ZERO);
        to.write(&"x".repeat(1 << 20), say);
        assert!(read(&mut from).chars().all(|c| c == 'x'));
        to.write("on again\n", say);
        assert_eq!(read(&mut from), "\nmissed 1\non again\n");
    }

    #[test]
    fn a_long_line_waits_no_longer_than_a_short_one() {
        let (mut from, to) = patient(Duration::from_millis(50));
        // Each piece finds room in time, but not all of them together do.
        let reader = std::thread::spawn(move || {
            let mut piece = [0; ROOM];
            while from.read(&mut piece).unwrap() > 0 {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        to.write(&"x".repeat(1 << 20), say);
        assert!(to.behind.lock().unwrap().torn);
        drop(to);
        reader.join().unwrap();
    }

    #[test]
    fn a_reader_that_is_slow_misses_nothing() {
        let (from, to) = patient(PATIENCE * 60);
        let reader = std::thread::spawn(move || std::io::read_to_string(from).unwrap());
        let line = "y".repeat(100_000) + "\n";
        (0..20).for_each(|_| to.write(&line, say));
        drop(to);
        assert_eq!(reader.join().unwrap(), line.repeat(20));
    }

    /// Unlike a pipe, a terminal has room for a part of a line.
    #[test]
    fn a_terminal_that_nobody_reads_stops_nobody() {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let reader = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&reader).and_then(|()| unlockpt(&reader)).unwrap();
        let name = ptsname(&reader, Vec::new()).unwrap();
        use rustix::fs::{Mode, OFlags, open};
        let terminal = open(name, OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY, Mode::empty()).unwrap();
        let to = Patient { patience: Duration::ZERO, ..Patient::new(terminal) };
        (0..10_000).for_each(|n| to.write(&format!("line {n}\n"), say));
        assert!(to.behind.lock().unwrap().lines > 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn lines_for_which_the_disk_has_no_room_are_counted() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut to = Patient { patience: Duration::ZERO, ..Patient::new(OwnedFd::from(full)) };
        (0..3).for_each(|_| to.write("lost\n", say));
        let (mut from, room) = std::io::pipe().unwrap();
        to.to = room.into();
        to.write("on again\n", say);
        assert_eq!(read(&mut from), "missed 3\non again\n");
    }

    #[test]
    fn a_reader_that_is_gone_ends_nothing() {
        let (from, to) = patient(Duration::ZERO);
        drop(from);
        to.write("nobody\n", say);
        to.write("nobody\n", say);
    }
}
