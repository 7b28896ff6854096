//! When to ping, and when to call the peer dead. Pure: the time is an argument.
//!
//! # Theory of operation
//!
//! Any byte from the peer proves that it lives. So does each byte that the peer takes from us: on a slow line a ping would wait
//! behind these. After `interval` of silence the peer is pinged; after `timeout` more it counts as dead, so that a half-open
//! connection is noticed within the sum of both. The owner keeps one timer at [`Keepalive::deadline`] and asks
//! [`Keepalive::on_deadline`] when that fires. The owner needn't move the timer on each message: one that fires too early is
//! told to [`Beat::Wait`]. The timer is to be moved only where the deadline has come earlier, which [`Keepalive::on_received`]
//! tells.

use std::time::Duration;

use tokio::time::Instant;

/// Longest wait for the answer to a ping after the machine slept: the peer has most likely given us up, and a live one answers
/// well within this.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// The watch over one open connection.
#[derive(Debug)]
pub(crate) struct Keepalive {
    interval: Duration,
    timeout: Duration,
    /// When the last byte came, or when we took up reading again.
    heard: Instant,
    /// When the peer last took a part of what waits for it.
    taken: Option<Instant>,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// Nothing is awaited.
    Quiet,
    /// A ping is due at once, and its answer soon after.
    Check { due: Instant },
    /// A ping is out.
    Pinged { dead_at: Instant, patience: Duration },
}

/// What to do at a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beat {
    /// Nothing yet; set the timer to the new deadline.
    Wait,
    /// Send a WebSocket ping; set the timer to the new deadline.
    Ping,
    /// The peer is dead.
    Dead {
        /// How long nothing came from the peer.
        silent: Duration,
    },
}

impl Keepalive {
    /// The watch over a connection that opened `now`.
    pub(crate) fn new(interval: Duration, timeout: Duration, now: Instant) -> Self {
        Keepalive { interval, timeout, heard: now, taken: None, phase: Phase::Quiet }
    }

    /// Bytes of any kind came from the peer. Where they answer a ping that had more time than the interval, the next ping is due
    /// before that answer was: then the timer is to be set to the returned deadline.
    #[inline]
    #[must_use]
    pub(crate) fn on_received(&mut self, now: Instant) -> Option<Instant> {
        self.heard = now;
        let before = match std::mem::replace(&mut self.phase, Phase::Quiet) {
            Phase::Quiet => return None,
            Phase::Check { due } => due,
            Phase::Pinged { dead_at, .. } => dead_at,
        };
        Some(self.deadline()).filter(|at| *at < before)
    }

    /// The peer took a part of what is to be written, and more of it waits.
    pub(crate) fn on_taken(&mut self, now: Instant) {
        self.taken = Some(now);
    }

    /// Whether the peer took something within the interval, so that a ping may still wait behind the rest.
    pub(crate) fn is_taking(&self, now: Instant) -> bool {
        self.taken.is_some_and(|at| now < at + self.interval)
    }

    /// We don't read, or didn't until now, or a ping couldn't be written: silence up to `now` is our own doing.
    ///
    /// Called when reading is taken up again, and before [`Keepalive::on_deadline`] while it rests. A ping that
    /// is out stays out, with its whole timeout ahead again.
    pub(crate) fn on_own_pause(&mut self, now: Instant) {
        self.heard = now;
        match &mut self.phase {
            Phase::Quiet => {}
            Phase::Check { due } => *due = now,
            Phase::Pinged { dead_at, patience } => *dead_at = now + *patience,
        }
    }

    /// The machine woke up or its clock jumped: a ping is due `now`, with less time for the answer.
    pub(crate) fn check_now(&mut self, now: Instant) {
        self.phase = Phase::Check { due: now };
    }

    /// When [`Keepalive::on_deadline`] is to be called next. The deadline moves later with each message, and earlier only
    /// by [`Keepalive::check_now`] and where [`Keepalive::on_received`] says so.
    pub(crate) fn deadline(&self) -> Instant {
        match self.phase {
            Phase::Quiet => self.heard + self.interval,
            Phase::Check { due } => due,
            Phase::Pinged { dead_at, .. } => dead_at,
        }
    }

