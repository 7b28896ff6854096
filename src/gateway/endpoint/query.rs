//! The token in the query of an address, and which of those that there are it is. Pure.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::config::sha256;

/// The member of the query in which the token is.
const MEMBER: &str = "token=";

/// The SHA-256 of the token of a query, in each way in which that may be read: as it stands there, and decoded, where a plus is itself or
/// a blank. Empty without a token, or with two that differ.
pub(super) fn hashes(query: &str) -> Vec<[u8; 32]> {
    let mut tokens = query.split('&').filter_map(|member| member.strip_prefix(MEMBER));
    let Some(token) = tokens.next().filter(|token| !token.is_empty()) else { return Vec::new() };
    if tokens.any(|other| other != token) {
        return Vec::new();
    }
    let decoded = |text: &str| percent_decode_str(text).decode_utf8().ok().map(Cow::into_owned);
    let all = [Some(token.to_owned()), decoded(token), decoded(&token.replace('+', " "))];
    all.into_iter().flatten().map(|text| sha256(&text)).collect()
}

/// Whether a token is in a query at all.
pub(in super::super) fn has_token(query: &str) -> bool {
    query.split('&').any(|member| member.strip_prefix(MEMBER).is_some_and(|token| !token.is_empty()))
}

/// The place of the first of `known` that is one of `hashes`. All are compared, and all of each: how long it takes says nothing of any.
pub(super) fn among<'a>(hashes: &[[u8; 32]], known: impl Iterator<Item = &'a [u8; 32]>) -> Option<usize> {
    let mut found = None;
    for (at, known) in known.enumerate() {
        for hash in hashes {
            let differs = known.iter().zip(hash).fold(0, |all, (one, other)| all | (one ^ other));
            if differs == 0 && found.is_none() {
                found = Some(at);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_as_it_stands_in_the_address_and_decoded() {
        let known = ["abc+/de==", "abc%2B%2Fde%3D%3D", "two words", "plain-token"].map(sha256);
        for (query, want) in [
            ("token=abc+/de==", Some(0)),
            ("token=abc%2B/de%3D%3D", Some(0)),
            ("token=abc%2b%2fde%3d%3d", Some(0)),
            ("token=abc%2B%2Fde%3D%3D", Some(0)),
            ("token=two+words", Some(2)),
            ("token=two%20words", Some(2)),
            ("a=b&token=plain-token&c", Some(3)),
            ("token=plain-token&token=plain-token", Some(3)),
            ("token=plain-token&token=other", None),
            ("token=other&token=plain-token", None),
            ("token=plain-toke", None),
            ("token=Plain-token", None),
            ("Token=plain-token", None),
            ("token=", None),
            ("token", None),
            ("", None),
            ("mytoken=plain-token", None),
            ("token=%ff", None),
        ] {
            assert_eq!(among(&hashes(query), known.iter()), want, "{query}");
        }
        let as_written = [sha256("abc%2B%2Fde%3D%3D")];
        assert_eq!(among(&hashes("token=abc%2B%2Fde%3D%3D"), as_written.iter()), Some(0));
        assert_eq!(among(&hashes("token=abc+/de=="), as_written.iter()), None, "it is another one in the address");
    }

    #[test]
    fn a_token_that_is_missing_is_told_from_one_that_is_not_known() {
        for (query, want) in
            [("token=x", true), ("a=b&token=x", true), ("token=x&token=y", true), ("token=", false), ("", false)]
        {
            assert_eq!(has_token(query), want, "{query}");
        }
    }

    #[test]
    fn no_token_is_none_of_those_that_there_are() {
        assert_eq!(among(&hashes(""), [sha256("")].iter()), None);
        assert_eq!(among(&hashes("token=x"), [].iter()), None);
    }
}
