//! JSON followed through any number of pieces: where a value ends, or where a text stops being JSON.
//!
//! The checks are those of [`crate::mcp::envelope`], with two leniencies for what is found amid other text: between tokens
//! NUL bytes and a terminal's colours count as blanks. A walk is slower than the scan of an envelope, and begins only where
//! that has failed.

use std::ops::Range;

use memchr::memchr3;

/// Deepest nesting that is followed: as deep as an envelope's scan goes.
const DEEPEST: usize = 1000;

/// An object or array under way.
#[derive(Debug)]
pub(super) struct Walk {
    /// How many bytes have been walked, from the value's first.
    at: usize,
    /// From where on the text may be something else, if the walk breaks: the beginning of the last string, number or word,
    /// or what is behind the last sign.
    token: usize,
    state: WalkState,
    colour: Colour,
    /// Objects and arrays that are open, the outermost first.
    open: Vec<Open>,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    at: usize,
    is_object: bool,
}

#[derive(Debug, Clone, Copy)]
enum WalkState {
    /// A value is to begin; or the array that has just begun ends.
    Value {
        or_end: bool,
    },
    /// A key is to begin; or the object that has just begun ends.
    Key {
        or_end: bool,
    },
    Colon,
    /// A value has ended.
    After,
    String {
        is_key: bool,
        escape: Escape,
    },
    /// The letters of `true`, `false` or `null` that are to come.
    Word(&'static [u8]),
    Number(Number),
}

/// How far a terminal's colour between two tokens is (ECMA-48 section 5.4).
#[derive(Debug, Clone, Copy)]
enum Colour {
    None,
    Escape,
    Parameters,
}

/// How far a string's escape is.
#[derive(Debug, Clone, Copy)]
enum Escape {
    None,
    Begun,
    /// So many hexadecimal digits are to come.
    Digits(u8),
}

/// How far a number is.
#[derive(Debug, Clone, Copy)]
enum Number {
    Minus,
    Zero,
    Digits,
    Point,
    Fraction,
    Exponent,
    Sign,
    Power,
}

/// What a walk has come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum WalkResult {
    /// The text is JSON so far, and goes on.
    More,
    /// The value ends behind so many bytes.
    Done(usize),
    /// So many bytes are the beginning of JSON, and the next is not.
    Broken(usize),
}

impl Walk {
    /// A walk at the beginning of an object or array.
    pub(super) fn new() -> Self {
        Walk { at: 0, token: 0, state: WalkState::Value { or_end: false }, colour: Colour::None, open: Vec::new() }
    }

    /// How many bytes have been walked.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// From where on a text that is broken may hold something else.
    pub(super) fn unsure_from(&self) -> usize {
        self.token
    }

    /// How many objects and arrays are not closed.
    pub(super) fn depth(&self) -> usize {
        self.open.len()
    }

    /// Whether an object or array that began at `at` is not closed.
    pub(super) fn is_open(&self, at: usize) -> bool {
        self.open.binary_search_by_key(&at, |open| open.at).is_ok()
    }

    /// The objects that are not closed, but for the outermost: each up to the open object or array inside it, so that the
    /// members before that are there, and no byte is twice.
    pub(super) fn open_objects(&self) -> impl Iterator<Item = Range<usize>> {
        let ends = self.open.iter().skip(2).map(|inner| inner.at).chain([self.at]);
        self.open.iter().skip(1).zip(ends).filter(|(open, _)| open.is_object).map(|(open, end)| open.at..end)
    }

    /// Walks on over the bytes that follow. Not to be called again once the walk is done or broken.
    pub(super) fn go(&mut self, text: &[u8]) -> WalkResult {
        let base = self.at;
        while let Some(byte) = text.get(self.at - base) {
            if let WalkState::String { is_key, escape: Escape::None } = self.state {
                let rest = &text[self.at - base..];
                let Some(n) = memchr3(b'"', b'\\', b'\n', rest) else {
                    self.at = base + text.len();
                    break;
                };
                self.at += n;
                match rest[n] {
                    b'"' => self.state = if is_key { WalkState::Colon } else { WalkState::After },
                    b'\\' => self.state = WalkState::String { is_key, escape: Escape::Begun },
                    // No string goes on over a line break.
                    _ => return WalkResult::Broken(self.at),
                }
                self.at += 1;
                continue;
            }
            let state = match self.colour {
                Colour::None => self.next(*byte),
                Colour::Escape | Colour::Parameters => self.paint(*byte),
            };
            match state {
                Some(state) => self.state = state,
                None => return WalkResult::Broken(self.at),
            }
            self.at += 1;
            if self.open.is_empty() && matches!(self.state, WalkState::After) {
                return WalkResult::Done(self.at);
            }
        }
        WalkResult::More
    }

