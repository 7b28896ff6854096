//! What carries the messages of one peer: a link, which we make and make anew, or a guest, who came and will leave.

use std::task::{Context, Poll, Waker};

use tokio::time::Instant;
use tracing::warn;

use super::links::LinkSide;
use crate::guest::Guest;
use crate::link::{Link, OnLinkEvent};
use crate::net::websocket::Outgoing;

/// Why the connection of an endpoint is closed that keeps others waiting, as [`Link::hang_up`] takes it.
pub(super) const TOO_SLOW: &str = "because the endpoint reads too slowly, and others share its servers";

/// See the module's documentation. What is said of connections that are made anew is nothing to a guest.
pub(super) enum Carrier {
    Link(Box<Link>),
    Guest(Guest),
}

impl Carrier {
    /// Drives everything but writing. Ready when no message will come any more.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        read: bool,
        out: &mut Outgoing,
        on: &mut OnLinkEvent<'_>,
    ) -> Poll<()> {
        match self {
            Carrier::Link(link) => link.poll(cx, now, read, out, on),
            Carrier::Guest(guest) => guest.poll(cx, read, out, on),
        }
    }

    /// Writes what is taken now; ready when nothing is left.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, out: &mut Outgoing) -> Poll<()> {
        match self {
            Carrier::Link(link) => link.poll_write(cx, out),
            Carrier::Guest(guest) => guest.poll_write(cx, out),
        }
    }

    /// The link, of which there may be a connection after this one.
    pub(super) fn link(&mut self) -> Option<&mut Link> {
        match self {
            Carrier::Link(link) => Some(link),
            Carrier::Guest(_) => None,
        }
    }

    /// Whether a guest only waits for what is owed to it.
    pub(super) fn only_listens(&self) -> bool {
        matches!(self, Carrier::Guest(guest) if guest.only_listens())
    }

    /// Closes a connection that keeps others waiting, where one stands.
    pub(super) fn hang_up(&mut self, side: &mut LinkSide) {
        match self {
            Carrier::Link(link) => {
                let _none_stood = link.hang_up(&mut side.out, TOO_SLOW);
            }
            Carrier::Guest(guest) if guest.is_closed() => {}
            Carrier::Guest(guest) => {
                warn!(event = "CLIENT_SLOW", servers = ?side.names, "reads too slowly, and others share its servers: its conversation is ended");
                guest.close();
            }
        }
    }

    /// Ends it for good, with a farewell where there is one, after what is left to be written, if that is taken. To be polled on until it
    /// is ready.
    pub(super) fn close(&mut self, out: &mut Outgoing) {
        match self {
            Carrier::Link(link) => link.close(out),
            Carrier::Guest(guest) => {
                let _pending = guest.poll_write(&mut Context::from_waker(Waker::noop()), out);
                guest.close();
            }
        }
    }

    /// Drops it for good, with a farewell if that can be written without waiting.
    pub(super) fn cut(&mut self, out: &mut Outgoing) {
        match self {
            Carrier::Link(link) => link.cut(out),
            Carrier::Guest(guest) => guest.close(),
        }
    }

    /// Drops it for good.
    pub(super) fn abort(&mut self) {
        match self {
            Carrier::Link(link) => link.abort(),
            Carrier::Guest(guest) => guest.close(),
        }
    }

    /// Has no connection follow this one.
    pub(super) fn dial_no_more(&mut self) {
        if let Carrier::Link(link) = self {
            link.dial_no_more();
        }
    }
}
