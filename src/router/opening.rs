//! With which parameters a server is initialized, and what follows once its endpoint has sent its own. Pure.
//!
//! # Theory of operation
//!
//! The first line that a process gets is `initialize`, for a server may exit on anything else, and the answer shows that the
//! server is ready. The endpoint is dialled after that, so its parameters are taken from an earlier run, or are the likely
//! ones. Likely parameters commit the server to nothing, for `notifications/initialized` waits for the endpoint. When the
//! endpoint's own parameters differ in a way that a server would notice, the server is asked *again* in the same process. A
//! server that does not take that gets a *fresh* process, once in a run: from then on it is known to take `initialize` as its
//! first message only. A server that refuses the endpoint's parameters, and has accepted others before, is told the accepted
//! ones again: a server that serves is worth more than one that was asked rightly.
//!
//! A server that refuses altogether is asked again in a fresh process, after longer and longer waits.

use std::sync::Arc;
use std::time::Duration;

use crate::mcp::failure::Failure;
use crate::mcp::handshake::Hello;
use crate::net::peer_text::bounded;

/// Shortest time between a refusal and the next attempt. It doubles up to [`LONGEST_WAIT`]: a start costs this machine something,
/// and the reason of a refusal (a licence, a database) mostly takes a person to change.
const SHORTEST_WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Longest part of a server's error that is kept and shown, in characters.
const WORDS: usize = 500;

/// What to do about a server whose endpoint has other parameters than the server was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Renewal {
    /// The server stays with what it was told.
    Keep,
    /// The server is initialized once more.
    Again,
    /// The server is started anew, and told the right parameters.
    Fresh,
}

/// How a server has answered `initialize` in this life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answered {
    Welcomed,
    Refused,
}

/// How often a process of a server takes `initialize`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Takes {
    /// Several times, as far as is known.
    #[default]
    Several,
    /// As its first message only.
    Once,
}

/// What a server's present life was used for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Use {
    #[default]
    None,
    /// The server has served calls, and may have a state because of these.
    Served,
    /// A call is under way.
    Serving,
}

/// All that the decision depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    /// Whether a server would act otherwise on the endpoint's parameters.
    pub(super) differs: bool,
    pub(super) answered: Answered,
    pub(super) takes: Takes,
    /// Whether the server has been asked again in this life.
    pub(super) asked_again: bool,
    pub(super) used: Use,
}

/// What to do about the server.
pub(super) fn renewal(case: Case) -> Renewal {
    let Case { differs, answered, takes, asked_again, used } = case;
    match (answered, takes, used) {
        _ if !differs => Renewal::Keep,
        // A process that has refused is of no use, whatever it takes.
        (Answered::Refused, Takes::Several | Takes::Once, _) => Renewal::Fresh,
        (Answered::Welcomed, Takes::Several, Use::None | Use::Served) if !asked_again => Renewal::Again,
        // Not again: the server may die of being asked, and the call with it.
        (Answered::Welcomed, Takes::Several, _) => Renewal::Keep,
        (Answered::Welcomed, Takes::Once, Use::None) => Renewal::Fresh,
        // The state that calls have left in the process is worth more than the right parameters.
        (Answered::Welcomed, Takes::Once, Use::Served | Use::Serving) => Renewal::Keep,
    }
}

/// How far one server is with its handshakes.
#[derive(Debug, Default)]
pub(super) struct Opening {
    /// The parameters that the server has answered last, in this life.
    told: Option<Arc<Hello>>,
    takes: Takes,
    asked_again: bool,
    /// Whether the server was told that its last handshake is complete.
    is_complete: bool,
    used: Use,
    /// The parameters that the server has accepted last, in this run.
    accepted: Option<Arc<Hello>>,
    /// Whether the server has refused other parameters since, so that it is told the accepted ones.
    stays_with_accepted: bool,
    /// Whether the server's last answer is to other parameters than the endpoint's, and another answer is awaited.
    outdated: bool,
    /// The wait after the last refusal; `None` if the last answer was no refusal.
    waited: Option<Duration>,
}

impl Opening {
    /// The parameters that a process is told now, if those of its endpoint are `hello`, for certain or likely.
    pub(super) fn params(&self, hello: &Arc<Hello>) -> Arc<Hello> {
        let accepted = self.accepted.as_ref().filter(|_| self.stays_with_accepted);
        accepted.unwrap_or(hello).clone()
    }

    /// A process of the server was started, which has been told nothing.
    pub(super) fn begin(&mut self) {
        (self.told, self.asked_again, self.is_complete, self.used) = (None, false, false, Use::None);
    }

    /// The server accepted these parameters.
    pub(super) fn welcomed(&mut self, hello: Arc<Hello>) {
        self.accepted = Some(hello.clone());
        self.told = Some(hello);
        self.is_complete = false;
        self.waited = None;
    }

    /// The handshake is complete. Returns whether the server has to be told.
    pub(super) fn complete(&mut self) -> bool {
        !std::mem::replace(&mut self.is_complete, true)
    }

    /// The server refused these parameters in its first message. Returns the wait until the next attempt.
    pub(super) fn refused(&mut self, hello: Arc<Hello>) -> Duration {
        self.stays_with_accepted |= self.accepted.as_ref().is_some_and(|accepted| *accepted != hello);
        self.told = Some(hello);
        let wait = self.waited.map_or(SHORTEST_WAIT, |waited| LONGEST_WAIT.min(waited * 2));
        self.waited = Some(wait);
        wait
    }

