//! What the circuit breaker of a server does in its lane, as `breaker` decides.

use super::breaker::{Breaker, Circuit};
use super::*;

impl Lane {
    /// From now on, this says when the server is not asked.
    pub(in crate::router) fn break_by(&mut self, spec: Option<BreakerSpec>) {
        match (&mut self.breaker, spec) {
            (Some(breaker), Some(spec)) => breaker.set(spec),
            (_, spec) => self.breaker = spec.map(|spec| Box::new(Breaker::new(spec))),
        }
    }

    /// When [`Lane::tick`] wants to be called because of the circuit.
    pub(in crate::router) fn circuit_due(&self) -> Option<Instant> {
        self.breaker.as_ref()?.due()
    }

    /// Something has become of the circuit.
    fn tell_circuit(&self, news: Option<Circuit>, out: &mut dyn Out) {
        if let Some(circuit) = news {
            out.note(Note::of(self.index, What::Circuit(circuit)));
        }
    }

    /// The server has answered a call.
    #[inline]
    pub(in crate::router) fn call_answered(&mut self, call: &Call, out: &mut dyn Out) {
        if let Some(breaker) = self.breaker.as_mut().filter(|_| is_work(call.method())) {
            let news = breaker.answered();
            self.tell_circuit(news, out);
        }
    }

    /// A call, or several for the same reason, got no answer of the server, but this.
    pub(in crate::router) fn call_failed(&mut self, outcome: Outcome, now: Instant, out: &mut dyn Out) {
        let Some(breaker) = &mut self.breaker else { return };
        let news = match outcome {
            Outcome::Timeout | Outcome::ServerDown => breaker.failed(now),
            // Something has come.
            Outcome::Ok | Outcome::ToolError | Outcome::RpcError | Outcome::TooLarge => breaker.answered(),
            Outcome::Cancelled | Outcome::Refused => None,
        };
        self.tell_circuit(news, out);
    }

    /// Whoever commands something of the server wants it to be asked.
    pub(super) fn reset_circuit(&mut self, out: &mut dyn Out) {
        let news = self.breaker.as_mut().and_then(|breaker| breaker.reset());
        self.tell_circuit(news, out);
    }

    /// Lets a call try once the time is over for which none did.
    pub(super) fn check_circuit(&mut self, now: Instant, out: &mut dyn Out) {
        let news = self.breaker.as_mut().and_then(|breaker| breaker.tick(now));
        self.tell_circuit(news, out);
    }

    /// Whether the server gets no calls for now.
    pub(super) fn is_cut_off(&self) -> bool {
        self.breaker.as_ref().is_some_and(|breaker| breaker.is_open())
    }
}
