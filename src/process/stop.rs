//! The two-step stop: first finish what is under way, then at once.

use tokio_util::sync::CancellationToken;

/// The stop of everything to which a clone is handed. The first signal asks to drain, the second to stop at once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    drain: CancellationToken,
    now: CancellationToken,
}

impl Stop {
    /// A stop of which neither step has been asked for.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Asks for the next step: drain, then now.
    pub(crate) fn advance(&self) {
        if self.drain.is_cancelled() {
            self.now.cancel();
        }
        self.drain.cancel();
    }

    /// Cancelled as soon as no new work is to be taken.
    pub(crate) fn drain(&self) -> &CancellationToken {
        &self.drain
    }

    /// Cancelled as soon as nothing is to be waited for. Implies [`Stop::drain`].
    pub(crate) fn now(&self) -> &CancellationToken {
        &self.now
    }
}
