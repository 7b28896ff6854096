//! How far the conversation with a remote server is, and so what it may be sent. Pure.
//!
//! # Theory of operation
//!
//! A conversation begins with `initialize`, alone. What the server answers has the id of the session, if there is one. The notification
//! `initialized` goes alone, too, as some servers take nothing else before it; from then on messages go at the same time.
//!
//! A server that knows a session no more (it was restarted, or has forgotten us) is initialized once more with what it was told the
//! first time ([`Session::lost`]): whoever asks meanwhile waits. Where the server says the same of itself as before, nobody notices but
//! by what a server remembers of a client, which is told anew ([`Greeting::Renewed`]). Where it says something else, the life is over,
//! since what is known of the server holds no more ([`Greeting::Another`]).

use bytes::Bytes;

use crate::mcp::handshake::Welcome;
use crate::mcp::modern;

/// Longest id of a session, in bytes.
const MAX_ID: usize = 4096;
/// Most sessions in a row that a server may forget before they are open: one that goes on so (several servers behind one address, say) is
/// left alone for a while.
const MAX_STILLBORN: u32 = 3;

/// What a line for a server is, as far as that matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineKind {
    Initialize,
    Initialized,
    /// Another request.
    Request,
    /// Another notification, or an answer.
    Message,
}

/// How far a conversation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It has not begun.
    Fresh,
    /// `initialize` is under way. `again`: the server has lost the session before.
    Opening { again: bool },
    /// The server has answered `initialize`.
    Greeted,
    /// `initialized` is under way.
    Announcing { again: bool },
    /// The server takes anything.
    Open,
}

/// What becomes of the answer to `initialize`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Greeting {
    /// It is for whoever asked.
    First,
    /// A new session stands in place of the lost one. `announce`: `initialized` is to be sent, as it was before.
    Renewed { announce: bool },
    /// The server says other things of itself than before.
    Another,
}

/// What is to be done about a request that was refused because its session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// `initialize` is to be sent again; the request waits.
    Begin,
    /// Another session is being made already; the request waits.
    Wait,
    /// There is another session already: the request is to be sent in it.
    Resend,
    /// The server forgets each session at once, and the life is over.
    Hopeless,
    /// No request carries a session in this phase.
    None,
}

/// See the module's documentation. One for each life.
#[derive(Debug)]
pub(super) struct Session {
    phase: Phase,
    id: Option<Box<str>>,
    version: Option<Box<str>>,
    /// The last `initialize` that was sent.
    hello: Option<Bytes>,
    /// What the server has said of itself.
    welcome: Box<[u8]>,
    announced: bool,
    /// There is no handshake, and no session.
    is_modern: bool,
    /// How many sessions there were.
    number: u32,
    /// How many of them in a row were over before they were open.
    stillborn: u32,
}

impl Session {
    pub(super) fn new() -> Self {
        Session {
            phase: Phase::Fresh,
            id: None,
            version: None,
            hello: None,
            welcome: Box::default(),
            announced: false,
            is_modern: false,
            number: 0,
            stillborn: 0,
        }
    }

    /// For a server of the modern era: it takes anything, and remembers nothing.
    pub(super) fn modern() -> Self {
        let version = Some(modern::VERSION.into());
        Session { phase: Phase::Open, version, is_modern: true, ..Session::new() }
    }

    /// Whether there is no handshake.
    pub(super) fn is_modern(&self) -> bool {
        self.is_modern
    }

    /// The server has said what it is.
    pub(super) fn discovered(&mut self) {
        self.number = 1;
    }

    /// Whether a line may be sent now.
    pub(super) fn admits(&self, line: LineKind) -> bool {
        match self.phase {
            Phase::Fresh => line == LineKind::Initialize,
            Phase::Opening { .. } | Phase::Announcing { .. } => false,
            Phase::Greeted | Phase::Open => true,
        }
    }

    /// A line is being sent.
    pub(super) fn sends(&mut self, line: LineKind, text: &Bytes) {
        match line {
            LineKind::Initialize => {
                self.phase = Phase::Opening { again: false };
                self.hello = Some(text.clone());
                // A conversation that begins carries nothing of another one.
                (self.id, self.version) = (None, None);
            }
            LineKind::Initialized => {
                self.phase = Phase::Announcing { again: false };
                self.announced = true;
            }
            LineKind::Request | LineKind::Message => {}
        }
    }

