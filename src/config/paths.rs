//! Addresses where a path belongs: files and folders would be made under that name, token and all.

use std::ffi::OsStr;

use super::context::Context;
use super::file::File;
use crate::endpoint::looks_like_endpoint;
use crate::error::{Code, Place};

/// Notes each that stands where a folder or a file of ours is named.
pub(crate) fn check(ctx: &mut Context<'_>, file: &File) {
    let options = &ctx.line.options;
    let named = |option: &str, path: Option<&OsStr>| Some((Place::from(option), path?.to_str()?.to_owned()));
    let by_option = [
        named("--cache-dir", options.cache_dir.as_deref()),
        named("--metrics-file", options.metrics_file.as_ref().map(|path| path.as_os_str())),
        named("--control-socket", options.control_socket.as_ref().map(|path| path.as_os_str())),
        named("--status-socket", options.status_socket.as_ref().map(|path| path.as_os_str())),
    ];
    let by_variable = |name: &str| Some((Place::from(name), ctx.settings.filled(name)?.to_owned()));
    let by_variable = ["MCP_CACHE_DIR", "MCP_CONTROL_SOCKET", "MCP_STATUS_SOCKET"].map(by_variable);
    let log_files = file.entries.iter().map(|entry| &entry.log_file).chain([&file.log_file]).flatten();
    let written = [&file.cache_dir, &file.state_dir].into_iter().chain(log_files.map(|log| &log.path)).flatten();
    let written = written.map(|text| (text.place.clone(), text.value.clone()));
    let all = by_option.into_iter().chain(by_variable).flatten().chain(written);
    let addresses: Vec<Place> = all.filter(|(_, path)| looks_like_endpoint(path)).map(|(place, _)| place).collect();
    for place in addresses {
        let remedy = "name a path; an endpoint is given by MCP_ENDPOINT, .env, --endpoint, or endpoint in the config";
        ctx.mistake(place, Code::Argument.says("is an address, where a path belongs"), remedy);
    }
}
