//! Decides where a frame goes and what it becomes. Pure: events in, actions out.
//!
//! A router never performs I/O, reads a clock or draws a random number. Its decisions go to an [`Out`], which in the daemon
//! encodes straight into the write buffers, and in tests is a list.

use std::time::Duration;

use tokio::time::Instant;

pub use self::bar::Bar;
pub use self::desk::PeerKind;
pub use self::lane::Circuit;
pub(crate) use self::lane::FAILURES;
pub use self::lane::{Checked, Failures};
pub use self::note::{About, Note, What};
pub use self::outcome::{CallMethod, CountedCall, Outcome};
pub use self::peers::{NewPeer, PeerId, Sight, ViewId};
pub(crate) use self::turns::QUIET;
use crate::catalogue::Memory;
use crate::frame::Cut;
use crate::mcp::envelope::{Envelope, Lost};

pub(crate) mod bar;
mod call_cache;
mod changes;
mod deadlines;
mod desk;
mod edits;
mod following;
mod held;
pub mod hub;
mod ids;
mod lane;
mod listing;
pub(crate) mod names;
pub(crate) mod note;
mod opening;
mod outcome;
mod peers;
mod request;
mod rotation;
mod search;
mod silence;
mod task;
#[cfg(test)]
mod tests;
pub(crate) mod turns;
pub(crate) mod uris;
mod wishes;

/// The error for a request that comes while mcp-pipe stops.
const SHUTTING_DOWN: &str = "mcp-pipe is shutting down or restarting its servers";

/// Which server of a pipe, by its place in the pipe's list.
pub type ServerIndex = usize;

/// Where a router's decisions go. A frame is given in pieces, which are joined with nothing between them.
pub trait Out {
    /// One message to a peer.
    fn to_peer(&mut self, peer: PeerId, pieces: &[&[u8]]);
    /// One message to a server.
    fn to_server(&mut self, server: ServerIndex, pieces: &[&[u8]]);
    /// What a server said about itself has changed, and is to be kept for the next run.
    fn remember(&mut self, server: ServerIndex, memory: &Memory);
    /// A peer's `initialize` parameters differ from those that were known, and are to be kept for the next run.
    fn remember_hello(&mut self, peer: PeerId, params: &str);
    /// Ends a server's process and has another one started at once. `why` goes on from "is started anew: ". The end is
    /// reported as any other is, and until then what the process writes is still read.
    fn restart(&mut self, server: ServerIndex, why: &'static str);
    /// The same for a process that has failed, so that it is started again as after a death of its own: at once, or later and later. `why` is
    /// what the server did, in words that follow its name. Nobody asks for that where no server has a health check.
    fn end_failed(&mut self, _server: ServerIndex, _why: String) {}
    /// What becomes of one of a server's processes, where each peer has one of its own. Nobody asks for that where no server is so
    /// configured.
    fn arrange(&mut self, _server: ServerIndex, _what: Arrangement) {}
    /// Something a person may want to know.
    fn note(&mut self, note: Note<'_>);
    /// Whether there is room for one more answer of our own to a peer. Answers without room wait for [`Router::on_room`].
    fn has_room(&self, _peer: PeerId) -> bool {
        true
    }
    /// Whether a server reads its stdin. A server that doesn't is sent only what cannot be left out, and no long messages.
    fn is_read_by(&self, _server: ServerIndex) -> bool {
        true
    }
}

/// What becomes of a process of a server of which each peer has one of its own. From then on nothing is heard any more of the
/// process that was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrangement {
    /// A process like the first is to run, for this peer alone or for all; if one is still ending in its place, when that is gone. Next
    /// [`Router::on_server_up`] is called.
    Start {
        /// The server whose first process it is like.
        first: ServerIndex,
        /// Whose it is; all peers' if `None`.
        peer: Option<PeerId>,
    },
    /// The process is to end, and another one to be started at once: next [`Router::on_server_up`] is called. The reason goes on from
    /// "is started anew: ".
    Replace(&'static str),
    /// The process is to end. [`Hub::remove_server`](hub::Hub::remove_server) is called when it is gone, unless another
    /// one is to be started in its place by then.
    End,
}

/// How far a server's start is, as far as dialling the endpoint depends on that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The server is starting, and what the endpoint will ask first needs its answer.
    Awaited,
    /// The server has answered `initialize`, or its answer is remembered from an earlier run.
    Settled,
    /// The server is not there: it could not be started or has died. Another attempt follows.
    Absent,
}

/// What a person tells a pipe about the turns of an endpoint. Servers are named by their places among those that take turns there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnCommand {
    /// The next server's turn is to begin now.
    Next,
    /// The present server keeps its turn; if it was kept already, its turn ends like others again.
    Keep,
    /// The turn of this server begins, and does not end; no other server is kept any longer.
    Pin(usize),
    /// The turn of this server ends like others again.
    Unpin(usize),
}

