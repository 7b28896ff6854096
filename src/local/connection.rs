//! One connection at the local endpoint: the upgrade, then a [`Session`] between a socket and a queue of calls.
//!
//! # Theory of operation
//!
//! Two halves in one task. The reading half feeds the session with frames, calls and time; what the session wants
//! sent goes into a bounded queue that the writing half empties. So reading never waits for writing: a pipe that
//! pushes back can still deliver. A peer that lets the queue fill up is not reading, and is cut off.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use http::header::SEC_WEBSOCKET_PROTOCOL;
use http::{HeaderValue, StatusCode, Uri};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};

use super::session::{Output, Session};
use super::{Catalogue, Presence, RpcError, Seat, Seats};
use crate::words::{counted, listed, span};

/// Longest time for the upgrade: a pipe on the same machine takes milliseconds.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for the peer's close frame after ours (RFC 6455 section 7.1.1).
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest wait for a server's list of tools before the log tells of it: as long as a server that shares its connection is given.
const LIST_LATE: Duration = Duration::from_secs(30);
/// First size of the buffers of a connection, in bytes: small, since large messages make a buffer grow while they last.
const BUFFER: usize = 8 * 1024;
/// Most calls under way at a time; further ones wait in the queue. A robot sends one at a time, a person's script perhaps ten.
const MAX_CALLS: usize = 64;
/// Most frames that wait to be sent: every call in flight and its cancellation, and as many answers for a talkative server.
const MAX_UNSENT: usize = 4 * MAX_CALLS;
/// Most tools of a server that are named in one line of the log.
const SHOWN: usize = 20;

/// A request on its way to a server; mostly a `tools/call`.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) method: String,
    pub(super) params: Value,
    pub(super) answer: Ticket,
}

type Ticket = oneshot::Sender<Result<Value, RpcError>>;

/// The way to a connection for the callers of its server.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// Calls to send.
    pub(super) calls: mpsc::Sender<Call>,
    /// To be notified after a caller has dropped its end of a ticket, so that the call is cancelled at the server.
    pub(super) abandoned: Arc<Notify>,
}

type Socket = WebSocketStream<TcpStream>;

/// Serves one connection until it ends.
pub(super) async fn serve(stream: TcpStream, seats: Arc<Seats>, max_message: usize) {
    let Some((socket, seat)) = upgrade(stream, &seats, max_message).await else { return };
    tracing::debug!(event = "LOCAL_CONNECTED", servers = ?seat.names, "connected to the local endpoint");
    let (sink, stream) = socket.split();
    let (unsent, to_send) = mpsc::channel(MAX_UNSENT);
    let mut reader = Reader::new(seat, unsent);
    let why = tokio::select! {
        why = reader.run(stream) => why,
        why = write(sink, to_send) => why,
    };
    tracing::debug!(event = "LOCAL_DISCONNECTED", servers = ?reader.seat.names, "left the local endpoint: {why}");
    reader.leave(why);
}

async fn upgrade(stream: TcpStream, seats: &Seats, max_message: usize) -> Option<(Socket, Arc<Seat>)> {
    let mut seat = None;
    #[expect(clippy::result_large_err, reason = "the signature is tungstenite's")]
    let check = |request: &Request, response: Response| {
        let found = find(seats, request.uri());
        found.map(|found| seat = Some(found)).map(|()| accept_subprotocol(request, response)).map_err(|status| {
            let mut refusal = ErrorResponse::new(None);
            *refusal.status_mut() = status;
            refusal
        })
    };
    let limits = WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .max_message_size(Some(max_message))
        .max_frame_size(Some(max_message));
    // The Nagle algorithm would hold back small frames; if it can't be switched off, everything still works.
    let _ = stream.set_nodelay(true);
    match tokio::time::timeout(UPGRADE_TIMEOUT, accept_hdr_async_with_config(stream, check, Some(limits))).await {
        Ok(Ok(socket)) => seat.map(|seat| (socket, seat)),
        Ok(Err(error)) => {
            tracing::debug!(event = "LOCAL_REFUSED", "the local endpoint refused a connection: {error}");
            None
        }
        Err(_) => None,
    }
}

