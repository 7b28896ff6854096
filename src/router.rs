//! Decides where a frame goes and what it becomes. Pure: events in, actions out.
//!
//! A router never performs I/O, reads a clock or draws a random number. What it decides it tells an
//! [`Out`], which in the daemon encodes straight into the write buffers, and in tests is a list.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use crate::catalogue::Memory;
use crate::frame::Cut;
use crate::tools::size::Size;
use crate::words::{counted, span};

mod desk;
mod edits;
mod held;
mod ids;
mod lane;
pub mod merge;
pub mod names;
pub mod passthrough;
mod rotation;
mod silence;
pub mod turns;
pub mod uris;

/// What a request is told that comes during a stop.
const SHUTTING_DOWN: &str = "mcp-pipe is shutting down or restarting its servers";

/// Which server of a pipe, by its place in the pipe's list.
pub type ServerIndex = usize;

/// Where a router's decisions go. A frame is given in pieces, to be joined without anything between.
pub trait Out {
    /// One message to the endpoint.
    fn to_endpoint(&mut self, pieces: &[&[u8]]);
    /// One message to a server.
    fn to_server(&mut self, server: ServerIndex, pieces: &[&[u8]]);
    /// What a server said about itself has changed: to be kept for the next run.
    fn remember(&mut self, server: ServerIndex, memory: &Memory);
    /// Something a person may want to know.
    fn note(&mut self, note: Note<'_>);
}

/// What a router has to say to the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note<'a> {
    /// A line of a server's stdout that is no message.
    Noise {
        /// Whose.
        server: ServerIndex,
        /// The line, untrusted.
        line: &'a [u8],
    },
    /// The endpoint sent something that is no message; it was answered with a parse error.
    NotMessage {
        /// Why not.
        why: String,
    },
    /// A message of a server could not be read; the request that it belongs to was answered with an error.
    Unreadable {
        /// Whose.
        server: ServerIndex,
        /// Why not.
        why: String,
    },
    /// A message above the size limit was dropped.
    TooLarge {
        /// `None`: the endpoint's.
        server: Option<ServerIndex>,
        /// Its length in bytes.
        size: u64,
        /// Whether its request could be answered with an error.
        answered: bool,
    },
    /// An answer that nobody waits for: too late, given twice, or never asked for.
    Unclaimed {
        /// The server that gave it; `None`: the endpoint.
        server: Option<ServerIndex>,
    },
    /// The server answered the endpoint's `initialize` (or ours in its name).
    Initialized {
        /// Which.
        server: ServerIndex,
        /// Its name and version, as it gave them.
        identity: String,
    },
    /// A server's own request was answered by us, because the endpoint can't or doesn't.
    AnsweredForEndpoint {
        /// Whose request.
        server: ServerIndex,
        /// Its method.
        method: String,
        /// Why the endpoint didn't get it or didn't answer.
        why: &'static str,
    },
    /// The server answered `initialize` with an error. Others that share its connection go on.
    Refused {
        /// Which.
        server: ServerIndex,
        /// Its words.
        error: String,
    },
    /// The server could not say what it has. It is asked again.
    NotListed {
        /// Which.
        server: ServerIndex,
        /// The request.
        list: &'static str,
        /// Its words, or ours.
        error: String,
    },
    /// Not all that the server has fits into a message.
    ListTooLong {
        /// Which.
        server: ServerIndex,
        /// The largest message, in bytes.
        max: usize,
    },
    /// The config says something about tools that does not fit those that the server has.
    DoubtfulTools {
        /// Which server.
        server: ServerIndex,
        /// What, as a sentence.
        what: String,
    },
    /// The endpoint has read the list of tools.
    ToolsRead {
        /// The size of the answer.
        size: Size,
        /// How many tools are in it, if these are all.
        count: Option<usize>,
    },
    /// A call was answered.
    Served {
        /// By which server.
        server: ServerIndex,
        /// What was called.
        method: &'a [u8],
        /// From our receiving the request to our sending the answer.
        took: Duration,
    },
    /// The server was called and has said nothing since, nor given a sign of life when it was asked for one.
    Silent {
        /// Which.
        server: ServerIndex,
        /// For how long.
        lasted: Duration,
        /// For so long that it counts as not healthy. That was said before, when it was not that long yet.
        failed: bool,
    },
    /// It has said something after all.
    Heard {
        /// Which.
        server: ServerIndex,
        /// For how long it had not.
        lasted: Duration,
    },
    /// Whose turn it is changes, or was asked to.
    Turn {
        /// Whose turn this is about.
        server: ServerIndex,
        /// What about it, as a sentence about the server.
        what: String,
    },
}

