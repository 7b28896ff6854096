//! RFC 6455 after the handshake, from the client's side: bytes ⇄ messages, without a socket.
//!
//! tungstenite reads and writes the frame headers; the rest is here, because this is the data path:
//! messages are taken straight out of the read buffer and encoded straight into the write buffer,
//! UTF-8 is checked by `simdutf8`, and a connection that is idle holds no buffers at all.
//!
//! [`Incoming`] takes bytes and gives events, [`Outgoing`] takes messages and holds bytes. A message
//! above the size limit is not kept, and does not end the connection either: it is skipped, and its first and
//! last bytes are handed on so that its id can be answered.
//!
//! A read may hold a thousand messages, and whoever takes them may have room for the answer to one. So each event is
//! answered with whether to go on; if not, the rest of the read is kept, and taken up by [`Incoming::resume`].

use std::io::Cursor;
use std::ops::{ControlFlow, Range};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

use crate::frame::Cut;

/// Largest buffer that is kept once it is empty, in bytes.
const KEEP: usize = 64 * 1024;

/// Longest message that is skipped, in bytes. The connection is closed with 1009 over a longer one.
const SKIP_LIMIT: u64 = 1 << 30;

/// Longest payload of a control frame, in bytes (RFC 6455 section 5.5).
const CONTROL_MAX: u64 = 125;

/// Most bytes of pongs that may wait to be written. A peer that pings on and doesn't read gets only the latest of further
/// pongs, which RFC 6455 section 5.5.3 allows; the pings of a whole read are answered one by one.
const PONGS: usize = 64 * 1024;

