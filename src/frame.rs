//! One frame a line: the codec between a stream of bytes and JSON-RPC messages.
//!
//! [`LineOut`] gathers what a server is to read, [`LineIn`] splits what the server writes. Neither looks at the JSON.
//! Complete lines are handed on straight from the chunk they arrived in; only a line that has not ended yet is copied, and
//! memory stays bounded whatever the other side writes. A line that is too long for a message and begins like none is handed
//! on in parts: a message may stand behind a progress bar that has filled megabytes.
//!
//! A read may hold a thousand lines, and whoever takes them may have room for one. So each line is answered with whether to
//! go on; if not, the rest of the read is kept, and taken up by [`LineIn::resume`].

use std::mem;
use std::ops::ControlFlow;

use memchr::memchr;

/// Largest buffer that is kept once it is empty, in bytes: one huge message must not cost memory for ever.
const KEEP: usize = 64 * 1024;
/// Shortest unfinished line that is read straight into its own buffer, in bytes.
const LARGE: usize = 8 * 1024;
/// Least room that the buffer of such a line offers to each read, in bytes: as much as a pipe holds.
const READ: usize = 64 * 1024;
/// Most bytes that are kept of each end of a line that is too long: an id sits near the start or the end of a message.
const ENDS: usize = 4 * 1024;

/// Lines that wait for a server's stdin. Their number is not bounded here: who pushes stops while [`LineOut::len`] is high.
#[derive(Debug, Default)]
pub struct LineOut {
    buf: Vec<u8>,
    done: usize,
}

impl LineOut {
    /// No line waits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends one message, given in pieces that hold no line break, and ends its line.
    pub fn push(&mut self, pieces: &[&[u8]]) {
        // What is unwritten is moved to the front only where that is the smaller part.
        if self.done > self.buf.len() / 2 {
            self.buf.drain(..self.done);
            self.done = 0;
        }
        self.buf.reserve(pieces.iter().map(|piece| piece.len()).sum::<usize>() + 1);
        for piece in pieces {
            self.buf.extend_from_slice(piece);
        }
        self.buf.push(b'\n');
    }

    /// What is still to be written.
    pub fn pending(&self) -> &[u8] {
        &self.buf[self.done..]
    }

    /// The first `n` bytes of [`LineOut::pending`] have been written.
    pub fn advance(&mut self, n: usize) {
        self.done += n;
        debug_assert!(self.done <= self.buf.len(), "more was written than waited");
        if self.done >= self.buf.len() {
            self.clear();
        }
    }

    /// How many bytes wait.
    pub fn len(&self) -> usize {
        self.buf.len() - self.done
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops what waits: the process that was to read it is gone.
    pub fn clear(&mut self) {
        self.done = 0;
        self.buf.clear();
        if self.buf.capacity() > KEEP {
            self.buf = Vec::new();
        }
    }
}

/// What [`LineIn`] found: valid UTF-8, not blank, without its line end and without a byte order mark.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// A line as it was written.
    Frame(&'a [u8]),
    /// A line that was not UTF-8; each bad sequence is now U+FFFD, so that an answer is not lost over one byte.
    Repaired(&'a [u8]),
    /// A line over the limit that began like a message, discarded.
    TooLarge(Cut<'a>),
    /// A part of a line, as it was written: perhaps no UTF-8, perhaps blank. `ends`: the line ends behind it.
    Part {
        /// Without the line end.
        text: &'a [u8],
        /// Whether this is the last part of the line.
        ends: bool,
    },
}

/// What is left of a message that was too large to keep: enough to find its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut<'a> {
    /// The message's length in bytes.
    pub size: u64,
    /// The message's first 4 KiB; may end inside a character.
    pub head: &'a [u8],
    /// The message's last 4 KiB; may begin inside a character.
    pub tail: &'a [u8],
}

/// Takes a line, and says whether to go on with the next one.
pub type OnLine<'a> = dyn FnMut(Line<'_>) -> ControlFlow<()> + 'a;

/// Splits a stream of bytes into lines, however it is cut into chunks.
#[derive(Debug)]
pub struct LineIn {
    max: usize,
    begins_message: fn(&[u8]) -> bool,
    partial: Partial,
    /// What is left of a read, because a stop was asked for, and how many bytes of that are taken already. Never more than
    /// one read.
    rest: Vec<u8>,
    taken: usize,
}

/// The line that has begun and not ended.
#[derive(Debug)]
enum Partial {
    /// All of the line so far (empty between lines), and how much of that is known to hold no line end.
    Kept { line: Vec<u8>, scanned: usize },
    /// The line is over the limit, and only its ends are kept.
    Discarded(Box<Ends>),
    /// The line is handed on as it comes.
    Passed,
}

/// The ends of a message that is being discarded. Takes any number of bytes, holds at most 12 KiB.
#[derive(Debug, Default)]
pub struct Ends {
    size: u64,
    head: Vec<u8>,
    /// At most twice [`ENDS`], so that bytes are moved once every 4 KiB and not with each push.
    tail: Vec<u8>,
}

impl Ends {
    /// The ends of a whole line.
    pub fn of(line: &[u8]) -> Self {
        let mut ends = Ends::default();
        ends.push(line);
        ends
    }

