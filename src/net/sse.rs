//! Server-sent events: a stream of bytes as the events in it (WHATWG HTML, section 9.2.6). Pure.
//!
//! The bytes of an event's data are copied once and not looked at. However a stream is cut into chunks, the same events come out.
//! A stream without an end, or with a line without one, holds no more memory than one event may have.

use std::ops::ControlFlow;

use memchr::memchr2;

use crate::frame::{Cut, Ends};

/// Longest id of an event that is kept, in bytes: ids are short, and a longer one is as good as none.
const MAX_ID: usize = 1024;
/// Longest name of a field, name of an event, and number of a field `retry`, in bytes: all that mean something are shorter.
const MAX_WORD: usize = 16;
/// Most bytes of an event that are passed over because there are too many, unless an eighth of that may be kept: a stream with a longer
/// one has most likely no event in it at all.
const MAX_SKIPPED: u64 = 128 << 20;
/// Largest buffer that is kept from one event to the next, in bytes: one huge event must not cost memory for as long as the stream is
/// open.
const KEEP: usize = 64 * 1024;

/// What begins a stream and is no part of it, if it is there.
const BOM: [u8; 3] = *b"\xef\xbb\xbf";

/// An event, or what is left of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    /// An event with its name, `message` where it has none, and its data, of which several lines are joined by line feeds. The bytes
    /// are as they came.
    Whole {
        /// The name; empty for one that is too long to mean anything.
        name: &'a str,
        /// The data.
        data: &'a [u8],
    },
    /// An event with more data than is kept.
    TooLarge(Cut<'a>),
}

/// Takes an event, and says whether to go on with the next one.
pub(crate) type OnEvent<'a> = dyn FnMut(Event<'_>) -> ControlFlow<()> + 'a;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Decoder {
    max: usize,
    at: At,
    /// The last byte ended a line and was a carriage return: a line feed behind it belongs to it.
    after_return: bool,
    /// The name of the field whose line has begun, or the value of a short one.
    word: Vec<u8>,
    name: Vec<u8>,
    data: Data,
    /// An empty buffer for the data of the next event.
    spare: Vec<u8>,
    /// How many bytes of data have come.
    taken: u64,
    /// The id of the event under way; `None` if it has none.
    id: Option<Vec<u8>>,
    last_id: Option<Box<[u8]>>,
    retry: Option<u64>,
}

/// Where in its line the decoder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// So many bytes into a mark that may begin the stream.
    Bom(usize),
    /// In the name of a field; at its beginning, at that of a line.
    Name,
    /// In the value of a field, behind the blank that may stand before it or not yet.
    Value(Field, bool),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Data,
    Event,
    Id,
    Retry,
    /// A comment, or a field that means nothing.
    Other,
}

/// The data of the event under way.
#[derive(Debug)]
enum Data {
    /// There are no lines of it.
    None,
    Kept(Vec<u8>),
    /// There is too much of it.
    Cut(Box<Ends>),
}

impl Decoder {
    /// For one stream. Events with more than `max` bytes of data are too large.
    pub(crate) fn new(max: usize) -> Self {
        Decoder {
            max,
            at: At::Bom(0),
            after_return: false,
            word: Vec::new(),
            name: Vec::new(),
            data: Data::None,
            spare: Vec::new(),
            taken: 0,
            id: None,
            last_id: None,
            retry: None,
        }
    }

    /// The id of the last event that had one; for whoever wants the stream to go on behind it.
    pub(crate) fn last_id(&self) -> Option<&[u8]> {
        self.last_id.as_deref()
    }

    /// How long to wait before a stream is asked for again, in milliseconds, if the server has said so.
    pub(crate) fn retry(&self) -> Option<u64> {
        self.retry
    }

    /// How many bytes of data have come so far that an event may have: what else comes, such as comments, only keeps the stream open.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// Whether the event under way seems to have no end. Nothing more is to be read then.
    pub(crate) fn is_endless(&self) -> bool {
        let most = MAX_SKIPPED.max(8 * self.max as u64);
        matches!(&self.data, Data::Cut(ends) if ends.cut().size > most)
    }

