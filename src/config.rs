//! What a run is to do: valid by construction, every default already in its place.
//!
//! The file as written becomes `file::File`, from which [`resolve()`] makes a [`Config`], with the environment and the flags.
//! Nothing else makes one.

mod admin;
mod auth;
mod authorize;
mod bounds;
mod cache;
mod check;
mod command;
mod context;
mod control;
pub(crate) mod defaults;
mod dial;
mod dotenv;
mod editor;
mod endpoints;
mod environment;
mod expand;
mod fallback;
mod file;
mod foreign;
mod gateway;
mod health;
mod instances;
mod interpreter;
mod keys;
mod lease;
mod limits;
mod lines;
mod listen;
mod locate;
mod log_file;
mod misnamed;
mod missing;
mod named;
pub(crate) mod options;
mod paths;
mod pem;
mod policy;
mod reach;
mod reader;
mod remote;
mod resolve;
mod schema;
mod shared;
mod sharing;
mod show;
mod start;
mod state;
mod surroundings;
mod syntax;
mod target;
/// How `instances` is written, in kebab case: see [`Instances`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Share {
    #[default]
    Shared,
    PerPeer,
}

#[cfg(test)]
mod tests;
pub(crate) mod units;
mod validate;
mod variables;
mod windows;

pub use admin::AdminSpec;
pub use bounds::{Bounds, BreakerSpec, CacheSpec};
pub(crate) use command::{is_executable, on_path};
pub use control::{ControlSocket, Places, control_socket};
pub(crate) use dial::ENDPOINT;
pub(crate) use dotenv::{DotEnv, value as dotenv_value};
pub(crate) use editor::{is_place, value as editor_value};
pub use environment::Environment;
pub(crate) use environment::proxies;
pub(crate) use expand::{ExpandError, expand, literals, names as variables_in, whole as whole_variable};
pub(crate) use foreign::{Habits, List, Replaces, each_text, entry as foreign_entry, judge, lists, parsed, usable};
pub use gateway::{
    ApiKeySpec, EndpointTokenSpec, GatewaySpec, GatewayTls, HostName, JwksSource, JwtSpec, Room, SessionKey,
};
pub(crate) use gateway::{MAX_KEY_FILE, sha256, without_made_up_key};
pub use health::HealthCheck;
pub use instances::{Instances, PerPeer, Replicas};
pub(crate) use keys::of_option as key_of_option;
pub(crate) use keys::{names_servers, of_top as foreign_top};
pub use lease::{LeaseSpec, Standby};
pub use limits::LimitsSpec;
pub(crate) use locate::{MAX_CONFIG, may_have_server};
pub use log_file::LogFileSpec;
pub(crate) use missing::{LAUNCHERS, Sought, WINDOWS_ENDS, fetcher, first_line, interpreted, is_script, shell_only};
pub use options::LogFormat;
pub(crate) use reader::truth;
pub(crate) use resolve::{Outline, outline};
pub use resolve::{Resolved, resolve, status_socket};
pub use schema::schema;
pub(crate) use show::Kept;
pub use show::{Shown, show};
pub(crate) use start::CANT_START;
pub use surroundings::Surroundings;
pub(crate) use surroundings::is_setting;
pub(crate) use syntax::fault as json_fault;
pub use validate::{Finding, Findings, Severity, validate};

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use http::HeaderName;

use crate::endpoint::{Endpoint, RemoteUrl};
use crate::mcp::era::Era;
use crate::mcp::handshake::Hello;
use crate::secrecy::Secret;
use crate::tools::ToolPolicy;

