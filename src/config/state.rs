//! Where the state folder is: what can't be made again is kept there, such as logins at remote servers.

use std::path::PathBuf;

use super::Environment;
use super::context::Context;
use super::reader::Located;
use crate::disk::joined;

/// `stateDir` (relative to the config), else what systemd gives the service (`StateDirectory=`), else the user's folder for that. `None`
/// where `stateDir` is empty or `none`, or where the user has no home.
pub(crate) fn dir(ctx: &Context<'_>, written: Option<&Located<String>>) -> Option<PathBuf> {
    match written.map(|path| path.value.trim()) {
        Some("" | "none") => None,
        Some(path) => Some(joined(&ctx.base, path)),
        None => of_service(ctx.env).or_else(|| of_user(ctx.env)),
    }
}

/// Whether the state folder is the one that systemd gives the service.
pub(crate) fn is_of_service(env: &Environment) -> bool {
    of_service(env).is_some()
}

/// systemd.exec(5): several folders are separated by colons, and the first is the service's own.
fn of_service(env: &Environment) -> Option<PathBuf> {
    let first = env.filled("STATE_DIRECTORY")?.split(':').next().map(PathBuf::from)?;
    first.is_absolute().then_some(first)
}

/// By the XDG Base Directory Specification, but on macOS and Windows by their own customs.
fn of_user(env: &Environment) -> Option<PathBuf> {
    let folder = |name: &str| env.filled(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = if cfg!(windows) {
        folder("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        folder("HOME").map(|home| home.join("Library/Application Support"))
    } else {
        folder("XDG_STATE_HOME").or_else(|| folder("HOME").map(|home| home.join(".local/state")))
    };
    state.map(|state| state.join("mcp-pipe"))
}