    /// The timer fired.
    pub(crate) fn on_deadline(&mut self, now: Instant) -> Beat {
        if now < self.deadline() {
            return Beat::Wait;
        }
        let patience = match self.phase {
            Phase::Quiet => self.timeout,
            Phase::Check { .. } => self.timeout.min(CHECK_TIMEOUT),
            Phase::Pinged { .. } => return Beat::Dead { silent: now.saturating_duration_since(self.heard) },
        };
        self.phase = Phase::Pinged { dead_at: now + patience, patience };
        Beat::Ping
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn secs(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    fn open() -> (Keepalive, Instant) {
        let t = Instant::now();
        (Keepalive::new(secs(20), secs(20), t), t)
    }

    #[test]
    fn a_half_open_connection_is_pinged_after_the_interval_and_dead_within_a_minute() {
        let (mut k, t) = open();
        assert_eq!(k.deadline(), t + secs(20));
        assert_eq!(k.on_deadline(t + secs(20)), Beat::Ping);
        assert_eq!(k.deadline(), t + secs(40));
        assert_eq!(k.on_deadline(t + secs(40)), Beat::Dead { silent: secs(40) });
    }

    #[test]
    fn a_timer_that_was_not_moved_finds_nothing_to_do() {
        let (mut k, t) = open();
        assert_eq!(k.on_received(t + secs(15)), None);
        assert_eq!(k.on_deadline(t + secs(20)), Beat::Wait);
        assert_eq!(k.deadline(), t + secs(35));
    }

    #[test]
    fn any_bytes_after_a_ping_are_an_answer() {
        let (mut k, t) = open();
        assert_eq!(k.on_deadline(t + secs(20)), Beat::Ping);
        assert_eq!(k.on_received(t + secs(39)), None);
        assert_eq!(k.on_deadline(t + secs(40)), Beat::Wait);
        assert_eq!(k.on_deadline(t + secs(59)), Beat::Ping);
    }

    #[test]
    fn the_timer_is_moved_only_where_the_next_ping_is_due_sooner_than_the_answer_was() {
        for (interval, timeout, sooner) in [(20, 20, None), (20, 19, None), (19, 20, Some(38)), (2, 20, Some(4))] {
            let t = Instant::now();
            let mut k = Keepalive::new(secs(interval), secs(timeout), t);
            assert_eq!(k.on_deadline(t + secs(interval)), Beat::Ping);
            assert_eq!(k.on_received(t + secs(interval)), sooner.map(|s| t + secs(s)), "{interval} {timeout}");
            assert_eq!(k.on_received(t + secs(interval)), None, "once");
        }
    }

    #[test]
    fn who_took_something_is_taking_for_an_interval() {
        let (mut k, t) = open();
        assert!(!k.is_taking(t));
        k.on_taken(t + secs(5));
        assert!(k.is_taking(t + secs(5)) && k.is_taking(t + secs(24)));
        assert!(!k.is_taking(t + secs(25)) && !k.is_taking(t + secs(26)));
    }

    #[test]
    fn after_waking_up_a_ping_goes_out_at_once_and_has_five_seconds() {
        let (mut k, t) = open();
        k.check_now(t + secs(3));
        assert_eq!(k.deadline(), t + secs(3));
        assert_eq!(k.on_deadline(t + secs(3)), Beat::Ping);
        assert_eq!(k.on_deadline(t + secs(8)), Beat::Dead { silent: secs(8) });
    }

    #[test]
    fn waking_up_while_a_ping_is_out_shortens_its_wait() {
        let (mut k, t) = open();
        assert_eq!(k.on_deadline(t + secs(20)), Beat::Ping);
        k.check_now(t + secs(21));
        assert_eq!(k.on_deadline(t + secs(21)), Beat::Ping);
        assert_eq!(k.deadline(), t + secs(26));
    }

    #[test]
    fn silence_while_we_do_not_read_is_not_held_against_the_peer() {
        let (mut k, t) = open();
        assert_eq!(k.on_deadline(t + secs(20)), Beat::Ping);
        k.on_own_pause(t + secs(40));
        k.on_own_pause(t + secs(55));
        assert_eq!(k.on_deadline(t + secs(74)), Beat::Wait);
        assert_eq!(k.on_deadline(t + secs(75)), Beat::Dead { silent: secs(20) });
    }

    /// What a peer does besides answering pings.
    #[derive(Clone, Copy)]
    enum Peer {
        /// Answers each ping after so many milliseconds.
        Pongs(u64),
        /// Says something each time so many milliseconds have passed, and answers no ping.
        Talks(u64),
        /// Talks each time the first number of milliseconds has passed, until the second, and then is gone.
        Leaves(u64, u64),
    }

    /// When pings go out within `until` ms, and when the peer is given up, if it is. The timer is moved as a link does, only
    /// where the keepalive says so.
    fn pings(interval: u64, timeout: u64, peer: Peer, until: u64) -> (Vec<u64>, Option<u64>) {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let mut k = Keepalive::new(ms(interval), ms(timeout), start);
        let (mut timer, mut sent, mut said, mut pongs) = (k.deadline(), Vec::new(), 0, Vec::<u64>::new());
        loop {
            let talk = match peer {
                Peer::Pongs(_) => None,
                Peer::Talks(every) => Some(said + every),
                Peer::Leaves(every, last) => Some(said + every).filter(|at| *at <= last),
            };
            let fires = (timer - start).as_millis() as u64;
            let heard = pongs.iter().copied().chain(talk).min().filter(|at| *at <= fires);
            let now = heard.unwrap_or(fires);
            if now > until {
                return (sent, None);
            }
            if heard.is_some() {
                pongs.retain(|at| *at != now);
                said = now;
                timer = k.on_received(start + ms(now)).unwrap_or(timer);
                continue;
            }
            match k.on_deadline(start + ms(now)) {
                Beat::Wait => {}
                Beat::Ping => {
                    sent.push(now);
                    if let Peer::Pongs(after) = peer {
                        pongs.push(now + after);
                    }
                }
                Beat::Dead { .. } => return (sent, Some(now)),
            }
            timer = k.deadline();
        }
    }

    #[test]
    fn pings_come_once_in_an_interval_and_a_dead_peer_is_found_whichever_of_interval_and_timeout_is_longer() {
        for (interval, timeout, peer, sent, dead) in [
            // An interval below the timeout: it is the interval that counts.
            (2_000, 20_000, Peer::Pongs(10), vec![2_000, 4_010, 6_020, 8_030, 10_040], None),
            (2_000, 20_000, Peer::Pongs(5_000), vec![2_000, 9_000], None),
            (2_000, 2_001, Peer::Pongs(0), vec![2_000, 4_000, 6_000, 8_000, 10_000], None),
            // As long as each other.
            (2_000, 2_000, Peer::Pongs(10), vec![2_000, 4_010, 6_020, 8_030, 10_040], None),
            // An interval above it.
            (4_000, 1_000, Peer::Pongs(10), vec![4_000, 8_010], None),
            (4_000, 1_000, Peer::Pongs(1_000), vec![4_000, 9_000], None),
            (4_000, 1_000, Peer::Pongs(1_001), vec![4_000], Some(5_000)),
            // Data is as good as a pong: before a ping is due, and as the answer to one.
            (2_000, 20_000, Peer::Talks(1_999), vec![], None),
            (2_000, 20_000, Peer::Talks(3_000), vec![2_000, 5_000, 8_000], None),
            (4_000, 1_000, Peer::Talks(3_999), vec![], None),
            (4_000, 1_000, Peer::Talks(4_500), vec![4_000, 8_500], None),
            // Silence, after some life or none.
            (2_000, 5_000, Peer::Leaves(1_000, 0), vec![2_000], Some(7_000)),
            (2_000, 5_000, Peer::Leaves(3_000, 3_000), vec![2_000, 5_000], Some(10_000)),
            (4_000, 1_000, Peer::Leaves(1_000, 2_000), vec![6_000], Some(7_000)),
        ] {
            assert_eq!(pings(interval, timeout, peer, 10_900), (sent, dead), "{interval} {timeout}");
        }
    }

    proptest! {
        #[test]
        fn a_peer_heard_more_often_than_the_interval_is_never_pinged_and_a_silent_one_always_found(
            gaps in proptest::collection::vec(0..20_000u64, 0..50), interval in 20_000..60_000u64, timeout in 1..60_000u64,
        ) {
            let (interval, timeout) = (Duration::from_millis(interval), Duration::from_millis(timeout));
            let mut now = Instant::now();
            let mut k = Keepalive::new(interval, timeout, now);
            for gap in gaps {
                now += Duration::from_millis(gap);
                prop_assert_eq!(k.on_deadline(now), Beat::Wait);
                prop_assert_eq!(k.on_received(now), None);
            }
            prop_assert_eq!(k.on_deadline(k.deadline()), Beat::Ping);
            prop_assert_eq!(k.on_deadline(k.deadline()), Beat::Dead { silent: interval + timeout });
            prop_assert_eq!(k.deadline(), now + interval + timeout);
        }
    }
}
