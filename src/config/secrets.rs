//! Which texts must not be seen: the parts of an endpoint or a header that let somebody in, in every spelling.
//!
//! Types keep them out of what we write ourselves. This is for what others write: a child's stderr, a library.

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::endpoint::{Endpoint, TOKEN_LENGTH};

/// A shorter one would match by chance.
const SHORTEST: usize = 6;

/// The secret parts of an endpoint: its query, the tokens in it and in the path, a password.
pub(crate) fn of_endpoint(endpoint: &Endpoint) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(query) = endpoint.reveal().query() {
        found.push(query.to_owned());
        for pair in query.split(['&', ';']) {
            let (name, value) = pair.split_once('=').unwrap_or(("token", pair));
            if is_telling(name) || value.len() >= TOKEN_LENGTH {
                spellings(value, &mut found);
            }
        }
    }
    if let Some((user, _)) = endpoint.reveal().authority().and_then(|a| a.as_str().rsplit_once('@')) {
        spellings(user.split_once(':').map_or(user, |(_, password)| password), &mut found);
    }
    for segment in endpoint.secret_segments() {
        spellings(segment, &mut found);
    }
    tidy(found)
}

/// Whether a name says that its value lets somebody in.
fn is_telling(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["token", "key", "secret", "auth", "pass", "sig", "cookie"].iter().any(|word| name.contains(word))
}

/// Whether a header's value lets somebody in, by its name or because it is as long as a token. Others are harmless,
/// and taken out of a log they would make it hard to read: who we are, or a page's address.
pub(crate) fn is_secret_header(name: &str, value: &str) -> bool {
    let is_page = |word: &str| word.contains("://") && !word.contains(['?', '@']);
    is_telling(name) || value.split(' ').any(|word| word.len() >= TOKEN_LENGTH && !is_page(word))
}

/// The secret parts of a header's value, if it has any: all of it, and what follows a scheme such as `Bearer`.
pub(crate) fn of_header(name: &str, value: &str) -> Vec<String> {
    let mut found = Vec::new();
    if !is_secret_header(name, value) {
        return found;
    }
    spellings(value, &mut found);
    if let Some((_, credentials)) = value.split_once(' ') {
        spellings(credentials, &mut found);
    }
    tidy(found)
}

/// Whether a variable gives away one of `secrets` or the whole of one of `endpoints`.
pub(crate) fn betrays(variable: &str, secrets: &[String], endpoints: &[String]) -> bool {
    endpoints.iter().any(|e| variable.contains(e.as_str()))
        || secrets.iter().any(|s| variable == s || (s.len() >= TOKEN_LENGTH && variable.contains(s.as_str())))
}

/// A text as it is, decoded, encoded, and as JSON writes it.
fn spellings(text: &str, to: &mut Vec<String>) {
    let decoded = percent_decode_str(text).decode_utf8_lossy().into_owned();
    to.push(utf8_percent_encode(&decoded, NON_ALPHANUMERIC).to_string());
    to.push(decoded.replace('+', " "));
    to.push(text.escape_debug().to_string());
    to.push(decoded);
    to.push(text.to_owned());
}

/// The longest first, so that a part is not cut out of the whole.
fn tidy(mut found: Vec<String>) -> Vec<String> {
    found.retain(|text| text.len() >= SHORTEST);
    found.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    found.dedup();
    found
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_gives_its_token_in_every_spelling() {
        let found = of_endpoint(&"wss://u:passw0rd@h/mcp?v=1&token=ab%2Bcd%3D%3D".parse().unwrap());
        for want in ["v=1&token=ab%2Bcd%3D%3D", "ab%2Bcd%3D%3D", "ab+cd==", "ab cd==", "passw0rd"] {
            assert!(found.iter().any(|f| f == want), "{want} in {found:?}");
        }
        assert!(!found.iter().any(|f| f == "1"));
    }

    #[test]
    fn a_harmless_parameter_is_no_secret() {
        let found = of_endpoint(&"wss://h/?client=mcp-pipe&token=s3cr3t".parse().unwrap());
        assert!(!betrays("/opt/mcp-pipe/bin", &found, &[]));
        assert!(betrays("s3cr3t", &found, &[]));
    }

    #[test]
    fn a_token_in_the_path_is_known() {
        let found = of_endpoint(&"wss://h/hook/s3cretS3cretS3cret/mcp".parse().unwrap());
        assert!(betrays("see s3cretS3cretS3cret", &found, &[]));
        assert_eq!(found, ["s3cretS3cretS3cret"]);
    }

    #[test]
    fn a_header_gives_its_credentials_and_a_harmless_one_nothing() {
        for (name, value, secret) in [
            ("Authorization", "Bearer abcdef", "abcdef"),
            ("proxy-authorization", "abcdef", "abcdef"),
            ("cookie", "id=abc", "id=abc"),
            ("x-api-key", "abcdef", "abcdef"),
            ("x-who", "Bearer abcdefghijklmnop", "abcdefghijklmnop"),
            ("x-hook", "https://h/?abcdefghijklmnop", "https://h/?abcdefghijklmnop"),
        ] {
            let found = of_header(name, value);
            assert!(found.iter().any(|f| f == secret), "{name}: {found:?}");
        }
        for (name, value) in
            [("x-client", "server"), ("origin", "http://homeassistant.local"), ("x-n", "a b c d e f g h i")]
        {
            assert!(of_header(name, value).is_empty(), "{name}");
        }
    }
}
