//! Lives of connections, real and random.

use proptest::prelude::*;

use super::*;

const LOST: Close = Close { code: None, takeover: Takeover::Unlikely, handshaken: true, ours: false };
const OURS: Close = Close { ours: true, ..LOST };
/// A close with 1000, for a reason of its own.
const TIMED_OUT: Close = Close { code: Some(1000), ..LOST };

fn by_endpoint(code: u16) -> Close {
    let takeover = if code == 1000 { Takeover::Possible } else { Takeover::Unlikely };
    Close { code: Some(code), takeover, ..LOST }
}

/// Events in milliseconds, in their order.
struct Life {
    evidence: Evidence,
    start: Instant,
    finding: Finding,
}

impl Life {
    fn of(count: usize) -> Self {
        let names = ["a", "b", "c", "d", "e", "f"];
        let evidence = Evidence::new(names[..count].iter().map(|name| Arc::from(*name)).collect());
        Life { evidence, start: Instant::now(), finding: Finding::KeepApart }
    }

    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    fn open(&mut self, who: usize, ms: u64) -> &mut Self {
        self.finding = self.evidence.opened(who, self.at(ms));
        self
    }

    fn close(&mut self, who: usize, close: Close, ms: u64) -> &mut Self {
        self.finding = self.evidence.closed(who, close, self.at(ms));
        self
    }

    fn why(&self) -> Option<&str> {
        match &self.finding {
            Finding::KeepApart => None,
            Finding::TakesOne { why, .. } => Some(why),
        }
    }
}

#[test]
fn a_connection_closed_as_another_opened_that_stays_is_the_proof() {
    let mut life = Life::of(2);
    life.open(0, 0).open(1, 20).close(0, by_endpoint(1000), 22);
    assert_eq!(life.why(), None, "it may yet turn out to be a restart");
    // Whether the newcomer is replaced in its turn or forgotten.
    life.open(0, 272);
    let why = life.why().unwrap_or_default();
    assert!(why.contains("closed a's with 1000 when b connected"), "{why}");
}

#[test]
fn others_that_stand_without_use_change_nothing() {
    let mut life = Life::of(4);
    life.open(0, 0).open(1, 20).open(2, 21).close(0, by_endpoint(1000), 22).open(3, 23);
    life.close(2, by_endpoint(1000), 25).open(0, 300);
    assert!(life.why().is_some());
}

#[test]
fn a_replacement_whose_close_is_seen_before_the_opening_counts_as_well() {
    let mut life = Life::of(2);
    life.open(0, 0).close(0, by_endpoint(1000), 20).open(1, 21).close(1, by_endpoint(1000), 1000).open(0, 1001);
    assert!(life.why().is_some());
}

#[test]
fn two_on_which_connections_stood_together_are_asked_for_more_proof() {
    let mut life = Life::of(2);
    life.open(0, 0).open(1, 20).close(1, LOST, 20_000);
    let mut old = 0;
    for replaced in 1..=6 {
        assert_eq!(life.why(), None, "before {replaced}");
        let at = 21_000 + replaced * 1000;
        life.open(1 - old, at).close(old, by_endpoint(1000), at + 1);
        old = 1 - old;
    }
    assert!(life.why().is_some());
}

#[test]
fn an_endpoint_that_replaces_connections_in_words_of_its_own_is_noticed_after_a_few_rounds() {
    let mut life = Life::of(2);
    life.open(0, 0);
    let mut old = 0;
    for replaced in 1..=6 {
        assert_eq!(life.why(), None, "before {replaced}");
        let at = replaced * 2000;
        life.open(1 - old, at).close(old, TIMED_OUT, at + 1);
        old = 1 - old;
    }
    assert!(life.why().is_some());
}

#[test]
fn connections_that_are_closed_for_a_reason_of_their_own_are_not_replaced_however_often_one_has_just_opened() {
    let mut life = Life::of(2);
    for round in 0..50 {
        // Each connection lives for half a second, and the two overlap in part.
        let at = round * 3000;
        life.open(0, at).open(1, at + 300).close(0, TIMED_OUT, at + 500);
        life.open(0, at + 760).close(1, TIMED_OUT, at + 800).close(0, TIMED_OUT, at + 1260);
        assert_eq!(life.why(), None, "round {round}");
    }
}

#[test]
fn a_restart_that_closes_all_with_1000_just_after_they_opened_is_no_proof() {
    let mut life = Life::of(3);
    for round in 0..50 {
        let at = round * 2000;
        life.open(0, at).open(1, at + 10).open(2, at + 20);
        for (who, ms) in [(0, 30), (1, 60), (2, 150)] {
            life.close(who, by_endpoint(1000), at + ms);
            assert_eq!(life.why(), None);
        }
    }
}

#[test]
fn refusals_of_several_connections_while_another_stands_are_the_proof() {
    let mut life = Life::of(3);
    life.open(0, 0).open(1, 10).open(2, 20);
    life.close(1, by_endpoint(4004), 3000).close(2, by_endpoint(4004), 4000).open(1, 10_000);
    life.close(1, by_endpoint(4004), 13_000).open(2, 14_000);
    assert_eq!(life.why(), None, "the third may yet turn out to be a restart");
    life.close(2, by_endpoint(4004), 18_500);
    let why = life.why().unwrap_or_default();
    assert!(why.contains("3 connections in a row with 4004 (b, c)"), "{why}");
}

