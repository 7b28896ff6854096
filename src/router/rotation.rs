//! Which server has its turn, and for how long. Pure.
//!
//! Servers have the connection one after the other, in their order. Only a server that has shown that it is loaded gets
//! its turn: others are passed over until the next round, and where no other is loaded the turn goes on. A turn is
//! counted from its first connection, and reconnects don't prolong it.

use std::time::Duration;

use tokio::time::Instant;

use super::Bar;

/// Longest absence of the server whose turn it is before another has its turn. A crashed server that is started again at
/// once is back by then, and an endpoint would rather wait this long than lose its connection. Less than the time for which
/// requests are held (`cloud::HOLD`).
const PATIENCE: Duration = Duration::from_secs(5);

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Rotation {
    turn: Duration,
    places: Vec<Place>,
    current: usize,
    clock: Clock,
    /// The server whose turn a person wants to begin as soon as the server is loaded.
    asked: Option<usize>,
}

#[derive(Debug)]
struct Place {
    presence: Presence,
    /// Whether the server's turn does not end.
    pinned: bool,
    /// Whether a person has stopped the server, whose turn is of no use then.
    stopped: bool,
}

#[derive(Debug, Clone, Copy)]
enum Presence {
    /// The server has shown that it is loaded.
    Warm,
    /// The server is down or starting, and is waited for until then.
    Away { until: Instant },
}

/// How much of the present turn is left.
#[derive(Debug, Clone, Copy)]
enum Clock {
    /// No connection has stood in this turn yet.
    Unstarted,
    Until(Instant),
    /// A person has asked for the end of the turn.
    Skipped,
}

/// What is to become of the present turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The turn goes on.
    Stays,
    /// The time is over, and the next server is ready.
    Over,
    /// The server is gone, or a person has asked for the end: the endpoint gains nothing by waiting.
    Cut,
}

impl Rotation {
    /// A rotation of servers, none of them loaded yet. `pinned` tells which are pinned: the first of these begins, else the
    /// first of all.
    pub(super) fn new(pinned: impl IntoIterator<Item = bool>, turn: Duration, now: Instant) -> Self {
        let presence = Presence::Away { until: now + PATIENCE };
        let places: Vec<Place> = pinned.into_iter().map(|pinned| Place { presence, pinned, stopped: false }).collect();
        let current = places.iter().position(|p| p.pinned).unwrap_or(0);
        Rotation { turn, places, current, clock: Clock::Unstarted, asked: None }
    }

    /// The server whose turn it is.
    pub(super) fn current(&self) -> usize {
        self.current
    }

    /// Whether a turn of a server does not end by itself.
    pub(super) fn is_pinned(&self, server: usize) -> bool {
        self.places[server].pinned
    }

    /// Whether a server could have its turn.
    pub(super) fn is_warm(&self, server: usize) -> bool {
        matches!(self.places[server].presence, Presence::Warm)
    }

    /// A server has shown that it is loaded.
    pub(super) fn warm(&mut self, server: usize) {
        self.places[server].presence = Presence::Warm;
    }

    /// A server is gone, to be started again after `retry_in`.
    pub(super) fn away(&mut self, server: usize, retry_in: Duration, now: Instant) {
        let patience = if retry_in > PATIENCE { Duration::ZERO } else { PATIENCE };
        let until = match self.places[server].presence {
            Presence::Away { until } => until.min(now + patience),
            Presence::Warm => now + patience,
        };
        self.places[server].presence = Presence::Away { until };
    }

    /// A person has stopped a server, or lets it run.
    pub(super) fn barred(&mut self, server: usize, bar: Option<Bar>, now: Instant) {
        let stopped = bar == Some(Bar::Stopped);
        self.places[server].stopped = stopped;
        if stopped {
            self.places[server].presence = Presence::Away { until: now };
            self.asked.take_if(|asked| *asked == server);
        }
    }

    /// The connection stands.
    pub(super) fn connected(&mut self, now: Instant) {
        if let Clock::Unstarted = self.clock {
            self.clock = Clock::Until(now + self.turn);
        }
    }

    /// Asks for the end of the present turn. Returns false if no other server is ready.
    pub(super) fn skip(&mut self) -> bool {
        let possible = self.next().is_some();
        if possible {
            self.clock = Clock::Skipped;
        }
        possible
    }

    /// Pins the present server, or unpins a pinned one. Returns whether the server is pinned now.
    pub(super) fn toggle_pin(&mut self, now: Instant) -> bool {
        self.asked = None;
        let pinned = &mut self.places[self.current].pinned;
        *pinned = !*pinned;
        if let (true, Clock::Skipped) = (*pinned, self.clock) {
            self.clock = Clock::Until(now);
        }
        *pinned
    }

