//! The news that a modern server is asked for: what of its lists changes, and which of its resources (MCP 2026-07-28, subscriptions).
//!
//! What is asked for can't be changed, so another wish is another request, and the one before ends once the new one stands.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::{Bridge, Pending, PostKind, Wire};
use crate::mcp::modern::LISTEN;
use crate::mcp::modern::offer::Offer;
use crate::mcp::object;
use crate::mcp::reply::{INVALID_PARAMS, METHOD_NOT_FOUND};

/// Time until news that were lost are asked for again. It doubles up to [`LONGEST`]: each costs the server something.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// Longest time until a server has granted a request for news: whoever wants to follow a resource waits for that.
const GRANT: Duration = Duration::from_secs(30);
/// Shortest time for which news must have come until their loss counts as the first one.
const STOOD: Duration = Duration::from_secs(60);
/// Longest URI that is followed, in bytes, and most of them: as many as the router keeps.
const MAX_URI: usize = 2048;
const MAX_FOLLOWED: usize = 1000;

/// Lists whose changes a server may tell: the capability, and the name in a subscription.
const LISTS: [(&str, &str); 3] =
    [("tools", "toolsListChanged"), ("prompts", "promptsListChanged"), ("resources", "resourcesListChanged")];

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Listening {
    stage: Stage,
    /// The request that stands, with what it asks for.
    present: Option<u64>,
    /// The URIs that are followed.
    followed: BTreeSet<String>,
    /// Subscriptions of the router's that have no answer yet, by their numbers.
    waiting: BTreeMap<u64, String>,
    /// What is asked for is another thing than what is wanted by now.
    is_outdated: bool,
    /// How long was waited last after news were lost.
    waited: Duration,
    /// News were lost since a request stood.
    has_missed: bool,
    /// When the server granted the request that stands.
    granted: Option<Instant>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The server is not initialized.
    #[default]
    Off,
    /// A request is under way that the server has not granted, and is given up then.
    Asked(u64, Instant),
    /// The server has granted what is asked for, or nothing is asked for.
    Settled,
    /// News were lost, and are asked for again then.
    Paused(Instant),
    /// The server gives no news.
    Refused,
}

impl Listening {
    pub(super) fn due(&self) -> Option<Instant> {
        match self.stage {
            Stage::Paused(at) | Stage::Asked(_, at) => Some(at),
            Stage::Off | Stage::Settled | Stage::Refused => None,
        }
    }

    fn is_asked(&self, number: u64) -> bool {
        matches!(self.stage, Stage::Asked(asked, _) if asked == number)
    }

    /// Whether a stream of news stands, whose end would tell of the server's.
    pub(super) fn stands(&self) -> bool {
        self.present.is_some()
    }

    /// Nobody waits any more for the answer to a wish.
    pub(super) fn forget(&mut self, number: u64) {
        self.waiting.remove(&number);
    }

    /// What is asked for, raw JSON; `None` where that is nothing.
    fn wanted(&self, offer: &Offer) -> Option<String> {
        let mut members: Vec<(String, String)> = Vec::new();
        for (capability, name) in LISTS {
            if offer.can(&[capability, "listChanged"]) {
                members.push((object::quoted(name), "true".to_owned()));
            }
        }
        let all: BTreeSet<&String> = self.followed.iter().chain(self.waiting.values()).collect();
        if !all.is_empty() {
            let uris: Vec<String> = all.into_iter().map(|uri| object::quoted(uri)).collect();
            members.push(("\"resourceSubscriptions\"".to_owned(), format!("[{}]", uris.join(","))));
        }
        (!members.is_empty()).then(|| object::object(members.iter().map(|(key, value)| (key.as_str(), value.as_str()))))
    }
}

#[cfg(test)]
impl Bridge {
    /// The URIs that are followed.
    pub(super) fn listening_to(&self) -> Vec<&str> {
        self.listening.followed.iter().map(String::as_str).collect()
    }
}

impl Bridge {
    /// The time of [`Listening::due`] may have come.
    pub(super) fn tick_listening(&mut self, now: Instant, wire: &mut dyn Wire) {
        match self.listening.stage {
            Stage::Paused(at) if at <= now => {
                self.listening.stage = Stage::Settled;
                self.listen(now, wire);
            }
            Stage::Asked(number, until) if until <= now => {
                self.pending.remove(&number);
                self.withdraw(number, wire);
                self.on_deaf(number, false, now, wire);
            }
            Stage::Paused(_) | Stage::Asked(..) | Stage::Off | Stage::Settled | Stage::Refused => {}
        }
    }

