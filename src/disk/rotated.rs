//! A file of lines that begins anew at a size; older ones stay beside it under numbers (`name.1` is the youngest), so many and no more.
//!
//! It is a regular file of our user, new ones are for its owner only, and neither a link is followed nor a named pipe waited for. Whoever moves it away
//! (logrotate) finds it there again within [`LOOK`] of the next line, and one that is cut to nothing is gone on with.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Metadata};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use memchr::{memchr, memrchr};

use super::obstacle;

/// How often it is looked whether the file is still where it was.
const LOOK: Duration = Duration::from_secs(1);

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Rotated {
    path: PathBuf,
    max_size: u64,
    keep: usize,
    open: Option<Open>,
    /// How many bytes of the next lines are written already: the disk had no room for more.
    begun: usize,
}

#[derive(Debug)]
struct Open {
    file: File,
    size: u64,
    looked: Instant,
}

impl Rotated {
    /// Nothing is opened or made before the first line.
    pub(crate) fn new(path: PathBuf, max_size: u64, keep: usize) -> Self {
        Rotated { path, max_size, keep, open: None, begun: 0 }
    }

    /// What counts from the next line on.
    pub(crate) fn bound(&mut self, max_size: u64, keep: usize) {
        (self.max_size, self.keep) = (max_size, keep);
    }

    /// Writes lines, each with its end; those that have room in one file by one system call. After an error the same lines are to be
    /// written again: it goes on where it has stopped.
    ///
    /// # Errors
    /// Whatever the system says, or in words that continue the path why the file is not written.
    pub(crate) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        self.look()?;
        while self.begun < lines.len() {
            let size = self.opened(lines)?.size;
            let (begun, next) = (self.begun, end_of_line(lines, self.begun));
            let is_torn = begun > start_of_line(lines, begun);
            if !is_torn && size > 0 && size + (next - begun) as u64 > self.max_size {
                self.begin_anew()?;
            }
            let max_size = self.max_size;
            let open = self.opened(lines)?;
            let room = usize::try_from(max_size.saturating_sub(open.size)).unwrap_or(usize::MAX);
            // Those that have room, and one however long it is.
            let end = start_of_line(lines, lines.len().min(begun.saturating_add(room))).max(next);
            let (begun, written) = open.write(&lines[..end], begun);
            self.begun = begun;
            written?;
        }
        self.begun = 0;
        Ok(())
    }

    /// The file, opened where it is not: then a line that has been torn is written whole.
    fn opened(&mut self, lines: &[u8]) -> io::Result<&mut Open> {
        let open = match self.open.take() {
            Some(open) => open,
            None => {
                self.begun = start_of_line(lines, self.begun);
                Open::at(&self.path)?
            }
        };
        Ok(self.open.insert(open))
    }

    /// Lets go of a file that is no longer where it was, and notes the size of one that somebody else has changed.
    fn look(&mut self) -> io::Result<()> {
        let Some(open) = self.open.as_mut().filter(|open| open.looked.elapsed() >= LOOK) else { return Ok(()) };
        open.looked = Instant::now();
        if is_there(&open.file, &self.path) {
            open.size = open.file.metadata()?.len();
        } else {
            self.open = None;
        }
        Ok(())
    }

    /// Moves the older ones and the file itself on by one.
    fn begin_anew(&mut self) -> io::Result<()> {
        // Another process may have done that, or somebody moved the file within the last second.
        let is_there = self.open.take().is_some_and(|open| is_there(&open.file, &self.path));
        if !is_there {
            return Ok(());
        }
        for number in (0..self.keep).rev() {
            let (from, to) = (older(&self.path, number), older(&self.path, number + 1));
            match fs::rename(&from, &to) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    let why = format!("{} can't become {}: {error}", from.display(), to.display());
                    return Err(io::Error::new(error.kind(), why));
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }
}

