//! The gateway: the servers of this run for every MCP client that comes, over HTTP.
//!
//! # Theory of operation
//!
//! [`Gateway::answer`] takes one HTTP request and gives one answer, whatever has brought the request (`listener`: a socket).
//! Whoever may ask is decided first (`guard`). A client's conversation is a guest of the pipe (`crate::guest`), so everything
//! that holds for peers holds for it; what this folder adds is how HTTP carries a conversation: its messages come by POST, and
//! go out in streams (`session`).

mod cors;
mod door;
mod events;
mod guard;
mod legacy;
pub(crate) mod listener;
mod modern;
mod path;
mod refusals;
mod reply;
mod session;
mod sessions;
mod socket;
mod sse;
mod stall;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::io::DuplexStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;

use self::door::{Bucket, Denied, Key};
use self::guard::{Guard, Refused};
use self::modern::{Held, Tools};
use self::path::Place;
use self::refusals::{Refusal, Refusals};
use self::reply::Answer;
use self::sessions::{Scope, Sessions};
use self::socket::Sockets;
use crate::config::{GatewaySpec, GatewayTls, ServerSpec};
use crate::control::status::{CountedClient, Status};
use crate::error::{Code, Place as At, Problem};
use crate::mcp::reply::{INTERNAL, INVALID_REQUEST, error_with};
use crate::net::tls::server;
use crate::pipe::membership::{Manner, NewGuest, Shown};
use crate::pipe::reception::Reception;
use crate::process::aside::aside;
use crate::tools::{self, ToolPolicy};
use crate::words::counted;

/// Longest time for a body to come: the largest needs that on a slow line.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long a client is told to wait before it tries again where nobody knows better.
const LATER: Duration = Duration::from_secs(5);

/// JSON-RPC errors of MCP's field, for legacy clients: who asks is not known, or asks too often.
const NOT_ALLOWED: i32 = -32003;
const TOO_OFTEN: i32 = -32004;

/// An address with servers, for whoever may use it.
#[derive(Debug)]
struct Gate {
    scope: Scope,
    shown: Arc<Shown>,
    /// Most streams of a session that are read at a time.
    max_streams: usize,
    /// Largest body of a request, in bytes.
    max_body: usize,
    /// What is known of its tools.
    tools: Arc<Tools>,
}

/// What one key, or nobody's, opens.
#[derive(Debug)]
struct Gates {
    all: Gate,
    each: HashMap<Arc<str>, Gate>,
}

