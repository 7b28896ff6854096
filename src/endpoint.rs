//! The address that a link dials. An endpoint carries the token, so nothing prints the whole by accident.

pub(crate) mod agent;
mod pasted;
mod remote;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::Uri;
use http::uri::Authority;

pub(crate) use pasted::{are_several, bare, is_of_token, is_plain_name, left_in_place, left_open};
pub(crate) use remote::RemoteUrl;

use crate::mcp::cloud;
pub(crate) use crate::secrecy::Secret;
use crate::secrecy::address::{self, TOKEN_LENGTH};
use crate::words::{a_character, character, is_unseen, meant};

/// The header by which whoever dials an endpoint says how new the lease is that lets it: a decimal number, which is higher for a later
/// lease. Our own endpoint refuses a lower one than it has seen; others pass it over.
pub(crate) const EPOCH_HEADER: &str = "Mcp-Pipe-Epoch";

/// A WebSocket endpoint, kept byte for byte as it was given, so that the token arrives unchanged.
///
/// `Display` and `Debug` show scheme, host, port and path; the query, any user name or
/// password, and what looks like a token in the path are shown as `…`. Only [`Endpoint::reveal`] gives the whole address.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Endpoint(Uri);

/// Why a text is no endpoint. Neither the message nor the remedy repeats the query, where the token is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Not a URL at all, or with characters that a URL can't hold.
    #[error("is not a valid URL (expected something like wss://host/path?token=…)")]
    NotAUrl,
    /// Nothing, or nothing in quotes.
    #[error("is empty")]
    Empty,
    /// A URL of another scheme.
    #[error("has the scheme \"{0}\"; only ws:// and wss:// can be dialled")]
    Scheme(String),
    /// No scheme, so that nothing says whether to use TLS.
    #[error("has no scheme")]
    NoScheme,
    /// A slash is missing behind the scheme.
    #[error("needs two slashes after {0}")]
    Slashes(&'static str),
    /// Something else than a colon follows the scheme.
    #[error("needs :// behind {0}")]
    Colon(&'static str),
    /// A token alone, which belongs behind `?token=`.
    #[error("is a token alone")]
    TokenAlone,
    /// A variable as shells have it, which is not replaced here.
    #[error("holds {0}, which is not replaced")]
    Variable(Variable),
    /// A character that would end the URL, or that no URL has.
    #[error("holds {} at character {at}, which no address may hold", a_character(*.c))]
    Character {
        /// The character.
        c: char,
        /// The character's place, from 1.
        at: usize,
    },
    /// A backslash behind the `?`, where none stands for a slash.
    #[error("holds {} at character {at}, which no address may hold", a_character('\\'))]
    Backslash {
        /// The place, from 1.
        at: usize,
    },
    /// What stands before a token in a header.
    #[error("has the word {0} before its token, as a header has")]
    Header(&'static str),
    /// More than one address.
    #[error("holds more than one address")]
    Several,
    /// The name of a variable or key, and then an address.
    #[error("begins with more than the address")]
    Surplus,
    /// No host.
    #[error("names no host")]
    NoHost,
    /// Something else than a port behind the host.
    #[error("has a port that is no number from 1 to 65535")]
    Port,
    /// The text of an example was left in.
    #[error("still holds the placeholder text of an example: {0}")]
    Placeholder(String),
    /// Brackets around what an address holds, as examples have them around a placeholder.
    #[error("holds something between {open} and {close}, which are no part of it")]
    Brackets {
        /// Before it.
        open: char,
        /// Behind it.
        close: char,
    },
    /// A token of no length, and the parameter that should hold it.
    #[error("has nothing behind its parameter {0}")]
    NoToken(&'static str),
    /// What came along behind the address.
    #[error("ends with {0}, which is no part of an address")]
    Tail(String),
    /// Letters of other scripts than Latin in the host, which only browsers replace.
    #[error("holds {} in the name of its host", a_character(*.0))]
    Host(char),
    /// Quotes of a word processor around it, or of another language, or brackets.
    #[error("stands between {} and {}, which are no part of an address", character(*.open), character(*.close))]
    Quotes {
        /// Before it.
        open: char,
        /// Behind it.
        close: char,
    },
}

/// A variable as shells write it, `$NAME` or `%NAME%`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// As it is written; `None` for one that may be a piece of something else.
    pub written: Option<String>,
    /// Its name, if it is plainly one.
    pub name: Option<String>,
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.written {
            Some(written) => write!(f, "the variable {written}"),
            None => f.write_str("a variable"),
        }
    }
}

impl EndpointError {
    /// What to do about the error in the config, where variables are replaced.
    pub(crate) fn remedy_in_config(&self) -> String {
        if let EndpointError::Variable(Variable { written, name }) = self {
            let name = name.as_deref().unwrap_or("NAME");
            // One that was replaced already brought it along.
            let is_value = written.as_deref().is_some_and(|written| written.starts_with("${"));
            let value = "write the whole value into the variable: what it holds is not looked at again";
            return if is_value { value.to_owned() } else { format!("write ${{{name}}} for it") };
        }
        self.remedy()
    }

    /// What to do about the error, wherever it stands.
    pub fn remedy(&self) -> String {
        let form = "the endpoint's whole address is wss://host/path?token=…";
        let whole = "write the endpoint's whole address, wss://host/path?token=…";
        match self {
            EndpointError::Character { c: '\n' | '\r', .. } => "write the address on one line".to_owned(),
            EndpointError::Character { c: ' ', .. } => "remove it, or write %20 for it".to_owned(),
            EndpointError::Character { c: '#', .. } => {
                "if a comment begins there, remove it with the #; else write %23 for it".to_owned()
            }
            EndpointError::Tail(tail) if tail == "\\" => {
                "remove it; if the address goes on in the next line, write the address on one line".to_owned()
            }
            EndpointError::Tail(_) | EndpointError::Backslash { .. } => "remove it".to_owned(),
            EndpointError::Header(_) => "remove that word and the blank behind it".to_owned(),
            EndpointError::Host(_) => IN_ASCII.to_owned(),
            EndpointError::Character { c: '\\', .. } => "write / for it".to_owned(),
            EndpointError::Character { c, .. } => match meant_in_address(*c).flatten() {
                Some(meant) => format!("write {meant} for it"),
                None => "remove it".to_owned(),
            },
            EndpointError::Several => {
                "write one; further servers may have their own, by \"endpoint\" in their entries".to_owned()
            }
            EndpointError::Surplus => "write the address alone, from ws:// or wss:// on".to_owned(),
            EndpointError::Quotes { .. } | EndpointError::Brackets { .. } => "remove both".to_owned(),
            EndpointError::NoScheme => {
                format!("write wss:// (or ws:// without TLS) in front of it; {form}")
            }
            EndpointError::Port => "correct it, or leave it out for 443 (wss) or 80 (ws)".to_owned(),
            EndpointError::Variable(_) => format!("{whole}; variables are replaced in the config only"),
            EndpointError::Placeholder(_) | EndpointError::NoToken(_) => {
                "paste your own endpoint URL there, as your console shows it".to_owned()
            }
            EndpointError::NotAUrl
            | EndpointError::Empty
            | EndpointError::Scheme(_)
            | EndpointError::Slashes(_)
            | EndpointError::Colon(_)
            | EndpointError::TokenAlone
            | EndpointError::NoHost => whole.to_owned(),
        }
    }
}

/// What to do about the name of a host with letters that only browsers replace (RFC 5890).
const IN_ASCII: &str = "write that name in its ASCII form, which begins with xn--: the address bar of a browser gives it when it is copied";

/// What stands in an address in place of a character that none holds: the ASCII character that it looks like, or nothing (the inner
/// `None`). `None` where a letter of another script may be meant as it is.
fn meant_in_address(c: char) -> Option<Option<char>> {
    let meant = meant(c);
    let is_fit = |meant: &char| meant.is_ascii_graphic() && !"\"'".contains(*meant);
    (meant.is_some() || is_unseen(c)).then(|| meant.filter(is_fit))
}

/// Whether a text where something else belongs is most likely an endpoint, perhaps without its scheme or a slash.
pub(crate) fn looks_like_endpoint(text: &str) -> bool {
    let begins = |scheme: &str| text.get(..scheme.len()).is_some_and(|t| t.eq_ignore_ascii_case(scheme));
    text.contains("://") || begins("ws:") || begins("wss:") || (text.contains('?') && text.contains('='))
}

/// Whether a text is the address of an example that was not filled in, and so holds no secret.
pub(crate) fn is_placeholder(text: &str) -> bool {
    pasted::is_example(bare(text))
}

/// Whether a text is a variable that was to be replaced, and nothing else: there is no secret in it.
pub(crate) fn is_variable(text: &str) -> bool {
    let inside = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')).or_else(|| text.strip_prefix('$'));
    let name = inside.or_else(|| text.strip_prefix('%')?.strip_suffix('%'));
    name.is_some_and(pasted::is_plain_name)
}

/// Whether a text is a variable as other programs write it, `{NAME}`, `{{NAME}}` or `{env:NAME}`, and nothing else.
pub(crate) fn is_in_braces(text: &str) -> bool {
    let inside = |text: &'_ str| Some(text.strip_prefix('{')?.strip_suffix('}')?.to_owned());
    let Some(once) = inside(text) else { return false };
    let name = inside(&once).unwrap_or(once);
    let name = name.trim();
    pasted::is_plain_name(name.strip_prefix("env:").unwrap_or(name))
}

/// Shortest text, in bytes, that is taken for a token where something else belongs.
const LEAST_TOKEN: usize = 32;

/// Whether a text where something else belongs is most likely a token: a JSON Web Token, or one long word with digits in it that
/// does not look like a path.
pub(crate) fn looks_like_token(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-_.~+/=%".contains(c);
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let is_path = text.starts_with(['/', '.', '~']) || text.rsplit('.').next().is_some_and(|end| end.len() <= 4);
    let is_jwt = text.starts_with("eyJ") && text.len() >= TOKEN_LENGTH;
    text.chars().all(is_part) && (is_jwt || (text.len() >= LEAST_TOKEN && digits >= 2 && !is_path))
}

impl Endpoint {
    /// The whole address, token included. Called where a link dials, where an endpoint's agent is told, and where secrets are
    /// taken out of texts; nowhere else.
    pub fn reveal(&self) -> &Uri {
        &self.0
    }

    /// Whether the connection is encrypted (`wss`).
    pub fn is_tls(&self) -> bool {
        self.0.scheme_str().is_some_and(|s| s.eq_ignore_ascii_case("wss"))
    }

    /// Whether the address is the cloud's and lacks the token, without which nobody is let in there.
    pub(crate) fn is_cloud_without_token(&self) -> bool {
        let query = self.0.query().unwrap_or_default();
        let has_token = query.split('&').any(|pair| pair.starts_with("token="));
        self.host().eq_ignore_ascii_case(cloud::HOST) && !has_token
    }

    /// What most likely became of the token's parameter, if it is none any more, and the remedy.
    pub(crate) fn slip(&self) -> Option<(&'static str, &'static str)> {
        pasted::slip(self.0.query().unwrap_or_default())
    }

    /// The host, without the brackets of an IPv6 address.
    pub fn host(&self) -> &str {
        let host = self.0.host().unwrap_or_default();
        host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host)
    }

    /// The port, 443 for `wss` and 80 for `ws` unless given.
    pub fn port(&self) -> u16 {
        self.0.port_u16().unwrap_or(if self.is_tls() { 443 } else { 80 })
    }

    /// Who is dialled.
    pub(crate) fn origin(&self) -> Origin {
        Origin::of(&self.0, self.is_tls())
    }
}

