//! The keys of the file: ours, those of other programs with what becomes of each, and the closest one to a slip.

use jsonc_parser::ast::{ObjectProp, Value};

use super::RemoteTransport;
use super::reader::{Member, Reader, member, truth};
use super::units;
use crate::endpoint::is_variable;
use crate::error::Code;
use crate::words::{brief, closest, listed};

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

/// What becomes of a key that other programs have. A key that is not in the table is unknown: ignored with a warning, but in
/// `tools`, in `healthCheck`, in the gateway, in `admin` and in `lease` a mistake, as is a slip of a key that guards something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Treatment {
    /// Read as this key of ours. `tools.allow` and `tools.deny` are those in `tools`.
    Honoured(&'static str),
    /// Ignored without a word: the key means nothing here, and nobody misses it.
    Harmless,
    /// The key is about asking a person before a call, which mcp-pipe never does. Told where tools are named.
    Asking,
    /// A switch that has one position here: on. Where somebody switches it off, the key is ignored with this warning.
    On(&'static str),
    /// A switch that has one position here: off. Where somebody switches it on, the key is ignored with this warning.
    Off(&'static str),
    /// Ignored with a warning; most likely this key of ours was meant.
    Meant(&'static str),
    /// Ignored with a warning, which says what to write instead.
    Ignored(&'static str),
    /// A mistake: without the key something else would be done than was meant. Says what to write instead.
    Mistake(&'static str),
}

use Place::{
    Admin, ApiKey, Cache, CircuitBreaker, Endpoint, EndpointToken, Gateway, GatewayTls, HealthCheck, Jwt, Lease,
    Limits, LogFile, Server, Tools, Top,
};
use Treatment::{Asking, Harmless, Honoured, Ignored, Meant, Mistake, Off, On};

/// What to write in place of another program's rule about which tools there are.
const FILTER: &str =
    "write \"tools\": {\"allow\": […]} for those to publish, or {\"deny\": […]} for those to leave out";

/// The keys of other programs. Keys that only one program has stand under its name, others by what they are about.
const FOREIGN: &[(Place, Treatment, &[&str])] = &[
    // The list of servers: VS Code; Codex's spelling; Zed; Amp; opencode, and VS Code's user settings.
    (Top, Honoured("mcpServers"), &["servers", "mcp_servers", "context_servers", "amp.mcpServers"]),
    (Top, Honoured("mcp"), &["mcp"]),
    // xiaozhi-client.
    (Top, Honoured("endpoint"), &["mcpEndpoint", "MCP_ENDPOINT"]),
    (Top, Honoured("mcpServerConfig"), &["mcpServerConfig"]),
    (
        Top,
        Ignored("write \"pingInterval\": \"30s\" for its heartbeatInterval, \"pingTimeout\" for its heartbeatTimeout"),
        &["connection"],
    ),
    (Top, Harmless, &["webUI", "platforms", "modelscope", "toolCallLog"]),
    // mcphub.
    (Top, Harmless, &["users", "systemConfig", "userConfigs"]),
    (Top, Ignored("all servers of an endpoint are served there; give others another \"endpoint\""), &["groups"]),
    (Server, Harmless, &["owner", "enableKeepAlive", "keepAliveInterval"]),
    // Roo Code and Kilo Code; Cline.
    (Server, Ignored("a server whose files have changed is started anew by mcp-pipe restart SERVER"), &["watchPaths"]),
    (Server, Harmless, &["remoteConfigured"]),
    // Zed's and Gemini CLI's extensions; Claude Code; Codex.
    (Server, Ignored("a server is told its settings by its args or env"), &["settings"]),
    (Server, Harmless, &["extension", "extensionName", "alwaysLoad", "required", "supports_parallel_tool_calls"]),
    // Continue.
    (
        Server,
        Ignored("write its headers beside url, \"headers\": {…}, and its timeout with a unit, \"timeout\": \"60s\""),
        &["requestOptions"],
    ),
    (Server, Ignored("a program is told a key by its env, a remote server by its headers"), &["apiKey", "api_key"]),
    (Server, Harmless, &["faviconUrl", "sourceFile"]),
    // Cherry Studio; LibreChat.
    (Server, Harmless, &["dxtVersion", "dxtPath", "searchKey", "configSample", "shouldConfig"]),
    (Server, Harmless, &["chatMenu", "iconPath", "serverInstructions"]),
    (Server, Ignored("prompts can't be chosen here"), &["prompts"]),
    (Server, Ignored("write its timeout beside command, with a unit: \"timeout\": \"60s\""), &["options"]),
    (Top, Harmless, WINDOW),
    // Which tools there are, at the top, where a rule is about no server.
    (
        Top,
        Mistake("write it there: \"tools\": {\"allow\": […], \"deny\": […]}"),
        &["tools", "includeTools", "excludeTools", "allowedTools", "disabledTools", "enabledTools", "allow", "deny"],
    ),
    (Server, Mistake("write it in the entry's tools: \"tools\": {\"allow\": […], \"deny\": […]}"), &["allow", "deny"]),
    // Which tools there are: Gemini CLI, Qwen Code, Roo Code, Windsurf, Kiro, Codex and others.
    (
        Server,
        Honoured("tools.allow"),
        &["includeTools", "include_tools", "allowedTools", "allowed_tools", "enabledTools", "enabled_tools"],
    ),
    (
        Server,
        Honoured("tools.deny"),
        &[
            "excludeTools",
            "exclude_tools",
            "excludedTools",
            "disabledTools",
            "disabled_tools",
            "deniedTools",
            "blockedTools",
            "disallowedTools",
        ],
    ),
    (Server, Mistake(FILTER), &["toolFilter", "tool_filter", "toolsFilter", "filterTools"]),
    (Tools, Mistake("did you mean allow?"), &["include", "included", "includeTools", "enabled", "allowed"]),
    (Tools, Mistake("did you mean deny?"), &["exclude", "excluded", "excludeTools", "disabled", "denied", "blocked"]),
    // Whether a person is asked before a call: Cline, Roo Code, Kiro, Amazon Q and others.
    (
        Server,
        Asking,
        &[
            "alwaysAllow",
            "always_allow",
            "autoApprove",
            "auto_approve",
            "autoApproved",
            "autoApproveTools",
            "autoAllow",
            "alwaysAllowed",
            "disabledAutoApproveTools",
        ],
    ),
    (Server, On(ASKS), &["trust", "trusted", "isTrusted"]),
    (
        Server,
        Ignored("nobody is asked before a call; to publish some tools only: \"tools\": {\"allow\": […]}"),
        &["permissions", "toolPermissions", "tool_permissions", "default_tools_approval_mode"],
    ),
    (
        Top,
        Ignored(
            "nobody is asked before a call; to publish some tools only, in a server's entry: \"tools\": {\"allow\": […]}",
        ),
        &["permissions"],
    ),
    (Server, Harmless, &["trustedAt"]),
    // What is started, and where.
    (Server, Honoured("env"), &["environment", "envVars", "environmentVariables"]),
    (Server, Honoured("envFile"), &["env_file", "envfile", "dotenv", "dotenvPath"]),
    (Server, Honoured("inheritEnv"), &["env_vars"]),
    (
        Server,
        Honoured("cwd"),
        &["directory", "dir", "workingDirectory", "working_directory", "workingDir", "working_dir", "workdir"],
    ),
    (Server, Meant("command"), &["cmd", "exec", "executable", "program"]),
    (
        Server,
        Meant("args"),
        &["argument", "arguments", "arg", "argv", "param", "params", "parameters", "cmd_args", "commandArgs"],
    ),
    (Server, Honoured("url"), &["httpUrl", "http_url", "sseUrl", "baseUrl"]),
    (Server, Honoured("headers"), &["http_headers", "httpHeaders", "requestHeaders"]),
    (Server, Harmless, &["source", "dev", "longRunning"]),
    (
        Server,
        On("a server that ends is started again; to keep it from running: \"disabled\": true"),
        &["restart", "autoRestart", "auto_restart", "restartPolicy"],
    ),
    (
        Server,
        On("every server runs from the start; to keep it from running: \"disabled\": true"),
        &["autoStart", "auto_start", "autostart", "startOnBoot", "startOnLaunch", "start_on_launch"],
    ),
    (
        Server,
        Off("a server runs as mcp-pipe's user does, in no sandbox"),
        &["sandbox", "sandboxed", "sandboxEnabled", "sandboxing"],
    ),
    (Top, Off("a server runs as mcp-pipe's user does, in no sandbox"), &["sandbox"]),
    // Which servers run: Claude Code, and Gemini CLI.
    (
        Top,
        Ignored("to keep a server from running, write in its entry: \"disabled\": true"),
        &[
            "allowedMcpServers",
            "deniedMcpServers",
            "enabledMcpServers",
            "disabledMcpServers",
            "enabledMcpjsonServers",
            "disabledMcpjsonServers",
            "allowMCPServers",
            "excludeMCPServers",
        ],
    ),
    (Top, Ignored("a proxy is named by HTTPS_PROXY or HTTP_PROXY, in the environment or in .env"), &["proxy"]),
    // The endpoint, in parts or under another name.
    (Top, Ignored(TOKEN), TOKENS),
    (Server, Ignored(TOKEN), TOKENS),
    (Top, Meant("endpoint"), ENDPOINTS),
    (Server, Meant("endpoint"), ENDPOINTS),
    // Times, which other programs count in seconds or milliseconds.
    (Server, Ignored(START_TIMEOUT), &["initTimeout", "init_timeout", "startupTimeout", "startup_timeout"]),
    (Server, Ignored(START_TIMEOUT), &["startup_timeout_sec", "startup_timeout_ms", "initializationTimeout"]),
    (Server, Ignored(START_TIMEOUT), &["connectionTimeout", "connection_timeout"]),
    (Server, Ignored(CALL_TIMEOUT), &["toolTimeout", "tool_timeout_sec", "requestTimeout", "request_timeout"]),
    (Server, Ignored(CALL_TIMEOUT), &["callTimeout", "readTimeout", "timeoutMs", "timeout_ms", "timeoutSeconds"]),
    // What is said on the command line.
    (Top, Ignored("use the option --log-level, or MCP_LOG_LEVEL in the environment or in .env"), LOG_LEVEL),
    (
        Server,
        Ignored("mcp-pipe's own is set by --log-level or MCP_LOG_LEVEL, a server's by its args or env"),
        LOG_LEVEL,
    ),
    (Top, Ignored("use the option --log-format"), &["logFormat", "log_format", "log-format"]),
    (Top, Ignored("use the option --log-contents"), &["logContents", "log_contents", "log-contents"]),
    (
        Top,
        Ignored("use the option --status-socket, or MCP_STATUS_SOCKET in the environment or in .env"),
        &["statusSocket", "status_socket", "status-socket"],
    ),
    (Top, Ignored("use the option --local"), &["local"]),
    // Notes for people.
    (Top, Harmless, NOTES),
    (Server, Harmless, NOTES),
    (Tools, Harmless, NOTES),
    (HealthCheck, Harmless, NOTES),
    (HealthCheck, Meant("every"), &["interval", "period", "seconds", "frequency", "intervalMs", "timeout"]),
    (HealthCheck, Meant("tool"), &["call", "toolName", "tool_name", "command", "method"]),
    (HealthCheck, Meant("restart"), &["autoRestart", "auto_restart", "restartOnFailure", "onFailure"]),
    (
        Server,
        Meant("healthCheck"),
        &["health", "healthcheck", "health_check", "healthChecks", "liveness", "livenessProbe"],
    ),
    (Endpoint, Harmless, NOTES),
    (Endpoint, Honoured("url"), &["endpoint", "MCP_ENDPOINT", "address"]),
    (Endpoint, Honoured("endpointHeaders"), &["headers"]),
    (Endpoint, Meant("url"), ENDPOINTS),
    (Endpoint, Ignored("a token stands in the address: \"url\": \"wss://host/path?token=…\""), TOKENS),
    // The gateway, as it is called by programs that are servers.
    (Top, Ignored("to offer the servers over HTTP: \"gateway\": {\"listen\": \"HOST:PORT\"}"), LISTENS),
    (Gateway, Harmless, NOTES),
    (Gateway, Mistake("write host and port as one: \"listen\": \"HOST:PORT\""), LISTENS),
    (
        Gateway,
        Meant("cors"),
        &["corsOrigins", "allowedOrigins", "allowed_origins", "allowOrigins", "origins", "origin"],
    ),
    (Gateway, Meant("hosts"), &["allowedHosts", "allowed_hosts", "trustedHosts", "hostnames", "names"]),
    (Gateway, Meant("apiKeys"), &["apiKey", "api_key", "keys", "tokens", "token", "bearerTokens", "auth", "users"]),
    (Gateway, Meant("jwt"), &["oauth", "oidc", "openid", "issuer", "issuers", "jwks", "jwksUrl", "jwksFile"]),
    (Gateway, Meant("endpointTokens"), &["endpointToken", "endpoint_tokens", "agentTokens", "robotTokens"]),
    (Gateway, Meant("endpointServers"), &["endpointServer", "endpoint_servers"]),
    (Gateway, Meant("sessionIdle"), &["sessionTimeout", "session_timeout", "idleTimeout", "sessionTtl", "idle"]),
    (
        Gateway,
        Meant("sessionKeyFile"),
        &["sessionKey", "session_key", "session_key_file", "sessionSecret", "sessionSecretFile", "sessionKeyPath"],
    ),
    (Gateway, Meant("maxBody"), &["maxFrameSize", "maxBodySize", "bodyLimit", "maxRequestSize"]),
    (Gateway, Meant("requestsPerSecond"), &["rateLimit", "rate_limit", "rate", "rps"]),
    (Gateway, Meant("tls"), &["ssl", "https"]),
    (
        Gateway,
        Mistake("write it in tls: \"tls\": {\"certFile\": …, \"keyFile\": …, \"clientCaFile\": …}"),
        &["certFile", "cert", "certificate", "keyFile", "key", "caFile", "clientCaFile"],
    ),
    (EndpointToken, Harmless, NOTES),
    (EndpointToken, Meant("name"), &["agent", "label", "device", "robot"]),
    (EndpointToken, Meant("token"), &["key", "value", "secret", "url", "endpoint"]),
    (EndpointToken, Meant("tokenFile"), &["keyFile", "file", "path"]),
    (EndpointToken, Meant("tokenSha256"), &["sha256", "hash", "tokenHash", "keySha256"]),
    (ApiKey, Harmless, NOTES),
    (ApiKey, Meant("name"), &["client", "user", "label"]),
    (ApiKey, Meant("key"), &["token", "value", "secret", "apiKey", "api_key", "bearer", "password"]),
    (ApiKey, Meant("keyFile"), &["tokenFile", "secretFile", "file", "path"]),
    (ApiKey, Meant("keySha256"), &["sha256", "hash", "keyHash", "tokenSha256"]),
    (ApiKey, Meant("servers"), &["server", "mcpServers", "allowedServers"]),
    (ApiKey, Mistake("write it in the key's tools: \"tools\": {\"allow\": […], \"deny\": […]}"), &["allow", "deny"]),
    (Jwt, Harmless, NOTES),
    (Jwt, Meant("name"), &["label", "provider"]),
    (Jwt, Meant("issuer"), &["iss", "issuerUrl", "issuer_url", "authority"]),
    (Jwt, Meant("audience"), &["aud", "audiences", "clientId", "client_id", "resource"]),
    (Jwt, Meant("jwksFile"), &["jwks_file", "keyFile", "keysFile", "publicKeyFile", "file", "path"]),
    (Jwt, Meant("jwksUrl"), &["jwks", "jwksUri", "jwks_uri", "jwks_url", "keysUrl", "url"]),
    (Jwt, Meant("servers"), &["server", "mcpServers", "allowedServers"]),
    (Jwt, Mistake("write it in the entry's tools: \"tools\": {\"allow\": […], \"deny\": […]}"), &["allow", "deny"]),
    (
        Jwt,
        Mistake(
            "leave it out: a token is taken that is signed with a key of the issuer, in a way for which that key is",
        ),
        &["algorithm", "algorithms", "alg", "secret"],
    ),
    (GatewayTls, Harmless, NOTES),
    (GatewayTls, Meant("certFile"), &["cert", "certificate", "certPath", "cert_path", "certificateFile"]),
    (GatewayTls, Meant("keyFile"), &["key", "privateKey", "privateKeyFile", "keyPath", "key_path"]),
    (GatewayTls, Meant("clientCaFile"), &["caFile", "ca", "clientCa", "ca_file"]),
    (CircuitBreaker, Harmless, NOTES),
    (CircuitBreaker, Meant("failures"), &["failureThreshold", "threshold", "errors", "max_failures", "maxFailures"]),
    (CircuitBreaker, Meant("openFor"), &["timeout", "resetTimeout", "recoveryTimeout", "cooldown", "for"]),
    (Cache, Harmless, NOTES),
    (Cache, Meant("ttl"), &["maxAge", "ttlMs", "ttlSeconds", "expires", "for"]),
    (Cache, Meant("tools"), &["tool", "allow", "include"]),
    (Admin, Harmless, NOTES),
    (Limits, Harmless, NOTES),
    (
        Limits,
        Mistake("write a size with its unit: \"memory\": \"512MiB\""),
        &["mem", "ram", "rss", "maxMemory", "memoryMb"],
    ),
    (Limits, Mistake("did you mean openFiles?"), &["nofile", "files", "maxOpenFiles", "maxFiles", "fds"]),
    (Limits, Mistake("did you mean nice?"), &["niceness", "priority"]),
    (
        Limits,
        Mistake("processors are not bounded here, only left to others: \"nice\": 10"),
        &["cpu", "cpus", "cpuShares"],
    ),
    (LogFile, Harmless, NOTES),
    (LogFile, Mistake("did you mean path?"), &["file", "filename", "name"]),
    (LogFile, Mistake("did you mean maxSize?"), &["size", "maxBytes", "rotateSize"]),
    (LogFile, Mistake("did you mean keep?"), &["maxFiles", "maxBackups", "backups", "count", "rotate"]),
    (Admin, Mistake("write host and port as one: \"listen\": \"HOST:PORT\""), LISTENS),
    (Lease, Harmless, NOTES),
    (Lease, Meant("etcd"), &["endpoints", "endpoint", "url", "urls", "hosts", "servers", "members"]),
    (Lease, Meant("ttl"), &["leaseTtl", "leaseDuration", "timeout", "duration"]),
    (Lease, Meant("prefix"), &["root", "namespace", "path", "keyPrefix"]),
    (Lease, Meant("node"), &["nodeName", "nodeId", "hostname", "identity", "holder"]),
    (Lease, Meant("user"), &["username", "login"]),
    (Lease, Meant("password"), &["pass", "secret"]),
    (Lease, Meant("caFile"), &["ca", "cacert", "trustedCaFile"]),
    (Lease, Meant("certFile"), &["cert", "clientCert"]),
    (Lease, Meant("keyFile"), &["key", "clientKey"]),
];

/// Keys that are about a server, whatever shows it.
const IN_NO_ENDPOINT: &[&str] = &[
    "startTimeout",
    "maxFrameSize",
    "handshake",
    "era",
    "keepListed",
    "timeout",
    "maxResultBytes",
    "inheritEnv",
    "instances",
    "idle",
    "maxInstances",
    "command",
    "args",
    "expandArgs",
    "env",
    "envFile",
    "cwd",
    "disabled",
    "pin",
    "healthCheck",
];

/// What other programs say of how a remote server is told who asks: nothing is made of that here, and it means nothing beside a
/// command.
const OF_REMOTE: &[&str] = &[
    "oauth",
    "oauth_resource",
    "authProviderType",
    "bearer_token_env_var",
    "bearerTokenEnvVar",
    "bearerToken",
    "bearer_token",
    "authorization",
    "headersHelper",
    "targetAudience",
    "targetServiceAccount",
];

/// Whether a key means something for a remote server only, and is none of ours.
pub(crate) fn is_of_remote(key: &str) -> bool {
    OF_REMOTE.contains(&key)
}

/// What to write in place of such a key.
pub(crate) fn in_place_of(key: &str, value: &Value<'_>) -> String {
    let text = match value {
        Value::StringLit(text) => &*text.value,
        Value::NumberLit(_) | Value::BooleanLit(_) | Value::Object(_) | Value::Array(_) | Value::NullKeyword(_) => "",
    };
    in_place_of_text(key, text)
}

fn in_place_of_text(key: &str, text: &str) -> String {
    let login = "write \"auth\": {\"login\": {}}, and run mcp-pipe login with the server's name";
    match key {
        "bearer_token_env_var" | "bearerTokenEnvVar" if is_variable(&format!("${{{text}}}")) => {
            format!("write \"auth\": {{\"bearer\": \"${{{}}}\"}}", brief(text))
        }
        "authProviderType" | "targetAudience" | "targetServiceAccount" if text != "dynamic_discovery" => {
            "write \"auth\": {\"bearerCommand\": [\"gcloud\", \"auth\", \"print-access-token\"]}".to_owned()
        }
        "oauth" | "oauth_resource" | "authProviderType" => login.to_owned(),
        "headersHelper" => {
            "write \"auth\": {\"bearerCommand\": [\"…\"]}: a program that prints the token alone".to_owned()
        }
        _ => "write \"auth\": {\"bearer\": \"${TOKEN}\"}, and set TOKEN in the environment or in .env".to_owned(),
    }
}

/// That nobody is asked: told as a note, not as a warning.
const ASKS: &str = "nobody is asked before a call, so every published tool can be called; to publish some only";
/// What to do about a token that stands alone.
const TOKEN: &str = "an endpoint's token stands in its address: \"endpoint\": \"wss://host/path?token=…\"";
/// Whether a key is what people call a token, which for an endpoint stands in the address.
pub(crate) fn is_token(key: &str) -> bool {
    TOKENS.contains(&key)
}

/// A token, as people call it.
const TOKENS: &[&str] =
    &["token", "endpointToken", "mcpToken", "mcp_token", "MCP_TOKEN", "accessToken", "access_token"];
/// An endpoint, as people call it; besides those that are read as such.
const ENDPOINTS: &[&str] = &[
    "endpointUrl",
    "endpoint_url",
    "endpointURL",
    "mcp_endpoint",
    "wsUrl",
    "ws_url",
    "wsEndpoint",
    "websocket",
    "websocketUrl",
    "websocket_url",
    "webSocketUrl",
];

/// An address to listen on, as people call it or its parts.
const LISTENS: &[&str] = &[
    "port",
    "host",
    "hostname",
    "bind",
    "bindAddress",
    "bind_address",
    "address",
    "addr",
    "listenAddress",
    "listenPort",
    "httpPort",
];

/// Remedies that are completed by the value of the key.
const START_TIMEOUT: &str = "startTimeout";
const CALL_TIMEOUT: &str = "timeout";

/// How much is logged, as people write it.
const LOG_LEVEL: &[&str] = &["logLevel", "log_level", "loglevel", "log-level"];

/// Keys with which programs and people annotate these files.
pub(crate) const NOTES: &[&str] = &[
    "$schema",
    "author",
    "category",
    "comment",
    "description",
    "displayName",
    "gallery",
    "homepage",
    "icon",
    "iconUrl",
    "id",
    "inputs",
    "installSource",
    "logoUrl",
    "name",
    "note",
    "notes",
    "provider",
    "providerUrl",
    "registryUrl",
    "repository",
    "tags",
    "title",
    "version",
];

/// What stands at the top of the files of other programs beside their servers, and concerns only these programs: their looks, keys,
/// models and accounts. A key that chooses tools, or says what may be called, is none of these.
const WINDOW: &[&str] = &[
    // Claude Desktop and Claude Code.
    "globalShortcut",
    "preferences",
    "isUsingBuiltInNodeForMcp",
    "isDxtAutoUpdatesEnabled",
    "isDxtEnabled",
    "scale",
    "locale",
    "darkMode",
    "userThemeMode",
    "menuBarEnabled",
    "numStartups",
    "autoUpdates",
    "installMethod",
    "tipsHistory",
    "projects",
    "userID",
    "oauthAccount",
    "hasCompletedOnboarding",
    "lastOnboardingVersion",
    "statusLine",
    "hooks",
    "apiKeyHelper",
    "bypassPermissionsModeAccepted",
    "cachedGrowthBookFeatures",
    "coworkUserFilesPath",
    "enableAllProjectMcpServers",
    "firstStartTime",
    "mcpContextUris",
    "mcpOAuth",
    "shiftEnterKeyBindingInstalled",
    // Gemini CLI, Qwen Code and iFlow.
    "selectedAuthType",
    "theme",
    "general",
    "ui",
    "ide",
    "ideMode",
    "privacy",
    "context",
    "contextFileName",
    "security",
    "advanced",
    "experimental",
    "output",
    "telemetry",
    "usageStatisticsEnabled",
    "preferredEditor",
    "vimMode",
    "hideTips",
    "hideBanner",
    "checkpointing",
    "fileFiltering",
    "extensions",
    // opencode, Crush and Zed.
    "model",
    "models",
    "small_model",
    "providers",
    "agent",
    "agents",
    "keybinds",
    "autoupdate",
    "share",
    "snapshot",
    "formatter",
    "lsp",
    "plugin",
    "plugins",
    "instructions",
    "username",
    "layout",
    "tui",
    "vim_mode",
    "ui_font_size",
    "ui_font_family",
    "buffer_font_size",
    "buffer_font_family",
    "icon_theme",
    "base_keymap",
    "languages",
    "language_models",
    "assistant",
    "features",
    "agent_servers",
    // Cursor's and Continue's.
    "editor",
    "contextProviders",
    "slashCommands",
    "customCommands",
    "tabAutocompleteModel",
    "embeddingsProvider",
    "allowAnonymousTelemetry",
    "data",
    "docs",
    "prompts",
    "rules",
    "schema",
];

/// How settings of VS Code begin, and those of its extensions, which all stand in one file with the servers.
const EDITOR_SETTINGS: &[&str] = &[
    "chat.",
    "cline.",
    "cursor.",
    "debug.",
    "editor.",
    "explorer.",
    "extensions.",
    "files.",
    "git.",
    "github.",
    "javascript.",
    "python.",
    "remote.",
    "roo-cline.",
    "search.",
    "security.",
    "telemetry.",
    "terminal.",
    "typescript.",
    "update.",
    "window.",
    "windsurf.",
    "workbench.",
];

/// What becomes of a key that is none of ours; `None` for an unknown one.
fn treatment(place: Place, key: &str) -> Option<Treatment> {
    if key.starts_with(['_', '/', '#']) {
        return Some(Harmless);
    }
    if place == Top && EDITOR_SETTINGS.iter().any(|setting| key.starts_with(setting)) {
        return Some(Harmless);
    }
    let row = FOREIGN.iter().find(|(at, _, keys)| *at == place && keys.contains(&key));
    row.map(|(_, treatment, _)| *treatment)
}

/// The members of an object under our names for them, as written in `place`.
pub(crate) fn members<'v, 'a>(
    r: &mut Reader<'_>,
    value: &'v Value<'a>,
    path: &str,
    place: Place,
) -> Vec<Member<'v, 'a>> {
    let mut members: Vec<Member<'v, 'a>> = r.members(value, path);
    let mut told = Vec::new();
    for i in 0..members.len() {
        let key = &*members[i].0;
        let (ours, is_own) = match (treatment(place, key), synonym(place, key)) {
            (Some(Honoured(ours)), _) => (ours, false),
            // The other one of the two is told of.
            (_, Some(ours)) if key != ours => (ours, true),
            (_, Some(_) | None) => continue,
        };
        // Lists of tools add up; of two other keys with one meaning the last counts.
        let is_twin = |(at, (other, ..)): &(usize, &Member<'_, '_>)| {
            *at != i && (other == ours || synonym(place, other) == Some(ours))
        };
        let twin = members.iter().enumerate().find(is_twin).map(|(twin, _)| twin);
        let is_harmless =
            |twin: usize| is_own && (told.contains(&ours) || is_same(&members[i].2.value, &members[twin].2.value));
        if let (Some(twin), false) = (twin.filter(|twin| !is_harmless(*twin)), ours.contains('.')) {
            let (_, path, prop) = &members[i];
            let name = &members[twin].0;
            let (what, remedy) = of_twins(name, &members[i.min(twin)].2.value, &members[i.max(twin)].2.value);
            r.warning(*prop, path, Code::Duplicate.says(what), remedy);
            told.push(ours);
        }
        if !is_own {
            members[i].0 = ours.to_owned();
        }
    }
    for (key, of_member, prop) in &members {
        r.written.push((member(path, key), r.place(*prop, of_member)));
    }
    members
}

/// The first of our keys that means the same as another one of ours.
fn synonym(place: Place, key: &str) -> Option<&'static str> {
    match (place, key) {
        (Server, "url" | "serverUrl") => Some("url"),
        (Server, "type" | "transportType" | "transport") => Some("type"),
        _ => None,
    }
}

/// Whether two values are the same text.
fn is_same(one: &Value<'_>, other: &Value<'_>) -> bool {
    matches!((one, other), (Value::StringLit(one), Value::StringLit(other)) if one.value == other.value)
}

/// What becomes of two keys with one meaning, of which `ours` is one, and what to do about it.
fn of_twins(ours: &str, first: &Value<'_>, last: &Value<'_>) -> (String, &'static str) {
    let names = |value: &Value<'_>| -> Vec<String> {
        let Value::Object(object) = value else { return Vec::new() };
        object.properties.iter().map(|prop| prop.name.as_str().to_owned()).collect()
    };
    let (before, after) = (names(first), names(last));
    let lost: Vec<String> =
        before.iter().filter(|name| !after.contains(name)).map(|name| brief(name).into_owned()).collect();
    match ours {
        "mcpServers" if before.is_empty() != after.is_empty() => {
            (format!("means the same as {ours} beside it; the one that is not empty counts"), "remove the empty one")
        }
        "mcpServers" if !lost.is_empty() => {
            let n = lost.len();
            let lost = listed(lost.into_iter().take(SHOWN).collect(), n);
            (
                format!("means the same as {ours} beside it; the last one counts, without {lost} of the first"),
                "move all servers into one mcpServers",
            )
        }
        _ => (format!("says the same as {ours} beside it; the last one counts"), "remove one of them"),
    }
}

/// Most names that are told of servers that are left out.
const SHOWN: usize = 5;

/// How a remote server is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remote {
    /// By SSE or Streamable HTTP.
    Http(RemoteTransport),
    /// By WebSocket.
    WebSocket,
    /// It is no MCP server, but described for programs that make one of it.
    OpenApi,
}

/// What a `type` says of a remote server, in any of the spellings; `None` for another type.
pub(crate) fn remote(kind: &str) -> Option<Remote> {
    let plain: String = kind.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    match plain.as_str() {
        "http" | "streamablehttp" | "httpstream" => Some(Remote::Http(RemoteTransport::Http)),
        "sse" => Some(Remote::Http(RemoteTransport::Sse)),
        "remote" => Some(Remote::Http(RemoteTransport::Any)),
        "ws" | "websocket" | "websockets" => Some(Remote::WebSocket),
        "openapi" => Some(Remote::OpenApi),
        _ => None,
    }
}

/// What becomes of a key of an entry that is taken over from another program's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is kept as this key of ours. `tools.allow` and `tools.deny` are those in `tools`.
    As(&'static str),
    /// It is a time, which is this key of ours.
    Time(&'static str),
    /// It is left out, for this reason.
    Left(String),
}

/// What becomes of a key with this value, where it is a text.
pub(crate) fn taken(key: &str, text: &str) -> Taken {
    if let Some(ours) = ours(Server).find(|ours| *ours == key) {
        return Taken::As(ours);
    }
    if is_of_remote(key) || is_token(key) {
        return Taken::Left(in_place_of_text(key, text));
    }
    let nobody_asks = || Taken::Left(format!("{ASKS}: \"tools\": {{\"allow\": […]}}"));
    match treatment(Server, key) {
        Some(Honoured(ours)) => Taken::As(ours),
        Some(Ignored(START_TIMEOUT)) => Taken::Time(START_TIMEOUT),
        Some(Ignored(CALL_TIMEOUT)) => Taken::Time(CALL_TIMEOUT),
        Some(Asking | On(ASKS)) => nobody_asks(),
        Some(Harmless) => Taken::Left("means nothing to mcp-pipe".to_owned()),
        Some(On(why) | Off(why) | Ignored(why) | Mistake(why)) => Taken::Left(why.to_owned()),
        Some(Meant(ours)) => Taken::Left(did_you_mean(ours)),
        None => Taken::Left("is no key that mcp-pipe knows".to_owned()),
    }
}

/// Why a key at the top of another program's file is not taken over, where that is more than that it is this program's own.
pub(crate) fn of_top(key: &str) -> Option<&'static str> {
    match treatment(Top, key)? {
        Ignored(why) | Mistake(why) | On(why) | Off(why) => Some(why),
        Harmless | Honoured(_) | Meant(_) | Asking => None,
    }
}

/// Says what becomes of a key that is none of ours in this place, and what was probably meant.
pub(crate) fn foreign(r: &mut Reader<'_>, key: &str, prop: &ObjectProp<'_>, path: &str, place: Place) {
    let unknown = "is not a known key";
    match treatment(place, key) {
        Some(Harmless | Honoured(_)) => {}
        Some(Asking) if names_any(&prop.value) => {
            let what = "nobody is asked before a call, so every published tool can be called; to publish these only";
            r.note(prop, path, format!("{what}: \"tools\": {{\"allow\": […]}}"));
        }
        Some(On(ASKS)) if is_switched(&prop.value) == Some(false) => {
            r.note(prop, path, format!("{ASKS}: \"tools\": {{\"allow\": […]}}"));
        }
        Some(On(why)) if is_switched(&prop.value) == Some(false) => {
            let (what, remedy) = why.split_once("; ").unwrap_or((why, ""));
            r.warning(prop, path, Code::NoEffect.says(format!("is ignored: {what}")), remedy);
        }
        Some(Off(why)) if is_switched(&prop.value) != Some(false) => {
            r.warning(prop, path, Code::NoEffect.says(format!("is ignored: {why}")), "remove it");
        }
        Some(Asking | On(_) | Off(_)) => {}
        Some(Ignored(CALL_TIMEOUT | START_TIMEOUT)) => {
            let ours = if treatment(place, key) == Some(Ignored(START_TIMEOUT)) { START_TIMEOUT } else { CALL_TIMEOUT };
            let remedy = format!("write \"{ours}\": \"{}\"", time_of(key, &prop.value));
            r.warning(prop, path, Code::UnknownKey.says(format!("{unknown} and is ignored")), remedy);
        }
        Some(Ignored(remedy)) => r.warning(prop, path, Code::NoEffect.says("is ignored"), remedy),
        Some(Mistake(remedy)) if place == Top => {
            r.mistake(prop, path, Code::Misplaced.says("belongs in a server's entry"), remedy);
        }
        Some(Mistake(remedy)) => r.mistake(prop, path, Code::UnknownKey.says(unknown), remedy),
        Some(Meant(ours)) if is_strict(place) => {
            r.mistake(prop, path, Code::UnknownKey.says(unknown), did_you_mean(ours));
        }
        Some(Meant(ours)) => {
            r.warning(prop, path, Code::UnknownKey.says(format!("{unknown} and is ignored")), did_you_mean(ours))
        }
        None if place == Server && is_filter(key) => {
            r.mistake(prop, path, Code::UnknownKey.says(unknown), FILTER);
        }
        None => {
            let likely = likely(place, key);
            let guards = likely.as_ref().is_some_and(|likely| likely.guards(key));
            let (code, what, remedy) = match likely {
                Some(Likely::Misplaced { home }) => {
                    (Code::Misplaced, format!("belongs {home},"), "move it there".to_owned())
                }
                Some(Likely::Slip { ours, home }) => {
                    let more = home.map_or_else(String::new, |home| format!(" That belongs {home}"));
                    (Code::UnknownKey, unknown.to_owned(), did_you_mean(ours) + &more)
                }
                None => (Code::UnknownKey, unknown.to_owned(), "remove it, or check its spelling".to_owned()),
            };
            if guards || is_strict(place) {
                r.mistake(prop, path, code.says(what.trim_end_matches(',')), remedy);
            } else {
                r.warning(prop, path, code.says(format!("{what} and is ignored")), remedy);
            }
        }
    }
}

/// Keys of ours that keep something from happening. A slip of one is a mistake wherever it stands: it would happen.
const GUARDS: &[&str] = &["lease", "tools", "inheritEnv"];

/// Whether a key of an entry is some program's rule about which tools there are.
fn is_filter(key: &str) -> bool {
    let key = plain(key);
    let names = |words: &[&str]| words.iter().any(|word| key.contains(word));
    let rules = [
        "allow", "deny", "denied", "exclu", "includ", "hid", "ignor", "black", "white", "block", "filter", "enable",
        "disable",
    ];
    ["exclude", "include"].contains(&&*key) || names(&["tool"]) && names(&rules)
}

/// Whether an unknown key is a mistake: without the rule that was meant, tools would be published that should not be, or somebody let in
/// who should not be.
fn is_strict(place: Place) -> bool {
    match place {
        Top | Server | Endpoint => false,
        Tools | CircuitBreaker | Cache | HealthCheck | Limits | LogFile => true,
        Gateway | ApiKey | Jwt | EndpointToken | GatewayTls | Admin | Lease => true,
    }
}

fn did_you_mean(ours: &str) -> String {
    format!("did you mean {ours}?")
}

/// Whether a file names servers, in the place where we or other programs have them.
pub(crate) fn has_servers(value: &Value<'_>) -> bool {
    let names_them =
        |key: &str| names_servers(key) || matches!(treatment(Top, key), Some(Honoured("mcp" | "mcpServerConfig")));
    matches!(value, Value::Object(object) if object.properties.iter().any(|prop| names_them(prop.name.as_str())))
}

/// Whether a key is that of the list of servers, by our name or another program's.
pub(crate) fn names_servers(key: &str) -> bool {
    key == "mcpServers" || treatment(Top, key) == Some(Honoured("mcpServers"))
}

/// The key of a config that most likely was to be `mcpServers`: a slip of it, with an object.
pub(crate) fn slip_of_servers(value: &Value<'_>) -> Option<String> {
    let Value::Object(object) = value else { return None };
    let objects = object.properties.iter().filter(|prop| matches!(prop.value, Value::Object(_)));
    let mut keys = objects.map(|prop| prop.name.as_str()).filter(|key| !names_servers(key));
    keys.find(|key| matches!(likely(Top, key), Some(Likely::Slip { ours: "mcpServers", .. }))).map(str::to_owned)
}

/// Whether an entry names the address of a remote server that is reached by HTTP, and no program.
pub(crate) fn is_at_address(entry: &Value<'_>) -> bool {
    let Value::Object(object) = entry else { return false };
    let is_url = |key: &str| ["url", "serverUrl"].contains(&key) || treatment(Server, key) == Some(Honoured("url"));
    let filled = |value: &Value<'_>| match value {
        Value::StringLit(text) => Some(text.value.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Array(_) => Some(String::new()),
        Value::NumberLit(_) | Value::BooleanLit(_) | Value::Object(_) | Value::NullKeyword(_) => None,
    };
    let of = |is: &dyn Fn(&str) -> bool| {
        object.properties.iter().filter(|prop| is(prop.name.as_str())).find_map(|prop| filled(&prop.value))
    };
    of(&|key| key == "command").is_none() && of(&is_url).is_some_and(|url| !is_websocket(&url))
}

/// Whether a key is none that anybody knows in its place.
pub(crate) fn is_unknown(place: Place, key: &str) -> bool {
    treatment(place, key).is_none() && ours(place).all(|ours| ours != key)
}

/// What an unknown key most likely is.
enum Likely {
    /// A key of ours, in another place than where it belongs.
    Misplaced {
        /// Where it belongs.
        home: &'static str,
    },
    /// A slip of a key of ours, or another program's name for one.
    Slip {
        /// The key of ours.
        ours: &'static str,
        /// Where that belongs, if it is another place.
        home: Option<&'static str>,
    },
}

impl Likely {
    /// Whether this key was meant to keep something from happening.
    fn guards(&self, key: &str) -> bool {
        GUARDS.iter().any(|guard| match self {
            Likely::Misplaced { .. } => plain(guard) == plain(key),
            Likely::Slip { ours, .. } => guard == ours,
        })
    }
}

/// What an unknown key most likely is: first what is written like it, here and elsewhere, then what others call it, then what is
/// similar.
fn likely(place: Place, key: &str) -> Option<Likely> {
    let others = elsewhere(place);
    let all = || others.iter().flat_map(|(home, keys)| keys.iter().map(move |key| (*key, *home)));
    let is_here = |ours: &str| self::ours(place).any(|here| here == ours);
    let home_of = |ours: &str| all().find(|(other, _)| *other == ours && !is_here(ours)).map(|(_, home)| home);
    let is_same = |ours: &str| plain(ours) == plain(key);
    let known = |ours: &'static str| Some((ours, home_of(ours))).filter(|(_, home)| home.is_some() || is_here(ours));
    let foreign = |at: Place| treatment(at, key).and_then(key_of).and_then(known);
    let similar = || {
        let near = closest(key, all().map(|(ours, _)| ours).chain(ours(place)));
        // Or it is a slip of what others call it.
        near.map(|ours| (ours, home_of(ours))).or_else(|| foreign_to(key, place).and_then(known))
    };
    if let Some(ours) = ours(place).find(|ours| is_same(ours)) {
        return Some(Likely::Slip { ours, home: None });
    }
    if let Some((_, home)) = all().find(|(ours, _)| is_same(ours)) {
        return Some(Likely::Misplaced { home });
    }
    let found = [Top, Server].into_iter().find_map(foreign).or_else(similar);
    found.map(|(ours, home)| Likely::Slip { ours, home })
}

/// The key of ours that a key of other programs stands for.
fn key_of(treatment: Treatment) -> Option<&'static str> {
    match treatment {
        Honoured(ours) | Meant(ours) => Some(ours),
        Harmless | Asking | On(_) | Off(_) | Ignored(_) | Mistake(_) => None,
    }
}

/// The key of ours for which the key of another program stands in a place that this one is written much like.
fn foreign_to(key: &str, place: Place) -> Option<&'static str> {
    let here = || FOREIGN.iter().filter(|(at, ..)| *at == place);
    let near = closest(key, here().flat_map(|(.., names)| names.iter().copied()))?;
    here().find(|(.., names)| names.contains(&near)).and_then(|(_, treatment, _)| key_of(*treatment))
}

