//! The `gateway` of the file, as written.
//!
//! | key | value | default | meaning |
//! |---|---|---|---|
//! | `listen` | address with port | `127.0.0.1:8765` | where the gateway is: `:8765` on every interface, port 0 for a free one; before it count `--listen`, then `MCP_GATEWAY_LISTEN` |
//! | `cors` | origins | none | web pages that may use the gateway besides those of this machine: `https://app.example.com`, no path |
//! | `hosts` | names | none | further names under which the gateway is reached, as behind a reverse proxy: `mcp.example.com`, with a port or for any |
//! | `apiKeys` | objects | none | the keys of which a client needs one; a must where other machines reach the address |
//! | `jwt` | objects | none | whose JSON Web Tokens let clients in, in the place of a key |
//! | `endpointTokens` | texts `$`, or objects | none | the tokens with which tools and robots find each other at the gateway's endpoint |
//! | `endpointServers` | names | none | servers of ours that all robots see there, too |
//! | `sse` | `true`/`false` | false | whether the transport of MCP 2024-11-05 (HTTP+SSE) is offered, too |
//! | `sessionIdle` | time | `30m` | how long a session lives without a request or an open stream |
//! | `sessionKeyFile` | path `$` | none | a file with the key by which sessions are good at each replica that has it: 64 hexadecimal digits |
//! | `maxSessions` | number | 1000 | the most sessions at a time |
//! | `maxStreams` | number | 16 | the most streams of a session that are open by GET |
//! | `maxHeld` | number | 8 | the most calls of a key that are held until their client has answered a server's question |
//! | `heldTimeout` | time | `5m` | how long such a call is held |
//! | `maxBody` | size | `16MiB` | the largest request |
//! | `headerTimeout` | time | `10s` | how long a client may take to send the head of a request |
//! | `maxConnections` | number | 1024 | the most connections at a time |
//! | `maxConnectionsPerAddress` | number | 256 | the most of them from one address |
//! | `requestsPerSecond` | number | none | the most requests of a key in a second |
//! | `tls` | object | none | the certificate by which the gateway speaks TLS |
//!
//! In one of `apiKeys`, with exactly one of `key`, `keyFile` and `keySha256`:
//!
//! | key | value | default | meaning |
//! |---|---|---|---|
//! | `name` | text | | what the key is called in the log and in `status` |
//! | `key` | text `$` | | the key, of at least 16 characters |
//! | `keyFile` | path `$` | | a file with the key |
//! | `keySha256` | 64 hexadecimal digits | | the SHA-256 of the key, in its place |
//! | `servers` | names | all | the servers that the key's clients see |
//! | `tools` | object, or patterns | all | `allow` and `deny`: which of their tools; matched against the name that a client would see, and `SERVER__TOOL` |
//! | `capabilityUrl` | `true`/`false` | false | whether the key may stand in the path, for clients that can send no header |
//!
//! In one of `jwt`, with exactly one of `jwksFile` and `jwksUrl`:
//!
//! | key | value | default | meaning |
//! |---|---|---|---|
//! | `name` | text | | what its clients are called in the log |
//! | `issuer` | text `$` | | who issues the tokens: their `iss`, letter for letter |
//! | `audience` | texts `$` | | for whom the tokens are: one of these has to be in their `aud` |
//! | `jwksFile` | path `$` | | a file with the issuer's public keys, as a JSON Web Key Set |
//! | `jwksUrl` | address `$` | | where such a set is fetched: by https, or on this machine |
//! | `servers` | names | all | the servers that clients with such a token see |
//! | `tools` | object, or patterns | all | `allow` and `deny`, as of a key |
//!
//! In one of `endpointTokens`, with exactly one of `token`, `tokenFile` and `tokenSha256`:
//!
//! | key | value | default | meaning |
//! |---|---|---|---|
//! | `name` | text | by its place | what the token is called in the log and in `status` |
//! | `token` | text `$` | | the token, of at least 8 characters |
//! | `tokenFile` | path `$` | | a file with the token |
//! | `tokenSha256` | 64 hexadecimal digits | | the SHA-256 of the token, in its place |
//!
//! In `tls`, whose files are in PEM form:
//!
//! | key | value | default | meaning |
//! |---|---|---|---|
//! | `certFile` | path `$` | | the certificate, and those up to its authority |
//! | `keyFile` | path `$` | that of `certFile` | the certificate's private key |
//! | `clientCaFile` | path `$` | none | authorities of which a client has to show a certificate |

