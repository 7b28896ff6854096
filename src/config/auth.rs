//! How a remote server is told who asks: the `auth` of an entry, as written.
//!
//! Exactly one of these stands in `auth`:
//!
//! | key | value | meaning |
//! |---|---|---|
//! | `bearer` | text `$` | a token, sent with each request as it is |
//! | `bearerFile` | path `$` | a file with a token, read again when the server refuses it or it says that it has expired |
//! | `bearerCommand` | texts | a program and its arguments, started without a shell, whose output is a token; started again as above |
//! | `clientCredentials` | object | OAuth 2.1 without a person: `clientId` `$`, `clientSecret` `$` or `privateKeyFile` `$` (PEM) with `keyId`, `scope`, `issuer` |
//! | `login` | object | OAuth 2.1 after `mcp-pipe login SERVER`: `clientId` `$` and `clientSecret` `$` where the client is registered by hand, `scope`, `redirectPort` |

use jsonc_parser::ast::Value;

use super::reader::{Located, Reader};
use crate::error::{Code, Place};
use crate::secrecy::{Secret, address};
use crate::words::closest;

/// Keys in `auth`, of which one stands there.
pub(crate) const WAYS: &[&str] = &["bearer", "bearerFile", "bearerCommand", "clientCredentials", "login"];
/// Keys in `clientCredentials` and in `login`.
pub(crate) const OF_CLIENT: &[&str] = &["clientId", "clientSecret", "privateKeyFile", "keyId", "scope", "issuer"];
pub(crate) const OF_LOGIN: &[&str] = &["clientId", "clientSecret", "scope", "redirectPort"];

/// What other programs and people call these keys.
const OTHERS: &[(&str, &[&str])] = &[
    ("bearer", &["token", "bearerToken", "bearer_token", "accessToken", "access_token", "apiKey", "api_key", "value"]),
    ("bearerFile", &["tokenFile", "token_file", "tokenPath", "path", "file"]),
    ("bearerCommand", &["command", "tokenCommand", "token_command", "helper", "headersHelper", "exec"]),
    ("clientCredentials", &["client_credentials", "client", "machine"]),
    ("login", &["oauth", "oauth2", "authorizationCode", "authorization_code", "pkce", "browser"]),
    ("clientId", &["client_id", "id"]),
    ("clientSecret", &["client_secret", "secret"]),
    ("privateKeyFile", &["privateKey", "private_key", "private_key_file", "keyFile"]),
    ("keyId", &["kid", "key_id"]),
    ("scope", &["scopes"]),
    ("issuer", &["authorizationServer", "authServer", "issuerUrl", "authServerUrl"]),
    ("redirectPort", &["port", "callbackPort", "redirectUri", "redirect_uri"]),
];

/// What stands in an entry's `auth`.
#[derive(Debug)]
pub(crate) enum AuthEntry {
    Bearer(Located<String>),
    BearerFile(Located<String>),
    BearerCommand(Place, Vec<Located<String>>),
    ClientCredentials(Place, Members),
    Login(Members),
}

/// What stands in `clientCredentials` or `login`.
#[derive(Debug, Default)]
pub(crate) struct Members {
    pub(super) client_id: Option<Located<String>>,
    pub(super) client_secret: Option<Located<String>>,
    pub(super) private_key_file: Option<Located<String>>,
    pub(super) key_id: Option<Located<String>>,
    pub(super) scope: Vec<Located<String>>,
    pub(super) issuer: Option<Located<String>>,
    pub(super) redirect_port: Option<u16>,
}

impl AuthEntry {
    /// All its texts in which variables are replaced.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &Located<String>> {
        let (one, members) = match self {
            AuthEntry::Bearer(text) | AuthEntry::BearerFile(text) => (Some(text), None),
            AuthEntry::BearerCommand(..) => (None, None),
            AuthEntry::ClientCredentials(_, members) | AuthEntry::Login(members) => (None, Some(members)),
        };
        let of_members = members
            .into_iter()
            .flat_map(|of| [&of.client_id, &of.client_secret, &of.private_key_file].into_iter().flatten());
        one.into_iter().chain(of_members)
    }

    /// Those of them that let somebody in.
    pub(crate) fn secrets(&self) -> Option<&Located<String>> {
        match self {
            AuthEntry::Bearer(text) => Some(text),
            AuthEntry::BearerFile(_) | AuthEntry::BearerCommand(..) => None,
            AuthEntry::ClientCredentials(_, members) | AuthEntry::Login(members) => members.client_secret.as_ref(),
        }
    }
}

/// What lets somebody in, in the text of a token or of a client's secret.
pub(crate) fn secrets_of(text: &str) -> Vec<Secret> {
    address::of_header("authorization", &format!("Bearer {}", text.trim()))
}

