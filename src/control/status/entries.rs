//! The entries of servers and links, for whoever runs them to write.

use std::sync::Arc;

use super::alike::CircuitState;
use super::link::{LinkKey, LinkStatus, ShownServer};
use super::server::{Remark, ServerKey, ServerStatus, TurnState};
use super::{Overview, Status};
use crate::config::{Instances, ServerSpec};
use crate::control::figures::{Figures, Traffic};
use crate::control::history::kept::History;
use crate::error::FaultCode;
use crate::server::wanted::Goal;

/// Most remarks that are kept about a server: what it does it mostly does all the time.
const REMARKS: usize = 16;

/// The entry of one server, for whoever runs it to write. Cloning gives another handle; the entry is there as long as there is one.
#[derive(Debug, Clone)]
pub(crate) struct ServerEntry {
    pub(super) held: Arc<Held<ServerKey>>,
    pub(in crate::control) figures: Arc<Figures>,
    /// Which process of the server this is for.
    pub(in crate::control) which: Which,
}

/// A process of a server. Of one that is not the first is shown that it is there, and what it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::control) enum Which {
    First,
    /// One that is for an endpoint alone.
    OfPeer,
    /// The one for clients of MCP 2026-07-28.
    OfEra,
    /// One that is like the first, and for the same peers; by its place.
    Replica(usize),
}

/// The same of one link.
#[derive(Debug, Clone)]
pub(crate) struct LinkEntry {
    pub(super) held: Arc<Held<LinkKey>>,
    pub(super) traffic: Arc<Traffic>,
}

/// An entry, taken out when this is dropped.
#[derive(Debug)]
pub(super) struct Held<K: EntryKey> {
    pub(super) of: Status,
    pub(super) key: K,
}

/// What entries are known by.
pub(super) trait EntryKey: Copy {
    fn take_out(self, overview: &mut Overview, history: &History);
}

impl EntryKey for ServerKey {
    fn take_out(self, overview: &mut Overview, history: &History) {
        // At the end of a run none is removed from its config.
        if let Some(server) = overview.servers.iter().find(|server| server.key == self && !overview.stopping) {
            history.remove(&server.name);
        }
        overview.servers.retain(|server| server.key != self);
        overview.links.iter_mut().for_each(|link| link.servers.retain(|shown| shown.key != self));
    }
}

impl EntryKey for LinkKey {
    fn take_out(self, overview: &mut Overview, _: &History) {
        overview.links.retain(|link| link.key != self);
    }
}

impl<K: EntryKey> Drop for Held<K> {
    fn drop(&mut self) {
        self.of.overview.send_modify(|overview| self.key.take_out(overview, &self.of.history));
    }
}

impl ServerEntry {
    /// Where messages are counted.
    pub(crate) fn traffic(&self) -> Arc<Traffic> {
        self.figures.traffic.clone()
    }

    /// An entry that nobody reads.
    pub(crate) fn of_nobody() -> Self {
        Status::default().add_server("")
    }

    /// The same entry, for a further process of the server: one that is for an endpoint alone.
    pub(crate) fn further(&self) -> Self {
        ServerEntry { which: Which::OfPeer, ..self.clone() }
    }

    /// The same entry, for another process of the server that is like the first.
    pub(crate) fn replica(&self, place: usize) -> Self {
        ServerEntry { which: Which::Replica(place), ..self.clone() }
    }

    /// The same entry, for the process that is for clients of MCP 2026-07-28.
    pub(crate) fn of_era(&self) -> Self {
        ServerEntry { which: Which::OfEra, ..self.clone() }
    }

    pub(crate) fn key(&self) -> ServerKey {
        self.held.key
    }

    /// A text without what is secret.
    pub(in crate::control) fn clean(&self, text: &str) -> String {
        self.held.of.redactor.clean(text).into_owned()
    }

