//! What an address of the gateway is for. Pure.

use percent_encoding::percent_decode_str;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// All servers as one (`/mcp`).
    All,
    /// One server under its own names (`/mcp/SERVER`).
    Server(String),
    /// All servers as one, for a client that can't send a header (`/mcp/~KEY`): the key, as it was sent.
    ByKey(String),
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
        path if path.starts_with("/mcp/~") && !path["/mcp/~".len()..].trim_end_matches('/').contains('/') => {
            Place::ByKey(path["/mcp/~".len()..].trim_end_matches('/').to_owned())
        }
        path => match path.strip_prefix("/mcp/").map(|name| percent_decode_str(name).decode_utf8()) {
            // A slash at the end is no part of a name; one amid it is, if it was written with `%`.
            Some(Ok(name)) if !path["/mcp/".len()..].trim_end_matches('/').contains('/') => {
                Place::Server(name.trim_end_matches('/').to_owned())
            }
            Some(_) | None => Place::Nowhere,
        },
    }
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
            ("/mcp/~key/", Place::ByKey("key".to_owned())),
            ("/mcp/~", Place::ByKey(String::new())),
            ("/mcp/~key/calc", Place::Nowhere),
            ("/mcp/a/b", Place::Nowhere),
            ("/mcp/%FF", Place::Nowhere),
            ("/MCP", Place::Nowhere),
            ("/mcpx", Place::Nowhere),
            ("/.well-known/oauth-protected-resource", Place::Nowhere),
        ] {
            assert_eq!(place(path), want, "{path}");
        }
    }
}
