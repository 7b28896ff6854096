//! The search for messages in what has come.

use std::borrow::Cow;
use std::ops::Range;

use memchr::{memchr, memchr2, memmem};
use tokio::time::Instant;

use super::walk::{Walk, WalkResult, on_one_line};
use super::{Candidate, Salvage, named};
use crate::frame::Ends;
use crate::mcp::envelope::{self, Envelope, Kind, Lost, NotMessage, Scanned};
use crate::server::stdout::found::{Found, Habit, On};
use crate::server::stdout::line::{hand_on, is_nameless, lost};

/// Most broken objects and arrays, one inside the other, that are looked into.
const MAX_INSIDE: u32 = 3;

/// Longest number that is taken for an id, in bytes: ours have twenty digits at most.
const MAX_NUMBER: usize = 32;

/// A text that is searched.
struct TextLook<'a> {
    text: &'a [u8],
    now: Instant,
    on: On<'a>,
    /// Where the latest part of the line under way begins.
    line: usize,
    /// Up to here the whole text has been reported.
    told: usize,
    /// Up to here it has been read what is named by text that is neither whole nor begins like a message.
    read: usize,
}

/// Something broken that is looked into.
#[derive(Clone, Copy)]
struct Inside {
    /// A message was meant, so that nothing in it is a message of the stream.
    is_meant: bool,
    /// How many broken objects and arrays this one is inside of.
    depth: u32,
}

impl Candidate {
    /// Walks on to the end of `text`, which begins with the candidate; over an odd id as well, since only what follows
    /// shows what else is lost with it.
    fn go(&mut self, text: &[u8]) -> WalkResult {
        let step = self.walk.go(&text[self.walk.at()..]);
        if let (WalkResult::Broken(_), None) = (&step, &self.odd_id)
            && let Some(id) = odd_id(text, &self.walk)
        {
            self.walk.pass_value(id.end);
            self.odd_id = Some(id);
            return self.walk.go(&text[self.walk.at()..]);
        }
        step
    }
}

impl Salvage {
    /// Looks for messages in a text whose latest part begins at `line`, and returns from where on there may be a message
    /// that has not ended. `line: None`: nothing has come, and nothing more is waited for.
    pub(super) fn search(&mut self, text: &[u8], line: Option<usize>, now: Instant, on: On<'_>) -> usize {
        let mut look = TextLook { text, now, on, line: line.unwrap_or(text.len()), told: 0, read: 0 };
        let (mut from, mut start) = (0, 0);
        let kept = loop {
            let mut candidate = match self.candidate.take() {
                Some(candidate) => candidate,
                None => {
                    let Some(n) = memchr2(b'{', b'[', &text[from..]) else { break text.len() };
                    start = from + n;
                    // What stood before on an earlier part of the line is not known any more.
                    let before = text.get(look.told.max(look.line)..start);
                    let is_prefixed = self.line.text || before.is_none_or(|before| !is_blank(before));
                    Candidate { walk: Walk::new(), is_prefixed, odd_id: None, cut: None }
                }
            };
            from = match candidate.go(&text[start..]) {
                WalkResult::More if line.is_some() => {
                    self.candidate = Some(candidate);
                    break start;
                }
                WalkResult::More => self.on_broken(start..text.len(), &candidate, NotMessage::Unfinished, &mut look),
                WalkResult::Broken(len) => {
                    let notation = named::notation_at(&text[start..], len);
                    let why = notation.map_or(NotMessage::Json(len), NotMessage::Notation);
                    self.on_broken(start..start + len, &candidate, why, &mut look)
                }
                WalkResult::Done(len) if candidate.odd_id.is_some() => {
                    self.on_broken(start..start + len, &candidate, NotMessage::Json(len), &mut look)
                }
                WalkResult::Done(len) => {
                    self.on_whole(start..start + len, candidate.is_prefixed, &mut look);
                    start + len
                }
            };
        };
        self.report_noise(kept, &mut look);
        kept
    }

