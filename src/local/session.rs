//! The MCP client that the local endpoint is: what it sends when, and what an answer means. No I/O, no clock.
//!
//! # Theory of operation
//!
//! A session lives as long as one connection and keeps the xiaozhi cloud's timetable: `initialize` with id 0 at once
//! (10 s to answer), then `notifications/initialized` and `tools/list` in one burst, then a `ping` every 60 s.
//! The driver hands in each frame, call and wake-up together with the time, does what the returned
//! [`Output`]s say, and calls [`Session::on_time`] at [`Session::wake_at`].
//!
//! A session does more than the cloud: it follows `nextCursor`, reads the list again after `notifications/tools/list_changed`,
//! and asks again when the list was answered with an error, since a person at a terminal waits for this list.
//!
//! A call is known by a *ticket* of the caller's type, handed back with its answer.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Catalogue, RpcError};
use crate::mcp::handshake::Hello;
use crate::mcp::{cloud, mend};

const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// Pause between an error for the list of tools and the next request for it.
const LIST_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// Most times that the pause doubles, while the answer stays an error.
const MOST_DOUBLINGS: u32 = 5;
/// Most pages of a list: more than any real list has, so only a server that makes up new cursors for ever ends here.
const MAX_PAGES: usize = 1000;

/// The parameters of `initialize`.
pub(super) fn hello() -> Hello {
    Hello::of_cloud()
}

/// What the driver is to do, in this order.
#[derive(Debug, PartialEq)]
pub(super) enum Output<T> {
    /// Send this frame.
    Send(String),
    /// The call with this ticket has its answer.
    Answer(T, Result<Value, RpcError>),
    /// The server's tools were read, all pages.
    Tools(Catalogue),
    /// The server answered `tools/list` with an error, and is asked again later.
    ToolsFailed(RpcError),
    /// The server did something that the protocol doesn't know; the session goes on.
    Odd(String),
    /// Close the connection; nothing follows.
    Close {
        /// The WebSocket close code.
        code: u16,
        /// The reason as the cloud words it.
        reason: &'static str,
    },
}

/// One connection's conversation. `T` is the ticket type of calls.
#[derive(Debug)]
pub(super) struct Session<T> {
    phase: Phase,
    next_id: u64,
    /// How often in a row the list of tools was answered with an error.
    list_errors: u32,
    in_flight: BTreeMap<u64, Asked<T>>,
}

#[derive(Debug)]
enum Phase {
    Initializing { deadline: Instant },
    Open { server_info: Value, listing: Listing, ping: Ping },
    Closed,
}

#[derive(Debug)]
enum Listing {
    /// The list was read, and no change has been told since.
    Known,
    /// Pages are coming in. `stale`: the list changed meanwhile, and has to be read once more.
    Reading { tools: Vec<Value>, cursors: HashSet<String>, stale: bool },
    /// The list was answered with an error.
    Failed { again_at: Instant },
}

#[derive(Debug)]
enum Ping {
    Due(Instant),
    Unanswered { deadline: Instant },
}

#[derive(Debug)]
enum Asked<T> {
    Initialize,
    Tools,
    Ping,
    Call(T),
}

impl<T> Session<T> {
    /// A session on a connection opened `now`, and its first frame.
    pub(super) fn open(now: Instant) -> (Self, Vec<Output<T>>) {
        let session = Session {
            phase: Phase::Initializing { deadline: now + cloud::INITIALIZE },
            next_id: 1,
            list_errors: 0,
            in_flight: BTreeMap::from([(0, Asked::Initialize)]),
        };
        let hello = hello();
        let params = String::from_utf8_lossy(&hello.params);
        (session, vec![Output::Send(format!(r#"{{"id":0,"jsonrpc":"2.0","method":"initialize","params":{params}}}"#))])
    }

    /// Whether a call may be sent: not before the handshake is through.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open { .. })
    }

    /// How many calls wait for their answer.
    pub(super) fn calls_in_flight(&self) -> usize {
        self.in_flight.values().filter(|asked| matches!(asked, Asked::Call(_))).count()
    }

    /// When [`Session::on_time`] is to be called next.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Initializing { deadline } => Some(*deadline),
            Phase::Open { listing, ping, .. } => {
                let ping = match ping {
                    Ping::Due(at) | Ping::Unanswered { deadline: at } => *at,
                };
                Some(match listing {
                    Listing::Failed { again_at } => ping.min(*again_at),
                    Listing::Known | Listing::Reading { .. } => ping,
                })
            }
            Phase::Closed => None,
        }
    }

    #[cfg(test)]
    fn listed_again_at(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Open { listing: Listing::Failed { again_at }, .. } => Some(*again_at),
            Phase::Open { .. } | Phase::Initializing { .. } | Phase::Closed => None,
        }
    }

