//! Calls of tools that need not go where they are meant to go: to the fallback of a server that can't take them, or to nobody where
//! the answer is known from before.
//!
//! # Theory of operation
//!
//! A fallback is a server like any other that no view shows. A server is *out* when it can't have calls ([`Lane::is_out`]), and *known* as
//! far as it has said what it is and has, in this run or an earlier one. While a server is out, its fallback *stands in* for it if that
//! can be asked and is known: [`stand_in_for`] alone decides that. The one that stands in takes calls of its tools, and nobody waits for
//! what the other has not said: what is known of a server is shown as ever, and what is not is borrowed from the one that stands in. The
//! lists of both are read, whoever sees the server, so that all this is known in time.
//!
//! A call goes to a fallback from the beginning or not at all: what was under way at a server when that failed may have been done.
//!
//! An answer that is kept is one that the same peer has got for the same question.

use super::*;
use crate::config::Bounds;
use crate::router::call_cache::{CallCache, Question};
use crate::router::held::HeldMessage;
use crate::router::lane::Call;
use crate::router::listing;

impl Hosted {
    /// The same, as the config bounds the harm that the server does.
    pub(super) fn bounded(mut self, spec: &ServerSpec) -> Self {
        self.bound(spec);
        self.shown |= self.is_read_anyway();
        self
    }

    /// What the config says of that has changed.
    pub(super) fn bound(&mut self, spec: &ServerSpec) {
        let Bounds { breaker, fallback, cache, stands_in } = &spec.bounds;
        self.lane.break_by(*breaker);
        if !matches!(self.role, Role::Further(_) | Role::Replica(_)) {
            self.fallback.clone_from(fallback);
            self.stands_in = stands_in.then(|| spec.tools.clone());
        }
        if self.stands_in.is_some() {
            // It works for whoever the others work for, and none of them is its viewer before.
            self.lane.open_to_any();
        }
        if self.cache.as_ref().map(|kept| kept.spec()) != cache.as_deref() {
            self.cache = cache.clone().map(|spec| Box::new(CallCache::new(spec)));
        }
    }

    /// Whether its lists are read although no view shows it.
    pub(super) fn is_read_anyway(&self) -> bool {
        self.fallback.is_some() || self.stands_in.is_some()
    }

    /// The tools with which it stands in for others, as it lists them.
    fn lent(&self) -> impl Iterator<Item = &str> {
        let is_lent = |item: &&str| {
            let policy = self.stands_in.as_ref();
            policy.zip(listing::key(item, ListKind::Tools)).is_some_and(|(policy, tool)| policy.publishes(&tool))
        };
        self.shelf.lists.get(ListKind::Tools).iter().map(|item| &**item).filter(is_lent)
    }
}

/// The server that stands in for one that is out, if there is one.
#[inline]
pub(super) fn stand_in_for<'a>(servers: &'a [Hosted], server: &Hosted) -> Option<&'a Hosted> {
    let name = server.fallback.as_ref()?;
    let is_out = server.lane.is_out() && server.replicas().iter().all(|other| servers[*other].lane.is_out());
    let is_it = |other: &&Hosted| other.lane.name == *name && other.stands_in.is_some();
    let other = servers.iter().filter(|_| is_out).find(is_it)?;
    let can_be_asked = other.lane.is_ready() && !other.lane.bars(b"tools/call");
    (can_be_asked && other.shelf.has(ListKind::Tools)).then_some(other)
}

/// What is told of a server where it should say what it is, as `said` has it.
pub(super) fn welcome_of<'a>(
    servers: &'a [Hosted],
    server: &'a Hosted,
    said: fn(&Hosted) -> Option<&Welcome>,
) -> Option<&'a Welcome> {
    said(server).or_else(|| said(stand_in_for(servers, server)?))
}

/// What is told of a server where it should say what it has.
pub(super) fn items_of<'a>(servers: &'a [Hosted], server: &'a Hosted, kind: ListKind) -> impl Iterator<Item = &'a str> {
    let borrows = kind == ListKind::Tools && !server.shelf.has(kind);
    let lender = stand_in_for(servers, server).filter(|_| borrows);
    let own = lender.is_none().then(|| server.shelf.lists.get(kind)).into_iter().flatten();
    own.map(|item| &**item).chain(lender.into_iter().flat_map(Hosted::lent))
}

