//! The folder in which the control sockets of a user are, and what they are called there.
//!
//! Whoever may put a socket there could answer in our place, so the folder is the user's alone, which is seen to before anything is
//! made or believed in it: it is a folder and no link, belongs to the user, and nobody else may enter. It is held open as long as a daemon
//! has a socket in it, with a lock that several may have: programs that clean the temp folder leave such a one alone (systemd-tmpfiles(8)).
//!
//! A socket is called after a hash of its config's path (`name.rs`). What is there under a name may be a daemon's, or left behind by one that was killed.
//! That is found out by asking, and while one daemon asks and puts its own there, no other does.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::fs::{CWD, Mode, OFlags, openat};

use super::name::{MOST, of_config};
use super::socket::{self, Socket};
use crate::config::Places;

/// What the folder is called in the user's runtime directory.
const NAME: &str = "mcp-pipe";
/// What the names of sockets end in.
const SUFFIX: &str = ".sock";
/// Most names of the folder that are looked at: a daemon that is killed leaves one behind, and its next run takes that.
const MOST_NAMES: usize = 4096;
/// Longest wait for another daemon to take its name: it asks up to [`MOST`] others, none of which it waits for.
const TURN: Duration = Duration::from_secs(2);
const TURN_AGAIN: Duration = Duration::from_millis(10);

/// The folder, seen to be the user's alone.
#[derive(Debug)]
pub(super) struct Folder {
    dir: File,
    path: PathBuf,
}

/// Makes a socket for the daemon of a config, and tells whether another one runs with the same.
///
/// # Errors
/// Why there can be none.
pub(super) async fn claim(places: &Places, config: &Path) -> Result<(Socket, bool)> {
    let folder = Folder::make(places)?;
    let _turn = folder.turn().await?;
    // One after the other: the first that nobody answers on is ours.
    for number in 1..=MOST {
        let path = folder.path.join(name(config, number));
        if !socket::is_answered(&path).await {
            let socket = socket::listen(&path, "control").await?;
            return Ok((socket.kept_in(folder.dir), number > 1));
        }
    }
    let with = if config.is_dir() { "in the same folder" } else { "with the same config" };
    bail!("{MOST} others run {with}")
}

/// The sockets of a user's daemons, with one config if that is given; whether anybody listens there has to be asked. What keeps
/// us from looking is told beside.
pub(super) fn sockets(places: &Places, config: Option<&Path>) -> (Vec<PathBuf>, Vec<String>) {
    let names: Option<Vec<String>> = config.map(|config| (1..=MOST).map(|number| name(config, number)).collect());
    let (mut found, mut obstacles) = (Vec::new(), Vec::new());
    for path in candidates(places) {
        let folder = match Folder::open(path) {
            Ok(folder) => folder,
            Err(Refused::Missing) => continue,
            Err(Refused::Because(why)) => {
                obstacles.push(why);
                continue;
            }
        };
        let mut there: Vec<String> = folder.names();
        there.retain(|name| names.as_ref().is_none_or(|names| names.contains(name)));
        there.sort();
        found.extend(there.iter().map(|name| folder.path.join(name)));
    }
    found.dedup();
    (found, obstacles)
}

/// The folders in which a user's daemons may have their sockets. One was perhaps started without the login's environment, or we were.
fn candidates(places: &Places) -> Vec<PathBuf> {
    let of_login = || PathBuf::from(format!("/run/user/{}", user()));
    let mut all = vec![places.runtime.clone().unwrap_or_else(of_login).join(NAME), in_temp(places)];
    all.dedup();
    all
}

fn in_temp(places: &Places) -> PathBuf {
    places.temp.join(format!("{NAME}-{}", user()))
}

fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// What the socket of a daemon is called: after its config, and a number where several run with that.
fn name(config: &Path, number: usize) -> String {
    format!("{}{SUFFIX}", of_config(config, number))
}

/// Why a folder is not used.
#[derive(Debug)]
enum Refused {
    /// There is none.
    Missing,
    Because(String),
}

