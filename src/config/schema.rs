//! The JSON Schema (draft 2020-12) of the config, for editors. What it refuses, the reader refuses; what it can't say (that a time is
//! not too long, that two servers agree), only the reader knows.

use serde_json::{Map, Value, json};

use super::auth;
use super::keys;
use super::units::{LEAST_FILES, MOST_INSTANCES, MOST_LOGS, MOST_REPLICAS, NICE, word};
use super::{EraChoice, Mode, Names, Naming, Share, Standby};
use clap::ValueEnum;

/// A time with its unit. Blanks around and between are no matter.
const TIME: &str = r"^\s*([0-9]+\.?[0-9]*|\.[0-9]+)\s*(ms|s|m|min|h|d)\s*$";
/// A size, with or without a unit.
const SIZE: &str = r"^\s*([0-9]+\.?[0-9]*|\.[0-9]+)\s*(|B|KiB|K|k|MiB|M|GiB|G|KB|kB|MB|GB)\s*$";
/// A size with its unit.
const SIZE_WITH_UNIT: &str = r"^\s*([0-9]+\.?[0-9]*|\.[0-9]+)\s*(B|KiB|K|k|MiB|M|GiB|G|KB|kB|MB|GB)\s*$";
/// A whole number.
const WHOLE: &str = r"^\s*[+-]?[0-9]+\s*$";
/// A whole number above 0.
const COUNT: &str = r"^\s*\+?0*[1-9][0-9]*\s*$";
/// A text that stands for true or false.
const TRUTH: &str = r"^\s*([Tt][Rr][Uu][Ee]|1|[Yy][Ee][Ss]|[Oo][Nn]|[Ff][Aa][Ll][Ss][Ee]|0|[Nn][Oo]|[Oo][Ff][Ff])\s*$";

/// The tables of keys: those of the file and its parts, and those of the gateway, whose keys may be called as others are.
const FILE: &[&str] = &[include_str!("file.rs"), include_str!("named.rs"), include_str!("policy.rs")];
const GATEWAY: &str = include_str!("gateway/written.rs");
const ADMIN: &str = include_str!("admin.rs");
const LEASE: &str = include_str!("lease.rs");
const BOUNDS: &str = include_str!("bounds.rs");
const HEALTH: &str = include_str!("health.rs");
const LIMITS: &str = include_str!("limits.rs");
const LOG_FILE: &str = include_str!("log_file.rs");

/// One of the gateway's tables: of its own keys, and of those of one of its `apiKeys`, of one of its `jwt`, of one of its `endpointTokens`, and of
/// its `tls`.
fn table_of_gateway(number: usize) -> &'static str {
    GATEWAY.split("//! In ").nth(number).unwrap_or_default()
}

/// The same in `bounds.rs`.
fn table_of_bounds(number: usize) -> &'static str {
    BOUNDS.split("//! Keys of ").nth(number + 1).unwrap_or_default()
}

/// The schema of the file.
pub fn schema() -> Value {
    let shared = described(keys::SHARED.iter().map(|key| (*key, of_shared(key))));
    let mut top = shared.clone();
    top.extend(described(keys::TOP.iter().map(|key| (*key, of_top(key)))));
    let mut server = shared;
    server.extend(described(keys::SERVER.iter().chain(["endpoint"].iter()).map(|key| (*key, of_server(key)))));
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mcp_config.json of mcp-pipe",
        "description": "Other keys are ignored with a warning; `mcp-pipe validate` says which.",
        "type": "object",
        "properties": top,
        "$defs": {
            "server": { "type": "object", "properties": server },
            "endpoint": {
                "type": "object",
                "properties": described(keys::ENDPOINT.iter().map(|key| (*key, of_endpoint(key)))),
            },
            "gateway": closed(keys::GATEWAY, table_of_gateway(0), of_gateway),
            "admin": closed(keys::ADMIN, ADMIN, |_| text()),
            "lease": closed(keys::LEASE, LEASE, of_lease),
            "limits": closed(keys::LIMITS, LIMITS, of_limits),
            "logFile": closed(keys::LOG_FILE, LOG_FILE, of_log_file),
            "apiKey": of_api_key(),
            "jwt": of_jwt(),
            "endpointToken": of_endpoint_token(),
            "gatewayTls": closed(keys::GATEWAY_TLS, table_of_gateway(4), |_| text()),
            "healthCheck": closed(keys::HEALTH_CHECK, HEALTH, of_health_check),
            "tools": {
                "type": "object",
                "properties": described(keys::TOOLS.iter().map(|key| (*key, of_tools(key)))),
            },
            "texts": { "type": ["array", "null"], "items": { "type": "string" } },
            "textsByName": { "type": ["object", "null"], "additionalProperties": { "type": ["string", "null"] } },
            "time": { "type": ["string", "null"], "pattern": TIME },
            "size": { "anyOf": [{ "type": "null" }, { "type": "number", "minimum": 0 }, { "type": "string", "pattern": SIZE }] },
            "truth": {
                "anyOf": [{ "type": ["boolean", "null"] }, { "enum": [0, 1] }, { "type": "string", "pattern": TRUTH }],
            },
            "pattern": { "type": "string", "pattern": r"^[^\[\]{}]*[^\[\]{}\s][^\[\]{}]*$" },
            "patterns": { "type": ["array", "null"], "items": { "$ref": "#/$defs/pattern" } },
        },
    })
}