/// Reads an `auth`. `None` where nothing is said, or something that can't be used, which has been noted.
pub(crate) fn read(r: &mut Reader<'_>, value: &Value<'_>, path: &str) -> Option<AuthEntry> {
    if let Value::StringLit(text) = value {
        let is_flow = ["oauth", "login", "pkce"].iter().any(|word| text.value.to_ascii_lowercase().contains(word));
        let remedy = if is_flow {
            "write {\"login\": {}}, and run mcp-pipe login with the server's name"
        } else {
            "write {\"bearer\": \"${TOKEN}\"}, and set TOKEN in the environment or in .env"
        };
        r.mistake(value, path, Code::WrongType.says("is a text, not an object"), remedy);
        return None;
    }
    let mistakes = r.mistakes.len();
    let mut found: Vec<(String, Place, Option<AuthEntry>)> = Vec::new();
    for (key, path, prop) in r.members(value, path) {
        let (place, value) = (r.place(prop, &path), &prop.value);
        let entry = match key.as_str() {
            "bearer" => r.string(value, &path).map(AuthEntry::Bearer),
            "bearerFile" => r.string(value, &path).map(AuthEntry::BearerFile),
            "bearerCommand" => command_line(r, value, &path),
            "clientCredentials" => {
                let members = members(r, value, &path, OF_CLIENT);
                members.map(|members| AuthEntry::ClientCredentials(place.clone(), members))
            }
            "login" => members(r, value, &path, OF_LOGIN).map(AuthEntry::Login),
            _ => {
                unknown(r, &place, &key, WAYS);
                continue;
            }
        };
        if !matches!(value, Value::NullKeyword(_)) {
            found.push((key, place, entry));
        }
    }
    if let [(first, ..), (second, place, _), ..] = found.as_slice() {
        let what = format!("stands beside {first}, and one of them is all that can count");
        r.mistake_at(place, Code::Contradiction.says(what), format!("remove {first} or {second}"));
        return None;
    }
    if found.is_empty() && r.mistakes.len() == mistakes && !matches!(value, Value::NullKeyword(_)) {
        let remedy = format!("write one of {}, for example {{\"bearer\": \"${{TOKEN}}\"}}", WAYS.join(", "));
        r.mistake(value, path, Code::MissingKey.says("does not say how the server is told who asks"), remedy);
    }
    found.pop().and_then(|(.., entry)| entry)
}

fn command_line(r: &mut Reader<'_>, value: &Value<'_>, path: &str) -> Option<AuthEntry> {
    if let Value::StringLit(_) = value {
        let what = Code::WrongType.says("is a text, not a list of texts, and no shell takes it apart");
        r.mistake(value, path, what, "write the program and each argument apart: [\"…\", \"…\"]");
        return None;
    }
    let place = r.place(value, path);
    let words = r.strings(value, path);
    if let Value::Array(_) = value
        && words.first().is_none_or(|program| program.value.trim().is_empty())
    {
        r.mistake_at(&place, Code::WrongValue.says("names no program"), "write it first: [\"…\", \"…\"]");
        return None;
    }
    (!words.is_empty()).then_some(AuthEntry::BearerCommand(place, words))
}

fn members(r: &mut Reader<'_>, value: &Value<'_>, path: &str, known: &[&str]) -> Option<Members> {
    if let Value::BooleanLit(_) | Value::StringLit(_) = value {
        let remedy = if known == OF_LOGIN {
            "write {}"
        } else {
            "write {\"clientId\": \"…\", \"clientSecret\": \"${SECRET}\"}"
        };
        r.mistake(value, path, Code::WrongType.says("is no object"), remedy);
        return None;
    }
    let (before, mut members) = (r.mistakes.len(), Members::default());
    for (key, path, prop) in r.members(value, path) {
        let value = &prop.value;
        match key.as_str() {
            _ if !known.contains(&key.as_str()) => {
                let place = r.place(prop, &path);
                unknown(r, &place, &key, known);
            }
            "clientId" => members.client_id = r.string(value, &path),
            "clientSecret" => members.client_secret = r.string(value, &path),
            "privateKeyFile" => members.private_key_file = r.string(value, &path),
            "keyId" => members.key_id = r.string(value, &path),
            "scope" => members.scope = r.one_or_more(value, &path),
            "issuer" => members.issuer = r.string(value, &path),
            _ => members.redirect_port = r.parsed(value, &path, super::units::port),
        }
    }
    // What a slip was meant for is not missed as well.
    (r.mistakes.len() == before).then_some(members)
}

/// Notes a key that stands where it means nothing: without it the server would be told something else than was meant.
fn unknown(r: &mut Reader<'_>, place: &Place, key: &str, known: &[&str]) {
    // Cursor has them in capitals.
    let plain = |key: &str| key.replace(['-', '_'], "").to_ascii_lowercase();
    let is_of_client = ["clientId", "clientSecret", "scope", "scopes"].iter().any(|of| plain(of) == plain(key));
    let ours = OTHERS.iter().find(|(_, others)| others.iter().any(|other| other.eq_ignore_ascii_case(key)));
    let ours = ours.map(|(ours, _)| *ours).filter(|ours| known.contains(ours));
    let elsewhere = [("clientCredentials", OF_CLIENT), ("login", OF_LOGIN)];
    let home = elsewhere.iter().find(|(_, keys)| known == WAYS && keys.contains(&key));
    let remedy = match (ours.or_else(|| closest(key, known.iter().copied())), home) {
        _ if known == WAYS && is_of_client => {
            "write it in clientCredentials, or in login if a person logs in: {\"clientId\": \"…\", \"clientSecret\": \"${SECRET}\"}"
                .to_owned()
        }
        (_, Some((home, _))) => format!("write it in {home}"),
        (Some(ours), None) => format!("did you mean {ours}?"),
        (None, None) => format!("known are {}", known.join(", ")),
    };
    r.mistake_at(place, Code::UnknownKey.says("is not a known key"), remedy);
}
