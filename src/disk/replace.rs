//! Another text for a file that a person has, or that another program keeps: all of it or nothing, after a copy of what was there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Most copies of a file that are made within one second.
const MOST_COPIES: usize = 100;

/// A file as it was when its new text was made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Before {
    /// What was in it; `None` if there was none.
    pub(crate) text: Option<String>,
    /// Whether only its owner is to read it from now on.
    pub(crate) is_private: bool,
}

/// A file that holds another text now. Has no `Debug`: that may hold tokens.
pub(crate) struct Replaced {
    /// The file itself, where links lead.
    target: PathBuf,
    /// Where the copy is of what was there, and what was known of that beside its text; `None` if there was nothing.
    before: Option<(PathBuf, fs::Metadata)>,
    /// What it holds.
    text: String,
}

/// Puts a text into a file. What was there is copied to `FILE.backup-STAMP`, beside it. A link is followed, and stays; the file keeps
/// its mode and owner, and the copy is for that owner alone.
///
/// # Errors
/// Nothing was changed: what the system says, or that the file has changed meanwhile.
pub(crate) fn replace(path: &Path, before: &Before, text: &str, stamp: &str) -> io::Result<Replaced> {
    let real = match path.canonicalize() {
        Ok(real) => Some(real),
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.symlink_metadata().is_err() => None,
        Err(error) => return Err(error),
    };
    let found = match &real {
        Some(real) => Some(fs::read(real)?),
        None => None,
    };
    if found.as_deref() != before.text.as_ref().map(String::as_bytes) {
        return Err(io::Error::other("it has changed meanwhile; try again"));
    }
    let target = real.as_deref().unwrap_or(path);
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let like = real.as_deref().map(fs::metadata).transpose()?;
    let copy = match found.as_deref().zip(like.clone()) {
        Some((bytes, like)) => Some((copy(path, bytes, &like, stamp)?, like)),
        None => None,
    };
    put(target, folder, text, like.as_ref(), before.is_private).inspect_err(|_| {
        // Of what has not changed no copy is needed.
        let _gone = copy.as_ref().map(|(copy, _)| fs::remove_file(copy));
    })?;
    sync(folder);
    Ok(Replaced { target: target.to_path_buf(), before: copy, text: text.to_owned() })
}

/// Has names last, too; where a folder can't be opened for that, they do mostly.
fn sync(folder: &Path) {
    let _synced = File::open(folder).and_then(|folder| folder.sync_all());
}

/// Puts a text in the place of a file, or of none.
fn put(target: &Path, folder: &Path, text: &str, like: Option<&fs::Metadata>, is_private: bool) -> io::Result<()> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".mcp-pipe.");
    // A new file that is for others, too, is made as any other; the rest stays for its owner until it is told otherwise.
    #[cfg(unix)]
    if like.is_none() && !is_private {
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    }
    let mut new = builder.tempfile_in(folder)?;
    new.write_all(text.as_bytes())?;
    give(new.as_file(), like, is_private)?;
    new.as_file().sync_all()?;
    new.persist(target).map_err(|error| error.error)?;
    Ok(())
}

impl Replaced {
    /// Where the copy is of what was there.
    pub(crate) fn copy(&self) -> Option<&Path> {
        self.before.as_ref().map(|(copy, _)| copy.as_path())
    }

    /// Takes it back: the copy becomes the file again, with its rights, so that no room on the disk is needed.
    ///
    /// # Errors
    /// What the system says, or that somebody has changed it since: then it stays as it is.
    pub(crate) fn undo(self) -> io::Result<()> {
        let Replaced { target, before, text } = self;
        if fs::read(&target)? != text.as_bytes() {
            return Err(io::Error::other("it has changed meanwhile"));
        }
        let folder = target.parent().unwrap_or(Path::new("."));
        let Some((copy, like)) = before else { return fs::remove_file(&target).inspect(|()| sync(folder)) };
        match fs::rename(&copy, &target) {
            // A link led to another disk.
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                put(&target, folder, &fs::read_to_string(&copy)?, Some(&like), false)?;
                fs::remove_file(&copy)?;
            }
            // As a copy it was for its owner alone.
            renamed => renamed.and_then(|()| give(&File::open(&target)?, Some(&like), false))?,
        }
        sync(folder);
        Ok(())
    }
}

/// A copy beside a file, under a name that nothing has.
fn copy(path: &Path, bytes: &[u8], like: &fs::Metadata, stamp: &str) -> io::Result<PathBuf> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    for n in 1..=MOST_COPIES {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".backup-{stamp}"));
        if n > 1 {
            name.push(format!("-{n}"));
        }
        match options.open(&name) {
            Ok(mut file) => {
                let written =
                    file.write_all(bytes).and_then(|()| give(&file, Some(like), true)).and_then(|()| file.sync_all());
                if written.is_err() {
                    let _gone = fs::remove_file(&name);
                }
                return written.map(|()| name.into());
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("there are too many copies of it; remove some"))
}