/// The properties, each with what it is for.
fn described<'a>(keys: impl Iterator<Item = (&'a str, Value)>) -> Map<String, Value> {
    described_by(FILE, keys)
}

/// The same by other tables.
fn described_by<'a>(tables: &[&str], keys: impl Iterator<Item = (&'a str, Value)>) -> Map<String, Value> {
    let meaning = |key: &str| {
        let lines = tables.iter().flat_map(|table| table.lines());
        let mut rows = lines.filter_map(|line| Some(line.strip_prefix("//! | ")?.split(" | ").collect::<Vec<_>>()));
        let row = rows.find(|row| row.first().is_some_and(|first| first.contains(&format!("`{key}`"))))?;
        // A key without a default has nothing between two bars.
        Some(row.last()?.trim_end_matches(" |").trim_start_matches("| ").to_owned())
    };
    let with_meaning = |(key, mut schema): (&str, Value)| {
        if let (Value::Object(members), Some(meaning)) = (&mut schema, meaning(key)) {
            members.insert("description".to_owned(), Value::String(meaning));
        }
        (key.to_owned(), schema)
    };
    keys.map(with_meaning).collect()
}

fn defined(name: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{name}") })
}

fn text() -> Value {
    json!({ "type": ["string", "null"] })
}

fn one_of<T: ValueEnum>() -> Value {
    json!({ "enum": T::value_variants().iter().map(|value| json!(word(value))).chain([Value::Null]).collect::<Vec<_>>() })
}

/// A whole number above 0.
fn count(most: Option<usize>) -> Value {
    let mut number = json!({ "type": "integer", "minimum": 1 });
    if let (Some(most), Some(number)) = (most, number.as_object_mut()) {
        number.insert("maximum".to_owned(), json!(most));
    }
    json!({ "anyOf": [{ "type": "null" }, number, { "type": "string", "pattern": COUNT }] })
}

/// An object with these keys and notes. `table`: where the keys are told.
fn closed(keys: &[&str], table: &str, of: impl Fn(&str) -> Value) -> Value {
    json!({
        "type": ["object", "null"],
        "properties": described_by(&[table], keys.iter().map(|key| (*key, of(key)))),
        "propertyNames": { "anyOf": [{ "enum": keys }, { "pattern": "^[_/#]" }, { "enum": keys::NOTES }] },
    })
}

fn of_gateway(key: &str) -> Value {
    match key {
        "listen" | "sessionKeyFile" => text(),
        "cors" | "hosts" => json!({ "anyOf": [text(), defined("texts")] }),
        "apiKeys" => json!({ "type": ["array", "null"], "items": defined("apiKey") }),
        "jwt" => json!({ "type": ["array", "null"], "items": defined("jwt") }),
        "endpointTokens" => {
            let one = json!({ "anyOf": [{ "type": "string" }, { "$ref": "#/$defs/endpointToken" }] });
            json!({ "type": ["array", "null"], "items": one })
        }
        "endpointServers" => json!({ "anyOf": [text(), defined("texts")] }),
        "sse" => defined("truth"),
        "sessionIdle" | "heldTimeout" | "headerTimeout" => defined("time"),
        "maxBody" => defined("size"),
        "tls" => json!({ "anyOf": [{ "type": "null" }, { "$ref": "#/$defs/gatewayTls", "required": ["certFile"] }] }),
        _ => count(None),
    }
}

/// One of `apiKeys`, in which there is one key.
fn of_api_key() -> Value {
    let of = |key: &str| match key {
        "keySha256" => sha256(),
        "capabilityUrl" => defined("truth"),
        key => of_let_in(key),
    };
    let schema = closed(keys::API_KEY, table_of_gateway(1), of);
    with_one_of(schema, &["name"], &["key", "keyFile", "keySha256"])
}

