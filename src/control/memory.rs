//! What processes hold of the memory, with everything that they have started: each server is a process group. Looked up by whoever asks,
//! when somebody asks, so that it costs the daemon nothing.

use std::collections::HashMap;

/// What the processes of a group hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// Resident bytes; what processes share counts for each.
    pub bytes: u64,
    pub processes: usize,
}

/// What all groups hold that can be seen, by their leaders; nothing where the system does not tell.
#[cfg(target_os = "linux")]
pub(super) fn of_groups() -> HashMap<u32, Memory> {
    let mut groups: HashMap<u32, Memory> = HashMap::new();
    let page = rustix::param::page_size() as u64;
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        // One that has ended meanwhile has no file.
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        if let Some((group, pages)) = group_and_pages(&stat) {
            let memory = groups.entry(group).or_default();
            memory.bytes += pages * page;
            memory.processes += 1;
        }
    }
    groups
}

/// The same where there is no such place.
#[cfg(not(target_os = "linux"))]
pub(super) fn of_groups() -> HashMap<u32, Memory> {
    HashMap::new()
}

/// The process group and the resident pages in a line of `/proc/PID/stat` (proc(5)). The name of the program, in brackets, may hold
/// anything.
#[cfg(target_os = "linux")]
fn group_and_pages(stat: &str) -> Option<(u32, u64)> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let group = fields.nth(2)?.parse().ok()?;
    Some((group, fields.nth(18)?.parse().ok()?))
}

#[cfg(all(test, target_os = "linux"))]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_whatever_the_program_is_called() {
        let stat =
            "42 (a) 1 (b 7) S 1 40 40 0 -1 4194560 900 0 0 0 1 2 0 0 20 0 1 0 12345 8192000 321 18446744073709551615";
        assert_eq!(group_and_pages(stat), Some((40, 321)));
        for not in ["", "42 (a", "42 (a) S", "42 (a) S 1 x"] {
            assert_eq!(group_and_pages(not), None, "{not}");
        }
    }

    #[test]
    fn this_process_is_seen() {
        let group = u32::try_from(rustix::process::getpgrp().as_raw_nonzero().get()).unwrap();
        let memory = of_groups()[&group];
        assert!(memory.bytes > 1 << 20 && memory.processes >= 1, "{memory:?}");
    }
}
