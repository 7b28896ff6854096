//! A request of the endpoint on its way through a router.

use tokio::time::Instant;

use crate::mcp::envelope::Envelope;

/// What the endpoint asked, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) frame: &'a [u8],
    pub(super) envelope: &'a Envelope,
    /// The endpoint's id, the raw token.
    pub(super) id: &'a [u8],
    pub(super) method: &'a [u8],
    /// When it came; one that has waited counts from then.
    pub(super) now: Instant,
}

impl<'a> Request<'a> {
    /// The parameters as they were written; an empty object if there are none.
    pub(super) fn params(&self) -> &'a [u8] {
        self.envelope.params.clone().map_or(b"{}", |range| &self.frame[range])
    }

    /// The `uri` among them, as text.
    pub(super) fn uri(&self) -> Option<String> {
        serde_json::from_slice(&self.frame[self.envelope.uri.clone()?]).ok()
    }
}
