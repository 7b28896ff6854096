//! What becomes of each key of the file, and which one a slip is closest to.

mod foreign;
mod ours;

use jsonc_parser::ast::{ObjectProp, Value};

pub(crate) use self::foreign::NOTES;
use self::foreign::Treatment::{Asking, Harmless, Honoured, Ignored, Meant, Mistake, Off, On};
use self::foreign::{
    ASKS, CALL_TIMEOUT, FILTER, FOREIGN, IN_NO_ENDPOINT, OF_REMOTE, START_TIMEOUT, TOKENS, Treatment, treatment,
};
use self::ours::Place::{
    Admin, ApiKey, Cache, CircuitBreaker, Endpoint, EndpointToken, Gateway, GatewayTls, HealthCheck, Jwt, Lease,
    Limits, LogFile, Server, Tools, Top,
};
pub(crate) use self::ours::*;
use super::RemoteTransport;
use super::reader::{Member, Reader, member, truth};
use super::units;
use crate::endpoint::is_variable;
use crate::error::Code;
use crate::words::{brief, closest, listed};

/// Whether a key means something for a remote server only, and is none of ours.
pub(crate) fn is_of_remote(key: &str) -> bool {
    OF_REMOTE.contains(&key)
}

/// What to write in place of such a key.
pub(crate) fn in_place_of(key: &str, value: &Value<'_>) -> String {
    let text = match value {
        Value::StringLit(text) => &*text.value,
        Value::NumberLit(_) | Value::BooleanLit(_) | Value::Object(_) | Value::Array(_) | Value::NullKeyword(_) => "",
    };
    in_place_of_text(key, text)
}

fn in_place_of_text(key: &str, text: &str) -> String {
    let login = "write \"auth\": {\"login\": {}}, and run mcp-pipe login with the server's name";
    match key {
        "bearer_token_env_var" | "bearerTokenEnvVar" if is_variable(&format!("${{{text}}}")) => {
            format!("write \"auth\": {{\"bearer\": \"${{{}}}\"}}", brief(text))
        }
        "authProviderType" | "targetAudience" | "targetServiceAccount" if text != "dynamic_discovery" => {
            "write \"auth\": {\"bearerCommand\": [\"gcloud\", \"auth\", \"print-access-token\"]}".to_owned()
        }
        "oauth" | "oauth_resource" | "authProviderType" => login.to_owned(),
        "headersHelper" => {
            "write \"auth\": {\"bearerCommand\": [\"…\"]}: a program that prints the token alone".to_owned()
        }
        _ => "write \"auth\": {\"bearer\": \"${TOKEN}\"}, and set TOKEN in the environment or in .env".to_owned(),
    }
}

/// Whether a key is what people call a token, which for an endpoint stands in the address.
pub(crate) fn is_token(key: &str) -> bool {
    TOKENS.contains(&key)
}

/// The members of an object under our names for them, as written in `place`.
pub(crate) fn members<'v, 'a>(
    r: &mut Reader<'_>,
    value: &'v Value<'a>,
    path: &str,
    place: Place,
) -> Vec<Member<'v, 'a>> {
    let mut members: Vec<Member<'v, 'a>> = r.members(value, path);
    let mut told = Vec::new();
    for i in 0..members.len() {
        let key = &*members[i].0;
        let (ours, is_own) = match (treatment(place, key), synonym(place, key)) {
            (Some(Honoured(ours)), _) => (ours, false),
            // The other one of the two is told of.
            (_, Some(ours)) if key != ours => (ours, true),
            (_, Some(_) | None) => continue,
        };
        // Lists of tools add up; of two other keys with one meaning the last counts.
        let is_twin = |(at, (other, ..)): &(usize, &Member<'_, '_>)| {
            *at != i && (other == ours || synonym(place, other) == Some(ours))
        };
        let twin = members.iter().enumerate().find(is_twin).map(|(twin, _)| twin);
        let is_harmless =
            |twin: usize| is_own && (told.contains(&ours) || is_same(&members[i].2.value, &members[twin].2.value));
        if let (Some(twin), false) = (twin.filter(|twin| !is_harmless(*twin)), ours.contains('.')) {
            let (_, path, prop) = &members[i];
            let name = &members[twin].0;
            let (what, remedy) = of_twins(name, &members[i.min(twin)].2.value, &members[i.max(twin)].2.value);
            r.warning(*prop, path, Code::Duplicate.says(what), remedy);
            told.push(ours);
        }
        if !is_own {
            members[i].0 = ours.to_owned();
        }
    }
    for (key, of_member, prop) in &members {
        r.written.push((member(path, key), r.place(*prop, of_member)));
    }
    members
}

