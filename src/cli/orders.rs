//! The commands that tell a running mcp-pipe to do something.

use clap::Subcommand;

use crate::control::orders::Order;

const RESTART_EXAMPLES: &str = "\
Examples:
  mcp-pipe restart calculator                the server in another process; returns when it answers again
  mcp-pipe restart calculator --connection   its connection, at once, whatever was to be waited for
  mcp-pipe restart kitchen                   every connection to the endpoint of this name
  mcp-pipe restart 'wss://host/path?…'       every connection to this address

Exit code: 0 done, 1 not (with the reason), 2 no such server or several mcp-pipes, 3 none runs";

const STOP_EXAMPLES: &str = "\
Examples:
  mcp-pipe stop calculator     its tools stay listed, and calls get an error that says so
  mcp-pipe start calculator    brings it back; so does a restart of mcp-pipe

Exit code: 0 done, 1 not (with the reason), 2 no such server or several mcp-pipes, 3 none runs";

const START_EXAMPLES: &str = "\
Examples:
  mcp-pipe start calculator    after mcp-pipe stop; or at once where the next attempt would come later

Exit code: 0 it serves, 1 not (with the reason), 2 no such server or several mcp-pipes, 3 none runs";

const PAUSE_EXAMPLES: &str = "\
Examples:
  mcp-pipe pause calculator     it runs on, stays listed, and calls get an error that says so
  mcp-pipe resume calculator    lets it go on

Exit code: 0 done, 1 not (with the reason), 2 no such server or several mcp-pipes, 3 none runs";

const RESUME_EXAMPLES: &str = "\
Examples:
  mcp-pipe resume calculator    after mcp-pipe pause; the same as start

Exit code: 0 it serves, 1 not (with the reason), 2 no such server or several mcp-pipes, 3 none runs";

const RESET_EXAMPLES: &str = "\
A server with a \"circuitBreaker\" gets no calls for a while after calls that got no answer. This lets it have them at once; so do start,
restart and resume.

Examples:
  mcp-pipe reset calculator    returns when it gets calls again

Exit code: 0 done, 1 not (with the reason), 2 no such server or several mcp-pipes, 3 none runs";

const PIN_EXAMPLES: &str = "\
Examples:
  mcp-pipe pin calculator          its turn begins as soon as nothing is under way, and does not end by itself
  mcp-pipe pin calculator --off    its turn ends like others again

`next` ends a pinned turn, too, and leaves the pin: when the server's turn comes again, it does not end. `pin` of another
server takes the pin away.

Exit code: 0 done, 1 not (with the reason), 2 no such server or several mcp-pipes, 3 none runs";

const NEXT_EXAMPLES: &str = "\
Examples:
  mcp-pipe next                       on every endpoint whose servers take turns
  mcp-pipe next calculator            on the endpoint of this server
  mcp-pipe next kitchen               on the endpoint of this name
  mcp-pipe next 'wss://host/path?…'   on this endpoint

A server that is pinned stays pinned: its turn comes again after the others', and does not end then.

Exit code: 0 done, 1 not (with the reason), 2 no such endpoint or several mcp-pipes, 3 none runs";

const RELOAD_EXAMPLES: &str = "\
A running mcp-pipe looks at its config, at .env and at the files of certificates once a second and applies what has changed, so this is
needed only by whoever wants to know what came of it. Only what has changed is touched: an edited entry restarts that server, another
token has that endpoint dialled anew, another filter restarts nothing.

Examples:
  mcp-pipe reload    returns when the new config runs: \"changed: …\" or \"nothing changed\"

Exit code: 0 done, 1 something that changed does not serve, or an endpoint that changed is not connected, 2 several mcp-pipes, 3 none runs, 78 the config has mistakes, and the old one runs on";