    /// Takes what follows up to `end` for a value, though JSON has no such value: a walk that is broken can go on then.
    pub(super) fn pass_value(&mut self, end: usize) {
        (self.at, self.token, self.state, self.colour) = (end, end, WalkState::After, Colour::None);
    }

    /// The state behind one more byte; `None` if JSON has no such byte there.
    fn next(&mut self, byte: u8) -> Option<WalkState> {
        match self.state {
            WalkState::Value { or_end } => self.value(byte, or_end),
            WalkState::Key { or_end } => match byte {
                b'"' => Some(self.begin(WalkState::String { is_key: true, escape: Escape::None })),
                b'}' if or_end => self.close(true),
                _ => self.blank(byte),
            },
            WalkState::Colon if byte == b':' => Some(self.sign(WalkState::Value { or_end: false })),
            WalkState::Colon => self.blank(byte),
            WalkState::After => self.after(byte),
            WalkState::String { is_key, escape } => {
                let escape = match (escape, byte) {
                    (Escape::Begun, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Escape::None,
                    (Escape::Begun, b'u') => Escape::Digits(4),
                    (Escape::Digits(1), _) if byte.is_ascii_hexdigit() => Escape::None,
                    (Escape::Digits(n), _) if byte.is_ascii_hexdigit() => Escape::Digits(n - 1),
                    (Escape::None | Escape::Begun | Escape::Digits(_), _) => return None,
                };
                Some(WalkState::String { is_key, escape })
            }
            WalkState::Word(rest) => match rest.split_first() {
                Some((first, [])) if *first == byte => Some(WalkState::After),
                Some((first, rest)) if *first == byte => Some(WalkState::Word(rest)),
                Some(_) | None => None,
            },
            WalkState::Number(number) => match number.next(byte) {
                Some(number) => Some(WalkState::Number(number)),
                // The number has ended with the byte before.
                None if number.is_whole() => self.after(byte),
                None => None,
            },
        }
    }

    /// The state behind a byte that follows a value.
    fn after(&mut self, byte: u8) -> Option<WalkState> {
        let is_object = self.open.last()?.is_object;
        match byte {
            b',' if is_object => Some(self.sign(WalkState::Key { or_end: false })),
            b',' => Some(self.sign(WalkState::Value { or_end: false })),
            b'}' | b']' => self.close(byte == b'}'),
            _ => {
                self.state = WalkState::After;
                self.blank(byte)
            }
        }
    }

    /// The state behind a byte between two tokens.
    fn blank(&mut self, byte: u8) -> Option<WalkState> {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' | 0 => {}
            0x1b => self.colour = Colour::Escape,
            _ => return None,
        }
        Some(self.state)
    }

    /// The state behind a byte in a colour.
    fn paint(&mut self, byte: u8) -> Option<WalkState> {
        self.colour = match (self.colour, byte) {
            (Colour::Escape, b'[') | (Colour::Parameters, b' '..=b'?') => Colour::Parameters,
            (Colour::Parameters, b'@'..=b'~') => Colour::None,
            (Colour::None | Colour::Escape | Colour::Parameters, _) => return None,
        };
        Some(self.state)
    }

