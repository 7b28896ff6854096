//! A server under examination: what it is asked, in bounded time, and what became of that.

use std::cell::RefCell;
use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use super::offer::Listed;
use super::record::{OfServer, Record};
use crate::config::ServerSpec;
use crate::control::orders::{NotGiven, Order, Orders};
use crate::control::outcome;
use crate::control::status::{ServerStatus, Status};
use crate::control::tap::Watching;
use crate::inspect::LIST_PATIENCE;
use crate::local::{Client, LocalError, RpcError};
use crate::words::span;

/// Longest wait for an answer that takes no work: a server that needs longer is one that hangs, for whoever waits for it.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most pages of a list, as far as the local endpoint reads them.
const MAX_PAGES: usize = 1000;
/// Bytes of the tap's lines that are taken at once.
const AT_ONCE: usize = 1 << 20;

/// What passes at the servers: the tap, and what was learnt of it so far.
pub(super) struct Watched {
    watching: Watching,
    record: RefCell<Record>,
}

impl Watched {
    /// Looks on from now on.
    pub(super) fn by(watching: Watching) -> Self {
        Watched { watching, record: RefCell::default() }
    }

    /// Takes each line as it comes, so that none is lost. Never ends.
    pub(super) async fn follow(&self) -> std::convert::Infallible {
        loop {
            let seen = self.watching.next(AT_ONCE).await;
            seen.iter().for_each(|line| self.record.borrow_mut().note(line));
        }
    }

    /// The record of a server as of now, and whether it has gaps.
    fn of(&self, server: &str) -> (OfServer, bool) {
        let mut record = self.record.borrow_mut();
        self.watching.take(usize::MAX).iter().for_each(|line| record.note(line));
        (record.of(server), record.has_gaps)
    }
}

/// A server, and the ways to it.
pub(super) struct Examinee<'a> {
    pub(super) spec: &'a ServerSpec,
    pub(super) client: &'a Client,
    pub(super) status: &'a Status,
    pub(super) orders: &'a Orders,
    pub(super) watched: &'a Watched,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    /// The server's result.
    Result(Value),
    /// The server's error.
    Error(RpcError),
    /// Nothing came for so long.
    Silence(Duration),
    /// The server, or its connection, was gone. In whole words.
    Gone(String),
}

/// As the end of a sentence about the server.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Result(_) => f.write_str("was answered with a result"),
            Answer::Error(error) => write!(f, "was answered with the error {} ({})", error.code, error.message),
            Answer::Silence(waited) => write!(f, "was not answered within {}", span(*waited)),
            Answer::Gone(why) => write!(f, "got no answer ({why})"),
        }
    }
}

/// Which life of a server is going on: each differs from all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LifeMark(Option<u32>, u64);

