//! Reads a file that a person has named: not for ever, not without end, whatever the name leads to.
//!
//! Opening a named pipe waits for a writer, a device may never end, and files are read before there is
//! anything that could be told to stop.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::time::Duration;

use crate::words::{size, span};

/// Which kinds of files are read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Accept {
    /// Regular files and nothing else.
    Files,
    /// Also pipes and devices, such as `<(command)` in a shell, if everything comes within this time.
    Streams(Duration),
}

/// Reads a whole file of at most `limit` bytes.
///
/// # Errors
/// What the system says; or, in words that continue "can't be read: ", that the file is larger, is no regular file, or brought
/// nothing in time.
pub(crate) fn whole(path: &Path, limit: u64, accept: Accept) -> io::Result<Vec<u8>> {
    read(&open(path)?, limit, accept)
}

/// The same for a file that is open already, without waiting as [`open`] does.
///
/// # Errors
/// As [`whole`].
pub(crate) fn read(file: &File, limit: u64, accept: Accept) -> io::Result<Vec<u8>> {
    let found = file.metadata()?;
    if found.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let mut bytes = Vec::new();
    match accept {
        _ if found.is_file() => {
            // The file is read in one piece, and a byte more shows that this was its end.
            bytes.reserve_exact(usize::try_from(found.len().min(limit)).unwrap_or_default() + 1);
            // One byte more than the limit shows that there is more.
            file.take(limit + 1).read_to_end(&mut bytes)?;
        }
        Accept::Streams(patience) => stream(file, limit, patience, &mut bytes)?,
        Accept::Files => return Err(io::Error::other("it is no regular file")),
    }
    if bytes.len() as u64 > limit {
        let what = format!("it is larger than {}", size(limit));
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    Ok(bytes)
}

/// Opens a file to read it, without waiting for anybody.
///
/// # Errors
/// What the system says.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let mut open = File::options();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut open, libc::O_NONBLOCK | libc::O_NOCTTY);
    open.read(true).open(path)
}

/// Longest wait for somebody to open a pipe for writing. A shell does that before it starts mcp-pipe.
#[cfg(unix)]
const NOBODY: Duration = Duration::from_secs(5);

/// Reads a pipe or device to its end, or one byte more than `limit`, for no longer than `patience`.
#[cfg(unix)]
fn stream(file: &File, limit: u64, patience: Duration, bytes: &mut Vec<u8>) -> io::Result<()> {
    stream_from(file, limit, [NOBODY.min(patience), patience], bytes)
}

/// The same, with a patience while nobody has the pipe open for writing, and one from when somebody has.
#[cfg(unix)]
fn stream_from(mut file: &File, limit: u64, patience: [Duration; 2], bytes: &mut Vec<u8>) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use std::time::Instant;
    let begun = Instant::now();
    let late = |what: &str, patience| {
        let what = format!("it is no regular file, and {what} within {}", span(patience));
        Err(io::Error::new(io::ErrorKind::TimedOut, what))
    };
    let [nobody, somebody] = patience;
    let mut until = begun + nobody;
    let mut piece = [0; 4096];
    while bytes.len() as u64 <= limit {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        // `poll` before each read tells a pipe that nobody has opened for writing yet from one at its end: both read nothing.
        let ready = rustix::io::retry_on_intr(|| poll(&mut [PollFd::new(file, PollFlags::IN)], Some(&left)))?;
        match (file.read(&mut piece), ready) {
            (Ok(0), 0) => return late("nobody wrote to it", nobody),
            (Ok(0), _) => return Ok(()),
            (Ok(n), _) => bytes.extend_from_slice(&piece[..n]),
            (Err(error), _) if error.kind() == io::ErrorKind::Interrupted => {}
            (Err(error), _) if error.kind() == io::ErrorKind::WouldBlock => {
                if begun.elapsed() >= somebody {
                    return late("not all of it came", somebody);
                }
                until = begun + somebody;
            }
            (Err(error), _) => return Err(error),
        }
    }
    Ok(())
}

