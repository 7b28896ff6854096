//! How many connections an agent takes, seen from the lives of its connections. Pure.
//!
//! # Theory of operation
//!
//! Each server of an agent has a connection, until the endpoint *proves* that it takes only one. There are two proofs, and
//! each looks at first like something that happens to every connection.
//!
//! *Replaced*: a connection was closed with 1000 just when another one opened. A restart of the endpoint may look the same, but
//! ends the newcomer, too. Hence a replacement counts once the newcomer has outlived a restart's moment, or was
//! replaced itself. One replacement is enough, for there may be no other: the self-hosted endpoint forgets the newcomer as well,
//! which stays open, without use, and is not replaced by the next connection. Where the endpoint gives another reason than a
//! takeover ([`Takeover`]), as some do for an idle timeout, one is not enough: replacements have to come again and again, and no
//! such close without a newcomer.
//!
//! *Refused*: a connection was closed with 4004 soon after one opened, though its `initialize` was answered and others stand
//! on. Once, that is the cloud's answer to anything. Three times in a row, the reason is the number of connections, or else
//! something about the refused servers: so the one connection that follows is on [`Trial`].
//!
//! Connections that stand side by side for some time disprove either, and from then on more proofs are asked for.

pub(crate) mod layout;
#[cfg(test)]
mod tests;
mod trial;
mod witness;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

pub(crate) use self::trial::{Outcome, Trial};
pub(crate) use self::witness::{Sighting, Witness, Witnesses, witnesses};
use crate::link::cause::{Cause, Takeover, code};
use crate::mcp::cloud;

/// Longest time between the opening of the newcomer and the close of the old connection: an endpoint closes that at once, but the
/// network may be slow.
const REPLACED: Duration = Duration::from_secs(1);
/// Longest time by which the close may be seen before the opening, since the two come on two connections. Well below `SETTLING`,
/// after which a closed connection of ours comes again.
const OVERTAKEN: Duration = Duration::from_millis(50);
/// Longest time in which a restart of the endpoint closes all connections. Below `SETTLING` as well, so that a restart is over
/// when the next connection opens.
const MOMENT: Duration = Duration::from_millis(200);
/// Shortest time together of two connections that shows that neither has replaced the other.
const TOGETHER: Duration = Duration::from_secs(10);

/// Longest time between the opening of a connection and a refusal: a limit makes itself felt soon, and later a close has other
/// causes. Twice the cloud's interval between pings.
const REFUSED: Duration = cloud::PING.saturating_mul(2);
/// Shortest time that other connections have to stand on after a refusal: maintenance closes connections one by one.
const SPARED: Duration = Duration::from_secs(5);
/// How many replacements or refusals in a row are a proof even if connections have stood together.
const CERTAIN: usize = 5;
/// Shortest time together of all connections that shows that none is refused: each has passed one of the cloud's pings.
const ALL_TOGETHER: Duration = cloud::PING;

/// What is to become of an agent's connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finding {
    /// Each server keeps its connection.
    KeepApart,
    /// All servers are to share one connection.
    TakesOne {
        /// What the endpoint did, in words, with the servers' names.
        why: String,
        /// The kind of proof.
        proof: Proof,
    },
}

/// Proofs that an agent takes one connection only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    /// The endpoint keeps only the newest connection.
    Replaced,
    /// The endpoint refuses connections beyond some number. Something else may be the reason: see [`Trial`].
    Refused,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Close {
    /// The endpoint's close code; `None` if the connection was lost, or its close frame held none.
    pub code: Option<u16>,
    /// Whether the endpoint's words leave open that another connection took its place.
    pub takeover: Takeover,
    /// Whether the endpoint had its answer to `initialize`.
    pub handshaken: bool,
    /// Whether we closed the connection.
    pub ours: bool,
}

