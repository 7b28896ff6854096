//! Clients that are let in nowhere, told to the log: the first of each kind, and then how many there are. Nothing of what they sent is
//! shown, as a key that is only misspelt is nearly one.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use tracing::{debug, warn};

use crate::control::tap::Tap;
use crate::logging::utc;

/// Why a client is let in nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The client shows no key that lets it in (401).
    Key,
    /// The request is for a host of another name (403).
    Host,
    /// The request comes from a page that may not ask (403).
    Origin,
    /// The token in the address of the endpoint is none (close code 1008).
    Token,
    /// There is no token in the address of the endpoint (close code 1008).
    NoToken,
}

impl Refusal {
    /// What the log says of the client.
    fn words(self) -> &'static str {
        match self {
            Refusal::Key => "a client was refused (401): it showed neither a key nor a token that is good here",
            Refusal::Host => {
                "a client was refused (403): it asked for a host of a name that is not known here; if that is this one, add it to `hosts` of `gateway`"
            }
            Refusal::Token => {
                "a connection at the endpoint was closed (1008): the token in its address is none of `endpointTokens`"
            }
            Refusal::NoToken => {
                "a connection at the endpoint was closed (1008): its address has no token; it has to end with ?token=TOKEN, one of `endpointTokens`"
            }
            Refusal::Origin => {
                "a client was refused (403): it is a web page of an origin that may not ask; if it may, add it to `cors` of `gateway`"
            }
        }
    }
}

/// How many there were of each kind.
#[derive(Debug)]
pub(super) struct Refusals {
    counts: [AtomicU64; 5],
    tap: Tap,
}

impl Refusals {
    /// None yet. `tap`: who is shown each.
    pub(super) fn new(tap: Tap) -> Self {
        Refusals { counts: Default::default(), tap }
    }

    /// Notes another one. Whoever comes again and again doesn't get to fill the disk: it is told that there are 2, 4, 8 and so on.
    pub(super) fn note(&self, refusal: Refusal) {
        let count = self.counts[refusal as usize].fetch_add(1, Ordering::Relaxed) + 1;
        let words = refusal.words();
        if self.tap.is_on() {
            self.tap.show(&[], |_| json!({"time": utc(), "kind": "refused", "why": words}).to_string());
        }
        match count {
            1 => warn!(event = "CLIENT_REFUSED", "{words}"),
            n if n.is_power_of_two() => warn!(event = "CLIENT_REFUSED", refused = n, "{words}; {n} times so far"),
            n => debug!(event = "CLIENT_REFUSED", refused = n, "{words}"),
        }
    }
}