/// Whether only this machine reaches an address, also where IPv6 writes one of IPv4 (`::ffff:127.0.0.1`).
pub(crate) fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// Whether a host, in small letters and without brackets, is this machine for itself (RFC 8252 section 8.3; RFC 6761 section 6.3).
pub(crate) fn is_this_machine(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    name == "localhost" || name.ends_with(".localhost") || name.parse().is_ok_and(is_loopback)
}

/// Who is dialled: whether by TLS, host and port. `Display`: host and port, an IPv6 address in brackets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    pub(crate) tls: bool,
    /// In lower case, without the brackets of an IPv6 address.
    pub(crate) host: Box<str>,
    pub(crate) port: u16,
}

impl Origin {
    /// Whether it is on this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        is_this_machine(&self.host)
    }

    fn of(uri: &Uri, tls: bool) -> Self {
        let host = uri.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        Origin {
            tls,
            host: host.to_ascii_lowercase().into(),
            port: uri.port_u16().unwrap_or(if tls { 443 } else { 80 }),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// The port behind a host, if there is one. `Uri` doesn't tell a wrong port from a missing one.
pub(crate) fn port_of(authority: &Authority) -> Result<Option<u16>, EndpointError> {
    let text = authority.as_str();
    let address = text.rsplit_once('@').map_or(text, |(_, address)| address);
    let behind_ip = address.rsplit_once(']').map_or(address, |(_, rest)| rest);
    match behind_ip.split_once(':') {
        None | Some((_, "")) => Ok(None),
        Some((_, port)) if port.bytes().all(|b| b.is_ascii_digit()) => match port.parse() {
            Ok(0) | Err(_) => Err(EndpointError::Port),
            Ok(port) => Ok(Some(port)),
        },
        Some(_) => Err(EndpointError::Port),
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let text = bare(text);
        if text.is_empty() {
            return Err(EndpointError::Empty);
        }
        if let Some(fault) = pasted::fault(text) {
            return Err(fault);
        }
        let Some((scheme, _)) = text.split_once("://") else {
            let begins = |with: &&str| text.get(..with.len()).is_some_and(|t| t.eq_ignore_ascii_case(with));
            let without =
                |scheme: &&str| text.get(scheme.len()..).is_some_and(|rest| rest.starts_with([';', '/', ',']));
            let slashes = ["wss:", "ws:"].iter().find(|with| begins(with)).map(|with| EndpointError::Slashes(with));
            let colon =
                || ["wss", "ws"].iter().find(|with| begins(with) && without(with)).map(|s| EndpointError::Colon(s));
            let token = || looks_like_token(text).then_some(EndpointError::TokenAlone);
            return Err(slashes.or_else(colon).or_else(token).unwrap_or(EndpointError::NoScheme));
        };
        if !["ws", "wss"].iter().any(|s| scheme.eq_ignore_ascii_case(s)) {
            return Err(EndpointError::Scheme(scheme.chars().take(20).collect()));
        }
        let uri: Uri = text.parse().map_err(|_| EndpointError::NotAUrl)?;
        match uri.authority() {
            Some(authority) if !authority.host().is_empty() => {
                port_of(authority)?;
                Ok(Endpoint(uri))
            }
            _ => Err(EndpointError::NoHost),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&address::shown(&self.0.to_string()))
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn neither_display_nor_debug_shows_a_token_or_password() {
        for text in
            ["wss://h.example:8443/mcp/?token=s3cret", "ws://u:s3cret@h.example/x", "wss://h.example/?a=1&token=s3cret"]
        {
            let e: Endpoint = text.parse().unwrap();
            for shown in [format!("{e}"), format!("{e:?}")] {
                assert!(!shown.contains("s3cret"), "{shown}");
                assert!(shown.contains("h.example"), "{shown}");
            }
            assert_eq!(e.reveal().to_string(), text, "the address itself is verbatim");
        }
    }

    #[test]
    fn of_a_path_only_what_looks_like_a_token_is_hidden() {
        for (path, shown) in [
            ("/hook/s3cretS3cretS3cret/mcp/", "/hook/…/mcp/"),
            ("/mcp_endpoint/mcp/", "/mcp_endpoint/mcp/"),
            ("/home-assistant-gateway/v2", "/home-assistant-gateway/v2"),
            ("/", "/"),
        ] {
            let e: Endpoint = format!("wss://h{path}").parse().unwrap();
            assert_eq!(e.to_string(), format!("wss://h{shown}"));
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused_with_the_reason_and_without_the_token() {
        for (text, want) in [
            ("https://h/?token=s3cret", EndpointError::Scheme("https".into())),
            ("api.xiaozhi.me/mcp/?token=s3cret", EndpointError::NoScheme),
            ("wss://h/ x?token=s3cret", EndpointError::Character { c: ' ', at: 9 }),
            ("wss://h/x?token=s3cret#x", EndpointError::Character { c: '#', at: 23 }),
            ("WSS:/h/x?token=s3cret", EndpointError::Slashes("wss:")),
            ("wss//h/x?token=s3cret", EndpointError::Colon("wss")),
            ("WS;//h/x?token=s3cret", EndpointError::Colon("ws")),
            ("ws.example/x?token=s3cret", EndpointError::NoScheme),
            ("eyJhbGciOiJFUzI1NiJ9.s3cret.x", EndpointError::TokenAlone),
            ("$s3cret", EndpointError::Variable(Variable { written: None, name: None })),
            ("a b", EndpointError::Character { c: ' ', at: 2 }),
            ("wss:///x", EndpointError::NotAUrl),
            ("wss://h:99999/?token=s3cret", EndpointError::Port),
            ("wss://h:80443/?token=s3cret", EndpointError::Port),
            ("ws://h:80o4/?token=s3cret", EndpointError::Port),
            ("ws://u:1@h:0", EndpointError::Port),
            ("ws://[::1]:+80/", EndpointError::Port),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err();
            assert_eq!(error, want, "{text}");
            assert!(!error.to_string().contains("s3cret"));
        }
    }

    #[test]
    fn host_and_port_are_what_a_socket_needs() {
        let e: Endpoint = "ws://[::1]:8004/mcp".parse().unwrap();
        assert_eq!((e.host(), e.port(), e.is_tls()), ("::1", 8004, false));
        let e: Endpoint = "WSS://h/mcp".parse().unwrap();
        assert_eq!((e.host(), e.port(), e.is_tls()), ("h", 443, true));
        let e: Endpoint = "ws://u:80o4@h:65535/a:b?c:d".parse().unwrap();
        assert_eq!((e.host(), e.port()), ("h", 65535));
        let e: Endpoint = "ws://[::1]:".parse().unwrap();
        assert_eq!((e.host(), e.port()), ("::1", 80));
    }
}
