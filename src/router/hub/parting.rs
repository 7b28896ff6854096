//! Requests that come while the connection of their peer is about to be closed.
//!
//! No message may follow a close frame (RFC 6455 section 5.5.1), so a request that crosses it gets no answer. Who is refused asks
//! again at once: such a request is rather kept, and refused together with the close. A peer that asks one thing at a time has no
//! other to send by then.

use super::*;

/// How long a request may be kept: where something slow is under way, the close may be far.
const PATIENCE: Duration = Duration::from_secs(1);

impl Hub {
    /// Keeps a request that can't be served any more, as much as there is room for.
    pub(super) fn part_with(&mut self, request: &Request<'_>, out: &mut dyn Out) {
        let Request { peer, frame, now, .. } = *request;
        if !self.parting.push_until(peer, frame, now, now + PATIENCE) {
            self.decline(request, UNAVAILABLE, SHUTTING_DOWN, out);
        }
    }

    /// Refuses what has been kept for too long.
    pub(super) fn refuse_parting(&mut self, now: Instant, out: &mut dyn Out) {
        while let Some((_, held)) = self.parting.expired(now) {
            let is_closing = match self.draining {
                true => self.in_flight() == 0,
                false => self.owed_to(held.peer) == 0,
            };
            if is_closing {
                self.parting.push_until(held.peer, &held.frame, held.since, now + PATIENCE);
            } else {
                self.refuse_for_good(held, out);
            }
        }
    }

    /// Tells a peer that its request is served no more.
    pub(super) fn refuse_for_good(&mut self, held: HeldMessage, out: &mut dyn Out) {
        held.note_unserved(About::Peer(held.peer), Outcome::Refused, out);
        self.peers.refuse_held((held.peer, &held.frame), SHUTTING_DOWN, out);
    }
}