/// Our keys for other places, each with where it belongs.
fn elsewhere(place: Place) -> &'static [(&'static str, &'static [&'static str])] {
    const IN_ENTRY: &str = "in a server's entry, under mcpServers.NAME";
    const AT_TOP: &str = "at the top of the file, beside mcpServers";
    const IN_TOOLS: &str = "in the tools of a server's entry";
    const IN_GATEWAY: &str = "in the gateway, at the top of the file";
    const IN_API_KEY: &str = "in one of the gateway's apiKeys";
    const IN_TOKEN: &str = "in one of the gateway's endpointTokens";
    const IN_TLS: &str = "in the gateway's tls";
    match place {
        Top => &[(IN_ENTRY, SERVER), (IN_TOOLS, TOOLS), (IN_GATEWAY, GATEWAY)],
        Server => &[(AT_TOP, TOP), (IN_TOOLS, TOOLS)],
        Tools => &[(IN_ENTRY, SERVER), (AT_TOP, TOP)],
        Endpoint => &[(IN_ENTRY, IN_NO_ENDPOINT), (AT_TOP, TOP)],
        Gateway => &[(IN_API_KEY, API_KEY), (IN_TOKEN, ENDPOINT_TOKEN), (IN_TLS, GATEWAY_TLS), (AT_TOP, TOP)],
        CircuitBreaker | Cache | HealthCheck | Limits | LogFile => &[(IN_ENTRY, SERVER), (AT_TOP, TOP)],
        ApiKey | Jwt | EndpointToken | GatewayTls | Admin => &[(IN_GATEWAY, GATEWAY)],
        Lease => &[(AT_TOP, TOP), (AT_TOP, SHARED)],
    }
}