impl Open {
    fn at(path: &Path) -> io::Result<Open> {
        if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
            folders().create(folder)?;
        }
        let file = match open(path) {
            Ok(file) => file,
            // The system's own words are about links in general, or about a pipe that nobody reads.
            Err(error) => return Err(unfit(path).map_or(error, |(what, _)| io::Error::other(what))),
        };
        let found = file.metadata()?;
        if let Some((what, _)) = unfit_as(&found) {
            return Err(io::Error::other(what));
        }
        Ok(Open { size: found.len(), file, looked: Instant::now() })
    }

    /// Writes lines from this byte on. Returns how much of them is there then.
    fn write(&mut self, lines: &[u8], mut begun: usize) -> (usize, io::Result<()>) {
        while begun < lines.len() {
            match self.file.write(&lines[begun..]) {
                Ok(0) => return (begun, Err(ErrorKind::WriteZero.into())),
                Ok(n) => (begun, self.size) = (begun + n, self.size + n as u64),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return (begun, Err(error)),
            }
        }
        (begun, Ok(()))
    }
}

/// Where the line begins that has this byte, or would have it.
fn start_of_line(lines: &[u8], at: usize) -> usize {
    memrchr(b'\n', &lines[..at]).map_or(0, |end| end + 1)
}

/// Where the line ends that has this byte, its end included.
fn end_of_line(lines: &[u8], at: usize) -> usize {
    memchr(b'\n', &lines[at..]).map_or(lines.len(), |end| at + end + 1)
}

/// The path of an older one; 0 is the file itself.
pub(crate) fn older(path: &Path, number: usize) -> PathBuf {
    if number == 0 {
        return path.to_owned();
    }
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    name.into()
}

/// Why no lines can be written into a file there, in words that continue its path, and the remedy; `None` where nothing is seen that keeps them out.
/// Nothing is opened.
pub(crate) fn unfit(path: &Path) -> Option<(String, String)> {
    match fs::symlink_metadata(path) {
        Ok(found) => unfit_as(&found),
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            Some(("lies below a file".to_owned(), "correct the path".to_owned()))
        }
        Err(_) => obstacle::on_the_way(path).map(|obstacle| obstacle.told()),
    }
}

fn unfit_as(found: &Metadata) -> Option<(String, String)> {
    let other = "name another file";
    let (what, remedy) = if found.is_dir() {
        ("is a folder", "name a file in it")
    } else if found.is_symlink() {
        ("is a link, and no link is followed there", "name the file to which it leads, or another one")
    } else if !found.is_file() {
        ("is no regular file", other)
    } else if !is_ours(found) {
        ("belongs to another user", other)
    } else {
        return None;
    };
    Some((what.to_owned(), remedy.to_owned()))
}

fn folders() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

fn open(path: &Path) -> io::Result<File> {
    let mut open = File::options();
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        open.mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY);
    }
    open.append(true).create(true).open(path)
}

/// Whether our user owns it: into a file of somebody else nothing is written that is for its owner only.
#[cfg(unix)]
fn is_ours(found: &Metadata) -> bool {
    std::os::unix::fs::MetadataExt::uid(found) == rustix::process::geteuid().as_raw()
}

/// Not looked at here.
#[cfg(not(unix))]
fn is_ours(_found: &Metadata) -> bool {
    true
}

/// Whether this file is the one at the path.
#[cfg(unix)]
fn is_there(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let of = |found: Metadata| (found.dev(), found.ino());
    let (ours, there) = (file.metadata().map(of), fs::symlink_metadata(path).map(of));
    matches!((ours, there), (Ok(ours), Ok(there)) if ours == there)
}

/// Whether there is a file at the path: a file that is open can't be moved away here.
#[cfg(not(unix))]
fn is_there(_file: &File, path: &Path) -> bool {
    path.exists()
}

