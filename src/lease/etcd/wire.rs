//! etcd's messages, as its JSON gateway has them (etcd API reference, v3): numbers of 64 bits are texts, and bytes are Base64. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::lease::engine::{EngineError, LeaseId};
use crate::net::peer_text::bounded;

/// Longest part of what etcd says that is shown, in characters.
const MAX_SHOWN: usize = 200;

/// The codes of gRPC that are told apart (gRPC, status codes).
const NOT_FOUND: u32 = 5;
const UNAUTHENTICATED: u32 = 16;
/// A deadline has passed, too much is under way, a request was given up, or the service is not there: another try may do.
const PASSING: [u32; 4] = [4, 8, 10, 14];

/// What etcd says where a login helps: the token has ended; it was given before users or roles were changed, which one that is a JSON Web
/// Token has in it; there was none.
const LOG_IN: [&str; 3] = ["invalid auth token", "revision of auth store is old", "user name is empty"];

/// What stands at the head of every answer.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Head {
    #[serde(default, deserialize_with = "number")]
    pub(super) revision: i64,
    #[serde(default, deserialize_with = "number")]
    pub(super) raft_term: i64,
}

/// The answer to `lease/grant` and to `lease/keepalive`.
#[derive(Debug, Deserialize)]
pub(super) struct Lease {
    #[serde(default)]
    pub(super) header: Head,
    #[serde(default, rename = "ID", deserialize_with = "number")]
    pub(super) id: i64,
    /// In seconds; 0: there is no such lease.
    #[serde(default, rename = "TTL", deserialize_with = "number")]
    pub(super) ttl: i64,
}

/// An entry.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Entry {
    #[serde(default, deserialize_with = "bytes")]
    pub(super) key: Vec<u8>,
    #[serde(default, deserialize_with = "bytes")]
    pub(super) value: Vec<u8>,
    #[serde(default, deserialize_with = "number")]
    pub(super) create_revision: i64,
    #[serde(default, deserialize_with = "number")]
    pub(super) mod_revision: i64,
    #[serde(default, deserialize_with = "number")]
    pub(super) lease: i64,
}

/// The answer to `kv/range`, also as a part of another answer.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Range {
    #[serde(default)]
    pub(super) header: Head,
    #[serde(default)]
    pub(super) kvs: Vec<Entry>,
}

/// The answer to `kv/txn`.
#[derive(Debug, Deserialize)]
pub(super) struct Txn {
    #[serde(default)]
    pub(super) header: Head,
    #[serde(default)]
    pub(super) succeeded: bool,
    #[serde(default)]
    pub(super) responses: Vec<Response>,
}

/// What one operation of a transaction has brought.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Response {
    #[serde(default)]
    pub(super) response_range: Option<Range>,
}

/// One message of `watch`.
#[derive(Debug, Deserialize)]
pub(super) struct Watched {
    #[serde(default)]
    pub(super) canceled: bool,
    #[serde(default)]
    pub(super) events: Vec<Event>,
}

/// What has happened to an entry.
#[derive(Debug, Deserialize)]
pub(super) struct Event {
    /// Left out for what was put there.
    #[serde(default, rename = "type")]
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) kv: Entry,
}

impl Event {
    pub(super) fn is_gone(&self) -> bool {
        self.kind.as_deref() == Some("DELETE")
    }
}

/// The answer to `auth/authenticate`.
#[derive(Deserialize)]
pub(super) struct Login {
    pub(super) token: String,
}

/// A message of a stream, or what went wrong.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Streamed<T> {
    Result { result: T },
    Failed(Failed),
}

/// What went wrong: a text with its code beside it, or an object that has both.
#[derive(Debug, Deserialize)]
pub(super) struct Failed {
    error: Value,
    #[serde(default)]
    code: Option<u32>,
}

/// What an error of etcd means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The token that was shown is good no longer, or none was shown.
    LogIn(String),
    Error(EngineError),
}

impl Failed {
    pub(super) fn meaning(&self) -> Meaning {
        let member = |names: [&str; 2]| names.into_iter().find_map(|name| self.error.get(name));
        let text =
            self.error.as_str().or_else(|| member(["message", "error"])?.as_str()).unwrap_or("an error without words");
        let code = self.code.or_else(|| u32::try_from(member(["code", "grpc_code"])?.as_u64()?).ok());
        let text = bounded(text.trim_start_matches("etcdserver: "), MAX_SHOWN);
        match code {
            Some(NOT_FOUND) if text.contains("lease") => Meaning::Error(EngineError::Over),
            Some(UNAUTHENTICATED) => Meaning::LogIn(text),
            Some(code) if PASSING.contains(&code) => {
                Meaning::Error(EngineError::Unreachable(format!("etcd says: {text}")))
            }
            // These have other codes, with which nobody could tell what helps.
            Some(_) | None if LOG_IN.iter().any(|why| text.contains(why)) => Meaning::LogIn(text),
            Some(_) | None => Meaning::Error(EngineError::Refused(format!("etcd says: {text}"))),
        }
    }
}

/// A text as bytes are written.
pub(super) fn base64(text: &str) -> String {
    STANDARD.encode(text)
}

