//! Whoever comes over WebSocket: a client (`/ws`), or a robot or tools at the endpoint. A message is a text frame, each way, in one
//! conversation that is as long as the connection.
//!
//! # Theory of operation
//!
//! A connection is a guest of the pipe, or a server that has come to it, between two halves in one task: one reads frames and says them as lines, the other reads lines
//! and sends them as frames; so reading never waits for writing. Neither queues anything: a client that does not read has its
//! messages wait in the pipe, which ends the conversation of whoever is too far behind.
//!
//! What ends a connection: the client; a breach of RFC 6455; silence; what it was let in by, once that counts no more; or the pipe, which
//! has answered what was under way before it lets a guest go. Where the client can still be told, it is, by a close frame.

mod offer;

pub(super) use self::offer::is_wanted;

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
#[cfg(test)]
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use http::Request;
use http::request::Parts;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::Utf8Bytes;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::sync::CancellationToken;
use tracing::debug;

pub(super) use self::offer::accept;
use super::door::Bucket;
use super::ended::Hash;
use super::kept::now;
use super::refusal::{SLOWER, TOO_OFTEN};
use super::reply::Answer;
use super::session::Client;
use super::sessions::Scope;
use super::stall::{Stall, Stalled};
use super::terms::Gate;
use super::{Gateway, refusal};
use crate::chunk::poll_chunk;
use crate::frame::{Cut, Line, LineIn};
use crate::mcp::envelope::Kind;
use crate::mcp::reply::{INVALID_REQUEST, PARSE_ERROR, error};
use crate::mcp::{envelope, object};
use crate::passage::Passage;

/// Longest time without a sign of a client before a ping, and between two pings; and most of these in a row without any sign.
const OF_CLIENT: Pulse = Pulse { ping: Duration::from_secs(30), unanswered: 2 };
/// The same at the endpoint, where what is dead is in the way of what comes after it: as the self-hosted endpoint server has it.
const AT_ENDPOINT: Pulse = Pulse { ping: Duration::from_secs(20), unanswered: 1 };
/// Longest time for tools to give a sign once others have come with their token: a program in Python that works on a call, and hears
/// nothing meanwhile, mostly is done by then.
const SIGN: Duration = Duration::from_secs(10);
/// Longest time for a client to take its close frame, and to close its side.
const CLOSE: Duration = Duration::from_secs(2);
/// How many times as long as allowed a message may be so that it is read, and answered by its id, before the connection is closed.
const READ: usize = 2;
/// Most answers of ours that wait for the client, and longest time for which the next one waits for it: a client that goes on sending what
/// is no message, and reads nothing, is cut off.
const UNSENT: usize = 16;
const UNREAD: Duration = Duration::from_secs(10);
/// Most pings in a row that are answered while the client takes nothing: their pongs are kept until it does.
const PONGS: usize = 1024;
/// First size of the buffers of a connection, in bytes: small, since large messages make a buffer grow while they last.
const BUFFER: usize = 8 * 1024;

type Socket = WebSocketStream<Stall<TokioIo<Upgraded>>>;

/// The connections that there are. Their conversations end with it.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    tasks: Mutex<JoinSet<()>>,
    each: Mutex<Vec<Weak<Connection>>>,
}

/// A connection, as others see it.
#[derive(Debug)]
pub(super) struct Connection {
    /// By this it is known to whoever lists connections.
    pub(super) hash: Hash,
    pub(super) scope: Scope,
    /// Who the client is, once it has said so.
    pub(super) client: OnceLock<Client>,
    /// When it began, in seconds since 1970.
    pub(super) since: u64,
    heard: Mutex<Instant>,
    end: CancellationToken,
}

impl Connection {
    fn of(scope: Scope) -> Arc<Self> {
        let (client, heard, end) = (OnceLock::new(), Mutex::new(Instant::now()), CancellationToken::new());
        Arc::new(Connection { hash: rand::random(), scope, client, since: now(), heard, end })
    }

