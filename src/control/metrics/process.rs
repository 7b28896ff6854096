//! What the system says of processes: of mcp-pipe itself, and of those that it has started.

use std::collections::HashMap;

use crate::process::memory::{self, Memory};

/// What was looked up. Blocks while it is.
#[derive(Debug, Default)]
pub(super) struct Machine {
    /// By the leaders of process groups.
    pub(super) groups: HashMap<u32, Memory>,
    /// `None` where the system does not tell.
    pub(super) own: Option<Own>,
}

/// What mcp-pipe itself holds and has used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Own {
    /// Resident bytes.
    pub(super) bytes: u64,
    /// Of processors, in seconds.
    pub(super) cpu: f64,
    /// Descriptors that are open.
    pub(super) descriptors: u64,
    /// The most that there may be; `None`: as many as the system has.
    pub(super) most_descriptors: Option<u64>,
}

impl Machine {
    /// Looks.
    pub(super) fn look() -> Self {
        Machine { groups: memory::of_groups(), own: own() }
    }
}

#[cfg(target_os = "linux")]
fn own() -> Option<Own> {
    let used = memory::of_itself()?;
    // The folder that is read is open as well.
    let descriptors = std::fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as u64;
    let most_descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    Some(Own { bytes: used.bytes, cpu: used.cpu, descriptors, most_descriptors })
}

#[cfg(not(target_os = "linux"))]
fn own() -> Option<Own> {
    None
}

#[cfg(all(test, target_os = "linux"))]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_known() {
        let own = own().unwrap();
        assert!(own.bytes > 1 << 20 && own.descriptors >= 3, "{own:?}");
        assert!(own.most_descriptors.is_none_or(|most| most >= own.descriptors), "{own:?}");
    }
}