/// What the peer sent. Borrowed data is valid during the callback only.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A whole message, text or binary; valid UTF-8.
    Message(&'a str),
    /// A binary message that is not UTF-8. Unlike a text message like that, it is no breach of RFC 6455.
    NotText(&'a [u8]),
    /// A message above the limit, already dropped but for its ends.
    TooLarge(Cut<'a>),
    /// A ping, to be answered with a pong of the same payload.
    Ping(&'a [u8]),
    /// A pong: proof of life.
    Pong,
    /// The closing handshake (RFC 6455 section 5.5.1); nothing follows.
    Close {
        /// Absent in an empty close frame.
        code: Option<u16>,
        /// Untrusted text of the peer.
        reason: &'a str,
    },
}

/// The peer broke the protocol: what to close with (RFC 6455 section 7.4.1) and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Violation {
    /// The close code to answer with.
    pub code: u16,
    /// What the peer did, for the log.
    pub why: &'static str,
}

const fn protocol(why: &'static str) -> Violation {
    Violation { code: 1002, why }
}

/// A message of several frames, or one that is being skipped.
#[derive(Debug)]
enum Assembly {
    None,
    /// Fragments so far (RFC 6455 section 5.4), of a text message or a binary one.
    Fragments {
        data: Vec<u8>,
        text: bool,
    },
    /// A message that is too large: its ends are kept, the rest is counted.
    Skipping(crate::frame::Ends),
}

/// Takes an event, and says whether to go on with the next one.
pub type OnEvent<'a> = dyn FnMut(Event<'_>) -> ControlFlow<()> + 'a;

/// Bytes of the peer in, events out.
#[derive(Debug)]
pub struct Incoming {
    /// The largest message in bytes.
    max: usize,
    /// A frame that has not wholly arrived, from its header on. Empty between frames.
    part: Vec<u8>,
    /// How long the frame in `part` will be when it is whole, in bytes; 0 while the frame's header is not.
    want: usize,
    assembly: Assembly,
    /// Payload bytes of the frame under way that are still to be skipped, and whether it is the message's last.
    skip: Option<(u64, bool)>,
    /// What is left of a read, because a stop was asked for, and how many bytes of that are taken already. Never more than
    /// one read.
    rest: Vec<u8>,
    taken: usize,
}

impl Incoming {
    /// For a new connection. Messages of more than `max` bytes are skipped.
    pub fn new(max: usize) -> Self {
        let (part, rest) = (Vec::new(), Vec::new());
        Incoming { max, part, want: 0, assembly: Assembly::None, skip: None, rest, taken: 0 }
    }

    /// Where the next bytes are best read to, if a large frame is under way: (buffer, how many at most).
    /// Grows as bytes arrive, not as the header promises. Call [`Incoming::filled`] afterwards.
    pub fn spare(&mut self) -> Option<(&mut Vec<u8>, usize)> {
        let missing = self.want.saturating_sub(self.part.len());
        if missing < KEEP / 2 {
            return None;
        }
        let room = missing.min(self.part.len().max(KEEP));
        if self.part.capacity() - self.part.len() < room.min(KEEP) {
            self.part.reserve_exact(room);
        }
        let room = missing.min(self.part.capacity() - self.part.len());
        Some((&mut self.part, room))
    }

    /// Looks at bytes that were read into [`Incoming::spare`], as [`Incoming::feed`] does.
    ///
    /// # Errors
    /// As [`Incoming::feed`].
    pub fn filled(&mut self, on: &mut OnEvent<'_>) -> Result<ControlFlow<()>, Violation> {
        if self.want > 0 && self.part.len() == self.want {
            let part = std::mem::take(&mut self.part);
            self.want = 0;
            // The buffer held one frame, so nothing of it is left over.
            return Ok(self.frames(&part, on)?.map_break(|_| ()));
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Takes bytes as they arrived, up to the first event after which `on` doesn't go on: then nothing is to be read before
    /// [`Incoming::resume`] has taken the rest.
    ///
    /// # Errors
    /// The peer broke RFC 6455. Nothing may be fed afterwards.
    pub fn feed(&mut self, bytes: &[u8], on: &mut OnEvent<'_>) -> Result<ControlFlow<()>, Violation> {
        let taken = self.take_bytes(bytes, on)?;
        if let ControlFlow::Break(taken) = taken {
            self.rest.extend_from_slice(&bytes[taken..]);
        }
        Ok(taken.map_break(|_| ()))
    }

    /// Goes on with what is left of an earlier read. Nothing is left then, unless `on` stops again.
    ///
    /// # Errors
    /// As [`Incoming::feed`].
    pub fn resume(&mut self, on: &mut OnEvent<'_>) -> Result<ControlFlow<()>, Violation> {
        if self.rest.is_empty() {
            return Ok(ControlFlow::Continue(()));
        }
        let rest = std::mem::take(&mut self.rest);
        let from = std::mem::take(&mut self.taken);
        let taken = self.take_bytes(&rest[from..], on)?;
        if let ControlFlow::Break(taken) = taken
            && from + taken < rest.len()
        {
            (self.rest, self.taken) = (rest, from + taken);
        }
        Ok(taken.map_break(|_| ()))
    }

    /// Takes bytes. If `on` stops, returns how many were taken.
    fn take_bytes(&mut self, bytes: &[u8], on: &mut OnEvent<'_>) -> Result<ControlFlow<usize>, Violation> {
        let mut at = 0;
        while !self.part.is_empty() && at < bytes.len() {
            // Complete the header first, then the frame.
            let target = if self.want > 0 { self.want } else { self.part.len() + 1 };
            let n = (target - self.part.len()).min(bytes.len() - at);
            self.part.extend_from_slice(&bytes[at..at + n]);
            at += n;
            let flow = if self.want > 0 {
                self.filled(on)?
            } else {
                let part = std::mem::take(&mut self.part);
                self.frames(&part, on)?.map_break(|_| ())
            };
            if flow.is_break() {
                return Ok(ControlFlow::Break(at));
            }
        }
        if at == bytes.len() {
            return Ok(ControlFlow::Continue(()));
        }
        Ok(self.frames(&bytes[at..], on)?.map_break(|taken| at + taken))
    }

    /// Handles all whole frames at the start of `bytes` and keeps the rest. If `on` stops, returns how many bytes were
    /// taken.
    fn frames(&mut self, bytes: &[u8], on: &mut OnEvent<'_>) -> Result<ControlFlow<usize>, Violation> {
        let mut at = 0;
        loop {
            if let Some((left, last)) = self.skip {
                let n = usize::try_from(left).map_or(bytes.len() - at, |left| left.min(bytes.len() - at));
                if let Assembly::Skipping(ends) = &mut self.assembly {
                    ends.push(&bytes[at..at + n]);
                }
                at += n;
                let left = left - n as u64;
                if left > 0 {
                    self.skip = Some((left, last));
                    return Ok(ControlFlow::Continue(()));
                }
                self.skip = None;
                if last && self.skipped(on).is_break() {
                    return Ok(ControlFlow::Break(at));
                }
            }
            if at == bytes.len() {
                return Ok(ControlFlow::Continue(()));
            }
            let mut cursor = Cursor::new(&bytes[at..]);
            let header = FrameHeader::parse(&mut cursor).map_err(|_| protocol("unreadable frame header"))?;
            let Some((header, len)) = header else {
                self.part.extend_from_slice(&bytes[at..]);
                return Ok(ControlFlow::Continue(()));
            };
            let start = at + cursor.position() as usize;
            if self.check(&header, len)? {
                self.skip = Some((len, header.is_final));
                at = start;
                continue;
            }
            // `check` has bounded the length by `max`.
            let len = len as usize;
            if bytes.len() - start < len {
                self.part.extend_from_slice(&bytes[at..]);
                self.want = start - at + len;
                return Ok(ControlFlow::Continue(()));
            }
            let flow = self.frame(&header, &bytes[start..start + len], on)?;
            at = start + len;
            if flow.is_break() {
                return Ok(ControlFlow::Break(at));
            }
        }
    }

    /// Whether a frame may come now, and whether its payload is to be skipped.
    fn check(&mut self, h: &FrameHeader, len: u64) -> Result<bool, Violation> {
        if h.rsv1 || h.rsv2 || h.rsv3 {
            return Err(protocol("a reserved bit is set"));
        }
        if h.mask.is_some() {
            return Err(protocol("the server masked a frame"));
        }
        match h.opcode {
            OpCode::Control(Control::Reserved(_)) | OpCode::Data(Data::Reserved(_)) => {
                return Err(protocol("a reserved opcode"));
            }
            OpCode::Control(Control::Close | Control::Ping | Control::Pong) => {
                if len > CONTROL_MAX || !h.is_final {
                    return Err(protocol("a control frame that is fragmented or too long"));
                }
                return Ok(false);
            }
            OpCode::Data(Data::Continue) if matches!(self.assembly, Assembly::None) => {
                return Err(protocol("a continuation of nothing"));
            }
            OpCode::Data(Data::Text | Data::Binary) if !matches!(self.assembly, Assembly::None) => {
                return Err(protocol("a new message inside a fragmented one"));
            }
            OpCode::Data(Data::Continue | Data::Text | Data::Binary) => {}
        }
        let before = match &self.assembly {
            Assembly::None => 0,
            Assembly::Fragments { data, .. } => data.len() as u64,
            Assembly::Skipping(ends) => ends.size(),
        };
        let total = before.saturating_add(len);
        if total > SKIP_LIMIT {
            return Err(Violation { code: 1009, why: "a message of more than 1 GiB" });
        }
        if let Assembly::Skipping(_) = self.assembly {
            return Ok(true);
        }
        if total > self.max as u64 {
            let mut ends = crate::frame::Ends::default();
            if let Assembly::Fragments { data, .. } = &self.assembly {
                ends.push(data);
            }
            self.assembly = Assembly::Skipping(ends);
            return Ok(true);
        }
        Ok(false)
    }

    fn skipped(&mut self, on: &mut OnEvent<'_>) -> ControlFlow<()> {
        match std::mem::replace(&mut self.assembly, Assembly::None) {
            Assembly::Skipping(ends) => on(Event::TooLarge(ends.cut())),
            Assembly::None | Assembly::Fragments { .. } => ControlFlow::Continue(()),
        }
    }

    fn frame(&mut self, h: &FrameHeader, payload: &[u8], on: &mut OnEvent<'_>) -> Result<ControlFlow<()>, Violation> {
        match h.opcode {
            OpCode::Control(Control::Ping) => return Ok(on(Event::Ping(payload))),
            OpCode::Control(Control::Pong) => return Ok(on(Event::Pong)),
            OpCode::Control(Control::Close) => return close(payload, on),
            OpCode::Control(Control::Reserved(_)) | OpCode::Data(Data::Reserved(_)) => {}
            OpCode::Data(Data::Text | Data::Binary | Data::Continue) => {
                let text = h.opcode != OpCode::Data(Data::Binary);
                match (&mut self.assembly, h.is_final) {
                    (Assembly::None, true) => return message(payload, text, on),
                    (Assembly::None, false) => self.assembly = Assembly::Fragments { data: payload.to_vec(), text },
                    (Assembly::Fragments { data, text }, last) => {
                        data.extend_from_slice(payload);
                        if last {
                            let (data, text) = (std::mem::take(data), *text);
                            self.assembly = Assembly::None;
                            return message(&data, text, on);
                        }
                    }
                    (Assembly::Skipping(_), _) => {} // `check` sent its frames to `skip`
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Hands out a whole message. `text`: the peer sent it as text (RFC 6455 section 5.6).
fn message(payload: &[u8], text: bool, on: &mut OnEvent<'_>) -> Result<ControlFlow<()>, Violation> {
    match simdutf8::basic::from_utf8(payload) {
        Ok(text) => Ok(on(Event::Message(text))),
        Err(_) if text => Err(Violation { code: 1007, why: "a text message that is not UTF-8" }),
        Err(_) => Ok(on(Event::NotText(payload))),
    }
}

fn close(payload: &[u8], on: &mut OnEvent<'_>) -> Result<ControlFlow<()>, Violation> {
    let (code, reason) = match payload {
        [] => (None, &[][..]),
        [_] => return Err(protocol("a close frame of one byte")),
        [a, b, reason @ ..] => (Some(u16::from_be_bytes([*a, *b])), reason),
    };
    if code.is_some_and(|c| !CloseCode::from(c).is_allowed()) {
        return Err(protocol("a close code that must not be sent"));
    }
    let reason = simdutf8::basic::from_utf8(reason)
        .map_err(|_| Violation { code: 1007, why: "a close reason that is not UTF-8" })?;
    Ok(on(Event::Close { code, reason }))
}

/// Messages in, bytes for the socket out.
#[derive(Debug)]
pub struct Outgoing {
    buf: Vec<u8>,
    /// How many bytes of `buf` the socket has taken.
    at: usize,
    /// How messages are written: as frames of a client, whose masking keys must not be predictable by who chooses the payload (RFC
    /// 6455 section 10.3); or one a line (`None`), for a peer that is reached without WebSocket and told nothing but messages.
    keys: Option<Box<StdRng>>,
    /// A close frame was queued: RFC 6455 section 5.5.1 allows nothing behind it.
    closed: bool,
    /// Where in `buf` the last pong is, unless that has been written.
    pong: Option<Range<usize>>,
    /// Bytes of pongs that were added since the last one was written out.
    pongs: usize,
}

impl Default for Outgoing {
    fn default() -> Self {
        Outgoing::of(Some(Box::new(StdRng::from_rng(&mut rand::rng()))))
    }
}

impl Outgoing {
    /// For a peer that is reached without WebSocket, by messages of a line each.
    pub fn lines() -> Self {
        Outgoing::of(None)
    }

    fn of(keys: Option<Box<StdRng>>) -> Self {
        Outgoing { buf: Vec::new(), at: 0, keys, closed: false, pong: None, pongs: 0 }
    }

    /// One text message, given in pieces.
    pub fn text(&mut self, pieces: &[&[u8]]) {
        self.frame(OpCode::Data(Data::Text), pieces);
    }

    /// Asks the peer for a sign of life.
    pub fn ping(&mut self) {
        self.frame(OpCode::Control(Control::Ping), &[]);
    }

    /// Answers a ping. Where pongs pile up unwritten, the new pong replaces the last one, so a flood of pings costs nothing.
    pub fn pong(&mut self, payload: &[u8]) {
        if self.pongs >= PONGS
            && let Some(last) = self.pong.take()
            && last.start >= self.at
            && last.end == self.buf.len()
        {
            self.buf.truncate(last.start);
            self.pongs -= last.len();
        }
        let start = self.buf.len();
        self.frame(OpCode::Control(Control::Pong), &[payload]);
        let pong = start..self.buf.len();
        self.pongs += pong.len();
        self.pong = Some(pong);
    }

    /// Begins or answers the closing handshake; what is added afterwards is dropped.
    pub fn close(&mut self, code: u16, reason: &str) {
        let reason = &reason.as_bytes()[..reason.floor_char_boundary(CONTROL_MAX as usize - 2)];
        self.frame(OpCode::Control(Control::Close), &[&code.to_be_bytes(), reason]);
        self.closed = true;
    }

    /// The bytes that wait for the socket.
    pub fn pending(&self) -> &[u8] {
        &self.buf[self.at..]
    }

    /// The socket took `n` bytes.
    pub fn advance(&mut self, n: usize) {
        self.at += n;
        if self.at == self.buf.len() {
            return self.emptied();
        }
        if self.pong.take_if(|pong| pong.end <= self.at).is_some() {
            self.pongs = 0;
        }
        if self.at >= KEEP && self.at >= self.buf.len() / 2 {
            // A slow socket: don't let what was sent pile up in front of what wasn't.
            self.buf.drain(..self.at);
            // Nothing can be taken back of a pong that is partly sent.
            let at = std::mem::take(&mut self.at);
            self.pong = self.pong.take().filter(|pong| pong.start >= at).map(|pong| pong.start - at..pong.end - at);
        }
    }

    /// Drops what was not sent, as its connection is gone, and begins anew.
    pub fn clear(&mut self) {
        self.emptied();
        self.closed = false;
    }

    fn emptied(&mut self) {
        self.buf.clear();
        // Of peers that came by themselves there may be a thousand, and most are idle.
        if self.buf.capacity() > KEEP || self.keys.is_none() {
            self.buf = Vec::new();
        }
        self.at = 0;
        (self.pong, self.pongs) = (None, 0);
    }

    fn frame(&mut self, opcode: OpCode, pieces: &[&[u8]]) {
        if self.closed {
            return;
        }
        let len: usize = pieces.iter().map(|p| p.len()).sum();
        self.buf.reserve(len + 14);
        let Some(keys) = &mut self.keys else {
            if let OpCode::Data(_) = opcode {
                pieces.iter().for_each(|piece| self.buf.extend_from_slice(piece));
                self.buf.push(b'\n');
            }
            return;
        };
        let key = keys.next_u32().to_ne_bytes();
        let header = FrameHeader { opcode, mask: Some(key), is_final: true, rsv1: false, rsv2: false, rsv3: false };
        // Writing to a Vec does not fail.
        let _infallible = header.format(len as u64, &mut self.buf);
        let from = self.buf.len();
        for p in pieces {
            self.buf.extend_from_slice(p);
        }
        mask(&mut self.buf[from..], key);
    }
}

/// Masks a payload (RFC 6455 section 5.3). Written so that it compiles to vector instructions.
fn mask(data: &mut [u8], key: [u8; 4]) {
    let (words, rest) = data.as_chunks_mut::<4>();
    for w in words {
        *w = (u32::from_ne_bytes(*w) ^ u32::from_ne_bytes(key)).to_ne_bytes();
    }
    for (b, k) in rest.iter_mut().zip(key) {
        *b ^= k;
    }
}

#[cfg(test)]
mod tests;
