//! What named pipes are called, and who may use them, as texts; pure.

use std::io;
use std::path::{Path, PathBuf};

/// Where all named pipes of a machine are.
pub(super) const PIPES: &str = r"\\.\pipe\";
/// Longest name of a pipe, with [`PIPES`] (CreateNamedPipeW).
const LONGEST: usize = 256;

/// The pipe that has this name.
pub(super) fn pipe(name: &str) -> PathBuf {
    PathBuf::from(format!("{PIPES}{name}"))
}

/// What the names of all pipes of a user's daemons begin with. `user`: its security identifier.
pub(super) fn of_user(user: &str) -> String {
    format!("mcp-pipe-{user}-")
}

/// Sees to it that a path is the name of a pipe of this machine. Any other could be a file, or what another machine listens on.
///
/// # Errors
/// What to write.
pub(super) fn check(path: &Path) -> io::Result<()> {
    let written = path.to_str().map(|path| path.replace('/', r"\"));
    let name = written.as_deref().and_then(|written| {
        let (start, name) = written.split_at_checked(PIPES.len())?;
        start.eq_ignore_ascii_case(PIPES).then_some(name)
    });
    let why = match name {
        // What follows a backslash could lead out of the pipes again.
        Some(name) if name.is_empty() || name.contains(['\\', '\0']) => "has no name of a pipe",
        Some(name) if PIPES.len() + name.encode_utf16().count() > LONGEST => "is longer than a pipe's name may be",
        Some(_) => return Ok(()),
        None => "is no named pipe of this machine",
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!(r"that {why}; write \\.\pipe\NAME")))
}

/// Who may use a pipe, in the language for that (Security Descriptor Definition Language): it belongs to the user, who may do everything, as may
/// the system; nobody else may do anything, and nothing is inherited. The owner is written down since an administrator's things belong to
/// all administrators otherwise.
pub(super) fn security(user: &str) -> String {
    format!("O:{user}D:P(A;;GA;;;{user})(A;;GA;;;SY)")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn only_the_user_and_the_system_may_use_a_pipe() {
        let text = security("S-1-5-21-1-2-3-1001");
        assert_eq!(text, "O:S-1-5-21-1-2-3-1001D:P(A;;GA;;;S-1-5-21-1-2-3-1001)(A;;GA;;;SY)");
    }

    #[test]
    fn a_pipe_of_this_machine_is_one_and_nothing_else_is() {
        assert!(check(&pipe(&format!("{}0123456789abcdef-2", of_user("S-1-5-21-1")))).is_ok());
        for one in [r"\\.\pipe\mine", r"\\.\PIPE\mine", "//./pipe/mine", r"\\.\pipe\my pipe.sock"] {
            assert!(check(Path::new(one)).is_ok(), "{one}");
        }
        let long = format!(r"\\.\pipe\{}", "n".repeat(LONGEST - PIPES.len()));
        assert!(check(Path::new(&long)).is_ok());
        for other in [
            "mine",
            "",
            "/run/mcp-pipe.sock",
            r"C:\mine",
            r"\\server\pipe\mine",
            r"\\.\pipe",
            r"\\.\pipe\",
            r"\\.\pipe\..\C:\mine",
            "//./pipe/../C:/mine",
            r"\\?\pipe\mine",
            "\\\\.\\pipe\\mi\0ne",
            "\\\\.\\pip\u{e9}\\mine",
            &format!("{long}n"),
        ] {
            let why = check(Path::new(other)).unwrap_err();
            assert!(why.to_string().ends_with(r"; write \\.\pipe\NAME"), "{other}: {why}");
        }
    }
}
