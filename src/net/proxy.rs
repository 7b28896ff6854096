//! HTTP CONNECT and SOCKS5 proxies from the usual environment variables.
//!
//! `HTTPS_PROXY` is for `wss://` and `https://`, `HTTP_PROXY` for `ws://` and `http://`, `ALL_PROXY` for all; `NO_PROXY` lists hosts that are dialled
//! without. Lower case counts too, blank variables don't. A loopback endpoint never uses a proxy. Names are always looked up by
//! the proxy.

use std::fmt;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::uri::Authority;
use hyper_util::client::proxy::matcher::Matcher;
use percent_encoding::percent_decode_str;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_socks::tcp::Socks5Stream;

use super::error::{DialError, DialStep, host_port};
use super::head::{HeadError, read_head};
use crate::config::proxies;
use crate::endpoint::{self, Origin, Secret};
use crate::process::limits;

/// Which endpoints are dialled through which proxy.
#[derive(Debug)]
pub struct Proxies {
    /// For `ws://` and `http://`.
    plain: Option<Rule>,
    /// For `wss://` and `https://`.
    secure: Option<Rule>,
    /// Knows the hosts of `NO_PROXY`; the proxy that it would name is made up.
    exceptions: Matcher,
}

/// A proxy; or the variable that should name one, and why it doesn't. In the latter case nothing is dialled.
type Rule = Result<Proxy, (&'static str, &'static str)>;

/// The proxies of the process.
static IN_USE: OnceLock<Proxies> = OnceLock::new();

impl Proxies {
    /// Takes the proxies of the process from these variables. To be called before the first dial; later calls do nothing.
    pub fn use_variables(variable: impl Fn(&str) -> Option<String>) {
        // Only a second call fails, and then the first call's proxies stay.
        let _ = IN_USE.set(Proxies::of(variable));
    }

    /// The proxies of the process; those of the environment, if no others were set.
    pub fn in_use() -> &'static Proxies {
        IN_USE.get_or_init(|| Proxies::of(|name| Some(std::env::var_os(name)?.to_string_lossy().into_owned())))
    }

    /// The proxies that these variables name; a blank variable names none.
    pub(super) fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let first = |names: &[&'static str]| {
            names.iter().find_map(|&name| Some((name, variable(name).filter(|value| !value.trim().is_empty())?)))
        };
        let rule = |names| {
            let (name, value) = first(names).or_else(|| first(&proxies::ALL))?;
            Some(Proxy::parse(value.trim()).map_err(|why| (name, why)))
        };
        // In a CGI program, the upper-case name is a header of whoever asks (CVE-2016-5385).
        let is_cgi = variable("REQUEST_METHOD").is_some();
        let no = first(&proxies::EXCEPT).map_or_else(String::new, |(_, hosts)| hosts);
        Proxies {
            plain: rule(if is_cgi { &proxies::PLAIN[1..] } else { &proxies::PLAIN }),
            secure: rule(&proxies::SECURE),
            exceptions: Matcher::builder().all("http://proxy.invalid").no(no).build(),
        }
    }

    /// The proxy for whoever is dialled, if one is to be used. Fails if the variable that should name it can't be understood.
    pub(super) fn proxy_for(&self, origin: &Origin) -> Result<Option<&Proxy>, DialError> {
        let rule = if origin.tls { &self.secure } else { &self.plain };
        match rule {
            Some(_) if origin.is_loopback() || self.excepts(origin) => Ok(None),
            Some(Ok(proxy)) => Ok(Some(proxy)),
            Some(Err((variable, reason))) => Err(DialError::ProxyUnusable { variable, reason }),
            None => Ok(None),
        }
    }

    fn excepts(&self, origin: &Origin) -> bool {
        // The matcher is made for http and https. It needs neither path nor query, so the token stays here.
        let host = &*origin.host;
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let target = http::Uri::builder().scheme("http").authority(host).path_and_query("/").build();
        target.is_ok_and(|target| self.exceptions.intercept(&target).is_none())
    }
}

