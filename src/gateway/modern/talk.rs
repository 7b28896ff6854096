//! The lines that a guest and the pipe say to each other. With this the guest is gone, and what it has asked for is cancelled.

use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

use crate::chunk::poll_chunk;
use crate::frame::{Line, LineIn, LineOut};
use crate::passage::Passage;

/// See the module's documentation.
pub(super) struct Talk {
    lines: Passage,
    incoming: LineIn,
    outgoing: LineOut,
}

impl std::fmt::Debug for Talk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Talk").finish_non_exhaustive()
    }
}

impl Talk {
    pub(super) fn over(lines: Passage) -> Self {
        // What the pipe hands on is bounded there.
        Talk { lines, incoming: LineIn::new(usize::MAX / 2, |_| true), outgoing: LineOut::new() }
    }

    /// Says a message: it goes out while lines are asked for.
    pub(super) fn say(&mut self, message: &[&[u8]]) {
        self.outgoing.push(message);
    }

    /// Whether the pipe has taken all that was said.
    pub(super) fn is_said(&self) -> bool {
        self.outgoing.is_empty()
    }

    /// Writes what the pipe takes now, and hands on what it says until `on` has enough. Ready with false: the pipe has ended the
    /// conversation.
    pub(super) fn poll_lines(
        &mut self,
        cx: &mut Context<'_>,
        on: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Poll<bool> {
        while !self.outgoing.is_empty() {
            match Pin::new(&mut self.lines).poll_write(cx, self.outgoing.pending()) {
                Poll::Ready(Ok(written @ 1..)) => self.outgoing.advance(written),
                // What the pipe has said before is still to be read.
                Poll::Ready(Ok(0) | Err(_)) => self.outgoing.clear(),
                Poll::Pending => break,
            }
        }
        let mut take = |line: Line<'_>| match line {
            Line::Frame(text) => on(text),
            Line::Repaired(_) | Line::Part { .. } | Line::TooLarge(_) => ControlFlow::Continue(()),
        };
        if self.incoming.resume(&mut take).is_break() {
            return Poll::Ready(true);
        }
        loop {
            let (mut flow, incoming) = (ControlFlow::Continue(()), &mut self.incoming);
            match poll_chunk(&mut self.lines, cx, &mut |chunk| flow = incoming.feed(chunk, &mut take)) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(1..)) if flow.is_break() => return Poll::Ready(true),
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(false),
            }
        }
    }
}
