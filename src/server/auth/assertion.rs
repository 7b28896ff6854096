//! The signature by which a client shows who it is: a JSON Web Token that it has signed itself (RFC 7523 section 3). Pure.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use tokio_rustls::rustls::SignatureScheme;
use tokio_rustls::rustls::crypto::ring::sign::any_supported_type;

/// How long such a signature is good: long enough for clocks that differ.
const LIFE: Duration = Duration::from_secs(120);

/// How can be signed: what it is called (RFC 7518 section 3.1), and how long each half of a signature is where TLS writes it as two numbers.
const ALGORITHMS: &[(SignatureScheme, &str, Option<usize>)] = &[
    (SignatureScheme::ECDSA_NISTP256_SHA256, "ES256", Some(32)),
    (SignatureScheme::ECDSA_NISTP384_SHA384, "ES384", Some(48)),
    (SignatureScheme::ED25519, "EdDSA", None),
    (SignatureScheme::RSA_PKCS1_SHA256, "RS256", None),
    (SignatureScheme::RSA_PSS_SHA256, "PS256", None),
];

/// What is signed.
#[derive(Debug)]
pub(super) struct Claims<'a> {
    pub(super) client_id: &'a str,
    /// The authorization server.
    pub(super) issuer: &'a str,
    pub(super) now: SystemTime,
    /// By which no two are the same.
    pub(super) number: u128,
}

/// A signature with the key in this text (PEM), in a way that the authorization server takes; `None`: it does not say which. An error
/// continues a sentence that begins with the key's file.
pub(super) fn sign(
    pem: &[u8],
    key_id: Option<&str>,
    taken: Option<&[String]>,
    claims: &Claims<'_>,
) -> Result<String, String> {
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| "holds no private key in PEM form".to_owned())?;
    let key = any_supported_type(&key)
        .map_err(|_| "holds a key of a kind that is not known here; RSA, P-256, P-384 and Ed25519 are".to_owned())?;
    let is_taken = |name: &str| taken.is_none_or(|taken| taken.iter().any(|taken| taken == name));
    let mut ways = ALGORITHMS.iter().filter(|(_, name, _)| is_taken(name));
    let found = ways.find_map(|(scheme, name, half)| Some((key.choose_scheme(&[*scheme])?, *name, *half)));
    let Some((signer, name, half)) = found else {
        let taken = taken.unwrap_or_default().iter().take(8).map(String::as_str).collect::<Vec<_>>().join(", ");
        return Err(format!("holds a key with which can't be signed as the authorization server wants it ({taken})"));
    };
    let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut header = json!({ "alg": name, "typ": "JWT" });
    if let Some(key_id) = key_id {
        header["kid"] = json!(key_id);
    }
    let body = json!({
        "iss": claims.client_id,
        "sub": claims.client_id,
        "aud": claims.issuer,
        "iat": seconds(claims.now),
        "exp": seconds(claims.now + LIFE),
        "jti": format!("{:032x}", claims.number),
    });
    let encoded = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", encoded(&header), encoded(&body));
    let cannot = || "holds a key with which can't be signed".to_owned();
    let signature = signer.sign(text.as_bytes()).map_err(|_| cannot())?;
    let signature = match half {
        Some(half) => two_numbers(&signature, half).ok_or_else(cannot)?,
        None => signature,
    };
    Ok(format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
}

/// A signature of ECDSA as JSON Web Tokens have it: two numbers of a fixed length (RFC 7518 section 3.4), and not a `SEQUENCE` of two
/// `INTEGER`s.
fn two_numbers(der: &[u8], half: usize) -> Option<Vec<u8>> {
    let [0x30, length, rest @ ..] = der else { return None };
    if usize::from(*length) != rest.len() {
        return None;
    }
    let mut both = Vec::with_capacity(2 * half);
    let mut rest = rest;
    for _ in 0..2 {
        let [0x02, length, more @ ..] = rest else { return None };
        let (number, behind) = more.split_at_checked(usize::from(*length))?;
        let from = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
        let number = &number[from..];
        both.resize(both.len() + half.checked_sub(number.len())?, 0);
        both.extend_from_slice(number);
        rest = behind;
    }
    rest.is_empty().then_some(both)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
    use ring::signature::{self, UnparsedPublicKey};

    const CLAIMS: Claims<'_> = Claims { client_id: "me", issuer: "https://as", now: SystemTime::UNIX_EPOCH, number: 7 };

    fn parts(token: &str) -> (Value, Value, String, Vec<u8>) {
        let [header, claims, signature] = token.split('.').collect::<Vec<_>>()[..] else { unreachable!() };
        let decode = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).unwrap();
        let json = |text: &str| serde_json::from_slice(&decode(text)).unwrap();
        (json(header), json(claims), format!("{header}.{claims}"), decode(signature))
    }

    #[test]
    fn a_signature_is_one_that_others_can_check_whatever_the_key() {
        let keys: [(_, _, &dyn signature::VerificationAlgorithm); 3] = [
            (&PKCS_ECDSA_P256_SHA256, "ES256", &signature::ECDSA_P256_SHA256_FIXED),
            (&PKCS_ECDSA_P384_SHA384, "ES384", &signature::ECDSA_P384_SHA384_FIXED),
            (&PKCS_ED25519, "EdDSA", &signature::ED25519),
        ];
        for (kind, name, algorithm) in keys {
            let key = KeyPair::generate_for(kind).unwrap();
            // The numbers of a signature are shorter now and then.
            for number in 0..64 {
                let token =
                    sign(key.serialize_pem().as_bytes(), Some("k1"), None, &Claims { number, ..CLAIMS }).unwrap();
                let (header, claims, text, signature) = parts(&token);
                assert_eq!(header, json!({"alg": name, "typ": "JWT", "kid": "k1"}));
                assert_eq!(
                    (&claims["iss"], &claims["sub"], &claims["aud"]),
                    (&json!("me"), &json!("me"), &json!("https://as"))
                );
                assert_eq!(claims["exp"], LIFE.as_secs());
                UnparsedPublicKey::new(algorithm, key.public_key_raw()).verify(text.as_bytes(), &signature).unwrap();
            }
        }
    }

    #[test]
    fn what_can_not_be_signed_with_is_told_without_the_key() {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap().serialize_pem();
        for (pem, taken, want) in [
            ("", None, "holds no private key in PEM form"),
            (
                "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
                None,
                "of a kind that is not known here",
            ),
            (&key, Some(vec!["RS256".to_owned()]), "as the authorization server wants it (RS256)"),
        ] {
            let why = sign(pem.as_bytes(), None, taken.as_deref(), &CLAIMS).unwrap_err();
            assert!(why.contains(want), "{why}");
        }
        assert!(sign(key.as_bytes(), None, Some(&["ES256".to_owned()]), &CLAIMS).is_ok());
        assert!(
            two_numbers(&[0x30, 2, 2, 0], 32).is_none()
                && two_numbers(&[0x30, 6, 2, 1, 1, 2, 1, 2], 2) == Some(vec![0, 1, 0, 2])
        );
    }
}