/// A whole run.
#[derive(Debug, Clone)]
pub struct Config {
    /// The servers to run, in the order of the file, without the disabled ones.
    pub servers: Vec<ServerSpec>,
    /// Where they are served besides the endpoint that each has of its own; each shows at least one.
    pub endpoints: Vec<EndpointSpec>,
    /// Where MCP clients reach them, if anywhere; then a server needs no endpoint.
    pub gateway: Option<Arc<GatewaySpec>>,
    /// The config as it is written, where it is a file. Tokens may stand in it.
    pub written: Option<Secret>,
    /// Where figures and health are told over HTTP, if anywhere.
    pub admin: Option<Arc<AdminSpec>>,
    /// Where several mcp-pipe agree on who serves an endpoint, if anywhere.
    pub lease: Option<Arc<LeaseSpec>>,
    /// The file into which figures are written now and then, if any.
    pub metrics_file: Option<PathBuf>,
    /// The others, where all of the file are meant.
    pub left_out: LeftOut,
    /// The config file, or without one the working directory; absolute. Tells a person which mcp-pipe this is.
    pub place: PathBuf,
    /// How long requests under way may take to finish at a graceful stop.
    pub drain_timeout: Duration,
    /// Whether mcp-pipe serves the endpoint itself, on loopback; then no server has an endpoint of its own.
    pub local: bool,
    /// Whether what is printed is to have no colour (`NO_COLOR`).
    pub plain: bool,
    /// Whether the contents of messages may be logged (at debug).
    pub log_contents: bool,
    /// Where it is asked and told something while it runs.
    pub control_socket: ControlSocket,
    /// Where `health` is answered besides, if anywhere.
    pub status_socket: Option<PathBuf>,
    /// The folder in which the cache is; nothing is remembered if `None`.
    pub cache_dir: Option<PathBuf>,
    /// The folder in which the state folder is; nothing is kept there if `None`.
    pub state_dir: Option<PathBuf>,
    /// Where the log is written besides, if anywhere.
    pub log_file: Option<LogFileSpec>,
    /// Most tokens (an estimate) that a list of tools may have before a warning.
    pub tool_budget: usize,
    /// The files from which all of this was made, whether they are there or not; absolute.
    pub inputs: BTreeSet<PathBuf>,
}

impl Config {
    /// The same for whoever only has a look at the servers: the files are those of a mcp-pipe that serves.
    pub(crate) fn without_log_files(mut self) -> Self {
        self.log_file = None;
        self.servers.iter_mut().for_each(|server| server.log_file = None);
        self
    }
}

/// The names of servers of the config that are not run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Those that are disabled.
    pub disabled: Vec<String>,
    /// Those that no endpoint shows, where there is no gateway.
    pub unshown: Vec<String>,
}

/// One `mcpServers` entry, and the link on which it is served.
#[derive(Debug, Clone)]
pub struct ServerSpec {
    /// The server's key in `mcpServers`.
    pub name: Arc<str>,
    /// How the server is reached.
    pub reach: Reach,
    /// Where the server is served. `None` where only [`Config::endpoints`] or [`Config::gateway`] show it, and with `--local`
    /// until the local endpoint is bound.
    pub endpoint: Option<Endpoint>,
    /// How the endpoint is dialled and kept.
    pub link: Arc<LinkSpec>,
    /// What the endpoint will say of itself, where that is known beforehand: what the local endpoint does.
    pub hello: Option<Arc<Hello>>,
    /// Who answers a further `initialize`.
    pub handshake: Handshake,
    /// Whether a ping of a peer that has the server alone goes to the server, and is not answered in its name: for whoever wants to
    /// know whether the server itself answers.
    pub passes_pings: bool,
    /// The era of MCP that the server is of, where that is not found out.
    pub era: Option<Era>,
    /// Longest time from the server's start to its answer to `initialize` before the endpoint is dialled regardless.
    pub start_timeout: Duration,
    /// The largest message in bytes, in either direction.
    pub max_frame: usize,
    /// How the server shares its endpoint with others.
    pub sharing: Sharing,
    /// With [`Mode::Sequential`]: whether this server's turn does not end.
    pub pin: bool,
    /// Whether the tools of a server that shares a connection stay listed, from memory, while it is down.
    pub keep_listed: bool,
    /// Whether all peers share the server's process.
    pub instances: Instances,
    /// How the server is asked now and then whether it is well, if it is.
    pub health_check: Option<HealthCheck>,
    /// Where its stderr is written, and what it prints beside its messages, if anywhere.
    pub log_file: Option<LogFileSpec>,
    /// Which of the server's tools are published, and as what.
    pub tools: Arc<ToolPolicy>,
    /// What bounds the harm of the server where it fails or is slow.
    pub bounds: Bounds,
}

