//! What is found in what a server says.

use std::fmt;

use crate::frame::Cut;
use crate::mcp::envelope::{Envelope, Lost};

/// Where what is found goes.
pub(super) type On<'a> = &'a mut dyn FnMut(Found<'_>);

/// Something that a server says, or that becomes of what it was asked.
#[derive(Debug)]
pub enum Found<'a> {
    /// A message: one line of valid UTF-8, its method without escapes, and no [`Kind::Other`](crate::mcp::envelope::Kind).
    Message {
        /// The message's text.
        frame: &'a [u8],
        /// Where in `frame` the message's parts are.
        envelope: &'a Envelope,
    },
    /// A message of which it is known to which request of ours it belongs, by that request's number: a question that the server has about
    /// it, or what the server logs of it.
    Caused {
        /// The number.
        cause: u64,
        /// The message's text.
        frame: &'a [u8],
        /// Where in `frame` the message's parts are.
        envelope: &'a Envelope,
    },
    /// A line, or a part of a line, that is no message; perhaps no UTF-8.
    Noise(&'a [u8]),
    /// An error that names no request: by JSON-RPC 2.0 section 5 the sender could not read for which one it is.
    Nameless(&'a [u8]),
    /// A message that can't be read, or may have been lost; and what has come of the message, unless that was reported as
    /// noise.
    Lost(Lost<'a>, &'a [u8]),
    /// A message above the size limit.
    TooLarge(Cut<'a>),
    /// The server answers a request of this id no more.
    Unanswered {
        /// The id: the whole token.
        id: &'a [u8],
        /// Why, as the end of a sentence that begins with the server's name.
        why: &'a str,
    },
    /// The server has begun another conversation in the same life: it knows nothing of what it was told after the handshake.
    Renewed,
    /// The server is one of the modern era: it wants to know of each request who asks.
    Modern,
    /// Something that the server says of itself is not as MCP has it, and was left out.
    Odd {
        /// The request that the server answered.
        method: &'static str,
        /// What is odd.
        what: &'a str,
    },
    /// The server has a way of writing messages that is not MCP's.
    Habit(Habit),
}

/// A way of writing messages that is not MCP's, which has each on a line of its own, in UTF-8 (MCP, basic/transports).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// Behind headers, as language servers do.
    Framed,
    /// One message over several lines.
    Spread,
    /// Several messages on one line.
    Crowded,
    /// Without a line end.
    Unended,
    /// With control characters inside of texts, where JSON has escapes.
    Unescaped,
    /// In UTF-16.
    Wide,
    /// In another encoding.
    NotUtf8,
}

impl fmt::Display for Habit {
    /// For a log line that begins with the server's name: what the server does, and what would be right.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Habit::Framed => "puts headers (Content-Length) before its messages, as language servers do",
            Habit::Spread => "writes a message over several lines",
            Habit::Crowded => "writes several messages on one line",
            Habit::Unended => "writes messages without an end of their line",
            Habit::Unescaped => {
                return f.write_str(
                    "wrote control characters inside of a text, where JSON has escapes (such as \\u001b); they were escaped, but other \
                     clients may not get such messages",
                );
            }
            Habit::Wide => {
                "writes messages in UTF-16 (it should write UTF-8: PYTHONUTF8=1, PYTHONIOENCODING=utf-8, or an encoding in its code)"
            }
            Habit::NotUtf8 => return f.write_str("wrote a line that is not UTF-8; bad bytes were replaced"),
        };
        write!(
            f,
            "{what}; they are understood, but MCP has each on a line of its own, and other clients may not get them"
        )
    }
}