/// Our keys for a place.
fn ours(place: Place) -> impl Iterator<Item = &'static str> {
    let (keys, shared): (&[&str], &[&str]) = match place {
        Top => (TOP, SHARED),
        Server => (SERVER, SHARED),
        Tools => (TOOLS, &[]),
        CircuitBreaker => (CIRCUIT_BREAKER, &[]),
        Cache => (CACHE, &[]),
        HealthCheck => (HEALTH_CHECK, &[]),
        Endpoint => (ENDPOINT, &[]),
        Gateway => (GATEWAY, &[]),
        ApiKey => (API_KEY, &[]),
        Jwt => (JWT, &[]),
        EndpointToken => (ENDPOINT_TOKEN, &[]),
        GatewayTls => (GATEWAY_TLS, &[]),
        Admin => (ADMIN, &[]),
        Lease => (LEASE, &[]),
        Limits => (LIMITS, &[]),
        LogFile => (LOG_FILE, &[]),
    };
    keys.iter().chain(shared).copied()
}

/// A key without what differs from one way of writing words together to another.
fn plain(key: &str) -> String {
    key.replace(['-', '_', '.'], "").to_ascii_lowercase()
}

/// Whether a list of tools names some, and not all of them by `*`.
fn names_any(value: &Value<'_>) -> bool {
    let is_star = |value: &Value<'_>| matches!(value, Value::StringLit(text) if text.value == "*");
    matches!(value, Value::Array(list) if !list.elements.is_empty() && !list.elements.iter().any(is_star))
}

