//! What processes hold of the memory and have used of the processors, with everything that they have started: each server is a process group. Looked up by whoever asks,
//! when somebody asks, so that it costs the daemon nothing; and now and then for a server that may hold so much and no more.

#[cfg(target_os = "linux")]
use std::cell::RefCell;
use std::collections::HashMap;
#[cfg(target_os = "linux")]
use std::time::{Duration, Instant};

/// What the processes of a group hold, and have used.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Memory {
    /// Resident bytes; what processes share counts for each.
    pub bytes: u64,
    pub processes: usize,
    /// Time of processors in seconds, with that of processes which have ended, as far as one of these has waited for them.
    pub cpu: f64,
}

impl Memory {
    /// What two groups hold and have used together.
    pub(crate) fn and(self, other: Memory) -> Memory {
        Memory {
            bytes: self.bytes + other.bytes,
            processes: self.processes + other.processes,
            cpu: self.cpu + other.cpu,
        }
    }
}

/// What all groups hold that can be seen, by their leaders; nothing where the system does not tell.
#[cfg(target_os = "linux")]
pub(crate) fn of_groups() -> HashMap<u32, Memory> {
    let mut groups: HashMap<u32, Memory> = HashMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        // One that has ended meanwhile has no file.
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        if let Some((group, used)) = group_and_use(&stat) {
            let memory = groups.entry(group).or_default();
            memory.bytes += used.bytes;
            memory.cpu += used.cpu;
            memory.processes += 1;
        }
    }
    groups
}

/// What this process alone holds, and has used.
#[cfg(target_os = "linux")]
pub(crate) fn of_itself() -> Option<Memory> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, [own, _], bytes) = numbers(&stat)?;
    Some(Memory { bytes, processes: 1, cpu: own })
}

/// What one group holds; `None` where the system does not tell, or nobody of it is left. Asks of each process on the machine only to which group it
/// belongs, which is a small part of the work of [`of_groups`]; and that once for all who ask within [`FRESH`].
#[cfg(target_os = "linux")]
pub(crate) fn of_group(leader: u32) -> Option<Memory> {
    members(leader).into_iter().filter_map(|pid| of_member(pid, leader)).reduce(Memory::and)
}

/// What one group holds in bytes, with what its processes share counted once. It has the kernel walk through all of their memory, so it is for whoever is about
/// to act on the answer. Of a process that does not tell, all counts.
#[cfg(target_os = "linux")]
pub(crate) fn proportional(leader: u32) -> u64 {
    let of_one = |pid: i32| {
        let whole = of_member(pid, leader)?.bytes;
        let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"));
        Some(rollup.ok().and_then(|rollup| share(&rollup)).unwrap_or(whole))
    };
    members(leader).into_iter().filter_map(of_one).sum()
}

/// What a process of a group holds; `None` where it is gone, and where its number belongs to another one.
#[cfg(target_os = "linux")]
fn of_member(pid: i32, leader: u32) -> Option<Memory> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    group_and_use(&stat).filter(|(group, _)| *group == leader).map(|(_, used)| used)
}

/// How long it counts which processes there are, and of which groups.
#[cfg(target_os = "linux")]
const FRESH: Duration = Duration::from_millis(50);

/// Which processes there were.
#[cfg(target_os = "linux")]
struct Seen {
    at: Instant,
    /// Each behind its group.
    all: Vec<(i32, i32)>,
}

/// The processes of a group.
#[cfg(target_os = "linux")]
fn members(leader: u32) -> Vec<i32> {
    thread_local! {
        static LAST: RefCell<Option<Seen>> = const { RefCell::new(None) };
    }
    let of_each = |name: std::ffi::OsString| {
        let pid = name.to_str()?.parse().ok()?;
        #[expect(
            unsafe_code,
            reason = "rustix takes no answer of 0, and that is the group of the kernel's own threads"
        )]
        // SAFETY: asks for a number, whatever the one that is handed over.
        Some((unsafe { libc::getpgid(pid) }, pid))
    };
    LAST.with_borrow_mut(|last| {
        last.take_if(|seen| seen.at.elapsed() > FRESH);
        let seen = last.get_or_insert_with(|| {
            let names = std::fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.file_name());
            Seen { at: Instant::now(), all: names.filter_map(of_each).collect() }
        });
        seen.all.iter().filter(|(group, _)| u32::try_from(*group) == Ok(leader)).map(|(_, pid)| *pid).collect()
    })
}