/// The first of our keys that means the same as another one of ours.
fn synonym(place: Place, key: &str) -> Option<&'static str> {
    match (place, key) {
        (Server, "url" | "serverUrl") => Some("url"),
        (Server, "type" | "transportType" | "transport") => Some("type"),
        _ => None,
    }
}

/// Whether two values are the same text.
fn is_same(one: &Value<'_>, other: &Value<'_>) -> bool {
    matches!((one, other), (Value::StringLit(one), Value::StringLit(other)) if one.value == other.value)
}

/// What becomes of two keys with one meaning, of which `ours` is one, and what to do about it.
fn of_twins(ours: &str, first: &Value<'_>, last: &Value<'_>) -> (String, &'static str) {
    let names = |value: &Value<'_>| -> Vec<String> {
        let Value::Object(object) = value else { return Vec::new() };
        object.properties.iter().map(|prop| prop.name.as_str().to_owned()).collect()
    };
    let (before, after) = (names(first), names(last));
    let lost: Vec<String> =
        before.iter().filter(|name| !after.contains(name)).map(|name| brief(name).into_owned()).collect();
    match ours {
        "mcpServers" if before.is_empty() != after.is_empty() => {
            (format!("means the same as {ours} beside it; the one that is not empty counts"), "remove the empty one")
        }
        "mcpServers" if !lost.is_empty() => {
            let n = lost.len();
            let lost = listed(lost.into_iter().take(SHOWN).collect(), n);
            (
                format!("means the same as {ours} beside it; the last one counts, without {lost} of the first"),
                "move all servers into one mcpServers",
            )
        }
        _ => (format!("says the same as {ours} beside it; the last one counts"), "remove one of them"),
    }
}

/// Most names that are told of servers that are left out.
const SHOWN: usize = 5;

/// How a remote server is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remote {
    /// By SSE or Streamable HTTP.
    Http(RemoteTransport),
    /// By WebSocket.
    WebSocket,
    /// It is no MCP server, but described for programs that make one of it.
    OpenApi,
}

/// What a `type` says of a remote server, in any of the spellings; `None` for another type.
pub(crate) fn remote(kind: &str) -> Option<Remote> {
    let plain: String = kind.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    match plain.as_str() {
        "http" | "streamablehttp" | "httpstream" => Some(Remote::Http(RemoteTransport::Http)),
        "sse" => Some(Remote::Http(RemoteTransport::Sse)),
        "remote" => Some(Remote::Http(RemoteTransport::Any)),
        "ws" | "websocket" | "websockets" => Some(Remote::WebSocket),
        "openapi" => Some(Remote::OpenApi),
        _ => None,
    }
}

/// What becomes of a key of an entry that is taken over from another program's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is kept as this key of ours. `tools.allow` and `tools.deny` are those in `tools`.
    As(&'static str),
    /// It is a time, which is this key of ours.
    Time(&'static str),
    /// It is left out, for this reason.
    Left(String),
}

/// What becomes of a key with this value, where it is a text.
pub(crate) fn taken(key: &str, text: &str) -> Taken {
    if let Some(ours) = ours(Server).find(|ours| *ours == key) {
        return Taken::As(ours);
    }
    if is_of_remote(key) || is_token(key) {
        return Taken::Left(in_place_of_text(key, text));
    }
    let nobody_asks = || Taken::Left(format!("{ASKS}: \"tools\": {{\"allow\": […]}}"));
    match treatment(Server, key) {
        Some(Honoured(ours)) => Taken::As(ours),
        Some(Ignored(START_TIMEOUT)) => Taken::Time(START_TIMEOUT),
        Some(Ignored(CALL_TIMEOUT)) => Taken::Time(CALL_TIMEOUT),
        Some(Asking | On(ASKS)) => nobody_asks(),
        Some(Harmless) => Taken::Left("means nothing to mcp-pipe".to_owned()),
        Some(On(why) | Off(why) | Ignored(why) | Mistake(why)) => Taken::Left(why.to_owned()),
        Some(Meant(ours)) => Taken::Left(did_you_mean(ours)),
        None => Taken::Left("is no key that mcp-pipe knows".to_owned()),
    }
}

/// Why a key at the top of another program's file is not taken over, where that is more than that it is this program's own.
pub(crate) fn of_top(key: &str) -> Option<&'static str> {
    match treatment(Top, key)? {
        Ignored(why) | Mistake(why) | On(why) | Off(why) => Some(why),
        Harmless | Honoured(_) | Meant(_) | Asking => None,
    }
}