    /// When the client was last heard.
    pub(super) fn heard(&self) -> Instant {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the conversation ended.
    pub(super) fn end(&self) {
        self.end.cancel();
    }

    /// The client has said this.
    fn hear(&self, message: &[u8]) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        if self.client.get().is_some() {
            return;
        }
        let hello = envelope::scan_one(message)
            .and_then(|e| e.method)
            .filter(|method| &message[method.clone()] == b"initialize");
        if hello.is_some() {
            let params = std::str::from_utf8(message).ok().and_then(|text| object::find(text, &["params"]));
            let _known = self.client.set(Client::of(params.unwrap_or("{}")));
        }
    }
}

impl Sockets {
    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let mut tasks = self.tasks();
        while tasks.try_join_next().is_some() {}
        tasks.len()
    }

    /// Waits until all have ended.
    #[cfg(test)]
    pub(super) async fn ended(&self) {
        poll_fn(|cx| {
            let mut tasks = self.tasks();
            while ready!(tasks.poll_join_next(cx)).is_some() {}
            Poll::Ready(())
        })
        .await;
    }

    /// Those that there are.
    pub(super) fn each(&self) -> Vec<Arc<Connection>> {
        self.each.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade).collect()
    }

    /// Adds one, which is there until it is dropped.
    fn add(&self, connection: &Arc<Connection>) {
        let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        each.retain(|other| other.strong_count() > 0);
        each.push(Arc::downgrade(connection));
    }

    /// Has a request become a connection, and serves that. `kept` is dropped after its end.
    pub(super) fn open(&self, mut head: Parts, talk: Talk, kept: impl Send + 'static) {
        let seat = head.extensions.remove::<Seat>();
        let upgrade = hyper::upgrade::on(Request::from_parts(head, ()));
        self.spawn(async move {
            converse(upgrade, talk).await;
            drop((seat, kept));
        });
    }

    /// Has a request become a connection, and closes that.
    pub(super) fn turn_away(&self, mut head: Parts, (code, why): (CloseCode, &'static str)) {
        let seat = head.extensions.remove::<Seat>();
        let upgrade = hyper::upgrade::on(Request::from_parts(head, ()));
        self.spawn(async move {
            if let Some((socket, _)) = upgraded(upgrade, BUFFER).await {
                let _late =
                    timeout(CLOSE, close(socket, CloseFrame { code, reason: Utf8Bytes::from_static(why) })).await;
            }
            drop(seat);
        });
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks();
        // Those that have ended hold memory until somebody asks.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        // Nothing panics while it is held.
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a connection among those of its listener, in the extensions of the request by which it becomes one of WebSocket.
#[derive(Debug, Clone)]
pub(super) struct Seat {
    /// Never used: the other end notices that it is dropped.
    _taken: mpsc::Sender<Infallible>,
}

/// All seats of a connection.
#[derive(Debug)]
pub(super) struct Seats(mpsc::Receiver<Infallible>);

impl Seats {
    /// None is taken but this.
    pub(super) fn new() -> (Self, Seat) {
        let (taken, left) = mpsc::channel(1);
        (Seats(left), Seat { _taken: taken })
    }

    /// Waits until none is taken any more.
    pub(super) async fn left(mut self) {
        let _none = self.0.recv().await;
    }
}

/// A conversation over WebSocket.
#[derive(Debug)]
pub(super) struct Talk {
    /// The pipe's side of it.
    pub(super) lines: Passage,
    /// Largest message, in bytes.
    pub(super) max_message: usize,
    /// Who is on the other side.
    pub(super) side: Side,
    /// What ends it besides those who talk.
    pub(super) ends: Option<Ends>,
    /// When it ends at the latest.
    pub(super) until: Option<Instant>,
    /// How often the other side may ask, if that can be limited.
    pub(super) bucket: Option<Arc<Bucket>>,
    /// How others see it, where they do.
    pub(super) connection: Option<Arc<Connection>>,
}

/// Who talks with the pipe.
#[derive(Debug)]
pub(super) enum Side {
    Client,
    /// A client at the endpoint.
    Robot,
    /// A server. It is told when others come with its token.
    Tools(watch::Receiver<()>),
}

/// Ready when a conversation is to be ended: how.
pub(super) struct Ends(BoxFuture<'static, (CloseCode, &'static str)>);

impl Ends {
    pub(super) fn when(ended: impl Future<Output = (CloseCode, &'static str)> + Send + 'static) -> Self {
        Ends(Box::pin(ended))
    }
}

impl fmt::Debug for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ends(…)")
    }
}

