//! A secret inside of what was encoded as a whole: hexadecimal digits and base64, wherever in it the secret stands. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Shortest secret whose encodings are looked for, in bytes.
const SHORTEST: usize = 8;
/// Longest one: encodings of a longer secret are not known.
const LONGEST: usize = 4096;

/// The texts by which the encodings of a secret are known, each once. In base64 (RFC 4648 section 4 and 5) three bytes become four
/// characters, so there are three ways for a secret to stand in what was encoded; the characters at both ends that other bytes
/// have a part in are left out.
pub(super) fn encodings(secret: &str) -> Vec<String> {
    let bytes = secret.as_bytes();
    if !(SHORTEST..=LONGEST).contains(&bytes.len()) {
        return Vec::new();
    }
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut texts = vec![hex.to_uppercase(), hex];
    for before in 0..3 {
        let shifted = [&vec![0; before], bytes].concat();
        let (from, to) = ((before * 8).div_ceil(6), shifted.len() * 8 / 6);
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            let text = engine.encode(&shifted);
            texts.extend(text.get(from..to).map(str::to_owned));
        }
    }
    texts.sort_unstable();
    texts.dedup();
    texts
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_token_is_known_in_hexadecimal_and_base64() {
        let known = encodings("tok3nS3cretABCDEF");
        for encoded in
            ["746f6b336e533363726574414243444546", "746F6B336E533363726574414243444546", "dG9rM25TM2NyZXRBQkNERU"]
        {
            assert!(known.contains(&encoded.to_owned()), "{encoded} in {known:?}");
        }
        assert!(encodings("short").is_empty() && encodings(&"x".repeat(5000)).is_empty());
    }

    proptest! {
        #[test]
        fn it_is_found_wherever_it_stands_in_what_was_encoded(secret in "[ -~]{8,80}", before in "[ -~]{0,7}", behind in "[ -~]{0,7}") {
            let whole = format!("{before}{secret}{behind}");
            for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
                let text = engine.encode(&whole);
                let found = encodings(&secret).into_iter().any(|known| text.contains(&known));
                prop_assert!(found, "{} in {}", secret, text);
                let bytes = engine.decode(&text).unwrap();
                prop_assert_eq!(bytes, whole.as_bytes());
            }
        }
    }
}