impl Examinee<'_> {
    pub(super) fn name(&self) -> &str {
        &self.spec.name
    }

    /// Whether its process is ours to start and to end.
    pub(super) fn is_process(&self) -> bool {
        self.spec.reach.command().is_some()
    }

    /// What passed there so far; `None` where not all of that was seen.
    pub(super) fn record(&self) -> Option<OfServer> {
        let (record, has_gaps) = self.watched.of(self.name());
        (!has_gaps).then_some(record)
    }

    /// What is known of how it answered `initialize`.
    pub(super) fn welcome(&self) -> Option<(Value, Duration)> {
        self.watched.of(self.name()).0.welcome
    }

    /// What is known of its processes.
    pub(super) fn of_status<T: Default>(&self, read: impl FnOnce(&ServerStatus) -> T) -> T {
        self.status.read().server(self.name()).map(read).unwrap_or_default()
    }

    /// Which life is going on, once it answers: the one before may have ended just now.
    pub(super) async fn settled(&self) -> LifeMark {
        let _whatever = self.ask("ping", Value::Null).await;
        self.life()
    }

    /// Which life is going on.
    pub(super) fn life(&self) -> LifeMark {
        let pid = |server: &ServerStatus| server.process.as_ref().map(|process| process.pid);
        LifeMark(self.of_status(pid), self.of_status(|server| server.restarts))
    }

    /// Sends a request and waits for its answer.
    pub(super) async fn ask(&self, method: &str, params: Value) -> Answer {
        match self.client.request(self.name(), method, params, PATIENCE).await {
            Ok(result) => Answer::Result(result),
            Err(LocalError::Rpc { error, .. }) if !error.is_no_answer() => Answer::Error(error),
            Err(LocalError::NoAnswer { waited, .. }) => Answer::Silence(waited),
            Err(gone) => Answer::Gone(gone.to_string()),
        }
    }

    /// Sends a request and its cancellation behind it.
    pub(super) async fn ask_and_cancel(&self, method: &str, params: Value) -> Result<(), String> {
        let sent = self.client.request_and_cancel(self.name(), method, params, PATIENCE).await;
        sent.map_err(|error| error.to_string())
    }

    /// Whether it answers still, in the same life as before. `Err`: what became of it, in words that go on from "then ".
    pub(super) async fn survived(&self, life: LifeMark) -> Result<(), String> {
        let ping = self.ask("ping", Value::Null).await;
        let is_another = self.life() != life;
        match ping {
            Answer::Gone(why) if is_another => Err(format!("it ended ({why})")),
            Answer::Result(_) | Answer::Error(_) | Answer::Silence(_) if is_another => {
                Err("it ended, and was started again (the log says how)".to_owned())
            }
            Answer::Result(_) | Answer::Error(_) => Ok(()),
            Answer::Silence(_) | Answer::Gone(_) => Err(format!("a ping {ping}")),
        }
    }

    /// Reads a list over all its pages. Returns its items, and how many pages it had.
    pub(super) async fn list(&self, listed: Listed) -> Result<(Vec<Value>, usize), Answered> {
        match timeout(LIST_PATIENCE, self.pages(listed)).await {
            Ok(read) => read,
            Err(_) => Err(Answered::Otherwise(Answer::Silence(LIST_PATIENCE))),
        }
    }

    async fn pages(&self, listed: Listed) -> Result<(Vec<Value>, usize), Answered> {
        let (mut items, mut cursors) = (Vec::new(), Vec::new());
        let mut params = Value::Null;
        for page in 1..=MAX_PAGES {
            let mut result = match self.ask(listed.method, params).await {
                Answer::Result(result) => result,
                other @ (Answer::Error(_) | Answer::Silence(_) | Answer::Gone(_)) => {
                    return Err(Answered::Otherwise(other));
                }
            };
            match result.get_mut(listed.member).map(Value::take) {
                Some(Value::Array(more)) => items.extend(more),
                Some(_) | None => return Err(Answered::Oddly(format!("page {page} has no list {}", listed.member))),
            }
            match result.get_mut("nextCursor").map(Value::take) {
                None | Some(Value::Null) => return Ok((items, page)),
                Some(Value::String(cursor)) if cursors.contains(&cursor) => {
                    return Err(Answered::Oddly(format!(
                        "page {page} has a nextCursor that was there before, so the list has no end"
                    )));
                }
                Some(Value::String(cursor)) => {
                    params = json!({"cursor": cursor});
                    cursors.push(cursor);
                }
                Some(other) => {
                    return Err(Answered::Oddly(format!("page {page} has a nextCursor that is no text: {other}")));
                }
            }
        }
        Err(Answered::Oddly(format!("the list has more than {MAX_PAGES} pages")))
    }

    /// Gives an order about it, and waits for what comes of that.
    pub(super) async fn order(&self, order: Order) -> Result<(), String> {
        match self.orders.give(order).await {
            Ok(given) => outcome::of(given, self.status).await.map(drop),
            Err(NotGiven::Unclear(why) | NotGiven::Impossible(why) | NotGiven::Mistakes(why)) => Err(why),
        }
    }
}

/// Why there is no list.
#[derive(Debug, PartialEq)]
pub(super) enum Answered {
    /// There was another answer than a result, or none.
    Otherwise(Answer),
    /// There was a result that is none of this method, in these words.
    Oddly(String),
}

impl fmt::Display for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answered::Otherwise(answer) => write!(f, "{answer}"),
            Answered::Oddly(how) => write!(f, "was answered oddly: {how}"),
        }
    }
}