use std::net::SocketAddr;
use std::time::Duration;

use jsonc_parser::ast::Value;

use super::super::defaults;
use super::super::keys::{self, Place as Where};
use super::super::listen::{self, HostName};
use super::super::named;
use super::super::reader::{Located, Reader};
use super::super::units;
use super::sha256;
use crate::error::{Code, Place};
use crate::tools::ToolPolicy;

/// What to write as one of `jwt`.
const AN_ISSUER: &str = r#"{"name": "…", "issuer": "https://…", "audience": "…", "jwksUrl": "https://…"}"#;
/// What to write as one of `endpointTokens`.
const A_TOKEN: &str = r#""${ENDPOINT_TOKEN}""#;
/// What to write as one of `apiKeys`.
const A_KEY: &str = r#"{"name": "…", "key": "${API_KEY}"}"#;

/// The value of `gateway`.
#[derive(Debug)]
pub(crate) struct GatewayEntry {
    pub(crate) place: Place,
    pub(crate) listen: Option<Located<SocketAddr>>,
    pub(crate) cors: Vec<String>,
    pub(crate) hosts: Vec<HostName>,
    pub(crate) api_keys: Vec<ApiKeyEntry>,
    /// Whether some are written, right or wrong.
    pub(crate) has_api_keys: bool,
    /// Where the list of them stands, if there are none in it.
    pub(crate) no_api_keys: Option<Place>,
    pub(crate) jwt: Vec<JwtEntry>,
    /// The same of these.
    pub(crate) has_jwt: bool,
    pub(crate) endpoint_tokens: Vec<EndpointTokenEntry>,
    pub(crate) endpoint_servers: Vec<Located<String>>,
    pub(crate) sse: Option<bool>,
    pub(crate) session_idle: Option<Duration>,
    pub(crate) session_key_file: Option<Located<String>>,
    pub(crate) max_sessions: Option<usize>,
    pub(crate) max_streams: Option<usize>,
    pub(crate) max_held: Option<usize>,
    pub(crate) held_timeout: Option<Duration>,
    pub(crate) max_body: Option<usize>,
    pub(crate) header_timeout: Option<Duration>,
    pub(crate) max_connections: Option<usize>,
    pub(crate) max_connections_per_address: Option<usize>,
    pub(crate) requests_per_second: Option<usize>,
    pub(crate) tls: Option<TlsEntry>,
}

/// One of `apiKeys`.
#[derive(Debug)]
pub(crate) struct ApiKeyEntry {
    pub(crate) name: Located<String>,
    pub(crate) source: Source,
    /// `None`: nothing is said of servers.
    pub(crate) servers: Option<Vec<Located<String>>>,
    pub(crate) tools: ToolPolicy,
    pub(crate) capability_url: Option<bool>,
}

/// One of `endpointTokens`.
#[derive(Debug)]
pub(crate) struct EndpointTokenEntry {
    pub(crate) name: Option<Located<String>>,
    pub(crate) source: Source,
}

/// Where a key is.
#[derive(Debug)]
pub(crate) enum Source {
    /// In the file.
    Text(Located<String>),
    /// In a file of its own.
    File(Located<String>),
    /// Nowhere: its SHA-256 is known.
    Hash(Located<[u8; 32]>),
}

impl Source {
    /// Its place.
    pub(crate) fn place(&self) -> &Place {
        match self {
            Source::Text(text) | Source::File(text) => &text.place,
            Source::Hash(hash) => &hash.place,
        }
    }
}

/// One of `jwt`.
#[derive(Debug)]
pub(crate) struct JwtEntry {
    pub(crate) name: Located<String>,
    pub(crate) issuer: Located<String>,
    /// One at least.
    pub(crate) audience: Vec<Located<String>>,
    pub(crate) jwks: Jwks,
    /// `None`: nothing is said of servers.
    pub(crate) servers: Option<Vec<Located<String>>>,
    pub(crate) tools: ToolPolicy,
}

/// Where an issuer's keys are.
#[derive(Debug)]
pub(crate) enum Jwks {
    File(Located<String>),
    Url(Located<String>),
}