    /// The wait until [`Session::wake_at`] is over.
    pub(super) fn on_time(&mut self, now: Instant) -> Vec<Output<T>> {
        let mut out = Vec::new();
        match &mut self.phase {
            Phase::Initializing { deadline } if now >= *deadline => out.push(self.close()),
            Phase::Open { ping: Ping::Unanswered { deadline }, .. } if now >= *deadline => out.push(self.close()),
            Phase::Open { listing, ping, .. } => {
                let list_again = matches!(listing, Listing::Failed { again_at } if now >= *again_at);
                let ping_now = matches!(ping, Ping::Due(at) if now >= *at);
                if list_again {
                    *listing = Listing::start();
                }
                if ping_now {
                    *ping = Ping::Unanswered { deadline: now + cloud::PING };
                }
                if list_again {
                    out.push(self.ask("tools/list", None, Asked::Tools));
                }
                if ping_now {
                    out.push(self.ask("ping", None, Asked::Ping));
                }
            }
            Phase::Initializing { .. } | Phase::Closed => {}
        }
        out
    }

    /// Sends a request, without parameters where these are null; its answer comes back with the ticket. Only while
    /// [`Session::is_open`].
    pub(super) fn request(&mut self, method: &str, params: &Value, ticket: T) -> Vec<Output<T>> {
        vec![self.ask(method, Some(params.clone()).filter(|params| !params.is_null()), Asked::Call(ticket))]
    }

