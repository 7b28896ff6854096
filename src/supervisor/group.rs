//! Servers that share an agent, and how they are laid onto pipes.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};
use tracing::{debug, info, warn};

use super::claim::Claim;
use super::{Common, all_ended};
use crate::agent::{self, Agent};
use crate::backoff::FLOOR;
use crate::config::{Mode, ServerSpec};
use crate::endpoint::Endpoint;
use crate::pipe::{Pipe, Run};
use crate::router::Router;
use crate::router::merge::Merge;
use crate::router::passthrough::Passthrough;
use crate::sharing::{Evidence, Outcome, Proof, Trial, Verdict, Witness, witnesses};
use crate::shutdown::Stop;
use crate::status::{LinkState, Status, StatusEntry};

/// Servers of one agent that share it in the same mode.
pub(super) struct Group {
    agent: Agent,
    mode: Mode,
    /// At least one.
    seats: Vec<Seat>,
    /// The servers' names, for the log.
    names: String,
}

/// How the servers of a group are laid onto pipes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// A pipe for each.
    Apart {
        /// Whether refused connections may prove that the agent takes only one.
        refusals_count: bool,
    },
    /// One for all.
    Together,
    /// One for all, as long as it fares better.
    OnTrial,
}

/// A server with its place in the world. Each life of a pipe has a copy.
#[derive(Clone)]
struct Seat {
    spec: Arc<ServerSpec>,
    endpoint: Endpoint,
    status: StatusEntry,
}

