//! The gateway: where it is, who is let in, and how much of it there may be.
//!
//! A key's text goes to the redactor, and nowhere else: what is kept of a key is its SHA-256.

mod jwt;
mod session_key;
mod tokens;
mod written;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::context::Context;
use super::defaults;
pub use super::listen::HostName;
use super::listen::address;
use super::reader::Located;
use crate::disk::read::{Accept, whole};
use crate::disk::{joined, obstacle};
use crate::endpoint::{RemoteUrl, is_loopback, is_variable, left_open};
use crate::error::{Code, Place, What};
use crate::jwt::Keys;
use crate::secrecy::Secret;
use crate::tools::ToolPolicy;
use crate::words::{brief, brief_path, closest, listed, quoted};

pub use session_key::SessionKey;
pub use tokens::{EndpointTokenSpec, Room};
pub(crate) use written::{ApiKeyEntry, GatewayEntry, Jwks, Source, TlsEntry, read};

/// The variable that names the address to listen on.
pub(crate) const LISTEN: &str = "MCP_GATEWAY_LISTEN";

/// Shortest key, in characters: a shorter one may be guessed.
const SHORTEST_KEY: usize = 16;
/// Largest file with a key, in bytes: servers take heads of 8 KiB to 64 KiB, and a key has to fit.
pub(crate) const MAX_KEY_FILE: u64 = 16 * 1024;
/// Largest file with the key of sessions, in bytes: its digits, with blanks and line breaks around them.
const MAX_SESSION_KEY_FILE: u64 = 1024;
/// What stands around a key that was made up for whoever has none, and what says so.
const BEFORE_KEY: &str = "\"apiKeys\": [{\"name\": \"me\", \"key\": \"";
const BEHIND_KEY: &str = "\"}]";
const MADE_UP: &str = " (made up for you just now)";
/// Most servers that are named as those that there are.
const SHOWN: usize = 8;

/// The gateway, by which one mcp-pipe offers its servers to all MCP clients.
#[derive(Debug, Clone, PartialEq)]
pub struct GatewaySpec {
    /// The address that is listened on; port 0: one that is free.
    pub listen: SocketAddr,
    /// Origins of web pages that are let in besides those of loopback, as browsers send them; also `null`.
    pub cors: Vec<String>,
    /// Names under which it is reached besides those of the address itself.
    pub hosts: Vec<HostName>,
    /// The keys of which a client needs one; without any none is asked for. Their names differ, and so do their hashes.
    pub api_keys: Vec<ApiKeySpec>,
    /// Whose tokens let clients in, too. Their names differ, also from those of keys, and no two have an issuer and an audience in common.
    pub jwt: Vec<JwtSpec>,
    /// The tokens with which tools and robots find each other here; without any there is no such endpoint. Their names differ, and so do
    /// their hashes.
    pub endpoint_tokens: Vec<EndpointTokenSpec>,
    /// Servers that every robot sees besides the tools of its token, each one of the config.
    pub endpoint_servers: Vec<Arc<str>>,
    /// The largest message of tools and robots, in bytes.
    pub max_frame: usize,
    /// Whether HTTP+SSE (MCP 2024-11-05) is offered, too.
    pub sse: bool,
    /// Longest life of a session without a request or an open stream.
    pub session_idle: Duration,
    /// With what ids of sessions are sealed, here and wherever else the same key is; a key of our own if `None`.
    pub session_key: Option<SessionKey>,
    /// Most sessions at a time.
    pub max_sessions: usize,
    /// Most streams of a session that are open by GET.
    pub max_streams: usize,
    /// Most calls of a key that wait for their client to answer a server's question.
    pub max_held: usize,
    /// Longest time that such a call waits.
    pub held_timeout: Duration,
    /// Largest body of a request, in bytes.
    pub max_body: usize,
    /// Longest time that a client may take to send the head of a request.
    pub header_timeout: Duration,
    /// Most connections at a time.
    pub max_connections: usize,
    /// Most of them from one address.
    pub max_connections_per_address: usize,
    /// Most requests of a key in a second.
    pub requests_per_second: Option<usize>,
    /// The files of its TLS connections; plain HTTP if `None`.
    pub tls: Option<GatewayTls>,
}

