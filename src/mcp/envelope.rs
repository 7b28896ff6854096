//! What a router may read of a frame: where the id, the method and a few params are.
//!
//! One pass over the bytes checks that the frame is JSON and notes the positions of the few members
//! that routing needs; nothing is copied and no tree is built. Strings, where nearly all bytes of
//! large frames are, are skipped with vector instructions. The frame's own bytes go on to the other side,
//! with only the id exchanged.
//!
//! The check is that of RFC 8259 with one leniency: control characters inside strings are let through,
//! but no line breaks, which would end a child's line.
//!
//! A message that another reader could understand otherwise is refused: see `spelling`.

mod json;
mod spelling;

use std::borrow::Cow;
use std::ops::Range;

use crate::frame::Cut;
use json::{Scan, Stopped, Walked};
pub use spelling::{Misread, scan_misread, taken_for};

/// Most members of a batch that is not refused: each may cost an answer that is larger than the member.
const MAX_BATCH: usize = 256;

/// Why a frame is not a JSON-RPC message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotMessage {
    /// Not JSON, from this offset on, in bytes.
    #[error("not JSON at byte {0}")]
    Json(usize),
    /// JSON, but neither an object nor an array that can be a batch.
    #[error("JSON, but not an object")]
    NoObject,
    /// A member that JSON-RPC 2.0 section 4 defines is of another type.
    #[error("its {0} is of the wrong type")]
    Member(&'static str),
    /// A member that decides comes twice: some readers take the first and others the last.
    #[error("its {0} is given twice")]
    Repeated(&'static str),
    /// A member has a name that some readers take for this one, by letter case, by escapes or by what follows a NUL.
    #[error("it has a member that others may take for {0}; write that as it is written here, and once")]
    Misspelt(&'static str),
    /// The method holds characters that no method has: a reader that drops these reads another method.
    #[error("its method holds a quote, a backslash or a control character")]
    Method,
    /// An object that is none of JSON-RPC's.
    #[error("neither method nor result")]
    Other,
    /// JSON that begins and doesn't end.
    #[error("it is not finished")]
    Unfinished,
    /// Another notation than JSON.
    #[error("{0}")]
    Notation(Notation),
}

/// Notations in which programs print what they meant to send as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notation {
    /// That of a dict: single quotes, `None`, `True`.
    Python,
    /// That of an object in a console: keys without quotes, `undefined`.
    JavaScript,
}

impl std::fmt::Display for Notation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Notation::Python => "it is written as Python prints a dict; use json.dumps",
            Notation::JavaScript => "it is written as JavaScript prints an object; use JSON.stringify",
        })
    }
}

impl NotMessage {
    /// Whether the frame is an object of which readers make different messages; [`scan_misread`] tells more.
    pub fn is_misreading(self) -> bool {
        match self {
            NotMessage::Repeated(_) | NotMessage::Misspelt(_) | NotMessage::Method => true,
            NotMessage::Json(_)
            | NotMessage::NoObject
            | NotMessage::Member(_)
            | NotMessage::Other
            | NotMessage::Unfinished
            | NotMessage::Notation(_) => false,
        }
    }
}

/// The positions of what routing needs. All ranges are byte offsets into the frame that was scanned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Envelope {
    /// The whole token of `id`: a number, a string with its quotes, or `null`.
    pub id: Option<Range<usize>>,
    /// The inside of the string `method`, escapes untouched.
    pub method: Option<Range<usize>>,
    /// The value of `params`.
    pub params: Option<Range<usize>>,
    /// The member `params` with its key, to cut it out.
    pub params_member: Range<usize>,
    /// The value of `params.arguments`.
    pub arguments: Option<Range<usize>>,
    /// The value of `params.requestId` (`notifications/cancelled`).
    pub request_id: Option<Range<usize>>,
    /// The value of `params.name` (`tools/call`, `prompts/get`).
    pub name: Option<Range<usize>>,
    /// The value of `params.uri` (`resources/read`).
    pub uri: Option<Range<usize>>,
    /// The value of `params._meta.progressToken`: the sender wants progress on its request under this name.
    pub wants_progress: Option<Range<usize>>,
    /// The value of `params._meta.traceparent`: see `mcp/trace.rs`. Looked for here, since a call may end long after its frame is gone; it costs
    /// a comparison for each member of a `_meta`, and nothing for messages without one.
    pub traceparent: Option<Range<usize>>,
    /// The value of `params._meta["mcp-pipe/requestId"]`: see there.
    pub named_id: Option<Range<usize>>,
    /// The value of `params.progressToken` (`notifications/progress`).
    pub progress_token: Option<Range<usize>>,
    /// The value of `result`, unless it is `null` beside an `error`: some serializers leave no member out.
    pub result: Option<Range<usize>>,
    /// Whether `result.isError` is true (MCP, server/tools): a tool reports that it has failed.
    pub tool_error: bool,
    /// Whether there is an `error` that is not `null`.
    pub error: bool,
    /// Whether a strict reader may refuse this as an answer: `jsonrpc` is not "2.0", `result` no object, `error` not a number with a text, or
    /// `null` stands where nothing should. Members that JSON-RPC doesn't know pass.
    pub odd: bool,
    /// Whether there is a `jsonrpc`, so that the frame is meant as a message.
    pub jsonrpc: bool,
}