/// An endpoint, with the servers that it shows.
#[derive(Debug, Clone)]
pub struct EndpointSpec {
    /// Its name in the config; `None` for an address in a server's entry.
    pub name: Option<Arc<str>>,
    /// Its address.
    pub endpoint: Endpoint,
    /// How it is dialled where servers share a connection.
    pub link: Arc<LinkSpec>,
    /// How its servers share it.
    pub sharing: Sharing,
    /// What it shows, in the order of the file.
    pub servers: Vec<ShownServer>,
}

impl EndpointSpec {
    /// The servers that it shows, each as it is there.
    pub(crate) fn as_shown(&self, servers: &[ServerSpec]) -> Vec<ServerSpec> {
        let of = |shown: &ShownServer| {
            let spec = servers.iter().find(|spec| spec.name == shown.name)?.clone();
            let (endpoint, link, tools) = (Some(self.endpoint.clone()), shown.link.clone(), shown.tools.clone());
            Some(ServerSpec { endpoint, link, sharing: self.sharing, tools, ..spec })
        };
        self.servers.iter().filter_map(of).collect()
    }
}

/// A server as an endpoint shows it.
#[derive(Debug, Clone)]
pub struct ShownServer {
    /// The server's name.
    pub name: Arc<str>,
    /// How the endpoint is dialled where the server has a connection of its own there.
    pub link: Arc<LinkSpec>,
    /// Which of its tools are shown, and as what.
    pub tools: Arc<ToolPolicy>,
}

/// How the servers of one endpoint share it: the same for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sharing {
    /// Which servers share a connection.
    pub mode: Mode,
    /// How names are kept apart where several servers share a connection.
    pub naming: Naming,
    /// Which characters the names of tools may have on a shared connection.
    pub names: Names,
    /// How long a server has the endpoint, with [`Mode::Sequential`].
    pub turn: Duration,
    /// Whether an endpoint that does not read changed lists anew is connected to once more.
    pub resync: bool,
}

/// Which servers share a connection. In the file and on the command line modes are written in kebab case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Mode {
    /// A connection for each server, until the endpoint is known to take only one.
    #[default]
    Auto,
    /// A connection for each server.
    PerServer,
    /// All servers of an endpoint on one connection, as one server.
    Multiplex,
    /// One server of an endpoint at a time, in turns.
    Sequential,
}

/// How the names of several servers' tools and prompts are kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Naming {
    /// A name that only one server has stays; others become `server__name`.
    #[default]
    Auto,
    /// Always `server__name`.
    Prefix,
}

/// Which characters published names of tools may have, where several servers share a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Names {
    /// Letters, digits, `_` and `-`, as the APIs of all models take them.
    #[default]
    Ascii,
    /// Letters and digits of all scripts, `_`, `-` and `.`.
    Unicode,
}

impl Names {
    /// Whether a name may have this character.
    pub(crate) fn has(self, c: char) -> bool {
        match self {
            Names::Ascii => c.is_ascii_alphanumeric() || c == '_' || c == '-',
            // MCP 2025-11-25 allows the full stop, too.
            Names::Unicode => unicode_ident::is_xid_continue(c) || c == '-' || c == '.',
        }
    }
}

/// How a server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// By starting a program.
    Command(CommandSpec),
    /// Over the network.
    Remote(Arc<RemoteSpec>),
    /// Not at all: it has come by itself, over a connection with which it goes. No config has such a server.
    Comer(Room),
}

impl Reach {
    /// What is started, if anything is.
    pub fn command(&self) -> Option<&CommandSpec> {
        match self {
            Reach::Command(command) => Some(command),
            Reach::Remote(_) | Reach::Comer(_) => None,
        }
    }

    /// The program that downloads the server at its first start, if one does.
    pub(crate) fn fetcher(&self) -> Option<&str> {
        self.command().and_then(|command| fetcher(&command.program, &command.args))
    }
}

