//! What servers are told of the wishes of their peers: what to follow, and which log messages to write.

use std::collections::BTreeSet;

use super::lane::Lane;
use super::peers::Peers;
use super::wishes::rank;
use super::{Out, PeerId, ServerIndex};

impl Peers {
    /// Whether any peer follows a resource of a server.
    pub(super) fn is_followed(&self, server: ServerIndex, own: &str) -> bool {
        self.iter().any(|(_, peer)| peer.wishes.called(server, own).is_some())
    }

    /// Tells a life of a server all subscriptions.
    pub(super) fn send_subscriptions(&self, lane: &mut Lane, out: &mut dyn Out) {
        // Each once, whoever follows it.
        let all: BTreeSet<&str> = self.iter().flat_map(|(_, peer)| peer.wishes.at(lane.index)).collect();
        for own in all {
            lane.send_unawaited("resources/subscribe", &uri(own), out);
        }
    }

    /// Ends a peer's wishes at a server. The level stays, as no message takes one back.
    pub(super) fn take_back(&mut self, peer: PeerId, lane: &mut Lane, out: &mut dyn Out) {
        let Some(of) = self.get_mut(peer) else { return };
        let ended = of.wishes.take_all_at(lane.index);
        if lane.is_initialized() {
            lane.leftover.0.extend(ended.filter(|own| !self.is_followed(lane.index, own)));
            lane.send_leftover(out);
        }
    }

    /// Ends a peer's subscription at a server, as what it is about is another server's now.
    pub(super) fn end_subscription(&mut self, peer: PeerId, lane: &mut Lane, own: &str, out: &mut dyn Out) {
        if let Some(peer) = self.get_mut(peer) {
            peer.wishes.unsubscribe(lane.index, own);
        }
        if lane.is_initialized() && !self.is_followed(lane.index, own) {
            lane.leftover.0.insert(own.into());
            lane.send_leftover(out);
        }
    }
}

impl Lane {
    /// Tells the server the level that lets through what any of those wants who may hear it.
    pub(super) fn send_level(&mut self, peers: &Peers, out: &mut dyn Out) {
        let levels = self.listeners().filter_map(|key| peers.get(key)?.wishes.level());
        if let Some(level) = levels.min_by_key(|level| rank(level)) {
            self.send_unawaited("logging/setLevel", level, out);
        }
    }

    /// Tells a server, if it reads, which subscriptions have ended.
    pub(super) fn send_leftover(&mut self, out: &mut dyn Out) {
        if !self.busy {
            for own in std::mem::take(&mut self.leftover.0) {
                self.send_unawaited("resources/unsubscribe", &uri(&own), out);
            }
        }
    }
}

fn uri(own: &str) -> Vec<u8> {
    serde_json::json!({ "uri": own }).to_string().into_bytes()
}
