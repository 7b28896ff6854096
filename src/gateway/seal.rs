//! Ids of sessions that say for themselves what the session is: sealed, so that nobody else can read, change or make one. Pure.
//!
//! An id is base64url, without padding, of: the number of this form; random bytes; a JSON text, encrypted; and the tag by which a change
//! of any of it shows. What the id is good for (address and key) is not in it, but has to be said again to open it.
//!
//! Each id is encrypted with a key of its own, which follows from ours and the id's random bytes (HKDF, RFC 5869). So no nonce is ever
//! used twice, however many ids there are and however many processes share our key, and nobody has to count them.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce};
use ring::hkdf::{HKDF_SHA256, Salt};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::config::SessionKey;

/// Longest life of a session, whatever it does.
pub(super) const LIFE: Duration = Duration::from_hours(24);
/// Longest sealed id, in characters: nginx takes 4 KiB for the head of an answer, in which there is more than the id.
const MAX_ID: usize = 2048;
/// Longest name and version of a client that are kept where all that it says of itself is too long, in characters each.
const MAX_NAME: usize = 64;
/// Longest time by which an id may come from the future: two machines that share a key differ by seconds.
const AHEAD: u64 = 300;

/// The number of this form of ids.
const FORM: u8 = 1;
/// How many random bytes an id has.
pub(super) const RANDOM: usize = 16;
/// What the keys of ids are for, so that our key could serve for something else besides.
const PURPOSE: &[u8] = b"mcp-pipe gateway session 1";

/// The key with which ids are sealed.
#[derive(Debug, Clone)]
pub(super) struct SealKey(SessionKey);

/// What an id tells of its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sealed {
    /// When the session began, and when it ends at the latest, in seconds since 1970.
    pub(super) issued: u64,
    pub(super) ends: u64,
    /// The version of MCP that was agreed on.
    pub(super) version: Box<str>,
    /// The parameters of the client's `initialize`, as JSON.
    pub(super) params: Box<str>,
}

/// The same, as it is written.
#[derive(Serialize, Deserialize)]
struct Written<'a> {
    from: u64,
    to: u64,
    mcp: &'a str,
    #[serde(borrow)]
    hello: &'a RawValue,
}

impl Sealed {
    /// A session that begins now.
    pub(super) fn now(now: u64, version: &str, params: &str) -> Self {
        Sealed { issued: now, ends: now + LIFE.as_secs(), version: version.into(), params: params.into() }
    }

    /// Whether a session goes on at this time.
    pub(super) fn is_good(&self, now: u64) -> bool {
        now < self.ends && self.issued <= now + AHEAD
    }
}

impl SealKey {
    pub(super) fn new(key: SessionKey) -> Self {
        SealKey(key)
    }

    /// The id of a session that is good for `bound`. `None` where it would be too long, also without what matters least.
    pub(super) fn seal(&self, of: &Sealed, bound: &[u8], random: [u8; RANDOM]) -> Option<Box<str>> {
        let whole = self.sealed(of, &of.params, bound, random)?;
        if whole.len() <= MAX_ID {
            return Some(whole);
        }
        let short = self.sealed(of, &shorter(&of.params)?, bound, random)?;
        (short.len() <= MAX_ID).then_some(short)
    }

    fn sealed(&self, of: &Sealed, params: &str, bound: &[u8], random: [u8; RANDOM]) -> Option<Box<str>> {
        let Sealed { issued, ends, version, params: _ } = of;
        let hello = serde_json::from_str(params).ok()?;
        let mut text = serde_json::to_vec(&Written { from: *issued, to: *ends, mcp: version, hello }).ok()?;
        let tag = self.of(&random)?.seal_in_place_separate_tag(nonce(), Aad::from(bound), &mut text).ok()?;
        Some(URL_SAFE_NO_PAD.encode([&[FORM], &random[..], &text, tag.as_ref()].concat()).into())
    }

