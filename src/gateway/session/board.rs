//! Which message of a session goes into which of its streams, and what of a stream can be sent again. Pure.
//!
//! # Theory of operation
//!
//! A session is one conversation that reaches its client in many streams: one for each POST, which carries the answers to its
//! requests and what belongs to them, and those of GET for all else (MCP 2025-11-25, basic/transports). Each message goes into
//! just one stream.
//!
//! An answer goes to whoever asked, progress to the request that has its token. A question or a log message names no request, so
//! it goes into the stream of the only request that is under way. Where there are several, or none, it goes to a GET, as do
//! changes; without one it waits for one.
//!
//! What has been sent of a stream is kept for a while, if the client knows of that (MCP 2025-11-25): a client whose
//! connection breaks asks for what followed the last event that it has seen, and the stream goes on from there.

use std::collections::{BTreeMap, VecDeque};
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::mcp::envelope::{Envelope, Kind};

/// Most bytes that wait for the reader of one stream, beside one message: a reader that is so far behind is cut off.
const BEHIND: usize = 1 << 20;
/// Most messages, and most bytes of them, that wait for a GET: one that never comes must not cost more.
const MAX_WAITING: usize = 64;
const MAX_WAITING_BYTES: usize = 256 * 1024;
/// Most bytes of a session that are kept so that they can be sent again.
const MAX_KEPT_BYTES: usize = 256 * 1024;
/// Longest time for which they are kept once the stream is over or broken: clients come back within seconds.
const KEPT: Duration = Duration::from_secs(60);

/// How many bits of the number of a stream count the streams of one life of a session: it has far fewer than 2^24 in a day.
const LIFE_SHIFT: u32 = 24;

/// Which stream of a session, by a number that is never used again.
pub(in crate::gateway) type StreamId = u64;

/// An event of a stream: its number there, and a message; none: the event is there for its number alone.
pub(in crate::gateway) type Event = (u64, Option<Bytes>);

/// See the module's documentation.
#[derive(Debug, Default)]
pub(in crate::gateway) struct Board {
    streams: BTreeMap<StreamId, Stream>,
    next: StreamId,
    /// Messages that wait for a GET.
    waiting: VecDeque<Bytes>,
    /// Whether the client can have a stream go on (MCP 2025-11-25 and later).
    resumes: bool,
    /// Nothing more will come.
    ended: bool,
}

#[derive(Debug)]
struct Stream {
    what: What,
    /// Requests that have no answer yet.
    asked: Vec<Asking>,
    /// What waits for the reader.
    queue: VecDeque<Event>,
    /// What the reader has got.
    kept: VecDeque<Event>,
    /// The number of the next event.
    next: u64,
    reader: Reader,
}

/// A request on its way.
#[derive(Debug, Clone)]
pub(in crate::gateway) struct Asking {
    /// Its id, as it was written.
    pub(in crate::gateway) id: Box<[u8]>,
    /// Its token for progress, if it has one, the same.
    pub(in crate::gateway) token: Option<Box<[u8]>>,
}

/// What a stream is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) enum What {
    /// For the answers to a POST, as events, together with what else there is to say meanwhile.
    Call,
    /// For the answers to a POST, and nothing else.
    Answers,
    /// For what belongs to no request.
    News,
    /// For everything: the client has no other stream (MCP 2024-11-05).
    All,
}

#[derive(Debug)]
enum Reader {
    Reads(Option<Waker>),
    /// The connection broke at this time.
    Gone(Instant),
}

/// What a stream has for its reader.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::gateway) enum Next {
    Event(Event),
    /// Nothing yet.
    Wait,
    /// Nothing more.
    End,
}

/// Why a request is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) struct InUse;

impl Board {
    /// What is known only once a client has said its version.
    pub(in crate::gateway) fn set_resuming(&mut self, resumes: bool) {
        self.resumes = resumes;
    }

    /// Whether the client can have a stream go on.
    pub(in crate::gateway) fn resumes(&self) -> bool {
        self.resumes
    }

    /// Begins the numbers of streams elsewhere: those of the session's life before are not to be used again. `life`: another one each time.
    pub(in crate::gateway) fn renumber(&mut self, life: u32) {
        self.next = (u64::from(life) + 1) << LIFE_SHIFT;
    }

    /// How many requests have no answer yet, as far as that is known: of a client with one stream it is not.
    pub(in crate::gateway) fn asked(&self) -> Option<usize> {
        let is_known = self.streams.values().all(|stream| stream.what != What::All);
        is_known.then(|| self.streams.values().map(|stream| stream.asked.len()).sum())
    }

    /// A stream with one message.
    pub(in crate::gateway) fn with(&mut self, message: Bytes) -> StreamId {
        let stream = self.begin(What::Call, Vec::new());
        self.put(stream, message);
        stream
    }

    /// How many streams are read just now.
    pub(in crate::gateway) fn read(&self) -> usize {
        self.streams.values().filter(|stream| stream.is_read()).count()
    }