    /// An object or array has ended.
    fn on_whole(&mut self, range: Range<usize>, is_prefixed: bool, look: &mut TextLook<'_>) {
        let raw = &look.text[range.clone()];
        let frame = readable(raw);
        match envelope::scan(&frame) {
            _ if raw.len() > self.max && names_json_rpc(raw) => {
                self.report_noise(range.start, look);
                (look.on)(Found::TooLarge(Ends::of(raw).cut()));
                look.mark_reported(range.end);
            }
            Ok(Scanned::One(e)) if !e.jsonrpc => {
                // Alone on its line this would be an answer. Behind text it is a log's, which may well have such members.
                if let (false, Some(id), None, true) = (is_prefixed, e.id, &e.method, e.error || e.result.is_some()) {
                    self.doubts.add(&frame[id], NotMessage::Other, look.now, look.on);
                }
            }
            Ok(Scanned::One(_)) => {
                self.on_messages(&frame, std::slice::from_ref(&(0..frame.len())), range.clone(), is_prefixed, look)
            }
            Ok(Scanned::Batch(members)) => self.on_messages(&frame, &members, range.clone(), is_prefixed, look),
            Err(why) => self.report_all_lost(&lost(&frame, why), range.clone(), is_prefixed, look),
        }
        self.read_rest(range.start, look);
        look.read = look.read.max(range.end);
    }

    /// Hands on objects that stand together, as the members of a batch do.
    fn on_messages(
        &mut self,
        frame: &[u8],
        members: &[Range<usize>],
        range: Range<usize>,
        is_prefixed: bool,
        look: &mut TextLook<'_>,
    ) {
        let scanned = members.iter().filter_map(|m| Some((&frame[m.clone()], envelope::scan_one(&frame[m.clone()])?)));
        let is_message = |frame: &[u8], e: &Envelope| {
            e.jsonrpc && e.kind(frame) != Kind::Other && !(is_prefixed && is_echo(frame, e))
        };
        let (messages, others): (Vec<_>, Vec<_>) = scanned.partition(|(frame, e)| is_message(frame, e));
        if !messages.is_empty() {
            self.report_noise(range.start, look);
            look.mark_reported(range.end);
            self.note_habits(range.clone(), look);
        }
        for (frame, e) in &messages {
            hand_on(frame, e, look.on);
        }
        for (frame, e) in others {
            if e.jsonrpc && !is_prefixed && is_nameless(frame, &e) {
                self.report_noise(range.start, look);
                (look.on)(Found::Nameless(frame));
                look.mark_reported(range.end);
            } else if e.jsonrpc {
                self.report_all_lost(&lost(frame, NotMessage::Other), range.clone(), is_prefixed, look);
            } else if !messages.is_empty() {
                (look.on)(Found::Noise(frame));
            }
        }
    }

    /// What began like JSON is none. Returns where the search goes on.
    fn on_broken(
        &mut self,
        range: Range<usize>,
        candidate: &Candidate,
        why: NotMessage,
        look: &mut TextLook<'_>,
    ) -> usize {
        let raw = &look.text[range.clone()];
        let part = &*scannable(raw, candidate.odd_id.as_ref());
        let end = range.start + candidate.walk.unsure_from().max(1);
        let e = if part.starts_with(b"{") { envelope::scan_broken(part) } else { Envelope::default() };
        let id = match &candidate.odd_id {
            Some(odd) => (e.jsonrpc && e.method.is_none()).then(|| odd.clone()),
            None => whole_id(part, &e),
        };
        let answers = || [&b"\"result\""[..], b"\"error\""].iter().any(|key| memmem::find(part, key).is_some());
        let is_meant = e.jsonrpc || !candidate.is_prefixed && e.method.is_none() && id.is_some() && answers();
        if is_meant {
            self.read_rest(range.start, look);
        }
        self.look_inside(range.start..end, &candidate.walk, Inside { is_meant, depth: 0 }, look);
        // Where the text broke off another message may have come, in the place of a value, and have broken off as well; and so
        // may any number of them, each inside the one before. Each is read only up to the next, so that all cost no more than one.
        for inner in candidate.walk.open_objects().map(|inner| &part[inner]) {
            let e = envelope::scan_broken(inner);
            if let (true, None, Some(id)) = (e.jsonrpc, &e.method, whole_id(inner, &e)) {
                self.doubts.add(&inner[id], why, look.now, look.on);
            }
        }
        if is_meant {
            match id {
                Some(id) => {
                    let lost = Lost { id: &raw[id], method: e.method.is_some(), why };
                    self.report_lost(lost, range.start..end, candidate.is_prefixed || !e.jsonrpc, look);
                }
                // All that was there has been seen.
                None if candidate.odd_id.is_some() => {}
                None => self.doubts.expect_rest(!candidate.is_prefixed && e.jsonrpc, look.now),
            }
            look.read = look.read.max(end);
        }
        end
    }

