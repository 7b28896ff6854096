//! The agents that are wanted, how it stands with each, and who is told. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::watch;

use super::Standing;
use super::clock::Moment;
use super::engine::{Epoch, LeaseId, View};
use super::order::ranks;
use crate::endpoint::agent::LeaseKey;

/// How long whoever is next in the order waits for whoever is before. Longer than it takes to ask the engine, also on a busy machine;
/// a dead one before us costs that much of the time until somebody serves.
const STEP: Duration = Duration::from_millis(200);
/// Most others that are waited for: of many that have gone, or don't want it, whoever comes first may have it.
const MOST_BEFORE: u32 = 10;
/// How long a free agent is left alone that could not be had: whoever has it is seen by then.
const AGAIN: Duration = Duration::from_millis(250);

/// How it stands with an agent, between this daemon and the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seat {
    /// It is not ours. `free`: since when nobody has it, as far as we see; it is not asked for before `not_before`.
    Waiting { free: Option<Moment>, not_before: Moment },
    /// The engine is asked for it.
    Asking,
    /// It is ours.
    Held(Epoch),
    /// It is to be ours no longer, and connections may still be open.
    Closing(Epoch),
    /// No connection is open any more, and the engine is told.
    Releasing,
}

/// From when on a daemon takes agents that were free before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Begin {
    /// Those of which it is the first in the order.
    pub(super) first: Moment,
    /// The others: whoever is before it may have begun later, and take its own later.
    pub(super) rest: Moment,
}

/// Somebody who wants an agent.
#[derive(Debug)]
struct Rider {
    number: u64,
    tell: watch::Sender<Standing>,
    /// It has been told to close, and may have connections open.
    closing: bool,
}

#[derive(Debug)]
struct Entry {
    seat: Seat,
    riders: Vec<Rider>,
    /// How many others try before us, while nobody has it.
    rank: usize,
    /// It is ours, and the engine has been seen to say so.
    confirmed: bool,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Roll {
    entries: BTreeMap<LeaseKey, Entry>,
}

impl Roll {
    /// Somebody wants an agent.
    pub(super) fn want(&mut self, agent: LeaseKey, number: u64, tell: watch::Sender<Standing>) {
        let seat = Seat::Waiting { free: None, not_before: Moment::ZERO };
        let entry = self.entries.entry(agent).or_insert(Entry { seat, riders: Vec::new(), rank: 0, confirmed: false });
        if let Seat::Held(epoch) = entry.seat {
            tell.send_replace(Standing::Held(epoch));
        }
        entry.riders.push(Rider { number, tell, closing: false });
    }

    /// Somebody has no connection of an agent open any more, and wants it no longer.
    pub(super) fn leave(&mut self, agent: LeaseKey, number: u64) {
        let Some(entry) = self.entries.get_mut(&agent) else { return };
        entry.riders.retain(|rider| rider.number != number);
        match entry.seat {
            Seat::Held(epoch) if entry.riders.is_empty() => entry.seat = Seat::Closing(epoch),
            Seat::Waiting { .. } if entry.riders.is_empty() => {
                self.entries.remove(&agent);
            }
            Seat::Waiting { .. } | Seat::Asking | Seat::Held(_) | Seat::Closing(_) | Seat::Releasing => {}
        }
    }

    /// What the engine has is this now. Returns whether an agent of ours seems to have been taken away.
    pub(super) fn see(&mut self, view: &View, us: Option<LeaseId>, now: Moment) -> bool {
        let mut is_less = false;
        let wanted = self.entries.iter().filter(|(_, entry)| !entry.riders.is_empty()).map(|(agent, _)| *agent);
        let ranks = us.map(|us| ranks(wanted, view, us)).unwrap_or_default();
        for (agent, entry) in &mut self.entries {
            let holder = view.agents.get(agent);
            // What is bound to our own lease is had for the asking: an answer was lost.
            let is_free = holder.is_none_or(|holder| Some(holder.lease) == us);
            entry.rank = ranks.get(agent).copied().unwrap_or_default();
            let is_ours = matches!(entry.seat, Seat::Held(_)) && holder.is_some() && is_free;
            is_less |=
                std::mem::replace(&mut entry.confirmed, is_ours) && !is_ours && matches!(entry.seat, Seat::Held(_));
            let Seat::Waiting { free, .. } = &mut entry.seat else { continue };
            *free = is_free.then(|| free.unwrap_or(now));
            // Without a lease of ours what we see may be old: it may even be we who have it there.
            let told = holder.filter(|_| us.is_some() && !is_free);
            let seen = Standing::Standby(told.map(|holder| holder.node.clone()));
            for rider in &entry.riders {
                rider.tell.send_if_modified(|told| {
                    matches!(told, Standing::Standby(_)) && std::mem::replace(told, seen.clone()) != seen
                });
            }
        }
        is_less
    }

    /// The agents to ask for now, of which no more than so many are asked for at a time. They count as asked for. `begin`: what was free
    /// before that counts as free since then.
    pub(super) fn ask(&mut self, now: Moment, begin: Begin, at_once: usize) -> Vec<LeaseKey> {
        let asked = self.entries.values().filter(|entry| entry.seat == Seat::Asking).count();
        let due = self.entries.iter_mut().filter(|(_, entry)| entry.due(begin).is_some_and(|due| due <= now));
        let ask = |(agent, entry): (&LeaseKey, &mut Entry)| {
            entry.seat = Seat::Asking;
            *agent
        };
        due.take(at_once.saturating_sub(asked)).map(ask).collect()
    }