/// Whether a value switches something on: anything that is neither false, nothing, nor a word for not at all.
fn is_switched(value: &Value<'_>) -> Option<bool> {
    match value {
        Value::BooleanLit(boolean) => Some(boolean.value),
        Value::StringLit(text) => {
            let is_off = truth(&text.value) == Some(false) || ["never", "none", "manual"].contains(&text.value.trim());
            Some(!is_off)
        }
        Value::NumberLit(number) => Some(!number.value.trim_matches(['0', '.']).is_empty()),
        Value::NullKeyword(_) => Some(false),
        Value::Object(_) | Value::Array(_) => None,
    }
}

/// A time as this config has it, for a value without a unit; the key may name the unit.
fn time_of(key: &str, value: &Value<'_>) -> String {
    let number = match value {
        Value::NumberLit(number) => number.value,
        Value::StringLit(_) | Value::BooleanLit(_) | Value::Object(_) | Value::Array(_) | Value::NullKeyword(_) => {
            "60s"
        }
    };
    time_of_number(key, number)
}

/// The same of a number.
pub(crate) fn time_of_number(key: &str, number: &str) -> String {
    let key = key.to_ascii_lowercase();
    if !number.bytes().all(|b| b.is_ascii_digit()) {
        brief(number).into_owned()
    } else if key.ends_with("sec") || key.ends_with("seconds") {
        format!("{}s", brief(number))
    } else if key.ends_with("ms") {
        format!("{}ms", brief(number))
    } else {
        units::with_likely_unit(number)
    }
}