/// What a running mcp-pipe is told.
#[derive(Debug, Clone, Subcommand)]
pub enum OrderCommand {
    /// Tell a running mcp-pipe to restart a server, or to connect anew at once
    #[command(after_help = RESTART_EXAMPLES)]
    Restart {
        /// A server; or an endpoint, by its name or as the log shows it
        #[arg(value_name = "SERVER | ENDPOINT")]
        name: String,
        /// Not the server, but its connection
        #[arg(long)]
        connection: bool,
    },
    /// Tell a running mcp-pipe to stop a server until it is started again
    #[command(after_help = STOP_EXAMPLES)]
    Stop {
        /// Which server
        server: String,
    },
    /// Tell a running mcp-pipe to start a server
    #[command(after_help = START_EXAMPLES)]
    Start {
        /// Which server
        server: String,
    },
    /// Tell a running mcp-pipe to keep calls from a server
    #[command(after_help = PAUSE_EXAMPLES)]
    Pause {
        /// Which server
        server: String,
    },
    /// Tell a running mcp-pipe to let a server take calls again
    #[command(after_help = RESUME_EXAMPLES)]
    Resume {
        /// Which server
        server: String,
    },
    /// Tell a running mcp-pipe to ask a server again whose circuit is open
    #[command(after_help = RESET_EXAMPLES)]
    Reset {
        /// Which server
        server: String,
    },
    /// Tell a running mcp-pipe to read its config again, and wait until that runs
    #[command(after_help = RELOAD_EXAMPLES)]
    Reload,
    /// With mode sequential: give a server the turn, until `next` or another `pin`
    #[command(after_help = PIN_EXAMPLES)]
    Pin {
        /// Which server
        server: String,
        /// Have its turn end like others again
        #[arg(long)]
        off: bool,
    },
    /// With mode sequential: begin the next server's turn
    #[command(after_help = NEXT_EXAMPLES)]
    Next {
        /// An endpoint by its name or as the log shows it, or a server on it [default: all]
        #[arg(value_name = "ENDPOINT")]
        on: Option<String>,
    },
}

/// The names of these commands.
pub(super) const NAMES: &[&str] = &["restart", "stop", "start", "pause", "resume", "reset", "reload", "pin", "next"];

impl OrderCommand {
    /// What the command is called.
    pub(super) fn name(&self) -> &'static str {
        match self {
            OrderCommand::Restart { .. } => "restart",
            OrderCommand::Stop { .. } => "stop",
            OrderCommand::Start { .. } => "start",
            OrderCommand::Pause { .. } => "pause",
            OrderCommand::Resume { .. } => "resume",
            OrderCommand::Reset { .. } => "reset",
            OrderCommand::Reload => "reload",
            OrderCommand::Pin { .. } => "pin",
            OrderCommand::Next { .. } => "next",
        }
    }

    /// What the command is about, as it was written.
    pub(super) fn about(&self) -> Option<&str> {
        match self {
            OrderCommand::Restart { name, .. } => Some(name),
            OrderCommand::Stop { server }
            | OrderCommand::Start { server }
            | OrderCommand::Pause { server }
            | OrderCommand::Resume { server }
            | OrderCommand::Reset { server }
            | OrderCommand::Pin { server, .. } => Some(server),
            OrderCommand::Next { on } => on.as_deref(),
            OrderCommand::Reload => None,
        }
    }

    /// The order that the command gives.
    pub(crate) fn order(&self) -> Order {
        match self.clone() {
            OrderCommand::Restart { name, connection } => Order::Restart { name, connection },
            OrderCommand::Stop { server: name } => Order::Stop { name },
            OrderCommand::Start { server: name } => Order::Start { name },
            OrderCommand::Pause { server: name } => Order::Pause { name },
            OrderCommand::Resume { server: name } => Order::Resume { name },
            OrderCommand::Reset { server: name } => Order::Reset { name },
            OrderCommand::Reload => Order::Reload,
            OrderCommand::Pin { server: name, off } => Order::Pin { name, off },
            OrderCommand::Next { on: endpoint } => Order::Next { endpoint },
        }
    }
}
