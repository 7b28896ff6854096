//! The config as it counts: every value, and where it comes from.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::context::Context;
use super::file::{Entry, File, Transport};
use super::options::CommandLine;
use super::reader::member;
use super::resolve::{Draft, draft};
use super::shared::Inherit;
use super::surroundings::Surroundings;
use super::units::word;
use super::{
    AdminSpec, AuthSpec, Bounds, BreakerSpec, CacheSpec, ClientProof, EndpointSpec, GatewaySpec, Handshake,
    HealthCheck, Instances, LeaseSpec, LimitsSpec, LinkSpec, LogFileSpec, Reach, RemoteTransport, Replicas, ServerSpec,
    defaults, gateway, instances,
};
use super::{cache, state};
use crate::error::{Place, Problems};
use crate::secrecy::{Redactor, Secret, address};
use crate::tools::{Glob, ToolPolicy};
use crate::words::size;

/// The number of the form in which this is told as JSON; another one where a program has to be changed to read it.
const SCHEMA: u32 = 1;

/// The config as it counts.
#[derive(Debug, Serialize)]
pub struct Shown {
    schema: u32,
    /// The config file, if there is one.
    config: Option<String>,
    /// Where this text of it is kept, and since when, if it is not the present one.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept: Option<Kept>,
    values: Vec<Row>,
    /// A token was taken out of a name.
    #[serde(skip)]
    hides_name: bool,
}

/// A copy of a config.
#[derive(Debug, Serialize)]
pub(crate) struct Kept {
    pub(crate) since: String,
    pub(crate) file: PathBuf,
}

/// One value.
#[derive(Debug, Serialize)]
struct Row {
    /// The server that the value is for; `None` for one of the whole run.
    server: Option<String>,
    key: String,
    value: Value,
    #[serde(flatten)]
    from: From,
}

/// Where a value comes from.
#[derive(Debug, Serialize)]
struct From {
    from: Origin,
    file: Option<String>,
    line: Option<usize>,
    column: Option<usize>,
    /// The path in the config, or the option or variable.
    path: Option<String>,
    /// For people.
    #[serde(skip)]
    told: String,
}

/// What kind of place a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Origin {
    /// It is written in a file.
    File,
    /// An option of the command line, or a variable of the environment.
    Outside,
    /// It is what counts where nothing is said.
    Default,
}

/// The config as it counts, and what must be seen nowhere. Reads files, and changes nothing.
///
/// # Errors
/// Every mistake that there is.
pub fn show(line: &CommandLine<'_>, surroundings: &Surroundings) -> Result<(Shown, Vec<Secret>), Problems> {
    let Draft { ctx, file, name, servers, endpoints, gateway, admin, lease, log_file, written: _ } =
        draft(line, surroundings);
    if !ctx.problems.mistakes.is_empty() || ctx.problems.target.is_some() {
        let redactor: Redactor = ctx.hidden.all.into_iter().collect();
        return Err(ctx.problems.cleaned(&redactor));
    }
    let written = file.written.iter().map(|(path, place)| (path.as_str(), place)).collect();
    let table = Table { ctx: &ctx, written, endpoints: &endpoints };
    let mut values = table.of_the_run(&file, log_file.as_ref());
    values.extend(gateway.iter().flat_map(|gateway| table.of_gateway(gateway, &file)));
    values.extend(admin.iter().map(|admin| table.of_admin(admin)));
    values.extend(lease.iter().flat_map(|lease| table.of_lease(lease)));
    for entry in &file.entries {
        match servers.iter().find(|server| *server.name == *entry.name) {
            Some(server) => values.extend(table.of_server(server, entry, &file)),
            None => values.push(table.not_run(entry)),
        }
    }
    for endpoint in &endpoints {
        values.extend(table.of_endpoint(endpoint, &file));
    }
    Ok((Shown { schema: SCHEMA, config: name, kept: None, values, hides_name: false }, ctx.hidden.all))
}

