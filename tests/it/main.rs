//! The whole program, as a process, against real sockets and real servers. One file per theme.
//!
//! Loops that provoke something many times take the number of rounds from `MCP_PIPE_TEST_ROUNDS` (20).

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]
#![cfg(unix)]

mod harness;

mod agent;
mod auth;
mod auto;
#[cfg(target_os = "linux")]
mod bounded;
mod bounds;
mod calculator;
mod config_mistakes;
mod conformance;
mod conformance_server;
mod connect;
mod control;
mod crash;
mod doctor;
mod endpoints;
mod eras;
mod escapes;
mod every_server;
mod exam;
mod files;
mod frames;
#[cfg(target_os = "linux")]
mod gateway;
mod gateway_bounds;
mod gateway_chain;
mod gateway_clients;
mod gateway_endpoint;
mod gateway_fronts;
mod gateway_load;
mod gateway_replicas;
mod gateway_rmcp;
#[cfg(target_os = "linux")]
mod gateway_sessions;
#[cfg(target_os = "linux")]
mod gateway_tokens;
mod half_open;
mod handshake;
#[cfg(target_os = "linux")]
mod health;
mod history;
mod house;
mod import;
mod instances;
mod kubernetes;
mod last_run;
mod leases;
mod limits;
mod local;
mod log;
mod log_file;
mod log_level;
mod logs;
#[cfg(target_os = "linux")]
mod metrics;
mod multiplex;
#[cfg(target_os = "linux")]
mod notify;
mod orders;
mod orphans;
mod promises;
mod python;
#[cfg(target_os = "linux")]
mod readiness;
mod real_servers;
mod reconnect;
mod reload;
mod remote;
mod remote_faults;
mod remote_secrets;
mod remote_sse;
mod replay;
mod sdk_clients;
mod secrets;
mod sequential;
#[cfg(target_os = "linux")]
mod service;
mod shutdown;
mod start;
mod status;
mod stdio_front;
mod surroundings;
#[cfg(target_os = "linux")]
mod symptoms;
mod tap;
mod terminal;
#[cfg(target_os = "linux")]
mod trace;
mod twins;
mod upkeep;
mod validate;
