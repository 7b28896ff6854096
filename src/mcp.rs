//! What MCP and JSON-RPC call things, and how their messages are read and made.

pub mod cloud;
pub mod envelope;
pub mod handshake;
pub mod lists;
pub mod object;
pub mod reply;
