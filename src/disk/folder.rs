//! The folder of mcp-pipe inside of one that a person chose: marked, for its owner only, and never reached through a link.
//!
//! The chosen folder may hold other things, or links where files of ours belong. So every file that is written, read or
//! removed is a regular file in a folder that mcp-pipe made, that says so ([`MARK`]), and that belongs to our user. The way to
//! the chosen folder is the person's own, links and all. Any number of processes may use our folder.
//!
//! On Unix the folder is held open, and files are reached from there: whatever becomes of the folder's name changes nothing.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

#[cfg(not(unix))]
use self::by_path::Dir;
#[cfg(unix)]
use self::held::Dir;
use super::read::{self, Accept};

/// The cache folder's name.
pub(crate) const NAME: &str = "mcp-pipe-cache";
/// The file by which the cache folder is known again, also to programs that make backups (<https://bford.info/cachedir/>).
const MARK: &str = "CACHEDIR.TAG";
/// The beginning of its mark: the first line is the convention's, the second says whose folder this is.
const MARKED: &str = "Signature: 8a477f597d28d172789f06886806bc55\n# Made by mcp-pipe. ";
const MARK_TEXT: &str = "What servers said of themselves is remembered here. It can be deleted at any time.\n";

/// What a folder is for, and so its name and its mark.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    /// What can be made again.
    Cache,
    /// What can't: logins at remote servers, the key of clients' sessions, how a run ended, the config that ran. Programs that make backups are to take it along.
    State,
}

impl Purpose {
    fn name(self) -> &'static str {
        match self {
            Purpose::Cache => NAME,
            Purpose::State => "mcp-pipe-state",
        }
    }

    fn mark(self) -> &'static str {
        match self {
            Purpose::Cache => MARK,
            Purpose::State => "README",
        }
    }

    /// The beginning of the mark, and the rest.
    fn marked(self) -> (&'static str, &'static str) {
        match self {
            Purpose::Cache => (MARKED, MARK_TEXT),
            Purpose::State => (
                "Made by mcp-pipe. ",
                "Its logins at remote servers are kept here, and the key of its clients' sessions: whoever reads these files is let in there. \
                 Besides, how its last run ended, the last config that ran, and what its servers did in the last day.\n",
            ),
        }
    }
}

/// Longest mark that is read, in bytes.
const MAX_MARK: u64 = 4096;
/// Most entries of the folder that are looked at when old files are removed.
const MAX_SWEPT: usize = 10_000;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Folder {
    dir: Dir,
    path: PathBuf,
}

/// What lies under a name in the folder.
struct Found {
    is_file: bool,
    size: u64,
    modified: SystemTime,
}

impl Folder {
    /// The cache folder in `parent`, if there is one.
    ///
    /// # Errors
    /// As [`Folder::find_for`].
    pub(crate) fn find(parent: &Path) -> io::Result<Option<Folder>> {
        Folder::find_for(Purpose::Cache, parent)
    }

    /// The cache folder in `parent`; both are made if need be.
    ///
    /// # Errors
    /// As [`Folder::find_for`].
    pub(crate) fn make(parent: &Path) -> io::Result<Folder> {
        Folder::make_for(Purpose::Cache, parent)
    }

    /// The folder for a purpose in `parent`, if there is one.
    ///
    /// # Errors
    /// Something else has the folder's name, or whatever the file system says. The error names the path.
    pub(crate) fn find_for(purpose: Purpose, parent: &Path) -> io::Result<Option<Folder>> {
        let path = parent.join(purpose.name());
        let refused = |why: &str| Err(io::Error::other(format!("{} {why}", path.display())));
        let dir = match Dir::open(&path) {
            Ok(dir) => dir,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if fs::symlink_metadata(&path).is_ok_and(|found| !found.is_dir()) => {
                return refused(&format!("is no folder, and a link is not followed ({error}); remove it"));
            }
            Err(error) => return Err(named(&path, &error)),
        };
        if !dir.is_ours()? {
            return refused("belongs to another user; name another folder");
        }
        let mark = dir.open_file(purpose.mark()).and_then(|mark| read::read(&mark, MAX_MARK, Accept::Files));
        if !mark.is_ok_and(|mark| mark.starts_with(purpose.marked().0.as_bytes())) {
            return refused(&format!("was not made by mcp-pipe: it lacks {}; rename it", purpose.mark()));
        }
        Ok(Some(Folder { dir, path }))
    }