/// Gives a file the mode and the owner of another one, if there is one; a private file is for its owner alone.
#[cfg(unix)]
fn give(file: &File, like: Option<&fs::Metadata>, is_private: bool) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    let Some(like) = like else { return Ok(()) };
    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (like.uid(), like.gid()) {
        std::os::unix::fs::fchown(file, Some(like.uid()), Some(like.gid()))?;
    }
    let mask = if is_private { 0o600 } else { 0o7777 };
    file.set_permissions(fs::Permissions::from_mode(like.mode() & mask))
}

#[cfg(not(unix))]
fn give(_file: &File, _like: Option<&fs::Metadata>, _is_private: bool) -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, unix))]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    fn put(path: &Path, before: Option<&str>, is_private: bool) -> io::Result<Option<PathBuf>> {
        let before = Before { text: before.map(str::to_owned), is_private };
        Ok(replace(path, &before, "new", "20261129-120000")?.copy().map(Path::to_path_buf))
    }

    #[test]
    fn a_file_keeps_its_mode_and_what_was_there_is_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let copy = put(&path, Some("old"), false).unwrap().unwrap();
        assert_eq!(copy, dir.path().join("a.json.backup-20261129-120000"));
        assert_eq!(
            (fs::read_to_string(&copy).unwrap(), fs::read_to_string(&path).unwrap()),
            ("old".into(), "new".into())
        );
        assert_eq!((mode(&copy), mode(&path)), (0o600, 0o640));
        let second = put(&path, Some("new"), true).unwrap().unwrap();
        assert_eq!(second, dir.path().join("a.json.backup-20261129-120000-2"));
        assert_eq!((fs::read_to_string(&copy).unwrap(), mode(&path)), ("old".into(), 0o600), "no copy is written over");
    }

    #[test]
    fn a_new_file_is_private_from_the_start_if_it_is_to_be_and_its_folder_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x/y/.env");
        assert_eq!(put(&path, None, true).unwrap(), None);
        assert_eq!(mode(&path), 0o600);
        assert_eq!(dir.path().join("x/y").read_dir().unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn a_link_is_followed_and_one_that_leads_nowhere_is_no_new_file() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::create_dir(dir.path().join("d")).unwrap();
        fs::write(&real, "old").unwrap();
        symlink(&real, &link).unwrap();
        put(&link, Some("old"), false).unwrap();
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "new");
        fs::remove_file(&real).unwrap();
        assert!(put(&link, None, false).is_err() && !real.exists());
    }

    #[test]
    fn what_was_done_is_taken_back_without_writing_anew_and_with_its_rights() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        for before in [Some("old"), None] {
            if let Some(text) = before {
                fs::write(&path, text).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            }
            let before = Before { text: before.map(str::to_owned), is_private: true };
            let replaced = replace(&path, &before, "new", "x").unwrap();
            assert_eq!(mode(&path), 0o600);
            let inode = replaced.copy().map(|copy| copy.metadata().unwrap().ino());
            replaced.undo().unwrap();
            assert_eq!(fs::read_to_string(&path).ok(), before.text);
            // The copy itself is the file again: a full disk is in nobody's way.
            assert_eq!(path.metadata().ok().map(|found| found.ino()), inode);
            assert!(inode.is_none() || mode(&path) == 0o644);
            assert_eq!(dir.path().read_dir().unwrap().count(), usize::from(inode.is_some()));
            let _gone = fs::remove_file(&path);
        }
    }

    #[test]
    fn by_a_link_the_file_itself_is_what_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::write(&real, "old").unwrap();
        symlink(&real, &link).unwrap();
        let before = Before { text: Some("old".to_owned()), is_private: false };
        replace(&link, &before, "new", "x").unwrap().undo().unwrap();
        assert!(link.symlink_metadata().unwrap().is_symlink() && fs::read_to_string(&real).unwrap() == "old");
        assert_eq!(dir.path().read_dir().unwrap().count(), 2, "no copy is left");
    }

    #[test]
    fn what_can_not_be_taken_back_is_told_and_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        for (now, without_copy, want) in [("other", false, "changed"), ("new", true, "No such file")] {
            fs::write(&path, "old").unwrap();
            let before = Before { text: Some("old".to_owned()), is_private: false };
            let replaced = replace(&path, &before, "new", "x").unwrap();
            let copy = replaced.copy().unwrap().to_path_buf();
            fs::write(&path, now).unwrap();
            if without_copy {
                fs::remove_file(&copy).unwrap();
            }
            let error = replaced.undo().unwrap_err().to_string();
            assert!(error.contains(want), "{error}");
            assert_eq!((fs::read_to_string(&path).unwrap().as_str(), copy.exists()), (now, !without_copy));
        }
    }

    #[test]
    fn what_has_changed_meanwhile_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "other").unwrap();
        for before in [Some("old"), None] {
            assert!(put(&path, before, false).unwrap_err().to_string().contains("changed"));
        }
        assert_eq!(dir.path().read_dir().unwrap().count(), 1, "nothing is copied, nothing is left");
    }
}
