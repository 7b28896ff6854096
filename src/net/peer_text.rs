//! Text from a peer, made fit for a log: no secret, no control characters, no more than a line.

use crate::config::LinkSpec;
use crate::endpoint::Endpoint;
pub(crate) use crate::secrecy::plain::bounded;
use crate::secrecy::{Redactor, Secret, address};

/// Secrets that a peer may echo and nobody may read: those in its address and in the headers that it gets.
pub(crate) struct Redaction(Redactor);

impl Redaction {
    /// The secrets of this endpoint and its headers.
    pub(crate) fn of(endpoint: &Endpoint, spec: &LinkSpec) -> Self {
        let headers = spec
            .headers
            .iter()
            .flat_map(|(name, value): &(_, Secret)| address::of_header(name.as_str(), value.reveal()));
        Redaction(address::secrets(&endpoint.reveal().to_string()).into_iter().chain(headers).collect())
    }

    /// `text` without the secrets, as one line of at most `max` characters.
    pub(crate) fn shown(&self, text: &str, max: usize) -> String {
        self.0.shown(text, max)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_peer_gets_to_show_neither_its_address_nor_its_headers() {
        let endpoint = "wss://user:passw0rd@h/mcp/?token=s3cret%2Btoken".parse().unwrap();
        let headers = vec![(http::header::AUTHORIZATION, Secret::new("Bearer hidden-key"))];
        let redaction = Redaction::of(&endpoint, &LinkSpec { headers, ..LinkSpec::default() });
        for (text, want) in [
            ("no /mcp/?token=s3cret%2btoken,\nbad hidden-key", "no /mcp/?…, bad …"),
            ("Basic dXNlcjpwYXNzdzByZA==\x1b[2J", "Basic …\\u{1b}[2J"),
        ] {
            assert_eq!(redaction.shown(text, 200), want);
        }
    }
}