/// How often somebody is asked for a sign.
#[derive(Debug, Clone, Copy)]
struct Pulse {
    ping: Duration,
    unanswered: u32,
}

impl Side {
    fn pulse(&self) -> Pulse {
        match self {
            Side::Client => OF_CLIENT,
            Side::Robot | Side::Tools(_) => AT_ENDPOINT,
        }
    }

    /// Ready when others have come.
    async fn others(&mut self) {
        if let Side::Tools(others) = self
            && others.changed().await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }

    /// Which key of the config limits its messages.
    fn limit(&self) -> &'static str {
        match self {
            Side::Client => "maxBody",
            Side::Robot | Side::Tools(_) => "maxFrameSize",
        }
    }
}

/// Why a connection ends.
#[derive(Debug)]
enum End {
    /// The client has closed it, or is gone.
    Left,
    /// It breaches RFC 6455 or a limit of ours, or what it was let in by counts no more.
    Breach(CloseCode, Cow<'static, str>),
    /// No sign of the client.
    Silent,
    /// The token by which the client was let in has ended.
    Expired,
    /// The pipe has ended the conversation.
    Over,
}

impl End {
    fn unread() -> Self {
        End::Breach(CloseCode::Policy, "its answers are not read".into())
    }
}

impl Gateway {
    /// Answers a request for a WebSocket connection, and serves that.
    pub(super) async fn socket(&self, gate: &Gate, head: Parts) -> Answer {
        let accepted = match accept(&head) {
            Ok(accepted) => accepted,
            Err(refused) => return *refused,
        };
        let Some(counted) = self.place() else { return refusal::full(None) };
        let Some(lines) = self.receive(gate, "/ws").await else { return refusal::closed(None) };
        let connection = Connection::of(gate.scope.clone());
        self.sockets.add(&connection);
        let talk = Talk {
            lines,
            max_message: gate.max_body,
            side: Side::Client,
            ends: None,
            until: gate.until,
            bucket: Some(gate.bucket.clone()),
            connection: Some(connection),
        };
        self.sockets.open(head, talk, counted);
        accepted
    }
}

/// Has a request become a connection of WebSocket, and tells whether its client takes what it is sent. `None`: that came to nothing.
async fn upgraded(upgrade: OnUpgrade, max_message: usize) -> Option<(Socket, Stalled)> {
    let stream = match upgrade.await {
        Ok(upgraded) => Stall::of(TokioIo::new(upgraded)),
        Err(error) => {
            debug!(event = "GATEWAY", "a connection did not become one of WebSocket: {error}");
            return None;
        }
    };
    let most = max_message.saturating_mul(READ);
    let limits = WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .max_message_size(Some(most))
        .max_frame_size(Some(most));
    let stalled = stream.stalled();
    Some((WebSocketStream::from_raw_socket(stream, Role::Server, Some(limits)).await, stalled))
}

/// Serves a connection until it ends.
async fn converse(upgrade: OnUpgrade, talk: Talk) {
    let Talk { lines, max_message, side, ends, until, bucket, connection } = talk;
    let ended = connection.clone();
    let Some((socket, stalled)) = upgraded(upgrade, max_message).await else { return };
    let (mut sink, stream) = socket.split();
    let (from, to) = split(lines);
    let (unsent, ours) = mpsc::channel(UNSENT);
    let mut reader = Reader { stream, to, unsent, stalled, pongs: 0, bucket, connection, max_message, side };
    let revoked = async {
        match ends {
            Some(Ends(ended)) => {
                let (code, why) = ended.await;
                End::Breach(code, why.into())
            }
            None => std::future::pending().await,
        }
    };
    let over = async {
        match &ended {
            Some(connection) => connection.end.cancelled().await,
            None => std::future::pending().await,
        }
    };
    let end = tokio::select! {
        biased;
        end = revoked => end,
        end = expired(until) => end,
        () = over => End::Over,
        end = reader.run() => end,
        end = write(&mut sink, from, ours) => end,
    };
    debug!(event = "GATEWAY", "a WebSocket connection ends: {end:?}");
    let Reader { stream, to, .. } = reader;
    // The guest is gone from here on, and what is under way for it is cancelled.
    drop(to);
    let (code, why) = match end {
        End::Left => return,
        End::Breach(code, why) => (code, why),
        End::Expired => (CloseCode::Policy, "the token has ended".into()),
        End::Silent => (CloseCode::Policy, "no pong came".into()),
        End::Over => (CloseCode::Away, "mcp-pipe has ended the conversation".into()),
    };
    if let Ok(socket) = sink.reunite(stream) {
        let reason = Utf8Bytes::from(why.into_owned());
        let _late = timeout(CLOSE, close(socket, CloseFrame { code, reason })).await;
    }
}

async fn expired(until: Option<Instant>) -> End {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
    End::Expired
}

/// Says why a connection ends, and waits for its end: what is dropped with bytes unread takes the close frame along.
async fn close(mut socket: Socket, frame: CloseFrame) {
    if socket.close(Some(frame)).await.is_err() {
        return;
    }
    while let Some(Ok(_)) = socket.next().await {}
    let raw = socket.get_mut();
    let _gone = raw.shutdown().await;
    while let Ok(1..) = raw.read(&mut [0; BUFFER]).await {}
}

/// The half that hears the client.
struct Reader {
    stream: SplitStream<Socket>,
    to: WriteHalf<Passage>,
    unsent: mpsc::Sender<Message>,
    stalled: Stalled,
    /// How many pings in a row have come while the client took nothing.
    pongs: usize,
    bucket: Option<Arc<Bucket>>,
    connection: Option<Arc<Connection>>,
    max_message: usize,
    side: Side,
}

impl Reader {
    async fn run(&mut self) -> End {
        // Only time in which the client is listened to counts.
        let pulse = self.side.pulse();
        let (mut unanswered, mut due) = (0, Instant::now() + pulse.ping);
        loop {
            let message = tokio::select! {
                message = self.stream.next() => message,
                () = sleep_until(due) => {
                    if unanswered == pulse.unanswered {
                        return End::Silent;
                    }
                    (unanswered, due) = (unanswered + 1, Instant::now() + pulse.ping);
                    let _something_waits_already = self.unsent.try_send(Message::Ping(Bytes::new()));
                    continue;
                }
                () = self.side.others() => {
                    let sign = Instant::now() + SIGN;
                    // Whoever owes a sign already gets no more time for it.
                    due = if unanswered == pulse.unanswered { due.min(sign) } else { sign };
                    unanswered = pulse.unanswered;
                    let _something_waits_already = self.unsent.try_send(Message::Ping(Bytes::new()));
                    continue;
                }
            };
            let is_server = matches!(self.side, Side::Tools(_));
            let heard = match message {
                // A server is no client that could learn from an answer: what it says is judged where all servers' words are.
                Some(Ok(Message::Text(text))) if is_server => self.take(text.as_bytes()).await,
                Some(Ok(Message::Binary(bytes))) if is_server => self.take(&bytes).await,
                Some(Ok(Message::Text(text))) => self.hear(text.as_bytes()).await,
                Some(Ok(Message::Binary(_))) => {
                    self.refuse(b"null", PARSE_ERROR, "a binary frame: messages are text").await
                }
                Some(Ok(Message::Ping(_))) => self.count_ping(),
                Some(Ok(Message::Pong(_) | Message::Close(_) | Message::Frame(_))) => Ok(()),
                Some(Err(error)) => Err(breach(&error)),
                None => Err(End::Left),
            };
            if let Err(end) = heard {
                return end;
            }
            (unanswered, due) = (0, Instant::now() + pulse.ping);
        }
    }

