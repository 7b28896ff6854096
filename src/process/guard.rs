//! No orphans, whatever ends the program, `kill -9` included.
//!
//! # Theory of operation
//!
//! [`Guard::start`] forks a watcher before any thread exists. The watcher holds the read end of a pipe whose
//! write end only the program has, and a list of process groups, to which records on the pipe add groups, and from which they take
//! them off. When the program is gone, for whatever reason, the pipe ends. The watcher then gives the
//! groups a second (their stdin has ended as well), sends TERM, waits a second, sends KILL, and ends. A program
//! that has cleaned up after itself leaves an empty list, and the watcher ends at once.
//!
//! The watcher is forked without an exec, so it costs a few private pages, the fewer the earlier that happens. Its copies of
//! arguments and environment are wiped, since `/proc` would go on showing a token in them. No signal but KILL reaches the
//! watcher: `pkill` and service managers send it what is meant for the program. A child is not covered in the instant between
//! its spawn and its registration; but its stdin ends, like that of any other.
//!
//! The last clone of a [`Guard`] waits for the watcher's end, so that no zombie is left to the process that inherits the watcher:
//! another mcp-pipe, as a container's process 1, would collect one at each health check.
//!
//! A record may also name a moment, by the clock that goes on while the machine sleeps, at which the program is to be killed unless
//! another record comes before: a daemon that holds an agent by a lease, and was stopped or swaps, must not hold it when the lease ends.
//! The watcher can't kill process 1 of a container from inside: there that promise is not kept, as the program says.
//!
//! On Windows the guard does nothing: there a job object ends with the program (not verified).

use std::io;

/// The program's end of the watcher; cheap to clone. The watcher acts once every clone is gone.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    #[cfg(unix)]
    watcher: Option<std::sync::Arc<unix::Watcher>>,
}

impl Guard {
    /// A guard without a watcher, for when none could be started.
    pub fn none() -> Self {
        Self::default()
    }

    /// Starts the watcher. To be called in `main` before any thread exists and before anything is opened.
    ///
    /// # Errors
    /// No pipe or no process could be had. The program can go on with [`Guard::none`].
    #[cfg(unix)]
    pub fn start() -> io::Result<Self> {
        unix::start()
    }

    /// Does nothing on this platform.
    #[cfg(not(unix))]
    pub fn start() -> io::Result<Self> {
        Ok(Self::none())
    }

    /// Has the process group ended with the program.
    #[cfg(unix)]
    pub(crate) fn add(&self, group: rustix::process::Pid) {
        self.send(unix::Record::Add(group));
    }

    /// Takes a process group off the list: it is empty, and its number may come to belong to others.
    #[cfg(unix)]
    pub(crate) fn remove(&self, group: rustix::process::Pid) {
        self.send(unix::Record::Remove(group));
    }

    /// Has the program killed at this moment, given as the time since the machine was started; `None`: no more. What was said before counts no
    /// longer.
    pub(crate) fn kill_at(&self, moment: Option<std::time::Duration>) {
        #[cfg(unix)]
        self.send(unix::Record::KillAt(moment));
        #[cfg(not(unix))]
        let _nobody_watches = moment;
    }

    /// Whether [`Guard::kill_at`] does anything; why not, as the beginning of a sentence.
    ///
    /// # Errors
    /// There is no watcher, or it could not kill this process.
    pub(crate) fn can_kill(&self) -> Result<(), &'static str> {
        #[cfg(target_os = "linux")]
        match (&self.watcher, std::process::id()) {
            (None, _) => Err("there is no watcher process"),
            // A signal from inside its own namespace does not end it (pid_namespaces(7)).
            (Some(_), 1) => Err(
                "mcp-pipe is process 1, which its watcher can't kill (docker run --init, or shareProcessNamespace in Kubernetes, puts an init in its place)",
            ),
            (Some(_), _) => Ok(()),
        }
        #[cfg(not(target_os = "linux"))]
        Err("there is no watcher process that could, on this system")
    }

    #[cfg(unix)]
    fn send(&self, record: unix::Record) {
        let Some(watcher) = &self.watcher else { return };
        if let Err(error) = watcher.tell(record) {
            tracing::warn!(
                event = "GUARD_LOST",
                "the watcher does not listen any more ({error}): if mcp-pipe is killed, servers may be left running, and \
                 if it is stopped while it has a lease, nothing ends it. Restart mcp-pipe"
            );
        }
    }
}

