//! How long until the next attempt. Pure: the random number is an argument, and the clock is read only for an anchor that the
//! crate asks for and nothing is compared with.
//!
//! Full jitter: a wait is a random part of a *ceiling* that doubles with each failure up to a cap, so that links
//! that failed together don't come back together. The ceilings are the policy of the `backoff` crate, which no other
//! module uses; the crate's own jitter and its limit on the elapsed time are off.

mod contest;

use std::time::{Duration, Instant};

use backoff::backoff::Backoff as _;
use backoff::{Clock, exponential::ExponentialBackoff};

pub(crate) use self::contest::Contest;
use crate::mcp::cloud;

/// How the waits are to grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Climb {
    /// Doubling with each failure.
    Even,
    /// The first time as `Even`, then to the cap in a few steps: waiting alone hardly cures such a failure.
    Steep,
}

/// What [`crate::backoff::Backoff`] is to do about one failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    /// How the waits grow.
    pub climb: Climb,
    /// The shortest wait: the endpoint's wish, or our courtesy. May exceed the configured cap.
    pub at_least: Duration,
    /// The highest ceiling, below the configured cap, where an attempt costs the endpoint nothing.
    pub at_most: Option<Duration>,
}

impl Pace {
    /// After a failure that may pass by itself.
    pub(crate) const EVEN: Pace = Pace { climb: Climb::Even, at_least: Duration::ZERO, at_most: None };
    /// After a failure about which a person has to do something.
    pub(crate) const STEEP: Pace = Pace { climb: Climb::Steep, ..Pace::EVEN };

    /// The same pace, with a wait no shorter than this.
    pub(crate) const fn at_least(self, at_least: Duration) -> Pace {
        Pace { at_least, ..self }
    }
}

/// The ceiling of the first wait before a dial, so that it is 1 s on average.
const FIRST_CEILING: Duration = Duration::from_secs(2);

/// Shortest wait before any attempt.
pub(crate) const FLOOR: Duration = cloud::SETTLING;

/// Doublings of the ceiling for each repeated failure that waiting alone won't cure (2 s, 16 s, 128 s, …).
const STEEP_STEPS: u32 = 3;

/// The waits between consecutive failures of one thing.
#[derive(Debug)]
pub(crate) struct Backoff {
    policy: ExponentialBackoff<Standstill>,
    cap: Duration,
    /// Whether a steep failure has been seen since the last proof of health.
    steep: bool,
}

/// A clock that stands: the policy reads it only for its limit on the elapsed time, which is off.
#[derive(Debug)]
struct Standstill(Instant);

impl Clock for Standstill {
    fn now(&self) -> Instant {
        self.0
    }
}

impl Backoff {
    /// For dialling: ceilings of 2 s, 4 s, 8 s … up to `max`.
    pub(crate) fn new(max: Duration) -> Self {
        Self::starting_at(FIRST_CEILING, max)
    }

    /// Ceilings of `first`, twice `first`, … up to `cap`. Neither is below [`FLOOR`].
    pub(crate) fn starting_at(first: Duration, cap: Duration) -> Self {
        let cap = cap.max(FLOOR);
        let first = first.clamp(FLOOR, cap);
        let anchor = Instant::now();
        Backoff {
            policy: ExponentialBackoff {
                current_interval: first,
                initial_interval: first,
                randomization_factor: 0.0,
                multiplier: 2.0,
                max_interval: cap,
                start_time: anchor,
                max_elapsed_time: None,
                clock: Standstill(anchor),
            },
            cap,
            steep: false,
        }
    }

    /// The wait after one more failure. `random` is uniform in `[0, 1)`.
    ///
    /// Never below [`FLOOR`] nor `pace.at_least`, and never above the cap unless `pace.at_least` is.
    pub(crate) fn after(&mut self, pace: Pace, random: f64) -> Duration {
        match pace.climb {
            // The first steep failure is retried like any other: the endpoint may have had a passing fault.
            Climb::Steep if self.steep => (1..STEEP_STEPS).for_each(|_| self.advance()),
            Climb::Steep => self.steep = true,
            Climb::Even => {}
        }
        let ceiling = self.policy.current_interval.min(pace.at_most.unwrap_or(self.cap));
        self.advance();
        // The longest durations become floats that round up to more than a `Duration` holds.
        let spread = Duration::try_from_secs_f64(ceiling.as_secs_f64() * random.clamp(0.0, 1.0)).unwrap_or(ceiling);
        // The sum, not the greater of both: links that were told the same Retry-After must not come back together.
        let limit = self.cap.max(pace.at_least);
        pace.at_least.saturating_add(spread).min(limit).max(FLOOR)
    }

