//! Guesses at keys and tokens: how many wrong ones have come from an address, and what follows from that for a while. Pure but for the time.
//!
//! Keys and JSON Web Tokens are too long to be guessed, and behind a reverse proxy all clients have its address: a good one is let in
//! whatever others try, and a wrong one told to wait. The tokens of the endpoint may be short: where many wrong ones have come from, only
//! those are looked at that were good from there before.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Most wrong ones from an address at once; and time after which there may be one more: 20 in a minute.
const MOST: f64 = 20.0;
const EACH: Duration = Duration::from_secs(3);
/// Most addresses that are kept in mind, and most tokens that were good from one: the latest.
const MAX_ADDRESSES: usize = 4096;
const MAX_GOOD: usize = 64;

/// Source where a request comes, in its extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Source(IpAddr);

impl Source {
    /// A network of IPv6 (/64) is as one address: whoever has one of its addresses has all.
    pub(super) fn of(ip: IpAddr) -> Self {
        Source(match ip.to_canonical() {
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
            ip @ IpAddr::V4(_) => ip,
        })
    }
}

/// The SHA-256 of a token.
type Hash = [u8; 32];

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Guesses(Mutex<HashMap<Source, Known>>);

/// What is known of an address.
#[derive(Debug)]
struct Known {
    /// How many wrong ones have come, less those that are long ago; and when that was so.
    wrong: (f64, Instant),
    /// What was good, the latest last.
    good: Vec<Hash>,
}

impl Known {
    fn wrong_now(&self, now: Instant) -> f64 {
        let (wrong, since) = self.wrong;
        (wrong - now.saturating_duration_since(since).as_secs_f64() / EACH.as_secs_f64()).max(0.0)
    }
}

impl Guesses {
    /// A wrong key has come.
    ///
    /// # Errors
    /// How long to wait with the next, where there were many.
    pub(super) fn wrong(&self, from: Source, now: Instant) -> Result<(), Duration> {
        let few = self.admit(from, &[], now);
        self.note(from, &[], false, now);
        few
    }

    /// Whether it is looked at what a client shows: one of these, as far as that can be told.
    ///
    /// # Errors
    /// How long to wait for that.
    pub(super) fn admit(&self, from: Source, shown: &[Hash], now: Instant) -> Result<(), Duration> {
        let all = self.all();
        let Some(known) = all.get(&from) else { return Ok(()) };
        let wrong = known.wrong_now(now);
        // Nobody learns a token by how long it takes to find its hash.
        if wrong + 1.0 <= MOST || shown.iter().any(|hash| known.good.contains(hash)) {
            return Ok(());
        }
        Err(EACH.mul_f64(wrong + 1.0 - MOST))
    }

    /// Notes what came of looking at these.
    pub(super) fn note(&self, from: Source, shown: &[Hash], is_good: bool, now: Instant) {
        let mut all = self.all();
        if all.len() >= MAX_ADDRESSES && !all.contains_key(&from) {
            // Of whom nothing speaks against, nothing need be known. Where that frees nothing, the least suspicious makes room.
            all.retain(|_, known| known.wrong_now(now) > 0.0);
            let least = all.iter().min_by(|(_, a), (_, b)| a.wrong_now(now).total_cmp(&b.wrong_now(now)));
            if let Some(least) = least.map(|(from, _)| *from).filter(|_| all.len() >= MAX_ADDRESSES) {
                all.remove(&least);
            }
        }
        let known = all.entry(from).or_insert_with(|| Known { wrong: (0.0, now), good: Vec::new() });
        if !is_good {
            known.wrong = ((known.wrong_now(now) + 1.0).min(MOST), now);
            return;
        }
        for hash in shown.iter().filter(|hash| !known.good.contains(hash)).copied().collect::<Vec<_>>() {
            if known.good.len() >= MAX_GOOD {
                known.good.remove(0);
            }
            known.good.push(hash);
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Source, Known>> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn at(ip: &str) -> Source {
        Source::of(ip.parse().unwrap())
    }

    const GOOD: [Hash; 1] = [[1; 32]];
    const WRONG: [Hash; 1] = [[2; 32]];

    #[test]
    fn from_an_address_with_many_wrong_ones_only_what_was_good_there_is_looked_at() {
        let (guesses, t) = (Guesses::default(), Instant::now());
        let (here, elsewhere) = (at("192.0.2.1"), at("192.0.2.2"));
        guesses.note(here, &GOOD, true, t);
        for _ in 0..20 {
            assert_eq!(guesses.admit(here, &WRONG, t), Ok(()));
            guesses.note(here, &WRONG, false, t);
        }
        assert_eq!(guesses.admit(here, &WRONG, t), Err(EACH));
        assert_eq!(guesses.admit(here, &[[3; 32]], t), Err(EACH), "a good one that nobody has shown there");
        assert_eq!(guesses.admit(here, &GOOD, t), Ok(()));
        assert_eq!(guesses.admit(elsewhere, &WRONG, t), Ok(()));
        let soon = t + Duration::from_secs(1);
        assert_eq!(guesses.admit(here, &WRONG, soon), Err(Duration::from_secs(2)));
        assert_eq!(guesses.admit(here, &WRONG, t + EACH), Ok(()));
        guesses.note(here, &WRONG, false, t + EACH);
        assert_eq!(guesses.admit(here, &WRONG, t + EACH), Err(EACH));
        assert_eq!(guesses.admit(here, &WRONG, t + Duration::from_secs(3600)), Ok(()));
    }

    #[test]
    fn a_network_of_ipv6_is_as_one_address() {
        assert_eq!(at("2001:db8::1"), at("2001:db8::ffff:1"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
        assert_eq!(at("::ffff:192.0.2.1"), at("192.0.2.1"));
        assert_ne!(at("::ffff:192.0.2.1"), at("::ffff:192.0.2.2"));
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_most_suspicious_stays() {
        let (guesses, t) = (Guesses::default(), Instant::now());
        let guesser = at("198.51.100.1");
        (0..20).for_each(|_| guesses.note(guesser, &WRONG, false, t));
        for n in 0..10_000_u32 {
            guesses.note(Source::of(IpAddr::V4((0x0a00_0000 + n).into())), &WRONG, n % 2 == 0, t);
        }
        for n in 0..200 {
            guesses.note(at("192.0.2.1"), &[[n; 32]], true, t);
        }
        let all = guesses.all();
        assert!(all.len() <= MAX_ADDRESSES && all[&at("192.0.2.1")].good.len() == MAX_GOOD);
        drop(all);
        assert!(guesses.admit(guesser, &WRONG, t).is_err());
    }
}
