//! How long to wait where another program keeps taking the place of our connection. Pure.

use std::time::Duration;

use super::{Backoff, Pace};

/// Shortest life of a connection that shows that no other program wants its place.
const UNDISPUTED: Duration = Duration::from_secs(600);

/// The waits of a link that is replaced again and again.
///
/// Two programs that each take the other's place would go on for ever, and each would serve a call now and then. So a served
/// call is no proof of health here, only a connection that stood for ten minutes. And no wait is short by chance, so that
/// the number of connections in an hour is bounded.
#[derive(Debug)]
pub(crate) struct Contest {
    backoff: Backoff,
    replaced: bool,
}

impl Contest {
    /// For a link whose place nobody has taken yet. No wait is longer than `max`.
    pub(crate) fn new(max: Duration) -> Self {
        Contest { backoff: Backoff::new(max), replaced: false }
    }

    /// A connection ended, for whatever reason, after it had stood for `open_for`.
    pub(crate) fn ended(&mut self, open_for: Duration) {
        if open_for >= UNDISPUTED {
            self.backoff.healthy();
            self.replaced = false;
        }
    }

    /// The endpoint closed a connection because another one takes its place. Returns the wait from the second time on;
    /// `None`: wait as after any end. `random` is uniform in `[0, 1)`.
    pub(crate) fn replaced(&mut self, random: f64) -> Option<Duration> {
        let wait = self.backoff.after(Pace::STEEP, 0.5 + random / 2.0);
        std::mem::replace(&mut self.replaced, true).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_time_is_waited_for_longer_and_the_fourth_at_least_half_the_cap() {
        let mut contest = Contest::new(Duration::from_secs(600));
        let mut wait = |random| {
            contest.ended(Duration::from_secs(599));
            contest.replaced(random).map(|wait| wait.as_secs())
        };
        assert_eq!(
            [wait(0.0), wait(0.0), wait(0.0), wait(0.0), wait(0.0)],
            [None, Some(8), Some(64), Some(300), Some(300)]
        );
        assert_eq!(wait(0.9999), Some(599));
        contest.ended(Duration::from_secs(600));
        assert_eq!(contest.replaced(0.0), None, "ten minutes start over");
    }
}
