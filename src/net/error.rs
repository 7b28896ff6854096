//! Why a dial failed, in words that a person can act on. No message holds a token or a password.

use std::fmt;
use std::time::Duration;

use crate::error::FaultCode;

/// `host:port`, an IPv6 address in brackets.
pub(super) fn host_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// A dial that failed. `peer` is the endpoint's `host:port`, or the proxy's address where that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// The name has no address, or no name server answered.
    #[error(
        "the name {host} can't be looked up ({reason}); check its spelling, and this machine's network and name server"
    )]
    Dns {
        /// The name.
        host: String,
        /// What the resolver said.
        reason: String,
    },
    /// Each address of the peer refused.
    #[error("{peer} refused the connection: nothing listens there; check the port, and that it is running")]
    Refused {
        /// The peer that we dialled.
        peer: String,
    },
    /// No address of the peer could be reached.
    #[error("{peer} can't be reached ({reason}); check this machine's network and firewall")]
    Unreachable {
        /// The peer that we dialled.
        peer: String,
        /// What the system said.
        reason: String,
    },
    /// The connect timeout passed.
    #[error("{peer} took longer than {:.1} s ({step}); {}", limit.as_secs_f64(), step.remedy())]
    Timeout {
        /// The peer that we dialled.
        peer: String,
        /// What was under way.
        step: DialStep,
        /// The time for the whole dial.
        limit: Duration,
    },
    /// The connection ended during a step.
    #[error("{peer} ended the connection ({step}: {reason}); {}", step.remedy())]
    Lost {
        /// The peer that we dialled.
        peer: String,
        /// What was under way.
        step: DialStep,
        /// What the system said.
        reason: String,
    },
    /// TLS failed.
    #[error("TLS with {peer} failed: {problem}")]
    Tls {
        /// The peer that we dialled.
        peer: String,
        /// What was wrong.
        problem: TlsProblem,
    },
    /// No certificate authority can be trusted.
    #[error("{what}; {remedy}")]
    Trust {
        /// What couldn't be loaded, and why.
        what: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The proxy failed to connect us.
    #[error("{proxy} can't connect to {target}: {reason}")]
    Proxy {
        /// The proxy, without its credentials.
        proxy: String,
        /// The endpoint's `host:port`.
        target: String,
        /// What the proxy said.
        reason: String,
    },
    /// The proxy doesn't let us through.
    #[error("{proxy} {reason}")]
    ProxyRejected {
        /// The proxy, without its credentials.
        proxy: String,
        /// What it wants, and what to do.
        reason: &'static str,
    },
    /// A variable for a proxy that names none that we can use. Its value is shown nowhere: it may hold a password.
    #[error("the proxy in {variable} {reason}, or list the host in NO_PROXY")]
    ProxyUnusable {
        /// The variable's name.
        variable: &'static str,
        /// What is wrong with its value, and what to do.
        reason: &'static str,
    },
    /// A configured header can't be sent.
    #[error("the header \"{name}\" {reason}; correct it in the config")]
    Header {
        /// The header's name.
        name: String,
        /// Why it can't be sent.
        reason: &'static str,
    },
    /// The endpoint answered with an HTTP status instead of the upgrade.
    #[error("{peer} answered HTTP {status}{}{}", advice(*status), Quoted(body))]
    Http {
        /// The peer that we dialled.
        peer: String,
        /// The status code.
        status: u16,
        /// The time that the endpoint asks us to wait, not bounded yet.
        retry_after: Option<Duration>,
        /// The beginning of the body as one line, without secrets.
        body: String,
    },
    /// A redirect that would carry the token elsewhere.
    #[error(
        "{from} redirects (HTTP {status}) to {to}, and {why}; the token is not sent there. \
         If that is the right place, put it into the endpoint URL"
    )]
    RedirectRefused {
        /// The redirect's status code.
        status: u16,
        /// Scheme, host and port that we dialled.
        from: String,
        /// Scheme, host and port that it leads to.
        to: String,
        /// Why it isn't followed.
        why: &'static str,
    },
    /// Redirects without an end.
    #[error("{peer} redirected more than {limit} times; check the path in the endpoint URL")]
    TooManyRedirects {
        /// The peer that we dialled.
        peer: String,
        /// How many are followed.
        limit: usize,
    },
    /// What answered is no WebSocket server, or not a correct one.
    #[error("{peer} does not speak WebSocket as it should: {reason}")]
    NotWebSocket {
        /// The peer that we dialled.
        peer: String,
        /// What was wrong, and what to do.
        reason: String,
    },
}

impl DialError {
    /// What kind of fault it is.
    pub(crate) fn fault(&self) -> FaultCode {
        match self {
            DialError::Dns { .. } => FaultCode::EndpointDns,
            DialError::Refused { .. } => FaultCode::EndpointRefused,
            DialError::Unreachable { .. } => FaultCode::EndpointUnreachable,
            DialError::Timeout { .. } => FaultCode::EndpointTimeout,
            DialError::Lost { .. } => FaultCode::EndpointLost,
            DialError::Tls { .. } | DialError::Trust { .. } => FaultCode::EndpointTls,
            DialError::Proxy { .. } | DialError::ProxyRejected { .. } | DialError::ProxyUnusable { .. } => {
                FaultCode::EndpointProxy
            }
            DialError::Header { .. } => FaultCode::EndpointHeader,
            DialError::Http { status: 401 | 403, .. } => FaultCode::EndpointUnauthorized,
            DialError::Http { .. } | DialError::RedirectRefused { .. } | DialError::TooManyRedirects { .. } => {
                FaultCode::EndpointHttp
            }
            DialError::NotWebSocket { .. } => FaultCode::EndpointNotMcp,
        }
    }

