//! The address of a remote server, and what a server may name relative to that.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use http::Uri;

use super::{EndpointError, IN_ASCII, Origin, bare, meant_in_address, pasted, port_of};
use crate::words::a_character;

/// The address of a remote server, kept byte for byte as it was given: `/mcp` and `/mcp/` may be two places.
///
/// `Display` and `Debug` show scheme, host and port. What stands behind these may let somebody in, as do a user name and a password:
/// only [`RemoteUrl::reveal`] gives that.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RemoteUrl(Uri);

/// Why a text is no address of a remote server. Nothing of the text is repeated but its scheme.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Nothing, or nothing in quotes.
    #[error("is empty")]
    Empty,
    /// A URL of another scheme.
    #[error("has the scheme \"{0}\"; a remote server is reached by http:// or https://")]
    Scheme(String),
    /// No scheme, so that nothing says whether to use TLS.
    #[error("has no scheme")]
    NoScheme,
    /// No host.
    #[error("names no host")]
    NoHost,
    /// Something else than a port behind the host.
    #[error("has a port that is no number from 1 to 65535")]
    Port,
    /// A character that no URL has.
    #[error("holds {}, which no address may hold", a_character(*.0))]
    Character(char),
    /// What came along behind the address.
    #[error("ends with {0}, which is no part of an address")]
    Tail(String),
    /// Letters of other scripts than Latin in the host, which only browsers replace.
    #[error("holds {} in the name of its host", a_character(*.0))]
    Host(char),
    /// Not a URL at all.
    #[error("is not a valid URL (expected something like http://127.0.0.1:5555/mcp)")]
    NotAUrl,
}

impl UrlError {
    /// What to do about the error.
    pub fn remedy(&self) -> Cow<'static, str> {
        if let UrlError::Character(c) = self
            && *c != ' '
            && let Some(meant) = meant_in_address(*c)
        {
            return meant.map_or("remove it".into(), |meant| format!("write {meant} for it").into());
        }
        let remedy = match self {
            UrlError::NoScheme => "write https:// (or http:// without TLS) in front of it",
            UrlError::Port => "correct it, or leave it out for 443 (https) or 80 (http)",
            UrlError::Character(' ') => "remove it, or write %20 for it",
            UrlError::Character(_) => "write its bytes with %, as a browser's address bar does when it is copied from",
            UrlError::Tail(_) => "remove it",
            UrlError::Host(_) => IN_ASCII,
            UrlError::Empty | UrlError::Scheme(_) | UrlError::NoHost | UrlError::NotAUrl => {
                "write the server's whole address, such as http://127.0.0.1:5555/mcp"
            }
        };
        remedy.into()
    }
}

impl RemoteUrl {
    /// The whole address. Called where a request is made, where secrets are taken out of texts, and where a server is told from
    /// others; nowhere else.
    pub(crate) fn reveal(&self) -> &Uri {
        &self.0
    }

    /// Scheme, host and port.
    pub(crate) fn origin(&self) -> Origin {
        let tls = self.0.scheme_str().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
        Origin::of(&self.0, tls)
    }

    /// What a request names: path and query, as they were given.
    pub(crate) fn target(&self) -> String {
        let target = self.0.path_and_query().map_or("/", |target| target.as_str());
        if target.starts_with('/') { target.to_owned() } else { format!("/{target}") }
    }

    /// The user name and the password before the host, as they were given; empty without any.
    pub(crate) fn user_info(&self) -> &str {
        let authority = self.0.authority().map_or("", |authority| authority.as_str());
        authority.rsplit_once('@').map_or("", |(user, _)| user)
    }

    /// Whether what is sent there is read by nobody on the way: it goes by TLS, or stays on this machine.
    pub(crate) fn is_confidential(&self) -> bool {
        let origin = self.origin();
        origin.tls || origin.is_loopback()
    }

    /// Whether the path ends as that of the older transport does, by habit.
    pub(crate) fn ends_in_sse(&self) -> bool {
        self.0.path().trim_end_matches('/').ends_with("/sse")
    }

    /// The address that a reference names, seen from this one (RFC 3986 section 5.2). A user name and a password stay within
    /// their origin.
    pub(crate) fn join(&self, reference: &str) -> Result<RemoteUrl, UrlError> {
        // A fragment is never sent to a server.
        let reference = reference.split('#').next().unwrap_or_default().trim();
        let scheme = self.0.scheme_str().unwrap_or("http").to_ascii_lowercase();
        let authority = self.0.authority().map_or("", |authority| authority.as_str());
        let path = if self.0.path().is_empty() { "/" } else { self.0.path() };
        if has_scheme(reference) {
            return reference.parse();
        }
        let with_path = |path: &str| {
            let (path, query) = path.split_at(path.find('?').unwrap_or(path.len()));
            format!("{scheme}://{authority}{}{query}", without_dots(path)).parse()
        };
        match reference.as_bytes() {
            [b'/', b'/', ..] => format!("{scheme}:{reference}").parse(),
            [b'/', ..] => with_path(reference),
            [] => Ok(self.clone()),
            [b'?', ..] => format!("{scheme}://{authority}{path}{reference}").parse(),
            _ => {
                let folder = path.rfind('/').map_or("/", |at| &path[..=at]);
                with_path(&format!("{folder}{reference}"))
            }
        }
    }
}

/// Whether a reference is a whole address: a scheme stands before its first slash.
fn has_scheme(reference: &str) -> bool {
    reference.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
    })
}