/// What a frame is to JSON-RPC 2.0 (section 4 and 5 of its specification).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A method and an id: wants exactly one answer.
    Request,
    /// A method without an id.
    Notification,
    /// An id and a result or an error.
    Response,
    /// None of these.
    Other,
}

impl Envelope {
    /// Which kind of message this is. `"id":null` counts as no id.
    pub fn kind(&self, frame: &[u8]) -> Kind {
        let id = self.id.as_ref().is_some_and(|r| &frame[r.clone()] != b"null");
        match (self.method.is_some(), id, self.result.is_some() || self.error) {
            (true, true, _) => Kind::Request,
            (true, false, _) => Kind::Notification,
            (false, true, true) => Kind::Response,
            (false, _, _) => Kind::Other,
        }
    }
}

/// A scanned frame.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "nearly all are single messages, and it never leaves the stack")]
pub enum Scanned {
    /// One message.
    One(Envelope),
    /// A JSON-RPC batch (MCP 2025-03-26 only): the ranges of its members.
    Batch(Vec<Range<usize>>),
}

/// Reads a frame's envelope.
///
/// # Errors
/// [`NotMessage`] says why the frame is neither a message nor a batch.
pub fn scan(frame: &[u8]) -> Result<Scanned, NotMessage> {
    let (mut s, mut e) = (Scan::of(frame), Envelope::default());
    match s.frame(&mut e) {
        Ok(None) => Ok(Scanned::One(e)),
        Ok(Some(members)) => Ok(Scanned::Batch(members)),
        Err(Stopped) => Err(s.why),
    }
}

/// The envelope of a frame that is a single message; `None` for all else.
pub fn scan_one(frame: &[u8]) -> Option<Envelope> {
    match scan(frame) {
        Ok(Scanned::One(e)) => Some(e),
        Ok(Scanned::Batch(_)) | Err(_) => None,
    }
}

/// The frame with a plain method in the place of one with escapes: some serializers write `\/` for a slash. `None` if the method
/// has no escapes.
///
/// # Errors
/// [`NotMessage::Method`] if the method has quotes or control characters.
#[inline]
pub fn plain_method(frame: &[u8], e: &Envelope) -> Result<Option<Vec<u8>>, NotMessage> {
    let Some(method) = e.method.clone() else { return Ok(None) };
    // A loop: for these few bytes a call of memchr costs more.
    let is_plain = frame[method.clone()].iter().all(|byte| *byte != b'\\' && *byte >= b' ');
    if is_plain { Ok(None) } else { unescaped(frame, method).map(Some) }
}

/// The frame with escapes in the place of control characters inside its strings, where there are any: JSON has none there, and most
/// readers refuse them.
#[inline]
pub fn escaped(frame: &[u8]) -> Option<Vec<u8>> {
    // The least byte of all, as that is found with vector instructions. A pretty-printed message has such bytes between its tokens.
    if frame.iter().copied().fold(u8::MAX, u8::min) >= b' ' { None } else { with_escapes(frame) }
}