/// What a server may have of the machine, with what it may have all of as null.
fn limits(spec: LimitsSpec) -> Value {
    let LimitsSpec { memory, open_files, nice } = spec;
    json!({ "memory": memory.map(size), "openFiles": open_files, "nice": nice })
}

fn log_file(spec: Option<&LogFileSpec>) -> Value {
    spec.map_or(Value::Null, |LogFileSpec { path, max_size, keep }| {
        json!({ "path": path.display().to_string(), "maxSize": size(*max_size), "keep": keep })
    })
}

/// How a remote server is told who asks, without what lets anybody in.
fn auth_rows(auth: &AuthSpec) -> Vec<(&'static str, Value)> {
    match auth {
        AuthSpec::Headers => Vec::new(),
        AuthSpec::Bearer(_) => vec![("bearer", json!("…"))],
        AuthSpec::BearerFile(file) => vec![("bearerFile", json!(file.display().to_string()))],
        AuthSpec::BearerCommand(command) => {
            let args = address::shown_arguments(&command.args).map(str::to_owned);
            vec![("bearerCommand", json!([command.program.clone()].into_iter().chain(args).collect::<Vec<_>>()))]
        }
        AuthSpec::ClientCredentials(client) => {
            let mut shown = json!({ "clientId": client.client_id, "scope": client.scope, "issuer": client.issuer });
            let (key, value) = match &client.proof {
                ClientProof::Secret(_) => ("clientSecret", "…".to_owned()),
                ClientProof::Key { file, .. } => ("privateKeyFile", file.display().to_string()),
            };
            shown[key] = json!(value);
            vec![("clientCredentials", shown)]
        }
        AuthSpec::Login(login) => {
            let mut shown = json!({ "clientId": login.client_id, "scope": login.scope });
            if login.client_secret.is_some() {
                shown["clientSecret"] = json!("…");
            }
            vec![("login", shown)]
        }
    }
}

/// What rows are made of.
struct Table<'a> {
    ctx: &'a Context<'a>,
    /// Where each value of the file is written, by its path under our names for the keys.
    written: HashMap<&'a str, &'a Place>,
    endpoints: &'a [EndpointSpec],
}

