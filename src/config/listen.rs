//! Addresses that are listened on, names of hosts, and origins of web pages, as a person writes them. Pure.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::defaults::LISTEN;
use super::units::Wrong;
use crate::words::brief;

/// A host under which the gateway is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName {
    /// In small letters; an IPv6 address in brackets.
    pub name: Box<str>,
    /// The port; any if `None`.
    pub port: Option<u16>,
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HostName { name, port } = self;
        match port {
            Some(port) => write!(f, "{name}:{port}"),
            None => f.write_str(name),
        }
    }
}

/// An address that can be listened on: `127.0.0.1:8765`, `[::1]:8765`, `localhost:8765`, or `:8765` for every interface. Port 0:
/// one that is free.
///
/// # Errors
/// Why the text is none, with what to write.
pub(crate) fn address(text: &str) -> Result<SocketAddr, Wrong> {
    let text = text.trim();
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let wrong = |what: &str, remedy: String| Err(Wrong::new(what, remedy));
    let like = || format!("write it like {LISTEN}");
    if let Some((_, rest)) = text.split_once("://") {
        let host = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
        // What stands before an @ lets somebody in, perhaps.
        let meant = if host.contains('@') { None } else { address(host).ok() };
        let remedy = meant.map_or_else(like, |meant| format!("write {meant}"));
        return wrong("that is a URL, and an address with a port is wanted, without a scheme or a path", remedy);
    }
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if is_number(text) {
        let of_port = |port: u16| (SocketAddr::new(LISTEN.ip(), port), port);
        return match text.parse().map(of_port) {
            Ok((here, port)) => wrong(
                "that is a port alone",
                format!("write {here} for this machine alone, or :{port} for whoever reaches it"),
            ),
            Err(_) => wrong(NO_PORT, like()),
        };
    }
    let split = text.rsplit_once(':').filter(|(_, port)| is_number(port));
    if let Some((host, port)) = split
        && host.parse::<Ipv6Addr>().is_ok()
    {
        return wrong("an IPv6 address stands in brackets", format!("write [{host}]:{port}"));
    }
    if let Ok(ip) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return wrong("it names no port", format!("write {}", SocketAddr::new(ip, LISTEN.port())));
    }
    let Some((host, port)) = split else {
        let is_name = text.eq_ignore_ascii_case("localhost");
        return wrong(if is_name { "it names no port" } else { "that is no address with a port" }, like());
    };
    let Ok(port) = port.parse() else { return wrong(NO_PORT, like()) };
    match host {
        "" => Ok(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)),
        _ if host.eq_ignore_ascii_case("localhost") => Ok(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)),
        "*" => wrong("* is no address", format!("write :{port}")),
        _ => {
            let here = SocketAddr::new(LISTEN.ip(), port);
            let remedy = format!("write an address of this machine: {here} for itself alone, or :{port} for all");
            wrong("no name is looked up to listen on", remedy)
        }
    }
}

const NO_PORT: &str = "a port is a whole number from 0 to 65535";

/// The origin of web pages (RFC 6454), as browsers send it: in small letters and without the port that its scheme has anyway.
///
/// # Errors
/// Why the text is none, with what to write.
pub(crate) fn origin(text: &str) -> Result<String, Wrong> {
    let text = text.trim();
    let like = "write it like https://app.example.com";
    match text {
        "*" => {
            let what = "that would let any page that is open in a browser call the servers";
            return Err(Wrong::new(what, "name each origin, like https://app.example.com"));
        }
        // What pages without an origin send, such as those in files.
        "null" => return Ok(text.to_owned()),
        _ => {}
    }
    let is_scheme = |scheme: &str| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    };
    let Some((scheme, rest)) = text.split_once("://").filter(|(scheme, _)| is_scheme(scheme)) else {
        let remedy = if host(text).is_ok() { format!("write https://{}", brief(text)) } else { like.to_owned() };
        return Err(Wrong::new("an origin begins with its scheme", remedy));
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if authority.contains('*') {
        return Err(Wrong::new("an origin is named whole, without *", "name each origin"));
    }
    let HostName { name, port } = host(authority)?;
    let scheme = scheme.to_ascii_lowercase();
    let usual = match scheme.as_str() {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    };
    let port = port.filter(|port| Some(*port) != usual).map_or_else(String::new, |port| format!(":{port}"));
    let origin = format!("{scheme}://{name}{port}");
    if path.is_empty() { Ok(origin) } else { Err(Wrong::new("an origin has no path", format!("write {origin}"))) }
}