impl Folder {
    /// The folder of this user, made if need be.
    fn make(places: &Places) -> Result<Folder> {
        let path = match &places.runtime {
            // It belongs to whoever logged in: to another user than us after `su`.
            Some(runtime) if fs::metadata(runtime).is_ok_and(|found| found.is_dir() && found.uid() == user()) => {
                runtime.join(NAME)
            }
            Some(_) | None => in_temp(places),
        };
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| format!("the folder {} can't be made", path.display()));
            }
            Ok(()) | Err(_) => {}
        }
        match Folder::open(path.clone()) {
            Ok(folder) => {
                // Where the system has no such locks nothing cleans up by them.
                let _unlocked = folder.dir.try_lock_shared();
                Ok(folder)
            }
            Err(Refused::Because(why)) => bail!("{why}"),
            Err(Refused::Missing) => bail!("the folder {} is gone as soon as it is made", path.display()),
        }
    }

    fn open(path: PathBuf) -> Result<Folder, Refused> {
        let because = |why: String| Err(Refused::Because(format!("the folder {} {why}", path.display())));
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = match openat(CWD, &path, flags, Mode::empty()) {
            Ok(dir) => File::from(dir),
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(Refused::Missing),
            Err(_) if fs::symlink_metadata(&path).is_ok_and(|found| !found.is_dir()) => {
                return because("is a link or no folder, and is not used; remove it".to_owned());
            }
            Err(error) => return because(format!("can't be opened: {error}")),
        };
        let found = match dir.metadata() {
            Ok(found) => found,
            Err(error) => return because(format!("can't be looked at: {error}")),
        };
        if found.uid() != user() {
            return because("belongs to another user, who could answer in our place; it is not used".to_owned());
        }
        if found.mode() & 0o077 != 0 {
            return because(format!("is open to other users, and is not used: chmod 700 {}", path.display()));
        }
        Ok(Folder { dir, path })
    }

    /// Waits until no other daemon is taking a name; ours as long as the file is open.
    async fn turn(&self) -> Result<File> {
        let path = self.path.join("lock");
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let locked = async {
            let file = File::from(openat(&self.dir, "lock", flags, Mode::RUSR | Mode::WUSR)?);
            loop {
                match file.try_lock() {
                    Ok(()) => return Ok(file),
                    Err(fs::TryLockError::WouldBlock) => tokio::time::sleep(TURN_AGAIN).await,
                    Err(fs::TryLockError::Error(error)) => return Err(error),
                }
            }
        };
        let late = || io::Error::new(ErrorKind::TimedOut, "another mcp-pipe has held it for too long");
        let taken = tokio::time::timeout(TURN, locked).await.unwrap_or_else(|_| Err(late()));
        taken.with_context(|| format!("{} can't be locked", path.display()))
    }

    /// The names of sockets in it.
    fn names(&self) -> Vec<String> {
        let Ok(entries) = rustix::fs::Dir::read_from(&self.dir) else { return Vec::new() };
        let name = |entry: rustix::fs::DirEntry| entry.file_name().to_str().ok().map(str::to_owned);
        let names = entries.take(MOST_NAMES).flatten().filter_map(name);
        names.filter(|name| name.ends_with(SUFFIX) && !name.starts_with('.')).collect()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    use tempfile::TempDir;

    use super::*;

    fn places() -> (TempDir, Places) {
        let dir = tempfile::tempdir().unwrap();
        let places = Places { runtime: Some(dir.path().join("none")), temp: dir.path().to_path_buf() };
        (dir, places)
    }

    fn why(places: &Places) -> String {
        format!("{:#}", Folder::make(places).unwrap_err())
    }

    #[test]
    fn the_runtime_directory_counts_if_it_is_the_users_and_else_the_temp_folder() {
        let (dir, mut places) = places();
        let folder = Folder::make(&places).unwrap();
        assert_eq!(folder.path, dir.path().join(format!("mcp-pipe-{}", user())));
        assert_eq!(folder.dir.metadata().unwrap().mode() & 0o777, 0o700);
        let runtime = tempfile::tempdir().unwrap();
        places.runtime = Some(runtime.path().to_path_buf());
        assert_eq!(Folder::make(&places).unwrap().path, runtime.path().join("mcp-pipe"));
        if rustix::process::geteuid().is_root() {
            chown(runtime.path(), Some(65534), None).unwrap();
            assert_eq!(Folder::make(&places).unwrap().path, folder.path, "after su it is another user's");
        }
    }

    #[test]
    fn a_folder_that_others_could_have_made_or_may_enter_is_refused() {
        let (dir, places) = places();
        let path = in_temp(&places);
        let elsewhere = dir.path().join("elsewhere");
        DirBuilder::new().mode(0o700).create(&elsewhere).unwrap();
        symlink(&elsewhere, &path).unwrap();
        assert!(why(&places).contains("is a link or no folder"), "{}", why(&places));
        fs::remove_file(&path).unwrap();
        fs::write(&path, "").unwrap();
        assert!(why(&places).contains("is a link or no folder"), "{}", why(&places));
        fs::remove_file(&path).unwrap();
        for mode in [0o755, 0o701, 0o770] {
            fs::create_dir(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(why(&places).contains("chmod 700"), "{mode:o}: {}", why(&places));
            assert!(sockets(&places, None).1[0].contains("chmod 700"));
            fs::remove_dir(&path).unwrap();
        }
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0, "nothing was made behind the link");
        if rustix::process::geteuid().is_root() {
            Folder::make(&places).unwrap();
            chown(&path, Some(65534), None).unwrap();
            assert!(why(&places).contains("belongs to another user"), "{}", why(&places));
            assert!(sockets(&places, None).0.is_empty(), "and nothing in it is asked");
        }
    }

    #[tokio::test]
    async fn each_daemon_of_a_config_has_a_name_and_a_stale_one_is_taken_again() {
        let (dir, places) = places();
        let config = dir.path().join("mcp_config.json");
        fs::write(&config, "{}").unwrap();
        symlink(&config, dir.path().join("link")).unwrap();
        let (first, is_second) = claim(&places, &config).await.unwrap();
        assert!(!is_second);
        let (second, is_second) = claim(&places, &dir.path().join("link")).await.unwrap();
        assert!(is_second && second.path() != first.path());
        let (other, is_second) = claim(&places, dir.path()).await.unwrap();
        assert!(!is_second);
        assert_eq!(sockets(&places, None).0.len(), 3);
        assert_eq!(sockets(&places, Some(&config)).0, [second.path(), first.path()]);
        assert_eq!(sockets(&places, Some(dir.path())).0, [other.path()]);
        let path = first.path().to_path_buf();
        // As a killed one does.
        drop(first.into_listener());
        assert!(path.exists());
        let (again, is_second) = claim(&places, &config).await.unwrap();
        assert_eq!((again.path(), is_second), (&*path, false));
    }

    #[test]
    fn daemons_that_start_at_once_don_t_take_each_others_names() {
        let (dir, places) = places();
        let claimed = std::sync::Barrier::new(MOST + 1);
        let alone = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let daemon = || {
            let runtime = alone();
            let socket = runtime.block_on(claim(&places, dir.path()));
            claimed.wait();
            // All are looked at.
            claimed.wait();
            let _entered = runtime.enter();
            socket.map(|(socket, _)| socket.path().to_path_buf()).unwrap()
        };
        let mut paths = std::thread::scope(|scope| {
            let daemons: Vec<_> = (0..MOST).map(|_| scope.spawn(daemon)).collect();
            claimed.wait();
            let all = sockets(&places, Some(dir.path())).0;
            let answered = |path: &PathBuf| alone().block_on(socket::is_answered(path));
            let alive = all.iter().filter(|path| answered(path)).count();
            let more = alone().block_on(claim(&places, dir.path())).map(|(socket, _)| socket.path().to_path_buf());
            claimed.wait();
            assert_eq!(alive, MOST);
            let why = more.unwrap_err().to_string();
            assert!(why.contains("16 others run in the same folder"), "{why}");
            daemons.into_iter().map(|daemon| daemon.join().unwrap()).collect::<Vec<_>>()
        });
        paths.sort();
        paths.dedup();
        assert_eq!(paths.len(), MOST, "no two have the same");
    }
}