/// Says what becomes of a key that is none of ours in this place, and what was probably meant.
pub(crate) fn foreign(r: &mut Reader<'_>, key: &str, prop: &ObjectProp<'_>, path: &str, place: Place) {
    let unknown = "is not a known key";
    match treatment(place, key) {
        Some(Harmless | Honoured(_)) => {}
        Some(Asking) if names_any(&prop.value) => {
            let what = "nobody is asked before a call, so every published tool can be called; to publish these only";
            r.note(prop, path, format!("{what}: \"tools\": {{\"allow\": […]}}"));
        }
        Some(On(ASKS)) if is_switched(&prop.value) == Some(false) => {
            r.note(prop, path, format!("{ASKS}: \"tools\": {{\"allow\": […]}}"));
        }
        Some(On(why)) if is_switched(&prop.value) == Some(false) => {
            let (what, remedy) = why.split_once("; ").unwrap_or((why, ""));
            r.warning(prop, path, Code::NoEffect.says(format!("is ignored: {what}")), remedy);
        }
        Some(Off(why)) if is_switched(&prop.value) != Some(false) => {
            r.warning(prop, path, Code::NoEffect.says(format!("is ignored: {why}")), "remove it");
        }
        Some(Asking | On(_) | Off(_)) => {}
        Some(Ignored(CALL_TIMEOUT | START_TIMEOUT)) => {
            let ours = if treatment(place, key) == Some(Ignored(START_TIMEOUT)) { START_TIMEOUT } else { CALL_TIMEOUT };
            let remedy = format!("write \"{ours}\": \"{}\"", time_of(key, &prop.value));
            r.warning(prop, path, Code::UnknownKey.says(format!("{unknown} and is ignored")), remedy);
        }
        Some(Ignored(remedy)) => r.warning(prop, path, Code::NoEffect.says("is ignored"), remedy),
        Some(Mistake(remedy)) if place == Top => {
            r.mistake(prop, path, Code::Misplaced.says("belongs in a server's entry"), remedy);
        }
        Some(Mistake(remedy)) => r.mistake(prop, path, Code::UnknownKey.says(unknown), remedy),
        Some(Meant(ours)) if is_strict(place) => {
            r.mistake(prop, path, Code::UnknownKey.says(unknown), did_you_mean(ours));
        }
        Some(Meant(ours)) => {
            r.warning(prop, path, Code::UnknownKey.says(format!("{unknown} and is ignored")), did_you_mean(ours))
        }
        None if place == Server && is_filter(key) => {
            r.mistake(prop, path, Code::UnknownKey.says(unknown), FILTER);
        }
        None => {
            let likely = likely(place, key);
            let guards = likely.as_ref().is_some_and(|likely| likely.guards(key));
            let (code, what, remedy) = match likely {
                Some(Likely::Misplaced { home }) => {
                    (Code::Misplaced, format!("belongs {home},"), "move it there".to_owned())
                }
                Some(Likely::Slip { ours, home }) => {
                    let more = home.map_or_else(String::new, |home| format!(" That belongs {home}"));
                    (Code::UnknownKey, unknown.to_owned(), did_you_mean(ours) + &more)
                }
                None => (Code::UnknownKey, unknown.to_owned(), "remove it, or check its spelling".to_owned()),
            };
            if guards || is_strict(place) {
                r.mistake(prop, path, code.says(what.trim_end_matches(',')), remedy);
            } else {
                r.warning(prop, path, code.says(format!("{what} and is ignored")), remedy);
            }
        }
    }
}

/// Keys of ours that keep something from happening. A slip of one is a mistake wherever it stands: it would happen.
const GUARDS: &[&str] = &["lease", "tools", "inheritEnv"];

/// Whether a key of an entry is some program's rule about which tools there are.
fn is_filter(key: &str) -> bool {
    let key = plain(key);
    let names = |words: &[&str]| words.iter().any(|word| key.contains(word));
    let rules = [
        "allow", "deny", "denied", "exclu", "includ", "hid", "ignor", "black", "white", "block", "filter", "enable",
        "disable",
    ];
    ["exclude", "include"].contains(&&*key) || names(&["tool"]) && names(&rules)
}