/// A key by which clients are let in.
#[derive(Clone, PartialEq)]
pub struct ApiKeySpec {
    /// What people call it.
    pub name: Arc<str>,
    /// The SHA-256 of the key.
    pub hash: [u8; 32],
    /// The servers that its clients see, each one of the config; all if `None`.
    pub servers: Option<Vec<Arc<str>>>,
    /// Which of their tools its clients see: `allow` and `deny`, as of a named endpoint's.
    pub tools: Arc<ToolPolicy>,
    /// Whether the key may stand in the path.
    pub capability_url: bool,
}

impl fmt::Debug for ApiKeySpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ApiKeySpec { name, hash: _, servers, tools, capability_url } = self;
        let mut shown = f.debug_struct("ApiKeySpec");
        shown.field("name", name).field("servers", servers).field("tools", tools);
        shown.field("capability_url", capability_url).finish_non_exhaustive()
    }
}

/// Whose JSON Web Tokens let clients in.
#[derive(Debug, Clone, PartialEq)]
pub struct JwtSpec {
    /// What people call it.
    pub name: Arc<str>,
    /// Who issues the tokens, as these say it.
    pub issuer: Arc<str>,
    /// For whom a token has to be: for one of these.
    pub audience: Vec<Arc<str>>,
    /// The keys with which they are signed.
    pub keys: JwksSource,
    /// As of a key.
    pub servers: Option<Vec<Arc<str>>>,
    /// As of a key.
    pub tools: Arc<ToolPolicy>,
}

/// Where the keys of an issuer are.
#[derive(Debug, Clone, PartialEq)]
pub enum JwksSource {
    /// Those that were in a file.
    File(Arc<Keys>),
    /// They are fetched from there: by TLS, or on this machine.
    Url(RemoteUrl),
}

/// The files of the gateway's TLS connections, in PEM form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayTls {
    /// The certificate, and those up to its authority.
    pub cert_file: PathBuf,
    /// Its private key; may be the same file.
    pub key_file: PathBuf,
    /// Authorities of which a client has to show a certificate; none is asked for if `None`.
    pub client_ca_file: Option<PathBuf>,
}

/// The SHA-256 of a text.
pub(crate) fn sha256(text: &str) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let mut hash = [0; 32];
    hash.copy_from_slice(digest.as_ref());
    hash
}

/// A remedy without the key that was made up in it: what a running mcp-pipe says stays in its log, and no key that is used may stand there.
pub(crate) fn without_made_up_key(remedy: &str) -> Option<String> {
    let (before, rest) = remedy.split_once(BEFORE_KEY)?;
    let (_, behind) = rest.split_once(BEHIND_KEY)?;
    let behind = behind.replacen(MADE_UP, ", with a random key, as this prints: openssl rand -base64 32", 1);
    Some(format!("{before}{BEFORE_KEY}…{BEHIND_KEY}{behind}"))
}

/// Whether there is a gateway: where the config has one, or the command is there for it, unless all servers are served on an endpoint
/// of our own.
pub(crate) fn is_on(ctx: &Context<'_>, entry: Option<&GatewayEntry>) -> bool {
    !ctx.local && (entry.is_some() || ctx.line.serve.is_some())
}

/// Whether servers may come to the gateway by themselves, so that none need be ours.
pub(crate) fn has_endpoint(ctx: &Context<'_>, entry: Option<&GatewayEntry>) -> bool {
    is_on(ctx, entry) && entry.is_some_and(|entry| !entry.endpoint_tokens.is_empty())
}

/// The texts of keys or tokens, in their order, whether they are good ones or not; `None` for one that is not known, or can't be had, which
/// has been noted.
pub(crate) type Texts = Vec<Option<Secret>>;

/// The texts of the keys, and those of the endpoint's tokens.
pub(crate) fn keys(ctx: &mut Context<'_>, entry: Option<&GatewayEntry>) -> (Texts, Texts) {
    let before = (ctx.problems.mistakes.len(), ctx.problems.warnings.len());
    let (keys, tokens) = entry.map_or((&[][..], &[][..]), |entry| (&entry.api_keys, &entry.endpoint_tokens));
    for source in keys.iter().map(|key| &key.source).chain(tokens.iter().map(|token| &token.source)) {
        if let Source::Text(text) = source {
            ctx.hide_parts(&text.value);
        }
    }
    let texts = keys.iter().map(|key| match &key.source {
        Source::Text(text) => ctx.expand(text).map(|text| Secret::new(text.trim())),
        Source::File(text) => of_file(ctx, text),
        Source::Hash(_) => None,
    });
    let texts = texts.collect();
    let tokens = tokens::texts(ctx, tokens);
    if !is_on(ctx, entry) {
        // A key that nobody can use need not be there.
        ctx.problems.mistakes.truncate(before.0);
        ctx.problems.warnings.truncate(before.1);
    }
    (texts, tokens)
}