/// What the config says that counts.
#[derive(Debug)]
struct Terms {
    spec: Arc<GatewaySpec>,
    guard: Guard,
    /// Without one everybody is let in.
    keys: Vec<Arc<Key>>,
    /// What is there for those who need no key.
    open: Gates,
    /// How often they may ask.
    bucket: Bucket,
    /// What each key opens, by its name.
    by_key: HashMap<Arc<str>, Gates>,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Gateway {
    terms: RwLock<Arc<Terms>>,
    sessions: Sessions,
    /// Those of HTTP+SSE, each of which is as long as its stream.
    sse: Arc<Sessions>,
    sockets: Sockets,
    encryption: RwLock<Option<Encryption>>,
    /// Requests without a session that wait for their clients.
    held: Arc<Held>,
    refusals: Refusals,
    /// Cancelled when all ends.
    over: CancellationToken,
    reception: Reception,
    status: Status,
}

/// How connections are encrypted.
#[derive(Debug, Clone)]
struct Encryption(Arc<ServerConfig>);

impl Encryption {
    /// As the config says. Reads its files.
    async fn of(spec: &GatewaySpec) -> anyhow::Result<Option<Self>> {
        let Some(GatewayTls { cert_file, key_file, client_ca_file }) = spec.tls.clone() else { return Ok(None) };
        let read = aside(move || server::config(&cert_file, &key_file, client_ca_file.as_deref())).await?;
        Ok(Some(Encryption(read.map_err(anyhow::Error::msg)?)))
    }
}

/// Looks into the files of the gateway's TLS connections, which are named at this place. Blocks.
///
/// # Errors
/// One of them can't be used.
pub(crate) fn check_tls(place: impl Into<At>, tls: &GatewayTls) -> Result<(), Problem> {
    let GatewayTls { cert_file, key_file, client_ca_file } = tls;
    let unusable = |why: String| {
        let remedy = "name files in PEM form: the certificate, its private key, the authorities of clients";
        Problem::new(place, Code::FileUnreadable.says(why), remedy)
    };
    server::config(cert_file, key_file, client_ca_file.as_deref()).map(drop).map_err(unusable)
}

impl Terms {
    fn of(spec: &Arc<GatewaySpec>, servers: &[ServerSpec]) -> Self {
        let now = Instant::now();
        let is_local = spec.listen.ip().is_loopback();
        let guard = Guard { hosts: spec.hosts.clone(), origins: spec.cors.clone(), is_local };
        let key =
            |key: &_| Arc::new(Key { spec: Clone::clone(key), bucket: Bucket::new(spec.requests_per_second, now) });
        let keys: Vec<_> = spec.api_keys.iter().map(key).collect();
        let by_key = keys.iter().map(|key| (key.spec.name.clone(), Gates::of(spec, servers, Some(key)))).collect();
        let open = Gates::of(spec, servers, None);
        let bucket = Bucket::new(spec.requests_per_second, now);
        Terms { spec: spec.clone(), guard, keys, open, bucket, by_key }
    }
}

impl Gates {
    /// What is shown to whoever has this key.
    fn of(spec: &GatewaySpec, servers: &[ServerSpec], key: Option<&Arc<Key>>) -> Self {
        let name = key.map(|key| key.spec.name.clone());
        let gate = |server: Option<Arc<str>>, shown: Shown| Gate {
            scope: Scope { server, key: name.clone() },
            shown: Arc::new(shown),
            max_streams: spec.max_streams,
            max_body: spec.max_body,
            tools: Arc::default(),
        };
        let is_seen = |server: &&ServerSpec| {
            let of_key = key.and_then(|key| key.spec.servers.as_ref());
            of_key.is_none_or(|names| names.contains(&server.name))
        };
        let sharing = servers.first().map(|server| server.sharing).unwrap_or_default();
        let let_through = key.filter(|key| key.spec.tools.chooses()).map(|key| {
            let ToolPolicy { allow, deny, .. } = (*key.spec.tools).clone();
            let names = servers.iter().filter(is_seen).map(|server| server.name.clone()).collect();
            let of_keys = spec.api_keys.iter().position(|one| one.name == key.spec.name).unwrap_or_default();
            let place = format!("gateway.apiKeys[{of_keys}].tools (key {})", key.spec.name).into();
            Arc::new(tools::Gate { place, allow, deny, servers: names })
        });
        let policy = |server: &ServerSpec| match &let_through {
            Some(gate) => Arc::new(ToolPolicy { gate: Some(gate.clone()), ..(*server.tools).clone() }),
            None => server.tools.clone(),
        };
        let seen: Vec<(Arc<str>, Arc<ToolPolicy>)> =
            servers.iter().filter(is_seen).map(|server| (server.name.clone(), policy(server))).collect();
        let alone = |one: &(Arc<str>, Arc<ToolPolicy>)| {
            let shown = Shown { servers: vec![one.clone()], sharing, manner: Manner::AsOne };
            (one.0.clone(), gate(Some(one.0.clone()), shown))
        };
        Gates {
            each: seen.iter().map(alone).collect(),
            all: gate(None, Shown { servers: seen, sharing, manner: Manner::Together }),
        }
    }

    fn each(&self) -> impl Iterator<Item = &Gate> {
        self.each.values().chain([&self.all])
    }