/// Whether an unknown key is a mistake: without the rule that was meant, tools would be published that should not be, or somebody let in
/// who should not be.
fn is_strict(place: Place) -> bool {
    match place {
        Top | Server | Endpoint => false,
        Tools | CircuitBreaker | Cache | HealthCheck | Limits | LogFile => true,
        Gateway | ApiKey | Jwt | EndpointToken | GatewayTls | Admin | Lease => true,
    }
}

fn did_you_mean(ours: &str) -> String {
    format!("did you mean {ours}?")
}

/// Whether a file names servers, in the place where we or other programs have them.
pub(crate) fn has_servers(value: &Value<'_>) -> bool {
    let names_them =
        |key: &str| names_servers(key) || matches!(treatment(Top, key), Some(Honoured("mcp" | "mcpServerConfig")));
    matches!(value, Value::Object(object) if object.properties.iter().any(|prop| names_them(prop.name.as_str())))
}

/// Whether a key is that of the list of servers, by our name or another program's.
pub(crate) fn names_servers(key: &str) -> bool {
    key == "mcpServers" || treatment(Top, key) == Some(Honoured("mcpServers"))
}

/// The key of a config that most likely was to be `mcpServers`: a slip of it, with an object.
pub(crate) fn slip_of_servers(value: &Value<'_>) -> Option<String> {
    let Value::Object(object) = value else { return None };
    let objects = object.properties.iter().filter(|prop| matches!(prop.value, Value::Object(_)));
    let mut keys = objects.map(|prop| prop.name.as_str()).filter(|key| !names_servers(key));
    keys.find(|key| matches!(likely(Top, key), Some(Likely::Slip { ours: "mcpServers", .. }))).map(str::to_owned)
}

/// Whether an entry names the address of a remote server that is reached by HTTP, and no program.
pub(crate) fn is_at_address(entry: &Value<'_>) -> bool {
    let Value::Object(object) = entry else { return false };
    let is_url = |key: &str| ["url", "serverUrl"].contains(&key) || treatment(Server, key) == Some(Honoured("url"));
    let filled = |value: &Value<'_>| match value {
        Value::StringLit(text) => Some(text.value.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Array(_) => Some(String::new()),
        Value::NumberLit(_) | Value::BooleanLit(_) | Value::Object(_) | Value::NullKeyword(_) => None,
    };
    let of = |is: &dyn Fn(&str) -> bool| {
        object.properties.iter().filter(|prop| is(prop.name.as_str())).find_map(|prop| filled(&prop.value))
    };
    of(&|key| key == "command").is_none() && of(&is_url).is_some_and(|url| !is_websocket(&url))
}

/// Whether a key is none that anybody knows in its place.
pub(crate) fn is_unknown(place: Place, key: &str) -> bool {
    treatment(place, key).is_none() && ours(place).all(|ours| ours != key)
}

/// What an unknown key most likely is.
enum Likely {
    /// A key of ours, in another place than where it belongs.
    Misplaced {
        /// Where it belongs.
        home: &'static str,
    },
    /// A slip of a key of ours, or another program's name for one.
    Slip {
        /// The key of ours.
        ours: &'static str,
        /// Where that belongs, if it is another place.
        home: Option<&'static str>,
    },
}

impl Likely {
    /// Whether this key was meant to keep something from happening.
    fn guards(&self, key: &str) -> bool {
        GUARDS.iter().any(|guard| match self {
            Likely::Misplaced { .. } => plain(guard) == plain(key),
            Likely::Slip { ours, .. } => guard == ours,
        })
    }
}

/// What an unknown key most likely is: first what is written like it, here and elsewhere, then what others call it, then what is
/// similar.
fn likely(place: Place, key: &str) -> Option<Likely> {
    let others = elsewhere(place);
    let all = || others.iter().flat_map(|(home, keys)| keys.iter().map(move |key| (*key, *home)));
    let is_here = |ours: &str| self::ours(place).any(|here| here == ours);
    let home_of = |ours: &str| all().find(|(other, _)| *other == ours && !is_here(ours)).map(|(_, home)| home);
    let is_same = |ours: &str| plain(ours) == plain(key);
    let known = |ours: &'static str| Some((ours, home_of(ours))).filter(|(_, home)| home.is_some() || is_here(ours));
    let foreign = |at: Place| treatment(at, key).and_then(key_of).and_then(known);
    let similar = || {
        let near = closest(key, all().map(|(ours, _)| ours).chain(ours(place)));
        // Or it is a slip of what others call it.
        near.map(|ours| (ours, home_of(ours))).or_else(|| foreign_to(key, place).and_then(known))
    };
    if let Some(ours) = ours(place).find(|ours| is_same(ours)) {
        return Some(Likely::Slip { ours, home: None });
    }
    if let Some((_, home)) = all().find(|(ours, _)| is_same(ours)) {
        return Some(Likely::Misplaced { home });
    }
    let found = [Top, Server].into_iter().find_map(foreign).or_else(similar);
    found.map(|(ours, home)| Likely::Slip { ours, home })
}