#[cold]
fn with_escapes(frame: &[u8]) -> Option<Vec<u8>> {
    let (mut text, mut done, mut at, mut in_string) = (Vec::new(), 0, 0, false);
    while let Some(byte) = frame.get(at) {
        match byte {
            b'\\' if in_string => at += 1,
            b'"' => in_string = !in_string,
            ..b' ' if in_string => {
                text.extend_from_slice(&frame[done..at]);
                match byte {
                    b'\t' => text.extend_from_slice(b"\\t"),
                    b'\r' => text.extend_from_slice(b"\\r"),
                    _ => text.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
                }
                done = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    text.extend_from_slice(&frame[done..]);
    (done > 0).then_some(text)
}

/// An error without an id, as the answer to the request of this number.
pub fn named(error: &[u8], number: u64) -> Option<(Vec<u8>, Envelope)> {
    let id = scan_one(error)?.id;
    let frame = match id {
        Some(id) => [&error[..id.start], number.to_string().as_bytes(), &error[id.end..]].concat(),
        None => {
            let open = memchr::memchr(b'{', error)? + 1;
            [&error[..open], format!("\"id\":{number},").as_bytes(), &error[open..]].concat()
        }
    };
    let e = scan_one(&frame)?;
    Some((frame, e))
}

#[cold]
fn unescaped(frame: &[u8], method: Range<usize>) -> Result<Vec<u8>, NotMessage> {
    let plain = serde_json::from_slice::<String>(&frame[method.start - 1..=method.end]);
    let plain = plain.map_err(|_| NotMessage::Method)?;
    let fits = plain.chars().all(|c| !c.is_control() && c != '"' && c != '\\');
    let whole = [&frame[..method.start], plain.as_bytes(), &frame[method.end..]];
    if fits { Ok(whole.concat()) } else { Err(NotMessage::Method) }
}

/// What can be told of a message that was too large to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CutEnvelope<'a> {
    /// The id, if that is near either end: the whole token.
    pub id: Option<&'a [u8]>,
    /// Whether there is a method, so that the message is no answer.
    pub method: bool,
}

/// Reads what the first and last bytes of a message tell.
///
/// Exact as far as it goes: the head is followed member by member until the first one that is cut off,
/// and the tail only counts where `"id":…}` is the very end, which closes the message itself.
pub fn scan_cut<'a>(cut: Cut<'a>) -> CutEnvelope<'a> {
    let mut s = Scan::of(cut.head);
    let mut e = Envelope::default();
    // The error is expected: the head ends in the middle of the message.
    let _cut_off = s.message(&mut e);
    // A number that runs to the very end of the head may go on behind it.
    let id = e.id.filter(|id| id.end < cut.head.len()).map(|id| &cut.head[id]);
    CutEnvelope { id: id.or_else(|| id_at_end(cut.tail)), method: e.method.is_some() }
}

fn id_at_end(tail: &[u8]) -> Option<&[u8]> {
    let end = tail.trim_ascii_end().strip_suffix(b"}")?.trim_ascii_end();
    let at = memchr::memmem::rfind(end, b"\"id\"")?;
    // Inside a string the quote before `id` would be escaped.
    if at > 0 && end[at - 1] == b'\\' {
        return None;
    }
    let value = end[at + 4..].trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
    let mut s = Scan::of(value);
    let scalar = matches!(s.peek(), Some(b'"' | b'-' | b'0'..=b'9'));
    (scalar && s.value().is_ok() && s.i == value.len()).then_some(value)
}

/// A message that was lost on its way to us, but for its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost<'a> {
    /// The id: the whole token.
    pub id: &'a [u8],
    /// Whether there is a method, so that the message is no answer.
    pub method: bool,
    /// What is wrong with the part that arrived.
    pub why: NotMessage,
}

/// The envelope of a message that breaks off, or is broken: the members before that place.
pub fn scan_broken(frame: &[u8]) -> Envelope {
    let mut e = Envelope::default();
    // The error is expected.
    let _broken = Scan::of(frame).message(&mut e);
    e
}

/// Whether a text that breaks off is the beginning of a message: JSON that names `jsonrpc`.
pub fn begins_message(text: &[u8]) -> bool {
    /// Longest token, `\u0000`, for which an error stands at the token's beginning though only its end is missing.
    const LONGEST: usize = 6;
    let text = text.trim_ascii_start();
    let (mut s, mut e) = (Scan::of(text), Envelope::default());
    let is_broken = s.message(&mut e).is_err();
    is_broken && e.jsonrpc && matches!(s.why, NotMessage::Json(at) if at + LONGEST > text.len())
}

/// Replaces the line breaks between tokens by spaces, so that the frame fits on one line.
///
/// # Errors
/// The offset of a line break inside a string, where JSON allows none.
pub fn single_line(frame: &[u8]) -> Result<Vec<u8>, NotMessage> {
    let mut line = frame.to_vec();
    let mut at = 0;
    let mut in_string = false;
    while at < line.len() {
        match line[at] {
            b'\n' | b'\r' if in_string => return Err(NotMessage::Json(at)),
            b'\n' | b'\r' => line[at] = b' ',
            b'\\' if in_string => at += 1,
            b'"' => in_string = !in_string,
            _ => {}
        }
        at += 1;
    }
    Ok(line)
}