/// A path without `.` and `..` (RFC 3986 section 5.2.4).
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." if is_last => kept.push(""),
            "." => {}
            ".." => {
                kept.pop();
                if is_last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    format!("/{}", kept.join("/"))
}

impl FromStr for RemoteUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let text = bare(text);
        let text = text.split('#').next().unwrap_or_default();
        if text.is_empty() {
            return Err(UrlError::Empty);
        }
        if let Some(tail) = pasted::tail(text) {
            return Err(UrlError::Tail(tail));
        }
        if let Some(c) = pasted::strange_in_host(text) {
            return Err(UrlError::Host(c));
        }
        if let Some(c) = text.chars().find(|c| !c.is_ascii_graphic()) {
            return Err(UrlError::Character(c));
        }
        let Some((scheme, _)) = text.split_once("://").filter(|_| has_scheme(text)) else {
            return Err(UrlError::NoScheme);
        };
        if !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            return Err(UrlError::Scheme(crate::words::brief(scheme).into_owned()));
        }
        let uri: Uri = text.parse().map_err(|_| UrlError::NotAUrl)?;
        let authority = uri.authority().ok_or(UrlError::NoHost)?;
        if authority.host().is_empty() {
            return Err(UrlError::NoHost);
        }
        port_of(authority).map_err(|_: EndpointError| UrlError::Port)?;
        Ok(RemoteUrl(uri))
    }
}

impl fmt::Display for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = self.origin();
        let rest = if self.target() == "/" { "/" } else { "/…" };
        write!(f, "{}://{origin}{rest}", if origin.tls { "https" } else { "http" })
    }
}

impl fmt::Debug for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_kept_as_it_was_given_and_shown_up_to_its_port() {
        for (text, target, shown) in [
            ("http://127.0.0.1:5555/mcp", "/mcp", "http://127.0.0.1:5555/…"),
            (" HTTPS://Host/mcp/?k=s3cret#x", "/mcp/?k=s3cret", "https://host:443/…"),
            ("http://user:passw0rd@h?token=s3cret", "/?token=s3cret", "http://h:80/…"),
            ("https://[::1]:8443", "/", "https://[::1]:8443/"),
        ] {
            let url: RemoteUrl = text.parse().unwrap();
            assert_eq!((url.target().as_str(), url.to_string().as_str()), (target, shown), "{text}");
            assert!(!format!("{url:?}").contains("s3cret") && !format!("{url:?}").contains("passw0rd"));
        }
    }

    #[test]
    fn what_is_no_address_of_a_remote_server_is_told_without_repeating_it() {
        for (text, want) in [
            ("", UrlError::Empty),
            ("127.0.0.1:5555/mcp", UrlError::NoScheme),
            ("localhost:5555/mcp", UrlError::NoScheme),
            ("ws://h/s3cret", UrlError::Scheme("ws".into())),
            ("http:///s3cret", UrlError::NotAUrl),
            ("http://h:99999/s3cret", UrlError::Port),
            ("http://h/a b", UrlError::Character(' ')),
            ("http://h/ü", UrlError::Character('ü')),
            ("https://你好.example/mcp", UrlError::Host('你')),
            ("https://h/s3cret\\n", UrlError::Tail("\\n".into())),
            ("https://h/s3cret。", UrlError::Tail("。 (U+3002, ideographic full stop)".into())),
        ] {
            let error = text.parse::<RemoteUrl>().unwrap_err();
            assert_eq!(error, want, "{text}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn a_reference_is_resolved_by_the_rules_of_urls() {
        let go = |from: &str, reference: &str| {
            let joined = from.parse::<RemoteUrl>().unwrap().join(reference).unwrap();
            joined.reveal().to_string()
        };
        let base = "http://a:1/b/c/d?q";
        for (reference, want) in [
            ("/message?sessionId=1", "http://a:1/message?sessionId=1"),
            ("messages/?s=1", "http://a:1/b/c/messages/?s=1"),
            ("../g", "http://a:1/b/g"),
            ("../../../g", "http://a:1/g"),
            ("./g/./h/..", "http://a:1/b/c/g/"),
            ("?x", "http://a:1/b/c/d?x"),
            ("", "http://a:1/b/c/d?q"),
            ("//other/g", "http://other/g"),
            ("https://a:1/g#f", "https://a:1/g"),
            ("/g?url=http://x/../y", "http://a:1/g?url=http://x/../y"),
        ] {
            assert_eq!(go(base, reference), want, "{reference}");
        }
        assert_eq!(go("http://h", "m"), "http://h/m");
        assert_eq!(go("http://u:p@h/x", "/m"), "http://u:p@h/m");
        let from: RemoteUrl = "http://h/x".parse().unwrap();
        assert!(from.join("ftp://h/x").is_err() && from.join("http://h/a b").is_err());
    }

    #[test]
    fn origins_are_compared_by_scheme_host_and_port() {
        let origin = |text: &str| text.parse::<RemoteUrl>().unwrap().origin();
        assert_eq!(origin("http://Host/a"), origin("HTTP://host:80/b?x"));
        assert_eq!(origin("https://h/a"), origin("https://u@h:443/"));
        for (one, other) in [("http://h", "https://h"), ("http://h", "http://h:81"), ("http://h", "http://g")] {
            assert_ne!(origin(one), origin(other));
        }
    }
}