/// The key of ours that a key of other programs stands for.
fn key_of(treatment: Treatment) -> Option<&'static str> {
    match treatment {
        Honoured(ours) | Meant(ours) => Some(ours),
        Harmless | Asking | On(_) | Off(_) | Ignored(_) | Mistake(_) => None,
    }
}

/// The key of ours for which the key of another program stands in a place that this one is written much like.
fn foreign_to(key: &str, place: Place) -> Option<&'static str> {
    let here = || FOREIGN.iter().filter(|(at, ..)| *at == place);
    let near = closest(key, here().flat_map(|(.., names)| names.iter().copied()))?;
    here().find(|(.., names)| names.contains(&near)).and_then(|(_, treatment, _)| key_of(*treatment))
}

/// Our keys for other places, each with where it belongs.
fn elsewhere(place: Place) -> &'static [(&'static str, &'static [&'static str])] {
    const IN_ENTRY: &str = "in a server's entry, under mcpServers.NAME";
    const AT_TOP: &str = "at the top of the file, beside mcpServers";
    const IN_TOOLS: &str = "in the tools of a server's entry";
    const IN_GATEWAY: &str = "in the gateway, at the top of the file";
    const IN_API_KEY: &str = "in one of the gateway's apiKeys";
    const IN_TOKEN: &str = "in one of the gateway's endpointTokens";
    const IN_TLS: &str = "in the gateway's tls";
    match place {
        Top => &[(IN_ENTRY, SERVER), (IN_TOOLS, TOOLS), (IN_GATEWAY, GATEWAY)],
        Server => &[(AT_TOP, TOP), (IN_TOOLS, TOOLS)],
        Tools => &[(IN_ENTRY, SERVER), (AT_TOP, TOP)],
        Endpoint => &[(IN_ENTRY, IN_NO_ENDPOINT), (AT_TOP, TOP)],
        Gateway => &[(IN_API_KEY, API_KEY), (IN_TOKEN, ENDPOINT_TOKEN), (IN_TLS, GATEWAY_TLS), (AT_TOP, TOP)],
        CircuitBreaker | Cache | HealthCheck | Limits | LogFile => &[(IN_ENTRY, SERVER), (AT_TOP, TOP)],
        ApiKey | Jwt | EndpointToken | GatewayTls | Admin => &[(IN_GATEWAY, GATEWAY)],
        Lease => &[(AT_TOP, TOP), (AT_TOP, SHARED)],
    }
}

/// Our keys for a place.
fn ours(place: Place) -> impl Iterator<Item = &'static str> {
    let (keys, shared): (&[&str], &[&str]) = match place {
        Top => (TOP, SHARED),
        Server => (SERVER, SHARED),
        Tools => (TOOLS, &[]),
        CircuitBreaker => (CIRCUIT_BREAKER, &[]),
        Cache => (CACHE, &[]),
        HealthCheck => (HEALTH_CHECK, &[]),
        Endpoint => (ENDPOINT, &[]),
        Gateway => (GATEWAY, &[]),
        ApiKey => (API_KEY, &[]),
        Jwt => (JWT, &[]),
        EndpointToken => (ENDPOINT_TOKEN, &[]),
        GatewayTls => (GATEWAY_TLS, &[]),
        Admin => (ADMIN, &[]),
        Lease => (LEASE, &[]),
        Limits => (LIMITS, &[]),
        LogFile => (LOG_FILE, &[]),
    };
    keys.iter().chain(shared).copied()
}

/// A key without what differs from one way of writing words together to another.
fn plain(key: &str) -> String {
    key.replace(['-', '_', '.'], "").to_ascii_lowercase()
}

/// Whether a list of tools names some, and not all of them by `*`.
fn names_any(value: &Value<'_>) -> bool {
    let is_star = |value: &Value<'_>| matches!(value, Value::StringLit(text) if text.value == "*");
    matches!(value, Value::Array(list) if !list.elements.is_empty() && !list.elements.iter().any(is_star))
}

