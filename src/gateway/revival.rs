//! A session of a process before this one: its id tells what it was, so it is made anew for whoever goes on with it.
//!
//! What its client said in `initialize` is said once more to the pipe, and the answer is kept from the client, which has had one. What it
//! said besides (subscriptions, a log level) nobody knows any more. The client is told that all lists may have changed: who reads them
//! again is told of changes from then on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::header::HeaderValue;
use http::{HeaderMap, HeaderName, StatusCode};
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use super::ended::{Hash, hash_of};
use super::era::VERSION_HEADER;
use super::reply::{self, Answer};
use super::seal::Sealed;
use super::session::board::{Asking, What};
use super::session::{Client, Reading, Session, resumes};
use super::sessions::{Deadline, Entry};
use super::terms::Gate;
use super::{Gateway, refusal};
use crate::mcp::handshake::VERSIONS;
use crate::mcp::reply::INVALID_REQUEST;
use crate::mcp::{envelope, object};

pub(super) const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");

/// The id of our own request: the client has asked nothing yet.
const OURS: &str = "\"mcp-pipe\"";

/// Who makes a session anew, or ends one that is not there: one request at a time for each id.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<Hash, Arc<tokio::sync::Mutex<()>>>>);

/// The turn of a request. The next one has its turn when this is dropped.
#[derive(Debug)]
struct Turn<'a> {
    of: &'a Turns,
    hash: Hash,
    lock: Arc<tokio::sync::Mutex<()>>,
    held: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    fn each(&self) -> MutexGuard<'_, HashMap<Hash, Arc<tokio::sync::Mutex<()>>>> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the turn of a request about this id.
    async fn wait(&self, id: &str) -> Turn<'_> {
        let hash = hash_of(id);
        let lock = self.each().entry(hash).or_default().clone();
        let mut turn = Turn { of: self, hash, lock, held: None };
        turn.held = Some(turn.lock.clone().lock_owned().await);
        turn
    }

    /// How many ids requests wait for.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.each().len()
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        drop(self.held.take());
        let mut each = self.of.each();
        // The list's own and this one: nobody waits.
        if Arc::strong_count(&self.lock) == 2 {
            each.remove(&self.hash);
        }
    }
}

impl Gateway {
    /// The session that a request names.
    pub(super) async fn found(&self, gate: &Gate, headers: &HeaderMap) -> Result<Entry, Box<Answer>> {
        let mut ids = headers.get_all(SESSION).iter();
        let (Some(id), None) = (ids.next(), ids.next()) else { return Err(Box::new(missing())) };
        let Ok(id) = id.to_str() else { return Err(Box::new(gone())) };
        let found = match self.sessions.find(id, &gate.scope, Instant::now()) {
            Some(found) => found,
            None => self.revive(gate, id).await?,
        };
        match headers.get(VERSION_HEADER).map(HeaderValue::to_str) {
            None => Ok(found),
            Some(Ok(version)) if VERSIONS.contains(&version) => Ok(found),
            Some(_) => {
                let why = format_args!("MCP-Protocol-Version is none of {}", VERSIONS.join(", "));
                Err(Box::new(reply::error(StatusCode::BAD_REQUEST, None, INVALID_REQUEST, why)))
            }
        }
    }

    /// A client ends its session.
    pub(super) async fn delete_legacy(&self, gate: &Gate, headers: &HeaderMap) -> Answer {
        let Some(id) = headers.get(SESSION) else { return missing() };
        let Ok(id) = id.to_str() else { return gone() };
        let mut is_ended = self.sessions.end(id, &gate.scope);
        if !is_ended && let Some((sealed, _turn)) = self.opened(gate, id).await {
            // Another request may just have made it anew.
            is_ended = self.sessions.end(id, &gate.scope);
            if !is_ended && !self.survival.kept.has_ended(&hash_of(id), sealed.issued).await {
                self.survival.kept.end(hash_of(id), sealed.ends);
                is_ended = true;
            }
        }
        if !is_ended {
            return gone();
        }
        // What is told to have ended has, also if the program is killed right now.
        self.survival.kept.written().await;
        reply::empty(StatusCode::OK)
    }

