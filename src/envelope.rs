//! What a router may read of a frame: where the id, the method and a few params are.
//!
//! One pass over the bytes checks that the frame is JSON and notes the positions of the few members
//! that routing needs; nothing is copied and no tree is built. Strings, where nearly all bytes of
//! large frames are, are skipped with `memchr`. What goes on to the other side is the frame's own bytes,
//! with only the id exchanged.
//!
//! The check is that of RFC 8259 with one leniency: control characters inside strings are let through
//! (line breaks are not, they never reach a child).

use std::borrow::Cow;
use std::ops::Range;

use memchr::memchr2;

use crate::frame::Cut;

/// Nesting beyond this is refused, as most JSON parsers do.
const MAX_DEPTH: u32 = 127;

/// A batch with more members than this is refused: each member may cost an answer that is larger than itself.
const MAX_BATCH: usize = 256;

/// Why a frame is not a JSON-RPC message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotMessage {
    /// Not JSON; the offset is where it stops being so, in bytes.
    #[error("not JSON at byte {0}")]
    Json(usize),
    /// JSON, but neither an object nor a short array of objects.
    #[error("JSON, but not an object")]
    NoObject,
    /// A member that JSON-RPC 2.0 section 4 defines is of another type.
    #[error("its {0} is of the wrong type")]
    Member(&'static str),
}

/// The positions of what routing needs. All ranges are byte offsets into the frame that was scanned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Envelope {
    /// The whole token of `id`: a number, a string with its quotes, or `null`.
    pub id: Option<Range<usize>>,
    /// The inside of `method`'s string, escapes untouched.
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
    /// The value of `params._meta.progressToken`: progress on a request is wanted under this name.
    pub wants_progress: Option<Range<usize>>,
    /// The value of `params.progressToken` (`notifications/progress`).
    pub progress_token: Option<Range<usize>>,
    /// The value of `result`.
    pub result: Option<Range<usize>>,
    /// There is an `error`.
    pub error: bool,
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
/// [`NotMessage`] if the frame is no JSON or no object (or array of them).
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

/// What can be told of a message that was too large to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CutEnvelope<'a> {
    /// Its id, if that is near either end: the whole token.
    pub id: Option<&'a [u8]>,
    /// It has a method, so it is no answer.
    pub method: bool,
}

/// Reads what the first and last bytes of a message tell of it.
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

struct Scan<'a> {
    b: &'a [u8],
    i: usize,
    /// Why it stopped, once it has.
    why: NotMessage,
}

/// [`Scan::why`] says why: so what every step returns fits into a register.
struct Stopped;

type Step = Result<(), Stopped>;

/// As many bytes as a word has bits.
const BLOCK: usize = 64;

/// Most strings of an envelope are not longer.
const SHORT: usize = 16;

/// One bit for each byte of a block that `is` says yes to, the lowest for the first. Compiles to vector instructions.
#[inline(always)]
fn bits<const N: usize>(block: &[u8; N], is: impl Fn(u8) -> bool) -> u64 {
    let mut found = [0; N];
    for (found, byte) in found.iter_mut().zip(block) {
        *found = if is(*byte) { 0xFF } else { 0 };
    }
    gather(&found)
}

/// One bit of each byte, all of whose bits are the same.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn gather(bytes: &[u8]) -> u64 {
    use std::arch::x86_64::{_mm_movemask_epi8, _mm_set_epi64x};
    bytes.as_chunks::<16>().0.iter().rev().fold(0, |bits, sixteen| {
        let sixteen = u128::from_le_bytes(*sixteen);
        // SAFETY: they need SSE2, which every x86-64 has, and take values, no pointers.
        let sixteen = unsafe { _mm_movemask_epi8(_mm_set_epi64x((sixteen >> 64) as i64, sixteen as i64)) };
        bits << 16 | u64::from(sixteen as u16)
    })
}

/// One bit of each byte, all of whose bits are the same.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn gather(bytes: &[u8]) -> u64 {
    bytes.as_chunks::<8>().0.iter().rev().fold(0, |bits, eight| {
        // A different bit of each; their sum holds all of them.
        let eight = u64::from_le_bytes(*eight) & 0x8040_2010_0804_0201;
        bits << 8 | eight.wrapping_mul(0x0101_0101_0101_0101) >> 56
    })
}

/// How many bytes of a block lie before its first quote or backslash.
#[inline(always)]
fn plain(block: &[u8; SHORT]) -> usize {
    bits(block, |c| c == b'"' || c == b'\\').trailing_zeros().min(SHORT as u32) as usize
}

