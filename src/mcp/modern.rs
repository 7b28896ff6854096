//! What MCP calls things from 2026-07-28 on, its *modern* era: each request says for itself who asks and what they can do, and there is no
//! handshake (MCP 2026-07-28, basic).

pub(crate) mod headers;
pub(crate) mod offer;
pub(crate) mod stamp;

use super::envelope::Envelope;
use super::object;

/// The version of the modern era that is spoken here.
pub(crate) const VERSION: &str = "2026-07-28";

/// The request for what a server is and can do (MCP 2026-07-28, server/discover).
pub(crate) const DISCOVER: &str = "server/discover";
/// The request for news of a server (MCP 2026-07-28, subscriptions).
pub(crate) const LISTEN: &str = "subscriptions/listen";
/// The first message on a subscription: what of it the server grants.
pub(crate) const ACKNOWLEDGED: &[u8] = b"notifications/subscriptions/acknowledged";

/// Names in `_meta` (MCP 2026-07-28, basic, `_meta`): all begin so, and no peer of ours may set one for us.
pub(crate) const PREFIX: &str = "io.modelcontextprotocol/";
pub(crate) const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
pub(crate) const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
pub(crate) const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
pub(crate) const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
pub(crate) const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
/// To which request for news a message belongs.
pub(crate) const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";
/// The extension by which a client is let in for what it is, as clients name it among their capabilities (ext-auth, OAuth Client Credentials).
pub(crate) const CLIENT_CREDENTIALS: &str = "io.modelcontextprotocol/oauth-client-credentials";

/// The version that `_meta` of a message names, raw JSON: then it is one of this era.
pub(crate) fn named_version<'a>(text: &'a [u8], e: &Envelope) -> Option<&'a str> {
    // A look that costs next to nothing spares nearly all messages of the other era the second one.
    let params = e.params.clone().map(|range| &text[range])?;
    memchr::memmem::find(params, b"protocolVersion")?;
    object::find(str::from_utf8(params).ok()?, &["_meta", PROTOCOL_VERSION])
}

/// Begins a line of a router's that is no message, but says for whom the next requests are: what that peer said in `initialize`, or nothing.
/// No message begins so.
pub(crate) const CALLER: u8 = 0x01;

/// In `_meta` of an `initialize` of ours, so that whoever stands before a server knows that its peer is of the modern era: the router, which is
/// between them, knows none. Servers ignore what they don't know there.
pub(crate) const ERA_OF_PEER: &str = "mcp-pipe/era";

/// In `_meta` of a question for such a peer: the name under which the server of the modern era wants its answer.
pub(crate) const KEY_OF_QUESTION: &str = "mcp-pipe/key";

/// A header of an HTTP request and its body differ.
pub(crate) const HEADER_MISMATCH: i32 = -32020;
/// The request needs a capability of the client that it did not declare.
pub(crate) const MISSING_CAPABILITY: i32 = -32021;
/// The server speaks other versions than the request is of.
pub(crate) const UNSUPPORTED_VERSION: i32 = -32022;
