//! Who is let in by a JSON Web Token: whom the config trusts to issue them, with the keys of each, and what a good one opens. Pure but for
//! the keys.

mod keyring;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tracing::{debug, warn};

pub(super) use self::keyring::{Keyring, Why};
use crate::config::JwtSpec;
use crate::jwt::{Flaw, Good, Token};

/// Shortest time between two warnings about tokens.
const QUIET: Duration = Duration::from_secs(60);

/// One of the config's `jwt`.
#[derive(Debug)]
pub(super) struct Issuer {
    pub(super) spec: JwtSpec,
    pub(super) keys: Arc<Keyring>,
}

impl Issuer {
    /// Those of a config. Keys that were fetched for one of those before stay, if they are from the same address.
    pub(super) fn all(specs: &[JwtSpec], before: &[Arc<Issuer>]) -> Vec<Arc<Issuer>> {
        let of = |spec: &JwtSpec| {
            let same = before.iter().find(|issuer| issuer.spec.keys == spec.keys);
            let keys = same.map_or_else(|| Arc::new(Keyring::of(spec)), |issuer| issuer.keys.clone());
            Arc::new(Issuer { spec: spec.clone(), keys })
        };
        specs.iter().map(of).collect()
    }
}

/// Why a token lets nobody in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    /// Of which of the issuers it is, if it is of one.
    pub(super) of: Option<usize>,
    pub(super) flaw: Flaw,
}

impl Refused {
    /// The issuer whose keys may have become others, and why they are wanted.
    pub(super) fn missing(&self) -> Option<(usize, Why)> {
        let why = match &self.flaw {
            Flaw::NoKeys => Why::Age,
            Flaw::UnknownKey(_) => Why::Unknown,
            Flaw::TooLong
            | Flaw::Form
            | Flaw::Critical
            | Flaw::Type(_)
            | Flaw::Algorithm(_)
            | Flaw::Issuer(_)
            | Flaw::Audience
            | Flaw::Claim(_)
            | Flaw::Expired(_)
            | Flaw::Early(..)
            | Flaw::AnyKey
            | Flaw::Signature => return None,
        };
        self.of.map(|at| (at, why))
    }
}

/// When a refused token was last told in the log as a warning: whoever sends thousands must not fill that.
#[derive(Debug, Default)]
pub(super) struct Complaints(Mutex<Option<Instant>>);

impl Complaints {
    /// Logs why a token lets nobody in, for whoever has to mend that; nothing of the token that could let anybody in.
    pub(super) fn log(&self, issuers: &[Arc<Issuer>], refused: &Refused, now: Instant) {
        // Nothing panics while it is held.
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| now.saturating_duration_since(last) >= QUIET);
        if is_due {
            *last = Some(now);
        }
        drop(last);
        let issuer = refused.of.and_then(|at| issuers.get(at)).map_or("none", |issuer| &*issuer.spec.name);
        let flaw = &refused.flaw;
        if is_due {
            warn!(event = "TOKEN_REFUSED", issuer, "a token lets nobody in: {flaw} (more within a minute at DEBUG)");
        } else {
            debug!(event = "TOKEN_REFUSED", issuer, "a token lets nobody in: {flaw}");
        }
    }
}

