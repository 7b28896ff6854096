//! JSON Web Tokens of others (RFC 7519), checked by the rules of RFC 8725: by whom one is signed, for whom it is, and until when. Pure.
//!
//! Signatures are checked by `ring`, which TLS here has anyway.

mod keys;
mod members;

use std::fmt;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;

use self::keys::{Algorithm, NotFound};
pub(crate) use self::keys::{Keys, MAX_SET};
use self::members::Members;
use crate::words::{brief, span};

/// Longest token, in bytes: issuers' have one or two thousand, and heads of requests are limited as well.
const MAX: usize = 8 * 1024;
/// Longest subject, in bytes: OpenID Connect allows 255.
const MAX_SUBJECT: usize = 255;
/// Most that the issuer's clock may be ahead of ours. One that is behind makes a token end earlier, and lets nobody in.
const LEEWAY: Duration = Duration::from_secs(60);
/// What a token may call itself (RFC 7519 section 5.1, RFC 9068 section 2.1): not what is for another use, such as `logout+jwt`.
const TYPES: &[&str] = &["jwt", "at+jwt", "application/jwt", "application/at+jwt"];

/// A token whose form is right. Nothing in it is known to be true before it was checked.
#[derive(Debug)]
pub(crate) struct Token<'a> {
    header: Members,
    claims: Members,
    signed: &'a str,
    signature: Vec<u8>,
}

/// Whom a good token speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Good {
    /// Who it is, by a name that its issuer gives to nobody else.
    pub(crate) subject: Box<str>,
    /// Until when it is good.
    pub(crate) until: SystemTime,
}

/// What is wrong with a token: for the log, never for whoever has shown it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Flaw {
    TooLong,
    /// It is not three parts, or one of them is not what it should be.
    Form,
    /// A part of its header says what must be understood, and is not.
    Critical,
    /// It is for another use (`typ`).
    Type(String),
    /// It is signed in a way that is not taken, if at all (`alg`).
    Algorithm(String),
    /// Nobody here knows its issuer (`iss`).
    Issuer(Option<String>),
    /// It is for others (`aud`).
    Audience,
    /// A claim has another type than it has to have, or is missing.
    Claim(&'static str),
    /// It has ended (`exp`), so long ago.
    Expired(Duration),
    /// It is not good yet (`nbf`, or `iat`), for so long.
    Early(&'static str, Duration),
    /// There are no keys of its issuer.
    NoKeys,
    /// No key of its issuer has its `kid`, or is for its algorithm.
    UnknownKey(Option<String>),
    /// It does not say by which of several keys it is signed.
    AnyKey,
    /// It is not signed by the key that it names.
    Signature,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Flaw::TooLong => write!(f, "it has more than {MAX} bytes"),
            Flaw::Form => f.write_str("it can't be read, or something stands in it twice"),
            Flaw::Critical => f.write_str("its header has a part that must be understood (crit)"),
            Flaw::Type(name) => write!(f, "it is for another use (typ is {})", brief(name)),
            Flaw::Algorithm(name) => write!(f, "it is not signed in a way that is taken here (alg is {})", brief(name)),
            Flaw::Issuer(None) => f.write_str("it does not say who has issued it (iss)"),
            Flaw::Issuer(Some(name)) => write!(f, "its issuer is not the config's (iss is {})", brief(name)),
            Flaw::Audience => f.write_str("it is not for the config's audience (aud)"),
            Flaw::Claim(name) => write!(f, "its {name} is missing, or is not what it should be"),
            Flaw::Expired(ago) => write!(f, "it ended {} ago (exp)", span(*ago)),
            Flaw::Early(name, left) => write!(f, "it is good in {} only ({name}); is a clock wrong?", span(*left)),
            Flaw::NoKeys => f.write_str("the keys of its issuer are not there"),
            Flaw::UnknownKey(None) => f.write_str("its issuer has no key for its algorithm"),
            Flaw::UnknownKey(Some(id)) => {
                write!(f, "its issuer has no key of its name and algorithm (kid is {})", brief(id))
            }
            Flaw::AnyKey => f.write_str("several keys of its issuer fit, and it names none of them alone (kid)"),
            Flaw::Signature => f.write_str("its signature is not by the issuer's key"),
        }
    }
}

