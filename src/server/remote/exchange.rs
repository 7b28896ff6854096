//! One request to a remote server on its way, and what has come of it.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::answer::Asked;
use super::reader::Reader;
use crate::mcp::cloud;
use crate::mcp::modern::headers::Headers;
use crate::net::http::{HttpError, Reply, Sending};

/// Longest time for which a server may say nothing of its own on a request without a `timeout`: that for which the cloud waits.
pub(super) const SILENCE: Duration = cloud::CALL;
/// Longest time for which a server that may be of either era says nothing on the question what it is.
pub(super) const DISCOVER: Duration = Duration::from_secs(10);
/// Longest time until a server has taken a message that it does not answer, or has answered a ping.
pub(super) const MESSAGE: Duration = Duration::from_secs(30);
/// Longest time for the end of a session: whoever stops mcp-pipe waits for it.
pub(super) const END: Duration = Duration::from_secs(2);
/// Longest time for which a stream is read on behind its answer: its end lets the connection serve others.
const LINGER: Duration = Duration::from_secs(1);

/// One request over HTTP, with all that is sent of it again.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) aim: Aim,
    /// What is sent; empty where nothing is.
    pub(super) body: Bytes,
    pub(super) io: Io,
    /// The number of the session in which it was sent, and whether it carried an id of that.
    pub(super) session: (u32, bool),
    /// The number of the token with which it was sent.
    pub(super) token: u64,
    /// When it was sent, or the server last said something of its own on it.
    pub(super) moved: Instant,
    /// How many bytes of its own had come by then.
    pub(super) taken: u64,
    pub(super) tries: Tries,
    /// What is repeated of it for those who only read heads.
    pub(super) headers: Headers,
}

/// What an exchange is for.
#[derive(Debug)]
pub(super) enum Aim {
    /// A request of the router's.
    Request(Wanted),
    /// A message that is not answered. `announces`: it is `initialized`.
    Message { announces: bool },
    /// `initialize` for a session in place of a lost one.
    Renewal,
    /// The question whether the session is still there.
    Probe,
    /// The stream of what the server says by itself (Streamable HTTP), behind the event of this id.
    Listening { stood: bool, behind: Option<Box<[u8]>> },
    /// The stream on which the server says everything (HTTP+SSE).
    Stream,
    /// The end of the session.
    End,
}

/// A request whose answer is waited for.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Its id: the whole token, and its value.
    pub(super) id: Box<[u8]>,
    pub(super) number: Option<u64>,
    pub(super) kind: WantedKind,
    pub(super) method: MethodId,
    pub(super) answered: bool,
    /// The stream is asked for again, behind the event of this id.
    pub(super) resumes: Option<Box<[u8]>>,
    pub(super) instead: Option<Instead>,
}

/// What came in place of an answer, in words.
#[derive(Debug)]
pub(super) enum Instead {
    /// The beginning of something that is no MCP.
    Noise(String),
    /// What is odd about an answer that is none to this request.
    Foreign(String),
}

/// The method of a request, as far as it has to be known again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MethodId(u64);

impl MethodId {
    pub(super) fn of(name: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        MethodId(hasher.finish())
    }
}

/// What a request is, as far as that matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WantedKind {
    Initialize,
    /// What the server is, which shows of which era it is.
    Discover,
    /// News of the server: its answer goes on and on.
    Listen,
    Other,
}

impl WantedKind {
    /// Whether a conversation begins with it.
    pub(super) fn opens(self) -> bool {
        matches!(self, WantedKind::Initialize | WantedKind::Discover)
    }
}

/// What was done again for an exchange.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tries {
    /// It was sent in another session than at first.
    pub(super) renewed: bool,
    /// It was sent with another token than at first.
    pub(super) authorized: bool,
    /// It was sent again as the server had asked for that.
    pub(super) busy: bool,
    /// How often in a row nothing came of it.
    pub(super) in_vain: u32,
    /// How often in a row its stream ended soon, without anything in it.
    pub(super) empty: u32,
    /// How often it was sent to another address.
    pub(super) redirects: u32,
}

