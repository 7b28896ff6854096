//! The keys of the file: ours, those of other tools, and the closest one to a slip.

use jsonc_parser::ast::ObjectProp;

use super::reader::Reader;
use crate::words::closest;

/// Keys at the top of the file and in an entry.
pub(crate) const SHARED: &[&str] = &[
    "endpoint",
    "endpointHeaders",
    "subprotocol",
    "caFile",
    "connectTimeout",
    "pingInterval",
    "pingTimeout",
    "maxBackoff",
    "startTimeout",
    "maxFrameSize",
    "handshake",
    "mode",
    "naming",
    "turn",
    "resync",
    "keepListed",
    "slim",
    "timeout",
    "maxResultBytes",
];

/// Keys of the top only.
pub(crate) const TOP: &[&str] = &["mcpServers", "drainTimeout", "toolBudget", "cacheDir"];

/// Keys of an entry only.
pub(crate) const SERVER: &[&str] = &[
    "type",
    "transportType",
    "transport",
    "command",
    "args",
    "env",
    "cwd",
    "url",
    "serverUrl",
    "headers",
    "disabled",
    "enabled",
    "isActive",
    "pin",
    "tools",
];

/// Keys in the `tools` of an entry.
pub(crate) const TOOLS: &[&str] = &["allow", "deny", "rename", "describe", "timeout", "maxResultBytes"];

/// Keys with which other programs annotate these files and that don't change what a server offers.
const FOREIGN: &[&str] = &[
    "$schema",
    "alwaysAllow",
    "author",
    "autoApprove",
    "category",
    "description",
    "displayName",
    "gallery",
    "homepage",
    "icon",
    "iconUrl",
    "id",
    "inputs",
    "logoUrl",
    "name",
    "note",
    "notes",
    "provider",
    "providerUrl",
    "repository",
    "tags",
    "title",
    "trust",
    "version",
];

/// What other programs call something that we have under another name.
const RENAMED: &[(&str, &str)] = &[
    ("servers", "mcpServers"),
    ("mcp_servers", "mcpServers"),
    ("context_servers", "mcpServers"),
    ("mcpEndpoint", "endpoint"),
    ("MCP_ENDPOINT", "endpoint"),
    ("environment", "env"),
    ("workingDirectory", "cwd"),
    ("includeTools", "tools"),
    ("excludeTools", "tools"),
    ("allowedTools", "tools"),
    ("disabledTools", "tools"),
    ("include", "allow"),
    ("exclude", "deny"),
];

/// Whether a `type` is spoken over the network: any of the spellings of SSE, Streamable HTTP and WebSocket.
pub(crate) fn is_remote(kind: &str) -> bool {
    let plain: String = kind.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    ["sse", "http", "streamablehttp", "httpstream", "remote", "ws", "websocket"].contains(&plain.as_str())
}

/// Warns about a key that is none of the `known` ones of its place, with the one that was probably meant.
pub(crate) fn unknown(r: &mut Reader<'_>, key: &str, prop: &ObjectProp<'_>, path: &str, known: &[&[&str]]) {
    if let Some(remedy) = slip(key, known) {
        r.warning(prop, path, "is not a known key and is ignored", remedy);
    }
}

/// The same in `tools`, where it is a mistake: without the rule that was meant, tools would be published that should not be.
pub(crate) fn unknown_rule(r: &mut Reader<'_>, key: &str, prop: &ObjectProp<'_>, path: &str) {
    if let Some(remedy) = slip(key, &[TOOLS]) {
        r.mistake(prop, path, "is not a known key", remedy);
    }
}

/// The remedy for a key that is none of the `known` ones; `None` for one that somebody wrote who knew.
fn slip(key: &str, known: &[&[&str]]) -> Option<String> {
    if FOREIGN.contains(&key) || key.starts_with(['_', '/', '#']) {
        return None;
    }
    let renamed = RENAMED.iter().find(|(theirs, ours)| *theirs == key && known.iter().any(|k| k.contains(ours)));
    let meant = match renamed {
        Some((_, ours)) => Some(*ours),
        None => closest(key, known.iter().copied().flatten().copied()),
    };
    Some(meant.map_or_else(|| "remove it, or check its spelling".to_owned(), |k| format!("did you mean {k}?")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_key_is_the_one_meant() {
        let keys = || SERVER.iter().chain(SHARED).copied();
        for (slip, meant) in [("comand", "command"), ("arg", "args"), ("ENV", "env"), ("start_timeout", "startTimeout")]
        {
            assert_eq!(closest(slip, keys()), Some(meant));
        }
        assert_eq!(closest("zzz", keys()), None);
    }

    #[test]
    fn all_spellings_of_the_remote_types_are_known() {
        for kind in ["sse", "http", "streamable-http", "streamable_http", "streamableHttp", "streamablehttp", "SSE"] {
            assert!(is_remote(kind), "{kind}");
        }
        for kind in ["stdio", "local", ""] {
            assert!(!is_remote(kind), "{kind}");
        }
    }

    #[test]
    fn the_references_in_the_source_and_in_the_readme_have_a_row_for_every_key() {
        // What the tables are about, and what only a remote server has.
        let others = ["mcpServers", "url", "serverUrl", "headers"];
        let file = (include_str!("file.rs"), "//! | ", TOP.iter().chain(SERVER).chain(SHARED).collect::<Vec<_>>());
        let readme = (include_str!("../../README.md"), "| ", file.2.clone());
        let policy = (include_str!("policy.rs"), "//! | ", TOOLS.iter().collect());
        for (text, row, keys) in [file, readme, policy] {
            for key in keys.into_iter().filter(|key| !others.contains(key)) {
                let first = |line: &str| {
                    line.starts_with(row) && line.split('|').nth(1).is_some_and(|c| c.contains(&format!("`{key}`")))
                };
                assert!(text.lines().any(first), "{key} has no row in the table that begins {:.40}", text);
            }
        }
    }
}