impl Close {
    /// The close that a link's `cause` was. `handshaken`: whether the endpoint had its answer to `initialize`.
    pub(crate) fn by(cause: &Cause, handshaken: bool) -> Self {
        let code = match cause {
            Cause::Closed { code, .. } => *code,
            Cause::Dial(_)
            | Cause::Ours(_)
            | Cause::Lost(_)
            | Cause::Unresponsive { .. }
            | Cause::Protocol(_)
            | Cause::Stranger { .. } => None,
        };
        Close { code, takeover: cause.takeover(), handshaken, ours: matches!(cause, Cause::Ours(_)) }
    }
}

/// The connections of one agent, and what their lives have shown so far.
#[derive(Debug)]
pub(crate) struct Evidence {
    names: Vec<Arc<str>>,
    /// How many of them are there no more.
    gone: usize,
    /// Since when each connection stands.
    standing: Vec<Option<Instant>>,
    /// The last replacement, not settled yet.
    replacement: Option<Replacement>,
    /// Settled replacements in a row.
    replaced: Vec<Replacement>,
    /// The last connection that was closed like a replaced one while no newcomer stood: that may be seen a moment later.
    vacated: Option<Vacated>,
    /// Refusals that are not settled yet: of which connection, and when.
    refusals: Vec<(usize, Instant)>,
    /// The connections of the settled refusals in a row.
    refused: Vec<usize>,
    /// Whether two have stood together for [`TOGETHER`].
    two_stood: bool,
    /// Whether all have stood together for [`ALL_TOGETHER`].
    all_stood: bool,
}

#[derive(Debug, Clone, Copy)]
struct Replacement {
    old: usize,
    new: usize,
    /// When the old one was closed.
    at: Instant,
    /// What the endpoint said.
    takeover: Takeover,
}

#[derive(Debug, Clone, Copy)]
struct Vacated {
    old: usize,
    /// When the connection was closed.
    at: Instant,
    /// What the endpoint said.
    takeover: Takeover,
    /// The replacement in which the connection was the newcomer, if that is not settled yet.
    last: Option<Replacement>,
}

impl Evidence {
    /// Evidence about connections that don't stand yet. `names` are those of their servers; a connection is known by its place
    /// there.
    pub(crate) fn new(names: Vec<Arc<str>>) -> Self {
        Evidence {
            standing: vec![None; names.len()],
            names,
            gone: 0,
            replacement: None,
            replaced: Vec::new(),
            vacated: None,
            refusals: Vec::new(),
            refused: Vec::new(),
            two_stood: false,
            all_stood: false,
        }
    }

    /// A connection more, which doesn't stand yet. Returns its place.
    pub(crate) fn add(&mut self, name: Arc<str>) -> usize {
        self.names.push(name);
        self.standing.push(None);
        self.names.len() - 1
    }

    /// A connection is there no more, by our doing.
    pub(crate) fn remove(&mut self, who: usize) {
        self.gone += 1;
        if let Some(standing) = self.standing.get_mut(who) {
            *standing = None;
        }
    }

    /// Takes in what a pipe saw.
    pub(crate) fn sees(&mut self, Sighting { who, at, closed }: Sighting) -> Finding {
        match closed {
            None => self.opened(who, at),
            Some(how) => self.closed(who, how, at),
        }
    }

    /// A connection stands.
    pub(crate) fn opened(&mut self, who: usize, now: Instant) -> Finding {
        self.settle(now);
        let vacated = self.vacated.take();
        if let Some(standing) = self.standing.get_mut(who) {
            *standing = Some(now);
        }
        match vacated {
            Some(Vacated { old, at, takeover, last }) if old != who && now - at <= OVERTAKEN => {
                self.replaced.extend(last);
                self.replacement = Some(Replacement { old, new: who, at, takeover });
            }
            Some(vacated) => self.nobody_came(vacated),
            None => {}
        }
        self.finding()
    }

