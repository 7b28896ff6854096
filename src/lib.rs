//! mcp-pipe: MCP servers on WebSocket endpoints, unattended.
//!
//! A run passes through these types, in order: [`cli`] flags → [`config::Config`] (valid by
//! construction) → [`supervisor`] (owns every pipe) → `pipe` (one loop: link, router, servers).
//! A message passes `link` → `router` → `server` and back; see ARCHITECTURE.md.

pub mod backoff;
pub mod catalogue;
pub mod chunk;
pub mod cli;
pub mod config;
pub mod control;
mod disk;
pub mod endpoint;
pub mod error;
pub mod frame;
pub mod inspect;
pub mod link;
pub mod local;
pub mod logging;
pub mod mcp;
pub mod net;
pub mod pipe;
pub mod process;
pub mod router;
pub mod run;
pub mod secrecy;
pub mod server;
pub mod sharing;
pub mod supervisor;
pub mod tools;
pub mod wakers;
pub mod words;
