//! What an endpoint wants of one server for as long as its connection lives: the resources to which it has subscribed, and its
//! log level.
//!
//! A process knows nothing of what its predecessor was told, so each life of the server is told anew; and the wishes of one
//! connection end before the next one.

use std::collections::{HashMap, HashSet};

use super::Out;
use super::lane::Lane;

/// Most subscriptions of one connection at one server, and longest URI of one in bytes, that are kept for the server's next life.
const MAX_SUBSCRIPTIONS: usize = 1000;
const MAX_URI: usize = 2048;

/// Longest parameters of `logging/setLevel` that are kept for the server's next life, in bytes.
const MAX_LEVEL: usize = 1024;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    /// The endpoint's URI of each subscription, by the server's.
    subscriptions: HashMap<Box<str>, Box<str>>,
    /// The parameters of the last `logging/setLevel`.
    level: Option<Box<[u8]>>,
    /// Subscriptions of earlier connections that the server could not be told yet to end, by the server's URIs.
    leftover: HashSet<Box<str>>,
}

impl Wishes {
    /// The endpoint subscribes to a resource: `own` is the server's URI, `uri` the endpoint's.
    pub(super) fn subscribe(&mut self, own: &str, uri: &str) {
        if self.subscriptions.len() < MAX_SUBSCRIPTIONS && own.len() <= MAX_URI && uri.len() <= MAX_URI {
            self.subscriptions.insert(own.into(), uri.into());
            self.leftover.remove(own);
        }
    }

    /// The endpoint ends a subscription.
    pub(super) fn unsubscribe(&mut self, own: &str) {
        self.subscriptions.remove(own);
    }

    /// Ends the subscription to `called`, the endpoint's URI, which now is another server's.
    pub(super) fn end_subscription(&mut self, called: &str, lane: &mut Lane, out: &mut dyn Out) {
        if let Some(own) = self.own(called).map(Box::from) {
            self.subscriptions.remove(&own);
            if lane.is_initialized() {
                self.leftover.insert(own);
                self.send_leftover(lane, out);
            }
        }
    }

    /// The endpoint's URI of a subscription.
    pub(super) fn called(&self, own: &str) -> Option<&str> {
        self.subscriptions.get(own).map(|uri| &**uri)
    }

    /// The server's URI of a subscription.
    pub(super) fn own(&self, uri: &str) -> Option<&str> {
        self.subscriptions.iter().find(|(_, called)| ***called == *uri).map(|(own, _)| &**own)
    }

    /// The endpoint wants log messages of a level, by these parameters. Returns whether they can be kept.
    pub(super) fn set_level(&mut self, params: &[u8]) -> bool {
        let fits = params.len() <= MAX_LEVEL;
        if fits {
            self.level = Some(params.into());
        }
        fits
    }

    /// Tells a life of the server all subscriptions.
    pub(super) fn send_subscriptions(&self, lane: &mut Lane, out: &mut dyn Out) {
        for own in self.subscriptions.keys() {
            lane.send_unawaited("resources/subscribe", &uri(own), out);
        }
    }

    /// Tells a life of the server the level.
    pub(super) fn send_level(&self, lane: &mut Lane, out: &mut dyn Out) {
        if let Some(level) = &self.level {
            lane.send_unawaited("logging/setLevel", level, out);
        }
    }

    /// Ends all wishes of a connection that is gone. The level stays at the server, as no message takes one back.
    pub(super) fn take_back(&mut self, lane: &mut Lane, out: &mut dyn Out) {
        self.level = None;
        if lane.is_initialized() {
            self.leftover.extend(self.subscriptions.drain().map(|(own, _)| own));
            self.send_leftover(lane, out);
        } else {
            self.subscriptions.clear();
        }
    }

    /// Tells a server, if it reads again, which subscriptions have ended.
    pub(super) fn send_leftover(&mut self, lane: &mut Lane, out: &mut dyn Out) {
        if !lane.busy {
            for own in self.leftover.drain() {
                lane.send_unawaited("resources/unsubscribe", &uri(&own), out);
            }
        }
    }

    /// The server's process is gone, and with it what earlier connections had subscribed to.
    pub(super) fn server_down(&mut self) {
        self.leftover.clear();
    }
}

fn uri(own: &str) -> Vec<u8> {
    serde_json::json!({ "uri": own }).to_string().into_bytes()
}
