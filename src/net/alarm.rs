//! A timer for what is rarely due: the keepalive's.
//!
//! As long as tokio's own timers hold an entry, each sleep of the thread arms and disarms a kernel timer, which a message
//! of 100 bytes pays twice: 1.3 µs of its 25 µs, measured. A timer descriptor is armed once per ping interval
//! instead. Where the system has no such descriptors, the alarm is an ordinary sleep.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

/// See the module's documentation.
#[derive(Debug)]
pub(crate) enum Alarm {
    /// A timer descriptor (`timerfd_create(2)`).
    #[cfg(target_os = "linux")]
    Descriptor(tokio::io::unix::AsyncFd<rustix::fd::OwnedFd>),
    /// An ordinary sleep, where no descriptor was to be had.
    Sleep(Pin<Box<Sleep>>),
}

impl Alarm {
    /// An alarm that goes off at `deadline`.
    pub(crate) fn at(deadline: Instant) -> Self {
        let mut alarm = Self::unset().unwrap_or_else(|| Alarm::Sleep(Box::pin(sleep_until(deadline))));
        alarm.set(deadline);
        alarm
    }

    #[cfg(target_os = "linux")]
    #[expect(unsafe_code, reason = "tokio wants a promise that the descriptor stays the same")]
    fn unset() -> Option<Self> {
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        use tokio::io::{Interest, unix::AsyncFd};

        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags).ok()?;
        // SAFETY: an `OwnedFd` names the same open descriptor until it is dropped, which the `AsyncFd` does itself.
        unsafe { AsyncFd::register_with_interest(timer, Interest::READABLE) }.ok().map(Alarm::Descriptor)
    }

    #[cfg(not(target_os = "linux"))]
    fn unset() -> Option<Self> {
        None
    }

    /// Sets the alarm to another `deadline`.
    pub(crate) fn set(&mut self, deadline: Instant) {
        match self {
            #[cfg(target_os = "linux")]
            Alarm::Descriptor(timer) => {
                use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
                // Zero would disarm the timer.
                let left = deadline.saturating_duration_since(Instant::now()).max(std::time::Duration::from_nanos(1));
                let it_value = Timespec {
                    tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                    tv_nsec: left.subsec_nanos().into(),
                };
                let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
                // The call fails only for values out of range, and these are in range.
                let _infallible = timerfd_settime(&*timer, TimerfdTimerFlags::empty(), &once);
            }
            Alarm::Sleep(sleep) => sleep.as_mut().reset(deadline),
        }
    }

    /// Ready once when the alarm goes off. Afterwards the alarm is to be set again.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            #[cfg(target_os = "linux")]
            Alarm::Descriptor(timer) => loop {
                let Ok(mut ready) = std::task::ready!(timer.poll_read_ready(cx)) else { return Poll::Ready(()) };
                let read = ready.try_io(|timer| rustix::io::read(timer, &mut [0u8; 8]).map_err(Into::into));
                // Otherwise the alarm was set again in the meantime, and isn't due.
                if read.is_ok() {
                    return Poll::Ready(());
                }
            },
            Alarm::Sleep(sleep) => sleep.as_mut().poll(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::time::Duration;

    #[tokio::test]
    async fn it_goes_off_at_its_deadline_and_once_for_each_setting() {
        let begun = Instant::now();
        let mut alarm = Alarm::at(begun + Duration::from_secs(3600));
        alarm.set(begun + Duration::from_millis(20));
        for _ in 0..2 {
            poll_fn(|cx| alarm.poll(cx)).await;
            assert!(begun.elapsed() >= Duration::from_millis(20));
            alarm.set(begun); // long past: at once
        }
    }
}
