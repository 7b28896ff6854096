//! The two-step stop: first finish what is under way, then at once.

use tokio_util::sync::CancellationToken;

/// Handed to everything that runs. The first signal asks to drain, the second to stop at once.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    drain: CancellationToken,
    now: CancellationToken,
}

impl Stop {
    /// Neither step has been asked for.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for the next step: drain, then now.
    pub fn advance(&self) {
        if self.drain.is_cancelled() {
            self.now.cancel();
        }
        self.drain.cancel();
    }

    /// For a part of the whole: takes each step when this one does, and can be asked for it apart.
    pub fn child(&self) -> Stop {
        Stop { drain: self.drain.child_token(), now: self.now.child_token() }
    }

    /// Cancelled as soon as no new work is to be taken.
    pub fn drain(&self) -> &CancellationToken {
        &self.drain
    }

    /// Cancelled when nothing is to be waited for any more. Implies [`Stop::drain`].
    pub fn now(&self) -> &CancellationToken {
        &self.now
    }
}
