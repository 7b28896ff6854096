//! Where a redirect leads, if the token may go there: the same scheme, host and port, and nowhere else.

use crate::endpoint::Endpoint;
use crate::net::error::{DialError, host_port};
use crate::net::peer_text::bounded;

/// Longest part of a host name that is shown; longer names don't exist (RFC 1035 section 2.3.4).
const MAX_HOST: usize = 255;

/// The endpoint that `location` names, seen from `from`.
pub(super) fn follow(from: &Endpoint, status: u16, location: &str) -> Result<Endpoint, DialError> {
    let refused = |to: String, why| Err(DialError::RedirectRefused { status, from: origin(from), to, why });
    // A fragment is never sent to a server.
    let location = location.split('#').next().unwrap_or_default().trim();
    let Ok(to) = absolute(from, location).parse::<Endpoint>() else {
        return refused("somewhere else".to_owned(), "that is no address that can be dialled");
    };
    let to_origin = bounded(&origin(&to), MAX_HOST);
    if to.is_tls() != from.is_tls() {
        return refused(to_origin, "that is another scheme");
    }
    if !to.host().eq_ignore_ascii_case(from.host()) {
        return refused(to_origin, "that is another host");
    }
    if to.port() != from.port() {
        return refused(to_origin, "that is another port");
    }
    Ok(to)
}

/// Scheme, host and port.
fn origin(endpoint: &Endpoint) -> String {
    let scheme = if endpoint.is_tls() { "wss" } else { "ws" };
    format!("{scheme}://{}", host_port(endpoint.host(), endpoint.port()))
}

/// `location` as a whole address (RFC 3986 section 5.2; dot segments are left to the server).
fn absolute(from: &Endpoint, location: &str) -> String {
    let uri = from.reveal();
    let scheme = if from.is_tls() { "wss" } else { "ws" };
    if let Some((scheme, rest)) = location.split_once("://")
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
    {
        // Web servers know the endpoint by its HTTP name.
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => "ws".to_owned(),
            "https" => "wss".to_owned(),
            other => other.to_owned(),
        };
        return format!("{scheme}://{rest}");
    }
    let authority = uri.authority().map_or("", |a| a.as_str());
    let path = if uri.path().is_empty() { "/" } else { uri.path() };
    match location.as_bytes() {
        [b'/', b'/', ..] => format!("{scheme}:{location}"),
        [b'/', ..] => format!("{scheme}://{authority}{location}"),
        [b'?', ..] | [] => format!("{scheme}://{authority}{path}{location}"),
        _ => {
            let directory = path.rfind('/').map_or("/", |at| &path[..=at]);
            format!("{scheme}://{authority}{directory}{location}")
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn go(from: &str, location: &str) -> Result<String, String> {
        follow(&from.parse().unwrap(), 307, location).map(|e| e.reveal().to_string()).map_err(|e| e.to_string())
    }

    #[test]
    fn a_redirect_within_scheme_host_and_port_is_followed() {
        let from = "wss://u:p@Host:443/a/b?token=s3cret";
        for (location, want) in [
            ("/a/b/?token=s3cret", "wss://u:p@Host:443/a/b/?token=s3cret"),
            ("c?x", "wss://u:p@Host:443/a/c?x"),
            ("?token=other", "wss://u:p@Host:443/a/b?token=other"),
            ("https://host/c#part", "wss://host/c"),
            ("WSS://HOST:443/c", "wss://HOST:443/c"),
            ("//host/c?next=http://x", "wss://host/c?next=http://x"),
            ("/c?next=http://x", "wss://u:p@Host:443/c?next=http://x"),
        ] {
            assert_eq!(go(from, location).as_deref(), Ok(want), "{location}");
        }
        assert_eq!(go("ws://h?token=a", "b").as_deref(), Ok("ws://h/b"));
    }

    #[test]
    fn a_redirect_elsewhere_is_refused_naming_both_and_never_the_token() {
        let from = "wss://host/a?token=s3cret";
        for (location, to, why) in [
            ("https://evil.example/?token=s3cret", "wss://evil.example:443", "another host"),
            ("https://host@evil.example/s3cret", "wss://evil.example:443", "another host"),
            ("//evil.example/s3cret", "wss://evil.example:443", "another host"),
            ("http://host/?token=s3cret", "ws://host:80", "another scheme"),
            ("https://host:8443/s3cret", "wss://host:8443", "another port"),
            ("ftp://host/s3cret", "somewhere else", "no address"),
            ("https:///s3cret", "somewhere else", "no address"),
            ("https://host:80443/s3cret", "somewhere else", "no address"),
        ] {
            let error = go(from, location).unwrap_err();
            assert!(error.contains("wss://host:443") && error.contains(to) && error.contains(why), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn a_redirect_changes_the_scheme_in_neither_direction_though_host_and_port_stay() {
        for (from, location) in [
            ("ws://host:8080/a?token=s3cret", "https://host:8080/a"),
            ("ws://host:8080/a?token=s3cret", "wss://host:8080/a"),
            ("wss://host:8443/a?token=s3cret", "http://host:8443/a"),
            ("wss://host/a?token=s3cret", "ws://host:443/a"),
        ] {
            let error = go(from, location).unwrap_err();
            assert!(error.contains("another scheme") && !error.contains("s3cret"), "{location}: {error}");
        }
        assert_eq!(go("ws://host:80/a", "http://host/b").as_deref(), Ok("ws://host/b"));
    }
}
