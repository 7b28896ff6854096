//! Streamable HTTP with sessions (MCP 2025-03-26 to 2025-11-25, basic/transports): one address, to which a client posts its messages and from which
//! it gets streams.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HeaderValue};
use http::{HeaderMap, HeaderName, StatusCode};
use tokio::time::{Instant, timeout};

use super::events::{Events, resumed};
use super::kept::now;
use super::reply::{self, Answer};
use super::revival::{SESSION, gone};
use super::seal::Sealed;
use super::session::board::{Asking, InUse, What};
use super::session::{Client, Reading, Session, resumes};
use super::sessions::{Deadline, Entry, random_id};
use super::terms::Gate;
use super::{Gateway, refusal};
use crate::mcp::envelope::{self, Envelope, Kind, Scanned};
use crate::mcp::handshake::BATCHES;
use crate::mcp::object;
use crate::mcp::reply::{INTERNAL, INVALID_REQUEST, PARSE_ERROR, error};

const LAST_EVENT: HeaderName = HeaderName::from_static("last-event-id");

/// Most messages of a batch: their answers go out together, and so are held until the last one is there.
const MAX_BATCH: usize = 100;

/// Longest time that the head of a stream waits for the first message: a client that gets both at once wakes up once. Whoever waits for
/// longer does not notice one wake-up more.
const SOON: Duration = Duration::from_millis(50);
/// The same for a client that can come back for a broken stream: without the head it could not. So it waits no longer than for an
/// answer that is given at once.
const AT_ONCE: Duration = Duration::from_millis(10);

/// Longest id of a request, in bytes of its token: those of clients have some dozens.
const MAX_ID: usize = 512;

/// What a client takes for an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Takes {
    pub(super) events: bool,
    pub(super) json: bool,
    /// It takes anything, or does not say.
    pub(super) any: bool,
}

impl Takes {
    /// By `Accept` (RFC 9110 section 12.5.1). Clients that name one type, or none, are taken as they are.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut takes = Takes { events: false, json: false, any: false };
        let mut said = false;
        for value in headers.get_all(ACCEPT) {
            for kind in value.to_str().unwrap_or_default().split(',') {
                let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
                said |= !kind.is_empty();
                takes.events |= kind == "text/event-stream" || kind == "text/*";
                takes.json |= matches!(&*kind, "application/json" | "application/*");
                takes.any |= kind == "*/*";
            }
        }
        takes.any |= !said;
        takes.json |= takes.any;
        takes
    }

    /// Whether it takes a stream, where there is nothing else.
    pub(super) fn a_stream(self) -> bool {
        self.events || self.any
    }
}

/// What is in a body.
struct Asked {
    requests: Vec<Asking>,
    /// Whether one of them may take long.
    is_work: bool,
    is_batch: bool,
}

impl Gateway {
    /// A message, or a batch, that was posted to an address.
    pub(super) async fn post_legacy(&self, gate: &Gate, headers: &HeaderMap, body: Bytes, scanned: Scanned) -> Answer {
        let takes = Takes::of(headers);
        let single = match &scanned {
            Scanned::One(e) => Some(e),
            Scanned::Batch(_) => None,
        };
        if let Some(e) = single {
            let id = e.id.clone().map(|id| &body[id]);
            let is_request = e.method.is_some() && id.is_some();
            if id.is_some_and(|id| id.len() > MAX_ID) {
                let why = format_args!("its id is longer than {MAX_ID} bytes");
                return reply::error(StatusCode::BAD_REQUEST, None, INVALID_REQUEST, why);
            }
            if id == Some(b"null") || e.kind(&body) == Kind::Other {
                let why = if is_request { "its id is null" } else { "it is neither a request nor an answer" };
                return reply::error(StatusCode::BAD_REQUEST, None, INVALID_REQUEST, why);
            }
            if is_request && e.method.clone().is_some_and(|method| &body[method] == b"initialize") {
                return self.begin(gate, e, body, takes).await;
            }
        }
        let found = match self.found(gate, headers).await {
            Ok(found) => found,
            Err(refused) => return *refused,
        };
        let asked = match asked(&body, &scanned, &found) {
            Ok(asked) => asked,
            Err(why) => return reply::error(StatusCode::BAD_REQUEST, None, INVALID_REQUEST, why),
        };
        // Each request of a batch is one, and the first was counted with what has brought them.
        if let Err(wait) = gate.bucket.take_others(asked.requests.len(), Instant::now()) {
            return refusal::too_often(headers, wait);
        }
        self.ask(&found.session, asked, body, takes).await
    }

