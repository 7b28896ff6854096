//! The keys of the file that are ours, by where they stand.

/// Keys at the top of the file and in an entry.
pub(crate) const SHARED: &[&str] = &[
    "endpoint",
    "endpointHeaders",
    "subprotocol",
    "caFile",
    "connectTimeout",
    "pingInterval",
    "pingTimeout",
    "maxBackoff",
    "startTimeout",
    "maxFrameSize",
    "handshake",
    "era",
    "mode",
    "naming",
    "names",
    "turn",
    "resync",
    "keepListed",
    "slim",
    "timeout",
    "maxResultBytes",
    "inheritEnv",
    "instances",
    "idle",
    "maxInstances",
];

/// Keys of the top only.
pub(crate) const TOP: &[&str] = &[
    "mcpServers",
    "endpoints",
    "gateway",
    "admin",
    "lease",
    "drainTimeout",
    "toolBudget",
    "cacheDir",
    "stateDir",
    "logFile",
];

/// Keys of a named endpoint: its own, and those of [`SHARED`] that are about a connection or about how servers share it.
pub(crate) const ENDPOINT: &[&str] = &[
    "url",
    "servers",
    "tools",
    "slim",
    "mode",
    "naming",
    "names",
    "turn",
    "resync",
    "endpointHeaders",
    "subprotocol",
    "caFile",
    "connectTimeout",
    "pingInterval",
    "pingTimeout",
    "maxBackoff",
];

/// Keys of an entry only.
pub(crate) const SERVER: &[&str] = &[
    "type",
    "transportType",
    "transport",
    "command",
    "args",
    "expandArgs",
    "env",
    "envFile",
    "cwd",
    "url",
    "serverUrl",
    "headers",
    "auth",
    "certFile",
    "keyFile",
    "disabled",
    "enabled",
    "isActive",
    "pin",
    "tools",
    "replicas",
    "sticky",
    "circuitBreaker",
    "fallback",
    "cache",
    "healthCheck",
    "limits",
    "logFile",
];

/// Keys of the `circuitBreaker` and of the `cache` of an entry.
pub(crate) const CIRCUIT_BREAKER: &[&str] = &["failures", "openFor"];
pub(crate) const CACHE: &[&str] = &["tools", "ttl"];

/// Keys in the `healthCheck` of an entry.
pub(crate) const HEALTH_CHECK: &[&str] = &["every", "tool", "restart"];

/// Keys in the `limits` of an entry.
pub(crate) const LIMITS: &[&str] = &["memory", "openFiles", "nice"];

/// Keys of a `logFile`.
pub(crate) const LOG_FILE: &[&str] = &["path", "maxSize", "keep"];

/// Keys in the `tools` of an entry.
pub(crate) const TOOLS: &[&str] = &["allow", "deny", "rename", "describe", "timeout", "maxResultBytes"];

/// Keys of the gateway.
pub(crate) const GATEWAY: &[&str] = &[
    "listen",
    "cors",
    "hosts",
    "apiKeys",
    "jwt",
    "endpointTokens",
    "endpointServers",
    "sse",
    "sessionIdle",
    "sessionKeyFile",
    "maxSessions",
    "maxStreams",
    "maxHeld",
    "heldTimeout",
    "maxBody",
    "headerTimeout",
    "maxConnections",
    "maxConnectionsPerAddress",
    "requestsPerSecond",
    "tls",
];

/// Keys of one of its `apiKeys`, of one of its `jwt`, of one of its `endpointTokens`, and of its `tls`.
pub(crate) const API_KEY: &[&str] = &["name", "key", "keyFile", "keySha256", "servers", "tools", "capabilityUrl"];
pub(crate) const JWT: &[&str] = &["name", "issuer", "audience", "jwksFile", "jwksUrl", "servers", "tools"];
pub(crate) const ENDPOINT_TOKEN: &[&str] = &["name", "token", "tokenFile", "tokenSha256"];
pub(crate) const GATEWAY_TLS: &[&str] = &["certFile", "keyFile", "clientCaFile"];

/// Keys of `admin`.
pub(crate) const ADMIN: &[&str] = &["listen"];

/// Keys of `lease`.
pub(crate) const LEASE: &[&str] =
    &["etcd", "ttl", "prefix", "node", "standby", "user", "password", "caFile", "certFile", "keyFile"];

/// Where a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// At the top of the file.
    Top,
    /// In an entry of `mcpServers`.
    Server,
    /// In the `tools` of an entry.
    Tools,
    /// In the `circuitBreaker` of an entry.
    CircuitBreaker,
    /// In the `cache` of an entry.
    Cache,
    /// In the `healthCheck` of an entry.
    HealthCheck,
    /// In a named endpoint.
    Endpoint,
    /// In the gateway.
    Gateway,
    /// In one of the gateway's `apiKeys`.
    ApiKey,
    /// In one of the gateway's `jwt`.
    Jwt,
    /// In one of the gateway's `endpointTokens`.
    EndpointToken,
    /// In the gateway's `tls`.
    GatewayTls,
    /// In `admin`.
    Admin,
    /// In `lease`.
    Lease,
    /// In the `limits` of an entry.
    Limits,
    /// In a `logFile`.
    LogFile,
}