    /// Passes a message on, as a line.
    async fn hear(&mut self, text: &[u8]) -> Result<(), End> {
        if text.len() > self.max_message {
            let (size, most) = (text.len(), self.max_message);
            let seen = envelope::scan_cut(Cut { size: size as u64, head: text, tail: text });
            let why = format!("a message of {size} bytes is above the limit of {most} ({})", self.side.limit());
            return self.refuse(seen.id.unwrap_or(b"null"), INVALID_REQUEST, &why).await;
        }
        let line = match memchr::memchr2(b'\n', b'\r', text) {
            None => Cow::Borrowed(text),
            Some(_) => match envelope::single_line(text) {
                Ok(line) => Cow::Owned(line),
                Err(why) => return self.refuse(b"null", PARSE_ERROR, &why.to_string()).await,
            },
        };
        if line.trim_ascii().is_empty() {
            return self.refuse(b"null", PARSE_ERROR, "an empty message").await;
        }
        if let Some(connection) = &self.connection {
            connection.hear(&line);
        }
        let limited = self.bucket.as_ref().filter(|bucket| bucket.is_limited());
        if let Some(Err(id)) = limited.map(|bucket| counted(bucket, &line)) {
            return self.refuse(id, TOO_OFTEN, SLOWER).await;
        }
        self.say(&line).await
    }

