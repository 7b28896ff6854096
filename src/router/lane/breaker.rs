//! Whether a server that gives no answers is asked: a circuit breaker. Pure.
//!
//! *Closed*: all calls go to the server, and those in a row that got no answer are counted. *Open*: none does, for a time. Then
//! *half-open*: one call tries whether the server answers again, and what becomes of that one decides.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::BreakerSpec;
use crate::words::{counted, span};

/// How a circuit is, for whoever wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Circuit {
    /// Calls go to the server.
    Closed,
    /// No call does.
    Open {
        /// So many calls in a row got no answer.
        failures: usize,
        /// For how long none does.
        open_for: Duration,
    },
    /// The next call tries whether the server answers again.
    HalfOpen,
}

impl fmt::Display for Circuit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Circuit::Closed => f.write_str("its circuit is closed: it answers again, and gets all calls"),
            Circuit::Open { failures, open_for } => write!(
                f,
                "its circuit is open (circuitBreaker): {} got no answer, so it gets none for {}",
                if *failures == 1 { "a call".to_owned() } else { format!("{} in a row", counted(*failures, "call")) },
                span(*open_for)
            ),
            Circuit::HalfOpen => f.write_str("its circuit is half-open: the next call tries whether it answers again"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// How many calls in a row got no answer.
    Closed { failures: usize },
    /// After so many failures.
    Open { until: Instant, failures: usize },
    /// `trial`: the call that tries, if one is under way.
    HalfOpen { trial: Option<u64>, failures: usize },
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Breaker {
    spec: BreakerSpec,
    state: State,
}

/// Why a call is not passed on, in words that follow the server's name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    failures: usize,
    /// For how long no call is; `None` while another one tries.
    again_in: Option<Duration>,
}

impl Breaker {
    pub(super) fn new(spec: BreakerSpec) -> Self {
        Breaker { spec, state: State::Closed { failures: 0 } }
    }

    /// From now on, this counts.
    pub(super) fn set(&mut self, spec: BreakerSpec) {
        self.spec = spec;
    }

    pub(super) fn spec(&self) -> BreakerSpec {
        self.spec
    }

    pub(super) fn circuit(&self) -> Circuit {
        match self.state {
            State::Closed { .. } => Circuit::Closed,
            State::Open { failures, .. } => Circuit::Open { failures, open_for: self.spec.open_for },
            State::HalfOpen { .. } => Circuit::HalfOpen,
        }
    }

    /// Whether no call is passed on for now.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. } | State::HalfOpen { trial: Some(_), .. })
    }

    /// Why a call is not passed on; `None` if it is.
    pub(super) fn refuses(&self, now: Instant) -> Option<Refusal> {
        let (again_in, failures) = match self.state {
            State::Closed { .. } | State::HalfOpen { trial: None, .. } => return None,
            State::Open { until, failures } => (Some(until.saturating_duration_since(now)), failures),
            State::HalfOpen { trial: Some(_), failures } => (None, failures),
        };
        Some(Refusal { failures, again_in })
    }

    /// A call is on its way to the server, under this number.
    pub(super) fn sent(&mut self, number: u64) {
        if let State::HalfOpen { trial, .. } = &mut self.state {
            *trial = Some(number);
        }
    }

    /// Nobody waits for the answer to a call any more: another one may try.
    pub(super) fn withdrawn(&mut self, number: u64) {
        if let State::HalfOpen { trial, .. } = &mut self.state {
            trial.take_if(|it| *it == number);
        }
    }

    /// The server has answered a call, whatever the answer was. Returns how the circuit is where that is news.
    pub(super) fn answered(&mut self) -> Option<Circuit> {
        match &mut self.state {
            State::Closed { failures } => {
                *failures = 0;
                None
            }
            // Of a call from before: whether it answers now is not known.
            State::Open { .. } => None,
            State::HalfOpen { .. } => {
                self.state = State::Closed { failures: 0 };
                Some(Circuit::Closed)
            }
        }
    }

    /// A call got no answer. Returns how the circuit is where that is news.
    pub(super) fn failed(&mut self, now: Instant) -> Option<Circuit> {
        let failures = match self.state {
            State::Closed { failures } if failures + 1 < self.spec.failures => {
                self.state = State::Closed { failures: failures + 1 };
                return None;
            }
            State::Closed { failures } | State::HalfOpen { failures, .. } => failures + 1,
            State::Open { .. } => return None,
        };
        self.state = State::Open { until: now + self.spec.open_for, failures };
        Some(self.circuit())
    }

    /// When [`Breaker::tick`] wants to be called.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.state {
            State::Open { until, .. } => Some(until),
            State::Closed { .. } | State::HalfOpen { .. } => None,
        }
    }

    /// Lets a call try once the time is over. Returns how the circuit is where that is news.
    pub(super) fn tick(&mut self, now: Instant) -> Option<Circuit> {
        let State::Open { until, failures } = self.state else { return None };
        if until > now {
            return None;
        }
        self.state = State::HalfOpen { trial: None, failures };
        Some(Circuit::HalfOpen)
    }

    /// A person says that the server is well. Returns how the circuit is where that is news.
    pub(super) fn reset(&mut self) -> Option<Circuit> {
        let was = self.circuit();
        self.state = State::Closed { failures: 0 };
        (was != Circuit::Closed).then_some(Circuit::Closed)
    }
}