    /// Begins a session by its first message.
    async fn begin(&self, gate: &Gate, e: &Envelope, body: Bytes, takes: Takes) -> Answer {
        let id: Box<[u8]> = e.id.clone().map_or(&b"null"[..], |id| &body[id]).into();
        let Some(counted) = self.place() else { return refusal::full(Some(&id)) };
        let Some(lines) = self.receive(gate, "/mcp").await else {
            return refusal::closed(Some(&id));
        };
        let session = Arc::new(Session::over(lines, counted));
        let asked = session.board().ask(What::Answers, vec![Asking { id: id.clone(), token: None }]);
        let reading = asked.map(|stream| Reading::of(&session, stream));
        let _sent = session.say(body.clone()).await;
        let answer = match &reading {
            Ok(reading) => reading.message().await,
            Err(InUse) => None,
        };
        let Some(answer) = answer else {
            return reply::error(StatusCode::BAD_GATEWAY, Some(&id), INTERNAL, "the session ended before it began");
        };
        let version =
            std::str::from_utf8(&answer).ok().and_then(|text| object::find(text, &["result", "protocolVersion"]));
        let Some(version) = version.map(|version| version.trim_matches('"').to_owned()) else {
            // It was refused, so there is no session.
            return one(answer, takes, &session, false);
        };
        let params = std::str::from_utf8(&body).ok().and_then(|text| object::find(text, &["params"])).unwrap_or("{}");
        session.meet(Client::of(params));
        let resumes = resumes(&version);
        session.board().set_resuming(resumes);
        let sealed = Sealed::now(now(), &version, params);
        let id = self.survival.kept.seal(&sealed, &self.bound(gate)).unwrap_or_else(random_id);
        let (scope, end) = (gate.scope.clone(), Some(Deadline::of(sealed.ends, Instant::now())));
        let entry = Entry { scope, version: version.into(), session: session.clone(), since: sealed.issued, end };
        self.sessions.add(&id, entry);
        let mut answer = one(answer, takes, &session, resumes);
        if let Ok(id) = HeaderValue::from_str(&id) {
            answer.headers_mut().insert(SESSION, id);
        }
        answer
    }

    /// Passes on what was posted, and answers with what comes of it.
    async fn ask(&self, session: &Arc<Session>, asked: Asked, body: Bytes, takes: Takes) -> Answer {
        let Asked { requests, is_work, is_batch } = asked;
        if requests.is_empty() {
            return match session.say(body).await {
                true => reply::empty(StatusCode::ACCEPTED),
                false => gone(),
            };
        }
        let ids: Vec<Box<[u8]>> = requests.iter().map(|asking| asking.id.clone()).collect();
        let as_events = takes.events && (is_work || !takes.json);
        let what = if as_events { What::Call } else { What::Answers };
        let asked = session.board().ask(what, requests);
        let Ok(stream) = asked else {
            let why = "another request with this id is under way in the session";
            return reply::error(StatusCode::BAD_REQUEST, ids.first().map(|id| &**id), INVALID_REQUEST, why);
        };
        let reading = Reading::of(session, stream);
        if !session.say(body).await {
            return gone();
        }
        if as_events {
            let resumes = session.board().resumes();
            let _late = timeout(if resumes { AT_ONCE } else { SOON }, reading.begins()).await;
            return reply::events(Events::of(reading, resumes));
        }
        let mut answers = Vec::new();
        while let Some(answer) = reading.message().await {
            answers.push(answer);
        }
        let lost = ids.len().saturating_sub(answers.len());
        if lost > 0 && !is_batch {
            let id = ids.first().map(|id| &**id);
            return reply::error(StatusCode::BAD_GATEWAY, id, INTERNAL, "the session ended before the answer came");
        }
        match (is_batch, answers.pop()) {
            (false, Some(answer)) => reply::json(StatusCode::OK, answer),
            (_, last) => {
                answers.extend(last);
                let joined = answers.join(&b","[..]);
                reply::json(StatusCode::OK, Bytes::from([b"[", &*joined, b"]"].concat()))
            }
        }
    }

