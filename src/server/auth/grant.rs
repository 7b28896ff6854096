//! A request for a token, and what an authorization server says to it (OAuth 2.1, RFC 6749 section 5). Pure.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;

use super::token::Token;
use crate::secrecy::{Redactor, Secret};

/// What is written with `%` in a form (WHATWG URL section 5.2), a blank included.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'*');
/// Longest piece of what an authorization server says that is shown, in characters.
const SHOWN: usize = 200;
/// Longest time for which a token is taken to be good, whatever the authorization server says.
const LONGEST: u64 = 366 * 24 * 3600;

/// How a client shows who it is where it asks for a token (RFC 8414, `token_endpoint_auth_methods_supported`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// Not at all: it has nothing to show.
    None,
    /// By its secret, in a header.
    Basic,
    /// By its secret, in the form.
    Post,
    /// By a signature.
    Signed,
}

impl Method {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Method::None => "none",
            Method::Basic => "client_secret_basic",
            Method::Post => "client_secret_post",
            Method::Signed => "private_key_jwt",
        }
    }

    /// The method of this name, if it is one of ours.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Method::None, Method::Basic, Method::Post, Method::Signed].into_iter().find(|method| method.name() == name)
    }

    /// The method for a client with a secret: the first of two that the authorization server takes. One that does not say what it takes
    /// takes the first (RFC 8414 section 2).
    pub(crate) fn for_secret(taken: Option<&[String]>) -> Option<Self> {
        let is_taken = |method: &Method| taken.is_none_or(|taken| taken.iter().any(|name| name == method.name()));
        [Method::Basic, Method::Post].into_iter().find(is_taken)
    }
}

/// A form, as it is sent.
#[derive(Debug, Default)]
pub(crate) struct Form(String);

impl Form {
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.extend([&*encoded(name), "=", &*encoded(value)]);
        self
    }

    pub(crate) fn with_some(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

/// A text as it stands in a form or in the query of an address.
fn encoded(text: &str) -> String {
    utf8_percent_encode(text, FORM).to_string()
}

/// The header by which a client shows its secret: both are encoded as in a form (RFC 6749 section 2.3.1).
pub(super) fn basic(client_id: &str, secret: &Secret) -> Option<HeaderValue> {
    let pair = format!("{}:{}", encoded(client_id), encoded(secret.reveal()));
    let mut value = HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(pair))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// What an authorization server gives.
#[derive(Debug, Clone)]
pub(crate) struct Granted {
    pub(super) token: Token,
    pub(crate) refresh: Option<Secret>,
}

impl Granted {
    /// The token itself.
    pub(crate) fn access(&self) -> &Secret {
        &self.token.text
    }

    /// Until when the token is good.
    pub(crate) fn expires(&self) -> Option<SystemTime> {
        self.token.expires
    }
}

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The end of a sentence that begins with the authorization server.
    pub(crate) why: String,
    /// It says that what the token was to be made of is good no more (`invalid_grant`).
    pub(crate) is_over: bool,
}

impl Granted {
    /// What an authorization server answers to a request for a token.
    pub(crate) fn read(status: u16, text: &[u8], now: SystemTime, redactor: &Redactor) -> Result<Self, Refusal> {
        #[derive(Deserialize)]
        struct Answer {
            access_token: Option<String>,
            token_type: Option<String>,
            expires_in: Option<Value>,
            refresh_token: Option<String>,
        }
        let refused = |why: String| Refusal { why, is_over: false };
        if status != 200 {
            return Err(refusal(status, text, redactor));
        }
        let answer: Answer = serde_json::from_slice(text)
            .map_err(|_| refused("answers a request for a token with no JSON".to_owned()))?;
        let Some(access) = answer.access_token else {
            // Some say so with the status of a success.
            return Err(refusal(status, text, redactor));
        };
        let kind = answer.token_type.unwrap_or_else(|| "Bearer".to_owned());
        if !kind.eq_ignore_ascii_case("bearer") {
            return Err(refused(format!(
                "gives a token of the type \"{}\", and not Bearer",
                redactor.shown(&kind, 20)
            )));
        }
        let mut token = Token::read(&access).map_err(|why| refused(format!("gives something that {why}")))?;
        let seconds = answer.expires_in.and_then(|value| match value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse().ok(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        });
        if let Some(seconds) = seconds.filter(|seconds| seconds.is_finite() && *seconds >= 0.0) {
            token.expires = now.checked_add(Duration::from_secs_f64(seconds.min(LONGEST as f64)));
        }
        Ok(Granted { token, refresh: answer.refresh_token.filter(|text| !text.is_empty()).map(Secret::new) })
    }
}