impl Table<'_> {
    fn of_the_run(&self, file: &File, top: Option<&LogFileSpec>) -> Vec<Row> {
        let options = self.ctx.line.options;
        let drain = options.drain_timeout.or(file.drain_timeout).unwrap_or(defaults::DRAIN_TIMEOUT);
        let cache = cache::dir(self.ctx, file.cache_dir.as_ref());
        let cache = cache.map_or_else(|| "none".to_owned(), |dir| dir.display().to_string());
        let of_cache = match (&options.cache_dir, self.ctx.settings.filled("MCP_CACHE_DIR")) {
            (Some(_), _) => Some("--cache-dir"),
            (None, Some(_)) => Some("MCP_CACHE_DIR"),
            (None, None) => None,
        };
        let row = |key: &str, value: Value, option: Option<&str>| Row {
            server: None,
            key: key.to_owned(),
            value,
            from: self.from(None, key, option),
        };
        vec![
            row("drainTimeout", time(drain), options.drain_timeout.map(|_| "--drain-timeout")),
            row("toolBudget", json!(file.tool_budget.unwrap_or(defaults::TOOL_BUDGET)), None),
            row("cacheDir", json!(cache), of_cache),
            self.state_row(file),
            row("logFile", log_file(top), None),
        ]
    }

    /// The gateway: where it is, who is let in, and how much there may be.
    fn of_gateway(&self, spec: &GatewaySpec, file: &File) -> Vec<Row> {
        let row = |key: &str, value: Value| Row {
            server: None,
            key: member("gateway", key),
            value,
            from: self.written.get(member("gateway", key).as_str()).map_or_else(by_default, |place| of(place)),
        };
        let listen = row("listen", json!(spec.listen.to_string()));
        let listen = match self.ctx.setting(gateway::LISTEN) {
            Some((_, place)) => Row { from: of(&place), ..listen },
            None => listen,
        };
        let servers = |names: Option<&[Arc<str>]>| {
            names.map_or_else(|| json!("all"), |names| names.iter().map(|name| json!(&**name)).collect())
        };
        let keys = spec.api_keys.iter().map(|key| {
            let written = file.gateway.iter().flat_map(|entry| &entry.api_keys);
            let source = written.into_iter().find(|entry| entry.name.value.trim() == &*key.name);
            let (source, value) = match source.map(|entry| &entry.source) {
                Some(gateway::Source::File(path)) => ("keyFile", path.value.clone()),
                Some(gateway::Source::Hash(_)) => ("keySha256", "…".to_owned()),
                Some(gateway::Source::Text(_)) | None => ("key", "…".to_owned()),
            };
            json!({
                "name": &*key.name, source: value, "servers": servers(key.servers.as_deref()), "tools": tools(&key.tools),
                "capabilityUrl": key.capability_url,
            })
        });
        let jwt = spec.jwt.iter().map(|issuer| {
            let written = file.gateway.iter().flat_map(|entry| &entry.jwt);
            let jwks = written.into_iter().find(|entry| entry.name.value.trim() == &*issuer.name);
            let (source, value) = match jwks.map(|entry| &entry.jwks) {
                Some(gateway::Jwks::File(path)) => ("jwksFile", &*path.value),
                Some(gateway::Jwks::Url(url)) => ("jwksUrl", &*url.value),
                None => ("jwksUrl", "…"),
            };
            let audience: Vec<&str> = issuer.audience.iter().map(|one| &**one).collect();
            json!({
                "name": &*issuer.name, "issuer": &*issuer.issuer, "audience": audience, source: value,
                "servers": servers(issuer.servers.as_deref()), "tools": tools(&issuer.tools),
            })
        });
        // Where none is wrong, each is one of those that are written.
        let written = file.gateway.iter().flat_map(|entry| &entry.endpoint_tokens);
        let tokens = spec.endpoint_tokens.iter().zip(written).map(|(token, entry)| match &entry.source {
            gateway::Source::File(path) => json!({ "name": &*token.name, "tokenFile": path.value }),
            gateway::Source::Hash(_) => json!({ "name": &*token.name, "tokenSha256": "…" }),
            gateway::Source::Text(_) => json!({ "name": &*token.name, "token": "…" }),
        });
        let session_key = file.gateway.as_ref().and_then(|entry| Some(&entry.session_key_file.as_ref()?.value));
        let tls = spec.tls.as_ref().map(|tls| {
            let shown = |path: &std::path::Path| path.display().to_string();
            json!({
                "certFile": shown(&tls.cert_file), "keyFile": shown(&tls.key_file),
                "clientCaFile": tls.client_ca_file.as_deref().map(shown),
            })
        });
        vec![
            listen,
            row("cors", json!(spec.cors)),
            row("hosts", spec.hosts.iter().map(ToString::to_string).collect()),
            row("apiKeys", keys.collect()),
            row("jwt", jwt.collect()),
            row("endpointTokens", tokens.collect()),
            row("endpointServers", spec.endpoint_servers.iter().map(|name| json!(&**name)).collect()),
            row("sse", json!(spec.sse)),
            row("sessionIdle", time(spec.session_idle)),
            row("sessionKeyFile", json!(session_key)),
            row("maxSessions", json!(spec.max_sessions)),
            row("maxStreams", json!(spec.max_streams)),
            row("maxHeld", json!(spec.max_held)),
            row("heldTimeout", time(spec.held_timeout)),
            row("maxBody", bytes(spec.max_body)),
            row("headerTimeout", time(spec.header_timeout)),
            row("maxConnections", json!(spec.max_connections)),
            row("maxConnectionsPerAddress", json!(spec.max_connections_per_address)),
            row("requestsPerSecond", json!(spec.requests_per_second)),
            row("tls", json!(tls)),
        ]
    }

    /// Where figures and health are told.
    fn of_admin(&self, spec: &AdminSpec) -> Row {
        let key = member("admin", "listen");
        let from = self.written.get(key.as_str()).map_or_else(by_default, |place| of(place));
        Row { server: None, key, value: json!(spec.listen.to_string()), from }
    }

    /// Where several daemons agree on who serves an endpoint, without what lets anybody in.
    fn of_lease(&self, spec: &LeaseSpec) -> Vec<Row> {
        let row = |key: &str, value: Value| {
            let key = member("lease", key);
            let from = self.written.get(key.as_str()).map_or_else(by_default, |place| of(place));
            Row { server: None, key, value, from }
        };
        let (identity, login) = (spec.tls.identity.as_ref(), spec.login.as_ref());
        let path = |path: &std::path::Path| json!(path.display().to_string());
        vec![
            row("etcd", spec.etcd.iter().map(|url| json!(url.to_string())).collect()),
            row("ttl", time(spec.ttl)),
            row("prefix", json!(spec.prefix)),
            row("node", json!(spec.node)),
            row("standby", json!(word(&spec.standby))),
            row("user", json!(login.map(|(user, _)| user))),
            row("password", json!(login.map(|_| "…"))),
            row("caFile", spec.tls.ca_file.as_deref().map_or(Value::Null, path)),
            row("certFile", identity.map_or(Value::Null, |(cert, _)| path(cert))),
            row("keyFile", identity.map_or(Value::Null, |(_, key)| path(key))),
        ]
    }

    fn state_row(&self, file: &File) -> Row {
        let dir = self.ctx.state_dir.as_ref().map_or_else(|| "none".to_owned(), |dir| dir.display().to_string());
        let of_service = file.state_dir.is_none() && state::is_of_service(self.ctx.env);
        let from = self.from(None, "stateDir", of_service.then_some("STATE_DIRECTORY"));
        Row { server: None, key: "stateDir".to_owned(), value: json!(dir), from }
    }

    /// A named endpoint: where it is, how it is dialled, and what it shows.
    fn of_endpoint(&self, endpoint: &EndpointSpec, file: &File) -> Vec<Row> {
        let Some(name) = &endpoint.name else { return Vec::new() };
        let path = member("endpoints", name);
        let named = file.endpoints.iter().find(|named| *named.name == **name);
        let options = self.ctx.line.options;
        let mut rows = Vec::new();
        let mut add = |key: &str, value: Value, from: From| {
            rows.push(Row { server: None, key: member(&path, key), value, from });
        };
        let from = |key: &str, option: Option<&str>| self.from(Some(&path), key, option);
        // What is said of servers or of headers at the top is for nobody here.
        let own = |key: &str| self.written.get(member(&path, key).as_str()).map_or_else(by_default, |place| of(place));
        // An address alone is written where its name is.
        let alone = || named.and_then(|named| named.url.as_ref()).map_or_else(by_default, |url| of(&url.place));
        let url = self.written.get(member(&path, "url").as_str()).map_or_else(alone, |place| of(place));
        add("url", json!(endpoint.endpoint.to_string()), url);
        let servers: Vec<&str> = endpoint.servers.iter().map(|shown| &*shown.name).collect();
        add("servers", json!(servers), own("servers"));
        let sharing = endpoint.sharing;
        add("mode", json!(word(&sharing.mode)), from("mode", options.mode.map(|_| "--mode")));
        add("naming", json!(word(&sharing.naming)), from("naming", None));
        add("names", json!(word(&sharing.names)), from("names", None));
        add("turn", time(sharing.turn), from("turn", None));
        add("resync", json!(sharing.resync), from("resync", None));
        let policy = named.map(|named| &named.tools);
        let from_tools = named.filter(|named| named.tools != ToolPolicy::default()).map(|_| from("tools", None));
        add("tools", policy.map_or_else(|| json!({}), tools), from_tools.unwrap_or_else(by_default));
        self.add_link(&mut add, &endpoint.link, own("endpointHeaders"), &from);
        rows
    }

    /// How an endpoint is dialled.
    fn add_link(
        &self,
        add: &mut impl FnMut(&str, Value, From),
        link: &LinkSpec,
        of_headers: From,
        from: &impl Fn(&str, Option<&str>) -> From,
    ) {
        let options = self.ctx.line.options;
        let headers: Map<String, Value> = link.headers.iter().map(|(name, _)| (name.to_string(), json!("…"))).collect();
        add("endpointHeaders", Value::Object(headers), of_headers);
        add("subprotocol", json!(link.subprotocol), from("subprotocol", None));
        let ca_file = link.ca_file.as_ref().map(|path| path.display().to_string());
        add("caFile", json!(ca_file), from("caFile", options.ca_file.as_ref().map(|_| "--ca-file")));
        add("connectTimeout", time(link.connect_timeout), from("connectTimeout", None));
        add("pingInterval", time(link.ping_interval), from("pingInterval", None));
        add("pingTimeout", time(link.ping_timeout), from("pingTimeout", None));
        add("maxBackoff", time(link.max_backoff), from("maxBackoff", options.max_backoff.map(|_| "--max-backoff")));
    }

    /// Where a server is served, and where that is said.
    fn endpoints_of(&self, server: &ServerSpec, entry: &Entry) -> (Value, From) {
        let named = self.ctx.named.iter().find(|(_, endpoint)| Some(endpoint) == server.endpoint.as_ref());
        let shows = |spec: &&EndpointSpec| spec.servers.iter().any(|shown| shown.name == server.name);
        let name = |spec: &EndpointSpec| match &spec.name {
            Some(name) => name.to_string(),
            None => spec.endpoint.to_string(),
        };
        let further = self.endpoints.iter().filter(shows).map(name);
        let all: Vec<String> = server.endpoint.iter().map(ToString::to_string).chain(further).collect();
        let said = || self.written.get(member(&entry.path, "endpoint").as_str()).map(|place| of(place));
        match all.as_slice() {
            [] if self.ctx.local => (json!("one on loopback"), outside("--local")),
            // Only MCP clients of the gateway see it.
            [] => (Value::Null, by_default()),
            [one] if server.endpoint.is_some() => (json!(one), named.map_or_else(by_default, |(place, _)| of(place))),
            all => (json!(all), said().unwrap_or_else(by_default)),
        }
    }

    /// A server that is left out, and why.
    fn not_run(&self, entry: &Entry) -> Row {
        let (key, place) = match (&entry.disabled, &entry.kind) {
            (Some(place), _) => ("disabled", place),
            (None, Transport::Unspoken { by, .. }) => ("remote", &by.place),
            (None, Transport::Stdio(_) | Transport::Remote(_) | Transport::Unknown) => ("not run", &entry.place),
        };
        Row { server: Some(entry.name.clone()), key: key.to_owned(), value: Value::Bool(true), from: of(place) }
    }

    fn of_server(&self, server: &ServerSpec, entry: &Entry, file: &File) -> Vec<Row> {
        let mut rows = Vec::new();
        let options = self.ctx.line.options;
        let mut add = |key: &str, value: Value, from: From| {
            rows.push(Row { server: Some(entry.name.clone()), key: key.to_owned(), value, from });
        };
        let from = |key: &str, option: Option<&str>| self.from(Some(&entry.path), key, option);
        match &server.reach {
            Reach::Command(command) => {
                add("command", json!(command.program), from("command", None));
                add("args", json!(address::shown_arguments(&command.args).collect::<Vec<_>>()), from("args", None));
                add("expandArgs", json!(entry.expand_args), from("expandArgs", None));
                for (name, _) in &command.env {
                    let from = self.of_variable(entry, name);
                    let default = defaults::PYTHON.iter().find(|(of, _)| of == name && from.from == Origin::Default);
                    // A value may be any secret, and none that is known.
                    add(&member("env", name), json!(default.map_or("…", |(_, value)| value)), from);
                }
                let inherit = entry.shared.inherit.as_ref().or(file.shared.inherit.as_ref());
                add(
                    "inheritEnv",
                    inherited(inherit.map_or(&defaults::INHERIT_ENV, |said| &said.value)),
                    from("inheritEnv", None),
                );
                add("cwd", json!(command.cwd.as_ref().map(|cwd| cwd.display().to_string())), from("cwd", None));
            }
            // No config has one.
            Reach::Comer(_) => {}
            Reach::Remote(remote) => {
                let written = |keys: &[&'static str]| {
                    keys.iter().map(|key| from(key, None)).find(|from| from.from != Origin::Default)
                };
                let of = |keys: &[&'static str]| written(keys).unwrap_or_else(by_default);
                add("url", json!(remote.url.to_string()), of(&["url", "serverUrl"]));
                let transport = match remote.transport {
                    RemoteTransport::Any => "http or sse",
                    RemoteTransport::Http => "http",
                    RemoteTransport::Sse => "sse",
                };
                add("type", json!(transport), of(&["type", "transportType", "transport"]));
                for (name, _) in &remote.headers {
                    // A value may be any secret.
                    add(&member("headers", name.as_str()), json!("…"), from("headers", None));
                }
                for (key, value) in auth_rows(&remote.auth) {
                    add(&member("auth", key), value, from("auth", None));
                }
                let (cert, key) =
                    remote.tls.identity.as_ref().map_or((None, None), |(cert, key)| (Some(cert), Some(key)));
                add("certFile", json!(cert.map(|file| file.display().to_string())), from("certFile", None));
                add("keyFile", json!(key.map(|file| file.display().to_string())), from("keyFile", None));
            }
        }
        let (endpoint, of_endpoint) = self.endpoints_of(server, entry);
        add("endpoint", endpoint, of_endpoint);
        self.add_link(&mut add, &server.link, from("endpointHeaders", None), &from);
        let option = options.start_timeout.map(|_| "--start-timeout");
        add("startTimeout", time(server.start_timeout), from("startTimeout", option));
        let option = options.max_frame_size.map(|_| "--max-frame-size");
        add("maxFrameSize", bytes(server.max_frame), from("maxFrameSize", option));
        let handshake = match server.handshake {
            Handshake::Answer => "answer",
            Handshake::Relay => "relay",
        };
        add("handshake", json!(handshake), from("handshake", None));
        let era = entry.shared.era.or(file.shared.era).unwrap_or_default();
        add("era", json!(word(&era)), from("era", None));
        let sharing = server.sharing;
        add("mode", json!(word(&sharing.mode)), from("mode", options.mode.map(|_| "--mode")));
        add("naming", json!(word(&sharing.naming)), from("naming", None));
        add("names", json!(word(&sharing.names)), from("names", None));
        add("turn", time(sharing.turn), from("turn", None));
        add("resync", json!(sharing.resync), from("resync", None));
        add("pin", json!(server.pin), from("pin", None));
        add("keepListed", json!(server.keep_listed), from("keepListed", None));
        let (share, idle, most) = instances::values(&entry.shared, &file.shared);
        add("instances", json!(word(&share)), from("instances", None));
        add("idle", time(idle), from("idle", None));
        add("maxInstances", json!(most), from("maxInstances", None));
        add("healthCheck", server.health_check.as_ref().map_or(Value::Null, health_check), from("healthCheck", None));
        if let Reach::Command(command) = &server.reach {
            add("limits", limits(command.limits), from("limits", None));
        }
        // That of the top is another one.
        let of_entry = self.written.get(member(&entry.path, "logFile").as_str());
        add("logFile", log_file(server.log_file.as_ref()), of_entry.map_or_else(by_default, |place| of(place)));
        let policy = &server.tools;
        add("tools", tools(policy), from("tools", None));
        add("slim", json!(policy.slim), from("slim", None));
        add("timeout", policy.timeout.map_or(Value::Null, time), from("timeout", None));
        add("maxResultBytes", policy.max_result.map_or(Value::Null, bytes), from("maxResultBytes", None));
        let (replicas, sticky) = match server.instances {
            Instances::Replicas(Replicas { number, sticky }) => (number, sticky),
            Instances::Shared | Instances::PerPeer(_) => (defaults::REPLICAS, defaults::STICKY),
        };
        add("replicas", json!(replicas), from("replicas", None));
        add("sticky", json!(sticky), from("sticky", None));
        let Bounds { breaker, fallback, stands_in: _, cache } = &server.bounds;
        add("circuitBreaker", breaker.map_or(Value::Null, of_breaker), from("circuitBreaker", None));
        add("fallback", json!(fallback.as_deref()), from("fallback", None));
        add("cache", cache.as_deref().map_or(Value::Null, of_cache), from("cache", None));
        rows
    }

    /// Where the value of a key comes from: the entry, else the option, else the top of the file, else nowhere.
    fn from(&self, entry: Option<&str>, key: &str, option: Option<&str>) -> From {
        // What other programs have beside `tools` is a part of these.
        let in_entry = |entry: &str| {
            let at = |key: &str| self.written.get(member(entry, key).as_str());
            at(key).or_else(|| (key == "tools").then(|| at("tools.allow").or_else(|| at("tools.deny")))?)
        };
        if let Some(place) = entry.and_then(in_entry) {
            return of(place);
        }
        match (option, self.written.get(key)) {
            (Some(option), _) => outside(option),
            (None, Some(place)) => of(place),
            (None, None) => by_default(),
        }
    }

    /// Where a variable that a server gets on top of what it inherits comes from.
    fn of_variable(&self, entry: &Entry, name: &str) -> From {
        if let Some((_, text)) = entry.env.iter().find(|(of, _)| of == name) {
            return of(&text.place);
        }
        let in_file = self.ctx.in_env_file(&entry.name, name).map(|(_, at)| at);
        match in_file.or_else(|| Some(self.ctx.dotenv.files.iter().find(|file| file.get(name).is_some())?.spot(name))) {
            Some(at) => of(&at.into()),
            None => by_default(),
        }
    }
}