/// A proxy to dial through. `Display` shows no credentials.
#[derive(Debug)]
pub(super) struct Proxy {
    pub(super) host: String,
    pub(super) port: u16,
    kind: Protocol,
}

#[derive(Debug)]
enum Protocol {
    /// HTTP CONNECT, with the value of `Proxy-Authorization`.
    Connect(Option<Secret>),
    /// SOCKS5, with user name and password.
    Socks5(Option<(Secret, Secret)>),
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            Protocol::Connect(_) => "http",
            Protocol::Socks5(_) => "socks5",
        };
        write!(f, "the proxy {scheme}://{}", host_port(&self.host, self.port))
    }
}

impl Proxy {
    /// The proxy that a variable's value names, or why it names none. A character that would end the authority inside a
    /// password is refused: otherwise pieces of the password would become the host, and show in the log.
    fn parse(text: &str) -> Result<Proxy, &'static str> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user, address) = rest.rsplit_once('@').map_or((None, rest), |(user, address)| (Some(user), address));
        let credentials = user.map(|user| {
            let (user, password) = user.split_once(':').unwrap_or((user, ""));
            [user, password].map(|text| percent_decode_str(text).decode_utf8_lossy())
        });
        let (kind, default_port) = match scheme.to_ascii_lowercase().as_str() {
            "http" => {
                let basic = |[user, password]: [_; 2]| BASE64_STANDARD.encode(format!("{user}:{password}"));
                (Protocol::Connect(credentials.map(|both| Secret::new(format!("Basic {}", basic(both))))), 80)
            }
            // Desktops write `socks` for proxies that nearly always speak version 5; the dial tells where one doesn't.
            "socks5" | "socks5h" | "socks" => {
                (Protocol::Socks5(credentials.map(|[user, password]| (Secret::new(user), Secret::new(password)))), 1080)
            }
            _ => return Err(UNKNOWN_KIND),
        };
        let address: Authority = address.parse().map_err(|_| NO_URL)?;
        let port = endpoint::port_of(&address).map_err(|_| NO_URL)?;
        let host = address.host();
        if host.is_empty() || rest.contains(['/', '?', '#']) {
            return Err(NO_URL);
        }
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host).to_owned();
        Ok(Proxy { host, port: port.unwrap_or(default_port), kind })
    }

    /// Has the proxy, connected by `tcp`, connect to `host` and `port`.
    pub(super) async fn tunnel(&self, tcp: TcpStream, host: &str, port: u16) -> Result<TcpStream, DialError> {
        match &self.kind {
            Protocol::Connect(authorization) => self.connect(tcp, host, port, authorization.as_ref()).await,
            Protocol::Socks5(user) => self.socks5(tcp, host, port, user.as_ref()).await,
        }
    }

    /// Asks an HTTP proxy to connect (RFC 9110 section 9.3.6).
    async fn connect(
        &self,
        mut tcp: TcpStream,
        host: &str,
        port: u16,
        authorization: Option<&Secret>,
    ) -> Result<TcpStream, DialError> {
        let target = host_port(host, port);
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
            // Through a tunnel the endpoint speaks only when asked, so bytes that came already are not the endpoint's.
            200..300 if head.rest.is_empty() => Ok(tcp),
            200..300 => Err(self.failed(target, "it sent more than its answer")),
            407 => Err(self.rejected(WRONG_CREDENTIALS)),
            403 | 405 => Err(self.rejected("does not allow this connection; ask who runs it, or set NO_PROXY")),
            status => Err(self.failed(target, format!("HTTP {status}"))),
        }
    }

    /// Asks a SOCKS5 proxy to connect (RFC 1928, RFC 1929).
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
        Err(self.failed(host_port(host, port), error.to_string()))
    }

    fn lost(&self, error: &std::io::Error) -> DialError {
        DialError::Lost { peer: self.to_string(), step: DialStep::Proxy, reason: limits::in_words(error) }
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
const UNKNOWN_KIND: &str = "is of a kind that is not supported; use http:// (CONNECT) or socks5://";
const NO_URL: &str = "is no URL such as http://user:password@host:port; correct it (special characters of the password \
     percent-encoded: # is %23, / is %2F, ? is %3F)";