/// The value of `tls`.
#[derive(Debug)]
pub(crate) struct TlsEntry {
    pub(crate) cert_file: Located<String>,
    pub(crate) key_file: Option<Located<String>>,
    pub(crate) client_ca_file: Option<Located<String>>,
}

/// Reads the value of `gateway`. `None` where there is to be none.
pub(crate) fn read(r: &mut Reader<'_>, value: &Value<'_>, path: &str) -> Option<GatewayEntry> {
    if matches!(value, Value::NullKeyword(_)) {
        return None;
    }
    let mut entry = GatewayEntry {
        place: r.place(value, path),
        listen: None,
        cors: Vec::new(),
        hosts: Vec::new(),
        api_keys: Vec::new(),
        has_api_keys: false,
        no_api_keys: None,
        jwt: Vec::new(),
        has_jwt: false,
        endpoint_tokens: Vec::new(),
        endpoint_servers: Vec::new(),
        sse: None,
        session_idle: None,
        session_key_file: None,
        max_sessions: None,
        max_streams: None,
        max_held: None,
        held_timeout: None,
        max_body: None,
        header_timeout: None,
        max_connections: None,
        max_connections_per_address: None,
        requests_per_second: None,
        tls: None,
    };
    if !matches!(value, Value::Object(_)) {
        let remedy = format!("write {{\"listen\": \"{}\"}}, or leave it out for no gateway", defaults::LISTEN);
        r.mistake(value, path, Code::WrongType.says("is no object"), remedy);
        return Some(entry);
    }
    for (key, path, prop) in keys::members(r, value, path, Where::Gateway) {
        let value = &prop.value;
        match key.as_str() {
            "listen" => {
                entry.listen = r.located(value, &path, |r, value, path| r.parsed(value, path, listen::address));
            }
            "cors" => entry.cors = each(r, value, &path, listen::origin),
            "hosts" => entry.hosts = each(r, value, &path, listen::host),
            "apiKeys" => {
                let before = r.mistakes.len();
                entry.api_keys = objects(r, value, &path, ("keys", A_KEY), api_key);
                entry.has_api_keys = !entry.api_keys.is_empty() || r.mistakes.len() > before;
                let is_list = matches!(value, Value::Array(_));
                entry.no_api_keys = (is_list && !entry.has_api_keys).then(|| r.place(value, &path));
            }
            "jwt" => {
                let before = r.mistakes.len();
                entry.jwt = objects(r, value, &path, ("issuers", AN_ISSUER), jwt);
                entry.has_jwt = !entry.jwt.is_empty() || r.mistakes.len() > before;
            }
            "endpointTokens" => {
                entry.endpoint_tokens = list(r, value, &path, ("tokens", A_TOKEN), endpoint_token);
            }
            "endpointServers" => entry.endpoint_servers = r.one_or_more(value, &path),
            "sse" => entry.sse = r.boolean(value, &path),
            "sessionIdle" => entry.session_idle = r.parsed(value, &path, units::duration_from_1s),
            "sessionKeyFile" => entry.session_key_file = r.string(value, &path),
            "maxSessions" => entry.max_sessions = r.parsed(value, &path, units::count),
            "maxStreams" => entry.max_streams = r.parsed(value, &path, units::count),
            "maxHeld" => entry.max_held = r.parsed(value, &path, units::count),
            "heldTimeout" => entry.held_timeout = r.parsed(value, &path, units::duration_from_1s),
            "maxBody" => entry.max_body = r.parsed(value, &path, units::frame_size),
            "headerTimeout" => entry.header_timeout = r.parsed(value, &path, units::duration_from_1s),
            "maxConnections" => entry.max_connections = r.parsed(value, &path, units::count),
            "maxConnectionsPerAddress" => {
                entry.max_connections_per_address = r.parsed(value, &path, units::count);
            }
            "requestsPerSecond" => entry.requests_per_second = r.parsed(value, &path, units::count),
            "tls" => entry.tls = tls(r, value, &path),
            _ => keys::foreign(r, &key, prop, &path, Where::Gateway),
        }
    }
    Some(entry)
}