/// The files from which keys and certificates are read.
pub(crate) fn inputs(ctx: &Context<'_>, entry: &GatewayEntry, spec: &GatewaySpec) -> Vec<PathBuf> {
    let path = |text: &Located<String>| {
        super::expand::expand(&text.value, |name| ctx.lookup(name)).ok().map(|path| joined(&ctx.base, path.trim()))
    };
    let sources = entry.api_keys.iter().map(|key| &key.source);
    let sources = sources.chain(entry.endpoint_tokens.iter().map(|token| &token.source));
    let of_keys = sources.filter_map(|source| match source {
        Source::File(text) => path(text),
        Source::Text(_) | Source::Hash(_) => None,
    });
    let of_issuers = entry.jwt.iter().filter_map(|issuer| match &issuer.jwks {
        Jwks::File(text) => path(text),
        Jwks::Url(_) => None,
    });
    let of_tls = spec.tls.iter().flat_map(|tls| {
        let GatewayTls { cert_file, key_file, client_ca_file } = tls.clone();
        [Some(cert_file), Some(key_file), client_ca_file].into_iter().flatten()
    });
    let of_sessions = entry.session_key_file.iter().filter_map(path);
    of_keys.chain(of_issuers).chain(of_tls).chain(of_sessions).collect()
}

fn of_file(ctx: &mut Context<'_>, text: &Located<String>) -> Option<Secret> {
    let key = |bytes| match String::from_utf8(bytes) {
        Ok(key) => Ok(Secret::new(key.trim())),
        Err(_) => Err((Code::Encoding, "is not UTF-8".to_owned(), "write the key into it, and nothing else")),
    };
    made_of_file(ctx, text, MAX_KEY_FILE, "create it, with the key and nothing else in it", key)
}