impl Refusal {
    /// The error for a call to the server of this name, with the command that has it asked at once.
    pub(super) fn words(&self, server: &str) -> String {
        let argument = crate::router::bar::argument(server);
        let after = if self.failures == 1 {
            "a call got no answer".to_owned()
        } else {
            format!("{} in a row got no answer", counted(self.failures, "call"))
        };
        let until = match self.again_in {
            Some(left) => format!("it is asked again in {}", span(left)),
            None => "one call tries just now whether it answers again".to_owned(),
        };
        format!(
            "the circuit of server \"{server}\" is open: {after} (circuitBreaker), and {until}; mcp-pipe reset {argument} \
             has it asked at once"
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn breaker(failures: usize) -> Breaker {
        Breaker::new(BreakerSpec { failures, open_for: 30 * SECOND })
    }

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_open_it_and_one_call_decides_after_its_time() {
        let (mut it, now) = (breaker(3), Instant::now());
        for _ in 0..2 {
            assert_eq!(it.failed(now), None);
        }
        assert_eq!(it.answered(), None);
        for _ in 0..2 {
            assert_eq!(it.failed(now), None, "an answer in between begins the count anew");
        }
        assert_eq!(it.failed(now), Some(Circuit::Open { failures: 3, open_for: 30 * SECOND }));
        let told = it.refuses(now + 10 * SECOND).map(|refusal| refusal.words("my calc"));
        let said = "the circuit of server \"my calc\" is open: 3 calls in a row got no answer (circuitBreaker), and it is asked \
                    again in 20.0 s; mcp-pipe reset 'my calc' has it asked at once";
        assert_eq!(told.as_deref(), Some(said));
        assert_eq!((it.failed(now), it.answered(), it.tick(now + 29 * SECOND)), (None, None, None));
        assert_eq!(it.due(), Some(now + 30 * SECOND));
        assert_eq!(it.tick(now + 30 * SECOND), Some(Circuit::HalfOpen));
        assert_eq!((it.due(), it.refuses(now)), (None, None));
        it.sent(7);
        assert!(it.refuses(now).is_some(), "one tries, and no more");
        it.withdrawn(6);
        assert!(it.refuses(now).is_some());
        it.withdrawn(7);
        assert_eq!(it.refuses(now), None, "whoever tried has gone: another one may");
        it.sent(8);
        let later = now + 31 * SECOND;
        assert!(matches!(it.failed(later), Some(Circuit::Open { .. })));
        assert_eq!(it.due(), Some(later + 30 * SECOND));
        assert_eq!(it.tick(later + 30 * SECOND), Some(Circuit::HalfOpen));
        it.sent(9);
        assert_eq!((it.answered(), it.refuses(now)), (Some(Circuit::Closed), None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_person_closes_it() {
        let (mut it, now) = (breaker(1), Instant::now());
        assert_eq!(it.reset(), None);
        assert!(matches!(it.failed(now), Some(Circuit::Open { .. })));
        assert_eq!((it.reset(), it.refuses(now), it.due()), (Some(Circuit::Closed), None, None));
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Call,
        Answer,
        Fail,
        Withdraw,
        Wait(u8),
        Reset,
    }

    proptest! {
        #[test]
        fn it_never_stays_shut_and_never_lets_two_try(
            steps in proptest::collection::vec(
                prop_oneof![
                    Just(Step::Call), Just(Step::Answer), Just(Step::Fail), Just(Step::Withdraw),
                    (0..40_u8).prop_map(Step::Wait), Just(Step::Reset),
                ],
                0..200,
            ),
            most in 1..4_usize,
        ) {
            let (mut it, mut now, mut number) = (breaker(most), Instant::now(), 0);
            let mut under_way = std::collections::VecDeque::new();
            for step in steps {
                match step {
                    Step::Call => {
                        if it.refuses(now).is_none() {
                            let trials = it.circuit() == Circuit::HalfOpen;
                            number += 1;
                            it.sent(number);
                            under_way.push_back(number);
                            prop_assert!(!trials || it.refuses(now).is_some());
                        }
                    }
                    Step::Answer => {
                        if under_way.pop_front().is_some() {
                            it.answered();
                        }
                    }
                    Step::Fail => {
                        if under_way.pop_front().is_some() {
                            it.failed(now);
                        }
                    }
                    Step::Withdraw => {
                        if let Some(number) = under_way.pop_front() {
                            it.withdrawn(number);
                        }
                    }
                    Step::Wait(seconds) => {
                        now += u32::from(seconds) * SECOND;
                        it.tick(now);
                    }
                    Step::Reset => {
                        it.reset();
                    }
                }
                prop_assert!(it.due().is_none_or(|due| due > now && due <= now + 30 * SECOND));
            }
            // Whatever has been: once all calls are over and the time as well, the next one is passed on.
            for number in under_way {
                it.withdrawn(number);
            }
            it.tick(now + 30 * SECOND);
            prop_assert!(it.refuses(now + 30 * SECOND).is_none());
        }
    }
}