/// Whether a value switches something on: anything that is neither false, nothing, nor a word for not at all.
fn is_switched(value: &Value<'_>) -> Option<bool> {
    match value {
        Value::BooleanLit(boolean) => Some(boolean.value),
        Value::StringLit(text) => {
            let is_off = truth(&text.value) == Some(false) || ["never", "none", "manual"].contains(&text.value.trim());
            Some(!is_off)
        }
        Value::NumberLit(number) => Some(!number.value.trim_matches(['0', '.']).is_empty()),
        Value::NullKeyword(_) => Some(false),
        Value::Object(_) | Value::Array(_) => None,
    }
}

/// A time as this config has it, for a value without a unit; the key may name the unit.
fn time_of(key: &str, value: &Value<'_>) -> String {
    let number = match value {
        Value::NumberLit(number) => number.value,
        Value::StringLit(_) | Value::BooleanLit(_) | Value::Object(_) | Value::Array(_) | Value::NullKeyword(_) => {
            "60s"
        }
    };
    time_of_number(key, number)
}

/// The same of a number.
pub(crate) fn time_of_number(key: &str, number: &str) -> String {
    let key = key.to_ascii_lowercase();
    if !number.bytes().all(|b| b.is_ascii_digit()) {
        brief(number).into_owned()
    } else if key.ends_with("sec") || key.ends_with("seconds") {
        format!("{}s", brief(number))
    } else if key.ends_with("ms") {
        format!("{}ms", brief(number))
    } else {
        units::with_likely_unit(number)
    }
}

/// The key of the file that somebody took for an option of the command line, `pingInterval` for `ping-interval`, and where that
/// key belongs.
pub(crate) fn of_option(option: &str) -> Option<(&'static str, &'static str)> {
    let places = [
        (SHARED, "at the top of the config or in the entry of a server"),
        (TOP, "at the top of the config"),
        (SERVER, "in the entry of a server"),
        (TOOLS, "in the tools of a server's entry"),
        (GATEWAY, "in the gateway of the config"),
    ];
    let found =
        |(keys, place): (&[&'static str], _)| Some((*keys.iter().find(|key| plain(key) == plain(option))?, place));
    places.into_iter().find_map(found)
}

/// Whether an address is that of a WebSocket.
pub(crate) fn is_websocket(url: &str) -> bool {
    let url = url.trim().to_ascii_lowercase();
    ["ws:", "wss:"].iter().any(|scheme| url.starts_with(scheme))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_key_is_the_one_meant() {
        let keys = || SERVER.iter().chain(SHARED).copied();
        for (slip, meant) in [("comand", "command"), ("arg", "args"), ("ENV", "env"), ("start_timeout", "startTimeout")]
        {
            assert_eq!(closest(slip, keys()), Some(meant));
        }
        assert_eq!(closest("zzz", keys()), None);
    }

    #[test]
    fn all_spellings_of_the_remote_types_are_known() {
        for kind in ["sse", "http", "streamable-http", "streamable_http", "streamableHttp", "streamablehttp", "SSE"] {
            let transport = if kind.eq_ignore_ascii_case("sse") { RemoteTransport::Sse } else { RemoteTransport::Http };
            assert_eq!(remote(kind), Some(Remote::Http(transport)), "{kind}");
        }
        for kind in ["stdio", "local", ""] {
            assert_eq!(remote(kind), None, "{kind}");
        }
    }

    #[test]
    fn the_references_in_the_source_and_in_the_readme_have_a_row_for_every_key() {
        // What the tables are about, and what only a remote server has.
        let others = ["mcpServers", "url", "serverUrl", "headers"];
        let file = (include_str!("file.rs"), "//! | ", TOP.iter().chain(SERVER).chain(SHARED).collect::<Vec<_>>());
        let readme = (include_str!("../../README.md"), "| ", file.2.clone());
        let policy = (include_str!("policy.rs"), "//! | ", TOOLS.iter().collect());
        for (text, row, keys) in [file, readme, policy] {
            for key in keys.into_iter().filter(|key| !others.contains(key)) {
                let first = |line: &str| {
                    line.starts_with(row) && line.split('|').nth(1).is_some_and(|c| c.contains(&format!("`{key}`")))
                };
                assert!(text.lines().any(first), "{key} has no row in the table that begins {:.40}", text);
            }
        }
    }
}