    /// The folder for a purpose in `parent`; both are made if need be.
    ///
    /// # Errors
    /// As [`Folder::find_for`].
    pub(crate) fn make_for(purpose: Purpose, parent: &Path) -> io::Result<Folder> {
        // Mostly the folder is there. An empty folder in its place is replaced.
        if let Ok(Some(folder)) = Folder::find_for(purpose, parent) {
            return Ok(folder);
        }
        builder().recursive(true).create(parent).map_err(|error| named(parent, &error))?;
        let made = make_marked(purpose, parent);
        // Another process may have been faster.
        match Folder::find_for(purpose, parent)? {
            Some(folder) => Ok(folder),
            None => {
                Err(named(&parent.join(purpose.name()), &made.err().unwrap_or_else(|| io::ErrorKind::NotFound.into())))
            }
        }
    }

    /// The folder's own path, for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads a file of at most `limit` bytes, and notes that it was used now.
    ///
    /// # Errors
    /// There is no such file, or a larger one, or something that is no regular file.
    pub(crate) fn read(&self, name: &str, limit: u64) -> io::Result<Vec<u8>> {
        let file = self.dir.open_file(name)?;
        let bytes = read::read(&file, limit, Accept::Files)?;
        // A file whose use can't be noted is removed as old one day, and made anew.
        let _unnoted = file.set_modified(SystemTime::now());
        Ok(bytes)
    }

    /// The same for whoever only looks: nothing is noted.
    ///
    /// # Errors
    /// As [`Folder::read`].
    pub(crate) fn peek(&self, name: &str, limit: u64) -> io::Result<Vec<u8>> {
        read::read(&self.dir.open_file(name)?, limit, Accept::Files)
    }

    /// When a file was written or used last.
    pub(crate) fn time(&self, name: &str) -> Option<SystemTime> {
        Some(self.dir.look_at(name).ok().filter(|found| found.is_file)?.modified)
    }

    /// The files in it, each with its size in bytes; as many as are looked at when old ones are removed.
    pub(crate) fn files(&self) -> Vec<(String, u64)> {
        let sized = |name: String| {
            let found = self.dir.look_at(&name).ok().filter(|found| found.is_file)?;
            Some((name, found.size))
        };
        self.dir.names(MAX_SWEPT).into_iter().filter_map(sized).collect()
    }

    /// How long ago a file was written or used; zero if its time lies in the future.
    pub(crate) fn age(&self, name: &str) -> Option<Duration> {
        Some(self.time(name)?.elapsed().unwrap_or_default())
    }

    /// Writes a file, for its owner only, and puts it in the place of the old one at once.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        // The unfinished file has a name like the finished one, so that a leftover of a crash is removed like that ([`base`]).
        let new = format!("{name}.{:08x}", rand::random::<u32>());
        let written = self.dir.create_file(&new).and_then(|mut file| file.write_all(bytes));
        let put = written.and_then(|()| self.dir.rename(&new, name));
        if put.is_err() {
            let _gone = self.dir.remove(&new);
        }
        put
    }

    /// Removes a file of ours.
    ///
    /// # Errors
    /// There is none, or whatever the file system says.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        self.dir.remove(name)
    }

    /// Opens a file to lock it, and makes it if there is none. What it holds is not changed.
    ///
    /// # Errors
    /// What has this name is no regular file, or a file that has another name as well.
    pub(crate) fn open_lock(&self, name: &str) -> io::Result<File> {
        self.dir.open_or_create(name)
    }

    /// Whether there is a file whose name begins so.
    pub(crate) fn has_any(&self, beginning: &str) -> bool {
        self.dir.names(MAX_SWEPT).iter().any(|name| name.starts_with(beginning))
    }

    /// Removes files that nobody used for long. `kept` tells how long a file of this name is kept; `None`: the file is not ours.
    pub(crate) fn sweep(&self, kept: impl Fn(&str) -> Option<Duration>) {
        for name in self.dir.names(MAX_SWEPT) {
            let Some(kept) = kept(base(&name)) else { continue };
            if self.age(&name).is_some_and(|age| age >= kept) {
                let _gone = self.dir.remove(&name);
            }
        }
    }
}

/// The name that an unfinished file was to get: without the eight digits that [`Folder::put`] appends.
pub(crate) fn base(name: &str) -> &str {
    let unfinished = name.rsplit_once('.').filter(|(_, end)| end.len() == 8 && is_hex(end));
    unfinished.map_or(name, |(base, _)| base)
}

