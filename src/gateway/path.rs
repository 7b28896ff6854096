//! What an address of the gateway is for. Pure.

use percent_encoding::percent_decode_str;

use crate::control::status::Caller;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// All servers as one (`/mcp`).
    All,
    /// One server under its own names (`/mcp/SERVER`).
    Server(String),
    /// All servers as one, for a client that can't send a header (`/mcp/~KEY`): the key, as it was sent.
    ByKey(String),
    /// All servers, or one, over WebSocket (`/ws`, `/ws/SERVER`).
    Socket(Option<String>),
    /// The stream of HTTP+SSE, for all servers or one (`/sse`, `/sse/SERVER`).
    Events(Option<String>),
    /// Where messages go to for such a stream (`/messages`).
    Messages,
    /// Where those meet that have the same token, over WebSocket: tools (`/endpoint/mcp`) and robots (`/endpoint/call`).
    Endpoint(Caller),
    /// What is offered here (`/`).
    Offer,
    /// Whether the program runs (`/livez`).
    Live,
    /// Whether it can be asked (`/readyz`).
    Ready,
    /// Nothing.
    Nowhere,
}

/// Reads a path as it was sent.
pub(super) fn place(path: &str) -> Place {
    match path {
        "" | "/" => Place::Offer,
        "/livez" => Place::Live,
        "/readyz" => Place::Ready,
        "/mcp" | "/mcp/" => Place::All,
        path if let Some(key) = key(path) => Place::ByKey(key.to_owned()),
        "/ws" | "/ws/" => Place::Socket(None),
        "/sse" | "/sse/" => Place::Events(None),
        "/messages" | "/messages/" => Place::Messages,
        path => {
            let server = |of: &str| path.strip_prefix(of).and_then(name);
            let over_http = server("/mcp/").map(Place::Server);
            let place = over_http.or_else(|| server("/ws/").map(|name| Place::Socket(Some(name))));
            let place = place.or_else(|| server("/sse/").map(|name| Place::Events(Some(name))));
            place.or_else(|| endpoint(path).map(Place::Endpoint)).unwrap_or(Place::Nowhere)
        }
    }
}

/// The key in a path (`/mcp/~KEY`). A client may write the `~` with `%` (RFC 3986 section 2.3).
fn key(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("/mcp/")?;
    let key = ["~", "%7E", "%7e"].into_iter().find_map(|tilde| rest.strip_prefix(tilde))?.trim_end_matches('/');
    (!key.contains('/')).then_some(key)
}

/// Who calls at a path of the endpoint, as it is called here or by the self-hosted endpoint server.
fn endpoint(path: &str) -> Option<Caller> {
    let rest = path.strip_prefix("/endpoint/").or_else(|| path.strip_prefix("/mcp_endpoint/"))?;
    match rest.strip_suffix('/').unwrap_or(rest) {
        "mcp" => Some(Caller::Tools),
        "call" => Some(Caller::Robot),
        _ => None,
    }
}

/// The server that the rest of a path names. A slash at the end is no part of a name; one amid it is, if it was written with `%`.
fn name(rest: &str) -> Option<String> {
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.is_empty() || rest.contains('/') {
        return None;
    }
    percent_decode_str(rest).decode_utf8().ok().map(|name| name.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_is_for_one_thing() {
        let server = |name: &str| Place::Server(name.to_owned());
        for (path, want) in [
            ("/", Place::Offer),
            ("", Place::Offer),
            ("/livez", Place::Live),
            ("/readyz", Place::Ready),
            ("/mcp", Place::All),
            ("/mcp/", Place::All),
            ("/mcp/calc", server("calc")),
            ("/mcp/Calc/", server("Calc")),
            ("/mcp/my%20calc", server("my calc")),
            ("/mcp/%E8%AE%A1", server("计")),
            ("/mcp/a%2Fb", server("a/b")),
            ("/mcp/~a%2Fb-key", Place::ByKey("a%2Fb-key".to_owned())),
            ("/mcp/%7Ekey", Place::ByKey("key".to_owned())),
            ("/mcp/%7ekey/", Place::ByKey("key".to_owned())),
            ("/mcp/%7Ekey/calc", Place::Nowhere),
            ("/mcp/~key/", Place::ByKey("key".to_owned())),
            ("/mcp/~", Place::ByKey(String::new())),
            ("/mcp/~key/calc", Place::Nowhere),
            ("/mcp/a/b", Place::Nowhere),
            ("/mcp/%FF", Place::Nowhere),
            ("/MCP", Place::Nowhere),
            ("/mcpx", Place::Nowhere),
            ("/mcp//", Place::Nowhere),
            ("/mcp/calc//", Place::Nowhere),
            ("/ws", Place::Socket(None)),
            ("/ws/", Place::Socket(None)),
            ("/ws/my%20calc", Place::Socket(Some("my calc".to_owned()))),
            ("/ws/a/b", Place::Nowhere),
            ("/wss", Place::Nowhere),
            ("/sse", Place::Events(None)),
            ("/sse/", Place::Events(None)),
            ("/sse/calc", Place::Events(Some("calc".to_owned()))),
            ("/sse/a/b", Place::Nowhere),
            ("/messages", Place::Messages),
            ("/messages/x", Place::Nowhere),
            ("/endpoint/mcp", Place::Endpoint(Caller::Tools)),
            ("/endpoint/mcp/", Place::Endpoint(Caller::Tools)),
            ("/endpoint/call", Place::Endpoint(Caller::Robot)),
            ("/mcp_endpoint/mcp/", Place::Endpoint(Caller::Tools)),
            ("/mcp_endpoint/call", Place::Endpoint(Caller::Robot)),
            ("/mcp_endpoint/call/", Place::Endpoint(Caller::Robot)),
            ("/endpoint/mcp//", Place::Nowhere),
            ("/endpoint/mcp/x", Place::Nowhere),
            ("/endpoint", Place::Nowhere),
            ("/mcp/endpoint/mcp", Place::Nowhere),
            ("/.well-known/oauth-protected-resource", Place::Nowhere),
        ] {
            assert_eq!(place(path), want, "{path}");
        }
    }
}
