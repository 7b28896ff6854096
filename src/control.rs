//! What a running mcp-pipe tells of itself, and to whom.

pub mod health;
pub mod status;
pub mod summary;