/// A server that is reached over the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteSpec {
    /// Where it is.
    pub url: RemoteUrl,
    /// By which of MCP's transports.
    pub transport: RemoteTransport,
    /// Headers of each request.
    pub headers: Vec<(HeaderName, Secret)>,
    /// How it is told who asks.
    pub auth: AuthSpec,
    /// Whom the connection trusts, and as whom it shows itself.
    pub tls: TlsSpec,
    /// Longest time for DNS, TCP, proxy and TLS together.
    pub connect_timeout: Duration,
}

/// How a remote server is told who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthSpec {
    /// By the headers of the config, or by the user name in the address.
    Headers,
    /// By a token.
    Bearer(Secret),
    /// By the token in a file.
    BearerFile(PathBuf),
    /// By the token that a program prints.
    BearerCommand(CommandSpec),
    /// By a token that the client is given by an authorization server for what it is (OAuth 2.1 section 4.2).
    ClientCredentials(Box<ClientSpec>),
    /// By a token that a person has let us have (OAuth 2.1 section 4.1), if one ever did.
    Login(LoginSpec),
}

/// A client that an authorization server knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSpec {
    /// Under which name it is registered.
    pub client_id: String,
    /// How it shows that it is the one.
    pub proof: ClientProof,
    /// What it asks for, in place of what the server says that it needs.
    pub scope: Option<String>,
    /// The authorization server, where the remote server names several; byte for byte.
    pub issuer: Option<String>,
}

/// How a client shows who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientProof {
    /// By a secret.
    Secret(Secret),
    /// By a signature (RFC 7523).
    Key {
        /// The private key, in PEM form.
        file: PathBuf,
        /// What the authorization server calls the key.
        key_id: Option<String>,
    },
}

/// How a person logs in, and where the login is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginSpec {
    /// The client, where it was registered by hand.
    pub client_id: Option<String>,
    /// Its secret, if it has one.
    pub client_secret: Option<Secret>,
    /// What is asked for, in place of what the server says that it needs.
    pub scope: Option<String>,
    /// The port of the address to which the browser is sent back, where the authorization server takes one only.
    pub redirect_port: Option<u16>,
    /// The folder in which the state folder is; nothing is kept if `None`.
    pub folder: Option<PathBuf>,
}

/// The transport of a remote server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RemoteTransport {
    /// Whichever the server speaks.
    #[default]
    Any,
    /// Streamable HTTP (MCP 2025-03-26 and later).
    Http,
    /// HTTP+SSE (MCP 2024-11-05).
    Sse,
}

/// The files of a TLS connection, in PEM form.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct TlsSpec {
    /// Certificate authorities that are trusted besides the platform's.
    pub ca_file: Option<PathBuf>,
    /// The certificates that the connection shows, and their key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// A child process, ready to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandSpec {
    /// A path, or a name that is looked up in `PATH` (the child's, where `env` sets one).
    pub program: String,
    /// The arguments, without the program.
    pub args: Vec<String>,
    /// Variables that are set on top of the inherited environment. None holds an endpoint.
    pub env: Vec<(String, Secret)>,
    /// Variables that are taken out of the inherited environment: those that hold an endpoint or a part of one, and those that
    /// `inheritEnv` doesn't let through.
    pub env_remove: Vec<OsString>,
    /// The child's working directory; ours if `None`.
    pub cwd: Option<PathBuf>,
    /// How much of the machine it may have.
    pub limits: LimitsSpec,
}

impl CommandSpec {
    /// The files that are started, as far as they can be told: the program and those arguments that are paths of files.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let folder = self.cwd.clone().unwrap_or_default();
        let path = self.env.iter().find(|(name, _)| name == "PATH").map(|(_, value)| OsString::from(value.reveal()));
        let path = path.or_else(|| std::env::var_os("PATH")).unwrap_or_default();
        let is_name = !self.program.contains(['/', '\\']);
        let mut named = std::env::split_paths(&path).map(|folder| folder.join(&self.program));
        let program = if is_name { named.find(|path| path.is_file()) } else { Some(folder.join(&self.program)) };
        let args = self.args.iter().map(|arg| folder.join(arg)).filter(|path| path.is_file());
        program.into_iter().chain(args).collect()
    }
}