    /// Looks at what is whole inside something broken, of which the walk is given.
    fn look_inside(&mut self, range: Range<usize>, broken: &Walk, inside: Inside, look: &mut TextLook<'_>) {
        let mut at = range.start + 1;
        while let Some(n) = look.text.get(at..range.end).and_then(|rest| memchr2(b'{', b'[', rest)) {
            at += n;
            let mut walk = Walk::new();
            // What was open where the text broke is broken as well.
            if broken.is_open(at - range.start) {
                at += 1;
            } else if let WalkResult::Done(len) = walk.go(&look.text[at..range.end]) {
                let whole = at..at + len;
                at = whole.end;
                if inside.is_meant {
                    self.doubt_answers(whole, look);
                } else {
                    self.on_whole(whole, true, look);
                }
            } else {
                let end = at + walk.unsure_from().max(1);
                if inside.depth < MAX_INSIDE {
                    self.look_inside(at..end, &walk, Inside { depth: inside.depth + 1, ..inside }, look);
                }
                at = end;
            }
        }
    }

    /// Each answer in something whole may be lost.
    fn doubt_answers(&mut self, range: Range<usize>, look: &mut TextLook<'_>) {
        let frame = readable(&look.text[range]);
        let members = match envelope::scan(&frame) {
            Ok(Scanned::One(_)) => vec![&*frame],
            Ok(Scanned::Batch(members)) => members.into_iter().map(|member| &frame[member]).collect(),
            Err(_) => return,
        };
        for frame in members {
            if let Some(Envelope { id: Some(id), jsonrpc: true, method: None, .. }) = envelope::scan_one(frame) {
                self.doubts.add(&frame[id], NotMessage::Unfinished, look.now, look.on);
            }
        }
    }

    /// Reports each message that something may have been meant as.
    fn report_all_lost(&mut self, lost: &[Lost<'_>], range: Range<usize>, is_prefixed: bool, look: &mut TextLook<'_>) {
        for (n, lost) in lost.iter().enumerate() {
            // The text is reported once.
            let range = if n == 0 { range.clone() } else { range.end..range.end };
            self.report_lost(*lost, range, is_prefixed, look);
        }
    }

    /// A message that was meant is lost, and `range` is its text.
    fn report_lost(&mut self, lost: Lost<'_>, range: Range<usize>, is_prefixed: bool, look: &mut TextLook<'_>) {
        if !is_prefixed {
            self.report_noise(range.start, look);
            (look.on)(Found::Lost(lost, &look.text[range.clone()]));
            look.mark_reported(range.end);
        } else if !lost.method {
            self.doubts.add(lost.id, lost.why, look.now, look.on);
        }
    }

    /// Reads what the text up to `end` names.
    fn read_rest(&mut self, end: usize, look: &mut TextLook<'_>) {
        if look.read < end {
            self.doubts.read(&look.text[look.read..end], look.now, look.on);
            look.read = end;
        }
    }

    /// Reports the text up to `end` as what it is: no message.
    fn report_noise(&mut self, end: usize, look: &mut TextLook<'_>) {
        self.read_rest(end, look);
        if look.told >= end {
            return;
        }
        let noise = &look.text[look.told..end];
        look.told = end;
        for line in noise.split(|byte| *byte == b'\n').filter(|line| !is_blank(line)) {
            if named::is_header(line) {
                self.loose = true;
                (look.on)(Found::Habit(Habit::Framed));
            } else {
                self.line.text |= end > look.line;
                (look.on)(Found::Noise(line));
            }
        }
    }

    /// Reports how a message was written, where that is not MCP's way.
    fn note_habits(&mut self, range: Range<usize>, look: &mut TextLook<'_>) {
        if memchr(b'\n', &look.text[range]).is_some() {
            (look.on)(Found::Habit(Habit::Spread));
        }
        if self.line.message && !self.line.early {
            (look.on)(Found::Habit(Habit::Crowded));
        }
        self.line.message = true;
        self.line.early = self.line.begun;
    }
}

impl TextLook<'_> {
    /// The text up to `end` has been reported as something else than noise.
    fn mark_reported(&mut self, end: usize) {
        self.told = self.told.max(end);
        self.read = self.read.max(end);
    }
}

