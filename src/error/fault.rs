//! The kinds of faults of a mcp-pipe that runs, each with a code that stays the same in all versions: programs go by the code, people by
//! the words.

use serde::{Deserialize, Serialize};

/// A kind of fault, and how it is called.
macro_rules! codes {
    ($($(#[$doc:meta])+ $name:ident = $text:literal,)+) => {
        /// What kind of fault it is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum FaultCode {
            $($(#[$doc])+ #[serde(rename = $text)] $name,)+
        }

        impl FaultCode {
            /// The code as programs read it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(FaultCode::$name => $text,)+
                }
            }

            /// All codes.
            #[cfg(test)]
            pub(crate) const ALL: &[FaultCode] = &[$(FaultCode::$name),+];
        }
    };
}

codes! {
    /// The server's program, its interpreter or its working directory is not there.
    CommandNotFound = "command-not-found",
    /// The server's program is there and can't be started.
    CommandNotRunnable = "command-not-runnable",
    /// The system has no room for a further process.
    LimitReached = "limit-reached",
    /// The server held more memory than its `limits` let it have, or ended for want of more.
    MemoryLimit = "memory-limit",
    /// The server ended with as many files open as its `limits` let it have.
    OpenFilesLimit = "open-files-limit",
    /// The server's process ended.
    ServerExited = "server-exited",
    /// The server's process ends again and again, before it was of use.
    ServerCrashLoop = "server-crash-loop",
    /// The server has not answered `initialize` within its `startTimeout`.
    ServerNotReady = "server-not-ready",
    /// The server was called, and says nothing.
    ServerHangs = "server-hangs",
    /// The server gave no answers, and is asked no more for a while.
    CircuitOpen = "circuit-open",
    /// The server fails its health check.
    ServerUnhealthy = "server-unhealthy",
    /// The server answers `initialize` with an error.
    ServerRefuses = "server-refuses",
    /// Nothing listens at the remote server's address.
    RemoteRefused = "remote-refused",
    /// The remote server's name can't be looked up.
    RemoteDns = "remote-dns",
    /// No way leads to the remote server.
    RemoteUnreachable = "remote-unreachable",
    /// The remote server did not answer in time.
    RemoteTimeout = "remote-timeout",
    /// TLS with the remote server failed.
    RemoteTls = "remote-tls",
    /// The proxy on the way to the remote server does not connect.
    RemoteProxy = "remote-proxy",
    /// The connection to the remote server broke.
    RemoteLost = "remote-lost",
    /// The remote server does not let us in (HTTP 401 or 403).
    RemoteUnauthorized = "remote-unauthorized",
    /// No token for the remote server can be had.
    RemoteToken = "remote-token",
    /// The remote server takes no more requests now (HTTP 429 or 503).
    RemoteBusy = "remote-busy",
    /// The remote server answered with another status of HTTP.
    RemoteHttp = "remote-http",
    /// What answers at the remote server's address speaks no MCP.
    RemoteNotMcp = "remote-not-mcp",
    /// Nothing listens at the endpoint's address.
    EndpointRefused = "endpoint-refused",
    /// The endpoint's name can't be looked up.
    EndpointDns = "endpoint-dns",
    /// No way leads to the endpoint.
    EndpointUnreachable = "endpoint-unreachable",
    /// The endpoint did not answer the dial in time.
    EndpointTimeout = "endpoint-timeout",
    /// TLS with the endpoint failed.
    EndpointTls = "endpoint-tls",
    /// The proxy on the way to the endpoint does not connect.
    EndpointProxy = "endpoint-proxy",
    /// A header of the config can't be sent.
    EndpointHeader = "endpoint-header",
    /// The endpoint does not take the token.
    EndpointUnauthorized = "endpoint-unauthorized",
    /// The endpoint answered the dial with another status of HTTP.
    EndpointHttp = "endpoint-http",
    /// What answers at the endpoint's address is no WebSocket server, or no MCP client.
    EndpointNotMcp = "endpoint-not-mcp",
    /// The endpoint closed the connection with 4004, which says nothing by itself.
    Endpoint4004 = "endpoint-4004",
    /// The endpoint closed the connection with another code.
    EndpointClosed = "endpoint-closed",
    /// Another connection keeps taking the place of ours.
    EndpointContested = "endpoint-contested",
    /// The connection stood, and nothing came on it any more.
    EndpointHalfOpen = "endpoint-half-open",
    /// The connection broke without a goodbye.
    EndpointLost = "endpoint-lost",
    /// Another mcp-pipe here serves the same agent.
    AgentTaken = "agent-taken",
    /// The lease by which several daemons share endpoints can't be kept.
    LeaseUnkept = "lease-unkept",
    /// The config was changed, and has mistakes.
    ConfigMistake = "config-mistake",
    /// The gateway can't be as the config wants it since a reload.
    GatewayUnchanged = "gateway-unchanged",
    /// The disk with the cache is full.
    DiskFull = "disk-full",
    /// The cache can't be written.
    CacheUnwritable = "cache-unwritable",
}

impl FaultCode {
    /// Whether everything is served in spite of the fault.
    pub fn is_warning(self) -> bool {
        matches!(self, FaultCode::DiskFull | FaultCode::CacheUnwritable)
    }

    /// What to do about it, where nothing more is known than the code.
    pub fn remedy(self) -> &'static str {
        match self {
            FaultCode::CommandNotFound => "install it, or correct command or cwd",
            FaultCode::CommandNotRunnable => "make it executable, or name its interpreter as command",
            FaultCode::LimitReached => "raise the limit that is named",
            FaultCode::MemoryLimit => "raise memory in its limits, if it needs that much; else mend the server",
            FaultCode::OpenFilesLimit => "raise openFiles in its limits, if it needs that many; else mend the server",
            FaultCode::ServerExited => {
                "do what its last words say, if it comes again; mcp-pipe logs SERVER has more of them"
            }
            FaultCode::ServerCrashLoop => "see mcp-pipe logs SERVER, mend it, mcp-pipe restart SERVER",
            FaultCode::ServerNotReady => "raise startTimeout if it needs longer; else see mcp-pipe logs SERVER",
            FaultCode::ServerHangs => "mcp-pipe restart SERVER",
            FaultCode::CircuitOpen => "see mcp-pipe logs SERVER; once it is mended, mcp-pipe reset SERVER",
            FaultCode::ServerUnhealthy => "do what its words say, or mcp-pipe restart SERVER",
            FaultCode::ServerRefuses => "do what it says, then mcp-pipe restart SERVER",
            FaultCode::RemoteRefused => {
                "start it, or correct the port in its url; in a container localhost is the container"
            }
            FaultCode::RemoteDns => "check its spelling, and this machine's name server",
            FaultCode::RemoteUnreachable => "check this machine's network and firewall",
            FaultCode::RemoteTimeout => {
                "check that it runs and is not overloaded; raise startTimeout if it needs longer"
            }
            FaultCode::RemoteTls => "do what the words say: caFile, certFile, a clock, a name",
            FaultCode::RemoteProxy => "check the proxy and its variables, or name the host in NO_PROXY",
            FaultCode::RemoteLost => "nothing, unless it comes again: it is asked anew",
            FaultCode::RemoteUnauthorized => "write or correct headers in its entry",
            FaultCode::RemoteToken => "see the reason; it is tried again",
            FaultCode::RemoteBusy => "wait: it is asked again, and not before its Retry-After",
            FaultCode::RemoteHttp => "check the path in its url, to the last slash; 5xx are the server's own",
            FaultCode::RemoteNotMcp => "check scheme, port and path of its url",
            FaultCode::EndpointRefused => "check the port, and that the endpoint runs",
            FaultCode::EndpointDns => "check its spelling, and this machine's name server",
            FaultCode::EndpointUnreachable => "check this machine's network and firewall",
            FaultCode::EndpointTimeout => "check that it runs, and whether a firewall or a proxy is in the way",
            FaultCode::EndpointTls => "do what the words say: a CA file, a clock, a name",
            FaultCode::EndpointProxy => "check the proxy and its variables",
            FaultCode::EndpointHeader => "correct it",
            FaultCode::EndpointUnauthorized => "copy a fresh endpoint URL from its console",
            FaultCode::EndpointHttp => "check the address; 5xx pass by themselves",
            FaultCode::EndpointNotMcp => "compare the address with the one in the endpoint's console",
            FaultCode::Endpoint4004 => "the words say what is most likely",
            FaultCode::EndpointClosed => "the words say what it means",
            FaultCode::EndpointContested => "end the other program with this token, or use another agent",
            FaultCode::EndpointHalfOpen => "the network; the endpoint is dialled again",
            FaultCode::EndpointLost => "the network; the endpoint is dialled again",
            FaultCode::AgentTaken => "end one of the two",
            FaultCode::LeaseUnkept => "check etcd and the way to it; the words say what it answers",
            FaultCode::ConfigMistake => "correct them, at the places that are named",
            FaultCode::GatewayUnchanged => "do what the words say, then mcp-pipe reload",
            FaultCode::DiskFull => "make room, or name another folder: --cache-dir",
            FaultCode::CacheUnwritable => "check the folder that is named",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_one_of_a_kind_and_told_in_the_docs() {
        let docs = include_str!("../../docs/STATUS.md");
        let rows = docs.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        let rows: Vec<&str> = rows.filter(|code| FaultCode::ALL.iter().any(|known| known.as_str() == *code)).collect();
        let all: Vec<&str> = FaultCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(rows, all, "each once and in this order");
        for code in FaultCode::ALL {
            let row = docs.lines().find(|line| line.starts_with(&format!("| `{}` |", code.as_str())));
            let told = row.unwrap_or_default().replace('`', "");
            assert!(told.ends_with(&format!("| {} |", code.remedy())), "{told}: {}", code.remedy());
        }
        for code in FaultCode::ALL {
            let written = serde_json::to_value(code).ok();
            assert_eq!(written.as_ref().and_then(serde_json::Value::as_str), Some(code.as_str()));
        }
    }
}
