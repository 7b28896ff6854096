//! A request of a peer on its way at a server: whose it is, what it asks for, and what becomes of its answer.

use std::time::Duration;

use tokio::time::Instant;

use crate::mcp::lists::Place;
use crate::router::PeerId;
use crate::router::call_cache::Question;
use crate::router::desk::{MAX_ID, METHOD};
use crate::router::outcome::{CountedCall, Outcome};
use crate::router::request::Request;
use crate::router::search::Search;

/// Longest part of a name that is kept for the words of an error, in bytes.
const BRIEF: usize = 128;

/// Longest name of a tool that is kept with a call, in bytes: MCP gives names 128 characters, and a name that no server has listed need
/// not be kept at all.
const TOOL: usize = 256;

/// A request of a peer under way.
#[derive(Debug)]
pub(in crate::router) struct Call {
    pub(in crate::router) peer: PeerId,
    /// The peer's id, then the method, then the tool if it is a call of one, then the id by which others tell the call if it carries one, then
    /// the peer's progress token if it gave one.
    text: Box<[u8]>,
    id_len: usize,
    method_len: u16,
    tool_len: u16,
    trace_len: u8,
    pub(in crate::router) since: Instant,
    /// Limits and the like, which only some calls have.
    pub(in crate::router) terms: Option<Box<Terms>>,
}

/// What else becomes of a call and its answer, besides that they are passed on.
#[derive(Debug, Default)]
pub(in crate::router) struct Terms {
    /// How long the call may take.
    pub(in crate::router) timeout: Option<Duration>,
    /// When the call is answered with an error instead.
    pub(in crate::router) deadline: Option<Instant>,
    /// What was asked for, for the words of an error.
    pub(in crate::router) what: Box<str>,
    /// The largest result, in bytes.
    pub(in crate::router) max_result: Option<usize>,
    /// The question for which the answer is to be kept.
    pub(in crate::router) question: Option<Question>,
    /// The search that the call is part of, where one server is asked after the other.
    pub(in crate::router) search: Option<Search>,
    /// The page of a list that the call reads, where lists pass through, and the list's version as [`Pages`] counts them.
    ///
    /// [`Pages`]: crate::router::listing::pages::Pages
    pub(in crate::router) place: Option<(Place, u32)>,
}

/// The beginning of a name, for the words of an error.
pub(in crate::router) fn brief(name: &str) -> &str {
    &name[..name.floor_char_boundary(BRIEF)]
}

impl Call {
    /// For a request of the endpoint.
    pub(in crate::router) fn new(request: &Request<'_>) -> Self {
        Call::of_tool(request, &request.tool())
    }

    /// For a request of the endpoint that calls a tool of this name, as the server knows it.
    pub(in crate::router) fn of_tool(request: &Request<'_>, tool: &[u8]) -> Self {
        let Request { peer, frame, envelope, id, method, now } = *request;
        let progress = envelope.wants_progress.clone().map_or(&b""[..], |range| &frame[range]);
        let method = &method[..method.len().min(METHOD)];
        let progress = if progress.len() <= MAX_ID && progress != b"null" { progress } else { b"" };
        let tool = if tool.len() <= TOOL { tool } else { b"" };
        let trace = request.trace().unwrap_or_default().as_bytes();
        let text = [id, method, tool, trace, progress].concat().into();
        let [method_len, tool_len] = [method, tool].map(|part| u16::try_from(part.len()).unwrap_or_default());
        let trace_len = u8::try_from(trace.len()).unwrap_or_default();
        Call { peer, text, id_len: id.len(), method_len, tool_len, trace_len, since: now, terms: None }
    }

    /// The endpoint's id, the raw token.
    pub(in crate::router) fn id(&self) -> &[u8] {
        &self.text[..self.id_len]
    }

    pub(in crate::router) fn method(&self) -> &[u8] {
        &self.text[self.id_len..self.id_len + usize::from(self.method_len)]
    }

    /// The call goes to a server for which its answer is not kept.
    pub(in crate::router) fn answer_is_of_another(&mut self) {
        if let Some(terms) = &mut self.terms {
            terms.question = None;
        }
    }

    /// The tool that is called; empty if none is.
    pub(in crate::router) fn tool(&self) -> &[u8] {
        let from = self.id_len + usize::from(self.method_len);
        &self.text[from..from + usize::from(self.tool_len)]
    }

    /// By which id others tell the call, if it carries one.
    pub(in crate::router) fn trace(&self) -> Option<&str> {
        let from = self.id_len + usize::from(self.method_len) + usize::from(self.tool_len);
        str::from_utf8(&self.text[from..from + usize::from(self.trace_len)]).ok().filter(|trace| !trace.is_empty())
    }

    /// The call, as it is counted.
    pub(in crate::router) fn counted(&self, outcome: Outcome) -> CountedCall<'_> {
        CountedCall { method: self.method(), tool: self.tool(), outcome, trace: self.trace() }
    }

    /// Bytes that are kept for the call.
    pub(super) fn size(&self) -> usize {
        let of_terms = |terms: &Terms| {
            let search = terms.search.as_ref().map_or(0, Search::size);
            terms.what.len() + search + terms.question.as_ref().map_or(0, Question::size)
        };
        self.text.len() + self.terms.as_deref().map_or(0, of_terms)
    }

    /// The endpoint's progress token, raw; empty if no progress is wanted.
    pub(in crate::router) fn progress(&self) -> &[u8] {
        let before = usize::from(self.method_len) + usize::from(self.tool_len) + usize::from(self.trace_len);
        &self.text[self.id_len + before..]
    }

    /// MCP: `initialize` must not be cancelled.
    pub(super) fn is_cancellable(&self) -> bool {
        self.method() != b"initialize"
    }
}
