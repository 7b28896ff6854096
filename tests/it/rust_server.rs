//! An MCP server made with the official Rust SDK: over stdio, or with `http PORT` by Streamable HTTP at that port of loopback.
//!
//! Tools: reverse {text}; countdown {from, ms}, which reports its progress at each step of so many milliseconds and ends
//! early when it is cancelled.

#![expect(clippy::print_stderr, reason = "a server for tests")]

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation, ListToolsResult,
    PaginatedRequestParams, ProgressNotificationParam, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::transport::stdio;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, RoleServer, ServerHandler, ServiceExt};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

struct Rust;

impl ServerHandler for Rust {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("rust", "1"))
            .with_instructions("Use reverse for text.")
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tool = |name, description, properties: Value| {
            let schema = [("type".into(), "object".into()), ("properties".into(), properties)];
            Tool::new(name, description, Map::from_iter(schema))
        };
        Ok(ListToolsResult::with_all_items(vec![
            tool("reverse", "Reverses a text.", json!({"text": {"type": "string"}})),
            tool("countdown", "Counts down.", json!({"from": {"type": "integer"}, "ms": {"type": "integer"}})),
        ]))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        let text = match &*request.name {
            "reverse" => arguments["text"].as_str().unwrap_or_default().chars().rev().collect(),
            "countdown" => countdown(&arguments, &context).await?,
            name => return Err(ErrorData::invalid_params(format!("unknown tool {name}"), None)),
        };
        Ok(CallToolResult::success(vec![ContentBlock::text(text)]).into())
    }
}

async fn countdown(arguments: &Value, context: &RequestContext<RoleServer>) -> Result<String, ErrorData> {
    let whole = |key: &str| {
        arguments[key].as_u64().ok_or_else(|| ErrorData::invalid_params(format!("{key} is not a number"), None))
    };
    let (from, pause) = (whole("from")?, Duration::from_millis(whole("ms")?));
    for step in 1..=from {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = context.ct.cancelled() => {
                eprintln!("countdown was cancelled");
                return Ok("cancelled".into());
            }
        }
        if let Some(token) = context.meta.get_progress_token() {
            let progress = ProgressNotificationParam::new(token, step as f64).with_total(from as f64);
            // Nobody to tell: the client is gone, and this call with it.
            let _ = context.peer.notify_progress(progress).await;
        }
    }
    Ok(format!("counted down from {from}"))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [transport, port] = &*args
        && transport == "http"
    {
        return serve_http(port.parse()?).await;
    }
    Rust.serve(stdio()).await?.waiting().await?;
    Ok(())
}

async fn serve_http(port: u16) -> Result<(), Box<dyn Error>> {
    let sessions = Arc::new(LocalSessionManager::default());
    let service = StreamableHttpService::new(|| Ok(Rust), sessions, StreamableHttpServerConfig::default());
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let service = service.clone();
        let answer = service_fn(move |request| {
            let service = service.clone();
            async move { Ok::<_, Infallible>(service.handle(request).await) }
        });
        // How a client leaves is its own affair.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    }
}