    /// The server has answered `initialize` with this result. `id`: the session that came with it.
    pub(super) fn greeted(&mut self, result: &[u8], id: Option<&str>) -> Greeting {
        let Phase::Opening { again } = self.phase else { return Greeting::First };
        let is_same = *self.welcome == *result;
        if again && !is_same {
            return Greeting::Another;
        }
        let is_id = |id: &&str| !id.is_empty() && id.len() <= MAX_ID && id.bytes().all(|b| b.is_ascii_graphic());
        self.id = id.filter(is_id).map(Into::into);
        let welcome = Welcome::read(result);
        let is_version = |v: &&str| !v.is_empty() && v.len() <= 32 && v.bytes().all(|b| b.is_ascii_graphic());
        self.version = Some(welcome.version()).filter(is_version).map(Into::into);
        self.welcome = result.into();
        self.number += 1;
        if !again {
            self.announced = false;
            self.phase = Phase::Greeted;
            return Greeting::First;
        }
        self.phase = if self.announced { Phase::Announcing { again: true } } else { Phase::Greeted };
        Greeting::Renewed { announce: self.announced }
    }

    /// The server has answered `initialize` with an error, which may be followed by another one.
    pub(super) fn refused(&mut self) {
        // An id on an error means nothing.
        self.phase = Phase::Fresh;
    }

    /// The server has taken `initialized`. Returns whether that was for a session in place of a lost one.
    pub(super) fn opened(&mut self) -> bool {
        let again = matches!(self.phase, Phase::Announcing { again: true });
        if matches!(self.phase, Phase::Announcing { .. }) {
            self.phase = Phase::Open;
            self.stillborn = 0;
        }
        again
    }

    /// A request that carried the session of this number was refused, as that is over.
    pub(super) fn lost(&mut self, number: u32) -> Loss {
        match self.phase {
            Phase::Opening { again: true } => Loss::Wait,
            Phase::Announcing { again: true } if number != self.number => Loss::Wait,
            // The new session is lost, too.
            Phase::Announcing { again: true } if self.stillborn >= MAX_STILLBORN => Loss::Hopeless,
            Phase::Announcing { again: true } => {
                self.stillborn += 1;
                self.phase = Phase::Opening { again: true };
                (self.id, self.version) = (None, None);
                Loss::Begin
            }
            Phase::Greeted | Phase::Open | Phase::Announcing { again: false } if number != self.number => Loss::Resend,
            Phase::Greeted | Phase::Open | Phase::Announcing { again: false } => {
                self.phase = Phase::Opening { again: true };
                (self.id, self.version) = (None, None);
                Loss::Begin
            }
            Phase::Fresh | Phase::Opening { again: false } => Loss::None,
        }
    }

    /// Whether the answer to an `initialize` is awaited that replaces a lost session.
    pub(super) fn is_renewing(&self) -> bool {
        self.phase == Phase::Opening { again: true }
    }

    /// Whether the server takes anything.
    pub(super) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether the server has answered `initialize` in this life.
    pub(super) fn has_begun(&self) -> bool {
        self.number > 0
    }

    /// The last `initialize` that was sent.
    pub(super) fn hello(&self) -> Option<Bytes> {
        self.hello.clone()
    }