    /// Starts over. Called on proof of health (a call served, a stable minute), never on an open socket alone.
    pub(crate) fn healthy(&mut self) {
        self.policy.reset();
        self.steep = false;
    }

    fn advance(&mut self) {
        // The returned interval is the one that `after` has read already; `None` can't be, as the time is not limited.
        let _ = self.policy.next_backoff();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As near to 1 as `random` comes: shows the ceiling.
    const MOST: f64 = 1.0 - f64::EPSILON;
    const MAX: Duration = Duration::from_secs(600);

    fn ceilings(pace: Pace, n: usize) -> Vec<u64> {
        let mut b = Backoff::new(MAX);
        (0..n).map(|_| b.after(pace, MOST).as_secs_f64().round() as u64).collect()
    }

    #[test]
    fn ceilings_double_from_two_seconds_to_the_cap() {
        assert_eq!(ceilings(Pace::EVEN, 12), [2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600, 600]);
    }

    #[test]
    fn the_first_wait_is_one_second_on_average() {
        assert_eq!(Backoff::new(MAX).after(Pace::EVEN, 0.5), Duration::from_secs(1));
    }

    #[test]
    fn one_rejection_is_retried_like_any_failure_and_repeated_ones_climb_to_the_cap_in_a_few_steps() {
        assert_eq!(ceilings(Pace::STEEP, 5), [2, 16, 128, 600, 600]);
    }

    #[test]
    fn a_retry_after_is_a_lower_bound_with_the_jitter_on_top_and_may_exceed_the_cap() {
        let pace = |s| Pace::EVEN.at_least(Duration::from_secs(s));
        let mut b = Backoff::new(MAX);
        assert_eq!(b.after(pace(30), 0.5), Duration::from_secs(31));
        assert_eq!(b.after(pace(3600), 0.5), Duration::from_secs(3600));
    }

    #[test]
    fn a_local_fault_waits_no_longer_than_its_own_bound() {
        let pace = Pace { at_most: Some(Duration::from_secs(60)), ..Pace::EVEN };
        assert_eq!(ceilings(pace, 8), [2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn a_cap_below_the_first_ceiling_holds_and_zero_means_the_floor() {
        assert!(Backoff::new(Duration::from_secs(1)).after(Pace::EVEN, MOST) <= Duration::from_secs(1));
        assert!(Backoff::new(Duration::MAX).after(Pace::EVEN, MOST) <= Duration::from_secs(2));
        assert!(Backoff::starting_at(Duration::MAX, Duration::MAX).after(Pace::EVEN, 1.0) <= Duration::MAX);
        assert_eq!(Backoff::new(Duration::ZERO).after(Pace::EVEN, MOST), FLOOR);
        assert_eq!(Backoff::new(MAX).after(Pace::EVEN, 0.0), FLOOR);
    }

    fn any_pace() -> impl Strategy<Value = Pace> {
        (any::<bool>(), 0..4000u64, proptest::option::of(0..100u64)).prop_map(|(steep, least, most)| Pace {
            climb: if steep { Climb::Steep } else { Climb::Even },
            at_least: Duration::from_secs(least),
            at_most: most.map(Duration::from_secs),
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_thousand_failures_in_a_row_never_overflow_climb_only_up_and_start_over_after_health(
            first in 0..10_000u64, cap in prop_oneof![0..2_000_000u64, Just(u64::MAX)], steep in any::<bool>(),
        ) {
            let (first, cap) = (Duration::from_millis(first), Duration::from_millis(cap));
            let mut b = Backoff::starting_at(first, cap);
            let pace = if steep { Pace::STEEP } else { Pace::EVEN };
            let start = b.after(pace, MOST);
            let mut last = start;
            for _ in 1..1000 {
                let wait = b.after(pace, MOST);
                prop_assert!(wait >= last && wait >= FLOOR && wait <= cap.max(FLOOR), "{last:?} then {wait:?}");
                last = wait;
            }
            b.healthy();
            prop_assert_eq!(b.after(pace, MOST), start);
        }

        #[test]
        fn any_mix_of_causes_and_random_numbers_stays_within_bounds(
            steps in proptest::collection::vec((any_pace(), 0.0..1.0f64), 1000),
        ) {
            let mut b = Backoff::new(MAX);
            for (pace, random) in steps {
                let wait = b.after(pace, random);
                prop_assert!(wait >= FLOOR.max(pace.at_least) && wait <= MAX.max(pace.at_least));
            }
        }
    }
}