/// One of `jwt`, in which the keys are in one place.
fn of_jwt() -> Value {
    let of = |key: &str| match key {
        "audience" => json!({ "anyOf": [
            { "type": "string" }, { "type": "array", "items": { "type": "string" }, "minItems": 1 },
        ] }),
        "issuer" => json!({ "type": "string" }),
        key => of_let_in(key),
    };
    let schema = closed(keys::JWT, table_of_gateway(2), of);
    with_one_of(schema, &["name", "issuer", "audience"], &["jwksFile", "jwksUrl"])
}

/// One of `endpointTokens`, in which there is one token.
fn of_endpoint_token() -> Value {
    let of = |key: &str| match key {
        "tokenSha256" => sha256(),
        key => of_let_in(key),
    };
    let schema = closed(keys::ENDPOINT_TOKEN, table_of_gateway(3), of);
    with_one_of(schema, &[], &["token", "tokenFile", "tokenSha256"])
}

fn sha256() -> Value {
    json!({ "anyOf": [{ "type": "null" }, { "type": "string", "pattern": r"^\s*[0-9A-Fa-f]{64}\s*$" }] })
}

/// What keys and tokens have in common.
fn of_let_in(key: &str) -> Value {
    match key {
        "name" => json!({ "type": "string", "pattern": r"\S" }),
        "servers" => json!({ "anyOf": [text(), { "type": "array", "items": { "type": "string" }, "minItems": 1 }] }),
        "tools" => json!({ "anyOf": [{ "type": "null" }, defined("tools"), defined("patterns")] }),
        _ => text(),
    }
}

/// An object that has some members, and one of some others.
fn with_one_of(mut schema: Value, required: &[&str], others: &[&str]) -> Value {
    let one = |key: &&str| json!({ "properties": { *key: { "type": "string" } }, "required": [key] });
    if let Some(members) = schema.as_object_mut() {
        members.insert("type".to_owned(), json!("object"));
        members.insert("required".to_owned(), json!(required));
        members.insert("oneOf".to_owned(), others.iter().map(one).collect());
    }
    schema
}

fn of_top(key: &str) -> Value {
    match key {
        "gateway" => defined("gateway"),
        "admin" => defined("admin"),
        "lease" => json!({ "anyOf": [{ "type": "null" }, { "$ref": "#/$defs/lease", "required": ["etcd"] }] }),
        "mcpServers" => json!({ "type": ["object", "null"], "additionalProperties": { "$ref": "#/$defs/server" } }),
        "endpoints" => json!({
            "type": ["object", "null"],
            "additionalProperties": { "anyOf": [{ "type": "string" }, { "$ref": "#/$defs/endpoint" }] },
        }),
        "drainTimeout" => defined("time"),
        "toolBudget" => count(None),
        "cacheDir" | "stateDir" => text(),
        "logFile" => log_file(),
        _ => json!({}),
    }
}

/// A path, or an object that has one.
fn log_file() -> Value {
    json!({ "anyOf": [text(), { "$ref": "#/$defs/logFile", "required": ["path"] }] })
}

fn of_log_file(key: &str) -> Value {
    match key {
        "maxSize" => defined("size"),
        "keep" => count(Some(MOST_LOGS)),
        _ => json!({ "type": "string" }),
    }
}

fn of_lease(key: &str) -> Value {
    match key {
        "etcd" => {
            json!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" }, "minItems": 1 }] })
        }
        "ttl" => json!({ "type": ["string", "null"], "pattern": TIME }),
        "standby" => one_of::<Standby>(),
        _ => text(),
    }
}

fn of_limits(key: &str) -> Value {
    let number = |least: i64, most: Option<i64>| {
        let mut number = json!({ "type": "integer", "minimum": least });
        if let (Some(most), Some(members)) = (most, number.as_object_mut()) {
            members.insert("maximum".to_owned(), json!(most));
        }
        json!({ "anyOf": [{ "type": "null" }, number, { "type": "string", "pattern": WHOLE }] })
    };
    match key {
        "memory" => json!({ "type": ["string", "null"], "pattern": SIZE_WITH_UNIT }),
        "nice" => number((*NICE.start()).into(), Some((*NICE.end()).into())),
        _ => number(LEAST_FILES.cast_signed(), None),
    }
}

fn of_shared(key: &str) -> Value {
    match key {
        "endpoint" => json!({ "anyOf": [text(), { "type": "array", "items": { "type": "string" }, "maxItems": 1 }] }),
        "endpointHeaders" => defined("textsByName"),
        "subprotocol" | "caFile" => text(),
        "connectTimeout" | "pingInterval" | "pingTimeout" | "maxBackoff" | "startTimeout" | "turn" | "timeout" => {
            defined("time")
        }
        "maxFrameSize" | "maxResultBytes" => defined("size"),
        "instances" => one_of::<Share>(),
        "idle" => defined("time"),
        "maxInstances" => count(Some(MOST_INSTANCES)),
        "era" => one_of::<EraChoice>(),
        "handshake" => json!({ "enum": ["answer", "relay", null] }),
        "mode" => one_of::<Mode>(),
        "naming" => one_of::<Naming>(),
        "names" => one_of::<Names>(),
        "resync" | "keepListed" | "slim" => defined("truth"),
        "inheritEnv" => json!({ "anyOf": [
            defined("truth"), { "type": "string", "pattern": r"\S" }, { "type": "array", "items": { "type": "string" } }] }),
        _ => json!({}),
    }
}

