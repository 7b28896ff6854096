//! The gateway: the servers of this run for every MCP client that comes, over HTTP.
//!
//! # Theory of operation
//!
//! [`Gateway::answer`] takes one HTTP request and gives one answer, whatever has brought the request (`listener`: a socket).
//! Whoever may ask is decided first (`guard`). A client's conversation is a guest of the pipe (`crate::guest`), so everything
//! that holds for peers holds for it; what this folder adds is how HTTP carries a conversation: its messages come by POST, and
//! go out in streams (`session`).

pub(crate) mod admin;
mod body;
mod cors;
mod door;
mod ended;
mod endpoint;
mod era;
mod events;
mod fence;
mod guard;
mod guesses;
mod issuers;
mod kept;
mod legacy;
mod listed;
pub(crate) mod listener;
mod modern;
mod offer;
mod path;
mod refusal;
mod reply;
mod revival;
mod seal;
mod session;
mod sessions;
mod socket;
mod sse;
mod stall;
mod terms;
mod tokens;
mod tools;
mod trace;
mod turned_away;

use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body::Body;
use tokio::time::Instant;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;

use self::body::Room;
use self::guard::Refused;
use self::guesses::Guesses;
pub(crate) use self::kept::Kept;
use self::modern::{Held, Limits};
use self::path::Place;
use self::refusal::{denied_as, nowhere, too_often, turned_down};
use self::reply::Answer;
use self::revival::{SESSION, Turns};
use self::sessions::Sessions;
pub(crate) use self::sessions::Survival;
use self::socket::Sockets;
use self::terms::{Admitted, Gate, Terms};
use self::tokens::Token;
use self::turned_away::Refusal;
use crate::config::{GatewaySpec, GatewayTls, ServerSpec};
use crate::control::readiness::Readiness;
use crate::control::status::{CountedClient, Status};
use crate::error::{Code, Place as At, Problem};
use crate::mcp::era::Era;
use crate::mcp::reply::INVALID_REQUEST;
use crate::net::tls::server;
use crate::passage::Passage;
use crate::pipe::membership::NewGuest;
use crate::pipe::reception::Reception;
use crate::process::aside::aside;
use crate::process::text::{self, Rest};