    /// The session's id, for the header `Mcp-Session-Id`.
    pub(super) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The version that was agreed on, for the header `MCP-Protocol-Version`.
    pub(super) fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// Which session it is.
    pub(super) fn number(&self) -> u32 {
        self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WELCOME: &[u8] =
        br#"{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"s","version":"1"}}"#;

    fn line(session: &mut Session, kind: LineKind) {
        assert!(session.admits(kind), "{kind:?} in {session:?}");
        session.sends(kind, &Bytes::from_static(b"{}"));
    }

    fn opened(id: Option<&str>) -> Session {
        let mut session = Session::new();
        line(&mut session, LineKind::Initialize);
        assert_eq!(session.greeted(WELCOME, id), Greeting::First);
        line(&mut session, LineKind::Initialized);
        assert!(!session.opened() && session.is_open());
        session
    }

    #[test]
    fn initialize_and_initialized_go_alone_and_in_this_order() {
        let mut session = Session::new();
        for kind in [LineKind::Initialized, LineKind::Request, LineKind::Message] {
            assert!(!session.admits(kind), "{kind:?} before initialize");
        }
        line(&mut session, LineKind::Initialize);
        assert!(session.id().is_none() && session.version().is_none());
        let all = [LineKind::Initialize, LineKind::Initialized, LineKind::Request, LineKind::Message];
        assert!(all.iter().all(|kind| !session.admits(*kind)));
        session.greeted(WELCOME, Some("abc"));
        assert_eq!((session.id(), session.version()), (Some("abc"), Some("2025-11-25")));
        line(&mut session, LineKind::Initialized);
        assert!(all.iter().all(|kind| !session.admits(*kind)));
        session.opened();
        assert!(all.iter().all(|kind| session.admits(*kind)));
    }

    #[test]
    fn an_id_that_no_header_can_have_is_none() {
        for id in ["", "a b", "ü", "a\nb"] {
            assert_eq!(opened(Some(id)).id(), None, "{id:?}");
        }
        assert_eq!(opened(Some(&"x".repeat(5000))).id(), None);
    }

    #[test]
    fn a_lost_session_is_replaced_once_whoever_notices() {
        let mut session = opened(Some("one"));
        let number = session.number();
        assert_eq!(session.lost(number), Loss::Begin);
        assert_eq!(session.id(), None, "the new initialize carries no session");
        assert!(session.is_renewing() && !session.admits(LineKind::Request));
        assert_eq!(session.lost(number), Loss::Wait);
        assert_eq!(session.greeted(WELCOME, Some("two")), Greeting::Renewed { announce: true });
        assert_eq!(session.lost(number), Loss::Wait);
        assert!(session.opened());
        assert_eq!(session.lost(number), Loss::Resend);
        assert_eq!(session.id(), Some("two"));
        assert_eq!(session.lost(session.number()), Loss::Begin);
    }

    #[test]
    fn a_new_session_that_is_lost_at_once_is_replaced_too_but_not_for_ever() {
        let mut session = opened(Some("a"));
        assert_eq!(session.lost(1), Loss::Begin);
        for number in 2..2 + MAX_STILLBORN {
            assert_eq!(session.greeted(WELCOME, Some("b")), Greeting::Renewed { announce: true });
            assert_eq!((session.lost(1), session.lost(number)), (Loss::Wait, Loss::Begin));
        }
        assert_eq!(session.greeted(WELCOME, Some("c")), Greeting::Renewed { announce: true });
        let mut open = Session { phase: session.phase, ..opened(Some("c")) };
        assert!(open.opened() && open.stillborn == 0);
        assert_eq!(session.lost(2 + MAX_STILLBORN), Loss::Hopeless);
    }

    #[test]
    fn a_server_that_says_something_else_of_itself_is_another_one() {
        let mut session = opened(Some("one"));
        session.lost(session.number());
        assert_eq!(session.greeted(br#"{"protocolVersion":"2025-06-18"}"#, None), Greeting::Another);
    }

    #[test]
    fn a_refused_initialize_may_be_followed_by_another() {
        let mut session = Session::new();
        line(&mut session, LineKind::Initialize);
        session.refused();
        assert!(session.admits(LineKind::Initialize) && !session.admits(LineKind::Request));
        assert_eq!(session.lost(0), Loss::None);
    }

    proptest! {
        /// Whatever happens in whatever order, at most one `initialize` is under way, and no session is made in place of one that
        /// is not the present one.
        #[test]
        fn sessions_are_made_one_after_the_other(events in prop::collection::vec((0..6_u8, 0..4_u32), 0..60)) {
            let mut session = Session::new();
            let mut opening = false;
            for (event, number) in events {
                match event {
                    0 if session.admits(LineKind::Initialize) => {
                        prop_assert!(!opening);
                        session.sends(LineKind::Initialize, &Bytes::new());
                        opening = true;
                    }
                    1 if opening => {
                        let before = session.number();
                        if session.greeted(WELCOME, Some("x")) != Greeting::Another {
                            prop_assert_eq!(session.number(), before + 1);
                        }
                        opening = false;
                    }
                    2 if session.admits(LineKind::Initialized) => session.sends(LineKind::Initialized, &Bytes::new()),
                    3 => { session.opened(); }
                    4 => {
                        let present = session.number();
                        if session.lost(number) == Loss::Begin {
                            prop_assert!(!opening && number == present);
                            opening = true;
                        }
                    }
                    5 if opening && !session.is_renewing() => { session.refused(); opening = false; }
                    _ => {}
                }
            }
        }
    }
}
