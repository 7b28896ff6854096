//! The network: dialling (DNS, proxy, TLS, upgrade), RFC 6455 frames, a timer, and the news that the machine slept.

pub mod alarm;
pub mod dial;
pub mod error;
pub mod head;
pub mod peer_text;
pub mod proxy;
pub mod tls;
pub mod wake;
pub mod websocket;