    /// What is at a place, if there is anything.
    fn at(&self, place: &Place) -> Option<&Gate> {
        let name = match place {
            Place::Server(name) => Some(name),
            Place::Socket(name) | Place::Events(name) => name.as_ref(),
            Place::All | Place::ByKey(_) | Place::Messages => None,
            Place::Offer | Place::Live | Place::Ready | Place::Nowhere => None,
        };
        name.map_or(Some(&self.all), |name| self.each.get(&**name))
    }
}

impl Gateway {
    /// A gateway to these servers.
    pub(crate) fn new(spec: &Arc<GatewaySpec>, servers: &[ServerSpec], reception: Reception, status: Status) -> Self {
        let terms = RwLock::new(Arc::new(Terms::of(spec, servers)));
        Gateway {
            terms,
            sessions: Sessions::default(),
            sse: Arc::default(),
            sockets: Sockets::default(),
            encryption: RwLock::default(),
            held: Arc::new(Held::new(modern::MAX_HELD, modern::HELD)),
            refusals: Refusals::default(),
            over: CancellationToken::new(),
            reception,
            status,
        }
    }

    /// Reads the files for encryption anew, which count from the next connection on.
    ///
    /// # Errors
    /// One of them can't be used: what was read before still counts.
    pub(crate) async fn encrypt_anew(&self) -> anyhow::Result<()> {
        let encryption = Encryption::of(&self.terms().spec).await?;
        self.encrypt(encryption);
        Ok(())
    }

    fn encrypt(&self, encryption: Option<Encryption>) {
        *self.encryption.write().unwrap_or_else(PoisonError::into_inner) = encryption;
    }

    fn encryption(&self) -> Option<Encryption> {
        self.encryption.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What counts now.
    fn terms(&self) -> Arc<Terms> {
        // Nothing panics while it is held.
        self.terms.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has other terms, or other servers, count from now on. Conversations go on as far as their keys and servers are still there.
    pub(crate) async fn change(&self, spec: &Arc<GatewaySpec>, servers: &[ServerSpec]) {
        let terms = Arc::new(Terms::of(spec, servers));
        let before = {
            let mut now = self.terms.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *now, terms.clone())
        };
        for gate in before.gates() {
            let is_same_key = before.hash_of(gate) == terms.hash_of(gate);
            let after = terms.gates().find(|other| is_same_key && other.scope == gate.scope);
            if after.is_none() {
                self.sessions.end_of(&gate.scope);
                self.sse.end_of(&gate.scope);
                self.held.end_of(&gate.scope);
            }
            self.reception.show(gate.shown.clone(), after.map(|gate| gate.shown.clone())).await;
        }
    }

    /// Answers one request.
    pub(crate) async fn answer<B>(&self, request: Request<B>) -> Answer
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let terms = self.terms();
        let (head, body) = request.into_parts();
        let reader = cors::reader(&head.headers, &terms.guard.origins);
        let has_origin = head.headers.contains_key(http::header::ORIGIN);
        let mut answer = match terms.guard.check(&head.uri, &head.headers) {
            Err(Refused::Host) => {
                self.refusals.note(Refusal::Host);
                let why = "this host is not known by that name; if it is yours, add it to `hosts` of `gateway`";
                reply::error(StatusCode::FORBIDDEN, None, INVALID_REQUEST, why)
            }
            Err(Refused::Origin) => {
                self.refusals.note(Refusal::Origin);
                let why = "pages of that origin may not ask here; if they may, add it to `cors` of `gateway`";
                reply::error(StatusCode::FORBIDDEN, None, INVALID_REQUEST, why)
            }
            Ok(()) if cors::is_preflight(&head.method, &head.headers) => {
                cors::preflight(&head.headers, reader.as_ref())
            }
            Ok(()) => self.answer_at(&terms, path::place(head.uri.path()), head, body).await,
        };
        if answer.status() == StatusCode::UNAUTHORIZED {
            self.refusals.note(Refusal::Key);
        }
        if has_origin {
            cors::tell(&mut answer, reader);
        }
        answer
    }

