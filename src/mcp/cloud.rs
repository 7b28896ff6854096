//! What is known of the endpoints that this program was made for: the xiaozhi.me cloud and the self-hosted endpoint server.
//! Nothing here decides anything; whoever waits for an endpoint takes its habits from here.

use std::time::Duration;

/// The close code with which the cloud answers everything (RFC 6455 section 7.4.2: private use).
pub(crate) const CLOSE: u16 = 4004;
/// The reason beside it.
pub(crate) const CLOSE_REASON: &str = "Internal server error";
/// What the cloud says of itself in `initialize`, member for member: the version of MCP, what it can do, and who it is.
pub(crate) const VERSION: &str = "2024-11-05";
pub(crate) const CAPABILITIES: &str = r#"{"sampling":{},"roots":{"listChanged":false}}"#;
pub(crate) const CLIENT: &str = r#"{"name":"xz-mcp-broker","version":"0.0.1"}"#;
/// Longest time that the cloud waits for the answer to `initialize`, and in its older versions to a call.
pub(crate) const INITIALIZE: Duration = Duration::from_secs(10);
/// Longest time between two of the cloud's JSON-RPC pings, and until one must be answered.
pub(crate) const PING: Duration = Duration::from_secs(60);
/// Longest time that the cloud waits for a tool.
pub(crate) const CALL: Duration = Duration::from_secs(300);
/// Longest time that a request of an endpoint waits for its server here: an error that arrives before the cloud gives up is
/// worth more than a result after it.
pub(crate) const HOLD: Duration = INITIALIZE.saturating_sub(Duration::from_secs(1));

/// What the self-hosted endpoint server gives as the reason when it closes a connection of tools for a newer one ("a new
/// connection replaces it"): the verb, which its forks keep however they put the rest, and another one for the same.
pub(crate) const TAKEOVER: [&str; 2] = ["替换", "取代"];
/// Where the self-hosted endpoint server takes the connections of tools. A proxy may put something in front of it.
pub(crate) const SELF_HOSTED_PATH: &str = "/mcp_endpoint/mcp/";
/// Shortest time between the end of a connection and the next: the self-hosted server takes one that comes within a few
/// milliseconds for the one before it, and deregisters it.
pub(crate) const SETTLING: Duration = Duration::from_millis(250);
