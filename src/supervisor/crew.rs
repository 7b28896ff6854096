//! A group of servers at work: their pipes, and the change to another layout.

use std::collections::HashMap;
use std::pin::{Pin, pin};
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use super::claim::Claim;
use super::roster::Post;
use super::{Common, all_ended};
use crate::backoff::FLOOR;
use crate::config::{Mode, ServerSpec};
use crate::control::journal::LinkNews;
use crate::control::status::{LinkEntry, ServerEntry, Status};
use crate::endpoint::Endpoint;
use crate::endpoint::agent::Agent;
use crate::logging::Names;
use crate::mcp::handshake::Hello;
use crate::pipe::orders::orders;
use crate::pipe::{LinkPeer, Pipe, Run};
use crate::process::stop::Stop;
use crate::router::Router;
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
    status: ServerEntry,
    /// What a person wants of the server.
    goal: watch::Receiver<Goal>,
}

/// The status entry of a server, and where is read what a person wants of it.
pub(super) type Entry = (ServerEntry, watch::Receiver<Goal>);

/// A pipe, ready to run to its end.
type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

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
        let Group { agent, mode, servers } = group;
        let member = |(spec, endpoint): (ServerSpec, _)| {
            let (status, goal) = entries.get(&spec.name)?.clone();
            Some(Member { spec: Arc::new(spec), endpoint, status, goal })
        };
        let members = servers.into_iter().filter_map(member).collect();
        Crew { agent, mode, members, names, known, layout, common }
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

    /// Serves in one layout until the stop, or until another layout turns out to be needed. All pipes have ended then.
    async fn serve(&self, layout: Layout, trial_failed: bool) -> Option<Layout> {
        match layout {
            Layout::Apart => self.apart(trial_failed).await,
            Layout::OnTrial => self.on_trial().await,
            Layout::Together | Layout::InTurns => {
                self.shared(layout, self.common.run.clone(), None).await;
                None
            }
        }
    }

    /// Waits until no other process serves the agent. Returns false if a stop came first.
    async fn wait_for(&self, claim: &mut Claim) -> bool {
        let _link = if let Claim::Disputed = claim {
            let link = add_link(&self.members, &self.common.status);
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

    /// Runs a pipe for each server; in mode `auto` until the endpoint has proven that the agent takes only one connection.
    async fn apart(&self, trial_failed: bool) -> Option<Layout> {
        let stop = self.common.run.stop.child();
        let mut pipes = JoinSet::new();
        let (witnesses, mut heard) = witnesses(self.members.len());
        let hello = self.hello();
        for (member, witness) in self.members.iter().zip(witnesses) {
            pipes.spawn(member.alone(hello.clone(), self.run_until(&stop), witness, &self.common));
        }
        let mut evidence = Evidence::new(self.members.iter().map(|member| member.spec.name.clone()).collect());
        let mut ended = pin!(all_ended(&mut pipes));
        let mut told = false;
        loop {
            let sighting = tokio::select! {
                () = &mut ended => return None,
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
                    stop.advance();
                    ended.await;
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

    /// Runs one pipe for all servers, on trial, until the trial has failed.
    async fn on_trial(&self) -> Option<Layout> {
        let stop = self.common.run.stop.child();
        let (mut witnesses, mut heard) = witnesses(1);
        let mut pipe = self.shared(Layout::OnTrial, self.run_until(&stop), witnesses.pop());
        let mut trial = Trial::default();
        loop {
            let sighting = tokio::select! {
                () = &mut pipe => return None,
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
                stop.advance();
                pipe.await;
                return Some(Layout::Apart);
            }
        }
        self.remember();
        drop(heard);
        pipe.await;
        None
    }

    /// The pipe that all servers share.
    fn shared(&self, layout: Layout, run: Run, witness: Option<Witness>) -> Running {
        let specs = || self.members.iter().map(|member| &member.spec);
        let untouched = specs().all(|spec| spec.tools.is_untouched());
        match layout {
            Layout::InTurns if untouched => self.in_turns(run, |spec| Hub::alone(spec)),
            Layout::InTurns => {
                let catalogue = run.catalogue.clone();
                self.in_turns(run, |spec| Hub::merging([(spec.clone(), catalogue.load(spec))]))
            }
            Layout::Apart | Layout::Together | Layout::OnTrial => {
                let merge = Hub::merging(specs().map(|spec| (spec.clone(), run.catalogue.load(spec))));
                let common = &self.common;
                pipe((&self.members, self.hello()), merge, run, (common, false), |pipe| match witness {
                    Some(witness) => pipe.watched_by(witness),
                    None => pipe,
                })
            }
        }
    }

    fn in_turns<R: Router + Send + 'static>(&self, run: Run, router: impl Fn(&Arc<ServerSpec>) -> R) -> Running {
        let seat = |spec: &Arc<ServerSpec>| Seat { name: spec.name.clone(), router: router(spec), pin: spec.pin };
        let seats = self.members.iter().map(|member| seat(&member.spec)).collect();
        let turn = self.members.first().map(|member| member.spec.sharing.turn).unwrap_or_default();
        let (turns, common) = (Turns::new(seats, turn, Instant::now()), &self.common);
        pipe((&self.members, self.hello()), turns, run, (common, true), |pipe| pipe)
    }

    /// What the endpoint will say of itself, if that is known: the local endpoint's own parameters, or those of an earlier connection.
    fn hello(&self) -> Option<Arc<Hello>> {
        let known = self.members.first().and_then(|member| member.spec.hello.clone());
        known.or_else(|| {
            let remembered = self.common.run.catalogue.hello(&self.agent.key())?;
            Some(Arc::new(Hello::read(remembered.as_bytes())))
        })
    }

    fn run_until(&self, stop: &Stop) -> Run {
        Run { stop: stop.clone(), ..self.common.run.clone() }
    }

    fn remember(&self) {
        self.common.run.catalogue.remember_single(&self.agent.key());
    }
}

impl Member {
    /// A pipe for this server alone.
    fn alone(&self, hello: Option<Arc<Hello>>, run: Run, witness: Witness, common: &Common) -> Running {
        let members = std::slice::from_ref(self);
        if self.spec.tools.is_untouched() {
            pipe((members, hello), Hub::alone(&self.spec), run, (common, false), |pipe| pipe.watched_by(witness))
        } else {
            let merge = Hub::merging([(self.spec.clone(), run.catalogue.load(&self.spec))]);
            pipe((members, hello), merge, run, (common, false), |pipe| pipe.watched_by(witness))
        }
    }
}

/// A pipe for these servers, at least one, on the endpoint of the first, which will say `hello` if that is known; in the roster, with
/// whether its servers take turns.
fn pipe(
    (members, hello): (&[Member], Option<Arc<Hello>>),
    router: impl Router + Send + 'static,
    run: Run,
    (common, takes_turns): (&Common, bool),
    finish: impl FnOnce(Pipe) -> Pipe,
) -> Running {
    let (Some(Member { endpoint, spec, .. }), Some(status)) = (members.first(), add_link(members, &common.status))
    else {
        return Box::pin(async {});
    };
    let servers = members.iter().map(|member| (member.spec.clone(), member.status.clone())).collect();
    let (sender, orders) = orders(members.iter().map(|member| member.goal.clone()).collect());
    let names = members.iter().map(|member| member.spec.name.clone()).collect();
    common.roster.add(Post { servers: names, takes_turns, orders: sender });
    let (endpoint, link, resync) = (endpoint.clone(), spec.link.clone(), spec.sharing.resync);
    let peer = LinkPeer { endpoint, status, link, hello, resync, servers: (0..members.len()).collect(), sight: None };
    Box::pin(finish(Pipe::new(servers, vec![peer], Box::new(router), run).obeying(orders)).run())
}

/// The entry of a link to the endpoint of the first of these servers, which shows all of them; none where there are none.
fn add_link(members: &[Member], status: &Status) -> Option<LinkEntry> {
    let link = status.add_link(&members.first()?.endpoint, None);
    link.shows(members.iter().map(|member| member.status.key()));
    Some(link)
}

/// Waits until `at`; without a time for ever.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