    /// The server did not take another `initialize`, or did not survive one: it takes one as its first message only.
    pub(super) fn did_not_take_another(&mut self) {
        self.takes = Takes::Once;
    }

    /// The server is asked again, in this life.
    pub(super) fn ask_again(&mut self) {
        (self.asked_again, self.outdated) = (true, true);
    }

    /// The server has got a call.
    pub(super) fn serve(&mut self) {
        self.used = Use::Served;
    }

    /// Notes whether another answer of the server is awaited.
    pub(super) fn set_outdated(&mut self, outdated: bool) {
        self.outdated = outdated;
    }

    /// Whether another answer of the server is awaited.
    pub(super) fn is_outdated(&self) -> bool {
        self.outdated
    }

    /// Whether the server has refused parameters, and accepted none since.
    pub(super) fn is_refusing(&self) -> bool {
        self.waited.is_some()
    }

    /// What to do about a server that has answered. `differs`: whether a server would act otherwise on the endpoint's parameters
    /// than on those that it was told.
    pub(super) fn renewal(
        &self,
        answered: Answered,
        is_serving: bool,
        differs: impl FnOnce(&Hello) -> bool,
    ) -> Renewal {
        let Opening { takes, asked_again, used, .. } = *self;
        let used = if is_serving { Use::Serving } else { used };
        let differs = self.told.as_deref().is_some_and(differs);
        renewal(Case { differs, answered, takes, asked_again, used })
    }

    /// Whether the server refuses, and was asked with parameters that differ from `wanted`.
    pub(super) fn has_refused_another(&self, wanted: &Hello) -> bool {
        self.is_refusing() && self.told.as_ref().is_some_and(|told| told.differs(None, wanted))
    }

    /// Whether the server was told `hello`, or parameters that make no difference to it.
    pub(super) fn was_told(&self, hello: &Hello) -> bool {
        self.told.as_ref().is_some_and(|told| !told.differs(None, hello))
    }
}

/// The words of a server's error, bounded and on one line.
pub(super) fn words(frame: &[u8]) -> String {
    bounded(&Failure::read(frame).message, WORDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whether_a_server_is_kept_asked_again_or_started_anew() {
        use Answered::{Refused, Welcomed};
        use Renewal::{Again, Fresh, Keep};
        use Takes::{Once, Several};
        use Use::{None, Served, Serving};
        for (answered, takes, asked_again, used, then) in [
            (Welcomed, Several, false, None, Again),
            (Welcomed, Several, false, Served, Again),
            (Welcomed, Several, false, Serving, Keep),
            (Welcomed, Several, true, None, Keep),
            (Welcomed, Several, true, Served, Keep),
            (Welcomed, Several, true, Serving, Keep),
            (Welcomed, Once, false, None, Fresh),
            (Welcomed, Once, false, Served, Keep),
            (Welcomed, Once, false, Serving, Keep),
            (Welcomed, Once, true, None, Fresh),
            (Welcomed, Once, true, Served, Keep),
            (Welcomed, Once, true, Serving, Keep),
            (Refused, Several, false, None, Fresh),
            (Refused, Several, true, None, Fresh),
            (Refused, Once, false, None, Fresh),
            (Refused, Once, true, None, Fresh),
        ] {
            let case = Case { differs: true, answered, takes, asked_again, used };
            assert_eq!(renewal(case), then, "{case:?}");
            let case = Case { differs: false, ..case };
            assert_eq!(renewal(case), Keep, "{case:?}");
        }
    }

    #[test]
    fn a_server_that_goes_on_refusing_is_asked_later_and_later_until_it_accepts() {
        let hello = Arc::new(Hello::likely());
        let mut opening = Opening::default();
        let waits: Vec<u64> = (0..8).map(|_| opening.refused(hello.clone()).as_secs()).collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 300, 300]);
        assert!(opening.is_refusing());
        opening.welcomed(hello.clone());
        assert!(!opening.is_refusing());
        assert_eq!(opening.refused(hello), SHORTEST_WAIT);
    }

    #[test]
    fn a_server_that_refuses_its_endpoints_own_parameters_goes_back_to_those_that_it_accepted() {
        let (likely, own) = (Arc::new(Hello::likely()), Arc::new(Hello::of_cloud()));
        let mut opening = Opening::default();
        opening.refused(likely.clone());
        assert_eq!(opening.params(&own), own, "it has accepted nothing");
        opening.welcomed(likely.clone());
        assert_eq!(opening.params(&own), own);
        opening.refused(own.clone());
        assert_eq!(opening.params(&own), likely);
        let mut opening = Opening::default();
        opening.welcomed(own.clone());
        opening.refused(own.clone());
        assert_eq!(opening.params(&likely), likely, "it refuses what it accepted: something else is the matter");
    }

    #[test]
    fn a_servers_words_are_one_line_of_bounded_length() {
        assert_eq!(words(br#"{"error":{"code":-1,"message":" no\n\tlicence\u001b[31m "}}"#), "no licence\\u{1b}[31m");
        assert_eq!(words(br#"{"error":{"code":-1}}"#), "it gave no reason");
        let long = format!(r#"{{"error":{{"message":"{}"}}}}"#, "x".repeat(10_000));
        assert_eq!(words(long.as_bytes()).chars().count(), WORDS + 1);
    }
}
