//! Tells which of the things that a task waits for has woken it, so that only those are polled.
//!
//! # Theory of operation
//!
//! A future that waits for many things polls each with a waker of its own. That waker sets a bit and wakes the future's own
//! task. At each poll the future first names its task ([`Wakers::attach`]) and then takes the bits. In this order nothing
//! is lost: what fired before the bits were taken is among them, and what fires later wakes the task just named. Nothing is
//! allocated by a poll.
//!
//! A bit may be set for nothing; a poll for nothing does no harm.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Wake, Waker};

use futures_util::task::AtomicWaker;

/// One waker for each of a number of sources, which only grows.
#[derive(Debug)]
pub(crate) struct Wakers {
    /// The task to be woken.
    task: Arc<AtomicWaker>,
    /// A bit for each source.
    fired: Vec<Arc<AtomicU64>>,
    each: Vec<Waker>,
}

struct Source {
    task: Arc<AtomicWaker>,
    fired: Arc<AtomicU64>,
    bit: u64,
}

impl Wake for Source {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.fired.fetch_or(self.bit, Ordering::Release);
        self.task.wake();
    }
}

impl Wakers {
    /// Wakers for `count` sources. All count as woken at first, so that each is polled once.
    pub(crate) fn new(count: usize) -> Self {
        Self::waking(Arc::default(), count)
    }

    /// Wakers for `count` more sources of the same task.
    pub(crate) fn beside(&self, count: usize) -> Self {
        Self::waking(self.task.clone(), count)
    }

    fn waking(task: Arc<AtomicWaker>, count: usize) -> Self {
        let mut wakers = Wakers { task, fired: Vec::new(), each: Vec::with_capacity(count) };
        (0..count).for_each(|_| wakers.add());
        wakers
    }

    /// Adds a source, which counts as woken. Its number is that of the sources before it.
    pub(crate) fn add(&mut self) {
        let (word, bit) = (self.each.len() / 64, 1 << (self.each.len() % 64));
        if word == self.fired.len() {
            self.fired.push(Arc::default());
        }
        let fired = self.fired[word].clone();
        fired.fetch_or(bit, Ordering::Release);
        self.each.push(Waker::from(Arc::new(Source { task: self.task.clone(), fired, bit })));
    }

    /// What fires from now on wakes the task of `cx`. To be called at the start of each poll, before a bit is taken.
    pub(crate) fn attach(&self, cx: &Context<'_>) {
        self.task.register(cx.waker());
    }

    /// The waker that a source is polled with. Waking it has the source polled again.
    pub(crate) fn waker(&self, index: usize) -> &Waker {
        &self.each[index]
    }

    /// Whether a source was woken since this was last asked.
    pub(crate) fn take(&self, index: usize) -> bool {
        let (word, bit) = (&self.fired[index / 64], 1 << (index % 64));
        // Mostly the source was not woken, and a look costs less than a write.
        word.load(Ordering::Acquire) & bit != 0 && word.fetch_and(!bit, Ordering::AcqRel) & bit != 0
    }

    /// Adds all sources that were woken since they were last taken.
    pub(crate) fn take_all(&self, into: &mut Bits) {
        for (at, word) in self.fired.iter().enumerate() {
            if word.load(Ordering::Acquire) != 0 {
                *into.word(at) |= word.swap(0, Ordering::AcqRel);
            }
        }
    }
}

/// A set of small numbers, in which the next number is found at once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bits(Vec<u64>);

impl Bits {
    /// The word at this place.
    fn word(&mut self, at: usize) -> &mut u64 {
        if at >= self.0.len() {
            self.0.resize(at + 1, 0);
        }
        &mut self.0[at]
    }

    /// Adds a number.
    pub(crate) fn insert(&mut self, n: usize) {
        *self.word(n / 64) |= 1 << (n % 64);
    }

    /// Takes a number out; returns whether it was there.
    pub(crate) fn remove(&mut self, n: usize) -> bool {
        let Some(word) = self.0.get_mut(n / 64) else { return false };
        let bit = 1 << (n % 64);
        let was = *word & bit != 0;
        *word &= !bit;
        was
    }

    /// Whether there is no number.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Adds a number or takes it out.
    pub(crate) fn set(&mut self, n: usize, there: bool) {
        if there {
            self.insert(n);
        } else {
            self.remove(n);
        }
    }

