//! How a signal reaches the pipes whose servers take turns.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc::{Receiver, Sender, channel, error::TrySendError};

use crate::router::TurnCommand;

/// Most commands that a pipe has not yet read. A pipe reads each at once, and no person is faster.
const UNREAD: usize = 16;

/// Hands commands to all pipes that take them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Steering(Arc<Mutex<Vec<Sender<TurnCommand>>>>);

impl Steering {
    /// The commands for one more pipe, until the pipe drops the receiver.
    pub(crate) fn subscribe(&self) -> Receiver<TurnCommand> {
        let (sender, receiver) = channel(UNREAD);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        receiver
    }

    /// Tells all pipes that take turns. Returns whether there are any.
    pub(crate) fn tell(&self, command: TurnCommand) -> bool {
        let mut pipes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pipes.retain(|pipe| !matches!(pipe.try_send(command), Err(TrySendError::Closed(_))));
        !pipes.is_empty()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn every_pipe_gets_every_command_and_those_that_ended_are_forgotten() {
        let steering = Steering::default();
        assert!(!steering.tell(TurnCommand::Next));
        let (mut one, mut other) = (steering.subscribe(), steering.clone().subscribe());
        assert!(steering.tell(TurnCommand::Next) && steering.tell(TurnCommand::Keep));
        for pipe in [&mut one, &mut other] {
            assert_eq!([pipe.try_recv().unwrap(), pipe.try_recv().unwrap()], [TurnCommand::Next, TurnCommand::Keep]);
        }
        drop(one);
        assert!(steering.tell(TurnCommand::Keep));
        drop(other);
        assert!(!steering.tell(TurnCommand::Keep));
        assert!(steering.0.lock().unwrap().is_empty());
    }
}