    /// What kind of fault it is where a remote server was dialled.
    pub(crate) fn fault_of_remote(&self) -> FaultCode {
        match self {
            DialError::Dns { .. } => FaultCode::RemoteDns,
            DialError::Refused { .. } => FaultCode::RemoteRefused,
            DialError::Unreachable { .. } => FaultCode::RemoteUnreachable,
            DialError::Timeout { .. } => FaultCode::RemoteTimeout,
            DialError::Lost { .. } => FaultCode::RemoteLost,
            DialError::Tls { .. } | DialError::Trust { .. } => FaultCode::RemoteTls,
            DialError::Proxy { .. } | DialError::ProxyRejected { .. } | DialError::ProxyUnusable { .. } => {
                FaultCode::RemoteProxy
            }
            DialError::Header { .. }
            | DialError::Http { .. }
            | DialError::RedirectRefused { .. }
            | DialError::TooManyRedirects { .. }
            | DialError::NotWebSocket { .. } => FaultCode::RemoteHttp,
        }
    }
}

/// What a dial is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DialStep {
    /// Looking up the host.
    Dns,
    /// Connecting by TCP.
    Tcp,
    /// Asking the proxy to connect.
    Proxy,
    /// Loading the certificate authorities, or the TLS handshake.
    Tls,
    /// The WebSocket upgrade over TLS, and without.
    Upgrade,
    PlainUpgrade,
}

impl DialStep {
    fn remedy(self) -> &'static str {
        match self {
            DialStep::Dns => "check this machine's name server",
            DialStep::Tcp => "check host and port, and whether a firewall drops the packets or a proxy is needed",
            DialStep::Proxy => "check the proxy",
            DialStep::Tls => {
                "check that the port is the one for TLS; an endpoint without TLS begins with ws://, a remote server without it with http://"
            }
            DialStep::Upgrade => "check that the address is a WebSocket endpoint, and that it is not overloaded",
            DialStep::PlainUpgrade => {
                "check that the address is a WebSocket endpoint, and that it is not overloaded; if the port speaks TLS, write wss://"
            }
        }
    }
}

impl fmt::Display for DialStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DialStep::Dns => "looking up its name",
            DialStep::Tcp => "connecting by TCP",
            DialStep::Proxy => "waiting for the proxy to connect",
            DialStep::Tls => "TLS handshake",
            DialStep::Upgrade | DialStep::PlainUpgrade => "WebSocket upgrade",
        })
    }
}

/// What was wrong with TLS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TlsProblem {
    /// No trusted authority signed the certificate.
    #[error(
        "its certificate is signed by nobody this machine trusts; if a company proxy or an own CA is at work, name its \
         PEM file in SSL_CERT_FILE or as `caFile` in the config"
    )]
    UnknownIssuer,
    /// The certificate is out of date.
    #[error("its certificate has expired; renew it there, or check this machine's clock")]
    Expired,
    /// The certificate is not valid yet.
    #[error("its certificate is not valid yet; check this machine's clock")]
    NotYetValid,
    /// The certificate is for other names.
    #[error("its certificate is not for this name{presented}; use a host name that it is for in the URL")]
    WrongName {
        /// The names that the certificate is for, with words around them; may be empty.
        presented: String,
    },
    /// The certificate was withdrawn.
    #[error("its certificate was revoked; a new one is needed there")]
    Revoked,
    /// The certificate is an authority's own, as `openssl req -x509` makes them.
    #[error(
        "its self-signed certificate is made as an authority's (CA:TRUE), which no server may show; make it with \
         CA:FALSE, then name it in SSL_CERT_FILE or as `caFile` in the config"
    )]
    Authority,
    /// Another fault of the certificate.
    #[error("its certificate is not acceptable ({0}); a correct one is needed there")]
    Certificate(String),
    /// The port doesn't speak TLS.
    #[error(
        "this port does not speak TLS, most likely plain HTTP: use the TLS port; \
         an endpoint without TLS begins with ws://, a remote server without it with http://"
    )]
    Plain,
    /// The host can't be in a certificate.
    #[error("the host is no name that a certificate could be for; correct it in the URL")]
    BadName,
    /// Anything else, in rustls' words.
    #[error("{0}")]
    Other(String),
}

/// What a status means and what to do, after `HTTP nnn`.
fn advice(status: u16) -> &'static str {
    match status {
        401 | 403 => {
            ": it rejects the token or the path; copy a fresh endpoint URL, with its token, from its console, \
             and check the path to the last slash"
        }
        404 | 405 | 410 => ": there is no WebSocket endpoint at this path; check the endpoint URL to the last slash",
        407 => ": a proxy on the way wants credentials; put them into the proxy's URL",
        429 => ": too many connections or attempts; other programs may use the same token",
        400 | 426 => ": it doesn't take this request as a WebSocket upgrade; check scheme and path of the endpoint URL",
        500.. => ": the endpoint, or a proxy before it, is in trouble; it is tried again",
        200..300 => ": an ordinary web page, not a WebSocket endpoint; check the endpoint URL",
        300..400 => {
            ": a redirect that doesn't say where to; check scheme, host and path of the endpoint URL to the last slash, as a browser \
             would end up with it"
        }
        409 => ": something else is in the way of this connection there; its words say what",
        408 | 425 => ": it wants the same again, a bit later, and gets that",
        _ => {
            ": an answer that no WebSocket endpoint gives; check the endpoint URL, and ask who runs what answers there"
        }
    }
}

/// A body after a message, if there is one.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " (it says: {})", self.0) }
    }
}
