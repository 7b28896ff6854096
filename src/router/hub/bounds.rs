//! Calls of tools that need not go where they are meant to go: to the fallback of a server that can't take them, or to nobody where
//! the answer is known from before.
//!
//! # Theory of operation
//!
//! A fallback is a server like any other that no view shows: its lists are read, so that it is known which tools it has. A call
//! goes there from the beginning or not at all: what was under way at a server when that failed may have been done.
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
        self
    }

    /// What the config says of that has changed.
    pub(super) fn bound(&mut self, spec: &ServerSpec) {
        let Bounds { breaker, fallback, cache, stands_in } = &spec.bounds;
        self.lane.break_by(*breaker);
        self.stands_in = stands_in.then(|| spec.tools.clone());
        if self.stands_in.is_some() && !matches!(self.role, Role::Further(_) | Role::Replica(_)) {
            // It works for whoever the others work for, and none of them is its viewer before. Its lists are read as those of one that is shown.
            self.lane.open_to_any();
            self.shown = true;
        }
        self.fallback.clone_from(fallback);
        if self.cache.as_ref().map(|kept| kept.spec()) != cache.as_deref() {
            self.cache = cache.clone().map(|spec| Box::new(CallCache::new(spec)));
        }
    }
}

impl Hub {
    /// The server that takes a call of a tool in place of one that can't, where it has that tool. `tool`: its own name.
    #[inline]
    pub(super) fn stand_in(&mut self, server: ServerIndex, request: &Request<'_>, tool: &[u8]) -> Option<ServerIndex> {
        let Hosted { fallback: Some(name), .. } = &self.servers[server] else { return None };
        if request.method != b"tools/call" || !self.is_out(server, request.now) {
            return None;
        }
        let tool = str::from_utf8(tool).ok().filter(|tool| !tool.is_empty())?;
        let is_it = |other: &Hosted| other.lane.name == *name && other.stands_in.is_some();
        let other = self.servers.iter().position(is_it)?;
        let Hosted { lane, shelf, stands_in: Some(policy), .. } = &mut self.servers[other] else { return None };
        let has = |item: &str| listing::key(item, ListKind::Tools).is_some_and(|own| own == tool);
        if !lane.takes_calls(request.now)
            || !policy.publishes(tool)
            || !shelf.lists.get(ListKind::Tools).iter().any(|item| has(item))
        {
            return None;
        }
        lane.add_viewer(request.peer);
        Some(other)
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