/// What `parse` makes of each text of a list, or of one text.
fn each<T>(
    r: &mut Reader<'_>,
    value: &Value<'_>,
    path: &str,
    parse: impl Fn(&str) -> Result<T, units::Wrong>,
) -> Vec<T> {
    let Value::Array(list) = value else {
        // A number is no text that `parse` should see.
        return if r.string(value, path).is_some() {
            r.parsed(value, path, parse).into_iter().collect()
        } else {
            vec![]
        };
    };
    let texts = r.strings(value, path).len();
    if texts < list.elements.len() {
        return Vec::new();
    }
    let all = list.elements.iter().enumerate();
    all.filter_map(|(i, value)| r.parsed(value, &format!("{path}[{i}]"), &parse)).collect()
}

/// What `read` makes of each object of a list. `what`: what these are, and how one is written.
fn objects<T>(
    r: &mut Reader<'_>,
    value: &Value<'_>,
    path: &str,
    (what, one): (&str, &str),
    read: fn(&mut Reader<'_>, &Value<'_>, &str) -> Option<T>,
) -> Vec<T> {
    list(r, value, path, (what, one), |r, value, path| {
        if let Value::Object(_) = value {
            return read(r, value, path);
        }
        r.mistake(value, path, Code::WrongType.says("is no object"), format!("write {one}"));
        None
    })
}

/// What `read` makes of each member of a list. `how`: what they are called, and how one is written.
fn list<T>(
    r: &mut Reader<'_>,
    value: &Value<'_>,
    path: &str,
    (called, how): (&str, &str),
    read: impl Fn(&mut Reader<'_>, &Value<'_>, &str) -> Option<T>,
) -> Vec<T> {
    match value {
        Value::Array(list) => {
            let each = list.elements.iter().enumerate();
            each.filter_map(|(i, value)| read(r, value, &format!("{path}[{i}]"))).collect()
        }
        Value::NullKeyword(_) => Vec::new(),
        Value::StringLit(_) | Value::NumberLit(_) | Value::BooleanLit(_) | Value::Object(_) => {
            let what = Code::WrongType.says(format!("is no list of {called}"));
            r.mistake(value, path, what, format!("write [{how}]"));
            Vec::new()
        }
    }
}

/// Reads one of `apiKeys`. `None` where it can't be used, which has been noted.
fn api_key(r: &mut Reader<'_>, value: &Value<'_>, path: &str) -> Option<ApiKeyEntry> {
    let mistakes = r.mistakes.len();
    let (mut name, mut servers, mut tools, mut capability_url) = (None, None, ToolPolicy::default(), None);
    let mut found: Found<Source> = Vec::new();
    for (key, path, prop) in keys::members(r, value, path, Where::ApiKey) {
        let value = &prop.value;
        match key.as_str() {
            "name" => name = r.string(value, &path),
            "key" | "keyFile" | "keySha256" if matches!(value, Value::NullKeyword(_)) => {}
            "key" => found.push((key, r.place(prop, &path), secret(r, value, &path).map(Source::Text))),
            "keyFile" => found.push((key, r.place(prop, &path), r.string(value, &path).map(Source::File))),
            "keySha256" => found.push((key, r.place(prop, &path), hash(r, value, &path).map(Source::Hash))),
            "servers" => servers = servers_of(r, value, &path),
            "tools" => (tools, _) = named::tools(r, value, &path),
            "capabilityUrl" => capability_url = r.boolean(value, &path),
            _ => keys::foreign(r, &key, prop, &path, Where::ApiKey),
        }
    }
    refuse_several(r, &found);
    // What a slip was meant for is not missed as well.
    let is_whole = r.mistakes.len() == mistakes;
    if found.is_empty() && is_whole {
        let what = Code::MissingKey.says("has neither a key nor a keyFile nor a keySha256");
        r.mistake(value, path, what, "add \"key\": \"${API_KEY}\", and set API_KEY in the environment or in .env");
    }
    if let Some(name) = &name {
        refuse_no_name(r, name, "key");
    } else if is_whole {
        let what = Code::MissingKey.says("has no name");
        r.mistake(value, path, what, "add \"name\": what the log is to call whoever has the key");
    }
    let (_, _, source) = found.pop()?;
    let (name, source) = (name?, source?);
    (r.mistakes.len() == mistakes).then_some(ApiKeyEntry { name, source, servers, tools, capability_url })
}

