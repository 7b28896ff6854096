//! What is offered at the gateway, for a person or a program that looks at its address alone. Pure.

use http::header::ACCEPT;
use http::{HeaderMap, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::reply::{self, Answer};
use super::terms::Gates;

/// Told as JSON where that is asked for, else as text. `gates`: whose servers may be named; nobody's where that is not known.
pub(super) fn told(headers: &HeaderMap, gates: Option<&Gates>, has_sse: bool) -> Answer {
    let version = env!("CARGO_PKG_VERSION");
    let servers = gates.map(|gates| {
        let path = |name| format!("/mcp/{}", utf8_percent_encode(name, NON_ALPHANUMERIC));
        gates.all.shown.servers.iter().map(|(name, _)| (&**name, path(name))).collect::<Vec<_>>()
    });
    if wants_json(headers) {
        let mut offer = json!({"name": "mcp-pipe", "version": version, "streamableHttp": "/mcp", "webSocket": "/ws"});
        if has_sse {
            offer["sse"] = "/sse".into();
        }
        if let Some(servers) = servers {
            let server = |(name, path)| json!({"name": name, "streamableHttp": path});
            offer["servers"] = servers.into_iter().map(server).collect::<Value>();
        }
        return reply::json(StatusCode::OK, offer.to_string().into());
    }
    let names = servers.map_or_else(String::new, |servers| {
        let names = servers.into_iter().map(|(_, path)| format!("\n  {path}"));
        format!("\nFor one of them:{}", names.collect::<String>())
    });
    let sse = if has_sse { "\nThe same over HTTP+SSE (MCP 2024-11-05):\n  /sse" } else { "" };
    let text = "an MCP server over Streamable HTTP\n\nFor all servers as one:\n  /mcp";
    reply::text(StatusCode::OK, format_args!("mcp-pipe {version}: {text}{names}\nThe same over WebSocket:\n  /ws{sse}"))
}

/// Whether JSON is named among what is taken: browsers, and programs that take anything, don't.
fn wants_json(headers: &HeaderMap) -> bool {
    let all = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let kinds = all.flat_map(|value| value.split(',')).map(|kind| kind.split(';').next().unwrap_or_default());
    kinds.map(str::trim).any(|kind| kind.eq_ignore_ascii_case("application/json"))
}