    /// The ends of a message that was cut before.
    pub fn of_cut(cut: Cut<'_>) -> Self {
        Ends { size: cut.size, head: cut.head.to_vec(), tail: cut.tail.to_vec() }
    }

    /// The next bytes of the message.
    pub fn push(&mut self, more: &[u8]) {
        self.size += more.len() as u64;
        let room = ENDS - self.head.len();
        self.head.extend_from_slice(&more[..room.min(more.len())]);
        let last = &more[more.len().saturating_sub(ENDS)..];
        if self.tail.len() + last.len() > 2 * ENDS {
            self.tail.drain(..self.tail.len().saturating_sub(ENDS));
        }
        self.tail.extend_from_slice(last);
    }

    /// How long the message was so far, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// What is left of the message.
    pub fn cut(&self) -> Cut<'_> {
        let tail = &self.tail[self.tail.len().saturating_sub(ENDS)..];
        Cut { size: self.size, head: &self.head, tail }
    }
}

const NOTHING: Partial = Partial::Kept { line: Vec::new(), scanned: 0 };

impl LineIn {
    /// A line of more than `max` bytes is too large (a `\r` at its end and a byte order mark count, its `\n` doesn't).
    /// `begins_message` says of the beginning of such a line whether a message may begin so; if not, the line is handed on
    /// in parts.
    pub fn new(max: usize, begins_message: fn(&[u8]) -> bool) -> Self {
        LineIn { max, begins_message, partial: NOTHING, rest: Vec::new(), taken: 0 }
    }

    /// Takes what was read and hands out every line that ended in it, up to the first after which `on` doesn't go on: then
    /// nothing is to be read before [`LineIn::resume`] has taken the rest.
    pub fn feed(&mut self, chunk: &[u8], on: &mut OnLine<'_>) -> ControlFlow<()> {
        let ControlFlow::Break(taken) = self.take_bytes(chunk, on) else { return ControlFlow::Continue(()) };
        if !self.keep_beginning(&chunk[taken..]) {
            self.rest = chunk[taken..].to_vec();
        }
        ControlFlow::Break(())
    }

    /// Goes on with what is left of an earlier read. Nothing is left then, unless `on` stops again.
    pub fn resume(&mut self, on: &mut OnLine<'_>) -> ControlFlow<()> {
        if self.rest.is_empty() {
            return ControlFlow::Continue(());
        }
        let rest = mem::take(&mut self.rest);
        let from = mem::take(&mut self.taken);
        let ControlFlow::Break(taken) = self.take_bytes(&rest[from..], on) else { return ControlFlow::Continue(()) };
        let from = from + taken;
        if !self.keep_beginning(&rest[from..]) {
            (self.rest, self.taken) = (rest, from);
        }
        ControlFlow::Break(())
    }

    /// Whether something of an earlier read is still to be looked at.
    pub fn has_rest(&self) -> bool {
        !self.rest.is_empty()
    }