/// Whether a text has only hexadecimal digits, in lower case as we write them.
pub(crate) fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn builder() -> DirBuilder {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "only there is more to say"))]
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

/// Makes the folder under another name, and renames it once the mark is inside: nobody finds an unmarked one. The rename
/// replaces an empty folder, and nothing else.
fn make_marked(purpose: Purpose, parent: &Path) -> io::Result<()> {
    let new = parent.join(format!("{}.{:08x}", purpose.name(), rand::random::<u32>()));
    builder().create(&new)?;
    let mark = new.join(purpose.mark());
    let (beginning, rest) = purpose.marked();
    let written = fs::write(&mark, format!("{beginning}{rest}"));
    let made = written.and_then(|()| fs::rename(&new, parent.join(purpose.name())));
    if made.is_err() {
        let _gone = fs::remove_file(&mark).and_then(|()| fs::remove_dir(&new));
    }
    made
}

/// The folder held open.
#[cfg(unix)]
mod held {
    use std::fs::File;
    use std::io;
    use std::os::fd::OwnedFd;
    use std::os::unix::fs::MetadataExt as _;
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, fstat, openat, renameat, statat, unlinkat};

    use super::Found;

    #[derive(Debug)]
    pub(super) struct Dir(OwnedFd);

    /// How files are opened: no link is followed, nobody is waited for, and no child inherits the descriptor.
    const SAFELY: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

    impl Dir {
        pub(super) fn open(path: &Path) -> io::Result<Dir> {
            Ok(Dir(openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | SAFELY, Mode::empty())?))
        }

        /// Whether our user owns the folder: another owner could put words into our servers' mouths.
        pub(super) fn is_ours(&self) -> io::Result<bool> {
            Ok(fstat(&self.0)?.st_uid == rustix::process::geteuid().as_raw())
        }

        pub(super) fn open_file(&self, name: &str) -> io::Result<File> {
            Ok(openat(&self.0, name, OFlags::RDONLY | SAFELY, Mode::empty())?.into())
        }

        pub(super) fn create_file(&self, name: &str) -> io::Result<File> {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | SAFELY;
            Ok(openat(&self.0, name, flags, Mode::RUSR | Mode::WUSR)?.into())
        }

        pub(super) fn open_or_create(&self, name: &str) -> io::Result<File> {
            let flags = OFlags::RDWR | OFlags::CREATE | SAFELY;
            let file = File::from(openat(&self.0, name, flags, Mode::RUSR | Mode::WUSR)?);
            let found = file.metadata()?;
            // A file with another name as well is somebody else's, and would be changed there.
            if !found.is_file() || found.nlink() > 1 {
                return Err(io::Error::other(format!("{name} is no file of ours; remove it")));
            }
            Ok(file)
        }

        pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
            Ok(renameat(&self.0, from, &self.0, to)?)
        }

        pub(super) fn remove(&self, name: &str) -> io::Result<()> {
            Ok(unlinkat(&self.0, name, AtFlags::empty())?)
        }

        pub(super) fn look_at(&self, name: &str) -> io::Result<Found> {
            let found = statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?;
            let since = Duration::from_secs(u64::try_from(found.st_mtime).unwrap_or_default());
            Ok(Found {
                is_file: FileType::from_raw_mode(found.st_mode) == FileType::RegularFile,
                size: u64::try_from(found.st_size).unwrap_or_default(),
                modified: SystemTime::UNIX_EPOCH + since,
            })
        }

        pub(super) fn names(&self, most: usize) -> Vec<String> {
            let Ok(entries) = rustix::fs::Dir::read_from(&self.0) else { return Vec::new() };
            let name = |entry: rustix::fs::DirEntry| entry.file_name().to_str().ok().map(str::to_owned);
            entries.take(most).flatten().filter_map(name).collect()
        }
    }
}

/// The folder by its path, where it can't be held open (not tried on Windows).
#[cfg(not(unix))]
mod by_path {
    use std::fs::{self, File};
    use std::io;
    use std::path::{Path, PathBuf};

    use super::Found;

    #[derive(Debug)]
    pub(super) struct Dir(PathBuf);

    impl Dir {
        pub(super) fn open(path: &Path) -> io::Result<Dir> {
            if fs::symlink_metadata(path)?.is_dir() {
                Ok(Dir(path.to_path_buf()))
            } else {
                Err(io::ErrorKind::NotADirectory.into())
            }
        }

        /// Not checked here: the user's cache folder is taken to be the user's.
        pub(super) fn is_ours(&self) -> io::Result<bool> {
            Ok(true)
        }