fn of(place: &Place) -> From {
    let Some(at) = place.spot() else { return outside(&place.to_string()) };
    let path = Some(place.path().to_owned()).filter(|path| !path.is_empty());
    From {
        from: Origin::File,
        file: Some(at.file.clone()),
        line: at.line,
        column: at.column,
        path,
        told: place.to_string(),
    }
}

fn outside(name: &str) -> From {
    let path = Some(name.to_owned());
    From { from: Origin::Outside, file: None, line: None, column: None, path, told: name.to_owned() }
}

fn by_default() -> From {
    From { from: Origin::Default, file: None, line: None, column: None, path: None, told: "the default".to_owned() }
}

/// A time as this config has it.
fn time(time: Duration) -> Value {
    let whole = time.subsec_nanos() == 0;
    json!(if whole { format!("{}s", time.as_secs()) } else { format!("{}ms", time.as_secs_f64() * 1000.0) })
}

/// A size as this config has it.
fn bytes(bytes: usize) -> Value {
    let text = size(bytes as u64).replace(' ', "");
    text.strip_suffix("bytes").map_or_else(|| json!(text), |_| json!(bytes))
}

fn of_breaker(BreakerSpec { failures, open_for }: BreakerSpec) -> Value {
    json!({ "failures": failures, "openFor": time(open_for) })
}

