//! mcp-pipe: MCP servers on WebSocket endpoints, unattended.
//!
//! A run passes through these types, in order: [`cli`] flags → [`config::Config`] (valid by
//! construction) → [`supervisor`] (owns every pipe) → `pipe` (one loop: link, router, servers).
//! A message passes `link` → `router` → `server` and back; see ARCHITECTURE.md.

pub mod cli;
pub mod config;
pub mod endpoint;
pub mod error;
pub mod logging;
pub mod shutdown;
