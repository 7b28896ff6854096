//! What keeps us from a path: a folder on the way there, or what a link leads to. The system's own error names the whole path
//! only.

use std::path::{Path, PathBuf};

/// Most links that are followed on one way, as on Linux (path_resolution(7)).
#[cfg(unix)]
const LINKS: usize = 40;

/// What keeps us from a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// A folder that we may not enter.
    Folder(PathBuf),
    /// The target of a link, which we may not open.
    Target(PathBuf),
    /// The target of a link, which is not there.
    Gone(PathBuf),
    /// The first of some links that lead back to themselves.
    Circle(PathBuf),
    /// A folder called `~`, which is not there: a shell would have replaced it.
    Home,
}

impl Obstacle {
    /// The obstacle, in words that continue a path, and the remedy.
    pub(crate) fn told(&self) -> (String, String) {
        match self {
            Obstacle::Folder(folder) => {
                let folder = folder.display();
                let remedy = format!("let mcp-pipe's user enter that folder: chmod a+x {folder}");
                (format!("is out of reach: the folder {folder} may not be entered"), remedy)
            }
            Obstacle::Target(file) => {
                (format!("is a link to {}, which may not be read", file.display()), let_read(file))
            }
            Obstacle::Gone(file) => {
                (format!("is a link to {}, which does not exist", file.display()), "correct the link".to_owned())
            }
            Obstacle::Circle(link) => (
                format!("leads to {}, a link that leads back to itself", link.display()),
                "correct the link".to_owned(),
            ),
            Obstacle::Home => (
                "has a ~, and that is not replaced here".to_owned(),
                "write the whole path, or in the config ${HOME} for it".to_owned(),
            ),
        }
    }
}

/// What to do about a file that we may not read. It may hold a token, so nobody else is to read it then.
pub(crate) fn let_read(file: &Path) -> String {
    let file = file.display();
    format!("let mcp-pipe's user read it, and nobody else: chown USER {file}, or chmod u+r {file} if it is that user's")
}

/// What keeps us from `path` (absolute); `None` if nothing does, or only the file itself.
#[cfg(unix)]
pub(crate) fn on_the_way(path: &Path) -> Option<Obstacle> {
    use std::collections::VecDeque;
    use std::ffi::OsString;
    use std::io::ErrorKind;
    let parts = |path: &Path| path.components().map(|part| part.as_os_str().to_owned()).collect::<Vec<OsString>>();
    let mut ahead: VecDeque<OsString> = parts(path).into();
    let (mut here, mut links, mut first) = (PathBuf::new(), 0, None);
    while let Some(part) = ahead.pop_front() {
        if part == ".." {
            here.pop();
            continue;
        }
        let next = here.join(&part);
        let found = match next.symlink_metadata() {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return Some(Obstacle::Folder(here)),
            Err(error) if error.kind() == ErrorKind::NotFound && part == "~" => return Some(Obstacle::Home),
            Err(error) if error.kind() == ErrorKind::NotFound && links > 0 => {
                return Some(Obstacle::Gone(ahead.iter().fold(next, |path, part| path.join(part))));
            }
            Err(_) => return None,
        };
        if !found.is_symlink() {
            here = next;
            continue;
        }
        links += 1;
        let link = first.get_or_insert_with(|| next.clone());
        if links > LINKS {
            return Some(Obstacle::Circle(link.clone()));
        }
        for part in parts(&next.read_link().ok()?).into_iter().rev() {
            ahead.push_front(part);
        }
    }
    let denied = || super::read::open(&here).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied);
    (links > 0 && denied()).then_some(Obstacle::Target(here))
}

/// Not looked for on this system.
#[cfg(not(unix))]
pub(crate) fn on_the_way(_path: &Path) -> Option<Obstacle> {
    None
}

#[cfg(all(test, unix))]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_may_hold_a_token_is_not_told_to_be_opened_for_everybody() {
        let (_, remedy) = Obstacle::Target(PathBuf::from("/x/.env")).told();
        assert!(remedy.contains("chown USER /x/.env, or chmod u+r /x/.env") && !remedy.contains("a+r"), "{remedy}");
    }

    #[test]
    fn links_that_lead_nowhere_are_followed_to_their_end() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        let at = |name: &str| base.join(name);
        std::fs::create_dir(at("sub")).unwrap();
        std::fs::write(at("sub/file"), "").unwrap();
        symlink("sub/gone", at("dangling")).unwrap();
        symlink(at("dangling"), at("sub/twice")).unwrap();
        symlink("nowhere/x", at("deep")).unwrap();
        symlink("sub/../sub/file", at("good")).unwrap();
        symlink("a", at("b")).unwrap();
        symlink("b", at("a")).unwrap();
        for (name, want) in [
            ("dangling", Some(Obstacle::Gone(at("sub/gone")))),
            ("sub/twice", Some(Obstacle::Gone(at("sub/gone")))),
            ("deep", Some(Obstacle::Gone(at("nowhere/x")))),
            ("good", None),
            ("sub/file", None),
            ("sub/none", None),
            ("a", Some(Obstacle::Circle(at("a")))),
            ("a/x", Some(Obstacle::Circle(at("a")))),
        ] {
            assert_eq!(on_the_way(&at(name)), want, "{name}");
        }
    }
}