/// Which of these issuers a token is from, and for whom. The first counts whose issuer and audience are the token's.
pub(super) fn admitted(issuers: &[Arc<Issuer>], token: &str, now: SystemTime) -> Result<(usize, Good), Refused> {
    let of_nobody = |flaw| Refused { of: None, flaw };
    let token = Token::read(token).map_err(of_nobody)?;
    let named = token.issuer();
    let mut issued = issuers.iter().enumerate().filter(|(_, issuer)| named == Some(&*issuer.spec.issuer)).peekable();
    if issued.peek().is_none() {
        return Err(of_nobody(Flaw::Issuer(named.map(str::to_owned))));
    }
    let (at, issuer) =
        issued.find(|(_, issuer)| token.is_for(&issuer.spec.audience)).ok_or(of_nobody(Flaw::Audience))?;
    let good = token.check(issuer.keys.known().as_deref(), now).map_err(|flaw| Refused { of: Some(at), flaw })?;
    Ok((at, good))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::JwksSource;
    use crate::jwt::Keys;
    use crate::jwt::tests::{Issuer as Key, set};

    pub(in crate::gateway) const ISSUER: &str = "https://issuer.example";

    /// One of a config's `jwt`, for tokens of one issuer and for the audience that is called as it is.
    pub(in crate::gateway) fn jwt(name: &str, keys: JwksSource) -> JwtSpec {
        let (issuer, audience) = (ISSUER.into(), vec![name.into()]);
        JwtSpec { name: name.into(), issuer, audience, keys, servers: None, tools: Arc::default() }
    }

    /// A file with this key, called `k`.
    pub(in crate::gateway) fn file(key: &Key) -> JwksSource {
        JwksSource::File(Arc::new(Keys::read(set(&[key.jwk("k")]).as_bytes()).unwrap()))
    }

    /// What tokens say that are good for so long.
    pub(in crate::gateway) fn claims(audience: &str, subject: &str, left: i64) -> Value {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
        json!({"iss": ISSUER, "aud": audience, "sub": subject, "exp": now + left as f64})
    }

    #[test]
    fn a_token_is_of_the_first_issuer_whose_it_says_that_it_is() {
        let keys = [Key::es256(), Key::es256()];
        let elsewhere = JwtSpec { issuer: "https://other.example".into(), ..jwt("one", file(&keys[1])) };
        let url = JwksSource::Url("https://issuer.example/keys".parse().unwrap());
        let specs = [jwt("one", file(&keys[0])), jwt("two", file(&keys[1])), elsewhere, jwt("three", url)];
        let issuers = Issuer::all(&specs, &[]);
        let now = SystemTime::now();
        let both = {
            let mut both = claims("one", "me", 60);
            both["aud"] = json!(["two", "one"]);
            both
        };
        let other = {
            let mut other = claims("one", "me", 60);
            other["iss"] = json!("https://other.example");
            other
        };
        let refused = |of, flaw| Err(Refused { of, flaw });
        for (key, claims, want) in [
            (0, claims("one", "me", 60), Ok(0)),
            (1, claims("two", "me", 60), Ok(1)),
            (0, both.clone(), Ok(0)),
            (1, both, refused(Some(0), Flaw::Signature)),
            (0, claims("two", "me", 60), refused(Some(1), Flaw::Signature)),
            (1, other.clone(), Ok(2)),
            (0, other, refused(Some(2), Flaw::Signature)),
            (0, claims("four", "me", 60), refused(None, Flaw::Audience)),
            (0, claims("three", "me", 60), refused(Some(3), Flaw::NoKeys)),
        ] {
            let token = keys[key].token("k", &claims);
            assert_eq!(admitted(&issuers, &token, now).map(|(at, _)| at), want, "{claims}");
        }
        assert_eq!(admitted(&issuers, "x", now), Err(Refused { of: None, flaw: Flaw::Form }));
        let unknown = admitted(&issuers, &keys[0].token("new", &claims("one", "me", 60)), now).unwrap_err();
        assert_eq!(unknown.missing(), Some((0, Why::Unknown)));
        // Keys from the same address are not fetched again because the config has changed elsewhere.
        let again = Issuer::all(&[JwtSpec { servers: Some(vec![]), ..specs[3].clone() }], &issuers);
        assert!(Arc::ptr_eq(&again[0].keys, &issuers[3].keys));
        let again =
            Issuer::all(&[jwt("three", JwksSource::Url("https://issuer.example/new".parse().unwrap()))], &issuers);
        assert!(!Arc::ptr_eq(&again[0].keys, &issuers[3].keys));
    }
}