/// What is made of the file that a text names. What keeps it from being made of it is noted; `create`: the remedy where it is not there.
fn made_of_file<T>(
    ctx: &mut Context<'_>,
    text: &Located<String>,
    limit: u64,
    create: &str,
    make: impl FnOnce(Vec<u8>) -> Result<T, (Code, String, &'static str)>,
) -> Option<T> {
    let path = path(ctx, text)?;
    made_of(ctx, (&text.place, &path), limit, create, make)
}

/// The same of a file that is named at a place.
fn made_of<T>(
    ctx: &mut Context<'_>,
    (place, path): (&Place, &Path),
    limit: u64,
    create: &str,
    make: impl FnOnce(Vec<u8>) -> Result<T, (Code, String, &'static str)>,
) -> Option<T> {
    let (code, what, remedy) = match whole(path, limit, Accept::Files).map(make) {
        Ok(Ok(made)) => return Some(made),
        Ok(Err((code, what, remedy))) => (code, what, remedy.to_owned()),
        Err(error) => {
            let (what, remedy) = obstacle::on_the_way(path)
                .map_or_else(|| (format!("can't be read: {error}"), create.to_owned()), |obstacle| obstacle.told());
            (Code::FileUnreadable, what, remedy)
        }
    };
    ctx.mistake(place, code.says(format!("names {}, which {what}", brief_path(path))), remedy);
    None
}

/// The key of sessions that several replicas have.
fn session_key(ctx: &mut Context<'_>, text: &Located<String>) -> Option<SessionKey> {
    let path = path(ctx, text)?;
    let create = format!("make one: (umask 077; openssl rand -hex 32 > {})", quoted(&path.display().to_string()));
    let key = |bytes: Vec<u8>| {
        SessionKey::read(&bytes).ok_or_else(|| {
            let what =
                format!("has no key in it, which is {} hexadecimal digits and nothing else", 2 * SessionKey::LENGTH);
            (Code::WrongValue, what, "write into it what this prints: openssl rand -hex 32")
        })
    };
    let key = made_of(ctx, (&text.place, &path), MAX_SESSION_KEY_FILE, &create, key)?;
    // A group may: that is how an orchestrator hands a secret to whoever is not root.
    #[cfg(unix)]
    if path.metadata().is_ok_and(|file| std::os::unix::fs::MetadataExt::mode(&file) & 0o006 != 0) {
        let what = "which everybody on this machine can read or change; whoever knows the key can make ids of sessions";
        let what = Code::Exposed.says(format!("names {}, {what}", brief_path(&path)));
        ctx.warning(&text.place, what, format!("chmod o-rw {}", quoted(&path.display().to_string())));
    }
    Some(key)
}

/// The path that a text names.
fn path(ctx: &mut Context<'_>, text: &Located<String>) -> Option<PathBuf> {
    let written = ctx.expand(text)?.trim().to_owned();
    if written.is_empty() {
        let what = Code::EmptyVariable.says("is empty, or names a variable that is");
        ctx.mistake(&text.place, what, "write a path there, or set the variable");
        return None;
    }
    Some(joined(&ctx.base, written))
}

/// The gateway. `texts`: what [`keys()`] has found; `known`: the names of all servers; `max_frame`: what counts where a server says nothing
/// else. `None` where there is none, or it is wrong, which has been noted.
pub(crate) fn of(
    ctx: &mut Context<'_>,
    entry: Option<&GatewayEntry>,
    texts: &(Texts, Texts),
    known: &[&str],
    max_frame: usize,
) -> Option<GatewaySpec> {
    let (keys, tokens) = texts;
    if !is_on(ctx, entry) {
        return None;
    }
    let before = ctx.problems.mistakes.len();
    let (listen, place) = listened_on(ctx, entry);
    let api_keys = entry.map(|entry| api_keys(ctx, &entry.api_keys, keys, known)).unwrap_or_default();
    let jwt = entry.map(|entry| jwt::of(ctx, &entry.jwt, &api_keys, known)).unwrap_or_default();
    let endpoint_tokens = entry.map(|entry| tokens::of(ctx, &entry.endpoint_tokens, tokens)).unwrap_or_default();
    let endpoint_servers =
        entry.map(|entry| servers(ctx, &entry.endpoint_servers, known, "name each of them")).unwrap_or_default();
    if let (Some(first), true) = (entry.and_then(|entry| entry.endpoint_servers.first()), endpoint_tokens.is_empty())
        && entry.is_some_and(|entry| entry.endpoint_tokens.is_empty())
    {
        let what = "does nothing without endpointTokens: nobody is let in where robots would see these servers";
        ctx.warning(&first.place, Code::NoEffect.says(what), "add \"endpointTokens\", or remove this");
    }
    let tls = entry.and_then(|entry| entry.tls.as_ref()).and_then(|tls| of_tls(ctx, tls));
    let session_key = entry.and_then(|entry| entry.session_key_file.as_ref()).and_then(|file| session_key(ctx, file));
    let asks = entry.is_some_and(|entry| {
        entry.has_api_keys || entry.has_jwt || entry.tls.as_ref().is_some_and(|tls| tls.client_ca_file.is_some())
    });
    let is_local = is_loopback(listen.ip());
    if let Some(place) = entry.and_then(|entry| entry.no_api_keys.clone()).filter(|_| is_local && !asks) {
        let what = Code::NoEffect.says("is empty, so nobody needs a key");
        ctx.warning(place, what, "add a key, or leave apiKeys out");
    }
    if !asks && !is_local {
        let key = BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        // What is missing is a part of the config, also where the command line names the address.
        let in_config = || entry.map_or_else(|| "gateway".into(), |entry| entry.place.clone());
        let (place, named) = match place.name() {
            Some(option) => (in_config(), format!("is to be at {listen} by {option}")),
            None => (place, format!("is {listen}")),
        };
        let what = format!("{named}, which other machines may reach, and the gateway asks for no key");
        let here = SocketAddr::new(defaults::LISTEN.ip(), listen.port());
        let remedy = format!("add {BEFORE_KEY}{key}{BEHIND_KEY} to \"gateway\"{MADE_UP}, or listen on {here}");
        ctx.mistake(place, Code::MissingKey.says(what), remedy);
    }
    let said = |number: fn(&GatewayEntry) -> Option<usize>| entry.and_then(number);
    let spec = GatewaySpec {
        listen,
        cors: entry.map(|entry| entry.cors.clone()).unwrap_or_default(),
        hosts: entry.map(|entry| entry.hosts.clone()).unwrap_or_default(),
        api_keys,
        jwt,
        endpoint_tokens,
        endpoint_servers,
        max_frame,
        sse: entry.and_then(|entry| entry.sse).unwrap_or(defaults::SSE),
        session_idle: entry.and_then(|entry| entry.session_idle).unwrap_or(defaults::SESSION_IDLE),
        session_key,
        max_sessions: said(|entry| entry.max_sessions).unwrap_or(defaults::MAX_SESSIONS),
        max_streams: said(|entry| entry.max_streams).unwrap_or(defaults::MAX_STREAMS),
        max_held: said(|entry| entry.max_held).unwrap_or(defaults::MAX_HELD),
        held_timeout: entry.and_then(|entry| entry.held_timeout).unwrap_or(defaults::HELD_TIMEOUT),
        max_body: said(|entry| entry.max_body).unwrap_or(defaults::MAX_BODY),
        header_timeout: entry.and_then(|entry| entry.header_timeout).unwrap_or(defaults::HEADER_TIMEOUT),
        max_connections: said(|entry| entry.max_connections).unwrap_or(defaults::MAX_CONNECTIONS),
        max_connections_per_address: said(|entry| entry.max_connections_per_address)
            .unwrap_or(defaults::MAX_CONNECTIONS_PER_ADDRESS),
        requests_per_second: said(|entry| entry.requests_per_second),
        tls,
    };
    (ctx.problems.mistakes.len() == before).then_some(spec)
}

/// Notes servers that no client could ask for alone, as a key stands where their name would (`/mcp/~KEY`). `servers`: those that run, with the places of
/// their names.
pub(crate) fn check_names<'a>(
    ctx: &mut Context<'_>,
    entry: Option<&GatewayEntry>,
    servers: impl Iterator<Item = (&'a str, &'a Place)>,
) {
    if !is_on(ctx, entry) {
        return;
    }
    for (name, place) in servers.filter(|(name, _)| name.starts_with('~')) {
        let what =
            "is a name that begins with ~, and in an address of the gateway a key stands behind that (/mcp/~KEY)";
        let meant = name.trim_start_matches('~');
        let remedy =
            if meant.is_empty() { "call it otherwise".to_owned() } else { format!("call it {}", brief(meant)) };
        ctx.mistake(place, Code::WrongValue.says(what), remedy);
    }
}

/// How the place is called where a socket listens that systemd has handed over.
const HANDED: &str = "the socket of systemd";

/// The address to listen on, and where it is named: by a socket that is there already, `--listen`, the variable or the config; the first
/// of these counts.
fn listened_on(ctx: &mut Context<'_>, entry: Option<&GatewayEntry>) -> (SocketAddr, Place) {
    let written = written_address(ctx, entry);
    let Some(socket) = ctx.socket else { return written };
    let (address, place) = written;
    if address != socket && address != defaults::LISTEN {
        ctx.notes
            .push(format!("the gateway listens on {socket}, as {HANDED} does, and not on {address}, as {place} says"));
    }
    (socket, HANDED.into())
}

fn written_address(ctx: &mut Context<'_>, entry: Option<&GatewayEntry>) -> (SocketAddr, Place) {
    if let Some(listen) = ctx.line.serve.and_then(|serve| serve.listen) {
        return (listen, "--listen".into());
    }
    if let Some((text, place)) = ctx.setting(LISTEN) {
        match address(&text) {
            Ok(listen) => return (listen, place),
            Err(wrong) => {
                let what = format!("is \"{}\", and {}", brief(&text), wrong.what);
                ctx.mistake(place, Code::WrongValue.says(what), wrong.remedy);
            }
        }
        return (defaults::LISTEN, LISTEN.into());
    }
    match entry.and_then(|entry| entry.listen.as_ref()) {
        Some(Located { value, place }) => (*value, place.clone()),
        None => (defaults::LISTEN, entry.map_or_else(|| "gateway".into(), |entry| entry.place.clone())),
    }
}

fn api_keys(
    ctx: &mut Context<'_>,
    entries: &[ApiKeyEntry],
    texts: &[Option<Secret>],
    known: &[&str],
) -> Vec<ApiKeySpec> {
    let mut all: Vec<ApiKeySpec> = Vec::new();
    for (entry, text) in entries.iter().zip(texts) {
        let name = entry.name.value.trim();
        let servers = entry.servers.as_ref().map(|names| servers(ctx, names, known, "leave servers out for all"));
        let hash = match (&entry.source, text) {
            (Source::Hash(hash), _) => hash.value,
            (Source::Text(_) | Source::File(_), Some(text)) => {
                if let Some((what, remedy)) = fault(text.reveal(), "key", SHORTEST_KEY) {
                    ctx.mistake(entry.source.place(), what, remedy);
                    continue;
                }
                sha256(text.reveal())
            }
            // What is wrong with it has been noted.
            (Source::Text(_) | Source::File(_), None) => continue,
        };
        if all.iter().any(|other| *other.name == *name) {
            let what = format!("is \"{}\", as another key is called", brief(name));
            ctx.mistake(&entry.name.place, Code::Duplicate.says(what), "give each key its own name");
        }
        if let Some(twin) = all.iter().find(|other| other.hash == hash) {
            let what = format!("is the key of {}, too, so that nobody could tell them apart", brief(&twin.name));
            ctx.mistake(entry.source.place(), Code::Duplicate.says(what), "write another one");
        }
        all.push(ApiKeySpec {
            name: name.into(),
            hash,
            servers,
            tools: Arc::new(entry.tools.clone()),
            capability_url: entry.capability_url.unwrap_or(defaults::CAPABILITY_URL),
        });
    }
    all
}

/// What keeps a text from being a key, or whatever else it is to be, and the remedy, without repeating it. `shortest`: in characters.
fn fault(key: &str, called: &str, shortest: usize) -> Option<(What, String)> {
    let random = "write a random one, as this prints: openssl rand -base64 32";
    let alone = format!("write the {called} alone");
    let (what, remedy) = if key.is_empty() {
        let what = Code::EmptyVariable.says("is empty, or names a variable or a file that is");
        (what, "write it there, or set the variable")
    } else if is_variable(key) {
        let what = Code::NotReplaced.says("is a variable that is not replaced where it stands");
        (what, "write ${NAME}, and set NAME in the environment or in .env")
    } else if left_open(Some("key"), key).is_some() {
        (Code::Placeholder.says("still holds the placeholder text of an example"), random)
    } else if key.split_once(' ').is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")) {
        (Code::WrongValue.says("begins with a scheme, which clients write before it in any case"), &*alone)
    } else if !key.bytes().all(|b| b.is_ascii_graphic()) {
        let what = format!("holds a blank or another character that no {called} has");
        (Code::WrongValue.says(what), &*alone)
    } else if key.len() < shortest {
        (Code::TokenWeak.says(format!("has less than {shortest} characters, so that it may be guessed")), random)
    } else {
        return None;
    };
    Some((what, remedy.to_owned()))
}

