//! HTTP CONNECT and SOCKS5 proxies from the usual environment variables.
//!
//! `HTTPS_PROXY` is for `wss://`, `HTTP_PROXY` for `ws://`, `ALL_PROXY` for both, `NO_PROXY` lists hosts without one;
//! lower case counts too. A loopback endpoint never uses a proxy. Names are always looked up by the proxy.

use std::fmt;
use std::net::IpAddr;
use std::sync::OnceLock;

use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_socks::tcp::Socks5Stream;

use super::dial::head::{HeadError, read_head};
use super::dial::{DialError, Step};
use crate::endpoint::{Endpoint, Secret};

/// Which endpoints are dialled through which proxy.
#[derive(Debug)]
pub struct Proxies(pub(super) Matcher);

impl Proxies {
    /// As the environment says. Read once: it doesn't change while we run.
    pub fn from_env() -> &'static Proxies {
        static FROM_ENV: OnceLock<Proxies> = OnceLock::new();
        FROM_ENV.get_or_init(|| Proxies(Matcher::from_env()))
    }

    /// The proxy for an endpoint, if it needs one. Fails if that is of a kind we don't speak.
    pub(super) fn proxy_for(&self, endpoint: &Endpoint) -> Result<Option<Proxy>, DialError> {
        if is_loopback(endpoint.host()) {
            return Ok(None);
        }
        // The rules are written for http and https, and need neither path nor query: the token stays here.
        let scheme = if endpoint.is_tls() { "https" } else { "http" };
        let host = endpoint.reveal().host().unwrap_or_default();
        let target = http::Uri::builder().scheme(scheme).authority(host).path_and_query("/").build();
        target.ok().and_then(|target| self.0.intercept(&target)).map(|found| Proxy::of(&found)).transpose()
    }
}

/// Whether a host is this machine, by its name or address.
pub(super) fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// A proxy to dial through. `Display` shows no credentials.
#[derive(Debug)]
pub(super) struct Proxy {
    pub(super) host: String,
    pub(super) port: u16,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// With the value of `Proxy-Authorization`.
    Connect(Option<Secret>),
    /// With user name and password.
    Socks5(Option<(Secret, Secret)>),
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            Kind::Connect(_) => "http",
            Kind::Socks5(_) => "socks5",
        };
        write!(f, "the proxy {scheme}://{}", super::dial::host_port(&self.host, self.port))
    }
}

impl Proxy {
    fn of(found: &Intercept) -> Result<Proxy, DialError> {
        let uri = found.uri();
        let scheme = uri.scheme_str().unwrap_or("http");
        let host = uri.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host).to_owned();
        let (kind, default_port) = match scheme {
            "http" => (Kind::Connect(found.basic_auth().and_then(|v| v.to_str().ok()).map(Secret::new)), 80),
            "socks5" | "socks5h" => {
                (Kind::Socks5(found.raw_auth().map(|(user, pass)| (Secret::new(user), Secret::new(pass)))), 1080)
            }
            _ => return Err(DialError::ProxyUnusable { proxy: format!("the proxy {scheme}://{host}") }),
        };
        Ok(Proxy { host, port: uri.port_u16().unwrap_or(default_port), kind })
    }

    /// Has the proxy, connected by `tcp`, connect to `host` and `port`.
    pub(super) async fn tunnel(&self, tcp: TcpStream, host: &str, port: u16) -> Result<TcpStream, DialError> {
        match &self.kind {
            Kind::Connect(authorization) => self.connect(tcp, host, port, authorization.as_ref()).await,
            Kind::Socks5(user) => self.socks5(tcp, host, port, user.as_ref()).await,
        }
    }

    /// RFC 9110 section 9.3.6.
    async fn connect(
        &self,
        mut tcp: TcpStream,
        host: &str,
        port: u16,
        authorization: Option<&Secret>,
    ) -> Result<TcpStream, DialError> {
        let target = super::dial::host_port(host, port);
        let authorization =
            authorization.map_or(String::new(), |value| format!("Proxy-Authorization: {}\r\n", value.reveal()));
        let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{authorization}\r\n");
        let written = tcp.write_all(request.as_bytes()).await;
        let head = match read_head(&mut tcp).await {
            Ok(head) => head,
            Err(HeadError::Lost(error)) => return Err(self.lost(&written.err().unwrap_or(error))),
            Err(HeadError::Tls | HeadError::NotHttp | HeadError::TooLong) => {
                return Err(self.rejected("does not speak HTTP; check its scheme and port"));
            }
        };
        match head.status {
            // Through a tunnel the endpoint speaks only when asked; what came already is no endpoint's.
            200..300 if head.rest.is_empty() => Ok(tcp),
            200..300 => Err(self.failed(target, "it sent more than its answer")),
            407 => Err(self.rejected(WRONG_CREDENTIALS)),
            403 | 405 => Err(self.rejected("does not allow this connection; ask who runs it, or set NO_PROXY")),
            status => Err(self.failed(target, format!("HTTP {status}"))),
        }
    }

    /// RFC 1928, RFC 1929.
    async fn socks5(
        &self,
        tcp: TcpStream,
        host: &str,
        port: u16,
        user: Option<&(Secret, Secret)>,
    ) -> Result<TcpStream, DialError> {
        use tokio_socks::Error;

        let opened = match user {
            None => Socks5Stream::connect_with_socket(tcp, (host, port)).await,
            Some((user, password)) => {
                let (user, password) = (user.reveal(), password.reveal());
                Socks5Stream::connect_with_password_and_socket(tcp, (host, port), user, password).await
            }
        };
        let error = match opened {
            Ok(stream) => return Ok(stream.into_inner()),
            Err(error) => error,
        };
        if let Error::Io(error) = &error {
            return Err(self.lost(error));
        }
        if matches!(error, Error::NoAcceptableAuthMethods | Error::PasswordAuthFailure(_) | Error::InvalidAuthValues(_))
        {
            return Err(self.rejected(WRONG_CREDENTIALS));
        }
        if matches!(error, Error::ConnectionNotAllowedByRuleset) {
            return Err(self.rejected("does not allow this connection; ask who runs it, or set NO_PROXY"));
        }
        if matches!(error, Error::InvalidResponseVersion) {
            return Err(self.rejected("does not speak SOCKS5; check its scheme and port"));
        }
        Err(self.failed(super::dial::host_port(host, port), error.to_string()))
    }

    fn lost(&self, error: &std::io::Error) -> DialError {
        DialError::Lost { peer: self.to_string(), step: Step::Proxy, reason: error.to_string() }
    }

    fn rejected(&self, reason: &'static str) -> DialError {
        DialError::ProxyRejected { proxy: self.to_string(), reason }
    }

    fn failed(&self, target: String, reason: impl Into<String>) -> DialError {
        DialError::Proxy { proxy: self.to_string(), target, reason: reason.into() }
    }
}

const WRONG_CREDENTIALS: &str = "wants another user name or password; put them into its URL, as in http://user:password@host:port \
     (special characters percent-encoded)";
