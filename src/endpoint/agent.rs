//! Who an endpoint is for. Pure.
//!
//! An endpoint limits the connections of an *agent*, so two servers with different tokens may still be in each other's way.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderName;
use percent_encoding::percent_decode_str;
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Endpoint, Secret};
use crate::mcp::cloud;
use crate::secrecy::address::is_telling;

/// The agent to which an endpoint belongs, as a digest: equal for two addresses of one agent, and unreadable.
///
/// The xiaozhi cloud's tokens are JSON Web Tokens (RFC 7519) that name user and agent, and its console shows another token
/// at each visit: two tokens with the same claims, at the same place, are for the same agent. Signatures are the endpoint's
/// business. For any other address everything that lets somebody in counts: query, user name, password, and the headers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Agent([u8; 16]);

/// What several daemons call an agent where they agree on who serves it: a digest, too, but of the token alone. Daemons may reach one
/// endpoint by different addresses, and it is still the same agent. Two keys for one agent would have it connected twice; one key for
/// two agents only has one daemon serve both.
///
/// Only where there is no token, the rest of the query counts, and where there is nothing of that either, the address: there is
/// nothing else by which two agents could be told apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LeaseKey([u8; 16]);

/// The claims of a token that name its agent.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Claims {
    agent_id: Value,
    #[serde(default)]
    user_id: Value,
}

impl Agent {
    /// The agent of `endpoint`, dialled with these headers.
    pub(crate) fn of(endpoint: &Endpoint, headers: &[(HeaderName, Secret)]) -> Self {
        Agent(digest_of(place(endpoint).into_iter().chain(token(endpoint, headers))))
    }

    /// The digest for a file name: 32 hexadecimal digits, the same in every run.
    pub(crate) fn key(&self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.0))
    }
}

impl LeaseKey {
    /// The key of the agent of `endpoint`, dialled with these headers.
    pub(crate) fn of(endpoint: &Endpoint, headers: &[(HeaderName, Secret)]) -> Self {
        let query = endpoint.reveal().query().unwrap_or_default();
        let all = || parameters(query).map(|(name, value)| format!("{}={}", decoded(name), decoded(value)));
        let known = claimed(endpoint, headers).map(Vec::from).or_else(|| tokens(endpoint, headers));
        let parts = known.unwrap_or_else(|| sorted(all()));
        LeaseKey(digest_of(if parts.is_empty() { place(endpoint) } else { parts }))
    }

    /// The key as it is written: 32 hexadecimal digits.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let is_digit = |c: char| matches!(c, '0'..='9' | 'a'..='f');
        let number = u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 32 && text.chars().all(is_digit))?;
        Some(LeaseKey(number.to_be_bytes()))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// A key of nobody.
    #[cfg(test)]
    pub(crate) fn made_up(number: u8) -> Self {
        LeaseKey([number; 16])
    }
}

impl fmt::Display for LeaseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for LeaseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LeaseKey({self})")
    }
}

/// Where an endpoint is.
fn place(endpoint: &Endpoint) -> Vec<String> {
    let scheme = if endpoint.is_tls() { "wss" } else { "ws" };
    let (host, port) = (endpoint.host().to_ascii_lowercase(), endpoint.port().to_string());
    vec![scheme.to_owned(), host, port, endpoint.reveal().path().to_owned()]
}

/// What lets somebody in at an endpoint, behind a word for what that is.
fn token(endpoint: &Endpoint, headers: &[(HeaderName, Secret)]) -> Vec<String> {
    if let Some([user, agent]) = claimed(endpoint, headers) {
        return vec!["claims".to_owned(), user, agent];
    }
    let query = endpoint.reveal().query().unwrap_or_default();
    // The order of parameters and headers tells no two agents apart.
    let query = sorted(query.split('&').filter(|it| !it.is_empty()).map(decoded)).join("&");
    let mut headers: Vec<_> = headers.iter().map(|(name, value)| [name.as_str(), value.reveal()]).collect();
    headers.sort_unstable();
    let mut parts: Vec<String> = ["address", user(endpoint), &query].map(str::to_owned).into();
    parts.extend(headers.into_iter().flatten().map(str::to_owned));
    parts
}

/// The user and the agent, if a token in the query or in a header names them.
fn claimed(endpoint: &Endpoint, headers: &[(HeaderName, Secret)]) -> Option<[String; 2]> {
    let in_query = parameters(endpoint.reveal().query().unwrap_or_default()).find_map(|(_, value)| claims(value));
    in_query.or_else(|| headers.iter().find_map(|(_, value)| claims(bare(value.reveal()))))
}

