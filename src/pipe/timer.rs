//! One timer for the deadlines of a pipe, of which there mostly are none.

use std::pin::Pin;
use std::task::{Context, Waker};

use tokio::time::{Instant, Sleep, sleep_until};

/// The timer is moved only when a deadline comes nearer.
#[derive(Default)]
pub(super) struct Timer(Option<(Instant, Pin<Box<Sleep>>)>);

impl Timer {
    /// Sets the timer to `next` at the latest; returns whether it has fired. `woken`: the timer's waker was woken.
    pub(super) fn poll(&mut self, waker: &Waker, woken: bool, next: Option<Instant>) -> bool {
        match (&mut self.0, next) {
            // The timer is not kept for nothing: while tokio has one, each sleep of the thread costs more.
            // Its last deadline may be what woke us, and is to be handled all the same.
            (slot, None) => return slot.take().is_some() && woken,
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