    /// Whether a number is there.
    pub(crate) fn contains(&self, n: usize) -> bool {
        self.0.get(n / 64).is_some_and(|word| word & (1 << (n % 64)) != 0)
    }

    /// The first number that is not below `from`.
    pub(crate) fn next(&self, from: usize) -> Option<usize> {
        let rest = self.0.get(from / 64)? & (u64::MAX << (from % 64));
        let mut words = std::iter::once(rest).chain(self.0[from / 64 + 1..].iter().copied()).enumerate();
        let (at, word) = words.find(|(_, word)| *word != 0)?;
        Some((from / 64 + at) * 64 + word.trailing_zeros() as usize)
    }

    /// All numbers, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> {
        std::iter::successors(self.next(0), |n| self.next(n + 1))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::sync::atomic::AtomicUsize;
    use std::thread;
    use std::time::Duration;

    /// A task that is a thread. Each thread has another waker.
    struct Thread(thread::Thread);

    impl Wake for Thread {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    #[test]
    fn whatever_other_threads_wake_is_found_even_by_a_task_that_changes_its_waker() {
        const SOURCES: usize = 130;
        const EACH: usize = 2_000;
        let wakers = Wakers::new(SOURCES);
        let made: Arc<Vec<AtomicUsize>> = Arc::new((0..SOURCES).map(|_| AtomicUsize::new(0)).collect());
        let producers: Vec<_> = (0..4)
            .map(|part| {
                let (each, made) = (wakers.each.clone(), made.clone());
                thread::spawn(move || {
                    for step in 0..EACH * SOURCES / 4 {
                        let n = (step * 4 + part) * 31 % SOURCES;
                        made[n].fetch_add(1, Ordering::Relaxed);
                        each[n].wake_by_ref();
                        if step % 97 == 0 {
                            thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        let (mut seen, mut bits) = ([0; SOURCES], Bits::default());
        while seen.iter().sum::<usize>() < EACH * SOURCES / 4 * 4 {
            let task = Waker::from(Arc::new(Thread(thread::current())));
            wakers.attach(&Context::from_waker(&task));
            wakers.take_all(&mut bits);
            if bits.next(0).is_none() {
                let parked = std::time::Instant::now();
                thread::park_timeout(Duration::from_secs(20));
                assert!(parked.elapsed() < Duration::from_secs(20), "a wake-up was lost");
            }
            for n in std::mem::take(&mut bits).iter() {
                seen[n] = made[n].load(Ordering::Relaxed);
            }
        }
        producers.into_iter().for_each(|producer| producer.join().unwrap());
    }

    #[test]
    fn each_source_is_polled_once_at_first_and_then_only_when_it_was_woken() {
        let wakers = Wakers::new(3);
        assert!((0..3).all(|n| wakers.take(n)) && !(0..3).any(|n| wakers.take(n)));
        wakers.waker(1).wake_by_ref();
        assert!(!wakers.take(0) && wakers.take(1) && !wakers.take(1) && !wakers.take(2));

        let mut bits = Bits::default();
        for n in [2, 0] {
            wakers.waker(n).wake_by_ref();
            wakers.take_all(&mut bits);
        }
        assert_eq!(bits.iter().collect::<Vec<_>>(), [0, 2], "those not yet dealt with stay");
    }

    proptest! {
        #[test]
        fn bits_are_a_set_of_numbers(steps in proptest::collection::vec((0..4u8, 0..200usize), 0..200)) {
            let (mut bits, mut model) = (Bits::default(), BTreeSet::new());
            for (step, n) in steps {
                match step {
                    0 => {
                        bits.insert(n);
                        model.insert(n);
                    }
                    1 => prop_assert_eq!(bits.remove(n), model.remove(&n)),
                    2 => {
                        bits.set(n, n % 2 == 0);
                        if n % 2 == 0 { model.insert(n) } else { model.remove(&n) };
                    }
                    _ => prop_assert_eq!(bits.next(n), model.range(n..).next().copied()),
                }
                prop_assert_eq!(bits.next(0), model.first().copied());
            }
            prop_assert!(bits.iter().eq(model));
        }
    }
}
