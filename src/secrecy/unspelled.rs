//! A text as it was before it was encoded, with where each byte of that stands: for parts of a secret, of which nobody knows the beginning.
//! Pure.
//!
//! A whole secret is recognised in any spelling ([`Needle`](super::needle::Needle)). Its parts are too many for that, so here the text is decoded
//! instead: one layer at a time, since nobody knows how many there are.

use super::needle::{entity, hex};

/// A text, or what it was before.
pub(super) struct Unspelled {
    text: String,
    /// Where each byte stands in the first text, and the end of that.
    places: Vec<usize>,
}

impl Unspelled {
    /// A text as it is.
    pub(super) fn of(text: &str) -> Self {
        Unspelled { text: text.to_owned(), places: (0..=text.len()).collect() }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Where these bytes stand in the first text.
    pub(super) fn place(&self, from: usize, to: usize) -> std::ops::Range<usize> {
        self.places[from]..self.places[to]
    }

    /// The same before it was encoded once; `None` where it wasn't.
    pub(super) fn before(&self) -> Option<Self> {
        let mut bytes = Vec::with_capacity(self.text.len());
        let mut places = Vec::with_capacity(self.places.len());
        let (mut at, mut is_encoded) = (0, false);
        while let Some(c) = self.text[at..].chars().next() {
            let from = bytes.len();
            let len = if let Some(len) = decoded(&self.text[at..], &mut bytes) {
                is_encoded = true;
                len
            } else {
                bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                c.len_utf8()
            };
            places.extend((from..bytes.len()).map(|_| self.places[at]));
            at += len;
        }
        places.push(self.places[at]);
        // Bytes that are no text keep their place.
        let text = bytes.utf8_chunks().map(|chunk| chunk.valid().to_owned() + &"?".repeat(chunk.invalid().len()));
        is_encoded.then(|| Unspelled { text: text.collect(), places })
    }
}

/// Adds the character, or the byte of one, with whose encoding a text begins, and tells how long that is: `%2b`, `&#43;`, `\"`, `\u002b`,
/// `\x2b`, or an apostrophe as shells have to be told it.
fn decoded(text: &str, bytes: &mut Vec<u8>) -> Option<usize> {
    let byte = |text: &str| u8::try_from(hex(text, 2)?).ok();
    let (c, len) = match text.as_bytes().first()? {
        b'%' => {
            bytes.push(byte(&text[1..])?);
            return Some(3);
        }
        b'&' => entity(text)?,
        b'\'' if text.starts_with(r"'\''") => ('\'', 4),
        b'\'' if text.starts_with(r#"'"'"'"#) => ('\'', 5),
        b'\\' => match text[1..].chars().next()? {
            'x' => {
                bytes.push(byte(&text[2..])?);
                return Some(4);
            }
            'u' => unicode(text)?,
            'n' => ('\n', 2),
            'r' => ('\r', 2),
            't' => ('\t', 2),
            c if c.is_ascii_punctuation() || c == ' ' => (c, 2),
            _ => return None,
        },
        _ => return None,
    };
    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    Some(len)
}

/// `\u{2b}`, `\u002b`, or two of these for a character that needs them.
fn unicode(text: &str) -> Option<(char, usize)> {
    let unit = |text: &str| u16::try_from(hex(text.strip_prefix("\\u")?, 4)?).ok();
    if let Some((number, _)) = text.strip_prefix("\\u{").and_then(|rest| rest.split_once('}')) {
        return Some((char::from_u32(hex(number, number.len())?)?, number.len() + 4));
    }
    let first = unit(text)?;
    let second = text.get(6..).and_then(unit);
    let c = char::decode_utf16([first].into_iter().chain(second)).next()?.ok()?;
    Some((c, 6 * c.len_utf16()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_decoded_one_layer_at_a_time_and_each_place_is_known() {
        for (written, want) in [
            (r#"a\"b\\c\/d"#, r#"a"b\c/d"#),
            (r"\u00e9\u{e9}\xc3\xa9 \ud83d\ude00", "éé\u{e9} 😀"),
            ("%C3%A9%22%2525", "é\"%25"),
            ("&quot;&#39;&#x3c;&amp;lt;", "\"'<&lt;"),
            (r#"'it'\''s'"'"'so'"#, "'it's'so'"),
            (r"\w%zz&no;\ud83d", ""),
        ] {
            let before = Unspelled::of(written).before();
            assert_eq!(before.map_or_else(String::new, |before| before.text().to_owned()), want, "{written}");
        }
        let before = Unspelled::of("x%2522y").before().unwrap().before().unwrap();
        assert_eq!((before.text(), before.place(1, 2), before.place(1, 3)), ("x\"y", 1..6, 1..7));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in r#"([%&\\ux0-9a-f{};#'"é😀]|\PC){0,40}"#) {
            let mut layer = Some(Unspelled::of(&text));
            while let Some(now) = layer {
                let whole = now.place(0, now.text().len());
                prop_assert_eq!(whole, 0..text.len());
                layer = now.before();
            }
        }
    }
}
