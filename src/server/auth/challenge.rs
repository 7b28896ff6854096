//! What a server says in a refusal of who may ask it: the challenge `Bearer` of `WWW-Authenticate` (RFC 9110 section 11.6.1, RFC 6750
//! section 3, RFC 9728 section 5.1). Pure.

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

/// Longest value that is taken, in bytes.
const MAX: usize = 4096;

/// What the server says; nothing where it says nothing that is understood.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// Where it says which authorization servers it trusts.
    pub(crate) resource_metadata: Option<String>,
    /// What a token has to be good for.
    pub(crate) scope: Option<String>,
    /// What is wrong with the token.
    pub(crate) error: Option<String>,
    /// Whether tokens are what it wants.
    pub(crate) is_bearer: bool,
}

impl Challenge {
    /// What stands in the head of a reply.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        values
            .flat_map(|value| read(value.get(..value.len().min(4 * MAX)).unwrap_or_default()))
            .next()
            .unwrap_or_default()
    }

    /// Whether the token is good, and not for this.
    pub(crate) fn lacks_scope(&self) -> bool {
        self.error.as_deref() == Some("insufficient_scope")
    }
}

/// The challenges `Bearer` in a value of the header, in which those of other schemes may stand, too.
fn read(text: &str) -> Vec<Challenge> {
    let mut found: Vec<Challenge> = Vec::new();
    let mut is_ours = false;
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([',', ' ', '\t']);
        let (word, behind) = rest.split_at(rest.find(|c: char| !is_of_word(c)).unwrap_or(rest.len()));
        if word.is_empty() {
            // Whatever that is, it is none of it.
            let mut chars = rest.chars();
            if chars.next().is_none() {
                return found;
            }
            rest = chars.as_str();
            continue;
        }
        let parameter = behind.trim_start().strip_prefix('=').map(str::trim_start);
        let Some((value, behind)) = parameter.and_then(value) else {
            // A scheme; or the credentials of one, which may end in `=`.
            rest = behind.trim_start_matches('=');
            if parameter.is_none() {
                is_ours = word.eq_ignore_ascii_case("bearer");
                if is_ours {
                    found.push(Challenge { is_bearer: true, ..Challenge::default() });
                }
            }
            continue;
        };
        rest = behind;
        let Some(challenge) = found.last_mut().filter(|_| is_ours && value.len() <= MAX) else { continue };
        let member = match word.to_ascii_lowercase().as_str() {
            "resource_metadata" => &mut challenge.resource_metadata,
            "scope" => &mut challenge.scope,
            "error" => &mut challenge.error,
            _ => continue,
        };
        *member = Some(value).filter(|value| !value.is_empty());
    }
}

fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/".contains(c)
}

/// The value of a parameter, in quotes or a word, and what stands behind it.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c: char| !is_of_word(c) && c != ':').unwrap_or(text.len());
        return (end > 0).then(|| (text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => value.extend(chars.next()),
            c => value.push(c),
        }
    }
    Some((value, chars.as_str()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[&str]) -> Challenge {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, value.parse().unwrap());
        }
        Challenge::of(&headers)
    }

    #[test]
    fn a_challenge_is_found_amid_others_and_however_it_is_written() {
        let want = Challenge {
            resource_metadata: Some("https://h/.well-known/oauth-protected-resource".into()),
            scope: Some("a b".into()),
            error: Some("invalid_token".into()),
            is_bearer: true,
        };
        let one = r#"Bearer error="invalid_token", scope="a b", resource_metadata="https://h/.well-known/oauth-protected-resource""#;
        for values in [
            &[one][..],
            &["Basic realm=\"x\"", one],
            &[&format!("Basic realm=\"a, Bearer error=\\\"no\\\"\", {one}")],
            &[&format!("Negotiate abc==, {one}, DPoP algs=\"ES256\", scope=\"c\"")],
            &[&one.replace("Bearer", "bEARER").replace("=\"", " = \"")],
            &[&one.replace("\"invalid_token\"", "invalid_token")],
            &[&one.replace(", ", " ,, ,")],
        ] {
            assert_eq!(of(values), want, "{values:?}");
        }
        assert_eq!(of(&["Bearer"]), Challenge { is_bearer: true, ..Challenge::default() });
        assert_eq!(of(&["Basic realm=\"Bearer\""]), Challenge::default());
        assert_eq!(of(&[]), Challenge::default());
        assert_eq!(of(&["Bearer scope=\"\\\"q\\\"\""]).scope.as_deref(), Some("\"q\""));
        assert!(of(&["Bearer error=\"insufficient_scope\", scope=\"x\""]).lacks_scope());
        assert_eq!(of(&[&format!("Bearer scope=\"{}\"", "x".repeat(5000))]).scope, None);
    }

    proptest! {
        #[test]
        fn nothing_keeps_it_from_its_end(text in "[ -~]{0,80}", parts in prop::collection::vec("(Bearer|=|\"|\\\\|,| |scope|a)", 0..20)) {
            let _read = read(&text);
            let _read = read(&parts.concat());
        }
    }
}
