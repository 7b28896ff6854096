//! Notices that the machine slept, or that somebody set its clock.
//!
//! # Theory of operation
//!
//! A suspended machine's timers stand still, so a connection that died meanwhile would be found only a keepalive
//! later. Linux cancels a timer on the real-time clock when that clock jumps, as it does when the machine resumes
//! (`TFD_TIMER_CANCEL_ON_SET`, timerfd_create(2)). So a timer set for the end of time becomes readable at a jump, and
//! costs no wake-up before. One task in the process watches; every link holds a receiver.
//!
//! Other platforms would have to be polled: there the watch never reports, and the keepalive alone
//! finds a dead connection.

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The one watch of a process.
#[derive(Debug, Default)]
pub(crate) struct WakeWatch(watch::Sender<u64>);

impl WakeWatch {
    /// A watch that reports nothing until [`WakeWatch::run`].
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A receiver that changes at each resume or clock jump. The number only counts these.
    ///
    /// Once [`WakeWatch::run`] has ended, which happens at the stop only, waiting on the receiver fails at once.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }

    /// Watches until `stop` is cancelled.
    pub(crate) async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.watch() => {}
        }
    }

    #[cfg(target_os = "linux")]
    async fn watch(&self) {
        let Err(error) = self.watch_clock().await;
        tracing::debug!(
            event = "WAKE_WATCH_UNAVAILABLE",
            %error,
            "can't notice when this machine wakes up; a connection that died meanwhile is found by its keepalive"
        );
        std::future::pending().await
    }

    /// Waits for ever: this platform has nothing to watch (see the module).
    #[cfg(not(target_os = "linux"))]
    async fn watch(&self) {
        std::future::pending().await
    }

    #[cfg(target_os = "linux")]
    async fn watch_clock(&self) -> std::io::Result<std::convert::Infallible> {
        use rustix::io::Errno;

        let timer = clock_timer()?;
        loop {
            let mut ready = timer.readable().await?;
            let read = ready.try_io(|fd| rustix::io::read(fd, &mut [0u8; 8]).map_err(Into::into));
            match read {
                Ok(Err(error)) if error.raw_os_error() == Some(Errno::CANCELED.raw_os_error()) => {
                    tracing::info!(
                        event = "CLOCK_JUMPED",
                        "this machine woke up or its clock was set; checking connections"
                    );
                    self.0.send_modify(|n| *n = n.wrapping_add(1));
                }
                Ok(Err(error)) => return Err(error),
                // Not ready after all, or the end of time: both mean to wait on.
                Ok(Ok(_)) | Err(_) => {}
            }
        }
    }
}

/// A timer for the end of time, which is cancelled when the real-time clock jumps.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "tokio wants a promise that the descriptor stays the same")]
fn clock_timer() -> std::io::Result<tokio::io::unix::AsyncFd<rustix::fd::OwnedFd>> {
    use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
    use tokio::io::{Interest, unix::AsyncFd};

    let timer = rustix::time::timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
    let never = Itimerspec {
        it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
        it_value: Timespec { tv_sec: i64::MAX, tv_nsec: 0 },
    };
    rustix::time::timerfd_settime(&timer, TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET, &never)?;
    // SAFETY: an `OwnedFd` names the same open descriptor until it is dropped, which the `AsyncFd` does itself.
    Ok(unsafe { AsyncFd::register_with_interest(timer, Interest::READABLE) }?)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use std::time::Duration;

    /// A test can't set the machine's clock, but can see that the timer is armed and keeps quiet.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_timer_can_be_armed_and_does_not_fire_by_itself() {
        let timer = clock_timer().unwrap();
        let fired = tokio::time::timeout(Duration::from_millis(50), timer.readable()).await;
        assert!(fired.is_err(), "readable without a jump of the clock");
    }

    #[tokio::test]
    async fn it_runs_until_the_stop_and_then_lets_its_receivers_know() {
        let (watch, stop) = (WakeWatch::new(), CancellationToken::new());
        let mut jumps = watch.subscribe();
        let task = tokio::spawn(watch.run(stop.clone()));
        assert!(tokio::time::timeout(Duration::from_millis(20), jumps.changed()).await.is_err());
        stop.cancel();
        task.await.unwrap();
        assert!(jumps.changed().await.is_err());
    }
}
