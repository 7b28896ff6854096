//! Where a running mcp-pipe is asked and told something: its control socket.

use std::ffi::OsStr;
use std::path::PathBuf;

use super::Environment;
use super::options::Options;

/// The variable that names it.
pub(super) const VARIABLE: &str = "MCP_CONTROL_SOCKET";

/// Where the control socket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControlSocket {
    /// There is none.
    None,
    /// At this path.
    At(PathBuf),
    /// Under a name of its own in the folder for all of this user's.
    In(Places),
}

/// Where that folder may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// What `XDG_RUNTIME_DIR` names (XDG Base Directory Specification); made for the user at the login.
    pub runtime: Option<PathBuf>,
    /// Where any user may make files.
    pub temp: PathBuf,
}

/// `--control-socket`, then `MCP_CONTROL_SOCKET`, else a place that needs no name. None where the first of them that is set is empty or
/// `none`.
pub fn control_socket(options: &Options, settings: &Environment) -> ControlSocket {
    let named = options.control_socket.clone().or_else(|| settings.filled(VARIABLE).map(PathBuf::from));
    match named {
        Some(path) if path.as_os_str().is_empty() || path.as_os_str() == OsStr::new("none") => ControlSocket::None,
        Some(path) => ControlSocket::At(path),
        None => ControlSocket::In(Places::of(settings)),
    }
}

impl Places {
    fn of(env: &Environment) -> Self {
        let folder = |name: &str| env.filled(name).map(PathBuf::from).filter(|path| path.is_absolute());
        Places { runtime: folder("XDG_RUNTIME_DIR"), temp: folder("TMPDIR").unwrap_or_else(|| "/tmp".into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_counts_before_the_variable_and_none_is_none() {
        let at = |flag: Option<&str>, vars: &[(&str, &str)]| {
            let options = Options { control_socket: flag.map(PathBuf::from), ..Options::default() };
            control_socket(&options, &vars.iter().copied().collect())
        };
        let named = [(VARIABLE, "/b"), ("XDG_RUNTIME_DIR", "/run/user/7")];
        assert_eq!(at(Some("/a"), &named), ControlSocket::At("/a".into()));
        assert_eq!(at(None, &named), ControlSocket::At("/b".into()));
        assert_eq!([at(Some("none"), &named), at(Some(""), &named)], [ControlSocket::None, ControlSocket::None]);
        assert_eq!(at(None, &[(VARIABLE, "none")]), ControlSocket::None);
        let places = |runtime: Option<&str>, temp: &str| {
            ControlSocket::In(Places { runtime: runtime.map(PathBuf::from), temp: temp.into() })
        };
        assert_eq!(at(None, &[(VARIABLE, ""), named[1]]), places(Some("/run/user/7"), "/tmp"));
        assert_eq!(at(None, &[("XDG_RUNTIME_DIR", "relative"), ("TMPDIR", "/t")]), places(None, "/t"));
    }
}
