//! Addresses and tokens where a path belongs: files and folders would be made under that name.

use super::context::Context;
use super::reader::Located;
use crate::endpoint::{looks_like_endpoint, looks_like_token};
use crate::error::{Code, Place};

/// Notes each that stands where a folder, a socket or the file of the metrics is named: by an option, by a variable, or as one of
/// the `folders` of the config.
pub(crate) fn check(ctx: &mut Context<'_>, folders: [Option<&Located<String>>; 2]) {
    let options = &ctx.line.options;
    let by_option = [
        ("--cache-dir", options.cache_dir.as_deref()),
        ("--metrics-file", options.metrics_file.as_ref().map(|path| path.as_os_str())),
        ("--control-socket", options.control_socket.as_ref().map(|path| path.as_os_str())),
        ("--status-socket", options.status_socket.as_ref().map(|path| path.as_os_str())),
    ];
    let by_option = by_option.map(|(option, path)| Some((path?.to_str()?.to_owned(), Place::from(option))));
    let by_variable = ["MCP_CACHE_DIR", "MCP_CONTROL_SOCKET", "MCP_STATUS_SOCKET"].map(|name| ctx.setting(name));
    let by_config = folders.map(|folder| folder.map(|it| (it.value.clone(), it.place.clone())));
    for (path, place) in by_option.into_iter().chain(by_variable).chain(by_config).flatten() {
        is_misplaced(ctx, &place, &path);
    }
}

/// Whether an address or a token stands where a path belongs, which is noted as a mistake.
pub(crate) fn is_misplaced(ctx: &mut Context<'_>, place: &Place, path: &str) -> bool {
    let what = match path.trim() {
        path if looks_like_endpoint(path) => "is an address, where a path belongs",
        path if looks_like_token(path) => "looks like a token, where a path belongs",
        _ => return false,
    };
    let remedy = "name a path, with ./ before a plain name; an endpoint is given by MCP_ENDPOINT, .env, --endpoint, or \
        endpoint in the config";
    ctx.mistake(place, Code::Argument.says(what), remedy);
    true
}