/// A host with or without a port: `mcp.example.com`, `mcp.example.com:8443`, `192.0.2.1`, `[::1]:80`.
///
/// # Errors
/// Why the text is none, with what to write.
pub(crate) fn host(text: &str) -> Result<HostName, Wrong> {
    let text = text.trim();
    let wrong = |what: &str| Err(Wrong::new(what, "write it like mcp.example.com, or mcp.example.com:8443"));
    if text == "*" {
        let what = "that would switch off the check that keeps foreign web pages out (DNS rebinding)";
        return Err(Wrong::new(what, "name each host"));
    }
    if text.contains(['/', '?', '#']) {
        return wrong("a host is named without a scheme and without a path");
    }
    if text.contains('@') {
        return wrong("a host is named without a user");
    }
    if let Ok(ip) = text.parse::<Ipv6Addr>() {
        return Ok(HostName { name: format!("[{ip}]").into(), port: None });
    }
    let end = if text.starts_with('[') { text.find(']').map(|at| at + 1) } else { text.find(':') };
    let (name, rest) = text.split_at(end.unwrap_or(text.len()));
    let port = match rest.strip_prefix(':') {
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => match port.parse::<u16>() {
            Ok(port) if port > 0 => Some(port),
            Ok(_) | Err(_) => return wrong("a port is a whole number from 1 to 65535"),
        },
        None if rest.is_empty() => None,
        Some(_) | None => return wrong("what stands behind the name is no port"),
    };
    if let Some(inside) = name.strip_prefix('[') {
        let ip = inside.strip_suffix(']').and_then(|inside| inside.parse::<Ipv6Addr>().ok());
        let host = |ip| HostName { name: format!("[{ip}]").into(), port };
        return ip.map_or_else(|| wrong("that is no IPv6 address"), |ip| Ok(host(ip)));
    }
    if name.is_empty() {
        return wrong("it names no host");
    }
    if !name.is_ascii() {
        return Err(Wrong::new("it has letters that no browser sends in a name", "write it as they do: xn--…"));
    }
    if name.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)) {
        Ok(HostName { name: name.to_ascii_lowercase().into(), port })
    } else {
        wrong("a host's name has letters, digits, - and . only")
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn addresses_to_listen_on_are_read_in_every_form() {
        for (text, want) in [
            ("127.0.0.1:8765", "127.0.0.1:8765"),
            (" 127.0.0.1:0 ", "127.0.0.1:0"),
            ("[::1]:8765", "[::1]:8765"),
            ("[::]:80", "[::]:80"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            (":8765", "0.0.0.0:8765"),
            ("localhost:8765", "127.0.0.1:8765"),
            ("LOCALHOST:0", "127.0.0.1:0"),
            ("192.0.2.7:65535", "192.0.2.7:65535"),
        ] {
            assert_eq!(address(text).unwrap().to_string(), want, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_to_listen_on_is_told_with_what_to_write() {
        const URL: &str = "that is a URL, and an address with a port is wanted, without a scheme or a path";
        let like = "write it like 127.0.0.1:8765";
        for (text, what, remedy) in [
            ("", "that is no address with a port", like),
            ("http://127.0.0.1:8765", URL, "write 127.0.0.1:8765"),
            ("https://localhost:9000/mcp", URL, "write 127.0.0.1:9000"),
            ("http://me:secret@127.0.0.1:9000", URL, like),
            ("http://example.com", URL, like),
            (
                "8080",
                "that is a port alone",
                "write 127.0.0.1:8080 for this machine alone, or :8080 for whoever reaches it",
            ),
            ("99999", "a port is a whole number from 0 to 65535", like),
            (":99999", "a port is a whole number from 0 to 65535", like),
            (":-1", "that is no address with a port", like),
            (":", "that is no address with a port", like),
            ("127.0.0.1:", "that is no address with a port", like),
            ("127.0.0.1", "it names no port", "write 127.0.0.1:8765"),
            ("::1", "it names no port", "write [::1]:8765"),
            ("[::1]", "it names no port", "write [::1]:8765"),
            ("localhost", "it names no port", like),
            ("::1:8080", "an IPv6 address stands in brackets", "write [::1]:8080"),
            ("*:80", "* is no address", "write :80"),
            (
                "example.com:80",
                "no name is looked up to listen on",
                "write an address of this machine: 127.0.0.1:80 for itself alone, or :80 for all",
            ),
            (
                "256.0.0.1:80",
                "no name is looked up to listen on",
                "write an address of this machine: 127.0.0.1:80 for itself alone, or :80 for all",
            ),
        ] {
            assert_eq!(address(text), Err(Wrong::new(what, remedy)), "{text}");
        }
    }

    #[test]
    fn origins_are_kept_as_browsers_send_them() {
        for (text, want) in [
            ("https://app.example.com", "https://app.example.com"),
            (" HTTPS://App.Example.com:443 ", "https://app.example.com"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://h:80", "http://h"),
            ("https://h:80", "https://h:80"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("chrome-extension://abcdef", "chrome-extension://abcdef"),
            ("null", "null"),
        ] {
            assert_eq!(origin(text).as_deref(), Ok(want), "{text}");
        }
        let like = "write it like https://app.example.com";
        let host = "write it like mcp.example.com, or mcp.example.com:8443";
        for (text, what, remedy) in [
            ("", "an origin begins with its scheme", like),
            ("app.example.com", "an origin begins with its scheme", "write https://app.example.com"),
            ("://h", "an origin begins with its scheme", like),
            (
                "*",
                "that would let any page that is open in a browser call the servers",
                "name each origin, like https://app.example.com",
            ),
            ("https://*.example.com", "an origin is named whole, without *", "name each origin"),
            ("https://h/", "an origin has no path", "write https://h"),
            ("https://h/app?x#y", "an origin has no path", "write https://h"),
            ("https://me@h", "a host is named without a user", host),
            ("https://", "it names no host", host),
            ("https://h:0", "a port is a whole number from 1 to 65535", host),
            ("https://h:x", "what stands behind the name is no port", host),
            ("https://a b", "a host's name has letters, digits, - and . only", host),
            ("https://bücher.example", "it has letters that no browser sends in a name", "write it as they do: xn--…"),
        ] {
            assert_eq!(origin(text), Err(Wrong::new(what, remedy)), "{text}");
        }
    }

    #[test]
    fn hosts_are_read_with_and_without_a_port() {
        for (text, name, port) in [
            ("mcp.example.com", "mcp.example.com", None),
            ("MCP.example.com:8443", "mcp.example.com", Some(8443)),
            ("192.0.2.1:80", "192.0.2.1", Some(80)),
            ("::1", "[::1]", None),
            ("[::1]", "[::1]", None),
            ("[0:0::1]:80", "[::1]", Some(80)),
        ] {
            assert_eq!(host(text), Ok(HostName { name: name.into(), port }), "{text}");
        }
        for (text, what) in [
            ("", "it names no host"),
            (":80", "it names no host"),
            ("*", "that would switch off the check that keeps foreign web pages out (DNS rebinding)"),
            ("https://h", "a host is named without a scheme and without a path"),
            ("h/mcp", "a host is named without a scheme and without a path"),
            ("h:65536", "a port is a whole number from 1 to 65535"),
            ("h:", "a port is a whole number from 1 to 65535"),
            ("[::1", "that is no IPv6 address"),
            ("[::1]x", "what stands behind the name is no port"),
            ("*.example.com", "a host's name has letters, digits, - and . only"),
        ] {
            let wrong = host(text).unwrap_err();
            assert_eq!(wrong.what, what, "{text}");
        }
    }
}
