//! What is known of the xiaozhi.me cloud and the self-hosted endpoint server: what the cloud announces, how both close
//! connections, how long they wait, and so for how long requests are held here (9 s).
//!
//! This program was made for these two kinds of endpoints. Nothing here decides anything: code that waits for an endpoint takes
//! its habits from here.

use std::time::Duration;

/// The cloud's host. Its endpoints carry the token in their query.
pub(crate) const HOST: &str = "api.xiaozhi.me";
/// The cloud's close code for everything (RFC 6455 section 7.4.2: private use).
pub(crate) const CLOSE: u16 = 4004;
/// The cloud's close reason.
pub(crate) const CLOSE_REASON: &str = "Internal server error";
/// What the cloud says of itself in `initialize`, member for member: the version of MCP, what it can do, and who it is.
pub(crate) const VERSION: &str = "2024-11-05";
pub(crate) const CAPABILITIES: &str = r#"{"sampling":{},"roots":{"listChanged":false}}"#;
pub(crate) const CLIENT: &str = r#"{"name":"xz-mcp-broker","version":"0.0.1"}"#;
/// Longest time that the cloud waits for the answer to `initialize`, and that its older versions wait for the answer to a call.
pub(crate) const INITIALIZE: Duration = Duration::from_secs(10);
/// Longest time between two of the cloud's JSON-RPC pings, and for the answer to one.
pub(crate) const PING: Duration = Duration::from_secs(60);
/// Longest time that the cloud waits for a tool.
pub(crate) const CALL: Duration = Duration::from_secs(300);
/// Longest time that a request of an endpoint is held here for its server: an error before the cloud gives up is worth more than
/// a result after that.
pub(crate) const HOLD: Duration = INITIALIZE.saturating_sub(Duration::from_secs(1));

/// Words in the close reason of a self-hosted endpoint server when a newer connection of tools takes a connection's place ("a
/// new connection replaces this one"): the verb, which forks keep however they put the rest, and another verb for the same.
pub(crate) const TAKEOVER: [&str; 2] = ["替换", "取代"];
/// The same in English, in lower case, as other endpoints say it: parts of a reason, and whole reasons. A word such as "replaced" amid others
/// may be about a token or a version.
pub(crate) const TAKEOVER_ENGLISH: [&str; 14] = [
    "newer connection",
    "another connection",
    "by a new connection",
    "by new connection",
    "connection replaced",
    "connection was replaced",
    "connection superseded",
    "session replaced",
    "another session",
    "another client",
    "another device",
    "duplicate connection",
    "duplicate session",
    "duplicate client",
];
pub(crate) const TAKEOVER_ALONE: [&str; 3] = ["replaced", "superseded", "duplicate"];
/// The end of the path on which a self-hosted endpoint server takes the connections of tools. A proxy may put something before.
pub(crate) const SELF_HOSTED_PATH: &str = "/mcp_endpoint/mcp/";
/// Shortest time between the end of a connection and the next one: a self-hosted server takes a connection that comes within a
/// few milliseconds for the one that has just ended, and deregisters it.
pub(crate) const SETTLING: Duration = Duration::from_millis(250);
