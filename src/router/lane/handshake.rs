//! How a server gets its handshake, and another one where its endpoint turns out to differ. The decisions are made in
//! `opening`.

use super::*;
use crate::router::opening::{Answered, Renewal};

/// Longest time that a running process may take for another handshake. A server that has not answered by then takes
/// `initialize` as its first message only.
const AGAIN: Duration = Duration::from_secs(5);

/// Shortest time that is left to a waiting call, before it is refused, when its server goes on with the first handshake
/// instead of waiting for another.
const IN_TIME: Duration = Duration::from_millis(500);

/// What is said of a server whose process is replaced by another one.
const ANEW: &str = "is started anew";

/// What has become of a server's handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::router) enum Opened {
    /// The server may have requests now.
    Ready,
    /// Another answer of the server to `initialize` is awaited.
    Awaited,
    /// The server answers with an error, and no better answer is awaited.
    Refused,
    /// The server may do what it could do before, and no more.
    Same,
}

impl Lane {
    /// Initializes the server with what the endpoint says of itself, or is expected to say.
    pub(super) fn send_initialize(&mut self, again: bool, peers: &mut Peers, now: Instant, out: &mut dyn Out) {
        let hello = self.opening.params(&self.hello(peers));
        self.send(Flight::Initialize(hello.clone()), "initialize", Some(&hello.params), out);
        self.state = ServerSide::Initializing { since: now, again };
    }

    /// The server has answered `initialize`.
    pub(in crate::router) fn welcomed(
        &mut self,
        hello: Arc<Hello>,
        welcome: &Welcome,
        peers: &mut Peers,
        now: Instant,
        out: &mut dyn Out,
    ) -> Opened {
        self.state = ServerSide::Greeted;
        self.opening.welcomed(hello);
        self.check_hello(Some(welcome), peers, now, out)
    }

    /// The server has answered `initialize` with an error, or with nothing that can be read. `why`: that, in words that follow the
    /// server's name. `welcome`: its last answer that was no error.
    pub(in crate::router) fn refused(
        &mut self,
        hello: Arc<Hello>,
        why: &str,
        welcome: Option<&Welcome>,
        peers: &mut Peers,
        now: Instant,
        out: &mut dyn Out,
    ) -> Opened {
        match self.state {
            // The answer comes too late to matter.
            ServerSide::Greeted | ServerSide::Ready | ServerSide::Down { .. } | ServerSide::Refusing { .. } => {
                Opened::Same
            }
            ServerSide::Initializing { again: true, .. } => {
                self.state = ServerSide::Greeted;
                self.opening.did_not_take_another();
                self.check_hello(welcome, peers, now, out)
            }
            ServerSide::Initializing { again: false, .. } => {
                let wait = self.opening.refused(hello);
                self.state = ServerSide::Refusing { why: why.to_owned(), retry_at: now + wait };
                match self.check_hello(None, peers, now, out) {
                    Opened::Awaited => Opened::Awaited,
                    Opened::Ready | Opened::Refused | Opened::Same => Opened::Refused,
                }
            }
        }
    }

    /// Compares what the endpoint says of itself with what the server was told, and lets the server go on if that may stay
    /// so.
    pub(in crate::router) fn check_hello(
        &mut self,
        welcome: Option<&Welcome>,
        peers: &mut Peers,
        now: Instant,
        out: &mut dyn Out,
    ) -> Opened {
        let wanted = self.opening.params(&self.hello(peers));
        let (answered, welcome) = match self.state {
            ServerSide::Greeted | ServerSide::Ready => (Answered::Welcomed, welcome),
            ServerSide::Refusing { .. } => (Answered::Refused, None),
            // A server that exits when it has refused would otherwise be asked the right thing only after its pause.
            ServerSide::Down { retry_at: Some(_), .. } if self.opening.has_refused_another(&wanted) => {
                (Answered::Refused, None)
            }
            // The server will be told the right thing at its start, or be asked again once it has answered.
            ServerSide::Down { .. } | ServerSide::Initializing { .. } => return Opened::Same,
        };
        let is_serving = self.calls().next().is_some();
        // What several peers say of themselves can't all be right, so a server that serves them is left as it is.
        let may_differ = !self.has_many || answered == Answered::Refused;
        match self.opening.renewal(answered, is_serving, |told| may_differ && told.differs(welcome, &wanted)) {
            Renewal::Keep => self.complete_handshake(peers, now, out),
            Renewal::Again => {
                self.opening.ask_again();
                self.send_initialize(true, peers, now, out);
                Opened::Awaited
            }
            Renewal::Fresh => {
                let why = match answered {
                    Answered::Welcomed => {
                        "its endpoint says other things of itself than it was told, which it takes at its start only"
                    }
                    Answered::Refused => {
                        "it refused to initialize, and its endpoint says other things of itself than it was told"
                    }
                };
                self.restart(why, peers, now, out);
                self.opening.set_outdated(true);
                Opened::Awaited
            }
        }
    }

