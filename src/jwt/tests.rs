//! Tokens that are made here, and tokens that another program has made (`rsa.json`, by Python's `cryptography`; its private key is gone).

use proptest::prelude::*;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair as _,
};
use serde_json::json;

use super::*;

/// Whoever issues tokens in a test.
pub(crate) enum Issuer {
    Ec(&'static str, EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

impl Issuer {
    pub(crate) fn es256() -> Self {
        Self::ec("ES256", &ECDSA_P256_SHA256_FIXED_SIGNING)
    }

    fn es384() -> Self {
        Self::ec("ES384", &ECDSA_P384_SHA384_FIXED_SIGNING)
    }

    fn ec(name: &'static str, how: &'static EcdsaSigningAlgorithm) -> Self {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::generate_pkcs8(how, &random).unwrap();
        Issuer::Ec(name, EcdsaKeyPair::from_pkcs8(how, key.as_ref(), &random).unwrap())
    }

    fn ed() -> Self {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Issuer::Ed(Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap())
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Issuer::Ec(name, _) => name,
            Issuer::Ed(_) => "EdDSA",
        }
    }

    /// Its public key, under a name.
    pub(crate) fn jwk(&self, id: &str) -> Value {
        match self {
            Issuer::Ec(name, key) => {
                let point = &key.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                json!({"kty": "EC", "crv": name.replace("ES", "P-"), "kid": id, "x": encoded(x), "y": encoded(y)})
            }
            Issuer::Ed(key) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": encoded(key.public_key())})
            }
        }
    }

    /// Signs two texts, whatever they are.
    fn sign(&self, header: &str, claims: &str) -> String {
        let text = format!("{}.{}", encoded(header), encoded(claims));
        let signature = match self {
            Issuer::Ec(_, key) => encoded(key.sign(&SystemRandom::new(), text.as_bytes()).unwrap()),
            Issuer::Ed(key) => encoded(key.sign(text.as_bytes())),
        };
        format!("{text}.{signature}")
    }

    /// A token by a key of this name.
    pub(crate) fn token(&self, id: &str, claims: &Value) -> String {
        self.sign(&json!({"alg": self.algorithm(), "kid": id, "typ": "JWT"}).to_string(), &claims.to_string())
    }
}

/// A set of keys, as an issuer offers it.
pub(crate) fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

const ISSUER: &str = "https://issuer.example";
const AUDIENCE: [&str; 2] = ["mcp", "https://mcp.example/mcp"];
const NOW: u64 = 1_000_000;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn claims() -> Value {
    json!({"iss": ISSUER, "aud": "mcp", "sub": "me", "exp": NOW + 600})
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    if value.is_null() {
        claims.as_object_mut().unwrap().remove(name);
    } else {
        claims[name] = value;
    }
    claims
}

fn keys(keys: &[Value]) -> Keys {
    Keys::read(set(keys).as_bytes()).unwrap()
}

/// All that is looked at, in the order in which the gateway does.
fn look(token: &str, keys: Option<&Keys>, now: SystemTime) -> Result<Good, Flaw> {
    let token = Token::read(token)?;
    if token.issuer() != Some(ISSUER) {
        return Err(Flaw::Issuer(token.issuer().map(str::to_owned)));
    }
    if !token.is_for(&AUDIENCE) {
        return Err(Flaw::Audience);
    }
    token.check(keys, now)
}

