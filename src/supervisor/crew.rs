//! A group of servers at work: their links to the endpoint, and the change to another layout.
//!
//! Servers run in the hub, whatever is connected to them: another layout means other links, and no server notices. Only
//! servers that take turns have a pipe of their own.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use super::Common;
use super::claim::Claim;
use super::roster::{Post, Posted};
use crate::backoff::FLOOR;
use crate::config::{LinkSpec, Mode, ServerSpec};
use crate::control::journal::LinkNews;
use crate::control::status::{LinkEntry, ServerEntry, Status};
use crate::endpoint::Endpoint;
use crate::endpoint::agent::Agent;
use crate::logging::Names;
use crate::mcp::handshake::Hello;
use crate::pipe::membership::{NewLink, Shown};
use crate::pipe::orders::orders;
use crate::pipe::{LinkPeer, Pipe};
use crate::router::PeerId;
use crate::router::hub::Hub;
use crate::router::turns::{Seat, Turns};
use crate::server::wanted::Goal;
use crate::sharing::layout::{Group, Layout};
use crate::sharing::{Evidence, Finding, Outcome, Proof, Trial, Witness, witnesses};

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
    common: Common,
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
    _posted: Posted,
}

impl Crew {
    /// A crew that has started nothing yet. `entries` are those of the servers, by name.
    pub(super) fn new(group: Group, entries: &HashMap<Arc<str>, Entry>, common: Common) -> Self {
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
        let (names, layout) = (group.names(), group.layout(known.is_some()));
        let Group { agent, mode, name, link, servers } = group;
        let member = |(spec, endpoint): (ServerSpec, _)| {
            let of = entries.get(&spec.name)?.clone();
            Some(Member { spec: Arc::new(spec), endpoint, of })
        };
        let members = servers.into_iter().filter_map(member).collect();
        Crew { agent, mode, members, names, name, link, known, layout, common }
    }

    /// Serves the group until the stop.
    pub(super) async fn run(self) {
        let stop = &self.common.run.stop;
        let (mut layout, mut takes_one) = (self.layout, self.known.is_some());
        if let (Mode::Auto, Layout::Together, Some(why)) = (self.mode, layout, self.known) {
            info!(event = "SERVERS_MERGED", servers = ?self.names, "share one connection: {why}");
        }
        let mut claim = Claim::new(self.agent, &self.names, takes_one, &self.common);
        let mut trial_failed = false;
        loop {
            if takes_one && !self.wait_for(&mut claim).await {
                return;
            }
            let settled = async {
                claim.settled(self.agent, &self.names, &self.common).await;
                std::future::pending::<()>().await;
            };
            let next = tokio::select! {
                next = self.serve(layout, trial_failed) => next,
                () = settled => None,
            };
            let Some(next) = next.filter(|_| !stop.drain().is_cancelled()) else { return };
            trial_failed = layout == Layout::OnTrial;
            takes_one = !trial_failed;
            layout = next;
            // Some endpoints confuse a connection with the last one if it follows at once.
            sleep(FLOOR).await;
        }
    }

    /// Serves in one layout until the stop, or until another layout turns out to be needed. All links have ended then.
    async fn serve(&self, layout: Layout, trial_failed: bool) -> Option<Layout> {
        match layout {
            Layout::Apart => self.apart(trial_failed).await,
            Layout::OnTrial => self.on_trial().await,
            Layout::Together => {
                let _link = self.together(None).await?;
                self.common.run.stop.drain().cancelled().await;
                None
            }
            Layout::InTurns => {
                self.in_turns().await;
                None
            }
        }
    }

    /// Waits until no other process serves the agent. Returns false if a stop came first.
    async fn wait_for(&self, claim: &mut Claim) -> bool {
        let _link = if let Claim::Disputed = claim {
            let link = add_link(&self.members, self.name.as_deref(), &self.common.status);
            link.iter().for_each(|link| link.write(&self.names, LinkNews::Taken));
            link
        } else {
            None
        };
        tokio::select! {
            () = claim.settled(self.agent, &self.names, &self.common) => true,
            () = self.common.run.stop.drain().cancelled() => false,
        }
    }

    /// Has a link for each server; in mode `auto` until the endpoint has proven that the agent takes only one connection.
    async fn apart(&self, trial_failed: bool) -> Option<Layout> {
        let stop = &self.common.run.stop;
        let (witnesses, mut heard) = witnesses(self.members.len());
        let mut links = Vec::new();
        for (member, witness) in self.members.iter().zip(witnesses) {
            links.push(self.attach(std::slice::from_ref(member), Some(witness)).await?);
        }
        let mut evidence = Evidence::new(self.members.iter().map(|member| member.spec.name.clone()).collect());
        let mut told = false;
        loop {
            let sighting = tokio::select! {
                () = stop.drain().cancelled() => return None,
                Some(sighting) = heard.recv() => sighting,
            };
            match evidence.sees(sighting) {
                Finding::KeepApart => {}
                Finding::TakesOne { proof: Proof::Refused, .. } if trial_failed => {}
                Finding::TakesOne { .. } if told || stop.drain().is_cancelled() => {}
                Finding::TakesOne { why, proof } if self.mode == Mode::Auto => {
                    warn!(
                        event = "SERVERS_MERGED",
                        servers = ?self.names,
                        "share one connection from now on: {why}. \"mode\": \"per-server\" gives each its own all the same"
                    );
                    self.detach(links).await;
                    return Some(match proof {
                        Proof::Replaced => {
                            self.remember();
                            Layout::Together
                        }
                        Proof::Refused => Layout::OnTrial,
                    });
                }
                Finding::TakesOne { why, .. } => {
                    told = true;
                    let remedy = "\"mode\": \"auto\" or \"multiplex\" puts them on one connection";
                    warn!(event = "CONNECTIONS_LIMITED", servers = ?self.names, "{why}; {remedy}");
                }
            }
        }
    }

