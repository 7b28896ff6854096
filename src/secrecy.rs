//! Secrets, which let somebody in, and the one place through which text from outside goes to a person.
//!
//! `address` knows which parts of an address or a header are secret, `needle` in which spellings a secret may come back, `encoded` in
//! which encodings, `needles` looks for all of them at once, `unspelled` undoes spellings where only a part may be there. A [`Redactor`] takes the secrets that it was told out of a text, and from addresses in that text the parts that look like
//! secrets. `plain` leaves nothing in a text that steers a terminal.
//!
//! Types keep secrets out of our own texts: a [`Secret`] and an `Endpoint` don't print. This module is for the texts of
//! others: a server's stderr, a peer's reason for closing, an error that repeats an argument.

pub(crate) mod address;
pub(crate) mod apart;
mod encoded;
mod needle;
mod needles;
pub(crate) mod plain;
mod redactor;
pub(crate) mod stranger;
mod unspelled;

use std::fmt;

pub(crate) use redactor::Lent;
pub use redactor::Redactor;

/// A text that must not be printed: a header value, a password, a token. Shown as `…`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}
