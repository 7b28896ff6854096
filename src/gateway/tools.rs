//! Which arguments of the tools at an address are repeated in headers, as far as anybody has read these tools (MCP 2026-07-28,
//! basic/transports, `x-mcp-header`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::mcp::modern::headers::Repeated;
use crate::mcp::object;

/// See the module's documentation. What has changed since is learned with the next list that somebody reads: a client whose call is
/// refused for a header reads the list anew.
#[derive(Debug, Default)]
pub(super) struct Tools(Mutex<Option<Arc<Repeated>>>);

impl Tools {
    /// What is known; `None`: nobody has read the tools yet.
    pub(super) fn known(&self) -> Option<Arc<Repeated>> {
        self.known_mut().clone()
    }

    /// Somebody has read the tools. `result`: raw JSON.
    pub(super) fn learn(&self, result: &str) -> Arc<Repeated> {
        let mut repeated = Repeated::default();
        // The list of an address with tools that none of this is about is not looked into.
        if memchr::memmem::find(result.as_bytes(), b"x-mcp-header").is_some() {
            let tools = object::find(result, &["tools"]).and_then(|list| object::elements(list, usize::MAX));
            let _left_out_by_clients = repeated.read(&tools.unwrap_or_default());
        }
        let learned = Arc::new(repeated);
        *self.known_mut() = Some(learned.clone());
        learned
    }

    fn known_mut(&self) -> MutexGuard<'_, Option<Arc<Repeated>>> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