    /// Takes the rest of a read, if that is the beginning of a line and no more, so that nothing needs keeping. Returns
    /// whether it was.
    fn keep_beginning(&mut self, rest: &[u8]) -> bool {
        if rest.len() > self.max || memchr(b'\n', rest).is_some() {
            return false;
        }
        match &mut self.partial {
            Partial::Kept { line, scanned } => {
                line.extend_from_slice(rest);
                *scanned = line.len();
                true
            }
            Partial::Discarded(_) | Partial::Passed => rest.is_empty(),
        }
    }

    /// Takes bytes. If `on` stops, returns how many were taken.
    fn take_bytes(&mut self, bytes: &[u8], on: &mut OnLine<'_>) -> ControlFlow<usize> {
        let mut at = 0;
        while let Some(end) = memchr(b'\n', &bytes[at..]) {
            let line = &bytes[at..at + end];
            at += end + 1;
            let flow = if self.is_between_lines() {
                self.emit(line, on)
            } else {
                let grown = self.append(line, on);
                either(grown, self.end(on))
            };
            if flow.is_break() {
                return ControlFlow::Break(at);
            }
        }
        self.append(&bytes[at..], on).map_break(|()| bytes.len())
    }

    /// The line that has begun and not ended, unless it has been handed on.
    pub fn unfinished(&self) -> &[u8] {
        match &self.partial {
            Partial::Kept { line, .. } => line,
            Partial::Discarded(_) | Partial::Passed => &[],
        }
    }

    /// Hands on the line that has begun and not ended; what follows in that line is handed on as it comes.
    pub fn pass(&mut self, on: &mut OnLine<'_>) -> ControlFlow<()> {
        match &mut self.partial {
            Partial::Kept { line, .. } if !line.is_empty() => {
                let line = mem::take(line);
                self.partial = Partial::Passed;
                on(Line::Part { text: &line, ends: false })
            }
            Partial::Kept { .. } | Partial::Discarded(_) | Partial::Passed => ControlFlow::Continue(()),
        }
    }

    /// The buffer of a large line that is under way, with room for at least 64 KiB: read to its end, then call
    /// [`LineIn::spared`]. Saves copying a large message. `None`: read elsewhere, and [`LineIn::feed`].
    pub fn spare(&mut self) -> Option<&mut Vec<u8>> {
        match &mut self.partial {
            Partial::Kept { line, .. } if line.len() >= LARGE => {
                if line.capacity() - line.len() < READ {
                    line.reserve(line.len().min(self.max.saturating_sub(line.len())).max(READ));
                }
                Some(line)
            }
            Partial::Kept { .. } | Partial::Discarded(_) | Partial::Passed => None,
        }
    }

    /// Looks at what was read into [`LineIn::spare`], as [`LineIn::feed`] does.
    pub fn spared(&mut self, on: &mut OnLine<'_>) -> ControlFlow<()> {
        let Partial::Kept { line, scanned } = &mut self.partial else { return ControlFlow::Continue(()) };
        match memchr(b'\n', &line[*scanned..]) {
            Some(at) => {
                let end = *scanned + at;
                let line = mem::take(line);
                self.partial = NOTHING;
                if self.emit(&line[..end], on).is_continue() {
                    return self.feed(&line[end + 1..], on);
                }
                if !self.keep_beginning(&line[end + 1..]) {
                    self.rest = line[end + 1..].to_vec();
                }
                ControlFlow::Break(())
            }
            None if line.len() > self.max => {
                let line = mem::take(line);
                self.exceed(&line, &[], on)
            }
            None => {
                *scanned = line.len();
                ControlFlow::Continue(())
            }
        }
    }

    /// The stream has ended: a last line without a line end counts as well.
    pub fn end(&mut self, on: &mut OnLine<'_>) -> ControlFlow<()> {
        match mem::replace(&mut self.partial, NOTHING) {
            Partial::Kept { mut line, .. } => {
                let flow = self.emit(&line, on);
                if line.capacity() <= LARGE {
                    line.clear();
                    self.partial = Partial::Kept { line, scanned: 0 };
                }
                flow
            }
            Partial::Discarded(discarded) => on(Line::TooLarge(discarded.cut())),
            Partial::Passed => on(Line::Part { text: &[], ends: true }),
        }
    }

