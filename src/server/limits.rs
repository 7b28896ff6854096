//! What a server's `limits` let it have of the machine: how they are set, whether they are kept, and whether its end has come of them.
//!
//! # Theory of operation
//!
//! Memory is bounded twice. What the whole process group holds is looked at now and then ([`Watch`]): that is the bound that is meant, as it counts every process and only what is
//! used. A process that grows between two looks is stopped by the system, as `RLIMIT_DATA` is set for each, at [`hard_stop`]. That counts what is asked for, used or not, so it has to lie above the bound: with its
//! SDK's example server at rest Node 22 has asked for 77 MiB and holds 73, Node 20 for 110 and holds 67, Python for 63 and holds 68. Most of the difference are stacks of threads, of which there are more on a larger machine. `RLIMIT_AS`
//! is of no use: at that moment Node has reserved 1 GiB.
//!
//! A look asks the system for the group of each process on the machine, once for all servers whose looks come at one moment. So that is when they come.

use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::config::{CommandSpec, LimitsSpec};
use crate::error::FaultCode;
use crate::process::memory;
use crate::words::size;

/// Between two looks at a server that is far from its bound, and at one that has more than half of it.
const FAR: Duration = Duration::from_secs(1);
const NEAR: Duration = Duration::from_millis(250);
/// Least distance between the bound and what a process may ask for: the stacks of many threads.
#[cfg(any(unix, test))]
const HEADROOM: u64 = 256 << 20;

/// How much a process may ask the system for, whose group may hold this much: twice that, and at least [`HEADROOM`] more, so that none is stopped for what it
/// asks for and does not use.
#[cfg(any(unix, test))]
pub(super) fn hard_stop(memory: u64) -> u64 {
    memory + memory.max(HEADROOM)
}

/// Looks now and then at what a process group holds.
pub(super) struct Watch {
    leader: u32,
    most: u64,
    next: Pin<Box<Sleep>>,
}

impl Watch {
    /// A watch over the group of this leader, where its memory is bounded and the system tells what it holds.
    pub(super) fn over(leader: u32, limits: LimitsSpec) -> Option<Watch> {
        let most = limits.memory.filter(|_| cfg!(target_os = "linux"))?;
        Some(Watch { leader, most, next: Box::pin(sleep_until(next(Instant::now(), NEAR))) })
    }

    /// Ready with what is wrong, once the group holds more than it may.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<String> {
        while self.next.as_mut().poll(cx).is_ready() {
            let held = memory::of_group(self.leader).unwrap_or_default();
            let is_above = |bytes| bytes > self.most;
            let mut pause = pause(held.bytes, self.most);
            if is_above(held.bytes) {
                // Processes of one program share much, which counts once. To find that out takes longer, so it is not done more often than need be.
                let bytes = if held.processes > 1 { memory::proportional(self.leader) } else { held.bytes };
                if is_above(bytes) {
                    return Poll::Ready(above(bytes, held.processes, self.most));
                }
                pause = FAR;
            }
            self.next.as_mut().reset(next(Instant::now(), pause));
        }
        Poll::Pending
    }
}

/// When the next look is due, after about this pause: at a moment at which others look as well, since the most of a look is the same for all.
fn next(now: Instant, pause: Duration) -> Instant {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    let first = *FIRST.get_or_init(|| now);
    let looks = (now + pause - first).as_millis().div_ceil(NEAR.as_millis());
    first + NEAR * u32::try_from(looks).unwrap_or(u32::MAX)
}

/// How long until the next look.
fn pause(held: u64, most: u64) -> Duration {
    if held > most / 2 { NEAR } else { FAR }
}

/// Why a server was ended.
fn above(held: u64, processes: usize, most: u64) -> String {
    let processes = if processes > 1 { format!(" in {processes} processes") } else { String::new() };
    let held = size(held.next_multiple_of(1 << 20));
    format!("held {held} of memory{processes}, and its limits let it have {}", size(most))
}

/// A limit that a program has met, by its own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Met {
    Memory(u64),
    OpenFiles(u64),
}