/// The servers that somebody sees. `None`: nothing is said of them.
fn servers_of(r: &mut Reader<'_>, value: &Value<'_>, path: &str) -> Option<Vec<Located<String>>> {
    if matches!(value, Value::NullKeyword(_)) {
        return None;
    }
    let names = r.one_or_more(value, path);
    if matches!(value, Value::Array(list) if list.elements.is_empty()) {
        let what = Code::WrongValue.says("is empty, so the key would be good for nothing");
        r.mistake(value, path, what, "name the servers, or leave it out for all");
    }
    Some(names)
}

/// Reads one of `jwt`. `None` where it can't be used, which has been noted.
fn jwt(r: &mut Reader<'_>, value: &Value<'_>, path: &str) -> Option<JwtEntry> {
    let mistakes = r.mistakes.len();
    let (mut name, mut issuer, mut audience) = (None, None, Vec::new());
    let (mut servers, mut tools) = (None, ToolPolicy::default());
    let mut found: Found<Jwks> = Vec::new();
    for (key, path, prop) in keys::members(r, value, path, Where::Jwt) {
        let value = &prop.value;
        match key.as_str() {
            "name" => name = r.string(value, &path),
            "issuer" => issuer = r.string(value, &path),
            "audience" => audience = r.one_or_more(value, &path),
            "jwksFile" | "jwksUrl" if matches!(value, Value::NullKeyword(_)) => {}
            "jwksFile" => found.push((key, r.place(prop, &path), r.string(value, &path).map(Jwks::File))),
            "jwksUrl" => found.push((key, r.place(prop, &path), r.string(value, &path).map(Jwks::Url))),
            "servers" => servers = servers_of(r, value, &path),
            "tools" => (tools, _) = named::tools(r, value, &path),
            _ => keys::foreign(r, &key, prop, &path, Where::Jwt),
        }
    }
    refuse_several(r, &found);
    if let Some(name) = &name {
        refuse_no_name(r, name, "key");
    }
    // What a slip was meant for is not missed as well.
    if r.mistakes.len() == mistakes {
        for (is_missing, what, remedy) in [
            (name.is_none(), "has no name", "add \"name\": what the log is to call whoever has such a token"),
            (issuer.is_none(), "has no issuer", "add \"issuer\": what stands in the tokens as \"iss\""),
            (
                audience.is_empty(),
                "has no audience",
                "add \"audience\": what stands in the tokens as \"aud\" if they are for mcp-pipe",
            ),
            (
                found.is_empty(),
                "has neither a jwksFile nor a jwksUrl",
                "add \"jwksUrl\": where the issuer has its keys; its metadata calls that jwks_uri",
            ),
        ] {
            if is_missing {
                r.mistake(value, path, Code::MissingKey.says(what), remedy);
            }
        }
    }
    let (_, _, jwks) = found.pop()?;
    let (name, issuer, jwks) = (name?, issuer?, jwks?);
    (r.mistakes.len() == mistakes).then_some(JwtEntry { name, issuer, audience, jwks, servers, tools })
}

/// Reads one of `endpointTokens`: an object, or the token alone. `None` where it can't be used, which has been noted.
fn endpoint_token(r: &mut Reader<'_>, value: &Value<'_>, path: &str) -> Option<EndpointTokenEntry> {
    if !matches!(value, Value::Object(_)) {
        if let Value::NullKeyword(_) | Value::BooleanLit(_) | Value::Array(_) = value {
            let how = format!("write {A_TOKEN}, or {{\"name\": \"…\", \"token\": {A_TOKEN}}}");
            r.mistake(value, path, Code::WrongType.says("is neither a text nor an object"), how);
            return None;
        }
        return secret(r, value, path).map(|text| EndpointTokenEntry { name: None, source: Source::Text(text) });
    }
    let mistakes = r.mistakes.len();
    let mut name = None;
    let mut found: Found<Source> = Vec::new();
    for (key, path, prop) in keys::members(r, value, path, Where::EndpointToken) {
        let value = &prop.value;
        match key.as_str() {
            "name" => name = r.string(value, &path),
            "token" | "tokenFile" | "tokenSha256" if matches!(value, Value::NullKeyword(_)) => {}
            "token" => found.push((key, r.place(prop, &path), secret(r, value, &path).map(Source::Text))),
            "tokenFile" => found.push((key, r.place(prop, &path), r.string(value, &path).map(Source::File))),
            "tokenSha256" => found.push((key, r.place(prop, &path), hash(r, value, &path).map(Source::Hash))),
            _ => keys::foreign(r, &key, prop, &path, Where::EndpointToken),
        }
    }
    refuse_several(r, &found);
    if found.is_empty() && r.mistakes.len() == mistakes {
        let what = Code::MissingKey.says("has neither a token nor a tokenFile nor a tokenSha256");
        r.mistake(value, path, what, format!("add \"token\": {A_TOKEN}, and set that in the environment or in .env"));
    }
    if let Some(name) = &name {
        refuse_no_name(r, name, "token");
    }
    let (_, _, source) = found.pop()?;
    let source = source?;
    (r.mistakes.len() == mistakes).then_some(EndpointTokenEntry { name, source })
}