#[test]
fn a_token_is_good_whatever_the_kind_of_its_key_and_of_no_other() {
    let issuers = [Issuer::es256(), Issuer::es384(), Issuer::ed()];
    let all: Vec<Value> = issuers.iter().map(|issuer| issuer.jwk(issuer.algorithm())).collect();
    let all = keys(&all);
    for issuer in &issuers {
        let token = issuer.token(issuer.algorithm(), &claims());
        let good = Good { subject: "me".into(), until: at(NOW + 600) };
        assert_eq!(look(&token, Some(&all), at(NOW)), Ok(good));
        // Another key of the same name.
        let other = match issuer.algorithm() {
            "ES256" => Issuer::es256(),
            "ES384" => Issuer::es384(),
            _ => Issuer::ed(),
        };
        let other = keys(&[other.jwk(issuer.algorithm())]);
        assert_eq!(look(&token, Some(&other), at(NOW)), Err(Flaw::Signature));
        assert_eq!(look(&token, None, at(NOW)), Err(Flaw::NoKeys));
    }
    let ed = &issuers[2];
    let token = ed.sign(r#"{"alg":"Ed25519"}"#, &claims().to_string());
    assert!(look(&token, Some(&all), at(NOW)).is_ok());
}

#[test]
fn tokens_that_another_program_has_signed_with_rsa_are_good() {
    let file: Value = serde_json::from_str(include_str!("tests/rsa.json")).unwrap();
    let key = &file["keys"][0];
    let tokens = file["tokens"].as_object().unwrap();
    assert_eq!(tokens.len(), 6);
    for (name, token) in tokens {
        let token = token.as_str().unwrap();
        let good = Good { subject: "rsa".into(), until: at(2_000_000) };
        assert_eq!(look(token, Some(&keys(std::slice::from_ref(key))), at(NOW)), Ok(good), "{name}");
        for (other, _) in tokens {
            let mut only = key.clone();
            only["alg"] = json!(other);
            let want = if name == other { Ok(()) } else { Err(Flaw::UnknownKey(Some("rsa".to_owned()))) };
            assert_eq!(look(token, Some(&keys(&[only])), at(NOW)).map(drop), want, "{name} with a key for {other}");
        }
        // As if it were signed in another way with the same key.
        let (_, rest) = token.split_once('.').unwrap();
        for (other, _) in tokens.iter().filter(|(other, _)| *other != name) {
            let header = encoded(json!({"alg": other, "kid": "rsa"}).to_string());
            let token = format!("{header}.{rest}");
            assert_eq!(look(&token, Some(&keys(std::slice::from_ref(key))), at(NOW)), Err(Flaw::Signature));
        }
    }
}

#[test]
fn what_a_token_says_is_compared_with_what_it_has_to_say() {
    let issuer = Issuer::es256();
    let keys = keys(&[issuer.jwk("k")]);
    let long = "x".repeat(256);
    for (claims, want) in [
        (claims(), Ok(())),
        (with("aud", json!(["x", "https://mcp.example/mcp"])), Ok(())),
        (with("exp", json!(NOW as f64 + 0.5)), Ok(())),
        (with("nbf", json!(NOW + 60)), Ok(())),
        (with("iat", json!(NOW + 60)), Ok(())),
        (with("more", json!({"a": [1]})), Ok(())),
        (with("iss", json!("https://issuer.example/")), Err(Flaw::Issuer(Some("https://issuer.example/".to_owned())))),
        (with("iss", json!("HTTPS://issuer.example")), Err(Flaw::Issuer(Some("HTTPS://issuer.example".to_owned())))),
        (with("iss", json!([ISSUER])), Err(Flaw::Issuer(None))),
        (with("iss", Value::Null), Err(Flaw::Issuer(None))),
        (with("aud", json!("mcp2")), Err(Flaw::Audience)),
        (with("aud", json!(["x"])), Err(Flaw::Audience)),
        (with("aud", json!(["mcp", 1])), Err(Flaw::Audience)),
        (with("aud", json!([])), Err(Flaw::Audience)),
        (with("aud", json!({"mcp": "mcp"})), Err(Flaw::Audience)),
        (with("aud", Value::Null), Err(Flaw::Audience)),
        (with("exp", json!(NOW)), Err(Flaw::Expired(Duration::ZERO))),
        (with("exp", json!(NOW - 1)), Err(Flaw::Expired(Duration::from_secs(1)))),
        (with("exp", json!("1000600")), Err(Flaw::Claim("exp"))),
        (with("exp", json!(-1)), Err(Flaw::Claim("exp"))),
        (with("exp", json!(1e300)), Err(Flaw::Claim("exp"))),
        (with("exp", Value::Null), Err(Flaw::Claim("exp"))),
        (with("nbf", json!(NOW + 61)), Err(Flaw::Early("nbf", Duration::from_secs(61)))),
        (with("nbf", json!("0")), Err(Flaw::Claim("nbf"))),
        (with("iat", json!(NOW + 61)), Err(Flaw::Early("iat", Duration::from_secs(61)))),
        (with("iat", json!(true)), Err(Flaw::Claim("iat"))),
        (with("sub", json!("")), Err(Flaw::Claim("sub"))),
        (with("sub", json!(7)), Err(Flaw::Claim("sub"))),
        (with("sub", json!(long)), Err(Flaw::Claim("sub"))),
        (with("sub", Value::Null), Err(Flaw::Claim("sub"))),
    ] {
        let token = issuer.token("k", &claims);
        assert_eq!(look(&token, Some(&keys), at(NOW)).map(drop), want, "{claims}");
    }
}

#[test]
fn how_a_token_is_signed_is_for_its_key_to_say() {
    let issuer = Issuer::es256();
    let jwk = issuer.jwk("k");
    let one = keys(std::slice::from_ref(&jwk));
    let algorithm = |name: &str| Err(Flaw::Algorithm(name.to_owned()));
    let unknown = |id: Option<&str>| Err(Flaw::UnknownKey(id.map(str::to_owned)));
    for (header, want) in [
        (json!({"alg": "ES256", "kid": "k"}), Ok(())),
        (json!({"alg": "ES256"}), Ok(())),
        (json!({"alg": "ES256", "typ": "at+JWT"}), Ok(())),
        (json!({"alg": "ES256", "jwk": Issuer::es256().jwk("k"), "jku": "https://evil.example"}), Ok(())),
        (json!({"alg": "none"}), algorithm("none")),
        (json!({"alg": "None"}), algorithm("None")),
        (json!({"alg": "HS256", "kid": "k"}), algorithm("HS256")),
        (json!({"alg": "es256"}), algorithm("es256")),
        (json!({"alg": "ES256K"}), algorithm("ES256K")),
        (json!({"alg": ["ES256"]}), Err(Flaw::Form)),
        (json!({"kid": "k"}), Err(Flaw::Form)),
        (json!({"alg": "ES384", "kid": "k"}), unknown(Some("k"))),
        (json!({"alg": "RS256"}), unknown(None)),
        (json!({"alg": "ES256", "kid": "K"}), unknown(Some("K"))),
        (json!({"alg": "ES256", "kid": ""}), unknown(Some(""))),
        (json!({"alg": "ES256", "kid": 1}), Err(Flaw::Form)),
        (json!({"alg": "ES256", "crit": ["b64"], "b64": false}), Err(Flaw::Critical)),
        (json!({"alg": "ES256", "crit": []}), Err(Flaw::Critical)),
        (json!({"alg": "ES256", "typ": "logout+jwt"}), Err(Flaw::Type("logout+jwt".to_owned()))),
        (json!({"alg": "ES256", "typ": 1}), Err(Flaw::Form)),
    ] {
        let token = issuer.sign(&header.to_string(), &claims().to_string());
        assert_eq!(look(&token, Some(&one), at(NOW)).map(drop), want, "{header}");
    }
    // Which of two keys it is by has to be said, where both fit.
    let named = issuer.token("k", &claims());
    let nameless = issuer.sign(r#"{"alg":"ES256"}"#, &claims().to_string());
    let two = keys(&[jwk.clone(), Issuer::es256().jwk("other")]);
    assert!(look(&named, Some(&two), at(NOW)).is_ok());
    assert_eq!(look(&nameless, Some(&two), at(NOW)), Err(Flaw::AnyKey));
    let twins = keys(&[jwk.clone(), Issuer::es256().jwk("k")]);
    assert_eq!(look(&named, Some(&twins), at(NOW)), Err(Flaw::AnyKey));
    let kinds = keys(&[jwk, Issuer::es384().jwk("k")]);
    assert!(look(&named, Some(&kinds), at(NOW)).is_ok() && look(&nameless, Some(&kinds), at(NOW)).is_ok());
}

/// The HMAC of a text, by a key that everybody knows.
fn confused(header: &str, key: &[u8]) -> String {
    let text = format!("{}.{}", encoded(header), encoded(claims().to_string()));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key);
    format!("{text}.{}", encoded(ring::hmac::sign(&key, text.as_bytes())))
}

#[test]
fn no_token_is_good_because_somebody_knows_the_public_key() {
    let issuer = Issuer::es256();
    let jwk = issuer.jwk("k");
    let set = set(std::slice::from_ref(&jwk));
    let one = Keys::read(set.as_bytes()).unwrap();
    let point = [&[4][..], &decoded(&jwk["x"]), &decoded(&jwk["y"])].concat();
    for key in [&*point, jwk.to_string().as_bytes(), set.as_bytes(), b""] {
        for header in [r#"{"alg":"HS256","kid":"k"}"#, r#"{"alg":"ES256","kid":"k"}"#] {
            assert!(look(&confused(header, key), Some(&one), at(NOW)).is_err());
        }
    }
    // A signature by which anybody's text would be right where nobody looks whether its numbers are above zero.
    let nothing = format!("{}.{}", encoded(r#"{"alg":"ES256","kid":"k"}"#), encoded(claims().to_string()));
    for signature in [&[0; 64][..], &[]] {
        let token = format!("{nothing}.{}", encoded(signature));
        assert_eq!(look(&token, Some(&one), at(NOW)), Err(Flaw::Signature));
    }
}

fn decoded(text: &Value) -> Vec<u8> {
    BASE64_URL_SAFE_NO_PAD.decode(text.as_str().unwrap()).unwrap()
}

#[test]
fn what_is_no_token_or_says_a_thing_twice_is_refused() {
    let issuer = Issuer::es256();
    let keys = keys(&[issuer.jwk("k")]);
    let good = issuer.token("k", &claims());
    let json = claims().to_string();
    let twice = |json: &str, name: &str, value: &str| format!("{},\"{name}\":{value}}}", json.trim_end_matches('}'));
    let header = r#"{"alg":"ES256"}"#;
    for (token, want) in [
        (issuer.sign(header, &twice(&json, "exp", "9999999")), Flaw::Form),
        (issuer.sign(header, &twice(&json, "sub", "\"me\"")), Flaw::Form),
        (issuer.sign(header, &twice(&json, "\\u0073ub", "\"you\"")), Flaw::Form),
        (issuer.sign(&twice(header, "alg", "\"none\""), &json), Flaw::Form),
        (issuer.sign(&twice(header, "kid", "\"k\""), &twice(&json, "aud", "\"x\"")), Flaw::Form),
        (issuer.sign("[]", &json), Flaw::Form),
        (issuer.sign(header, "\"me\""), Flaw::Form),
        (issuer.sign(header, &format!("{json}{json}")), Flaw::Form),
        (format!("{good}="), Flaw::Form),
        (format!("{good}\n"), Flaw::Form),
        (format!("{good}.{}", encoded("x")), Flaw::Form),
        (good.replace('.', ""), Flaw::Form),
        (String::new(), Flaw::Form),
        ("..".to_owned(), Flaw::Form),
        (issuer.token("k", &with("more", json!("x".repeat(8 * 1024)))), Flaw::TooLong),
    ] {
        assert_eq!(look(&token, Some(&keys), at(NOW)), Err(want), "{token}");
    }
}

#[test]
fn of_a_token_only_one_spelling_is_good() {
    let issuer = Issuer::es256();
    let keys = keys(&[issuer.jwk("k")]);
    let good = issuer.token("k", &claims());
    // Four bits of the last character of a signature of 64 bytes stand for nothing.
    let (rest, last) = good.split_at(good.len() - 1);
    for other in ('A'..='Z').chain('a'..='z').chain('0'..='9').filter(|c| !last.contains(*c)) {
        let want = if "AQgw".contains(other) { Flaw::Signature } else { Flaw::Form };
        assert_eq!(look(&format!("{rest}{other}"), Some(&keys), at(NOW)), Err(want));
    }
}

#[test]
fn a_token_is_told_from_a_key_by_its_form() {
    let good = Issuer::es256().token("k", &claims());
    let header = encoded(r#"{"alg":"none"}"#);
    for (text, is_one) in [
        (&*good, true),
        (&format!("{header}.."), true),
        (&format!("{header}.e30."), true),
        (&format!("{header}.e30"), false),
        (&format!("{header}.e30.x.y.z"), false),
        (&format!("{header}.e3 0.x"), false),
        (&format!("{}.e30.x", encoded("{}")), false),
        (&format!("{}.e30.x", encoded("[]")), false),
        ("key-of-one-0123456", false),
        ("key.of.one-0123456", false),
        ("", false),
        ("..", false),
    ] {
        assert_eq!(has_form(text), is_one, "{text}");
    }
}

#[test]
fn of_a_set_only_public_keys_that_are_for_signatures_count() {
    let good = Issuer::es256().jwk("k");
    let set_of = |name: &str, value: Value| {
        let mut key = good.clone();
        key[name] = value;
        set(&[key])
    };
    let rsa: Value = serde_json::from_str(include_str!("tests/rsa.json")).unwrap();
    let short = json!({"kty": "RSA", "n": encoded([0xff; 128]), "e": "AQAB"});
    let long = json!({"kty": "RSA", "n": encoded([0xff; 1025]), "e": "AQAB"});
    for (text, counts) in [
        (set(std::slice::from_ref(&good)), true),
        (set(&[good.clone(), json!({"kty": "x"}), json!(7)]), true),
        (set(std::slice::from_ref(&rsa["keys"][0])), true),
        (set_of("use", json!("sig")), true),
        (set_of("key_ops", json!(["verify"])), true),
        (set_of("alg", json!("ES256")), true),
        (set_of("use", json!("enc")), false),
        (set_of("key_ops", json!(["sign"])), false),
        (set_of("key_ops", json!("verify")), false),
        (set_of("alg", json!("ES384")), false),
        (set_of("alg", json!("HS256")), false),
        (set_of("kid", json!(1)), false),
        (set_of("crv", json!("P-384")), false),
        (set_of("crv", json!("P-521")), false),
        (set_of("x", json!("AA")), false),
        (set_of("kty", json!("oct")), false),
        (set(&[json!({"kty": "oct", "k": "c2VjcmV0"})]), false),
        (set(&[short, long]), false),
        (set(&[]), false),
        (format!(r#"{{"keys":[{}]}}"#, good.to_string().replacen('{', "{\"kid\":\"x\",", 1)), false),
        (format!(r#"{{"keys":[],"keys":[{good}]}}"#), false),
        (good.to_string(), false),
        ("{}".to_owned(), false),
        (String::new(), false),
        (set(&vec![good.clone(); 101]), false),
        (set(&[good.clone(), json!({"more": "x".repeat(MAX_SET)})]), false),
    ] {
        assert_eq!(Keys::read(text.as_bytes()).map(drop).is_ok(), counts, "{}", brief(&text));
    }
    // Both spellings of a number are the same key.
    let mut zero = rsa["keys"][0].clone();
    zero["n"] = json!(encoded([&[0][..], &decoded(&zero["n"])].concat()));
    assert_eq!(keys(&[zero]), keys(std::slice::from_ref(&rsa["keys"][0])));
}

#[test]
fn what_is_wrong_is_told_without_the_token() {
    let long = "y".repeat(10_000);
    for flaw in [Flaw::Issuer(Some(long.clone())), Flaw::UnknownKey(Some(long.clone())), Flaw::Algorithm(long)] {
        assert!(flaw.to_string().len() < 300, "{flaw}");
    }
}

proptest! {
    #[test]
    fn a_token_of_which_anything_was_changed_is_never_good(
        kind in 0..3_usize,
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..4_u8, any::<prop::sample::Index>()), 1..4),
    ) {
        const CHARACTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=";
        let issuer = [Issuer::es256, Issuer::es384, Issuer::ed][kind]();
        let keys = keys(&[issuer.jwk("k")]);
        let good = issuer.token("k", &claims());
        prop_assert!(look(&good, Some(&keys), at(NOW)).is_ok());
        let mut bytes = good.clone().into_bytes();
        for (at, what, with) in edits {
            let (at, with) = (at.index(bytes.len()), CHARACTERS[with.index(CHARACTERS.len())]);
            match what {
                0 => bytes[at] = with,
                1 => bytes.insert(at, with),
                2 => drop(bytes.remove(at)),
                _ => bytes.truncate(at + 1),
            }
        }
        let changed = String::from_utf8(bytes).unwrap();
        prop_assume!(changed != good);
        prop_assert!(look(&changed, Some(&keys), at(NOW)).is_err(), "{changed}");
    }

    #[test]
    fn nothing_that_anybody_sends_is_a_panic(text in ".{0,200}", json in "[\\[\\]{}\":,a-z0-9.]{0,80}") {
        let keys = keys(&[Issuer::es256().jwk("k")]);
        prop_assert!(look(&text, Some(&keys), at(NOW)).is_err());
        let token = format!("{}.{}.", encoded(&json), encoded(&json));
        prop_assert!(look(&token, Some(&keys), at(NOW)).is_err());
        let _read = Keys::read(json.as_bytes());
        let _form = has_form(&text);
    }
}
