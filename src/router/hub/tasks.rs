//! Tasks of several servers (MCP 2025-11-25, tasks): which server a task belongs to, by an id of ours.

use std::collections::BTreeMap;
use std::ops::Range;

use super::*;
use crate::mcp::reply::{INVALID_PARAMS, METHOD_NOT_FOUND};
use crate::router::ids::{asked_id, asked_token};
use crate::router::lane::{Call, Terms};
use crate::router::task::{self, MAX_TASKS};

/// See the module's documentation. Tasks are kept by the numbers of which the endpoint's ids are made, oldest first. They
/// outlive connections, as tasks are meant to, and end with the life of their server.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    /// The last of the numbers.
    last: u64,
    known: BTreeMap<u64, Task>,
}

#[derive(Debug)]
struct Task {
    /// Who asked for it.
    peer: PeerId,
    server: ServerIndex,
    /// The server's own id, the raw token.
    own: Box<[u8]>,
    /// The largest result, in bytes.
    max_result: Option<usize>,
}

impl Tasks {
    /// A server has made a task. Returns the endpoint's id for it, which no task has had before.
    fn add(&mut self, task: Task) -> String {
        let of_it = |known: &BTreeMap<u64, Task>| {
            let mut numbers = known.iter().filter(|(_, it)| it.server == task.server).map(|(number, _)| *number);
            (numbers.next(), numbers.count())
        };
        if let (Some(oldest), others) = of_it(&self.known)
            && others + 1 >= MAX_TASKS
        {
            self.known.remove(&oldest);
        }
        self.last += 1;
        self.known.insert(self.last, task);
        asked_token(self.last)
    }

    /// Whose a task of a server is, and that peer's id for it.
    fn published(&self, server: ServerIndex, own: &[u8]) -> Option<(PeerId, String)> {
        let is_it = |(_, task): &(&u64, &Task)| task.server == server && *task.own == *own;
        self.known.iter().rfind(is_it).map(|(number, task)| (task.peer, asked_token(*number)))
    }

    /// A task of a peer.
    fn find(&self, peer: PeerId, published: &[u8]) -> Option<&Task> {
        self.known.get(&asked_id(published)?).filter(|task| task.peer == peer)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// A peer is gone.
    pub(super) fn leave(&mut self, peer: PeerId) {
        self.known.retain(|_, task| task.peer != peer);
    }

    /// A server's life is over.
    pub(super) fn forget(&mut self, server: ServerIndex) {
        self.known.retain(|_, task| task.server != server);
    }
}

impl Hub {
    /// Whether the ids of a server's tasks have to be told apart, from other servers' or from other peers'.
    fn shares_tasks(&self, peer: PeerId, server: ServerIndex) -> bool {
        let first = self.first_of(server);
        self.view_of(peer).is_some_and(|view| !view.is_of_one() || self.servers[first].lane.has_many())
            && self.servers[first].shelf.welcome.as_ref().is_some_and(|w| w.can("tasks"))
    }

    /// The answer to a call with the endpoint's id of the task in it; `None` if the answer names no task. `max_result`: the
    /// limit of the call.
    pub(super) fn publish_task(
        &mut self,
        server: ServerIndex,
        (frame, e): (&[u8], &Envelope),
        call: &Call,
        max_result: Option<usize>,
    ) -> Option<Vec<u8>> {
        if !self.shares_tasks(call.peer, server) {
            return None;
        }
        if let Some(id) = task::created(frame, e) {
            let published = self.tasks.add(Task { peer: call.peer, server, own: frame[id.clone()].into(), max_result });
            return Some(exchanged(frame, id, published.as_bytes()));
        }
        let id = match call.method() {
            b"tasks/get" | b"tasks/cancel" => task::of(frame, e.result.as_ref())?,
            _ => task::related(frame, e)?,
        };
        let (_, published) = self.tasks.published(server, &frame[id.clone()])?;
        Some(exchanged(frame, id, published.as_bytes()))
    }

    /// A request or notification of a server that belongs to a task: whose task that is, and the message with the peer's id
    /// of that task.
    pub(super) fn publish_related(&self, server: ServerIndex, frame: &[u8], e: &Envelope) -> Option<(PeerId, Vec<u8>)> {
        if self.tasks.known.is_empty() {
            return None;
        }
        let id = task::related(frame, e)?;
        let (peer, published) = self.tasks.published(server, &frame[id.clone()])?;
        Some((peer, exchanged(frame, id, published.as_bytes())))
    }

    /// A message of a peer that belongs to a task, with the server's own id of that task.
    pub(super) fn own_related(&self, peer: PeerId, frame: &[u8], e: &Envelope) -> Option<Vec<u8>> {
        if self.tasks.known.is_empty() {
            return None;
        }
        let id = task::related(frame, e)?;
        let own = self.tasks.find(peer, &frame[id.clone()])?.own.clone();
        Some(exchanged(frame, id, &own))
    }

    /// Sends a request about a task to the server that made the task.
    pub(super) fn task_request(&mut self, request: &Request<'_>, out: &mut dyn Out) {
        // Where no server has such tasks, these methods are like any others.
        let seen = self.view_of(request.peer).into_iter().flat_map(View::indices);
        if !seen.into_iter().any(|server| self.shares_tasks(request.peer, server)) {
            return self.search(request, out);
        }
        if request.method == b"tasks/list" {
            return self.decline(request, METHOD_NOT_FOUND, "method not found: the tasks of several servers", out);
        }
        let id = task::of(request.frame, request.envelope.params.as_ref());
        let found = id.clone().and_then(|id| self.tasks.find(request.peer, &request.frame[id]));
        let (Some(id), Some(Task { server, own, max_result, .. })) = (id, found) else {
            let why = "unknown task: nobody here has made it, or its server has ended since";
            return self.decline(request, INVALID_PARAMS, why, out);
        };
        let (server, own) = (*server, String::from_utf8_lossy(own).into_owned());
        let mut call = Call::new(request);
        if request.method == b"tasks/result" {
            let max_result = *max_result;
            call.terms = max_result.map(|_| Box::new(Terms { max_result, ..Terms::default() }));
        }
        // Ids are exchanged as tokens: what is escaped in one stays so.
        self.dispatch_raw(server, request, call, Some((id, own.as_bytes())), out);
    }

    /// A server tells of the status of one of its tasks.
    pub(super) fn on_task_status(&mut self, server: ServerIndex, frame: &[u8], e: &Envelope, out: &mut dyn Out) {
        let owner = self.servers[server].lane.lasting.on_status(frame, e);
        let id = task::of(frame, e.params.as_ref());
        let published = id.and_then(|id| Some((id.clone(), self.tasks.published(server, &frame[id])?)));
        // Before the handshake an endpoint expects nothing.
        if let Some((id, (peer, published))) = published {
            if self.peers.is_conversing(peer) {
                out.to_peer(peer, &[&frame[..id.start], published.as_bytes(), &frame[id.end..]]);
            }
            return;
        }
        let lane = &self.servers[server].lane;
        let peer = owner.or_else(|| lane.only_viewer().filter(|_| !lane.has_many()));
        if let Some(peer) = peer.filter(|peer| self.peers.is_conversing(*peer) && !self.shares_tasks(*peer, server)) {
            out.to_peer(peer, &[frame]);
        }
    }
}

fn exchanged(frame: &[u8], part: Range<usize>, with: &[u8]) -> Vec<u8> {
    [&frame[..part.start], with, &frame[part.end..]].concat()
}