/// The key of the file that somebody took for an option of the command line, `pingInterval` for `ping-interval`, and where that
/// key belongs.
pub(crate) fn of_option(option: &str) -> Option<(&'static str, &'static str)> {
    let places = [
        (SHARED, "at the top of the config or in the entry of a server"),
        (TOP, "at the top of the config"),
        (SERVER, "in the entry of a server"),
        (TOOLS, "in the tools of a server's entry"),
        (GATEWAY, "in the gateway of the config"),
    ];
    let found =
        |(keys, place): (&[&'static str], _)| Some((*keys.iter().find(|key| plain(key) == plain(option))?, place));
    places.into_iter().find_map(found)
}

/// Whether an address is that of a WebSocket.
pub(crate) fn is_websocket(url: &str) -> bool {
    let url = url.trim().to_ascii_lowercase();
    ["ws:", "wss:"].iter().any(|scheme| url.starts_with(scheme))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_key_is_the_one_meant() {
        let keys = || SERVER.iter().chain(SHARED).copied();
        for (slip, meant) in [("comand", "command"), ("arg", "args"), ("ENV", "env"), ("start_timeout", "startTimeout")]
        {
            assert_eq!(closest(slip, keys()), Some(meant));
        }
        assert_eq!(closest("zzz", keys()), None);
    }

    #[test]
    fn all_spellings_of_the_remote_types_are_known() {
        for kind in ["sse", "http", "streamable-http", "streamable_http", "streamableHttp", "streamablehttp", "SSE"] {
            let transport = if kind.eq_ignore_ascii_case("sse") { RemoteTransport::Sse } else { RemoteTransport::Http };
            assert_eq!(remote(kind), Some(Remote::Http(transport)), "{kind}");
        }
        for kind in ["stdio", "local", ""] {
            assert_eq!(remote(kind), None, "{kind}");
        }
    }

    #[test]
    fn the_references_in_the_source_and_in_the_readme_have_a_row_for_every_key() {
        // What the tables are about, and what only a remote server has.
        let others = ["mcpServers", "url", "serverUrl", "headers"];
        let file = (include_str!("file.rs"), "//! | ", TOP.iter().chain(SERVER).chain(SHARED).collect::<Vec<_>>());
        let readme = (include_str!("../../README.md"), "| ", file.2.clone());
        let policy = (include_str!("policy.rs"), "//! | ", TOOLS.iter().collect());
        for (text, row, keys) in [file, readme, policy] {
            for key in keys.into_iter().filter(|key| !others.contains(key)) {
                let first = |line: &str| {
                    line.starts_with(row) && line.split('|').nth(1).is_some_and(|c| c.contains(&format!("`{key}`")))
                };
                assert!(text.lines().any(first), "{key} has no row in the table that begins {:.40}", text);
            }
        }
    }
}
