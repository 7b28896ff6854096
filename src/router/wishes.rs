//! What an endpoint wants of one server for as long as its connection lives: the resources that it follows there, and its log level.
//!
//! A process knows nothing of what its predecessor was told, so each life of the server is told anew; and nothing of what one connection
//! wanted is left for the next.

use std::collections::{HashMap, HashSet};

use super::Out;
use super::desk::Desk;
use super::lane::Lane;

/// Most resources that one connection may follow at one server, and longest URI of one, in bytes, that are told to the server's next life:
/// they are kept.
const MAX_SUBSCRIPTIONS: usize = 1000;
const MAX_URI: usize = 2048;

/// Longest parameters of `logging/setLevel`, in bytes: they are kept too.
const MAX_LEVEL: usize = 1024;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    /// The server's own URI → the endpoint's.
    subscriptions: HashMap<Box<str>, Box<str>>,
    /// The parameters of the last `logging/setLevel`.
    level: Option<Box<[u8]>>,
    /// What an earlier connection followed and the server could not be told yet that it does no more: its own URIs.
    leftover: HashSet<Box<str>>,
}

impl Wishes {
    /// The endpoint wants to hear of changes of a resource, which it calls `uri`.
    pub(super) fn subscribe(&mut self, own: &str, uri: &str) {
        if self.subscriptions.len() < MAX_SUBSCRIPTIONS && own.len() <= MAX_URI && uri.len() <= MAX_URI {
            self.subscriptions.insert(own.into(), uri.into());
            self.leftover.remove(own);
        }
    }

    /// It doesn't any more.
    pub(super) fn unsubscribe(&mut self, own: &str) {
        self.subscriptions.remove(own);
    }

    /// What the endpoint calls so is another server's.
    pub(super) fn end_subscription(&mut self, called: &str, lane: &Lane, desk: &mut Desk, out: &mut dyn Out) {
        if let Some(own) = self.own(called).map(Box::from) {
            self.subscriptions.remove(&own);
            if lane.is_initialized() {
                self.leftover.insert(own);
                self.send_leftover(lane, desk, out);
            }
        }
    }

    /// What the endpoint calls a resource that it follows.
    pub(super) fn called(&self, own: &str) -> Option<&str> {
        self.subscriptions.get(own).map(|uri| &**uri)
    }

    /// What the server calls a resource that the endpoint follows.
    pub(super) fn own(&self, uri: &str) -> Option<&str> {
        self.subscriptions.iter().find(|(_, called)| ***called == *uri).map(|(own, _)| &**own)
    }

    /// The endpoint wants log messages of this level: the parameters as they came. Whether they can be kept.
    pub(super) fn set_level(&mut self, params: &[u8]) -> bool {
        let fits = params.len() <= MAX_LEVEL;
        if fits {
            self.level = Some(params.into());
        }
        fits
    }

    /// Tells a life of the server which resources are followed.
    pub(super) fn send_subscriptions(&self, lane: &Lane, desk: &mut Desk, out: &mut dyn Out) {
        for own in self.subscriptions.keys() {
            lane.send_unawaited("resources/subscribe", &uri(own), desk, out);
        }
    }

    /// Tells a life of the server the level.
    pub(super) fn send_level(&self, lane: &Lane, desk: &mut Desk, out: &mut dyn Out) {
        if let Some(level) = &self.level {
            lane.send_unawaited("logging/setLevel", level, desk, out);
        }
    }

    /// The connection is gone, and with it what was wanted on it. The level stays at the server: no message takes one back.
    pub(super) fn take_back(&mut self, lane: &Lane, desk: &mut Desk, out: &mut dyn Out) {
        self.level = None;
        if lane.is_initialized() {
            self.leftover.extend(self.subscriptions.drain().map(|(own, _)| own));
            self.send_leftover(lane, desk, out);
        } else {
            self.subscriptions.clear();
        }
    }

    /// Tells a server that reads again what is followed no more.
    pub(super) fn send_leftover(&mut self, lane: &Lane, desk: &mut Desk, out: &mut dyn Out) {
        if !lane.busy {
            for own in self.leftover.drain() {
                lane.send_unawaited("resources/unsubscribe", &uri(&own), desk, out);
            }
        }
    }

    /// The server's process is gone, and what it knew with it.
    pub(super) fn server_down(&mut self) {
        self.leftover.clear();
    }
}

fn uri(own: &str) -> Vec<u8> {
    serde_json::json!({ "uri": own }).to_string().into_bytes()
}
