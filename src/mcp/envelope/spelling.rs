//! Names that some reader of JSON takes for another name, and what such a message still tells.
//!
//! Of two members with one name some readers take the first and others the last; Go's `encoding/json`, cJSON and others
//! ignore letter case; all readers undo escapes; and where text ends at a NUL, nothing
//! behind that is part of a name. So a router could allow one call, and the server carry out another. A message passes
//! only if all readers read what was read here: each name that decides is there once, letter by letter.
//!
//! Only names that decide matter, and only where they decide. The same names inside `arguments` or a result are data.

use std::borrow::Cow;
use std::iter::{Peekable, from_fn};
use std::str::Chars;

use super::json::Scan;

/// Names that decide in a message.
pub(super) const MESSAGE: &[&str] = &["jsonrpc", "id", "method", "params", "result", "error"];

/// Names that decide in a message's `params`.
pub(super) const PARAMS: &[&str] = &["name", "uri", "arguments", "_meta", "progressToken", "requestId", "ref"];

/// Names that decide in `params._meta`.
pub(super) const META: &[&str] = &["progressToken"];

/// Names that decide in `params.ref` (`completion/complete`).
pub(super) const REFERENCE: &[&str] = &["type", "name", "uri"];

/// The one of `names`, which are ASCII, for which some reader takes `inside`, the inside of a JSON string.
pub fn taken_for(inside: &[u8], names: &[&'static str]) -> Option<&'static str> {
    let is_plain = inside.iter().all(|byte| matches!(byte, b' '..=b'[' | b']'..=b'~'));
    if !is_plain {
        return taken_for_when_read(inside, names);
    }
    // Nearly all names are plain, and differ from all of `names` in length.
    names.iter().copied().find(|name| name.as_bytes().eq_ignore_ascii_case(inside))
}

#[cold]
fn taken_for_when_read(inside: &[u8], names: &[&'static str]) -> Option<&'static str> {
    let longest = names.iter().map(|name| name.len()).max()?;
    let text: Cow<'_, str> = String::from_utf8_lossy(inside);
    let mut read = String::new();
    for c in unescaped(&text).take_while(|c| *c != '\0') {
        read.push(small(c));
        if read.len() > longest {
            return None;
        }
    }
    names.iter().copied().find(|name| name.eq_ignore_ascii_case(&read))
}

/// A letter for a reader that ignores letter case. Beyond ASCII, two letters become ASCII letters by Unicode's
/// simple folding, which Go follows, and two more are equal to ASCII letters for Java.
fn small(c: char) -> char {
    match c {
        '\u{17F}' => 's',
        '\u{212A}' => 'k',
        '\u{130}' | '\u{131}' => 'i',
        _ => c.to_ascii_lowercase(),
    }
}

/// The characters of a well-formed JSON string. Half of a surrogate pair is left out, as by readers that drop it.
fn unescaped(inside: &str) -> impl Iterator<Item = char> {
    let mut chars = inside.chars().peekable();
    from_fn(move || {
        loop {
            match chars.next()? {
                '\\' => match chars.next()? {
                    'u' => match unit(&mut chars) {
                        first @ 0xD800..0xDC00 if is_other_half(&chars) => {
                            chars.nth(1);
                            let second = unit(&mut chars);
                            return char::from_u32(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00));
                        }
                        0xD800..0xE000 => {}
                        unit => return char::from_u32(unit),
                    },
                    'b' => return Some('\u{8}'),
                    'f' => return Some('\u{c}'),
                    'n' => return Some('\n'),
                    'r' => return Some('\r'),
                    't' => return Some('\t'),
                    itself => return Some(itself),
                },
                c => return Some(c),
            }
        }
    })
}

/// The four digits behind `\u`.
fn unit(chars: &mut Peekable<Chars<'_>>) -> u32 {
    chars.by_ref().take(4).filter_map(|c| c.to_digit(16)).fold(0, |unit, digit| unit << 4 | digit)
}

/// Whether the second half of a surrogate pair follows, as an escape.
fn is_other_half(chars: &Peekable<Chars<'_>>) -> bool {
    let mut ahead = chars.clone();
    ahead.next() == Some('\\') && ahead.next() == Some('u') && matches!(unit(&mut ahead), 0xDC00..0xE000)
}

/// What can be told of an object that was refused because its readers differ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Misread<'a> {
    /// Every id that some reader sees, each once: whole tokens, numbers and strings only.
    pub ids: Vec<&'a [u8]>,
    /// Whether some reader sees that the object is JSON-RPC.
    pub jsonrpc: bool,
    /// Whether some reader sees a method.
    pub method: bool,
    /// Whether some reader sees a result or an error.
    pub answer: bool,
}

/// Reads an object that was refused. `frame`, if it is an object, is well-formed up to its end.
pub fn scan_misread(frame: &[u8]) -> Misread<'_> {
    let (mut s, mut seen) = (Scan::of(frame), Misread::default());
    s.space();
    if s.peek() != Some(b'{') {
        return seen;
    }
    // The first scan has walked the object, so it is well-formed.
    let _well_formed = s.object(&mut |s, key| {
        let from = s.i;
        let read = taken_for(&s.b[key], MESSAGE);
        s.value()?;
        let value = &frame[from..s.i];
        match read {
            Some("id") if matches!(value, [b'"' | b'-' | b'0'..=b'9', ..]) && !seen.ids.contains(&value) => {
                seen.ids.push(value);
            }
            Some("jsonrpc") => seen.jsonrpc = true,
            Some("method") => seen.method |= value != b"null",
            Some("result" | "error") => seen.answer = true,
            Some(_) | None => {}
        }
        Ok(())
    });
    seen
}