/// The tokens themselves, wherever an endpoint is told them: in the query, best as `token`, in headers, or as the user.
fn tokens(endpoint: &Endpoint, headers: &[(HeaderName, Secret)]) -> Option<Vec<String>> {
    let query = endpoint.reveal().query().unwrap_or_default();
    let named = |is_it: fn(&str) -> bool| {
        sorted(parameters(query).filter(|(name, _)| is_it(name)).map(|(_, value)| decoded(value)))
    };
    let telling = headers.iter().filter(|(name, _)| is_telling(name.as_str()));
    let in_headers = || sorted(telling.map(|(_, value)| bare(value.reveal()).to_owned()));
    let user = || sorted(std::iter::once(decoded(user(endpoint))).filter(|user| !user.is_empty()));
    let ways = [named(|name| decoded(name).eq_ignore_ascii_case("token")), named(is_telling), in_headers(), user()];
    ways.into_iter().find(|way| !way.is_empty())
}

/// The parameters of a query that say something, as they are written.
fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter_map(|parameter| parameter.split_once('=')).filter(|(_, value)| !value.is_empty())
}

/// What a header says without the word for the way of letting in (RFC 9110 section 11.4).
fn bare(value: &str) -> &str {
    value.split_ascii_whitespace().next_back().unwrap_or_default()
}

/// The user, and the password, of an address.
fn user(endpoint: &Endpoint) -> &str {
    endpoint.reveal().authority().and_then(|a| a.as_str().rsplit_once('@')).map_or("", |(user, _)| user)
}

fn sorted(parts: impl Iterator<Item = String>) -> Vec<String> {
    let mut parts: Vec<String> = parts.collect();
    parts.sort_unstable();
    parts
}

/// The first half of the SHA-256 of these parts.
fn digest_of(parts: impl IntoIterator<Item = String>) -> [u8; 16] {
    let mut bytes = Vec::with_capacity(256);
    for part in parts {
        // Each part follows its length, so that no two lists of parts give the same bytes.
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    let mut half = [0; 16];
    half.copy_from_slice(&digest(&SHA256, &bytes).as_ref()[..16]);
    half
}

/// Whether an endpoint is known to keep only the newest connection of an agent: a self-hosted endpoint server, known by the
/// path.
pub(crate) fn takes_one(endpoint: &Endpoint) -> bool {
    endpoint.reveal().path().ends_with(cloud::SELF_HOSTED_PATH)
}

/// Until when the token of an endpoint is good by what it says of itself, in seconds since 1970. `None` where it doesn't say.
pub(crate) fn good_until(endpoint: &Endpoint) -> Option<u64> {
    times(endpoint.reveal().query(), [])?.until
}

/// What a token says of its time, in seconds since 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Times {
    /// Until when it is good (`exp`, RFC 7519 section 4.1.4).
    pub(crate) until: Option<u64>,
    /// When it was issued (`iat`, RFC 7519 section 4.1.6).
    pub(crate) since: Option<u64>,
}

/// The times of the token that lets somebody in: in the query of an address, or in a header. `None` where none says any.
pub(crate) fn times<'a>(query: Option<&str>, headers: impl IntoIterator<Item = &'a Secret>) -> Option<Times> {
    #[derive(Deserialize)]
    struct Claims {
        #[serde(default)]
        exp: Value,
        #[serde(default)]
        iat: Value,
    }
    let of_query = parameters(query.unwrap_or_default()).map(|(_, value)| value);
    let of_headers = headers.into_iter().map(|value| bare(value.reveal()));
    of_query.chain(of_headers).find_map(|token| {
        let Claims { exp, iat } = payload(token)?;
        let times = Times { until: seconds(&exp), since: seconds(&iat) };
        (times != Times::default()).then_some(times)
    })
}

/// A time as a token has it.
fn seconds(time: &Value) -> Option<u64> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates, which is far away in either way"
    )]
    time.as_f64().filter(|time| time.is_finite() && *time > 0.0).map(|time| time as u64)
}

/// The user and the agent, if this is a token that names the agent.
fn claims(token: &str) -> Option<[String; 2]> {
    let Claims { agent_id, user_id } = payload(token)?;
    Some([id(&user_id).unwrap_or_default(), id(&agent_id)?])
}

/// What a token says, if it can be read and says all of this.
fn payload<T: DeserializeOwned>(token: &str) -> Option<T> {
    let token = decoded(token);
    let [_, payload, _] = token.split('.').collect::<Vec<_>>().try_into().ok()?;
    let payload = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&payload).ok()
}