    /// Answers a request that comes from where it may.
    async fn answer_at<B>(&self, terms: &Terms, place: Place, head: http::request::Parts, body: B) -> Answer
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if !matches!(place, Place::Socket(_)) && socket::is_wanted(&head.headers) {
            let why = "this address is not for WebSocket: its clients use /ws, or /ws/SERVER for one server";
            return reply::error(StatusCode::BAD_REQUEST, None, INVALID_REQUEST, why);
        }
        let is_looked_at = matches!(head.method, Method::GET | Method::HEAD);
        let gates = match &place {
            Place::Offer | Place::Live | Place::Ready if !is_looked_at => return reply::other_method("GET, HEAD"),
            Place::Live => return reply::text(StatusCode::OK, "ok"),
            Place::Ready => return self.ready(terms.keys.is_empty()),
            Place::Offer => return offer(self.gates(terms, &head.headers, None).ok(), terms.spec.sse),
            Place::Nowhere => return nowhere(),
            Place::Events(_) | Place::Messages if !terms.spec.sse => return nowhere(),
            Place::ByKey(key) => self.gates(terms, &head.headers, Some(key)),
            Place::All | Place::Server(_) | Place::Socket(_) | Place::Events(_) | Place::Messages => {
                self.gates(terms, &head.headers, None)
            }
        };
        let gates = match gates {
            Ok(gates) => gates,
            Err(refused) => return *refused,
        };
        let Some(gate) = gates.at(&place) else { return nowhere() };
        match place {
            Place::Socket(_) => self.socket(gate, head).await,
            Place::Events(_) => self.begin_sse(gate, &gates.all.scope, &head.method, head.uri.path()).await,
            Place::Messages => self.post_sse(gate, head, body).await,
            Place::All | Place::Server(_) | Place::ByKey(_) => self.mcp(gate, &place, head, body).await,
            Place::Offer | Place::Live | Place::Ready | Place::Nowhere => nowhere(),
        }
    }

    /// What a request opens by its key.
    fn gates<'a>(
        &self,
        terms: &'a Terms,
        headers: &HeaderMap,
        in_path: Option<&str>,
    ) -> Result<&'a Gates, Box<Answer>> {
        let (gates, bucket) = terms.opened(headers, in_path)?;
        match bucket.take(Instant::now()) {
            Ok(()) => Ok(gates),
            Err(wait) => {
                let why = "more requests than the config allows (requestsPerSecond)";
                let refused = refused(headers, StatusCode::TOO_MANY_REQUESTS, (TOO_OFTEN, "rate_limited"), why);
                Err(Box::new(later(refused, wait)))
            }
        }
    }

    /// Answers a request at an address with servers.
    async fn mcp<B>(&self, gate: &Gate, place: &Place, head: http::request::Parts, body: B) -> Answer
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let headers = &head.headers;
        match head.method {
            Method::POST => {
                let body = match collect(gate.max_body, headers, body).await {
                    Ok(body) => body,
                    Err(refused) => return *refused,
                };
                // The key may have been taken away while the body came.
                let terms = self.terms();
                let key = if let Place::ByKey(key) = place { Some(&**key) } else { None };
                let gate = match terms.opened(headers, key).map(|(gates, _)| gates.at(place)) {
                    Ok(Some(gate)) => gate,
                    Ok(None) => return nowhere(),
                    Err(refused) => return *refused,
                };
                match legacy::read(body) {
                    Ok((body, scanned)) if modern::is_modern(headers, &body, &scanned) => {
                        self.post_modern(gate, headers, body, scanned).await
                    }
                    Ok((body, scanned)) => self.post_legacy(gate, headers, body, scanned).await,
                    Err(refused) => *refused,
                }
            }
            Method::GET | Method::DELETE if modern::is_modern_header(headers) => reply::other_method("POST"),
            Method::GET => self.get_legacy(gate, headers),
            Method::DELETE => self.delete_legacy(gate, headers),
            _ => reply::other_method("POST, GET, DELETE"),
        }
    }

    /// Announces a guest to the pipe. `None`: the pipe takes none.
    ///
    /// `at`: by which address it comes, without the server's name.
    async fn receive(&self, gate: &Gate, at: &str) -> Option<DuplexStream> {
        self.receive_as(gate, at, false).await
    }

    /// The same. `judges`: whether it says for itself what it can't be asked, and after how long.
    async fn receive_as(&self, gate: &Gate, at: &str, judges: bool) -> Option<DuplexStream> {
        // The log names the server besides where it is the only one.
        let name = format!("a client at {at}").into();
        let guest = NewGuest { name, shown: gate.shown.clone(), judges };
        let lines = self.reception.receive(guest).await?.lines;
        // What it is shown may have been taken away meanwhile, and then nobody would tell it.
        let is_shown = self.terms().gates().any(|now| Arc::ptr_eq(&now.shown, &gate.shown));
        is_shown.then_some(lines)
    }

    /// A place for another conversation, if there is one left.
    fn place(&self) -> Option<CountedClient> {
        let spec = &self.terms().spec;
        self.status.count_client(spec.max_sessions).or_else(|| {
            self.sessions.sweep(spec.session_idle, Instant::now());
            self.status.count_client(spec.max_sessions)
        })
    }

    /// Whether every server answers, and else which do not, by their names where anybody may know these.
    fn ready(&self, names: bool) -> Answer {
        let waits = self.status.unwell();
        match (&*waits, names) {
            ([], _) => reply::text(StatusCode::OK, "ok"),
            (waits, true) => {
                reply::text(StatusCode::SERVICE_UNAVAILABLE, format_args!("waiting for {}", waits.join(", ")))
            }
            (waits, false) => reply::text(
                StatusCode::SERVICE_UNAVAILABLE,
                format_args!("waiting for {}", counted(waits.len(), "server")),
            ),
        }
    }

    /// Ends the sessions that nobody uses any more.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        self.sessions.sweep(self.terms().spec.session_idle, now);
        self.held.sweep(now);
    }

    /// Ends all sessions, and all streams besides.
    pub(crate) fn end_all(&self) {
        self.over.cancel();
        self.held.end_all();
        self.sessions.end_all();
        self.sse.end_all();
    }
}