fn of_cache(CacheSpec { tools, ttl }: &CacheSpec) -> Value {
    json!({ "tools": patterns(tools), "ttl": time(*ttl) })
}

fn health_check(check: &HealthCheck) -> Value {
    let HealthCheck { every, tool, restart } = check;
    let mut shown = json!({ "every": time(*every), "restart": restart });
    if let (Some(tool), Some(shown)) = (tool, shown.as_object_mut()) {
        shown.insert("tool".to_owned(), json!(&**tool));
    }
    shown
}

fn inherited(inherit: &Inherit) -> Value {
    match inherit {
        Inherit::All => Value::Bool(true),
        Inherit::Only(names) if names.is_empty() => Value::Bool(false),
        Inherit::Only(names) => patterns(names),
    }
}

fn patterns(globs: &[Glob]) -> Value {
    json!(globs.iter().map(Glob::pattern).collect::<Vec<_>>())
}

/// The rules for tools, without those that say nothing.
fn tools(policy: &ToolPolicy) -> Value {
    let by =
        |rules: Vec<(&str, Value)>| -> Value { rules.into_iter().map(|(of, rule)| (of.to_owned(), rule)).collect() };
    let rules = [
        ("allow", patterns(&policy.allow)),
        ("deny", patterns(&policy.deny)),
        ("rename", by(policy.rename.iter().map(|(old, new)| (&**old, json!(new))).collect())),
        ("describe", by(policy.describe.iter().map(|(of, text)| (of.pattern(), json!(text))).collect())),
        ("timeout", by(policy.timeouts.iter().map(|(of, most)| (of.pattern(), time(*most))).collect())),
        ("maxResultBytes", by(policy.max_results.iter().map(|(of, most)| (of.pattern(), bytes(*most))).collect())),
    ];
    let is_empty = |value: &Value| match value {
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    };
    rules.into_iter().filter(|(_, rule)| !is_empty(rule)).map(|(key, rule)| (key.to_owned(), rule)).collect()
}