/// What is written of a secret or of a set of keys: by which members, and where.
type Found<T> = Vec<(String, Place, Option<T>)>;

fn refuse_several<T>(r: &mut Reader<'_>, found: &Found<T>) {
    if let [(first, ..), (second, place, _), ..] = found.as_slice() {
        let what = format!("stands beside {first}, and one of them is all that can count");
        r.mistake_at(place, Code::Contradiction.says(what), format!("remove {first} or {second}"));
    }
}

fn refuse_no_name(r: &mut Reader<'_>, name: &Located<String>, of: &str) {
    if name.value.trim().is_empty() || name.value.chars().any(char::is_control) {
        let what = format!("is no name for a {of}: it is empty, or has a control character");
        r.mistake_at(&name.place, Code::WrongName.says(what), "use letters, digits, - and _");
    }
}

/// A text that is not to be repeated, also where it was written without quotes.
fn secret(r: &mut Reader<'_>, value: &Value<'_>, path: &str) -> Option<Located<String>> {
    if let Value::NumberLit(_) = value {
        r.mistake(value, path, Code::WrongType.says("is a number, not a text"), "write it in quotes");
        return None;
    }
    r.string(value, path)
}

fn hash(r: &mut Reader<'_>, value: &Value<'_>, path: &str) -> Option<Located<[u8; 32]>> {
    let text = secret(r, value, path)?;
    let what = match of_hex(text.value.trim()) {
        Some(hash) if hash == sha256("") => "is the SHA-256 of nothing",
        Some(hash) => return Some(Located { value: hash, place: text.place }),
        None => "is no SHA-256, which has 64 hexadecimal digits",
    };
    let how = "write what this prints: printf %s \"$KEY\" | sha256sum";
    r.mistake_at(&text.place, Code::WrongValue.says(what), how);
    None
}

/// The bytes that 64 hexadecimal digits stand for.
fn of_hex(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text.chars().map(|c| c.to_digit(16)?.try_into().ok()).collect::<Option<_>>()?;
    let pair = |pair: &[u8]| <[u8; 2]>::try_from(pair).map(|[high, low]| high << 4 | low).ok();
    digits.chunks(2).map(pair).collect::<Option<Vec<u8>>>()?.try_into().ok()
}

fn tls(r: &mut Reader<'_>, value: &Value<'_>, path: &str) -> Option<TlsEntry> {
    if matches!(value, Value::NullKeyword(_)) {
        return None;
    }
    let how = r#"write {"certFile": "cert.pem", "keyFile": "key.pem"}"#;
    if !matches!(value, Value::Object(_)) {
        r.mistake(value, path, Code::WrongType.says("is no object"), how);
        return None;
    }
    let before = r.mistakes.len();
    let (mut cert_file, mut key_file, mut client_ca_file) = (None, None, None);
    for (key, path, prop) in keys::members(r, value, path, Where::GatewayTls) {
        match key.as_str() {
            "certFile" => cert_file = r.string(&prop.value, &path),
            "keyFile" => key_file = r.string(&prop.value, &path),
            "clientCaFile" => client_ca_file = r.string(&prop.value, &path),
            _ => keys::foreign(r, &key, prop, &path, Where::GatewayTls),
        }
    }
    if cert_file.is_none() && r.mistakes.len() == before {
        r.mistake(value, path, Code::MissingKey.says("has no certFile"), how);
    }
    Some(TlsEntry { cert_file: cert_file?, key_file, client_ca_file })
}
