//! What was found and is not handed on yet, because whoever takes it has no room.
//!
//! One line may hold any number of messages, and what was taken for one message over several lines may turn out to be many.
//! If a stop is asked for amid them, the messages that follow are kept here: as much as was read, and no more. What is for the
//! log alone needs no room and isn't kept: noise may be millions of lines of a byte each, and each would cost as much as a message.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use super::found::Found;
use crate::frame::Ends;
use crate::mcp::envelope::{self, Lost, NotMessage};

/// Takes what is found, and says whether to go on.
pub(in crate::server) type OnFound<'a> = dyn FnMut(Found<'_>) -> ControlFlow<()> + 'a;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(in crate::server) struct Left(VecDeque<Kept>);

#[derive(Debug)]
enum Kept {
    Message(Box<[u8]>),
    Caused { cause: u64, frame: Box<[u8]> },
    Nameless(Box<[u8]>),
    Lost { id: Box<[u8]>, method: bool, why: NotMessage, text: Box<[u8]> },
    TooLarge(Ends),
    Unanswered { id: Box<[u8]>, why: Box<str> },
    Renewed,
    Modern,
}

impl Kept {
    /// `None`: it is for the log alone.
    fn of(found: &Found<'_>) -> Option<Self> {
        Some(match *found {
            Found::Message { frame, .. } => Kept::Message(frame.into()),
            Found::Caused { cause, frame, .. } => Kept::Caused { cause, frame: frame.into() },
            Found::Nameless(error) => Kept::Nameless(error.into()),
            Found::Lost(Lost { id, method, why }, text) => Kept::Lost { id: id.into(), method, why, text: text.into() },
            Found::TooLarge(cut) => Kept::TooLarge(Ends::of_cut(cut)),
            Found::Unanswered { id, why } => Kept::Unanswered { id: id.into(), why: why.into() },
            Found::Renewed => Kept::Renewed,
            Found::Modern => Kept::Modern,
            Found::Noise(_) | Found::Habit(_) | Found::Odd { .. } => return None,
        })
    }

    fn hand_on(&self, on: &mut OnFound<'_>) -> ControlFlow<()> {
        match self {
            Kept::Message(frame) => match envelope::scan_one(frame) {
                Some(envelope) => on(Found::Message { frame, envelope: &envelope }),
                None => on(Found::Noise(frame)), // a message is still one after it was kept
            },
            Kept::Caused { cause, frame } => match envelope::scan_one(frame) {
                Some(envelope) => on(Found::Caused { cause: *cause, frame, envelope: &envelope }),
                None => on(Found::Noise(frame)),
            },
            Kept::Nameless(error) => on(Found::Nameless(error)),
            Kept::Lost { id, method, why, text } => on(Found::Lost(Lost { id, method: *method, why: *why }, text)),
            Kept::TooLarge(ends) => on(Found::TooLarge(ends.cut())),
            Kept::Unanswered { id, why } => on(Found::Unanswered { id, why }),
            Kept::Renewed => on(Found::Renewed),
            Kept::Modern => on(Found::Modern),
        }
    }
}

impl Left {
    /// Hands on what was found, or keeps it once a stop was asked for. `flow`: whether a stop was asked for, before and now.
    /// So what is for the log alone may come before messages that stood in front of it.
    #[inline]
    pub(in crate::server) fn pass(&mut self, found: Found<'_>, flow: &mut ControlFlow<()>, on: &mut OnFound<'_>) {
        if flow.is_continue() && self.0.is_empty() {
            *flow = on(found);
        } else {
            *flow = ControlFlow::Break(());
            match Kept::of(&found) {
                Some(kept) => self.0.push_back(kept),
                None => {
                    let _no_room_needed = on(found);
                }
            }
        }
    }

    /// Hands on what was kept.
    pub(in crate::server) fn resume(&mut self, on: &mut OnFound<'_>) -> ControlFlow<()> {
        while let Some(kept) = self.0.pop_front() {
            kept.hand_on(on)?;
        }
        self.0 = VecDeque::new();
        ControlFlow::Continue(())
    }

    /// Whether nothing is kept.
    pub(in crate::server) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
