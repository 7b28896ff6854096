//! One request of the modern era on its way: drives its conversation with the pipe, until there is something for the client.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::time::Instant;

use super::call::Step;
use super::held::{Held, Leg};
use super::stamp::Last;
use crate::gateway::sessions::{Scope, random_id};

/// What there is for the client.
#[derive(Debug)]
pub(super) enum Next {
    /// More follows.
    Note(Bytes),
    /// Nothing follows.
    Last(Last),
}

/// See the module's documentation. With this the request is given up.
#[derive(Debug)]
pub(super) struct Turn {
    /// `None` once the request is answered.
    leg: Option<Leg>,
    scope: Scope,
    held: Arc<Held>,
}

impl Turn {
    pub(super) fn of(leg: Leg, scope: Scope, held: Arc<Held>) -> Self {
        Turn { leg: Some(leg), scope, held }
    }

    /// What comes next; `None`: the request is answered.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Next>> {
        loop {
            let Some(Leg { talk, call }) = &mut self.leg else { return Poll::Ready(None) };
            let mut step = Step::Nothing;
            let polled = talk.poll_lines(cx, &mut |line| {
                step = call.on_line(line);
                if step == Step::Nothing { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            match step {
                Step::Nothing => {}
                Step::Say(messages) => {
                    messages.iter().for_each(|message| talk.say(&[message]));
                    continue;
                }
                Step::Note(note) => return Poll::Ready(Some(Next::Note(note))),
                Step::Last(last) => {
                    self.leg = None;
                    return Poll::Ready(Some(Next::Last(last)));
                }
            }
            match polled {
                Poll::Ready(true) => {}
                Poll::Ready(false) => {
                    let last = call.lost();
                    self.leg = None;
                    return Poll::Ready(Some(Next::Last(last)));
                }
                // What servers ask together is asked in one round.
                Poll::Pending if call.is_asked() && talk.is_said() => {
                    return Poll::Ready(self.hold().map(Next::Last));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Has the conversation wait for the client's answers.
    fn hold(&mut self) -> Option<Last> {
        let leg = self.leg.take()?;
        let state = random_id();
        let question = leg.call.question(&state);
        self.held.keep(state, &self.scope, leg, Instant::now());
        Some(question)
    }
}
