//! Decides where a frame goes and what it becomes. Pure: events in, actions out.
//!
//! A router never performs I/O, reads a clock or draws a random number. What it decides it tells an
//! [`Out`], which in the daemon encodes straight into the write buffers, and in tests is a list.

use std::time::Duration;

use tokio::time::Instant;

pub use self::note::{Note, What};
use crate::catalogue::Memory;
use crate::frame::Cut;
use crate::mcp::envelope::{Envelope, Lost};

mod changes;
mod desk;
mod edits;
mod held;
mod ids;
mod lane;
pub mod merge;
pub mod names;
pub mod note;
mod opening;
pub mod passthrough;
mod request;
mod rotation;
mod search;
mod silence;
mod task;
pub mod turns;
pub mod uris;
mod wishes;

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
    /// The endpoint says other things of itself than was known: its `initialize` parameters, to be kept for the next run.
    fn remember_hello(&mut self, params: &str);
    /// A server's process is to be ended, and another one started at once; why, in words that go on "is started anew: ".
    /// Its end is told as any other's, and till then what it writes is still read.
    fn restart(&mut self, server: ServerIndex, why: &'static str);
    /// Something a person may want to know.
    fn note(&mut self, note: Note<'_>);
    /// Whether the endpoint is to get one more answer of our own. What is owed to it waits until it is: [`Router::on_room`].
    fn has_room(&self) -> bool {
        true
    }
    /// Whether a server reads what it is sent. One that doesn't gets only what it must have, and no long messages.
    fn is_read_by(&self, _server: ServerIndex) -> bool {
        true
    }
}

/// What there is to wait for before the endpoint is dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The server is starting, and what the endpoint will ask first needs its answer.
    Awaited,
    /// It has answered `initialize`, or what it would answer is remembered.
    Settled,
    /// It is not there: it could not be started or has died, and is tried again later.
    Absent,
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
    /// The server refuses to initialize: it was answered with its error.
    Refused,
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
    /// A binary message of the endpoint that is not UTF-8.
    fn on_endpoint_not_text(&mut self, frame: &[u8], now: Instant, out: &mut dyn Out);
    /// A server's process runs.
    fn on_server_up(&mut self, server: ServerIndex, now: Instant, out: &mut dyn Out);
    /// A server's process is gone.
    fn on_server_down(&mut self, server: ServerIndex, gone: Gone<'_>, now: Instant, out: &mut dyn Out);
    /// A server doesn't read what it is sent (or does again): it is to get no more.
    fn on_server_busy(&mut self, server: ServerIndex, busy: bool, now: Instant, out: &mut dyn Out);
    /// A message of a server: one line, and no [`Kind::Other`](crate::mcp::envelope::Kind).
    fn on_server(&mut self, server: ServerIndex, frame: &[u8], e: &Envelope, now: Instant, out: &mut dyn Out);
    /// A server wrote a text that is no message.
    fn on_server_noise(&mut self, server: ServerIndex, text: &[u8], now: Instant, out: &mut dyn Out);
    /// A message of a server can't be read, or may have been lost. `text` is what is there of it, if that is not known as noise.
    fn on_server_lost(&mut self, server: ServerIndex, lost: Lost<'_>, text: &[u8], now: Instant, out: &mut dyn Out);
    /// A message of a server above the size limit.
    fn on_server_too_large(&mut self, server: ServerIndex, cut: Cut<'_>, now: Instant, out: &mut dyn Out);
    /// The time of [`Router::next_tick`] has come.
    fn on_tick(&mut self, now: Instant, out: &mut dyn Out);
    /// A connection still stands: once in a while, for what needs no better time.
    fn on_beat(&mut self, _now: Instant, _out: &mut dyn Out) {}
    /// The endpoint may have what [`Out::has_room`] has kept back. Nothing of the endpoint comes before.
    fn on_room(&mut self, now: Instant, out: &mut dyn Out);
    /// When [`Router::on_tick`] wants to be called.
    fn next_tick(&self) -> Option<Instant>;
    /// A person wants the turns to go another way. Nothing to a router without turns.
    fn on_turn_command(&mut self, _command: TurnCommand, _now: Instant, _out: &mut dyn Out) {}
    /// From now on requests are refused; those under way go on.
    fn drain(&mut self, now: Instant, out: &mut dyn Out);
    /// Requests of the endpoint that have no answer yet.
    fn in_flight(&self) -> usize;
    /// How far the start of a server is, as far as dialling depends on it.
    fn start(&self, server: ServerIndex) -> Start;
    /// Whether a server has been initialized. Asked after what it wrote.
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

/// Lets a server say a line, as a pipe hears it: with what is given up or in doubt told at once.
#[cfg(test)]
pub(crate) fn say(router: &mut dyn Router, server: ServerIndex, line: &[u8], now: Instant, out: &mut dyn Out) {
    use std::ops::ControlFlow;

    use crate::server::{Found, Stdout};

    let mut stdout = Stdout::new(1 << 24, now);
    let mut on = |found: Found<'_>| {
        match found {
            Found::Message { frame, envelope } => router.on_server(server, frame, envelope, now, out),
            Found::Noise(text) => router.on_server_noise(server, text, now, out),
            Found::Lost(lost, text) => router.on_server_lost(server, lost, text, now, out),
            Found::TooLarge(cut) => router.on_server_too_large(server, cut, now, out),
            Found::Habit(_) => {}
        }
        ControlFlow::Continue(())
    };
    let said = [stdout.feed(line, now, &mut on), stdout.feed(b"\n", now, &mut on)];
    let late = stdout.on_deadline(now + Duration::from_secs(3600), &mut on);
    assert!(said.iter().chain([&late]).all(ControlFlow::is_continue));
}

/// A message as a server may write it: well, amid other text, over several lines, twice on a line, behind headers, or cut short.
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