#[cfg(unix)]
#[expect(unsafe_code, reason = "to fork, and to make little of what is left, there is no safe way")]
mod unix {
    use std::ffi::{c_char, c_int};
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
    use std::sync::{Arc, Mutex, PoisonError};
    use std::time::{Duration, Instant};
    use std::{io, mem, ptr, thread};

    use rustix::io::Errno;
    use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, setsid, test_kill_process_group, waitpid};

    use super::Guard;

    /// Longest time for the groups to end after the end of their stdin, and again after TERM.
    const GRACE: Duration = Duration::from_secs(1);
    /// Pause between two looks whether the groups are gone.
    const LOOK: Duration = Duration::from_millis(20);

    /// What the watcher is told.
    #[derive(Debug, Clone, Copy)]
    pub(super) enum Record {
        Add(Pid),
        Remove(Pid),
        KillAt(Option<Duration>),
    }

    /// How long a record is, in bytes: its kind and a number.
    const RECORD: usize = 16;

    impl Record {
        fn write(self) -> [u8; RECORD] {
            let (kind, number) = match self {
                Record::Add(group) => (0_i64, i64::from(group.as_raw_nonzero().get())),
                Record::Remove(group) => (1, i64::from(group.as_raw_nonzero().get())),
                Record::KillAt(None) => (2, 0),
                Record::KillAt(Some(at)) => (3, i64::try_from(at.as_nanos()).unwrap_or(i64::MAX)),
            };
            let mut bytes = [0; RECORD];
            bytes[..8].copy_from_slice(&kind.to_ne_bytes());
            bytes[8..].copy_from_slice(&number.to_ne_bytes());
            bytes
        }

        fn read(bytes: &[u8; RECORD]) -> Option<Self> {
            let (kind, number) = bytes.split_first_chunk::<8>()?;
            let number = i64::from_ne_bytes(number.try_into().ok()?);
            let group = || Pid::from_raw(i32::try_from(number).ok()?);
            match i64::from_ne_bytes(*kind) {
                0 => Some(Record::Add(group()?)),
                1 => Some(Record::Remove(group()?)),
                2 => Some(Record::KillAt(None)),
                3 => Some(Record::KillAt(Some(Duration::from_nanos(number.unsigned_abs())))),
                _ => None,
            }
        }
    }

    /// The watcher as its parent sees it.
    #[derive(Debug)]
    pub(super) struct Watcher {
        id: Pid,
        /// The write end of the pipe; `None` once the watcher is gone, or is to be: for a watcher, the end of the pipe is the
        /// end of the program.
        to: Mutex<Option<OwnedFd>>,
    }

    impl Watcher {
        /// Sends a record. Fails once when the watcher is gone, and does nothing after that; fails each time while the watcher is
        /// stopped and the pipe full.
        pub(super) fn tell(&self, record: Record) -> io::Result<()> {
            let mut to = self.to.lock().unwrap_or_else(PoisonError::into_inner);
            // So few bytes are written whole or not at all. The pipe has room for 4,000 records: a full one means that somebody
            // has stopped the watcher.
            match to.as_ref().map(|to| rustix::io::write(to, &record.write())) {
                Some(Err(error)) => {
                    to.take_if(|_| error == Errno::PIPE);
                    Err(error.into())
                }
                Some(Ok(_)) | None => Ok(()),
            }
        }
    }

    impl Drop for Watcher {
        fn drop(&mut self) {
            *self.to.get_mut().unwrap_or_else(PoisonError::into_inner) = None;
            // A watcher with an empty list ends at once, any other after the two graces. One that takes longer was stopped by
            // somebody.
            let mut pause = Duration::from_micros(100);
            while pause < 3 * GRACE && matches!(waitpid(Some(self.id), WaitOptions::NOHANG), Ok(None)) {
                thread::sleep(pause);
                pause *= 2;
            }
        }
    }

    pub(super) fn start() -> io::Result<Guard> {
        // Both ends close on exec: a child that inherited the write end would keep the watcher waiting.
        let (from, to) = io::pipe()?;
        let program = rustix::process::getpid();
        // SAFETY: no other thread exists (the caller's duty), so the child may do whatever the parent could; and the child
        // never returns.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                watch(from.into(), program);
                // SAFETY: ends this process at once; nothing of the program's (buffers, exit hooks) is run twice.
                unsafe { libc::_exit(0) }
            }
            id => {
                // A watcher that does not listen must not stop the program.
                rustix::io::ioctl_fionbio(&to, true)?;
                let watcher = |id| Watcher { id, to: Mutex::new(Some(to.into())) };
                Ok(Guard { watcher: Pid::from_raw(id).map(watcher).map(Arc::new) })
            }
        }
    }

    fn watch(from: OwnedFd, program: Pid) {
        // A session of its own: neither the terminal's signals nor its hang-up come here.
        let _ = setsid();
        // A working directory would keep its file system from being unmounted.
        let _ = rustix::process::chdir("/");
        block_signals();
        close_all_but(from.as_raw_fd());
        wipe_environment();
        crate::process::scrub::hide_all();
        #[cfg(target_os = "linux")]
        let _ = rustix::thread::set_name(c"mcp-pipe-guard");
        // It has needed all that it needs, but for what waits, and that is little.
        crate::process::text::release();
        let mut groups = listen(from.as_fd(), program);
        for signal in [Signal::TERM, Signal::KILL] {
            // The grace is measured by the clock, not counted in pauses, which take longer on a busy machine.
            let until = Instant::now() + GRACE;
            while Instant::now() < until {
                groups.retain(|group| test_kill_process_group(*group).is_ok());
                if groups.is_empty() {
                    return;
                }
                thread::sleep(LOOK);
            }
            for group in &groups {
                let _ = kill_process_group(*group, signal);
            }
        }
    }

    /// Keeps the list until the program is gone, and kills it when it is told to.
    fn listen(from: BorrowedFd<'_>, program: Pid) -> Vec<Pid> {
        let mut groups: Vec<Pid> = Vec::new();
        let mut record = [0; RECORD];
        let mut deadline = Deadline::default();
        loop {
            if !deadline.is_heard_first(from) {
                // A number that belongs to another process by now is no parent of ours.
                if rustix::process::getppid() == Some(program) {
                    let _gone = rustix::process::kill_process(program, Signal::KILL);
                }
                deadline.set(None);
            }
            // Every record was written whole, so each read takes exactly one.
            match rustix::io::read(from, &mut record) {
                Ok(RECORD) => match Record::read(&record) {
                    Some(Record::Add(group)) => {
                        groups.retain(|known| *known != group);
                        groups.push(group);
                    }
                    Some(Record::Remove(group)) => groups.retain(|known| *known != group),
                    Some(Record::KillAt(at)) => deadline.set(at),
                    None => {}
                },
                Err(Errno::INTR) => {}
                Ok(_) | Err(_) => return groups,
            }
        }
    }

    /// When the program is to be killed.
    #[derive(Default)]
    struct Deadline {
        at: Option<Duration>,
        /// Wakes up then. Made when it is needed first.
        #[cfg(target_os = "linux")]
        timer: Option<OwnedFd>,
    }

    #[cfg(target_os = "linux")]
    impl Deadline {
        fn set(&mut self, at: Option<Duration>) {
            use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
            use rustix::time::{timerfd_create, timerfd_settime};
            self.at = at;
            if self.timer.is_none() {
                self.timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC).ok();
            }
            let Some(timer) = &self.timer else { return };
            // Zero disarms it.
            let at = at.map_or(Duration::ZERO, |at| at.max(Duration::from_nanos(1)));
            let seconds = i64::try_from(at.as_secs()).unwrap_or(i64::MAX);
            let it_value = Timespec { tv_sec: seconds, tv_nsec: at.subsec_nanos().into() };
            let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
            let _in_range = timerfd_settime(timer, TimerfdTimerFlags::ABSTIME, &once);
        }

        /// Waits for the pipe. False: the moment has come first, by the clock itself, as a timer may be late.
        fn is_heard_first(&self, from: BorrowedFd<'_>) -> bool {
            use rustix::event::{PollFd, PollFlags, poll};
            let (Some(at), Some(timer)) = (self.at, &self.timer) else { return true };
            loop {
                let mut both = [PollFd::from_borrowed_fd(from, PollFlags::IN), PollFd::new(timer, PollFlags::IN)];
                let _interrupted = poll(&mut both, None);
                if !both[0].revents().is_empty() {
                    return true;
                }
                let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
                let nanos = u32::try_from(now.tv_nsec).unwrap_or_default();
                if Duration::new(now.tv_sec.unsigned_abs(), nanos) >= at {
                    return false;
                }
            }
        }
    }

    #[cfg(not(target_os = "linux"))]
    impl Deadline {
        /// There is no timer that goes on while the machine sleeps: nobody is killed (see the module).
        fn set(&mut self, at: Option<Duration>) {
            self.at = at;
        }

        fn is_heard_first(&self, _from: BorrowedFd<'_>) -> bool {
            let _never_used = self.at;
            true
        }
    }

    /// Closes every descriptor but one: the write end above all, and what would keep a terminal or a log pipe open.
    fn close_all_but(keep: c_int) {
        #[cfg(target_os = "linux")]
        {
            let (keep, last) = (keep.unsigned_abs(), libc::c_uint::MAX);
            // SAFETY: nothing in this process uses the other descriptors any more.
            let closed = unsafe {
                (keep == 0 || libc::syscall(libc::SYS_close_range, 0, keep - 1, 0) == 0)
                    && libc::syscall(libc::SYS_close_range, keep + 1, last, 0) == 0
            };
            if closed {
                return;
            }
        }
        // SAFETY: asks for a number.
        let open_max = unsafe { libc::sysconf(libc::_SC_OPEN_MAX) };
        // This early nothing high can be open; a limit of a million would only cost time.
        for fd in 0..c_int::try_from(open_max).unwrap_or(c_int::MAX).clamp(256, 4096) {
            if fd != keep {
                // SAFETY: as above; closing what is not open does nothing.
                unsafe { libc::close(fd) };
            }
        }
    }

    fn block_signals() {
        // SAFETY: the set is memory of the right type, filled before it is read; all-zero is a set, too.
        unsafe {
            let mut all: libc::sigset_t = mem::zeroed();
            libc::sigfillset(&raw mut all);
            libc::sigprocmask(libc::SIG_BLOCK, &raw const all, ptr::null_mut());
        }
    }

    unsafe extern "C" {
        static mut environ: *mut *mut c_char;
    }

    /// Overwrites the environment that `/proc/PID/environ` shows.
    fn wipe_environment() {
        // SAFETY: one thread; `environ` is an array of C strings that ends with a null pointer, they lie in the
        // writable memory that the kernel set up or in the heap, and nothing here reads them again.
        unsafe {
            let mut entry = environ;
            while !entry.is_null() && !(*entry).is_null() {
                ptr::write_bytes(*entry, 0, libc::strlen(*entry));
                entry = entry.add(1);
            }
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    /// The body of a test that forks, in a process of its own, without the threads of other tests. Does nothing by itself.
    #[test]
    fn in_a_child() {
        if std::env::var_os("GUARD_TEST").is_none() {
            return;
        }
        let guard = Guard::start().unwrap();
        let clone = guard.clone();
        drop(guard);
        let children = || std::fs::read_to_string("/proc/thread-self/children").unwrap();
        assert_eq!(children().split_whitespace().count(), 1, "it lives as long as a clone does");
        let watcher = clone.watcher.as_ref().unwrap();
        let id = rustix::process::Pid::from_raw(children().trim().parse().unwrap()).unwrap();
        let send = |signal| rustix::process::kill_process(id, signal).unwrap();
        // Records about a group that doesn't exist: taken off again and again.
        send(rustix::process::Signal::STOP);
        let record = unix::Record::Remove(rustix::process::Pid::from_raw(1).unwrap());
        let full = (0..100_000).map(|_| watcher.tell(record)).find_map(Result::err).unwrap();
        assert_eq!(full.kind(), std::io::ErrorKind::WouldBlock);
        assert!(watcher.tell(record).is_err(), "its pipe is not closed for that");
        send(rustix::process::Signal::CONT);
        drop(clone);
        assert_eq!(children(), "", "neither a process nor a zombie");
    }

    #[test]
    fn the_watcher_has_ended_and_is_reaped_once_the_last_clone_is_dropped() {
        let arguments = ["--exact", "process::guard::tests::in_a_child", "--test-threads=1"];
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        let output = child.args(arguments).env("GUARD_TEST", "1").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }
}
