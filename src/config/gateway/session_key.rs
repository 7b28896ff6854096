//! The key with which ids of sessions are sealed, as it stands in a file: 64 hexadecimal digits.

use std::fmt;

/// See the module's documentation.
#[derive(Clone, PartialEq)]
pub struct SessionKey(pub(crate) [u8; SessionKey::LENGTH]);

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(…)")
    }
}

impl SessionKey {
    /// How long it is, in bytes.
    pub(crate) const LENGTH: usize = 32;

    /// From what is in a file.
    pub(crate) fn read(text: &[u8]) -> Option<Self> {
        let text = text.trim_ascii();
        let (mut key, mut digits) = ([0; Self::LENGTH], text.chunks_exact(2));
        if text.len() != 2 * Self::LENGTH || !text.is_ascii() {
            return None;
        }
        for (byte, digit) in key.iter_mut().zip(&mut digits) {
            let digit = std::str::from_utf8(digit).ok().filter(|digit| !digit.starts_with('+'))?;
            *byte = u8::from_str_radix(digit, 16).ok()?;
        }
        Some(SessionKey(key))
    }

    /// As it is written into a file.
    pub(crate) fn write(&self) -> String {
        let digits: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{digits}\n")
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_written_and_nothing_else_is_one() {
        let key = SessionKey(std::array::from_fn(|at| at as u8 * 7));
        let text = key.write();
        assert_eq!((text.len(), SessionKey::read(text.as_bytes()).unwrap().0), (65, key.0));
        assert_eq!(SessionKey::read(text.to_uppercase().as_bytes()).unwrap().0, key.0);
        assert_eq!(SessionKey::read(format!(" {text}\r\n").as_bytes()).unwrap().0, key.0);
        let wrong =
            ["", "00", &text[2..], &format!("{text}00"), &text.replacen('0', "+", 1), &text.replacen('0', "g", 1)];
        for text in wrong {
            assert!(SessionKey::read(text.as_bytes()).is_none(), "{text}");
        }
        assert_eq!(format!("{key:?}"), "SessionKey(…)");
    }
}
