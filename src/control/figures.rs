//! What is counted of a server's calls: how many, what became of them, and how long they took; and of the messages that come and go.
//! Counting is a few additions, so that no message gets slower by it.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::router::{CallMethod, CountedCall, Outcome};

/// Number of buckets: two for each doubling from a microsecond to more than an hour, the longest time that anybody waits.
const BUCKETS: usize = 64;

/// Most tools of a server that are counted each for itself: more than assistants can choose from. All others are counted together, so that
/// a server whose names change all the time takes no more room than any.
pub(super) const TOOLS: usize = 256;
/// Longest name of such a tool, in bytes: twice what MCP gives names.
const LONGEST: usize = 256;
/// What has become of calls, by [`Outcome`].
pub(super) type Outcomes<T> = [T; Outcome::ALL.len()];

/// What has become of calls of one tool; there from the first call on.
type OfTool = OnceLock<Box<Outcomes<AtomicU64>>>;

/// Greatest part by which a time that is told may differ from the true one: a bucket is half as wide as its lower bound at most.
pub(super) const PRECISION: f64 = 0.2;

/// The figures of one server. They have one writer, the thread of the pipes, so that adding needs no locked instruction.
#[derive(Debug, Default)]
pub(super) struct Figures {
    calls: AtomicU64,
    errors: AtomicU64,
    /// How many of them were answered with what was answered before.
    given_again: AtomicU64,
    /// What has become of calls, by their methods.
    outcomes: [Outcomes<AtomicU64>; CallMethod::ALL.len()],
    /// How long calls took, by their methods; there from the first call on.
    times: [OnceLock<Box<Times>>; CallMethod::ALL.len()],
    /// What has become of calls of tools, by the places of these, and last of all others; there from the first call on.
    tools: OnceLock<Box<[OfTool]>>,
    /// The names of tools that the server has listed, at their places.
    names: Mutex<Vec<Arc<str>>>,
    pub(super) traffic: Arc<Traffic>,
    /// Tells whoever watches that there was a call.
    news: watch::Sender<()>,
}

/// How many calls took about so long, and how long all of them took, in microseconds.
#[derive(Debug)]
struct Times {
    buckets: [AtomicU32; BUCKETS],
    micros: AtomicU64,
}

impl Default for Times {
    fn default() -> Self {
        Times { buckets: [const { AtomicU32::new(0) }; BUCKETS], micros: AtomicU64::new(0) }
    }
}

/// The places of a server's tools among its figures, for whoever counts calls.
#[derive(Debug, Default)]
pub(crate) struct ToolPlaces(HashMap<Box<[u8]>, u16>);

impl ToolPlaces {
    /// The tools, by their own names, in an order that says nothing.
    pub(crate) fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.keys().map(|name| str::from_utf8(name).unwrap_or_default())
    }

    fn place(&self, tool: &[u8]) -> usize {
        self.0.get(tool).map_or(TOOLS, |place| usize::from(*place))
    }
}

/// What has come from a server or an endpoint and gone there. It has one writer, as [`Figures`] have.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    received: Passed,
    sent: Passed,
    queued: AtomicUsize,
}

/// How many messages, and how many bytes in them.
#[derive(Debug, Default)]
struct Passed {
    messages: AtomicU64,
    bytes: AtomicU64,
}

impl Passed {
    fn count(&self, bytes: usize) {
        add(&self.messages, 1);
        add(&self.bytes, bytes as u64);
    }

    fn read(&self) -> [u64; 2] {
        [&self.messages, &self.bytes].map(|n| n.load(Ordering::Relaxed))
    }
}

impl Traffic {
    /// Counts a message that has come, of so many bytes.
    #[inline]
    pub(crate) fn received(&self, bytes: usize) {
        self.received.count(bytes);
    }

    /// Counts a message that is to go, of so many bytes.
    #[inline]
    pub(crate) fn sent(&self, bytes: usize) {
        self.sent.count(bytes);
    }

    /// Messages and bytes that have come, the same of those that went, and bytes that wait.
    pub(super) fn read(&self) -> Carried {
        Carried {
            received: self.received.read(),
            sent: self.sent.read(),
            queued: self.queued.load(Ordering::Relaxed) as u64,
        }
    }
}