/// Which server an address belongs to.
fn find(seats: &Seats, address: &Uri) -> Result<Arc<Seat>, StatusCode> {
    if !matches!(address.path(), "/mcp/" | "/mcp") {
        return Err(StatusCode::NOT_FOUND);
    }
    let query = address.query().unwrap_or_default();
    let token = query.split('&').find_map(|pair| pair.strip_prefix("token="));
    token.and_then(|token| seats.get(token)).cloned().ok_or(StatusCode::UNAUTHORIZED)
}

/// Takes the first subprotocol that is offered: a client that offers any may insist on one (RFC 6455 section 4.1).
fn accept_subprotocol(request: &Request, mut response: Response) -> Response {
    let offered = request.headers().get(SEC_WEBSOCKET_PROTOCOL).and_then(|offered| offered.to_str().ok());
    let first = offered.and_then(|offered| offered.split(',').next()).map(str::trim);
    if let Some(first) = first.and_then(|first| HeaderValue::from_str(first).ok()) {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, first);
    }
    response
}

async fn write(mut sink: SplitSink<Socket, Message>, mut to_send: mpsc::Receiver<Message>) -> &'static str {
    while let Some(message) = to_send.recv().await {
        let closing = message.is_close();
        if sink.send(message).await.is_err() {
            return "the connection broke";
        }
        if closing {
            // The reading half ends the connection at the peer's close frame; this pause is all the time that the peer has.
            tokio::time::sleep(CLOSE_TIMEOUT).await;
            return "closed by the endpoint";
        }
    }
    "closed by the endpoint"
}

/// The half that decides.
struct Reader {
    seat: Arc<Seat>,
    unsent: mpsc::Sender<Message>,
    calls: mpsc::Receiver<Call>,
    line: Line,
}

impl Reader {
    fn new(seat: Arc<Seat>, unsent: mpsc::Sender<Message>) -> Self {
        let (queue, calls) = mpsc::channel(MAX_CALLS);
        Reader { seat, unsent, calls, line: Line { calls: queue, abandoned: Arc::new(Notify::new()) } }
    }

