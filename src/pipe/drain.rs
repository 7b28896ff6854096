//! When a connection that is to end may be closed. Pure: it is told the time.

use tokio::time::Instant;

use crate::router::QUIET;

/// The end of a connection, or of all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Drain {
    /// It is waited for no longer.
    until: Instant,
    /// Nothing is under way, and an endpoint that asks one thing at a time has had time to ask the next by then.
    quiet: Option<Instant>,
}

impl Drain {
    pub(super) fn new(until: Instant) -> Self {
        Drain { until, quiet: None }
    }

    /// Whether it is time to close. `is_drained`: nothing is under way; `said`: when an endpoint was last sent something.
    pub(super) fn is_over(&mut self, is_drained: bool, said: Option<Instant>, now: Instant) -> bool {
        // What is said from here on is no answer that is waited for.
        let quiet = || self.quiet.unwrap_or_else(|| said.map_or(now, |said| said + QUIET));
        self.quiet = is_drained.then(quiet);
        self.next() <= now
    }

    /// When to ask again, if nothing happens before.
    pub(super) fn next(&self) -> Instant {
        self.quiet.map_or(self.until, |quiet| quiet.min(self.until))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_was_answered_a_moment_ago_may_ask_once_more() {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let mut drain = Drain::new(start + ms(5000));
        assert!(!drain.is_over(false, Some(start), start + ms(4999)), "something is under way");
        assert!(!drain.is_over(true, Some(start + ms(100)), start + ms(110)));
        assert_eq!(drain.next(), start + ms(100) + QUIET);
        assert!(!drain.is_over(true, Some(start + ms(200)), start + ms(210)), "who goes on talking is not waited for");
        assert!(drain.is_over(true, Some(start + ms(340)), start + ms(100) + QUIET));
        assert!(!drain.is_over(false, None, start + ms(400)), "nor is it closed if something is under way again");
        assert!(drain.is_over(false, None, start + ms(5000)), "waiting has an end");
    }

    #[test]
    fn who_was_told_nothing_for_a_while_is_not_waited_for() {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let mut drain = Drain::new(start + ms(5000));
        assert!(drain.is_over(true, None, start));
        assert!(Drain::new(start + ms(5000)).is_over(true, Some(start), start + QUIET));
    }
}
