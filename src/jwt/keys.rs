//! The keys with which an issuer signs: a JSON Web Key Set (RFC 7517), as far as it has public keys of kinds that are known here.
//! Pure.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::members::Members;
use crate::words::size;

/// Largest set, in bytes: issuers have some thousands.
pub(crate) const MAX_SET: usize = 256 * 1024;
/// Most keys of a set: issuers have two to ten, and each is looked at for a token.
const MAX_KEYS: usize = 100;
/// Sizes of an RSA key, in bytes of its modulus: a smaller one may be broken (RFC 7518 section 3.3), a larger one is checked for long.
const RSA: std::ops::RangeInclusive<usize> = 256..=1024;

/// How a token is signed (RFC 7518 section 3.1, RFC 8037, RFC 9864): with a key of which everybody may know the public half. With the
/// others whoever can check a token can also make one, and a public key would do for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
    Ed25519,
}

impl Algorithm {
    /// By the name that a token or a key gives it.
    pub(super) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Algorithm::Rs256,
            "RS384" => Algorithm::Rs384,
            "RS512" => Algorithm::Rs512,
            "PS256" => Algorithm::Ps256,
            "PS384" => Algorithm::Ps384,
            "PS512" => Algorithm::Ps512,
            "ES256" => Algorithm::Es256,
            "ES384" => Algorithm::Es384,
            "EdDSA" => Algorithm::EdDsa,
            "Ed25519" => Algorithm::Ed25519,
            _ => return None,
        })
    }
}

/// The keys of an issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys(Vec<Key>);

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    id: Option<Box<str>>,
    /// The only algorithm that it is for; `None`: each that its kind has.
    algorithm: Option<Algorithm>,
    public: Public,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Public {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// Points, uncompressed.
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// Why no key is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotFound {
    /// None has this id, or there is none for this algorithm.
    None,
    /// Several fit, and nothing says which is meant.
    Several,
}

#[derive(Deserialize)]
struct Set<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

impl Keys {
    /// The keys in a set. Those of other kinds, and those that are broken, are left out (RFC 7517 section 5). An error continues a
    /// sentence that begins with whose set it is.
    pub(crate) fn read(json: &[u8]) -> Result<Self, String> {
        if json.len() > MAX_SET {
            return Err(format!("has more than {}", size(MAX_SET as u64)));
        }
        let Set { keys } =
            serde_json::from_slice(json).map_err(|_| "is no JSON Web Key Set, which is {\"keys\": […]}".to_owned())?;
        if keys.len() > MAX_KEYS {
            return Err(format!("holds more than {MAX_KEYS} keys"));
        }
        let (all, known) = (keys.len(), keys.iter().filter_map(|key| Key::read(key.get().as_bytes())).collect());
        match (Keys(known), all) {
            (Keys(known), 0) if known.is_empty() => Err("holds no key".to_owned()),
            (Keys(known), _) if known.is_empty() => Err("holds no public key for signatures of a kind that is \
                known here: RSA of 2048 to 8192 bits, P-256, P-384 and Ed25519 are"
                .to_owned()),
            (keys, _) => Ok(keys),
        }
    }

    /// The key by which a token says that it is signed.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<&Key, NotFound> {
        let fits = |key: &&Key| key.is_for(algorithm) && id.is_none_or(|id| key.id.as_deref() == Some(id));
        let mut found = self.0.iter().filter(fits);
        match (found.next(), found.next()) {
            (Some(key), None) => Ok(key),
            (None, _) => Err(NotFound::None),
            (Some(_), Some(_)) => Err(NotFound::Several),
        }
    }
}