        pub(super) fn open_file(&self, name: &str) -> io::Result<File> {
            if !self.look_at(name)?.is_file {
                return Err(io::Error::other("it is no regular file"));
            }
            File::open(self.0.join(name))
        }

        pub(super) fn create_file(&self, name: &str) -> io::Result<File> {
            File::create_new(self.0.join(name))
        }

        pub(super) fn open_or_create(&self, name: &str) -> io::Result<File> {
            if self.look_at(name).is_ok_and(|found| !found.is_file) {
                return Err(io::Error::other(format!("{name} is no file of ours; remove it")));
            }
            File::options().read(true).write(true).create(true).truncate(false).open(self.0.join(name))
        }

        pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
            fs::rename(self.0.join(from), self.0.join(to))
        }

        pub(super) fn remove(&self, name: &str) -> io::Result<()> {
            fs::remove_file(self.0.join(name))
        }

        pub(super) fn look_at(&self, name: &str) -> io::Result<Found> {
            let found = fs::symlink_metadata(self.0.join(name))?;
            Ok(Found { is_file: found.is_file(), size: found.len(), modified: found.modified()? })
        }

        pub(super) fn names(&self, most: usize) -> Vec<String> {
            let Ok(entries) = self.0.read_dir() else { return Vec::new() };
            entries.take(most).flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
        }
    }
}