    /// Asks for all news that are wanted, unless that is under way.
    pub(super) fn listen(&mut self, now: Instant, wire: &mut dyn Wire) {
        match self.listening.stage {
            Stage::Asked(..) => {
                self.listening.is_outdated = true;
                return;
            }
            Stage::Refused | Stage::Paused(_) => return,
            Stage::Off | Stage::Settled => {}
        }
        let Some(offer) = &self.offer else { return };
        self.listening.is_outdated = false;
        let Some(wanted) = self.listening.wanted(offer) else {
            self.listening.stage = Stage::Settled;
            self.end_listening(wire);
            return;
        };
        let number = self.next();
        self.pending.insert(number, Pending::Listen);
        self.listening.stage = Stage::Asked(number, now + GRANT);
        self.send_own(PostKind::Listen, number, LISTEN, &format!(r#"{{"notifications":{wanted}}}"#), wire);
    }

    /// Ends the request that stands.
    fn end_listening(&mut self, wire: &mut dyn Wire) {
        if let Some(before) = self.listening.present.take() {
            self.pending.remove(&before);
            self.withdraw(before, wire);
        }
    }

    /// The router follows a resource from now on, or no longer.
    pub(super) fn on_wish(&mut self, (number, uri): (u64, &str), follows: bool, now: Instant, wire: &mut dyn Wire) {
        if !follows {
            super::answer(wire, number, "{}");
            if self.listening.followed.remove(uri) {
                self.listen(now, wire);
            }
            return;
        }
        let can = self.offer.as_ref().is_some_and(|offer| offer.can(&["resources", "subscribe"]));
        if !can || self.listening.stage == Stage::Refused {
            return super::refuse(wire, number, METHOD_NOT_FOUND, "the server tells no changes of resources");
        }
        if self.listening.followed.contains(uri) {
            return super::answer(wire, number, "{}");
        }
        if uri.len() > MAX_URI || self.listening.followed.len() + self.listening.waiting.len() >= MAX_FOLLOWED {
            return super::refuse(
                wire,
                number,
                INVALID_PARAMS,
                "the URI is too long, or too many are followed already",
            );
        }
        self.listening.waiting.insert(number, uri.to_owned());
        self.listen(now, wire);
    }

    /// The server has said what it grants of a request for news. `granted`: raw JSON.
    pub(super) fn on_granted(&mut self, number: u64, granted: &str, now: Instant, wire: &mut dyn Wire) {
        if !self.listening.is_asked(number) {
            return;
        }
        self.listening.stage = Stage::Settled;
        self.listening.granted = Some(now);
        self.end_listening(wire);
        self.listening.present = Some(number);
        let uris =
            object::find(granted, &["resourceSubscriptions"]).and_then(|uris| object::elements(uris, usize::MAX));
        let uris: BTreeSet<String> =
            uris.unwrap_or_default().into_iter().filter_map(object::text_of).map(Into::into).collect();
        // Those that came later are part of the next request.
        let later = std::mem::take(&mut self.listening.is_outdated);
        for (number, uri) in std::mem::take(&mut self.listening.waiting) {
            if uris.contains(&uri) {
                self.listening.followed.insert(uri);
                super::answer(wire, number, "{}");
            } else if later {
                self.listening.waiting.insert(number, uri);
            } else {
                super::refuse(wire, number, INVALID_PARAMS, "the server tells no changes of this resource");
            }
        }
        if std::mem::take(&mut self.listening.has_missed) {
            self.tell_missed(wire);
        }
        if later {
            self.listen(now, wire);
        }
    }

    /// A request for news is over. `refused`: the server has said that it knows none.
    pub(super) fn on_deaf(&mut self, number: u64, refused: bool, now: Instant, wire: &mut dyn Wire) {
        let was_asked = self.listening.is_asked(number);
        let is_present = self.listening.present == Some(number);
        let granted = if is_present { self.listening.granted.take() } else { None };
        if is_present {
            self.listening.present = None;
            self.listening.has_missed = true;
            // Another one is under way, and stands in its place.
            if !matches!(self.listening.stage, Stage::Settled) {
                return;
            }
        } else if !was_asked {
            return;
        }
        if refused && was_asked && self.listening.present.is_none() {
            self.listening.stage = Stage::Refused;
            for (number, _) in std::mem::take(&mut self.listening.waiting) {
                super::refuse(wire, number, METHOD_NOT_FOUND, "the server tells no changes of resources");
            }
            return;
        }
        if was_asked {
            for (number, _) in std::mem::take(&mut self.listening.waiting) {
                super::refuse(wire, number, METHOD_NOT_FOUND, "the server tells no changes of this resource now");
            }
        }
        // A server that ends its streams soon is asked less and less, too.
        if granted.is_some_and(|at| now - at >= STOOD) {
            self.listening.waited = Duration::ZERO;
        }
        let waited = (self.listening.waited * 2).clamp(SHORTEST, LONGEST);
        self.listening.waited = waited;
        self.listening.stage = Stage::Paused(now + waited);
    }

    /// What may have changed while nobody listened is told as changed.
    fn tell_missed(&mut self, wire: &mut dyn Wire) {
        for (capability, _) in LISTS {
            if self.offer.as_ref().is_some_and(|offer| offer.can(&[capability, "listChanged"])) {
                let frame = format!(r#"{{"jsonrpc":"2.0","method":"notifications/{capability}/list_changed"}}"#);
                super::hand_on(wire, frame.as_bytes());
            }
        }
        for uri in self.listening.followed.clone() {
            let uri = object::quoted(&uri);
            let frame =
                format!(r#"{{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{{"uri":{uri}}}}}"#);
            super::hand_on(wire, frame.as_bytes());
        }
    }
}
