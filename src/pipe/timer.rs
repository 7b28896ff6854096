//! One timer for the deadlines of a pipe, of which there mostly are none.

use std::pin::Pin;
use std::task::{Context, Waker};

use tokio::time::{Instant, Sleep, sleep_until};

/// Moved only when a deadline comes nearer.
#[derive(Default)]
pub(super) struct Timer(Option<(Instant, Pin<Box<Sleep>>)>);

impl Timer {
    /// Whether it has fired, having been set to `next` at the latest. `woken`: its waker was.
    pub(super) fn poll(&mut self, waker: &Waker, woken: bool, next: Option<Instant>) -> bool {
        match (&mut self.0, next) {
            // Not kept for nothing: while tokio has a timer, each sleep costs more.
            (slot, None) => {
                *slot = None;
                return false;
            }
            (Some((at, sleep)), Some(next)) if next < *at => {
                *at = next;
                sleep.as_mut().reset(next);
            }
            (slot @ None, Some(next)) => *slot = Some((next, Box::pin(sleep_until(next)))),
            (Some(_), _) if !woken => return false,
            (Some(_), _) => {}
        }
        let cx = &mut Context::from_waker(waker);
        let fired = self.0.as_mut().is_some_and(|(_, sleep)| sleep.as_mut().poll(cx).is_ready());
        if fired {
            self.0 = None;
        }
        fired
    }
}