    /// A connection that stood has ended.
    pub(crate) fn closed(&mut self, who: usize, close: Close, now: Instant) -> Finding {
        self.settle(now);
        if let Some(vacated) = self.vacated.take() {
            self.nobody_came(vacated);
        }
        let latest = self.standing.iter().flatten().max().copied();
        let (Some(since), Some(latest)) = (self.standing.get_mut(who).and_then(Option::take), latest) else {
            return self.finding();
        };
        let last = self.replacement.take_if(|last| last.new == who);
        let others = self.standing.iter().enumerate().filter_map(|(n, since)| Some((n, (*since)?)));
        let newest = others.max_by_key(|(_, opened)| *opened);
        if close.ours {
            return self.finding();
        }
        match (close.code, newest) {
            (Some(cloud::CLOSE), Some(_)) if close.handshaken && now - latest <= REFUSED => {
                self.refusals.truncate(CERTAIN);
                self.refusals.push((who, now));
            }
            _ => {
                self.refusals.clear();
                self.refused.clear();
            }
        }
        match newest.filter(|(_, opened)| *opened >= since && now - *opened <= REPLACED) {
            _ if close.code != Some(code::REGULAR) => {}
            Some((new, opened)) => {
                // The newcomer of the last replacement was replaced in its turn, by a connection that opened later.
                self.replaced.extend(last.filter(|last| opened > last.at));
                self.replacement = Some(Replacement { old: who, new, at: now, takeover: close.takeover });
            }
            None => self.vacated = Some(Vacated { old: who, at: now, takeover: close.takeover, last }),
        }
        self.finding()
    }

    /// A connection was closed and no other one came in its place, so the reason that the endpoint gave may be true.
    fn nobody_came(&mut self, vacated: Vacated) {
        if vacated.takeover == Takeover::Unlikely {
            self.replacement = None;
            self.replaced.clear();
        }
    }

    /// Settles what time has shown since the last event.
    fn settle(&mut self, now: Instant) {
        // Bounded: more would prove no more.
        self.replaced.truncate(CERTAIN);
        self.refused.truncate(CERTAIN);
        let mut since: Vec<Instant> = self.standing.iter().flatten().copied().collect();
        since.sort_unstable();
        let waited = |at: Option<&Instant>, long| at.is_some_and(|at| now - *at >= long);

        let stands = |who: usize| self.standing.get(who).copied().flatten();
        let settled = |last: &mut Replacement| stands(last.new).is_some() && now - last.at >= MOMENT;
        self.replaced.extend(self.replacement.take_if(settled));
        if waited(since.get(1), TOGETHER) {
            self.two_stood = true;
            self.replacement = None;
            self.replaced.clear();
        }

        let refused = &mut self.refused;
        self.refusals.retain(|(who, at)| {
            let spared = since.first().is_some_and(|since| since < at);
            let settled = now - *at >= SPARED;
            if spared && settled {
                refused.push(*who);
            }
            spared && !settled
        });
        if since.len() == self.names.len() - self.gone && waited(since.last(), ALL_TOGETHER) {
            self.all_stood = true;
            self.refusals.clear();
            self.refused.clear();
        }
    }

    fn finding(&self) -> Finding {
        let name = |who: usize| self.names.get(who).map_or("", |name| &**name);
        let doubtful = self.two_stood || self.replaced.iter().any(|last| last.takeover == Takeover::Unlikely);
        let enough = if doubtful { CERTAIN } else { 1 };
        if let Some(Replacement { old, new, .. }) = self.replaced.last()
            && self.replaced.len() >= enough
        {
            let (old, new) = (name(*old), name(*new));
            let why = format!(
                "the endpoint keeps only the newest connection: it closed {old}'s with 1000 when {new} connected"
            );
            return Finding::TakesOne { why, proof: Proof::Replaced };
        }
        let enough = if self.all_stood { CERTAIN } else { 3 };
        if self.refused.len() >= enough {
            let mut names: Vec<&str> = Vec::new();
            self.refused.iter().map(|who| name(*who)).for_each(|name| {
                if !names.contains(&name) {
                    names.push(name);
                }
            });
            let why = format!(
                "the endpoint closed at least {} connections in a row with {} ({}) while another one stood, though initialize had \
                 been answered",
                self.refused.len(),
                cloud::CLOSE,
                names.join(", ")
            );
            return Finding::TakesOne { why, proof: Proof::Refused };
        }
        Finding::KeepApart
    }
}
