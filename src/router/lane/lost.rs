//! Messages of a server that are lost: whoever waits for one gets an error.

use tokio::time::Instant;

use super::{Flight, Lane, Note, Out, Outcome, Peers, What, is_work};
use crate::frame::Cut;
use crate::mcp::envelope::{self, Lost};
use crate::mcp::reply::{self, INVALID_REQUEST};
use crate::net::peer_text::bounded;

/// Longest part that is shown of an answer to `initialize` that can't be read, in characters.
const EXCERPT: usize = 200;

impl Lane {
    /// A message of the server is above the size limit. Who waits for it gets an error. If it answers a request of our own,
    /// that is returned with the words of the error, for the router to deal with.
    pub(in crate::router) fn on_too_large(
        &mut self,
        cut: Cut<'_>,
        peers: &mut Peers,
        now: Instant,
        out: &mut dyn Out,
    ) -> Option<(Flight, String)> {
        let seen = envelope::scan_cut(cut);
        let id = seen.id.filter(|id| *id != b"null");
        let why = (Outcome::TooLarge, self.oversize(cut.size));
        let lost = id.and_then(|id| self.answer_lost(id, seen.method, why, peers, now, out));
        out.note(Note::of(self.index, What::TooLarge { size: cut.size, answered: lost.is_some() }));
        let limit = self.max_frame;
        instead(lost.flatten(), || {
            format!("answered initialize with {} bytes, above the limit of {limit} (maxFrameSize)", cut.size)
        })
    }

    /// A message of the server can't be read. What follows is that of [`Lane::on_too_large`]. `text`: what has come of the
    /// message.
    pub(in crate::router) fn on_lost(
        &mut self,
        lost: Lost<'_>,
        text: &[u8],
        peers: &mut Peers,
        now: Instant,
        out: &mut dyn Out,
    ) -> Option<(Flight, String)> {
        let Lost { id, method, why } = lost;
        let did = if why.is_misreading() { "sent" } else { "answered with" };
        let message = format!("server \"{}\" {did} something that is not JSON-RPC ({why})", self.name);
        let lost = self.answer_lost(id, method, (Outcome::RpcError, message), peers, now, out);
        if lost.is_some() {
            out.note(Note::of(self.index, What::Unreadable { why: why.to_string() }));
        } else if !text.is_empty() {
            out.note(Note::of(self.index, What::Noise { line: text }));
        }
        instead(lost.flatten(), || {
            let excerpt = bounded(&String::from_utf8_lossy(&text[..text.len().min(4 * EXCERPT)]), EXCERPT);
            let excerpt = if excerpt.is_empty() { excerpt } else { format!(": {excerpt}") };
            format!("answered initialize with something that is not JSON-RPC ({why}){excerpt}")
        })
    }

    /// The server answers a request no more. What follows is that of [`Lane::on_too_large`].
    pub(in crate::router) fn on_unanswered(
        &mut self,
        id: &[u8],
        why: &str,
        peers: &mut Peers,
        now: Instant,
        out: &mut dyn Out,
    ) -> Option<(Flight, String)> {
        let message = format!("server \"{}\" {why}", self.name);
        instead(self.fail_flight(id, (Outcome::ServerDown, message), peers, now, out).flatten(), || {
            format!("gave no answer to initialize: it {why}")
        })
    }

    /// The server has begun another conversation, while requests that are under way there go on.
    pub(in crate::router) fn forget_conversation(&mut self, peers: &mut Peers, out: &mut dyn Out) {
        self.lasting.clear();
        self.abandoned.clear();
        self.leftover.server_down();
        peers.server_down(self.index, out);
    }

    /// Answers in place of a message that is lost: the server's own request, or the endpoint's to which this was the answer.
    /// A request of our own is returned instead. `None`: nobody waits for the message.
    fn answer_lost(
        &mut self,
        id: &[u8],
        is_request: bool,
        why: (Outcome, String),
        peers: &mut Peers,
        now: Instant,
        out: &mut dyn Out,
    ) -> Option<Option<(Flight, String)>> {
        if !is_request {
            return self.fail_flight(id, why, peers, now, out);
        }
        out.to_server(self.index, &[&reply::error(id, INVALID_REQUEST, why.1)]);
        Some(None)
    }

    /// Answers a request to which the server's answer is lost, or returns it if it is our own. `None`: no request has this
    /// id.
    fn fail_flight(
        &mut self,
        id: &[u8],
        (outcome, message): (Outcome, String),
        peers: &mut Peers,
        now: Instant,
        out: &mut dyn Out,
    ) -> Option<Option<(Flight, String)>> {
        let flight = self.take_flight(id)?.1;
        match flight {
            Flight::Call(call) => {
                if is_work(call.method()) {
                    self.call_failed(outcome, now, out);
                }
                self.fail(call, outcome, message, peers, out);
                Some(None)
            }
            other @ (Flight::Initialize(_) | Flight::List(..) | Flight::Check(_)) => Some(Some((other, message))),
        }
    }

    /// The words for an answer above the size limit.
    pub(super) fn oversize(&self, size: u64) -> String {
        let limit = self.max_frame;
        format!("the answer of server \"{}\" has {size} bytes, above the limit of {limit} (maxFrameSize)", self.name)
    }
}

/// A request of ours whose answer is lost, with what the server did in words that follow its name, where that is its `initialize`.
fn instead(lost: Option<(Flight, String)>, did: impl FnOnce() -> String) -> Option<(Flight, String)> {
    lost.map(|(flight, message)| match flight {
        Flight::Initialize(_) => (flight, did()),
        Flight::Call(_) | Flight::List(_) | Flight::Check(_) => (flight, message),
    })
}
