//! What MCP and JSON-RPC call things, and how their messages are read and made.

pub(crate) mod answer;
pub(crate) mod cloud;
pub mod envelope;
pub mod era;
pub(crate) mod failure;
pub(crate) mod handshake;
pub(crate) mod id;
pub mod lists;
pub(crate) mod mend;
pub(crate) mod modern;
pub(crate) mod object;
pub(crate) mod reply;
pub(crate) mod shape;
pub(crate) mod trace;
