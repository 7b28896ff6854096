//! A stdio MCP server made with an old official Rust SDK, which exits on any request before `initialize`.
//!
//! Tools: reverse {text}.

use std::error::Error;

use rmcp_1_1::model::{
    CallToolRequestParams, CallToolResult, Content, Implementation, ListToolsResult, PaginatedRequestParams,
    ServerCapabilities, ServerInfo, Tool,
};
use rmcp_1_1::service::RequestContext;
use rmcp_1_1::transport::stdio;
use rmcp_1_1::{ErrorData, RoleServer, ServerHandler, ServiceExt};
use serde_json::{Map, json};

struct OldRust;

impl ServerHandler for OldRust {
    fn get_info(&self) -> ServerInfo {
        ServerInfo::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("old rust", "1"))
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let schema = [("type".into(), "object".into()), ("properties".into(), json!({"text": {"type": "string"}}))];
        Ok(ListToolsResult::with_all_items(vec![Tool::new("reverse", "Reverses a text.", Map::from_iter(schema))]))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CallToolResult, ErrorData> {
        let text = request.arguments.as_ref().and_then(|arguments| arguments["text"].as_str()).unwrap_or_default();
        Ok(CallToolResult::success(vec![Content::text(text.chars().rev().collect::<String>())]))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    OldRust.serve(stdio()).await?.waiting().await?;
    Ok(())
}
