//! How a server gets its handshake, and another one where its endpoint turns out to differ. What is decided there is in `opening`.

use super::*;
use crate::router::opening::{Answered, Renewal};

/// Longest time that a process which runs may take for another handshake. One that has not answered by then takes
/// `initialize` as its first message only.
const AGAIN: Duration = Duration::from_secs(5);

/// It goes on with its first so long before a call that waits for it would be refused.
const IN_TIME: Duration = Duration::from_millis(500);

/// What is said of a server whose process is replaced by another one.
const ANEW: &str = "is started anew";

/// What has become of a server's handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::router) enum Opened {
    /// It may have requests now.
    Ready,
    /// Another answer to `initialize` is awaited of it.
    Awaited,
    /// It answers with an error, and that is its answer.
    Refused,
    /// Nothing that it did not do before.
    Same,
}

impl Lane {
    /// Initializes it with what the endpoint says of itself, or is expected to.
    pub(super) fn send_initialize(&mut self, again: bool, desk: &mut Desk, now: Instant, out: &mut dyn Out) {
        let hello = self.opening.params(&desk.hello);
        self.send(Flight::Initialize(hello.clone()), "initialize", Some(&hello.params), desk, out);
        self.state = ServerSide::Initializing { since: now, again };
    }

    /// It has answered `initialize`.
    pub(in crate::router) fn welcomed(
        &mut self,
        hello: Arc<Hello>,
        welcome: &Welcome,
        desk: &mut Desk,
        now: Instant,
        out: &mut dyn Out,
    ) -> Opened {
        self.state = ServerSide::Greeted;
        self.opening.welcomed(hello);
        self.settle(Some(welcome), desk, now, out)
    }

    /// It has answered `initialize` with an error. `welcome`: its last answer that was none.
    pub(in crate::router) fn refused(
        &mut self,
        hello: Arc<Hello>,
        why: &str,
        welcome: Option<&Welcome>,
        desk: &mut Desk,
        now: Instant,
        out: &mut dyn Out,
    ) -> Opened {
        match self.state {
            // An answer that came too late to matter.
            ServerSide::Greeted | ServerSide::Ready | ServerSide::Down { .. } | ServerSide::Refusing { .. } => {
                Opened::Same
            }
            ServerSide::Initializing { again: true, .. } => {
                self.state = ServerSide::Greeted;
                self.opening.did_not_take_another();
                self.settle(welcome, desk, now, out)
            }
            ServerSide::Initializing { again: false, .. } => {
                let wait = self.opening.refused(hello);
                self.state = ServerSide::Refusing { why: why.to_owned(), retry_at: now + wait };
                match self.settle(None, desk, now, out) {
                    Opened::Awaited => Opened::Awaited,
                    Opened::Ready | Opened::Refused | Opened::Same => Opened::Refused,
                }
            }
        }
    }

    /// Holds what the endpoint says of itself against what the server was told, and lets it go on if that may stay so.
    pub(in crate::router) fn settle(
        &mut self,
        welcome: Option<&Welcome>,
        desk: &mut Desk,
        now: Instant,
        out: &mut dyn Out,
    ) -> Opened {
        let wanted = self.opening.params(&desk.hello);
        let (answered, welcome) = match self.state {
            ServerSide::Greeted | ServerSide::Ready => (Answered::Welcomed, welcome),
            ServerSide::Refusing { .. } => (Answered::Refused, None),
            // One that exits when it has refused would be asked the right thing after its pause only.
            ServerSide::Down { retry_at: Some(_), .. } if self.opening.has_refused_another(&wanted) => {
                (Answered::Refused, None)
            }
            // It will be told the right thing, or be asked again when it has answered.
            ServerSide::Down { .. } | ServerSide::Initializing { .. } => return Opened::Same,
        };
        let is_serving = self.calls().next().is_some();
        match self.opening.renewal(answered, is_serving, |told| told.differs(welcome, &wanted)) {
            Renewal::Keep => self.go_on(desk, now, out),
            Renewal::Again => {
                self.opening.ask_again();
                self.send_initialize(true, desk, now, out);
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
                self.restart(why, desk, now, out);
                self.opening.set_outdated(true);
                Opened::Awaited
            }
        }
    }

    /// It stays with what it was told. Where that is sure it is told that its handshake is complete.
    fn go_on(&mut self, desk: &Desk, now: Instant, out: &mut dyn Out) -> Opened {
        self.opening.set_outdated(false);
        match self.state {
            ServerSide::Greeted if desk.is_sure() => {
                self.state = ServerSide::Ready;
                self.started = Some(now);
                if self.opening.complete() {
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

    /// Gives up on another handshake that takes too long, and has a server that refuses asked by another process after a
    /// while.
    pub(in crate::router) fn check_opening(
        &mut self,
        welcome: Option<&Welcome>,
        desk: &mut Desk,
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
                // What waits for it would be lost with its process.
                if self.held.len() > 0 { self.go_on(desk, now, out) } else { self.settle(welcome, desk, now, out) }
            }
            ServerSide::Refusing { .. } => {
                self.restart("it refused to initialize, and may have thought better of it", desk, now, out);
                Opened::Same
            }
            ServerSide::Down { .. } | ServerSide::Greeted | ServerSide::Ready => Opened::Same,
        }
    }

    /// That it refused to initialize, in its words, if that is all it has answered.
    pub(in crate::router) fn refusal(&self) -> Option<String> {
        let why = match &self.state {
            ServerSide::Refusing { why, .. } => format!("refused to initialize: {why}"),
            ServerSide::Down { why, .. } if self.opening.is_refusing() => why.clone(),
            ServerSide::Down { .. } | ServerSide::Initializing { .. } | ServerSide::Greeted | ServerSide::Ready => {
                return None;
            }
        };
        Some(format!("server \"{}\" {why}", self.name))
    }

    /// Has another process of it started, at once.
    fn restart(&mut self, why: &'static str, desk: &mut Desk, now: Instant, out: &mut dyn Out) {
        out.restart(self.index, why);
        let refused = match &self.state {
            ServerSide::Refusing { why, .. } => Some(format!("refused to initialize: {why}")),
            ServerSide::Down { why, .. } if self.opening.is_refusing() => Some(why.clone()),
            ServerSide::Down { .. } | ServerSide::Initializing { .. } | ServerSide::Greeted | ServerSide::Ready => None,
        };
        let why = refused.as_deref().unwrap_or(ANEW);
        self.leave(Gone { why, retry_in: Duration::ZERO }, desk, now, out);
    }
}
