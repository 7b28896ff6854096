//! One WebSocket connection to an endpoint, through all its reconnects.

pub mod dial;
pub mod keepalive;
pub mod proxy;
pub mod tls;
pub mod wake;
