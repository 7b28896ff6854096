//! The body of a reply as the messages in it: one JSON text, or events. Pure.
//!
//! A message is handed on as it came, byte for byte, but for what every text of a server gets: line breaks between its tokens become
//! blanks, since a frame is one line, and bytes that are no UTF-8 are replaced.

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::time::Duration;

use bytes::Bytes;

use super::super::stdout::{Found, Habit, hand_on_text};
use crate::frame::Cut;
use crate::net::sse::{Decoder, Event};

/// Reads one body. One for each reply.
#[derive(Debug)]
pub(super) enum Reader {
    /// A JSON text, up to a size in bytes.
    Json {
        text: Vec<u8>,
        max: usize,
    },
    Events(Decoder),
}

/// What came of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fed {
    /// All of them were taken.
    All,
    /// So many of them were taken, as whoever takes the messages has no room.
    Part(usize),
    /// The text is too large, and nothing more is to be read.
    TooLarge,
}

/// What was heard by the end of a body.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard {
    /// The id of the last event that had one, from which the stream may be resumed.
    pub(super) last: Option<Box<[u8]>>,
    /// How long the server wants us to wait before the stream is asked for again.
    pub(super) retry: Option<Duration>,
    /// There was neither data nor an id.
    pub(super) nothing: bool,
}

/// What a body holds, besides the messages of others.
pub(super) enum Piece<'a> {
    /// A text that should be a message.
    Text(&'a [u8]),
    /// An event of another name than `message`, with its data.
    Named(&'a str, &'a [u8]),
    /// What is left of an event that is too large.
    TooLarge(Cut<'a>),
}

/// Takes what a body holds, and says whether to go on.
pub(super) type OnPiece<'a> = dyn FnMut(Piece<'_>) -> ControlFlow<()> + 'a;

impl Reader {
    /// Takes bytes.
    pub(super) fn feed(&mut self, bytes: &Bytes, on: &mut OnPiece<'_>) -> Fed {
        match self {
            Reader::Json { text, max } if text.len() + bytes.len() > *max => Fed::TooLarge,
            Reader::Json { text, .. } => {
                text.extend_from_slice(bytes);
                Fed::All
            }
            Reader::Events(decoder) => match decoder.feed(bytes, &mut |event| pass(event, on)) {
                ControlFlow::Continue(()) if decoder.is_endless() => {
                    // What there is of it may say for which request it is.
                    let _flow = decoder.end(&mut |event| pass(event, on));
                    Fed::TooLarge
                }
                ControlFlow::Continue(()) => Fed::All,
                ControlFlow::Break(taken) => Fed::Part(taken),
            },
        }
    }

    /// The body has ended.
    pub(super) fn end(&mut self, on: &mut OnPiece<'_>) -> ControlFlow<()> {
        match self {
            Reader::Json { text, .. } => {
                let text = std::mem::take(text);
                let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text).trim_ascii();
                if text.is_empty() { ControlFlow::Continue(()) } else { on(Piece::Text(text)) }
            }
            Reader::Events(decoder) => decoder.end(&mut |event| pass(event, on)),
        }
    }

    /// What was heard so far, for whoever asks for the rest.
    pub(super) fn heard(&self) -> Heard {
        match self {
            Reader::Json { .. } => Heard::default(),
            Reader::Events(decoder) => {
                let last: Option<Box<[u8]>> = decoder.last_id().map(Into::into);
                let nothing = last.is_none() && decoder.taken() == 0;
                Heard { last, retry: decoder.retry().map(Duration::from_millis), nothing }
            }
        }
    }

    /// How many bytes have come that count as a sign of life.
    pub(super) fn taken(&self) -> u64 {
        match self {
            // All of it is to come within the time for a first byte: else a server could go on for ever.
            Reader::Json { .. } => 0,
            Reader::Events(decoder) => decoder.taken(),
        }
    }
}

fn pass(event: Event<'_>, on: &mut OnPiece<'_>) -> ControlFlow<()> {
    match event {
        // It begins a stream that can be resumed, and has no message.
        Event::Whole { data, .. } if data.trim_ascii().is_empty() => ControlFlow::Continue(()),
        Event::Whole { name: "message", data } => on(Piece::Text(data)),
        Event::Whole { name, data } => on(Piece::Named(name, data)),
        Event::TooLarge(cut) => on(Piece::TooLarge(cut)),
    }
}

