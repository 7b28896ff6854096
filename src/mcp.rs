//! What MCP and JSON-RPC call things, and how their messages are read and made.

pub mod cloud;
pub mod envelope;
pub(crate) mod failure;
pub mod handshake;
pub mod lists;
pub(crate) mod mend;
pub mod object;
pub mod reply;
pub(crate) mod shape;
