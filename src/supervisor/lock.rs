//! Notices another mcp-pipe that serves the same agent on this machine.
//!
//! Each agent has a file in the cache's folder, locked as long as a process serves the agent: the system releases the lock
//! however the process ends, so a leftover file means nothing. The text in the file is only for another mcp-pipe's log.

use std::fmt;
use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use crate::disk::folder::Folder;
use crate::endpoint::agent::Agent;
use crate::net::peer_text::bounded;

/// Most of a lock file that is read, in bytes: a process number and a path.
const MAX_HOLDER: u64 = 4096;
/// Longest part of the path that is shown, in characters.
const MAX_SHOWN: usize = 200;

/// The lock of an agent: on this machine the agent is ours until this is dropped.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "held, not used: closing it releases the lock")] File);

/// What came of an attempt to get a lock.
#[derive(Debug)]
pub(super) enum Attempt {
    /// The lock is ours.
    Taken(Lock),
    /// Another process has the lock.
    Held(Holder),
}

/// The process that has a lock, as far as it is known. `Display`: "process 7 with /etc/mcp_config.json".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    pid: Option<u32>,
    config: String,
}

/// Tries to get the lock of `agent` in our folder in `dir`; both folders are made if need be. `config` is the place of our
/// config, for the log of another process.
///
/// # Errors
/// The file can't be made or locked, or what has its name is none of ours.
pub(super) fn attempt(dir: &Path, agent: Agent, config: &str) -> io::Result<Attempt> {
    let mut file = Folder::make(dir)?.open_lock(&name(agent))?;
    match file.try_lock() {
        Ok(()) => {
            // Written over the old text without making the file shorter, which could wait for the disk: only the first two lines
            // count. On a full disk nobody learns who has the lock, but it is held all the same.
            let _untold = file.write_all(format!("{}\n{config}\n", std::process::id()).as_bytes());
            Ok(Attempt::Taken(Lock(file)))
        }
        Err(TryLockError::WouldBlock) => {
            let mut text = Vec::new();
            // On Windows a locked file can't be read, so the holder stays unknown.
            let _unknown = file.take(MAX_HOLDER).read_to_end(&mut text);
            Ok(Attempt::Held(Holder::read(&String::from_utf8_lossy(&text))))
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Who has the lock of `agent` in our folder in `dir`, found without trying to get it.
#[cfg(target_os = "linux")]
pub(crate) fn holder(dir: &Path, agent: Agent) -> Option<Holder> {
    use std::os::unix::fs::MetadataExt as _;
    let file = Folder::find(dir).ok()??.path().join(name(agent));
    let found = std::fs::symlink_metadata(&file).ok().filter(std::fs::Metadata::is_file)?;
    // The kernel's list of all locks (proc(5)): a device and an inode each.
    let inode = format!(":{}", found.ino());
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let is_held = locks
        .lines()
        .any(|line| line.contains(" FLOCK ") && line.split_whitespace().any(|word| word.ends_with(&inode)));
    let mut text = Vec::new();
    File::open(&file).ok()?.take(MAX_HOLDER).read_to_end(&mut text).ok().filter(|_| is_held)?;
    Some(Holder::read(&String::from_utf8_lossy(&text)))
}

/// The same where nobody tells.
#[cfg(not(target_os = "linux"))]
pub(crate) fn holder(_dir: &Path, _agent: Agent) -> Option<Holder> {
    None
}

fn name(agent: Agent) -> String {
    format!("lock-{}", agent.key())
}

impl Holder {
    /// Reads the text of a lock file, which may be anything: half written, or changed by somebody.
    fn read(text: &str) -> Self {
        let mut lines = text.lines();
        let pid = lines.next().and_then(|line| line.parse().ok());
        let config = lines.next().filter(|_| pid.is_some()).unwrap_or_default();
        Holder { pid, config: bounded(config, MAX_SHOWN) }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "process {pid}")?,
            None => f.write_str("another process")?,
        }
        if self.config.is_empty() { Ok(()) } else { write!(f, " with {}", self.config) }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::disk::folder::NAME;

    fn agent(token: &str) -> Agent {
        Agent::of(&format!("ws://h/?token={token}").parse().unwrap(), &[])
    }

    fn held(attempt: Attempt) -> String {
        match attempt {
            Attempt::Taken(_) => panic!("nobody holds it"),
            Attempt::Held(holder) => holder.to_string(),
        }
    }

    #[test]
    fn who_comes_second_is_told_who_came_first_until_that_one_ends() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("cache").join("mcp-pipe");
        let first = attempt(&dir, agent("s3cret"), "/first/mcp_config.json").unwrap();
        let Attempt::Taken(lock) = first else { panic!("nobody holds it") };
        let second = held(attempt(&dir, agent("s3cret"), "/second").unwrap());
        assert_eq!(second, format!("process {} with /first/mcp_config.json", std::process::id()));
        assert!(matches!(attempt(&dir, agent("other"), "/second").unwrap(), Attempt::Taken(_)), "another agent");
        drop(lock);
        let Attempt::Taken(_lock) = attempt(&dir, agent("s3cret"), "/second").unwrap() else { panic!("it is free") };
        let third = held(attempt(&dir, agent("s3cret"), "").unwrap());
        assert_eq!(third, format!("process {} with /second", std::process::id()), "nothing of the longer one before");
        for file in std::fs::read_dir(dir.join(NAME)).unwrap().map(Result::unwrap) {
            let text = std::fs::read_to_string(file.path()).unwrap();
            assert!(!text.contains("s3cret") && !file.path().to_string_lossy().contains("s3cret"), "{text}");
        }
    }

    #[test]
    fn whatever_lies_in_the_file_is_shown_bounded_or_not_at_all() {
        for (text, want) in [
            ("", "another process"),
            ("7\n", "process 7"),
            ("7\n/a b/c.json\n", "process 7 with /a b/c.json"),
            ("nonsense\n/etc/passwd", "another process"),
        ] {
            assert_eq!(Holder::read(text).to_string(), want);
        }
        let shown = Holder::read(&format!("7\n\x1b[2J{}", "x".repeat(10_000))).to_string();
        assert!(shown.len() < 300 && !shown.contains('\x1b'), "{shown}");
    }

    #[cfg(unix)]
    #[test]
    fn it_is_for_its_owner_only_and_no_link_leads_to_it() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let dir = tempfile::tempdir().unwrap();
        let path = |token| dir.path().join(NAME).join(name(agent(token)));
        drop(attempt(dir.path(), agent("a"), "").unwrap());
        assert_eq!(path("a").metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let (theirs, dangling) = (dir.path().join("theirs"), dir.path().join("dangling"));
        std::fs::write(&theirs, "mine").unwrap();
        symlink(&theirs, path("b")).unwrap();
        symlink(&dangling, path("c")).unwrap();
        assert!(attempt(dir.path(), agent("b"), "").is_err() && attempt(dir.path(), agent("c"), "").is_err());
        assert_eq!((std::fs::read_to_string(theirs).unwrap().as_str(), dangling.exists()), ("mine", false));
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_an_error_and_no_more() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(attempt(file.path(), agent("a"), "").is_err());
    }
}