    /// Notes something that the server does that MCP does not have. Kept only where somebody looks on for that.
    pub(crate) fn remark(&self, remark: Remark) {
        if !self.is_one_look() {
            return;
        }
        let remark = match remark {
            Remark::Noise(text) => Remark::Noise(self.clean(&text)),
            Remark::Odd(text) => Remark::Odd(self.clean(&text)),
        };
        self.change(|server| {
            if server.remarks.len() < REMARKS && !server.remarks.contains(&remark) {
                server.remarks.push(remark);
            }
        });
    }

    /// Whether whoever looks on ends the run with the first fault.
    pub(crate) fn is_one_look(&self) -> bool {
        self.held.of.is_one_look
    }

    /// Notes what the config says of the server, as far as that is shown.
    pub(crate) fn configured(&self, spec: &ServerSpec) {
        self.change(|server| {
            server.circuit = spec.bounds.breaker.map(|_| CircuitState::Closed);
            if server.circuit.is_none() {
                server.conduct.forget_circuits();
            }
            server.stands_in = spec.bounds.stands_in;
            server.replicas = match spec.instances {
                Instances::Replicas(replicas) => Some(replicas.number),
                Instances::Shared | Instances::PerPeer(_) => None,
            };
            server.sum_up();
        });
    }

    /// Notes what a person wants of the server.
    pub(crate) fn ordered(&self, goal: Goal) {
        self.change(|server| (server.wanted, server.ordered) = (goal.wanted, goal.number));
    }

    /// Notes that what follows from a command, by its number, has begun.
    pub(crate) fn heeded(&self, number: u64) {
        if self.which == Which::First {
            self.change(|server| server.heeded = number);
        }
    }

    pub(in crate::control) fn change(&self, change: impl FnOnce(&mut ServerStatus)) {
        self.change_because(None, change);
    }

    /// The same where a cause has come up, which is counted.
    pub(in crate::control) fn change_because(&self, cause: Option<FaultCode>, change: impl FnOnce(&mut ServerStatus)) {
        let Held { of, key } = &*self.held;
        of.overview.send_modify(|overview| {
            overview.count(cause);
            if let Some(server) = overview.servers.iter_mut().find(|server| server.key == *key) {
                change(server);
                let (doing, why) = server.doing();
                of.history.note(&server.name, doing, why);
            }
        });
    }
}

impl LinkEntry {
    /// Where messages are counted.
    pub(crate) fn traffic(&self) -> Arc<Traffic> {
        self.traffic.clone()
    }

    /// A text without what is secret.
    pub(in crate::control) fn clean(&self, text: &str) -> String {
        self.held.of.redactor.clean(text).into_owned()
    }

    /// Notes which servers the endpoint sees from now on. What was said of those that stay, stays.
    pub(crate) fn shows(&self, servers: impl IntoIterator<Item = ServerKey>) {
        self.change(|link| {
            let turn = |key| link.shown(key).and_then(|shown| shown.turn);
            link.servers = servers.into_iter().map(|key| ShownServer { key, turn: turn(key) }).collect();
        });
    }

    /// Notes how a server stands among those that take turns here.
    pub(crate) fn turn(&self, server: ServerKey, turn: TurnState) {
        self.change(|link| {
            if let Some(shown) = link.servers.iter_mut().find(|shown| shown.key == server) {
                shown.turn = Some(turn);
            }
        });
    }

    pub(in crate::control) fn change(&self, change: impl FnOnce(&mut LinkStatus)) {
        self.change_because(None, change);
    }

    /// The same where a cause has come up, which is counted.
    pub(in crate::control) fn change_because(&self, cause: Option<FaultCode>, change: impl FnOnce(&mut LinkStatus)) {
        let Held { of, key } = &*self.held;
        of.overview.send_modify(|overview| {
            overview.count(cause);
            if let Some(link) = overview.links.iter_mut().find(|link| link.key == *key) {
                change(link);
            }
        });
    }
}
