//! The process of the modern era that a server has beside its first one, which is of the legacy era: a program that speaks both is bound to
//! one by the first line that it gets, and each peer gets what is of its own era without a translation.
//!
//! # Theory of operation
//!
//! Nobody knows whether a legacy server speaks the modern era as well, and it may cost a start to learn. So it is tried when the first guest
//! of the modern era comes, who waits for the outcome; what a program has refused is remembered, also by later runs. The process is one more
//! server of the router, which is in the views of modern guests in the first one's place, and to everybody else a further process of the
//! same server. Nothing is said of one that is only being tried.

use std::collections::BTreeMap;

use tracing::{debug, info};

use super::membership::NewGuest;
use super::*;
use crate::config::{Instances, Reach};
use crate::guest::Arrival;
use crate::mcp::era::Era;

/// Longest time for which a guest waits until it is known whether a server speaks its era: a server may be silent to the question, and the
/// guest can be served by the first process. Clients wait for 60 s, and a program that is slow to start needs some of them.
const PATIENCE: Duration = Duration::from_secs(30);

/// A guest that is to be let in.
pub(super) struct Waiting {
    new: NewGuest,
    arrival: Arrival,
    reply: oneshot::Sender<()>,
}

/// A process that has begun and not answered yet.
#[derive(Debug)]
struct Trial {
    first: ServerIndex,
    index: ServerIndex,
    /// How long guests wait for it, and how long anybody does.
    guests: Instant,
    until: Instant,
}

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Twins {
    tried: Vec<Trial>,
    /// The process of each server, by its first one, where that is known; `None`: it has none.
    known: BTreeMap<ServerIndex, Option<ServerIndex>>,
    /// Guests that wait: as many as the gateway has connections at most.
    waiting: Vec<Waiting>,
}

impl Twins {
    /// The process of a server that is for peers of this era.
    pub(super) fn of(&self, first: ServerIndex, era: Era) -> ServerIndex {
        match (era, self.known.get(&first)) {
            (Era::Modern, Some(Some(twin))) => *twin,
            (Era::Modern, Some(None) | None) | (Era::Legacy, _) => first,
        }
    }

    /// Whether a guest still waits that is shown these servers.
    fn is_awaited(&self, servers: &[ServerIndex], now: Instant) -> bool {
        self.tried.iter().any(|trial| now < trial.guests && servers.contains(&trial.first))
    }

    /// When something is due.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        self.tried.iter().flat_map(|trial| [trial.guests, trial.until]).filter(|at| *at > now).min()
    }
}

impl Pipe {
    /// Lets a guest in, once it is known which processes are for it.
    pub(super) fn welcome(&mut self, new: NewGuest, arrival: Arrival, reply: oneshot::Sender<()>, now: Instant) {
        let waiting = Waiting { new, arrival, reply };
        if waiting.new.era == Era::Modern
            && let Some(firsts) = self.firsts(&waiting.new.shown)
        {
            firsts.iter().for_each(|first| self.try_twin(*first, now));
            if self.twins.is_awaited(&firsts, now) {
                return self.twins.waiting.push(waiting);
            }
        }
        self.let_in(waiting, now);
    }

    fn let_in(&mut self, Waiting { new, arrival, reply }: Waiting, now: Instant) {
        if self.receive(new, arrival, now).is_some() {
            let _nobody_waits = reply.send(());
        }
    }

    /// Begins to find out whether a server speaks the modern era, if that may be and nobody has found out.
    fn try_twin(&mut self, first: ServerIndex, now: Instant) {
        let spec = self.sides.each[first].spec.clone();
        let is_process = matches!(spec.reach, Reach::Command(_)) && matches!(spec.instances, Instances::Shared);
        let is_tried = self.twins.tried.iter().any(|trial| trial.first == first);
        let serves = matches!(self.phase, PipePhase::Serving);
        if !serves || is_tried || self.twins.known.contains_key(&first) || !is_process || spec.era.is_some() {
            return;
        }
        self.arrange(now);
        let Some(router) = self.router.turns() else { return };
        if !router.hub.is_legacy(first) {
            return; // it may be a moment later
        }
        if self.run.catalogue.era(&spec) == Some(Era::Legacy) {
            self.twins.known.insert(first, None);
            return;
        }
        let modern = Arc::new(ServerSpec { era: Some(Era::Modern), ..(*spec).clone() });
        let index = router.hub.add_server(&modern, None);
        let mut side = self.sides.each[first].further(first, index, now);
        (side.spec, side.status, side.tried) = (modern, side.status.of_era(), true);
        self.put_server(index, side);
        self.heed(index, now);
        let until = now + spec.start_timeout;
        self.twins.tried.push(Trial { first, index, guests: until.min(now + PATIENCE), until });
    }

    /// Looks what has become of those that are tried; returns whether anything has.
    pub(super) fn check_twins(&mut self, now: Instant) -> bool {
        let mut changed = false;
        for at in (0..self.twins.tried.len()).rev() {
            let Trial { first, index, until, .. } = self.twins.tried[at];
            if !self.router.is_serving(index) {
                match self.router.start(index) {
                    Start::Awaited if now < until => continue,
                    Start::Settled => self.run.catalogue.save_era(&self.sides.each[first].spec, Era::Legacy),
                    // One that ends or is slow may have another fault, and is tried again in another run.
                    Start::Absent | Start::Awaited => {}
                }
            }
            self.twins.tried.remove(at);
            self.settle_twin(first, index, now);
            changed = true;
        }
        for waiting in std::mem::take(&mut self.twins.waiting) {
            if waiting.reply.is_closed() {
                continue; // it waits no longer
            }
            let firsts = self.firsts(&waiting.new.shown).unwrap_or_default();
            if self.twins.is_awaited(&firsts, now) {
                self.twins.waiting.push(waiting);
            } else {
                self.let_in(waiting, now);
                changed = true;
            }
        }
        changed
    }

    /// It is known now whether a server has a process of the modern era: the one that was tried, if that serves.
    fn settle_twin(&mut self, first: ServerIndex, index: ServerIndex, now: Instant) {
        let serves = self.router.is_serving(index);
        self.twins.known.insert(first, serves.then_some(index));
        if serves {
            let side = &mut self.sides.each[index];
            side.tried = false;
            let pid = self.servers[index].pid();
            info!(event = "SERVER_ERA", server = %side.name, pid, "speaks both eras: clients of MCP 2026-07-28 have a process of their own");
            self.show_anew(Era::Modern, now);
        } else {
            debug!(event = "SERVER_ERA", server = %self.sides.each[first].name, "does not speak MCP 2026-07-28: its clients get that translated");
            self.end_process(index);
        }
    }

    /// A server is to be another one, or is to go: its process of the modern era ends.
    pub(super) fn end_twin(&mut self, first: ServerIndex, now: Instant) {
        let tried = self.twins.tried.extract_if(.., |trial| trial.first == first).map(|trial| trial.index).next();
        let known = self.twins.known.remove(&first).flatten();
        if known.is_some() {
            self.show_anew(Era::Modern, now);
        }
        tried.or(known).into_iter().for_each(|index| self.end_process(index));
    }

    /// Ends a further process for good.
    fn end_process(&mut self, index: ServerIndex) {
        self.sides.each[index].leaving = Some(Leaving::Further);
        self.servers[index].stop(false);
        self.woken.servers.insert(index);
    }
}
