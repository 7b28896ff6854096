//! The end of a server's process and of everything it started: the group, and the steps of the ladder with the grace of each.

use std::time::Duration;

/// A step of the ladder, with what is done on entering it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Close the server's stdin, on which a server ends by itself.
    Close,
    /// Send TERM to the group.
    Term,
    /// Send KILL to the group.
    Kill,
}

impl Step {
    /// Longest wait for the group to be gone before the next step. All waits together stay below the five seconds within
    /// which mcp-pipe is to be down.
    pub(super) fn grace(self) -> Duration {
        match self {
            Step::Close | Step::Term => Duration::from_millis(1500),
            // Only a process that hangs in the kernel outlives this.
            Step::Kill => Duration::from_secs(1),
        }
    }

    /// The step after the grace is over; `None`: nothing more can be done.
    pub(super) fn next(self) -> Option<Step> {
        match self {
            Step::Close => Some(Step::Term),
            Step::Term => Some(Step::Kill),
            Step::Kill => None,
        }
    }
}

#[cfg(unix)]
pub(super) use unix::Group;

#[cfg(unix)]
mod unix {
    use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, test_kill_process_group, waitpgid};

    use crate::process::guard::Guard;

    /// The process group of a server: the process itself and what it started. Killed when dropped.
    #[derive(Debug)]
    pub(in crate::server) struct Group {
        /// The group's number; `None` once the group is known to be gone. The number may belong to others then, and is never
        /// signalled again.
        id: Option<Pid>,
        guard: Guard,
    }

    impl Group {
        /// The group that the process `leader` leads.
        pub(in crate::server) fn of(leader: u32, guard: Guard) -> Self {
            let id = i32::try_from(leader).ok().and_then(Pid::from_raw);
            if let Some(id) = id {
                guard.add(id);
            }
            Group { id, guard }
        }

        pub(in crate::server) fn term(&self) {
            self.signal(Signal::TERM);
        }

        pub(in crate::server) fn kill(&self) {
            self.signal(Signal::KILL);
        }

        fn signal(&self, signal: Signal) {
            if let Some(id) = self.id {
                // An error says that the group is gone just now, which is as good.
                let _ = kill_process_group(id, signal);
            }
        }

        /// Whether an earlier look found the group gone.
        pub(in crate::server) fn is_known_gone(&self) -> bool {
            self.id.is_none()
        }

        /// Looks whether nobody of the group is left alive. To be called only after the caller has reaped the leader.
        pub(in crate::server) fn is_gone(&mut self) -> bool {
            let Some(id) = self.id else { return true };
            // As process 1 of a container we inherit the group's orphans: a zombie that nobody reaps would count as alive.
            while let Ok(Some(_)) = waitpgid(id, WaitOptions::NOHANG) {}
            if test_kill_process_group(id) == Err(rustix::io::Errno::SRCH) || only_zombies(id) {
                self.guard.remove(id);
                self.id = None;
            }
            self.id.is_none()
        }
    }

    /// Whether only zombies are left of a group: they wait for process 1, which may take its time or never look. Reads all
    /// of `/proc` (milliseconds), for the rare case of a group that outlives its leader.
    #[cfg(target_os = "linux")]
    fn only_zombies(group: Pid) -> bool {
        let group = group.as_raw_nonzero().to_string();
        let Ok(processes) = std::fs::read_dir("/proc") else { return false };
        !processes.flatten().any(|process| {
            if !process.file_name().as_encoded_bytes().first().is_some_and(u8::is_ascii_digit) {
                return false;
            }
            // PID (NAME) STATE PARENT GROUP …, and the name may hold anything.
            let stat = std::fs::read(process.path().join("stat")).unwrap_or_default();
            let after_name = memchr::memrchr(b')', &stat).map_or(&[][..], |at| &stat[at + 1..]);
            let mut fields = after_name.split(|byte| *byte == b' ').skip(1);
            let (state, of) = (fields.next(), fields.nth(1));
            of == Some(group.as_bytes()) && !matches!(state, Some(b"Z" | b"X"))
        })
    }

    #[cfg(not(target_os = "linux"))]
    fn only_zombies(_group: Pid) -> bool {
        false
    }

    impl Drop for Group {
        fn drop(&mut self) {
            self.kill();
            // Processes that hang in the kernel end when they leave it. The guard could add nothing, and by the time
            // it acts the number may belong to another group.
            if let Some(id) = self.id.take() {
                self.guard.remove(id);
            }
        }
    }
}

/// The group where a job object does the work: it ends with the handle of the process (not verified).
#[cfg(windows)]
#[derive(Debug)]
pub(super) struct Group;

#[cfg(windows)]
impl Group {
    pub(super) fn of(_leader: u32, _guard: crate::process::guard::Guard) -> Self {
        Group
    }

    /// Does nothing: a console program has nothing like TERM, and the end of its stdin has to do.
    pub(super) fn term(&self) {}

    pub(super) fn kill(&self) {}

    pub(super) fn is_known_gone(&self) -> bool {
        true
    }

    pub(super) fn is_gone(&mut self) -> bool {
        true
    }
}
