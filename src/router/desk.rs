//! A peer's side of a router: its connection, what it is owed, and what servers asked of it.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use memchr::{memchr2, memmem};
use tokio::time::Instant;

use super::edits::Edits;
use super::ids::{asked_id, asked_token};
use super::outcome::Outcome;
use super::request::Request;
use super::{Account, Greeting, Note, Out, PeerId, ServerIndex, What};
use crate::frame::{Cut, Ends};
use crate::mcp::envelope::{self, Envelope, Kind, NotMessage, Scanned};
use crate::mcp::handshake::{BATCHES, Hello, MAX_HELLO, VERSIONS, telling_changes};
use crate::mcp::modern::{UNSUPPORTED_VERSION, named_version};
use crate::mcp::object;
use crate::mcp::reply::{self, INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR, TIMEOUT, UNAVAILABLE};

/// Most requests of one server that are under way at the endpoint.
pub(super) const MAX_ASKED: usize = 16;

/// Largest request that is kept for an endpoint that is not ready to be asked, and most bytes of all such requests together.
const MAX_EARLY: usize = 64 * 1024;
const MAX_EARLY_ALL: usize = 1 << 20;

/// Longest time that the endpoint may take to answer a server's request. A language model may have to be asked first.
const ASK: Duration = Duration::from_secs(60);

/// Longest part of a method that is kept while its request is under way, in bytes.
pub(super) const METHOD: usize = 64;

/// Longest id of a request, in bytes: ids are kept while their requests are under way.
pub(super) const MAX_ID: usize = 1024;

/// Fewest messages, none of them JSON-RPC, after which an endpoint that has sent nothing else is taken for something other
/// than an MCP client. A client makes fewer slips, and such a service may answer each of our answers.
const STRANGER: u32 = 5;

/// Most messages in a row that are no JSON-RPC and still get an answer if a client sends them. Two programs that answer each
/// other's errors would never end.
const MAX_NONSENSE: u32 = 1024;

/// Most requests of a batch that are refused one by one, where no batch is taken.
const MAX_REFUSED: usize = 100;

/// Why a server's request is answered with an error.
const UNDECLARED: &str = "the endpoint did not declare the capability";

/// Who a peer is, as far as that matters to how it is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerKind {
    /// An endpoint that a link has dialled.
    Endpoint,
    /// A client at an endpoint of ours, which expects what the field's has.
    Robot,
    /// A client of the legacy era that has come to us.
    Client,
    /// A request of the modern era. It says for itself what it can't be asked, and after how long.
    Modern,
}

#[derive(Debug)]
enum EndpointSide {
    Down,
    Up {
        /// The endpoint has initialized, or does without a handshake: servers' requests may be passed on.
        conversing: bool,
        initialize: Option<Greeting>,
        /// The version that was agreed on has batches.
        has_batches: bool,
        /// What the endpoint first said of itself on this connection.
        said: Option<Arc<Hello>>,
        answered: u64,
        /// The endpoint has answered a request of a server.
        answers: bool,
        speech: Speech,
    },
}

/// Whether the endpoint speaks JSON-RPC, on this connection.
#[derive(Debug, Clone, Copy)]
enum Speech {
    /// No message so far was JSON-RPC; how many have come.
    Foreign(u32),
    /// No message so far was without a fault, and some claimed to be JSON-RPC; how many have come.
    Faulty(u32),
    /// Some message was JSON-RPC; how many have come since that were not.
    JsonRpc(u32),
}

/// Whether a message claims to be JSON-RPC, whatever else is wrong with it. One that only quotes JSON-RPC does not: what is no client
/// may quote what it was sent.
fn names_json_rpc(said: &[u8]) -> bool {
    let said = said.trim_ascii_start();
    match envelope::scan(said) {
        Ok(Scanned::One(e)) => e.jsonrpc,
        Ok(Scanned::Batch(_)) | Err(_) => {
            matches!(said.first(), Some(b'{' | b'[')) && memmem::find(said, b"\"jsonrpc\"").is_some()
        }
    }
}

impl Speech {
    /// The endpoint sent a message that shows it speaks JSON-RPC. `well`: the message is without a fault.
    fn heard(&mut self, well: bool) {
        *self = match *self {
            Speech::Foreign(_) if !well => Speech::Faulty(0),
            Speech::Faulty(_) | Speech::JsonRpc(_) if !well => *self,
            Speech::Foreign(_) | Speech::Faulty(_) | Speech::JsonRpc(_) => Speech::JsonRpc(0),
        };
    }
}

