//! The errors of rustls in words for people: as it writes them they are names of Rust types.

use std::io;

use tokio_rustls::rustls::{self, CertificateError};

use crate::process::limits;

/// A failed read or write in one line for people, whether the system failed or TLS.
pub(crate) fn of_io(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(inner) => of(inner),
        None => limits::in_words(error),
    }
}

/// A fault of TLS in one line for people.
pub(super) fn of(error: &rustls::Error) -> String {
    if let rustls::Error::AlertReceived(alert) = error {
        return format!("it ended TLS with the alert \"{}\"", spelled_out(&format!("{alert:?}")));
    }
    spelled_out(&error.to_string())
}

/// A fault of a certificate in one line for people.
pub(super) fn of_certificate(fault: &CertificateError) -> String {
    let text = fault.to_string();
    let inner = text.strip_prefix("Other(OtherError(").and_then(|text| text.strip_suffix("))"));
    spelled_out(inner.unwrap_or(&text))
}

/// The names that a certificate is for, as far as somebody could dial them. rustls gives each as `DnsName("localhost")`.
pub(super) fn names(presented: &[String]) -> String {
    let inner = |name: &str| {
        let (kind, rest) = name.split_once('(')?;
        let name = rest.strip_suffix(')')?.trim_matches('"');
        matches!(kind, "DnsName" | "IpAddress" | "UniformResourceIdentifier").then(|| name.to_owned())
    };
    presented.iter().filter_map(|name| inner(name)).collect::<Vec<_>>().join(", ")
}

/// `HandshakeFailure` as "handshake failure", without the fields of a type. A text that is no name of a type stays.
fn spelled_out(text: &str) -> String {
    let text = text.split(" {").next().unwrap_or(text);
    let mut words = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        if end == 0 {
            match first {
                '(' if words.ends_with(|c: char| c.is_ascii_alphanumeric()) => words.push_str(" ("),
                '"' => {}
                c => words.push(c),
            }
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let (word, after) = rest.split_at(end);
        rest = after;
        // The inner capitals of a name follow small letters or digits; a short form such as TLS stays as it is.
        let bounds = |at: &usize| {
            let (before, here) = (word.as_bytes()[at - 1], word.as_bytes()[*at]);
            here.is_ascii_uppercase() && (before.is_ascii_lowercase() || before.is_ascii_digit())
        };
        let mut from = 0;
        let inner: Vec<usize> = (1..word.len()).filter(bounds).collect();
        if inner.is_empty() {
            words.push_str(word);
            continue;
        }
        for at in inner.into_iter().chain([word.len()]) {
            if from > 0 {
                words.push(' ');
            }
            let part = &word[from..at];
            let is_short_form = part.len() > 1 && part.bytes().all(|b| b.is_ascii_uppercase());
            words.push_str(&if is_short_form { part.to_owned() } else { part.to_ascii_lowercase() });
            from = at;
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use tokio_rustls::rustls::{AlertDescription, InvalidMessage, OtherError, PeerIncompatible};

    use super::*;

    #[test]
    fn the_names_of_a_certificate_are_those_that_one_dials() {
        let all = ["DnsName(\"localhost\")", "IpAddress(127.0.0.1)", "DirectoryName", "Unsupported(0x08)"];
        assert_eq!(names(&all.map(str::to_owned)), "localhost, 127.0.0.1");
        assert_eq!(names(&["DirectoryName".to_owned()]), "");
    }

    #[test]
    fn no_fault_shows_the_name_of_a_rust_type() {
        for (error, want) in [
            (
                rustls::Error::AlertReceived(AlertDescription::HandshakeFailure),
                "it ended TLS with the alert \"handshake failure\"",
            ),
            (
                rustls::Error::PeerIncompatible(PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig),
                "peer is incompatible: server tls version is disabled by our config",
            ),
            (
                rustls::Error::InvalidMessage(InvalidMessage::MissingData("CertificatePayloadTls13")),
                "received corrupt message of type missing data (certificate payload tls13)",
            ),
            (rustls::Error::NoCertificatesPresented, "peer sent no certificates"),
            (rustls::Error::General("no ECDSA for TLS".into()), "unexpected error: no ECDSA for TLS"),
        ] {
            assert_eq!(of(&error), want);
            assert_eq!(of_io(&io::Error::new(io::ErrorKind::InvalidData, error)), want);
        }
        let other = CertificateError::Other(OtherError(std::sync::Arc::new(io::Error::other("it"))));
        assert!(!of_certificate(&other).contains("OtherError"), "{}", of_certificate(&other));
        for (fault, want) in [
            (CertificateError::BadEncoding, "bad encoding"),
            (CertificateError::InvalidPurpose, "invalid purpose"),
            (
                CertificateError::UnsupportedSignatureAlgorithmContext {
                    signature_algorithm_id: vec![1, 2],
                    supported_algorithms: Vec::new(),
                },
                "unsupported signature algorithm context",
            ),
        ] {
            assert_eq!(of_certificate(&fault), want);
        }
        let lost = io::Error::from(io::ErrorKind::UnexpectedEof);
        assert_eq!(of_io(&lost), "unexpected end of file");
    }
}