/// Where the string that goes on at `i` has ended, or where it is wrong.
///
/// Block by block, and a block costs the same whatever is in it: text with an escape every few words is as common as
/// text with none, and to search anew behind each of them costs more than the search.
#[inline(never)] // what it keeps in registers would cost every short string
fn after_string(b: &[u8], mut i: usize) -> Result<usize, usize> {
    const EVEN: u64 = 0x5555_5555_5555_5555;
    // Whether the block's first byte is escaped by the last one before it.
    let mut carry = 0;
    while let Some(block) = b[i..].first_chunk::<BLOCK>() {
        let (quotes, slashes) = (bits(block, |c| c == b'"'), bits(block, |c| c == b'\\'));
        if quotes | slashes | carry == 0 {
            i += BLOCK;
            i += memchr2(b'"', b'\\', &b[i..]).ok_or(b.len())?;
            continue;
        }
        // Of a run of backslashes every other one escapes the byte behind it. To add a bit at a run's start carries
        // through to its end: that tells runs of odd length from even ones without looking at each (after simdjson).
        let escaping = slashes & !carry;
        let behind = escaping << 1 | carry;
        let (ends_of_odd, over) = (escaping & !EVEN & !behind).overflowing_add(escaping);
        let escaped = (EVEN ^ ends_of_odd << 1) & behind;
        carry = u64::from(over);

        let end = quotes & !escaped;
        let before_end = end.wrapping_sub(1) & !end;
        // Two letters differ in one bit each: b and r, f and n.
        let simple = bits(block, |c| c & 0xEF == b'b' || c & 0xF7 == b'f' || c == b't' || c == b'/') | quotes | slashes;
        let mut special = escaped & before_end & !simple;
        while special != 0 {
            let at = i + special.trailing_zeros() as usize - 1;
            escape(&b[at..]).ok_or(at)?;
            special &= special - 1;
        }
        if end != 0 {
            return Ok(i + end.trailing_zeros() as usize + 1);
        }
        i += BLOCK;
    }
    i -= carry as usize;
    loop {
        if let Some(block) = b[i..].first_chunk() {
            i += plain(block);
        }
        match b.get(i) {
            Some(b'"') => return Ok(i + 1),
            Some(b'\\') => i += escape(&b[i..]).ok_or(i)?,
            Some(_) => i += 1,
            None => return Err(i),
        }
    }
}

/// The length of the escape at the start of `b`, a backslash, unless it is none.
#[inline]
fn escape(b: &[u8]) -> Option<usize> {
    match b.get(1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(2),
        b'u' => b.get(2..6)?.iter().all(u8::is_ascii_hexdigit).then_some(6),
        _ => None,
    }
}

impl<'a> Scan<'a> {
    fn of(b: &'a [u8]) -> Self {
        Scan { b, i: 0, why: NotMessage::Json(0) }
    }

    fn peek(&self) -> Option<u8> {
        self.b.get(self.i).copied()
    }

    /// It stops being JSON here.
    #[cold]
    fn fail(&mut self) -> Step {
        self.refuse(NotMessage::Json(self.i))
    }

    #[cold]
    fn refuse<T>(&mut self, why: NotMessage) -> Result<T, Stopped> {
        self.why = why;
        Err(Stopped)
    }

    /// Walks the whole frame; the members, if it is a batch.
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