/// JSON without the control characters that [`scan`] lets through inside strings and parsers don't: spaces in their place.
pub fn without_controls(json: &[u8]) -> Cow<'_, [u8]> {
    if json.iter().all(|b| *b >= 0x20) {
        return Cow::Borrowed(json);
    }
    Cow::Owned(json.iter().map(|b| if *b < 0x20 { b' ' } else { *b }).collect())
}

/// Whether a number has neither fraction nor exponent.
pub(super) fn is_whole(number: &str) -> bool {
    let digits = number.strip_prefix('-').unwrap_or(number);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

impl Scan<'_> {
    /// Walks the whole frame. Returns the members of a batch.
    fn frame(&mut self, e: &mut Envelope) -> Result<Option<Vec<Range<usize>>>, Stopped> {
        self.space();
        let batch = match self.peek() {
            Some(b'{') => {
                self.message(e)?;
                None
            }
            Some(b'[') => {
                let mut members = Vec::new();
                self.array(&mut |s| {
                    if s.peek() != Some(b'{') || members.len() == MAX_BATCH {
                        return s.refuse(NotMessage::NoObject);
                    }
                    let from = s.i;
                    s.value()?;
                    members.push(from..s.i);
                    Ok(())
                })?;
                Some(members)
            }
            _ => {
                self.value()?;
                self.end()?;
                return self.refuse(NotMessage::NoObject);
            }
        };
        self.end()?;
        Ok(batch)
    }

    fn message(&mut self, e: &mut Envelope) -> Walked {
        if self.peek() != Some(b'{') {
            return self.fail();
        }
        let mut seen = Seen::default();
        self.object(&mut |s, key| {
            let from = s.i;
            match &s.b[key.clone()] {
                b"id" => {
                    s.once(&mut seen, Seen::ID, "id")?;
                    if matches!(s.peek(), Some(b'{' | b'[' | b't' | b'f')) {
                        return s.refuse(NotMessage::Member("id"));
                    }
                    s.value()?;
                    e.id = Some(from..s.i);
                }
                b"method" => {
                    s.once(&mut seen, Seen::METHOD, "method")?;
                    match s.peek() {
                        Some(b'"') => {
                            s.string()?;
                            e.method = Some(from + 1..s.i - 1);
                        }
                        Some(b'n') => {
                            e.odd = true;
                            s.value()?;
                        }
                        _ => return s.refuse(NotMessage::Member("method")),
                    }
                }
                b"params" => {
                    s.once(&mut seen, Seen::PARAMS, "params")?;
                    if s.peek() == Some(b'{') {
                        s.params(e)?;
                    } else {
                        s.value()?;
                    }
                    e.params = Some(from..s.i);
                    e.params_member = key.start - 1..s.i;
                }
                b"result" => {
                    s.once(&mut seen, Seen::RESULT, "result")?;
                    if s.peek() == Some(b'{') {
                        s.result(e)?;
                    } else {
                        e.odd = true;
                        s.value()?;
                    }
                    e.result = Some(from..s.i);
                }
                b"error" => {
                    s.once(&mut seen, Seen::ERROR, "error")?;
                    e.error = s.peek() != Some(b'n');
                    if s.peek() == Some(b'{') {
                        s.error(e)?;
                    } else {
                        e.odd = true;
                        s.value()?;
                    }
                }
                b"jsonrpc" => {
                    s.once(&mut seen, Seen::JSONRPC, "jsonrpc")?;
                    s.value()?;
                    e.odd |= s.b[from..s.i] != *b"\"2.0\"";
                    e.jsonrpc = true;
                }
                _ => s.other(key, spelling::MESSAGE)?,
            }
            Ok(())
        })?;
        if e.error && e.result.clone().is_some_and(|r| &self.b[r] == b"null") {
            e.result = None;
        }
        Ok(())
    }

    /// Walks the value of `result`. Nothing but figures goes by what is noted of it, so no member of it is refused.
    fn result(&mut self, e: &mut Envelope) -> Walked {
        self.object(&mut |s, key| {
            if &s.b[key] == b"isError" {
                e.tool_error = s.peek() == Some(b't');
            }
            s.value()
        })
    }

    /// Walks the value of `error`.
    fn error(&mut self, e: &mut Envelope) -> Walked {
        let (mut code, mut message) = (false, false);
        self.object(&mut |s, key| {
            let from = s.i;
            s.value()?;
            match &s.b[key] {
                b"code" => code = str::from_utf8(&s.b[from..s.i]).is_ok_and(is_whole),
                b"message" => message = s.b[from] == b'"',
                _ => {}
            }
            Ok(())
        })?;
        e.odd |= !(code && message);
        Ok(())
    }

    fn params(&mut self, e: &mut Envelope) -> Walked {
        let mut seen = Seen::default();
        self.object(&mut |s, key| {
            let from = s.i;
            match &s.b[key.clone()] {
                b"arguments" => {
                    s.once(&mut seen, Seen::ARGUMENTS, "arguments")?;
                    s.value()?;
                    e.arguments = Some(from..s.i);
                }
                b"name" => {
                    s.once(&mut seen, Seen::NAME, "name")?;
                    s.value()?;
                    e.name = Some(from..s.i);
                }
                b"uri" => {
                    s.once(&mut seen, Seen::URI, "uri")?;
                    s.value()?;
                    e.uri = Some(from..s.i);
                }
                b"_meta" => {
                    s.once(&mut seen, Seen::META, "_meta")?;
                    s.meta(e)?;
                }
                b"progressToken" => {
                    s.once(&mut seen, Seen::PROGRESS_TOKEN, "progressToken")?;
                    s.value()?;
                    e.progress_token = Some(from..s.i);
                }
                b"requestId" => {
                    s.once(&mut seen, Seen::REQUEST_ID, "requestId")?;
                    s.value()?;
                    e.request_id = Some(from..s.i);
                }
                b"ref" => {
                    s.once(&mut seen, Seen::REF, "ref")?;
                    s.reference()?;
                }
                _ => s.other(key, spelling::PARAMS)?,
            }
            Ok(())
        })
    }

    /// Walks the value of `params._meta`.
    fn meta(&mut self, e: &mut Envelope) -> Walked {
        if self.peek() != Some(b'{') {
            return self.value();
        }
        let mut seen = Seen::default();
        self.object(&mut |s, key| {
            let from = s.i;
            match &s.b[key.clone()] {
                b"progressToken" => {
                    s.once(&mut seen, Seen::PROGRESS_TOKEN, "progressToken")?;
                    s.value()?;
                    e.wants_progress = Some(from..s.i);
                }
                // Nothing is decided by these, so they may be there twice.
                b"traceparent" => {
                    s.value()?;
                    e.traceparent = Some(from..s.i);
                }
                b"mcp-pipe/requestId" => {
                    s.value()?;
                    e.named_id = Some(from..s.i);
                }
                _ => s.other(key, spelling::META)?,
            }
            Ok(())
        })
    }

    /// Walks the value of `params.ref`; a router that needs more reads that itself.
    fn reference(&mut self) -> Walked {
        if self.peek() != Some(b'{') {
            return self.value();
        }
        let mut seen = Seen::default();
        self.object(&mut |s, key| {
            match &s.b[key.clone()] {
                b"type" => s.once(&mut seen, Seen::TYPE, "type")?,
                b"name" => s.once(&mut seen, Seen::NAME, "name")?,
                b"uri" => s.once(&mut seen, Seen::URI, "uri")?,
                _ => return s.other(key, spelling::REFERENCE),
            }
            s.value()
        })
    }

    /// Notes that a member is there. A second one of the same name is refused.
    #[inline(always)] // an instruction or two, for each member of each message
    fn once(&mut self, seen: &mut Seen, member: Seen, name: &'static str) -> Walked {
        if seen.0 & member.0 != 0 {
            return self.refuse(NotMessage::Repeated(name));
        }
        seen.0 |= member.0;
        Ok(())
    }

    /// Skips a member of no interest, unless some reader takes its name for one of `names`.
    fn other(&mut self, key: Range<usize>, names: &[&'static str]) -> Walked {
        match taken_for(&self.b[key], names) {
            Some(name) => self.refuse(NotMessage::Misspelt(name)),
            None => self.value(),
        }
    }
}

/// Which of the members that decide an object has: a bit for each.
#[derive(Clone, Copy, Default)]
struct Seen(u32);

impl Seen {
    const JSONRPC: Seen = Seen(1);
    const ID: Seen = Seen(1 << 1);
    const METHOD: Seen = Seen(1 << 2);
    const PARAMS: Seen = Seen(1 << 3);
    const RESULT: Seen = Seen(1 << 4);
    const ERROR: Seen = Seen(1 << 5);
    const ARGUMENTS: Seen = Seen(1 << 6);
    const NAME: Seen = Seen(1 << 7);
    const URI: Seen = Seen(1 << 8);
    const META: Seen = Seen(1 << 9);
    const PROGRESS_TOKEN: Seen = Seen(1 << 10);
    const REQUEST_ID: Seen = Seen(1 << 11);
    const REF: Seen = Seen(1 << 12);
    const TYPE: Seen = Seen(1 << 13);
}

#[cfg(test)]
mod tests;