    /// Passes on what a server says, as a line, whatever it is.
    async fn take(&mut self, text: &[u8]) -> Result<(), End> {
        let line = match memchr::memchr2(b'\n', b'\r', text) {
            None => Cow::Borrowed(text),
            Some(_) => Cow::Owned(envelope::single_line(text).unwrap_or_else(|_| {
                // It is no message, and one line in the log.
                text.iter().map(|b| if matches!(b, b'\n' | b'\r') { b' ' } else { *b }).collect()
            })),
        };
        if line.trim_ascii().is_empty() { Ok(()) } else { self.say(&line).await }
    }

    async fn say(&mut self, line: &[u8]) -> Result<(), End> {
        let said = async {
            self.to.write_all(line).await?;
            self.to.write_all(b"\n").await
        };
        said.await.map_err(|_| End::Over)
    }

    /// Answers what can't be passed on.
    async fn refuse(&self, id: &[u8], code: i32, why: &str) -> Result<(), End> {
        let answer = String::from_utf8_lossy(&error(id, code, why)).into_owned();
        match timeout(UNREAD, self.unsent.send(Message::text(answer))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::unread()),
        }
    }

    /// A ping has come, whose pong is kept where the client takes nothing.
    fn count_ping(&mut self) -> Result<(), End> {
        self.pongs = if self.stalled.is_so() { self.pongs + 1 } else { 0 };
        if self.pongs > PONGS { Err(End::unread()) } else { Ok(()) }
    }
}

/// Counts a message if it is a request.
///
/// # Errors
/// There were too many: its id.
fn counted<'a>(bucket: &Bucket, message: &'a [u8]) -> Result<(), &'a [u8]> {
    let request = envelope::scan_one(message).filter(|e| e.kind(message) == Kind::Request);
    let Some(id) = request.and_then(|e| e.id) else { return Ok(()) };
    bucket.take(Instant::now()).map_err(|_| &message[id])
}

/// Sends what the pipe has for the client, and what is ours to say.
async fn write(
    sink: &mut SplitSink<Socket, Message>,
    mut from: ReadHalf<Passage>,
    mut ours: mpsc::Receiver<Message>,
) -> End {
    // What the pipe hands on is bounded there.
    let mut lines = LineIn::new(usize::MAX / 2, |_| true);
    let mut ready = Vec::new();
    loop {
        let mut take = |line: Line<'_>| {
            if let Line::Frame(text) = line
                && let Ok(text) = Utf8Bytes::try_from(Bytes::copy_from_slice(text))
            {
                ready.push(Message::Text(text));
            }
            ControlFlow::Continue(())
        };
        let mut feed = |chunk: &[u8]| {
            let _all_taken = lines.feed(chunk, &mut take);
        };
        tokio::select! {
            Some(message) = ours.recv() => ready.push(message),
            read = poll_fn(|cx| poll_chunk(&mut from, cx, &mut feed)) => match read {
                Ok(1..) => {}
                Ok(0) | Err(_) => return End::Over,
            },
        }
        for message in ready.drain(..) {
            if sink.feed(message).await.is_err() {
                return End::Left;
            }
        }
        if sink.flush().await.is_err() {
            return End::Left;
        }
    }
}

/// What an error of reading says of the client (RFC 6455 section 7.4.1).
fn breach(error: &Error) -> End {
    let code = match error {
        Error::Protocol(_) => CloseCode::Protocol,
        Error::Utf8(_) => CloseCode::Invalid,
        Error::Capacity(_) => CloseCode::Size,
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Io(_)
        | Error::Tls(_)
        | Error::WriteBufferFull(_)
        | Error::AttackAttempt
        | Error::Url(_)
        | Error::Http(_)
        | Error::HttpFormat(_) => return End::Left,
    };
    End::Breach(code, error.to_string().into())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
