//! Lines that others write into the log, as many as somebody may read.

use std::time::{Duration, Instant};

/// Most lines of one writer that are logged in a window of a second: nobody reads more, and the disk would fill.
const LINES_PER_WINDOW: u32 = 200;
const WINDOW: Duration = Duration::from_secs(1);

/// Lets [`LINES_PER_WINDOW`] lines of a writer pass in each [`WINDOW`] and counts the rest. Pure: the clock is an argument.
#[derive(Debug)]
pub(crate) struct Flood {
    window: Instant,
    passed: u32,
    left_out: u32,
}

impl Flood {
    pub(crate) fn new(now: Instant) -> Self {
        Flood { window: now, passed: 0, left_out: 0 }
    }

    /// Whether one more line passes. Tells `left_out` first how many did not, if a window has ended in which some did not.
    pub(crate) fn admits_line(&mut self, now: Instant, left_out: &mut dyn FnMut(u32)) -> bool {
        if now.duration_since(self.window) >= WINDOW {
            self.tell_left_out(left_out);
            *self = Flood::new(now);
        }
        let passes = self.passed < LINES_PER_WINDOW;
        if passes {
            self.passed += 1;
        } else {
            self.left_out = self.left_out.saturating_add(1);
        }
        passes
    }

    /// Tells how many lines did not pass since that was last told, if there are any.
    pub(crate) fn tell_left_out(&mut self, left_out: &mut dyn FnMut(u32)) {
        if self.left_out > 0 {
            left_out(std::mem::take(&mut self.left_out));
        }
    }
}
