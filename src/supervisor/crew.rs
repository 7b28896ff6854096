//! A group of servers at work: their links to the endpoint, and the change to another layout.
//!
//! Servers run in the hub, whatever is connected to them: another layout means other links, and no server notices.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::join_all;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Common;
use super::claim::Claim;
use super::roster::{Post, Posted};
use crate::backoff::FLOOR;
use crate::config::{LinkSpec, Mode, ServerSpec, Sharing, Standby};
use crate::control::journal::LinkNews;
use crate::control::status::{LinkEntry, ServerEntry, Status};
use crate::endpoint::Endpoint;
use crate::endpoint::agent::{Agent, LeaseKey};
use crate::lease::{Epoch, Leases, Place, Standing};
use crate::logging::Names;
use crate::mcp::handshake::Hello;
use crate::pipe::membership::{Manner, NewLink, Shown};
use crate::router::PeerId;
use crate::server::wanted::Goal;
use crate::sharing::layout::{Group, Layout};
use crate::sharing::{Evidence, Finding, Outcome, Proof, Trial, Witness, Witnesses, witnesses};
use crate::tools::ToolPolicy;

/// The servers of a group, and what they need to run. Each life of a pipe has a copy.
pub(super) struct Crew {
    agent: Agent,
    mode: Mode,
    members: Vec<Member>,
    /// The servers' names, for the log.
    names: Names,
    /// The endpoint's name, if it has one.
    name: Option<Arc<str>>,
    /// How the endpoint is dialled where servers share a connection; `None`: as the first server says.
    link: Option<Arc<LinkSpec>>,
    /// How we know that the agent takes one connection only, if we do.
    known: Option<&'static str>,
    /// The layout at the start.
    layout: Layout,
    /// What several daemons call the agent.
    lease_key: Option<LeaseKey>,
    /// Where the agent is ours by a lease: since when, and what says that it is no longer.
    term: Term,
    /// The links that are not known to have ended.
    links: Mutex<Vec<PeerId>>,
    common: Common,
}

/// A time in which the agent is ours. Without leases it always is.
#[derive(Default)]
struct Term {
    epoch: Option<Epoch>,
    lost: CancellationToken,
}

#[derive(Clone)]
struct Member {
    spec: Arc<ServerSpec>,
    endpoint: Endpoint,
    /// The server itself.
    of: Entry,
}

/// A server, whoever is shown what of it.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) spec: Arc<ServerSpec>,
    pub(super) status: ServerEntry,
    /// What a person wants of the server.
    pub(super) goal: watch::Receiver<Goal>,
}

/// A link in the hub.
struct Attached {
    peer: PeerId,
    /// Keeps the link in the roster.
    posted: Posted,
}

/// A link of one server alone.
struct Own {
    member: Member,
    /// Its place among those about which there is evidence.
    who: usize,
    attached: Attached,
}

/// What a crew is told.
pub(super) struct CrewOrders {
    /// The group is to be this one, of the same agent and mode; whoever waits is told when it is.
    pub(super) changes: mpsc::Receiver<(Group, oneshot::Sender<()>)>,
    /// The group is no more.
    pub(super) ended: CancellationToken,
}

impl Member {
    /// Whether a link for this one is the same as for the other.
    fn dials_as(&self, other: &Member) -> bool {
        let of = |member: &Member| (member.spec.name.clone(), member.endpoint.clone(), member.spec.link.clone());
        of(self) == of(other)
    }

    /// What an endpoint is shown of the server.
    fn shown(&self) -> (&ToolPolicy, Sharing, usize) {
        (&self.spec.tools, self.spec.sharing, self.spec.max_frame)
    }
}

/// What an endpoint is shown of these servers, if there are any.
fn shown(members: &[Member], manner: Manner) -> Option<Shown> {
    let sharing = members.first()?.spec.sharing;
    let servers = members.iter().map(|member| (member.spec.name.clone(), member.spec.tools.clone())).collect();
    Some(Shown { servers, room: None, sharing, manner })
}

/// The servers of a group that there are.
fn members(servers: Vec<(ServerSpec, Endpoint)>, entries: &Entries) -> Vec<Member> {
    let member = |(spec, endpoint): (ServerSpec, _)| {
        let of = entries.get(&spec.name)?;
        Some(Member { spec: Arc::new(spec), endpoint, of })
    };
    servers.into_iter().filter_map(member).collect()
}

/// All servers of a run, by name. Cloning gives another handle.
#[derive(Clone, Default)]
pub(super) struct Entries(Arc<Mutex<HashMap<Arc<str>, Entry>>>);