#[test]
fn connections_that_come_again_at_once_are_not_refused_in_vain() {
    let mut life = Life::of(3);
    life.open(0, 0).open(1, 10).open(2, 20);
    for second in 1..=6 {
        for who in [1, 2] {
            life.close(who, by_endpoint(4004), second * 1000).open(who, second * 1000 + 900);
        }
    }
    assert!(life.why().is_none());
    life.close(1, by_endpoint(4004), 7000);
    assert!(life.why().is_some());
}

#[test]
fn refusals_before_initialize_was_answered_are_no_proof() {
    let mut late = Life::of(3);
    late.open(0, 0).open(1, 10).open(2, 10);
    for round in 1..50 {
        let at = round * 20_000;
        let unanswered = Close { handshaken: false, ..by_endpoint(4004) };
        late.close(1, unanswered, at).close(2, unanswered, at).open(1, at + 8000).open(2, at + 8000);
        assert_eq!(late.why(), None);
    }
}

#[test]
fn maintenance_that_closes_every_connection_again_and_again_is_no_proof() {
    let mut life = Life::of(6);
    for round in 0..50 {
        let at = round * 30_000;
        for who in 0..6 {
            life.open(who, at + who as u64 * 300);
        }
        for who in 0..6 {
            life.close(who, by_endpoint(4004), at + 1500 + who as u64 * 300);
            assert_eq!(life.why(), None, "round {round}");
        }
    }
}

/// What may happen to connections of an endpoint that takes many.
#[derive(Debug, Clone)]
enum Fate {
    /// One connection ends, in any way.
    One(usize, Close),
    /// The endpoint restarts.
    Restart(u16),
    /// The network goes.
    Loss,
}

fn any_close() -> impl Strategy<Value = Close> {
    let code = prop_oneof![
        Just(Some(1000)),
        Just(Some(1001)),
        Just(Some(1011)),
        Just(Some(1012)),
        Just(Some(4004)),
        Just(None),
        Just(Some(1008))
    ];
    let theirs =
        (code, any::<bool>()).prop_map(|(code, handshaken)| Close { handshaken, ..code.map_or(LOST, by_endpoint) });
    prop_oneof![7 => theirs, 1 => Just(TIMED_OUT), 1 => Just(OURS)]
}

fn any_fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        8 => (0..6usize, any_close()).prop_map(|(who, close)| Fate::One(who, close)),
        1 => proptest::sample::select(vec![1000, 1001, 1012, 4004]).prop_map(Fate::Restart),
        1 => Just(Fate::Loss),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn an_endpoint_that_takes_many_is_never_held_for_one_that_takes_one(
        count in 2..=6usize,
        fates in proptest::collection::vec((any_fate(), 0..300_000u64, 0..100u64, [250..30_000u64, 250..30_000, 250..30_000]), 60),
    ) {
        let mut life = Life::of(count);
        (0..count).for_each(|who| _ = life.open(who, who as u64 * 10));
        let mut now = 60_000;
        for (fate, gap, spread, waits) in fates {
            now += gap;
            let ended: Vec<(usize, Close)> = match fate {
                Fate::One(who, close) => vec![(who % count, close)],
                Fate::Restart(code) => (0..count).map(|who| (who, by_endpoint(code))).collect(),
                Fate::Loss => (0..count).map(|who| (who, LOST)).collect(),
            };
            for (n, (who, close)) in ended.iter().enumerate() {
                life.close(*who, *close, now + spread * n as u64 / count as u64);
                prop_assert_eq!(life.why(), None);
            }
            let mut back: Vec<(u64, usize)> =
                ended.iter().map(|(who, _)| (now + spread + waits[who % waits.len()], *who)).collect();
            back.sort_unstable();
            for (at, who) in back {
                life.open(who, at);
                prop_assert_eq!(life.why(), None);
                now = at;
            }
        }
    }

    #[test]
    fn an_endpoint_that_replaces_connections_is_noticed_before_any_connection_is_made_a_third_time(
        starts in proptest::collection::vec(0..5000u64, 2..=6),
        waits in proptest::collection::vec(250..2000u64, 6),
        lags in proptest::collection::vec(-40..60i64, 32),
    ) {
        let mut life = Life::of(starts.len());
        // When each connection is made next, and how often it was.
        let mut next: Vec<(u64, usize, usize)> = starts.iter().enumerate().map(|(who, at)| (at + 100, who, 0)).collect();
        let mut events: Vec<(u64, usize, Option<Close>)> = Vec::new();
        let (mut holder, mut lags) = (None, lags.into_iter().cycle());
        while let Some((at, who, times)) = next.iter().min().copied() {
            next.retain(|(_, other, _)| *other != who);
            if times == 2 {
                break;
            }
            events.push((at, who, None));
            if let Some((old, times)) = holder.replace((who, times + 1)) {
                let closed = at.saturating_add_signed(lags.next().unwrap_or(0));
                // A connection opens before it is closed.
                let opened = events.iter().rev().find(|(_, one, close)| *one == old && close.is_none()).map_or(0, |e| e.0);
                let closed = closed.max(opened + 1);
                events.push((closed, old, Some(by_endpoint(1000))));
                next.push((closed.max(at) + waits[old], old, times));
            }
        }
        events.sort_by_key(|(at, ..)| *at);
        let noticed = events.iter().any(|(at, who, close)| {
            match close {
                Some(close) => life.close(*who, *close, *at),
                None => life.open(*who, *at),
            };
            life.why().is_some()
        });
        prop_assert!(noticed, "{events:?}");
    }
}
