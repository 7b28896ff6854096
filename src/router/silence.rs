//! Whether a server that was called still says anything. Pure.
//!
//! A process that takes calls may hang all the same, and nothing else would show that. Nor is anything done about a silent
//! server, which may be working on a call that cannot be taken back. But it is asked for a sign of life, which a server that
//! works on several things at once gives. If none comes, that is logged, and when the cloud has given up on the call, the
//! server counts as not healthy.
//!
//! Silences are looked at with each beat of the connection and not by a timer of their own: a timer makes each sleep of the
//! thread cost more, and so each call.

use std::time::Duration;

use tokio::time::Instant;

use crate::mcp::cloud;

/// Silence after which a server is asked for a sign of life. Few calls take longer.
const ASKED: Duration = Duration::from_secs(30);

/// Silence after which the log says that the server is silent.
const REPORTED: Duration = Duration::from_secs(60);

/// Shortest time from one step to the next: time to answer, also where silences are looked at late.
const PATIENCE: Duration = Duration::from_secs(10);

/// Silence after which the server is not healthy: the cloud has given up on the call by then.
pub(super) const FAILED: Duration = cloud::CALL;

/// How long a server has said nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Silence {
    /// The server has said something since its last call, or was not called yet.
    #[default]
    None,
    /// The server was called at the first time, by this method, and has said nothing since. The last stage, and when that was
    /// reached.
    Since(Instant, &'static str, SilenceStage, Instant),
}

/// What has come of a silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SilenceStage {
    /// Nothing was done yet.
    Noticed,
    /// The server was asked for a sign of life.
    Asked,
    /// The log has said that the server is silent.
    Reported,
    /// The server counts as not healthy.
    Failed,
}

impl Silence {
    /// The server was sent a call of this method.
    pub(super) fn called(&mut self, method: &[u8], now: Instant) {
        if let Silence::None = self {
            *self = Silence::Since(now, known(method), SilenceStage::Noticed, now);
        }
    }

    /// The method of the first call in the silence.
    pub(super) fn method(&self) -> &'static str {
        match self {
            Silence::None => OTHER,
            Silence::Since(_, method, ..) => method,
        }
    }

    /// The server said something. Returns the length of its silence, if that was reported.
    pub(super) fn broken(&mut self, now: Instant) -> Option<Duration> {
        match std::mem::take(self) {
            Silence::Since(since, _, SilenceStage::Reported | SilenceStage::Failed, _) => Some(now - since),
            Silence::Since(_, _, SilenceStage::Noticed | SilenceStage::Asked, _) | Silence::None => None,
        }
    }

    /// The stage that is due now, if one is, and the length of the silence.
    pub(super) fn look(&mut self, now: Instant) -> Option<(SilenceStage, Duration)> {
        let Silence::Since(since, _, step, at) = self else { return None };
        let lasted = now - *since;
        let (next, after) = match step {
            SilenceStage::Noticed => (SilenceStage::Asked, ASKED),
            SilenceStage::Asked => (SilenceStage::Reported, REPORTED),
            SilenceStage::Reported => (SilenceStage::Failed, FAILED),
            SilenceStage::Failed => return None,
        };
        (lasted >= after && now - *at >= PATIENCE).then(|| {
            (*step, *at) = (next, now);
            (next, lasted)
        })
    }
}

/// What a method is called that is none of the usual ones: it may be of any length.
const OTHER: &str = "a request";

/// The usual methods, by which a silence is told to a person. The first are the most frequent ones.
const KNOWN: [&str; 9] = [
    "tools/call",
    "tools/list",
    "initialize",
    "ping",
    "resources/read",
    "resources/list",
    "resources/templates/list",
    "prompts/get",
    "prompts/list",
];

fn known(method: &[u8]) -> &'static str {
    KNOWN.into_iter().find(|known| known.as_bytes() == method).unwrap_or(OTHER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_counts_from_the_first_call_in_it_and_ends_with_a_word() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut silence = Silence::default();
        assert_eq!(silence.look(at(1000)), None, "it was not called");
        silence.called(b"tools/list", at(0));
        silence.called(b"tools/call", at(50));
        assert_eq!(silence.method(), "tools/list");
        let mut looks = Vec::new();
        for seconds in (0..=400).step_by(10) {
            looks.extend(silence.look(at(seconds)).map(|(step, lasted)| (step, lasted.as_secs())));
        }
        assert_eq!(looks, [(SilenceStage::Asked, 30), (SilenceStage::Reported, 60), (SilenceStage::Failed, 300)]);
        assert_eq!(silence.broken(at(400)), Some(Duration::from_secs(400)));
        assert_eq!((silence.broken(at(401)), silence.look(at(1000))), (None, None));
        silence.called(b"x/y", at(1000));
        assert_eq!(silence.method(), OTHER);
        assert_eq!(silence.look(at(1030)), Some((SilenceStage::Asked, ASKED)));
        assert_eq!(silence.broken(at(1031)), None, "nobody knows of it");
    }

    #[test]
    fn who_is_looked_at_rarely_has_time_to_answer_all_the_same() {
        let start = Instant::now();
        let mut silence = Silence::default();
        silence.called(b"tools/call", start);
        let at = [400, 401, 410, 420].map(|seconds| start + Duration::from_secs(seconds));
        let steps = at.map(|at| silence.look(at).map(|(step, _)| step));
        assert_eq!(steps, [Some(SilenceStage::Asked), None, Some(SilenceStage::Reported), Some(SilenceStage::Failed)]);
    }
}