/// Reads a pipe or device to its end, or one byte more than `limit`, however long that takes (not tried on Windows).
#[cfg(not(unix))]
fn stream(file: &File, limit: u64, _patience: Duration, bytes: &mut Vec<u8>) -> io::Result<()> {
    file.take(limit + 1).read_to_end(bytes).map(drop)
}

#[cfg(all(test, unix))]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::io::Write as _;
    use std::path::PathBuf;
    use std::time::Instant;

    use super::*;

    const SHORT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(60);

    /// A named pipe in a directory of its own.
    fn pipe() -> (tempfile::TempDir, PathBuf) {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        (dir, path)
    }

    fn why(result: io::Result<Vec<u8>>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn a_file_is_read_up_to_the_limit_and_refused_above_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "12345").unwrap();
        for accept in [Accept::Files, Accept::Streams(SHORT)] {
            assert_eq!(whole(file.path(), 5, accept).unwrap(), b"12345");
            assert_eq!(why(whole(file.path(), 4, accept)), "it is larger than 4 bytes");
        }
    }

    #[test]
    fn a_pipe_that_nobody_writes_to_is_not_waited_for_or_not_for_long() {
        let (_dir, path) = pipe();
        assert_eq!(why(whole(&path, 9, Accept::Files)), "it is no regular file");
        let begun = Instant::now();
        assert!(why(whole(&path, 9, Accept::Streams(SHORT))).contains("nobody wrote to it within 50 ms"));
        assert!(begun.elapsed() >= SHORT);
        let mut bytes = Vec::new();
        let nobody = stream_from(&open(&path).unwrap(), 9, [SHORT, LONG], &mut bytes);
        assert!(nobody.unwrap_err().to_string().contains("nobody wrote to it within 50 ms"));
    }

    #[test]
    fn a_pipe_is_read_to_the_end_of_whoever_writes_to_it() {
        let (_dir, path) = pipe();
        std::thread::scope(|scope| {
            // The writer opens the pipe before or after we do, and leaves before or after we have read.
            scope.spawn(|| File::options().write(true).open(&path).unwrap().write_all(b"some text").unwrap());
            assert_eq!(whole(&path, 9, Accept::Streams(LONG)).unwrap(), b"some text");
        });
    }

    #[test]
    fn one_who_writes_and_never_ends_is_not_waited_for_or_read_for_ever() {
        let (_dir, path) = pipe();
        let ours = open(&path).unwrap();
        let mut writer = File::options().write(true).open(&path).unwrap();
        writer.write_all(b"half of").unwrap();
        let mut bytes = Vec::new();
        let late = stream_from(&ours, 9, [SHORT, 3 * SHORT], &mut bytes).unwrap_err();
        assert!(late.to_string().contains("not all of it came within 0.1 s"), "{late}");
        assert_eq!(bytes, b"half of");
        // With somebody there the longer patience counts.
        std::thread::scope(|scope| {
            scope.spawn(move || {
                std::thread::sleep(2 * SHORT);
                writer.write_all(b" it").unwrap();
            });
            bytes.clear();
            stream_from(&ours, 9, [SHORT, LONG], &mut bytes).unwrap();
            assert_eq!(bytes, b" it");
        });
        assert!(why(whole("/dev/zero".as_ref(), 1 << 20, Accept::Streams(LONG))).contains("larger than 1 MiB"));
        assert_eq!(why(whole("/dev/zero".as_ref(), 9, Accept::Files)), "it is no regular file");
        assert_eq!(whole("/dev/null".as_ref(), 9, Accept::Streams(LONG)).unwrap(), b"");
    }

    #[test]
    fn a_directory_is_said_to_be_one() {
        let kind = |accept| whole("/".as_ref(), 9, accept).unwrap_err().kind();
        assert_eq!(kind(Accept::Files), io::ErrorKind::IsADirectory);
        assert_eq!(kind(Accept::Streams(LONG)), io::ErrorKind::IsADirectory);
    }
}