/// How far an exchange is.
pub(super) enum Io {
    /// It waits for a session, for an address, or for others to end.
    Parked,
    /// It waits for a token.
    Unauthorized,
    /// It waits until then.
    Pausing(Instant),
    Sending(Sending),
    /// What came of the sending.
    Arrived(Box<Result<Reply, HttpError>>),
    /// The server refuses it, and its words are read until then.
    Explaining {
        reply: Box<Reply>,
        text: Vec<u8>,
        until: Instant,
    },
    Reading(Box<Reading>),
    /// It was sent, and the answer comes on another stream.
    Awaited,
}

/// A reply whose body is read.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) reply: Reply,
    pub(super) reader: Reader,
    /// What was read and is not taken yet.
    pub(super) rest: Bytes,
}

impl std::fmt::Debug for Io {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Io::Parked => "Parked",
            Io::Unauthorized => "Unauthorized",
            Io::Pausing(_) => "Pausing",
            Io::Sending(_) => "Sending",
            Io::Arrived(_) => "Arrived",
            Io::Explaining { .. } => "Explaining",
            Io::Reading(_) => "Reading",
            Io::Awaited => "Awaited",
        })
    }
}

/// How long a server may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For `initialize`.
    pub(super) start: Duration,
    /// For `server/discover`.
    pub(super) discover: Duration,
    /// Until it says something about another request.
    pub(super) silence: Duration,
}

impl Exchange {
    pub(super) fn new(aim: Aim, body: Bytes, now: Instant) -> Self {
        let io = Io::Pausing(now);
        Exchange {
            aim,
            body,
            io,
            session: (0, false),
            token: 0,
            moved: now,
            taken: 0,
            tries: Tries::default(),
            headers: Headers::new(),
        }
    }

    /// What is asked.
    pub(super) fn asked(&self) -> Asked {
        match &self.aim {
            Aim::Request(Wanted { resumes: Some(_), .. }) => Asked::Rest,
            Aim::Request(Wanted { kind: WantedKind::Initialize, .. }) | Aim::Renewal => Asked::Initialize,
            Aim::Request(_) | Aim::Probe => Asked::Request,
            Aim::Message { .. } => Asked::Message,
            Aim::Listening { .. } | Aim::Stream => Asked::Stream,
            Aim::End => Asked::End,
        }
    }

    /// The request whose answer is waited for, unless it has come.
    pub(super) fn wanted(&self) -> Option<&Wanted> {
        match &self.aim {
            Aim::Request(wanted) if !wanted.answered => Some(wanted),
            Aim::Request(_)
            | Aim::Message { .. }
            | Aim::Renewal
            | Aim::Probe
            | Aim::Listening { .. }
            | Aim::Stream
            | Aim::End => None,
        }
    }

    /// Whether it uses a connection, or is about to.
    pub(super) fn is_at_work(&self) -> bool {
        match self.io {
            Io::Pausing(_) | Io::Sending(_) | Io::Arrived(_) | Io::Explaining { .. } | Io::Reading(_) => true,
            Io::Parked | Io::Unauthorized | Io::Awaited => false,
        }
    }

    /// When something is to be done about it, if nothing happens before.
    pub(super) fn due(&self, patience: Patience) -> Option<Instant> {
        let pause = match &self.io {
            Io::Pausing(until) | Io::Explaining { until, .. } => Some(*until),
            Io::Parked | Io::Unauthorized | Io::Sending(_) | Io::Arrived(_) | Io::Reading(_) | Io::Awaited => None,
        };
        [self.stalls(patience), pause].into_iter().flatten().min()
    }

    /// When it has taken too long.
    pub(super) fn stalls(&self, patience: Patience) -> Option<Instant> {
        if matches!(self.io, Io::Unauthorized) {
            return None; // that the server's token takes long is not its silence
        }
        let longest = match &self.aim {
            Aim::Request(wanted) if wanted.answered => LINGER,
            Aim::Request(Wanted { kind: WantedKind::Initialize, .. }) | Aim::Renewal => patience.start,
            Aim::Request(Wanted { kind: WantedKind::Discover, .. }) => patience.discover,
            Aim::Request(Wanted { kind: WantedKind::Listen, .. }) => return None,
            Aim::Request(_) => patience.silence,
            Aim::Message { .. } | Aim::Probe => MESSAGE,
            Aim::End => END,
            // A server may hold back even the head of its answer.
            Aim::Listening { .. } | Aim::Stream => return None,
        };
        Some(self.moved + longest)
    }
}
