//! Whom a request is for, and from which page it comes: what a browser is led into by a page of somebody else is refused (DNS
//! rebinding; MCP 2025-11-25, basic/transports, security warning). Pure.

use std::net::{IpAddr, SocketAddr};

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, HeaderName, Uri};

use crate::config::HostName;
use crate::endpoint::{is_loopback, is_this_machine};

/// Where a request of a browser comes from, in its words (Fetch metadata).
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Under which names the gateway is reached, and which pages may ask it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Guard {
    /// Further names of this host.
    pub(crate) hosts: Vec<HostName>,
    /// Origins of pages, as browsers write them.
    pub(crate) origins: Vec<String>,
    /// Whether only this machine reaches the gateway.
    pub(crate) is_local: bool,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// The request is for a host of another name.
    Host,
    /// The request comes from a page that may not ask.
    Origin,
}

impl Guard {
    /// That of whoever listens there.
    pub(super) fn of(listen: SocketAddr, hosts: &[HostName], origins: &[String]) -> Self {
        Guard { hosts: hosts.to_vec(), origins: origins.to_vec(), is_local: is_loopback(listen.ip()) }
    }

    /// Whether a request may be answered.
    pub(super) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refused> {
        let mut hosts = headers.get_all(HOST).iter();
        let host = match (uri.authority(), hosts.next(), hosts.next()) {
            (Some(of_uri), _, None) => Some(of_uri.as_str()),
            (None, Some(host), None) => Some(host.to_str().map_err(|_| Refused::Host)?),
            (None, None, None) => None,
            (_, _, Some(_)) => return Err(Refused::Host),
        };
        if host.is_some_and(|host| !self.is_ours(host)) {
            return Err(Refused::Host);
        }
        let mut origins = headers.get_all(ORIGIN).iter();
        match (origins.next(), origins.next()) {
            // A page of somebody else has this loaded without saying who it is.
            (None, _) if headers.get(FETCH_SITE).is_some_and(|site| site == "cross-site") => Err(Refused::Origin),
            (None, _) => Ok(()),
            (Some(origin), None) if origin.to_str().is_ok_and(|origin| self.may_ask(origin)) => Ok(()),
            (Some(_), _) => Err(Refused::Origin),
        }
    }

    /// Whether a name, perhaps with a port, is one of this host.
    fn is_ours(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let Some((name, port)) = parts(&host) else { return false };
        let is_it = |ours: &HostName| {
            *ours.name.trim_matches(['[', ']']) == *name
                && ours.port.is_none_or(|of| port.is_none_or(|port| port == of))
        };
        // Where others reach us any name may be ours, and keys are asked for, unless the config tells our names. A page can be given any name,
        // and no address.
        let is_any = !self.is_local && (self.hosts.is_empty() || name.parse::<IpAddr>().is_ok());
        is_any || is_this_machine(name) || self.hosts.iter().any(is_it)
    }

    /// Whether a page may ask: one of this machine, on whichever port, or one that the config names.
    fn may_ask(&self, origin: &str) -> bool {
        let origin = origin.to_ascii_lowercase();
        if self.origins.contains(&origin) {
            return true;
        }
        let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        rest.and_then(parts).is_some_and(|(name, _)| is_this_machine(name))
    }
}

