//! A request of the endpoint on its way through a router.

use std::borrow::Cow;

use tokio::time::Instant;

use super::outcome::{CallMethod, CountedCall, Outcome};
use super::{About, Note, Out, PeerId, What};
use crate::mcp::envelope::Envelope;
use crate::mcp::trace;

/// A request of the endpoint, and when it came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) peer: PeerId,
    pub(super) frame: &'a [u8],
    pub(super) envelope: &'a Envelope,
    /// The endpoint's id, the raw token.
    pub(super) id: &'a [u8],
    pub(super) method: &'a [u8],
    /// When the request came, also for one that has waited since.
    pub(super) now: Instant,
}

impl<'a> Request<'a> {
    /// The parameters as they were written; an empty object for none.
    pub(super) fn params(&self) -> &'a [u8] {
        self.envelope.params.clone().map_or(b"{}", |range| &self.frame[range])
    }

    /// The name of the tool that is called, as it was written; empty if there is none.
    pub(super) fn tool(&self) -> Cow<'a, [u8]> {
        match (self.method, self.envelope.name.clone()) {
            (b"tools/call", Some(name)) => text(&self.frame[name]),
            _ => Cow::Borrowed(b""),
        }
    }

    /// By which id others tell the request, if it carries one.
    pub(super) fn trace(&self) -> Option<&'a str> {
        trace::of_message(self.frame, self.envelope)
    }

    /// Notes that the request was passed to no server, if it is a call.
    pub(super) fn note_unserved(&self, about: About, outcome: Outcome, out: &mut dyn Out) {
        if CallMethod::of(self.method).is_some() {
            let call = CountedCall { method: self.method, tool: &self.tool(), outcome, trace: self.trace() };
            out.note(Note { about, of_guest: false, what: What::Unserved(call) });
        }
    }

    /// The parameter `uri`, as text.
    pub(super) fn uri(&self) -> Option<String> {
        serde_json::from_slice(&self.frame[self.envelope.uri.clone()?]).ok()
    }
}

/// What a JSON string holds; nothing if it is none.
fn text(token: &[u8]) -> Cow<'_, [u8]> {
    let inside = token.strip_prefix(b"\"").and_then(|token| token.strip_suffix(b"\""));
    match inside {
        Some(inside) if !inside.contains(&b'\\') => Cow::Borrowed(inside),
        Some(_) => {
            serde_json::from_slice::<String>(token).map_or(Cow::Borrowed(b""), |text| Cow::Owned(text.into_bytes()))
        }
        None => Cow::Borrowed(b""),
    }
}