    /// When the next agent is to be asked for.
    pub(super) fn next(&self, begin: Begin) -> Option<Moment> {
        self.entries.values().filter_map(|entry| entry.due(begin)).min()
    }

    /// Whether an agent is wanted that nobody has, as far as we see.
    pub(super) fn is_short(&self) -> bool {
        let is_free = |seat| matches!(seat, Seat::Asking | Seat::Waiting { free: Some(_), .. });
        self.entries.values().any(|entry| !entry.riders.is_empty() && is_free(entry.seat))
    }

    /// The engine has answered. `epoch`: since when an agent is ours, if it is.
    pub(super) fn answered(&mut self, agent: LeaseKey, epoch: Option<Epoch>, now: Moment) {
        let Some(entry) = self.entries.get_mut(&agent).filter(|entry| entry.seat == Seat::Asking) else { return };
        match epoch {
            Some(epoch) if entry.riders.is_empty() => entry.seat = Seat::Closing(epoch),
            Some(epoch) => {
                entry.seat = Seat::Held(epoch);
                entry.tell(&Standing::Held(epoch));
            }
            None if entry.riders.is_empty() => {
                self.entries.remove(&agent);
            }
            None => entry.seat = Seat::Waiting { free: Some(now), not_before: now + AGAIN },
        }
    }

    /// An agent is ours no more. Returns whether it was.
    pub(super) fn lose(&mut self, agent: LeaseKey) -> bool {
        let Some(entry) = self.entries.get_mut(&agent) else { return false };
        let Seat::Held(epoch) = entry.seat else { return false };
        entry.seat = Seat::Closing(epoch);
        entry.riders.iter_mut().for_each(|rider| rider.closing = true);
        entry.tell(&Standing::Lost);
        true
    }

    /// All agents are ours no more, and answers that are still to come count for nothing. Returns how many there were.
    pub(super) fn lose_all(&mut self, now: Moment) -> usize {
        let held = self.held().map(|(agent, _)| agent).collect::<Vec<_>>();
        for entry in self.entries.values_mut().filter(|entry| matches!(entry.seat, Seat::Asking | Seat::Releasing)) {
            entry.seat = Seat::Waiting { free: None, not_before: now };
        }
        self.entries.retain(|_, entry| !matches!(entry.seat, Seat::Waiting { .. }) || !entry.riders.is_empty());
        held.into_iter().filter(|agent| self.lose(*agent)).count()
    }

    /// The agents to give back to the engine now, as no connection is open any more. They count as given back.
    pub(super) fn release(&mut self) -> Vec<(LeaseKey, Epoch)> {
        let closed = |(agent, entry): (&LeaseKey, &mut Entry)| match entry.seat {
            Seat::Closing(epoch) if entry.riders.iter().all(|rider| !rider.closing) => {
                entry.seat = Seat::Releasing;
                Some((*agent, epoch))
            }
            Seat::Waiting { .. } | Seat::Asking | Seat::Held(_) | Seat::Closing(_) | Seat::Releasing => None,
        };
        self.entries.iter_mut().filter_map(closed).collect()
    }

    /// The engine was told that an agent is given back.
    pub(super) fn released(&mut self, agent: LeaseKey, now: Moment) {
        let Some(entry) = self.entries.get_mut(&agent).filter(|entry| entry.seat == Seat::Releasing) else { return };
        if entry.riders.is_empty() {
            self.entries.remove(&agent);
        } else {
            entry.seat = Seat::Waiting { free: None, not_before: now };
        }
    }

    /// The agents that are ours.
    pub(super) fn held(&self) -> impl Iterator<Item = (LeaseKey, Epoch)> {
        self.entries.iter().filter_map(|(agent, entry)| match entry.seat {
            Seat::Held(epoch) => Some((*agent, epoch)),
            Seat::Waiting { .. } | Seat::Asking | Seat::Closing(_) | Seat::Releasing => None,
        })
    }

    /// Whether somebody wants an agent, or has not yet given it back.
    pub(super) fn knows(&self, agent: LeaseKey) -> bool {
        self.entries.contains_key(&agent)
    }

    /// Whether a connection may be open.
    pub(super) fn may_be_open(&self) -> bool {
        self.entries.values().any(|entry| matches!(entry.seat, Seat::Held(_) | Seat::Closing(_)))
    }

    /// Whether a connection may be open of an agent that is ours no more.
    pub(super) fn is_closing(&self) -> bool {
        self.entries.values().any(|entry| matches!(entry.seat, Seat::Closing(_)))
    }
}

impl Entry {
    /// When the agent is to be asked for.
    fn due(&self, begin: Begin) -> Option<Moment> {
        let Seat::Waiting { free: Some(free), not_before } = self.seat else { return None };
        let rank = u32::try_from(self.rank).unwrap_or(u32::MAX).min(MOST_BEFORE);
        let begin = if rank == 0 { begin.first } else { begin.rest };
        (!self.riders.is_empty()).then(|| (free.max(begin) + STEP.saturating_mul(rank)).max(not_before))
    }

    fn tell(&self, standing: &Standing) {
        for rider in &self.riders {
            rider.tell.send_replace(standing.clone());
        }
    }
}