impl Terms {
    /// All gates, for everybody.
    fn gates(&self) -> impl Iterator<Item = &Gate> {
        let open = self.keys.is_empty().then_some(&self.open);
        open.into_iter().chain(self.by_key.values()).flat_map(Gates::each)
    }

    /// What a request opens by its key, and how often that may be asked.
    fn opened(&self, headers: &HeaderMap, in_path: Option<&str>) -> Result<(&Gates, &Bucket), Box<Answer>> {
        match (&*self.keys, in_path) {
            ([], None) => Ok((&self.open, &self.bucket)),
            // Where there are no keys, none is in the path.
            ([], Some(_)) => Err(Box::new(nowhere())),
            (keys, in_path) => {
                let key =
                    door::admitted(keys, headers, in_path).map_err(|denied| Box::new(denied_as(denied, headers)))?;
                let Some(gates) = self.by_key.get(&key.spec.name) else { return Err(Box::new(nowhere())) };
                Ok((gates, &key.bucket))
            }
        }
    }

    /// The key of a gate, as far as anybody knows.
    fn hash_of(&self, gate: &Gate) -> Option<[u8; 32]> {
        let name = gate.scope.key.as_ref()?;
        self.keys.iter().find(|key| key.spec.name == *name).map(|key| key.spec.hash)
    }
}

/// What is offered here, for a person: with the names of servers for those who may see them.
fn offer(gates: Option<&Gates>, has_sse: bool) -> Answer {
    let version = env!("CARGO_PKG_VERSION");
    let names = gates.map_or_else(String::new, |gates| {
        let names = gates.all.shown.servers.iter().map(|(name, _)| {
            let name = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
            format!("\n  /mcp/{name}")
        });
        format!("\nFor one of them:{}", names.collect::<String>())
    });
    let sse = if has_sse { "\nThe same over HTTP+SSE (MCP 2024-11-05):\n  /sse" } else { "" };
    let text = "an MCP server over Streamable HTTP\n\nFor all servers as one:\n  /mcp";
    reply::text(StatusCode::OK, format_args!("mcp-pipe {version}: {text}{names}\nThe same over WebSocket:\n  /ws{sse}"))
}

