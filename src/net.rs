//! The network: dialling (DNS, proxy, TLS, upgrade), RFC 6455 frames, HTTP, server-sent events, a timer, and the news that the
//! machine slept.

pub(crate) mod alarm;
pub(crate) mod dial;
pub(crate) mod error;
pub(crate) mod head;
pub(crate) mod http;
pub(crate) mod peer_text;
pub(crate) mod port;
pub mod proxy;
pub(crate) mod sse;
pub(crate) mod tls;
pub(crate) mod wake;
pub mod websocket;