#[cfg(all(test, unix))]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use tempfile::TempDir;

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    /// A chosen folder, and what is to be found in it.
    fn chosen() -> (TempDir, PathBuf) {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join(NAME);
        (temp, path)
    }

    fn why(result: io::Result<Folder>) -> String {
        result.unwrap_err().to_string()
    }

    fn names(path: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            path.read_dir().unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn make_old(path: &Path, days: u32) {
        File::options().write(true).open(path).unwrap().set_modified(SystemTime::now() - DAY * days).unwrap();
    }

    #[test]
    fn it_is_made_marked_and_for_its_owner_only_and_found_again() {
        let (temp, _) = chosen();
        let parent = temp.path().join("not/there/yet");
        assert!(Folder::find(&parent).unwrap().is_none());
        let folder = Folder::make(&parent).unwrap();
        folder.put("a", b"text").unwrap();
        drop(folder.open_lock("lock").unwrap());
        let mode = |path: PathBuf| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!([mode(parent.join(NAME)), mode(parent.clone())], [0o700; 2]);
        assert_eq!([mode(parent.join(NAME).join("a")), mode(parent.join(NAME).join("lock"))], [0o600; 2]);
        assert_eq!(Folder::find(&parent).unwrap().unwrap().read("a", 4).unwrap(), b"text");
        assert!(Folder::make(&parent).unwrap().read("a", 3).unwrap_err().to_string().contains("larger than 3 bytes"));
        assert_eq!(names(&parent), [NAME], "nothing else was left");
        assert_eq!(names(&parent.join(NAME)), [MARK, "a", "lock"]);
    }

    #[test]
    fn many_who_make_it_at_once_have_the_same() {
        let (temp, path) = chosen();
        std::thread::scope(|scope| {
            for n in 0..8 {
                let parent = temp.path();
                scope.spawn(move || Folder::make(parent).unwrap().put(&n.to_string(), b"x").unwrap());
            }
        });
        assert_eq!(names(temp.path()), [NAME]);
        assert_eq!(names(&path).len(), 9, "{:?}", names(&path));
    }

    #[test]
    fn a_folder_of_somebody_else_is_left_alone_unless_it_is_empty() {
        let (temp, path) = chosen();
        fs::create_dir(&path).unwrap();
        fs::write(path.join("server.pem"), "mine").unwrap();
        for mark in [None, Some("Signature: 8a477f597d28d172789f06886806bc55\n# by another program"), Some("")] {
            if let Some(mark) = mark {
                fs::write(path.join(MARK), mark).unwrap();
            }
            for result in [Folder::make(temp.path()), Folder::find(temp.path()).map(Option::unwrap)] {
                let said = why(result);
                assert!(said.contains("was not made by mcp-pipe") && said.contains(path.to_str().unwrap()), "{said}");
            }
        }
        assert_eq!(names(temp.path()), [NAME]);
        fs::remove_dir_all(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(Folder::make(temp.path()).is_ok());
    }

    #[test]
    fn a_link_in_its_place_is_not_followed_wherever_it_leads() {
        let (other, others) = chosen();
        Folder::make(other.path()).unwrap();
        for target in [&others, &other.path().join("dangling"), other.path()] {
            let (temp, path) = chosen();
            symlink(target, &path).unwrap();
            assert!(why(Folder::make(temp.path())).contains("a link is not followed"), "{}", target.display());
            assert!(Folder::find(temp.path()).is_err());
            assert_eq!(names(temp.path()), [NAME]);
        }
        assert_eq!(names(other.path()), [NAME]);
        let (temp, path) = chosen();
        fs::write(path, "a file").unwrap();
        assert!(why(Folder::make(temp.path())).contains("is no folder"));
        // The way to the chosen folder is the person's own.
        let (temp, _) = chosen();
        symlink(other.path(), temp.path().join("chosen")).unwrap();
        assert!(Folder::find(&temp.path().join("chosen")).unwrap().is_some());
        symlink(other.path().join("dangling"), temp.path().join("nowhere")).unwrap();
        assert!(Folder::make(&temp.path().join("nowhere")).is_err());
        assert_eq!(names(other.path()), [NAME]);
    }

    #[test]
    fn what_is_no_regular_file_in_it_is_neither_read_nor_written_through_nor_removed() {
        let (temp, path) = chosen();
        let folder = Folder::make(temp.path()).unwrap();
        let (outside, dangling) = (temp.path().join("outside"), temp.path().join("dangling"));
        fs::write(&outside, "mine").unwrap();
        symlink(&outside, path.join("link")).unwrap();
        symlink(&dangling, path.join("to-nowhere")).unwrap();
        fs::create_dir(path.join("folder")).unwrap();
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, path.join("pipe"), fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        for name in ["link", "to-nowhere", "folder", "pipe"] {
            assert!(folder.read(name, 9).is_err(), "{name}");
            assert!(folder.open_lock(name).is_err(), "{name}");
            assert_eq!(folder.age(name), None, "{name}");
        }
        fs::hard_link(&outside, path.join("twin")).unwrap();
        assert!(folder.open_lock("twin").is_err(), "what is locked is written to");
        fs::remove_file(path.join("twin")).unwrap();
        folder.sweep(|_| Some(Duration::ZERO));
        assert_eq!(names(&path), ["folder", "link", "pipe", "to-nowhere"]);
        folder.put("link", b"ours").unwrap();
        folder.put("pipe", b"ours").unwrap();
        assert!(folder.put("folder", b"ours").is_err());
        assert_eq!(folder.read("link", 9).unwrap(), b"ours");
        assert_eq!((fs::read_to_string(&outside).unwrap().as_str(), dangling.exists()), ("mine", false));
        assert_eq!(names(&path), ["folder", "link", "pipe", "to-nowhere"], "nothing half written is left");
    }

    #[test]
    fn a_folder_of_another_user_is_not_used() {
        // Only root can give a folder away.
        if rustix::process::geteuid().is_root() {
            let (temp, path) = chosen();
            Folder::make(temp.path()).unwrap();
            std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
            assert!(why(Folder::make(temp.path())).contains("belongs to another user"));
        }
    }

    #[test]
    fn only_what_is_old_and_has_a_name_of_ours_is_removed() {
        let (temp, path) = chosen();
        let folder = Folder::make(temp.path()).unwrap();
        for (name, days) in
            [("old", 9), ("young", 8), ("other", 99), ("old.0123abcd", 9), ("old.0123abcx", 9), ("old.pem", 9)]
        {
            folder.put(name, b"").unwrap();
            make_old(&path.join(name), days);
        }
        folder.sweep(|name| ["old", "young"].contains(&name).then_some(9 * DAY));
        assert_eq!(names(&path), [MARK, "old.0123abcx", "old.pem", "other", "young"]);
        assert_eq!(path.join("other").metadata().unwrap().nlink(), 1);
    }

    #[test]
    fn a_file_that_is_read_counts_as_used_and_a_time_to_come_as_now() {
        let (temp, path) = chosen();
        let folder = Folder::make(temp.path()).unwrap();
        folder.put("a", b"").unwrap();
        make_old(&path.join("a"), 9);
        assert!(folder.age("a").unwrap() >= 9 * DAY);
        folder.read("a", 9).unwrap();
        assert!(folder.age("a").unwrap() < DAY);
        let file = File::options().write(true).open(path.join("a")).unwrap();
        file.set_modified(SystemTime::now() + 9 * DAY).unwrap();
        assert_eq!(folder.age("a"), Some(Duration::ZERO));
        assert_eq!(folder.age("b"), None);
    }
}
