//! The network: dialling (DNS, proxy, TLS, upgrade), RFC 6455 frames, a timer, and the news that the machine slept.

pub(crate) mod alarm;
pub(crate) mod dial;
pub(crate) mod error;
pub(crate) mod head;
pub(crate) mod peer_text;
pub mod proxy;
pub(crate) mod tls;
pub(crate) mod wake;
pub mod websocket;