    /// How many of these are of a GET.
    pub(in crate::gateway) fn listening(&self) -> usize {
        self.streams.values().filter(|stream| stream.is_read() && stream.what == What::News).count()
    }

    /// Whether a stream is there that is of a POST.
    pub(in crate::gateway) fn is_of_post(&self, stream: StreamId) -> bool {
        self.streams.get(&stream).is_some_and(|stream| stream.what == What::Call)
    }

    /// Begins the stream of a POST with these requests.
    ///
    /// # Errors
    /// The id of one is that of another which has no answer yet.
    pub(in crate::gateway) fn ask(&mut self, what: What, asked: Vec<Asking>) -> Result<StreamId, InUse> {
        let is_asked =
            |id: &[u8]| self.streams.values().any(|stream| stream.asked.iter().any(|other| *other.id == *id));
        let is_twice = |at: usize| asked[..at].iter().any(|other| other.id == asked[at].id);
        if self.ended || (0..asked.len()).any(|at| is_twice(at) || is_asked(&asked[at].id)) {
            return Err(InUse);
        }
        Ok(self.begin(what, asked))
    }

    /// Begins the stream of a GET.
    pub(in crate::gateway) fn listen(&mut self) -> StreamId {
        let stream = self.begin(What::News, Vec::new());
        for message in std::mem::take(&mut self.waiting) {
            self.put(stream, message);
        }
        stream
    }

    /// Begins the only stream of a client, which gets everything.
    pub(in crate::gateway) fn hear_all(&mut self) -> StreamId {
        self.begin(What::All, Vec::new())
    }

    /// Goes on with a stream behind an event. False if nothing is known of that stream, or another reads it still.
    pub(in crate::gateway) fn resume(&mut self, stream: StreamId, event: u64) -> bool {
        let Some(stream) = self.streams.get_mut(&stream) else { return false };
        if !matches!(stream.reader, Reader::Gone(_)) {
            return false;
        }
        stream.reader = Reader::Reads(None);
        while stream.kept.front().is_some_and(|(number, _)| *number <= event) {
            stream.kept.pop_front();
        }
        while let Some(again) = stream.kept.pop_back() {
            stream.queue.push_front(again);
        }
        true
    }

    fn begin(&mut self, what: What, asked: Vec<Asking>) -> StreamId {
        let id = self.next;
        self.next += 1;
        let mut stream =
            Stream { what, asked, queue: VecDeque::new(), kept: VecDeque::new(), next: 0, reader: Reader::Reads(None) };
        if self.resumes && what != What::Answers {
            // By its number the client can come back although it has got nothing yet.
            stream.push(None);
        }
        self.streams.insert(id, stream);
        id
    }

    /// Takes a message for the client.
    pub(in crate::gateway) fn take(&mut self, message: Bytes, e: &Envelope) {
        let of = |range: &Option<std::ops::Range<usize>>| range.clone().map(|range| &message[range]);
        if let Some((only, _)) = self.streams.iter().find(|(_, stream)| stream.what == What::All) {
            return self.put(*only, message);
        }
        match e.kind(&message) {
            Kind::Response => {
                let Some(id) = of(&e.id) else { return };
                let asked = |stream: &Stream| stream.asked.iter().position(|asking| *asking.id == *id);
                let found = self.streams.iter_mut().find_map(|(key, stream)| Some((*key, asked(stream)?, stream)));
                let Some((key, at, stream)) = found else { return };
                stream.asked.swap_remove(at);
                self.put(key, message);
            }
            Kind::Notification if e.progress_token.is_some() => {
                let token = of(&e.progress_token);
                let has = |stream: &Stream| stream.asked.iter().any(|asking| asking.token.as_deref() == token);
                let found = self.streams.iter().find(|(_, stream)| has(stream) && stream.what == What::Call);
                if let Some(key) = found.map(|(key, _)| *key) {
                    self.put(key, message);
                }
            }
            Kind::Request | Kind::Notification => {
                let is_change = e.method.clone().is_some_and(|method| {
                    message[method.clone()].ends_with(b"list_changed")
                        || message[method].ends_with(b"resources/updated")
                });
                match self.place(is_change) {
                    Some(stream) => self.put(stream, message),
                    None => self.wait(message),
                }
            }
            Kind::Other => {}
        }
    }

    /// The stream for a message that names no request.
    fn place(&self, is_change: bool) -> Option<StreamId> {
        let is_of = |what: What| {
            move |(_, stream): &(&StreamId, &Stream)| {
                stream.what == what && (what == What::News || !stream.asked.is_empty()) && stream.is_read()
            }
        };
        let mut calls = self.streams.iter().filter(is_of(What::Call)).map(|(key, _)| *key);
        let news = self.streams.iter().rev().find(is_of(What::News)).map(|(key, _)| *key);
        match (calls.next(), calls.next_back()) {
            _ if is_change => news,
            (Some(only), None) => Some(only),
            (_, last) => news.or(last),
        }
    }