impl Shown {
    /// Notes that this is what is kept of the config.
    pub(crate) fn is_kept(&mut self, kept: Kept) {
        self.kept = Some(kept);
    }

    /// Takes secrets out of it: of the values any, of names and keys those that are as long as tokens, since a person must be able to tell
    /// what a value is of.
    pub fn clean(&mut self, redactor: &Redactor) {
        let names = redactor.for_names();
        for row in &mut self.values {
            redactor.clean_value(&mut row.value);
            let From { file, path, told, .. } = &mut row.from;
            let known = [&mut row.server, file, path].into_iter().flatten();
            for text in known.chain([&mut row.key, told]) {
                if let Cow::Owned(clean) = names.clean(text) {
                    self.hides_name = true;
                    *text = clean;
                }
            }
        }
    }

    /// A table for a person: a block for the run, one for each server, and one for the named endpoints.
    pub fn words(&self) -> String {
        let mut text = format!("{}\n", self.config.as_deref().unwrap_or("without a config"));
        if let Some(Kept { since, file }) = &self.kept {
            let _ =
                writeln!(text, "as it was when a server last ran with it; kept since {since} in {}", file.display());
        }
        let mut before = None;
        for row in &self.values {
            if row.server != before {
                before.clone_from(&row.server);
                // Writing to a String cannot fail.
                let _ = writeln!(text, "\n{}", row.server.as_deref().unwrap_or("named endpoints"));
            }
            let _ = writeln!(text, "  {:<16} {:<24} {}", row.key, row.value.to_string(), row.from.told);
        }
        if self.hides_name {
            text.push_str("\nwhere … stands in a name, the name holds a token: give it another one\n");
        }
        text
    }
}