/// Servers that are named. `all`: what to write for all of them.
fn servers(ctx: &mut Context<'_>, names: &[Located<String>], known: &[&str], all: &str) -> Vec<Arc<str>> {
    for name in names.iter().filter(|name| !known.contains(&&*name.value)) {
        let remedy = if name.value == "*" {
            all.to_owned()
        } else if let Some(meant) = closest(&name.value, known.iter().copied()) {
            format!("did you mean {meant}?")
        } else {
            format!("there are: {}", listed(known.iter().take(SHOWN).collect(), known.len()))
        };
        let what = format!("names {}, which is no server", brief(&name.value));
        ctx.mistake(&name.place, Code::WrongValue.says(what), remedy);
    }
    names.iter().map(|name| name.value.as_str().into()).collect()
}

fn of_tls(ctx: &mut Context<'_>, entry: &TlsEntry) -> Option<GatewayTls> {
    let cert_file = pem(ctx, &entry.cert_file);
    let key_file = match &entry.key_file {
        Some(key) => pem(ctx, key),
        None => cert_file.clone(),
    };
    let client_ca_file = match &entry.client_ca_file {
        Some(file) => Some(pem(ctx, file)?),
        None => None,
    };
    Some(GatewayTls { cert_file: cert_file?, key_file: key_file?, client_ca_file })
}

/// The path of a file in PEM form, with a warning if none is there: one that is renewed may come later.
fn pem(ctx: &mut Context<'_>, text: &Located<String>) -> Option<PathBuf> {
    let path = path(ctx, text)?;
    if !path.is_file() {
        let (what, remedy) = obstacle::on_the_way(&path)
            .map_or_else(|| ("is no file now".to_owned(), "name a PEM file".to_owned()), |obstacle| obstacle.told());
        ctx.warning(&text.place, Code::PathMissing.says(format!("names {}, which {what}", brief_path(&path))), remedy);
    }
    Some(path)
}