impl Met {
    /// The limit that this text, of a program with these limits, is about.
    pub(super) fn told_by(text: &str, limits: LimitsSpec) -> Option<Met> {
        /// What Node, Python, Rust, Go, C++ and the C library say.
        const MEMORY: [&str; 8] = [
            "out of memory",
            "MemoryError",
            "memory allocation of",
            "Cannot allocate memory",
            "bad_alloc",
            "ENOMEM",
            "cannot allocate",
            "OutOfMemory",
        ];
        const FILES: [&str; 5] = [
            "EMFILE",
            "Too many open files",
            "too many open files",
            "os error 24",
            "cannot open shared object file: Error 24",
        ];
        let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
        let of_files = limits.open_files.filter(|_| says(&FILES)).map(Met::OpenFiles);
        of_files.or_else(|| limits.memory.filter(|_| says(&MEMORY)).map(Met::Memory))
    }

    pub(super) fn fault(self) -> FaultCode {
        match self {
            Met::Memory(_) => FaultCode::MemoryLimit,
            Met::OpenFiles(_) => FaultCode::OpenFilesLimit,
        }
    }

    /// What the limit is, in words that continue what the program did.
    pub(super) fn told(self) -> String {
        match self {
            Met::Memory(most) => format!("out of memory: its limits let it have {}", size(most)),
            Met::OpenFiles(most) => format!("out of files to open: its limits let a process have {most}"),
        }
    }
}

/// Has a program begin within its limits, which whatever it starts inherits.
#[cfg(unix)]
pub(super) fn set(command: &mut tokio::process::Command, spec: &CommandSpec) {
    let limits = spec.limits;
    if limits == LimitsSpec::default() {
        return;
    }
    let in_child = move || {
        use rustix::process::{Resource, Rlimit, getrlimit, setpriority_process, setrlimit};
        // One that the system has for us is not raised by this.
        let lower = |resource, to: u64| {
            let to = Some(getrlimit(resource).maximum.map_or(to, |most| most.min(to)));
            setrlimit(resource, Rlimit { current: to, maximum: to })
        };
        if let Some(memory) = limits.memory {
            lower(Resource::Data, hard_stop(memory))?;
        }
        if let Some(files) = limits.open_files {
            lower(Resource::Nofile, files)?;
        }
        if let Some(nice) = limits.nice {
            setpriority_process(None, nice)?;
        }
        Ok(())
    };
    #[expect(unsafe_code, reason = "only the child itself can have limits from its first instruction on")]
    // SAFETY: between fork and exec only system calls are made, and nothing is allocated: an error is a number.
    unsafe {
        command.pre_exec(in_child);
    }
}

/// Nothing of that is known here.
#[cfg(not(unix))]
pub(super) fn set(_command: &mut tokio::process::Command, _spec: &CommandSpec) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_ask_for_more_than_it_may_hold() {
        assert_eq!(hard_stop(512 << 20), 1 << 30);
        assert_eq!(hard_stop(16 << 20), 272 << 20);
        assert_eq!((pause(256, 512), pause(257, 512)), (FAR, NEAR));
    }

    #[test]
    fn what_a_program_says_is_about_a_limit_that_it_has() {
        let limits = LimitsSpec { memory: Some(512 << 20), open_files: Some(64), nice: None };
        for (text, want) in [
            (
                "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory",
                Some(Met::Memory(512 << 20)),
            ),
            ("Traceback | MemoryError", Some(Met::Memory(512 << 20))),
            ("memory allocation of 1073741824 bytes failed", Some(Met::Memory(512 << 20))),
            ("Error: EMFILE: too many open files, open '/tmp/x'", Some(Met::OpenFiles(64))),
            ("OSError: [Errno 24] Too many open files: 'x'", Some(Met::OpenFiles(64))),
            ("no such table", None),
        ] {
            assert_eq!(Met::told_by(text, limits), want, "{text}");
            assert_eq!(Met::told_by(text, LimitsSpec::default()), None, "{text}");
        }
        assert_eq!(
            above(600 << 20, 3, 512 << 20),
            "held 600 MiB of memory in 3 processes, and its limits let it have 512 MiB"
        );
    }
}