/// What a person tells a pipe whose servers take turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnCommand {
    /// The next server's turn is to begin now.
    Next,
    /// The present server is to be kept, or, if it is kept already, no longer.
    Keep,
}

/// Why a server is not there, in words for the endpoint's user.
#[derive(Debug, Clone, Copy)]
pub struct Gone<'a> {
    /// "exited with code 1".
    pub why: &'a str,
    /// When it is started again.
    pub retry_in: Duration,
}

/// Why a router wants its connection closed and made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reconnect {
    /// The endpoint has not read the lists since they changed.
    Resync,
    /// It is another server's turn.
    Turn,
}

impl Reconnect {
    /// For a sentence that begins with "mcp-pipe closed the connection, ".
    pub fn why(self) -> &'static str {
        match self {
            Reconnect::Resync => "because the endpoint has not read what changed and looks anew only at a new one",
            Reconnect::Turn => "because it is another server's turn",
        }
    }
}

/// What became of an endpoint's `initialize`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Greeting {
    /// It has no answer yet.
    Waits,
    /// The server was not there in time: it was answered with an error of ours.
    Excused,
    /// It has the server's answer.
    Answered,
}

/// A router's account of the connection, for the one line that explains why it was closed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// What became of the endpoint's `initialize`, if it asked to.
    pub initialize: Option<Greeting>,
    /// Requests that have no answer yet: method and age.
    pub unanswered: Vec<(String, Duration)>,
    /// How many requests were answered on this connection.
    pub answered: u64,
    /// Calls (not handshake, ping or lists) that were answered, over all connections.
    pub served: u64,
    /// What the server is doing.
    pub server: String,
}

