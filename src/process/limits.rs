//! What the system's limits leave us, and what to do about them.

use std::io;

/// Least number of open files for a start: the runtime's five, and a few for the first steps. With fewer than its own the runtime
/// would end the program.
#[cfg(unix)]
const LEAST_FILES: usize = 8;
/// Number of open files for which the kernel has room from the start: what 200 servers need. Once there are threads, Linux stops whoever
/// opens a file for about 10 ms each time that this room has to double.
#[cfg(target_os = "linux")]
const ROOM: i32 = 1024;

/// The runtime, on this thread alone: the work is moving bytes, and more threads were measured to cost memory and bring nothing.
///
/// # Errors
/// The system's limits leave no room for a runtime.
pub(crate) fn runtime() -> io::Result<tokio::runtime::Runtime> {
    #[cfg(unix)]
    {
        let one = || rustix::io::dup(rustix::stdio::stdin());
        let all: Result<Vec<_>, _> = std::iter::repeat_with(one).take(LEAST_FILES).collect();
        drop(all?);
    }
    #[cfg(target_os = "linux")]
    // With a limit below it there is less room, which is right.
    drop(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), ROOM - 1));
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Where a file may not grow (`ulimit -f`) a write is to fail, as on a full disk, and not to end the program. To be called within a runtime;
/// it holds on when that has gone.
///
/// # Errors
/// What the system says.
#[cfg(unix)]
pub(crate) fn outlive_full_files() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    signal(SignalKind::from_raw(libc::SIGXFSZ)).map(drop)
}

/// An error in words, with what to do where a limit is the reason.
pub(crate) fn told(error: &io::Error) -> String {
    match remedy(error) {
        Some(remedy) => format!("{}: {remedy}", in_words(error)),
        None => in_words(error),
    }
}

/// Whether the system had no room: for files, processes or memory.
pub(crate) fn is_reached(error: &io::Error) -> bool {
    remedy(error).is_some() || error.kind() == io::ErrorKind::OutOfMemory
}

/// What is said where this machine has no name server that answers: no name at all can be looked up then.
pub(crate) const NO_NAME_SERVER: &str = "no name server answered";

/// What the system says of a failure: without its number, and in our words where its own say little.
pub(crate) fn in_words(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error ").next().unwrap_or(&text);
    let text = text.strip_prefix("failed to lookup address information: ").unwrap_or(text);
    match text {
        "Name or service not known" | "nodename nor servname provided, or not known" => "no name server knows it",
        "Temporary failure in name resolution" => NO_NAME_SERVER,
        "No address associated with hostname" => "it has no address",
        "No such file or directory" => "it does not exist",
        "Connection refused" => "nobody listens there",
        text => text,
    }
    .to_owned()
}

#[cfg(unix)]
fn remedy(error: &io::Error) -> Option<String> {
    use rustix::process::{Resource, getrlimit};
    let limit = |resource| getrlimit(resource).current.map_or_else(String::new, |limit| format!(" ({limit} now)"));
    match error.raw_os_error() {
        Some(libc::EMFILE) => {
            let now = limit(Resource::Nofile);
            Some(format!("raise the limit on open files{now}; ulimit -n, LimitNOFILE= of systemd"))
        }
        Some(libc::ENFILE) => Some("the whole system has no more open files; sysctl fs.file-max".to_owned()),
        Some(libc::EAGAIN) => Some(format!(
            "raise the limit on processes and threads{}; ulimit -u, TasksMax= of systemd, --pids-limit of a container",
            limit(Resource::Nproc)
        )),
        Some(_) | None => None,
    }
}

/// Why a process of ours may not have so many files open, in words that continue a value, and the remedy; `None` if it may.
#[cfg(unix)]
pub(crate) fn refuses_open_files(files: u64) -> Option<(String, String)> {
    use rustix::process::{Resource, getrlimit};
    let most = getrlimit(Resource::Nofile).maximum.filter(|most| files > *most)?;
    let what = format!("is {files}, and the hard limit on open files is {most} here");
    Some((what, format!("write {most} or less, or raise that: ulimit -Hn, LimitNOFILE= of systemd")))
}

/// Why a process of ours may not be so nice, in words that continue a value, and the remedy; `None` if it may. Only who has a leave of the system's gets a lower
/// niceness than it has (getrlimit(2), `RLIMIT_NICE`).
#[cfg(unix)]
pub(crate) fn refuses_nice(nice: i32) -> Option<(String, String)> {
    let ours = rustix::process::getpriority_process(None).unwrap_or_default();
    if nice >= ours.min(least_nice()) {
        return None;
    }
    let what = format!("is {nice}, and mcp-pipe may give {} or more here", ours.min(least_nice()));
    Some((what, "write a higher one, or let mcp-pipe's user do that: LimitNICE= of systemd".to_owned()))
}

/// The lowest niceness that the system grants besides the one that we have.
#[cfg(target_os = "linux")]
fn least_nice() -> i32 {
    use rustix::process::{Resource, getrlimit};
    use rustix::thread::{CapabilitySet, capabilities};
    if capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_NICE)) {
        return -20;
    }
    // The limit counts the other way round, from 1 (niceness 19) to 40.
    getrlimit(Resource::Nice).current.map_or(-20, |ceiling| 20 - i32::try_from(ceiling).unwrap_or(40).min(40))
}

#[cfg(all(unix, not(target_os = "linux")))]
fn least_nice() -> i32 {
    if rustix::process::geteuid().is_root() { -20 } else { 20 }
}

/// Not known here; and nothing comes of it.
#[cfg(not(unix))]
pub(crate) fn refuses_open_files(_files: u64) -> Option<(String, String)> {
    None
}

/// Not known here; and nothing comes of it.
#[cfg(not(unix))]
pub(crate) fn refuses_nice(_nice: i32) -> Option<(String, String)> {
    None
}

#[cfg(not(unix))]
fn remedy(_error: &io::Error) -> Option<String> {
    None
}

#[cfg(all(test, unix))]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_told_without_its_number() {
        let of_system = |code| in_words(&io::Error::from_raw_os_error(code));
        assert_eq!(of_system(libc::ENOENT), "it does not exist");
        assert_eq!(of_system(libc::ECONNREFUSED), "nobody listens there");
        assert_eq!(of_system(libc::EACCES), "Permission denied");
        let lookup = |text: &str| told(&io::Error::other(format!("failed to lookup address information: {text}")));
        assert_eq!(lookup("Name or service not known"), "no name server knows it");
        assert_eq!(lookup("Temporary failure in name resolution"), "no name server answered");
        assert_eq!(lookup("Something else"), "Something else");
    }

    #[test]
    fn a_limit_is_told_with_what_to_do() {
        runtime().unwrap();
        let told = |code| told(&io::Error::from_raw_os_error(code));
        assert!(told(libc::EMFILE).contains("ulimit -n") && told(libc::EAGAIN).contains("ulimit -u"));
        assert_eq!(told(libc::EISDIR), "Is a directory");
    }
}
