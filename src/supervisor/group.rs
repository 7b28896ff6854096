//! Servers that share an agent, and how they are laid onto pipes.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::{debug, error, info, warn};

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
use crate::sharing::{Evidence, Verdict, Witness, witnesses};
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
        let mut takes_one = self.known(&common);
        if let (Mode::Auto, Some(why), 2..) = (self.mode, takes_one, self.seats.len()) {
            info!(event = "SERVERS_MERGED", server = self.names, "share one connection: {why}");
        }
        let mut claim = Claim::new(self.agent, &self.names, takes_one.is_some(), &common);
        loop {
            if takes_one.is_some() && !self.wait_for(&mut claim, &common).await {
                return;
            }
            let settled = async {
                claim.settled(self.agent, &self.names, &common).await;
                std::future::pending::<()>().await;
            };
            let proof = tokio::select! {
                proof = self.serve(takes_one.is_some(), &common) => proof,
                () = settled => None,
            };
            let Some(why) = proof else { return };
            warn!(
                event = "SERVERS_MERGED",
                server = self.names,
                "share one connection from now on: {why}. \"mode\": \"per-server\" gives each its own all the same"
            );
            if let Err(error) = common.catalogue.remember_single(&self.agent.key()) {
                debug!(event = "CATALOGUE_UNUSABLE", "to be found out again at the next start: {error:#}");
            }
            takes_one = Some("it was proven in this run");
            // Some endpoints take it badly if a connection follows the last one at once.
            sleep(FLOOR).await;
        }
    }

    /// In the layout that the mode asks for, until the stop, or until the agent has proven that another one is needed, and
    /// how.
    async fn serve(&self, takes_one: bool, common: &Common) -> Option<String> {
        match self.mode {
            Mode::Auto if !takes_one => return self.apart(common).await,
            Mode::PerServer | Mode::Sequential => return self.apart(common).await,
            Mode::Auto if self.seats.len() == 1 => return self.apart(common).await,
            Mode::Auto | Mode::Multiplex => self.together(common).await,
        }
        None
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

    /// A connection for each, until the stop, or in mode `auto` until the agent has proven that it takes only one, and how.
    async fn apart(&self, common: &Common) -> Option<String> {
        let stop = common.run.stop.child();
        let mut pipes = JoinSet::new();
        let (witnesses, mut heard) = witnesses(self.seats.len());
        for (seat, witness) in self.seats.iter().zip(witnesses) {
            seat.start(&mut pipes, common, &stop, witness);
        }
        let mut evidence = Evidence::new(self.seats.iter().map(|seat| seat.spec.name.clone()).collect());
        let mut told = false;
        loop {
            tokio::select! {
                ended = pipes.join_next() => match ended {
                    None => return None,
                    Some(Ok(())) => {}
                    Some(Err(panic)) => error!(event = "ERROR_PIPE", "a pipe ended by a fault of mcp-pipe itself: {panic}"),
                },
                Some(sighting) = heard.recv() => {
                    let Verdict::TakesOne { why } = evidence.sees(sighting) else { continue };
                    if stop.drain().is_cancelled() {
                        continue;
                    }
                    if self.mode == Mode::Auto {
                        stop.advance();
                        all_ended(&mut pipes).await;
                        return (!common.run.stop.drain().is_cancelled()).then_some(why);
                    }
                    if !std::mem::replace(&mut told, true) {
                        let remedy = "\"mode\": \"auto\" or \"multiplex\" puts them on one connection";
                        warn!(event = "CONNECTIONS_LIMITED", server = self.names, "{why}; {remedy}");
                    }
                }
            }
        }
    }

    /// One connection for all, until the stop.
    async fn together(&self, common: &Common) {
        let Some(Seat { endpoint, spec, .. }) = self.seats.first() else { return };
        let seats = self.seats.iter().map(|seat| (seat.spec.clone(), seat.status.clone())).collect();
        let router = Merge::new(self.seats.iter().map(|seat| (seat.spec.clone(), common.catalogue.load(&seat.spec))));
        let run = common.run.clone();
        Pipe::new(seats, endpoint.clone(), spec.link.clone(), router, run).run().await;
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