/// Traffic as it is at a time: messages and bytes each way, and bytes that wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Carried {
    pub received: [u64; 2],
    pub sent: [u64; 2],
    pub queued: u64,
}

impl std::ops::AddAssign for Carried {
    fn add_assign(&mut self, other: Self) {
        for (own, more) in self.received.iter_mut().zip(other.received).chain(self.sent.iter_mut().zip(other.sent)) {
            *own += more;
        }
        self.queued += other.queued;
    }
}

/// The part of one buffer in what is counted as waiting, until this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    of: Arc<Traffic>,
    bytes: usize,
}

impl Waiting {
    /// Nothing waits yet.
    pub(crate) fn of(traffic: Arc<Traffic>) -> Self {
        Waiting { of: traffic, bytes: 0 }
    }

    /// Where messages are counted.
    #[inline]
    pub(crate) fn traffic(&self) -> &Traffic {
        &self.of
    }

    /// So many bytes wait now.
    #[inline]
    pub(crate) fn set(&mut self, bytes: usize) {
        if bytes != self.bytes {
            let all = self.of.queued.load(Ordering::Relaxed);
            self.of.queued.store((all + bytes).saturating_sub(self.bytes), Ordering::Relaxed);
            self.bytes = bytes;
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// What is counted that belongs to no server and no endpoint of the config.
#[derive(Debug, Default)]
pub(crate) struct Besides {
    /// Calls that were for no server.
    pub(super) unplaced: Figures,
    /// The traffic of all guests.
    pub(super) guests: Arc<Traffic>,
    /// How many guests there are.
    pub(super) present: AtomicUsize,
    /// How many servers were known from the cache when they were first wanted, and how many were not.
    pub(super) cache: [AtomicU64; 2],
}

impl Besides {
    /// Counts a call that was for no server.
    pub(crate) fn unplaced(&self, call: CountedCall<'_>) {
        self.unplaced.count_call(call, TOOLS);
    }

    /// Counts a guest until what is returned is dropped.
    pub(crate) fn come(self: &Arc<Self>) -> Present {
        self.present.fetch_add(1, Ordering::Relaxed);
        Present(self.clone())
    }

    /// Where a guest's messages are counted.
    pub(crate) fn guests(&self) -> Arc<Traffic> {
        self.guests.clone()
    }

    /// Counts whether the cache knew a server.
    pub(crate) fn looked_up(&self, is_known: bool) {
        self.cache[usize::from(!is_known)].fetch_add(1, Ordering::Relaxed);
    }
}

/// A guest, who is counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Present(Arc<Besides>);

impl Drop for Present {
    fn drop(&mut self) {
        self.0.present.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How often something has happened, by its cause.
pub(super) type Causes = BTreeMap<&'static str, u64>;

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
    pub(super) fn answered(&self, call: CountedCall<'_>, tools: &ToolPlaces, took: Duration) {
        let method = CallMethod::of(call.method).unwrap_or(CallMethod::Other);
        let times = self.times[method as usize].get_or_init(Box::default);
        if let Some(bucket) = times.buckets.get(bucket(took)) {
            bucket.store(bucket.load(Ordering::Relaxed).saturating_add(1), Ordering::Relaxed);
        }
        add(&times.micros, micros(took));
        self.count_call(call, tools.place(call.tool));
        self.count(call.outcome == Outcome::RpcError);
    }

    /// Counts a call that was answered with an error because the server can't answer it any more.
    pub(super) fn lost(&self, call: CountedCall<'_>, tools: &ToolPlaces) {
        self.count_call(call, tools.place(call.tool));
        self.count(true);
    }

    /// Counts a call that was answered with what was answered before; as one that was answered it is counted besides.
    pub(super) fn given_again(&self) {
        add(&self.given_again, 1);
    }

    /// How many those are.
    pub(super) fn all_given_again(&self) -> u64 {
        self.given_again.load(Ordering::Relaxed)
    }

    /// Counts a call that the server has not had, or whose answer nobody waits for: no call to `status`.
    pub(super) fn unserved(&self, call: CountedCall<'_>, tools: &ToolPlaces) {
        self.count_call(call, tools.place(call.tool));
    }

    /// Notes the names of tools that the server has listed. Those that come when there are many have no places.
    pub(super) fn listed<'a>(&self, tools: impl Iterator<Item = (&'a str, Arc<str>)>, places: &mut ToolPlaces) {
        // Nothing panics while it is held.
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, shown) in tools.filter(|(name, _)| name.len() <= LONGEST) {
            if places.0.contains_key(name.as_bytes()) || places.0.len() == TOOLS {
                continue;
            }
            let place = names.iter().position(|known| *known == shown).unwrap_or(names.len());
            let Some(small) = u16::try_from(place).ok().filter(|_| place < TOOLS) else { continue };
            if place == names.len() {
                names.push(shown);
            }
            places.0.insert(name.as_bytes().into(), small);
        }
    }

    fn count_call(&self, call: CountedCall<'_>, place: usize) {
        let method = CallMethod::of(call.method).unwrap_or(CallMethod::Other);
        add(&self.outcomes[method as usize][call.outcome as usize], 1);
        if method == CallMethod::Tool {
            let tools = self.tools.get_or_init(|| (0..=TOOLS).map(|_| OnceLock::new()).collect());
            add(&tools[place].get_or_init(Box::default)[call.outcome as usize], 1);
        }
    }

    /// What has become of calls of this method.
    pub(super) fn outcomes(&self, method: CallMethod) -> Outcomes<u64> {
        self.outcomes[method as usize].each_ref().map(|n| n.load(Ordering::Relaxed))
    }

    /// The tools that have been called, each with what became of that; `None`: all that the server has not listed, or too late.
    pub(super) fn tools(&self) -> Vec<(Option<Arc<str>>, Outcomes<u64>)> {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let counted = self.tools.get().into_iter().flat_map(|tools| tools.iter().enumerate());
        let counted = counted.filter_map(|(place, counted)| Some((place, counted.get()?)));
        let read = |n: &AtomicU64| n.load(Ordering::Relaxed);
        counted.map(|(place, counted)| (names.get(place).cloned(), counted.each_ref().map(read))).collect()
    }

    /// How long calls of this method took; `None`: there were none.
    pub(super) fn durations(&self, method: CallMethod) -> Option<Durations> {
        let times = self.times[method as usize].get()?;
        let mut buckets = vec![0; BOUNDS.len() + 1];
        for (bucket, n) in times.buckets.iter().enumerate() {
            buckets[BOUNDS.partition_point(|power| 2 * *power as usize <= bucket)] +=
                u64::from(n.load(Ordering::Relaxed));
        }
        Some(Durations { buckets, seconds: times.micros.load(Ordering::Relaxed) as f64 / 1e6 })
    }

    fn count(&self, failed: bool) {
        add(&self.calls, 1);
        add(&self.errors, u64::from(failed));
        if self.news.receiver_count() > 0 {
            self.news.send_replace(());
        }
    }

    /// The figures now.
    pub(super) fn read(&self) -> Counted {
        let mut times = [0; BUCKETS];
        for of_method in self.times.iter().filter_map(OnceLock::get) {
            times.iter_mut().zip(&of_method.buckets).for_each(|(all, n)| *all += u64::from(n.load(Ordering::Relaxed)));
        }
        Counted {
            calls: self.calls.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            p50: quantile(&times, 50),
            p99: quantile(&times, 99),
        }
    }
}

/// The bounds of what is told of times, as powers of two in microseconds: from half a millisecond to the longest that the cloud waits. Each
/// is a bound of buckets, too.
pub(super) const BOUNDS: [u32; 18] = [9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 26, 28];

/// How many calls took longer than one bound and no longer than the next, the last of them longer than all; and how long all took, in seconds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Durations {
    pub buckets: Vec<u64>,
    pub seconds: f64,
}

