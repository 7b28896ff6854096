//! The health checks of servers: what is due, what they answer, and what follows for whoever sees them.

use super::*;
use crate::mcp::failure::Failure;
use crate::router::lane::Answer;

impl Hub {
    /// A server is checked as the config says from now on.
    pub(super) fn set_health(&mut self, server: ServerIndex, spec: &ServerSpec, out: &mut dyn Out) {
        self.servers[server].lane.set_health(spec.health_check.as_ref(), out);
        self.arm(server);
    }

    /// Does what is due of a server's check.
    pub(super) fn check_health(&mut self, server: ServerIndex, now: Instant, out: &mut dyn Out) {
        if self.draining {
            return;
        }
        if let Some(why) = self.servers[server].lane.check_health(now, out) {
            self.replace_failed(server, why, now, out);
        }
    }

    /// A server has answered a question of its check.
    pub(super) fn on_checked(
        &mut self,
        (server, number): (ServerIndex, u32),
        (frame, e): (&[u8], &Envelope),
        now: Instant,
        out: &mut dyn Out,
    ) {
        let (failure, result) = (e.error.then(|| Failure::read(frame)), e.result.clone().map(|result| &frame[result]));
        let words = failure.map(|Failure { code, message }| format!("{message} ({code})")).unwrap_or_default();
        let answer = match result {
            Some(result) if e.tool_error => Answer::ToolError(result),
            Some(result) => Answer::Result(result),
            None => Answer::Error(&words),
        };
        self.on_check_over((server, number), answer, now, out);
    }

    /// A question of a server's check has been answered, or will not be.
    pub(super) fn on_check_over(
        &mut self,
        (server, number): (ServerIndex, u32),
        answer: Answer<'_>,
        now: Instant,
        out: &mut dyn Out,
    ) {
        match self.servers[server].lane.checked(number, answer, now, out) {
            Some(why) => self.replace_failed(server, why, now, out),
            None => self.arm(server),
        }
    }

    fn replace_failed(&mut self, server: ServerIndex, why: String, now: Instant, out: &mut dyn Out) {
        let held = self.held_for_others(server);
        let Hub { servers, peers, .. } = self;
        let Hosted { lane, solo, .. } = &mut servers[server];
        solo.reread.server_down(server, peers);
        lane.replace_failed(why, peers, now, out);
        self.forget_life(server, now, out);
        self.on_absent(server, now, out);
        self.pass_on_held(held, out);
    }
}