/// Why a server is not there, in words for the endpoint's user.
#[derive(Debug, Clone, Copy)]
pub struct Gone<'a> {
    /// "exited with code 1".
    pub why: &'a str,
    /// How long until the server is started again.
    pub retry_in: Duration,
    /// Whether we have ended it because somebody wanted that, which says nothing against the server.
    pub by_command: bool,
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
    /// The reason, as the end of a sentence that begins with "mcp-pipe closed the connection, ".
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
    /// There is no answer yet.
    Waits,
    /// The server was not there in time, and the answer was an error of ours.
    Excused,
    /// A person has stopped the server, and the answer was an error of ours.
    Barred,
    /// The server refuses to initialize, and the answer was an error with its words.
    Refused,
    /// The answer was a result.
    Answered,
}

/// A router's account of the connection, for the one line that explains why it was closed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// What became of the endpoint's `initialize`, if there was one.
    pub initialize: Option<Greeting>,
    /// Requests that have no answer yet: method and age.
    pub unanswered: Vec<(String, Duration)>,
    /// How many requests were answered on this connection.
    pub answered: u64,
    /// Calls (not handshake, ping or lists) that were answered, over all connections.
    pub served: u64,
    /// What the server is doing.
    pub server: String,
    /// No server that is not ready has a process: their lives have ended, or could not begin.
    pub ended: bool,
}

/// The first of some times, if there is any. Asked for with each message, which chained iterators make five times as dear.
pub(crate) fn earliest<const N: usize>(times: [Option<Instant>; N]) -> Option<Instant> {
    let mut first: Option<Instant> = None;
    for time in times {
        if let Some(at) = time
            && first.is_none_or(|first| at < first)
        {
            first = time;
        }
    }
    first
}