/// An id as text: a number and its text are the same id.
fn id(claim: &Value) -> Option<String> {
    match claim {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A text without percent-encoding: `%3d` and `=` are the same.
fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

impl fmt::Display for Agent {
    /// Eight hexadecimal digits, to tell agents apart in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Agent({self})")
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn agent(address: &str) -> Agent {
        Agent::of(&address.parse().unwrap(), &[])
    }

    fn token(payload: &str) -> String {
        format!("eyJhbGciOiJFUzI1NiJ9.{}.c2lnbmF0dXJl", URL_SAFE_NO_PAD.encode(payload))
    }

    fn cloud(payload: &str) -> String {
        format!("wss://api.example/mcp/?token={}", token(payload))
    }

    #[test]
    fn two_tokens_of_one_agent_are_the_same_agent() {
        let first = cloud(r#"{"userId":7,"agentId":42,"endpointId":"agent_42","iat":1,"exp":2}"#);
        for same in [
            cloud(r#"{"userId":7,"agentId":42,"endpointId":"agent_42","iat":3,"exp":4}"#),
            cloud(r#"{"agentId":"42","userId":"7"}"#),
            cloud(r#"{"userId":7,"agentId":42}"#).replace("wss://api.example/", "WSS://API.example:443/"),
            cloud(r#"{"userId":7,"agentId":42}"#).replace('.', "%2E").replace("api%2E", "api."),
            cloud(r#"{"userId":7,"agentId":42}"#).replace("?token", "?v=1&token"),
        ] {
            assert_eq!(agent(&same), agent(&first), "{same}");
        }
        for other in [
            cloud(r#"{"userId":7,"agentId":43}"#),
            cloud(r#"{"userId":8,"agentId":42}"#),
            cloud(r#"{"userId":7,"agentId":42}"#).replace("api.", "api2."),
            cloud(r#"{"userId":7,"agentId":42}"#).replace("wss:", "ws:"),
            cloud(r#"{"userId":7,"agentId":42}"#).replace("/mcp/", "/mcp2/"),
            cloud(r#"{"userId":7,"agentId":42}"#).replace("example/", "example:8443/"),
        ] {
            assert_ne!(agent(&other), agent(&first), "{other}");
        }
    }

    #[test]
    fn a_token_that_names_no_agent_counts_as_a_whole() {
        for payload in
            ["{}", "[]", "{", r#"{"agentId":null}"#, r#"{"agentId":""}"#, r#"{"agentId":{}}"#, r#"{"userId":7}"#]
        {
            let (one, other) = (cloud(payload), format!("{}x", cloud(payload)));
            assert_eq!(agent(&one), agent(&one));
            assert_ne!(agent(&one), agent(&other), "{payload}");
        }
        let odd = "ws://h:8004/mcp_endpoint/mcp/?token=a%2Bb%2F%3D%3D";
        assert_eq!(agent(odd), agent(&odd.replace("%2B", "+").replace("%2F", "/")));
        assert_ne!(agent("ws://h/?token=a"), agent("ws://h/?token=b"));
        assert_ne!(agent("ws://u:a@h/"), agent("ws://u:b@h/"));
        assert_eq!(agent("ws://h/?token=a&v=1"), agent("ws://h/?v=1&token=a&"));
        assert_ne!(agent("ws://h/?token=a&v=1"), agent("ws://h/?token=a&v=2"));
    }

    #[test]
    fn a_token_in_a_header_counts_as_well() {
        let endpoint = "wss://h/mcp".parse().unwrap();
        let with = |value: &str| Agent::of(&endpoint, &[(http::header::AUTHORIZATION, Secret::new(value))]);
        assert_eq!(with("a"), with("a"));
        assert_ne!(with("a"), with("b"));
    }

    #[test]
    fn several_daemons_know_an_agent_by_its_token_however_they_reach_the_endpoint() {
        let of = |address: &str, headers: &[(HeaderName, Secret)]| LeaseKey::of(&address.parse().unwrap(), headers);
        let key = |address: &str| of(address, &[]);
        let jwt = cloud(r#"{"userId":7,"agentId":42}"#);
        let elsewhere = jwt.replace("wss://api.example/mcp/", "ws://10.0.0.1:8004/other");
        assert_eq!(key(&jwt), key(&elsewhere));
        assert_eq!(key(&jwt), key(&cloud(r#"{"userId":7,"agentId":42,"iat":3}"#)));
        assert_ne!(key(&jwt), key(&cloud(r#"{"userId":7,"agentId":43}"#)));
        assert_eq!(key("ws://a/x?token=t1"), key("wss://b:9/?token=t1"));
        assert_ne!(key("ws://a/x?token=t1"), key("ws://a/x?token=t2"));
        let with = |address: &str, value: &str| of(address, &[(http::header::AUTHORIZATION, Secret::new(value))]);
        assert_eq!(with("ws://a/", "t"), with("ws://b/", "t"));
        assert_ne!(with("ws://a/", "t"), with("ws://a/", "u"));
        assert_eq!(key("ws://u:p@a/"), key("ws://u:p@b/"));
        assert!(
            key("ws://a/") != key("ws://b/") && key("ws://a/x") != key("ws://a/y"),
            "nothing else tells them apart"
        );
        // Whatever stands beside the token.
        for same in
            ["v=1&token=t1", "token=t1&v=1", "token=t1&", "&&token=t1", "Token=t1", "%74oken=%741", "access_token=t1"]
        {
            assert_eq!(key(&format!("ws://a/x?{same}")), key("ws://a/?token=t1"), "{same}");
        }
        let x_host = |value: &str| (HeaderName::from_static("x-host"), Secret::new(value));
        let bearer = |value: &str| (http::header::AUTHORIZATION, Secret::new(value));
        assert_eq!(of("ws://a/?token=t1", &[x_host("1")]), of("ws://a/?token=t1", &[x_host("2"), bearer("x")]));
        assert_eq!(
            of("ws://a/", &[x_host("1"), bearer("Bearer t")]),
            of("ws://b/?v=2", &[bearer("bearer  t"), x_host("2")])
        );
        let spoken = |payload: &str| of("ws://a/", &[bearer(&format!("Bearer {}", token(payload)))]);
        assert_eq!(spoken(r#"{"userId":7,"agentId":42,"iat":1}"#), spoken(r#"{"userId":7,"agentId":42,"iat":2}"#));
        assert_eq!(spoken(r#"{"userId":7,"agentId":42}"#), key(&jwt));
        assert_ne!(spoken(r#"{"userId":7,"agentId":42}"#), spoken(r#"{"userId":7,"agentId":43}"#));
        assert!(
            key("ws://a/?room=1&v=2") == key("ws://b/?v=2&room=1") && key("ws://a/?room=1") != key("ws://a/?room=2")
        );
        let text = key(&jwt).to_string();
        assert_eq!((LeaseKey::read(&text), text.len()), (Some(key(&jwt)), 32));
        for other in ["", "x", &text.to_uppercase(), &text[1..], &format!("+{}", &text[1..]), &format!("{text}0")] {
            assert_eq!(LeaseKey::read(other), None, "{other}");
        }
    }

    #[test]
    fn the_times_of_a_token_are_read_wherever_it_stands() {
        let said = token(r#"{"exp":200.5,"iat":"soon"}"#);
        let query = format!("v=1&token={}", said.replace('.', "%2E"));
        let want = Some(Times { until: Some(200), since: None });
        assert_eq!(times(Some(&query), []), want);
        assert_eq!(times(None, &[Secret::new("x"), Secret::new(format!("Bearer {said}"))]), want);
        assert_eq!(times(None, &[Secret::new(said)]), want);
        for none in [r#"{"exp":-1}"#, r#"{"exp":null}"#, "{}", "[]"] {
            assert_eq!(times(None, &[Secret::new(token(none))]), None, "{none}");
        }
        assert_eq!(good_until(&cloud(r#"{"iat":7,"exp":9}"#).parse().unwrap()), Some(9));
    }

    #[test]
    fn the_self_hosted_endpoint_is_known_by_its_path() {
        for (address, want) in [
            ("ws://h:8004/mcp_endpoint/mcp/?token=t", true),
            ("wss://h/behind/a/proxy/mcp_endpoint/mcp/?token=t", true),
            ("ws://h:8004/mcp_endpoint/call/?token=t", false),
            ("ws://h:8004/mcp_endpoint/mcp?token=t", false),
            ("wss://api.example/mcp/?token=/mcp_endpoint/mcp/", false),
        ] {
            assert_eq!(takes_one(&address.parse().unwrap()), want, "{address}");
        }
    }

    #[test]
    fn the_key_stays_the_same_over_versions_of_this_program() {
        // Computed by another program: files with this key in their names must be found again.
        assert_eq!(agent("ws://h/?token=a").key(), "bd1ef8ef6bf962f3ef021ea2c6b2eb0e");
    }

    proptest! {
        #[test]
        fn no_query_makes_it_panic_and_nothing_of_it_is_shown(query in "[!-\"$-~]{8,60}", payload in "\\PC{0,40}") {
            for query in [query, format!("token={}", token(&payload))] {
                let Ok(endpoint) = format!("ws://h/?{query}").parse::<Endpoint>() else { continue };
                let agent = Agent::of(&endpoint, &[]);
                prop_assert_eq!(agent, Agent::of(&endpoint, &[]));
                prop_assert!(agent.key().len() == 32 && agent.key().starts_with(&agent.to_string()));
                prop_assert_eq!(format!("{agent:?}"), format!("Agent({agent})"));
            }
        }
    }
}
