//! What lets somebody in and must not be seen, and the one place through which text from outside goes to a person.
//!
//! What is secret in an address or a header is known by `address`, in which spellings it may come back by `needle`. A
//! [`Redactor`] takes what it was told of out of a text, and what looks like it out of the addresses in that. Nothing that
//! steers a terminal is left by `plain`.
//!
//! Types keep secrets out of what we write ourselves: a [`Secret`] and an `Endpoint` don't print. All of this is for what
//! others write: a server's stderr, a peer's reason for closing, an error that repeats an argument.

pub(crate) mod address;
mod needle;
pub(crate) mod plain;
mod redactor;

use std::fmt;

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