#[cfg(all(test, unix))]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn text(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn it_begins_anew_at_its_size_and_no_line_is_lost_doubled_or_torn() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("made/for/it/log");
        let mut file = Rotated::new(path.clone(), 64, 3);
        let lines: Vec<String> = (0..24).map(|n| format!("line {n:03}\n")).collect();
        lines.iter().for_each(|line| file.write(line.as_bytes()).unwrap());
        let parts: Vec<String> = (0..=3).rev().map(|number| text(&older(&path, number))).collect();
        // Seven lines of nine bytes each have room in 64.
        assert_eq!(parts.concat(), lines.concat());
        assert!(parts.iter().all(|part| part.len() <= 64 && part.ends_with('\n')), "{parts:?}");
        assert!(!older(&path, 4).exists());
        file.write(format!("{}\n", "x".repeat(80)).as_bytes()).unwrap();
        assert_eq!(text(&older(&path, 1)), parts[3], "a line that is larger than all of the file has one alone");
        assert!(!older(&path, 4).exists(), "the oldest is gone");
        // Many at once are spread in the same way.
        let at_once = dir.path().join("at once").join("log");
        Rotated::new(at_once.clone(), 64, 3).write(lines.concat().as_bytes()).unwrap();
        for number in 0..=3 {
            assert_eq!(text(&older(&at_once, number)), parts[3 - number]);
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&older(&path, 3))), (0o600, 0o600));
        assert_eq!(mode(&dir.path().join("made")), 0o700);
    }

    #[test]
    fn one_that_was_there_is_gone_on_with_and_its_size_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        fs::write(&path, "before\n").unwrap();
        Rotated::new(path.clone(), 20, 1).write(b"behind\n").unwrap();
        assert_eq!(text(&path), "before\nbehind\n");
        Rotated::new(path.clone(), 20, 1).write(b"too much\n").unwrap();
        assert_eq!((text(&path), text(&older(&path, 1))), ("too much\n".into(), "before\nbehind\n".into()));
    }

    /// As after a second without a look.
    fn a_while_later(file: &mut Rotated) {
        file.open.as_mut().unwrap().looked -= LOOK;
    }

    #[test]
    fn one_that_is_moved_away_or_cut_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, away) = (dir.path().join("log"), dir.path().join("away"));
        let mut file = Rotated::new(path.clone(), 20, 1);
        file.write(b"first\n").unwrap();
        fs::rename(&path, &away).unwrap();
        a_while_later(&mut file);
        file.write(b"second\n").unwrap();
        assert_eq!((text(&away), text(&path)), ("first\n".into(), "second\n".into()));
        fs::write(&path, "").unwrap();
        a_while_later(&mut file);
        file.write(b"nineteen bytes are\n").unwrap();
        assert_eq!(text(&path), "nineteen bytes are\n");
        assert!(!older(&path, 1).exists(), "the size that it had is none any more");
    }

    #[test]
    fn whatever_else_lies_there_is_told_at_once_and_stays_as_it_is() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("folder")).unwrap();
        fs::write(at("target"), "").unwrap();
        symlink(at("target"), at("link")).unwrap();
        symlink(at("nowhere"), at("dangling")).unwrap();
        mknodat(CWD, at("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let reader = super::super::read::open(&at("pipe")).unwrap();
        for (name, want) in [
            ("folder", "is a folder"),
            ("link", "is a link"),
            ("dangling", "is a link"),
            ("pipe", "is no regular file"),
            ("target/below", "lies below a file"),
        ] {
            assert!(unfit(&at(name)).unwrap().0.starts_with(want), "{name}");
            let error = Rotated::new(at(name), 99, 1).write(b"line\n").unwrap_err().to_string();
            assert!(error.starts_with(want) || name == "target/below", "{name}: {error}");
        }
        drop(reader);
        assert!(Rotated::new(at("pipe"), 99, 1).write(b"line\n").is_err(), "nobody reads it, and nobody is waited for");
        assert_eq!(text(&at("target")), "");
        assert!(!at("nowhere").exists());
        assert!(unfit(Path::new("/dev/full")).is_some());
        assert_eq!(unfit(&at("not/yet/there")), None);
    }

    #[test]
    fn an_older_one_that_can_not_be_moved_is_told_and_no_line_goes_into_a_file_that_is_too_large() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut file = Rotated::new(path.clone(), 8, 1);
        file.write(b"first\n").unwrap();
        fs::create_dir_all(older(&path, 1).join("full")).unwrap();
        for _ in 0..2 {
            assert!(file.write(b"second\n").unwrap_err().to_string().contains("log can't become "));
        }
        assert_eq!(text(&path), "first\n");
        fs::remove_dir_all(older(&path, 1)).unwrap();
        file.write(b"second\n").unwrap();
        assert_eq!((text(&older(&path, 1)), text(&path)), ("first\n".into(), "second\n".into()));
    }
}