    #[inline]
    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.i += 1;
        }
    }

    fn end(&mut self) -> Step {
        self.space();
        if self.i == self.b.len() { Ok(()) } else { self.fail() }
    }

    /// Walks an object, handing each key's inside and the position of its opening quote to `member`, which consumes the value.
    #[inline]
    fn object(&mut self, member: &mut impl FnMut(&mut Self, Range<usize>) -> Step) -> Step {
        self.i += 1;
        self.space();
        if self.peek() == Some(b'}') {
            self.i += 1;
            return Ok(());
        }
        loop {
            if self.peek() != Some(b'"') {
                return self.fail();
            }
            let key = self.i + 1;
            self.string()?;
            let key = key..self.i - 1;
            self.space();
            if self.peek() != Some(b':') {
                return self.fail();
            }
            self.i += 1;
            self.space();
            member(self, key)?;
            self.space();
            match self.peek() {
                Some(b',') => self.i += 1,
                Some(b'}') => {
                    self.i += 1;
                    return Ok(());
                }
                _ => return self.fail(),
            }
            self.space();
        }
    }

    fn array(&mut self, element: &mut impl FnMut(&mut Self) -> Step) -> Step {
        self.i += 1;
        self.space();
        if self.peek() == Some(b']') {
            self.i += 1;
            return Ok(());
        }
        loop {
            element(self)?;
            self.space();
            match self.peek() {
                Some(b',') => self.i += 1,
                Some(b']') => {
                    self.i += 1;
                    return Ok(());
                }
                _ => return self.fail(),
            }
            self.space();
        }
    }

    fn message(&mut self, e: &mut Envelope) -> Step {
        if self.peek() != Some(b'{') {
            return self.fail();
        }
        self.object(&mut |s, key| {
            let from = s.i;
            match &s.b[key.clone()] {
                b"id" => {
                    if matches!(s.peek(), Some(b'{' | b'[' | b't' | b'f')) {
                        return s.refuse(NotMessage::Member("id"));
                    }
                    s.value()?;
                    e.id = Some(from..s.i);
                }
                b"method" => {
                    if s.peek() != Some(b'"') {
                        return s.refuse(NotMessage::Member("method"));
                    }
                    s.string()?;
                    e.method = Some(from + 1..s.i - 1);
                }
                b"params" => {
                    if s.peek() == Some(b'{') {
                        s.params(e)?;
                    } else {
                        s.value()?;
                    }
                    e.params = Some(from..s.i);
                    e.params_member = key.start - 1..s.i;
                }
                b"result" => {
                    s.value()?;
                    e.result = Some(from..s.i);
                }
                b"error" => {
                    s.value()?;
                    e.error = true;
                }
                _ => s.value()?,
            }
            Ok(())
        })
    }

    fn params(&mut self, e: &mut Envelope) -> Step {
        self.object(&mut |s, key| {
            let from = s.i;
            if &s.b[key.clone()] == b"_meta" && s.peek() == Some(b'{') {
                return s.object(&mut |s, key| {
                    let from = s.i;
                    s.value()?;
                    if &s.b[key] == b"progressToken" {
                        e.wants_progress = Some(from..s.i);
                    }
                    Ok(())
                });
            }
            s.value()?;
            match &s.b[key] {
                b"arguments" => e.arguments = Some(from..s.i),
                b"name" => e.name = Some(from..s.i),
                b"uri" => e.uri = Some(from..s.i),
                b"progressToken" => e.progress_token = Some(from..s.i),
                b"requestId" => e.request_id = Some(from..s.i),
                _ => {}
            }
            Ok(())
        })
    }

    /// Skips a string; `i` is at its opening quote, and afterwards behind its closing one.
    #[inline(always)] // a dozen instructions for most strings, and half of a small message is strings
    fn string(&mut self) -> Step {
        self.i += 1;
        if let Some(block) = self.b[self.i..].first_chunk::<SHORT>()
            && let end = plain(block)
            && block.get(end) == Some(&b'"')
        {
            self.i += end + 1;
            return Ok(());
        }
        match after_string(self.b, self.i) {
            Ok(end) => self.i = end,
            Err(at) => self.refuse(NotMessage::Json(at))?,
        }
        Ok(())
    }

    /// Skips a scalar.
    #[inline]
    fn scalar(&mut self) -> Step {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.fail(),
        }
    }

    fn word(&mut self, word: &[u8]) -> Step {
        if self.b[self.i..].starts_with(word) {
            self.i += word.len();
            Ok(())
        } else {
            self.fail()
        }
    }

    fn digits(&mut self) -> Step {
        let from = self.i;
        while self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.i += 1;
        }
        if self.i > from { Ok(()) } else { self.fail() }
    }

    fn number(&mut self) -> Step {
        if self.peek() == Some(b'-') {
            self.i += 1;
        }
        if self.peek() == Some(b'0') {
            self.i += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.i += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.i += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.i += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    /// Skips any value.
    #[inline]
    fn value(&mut self) -> Step {
        match self.peek() {
            Some(b'{' | b'[') => self.nested(),
            _ => self.scalar(),
        }
    }

    /// Skips an object or array, without recursion: one bit a level says which it is.
    fn nested(&mut self) -> Step {
        let (mut depth, mut objects) = (0u32, 0u128);
        loop {
            // Here a value begins.
            match self.peek() {
                Some(open @ (b'{' | b'[')) => {
                    self.i += 1;
                    self.space();
                    let object = open == b'{';
                    if self.peek() == Some(if object { b'}' } else { b']' }) {
                        self.i += 1;
                    } else {
                        if depth == MAX_DEPTH {
                            return self.fail();
                        }
                        depth += 1;
                        objects = objects << 1 | u128::from(object);
                        if object {
                            self.key()?;
                        }
                        continue;
                    }
                }
                _ => self.scalar()?,
            }
            // Here a value has ended: go on behind it, or close what it ends.
            loop {
                if depth == 0 {
                    return Ok(());
                }
                self.space();
                let object = objects & 1 == 1;
                match self.peek() {
                    Some(b',') => {
                        self.i += 1;
                        self.space();
                        if object {
                            self.key()?;
                        }
                        break;
                    }
                    Some(b'}') if object => self.i += 1,
                    Some(b']') if !object => self.i += 1,
                    _ => return self.fail(),
                }
                depth -= 1;
                objects >>= 1;
            }
        }
    }

    #[inline]
    fn key(&mut self) -> Step {
        if self.peek() != Some(b'"') {
            return self.fail();
        }
        self.string()?;
        self.space();
        if self.peek() != Some(b':') {
            return self.fail();
        }
        self.i += 1;
        self.space();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