/// An answer with when to try again.
fn later(mut answer: Answer, wait: Duration) -> Answer {
    let seconds = wait.as_secs_f64().ceil().max(1.0) as u64;
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    answer
}

/// That a client is not let in (RFC 6750 section 3).
fn denied_as(denied: Denied, headers: &HeaderMap) -> Answer {
    let (challenge, why) = match denied {
        Denied::NoKey => ("Bearer", "a key is needed: Authorization: Bearer KEY, or X-API-Key: KEY"),
        Denied::Malformed => (
            "Bearer error=\"invalid_request\"",
            "no key is written like that: Authorization: Bearer KEY, or X-API-Key: KEY, and one of them",
        ),
        Denied::Unknown => ("Bearer error=\"invalid_token\"", "this key is not known here"),
    };
    let mut answer = refused(headers, StatusCode::UNAUTHORIZED, (NOT_ALLOWED, "unauthorized"), why);
    answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    answer
}

/// The answer where there are as many conversations as there may be.
fn full(id: Option<&[u8]>) -> Answer {
    let why = "there are as many sessions as the config allows (maxSessions); try again later";
    later(reply::error(StatusCode::SERVICE_UNAVAILABLE, id, INTERNAL, why), LATER)
}

/// The answer where the pipe receives nobody.
fn closed(id: Option<&[u8]>) -> Answer {
    let why = "mcp-pipe is stopping, or its servers are being changed; try again later";
    later(reply::error(StatusCode::SERVICE_UNAVAILABLE, id, INTERNAL, why), LATER)
}

/// A refusal for whatever era the client is of: codes that only the legacy one knows are a reason in the other.
fn refused(headers: &HeaderMap, status: StatusCode, (code, reason): (i32, &str), why: &str) -> Answer {
    if !modern::is_modern_header(headers) {
        return reply::error(status, None, code, why);
    }
    let reason = format!("\"{reason}\"");
    reply::json(status, error_with(b"null", INTERNAL, why, &[("reason", &reason)]).into())
}

fn nowhere() -> Answer {
    reply::text(StatusCode::NOT_FOUND, "there is nothing here; the servers are at /mcp")
}

/// All of a body, if that may be a message.
async fn collect<B>(max_body: usize, headers: &HeaderMap, body: B) -> Result<Bytes, Box<Answer>>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let refuse = |status, why: &dyn std::fmt::Display| Box::new(reply::error(status, None, INVALID_REQUEST, why));
    is_json(headers).map_err(|why| refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, &why))?;
    let Ok(collected) = timeout(PATIENCE, Limited::new(body, max_body).collect()).await else {
        return Err(refuse(StatusCode::REQUEST_TIMEOUT, &"the body took too long to come"));
    };
    match collected {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let why = format!("the body is larger than {max_body} bytes (maxBody)");
            Err(refuse(StatusCode::PAYLOAD_TOO_LARGE, &why))
        }
        Err(_) => Err(refuse(StatusCode::BAD_REQUEST, &"the body broke off")),
    }
}

/// Whether a body says that it is JSON, and plainly so.
fn is_json(headers: &HeaderMap) -> Result<(), &'static str> {
    if headers.contains_key(CONTENT_ENCODING) {
        return Err("the body has a Content-Encoding, and none is taken");
    }
    let mut kinds = headers.get_all(CONTENT_TYPE).iter().map(|kind| kind.to_str().unwrap_or_default());
    let (Some(kind), None) = (kinds.next(), kinds.next()) else {
        return Err("the body has to be application/json, which Content-Type has to say");
    };
    let mut parts = kind.split(';').map(str::trim);
    let is_plain = |part: &str| {
        let part = part.to_ascii_lowercase();
        part.is_empty() || matches!(&*part, "charset=utf-8" | "charset=\"utf-8\"" | "charset=utf8")
    };
    match parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json")) && parts.all(is_plain) {
        true => Ok(()),
        false => Err("the body has to be application/json, in UTF-8"),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
pub(crate) mod tests;