impl Key {
    fn read(json: &[u8]) -> Option<Self> {
        let members = Members::read(json)?;
        let text = |name: &str| members.text(name).ok().flatten();
        let bytes = |name: &str| BASE64_URL_SAFE_NO_PAD.decode(text(name)?).ok();
        let number = |name: &str| {
            let bytes = bytes(name)?;
            // Some write a zero before a number whose first bit is set.
            let from = bytes.iter().position(|byte| *byte != 0)?;
            Some(bytes[from..].to_vec())
        };
        let point = |half: usize| {
            let (x, y) = (bytes("x")?, bytes("y")?);
            (x.len() == half && y.len() == half).then(|| [&[4][..], &x, &y].concat())
        };
        let public = match (text("kty")?, text("crv")) {
            ("RSA", None) => {
                let (n, e) = (number("n")?, number("e")?);
                RSA.contains(&n.len()).then_some(Public::Rsa { n, e })?
            }
            ("EC", Some("P-256")) => Public::P256(point(32)?),
            ("EC", Some("P-384")) => Public::P384(point(48)?),
            ("OKP", Some("Ed25519")) => Public::Ed25519(bytes("x").filter(|x| x.len() == 32)?),
            (_, _) => return None,
        };
        let is_for_signatures = match (members.text("use").ok()?, members.get("key_ops")) {
            (Some(other), _) if other != "sig" => false,
            (_, None) => true,
            (_, Some(Value::Array(all))) => all.iter().any(|one| one == "verify"),
            (_, Some(_)) => false,
        };
        let algorithm = match members.text("alg").ok()? {
            Some(name) => Some(Algorithm::of(name)?),
            None => None,
        };
        let id = members.text("kid").ok()?.map(Into::into);
        let key = Key { id, algorithm: None, public };
        let fits = is_for_signatures && algorithm.is_none_or(|algorithm| key.is_for(algorithm));
        fits.then_some(Key { algorithm, ..key })
    }

    /// Whether it may be used in this way.
    fn is_for(&self, algorithm: Algorithm) -> bool {
        let is_of_kind = match algorithm {
            Algorithm::Rs256
            | Algorithm::Rs384
            | Algorithm::Rs512
            | Algorithm::Ps256
            | Algorithm::Ps384
            | Algorithm::Ps512 => matches!(self.public, Public::Rsa { .. }),
            Algorithm::Es256 => matches!(self.public, Public::P256(_)),
            Algorithm::Es384 => matches!(self.public, Public::P384(_)),
            Algorithm::EdDsa | Algorithm::Ed25519 => matches!(self.public, Public::Ed25519(_)),
        };
        is_of_kind && self.algorithm.is_none_or(|only| only == algorithm)
    }

    /// Whether this text was signed with it, in this way.
    pub(super) fn has_signed(&self, algorithm: Algorithm, text: &[u8], signature: &[u8]) -> bool {
        let rsa = |how: &RsaParameters| match &self.public {
            Public::Rsa { n, e } => RsaPublicKeyComponents { n, e }.verify(how, text, signature).is_ok(),
            Public::P256(_) | Public::P384(_) | Public::Ed25519(_) => false,
        };
        let other = |how: &'static dyn VerificationAlgorithm| match &self.public {
            Public::P256(key) | Public::P384(key) | Public::Ed25519(key) => {
                UnparsedPublicKey::new(how, key).verify(text, signature).is_ok()
            }
            Public::Rsa { .. } => false,
        };
        self.is_for(algorithm)
            && match algorithm {
                Algorithm::Rs256 => rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
                Algorithm::Rs384 => rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
                Algorithm::Rs512 => rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
                Algorithm::Ps256 => rsa(&signature::RSA_PSS_2048_8192_SHA256),
                Algorithm::Ps384 => rsa(&signature::RSA_PSS_2048_8192_SHA384),
                Algorithm::Ps512 => rsa(&signature::RSA_PSS_2048_8192_SHA512),
                Algorithm::Es256 => other(&signature::ECDSA_P256_SHA256_FIXED),
                Algorithm::Es384 => other(&signature::ECDSA_P384_SHA384_FIXED),
                Algorithm::EdDsa | Algorithm::Ed25519 => other(&signature::ED25519),
            }
    }
}
