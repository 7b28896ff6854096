//! Dials of real loopback servers.

use super::*;

pub(in crate::link) fn spec() -> LinkSpec {
    LinkSpec {
        headers: Vec::new(),
        subprotocol: None,
        ca_file: None,
        connect_timeout: Duration::from_secs(10),
        ping_interval: Duration::from_secs(20),
        ping_timeout: Duration::from_secs(20),
        max_backoff: Duration::from_secs(600),
    }
}