impl Hub {
    /// The server that takes a call of a tool in place of one that can't, where it has that tool. `tool`: its own name.
    #[inline]
    pub(super) fn stand_in(&mut self, server: ServerIndex, request: &Request<'_>, tool: &[u8]) -> Option<ServerIndex> {
        if request.method != b"tools/call" {
            return None;
        }
        let other = stand_in_for(&self.servers, &self.servers[server])?;
        let tool = str::from_utf8(tool).ok().filter(|tool| !tool.is_empty())?;
        let is_it = |item: &str| listing::key(item, ListKind::Tools).is_some_and(|own| own == tool);
        if !other.lane.takes_calls() || !other.lent().any(is_it) {
            return None;
        }
        let other = other.lane.index;
        self.servers[other].lane.add_viewer(request.peer);
        Some(other)
    }

    /// Something has become of a server that has a fallback, or is one: whoever waits for what is known otherwise now waits no longer.
    pub(super) fn look_for_stand_ins(&mut self, server: ServerIndex, now: Instant, out: &mut dyn Out) {
        let Hosted { lane, stands_in, .. } = &self.servers[server];
        let is_it = |other: &Hosted| {
            let is_ward = stands_in.is_some() && other.fallback.as_ref() == Some(&lane.name);
            is_ward || other.lane.index == server && other.fallback.is_some()
        };
        let wards: Vec<ServerIndex> = self.servers.iter().filter(|it| is_it(it)).map(|it| it.lane.index).collect();
        for ward in wards {
            self.touch(ward);
            if stand_in_for(&self.servers, &self.servers[ward]).is_some() {
                self.answer_all_waiting(ward, out);
                self.release_all(ward, out);
            }
            self.settle(ward, now, out);
        }
    }

    /// A server has not answered in time for the first time: it is as good as one that has failed.
    pub(super) fn give_up_start(&mut self, server: ServerIndex, now: Instant, out: &mut dyn Out) {
        self.servers[server].lane.give_up_start();
        let held = self.held_for_others(server);
        self.pass_on_held(held, out);
        self.look_for_stand_ins(server, now, out);
    }

    /// Answers a call of a tool with what its peer got for the same before, if that is known. `tool`: its own name.
    #[inline]
    pub(super) fn answer_again(
        &mut self,
        server: ServerIndex,
        request: &Request<'_>,
        tool: &[u8],
        out: &mut dyn Out,
    ) -> Before {
        let Hosted { cache: Some(cache), lane, .. } = &self.servers[server] else { return Before::Unasked };
        if request.method != b"tools/call" || lane.bars(request.method) || !cache.covers(tool) {
            return Before::Unasked;
        }
        let Some(question) = Question::of(request.params(), tool) else { return Before::Unasked };
        let Some(result) = cache.find(request.peer, &question, request.now) else { return Before::Forgotten(question) };
        self.peers.reply(request.peer, request.id, result, out);
        self.peers.count_served(request.peer);
        let call = Call::of_tool(request, tool);
        out.note(Note::of(server, What::GivenAgain));
        out.note(Note::of(server, What::Served { call: call.counted(Outcome::Ok), took: Duration::ZERO }));
        Before::Answered
    }

    /// Keeps a result that a peer has got, if it is to be kept and is no error, nor one that is to come. `result`: as the peer has got it.
    #[inline]
    pub(super) fn keep_answer(
        &mut self,
        server: ServerIndex,
        (peer, question): (PeerId, Option<Question>),
        (result, frame, e): (&[u8], &[u8], &Envelope),
        now: Instant,
    ) {
        let Some(question) = question else { return };
        let first = self.first_of(server);
        if let (Some(cache), Outcome::Ok, None) =
            (&mut self.servers[first].cache, Outcome::of_answer(e), task::created(frame, e))
        {
            cache.keep(peer, question, result, now);
        }
    }

    /// A server may answer otherwise from now on.
    pub(super) fn forget_answers(&mut self, server: ServerIndex) {
        let first = self.first_of(server);
        if let Some(cache) = &mut self.servers[first].cache {
            cache.clear();
        }
    }

    /// Messages that wait for a server which can't take them any more are looked at again, as its fallback may.
    pub(super) fn pass_on_held(&mut self, held: Vec<HeldMessage>, out: &mut dyn Out) {
        for held in held {
            self.on_peer(held.peer, &held.frame, held.since, out);
        }
    }

    /// Takes the messages that wait for a process that is gone, and that another one may take.
    pub(super) fn held_for_others(&mut self, server: ServerIndex) -> Vec<HeldMessage> {
        let Hosted { fallback, lane, role, .. } = &mut self.servers[server];
        let has_others = fallback.is_some() || matches!(role, Role::Several(_) | Role::Replica(_));
        if has_others { lane.held.take_all().collect() } else { Vec::new() }
    }
}

/// Whether the answer to a call is known from before.
#[derive(Debug)]
pub(super) enum Before {
    /// It is not kept.
    Unasked,
    /// It is, and not known or too old: the next one is to be kept for this question.
    Forgotten(Question),
    /// It was known, and given.
    Answered,
}