    /// Runs until the peer is gone, or nothing more can be sent to it; returns why.
    async fn run(&mut self, mut frames: SplitStream<Socket>) -> &'static str {
        let (mut session, mut outputs) = Session::open(Instant::now());
        self.note_absence("it has not answered initialize");
        let (mut was_open, mut late) = (false, None);
        loop {
            for output in outputs.drain(..) {
                if let Err(why) = self.perform(output) {
                    return why;
                }
            }
            if session.is_open() && !std::mem::replace(&mut was_open, true) {
                self.note_absence("it has not answered tools/list");
                late = Some(Instant::now() + LIST_LATE);
            }
            let wake_at = session.wake_at();
            outputs = tokio::select! {
                frame = frames.next() => match frame {
                    Some(Ok(Message::Text(text))) => session.on_frame(text.as_str(), Instant::now()),
                    Some(Ok(Message::Binary(_))) => vec![Output::Odd("a binary message".to_owned())],
                    Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_))) => Vec::new(),
                    Some(Err(_)) => return "the connection broke",
                    None => return "the connection was closed",
                },
                () = sleep_until(late.unwrap_or_else(Instant::now)), if late.is_some() => {
                    late = None;
                    self.report_no_list();
                    Vec::new()
                }
                Some(call) = self.calls.recv(), if session.is_open() && session.calls_in_flight() < MAX_CALLS => {
                    let mut outputs = session.request(&call.method, &call.params, call.answer);
                    // Its caller may have given it up already, and told so before it came here.
                    outputs.extend(session.abandon(Ticket::is_closed));
                    outputs
                }
                () = self.line.abandoned.notified() => session.abandon(Ticket::is_closed),
                () = tokio::time::sleep_until(wake_at.unwrap_or_else(Instant::now)), if wake_at.is_some() => {
                    session.on_time(Instant::now())
                }
            };
        }
    }

    fn perform(&self, output: Output<Ticket>) -> Result<(), &'static str> {
        match output {
            Output::Send(frame) => self.queue(Message::text(frame))?,
            Output::Close { code, reason } => {
                self.queue(Message::Close(Some(CloseFrame { code: code.into(), reason: reason.into() })))?;
            }
            // A caller that no longer waits has dropped the other end.
            Output::Answer(ticket, answer) => drop(ticket.send(answer)),
            Output::Tools(catalogue) => self.publish(catalogue),
            Output::ToolsFailed(error) => {
                let mut said_before = None;
                self.seat.presence.send_modify(|presence| {
                    let times = match presence {
                        Presence::Refusing { error, times } => {
                            said_before = Some(error.clone());
                            *times
                        }
                        Presence::Away(_) | Presence::Ready { .. } => 0,
                    };
                    *presence = Presence::Refusing { error: error.clone(), times: times.saturating_add(1) };
                });
                // The list is asked for again and again, and the same error is logged once. One of the pipe's own says nothing of
                // the server, and the pipe logs what is the matter.
                if error.ours {
                    tracing::debug!(event = "ERROR_TOOLS_LIST", servers = ?self.seat.names, %error, "tools/list was answered with an error: {error}");
                } else if said_before.as_ref() != Some(&error) {
                    tracing::warn!(event = "ERROR_TOOLS_LIST", servers = ?self.seat.names, %error, "answered tools/list with an error: {error}; asking again");
                }
            }
            Output::Odd(what) => {
                tracing::debug!(event = "ERROR_PROTOCOL", servers = ?self.seat.names, "the local endpoint received {what}");
            }
        }
        Ok(())
    }

    fn queue(&self, message: Message) -> Result<(), &'static str> {
        self.unsent.try_send(message).map_err(|_| "the pipe did not read what was sent to it")
    }

    fn publish(&self, catalogue: Catalogue) {
        let count = catalogue.tools.len();
        let names = match count {
            0 if self.seat.chosen => {
                "\"tools\" in the config leaves none to publish, unless the server has none, or has not answered tools/list yet"
                    .to_owned()
            }
            0 => "the server has none, or has not answered tools/list yet".to_owned(),
            _ => listed(catalogue.names().take(SHOWN).collect(), count),
        };
        let is_known = match &*self.seat.presence.borrow() {
            Presence::Ready { catalogue: known, .. } => known.names().eq(catalogue.names()),
            Presence::Away(_) | Presence::Refusing { .. } => false,
        };
        if is_known {
            tracing::debug!(event = "TOOLS_READ", servers = ?self.seat.names, count, "read again, the same {}", counted(count, "tool"));
        } else {
            tracing::info!(event = "TOOLS_READ", servers = ?self.seat.names, count, "{}: {names}", counted(count, "tool"));
        }
        let catalogue = Arc::new(catalogue);
        self.seat.presence.send_replace(Presence::Ready { catalogue, line: self.line.clone() });
    }

    /// Tells whoever reads the log that there is still no list of tools.
    fn report_no_list(&self) {
        if matches!(&*self.seat.presence.borrow(), Presence::Away(_)) {
            let late = span(LIST_LATE);
            tracing::warn!(event = "ERROR_LIST", servers = ?self.seat.names, "has not answered tools/list for {late}; it has no tools here until it does");
        }
    }

    /// Says why there is no list of tools yet, for whoever waits for one.
    fn note_absence(&self, why: &'static str) {
        self.seat.presence.send_if_modified(|presence| {
            if let Presence::Away(known) = presence {
                *known = why;
            }
            false // nobody waits for the reason
        });
    }

    /// Takes back the presence that this connection published, unless a newer connection has published another.
    fn leave(&self, why: &'static str) {
        self.seat.presence.send_if_modified(|presence| {
            let replaced =
                matches!(presence, Presence::Ready { line, .. } if !line.calls.same_channel(&self.line.calls));
            if !replaced {
                *presence = Presence::Away(why);
            }
            !replaced
        });
    }
}