    fn value(&mut self, byte: u8, or_end: bool) -> Option<WalkState> {
        match byte {
            b'{' | b'[' => {
                if self.open.len() == DEEPEST {
                    return None;
                }
                let is_object = byte == b'{';
                self.open.push(Open { at: self.at, is_object });
                Some(self.sign(if is_object {
                    WalkState::Key { or_end: true }
                } else {
                    WalkState::Value { or_end: true }
                }))
            }
            b']' if or_end => self.close(false),
            b'"' => Some(self.begin(WalkState::String { is_key: false, escape: Escape::None })),
            b't' => Some(self.begin(WalkState::Word(b"rue"))),
            b'f' => Some(self.begin(WalkState::Word(b"alse"))),
            b'n' => Some(self.begin(WalkState::Word(b"ull"))),
            b'-' => Some(self.begin(WalkState::Number(Number::Minus))),
            b'0' => Some(self.begin(WalkState::Number(Number::Zero))),
            b'1'..=b'9' => Some(self.begin(WalkState::Number(Number::Digits))),
            _ => self.blank(byte),
        }
    }

    fn begin(&mut self, state: WalkState) -> WalkState {
        self.token = self.at;
        state
    }

    fn sign(&mut self, state: WalkState) -> WalkState {
        self.token = self.at + 1;
        state
    }

    fn close(&mut self, is_object: bool) -> Option<WalkState> {
        let closes = self.open.pop_if(|open| open.is_object == is_object).is_some();
        closes.then(|| self.sign(WalkState::After))
    }
}

/// A whole value without line breaks, and without anything that a walk counts as blank and JSON doesn't.
pub(super) fn on_one_line(value: &[u8]) -> Vec<u8> {
    let (mut walk, mut line) = (Walk::new(), value.to_vec());
    for (at, byte) in value.iter().enumerate() {
        let was_colour = !matches!(walk.colour, Colour::None);
        let in_string = matches!(walk.state, WalkState::String { .. });
        let _step = walk.go(&value[at..=at]);
        if was_colour || !in_string && matches!(byte, b'\n' | b'\r' | 0 | 0x1b) {
            line[at] = b' ';
        }
    }
    line
}