    /// For what an id at an address is sealed.
    pub(super) fn bound(&self, gate: &Gate) -> Vec<u8> {
        gate.scope.bound(&self.terms().proof_of(gate))
    }

    /// What an id tells that was sealed for an address, with the turn of whoever wants to know it.
    async fn opened<'a>(&'a self, gate: &Gate, id: &str) -> Option<(Sealed, Turn<'a>)> {
        let sealed = self.survival.kept.open_id(id, &self.bound(gate))?;
        Some((sealed, self.turns.wait(id).await))
    }

    /// Makes a session anew.
    async fn revive(&self, gate: &Gate, id: &str) -> Result<Entry, Box<Answer>> {
        let Some((sealed, _turn)) = self.opened(gate, id).await else { return Err(Box::new(gone())) };
        // Another request may have been faster.
        if let Some(found) = self.sessions.find(id, &gate.scope, Instant::now()) {
            return Ok(found);
        }
        if self.survival.kept.has_ended(&hash_of(id), sealed.issued).await {
            return Err(Box::new(gone()));
        }
        let Some(counted) = self.place() else { return Err(Box::new(refusal::full(None))) };
        let Some(lines) = self.receive(gate, "/mcp").await else { return Err(Box::new(refusal::closed(None))) };
        let session = Arc::new(Session::over(lines, counted));
        let Some(welcome) = greet(&session, &sealed).await else { return Err(Box::new(gone())) };
        // A person may have ended all sessions meanwhile.
        if self.survival.kept.is_known_to_have_ended(&hash_of(id), sealed.issued) {
            return Err(Box::new(gone()));
        }
        let Sealed { issued, ends, version, params } = sealed;
        session.meet(Client::of(&params));
        announce_changes(&session, &version, &welcome);
        let end = Some(Deadline::of(ends, Instant::now()));
        let entry = Entry { scope: gate.scope.clone(), version, session, since: issued, end };
        self.sessions.add(id, entry.clone());
        Ok(entry)
    }
}

/// Says for a client what it said when its session began. Returns the answer; `None` where that is not what it was told then.
async fn greet(session: &Arc<Session>, sealed: &Sealed) -> Option<String> {
    let asked = session.board().ask(What::Answers, vec![Asking { id: OURS.as_bytes().into(), token: None }]);
    let reading = Reading::of(session, asked.ok()?);
    let params = &sealed.params;
    let hello = format!(r#"{{"jsonrpc":"2.0","id":{OURS},"method":"initialize","params":{params}}}"#);
    let _over = session.say(hello.into()).await;
    let answer = String::from_utf8(reading.message().await?.to_vec()).ok()?;
    let version = object::find(&answer, &["result", "protocolVersion"])?.trim_matches('"');
    if version != &*sealed.version {
        return None;
    }
    let said = session.say(Bytes::from_static(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)).await;
    said.then_some(answer)
}

/// Has a client told that each list may have changed of which it was told that it may. None of the streams that it had before goes on.
fn announce_changes(session: &Session, version: &str, welcome: &str) {
    let mut board = session.board();
    board.set_resuming(resumes(version));
    board.renumber(rand::random());
    // The templates of resources change with the resources.
    for list in ["tools", "prompts", "resources"] {
        if object::find(welcome, &["result", "capabilities", list, "listChanged"]) == Some("true") {
            let text = format!(r#"{{"jsonrpc":"2.0","method":"notifications/{list}/list_changed"}}"#);
            if let Some(e) = envelope::scan_one(text.as_bytes()) {
                board.take(text.into(), &e);
            }
        }
    }
}

/// That a request names no session.
pub(super) fn missing() -> Answer {
    reply::error(
        StatusCode::BAD_REQUEST,
        None,
        INVALID_REQUEST,
        "Mcp-Session-Id is missing: initialize comes first, and its answer has one",
    )
}

/// That there is no such session, or no more.
pub(super) fn gone() -> Answer {
    reply::error(
        StatusCode::NOT_FOUND,
        None,
        INVALID_REQUEST,
        "there is no such session, or it has ended: initialize again",
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
