//! Who is let in: by a key in a header, or in the path where a key may stand there; by which token somebody wants to be; and how often. Pure but for the time.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode_str;
use tokio::time::Instant;

use crate::config::{ApiKeySpec, sha256};
use crate::jwt;

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// What a client shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown<'a> {
    Nothing,
    Text(&'a str),
    /// Something that is no key, or two that differ.
    Nonsense,
}

/// Why a client is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denied {
    /// It shows no key.
    NoKey,
    /// It shows something that is no key by its form, or two that differ.
    Malformed,
    /// It shows another one.
    Unknown,
    /// It shows a token that is not good.
    Token,
    /// It shows a token that was good, or is going to be.
    Untimely,
    /// It shows a token of which nobody can say now whether it is good.
    Unready,
    /// It shows something in the path where there is nothing to show.
    Nowhere,
}

/// What a request shows that is a JSON Web Token by its form, and not in the place of a key.
pub(super) fn token(headers: &HeaderMap) -> Option<&str> {
    match shown(headers) {
        Shown::Text(text) if headers.contains_key(AUTHORIZATION) && jwt::has_form(text) => Some(text),
        Shown::Text(_) | Shown::Nothing | Shown::Nonsense => None,
    }
}

/// Which of these keys a request shows. `in_path`: what stands in the path in place of a key, as it was sent.
pub(super) fn admitted<'a>(
    keys: impl Iterator<Item = &'a ApiKeySpec>,
    headers: &HeaderMap,
    in_path: Option<&str>,
) -> Result<usize, Denied> {
    let decoded = in_path.map(|text| percent_decode_str(text).decode_utf8_lossy());
    let shown = match &decoded {
        Some(text) => Shown::Text(text),
        None => shown(headers),
    };
    let text = match shown {
        Shown::Nothing => return Err(Denied::NoKey),
        Shown::Nonsense => return Err(Denied::Malformed),
        Shown::Text(text) => text,
    };
    let hash = sha256(text);
    // All are compared, and all of each: how long it takes says nothing of any.
    let mut found = None;
    for (at, key) in keys.enumerate() {
        let differs = key.hash.iter().zip(hash).fold(0, |all, (one, other)| all | (one ^ other));
        if differs == 0 && (in_path.is_none() || key.capability_url) {
            found = Some(at);
        }
    }
    found.ok_or(Denied::Unknown)
}

/// The key in the headers.
fn shown(headers: &HeaderMap) -> Shown<'_> {
    let bearers = headers.get_all(AUTHORIZATION).iter().map(|value| {
        let (scheme, text) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| text.trim())
    });
    let keys = headers.get_all(API_KEY).iter().map(|value| value.to_str().ok().map(str::trim));
    bearers.chain(keys).fold(Shown::Nothing, |so_far, text| match (so_far, text.filter(|text| !text.is_empty())) {
        (Shown::Nothing, Some(text)) => Shown::Text(text),
        (Shown::Text(one), Some(other)) if one == other => Shown::Text(one),
        (_, _) => Shown::Nonsense,
    })
}

/// How often somebody may ask: so many requests a second, and as many at once.
#[derive(Debug)]
pub(super) struct Bucket(Mutex<Level>);

/// How full a bucket is.
#[derive(Debug)]
struct Level {
    rate: Option<f64>,
    /// How many requests may come now, and when that was so.
    left: (f64, Instant),
}

impl Bucket {
    /// `rate`: requests in a second; any number if `None`.
    pub(super) fn new(rate: Option<usize>, now: Instant) -> Self {
        let rate = rate.map(|rate| rate as f64);
        Bucket(Mutex::new(Level { rate, left: (rate.unwrap_or_default(), now) }))
    }

    /// Has another rate count from now on.
    pub(super) fn set_rate(&self, rate: Option<usize>, now: Instant) {
        let rate = rate.map(|rate| rate as f64);
        let mut level = self.level();
        if level.rate != rate {
            *level = Level { rate, left: (rate.unwrap_or_default(), now) };
        }
    }

    /// Whether there may be too many.
    pub(super) fn is_limited(&self) -> bool {
        self.level().rate.is_some()
    }

    /// Takes one request.
    ///
    /// # Errors
    /// How long to wait for the next one, as there were too many.
    pub(super) fn take(&self, now: Instant) -> Result<(), Duration> {
        self.spend(|_| 1.0, now)
    }

    /// Takes the others of so many requests that have come at once, of which the first was taken. More than there may ever be at once pass
    /// where the others of these do.
    ///
    /// # Errors
    /// As [`Bucket::take`]; then none of them was taken.
    pub(super) fn take_others(&self, of: usize, now: Instant) -> Result<(), Duration> {
        self.spend(|most| (of as f64).min(most) - 1.0, now)
    }

