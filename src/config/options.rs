//! The command line's options for a run. The config has a key for most of them.
//!
//! Values that may also stand in the file are `Option`s: which one counts, and every default, is decided in
//! [`super::resolve`]. The endpoint is taken as a plain [`Secret`], so that neither a parse error nor `--help` can show it.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{Mode, defaults, listen, units};
use crate::endpoint::Secret;
use crate::words::size;

/// The part of a command line that concerns the config.
#[derive(Debug)]
pub struct CommandLine<'a> {
    /// What counts in the place of what the config file says now.
    pub text: Option<&'a Secret>,
    /// The options.
    pub options: &'a Options,
    /// Which servers take part.
    pub target: Target<'a>,
    /// Whether mcp-pipe serves the endpoint itself, on loopback.
    pub local: bool,
    /// What `serve` says of the gateway, if that is the command.
    pub serve: Option<ServeArgs>,
    /// What stands behind the name of a server or script, where one is named: one is all that there may be.
    pub more: &'a [String],
    /// The command, if there is one.
    pub command: Option<&'static str>,
    /// The names of all commands.
    pub commands: Vec<String>,
}

/// Which servers take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// Every enabled server of the config.
    All,
    /// A name in the config, or a script.
    Named(&'a str),
    /// A program and its arguments; never empty.
    Line(&'a [String]),
}

/// The options of `serve`.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct ServeArgs {
    /// The address to listen on, with its port: 127.0.0.1:8765, [::1]:8765, :8765 for every interface; port 0 for a free
    /// one [env: MCP_GATEWAY_LISTEN]
    #[arg(long, value_name = "ADDRESS", value_parser = listen::address, help_heading = "Gateway")]
    pub listen: Option<SocketAddr>,
}

/// The options of all commands. Which command takes which is decided in [`crate::cli`].
#[derive(Debug, Clone, Default, Args)]
pub struct Options {
    /// The config file [env: MCP_CONFIG]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Servers")]
    pub config: Option<PathBuf>,
    /// Whether the config was named by an argument, not by the option.
    #[arg(skip)]
    pub config_is_argument: bool,
    /// How long a server may take to answer initialize before its endpoint is dialled regardless
    #[arg(long, global = true, value_name = "TIME", value_parser = units::duration, help_heading = "Servers")]
    pub start_timeout: Option<Duration>,
    /// The largest message, in either direction
    #[arg(long, global = true, value_name = "SIZE", value_parser = units::frame_size, help_heading = "Servers")]
    pub max_frame_size: Option<usize>,
    /// How long calls under way may take to finish when told to stop
    #[arg(long, global = true, value_name = "TIME", value_parser = units::duration, help_heading = "Servers")]
    pub drain_timeout: Option<Duration>,
    /// The socket on which a running mcp-pipe is asked by status, logs and health, or none [env: MCP_CONTROL_SOCKET]
    /// [default: one for each config, which they find]
    #[arg(long, global = true, value_name = "PATH", help_heading = "Servers")]
    pub control_socket: Option<PathBuf>,
    /// A socket for `health` alone, besides that one [env: MCP_STATUS_SOCKET]
    #[arg(long, global = true, value_name = "PATH", help_heading = "Servers")]
    pub status_socket: Option<PathBuf>,
    /// A file into which figures are written each 15 s, in Prometheus' text format, as for the textfile collector of
    /// node_exporter
    #[arg(long, global = true, value_name = "FILE", help_heading = "Servers")]
    pub metrics_file: Option<PathBuf>,
    /// Where to remember what servers said, or none [env: MCP_CACHE_DIR] [default: mcp-pipe in the user's cache folder]
    #[arg(long, global = true, value_name = "PATH", help_heading = "Servers")]
    pub cache_dir: Option<OsString>,

    /// Serve an endpoint on this machine instead: needs no account and no network
    #[arg(long, global = true, conflicts_with_all = ["endpoint", "ca_file"], help_heading = "Endpoint")]
    pub local: bool,
    /// The WebSocket endpoint, ws:// or wss://. MCP_ENDPOINT or a .env file keep a token out of your shell's history
    #[arg(long, global = true, value_name = "ENDPOINT", value_parser = secret, help_heading = "Endpoint")]
    pub endpoint: Option<Secret>,
    /// How servers share an endpoint [default: auto]
    ///   auto: a connection for each, until the endpoint is known to take only one; then as multiplex
    ///   per-server: a connection for each, whatever happens
    ///   multiplex: all servers of an endpoint on one connection, as one server
    ///   sequential: one server of an endpoint at a time, in turns
    #[arg(long, global = true, value_name = "MODE", value_enum, hide_possible_values = true, verbatim_doc_comment)]
    #[arg(help_heading = "Endpoint")]
    pub mode: Option<Mode>,
    /// A PEM file of certificate authorities to trust besides the platform's
    #[arg(long, global = true, value_name = "FILE", help_heading = "Endpoint")]
    pub ca_file: Option<PathBuf>,
    /// The longest wait between two attempts to connect, unless the endpoint asks for more
    #[arg(long, global = true, value_name = "TIME", value_parser = units::duration_from_1s, help_heading = "Endpoint")]
    pub max_backoff: Option<Duration>,

    /// error, warn, info, debug or trace, or a list like info,mcp_pipe::link=debug [env: MCP_LOG_LEVEL, RUST_LOG]
    #[arg(long, global = true, value_name = "LEVEL", help_heading = "Log")]
    pub log_level: Option<String>,
    /// text for people, or json: an object a line
    #[arg(long, global = true, value_name = "FORMAT", value_enum, default_value_t, hide_possible_values = true)]
    #[arg(help_heading = "Log")]
    pub log_format: LogFormat,
    /// Log the contents of messages too (at debug). They may hold private data
    #[arg(long, global = true, help_heading = "Log")]
    pub log_contents: bool,
}

/// What `--help` says about the defaults of options, by the option's id.
pub(crate) fn default_texts() -> [(&'static str, String); 6] {
    let time = |time: Duration| format!("{}s", time.as_secs());
    [
        ("config", format!("{} in the working directory", defaults::CONFIG)),
        ("start_timeout", time(defaults::START_TIMEOUT)),
        ("max_frame_size", size(defaults::MAX_FRAME_SIZE as u64).replace(' ', "")),
        ("drain_timeout", time(defaults::DRAIN_TIMEOUT)),
        ("max_backoff", time(defaults::MAX_BACKOFF)),
        ("log_level", defaults::LOG_LEVEL.to_string()),
    ]
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}