    fn is_between_lines(&self) -> bool {
        matches!(&self.partial, Partial::Kept { line, .. } if line.is_empty())
    }

    fn append(&mut self, more: &[u8], on: &mut OnLine<'_>) -> ControlFlow<()> {
        match &mut self.partial {
            // Checked before copying: a chunk of any size costs no more memory than the limit.
            Partial::Kept { line, .. } if line.len() + more.len() > self.max => {
                let line = mem::take(line);
                return self.exceed(&line, more, on);
            }
            Partial::Kept { line, scanned } => {
                line.extend_from_slice(more);
                *scanned = line.len();
            }
            Partial::Discarded(discarded) => discarded.push(more),
            Partial::Passed if more.is_empty() => {}
            Partial::Passed => return on(Line::Part { text: more, ends: false }),
        }
        ControlFlow::Continue(())
    }

    /// The line under way is over the limit: what has come before, and what comes now.
    fn exceed(&mut self, line: &[u8], more: &[u8], on: &mut OnLine<'_>) -> ControlFlow<()> {
        let first: Vec<u8> = line.iter().chain(more).copied().take(ENDS).collect();
        if (self.begins_message)(without_mark(&first)) {
            let mut discarded = Box::new(Ends::of(line));
            discarded.push(more);
            self.partial = Partial::Discarded(discarded);
            return ControlFlow::Continue(());
        }
        self.partial = Partial::Passed;
        let mut flow = ControlFlow::Continue(());
        for text in [line, more].into_iter().filter(|text| !text.is_empty()) {
            flow = either(flow, on(Line::Part { text, ends: false }));
        }
        flow
    }

    /// Hands out a whole line: cleaned, or as too large. A blank line is dropped.
    fn emit(&self, raw: &[u8], on: &mut OnLine<'_>) -> ControlFlow<()> {
        let line = without_mark(raw.strip_suffix(b"\r").unwrap_or(raw));
        if raw.len() > self.max {
            return self.emit_too_large(raw, on);
        }
        if line.trim_ascii().is_empty() {
            return ControlFlow::Continue(());
        }
        if simdutf8::basic::from_utf8(line).is_ok() {
            return on(Line::Frame(line));
        }
        let repaired = String::from_utf8_lossy(line);
        if repaired.len() > self.max { self.emit_too_large(raw, on) } else { on(Line::Repaired(repaired.as_bytes())) }
    }

    #[cold]
    fn emit_too_large(&self, raw: &[u8], on: &mut OnLine<'_>) -> ControlFlow<()> {
        if (self.begins_message)(without_mark(&raw[..raw.len().min(ENDS)])) {
            on(Line::TooLarge(Ends::of(raw).cut()))
        } else {
            on(Line::Part { text: raw, ends: true })
        }
    }
}

/// Goes on only if both go on.
pub(crate) fn either(one: ControlFlow<()>, other: ControlFlow<()>) -> ControlFlow<()> {
    if one.is_break() { one } else { other }
}