    /// Leaves the server with what it was told. Where that is sure, the server is told that its handshake is complete.
    fn complete_handshake(&mut self, peers: &Peers, now: Instant, out: &mut dyn Out) -> Opened {
        self.opening.set_outdated(false);
        match self.state {
            ServerSide::Greeted if self.is_hello_sure(peers) => {
                self.state = ServerSide::Ready;
                self.started = Some(now);
                if self.opening.complete() {
                    self.notified();
                    out.to_server(self.index, &[br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#]);
                }
                Opened::Ready
            }
            ServerSide::Greeted
            | ServerSide::Ready
            | ServerSide::Refusing { .. }
            | ServerSide::Initializing { .. }
            | ServerSide::Down { .. } => Opened::Same,
        }
    }

    /// When [`Lane::check_opening`] has something to do.
    pub(in crate::router) fn opening_due(&self) -> Option<Instant> {
        match self.state {
            ServerSide::Initializing { since, again: true } => {
                let held = self.held.deadline().and_then(|until| until.checked_sub(IN_TIME));
                Some(held.map_or(since + AGAIN, |at| at.min(since + AGAIN)))
            }
            ServerSide::Refusing { retry_at, .. } => Some(retry_at),
            ServerSide::Initializing { again: false, .. }
            | ServerSide::Down { .. }
            | ServerSide::Greeted
            | ServerSide::Ready => None,
        }
    }

    /// Gives up on another handshake that takes too long, and has a server that refuses asked in another process, after a
    /// while.
    pub(in crate::router) fn check_opening(
        &mut self,
        welcome: Option<&Welcome>,
        peers: &mut Peers,
        now: Instant,
        out: &mut dyn Out,
    ) -> Opened {
        if self.opening_due().is_none_or(|at| at > now) {
            return Opened::Same;
        }
        match self.state {
            ServerSide::Initializing { .. } => {
                self.state = ServerSide::Greeted;
                self.opening.did_not_take_another();
                // Requests that wait might be refused before another process is ready.
                if self.held.len() > 0 {
                    self.complete_handshake(peers, now, out)
                } else {
                    self.check_hello(welcome, peers, now, out)
                }
            }
            ServerSide::Refusing { .. } => {
                self.restart("it refused to initialize, and may have thought better of it", peers, now, out);
                Opened::Same
            }
            ServerSide::Down { .. } | ServerSide::Greeted | ServerSide::Ready => Opened::Same,
        }
    }

    /// The server's refusal to initialize, in its words, if the server has answered nothing else.
    pub(in crate::router) fn refusal(&self) -> Option<String> {
        let why = match &self.state {
            ServerSide::Refusing { why, .. } => why.clone(),
            ServerSide::Down { why, .. } if self.opening.is_refusing() => why.clone(),
            ServerSide::Down { .. } | ServerSide::Initializing { .. } | ServerSide::Greeted | ServerSide::Ready => {
                return None;
            }
        };
        Some(format!("server \"{}\" {why}", self.name))
    }

    /// Has another process of the server started, at once.
    fn restart(&mut self, why: &'static str, peers: &mut Peers, now: Instant, out: &mut dyn Out) {
        out.restart(self.index, why);
        let refused = match &self.state {
            ServerSide::Refusing { why, .. } => Some(why.clone()),
            ServerSide::Down { why, .. } if self.opening.is_refusing() => Some(why.clone()),
            ServerSide::Down { .. } | ServerSide::Initializing { .. } | ServerSide::Greeted | ServerSide::Ready => None,
        };
        let why = refused.as_deref().unwrap_or(ANEW);
        self.end_life(Gone { why, retry_in: Duration::ZERO, by_command: false }, peers, now, out);
    }
}
