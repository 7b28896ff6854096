//! Calls of which a server makes a task (MCP 2025-11-25, tasks): where the ids of tasks are, and progress that goes on after the
//! answer. Pure.

use std::collections::BTreeMap;
use std::ops::Range;

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

/// The progress tokens of calls that became tasks. A token counts as long as its task.
#[derive(Debug, Default)]
pub(super) struct Lasting {
    /// Tokens by the id that the call had at its server.
    tokens: BTreeMap<u64, Token>,
}

#[derive(Debug)]
struct Token {
    /// The endpoint's token, raw.
    own: Box<[u8]>,
    /// The server's id for the task, raw.
    task: Box<[u8]>,
}

impl Lasting {
    /// Keeps the token of a call that is over, if the call became a task.
    pub(super) fn keep(&mut self, call: u64, token: &[u8], frame: &[u8], e: &Envelope) {
        if token.is_empty() {
            return;
        }
        let Some(task) = created(frame, e) else { return };
        self.tokens.insert(call, Token { own: token.into(), task: frame[task].into() });
        if self.tokens.len() > MAX_TASKS {
            self.tokens.pop_first();
        }
    }

    /// The endpoint's token for progress on the task that a call became.
    pub(super) fn token(&self, call: u64) -> Option<&[u8]> {
        self.tokens.get(&call).map(|token| &*token.own)
    }

    /// A server told of the status of one of its tasks.
    pub(super) fn on_status(&mut self, frame: &[u8], e: &Envelope) {
        if is_over(frame, e)
            && let Some(task) = of(frame, e.params.as_ref())
        {
            self.tokens.retain(|_, token| *token.task != frame[task.clone()]);
        }
    }

    /// Forgets all tokens: the connection is gone.
    pub(super) fn clear(&mut self) {
        self.tokens.clear();
    }
}
