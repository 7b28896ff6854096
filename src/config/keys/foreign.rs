//! The keys of other programs, and of people, with what becomes of each.

use super::ours::Place;

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
pub(super) const FILTER: &str =
    "write \"tools\": {\"allow\": […]} for those to publish, or {\"deny\": […]} for those to leave out";

/// The keys of other programs. Keys that only one program has stand under its name, others by what they are about.
pub(super) const FOREIGN: &[(Place, Treatment, &[&str])] = &[
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
    (
        Tools,
        Mistake("did you mean allow?"),
        &[
            "include",
            "included",
            "includeTools",
            "enable",
            "enabled",
            "allowed",
            "allowlist",
            "whitelist",
            "only",
            "show",
            "publish",
        ],
    ),
    (
        Tools,
        Mistake("did you mean deny?"),
        &[
            "exclude",
            "excluded",
            "excludeTools",
            "disable",
            "disabled",
            "denied",
            "denylist",
            "block",
            "blocked",
            "blocklist",
            "blacklist",
            "hide",
            "hidden",
            "ignore",
            "ignored",
            "remove",
            "omit",
        ],
    ),
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
pub(super) const IN_NO_ENDPOINT: &[&str] = &[
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
pub(super) const OF_REMOTE: &[&str] = &[
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

/// That nobody is asked: told as a note, not as a warning.
pub(super) const ASKS: &str =
    "nobody is asked before a call, so every published tool can be called; to publish some only";
/// What to do about a token that stands alone.
pub(super) const TOKEN: &str = "an endpoint's token stands in its address: \"endpoint\": \"wss://host/path?token=…\"";

/// A token, as people call it.
pub(super) const TOKENS: &[&str] =
    &["token", "endpointToken", "mcpToken", "mcp_token", "MCP_TOKEN", "accessToken", "access_token"];
/// An endpoint, as people call it; besides those that are read as such.
pub(super) const ENDPOINTS: &[&str] = &[
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
pub(super) const LISTENS: &[&str] = &[
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
pub(super) const START_TIMEOUT: &str = "startTimeout";
pub(super) const CALL_TIMEOUT: &str = "timeout";

/// How much is logged, as people write it.
pub(super) const LOG_LEVEL: &[&str] = &["logLevel", "log_level", "loglevel", "log-level"];

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
pub(super) const WINDOW: &[&str] = &[
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
pub(super) const EDITOR_SETTINGS: &[&str] = &[
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
pub(super) fn treatment(place: Place, key: &str) -> Option<Treatment> {
    if key.starts_with(['_', '/', '#']) {
        return Some(Harmless);
    }
    if place == Top && EDITOR_SETTINGS.iter().any(|setting| key.starts_with(setting)) {
        return Some(Harmless);
    }
    let row = FOREIGN.iter().find(|(at, _, keys)| *at == place && keys.contains(&key));
    row.map(|(_, treatment, _)| *treatment)
}
