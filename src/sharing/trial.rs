//! Whether one connection fares better than several. Pure.
//!
//! Refusals prove less than replacements: an endpoint that dislikes one server's tools refuses as well, and would also
//! refuse the one connection that has these tools, and so all servers. So that connection is on trial at first.

use tokio::time::Instant;

use super::{ALL_TOGETHER, Close, Sighting};
use crate::mcp::cloud;

/// How many refusals in a row, soon after opening, show that the number of connections was not the reason.
const FAILED: usize = 3;

/// How the one connection fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing is settled.
    Open,
    /// The connection is refused as the others were.
    Failed,
}

/// The connection that took the place of several that were refused.
#[derive(Debug, Default)]
pub(crate) struct Trial {
    since: Option<Instant>,
    refused: usize,
}

impl Trial {
    /// Takes in what the pipe saw.
    pub(crate) fn sees(&mut self, Sighting { at, closed, .. }: Sighting) -> Outcome {
        match closed {
            None => self.since = Some(at),
            Some(Close { code: Some(cloud::CLOSE), handshaken: true, ours: false, .. }) => {
                self.since = None;
                self.refused += 1;
            }
            Some(_) => self.since = None,
        }
        if self.refused < FAILED { Outcome::Open } else { Outcome::Failed }
    }

    /// When the connection will have passed, if it stands until then; `None` while none stands.
    pub(crate) fn passes_at(&self) -> Option<Instant> {
        self.since.map(|since| since + ALL_TOGETHER)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::link::cause::Takeover;

    #[test]
    fn three_refusals_in_a_row_fail_and_a_minute_passes() {
        let mut trial = Trial::default();
        let start = Instant::now();
        let mut sees = |seconds, closed| {
            let outcome = trial.sees(Sighting { who: 0, at: start + Duration::from_secs(seconds), closed });
            (outcome, trial.passes_at().map(|at| (at - start).as_secs()))
        };
        let takeover = Takeover::Unlikely;
        let closed = |code| Some(Close { code, takeover, handshaken: true, ours: false });
        assert_eq!(sees(0, None), (Outcome::Open, Some(60)));
        assert_eq!(sees(1, closed(None)), (Outcome::Open, None), "a network's fault says nothing");
        for seconds in [2, 4] {
            assert_eq!(sees(seconds, None), (Outcome::Open, Some(seconds + 60)));
            assert_eq!(sees(seconds + 1, closed(Some(4004))), (Outcome::Open, None));
        }
        assert_eq!(sees(6, None).0, Outcome::Open);
        assert_eq!(sees(7, closed(Some(4004))).0, Outcome::Failed);
    }
}