    /// Takes bytes, up to the first event after which `on` doesn't go on: then returns how many were taken.
    pub(crate) fn feed(&mut self, bytes: &[u8], on: &mut OnEvent<'_>) -> ControlFlow<usize> {
        let mut from = 0;
        while let Some(&byte) = bytes.get(from) {
            match self.at {
                At::Bom(matched) if byte == BOM[matched] => {
                    self.at = if matched + 1 == BOM.len() { At::Name } else { At::Bom(matched + 1) };
                    from += 1;
                    continue;
                }
                At::Bom(matched) => {
                    // It was the beginning of a name instead.
                    self.word.extend_from_slice(&BOM[..matched]);
                    self.at = At::Name;
                }
                At::Name | At::Value(..) => {}
            }
            if std::mem::take(&mut self.after_return) && byte == b'\n' {
                from += 1;
                continue;
            }
            let rest = &bytes[from..];
            let (text, is_ended) = match memchr2(b'\n', b'\r', rest) {
                Some(end) => (&rest[..end], true),
                None => (rest, false),
            };
            self.take_text(text);
            from += text.len();
            if is_ended {
                self.after_return = bytes[from] == b'\r';
                from += 1;
                if self.end_line(on).is_break() {
                    return ControlFlow::Break(from);
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Nothing more will come. An event that lacks only its last line counts: its sender has most likely forgotten that.
    pub(crate) fn end(&mut self, on: &mut OnEvent<'_>) -> ControlFlow<()> {
        if !matches!(self.at, At::Bom(_)) && (self.at != At::Name || !self.word.is_empty()) {
            self.end_line(on)?;
        }
        self.dispatch(on)
    }

    /// Takes a part of a line, without its end.
    fn take_text(&mut self, mut text: &[u8]) {
        if self.at == At::Name {
            let Some(colon) = memchr::memchr(b':', text) else {
                let room = (MAX_WORD + 1).saturating_sub(self.word.len());
                self.word.extend_from_slice(&text[..room.min(text.len())]);
                return;
            };
            let room = (MAX_WORD + 1).saturating_sub(self.word.len());
            self.word.extend_from_slice(&text[..room.min(colon)]);
            self.begin_value();
            text = &text[colon + 1..];
        }
        let At::Value(field, behind_blank) = self.at else { return };
        if text.is_empty() {
            return;
        }
        if !behind_blank {
            self.at = At::Value(field, true);
            text = text.strip_prefix(b" ").unwrap_or(text);
        }
        match field {
            Field::Data => self.add_data(text),
            Field::Event | Field::Id | Field::Retry => {
                let max = if field == Field::Id { MAX_ID } else { MAX_WORD };
                let room = (max + 1).saturating_sub(self.word.len());
                self.word.extend_from_slice(&text[..room.min(text.len())]);
            }
            Field::Other => {}
        }
    }

    /// The name of a field is complete.
    fn begin_value(&mut self) {
        let field = match &*self.word {
            b"data" => Field::Data,
            b"event" => Field::Event,
            b"id" => Field::Id,
            b"retry" => Field::Retry,
            _ => Field::Other,
        };
        self.word.clear();
        self.at = At::Value(field, false);
        if field == Field::Data {
            match &mut self.data {
                Data::None => self.data = Data::Kept(std::mem::take(&mut self.spare)),
                Data::Kept(_) | Data::Cut(_) => self.add_data(b"\n"),
            }
        }
    }

    fn add_data(&mut self, text: &[u8]) {
        match &mut self.data {
            Data::Kept(kept) if kept.len() + text.len() <= self.max => {
                kept.extend_from_slice(text);
                self.taken += text.len() as u64;
            }
            Data::Kept(kept) => {
                let mut ends = Box::new(Ends::of(kept));
                ends.push(text);
                self.data = Data::Cut(ends);
            }
            Data::Cut(ends) => ends.push(text),
            Data::None => {}
        }
    }

    /// A line has ended.
    fn end_line(&mut self, on: &mut OnEvent<'_>) -> ControlFlow<()> {
        if self.at == At::Name {
            if self.word.is_empty() {
                return self.dispatch(on);
            }
            // A field without a colon has no value.
            self.begin_value();
        }
        let At::Value(field, _) = std::mem::replace(&mut self.at, At::Name) else { return ControlFlow::Continue(()) };
        let word = std::mem::take(&mut self.word);
        match field {
            Field::Event => self.name = word,
            // An id with a NUL is ignored. One that is too long can't be given back, and so neither can an earlier one.
            Field::Id if word.contains(&0) => {}
            Field::Id => self.id = Some(if word.len() > MAX_ID { Vec::new() } else { word }),
            Field::Retry => {
                // A longer one was cut here, and would be too long to wait in any case.
                let is_number = (1..=MAX_WORD).contains(&word.len()) && word.iter().all(u8::is_ascii_digit);
                let number = str::from_utf8(&word).ok().filter(|_| is_number).and_then(|digits| digits.parse().ok());
                self.retry = number.or(self.retry);
            }
            Field::Data | Field::Other => {}
        }
        ControlFlow::Continue(())
    }

    /// An event has ended.
    fn dispatch(&mut self, on: &mut OnEvent<'_>) -> ControlFlow<()> {
        if let Some(id) = self.id.take() {
            self.last_id = (!id.is_empty()).then(|| id.into());
        }
        let name = std::mem::take(&mut self.name);
        match std::mem::replace(&mut self.data, Data::None) {
            Data::None => ControlFlow::Continue(()),
            Data::Kept(mut data) => {
                let name = if name.is_empty() { "message" } else { str::from_utf8(&name).unwrap_or_default() };
                let name = if name.len() > MAX_WORD { "" } else { name };
                let flow = on(Event::Whole { name, data: &data });
                if data.capacity() <= KEEP {
                    data.clear();
                    self.spare = data;
                }
                flow
            }
            Data::Cut(ends) => on(Event::TooLarge(ends.cut())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What came of a stream: the events, the last id and the time to wait.
    type Seen = (Vec<String>, Option<String>, Option<u64>);

    fn decode<'a>(max: usize, chunks: impl IntoIterator<Item = &'a [u8]>) -> Seen {
        let mut decoder = Decoder::new(max);
        let mut events = Vec::new();
        let mut on = |event: Event<'_>| {
            events.push(match event {
                Event::Whole { name, data } => format!("{name}|{}", String::from_utf8_lossy(data)),
                Event::TooLarge(cut) => format!("too large: {}", cut.size),
            });
            ControlFlow::Continue(())
        };
        for chunk in chunks {
            assert_eq!(decoder.feed(chunk, &mut on), ControlFlow::Continue(()));
        }
        assert!(decoder.end(&mut on).is_continue());
        let id = decoder.last_id().map(|id| String::from_utf8_lossy(id).into_owned());
        (events, id, decoder.retry())
    }

    fn whole(text: &str) -> Seen {
        decode(1 << 20, [text.as_bytes()])
    }

    #[test]
    fn events_are_read_by_the_rules_of_the_standard() {
        let rows: &[(&str, &[&str])] = &[
            ("data: a\n\n", &["message|a"]),
            ("data:a\r\n\r\ndata: b\r\r", &["message|a", "message|b"]),
            ("data:  a\n\n", &["message| a"]),
            (": comment\n\ndata: a\n: between\ndata: b\n\n", &["message|a\nb"]),
            ("event: endpoint\ndata: /m?s=1\n\n", &["endpoint|/m?s=1"]),
            ("event: x\n\ndata: a\n\n", &["message|a"]),
            ("data\n\n", &["message|"]),
            ("data\ndata\n\n", &["message|\n"]),
            ("id: 1\ndata: \n\n", &["message|"]),
            ("foo: bar\ndata: a\nfoobarfoobarfoobarfoobar\n\n", &["message|a"]),
            ("\u{feff}data: a\n\n", &["message|a"]),
            ("\u{feff}\u{feff}data: a\n\n", &[]),
            ("\n\n\ndata: grüß 你好\n\n", &["message|grüß 你好"]),
            ("event: a-name-of-more-than-it\ndata: a\n\n", &["|a"]),
            // Its sender has forgotten the end.
            ("data: a", &["message|a"]),
            ("data: a\n", &["message|a"]),
        ];
        for (text, want) in rows {
            assert_eq!(whole(text).0, *want, "{text:?}");
        }
    }

    #[test]
    fn ids_and_waits_stay_until_others_come() {
        let rows: &[(&str, Option<&str>, Option<u64>)] = &[
            ("data: a\n\n", None, None),
            ("id: 7\n\n", Some("7"), None),
            ("id: 7\ndata: a\n\ndata: b\n\n", Some("7"), None),
            ("id: 7\ndata: a\n\nid\ndata: b\n\n", None, None),
            ("id: 7\n\nid: 8\0\n\n", Some("7"), None),
            ("id: 7\n\nid: 8", Some("8"), None),
            ("retry: 2000\nretry: soon\n\n", None, Some(2000)),
            ("retry: 99999999999999999999\n\n", None, None),
        ];
        for (text, id, retry) in rows {
            let (_, last, wait) = whole(text);
            assert_eq!((last.as_deref(), wait), (*id, *retry), "{text:?}");
        }
        let long = format!("id: 7\n\nid: {}\n\n", "x".repeat(2000));
        assert_eq!(whole(&long).1, None);
    }

    #[test]
    fn what_is_too_large_is_cut_and_the_next_event_is_whole() {
        let text = format!("data: {}\ndata: {}\n\ndata: b\n\n", "x".repeat(60), "y".repeat(60));
        assert_eq!(decode(100, [text.as_bytes()]).0, ["too large: 121", "message|b"]);
        assert_eq!(decode(121, [text.as_bytes()]).0.len(), 2);
        let mut decoder = Decoder::new(1000);
        let mut size = 0;
        for _ in 0..10_000 {
            let _more =
                decoder.feed(b"data: 0123456789012345678901234567890123456789\n", &mut |_| ControlFlow::Continue(()));
        }
        let _done = decoder.feed(b"\n", &mut |event| {
            size = if let Event::TooLarge(cut) = event { cut.size } else { 0 };
            ControlFlow::Continue(())
        });
        assert_eq!(size, 41 * 10_000 - 1);
    }

    #[test]
    fn a_stop_is_heeded_after_each_event() {
        let text = b"data: a\r\n\r\ndata: b\n\n";
        let mut decoder = Decoder::new(100);
        let ControlFlow::Break(taken) = decoder.feed(text, &mut |_| ControlFlow::Break(())) else {
            panic!("it went on")
        };
        let mut rest = Vec::new();
        let _all = decoder.feed(&text[taken..], &mut |event| {
            rest.push(format!("{event:?}"));
            ControlFlow::Continue(())
        });
        assert_eq!(rest.len(), 1);
    }

    /// Pieces of which streams are made, well and badly.
    fn piece() -> impl Strategy<Value = Vec<u8>> {
        const KNOWN: &[&[u8]] = &[
            b"data: ",
            b"data:",
            b"data",
            b"id: 1",
            b"id:",
            b"event: message",
            b"retry: 10",
            b"\n",
            b"\r",
            b"\r\n",
            b"\n\n",
            b"\r\n\r\n",
            b": ",
            b":",
            b"\xef\xbb\xbf",
            "ü".as_bytes(),
            b"\0",
            b" ",
            b"{\"jsonrpc\":\"2.0\"}",
        ];
        prop_oneof![4 => prop::sample::select(KNOWN).prop_map(<[u8]>::to_vec), 1 => prop::collection::vec(any::<u8>(), 0..40)]
    }

    proptest! {
        #[test]
        fn any_cut_of_the_bytes_gives_the_same_events(
            pieces in prop::collection::vec(piece(), 0..40),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let text = pieces.concat();
            let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).chain([0, text.len()]).collect();
            ends.sort_unstable();
            let chunks = ends.windows(2).map(|pair| &text[pair[0]..pair[1]]);
            prop_assert_eq!(decode(64, chunks), decode(64, [&text[..]]));
            let bytes = text.chunks(1);
            prop_assert_eq!(decode(64, bytes), decode(64, [&text[..]]));
        }
    }
}