    /// Has the turn of a server begin, and not end. No other server is pinned then. Returns what comes of that, or why it is
    /// not done.
    pub(super) fn pin(&mut self, server: usize, now: Instant) -> Result<&'static str, &'static str> {
        if self.places[server].stopped {
            return Err("is stopped, and gets no turn");
        }
        self.places.iter_mut().for_each(|place| place.pinned = false);
        self.places[server].pinned = true;
        self.asked = (server != self.current).then_some(server);
        if self.asked.is_some() {
            return Ok(if self.is_warm(server) {
                "its turn begins as soon as nothing is under way, and does not end"
            } else {
                "its turn begins as soon as it answers, and does not end"
            });
        }
        if let Clock::Skipped = self.clock {
            self.clock = Clock::Until(now);
        }
        Ok("is kept: its turn does not end")
    }

    /// The turn of a server ends like others.
    pub(super) fn unpin(&mut self, server: usize) {
        self.places[server].pinned = false;
        self.asked.take_if(|asked| *asked == server);
    }

    /// The server whose turn would come now.
    pub(super) fn next(&self) -> Option<usize> {
        if let Some(asked) = self.asked.filter(|asked| self.is_warm(*asked)) {
            return Some(asked);
        }
        let n = self.places.len();
        let others = (1..n).map(|step| (self.current + step) % n);
        others.into_iter().find(|i| self.is_warm(*i))
    }

    /// What is to become of the present turn.
    pub(super) fn verdict(&self, now: Instant) -> Verdict {
        let is_over = matches!(self.clock, Clock::Skipped) || self.asked.is_some_and(|asked| self.is_warm(asked));
        if is_over && self.next().is_some() {
            return Verdict::Cut;
        }
        match self.ends() {
            Some((at, verdict)) if at <= now => verdict,
            Some(_) | None => Verdict::Stays,
        }
    }

