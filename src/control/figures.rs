//! What is counted of a server's calls: how many, how many failed, and how long they took. Counting is a few additions, so that no call
//! gets slower by it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// Number of buckets: two for each doubling from a microsecond to more than an hour, the longest time that anybody waits.
const BUCKETS: usize = 64;

/// Greatest part by which a time that is told may differ from the true one: a bucket is half as wide as its lower bound at most.
pub(super) const PRECISION: f64 = 0.2;

/// The figures of one server. They have one writer, the thread of the pipes, so that adding needs no locked instruction.
#[derive(Debug, Default)]
pub(super) struct Figures {
    calls: AtomicU64,
    errors: AtomicU64,
    /// How many calls took about so long; there from the first call on.
    times: OnceLock<Box<[AtomicU32; BUCKETS]>>,
    /// Tells whoever watches that there was a call.
    news: watch::Sender<()>,
}

/// Figures as they are at a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counted {
    /// Calls that were answered, by the server or in its name.
    pub calls: u64,
    /// Those among them that were answered with an error.
    pub errors: u64,
    /// The time within which half of the calls were answered, in microseconds; `None` if there were none.
    pub p50: Option<u64>,
    /// The same for 99 of 100.
    pub p99: Option<u64>,
}

impl Figures {
    /// Figures that tell `news` of each call.
    pub(super) fn new(news: watch::Sender<()>) -> Self {
        Figures { news, ..Figures::default() }
    }

    /// Counts a call that the server has answered.
    pub(super) fn answered(&self, took: Duration, failed: bool) {
        let times = self.times.get_or_init(|| Box::new([const { AtomicU32::new(0) }; BUCKETS]));
        if let Some(bucket) = times.get(bucket(took)) {
            bucket.store(bucket.load(Ordering::Relaxed).saturating_add(1), Ordering::Relaxed);
        }
        self.count(failed);
    }

    /// Counts a call that was answered with an error because the server can't answer it any more.
    pub(super) fn lost(&self) {
        self.count(true);
    }

    fn count(&self, failed: bool) {
        let add = |to: &AtomicU64, n| to.store(to.load(Ordering::Relaxed) + n, Ordering::Relaxed);
        add(&self.calls, 1);
        add(&self.errors, u64::from(failed));
        if self.news.receiver_count() > 0 {
            self.news.send_replace(());
        }
    }

    /// The figures now.
    pub(super) fn read(&self) -> Counted {
        let times: Vec<u64> =
            self.times.get().iter().flat_map(|times| times.iter()).map(|n| n.load(Ordering::Relaxed).into()).collect();
        Counted {
            calls: self.calls.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            p50: quantile(&times, 50),
            p99: quantile(&times, 99),
        }
    }
}

/// The bucket of a time: two for each power of two, in microseconds.
fn bucket(took: Duration) -> usize {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
    let power = micros.ilog2() as usize;
    let upper_half = power > 0 && micros >> (power - 1) & 1 == 1;
    (2 * power + usize::from(upper_half)).min(BUCKETS - 1)
}

/// The time that stands for a bucket, in microseconds: as far from both ends, as parts of these.
fn middle(bucket: usize) -> u64 {
    let low = 1 << (bucket / 2);
    if bucket.is_multiple_of(2) { low + low / 5 } else { low + low * 5 / 7 }
}

/// The time within which so many percent of the calls were answered.
fn quantile(times: &[u64], percent: u64) -> Option<u64> {
    let all: u64 = times.iter().sum();
    let rank = (all * percent).div_ceil(100).max(1);
    let mut so_far = 0;
    let reached = |n: &u64| {
        so_far += n;
        so_far >= rank
    };
    times.iter().position(reached).map(middle)
}

#[cfg(test)]
#[expect(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a test may panic, and needs no more precision than it asks for"
)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn micros(n: u64) -> Duration {
        Duration::from_micros(n)
    }

    #[test]
    fn calls_are_counted_and_their_times_told() {
        let figures = Figures::default();
        assert_eq!(figures.read(), Counted::default());
        (0..98).for_each(|_| figures.answered(micros(1000), false));
        figures.answered(Duration::from_secs(2), true);
        figures.answered(Duration::from_secs(7000), false);
        figures.lost();
        let Counted { calls, errors, p50, p99 } = figures.read();
        assert_eq!((calls, errors), (101, 2));
        let near = |told: Option<u64>, want: f64| (told.unwrap() as f64 / want - 1.0).abs() <= PRECISION;
        assert!(near(p50, 1e3) && near(p99, 2e6), "{p50:?} {p99:?}");
    }

    proptest! {
        #[test]
        fn each_time_is_told_as_precisely_as_is_said(n in 16..3_600_000_000_u64) {
            let told = middle(bucket(micros(n))) as f64;
            prop_assert!((told / n as f64 - 1.0).abs() <= PRECISION + 1e-9, "{n} is told as {told}");
        }

        #[test]
        fn a_longer_time_is_never_told_as_a_shorter_one(a in any::<u64>(), b in any::<u64>()) {
            let (short, long) = (a.min(b), a.max(b));
            prop_assert!(bucket(micros(short)) <= bucket(micros(long)));
        }
    }

    #[test]
    fn whoever_watches_is_told_of_a_call_and_counting_allocates_once() {
        let (news, mut watching) = watch::channel(());
        let figures = Figures::new(news);
        figures.answered(micros(5), false);
        assert!(watching.has_changed().unwrap());
        watching.mark_unchanged();
        let taken = allocation_counter::measure(|| (0..1000).for_each(|n| figures.answered(micros(n), n % 2 == 0)));
        assert_eq!(taken.count_total, 0);
    }
}
