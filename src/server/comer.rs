//! A server that has come by itself, over a stream of lines: its only life, which is as long as the stream.
//!
//! What carries the lines is whoever let the server in. Either end of the stream ends the life: ours says that nobody listens any
//! more, and the other one that the server is gone. What it had said by then is still handed on.

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite as _;
use tokio::time::Instant;

use super::stdout::{OnFound, Stdout};
use crate::chunk::poll_chunk;
use crate::frame::LineOut;
use crate::passage::Passage;

/// Most reads in a row before others have their turn.
const READS: usize = 2;

/// See the module's documentation.
pub(super) struct Comer {
    /// `None` once the stream has ended, which is how the other end learns of that.
    lines: Option<Passage>,
    said: Stdout,
    /// What it did that we let it go for.
    fault: Option<Cow<'static, str>>,
}

impl Comer {
    /// A server whose messages have so many bytes at most.
    pub(super) fn new(lines: Passage, max_frame: usize, now: Instant) -> Self {
        Comer { lines: Some(lines), said: Stdout::new(max_frame, now), fault: None }
    }

    pub(super) fn is_up(&self) -> bool {
        self.lines.is_some()
    }

    /// Why the life has ended, in a few words.
    pub(super) fn obituary(&self) -> String {
        self.fault.as_deref().unwrap_or("closed its connection").to_owned()
    }

    /// Ends the life. To be followed by a poll.
    pub(super) fn stop(&mut self) {
        self.lines = None;
    }

    /// Ends the life because of something that the server did. To be followed by a poll.
    pub(super) fn fail(&mut self, fault: Cow<'static, str>) {
        if self.lines.take().is_some() {
            self.fault = Some(fault);
        }
    }

    /// Drives everything but writing. Ready when the life is over, and all that was said is handed on.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, now: Instant, read: bool, on: &mut OnFound<'_>) -> Poll<()> {
        if read && self.poll_lines(cx, now, on).is_break() {
            return Poll::Pending;
        }
        if self.said.is_paused() {
            cx.waker().wake_by_ref();
        }
        if self.lines.is_some() || self.said.has_rest() { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Reads a bounded part of what is there.
    fn poll_lines(&mut self, cx: &mut Context<'_>, now: Instant, on: &mut OnFound<'_>) -> ControlFlow<()> {
        self.said.resume(now, on)?;
        for _ in 0..READS {
            let Some(lines) = &mut self.lines else { return ControlFlow::Continue(()) };
            let (said, mut flow) = (&mut self.said, ControlFlow::Continue(()));
            match poll_chunk(lines, cx, &mut |chunk| flow = said.feed(chunk, now, on)) {
                Poll::Pending => return ControlFlow::Continue(()),
                Poll::Ready(Ok(1..)) => flow?,
                Poll::Ready(Ok(0) | Err(_)) => {
                    self.lines = None;
                    return self.said.end(now, on);
                }
            }
        }
        cx.waker().wake_by_ref();
        ControlFlow::Continue(())
    }

    /// Writes what the server takes now. Ready when nothing is left. One that takes nothing any more may still have said something.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, out: &mut LineOut) -> Poll<()> {
        while !out.is_empty() {
            let Some(lines) = &mut self.lines else { return Poll::Pending };
            match ready!(Pin::new(lines).poll_write(cx, out.pending())) {
                Ok(n @ 1..) => out.advance(n),
                // The end of what it has said follows.
                Ok(0) | Err(_) => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(())
    }
}
