//! A request of the endpoint on its way through a router.

use tokio::time::Instant;

use super::PeerId;
use crate::mcp::envelope::Envelope;

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

    /// The parameter `uri`, as text.
    pub(super) fn uri(&self) -> Option<String> {
        serde_json::from_slice(&self.frame[self.envelope.uri.clone()?]).ok()
    }
}
