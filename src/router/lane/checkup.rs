//! What the health check of a server does in its lane, as `health` decides.

use super::health::{Answer, Checked, FAILURES, Health, Step};
use super::*;

/// What is said of a server that is replaced as it has failed.
const FAILED: &str = "failed its health check";

impl Lane {
    /// Has the server checked like this from now on, or no more. Returns whether that is another way than before.
    pub(in crate::router) fn set_health(&mut self, terms: Option<&HealthCheck>, out: &mut dyn Out) {
        if self.health.as_deref().map(Health::terms) == terms {
            return;
        }
        let before = std::mem::replace(&mut self.health, terms.map(|terms| Box::new(Health::new(terms.clone()))));
        if before.is_some() {
            out.note(Note::of(self.index, What::Checked(Checked::Ended)));
        }
    }

    /// When the check has something to do. Only a server is asked that is ready, and takes calls if it is up to a person.
    pub(in crate::router) fn health_due(&self) -> Option<Instant> {
        let health = self.health.as_deref()?;
        let ready = self.started.filter(|_| self.is_ready() && self.bar.is_none())?;
        Some(health.due(ready))
    }

    /// Does what is due of the check. Returns why the server is to be replaced, if it is.
    pub(in crate::router) fn check_health(&mut self, now: Instant, out: &mut dyn Out) -> Option<String> {
        if self.health_due().is_none_or(|at| at > now) {
            return None;
        }
        self.abandoned.expire(now);
        let (works, reads) = (self.works(), !self.busy);
        let step = self.health.as_deref_mut()?.look(now, works, reads);
        self.take_step(step, out)
    }

    /// The server has answered a question of the check, or will not. What is returned is that of [`Lane::check_health`].
    pub(in crate::router) fn checked(
        &mut self,
        number: u32,
        answer: Answer<'_>,
        now: Instant,
        out: &mut dyn Out,
    ) -> Option<String> {
        let step = self.health.as_deref_mut()?.answered(number, answer, now);
        self.take_step(step, out)
    }

    fn take_step(&mut self, step: Step, out: &mut dyn Out) -> Option<String> {
        match step {
            Step::Wait => None,
            Step::Ask(number, method, params) => {
                self.send(Flight::Check(number), method, Some(&params), out);
                None
            }
            Step::Tell(checked) => {
                let restarts = self.health.as_deref().is_some_and(|health| health.terms().restart);
                // What is under way there may still be answered.
                let why = match &checked {
                    Checked::Failed { failures, why } if restarts && failures.times >= FAILURES && !self.works() => {
                        Some(format!("{FAILED} {} times in a row: {why}", failures.times))
                    }
                    Checked::Failed { .. } | Checked::Well { .. } | Checked::Busy { .. } => None,
                    Checked::Unlisted { .. } | Checked::Ended => None,
                };
                out.note(Note::of(self.index, What::Checked(checked)));
                why
            }
        }
    }

    /// Whether anything but the check is under way at the server, or was given up and may be.
    fn works(&self) -> bool {
        let is_work = |flight: &Flight| !matches!(flight, Flight::Check(_));
        self.flights.values().any(is_work) || !self.abandoned.is_empty()
    }

    /// Has another process of the server started, as this one has failed.
    pub(in crate::router) fn replace_failed(
        &mut self,
        why: String,
        peers: &mut Peers,
        now: Instant,
        out: &mut dyn Out,
    ) {
        out.end_failed(self.index, why);
        self.end_life(Gone { why: FAILED, retry_in: Duration::ZERO, by_command: false }, peers, now, out);
    }
}