fn of_endpoint(key: &str) -> Value {
    match key {
        "url" => text(),
        "servers" => json!({ "anyOf": [text(), defined("texts")] }),
        "tools" => json!({ "anyOf": [{ "type": "null" }, defined("tools"), defined("patterns")] }),
        _ => of_shared(key),
    }
}

fn of_server(key: &str) -> Value {
    match key {
        "endpoint" => json!({ "anyOf": [text(), defined("texts")] }),
        "type" | "transportType" | "transport" | "cwd" | "url" | "serverUrl" | "certFile" | "keyFile" => text(),
        "limits" => defined("limits"),
        "logFile" => log_file(),
        "command" => json!({ "anyOf": [text(), { "type": "array", "items": { "type": "string" }, "minItems": 1 }] }),
        "args" => defined("texts"),
        "env" | "headers" => defined("textsByName"),
        "auth" => of_auth(),
        "envFile" => json!({ "anyOf": [text(), defined("texts")] }),
        "healthCheck" => defined("healthCheck"),
        "disabled" | "enabled" | "isActive" | "pin" | "expandArgs" => defined("truth"),
        "tools" => json!({ "anyOf": [{ "type": "null" }, defined("tools"), defined("patterns")] }),
        "circuitBreaker" => closed(keys::CIRCUIT_BREAKER, table_of_bounds(0), of_bounds),
        "cache" => {
            let mut cache = closed(keys::CACHE, table_of_bounds(1), of_bounds);
            if let Some(members) = cache.as_object_mut() {
                members.insert("required".to_owned(), json!(["tools"]));
            }
            cache
        }
        "fallback" => text(),
        "replicas" => count(Some(MOST_REPLICAS)),
        "sticky" => defined("truth"),
        _ => json!({}),
    }
}

fn of_bounds(key: &str) -> Value {
    match key {
        "failures" => count(None),
        "openFor" | "ttl" => defined("time"),
        _ => json!({ "type": "array", "items": { "$ref": "#/$defs/pattern" }, "minItems": 1 }),
    }
}

fn of_health_check(key: &str) -> Value {
    match key {
        "every" => defined("time"),
        "tool" => json!({ "type": ["string", "null"], "pattern": r"\S" }),
        _ => defined("truth"),
    }
}

/// An `auth`, in which one key stands.
fn of_auth() -> Value {
    let scope = || json!({ "anyOf": [text(), defined("texts")] });
    let required = |text: &str| json!({ "type": "string", "pattern": text });
    let client = |keys: &[&str]| {
        let of = |key: &str| match key {
            "scope" => scope(),
            "redirectPort" => count(Some(65535)),
            _ => text(),
        };
        json!({
            "type": ["object", "null"],
            "properties": keys.iter().map(|key| ((*key).to_owned(), of(key))).collect::<Map<_, _>>(),
            "additionalProperties": false,
        })
    };
    json!({
        "type": ["object", "null"],
        "properties": {
            "bearer": { "anyOf": [{ "type": "null" }, required(r"\S")] },
            "bearerFile": { "anyOf": [{ "type": "null" }, required(r"\S")] },
            "bearerCommand": { "type": ["array", "null"], "items": { "type": "string" }, "minItems": 1 },
            "clientCredentials": client(auth::OF_CLIENT),
            "login": client(auth::OF_LOGIN),
        },
        "additionalProperties": false,
        "minProperties": 1,
        "maxProperties": 1,
    })
}

fn of_tools(key: &str) -> Value {
    let by_pattern = |rule: Value| json!({ "type": ["object", "null"], "propertyNames": { "$ref": "#/$defs/pattern" }, "additionalProperties": rule });
    match key {
        "allow" | "deny" => defined("patterns"),
        "rename" => json!({
            "type": ["object", "null"],
            "propertyNames": { "pattern": r"^[^*?]+$" },
            "additionalProperties": { "type": ["string", "null"], "minLength": 1, "maxLength": 64 },
        }),
        "describe" => by_pattern(text()),
        "timeout" => by_pattern(defined("time")),
        "maxResultBytes" => by_pattern(defined("size")),
        _ => json!({}),
    }
}