    fn wait(&mut self, message: Bytes) {
        self.waiting.push_back(message);
        let mut bytes: usize = self.waiting.iter().map(Bytes::len).sum();
        while self.waiting.len() > MAX_WAITING || bytes > MAX_WAITING_BYTES {
            let Some(dropped) = self.waiting.pop_front() else { return };
            bytes -= dropped.len();
        }
    }

    fn put(&mut self, key: StreamId, message: Bytes) {
        let Some(stream) = self.streams.get_mut(&key) else { return };
        let behind: usize = stream.queue.iter().map(Event::size).sum();
        if behind > BEHIND {
            // Whoever reads no more is cut off, and comes back for the rest, or not.
            stream.leave(Instant::now());
        }
        stream.push(Some(message));
        stream.wake();
        if !stream.is_read() {
            self.tidy(Instant::now());
        }
    }

    /// What the reader of a stream is to get next. `waker`: is woken when there is more.
    pub(in crate::gateway) fn next(&mut self, key: StreamId, waker: &Waker) -> Next {
        let (resumes, ended) = (self.resumes, self.ended);
        let Some(stream) = self.streams.get_mut(&key) else { return Next::End };
        if !stream.is_read() {
            return Next::End;
        }
        if let Some(event) = stream.queue.pop_front() {
            if resumes {
                stream.kept.push_back(event.clone());
                let mut bytes: usize = stream.kept.iter().map(Event::size).sum();
                while bytes > MAX_KEPT_BYTES {
                    bytes -= stream.kept.pop_front().map_or(bytes, |event| event.size());
                }
            }
            return Next::Event(event);
        }
        if ended || matches!(stream.what, What::Call | What::Answers) && stream.asked.is_empty() {
            return Next::End;
        }
        stream.reader = Reader::Reads(Some(waker.clone()));
        Next::Wait
    }

    /// Whether the reader of a stream would get a message now, or nothing more. If not, `waker` is woken when there is more.
    pub(in crate::gateway) fn has_begun(&mut self, key: StreamId, waker: &Waker) -> bool {
        let ended = self.ended;
        let Some(stream) = self.streams.get_mut(&key) else { return true };
        let has_message = stream.queue.iter().any(|(_, message)| message.is_some());
        if has_message || ended || stream.asked.is_empty() || !stream.is_read() {
            return true;
        }
        stream.reader = Reader::Reads(Some(waker.clone()));
        false
    }

    /// The reader of a stream is gone, whether or not it has got all.
    pub(in crate::gateway) fn leave(&mut self, key: StreamId, now: Instant) {
        if let Some(stream) = self.streams.get_mut(&key) {
            stream.leave(now);
        }
        self.tidy(now);
    }

    /// Forgets streams that nobody will ask for any more.
    pub(in crate::gateway) fn tidy(&mut self, now: Instant) {
        let resumes = self.resumes;
        self.streams.retain(|_, stream| match stream.reader {
            Reader::Reads(_) => true,
            // Its answers belong to nobody else.
            Reader::Gone(_) if !resumes => false,
            Reader::Gone(since) => now < since + KEPT || stream.what == What::Call && !stream.asked.is_empty(),
        });
        // What is kept is bounded for the whole session: the oldest stream goes first.
        let size = |stream: &Stream| stream.kept.iter().chain(&stream.queue).map(Event::size).sum::<usize>();
        let mut bytes: usize = self.streams.values().filter(|stream| !stream.is_read()).map(size).sum();
        while bytes > MAX_KEPT_BYTES {
            let oldest = self.streams.iter().find(|(_, stream)| !stream.is_read() && size(stream) > 0);
            let Some((key, of)) = oldest.map(|(key, stream)| (*key, size(stream))) else { return };
            self.streams.remove(&key);
            bytes -= of;
        }
        if self.streams.is_empty() {
            // An empty tree keeps the memory of its last node, and most sessions are idle.
            self.streams = BTreeMap::new();
        }
    }

    /// Nothing more will come: all streams end when what they have is read.
    pub(in crate::gateway) fn end(&mut self) {
        self.ended = true;
        self.streams.values_mut().for_each(Stream::wake);
    }
}

/// What an event costs.
trait Size {
    fn size(&self) -> usize;
}

impl Size for Event {
    fn size(&self) -> usize {
        self.1.as_ref().map_or(0, Bytes::len)
    }
}

impl Stream {
    fn is_read(&self) -> bool {
        matches!(self.reader, Reader::Reads(_))
    }

    fn push(&mut self, message: Option<Bytes>) {
        self.queue.push_back((self.next, message));
        self.next += 1;
    }

    fn wake(&mut self) {
        if let Reader::Reads(waker) = &mut self.reader
            && let Some(waker) = waker.take()
        {
            waker.wake();
        }
    }

    fn leave(&mut self, now: Instant) {
        self.wake();
        if self.is_read() {
            self.reader = Reader::Gone(now);
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
