//! The clock of leases: the time since the machine was started, which goes on while it sleeps (`CLOCK_BOOTTIME`, time(7)).
//!
//! A lease ends by the clocks of others, whether or not this machine runs. An ordinary timer stands still meanwhile, and would have an
//! agent be held for as long as the machine slept. Where the system has no such clock, ordinary time counts (not verified).

use std::time::Duration;

/// A moment, as the time since the start of the machine.
pub(super) type Moment = Duration;

#[cfg(all(target_os = "linux", not(test)))]
pub(super) use linux::{now, until};
#[cfg(any(test, not(target_os = "linux")))]
pub(super) use other::{now, until};

#[cfg(target_os = "linux")]
mod linux {
    use rustix::time::{
        ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime, timerfd_create,
        timerfd_settime,
    };
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    use super::{Duration, Moment};

    /// What time it is.
    pub(in super::super) fn now() -> Moment {
        let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Boottime);
        Duration::new(u64::try_from(tv_sec).unwrap_or_default(), u32::try_from(tv_nsec).unwrap_or_default())
    }

    /// Waits until then, also across a sleep of the machine.
    pub(in super::super) async fn until(moment: Moment) {
        if let Err(error) = by_descriptor(moment).await {
            tracing::debug!(event = "LEASE_CLOCK", %error, "no timer that goes on while the machine sleeps");
            tokio::time::sleep(moment.saturating_sub(now())).await;
        }
    }

    #[expect(unsafe_code, reason = "tokio wants a promise that the descriptor stays the same")]
    async fn by_descriptor(moment: Moment) -> std::io::Result<()> {
        let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        // Zero would disarm the timer.
        let at = moment.max(Duration::from_nanos(1));
        let tv_sec = i64::try_from(at.as_secs()).unwrap_or(i64::MAX);
        let it_value = Timespec { tv_sec, tv_nsec: at.subsec_nanos().into() };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
        timerfd_settime(&timer, TimerfdTimerFlags::ABSTIME, &once)?;
        // SAFETY: an `OwnedFd` names the same open descriptor until it is dropped, which the `AsyncFd` does itself.
        let timer = unsafe { AsyncFd::register_with_interest(timer, Interest::READABLE) }?;
        let _ready = timer.readable().await?;
        Ok(())
    }

    #[cfg(test)]
    #[expect(clippy::unwrap_used, reason = "a test may panic")]
    mod tests {
        use super::*;

        #[tokio::test]
        async fn it_wakes_up_then_and_at_once_where_that_is_past() {
            let begun = now();
            until(begun + Duration::from_millis(30)).await;
            assert!(now() >= begun + Duration::from_millis(30));
            until(Duration::ZERO).await;
            by_descriptor(begun).await.unwrap();
        }
    }
}

#[cfg(any(test, not(target_os = "linux")))]
mod other {
    use tokio::time::{Instant, sleep_until};

    use super::Moment;

    /// Far enough from zero that a moment before the first can be told.
    const FIRST: Moment = Moment::from_secs(1000);

    thread_local! {
        // One for each thread: the program has one that asks, and tests have a clock each.
        static BEGUN: Instant = Instant::now();
    }

    fn first() -> Instant {
        BEGUN.with(|begun| *begun)
    }

    /// What time it is.
    pub(in super::super) fn now() -> Moment {
        FIRST + Instant::now().saturating_duration_since(first())
    }

    /// Waits until then.
    pub(in super::super) async fn until(moment: Moment) {
        sleep_until(first() + moment.saturating_sub(FIRST)).await;
    }
}