    /// Has one link for all servers, on trial, until the trial has failed.
    async fn on_trial(&self) -> Option<Layout> {
        let stop = &self.common.run.stop;
        let (mut witnesses, mut heard) = witnesses(1);
        let link = self.together(witnesses.pop()).await?;
        let mut trial = Trial::default();
        loop {
            let sighting = tokio::select! {
                () = stop.drain().cancelled() => return None,
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
                self.detach(vec![link]).await;
                return Some(Layout::Apart);
            }
        }
        self.remember();
        drop(heard);
        stop.drain().cancelled().await;
        None
    }

    /// A link that shows all servers as one.
    async fn together(&self, witness: Option<Witness>) -> Option<Attached> {
        self.attach(&self.members, witness).await
    }

    /// A link that shows these servers, at least one. `None` if the hub has ended.
    async fn attach(&self, members: &[Member], witness: Option<Witness>) -> Option<Attached> {
        let common = &self.common;
        for member in members {
            common.hub.ensure(&member.of, &common.run.catalogue).await;
        }
        let Member { endpoint, spec, .. } = members.first()?;
        let shown = Shown {
            servers: members.iter().map(|member| (member.spec.name.clone(), member.spec.tools.clone())).collect(),
            sharing: spec.sharing,
        };
        let link = self.link.as_ref().filter(|_| members.len() > 1).unwrap_or(&spec.link).clone();
        let (endpoint, name, hello) = (endpoint.clone(), self.name.clone(), self.hello());
        let status = add_link(members, self.name.as_deref(), &common.status)?;
        let peer = common.hub.attach(NewLink { endpoint, name, status, link, hello, shown, witness }).await?;
        let servers = members.iter().map(|member| member.spec.name.clone()).collect();
        let post = Post {
            name: self.name.clone(),
            servers,
            takes_turns: false,
            link: Some(peer),
            orders: common.hub.orders(),
        };
        Some(Attached { peer, _posted: common.roster.add(post) })
    }

    /// Ends links, once nothing is under way on them.
    async fn detach(&self, links: Vec<Attached>) {
        let mut ended = Vec::new();
        for link in links {
            ended.push(self.common.hub.detach(link.peer).await);
        }
        for ended in ended {
            // The hub may have ended meanwhile.
            let _gone = ended.await;
        }
    }

    /// A pipe for servers that take turns, until the stop.
    async fn in_turns(&self) {
        let specs = || self.members.iter().map(|member| &member.spec);
        let catalogue = &self.common.run.catalogue;
        let untouched = specs().all(|spec| spec.tools.is_untouched());
        let seat = |spec: &Arc<ServerSpec>| {
            let router =
                if untouched { Hub::alone(spec) } else { Hub::merging([(spec.clone(), catalogue.load(spec))]) };
            Seat { name: spec.name.clone(), router, pin: spec.pin }
        };
        let seats = specs().map(seat).collect();
        let turn = specs().next().map(|spec| spec.sharing.turn).unwrap_or_default();
        let turns = Turns::new(seats, turn, Instant::now());
        let (Some(Member { endpoint, spec, .. }), Some(status)) =
            (self.members.first(), add_link(&self.members, self.name.as_deref(), &self.common.status))
        else {
            return;
        };
        let (sender, orders) = orders();
        let servers: Arc<[_]> = specs().map(|spec| spec.name.clone()).collect();
        let _posted = self.common.roster.add(Post {
            name: self.name.clone(),
            servers,
            takes_turns: true,
            link: None,
            orders: sender,
        });
        let (link, resync) = (spec.link.clone(), spec.sharing.resync);
        let seen = (0..self.members.len()).collect();
        let (endpoint, hello) = (endpoint.clone(), self.hello());
        let peer =
            LinkPeer { endpoint, name: self.name.clone(), status, link, hello, resync, servers: seen, sight: None };
        let servers =
            self.members.iter().map(|member| (member.spec.clone(), member.of.status.clone(), member.of.goal.clone()));
        Pipe::of(servers.collect(), vec![peer], Box::new(turns), self.common.run.clone()).obeying(orders).run().await;
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

/// Waits until `at`; without a time for ever.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
