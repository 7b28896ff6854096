//! Keeps the endpoint from other processes, servers under the same user among them.
//!
//! `/proc/PID/cmdline` is readable by everybody and shows the memory in which the kernel put the arguments;
//! `/proc/PID/environ` and `mem` are readable by the same user unless the process is marked as not to be dumped.
//! Elsewhere than on Linux nothing is done; `MCP_ENDPOINT` and `.env` are the ways that never show in a process list.

/// Closes environment and memory of this process, and of those forked from it without an exec, to all but root: for
/// debuggers and core dumps as well (`PR_SET_DUMPABLE`, prctl(2)).
#[cfg(target_os = "linux")]
pub fn seclude() {
    // A kernel that refuses leaves things as they are for every other program.
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

/// Does nothing on this system.
#[cfg(not(target_os = "linux"))]
pub fn seclude() {}

/// Overwrites each of `secrets` in the memory that the process list shows. To be called before a second thread
/// exists, after the arguments have been copied. Where the memory isn't found, nothing happens.
#[cfg(target_os = "linux")]
pub fn hide(secrets: &[&str]) {
    if !secrets.is_empty() {
        with_arguments(|memory| secrets.iter().for_each(|secret| overwrite(memory, secret.as_bytes())));
    }
}

/// Does nothing on this system.
#[cfg(not(target_os = "linux"))]
pub fn hide(_secrets: &[&str]) {}

/// Overwrites all arguments but the program's name, for a process that doesn't need arguments. To be called like [`hide`].
#[cfg(target_os = "linux")]
pub fn hide_all() {
    with_arguments(|memory| {
        let name = memchr::memchr(0, memory).unwrap_or(memory.len());
        memory[name..].fill(0);
    });
}

/// Does nothing on this system.
#[cfg(not(target_os = "linux"))]
pub fn hide_all() {}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "the arguments lie where the kernel put them")]
fn with_arguments(change: impl FnOnce(&mut [u8])) {
    let Some((start, end)) = std::fs::read_to_string("/proc/self/stat").ok().and_then(|stat| argument_range(&stat))
    else {
        return;
    };
    // SAFETY: fields 48 and 49 of /proc/self/stat bound the arguments on our initial stack: bytes, mapped and writable as
    // long as the process lives. No thread exists that could read the arguments meanwhile (the caller's promise),
    // and the standard library keeps pointers into that memory, not references.
    change(unsafe { std::slice::from_raw_parts_mut(start as *mut u8, end - start) });
}

/// `arg_start` and `arg_end` of a `/proc/PID/stat` line (proc_pid_stat(5), fields 48 and 49).
#[cfg(target_os = "linux")]
fn argument_range(stat: &str) -> Option<(usize, usize)> {
    // Field 2 is the program's name in parentheses, and may hold blanks and parentheses itself.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(48 - 3);
    let (start, end): (usize, usize) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    (start != 0 && start < end).then_some((start, end))
}

/// Replaces every occurrence by asterisks of the same length.
#[cfg(target_os = "linux")]
fn overwrite(memory: &mut [u8], secret: &[u8]) {
    if secret.is_empty() {
        return;
    }
    let mut from = 0;
    while let Some(at) = memchr::memmem::find(&memory[from..], secret) {
        memory[from + at..from + at + secret.len()].fill(b'*');
        from += at + secret.len();
    }
}

#[cfg(all(test, target_os = "linux"))]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn the_range_is_found_behind_a_strange_program_name() {
        let fields: Vec<String> = (3..=52).map(|n| n.to_string()).collect();
        let stat = format!("12 (a) b (c) {}", fields.join(" "));
        assert_eq!(argument_range(&stat), Some((48, 49)));
        assert_eq!(argument_range("12 (x) R 1"), None);
    }

    #[test]
    fn every_occurrence_is_overwritten_and_nothing_else() {
        let mut memory = b"a\0--endpoint=wss://x\0wss://x\0b".to_vec();
        overwrite(&mut memory, b"wss://x");
        assert_eq!(memory, b"a\0--endpoint=*******\0*******\0b");
    }

    #[test]
    fn the_range_of_this_process_holds_what_the_process_list_shows() {
        let (start, end) = argument_range(&std::fs::read_to_string("/proc/self/stat").unwrap()).unwrap();
        assert_eq!(std::fs::read("/proc/self/cmdline").unwrap().len(), end - start);
    }

    const SECRET: &str = "wss://h/?token=s3cret-of-the-scrub-test";

    /// Does nothing by itself: [`an_endpoint_leaves_the_process_list`] runs it in a process of its own.
    #[test]
    fn in_a_child() {
        if std::env::var_os("SCRUB_TEST").is_none() {
            return;
        }
        let before = std::fs::read("/proc/self/cmdline").unwrap();
        assert!(memchr::memmem::find(&before, SECRET.as_bytes()).is_some());
        hide(&[SECRET]);
        let after = std::fs::read("/proc/self/cmdline").unwrap();
        assert!(memchr::memmem::find(&after, b"s3cret").is_none());
        assert!(memchr::memmem::find(&after, b"--skip").is_some(), "the rest stays");
    }

    #[test]
    fn an_endpoint_leaves_the_process_list() {
        let arguments = ["--exact", "process::scrub::tests::in_a_child", "--test-threads=1", "--skip", SECRET];
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        let output = child.args(arguments).env("SCRUB_TEST", "1").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }
}
