//! One WebSocket connection to an endpoint, through all its reconnects.

pub mod websocket;