/// The bytes after `Pss:` in a `smaps_rollup` (proc(5)): those of a process, and its share of what it has in common with others.
#[cfg(target_os = "linux")]
fn share(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// The same where there is no such place.
#[cfg(not(target_os = "linux"))]
pub(crate) fn of_groups() -> HashMap<u32, Memory> {
    HashMap::new()
}

/// The same where there is no such place.
#[cfg(not(target_os = "linux"))]
pub(crate) fn of_group(_leader: u32) -> Option<Memory> {
    None
}

/// The same where there is no such place.
#[cfg(not(target_os = "linux"))]
pub(crate) fn proportional(_leader: u32) -> u64 {
    0
}

/// The process group in a line of `/proc/PID/stat`, and what the process holds and has used.
#[cfg(target_os = "linux")]
fn group_and_use(stat: &str) -> Option<(u32, Memory)> {
    let (group, [own, of_children], bytes) = numbers(stat)?;
    Some((group, Memory { bytes, processes: 1, cpu: own + of_children }))
}

/// In a line of `/proc/PID/stat` (proc(5)): the process group; the seconds that the process has used of processors, and those of its children
/// that it has waited for; and the resident bytes. The name of the program, in brackets, may hold anything.
#[cfg(target_os = "linux")]
fn numbers(stat: &str) -> Option<(u32, [f64; 2], u64)> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let group = fields.nth(2)?.parse().ok()?;
    let mut ticks = [0.0; 4];
    for (at, tick) in ticks.iter_mut().enumerate() {
        // Behind the group come eight other fields.
        *tick = fields.nth(if at == 0 { 8 } else { 0 })?.parse().ok()?;
    }
    let pages: u64 = fields.nth(6)?.parse().ok()?;
    let second = rustix::param::clock_ticks_per_second() as f64;
    let [user, system, of_children_user, of_children_system] = ticks.map(|ticks: f64| ticks / second);
    Some((group, [user + system, of_children_user + of_children_system], pages * rustix::param::page_size() as u64))
}

#[cfg(all(test, target_os = "linux"))]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_whatever_the_program_is_called() {
        let stat = "42 (a) 1 (b 7) S 1 40 40 0 -1 4194560 900 0 0 0 100 200 300 400 20 0 1 0 12345 8192000 321 18446744073709551615";
        let page = rustix::param::page_size() as u64;
        let second = rustix::param::clock_ticks_per_second() as f64;
        assert_eq!(numbers(stat), Some((40, [300.0 / second, 700.0 / second], 321 * page)));
        let used = Memory { bytes: 321 * page, processes: 1, cpu: 1000.0 / second };
        assert_eq!(group_and_use(stat), Some((40, used)));
        for not in ["", "42 (a", "42 (a) S", "42 (a) S 1 x"] {
            assert_eq!(group_and_use(not), None, "{not}");
        }
    }

    #[test]
    fn this_process_is_seen() {
        let group = u32::try_from(rustix::process::getpgrp().as_raw_nonzero().get()).unwrap();
        let memory = of_groups()[&group];
        assert!(memory.bytes > 1 << 20 && memory.processes >= 1, "{memory:?}");
        let alone = of_group(group).unwrap();
        assert!(alone.bytes > 1 << 20 && alone.processes >= 1, "{alone:?}");
        let share = proportional(group);
        assert!(share > 1 << 18, "{share}");
        assert_eq!(of_group(u32::MAX), None);
    }

    #[test]
    fn a_process_has_its_share_of_what_it_has_in_common_with_others() {
        let rollup = "55d0-7ffc ---p 00000000 00:00 0 [rollup]\nRss:    9000 kB\nPss:    1234 kB\nPss_Anon: 7 kB\n";
        assert_eq!(share(rollup), Some(1234 * 1024));
        assert_eq!(share("Rss: 9000 kB\n"), None);
    }
}
