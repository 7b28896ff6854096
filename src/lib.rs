//! mcp-pipe: MCP servers on WebSocket endpoints, unattended.
//!
//! A run passes through these types, in order: [`cli`] flags → [`config::Config`] (valid by
//! construction) → [`supervisor`] (owns every pipe) → `pipe` (one loop: link, router, servers).
//! A message passes `link` → `router` → `server` and back; see ARCHITECTURE.md.

pub mod admin;
pub mod agent;
pub mod backoff;
pub mod catalogue;
pub mod chunk;
pub mod cli;
pub mod config;
pub mod diagnosis;
pub mod endpoint;
pub mod envelope;
pub mod error;
pub mod frame;
pub mod gateway;
pub mod guard;
pub mod inspect;
pub mod layout;
pub mod link;
pub mod logging;
pub mod pipe;
pub mod recovery;
pub mod router;
pub mod run;
pub mod server;
pub mod sharing;
pub mod shutdown;
pub mod status;
pub mod steering;
pub mod supervisor;
pub mod tools;
pub mod wakers;
