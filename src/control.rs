//! What a running mcp-pipe tells of itself, and to whom.

pub(crate) mod health;
pub(crate) mod status;
pub(crate) mod summary;