/// The rules of one pipe.
pub trait Router {
    /// A connection stands.
    fn on_link_up(&mut self, now: Instant, out: &mut dyn Out);
    /// The connection is gone, with all that was asked on it.
    fn on_link_down(&mut self, now: Instant, out: &mut dyn Out);
    /// A message of the endpoint.
    fn on_endpoint(&mut self, frame: &[u8], now: Instant, out: &mut dyn Out);
    /// A message of the endpoint above the size limit.
    fn on_endpoint_too_large(&mut self, cut: Cut<'_>, now: Instant, out: &mut dyn Out);
    /// A server's process runs.
    fn on_server_up(&mut self, server: ServerIndex, now: Instant, out: &mut dyn Out);
    /// A server's process is gone.
    fn on_server_down(&mut self, server: ServerIndex, gone: Gone<'_>, now: Instant, out: &mut dyn Out);
    /// A server doesn't read what it is sent (or does again): it is to get no more.
    fn on_server_busy(&mut self, server: ServerIndex, busy: bool, now: Instant, out: &mut dyn Out);
    /// A line of a server.
    fn on_server(&mut self, server: ServerIndex, frame: &[u8], now: Instant, out: &mut dyn Out);
    /// A line of a server above the size limit.
    fn on_server_too_large(&mut self, server: ServerIndex, cut: Cut<'_>, now: Instant, out: &mut dyn Out);
    /// The time of [`Router::next_tick`] has come.
    fn on_tick(&mut self, now: Instant, out: &mut dyn Out);
    /// A connection still stands: once in a while, for what needs no better time.
    fn on_beat(&mut self, _now: Instant, _out: &mut dyn Out) {}
    /// When [`Router::on_tick`] wants to be called.
    fn next_tick(&self) -> Option<Instant>;
    /// A person wants the turns to go another way. Nothing to a router without turns.
    fn on_turn_command(&mut self, _command: TurnCommand, _now: Instant, _out: &mut dyn Out) {}
    /// From now on requests are refused; those under way go on.
    fn drain(&mut self, now: Instant, out: &mut dyn Out);
    /// Requests of the endpoint that have no answer yet.
    fn in_flight(&self) -> usize;
    /// Whether every server has shown that it is loaded, so that dialling makes sense.
    fn is_warm(&self) -> bool;
    /// Whether a server answers. Asked after what it wrote.
    fn is_serving(&self, server: ServerIndex) -> bool;
    /// Whether the endpoint's `initialize` was answered on this connection.
    fn is_handshaken(&self) -> bool;
    /// Whether the connection is to be closed now and made anew. Asked after every event.
    fn wants_reconnect(&self, now: Instant) -> Option<Reconnect>;
    /// What to tell about this connection.
    fn account(&self, now: Instant) -> Account;
    /// Calls that were answered so far; grows with each proof that endpoint and server are healthy.
    fn served(&self) -> u64;
}

impl fmt::Display for Note<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::Noise { line, .. } => {
                write!(f, "stdout line that is not JSON-RPC: {}", String::from_utf8_lossy(&line[..line.len().min(200)]))
            }
            Note::NotMessage { why } => write!(
                f,
                "the endpoint sent something that is no JSON-RPC message ({why}); answered with a parse error"
            ),
            Note::Unreadable { why, .. } => write!(
                f,
                "the server sent a message that is not JSON-RPC ({why}); the request that it belongs to was answered with an error"
            ),
            Note::TooLarge { server, size, answered } => write!(
                f,
                "{} sent a message of {size} bytes, above maxFrameSize; {}",
                if server.is_some() { "the server" } else { "the endpoint" },
                if *answered {
                    "its request was answered with an error"
                } else {
                    "dropped: its id could not be found, or nobody waits for it"
                },
            ),
            Note::Unclaimed { server: Some(_) } => f.write_str("dropped an answer of the server that nobody waits for"),
            Note::Unclaimed { server: None } => f.write_str("dropped an answer of the endpoint that nobody waits for"),
            Note::Initialized { identity, .. } => write!(f, "initialized: {identity}"),
            Note::AnsweredForEndpoint { method, why, .. } => {
                write!(f, "answered the server's {method} with an error: {why}")
            }
            Note::Refused { error, .. } => {
                write!(f, "the server refused to initialize: {error}; its calls are refused until it accepts")
            }
            Note::NotListed { list, error, .. } => {
                write!(f, "the server did not answer {list}: {error}; what it has of that is not published yet")
            }
            Note::ListTooLong { max, .. } => write!(
                f,
                "not all that the server offers fits into a message of {max} bytes (maxFrameSize); publish less by \"tools\", or set \"slim\": true"
            ),
            Note::DoubtfulTools { what, .. } => f.write_str(what),
            Note::ToolsRead { size: Size { bytes, tokens }, .. } => {
                write!(
                    f,
                    "the endpoint read the list of tools: {}, about {}",
                    counted(*bytes, "byte"),
                    counted(*tokens, "token")
                )
            }
            Note::Served { method, took, .. } => {
                write!(f, "{} answered in {}", String::from_utf8_lossy(method), span(*took))
            }
            Note::Silent { lasted, .. } => write!(
                f,
                "was called {} ago and has said nothing since, nor answered a ping: it may hang, or work on something long. \
                 If it hangs, end its process, and it is started anew; a \"timeout\" gives its callers an error in time",
                span(*lasted)
            ),
            Note::Heard { lasted, .. } => write!(f, "says something again, after {}", span(*lasted)),
            Note::Turn { what, .. } => f.write_str(what),
        }
    }
}