    /// What an id tells that is good for `bound`. `None`: it is none of ours, or has been changed, or is good for something else.
    pub(super) fn open(&self, id: &str, bound: &[u8]) -> Option<Sealed> {
        if id.len() > MAX_ID {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(id).ok()?;
        let ([FORM], rest) = bytes.split_first_chunk()? else { return None };
        let (random, sealed) = rest.split_first_chunk::<RANDOM>()?;
        let mut text = sealed.to_vec();
        let text = self.of(random)?.open_in_place(nonce(), Aad::from(bound), &mut text).ok()?;
        let Written { from, to, mcp, hello } = serde_json::from_slice(text).ok()?;
        Some(Sealed { issued: from, ends: to, version: mcp.into(), params: hello.get().into() })
    }

    /// The key of one id.
    fn of(&self, random: &[u8; RANDOM]) -> Option<LessSafeKey> {
        let secret = Salt::new(HKDF_SHA256, random).extract(&self.0.0);
        let key = secret.expand(&[PURPOSE], &CHACHA20_POLY1305).ok()?;
        Some(LessSafeKey::new(key.into()))
    }
}

/// The only nonce: each key is used once.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

/// What of a client's parameters a conversation can't be made anew without, and what the client is called.
fn shorter(params: &str) -> Option<String> {
    let params: Value = serde_json::from_str(params).ok()?;
    let named = |name: &str| {
        let text = params["clientInfo"][name].as_str().unwrap_or_default();
        text.chars().take(MAX_NAME).collect::<String>()
    };
    let client = json!({"name": named("name"), "version": named("version")});
    let (version, able) = (&params["protocolVersion"], &params["capabilities"]);
    Some(json!({"protocolVersion": version, "capabilities": able, "clientInfo": client}).to_string())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_764_000_000;

    fn key(of: u8) -> SealKey {
        SealKey::new(SessionKey([of; SessionKey::LENGTH]))
    }

    fn session(params: &str) -> Sealed {
        Sealed::now(NOW, "2025-11-25", params)
    }

    #[test]
    fn an_id_tells_its_session_to_whoever_has_the_key_at_the_address_that_it_is_for() {
        let params = r#"{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}"#;
        let id = key(1).seal(&session(params), b"here", [7; RANDOM]).unwrap();
        assert!(id.len() < 300 && id.bytes().all(|b| (0x21..=0x7e).contains(&b)), "{id}");
        assert_eq!(key(1).open(&id, b"here"), Some(session(params)));
        for (of, bound) in [(2, &b"here"[..]), (1, b"there"), (1, b"")] {
            assert_eq!(key(of).open(&id, bound), None, "{of} {bound:?}");
        }
        // The same again is another id, from which nobody learns that it is the same.
        let other = key(1).seal(&session(params), b"here", [8; RANDOM]).unwrap();
        let alike = id.bytes().zip(other.bytes()).filter(|(one, other)| one == other).count();
        assert!(alike < id.len() / 8, "{alike} of {}", id.len());
        for none in ["", "x", "AQ", "AQAA", &"A".repeat(100), &"A".repeat(10_000), "nö", &format!("{id}="), &id[1..]] {
            assert_eq!(key(1).open(none, b"here"), None, "{none}");
        }
    }

    #[test]
    fn a_session_is_good_for_a_day() {
        let session = session("{}");
        for (at, want) in [
            (NOW, true),
            (NOW + 86_399, true),
            (NOW + 86_400, false),
            (u64::MAX / 2, false),
            (NOW - AHEAD, true),
            (NOW - AHEAD - 1, false),
            (0, false),
        ] {
            assert_eq!(session.is_good(at), want, "{at}");
        }
    }

    #[test]
    fn of_a_client_that_says_too_much_of_itself_only_its_name_is_kept_and_of_one_that_can_do_too_much_nothing() {
        let long = "x".repeat(MAX_ID);
        let client = json!({"name": long, "version": "1", "icons": [{"src": long}], "title": long});
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": {"roots": {}}, "clientInfo": client});
        let id = key(1).seal(&session(&params.to_string()), b"", [7; RANDOM]).unwrap();
        assert!(id.len() <= MAX_ID);
        let kept: Value = serde_json::from_str(&key(1).open(&id, b"").unwrap().params).unwrap();
        let client = json!({"name": &long[..MAX_NAME], "version": "1"});
        assert_eq!(kept, json!({"protocolVersion": "2025-11-25", "capabilities": {"roots": {}}, "clientInfo": client}));
        let params = json!({"capabilities": {"experimental": long}});
        assert_eq!(key(1).seal(&session(&params.to_string()), b"", [7; RANDOM]), None);
        assert_eq!(key(1).seal(&session("no JSON"), b"", [7; RANDOM]), None);
    }

    proptest! {
        #[test]
        fn a_changed_id_opens_nothing(at in any::<prop::sample::Index>(), to in "[A-Za-z0-9_-]", cut in 0..3usize) {
            let id = key(1).seal(&session(r#"{"capabilities":{}}"#), b"here", [7; RANDOM]).unwrap();
            let at = at.index(id.len());
            let changed = format!("{}{to}{}", &id[..at], &id[at + 1..]);
            prop_assert_eq!(key(1).open(&changed, b"here").is_some(), changed == *id);
            prop_assert_eq!(key(1).open(&id[..id.len() - cut], b"here").is_some(), cut == 0);
        }

        #[test]
        fn whatever_a_client_says_comes_back(
            version in ".{0,20}", name in ".{0,60}", bound in any::<Vec<u8>>(), of in any::<[u8; SessionKey::LENGTH]>(), random in any::<[u8; RANDOM]>(),
        ) {
            let session = Sealed::now(NOW, "2025-06-18", &json!({"clientInfo": {"name": name, "version": version}}).to_string());
            let id = SealKey::new(SessionKey(of)).seal(&session, &bound, random).unwrap();
            prop_assert_eq!(SealKey::new(SessionKey(of)).open(&id, &bound), Some(session));
        }
    }
}