/// Adds, where there is one writer.
fn add(to: &AtomicU64, n: u64) {
    to.store(to.load(Ordering::Relaxed).saturating_add(n), Ordering::Relaxed);
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The bucket of a time: two for each power of two, in microseconds.
fn bucket(took: Duration) -> usize {
    let micros = micros(took).max(1);
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

    fn call(tool: &str, outcome: Outcome) -> CountedCall<'_> {
        CountedCall { method: b"tools/call", tool: tool.as_bytes(), outcome, trace: None }
    }

    fn answered(figures: &Figures, took: Duration, failed: bool) {
        let outcome = if failed { Outcome::RpcError } else { Outcome::Ok };
        figures.answered(call("", outcome), &ToolPlaces::default(), took);
    }

    #[test]
    fn tools_are_counted_by_the_names_that_were_listed_and_all_others_together() {
        let (figures, mut places, mut of_another) = (Figures::default(), ToolPlaces::default(), ToolPlaces::default());
        let listed = |names: &[String], places: &mut ToolPlaces| {
            figures.listed(names.iter().map(|name| (&**name, name.as_str().into())), places);
        };
        listed(&["a".into(), "b".into()], &mut places);
        listed(&["b".into()], &mut of_another);
        figures.unserved(call("b", Outcome::Refused), &places);
        figures.lost(call("b", Outcome::Timeout), &of_another);
        (0..100_000).for_each(|n| figures.unserved(call(&format!("invented{n}"), Outcome::Ok), &places));
        let told = figures.tools();
        assert_eq!(told.len(), 2);
        assert_eq!(
            (told[0].0.as_deref(), told[0].1[Outcome::Refused as usize], told[0].1[Outcome::Timeout as usize]),
            (Some("b"), 1, 1)
        );
        assert_eq!((&told[1].0, told[1].1[Outcome::Ok as usize]), (&None, 100_000));
        assert_eq!(figures.outcomes(CallMethod::Tool).iter().sum::<u64>(), 100_002);
        assert_eq!(figures.read().calls, 1, "what no server had is no call to status");
        let many: Vec<String> = (0..1000).map(|n| format!("t{n}")).collect();
        listed(&many, &mut places);
        many.iter().for_each(|name| figures.unserved(call(name, Outcome::Ok), &places));
        assert!(figures.tools().len() <= TOOLS + 1);
        listed(&["x".repeat(LONGEST + 1)], &mut of_another);
        assert_eq!(of_another.0.len(), 1);
    }

    #[test]
    fn what_waits_is_counted_of_all_buffers_until_they_are_gone() {
        let traffic = Arc::new(Traffic::default());
        let (mut one, mut other) = (Waiting::of(traffic.clone()), Waiting::of(traffic.clone()));
        one.set(5);
        other.set(7);
        one.set(3);
        assert_eq!(traffic.read().queued, 10);
        drop(other);
        assert_eq!(traffic.read().queued, 3);
        traffic.received(9);
        traffic.sent(1);
        let carried = traffic.read();
        assert_eq!((carried.received, carried.sent), ([1, 9], [1, 1]));
    }

    #[test]
    fn calls_are_counted_and_their_times_told() {
        let figures = Figures::default();
        assert_eq!(figures.read(), Counted::default());
        (0..98).for_each(|_| answered(&figures, micros(1000), false));
        answered(&figures, Duration::from_secs(2), true);
        answered(&figures, Duration::from_secs(7000), false);
        figures.lost(call("", Outcome::ServerDown), &ToolPlaces::default());
        let durations = figures.durations(CallMethod::Tool).unwrap();
        assert_eq!(durations.buckets.iter().sum::<u64>(), 100);
        // 1 ms is no longer than 2^10 µs, and 2 s than 2^21.
        assert_eq!((durations.buckets[1], durations.buckets[12], durations.buckets[18]), (98, 1, 1));
        assert!((durations.seconds - 7002.098).abs() < 1e-6);
        assert_eq!(figures.durations(CallMethod::Prompt), None);
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
        answered(&figures, micros(5), false);
        assert!(watching.has_changed().unwrap());
        watching.mark_unchanged();
        let taken = allocation_counter::measure(|| (0..1000).for_each(|n| answered(&figures, micros(n), false)));
        assert_eq!(taken.count_total, 0);
    }
}