/// Whether a message amid other text is one that only clients send: a server has logged what it got.
fn is_echo(frame: &[u8], e: &Envelope) -> bool {
    const CLIENTS: [&str; 9] = [
        "initialize",
        "tools/",
        "prompts/",
        "resources/",
        "completion/",
        "logging/",
        "server/",
        "notifications/initialized",
        "notifications/roots/",
    ];
    let method = e.method.clone().map_or(&b""[..], |method| &frame[method]);
    CLIENTS.iter().any(|client| method.starts_with(client.as_bytes()))
}

/// The id of a broken message, unless the id itself may have been cut short. Where each member has a line, the line's end
/// shows that this one wasn't.
fn whole_id(part: &[u8], e: &Envelope) -> Option<Range<usize>> {
    let ends = |id: &Range<usize>| match part[id.end..].trim_ascii_start().first() {
        Some(b',' | b'}') => true,
        Some(_) | None => part[id.end..].starts_with(b"\n") && memchr(b'\n', &part[..id.start]).is_some(),
    };
    e.id.clone().filter(|id| &part[id.clone()] != b"null" && ends(id))
}

/// The id with which a text stops being JSON, because the id is a number that is none of JSON's, such as `06` or `+6`. `text`
/// begins with the object that has this id.
fn odd_id(text: &[u8], walk: &Walk) -> Option<Range<usize>> {
    if walk.depth() != 1 || !text.starts_with(b"{") {
        return None;
    }
    let before = text[..walk.unsure_from()].trim_ascii_end();
    before.strip_suffix(b":")?.trim_ascii_end().strip_suffix(b"\"id\"")?;
    let value = text[walk.unsure_from()..].trim_ascii_start();
    let len = value.iter().take(MAX_NUMBER).position(|byte| !byte.is_ascii_alphanumeric() && !b"+-.".contains(byte))?;
    let start = text.len() - value.len();
    let ends = matches!(value[len..].trim_ascii_start().first(), Some(b',' | b'}'));
    (len > 0 && ends).then_some(start..start + len)
}

fn names_json_rpc(text: &[u8]) -> bool {
    memmem::find(text, b"\"jsonrpc\"").is_some()
}

/// A value as one line of UTF-8, as it would stand alone on its line.
fn readable(raw: &[u8]) -> Cow<'_, [u8]> {
    let line = if memchr2(0, 0x1b, raw).is_some() {
        on_one_line(raw).into()
    } else if memchr2(b'\n', b'\r', raw).is_some() {
        envelope::single_line(raw).unwrap_or_else(|_| on_one_line(raw)).into()
    } else {
        Cow::Borrowed(raw)
    };
    match simdutf8::basic::from_utf8(&line) {
        Ok(_) => line,
        Err(_) => String::from_utf8_lossy(&line).into_owned().into_bytes().into(),
    }
}

/// A broken text as the scan of an envelope can follow it, byte for byte: without colours and NUL bytes between tokens, and
/// with a number in the place of an odd id.
fn scannable<'t>(raw: &'t [u8], odd_id: Option<&Range<usize>>) -> Cow<'t, [u8]> {
    let mut text = Cow::Borrowed(raw);
    if let Some(id) = odd_id {
        let id = &mut text.to_mut()[id.clone()];
        id.fill(b' ');
        id[..1].fill(b'0');
    }
    if memchr2(0, 0x1b, &text).is_some() { on_one_line(&text).into() } else { text }
}

/// Whether there is nothing to be seen in a text. Looks no further than needed, as long texts are asked about again and
/// again.
pub(super) fn is_blank(mut text: &[u8]) -> bool {
    let is_blank = |c: char| c.is_whitespace() || c.is_control() || c == '\u{feff}';
    while !text.is_empty() {
        let next = text[..text.len().min(4)].utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next());
        let Some(c) = next.filter(|c| is_blank(*c)) else { return false };
        text = &text[c.len_utf8()..];
    }
    true
}