    /// Gives up the calls whose tickets nobody holds any more; the server is told.
    pub(super) fn abandon(&mut self, is_abandoned: impl Fn(&T) -> bool) -> Vec<Output<T>> {
        let mut out = Vec::new();
        self.in_flight.retain(|id, asked| {
            let given_up = matches!(asked, Asked::Call(ticket) if is_abandoned(ticket));
            if given_up {
                let params = json!({"requestId": id, "reason": "the caller stopped waiting"});
                let cancelled = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params});
                out.push(Output::Send(cancelled.to_string()));
            }
            !given_up
        });
        out
    }

    /// A frame from the server.
    pub(super) fn on_frame(&mut self, text: &str, now: Instant) -> Vec<Output<T>> {
        if matches!(self.phase, Phase::Closed) {
            return Vec::new();
        }
        let mut message = match mend::parse(text.as_bytes()) {
            Ok(Value::Object(message)) => message,
            Ok(_) => return vec![Output::Odd("a message that is no JSON object".to_owned())],
            Err(error) => return vec![Output::Odd(format!("a message that is not JSON: {error}"))],
        };
        let id = message.remove("id");
        match (message.get("method").and_then(Value::as_str), id) {
            (Some(method), Some(id)) => vec![Output::Send(reply(method, &id))],
            (Some("notifications/tools/list_changed"), None) => self.on_list_changed(),
            (Some(_), None) => Vec::new(),
            (None, id) => {
                let asked = id.as_ref().and_then(Value::as_u64).and_then(|id| self.in_flight.remove(&id));
                let Some(asked) = asked else {
                    let id = id.unwrap_or(Value::Null);
                    return vec![Output::Odd(format!("an answer to id {id}, which is not in flight"))];
                };
                let answer = match message.remove("error") {
                    Some(error) => Err(RpcError::from(error)),
                    None => Ok(message.remove("result").unwrap_or(Value::Null)),
                };
                self.on_answer(asked, answer, now)
            }
        }
    }

    fn on_answer(&mut self, asked: Asked<T>, answer: Result<Value, RpcError>, now: Instant) -> Vec<Output<T>> {
        match asked {
            Asked::Call(ticket) => vec![Output::Answer(ticket, answer)],
            Asked::Initialize => self.on_initialized(answer, now),
            Asked::Tools => self.on_tools(answer, now),
            // An error is an answer too, and shows that the server is alive.
            Asked::Ping => {
                if let Phase::Open { ping, .. } = &mut self.phase {
                    *ping = Ping::Due(now + cloud::PING);
                }
                Vec::new()
            }
        }
    }

    fn on_initialized(&mut self, answer: Result<Value, RpcError>, now: Instant) -> Vec<Output<T>> {
        match answer {
            Ok(mut result) => {
                let server_info = result.get_mut("serverInfo").map(Value::take).unwrap_or_default();
                let ping = Ping::Due(now + cloud::PING);
                self.phase = Phase::Open { server_info, listing: Listing::start(), ping };
                vec![Output::Send(INITIALIZED.to_owned()), self.ask("tools/list", None, Asked::Tools)]
            }
            Err(error) => vec![Output::Odd(format!("initialize answered with an error: {error}")), self.close()],
        }
    }

    fn on_tools(&mut self, answer: Result<Value, RpcError>, now: Instant) -> Vec<Output<T>> {
        let Phase::Open { server_info, listing, .. } = &mut self.phase else { return Vec::new() };
        let Listing::Reading { tools, cursors, stale } = listing else { return Vec::new() };
        let mut out = Vec::new();
        let mut page = match answer {
            Ok(page) => page,
            // A server without tools is a server all the same.
            Err(error) if error.code == RpcError::METHOD_NOT_FOUND => json!({}),
            Err(error) => {
                let pause = LIST_AGAIN_AFTER * 2_u32.pow(self.list_errors.min(MOST_DOUBLINGS));
                self.list_errors = self.list_errors.saturating_add(1);
                *listing = Listing::Failed { again_at: now + pause };
                return vec![Output::ToolsFailed(error)];
            }
        };
        self.list_errors = 0;
        if let Some(Value::Array(more)) = page.get_mut("tools").map(Value::take) {
            tools.extend(more);
        }
        // A cursor is a text, or for some servers a number; an empty text means that there is none.
        let cursor =
            page.get("nextCursor").filter(|cursor| **cursor != "" && (cursor.is_string() || cursor.is_number()));
        if let Some(cursor) = cursor {
            if cursors.len() + 1 >= MAX_PAGES {
                out.push(Output::Odd(format!("a list of tools with more than {MAX_PAGES} pages, cut off there")));
            } else if cursors.insert(cursor.to_string()) {
                let params = json!({"cursor": cursor});
                return vec![self.ask("tools/list", Some(params), Asked::Tools)];
            } else {
                out.push(Output::Odd("the same nextCursor twice; the list of tools ends there".to_owned()));
            }
        }
        out.push(Output::Tools(Catalogue { server_info: server_info.clone(), tools: std::mem::take(tools) }));
        if *stale {
            *listing = Listing::start();
            out.push(self.ask("tools/list", None, Asked::Tools));
        } else {
            *listing = Listing::Known;
        }
        out
    }

    fn on_list_changed(&mut self) -> Vec<Output<T>> {
        match &mut self.phase {
            Phase::Open { listing: Listing::Reading { stale, .. }, .. } => {
                *stale = true;
                Vec::new()
            }
            Phase::Open { listing: listing @ Listing::Known, .. } => {
                *listing = Listing::start();
                vec![self.ask("tools/list", None, Asked::Tools)]
            }
            Phase::Open { listing: Listing::Failed { .. }, .. } | Phase::Initializing { .. } | Phase::Closed => {
                Vec::new()
            }
        }
    }

    fn ask(&mut self, method: &str, params: Option<Value>, asked: Asked<T>) -> Output<T> {
        let id = self.next_id;
        self.next_id += 1;
        self.in_flight.insert(id, asked);
        let mut message = json!({"id": id, "jsonrpc": "2.0", "method": method});
        if let Some(params) = params {
            message["params"] = params;
        }
        Output::Send(message.to_string())
    }

    /// Closes the connection as the cloud does, which has one close code for everything.
    fn close(&mut self) -> Output<T> {
        self.phase = Phase::Closed;
        Output::Close { code: cloud::CLOSE, reason: cloud::CLOSE_REASON }
    }
}

impl Listing {
    fn start() -> Self {
        Listing::Reading { tools: Vec::new(), cursors: HashSet::new(), stale: false }
    }
}

/// The answer to a server's own request.
fn reply(method: &str, id: &Value) -> String {
    match method {
        "ping" => json!({"jsonrpc": "2.0", "id": id, "result": {}}),
        "roots/list" => json!({"jsonrpc": "2.0", "id": id, "result": {"roots": []}}),
        _ => {
            let message = format!("the local endpoint of mcp-pipe does not do {method}");
            json!({"jsonrpc": "2.0", "id": id, "error": {"code": RpcError::METHOD_NOT_FOUND, "message": message}})
        }
    }
    .to_string()
}

#[cfg(test)]
mod tests;
