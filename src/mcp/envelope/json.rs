//! JSON checked and skipped, without a tree: the steps of which an envelope's scan is made.
//!
//! Nearly all bytes are in strings. A short one ends within one vector compare; a long one is walked in blocks of a word's bits.

use std::ops::Range;

use memchr::memchr2;

use super::NotMessage;

/// Deepest nesting that one walk follows: it has a bit for each level.
const LEVELS: u32 = u128::BITS;

/// Most walks inside each other. Nesting beyond some 1000 levels is refused, as many JSON parsers do.
const MAX_WALKS: u32 = 8;

/// A walk over JSON: every step consumes a part of it, or stops.
pub(super) struct Scan<'a> {
    pub(super) b: &'a [u8],
    /// The offset of the next byte.
    pub(super) i: usize,
    /// Why the walk stopped, once it has.
    pub(super) why: NotMessage,
    /// How many walks have reached their last level.
    walks: u32,
}

/// A walk has stopped. The reason is in [`Scan::why`], so that what every step returns fits into a register.
pub(super) struct Stopped;

pub(super) type Walked = Result<(), Stopped>;

/// Bytes of a block: as many as a word has bits.
const BLOCK: usize = 64;

/// Longest string, in bytes, that one compare can skip: most strings of an envelope are not longer.
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
#[expect(unsafe_code, reason = "the standard library has no safe form of this instruction")]
fn gather(bytes: &[u8]) -> u64 {
    use std::arch::x86_64::{_mm_movemask_epi8, _mm_set_epi64x};
    bytes.as_chunks::<16>().0.iter().rev().fold(0, |bits, sixteen| {
        let sixteen = u128::from_le_bytes(*sixteen);
        // SAFETY: these instructions need SSE2, which every x86-64 has, and take values, no pointers.
        let sixteen = unsafe { _mm_movemask_epi8(_mm_set_epi64x((sixteen >> 64) as i64, sixteen as i64)) };
        bits << 16 | u64::from(sixteen as u16)
    })
}

/// One bit of each byte, all of whose bits are the same.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn gather(bytes: &[u8]) -> u64 {
    bytes.as_chunks::<8>().0.iter().rev().fold(0, |bits, eight| {
        // A different bit of each byte; the sum of the bytes holds all of these bits.
        let eight = u64::from_le_bytes(*eight) & 0x8040_2010_0804_0201;
        bits << 8 | eight.wrapping_mul(0x0101_0101_0101_0101) >> 56
    })
}

/// How many bytes of a block lie before its first quote or backslash.
#[inline(always)]
fn plain(block: &[u8; SHORT]) -> usize {
    bits(block, |c| c == b'"' || c == b'\\').trailing_zeros().min(SHORT as u32) as usize
}

/// Where the string that goes on at `i` has ended, or the offset of what is wrong in it.
///
/// Walks block by block, each at the same cost whatever is in there: text with an escape every few words is as common as
/// text without, and a search that starts anew behind each escape would cost more.
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
        // In a run of backslashes every other one escapes the byte behind. Adding a bit at the start of a run carries
        // through to its end, which tells runs of odd length from even ones without looking at each backslash (after simdjson).
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

/// The length of the escape at the start of `b`, which is a backslash; `None` if this is no escape.
#[inline]
fn escape(b: &[u8]) -> Option<usize> {
    match b.get(1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(2),
        b'u' => b.get(2..6)?.iter().all(u8::is_ascii_hexdigit).then_some(6),
        _ => None,
    }
}

impl<'a> Scan<'a> {
    pub(super) fn of(b: &'a [u8]) -> Self {
        Scan { b, i: 0, why: NotMessage::Json(0), walks: 0 }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.b.get(self.i).copied()
    }

    /// Stops the walk: this is no JSON.
    #[cold]
    pub(super) fn fail(&mut self) -> Walked {
        self.refuse(NotMessage::Json(self.i))
    }

    #[cold]
    pub(super) fn refuse<T>(&mut self, why: NotMessage) -> Result<T, Stopped> {
        self.why = why;
        Err(Stopped)
    }

    #[inline]
    pub(super) fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.i += 1;
        }
    }

    pub(super) fn end(&mut self) -> Walked {
        self.space();
        if self.i == self.b.len() { Ok(()) } else { self.fail() }
    }

    /// Walks an object, handing each key's inside and the position of its opening quote to `member`, which consumes the value.
    #[inline]
    pub(super) fn object(&mut self, member: &mut impl FnMut(&mut Self, Range<usize>) -> Walked) -> Walked {
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

    pub(super) fn array(&mut self, element: &mut impl FnMut(&mut Self) -> Walked) -> Walked {
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

    /// Skips a string; `i` is at its opening quote, and afterwards behind its closing one.
    #[inline(always)] // a dozen instructions for most strings, and half of a small message is strings
    pub(super) fn string(&mut self) -> Walked {
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
    fn scalar(&mut self) -> Walked {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.fail(),
        }
    }

    fn word(&mut self, word: &[u8]) -> Walked {
        if self.b[self.i..].starts_with(word) {
            self.i += word.len();
            Ok(())
        } else {
            self.fail()
        }
    }

    fn digits(&mut self) -> Walked {
        let from = self.i;
        while self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.i += 1;
        }
        if self.i > from { Ok(()) } else { self.fail() }
    }

    fn number(&mut self) -> Walked {
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
    pub(super) fn value(&mut self) -> Walked {
        match self.peek() {
            Some(b'{' | b'[') => self.nested(),
            _ => self.scalar(),
        }
    }

    /// Skips an object or array, nearly without recursion: one bit a level tells objects from arrays.
    fn nested(&mut self) -> Walked {
        let (mut depth, mut objects) = (0u32, 0u128);
        loop {
            // Here a value begins.
            match self.peek() {
                Some(b'{' | b'[') if depth == LEVELS => self.deeper()?,
                Some(open @ (b'{' | b'[')) => {
                    self.i += 1;
                    self.space();
                    let object = open == b'{';
                    if self.peek() == Some(if object { b'}' } else { b']' }) {
                        self.i += 1;
                    } else {
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
            // Here a value has ended: the next one follows, or the object or array around it ends, too.
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

    /// Skips by another walk a value that is nested too deeply for this one.
    #[cold]
    fn deeper(&mut self) -> Walked {
        self.walks += 1;
        if self.walks == MAX_WALKS {
            return self.fail();
        }
        self.nested()?;
        self.walks -= 1;
        Ok(())
    }

    #[inline]
    fn key(&mut self) -> Walked {
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