/// A text without the byte order mark that some put in front.
fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone, PartialEq, Eq)]
    enum Got {
        Frame(Vec<u8>),
        Repaired(Vec<u8>),
        TooLarge(u64, Vec<u8>, Vec<u8>),
        /// A line that came in parts, and whether it has ended.
        Passed(Vec<u8>, bool),
    }

    fn push(got: &mut Vec<Got>, line: Line<'_>) {
        if let (Line::Part { text, ends }, Some(Got::Passed(so_far, ended @ false))) = (&line, got.last_mut()) {
            so_far.extend_from_slice(text);
            *ended = *ends;
            return;
        }
        got.push(match line {
            Line::Part { text, ends } => Got::Passed(text.to_vec(), ends),
            Line::Frame(text) => Got::Frame(text.to_vec()),
            Line::Repaired(text) => Got::Repaired(text.to_vec()),
            Line::TooLarge(Cut { size, head, tail }) => Got::TooLarge(size, head.to_vec(), tail.to_vec()),
        });
    }

    /// What these tests take for the beginning of a message.
    fn begins_message(text: &[u8]) -> bool {
        !text.starts_with(b"~")
    }

    /// Feeds chunks the way a server's stdout is read: straight into the buffer where one is offered.
    fn split(max: usize, chunks: &[&[u8]], direct: bool) -> Vec<Got> {
        split_with(max, chunks, direct, 0)
    }

    /// The same, for a taker who stops after each line whose number `halts` divides.
    fn split_with(max: usize, chunks: &[&[u8]], direct: bool, halts: usize) -> Vec<Got> {
        let (mut lines, mut got) = (LineIn::new(max, begins_message), Vec::new());
        let mut on = |line: Line<'_>| {
            push(&mut got, line);
            if got.len().is_multiple_of(halts) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        for chunk in chunks {
            let mut flow = match lines.spare() {
                Some(buf) if direct => {
                    buf.extend_from_slice(chunk);
                    lines.spared(&mut on)
                }
                Some(_) | None => lines.feed(chunk, &mut on),
            };
            while flow.is_break() {
                flow = if lines.has_rest() { lines.resume(&mut on) } else { ControlFlow::Continue(()) };
            }
        }
        let _the_last = lines.end(&mut on);
        got
    }

    fn frames(input: &[u8]) -> Vec<Got> {
        split(1024, &[input], false)
    }

    #[test]
    fn line_ends_marks_and_blank_lines_are_no_part_of_a_frame() {
        assert_eq!(
            frames(b"\xEF\xBB\xBF{}\r\n\n  \t\r\n[1]\n{\"a\":1}"),
            [Got::Frame(b"{}".into()), Got::Frame(b"[1]".into()), Got::Frame(b"{\"a\":1}".into())]
        );
    }

    #[test]
    fn a_bad_byte_is_replaced_and_the_rest_of_the_line_kept() {
        assert_eq!(frames(b"{\"a\":\"\xFF\"}\n"), [Got::Repaired("{\"a\":\"\u{FFFD}\"}".into())]);
    }

    #[test]
    fn a_line_over_the_limit_leaves_its_size_and_both_ends() {
        let mut line = vec![b'h'; ENDS];
        line.extend(vec![b'.'; 100_000]);
        line.extend(vec![b't'; ENDS]);
        let size = line.len() as u64;
        line.extend_from_slice(b"\nnext\n");
        for step in [1, 7, 4096, 8192, 70_000, 1 << 20] {
            let chunks: Vec<_> = line.chunks(step).collect();
            let expected = [Got::TooLarge(size, vec![b'h'; ENDS], vec![b't'; ENDS]), Got::Frame(b"next".into())];
            assert_eq!(split(50_000, &chunks, true), expected, "chunks of {step}");
        }
    }

    #[test]
    fn a_line_over_the_limit_that_begins_like_no_message_is_handed_on() {
        let mut line = b"\xEF\xBB\xBF~".to_vec();
        line.extend(vec![b'.'; 100_000]);
        let mut input = line.clone();
        input.extend_from_slice(b"\nnext\n");
        for step in [1, 7, 4096, 8192, 70_000, 1 << 20] {
            let chunks: Vec<_> = input.chunks(step).collect();
            let expected = [Got::Passed(line.clone(), true), Got::Frame(b"next".into())];
            assert_eq!(split(50_000, &chunks, true), expected, "chunks of {step}");
        }
        assert_eq!(split(50_000, &[&line], true), [Got::Passed(line, true)], "also without a line end");
    }

    #[test]
    fn a_line_that_has_not_ended_is_handed_on_with_its_rest() {
        let (mut lines, mut got) = (LineIn::new(1024, begins_message), Vec::new());
        let on = &mut |line: Line<'_>| {
            push(&mut got, line);
            ControlFlow::Continue(())
        };
        let mut all = vec![lines.pass(on), lines.feed(b"a\nb", on)];
        assert_eq!(lines.unfinished(), b"b");
        all.push(lines.pass(on));
        assert_eq!(lines.unfinished(), b"");
        all.extend([lines.feed(b"c", on), lines.pass(on), lines.feed(b"\r\n\nd\n", on)]);
        assert!(all.iter().all(ControlFlow::is_continue));
        let passed = Got::Passed(b"bc\r".into(), true);
        assert_eq!(got, [Got::Frame(b"a".into()), passed, Got::Frame(b"d".into())]);
    }

    #[test]
    fn each_read_into_a_large_line_may_bring_as_much_as_a_pipe_holds() {
        let mut lines = LineIn::new(1 << 20, begins_message);
        let flow = lines.feed(&[b'x'; LARGE], &mut |_| panic!("no line has ended"));
        assert!(flow.is_continue());
        let room = lines.spare().map(|line| line.capacity() - line.len());
        assert!(room >= Some(64 * 1024), "room for {room:?} bytes");
    }

    #[test]
    fn a_gigabyte_without_a_line_end_costs_no_more_than_the_limit() {
        let (mut lines, chunk) = (LineIn::new(1 << 20, begins_message), vec![b'x'; 64 * 1024]);
        let mut most = 0;
        for _ in 0..16 * 1024 {
            let flow = if let Some(buf) = lines.spare() {
                buf.extend_from_slice(&chunk);
                lines.spared(&mut |_| panic!("no line has ended"))
            } else {
                lines.feed(&chunk, &mut |_| panic!("no line has ended"))
            };
            assert!(flow.is_continue());
            most = most.max(match &lines.partial {
                Partial::Kept { line, .. } => line.capacity(),
                Partial::Discarded(discarded) => discarded.head.capacity() + discarded.tail.capacity(),
                Partial::Passed => 0,
            });
        }
        assert!(most <= (1 << 20) + 2 * READ, "{most} bytes were held");
        let mut size = 0;
        let flow = lines.end(&mut |line| {
            if let Line::TooLarge(Cut { size: bytes, .. }) = line {
                size = bytes;
            }
            ControlFlow::Break(())
        });
        assert!(flow.is_break());
        assert_eq!(size, 1 << 30);
    }

    #[test]
    fn a_large_message_does_not_leave_its_memory_behind() {
        let mut out = LineOut::new();
        out.push(&[&vec![b'x'; 1 << 20]]);
        out.advance(100);
        assert_eq!(out.len(), (1 << 20) + 1 - 100);
        out.advance(out.len());
        assert!(out.is_empty() && out.buf.capacity() <= KEEP);
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_lines(
            pieces in prop::collection::vec(
                prop_oneof![
                    4 => prop::collection::vec(any::<u8>(), 0..40),
                    4 => Just(b"\n".to_vec()),
                    2 => Just(b"\r\n".to_vec()),
                    1 => Just(b"\xEF\xBB\xBF".to_vec()),
                    1 => Just(b"~".to_vec()),
                    2 => "[ -~]{0,60}".prop_map(String::into_bytes),
                    1 => (0usize..30_000).prop_map(|n| vec![b'l'; n]),
                ], 0..30),
            cuts in prop::collection::vec(1usize..20_000, 1..20),
            max in prop_oneof![Just(10usize), Just(9_000), Just(20_000)],
            direct: bool,
            halts in 0..4usize,
        ) {
            let bytes = pieces.concat();
            let (mut chunks, mut rest, mut cuts) = (Vec::new(), &bytes[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (chunk, after) = rest.split_at(rest.len().min(*cuts.next().unwrap_or(&1)));
                chunks.push(chunk);
                rest = after;
            }
            prop_assert_eq!(split_with(max, &chunks, direct, halts), split(max, &[&bytes], false));
        }

        #[test]
        fn what_goes_out_comes_back_in(
            messages in prop::collection::vec("[^\r\n\u{FEFF}]*[^\\s\u{FEFF}]", 0..20), steps in prop::collection::vec(1usize..50, 1..10),
        ) {
            let (mut out, mut wire, mut steps) = (LineOut::new(), Vec::new(), steps.iter().cycle());
            for message in &messages {
                let (left, right) = message.as_bytes().split_at(message.len() / 2);
                out.push(&[left, right]);
                let n = out.len().min(*steps.next().unwrap_or(&1));
                wire.extend_from_slice(&out.pending()[..n]);
                out.advance(n);
            }
            wire.extend_from_slice(out.pending());
            let expected: Vec<_> = messages.iter().map(|m| Got::Frame(m.as_bytes().to_vec())).collect();
            prop_assert_eq!(split(1 << 20, &[&wire], false), expected);
        }
    }
}