/// What is wrong with a message of the endpoint, for the answer.
pub(super) struct MessageFault {
    code: i32,
    why: String,
}

impl MessageFault {
    fn of(why: NotMessage) -> Self {
        let code = if let NotMessage::Json(_) = why { PARSE_ERROR } else { INVALID_REQUEST };
        MessageFault { code, why: why.to_string() }
    }

    /// JSON that is no request.
    pub(super) fn invalid(why: impl Into<String>) -> Self {
        MessageFault { code: INVALID_REQUEST, why: why.into() }
    }
}

impl std::fmt::Display for MessageFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = if self.code == PARSE_ERROR { "parse error" } else { "invalid request" };
        write!(f, "{name}: {}", self.why)
    }
}

/// A server's request under way at the endpoint.
#[derive(Debug)]
pub(super) struct Question {
    server: ServerIndex,
    id: Box<[u8]>,
    /// The server's own progress token, if it wants progress.
    progress: Option<Box<[u8]>>,
    method: String,
    /// `None` while no endpoint has been ready to be asked in this run: a server that is up before its endpoint can wait.
    deadline: Option<Instant>,
    /// The request itself, while the endpoint is not ready to be asked.
    unsent: Option<Box<[u8]>>,
}

/// A batch of the endpoint (MCP 2025-03-26) that is taken apart: each of its members may be answered by a whole list.
#[derive(Debug)]
struct Batch {
    text: Box<[u8]>,
    /// Where in `text` the members are that are yet to be read.
    members: VecDeque<Range<usize>>,
}

/// What a frame of the endpoint holds.
#[expect(clippy::large_enum_variant, reason = "nearly all are single messages, and it never leaves the stack")]
pub(super) enum Received {
    /// One message; and its text, where line breaks had to be removed.
    One(Envelope, Option<Vec<u8>>),
    /// A batch: where its members are, and its text as above.
    Batch(Vec<Range<usize>>, Option<Vec<u8>>),
    /// No message for the router: the desk has dealt with the frame.
    Nothing,
}