    /// When the verdict changes if nothing else happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.ends().map(|(at, _)| at)
    }

    /// The next server's turn begins.
    pub(super) fn advance(&mut self) {
        if let Some(next) = self.next() {
            self.current = next;
            self.clock = Clock::Unstarted;
            self.asked.take_if(|asked| *asked == next);
        }
    }

    /// When the present turn ends, and how. `None`: not by itself.
    fn ends(&self) -> Option<(Instant, Verdict)> {
        let place = &self.places[self.current];
        if place.pinned && !place.stopped || self.next().is_none() {
            return None;
        }
        // Whoever waits for one server does not want another in between.
        let waits = self.asked.is_some();
        match (self.clock, place.presence) {
            (Clock::Until(at), Presence::Away { until }) if !waits => Some((at.min(until), Verdict::Cut)),
            (Clock::Until(_), Presence::Away { until }) => Some((until, Verdict::Cut)),
            (Clock::Until(_), Presence::Warm) if waits => None,
            (Clock::Unstarted | Clock::Skipped, Presence::Away { until }) => Some((until, Verdict::Cut)),
            (Clock::Until(at), Presence::Warm) => Some((at, Verdict::Over)),
            (Clock::Unstarted | Clock::Skipped, Presence::Warm) => None,
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    const TURN: Duration = Duration::from_secs(300);

    struct Clockwork {
        rotation: Rotation,
        now: Instant,
    }

    impl Clockwork {
        /// All loaded and connected.
        fn running(pinned: &[bool]) -> Self {
            let now = Instant::now();
            let mut rotation = Rotation::new(pinned.iter().copied(), TURN, now);
            (0..pinned.len()).for_each(|i| rotation.warm(i));
            rotation.connected(now);
            Clockwork { rotation, now }
        }

        /// Lets time pass, and turns end, until the next one begins or `seconds` are over. Returns the server whose turn it is
        /// then.
        fn pass(&mut self, seconds: u64) -> usize {
            self.now += Duration::from_secs(seconds);
            if self.rotation.verdict(self.now) != Verdict::Stays {
                self.rotation.advance();
                self.rotation.connected(self.now);
            }
            self.rotation.current()
        }

        fn away(&mut self, server: usize, retry_in: u64) {
            self.rotation.away(server, Duration::from_secs(retry_in), self.now);
        }
    }

    #[test]
    fn servers_have_equal_turns_in_their_order() {
        let mut it = Clockwork::running(&[false; 3]);
        assert_eq!([299, 1, 299, 1, 300, 300].map(|s| it.pass(s)), [0, 1, 1, 2, 0, 1]);
    }

    #[test]
    fn a_turn_begins_with_its_first_connection_and_no_reconnect_prolongs_it() {
        let mut it = Clockwork::running(&[false; 2]);
        it.pass(200);
        it.rotation.connected(it.now);
        assert_eq!(it.pass(100), 1);
        let now = it.now;
        let mut rotation = Rotation::new([false, false], TURN, now);
        (0..2).for_each(|i| rotation.warm(i));
        assert_eq!(rotation.verdict(now + TURN * 9), Verdict::Stays, "there has been no connection");
        assert_eq!(rotation.deadline(), None);
    }

    #[test]
    fn one_server_alone_has_no_turns() {
        let mut it = Clockwork::running(&[false]);
        assert_eq!(it.rotation.deadline(), None);
        assert!(!it.rotation.skip());
        assert_eq!(it.rotation.verdict(it.now + TURN), Verdict::Stays);
        let mut it = Clockwork::running(&[false; 3]);
        it.away(1, 1);
        it.away(2, 1);
        assert_eq!((it.rotation.deadline(), it.pass(1000)), (None, 0), "the others are down");
        assert!(!it.rotation.skip());
        it.rotation.warm(2);
        assert_eq!(it.rotation.verdict(it.now), Verdict::Over, "as soon as one is there");
        assert_eq!(it.pass(0), 2, "and only one that is there");
    }

    #[test]
    fn a_crashed_server_is_passed_over_unless_it_comes_back_at_once() {
        let mut it = Clockwork::running(&[false; 3]);
        it.away(0, 0);
        assert_eq!(it.pass(4), 0);
        it.rotation.warm(0);
        assert_eq!(it.pass(100), 0, "it was back in time");
        it.away(0, 0);
        it.pass(4);
        it.away(0, 1);
        assert_eq!(it.rotation.verdict(it.now), Verdict::Stays);
        it.now += Duration::from_secs(1);
        assert_eq!(it.rotation.verdict(it.now), Verdict::Cut, "a second crash begins no new wait");
        assert_eq!(it.pass(0), 1);
        it.away(1, 6);
        assert_eq!(it.pass(0), 2, "waiting would be pointless");
        assert_eq!(it.pass(300), 2, "nobody else is back");
        it.rotation.warm(1);
        assert_eq!(it.pass(0), 1);
    }

    #[test]
    fn the_first_loaded_server_begins_if_the_first_takes_long_to_start() {
        let now = Instant::now();
        let mut rotation = Rotation::new([false; 3], TURN, now);
        rotation.warm(2);
        assert_eq!(rotation.verdict(now), Verdict::Stays);
        assert_eq!(rotation.deadline(), Some(now + PATIENCE));
        assert_eq!(rotation.verdict(now + PATIENCE), Verdict::Cut);
        rotation.advance();
        assert_eq!(rotation.current(), 2);
    }

    #[test]
    fn a_pinned_server_begins_and_stays_until_it_is_skipped_or_let_go() {
        let mut it = Clockwork::running(&[false, true, false]);
        assert_eq!((it.rotation.deadline(), it.pass(1000)), (None, 1));
        it.away(1, 1000);
        assert_eq!(it.pass(1000), 1, "even if it crashes");
        it.rotation.warm(1);
        assert!(it.rotation.skip());
        assert_eq!(it.pass(0), 2);
        assert_eq!([it.pass(300), it.pass(300), it.pass(900)], [0, 1, 1], "its pin is its own");
        assert!(!it.rotation.toggle_pin(it.now));
        assert_eq!(it.pass(0), 2, "its time is long over");
        assert!(it.rotation.toggle_pin(it.now));
        assert_eq!(it.pass(1000), 2);
    }

    #[test]
    fn a_server_that_is_asked_for_has_its_turn_and_keeps_it_alone() {
        let mut it = Clockwork::running(&[true, false, false]);
        assert!(it.rotation.pin(2, it.now).unwrap().contains("nothing is under way"));
        assert_eq!((it.pass(0), it.pass(1000)), (2, 2), "whoever was pinned before is not any more");
        assert_eq!(it.rotation.pin(2, it.now), Ok("is kept: its turn does not end"), "twice is once");
        it.away(1, 9);
        assert!(it.rotation.pin(1, it.now).unwrap().contains("as soon as it answers"));
        assert_eq!(it.pass(0), 2);
        it.rotation.warm(1);
        assert_eq!((it.pass(0), it.pass(1000)), (1, 1));
        it.rotation.unpin(1);
        assert_eq!(it.pass(0), 2, "its time is long over");
        // What was asked for and is no longer wanted does not come.
        it.away(1, 9);
        it.rotation.pin(1, it.now).unwrap();
        it.rotation.unpin(1);
        it.rotation.warm(1);
        assert_eq!((it.pass(299), it.pass(1)), (2, 0));
        // Nor does what was asked for and then stopped, and the turns go on.
        it.away(1, 9);
        it.rotation.pin(1, it.now).unwrap();
        assert_eq!(it.pass(1000), 0, "nobody else in between");
        it.rotation.barred(1, Some(Bar::Stopped), it.now);
        assert_eq!(it.pass(0), 2);
    }

    #[test]
    fn a_stopped_server_has_no_turn_even_if_it_is_pinned() {
        let mut it = Clockwork::running(&[true, false]);
        it.rotation.barred(0, Some(Bar::Stopped), it.now);
        it.away(0, 0);
        assert_eq!((it.pass(0), it.pass(1000)), (1, 1), "and none later");
        assert!(it.rotation.pin(0, it.now).is_err());
        it.rotation.barred(0, Some(Bar::Paused), it.now);
        it.rotation.warm(0);
        assert_eq!(it.pass(0), 0, "a paused one has its turn, and this one is pinned still");
    }

    #[test]
    fn keeping_a_server_takes_back_that_it_was_to_go() {
        let mut it = Clockwork::running(&[false; 2]);
        assert!(it.rotation.skip());
        assert!(it.rotation.toggle_pin(it.now));
        assert_eq!(it.pass(0), 0);
        assert!(!it.rotation.toggle_pin(it.now));
        assert_eq!(it.pass(0), 1);
    }
}