/// Name and port in `name`, `name:port`, `1.2.3.4:port`, `[::1]:port`; `None` if it is none of these.
fn parts(host: &str) -> Option<(&str, Option<u16>)> {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (name, after) = rest.split_once(']')?;
            (name, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
        }
        None => host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port))),
    };
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:".contains(&b));
    let is_number = |port: &str| port.bytes().all(|b| b.is_ascii_digit());
    match port {
        _ if !is_name => None,
        None => Some((name, None)),
        Some(port) if is_number(port) => Some((name, Some(port.parse().ok()?))),
        Some(_) => None,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn check(guard: &Guard, host: &[&str], origin: &[&str]) -> Result<(), Refused> {
        let mut headers = HeaderMap::new();
        headers.extend(host.iter().map(|host| (HOST, host.parse().unwrap())));
        headers.extend(origin.iter().map(|origin| (ORIGIN, origin.parse().unwrap())));
        guard.check(&Uri::from_static("/mcp"), &headers)
    }

    #[test]
    fn only_names_of_this_machine_are_ours() {
        let hosts = vec![
            HostName { name: "nas.lan".into(), port: None },
            HostName { name: "box".into(), port: Some(8765) },
            HostName { name: "[fd00::1]".into(), port: None },
        ];
        let guard = Guard { hosts, is_local: true, ..Guard::default() };
        for (host, is_ours) in [
            ("localhost", true),
            ("localhost:8765", true),
            ("LOCALHOST:1", true),
            ("a.localhost", true),
            ("127.0.0.1", true),
            ("127.0.0.1:8765", true),
            ("127.8.8.8", true),
            ("[::1]", true),
            ("[::1]:8765", true),
            ("[::ffff:127.0.0.1]:8765", true),
            ("[::ffff:192.0.2.1]:8765", false),
            ("localhost.", true),
            ("192.0.2.1", false),
            ("nas.lan", true),
            ("NAS.lan:99", true),
            ("box:8765", true),
            ("box:8766", false),
            ("box", true),
            ("[fd00::1]:80", true),
            ("evil.example", false),
            ("evil.example:8765", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("localhost:8765@evil.example", false),
            ("user@localhost", false),
            ("[::1]evil.example", false),
            ("[::2]", false),
            ("localhost:+80", false),
            ("localhost:99999", false),
            ("", false),
            ("2130706433", false),
            ("0x7f.1", false),
        ] {
            assert_eq!(check(&guard, &[host], &[]), if is_ours { Ok(()) } else { Err(Refused::Host) }, "{host}");
        }
        assert_eq!(check(&guard, &[], &[]), Ok(()), "HTTP/1.0");
        assert_eq!(check(&guard, &["localhost", "localhost"], &[]), Err(Refused::Host));
        // Elsewhere these are the names that count, too, and all count where none is told.
        let named = Guard { is_local: false, ..guard };
        for (host, is_ours) in [
            ("nas.lan", true),
            ("box:8765", true),
            ("box:8766", false),
            ("localhost", true),
            ("192.0.2.1:8765", true),
            ("[2001:db8::1]:8765", true),
            ("evil.example", false),
            ("192.0.2.1.evil.example", false),
            ("3221225985", false),
        ] {
            assert_eq!(check(&named, &[host], &[]), if is_ours { Ok(()) } else { Err(Refused::Host) }, "{host}");
        }
        let open = Guard { hosts: Vec::new(), ..named };
        assert_eq!(check(&open, &["whatever.example"], &[]), Ok(()));
    }

    #[test]
    fn where_only_this_machine_is_served_the_host_is_looked_at_however_the_address_is_written() {
        for (listen, want) in [
            ("127.0.0.1:8765", Err(Refused::Host)),
            ("127.9.9.9:8765", Err(Refused::Host)),
            ("[::1]:8765", Err(Refused::Host)),
            ("[::ffff:127.0.0.1]:8765", Err(Refused::Host)),
            ("0.0.0.0:8765", Ok(())),
            ("[::]:8765", Ok(())),
            ("192.0.2.1:8765", Ok(())),
        ] {
            let guard = Guard::of(listen.parse().unwrap(), &[], &[]);
            assert_eq!(check(&guard, &["evil.example"], &[]), want, "{listen}");
        }
    }

    #[test]
    fn only_pages_of_this_machine_and_named_ones_may_ask() {
        let guard = Guard { origins: vec!["https://app.example".into()], is_local: true, ..Guard::default() };
        for (origin, may) in [
            ("http://localhost", true),
            ("http://localhost:3000", true),
            ("https://LOCALHOST:3000", true),
            ("http://127.0.0.1:6274", true),
            ("http://[::1]:1", true),
            ("https://app.example", true),
            ("http://app.example", false),
            ("https://app.example:8443", false),
            ("https://app.example.evil", false),
            ("null", false),
            ("", false),
            ("file://", false),
            ("http://evil.example", false),
            ("http://localhost.evil.example", false),
            ("http://localhost@evil.example", false),
            ("http://evil.example#localhost", false),
            ("chrome-extension://abcdef", false),
            ("ftp://localhost", false),
        ] {
            assert_eq!(
                check(&guard, &["localhost"], &[origin]),
                if may { Ok(()) } else { Err(Refused::Origin) },
                "{origin}"
            );
        }
        let two = ["http://localhost", "http://localhost"];
        assert_eq!(check(&guard, &["localhost"], &two), Err(Refused::Origin));
        // A page may not ask however far the gateway is reached.
        let open = Guard { is_local: false, ..guard };
        assert_eq!(check(&open, &["any"], &["http://evil.example"]), Err(Refused::Origin));
    }
}
