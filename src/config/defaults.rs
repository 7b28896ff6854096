//! Every default of the config, and nothing else has one. `--help` and the README's tables are tested against it.

use std::time::Duration;

use super::{LinkSpec, Mode, Naming, Sharing};

/// `connectTimeout`.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// `pingInterval`.
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(20);
/// `pingTimeout`.
pub(crate) const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// `maxBackoff`.
pub(crate) const MAX_BACKOFF: Duration = Duration::from_secs(600);
/// `startTimeout`.
pub(crate) const START_TIMEOUT: Duration = Duration::from_secs(60);
/// `maxFrameSize`, in bytes.
pub(crate) const MAX_FRAME_SIZE: usize = 16 << 20;
/// `drainTimeout`.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// `toolBudget`, in tokens.
pub(crate) const TOOL_BUDGET: usize = 8000;
/// `turn`.
pub(crate) const TURN: Duration = Duration::from_secs(300);
/// `resync`.
pub(crate) const RESYNC: bool = true;
/// `keepListed`.
pub(crate) const KEEP_LISTED: bool = true;
/// `slim`.
pub(crate) const SLIM: bool = false;

/// What servers in Python are told unless the environment, `.env` or their entry says otherwise: to write each line at once,
/// which Python doesn't do where nobody sees it, and in UTF-8, whatever the language of the system.
pub(crate) const PYTHON: [(&str, &str); 2] = [("PYTHONUNBUFFERED", "1"), ("PYTHONUTF8", "1")];

impl Default for Sharing {
    fn default() -> Self {
        Sharing { mode: Mode::default(), naming: Naming::default(), turn: TURN, resync: RESYNC }
    }
}

impl Default for LinkSpec {
    fn default() -> Self {
        LinkSpec {
            headers: Vec::new(),
            subprotocol: None,
            ca_file: None,
            connect_timeout: CONNECT_TIMEOUT,
            ping_interval: PING_INTERVAL,
            ping_timeout: PING_TIMEOUT,
            max_backoff: MAX_BACKOFF,
        }
    }
}