/// The end of all keys that begin with `prefix`, which has a last byte below 255.
pub(super) fn end_of(prefix: &str) -> String {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last = last.saturating_add(1);
    }
    STANDARD.encode(end)
}

/// That an entry has been there since this revision; 0: that there is none.
pub(super) fn created(key: &str, revision: i64) -> Value {
    json!({ "key": base64(key), "target": "CREATE", "result": "EQUAL", "create_revision": revision.to_string() })
}

pub(super) fn put(key: &str, value: &str, lease: LeaseId) -> Value {
    json!({ "request_put": { "key": base64(key), "value": base64(value), "lease": lease.0.to_string() } })
}

pub(super) fn get(key: &str) -> Value {
    json!({ "request_range": { "key": base64(key) } })
}

/// The first of all keys that begin with `prefix`.
pub(super) fn first_of(prefix: &str) -> Value {
    json!({ "request_range": { "key": base64(prefix), "range_end": end_of(prefix), "limit": "1", "keys_only": true } })
}

pub(super) fn delete(key: &str) -> Value {
    json!({ "request_delete_range": { "key": base64(key) } })
}

/// A number, or a text with one.
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(i64),
        Text(String),
    }
    match Written::deserialize(from)? {
        Written::Number(number) => Ok(number),
        Written::Text(text) => text.parse().map_err(serde::de::Error::custom),
    }
}

fn bytes<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    STANDARD.decode(String::deserialize(from)?).map_err(serde::de::Error::custom)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_etcd_3_4_writes_them() {
        let lease: Streamed<Lease> = serde_json::from_str(
            r#"{"result":{"header":{"cluster_id":"324952591200643719","member_id":"3319814642761637952","revision":"7","raft_term":"2"},"ID":"2324035704912937993","TTL":"5"}}"#,
        )
        .unwrap();
        let Streamed::Result { result } = lease else { panic!("no result") };
        assert_eq!(
            (result.id, result.ttl, result.header.revision, result.header.raft_term),
            (2_324_035_704_912_937_993, 5, 7, 2)
        );
        let over: Streamed<Lease> =
            serde_json::from_str(r#"{"result":{"header":{"raft_term":"2"},"ID":"12345"}}"#).unwrap();
        assert!(matches!(over, Streamed::Result { result } if result.ttl == 0));
        let txn: Txn = serde_json::from_str(
            r#"{"header":{"revision":"2"},"responses":[{"response_range":{"header":{"revision":"2"},"kvs":[{"key":"L21jcC1waXBlL2E=","create_revision":"2","mod_revision":"2","version":"1","value":"eA==","lease":"9"}],"count":"1"}}]}"#,
        )
        .unwrap();
        let entry = &txn.responses[0].response_range.as_ref().unwrap().kvs[0];
        assert_eq!(
            (txn.succeeded, &*entry.key, &*entry.value, entry.lease),
            (false, &b"/mcp-pipe/a"[..], &b"x"[..], 9)
        );
        let watched: Streamed<Watched> = serde_json::from_str(
            r#"{"result":{"header":{"revision":"3"},"events":[{"type":"DELETE","kv":{"key":"L21jcC1waXBlL2E=","mod_revision":"3"}},{"kv":{"key":"L21jcC1waXBlL2E=","lease":"9"}}]}}"#,
        )
        .unwrap();
        let Streamed::Result { result } = watched else { panic!("no result") };
        assert_eq!(result.events.iter().map(Event::is_gone).collect::<Vec<_>>(), [true, false]);
        for bad in [r#"{"key":"!!"}"#, r#"{"lease":"x"}"#, r#"{"lease":1.5}"#] {
            assert!(serde_json::from_str::<Entry>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn errors_are_told_apart_by_what_helps() {
        let of = |text: &str| serde_json::from_str::<Failed>(text).unwrap().meaning();
        let gone = r#"{"error":"etcdserver: requested lease not found","message":"…","code":5}"#;
        assert_eq!(of(gone), Meaning::Error(EngineError::Over));
        assert_eq!(
            of(r#"{"error":"etcdserver: invalid auth token","code":16}"#),
            Meaning::LogIn("invalid auth token".into())
        );
        for text in ["revision of auth store is old", "user name is empty"] {
            let answer = format!(r#"{{"error":"etcdserver: {text}","code":3}}"#);
            assert_eq!(of(&answer), Meaning::LogIn(text.into()));
        }
        assert!(matches!(
            of(r#"{"error":"etcdserver: no leader","code":14}"#),
            Meaning::Error(EngineError::Unreachable(_))
        ));
        let refused = Meaning::Error(EngineError::Refused("etcd says: permission denied".into()));
        assert_eq!(of(r#"{"error":"etcdserver: permission denied","code":7}"#), refused);
        assert_eq!(
            of(r#"{"error":{"grpc_code":7,"http_code":403,"message":"etcdserver: permission denied"}}"#),
            refused
        );
        assert!(matches!(of(r#"{"error":3}"#), Meaning::Error(EngineError::Refused(_))));
    }

    #[test]
    fn all_keys_of_a_prefix_end_before_the_next_one() {
        assert_eq!(end_of("/mcp-pipe/"), base64("/mcp-pipe0"));
    }
}