impl Group {
    /// Groups servers, in their order; those without an endpoint are left out.
    pub(super) fn all(servers: Vec<ServerSpec>, status: &Status) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for spec in servers {
            // `config::resolve` gives every server one; `--local` has by now.
            let Some(endpoint) = spec.endpoint.clone() else { continue };
            let (agent, mode) = (Agent::of(&endpoint, &spec.link.headers), spec.sharing.mode);
            let seat = Seat { status: status.add(&spec.name), endpoint, spec: Arc::new(spec) };
            match groups.iter_mut().find(|group| group.agent == agent && group.mode == mode) {
                Some(group) => group.seats.push(seat),
                None => groups.push(Group { agent, mode, seats: vec![seat], names: String::new() }),
            }
        }
        for group in &mut groups {
            let names: Vec<&str> = group.seats.iter().map(|seat| &*seat.spec.name).collect();
            group.names = names.join(", ");
        }
        groups
    }

    /// Serves them until the stop.
    pub(super) async fn run(self, common: Common) {
        let known = self.known(&common);
        let mut layout = match self.mode {
            Mode::Multiplex => Layout::Together,
            Mode::Auto if known.is_some() && self.seats.len() > 1 => Layout::Together,
            Mode::Auto | Mode::PerServer | Mode::Sequential => Layout::Apart { refusals_count: true },
        };
        if let (Mode::Auto, Layout::Together, Some(why)) = (self.mode, layout, known) {
            info!(event = "SERVERS_MERGED", server = self.names, "share one connection: {why}");
        }
        let mut takes_one = known.is_some();
        let mut claim = Claim::new(self.agent, &self.names, takes_one, &common);
        loop {
            if takes_one && !self.wait_for(&mut claim, &common).await {
                return;
            }
            let settled = async {
                claim.settled(self.agent, &self.names, &common).await;
                std::future::pending::<()>().await;
            };
            let next = tokio::select! {
                next = self.serve(layout, &common) => next,
                () = settled => None,
            };
            let Some(next) = next.filter(|_| !common.run.stop.drain().is_cancelled()) else { return };
            layout = next;
            takes_one = !matches!(layout, Layout::Apart { .. });
            // Some endpoints take it badly if a connection follows the last one at once.
            sleep(FLOOR).await;
        }
    }

    /// Until the stop, or until another layout turns out to be needed. All that was started has ended then.
    async fn serve(&self, layout: Layout, common: &Common) -> Option<Layout> {
        match layout {
            Layout::Apart { refusals_count } => self.apart(refusals_count, common).await,
            Layout::Together => self.together(None, common).await,
            Layout::OnTrial => self.together(Some(Trial::default()), common).await,
        }
    }

    /// Why it is known that the agent takes one connection only, if it is.
    fn known(&self, common: &Common) -> Option<&'static str> {
        if self.seats.iter().any(|seat| agent::takes_one(&seat.endpoint)) {
            Some("the self-hosted endpoint server keeps only the newest one of an agent")
        } else if common.catalogue.is_single(&self.agent.key()) {
            Some(
                "an earlier run found that this agent takes no more. That is remembered for 30 days; \"mode\": \"per-server\" \
                 gives each its own all the same",
            )
        } else {
            None
        }
    }

    /// Waits until no other process serves the agent; false if a stop came first.
    async fn wait_for(&self, claim: &mut Claim, common: &Common) -> bool {
        if let Claim::Disputed = claim {
            let why = "another mcp-pipe serves the same agent, which takes one connection only";
            self.seats.iter().for_each(|seat| seat.status.link(LinkState::Down(why.into())));
        }
        tokio::select! {
            () = claim.settled(self.agent, &self.names, common) => true,
            () = common.run.stop.drain().cancelled() => false,
        }
    }

    /// A connection for each; in mode `auto` until the agent has proven that it takes only one.
    async fn apart(&self, refusals_count: bool, common: &Common) -> Option<Layout> {
        let stop = common.run.stop.child();
        let mut pipes = JoinSet::new();
        let (witnesses, mut heard) = witnesses(self.seats.len());
        for (seat, witness) in self.seats.iter().zip(witnesses) {
            seat.start(&mut pipes, common, &stop, witness);
        }
        let mut evidence = Evidence::new(self.seats.iter().map(|seat| seat.spec.name.clone()).collect());
        let mut told = false;
        let ended = all_ended(&mut pipes);
        tokio::pin!(ended);
        loop {
            let sighting = tokio::select! {
                () = &mut ended => return None,
                Some(sighting) = heard.recv() => sighting,
            };
            match evidence.sees(sighting) {
                Verdict::KeepApart => {}
                Verdict::TakesOne { proof: Proof::Refused, .. } if !refusals_count => {}
                Verdict::TakesOne { .. } if told || stop.drain().is_cancelled() => {}
                Verdict::TakesOne { why, proof } if self.mode == Mode::Auto => {
                    warn!(
                        event = "SERVERS_MERGED",
                        server = self.names,
                        "share one connection from now on: {why}. \"mode\": \"per-server\" gives each its own all the same"
                    );
                    stop.advance();
                    ended.await;
                    return Some(match proof {
                        Proof::Replaced => {
                            self.remember(common);
                            Layout::Together
                        }
                        Proof::Refused => Layout::OnTrial,
                    });
                }
                Verdict::TakesOne { why, .. } => {
                    told = true;
                    let remedy = "\"mode\": \"auto\" or \"multiplex\" puts them on one connection";
                    warn!(event = "CONNECTIONS_LIMITED", server = self.names, "{why}; {remedy}");
                }
            }
        }
    }

    /// One connection for all; until it fails, if it is on trial.
    async fn together(&self, mut trial: Option<Trial>, common: &Common) -> Option<Layout> {
        let Seat { endpoint, spec, .. } = self.seats.first()?;
        let seats = self.seats.iter().map(|seat| (seat.spec.clone(), seat.status.clone())).collect();
        let router = Merge::new(self.seats.iter().map(|seat| (seat.spec.clone(), common.catalogue.load(&seat.spec))));
        let (mut witnesses, mut heard) = witnesses(1);
        let (stop, witness) = (common.run.stop.child(), witnesses.pop());
        let run = Run { stop: stop.clone(), witness, ..common.run.clone() };
        let pipe = Pipe::new(seats, endpoint.clone(), spec.link.clone(), router, run).run();
        tokio::pin!(pipe);
        while let Some(running) = &mut trial {
            let passed = async {
                match running.passes_at() {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let sighting = tokio::select! {
                () = &mut pipe => return None,
                () = passed => None,
                sighting = heard.recv() => sighting,
            };
            match sighting.map(|sighting| running.sees(sighting)) {
                None => {
                    self.remember(common);
                    trial = None;
                }
                Some(Outcome::Open) => {}
                Some(Outcome::Failed) => {
                    warn!(
                        event = "SERVERS_PARTED",
                        server = self.names,
                        "the endpoint refuses the one connection as well, so their number was not the reason; each has its own \
                         again. Too many tools may be: see mcp-pipe tools --size"
                    );
                    stop.advance();
                    pipe.await;
                    return Some(Layout::Apart { refusals_count: false });
                }
            }
        }
        drop(heard);
        pipe.await;
        None
    }

    fn remember(&self, common: &Common) {
        if let Err(error) = common.catalogue.remember_single(&self.agent.key()) {
            debug!(event = "CATALOGUE_UNUSABLE", "to be found out again at the next start: {error:#}");
        }
    }
}

impl Seat {
    /// Starts a pipe for this server alone.
    fn start(&self, pipes: &mut JoinSet<()>, common: &Common, stop: &Stop, witness: Witness) {
        let run = Run { stop: stop.clone(), witness: Some(witness), ..common.run.clone() };
        let spec = self.spec.clone();
        if spec.tools.is_untouched() {
            let router = Passthrough::new(spec.name.clone(), spec.handshake, spec.max_frame);
            pipes.spawn(self.pipe(router, run).run());
        } else {
            let memory = common.catalogue.load(&spec);
            pipes.spawn(self.pipe(Merge::new([(spec, memory)]), run).run());
        }
    }

    fn pipe<R: Router>(&self, router: R, run: Run) -> Pipe<R> {
        let servers = vec![(self.spec.clone(), self.status.clone())];
        Pipe::new(servers, self.endpoint.clone(), self.spec.link.clone(), router, run)
    }
}