/// Where those dial who dial an address over WebSocket that is not for that, with a token of the endpoint and without one.
const MISSES_ENDPOINT: &str = "this address is not for WebSocket: with a token, tools dial /endpoint/mcp?token=TOKEN, and robots /endpoint/call?token=TOKEN; MCP clients without one use /ws, or /ws/SERVER for one server";
const MISSES_SOCKET: &str = "this address is not for WebSocket: its clients use /ws, or /ws/SERVER for one server";

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Gateway {
    terms: RwLock<Arc<Terms>>,
    sessions: Sessions,
    /// Requests that make a session anew, or end one that is not there.
    turns: Turns,
    survival: Survival,
    /// Those of HTTP+SSE, each of which is as long as its stream.
    sse: Arc<Sessions>,
    sockets: Sockets,
    encryption: RwLock<Option<Encryption>>,
    /// Requests without a session that wait for their clients.
    held: Arc<Held>,
    bodies: Room,
    guesses: Guesses,
    /// Of requests: most of the program is run through by these alone.
    rest: Rest,
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
    async fn of(tls: Option<&GatewayTls>) -> anyhow::Result<Option<Self>> {
        let Some(GatewayTls { cert_file, key_file, client_ca_file }) = tls.cloned() else { return Ok(None) };
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

impl Gateway {
    /// A gateway to these servers. `survival`: what is kept of its sessions.
    pub(crate) fn new(
        spec: &Arc<GatewaySpec>,
        servers: &[ServerSpec],
        reception: Reception,
        status: Status,
        survival: Survival,
    ) -> Self {
        let terms = Terms::of(spec, servers, None);
        status.set_tokens(tokens::counts(&terms.tokens));
        let held = Arc::new(Held::new(limits_of(spec)));
        Gateway {
            terms: RwLock::new(Arc::new(terms)),
            sessions: Sessions::surviving(survival.clone()),
            turns: Turns::default(),
            survival,
            sse: Arc::default(),
            sockets: Sockets::default(),
            encryption: RwLock::default(),
            held,
            bodies: Room::default(),
            guesses: Guesses::default(),
            rest: Rest::default(),
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
        let encryption = Encryption::of(self.terms().spec.tls.as_ref()).await?;
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
        let terms = Arc::new(Terms::of(spec, servers, Some(&self.terms())));
        terms.refresh();
        self.status.set_tokens(tokens::counts(&terms.tokens));
        let before = {
            let mut now = self.terms.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *now, terms.clone())
        };
        self.held.limit(limits_of(spec), Instant::now());
        if !spec.sse {
            self.sse.end_all();
        }
        for gate in before.gates() {
            let is_same_key = before.proof_of(gate) == terms.proof_of(gate);
            let after = terms.gates().find(|other| is_same_key && other.scope == gate.scope);
            if after.is_none() {
                self.sessions.end_of(&gate.scope);
                self.sse.end_of(&gate.scope);
                self.held.end_of(&gate.scope);
            }
            self.reception.show(gate.shown.clone(), after.map(|gate| gate.shown.clone())).await;
        }
        self.change_tokens(&before.tokens, &terms.tokens).await;
        // Last, as it may have to read a file: who is not let in any more is out by now.
        self.survival.kept.seal_with(spec.session_key.as_ref()).await;
    }

    /// Answers one request.
    pub(crate) async fn answer<B>(&self, request: Request<B>) -> Answer
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.rest.disturb();
        let terms = self.terms();
        let (head, body) = request.into_parts();
        let reader = cors::reader(&head.headers, &terms.guard.origins);
        let has_origin = head.headers.contains_key(http::header::ORIGIN);
        let has_session = head.headers.contains_key(SESSION);
        let request_id = trace::request_id(&head.headers);
        let place = path::place(head.uri.path());
        // Whether all is well is no request that anything is refused.
        let is_for_servers = !matches!(place, Place::Live | Place::Ready | Place::Offer);
        let mut answer = match terms.guard.check(&head.uri, &head.headers) {
            Err(Refused::Host) => {
                turned_away::note(Refusal::Host, &self.status);
                let why = "this host is not known by that name; if it is yours, add it to `hosts` of `gateway`";
                reply::error(StatusCode::FORBIDDEN, None, INVALID_REQUEST, why)
            }
            Err(Refused::Origin) => {
                turned_away::note(Refusal::Origin, &self.status);
                let why = "pages of that origin may not ask here; if they may, add it to `cors` of `gateway`";
                reply::error(StatusCode::FORBIDDEN, None, INVALID_REQUEST, why)
            }
            Ok(()) if cors::is_preflight(&head.method, &head.headers) => {
                cors::preflight(&head.headers, reader.as_ref())
            }
            Ok(()) => self.answer_at(&terms, place, head, body).await,
        };
        if let Some(refusal) = turned_away::by_status(answer.status(), has_session).filter(|_| is_for_servers) {
            turned_away::note(refusal, &self.status);
        }
        if has_origin {
            cors::tell(&mut answer, reader);
        }
        trace::echo(&mut answer, request_id);
        answer
    }

    /// Answers a request that comes from where it may.
    async fn answer_at<B>(&self, terms: &Terms, place: Place, head: http::request::Parts, body: B) -> Answer
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if !matches!(place, Place::Socket(_) | Place::Endpoint(_)) && socket::is_wanted(&head.headers) {
            // Whoever shows a token wants the endpoint, where there is one.
            let is_for_endpoint =
                !terms.tokens.is_empty() && endpoint::query::has_token(head.uri.query().unwrap_or_default());
            let why = if is_for_endpoint { MISSES_ENDPOINT } else { MISSES_SOCKET };
            return reply::error(StatusCode::BAD_REQUEST, None, INVALID_REQUEST, why);
        }
        let is_looked_at = matches!(head.method, Method::GET | Method::HEAD);
        let admitted = match &place {
            Place::Offer | Place::Live | Place::Ready if !is_looked_at => return reply::other_method("GET, HEAD"),
            Place::Live => return reply::text(StatusCode::OK, "ok"),
            Place::Ready => return ready(&self.status, terms.is_open()),
            Place::Offer => {
                let admitted = self.admit(terms, &head, None).await;
                return offer::told(&head.headers, admitted.ok().map(|admitted| admitted.gates()), terms.spec.sse);
            }
            Place::Nowhere => return nowhere(),
            Place::Endpoint(caller) => return self.endpoint(&terms.tokens, *caller, head).await,
            Place::Events(_) | Place::Messages if !terms.spec.sse => return nowhere(),
            Place::ByKey(key) => self.admit(terms, &head, Some(key)).await,
            Place::All | Place::Server(_) | Place::Socket(_) | Place::Events(_) | Place::Messages => {
                self.admit(terms, &head, None).await
            }
        };
        let admitted = match admitted {
            Ok(admitted) => admitted,
            Err(refused) => return *refused,
        };
        let Some(gate) = admitted.at(&place) else { return nowhere() };
        let gate = &gate;
        match place {
            Place::Socket(_) => self.socket(gate, head).await,
            Place::Events(_) => self.begin_sse(gate, &admitted.all().scope, &head.method, head.uri.path()).await,
            Place::Messages => self.post_sse(gate, head, body).await,
            Place::All | Place::Server(_) | Place::ByKey(_) => self.mcp(gate, &place, head, body).await,
            Place::Endpoint(_) | Place::Offer | Place::Live | Place::Ready | Place::Nowhere => nowhere(),
        }
    }

    /// What a request opens by its key or token.
    async fn admit<'a>(
        &self,
        terms: &'a Terms,
        head: &http::request::Parts,
        in_path: Option<&str>,
    ) -> Result<Admitted<'a>, Box<Answer>> {
        let headers = &head.headers;
        let opened = terms.opened(headers, in_path).await;
        let guess = (head.extensions.get(), &self.guesses);
        let admitted = opened.map_err(|denied| Box::new(turned_down(denied, headers, guess)))?;
        admitted.bucket().take(Instant::now()).map_err(|wait| Box::new(too_often(headers, wait)))?;
        Ok(admitted)
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
                let body = match self.bodies.collect(gate.max_body, headers, body).await {
                    Ok(body) => body,
                    Err(refused) => return *refused,
                };
                // The key may have been taken away, and the token may have ended, while the body came.
                let terms = self.terms();
                let key = if let Place::ByKey(key) = place { Some(&**key) } else { None };
                let gate = match terms.opened(headers, key).await.map(|admitted| admitted.at(place)) {
                    Ok(Some(gate)) => gate,
                    Ok(None) => return nowhere(),
                    Err(denied) => return denied_as(denied, headers),
                };
                match legacy::read(body) {
                    Ok((body, scanned)) => {
                        let is_modern = era::is_modern(headers, &body, &scanned);
                        let (body, scanned) = trace::passed_on(headers, gate.max_body, body, scanned);
                        match is_modern {
                            true => self.post_modern(&gate, headers, body, scanned).await,
                            false => self.post_legacy(&gate, headers, body, scanned).await,
                        }
                    }
                    Err(refused) => *refused,
                }
            }
            Method::GET | Method::DELETE if era::is_modern_header(headers) => reply::other_method("POST"),
            Method::GET => self.get_legacy(gate, headers).await,
            Method::DELETE => self.delete_legacy(gate, headers).await,
            _ => reply::other_method("POST, GET, DELETE"),
        }
    }

    /// Announces a guest to the pipe. `None`: the pipe takes none.
    ///
    /// `at`: by which address it comes, without the server's name.
    async fn receive(&self, gate: &Gate, at: &str) -> Option<Passage> {
        self.receive_as(gate, at, Era::Legacy).await
    }

    /// The same, for one of this era.
    async fn receive_as(&self, gate: &Gate, at: &str, era: Era) -> Option<Passage> {
        // The log names the server besides where it is the only one.
        let name = format!("a client at {at}").into();
        self.receive_guest(NewGuest { name, shown: gate.shown.clone(), era }).await
    }

    async fn receive_guest(&self, guest: NewGuest) -> Option<Passage> {
        let shown = guest.shown.clone();
        let lines = self.reception.receive(guest).await?.lines;
        // What it is shown may have been taken away meanwhile, and then nobody would tell it.
        let terms = self.terms();
        let mut all = terms.gates().map(|gate| &gate.shown).chain(terms.tokens.iter().map(|token| &token.shown));
        all.any(|now| Arc::ptr_eq(now, &shown)).then_some(lines)
    }

    /// A place for another conversation, if there is one left.
    fn place(&self) -> Option<CountedClient> {
        let spec = &self.terms().spec;
        self.status.count_client(spec.max_sessions).or_else(|| {
            self.sessions.sweep(spec.session_idle, Instant::now());
            self.status.count_client(spec.max_sessions)
        })
    }

    /// Ends the sessions that nobody uses any more, and gives back what only requests need once there are none. To be called now and then.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        self.sessions.sweep(self.terms().spec.session_idle, now);
        self.held.sweep(now);
        self.terms().refresh();
        if self.rest.has_come() {
            text::release();
        }
    }

    /// Ends all sessions, and all streams besides.
    pub(crate) fn end_all(&self) {
        self.over.cancel();
        self.terms().tokens.iter().for_each(Token::end);
        self.held.end_all();
        self.sessions.end_all();
        self.sse.end_all();
    }
}

/// Whether a server serves, and what does not, by its names where anybody may know these.
fn ready(status: &Status, names: bool) -> Answer {
    let Readiness { is_ready, words } = Readiness::of(&status.changes().borrow(), names);
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    reply::text(status, words)
}

/// How many calls wait for their clients, and how long.
fn limits_of(spec: &GatewaySpec) -> Limits {
    Limits { most: spec.max_held, longest: spec.held_timeout }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
pub(crate) mod tests;