/// How a link dials its endpoint, and when it takes the connection for dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkSpec {
    /// Headers of the upgrade request.
    pub headers: Vec<(HeaderName, Secret)>,
    /// Offered as `Sec-WebSocket-Protocol`; the MCP SDKs use `mcp`.
    pub subprotocol: Option<String>,
    /// A PEM file of certificate authorities trusted besides the platform's.
    pub ca_file: Option<PathBuf>,
    /// Longest time for DNS, TCP, proxy, TLS and upgrade together.
    pub connect_timeout: Duration,
    /// Longest silence of the endpoint before it is sent a WebSocket ping.
    pub ping_interval: Duration,
    /// Longest silence after a ping before the connection is given up.
    pub ping_timeout: Duration,
    /// Longest wait between two attempts to connect, unless the endpoint asks for more.
    pub max_backoff: Duration,
    /// How new the lease is by which the endpoint is dialled, where it is. Nothing that a config says.
    pub epoch: Option<u64>,
}

/// Who answers an `initialize` after the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Handshake {
    /// The router, from what the server said the first time.
    #[default]
    Answer,
    /// The server itself, each time.
    Relay,
}

/// The era of MCP that a server is of (`era`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum EraChoice {
    /// Found out.
    #[default]
    Auto,
    /// Up to 2025-11-25.
    Legacy,
    /// From 2026-07-28 on.
    Modern,
}

impl EraChoice {
    /// The era, where it is not found out.
    pub(crate) fn era(self) -> Option<Era> {
        match self {
            EraChoice::Auto => None,
            EraChoice::Legacy => Some(Era::Legacy),
            EraChoice::Modern => Some(Era::Modern),
        }
    }
}

impl RemoteSpec {
    /// Whether the server is tried as HTTP+SSE first, or only.
    pub(crate) fn is_sse(&self) -> bool {
        match self.transport {
            RemoteTransport::Any => self.url.ends_in_sse(),
            RemoteTransport::Http => false,
            RemoteTransport::Sse => true,
        }
    }
}

#[cfg(test)]
#[expect(clippy::panic, reason = "a test may panic")]
impl ServerSpec {
    /// What is started.
    pub(crate) fn command(&self) -> &CommandSpec {
        match &self.reach {
            Reach::Command(command) => command,
            Reach::Remote(_) | Reach::Comer(_) => panic!("a remote server is not started"),
        }
    }

    /// The same, to be changed.
    pub(crate) fn command_mut(&mut self) -> &mut CommandSpec {
        match &mut self.reach {
            Reach::Command(command) => command,
            Reach::Remote(_) | Reach::Comer(_) => panic!("a remote server is not started"),
        }
    }

    /// A server for tests: starts `program` and gives up on nothing for a second.
    pub(crate) fn sample(name: &str, program: &str, args: &[&str]) -> Self {
        let second = Duration::from_secs(1);
        ServerSpec {
            name: name.into(),
            reach: Reach::Command(CommandSpec {
                program: program.to_owned(),
                args: args.iter().map(|arg| (*arg).to_owned()).collect(),
                env: Vec::new(),
                env_remove: Vec::new(),
                cwd: None,
                limits: LimitsSpec::default(),
            }),
            endpoint: None,
            link: Arc::new(LinkSpec {
                headers: Vec::new(),
                subprotocol: None,
                ca_file: None,
                connect_timeout: second,
                ping_interval: second,
                ping_timeout: second,
                max_backoff: second,
                epoch: None,
            }),
            hello: None,
            handshake: Handshake::Answer,
            passes_pings: false,
            era: None,
            start_timeout: second,
            max_frame: 1 << 20,
            sharing: Sharing::default(),
            pin: false,
            keep_listed: true,
            instances: Instances::Shared,
            health_check: None,
            log_file: None,
            tools: Arc::default(),
            bounds: Bounds::default(),
        }
    }
}