/// Whether a text is meant as a token, good or not: three parts, and the first is a header.
pub(crate) fn has_form(text: &str) -> bool {
    let is_encoded = |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    let mut parts = text.split('.');
    let (Some(header), Some(claims), Some(signature), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let header = BASE64_URL_SAFE_NO_PAD.decode(header).unwrap_or_default();
    [claims, signature].iter().all(|part| is_encoded(part))
        && serde_json::from_slice::<Value>(&header).is_ok_and(|header| header.get("alg").is_some())
}

impl<'a> Token<'a> {
    /// Reads a token, and checks nothing but its form.
    pub(crate) fn read(text: &'a str) -> Result<Self, Flaw> {
        if text.len() > MAX {
            return Err(Flaw::TooLong);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(Flaw::Form)?;
        let (header, claims) = signed.split_once('.').ok_or(Flaw::Form)?;
        // Of each text only one spelling is taken, so that no two tokens are the same one.
        let decoded = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| Flaw::Form);
        let members = |part: &str| Members::read(&decoded(part)?).ok_or(Flaw::Form);
        let (header, claims) = (members(header)?, members(claims)?);
        Ok(Token { header, claims, signed, signature: decoded(signature)? })
    }

    /// Who has issued it, as it says.
    pub(crate) fn issuer(&self) -> Option<&str> {
        self.claims.text("iss").ok().flatten()
    }

    /// Whether it is for one of these, as it says.
    pub(crate) fn is_for(&self, audience: &[impl AsRef<str>]) -> bool {
        let is_ours =
            |name: &Value| name.as_str().is_some_and(|name| audience.iter().any(|ours| ours.as_ref() == name));
        match self.claims.get("aud") {
            Some(Value::Array(all)) => all.iter().all(Value::is_string) && all.iter().any(is_ours),
            Some(one) => is_ours(one),
            None => false,
        }
    }

    /// Whether it is good now, signed by one of these keys. `None`: those of its issuer are not known.
    pub(crate) fn check(&self, keys: Option<&Keys>, now: SystemTime) -> Result<Good, Flaw> {
        if self.header.get("crit").is_some() {
            return Err(Flaw::Critical);
        }
        let of_header = |name: &str| self.header.text(name).map_err(|_| Flaw::Form);
        if let Some(name) = of_header("typ")?.filter(|name| !TYPES.contains(&&*name.to_ascii_lowercase())) {
            return Err(Flaw::Type(name.to_owned()));
        }
        let name = of_header("alg")?.ok_or(Flaw::Form)?;
        let algorithm = Algorithm::of(name).ok_or_else(|| Flaw::Algorithm(name.to_owned()))?;
        let id = of_header("kid")?;
        let key = keys.ok_or(Flaw::NoKeys)?.find(id, algorithm).map_err(|why| match why {
            NotFound::None => Flaw::UnknownKey(id.map(str::to_owned)),
            NotFound::Several => Flaw::AnyKey,
        })?;
        if !key.has_signed(algorithm, self.signed.as_bytes(), &self.signature) {
            return Err(Flaw::Signature);
        }
        let until = self.time("exp")?.ok_or(Flaw::Claim("exp"))?;
        if until <= now {
            return Err(Flaw::Expired(now.duration_since(until).unwrap_or_default()));
        }
        for name in ["nbf", "iat"] {
            let left = self.time(name)?.and_then(|from| from.duration_since(now).ok()).unwrap_or_default();
            if left > LEEWAY {
                return Err(Flaw::Early(name, left));
            }
        }
        let subject = self.claims.text("sub").ok().flatten();
        let subject = subject.filter(|subject| (1..=MAX_SUBJECT).contains(&subject.len()));
        Ok(Good { subject: subject.ok_or(Flaw::Claim("sub"))?.into(), until })
    }

    /// A claim that is a time, in seconds since 1970.
    fn time(&self, name: &'static str) -> Result<Option<SystemTime>, Flaw> {
        let Some(value) = self.claims.get(name) else { return Ok(None) };
        let seconds = value.as_f64().filter(|seconds| (0.0..1e11).contains(seconds)).ok_or(Flaw::Claim(name))?;
        Ok(Some(SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds)))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
pub(crate) mod tests;