    /// A stream that a client asks for.
    pub(super) async fn get_legacy(&self, gate: &Gate, headers: &HeaderMap) -> Answer {
        let found = match self.found(gate, headers).await {
            Ok(found) => found,
            Err(refused) => return *refused,
        };
        if !Takes::of(headers).a_stream() {
            let why = "a stream is text/event-stream, which has to be in Accept";
            return reply::error(StatusCode::NOT_ACCEPTABLE, None, INVALID_REQUEST, why);
        }
        found.session.hear();
        let last = headers.get(LAST_EVENT).and_then(|id| id.to_str().ok()).and_then(resumed);
        let mut board = found.session.board();
        let is_full = board.listening() >= gate.max_streams;
        // What goes on with a stream of a POST takes no place of those that are for nothing in particular.
        let resumed = last.filter(|(stream, _)| !is_full || board.is_of_post(*stream));
        let stream = match resumed {
            Some((stream, event)) if board.resume(stream, event) => stream,
            _ if is_full => {
                let why = "the session has as many streams as the config allows (maxStreams)";
                let refused = reply::error(StatusCode::TOO_MANY_REQUESTS, None, INVALID_REQUEST, why);
                return refusal::later(refused, refusal::LATER);
            }
            Some(_) | None => board.listen(),
        };
        let resumes = board.resumes();
        drop(board);
        reply::until(reply::events(Events::of(Reading::of(&found.session, stream), resumes)), gate.until)
    }
}

/// What a body asks for, in a session of this version.
fn asked(body: &[u8], scanned: &Scanned, found: &Entry) -> Result<Asked, &'static str> {
    let of = |body: &[u8], e: &Envelope| {
        let token = e.wants_progress.clone().map(|token| body[token].into());
        e.id.clone().map(|id| Asking { id: body[id].into(), token })
    };
    let is_work = |body: &[u8], e: &Envelope| {
        e.method
            .clone()
            .is_some_and(|method| matches!(&body[method], b"tools/call" | b"prompts/get" | b"resources/read"))
    };
    match scanned {
        Scanned::One(e) => {
            let requests = if e.kind(body) == Kind::Request { Vec::from_iter(of(body, e)) } else { Vec::new() };
            Ok(Asked { requests, is_work: is_work(body, e), is_batch: false })
        }
        Scanned::Batch(_) if *found.version != *BATCHES => {
            Err("a batch: one message at a time, in this version of MCP")
        }
        Scanned::Batch(members) if members.is_empty() => Err("an empty batch"),
        Scanned::Batch(members) if members.len() > MAX_BATCH => Err("a batch of more than 100 messages"),
        Scanned::Batch(members) => {
            let mut asked = Asked { requests: Vec::new(), is_work: false, is_batch: true };
            for member in members {
                let member = &body[member.clone()];
                let Some(e) = envelope::scan_one(member) else { return Err("a member of the batch is no message") };
                if e.id.as_ref().is_some_and(|id| id.len() > MAX_ID) {
                    return Err("a member of the batch has an id that is too long");
                }
                if e.kind(member) == Kind::Other || e.id.clone().is_some_and(|id| &member[id] == b"null") {
                    return Err("a member of the batch is neither a request nor an answer");
                }
                asked.is_work |= is_work(member, &e);
                if e.kind(member) == Kind::Request {
                    asked.requests.extend(of(member, &e));
                }
            }
            Ok(asked)
        }
    }
}

/// One answer, in the form that the client takes.
fn one(answer: Bytes, takes: Takes, session: &Arc<Session>, numbered: bool) -> Answer {
    if takes.json || !takes.events {
        return reply::json(StatusCode::OK, answer);
    }
    let stream = session.board().with(answer);
    reply::events(Events::of(Reading::of(session, stream), numbered))
}

/// The body of a POST as one line, and what is in it.
pub(super) fn read(body: Bytes) -> Result<(Bytes, Scanned), Box<Answer>> {
    let refuse = |why: &dyn std::fmt::Display| {
        let code = PARSE_ERROR;
        Box::new(reply::error(StatusCode::BAD_REQUEST, None, code, format_args!("the body can't be read: {why}")))
    };
    if simdutf8::basic::from_utf8(&body).is_err() {
        return Err(refuse(&"it is not UTF-8"));
    }
    let is_one_line = memchr::memchr2(b'\n', b'\r', &body).is_none();
    let body = match is_one_line {
        true => body,
        false => Bytes::from(envelope::single_line(&body).map_err(|why| refuse(&why))?),
    };
    // Characters that JSON forbids in texts are taken from servers; a client can be told.
    if body.iter().any(|byte| *byte < b' ')
        && let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&body)
    {
        return Err(refuse(&error));
    }
    match envelope::scan(&body) {
        Ok(scanned) => Ok((body, scanned)),
        Err(why @ envelope::NotMessage::Json(_)) => Err(refuse(&why)),
        Err(why) => {
            let id = envelope::scan_broken(&body).id.filter(|_| !why.is_misreading()).map(|id| body[id].to_vec());
            let message = format_args!("not a message of JSON-RPC 2.0: {why}");
            let body = Bytes::from(error(id.as_deref().unwrap_or(b"null"), INVALID_REQUEST, message));
            Err(Box::new(reply::json(StatusCode::BAD_REQUEST, body)))
        }
    }
}