impl Number {
    fn next(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Number::Minus, b'0') => Some(Number::Zero),
            (Number::Minus | Number::Digits, b'0'..=b'9') => Some(Number::Digits),
            (Number::Zero | Number::Digits, b'.') => Some(Number::Point),
            (Number::Point | Number::Fraction, b'0'..=b'9') => Some(Number::Fraction),
            (Number::Zero | Number::Digits | Number::Fraction, b'e' | b'E') => Some(Number::Exponent),
            (Number::Exponent, b'+' | b'-') => Some(Number::Sign),
            (Number::Exponent | Number::Sign | Number::Power, b'0'..=b'9') => Some(Number::Power),
            (
                Number::Minus
                | Number::Zero
                | Number::Digits
                | Number::Point
                | Number::Fraction
                | Number::Exponent
                | Number::Sign
                | Number::Power,
                _,
            ) => None,
        }
    }

    fn is_whole(self) -> bool {
        match self {
            Number::Zero | Number::Digits | Number::Fraction | Number::Power => true,
            Number::Minus | Number::Point | Number::Exponent | Number::Sign => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::envelope::{NotMessage, scan};
    use proptest::prelude::*;

    fn walk(text: &[u8], pieces: usize) -> (WalkResult, Walk) {
        let mut walk = Walk::new();
        for piece in text.chunks(pieces) {
            match walk.go(piece) {
                WalkResult::More => {}
                step @ (WalkResult::Done(_) | WalkResult::Broken(_)) => return (step, walk),
            }
        }
        (WalkResult::More, walk)
    }

    #[test]
    fn a_value_ends_where_it_ends_and_breaks_where_it_breaks() {
        for (text, step) in [
            ("{}", WalkResult::Done(2)),
            ("[]x", WalkResult::Done(2)),
            ("{ }{}", WalkResult::Done(3)),
            (r#"{"a":[1,-0.5e+7,{"b":"c\\\"\u00e9}"},true,false,null,""]} "#, WalkResult::Done(57)),
            ("{\"a\" :\r\n\t1 }", WalkResult::Done(12)),
            ("{\"a\":\0\x1b[1;31m1\x1b[0m}", WalkResult::Done(19)),
            (r#"{"a":"#, WalkResult::More),
            (r#"["a"#, WalkResult::More),
            ("{\x1b[3", WalkResult::More),
            ("{'a'", WalkResult::Broken(1)),
            ("[INFO]", WalkResult::Broken(1)),
            ("[2024-01-01]", WalkResult::Broken(5)),
            ("[12:30]", WalkResult::Broken(3)),
            ("[1/3]", WalkResult::Broken(2)),
            ("{,", WalkResult::Broken(1)),
            ("{\"a\",", WalkResult::Broken(4)),
            ("{\"a\":1]", WalkResult::Broken(6)),
            ("[1}", WalkResult::Broken(2)),
            ("[1,]", WalkResult::Broken(3)),
            ("{\"a\":1,}", WalkResult::Broken(7)),
            ("[01]", WalkResult::Broken(2)),
            ("[-]", WalkResult::Broken(2)),
            ("[1.]", WalkResult::Broken(3)),
            ("[1e+]", WalkResult::Broken(4)),
            ("[nul]", WalkResult::Broken(4)),
            (r#"["\x"]"#, WalkResult::Broken(3)),
            (r#"["\u00g0"]"#, WalkResult::Broken(6)),
            ("[\"a\nb\"]", WalkResult::Broken(3)),
            ("{\x1bM", WalkResult::Broken(2)),
            ("{\x1b[\n", WalkResult::Broken(3)),
            (r#"{"a":"b{"jsonrpc""#, WalkResult::Broken(9)),
        ] {
            for pieces in [1, 2, 100] {
                assert_eq!(walk(text.as_bytes(), pieces).0, step, "{text:?} in pieces of {pieces}");
            }
        }
        assert_eq!(walk("[".repeat(DEEPEST + 1).as_bytes(), 100).0, WalkResult::Broken(DEEPEST), "nesting is bounded");
    }

    #[test]
    fn a_walk_knows_what_is_open_and_from_where_on_nothing_is_sure() {
        for (text, open, unsure) in [
            (r#"{"a":{"b":[{},[1,"c{"#, &[0, 5, 10, 14][..], 17),
            (r#"{"a":{"b":1}x"#, &[0], 12),
            (r#"{"a":12x"#, &[0], 5),
            (r#"{"a":"b{"x"#, &[0], 5),
            ("{{", &[0], 1),
        ] {
            let (_, walk) = walk(text.as_bytes(), 100);
            let opened: Vec<_> = (0..text.len()).filter(|at| walk.is_open(*at)).collect();
            assert_eq!((&*opened, walk.unsure_from()), (open, unsure), "{text}");
        }
    }

    fn any_text() -> impl Strategy<Value = String> {
        let token = prop_oneof![
            4 => Just("{"), 4 => Just("}"), 3 => Just("["), 3 => Just("]"), 4 => Just(","), 4 => Just(":"), 1 => Just(" "), 1 => Just("\n"),
            4 => Just("\"a\""), 2 => Just("\"{\\\"\\u0041\""), 1 => Just("\""), 1 => Just("\\"), 2 => Just("1"), 1 => Just("0"),
            1 => Just("-"), 1 => Just("1.5E-3"), 1 => Just("true"), 1 => Just("nul"), 1 => Just("ä"),
        ];
        prop::collection::vec(token, 0..12).prop_map(|tokens| format!("{{\"a\":{}", tokens.concat()))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn a_walk_agrees_with_the_scan_of_an_envelope_however_the_text_is_cut(text in any_text(), pieces in 1usize..9) {
            let (step, _) = walk(text.as_bytes(), pieces);
            prop_assert_eq!(&step, &walk(text.as_bytes(), usize::MAX).0);
            match step {
                WalkResult::Done(end) => prop_assert!(scan(&text.as_bytes()[..end]).is_ok(), "{}", text),
                WalkResult::More => prop_assert!((0..=text.len()).all(|end| text.get(..end).is_none_or(|t| scan(t.as_bytes()).is_err()))),
                // The scan leaves line breaks in strings to others.
                WalkResult::Broken(at) if text.as_bytes()[at] == b'\n' => {}
                // No longer text could be JSON either.
                WalkResult::Broken(at) => {
                    let Err(NotMessage::Json(stops)) = scan(&text.as_bytes()[..at + 1]) else { panic!("{text}") };
                    prop_assert!(stops <= at);
                }
            }
        }
    }
}