/// Hands on the messages in a text, and what it holds instead of some.
pub(super) fn messages(text: &[u8], on: &mut dyn FnMut(Found<'_>)) {
    let mut text = Cow::Borrowed(text);
    if simdutf8::basic::from_utf8(&text).is_err() {
        on(Found::Habit(Habit::NotUtf8));
        text = Cow::Owned(String::from_utf8_lossy(&text).into_owned().into_bytes());
    }
    if memchr::memchr2(b'\n', b'\r', &text).is_some() {
        // Inside of a string there is none in JSON; where a server puts one all the same, a frame is one line still.
        let is_break = |byte: &u8| matches!(byte, b'\n' | b'\r');
        let line = text.iter().map(|byte| if is_break(byte) { b' ' } else { *byte }).collect();
        text = Cow::Owned(line);
    }
    hand_on_text(text.trim_ascii(), on);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of a body in these pieces.
    fn read(mut reader: Reader, pieces: &[&str]) -> Vec<String> {
        let mut seen = Vec::new();
        let mut on = |piece: Piece<'_>| {
            seen.push(match piece {
                Piece::Text(text) => String::from_utf8_lossy(text).into_owned(),
                Piece::Named(name, data) => format!("{name}={}", String::from_utf8_lossy(data)),
                Piece::TooLarge(cut) => format!("too large: {}", cut.size),
            });
            ControlFlow::Continue(())
        };
        for piece in pieces {
            if reader.feed(&Bytes::copy_from_slice(piece.as_bytes()), &mut on) == Fed::TooLarge {
                return vec!["too large".to_owned()];
            }
        }
        assert!(reader.end(&mut on).is_continue());
        seen
    }

    #[test]
    fn a_body_is_one_text_or_events() {
        let json = || Reader::Json { text: Vec::new(), max: 20 };
        assert_eq!(read(json(), &["\u{feff}{\"a\":", " 1}\n"]), ["{\"a\": 1}"]);
        assert_eq!(read(json(), &[" \n"]), [""; 0]);
        assert_eq!(read(json(), &["0123456789", "01234567890"]), ["too large"]);
        let events = || Reader::Events(Decoder::new(20));
        assert_eq!(read(events(), &["id: 1\ndata:\n\ndata: {}\n\n"]), ["{}"]);
        assert_eq!(read(events(), &["event: endpoint\r\ndata: /m\r\n\r\n: x\n"]), ["endpoint=/m"]);
        assert_eq!(read(events(), &["data: 012345678901234567890\n\n"]), ["too large: 21"]);
    }

    #[test]
    fn messages_are_handed_on_as_they_came() {
        let found = |text: &[u8]| {
            let mut seen = Vec::new();
            messages(text, &mut |found| {
                seen.push(match found {
                    Found::Message { frame, .. } => String::from_utf8_lossy(frame).into_owned(),
                    other @ (Found::Noise(_)
                    | Found::Nameless(_)
                    | Found::Lost(..)
                    | Found::TooLarge(_)
                    | Found::Unanswered { .. }
                    | Found::Renewed
                    | Found::Caused { .. }
                    | Found::Modern
                    | Found::Odd { .. }
                    | Found::Habit(_)) => format!("{other:?}").split([' ', '(']).next().unwrap_or_default().to_owned(),
                });
            });
            seen
        };
        let message = r#"{"jsonrpc":"2.0","id":1,"result":{"x": 12345678901234567890123, "ü":1}}"#;
        assert_eq!(found(message.as_bytes()), [message]);
        assert_eq!(found(b"{\"jsonrpc\":\"2.0\",\r\n\"method\":\"x\"}"), ["{\"jsonrpc\":\"2.0\",  \"method\":\"x\"}"]);
        assert_eq!(found(b"[{\"jsonrpc\":\"2.0\",\"method\":\"x\"},{\"jsonrpc\":\"2.0\",\"method\":\"y\"}]").len(), 2);
        assert_eq!(found(b"{\"jsonrpc\":\"2.0\",\"method\":\"\xff\"}").len(), 2);
        // As it is with a process, whose lines can't hold the first of these.
        assert_eq!(
            found(b"{\"jsonrpc\":\"2.0\",\"method\":\"x\",\"y\":\"a\nb\"}"),
            ["{\"jsonrpc\":\"2.0\",\"method\":\"x\",\"y\":\"a b\"}"]
        );
        assert_eq!(found(b"<html>"), ["Noise"]);
        assert_eq!(found(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"resu"), ["Lost"]);
    }
}