    /// `wanted`: how many, where there are so many at most.
    fn spend(&self, wanted: impl Fn(f64) -> f64, now: Instant) -> Result<(), Duration> {
        let mut level = self.level();
        let Some(rate) = level.rate else { return Ok(()) };
        let ((before, since), most) = (level.left, rate.max(1.0));
        let wanted = wanted(most).max(0.0);
        let here = (before + now.saturating_duration_since(since).as_secs_f64() * rate).min(most);
        if here < wanted {
            level.left = (here, now);
            return Err(Duration::from_secs_f64((wanted - here) / rate));
        }
        level.left = (here - wanted, now);
        Ok(())
    }

    fn level(&self) -> MutexGuard<'_, Level> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn key(name: &str, text: &str, capability_url: bool) -> ApiKeySpec {
        ApiKeySpec { name: name.into(), hash: sha256(text), servers: None, tools: Arc::default(), capability_url }
    }

    /// The name of the key that lets in.
    fn let_in<'a>(keys: &'a [ApiKeySpec], headers: &HeaderMap, in_path: Option<&str>) -> Result<&'a str, Denied> {
        admitted(keys.iter(), headers, in_path).map(|at| &*keys[at].name)
    }

    fn headers(all: &[(&str, &str)]) -> HeaderMap {
        let parsed = |(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        let mut headers = HeaderMap::new();
        for (name, value) in all.iter().map(parsed) {
            headers.append(name, value);
        }
        headers
    }

    #[test]
    fn a_key_lets_in_by_either_header_and_nothing_else_does() {
        let keys = [key("one", "key-of-one-0123456", false), key("two", "key-of-two-0123456", true)];
        let one = "key-of-one-0123456";
        let bearer = format!("Bearer {one}");
        for (shown, want) in [
            (vec![("authorization", &*bearer)], Ok("one")),
            (vec![("authorization", "bearer key-of-two-0123456")], Ok("two")),
            (vec![("authorization", "BEARER   key-of-two-0123456 ")], Ok("two")),
            (vec![("x-api-key", one)], Ok("one")),
            (vec![("x-api-key", one), ("authorization", &bearer)], Ok("one")),
            (vec![], Err(Denied::NoKey)),
            (vec![("x-api-key", "")], Err(Denied::Malformed)),
            (vec![("authorization", one)], Err(Denied::Malformed)),
            (vec![("authorization", "Bearer")], Err(Denied::Malformed)),
            (vec![("authorization", "Bearer ")], Err(Denied::Malformed)),
            (vec![("authorization", "Basic a2V5LW9mLW9uZS0wMTIzNDU2")], Err(Denied::Malformed)),
            (vec![("authorization", "Bearer KEY-OF-ONE-0123456")], Err(Denied::Unknown)),
            (vec![("x-api-key", "key-of-one-012345")], Err(Denied::Unknown)),
            (vec![("x-api-key", "key-of-one-0123456x")], Err(Denied::Unknown)),
            (vec![("x-api-key", "one")], Err(Denied::Unknown)),
            (vec![("x-api-key", one), ("x-api-key", "key-of-two-0123456")], Err(Denied::Malformed)),
            (vec![("x-api-key", one), ("authorization", "Bearer x")], Err(Denied::Malformed)),
            (vec![("authorization", &bearer), ("authorization", "Basic eA==")], Err(Denied::Malformed)),
        ] {
            assert_eq!(let_in(&keys, &headers(&shown), None), want, "{shown:?}");
        }
    }

    #[test]
    fn only_a_key_that_may_stand_in_the_path_lets_in_from_there() {
        let keys = [key("one", "key-of-one-0123456", false), key("two", "key of+two-0123456", true)];
        for (path, want) in [
            ("key%20of+two-0123456", Ok("two")),
            ("%6bey%20of%2Btwo-0123456", Ok("two")),
            ("key-of-one-0123456", Err(Denied::Unknown)),
            ("", Err(Denied::Unknown)),
            ("key%20of%20two-0123456", Err(Denied::Unknown)),
        ] {
            // What the headers say beside it does not count.
            let shown = headers(&[("x-api-key", "key-of-one-0123456")]);
            assert_eq!(let_in(&keys, &shown, Some(path)), want, "{path}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_too_often_is_told_when_to_come_again() {
        let start = Instant::now();
        let bucket = Bucket::new(Some(10), start);
        assert!((0..10).all(|_| bucket.take(start).is_ok()));
        assert_eq!(bucket.take(start), Err(Duration::from_millis(100)));
        let later = start + Duration::from_millis(250);
        assert!((0..2).all(|_| bucket.take(later).is_ok()));
        assert_eq!(bucket.take(later), Err(Duration::from_millis(50)));
        // What is not used is not saved up.
        let later = start + Duration::from_secs(3600);
        assert_eq!((0..100).filter(|_| bucket.take(later).is_ok()).count(), 10);
        assert!((0..1000).all(|_| Bucket::new(None, start).take(start).is_ok()));
    }
}
