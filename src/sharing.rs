//! How many connections an agent takes, seen from the lives of those it has. Pure.
//!
//! # Theory of operation
//!
//! Each server of an agent has a connection, until the endpoint *proves* that it takes only one. Two things are proofs, and
//! both look at first like something that happens to every connection.
//!
//! *Replaced*: a connection was closed with 1000 just when another one opened. What also looks like this is a restart of
//! the endpoint just then; but a restart ends the newcomer, too. Hence it counts once the newcomer has outlived it, or was
//! replaced itself. One such is enough, for there may be no other: the self-hosted endpoint forgets the newcomer as well,
//! which stays open, without use, and is not replaced by the next. Where the endpoint gives another reason than a takeover
//! ([`Takeover`]), as some do for an idle timeout, one is not enough: it has to come again and again, and never without a
//! newcomer.
//!
//! *Refused*: a connection was closed with 4004 soon after one opened, though its `initialize` was answered and others stand
//! on. Once is the cloud's answer to anything; three times in a row it is their number, or something about the servers that
//! it happens to: so what is done about it is on [`Trial`].
//!
//! Connections that stand side by side for some time disprove either, and from then on more is asked for.

pub mod layout;
#[cfg(test)]
mod tests;
mod trial;
mod witness;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

pub use self::trial::{Outcome, Trial};
pub use self::witness::{Sighting, Witness, witnesses};
use crate::link::cause::{Cause, Takeover, code};
use crate::mcp::cloud;

/// An endpoint that replaces connections closes the old one at once; this leaves room for a slow network.
const REPLACED: Duration = Duration::from_secs(1);
/// The two messages come on two connections: the close may be seen before the opening. Well below the 250 ms after
/// which a connection of ours that was closed itself comes again.
const OVERTAKEN: Duration = Duration::from_millis(50);
/// A restart of the endpoint closes all within this. Below 250 ms as well: so the next opening finds it settled.
const MOMENT: Duration = Duration::from_millis(200);
/// Two that have stood together for so long have not replaced each other.
const TOGETHER: Duration = Duration::from_secs(10);

/// A limit makes itself felt soon after a connection was made; later a close has other causes. Twice the cloud's interval
/// between its pings.
const REFUSED: Duration = cloud::PING.saturating_mul(2);
/// Maintenance closes connections one by one: only who stands on for this long was spared.
const SPARED: Duration = Duration::from_secs(5);
/// So many in a row are a proof even if connections have stood together.
const CERTAIN: usize = 5;
/// All connections together have passed at least one of the cloud's pings then.
const ALL_TOGETHER: Duration = cloud::PING;

/// What is to become of an agent's connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A connection for each server, as it is.
    KeepApart,
    /// One for all.
    TakesOne {
        /// What the endpoint did, in words, with the servers' names.
        why: String,
        /// How that proves it.
        proof: Proof,
    },
}

/// Proofs that an agent takes one connection only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// It keeps the newest one.
    Replaced,
    /// It refuses what is beyond a number. Something else may be the reason: see [`Trial`].
    Refused,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Close {
    /// The endpoint's close code; `None` if the connection was lost, or its close frame held none.
    pub code: Option<u16>,
    /// Whether the endpoint's words leave open that another connection took its place.
    pub takeover: Takeover,
    /// Whether the endpoint had its answer to `initialize`.
    pub handshaken: bool,
    /// Whether we wanted it.
    pub ours: bool,
}

impl Close {
    /// From what a link says of it.
    pub fn by(cause: &Cause, handshaken: bool) -> Self {
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
pub struct Evidence {
    names: Vec<Arc<str>>,
    /// Since when each one stands.
    standing: Vec<Option<Instant>>,
    /// The last that may have been replaced.
    replacement: Option<Replacement>,
    /// Replacements in a row that have been settled.
    replaced: Vec<Replacement>,
    /// One was closed with 1000 while none stood that could have replaced it.
    vacated: Option<Vacated>,
    /// Refusals that are not settled: whose, and when.
    refusals: Vec<(usize, Instant)>,
    /// Those in a row that have been settled.
    refused: Vec<usize>,
    /// Two have stood together for [`TOGETHER`].
    two_stood: bool,
    /// All have stood together for [`ALL_TOGETHER`].
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
    /// When it was closed.
    at: Instant,
    /// What the endpoint said.
    takeover: Takeover,
    /// Whom it had just replaced.
    last: Option<Replacement>,
}

impl Evidence {
    /// Of connections that don't stand yet; each is called by its server's name, and known by its place here.
    pub fn new(names: Vec<Arc<str>>) -> Self {
        Evidence {
            standing: vec![None; names.len()],
            names,
            replacement: None,
            replaced: Vec::new(),
            vacated: None,
            refusals: Vec::new(),
            refused: Vec::new(),
            two_stood: false,
            all_stood: false,
        }
    }

    /// What a pipe saw.
    pub fn sees(&mut self, Sighting { who, at, closed }: Sighting) -> Verdict {
        match closed {
            None => self.opened(who, at),
            Some(how) => self.closed(who, how, at),
        }
    }

    /// A connection stands.
    pub fn opened(&mut self, who: usize, now: Instant) -> Verdict {
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
        self.verdict()
    }

    /// A connection that stood has ended.
    pub fn closed(&mut self, who: usize, close: Close, now: Instant) -> Verdict {
        self.settle(now);
        if let Some(vacated) = self.vacated.take() {
            self.nobody_came(vacated);
        }
        let latest = self.standing.iter().flatten().max().copied();
        let (Some(since), Some(latest)) = (self.standing.get_mut(who).and_then(Option::take), latest) else {
            return self.verdict();
        };
        let last = self.replacement.take_if(|last| last.new == who);
        let others = self.standing.iter().enumerate().filter_map(|(n, since)| Some((n, (*since)?)));
        let newest = others.max_by_key(|(_, opened)| *opened);
        if close.ours {
            return self.verdict();
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
                // The newcomer of the last one was replaced in its turn, by one that came later.
                self.replaced.extend(last.filter(|last| opened > last.at));
                self.replacement = Some(Replacement { old: who, new, at: now, takeover: close.takeover });
            }
            None => self.vacated = Some(Vacated { old: who, at: now, takeover: close.takeover, last }),
        }
        self.verdict()
    }

    /// A connection was closed and no other one came in its place: what the endpoint gave as the reason may be the reason.
    fn nobody_came(&mut self, vacated: Vacated) {
        if vacated.takeover == Takeover::Unlikely {
            self.replacement = None;
            self.replaced.clear();
        }
    }

    /// What time has shown since the last event.
    fn settle(&mut self, now: Instant) {
        // More would prove no more.
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
        if since.len() == self.names.len() && waited(since.last(), ALL_TOGETHER) {
            self.all_stood = true;
            self.refusals.clear();
            self.refused.clear();
        }
    }

    fn verdict(&self) -> Verdict {
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
            return Verdict::TakesOne { why, proof: Proof::Replaced };
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
                "the endpoint closed {} connections in a row with {} ({}) while another one stood, though initialize had \
                 been answered",
                self.refused.len(),
                cloud::CLOSE,
                names.join(", ")
            );
            return Verdict::TakesOne { why, proof: Proof::Refused };
        }
        Verdict::KeepApart
    }
}