/// What an authorization server says in a refusal (RFC 6749 section 5.2).
pub(crate) fn refusal(status: u16, text: &[u8], redactor: &Redactor) -> Refusal {
    #[derive(Deserialize, Default)]
    struct Error {
        error: Option<String>,
        error_description: Option<String>,
    }
    let said: Error = serde_json::from_slice(text).unwrap_or_default();
    let is_over = said.error.as_deref() == Some("invalid_grant");
    let words: Vec<String> =
        [said.error, said.error_description].into_iter().flatten().map(|text| redactor.shown(&text, SHOWN)).collect();
    let own = if words.is_empty() { String::new() } else { format!(" ({})", words.join(": ")) };
    let why = match status {
        300..400 => format!(
            "redirects a request for a token (HTTP {status}), which is not followed: a secret goes to no other place"
        ),
        _ => format!("gives no token: HTTP {status}{own}"),
    };
    Refusal { why, is_over }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_written_so_that_nothing_in_it_is_taken_for_another_part() {
        let form = Form::default().with("grant_type", "x").with("scope", "a b&c=d+é").with_some("no", None);
        assert_eq!(form.text(), "grant_type=x&scope=a%20b%26c%3Dd%2B%C3%A9");
        let header = basic("me:1", &Secret::new("p%:&")).unwrap();
        assert_eq!(header.to_str().unwrap(), format!("Basic {}", BASE64_STANDARD.encode("me%3A1:p%25%3A%26")));
        assert!(header.is_sensitive());
    }

    #[test]
    fn a_client_shows_its_secret_as_the_server_takes_it() {
        let taken = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(Method::for_secret(None), Some(Method::Basic));
        for (names, want) in [
            (&["client_secret_post", "client_secret_basic"][..], Some(Method::Basic)),
            (&["none", "client_secret_post"], Some(Method::Post)),
            (&["private_key_jwt", "none"], None),
            (&[], None),
        ] {
            assert_eq!(Method::for_secret(Some(&taken(names))), want, "{names:?}");
        }
        assert_eq!(Method::named("client_secret_post"), Some(Method::Post));
        assert_eq!(Method::named("tls_client_auth"), None);
    }

    #[test]
    fn an_answer_is_a_token_or_words_without_secrets() {
        let now = SystemTime::UNIX_EPOCH;
        let redactor: Redactor = [Secret::new("cl1ent-s3cret")].into_iter().collect();
        let read = |status, text: &str| Granted::read(status, text.as_bytes(), now, &redactor);
        let granted =
            read(200, r#"{"access_token":"t0ken","token_type":"bearer","expires_in":"60","refresh_token":"r"}"#)
                .unwrap();
        assert_eq!((granted.access().reveal(), granted.expires()), ("t0ken", Some(now + Duration::from_secs(60))));
        assert_eq!(granted.refresh.unwrap().reveal(), "r");
        assert_eq!(
            read(200, r#"{"access_token":"t","expires_in":1e300}"#).unwrap().expires(),
            Some(now + Duration::from_secs(LONGEST))
        );
        for (status, text, want) in [
            (
                400,
                r#"{"error":"invalid_grant","error_description":"for cl1ent-s3cret"}"#,
                "gives no token: HTTP 400 (invalid_grant: for …)",
            ),
            (401, "<h1>cl1ent-s3cret</h1>", "gives no token: HTTP 401"),
            (200, r#"{"error":"x"}"#, "gives no token: HTTP 200 (x)"),
            (200, "", "answers a request for a token with no JSON"),
            (200, r#"{"access_token":"t","token_type":"DPoP"}"#, "gives a token of the type \"DPoP\", and not Bearer"),
            (
                200,
                r#"{"access_token":"a b"}"#,
                "gives something that holds more than a token: there are blanks, lines or other characters in it",
            ),
            (
                307,
                "",
                "redirects a request for a token (HTTP 307), which is not followed: a secret goes to no other place",
            ),
        ] {
            let refusal = read(status, text).unwrap_err();
            assert_eq!(refusal.why, want, "{text}");
            assert_eq!(refusal.is_over, text.contains("invalid_grant"));
        }
    }
}
