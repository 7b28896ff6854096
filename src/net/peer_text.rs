//! Text from a peer, made fit for a log: no secret, no control characters, no more than a line.

use percent_encoding::percent_decode_str;

use crate::config::{LinkSpec, is_secret_header};
use crate::endpoint::Endpoint;

/// Shorter values are no secrets, and taking them out would garble the text.
const MIN_SECRET: usize = 8;
/// The shortest beginning of a secret that is taken off the end of a text that was cut there.
const MIN_BEGINNING: usize = 4;

/// How much of a secret's beginning gives something away: of `token=…` or `Bearer …` not the word, which a text may
/// well end in. `=` at the end only fills up base64.
fn telling_beginning(secret: &str) -> usize {
    let word = secret.trim_end_matches('=').find(['=', ' ']);
    word.map_or(MIN_BEGINNING, |at| MIN_BEGINNING.max(at + 2))
}

/// One line of at most `max` characters, in which nothing steers a terminal or a log.
pub fn bounded(text: &str, max: usize) -> String {
    let mut out = String::new();
    let mut left = max;
    for c in text.trim().chars() {
        if left == 0 {
            out.push('…');
            break;
        }
        left -= 1;
        match c {
            c if c.is_whitespace() => {
                if !out.ends_with(' ') {
                    out.push(' ');
                }
            }
            // Controls, and the invisible characters that turn or hide the text around them.
            c if c.is_control()
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}') =>
            {
                out.extend(c.escape_unicode());
            }
            c => out.push(c),
        }
    }
    out
}

/// What a peer may echo and nobody may read: the query, the values in it, tokens in the path, passwords, header values.
pub struct Redaction(Vec<String>);

impl Redaction {
    /// The secrets of this endpoint and its headers.
    pub fn of(endpoint: &Endpoint, spec: &LinkSpec) -> Self {
        let uri = endpoint.reveal();
        let query = uri.query().unwrap_or_default();
        let user_info = uri.authority().and_then(|a| a.as_str().rsplit_once('@')).map_or("", |(user, _)| user);
        let values = query.split('&').map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value));
        let headers = spec.headers.iter().map(|(name, value)| (name.as_str(), value.reveal()));
        let headers = headers.filter(|(name, value)| is_secret_header(name, value)).map(|(_, value)| value);
        let of_url = [query].into_iter().chain(values).chain(user_info.split(':')).chain(endpoint.secret_segments());
        let given = of_url.chain(headers);
        // A header is often a scheme and a secret, and a peer may show either form of what was percent-encoded.
        let mut secrets: Vec<String> = given
            .flat_map(|text| [text, text.rsplit(' ').next().unwrap_or_default()])
            .flat_map(|text| [text.to_owned(), percent_decode_str(text).decode_utf8_lossy().into_owned()])
            .filter(|secret| secret.len() >= MIN_SECRET)
            .collect();
        // The longest first, lest a part of it is taken out and the rest remains.
        secrets.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        secrets.dedup();
        Redaction(secrets)
    }

    /// `text` without the secrets, as one line of at most `max` characters.
    pub fn shown(&self, text: &str, max: usize) -> String {
        let mut text = text.to_owned();
        for secret in &self.0 {
            text = text.replace(secret.as_str(), "…");
        }
        // The peer, or our own limit on what is read, may have cut a secret in two.
        let cut = self.0.iter().filter_map(|secret| {
            let mut ends = secret.char_indices().map(|(at, _)| at).rev();
            let least = telling_beginning(secret);
            ends.find(|&n| n >= least && text.ends_with(&secret[..n]))
        });
        if let Some(n) = cut.max() {
            text.truncate(text.len() - n);
            text.push('…');
        }
        bounded(&text, max)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn an_echoed_token_is_taken_out_whole_decoded_and_cut_off() {
        let endpoint = "wss://user:pass%2Fword1@h/mcp/?token=s3cret%2Btoken&agent=1".parse().unwrap();
        let spec = LinkSpec {
            headers: vec![
                (http::header::AUTHORIZATION, crate::endpoint::Secret::new("Bearer hidden-key")),
                (http::header::ORIGIN, crate::endpoint::Secret::new("http://home.local")),
            ],
            ..LinkSpec::default()
        };
        let redaction = Redaction::of(&endpoint, &spec);
        for (text, want) in [
            ("no route /mcp/?token=s3cret%2Btoken&agent=1 here", "no route /mcp/?… here"),
            ("token s3cret+token unknown", "token … unknown"),
            ("bad hidden-key or pass/word1", "bad … or …"),
            ("unknown: s3cret%2Bto", "unknown: …"),
            ("no route /mcp/?token=s3", "no route /mcp/?…"),
            ("not Bearer h", "not …"),
            ("nothing to hide", "nothing to hide"),
            ("Invalid token", "Invalid token"),
            ("missing token=", "missing token="),
            ("use Bearer", "use Bearer"),
            ("not from http://home.local", "not from http://home.local"),
        ] {
            assert_eq!(redaction.shown(text, 200), want);
        }
    }

    #[test]
    fn a_token_that_was_cut_off_is_hidden_though_it_ends_like_a_name_or_stands_in_the_path() {
        let redaction =
            Redaction::of(&"wss://h/hook/s3cret-0123456789?token=YWJjZGVmZw==".parse().unwrap(), &LinkSpec::default());
        for (text, want) in [
            ("bad YWJjZG", "bad …"),
            ("bad YWJjZGVmZw=", "bad …"),
            ("no /hook/s3cret-0123456789", "no /hook/…"),
            ("no /hook/s3cret-01", "no /hook/…"),
        ] {
            assert_eq!(redaction.shown(text, 200), want);
        }
    }

    #[test]
    fn a_text_becomes_one_bounded_line() {
        assert_eq!(bounded("  a\r\n\tb\u{7}  ", 80), "a b\\u{7}");
        assert_eq!(bounded("日本語日本語", 3), "日本語…");
    }
}