impl Entries {
    /// A server of this name.
    pub(super) fn get(&self, name: &str) -> Option<Entry> {
        self.lock().get(name).cloned()
    }

    /// Adds a server, or puts another in its place.
    pub(super) fn put(&self, entry: Entry) {
        self.lock().insert(entry.spec.name.clone(), entry);
    }

    /// A server is no more.
    pub(super) fn remove(&self, name: &str) {
        self.lock().remove(name);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Crew {
    /// A crew that has started nothing yet.
    pub(super) fn new(group: Group, common: Common) -> Self {
        let known = if group.is_self_hosted() {
            Some("the self-hosted endpoint server keeps only the newest one of an agent")
        } else if common.run.catalogue.is_single(&group.agent.key()) {
            Some(
                "an earlier run found that this agent takes no more. That is remembered for 30 days; \"mode\": \"per-server\" \
                 gives each its own all the same",
            )
        } else {
            None
        };
        let (names, layout, lease_key) = (group.names(), group.layout(known.is_some()), group.lease_key());
        let Group { agent, mode, name, link, servers } = group;
        let members = members(servers, &common.entries);
        let (term, links) = (Term::default(), Mutex::default());
        Crew { agent, mode, members, names, name, link, known, layout, lease_key, term, links, common }
    }

    /// Serves the group, whenever that is ours to do, until the stop, or until it is told that the group is no more. All its links have
    /// ended then, but at the stop, which the hub sees itself.
    pub(super) async fn run(mut self, mut told: CrewOrders) {
        let (Some(leases), Some(key)) = (self.common.leases.clone(), self.lease_key) else {
            return self.work(&mut told).await;
        };
        let stop = self.common.run.stop.clone();
        while !stop.drain().is_cancelled() && !told.ended.is_cancelled() {
            let mut place = leases.want(key);
            let Some(epoch) = self.stand_by(&leases, &mut place, &mut told).await else { return };
            self.term = Term { epoch: Some(epoch), lost: CancellationToken::new() };
            info!(event = "LEASE_HELD", servers = ?self.names, epoch, "has the lease of the agent");
            let lost = self.term.lost.clone();
            let minded = async {
                place.lost().await;
                lost.cancel();
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = self.serve_a_term(&mut told) => {}
                () = minded => {}
            }
            // Giving up the place, here, says that nothing is open any more.
        }
    }

    /// Serves until the end, or until the agent is ours no more. All links have ended then.
    async fn serve_a_term(&mut self, told: &mut CrewOrders) {
        self.work(told).await;
        // Those of a stop, and those that nobody has seen end.
        self.end_links(self.known_links()).await;
    }

    /// Waits until the agent is ours, and says since when. `None`: the end has come first.
    async fn stand_by(&mut self, leases: &Leases, place: &mut Place, told: &mut CrewOrders) -> Option<Epoch> {
        let mut link = add_link(&self.members, self.name.as_deref(), &self.common.status);
        let mut told_before = String::new();
        loop {
            if leases.standby == Standby::Warm {
                for member in &self.members {
                    self.common.run_with_fallback(&member.of).await;
                }
            }
            let why = match place.standing() {
                Standing::Held(epoch) => return Some(epoch),
                Standing::Standby(Some(node)) => format!("{node} has the lease of its agent"),
                Standing::Standby(None) | Standing::Lost => "nobody has the lease of its agent yet".to_owned(),
            };
            if why != told_before {
                link.iter().for_each(|link| link.write(&self.names, LinkNews::Standby(&why)));
                told_before = why;
            }
            tokio::select! {
                () = self.common.run.stop.drain().cancelled() => return None,
                () = told.ended.cancelled() => return None,
                () = place.changed() => {}
                Some((group, done)) = told.changes.recv() => {
                    self.change(group);
                    link = add_link(&self.members, self.name.as_deref(), &self.common.status);
                    told_before.clear();
                    let _nobody_waits = done.send(());
                }
            }
        }
    }

    /// Serves the group until the stop, until it is told that the group is no more, or until the agent is ours no more.
    async fn work(&mut self, told: &mut CrewOrders) {
        let mut takes_one = self.known.is_some();
        let mut layout = self.layout;
        if let (Mode::Auto, Layout::Together, Some(why)) = (self.mode, layout, self.known) {
            info!(event = "SERVERS_MERGED", servers = ?self.names, "share one connection: {why}");
        }
        let (agent, common) = (self.agent, self.common.clone());
        let mut claim = Claim::new(agent, &self.names, takes_one, &common);
        let mut trial_failed = false;
        loop {
            if takes_one && !self.wait_for(&mut claim, told).await {
                return;
            }
            let names = self.names.clone();
            let settled = async {
                claim.settled(agent, &names, &common).await;
                std::future::pending::<()>().await;
            };
            let next = tokio::select! {
                next = self.serve(layout, trial_failed, told) => next,
                () = settled => None,
            };
            let is_over = common.run.stop.drain().is_cancelled() || self.term.lost.is_cancelled();
            let Some(next) = next.filter(|_| !is_over) else { return };
            trial_failed = layout == Layout::OnTrial;
            takes_one = !trial_failed;
            layout = next;
            // Also for the next term, if there is one.
            self.layout = next;
            self.settle().await;
        }
    }

    /// Serves in one layout until the end, or until another layout turns out to be needed. All links have ended then.
    async fn serve(&mut self, layout: Layout, trial_failed: bool, told: &mut CrewOrders) -> Option<Layout> {
        match layout {
            Layout::Apart => self.apart(trial_failed, told).await,
            Layout::OnTrial => self.on_trial(told).await,
            Layout::Together => {
                let link = self.together(None).await?;
                self.stay_together(link, None, told).await
            }
            Layout::InTurns => {
                let link = self.attach(&self.members, self.in_turns(), None).await?;
                self.stay_together(link, None, told).await
            }
        }
    }

    /// Waits until no other process serves the agent. Returns false if the end came first.
    async fn wait_for(&mut self, claim: &mut Claim, told: &mut CrewOrders) -> bool {
        let _link = if let Claim::Disputed = claim {
            let link = add_link(&self.members, self.name.as_deref(), &self.common.status);
            link.iter().for_each(|link| link.write(&self.names, LinkNews::Taken));
            link
        } else {
            None
        };
        loop {
            let (group, done) = tokio::select! {
                () = claim.settled(self.agent, &self.names, &self.common) => return true,
                () = self.common.run.stop.drain().cancelled() => return false,
                () = over(&told.ended, &self.term) => return false,
                Some(change) = told.changes.recv() => change,
            };
            self.change(group);
            let _nobody_waits = done.send(());
        }
    }

    /// Has a link for each server; in mode `auto` until the endpoint has proven that the agent takes only one connection.
    async fn apart(&mut self, trial_failed: bool, told: &mut CrewOrders) -> Option<Layout> {
        let stop = self.common.run.stop.clone();
        let (witnesses, mut heard) = witnesses();
        let mut evidence = Evidence::new(Vec::new());
        let mut links = Vec::new();
        for member in self.members.clone() {
            links.push(self.attach_alone(member, &witnesses, &mut evidence).await?);
        }
        let mut limited = false;
        loop {
            let sighting = tokio::select! {
                () = stop.drain().cancelled() => return None,
                () = over(&told.ended, &self.term) => {
                    self.detach(links.into_iter().map(|own| own.attached)).await;
                    return None;
                }
                Some((group, done)) = told.changes.recv() => {
                    self.change(group);
                    self.follow_apart(&mut links, &witnesses, &mut evidence).await?;
                    let _nobody_waits = done.send(());
                    if self.mode == Mode::Auto && self.known.is_some() && self.members.len() > 1 {
                        self.detach(links.into_iter().map(|own| own.attached)).await;
                        return Some(Layout::Together);
                    }
                    continue;
                }
                Some(sighting) = heard.recv() => sighting,
            };
            match evidence.sees(sighting) {
                Finding::KeepApart => {}
                Finding::TakesOne { proof: Proof::Refused, .. } if trial_failed => {}
                Finding::TakesOne { .. } if limited || stop.drain().is_cancelled() => {}
                Finding::TakesOne { why, proof } if self.mode == Mode::Auto => {
                    warn!(
                        event = "SERVERS_MERGED",
                        servers = ?self.names,
                        "share one connection from now on: {why}. \"mode\": \"per-server\" gives each its own all the same"
                    );
                    self.detach(links.into_iter().map(|own| own.attached)).await;
                    return Some(match proof {
                        Proof::Replaced => {
                            self.remember();
                            Layout::Together
                        }
                        Proof::Refused => Layout::OnTrial,
                    });
                }
                Finding::TakesOne { why, .. } => {
                    limited = true;
                    let remedy = "\"mode\": \"auto\" or \"multiplex\" puts them on one connection";
                    warn!(event = "CONNECTIONS_LIMITED", servers = ?self.names, "{why}; {remedy}");
                }
            }
        }
    }

    /// A link for one server, which tells what becomes of it.
    async fn attach_alone(&self, member: Member, witnesses: &Witnesses, evidence: &mut Evidence) -> Option<Own> {
        let who = evidence.add(member.spec.name.clone());
        let witness = witnesses.of(who, self.members.len());
        let attached = self.attach(std::slice::from_ref(&member), Manner::AsOne, Some(witness)).await?;
        Some(Own { member, who, attached })
    }

    /// Brings the links of servers that have one each in line with the members. `None` if the hub has ended.
    async fn follow_apart(&self, links: &mut Vec<Own>, witnesses: &Witnesses, evidence: &mut Evidence) -> Option<()> {
        let is_wanted = |own: &Own| self.members.iter().any(|member| member.dials_as(&own.member));
        let (mut kept, unwanted): (Vec<Own>, Vec<Own>) = links.drain(..).partition(is_wanted);
        if !unwanted.is_empty() {
            unwanted.iter().for_each(|own| evidence.remove(own.who));
            self.detach(unwanted.into_iter().map(|own| own.attached)).await;
            self.settle().await;
        }
        for member in self.members.clone() {
            match kept.iter_mut().find(|own| own.member.spec.name == member.spec.name) {
                Some(own) => {
                    if own.member.shown() != member.shown() {
                        self.show(&mut own.attached, std::slice::from_ref(&member)).await;
                    }
                    own.member = member;
                }
                None => kept.push(self.attach_alone(member, witnesses, evidence).await?),
            }
        }
        *links = kept;
        Some(())
    }

    /// Has one link for all servers, on trial, until the trial has failed.
    async fn on_trial(&mut self, told: &mut CrewOrders) -> Option<Layout> {
        let stop = self.common.run.stop.clone();
        let (witnesses, mut heard) = witnesses();
        let witness = witnesses.of(0, 1);
        let mut link = self.together(Some(witness.clone())).await?;
        let mut trial = Trial::default();
        loop {
            let sighting = tokio::select! {
                () = stop.drain().cancelled() => return None,
                () = over(&told.ended, &self.term) => {
                    self.detach([link]).await;
                    return None;
                }
                Some((group, done)) = told.changes.recv() => {
                    link = self.follow_together(link, group, Some(&witness)).await?;
                    let _nobody_waits = done.send(());
                    continue;
                }
                () = until(trial.passes_at()) => break,
                Some(sighting) = heard.recv() => sighting,
            };
            // At a stop the outcome makes no difference, and another step of it would cut short what is under way.
            if trial.sees(sighting) == Outcome::Failed && !stop.drain().is_cancelled() {
                warn!(
                    event = "SERVERS_PARTED",
                    servers = ?self.names,
                    "the endpoint refuses the one connection as well, so their number was not the reason: each has its own again. \
                     Too many tools may be; see mcp-pipe tools --size"
                );
                self.detach([link]).await;
                return Some(Layout::Apart);
            }
        }
        self.remember();
        drop(heard);
        self.stay_together(link, None, told).await
    }

    /// Keeps one link for all servers until the end.
    async fn stay_together(
        &mut self,
        mut link: Attached,
        witness: Option<&Witness>,
        told: &mut CrewOrders,
    ) -> Option<Layout> {
        let stop = self.common.run.stop.clone();
        loop {
            tokio::select! {
                () = stop.drain().cancelled() => return None,
                () = over(&told.ended, &self.term) => {
                    self.detach([link]).await;
                    return None;
                }
                Some((group, done)) = told.changes.recv() => {
                    link = self.follow_together(link, group, witness).await?;
                    let _nobody_waits = done.send(());
                }
            }
        }
    }

    /// Brings the one link in line with another group: it shows something else, or another one takes its place.
    async fn follow_together(
        &mut self,
        mut link: Attached,
        group: Group,
        witness: Option<&Witness>,
    ) -> Option<Attached> {
        let dialled = self.dialled();
        self.change(group);
        if self.dialled() == dialled {
            self.show(&mut link, &self.members).await;
            return Some(link);
        }
        self.detach([link]).await;
        self.settle().await;
        self.together(witness.cloned()).await
    }

    /// Where one link for all servers leads, and how that is dialled.
    fn dialled(&self) -> Option<(Endpoint, LinkSpec)> {
        let first = self.members.first()?;
        Some((first.endpoint.clone(), (**self.link.as_ref().unwrap_or(&first.spec.link)).clone()))
    }

    /// The group is another one from now on: of the same agent, in the same mode.
    fn change(&mut self, group: Group) {
        self.names = group.names();
        let Group { name, link, servers, .. } = group;
        (self.name, self.link, self.members) = (name, link, members(servers, &self.common.entries));
    }

    /// Shows an endpoint these servers from now on.
    async fn show(&self, link: &mut Attached, members: &[Member]) {
        for member in members {
            self.common.hub.ensure(&member.of, &self.common.run).await;
        }
        let Some(shown) = shown(members, Manner::AsOne) else { return };
        self.common.hub.show(link.peer, shown).await;
        link.posted = self.post(members, false, link.peer);
    }

    /// Puts a link into the roster.
    fn post(&self, members: &[Member], takes_turns: bool, link: PeerId) -> Posted {
        let servers = members.iter().map(|member| member.spec.name.clone()).collect();
        let endpoint = members.first().map(|member| member.endpoint.clone());
        self.common.roster.add(Post { name: self.name.clone(), endpoint, servers, takes_turns, link })
    }

    /// How the servers are shown where they take turns.
    fn in_turns(&self) -> Manner {
        Manner::InTurns { pinned: self.members.iter().position(|member| member.spec.pin) }
    }

    /// A link that shows all servers as one.
    async fn together(&self, witness: Option<Witness>) -> Option<Attached> {
        self.attach(&self.members, Manner::AsOne, witness).await
    }

    /// A link that shows these servers, at least one. `None` if the hub has ended.
    async fn attach(&self, members: &[Member], manner: Manner, witness: Option<Witness>) -> Option<Attached> {
        if self.term.lost.is_cancelled() {
            return None;
        }
        let common = &self.common;
        for member in members {
            common.run_with_fallback(&member.of).await;
        }
        let Member { endpoint, spec, .. } = members.first()?;
        let shown = shown(members, manner)?;
        let link = self.link.as_ref().filter(|_| members.len() > 1).unwrap_or(&spec.link).clone();
        let (endpoint, name, hello) = (endpoint.clone(), self.name.clone(), self.hello());
        let status = add_link(members, self.name.as_deref(), &common.status)?;
        let link = match self.term.epoch {
            Some(epoch) => Arc::new(LinkSpec { epoch: Some(epoch), ..(*link).clone() }),
            None => link,
        };
        let peer = common.hub.attach(NewLink { endpoint, name, status, link, hello, shown, witness }).await?;
        self.links.lock().unwrap_or_else(PoisonError::into_inner).push(peer);
        Some(Attached { peer, posted: self.post(members, matches!(manner, Manner::InTurns { .. }), peer) })
    }

    /// Ends links, once nothing is under way on them; at once as soon as the agent is ours no more.
    async fn detach(&self, links: impl IntoIterator<Item = Attached>) {
        // Each stays in the roster until all have ended.
        let links: Vec<Attached> = links.into_iter().collect();
        self.end_links(links.iter().map(|link| link.peer).collect()).await;
    }

    async fn end_links(&self, links: Vec<PeerId>) {
        let hub = &self.common.hub;
        let drained = async {
            // The hub may have ended meanwhile.
            let ended = join_all(links.iter().map(|link| hub.detach(*link))).await;
            let _gone = join_all(ended).await;
        };
        tokio::select! {
            () = drained => {}
            () = self.term.lost.cancelled() => {
                let ended = join_all(links.iter().map(|link| hub.cut(*link))).await;
                let _gone = join_all(ended).await;
            }
        }
        self.links.lock().unwrap_or_else(PoisonError::into_inner).retain(|link| !links.contains(link));
    }

    /// The links that are not known to have ended.
    fn known_links(&self) -> Vec<PeerId> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The pause before a connection that follows another one: some endpoints confuse the two otherwise.
    async fn settle(&self) {
        tokio::select! {
            () = sleep(FLOOR) => {}
            () = self.term.lost.cancelled() => {}
        }
    }

    /// What the endpoint will say of itself, if that is known: the local endpoint's own parameters, or those of an earlier connection.
    fn hello(&self) -> Option<Arc<Hello>> {
        let known = self.members.first().and_then(|member| member.spec.hello.clone());
        known.or_else(|| {
            let remembered = self.common.run.catalogue.hello(&self.agent.key())?;
            Some(Arc::new(Hello::read(remembered.as_bytes())))
        })
    }

    fn remember(&self) {
        self.common.run.catalogue.remember_single(&self.agent.key());
    }
}

/// The entry of a link to the endpoint of the first of these servers, which shows all of them; none where there are none.
fn add_link(members: &[Member], name: Option<&str>, status: &Status) -> Option<LinkEntry> {
    let link = status.add_link(&members.first()?.endpoint, name);
    link.shows(members.iter().map(|member| member.of.status.key()));
    Some(link)
}

/// Waits until the group is no more, or its agent is not ours.
async fn over(ended: &CancellationToken, term: &Term) {
    tokio::select! {
        () = ended.cancelled() => {}
        () = term.lost.cancelled() => {}
    }
}

/// Waits until `at`; without a time for ever.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
