//! What the system tells of processes. Where it doesn't, figures are missing and nothing fails.

use std::time::Duration;

/// Memory of a contender's own processes, in KiB.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    /// Resident set size: pages shared with others count in full.
    pub(crate) rss: f64,
    /// Proportional set size: a page shared by n processes counts 1/n.
    pub(crate) pss: f64,
}

/// Puts this process, and so all that it starts, on one CPU: a wake-up that crosses CPUs costs more than all that is
/// measured here, and whether it does is up to the scheduler. Says whether it could.
#[cfg(target_os = "linux")]
pub(crate) fn pin() -> bool {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    let Ok(allowed) = sched_getaffinity(None) else { return false };
    let Some(last) = (0..CpuSet::MAX_CPU).rev().find(|cpu| allowed.is_set(*cpu)) else { return false };
    let mut one = CpuSet::new();
    one.set(last);
    sched_setaffinity(None, &one).is_ok()
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn pin() -> bool {
    false
}

/// A process and its descendants, without the echo servers.
#[cfg(target_os = "linux")]
pub(crate) fn memory(pid: u32) -> Option<Memory> {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
    if read("cmdline")?.contains(crate::echo::FLAG) {
        return Some(Memory { rss: 0.0, pss: 0.0 });
    }
    let rollup = read("smaps_rollup")?;
    let kib =
        |key: &str| rollup.lines().find_map(|line| line.strip_prefix(key)?.split_whitespace().next()?.parse().ok());
    let mut sum = Memory { rss: kib("Rss:")?, pss: kib("Pss:")? };
    for child in read(&format!("task/{pid}/children"))?.split_whitespace() {
        let child = memory(child.parse().ok()?)?;
        sum = Memory { rss: sum.rss + child.rss, pss: sum.pss + child.pss };
    }
    Some(sum)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn memory(_: u32) -> Option<Memory> {
    None
}

/// How long a process has had a CPU.
#[cfg(target_os = "linux")]
pub(crate) fn cpu(pid: u32) -> Option<Duration> {
    let mut sum = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let stat = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        sum += stat.split_whitespace().next()?.parse::<u64>().ok()?;
    }
    Some(Duration::from_nanos(sum))
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn cpu(_: u32) -> Option<Duration> {
    None
}