/// A message of the endpoint that a router has to act on.
pub(super) enum Message<'a> {
    Request(Request<'a>),
    Notification { method: &'a [u8] },
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Desk {
    /// Whose desk it is.
    key: PeerId,
    max_frame: usize,
    kind: PeerKind,
    link: EndpointSide,
    /// The parameters with which servers are initialized: what the endpoint last said of itself, or is expected to say.
    pub(super) hello: Arc<Hello>,
    /// The parameters that the next run will know.
    known: Option<Arc<Hello>>,
    /// The endpoint itself has said what is in `hello`, in this run.
    has_spoken: bool,
    /// The parameters in `hello` are more than a guess, or the endpoint has gone on without giving any.
    is_sure: bool,
    /// The endpoint has been ready to be asked, in this run.
    has_conversed: bool,
    pub(super) asked: BTreeMap<u64, Question>,
    /// Batches that are not read to their ends yet, for want of room.
    batches: VecDeque<Batch>,
    /// The endpoint leaves servers' requests unanswered, on this connection.
    mute: bool,
    last_id: u64,
    /// Calls that were answered, on all connections.
    pub(super) served: u64,
}

impl Desk {
    /// A desk without a connection. `max_frame`: the limit that the endpoint is told when a message is larger, in bytes.
    /// `known`: what the endpoint will say of itself, if that is known.
    pub(super) fn new(key: PeerId, max_frame: usize, known: Option<Arc<Hello>>, kind: PeerKind) -> Self {
        Desk {
            key,
            max_frame,
            kind,
            link: EndpointSide::Down,
            is_sure: known.is_some(),
            hello: known.clone().unwrap_or_else(Hello::likely_for_all),
            known,
            has_spoken: false,
            has_conversed: false,
            asked: BTreeMap::new(),
            batches: VecDeque::new(),
            mute: false,
            last_id: 0,
            served: 0,
        }
    }

    /// Keeps a batch for [`Desk::next_of_batch`], which takes it apart.
    pub(super) fn keep_batch(&mut self, text: Vec<u8>, members: Vec<Range<usize>>) {
        self.batches.push_back(Batch { text: text.into(), members: members.into() });
    }

    /// The next message of a batch.
    pub(super) fn next_of_batch(&mut self) -> Option<Vec<u8>> {
        let Batch { text, members } = self.batches.front_mut()?;
        let member = members.pop_front().map(|member| text[member].to_vec());
        if members.is_empty() {
            self.batches.pop_front();
        }
        member
    }

    /// How many messages of batches are yet to be read.
    pub(super) fn unread(&self) -> usize {
        self.batches.iter().map(|batch| batch.members.len()).sum()
    }

    /// A number that no question to this endpoint has had before.
    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    pub(super) fn link_up(&mut self) {
        let speech = Speech::Foreign(0);
        self.link = EndpointSide::Up {
            conversing: false,
            initialize: None,
            has_batches: false,
            said: None,
            answered: 0,
            answers: false,
            speech,
        };
        self.mute = false;
    }

    pub(super) fn link_down(&mut self, out: &mut dyn Out) {
        self.link = EndpointSide::Down;
        self.batches.clear();
        self.asked.retain(|_, asked| {
            if asked.unsent.is_none() {
                let error = reply::error(&asked.id, UNAVAILABLE, "the endpoint's connection was lost");
                out.to_server(asked.server, &[&error]);
            }
            asked.unsent.is_some()
        });
    }

    /// The peer is gone for good: servers that wait for it wait in vain.
    pub(super) fn leave(&mut self, out: &mut dyn Out) {
        for asked in std::mem::take(&mut self.asked).into_values() {
            out.to_server(asked.server, &[&reply::error(&asked.id, UNAVAILABLE, "the client is gone")]);
        }
    }

    /// A server is gone: the endpoint need not answer its requests any more.
    pub(super) fn server_down(&mut self, server: ServerIndex, out: &mut dyn Out) {
        self.asked.retain(|n, asked| {
            if asked.server == server && asked.unsent.is_none() {
                out.to_peer(self.key, &[&reply::cancelled(asked_token(*n).as_bytes(), "the server is gone")]);
            }
            asked.server != server
        });
    }

    /// The endpoint says what it is. What is said first on a connection counts: servers are told that from now on. Returns
    /// whether this is the first time in this run.
    pub(super) fn on_hello(&mut self, hello: &Arc<Hello>) -> bool {
        self.is_sure = true;
        let EndpointSide::Up { said: said @ None, .. } = &mut self.link else { return false };
        if hello.params.len() > MAX_HELLO {
            return false;
        }
        *said = Some(hello.clone());
        // Without a version the parameters are those of no whole `initialize`, and a server might refuse them.
        if hello.version.is_empty() {
            return false;
        }
        self.hello = hello.clone();
        !std::mem::replace(&mut self.has_spoken, true)
    }

    /// Whether a server waits for an answer of the endpoint.
    pub(super) fn is_asked_by(&self, server: ServerIndex) -> bool {
        self.asked.values().any(|asked| asked.server == server)
    }

    /// Whether `hello` is sure enough for servers to act on.
    pub(super) fn is_sure(&self) -> bool {
        self.is_sure
    }

    /// The endpoint goes on without a handshake, so servers may act on what they were told. Returns whether they could not
    /// before.
    pub(super) fn do_without_hello(&mut self) -> bool {
        !std::mem::replace(&mut self.is_sure, true)
    }

    /// Has what the endpoint says of itself kept for the next run, if that is new and `takes` says that a server has
    /// accepted it.
    pub(super) fn keep_hello(&mut self, takes: impl FnOnce(&Hello) -> bool, out: &mut dyn Out) {
        let is_known = self.known.as_ref().is_some_and(|known| !known.differs(None, &self.hello));
        if self.has_spoken && !is_known && takes(&self.hello) {
            self.known = Some(self.hello.clone());
            out.remember_hello(self.key, &String::from_utf8_lossy(&self.hello.params));
        }
    }

    /// The endpoint is past its handshake, or does without one: servers' requests that have waited for that are passed on.
    pub(super) fn open_conversation(&mut self, now: Instant, out: &mut dyn Out) {
        let EndpointSide::Up { conversing, .. } = &mut self.link else { return };
        if std::mem::replace(conversing, true) {
            return;
        }
        self.has_conversed = true;
        let waiting: Vec<u64> =
            self.asked.iter().filter(|(_, asked)| asked.unsent.is_some()).map(|(n, _)| *n).collect();
        for n in waiting {
            let can = self.asked.get(&n).is_some_and(|asked| self.can_answer(&asked.method));
            if can {
                let Some(asked) = self.asked.get_mut(&n) else { continue };
                if self.kind != PeerKind::Modern {
                    asked.deadline.get_or_insert(now + ASK);
                }
                if let Some(frame) = asked.unsent.take() {
                    out.to_peer(self.key, &[&frame]);
                }
            } else if let Some(asked) = self.asked.remove(&n) {
                out.to_server(asked.server, &[&reply::error(&asked.id, METHOD_NOT_FOUND, UNDECLARED)]);
                out.note(Note::of(asked.server, What::AnsweredForEndpoint { method: asked.method, why: UNDECLARED }));
            }
        }
    }

    /// Whether the endpoint can answer a request of this method, going by what it has said of itself; before that, by what
    /// is expected.
    fn can_answer(&self, method: &str) -> bool {
        match &self.link {
            EndpointSide::Up { .. } if self.kind == PeerKind::Modern => true,
            EndpointSide::Up { said: Some(said), .. } => said.can_answer(method),
            EndpointSide::Up { said: None, conversing: true, .. } => Hello::read(b"{}").can_answer(method),
            EndpointSide::Up { said: None, conversing: false, .. } | EndpointSide::Down => {
                self.hello.can_answer(method)
            }
        }
    }

    pub(super) fn is_conversing(&self) -> bool {
        matches!(self.link, EndpointSide::Up { conversing: true, .. })
    }

    pub(super) fn is_handshaken(&self) -> bool {
        matches!(self.link, EndpointSide::Up { initialize: Some(Greeting::Answered), .. })
    }

    /// The endpoint's `initialize` has waited for too long, or for a server that a person has stopped, and is answered with
    /// `excuse`.
    pub(super) fn excuse(&mut self, id: &[u8], excuse: impl std::fmt::Display, is_stopped: bool, out: &mut dyn Out) {
        self.refuse(id, UNAVAILABLE, excuse, out);
        self.note_greeting(if is_stopped { Greeting::Barred } else { Greeting::Excused });
    }

    /// Notes what has become of the endpoint's `initialize`.
    pub(super) fn note_greeting(&mut self, greeting: Greeting) {
        if let EndpointSide::Up { initialize, .. } = &mut self.link {
            *initialize = Some(greeting);
        }
    }

    /// Answers the endpoint's `initialize` with this result.
    pub(super) fn greet(&mut self, id: &[u8], result: &[u8], out: &mut dyn Out) {
        let result = String::from_utf8_lossy(result);
        // A link's endpoint is told what the server says, as far as it can be; clients may go by what is declared.
        let told = if self.kind == PeerKind::Endpoint { None } else { telling_changes(&result) };
        let result = told.as_deref().unwrap_or(&result);
        self.reply(id, result.as_bytes(), out);
        self.note_greeting(Greeting::Answered);
        self.note_version(result);
    }

    /// Notes what follows from the version that was agreed on, by this result of `initialize`.
    pub(super) fn note_version(&mut self, result: &str) {
        if let EndpointSide::Up { has_batches, .. } = &mut self.link {
            let version = object::find(result, &["protocolVersion"]).and_then(object::text_of);
            *has_batches = version.is_some_and(|version| version == BATCHES);
        }
    }

    /// Whether the endpoint may send a batch. Those of the field are taken whatever was agreed on.
    fn takes_batches(&self) -> bool {
        match self.kind {
            PeerKind::Endpoint | PeerKind::Robot => true,
            PeerKind::Client | PeerKind::Modern => matches!(self.link, EndpointSide::Up { has_batches: true, .. }),
        }
    }

    /// Counts one more request that has its answer.
    pub(super) fn count_answered(&mut self) {
        if let EndpointSide::Up { answered, .. } = &mut self.link {
            *answered += 1;
        }
    }

    /// A result of our own for the endpoint.
    pub(super) fn reply(&mut self, id: &[u8], result: &[u8], out: &mut dyn Out) {
        out.to_peer(self.key, &[&reply::result(id, result)]);
        self.count_answered();
    }

    /// An error to the endpoint, in a server's place.
    pub(super) fn refuse(&mut self, id: &[u8], code: i32, message: impl std::fmt::Display, out: &mut dyn Out) {
        out.to_peer(self.key, &[&reply::error(id, code, message)]);
        self.count_answered();
    }

    /// An error for a call of which nothing has come. For what took too long the field has a code, which no cloud knows.
    pub(super) fn refuse_call(&mut self, id: &[u8], outcome: Outcome, why: impl std::fmt::Display, out: &mut dyn Out) {
        let is_late = outcome == Outcome::Timeout && self.kind != PeerKind::Endpoint;
        self.refuse(id, if is_late { TIMEOUT } else { UNAVAILABLE }, why, out);
    }

    /// Refuses a batch, whose requests are each answered where there are not too many.
    fn refuse_batch(&mut self, text: &[u8], members: Vec<Range<usize>>, out: &mut dyn Out) {
        let why = "a batch: one message at a time, in this version of MCP";
        let asked = |member: Range<usize>| {
            let member = &text[member];
            let e = envelope::scan_one(member).filter(|e| e.kind(member) == Kind::Request)?;
            e.id.map(|id| &member[id]).filter(|id| id.len() <= MAX_ID)
        };
        let few = members.len() <= MAX_REFUSED;
        let ids: Vec<_> = members.into_iter().filter_map(asked).filter(|_| few).collect();
        if ids.is_empty() {
            return self.refuse_nonsense(b"null", text, MessageFault::invalid(why), out);
        }
        ids.into_iter().for_each(|id| self.refuse(id, INVALID_REQUEST, why, out));
    }

    /// The version of the modern era that a request names, raw JSON, where that is all that is known of whoever asks.
    fn version_of_stranger<'a>(&self, frame: &'a [u8], e: &Envelope) -> Option<&'a str> {
        match (self.kind, &self.link) {
            (PeerKind::Robot | PeerKind::Client, EndpointSide::Up { initialize: None, .. }) => named_version(frame, e),
            _ => None,
        }
    }

    /// Tells whoever asks in the modern era that there has to be a handshake first (MCP 2026-07-28, basic, versioning).
    fn refuse_version(&mut self, id: &[u8], version: &str, out: &mut dyn Out) {
        let why = "MCP is spoken here with a handshake: initialize comes first";
        let supported = VERSIONS.map(object::quoted).join(",");
        let more = [("supported", &*format!("[{supported}]")), ("requested", version)];
        out.to_peer(self.key, &[&reply::error_with(id, UNSUPPORTED_VERSION, why, &more)]);
        self.count_answered();
    }

    /// An error for a request that has waited in vain. A notification gets no answer.
    pub(super) fn refuse_held(&mut self, frame: &[u8], message: impl std::fmt::Display, out: &mut dyn Out) {
        if let Some(e) = envelope::scan_one(frame)
            && e.kind(frame) == Kind::Request
            && let Some(id) = e.id
        {
            self.refuse(&frame[id], UNAVAILABLE, message, out);
        }
    }

    /// Reads a frame of the endpoint, and answers a frame that is no message.
    pub(super) fn receive(&mut self, frame: &[u8], out: &mut dyn Out) -> Received {
        let mut line = None;
        if memchr2(b'\n', b'\r', frame).is_some() {
            match envelope::single_line(frame) {
                Ok(text) => line = Some(text),
                Err(why) => {
                    self.refuse_nonsense(b"null", frame, MessageFault::of(why), out);
                    return Received::Nothing;
                }
            }
        }
        let text = line.as_deref().unwrap_or(frame);
        match envelope::scan(text) {
            Ok(Scanned::One(e)) => match envelope::plain_method(text, &e) {
                Ok(None) => return Received::One(e, line),
                Ok(Some(plain)) => {
                    if let Some(e) = envelope::scan_one(&plain) {
                        return Received::One(e, Some(plain));
                    }
                }
                Err(why) => self.refuse_misread(text, why, out),
            },
            Ok(Scanned::Batch(members)) if !members.is_empty() => match self.takes_batches() {
                true => return Received::Batch(members, line),
                false => self.refuse_batch(text, members, out),
            },
            Ok(Scanned::Batch(_)) => {
                self.refuse_nonsense(b"null", text, MessageFault::invalid("an empty batch"), out);
            }
            Err(why) if why.is_misreading() => self.refuse_misread(text, why, out),
            Err(why) => self.refuse_nonsense(b"null", text, MessageFault::of(why), out),
        }
        Received::Nothing
    }

    /// A binary message of the endpoint that is not UTF-8, as JSON must be (RFC 8259 section 8.1).
    pub(super) fn on_not_text(&mut self, frame: &[u8], out: &mut dyn Out) {
        let fault = MessageFault { code: PARSE_ERROR, why: "a binary message that is not UTF-8".to_owned() };
        let ends = Ends::of(frame);
        let seen = envelope::scan_cut(ends.cut());
        // A server waits for this answer to its request, and is told, as with an answer that is too large.
        match seen.id.filter(|_| !seen.method).and_then(asked_id) {
            Some(n) => {
                let asked = self.take_question(n);
                out.note(Note::of_peer(
                    self.key,
                    What::NotMessage { why: fault.why.clone(), answered: asked.is_some(), first: self.is_first() },
                ));
                if let Some(asked) = asked {
                    out.to_server(asked.server, &[&reply::error(&asked.id, UNAVAILABLE, fault)]);
                }
            }
            None => self.refuse_nonsense(seen.id.unwrap_or(b"null"), frame, fault, out),
        }
    }

    /// Refuses a message that readers of JSON differ on, under its id if they agree on that.
    fn refuse_misread(&mut self, frame: &[u8], why: NotMessage, out: &mut dyn Out) {
        let seen = envelope::scan_misread(frame);
        if seen.method || !seen.answer {
            let id = match seen.ids.as_slice() {
                [id] => id,
                _ => &b"null"[..],
            };
            return self.refuse_nonsense(id, frame, MessageFault::of(why), out);
        }
        // Answers are never answered. Servers that wait for this one are told.
        let asked: Vec<_> = seen.ids.into_iter().filter_map(asked_id).filter_map(|n| self.take_question(n)).collect();
        out.note(Note::of_peer(
            self.key,
            What::NotMessage { why: why.to_string(), answered: !asked.is_empty(), first: self.is_first() },
        ));
        for asked in asked {
            let message = format_args!("the endpoint's answer is no JSON-RPC: {why}");
            out.to_server(asked.server, &[&reply::error(&asked.id, UNAVAILABLE, message)]);
        }
    }

    /// Answers a text that is no message under this id, unless too many such texts have come.
    pub(super) fn refuse_nonsense(&mut self, id: &[u8], said: &[u8], fault: MessageFault, out: &mut dyn Out) {
        let answered = self.answers_nonsense(said, out);
        if answered {
            self.refuse(if id.len() <= MAX_ID { id } else { b"null" }, fault.code, &fault, out);
        }
        out.note(Note::of_peer(self.key, What::NotMessage { why: fault.why, answered, first: self.is_first() }));
    }

    /// Counts a text that is no message, and returns whether to answer.
    fn answers_nonsense(&mut self, said: &[u8], out: &mut dyn Out) -> bool {
        let EndpointSide::Up { speech, .. } = &mut self.link else { return true };
        if names_json_rpc(said) {
            // A client's message, with something wrong in it.
            speech.heard(false);
        }
        let most = if let Speech::Faulty(_) = speech { MAX_NONSENSE } else { STRANGER };
        match speech {
            Speech::Foreign(count) | Speech::Faulty(count) => {
                *count = count.saturating_add(1);
                if *count == most {
                    out.note(Note::of_peer(self.key, What::Stranger { said }));
                }
                *count < most
            }
            Speech::JsonRpc(count) => {
                *count = count.saturating_add(1);
                *count <= MAX_NONSENSE
            }
        }
    }

    /// Whether all that the endpoint has sent on this connection is one message that is no JSON-RPC.
    fn is_first(&self) -> bool {
        matches!(self.link, EndpointSide::Up { speech: Speech::Foreign(1), .. })
    }

    /// Sorts a message of the endpoint. What is not for the router (answers to servers, nonsense) is dealt with here.
    pub(super) fn classify<'a>(
        &mut self,
        frame: &'a [u8],
        e: &'a Envelope,
        now: Instant,
        out: &mut dyn Out,
    ) -> Option<Message<'a>> {
        let id = e.id.clone();
        let method = e.method.clone().map_or(&b""[..], |r| &frame[r]);
        let kind = e.kind(frame);
        if let (EndpointSide::Up { speech, .. }, true) = (&mut self.link, kind != Kind::Other) {
            speech.heard(true);
        }
        match (kind, id) {
            (Kind::Request, Some(id)) if id.len() > MAX_ID => {
                self.refuse(b"null", INVALID_REQUEST, format_args!("the id is longer than {MAX_ID} bytes"), out);
            }
            (Kind::Request, Some(id)) => {
                // The question by which a client finds out the era has an error in any case, and `initialize` says which era it is.
                if !matches!(method, b"initialize" | b"server/discover")
                    && let Some(version) = self.version_of_stranger(frame, e)
                {
                    self.refuse_version(&frame[id], version, out);
                    return None;
                }
                return Some(Message::Request(Request {
                    peer: self.key,
                    frame,
                    envelope: e,
                    id: &frame[id],
                    method,
                    now,
                }));
            }
            (Kind::Response, Some(id)) => self.endpoint_answers(frame, id, out),
            (Kind::Notification, _) if method == b"notifications/progress" => {
                self.endpoint_progresses(frame, e, out);
            }
            (Kind::Notification, _) => return Some(Message::Notification { method }),
            // The endpoint could not read a message of ours, or is another service. Answers to answers would never end.
            (Kind::Other, _) if e.error || e.result.is_some() => {
                self.answers_nonsense(frame, out);
                let why = NotMessage::Other.to_string();
                out.note(Note::of_peer(
                    self.key,
                    if names_json_rpc(frame) {
                        What::Unclaimed
                    } else {
                        What::NotMessage { why, answered: false, first: self.is_first() }
                    },
                ));
            }
            (_, id) => {
                let id = id.map_or(&b"null"[..], |r| &frame[r]);
                self.refuse_nonsense(id, frame, MessageFault::of(NotMessage::Other), out);
            }
        }
        None
    }

    /// Passes the endpoint's answer on to the server that asked.
    fn endpoint_answers(&mut self, frame: &[u8], id: Range<usize>, out: &mut dyn Out) {
        match asked_id(&frame[id.clone()]).and_then(|n| self.take_question(n)) {
            Some(asked) if out.is_read_by(asked.server) => {
                out.to_server(asked.server, &[&frame[..id.start], &asked.id, &frame[id.end..]]);
            }
            // A short error, so that what waits for the server stays bounded.
            Some(asked) => {
                let why = "the answer was dropped, because the server has not read its stdin";
                out.to_server(asked.server, &[&reply::error(&asked.id, UNAVAILABLE, why)]);
            }
            None => out.note(Note::of_peer(self.key, What::Unclaimed)),
        }
    }

    /// Takes out the request that the endpoint has answered. `None` if the answer comes too late.
    fn take_question(&mut self, n: u64) -> Option<Question> {
        if let EndpointSide::Up { answers, .. } = &mut self.link {
            *answers = true;
            self.mute = false;
        }
        self.asked.remove(&n)
    }

    /// Passes the endpoint's progress on a request on to the server that asked.
    fn endpoint_progresses(&mut self, frame: &[u8], e: &Envelope, out: &mut dyn Out) {
        let Some(token) = e.progress_token.clone() else { return };
        let asked = asked_id(&frame[token.clone()]).and_then(|n| self.asked.get(&n));
        if let Some(Question { server, progress: Some(own), .. }) = asked
            && out.is_read_by(*server)
        {
            out.to_server(*server, &[&frame[..token.start], own, &frame[token.end..]]);
        }
    }

    /// A message of the endpoint above the size limit.
    pub(super) fn on_too_large(&mut self, cut: Cut<'_>, out: &mut dyn Out) {
        let seen = envelope::scan_cut(cut);
        let message =
            format!("a message of {} bytes is above the limit of {} (maxFrameSize)", cut.size, self.max_frame);
        // The message may be the answer to a request of a server, and answers are never answered.
        let answered = match seen.id.filter(|_| !seen.method).and_then(asked_id).map(|n| self.take_question(n)) {
            Some(Some(asked)) => {
                out.to_server(asked.server, &[&reply::error(&asked.id, UNAVAILABLE, message)]);
                true
            }
            Some(None) => false,
            None if seen.id.is_some() || self.answers_nonsense(cut.head, out) => {
                self.refuse(seen.id.unwrap_or(b"null"), INVALID_REQUEST, message, out);
                seen.id.is_some()
            }
            None => false,
        };
        out.note(Note::of_peer(self.key, What::TooLarge { size: cut.size, answered }));
    }

    /// Passes a server's own request on to the endpoint, or answers with an error where the endpoint can't: no server waits
    /// in vain.
    pub(super) fn ask(&mut self, server: ServerIndex, frame: &[u8], e: &Envelope, now: Instant, out: &mut dyn Out) {
        let Some(range) = e.id.clone() else { return };
        let id = &frame[range.clone()];
        let method = e.method.clone().map_or("", |r| str::from_utf8(&frame[r]).unwrap_or_default());
        if method == "ping" {
            return out.to_server(server, &[&reply::result(id, b"{}")]);
        }
        let of_it = self.asked.values().filter(|asked| asked.server == server).count();
        let refusal = if !self.can_answer(method) {
            Some((METHOD_NOT_FOUND, UNDECLARED))
        } else if self.mute {
            Some((UNAVAILABLE, "the endpoint does not answer requests"))
        } else if of_it >= MAX_ASKED || id.len() > MAX_ID || (!self.is_conversing() && !self.keeps(frame)) {
            Some((UNAVAILABLE, "too many requests wait for the endpoint"))
        } else {
            None
        };
        if let Some((code, why)) = refusal {
            out.to_server(server, &[&reply::error(id, code, why)]);
            let method = method[..method.floor_char_boundary(METHOD)].to_owned();
            return out.note(Note::of(server, What::AnsweredForEndpoint { method, why }));
        }
        let n = self.next_id();
        let ours = asked_token(n);
        let mut edits = Edits::default();
        edits.replace(range, ours.as_bytes());
        let progress = e.wants_progress.clone().filter(|token| token.len() <= MAX_ID);
        if let Some(token) = progress.clone() {
            edits.replace(token, ours.as_bytes());
        }
        // Servers ask as soon as they are initialized, when the endpoint may not be ready yet.
        let unsent = (!self.is_conversing()).then(|| edits.joined(frame));
        if unsent.is_none() {
            edits.pass_to_peer(self.key, frame, out);
        }
        let asked = Question {
            server,
            unsent,
            id: id.into(),
            progress: progress.map(|token| &frame[token]).filter(|token| *token != b"null").map(Into::into),
            method: method[..method.floor_char_boundary(METHOD)].to_owned(),
            deadline: (self.has_conversed && self.kind != PeerKind::Modern).then(|| now + ASK),
        };
        self.asked.insert(n, asked);
    }

    /// Whether a request can be kept until the endpoint is ready to be asked.
    fn keeps(&self, frame: &[u8]) -> bool {
        let kept: usize = self.asked.values().filter_map(|asked| asked.unsent.as_deref()).map(<[u8]>::len).sum();
        frame.len() <= MAX_EARLY && kept + frame.len() <= MAX_EARLY_ALL
    }

    /// A server cancels a request of its own.
    pub(super) fn withdraw(&mut self, server: ServerIndex, frame: &[u8], e: &Envelope, out: &mut dyn Out) {
        let Some(range) = e.request_id.clone() else { return };
        let is_it = |asked: &Question| asked.server == server && *asked.id == frame[range.clone()];
        let Some(n) = self.asked.iter().find(|(_, asked)| is_it(asked)).map(|(n, _)| *n) else { return };
        if self.asked.remove(&n).is_some_and(|asked| asked.unsent.is_none()) {
            out.to_peer(self.key, &[&frame[..range.start], asked_token(n).as_bytes(), &frame[range.end..]]);
        }
    }

    /// Answers servers whose requests the endpoint has left unanswered for too long.
    pub(super) fn tick(&mut self, now: Instant, out: &mut dyn Out) {
        while self.next_tick().is_some_and(|at| at <= now) {
            let Some((_, asked)) = self.asked.pop_first() else { break };
            let why = "the endpoint did not answer in time";
            out.to_server(asked.server, &[&reply::error(&asked.id, UNAVAILABLE, why)]);
            out.note(Note::of(asked.server, What::AnsweredForEndpoint { method: asked.method, why }));
            // An endpoint that has answered before is taken to be still working on this, or waiting for a person.
            self.mute |= asked.unsent.is_none() && matches!(self.link, EndpointSide::Up { answers: false, .. });
        }
    }

    /// When [`Desk::tick`] has something to do.
    pub(super) fn next_tick(&self) -> Option<Instant> {
        self.asked.first_key_value().and_then(|(_, asked)| asked.deadline)
    }

    /// What the desk knows of the connection.
    pub(super) fn account(&self, server: String) -> Account {
        let mut account = Account { served: self.served, server, ..Account::default() };
        if let EndpointSide::Up { initialize, answered, .. } = &self.link {
            (account.initialize, account.answered) = (*initialize, *answered);
        }
        account
    }
}
