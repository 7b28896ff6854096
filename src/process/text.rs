//! Gives back the memory of program text that is not needed any more: what only the start ran through, or only requests.
//!
//! The start runs through most of the program once (arguments, config, schema, TLS), and the system maps each page that is touched
//! with its neighbours; the table by which the program was linked alone is 300 KiB. All of that would count as this process's memory for
//! months, and be the last that the system takes back when memory is short, since it is program text. Given back, it is the system's to keep or to drop; what is needed again comes
//! from there, or from the file, with the first touch. Elsewhere than on Linux nothing is done.

use std::sync::atomic::{AtomicU8, Ordering};

/// Unmaps the program's text and constants until it is touched again (`MADV_DONTNEED`, madvise(2)).
#[cfg(target_os = "linux")]
pub(crate) fn release() {
    let program = std::fs::read_link("/proc/self/exe").ok();
    let maps = std::fs::read_to_string("/proc/self/maps").ok();
    if let (Some(program), Some(maps)) = (program, maps) {
        ranges(&maps, &program.to_string_lossy()).for_each(|(start, end)| unmap(start, end));
    }
}

/// Does nothing on this system.
#[cfg(not(target_os = "linux"))]
pub(crate) fn release() {}

/// When what something runs through that is done now and then is to be given back: once it has not been done for a while, and then
/// not again until it was. Pure.
#[derive(Debug, Default)]
pub(crate) struct Rest(AtomicU8);

impl Rest {
    /// It is done now.
    pub(crate) fn disturb(&self) {
        self.0.store(2, Ordering::Relaxed);
    }

    /// Looks now and then; whether it has come to rest: it was done before the last look, and not since.
    pub(crate) fn has_come(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |looks| looks.checked_sub(1)) == Ok(1)
    }
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "the system is told about memory by its address")]
fn unmap(start: usize, end: usize) {
    use rustix::mm::{Advice, madvise};
    // SAFETY: the range is one mapping of the program's file that can't be written and never was, so that its pages are the file's,
    // and are read from there again at the next touch. A kernel that refuses leaves all as it is.
    let _refused = unsafe { madvise(start as *mut _, end - start, Advice::LinuxDontNeed) };
}

/// Where a program's text and constants lie, by `/proc/PID/maps` (proc_pid_maps(5)): its own mappings that can be executed, and the one with
/// which the file begins. Others that can only be read now were written once, when the program was linked.
#[cfg(any(test, target_os = "linux"))]
fn ranges(maps: &str, program: &str) -> impl Iterator<Item = (usize, usize)> {
    maps.lines().filter_map(move |line| {
        let mut fields = line.splitn(6, ' ');
        let (range, rights, offset) = (fields.next()?, fields.next()?, fields.next()?);
        let is_of_file = rights == "r-xp" || rights == "r--p" && offset.bytes().all(|digit| digit == b'0');
        let is_meant = is_of_file && fields.nth(2)?.trim_start() == program;
        let (start, end) = range.split_once('-').filter(|_| is_meant)?;
        let at = |hex| usize::from_str_radix(hex, 16).ok();
        Some((at(start)?, at(end)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_and_the_constants_of_the_program_alone_are_found() {
        let maps = "\
            55d0a000-55d0b000 r--p 00000000 fe:00 123                        /opt/my apps/mcp-pipe\n\
            55d0b000-55d0f000 r-xp 00001000 fe:00 123                        /opt/my apps/mcp-pipe\n\
            55d0f000-55d10000 r--p 00005000 fe:00 123                        /opt/my apps/mcp-pipe\n\
            55d10000-55d11000 rw-p 00006000 fe:00 123                        /opt/my apps/mcp-pipe\n\
            55d20000-55d30000 rw-p 00000000 00:00 0                          [heap]\n\
            7f000000-7f001000 r-xp 00001000 fe:00 9                          /usr/lib/libc.so.6\n\
            7f002000-7f003000 rwxp 00001000 fe:00 123                        /opt/my apps/mcp-pipe\n\
            7ffd0000-7ffd1000 r-xp 00000000 00:00 0                          [vdso]\n";
        let found: Vec<_> = ranges(maps, "/opt/my apps/mcp-pipe").collect();
        assert_eq!(found, [(0x55d0_a000, 0x55d0_b000), (0x55d0_b000, 0x55d0_f000)]);
        assert_eq!(ranges("", "x").count() + ranges("x\ny-z r-xp", "").count(), 0);
    }

    #[test]
    fn rest_comes_once_after_each_time_that_something_was_done() {
        let rest = Rest::default();
        let looks = |count: usize| (0..count).map(|_| rest.has_come()).collect::<Vec<_>>();
        assert_eq!(looks(3), [false; 3], "nothing was done yet");
        for _ in 0..2 {
            rest.disturb();
            assert_eq!(looks(1), [false], "it may have been done just now");
            rest.disturb();
            assert_eq!(looks(4), [false, true, false, false]);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_program_has_less_of_its_text_in_memory_and_goes_on() {
        let resident = || {
            let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap_or_default();
            let program = std::fs::read_link("/proc/self/exe").unwrap_or_default();
            let mut is_text = false;
            smaps
                .lines()
                .filter_map(|line| {
                    if line.contains('-') && !line.contains(':') || line.contains(" r") {
                        is_text = line.contains(" r-xp ") && line.ends_with(&*program.to_string_lossy());
                    }
                    let size = line.strip_prefix("Rss:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok()?;
                    is_text.then_some(size)
                })
                .sum::<u64>()
        };
        // Other tests touch it again at the same time.
        let is_less = (0..100).any(|_| {
            let before = resident();
            release();
            resident() < before
        });
        assert!(is_less);
    }
}