/// The rules of one pipe.
///
/// Events of a peer that has left, or never came, change nothing.
pub trait Router {
    /// A peer comes, without a connection yet. Its key is used for no other peer, ever.
    fn join(&mut self, peer: NewPeer) -> PeerId;
    /// A peer goes, with all that it has asked, and does not come again.
    fn leave(&mut self, peer: PeerId, now: Instant, out: &mut dyn Out);
    /// A peer's connection stands.
    fn on_link_up(&mut self, peer: PeerId, now: Instant, out: &mut dyn Out);
    /// A peer's connection is gone, with all that was asked on it.
    fn on_link_down(&mut self, peer: PeerId, now: Instant, out: &mut dyn Out);
    /// A message of a peer.
    fn on_peer(&mut self, peer: PeerId, frame: &[u8], now: Instant, out: &mut dyn Out);
    /// A message of a peer above the size limit.
    fn on_peer_too_large(&mut self, peer: PeerId, cut: Cut<'_>, now: Instant, out: &mut dyn Out);
    /// A binary message of a peer that is not UTF-8.
    fn on_peer_not_text(&mut self, peer: PeerId, frame: &[u8], now: Instant, out: &mut dyn Out);
    /// A server's process runs.
    fn on_server_up(&mut self, server: ServerIndex, now: Instant, out: &mut dyn Out);
    /// A server's process is gone.
    fn on_server_down(&mut self, server: ServerIndex, gone: Gone<'_>, now: Instant, out: &mut dyn Out);
    /// A server has stopped reading its stdin (`busy`) and is to be sent no more, or reads again.
    fn on_server_busy(&mut self, server: ServerIndex, busy: bool, now: Instant, out: &mut dyn Out);
    /// From now on a server takes no calls, or it takes them again (`None`). That a stopped server's process is gone is told
    /// besides, by [`Router::on_server_down`].
    fn on_server_barred(&mut self, server: ServerIndex, bar: Option<Bar>, now: Instant, out: &mut dyn Out);
    /// A message of a server: one line, and never of [`Kind::Other`](crate::mcp::envelope::Kind).
    fn on_server(&mut self, server: ServerIndex, frame: &[u8], e: &Envelope, now: Instant, out: &mut dyn Out);
    /// A message of a server of which it is known to which request of ours it belongs, by that request's number.
    fn on_server_caused(
        &mut self,
        server: ServerIndex,
        cause: u64,
        message: (&[u8], &Envelope),
        now: Instant,
        out: &mut dyn Out,
    );
    /// The server's present life is of the modern era: it is to be told of each request for whom it is.
    fn on_server_modern(&mut self, server: ServerIndex);
    /// A server wrote a text that is no message.
    fn on_server_noise(&mut self, server: ServerIndex, text: &[u8], now: Instant, out: &mut dyn Out);
    /// A server has sent an error that names no request.
    fn on_server_nameless(&mut self, server: ServerIndex, error: &[u8], now: Instant, out: &mut dyn Out);
    /// A message of a server can't be read, or may have been lost. `text` is what has come of the message, empty where that
    /// was reported as noise already.
    fn on_server_lost(&mut self, server: ServerIndex, lost: Lost<'_>, text: &[u8], now: Instant, out: &mut dyn Out);
    /// A server answers the request of this id no more. `id` is the whole token, `why` the end of a sentence that begins with the
    /// server's name.
    fn on_server_unanswered(&mut self, server: ServerIndex, id: &[u8], why: &str, now: Instant, out: &mut dyn Out);
    /// A server has begun another conversation in the same life, and knows nothing of what it was told after the handshake.
    fn on_server_renewed(&mut self, server: ServerIndex, now: Instant, out: &mut dyn Out);
    /// A message of a server above the size limit.
    fn on_server_too_large(&mut self, server: ServerIndex, cut: Cut<'_>, now: Instant, out: &mut dyn Out);
    /// The time of [`Router::next_tick`] has come.
    fn on_tick(&mut self, now: Instant, out: &mut dyn Out);
    /// A peer's connection still stands, and its servers are read. Called once in a while, for whatever needs no exact time.
    fn on_beat(&mut self, _peer: PeerId, _now: Instant, _out: &mut dyn Out) {}
    /// There is room again for answers to a peer that [`Out::has_room`] held back. No message of the peer is passed on before
    /// this call.
    fn on_room(&mut self, peer: PeerId, now: Instant, out: &mut dyn Out);
    /// When [`Router::on_tick`] wants to be called.
    fn next_tick(&self) -> Option<Instant>;
    /// A person commands the turns of an endpoint. Returns what comes of that, or why nothing does, in words for that person.
    fn on_turn_command(
        &mut self,
        _peer: PeerId,
        _command: TurnCommand,
        _now: Instant,
        _out: &mut dyn Out,
    ) -> Result<String, String> {
        Err("its servers take no turns".into())
    }
    /// From now on no request is served; those under way go on.
    fn drain(&mut self, now: Instant, out: &mut dyn Out);
    /// A peer's connection is closed now: what it has asked since [`Router::drain`] is refused.
    fn part(&mut self, peer: PeerId, out: &mut dyn Out);
    /// Says of the calls under way that all of them are about to be cut off.
    fn tell_cut(&self, now: Instant, out: &mut dyn Out);
    /// Requests of all peers that have no answer yet.
    fn in_flight(&self) -> usize;
    /// How far the start of a server is, as far as dialling an endpoint depends on that.
    fn start(&self, server: ServerIndex) -> Start;
    /// Whether a server may be asked something by a peer that is connected now: with turns it is one of several.
    fn is_next(&self, _peer: PeerId, _server: ServerIndex) -> bool {
        true
    }
    /// Whether a server has been initialized. The pipe asks after each text of the server.
    fn is_serving(&self, server: ServerIndex) -> bool;
    /// Whether a peer's `initialize` was answered on its connection.
    fn is_handshaken(&self, peer: PeerId) -> bool;
    /// Whether a peer's connection is to be closed now and made anew. The pipe asks after every event.
    fn wants_reconnect(&self, peer: PeerId, now: Instant) -> Option<Reconnect>;
    /// What the router knows about a peer's connection.
    fn account(&self, peer: PeerId, now: Instant) -> Account;
    /// The router, where its servers, views and turns may change.
    fn turns(&mut self) -> Option<&mut turns::Turns> {
        None
    }
    /// Calls of a peer that were answered so far; grows with each proof that peer and server are healthy.
    fn served(&self, peer: PeerId) -> u64;
}

/// Passes a line of a server to the router as a pipe does, and then reports at once what the pipe would give up later.
#[cfg(test)]
pub(crate) fn say(router: &mut dyn Router, server: ServerIndex, line: &[u8], now: Instant, out: &mut dyn Out) {
    use std::ops::ControlFlow;

    use crate::server::{Found, Stdout};

    let mut stdout = Stdout::new(1 << 24, now);
    let mut on = |found: Found<'_>| {
        match found {
            Found::Message { frame, envelope } => router.on_server(server, frame, envelope, now, out),
            Found::Caused { cause, frame, envelope } => {
                router.on_server_caused(server, cause, (frame, envelope), now, out)
            }
            Found::Noise(text) => router.on_server_noise(server, text, now, out),
            Found::Nameless(error) => router.on_server_nameless(server, error, now, out),
            Found::Lost(lost, text) => router.on_server_lost(server, lost, text, now, out),
            Found::TooLarge(cut) => router.on_server_too_large(server, cut, now, out),
            Found::Unanswered { id, why } => router.on_server_unanswered(server, id, why, now, out),
            Found::Renewed => router.on_server_renewed(server, now, out),
            Found::Modern => router.on_server_modern(server),
            Found::Odd { .. } | Found::Habit(_) => {}
        }
        ControlFlow::Continue(())
    };
    let said = [stdout.feed(line, now, &mut on), stdout.feed(b"\n", now, &mut on)];
    let late = stdout.on_deadline(now + Duration::from_secs(3600), &mut on);
    assert!(said.iter().chain([&late]).all(ControlFlow::is_continue));
}

/// A message as a server may write it: well, amid other text, over several lines, twice on a line, behind headers, or cut
/// short.
#[cfg(test)]
pub(crate) fn in_guise(mut message: serde_json::Value, guise: u8) -> String {
    message["jsonrpc"] = "2.0".into();
    let plain = message.to_string();
    match guise {
        0 => format!("10%\r\x1b[1m{plain}\x1b[0m done"),
        1 => format!("{message:#}"),
        2 => format!("{plain}{plain}"),
        3 => format!("Content-Length: {}\r\n\r\n{plain}", plain.len()),
        4 => format!("{}\nlog", &plain[..plain.len() - 2]),
        _ => plain,
    }
}
