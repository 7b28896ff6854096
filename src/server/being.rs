//! What carries the messages of one life: a process, a conversation over HTTP, or a connection by which the server has come.

use std::borrow::Cow;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::comer::Comer;
use super::remote::Remote;
use super::stderr::Noted;
use super::stdio::Process;
use super::stdout::OnFound;
use crate::error::FaultCode;
use crate::frame::LineOut;

/// What a server is while it lives.
pub(super) enum Being {
    Process(Box<Process>),
    Remote(Box<Remote>),
    Comer(Box<Comer>),
}

/// How a life of a server has ended.
pub(super) struct End {
    /// How, in a few words.
    pub(super) why: String,
    /// The last lines of its stderr, as one line.
    pub(super) tail: String,
    /// Whether its process was sent a signal before it ended.
    pub(super) signalled: bool,
    /// What kind of fault that is, and whether the server had answered before, where it was no process.
    pub(super) remote: Option<(FaultCode, bool)>,
    /// What kind of fault that is, where a limit of its process has come of it.
    pub(super) limit: Option<FaultCode>,
    /// How long the server asks to be left alone.
    pub(super) retry_after: Duration,
}

impl Being {
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        read: bool,
        on: &mut OnFound<'_>,
        log: &mut dyn FnMut(Noted<'_>),
    ) -> Poll<()> {
        match self {
            Being::Process(process) => process.poll(cx, now, read, on, log),
            Being::Remote(remote) => remote.poll(cx, now, read, on),
            Being::Comer(comer) => comer.poll(cx, now, read, on),
        }
    }

    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, out: &mut LineOut) -> Poll<()> {
        match self {
            Being::Process(process) => process.poll_write(cx, out),
            Being::Remote(remote) => remote.poll_write(cx, out),
            Being::Comer(comer) => comer.poll_write(cx, out),
        }
    }

    pub(super) fn stop(&mut self, now: bool) {
        match self {
            Being::Process(process) => process.stop(now),
            Being::Remote(remote) => remote.stop(now),
            Being::Comer(comer) => comer.stop(),
        }
    }

    pub(super) fn fail(&mut self, fault: Cow<'static, str>) {
        match self {
            Being::Process(process) => process.condemn(fault),
            Being::Remote(remote) => remote.fail(fault),
            Being::Comer(comer) => comer.fail(fault),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        match self {
            Being::Process(process) => process.is_up(),
            Being::Remote(remote) => remote.is_up(),
            Being::Comer(comer) => comer.is_up(),
        }
    }

    pub(super) fn pid(&self) -> Option<u32> {
        match self {
            Being::Process(process) => Some(process.pid()),
            Being::Remote(_) | Being::Comer(_) => None,
        }
    }

    /// Whether it is a process that says nothing here, and says on stderr that it serves over HTTP.
    pub(super) fn seems_for_http(&self) -> bool {
        match self {
            Being::Process(process) => process.seems_for_http(),
            Being::Remote(_) | Being::Comer(_) => false,
        }
    }

    pub(super) fn end(&self) -> End {
        match self {
            Being::Process(process) => {
                let ((why, tail, limit), signalled) = (process.obituary(), process.was_signalled());
                End { why, tail, signalled, remote: None, limit, retry_after: Duration::ZERO }
            }
            Being::Remote(remote) => {
                let end = remote.obituary();
                let of_remote = Some((end.fault, remote.has_begun()));
                let (tail, signalled, retry_after) = (String::new(), false, end.retry_after);
                End { why: end.why, tail, signalled, remote: of_remote, limit: None, retry_after }
            }
            Being::Comer(comer) => {
                let (tail, signalled, retry_after) = (String::new(), false, Duration::ZERO);
                End { why: comer.obituary(), tail, signalled, remote: None, limit: None, retry_after }
            }
        }
    }
}
