//! Calls of which a server makes a task (MCP 2025-11-25, tasks): where the ids of tasks are, and progress that goes on after the
//! answer. Pure.

use std::collections::BTreeMap;
use std::ops::Range;

use super::PeerId;
use super::desk::MAX_ID;
use crate::mcp::envelope::Envelope;
use crate::mcp::object;

/// The member of `_meta` that names the task of a message.
const RELATED: &str = "io.modelcontextprotocol/related-task";

/// Most tasks of one server that are known at a time; beyond that the oldest are forgotten. An endpoint keeps track of its tasks
/// itself: the tasks extension, which followed, has no lists of them either.
pub(super) const MAX_TASKS: usize = 256;

/// Where the id is of the task that an answer says was created: the whole token.
pub(super) fn created(frame: &[u8], e: &Envelope) -> Option<Range<usize>> {
    id_at(frame, e.result.clone()?, &["task", "taskId"])
}

/// Where the id is of the task that a result or parameters are about.
pub(super) fn of(frame: &[u8], part: Option<&Range<usize>>) -> Option<Range<usize>> {
    id_at(frame, part?.clone(), &["taskId"])
}

/// Where the id is of the task to which a message belongs, by its result or its parameters.
pub(super) fn related(frame: &[u8], e: &Envelope) -> Option<Range<usize>> {
    // A quick search first: nearly no message belongs to a task.
    memchr::memmem::find(frame, b"related-task")?;
    id_at(frame, e.result.clone().or(e.params.clone())?, &["_meta", RELATED, "taskId"])
}

fn id_at(frame: &[u8], part: Range<usize>, path: &[&str]) -> Option<Range<usize>> {
    memchr::memmem::find(&frame[part.clone()], b"\"taskId\"")?;
    let text = str::from_utf8(&frame[part.clone()]).ok()?;
    let id = object::find(text, path).filter(|id| id.starts_with('"') && id.len() <= MAX_ID)?;
    let at = part.start + (id.as_ptr().addr() - text.as_ptr().addr());
    Some(at..at + id.len())
}

/// Whether a notification about the status of a task says that the task is over.
fn is_over(frame: &[u8], e: &Envelope) -> bool {
    let params = e.params.clone().and_then(|params| str::from_utf8(&frame[params]).ok());
    let status = params.and_then(|params| object::find(params, &["status"])).and_then(object::text_of);
    status.is_some_and(|status| ["completed", "failed", "cancelled"].contains(&&*status))
}

/// The tasks that calls became at a server: whose they are, and the progress tokens of the calls, which count as long as the
/// tasks.
#[derive(Debug, Default)]
pub(super) struct Lasting {
    /// Tasks by the id that the call had at its server.
    tasks: BTreeMap<u64, LastingTask>,
}

#[derive(Debug)]
struct LastingTask {
    peer: PeerId,
    /// The peer's progress token, raw; empty if no progress is wanted.
    token: Box<[u8]>,
    /// The server's id for the task, raw.
    id: Box<[u8]>,
}

impl Lasting {
    /// Keeps whose a call is that is over, and its token, if the call became a task.
    pub(super) fn keep(&mut self, number: u64, (peer, token): (PeerId, &[u8]), frame: &[u8], e: &Envelope) {
        let Some(id) = created(frame, e) else { return };
        let task = LastingTask { peer, token: token.into(), id: frame[id].into() };
        self.tasks.insert(number, task);
        if self.tasks.len() > MAX_TASKS {
            self.tasks.pop_first();
        }
    }

    /// Who gets progress on the task that a call became, and that peer's token.
    pub(super) fn token(&self, call: u64) -> Option<(PeerId, &[u8])> {
        self.tasks.get(&call).map(|task| (task.peer, &*task.token))
    }

    /// Whose task this is, by the server's id.
    pub(super) fn owner(&self, id: &[u8]) -> Option<PeerId> {
        self.tasks.values().rfind(|task| *task.id == *id).map(|task| task.peer)
    }

    /// A server told of the status of one of its tasks. Returns whose task that is.
    pub(super) fn on_status(&mut self, frame: &[u8], e: &Envelope) -> Option<PeerId> {
        let id = &frame[of(frame, e.params.as_ref())?];
        let owner = self.owner(id);
        if is_over(frame, e) {
            // The result is yet to be asked for, by the same peer.
            self.tasks.values_mut().filter(|task| *task.id == *id).for_each(|task| task.token = Box::default());
        }
        owner
    }

    /// Forgets the tokens of a peer: its connection is gone. Its tasks outlive that.
    pub(super) fn link_down(&mut self, peer: PeerId) {
        self.tasks.values_mut().filter(|task| task.peer == peer).for_each(|task| task.token = Box::default());
    }

    /// Forgets the tasks of a peer that is gone.
    pub(super) fn leave(&mut self, peer: PeerId) {
        self.tasks.retain(|_, task| task.peer != peer);
    }

    /// Forgets all tasks: the server's life is over.
    pub(super) fn clear(&mut self) {
        self.tasks.clear();
    }
}
