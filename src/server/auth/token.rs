//! A token: whether a text is one, until when it is good, and when another is due. Pure.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::HeaderValue;
use serde_json::Value;

use crate::secrecy::Secret;

/// Longest token, in bytes: servers take heads of 8 KiB to 64 KiB.
pub(super) const MAX: usize = 16 * 1024;
/// Longest time before the end of a token in which another one is had.
const MARGIN: Duration = Duration::from_secs(60);
/// Shortest time between two tokens of which the first was not refused: one that is about to end all the time must not cost a request
/// for each call.
const AGAIN: Duration = Duration::from_secs(10);

/// A token as it was given to us.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) text: Secret,
    /// How it is sent.
    pub(super) header: HeaderValue,
    /// Until when it is good, where that is known.
    pub(super) expires: Option<SystemTime>,
}

impl Token {
    /// A token that stands alone in a text. An error says what is wrong with the text, and repeats nothing of it.
    pub(super) fn read(text: &str) -> Result<Token, &'static str> {
        let text = text.trim();
        let is_scheme = |(scheme, _): &(&str, &str)| scheme.eq_ignore_ascii_case("bearer");
        let text = text.split_once(' ').filter(is_scheme).map_or(text, |(_, token)| token.trim());
        if text.is_empty() || text.eq_ignore_ascii_case("bearer") {
            return Err("holds no token: it is empty");
        }
        if text.len() > MAX {
            return Err("holds more than a token");
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("holds more than a token: there are blanks, lines or other characters in it");
        }
        let mut header = HeaderValue::from_str(&format!("Bearer {text}")).map_err(|_| "holds no token")?;
        header.set_sensitive(true);
        Ok(Token { text: Secret::new(text), header, expires: end(text) })
    }

    /// How long until another token is due; `None`: nobody knows.
    pub(super) fn due(&self, now: SystemTime) -> Option<Duration> {
        let left = self.expires?.duration_since(now).unwrap_or_default();
        Some(left.saturating_sub(MARGIN.min(left / 4)).max(AGAIN))
    }

    /// Whether it is known to be good no more.
    pub(super) fn is_over(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|end| end <= now)
    }
}

/// How long it is until another try, where one that was due has failed.
pub(super) fn again() -> Duration {
    AGAIN
}

/// Until when a JSON Web Token is good by what it says (RFC 7519 section 4.1.4). What else it says, and by whom it is signed, is its
/// server's business.
fn end(token: &str) -> Option<SystemTime> {
    let [_, claims, _] = token.split('.').collect::<Vec<_>>()[..] else { return None };
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    let seconds = claims.get("exp")?.as_f64().filter(|seconds| (0.0..1e11).contains(seconds))?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn jwt(claims: &str) -> String {
        format!("eyJhbGciOiJFUzI1NiJ9.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_token_stands_alone() {
        for text in ["t0ken", " t0ken\n", "Bearer t0ken", "bearer  t0ken\r\n"] {
            let token = Token::read(text).unwrap();
            assert_eq!((token.text.reveal(), token.header.to_str().unwrap()), ("t0ken", "Bearer t0ken"), "{text:?}");
            assert!(!format!("{token:?}").contains("t0ken"), "{token:?}");
        }
        for text in ["", " \n", "Bearer ", "two t0kens", "t0ken\nt0ken", "t0kén", "t\u{7f}", "t\0"] {
            let why = Token::read(text).unwrap_err();
            assert!(why.starts_with("holds ") && !why.contains("t0ken"), "{text:?}: {why}");
        }
        assert!(Token::read(&"x".repeat(MAX + 1)).is_err());
    }

    #[test]
    fn a_json_web_token_says_when_it_ends_and_others_do_not() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let due =
            |exp: &str| Token::read(&jwt(&format!("{{\"exp\":{exp}}}"))).unwrap().due(now).map(|due| due.as_secs());
        // An hour, a minute, nothing, long ago.
        for (exp, want) in [("1003600", Some(3540)), ("1000060.5", Some(45)), ("1000000", Some(10)), ("1", Some(10))] {
            assert_eq!(due(exp), want, "{exp}");
        }
        for exp in ["\"1003600\"", "null", "-1", "1e300"] {
            assert_eq!(due(exp), None, "{exp}");
        }
        for text in ["t0ken", "a.b", "a.b.c", "..", "a.!!.c"] {
            assert_eq!(Token::read(text).unwrap().due(now), None, "{text}");
        }
        assert!(Token::read(&jwt("{\"exp\":1}")).unwrap().is_over(now) && !Token::read("x").unwrap().is_over(now));
    }
}
