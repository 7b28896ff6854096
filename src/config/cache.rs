//! Where the cache is: what servers said is remembered there.

use std::ffi::OsStr;
use std::path::PathBuf;

use super::Environment;
use super::context::Context;
use super::reader::Located;
use crate::disk::joined;

/// `--cache-dir`, then `MCP_CACHE_DIR`, then `cacheDir` (relative to the config), then the user's cache folder. `None` where
/// the first of these that is set is empty or `none`, or where the user has no home. An empty `MCP_CACHE_DIR` is not set.
pub(crate) fn dir(ctx: &Context<'_>, written: Option<&Located<String>>) -> Option<PathBuf> {
    let on = |text: &OsStr| !text.is_empty() && text != "none";
    if let Some(path) = &ctx.line.options.cache_dir {
        return on(path).then(|| joined(ctx.cwd, path));
    }
    // An empty variable counts as not set, as for all variables of ours.
    if let Some(path) = ctx.settings.filled("MCP_CACHE_DIR") {
        return on(path.as_ref()).then(|| joined(ctx.cwd, path));
    }
    match written {
        Some(path) => on(path.value.trim().as_ref()).then(|| joined(&ctx.base, path.value.trim())),
        None => of_user(ctx.env),
    }
}

/// `mcp-pipe` in the folder where a user's programs keep files that they can make again: by the XDG Base Directory
/// Specification, but on macOS and Windows by their own customs.
fn of_user(env: &Environment) -> Option<PathBuf> {
    let folder = |name: &str| env.filled(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = if cfg!(windows) {
        folder("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        folder("HOME").map(|home| home.join("Library/Caches"))
    } else {
        folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache")))
    };
    cache.map(|cache| cache.join("mcp-pipe"))
}
