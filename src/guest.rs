//! A peer that came to us, as one conversation over a stream of lines: from its first message to its last, without a second try.
//!
//! What carries the lines is whoever let the peer in: a part of this program that speaks HTTP or WebSocket with the peer, or a
//! socket to another process. Like a link, a guest has no task of its own, and says what comes as a [`LinkEvent`].

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::AsyncWrite;
use tokio::sync::oneshot;

use crate::chunk::poll_chunk;
use crate::frame::{Line, LineIn};
use crate::link::{LinkEvent, OnLinkEvent};
use crate::net::websocket::Outgoing;
use crate::passage::{Passage, passage};

/// Most bytes of a conversation that wait between a guest and whoever carries it on, each way, beside those that either holds.
pub(crate) const BETWEEN: usize = 64 * 1024;

/// Most reads in a row before others have their turn.
const READS: usize = 2;

/// Our end of a conversation that is to begin.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub lines: Passage,
    stays: oneshot::Receiver<Infallible>,
}

/// The other end, for whoever carries the conversation on.
#[derive(Debug)]
pub(crate) struct Visitor {
    pub lines: Passage,
    /// As long as this is there, a guest that says no more waits for its answers; else nobody wants them.
    pub stays: oneshot::Sender<Infallible>,
}

/// Both ends of a conversation.
pub(crate) fn ends() -> (Arrival, Visitor) {
    let ((ours, theirs), (stays, waits)) = (passage(BETWEEN), oneshot::channel());
    (Arrival { lines: ours, stays: waits }, Visitor { lines: theirs, stays })
}

/// See the module's documentation.
pub(crate) struct Guest {
    /// `None` once the conversation has ended, which is how the other end learns of that.
    lines: Option<Passage>,
    stays: oneshot::Receiver<Infallible>,
    incoming: LineIn,
    phase: GuestPhase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GuestPhase {
    /// Nobody knows of the guest yet.
    New,
    Open,
    /// The guest says no more, and waits for what is owed to it.
    Listening,
    Closed,
}

impl Guest {
    /// A guest whose messages have so many bytes at most.
    pub(crate) fn new(arrival: Arrival, max_frame: usize) -> Self {
        let Arrival { lines, stays } = arrival;
        Guest { lines: Some(lines), stays, incoming: LineIn::new(max_frame, |_| true), phase: GuestPhase::New }
    }

    /// Whether the guest only waits for its answers.
    pub(crate) fn only_listens(&self) -> bool {
        self.phase == GuestPhase::Listening
    }

    /// Whether the conversation is over.
    pub(crate) fn is_closed(&self) -> bool {
        self.phase == GuestPhase::Closed
    }

    /// Ends the conversation. The guest is to be polled on until it is ready.
    pub(crate) fn close(&mut self) {
        self.phase = GuestPhase::Closed;
    }

    /// Drives everything but writing, as a link is driven. Ready when the conversation has ended.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut read: bool,
        out: &mut Outgoing,
        on: &mut OnLinkEvent<'_>,
    ) -> Poll<()> {
        if self.phase == GuestPhase::New {
            self.phase = GuestPhase::Open;
            read &= on(out, LinkEvent::Up(Duration::ZERO)).is_continue();
        }
        for _ in 0..READS {
            if self.phase == GuestPhase::Listening && Pin::new(&mut self.stays).poll(cx).is_ready() {
                self.phase = GuestPhase::Closed;
            }
            if self.phase == GuestPhase::Closed {
                self.lines = None;
            }
            let Some(lines) = &mut self.lines else { return Poll::Ready(()) };
            let mut hand_on = |line: Line<'_>| hand_on(line, out, on);
            if !read || self.incoming.resume(&mut hand_on).is_break() || self.phase == GuestPhase::Listening {
                return Poll::Pending;
            }
            let mut flow = ControlFlow::Continue(());
            let incoming = &mut self.incoming;
            match poll_chunk(lines, cx, &mut |chunk| flow = incoming.feed(chunk, &mut hand_on)) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(1..)) if flow.is_break() => return Poll::Pending,
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0)) => self.phase = GuestPhase::Listening,
                Poll::Ready(Err(_)) => self.phase = GuestPhase::Closed,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes what the guest takes now; ready when nothing is left. One that takes nothing any more has ended.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, out: &mut Outgoing) -> Poll<()> {
        while !out.pending().is_empty() {
            let Some(lines) = self.lines.as_mut().filter(|_| self.phase != GuestPhase::Closed) else {
                out.clear(); // nobody will ever read these bytes
                break;
            };
            match Pin::new(lines).poll_write(cx, out.pending()) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(n @ 1..)) => out.advance(n),
                Poll::Ready(Ok(0) | Err(_)) => {
                    self.phase = GuestPhase::Closed;
                    cx.waker().wake_by_ref(); // the end can be reported
                }
            }
        }
        Poll::Ready(())
    }
}

fn hand_on(line: Line<'_>, out: &mut Outgoing, on: &mut OnLinkEvent<'_>) -> ControlFlow<()> {
    match line {
        Line::Frame(text) => match std::str::from_utf8(text) {
            Ok(text) => on(out, LinkEvent::Message(text)),
            Err(_) => on(out, LinkEvent::NotText(text)),
        },
        Line::Repaired(text) | Line::Part { text, .. } => on(out, LinkEvent::NotText(text)),
        Line::TooLarge(cut) => on(out, LinkEvent::TooLarge(cut)),
    }
}
