//! mcp-pipe: MCP servers on WebSocket endpoints, unattended.
//!
//! A run passes through these types, in order: [`cli`] flags → [`config::Config`] (valid by
//! construction) → `supervisor` (owns every pipe) → `pipe` (one loop: link, router, servers).
//! A message passes `link` → `router` → `server` and back; see ARCHITECTURE.md.

mod backoff;
mod bring;
pub mod catalogue;
mod chunk;
pub mod cli;
pub mod complete;
pub mod config;
mod control;
mod disk;
mod doctor;
mod endpoint;
pub mod error;
mod exam;
pub mod frame;
mod gateway;
mod guest;
mod inspect;
mod jwt;
mod last_run;
mod lease;
mod link;
mod local;
pub mod logging;
mod login;
mod manual;
mod marks;
pub mod mcp;
pub mod net;
mod passage;
mod pipe;
pub mod process;
mod replay;
mod review;
pub mod router;
pub mod run;
pub mod secrecy;
pub mod server;
mod service;
mod sharing;
mod stdio;
mod supervisor;
mod tools;
mod wakers;
mod words;
